"""Therapists of the patients asked about: average, new or known, and what they add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import quoted
from alliance.inference.draws.datatree import require_effect_draws
from alliance.inference.draws.summaries import normal_nodes
from alliance.inference.posterior import Posterior, Rows
from alliance.models.design.design import Design
from alliance.models.design.ratings import between_columns, trial_caseload

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MEAN_NODES = 7  # for a therapist's mean alliance, in which the predictor is nearly linear


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
        share one new therapist's draw; without labels all rows do. Known ones need their ids;
        `NOBODY`, for a patient who has none, is an average one. In arms without therapists nobody
        has any, whatever is said here.
    clinics : tuple of str or None
        Clinics by name: one for each row, or a single one for all rows; `AVERAGE_CLINIC` is one
        whose effects are zero. A new therapist's may be any name: rows of one name share a new
        clinic's draw, but for names of the trial's clinics where `known_clinics`. None: that of the
        therapist. A new therapist then has a new clinic, an average one an average clinic, a known
        one his own (the mean of his clinics, weighed by his patients, where he works in several).
    known_clinics : bool
        Whether clinics of new therapists are those of the trial.
    """

    kind: Literal["average", "new", "known"]
    labels: tuple[str, ...] = ()
    clinics: tuple[str, ...] | None = None
    known_clinics: bool = False

    @classmethod
    def known(cls, *ids: str) -> TherapistChoice:
        """Therapists of the trial: one id for all rows, or one for each."""
        return cls("known", tuple(ids))


AVERAGE_CLINIC = ""

# What may be said in the place of an id.
WORDS = ("new", "average", "own", "known")
AVERAGE = TherapistChoice("average")
NEW = TherapistChoice("new")


@dataclass(frozen=True, eq=False, slots=True)
class TherapistPart:
    """Draws of the therapists that the rows have, on the predictor's scale.

    Attributes
    ----------
    effect : ndarray, shape (d, g, q), or (d, g, q + k) where clinics have effects
        Effects of g therapists in the order of the design's effects, then those of their clinics.
    mean : ndarray, shape (d, g), or None
        Their true mean alliance, standardised: see `models.design.ratings`. None unless the
        alliance is taken apart.
    index : ndarray of int, shape (r,)
        Position of each row's therapist among the g.
    """

    effect: Array
    mean: Array | None
    index: Index

    def block(self, some: slice) -> TherapistPart:
        """The part for a part of the rows."""
        return TherapistPart(self.effect, self.mean, self.index[some])

    def repeated(self, times: int) -> TherapistPart:
        """The part for rows that are each repeated so many times."""
        return TherapistPart(self.effect, self.mean, np.repeat(self.index, times))

    def own_mean(self) -> Array:
        """Each row's therapist's mean alliance, (d, r); zero where it is not taken apart."""
        if self.mean is None:
            return np.zeros((1, 1))
        return np.take(self.mean, self.index, axis=1)


def therapist_part(
    posterior: Posterior,
    choice: TherapistChoice,
    rows: int,
    generator: np.random.Generator | None = None,
) -> TherapistPart | None:
    """Draws of the rows' therapists.

    Parameters
    ----------
    posterior : Posterior
    choice : TherapistChoice
    rows : int
        Number of rows r.
    generator : numpy.random.Generator, optional
        New therapists need one.

    Returns
    -------
    TherapistPart or None
        None for an average therapist.

    Raises
    ------
    InputError
        If a known therapist is not one of the trial.
    """
    design = posterior.design
    if choice.kind == "average" and not (choice.clinics and design.clinic_effects):
        return None
    labels = choice.labels or ("",)
    if len(labels) not in (1, rows):
        raise ValueError(f"{len(labels)} therapists are named for {rows} rows")
    if design.clinic_effects:
        return _with_clinics(posterior, choice, rows, generator)
    names = tuple(dict.fromkeys(labels))
    position = {name: k for k, name in enumerate(names)}
    index = np.array([position[name] for name in labels], dtype=np.int64)
    index = np.broadcast_to(index, rows)
    if choice.kind == "known":
        require_therapists(posterior.design, names)
        everybody = (*posterior.design.therapists, NOBODY)
        known = [everybody.index(name) for name in names]
        return _known(posterior, known, index)
    if generator is None:
        raise ValueError("new therapists are drawn: give a generator")
    return _new(posterior, len(names), index, generator)


