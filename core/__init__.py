"""Records, interfaces, errors and small pure helpers that every other package shares."""
