"""PRIP's two models: what attends to what, what carries loss, how large they are, and their folder."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    CLIPVisionConfig,
    CLIPVisionModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from core.errors import BadInput
from core.interfaces import Refiner
from prompt_db.diffusiondb import LoggedImage
from refiner import load_refiner
from refiner.constraints import AUTO, Wishes
from refiner.folder import MANIFEST_FILE, Manifest
from refiner.neurologic_config import NeuroLogic
from refiner.prip.answering import Answering
from refiner.prip.config import DECODERS, PripConfig
from refiner.prip.data import preferred_pictures, system_pictures, with_system_language
from refiner.prip.decoder import DecoderConfig, PromptDecoder
from refiner.prip.encoder import EncoderConfig, PreferenceEncoder, build_encoder, prompt_batch
from refiner.prip.model import build_prip, from_pretrained, save_pretrained
from refiner.prip.pivot import ClipPivot, QFormerPivot, encode_files
from refiner.prip.refiner import PripRefiner
from refiner.prip.stages import PromptPivot, train_decoder
from refiner.train_config import TrainConfig
from tests.refiner.tiny import T5, WORDS, tiny_config, tiny_prip, tiny_tokenizer

pytestmark = pytest.mark.slow
FLAN_T5_LARGE = {
    "vocab_size": 32128,
    "d_model": 1024,
    "d_kv": 64,
    "d_ff": 2816,
    "num_layers": 24,
    "num_heads": 16,
    "feed_forward_proj": "gated-gelu",
}
TEXTS = ["the red boat", "blue"]


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def encoder_and_batch() -> tuple[PreferenceEncoder, tuple[torch.Tensor, torch.Tensor]]:
    prip = tiny_prip()
    batch = prompt_batch(prip.encoder_tokenizer, TEXTS, 12, torch.device("cpu"))
    return prip.encoder.eval(), batch


def test_queries_see_each_other_in_both_directions() -> None:
    encoder, batch = encoder_and_batch()
    before = encoder(*batch)
    with torch.no_grad():
        encoder.queries[-1] += 1.0
    assert ((encoder(*batch) - before).abs().amax(dim=-1) > 1e-5).all(), "the last query changes the first output"


def test_the_pivot_depends_on_the_prompt_through_cross_attention() -> None:
    encoder, batch = encoder_and_batch()
    pivots = encoder(*batch)
    assert (pivots[0] - pivots[1]).abs().max() > 1e-5
    with torch.no_grad():
        for block in encoder.decoder.block:
            block.layer[1].EncDecAttention.o.weight.zero_()
    pivots = encoder(*batch)
    torch.testing.assert_close(pivots[0], pivots[1])


def test_padding_changes_no_pivot() -> None:
    encoder, batch = encoder_and_batch()
    alone = encoder(*prompt_batch(tiny_tokenizer(), TEXTS[1:], 12, torch.device("cpu")))
    torch.testing.assert_close(encoder(*batch)[1], alone[0], atol=1e-5, rtol=1e-4)


def test_e_at_the_papers_size() -> None:
    config = PripConfig()
    assert (config.encoder.queries, config.encoder.pivot_width) == (32, 768)
    with torch.device("meta"):
        encoder = PreferenceEncoder(T5Config(**FLAN_T5_LARGE), 32, 768)
        assert encoder(torch.zeros(2, 5, dtype=torch.long), None).shape == (2, 32, 768)  # type: ignore[arg-type]
        t5_large = T5ForConditionalGeneration(T5Config(**{**FLAN_T5_LARGE, "d_ff": 4096, "feed_forward_proj": "relu"}))
    assert parameters(encoder) == 751_070_976
    # The paper's 738 M is T5-Large to the last parameter, output layer tied. FLAN-T5-Large is T5 v1.1:
    paper = 737_668_096
    assert parameters(t5_large) == paper
    gated_layers = 48 * (3 * 1024 * 2816 - 2 * 1024 * 4096)  # three matrices of 1024 x 2816 for two of 1024 x 4096
    queries, projection = 32 * 1024, 1024 * 768 + 768
    assert paper + gated_layers + queries + projection == parameters(encoder)


@pytest.mark.parametrize(
    ("name", "build", "config", "width"),
    [
        ("llama-2-7b", LlamaForCausalLM, LlamaConfig(), 4096),
        (
            "tinyllama",
            LlamaForCausalLM,
            LlamaConfig(
                hidden_size=2048,
                intermediate_size=5632,
                num_hidden_layers=22,
                num_attention_heads=32,
                num_key_value_heads=4,
            ),
            2048,
        ),
        ("gpt2-large", GPT2LMHeadModel, GPT2Config(n_embd=1280, n_layer=36, n_head=20), 1280),
    ],
)
def test_d_at_the_papers_sizes(name: str, build: Any, config: Any, width: int) -> None:
    assert name in DECODERS
    with torch.device("meta"):
        decoder = PromptDecoder(build(config), tiny_tokenizer(), (32, 768), DecoderConfig())
    assert decoder.project.weight.shape == (width, 768)
    assert 0.7e9 < parameters(decoder) < 7e9
    assert decoder.room >= 75


def test_the_loss_of_d_counts_the_prompts_tokens_and_ends_alone() -> None:
    decoder = tiny_prip().decoder.eval()
    pivots = torch.randn(2, 4, 6)
    loss, count = decoder(pivots, TEXTS)
    assert count == (3 + 1) + (1 + 1)
    by_hand = 0.0
    for pivot, text in zip(pivots, TEXTS, strict=True):
        context = decoder.context(pivot[None], [""])
        ids = torch.tensor([*decoder.tokenizer(text)["input_ids"], decoder.end])
        embeds = torch.cat([context.embeds, decoder.lm.get_input_embeddings()(ids)[None]], dim=1)
        logprobs = decoder.lm(inputs_embeds=embeds).logits[0].log_softmax(dim=-1)
        start = context.embeds.shape[1] - 1
        by_hand -= sum(logprobs[start + place, token].item() for place, token in enumerate(ids))
    assert loss.item() == pytest.approx(by_hand, rel=1e-4)


def test_d_reads_begin_left_pivot_right_prefix() -> None:
    decoder = tiny_prip().decoder.eval()
    pivots = torch.randn(2, 4, 6)
    context = decoder.context(pivots, ["red boat ,", "sea ,"])
    table = {word: decoder.lm.get_input_embeddings().weight[index + 2] for index, word in enumerate(WORDS)}
    begin = decoder.lm.get_input_embeddings().weight[0]
    wanted = [begin, table["the"], *decoder.project(pivots[0]), table["a"], table["red"], table["boat"], table[","]]
    torch.testing.assert_close(context.embeds[0], torch.stack(wanted))
    assert context.mask.tolist() == [[1] * 10, [0] + [1] * 9]
    torch.testing.assert_close(context.embeds[1, 1:3], torch.stack(wanted[:2]))


def test_without_pivot_d_reads_the_template_alone() -> None:
    decoder = tiny_prip().decoder.eval()
    loss, count = decoder(None, TEXTS)
    assert count == 6
    loss.backward()
    assert decoder.project.weight.grad is None


def test_a_folder_gives_the_same_answers(tmp_path: Path) -> None:
    prip = tiny_prip()
    for part in (prip.encoder, prip.decoder):
        part.eval()
    manifest = Manifest("prip", "tiny", "CC0-1.0", settings={"answering": {"max_new_tokens": 8, "temperature": 1.0}})
    save_pretrained(tmp_path / "r", prip, manifest)
    prompts = ["the red boat.", "", "blue sea", "赤い船", "the red boat."]
    refiner = load_refiner(tmp_path / "r")
    assert isinstance(refiner, Refiner)
    loaded = asyncio.run(refiner.refine(prompts, seed=3))
    here = PripRefiner(prip, Answering(max_new_tokens=8, temperature=1.0))
    assert asyncio.run(here.refine(prompts, seed=3)) == loaded
    assert [item.naive for item in loaded] == prompts
    assert loaded[0].text.startswith("the red boat,")
    assert loaded[0] == loaded[4]
    assert "empty" in loaded[1].error
    assert loaded[3].text.startswith("赤い船")
    again = asyncio.run(refiner.refine(prompts[2:3], seed=3))
    assert again == loaded[2:3], "an answer does not depend on the other prompts"
    assert any(asyncio.run(refiner.refine(prompts, seed=seed)) != loaded for seed in range(5))
    variants = asyncio.run(refiner.variants(prompts, 3, seed=3))
    assert [row[0] for row in variants] == loaded
    assert len({item.text for item in variants[0]}) == 3
    assert len(variants[1]) == 1


def test_half_precision_is_of_the_files_alone(tmp_path: Path) -> None:
    save_pretrained(tmp_path / "r", tiny_prip(), Manifest("prip", "tiny", "CC0", half=True))
    prip = from_pretrained(tmp_path / "r")
    assert {parameter.dtype for part in (prip.encoder, prip.decoder) for parameter in part.parameters()} == {
        torch.float32
    }
    assert asyncio.run(PripRefiner(prip).refine(["red boat"], seed=0))[0].text.startswith("red boat")


def test_d_with_lora_trains_matrices_and_projection_and_loads_without_peft(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    config = tiny_config()
    lora = replace(config, decoder=replace(config.decoder, lm=replace(config.decoder.lm, lora_r=4)))
    prip = build_prip(lora, tiny_tokenizer())
    before = {name: parameter.detach().clone() for name, parameter in prip.decoder.named_parameters()}
    pairs = [PromptPivot(text, torch.randn(4, 6)) for text in TEXTS]
    train_decoder(prip, pairs, TrainConfig(max_steps=3, batch_size=2, learning_rate=1e-2), tmp_path / "d")
    moved = {name for name, parameter in prip.decoder.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved == {name for name in before if "lora" in name or name.startswith("project")}
    pivots = torch.stack([pair.pivot for pair in pairs])
    loss, _ = prip.decoder(pivots, TEXTS)
    save_pretrained(tmp_path / "r", prip, Manifest("prip", "tiny", "CC0-1.0"))
    again, _ = from_pretrained(tmp_path / "r").decoder(pivots, TEXTS)
    assert again.item() == pytest.approx(loss.item(), rel=1e-4)


def test_close_answers_keep_the_words_or_fall_back() -> None:
    prip = tiny_prip()
    for part in (prip.encoder, prip.decoder):
        part.eval()
    all_words = Answering("close", max_new_tokens=12, candidates=4, min_kept=1.0)
    some_words = Answering("close", max_new_tokens=12, candidates=64, min_kept=0.5)
    [strict] = asyncio.run(PripRefiner(prip, all_words).refine(["red blue green gold boat house sea sky"], seed=0))
    assert strict.text.startswith("red blue green gold boat house sea sky")
    [loose] = asyncio.run(PripRefiner(prip, some_words).refine(["red gold"], seed=0))
    assert "red" in loose.text or "gold" in loose.text
    assert not loose.text.startswith("red gold,")


def test_wishes_are_met_and_reported() -> None:
    prip = tiny_prip()
    for part in (prip.encoder, prip.decoder):
        part.eval()
    plain = PripRefiner(prip, Answering(max_new_tokens=16), categories={"vibe": ("sea", "sky")})
    wished = plain.wishing(Wishes({"vibe": (AUTO,)}, must=("gold boat",), must_not=("green", "red")))
    prompts = ["the red house.", "", "blue", "the red house."]
    found = asyncio.run(wished.refine(prompts, seed=0))
    assert "empty" in found[1].error
    assert found[0] == found[3]
    assert found[2:3] == asyncio.run(wished.refine(prompts[2:3], seed=0)), "not on the other prompts of a call"
    for item in (found[0], found[2]):
        assert item.text.startswith(f"{item.naive.rstrip('.')}, ")
        assert [(row.label, row.met) for row in wished.satisfaction(item, 0)][:3] == [
            ("vibe", True), ("must", True), ("must not", True),
        ]  # fmt: skip
    assert found[0].text.count("red") == 1, "the user's own, which is not taken away"
    [rows, *_] = asyncio.run(wished.variants(prompts, 3, seed=0))
    assert rows[0] == found[0]
    assert len({row.text for row in rows}) == 3
    with pytest.raises(BadInput, match="forbidden"):
        plain.wishing(Wishes(must=("a boat",), must_not=("boat",)))


def test_a_search_sees_the_pivot() -> None:
    """With a beam of one and no wish, searching is what writing is: both read template, pivot and prefix."""
    prip = tiny_prip()
    for part in (prip.encoder, prip.decoder):
        part.eval()
    for parameter in prip.decoder.lm.transformer.h.parameters():
        parameter.data.mul_(8)  # so that what was read decides what is said
    search = NeuroLogic(beam=1, max_tokens=9, min_tokens=0, no_repeat_ngram=0, length_penalty=0)
    prompts = ["the red house", "blue", "gold sea boat"]
    written = asyncio.run(PripRefiner(prip, Answering(max_new_tokens=9)).refine(prompts, seed=0))
    assert asyncio.run(PripRefiner(prip, Answering(search=search)).refine(prompts, seed=0)) == written
    prip.encoder.project.weight.data.mul_(-50)
    assert asyncio.run(PripRefiner(prip, Answering(search=search)).refine(prompts, seed=0)) != written


def test_close_answers_obey_too() -> None:
    prip = tiny_prip()
    for part in (prip.encoder, prip.decoder):
        part.eval()
    how = Answering("close", max_new_tokens=12, candidates=5, min_kept=0.5, wishes=Wishes(must=("gold",)))
    [found] = asyncio.run(PripRefiner(prip, how).refine(["red boat"], seed=0))
    assert "gold" in found.text.split()
    forbidding = replace(how, candidates=40, wishes=Wishes(must_not=("red", "boat", "gold")))
    [rows] = asyncio.run(PripRefiner(prip, forbidding).variants(["red boat"], 40, seed=0))
    kept = [row.text for row in rows if not row.text.startswith("red boat")]
    assert any("red" in text for text in kept), "the user's own, which is not taken away"
    assert max(text.count(word) for text in kept for word in ("red", "boat")) == 1
    assert not any("gold" in text for text in kept)


@pytest.mark.parametrize("name", ["encoder/model.safetensors", "decoder/projection.safetensors", "decoder/config.json"])
def test_a_torn_folder_is_one_line(tmp_path: Path, name: str) -> None:
    save_pretrained(tmp_path / "r", tiny_prip(), Manifest("prip", "tiny", "CC0-1.0"))
    (tmp_path / "r" / name).write_text("torn")
    with pytest.raises(BadInput, match="expected") as error:
        from_pretrained(tmp_path / "r")
    assert "\n" not in str(error.value)


def test_unknown_answering_is_refused(tmp_path: Path) -> None:
    save_pretrained(tmp_path / "r", tiny_prip(), Manifest("prip", "tiny", "CC0-1.0"))
    file = tmp_path / "r" / MANIFEST_FILE
    content = json.loads(file.read_text())
    content["settings"]["answering"] = {"beams": 5}
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match="got the setting 'beams', expected one of mode"):
        load_refiner(tmp_path / "r")


def test_e_starts_from_a_t5(tmp_path: Path) -> None:
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=40, **T5, feed_forward_proj="gated-gelu"))
    t5.save_pretrained(tmp_path)
    encoder = build_encoder(EncoderConfig(base=str(tmp_path), queries=3, pivot_width=5), 40)
    for stack in ("encoder", "decoder"):
        for name, tensor in getattr(encoder, stack).block.state_dict().items():
            assert torch.equal(tensor, getattr(t5, stack).block.state_dict()[name]), name
    ids = torch.ones(2, 4, dtype=torch.long)
    assert encoder(ids, ids).shape == (2, 3, 5)
    assert not any("decoder.embed" in name for name in encoder.state_dict())


def test_pivots_of_both_picture_encoders(tmp_path: Path) -> None:
    vision = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
    }
    CLIPVisionModel(CLIPVisionConfig(**vision, patch_size=8)).save_pretrained(tmp_path / "clip")
    qformer = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = Blip2Config(
        vision_config={**vision, "patch_size": 8},
        qformer_config={**qformer, "encoder_hidden_size": 8, "use_qformer_text_input": True, "vocab_size": 30},
        num_query_tokens=5,
        image_text_hidden_size=4,
    )
    Blip2ForImageTextRetrieval(config).save_pretrained(tmp_path / "blip2")
    files = []
    for index, colour in enumerate(("red", "blue", "red")):
        files.append(tmp_path / f"{index}.png")
        Image.new("RGB", (20, 12), colour).save(files[-1])
    for encoder, shape in ((ClipPivot(tmp_path / "clip"), (4, 8)), (QFormerPivot(str(tmp_path / "blip2")), (5, 12))):
        pivots = encode_files(encoder, files, batch=2)
        assert (encoder.vectors, encoder.width) == shape
        assert pivots.shape == (3, *shape)
        torch.testing.assert_close(pivots[0], pivots[2], atol=1e-5, rtol=1e-4)
        assert (pivots[0] - pivots[1]).abs().max() > 1e-4


def image(prompt: str, name: str) -> LoggedImage:
    return LoggedImage(Path(name), prompt, 0, 7.0, 50, "k_lms")


def test_the_best_picture_of_a_prompt_is_its_pivot() -> None:
    log = [image("a", "1"), image("b", "2"), image("a", "3"), image("b", "4"), image(" ", "5")]
    best = preferred_pictures(log, [0.1, 0.9, 0.5, None, 1.0])
    assert [(pair.prompt, pair.path.name) for pair in best] == [("a", "3"), ("b", "2")]


def test_users_prompts_are_tried_with_the_words_of_prompts_like_them() -> None:
    professional = [
        "a red boat, 8k, ink",
        "a red boat in fog, ink",
        "one green car, gold",
        "a red boat",
        "green car, ink",
    ]
    rows = with_system_language(["red boat", "a green car"], professional, 1, np.random.default_rng(0))
    assert [user for user, _ in rows] == ["red boat"] * 2 + ["a green car"] * 2
    assert rows[0][1] == "red boat"
    assert rows[1][1] in {"red boat, 8k, ink", "red boat, ink", "red boat, gold"}
    two = [with_system_language(["red boat"], professional, 2, np.random.default_rng(k)) for k in range(20)]
    assert {"red boat, 8k, ink", "red boat, ink"} <= {text for rows in two for _, text in rows}
    crowd = ["a red boat, 8k"] * 4 + [f"a green car {k}, gold" for k in range(50)]
    assert with_system_language(["red boat"], crowd, 1, np.random.default_rng(1))[1][1] == "red boat, 8k"
    assert with_system_language(["red boat"], ["no comma"], 3, np.random.default_rng(0)) == [("red boat", "red boat")]


def test_system_language_passes_both_floors() -> None:
    log = [image("a", "1"), image("b", "2"), image("c", "3"), image("d", "4")]
    kept = system_pictures(log, [0.29, 0.28, 0.5, None], [5.3, 6.0, 5.2, 9.0])
    assert [pair.prompt for pair in kept] == ["a"]
    with pytest.raises(BadInput, match="got 1 scores for 4 pictures"):
        system_pictures(log, [0.1], [5.0] * 4)
