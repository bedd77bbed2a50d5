"""The supervised loop: schedule, accumulation, evaluation; killed and resumed is the same to the last bit."""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import BadInput
from refiner.checkpoint import Checkpoints, contents, described
from refiner.prip.stages import PromptPivot
from refiner.sft import SftPair
from refiner.train_config import TrainConfig, data_order, rate_at
from refiner.training import fit
from tests.processes import run_two
from tests.refiner.tiny import tiny_lm

pytestmark = pytest.mark.slow
CONFIG = TrainConfig(
    max_steps=12,
    batch_size=6,
    micro_batch_size=4,
    learning_rate=0.05,
    eval_every=3,
    checkpoint_every=2,
    weight_decay=0.1,
)
TWO_AT_ONCE = TrainConfig(max_steps=4, batch_size=6, micro_batch_size=2, learning_rate=0.05)
EXAMPLES = [(float(k), float(2 * k + 1)) for k in range(10)]


def model() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def loss(net: nn.Module, batch: Sequence[tuple[float, float]]) -> tuple[Tensor, int]:
    """Depends on all three global generators, as augmentation may."""
    noise = float(np.random.rand()) + random.random() if net.training else 0.0  # noqa: NPY002, S311
    x, y = torch.tensor(batch).T[..., None]
    return (net(x / 10 + 0.01 * noise) - y / 10).square().sum(), len(batch)


def plain(net: nn.Module, batch: Sequence[tuple[float, float]]) -> tuple[Tensor, int]:
    x, y = torch.tensor(batch).T[..., None]
    return (net(x / 10) - y / 10).square().sum(), len(batch)


class Killed(Exception):
    pass


def killing(after: int) -> object:
    calls = iter(range(10**6))

    def loss_then_killed(net: nn.Module, batch: Sequence[tuple[float, float]]) -> tuple[Tensor, int]:
        if next(calls) == after:
            raise Killed
        return loss(net, batch)

    return loss_then_killed


def bits(net: nn.Module) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in net.parameters()]


@pytest.mark.parametrize("kills", [(1,), (5,), (13, 2), (3, 3, 3, 3)])
def test_killed_and_resumed_is_the_same_to_the_last_bit(tmp_path: Path, kills: tuple[int, ...]) -> None:
    whole = model()
    history = fit(whole, EXAMPLES, loss, CONFIG, tmp_path / "whole", evaluation=EXAMPLES[:3])
    for after in kills:
        with pytest.raises(Killed):
            fit(model(), EXAMPLES, killing(after), CONFIG, tmp_path / "killed", evaluation=EXAMPLES[:3])
        torch.manual_seed(123)  # whatever the process did in between
        random.seed(5)
    resumed = model()
    assert fit(resumed, EXAMPLES, loss, CONFIG, tmp_path / "killed", evaluation=EXAMPLES[:3]) == history
    assert bits(resumed) == bits(whole)
    names = sorted(path.name for path in (tmp_path / "killed").glob("*/[!.]*"))
    assert names == ["best", "step-000010", "step-000012"]


def train_and_die(folder: str, step: int) -> None:
    """Run by the next test in a process of its own: SIGKILL in the middle of writing a checkpoint."""
    from refiner import checkpoint

    calls = iter(range(10**6))
    save_file = checkpoint.save_file

    def save_then_die(tensors: object, path: Path) -> None:
        save_file(tensors, path)
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_file = save_then_die
    torch.set_num_threads(1)
    fit(model(), EXAMPLES, loss, CONFIG, Path(folder), evaluation=EXAMPLES[:3])


def test_sigkill_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = model()
    history = fit(whole, EXAMPLES, loss, CONFIG, tmp_path / "whole", evaluation=EXAMPLES[:3])
    script = f"from tests.refiner.test_training import train_and_die; train_and_die({str(tmp_path / 'killed')!r}, 5)"
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("*/*.partial"))
    resumed = model()
    assert fit(resumed, EXAMPLES, loss, CONFIG, tmp_path / "killed", evaluation=EXAMPLES[:3]) == history
    assert bits(resumed) == bits(whole)
    torch.set_num_threads(threads)


