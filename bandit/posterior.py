"""The joint Gaussian posterior of all arms' means, with what blocks do to every arm alike integrated out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bandit.components import Components


@dataclass(frozen=True)
class Posterior:
    """Means (W, K) and covariance (W, K, K) of the arms' mean rewards."""

    mean: np.ndarray
    covariance: np.ndarray

    def sample(self, rng: np.random.Generator, draws: int = 1) -> np.ndarray:
        """Return (draws, W, K) joint samples."""
        worlds, arms = self.mean.shape
        jitter = 1e-10 * np.trace(self.covariance, axis1=1, axis2=2)
        root = np.linalg.cholesky(self.covariance + jitter[:, None, None] * np.eye(arms))
        noise = rng.normal(size=(draws, worlds, arms, 1))
        return self.mean + (root @ noise)[..., 0]

    def difference_variance(self, arm: np.ndarray) -> np.ndarray:
        """Return the (W, K) posterior variance of mean(arm) - mean(k); `arm` is (W,)."""
        own = np.diagonal(self.covariance, axis1=1, axis2=2)
        row = np.take_along_axis(self.covariance, arm[:, None, None], axis=1)[:, 0, :]
        return np.take_along_axis(own, arm[:, None], axis=1) + own - 2 * row


def joint_posterior(
    values: np.ndarray, met: np.ndarray, parts: Components, kinship: np.ndarray | None = None
) -> Posterior:
    """Return the posterior of mu when reward(a, t) = mu_a + b_t + e.

    The prior is mu ~ N(centre, arm), b ~ N(0, block), e ~ N(0, residual); its centre is the mean of the arms' means.
    Integrating b_t out of block t, met by the m arms A, adds (I_A - c 1 1') / residual to the precision, with
    c = block / (residual + m block): the inverse of residual I + block 1 1' (Sherman & Morrison 1950).

    Args:
        values: (W, K, B) rewards, 0 where not met.
        met: (W, K, B) 1.0 where met, else 0.0.
        parts: the variance components.
        kinship: (K, K) the prior's precision in units of 1 / arm, from `lineage`; None: arms are no kin.
    """
    n = met.sum(axis=2)
    tried = n > 0
    means = values.sum(axis=2) / np.maximum(n, 1)
    centre = (means * tried).sum(axis=1) / np.maximum(tried.sum(axis=1), 1)
    y = met * (values - centre[:, None, None])
    ratio = (parts.block / parts.residual)[:, None]
    weight = ratio / (1 + ratio * met.sum(axis=1))
    shared = (met * weight[:, None, :]) @ met.transpose(0, 2, 1)
    evidence = y.sum(axis=2) - np.einsum("wkb,wb->wk", met, weight * y.sum(axis=1))
    unit = np.eye(n.shape[1])
    prior = (parts.residual / parts.arm)[:, None, None] * (unit if kinship is None else kinship)
    covariance = np.linalg.inv(n[:, :, None] * unit + prior - shared)
    mean = centre[:, None] + (covariance @ evidence[:, :, None])[:, :, 0]
    return Posterior(mean, parts.residual[:, None, None] * covariance)


def lineage(arms: Sequence[str], parents: Mapping[str, str]) -> np.ndarray:
    """Return the kinship of arms of which each is its parent plus N(0, arm), and the first ones N(centre, arm).

    An ancestor that is not among the arms is a step in between: variances add up to the next one that is. So a child
    that was lucky once is drawn towards its parent, whose blocks count for it, and not towards the mean of all arms,
    most of which are of earlier generations.

    Args:
        arms: ids, in the order of the matrix.
        parents: the parent of every arm that ever was; without one it is a first arm.
    """
    place = {arm: k for k, arm in enumerate(arms)}
    precision = np.zeros((len(arms), len(arms)))
    for arm, k in place.items():
        ancestor, steps = parents.get(arm), 1
        while ancestor is not None and ancestor not in place:
            ancestor, steps = parents.get(ancestor), steps + 1
        edge = np.zeros(len(arms))
        edge[k] = 1.0
        if ancestor is not None:
            edge[place[ancestor]] = -1.0
        precision += np.outer(edge, edge) / steps
    return precision
