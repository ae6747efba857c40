"""Predictions against brute force from the draws, closed forms and quadrature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from prediction_examples import example_fit, one_predictor
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.inference.answers.predictions import predict
from alliance.inference.draws.datatree import draws_of, flat
from alliance.inference.patients.asked_patients import AskedPatients, patient_grid, trial_patients
from alliance.inference.posterior import Rows
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.therapist_parts import TherapistChoice
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import Design

Array = NDArray[np.float64]
ERRORS = 4


def patients_of(outcome: str, design: Design, **changes: Any) -> AskedPatients:
    """Five patients in their own arms, with three therapists."""
    random = np.random.default_rng(3)
    rows = Rows(
        arm_index=np.array([0, 1, 2, 0, 1]),
        moderator=random.uniform(75, 100, 5),
        baseline=random.uniform(5, 20, 5) if design.has_baseline else None,
        covariates=np.empty((5, 0)),
    )
    values: dict[str, Any] = {
        "outcome": outcome,
        "names": tuple("abcde"),
        "rows": rows,
        "own_arm": True,
        "therapists": None,
        "extrapolated": np.zeros(5, dtype=bool),
        "alliance_named": False,
    }
    return AskedPatients(**(values | changes))


def gaussian_score(design: Design, predictor: float) -> float:
    return design.scaling.outcome[0] + design.scaling.outcome[1] * predictor


# Against loops over draws and patients ------------------------------------------------------------


@pytest.mark.parametrize("alliance", ["total", "within_between"])
@pytest.mark.parametrize("therapist", ["average", "known"])
def test_expected_scores_are_those_of_loops_over_draws_and_patients(
    alliance: str, therapist: str
) -> None:
    fit = example_fit(alliance=alliance)
    design, draws = fit.design("function"), draws_of(fit.trees["function"])
    patients = patients_of("function", design)
    ids = tuple(design.therapists[k] for k in (1, 0, 1, 3, 2))
    choice = "average" if therapist == "average" else TherapistChoice.known(*ids)
    found = predict(fit["function"], patients, therapist=choice, interval=0.8)
    assert found.draws is not None
    for row in range(5):
        named = ids[row] if therapist == "known" else None
        by_draw = [
            gaussian_score(
                design,
                one_predictor(
                    design, draws.isel(chain=chain, draw=draw), patients.rows, row, named
                ),
            )
            for chain in range(2)
            for draw in range(40)
        ]
        np.testing.assert_allclose(
            found.draws["expected"].values[..., row].ravel(), by_draw, rtol=1e-12
        )
        line = found.table.iloc[row]
        assert line["expected"] == pytest.approx(np.mean(by_draw))
        assert line["expected_sd"] == pytest.approx(np.std(by_draw, ddof=1))
        lower, upper = np.quantile(by_draw, [0.1, 0.9])
        assert (line["expected_lower"], line["expected_upper"]) == pytest.approx((lower, upper))


def recorded(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Drawn scores as whole ones within the scale, as those of the trial are."""
    return np.clip(np.round(scores), low, high)


# Single outcomes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["published", "student_t", "native"])
@pytest.mark.parametrize("outcome", ["function", "gpe"])
def test_chances_are_shares_of_the_drawn_outcomes(likelihood: str, outcome: str) -> None:
    """Exact chances given each draw, against the outcomes drawn beside them."""
    fit = example_fit(likelihood, draws=10_000)
    low, high = fit.study.outcomes[outcome].range
    middle = float(round((low + high) / 2))
    change = 3.0 if outcome == "function" else None
    thresholds = Thresholds(at_least=middle, at_most=middle - 1, change=change)
    patients = patients_of(outcome, fit.design(outcome))
    found = predict(fit[outcome], patients, thresholds=thresholds, therapist="new")
    assert found.draws is not None
    scores = recorded(found.draws["outcome"].values.reshape(-1, 5), low, high)
    shares = {"at_least": scores >= middle, "at_most": scores <= middle - 1}
    if change is not None:
        shares["change"] = scores >= patients.rows.baseline + change
    for name, reached in shares.items():
        chance = found.table[f"prob_{name}"]
        error = np.sqrt(chance * (1 - chance) / len(scores))
        assert (np.abs(chance - reached.mean(axis=0)) < ERRORS * error + 1e-12).all(), name
        assert found.table[name].unique().tolist() == [getattr(thresholds, name)]


def test_improvement_counts_downwards_where_lower_is_better() -> None:
    fit = example_fit(draws=2000)
    described = fit.study.outcomes["function"].model_copy(update={"better": "lower"})
    study = fit.study.model_copy(update={"outcomes": {"function": described}})
    turned = Fit(study, fit.specs, fit.trees, fit.flow, fit.manifest)
    patients = patients_of("function", fit.design("function"))
    found = predict(turned["function"], patients, thresholds=Thresholds(change=3.0))
    assert found.draws is not None
    scores = recorded(found.draws["outcome"].values.reshape(-1, 5), *described.range)
    reached = scores <= patients.rows.baseline - 3.0
    chance = found.table["prob_change"]
    error = np.sqrt(chance * (1 - chance) / 4000)
    assert (np.abs(chance - reached.mean(axis=0)) < ERRORS * error).all()


