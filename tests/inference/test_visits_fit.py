"""A fitted study with visits: its table, its folder, and its numbers against REML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from visit_trials import LONG, VISITS, WIDE, patients, rows_of_visits

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import narrowed, read_study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.diagnostics import words
from alliance.inference.answers.assumed_courses import courses
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.over_time import (
    by_outcome_and_visit,
    residual_covariances,
    visit_positions,
    visit_weights,
)
from alliance.inference.leaving_out.leave_one_out import leave_one_out
from alliance.inference.leaving_out.visits import leave_visits_out
from alliance.inference.pointwise.visits import therapists_log_likelihood, visits_log_likelihood
from alliance.inference.priors.power_scaling import (
    _structure_parameters,
    log_priors_over_time,
    power_scaling,
)
from alliance.inference.published.comparison import compare
from alliance.inference.published.restricted_visits import fit_visits
from alliance.inference.runs.fit import Fit, visits_of
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.reproduction import reproduce
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.instant_visits import _Target
from alliance.inference.sampling.profiles import Engine, find_profile
from alliance.inference.scores.therapist_parts import therapist_factor
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape, relative_gaps
from alliance.models.visits.likelihood import VisitModel, integrate
from alliance.models.visits.moments import terms_at, visit_moments, visit_terms

CI = find_profile("ci")
FLAT = """
[priors]
intercept = 100
baseline_slope = 100
arm = 100
moderator_slope = 100
interaction = 100
residual_sd = 10
residual_correlation = 1
"""


def fitted(
    folder: Path, text: str, frame: pd.DataFrame, engine: Engine = "instant", **settings: object
) -> Fit:
    if "without_therapist" in settings:
        frame = frame.astype({"therapist": "Int64"})
        frame.loc[frame["arm"] == "A", "therapist"] = pd.NA
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    trial = trial_from_frame(narrowed(read_study(path), **settings), frame)
    return fit_trial(trial, CI, seed=1, engine=engine)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Near-flat priors and no therapists, so that REML is near."""
    return fitted(
        tmp_path_factory.mktemp("visits"), WIDE + FLAT, patients(80), "nuts", therapist="none"
    )


def rows(fit: Fit, quantity: str, visit: str) -> pd.DataFrame:
    table = by_outcome_and_visit(fit.summary(), fit.study)
    return table[(table["quantity"] == quantity) & (table["visit"] == visit)]


