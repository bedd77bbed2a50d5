"""What a trained refiner is worth beside the agent loop: speed, gain kept, and cost of a refinement.

    python benchmarks/refine.py --refiner mine-sft --home runs --table table.json --row distilled-sft --run mine --json
        {"prompts_per_second", "gain_kept", "cost_ratio_to_agent", "prices", ...}

- `prompts_per_second` on two cores: two processes of one thread each, started together, each with half of the prompts;
  the sum of prompts / processor seconds, so that other load on the machine does not count. Loading is not in it; the
  first answers are left out. `prompts_per_second_wall` is by the clock. `one_prompt_a_call` is the naive way to use a
  refiner: a call for each prompt, in one process of one thread; `batches_over_one` = one process in batches / that.
- `gain_kept`: from `brushup evaluate --suite table --json` (`--table`): the refiner's gain over naive by the optimised
  scorer / the gain of the run's instruction (`--against`), which asks an LLM for every prompt, on the same held-out
  prompts and seeds. A prompt without an answer gains nothing. None without a table.
- `cost_ratio_to_agent` = price of the tokens of one refinement call / price of the processor seconds of one answer.
  Tokens: means over the calls in a run's ledger (`--run`); without a run, of calls under the initial instruction with
  its exemplars, as an LLM is sent them, counted by the offline agents. `prices` holds all numbers of the formula. The
  alternative is named in `alternative`: the agent loop's call, not the whole loop that found the instruction.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder

from core.environment import set_switches

set_switches()

from core.errors import BadInput
from core.pricing import Price

PROCESSES = 2
FORMULA = (
    "(tokens_sent * usd_per_million_sent + tokens_received * usd_per_million_received) / 1e6"
    " / (cpu_seconds_per_prompt * usd_per_cpu_hour / 3600)"
)


@dataclass(frozen=True)
class Tokens:
    """Mean tokens of one refinement call, and where they were counted."""

    sent: float
    received: float
    counted: str


@dataclass(frozen=True)
class Took:
    """Seconds of one process: of its processor and by the clock, for so many prompts."""

    prompts: int
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        """Prompts a processor second."""
        return self.prompts / self.cpu


def timed(place: str, prompts: Sequence[str], *, one_a_call: bool = False, barrier: Any = None) -> Took:
    """Answer prompts on one thread, after a few others to warm up."""
    import torch

    from refiner import load_refiner

    torch.set_num_threads(1)
    refiner = load_refiner(place)
    asyncio.run(refiner.refine([f"a warm-up picture, number {k}" for k in range(8)], seed=0))
    if barrier is not None:
        barrier.wait()
    cpu, wall = time.process_time(), time.perf_counter()
    for part in [[prompt] for prompt in prompts] if one_a_call else [list(prompts)]:
        asyncio.run(refiner.refine(part, seed=0))
    return Took(len(prompts), time.process_time() - cpu, time.perf_counter() - wall)


def _worker(place: str, prompts: Sequence[str], barrier: Any, results: Any) -> None:
    results.put(timed(place, prompts, barrier=barrier))


def together(place: str, prompts: Sequence[str]) -> list[Took]:
    """Answer prompts in two processes at once, each its share."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    shares = [prompts[k::PROCESSES] for k in range(PROCESSES)]
    workers = [context.Process(target=_worker, args=(place, share, barrier, results)) for share in shares]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return found


def gain_kept(table: Mapping[str, Any], row: str, against: str, label: str) -> dict[str, Any]:
    """Return the share of another row's gain that a row has, by the optimised scorer, with both gains.

    Args:
        table: what `brushup evaluate --json` printed.
        row: the refiner's.
        against: the other one.
        label: the refiner's own; the row has to have the same.

    Raises:
        BadInput: the table lacks a row, the row is another refiner's, or the other row gains nothing.
    """
    scorer = table["optimised"]
    gains = {}
    for name in (row, against):
        if scorer not in table["rows"].get(name, {}).get("scores", {}):
            raise BadInput(f"--table has no row {name!r} with {scorer}; its rows: {', '.join(table['rows'])}")
        found = table["rows"][name]["scores"][scorer]
        failed = table["rows"][name]["failed"] / table["rows"][name]["prompts"]
        gains[name] = {"delta": found["delta"], "ci95": found["ci95"], "failed": failed}
    if (theirs := table["rows"][row]["label"]) != label:
        raise BadInput(
            f"--table: row {row!r} is {theirs!r}, the refiner is {label!r}; name its --row, or the --refiner"
        )
    mine, its = (gains[name]["delta"] * (1 - gains[name]["failed"]) for name in (row, against))
    if its <= 0:
        raise BadInput(f"--table: row {against!r} gains {its:.3g}, expected more than 0 to keep")
    return {"gain_kept": mine / its, "gains": gains}


def cost_ratio(tokens: Tokens, price: Price, cpu_seconds: float, usd_per_cpu_hour: float) -> float:
    """Return the price of one agent call over that of one answer of the refiner; see `FORMULA`."""
    call = (tokens.sent * price.sent + tokens.received * price.received) / 1e6
    return call / (cpu_seconds * usd_per_cpu_hour / 3600)


