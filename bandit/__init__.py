"""Which instruction to try next: policies, rewards, bounds, and the ask / tell session. Pure mathematics, no I/O."""

from collections.abc import Callable

from bandit.eps_decay import EpsDecay
from bandit.eps_greedy import EpsGreedy
from bandit.greedy import Greedy
from bandit.kl_ucb import KLUCB
from bandit.lucb import LUCB
from bandit.policy import Policy
from bandit.racing import Racing
from bandit.sequential_halving import SequentialHalving
from bandit.settings import PolicySettings
from bandit.successive_rejects import SuccessiveRejects
from bandit.t3c import T3C
from bandit.thompson import Thompson
from bandit.top_two import TopTwo
from bandit.ucb1 import UCB1
from bandit.ucb_e import UCBE
from bandit.ucb_v import UCBV
from bandit.uniform import Uniform

POLICIES: dict[str, Callable[[PolicySettings], Policy]] = {
    "uniform": Uniform,
    "greedy": Greedy,
    "eps-greedy": EpsGreedy,
    "eps-decay": EpsDecay,
    "ucb1": UCB1,
    "ucb-v": UCBV,
    "kl-ucb": KLUCB,
    "ucb-e": UCBE,
    "thompson": Thompson,
    "top-two": TopTwo,
    "t3c": T3C,
    "successive-rejects": SuccessiveRejects,
    "sequential-halving": SequentialHalving,
    "lucb": LUCB,
    "racing": Racing,
}
"""Values of `--policy`. A new policy is one file, one line here, and it is under the contract suite."""
