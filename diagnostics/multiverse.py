"""The fits of a multiverse: each judged by the gate, its quantities beside its choices.

What a multiverse says: how far its analyses agree, and on which choice they hang.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import AVERAGE
from alliance.data_prep.study.description import Study
from alliance.diagnostics.gate.fit_gate import by_name
from alliance.diagnostics.gate.gate import check_convergence
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import (
    SCALE_QUANTITIES,
    estimand_draws,
    linear_estimands,
    summarise,
    with_moments,
)
from alliance.inference.many_fits.calibration_runs import design_hash
from alliance.inference.many_fits.multiverse import CHOICES, Analysis, Multiverse
from alliance.inference.many_fits.task_runner import TaskStore, Workers, run_tasks
from alliance.inference.posterior import Posterior
from alliance.inference.ranges import require_observed, require_on_scale
from alliance.inference.runs.fit import installed_versions
from alliance.inference.sampling.engines import default_engine, fit_outcome, fit_over_time
from alliance.inference.sampling.profiles import Engine, SamplerProfile

USABLE = ("PASS", "REVIEW")
# What a study is about; an empty level stands for all.
SHOWN = (("moderator_slope", AVERAGE), ("arm_contrast", ""), ("interaction", ""))
LEAST_SHARE = 0.05  # of the variance, from which on a choice is said to matter


def wanted_quantities(multiverse: Multiverse, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Quantities to draw, as (quantity, level); an empty level stands for all.

    Parameters
    ----------
    multiverse : Multiverse
    texts : sequence of str
        ``quantity`` or ``quantity:level``; none for those that the study is about.

    Raises
    ------
    InputError
        If there is no such quantity or level.
    """
    if not texts:
        return SHOWN
    labels = [
        label
        for analysis in multiverse.analyses
        for label in linear_estimands(analysis.design).labels
    ]
    labels += [(name, "") for name in SCALE_QUANTITIES]
    found = []
    for text in texts:
        quantity, _, level = text.partition(":")
        levels = {own for name, own in labels if name == quantity}
        if not levels:
            names = dict.fromkeys(name for name, _ in labels)
            raise InputError(f"There is no quantity {quantity!r}.", nearest(quantity, names))
        if level and level not in levels:
            raise InputError(f"{quantity} has no level {level!r}.", nearest(level, sorted(levels)))
        found.append((quantity, level))
    return tuple(found)


def curves_of(table: pd.DataFrame, wanted: Sequence[tuple[str, str]]) -> list[pd.DataFrame]:
    """Rows of each outcome's wanted quantities, sorted by the posterior mean.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `diagnostics.multiverse.fit_multiverse`.
    wanted : sequence of (quantity, level)
    """
    curves = []
    for _, own in table.groupby("outcome", sort=False):
        for quantity, level in wanted:
            rows = own[own["quantity"] == quantity]
            for _, each in rows.groupby("level", sort=False):
                if level in ("", each["level"].iloc[0]):
                    curves.append(each.sort_values("mean", kind="stable").reset_index(drop=True))
    return curves


def multiverse_summary(table: pd.DataFrame) -> pd.DataFrame:
    """How far the usable analyses agree on each quantity.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `diagnostics.multiverse.fit_multiverse`.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, quantity, level, analyses, median, lowest, highest`` (of posterior
        means), ``sd`` (median posterior SD), ``at_lowest`` and ``at_highest`` (alliance to which
        the analyses' quantities belong, missing where it is the patients' own), ``above`` and
        ``below`` (analyses whose interval excludes zero; missing for what cannot be negative),
        ``hangs_on``.
    """
    usable = table[table["verdict"].isin(USABLE)]
    rows = []
    keys = ["outcome", "quantity", "level"]
    for (outcome, quantity, level), own in usable.groupby(keys, sort=False):
        signed = quantity not in SCALE_QUANTITIES
        row: dict[str, Any] = {"outcome": outcome, "quantity": quantity, "level": level}
        row |= {
            "analyses": len(own),
            "median": own["mean"].median(),
            "lowest": own["mean"].min(),
            "highest": own["mean"].max(),
            "sd": own["sd"].median(),
            "at_lowest": own["at"].min(),
            "at_highest": own["at"].max(),
            "above": (own["lower"] > 0).sum() if signed else pd.NA,
            "below": (own["upper"] < 0).sum() if signed else pd.NA,
            "hangs_on": hangs_on(own),
        }
        rows.append(row)
    return pd.DataFrame(rows).astype({"above": "Int64", "below": "Int64"})


