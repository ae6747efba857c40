"""Replicated outcomes: the trial's own patients, observed again under the fitted model.

Each replicate takes one posterior draw, with the alliance of that draw where it is latent, and
draws every patient's outcome anew. The therapists are those of the trial, with the effects of that
draw; or new ones, with fresh effects, who treat the same patients (the mixed predictive
distribution of Marshall & Spiegelhalter 2007, doi:10.1214/07-BA206, which an odd therapist cannot
draw towards himself). Nothing here is compiled.

Share of variance explained: Bayesian R2, a number for every posterior draw.

Variance of the expected scores over the variance of expected scores and residuals together, both as
the draw has them (Gelman et al. 2019, doi:10.1080/00031305.2018.1549100). It says how much is
explained of patients like those of the trial; it is no test of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from alliance.inference.draws.summaries import column_blocks, described
from alliance.inference.pointwise.log_likelihood import own_therapists
from alliance.inference.posterior import Posterior
from alliance.inference.scores.questions import linear_predictor, own_link, predictor_at
from alliance.inference.scores.single_scores import residual_draws, scores_at
from alliance.inference.scores.therapist_parts import (
    TherapistChoice,
    TherapistPart,
    mean_slopes,
    therapist_part,
    times_effects,
)
from alliance.models.design.design import Design
from alliance.models.families.family import Auxiliary

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# A tail of 1 in 1,000 then holds two replicates: what the checks' limits are told apart with.
REPLICATES = 2_000


@dataclass(frozen=True, eq=False, slots=True)
class Replicates:
    """Observed and replicated outcomes of n patients, for s posterior draws.

    Scores are on the outcome's own scale.

    Attributes
    ----------
    design : Design
    observed : ndarray, shape (n,)
    moderator : ndarray, shape (1, n) or (s, n)
        Standardised alliance; of each draw where it is latent.
    expected : ndarray, shape (s, n)
        Expected score given the draw, its therapists included.
    spread : ndarray, shape (s, n) or (s, 1)
        SD of a score around it; of a Student t outcome the scale, since the SD may not exist.
    drawn : ndarray, shape (s, n)
        Replicated scores, with the trial's therapists.
    average : ndarray, shape (s, n) or None
        Expected score with an average therapist; None without therapist effects.
    new : ndarray, shape (s, n) or None
        Replicated scores with new therapists; None without therapist effects.
    """

    design: Design
    observed: Array
    moderator: Array
    expected: Array
    spread: Array
    drawn: Array
    average: Array | None
    new: Array | None

    def residual(self, scores: Array) -> Array:
        """Standardised residuals of observed or replicated scores, shape (s, n)."""
        return np.asarray((scores - self.expected) / self.spread)

    def fitted_residual(self, scores: Array) -> Array:
        """Standardised residuals around the posterior mean of the expected scores.

        Without the posterior's own noise, which is normal and hides heavy tails.
        """
        return np.asarray((scores - self.expected.mean(axis=0)) / self.spread.mean(axis=0))


def replicate(
    posterior: Posterior, *, number: int = REPLICATES, seed: int | None = None
) -> Iterator[Replicates]:
    """Replicate one outcome of the trial's analysed patients, some draws at a time.

    Parameters
    ----------
    posterior : Posterior
    number : int
        Replicates, from as many posterior draws at equal distances; of fewer draws each serves
        more than once.
    seed : int, optional
        The run's own by default. The same seed gives the same replicates.

    Yields
    ------
    Replicates
        In blocks that stay near a few million numbers, `number` draws in all.

    Raises
    ------
    InputError
        If the run has no such outcome.
    """
    design = posterior.design
    thinned = thin(posterior.draws, number)
    generator = posterior.generator("replicates", seed)
    held = len(design.y) * max(1, design.scale.top)
    for some in column_blocks((held, number)):
        yield _block(posterior.part(thinned.isel(draw=some)), generator)


def thin(draws: xr.Dataset, number: int) -> xr.Dataset:
    """So many draws at equal distances, as one chain; with repeats where there are fewer.

    Parameters
    ----------
    draws : xarray.Dataset
        Dims ``chain`` and ``draw`` among others.
    number : int

    Returns
    -------
    xarray.Dataset
        Dims ``chain`` (one) and ``draw`` (`number`), then the others.
    """
    total = draws.sizes["chain"] * draws.sizes["draw"]
    chosen = (np.arange(number) * total) // number
    found = {}
    for name, variable in draws.data_vars.items():
        if not {"chain", "draw"} <= set(variable.dims):
            found[name] = variable
            continue
        ordered = variable.transpose("chain", "draw", ...)
        values = ordered.values.reshape(total, *ordered.shape[2:])[chosen][None]
        found[name] = xr.DataArray(values, dims=ordered.dims)
    kept = {
        name: values
        for name, values in draws.coords.items()
        if not {"chain", "draw"} & set(values.dims)
    }
    return xr.Dataset(found, coords=kept)


def _block(posterior: Posterior, generator: np.random.Generator) -> Replicates:
    design = posterior.design
    scale, family = design.scale, design.family
    rows, moderator = posterior.rows, posterior.alliance()
    auxiliary = posterior.parameters_in(rows.arm_index)
    average = (
        predictor_at(posterior, rows, moderator)
        if design.moderator.latent
        else linear_predictor(posterior, rows)
    )

    def linked(effect: Array, means: Array | None, therapist: Index) -> Array:
        total, own = average.copy(), moderator
        if means is not None:
            mean = np.take(means, design.therapist_index, axis=1)
            total += mean * mean_slopes(posterior, design.X)
            own = moderator - mean
        every = times_effects(design, design.X, rows.arm_index, own)
        for k, times in enumerate(every[: effect.shape[2]]):
            total += np.take(effect[:, :, k], therapist, axis=1) * times
        return own_link(design, total)

    def expected(eta: Array) -> Array:
        return np.asarray(scale.offset + scale.unit * family.expected(eta, auxiliary, scale))

    def random(eta: Array) -> Array:
        residual = residual_draws(design, auxiliary, eta.shape, generator)
        return scores_at(design, auxiliary, eta, residual)

    own, fresh = _choices(design)
    known = _part(posterior, own, generator)
    # Of patients without a therapist any will do: what they multiply it by is zero
    whose = np.minimum(design.therapist_index, len(design.therapists) - 1)
    eta = linked(known.effect, known.mean, known.index if design.clinic_effects else whose)
    drawn = random(eta)
    typical = new = None
    if design.effects or design.clinic_effects:
        typical = expected(linked(known.effect[:, :, :0], known.mean, whose))
        others = _part(posterior, fresh, generator)
        whose = others.index if design.clinic_effects else whose
        # Their patients' alliance is given, and with it the therapists' mean alliance.
        new = random(linked(others.effect, known.mean, whose))
    return Replicates(
        design=design,
        observed=scale.offset + scale.unit * design.y,
        moderator=moderator,
        expected=expected(eta),
        spread=_spread(design, eta, auxiliary),
        drawn=drawn,
        average=typical,
        new=new,
    )


def _choices(design: Design) -> tuple[TherapistChoice, TherapistChoice]:
    """The trial's therapists, and as many new ones; with clinics, those of each patient."""
    if design.clinic_effects:
        labels, clinics = design.labels, design.clinic_labels
        return TherapistChoice("known", labels, clinics), TherapistChoice("new", labels, clinics)
    return TherapistChoice.known(*design.therapists), TherapistChoice("new", design.therapists)


