"""`brushup evaluate`: every way to refine a prompt on equal prompts, seeds, pictures and scorers. It never trains."""
