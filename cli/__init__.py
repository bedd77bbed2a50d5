"""The `brushup` command: one file per command; each parses, calls one function, and formats."""

from collections.abc import Callable
from typing import Any


def commands() -> dict[str, Callable[..., Any]]:
    """Return the commands by name. A new command is one file and one line here."""
    from cli.compare import compare
    from cli.distill import distill
    from cli.doctor import doctor
    from cli.evaluate import evaluate
    from cli.export import export
    from cli.gradients import gradients
    from cli.optimize import optimize
    from cli.refine import refine
    from cli.report import report
    from cli.resume import resume
    from cli.runs import runs
    from cli.show import show
    from cli.simulate import simulate
    from cli.train import train

    return {
        "optimize": optimize,
        "resume": resume,
        "runs": runs,
        "show": show,
        "compare": compare,
        "gradients": gradients,
        "report": report,
        "export": export,
        "simulate": simulate,
        "refine": refine,
        "train": train,
        "distill": distill,
        "evaluate": evaluate,
        "doctor": doctor,
    }
