"""The fit again with other prior scales: half as wide and twice as wide, all together or one alone.

The exact model takes prior scales as data, so that a refit costs its sampling alone; every other
model is compiled again for each. Shapes stay as they are (the LKJ correlation, the Dirichlet of an
ordinal outcome's categories), as do degrees of freedom that the study fixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import reported_draws, with_moments
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.engines import fit_outcome, fit_over_time
from alliance.models.design.design import Design
from alliance.models.design.ratings import needs_model
from alliance.models.priors import Priors
from alliance.models.visits.design import VisitsDesign

Array = NDArray[np.float64]
Told = Callable[[int, int], None]

FACTORS = (0.5, 2.0)
ALL = "all"
SHAPES = (
    *("therapist_correlation", "clinic_correlation", "residual_correlation"),
    *("degrees_of_freedom", "category_concentration"),
)
SCALES = tuple(field.name for field in fields(Priors) if field.name not in SHAPES)


@dataclass(frozen=True, eq=False, slots=True)
class PriorRefits:
    """Reported quantities of one outcome under other prior scales.

    Attributes
    ----------
    outcome : str
    labels : tuple of (quantity, level)
        Of the m quantities.
    priors : tuple of (str, float)
        Of the r refits: the kind of prior, or ``all``, and the factor of its scale.
    baseline : ndarray, shape (m, 3)
        Posterior mean, SD, and Monte Carlo standard error of the mean, of the fit itself.
    refitted : ndarray, shape (r, m, 3)
        The same of the refits.
    """

    outcome: str
    labels: tuple[tuple[str, str], ...]
    priors: tuple[tuple[str, float], ...]
    baseline: Array
    refitted: Array

    @property
    def table(self) -> pd.DataFrame:
        """One row for each refit and quantity.

        Returns
        -------
        pandas.DataFrame
            Columns ``outcome, prior, factor, quantity, level, mean, sd`` (of the refit),
            ``shift`` (of the mean, on the outcome's own scale), ``shift_sd`` (in posterior SDs of
            the fit), ``shift_sd_mcse`` (its Monte Carlo standard error) and ``sd_ratio``.
        """
        rows = []
        for (prior, factor), moments in zip(self.priors, self.refitted, strict=True):
            for label, new, old in zip(self.labels, moments, self.baseline, strict=True):
                rows.append(
                    {
                        "outcome": self.outcome,
                        "prior": prior,
                        "factor": factor,
                        "quantity": label[0],
                        "level": label[1],
                        "mean": new[0],
                        "sd": new[1],
                        "shift": new[0] - old[0],
                        "shift_sd": (new[0] - old[0]) / old[1],
                        "shift_sd_mcse": float(np.hypot(new[2], old[2]) / old[1]),
                        "sd_ratio": new[1] / old[1],
                    }
                )
        return pd.DataFrame(rows)

    def largest(self) -> pd.DataFrame:
        """The rows of `table` with each quantity's largest shift in SDs, in its order."""
        table = self.table
        size = table["shift_sd"].abs().groupby([table["quantity"], table["level"]], sort=False)
        return table.loc[size.idxmax()].reset_index(drop=True)


def prior_refits(
    posterior: Posterior,
    *,
    alone: bool = False,
    factors: Iterable[float] = FACTORS,
    cores: int | None = None,
    progress: Told | None = None,
) -> PriorRefits:
    """Fit again with all prior scales multiplied, or each alone too.

    Parameters
    ----------
    posterior : Posterior
        Whose sampling profile and seed are used.
    alone : bool
        Multiply each kind of scale that the model uses alone, after all together.
    factors : iterable of float
        Above zero.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the refits done and the refits to do.

    Returns
    -------
    PriorRefits

    Raises
    ------
    InputError
        If the run has no such outcome, it is one of a joint model, or a factor is not above zero.
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    """
    posterior.refuse_over_time("A refit of one visit with other priors")
    if posterior.joint:
        raise InputError(
            "Refits with other priors are not available for a joint model.",
            "Fit the outcomes without `joint`, or fit again with other [priors].",
        )
    design = posterior.design

    def refit(priors: Priors) -> list[xr.Dataset]:
        profile, seed = posterior.profile, posterior.seed
        tree, _ = fit_outcome(design, priors, profile, seed, engine=posterior.engine, cores=cores)
        return [draws_of(tree)]

    (found,) = _refits([posterior], design, refit, alone, tuple(factors), progress)
    return found


