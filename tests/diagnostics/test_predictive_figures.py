"""Figures of posterior predictive checks: what they show, and that they say what they must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from effect_fits import PAIRS, fit_of
from matplotlib.figure import Figure
from matplotlib.text import Text

from alliance.diagnostics.checks.predictive_checks import PredictiveCheck, predictive_check
from alliance.diagnostics.figures.predictive_figures import (
    FIGURES,
    distribution_figure,
    therapist_means_figure,
)
from alliance.inference.draws.datatree import add_patients
from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_of()


@pytest.fixture(scope="module")
def check(fit: Fit) -> PredictiveCheck:
    return predictive_check(fit["function"], number=100, seed=1)


def words(figure: Figure) -> str:
    found = [str(text.get_text()) for text in figure.findobj(Text)]
    return " ".join(" ".join(found).split())


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_says_what_it_must(kind: str, fit: Fit, check: PredictiveCheck) -> None:
    text = words(FIGURES[kind](fit, [check]))
    number = len(fit.design("function").y)
    assert "SIMULATED DATA" in text
    assert f"Patient-Specific Functional Scale (n = {number}; family Gaussian)" in text
    assert "100 times the same patients" in text
    assert "observed" in text


def test_bars_are_the_observed_counts_and_points_the_replicated_means() -> None:
    fit = fit_of("gpe", family="ordinal")
    check = predictive_check(fit["gpe"], number=100, seed=1)
    panels = distribution_figure(fit, [check]).axes
    assert len(panels) == 1 + len(fit.study.arms)
    patients = fit.patients("gpe")
    for panel, (group, members) in zip(panels, check.pictures.groups.items(), strict=True):
        heights = [bar.get_height() for bar in panel.containers[0]]
        scores = patients["outcome"].values[members]
        assert check.pictures.bars  # whole scores, few enough for a bar each
        middles = (check.pictures.edges[:-1] + check.pictures.edges[1:]) / 2
        assert heights == [np.isclose(scores, middle).sum() for middle in middles], group
        assert check.pictures.replicated(group).sum(axis=1) == pytest.approx(members.sum())
    arms = [members.sum() for group, members in check.pictures.groups.items() if group]
    assert arms == np.bincount(patients["arm_index"].values).tolist()


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_scores_beyond_the_range_are_shaded_where_there_are_any(outcome: str, family: str) -> None:
    fit = fit_of(outcome, family=family)
    check = predictive_check(fit[outcome], number=100, seed=1)
    text = words(distribution_figure(fit, [check]))
    bounded = family not in ("gaussian", "student_t")
    assert ("outside the range" in text) != bounded
    if bounded:
        low, high = fit.study.outcomes[outcome].range
        assert len(check.pictures.edges) == high - low + 2


def test_therapists_means_are_those_observed(fit: Fit, check: PredictiveCheck) -> None:
    design, scores = fit.design("function"), fit.patients("function")["outcome"].values
    for k, name in enumerate(check.pictures.therapists):
        own = design.therapist_index == design.therapists.index(name)
        assert check.pictures.observed_means[k] == pytest.approx(scores[own].mean())
        assert check.pictures.patients[k] == own.sum()
    figure = therapist_means_figure(fit, [check])
    assert "with new therapists" in words(figure)
    assert len(figure.axes) == 2
    plain = fit_of(therapist="none")
    alone = therapist_means_figure(plain, [predictive_check(plain["function"], number=9, seed=1)])
    assert "with new therapists" not in words(alone)
    assert len(alone.axes) == 1


def test_the_mean_of_one_or_two_patients_is_shown_to_nobody() -> None:
    fit = fit_of()
    patients = fit.patients("function")
    index = patients["therapist_index"].values.copy()
    last, first = np.flatnonzero(index == index.max()), 0
    index[last[2:]] = first  # two remain
    patients["therapist_index"] = ("patient", index)
    add_patients(fit.trees["function"], patients)
    fit = replace(fit)  # whose design is built from these patients
    check = predictive_check(fit["function"], number=20, seed=1)
    assert len(check.pictures.therapists) == len(fit.design("function").therapists) - 1
    text = words(therapist_means_figure(fit, [check]))
    assert fit.design("function").therapists[-1] not in text
    assert "fewer than 3 patients are left out" in text


def test_scores_without_steps_are_binned() -> None:
    scores = np.random.default_rng(1).normal(15, 5, 90)
    fit = fit_of(therapist="none")
    patients = fit.patients("function")
    patients["outcome"] = ("patient", scores[: patients.sizes["patient"]])
    add_patients(fit.trees["function"], patients)
    fit = replace(fit)  # whose design is built from these patients
    check = predictive_check(fit["function"], number=50, seed=1)
    assert not check.pictures.bars
    assert np.isclose(check.pictures.edges, 3).any()  # no bin on both sides of the range's end
    assert check.pictures.observed[""].sum() == patients.sizes["patient"]
    assert "patients in each bin" in words(distribution_figure(fit, [check]))
