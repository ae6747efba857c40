"""The check of the convergence gate on draws that importance weights were used for."""

from __future__ import annotations

from typing import TypeGuard

import xarray as xr

from alliance.diagnostics.verdicts import CheckResult, Threshold, Verdict
from alliance.inference.sampling.instant import GOOD_K


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
            ),
            recommendation="" if verdict is Verdict.PASS else "Fit again with --engine nuts.",
        ),
    )