def prior_refits_over_time(
    posteriors: Sequence[Posterior],
    design: VisitsDesign,
    *,
    alone: bool = False,
    factors: Iterable[float] = FACTORS,
    cores: int | None = None,
    progress: Told | None = None,
) -> list[PriorRefits]:
    """Fit an outcome over time again with all prior scales multiplied, or each alone too.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of the outcome at all its visits, in the order of time.
    design : VisitsDesign
        Of the same fit.
    alone, factors, cores, progress
        As of `prior_refits`.

    Returns
    -------
    list of PriorRefits
        One for each visit.

    Raises
    ------
    InputError
        If a factor is not above zero.
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    """
    first = posteriors[0]

    def refit(priors: Priors) -> list[xr.Dataset]:
        profile, seed = first.profile, first.seed
        trees, _ = fit_over_time(design, priors, profile, seed, engine=first.engine, cores=cores)
        return [draws_of(trees[own.name]) for own in posteriors]

    return _refits(posteriors, first.design, refit, alone, tuple(factors), progress)


def _refits(
    posteriors: Sequence[Posterior],
    design: Design,
    refit: Callable[[Priors], list[xr.Dataset]],
    alone: bool,
    wanted: tuple[float, ...],
    progress: Told | None,
) -> list[PriorRefits]:
    """Quantities of outcomes that are fitted together, under each of the priors."""
    if not wanted or not all(np.isfinite(factor) and factor > 0 for factor in wanted):
        raise InputError("A factor of prior scales is not above zero.", "Give 0.5 or 2, say.")
    kinds = [ALL, *(used_scales(design) if alone else ())]
    grid = tuple((kind, factor) for kind in kinds for factor in wanted)
    moments: list[list[Array]] = [[] for _ in posteriors]
    for done, (kind, factor) in enumerate(grid):
        if progress is not None:
            progress(done, len(grid))
        again = refit(scaled(posteriors[0].priors, kind, factor))
        for own, posterior, draws in zip(moments, posteriors, again, strict=True):
            own.append(_moments(with_moments(reported_draws(posterior.part(draws)))))
    if progress is not None:
        progress(len(grid), len(grid))
    found = []
    for own, posterior in zip(moments, posteriors, strict=True):
        estimands = with_moments(reported_draws(posterior))
        pairs = zip(estimands["quantity"].values, estimands["level"].values, strict=True)
        labels = tuple((str(quantity), str(level)) for quantity, level in pairs)
        baseline = _moments(estimands)
        found.append(PriorRefits(posterior.name, labels, grid, baseline, np.stack(own)))
    return found


def scaled(priors: Priors, kind: str, factor: float) -> Priors:
    """Priors with one scale, or all, multiplied.

    Parameters
    ----------
    priors : Priors
    kind : str
        One of `SCALES`, or ``all``.
    factor : float
    """
    kinds = SCALES if kind == ALL else (kind,)
    return replace(priors, **{name: factor * getattr(priors, name) for name in kinds})


def used_scales(design: Design) -> tuple[str, ...]:
    """Kinds of prior scales that the design's model has, in the order of `Priors`.

    Parameters
    ----------
    design : Design
    """
    parts = {design.encoding.terms[k].kind for k in design.present}
    used = {
        "intercept": "intercept" in parts,
        "baseline_slope": "baseline" in parts,
        "arm": "arm" in parts,
        "moderator_slope": "moderator" in parts,
        "interaction": "interaction" in parts,
        "covariate_slope": "covariate" in parts,
        "therapist_sd": "intercept" in design.effects,
        "therapist_slope_sd": "slope" in design.effects,
        "residual_sd": any(each.name == "residual_sd" for each in design.family.parameters),
        "therapist_arm_sd": any(effect.startswith("arm[") for effect in design.effects),
        "moderator_therapist_sd": needs_model(design),
        "overdispersion": design.family.name == "count",
        # Refits are of one trial: see `models.trials`
        "trial_arm_sd": False,
        "trial_slope_sd": False,
        "trial_interaction_sd": False,
        "clinic_sd": "intercept" in design.clinic_effects,
        "clinic_slope_sd": "slope" in design.clinic_effects,
    }
    return tuple(name for name in SCALES if used[name])


def _moments(estimands: xr.DataArray) -> Array:
    """Mean, SD and Monte Carlo standard error of every quantity, (m, 3)."""
    draws = estimands.transpose("estimand", "chain", "draw").values
    return np.array(
        [(each.mean(), each.std(ddof=1), float(array_stats.mcse(each))) for each in draws]
    )
