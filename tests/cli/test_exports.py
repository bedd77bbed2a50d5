"""`brushup export`: each format, read back by the rules of the tool that it is for."""

import csv
import json
import urllib.request
from pathlib import Path

import pytest
import yaml
from langchain_core.load import load
from langchain_core.prompts import ChatPromptTemplate, HumanMessagePromptTemplate, PromptTemplate

from agents.messages import sections
from experiments.export import FORMATS
from experiments.wiring import Models
from prompt_db.run_store import RunStore
from rendering.settings import RenderSettings
from rendering.workflow import prepared, read_workflow
from tests.cli.conftest import Brushup, snapshot, write_toml
from tests.fixtures.consumers import (
    apply_a1111_style,
    read_a1111_styles,
    read_invokeai_presets,
    read_sdxl_styles,
    read_wildcards,
)
from tests.fixtures.openai_server import OpenAIServer

pytestmark = pytest.mark.slow

NAIVE = "a red castle in a forest, anime"


def found(home: Path) -> dict:
    return json.loads((home / "one/instructions.json").read_text())


def exported(brushup: Brushup, home: Path, form: str, *more: object) -> str:
    done = brushup("export", "one", "--home", home, "--format", form, *more)
    assert (done.code, done.err) == (0, "")
    return done.out


def tell_store(home: Path, sql: str) -> None:
    import sqlite3

    database = sqlite3.connect(home / "one/run.db")
    with database:
        database.execute(sql)
    database.close()


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_run_gives_the_same_bytes_and_stays_as_it_is(brushup: Brushup, home: Path, form: str) -> None:
    before = snapshot(home)
    first = exported(brushup, home, form)
    assert exported(brushup, home, form) == first
    assert first.endswith("\n")
    if FORMATS[form].json:
        json.loads(first)
    assert snapshot(home) == before
    target = home.parent / "export"
    assert brushup("export", "one", "--home", home, "--format", form, "-o", target).code == 0
    assert target.read_text(encoding="utf-8") == first


def test_styles_hold_what_the_best_instruction_adds(brushup: Brushup, home: Path) -> None:
    """The instruction says "always add"; the style says the same without having read it."""
    best = found(home)["best"]
    name = f"brushup one {best}"
    data = exported(brushup, home, "styles-csv").encode()
    style = read_a1111_styles(data)[name]
    applied = apply_a1111_style(style.prompt, NAIVE)
    assert applied.startswith(f"{NAIVE}, ")
    store = RunStore.reader(home / "one/run.db")
    texts = [row["text"] for row in store.rows("SELECT text FROM refinement WHERE arm = ? AND error = ''", [best])]
    store.close()
    for phrase in applied.removeprefix(f"{NAIVE}, ").split(", "):
        assert sum(phrase in text for text in texts) >= 0.5 * len(texts)
    assert read_sdxl_styles(exported(brushup, home, "sdxl-styles")) == {name: style}
    for content, kind in ((exported(brushup, home, "invokeai").encode(), "application/json"), (data, "text/csv")):
        [preset] = read_invokeai_presets(content, kind)
        assert (preset.name, preset.positive_prompt, preset.negative_prompt) == (name, style.prompt, "")


def test_top_gives_several_styles_best_first(brushup: Brushup, home: Path) -> None:
    styles = list(read_sdxl_styles(exported(brushup, home, "sdxl-styles", "--top", 2)))
    assert len(styles) == 2
    assert styles[0] == f"brushup one {found(home)['best']}"
    assert len(json.loads(exported(brushup, home, "json", "--top", 2))["instructions"]) == 2
    assert len(json.loads(exported(brushup, home, "json"))["instructions"]) == len(found(home)["instructions"])
    one, two = (exported(brushup, home, "text", "--top", number) for number in (1, 2))
    assert two.startswith(one.rstrip("\n") + "\n\n")
    wild = read_wildcards(exported(brushup, home, "wildcards", "--top", 2))
    assert set(read_wildcards(exported(brushup, home, "wildcards"))) <= set(wild)
    assert len(wild) == len(set(wild))


