"""The recipe of PRIP: E from preferred pictures, D from good ones, then E by reinforcement through D. Imports torch."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import miniworld
from core.device import default_device
from core.errors import BadInput
from core.records import RenderRequest
from core.seeding import derive_seed, generator
from experiments.training.config import MINIWORLD
from experiments.training.data import held_out
from experiments.training.language import keep_categories, learned_tokenizer
from experiments.training.workshop import Workshop
from refiner import ppo
from refiner.prip.config import PripConfig
from refiner.prip.data import PromptPicture, with_system_language
from refiner.prip.model import build_prip, save_pretrained
from refiner.prip.pivot import ClipPivot, PivotEncoder, QFormerPivot, encode_files
from refiner.prip.policy import PripPolicy
from refiner.prip.stages import PromptPivot, train_decoder, train_encoder
from refiner.processes import is_main, on_main
from refiner.training import seed_everything


def train_pivot(shop: Workshop) -> None:
    """Train what the configuration says and write its folder.

    Raises:
        BadInput: data that cannot be used, or a model that does not load.
        BudgetReached: a cap on drawing.
    """
    fit_pivot(shop, *on_main(lambda: _read(shop)))


def _read(shop: Workshop) -> tuple[Sequence[PromptPicture], Sequence[PromptPicture], Sequence[str], Sequence[str]]:
    """Return what E and D learn from, users' prompts for reinforcement, and professional ones for a vocabulary."""
    shop.check_models()
    preferred, system = shop.reader.pictures(shop.score, lambda: _tried(shop))
    users = shop.reader.users() if "ppo" in shop.config.stages else []
    return preferred, system, users, shop.reader.prompts() if needs_vocabulary(shop) else []


def _tried(shop: Workshop) -> list[tuple[str, PromptPicture]]:
    """Draw users' prompts with and without system language, all wordings of a prompt from one seed."""
    config = shop.config.data
    if not config.tries:
        return []
    users, professional = shop.reader.users(), shop.reader.prompts()
    rows = with_system_language(users, professional, config.tries, generator("tries", config.seed))
    shop.progress.note(f"drawing {len(rows)} pictures of {len(users)} users' prompts")
    files = shop.table().draw([RenderRequest(text, derive_seed("tries", config.seed, user)) for user, text in rows])
    shop.reader.facts["tried pictures"] = f"{len(rows)} of {len(users)} users' prompts"
    return [(user, PromptPicture(text, file)) for (user, text), file in zip(rows, files, strict=True) if file]


def needs_vocabulary(shop: Workshop) -> bool:
    """Whether a vocabulary has to be learned, because a model starts from nothing."""
    model = _model(shop)
    return not (model.encoder.base and model.decoder.lm.base)


def fit_pivot(
    shop: Workshop,
    preferred: Sequence[PromptPicture],
    system: Sequence[PromptPicture],
    users: Sequence[str],
    texts: Sequence[str],
    *,
    language_first: bool = False,
) -> None:
    """Train E on users' prompts and their best pictures, D on good pictures and their prompts, and write the folder.

    Of several processes all train E and D; one goes on by reinforcement and writes.

    Args:
        shop: where.
        preferred: for E.
        system: for D.
        users: what reinforcement starts from; none leaves it out.
        texts: professional prompts, which a vocabulary is learned from.
        language_first: let D learn to write these before it sees a pivot; for few pictures.
    """
    config, model = shop.config, _model(shop)
    tokenizer: Any = learned_tokenizer(shop, texts) if needs_vocabulary(shop) else None
    encoder = _picture_encoder(config.data.pivot)
    if (encoder.vectors, encoder.width) != (model.encoder.queries, model.encoder.pivot_width):
        raise BadInput(
            f"model.encoder: got pivots of {model.encoder.queries} x {model.encoder.pivot_width}, expected "
            f"{encoder.vectors} x {encoder.width} as {encoder.name} gives; change queries and pivot_width"
        )
    pivots = _pivots(encoder, sorted({picture.path for picture in (*preferred, *system)}))
    seed_everything(config.seed)
    prip = build_prip(model, tokenizer)
    if users and model.ppo.max_new_tokens > prip.decoder.room:
        raise BadInput(
            f"model.ppo.max_new_tokens is {model.ppo.max_new_tokens}, expected at most {prip.decoder.room}: D has no "
            "more positions after the longest prefix; lower it, or model.decoder.max_tokens"
        )
    if language_first:
        nothing = torch.zeros(encoder.vectors, encoder.width)
        said = [PromptPivot(text, nothing) for text in texts]
        how, where = model.pivot_system, shop.stage("language")
        shop.done("language", how, train_decoder(prip, said, how, where, with_pivot=False))
    settings = {"e": model.user_pivot, "d": model.pivot_system}
    decode = functools.partial(train_decoder, with_pivot=config.data.d_reads_pivots)
    for stage, pictures, train in (("e", preferred, train_encoder), ("d", system, decode)):
        if stage in config.stages:
            parts = held_out(pictures, config.data.holdout, config.data.seed, key=lambda picture: picture.prompt)
            training, evaluation = ([PromptPivot(p.prompt, pivots[p.path]) for p in part] for part in parts)
            shop.progress.note(f"{stage}: {len(training)} pictures, {len(evaluation)} held out")
            shop.done(stage, settings[stage], train(prip, training, settings[stage], shop.stage(stage), evaluation))
            shop.reader.facts |= {f"{stage} pictures": len(training), f"{stage} pictures held out": len(evaluation)}
    if not is_main():
        return
    if users:
        policy: Any = PripPolicy(prip)
        found = ppo.train(policy, users, shop.reward, model.ppo, shop.stage("ppo"), what=shop.recipe)
        shop.done("ppo", model.ppo, found)
        shop.reader.facts["ppo prompts"] = len(users)
    base = ", ".join(name for name in (model.encoder.base, model.decoder.lm.base) if name)
    manifest = shop.manifest("prip", base, {"answering": dict(config.answering)})
    save_pretrained(shop.out, prip, manifest, lambda place: keep_categories(shop, place))


def _model(shop: Workshop) -> PripConfig:
    model = shop.config.model
    if not isinstance(model, PripConfig):
        raise BadInput("model: got a language model's, expected a pivot refiner's for prip")
    return model


def _picture_encoder(source: str) -> PivotEncoder:
    return ClipPivot(miniworld.PIVOT) if source == MINIWORLD else QFormerPivot(source, default_device())


def _pivots(encoder: PivotEncoder, files: Sequence[Path]) -> dict[Path, torch.Tensor]:
    return dict(zip(files, encode_files(encoder, files), strict=True))
