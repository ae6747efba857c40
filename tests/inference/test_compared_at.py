"""Where the arms are compared: the mean of all analysed patients, or the alliance that is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import xarray as xr
from example_designs import example_design, example_patients
from prediction_examples import example_fit, posterior_of

from alliance.data_prep.errors import InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.answers.averages import average
from alliance.inference.answers.effects import effects_along
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.compared_at import (
    mean_alliance,
    place_in_words,
    standard_alliance,
)
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.many_fits.calibration import simulated_trial
from alliance.inference.patients.asked_patients import patient_grid, trial_patients
from alliance.inference.posterior import Posterior
from alliance.inference.published.comparison import compare
from alliance.inference.published.refits import refit
from alliance.inference.runs.choices import runs_beside
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_registry, fit_trial
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.profiles import find_profile
from alliance.models.design.design import build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

LATENT: dict[str, dict[str, Any]] = {
    "imputed": {"missing_alliance": "impute"},
    "behind ratings": {"reliability": True},
    "above a ceiling": {"ceiling": True},
}


def drawn(estimands: xr.DataArray, quantity: str) -> np.ndarray:
    """Draws (d, levels) of one quantity, chain after chain."""
    own = estimands.isel(estimand=np.flatnonzero(estimands["quantity"].values == quantity))
    return own.transpose("chain", "draw", "estimand").values.reshape(-1, own.sizes["estimand"])


def averaged(fit: Fit, outcome: str, **asked: Any) -> np.ndarray:
    """Draws (d, K) of expected scores by arm, patients averaged one by one, average therapist."""
    patients = trial_patients(fit[outcome], **asked)
    found = average(fit[outcome], patients, therapist="average").draws["expected"]
    return found.values.reshape(-1, found.sizes["row"])


def contrasts(scores: np.ndarray) -> np.ndarray:
    """All pairs, later arm minus earlier, in the order of the tidy table."""
    return np.stack([scores[:, k] - scores[:, j] for j, k in ((0, 1), (0, 2), (1, 2))], axis=1)


@pytest.mark.parametrize("latent", [*LATENT, "none"])
def test_contrasts_and_intercept_average_over_all_analysed_patients(latent: str) -> None:
    """Every draw of `summary` is the one that averaging over the trial's patients gives.

    The made-up latent ratings are far from the rated patients' mean, so that a contrast at the
    latter would be another number.
    """
    fit = example_fit("published", **LATENT.get(latent, {}))
    for outcome in fit.outcomes:
        scores, estimands = averaged(fit, outcome), fit.estimands(outcome)
        np.testing.assert_allclose(
            drawn(estimands, "arm_contrast"), contrasts(scores), rtol=1e-8, atol=1e-9
        )
        np.testing.assert_allclose(
            drawn(estimands, "intercept")[:, 0], scores.mean(axis=1), rtol=1e-9
        )
        if latent != "none":
            at_rated = fit.estimands(outcome, at=fit.design(outcome).scaling.moderator[0])
            gap = drawn(estimands, "arm_contrast") - drawn(at_rated, "arm_contrast")
            assert np.abs(gap).max() > 0.01


@pytest.mark.parametrize("likelihood", ["published", "native"])
def test_a_named_alliance_is_that_of_the_effect_curves(likelihood: str) -> None:
    """Straight or curved: what `effects` answers at this alliance, with an average therapist."""
    fit = example_fit(likelihood, missing_alliance="impute")
    for outcome in fit.outcomes:
        curves = effects_along(fit[outcome], values=[85.0]).curves
        place = int(np.flatnonzero(curves.moderator == 85.0)[0])
        found = fit.estimands(outcome, at=85.0)
        np.testing.assert_allclose(
            drawn(found, "arm_contrast"), contrasts(curves.expected[:, :, place]), atol=1e-6
        )
        own = averaged(fit, outcome, alliance=[85.0])
        np.testing.assert_allclose(drawn(found, "intercept")[:, 0], own.mean(axis=1), rtol=1e-9)


def test_a_curved_link_averages_over_the_patients_at_their_own_alliance() -> None:
    fit = example_fit("native", missing_alliance="impute")
    table = fit.summary()
    # No one alliance in any row, but where one patient is compared with an equal one
    one_patient = table["quantity"] == "odds_ratio_conditional"
    assert (table["at"].isna() == ~one_patient).all()
    for outcome in fit.outcomes:
        scores = averaged(fit, outcome)
        np.testing.assert_allclose(
            drawn(fit.estimands(outcome), "arm_contrast"), contrasts(scores), atol=1e-9
        )
    assert fit.summary(at=80)["at"].eq(80).all()
    words = place_in_words(fit["gpe"])
    assert words.startswith("averaged over the analysed patients, each with their own alliance")
    assert "average therapist" in words
    assert "each with alliance 80" in place_in_words(fit["gpe"], 80)


def test_the_table_says_where() -> None:
    fit = example_fit("published", missing_alliance="impute")
    table = fit.summary().set_index(["outcome", "quantity"])["at"]
    place = mean_alliance(fit["gpe"])
    for quantity in ("intercept", "arm_contrast", "therapist_sd", "therapist_icc"):
        np.testing.assert_allclose(table.loc[[("gpe", quantity)]], place)
    for quantity in ("moderator_slope", "interaction", "residual_sd", "therapist_slope_sd"):
        assert table.loc[[("gpe", quantity)]].isna().all()
    design, draws = fit.design("gpe"), draws_of(fit.trees["gpe"])
    rated = design.X[~design.moderator_missing, design.coefficients.index("moderator")]
    latent = draws["moderator_latent"].mean(("chain", "draw")).values
    mean, sd = design.scaling.moderator
    assert place == pytest.approx(mean + sd * (rated.sum() + latent.sum()) / len(design.y))
    missing = int(design.moderator_missing.sum())
    assert f"alliance {place:.4g}, the mean of the analysed patients ({missing} imputed)" in (
        place_in_words(fit["gpe"])
    )


def test_the_mean_of_rated_patients_is_left_exactly_alone() -> None:
    """Without latent ratings no digit moves: the mean is zero but for rounding."""
    fit = example_fit("published")
    design, draws = fit.design("gpe"), draws_of(fit.trees["gpe"])
    assert not standard_alliance(Posterior(design, draws)).any()
    assert (mean_alliance(fit["gpe"])) == design.scaling.moderator[0]


def test_outcomes_of_a_joint_scale_have_their_own_patients_mean() -> None:
    """A joint model standardises with all patients; each outcome's own ones are averaged."""
    patients = example_patients(patients=60)
    spec = ModelSpec("example")
    design = build_design(patients, spec, None, (75.0, 10.0))
    draws = posterior_of(design, 1, 2, {"beta": {"arm[1]": 0.3, "interaction[1]": 0.2}})
    found = standard_alliance(Posterior(design, draws))
    np.testing.assert_allclose(found, (patients["moderator"].values.mean() - 75) / 10)