def _with_clinics(
    posterior: Posterior,
    choice: TherapistChoice,
    rows: int,
    generator: np.random.Generator | None,
) -> TherapistPart:
    """The rows' therapists with their clinics: one entry for each pair of the two."""
    design = posterior.design
    labels = np.broadcast_to(np.array(choice.labels or ("",), dtype=object), rows)
    named = choice.clinics if choice.clinics is not None else (None,)
    if len(named) not in (1, rows):
        raise ValueError(f"{len(named)} clinics are named for {rows} rows")
    clinics = np.broadcast_to(np.array(named, dtype=object), rows)
    pairs = list(zip(labels.tolist(), clinics.tolist(), strict=True))
    distinct = list(dict.fromkeys(pairs))
    place = {pair: k for k, pair in enumerate(distinct)}
    index = np.array([place[pair] for pair in pairs], dtype=np.int64)
    therapists = [therapist for therapist, _ in distinct]
    whose = [clinic for _, clinic in distinct]
    if choice.kind == "new":
        if generator is None:
            raise ValueError("new therapists are drawn: give a generator")
        own = _drawn(therapist_factor(posterior), therapists, generator)
        if choice.known_clinics:
            above = _clinics_named(posterior, whose)
        else:
            of = [therapist if clinic is None else clinic for therapist, clinic in distinct]
            above = _drawn(clinic_factor(posterior), of, generator)
            above[:, [clinic == AVERAGE_CLINIC for clinic in whose]] = 0.0
    elif choice.kind == "average":
        own = np.zeros((posterior.total, len(distinct), len(design.effects)))
        above = _clinics_named(posterior, whose)
    else:
        require_therapists(design, tuple(therapists))
        everybody = (*design.therapists, NOBODY)
        known = [everybody.index(name) for name in therapists]
        own = _known(posterior, known, index).effect
        above = _clinics_of(posterior, known, whose)
    return TherapistPart(np.concatenate([own, above], axis=2), None, index)


def _drawn(factor: Array, names: Sequence[str], generator: np.random.Generator) -> Array:
    """New effects, (d, g, q), one draw for each distinct name."""
    distinct = list(dict.fromkeys(names))
    standard = generator.standard_normal((len(factor), len(distinct), factor.shape[1]))
    effect = np.einsum("dab,dgb->dga", factor, standard)
    return np.asarray(effect[:, [distinct.index(name) for name in names]])


def _clinics_named(posterior: Posterior, names: Sequence[str | None]) -> Array:
    """Effects (d, g, k) of the trial's clinics; zero of average ones."""
    require_effect_draws(posterior.draws)
    effect = posterior.flat("clinic_effect")
    effect = np.concatenate([effect, np.zeros_like(effect[:, :1])], axis=1)
    require_clinics(posterior.design, [name for name in names if name])
    clinics = posterior.design.clinics
    return np.asarray(effect[:, [clinics.index(name) if name else -1 for name in names]])


def _clinics_of(posterior: Posterior, known: Sequence[int], names: Sequence[str | None]) -> Array:
    """Effects (d, g, k) of the clinics named, or of those in which these therapists work."""
    design = posterior.design
    found = _clinics_named(posterior, [name or AVERAGE_CLINIC for name in names])
    effect = posterior.flat("clinic_effect")
    for place, (therapist, name) in enumerate(zip(known, names, strict=True)):
        own = design.clinic_of[design.therapist_index == therapist]
        if name is None and therapist < len(design.therapists) and len(own):
            share = np.bincount(own, minlength=len(design.clinics)) / len(own)
            found[:, place] = np.einsum("dck,c->dk", effect, share)
    return found


def require_clinics(design: Design, ids: Sequence[str]) -> None:
    """Refuse clinics that are not the trial's.

    Raises
    ------
    InputError
        Names the first wrong one and the ids there are.
    """
    for name in ids:
        if name not in design.clinics:
            remedy = "The model has no effects of clinics: leave the clinic out."
            if design.clinics:
                remedy = f"{nearest(name, design.clinics)} Or say new or average."
            raise InputError(f"There is no clinic {name!r} in the run.", remedy)


def require_therapists(design: Design, ids: Sequence[str]) -> None:
    """Refuse ids that are not the trial's.

    Raises
    ------
    InputError
        Names the first wrong one and the ids there are.
    """
    for name in ids:
        if name not in design.therapists and not (name == NOBODY and design.nesting.without):
            remedy = "The study names no column of therapists: leave the therapist out."
            if design.therapists:
                remedy = f"{nearest(name, design.therapists)} Or say new or average."
            raise InputError(f"There is no therapist {name!r} in the run.", remedy)


def therapist_id(design: Design, named: str) -> str:
    """The id that somebody typed: as it stands, or in quotes, as one that is also a word is.

    A therapist whose id is ``new`` is asked for as ``"new"``, quotes included.
    """
    return next((name for name in design.therapists if quoted(name) == named), named)


