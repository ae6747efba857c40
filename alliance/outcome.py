"""One fitted outcome: what is asked about its patients, arms and therapists, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd
import xarray as xr

from alliance.answer import (
    Answer,
    Reading,
    Told,
    entitled,
    listed,
    one_of,
    telling,
    titled,
    worst_of,
)
from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath
from alliance.inference.scores.thresholds import Thresholds
from alliance.trial import Data, Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alliance.inference.answers.effects import ArmCurves
    from alliance.inference.leaving_out.leave_one_out import By
    from alliance.inference.leaving_out.therapists import Refits
    from alliance.inference.posterior import Posterior
    from alliance.inference.runs.fit import Fit
    from alliance.run import Run

TIPPING = (
    "robustness_value",
    "robustness_value_interval",
    "tipping_mean",
    "tipping_interval",
)
Values = float | Sequence[float]
Region = tuple[float, float]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Answer):
    """Predictions for patients: expected scores, single outcomes, arms compared."""

    _again: Callable[[Thresholds], Predictions] = field(kw_only=True)

    @property
    def contrasts(self) -> pd.DataFrame | None:
        """Arms compared for the same patients; None where that was not asked."""
        return self.found.contrasts

    def chance(
        self,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        change: float | None = None,
        better_by: float | None = None,
    ) -> Predictions:
        """The same predictions, with the chances of reaching what is named.

        Parameters
        ----------
        at_least, at_most : float, optional
            A score of at least, or at most, so much.
        change : float, optional
            An improvement on the baseline by at least so much.
        better_by : float, optional
            The later arm better by at least so much; told in ``contrasts``.

        Returns
        -------
        Predictions
            With the columns ``prob_at_least`` and so on.
        """
        asked = Thresholds(at_least=at_least, at_most=at_most, change=change, better_by=better_by)
        return self._again(asked)


@dataclass(frozen=True, eq=False, repr=False)
class EffectCurves(Answer):
    """Arms compared along the alliance."""

    _again: Callable[..., EffectCurves] = field(kw_only=True)

    def chance(
        self,
        *,
        better_by: float | None = None,
        equivalence: Region | None = None,
        source: str | None = None,
    ) -> EffectCurves:
        """The same comparisons, with the chances of differences that matter, or that do not.

        Parameters
        ----------
        better_by : float, optional
            The first arm better by at least so many points, in the direction of improvement.
        equivalence : tuple of float, optional
            Differences (low, high) that count as nothing.
        source : str, optional
            Where these come from; told with the answers.

        Returns
        -------
        EffectCurves
            With the columns ``prob_better_by`` and ``prob_equivalent``.
        """
        return self._again(better_by=better_by, equivalence=equivalence, source=source)


@dataclass(frozen=True, eq=False, repr=False)
class FittedOutcome:
    """One fitted outcome, and what is asked about its patients, arms and therapists.

    Attributes
    ----------
    run : Run
        The run that it is part of.
    posterior : alliance.inference.posterior.Posterior
        Its design, draws and priors.
    """

    run: Run
    posterior: Posterior

    @property
    def name(self) -> str:
        """The outcome's name."""
        return self.posterior.name

    @property
    def draws(self) -> xr.Dataset:
        """Draws of the parameters, on the standardised scale, over chain and draw."""
        return self.posterior.draws

    def in_trial(self, name: str) -> FittedOutcome:
        """The outcome in one of several trials of one model, for every question about it.

        Parameters
        ----------
        name : str
            A trial's name, ``average``, or ``new``: one drawn from the distribution of the trials.

        Raises
        ------
        InputError
            If there is no such trial, or the run is of one.
        """
        from alliance.inference.trials.views import in_trial

        return replace(self, posterior=in_trial(self.posterior, name))

    def summary(self, **options: Any) -> Answer:
        """Posterior summaries of this outcome; with the options of `Run.summary`."""
        whole = self.run.summary(**options)
        own = whole.table[whole.table["outcome"] == self.name].reset_index(drop=True)
        return Answer(
            f"{whole.title}: {self.name}",
            own,
            _kept=lambda: whole.draws[self.name]["value"],
            notes=whole.notes,
            _read=lambda: (
                [sheet for sheet in whole._reading[0] if sheet.subject == self.name],
                whole._reading[1],
            ),
        )

    def predict(
        self,
        *,
        alliance: Values | None = None,
        baseline: Values | None = None,
        covariate: Mapping[str, Any] | None = None,
        patients: Data | None = None,
        therapist: str | None = None,
        clinic: str | None = None,
        arm: Names | None = None,
        contrasts: bool = False,
        exposure: float | None = None,
        average_over: Literal["trial", "rows"] | None = None,
        extrapolate: bool = False,
        interval: float = 0.95,
        seed: int | None = None,
    ) -> Predictions:
        """Predict outcomes of patients; by default of one at the means, in every arm.

        Parameters
        ----------
        alliance, baseline : float or sequence of float, optional
            Values in their own points; every combination is a patient.
        covariate : mapping of str to value or sequence of values, optional
            Numbers or levels, such as ``{"age": [40, 60], "sex": "F"}``.
        patients : str, path-like or pandas.DataFrame, optional
            Patients in a table with the study file's columns, instead of combinations.
        therapist : str, optional
            new, average, or a therapist's id; with `average_over` also known and own. By default
            the table's therapists, otherwise new.
        clinic : str, optional
            new, average, or a clinic's id, where the model has clinics; not with `average_over`.
            By default new for a new therapist, average for an average one, a known one's own.
        arm : str or sequence of str, optional
            Codes of the arms; all by default.
        contrasts : bool
            Also compare the arms for the same patient.
        exposure : float, optional
            That counts are predicted for, as months; one unit by default.
        average_over : {"trial", "rows"}, optional
            Averages over the trial's patients, or over those asked about.
        extrapolate : bool
            Allow, and mark, values beyond what was observed.
        interval : float
        seed : int, optional
            Of random draws; the run's own by default.

        Returns
        -------
        Predictions
            One row for each patient in each arm; `Predictions.chance` adds chances.
        """
        fit = self.run.fit
        from alliance.inference.patients.patient_files import patients_asked_about

        if clinic is not None and average_over is not None:
            raise InputError(
                "`clinic` is about single patients, and `average_over` about averages.",
                "Leave one of the two out.",
            )

        asked = patients_asked_about(
            self.posterior,
            alliance=listed(alliance) or None,
            baseline=listed(baseline) or None,
            covariate={name: listed(value) for name, value in (covariate or {}).items()},
            patients=patients,
            average_over=average_over,
            extrapolate=extrapolate,
        )
        shared: dict[str, Any] = {
            "arms": listed(arm),
            "interval": interval,
            "exposure": exposure,
        }

        def answered(thresholds: Thresholds) -> Predictions:
            from alliance.diagnostics.figures.answer_figures import prediction_figure
            from alliance.diagnostics.sheets import predictions as sheets
            from alliance.inference.answers.averages import average
            from alliance.inference.answers.predictions import predict

            if average_over is not None:
                own = "new" if average_over == "trial" or asked.therapists is None else "own"
                found: Any = average(
                    self.posterior,
                    asked,
                    therapist=therapist or own,
                    thresholds=thresholds,
                    **shared,
                )
            else:
                found = predict(
                    self.posterior,
                    asked,
                    therapist=therapist,
                    thresholds=thresholds,
                    contrasts=contrasts or thresholds.better_by is not None,
                    seed=seed,
                    clinic=clinic,
                    **shared,
                )

            def read() -> Reading:
                if average_over is None:
                    own = {"of_file": patients is not None}
                    shown = [
                        sheets.predictions(fit, found, **own),
                        sheets.prediction_contrasts(fit, found, **own),
                    ]
                    legend = sheets.prediction_legend(fit, found, contrasts=shown[1] is not None)
                    return shown, legend
                whom = "patients of the trial" if average_over == "trial" else "rows asked about"
                averaged = [(found.table, "arm"), (found.contrasts, "contrast")]
                return (
                    [sheets.averages(fit, found, *each) for each in averaged if len(each[0])],
                    sheets.average_legend(fit, found, whom),
                )

            return Predictions(
                titled(fit.study, f"Predictions of {self.name}", interval),
                found.table,
                _kept=lambda: found.draws,
                found=found,
                notes=found.counted.ends,
                _read=read,
                _drawn=None if average_over else lambda: prediction_figure(fit, [found]),
                _again=answered,
            )

        return answered(Thresholds())

    def effects(
        self,
        *,
        at: Values | None = None,
        contrast: Names | None = None,
        therapist: str = "average",
        grid: int = 41,
        interval: float = 0.95,
        extrapolate: bool = False,
        seed: int | None = None,
    ) -> EffectCurves:
        """Compare the arms along the alliance: curves with bands, difference of slopes.

        Parameters
        ----------
        at : float or sequence of float, optional
            Values of the alliance to answer at.
        contrast : str or sequence of str, optional
            ``"MCE-GE"`` for MCE minus GE; all pairs by default.
        therapist : str
            Who treats all patients: average, new, or a therapist's id.
        grid : int
            Values of the alliance that curve and bands are computed at.
        interval : float
            Probability of intervals and bands.
        extrapolate : bool
            Allow, and mark, values beyond the observed alliance.
        seed : int, optional
            For a new therapist; the run's own by default.

        Returns
        -------
        EffectCurves
            `EffectCurves.chance` adds chances. Its figure shows contrasts; with ``plot="score"``
            the arms' scores, with ``plot="best"`` the chance that each arm is best.
        """
        fit = self.run.fit

        def answered(**named: Any) -> EffectCurves:
            from alliance.diagnostics.figures.answer_figures import FIGURES
            from alliance.diagnostics.sheets import effects as sheets
            from alliance.inference.answers.effects import effects_along, effects_table

            found = effects_along(
                self.posterior,
                contrasts=listed(contrast),
                values=listed(at),
                grid=grid,
                interval=interval,
                thresholds=self._thresholds(**named),
                therapist=therapist,
                extrapolate=extrapolate,
                seed=seed,
            )
            return EffectCurves(
                titled(fit.study, f"Arms compared along the alliance, {self.name}", interval),
                effects_table(found, every=not found.named),
                _kept=lambda: along(self.draws, found.curves),
                found=found,
                _read=lambda: (
                    [
                        sheets.contrasts_along(fit, found),
                        sheets.scores_along(fit, found),
                        sheets.slopes_compared(fit, found) if found.slopes else None,
                        sheets.crossings(fit, found) if found.crossings else None,
                    ],
                    [
                        *sheets.crossing_lines(fit, found),
                        *sheets.region_lines(fit, found),
                        *sheets.effects_about(fit, found),
                        *sheets.effects_legend(fit, [found]),
                    ],
                ),
                _drawn=lambda plot="effect": one_of(FIGURES, plot)(fit, [found]),
                _again=answered,
            )

        return answered()

    def decide(
        self,
        *,
        better_by: float | None = None,
        equivalence: Region | None = None,
        source: str | None = None,
        reach: float | None = None,
        raise_alliance: float | None = None,
        at: Values | None = None,
        contrast: Names | None = None,
        interval: float = 0.95,
        extrapolate: bool = False,
        seed: int | None = None,
    ) -> Answer:
        """Hold effects against what matters: chances, shares who improve, a higher alliance.

        Parameters
        ----------
        better_by, equivalence, source
            As of `EffectCurves.chance`; with a baseline also the share of patients who improve by
            so much. None has a default but what the study file says.
        reach : float, optional
            Also the share of patients with this score or a better one.
        raise_alliance : float, optional
            Also what changes if every patient's alliance is so many points higher.
        at, contrast, interval, extrapolate, seed
            As of `effects`.

        Returns
        -------
        Answer
            The figure is that of `effects`.
        """
        from alliance.diagnostics.figures.answer_figures import effect_figure
        from alliance.diagnostics.sheets import effects as sheets
        from alliance.inference.answers.decisions import decisions

        fit = self.run.fit

        def curves() -> EffectCurves:
            asked = self.effects(
                at=at, contrast=contrast, interval=interval, extrapolate=extrapolate, seed=seed
            )
            return asked.chance(better_by=better_by, equivalence=equivalence, source=source)

        found = decisions(
            self.posterior,
            self._thresholds(
                better_by=better_by, equivalence=equivalence, reach=reach, source=source
            ),
            contrasts=listed(contrast),
            values=listed(at),
            raise_alliance=raise_alliance,
            interval=interval,
            extrapolate=extrapolate,
            seed=seed,
        )
        return Answer(
            titled(fit.study, f"Decisions on {self.name}", interval),
            found.table,
            found=found,
            notes=tuple(sheets.decisions_notes(fit, [found])),
            _read=lambda: (
                sheets.decisions(fit, found, interval=interval),
                sheets.decisions_legend(fit, [found]),
            ),
            _drawn=lambda: effect_figure(fit, [curves().found]),
        )

    def therapists(
        self,
        *,
        at: float | None = None,
        interval: float = 0.95,
        hide_single: bool = False,
        extrapolate: bool = False,
    ) -> Answer:
        """Compare the therapists: effects, ranks, share of variance, differences in the alliance.

        Parameters
        ----------
        at : float, optional
            The alliance at which they are compared, as slopes may vary; its mean by default.
        interval : float
        hide_single : bool
            Leave out therapists of one patient: what is said of them is said of the patient.
        extrapolate : bool
        """
        from alliance.diagnostics.figures.therapist_figure import therapist_figure
        from alliance.diagnostics.sheets import predictions as sheets
        from alliance.inference.answers.therapists import therapists

        fit = self.run.fit
        found = therapists(
            self.posterior,
            alliance=at,
            interval=interval,
            hide_single=hide_single,
            extrapolate=extrapolate,
        )
        return Answer(
            titled(fit.study, f"Therapists, {self.name}", interval),
            found.table,
            _kept=lambda: found.draws,
            found=found,
            _read=lambda: (
                [
                    sheets.therapists(fit, found) if found.ranks is not None else None,
                    sheets.clinics(fit, found),
                    sheets.spreads(fit, found),
                ],
                sheets.therapists_legend(fit, found),
            ),
            _drawn=lambda: therapist_figure(fit, [found]),
        )

    def ppc(self, *, seed: int | None = None) -> Answer:
        """Check whether outcomes replicated under the model look like those observed.

        Parameters
        ----------
        seed : int, optional
            Of the replicates; the run's own by default.

        Returns
        -------
        Answer
            Its figure shows scores; with ``plot="therapists"`` therapists' means, with
            ``plot="statistics"`` the test statistics.
        """
        from alliance.diagnostics.checks.predictive_checks import predictive_check
        from alliance.diagnostics.figures.predictive_figures import FIGURES
        from alliance.diagnostics.sheets import checks as sheets

        fit = self.run.fit
        found = predictive_check(self.posterior, seed=seed)
        return Answer(
            entitled(fit.study, f"Replicated data, {self.name}"),
            found.table,
            found=found,
            verdict=worst_of(found.results),
            notes=tuple(sheets.advice(found.results)),
            _read=lambda: ([sheets.predictive(fit, found)], sheets.predictive_legend([found])),
            _drawn=lambda plot="distribution": one_of(FIGURES, plot)(fit, [found]),
        )

    def leave_out(
        self,
        by: Literal["patient", "therapist", "clinic"] = "patient",
        *,
        refits: Literal["needed", "all", "none"] = "needed",
        against: Mapping[str, Run | AnyPath] | None = None,
        cores: int | None = None,
        progress: bool | Told = True,
    ) -> Answer:
        """Leave out patients or therapists: how well are they predicted, and by which fit better?

        Parameters
        ----------
        by : {"patient", "therapist", "clinic"}
            What is left out at a time: a patient, who keeps the therapist, a therapist with all
            patients, or a clinic with all of both.
        refits : {"needed", "all", "none"}
            By therapist or clinic: fit again without those whose Pareto k is too high, all, or
            none.
        against : mapping of str to Run, str or path-like, optional
            Runs of the same patients with another model, by the names that the table gives them;
            this run is called ``this``.
        cores : int, optional
            Chains run at a time; never changes a draw.
        progress : bool or callable
            As of `alliance.fit`; called with the refits done and to do.

        Returns
        -------
        Answer
            One row, or one for each run. ``found`` has every patient or therapist.
        """
        how = "where needed" if refits == "needed" else refits
        posteriors = {"this": self.posterior}
        for name, other in (against or {}).items():
            posteriors[name] = self.run._other(other)[self.name].posterior
        with telling(progress, f"{self.name}: leaving out") as told:
            answer = _left_out(self.run.fit, posteriors, by, how, cores, told)
        return self._answer(f"Leave one {by} out, {self.name}", answer)

    def sensitivity(
        self,
        kind: Literal["priors", "refits", "influence", "unseen"] = "priors",
        *,
        each_prior: bool = False,
        all_units: bool = False,
        cores: int | None = None,
        progress: bool | Told = True,
    ) -> Answer:
        """Ask what the results hang on: priors, single persons, or what was not seen.

        Parameters
        ----------
        kind : {"priors", "refits", "influence", "unseen"}
            priors by power-scaling; refits with half and double prior scales; influence of single
            patients and therapists; an improvement that was unseen before the alliance was rated.
        each_prior : bool
            Priors: sensitivity to each kind. Refits: each kind of scale alone too.
        all_units : bool
            Influence: every patient and therapist, every quantity.
        cores : int, optional
        progress : bool or callable
            As of `alliance.fit`; called with the refits done and to do.

        Returns
        -------
        Answer
        """
        ask = one_of(_SENSITIVITY, kind)
        if each_prior and kind not in ("priors", "refits"):
            raise InputError("each_prior is about priors.", 'Use kind="priors" or kind="refits".')
        if all_units and kind != "influence":
            raise InputError("all_units is about influence.", 'Use kind="influence".')
        with telling(progress, f"{self.name}: {kind},") as told:
            answer = ask(self.run.fit, self.posterior, each_prior or all_units, cores, told)
        return self._answer(f"Sensitivity of {self.name}: {kind}", answer)

    def _answer(self, title: str, found: Found) -> Answer:
        return Answer(
            entitled(self.run.fit.study, title),
            found.table,
            found=found.found,
            notes=tuple(found.notes),
            _read=found.read,
            _drawn=found.draw,
        )

    def _thresholds(self, **named: Any) -> Thresholds:
        """What effects are held against: what is named, else what the study file says."""
        asked, described = Thresholds(**named), self.posterior.outcome
        asked.require(self.name, described)
        return asked.completed(described, whose="the analyst")

    def __repr__(self) -> str:
        fit, told = self.run.fit, self.posterior.outcome
        low, high = told.range
        flow = fit.flow.set_index("outcome").loc[self.name]
        lines = [
            entitled(fit.study, f"{self.name}: {told.label}"),
            f"{low:g} to {high:g}, {told.better} is better; {flow['analysed']:,} patients analysed",
        ]
        return "\n".join(lines)


