"""Therapists of the patients asked about: average, new or known, and what they add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_prep.errors import InputError, nearest
from data_prep.levels import quoted
from inference.datatree import require_effect_draws
from inference.expected_scores import coefficients, flat
from inference.rows import Rows, row_matrix
from models.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TherapistChoice:
    """Whose patients the rows are.

    Attributes
    ----------
    kind : {"average", "new", "known"}
        ``average``: a therapist whose effects are zero. ``new``: a fresh draw from the
        distribution of therapists for every posterior draw. ``known``: a therapist of the
        trial, with the effects saved in the run.
    labels : tuple of str
        Therapists by name: one for each row, or a single one for all rows. Rows of one label
        share one new therapist's draw; without labels all rows do. Known ones need their ids.
    """

    kind: Literal["average", "new", "known"]
    labels: tuple[str, ...] = ()

    @classmethod
    def known(cls, *ids: str) -> TherapistChoice:
        """Therapists of the trial: one id for all rows, or one for each."""
        return cls("known", tuple(ids))


# What may be said in the place of an id.
WORDS = ("new", "average", "own", "known")
AVERAGE = TherapistChoice("average")
NEW = TherapistChoice("new")


@dataclass(frozen=True, eq=False, slots=True)
class TherapistPart:
    """Draws of the therapists that the rows have, on the predictor's scale.

    Attributes
    ----------
    effect : ndarray, shape (d, g, q)
        Effects of g therapists in the order of the design's effects.
    shift : ndarray, shape (d, g), or None
        What a therapist's true mean alliance adds to the intercept: ``(between - within) m``.
        None unless the alliance is taken apart.
    index : ndarray of int, shape (r,)
        Position of each row's therapist among the g.
    """

    effect: Array
    shift: Array | None
    index: Index

    def block(self, some: slice) -> TherapistPart:
        """The part for a part of the rows."""
        return TherapistPart(self.effect, self.shift, self.index[some])

    def repeated(self, times: int) -> TherapistPart:
        """The part for rows that are each repeated so many times."""
        return TherapistPart(self.effect, self.shift, np.repeat(self.index, times))


def therapist_part(
    design: Design,
    draws: xr.Dataset,
    choice: TherapistChoice,
    rows: int,
    generator: np.random.Generator,
) -> TherapistPart | None:
    """Draws of the rows' therapists.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        With ``therapist_effect`` for known therapists, and with the SDs of the therapists'
        effects, and their correlation unless it is zero, for new ones.
    choice : TherapistChoice
    rows : int
        Number of rows r.
    generator : numpy.random.Generator
        For new therapists.

    Returns
    -------
    TherapistPart or None
        None for an average therapist.

    Raises
    ------
    InputError
        If a known therapist is not one of the trial.
    """
    if choice.kind == "average":
        return None
    labels = choice.labels or ("",)
    if len(labels) not in (1, rows):
        raise ValueError(f"{len(labels)} therapists are named for {rows} rows")
    names = tuple(dict.fromkeys(labels))
    position = {name: k for k, name in enumerate(names)}
    index = np.array([position[name] for name in labels], dtype=np.int64)
    index = np.broadcast_to(index, rows)
    if choice.kind == "known":
        require_therapists(design, names)
        known = [design.therapists.index(name) for name in names]
        return _known(design, draws, known, index)
    return _new(design, draws, len(names), index, generator)


def require_therapists(design: Design, ids: Sequence[str]) -> None:
    """Refuse ids that are not the trial's.

    Raises
    ------
    InputError
        Names the first wrong one and the ids there are.
    """
    for name in ids:
        if name not in design.therapists:
            raise InputError(
                f"There is no therapist {name!r} in the run.",
                f"{nearest(name, design.therapists)} Or say new or average.",
            )


def therapist_id(design: Design, named: str) -> str:
    """The id that somebody typed: as it stands, or in quotes, as one that is also a word is.

    A therapist whose id is ``new`` is asked for as ``"new"``, quotes included.
    """
    return next((name for name in design.therapists if quoted(name) == named), named)


def _known(design: Design, draws: xr.Dataset, known: Sequence[int], index: Index) -> TherapistPart:
    total = draws.sizes["chain"] * draws.sizes["draw"]
    effect = np.zeros((total, len(known), 0))
    require_effect_draws(draws)
    if design.effects:
        effect = flat(draws, "therapist_effect")[:, list(known)]
    shift = None
    if "moderator_slope_between" in draws:
        mean = flat(draws, "moderator_therapist_mean")[:, list(known)]
        shift = contextual_slope(design, draws)[:, None] * mean
    return TherapistPart(effect, shift, index)


def _new(
    design: Design,
    draws: xr.Dataset,
    therapists: int,
    index: Index,
    generator: np.random.Generator,
) -> TherapistPart:
    factor = therapist_factor(design, draws)
    standard = generator.standard_normal((len(factor), therapists, factor.shape[1]))
    effect = np.einsum("dab,dgb->dga", factor, standard)
    shift = None
    if "moderator_slope_between" in draws:
        spread = contextual_slope(design, draws) * flat(draws, "moderator_therapist_sd")
        shift = spread[:, None] * generator.standard_normal((len(factor), therapists))
    return TherapistPart(effect, shift, index)


def contextual_slope(design: Design, draws: xr.Dataset) -> Array:
    """What a therapist's true mean alliance adds beyond the patients' own, shape (d,).

    The slope between therapists minus that within them, on the standardised scale.
    """
    return flat(draws, "moderator_slope_between") - coefficients(draws, design)["moderator"]


def therapist_factor(design: Design, draws: xr.Dataset) -> Array:
    """Lower Cholesky factor of the covariance of a new therapist's effects, shape (d, q, q).

    Intercept and slope are correlated; arm effects are independent of them and of one another.
    """
    total = draws.sizes["chain"] * draws.sizes["draw"]
    size = len(design.effects)
    factor = np.zeros((total, size, size))
    for k, name in enumerate(design.effects):
        if name == "intercept":
            factor[:, k, k] = flat(draws, "therapist_sd")
        elif name == "slope":
            slope = flat(draws, "therapist_slope_sd")
            correlation = np.zeros(total)
            if "therapist_correlation" in draws:
                correlation = flat(draws, "therapist_correlation")
            factor[:, k, 0] = correlation * slope
            factor[:, k, k] = slope * np.sqrt(1 - correlation**2)
        else:
            factor[:, k, k] = flat(draws, "therapist_arm_sd")
    return factor


def therapist_variance(
    design: Design, draws: xr.Dataset, rows: Rows, moderator: Array | None = None
) -> Array:
    """Variance of the predictor between therapists for each row, in closed form.

    ``z' S z``, with z what the row multiplies the effects by: at an alliance a (standardised) with
    intercept and slope, ``sd_u^2 + 2 rho sd_u sd_v a + sd_v^2 a^2``. Where the alliance is taken
    apart, the variance that true mean alliances bring is added.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
    rows : Rows
    moderator : ndarray, shape (1, r) or (d, r), optional
        Standardised alliance in place of the rows' own.

    Returns
    -------
    ndarray, shape (d, r)
    """
    factor = therapist_factor(design, draws)
    Z = row_matrix(design, rows)[:, design.effect_columns]
    z = [Z[None, :, a] for a in range(Z.shape[1])]
    if moderator is not None and "slope" in design.effects:
        z[design.effects.index("slope")] = moderator
    variance = np.zeros((len(factor), len(rows)))
    for b in range(len(z)):
        spread = sum(factor[:, a, b, None] * z[a] for a in range(b, len(z)))
        variance += np.square(spread)
    if "moderator_slope_between" in draws:
        shift = contextual_slope(design, draws) * flat(draws, "moderator_therapist_sd")
        variance += np.square(shift)[:, None]
    return variance
