"""What a page holds of one fitted outcome: columns of draws, and which column is what.

The predictor of a patient is a straight line in the alliance, in the baseline and in each
covariate, for every draw, arm and therapist. The page holds these lines as the run's own functions
give them, on the scale of the scores where the link is the identity, else on the link's. New
therapists and what places a single score are the run's random draws, which the commands draw too.

An average over the trial's patients needs their rows where the link is curved, and no row may
leave. In each draw it is an analytic function of the one number that is added to every patient's
predictor (`inference.scores.questions.Question.along`); the page holds that function as a series
of Chebyshev polynomials, over all that arms, alliances and therapists add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.typing import NDArray
from scipy.fft import dct

from alliance.data_prep.errors import InputError
from alliance.diagnostics.explorer.columns import Columns
from alliance.inference.draws.summaries import column_blocks
from alliance.inference.patients.asked_patients import usual_values
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.questions import (
    Question,
    expected,
    expected_scores,
    linear_predictor,
    own_alliance,
)
from alliance.inference.scores.single_scores import residual_draws, score_steps
from alliance.inference.scores.therapist_parts import (
    NEW,
    TherapistChoice,
    TherapistPart,
    therapist_part,
)

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ENOUGH = 1e-9  # of the scores' spread: what a series may miss an average by
TERMS = (16, 24, 32, 48, 64, 96, 128)  # of the series that are tried
CHECKED = (-0.97, -0.31, 0.43, 0.99)  # where a series is held against averages: no node is there
FEWER_BYTES = 3  # of therapists whose effects no chance is counted of
# Families whose single scores follow from a predictor and one random number by an inverse link.
SINGLE = ("gaussian", "student_t", "ordinal", "ordinal_probit", "binary")
# Of these, chances of scores are a mean over draws of a distribution function.
CHANCES = ("gaussian", "ordinal", "ordinal_probit", "binary")


@dataclass(frozen=True, eq=False, slots=True)
class Lines:
    """The predictors of arms as straight lines in the standardised alliance.

    Attributes
    ----------
    level, slope : ndarray, shape (d, K)
    """

    level: Array
    slope: Array

    def minus(self, other: Lines) -> Lines:
        """What one of them adds to the other."""
        return Lines(self.level - other.level, self.slope - other.slope)


@dataclass(frozen=True, eq=False, slots=True)
class Held:
    """One outcome's part of the page.

    Attributes
    ----------
    told : dict
        Plain values, and the columns as text.
    columns : Columns
    """

    told: dict[str, Any]
    columns: Columns


def held(
    posterior: Posterior,
    therapists: Sequence[int] = (),
    *,
    ends: tuple[float, float],
) -> Held:
    """What the page holds of an outcome.

    Parameters
    ----------
    posterior : Posterior
    therapists : sequence of int
        Positions of the therapists who can be chosen.
    ends : tuple of float
        Lowest and highest alliance that can be asked about.

    Returns
    -------
    Held

    Raises
    ------
    InputError
        If the run holds no patients' rows, or averages cannot be told to the printed digit.
    """
    design, columns = posterior.design, Columns()
    family, arms = design.family, np.arange(len(design.arms))
    straight = family.link == "identity"
    unit = design.scale.link_unit * (design.scale.unit if straight else 1.0)
    start = design.scale.link_location
    if straight:
        start = design.scale.offset + design.scale.unit * start
    plain = _lines(posterior, None)
    average = Lines(start + unit * plain.level, unit * plain.slope)
    generator = posterior.generator("predictions")
    new = therapist_part(posterior, NEW, len(arms), generator)
    residual_new = _residual(posterior, generator)
    residual = _residual(posterior, posterior.generator("predictions"))
    known = [
        therapist_part(
            posterior, TherapistChoice.known(design.therapists[each]), len(arms), generator
        )
        for each in therapists
    ]
    added = [
        Lines(unit * each.level, unit * each.slope)
        for part in (new, *known)
        for each in [_lines(posterior, part).minus(plain)]
    ]
    # Where the link is the identity and a therapist adds the same in all arms, arms compare alike.
    alike = straight and all(_alike(each) for each in added)
    sizes = [4, *[FEWER_BYTES if alike else 4] * len(known)]
    told: dict[str, Any] = {
        "draws": posterior.total,
        "arms": _columns(columns, average),
        "new": _columns(columns, added[0]),
        "known": [
            _columns(columns, lines, size) for lines, size in zip(added[1:], sizes[1:], strict=True)
        ],
        "baseline": _baseline(posterior, columns, unit),
        "covariates": _covariates(posterior, columns, unit),
        "average": _average(posterior, columns, average, added, unit, ends),
        "own": _own(posterior, columns),
        "single": _single(posterior, columns, residual, residual_new),
        "link": "identity" if straight else family.link,
        "family": family.name,
        "scale": [design.scale.offset, design.scale.unit, design.scale.top],
    }
    return Held(told | columns.told(), columns)


def _rows(posterior: Posterior) -> Rows:
    """One patient in every arm, with the analysed patients' mean baseline and covariates."""
    scaling, arms = posterior.design.scaling, len(posterior.design.arms)
    middle = np.array([mean for mean, _ in scaling.covariates])
    return Rows(
        arm_index=np.arange(arms),
        moderator=np.full(arms, scaling.moderator[0]),
        baseline=np.full(arms, scaling.baseline[0]),
        covariates=np.tile(middle, (arms, 1)),
    )


