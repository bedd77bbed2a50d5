"""Recipes of fine-tuned language models: BeautifulPrompt, NeuroPrompts, Promptist, Rew-Syn, Rew-Log. Imports torch."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import miniworld
from core.errors import BadInput
from experiments.training.config import STYLE_OF
from experiments.training.data import held_out
from experiments.training.workshop import Workshop
from prompt_db.prompt_pairs import PromptPair
from refiner import ppo
from refiner.constraints import CATEGORIES_FILE
from refiner.data import beautiful_pairs, continuation_pairs, improving_pairs, prefixes
from refiner.lm import build_lm, load_tokenizer, longest_row
from refiner.policies import CausalPolicy
from refiner.presets import LanguageConfig
from refiner.processes import is_main, on_main
from refiner.prompting import Prompting, prompting_of
from refiner.rewards import RewardFunction
from refiner.sft import SftPair, save_causal, train_sft
from refiner.text_reward import Judged, Reading, TextReward, save_text_rewards, text_rewards, train_text_reward
from refiner.tokenizer import train_tokenizer
from refiner.training import seed_everything

_BEAUTY = "aesthetic"
"""Scorers with this in their names do not look at the user's prompt; nor do models that stand for them."""


def train_language(shop: Workshop) -> None:
    """Train what the configuration says and write its folder.

    Raises:
        BadInput: data that cannot be used, or a model that does not load.
        BudgetReached: a cap on drawing.
    """
    tokenizer, pairs, users, before = on_main(lambda: _read(shop))
    fit_language(shop, tokenizer, pairs, users, before=before)


def _read(shop: Workshop) -> tuple[Any, Sequence[PromptPair], Sequence[str], Sequence[PromptPair]]:
    """Return a tokenizer, pairs, users' prompts for reinforcement, and pairs to learn first."""
    texts, tokenizer = _tokenizer(shop)
    pairs = _pairs(shop, texts, tokenizer)
    users: Sequence[str] = ()
    if "ppo" in shop.config.stages:
        users = _users(shop, pairs)
        shop.check_models()
    return tokenizer, pairs, users, _before(shop)


def fit_language(
    shop: Workshop,
    tokenizer: Any,
    pairs: Sequence[PromptPair],
    users: Sequence[str],
    *,
    before: Sequence[PromptPair] = (),
) -> None:
    """Train a language model on pairs, then by reinforcement on users' prompts if there are any; write its folder.

    Of several processes all learn from pairs; one goes on by reinforcement and writes.

    Args:
        shop: where.
        tokenizer: of the language model.
        pairs: what it learns to write.
        users: what reinforcement starts from; none leaves it out.
        before: pairs that it learns to write first; for few pairs.
    """
    config, model = shop.config, _model(shop)
    style = {"style": STYLE_OF[config.refiner], **config.answering}
    prompting = prompting_of(style, "answering")
    training, evaluation = held_out(pairs, config.data.holdout, config.data.seed, key=lambda pair: pair.low)
    shop.progress.note(f"sft: {len(training)} pairs, {len(evaluation)} held out")
    seed_everything(config.seed)
    lm = build_lm(model.lm, tokenizer)
    if (longest := longest_row(lm)) is not None:
        users = _fitting(shop, tokenizer, prompting, users, longest)
    if before:
        examples, where = [_example(prompting, pair) for pair in before], shop.stage("corpus")
        shop.done(
            "corpus", model.sft, train_sft(lm, tokenizer, examples, model.sft, where, max_tokens=model.max_tokens)
        )
    sft = [[_example(prompting, pair) for pair in part] for part in (training, evaluation)]
    found = train_sft(
        lm, tokenizer, sft[0], model.sft, shop.stage("sft"), evaluation=sft[1], max_tokens=model.max_tokens
    )
    shop.done("sft", model.sft, found)
    shop.reader.facts |= {"sft pairs": len(training), "sft pairs held out": len(evaluation)}
    readers: Mapping[str, TextReward] = {}
    if users and config.reward.by == "text":
        readers = _readers(shop, tokenizer, training)
    if not is_main():
        return
    if users:
        reward = _reading(readers, pairs) if readers else shop.reward
        policy = CausalPolicy(lm, tokenizer, prompting.source, prompting.result)
        found = ppo.train(policy, users, reward, model.ppo, shop.stage("ppo"), what=shop.recipe)
        shop.done("ppo", model.ppo, found)
        shop.reader.facts["ppo prompts"] = len(users)
    manifest = shop.manifest("causal", model.lm.base, style)

    def more(place: Path) -> None:
        if config.reward.keep:
            save_text_rewards(place, readers, manifest)
        keep_categories(shop, place)

    save_causal(shop.out, lm, tokenizer, manifest, more)


def _fitting(shop: Workshop, tokenizer: Any, prompting: Prompting, users: Sequence[str], longest: int) -> Sequence[str]:
    """Return the users' prompts that leave a model's `longest` positions for an answer; the others go into the card.

    Raises:
        BadInput: no prompt is left, or supervised training would need more positions.
    """
    model = _model(shop)
    if model.max_tokens > longest:
        raise BadInput(f"model.max_tokens is {model.max_tokens}, expected at most the model's {longest} positions")
    if not users:
        return users
    room = longest - model.ppo.max_new_tokens
    rows = tokenizer([prompting.source(user) for user in users], add_special_tokens=False)["input_ids"]
    kept = [user for user, row in zip(users, rows, strict=True) if len(row) <= room]
    if lost := len(users) - len(kept):
        shop.reader.facts["ppo prompts left out"] = f"{lost} of over {room} tokens with their template"
        shop.progress.note(f"ppo: {lost} prompts are left out, of over {room} tokens with their template")
    if not kept:
        raise BadInput(f"ppo: got no prompt of at most {room} tokens with its template, expected some; shorten them")
    return kept


