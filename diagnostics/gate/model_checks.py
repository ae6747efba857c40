"""Checks of the model, beside those of its draws: each is computed once for an outcome.

Draws can be perfect and the model wrong. What is held against the data here asks for a REVIEW, by a
person who knows the trial; it never fails by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from alliance.data_prep.errors import InputError
from alliance.diagnostics.checks.loo_checks import LooCheck, check_loo, loo_check
from alliance.diagnostics.checks.predictive_checks import MEANING, PredictiveCheck, predictive_check
from alliance.diagnostics.checks.sensitivity_checks import (
    check_sensitivity,
    influence_result,
    prior_sensitivity_result,
)
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.leaving_out.influence import Influence, influence
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut
from alliance.inference.leaving_out.leave_therapist_out import leave_therapist_out
from alliance.inference.priors.power_scaling import PowerScaling, power_scaling
from alliance.inference.runs.fit import Fit

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
        if self.fit.shared is not None:
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