def _lines(posterior: Posterior, part: TherapistPart | None) -> Lines:
    """The arms' lines for a patient at the means, on the predictor's scale."""
    rows, (mean, sd) = _rows(posterior), posterior.design.scaling.moderator
    level, further = (
        linear_predictor(posterior, rows.at_moderator(value), part) for value in (mean, mean + sd)
    )
    return Lines(level, further - level)


def _alike(lines: Lines) -> bool:
    """Whether all arms have the same."""
    return all(
        np.allclose(each, each[:, :1], rtol=0.0, atol=1e-12 * max(1.0, float(np.abs(each).max())))
        for each in (lines.level, lines.slope)
    )


def _columns(columns: Columns, lines: Lines, size: int = 4) -> dict[str, list[int | None]]:
    """Places of the arms' lines."""
    return {
        "level": [columns.add(each, size) for each in lines.level.T],
        "slope": [columns.add(each, size) for each in lines.slope.T],
    }


def _baseline(posterior: Posterior, columns: Columns, unit: float) -> dict[str, Any] | None:
    """The line in the baseline, and the values that it can have."""
    design, seen = posterior.design, posterior.design.encoding.observed
    if not design.has_baseline:
        return None
    mean, sd = design.scaling.baseline
    (place,) = design.encoding.places("baseline")
    return {
        "mean": mean,
        "sd": sd,
        "observed": None if seen is None else seen.baseline,
        "range": posterior.outcome.range,
        "slope": columns.add(unit * posterior.beta[:, place]),
    }


def _covariates(posterior: Posterior, columns: Columns, unit: float) -> list[dict[str, Any]]:
    """The line in each column of each covariate, and the values that it can have."""
    design, encoding = posterior.design, posterior.design.encoding
    places = encoding.places("covariate")
    found = []
    for covariate in encoding.covariates:
        own = encoding.own_columns(covariate.name)
        levels = encoding.levels(covariate.name)
        labels = encoding.labels.get(covariate.name, {})
        found.append(
            {
                "name": covariate.name,
                "levels": None
                if levels is None
                else [[level, labels.get(level, level)] for level in levels],
                "values": None
                if levels is None
                else [encoding.encoded(covariate.name, [level])[0].tolist() for level in levels],
                "observed": None
                if levels is not None or encoding.observed is None
                else encoding.observed.covariates[own[0]],
                "usual": usual_values(posterior, covariate.name)[0].tolist(),
                "columns": [
                    {
                        "mean": design.scaling.covariates[k][0],
                        "sd": design.scaling.covariates[k][1],
                        "slope": None
                        if k in encoding.absent
                        else columns.add(unit * posterior.beta[:, places[k]]),
                    }
                    for k in own
                ],
            }
        )
    return found


def _own(posterior: Posterior, columns: Columns) -> dict[str, Any]:
    """The arms' expected scores at the patients' own alliance, with an average therapist."""
    alliance = own_alliance(posterior)
    if posterior.design.family.link == "identity" and alliance is None:
        return {"at": float(posterior.rows.moderator.mean())}
    asked = Question(
        posterior,
        posterior.rows,
        tuple(range(len(posterior.design.arms))),
        alliance=alliance,
    )
    return {"scores": [columns.add(each) for each in asked.averaged(expected)["expected"].T]}


def _residual(posterior: Posterior, generator: np.random.Generator) -> Array | None:
    """What places a single patient's score, as `predict` draws it: shape (d,)."""
    design = posterior.design
    if design.family.name not in SINGLE:
        return None
    auxiliary = posterior.parameters_in(np.arange(len(design.arms)))
    return residual_draws(design, auxiliary, (posterior.total, 1), generator)[:, 0]


