"""Where a refiner is trained: its folders, its pictures and scores, and how it is finished. Heavy: imports torch."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import miniworld
from core.interfaces import Renderer, Scorer
from core.progress import Progress
from core.seeding import derive_seed
from experiments.drawing import Drawing, open_drawing
from experiments.folder import write_json
from experiments.training.config import MINIWORLD, RewardConfig, TrainingConfig
from experiments.training.data import Reader
from prompt_db.ledger import totals
from prompt_db.run_store import RunStore
from refiner.folder import Manifest
from refiner.prip.data import Picture
from refiner.processes import is_main
from refiner.rewards import Episodes, Rewards, check_weights

History = Sequence[Mapping[str, float]]
SCORERS = {
    MINIWORLD: str(miniworld.SCORER),
    "miniworld:pick": f"pickscore={miniworld.PICK}",
    "miniworld:aesthetic": f"aesthetic={miniworld.AESTHETIC}",
    "miniworld:reward": f"imagereward={miniworld.REWARD}",
}
"""What the names of the miniworld's scorers stand for in a training's configuration."""


@dataclass
class Workshop:
    """One training.

    Attributes:
        config: what is trained.
        home: whose cache is used.
        out: the refiner's folder.
        reader: reads data.
        progress: told what happens.
        recipe: digest of the configuration and the files that it trains with.
        figures: results by name, for the card.
        stages: settings of the stages done, for the card.
    """

    config: TrainingConfig
    home: Path
    out: Path
    reader: Reader
    progress: Progress
    recipe: str
    figures: dict[str, float] = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)
    _table: Drawing | None = None

    @property
    def work(self) -> Path:
        """The folder of metrics and ledger, beside the refiner's."""
        return work_folder(self.out)

    @property
    def _ledger(self) -> Path:
        return self.work / "ledger.db"

    def stage(self, name: str) -> Path:
        """Return a stage's folder of checkpoints, which all trainings of a home share."""
        return self.home / "refiners" / ".stages" / name

    def table(self) -> Drawing:
        """Return what draws and scores, loaded at its first use.

        Raises:
            BadInput: a model cannot be loaded.
        """
        if self._table is None:
            models, budget = (lambda: load_models(self.config.reward)), self.config.budget
            self._table = self._open.enter_context(open_drawing(self.home, self._ledger, models, budget))
        return self._table

    def check_models(self) -> None:
        """Find out now, not after hours of supervised training, whether reinforcement can draw and score.

        The models are thrown away again: there may be no room for them beside what is trained first.

        Raises:
            BadInput: a model cannot be loaded, or a weight is given to a scorer that is not there.
        """
        if "ppo" in self.config.stages:
            scorers = self._table.scorers if self._table else load_models(self.config.reward)[1]
            check_weights(self.config.model.ppo.reward_weights, [scorer.name for scorer in scorers])

    def close(self) -> None:
        """Close what was opened."""
        self._open.close()

    def score(self, name: str, log: Sequence[Picture]) -> Sequence[float | None]:
        """Return a scorer's scores of a log's pictures against their prompts."""
        self.progress.note(f"scoring {len(log)} pictures with {name}")
        files: list[Path | None] = [image.path for image in log]
        return self.table().score(load_scorer(name), files, [image.prompt for image in log])

    def gains(self, prompts: Sequence[str], refined: Sequence[str]) -> Rewards:
        """Return by scorer what pictures of refined prompts gain over those of the users' prompts."""
        self.progress.note(f"drawing and scoring {len(prompts)} pairs")
        seed = derive_seed("training-gains", self.config.data.seed)
        return self.table().gains(Episodes(prompts, refined, seed), seeds=self.config.reward.seeds)

    def reward(self, episodes: Episodes) -> Rewards:
        """Judge one step of reinforcement by pictures; see `Drawing.gains`."""
        return self.table().gains(episodes, seeds=self.config.reward.seeds)

    def done(self, stage: str, settings: Any, history: History) -> None:
        """Note a finished stage: its settings, all its metrics (`STAGE.json`), and the last ones as figures."""
        self.stages[stage] = plain(asdict(settings))
        if not is_main():
            return
        finite = [{key: value for key, value in row.items() if math.isfinite(value)} for row in history]
        write_json(self.work / f"{stage}.json", finite)
        last = finite[-1] if finite else {}
        for name in ("loss", "eval_loss", "objective/scores", "objective/kl", "collapse/subject_kept"):
            if name in last:
                self.figures[f"{stage}/{name}"] = last[name]
        self.progress.note(f"{stage} is done: {', '.join(f'{k} {v:.4g}' for k, v in last.items() if k in _TOLD)}")

    def manifest(self, kind: str, base: str, settings: Mapping[str, Any]) -> Manifest:
        """Return what the finished refiner says of itself."""
        config = self.config
        self.reader.facts["renders"] = self._renders()
        return Manifest(
            kind=kind,
            label=label_of(config),
            licence=config.data.licence or "see Data; none was given",
            base=base,
            settings=dict(settings),
            training=self.stages,
            data=dict(self.reader.facts),
            figures=self.figures,
            half=config.half,
        )

    def _renders(self) -> int:
        """Return how many pictures were drawn, in earlier sessions too, also if this one did not have to draw."""
        if not self._ledger.is_file():
            return 0
        with closing(RunStore.reader(self._ledger)) as store:
            return int(totals(store)["renders"])


_TOLD = ("step", "loss", "eval_loss", "objective/scores", "objective/kl")


def work_folder(out: Path) -> Path:
    """Return where a refiner's training keeps its metrics and its ledger."""
    return out.with_name(f"{out.name}.training")


def label_of(config: TrainingConfig) -> str:
    """Return one line that says what a refiner is; whatever learned from the miniworld says so."""
    name = config.label or config.refiner
    return f"{name} (trained on the miniworld, for its pictures only)" if config.on_miniworld else name


def load_models(config: RewardConfig) -> tuple[Renderer, Sequence[Scorer]]:
    """Load the renderer and the scorers of a training.

    Raises:
        BadInput: one of them cannot be loaded.
    """
    from rendering import load_renderer
    from rendering.settings import RenderSettings

    source = str(miniworld.PIPELINE) if config.renderer == MINIWORLD else config.renderer
    settings = RenderSettings(steps=config.steps or None, chunk=config.chunk)
    return load_renderer(source, settings), [load_scorer(name) for name in config.scorers]


def load_scorer(name: str) -> Scorer:
    """Load a scorer by its name in a training's configuration.

    Raises:
        BadInput: it cannot be loaded.
    """
    import scoring

    return scoring.load_scorer(SCORERS.get(name, name), chunk=32)


def plain(value: Any) -> Any:
    """Return a record as plain JSON types."""
    return json.loads(json.dumps(value, default=str))
