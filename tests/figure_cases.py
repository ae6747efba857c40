"""Every figure of a fit, of trials whose texts are hard to find room for; no draw is sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from prediction_examples import therapist_posterior
from visit_trials import WIDE, patients

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed, read_study
from alliance.data_prep.trial.characteristics import CHARACTERISTICS, trial_characteristics
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.draws.datatree import add_patients
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.spec import ModelSpec

WIDTHS = (85, 180)  # millimetres: one column of a journal, and the whole page
SIXTY = "A label of sixty letters, as an institution's own forms have"
LETTERS = {
    "GE": "Ćwiczenia ogólne, naïve Übung",
    "MCE": "تمارين التحكم الحركي",
    "SMT": "טיפול ידני בעמוד השדרה",
}
LONG = {code: f"{SIXTY[:-4]} {code}" for code in LETTERS}
CASES: dict[str, dict[str, Any]] = {
    "one outcome": {"outcomes": ("function",)},
    "four outcomes": {"outcomes": ("function", "gpe", "pain", "disability")},
    "339 therapists": {"outcomes": ("function",), "therapists": 339, "patients": 700},
    "long labels": {"outcomes": ("function", "gpe"), "arms": LONG, "label": SIXTY},
    "letters": {"outcomes": ("function", "gpe"), "arms": LETTERS, "label": "שלום Größe čísel"},
}


@cache
def case(name: str) -> Fit:
    """The fit of a case, with draws that are made up."""
    trial = _trial(name)
    study = trial.study
    trees, specs = {}, {}
    for outcome in study.outcomes:
        tree = xr.DataTree()
        add_patients(tree, trial.analysed(outcome))
        trees[outcome], specs[outcome] = tree, ModelSpec(outcome)
    manifest = {
        "profile": {"name": "ci"},
        "seed": 0,
        CHARACTERISTICS: trial_characteristics(trial.data, study),
    }
    fit = Fit(study, specs, trees, trial.flow, manifest)
    for outcome, tree in trees.items():
        made_up = therapist_posterior(fit.design(outcome), draws=30)
        tree["posterior"] = xr.DataTree(made_up.assign(beta=0.3 * made_up["beta"]))
    return fit


def _trial(name: str) -> Trial:
    asked = CASES[name]
    made = simulate_trial(
        seed=4, patients=asked.get("patients", 120), therapists=asked.get("therapists", 6)
    )
    study = narrowed(made.study, outcomes=list(asked["outcomes"]))
    changes: dict[str, Any] = {"simulated": False}
    if "arms" in asked:
        label = asked["label"]
        described = {
            key: each.model_copy(update={"label": f"{label} {k}" if k else label})
            for k, (key, each) in enumerate(study.outcomes.items())
        }
        moderator = study.measure.model_copy(update={"label": label})
        changes |= {"arms": asked["arms"], "outcomes": described, "moderator": moderator}
        changes["title"] = f"{label} {label}"
    study = study.model_copy(update=changes)
    return trial_from_frame(study, made.frame, "trial.csv")


def _first(fit: Fit) -> str:
    return next(iter(fit.outcomes))


def _compared(fit: Fit, *, published: bool = True) -> Figure:
    from alliance.diagnostics.figures.results_figures import comparison_figure
    from alliance.inference.published.comparison import compare

    return comparison_figure(fit, compare(fit))


def _contrasts(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.results_figures import contrast_figure

    return contrast_figure(fit, fit.summary())


def _answers(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.results_figures import answers_figure

    return answers_figure(fit, fit.summary())


def _effects(kind: str) -> Callable[[Fit], Figure]:
    def drawn(fit: Fit) -> Figure:
        from alliance.diagnostics.figures.answer_figures import FIGURES
        from alliance.inference.answers.effects import effects_along

        return FIGURES[kind](fit, [effects_along(fit[name], grid=9) for name in fit.outcomes])

    return drawn


def _predictions(**grid: Any) -> Callable[[Fit], Figure]:
    def drawn(fit: Fit) -> Figure:
        from alliance.diagnostics.figures.answer_figures import prediction_figure
        from alliance.inference.answers.predictions import predict
        from alliance.inference.patients.asked_patients import patient_grid

        answers = [
            predict(fit[name], patient_grid(fit[name], **grid), seed=1) for name in fit.outcomes
        ]
        return prediction_figure(fit, answers)

    return drawn


def _therapists(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.therapist_figure import therapist_figure
    from alliance.inference.answers.therapists import therapists

    return therapist_figure(fit, [therapists(fit[name]) for name in fit.outcomes])


def _checks(kind: str) -> Callable[[Fit], Figure]:
    def drawn(fit: Fit) -> Figure:
        from alliance.diagnostics.checks.predictive_checks import predictive_check
        from alliance.diagnostics.figures.predictive_figures import FIGURES

        checks = [predictive_check(fit[name], number=20, seed=1) for name in fit.outcomes]
        return FIGURES[kind](fit, checks)

    return drawn


def _unseen(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.sensitivity_figures import unseen_improvement_figure
    from alliance.inference.answers.unseen_improvement import unseen_improvement

    return unseen_improvement_figure(fit, [unseen_improvement(fit[_first(fit)])])


def _prior(fit: Fit) -> Figure:
    from alliance.diagnostics.checks.prior_check import prior_check
    from alliance.diagnostics.figures.predictive_figures import prior_figure

    return prior_figure([prior_check(fit, name, draws=50) for name in fit.outcomes])


def _left_out(fit: Fit) -> Figure:
    from alliance.diagnostics.checks.loo_checks import loo_check
    from alliance.diagnostics.figures.loo_figures import loo_figure

    return loo_figure(fit, [loo_check(fit[_first(fit)])])


def _influence(fit: Fit) -> Figure:
    from alliance.diagnostics.checks.loo_checks import loo_check
    from alliance.diagnostics.figures.sensitivity_figures import influence_figure
    from alliance.inference.leaving_out.therapists import influence

    own = fit[_first(fit)]
    return influence_figure(fit, [[influence(own, left_out=loo_check(own).left_out)]])


def _power_scaling(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.sensitivity_figures import power_scaling_figure
    from alliance.inference.priors.power_scaling import power_scaling

    return power_scaling_figure(fit, [power_scaling(fit[_first(fit)])])


def _left_out_therapists(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.loo_figures import pareto_k_figure
    from alliance.inference.leaving_out.therapists import leave_therapist_out

    own = [leave_therapist_out(fit[name], refits="none") for name in fit.outcomes]
    return pareto_k_figure(fit, own)


def _calibration(fit: Fit) -> Figure:
    from alliance.diagnostics.checks.loo_checks import loo_check
    from alliance.diagnostics.figures.loo_figures import calibration_figure

    return calibration_figure(fit, [loo_check(fit[name]).pit for name in fit.outcomes])


def _elpd(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.loo_figures import elpd_figure
    from alliance.inference.leaving_out.leave_one_out import leave_one_out
    from alliance.inference.leaving_out.leave_one_out_comparison import LooComparison

    names = (fit.study.title[:60], "run")  # folders have names of any length
    compared = [
        LooComparison(name, "patient", names, (leave_one_out(fit[name]),) * 2, whole_scores=False)
        for name in fit.outcomes
    ]
    return elpd_figure(fit, compared)


def _prior_refits(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.sensitivity_figures import prior_refits_figure
    from alliance.inference.priors.prior_refits import ALL, FACTORS, PriorRefits

    answers = []
    for name, own in fit.summary().groupby("outcome", sort=False):
        labels = tuple(zip(own["quantity"], own["level"], strict=True))
        moments = np.column_stack([own["mean"], own["sd"], own["sd"] / 10])
        moved = np.stack([moments * [k, 1, 1] for k in (0.8, 1.1)])
        priors = tuple((ALL, factor) for factor in FACTORS)
        answers.append(PriorRefits(str(name), labels, priors, moments, moved))
    return prior_refits_figure(fit, answers)


def _flow(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.flow_figure import flow_figure

    return flow_figure(fit, fit.manifest[CHARACTERISTICS])


def _multiverse(fit: Fit) -> Figure:
    """Of every choice; the means are made up."""
    from alliance.diagnostics.figures.many_fits_figures import multiverse_figure
    from alliance.diagnostics.multiverse import curves_of
    from alliance.inference.many_fits.multiverse import CHOICES, Multiverse, own_universe

    options = {
        "therapist": ("none", "intercept", "intercept+slope"),
        "covariates": ("adjusted", "unadjusted"),
        "missing_alliance": ("complete_case", "impute"),
        "prior_scale": (0.5, 1.0, 2.0),
        "patients": ("all", "without_small_therapists", "without_extreme_alliance"),
    }
    crossed = pd.MultiIndex.from_product(list(options.values()), names=list(options))
    grid = crossed.to_frame(index=False)
    random, tables = np.random.default_rng(4), []
    summary = fit.summary()
    for name in fit.outcomes:
        own = own_universe(fit.study, name)
        choices = grid.assign(
            **{each: getattr(own, each) for each in CHOICES if each not in grid}, outcome=name
        )
        for row in summary[summary["outcome"] == name].to_dict("records"):
            means = row["mean"] + row["sd"] * random.normal(size=len(grid)) / 3
            tables.append(
                choices.assign(
                    quantity=row["quantity"],
                    level=row["level"],
                    mean=means,
                    lower=means - 2 * row["sd"],
                    upper=means + 2 * row["sd"],
                    verdict="PASS",
                    at=80.0,
                )
            )
    multiverse = Multiverse(fit.study, (), tuple(options), {})
    # One panel of each kind: there are more of them, and no others
    shown = [("moderator_slope", "average"), ("arm_contrast", "MCE-GE"), ("interaction", "MCE-GE")]
    return multiverse_figure(multiverse, curves_of(pd.concat(tables), shown), 0.95)


def _ranks(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.many_fits_figures import rank_figure
    from alliance.inference.many_fits.calibration import Calibration
    from alliance.inference.many_fits.calibration_runs import StudyCalibration

    random, found = np.random.default_rng(4), {}
    for name, own in fit.summary().groupby("outcome", sort=False):
        own = own.drop_duplicates("quantity", keep="last")  # one panel of each kind
        labels = tuple(zip(own["quantity"], own["level"], strict=True))
        shares = random.uniform(size=(40, len(labels)))
        found[str(name)] = Calibration(str(name), labels, shares, shares, shares)
    return rank_figure(fit.study, StudyCalibration(found, {}, dict.fromkeys(found, "instant")))


def _assurance(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.many_fits_figures import assurance_figure
    from alliance.inference.many_fits.assurance import Assumptions, AssuranceQuestion, Criterion

    name = _first(fit)
    question = AssuranceQuestion(
        narrowed(fit.study, outcomes=[name]),
        fit.specs[name],
        (1, 0),
        Assumptions(0.3, 0.5, 0.3, 0.1),
        Criterion(0.975, 0.0),
    )
    sizes = pd.MultiIndex.from_product(
        [(100, 200, 400, 1200), (6, 12, 40), (0.0, 0.2, 0.4)],
        names=["patients", "therapists", "interaction"],
    )
    table = sizes.to_frame(index=False).assign(
        trials=100, convincing=0.6, convincing_error=0.05, mean_width=1.2
    )
    return assurance_figure(question, table)


def _paper(fit: Fit) -> Figure:
    from alliance.diagnostics.figures.paper_figure import paper_figure
    from alliance.inference.paper.paper import Paper
    from alliance.inference.paper.printed import Printed
    from alliance.inference.published.findings import Finding

    findings = tuple(
        Finding(
            outcome=name,
            quantity=quantity,
            level="MCE-GE",
            claim="number",
            estimate=1.2,
            lower=-0.4,
            upper=2.8,
            known_by="assumed",
            source="made for this test",
        )
        for name in fit.outcomes
        for quantity in ("arm_contrast", "interaction")
    )
    return paper_figure(Paper(Printed("published.toml", fit.study.title, findings, fit.study)))


def _trials(fit: Fit) -> Figure:
    """A forest of six trials, one of them with a long name; the numbers are made up."""
    from alliance.diagnostics.figures.trials_figure import trials_figure
    from alliance.inference.trials.views import AVERAGE_TRIAL, NEW_TRIAL

    trials = [AVERAGE_TRIAL, NEW_TRIAL, *(f"trial {k}" for k in range(1, 6)), fit.study.title[:60]]
    random = np.random.default_rng(4)
    shown = fit.summary()
    shown = shown[shown["outcome"] == _first(fit)]  # the command draws one outcome
    shown = shown[shown["quantity"].isin(["arm_contrast", "interaction", "moderator_slope"])]
    tables = []
    for trial in trials:
        moved = shown["mean"] + shown["sd"] * random.normal(size=len(shown))
        patients_of = np.nan if trial in (AVERAGE_TRIAL, NEW_TRIAL) else random.integers(20, 400)
        tables.append(
            shown.assign(
                trial=trial,
                mean=moved,
                lower=moved - 2 * shown["sd"],
                upper=moved + 2 * shown["sd"],
                patients=patients_of,
            )
        )
    return trials_figure(fit, pd.concat(tables, ignore_index=True), interval=0.95)


@cache
def over_time() -> Fit:
    """A trial of three visits, with a few draws."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "study.toml")
        path.write_text(WIDE, encoding="utf-8")
        study = read_study(path)
    few = SamplerProfile("ci", chains=2, draws=50, tune=10)
    return fit_trial(trial_from_frame(study, patients(60)), few, seed=1, engine="instant")