def keep_categories(shop: Workshop, place: Path) -> None:
    """Give a refiner of the miniworld, in its folder, that world's own terms, which are not ours."""
    if shop.config.on_miniworld:
        shutil.copyfile(miniworld.CATEGORIES, place / CATEGORIES_FILE)


def _model(shop: Workshop) -> LanguageConfig:
    model = shop.config.model
    if not isinstance(model, LanguageConfig):
        raise BadInput(f"model: got a pivot refiner's, expected a language model's for {shop.config.refiner}")
    return model


def _example(prompting: Prompting, pair: PromptPair) -> SftPair:
    return SftPair(prompting.source(pair.low), prompting.target(pair.low, pair.high))


def _tokenizer(shop: Workshop) -> tuple[list[str], Any]:
    """Return professional prompts, and the base's tokenizer, or one that learned from these and from the data."""
    base = _model(shop).lm.base
    texts = shop.reader.prompts() if shop.config.refiner == "neuroprompts" or not base else []
    return texts, load_tokenizer(base) if base else learned_tokenizer(shop, texts)


def learned_tokenizer(shop: Workshop, texts: Sequence[str]) -> Any:
    """Return a vocabulary that was learned from professional prompts."""
    return train_tokenizer(texts, shop.config.vocabulary)


def _pairs(shop: Workshop, texts: Sequence[str], tokenizer: Any) -> list[PromptPair]:
    """Return what is learned in supervised training, as the papers select it."""
    kind, reader = shop.config.refiner, shop.reader
    if kind == "neuroprompts":
        selection = continuation_pairs(texts)
    elif kind == "beautifulprompt":
        pairs, config = reader.pairs(), shop.config.data
        selection = beautiful_pairs(pairs, _counter(tokenizer), config.filter, seed=config.seed)
    elif kind == "promptist":
        return reader.pairs()
    else:
        pairs = _unselected(shop)
        gains = shop.gains([pair.low for pair in pairs], [pair.high for pair in pairs])
        selection = improving_pairs(pairs, gains)
    reader.facts["selected pairs"] = str(selection)
    if not selection.items:
        raise BadInput(f"training pairs: got none ({selection}), expected some; loosen the filters, or give more data")
    return list(selection.items)


def _unselected(shop: Workshop) -> list[PromptPair]:
    return shop.reader.pairs() if shop.config.refiner == "rew-syn" else shop.reader.session_pairs()


def _before(shop: Workshop) -> list[PromptPair]:
    """Return what comes before pairs that improve, which are few: all of them, unless the model knows language."""
    return _unselected(shop) if shop.config.refiner.startswith("rew-") and not _model(shop).lm.base else []


def _counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _users(shop: Workshop, pairs: Sequence[PromptPair]) -> Sequence[str]:
    """Return what reinforcement starts from: prefixes, plain prompts of the pairs, or users' prompts."""
    kind, config = shop.config.refiner, shop.config.data
    if kind == "neuroprompts":
        return prefixes([pair.high for pair in pairs], config.prefix).items
    if kind == "beautifulprompt":
        return list(dict.fromkeys(pair.low for pair in pairs))
    return shop.reader.users()


def _readers(shop: Workshop, tokenizer: Any, pairs: Sequence[PromptPair]) -> dict[str, TextReward]:
    """Return models that read, by scorer, learned from pictures of both sides of the pairs."""
    lows = [pair.low for pair in pairs]
    prompts, texts = [*lows, *lows], [*lows, *(pair.high for pair in pairs)]
    config = shop.config
    scores = on_main(lambda: shop.table().scores(prompts, texts, config.data.seed, seeds=config.reward.seeds))
    models = {}
    for name, values in scores.items():
        judged = [Judged(p, t, v) for p, t, v in zip(prompts, texts, values, strict=True) if v is not None]
        models[name] = _text_reward(shop, tokenizer, name, judged)
    return models


def _reading(readers: Mapping[str, TextReward], pairs: Sequence[PromptPair]) -> RewardFunction:
    """Return the judge of refined prompts that reads them, against the pairs' own professional sides."""
    written = {pair.low: pair.high for pair in reversed(pairs)}
    return text_rewards(readers, lambda prompt: written.get(prompt, prompt))


def _text_reward(shop: Workshop, tokenizer: Any, name: str, judged: Sequence[Judged]) -> TextReward:
    config = shop.config
    seed_everything(config.seed)
    template = "{refined}" if _BEAUTY in name else Reading().template
    model = TextReward(build_lm(_model(shop).lm, tokenizer), tokenizer, Reading(template, _model(shop).max_tokens))
    training, evaluation = held_out(judged, config.data.holdout, config.data.seed, key=lambda row: row.prompt)
    stage, how = f"reward-{name}", config.reward.text
    shop.done(stage, how, train_text_reward(model, training, how, shop.stage(stage), evaluation))
    return model.requires_grad_(False)
