"""The data sets like the papers': a gallery's log and prompt pairs."""

import json
import logging
import shutil
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import miniworld
from core.errors import BadInput
from miniworld.datasets.__main__ import main
from miniworld.datasets.gallery import GallerySize, plan
from miniworld.datasets.log import LOG_FILE, PART, write_log
from miniworld.datasets.pairs import SHORTEST, draw_pairs, write_pairs
from miniworld.datasets.source import Source, open_source
from miniworld.grammar import parse, split_of
from prompt_db.diffusiondb import read_parts
from prompt_db.prompt_pairs import read_pairs

pytestmark = pytest.mark.slow

SIZE = GallerySize(prompts=6, renders=3, seed=5)


class Painter:
    """Draws a plain picture whose colour is the seed; stops like a killed process when told to."""

    def __init__(self, calls: int = 1000) -> None:
        self.calls = calls
        self.seeds: list[int] = []

    def __call__(self, prompts, seeds):
        if self.calls == 0:
            raise KeyboardInterrupt
        self.calls -= 1
        self.seeds += seeds
        return [Image.new("RGB", (4, 4), (seed % 256, seed // 256 % 256, 9)) for seed in seeds]


def source(draw) -> Source:
    return Source("abc", 8, 2.0, "dpmpp_2m", draw)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_gallery_is_half_naive_half_professional_with_distinct_seeds():
    renders = plan(GallerySize(prompts=41, renders=3, seed=1))
    prompts = Counter(render.prompt for render in renders)
    assert len(prompts) == 41
    assert set(prompts.values()) == {3}
    corpus = set(miniworld.CORPUS.read_text().splitlines())
    assert sum(prompt in corpus for prompt in prompts) == 20
    assert all(not parse(prompt).terms for prompt in prompts if prompt not in corpus)
    assert len({(render.prompt, render.seed) for render in renders}) == len({render.file for render in renders}) == 123
    assert all(0 <= render.seed < 2**31 for render in renders)
    kinds = [render.prompt in corpus for render in renders[::3]]
    assert sum(a != b for a, b in pairwise(kinds)) > 5, "the kinds should be mixed"


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gallery_has_train_scenes_only(seed):
    most = GallerySize(prompts=4400, renders=1, seed=seed)
    renders = plan(most)
    assert len(renders) == 4400
    assert {split_of(parse(render.prompt).triple) for render in renders} == {"train"}


def test_a_plan_is_a_function_of_its_seed():
    assert plan(SIZE) == plan(SIZE)
    assert plan(SIZE) != plan(replace(SIZE, seed=6))


def test_the_layout_is_diffusiondbs_and_the_reader_gets_everything_back(tmp_path):
    about = write_log(tmp_path / "log", SIZE, source(Painter()), part_size=7)
    assert PART == 1000
    assert about["counts"] == {"naive": 3, "professional": 3, "pictures": 18, "parts": 3}
    assert json.loads((tmp_path / "log" / LOG_FILE).read_text()) == about
    assert about["complete"] is True
    assert sorted(p.name for p in (tmp_path / "log").iterdir()) == [
        ".lock",
        "log.json",
        *(f"part-00000{k}" for k in (1, 2, 3)),
    ]
    part = tmp_path / "log" / "part-000003"
    entries = json.loads((part / "part-000003.json").read_text())
    assert {p.name for p in part.iterdir()} == {*entries, "part-000003.json"}
    assert len(entries) == 4
    for name, entry in entries.items():
        assert uuid.UUID(name.removesuffix(".png"))
        assert list(entry) == ["p", "se", "c", "st", "sa"]
    images = list(read_parts(tmp_path / "log"))
    assert [(image.prompt, image.seed) for image in images] == [(render.prompt, render.seed) for render in plan(SIZE)]
    assert {(image.guidance, image.steps, image.sampler) for image in images} == {(2.0, 8, "dpmpp_2m")}
    for image in images:
        with Image.open(image.path) as picture:
            assert picture.getpixel((0, 0)) == (image.seed % 256, image.seed // 256 % 256, 9)
            assert not picture.info


def test_a_second_run_draws_nothing_and_changes_no_byte(tmp_path):
    write_log(tmp_path / "a", SIZE, source(Painter()), part_size=7)
    write_log(tmp_path / "b", SIZE, source(Painter()), part_size=7)
    before = tree(tmp_path / "a")
    assert before == tree(tmp_path / "b")
    write_log(tmp_path / "a", SIZE, source(Painter(calls=0)), part_size=7)
    assert tree(tmp_path / "a") == before


@pytest.mark.parametrize("whole", [0, 1, 2])
def test_a_killed_run_goes_on_with_the_next_part(tmp_path, whole):
    write_log(tmp_path / "through", SIZE, source(Painter()), part_size=7)
    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        write_log(folder, SIZE, source(Painter(calls=whole)), part_size=7)
    assert json.loads((folder / LOG_FILE).read_text())["complete"] is False
    assert len(list(folder.glob("part-*"))) == whole
    (folder / ".part-000003.partial").mkdir()
    (folder / ".part-000003.partial" / "half.png").write_bytes(b"\x89PN")
    painter = Painter()
    write_log(folder, SIZE, source(painter), part_size=7)
    assert painter.seeds == [render.seed for render in plan(SIZE)[7 * whole :]]
    assert tree(folder) == tree(tmp_path / "through")


def test_a_second_process_waits_and_draws_nothing(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Painter):
        def __call__(self, *arguments, **named):
            begun.set()
            assert go_on.wait(60)
            return super().__call__(*arguments, **named)

    slow, second = Slow(), Painter()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(write_log, tmp_path, SIZE, source(slow), part_size=7)
        assert begun.wait(60)
        after = pool.submit(write_log, tmp_path, SIZE, source(second), part_size=7)
        while "waiting for the process that draws" not in caplog.text and not after.done():
            time.sleep(0.001)
        go_on.set()
        assert first.result() == after.result()
    assert (len(slow.seeds), second.seeds) == (18, [])


def test_a_part_that_lost_a_picture_is_drawn_again(tmp_path):
    write_log(tmp_path, SIZE, source(Painter()), part_size=7)
    before = tree(tmp_path)
    next((tmp_path / "part-000002").glob("*.png")).unlink()
    painter = Painter()
    write_log(tmp_path, SIZE, source(painter), part_size=7)
    assert len(painter.seeds) == 7
    assert tree(tmp_path) == before


def test_a_folder_with_anything_else_is_left_alone(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="holds something else"):
        write_log(tmp_path / "full", SIZE, source(Painter()))
    with pytest.raises(BadInput, match="is a file"):
        write_log(tmp_path / "file", SIZE, source(Painter()))
    write_log(tmp_path / "log", SIZE, source(Painter()))
    with pytest.raises(BadInput, match="other arguments"):
        write_log(tmp_path / "log", replace(SIZE, seed=6), source(Painter()))
    with pytest.raises(BadInput, match="other pipeline,"):
        write_log(tmp_path / "log", SIZE, replace(source(Painter()), revision="new"))
    (tmp_path / "log" / LOG_FILE).write_text("[]")
    with pytest.raises(BadInput, match="holds a log with other"):
        write_log(tmp_path / "log", SIZE, source(Painter()))


def test_a_pipeline_that_draws_too_few_is_an_error(tmp_path):
    with pytest.raises(BadInput, match="gave 0 pictures for 18"):
        write_log(tmp_path, SIZE, source(lambda prompts, seeds: []))
    assert not list(tmp_path.glob("part-*"))


@pytest.mark.parametrize(
    "words",
    [
        ["log", "--out", "D", "--renders", "0"],
        ["log", "--out", "D", "--prompts", "1"],
        ["log", "--out", "D", "--prompts", "4402"],
        ["log", "--out", "D", "--seed", "-1"],
        ["log", "--out", "D", "--renders", "many"],
        ["log", "--out", "D", "--pipeline", "nowhere"],
        ["log", "--out", "full"],
        ["log"],
        ["pairs", "--out", "p.jsonl", "--count", "0"],
        ["pairs", "--out", "p.jsonl", "--count", "200001"],
        ["pairs", "--out", "p.jsonl", "--seed", "-1"],
        ["pairs", "--out", "p.txt"],
        ["pairs", "--out", "full.jsonl", "--count", "3"],
        ["other"],
        [],
    ],
    ids=" ".join,
)
def test_bad_arguments_cost_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full", "thesis.txt").write_text("mine")
    Path("full.jsonl").write_text("mine")
    before = tree(tmp_path)
    try:
        code = main(words)
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert tree(tmp_path) == before


def test_settings_and_sampler_come_from_the_pipeline_folder(tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(miniworld.PIPELINE, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    settings = {"num_inference_steps": 5, "guidance_scale": 3, "height": 64, "width": 64}
    (folder / "render_defaults.json").write_text(json.dumps(settings))
    opened = open_source(folder)
    assert (opened.steps, opened.guidance, opened.sampler) == (5, 3.0, "dpmpp_2m")
    index = json.loads((folder / "model_index.json").read_text())
    for scheduler, name in (("LMSDiscreteScheduler", "k_lms"), ("UniPCMultistepScheduler", "others")):
        index["scheduler"] = ["diffusers", scheduler]
        (folder / "model_index.json").write_text(json.dumps(index))
        assert open_source(folder).sampler == name
    (folder / "render_defaults.json").unlink()
    with pytest.raises(BadInput, match="does not set"):
        open_source(folder)


def test_pairs_show_one_scene_plainly_and_professionally():
    pairs = draw_pairs(600, seed=3)
    assert len({pair.high for pair in pairs}) == 600
    lengths = Counter()
    for pair in pairs:
        low, high = parse(pair.low), parse(pair.high)
        assert low is not None, pair.low
        assert not low.terms
        assert low == high.with_terms(()), pair
        assert high.family == pair.family
        assert split_of(high.triple) == "train"
        lengths[len(high.terms)] += 1
    assert min(lengths) == SHORTEST
    assert 0.4 * lengths[SHORTEST + 1] < lengths[SHORTEST] < lengths[SHORTEST + 1]
    lows = [pair.low for pair in pairs]
    assert 0.1 < sum(low[0].isupper() for low in lows) / 600 < 0.4
    assert 0.1 < sum(not {"a", "an", "one"} & set(low.lower().split()) for low in lows) / 600 < 0.5


def test_pairs_are_a_function_of_their_seed_and_read_back(tmp_path):
    assert write_pairs(tmp_path / "sub" / "pairs.jsonl", 50, seed=1) == 50
    content = (tmp_path / "sub" / "pairs.jsonl").read_bytes()
    assert write_pairs(tmp_path / "sub" / "pairs.jsonl", 50, seed=1) == 50
    assert (tmp_path / "sub" / "pairs.jsonl").read_bytes() == content
    with pytest.raises(BadInput, match="holds something else"):
        write_pairs(tmp_path / "sub" / "pairs.jsonl", 50, seed=2)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["pairs.jsonl"]
    assert draw_pairs(20, seed=1) == draw_pairs(50, seed=1)[:20]
    assert draw_pairs(20, seed=2) != draw_pairs(20, seed=1)
    report = read_pairs(tmp_path / "sub" / "pairs.jsonl")
    assert (report.duplicates, report.bad) == (0, ())
    assert [(pair.low, pair.high, pair.family) for pair in report.pairs] == [
        (pair.low, pair.high, pair.family) for pair in draw_pairs(50, seed=1)
    ]


@pytest.mark.slow
def test_a_pipeline_that_does_not_load_is_an_error_of_one_line(tmp_path):
    shutil.copytree(miniworld.PIPELINE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(BadInput, match="files that do not load") as caught:
        open_source(tmp_path / "pipeline").draw(["a cat"], [1])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_shipped_pipeline_draws_a_log(tmp_path):
    for name in ("a", "b"):
        assert main(["log", "--out", str(tmp_path / name), "--prompts", "2", "--renders", "2"]) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    images = list(read_parts(tmp_path / "a"))
    settings = json.loads((miniworld.PIPELINE / "render_defaults.json").read_text())
    assert len(images) == 4
    pixels = []
    for image in images:
        assert (image.steps, image.guidance) == (settings["num_inference_steps"], settings["guidance_scale"])
        with Image.open(image.path) as picture:
            assert picture.size == (settings["width"], settings["height"])
            pixels.append(np.asarray(picture))
    assert all(picture.std() > 5 for picture in pixels)
    assert not np.array_equal(pixels[0], pixels[1])