def tokens_of_run(home: Path, run: str) -> Tokens:
    """Return the mean tokens of a run's refinement calls, from its ledger.

    Raises:
        BadInput: no such run, or none of its calls has a count.
    """
    from experiments.folder import existing_folder
    from experiments.status import reading

    with reading(existing_folder(home, run)) as store:
        rows = store.rows(
            "SELECT prompt_tokens, completion_tokens FROM charge"
            " WHERE id LIKE 'llm:refine/%' AND status = 'done' AND prompt_tokens > 0 AND cached = 0"
        )
    if not rows:
        raise BadInput(f"--run {run}: got no refinement call with a count of tokens, expected some; name another run")
    sent, received = (fmean(row[key] for row in rows) for key in ("prompt_tokens", "completion_tokens"))
    return Tokens(sent, received, f"{len(rows)} calls in the ledger of run {run}")


def tokens_of_messages(home: Path, prompts: Sequence[str]) -> Tokens:
    """Return the mean tokens of calls under the initial instruction, sent and answered by the offline agents."""
    from agents.messages import load_templates
    from core.records import ChatRequest, Completion
    from experiments.config import RunConfig
    from experiments.wiring import agent_settings, first_instructions, load_chat, open_library, refiner_factory

    agents = RunConfig().agents
    chat, found = load_chat(agents), list[Completion]()

    class Counting:
        name = chat.name

        async def complete(self, request: ChatRequest) -> Completion:
            found.append(await chat.complete(request))
            return found[-1]

    library, corpus = open_library(home, None)
    try:

        def exemplars(naive: str) -> list[str]:
            return library.exemplars([naive], agents.generator_exemplars, corpus=corpus)

        make = refiner_factory(Counting(), load_templates(None), agent_settings(agents), exemplars)
        asyncio.run(make(first_instructions(RunConfig(), ())[0]).refine(prompts, seed=0))
    finally:
        library.close()
    sent, received = fmean(one.prompt_tokens for one in found), fmean(one.completion_tokens for one in found)
    return Tokens(sent, received, f"{len(found)} calls under the initial instruction, counted by {chat.name}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    from agents.prices import price_of
    from experiments.answers import find_refiner
    from experiments.suites.cases import miniworld_cases
    from refiner.folder import MANIFEST_FILE, read_manifest

    place = find_refiner(options.home, options.refiner)
    prompts = [case.prompt for case in miniworld_cases(options.prompts // 4, 0)]
    tokens = tokens_of_run(options.home, options.run) if options.run else tokens_of_messages(options.home, prompts[:32])
    price = price_of(options.llm, price_in=options.price_in, price_out=options.price_out)
    if price is None:
        raise BadInput(f"--llm {options.llm}: its price is not known; give --price-in and --price-out")
    both = together(place, prompts)
    single = timed(place, prompts[: options.single], one_a_call=True)
    seconds = sum(took.cpu for took in both) / len(prompts)
    own = (Path(place) / MANIFEST_FILE).is_file()
    label = read_manifest(Path(place)).label if own else f"released weights: {place}"
    kept: dict[str, Any] = {"gain_kept": None}
    if options.table:
        table = json.loads(options.table.read_text(encoding="utf-8"))
        kept = gain_kept(table, options.row or str(options.refiner or "prip"), options.against, label)
    return {
        "prompts_per_second": sum(took.rate for took in both),
        "gain_kept": kept.pop("gain_kept"),
        "cost_ratio_to_agent": cost_ratio(tokens, price, seconds, options.usd_per_cpu_hour),
        "prices": {
            "llm": options.llm,
            "usd_per_million_sent": price.sent,
            "usd_per_million_received": price.received,
            "tokens_sent": tokens.sent,
            "tokens_received": tokens.received,
            "tokens_counted": tokens.counted,
            "cpu_seconds_per_prompt": seconds,
            "usd_per_cpu_hour": options.usd_per_cpu_hour,
            "formula": FORMULA,
        },
        "alternative": f"one refinement call of {options.llm} a prompt, as the agent loop makes it",
        "refiner": place,
        "label": label,
        "prompts": len(prompts),
        "prompts_per_second_wall": len(prompts) / max(took.wall for took in both),
        "one_prompt_a_call": single.rate,
        "batches_over_one": fmean(took.rate for took in both) / single.rate,
        **kept,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refiner", help="name in HOME/refiners, or folder; default: the shipped one")
    parser.add_argument("--home", type=Path, default=Path("runs"))
    parser.add_argument("--prompts", type=int, default=512, help="fresh prompts, a multiple of four")
    parser.add_argument("--single", type=int, default=64, help="prompts that are also answered one a call")
    parser.add_argument("--table", type=Path, help="output of `brushup evaluate --suite table --json`")
    parser.add_argument("--row", help="the refiner's row in it; default: its name")
    parser.add_argument("--against", default="optimised", help="the row of the run's instruction in it")
    parser.add_argument("--run", help="a run of HOME whose ledger says what a refinement call costs")
    parser.add_argument("--llm", default="openai/gpt-4o-mini", help="whose price the tokens have")
    parser.add_argument("--price-in", type=float, help="USD per million tokens sent, instead of the price table's")
    parser.add_argument("--price-out", type=float, help="USD per million tokens received")
    parser.add_argument("--usd-per-cpu-hour", type=float, default=0.05, help="of one core")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        result = measure(options)
    except BadInput as error:
        sys.exit(f"refine.py: {error}")
    print(json.dumps(result) if options.json else "\n".join(f"{key}: {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
