"""The convergence gate: may these draws be used? It judges the draws of any sampler.

The check of the convergence gate on draws that importance weights were used for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeGuard

import pandas as pd
import xarray as xr

from alliance.data_prep.errors import InputError, nearest
from alliance.diagnostics.gate.checks import (
    check_completeness,
    check_divergences,
    check_ebfmi,
    check_ess,
    check_mcse,
    check_r_hat,
    check_tree_depth,
    check_variation,
)
from alliance.diagnostics.gate.gate_draws import collect_draws
from alliance.diagnostics.verdicts import (
    THRESHOLDS,
    CheckResult,
    GateThresholds,
    Threshold,
    Verdict,
)
from alliance.inference.sampling.importance import GOOD_K

__all__ = [
    "THRESHOLDS",
    "CheckResult",
    "GateReport",
    "GateThresholds",
    "Threshold",
    "Verdict",
    "check_convergence",
]


def are_weighted(statistics: xr.Dataset | None) -> TypeGuard[xr.Dataset]:
    """Whether draws were resampled by importance weights: they are independent then."""
    return statistics is not None and "pareto_k" in statistics.attrs


def check_importance(
    statistics: xr.Dataset | None, outcome: str, threshold: Threshold
) -> tuple[CheckResult, ...]:
    """Pareto k of the weights, and how many draws they are worth.

    Such draws are independent within a chain, so that R-hat and the effective sample sizes see
    only what differs by chance; what can go wrong with them shows here.

    Parameters
    ----------
    statistics : Dataset or None
        With the attributes of `inference.sampling.instant.instant_outcome`.
    outcome : str
    threshold : Threshold
        On the effective number of draws, that of the bulk of NUTS draws.

    Returns
    -------
    tuple of CheckResult
        One, ``importance``, whose value is Pareto k; none of draws without weights.

    References
    ----------
    Vehtari et al. 2024, arXiv:1507.02646.
    """
    if not are_weighted(statistics):
        return ()
    pareto_k = float(statistics.attrs["pareto_k"])
    effective = float(statistics.attrs["effective_draws"])
    integral = ""
    if "nodes" in statistics.attrs:
        integral = (
            f" Therapists' effects are integrated with {statistics.attrs['nodes']} nodes an axis; "
            f"more change the log likelihood by {statistics.attrs['integration_error']:.0e}."
        )
    verdict = max(
        threshold.verdict(effective),
        Verdict.PASS if pareto_k <= GOOD_K else Verdict.FAIL,
        key=list(Verdict).index,
    )
    return (
        CheckResult(
            check="importance",
            verdict=verdict,
            value=pareto_k,
            review=GOOD_K,
            fail=GOOD_K,
            worst=outcome,
            message=(
                f"Pareto k of the importance weights is {pareto_k:.2f}; "
                f"{statistics.attrs['proposals']:,} proposals are worth {effective:,.0f} draws."
                f"{integral}"
            ),
            recommendation="" if verdict is Verdict.PASS else 'Fit again with `engine="nuts"`.',
        ),
    )


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found in the draws of one outcome.

    Attributes
    ----------
    outcome : str
        Name of the outcome.
    profile : str
        Profile whose thresholds were applied.
    results : tuple of CheckResult
        Every check of the draws, in the same order for all draws of one engine.
    model : tuple of CheckResult
        Checks of the model, which never fail; empty where only draws were judged.
    """

    outcome: str
    profile: str
    results: tuple[CheckResult, ...]
    model: tuple[CheckResult, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of any check."""
        return _worst(self.all_results)

    @property
    def draws_verdict(self) -> Verdict:
        """The worst verdict of any check of the draws."""
        return _worst(self.results)

    @property
    def all_results(self) -> tuple[CheckResult, ...]:
        """Checks of the draws, then those of the model."""
        return (*self.results, *self.model)

    @property
    def reviews(self) -> tuple[str, ...]:
        """Names of the checks that ask for a look."""
        return tuple(
            result.check for result in self.all_results if result.verdict is Verdict.REVIEW
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row for each check.

        Returns
        -------
        DataFrame
            Columns outcome, check, verdict, value, review, fail, worst, message, recommendation,
            and about ("draws" or "model"). A number that does not exist is missing (NaN).
        """
        names = [field.name for field in fields(CheckResult)]
        frame = pd.DataFrame([asdict(result) for result in self.all_results], columns=names)
        frame = frame.astype({"value": float, "review": float, "fail": float, "verdict": str})
        frame.insert(0, "outcome", self.outcome)
        frame["about"] = ["draws"] * len(self.results) + ["model"] * len(self.model)
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Report in types that strict JSON knows; an infinite or absent number is None."""
        results = [
            {
                name: str(value) if isinstance(value, Verdict) else _finite(value)
                for name, value in asdict(result).items()
            }
            for result in self.all_results
        ]
        return {
            "outcome": self.outcome,
            "profile": self.profile,
            "verdict": str(self.verdict),
            "results": results,
        }


def _worst(results: Sequence[CheckResult]) -> Verdict:
    order = list(Verdict)
    return max((result.verdict for result in results), key=order.index)


def _finite(value: str | float | None) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_convergence(
    tree: xr.DataTree,
    *,
    outcome: str,
    profile: str = "standard",
    chains: int | None = None,
    draws: int | None = None,
    quantities: xr.Dataset | None = None,
) -> GateReport:
    """Judge the draws of one outcome, whichever sampler they come from.

    The smallest effective sample size and the largest R-hat are taken over every element of
    every variable, so therapist SDs and effects count as much as slopes; of draws resampled by
    weights, which are independent, over the further quantities alone. A check that needs a
    statistic which the sampler did not record passes and says so; all other checks are always
    made. Where draws are not finite, nothing is computed from them and those checks fail.

    Parameters
    ----------
    tree : DataTree
        With the group ``posterior`` (dims chain, draw, ...) and possibly ``sample_stats``.
    outcome : str
        Name of the outcome, for the messages.
    profile : str
        Sampling profile, a key of `THRESHOLDS`.
    chains, draws : int, optional
        Number of chains and of draws for each chain that were asked for.
    quantities : Dataset, optional
        Further reported quantities (dims chain, draw, ...), computed draw by draw from the same
        posterior.

    Returns
    -------
    GateReport
        With the checks completeness, variation, r_hat, ess_bulk, ess_tail, mcse, divergences,
        tree_depth, ebfmi, and importance where draws were resampled by weights.

    Raises
    ------
    InputError
        If the profile is unknown, the tree has no posterior, a variable has no chain and draw
        dimensions or no numbers, or `quantities` has other chains or draws.

    References
    ----------
    Vehtari et al. 2021, doi:10.1214/20-BA1221; Betancourt 2016, arXiv:1604.00695.
    """
    if profile not in THRESHOLDS:
        raise InputError(
            f"There are no convergence thresholds for the profile {profile!r}.",
            nearest(profile, THRESHOLDS),
        )
    if "posterior" not in tree.children:
        raise InputError(
            f"The fit of outcome {outcome!r} has no group 'posterior', so there are no draws.",
            "Fit the outcome again.",
        )
    limits = THRESHOLDS[profile]
    statistics = tree["sample_stats"].dataset if "sample_stats" in tree.children else None
    found = collect_draws(
        outcome, tree["posterior"].dataset, quantities, independent=are_weighted(statistics)
    )
    return GateReport(
        outcome=outcome,
        profile=profile,
        results=(
            check_completeness(found, chains, draws),
            check_variation(found),
            check_r_hat(found, limits.r_hat),
            check_ess(found, limits.ess_bulk, "bulk"),
            check_ess(found, limits.ess_tail, "tail"),
            check_mcse(found, limits.mcse),
            check_divergences(statistics, outcome, limits.divergences),
            check_tree_depth(statistics, outcome, limits.tree_depth),
            check_ebfmi(statistics, outcome, limits.ebfmi),
            *check_importance(statistics, outcome, limits.ess_bulk),
        ),
    )
