"""Which instruction to try next: policies, rewards, bounds, and the ask / tell session. Pure mathematics, no I/O."""

from collections.abc import Callable

from bandit.eps_greedy import EpsGreedy
from bandit.greedy import Greedy
from bandit.settings import PolicySettings
from bandit.ucb1 import UCB1
from bandit.uniform import Uniform
from core.interfaces import BanditPolicy

POLICIES: dict[str, Callable[[PolicySettings], BanditPolicy]] = {
    "ucb1": UCB1,
    "greedy": Greedy,
    "eps-greedy": EpsGreedy,
    "uniform": Uniform,
}
"""Values of `--policy`. A new policy is one file, one line here, and it is under the contract suite."""
