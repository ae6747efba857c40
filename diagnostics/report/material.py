"""What the sections of a report are written from: each answer is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.trial.characteristics import CHARACTERISTICS, patients_characteristics
from alliance.diagnostics.checks.loo_checks import LooCheck
from alliance.diagnostics.checks.predictive_checks import PredictiveCheck
from alliance.diagnostics.checks.prior_check import PriorCheck, prior_check
from alliance.diagnostics.gate.fit_gate import FitChecks, ModelChecks
from alliance.diagnostics.gate.gate import GateReport
from alliance.inference.answers.effects import Effects, effects_along
from alliance.inference.answers.predictions import Predictions, predict
from alliance.inference.answers.therapists import Therapists, therapists
from alliance.inference.answers.unseen_improvement import (
    UnseenImprovement,
    can_be_asked,
    unseen_improvement,
)
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut
from alliance.inference.leaving_out.therapists import Influence
from alliance.inference.paper.paper import Asked, Paper
from alliance.inference.paper.printed import Printed
from alliance.inference.pointwise.replicates import ExplainedVariance, explained_variance
from alliance.inference.priors.power_scaling import PowerScaling
from alliance.inference.published.comparison import compare
from alliance.inference.published.findings import Finding
from alliance.inference.runs.fit import ALL_VISITS, Fit


@dataclass(frozen=True, eq=False)
class Material:
    """A run, with what has been computed from it.

    Attributes
    ----------
    fit : Fit
    findings : sequence of Finding
        What was published, if a file of it is kept with the run.
    interval : float
        Probability of all intervals and bands.
    judged : FitChecks, optional
        Of the same fit, where it has been judged before.
    at : float, optional
        Alliance at which arms are compared; by default its mean over the analysed patients.
    extrapolate : bool
        Whether this may lie outside the observed range.
    hide_single : bool
        Whether therapists with one patient are left out of tables and figures.
    visit : str
        Of outcomes over time, which visit answers, curves, predictions and checks are of: its
        label, ``last`` or ``all``. Gate, tables of results and courses are of all.
    """

    fit: Fit
    findings: Sequence[Finding] = ()
    interval: float = 0.95
    judged: FitChecks | None = None
    at: float | None = None
    extrapolate: bool = False
    hide_single: bool = False
    visit: str = ALL_VISITS

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """Outcomes, and of those over time at the visits that are asked about."""
        if self.visit == ALL_VISITS:
            return self.fit.outcomes
        return tuple(self.fit.chosen([], self.visit))

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The tidy table of all outcomes."""
        return self._summary(over_visits=False)

    @property
    def shown_summary(self) -> pd.DataFrame:
        """The tidy table of the outcomes that are shown."""
        return self.summary[self.summary["outcome"].isin(self.shown)]

    @cached_property
    def whole_summary(self) -> pd.DataFrame:
        """The tidy table, with what outcomes over time have beside their visits."""
        return self._summary(over_visits=True)

    def _summary(self, *, over_visits: bool) -> pd.DataFrame:
        return self.fit.summary(
            interval=self.interval,
            at=self.at,
            extrapolate=self.extrapolate,
            over_visits=over_visits,
        )

    @cached_property
    def characteristics(self) -> dict[str, Any] | None:
        """Patients by arm before treatment; see `data_prep.trial.characteristics`.

        Of those analysed where the run was written before it kept them of everybody; None where
        it has no rows either.
        """
        kept: dict[str, Any] | None = self.fit.manifest.get(CHARACTERISTICS)
        if kept is not None or self.fit.rowless:
            return kept
        analysed = {name: self.fit.patients(name) for name in self.fit.outcomes}
        return patients_characteristics(analysed, self.fit.study)

    @cached_property
    def priors(self) -> pd.DataFrame:
        """Priors on the outcome's own scale."""
        return self.fit.priors(at=self.at, extrapolate=self.extrapolate)

    @cached_property
    def checks(self) -> FitChecks:
        """The checks of draws and model."""
        return FitChecks(self.fit) if self.judged is None else self.judged

    @property
    def gate(self) -> tuple[GateReport, ...]:
        """The gate's reports, of draws and model."""
        return self.checks.reports

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """Published, refitted and posterior estimates."""
        return compare(
            self.fit,
            self.findings,
            interval=self.interval,
            at=self.at,
            extrapolate=self.extrapolate,
            outcomes=self.shown,
        )

    @cached_property
    def paper(self) -> Paper:
        """What follows from the published numbers alone."""
        study = self.fit.study
        findings = Printed("published.toml", study.title, tuple(self.findings), study)
        return Paper(findings, Asked(interval=self.interval))

    @cached_property
    def effects(self) -> dict[str, Effects]:
        """Contrasts along the moderator by outcome, with an average therapist.

        The ratings are in the order of their size, so that their ticks in a figure tell nothing
        about who gave them.
        """
        found = {name: effects_along(self.fit[name], interval=self.interval) for name in self.shown}
        return {name: replace(each, ratings=np.sort(each.ratings)) for name, each in found.items()}

    @cached_property
    def therapists(self) -> dict[str, Therapists]:
        """Therapists by outcome."""
        return {
            name: therapists(self.fit[name], interval=self.interval, hide_single=self.hide_single)
            for name in self.shown
        }

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """Predictions by outcome for one patient at the means, with a new therapist."""
        return {
            name: predict(self.fit[name], therapist="new", interval=self.interval, keep_draws=False)
            for name in self.shown
        }

    @cached_property
    def prior_checks(self) -> dict[str, PriorCheck]:
        """What the priors expect, by outcome."""
        return {name: prior_check(self.fit, name) for name in self.shown}

    @property
    def _model(self) -> dict[str, ModelChecks]:
        return {name: self.checks.model[name] for name in self.shown}

    @property
    def predictive(self) -> dict[str, PredictiveCheck]:
        """Posterior predictive checks by outcome."""
        return {name: own.predictive for name, own in self._model.items()}

    @property
    def loo(self) -> dict[str, LooCheck]:
        """Leave-one-out checks by outcome; an InputError for a joint model."""
        return {name: own.loo for name, own in self._model.items()}

    @property
    def therapists_out(self) -> dict[str, LeaveOneOut]:
        """Leaving out therapists, of the outcomes where that needs no refit."""
        found = {name: own.therapists_out for name, own in self._model.items()}
        return {name: each for name, each in found.items() if each is not None}

    @cached_property
    def explained(self) -> dict[str, ExplainedVariance]:
        """Bayesian R2 by outcome."""
        return {
            name: explained_variance(self.fit[name], interval=self.interval) for name in self.shown
        }

    @property
    def power_scaling(self) -> dict[str, PowerScaling]:
        """Sensitivity to priors and likelihood by outcome; an InputError for a joint model."""
        return {name: own.power_scaling for name, own in self._model.items()}

    @property
    def influence(self) -> dict[str, tuple[Influence, ...]]:
        """Patients, and therapists that could be left out, that move a result, by outcome."""
        return {name: own.influence for name, own in self._model.items()}

    @cached_property
    def unseen(self) -> dict[str, UnseenImprovement]:
        """How strong an unseen improvement would have to be, by outcome."""
        return {
            name: unseen_improvement(self.fit[name])
            for name in self.shown
            if can_be_asked(self.fit[name])
        }

    def rows(self, outcome: str) -> pd.DataFrame:
        """The tidy table's rows of one outcome."""
        return self.summary[self.summary["outcome"] == outcome]

    def row(self, outcome: str, quantity: str, level: str = "") -> pd.Series | None:
        """One row of the tidy table; None if the model has no such quantity."""
        rows = self.rows(outcome)
        found = rows[(rows["quantity"] == quantity) & (rows["level"] == level)]
        return None if found.empty else found.iloc[0]
