"""Deterministic agents that need no LLM; they know only what the messages say."""
