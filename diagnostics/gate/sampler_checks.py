"""The checks of the convergence gate on what the sampler recorded: divergences, trees, energy."""

from __future__ import annotations

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from alliance.diagnostics.gate.checks import SIMPLER
from alliance.diagnostics.gate.gate_draws import by_chain_and_draw, sample_labels
from alliance.diagnostics.verdicts import CheckResult, Threshold, Verdict, judged

DIVERGENCE_NAMES = ("diverging",)
"""PyMC, nutpie and NumPyro agree on this one."""

TREE_DEPTH_NAMES = ("reached_max_treedepth", "maxdepth_reached", "reached_max_tree_depth")
"""PyMC, nutpie, and NumPyro through ArviZ, in this order."""

ENERGY_NAME = "energy"


def check_divergences(
    statistics: xr.Dataset | None, outcome: str, threshold: Threshold
) -> CheckResult:
    """Share of draws whose trajectory diverged (Betancourt 2016, arXiv:1604.00695)."""
    return _check_share(
        "divergences",
        statistics,
        outcome,
        threshold,
        names=DIVERGENCE_NAMES,
        happened="diverged",
        recommendation=(
            "Fit again with a higher target_accept (--target-accept 0.95, then 0.99); if "
            f"divergences stay, {SIMPLER}."
        ),
    )


def check_tree_depth(
    statistics: xr.Dataset | None, outcome: str, threshold: Threshold
) -> CheckResult:
    """Share of draws that used the deepest trajectory tree allowed, under any sampler's name."""
    return _check_share(
        "tree_depth",
        statistics,
        outcome,
        threshold,
        names=TREE_DEPTH_NAMES,
        happened="reached the maximum tree depth",
        recommendation=(
            "Fit again with twice as many tuning draws (--tune), or with a max_treedepth larger by "
            "two (--max-treedepth); "
            f"if trees stay at the maximum, {SIMPLER}."
        ),
    )


def check_ebfmi(statistics: xr.Dataset | None, outcome: str, threshold: Threshold) -> CheckResult:
    """Energy Bayesian fraction of missing information, smallest over chains.

    References
    ----------
    Betancourt 2016, arXiv:1604.00695.
    """
    if statistics is None or ENERGY_NAME not in statistics:
        return _not_available("ebfmi", outcome, threshold)
    energy = by_chain_and_draw(statistics[ENERGY_NAME]).max(axis=2)
    chains = sample_labels(statistics, "chain")
    unusable = [
        label
        for label, row in zip(chains, energy, strict=True)
        if row.size < 2 or not np.isfinite(row).all() or np.ptp(row) == 0
    ]
    if unusable or not chains:
        return judged(
            "ebfmi",
            None,
            threshold,
            worst=": ".join([outcome, *(f"chain {label}" for label in unusable[:1])]),
            message=(
                "Not computed, because the energy is missing, not finite or constant "
                f"(chains: {', '.join(unusable) or 'none at all'})."
            ),
            recommendation="See completeness and variation; then run the fit again.",
        )
    values = array_stats.bfmi(energy)
    worst = int(np.argmin(values))
    return judged(
        "ebfmi",
        values[worst],
        threshold,
        worst=f"{outcome}: chain {chains[worst]}",
        message=(
            f"The smallest E-BFMI is {values[worst]:.2f}, of chain {chains[worst]}; "
            f"{int(np.sum(values < threshold.review))} of {len(chains)} chains are under "
            f"{threshold.review:g}."
        ),
        recommendation=(
            f"Fit again with twice as many tuning draws (--tune); if it stays low, {SIMPLER}."
        ),
    )


def _check_share(
    check: str,
    statistics: xr.Dataset | None,
    outcome: str,
    threshold: Threshold,
    *,
    names: tuple[str, ...],
    happened: str,
    recommendation: str,
) -> CheckResult:
    """Share of draws of which any of the named statistics is true."""
    recorded = [name for name in names if statistics is not None and name in statistics]
    if statistics is None or not recorded:
        return _not_available(check, outcome, threshold)
    flags = np.concatenate([by_chain_and_draw(statistics[name]) for name in recorded], axis=2)
    # Draws that an interrupted run never made are NaN here: completeness reports them.
    made = np.isfinite(flags).all(axis=2)
    counts: NDArray[np.int_] = ((flags > 0).any(axis=2) & made).sum(axis=1)
    total, number = int(made.sum()), int(counts.sum())
    worst = int(np.argmax(counts)) if counts.size else 0
    place, where = outcome, ""
    if number:
        label = sample_labels(statistics, "chain")[worst]
        place = f"{outcome}: chain {label}"
        where = f", {counts[worst]:,} of them in chain {label}"
    return judged(
        check,
        number / total if total else None,
        threshold,
        worst=place,
        message=f"{number:,} of {total:,} draws ({number / max(total, 1):.2%}) {happened}{where}.",
        recommendation=recommendation,
    )


def _not_available(check: str, outcome: str, threshold: Threshold) -> CheckResult:
    """PASS of a check that this sampler gives no material for, said so in the message."""
    return CheckResult(
        check=check,
        verdict=Verdict.PASS,
        value=None,
        review=threshold.review,
        fail=threshold.fail,
        worst=outcome,
        message="Not available from this sampler.",
        recommendation="",
    )
