"""Everything that is stored: the prompt library, the facts of a run, the shared caches. All SQL lives here."""
