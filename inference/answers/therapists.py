"""Therapists of a run: what each adds to the outcome, how they rank, and how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, slope_names
from alliance.inference.answers.alliance_differences import alliance_differences
from alliance.inference.answers.prediction_tables import require_interval
from alliance.inference.draws.datatree import posterior
from alliance.inference.patients.asked_patients import AskedPatients, patient_grid, require_outcome
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.expected_scores import arm_slopes, coefficients, flat
from alliance.inference.scores.predictor import (
    Rows,
    TherapistChoice,
    expected_scores,
    linear_predictor,
    link_scale,
    therapist_part,
)
from alliance.inference.scores.residuals import family_parameters
from alliance.inference.scores.variance_shares import variance_parts
from alliance.models.design.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]

COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "moderator",
    "patients",
    "mean",
    "sd",
    "lower",
    "upper",
    "prob_positive",
    "rank",
    "rank_lower",
    "rank_upper",
    "prob_best",
    "source",
    "one_patient",
)
# Quantities with a row for each therapist
OF_EACH = ("therapist_effect", "therapist_slope", "alliance_mean")


@dataclass(frozen=True, eq=False, slots=True)
class Therapists:
    """What a run says of one outcome's therapists.

    Attributes
    ----------
    outcome : str
    interval : float
        Probability of the equal-tailed intervals.
    table : pandas.DataFrame
        Columns as in `COLUMNS`. Quantities: ``therapist_effect`` of each therapist (the level),
        best first: how far the expected score of a patient at the means lies from that with an
        average therapist, in the outcome's points, averaged over arms, at the alliance
        ``moderator``; with its rank (1 is best) and the chance that it is the best of all.
        ``therapist_slope``: the change of the expected score for one point of the alliance with
        this therapist. ``therapist_share``: the share of variance between therapists, ``average``
        over arms and, where the link is curved and it differs, of each arm. ``alliance_mean`` of
        each therapist, ``alliance_sd_between``, ``alliance_sd_within``, ``alliance_share``: see
        `inference.answers.alliance_differences`; their ``source`` is ``posterior`` or ``ratings``.
        ``one_patient``: whether a therapist has one patient, of whom then speaks what is said.
    ranks : xarray.DataArray or None
        Probability of each rank, over therapist and rank; None without therapist effects.
    draws : xarray.Dataset or None
        ``effect`` and ``rank`` over chain, draw, therapist.
    """

    outcome: str
    interval: float
    table: pd.DataFrame
    ranks: xr.DataArray | None
    draws: xr.Dataset | None


def therapists(
    fit: Fit,
    outcome: str,
    *,
    alliance: float | None = None,
    interval: float = 0.95,
    extrapolate: bool = False,
    hide_single: bool = False,
) -> Therapists:
    """Describe the therapists of one outcome.

    Parameters
    ----------
    fit : Fit
    outcome : str
    alliance : float, optional
        Where effects, ranks and shares are taken, since slopes may vary between therapists; the
        mean of the analysed patients by default.
    interval : float
    extrapolate : bool
        Allow an alliance outside the range observed among the analysed patients.
    hide_single : bool
        Leave the rows of therapists with one patient out; ranks stay those among all.

    Returns
    -------
    Therapists
        In a model without therapist effects only the alliance is described.

    Raises
    ------
    InputError
        If the outcome does not exist, or the alliance lies outside the observed range.
    """
    require_outcome(fit, outcome)
    require_interval(interval)
    design, draws = fit.design(outcome), posterior(fit.trees[outcome])
    values = None if alliance is None else [alliance]
    asked = patient_grid(fit, outcome, alliance=values, extrapolate=extrapolate)
    ratings = np.asarray(fit.patients(outcome)["moderator"].values, dtype=float)
    counts = np.bincount(design.therapist_index, minlength=len(design.therapists))
    rows: list[pd.DataFrame] = []
    ranks, kept = None, None
    if design.effects or "moderator_slope_between" in draws:
        gain = 1 if fit.study.outcomes[outcome].better == "higher" else -1
        effect = _effects(design, draws, asked)
        rank = (-gain * effect).argsort(axis=1).argsort(axis=1) + 1
        ranks = _rank_probabilities(design, rank)
        rows.append(_effect_rows(design, effect, rank, counts, interval, gain))
        if "slope" in design.effects:
            slope = _slopes(fit, design, draws, asked)
            rows.append(_summary("therapist_slope", design.therapists, slope, interval, counts))
        rows.append(_share_rows(fit, design, draws, asked, interval))
        kept = _dataset(design, draws, effect, rank)
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    table["moderator"] = asked.rows.moderator[0]
    table["source"] = "posterior"
    estimates = alliance_differences(design, draws, ratings, interval=interval)
    rated = np.bincount(
        design.therapist_index[np.isfinite(ratings)], minlength=len(design.therapists)
    )
    own = pd.DataFrame([asdict(estimate) for estimate in estimates])
    number = dict(zip(design.therapists, rated.tolist(), strict=True))
    own["patients"] = [number.get(level, int(rated.sum())) for level in own["level"]]
    table = pd.concat([table, own], ignore_index=True)
    table["outcome"] = outcome
    table["one_patient"] = table["quantity"].isin(OF_EACH) & (table["patients"] == 1)
    if hide_single:
        table = table[~table["one_patient"]].reset_index(drop=True)
    return Therapists(outcome, interval, table.reindex(columns=list(COLUMNS)), ranks, kept)


def _in_every_arm(design: Design, asked: AskedPatients) -> Rows:
    """The patient asked about, once in each arm."""
    return asked.rows.repeated(len(design.arms), np.arange(len(design.arms)))


def _effects(design: Design, draws: xr.Dataset, asked: AskedPatients) -> Array:
    """Difference of expected scores to an average therapist, averaged over arms: (d, J)."""
    rows = _in_every_arm(design, asked)
    average = expected_scores(design, draws, linear_predictor(design, draws, rows)).mean(axis=1)
    found = np.empty((len(average), len(design.therapists)))
    generator = np.random.default_rng(0)  # known therapists are not drawn
    for k, name in enumerate(design.therapists):
        part = therapist_part(design, draws, TherapistChoice.known(name), len(rows), generator)
        predictor = linear_predictor(design, draws, rows, part)
        found[:, k] = expected_scores(design, draws, predictor).mean(axis=1) - average
    return found


def _slopes(fit: Fit, design: Design, draws: xr.Dataset, asked: AskedPatients) -> Array:
    """Change of the expected score for one point of the alliance, averaged over arms: (d, J)."""
    rows, scale = _in_every_arm(design, asked), design.scale
    auxiliary = family_parameters(design, draws, fit.specs[design.outcome].priors)
    fixed = arm_slopes(coefficients(draws, design), len(design.arms))
    own = flat(draws, "therapist_effect")[..., design.effects.index("slope")]
    found = np.empty_like(own)
    generator = np.random.default_rng(0)
    for k, name in enumerate(design.therapists):
        part = therapist_part(design, draws, TherapistChoice.known(name), len(rows), generator)
        eta = link_scale(design, linear_predictor(design, draws, rows, part))
        change = scale.unit * scale.link_unit * design.family.slope(eta, auxiliary, scale)
        found[:, k] = (change * (fixed + own[:, k, None])).mean(axis=1)
    return found / design.scaling.moderator[1]


def _effect_rows(
    design: Design, effect: Array, rank: Index, counts: Index, interval: float, gain: int
) -> pd.DataFrame:
    table = _summary("therapist_effect", design.therapists, effect, interval, counts)
    tails = [(1 - interval) / 2, (1 + interval) / 2]
    table["prob_positive"] = (effect > 0).mean(axis=0)
    table["rank"] = rank.mean(axis=0)
    table["rank_lower"], table["rank_upper"] = np.quantile(
        rank, tails, axis=0, method="inverted_cdf"
    )
    table["prob_best"] = (rank == 1).mean(axis=0)
    order = (-gain * table["mean"]).argsort(kind="stable")
    return table.iloc[order]


def _share_rows(
    fit: Fit, design: Design, draws: xr.Dataset, asked: AskedPatients, interval: float
) -> pd.DataFrame:
    auxiliary = family_parameters(design, draws, fit.specs[design.outcome].priors)
    parts = variance_parts(design, draws, auxiliary, _in_every_arm(design, asked))
    levels, values = [AVERAGE], parts.averaged()[:, None]
    if design.family.link != "identity":  # else one number for all arms
        levels = [*slope_names(design.arms), AVERAGE]
        values = np.column_stack([parts.share, values])
    return _summary("therapist_share", levels, values, interval, [len(design.y)] * len(levels))


def _summary(
    quantity: str,
    levels: Sequence[str],
    values: Array,
    interval: float,
    counts: Sequence[int] | NDArray[np.int64],
) -> pd.DataFrame:
    lower, upper = np.quantile(values, [(1 - interval) / 2, (1 + interval) / 2], axis=0)
    return pd.DataFrame(
        {
            "quantity": quantity,
            "level": list(levels),
            "patients": counts,
            "mean": values.mean(axis=0),
            "sd": values.std(axis=0, ddof=1),
            "lower": lower,
            "upper": upper,
        }
    )


def _rank_probabilities(design: Design, rank: Index) -> xr.DataArray:
    number = len(design.therapists)
    shares = [np.bincount(rank[:, k], minlength=number + 1)[1:] for k in range(number)]
    return xr.DataArray(
        np.stack(shares) / len(rank),
        dims=("therapist", "rank"),
        coords={"therapist": list(design.therapists), "rank": np.arange(1, number + 1)},
        name="probability",
    )


def _dataset(design: Design, draws: xr.Dataset, effect: Array, rank: Index) -> xr.Dataset:
    shape = (draws.sizes["chain"], draws.sizes["draw"], len(design.therapists))
    dims = ("chain", "draw", "therapist")
    return xr.Dataset(
        {"effect": (dims, effect.reshape(shape)), "rank": (dims, rank.reshape(shape))},
        coords={
            "chain": draws["chain"].values,
            "draw": draws["draw"].values,
            "therapist": list(design.therapists),
        },
    )
