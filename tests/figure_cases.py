"""Every figure of a fit, of trials whose texts are hard to find room for; no draw is sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import xarray as xr
from matplotlib.figure import Figure
from prediction_examples import therapist_posterior

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.draws.datatree import add_patients
from alliance.inference.runs.fit import Fit
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
    trial = trial_from_frame(study, made.frame, "trial.csv")
    trees, specs = {}, {}
    for outcome in study.outcomes:
        tree = xr.DataTree()
        add_patients(tree, trial.analysed(outcome))
        trees[outcome], specs[outcome] = tree, ModelSpec(outcome)
    fit = Fit(study, specs, trees, trial.flow, {"profile": {"name": "ci"}, "seed": 0})
    for outcome, tree in trees.items():
        made_up = therapist_posterior(fit.design(outcome), draws=30)
        tree["posterior"] = xr.DataTree(made_up.assign(beta=0.3 * made_up["beta"]))
    return fit


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
}
"""Figures by name, each of one fit."""