def along(draws: xr.Dataset, curves: ArmCurves) -> xr.DataArray:
    """Expected scores of the arms along the alliance, over chain, draw, arm, moderator."""
    shape = (draws.sizes["chain"], draws.sizes["draw"], *curves.expected.shape[1:])
    coords = {"chain": draws["chain"], "draw": draws["draw"], "arm": list(curves.arms)}
    return xr.DataArray(
        curves.expected.reshape(shape),
        dims=("chain", "draw", "arm", "moderator"),
        coords=coords | {"moderator": curves.moderator},
        name="expected",
    )


class Found(NamedTuple):
    """What a room found, its table, how it is drawn, and what to say with it."""

    found: Any
    table: pd.DataFrame
    draw: Callable[[], Figure]
    read: Callable[[], Reading]
    notes: Sequence[str] = ()


def _left_out(
    fit: Fit,
    posteriors: Mapping[str, Posterior],
    by: By,
    refits: Refits,
    cores: int | None,
    told: Any,
) -> Found:
    from alliance.diagnostics.checks.loo_checks import loo_check, loo_table
    from alliance.diagnostics.figures.loo_figures import elpd_figure, loo_figure, pareto_k_figure
    from alliance.diagnostics.sheets import checks as sheets
    from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo
    from alliance.inference.leaving_out.therapists import LEAVE_OUT
    from alliance.inference.pointwise.replicates import explained_variance

    own = posteriors["this"]
    asked: dict[str, Any] = {"refits": refits, "cores": cores, "progress": told}
    if len(posteriors) > 1:
        compared = compare_loo(posteriors, by=by, **asked)
        legend = sheets.loo_comparison_legend(compared)
        return Found(
            compared,
            compared.table,
            lambda: elpd_figure(fit, [compared]),
            lambda: ([sheets.loo_comparison(fit, compared)], legend),
        )
    if by in LEAVE_OUT:
        left_out = LEAVE_OUT[by](own, **asked)
        return Found(
            left_out,
            left_out.table,
            lambda: pareto_k_figure(fit, [left_out]),
            lambda: ([sheets.left_out(fit, [left_out])], sheets.left_out_legend(by)),
        )
    check, share = loo_check(own), explained_variance(own)
    return Found(
        check,
        loo_table(check, share),
        lambda: loo_figure(fit, [check]),
        lambda: (
            [sheets.left_out(fit, [check.left_out], [check], [share])],
            sheets.left_out_legend(by),
        ),
        sheets.advice(check.results),
    )