@pytest.mark.mcmc
class TestFit:
    def test_is_near_reml(self, fit: Fit) -> None:
        """Within .12 SDs (2,000 draws: .022 each): a coding of its own, on the file's scale."""
        frame = patients(80)
        alliance = frame["wai"] - frame["wai"].mean()
        arm = (frame["arm"] == "B") - 0.5
        X = np.column_stack([np.ones(80), frame["pain0"], arm, alliance, alliance * arm])
        Y = frame[list(VISITS)].to_numpy()
        terms = visit_terms((True,) * 5, 3)
        model = VisitModel(visit_moments(X, Y), terms, terms_at([]), np.zeros(15))
        reml = fit_visits(model, CovarianceShape("unstructured", 3))
        se = np.sqrt(np.diag(reml.covariance))
        for column, quantity in ((2, "arm_contrast"), (4, "interaction")):
            for t, visit in enumerate(("w8", "m6", "m12")):
                row = rows(fit, quantity, visit).iloc[0]
                place = 3 * column + t
                assert abs(row["mean"] - reml.beta[place]) < 0.12 * se[place]
                assert 0.95 < row["sd"] / se[place] < 1.12
        for t, name in enumerate(fit.outcomes):
            table = fit.summary()
            own = table[(table["outcome"] == name) & (table["quantity"] == "residual_sd")]
            assert abs(own["mean"].iloc[0] / np.sqrt(reml.residual[0, t, t]) - 1) < 0.1

    def test_average_change_and_area_are_of_the_same_draws(self, fit: Fit) -> None:
        """At 8, 26 and 52 weeks: trapezoids of 18 and 26 weeks."""
        for quantity in ("arm_contrast", "interaction"):
            means = [rows(fit, quantity, visit)["mean"].iloc[0] for visit in ("w8", "m6", "m12")]
            expected = {
                "average": sum(means) / 3,
                "last-first": means[2] - means[0],
                "area": 18 * (means[0] + means[1]) / 2 + 26 * (means[1] + means[2]) / 2,
            }
            for visit, value in expected.items():
                row = rows(fit, quantity, visit).iloc[0]
                assert row["mean"] == pytest.approx(value, abs=1e-9)
                assert row["outcome"] == "pain"

    def test_every_row_says_its_visit(self, fit: Fit) -> None:
        table = by_outcome_and_visit(fit.summary(), fit.study)
        assert list(table.columns).index("visit") == list(table.columns).index("level") + 1
        assert set(table["visit"]) == {"w8", "m6", "m12", "average", "last-first", "area", ""}
        correlations = table[table["quantity"] == "residual_correlation"]
        assert correlations["level"].tolist() == ["w8,m6", "w8,m12", "m6,m12"]
        assert (table["at"].dropna() == table["at"].dropna().iloc[0]).all()  # one alliance for all

    def test_a_run_reads_back(self, fit: Fit, tmp_path: Path) -> None:
        save_fit(fit, tmp_path / "run")
        again = load_fit(tmp_path / "run")
        assert again.summary().equals(fit.summary())
        written = pd.read_csv(tmp_path / "run" / "summary.csv")
        assert set(written["outcome"]) == {"pain"}

    def test_a_visit_is_chosen_by_its_label(self, fit: Fit) -> None:
        assert fit.chosen(["pain"], "last") == ["pain_m12"]
        assert fit.chosen([], "m6") == ["pain_m6"]
        assert fit.chosen([], "all") == fit.chosen(["pain"]) == list(fit.outcomes)
        assert fit.chosen(["pain_w8"], "last") == ["pain_w8"]
        with pytest.raises(InputError, match="No outcome has a visit 'm7'"):
            fit.chosen([], "m7")

    def test_what_is_not_built_is_refused_in_words(self, fit: Fit, tmp_path: Path) -> None:
        one = fit["pain_m6"]
        refused = {
            "Leave-one-out": lambda: leave_one_out(one),
            "Power-scaling of one visit": lambda: power_scaling(one),
        }
        for what, ask in refused.items():
            with pytest.raises(InputError, match=f"{what} is not available for outcomes over time"):
                ask()


@pytest.mark.mcmc
def test_reml_of_compare_is_that_of_all_visits(fit: Fit) -> None:
    """Not of each visit by itself, which loses those who left."""
    table = compare(fit)
    frame = patients(80)
    alliance = frame["wai"] - frame["wai"].mean()
    arm = (frame["arm"] == "B") - 0.5
    X = np.column_stack([np.ones(80), frame["pain0"], arm, alliance, alliance * arm])
    terms = visit_terms((True,) * 5, 3)
    moments = visit_moments(X, frame[list(VISITS)].to_numpy())
    reml = fit_visits(
        VisitModel(moments, terms, terms_at([]), np.zeros(15)),
        CovarianceShape("unstructured", 3),
    )
    for t, name in enumerate(fit.outcomes):
        own = table[(table["outcome"] == name) & (table["quantity"] == "interaction")].iloc[0]
        assert own["reml_estimate"] == pytest.approx(reml.beta[12 + t], abs=1e-4)
        assert own["reml_se"] == pytest.approx(np.sqrt(reml.covariance[12 + t, 12 + t]), abs=1e-4)
        contrast = np.eye(15)[[12 + t]]
        assert own["reml_df"] == pytest.approx(reml.degrees_of_freedom(contrast)[0], rel=1e-3)


@pytest.mark.mcmc
def test_a_run_is_reproduced_bit_for_bit(fit: Fit, tmp_path: Path) -> None:
    """From the patients that its folder keeps."""
    save_fit(fit, tmp_path / "run")
    found = reproduce(load_fit(tmp_path / "run"))
    assert set(found.identical) == set(fit.outcomes)
    assert found.reproduced


