"""The gate for a whole fit: the draws of every outcome, and its model.

Checks of the model, beside those of its draws: each is computed once for an outcome.

Draws can be perfect and the model wrong. What is held against the data here asks for a REVIEW, by a
person who knows the trial; it never fails by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.diagnostics.checks.loo_checks import LooCheck, check_loo, loo_check
from alliance.diagnostics.checks.predictive_checks import MEANING, PredictiveCheck, predictive_check
from alliance.diagnostics.checks.sensitivity_checks import (
    check_sensitivity,
    influence_result,
    prior_sensitivity_result,
)
from alliance.diagnostics.gate.gate import GateReport, check_convergence
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import shared_estimands, with_moments
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut
from alliance.inference.leaving_out.therapists import Influence, influence, leave_therapist_out
from alliance.inference.posterior import refuse_rows
from alliance.inference.priors.power_scaling import PowerScaling, power_scaling
from alliance.inference.runs.fit import Fit
from alliance.models.spec import JOINT

MOST_NUMBERS = 20_000_000
"""Patients times draws up to which patients are replicated and left out unasked: 5,000 patients of
4,000 draws, some 5 seconds and 1 GiB. Beyond it the commands do so on request."""


@dataclass(frozen=True, eq=False)
class ModelChecks:
    """What one outcome's fit shows when it is held against its data and priors.

    Attributes
    ----------
    fit : Fit
    outcome : str
    """

    fit: Fit
    outcome: str

    @cached_property
    def predictive(self) -> PredictiveCheck:
        """Posterior predictive checks."""
        return predictive_check(self.fit[self.outcome])

    @cached_property
    def loo(self) -> LooCheck:
        """Leave-one-out by patient; an InputError for a joint model."""
        return loo_check(self.fit[self.outcome])

    @cached_property
    def therapists_out(self) -> LeaveOneOut | None:
        """Leave-one-out by therapist; None where that needs refits or there is one therapist."""
        if not self.fit.specs[self.outcome].exact:
            return None
        try:
            return leave_therapist_out(self.fit[self.outcome], refits="none")
        except InputError:  # there is one therapist, or too many effects vary
            return None

    @cached_property
    def influence(self) -> tuple[Influence, ...]:
        """Patients, and therapists that could be left out, that move a result."""
        found = [influence(self.fit[self.outcome], left_out=self.loo.left_out)]
        if self.therapists_out is not None:
            found.append(
                influence(self.fit[self.outcome], "therapist", left_out=self.therapists_out)
            )
        if self.therapists_out is not None and self.fit.specs[self.outcome].clinic_effects:
            found.append(influence(self.fit[self.outcome], "clinic"))
        return tuple(found)

    @cached_property
    def power_scaling(self) -> PowerScaling:
        """Sensitivity to priors and likelihood; an InputError for a joint model."""
        return power_scaling(self.fit[self.outcome])

    def results(self) -> tuple[CheckResult, ...]:
        """Every check for the gate: PASS or REVIEW.

        Of a joint model, and of more than `MOST_NUMBERS`, some pass without a value and say why
        they were not made.
        """
        if self._many:
            return self._not_made()
        if self.fit[self.outcome].joint:
            return (
                *self.predictive.results,
                *check_loo(self.fit[self.outcome]),
                *check_sensitivity(self.fit[self.outcome]),
            )
        return (
            *self.predictive.results,
            *self.loo.results,
            prior_sensitivity_result(self.power_scaling),
            influence_result(self.influence),
        )

    @property
    def _many(self) -> bool:
        profile = self.fit.profile
        patients = len(self.fit.design(self.outcome).y)
        return patients * profile.chains * profile.draws > MOST_NUMBERS

    def _not_made(self) -> tuple[CheckResult, ...]:
        told = (
            f"Not made unasked for {len(self.fit.design(self.outcome).y):,} patients: "
            "`alliance ppc RUN`, `alliance loo RUN` and `alliance sensitivity RUN` do."
        )
        names = (*MEANING, "pareto_k", "loo_pit", "prior_sensitivity", "influence")
        return tuple(
            CheckResult(name, Verdict.PASS, None, None, None, self.outcome, told, "")
            for name in names
        )


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
            quantities=by_name(with_moments(estimands, logs=True)),
        )
        for name, tree, estimands in judged
    )


def gate_table(reports: tuple[GateReport, ...]) -> pd.DataFrame:
    """All checks of all outcomes, one row each."""
    return pd.concat([report.table for report in reports], ignore_index=True)


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