def test_patients_of_one_new_therapist_share_that_ones_draw() -> None:
    fit = example_fit(draws=500)
    design = fit.design("function")
    same = Rows(
        *(
            np.repeat(part, 3, axis=0)
            for part in (np.array([0]), np.array([90.0]), np.array([10.0]), np.empty((1, 0)))
        )
    )
    patients = patients_of(
        "function",
        design,
        rows=same,
        names=("1", "2", "3"),
        therapists=("X", "Y", "X"),
        extrapolated=np.zeros(3, dtype=bool),
    )
    found = predict(fit["function"], patients, therapist="new")
    assert found.draws is not None
    expected = found.draws["expected"].values.reshape(-1, 3)
    scores = found.draws["outcome"].values.reshape(-1, 3)
    np.testing.assert_array_equal(expected[:, 0], expected[:, 2])
    assert not np.isclose(expected[:, 0], expected[:, 1]).any()
    assert not np.isclose(scores[:, 0], scores[:, 2]).any()  # patients differ all the same
    assert found.table["therapist"].tolist() == ["new (X)", "new (Y)", "new (X)"]
    with pytest.raises(InputError, match="no therapist 'X'"):
        predict(fit["function"], patients)


# Arms compared ------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["published", "native"])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_arms_are_compared_for_the_same_patient(likelihood: str, better: str) -> None:
    fit = example_fit(likelihood, therapist_by_arm=True)
    described = fit.study.outcomes["function"].model_copy(update={"better": better})
    study = fit.study.model_copy(update={"outcomes": {"function": described}})
    fit = Fit(study, fit.specs, fit.trees, fit.flow, fit.manifest)
    patients = patient_grid(fit["function"], alliance=[80, 95])
    found = predict(fit["function"], patients, contrasts=True, thresholds=Thresholds(better_by=1.0))
    assert found.draws is not None
    assert found.contrasts is not None
    expected, scores = (
        found.draws[name].values.reshape(-1, 2, 3) for name in ("expected", "outcome")
    )
    whole = recorded(scores, *described.range)
    gain = 1 if better == "higher" else -1
    lines = found.contrasts.to_dict("records")
    assert [line["contrast"] for line in lines] == 2 * ["MCE-GE", "SMT-GE", "SMT-MCE"]
    assert [line["moderator"] for line in lines] == 3 * [80] + 3 * [95]
    pairs = [(1, 0), (2, 0), (2, 1)]
    for number, line in enumerate(lines):
        patient, (later, earlier) = number // 3, pairs[number % 3]
        mean = expected[:, patient, later] - expected[:, patient, earlier]
        single = scores[:, patient, later] - scores[:, patient, earlier]
        assert line["expected"] == pytest.approx(mean.mean())
        assert line["expected_sd"] == pytest.approx(mean.std(ddof=1))
        limits = (line["expected_lower"], line["expected_upper"])
        assert limits == pytest.approx(np.quantile(mean, [0.025, 0.975]))
        limits = (line["outcome_lower"], line["outcome_upper"])
        assert limits == pytest.approx(np.quantile(single, [0.025, 0.975]))
        assert line["prob_positive"] == np.mean(mean > 0)
        assert line["prob_better"] == np.mean(gain * mean > 0)
        assert line["prob_better_by"] == np.mean(gain * mean >= 1)
        single = whole[:, patient, later] - whole[:, patient, earlier]
        assert line["prob_outcome_better"] == np.mean(gain * single > 0)
        assert line["prob_outcome_better_by"] == np.mean(gain * single >= 1)
    # The same rank: the arm with the better expected score is never the worse one for a patient.
    difference = np.diff(scores, axis=2) * np.sign(np.diff(expected, axis=2))
    assert difference.min() > -1e-9


def test_a_gaussian_patient_keeps_the_residual_from_arm_to_arm() -> None:
    fit = example_fit()
    found = predict(fit["function"], patient_grid(fit["function"], alliance=[80, 95]))
    assert found.draws is not None
    residual = (found.draws["outcome"] - found.draws["expected"]).values.reshape(-1, 2, 3)
    np.testing.assert_allclose(residual, residual[..., :1] * np.ones(3), atol=1e-9)
    # ... and another patient has another one.
    assert abs(stats.spearmanr(residual[:, 0, 0], residual[:, 1, 0])[0]) < 4 / np.sqrt(80)


