"""The instructions that a run starts from."""

from collections.abc import Sequence

INITIAL_INSTRUCTION = (
    "Keep the user's prompt at the start, word for word. After it, add short phrases about style and quality,"
    " separated by commas. Borrow 3 phrases from the examples. Use at most 3 phrases."
)
"""Arm 1 of every run: already a sensible prompt engineer's advice, so that beating it means something."""


def frequent_instruction(phrases: Sequence[str]) -> str:
    """Return the instruction that always adds the given phrases (the corpus's most frequent ones): a fixed rival."""
    listed = ", ".join(f'"{phrase}"' for phrase in phrases)
    return (
        "Keep the user's prompt at the start, word for word. After it, add short phrases, separated by commas.\n"
        f"Always add: {listed}.\n"
        f"Use at most {len(phrases)} phrases."
    )
