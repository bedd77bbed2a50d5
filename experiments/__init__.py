"""Runs: their configuration, wiring, start and resume, evaluation, and what they leave behind."""