def _single(
    posterior: Posterior, columns: Columns, residual: Array | None, of_new: Array | None
) -> dict[str, Any] | None:
    """What single scores are made of; None of a family whose scores take more than that."""
    design = posterior.design
    if residual is None or of_new is None:
        return None
    scale = design.scale
    parameters = posterior.parameters_in(np.arange(len(design.arms)))
    found: dict[str, Any] = {
        "residual": columns.add(residual),
        "residual_new": columns.add(of_new),
        "chances": design.family.name in CHANCES,
    }
    if "residual_sd" in parameters:
        spread = np.broadcast_to(parameters["residual_sd"], (posterior.total, len(design.arms)))
        found["sd"] = [columns.add(scale.unit * each) for each in spread.T]
    if "cutpoint" in parameters:
        found["cutpoints"] = [columns.add(each) for each in parameters["cutpoint"].T]
    steps = score_steps(posterior)
    return found | {"steps": [steps.low, steps.high, steps.step]}


def _average(
    posterior: Posterior,
    columns: Columns,
    arms: Lines,
    added: Sequence[Lines],
    unit: float,
    ends: tuple[float, float],
) -> dict[str, Any]:
    """How an average over the trial's patients follows from what is added to their predictors."""
    design = posterior.design
    kept = design.encoding.places("baseline", "covariate")
    asked = Question(posterior, posterior.rows.at_moderator(ends[0]), (0,)).distinct()
    own = unit * (posterior.beta[:, kept] @ asked.patients.matrix(design)[:, kept].T)
    if design.family.link == "identity":
        shift = own @ asked.shares
        near = np.abs(shift).max() <= 1e-12 * float(np.abs(arms.level).max())
        return {"shift": None if near else columns.add(shift)}
    mean, sd = design.scaling.moderator
    reached: list[Array] = []
    for z in ((end - mean) / sd for end in ends):
        alone = arms.level + arms.slope * z
        reached += [alone, *(alone + more.level + more.slope * z for more in added)]
    low = np.min([each.min(axis=1) for each in reached], axis=0)
    high = np.max([each.max(axis=1) for each in reached], axis=0)
    slack = 1e-6 * (high - low).max()  # more than four bytes lose
    places = columns.add(low - slack), columns.add(high - low + 2 * slack)
    low, width = (_read(columns, place, posterior.total) for place in places)
    shares = asked.shares

    def average(values: Array) -> Array:
        """Of numbers (d, m) that are added to every patient's predictor."""
        found = np.zeros_like(values)
        for some in column_blocks(own.shape, max(1, design.scale.top)):
            for k in range(values.shape[1]):
                scores = expected_scores(posterior, own[:, some] + values[:, k, None])
                found[:, k] += scores @ shares[some]
        return found

    series = _series(posterior.name, average, low, width)
    finest = ENOUGH / 10 * float(np.ptp(series[:, 0]) or 1.0)
    return {
        "low": places[0],
        "width": places[1],
        "terms": [columns.add(each, _bytes_of(each, finest)) for each in series.T],
    }


def _read(columns: Columns, place: int | None, total: int) -> Array:
    return np.zeros(total) if place is None else columns.values[place]


def _bytes_of(values: Array, finest: float) -> int:
    """Bytes that keep a column to so much."""
    return int(np.clip(np.ceil(np.log2(max(2.0, np.ptp(values) / finest)) / 8), 1, 4))


def _series(name: str, average: Callable[[Array], Array], low: Array, width: Array) -> Array:
    """Chebyshev coefficients (d, m) of a function on an interval of each draw's own."""
    checked = np.array(CHECKED)
    true = average(low[:, None] + width[:, None] * (checked + 1) / 2)
    spread = float(np.ptp(true)) or 1.0
    missed = np.inf
    for terms in TERMS:
        nodes = np.cos(np.pi * (np.arange(terms) + 0.5) / terms)
        values = average(low[:, None] + width[:, None] * (nodes + 1) / 2)
        series = np.asarray(dct(values, type=2, axis=1) / terms)
        series[:, 0] /= 2
        missed = float(np.abs(chebval(checked, series.T).reshape(true.shape) - true).max())
        if missed <= ENOUGH * spread:
            needed = np.flatnonzero(np.abs(series).max(axis=0) > ENOUGH / 100 * spread)
            return series[:, : needed[-1] + 1]
    raise InputError(
        f"{name}: averages over the patients change too steeply along the alliance to be drawn by "
        f"a page (off by {missed / spread:.0e} of their spread).",
        "Ask with `alliance effects`, or leave the outcome out.",
    )
