"""The gate for a whole fit: the draws of every outcome, and its model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from alliance.diagnostics.gate.gate import GateReport, check_convergence
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import shared_estimands, with_moments
from alliance.inference.posterior import refuse_rows
from alliance.inference.runs.fit import Fit
from alliance.models.spec import JOINT

if TYPE_CHECKING:
    from alliance.diagnostics.gate.model_checks import ModelChecks

DRAWS_FAILED = CheckResult(
    check="model_checks",
    verdict=Verdict.REVIEW,
    value=None,
    review=None,
    fail=None,
    worst="",
    message="Not made: draws that failed say nothing of the model.",
    recommendation="Mend the sampling first.",
)


@dataclass(frozen=True, eq=False)
class FitChecks:
    """The checks of a fit; each is made when it is first asked for, and once.

    Attributes
    ----------
    fit : Fit
    of_model : bool
        Whether reports hold the checks of the model as well as those of the draws.
    """

    fit: Fit
    of_model: bool = True

    @cached_property
    def model(self) -> dict[str, ModelChecks]:
        """Checks of the model, by outcome; they need patients' rows."""
        if self.fit.rowless:
            raise refuse_rows()
        from alliance.diagnostics.gate.model_checks import (
            ModelChecks,  # more than the draws alone need
        )

        return {name: ModelChecks(self.fit, name) for name in self.fit.outcomes}

    @cached_property
    def reports(self) -> tuple[GateReport, ...]:
        """One report for each outcome, and for what the outcomes of a joint model share."""
        return tuple(
            replace(report, model=self._of_model(report)) for report in check_draws(self.fit)
        )

    def _of_model(self, report: GateReport) -> tuple[CheckResult, ...]:
        if not self.of_model or report.outcome == JOINT or self.fit.rowless:
            return ()
        if report.draws_verdict is Verdict.FAIL:
            return (DRAWS_FAILED,)
        return self.model[report.outcome].results()


def check_fit(fit: Fit) -> tuple[GateReport, ...]:
    """Judge every outcome's draws, reported quantities included, and its model.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    tuple of GateReport
        One for each outcome, and for what the outcomes of a joint model share. Where draws failed
        the model is not judged.
    """
    return FitChecks(fit).reports


def check_draws(fit: Fit) -> tuple[GateReport, ...]:
    """Judge the draws of every outcome alone, with the thresholds of the fit's profile.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    tuple of GateReport
        As of `check_fit`.
    """
    judged = [(name, fit.trees[name], fit.estimands(name)) for name in fit.outcomes]
    if fit.shared is not None:
        judged.append((JOINT, fit.shared, shared_estimands(draws_of(fit.shared))))
    profile = fit.profile
    return tuple(
        check_convergence(
            tree,
            outcome=name,
            profile=profile.name,
            chains=profile.chains,
            draws=profile.draws,
            quantities=by_name(with_moments(estimands)),
        )
        for name, tree, estimands in judged
    )


def gate_table(reports: tuple[GateReport, ...]) -> pd.DataFrame:
    """All checks of all outcomes, one row each."""
    return pd.concat([report.table() for report in reports], ignore_index=True)


def worst_verdict(reports: tuple[GateReport, ...]) -> Verdict:
    """The worst verdict of any outcome."""
    order = list(Verdict)
    return max((report.verdict for report in reports), key=order.index)


def by_name(estimands: xr.DataArray) -> xr.Dataset:
    """Reported quantities as variables, for the gate.

    Parameters
    ----------
    estimands : xarray.DataArray
        As from `inference.estimands.estimands.estimand_draws`.
    """
    bare = estimands.drop_vars(["quantity", "level", "at"], errors="ignore")
    names = [
        f"{quantity}[{level}]" if level else str(quantity)
        for quantity, level in zip(
            estimands["quantity"].values, estimands["level"].values, strict=True
        )
    ]
    return xr.Dataset({name: bare.isel(estimand=k) for k, name in enumerate(names)})