def _course(fit: Fit) -> Figure:
    """Of a trial of two arms with visits, that bears the labels of the case."""
    from alliance.diagnostics.figures.course_figure import course_figure
    from alliance.inference.answers.assumed_courses import course_table, courses

    own = over_time()
    labels = list(fit.study.arms.values())[:2]
    first = fit.study.outcomes[_first(fit)].label
    visits = {
        name: each.model_copy(update={"label": f"{first}, {each.visit}"})
        for name, each in own.study.outcomes.items()
    }
    arms = dict(zip(own.study.arms, labels, strict=True))
    changes = {"arms": arms, "outcomes": visits, "title": fit.study.title}
    own = replace(own, study=own.study.model_copy(update=changes))
    found = courses([own[name] for name in own.outcomes])
    return course_figure(own, found, course_table(found))


FIGURES: Mapping[str, Callable[[Fit], Figure]] = {
    "compare": _compared,
    "contrasts": _contrasts,
    "answers": _answers,
    "effect": _effects("effect"),
    "score": _effects("score"),
    "best": _effects("best"),
    "prediction": _predictions(alliance=[80.0]),
    "predictions": _predictions(alliance=[70.0, 80.0, 90.0]),
    "therapists": _therapists,
    "ppc distribution": _checks("distribution"),
    "ppc therapists": _checks("therapists"),
    "ppc statistics": _checks("statistics"),
    "unseen": _unseen,
    "prior": _prior,
    "loo": _left_out,
    "influence": _influence,
    "power scaling": _power_scaling,
    "loo therapists": _left_out_therapists,
    "loo calibration": _calibration,
    "elpd": _elpd,
    "prior refits": _prior_refits,
    "flow": _flow,
    "multiverse": _multiverse,
    "ranks": _ranks,
    "assurance": _assurance,
    "paper": _paper,
    "trials": _trials,
    "course": _course,
}
"""Figures by name, each of one fit."""
