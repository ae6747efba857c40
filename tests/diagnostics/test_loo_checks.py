"""Leave-one-out checks and figures: verdicts, what to do, and what the figures show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from effect_fits import fit_of
from matplotlib.figure import Figure
from matplotlib.text import Text
from prediction_examples import therapist_posterior

from alliance.data_prep.errors import InputError
from alliance.diagnostics.checks.loo_checks import (
    LooCheck,
    _calibration,
    _pareto_k,
    check_loo,
    loo_check,
)
from alliance.diagnostics.figures.loo_figures import (
    calibration_figure,
    elpd_figure,
    loo_figure,
    pareto_k_figure,
)
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo
from alliance.inference.leaving_out.therapists import leave_therapist_out
from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="module")
def fit() -> Fit:
    made = fit_of("function", lambda design: therapist_posterior(design, draws=30))
    return replace(made, manifest=made.manifest | {"seed": 3})


@pytest.fixture(scope="module")
def found(fit: Fit) -> LooCheck:
    return loo_check(fit["function"])


def words(figure: Figure) -> str:
    texts = [str(text.get_text()) for text in figure.findobj(Text)]
    return " ".join(" ".join(texts).split())


def test_the_gate_gets_two_checks_that_never_fail(fit: Fit, found: LooCheck) -> None:
    results = check_loo(fit["function"])
    assert [result.check for result in results] == ["pareto_k", "loo_pit"]
    assert results == found.results
    table = found.table
    assert list(table["check"]) == ["pareto_k", "loo_pit"]
    for result in results:
        assert result.verdict in (Verdict.PASS, Verdict.REVIEW)
        assert result.fail is None
        assert bool(result.recommendation) == (result.verdict is Verdict.REVIEW)


def test_high_pareto_k_names_patients_by_position(fit: Fit, found: LooCheck) -> None:
    n = len(found.left_out.units)
    k = np.full(n, 0.2)
    fine = _pareto_k(fit["function"], replace(found.left_out, pareto_k=k, good_k=0.7))
    assert (fine.verdict, fine.value, fine.recommendation) == (Verdict.PASS, 0.0, "")
    k[[4, 9]] = 0.8, 0.9
    high = _pareto_k(fit["function"], replace(found.left_out, pareto_k=k, good_k=0.7))
    assert (high.verdict, high.value, high.review) == (Verdict.REVIEW, 2.0, n // 100)
    assert f"over 0.7 for 2 of {n} patients (by position 10, 5)" in high.message
    assert f"largest Pareto k 0.90, of patient 10 of {n}" in high.message
    assert "student_t" in high.recommendation
    k[:] = 0.8
    many = _pareto_k(fit["function"], replace(found.left_out, pareto_k=k, good_k=0.7))
    assert f"and {n - 5} more" in many.message
    k[3] = np.nan  # a tail that could not be estimated is no good one
    missing = _pareto_k(fit["function"], replace(found.left_out, pareto_k=k, good_k=0.7))
    assert missing.value == n


@pytest.mark.parametrize(
    ("spread", "shift", "told"),
    [(1.0, 0.0, ""), (0.5, 0.0, "too wide"), (1.0, 0.15, "to one side")],
)
def test_calibration_says_how_it_is_off(
    fit: Fit, found: LooCheck, spread: float, shift: float, told: str
) -> None:
    from arviz_stats.base import array_stats

    even = (np.arange(170) + 0.5) / 170
    values = np.clip(0.5 + spread * (even - 0.5) + shift, 0.001, 0.999)
    p_value, *_ = array_stats.uniformity_test(values)
    result = _calibration(
        fit["function"], replace(found.pit, values=values, p_value=float(p_value))
    )
    assert (result.verdict is Verdict.REVIEW) == bool(told)
    assert told in result.recommendation


def test_too_narrow_predictions_put_outcomes_at_the_ends(fit: Fit, found: LooCheck) -> None:
    ends = np.random.default_rng(1).beta(0.4, 0.4, 170)
    result = _calibration(fit["function"], replace(found.pit, values=ends, p_value=1e-9))
    assert "too narrow" in result.recommendation


def test_one_in_a_hundred_passes_unless_its_weights_have_no_mean(fit: Fit, found: LooCheck) -> None:
    k = np.full(200, 0.2)
    k[[7, 8]] = 0.8, 0.9
    many = replace(
        found.left_out,
        units=tuple(map(str, range(1, 201))),
        refitted=np.zeros(200, dtype=bool),
        pareto_k=k,
        good_k=0.7,
    )
    two = _pareto_k(fit["function"], many)  # 1% of 200
    assert (two.verdict, two.value, two.review) == (Verdict.PASS, 2.0, 2.0)
    assert "for 2 of 200 patients" in two.message
    k[9] = 0.8
    assert _pareto_k(fit["function"], many).verdict is Verdict.REVIEW
    k[[7, 8, 9]] = 0.2, 0.2, 1.1
    assert _pareto_k(fit["function"], many).verdict is Verdict.REVIEW


def test_a_latent_alliance_is_advised_to_go_by_therapist(found: LooCheck) -> None:
    from alliance.models.spec import ModeratorSpec

    latent = fit_of(
        "function",
        lambda design: therapist_posterior(design, draws=30),
        moderator=ModeratorSpec(reliability=0.7),
    )
    high = replace(found.left_out, pareto_k=np.full(len(found.left_out.units), 0.9), good_k=0.7)
    assert 'leave_out("therapist")' in _pareto_k(latent["function"], high).recommendation


def test_of_a_joint_model_the_checks_say_why_there_is_nothing(fit: Fit) -> None:
    joint = replace(fit, shared=xr.DataTree())
    results = check_loo(joint["function"])
    assert [result.value for result in results] == [None, None]
    assert all("Not available for a joint model" in result.message for result in results)
    with pytest.raises(InputError, match="no outcome"):
        check_loo(joint["nothing"])


def test_figures_say_what_they_must(fit: Fit, found: LooCheck) -> None:
    by_therapist = leave_therapist_out(fit["function"], refits="none")
    other = fit_of("function", lambda design: therapist_posterior(design, 8, draws=30))
    comparison = compare_loo(
        {name: each["function"] for name, each in {"one": fit, "other": other}.items()}
    )
    figures = {
        "patients": loo_figure(fit, [found]),
        "therapists": pareto_k_figure(fit, [by_therapist]),
        "calibration": calibration_figure(fit, [found.pit]),
        "differences": elpd_figure(fit, [comparison]),
    }
    for figure in figures.values():
        text = words(figure)
        assert "SIMULATED DATA" in text
        assert "Patient-Specific Functional Scale" in text
        assert f"n = {len(found.left_out.units)}" in text
    assert "patient, by position" in words(figures["patients"])
    assert "95%" in words(figures["calibration"])
    therapists = words(figures["therapists"])
    assert all(unit in therapists for unit in by_therapist.units)
    assert "5 therapists" in therapists
    assert "one" in words(figures["differences"])


def test_the_points_drawn_are_the_values(fit: Fit, found: LooCheck) -> None:
    panel = loo_figure(fit, [found]).axes[0]
    drawn = np.concatenate([line.get_ydata() for line in panel.lines[1:3]])
    np.testing.assert_allclose(np.sort(drawn), np.sort(found.left_out.pareto_k))
