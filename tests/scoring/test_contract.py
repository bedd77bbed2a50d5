"""What every registered scorer does. A newcomer in SCORERS is tested once SOURCES says which files it gets."""

import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core.errors import BadInput
from core.interfaces import Scorer
from core.records import ScoreItem
from scoring import SCORERS, load_scorer
from scoring.open_clip_layout import OpenClipConfig
from tests.scoring import fake_packages
from tests.scoring.tiny import CONFIG, save_tiny_aesthetic, save_tiny_clip, save_tiny_image_reward, save_tiny_scorer

SOURCES = {
    "hpsv2": "tiny",
    "hpsv2.0": "tiny/weights.pt",
    "hpsv2.1": "tiny/weights.pt",
    "pickscore": "clip",
    "clipscore": "clip",
    "aesthetic": "aesthetic",
    "imagereward": "imagereward",
    "hpsv2-package": "tiny/weights.pt",
    "hpsv3": "tiny/weights.pt",
}
"""What a spec names inside the folder of tiny scorers, by scorer; `weights` mixes two of them."""
PACKAGES = {"hpsv2-package", "hpsv3"}
"""Scorers whose model lies in another process; a package of the same form stands in for theirs."""
BUILDERS = {
    "tiny": save_tiny_scorer,
    "clip": save_tiny_clip,
    "aesthetic": save_tiny_aesthetic,
    "imagereward": save_tiny_image_reward,
}
RANGES = {"hpsv2": (-1, 1), "hpsv2.0": (-1, 1), "hpsv2.1": (-1, 1), "pickscore": (-100, 100), "clipscore": (0, 2.5)}
"""What bounds the values, where something does."""
BLIND = {"aesthetic"}
"""Scorers that do not read the prompt."""


def picture(seed, width=32, height=32):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


ITEMS = [
    ScoreItem(picture(0), "a red cat"),
    ScoreItem(picture(1, 50, 20), "a blue boat at sea"),
    ScoreItem(picture(2, 8, 64), "a red cat"),
    ScoreItem(picture(3), "ein Häuschen " * 30),
    ScoreItem(picture(4), ""),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("scorers")
    for name, save in BUILDERS.items():
        save(root / name)
    (root / "tiny" / "reference.json").write_text('{"hpsv2": {"mean": 0.1, "sd": 0.5}}')
    (root / "aesthetic" / "reference.json").write_text('{"aesthetic": {"mean": 1.0, "sd": 2.0}}')
    fake_packages.write(root / "packages")
    return root


def spec(name, root):
    if name == "weights":
        return f"weights:hpsv2={root / 'tiny'}=0.7,aesthetic={root / 'aesthetic'}=0.3"
    return f"{name}={root / SOURCES[name]}"


def models(scorer):
    """The modules of a scorer, or of the parts of a mix."""
    return (
        [model for part in scorer.parts for model in models(part.scorer)]
        if hasattr(scorer, "parts")
        else [scorer._model]
    )


@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.slow if n in PACKAGES else ()) for n in sorted(SCORERS)])
def name(request):
    return request.param


@pytest.fixture
def load(name, folder, monkeypatch):
    """Load the scorer under test on tiny files; the releases' built-in architecture is made tiny for it."""
    monkeypatch.setattr("scoring.hpsv2.VIT_H_14", OpenClipConfig.model_validate(CONFIG))
    if name in PACKAGES:
        monkeypatch.setenv("PYTHONPATH", str(folder / "packages"))

    def loader(root=folder, **options):
        return load_scorer(spec(name, root), **{"chunk": 4, "threads": 1, **options})

    return loader


def test_it_is_a_scorer_with_finite_values_in_its_range(load, name):
    scorer = load()
    assert isinstance(scorer, Scorer)
    assert scorer.name
    assert scorer.revision
    assert scorer.chunk == 4
    scores = scorer.score(ITEMS[:4])
    low, high = RANGES.get(name, (-math.inf, math.inf))
    assert all(score.error == "" and math.isfinite(score.value) and low <= score.value <= high for score in scores)
    assert len({score.value for score in scores}) == 4


