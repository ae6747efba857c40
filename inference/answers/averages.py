"""Averages that say over whom: over patients, and over therapists.

Three sets of patients answer three questions. The trial's patients
(`inference.patients.asked_patients.trial_patients`) give the mean of such a group; a reference grid
(`inference.patients.asked_patients.patient_grid` with values) weights its points alike; the grid's
default is one patient at the means. Where the link is curved these differ: the mean of expected
scores is not the expected score at the mean.

So do four sets of therapists. ``new`` is the mean over the distribution of therapists, integrated
for every posterior draw; ``known`` the mean over the trial's therapists, each counted once; ``own``
leaves the patients with theirs; ``average`` is a therapist whose effects are zero. A single new
therapist, whose deviation stays in the interval, is a matter of `inference.answers.predictions`.

How much the alliance differs between therapists: from the model where it has one, or ratings.

Either way spreads are those that are left given what stands beside the alliance in the outcome's
model: baseline, arms and covariates. Without a model of the alliance they come from an analysis of
variance of the observed ratings, whatever the therapists' numbers of patients: with rho the
variance between therapists over that within them, and RSS(rho) the generalised sum of squares of
the ratings' regression with covariance ``I + rho Z Z'``,

    (RSS(rho) - RSS(inf)) / r  over  RSS(inf) / f   has the distribution F(r, f)

at the true rho, and falls as rho rises (Wald 1940; Harville & Fenech 1985, doi:10.2307/2530650):
the interval of the share ``rho / (1 + rho)`` is exact. That of the SD between therapists follows
from it as of Williams 1962 (doi:10.1093/biomet/49.1-2.278), and is conservative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import optimize, stats

from alliance.data_prep.levels import names_among
from alliance.inference.answers.predictions import require_exposure, row_draws
from alliance.inference.draws.summaries import described, tails
from alliance.inference.patients.asked_patients import (
    AskedPatients,
    choose_therapist,
    chosen_arms,
    trial_patients,
)
from alliance.inference.posterior import Index, Posterior, Rows
from alliance.inference.scores.questions import Question, expected, own_alliance
from alliance.inference.scores.single_scores import (
    NOTHING_COUNTED,
    ChanceWords,
    chances_in_words,
    score_steps,
)
from alliance.inference.scores.therapist_parts import TherapistChoice, TherapistPart, therapist_part
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.encoding import arm_pairs
from alliance.models.design.ratings import predictor_columns

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Averages:
    """Averages of one outcome over patients and therapists.

    Attributes
    ----------
    outcome : str
    interval : float
        Probability of the equal-tailed intervals.
    table : pandas.DataFrame
        One row for each arm, and for each alliance if that was named: ``outcome, arm, moderator``
        (missing where patients have their own), ``patients`` (how many are averaged over),
        ``therapist, extrapolated``; ``expected`` with ``expected_sd, expected_lower,
        expected_upper``; for each threshold its value and the share of patients who reach it, as
        ``at_least, prob_at_least, prob_at_least_lower, prob_at_least_upper``.
    contrasts : pandas.DataFrame
        The same for all pairs of these arms, later minus earlier, with ``contrast`` in place of
        ``arm``, and with ``prob_positive, prob_better``; with a difference that was named also
        ``better_by, prob_better_by``. Shares are then differences of shares.
    draws : xarray.Dataset
        ``expected`` and shares (``prob_at_least``) over chain, draw, row; the rows of `table`.
    counted : ChanceWords
        What chances of scores count, and at which ends they are off; empty where none are told.
    exposure : float or None
        That counts are averaged for; None is one unit.
    """

    outcome: str
    interval: float
    table: pd.DataFrame
    contrasts: pd.DataFrame
    draws: xr.Dataset
    counted: ChanceWords = NOTHING_COUNTED
    exposure: float | None = None


def average(
    posterior: Posterior,
    patients: AskedPatients | None = None,
    *,
    therapist: str = "new",
    arms: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    interval: float = 0.95,
    exposure: float | None = None,
) -> Averages:
    """Average expected scores, and chances of reaching thresholds, over patients and therapists.

    Parameters
    ----------
    posterior : Posterior
    patients : AskedPatients, optional
        Counted alike, each imagined in every arm; by default the trial's, at their own alliance
        (a latent one as the model has it). Where the alliance was named, the average is taken at
        each of its values.
    therapist : str
        ``new``, ``known``, ``own``, ``average``, or the id of a therapist of the trial.
    arms : sequence of str, optional
        All of them by default.
    thresholds : Thresholds, optional
    interval : float
    exposure : float, optional
        Of a count, as of `inference.answers.predictions.predict`.

    Returns
    -------
    Averages

    Raises
    ------
    InputError
        If an arm or a therapist does not exist, or a threshold lies outside the scale.
    """
    tails(interval)
    asked = trial_patients(posterior) if patients is None else patients
    wanted = Thresholds() if thresholds is None else thresholds
    wanted.require(posterior.name, posterior.outcome)
    require_exposure(posterior, exposure)
    design, steps = posterior.design, score_steps(posterior)
    chosen = chosen_arms(posterior, arms)
    latent = own_alliance(posterior) if asked.of_trial else None

    def quantity(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
        found = expected(posterior, eta, rows)
        return found | wanted.chances(posterior, eta, rows, steps)

    rows: list[dict[str, Any]] = []
    measured: list[dict[str, Array]] = []
    for value, some in _groups(asked):
        found = Question(
            posterior,
            asked.rows.chosen(some),
            chosen,
            alliance=None if latent is None else latent[:, some],
            therapists=tuple(_therapists(posterior, asked, therapist, some)),
            over_new=therapist == "new",
            exposure=exposure,
        ).averaged(quantity)
        for k, arm in enumerate(chosen):
            rows.append(
                {
                    "outcome": posterior.name,
                    "arm": design.arms[arm],
                    "moderator": value,
                    "patients": len(some),
                    "therapist": therapist,
                    "extrapolated": bool(asked.extrapolated[some].any()),
                }
            )
            measured.append({name: values[:, k] for name, values in found.items()})
    table = [
        row | _summary(values, wanted, interval) for row, values in zip(rows, measured, strict=True)
    ]
    names, contrasts = names_among(design.arms, chosen), []
    for start in range(0, len(rows), len(chosen)):
        for later, earlier in arm_pairs(len(chosen)) if len(chosen) > 1 else ():
            first, second = measured[start + later], measured[start + earlier]
            difference = {name: first[name] - second[name] for name in first}
            whose = {name: value for name, value in rows[start].items() if name != "arm"}
            row = {"outcome": whose.pop("outcome"), "contrast": names[later, earlier], **whose}
            row |= _summary(difference, wanted, interval)
            row["prob_positive"] = (difference["expected"] > 0).mean()
            judged = wanted.judge(difference["expected"], posterior.direction)
            row["prob_better"] = judged["prob_better"]
            if wanted.better_by is not None:
                row |= {"better_by": wanted.better_by, "prob_better_by": judged["prob_better_by"]}
            contrasts.append(row)
    return Averages(
        outcome=posterior.name,
        interval=interval,
        table=pd.DataFrame(table),
        contrasts=pd.DataFrame(contrasts),
        draws=row_draws(
            posterior,
            {name: np.stack([each[name] for each in measured], axis=1) for name in measured[0]},
        ),
        counted=chances_in_words(posterior) if wanted.scores else NOTHING_COUNTED,
        exposure=exposure,
    )


def _groups(asked: AskedPatients) -> Iterator[tuple[float, Index]]:
    """Values of the alliance, and positions of the patients imagined with each."""
    everybody, values = np.arange(len(asked)), asked.rows.moderator
    if not asked.alliance_named:
        yield np.nan, everybody
        return
    for value in dict.fromkeys(values.tolist()):
        yield value, everybody[values == value]


def _therapists(
    posterior: Posterior, asked: AskedPatients, therapist: str, some: Index
) -> Iterator[TherapistPart | None]:
    """Therapists of these patients that are counted alike; None for an average one, or all new."""
    if therapist == "new":
        yield None
        return
    if therapist == "known":
        choices = [TherapistChoice.known(name) for name in posterior.design.therapists]
    else:
        choices = [choose_therapist(posterior.design, asked, therapist)]
    for choice in choices:
        labels = choice.labels
        if len(labels) > 1:
            clinics = choice.clinics
            if clinics is not None and len(clinics) > 1:
                clinics = tuple(clinics[k] for k in some)
            choice = TherapistChoice(choice.kind, tuple(labels[k] for k in some), clinics)
        yield therapist_part(posterior, choice, len(some))


def _summary(values: dict[str, Array], thresholds: Thresholds, interval: float) -> dict[str, Any]:
    found = described(values["expected"], interval, "expected")
    for name, value in thresholds.scores.items():
        share = described(values[f"prob_{name}"], interval, f"prob_{name}")
        del share[f"prob_{name}_sd"]
        found |= {name: value, **share}
    return found


LARGEST_RATIO = 1e8  # of variances; beyond it all of the variance lies between therapists
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
    posterior: Posterior, ratings: Array, *, interval: float = 0.95
) -> list[Estimate]:
    """How far therapists differ in the alliance of their patients, in its own points.

    Parameters
    ----------
    posterior : Posterior
    ratings : ndarray, shape (n,)
        The analysed patients', NaN where missing; they answer otherwise.
    interval : float

    Returns
    -------
    list of Estimate
        Means of therapists in the order of the design, then the spreads and the share.
    """
    design = posterior.design
    if "moderator_therapist_sd" in posterior.draws:
        return _from_model(posterior, interval)
    rated = np.isfinite(ratings) & (design.therapist_index < len(design.therapists))
    return from_ratings(
        ratings[rated],
        design.therapist_index[rated],
        design.therapists,
        predictors=design.X[rated][:, predictor_columns(design)],
        interval=interval,
    )


def _from_model(posterior: Posterior, interval: float) -> list[Estimate]:
    design = posterior.design
    centre, unit = design.scaling.moderator
    between = unit * posterior.flat("moderator_therapist_sd")
    within = unit * posterior.flat("moderator_residual_sd")
    found = {}
    if "moderator_therapist_mean" in posterior.draws:
        means = centre + unit * posterior.flat("moderator_therapist_mean")
        found = {("alliance_mean", name): means[:, k] for k, name in enumerate(design.therapists)}
    found |= {
        ("alliance_sd_between", ""): between,
        ("alliance_sd_within", ""): within,
        ("alliance_share", ""): between**2 / (between**2 + within**2),
    }
    estimates = []
    for (quantity, level), values in found.items():
        numbers = {name: float(each) for name, each in described(values, interval).items()}
        estimates.append(Estimate(quantity, level, **numbers, source="posterior"))
    return estimates


def from_ratings(
    ratings: Array,
    therapist_index: NDArray[np.int64],
    therapists: Sequence[str],
    *,
    predictors: Array | None = None,
    interval: float = 0.95,
) -> list[Estimate]:
    """Observed means of therapists, and variance components, with their intervals.

    Parameters
    ----------
    ratings : ndarray, shape (n,)
        Without missing values.
    therapist_index : ndarray of int, shape (n,)
    therapists : sequence of str
    predictors : ndarray, shape (n, a), optional
        What spreads are given, a column of ones among them; that alone by default.
    interval : float

    Returns
    -------
    list of Estimate
        Means are those observed; their intervals use the SD within therapists, pooled. The
        estimate of the share is where the ratio of mean squares is one; that of the SD between
        therapists follows from it.
    """
    tail = tails(interval)[0]
    count = np.bincount(therapist_index, minlength=len(therapists)).astype(float)
    total = np.bincount(therapist_index, weights=ratings, minlength=len(therapists))
    with np.errstate(invalid="ignore"):
        means = total / count
    pooled = int(count.sum() - (count > 0).sum())
    half = np.full(len(means), np.nan)
    if pooled:
        within = ((ratings - means[therapist_index]) ** 2).sum() / pooled
        with np.errstate(divide="ignore"):
            half = stats.t.isf(tail, pooled) * np.sqrt(within / count)
    ones = np.ones((len(ratings), 1))
    X = ones if predictors is None else predictors
    squares = _Squares.of(ratings, X, therapist_index, count)
    levels, freedom = squares.levels, squares.freedom
    values = np.full((3, 3), np.nan)
    if levels > 0 and freedom > 0:
        # Estimate, then quantiles that give the lower and the upper limit
        quantiles = [1.0, stats.f.isf(tail, levels, freedom), stats.f.ppf(tail, levels, freedom)]
        ratios = np.array([squares.ratio(quantile) for quantile in quantiles])
        residual = squares.residual
        inner = np.sqrt(residual / np.array([freedom, *_chi_squares(tail, freedom)]))
        chi = np.array([np.nan, *_chi_squares(tail, levels)])
        outer = np.sqrt([r * squares.between(r) / c for r, c in zip(ratios, chi, strict=True)])
        outer[0] = np.sqrt(ratios[0]) * inner[0]
        values = np.array([outer, inner, ratios / (1 + ratios)])
    return [
        *_means(therapists, means, half),
        *(
            Estimate(name, "", float(mean), np.nan, float(lower), float(upper), "ratings")
            for name, (mean, lower, upper) in zip(SPREADS, values, strict=True)
        ),
    ]


def _chi_squares(tail: float, freedom: int) -> tuple[float, float]:
    """Quantiles that give the lower and the upper limit of a variance."""
    return float(stats.chi2.isf(tail, freedom)), float(stats.chi2.ppf(tail, freedom))


@dataclass(frozen=True, eq=False, slots=True)
class _Squares:
    """Sums of squares of ratings within and between therapists, given predictors.

    Attributes
    ----------
    products : ndarray, shape (a + 1, a + 1)
        Of predictors and ratings, over all patients.
    sums : ndarray, shape (J, a + 1)
        Of each therapist's patients.
    count : ndarray, shape (J,)
    levels, freedom : int
        Degrees of freedom between therapists and within them.
    residual : float
        Sum of squares within therapists.
    """

    products: Array
    sums: Array
    count: Array
    levels: int
    freedom: int
    residual: float

    @classmethod
    def of(
        cls, ratings: Array, X: Array, therapist_index: NDArray[np.int64], count: Array
    ) -> _Squares:
        """Of the ratings (n,), their predictors (n, a) and therapists with so many patients."""
        W = np.column_stack([X, ratings - ratings.mean()]) if len(ratings) else np.zeros((0, 2))
        sums = np.zeros((len(count), W.shape[1]))
        np.add.at(sums, therapist_index, W)
        own = W - (sums / np.maximum(count, 1)[:, None])[therapist_index]
        solution, _, rank, _ = np.linalg.lstsq(own[:, :-1], own[:, -1], rcond=None)
        residual = own[:, -1] - own[:, :-1] @ solution
        therapists = int((count > 0).sum())
        # [X, Z] has the rank of the therapists and of what X says beside them
        levels = therapists + int(rank) - int(np.linalg.matrix_rank(W[:, :-1]))
        freedom = len(W) - therapists - int(rank)
        return cls(W.T @ W, sums, count, levels, freedom, float(residual @ residual))

    def between(self, ratio: float) -> float:
        """``RSS(rho) - RSS(inf)`` at a ratio rho of variance between therapists to that within."""
        weight = ratio / (1 + ratio * self.count)
        K = self.products - (self.sums * weight[:, None]).T @ self.sums
        explained = K[-1, :-1] @ np.linalg.pinv(K[:-1, :-1], hermitian=True) @ K[:-1, -1]
        return max(0.0, float(K[-1, -1] - explained) - self.residual)

    def ratio(self, quantile: float) -> float:
        """The ratio rho at which mean squares have this ratio; zero where none is so small."""
        wanted = quantile * self.levels * self.residual / self.freedom
        if self.between(0.0) <= wanted:
            return 0.0
        if self.between(LARGEST_RATIO) >= wanted:
            return LARGEST_RATIO

        def excess(log_ratio: float) -> float:
            return self.between(float(np.exp(log_ratio))) - wanted

        low = -np.log(LARGEST_RATIO)
        if excess(low) <= 0:
            return 0.0
        return float(np.exp(optimize.brentq(excess, low, -low, xtol=1e-12)))


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
