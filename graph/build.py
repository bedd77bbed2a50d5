"""Wiring of the state machine.

    plan ─► refine × n ─► render ─► score ─► settle ─► plan ...
      └──► critique ─► modify ─► plan
      └──► end

Only LLM work fans out; there is one render node and one score node a step.
"""

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from graph.decide import plan
from graph.learn import critique, modify, settle
from graph.state import LoopState
from graph.work import current_work, missing_refinements, refine, render, score
from graph.workbench import Workbench


def after_plan(state: LoopState, runtime: Runtime[Workbench]) -> list[Send] | str:
    """Route from `plan`: to the end, to an expansion, or into a unit of work (fanning out its refinements)."""
    if state["stage"] == "done":
        return END
    if state["expand"]:
        return "critique"
    tasks = missing_refinements(runtime.context, current_work(state))
    return [Send("refine", task) for task in tasks] or "render"


def build_graph(
    checkpointer: BaseCheckpointSaver | None = None,
) -> CompiledStateGraph[LoopState, Workbench, LoopState, LoopState]:
    """Compile the loop; the workbench is handed in as `context` when it is invoked."""
    builder = StateGraph(LoopState, context_schema=Workbench)
    builder.add_node("plan", plan)
    builder.add_node("refine", refine)  # type: ignore[call-overload]  # its input is a RefineTask, from Send
    builder.add_node("render", render)
    builder.add_node("score", score)
    builder.add_node("settle", settle)
    builder.add_node("critique", critique)
    builder.add_node("modify", modify)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", after_plan, ["refine", "render", "critique", END])
    builder.add_edge("refine", "render")
    builder.add_edge("render", "score")
    builder.add_edge("score", "settle")
    builder.add_edge("settle", "plan")
    builder.add_edge("critique", "modify")
    builder.add_edge("modify", "plan")
    return builder.compile(checkpointer=checkpointer, name="brushup")


graph = build_graph()
"""The loop without a checkpointer, for LangGraph's own tools (`langgraph.json`)."""
