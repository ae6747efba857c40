"""What the priors cost: the closed form against posteriors of simulated outcomes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_designs import (
    example_design,
    example_patients,
    random_effects_matrix,
    therapist_covariance,
)
from numpy.typing import NDArray

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.estimands.estimands import linear_estimands
from alliance.inference.many_fits.assurance import (
    Assumptions,
    Criterion,
    assurance_question,
    planned_trial,
)
from alliance.inference.priors.prior_costs import (
    COLUMNS,
    QUANTITIES,
    SIZES,
    SLOPE_COVERAGE,
    assumed_spreads,
    costs_of_fit,
    expected_costs,
    prior_costs,
    slope_coverage,
)
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design
from alliance.models.gaussian.gaussian_draws import GaussianDraws
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "differences.md"
TRIALS = 20_000
WIDE = Priors(
    intercept=1e3,
    baseline_slope=1e3,
    arm=1e3,
    moderator_slope=1e3,
    interaction=1e3,
    covariate_slope=1e3,
)


def spreads(**values: float) -> GaussianDraws:
    named = {name: np.array([value]) for name, value in values.items()}
    return GaussianDraws(beta=np.empty((1, 0)), **named)


def covariance(design: Design, sds: GaussianDraws) -> Array:
    """Of the outcome, n x n, therapist effects summed out."""
    Z = random_effects_matrix(design)
    own = np.kron(np.eye(len(design.therapists)), therapist_covariance(sds))
    return Z @ own @ Z.T + sds.residual_sd[0] ** 2 * np.eye(len(design.y))


@pytest.mark.parametrize("therapist", ["none", "intercept", "intercept+slope"])
def test_pull_and_coverage_are_those_of_simulated_outcomes(therapist: str) -> None:
    """20,000 outcomes with a known true effect, each with its posterior by dense matrices."""
    design = example_design(example_patients(patients=48, therapists=5), therapist)
    priors = Priors(interaction=0.2)
    sds = {"residual_sd": 0.9, "therapist_sd": 0.4, "therapist_slope_sd": 0.3}
    kept = {"none": 1, "intercept": 2, "intercept+slope": 3}[therapist]
    given = dict(list(sds.items())[:kept])
    if kept == 3:
        given["therapist_correlation"] = 0.0
    known = spreads(**given)
    table = prior_costs(design, priors, known)
    X, S = design.X, np.diag(design.prior_sd(priors) ** 2)
    V = covariance(design, known)
    K = X.T @ np.linalg.solve(V, X)
    posterior = np.linalg.inv(K + np.linalg.inv(S))
    noise = np.linalg.cholesky(V) @ np.random.default_rng(1).standard_normal((len(X), TRIALS))
    unit = design.scaling.outcome[1]
    linear = linear_estimands(design, per_sd=True)
    for label, row in zip(linear.labels, linear.matrix / unit, strict=True):
        if label[0] not in QUANTITIES:
            continue
        rows = table[(table["quantity"] == label[0]) & (table["level"] == label[1])]
        assert list(rows["size"]) == list(SIZES)
        for found in rows.to_dict("records"):
            beta = S @ row * found["size"] / (row @ S @ row)  # as the prior expects it
            y = (X @ beta)[:, None] + noise
            means = row @ posterior @ X.T @ np.linalg.solve(V, y)
            sd = np.sqrt(row @ posterior @ row)
            error = means.std() / np.sqrt(TRIALS)
            assert unit * means.mean() == pytest.approx(found["expected"], abs=4 * unit * error)
            assert found["expected"] == pytest.approx((1 - found["pull"]) * found["points"])
            assert found["points"] == pytest.approx(found["size"] * unit)
            covered = (np.abs(means - found["size"]) <= 1.959964 * sd).mean()
            error = np.sqrt(found["coverage"] * (1 - found["coverage"]) / TRIALS)
            assert covered == pytest.approx(found["coverage"], abs=4 * error)


def test_wide_priors_cost_nothing_and_tight_ones_all() -> None:
    design = example_design(example_patients(seed=2))
    sds = assumed_spreads(design, Priors())
    wide = prior_costs(design, WIDE, sds)
    assert wide["pull"].max() < 1e-5
    np.testing.assert_allclose(wide["coverage"], 0.95, atol=1e-4)
    tight = prior_costs(design, Priors(arm=1e-3, moderator_slope=1e-3, interaction=1e-3), sds)
    assert tight["pull"].min() > 0.99
    assert tight["coverage"].max() < 1e-6


def test_an_interval_of_another_width_covers_as_often_as_it_says() -> None:
    design = example_design(example_patients(seed=2))
    table = prior_costs(design, WIDE, assumed_spreads(design, Priors()), interval=0.8)
    np.testing.assert_allclose(table["coverage"], 0.8, atol=1e-4)


def test_assumed_sds_are_those_of_least_squares_and_the_priors_medians() -> None:
    design = example_design(example_patients(seed=3), therapist_by_arm=True)
    priors = Priors(therapist_sd=0.4, therapist_slope_sd=0.2, therapist_arm_sd=0.1)
    found = assumed_spreads(design, priors)
    X = design.X[:, design.present]
    residual = design.y - X @ np.linalg.lstsq(X, design.y)[0]
    expected = np.sqrt((residual**2).sum() / (len(X) - X.shape[1]))
    np.testing.assert_allclose(found.residual_sd, expected, rtol=1e-10)
    # Half of a half-normal's draws lie below 0.67449 of its scale
    for name in ("therapist_sd", "therapist_slope_sd", "therapist_arm_sd"):
        expected = 0.6744897501960817 * getattr(priors, name)
        np.testing.assert_allclose(getattr(found, name), expected)


def test_an_outcome_without_residuals_leaves_the_priors_nothing_to_pull() -> None:
    design = example_design(example_patients(seed=5))
    exact = replace(design, y=design.X @ np.linspace(-0.5, 0.5, design.X.shape[1]))
    sds = assumed_spreads(exact, Priors())
    assert sds.residual_sd[0] == 0.01
    # With all slopes alike; that they vary is not known from the residuals
    table = prior_costs(
        exact,
        Priors(),
        spreads(
            residual_sd=0.01, therapist_sd=0.2, therapist_slope_sd=0.0, therapist_correlation=0.0
        ),
    )
    assert table["pull"].max() < 1e-3
    np.testing.assert_allclose(table["coverage"], 0.95, atol=1e-3)


def test_the_outcomes_values_matter_by_their_residual_sd_alone() -> None:
    design = example_design(example_patients(seed=4))
    sds = assumed_spreads(design, Priors())
    other = replace(design, y=np.random.default_rng(1).permutation(design.y))
    left, right = (prior_costs(each, Priors(), sds) for each in (design, other))
    np.testing.assert_array_equal(left["pull"], right["pull"])


@pytest.fixture(scope="module")
def trial() -> Trial:
    made = simulate_trial(seed=1)
    return trial_from_frame(made.study, made.frame)


def with_settings(trial: Trial, **settings: object) -> Trial:
    return replace(trial, study=narrowed(trial.study, **settings))


def test_a_trial_has_its_outcomes_costs(trial: Trial) -> None:
    costs = expected_costs(trial)
    table = costs.table
    assert tuple(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["outcome"])) == list(trial.study.outcomes)
    assert costs.others == ()
    quantities = table[table["outcome"] == "pain"].groupby("quantity", sort=False)["level"]
    # An average and three arms, three pairs, three pairs; each of three sizes
    assert quantities.nunique().to_dict() == {
        "moderator_slope": 4,
        "arm_contrast": 3,
        "interaction": 3,
    }


@pytest.mark.parametrize(
    ("settings", "closed"),
    [
        ({"likelihood": "native"}, {"pain", "disability", "function"}),
        ({"joint": True}, set()),
        ({"alliance": "within_between"}, set()),
        ({"missing_alliance": "impute"}, set()),
        ({"therapist": "none"}, {"pain", "disability", "function", "gpe"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else next(iter(value)),
)
def test_outcomes_without_a_closed_form_are_named(
    trial: Trial, settings: dict[str, object], closed: set[str]
) -> None:
    costs = expected_costs(with_settings(trial, **settings))
    own = {name for name in trial.study.outcomes if trial.study.outcomes[name].family == "gaussian"}
    wanted = closed & own if "likelihood" in settings else closed
    assert set(costs.table["outcome"]) == wanted
    assert set(costs.others) == set(trial.study.outcomes) - wanted


def test_costs_of_a_fit_are_those_at_its_posterior_means(made_fit: Fit) -> None:
    table = costs_of_fit(made_fit)
    for outcome in made_fit.outcomes:
        design = made_fit.design(outcome)
        means = {
            name: float(made_fit.trees[outcome]["posterior"].dataset[name].mean())
            for name in ("residual_sd", "therapist_sd", "therapist_slope_sd")
        }
        known = spreads(**means, therapist_correlation=0.0)
        expected = prior_costs(design, made_fit.specs[outcome].priors, known)
        found = table[table["outcome"] == outcome].reset_index(drop=True)
        np.testing.assert_allclose(found["pull"], expected["pull"])
        np.testing.assert_allclose(found["coverage"], expected["coverage"])


def results() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "prior_coverage.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def studied(case: dict[str, Any], **wanted: object) -> bool:
    return all(case[name] == value for name, value in wanted.items())


def default_of(result: dict[str, Any]) -> int:
    """Place of the default priors among a result's candidates."""
    own = Priors()
    wanted = {
        "shape": "normal",
        "therapist_sd": own.therapist_sd,
        "slope_sd": own.therapist_slope_sd,
        "interaction": own.interaction,
    }
    return int(result["candidates"].index(wanted))