def train_with_others(folder: str) -> None:
    """Run by the next test in two processes at once."""
    torch.set_num_threads(1)
    net = model()
    net[2].p = 0.0
    fit(net, EXAMPLES, plain, TWO_AT_ONCE, Path(folder))
    torch.save([parameter.detach() for parameter in net.parameters()], f"{folder}/{os.environ.get('RANK', 0)}.pt")


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "one").mkdir()
    script = f"from tests.refiner.test_training import train_with_others; train_with_others({str(tmp_path / 'both')!r})"
    assert run_two(script) == [0, 0]
    assert run_two(script) == [0, 0], "what is finished is found by both"
    train_with_others(str(tmp_path / "one"))
    alone = torch.load(tmp_path / "one" / "0.pt")
    for rank in range(2):
        for found, wanted in zip(torch.load(tmp_path / "both" / f"{rank}.pt"), alone, strict=True):
            torch.testing.assert_close(found, wanted)


def test_processes_that_do_not_share_their_folder_do_not_wait_for_ever(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    train_with_others(str(tmp_path / "0"))
    script = (
        "import os; from core.errors import BadInput; from tests.refiner.test_training import train_with_others\n"
        f"try: train_with_others({str(tmp_path)!r} + '/' + os.environ['RANK'])\n"
        "except BadInput as error: assert 'a disk that all of them share' in str(error); os._exit(7)"
    )
    assert run_two(script) == [7, 7]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    whole, again = model(), model()
    history = fit(whole, EXAMPLES, loss, CONFIG, tmp_path, evaluation=EXAMPLES[:3])
    assert fit(again, EXAMPLES, killing(0), CONFIG, tmp_path, evaluation=EXAMPLES[:3]) == history  # type: ignore[arg-type]
    assert bits(again) == bits(whole)


def test_another_model_config_or_data_is_another_training(tmp_path: Path) -> None:
    def trained(net: nn.Module, examples: Any, config: TrainConfig, evaluation: Any, limit: int) -> list[Any]:
        history = fit(net, examples, loss, config, tmp_path, evaluation=evaluation, what={"max_tokens": limit})
        return [history, bits(net)]

    first = trained(model(), EXAMPLES, CONFIG, EXAMPLES[:3], 8)
    moved, dropping = model(), model()
    with torch.no_grad():
        next(moved.parameters()).view(-1)[0] += 0.1
    next(part for part in dropping.modules() if isinstance(part, nn.Dropout)).p = 0.25
    others = [*EXAMPLES[:4], (4.0, -1.0), *EXAMPLES[5:]]
    for count, (net, examples, config, evaluation, limit) in enumerate(
        (
            (model(), EXAMPLES, TrainConfig(max_steps=12), EXAMPLES[:3], 8),
            (model(), EXAMPLES[1:], CONFIG, EXAMPLES[:3], 8),
            (model(), others, CONFIG, EXAMPLES[:3], 8),
            (model(), EXAMPLES, CONFIG, others[2:5], 8),
            (model(), EXAMPLES, CONFIG, EXAMPLES[:3], 9),
            (moved, EXAMPLES, CONFIG, EXAMPLES[:3], 8),
            (dropping, EXAMPLES, CONFIG, EXAMPLES[:3], 8),
        ),
        2,
    ):
        assert trained(net, examples, config, evaluation, limit)
        assert len(list(tmp_path.iterdir())) == count, "each has its own folder"
    assert trained(model(), EXAMPLES, CONFIG, EXAMPLES[:3], 8) == first


def test_of_two_equal_trainings_at_once_one_waits_for_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit(model(), EXAMPLES, loss, CONFIG, tmp_path)
    (own,) = tmp_path.iterdir()
    found: list[Any] = []
    second = threading.Thread(target=lambda: found.append(fit(model(), EXAMPLES, killing(0), CONFIG, tmp_path)))  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO), Checkpoints(tmp_path, own.name).held():
        second.start()
        while "waiting for another process" not in caplog.text:
            assert second.is_alive()
            second.join(0.01)
        assert not found
    second.join()
    assert found == [whole]