def test_the_spread_between_therapists_belongs_to_the_alliance_too() -> None:
    """sd_u^2 + 2 rho sd_u sd_v a + sd_v^2 a^2, the variance of u + a v."""
    fit = example_fit("published")
    draws, scaling = draws_of(fit.trees["gpe"]), fit.design("gpe").scaling
    at = 96.0
    a = (at - scaling.moderator[0]) / scaling.moderator[1]
    u, v, rho = (
        draws[f"therapist_{name}"].values.ravel() for name in ("sd", "slope_sd", "correlation")
    )
    variance = u**2 + 2 * rho * u * v * a + v**2 * a**2
    found = fit.estimands("gpe", at=at)
    np.testing.assert_allclose(
        drawn(found, "therapist_sd")[:, 0], scaling.outcome[1] * np.sqrt(variance)
    )
    residual = draws["residual_sd"].values.ravel() ** 2
    np.testing.assert_allclose(
        drawn(found, "therapist_icc")[:, 0], variance / (variance + residual)
    )


def test_priors_follow() -> None:
    """The prior of a contrast at a: the arms' part and a times the interaction's, independent."""
    fit = example_fit("published")
    scaling, priors = fit.design("gpe").scaling, Priors()
    at = 100.0
    a = (at - scaling.moderator[0]) / scaling.moderator[1]
    table = fit.priors(at=at).set_index(["outcome", "quantity", "level"])["scale"]
    # Two arms on an orthonormal basis that sums to zero differ by sqrt(2) of the scale.
    contrast = scaling.outcome[1] * np.sqrt(2 * (priors.arm**2 + a**2 * priors.interaction**2))
    assert table["gpe", "arm_contrast", "SMT-GE"] == pytest.approx(contrast)
    intercept = scaling.outcome[1] * np.hypot(priors.intercept, a * priors.moderator_slope)
    assert table["gpe", "intercept", ""] == pytest.approx(intercept)
    spread = scaling.outcome[1] * np.hypot(priors.therapist_sd, a * priors.therapist_slope_sd)
    assert table["gpe", "therapist_sd", ""] == pytest.approx(spread)
    others = ("moderator_slope", "interaction", "therapist_slope_sd", "residual_sd")
    plain = fit.priors().set_index(["outcome", "quantity", "level"])["scale"]
    for quantity in others:
        own = table.index.get_level_values("quantity") == quantity
        assert table[own].equals(plain[own])