def test_reruns_and_reloads_are_identical(load):
    scorer, again = load(), load()
    assert scorer.score(ITEMS[:4]) == scorer.score(ITEMS[:4]) == again.score(ITEMS[:4])
    assert scorer.revision == again.revision


def test_place_neighbours_and_padding_do_not_matter(load):
    scores = load().score(ITEMS[:4])
    assert load().score(ITEMS[:4][::-1])[::-1] == scores
    assert load().score(ITEMS[2:3]) == scores[2:3]
    assert load().score([ITEMS[4], ITEMS[1]])[1:] == scores[1:2]


def test_the_chunk_changes_rounding_only(load):
    one, four = load(chunk=1), load(chunk=4)
    for item, expected in zip(ITEMS[:4], four.score(ITEMS[:4]), strict=True):
        assert math.isclose(one.score([item])[0].value, expected.value, rel_tol=1e-5, abs_tol=1e-5)


def test_picture_and_prompt_both_matter(load, name):
    scorer = load()
    base, other_picture, other_prompt = scorer.score(
        [ITEMS[0], ScoreItem(picture(9), ITEMS[0].prompt), ScoreItem(ITEMS[0].image, "a dog")]
    )
    assert base != other_picture
    assert (base != other_prompt) == (name not in BLIND)


def test_transparent_and_grey_pictures_are_scored(load):
    modes = [ScoreItem(ITEMS[0].image.convert(mode), "a cat") for mode in ("RGBA", "L", "P")]
    assert all(score.value is not None for score in load().score(modes))


def test_nothing_gives_nothing_and_too_many_are_refused(load):
    assert load().score([]) == []
    with pytest.raises(ValueError, match="5 items for a chunk of 4"):
        load().score(ITEMS)


def test_non_finite_values_are_errors(load, name):
    if name in PACKAGES:
        pytest.skip("its model is out of reach: test_packages.py")
    scorer = load()
    with torch.no_grad():
        for model in models(scorer):
            for parameter in model.parameters():
                parameter.fill_(float("nan"))
    found = scorer.score(ITEMS[:2])
    assert [score.value for score in found] == [None, None]
    assert all(score.error.endswith("the score is not finite (nan)") for score in found)


def test_options_that_change_values_change_the_revision(load):
    assert load().revision != load(threads=2).revision


def test_half_precision_weights_are_computed_in_float32(load, name, folder, tmp_path):
    if name in PACKAGES:
        pytest.skip("its model is out of reach")
    half = shutil.copytree(folder, tmp_path / "half")
    for path in half.rglob("*.safetensors"):
        save_file({key: tensor.half() for key, tensor in load_file(path).items()}, path)
    for path in half.rglob("*.pt"):
        state = torch.load(path)["state_dict"]
        torch.save({"state_dict": {key: tensor.half() for key, tensor in state.items()}}, path)
    scorer = load(half)
    assert {parameter.dtype for model in models(scorer) for parameter in model.parameters()} == {torch.float32}
    assert scorer.revision != load().revision
    for got, expected in zip(scorer.score(ITEMS[:4]), load().score(ITEMS[:4]), strict=True):
        assert math.isclose(got.value, expected.value, rel_tol=0.05, abs_tol=0.05)


def test_missing_files_are_one_line_errors(name, tmp_path):
    with pytest.raises(BadInput, match=r"got .*expected .*") as caught:
        load_scorer(f"{name}={tmp_path / 'nowhere'}")
    assert "\n" not in str(caught.value)


def test_unknown_names_and_bad_options_are_refused(folder):
    with pytest.raises(BadInput, match=r"got neither a known name nor a folder, expected one of hpsv2, hpsv2\.0"):
        load_scorer("hpsv9")
    for bad in ({"chunk": 0}, {"threads": 0}, {"device": "tpu"}, {"device": "cuda:99"}):
        with pytest.raises(BadInput, match="scorer"):
            load_scorer(str(folder / "tiny"), **bad)


def test_a_bare_folder_is_a_scorer(folder):
    scorer = load_scorer(str(folder / "tiny"), chunk=4)
    assert scorer.name == f"hpsv2:{folder.name}/tiny"


def test_importing_the_package_imports_no_torch():
    code = "import sys, scoring; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