# What comes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["published", "student_t", "native"])
def test_answers_do_not_depend_on_the_blocks_they_are_computed_in(
    likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = example_fit(likelihood)
    for outcome in fit.outcomes:
        patients = patient_grid(fit[outcome], alliance=list(range(75, 100, 3)))
        whole = predict(fit[outcome], patients, contrasts=True)
        monkeypatch.setattr(
            "alliance.inference.draws.summaries.BLOCK_NUMBERS", 500
        )  # two patients each
        parts = predict(fit[outcome], patients, contrasts=True)
        monkeypatch.undo()
        xr.testing.assert_allclose(whole.draws, parts.draws, rtol=1e-12)
        numbers = whole.table.select_dtypes("number")
        np.testing.assert_allclose(parts.table[numbers.columns], numbers, rtol=1e-12)
        assert whole.contrasts is not None
        assert parts.contrasts is not None
        assert parts.contrasts["contrast"].tolist() == whole.contrasts["contrast"].tolist()


def test_results_have_arvizs_groups_and_say_what_each_row_is() -> None:
    fit = example_fit(covariates=("age", "sex"))
    patients = patient_grid(fit["function"], alliance=[80, 90], covariates={"sex": ["F", "M"]})
    found = predict(fit["function"], patients, arms=["SMT", "GE"])
    tree = found.tree()
    assert set(tree.children) == {"predictions", "predictions_constant_data"}
    drawn, asked = tree["predictions"].dataset, tree["predictions_constant_data"].dataset
    assert dict(drawn.sizes) == {"chain": 2, "draw": 40, "row": 8}
    assert drawn["outcome"].dims == ("chain", "draw", "row")
    assert asked["arm"].values.tolist() == 4 * ["GE", "SMT"]
    assert asked["moderator"].values.tolist() == 2 * [80, 80, 90, 90]
    assert asked["covariates"].sel(covariate="sex[M]").values.tolist() == 4 * [0] + 4 * [1]
    assert asked.attrs == {"outcome": "function"}
    table = found.table
    assert table["arm"].tolist() == asked["arm"].values.tolist()
    assert table["sex[M]"].tolist() == asked["covariates"].values[:, 1].tolist()
    assert len(tree.to_netcdf(engine="h5netcdf")) > 0
    with pytest.raises(InputError, match="not kept"):
        predict(fit["function"], patients, keep_draws=False).tree()


def test_the_same_seed_gives_the_same_answer_and_by_default_that_of_the_run() -> None:
    fit = example_fit()
    default, same, other = (predict(fit["gpe"], seed=seed).table for seed in (None, 3, 4))
    assert fit.manifest["seed"] == 3
    assert default.equals(same)
    assert not default["outcome_sd"].equals(other["outcome_sd"])


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "changes", "problem", "remedy"),
    [
        ("gp", {}, "no outcome 'gp'", "'gpe'"),
        ("gpe", {"arms": ["XX"]}, "no arm 'XX'", "'GE', 'MCE', 'SMT'"),
        ("gpe", {"arms": ["GE"], "contrasts": True}, "'GE' is the only one", "GE, MCE, SMT"),
        ("gpe", {"therapist": "nobody"}, "no therapist 'nobody'", "'T01', 'T02'"),
        ("gpe", {"therapist": "own"}, "without therapists of their own", "new or average"),
        ("gpe", {"interval": 1.0}, "1 is not between 0 and 1", "0.95"),
        ("gpe", {"thresholds": Thresholds(at_least=6)}, "at least 6", "from -5 to 5"),
        ("gpe", {"thresholds": Thresholds(at_most=-5.1)}, "at most -5.1", "from -5 to 5"),
        ("gpe", {"thresholds": Thresholds(change=1)}, "no baseline", "at_least"),
        ("gpe", {"thresholds": Thresholds(better_by=11)}, "difference of 11", "from -10 to 10"),
        ("function", {"thresholds": Thresholds(change=0)}, "change of 0", "above 0"),
    ],
)
def test_bad_queries_are_refused_with_what_is_valid(
    outcome: str, changes: dict[str, Any], problem: str, remedy: str
) -> None:
    with pytest.raises(InputError) as refused:
        predict(example_fit()[outcome], **changes)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy


def test_patients_of_another_outcome_or_without_alliance_are_refused() -> None:
    fit = example_fit()
    with pytest.raises(InputError, match="described for gpe, not for function"):
        predict(fit["function"], patient_grid(fit["gpe"]))
    imputed = example_fit(missing_alliance="impute")
    with pytest.raises(InputError, match=r"alliance of \d+ patients is missing"):
        predict(imputed["function"], trial_patients(imputed["function"]))


def test_expected_scores_of_native_outcomes_stay_on_their_scale() -> None:
    fit = example_fit("native")
    for outcome in fit.outcomes:
        low, high = fit.study.outcomes[outcome].range
        found = predict(fit[outcome])
        assert found.draws is not None
        scores = found.draws["outcome"].values
        assert scores.min() >= low
        assert scores.max() <= high
        np.testing.assert_array_equal(scores, np.round(scores))
        assert flat(draws_of(fit.trees[outcome]), "beta").shape[0] == scores[..., 0].size
