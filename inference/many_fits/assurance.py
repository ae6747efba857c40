"""How often a trial of a given size would find an interaction of a given size convincing.

Trials are simulated from stated assumptions, analysed as the study file says, and judged by the
analyst's own criterion. What is not drawn from a posterior but assumed is so in each trial; the
chance is therefore one under these assumptions (a conditional assurance; O'Hagan, Stevens &
Campbell 2005, doi:10.1002/pst.175). Errors of sign and of magnitude are those of the trials that
convince (Gelman & Carlin 2014, doi:10.1177/1745691614551642).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits.calibration_runs import PROFILE
from alliance.inference.many_fits.planned_trials import AssuranceQuestion, Criterion, planned_trial
from alliance.inference.many_fits.task_runner import Workers, run_tasks
from alliance.inference.many_fits.task_store import TaskStore
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import installed_versions
from alliance.inference.sampling.engines import default_engine, fit_outcome
from alliance.inference.sampling.profiles import seed_sequence

INTERVAL = 0.95  # whose expected width is told
COLUMNS = (
    "patients",
    "therapists",
    "interaction",
    "trials",
    "convincing",
    "convincing_error",
    "wrong_sign",
    "exaggeration",
    "mean_estimate",
    "mean_width",
)


def judged_trial(
    question: AssuranceQuestion, patients: int, therapists: int, interaction: float, number: int
) -> dict[str, Any]:
    """Simulate, fit and judge one trial; see `planned_trial`.

    Returns
    -------
    dict
        Of the interaction, in residual SDs for one SD of the alliance: ``mean``, ``sd``,
        ``lower``, ``upper``, and the chances ``above`` and ``below`` of being beyond the threshold.
    """
    design = planned_trial(question, patients, therapists, interaction, number)
    label = f"{patients} patients, {therapists} therapists, {interaction!r}"
    stream = seed_sequence(question.seed, "sampling", label, number)
    engine = question.engine or default_engine(design)
    tree, _ = fit_outcome(
        design,
        question.spec.priors,
        PROFILE,
        int(stream.generate_state(1)[0]),
        engine=engine,
        cores=1,
    )
    draws = estimand_draws(Posterior(design, draws_of(tree)), per_sd=True)
    wanted = (draws["quantity"] == "interaction") & (draws["level"] == question.contrast)
    values = draws.isel(estimand=int(np.flatnonzero(wanted)[0])).values.ravel()
    lower, upper = np.quantile(values, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    threshold = question.criterion.threshold
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "lower": float(lower),
        "upper": float(upper),
        "above": float((values > threshold).mean()),
        "below": float((values < -threshold).mean()),
    }


def assurance(
    workers: Workers,
    store: TaskStore,
    question: AssuranceQuestion,
    grid: Sequence[tuple[int, int, float]],
    trials: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Judge so many trials of every size, but for those that the store has.

    Parameters
    ----------
    workers : LocalProcesses or distributed.Client
    store : TaskStore
        Open, and of `assurance_facts`; it may have trials of other sizes.
    question : AssuranceQuestion
    grid : sequence of (patients, therapists, interaction)
    trials : int
        Of each.
    progress : callable, optional
        Called with the trials done and the trials to do.

    Returns
    -------
    pandas.DataFrame
        A row for each size, columns `COLUMNS`: ``convincing`` is the share of trials that meet the
        criterion and ``convincing_error`` its standard error; ``wrong_sign`` and ``exaggeration``
        (mean size of the estimate over the true one) are of those that convince, and missing where
        none does or nothing is there to find; ``mean_width`` is that of 95% intervals.
    dict of str to str
        Trials whose fit failed, and why.
    """
    tasks = {f"{n}/{j}/{size!r}/{k}": (n, j, size, k) for k in range(trials) for n, j, size in grid}
    found = run_tasks(workers, store, judged_trial, question, tasks, progress=progress)
    failures = {task: own.failure for task, own in found.items() if own.failure is not None}
    rows = []
    for n, j, size in grid:
        own = [found[f"{n}/{j}/{size!r}/{k}"].result for k in range(trials)]
        rows.append(_row(n, j, size, [result for result in own if result], question.criterion))
    return pd.DataFrame(rows, columns=list(COLUMNS)), failures


def _row(
    patients: int,
    therapists: int,
    size: float,
    results: Sequence[Mapping[str, float]],
    criterion: Criterion,
) -> dict[str, float]:
    row: dict[str, float] = dict.fromkeys(COLUMNS, np.nan)
    row |= {"patients": patients, "therapists": therapists, "interaction": size}
    row["trials"] = len(results)
    if not results:
        return row
    mean, lower, upper, above, below = (
        np.array([result[name] for result in results])
        for name in ("mean", "lower", "upper", "above", "below")
    )
    convinced = np.maximum(above, below) >= criterion.probability
    share = convinced.mean()
    row["convincing"] = share
    # Half a trial more of either kind: no share is known without error
    likely = (convinced.sum() + 0.5) / (len(results) + 1)
    row["convincing_error"] = np.sqrt(likely * (1 - likely) / (len(results) + 1))
    row["mean_estimate"], row["mean_width"] = mean.mean(), (upper - lower).mean()
    if convinced.any() and size != 0:
        row["wrong_sign"] = (np.sign(mean[convinced]) != np.sign(size)).mean()
        row["exaggeration"] = np.abs(mean[convinced]).mean() / abs(size)
    return row


def assurance_facts(question: AssuranceQuestion) -> dict[str, Any]:
    """All that decides the results but sizes and numbers of trials, for the store."""
    return {
        "what": "assurance",
        "versions": installed_versions(),
        "arms": list(question.study.arms),
        "covariates": list(question.study.covariates),
        "has baseline": question.study.outcomes[question.spec.outcome].baseline is not None,
        "contrast": question.contrast,
        "model": question.spec.to_dict(),
        "assumptions": asdict(question.assumptions),
        "threshold": question.criterion.threshold,
        "nested": question.nested,
        "seed": question.seed,
        "engine": question.engine,
        "profile": PROFILE.to_dict(),
    }
