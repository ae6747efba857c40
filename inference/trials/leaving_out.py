"""An average trial as each trial in turn is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.compared_at import mean_alliance
from alliance.inference.estimands.estimands import estimand_draws, summarise
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.trials import fit_trials
from alliance.inference.trials.tables import COMPARED
from alliance.inference.trials.views import trials_of

FEWEST = 3  # of which two are left


def leave_one_trial_out(
    posterior: Posterior,
    *,
    interval: float = 0.95,
    per_sd: bool = False,
    cores: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Fit again without each trial in turn.

    Scales and priors stay those of all trials, and arms are compared at the same alliance. The
    instant engine fits, and NUTS where its weights are unreliable, whatever fitted the run.

    Parameters
    ----------
    posterior : Posterior
        Of several trials.
    interval : float
    per_sd : bool
    cores : int, optional
    progress : callable, optional
        Called with the fits done and the fits to do.

    Returns
    -------
    pandas.DataFrame
        Columns of the tidy table, ``left_out``, and ``moved``: how far the mean moved, in SDs of
        the posterior of all trials.

    Raises
    ------
    InputError
        If there are fewer than three trials.
    """
    trials = trials_of(posterior)
    if trials.number < FEWEST:
        raise InputError(
            f"{posterior.name} has {trials.number} trials, and two must be left.",
            "Leave `leave_one_out` out.",
        )
    at = mean_alliance(posterior)
    whole = summarise(posterior.name, estimand_draws(posterior, per_sd=per_sd, at=at))
    known = whole.set_index(["quantity", "level"])
    tables = []
    for t, name in enumerate(trials.trials):
        left = trials.without(t)
        tree, _ = fit_trials(
            left, posterior.priors, posterior.profile, posterior.seed, engine="instant", cores=cores
        )
        source = None if posterior.source is None else replace(posterior.source, trials=left)
        own = Posterior(left.pooled, draws_of(tree), posterior.priors, source)
        draws = estimand_draws(own, per_sd=per_sd, at=at)
        kept = np.flatnonzero(np.isin(draws["quantity"].values, COMPARED))
        table = summarise(posterior.name, draws.isel(estimand=kept), interval=interval)
        before = known.loc[list(zip(table["quantity"], table["level"], strict=True))]
        moved = (table["mean"].to_numpy() - before["mean"].to_numpy()) / before["sd"].to_numpy()
        tables.append(table.assign(left_out=name, moved=moved))
        if progress is not None:
            progress(t + 1, trials.number)
    return pd.concat(tables, ignore_index=True)