def _priors(fit: Fit, own: Posterior, each: bool, cores: int | None, told: Any) -> Found:
    from alliance.diagnostics.figures.sensitivity_figures import power_scaling_figure
    from alliance.diagnostics.sheets import sensitivity as sheets
    from alliance.inference.priors.power_scaling import power_scaling

    found = power_scaling(own)
    build = sheets.each_prior if each else sheets.power_scaling
    return Found(
        found,
        found.kind_table if each else found.table,
        lambda: power_scaling_figure(fit, [found]),
        lambda: ([build(fit, found)], sheets.power_scaling_legend(fit)),
    )


def _refits(fit: Fit, own: Posterior, alone: bool, cores: int | None, told: Any) -> Found:
    from alliance.diagnostics.figures.sensitivity_figures import prior_refits_figure
    from alliance.diagnostics.sheets import sensitivity as sheets
    from alliance.inference.priors.prior_refits import prior_refits

    found = prior_refits(own, alone=alone, cores=cores, progress=told)
    build = sheets.largest_shifts if alone else sheets.other_scales
    return Found(
        found,
        found.table,
        lambda: prior_refits_figure(fit, [found]),
        lambda: ([build(fit, found)], sheets.refits_legend(fit)),
    )


def _influence(fit: Fit, own: Posterior, every: bool, cores: int | None, told: Any) -> Found:
    from alliance.diagnostics.figures.sensitivity_figures import influence_figure
    from alliance.diagnostics.sheets import sensitivity as sheets
    from alliance.inference.leaving_out.therapists import influence, units_left_out

    asked: dict[str, Any] = {"refits": True, "cores": cores, "progress": told}
    found, notes = [influence(own, **asked)], []
    for by in units_left_out(own):
        try:
            found.append(influence(own, by, **asked))
        except InputError as error:  # patients can be left out where therapists cannot
            notes.append(str(error))
    first = None if every else 5
    tables = [each.full_table if every else each.table for each in found]
    return Found(
        found,
        pd.concat(tables, ignore_index=True),
        lambda: influence_figure(fit, [found]),
        lambda: (
            [sheets.influence(fit, each, first) for each in found],
            sheets.influence_legend(fit),
        ),
        notes,
    )


def _unseen(fit: Fit, own: Posterior, every: bool, cores: int | None, told: Any) -> Found:
    from alliance.diagnostics.figures.sensitivity_figures import unseen_improvement_figure
    from alliance.diagnostics.sheets import sensitivity as sheets
    from alliance.inference.answers.unseen_improvement import unseen_improvement

    found = unseen_improvement(own)
    tipping = found.tipping_table[["outcome", *TIPPING]]
    return Found(
        found,
        found.table.merge(tipping, on="outcome"),
        lambda: unseen_improvement_figure(fit, [found]),
        lambda: ([sheets.unseen(fit, found)], sheets.unseen_legend(fit)),
    )


_SENSITIVITY: dict[str, Callable[..., Found]] = {
    "priors": _priors,
    "refits": _refits,
    "influence": _influence,
    "unseen": _unseen,
}
