"""`brushup report`: what a page shows, gathered read-only from the facts of runs and handed to `reports`."""
