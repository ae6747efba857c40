"""The true values that a simulated trial claims to have are those in its data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from alliance.data_prep.simulator.inputs import ARMS, OUTCOMES
from alliance.data_prep.simulator.simulation import (
    OutcomeTruth,
    Simulated,
    read_inputs,
    simulate_trial,
    true_values,
)

STANDARD_ERRORS = 4.0  # one test in 16,000 fails by chance; seeds are fixed all the same


@cache
def continuous_trial() -> Simulated:
    """20,000 patients of 40 therapists with exactly Gaussian residuals."""
    return simulate_trial(seed=11, patients=20_000, therapists=40, respect_ranges=False)


def free_of_therapists(simulated: Simulated, name: str) -> pd.Series:
    """Follow-up score without the realised effects of the therapists."""
    frame, truth = simulated.frame, simulated.truth
    effects = pd.DataFrame(truth["outcomes"][name]["therapist_effects"]).T
    effects = effects.loc[frame["therapist"]].reset_index(drop=True)
    alliance = frame["wai_total"] - truth["alliance"]["mean"]
    followup = frame[simulated.study.outcomes[name].followup]
    return followup - effects["intercept"] - effects["slope"] * alliance


def residuals(simulated: Simulated, name: str) -> pd.Series:
    """Follow-up score minus all that the true values say of it, for patients with a rating."""
    frame, truth = simulated.frame, simulated.truth["outcomes"][name]
    alliance = frame["wai_total"] - simulated.truth["alliance"]["mean"]
    arm_effect = dict.fromkeys(ARMS, 0.0) | {
        arm: truth["arm_contrast"][f"{arm}-GE"] for arm in ARMS[1:]
    }
    centred = {arm: value - np.mean(list(arm_effect.values())) for arm, value in arm_effect.items()}
    expected = truth["intercept"] + frame["arm"].map(centred)
    expected += frame["arm"].map(truth["moderator_slope"]) * alliance
    baseline = simulated.study.outcomes[name].baseline
    if baseline is not None:
        centre = simulated.inputs.outcomes[name].baseline_mean.value
        expected += truth["baseline_slope"] * (frame[baseline] - centre)
    return free_of_therapists(simulated, name) - expected


class TestTruth:
    @pytest.mark.parametrize("name", OUTCOMES)
    def test_least_squares_recovers_the_true_values(self, name: str) -> None:
        simulated = continuous_trial()
        frame, truth = simulated.frame, simulated.truth["outcomes"][name]
        alliance = frame["wai_total"] - simulated.truth["alliance"]["mean"]
        predictors = {"GE": (frame["arm"] == "GE").astype(float), "GE_slope": alliance}
        for arm in ("MCE", "SMT"):
            indicator = (frame["arm"] == arm).astype(float)
            predictors |= {f"{arm}-GE": indicator, f"{arm}-GE_slope": indicator * alliance}
        predictors["GE"] = pd.Series(1.0, index=frame.index)
        expected = {"GE_slope": truth["moderator_slope"]["GE"]}
        for level in ("MCE-GE", "SMT-GE"):
            expected[level] = truth["arm_contrast"][level]
            expected[f"{level}_slope"] = truth["interaction"][level]
        baseline = simulated.study.outcomes[name].baseline
        if baseline is None:
            assert "baseline_slope" not in truth
        else:
            predictors["baseline"] = frame[baseline]
            expected["baseline"] = truth["baseline_slope"]
        predictors["age"] = frame["age"]
        expected["age"] = truth["covariate_slope"]["age"]
        table = pd.DataFrame(predictors)
        fit = sm.OLS(free_of_therapists(simulated, name), table, missing="drop").fit()
        for term, value in expected.items():
            assert abs(fit.params[term] - value) < STANDARD_ERRORS * fit.bse[term], term
        sd_error = truth["residual_sd"] / np.sqrt(2 * fit.nobs)
        assert abs(np.sqrt(fit.scale) - truth["residual_sd"]) < STANDARD_ERRORS * sd_error

    @pytest.mark.parametrize("name", OUTCOMES)
    def test_residuals_are_centred_and_gaussian(self, name: str) -> None:
        values = residuals(continuous_trial(), name).dropna()
        sd = continuous_trial().truth["outcomes"][name]["residual_sd"]
        root_n = np.sqrt(len(values))
        assert abs(values.mean()) < STANDARD_ERRORS * sd / root_n
        assert abs(values.skew()) < STANDARD_ERRORS * np.sqrt(6) / root_n
        assert abs(values.kurt()) < STANDARD_ERRORS * np.sqrt(24) / root_n

    @pytest.mark.parametrize(("first", "second"), list(combinations(OUTCOMES, 2)))
    def test_residuals_correlate_towards_benefit(self, first: str, second: str) -> None:
        simulated = continuous_trial()
        benefit = {
            name: 1 if simulated.study.outcomes[name].better == "higher" else -1
            for name in (first, second)
        }
        pair = pd.concat(
            [benefit[name] * residuals(simulated, name) for name in (first, second)], axis=1
        ).dropna()
        # Fisher's transformation of a correlation has the standard error 1 / sqrt(n - 3).
        distance = np.arctanh(pair.corr().to_numpy()[0, 1]) - np.arctanh(0.5)
        assert abs(distance) < STANDARD_ERRORS / np.sqrt(len(pair) - 3)

    @pytest.mark.parametrize("name", OUTCOMES)
    def test_data_hold_the_therapists_intercept_variance(self, name: str) -> None:
        inputs = read_inputs()
        given = true_values(inputs)
        flat = {key: replace(true, therapist_slope_sd=0.0) for key, true in given.items()}
        simulated = simulate_trial(
            seed=12, patients=20_000, therapists=1_000, respect_ranges=False, truth=flat
        )
        effects = pd.DataFrame(simulated.truth["outcomes"][name]["therapist_effects"]).T
        own = effects.loc[simulated.frame["therapist"], "intercept"].to_numpy()
        score = (residuals(simulated, name) + own).dropna()
        # The product of the scores of two patients of one therapist has the variance as its mean.
        by_therapist = score.groupby(simulated.frame["therapist"])
        count = by_therapist.size()
        pairs = by_therapist.sum() ** 2 - (score**2).groupby(simulated.frame["therapist"]).sum()
        products = (pairs / (count * (count - 1)))[count >= 2]
        error = products.std() / np.sqrt(len(products))
        assert abs(products.mean() - flat[name].therapist_sd ** 2) < STANDARD_ERRORS * error
        assert products.mean() > STANDARD_ERRORS * error

    def test_therapist_effects_have_the_stated_spread_and_correlation(self) -> None:
        given = true_values(read_inputs())
        correlated = {key: replace(true, therapist_correlation=0.6) for key, true in given.items()}
        therapists = 4_000
        simulated = simulate_trial(
            seed=13, patients=therapists, therapists=therapists, truth=correlated
        )
        effects = {
            name: pd.DataFrame(simulated.truth["outcomes"][name]["therapist_effects"]).T
            for name in OUTCOMES
        }
        relative = STANDARD_ERRORS / np.sqrt(2 * therapists)
        fisher = STANDARD_ERRORS / np.sqrt(therapists - 3)
        for name, true in correlated.items():
            both = effects[name]
            assert both["intercept"].std() == pytest.approx(true.therapist_sd, rel=relative)
            assert both["slope"].std() == pytest.approx(true.therapist_slope_sd, rel=relative)
            rho = both.corr().to_numpy()[0, 1]
            assert abs(np.arctanh(rho) - np.arctanh(0.6)) < fisher
        for part in ("intercept", "slope"):
            # Function is better when higher, pain when lower: effects on them run opposite ways.
            rho = np.corrcoef(effects["function"][part], effects["pain"][part])[0, 1]
            assert abs(np.arctanh(rho) - np.arctanh(-0.5)) < fisher

    def test_defaults_are_the_published_contrasts_and_moderate_only_gpe_of_mce(self) -> None:
        truth = simulate_trial(seed=1).truth["outcomes"]
        assert truth["function"]["arm_contrast"] == pytest.approx(
            {"MCE-GE": 2.9, "SMT-GE": 2.3, "SMT-MCE": -0.6}
        )
        assert truth["gpe"]["arm_contrast"] == pytest.approx(
            {"MCE-GE": 1.7, "SMT-GE": 1.2, "SMT-MCE": -0.5}
        )
        interaction = truth["gpe"]["interaction"]
        assert interaction["MCE-GE"] != 0
        assert interaction["SMT-MCE"] == pytest.approx(-interaction["MCE-GE"])
        assert interaction["SMT-GE"] == pytest.approx(0)
        for name in ("function", "pain", "disability"):
            assert list(truth[name]["interaction"].values()) == pytest.approx([0, 0, 0])

    def test_given_true_values_are_used_and_recorded(self) -> None:
        true = OutcomeTruth(
            intercept=5.0,
            baseline_slope=0.3,
            arm_effect={"GE": 0.0, "MCE": 3.0, "SMT": 6.0},
            moderator_slope={"GE": 0.1, "MCE": 0.2, "SMT": 0.6},
            therapist_sd=0.0,
            therapist_slope_sd=0.0,
            therapist_correlation=0.0,
            residual_sd=0.0,
            covariate_slope=0.05,
        )
        simulated = simulate_trial(seed=1, respect_ranges=False, truth={"function": true})
        recorded = simulated.truth["outcomes"]["function"]
        assert recorded["at"] == simulated.truth["alliance"]["mean"]  # where contrasts belong
        assert recorded["intercept"] == pytest.approx(8.0)
        assert recorded["moderator_slope"]["average"] == pytest.approx(0.3)
        assert recorded["arm_contrast"] == pytest.approx(
            {"MCE-GE": 3.0, "SMT-GE": 6.0, "SMT-MCE": 3.0}
        )
        assert recorded["interaction"] == pytest.approx(
            {"MCE-GE": 0.1, "SMT-GE": 0.5, "SMT-MCE": 0.4}
        )
        assert simulated.study.covariates == ("age",)
        frame = simulated.frame
        by_hand = (
            5.0
            + 0.3 * (frame["psfs_0"] - 10.5)
            + frame["arm"].map(true.arm_effect)
            + frame["arm"].map(true.moderator_slope)
            * (frame["wai_total"] - simulated.truth["alliance"]["mean"])
            + 0.05 * (frame["age"] - 53.6)
        )
        complete = by_hand.notna() & frame["psfs_8w"].notna()
        assert complete.sum() > 150
        np.testing.assert_allclose(frame.loc[complete, "psfs_8w"], by_hand[complete])

    def test_changed_true_values_leave_the_patients_as_they_were(self) -> None:
        given = true_values(read_inputs())["pain"]
        plain = simulate_trial(seed=9)
        other = simulate_trial(seed=9, truth={"pain": replace(given, intercept=2.0)})
        assert not plain.frame["vas_8w"].equals(other.frame["vas_8w"])
        rest = [column for column in plain.frame if column != "vas_8w"]
        pd.testing.assert_frame_equal(plain.frame[rest], other.frame[rest])