def _known(posterior: Posterior, known: Sequence[int], index: Index) -> TherapistPart:
    draws = posterior.draws
    total = posterior.total
    effect = np.zeros((total, len(known), 0))
    require_effect_draws(draws)
    if posterior.design.effects:
        effect = posterior.flat("therapist_effect")
        if len(posterior.design.therapists) in known:  # nobody: as an average therapist
            effect = np.concatenate([effect, np.zeros_like(effect[:, :1])], axis=1)
        effect = effect[:, list(known)]
    mean = None
    if "moderator_slope_between" in draws:
        mean = posterior.flat("moderator_therapist_mean")[:, list(known)]
    return TherapistPart(effect, mean, index)


def _new(
    posterior: Posterior,
    therapists: int,
    index: Index,
    generator: np.random.Generator,
) -> TherapistPart:
    factor = therapist_factor(posterior)
    standard = generator.standard_normal((len(factor), therapists, factor.shape[1]))
    effect = np.einsum("dab,dgb->dga", factor, standard)
    mean = None
    if "moderator_slope_between" in posterior.draws:
        centre, spread = _new_means(posterior)
        mean = centre + spread * generator.standard_normal((len(factor), therapists))
    return TherapistPart(effect, mean, index)


def _new_means(posterior: Posterior) -> tuple[Array, Array]:
    """Mean and SD (d, 1) of new therapists' mean alliance, their patients in arms as the trial's.

    An average therapist's is zero, the mean of the analysed ratings.
    """
    gamma = posterior.flat("moderator_coefficient")
    return gamma @ trial_caseload(posterior.design).T, posterior.flat("moderator_therapist_sd")[
        :, None
    ]


def mean_slopes(posterior: Posterior, X: Array) -> Array:
    """What a therapist's mean alliance adds beyond the patient's own, by row, shape (d, r).

    The slope between therapists minus the one within them, each in the row's arm, on the
    standardised scale.

    Parameters
    ----------
    posterior : Posterior
    X : ndarray, shape (r, p)
        Columns as of the design; the moderator's are not looked at.
    """
    design = posterior.design
    design = posterior.design
    between = [posterior.flat("moderator_slope_between")[:, None]]
    if "moderator_interaction_between" in posterior.draws:
        between.append(posterior.flat("moderator_interaction_between"))
    columns = design.moderator_columns
    within = posterior.beta[:, columns]
    factors = [design.coefficients.index("intercept"), *design.arm_columns][: len(columns)]
    return np.asarray(
        np.hstack(between) @ X[:, between_columns(design)].T - within @ X[:, factors].T
    )


def times_effects(design: Design, X: Array, arm_index: Index, moderator: Array) -> list[Array]:
    """What rows multiply each effect of a therapist by, (r,), (1, r) or (d, r): zero in arms that
    have no therapists. Then each effect of a clinic.

    Parameters
    ----------
    design : Design
    X : ndarray, shape (r, p)
    arm_index : ndarray of int, shape (r,)
    moderator : ndarray, shape (r,), (1, r) or (d, r)
        What slopes are multiplied by: the alliance, or its distance to the therapist's mean.
    """
    own = [
        moderator if name == "slope" else X[:, column]
        for name, column in zip(design.effects, design.effect_columns, strict=True)
    ]
    if design.nesting.without:
        has = design.nesting.has_therapist(arm_index)
        own = [times * has for times in own]
    return own + [
        moderator if name == "slope" else X[:, column]
        for name, column in zip(design.clinic_effects, design.clinic_columns, strict=True)
    ]


def clinic_factor(posterior: Posterior) -> Array:
    """Lower Cholesky factor of the covariance of a new clinic's effects, shape (d, k, k)."""
    size = len(posterior.design.clinic_effects)
    factor = np.zeros((posterior.total, size, size))
    if size:
        factor[:, 0, 0] = posterior.flat("clinic_sd")
    if size > 1:
        slope = posterior.flat("clinic_slope_sd")
        correlation = np.zeros(posterior.total)
        if "clinic_correlation" in posterior.draws:
            correlation = posterior.flat("clinic_correlation")
        factor[:, 1, 0] = correlation * slope
        factor[:, 1, 1] = slope * np.sqrt(1 - correlation**2)
    return factor


