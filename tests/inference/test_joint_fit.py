"""All outcomes fitted together: what comes back, what is kept, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.diagnostics.gate.fit_gate import check_draws
from alliance.inference.draws.datatree import divergences, draws_of
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.joint import join_data, sample_joint
from alliance.inference.sampling.profiles import find_profile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.inference.scores.therapist_parts import therapist_factor
from alliance.models.design.design import Design, build_design
from alliance.models.joint.joint import JointDesign, join_designs
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, ModelSpec, specify

CI = find_profile("ci")
TOLERANCE = 1e-12  # what two orders of the same additions leave in doubles


@pytest.fixture(scope="module")
def joint_trial() -> Trial:
    """The simulated trial with some outcomes of some patients missing."""
    made = simulate_trial(seed=1)
    frame = made.frame.copy()
    study = narrowed(made.study, joint=True)
    frame.loc[::7, study.outcomes["pain"].followup] = np.nan
    frame.loc[::5, study.outcomes["gpe"].followup] = np.nan
    return trial_from_frame(study, frame, "simulated.csv")


@pytest.fixture(scope="module")
def joint_fit(joint_trial: Trial) -> Fit:
    return fit_trial(joint_trial, CI, seed=1)


@pytest.mark.mcmc
class TestJointFit:
    def test_every_outcome_and_what_they_share_is_summarised(self, joint_fit: Fit) -> None:
        table = joint_fit.summary()
        outcomes = ["function", "gpe", "pain", "disability"]
        assert table["outcome"].unique().tolist() == [*outcomes, JOINT]
        shared = table[table["outcome"] == JOINT]
        pairs = 6  # of four outcomes
        assert shared["quantity"].value_counts(sort=False).to_dict() == {
            "pooled_moderator_slope": 1,
            "moderator_slope_spread": 1,
            "residual_correlation": pairs,
            "therapist_correlation": pairs,
            "therapist_slope_correlation": pairs,
        }
        assert shared.loc[shared["quantity"] == "residual_correlation", "level"].tolist()[:2] == [
            "function-gpe",
            "function-pain",
        ]
        # The simulated outcomes get better with the alliance, and correlate as benefits do.
        means = shared.set_index(["quantity", "level"])["mean"]
        assert means["pooled_moderator_slope", ""] > 0
        assert means["residual_correlation", "pain-disability"] > 0.2
        assert means["residual_correlation", "function-pain"] < -0.2

    def test_patients_with_some_outcomes_stay_in(self, joint_trial: Trial, joint_fit: Fit) -> None:
        joint = join_data(joint_trial.study, joint_trial.data, joint_fit.specs)
        positions = [set(joint_trial.positions(name).tolist()) for name in joint_fit.outcomes]
        anybody = set().union(*positions)
        assert joint_fit.manifest[JOINT]["patients"] == len(anybody) == len(joint.seen)
        assert len(set.intersection(*positions)) < len(anybody)
        for name, column in zip(joint_fit.outcomes, joint.seen.T, strict=True):
            assert column.sum() == len(joint_trial.positions(name))
            assert len(joint_fit.patients(name)["outcome"]) == column.sum()

    def test_the_slopes_are_the_pooled_one_plus_their_deviations(self, joint_fit: Fit) -> None:
        moderator = joint_fit.design("pain").scaling.moderator
        assert all(
            joint_fit.design(name).scaling.moderator == moderator for name in joint_fit.outcomes
        )
        standardised = []
        for name in joint_fit.outcomes:
            slope = joint_fit.trees[name]["posterior"].dataset["beta"].sel(coefficient="moderator")
            better = 1 if joint_fit.study.outcomes[name].better == "higher" else -1
            standardised.append(better * slope.values)
        assert joint_fit.shared is not None
        shared = joint_fit.shared["posterior"].dataset
        # Four slopes scatter around the pooled one with the spread: prior and posterior SD alike.
        away = np.stack(standardised) - shared["pooled_moderator_slope"].values
        assert (np.abs(away) / shared["moderator_slope_spread"].values).mean() < 2

    def test_the_gate_judges_what_is_shared_too(self, joint_fit: Fit) -> None:
        reports = check_draws(joint_fit)
        assert [report.outcome for report in reports] == [*joint_fit.outcomes, JOINT]
        judged = " ".join(result.message for result in reports[-1].results)
        # Two slopes and 18 correlations, as parameters and as reported quantities.
        assert "each of 40 quantities" in judged

    @pytest.mark.parametrize("cores", [1, 2])
    def test_same_seed_same_draws(self, joint_trial: Trial, joint_fit: Fit, cores: int) -> None:
        again = fit_trial(joint_trial, CI, seed=1, cores=cores)
        for name in joint_fit.outcomes:
            one, other = (fit.trees[name]["posterior"].dataset for fit in (again, joint_fit))
            assert one.equals(other)

    def test_a_run_is_read_back_whole(self, joint_fit: Fit, tmp_path: Path) -> None:
        save_fit(joint_fit, tmp_path / "run")
        back = load_fit(tmp_path / "run")
        pd.testing.assert_frame_equal(back.summary(), joint_fit.summary())
        pd.testing.assert_frame_equal(back.priors(), joint_fit.priors())
        (tmp_path / "run" / "joint.nc").unlink()
        with pytest.raises(InputError, match=r"lacks joint\.nc"):
            load_fit(tmp_path / "run")

    def test_priors_name_what_is_shared(self, joint_fit: Fit) -> None:
        priors = joint_fit.priors().set_index(["outcome", "quantity", "level"])
        pooled = priors.loc[(JOINT, "pooled_moderator_slope", ""), "scale"]
        spread = priors.loc[(JOINT, "moderator_slope_spread", ""), "scale"]
        design = joint_fit.design("pain")
        own = priors.loc[("pain", "moderator_slope", "average"), "scale"]
        unit = design.scaling.outcome[1] / design.scaling.moderator[1]
        # The variances of the pooled slope and of the deviations from it add up.
        assert own == pytest.approx(unit * np.hypot(pooled, spread), rel=TOLERANCE)


THERAPISTS, EACH = 40, 15
TRUE_SD, TRUE_CORRELATION = 0.375, -0.9  # of intercepts and of slopes; of one with the other


def planted_trial() -> JointDesign:
    """Two outcomes whose therapists' intercepts and slopes correlate by -.9 in each.

    A therapist who does better with patients of low alliance does worse with those of high.
    """
    random = np.random.default_rng(3)
    patients = THERAPISTS * EACH
    therapist = np.repeat(np.arange(THERAPISTS), EACH)
    moderator = random.standard_normal(patients)
    arm = random.integers(0, 2, patients)
    z, w = random.standard_normal((2, THERAPISTS, 2))
    z[:, 1] = 0.5 * z[:, 0] + np.sqrt(0.75) * z[:, 1]  # outcomes correlate
    u = TRUE_SD * z
    v = TRUE_SD * (TRUE_CORRELATION * z + np.sqrt(1 - TRUE_CORRELATION**2) * w)
    y = 0.3 * moderator[:, None] + u[therapist] + v[therapist] * moderator[:, None]
    y += 0.7 * random.standard_normal(y.shape)
    designs = {}
    for k, name in enumerate(("one", "other")):
        data = xr.Dataset(
            {
                "outcome": ("patient", y[:, k]),
                "moderator": ("patient", moderator),
                "arm_index": ("patient", arm),
                "therapist_index": ("patient", therapist),
                "covariates": (("patient", "covariate"), np.zeros((patients, 0))),
            },
            coords={
                "arm": ["A", "B"],
                "therapist": [f"T{j}" for j in range(THERAPISTS)],
                "covariate": np.array([], dtype=str),
            },
        )
        designs[name] = build_design(data, ModelSpec(name), None, (0.0, 1.0))
    better = dict.fromkeys(designs, "higher")
    return join_designs(designs, dict.fromkeys(designs, range(patients)), better)


def spread_at(design: Design, draws: xr.Dataset, alliance: float) -> np.ndarray:
    """Draws of the SD of new therapists' expected scores at an alliance, in score points."""
    factor = therapist_factor(Posterior(design, draws))
    return design.scaling.outcome[1] * np.linalg.norm(np.array([1.0, alliance]) @ factor, axis=-1)


