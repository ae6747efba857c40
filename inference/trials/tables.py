"""The quantities of every trial, of the average one and of a new one, in tidy tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, contrast_names, slope_names
from alliance.inference.estimands.estimands import estimand_draws, summarise
from alliance.inference.posterior import Posterior
from alliance.inference.trials.views import AVERAGE_TRIAL, NEW_TRIAL, in_trial, trials_of
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs, sum_to_zero_basis

Index = NDArray[np.int64]

COMPARED = ("moderator_slope", "arm_contrast", "interaction")
"""What trials share, and a new one has."""

OWN = ("intercept", "baseline_slope", *COMPARED, "covariate_slope", "residual_sd")
"""What each trial has."""


def patients_in_arms(design: Design) -> Index:
    """Analysed patients in each arm, from cross-products, shape (K,).

    Parameters
    ----------
    design : Design
    """
    rows = design.moments.cross_products.sum(axis=0)[0]
    basis = sum_to_zero_basis(len(design.arms))
    seen = np.column_stack([np.ones(len(design.arms)), basis]).T
    counted = np.array([rows[0], *rows[design.arm_columns]])
    return np.rint(np.linalg.solve(seen, counted)).astype(np.int64)


def with_trial(table: pd.DataFrame, trial: str) -> pd.DataFrame:
    """A tidy table with a column ``trial`` after ``level``."""
    found = table.copy()
    found.insert(list(found.columns).index("level") + 1, "trial", trial)
    return found


def trial_draws(posterior: Posterior, trial: str, *, per_sd: bool = False) -> xr.DataArray:
    """Draws of a trial's quantities, of arms that it has patients in.

    Parameters
    ----------
    posterior : Posterior
        Of several trials.
    trial : str
        A trial's name, or ``new``: then of what trials share.
    per_sd : bool

    Returns
    -------
    xarray.DataArray
        As of `inference.estimands.estimands.estimand_draws`.
    """
    own = in_trial(posterior, trial)
    found = estimand_draws(own, per_sd=per_sd)
    quantity, level = found["quantity"].values, found["level"].values
    known = trial in trials_of(posterior).trials
    there = patients_in_arms(own.design) > 0 if known else np.ones(len(own.design.arms), bool)
    arms = own.design.arms
    names, contrasts = slope_names(arms), contrast_names(arms)
    seen = {AVERAGE, ""} | {names[k] for k in np.flatnonzero(there)}
    seen |= {contrasts[pair] for pair in arm_pairs(len(arms)) if there[list(pair)].all()}
    wanted = OWN if known else COMPARED
    kept = [
        k
        for k, (name, where) in enumerate(zip(quantity, level, strict=True))
        if name in wanted and (where in seen or name == "covariate_slope")
        and not (name == "moderator_slope" and where == AVERAGE and not there.all())
    ]  # fmt: skip
    return found.isel(estimand=kept)


def trial_table(
    posterior: Posterior, *, interval: float = 0.95, per_sd: bool = False
) -> pd.DataFrame:
    """Tidy table of every trial and of a new one.

    Parameters
    ----------
    posterior : Posterior
        Of several trials.
    interval : float
    per_sd : bool

    Returns
    -------
    pandas.DataFrame
        Columns of `inference.estimands.estimands.COLUMNS`, and ``trial`` after ``level``. Contrasts
        and slopes are of arms that a trial has patients in, contrasts at the trial's own mean
        alliance; those of ``new`` at the mean of all patients.
    """
    tables = [
        with_trial(
            summarise(posterior.name, trial_draws(posterior, trial, per_sd=per_sd),
                      interval=interval),
            trial,
        )
        for trial in [NEW_TRIAL, *trials_of(posterior).trials]
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def whole_table(
    posteriors: Sequence[Posterior], average: pd.DataFrame, **options: Any
) -> pd.DataFrame:
    """The tidy table of an average trial, with the rows of a new one and of each.

    Parameters
    ----------
    posteriors : sequence of Posterior
        Of the outcomes; those of one trial add nothing.
    average : pandas.DataFrame
        As of `inference.runs.fit.Fit.summary`.
    **options
        Of `trial_table`.

    Returns
    -------
    pandas.DataFrame
        As `average` where all outcomes are of one trial.
    """
    several = [each for each in posteriors if each.trials is not None]
    if not several:
        return average
    further = [trial_table(each, **options) for each in several]
    whole = pd.concat([with_trial(average, AVERAGE_TRIAL), *further], ignore_index=True)
    place = {each.name: k for k, each in enumerate(posteriors)}
    return whole.sort_values("outcome", key=lambda own: own.map(place), kind="stable").reset_index(
        drop=True
    )


def trials_sheet_table(posterior: Posterior) -> pd.DataFrame:
    """Who is in each trial.

    Parameters
    ----------
    posterior : Posterior
        Of several trials.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, trial, patients, therapists, moderator_mean`` and, for each arm,
        ``patients_ARM``; one row for each trial.
    """
    trials = trials_of(posterior)
    rows = []
    for name, design in zip(trials.trials, trials.designs, strict=True):
        seen = int((design.moments.count > 0).sum())
        counts = dict(zip(design.arms, patients_in_arms(design).tolist(), strict=True))
        rows.append(
            {
                "outcome": posterior.name,
                "trial": name,
                "patients": int(design.moments.n),
                "therapists": seen,
                "moderator_mean": design.scaling.moderator[0],
                **{f"patients_{arm}": count for arm, count in counts.items()},
            }
        )
    return pd.DataFrame(rows)