@pytest.mark.mcmc  # the search for REML takes longer than the fit
@pytest.mark.parametrize("settings", [{"residual_by_arm": True}, {"without_therapist": ["A"]}])
def test_arms_may_have_their_own_residuals(settings: dict[str, object], tmp_path: Path) -> None:
    """Near-flat priors, no spread of therapists: SDs, correlations and contrasts are REML's.

    Within .15 SDs (2,000 draws: .022 each, and the priors); SDs of an arm of 60 to their tenth,
    correlations within .08 of REML's, whose SE is .1.
    """
    frame = patients(120)
    frame.loc[frame["arm"] == "B", list(VISITS)] += np.random.default_rng(4).normal(
        0, 9, ((frame["arm"] == "B").sum(), 3)
    )
    text = (WIDE + FLAT).replace("range = [0, 100]", "range = [-100, 200]")
    own = fitted(tmp_path, text, frame, **settings)
    table, whole = own.summary(), visits_of(own, "pain")
    reml = compare(own).set_index(["outcome", "quantity", "level"])
    assert whole.shape.groups == 2
    estimates = fit_visits(whole.model(Priors()), whole.shape)
    correlations = table[table["quantity"] == "residual_correlation"].set_index("level")["mean"]
    for name in own.outcomes:
        rows = table[table["outcome"] == name].set_index(["quantity", "level"])
        for quantity, level in (("arm_contrast", "B-A"), ("interaction", "B-A")):
            row, other = rows.loc[quantity, level], reml.loc[name, quantity, level]
            assert abs(row["mean"] - other["reml_estimate"]) < 0.15 * other["reml_se"]
            assert 0.93 < row["sd"] / other["reml_se"] < 1.12
        for arm in "AB":
            residual = reml.loc[name, "residual_sd", arm]["reml_estimate"]
            assert rows.loc["residual_sd", arm]["mean"] == pytest.approx(residual, rel=0.1)
    for arm, group in zip("AB", whole.first.nesting.groups, strict=True):
        covariance = estimates.residual[group]
        sds = np.sqrt(np.diag(covariance))
        for s, t in ((0, 1), (0, 2), (1, 2)):
            level = f"{('w8', 'm6', 'm12')[s]},{('w8', 'm6', 'm12')[t]},{arm}"
            expected = covariance[s, t] / sds[s] / sds[t]
            assert correlations[level] == pytest.approx(expected, abs=0.08)
    assert words.level(own.study, "w8,m12,B") == "w8,m12, Exercise"
    residuals = residual_covariances([own[name].draws for name in own.outcomes])
    assert residuals.shape[1:] == (2, 3, 3)
    assert leave_visits_out([own[name] for name in own.outcomes]).elpd < 0
    if "without_therapist" in settings:  # an arm without therapists has no effect of any
        assert whole.moments.pair_therapist.max() < 4
        has = whole.first.arm_index == 1
        some = whole.moments.pair_products[:, 0, 0].sum()
        assert some == pytest.approx(has.sum(), abs=3)  # patients without a first visit


def test_an_arm_may_have_no_alliance(tmp_path: Path) -> None:
    """Its contrast, at the mean of the rated, and the other arm's slope are REML's."""
    frame = patients(120)
    frame.loc[frame["arm"] == "A", "wai"] = np.nan
    own = fitted(tmp_path, WIDE + FLAT, frame, therapist="none", moderator_arms=["B"])
    table = compare(own).set_index(["outcome", "quantity", "level"])
    for name in own.outcomes:
        for label in (("arm_contrast", "B-A"), ("moderator_slope", "average")):
            row = table.loc[(name, *label)]
            assert abs(row["posterior_mean"] - row["reml_estimate"]) < 0.15 * row["reml_se"]
    found = courses([own[name] for name in own.outcomes], "j2r", reference="A")
    assert np.isfinite(found.found.means).all()


@pytest.mark.mcmc
def test_long_and_wide_tables_give_the_same_draws(tmp_path: Path) -> None:
    """Bit for bit, therapists and deviations at visits included."""
    frame = patients(60)
    settings = {"therapist_by_visit": True, "visit_correlation": "compound_symmetry"}
    wide = fitted(tmp_path, WIDE, frame, "nuts", **settings)
    long = fitted(tmp_path, LONG, rows_of_visits(frame), "nuts", **settings)
    for name in wide.outcomes:
        assert draws_of(wide.trees[name]).equals(draws_of(long.trees[name]))
    effects = draws_of(wide.trees["pain_w8"])["therapist_effect"]
    other = draws_of(wide.trees["pain_m6"])["therapist_effect"]
    slope = {"effect": "slope"}
    assert effects.sel(slope).equals(other.sel(slope))  # slopes are those of all visits
    assert not effects.sel(effect="intercept").equals(other.sel(effect="intercept"))


