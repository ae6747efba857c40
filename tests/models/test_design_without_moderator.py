"""Designs of arms without a moderator, and of trials without one, written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from trials_without import OUTCOME, a_frame, a_study

from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.estimands.estimands import linear_estimands
from alliance.models.design.design import Design, build_design, moments_design
from alliance.models.design.encoding import Encoding
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, specify

WAITING, PLAIN = a_study(), a_study(rated=None)
ONE = a_study(arms=("WL", "CBT"), rated=("CBT",))


def spec_of(study: Study) -> ModelSpec:
    return specify(study)[OUTCOME]


def design_of(study: Study, family: str = "gaussian") -> Design:
    frame = a_frame(arms=tuple(study.arms), rated=study.rated_arms, whole=family != "gaussian")
    trial = trial_from_frame(study, frame)
    return build_design(
        trial.analysed(OUTCOME), replace(spec_of(study), family=family), (0.0, 63.0)
    )


def test_columns_of_an_arm_without_a_moderator_are_zero() -> None:
    """The alliance less its mean over those who have one; the interaction half its difference.

    Two arms have a slope: the sum-to-zero basis of two is (-1, 1) / sqrt(2), up to its sign.
    """
    design, frame = design_of(WAITING), a_frame()
    rated = frame["wai"].notna().to_numpy()
    alliance = frame["wai"].fillna(0).to_numpy()
    centre, sd = alliance[rated].mean(), alliance[rated].std(ddof=1)
    expected = np.where(rated, (alliance - centre) / sd, 0.0)
    at = design.coefficients.index
    np.testing.assert_allclose(design.X[:, at("moderator")], expected, atol=1e-12)
    side = np.select([frame["arm"] == "CBT", frame["arm"] == "IPT"], [1.0, -1.0], 0.0)
    np.testing.assert_allclose(
        design.X[:, at("interaction[1]")], side * expected / np.sqrt(2), atol=1e-12
    )
    assert design.coefficients.count("interaction[2]") == 0
    assert not design.moderator_missing.any()  # nobody lacks what the arm cannot have
    np.testing.assert_array_equal(design.can_have_moderator, rated)
    np.testing.assert_array_equal(design.arm_index, frame["arm"].map(list(WAITING.arms).index))


def test_one_arm_with_a_moderator_has_a_slope_and_no_interaction() -> None:
    design = design_of(ONE)
    assert [name for name in design.coefficients if "interaction" in name] == []
    assert "moderator" in [design.coefficients[k] for k in design.present]


def test_a_plain_design_has_no_slope_in_its_model() -> None:
    design = design_of(PLAIN)
    kept = [design.coefficients[k] for k in design.present]
    assert kept == ["intercept", "baseline", "arm[1]", "arm[2]", "covariate[age]"]
    assert not design.X[:, design.coefficients.index("moderator")].any()
    assert not design.has_moderator
    names = [quantity for quantity, _ in linear_estimands(design).labels]
    assert "moderator_slope" not in names
    assert "interaction" not in names
    for family in ("gaussian", "beta_binomial"):
        model = patient_level_model(design_of(PLAIN, family), Priors())
        assert "moderator" not in model.coords["coefficient"]


@pytest.mark.parametrize("study", [WAITING, PLAIN, ONE])
def test_an_encoding_is_kept_whole(study: Study) -> None:
    encoding = design_of(study).encoding
    again = Encoding.from_dict(encoding.to_dict())
    assert again == encoding
    assert spec_of(study) == ModelSpec.from_dict(spec_of(study).to_dict())


def test_an_earlier_run_has_a_moderator_in_every_arm() -> None:
    """A manifest of before says nothing of arms."""
    kept = design_of(a_study(arms=("CBT", "IPT"), rated=("CBT", "IPT"))).encoding.to_dict()
    del kept["without_moderator"]
    assert Encoding.from_dict(kept).moderated == (0, 1)
    spec = spec_of(WAITING).to_dict()
    del spec["moderator"]["arms"]
    assert ModelSpec.from_dict(spec).moderator.arms is None


def dense_mean(design: Design, beta: np.ndarray) -> np.ndarray:
    """Expected scores in points, from the reported quantities and the patients' own values."""
    linear = linear_estimands(design)
    values = linear.drawn(beta[None], np.zeros(1))[:, 0]
    told = dict(zip(linear.labels, values.tolist(), strict=True))
    arms = design.arms
    frame = a_frame(arms=arms, rated=[arms[k] for k in design.encoding.moderated])
    contrast = {
        (a, b): told.get(("arm_contrast", f"{a}-{b}"), -told.get(("arm_contrast", f"{b}-{a}"), 0.0))
        for a in arms
        for b in arms
    }
    effect = {a: np.mean([contrast[a, b] if a != b else 0.0 for b in arms]) for a in arms}
    slope = {a: told.get(("moderator_slope", a)) for a in arms}
    average = told.get(("moderator_slope", "average"), 0.0)
    alliance = frame["wai"] - frame["wai"].mean()
    mean = told["intercept", ""] + frame["arm"].map(effect)
    mean += told["baseline_slope", ""] * (frame["mood_0"] - frame["mood_0"].mean())
    mean += told["covariate_slope", "age"] * (frame["age"] - frame["age"].mean())
    own = frame["arm"].map(lambda arm: average if slope[arm] is None else slope[arm])
    return (mean + (own * alliance).fillna(0.0)).to_numpy(dtype=float)