@pytest.mark.validation
def test_a_therapists_intercept_and_slope_correlate_as_planted() -> None:
    """SDs .73 and .17 at -1 and 1: independent effects have .53 at both."""
    joint = planted_trial()
    trees, shared, _ = sample_joint(joint, Priors(), CI, seed=4)
    assert divergences(shared) == 0
    truth = [TRUE_SD * np.sqrt(2 * (1 + a * TRUE_CORRELATION)) for a in (-1, 1)]
    assert truth == pytest.approx([0.731, 0.168], abs=0.001)
    for name, design in joint.designs.items():
        draws = draws_of(trees[name])
        low, high = (spread_at(design, draws, alliance) for alliance in (-1.0, 1.0))
        for values, true in ((low, truth[0]), (high, truth[1])):
            # 99% intervals of four SDs; prior and 40 therapists leave about a tenth of the first
            assert np.quantile(values, 0.005) < true < np.quantile(values, 0.995)
        assert (low > high + 0.2).mean() > 0.99
        alone, _ = sample_outcome(design, Priors(), CI, seed=4)
        for alliance, values in ((-1.0, low), (1.0, high)):
            single = spread_at(design, draws_of(alone), alliance)
            # What the other outcome tells moves it by less than its posterior SD
            assert values.mean() == pytest.approx(single.mean(), abs=single.std())
        # Effects that were drawn afterwards correlate as well
        effect = draws["therapist_effect"].mean(("chain", "draw")).values
        assert np.corrcoef(effect.T)[0, 1] < -0.6