def test_the_area_is_that_of_trapezoids() -> None:
    """A line from 2 to 6 over four weeks, at 0, 1 and 4 weeks, has an area of 16."""
    weights = visit_weights([0.0, 1.0, 4.0])
    assert weights["area"] @ np.array([2.0, 3.0, 6.0]) == pytest.approx(16)
    assert "area" not in visit_weights([0.0, None, 4.0])


@pytest.mark.mcmc
def test_a_patient_is_left_out_with_all_visits(fit: Fit) -> None:
    """The log likelihood of a draw is the dense normal one; elpd is what is left of its mean."""
    posteriors = [fit[name] for name in fit.chosen(["pain"])]
    found = visits_log_likelihood(posteriors)
    frame = patients(80)
    scores = frame[list(VISITS)].to_numpy()
    expected = np.full(scores.shape, np.nan)
    sd = posteriors[0].design.scaling.outcome[1]
    for visit, own in enumerate(posteriors):
        design = own.design
        seen = ~np.isnan(scores[:, visit])
        predicted = design.X @ own.beta[7] * sd + design.scaling.outcome[0]
        expected[seen, visit] = predicted
    covariance = residual_covariances([own.draws for own in posteriors])[7, 0] * sd**2
    for patient in (0, 11, 37):
        places = np.flatnonzero(~np.isnan(scores[patient]))
        density = stats.multivariate_normal(
            expected[patient, places], covariance[np.ix_(places, places)]
        ).logpdf(scores[patient, places])
        assert found.values[0, 7, patient] == pytest.approx(density, abs=1e-9)
    left_out = leave_visits_out(posteriors)
    assert left_out.outcome == "pain"
    assert len(left_out.units) == 80
    assert 5 < left_out.p_loo < 40  # 15 coefficients and 6 numbers of the covariance
    with pytest.raises(InputError, match="all visits"):
        leave_visits_out(posteriors[:1])


@pytest.mark.parametrize("settings", [{}, {"without_therapist": ["A"]}])
def test_a_therapist_s_density_is_the_dense_normal_one(
    settings: dict[str, object], tmp_path: Path
) -> None:
    """Of all scores of a therapist's patients, at one draw, with effects as covariance; to 1e-8."""
    own = fitted(tmp_path, WIDE, patients(60), **settings)
    posteriors = [own[name] for name in own.outcomes]
    found = therapists_log_likelihood(posteriors).isel(chain=0, draw=5)
    design = posteriors[0].design
    covariance = residual_covariances([each.draws for each in posteriors])[5]
    L = therapist_factor(posteriors[0])[5]
    unit = design.scaling.outcome[1]
    positions = visit_positions(own.manifest, "pain")
    for place, therapist in enumerate(design.therapists):
        rows = []  # patient, visit, residual, effects' columns, residual group
        for visit, each in enumerate(posteriors):
            apart = each.design.y - each.design.X @ each.beta[5]
            for k in np.flatnonzero(each.design.therapist_index == place):
                z = each.design.X[k, each.design.effect_columns]
                group = each.design.residual_group[k]
                rows.append((positions[each.name][k], visit, apart[k], z, group))
        if not rows:
            continue
        whole = np.array([[a[3] @ L @ L.T @ b[3] for b in rows] for a in rows])
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                if a[0] == b[0]:
                    whole[i, j] += covariance[a[4], a[1], b[1]]
        residuals = np.array([row[2] for row in rows])
        expected = stats.multivariate_normal(np.zeros(len(rows)), whole).logpdf(residuals)
        expected -= len(rows) * np.log(unit)
        assert float(found.sel(therapist=therapist)) == pytest.approx(expected, abs=1e-8)
    priors = log_priors_over_time(posteriors, visits_of(own, "pain")).isel(chain=0, draw=5)
    arm = [each.coefficient("arm[1]")[5] for each in posteriors]
    scale = design.prior_sd(posteriors[0].priors)[design.coefficients.index("arm[1]")]
    assert float(priors["arm"]) == pytest.approx(stats.norm.logpdf(arm, 0, scale).sum())
    sds = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlations = covariance / (sds[:, :, None] * sds[:, None, :])
    lkj = np.log(np.linalg.det(correlations)).sum()  # to the power 2 - 1
    assert float(priors["residual_correlation"]) == pytest.approx(lkj)
    half = stats.halfnorm.logpdf(sds, 0, posteriors[0].priors.residual_sd).sum()
    assert float(priors["residual_sd"]) == pytest.approx(half)


