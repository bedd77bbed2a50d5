"""What `core.interfaces.Refiner` promises, for every kind in `REFINERS`; a new one needs a maker of a folder."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from httpx import Request, Response
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from core.errors import BadInput
from core.interfaces import Refiner
from refiner import REFINERS, RELEASED, load_refiner
from refiner.folder import Manifest, writing
from refiner.prip.model import save_pretrained
from refiner.prompting import STYLES
from refiner.sft import save_causal
from tests.refiner import toy_refiner
from tests.refiner.tiny import tiny_lm, tiny_prip, tiny_tokenizer

pytestmark = pytest.mark.slow
GONE = Response(404, request=Request("GET", "https://localhost"))
PROMPTS = ["the red boat.", "", "blue sea , gold", " . ", "the red boat."]


def prip(folder: Path) -> None:
    save_pretrained(
        folder, tiny_prip(), Manifest("prip", "tiny", "CC0-1.0", settings={"answering": {"max_new_tokens": 6}})
    )


def causal(folder: Path) -> None:
    settings = {"style": "neuroprompts", "search": {"beam": 2, "max_tokens": 6, "min_tokens": 1}}
    save_causal(folder, tiny_lm(), tiny_tokenizer(), Manifest("causal", "tiny", "CC0-1.0", settings=settings))


def phrases(folder: Path) -> None:
    with writing(folder, Manifest("phrases", "toy", "CC0-1.0", settings={"phrases": ["sharp focus", "gold"]})):
        pass


MAKERS: dict[str, Callable[[Path], None]] = {"prip": prip, "causal": causal, "phrases": phrases}
TOYS = {"phrases": toy_refiner.load}
"""The refiner of docs/extending.md, held to the same contract."""


@pytest.fixture(scope="module", params=[*REFINERS, *TOYS])
def refiner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Refiner:
    folder = tmp_path_factory.mktemp(request.param) / "r"
    MAKERS[request.param](folder)
    with pytest.MonkeyPatch.context() as patch:
        for kind, load in TOYS.items():
            patch.setitem(REFINERS, kind, load)
        return load_refiner(folder)


def answers(refiner: Refiner, prompts: list[str], seed: int = 1) -> list[object]:
    return list(asyncio.run(refiner.refine(prompts, seed=seed)))


def test_one_answer_a_prompt_in_order(refiner: Refiner) -> None:
    assert isinstance(refiner, Refiner)
    found = asyncio.run(refiner.refine(PROMPTS, seed=1))
    assert [item.naive for item in found] == PROMPTS
    assert found[0] == found[4]
    for item in found:
        assert bool(item.text) != bool(item.error)
    assert found[0].text
    assert found[2].text
    assert "empty" in found[1].error
    assert "empty" in found[3].error


def test_no_prompts_no_answers(refiner: Refiner) -> None:
    assert answers(refiner, []) == []


def test_an_answer_is_a_function_of_prompt_and_seed(refiner: Refiner) -> None:
    together = answers(refiner, PROMPTS)
    assert answers(refiner, PROMPTS) == together
    assert answers(refiner, PROMPTS[2:3]) == together[2:3]


def test_two_calls_at_once_do_not_mix(refiner: Refiner) -> None:
    async def both() -> list[object]:
        return list(await asyncio.gather(refiner.refine(PROMPTS[:1], seed=1), refiner.refine(PROMPTS[2:3], seed=1)))

    assert asyncio.run(both()) == [answers(refiner, PROMPTS[:1]), answers(refiner, PROMPTS[2:3])]


def test_every_released_style_has_a_form() -> None:
    assert set(RELEASED) == set(STYLES)


def test_released_weights_from_a_folder(tmp_path: Path) -> None:
    tiny_lm().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    refiner = load_refiner(f"promptist={tmp_path}")
    [found] = asyncio.run(refiner.refine(["red boat"], seed=0))
    assert found.naive == "red boat"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LocalEntryNotFoundError("Got: ConnectError: no network\nAn error happened while"), "ConnectError: no network"),
        (RepositoryNotFoundError("404 Client Error.", response=GONE), "the hub has none of that name, .*"),
    ],
    ids=["no network", "no repository"],
)
def test_what_the_hub_says_is_one_short_line(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(BadInput, match=rf"'no/such': got neither .* answers \({reason}\), expected"):
        load_refiner("no/such")


def test_what_is_neither_folder_nor_repository_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="neither a folder nor a repository") as error:
        load_refiner("/no/such/folder")
    assert "\n" not in str(error.value)
