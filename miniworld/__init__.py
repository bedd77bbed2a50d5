"""The embedded default world: a small text-to-image pipeline, a preference model, prompts, and the truth behind them.

``CARD.md`` says how it was made and how good it is. Outside of evaluation code only the paths below are used:
everything loads through the same code as Stable Diffusion and HPSv2 do. Importing this package costs nothing.
"""

from __future__ import annotations

from pathlib import Path

ROOT: Path = Path(__file__).resolve().parent
PIPELINE: Path = ROOT / "pipeline"
"""A folder in StableDiffusionPipeline layout; ``render_defaults.json`` in it names steps, guidance and size."""
SCORER: Path = ROOT / "scorer"
"""A folder with an HPSv2-style checkpoint (``weights.pt``), its ``config.json`` and its tokenizer."""
JUDGE: Path = ROOT / "judge"
PROMPTS: Path = ROOT / "prompts"
"""``train.jsonl`` and ``validation.jsonl`` with one {"prompt", "family"} a line."""
CORPUS: Path = PROMPTS / "corpus.txt"
"""Professional prompts, one a line."""
