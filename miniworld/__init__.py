"""The embedded default world: a small text-to-image pipeline, a preference model, prompts, and the truth behind them.

``CARD.md`` says how it was made and how good it is. Outside of evaluation code only the paths below are used:
everything loads through the same code as Stable Diffusion and HPSv2 do. Importing this package costs nothing.
"""

from __future__ import annotations

from pathlib import Path

ROOT: Path = Path(__file__).resolve().parent
PIPELINE: Path = ROOT / "pipeline"
"""A folder in StableDiffusionPipeline layout; ``render_defaults.json`` in it names steps, guidance and size."""
SECOND_PIPELINE: Path = ROOT / "second_pipeline"
"""Another one, smaller and weaker, with another text encoder: does what was learned on the first carry over?"""
SCORER: Path = ROOT / "scorer"
"""A folder with an HPSv2-style checkpoint (``weights.pt``), its ``config.json`` and its tokenizer."""
PICK: Path = ROOT / "pick"
"""A second preference model, in PickScore's form."""
AESTHETIC: Path = ROOT / "aesthetic"
"""A model of beauty that never reads the prompt, in the form of LAION's aesthetic predictor."""
REWARD: Path = ROOT / "reward"
"""A third preference model, with cross-attention, in ImageReward's form."""
OTHER_SCORERS: tuple[str, ...] = (f"pickscore={PICK}", f"aesthetic={AESTHETIC}", f"imagereward={REWARD}")
"""What ``scoring.load_scorer`` takes for the scorers beside ``SCORER``; they learned from other pictures than it."""
PIVOT: Path = ROOT / "pivot"
"""A frozen picture encoder, a CLIPVisionModel that gives 16 tokens; no scorer has it inside."""
REFINERS: Path = ROOT / "refiners"
"""Small refiners trained on this world, one folder each (`refiner.load_refiner`)."""
JUDGE: Path = ROOT / "judge"
CATEGORIES: Path = ROOT / "categories.json"
"""System language of this world in NeuroPrompts' categories, for wishes: by hand, without words of fault."""
PROMPTS: Path = ROOT / "prompts"
"""``train.jsonl`` and ``validation.jsonl`` with one {"prompt", "family"} a line."""
CORPUS: Path = PROMPTS / "corpus.txt"
"""Professional prompts, one a line."""
