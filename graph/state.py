"""The graph's state: plain JSON, a few ids and numbers. Rows live in `run.db`, pictures in files."""

from typing import Literal, TypedDict

Stage = Literal["loop", "validate", "test", "done"]


class Work(TypedDict):
    """One unit of work: draw and score what `arms` make of `blocks`. `id` is a pull's id, or `validate/ARM`."""

    id: str
    arms: list[str]
    blocks: list[str]


class LoopState(TypedDict, total=False):
    """Where the run stands. `step` counts pulls in a round, or arms in validation and test."""

    stage: Stage
    round: int
    step: int
    work: Work | None
    expand: bool
    parent: str


class RefineTask(TypedDict):
    """What one branch of the fan-out gets: one block, refined by one arm."""

    work: str
    arm: str
    block: str


START_STATE: LoopState = {"stage": "loop", "round": 1, "step": 0, "work": None, "expand": False, "parent": ""}
