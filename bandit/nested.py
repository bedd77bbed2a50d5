"""The joint posterior where every arm has met the first blocks of one sequence, in time linear in the arms.

Sort the arms by the blocks that they have met, n_1 >= ... >= n_K. The blocks from n_(m+1) to n_m are met by the first m
arms exactly. So with w_m = block / (residual + m block) and g_m = w_m (n_m - n_(m+1)) the precision matrix of
`bandit.posterior`, in units of 1 / residual, is diag(n + residual / arm) minus one whose entry (i, j) is the sum of g
from max(i, j) on. With B taking each arm's difference to the next one, B precision B' is tridiagonal. Its factor L D L'
gives means, samples and variances of differences in O(K) for a world, where a dense matrix takes O(K^3).
"""

import functools
from dataclasses import dataclass

import numpy as np

from bandit.components import Components


@dataclass(frozen=True)
class NestedPosterior:
    """A joint Gaussian of the arms' means, by the factor L D L' of B precision B'. Arrays by arm are sorted by blocks.

    Attributes:
        mean: (W, K) means, in the arms' own order.
        order: (W, K) the arms, those that met most blocks first.
        below: (K - 1, W) what is under the diagonal of L.
        diagonal: (K, W) of D.
        residual: (W,) unit of the covariance.
    """

    mean: np.ndarray
    order: np.ndarray
    below: np.ndarray
    diagonal: np.ndarray
    residual: np.ndarray

    def sample(self, rng: np.random.Generator, draws: int = 1) -> np.ndarray:
        """Return (draws, W, K) joint samples: B' L'^-1 D^-1/2 of standard normals."""
        arms, worlds = self.diagonal.shape
        u = rng.normal(size=(arms, draws, worlds)) * np.sqrt(self.residual / self.diagonal)[:, None]
        for k in range(arms - 2, -1, -1):
            u[k] -= self.below[k] * u[k + 1]
        u[1:] -= u[:-1].copy()
        samples = np.empty((draws, worlds, arms))
        np.put_along_axis(samples, self.order[None], np.moveaxis(u, 0, 2), axis=2)
        return self.mean + samples

    def difference_variance(self, arm: np.ndarray) -> np.ndarray:
        """Return the (W, K) posterior variance of mean(arm) - mean(k); `arm` is (W,)."""
        unit = (self.order == arm[:, None]).astype(float).T
        row = _own_order(_solve(self.below, self.diagonal, unit) * self.residual, self.order)
        own = self._variance
        return np.take_along_axis(own, arm[:, None], axis=1) + own - 2 * row

    @functools.cached_property
    def _variance(self) -> np.ndarray:
        """(W, K) the diagonal of B' (L D L')^-1 B, from the inverse's own diagonal and its neighbours."""
        inverse = 1 / self.diagonal
        beside = np.zeros_like(self.below)
        for k in range(len(beside) - 1, -1, -1):
            beside[k] = -self.below[k] * inverse[k + 1]
            inverse[k] -= self.below[k] * beside[k]
        own = inverse.copy()
        own[1:] += inverse[:-1] - 2 * beside
        return _own_order(own * self.residual, self.order)


def nested_posterior(n: np.ndarray, mean: np.ndarray, block_sums: np.ndarray, parts: Components) -> NestedPosterior:
    """Return what `joint_posterior` returns, where every arm has met its first n blocks.

    Args:
        n: (W, K) blocks met.
        mean: (W, K) mean rewards, 0 without any.
        block_sums: (W, B) on each block the sum of the rewards of all arms that have met it, 0 where none has.
        parts: the variance components.
    """
    order = np.argsort(-n, axis=1, kind="stable")
    met, means = (np.take_along_axis(a, order, axis=1).T for a in (n, mean))
    arms = np.arange(1, len(met) + 1)[:, None]
    tried = met > 0
    centre = means.sum(axis=0) / np.maximum(tried.sum(axis=0), 1)
    blocks = met - np.concatenate([met[1:], np.zeros_like(met[:1])])
    upto = np.take_along_axis(np.cumsum(block_sums, axis=1), np.maximum(met.T - 1, 0), axis=1).T * tried
    sums = upto - np.concatenate([upto[1:], np.zeros_like(upto[:1])]) - centre * arms * blocks
    ratio = parts.block / parts.residual
    weight = ratio / (1 + ratio * arms)
    shared = np.cumsum((weight * sums)[::-1], axis=0)[::-1]
    own = met + parts.residual / parts.arm
    below, diagonal = _factor(own, weight * blocks)
    shift = _solve(below, diagonal, met * (means - centre * tried) - shared)
    return NestedPosterior(_own_order(centre + shift, order), order, below, diagonal, parts.residual)


def _factor(own: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (below, diagonal) of L D L' = T with T_kk = own_k + own_(k+1) - shared_k and T_k(k+1) = -own_(k+1)."""
    below, diagonal = np.empty((len(own) - 1, own.shape[1])), np.empty(own.shape)
    left = own[0] - shared[0]
    for k in range(len(below)):
        following = own[k + 1]
        diagonal[k] = left + following
        below[k] = -following / diagonal[k]
        left = -below[k] * left - shared[k + 1]
    diagonal[-1] = left
    return below, diagonal


def _solve(below: np.ndarray, diagonal: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return B' (L D L')^-1 B right, with (B x)_k = x_k - x_(k+1); all (K, W)."""
    z = right.copy()
    z[:-1] -= right[1:]
    for k in range(len(below)):
        z[k + 1] -= below[k] * z[k]
    z /= diagonal
    for k in range(len(below) - 1, -1, -1):
        z[k] -= below[k] * z[k + 1]
    z[1:] -= z[:-1].copy()
    return z


def _own_order(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return sorted values (K, W) as (W, K) in the arms' own order."""
    result = np.empty(order.shape)
    np.put_along_axis(result, order, values.T, axis=1)
    return result
