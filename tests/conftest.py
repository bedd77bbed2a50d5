"""Switches for all tests: set before anything heavy is imported."""

from core.environment import set_switches

set_switches()
