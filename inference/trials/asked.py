"""What is asked of a run of several trials at once: each trial, the average, a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError, nearest
from alliance.inference.estimands.between_trials import ACROSS, SPREADS
from alliance.inference.runs.fit import Fit
from alliance.inference.trials.leaving_out import leave_one_trial_out
from alliance.inference.trials.tables import (
    COMPARED,
    trials_sheet_table,
    whole_table,
)
from alliance.inference.trials.views import AVERAGE_TRIAL, trials_of


@dataclass(frozen=True, eq=False, slots=True)
class SeveralTrials:
    """Answers of the outcomes of a run of several trials.

    Attributes
    ----------
    who : dict of str to pandas.DataFrame
        By outcome, as of `inference.trials.tables.trials_sheet_table`.
    each : dict of str to pandas.DataFrame
        By outcome, as of `inference.trials.tables.whole_table`, of what trials share, with the
        ``patients`` of each trial.
    between : dict of str to pandas.DataFrame
        By outcome: SDs between trials, and interactions across them.
    left_out : dict of str to pandas.DataFrame
        By outcome, as of `inference.trials.leaving_out.leave_one_trial_out`; empty unless asked
        for.
    """

    who: dict[str, pd.DataFrame]
    each: dict[str, pd.DataFrame]
    between: dict[str, pd.DataFrame]
    left_out: dict[str, pd.DataFrame]

    @property
    def table(self) -> pd.DataFrame:
        """All of it in one tidy table, with columns ``trial`` and ``left_out``."""
        parts = []
        for name, each in self.each.items():
            parts += [each, self.between[name].assign(trial=AVERAGE_TRIAL)]
            if name in self.left_out:
                parts.append(self.left_out[name].assign(trial=AVERAGE_TRIAL))
        whole = pd.concat([part for part in parts if len(part)], ignore_index=True)
        columns = list(self.each[next(iter(self.each))].columns)
        if self.left_out:
            columns += ["left_out", "moved"]
        return whole.reindex(columns=columns)


def several_trials(
    fit: Fit,
    outcomes: Sequence[str] = (),
    *,
    quantities: Sequence[str] = (),
    interval: float = 0.95,
    per_sd: bool = False,
    leave_one_out: bool = False,
    cores: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SeveralTrials:
    """Ask a run of several trials for each of them.

    Parameters
    ----------
    fit : Fit
    outcomes : sequence of str
        All by default.
    quantities : sequence of str
        Of ``moderator_slope``, ``arm_contrast``, ``interaction``; all by default.
    interval : float
    per_sd : bool
    leave_one_out : bool
        Also fit without each trial in turn.
    cores, progress
        As of `inference.trials.leaving_out.leave_one_trial_out`.

    Raises
    ------
    InputError
        If the run is of one trial, or an outcome or a quantity does not exist.
    """
    for name in quantities:
        if name not in COMPARED:
            raise InputError(f"Trials share no {name!r}.", nearest(name, COMPARED))
    wanted = list(quantities) or list(COMPARED)
    found = SeveralTrials({}, {}, {}, {})
    for name in fit.chosen(outcomes):
        posterior = fit[name]
        trials = trials_of(posterior)
        average = fit.summary(interval=interval, per_sd=per_sd)
        average = average[average["outcome"] == name]
        whole = whole_table([posterior], average, interval=interval, per_sd=per_sd)
        patients = dict(zip(trials.trials, trials.patients.tolist(), strict=True))
        counts = [patients.get(trial, np.nan) for trial in whole["trial"]]
        whole.insert(list(whole.columns).index("trial") + 1, "patients", counts)
        found.who[name] = trials_sheet_table(posterior)
        found.each[name] = whole[whole["quantity"].isin(wanted)].reset_index(drop=True)
        found.between[name] = average[average["quantity"].isin([*SPREADS, ACROSS])].reset_index(
            drop=True
        )
        if leave_one_out:
            left = leave_one_trial_out(
                posterior, interval=interval, per_sd=per_sd, cores=cores, progress=progress
            )
            found.left_out[name] = left[left["quantity"].isin(wanted)].reset_index(drop=True)
    return found
