"""A run of several trials seen as one: an average trial, one of them, or a new one.

Each is a fitted outcome like any other, so that every question can be asked of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design
from alliance.models.trials.design import SPREADS, TrialsDesign

Array = NDArray[np.float64]

AVERAGE_TRIAL, NEW_TRIAL = "average", "new"
OF_TRIALS = ("trial_beta", "trial_residual_sd", "trial_across", *SPREADS.values())


def trials_of(posterior: Posterior) -> TrialsDesign:
    """The trials of a fitted outcome.

    Raises
    ------
    InputError
        If the run is of one trial.
    """
    if posterior.trials is None:
        raise InputError(
            f"{posterior.name} was fitted as one trial.",
            'Fit several with `several_trials="varying"` or `several_trials="fixed"`.',
        )
    return posterior.trials


def in_trial(posterior: Posterior, name: str) -> Posterior:
    """A fitted outcome in one trial.

    Parameters
    ----------
    posterior : Posterior
        Of several trials, the average one.
    name : str
        Of a trial; ``average``, the posterior itself; ``new``, a trial drawn from the distribution
        of the trials, whose level, baseline and covariate slopes are those of the average one. A
        trial of the name of these two comes first.

    Returns
    -------
    Posterior

    Raises
    ------
    InputError
        If there is no such trial, or the run is of one trial.
    """
    trials = trials_of(posterior)
    if name in trials.trials:
        return _known(posterior, trials, trials.trials.index(name))
    if name == AVERAGE_TRIAL:
        return posterior
    if name == NEW_TRIAL:
        return _new(posterior, trials)
    raise InputError(
        f"There is no trial {name!r}.", nearest(name, [*trials.trials, AVERAGE_TRIAL, NEW_TRIAL])
    )


def _known(posterior: Posterior, trials: TrialsDesign, t: int) -> Posterior:
    draws = posterior.draws
    own = {
        "beta": draws["trial_beta"].isel(trial=t, drop=True),
        "residual_sd": draws["trial_residual_sd"].isel(trial=t, drop=True),
    }
    kept = draws.drop_vars([*OF_TRIALS, "trial", "arm_basis"], errors="ignore").assign(own)
    if "therapist" in kept.dims:
        kept = kept.isel(therapist=trials.therapists_of[t])
    return _alone(posterior, trials.designs[t], kept)


def _new(posterior: Posterior, trials: TrialsDesign) -> Posterior:
    draws = posterior.draws
    generator = posterior.generator("new_trial")
    beta = draws["beta"].transpose("chain", "draw", "coefficient").values.copy()
    for k in trials.shared:
        name = SPREADS[trials.kinds[k]]
        noise = generator.standard_normal(beta.shape[:2])
        if name in draws:
            beta[..., k] += draws[name].transpose("chain", "draw").values * noise
    kept = draws.drop_vars([*OF_TRIALS, "trial", "arm_basis"], errors="ignore")
    kept = kept.assign(beta=(("chain", "draw", "coefficient"), beta))
    return _alone(posterior, posterior.design, kept)


def _alone(posterior: Posterior, design: Design, draws: xr.Dataset) -> Posterior:
    source = None if posterior.source is None else replace(posterior.source, trials=None)
    return Posterior(design, draws, posterior.priors, source)