def test_what_another_processor_draws_is_the_same_model_but_not_to_the_last_bit() -> None:
    one, other, moved = model(), model(), model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 1e-7)
        next(moved.parameters()).view(-1)[0] += 0.1
    assert bits(one) != bits(other)
    assert described(one) == described(other) != described(moved)
    assert described(one, exactly=True) == described(model(), exactly=True) != described(other, exactly=True)


def test_a_models_config_is_part_of_it() -> None:
    four, two = tiny_lm(), tiny_lm()
    assert described(four) == described(two)
    two.config.n_head = 99
    assert str(four) == str(two)
    assert described(four) != described(two)


def test_loras_scale_is_part_of_it() -> None:
    small, same, large = (tiny_lm(lora_r=2, lora_alpha=alpha) for alpha in (8, 8, 32))
    assert described(small) == described(same) != described(large)


def test_every_bit_of_what_is_learned_from_counts() -> None:
    big = torch.zeros(2000)
    other = big.clone()
    other[1000] = 1e-30
    assert repr(big) == repr(other), "torch abbreviates"
    rows = [
        [PromptPivot("a boat", big)], [PromptPivot("a boat", other)], [PromptPivot("a boat", big.reshape(2, 1000))],
        [PromptPivot("a boat", big.bfloat16())], [SftPair("a", "b")], [SftPair("ab", "")], [SftPair("a", "b"), "c"],
        [["a", "b", "c"]], {"a": big}, {"b": big}, [1, "1"], ["1", 1], torch.tensor(1), torch.tensor([1]),
    ]  # fmt: skip
    assert len({contents(row) for row in rows}) == len(rows)
    assert contents(rows[0]) == contents([PromptPivot("a boat", big.clone())])


def test_the_best_parameters_win(tmp_path: Path) -> None:
    config = TrainConfig(
        max_steps=6, batch_size=10, micro_batch_size=10, learning_rate=0.5, schedule="constant", eval_every=1
    )
    net = model()
    history = fit(net, EXAMPLES, loss, config, tmp_path, evaluation=EXAMPLES[:3])
    best, last = min(record["eval_loss"] for record in history), history[-1]["eval_loss"]
    assert best < last
    net.eval()
    value, count = loss(net, EXAMPLES[:3])
    assert value.item() / count == pytest.approx(best)


def test_micro_batches_change_nothing(tmp_path: Path) -> None:
    results = []
    for micro in (1, 4, 6):
        net = model().eval()
        net[2].p = 0.0
        config = TrainConfig(max_steps=3, batch_size=6, micro_batch_size=micro, learning_rate=0.05)

        fit(net, EXAMPLES, plain, config, tmp_path / str(micro))
        results.append(torch.cat([parameter.detach().flatten() for parameter in net.parameters()]))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_data_order_visits_everything_once_an_epoch() -> None:
    stream = data_order(7, 3, 0, 21)
    for epoch in range(3):
        assert sorted(stream[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert stream[:7] != stream[7:14]
    assert data_order(7, 3, 5, 9) == stream[5:14]
    assert data_order(7, 4, 0, 21) != stream


def test_schedules() -> None:
    cosine = TrainConfig(learning_rate=1.0, warmup_ratio=0.2)
    assert [rate_at(step, 10, cosine) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert rate_at(6, 10, cosine) == pytest.approx(0.5)
    constant = TrainConfig(learning_rate=1.0, warmup_ratio=0.2, schedule="constant")
    assert rate_at(9, 10, constant) == 1.0


def test_steps_follow_epochs() -> None:
    assert TrainConfig(epochs=2, batch_size=4).steps(10) == 5
    assert TrainConfig(epochs=0.5, batch_size=4).steps(10) == 2


@pytest.mark.parametrize(
    "change", [{"schedule": "linear"}, {"batch_size": 0}, {"learning_rate": 0.0}, {"max_steps": -1}]
)
def test_bad_settings_are_one_line(change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="expected"):
        TrainConfig(**change)  # type: ignore[arg-type]


def test_no_examples_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="got no examples"):
        fit(model(), [], loss, CONFIG, tmp_path)
