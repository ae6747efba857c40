"""The fits of a multiverse: each judged by the gate, its quantities beside its choices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from alliance.diagnostics.gate.fit_gate import by_name
from alliance.diagnostics.gate.gate import check_convergence
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.answers.effect_curves import require_on_scale
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws, with_moments
from alliance.inference.estimands.summary import summarise
from alliance.inference.many_fits.calibration_runs import design_hash
from alliance.inference.many_fits.multiverse import CHOICES, Analysis, Multiverse
from alliance.inference.many_fits.task_runner import Workers, run_tasks
from alliance.inference.many_fits.task_store import TaskStore
from alliance.inference.patients.extrapolation import require_observed
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import installed_versions
from alliance.inference.sampling.engines import default_engine, fit_outcome
from alliance.inference.sampling.profiles import Engine, SamplerProfile

KEPT = ("quantity", "level", "mean", "sd", "lower", "upper", "prob_positive", "at")
FAILED_FIT = "ERROR"  # instead of a verdict, where a fit ended with an error


def judged_analysis(
    shared: tuple[dict[str, Analysis], SamplerProfile, int, Engine | None, float, float | None],
    name: str,
) -> dict[str, Any]:
    """Fit one analysis and judge its draws.

    Parameters
    ----------
    shared : tuple
        Analyses by name, profile, seed, engine (None for the default of each), the intervals'
        probability, and the alliance at which arms are compared (None for each analysis's mean).
    name : str

    Returns
    -------
    dict
        Plain values: ``verdict`` of the gate, ``failed`` checks, ``analysed`` patients, ``engine``
        and ``rows`` with `KEPT`; missing numbers are None.
    """
    analyses, profile, seed, engine, interval, at = shared
    analysis = analyses[name]
    design, outcome = analysis.design, analysis.universe.outcome
    chosen = engine if engine == "nuts" else default_engine(design)
    tree, _ = fit_outcome(design, analysis.priors, profile, seed, engine=chosen, cores=1)
    draws = estimand_draws(Posterior(design, draws_of(tree)), at=at)
    report = check_convergence(
        tree,
        outcome=outcome,
        profile=profile.name,
        chains=profile.chains,
        draws=profile.draws,
        quantities=by_name(with_moments(draws)),
    )
    table = summarise(outcome, draws, interval=interval)[list(KEPT)]
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return {
        "verdict": str(report.draws_verdict),
        "failed": [one.check for one in report.results if one.verdict is Verdict.FAIL],
        "analysed": len(design.y),
        "engine": chosen,
        "rows": rows,
    }


def fit_multiverse(
    workers: Workers,
    store: TaskStore,
    multiverse: Multiverse,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine | None = None,
    interval: float = 0.95,
    at: float | None = None,
    extrapolate: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Fit every analysis that the store does not have yet.

    Parameters
    ----------
    workers : LocalProcesses or distributed.Client
    store : TaskStore
        Open, and of `multiverse_facts`.
    multiverse : Multiverse
    profile : SamplerProfile
    seed : int
        One for all: analyses of the same data and shape then differ by their choices alone.
    engine : {"nuts"}, optional
        Instead of ``instant`` where that fits.
    interval : float
        Probability of the intervals.
    at : float, optional
        Alliance at which every analysis compares the arms; by default the mean of its own
        patients.
    extrapolate : bool
        Allow an alliance outside the range that an analysis observed.
    progress : callable, optional
        Called with the fits done and the fits to do.

    Returns
    -------
    pandas.DataFrame
        A row for each analysis and quantity: ``outcome``, the choices, ``analysed`` patients,
        ``engine``, ``verdict`` (of the gate on the draws, or `FAILED_FIT`), ``reason``, and
        `KEPT`. An analysis whose fit ended with an error has one row without a quantity.
    """
    _require_place(multiverse, at, extrapolate)
    analyses = {each.universe.name: each for each in multiverse.analyses}
    shared = (analyses, profile, seed, engine, interval, at)
    tasks = {name: (name,) for name in analyses}
    found = run_tasks(workers, store, judged_analysis, shared, tasks, progress=progress)
    rows: list[dict[str, Any]] = []
    for name, outcome in found.items():
        universe = analyses[name].universe
        head = {"outcome": universe.outcome}
        head |= {choice: getattr(universe, choice) for choice in CHOICES}
        result = outcome.result
        if result is None:
            rows.append(head | {"verdict": FAILED_FIT, "reason": outcome.failure})
            continue
        head |= {key: result[key] for key in ("analysed", "engine", "verdict")}
        head["reason"] = ", ".join(result["failed"])
        rows += [head | row for row in result["rows"]]
    columns = ["outcome", *CHOICES, "analysed", "engine", "verdict", "reason", *KEPT]
    table = pd.DataFrame(rows, columns=columns)
    numbers = [name for name in KEPT if name not in ("quantity", "level")]
    return table.astype(dict.fromkeys(numbers, float))


def multiverse_facts(
    multiverse: Multiverse,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine | None = None,
    interval: float = 0.95,
    at: float | None = None,
) -> dict[str, Any]:
    """All that decides the results, for the store.

    Parameters
    ----------
    multiverse : Multiverse
    profile : SamplerProfile
    seed : int
    engine : {"nuts"}, optional
    interval, at
        As of `fit_multiverse`.
    """
    digest = hashlib.sha256()
    for each in multiverse.analyses:
        digest.update(f"{each.universe} {each.priors} {design_hash(each.design)}".encode())
        digest.update(np.ascontiguousarray(each.design.y).tobytes())
        digest.update(repr(each.design.scaling).encode())
    return {
        "what": "multiverse",
        "versions": installed_versions(),
        "study": multiverse.study.title,
        "analyses": digest.hexdigest()[:12],
        "profile": profile.to_dict(),
        "seed": seed,
        "engine": engine,
        "interval": interval,
        "at": at,
    }


def _require_place(multiverse: Multiverse, at: float | None, extrapolate: bool) -> None:
    """Refuse an alliance that is not on the scale, or that an analysis did not observe."""
    if at is None:
        return
    moderator = multiverse.study.moderator
    require_on_scale([at], moderator.range, moderator.label)
    for each in multiverse.analyses:
        design = each.design
        centre, sd = design.scaling.moderator
        rated = design.X[~design.moderator_missing, design.coefficients.index("moderator")]
        observed = (float(centre + sd * rated.min()), float(centre + sd * rated.max()))
        require_observed([at], observed, moderator.label, extrapolate=extrapolate)
