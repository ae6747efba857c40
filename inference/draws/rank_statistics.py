"""R-hat and effective sample sizes of many quantities, computed once for the same draws."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from alliance.inference.draws.quantiles import LARGEST

TAIL_QUANTILES = (0.05, 0.95)
"""Tail ESS is that of the worse of these; ArviZ's own default follows its 89% intervals."""

_REMEMBERED = 500  # quantities: 16 MB of 4 x 1,000 draws, and every quantity of several outcomes


class RankStatistics(NamedTuple):
    """Each of shape (quantity,)."""

    r_hat: NDArray[np.float64]
    ess_bulk: NDArray[np.float64]
    ess_tail: NDArray[np.float64]


def rank_statistics(draws: NDArray[np.float64]) -> RankStatistics:
    """Rank-normalised split R-hat, and bulk and tail effective sample sizes.

    Parameters
    ----------
    draws : ndarray of shape (quantity, chain, draw)

    Returns
    -------
    RankStatistics
        What cannot be computed is not a number.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, doi:10.1214/20-BA1221.
    """
    # The gate and the summary ask for the same quantities of the same draws.
    found = [_of_one(own.tobytes(), len(own)) for own in np.asarray(draws, dtype=float)]
    return RankStatistics(*np.array(found).reshape(-1, 3).T)


@lru_cache(maxsize=_REMEMBERED)
def _of_one(draws: bytes, chains: int) -> tuple[float, float, float]:
    own = np.frombuffer(draws).reshape(chains, -1)
    own = np.where(np.isposinf(own), LARGEST, own)  # ranks are the same
    with np.errstate(divide="ignore", invalid="ignore"):  # where no chain moves: infinite
        r_hat = array_stats.rhat(own)
    return (
        float(r_hat),
        float(array_stats.ess(own, method="bulk")),
        float(array_stats.ess(own, method="tail", prob=TAIL_QUANTILES)),
    )