def refusal(**settings: object) -> str:
    study = narrowed(simulate_trial(seed=1).study, joint=True, **settings)  # type: ignore[arg-type]  # of any type
    with pytest.raises(InputError) as refused:
        specify(study)
    return str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"alliance": "within_between"},
        {"missing_alliance": "impute"},
        {"ceiling": True},
        {"therapist_by_arm": True},
    ],
)
def test_options_that_do_not_go_together_are_named(settings: dict[str, object]) -> None:
    assert next(iter(settings)) in refusal(**settings)


def test_native_takes_the_ordinal_outcome_as_latent_and_the_others_as_gaussian() -> None:
    study = narrowed(simulate_trial(seed=1).study, joint=True, likelihood="native")
    families = {name: spec.family for name, spec in specify(study).items()}
    assert families.pop("gpe") == "ordinal_probit"
    assert set(families.values()) == {"gaussian"}


def test_two_ordinal_outcomes_are_refused() -> None:
    study = narrowed(simulate_trial(seed=1).study, joint=True, likelihood="native")
    pain = study.outcomes["pain"].model_copy(update={"family": "ordinal"})
    both = study.model_copy(update={"outcomes": {**study.outcomes, "pain": pain}})
    with pytest.raises(InputError, match="gpe and pain are ordinal"):
        specify(both)


def test_an_outcome_may_not_bear_the_name_of_what_is_shared() -> None:
    study = narrowed(simulate_trial(seed=1).study, joint=True)
    outcomes = {JOINT: study.outcomes["pain"], "gpe": study.outcomes["gpe"]}
    with pytest.raises(InputError, match="another name"):
        specify(study.model_copy(update={"outcomes": outcomes}))


def test_one_outcome_is_refused(joint_trial: Trial) -> None:
    pain = joint_trial.study.model_copy(
        update={"outcomes": {"pain": joint_trial.study.outcomes["pain"]}}
    )
    with pytest.raises(InputError, match="two outcomes"):
        fit_trial(replace(joint_trial, study=pain), CI, seed=1)
