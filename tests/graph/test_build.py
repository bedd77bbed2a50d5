"""The state machine's shape, as LangGraph's own tools see it."""

import importlib.util
import json
from pathlib import Path

from graph.build import build_graph
from graph.state import START_STATE

ROOT = Path(__file__).resolve().parents[2]
NODES = {"plan", "refine", "render", "score", "settle", "critique", "modify"}


def test_nodes_and_edges() -> None:
    drawn = build_graph().get_graph()
    assert set(drawn.nodes) - {"__start__", "__end__"} == NODES
    edges = {(edge.source, edge.target) for edge in drawn.edges}
    assert {("render", "score"), ("score", "settle"), ("settle", "plan"), ("critique", "modify")} <= edges
    assert {target for source, target in edges if source == "plan"} == {"refine", "render", "critique", "__end__"}


def test_langgraph_json_names_the_graph() -> None:
    file, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["brushup"].split(":")
    spec = importlib.util.spec_from_file_location("from_langgraph_json", ROOT / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(getattr(module, name).nodes) - {"__start__"} == NODES


def test_the_state_is_plain_json() -> None:
    assert json.loads(json.dumps(START_STATE)) == START_STATE
