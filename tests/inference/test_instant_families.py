"""The instant engine in families without a closed form: draws, checks, refusals and fallbacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_families import family_design, made_posterior
from made_draws import NoSampler

import alliance.inference.sampling.instant_families as families
from alliance.diagnostics.gate.gate import check_importance
from alliance.diagnostics.verdicts import THRESHOLDS, Verdict
from alliance.inference.draws.datatree import draws_of, engine_facts
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits.calibration import CalibrationQuestion, calibrate
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.engines import default_engine, fit_outcome
from alliance.inference.sampling.importance import (
    GOOD_K,
    UnreliableIntegralError,
    UnreliableWeightsError,
    slopes_at,
)
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.nesting import Nesting
from alliance.models.priors import Priors

PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=200, tune=200)
NUMERIC = ["student_t", "ordinal", "beta_binomial", "binary", "count"]


@pytest.mark.parametrize("family", NUMERIC)
@pytest.mark.parametrize(
    "options",
    [{}, {"therapist": "intercept"}, {"therapist": "none"}, {"interaction": False}],
    ids=["slopes", "intercepts", "none", "one slope"],
)
def test_draws_bear_the_names_and_shapes_of_the_samplers(
    family: str, options: dict[str, Any]
) -> None:
    design = family_design(family, patients=40, **options)
    tree, _ = instant_outcome(design, PRIORS, SHORT, 1)
    own, other = draws_of(tree), made_posterior(design)
    named = set(other.data_vars)
    if design.effects:
        named |= {"therapist_effect"}
    if "slope" in design.effects:
        named |= {"therapist_correlation"}
    assert set(own.data_vars) == named
    for name in other.data_vars:
        assert own[name].dims == other[name].dims
        assert own[name].sizes == {**other[name].sizes, "chain": 2, "draw": 200}
        assert np.isfinite(own[name].values).all()
    assert list(own["coefficient"].values) == list(other["coefficient"].values)
    if design.effects:
        assert own["therapist_effect"].dims == ("chain", "draw", "therapist", "effect")
        assert np.isfinite(own["therapist_effect"].values).all()
    facts = engine_facts(tree)
    assert facts["engine"] == "instant"
    assert facts["pareto_k"] <= GOOD_K
    assert facts["effective_draws"] > 100  # of 400 that are kept, from 800 proposals
    assert default_engine(design) == "instant"


def test_arms_of_therapists_and_residual_groups_are_fitted() -> None:
    by_arm = family_design("binary", therapist="intercept", therapist_by_arm=True, patients=40)
    drawn = draws_of(instant_outcome(by_arm, PRIORS, SHORT, 1)[0])
    assert (drawn["therapist_arm_sd"].values > 0).all()
    assert drawn.sizes["effect"] == 3
    plain = family_design("student_t", therapist="intercept")
    groups = replace(plain, nesting=Nesting(groups=(0, 1, 2)))
    drawn = draws_of(instant_outcome(groups, PRIORS, SHORT, 1)[0])
    assert drawn["residual_sd"].dims == ("chain", "draw", "residual_group")
    # 60 patients in three groups: SDs known to about a sixth
    assert drawn["residual_sd"].std(("chain", "draw")).max() < 0.3


def test_patients_without_therapists_have_no_effect() -> None:
    """The arm without: its patients stand beside all therapists."""
    plain = family_design("count", therapist="intercept")
    index = np.where(plain.arm_index == 1, len(plain.therapists), plain.therapist_index)
    design = replace(plain, nesting=Nesting(frozenset({1}), (0, 1, 0)), therapist_index=index)
    drawn = draws_of(instant_outcome(design, PRIORS, SHORT, 1)[0])
    assert drawn.sizes["therapist"] == len(plain.therapists)
    assert np.isfinite(drawn["therapist_effect"].values).all()


def test_the_same_seed_gives_the_same_draws_and_another_does_not() -> None:
    design = family_design("ordinal", patients=40)
    first, again, other = (
        draws_of(instant_outcome(design, PRIORS, SHORT, seed)[0]) for seed in (1, 1, 2)
    )
    assert first.identical(again)
    assert not np.array_equal(first["beta"].values, other["beta"].values)
    assert not np.array_equal(first["beta"].values[0], first["beta"].values[1])


def test_many_degrees_of_freedom_are_the_exact_gaussian_model() -> None:
    """Numerical integration and a normal proposal against closed forms."""
    profile = SamplerProfile("standard", chains=4, draws=1_000, tune=0)
    normal = replace(PRIORS, degrees_of_freedom=1e7)
    student = family_design("student_t")
    student = replace(student, fixed={"degrees_of_freedom": 1e7})
    found = {}
    for name, design, priors in (
        ("exact", family_design("gaussian"), PRIORS),
        ("numeric", student, normal),
    ):
        tree, _ = instant_outcome(design, priors, profile, 2)
        draws = estimand_draws(Posterior(design, draws_of(tree))).transpose("estimand", ...)
        draws = draws[draws["quantity"].values != "residual_scale"]  # of Student-t outcomes
        values = draws.values.reshape(len(draws), -1)
        found[name] = values, draws, float(tree["sample_stats"].attrs["effective_draws"])
    values, labels, effective = found["exact"]
    others, other_labels, other_effective = found["numeric"]
    assert list(labels["quantity"].values) == list(other_labels["quantity"].values)
    error = values.std(axis=1) * np.sqrt(
        1 / min(effective, 4_000) + 1 / min(other_effective, 4_000)
    )
    # 4 errors of 15 to 20 quantities; SDs of 2,500 effective draws are known to 1.4% or, of
    # skewed ones, twice that
    assert (np.abs(values.mean(axis=1) - others.mean(axis=1)) < 4 * error).all()
    np.testing.assert_allclose(others.std(axis=1), values.std(axis=1), rtol=0.1)


def test_posteriors_are_calibrated_and_wrong_priors_are_found() -> None:
    """60 trials without therapists; a slope's prior a tenth as wide in the model fails at once."""
    design = family_design("binary", therapist="none", patients=40)
    question = CalibrationQuestion(design, PRIORS, SHORT, seed=3, engine="instant")
    assert calibrate(question, 60).passed
    tight = replace(PRIORS, arm=PRIORS.arm / 10)
    wrong = calibrate(replace(question, fitted=tight), 60)
    assert not wrong.passed
    assert "arm_contrast" in {wrong.labels[k][0] for k in np.flatnonzero(wrong.adjusted < 0.01)}


