"""How much the alliance differs between therapists: from the model where it has one, or ratings.

Without a model of the alliance the observed ratings are taken apart by a one-way analysis of
variance of unequal groups: unweighted means with the harmonic mean of the numbers of patients, and
the F-based interval of Thomas & Hultquist 1978 (doi:10.1214/aos/1176344202) for the share between
therapists; that of Williams 1962 (doi:10.1093/biomet/49.1-2.278) for the SD between them. Arms and
baselines are not adjusted for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from inference.expected_scores import flat
from models.design import Design

Array = NDArray[np.float64]

SPREADS = ("alliance_sd_between", "alliance_sd_within", "alliance_share")


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number with its interval; NaN where the data do not tell.

    Attributes
    ----------
    quantity, level : str
        ``alliance_mean`` of a therapist (the level), ``alliance_sd_between``,
        ``alliance_sd_within``, ``alliance_share``.
    mean, sd, lower, upper : float
        The estimate; its posterior SD where there is one, else NaN; its interval.
    source : {"posterior", "ratings"}
    """

    quantity: str
    level: str
    mean: float
    sd: float
    lower: float
    upper: float
    source: str


def alliance_differences(
    design: Design, draws: xr.Dataset, ratings: Array, *, interval: float = 0.95
) -> list[Estimate]:
    """How far therapists differ in the alliance of their patients, in its own points.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        Where the model has a part for the alliance (``moderator_therapist_sd``), it answers:
        for true means, at the mean of what predicts the alliance.
    ratings : ndarray, shape (n,)
        The analysed patients', NaN where missing; they answer otherwise.
    interval : float

    Returns
    -------
    list of Estimate
        Means of therapists in the order of the design, then the spreads and the share.
    """
    if "moderator_therapist_sd" in draws:
        return _from_model(design, draws, interval)
    rated = np.isfinite(ratings)
    return from_ratings(
        ratings[rated], design.therapist_index[rated], design.therapists, interval=interval
    )


def _from_model(design: Design, draws: xr.Dataset, interval: float) -> list[Estimate]:
    centre, unit = design.scaling.moderator
    between = unit * flat(draws, "moderator_therapist_sd")
    within = unit * flat(draws, "moderator_residual_sd")
    found = {}
    if "moderator_therapist_mean" in draws:
        means = centre + unit * flat(draws, "moderator_therapist_mean")
        found = {("alliance_mean", name): means[:, k] for k, name in enumerate(design.therapists)}
    found |= {
        ("alliance_sd_between", ""): between,
        ("alliance_sd_within", ""): within,
        ("alliance_share", ""): between**2 / (between**2 + within**2),
    }
    tails = [(1 - interval) / 2, (1 + interval) / 2]
    estimates = []
    for (quantity, level), values in found.items():
        lower, upper = np.quantile(values, tails).tolist()
        mean, sd = float(values.mean()), float(values.std(ddof=1))
        estimates.append(Estimate(quantity, level, mean, sd, lower, upper, "posterior"))
    return estimates


def from_ratings(
    ratings: Array,
    therapist_index: NDArray[np.int64],
    therapists: Sequence[str],
    *,
    interval: float = 0.95,
) -> list[Estimate]:
    """Observed means of therapists, and variance components, with their intervals.

    Parameters
    ----------
    ratings : ndarray, shape (n,)
        Without missing values.
    therapist_index : ndarray of int, shape (n,)
    therapists : sequence of str
    interval : float

    Returns
    -------
    list of Estimate
        Intervals of the means use the SD within therapists, pooled.
    """
    tail = (1 - interval) / 2
    count = np.bincount(therapist_index, minlength=len(therapists))
    total = np.bincount(therapist_index, weights=ratings, minlength=len(therapists))
    with np.errstate(invalid="ignore"):
        means = total / count
    seen = count > 0
    groups, freedom = int(seen.sum()), int(count.sum() - seen.sum())
    if groups < 2 or freedom < 1:
        nothing = [
            Estimate(name, "", np.nan, np.nan, np.nan, np.nan, "ratings") for name in SPREADS
        ]
        return [*_means(therapists, means, np.full(len(means), np.nan)), *nothing]
    residual = ((ratings - means[therapist_index]) ** 2).sum()
    within = residual / freedom
    with np.errstate(divide="ignore"):
        half = stats.t.isf(tail, freedom) * np.sqrt(within / count)
    size = groups / (1 / count[seen]).sum()
    between = size * means[seen].var(ddof=1)
    ratio = between / within
    # Quantiles that give the lower and the upper limit
    limits = [stats.f.isf(tail, groups - 1, freedom), stats.f.ppf(tail, groups - 1, freedom)]
    chi = [stats.chi2.isf(tail, groups - 1), stats.chi2.ppf(tail, groups - 1)]
    spread = [
        np.sqrt(max(0.0, (groups - 1) * between * (1 - limit / ratio) / (size * square)))
        for limit, square in zip(limits, chi, strict=True)
    ]
    shares = []
    for limit in (1.0, *limits):
        relative = max(0.0, (ratio / limit - 1) / size)
        shares.append(relative / (1 + relative))
    inner = [
        np.sqrt(residual / stats.chi2.isf(tail, freedom)),
        np.sqrt(residual / stats.chi2.ppf(tail, freedom)),
    ]
    estimate = float(np.sqrt(max(0.0, (between - within) / size)))
    values = (
        (estimate, *spread),
        (float(np.sqrt(within)), *inner),
        (shares[0], shares[1], shares[2]),
    )
    return [
        *_means(therapists, means, half),
        *(
            Estimate(name, "", mean, np.nan, float(lower), float(upper), "ratings")
            for name, (mean, lower, upper) in zip(SPREADS, values, strict=True)
        ),
    ]


def _means(therapists: Sequence[str], means: Array, half: Array) -> list[Estimate]:
    return [
        Estimate(
            "alliance_mean",
            name,
            float(means[k]),
            np.nan,
            float(means[k] - half[k]),
            float(means[k] + half[k]),
            "ratings",
        )
        for k, name in enumerate(therapists)
    ]
