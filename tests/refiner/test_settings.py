"""Settings records changed by what a file says."""

from dataclasses import dataclass, field

import pytest

from core.errors import BadInput
from refiner.ppo_config import PpoConfig
from refiner.settings import changed


@dataclass(frozen=True)
class Both:
    name: str = "x"
    ppo: PpoConfig = field(default_factory=PpoConfig)


def test_only_what_is_named_changes() -> None:
    found = changed(Both(), {"ppo": {"kl_coef": 0.2, "betas": [0.9, 0.95], "reward_weights": {"hps": 1}}}, "f.toml")
    assert found == Both(ppo=PpoConfig(kl_coef=0.2, betas=(0.9, 0.95), reward_weights={"hps": 1.0}))
    assert changed(Both(), {}, "f.toml") == Both()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pop": {}}, r"f.toml: got the setting 'pop', expected one of name, ppo"),
        ({"ppo": {"kl": 1}}, r"f.toml.ppo: got the setting 'kl'"),
        ({"ppo": {"steps": "many"}}, r"f.toml.ppo.steps: got 'many'"),
        ({"ppo": 3}, r"f.toml.ppo: got 3, expected settings out of steps"),
        ({"ppo": {"steps": 0}}, r"steps is 0, expected at least 1"),
    ],
)
def test_errors_name_the_place(changes: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        changed(Both(), changes, "f.toml")