def test_hostile_phrases_and_negative_prompts_reach_the_tools_as_text(brushup: Brushup, home: Path) -> None:
    best = found(home)["best"]
    hostile = """(glow:1.5), {prompt}, =cmd, back\\slash, "quoted" """.strip().replace("'", "''")
    tell_store(
        home,
        f"UPDATE render SET prompt = prompt || ', {hostile}', negative = '=HYPERLINK(1), (blur)' WHERE arm = '{best}'",
    )
    data = exported(brushup, home, "styles-csv")
    [row] = list(csv.DictReader(data.splitlines()))
    assert not row["negative_prompt"].startswith("=")
    assert row["prompt"].count("{prompt}") == 1
    [style] = read_a1111_styles(data.encode()).values()
    assert r"\(blur\)" in style.negative_prompt
    [preset] = read_invokeai_presets(exported(brushup, home, "invokeai").encode(), "application/json")
    assert not set('()\\"') & set(preset.negative_prompt)
    template = loaded(exported(brushup, home, "langchain"))
    assert template.input_variables == ["prompt"]
    page = exported(brushup, home, "markdown")
    assert "| \\(glow:1.5\\) |" in page
    assert "=cmd" in page


def test_the_fixed_negative_prompt_of_the_run_is_part_of_its_style(brushup: Brushup, home: Path) -> None:
    path = home / "one/summary.json"
    path.write_text(path.read_text().replace('"negative_prompt": ""', '"negative_prompt": "text, (blur)"', 1))
    assert '"text, (blur)"' in path.read_text()
    [style] = read_a1111_styles(exported(brushup, home, "styles-csv").encode()).values()
    assert style.negative_prompt == r"text, \(blur\)"
    graph = json.loads(exported(brushup, home, "comfyui"))
    assert graph["7"]["inputs"]["text"] == r"text, \(blur\)"


def test_a_run_on_a1111_keeps_the_attention_that_it_measured(brushup: Brushup, home: Path) -> None:
    best = found(home)["best"]
    tell_store(home, f"UPDATE render SET prompt = prompt || ', (glow:1.5)' WHERE arm = '{best}'")
    for name in ("config.json", "summary.json"):
        path = home / "one" / name
        path.write_text(path.read_text().replace('"renderer": null', '"renderer": "a1111=http://127.0.0.1:7860"', 1))
    [style] = read_a1111_styles(exported(brushup, home, "styles-csv").encode()).values()
    assert "(glow:1.5)" in style.prompt


