"""A run's configuration: one TOML file, overridden by command line flags, stored in the run's folder.

Unknown keys and wrong types are refused; each key's meaning is its description here, from which
`docs/configuration.md` is generated.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import BadInput
from core.pricing import Price

if TYPE_CHECKING:
    from rendering.settings import RenderSettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunSection(_Section):
    """The loop's size and seeds."""

    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of everything random in the run.")
    holdout_seed: int = Field(0, ge=0, le=2**31 - 1, description="Chooses the held-out prompts and their seeds.")
    rounds: int = Field(8, ge=1, le=1000, description="Rounds of pulls; between two rounds children are born.")
    batch_size: int = Field(4, ge=1, le=1000, description="Blocks (naive prompt, diffusion seed) a pull.")
    children: int = Field(2, ge=1, le=50, description="New instructions an expansion.")
    pulls_per_round: int | None = Field(None, ge=1, le=1000, description="Default: 2 x children + 2.")
    pool_cap: int = Field(12, ge=2, le=1000, description="Most instructions in the pool; over it, arms retire.")


class BanditSection(_Section):
    """Which instruction to try next."""

    policy: str = Field("ucb1", description="A name from `bandit.POLICIES`; `brushup simulate` compares them.")
    reward: str = Field("paired", description="`paired`: minus the naive prompt's score on the block; `score`: raw.")
    reward_scale: Literal["pooled-sd", "none"] = Field("pooled-sd", description="Unit of UCB's bonus; `none`: raw.")
    c: float = Field(0.3, gt=0, le=100, description="Width of the exploration bonus.")
    epsilon: float = Field(0.1, ge=0, le=1, description="Share of random pulls of eps-greedy.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Rate of false crowns that racing allows itself.")


class LoopSection(_Section):
    """What the loop is made of; `docs/experiments.md` switches parts off."""

    gradient: Literal["full", "shuffled", "none"] = Field(
        "full", description="`shuffled`: rewards dealt at random before they are explained; `none`: nothing explained."
    )
    evidence: Literal["all", "lineage"] = Field(
        "all",
        description="Results that are explained: `all`, or those of the instruction's `lineage`, so that its children "
        "do not depend on the policy (`brushup compare`).",
    )


class AgentsSection(_Section):
    """The language model and the agents' rules."""

    llm: str = Field("offline/agents", description="`offline/agents`, `openai/MODEL`, or any litellm model name.")
    api_base: str | None = Field(None, description="URL of an OpenAI-compatible server.")
    keep: Literal["verbatim", "content-words", "off"] = Field("content-words", description="What must survive.")
    negative: bool = Field(False, description="Let instructions also write negative prompts, and optimise them.")
    templates: str | None = Field(None, description="Folder with your own role templates.")
    initial: str | None = Field(None, description="Your own initial instruction instead of the built-in one.")
    instructions: tuple[str, ...] = Field((), description="More instructions that join the pool at the start.")
    concurrency: int = Field(8, ge=1, le=256, description="LLM calls in flight.")
    timeout: float = Field(
        120.0, gt=0, description="Seconds for one LLM request; a call with its retries takes at most four times that."
    )
    rpm: int | None = Field(None, ge=1, description="LLM requests in any minute, retries included.")
    tpm: int | None = Field(None, ge=1, description="LLM tokens in any minute, sent and received.")
    json_schema: Literal["auto", "off"] = Field(
        "auto", description="`auto`: replies by JSON schema where it is supported; `off`: replies are only parsed."
    )
    free_llm_vram: bool = Field(False, description="Unload the LLM (Ollama only) before pictures are drawn.")
    price_in: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="USD per million tokens sent. Default: litellm's price table; unknown behind `api_base`.",
    )
    price_out: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="USD per million tokens received; give both or none."
    )
    generator_exemplars: int = Field(3, ge=0, le=50, description="Professional prompts shown to the Generator.")
    modifier_exemplars: int = Field(12, ge=0, le=100, description="Professional prompts shown to the Modifier.")

    def price(self) -> Price | None:
        """Return the LLM's price; None is unknown.

        Raises:
            BadInput: one of the two prices is missing.
        """
        from agents.prices import price_of

        return price_of(self.llm, api_base=self.api_base, price_in=self.price_in, price_out=self.price_out)


