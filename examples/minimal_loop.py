"""The whole idea in one file: agents write instructions, a pipeline draws, a scorer judges, a bandit chooses.

    python examples/minimal_loop.py

No checkpoints, no budget, no database, no held-out test: `brushup optimize` is this loop with all of that. Takes about
half a minute on two cores. Read it top to bottom; docs/architecture.md walks the same round through the real files.
"""

import asyncio

import miniworld
from agents import (
    INITIAL_INSTRUCTION,
    LLMGradientCalculator,
    LLMInstructionModifier,
    LLMRefiner,
    load_templates,
    make_chat_model,
    settings_for,
)
from bandit import POLICIES
from bandit.session import Bandit
from bandit.settings import PolicySettings
from core.records import NAIVE, RenderRequest, ScoredPrompt, ScoreItem
from core.seeding import derive_seed, generator
from rendering import RenderSettings, load_renderer
from scoring import load_scorer

SEED, ROUNDS, PULLS, CHILDREN, BATCH = 0, 3, 4, 2, 8
NAIVE_PROMPTS = [
    f"a {colour} {subject} {place}, {style}"
    for colour, subject in (("red", "cat"), ("blue", "house"), ("green", "car"), ("yellow", "fish"))
    for place in ("in a forest", "on a beach")
    for style in ("anime", "photo", "painting")
]

chat = make_chat_model("offline/agents")  # or "openai/gpt-4o-mini"
renderer = load_renderer(str(miniworld.PIPELINE), RenderSettings(chunk=BATCH))  # or "stabilityai/sd-turbo"
scorer = load_scorer(str(miniworld.SCORER), chunk=BATCH)  # or "hpsv2.1"
templates, settings = load_templates(), settings_for("offline/agents")
professional = miniworld.CORPUS.read_text(encoding="utf-8").splitlines()


def exemplars(naive: str) -> list[str]:
    """Return three professional prompts; the real loop searches them by words."""
    picks = generator("exemplars", naive).integers(len(professional), size=3)
    return [professional[int(i)] for i in picks]


def batch(number: int) -> list[tuple[str, str, int]]:
    """Return blocks (id, naive prompt, diffusion seed). An arm's k-th pull meets batch k, so arms can be compared."""
    places = range(number * BATCH, (number + 1) * BATCH)
    order = generator("order", SEED).permutation(len(NAIVE_PROMPTS))
    return [(f"b{i}", NAIVE_PROMPTS[int(order[i % len(order)])], derive_seed("block", SEED, i)) for i in places]


def scores(prompts: list[str], blocks: list[tuple[str, str, int]]) -> dict[str, float]:
    """Draw the prompts on the blocks' seeds and score the pictures against the *naive* prompts."""
    drawn = renderer.render([RenderRequest(p, seed) for p, (_, _, seed) in zip(prompts, blocks, strict=True)])
    items = [ScoreItem(r.image, naive) for r, (_, naive, _) in zip(drawn, blocks, strict=True) if r.image]
    return {block: float(s.value or 0) for (block, _, _), s in zip(blocks, scorer.score(items), strict=True)}


async def main() -> None:
    """Run the loop and print what was learnt."""
    arms = {"r0c0": INITIAL_INSTRUCTION}
    bandit = Bandit(POLICIES["ucb1"](PolicySettings()), arms=arms)
    calculator = LLMGradientCalculator(chat, templates=templates, settings=settings)
    modifier = LLMInstructionModifier(chat, templates=templates, training_prompts=NAIVE_PROMPTS, settings=settings)
    seen: list[ScoredPrompt] = []
    for round_ in range(1, ROUNDS + 1):
        for k in range(PULLS):
            # the policy picks an instruction; the Generator refines the batch under it
            pull = bandit.ask(f"r{round_}p{k}", generator("policy", SEED, round_, k))
            blocks = batch(pull.batch)
            refiner = LLMRefiner(chat, arms[pull.arm], templates=templates, exemplars=exemplars, settings=settings)
            refined = await refiner.refine([naive for _, naive, _ in blocks], seed=derive_seed(SEED, pull.id))
            texts = [r.text or r.naive for r in refined]
            ours, naive = scores(texts, blocks), scores([n for _, n, _ in blocks], blocks)
            bandit.tell(pull.id, ours, naive)
            for (block, prompt, _), text in zip(blocks, texts, strict=True):
                seen.append(ScoredPrompt(prompt, text, ours[block] - naive[block], pull.arm, block))
        for arm, row in bandit.statistics().items():
            print(f"round {round_}  {arm}  {100 * (row.mean or 0):+.2f} over {NAIVE} on {row.n} blocks")
        if round_ == ROUNDS:
            break
        # say in words why good beat bad, and write better instructions
        parent = bandit.select_parent(generator("parent", SEED, round_)) or "r0c0"
        shown = professional[:12]
        gradient = await calculator.critique(arms[parent], seen, shown, seed=round_, arm=parent)
        for k, text in enumerate(await modifier.propose(arms[parent], gradient, shown, CHILDREN, seed=round_)):
            arms[f"r{round_}c{k}"] = text
            bandit.add(f"r{round_}c{k}")
    print(f"\nbest instruction:\n{arms[bandit.leader() or 'r0c0']}")


if __name__ == "__main__":
    asyncio.run(main())
