"""Data like the papers', made from the grammar and the pipeline, small enough to make again instead of to keep.

``python -m miniworld.datasets log`` writes a gallery's log in DiffusionDB's layout (what PRIP learns from),
``python -m miniworld.datasets pairs`` writes pairs of a plain and a professional prompt (what BeautifulPrompt learns
from). Whoever learns from them reads the files, through ``prompt_db.diffusiondb`` and ``prompt_db.prompt_pairs``, and
never this package: it knows the grammar. Only triples of the train split occur.
"""
