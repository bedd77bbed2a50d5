"""The words of the miniworld: what can be asked for, and which words carry system language.

Everything here is plain data, so that grammar, renderer and truth agree on names without importing each other.
Importing this module costs nothing (no torch, no Pillow).

A quality term is *system language* in the sense of arXiv 2406.08713: a phrase that says how a picture is made, not
what it shows. The four groups below are fixed by how the renderer draws a term and how the annotator
(``miniworld.truth``) values it:

* general terms help in every style family,
* each family has three terms of its own that help only there,
* harmful terms hurt everywhere,
* decoys are popular in the corpus and hurt a little.

Fillers change nothing in the picture; like every other term they count towards dilution.
"""

from __future__ import annotations

SUBJECTS: tuple[str, ...] = ("house", "tree", "boat", "castle", "flower", "robot", "fish", "cat", "car", "mushroom")
COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
PLACES: tuple[str, ...] = ("meadow", "sea", "desert", "city", "forest", "night")
FAMILIES: tuple[str, ...] = ("anime", "concept-art", "paintings", "photo")

PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "meadow": ("on a meadow", "in a green meadow"),
    "sea": ("by the sea", "in front of the sea"),
    "desert": ("in the desert", "in a sandy desert"),
    "city": ("in a city", "in front of a city skyline"),
    "forest": ("in a forest", "at the edge of a forest"),
    "night": ("at night", "under a night sky"),
}
STYLE_WORDS: dict[str, str] = {
    "anime": "anime",
    "concept-art": "concept art",
    "paintings": "painting",
    "photo": "photo",
}

GENERAL_TERMS: tuple[str, ...] = ("sharp focus", "vibrant colors", "highly detailed", "high contrast")
FAMILY_TERMS: dict[str, tuple[str, ...]] = {
    "anime": ("clean line art", "cel shading", "pastel background"),
    "concept-art": ("dramatic lighting", "volumetric light", "cool tones"),
    "paintings": ("visible brushstrokes", "warm palette", "canvas texture"),
    "photo": ("shallow depth of field", "soft shadow", "golden hour"),
}
HARMFUL_TERMS: tuple[str, ...] = ("blurry", "washed out", "dull colors", "grainy", "low resolution", "underexposed")
DECOY_TERMS: tuple[str, ...] = ("masterpiece", "trending on artstation")
FILLERS: tuple[str, ...] = (
    "8k",
    "digital illustration",
    "unreal engine",
    "octane render",
    "beautiful",
    "elegant",
    "award winning",
    "professional",
    "stunning",
    "made by a famous artist",
)

TERMS: tuple[str, ...] = (
    *GENERAL_TERMS,
    *(term for family in FAMILIES for term in FAMILY_TERMS[family]),
    *HARMFUL_TERMS,
    *DECOY_TERMS,
)
MAX_UNDILUTED = 5
"""Up to this many comma-separated terms each has its full effect; more of them dilute every one."""
