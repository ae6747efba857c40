r"""Correlations of a patient's residuals over visits, and their factors.

| structure | correlation of visits s and t | parameters |
| --- | --- | --- |
| ``unstructured`` | any that a correlation matrix may have | V (V - 1) / 2 partial correlations |
| ``toeplitz`` | r_\|s - t\\|, one for each lag | V - 1 partial autocorrelations |
| ``ar1`` | r^\|s - t\\|, with times r^(distance / mean distance of neighbours) | r |
| ``compound_symmetry`` | r | r |
| ``diagonal`` | 0 | none |

Whatever their parameters between the limits, these are correlation matrices: no sampler and no
search meets a boundary within (partial correlations: `models.joint.joint`; partial
autocorrelations: Barndorff-Nielsen & Schou 1973, doi:10.1016/0047-259X(73)90030-4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alliance.models.joint.joint import correlation_factor, lkj_powers

Array = NDArray[np.float64]

Structure = Literal["unstructured", "compound_symmetry", "ar1", "toeplitz", "diagonal"]
STRUCTURES: tuple[str, ...] = get_args(Structure)


def correlation_parameters(structure: str, visits: int) -> int:
    """How many parameters the correlations of so many visits have."""
    several = {
        "unstructured": visits * (visits - 1) // 2,
        "toeplitz": visits - 1,
        "diagonal": 0,
    }
    return several.get(structure, 1) if visits > 1 else 0


def correlation_limits(
    structure: str, visits: int, gaps: Array | None = None
) -> tuple[float, float]:
    """Between which limits every parameter lies.

    A correlation common to all pairs is above -1 / (V - 1), and one that is taken to powers that
    are not whole is positive.
    """
    if structure == "compound_symmetry":
        return -1 / max(1, visits - 1), 1.0
    if structure == "ar1" and gaps is not None:
        return 0.0, 1.0
    return -1.0, 1.0


def prior_powers(structure: str, visits: int, shape: float) -> Array:
    """Powers of ``(r - low) (high - r)`` in the prior density of each parameter r.

    Unstructured correlations are LKJ(shape); any other parameter has the density that LKJ(shape)
    gives the correlation of two visits, stretched to its limits.

    Parameters
    ----------
    structure : str
    visits : int
    shape : float

    Returns
    -------
    ndarray, shape (m,)
    """
    if structure == "unstructured":
        return lkj_powers(visits, shape)
    return np.full(correlation_parameters(structure, visits), shape - 1.0)


def relative_gaps(times: Sequence[float] | None) -> Array | None:
    """Distances of visits over the mean distance of neighbours; None where these are all alike.

    Parameters
    ----------
    times : sequence of float or None

    Returns
    -------
    ndarray, shape (V, V), or None
    """
    if times is None or len(times) < 3:
        return None
    steps = np.diff(np.asarray(times, dtype=float))
    if np.allclose(steps, steps[0], rtol=1e-9):
        return None
    place = np.asarray(times, dtype=float) / steps.mean()
    return np.asarray(np.abs(place[:, None] - place))


def correlation_matrix(
    structure: str, parameters: Any, visits: int, library: ModuleType, gaps: Any = None
) -> Any:
    """Correlation matrix of a patient's residuals.

    Parameters
    ----------
    structure : str
        One of `STRUCTURES`.
    parameters : array or symbol, shape (..., m)
        Within `correlation_limits`.
    visits : int
        V.
    library : module
        ``numpy`` or ``pytensor.tensor``.
    gaps : array or symbol, shape (V, V), optional
        See `relative_gaps`; for ``ar1``.

    Returns
    -------
    array or symbol, shape (..., V, V)
    """
    if correlation_parameters(structure, visits) == 0:
        # Of the parameters' leading axes
        return np.eye(visits) + library.zeros_like(parameters).sum(axis=-1)[..., None, None]
    if structure == "unstructured":
        root = correlation_factor(parameters, visits, library)
        return root @ library.moveaxis(root, -1, -2)
    if structure == "ar1" and gaps is not None:
        return library.exp(gaps * library.log(parameters[..., :1, None]))
    one = parameters[..., 0]
    lags = {
        "compound_symmetry": lambda: [one] * (visits - 1),
        "ar1": lambda: [one**lag for lag in range(1, visits)],
        "toeplitz": lambda: _autocorrelations(parameters, visits),
    }[structure]()
    matrix: Any = np.eye(visits)
    for lag, value in enumerate(lags, start=1):
        band = np.eye(visits, k=lag) + np.eye(visits, k=-lag)
        matrix = matrix + value[..., None, None] * band
    return matrix


def _autocorrelations(partial: Any, visits: int) -> list[Any]:
    """Of lags 1 to V - 1, by the recursion of Durbin and Levinson."""
    found: list[Any] = []
    weights: list[Any] = []
    left: Any = 1.0
    for lag in range(1, visits):
        own = partial[..., lag - 1]
        explained = sum(w * r for w, r in zip(weights, reversed(found), strict=True))
        found.append(explained + own * left)
        weights = [
            *(w - own * turned for w, turned in zip(weights, reversed(weights), strict=True)),
            own,
        ]
        left = left * (1 - own**2)
    return found


@dataclass(frozen=True, eq=False, slots=True)
class CovarianceShape:
    """Which covariances a model of visits has, apart from their values.

    Attributes
    ----------
    structure : str
        One of `STRUCTURES`.
    visits : int
        V.
    sd_by_visit : bool
        Whether each visit has its own residual SD.
    groups : int
        A, groups of patients with a residual covariance of their own.
    correlated : int
        Effects of a therapist that correlate freely.
    independent : int
        Effects, after those, that are independent of all others and have one SD.
    gaps : ndarray, shape (V, V), or None
        See `relative_gaps`.
    """

    structure: str
    visits: int
    sd_by_visit: bool = True
    groups: int = 1
    correlated: int = 0
    independent: int = 0
    gaps: Array | None = None

    @property
    def sds(self) -> int:
        """Residual SDs of a group."""
        return self.visits if self.sd_by_visit else 1

    @property
    def correlations(self) -> int:
        """Correlation parameters of a group."""
        return correlation_parameters(self.structure, self.visits)

    @property
    def limits(self) -> tuple[float, float]:
        """Of every correlation parameter."""
        return correlation_limits(self.structure, self.visits, self.gaps)

    def residual(self, sd: Any, parameters: Any, library: ModuleType = np, gaps: Any = None) -> Any:
        """Covariances of the residuals.

        Parameters
        ----------
        sd : array or symbol, shape (..., A, V or 1)
        parameters : array or symbol, shape (..., A, m)
        library : module
            ``numpy`` or ``pytensor.tensor``.
        gaps : array or symbol, optional
            In the place of `gaps`, where they are a symbol.

        Returns
        -------
        array or symbol, shape (..., A, V, V)
        """
        distances = self.gaps if gaps is None else gaps
        R = correlation_matrix(self.structure, parameters, self.visits, library, distances)
        return sd[..., :, None] * R * sd[..., None, :]
