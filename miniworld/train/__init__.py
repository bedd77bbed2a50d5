"""Training of the miniworld's models: ``python -m miniworld.train``."""