def test_the_gate_tells_of_the_integral() -> None:
    design = family_design("binary", patients=40)
    tree, _ = instant_outcome(design, PRIORS, replace(SHORT, draws=500), 1)
    (result,) = check_importance(tree["sample_stats"].dataset, "score", THRESHOLDS["ci"].ess_bulk)
    assert result.verdict is Verdict.PASS
    assert "nodes an axis" in result.message


def test_nuts_takes_over_where_weights_are_unreliable(monkeypatch: pytest.MonkeyPatch) -> None:
    NoSampler().install(monkeypatch)
    monkeypatch.setattr(families, "GOOD_K", -10.0)
    design, profile = family_design("binary", therapist="intercept"), replace(SHORT, draws=100)
    with pytest.raises(UnreliableWeightsError) as raised:
        instant_outcome(design, PRIORS, profile, 1)
    facts = engine_facts(fit_outcome(design, PRIORS, profile, 1, engine="instant")[0])
    assert facts["engine"] == "nuts"
    assert facts["instant_pareto_k"] == pytest.approx(raised.value.pareto_k)


def test_nuts_takes_over_where_the_integral_is_unreliable(monkeypatch: pytest.MonkeyPatch) -> None:
    NoSampler().install(monkeypatch)
    monkeypatch.setattr(families, "CLOSE_ENOUGH", 0.0)
    monkeypatch.setattr(families, "MOST_NODES", 50)
    design, profile = family_design("binary"), replace(SHORT, draws=100)
    with pytest.raises(UnreliableIntegralError) as raised:
        instant_outcome(design, PRIORS, profile, 1)
    assert 0 < raised.value.error < 0.1
    facts = engine_facts(fit_outcome(design, PRIORS, profile, 1, engine="instant")[0])
    assert facts["engine"] == "nuts"
    assert facts["instant_integration_error"] == pytest.approx(raised.value.error)


def test_slopes_of_a_quadratic_are_exact() -> None:
    bend = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.3], [0.1, -0.3, 3.0]])
    level, at = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
    gradient, curvature = slopes_at(
        lambda x: x @ level - 0.5 * np.einsum("di,ij,dj->d", x, bend, x), at
    )
    np.testing.assert_allclose(gradient, level - bend @ at, atol=1e-8)
    np.testing.assert_allclose(curvature, bend, atol=1e-8)