class TestRefits:
    def test_ols_is_that_of_the_formula_with_the_alliance_centred_there(self) -> None:
        """statsmodels' own coefficient of the arm, with its standard error."""
        patients = example_patients(patients=120, therapists=8, baseline=False)
        frame = pd.DataFrame(
            {
                "y": patients["outcome"].values,
                "arm": patients["arm"].values[patients["arm_index"].values],
                "a": patients["moderator"].values - 91.0,
                "age": patients["covariates"].values[:, 0],
                "sex": patients["covariates"].values[:, 1],
            }
        )
        first, second = patients["arm"].values[:2]
        formula = f"y ~ C(arm, Treatment('{first}')) * a + age + sex"
        fitted = smf.ols(formula, frame).fit()
        name = f"C(arm, Treatment('{first}'))[T.{second}]"
        table = refit(example_design(patients, "none"), at=91.0)
        row = table[(table["model"] == "ols") & (table["level"] == f"{second}-{first}")]
        row = row[row["quantity"] == "arm_contrast"].iloc[0]
        assert row["estimate"] == pytest.approx(fitted.params[name])
        assert row["se"] == pytest.approx(fitted.bse[name])
        main = table[(table["model"] == "ols_main") & (table["quantity"] == "arm_contrast")]
        assert len(main) == len(table[table["quantity"] == "arm_contrast"]) / 2

    def test_reml_is_that_of_the_alliance_centred_there(self) -> None:
        """One model, written about another zero: its SD between therapists belongs there."""
        patients = example_patients(patients=400, therapists=16)
        design = example_design(patients)
        sd = design.scaling.moderator[1]
        there = build_design(patients, ModelSpec("example"), None, (95.0, sd))
        one, other = refit(design, at=95.0), refit(there)
        assert one[["model", "quantity", "level"]].equals(other[["model", "quantity", "level"]])
        # Two optimisations of one criterion, which is flat at its top.
        np.testing.assert_allclose(one["estimate"], other["estimate"], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(one["se"], other["se"], rtol=5e-3)

    def test_compare_takes_all_columns_at_one_alliance(self) -> None:
        """Complete cases have another mean; their refits are taken where the posterior is."""
        fit = example_fit("published", missing_alliance="impute")
        table = compare(fit)
        for outcome in fit.outcomes:
            place = mean_alliance(fit[outcome])
            assert place != pytest.approx(fit.linear_design(outcome).scaling.moderator[0], rel=1e-6)
            expected = refit(fit.linear_design(outcome), at=place)
            expected = expected[expected["quantity"] == "arm_contrast"]
            own = table[(table["outcome"] == outcome) & (table["quantity"] == "arm_contrast")]
            for model in ("ols", "ols_main", "reml"):
                wanted = expected.loc[expected["model"] == model, "estimate"]
                np.testing.assert_allclose(own[f"{model}_estimate"], wanted)
            assert own["at"].tolist() == pytest.approx([place] * len(own))
        named = compare(fit, at=70)
        assert named.loc[named["quantity"] == "arm_contrast", "at"].eq(70).all()


@pytest.mark.parametrize("kind", LATENT)
def test_simulated_truth_is_at_the_mean_of_the_true_alliances(kind: str) -> None:
    """What calibration ranks: the true contrast at the mean of the trial's true alliances."""
    fit = example_fit("published", **LATENT[kind])
    design = fit.design("gpe")
    made = simulated_trial(design, Priors(), np.random.default_rng(3))
    truth = estimand_draws(Posterior(made.design, made.draws))
    alliance = made.design.X[:, design.coefficients.index("moderator")].copy()
    latent = made.draws["latent_patient"].values
    alliance[latent] = made.draws["moderator_latent"].values[0, 0]
    beta = dict(zip(made.draws["coefficient"].values, made.draws["beta"].values[0, 0], strict=True))
    # MCE minus GE on the Helmert basis of three arms: -sqrt(2) of the first column.
    expected = -np.sqrt(2) * (beta["arm[1]"] + beta["interaction[1]"] * alliance.mean())
    found = drawn(truth, "arm_contrast")[0, 0]
    assert found == pytest.approx(design.scaling.outcome[1] * expected)


class TestWhereItMayBe:
    def test_outside_the_observed_range_is_refused_or_marked(self) -> None:
        fit = example_fit("published")
        low = float(np.nanmin(fit.patients("gpe")["moderator"].values))
        for ask in (fit.summary, fit.priors, lambda **at: compare(fit, **at)):
            with pytest.raises(InputError, match="lies outside what was observed"):
                ask(at=low - 1)
            ask(at=low - 1, extrapolate=True)
        assert f"(extrapolated: ratings run from {low:g} to" in place_in_words(fit["gpe"], low - 1)

    @pytest.mark.parametrize("at", [500.0, float("nan")])
    def test_off_the_scale_is_refused_in_any_case(self, at: float) -> None:
        fit = example_fit("published")
        with pytest.raises(InputError, match="on its scale"):
            fit.summary(at=at, extrapolate=True)

    def test_runs_side_by_side_say_each_where(self) -> None:
        plain, imputed = example_fit("published"), example_fit(missing_alliance="impute")
        table = runs_beside({"plain": plain, "imputed": imputed})
        own = table[(table["outcome"] == "gpe") & (table["quantity"] == "arm_contrast")]
        assert own["plain_at"].iloc[0] == pytest.approx(mean_alliance(plain["gpe"]))
        assert own["imputed_at"].iloc[0] == pytest.approx(mean_alliance(imputed["gpe"]))
        both = runs_beside({"plain": plain, "imputed": imputed}, at=90)
        own = both[both["quantity"] == "arm_contrast"]
        assert own["plain_at"].eq(90).all()
        assert own["imputed_at"].eq(90).all()

    def test_one_patient_at_the_means_stands_there_too(self) -> None:
        fit = example_fit("published", missing_alliance="impute")
        asked = patient_grid(fit["gpe"])
        assert asked.rows.moderator[0] == pytest.approx(mean_alliance(fit["gpe"]))


def test_the_manifest_says_where(made_fit: Fit, tmp_path: Path) -> None:
    save_fit(made_fit, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert kept["compared_at"] == {
        name: {"mean": mean_alliance(made_fit[name]), "contrasts": "at the mean"}
        for name in made_fit.outcomes
    }
    again = load_fit(tmp_path / "run")
    pd.testing.assert_frame_equal(again.summary(at=90), made_fit.summary(at=90))


def test_a_registry_without_rows_has_its_own_mean(tmp_path: Path) -> None:
    made = simulate_trial(seed=6, patients=120, therapists=8)
    study = narrowed(made.study, outcomes=["pain"])
    made.frame.to_csv(tmp_path / "part.csv", index=False)
    profile = find_profile("ci")
    rowless = fit_registry(load_registry(study, tmp_path), profile, 5, engine="instant")
    fit = fit_trial(trial_from_frame(study, made.frame), profile, 5, engine="instant")
    assert mean_alliance(rowless["pain"]) == pytest.approx(mean_alliance(fit["pain"]))
    one, other = fit.summary(at=95), rowless.summary(at=95)
    np.testing.assert_allclose(one["mean"], other["mean"], rtol=1e-6, atol=1e-6)
    # The range of the ratings is not kept; the scale is.
    rowless.summary(at=17)
    with pytest.raises(InputError, match="on its scale"):
        rowless.summary(at=10)


def trial_with_low_ratings_missing() -> tuple[xr.Dataset, float]:
    """300 patients whose ratings are missing when they are low, and the contrast over them all.

    Arm B is worse than A by 0.5 where the alliance is at its mean, and better by 0.8 for one SD
    more; the alliance goes with the baseline, which is always there.
    """
    random = np.random.default_rng(8)
    count = 300
    arm = random.permutation(count) % 2
    baseline = random.normal(size=count)
    alliance = 0.8 * baseline + 0.6 * random.normal(size=count)
    score = -0.5 * arm + (0.3 + 0.8 * arm) * alliance + 0.5 * random.normal(size=count)
    rating = np.where(random.random(count) < 1 / (1 + np.exp(3 * baseline)), np.nan, alliance)
    patients = xr.Dataset(
        {
            "outcome": ("patient", score),
            "moderator": ("patient", rating),
            "baseline": ("patient", baseline),
            "arm_index": ("patient", arm),
            "therapist_index": ("patient", np.arange(count) % 10),
            "covariates": (("patient", "covariate"), np.empty((count, 0))),
        },
        coords={
            "arm": ["A", "B"],
            "therapist": [f"T{j}" for j in range(10)],
            "covariate": np.array([], dtype=str),
        },
    )
    return patients, float(-0.5 + 0.8 * alliance.mean())


@pytest.mark.mcmc
def test_ratings_missing_when_low_do_not_move_the_contrast() -> None:
    """Recovered within three posterior SDs (0.06 to 0.08), where the rated mean is four away."""
    from alliance.inference.sampling.engines import fit_outcome
    from alliance.models.spec import ModeratorSpec

    patients, truth = trial_with_low_ratings_missing()
    spec = ModelSpec("example", "none", moderator=ModeratorSpec(missing="impute"))
    design = build_design(patients, spec)
    tree, _ = fit_outcome(design, spec.priors, find_profile("ci"), 3)
    draws = drawn(estimand_draws(Posterior(design, draws_of(tree))), "arm_contrast")[:, 0]
    assert abs(draws.mean() - truth) < 3 * draws.std()
    rated = drawn(
        estimand_draws(Posterior(design, draws_of(tree)), at=design.scaling.moderator[0]),
        "arm_contrast",
    )
    assert abs(rated.mean() - truth) > 3 * draws.std()


def test_scaling_is_no_part_of_the_answer() -> None:
    """Another centre and unit of the standardised alliance leaves the contrast at 90 what it is."""
    fit = example_fit("published")
    design, draws = fit.design("gpe"), draws_of(fit.trees["gpe"])
    mean, sd = design.scaling.moderator
    beta = draws["beta"].copy(deep=True)
    names = beta["coefficient"].values.tolist()
    scaling = replace(design.scaling, moderator=(mean - 2 * sd, sd))
    moved = replace(design, encoding=replace(design.encoding, scaling=scaling))
    for slope, level in (
        ("moderator", "intercept"),
        ("interaction[1]", "arm[1]"),
        ("interaction[2]", "arm[2]"),
    ):
        beta[..., names.index(level)] -= 2 * beta[..., names.index(slope)]
    other = draws.assign(beta=beta)
    for quantity in ("arm_contrast", "intercept"):
        np.testing.assert_allclose(
            drawn(estimand_draws(Posterior(moved, other), at=90.0), quantity),
            drawn(estimand_draws(Posterior(design, draws), at=90.0), quantity),
            rtol=1e-9,
        )