def test_messages_posted_to_the_same_model_give_the_prompt_of_the_run(brushup: Brushup, home: Path) -> None:
    store = RunStore.reader(home / "one/run.db")
    rows = store.rows(
        "SELECT prompt.text AS naive, refinement.text AS refined FROM refinement JOIN prompt ON prompt.id = prompt_id"
        " WHERE arm = ? AND split = 'test' AND error = '' ORDER BY prompt.id LIMIT 3",
        [found(home)["best"]],
    )
    store.close()
    assert len(rows) == 3
    with OpenAIServer() as server:
        for row in rows:
            body = exported(brushup, home, "messages", "--prompt", row["naive"]).encode()
            request = urllib.request.Request(  # noqa: S310
                f"{server.url}/chat/completions", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                reply = json.load(answer)["choices"][0]["message"]["content"]
            assert json.loads(reply) == {"prompt": row["refined"]}
    assert json.loads(exported(brushup, home, "json", "--prompt", NAIVE))["request"] == json.loads(
        exported(brushup, home, "messages", "--prompt", NAIVE)
    )


def test_refine_and_messages_know_the_seeds_of_a_comparison(brushup: Brushup, tmp_path: Path, models: Models) -> None:
    """There refinements are seeded by an instruction's place in the tree of proposals, not by its id."""
    config = write_toml(tmp_path, loop={"evidence": "lineage"}, evaluation={"test_prompts": 20})
    home = tmp_path / "runs"
    assert brushup("optimize", config, "--run", "one", "--home", home, "--quiet").code == 0
    store = RunStore.reader(home / "one/run.db")
    [row, *_] = store.rows(
        "SELECT prompt.text AS naive, refinement.text AS refined, arm FROM refinement"
        " JOIN prompt ON prompt.id = prompt_id JOIN instruction ON instruction.id = arm"
        " WHERE parent != '' AND replicate = 0 AND error = ''"
    )
    store.close()
    done = brushup("refine", row["naive"], "--run", "one", "--instruction", row["arm"], "--home", home)
    assert done.out.strip() == row["refined"]


def test_messages_without_a_prompt_have_a_placeholder_and_no_seed(brushup: Brushup, home: Path) -> None:
    body = json.loads(exported(brushup, home, "messages"))
    parts = sections(body["messages"][0]["content"])
    assert parts["prompt"].strip() == "{prompt}"
    assert len(parts["examples"].split("\n")) == 3
    assert "seed" not in body
    assert body["max_tokens"] == 400
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["prompt"]


def loaded(text: str) -> ChatPromptTemplate:
    known = [ChatPromptTemplate, HumanMessagePromptTemplate, PromptTemplate]
    template = load(json.loads(text), allowed_objects=known)
    assert isinstance(template, ChatPromptTemplate)
    return template


@pytest.mark.filterwarnings("ignore")
def test_langchain_loads_the_template_and_says_the_same(brushup: Brushup, home: Path) -> None:
    template = loaded(exported(brushup, home, "langchain"))
    assert template.input_variables == ["prompt"]
    [message] = template.invoke({"prompt": "a {curly} cat"}).to_messages()
    [body] = json.loads(exported(brushup, home, "messages"))["messages"]
    assert message.type == "human"
    assert message.content == body["content"].replace("{prompt}", "a {curly} cat")


def test_comfyui_workflow_is_one_that_our_own_renderer_takes(brushup: Brushup, home: Path) -> None:
    target = home.parent / "workflow.json"
    target.write_text(exported(brushup, home, "comfyui", "--prompt", NAIVE))
    graph = read_workflow(str(target))
    workflow = prepared(graph, RenderSettings())
    text = graph[workflow.positive]["inputs"]["text"]
    style = read_a1111_styles(exported(brushup, home, "styles-csv").encode())
    assert text == next(iter(style.values())).prompt.replace("{prompt}", NAIVE)
    links = [value for node in graph.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert all(str(link[0]) in graph for link in links)
    assert "SaveImage" in {node["class_type"] for node in graph.values()}
    assert "{prompt}, " in exported(brushup, home, "comfyui")


def test_wildcards_are_also_valid_entries_of_a_yaml_file(brushup: Brushup, home: Path) -> None:
    lines = read_wildcards(exported(brushup, home, "wildcards"))
    assert lines
    assert yaml.safe_load(yaml.safe_dump({"brushup": lines}))["brushup"] == lines


def test_what_does_not_fit_together_is_refused(brushup: Brushup, home: Path) -> None:
    export = ("export", "one", "--home", home, "--format")
    brushup(*export, "xml").refused("--format is 'xml'", "styles-csv", "comfyui")
    brushup(*export, "comfyui", "--top", 2).refused("holds one instruction")
    brushup(*export, "text", "--top", 0).refused("--top is 0")
    brushup(*export, "text", "--prompt", "a cat").refused("takes no --prompt", "messages")
    brushup(*export, "messages", "--prompt", " ").refused("a prompt is empty")


def test_an_instruction_that_rewrites_has_no_style(brushup: Brushup, home: Path) -> None:
    tell_store(home, "UPDATE render SET prompt = 'picture ' || block_id WHERE arm != 'naive'")
    for form in ("styles-csv", "comfyui"):
        brushup("export", "one", "--home", home, "--format", form).refused("no style to export", "--format messages")
    brushup("export", "one", "--home", home, "--format", "wildcards").refused("use --format")
    assert exported(brushup, home, "markdown")
