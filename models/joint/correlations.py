"""Correlation matrices from canonical partial correlations, with LKJ density, and of effects.

A partial correlation z lies between -1 and 1 whatever the others are, so that a sampler meets no
boundary; and unlike the elements of a covariance's factor it does not shrink with the SDs, which
for therapist effects are often near zero (Lewandowski, Kurowicka & Joe 2009,
doi:10.1016/j.jmva.2009.04.008).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def partial_places(size: int) -> list[tuple[int, int]]:
    """Row and column of each partial correlation in the lower triangle, row by row."""
    return [(row, column) for row in range(size) for column in range(row)]


def lkj_powers(size: int, shape: float) -> Array:
    """Powers of ``1 - z^2`` in the LKJ(shape) density of the partial correlations.

    Parameters
    ----------
    size : int
        Rows of the correlation matrix, K.
    shape : float
        1 is uniform over correlation matrices; larger values lean towards independence.

    Returns
    -------
    ndarray, shape (K (K - 1) / 2,)
        In the order of `partial_places`.
    """
    return np.array([shape - 1 + (size - 2 - column) / 2 for _, column in partial_places(size)])


def correlation_factor(partial: Any, size: int, library: ModuleType) -> Any:
    """Lower Cholesky factor of the correlation matrix of some partial correlations.

    Parameters
    ----------
    partial : array or symbol, shape (..., K (K - 1) / 2)
        In the order of `partial_places`.
    size : int
        K.
    library : module
        ``numpy`` or ``pytensor.tensor``.

    Returns
    -------
    array or symbol, shape (..., K, K)
        Element (i, j) is ``z_ij prod_{m<j} sqrt(1 - z_im^2)``, with 1 for z on the diagonal.
    """
    places = partial_places(size)
    scatter = np.zeros((len(places), size * size))
    for number, (row, column) in enumerate(places):
        scatter[number, row * size + column] = 1.0
    lower = (partial @ scatter).reshape((*partial.shape[:-1], size, size))
    left_of = np.triu(np.ones((size, size)), 1)
    remaining = library.exp(0.5 * library.log1p(-(lower**2)) @ left_of)
    return (lower + np.eye(size)) * np.tril(np.ones((size, size))) * remaining


def effects_factor(sd: Any, root: Any, correlation: Any, library: ModuleType) -> Any:
    """Lower factor of the covariance of a therapist's effects on all outcomes.

    Parameters
    ----------
    sd : array or symbol, shape (..., q, K)
        Of intercepts and, with q = 2, slopes; of either sign.
    root : array or symbol, shape (..., q, K, K)
        Lower factors of correlation matrices between outcomes: of the intercepts, and of what the
        intercepts do not tell of the slopes.
    correlation : array or symbol, shape (..., K), or None
        Of intercept and slope on the same outcome; None where intercepts alone vary, q = 1.
    library : module
        ``numpy`` or ``pytensor.tensor``.

    Returns
    -------
    array or symbol, shape (..., q K, q K)
        Effect by effect, outcome by outcome.

    Notes
    -----
    With standard intercepts z ~ N(0, R_u) and w ~ N(0, R_w), the slope on outcome k is
    ``sd_k (r_k z_k + sqrt(1 - r_k^2) w_k)``. Alone, each outcome has the intercept, slope and
    correlation of a single-outcome model, whatever the others are; the slope on one outcome and the
    intercept on another go together through the intercepts only, by ``r_k R_u[k, m]``.
    """
    scaled = sd[..., None] * root
    intercept = scaled[..., 0, :, :]
    if correlation is None:
        return intercept
    own = sd[..., 1, :, None] * correlation[..., None] * root[..., 0, :, :]
    rest = library.sqrt(1 - correlation**2)[..., None] * scaled[..., 1, :, :]
    upper = library.concatenate([intercept, library.zeros_like(intercept)], axis=-1)
    lower = library.concatenate([own, rest], axis=-1)
    return library.concatenate([upper, lower], axis=-2)
