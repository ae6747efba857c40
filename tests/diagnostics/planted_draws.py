"""Draws with known defects, in trees like a sampler's, and short ways to read the gate's report."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from alliance.diagnostics.gate.gate import GateReport, check_convergence
from alliance.diagnostics.verdicts import CheckResult, Verdict

CHECKS = [
    "completeness",
    "variation",
    "r_hat",
    "ess_bulk",
    "ess_tail",
    "mcse",
    "divergences",
    "tree_depth",
    "ebfmi",
]
PASS, REVIEW, FAIL = Verdict.PASS, Verdict.REVIEW, Verdict.FAIL


def autoregressive(seed: int, shape: tuple[int, ...], rho: float) -> np.ndarray:
    """Stationary AR(1) chains with variance one; time runs along the second axis."""
    noise = np.random.default_rng(seed).normal(size=shape) * np.sqrt(1 - rho**2)
    noise[:, 0] /= np.sqrt(1 - rho**2)
    return lfilter([1.0], [1.0, -rho], noise, axis=1)


def independent(seed: int = 0, chains: int = 4, draws: int = 1000, number: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(chains, draws, number))


def statistics(chains: int = 4, draws: int = 1000, **changes: np.ndarray) -> dict[str, np.ndarray]:
    """What PyMC records of NUTS, without a fault."""
    clean = {
        "diverging": np.zeros((chains, draws), dtype=bool),
        "reached_max_treedepth": np.zeros((chains, draws), dtype=bool),
        "energy": np.random.default_rng(99).normal(size=(chains, draws)),
    }
    return clean | changes


def planted(values: np.ndarray, stats: dict[str, np.ndarray] | None = None) -> xr.DataTree:
    """The draws as quantities slope[level 0], slope[level 1], ... of a tree like a sampler's."""
    chains, draws, number = values.shape
    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    levels = {"level": [f"level {position}" for position in range(number)]}
    slope = xr.Dataset({"slope": (("chain", "draw", "level"), values)}, coords | levels)
    groups = {"posterior": slope}
    if stats is not None:
        recorded = {name: (("chain", "draw"), array) for name, array in stats.items()}
        groups["sample_stats"] = xr.Dataset(recorded, coords)
    return xr.DataTree.from_dict(groups)


def judge(
    values: np.ndarray, stats: dict[str, np.ndarray] | None = None, **asked: Any
) -> GateReport:
    if stats is None:
        stats = statistics(*values.shape[:2])
    return check_convergence(planted(values, stats), outcome="function", **asked)


def verdicts(report: GateReport) -> dict[str, Verdict]:
    return {result.check: result.verdict for result in report.results}


def result(report: GateReport, check: str) -> CheckResult:
    return next(item for item in report.results if item.check == check)


def other_than_pass(report: GateReport) -> dict[str, Verdict]:
    return {check: verdict for check, verdict in verdicts(report).items() if verdict != PASS}
