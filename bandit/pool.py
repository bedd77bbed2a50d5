"""Which arms lead, which may go, and whether they can be told apart: pure functions of the arms' bounds.

Bounds are `bandit.statistics.bounds`. Ties fall to the arm whose id sorts first, so the answers are reproducible.
"""

import math
from collections.abc import Collection, Mapping

Bounds = Mapping[str, tuple[float, float]]


def top(bounds: Bounds, k: int) -> list[str]:
    """Return up to `k` arms with results, the highest lower bound first."""
    tried = [arm for arm, (lower, _) in bounds.items() if lower > -math.inf]
    return sorted(tried, key=lambda arm: (-bounds[arm][0], arm))[:k]


def separated(bounds: Bounds) -> bool:
    """Say whether no other arm's upper bound exceeds the leader's lower bound.

    False without a leader, and while any other arm is unpulled; trivially true of a single arm with results.
    """
    leader = top(bounds, 1)
    return bool(leader) and all(upper <= bounds[leader[0]][0] for arm, (_, upper) in bounds.items() if arm != leader[0])


def surplus(bounds: Bounds, cap: int, barren: Collection[str] = ()) -> list[str]:
    """Return the arms to retire, in order, until `cap` are left.

    Barren arms (tried in vain) go first, then those of the lowest upper bound: so whatever lies under the leader's
    lower bound goes before anything that does not. Never the leader, never an arm that was not tried; when only
    those are left, the pool stays over its cap.

    Raises:
        ValueError: cap < 1.
    """
    if cap < 1:
        raise ValueError(f"the cap of the pool is {cap}; expected at least 1")
    keep = set(top(bounds, 1)) | {arm for arm, (lower, _) in bounds.items() if lower == -math.inf and arm not in barren}
    going = sorted((arm for arm in bounds if arm not in keep), key=lambda arm: (arm not in barren, bounds[arm][1], arm))
    return going[: max(0, len(bounds) - cap)]