@pytest.mark.parametrize("structure", ["toeplitz", "ar1", "compound_symmetry"])
@pytest.mark.parametrize("times", [None, (0.0, 1.0, 4.0, 5.0)])
def test_parameters_of_a_structure_are_read_off_its_correlations(
    structure: str, times: tuple[float, ...] | None
) -> None:
    gaps = relative_gaps(times) if structure == "ar1" else None
    shape = CovarianceShape(structure, 4, gaps=gaps)
    low, high = shape.limits
    rng = np.random.default_rng(5)
    parameters = rng.uniform(low, high, (7, shape.correlations))
    R = shape.residual(np.ones((7, 4)), parameters)
    assert np.allclose(_structure_parameters(R, shape), parameters)


@pytest.mark.mcmc
def test_the_instant_engine_draws_what_nuts_draws(fit: Fit, tmp_path: Path) -> None:
    """Means within four Monte Carlo errors, SDs within 8%: 2,000 draws of each."""
    own = fitted(tmp_path, WIDE + FLAT, patients(80), therapist="none")
    assert own.engine == "instant"
    assert all(facts["engine"] == "instant" for facts in own.manifest["engines"].values())
    first, second = (each.summary().set_index(["outcome", "quantity", "level", "visit"])
                     for each in (fit, own))  # fmt: skip
    assert first.index.equals(second.index)
    error = np.hypot(*(each["sd"] / np.sqrt(each["ess_bulk"]) for each in (first, second)))
    assert (np.abs(first["mean"] - second["mean"]) < 4 * error).all()
    assert np.allclose(first["sd"], second["sd"], rtol=0.08)


@pytest.mark.parametrize("structure", ["toeplitz", "ar1", "compound_symmetry", "diagonal"])
def test_every_structure_is_instant_with_therapists_at_visits(
    structure: str, tmp_path: Path
) -> None:
    """The density is that of the operation and the priors, up to one constant, at 20 points."""
    settings = {"visit_correlation": structure, "therapist_by_visit": True}
    own = fitted(tmp_path, WIDE, patients(60), **settings)
    facts = own.manifest["engines"]["pain_w8"]
    assert facts["engine"] == "instant"
    assert facts["pareto_k"] < 0.5
    whole, priors = visits_of(own, "pain"), own["pain_w8"].priors
    model, shape = whole.model(priors), whole.shape
    target = _Target(model, shape, priors)
    rng = np.random.default_rng(3)
    at = target.start + rng.normal(0, 0.3, (20, len(target.start)))
    residual, loading = target.covariances(at)
    expected = integrate(model, residual, loading).log_likelihood
    sd, stretched, spread, z, at_visit = target.parts(at)
    expected += (stats.halfnorm.logpdf(np.exp(sd), 0, priors.residual_sd) + sd).sum(axis=1)
    share = (1 + np.tanh(stretched)) / 2  # a beta density, and the Jacobian of the stretching
    power = priors.residual_correlation
    own_density = stats.beta.logpdf(share, power, power) + np.log(2 * share * (1 - share))
    expected += own_density.sum(axis=1)
    scales = [priors.therapist_sd, priors.therapist_slope_sd]
    expected += stats.halfnorm.logpdf(np.abs(spread), 0, scales).sum(axis=1)
    r = np.tanh(z[:, 0])
    shape_r = priors.therapist_correlation
    expected += stats.beta.logpdf((1 + r) / 2, shape_r, shape_r) + np.log(1 - r**2)
    expected += stats.halfnorm.logpdf(np.abs(at_visit[:, 0]), 0, priors.therapist_sd)
    assert np.ptp(target(at) - expected) < 1e-8