def compared_places(places: pd.Series, study: Study, at: float | None) -> str:
    """A sentence on where the analyses compare the arms.

    Parameters
    ----------
    places : pandas.Series
        The column ``at`` of the analyses.
    study : Study
    at : float or None
        The alliance that was named.
    """
    if study.moderator is None:
        return (
            "Where the link is curved, arms are compared on the average of the analysed patients, "
            "under an average therapist."
        )
    name = study.moderator.name
    if at is not None:
        return (
            f"Arms are compared at {name} {at:g}; where the link is curved, averaged over the "
            f"analysed patients, each with {name} {at:g}, under an average therapist."
        )
    low, high = places.min(), places.max()
    own = "Arms are compared at the mean of each analysis's own patients"
    if not pd.isna(low):
        same = f"{low:.4g}" == f"{high:.4g}"
        own += f" ({name} {low:.4g})" if same else f" ({name} {low:.4g} to {high:.4g})"
    return (
        f"{own}; where the link is curved, averaged over these patients, each with their own "
        f"{name}, under an average therapist."
    )


def hangs_on(rows: pd.DataFrame) -> str:
    """The choice that explains most of the variance of the means, with its share.

    Parameters
    ----------
    rows : pandas.DataFrame
        Analyses of one quantity, with their choices and ``mean``.
    """
    means = rows["mean"].to_numpy()
    total = float(np.var(means))
    if total == 0:
        return ""
    shares = {}
    for choice in CHOICES:
        if len(rows[choice].unique()) > 1:
            fitted = rows.groupby(choice)["mean"].transform("mean").to_numpy()
            shares[choice] = float(np.var(fitted)) / total
    if not shares or max(shares.values()) < LEAST_SHARE:
        return ""
    choice = max(shares, key=shares.__getitem__)
    return f"{choice.replace('_', ' ')} ({100 * shares[choice]:.0f}%)"


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
    chosen: Engine
    if analysis.whole is None:
        chosen = engine if engine == "nuts" else default_engine(analysis.design)
        tree, _ = fit_outcome(
            analysis.design, analysis.priors, profile, seed, engine=chosen, cores=1
        )
        trees = {analysis.universe.outcome: tree}
    else:
        chosen = engine or "instant"
        trees, _ = fit_over_time(
            analysis.whole, analysis.priors, profile, seed, engine=chosen, cores=1
        )
    reports, rows, place = [], [], at
    if analysis.whole is not None and at is None and analysis.design.has_moderator:
        place = analysis.design.scaling.moderator[0]  # the mean of patients with any visit
    for outcome, design in analysis.designs.items():
        draws = estimand_draws(Posterior(design, draws_of(trees[outcome])), at=place)
        reports.append(
            check_convergence(
                trees[outcome],
                outcome=outcome,
                profile=profile.name,
                chains=profile.chains,
                draws=profile.draws,
                quantities=by_name(with_moments(draws)),
            )
        )
        table = summarise(outcome, draws, interval=interval)[["outcome", *KEPT]]
        rows += table.astype(object).where(table.notna(), None).to_dict("records")
    failed = {
        one.check: None
        for report in reports
        for one in report.results
        if one.verdict is Verdict.FAIL
    }
    return {
        "verdict": str(max((report.draws_verdict for report in reports), key=list(Verdict).index)),
        "failed": list(failed),
        "analysed": analysis.analysed,
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
        if each.whole is not None:
            shape = each.whole.shape
            digest.update(f"{shape.structure} {shape.sd_by_visit} {shape.gaps}".encode())
            for own in each.whole.designs.values():
                digest.update(design_hash(own).encode() + np.ascontiguousarray(own.y).tobytes())
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
    moderator = multiverse.study.measure
    require_on_scale([at], moderator.range, moderator.label)
    for each in multiverse.analyses:
        design = each.design
        centre, sd = design.scaling.moderator
        rated = design.X[~design.moderator_missing, design.coefficients.index("moderator")]
        observed = (float(centre + sd * rated.min()), float(centre + sd * rated.max()))
        require_observed([at], observed, moderator.label, extrapolate=extrapolate)