@pytest.mark.parametrize("study", [WAITING, PLAIN, ONE])
def test_the_likelihood_is_that_of_the_dense_normal(study: Study) -> None:
    """To 1e-8, with means and covariance of all scores written down from the raw table."""
    design = design_of(study)
    model = exact_gaussian_model(design, Priors())
    (likelihood,) = model.replace_rvs_by_values([model["log_likelihood_sum"]])
    compute = model.compile_fn(likelihood, mode="FAST_COMPILE")
    generator = np.random.default_rng(3)
    mean_y, sd_y = design.scaling.outcome
    frame = a_frame(arms=design.arms, rated=study.rated_arms)
    alliance = ((frame["wai"] - frame["wai"].mean()) / frame["wai"].std()).fillna(0.0).to_numpy()
    same = (frame["therapist"].to_numpy()[:, None] == frame["therapist"].to_numpy()).astype(float)
    scores = (frame["mood_12"].to_numpy() - mean_y) / sd_y
    for _ in range(3):
        beta = 0.4 * generator.standard_normal(len(design.coefficients))
        beta[[k for k in range(len(beta)) if k not in design.present]] = 0.0
        residual, sd_u, sd_v = 0.3 + 0.5 * generator.random(3)
        rho = generator.uniform(-0.9, 0.9)
        cross = np.add.outer(alliance, alliance)
        between = sd_u**2 + 0 * cross
        point = {
            "beta": beta,
            "residual_sd_log__": np.log(residual),
            "therapist_sd_log__": np.log(sd_u),
        }
        if "slope" in design.effects:
            between = sd_u**2 + rho * sd_u * sd_v * cross + sd_v**2 * np.outer(alliance, alliance)
            point |= {
                "therapist_slope_sd_log__": np.log(sd_v),
                "therapist_correlation_interval__": np.log((1 + rho) / (1 - rho)),
            }
        covariance = same * between + residual**2 * np.eye(len(scores))
        location = (dense_mean(design, beta) - mean_y) / sd_y
        expected = stats.multivariate_normal(location, covariance).logpdf(scores)
        assert float(compute(point)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("study", [WAITING, PLAIN, ONE])
def test_cross_products_of_many_files_are_those_of_the_rows(study: Study, tmp_path) -> None:
    pytest.importorskip("dask")
    frame = a_frame(arms=tuple(study.arms), rated=study.rated_arms)
    for k, part in frame.groupby(np.arange(len(frame)) % 3):
        part.to_csv(tmp_path / f"part{k}.csv", index=False)
    registry = load_registry(study, tmp_path)
    found = moments_design(
        registry.moments[OUTCOME], spec_of(study), list(study.arms), registry.covariates
    )
    design = design_of(study)
    assert found.coefficients == design.coefficients
    assert found.therapists == design.therapists
    np.testing.assert_allclose(
        found.moments.cross_products, design.moments.cross_products, atol=1e-9
    )
    for name in ("outcome", "moderator", "baseline"):
        np.testing.assert_allclose(
            getattr(found.scaling, name), getattr(design.scaling, name), rtol=1e-12
        )