class RenderSection(_Section):
    """The diffusion pipeline, or the server that draws."""

    renderer: str | None = Field(
        None,
        description="Folder or hub id of a diffusers pipeline, `a1111=URL` or `comfyui=URL`. Default: the miniworld.",
    )
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps.")
    guidance: float | None = Field(None, ge=0, le=100, description="Classifier-free guidance scale.")
    width: int | None = Field(None, ge=8, le=8192, description="Pixels.")
    height: int | None = Field(None, ge=8, le=8192, description="Pixels.")
    chunk: int = Field(
        8,
        ge=1,
        le=256,
        description="Pictures drawn at once; part of a picture's identity. Halved when memory runs out.",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; part of a picture's identity.")
    sampler: str | None = Field(
        None,
        description="How noise is removed: a diffusers scheduler (`EulerDiscrete`), or a server's sampler by its name "
        "there. Default: the folder's; on a server Euler.",
    )
    negative_prompt: str = Field(
        "", max_length=2000, description="What no picture may show, naive ones included; before any other negative."
    )
    true_guidance: float | None = Field(
        None, ge=0, le=100, description="Guidance by negative prompts where `guidance` is an input (FLUX)."
    )
    device: str = Field("auto", description="`auto` (CUDA, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.")
    dtype: Literal["auto", "float32", "float16", "bfloat16", "float64"] = Field(
        "auto", description="`auto`: on CUDA float16 (transformers: bfloat16), else float32."
    )
    offload: Literal["none", "model", "sequential"] = Field(
        "none", description="CUDA only: what does not work waits in main memory. `sequential` needs least, and is slow."
    )
    attention_slicing: bool = Field(False, description="Attention in steps: less memory, slower.")
    lora: str | None = Field(
        None, description="LoRA weights: a safetensors file or a hub id (`ORG/NAME@REVISION`); needs `brushup[lora]`."
    )
    lora_scale: float = Field(1.0, ge=-10, le=10, description="How strongly they count.")
    checkpoint: str | None = Field(
        None, description="Servers only: the checkpoint's name there. Default: the loaded one, or the only one."
    )
    workflow: str | None = Field(
        None, description="ComfyUI only: a workflow exported in API form. Default: plain text to image."
    )
    timeout: float = Field(300.0, gt=0, le=86400, description="Servers only: seconds for one picture.")

    def settings(self) -> "RenderSettings":
        """Return the renderer's settings.

        Raises:
            BadInput: a value that no renderer can have.
        """
        from rendering.settings import RenderSettings

        return RenderSettings(**self.model_dump(exclude={"renderer"}))


class ScoreSection(_Section):
    """The preference model that is optimised, and those that only watch."""

    scorer: str | None = Field(
        None, description="Folder, NAME, NAME=FILE, or weights:NAME=WEIGHT,... Default: the miniworld's."
    )
    watch: list[str] | None = Field(
        None, description="Scorers that score the test's pictures and steer nothing. Default: the miniworld's, on it."
    )
    chunk: int = Field(32, ge=1, le=1024, description="Pictures scored at once.")


class EvaluationSection(_Section):
    """Validation of the finalists, test of the winner."""

    validation_prompts: int = Field(24, ge=4, le=10000, description="Prompts on which the finalists are re-scored.")
    test_prompts: int = Field(40, ge=20, le=10000, description="Held-out prompts.")
    test_seeds: int = Field(4, ge=1, le=100, description="Diffusion seeds a held-out prompt.")
    top: int = Field(3, ge=1, le=20, description="Finalists.")


class PromptsSection(_Section):
    """Where naive prompts and professional prompts come from."""

    file: str | None = Field(None, description="Your naive prompts: txt, csv, tsv, json, jsonl. Default: miniworld.")
    column: str | None = Field(None, description="The column of that file, when it is not recognised.")
    category: str | None = Field(
        None,
        description="Only the miniworld's prompts of one style family (anime, concept-art, paintings, photo): "
        "instructions for this category.",
    )
    corpus: str | None = Field(None, description="A corpus of `brushup prompts import`. Default: the miniworld's.")


class BudgetSection(_Section):
    """Caps, checked before spending. Cached work counts, at what it cost when it was new."""

    max_renders: int | None = Field(None, ge=1, description="Most pictures.")
    max_llm_calls: int | None = Field(
        None, ge=1, description="Most LLM calls; a repeated request that may be billed is one."
    )
    max_llm_tokens: int | None = Field(None, ge=1, description="Most LLM tokens, sent and received.")
    max_usd: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Most USD for the LLM; its price must be known."
    )
    max_seconds: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Most wall seconds over all sessions; may be overshot by the chunk in hand.",
    )