class TestStudyOfCoverage:
    def test_the_shares_that_are_told_are_those_of_the_study(self) -> None:
        usual = {"patients": 180, "nested": False, "therapist_sd": 0.25, "interaction": 0.3}
        found = {
            (each["case"]["therapists"], each["case"]["slope_sd"]): each["coverage"][
                default_of(each)
            ][0]
            for each in results()["cases"]
            if studied(each["case"], **usual)
        }
        for therapists, shares in SLOPE_COVERAGE.items():
            for sd, share in shares.items():
                assert share == pytest.approx(found[therapists, sd], abs=0.0051)
        enough = [share for (therapists, _), share in found.items() if therapists >= 20]
        assert enough
        assert min(enough) >= 0.93

    def test_the_table_in_the_docs_is_the_studys(self) -> None:
        text = DOCS.read_text(encoding="utf-8").split("## What the priors cost")[1]
        rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
        told = {
            tuple(cell.strip() for cell in row[:3]): [cell.strip() for cell in row[3:]]
            for row in rows
            if "crossed" in row[0] or "nested" in row[0]
        }
        shown = [("normal", 0.15), ("normal", 0.3), ("normal", 0.45), ("t4", 0.3)]
        shown.append(("exponential", 0.3))
        found = {}
        for each in results()["cases"]:
            case, k = each["case"], default_of(each)
            if not studied(case, therapist_sd=0.25, interaction=0.3):
                continue
            own = {
                (one["shape"], one["slope_sd"]): each["coverage"][place][0]
                for place, one in enumerate(each["candidates"])
                if one["therapist_sd"] == 0.3
            }
            kind = "nested" if case["nested"] else "crossed"
            cells = [f"{min(own[prior], 1):.2f}" for prior in shown]
            cells.append(f"{each['ols_coverage'][0]:.2f}")
            cells.append(f"{each['width'][k][0]:.2f} / {each['ols_width'][0]:.2f}")
            patients, sd = f"{case['patients']:,}", f"{case['slope_sd']:g}"
            found[f"{case['therapists']} {kind}", patients, sd] = cells
        assert found == told

    def test_the_closed_form_foretells_the_study(self) -> None:
        """Interactions of 0.5 and 0.8 residual SDs at 60, 180 and 1,000 patients.

        Coverage within 4 standard errors; the mean estimate within 4 of its own, of which the
        intervals' mean width is four SDs. That the SDs are not known costs little here: slopes
        do not vary between therapists.
        """
        cases = [each for each in results()["cases"] if each["case"]["interaction"] > 0.3]
        assert len(cases) == 5
        study = narrowed(read_study(find_study("ferreira2013")), outcomes=["pain"])
        known = Assumptions(0.3, 0.5, 0.25, 0.0)
        question = assurance_question(study, "MCE-GE", known, Criterion(0.975, 0.0), seed=13)
        for each in cases:
            case, k = each["case"], default_of(each)
            rows = []
            for number in range(20):
                design = planned_trial(question, case["patients"], 12, case["interaction"], number)
                unit = design.scaling.outcome[1]
                sds = {"residual_sd": 1, "therapist_sd": 0.25, "therapist_slope_sd": 0.0}
                true = {name: sd / unit for name, sd in sds.items()}
                size = case["interaction"] / unit
                table = prior_costs(
                    design, Priors(), spreads(**true, therapist_correlation=0.0), sizes=(size,)
                )
                own = (table["quantity"] == "interaction") & (table["level"] == "MCE-GE")
                rows.append(table.loc[own, ["expected", "coverage"]].iloc[0])
            expected, coverage = np.mean(rows, axis=0)
            error = each["width"][k][1] / 4 / np.sqrt(each["trials"])
            assert each["estimate"][k][1] == pytest.approx(expected, abs=4 * error)
            assert each["coverage"][k][1] == pytest.approx(coverage, abs=4 * each["error"][k][1])

    @pytest.mark.parametrize(
        ("therapists", "simulated"), [(2, 3), (3, 3), (5, 3), (6, 6), (11, 6), (12, 12), (19, 12)]
    )
    def test_fewer_therapists_were_simulated_than_there_are(
        self, therapists: int, simulated: int
    ) -> None:
        design = example_design(example_patients(patients=200, therapists=therapists))
        found = slope_coverage(design, ModelSpec("example"))
        assert found is not None
        assert (found.therapists, found.simulated) == (therapists, simulated)
        assert f"{therapists} here" in found.words
        for share in SLOPE_COVERAGE[simulated].values():
            assert f"{100 * share:.0f}%" in found.words

    def test_nothing_is_told_where_nothing_is_known(self) -> None:
        few = example_design(example_patients(therapists=4))
        many = example_design(example_patients(therapists=20))
        assert slope_coverage(few, ModelSpec("example")) is not None
        assert slope_coverage(many, ModelSpec("example")) is None
        assert slope_coverage(few, ModelSpec("example", therapist="intercept")) is None
        other = ModelSpec("example", priors=Priors(therapist_slope_sd=0.2))
        assert slope_coverage(few, other) is None

    def test_therapists_without_patients_do_not_count(self) -> None:
        design = example_design(example_patients(therapists=6, no_patient=True))
        found = slope_coverage(design, ModelSpec("example"))
        assert found is not None
        assert (found.therapists, found.simulated) == (5, 3)