def levels_factor(posterior: Posterior, levels: Sequence[str] = ("therapist", "clinic")) -> Array:
    """Block-diagonal factor of a new therapist's effects and his clinic's, (d, q + k, q + k).

    Zero for the levels that are not asked for.
    """
    own, above = therapist_factor(posterior), clinic_factor(posterior)
    q = own.shape[1]
    if not above.shape[1]:
        return own if "therapist" in levels else np.zeros_like(own)
    factor = np.zeros((len(own), q + above.shape[1], q + above.shape[1]))
    if "therapist" in levels:
        factor[:, :q, :q] = own
    if "clinic" in levels:
        factor[:, q:, q:] = above
    return factor


def therapist_factor(posterior: Posterior) -> Array:
    """Lower Cholesky factor of the covariance of a new therapist's effects, shape (d, q, q).

    Intercept and slope are correlated; arm effects are independent of them and of one another.
    """
    design = posterior.design
    total = posterior.total
    size = len(design.effects)
    factor = np.zeros((total, size, size))
    for k, name in enumerate(design.effects):
        if name == "intercept":
            factor[:, k, k] = posterior.flat("therapist_sd")
        elif name == "slope":
            slope = posterior.flat("therapist_slope_sd")
            correlation = np.zeros(total)
            if "therapist_correlation" in posterior.draws:
                correlation = posterior.flat("therapist_correlation")
            factor[:, k, 0] = correlation * slope
            factor[:, k, k] = slope * np.sqrt(1 - correlation**2)
        else:
            factor[:, k, k] = posterior.flat("therapist_arm_sd")
    return factor


def therapist_variance(
    posterior: Posterior,
    rows: Rows,
    moderator: Array | None = None,
    levels: Sequence[str] = ("therapist", "clinic"),
) -> Array:
    """Variance of the predictor between therapists for each row, in closed form.

    ``z' S z``, with z what the row multiplies the effects by: at an alliance a (standardised) with
    intercept and slope, ``sd_u^2 + 2 rho sd_u sd_v a + sd_v^2 a^2``. Where the alliance is taken
    apart, with the variance that true mean alliances bring.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
    moderator : ndarray, shape (1, r) or (d, r), optional
        Standardised alliance in place of the rows' own.
    levels : sequence of {"therapist", "clinic"}
        What differs: therapists of new clinics by default, where the model has clinics.

    Returns
    -------
    ndarray, shape (d, r)
    """
    parts = list(new_therapists(posterior, rows, moderator, levels))
    mean = sum(weight * shift for weight, shift, _ in parts)
    found = sum(weight * (spread**2 + (shift - mean) ** 2) for weight, shift, spread in parts)
    return np.asarray(found)


def new_therapists(
    posterior: Posterior,
    rows: Rows,
    moderator: Array | None = None,
    levels: Sequence[str] = ("therapist", "clinic"),
) -> Iterator[tuple[float, Array | float, Array]]:
    """How new therapists scatter around an average one: normal distributions, mixed by weight.

    One, but where therapist slopes multiply what the alliance differs from the therapist's own
    mean: then one for each node of a quadrature over that mean.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
    moderator : ndarray, shape (1, r) or (d, r), optional
        Standardised alliance in place of the rows' own.
    levels : sequence of {"therapist", "clinic"}
        As in `therapist_variance`.

    Returns
    -------
    iterator of (weight, mean, SD)
        Mean and SD (d, r) of the predictor's distance to that of an average therapist.
    """
    design = posterior.design
    factor = levels_factor(posterior, levels)
    X = rows.matrix(design)
    own = X[None, :, design.coefficients.index("moderator")] if moderator is None else moderator
    if "moderator_slope_between" not in posterior.draws:
        yield 1.0, 0.0, np.sqrt(_variance(design, factor, X, own, rows.arm_index))
        return
    slopes, (centre, spread) = mean_slopes(posterior, X), _new_means(posterior)
    if "slope" not in design.effects:
        variance = _variance(design, factor, X, own, rows.arm_index) + np.square(slopes * spread)
        yield 1.0, slopes * centre, np.sqrt(variance)
        return
    for node, weight in normal_nodes(MEAN_NODES):
        mean = centre + node * spread
        spread_there = np.sqrt(_variance(design, factor, X, own - mean, rows.arm_index))
        yield weight, slopes * mean, spread_there


def _variance(design: Design, factor: Array, X: Array, moderator: Array, arm_index: Index) -> Array:
    """``z' S z`` (d, r) of the therapists' effects, at an alliance (1, r) or (d, r)."""
    z = times_effects(design, X, arm_index, moderator)
    variance = np.zeros((len(factor), len(X)))
    for b in range(len(z)):
        spread = sum(factor[:, a, b, None] * z[a] for a in range(b, len(z)))
        variance += np.square(spread)
    return variance
