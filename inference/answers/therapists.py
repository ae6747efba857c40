"""Therapists of a run: what each adds to the outcome, how they rank, and how much they differ.

The therapists' share of variance is on the outcome's own scale, for every family. Where the link is
curved, the variance of scores between therapists and that within them depend on where the patient
stands. Both are integrated over the distribution of therapists for a stated patient, in every draw:
what Goldstein, Browne & Rasbash 2002 (doi:10.1207/S15328031US0104_02) do by simulation is done by
quadrature here. For a Gaussian outcome the share is the intraclass correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import AVERAGE, slope_names
from alliance.inference.answers.averages import alliance_differences
from alliance.inference.draws.summaries import described, normal_nodes, tails
from alliance.inference.patients.asked_patients import AskedPatients, patient_grid
from alliance.inference.posterior import Posterior, Rows, refuse_rows
from alliance.inference.scores.questions import (
    Quantity,
    Question,
    arm_slopes,
    expected,
    linear_predictor,
    link_scale,
)
from alliance.inference.scores.therapist_parts import (
    AVERAGE_CLINIC,
    TherapistChoice,
    new_therapists,
    therapist_part,
    therapist_variance,
)
from alliance.models.design.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]

COLUMNS = (
    *("outcome", "quantity", "level", "moderator", "patients", "mean", "sd", "lower", "upper"),
    *("prob_positive", "rank", "rank_lower", "rank_upper", "prob_best", "source", "one_patient"),
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
        over arms and, where the link is curved and it differs, of each arm. Where the model has
        clinics, therapists are compared within an average one, and ``clinic_effect`` is the same of
        each clinic with an average therapist, ``clinic_share`` its share. ``alliance_mean`` of
        each therapist, ``alliance_sd_between``, ``alliance_sd_within``, ``alliance_share``: see
        `inference.answers.averages`; their ``source`` is ``posterior`` or ``ratings``.
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
    posterior: Posterior,
    *,
    alliance: float | None = None,
    interval: float = 0.95,
    extrapolate: bool = False,
    hide_single: bool = False,
) -> Therapists:
    """Describe the therapists of one outcome.

    Parameters
    ----------
    posterior : Posterior
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
        In a model without therapist effects only the alliance is described; in a run without
        patients' rows it is not.

    Raises
    ------
    InputError
        If the outcome does not exist, no therapist is recorded, or the alliance lies outside the
        observed range.
    """
    tails(interval)
    design = posterior.design
    values = None if alliance is None else [alliance]
    asked = patient_grid(posterior, alliance=values, extrapolate=extrapolate)
    require_any_therapist(posterior)
    counts = design.patients_of_therapists
    rows: list[pd.DataFrame] = []
    ranks, kept = None, None
    if design.effects or "moderator_slope_between" in posterior.draws:
        gain = posterior.direction
        effect = _effects(posterior, asked)
        rank = (-gain * effect).argsort(axis=1).argsort(axis=1) + 1
        ranks = _rank_probabilities(design, rank)
        rows.append(_effect_rows(design, effect, rank, counts, interval, gain))
        if "slope" in design.effects:
            slope = _slopes(posterior, asked)
            rows.append(_summary("therapist_slope", design.therapists, slope, interval, counts))
        rows.append(_share_rows(posterior, asked, interval))
        kept = _dataset(posterior, effect, rank)
    if design.clinic_effects:
        rows.append(_clinic_rows(posterior, asked, interval))
        rows.append(_share_rows(posterior, asked, interval, "clinic"))
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(COLUMNS))
    table["moderator"] = asked.rows.moderator[0] if design.has_moderator else np.nan
    table["source"] = "posterior"
    if posterior.rowless and not rows:
        raise refuse_rows()  # whose alliance is all that is described
    if design.has_moderator and design.therapists and not posterior.rowless:
        own = _alliance_rows(posterior, posterior.rows.moderator, interval)
        table = pd.concat([table, own], ignore_index=True) if rows else own
    table["outcome"] = posterior.name
    table["one_patient"] = table["quantity"].isin(OF_EACH) & (table["patients"] == 1)
    if hide_single:
        table = table[~table["one_patient"]].reset_index(drop=True)
    return Therapists(posterior.name, interval, table.reindex(columns=list(COLUMNS)), ranks, kept)


def _alliance_rows(posterior: Posterior, ratings: Array, interval: float) -> pd.DataFrame:
    """How far therapists differ in the alliance of their patients."""
    design = posterior.design
    estimates = alliance_differences(posterior, ratings, interval=interval)
    known = len(design.therapists)
    rated = np.bincount(design.therapist_index[np.isfinite(ratings)], minlength=known)[:known]
    own = pd.DataFrame([asdict(estimate) for estimate in estimates])
    number = dict(zip(design.therapists, rated.tolist(), strict=True))
    own["patients"] = [number.get(level, int(rated.sum())) for level in own["level"]]
    return own


def require_any_therapist(posterior: Posterior) -> None:
    """Refuse a trial that does not record therapists.

    Raises
    ------
    InputError
    """
    if not (posterior.design.therapists or posterior.design.clinic_effects):
        raise InputError(
            f"{posterior.name}: the study names no column of therapists, so that nothing is known "
            "of any.",
            'Name the column under [columns], as in therapist = "therapist", and fit again.',
        )


def _with_each(posterior: Posterior, asked: AskedPatients, quantity: Quantity) -> Array:
    """A quantity of the patient asked about with each therapist, in every arm that has therapists:
    (d, J, K).
    """
    names = posterior.design.therapists
    clinics = (AVERAGE_CLINIC,) if posterior.design.clinic_effects else None
    part = therapist_part(posterior, TherapistChoice("known", names, clinics), len(names))
    patient = asked.rows.chosen(np.zeros(len(names), dtype=np.int64))
    every = posterior.design.nesting.arms_with(len(posterior.design.arms))
    (found,) = Question(posterior, patient, every, therapists=(part,)).each(quantity).values()
    return found


def _effects(posterior: Posterior, asked: AskedPatients) -> Array:
    """Difference of expected scores to an average therapist, averaged over arms: (d, J)."""
    every = posterior.design.nesting.arms_with(len(posterior.design.arms))
    average = Question(posterior, asked.rows, every).each(expected)["expected"]
    found = _with_each(posterior, asked, expected)
    return np.asarray(found.mean(axis=2) - average.mean(axis=2))


def _clinic_rows(posterior: Posterior, asked: AskedPatients, interval: float) -> pd.DataFrame:
    """Difference of expected scores to an average clinic, averaged over all arms."""
    design = posterior.design
    choice = TherapistChoice("average", clinics=design.clinics)
    part = therapist_part(posterior, choice, len(design.clinics))
    patient = asked.rows.chosen(np.zeros(len(design.clinics), dtype=np.int64))
    every = tuple(range(len(design.arms)))
    found = Question(posterior, patient, every, therapists=(part,)).each(expected)["expected"]
    average = Question(posterior, asked.rows, every).each(expected)["expected"]
    effect = np.asarray(found.mean(axis=2) - average.mean(axis=2))
    counts = np.bincount(design.clinic_of, minlength=len(design.clinics))
    table = _summary("clinic_effect", design.clinics, effect, interval, counts)
    table["prob_positive"] = (effect > 0).mean(axis=0)
    order = (-posterior.direction * table["mean"]).argsort(kind="stable")
    return table.iloc[order]


def _slopes(posterior: Posterior, asked: AskedPatients) -> Array:
    """Change of the expected score for one point of the alliance, averaged over arms: (d, J).

    Over the arms whose patients can have one.
    """
    design, scale = posterior.design, posterior.design.scale

    def change(posterior: Posterior, eta: Array, _rows: Rows) -> dict[str, Array]:
        slope = design.family.slope(eta, posterior.family_parameters, scale)
        return {"change": scale.unit * scale.link_unit * slope}

    own = posterior.flat("therapist_effect")[..., design.effects.index("slope")]
    every = list(design.nesting.arms_with(len(design.arms)))
    slopes = arm_slopes(posterior)[:, None, every] + own[..., None]
    rated = [place for place, arm in enumerate(every) if arm in design.encoding.moderated]
    found = (_with_each(posterior, asked, change) * slopes)[..., rated].mean(axis=2)
    return np.asarray(found / design.scaling.moderator[1])


def _effect_rows(
    design: Design, effect: Array, rank: Index, counts: Index, interval: float, gain: int
) -> pd.DataFrame:
    table = _summary("therapist_effect", design.therapists, effect, interval, counts)
    table["prob_positive"] = (effect > 0).mean(axis=0)
    table["rank"] = rank.mean(axis=0)
    table["rank_lower"], table["rank_upper"] = np.quantile(
        rank, tails(interval), axis=0, method="inverted_cdf"
    )
    table["prob_best"] = (rank == 1).mean(axis=0)
    order = (-gain * table["mean"]).argsort(kind="stable")
    return table.iloc[order]


def _share_rows(
    posterior: Posterior, asked: AskedPatients, interval: float, level: str = "therapist"
) -> pd.DataFrame:
    design = posterior.design
    arms = list(design.nesting.arms_with(len(design.arms)))
    if level == "clinic":
        arms = list(range(len(design.arms)))
    every = asked.rows.repeated(len(arms), np.array(arms, dtype=np.int64))
    parts = variance_parts(posterior, every, level)
    levels, values = [AVERAGE], parts.averaged()[:, None]
    apart = design.nesting.with_therapists > 1
    if level == "clinic":
        apart = design.nesting.number > 1 or bool(design.nesting.without and design.effects)
    if design.family.link != "identity" or apart:
        # Else one number for all arms
        levels = [*(slope_names(design.arms)[k] for k in arms), AVERAGE]
        values = np.column_stack([parts.share, values])
    patients = int(design.patients_of_therapists.sum())
    if level == "clinic":
        patients = posterior.analysed
    return _summary(f"{level}_share", levels, values, interval, [patients] * len(levels))


def _summary(
    quantity: str,
    levels: Sequence[str],
    values: Array,
    interval: float,
    counts: Sequence[int] | NDArray[np.int64],
) -> pd.DataFrame:
    head = {"quantity": quantity, "level": list(levels), "patients": counts}
    return pd.DataFrame(head | described(values, interval))


def _rank_probabilities(design: Design, rank: Index) -> xr.DataArray:
    number = len(design.therapists)
    shares = [np.bincount(rank[:, k], minlength=number + 1)[1:] for k in range(number)]
    return xr.DataArray(
        np.stack(shares) / len(rank),
        dims=("therapist", "rank"),
        coords={"therapist": list(design.therapists), "rank": np.arange(1, number + 1)},
        name="probability",
    )


def _dataset(posterior: Posterior, effect: Array, rank: Index) -> xr.Dataset:
    dims, shape = ("chain", "draw", "therapist"), (*posterior.shape, -1)
    return xr.Dataset(
        {"effect": (dims, effect.reshape(shape)), "rank": (dims, rank.reshape(shape))},
        coords={
            "chain": posterior.draws["chain"].values,
            "draw": posterior.draws["draw"].values,
            "therapist": list(posterior.design.therapists),
        },
    )


@dataclass(frozen=True, eq=False, slots=True)
class VarianceParts:
    """Variance of a patient's score over therapists, for d draws and r patients.

    Attributes
    ----------
    between : ndarray, shape (d, r)
        Variance of the expected score between therapists.
    within : ndarray, shape (d, r)
        Mean over therapists of the variance of the score within one; infinite for a Student-t
        outcome with two degrees of freedom or fewer.
    """

    between: Array
    within: Array

    @property
    def share(self) -> Array:
        """Share of the variance that lies between therapists, shape (d, r)."""
        return np.asarray(self.between / (self.between + self.within))

    def averaged(self) -> Array:
        """The share where both parts are averaged over the patients, shape (d,)."""
        between = self.between.mean(axis=1)
        return np.asarray(between / (between + self.within.mean(axis=1)))


def variance_parts(posterior: Posterior, rows: Rows, level: str = "therapist") -> VarianceParts:
    """Take a score's variance apart, between therapists and within them.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
        Patients whose scores are meant.
    level : {"therapist", "clinic"}
        What is taken apart. Where the model has clinics too, what differs between the other level's
        counts as within; where the link is curved, an average one's patients are meant, and the
        other level is added to first order.

    Returns
    -------
    VarianceParts
    """
    if posterior.design.clinic_effects:
        return _of_level(posterior, rows, level)
    return _between(posterior, rows, ("therapist",))


def _of_level(posterior: Posterior, rows: Rows, level: str) -> VarianceParts:
    """One level's part of the variance, the other's counted as within."""
    other = "clinic" if level == "therapist" else "therapist"
    own, rest = (_between(posterior, rows, (each,)) for each in (level, other))
    return VarianceParts(own.between, own.within + rest.between)


def _between(posterior: Posterior, rows: Rows, levels: Sequence[str]) -> VarianceParts:
    design = posterior.design
    family, scale = design.family, design.scale
    auxiliary = posterior.parameters_in(rows.arm_index)
    predictor = linear_predictor(posterior, rows)
    if family.link == "identity":
        # Exact in closed form
        eta = link_scale(design, predictor)
        within = np.broadcast_to(family.variance(eta, auxiliary, scale), eta.shape)
        between = scale.unit**2 * therapist_variance(posterior, rows, levels=levels)
        return VarianceParts(between, scale.unit**2 * within)
    centre = family.expected(link_scale(design, predictor), auxiliary, scale)
    mean, square, within = (np.zeros_like(predictor) for _ in range(3))
    for share, shift, spread in new_therapists(posterior, rows, levels=levels):
        for node, own in normal_nodes():
            weight = share * own
            eta = link_scale(design, predictor + shift + node * spread)
            deviation = family.expected(eta, auxiliary, scale) - centre
            mean += weight * deviation
            square += weight * deviation**2
            within += weight * family.variance(eta, auxiliary, scale)
    between = np.maximum(square - mean**2, 0.0)
    return VarianceParts(scale.unit**2 * between, scale.unit**2 * within)
