"""Pictures between the renderer and their files: stored with what they were drawn for, drawn again when lost."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from PIL import Image

from core.calllog import log_calls
from core.records import RenderRequest
from graph.workbench import Workbench
from prompt_db.run_schema import RENDER_CHUNK, SMALLER_CHUNK
from rendering.cache import render_key
from rendering.infotext import picture_texts

LOST = "the picture's file is gone, and it could not be drawn again"


@dataclass(frozen=True)
class Drawn:
    """A picture with its key, its request, and the arm and block it was drawn for."""

    key: str
    request: RenderRequest
    image: Image.Image
    arm: str
    block_id: str


def store_pictures(bench: Workbench, pictures: Sequence[Drawn]) -> None:
    """Write pictures to the cache, each with its text chunks (`rendering.infotext`).

    Raises:
        BadInput: the disk refuses.
    """
    naive = {prompt.id: prompt.text for prompt in bench.store.prompts()}
    blocks = {block.id: block for block in bench.store.blocks([drawn.block_id for drawn in pictures])}
    texts = {
        drawn.key: picture_texts(
            bench.renderer,
            drawn.request,
            drawn.image.size,
            naive_prompt=naive[blocks[drawn.block_id].prompt_id],
            instruction=drawn.arm,
        )
        for drawn in pictures
    }
    bench.images.put_many([(drawn.key, drawn.image) for drawn in pictures], texts)


def note_smaller_chunk(bench: Workbench, before: int) -> None:
    """Record that the renderer ran out of memory, so that a resumed run goes on with the smaller chunk."""
    now = bench.renderer.chunk
    text = f"out of memory at {before} pictures at once; {now} at once from now on"
    bench.store.set_fact(RENDER_CHUNK, str(now))
    bench.event(SMALLER_CHUNK, 0, detail=text)
    bench.progress.note(f"warning: {text}")


def restore_pictures(bench: Workbench, keys: Collection[str]) -> set[str]:
    """Draw again those of a run's pictures whose files were pruned or damaged; return the keys that stay lost.

    A picture is a function of its key, so nothing else of the run changes, and it is not charged a second time: the
    run has paid for it. The seconds are counted. One that was drawn with a larger chunk than there is memory for now
    stays lost: its values would be others.

    Raises:
        BadInput: the disk refuses.
    """
    missing = {key for key in keys if bench.images.get(key) is None}
    if not missing:
        return missing
    rows = bench.store.rows(
        "SELECT render.key, render.arm, render.block_id, render.prompt, render.negative, block.seed FROM render"
        " JOIN block ON block.id = render.block_id WHERE render.error = '' ORDER BY arm, block_id"
    )
    todo = {row["key"]: row for row in reversed(rows) if row["key"] in missing}
    requests = {key: RenderRequest(row["prompt"], row["seed"], row["negative"]) for key, row in todo.items()}
    again = sorted(key for key, request in requests.items() if render_key(bench.renderer, request) == key)
    size = bench.renderer.chunk
    for chunk in (again[start : start + size] for start in range(0, len(again), size)):
        if bench.renderer.chunk != size:
            break
        with bench.ledger.busy("render"):
            results = bench.renderer.render([requests[key] for key in chunk])
        if bench.renderer.chunk != size:
            note_smaller_chunk(bench, size)
        log_calls("render", chunk)
        drawn = [
            Drawn(key, requests[key], result.image, todo[key]["arm"], todo[key]["block_id"])
            for key, result in zip(chunk, results, strict=True)
            if result.image is not None and render_key(bench.renderer, requests[key]) == key
        ]
        store_pictures(bench, drawn)
        missing -= {picture.key for picture in drawn}
    return missing