class StorageSection(_Section):
    """Where finished work is kept."""

    cache: Literal["home", "run"] = Field("home", description="`home`: shared by all runs; `run`: this run's own.")


class RunConfig(_Section):
    """All of it."""

    run: RunSection = RunSection()  # type: ignore[call-arg]
    bandit: BanditSection = BanditSection()  # type: ignore[call-arg]
    loop: LoopSection = LoopSection()  # type: ignore[call-arg]
    agents: AgentsSection = AgentsSection()  # type: ignore[call-arg]
    render: RenderSection = RenderSection()  # type: ignore[call-arg]
    score: ScoreSection = ScoreSection()  # type: ignore[call-arg]
    evaluation: EvaluationSection = EvaluationSection()  # type: ignore[call-arg]
    prompts: PromptsSection = PromptsSection()  # type: ignore[call-arg]
    budget: BudgetSection = BudgetSection()  # type: ignore[call-arg]
    storage: StorageSection = StorageSection()  # type: ignore[call-arg]

    @property
    def pulls_per_round(self) -> int:
        """More pulls than births (DESIGN: an unpulled arm has index +inf)."""
        return self.run.pulls_per_round or 2 * self.run.children + 2


FLAGS = {
    "prompts": "prompts.file",
    "rounds": "run.rounds",
    "batch_size": "run.batch_size",
    "policy": "bandit.policy",
    "reward": "bandit.reward",
    "reward_scale": "bandit.reward_scale",
    "keep": "agents.keep",
    "negative": "agents.negative",
    "seed": "run.seed",
    "holdout_seed": "run.holdout_seed",
    "llm": "agents.llm",
    "api_base": "agents.api_base",
    "free_llm_vram": "agents.free_llm_vram",
    "renderer": "render.renderer",
    "scorer": "score.scorer",
    "watch_scorer": "score.watch",
    "instructions": "agents.instructions",
    "price_in": "agents.price_in",
    "price_out": "agents.price_out",
    "max_renders": "budget.max_renders",
    "max_llm_calls": "budget.max_llm_calls",
    "max_llm_tokens": "budget.max_llm_tokens",
    "max_usd": "budget.max_usd",
    "max_seconds": "budget.max_seconds",
}
"""Command line flag -> config key; also used to name both in error messages."""


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Read a TOML file (or none) and apply the flags that were given (`None` = not given).

    Raises:
        BadInput: missing file, broken TOML, unknown key, wrong type or range.
    """
    raw = read_toml(path) if path else {}
    for flag, value in overrides.items():
        if value is not None:
            section, key = FLAGS[flag].split(".")
            target = raw.setdefault(section, {})
            if isinstance(target, dict):
                target[key] = value
    return parse_config(raw, source=str(path) if path else "the flags")


def parse_config(raw: Mapping[str, Any], *, source: str) -> RunConfig:
    """Validate a configuration.

    Raises:
        BadInput: the first problem, with its key (and flag), what was got and what is expected.
    """
    try:
        config = RunConfig.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise BadInput(_one_line(error, source)) from None
    _check_names(config)
    return config


def _check_names(config: RunConfig) -> None:
    from bandit import POLICIES
    from bandit.rewards import REWARDS

    for key, value, known in (("policy", config.bandit.policy, POLICIES), ("reward", config.bandit.reward, REWARDS)):
        if value not in known:
            raise BadInput(f"--{key} ({FLAGS[key]}) is {value!r}; expected one of: {', '.join(known)}")


def _one_line(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r} in {source}; see docs/configuration.md for the keys there are"
    flag = next((f" (--{name.replace('_', '-')})" for name, target in FLAGS.items() if target == key), "")
    got = repr(first["input"])
    got = got if len(got) <= 60 else got[:57] + "..."
    return f"{key}{flag} is {got} in {source}; expected: {first['msg'].removeprefix('Input should be ')}"


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        BadInput: it is missing or broken.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"no config file at {path}; give a TOML file, or none for the miniworld") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}; expected a TOML file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path} is not valid TOML: {error}; fix that line") from None
