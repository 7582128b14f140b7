"""Bounds for tests that look several times (O'Brien and Fleming 1979), from scipy's multivariate normal."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm


def obrien_fleming(shares: Sequence[float], together: float = 0.05) -> list[float]:
    """The one-sided level of each look, which is at a share of the most there will be; all `together`."""
    at = np.array(shares)
    correlated = np.sqrt(np.minimum.outer(at, at) / np.maximum.outer(at, at))

    def too_many(constant: float) -> float:
        rng = np.random.default_rng(1)
        return 1 - float(multivariate_normal.cdf(constant / np.sqrt(at), cov=correlated, rng=rng)) - together

    constant = brentq(too_many, 1.5, 2.0, xtol=1e-4)
    return [float(level) for level in norm.sf(constant / np.sqrt(at))]