def _part(
    posterior: Posterior, choice: TherapistChoice, generator: np.random.Generator
) -> TherapistPart:
    """Draws of as many therapists as the trial has; with clinics, of each patient's."""
    design = posterior.design
    therapists = len(design.y) if design.clinic_effects else len(design.therapists)
    if not therapists:  # none is recorded
        return TherapistPart(np.zeros((posterior.total, 0, 0)), None, np.empty(0, dtype=np.int64))
    part = therapist_part(posterior, choice, therapists, generator)
    assert part is not None  # only an average therapist has none
    return part


def _spread(design: Design, eta: Array, auxiliary: Auxiliary) -> Array:
    """SD of a score given the predictor, on the outcome's own scale.

    Of a Student-t outcome its scale, which there is with any degrees of freedom.
    """
    scale = design.scale
    if "residual_sd" in auxiliary and "cutpoint" not in auxiliary:
        return np.asarray(scale.unit * auxiliary["residual_sd"])
    return np.asarray(scale.unit * np.sqrt(design.family.variance(eta, auxiliary, scale)))


@dataclass(frozen=True, eq=False, slots=True)
class ExplainedVariance:
    """Bayesian R2 of one outcome.

    Attributes
    ----------
    outcome : str
    interval : float
    draws : dict of str to ndarray, shape (d,)
        ``patient and therapist``: expected scores with the patient's own therapist; ``patient``:
        with an average therapist.
    """

    outcome: str
    interval: float
    draws: dict[str, Array]

    @property
    def table(self) -> pd.DataFrame:
        """One row for each way to expect: mean, SD and equal-tailed interval."""
        rows = [
            {"outcome": self.outcome, "explained_by": explained, **described(values, self.interval)}
            for explained, values in self.draws.items()
        ]
        return pd.DataFrame(rows)


def explained_variance(posterior: Posterior, *, interval: float = 0.95) -> ExplainedVariance:
    """Bayesian R2, with therapists and by the patients' values alone.

    Parameters
    ----------
    posterior : Posterior
    interval : float

    Returns
    -------
    ExplainedVariance
        The residual variance is that of a score given patient and therapist, on average over
        patients; where it is infinite, as that of a t distribution with up to two degrees of
        freedom, the share is zero. What differs between therapists counts as unexplained where
        they are left out.

    Raises
    ------
    InputError
        If the run has no such outcome.
    """
    design, rows = posterior.design, posterior.rows
    found: dict[str, list[Array]] = {"patient and therapist": [], "patient": []}
    for _, _, part in posterior.blocks(max(1, design.scale.top) * len(design.y)):
        auxiliary = part.parameters_in(rows.arm_index)
        moderator, own = part.alliance(), own_therapists(part)
        expected, residual = {}, {}
        for name in found:
            therapists = own if name == "patient and therapist" else None
            eta = own_link(design, predictor_at(part, rows, moderator, therapists))
            expected[name] = design.family.expected(eta, auxiliary, design.scale)
            residual[name] = design.family.variance(eta, auxiliary, design.scale).mean(axis=1)
        # What therapists add to the expected scores is then part of what is not explained.
        between = (expected["patient and therapist"] - expected["patient"]).var(axis=1)
        residual["patient"] = residual["patient and therapist"] + between
        for name in found:
            found[name].append(
                array_stats.bayesian_r2(expected[name], residual[name], scale_kind="var")
            )
    return ExplainedVariance(
        posterior.name, interval, {name: np.concatenate(parts) for name, parts in found.items()}
    )
