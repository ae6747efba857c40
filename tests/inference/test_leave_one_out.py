"""Leave-one-out, calibration, explained variance and comparisons, on made-up draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from arviz_stats import compare, loo
from effect_fits import PAIRS, chance_of, draw_of, fit_of, mean_of, score_distribution
from prediction_examples import one_predictor, therapist_posterior
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import with_log_likelihood
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, leave_one_out, loo_pit
from alliance.inference.leaving_out.leave_one_out_comparison import compare_loo, of_whole_scores
from alliance.inference.leaving_out.therapists import leave_therapist_out, without_patients
from alliance.inference.pointwise.log_likelihood import (
    patient_log_likelihood,
    therapist_log_likelihood,
)
from alliance.inference.pointwise.replicates import explained_variance
from alliance.inference.runs.fit import Fit
from alliance.models.design.design import Design

DRAWS = 20  # of each of two chains


def fit_with(outcome: str = "function", seed: int = 5, **options: object) -> Fit:
    fit = fit_of(outcome, lambda design: therapist_posterior(design, seed, draws=DRAWS), **options)
    return replace(fit, manifest=fit.manifest | {"seed": 3})


def answer(elpd: list[float] | np.ndarray, *, by: str = "patient", k: float = 0.1) -> LeaveOneOut:
    """A made-up result with this elpd of each unit."""
    values = np.asarray(elpd, dtype=float)
    n = len(values)
    return LeaveOneOut(
        "function",
        by,
        tuple(map(str, range(n))),
        np.ones(n, dtype=np.int64),
        values,
        values + 0.1,
        np.full(n, k),
        0.7,
        np.zeros(n, dtype=bool),
        np.zeros((4, n)),
    )


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_elpd_is_the_log_of_the_weighted_mean_density(outcome: str, family: str) -> None:
    fit = fit_with(outcome, family=family)
    found = leave_one_out(fit[outcome])
    pointwise = patient_log_likelihood(fit[outcome]).values.reshape(2 * DRAWS, -1)
    np.testing.assert_allclose(special.logsumexp(found.log_weights, axis=0), 0, atol=1e-10)
    weighted = special.logsumexp(found.log_weights + pointwise, axis=0)
    np.testing.assert_allclose(found.elpd_i, weighted, rtol=1e-10)
    row = found.table.iloc[0]
    assert row["units"] == row["patients"] == len(fit.patients(outcome)["outcome"])
    assert row["elpd"] == pytest.approx(weighted.sum())
    assert row["se"] == pytest.approx(np.sqrt(len(weighted)) * weighted.std(ddof=1))
    gained = special.logsumexp(pointwise, axis=0) - np.log(2 * DRAWS) - weighted
    assert row["p_loo"] == pytest.approx(gained.sum())
    # 1 - 1 / log10(40) with so few draws (Vehtari et al. 2024)
    assert row["good_k"] == pytest.approx(1 - 1 / np.log10(2 * DRAWS))
    units = found.unit_table
    assert units["patient"].tolist()[:3] == ["1", "2", "3"]
    assert units["elpd"].sum() == pytest.approx(row["elpd"])


def test_what_patients_are_named_by_is_their_position() -> None:
    table = leave_one_out(fit_with()["function"]).unit_table
    assert table["patient"].tolist() == [str(k) for k in range(1, len(table) + 1)]


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_pit_is_the_weighted_distribution_function(outcome: str, family: str) -> None:
    fit = fit_with(outcome, family=family)
    found = leave_one_out(fit[outcome])
    pit = loo_pit(fit[outcome], found)
    design, rows = fit.design(outcome), fit[outcome].rows
    scores = design.scale.offset + design.scale.unit * design.y
    for k in (0, 11):
        therapist = design.therapists[design.therapist_index[k]]
        upper = lower = 0.0
        for number in range(2 * DRAWS):
            draw = draw_of(fit, outcome, number)
            predictor = one_predictor(design, draw, rows, k, therapist)
            weight = np.exp(found.log_weights[number, k])
            if not design.family.discrete:  # the score itself, not as it is recorded
                upper += weight * score_distribution(design, draw, predictor).cdf(scores[k])
                lower = upper
                continue
            upper += weight * chance_of(design, draw, predictor, scores[k], upwards=False)
            lower += weight * chance_of(design, draw, predictor, scores[k] - 1, upwards=False)
        assert pit.upper[k] == pytest.approx(upper, rel=1e-8)
        assert pit.lower[k] == pytest.approx(lower, rel=1e-8, abs=1e-10)
    assert (pit.lower <= pit.values).all()
    assert (pit.values <= pit.upper).all()
    np.testing.assert_array_equal(loo_pit(fit[outcome]).values, pit.values)  # the same each time


def test_the_band_holds_and_the_test_sees_what_is_not_uniform() -> None:
    fit = fit_with()
    pit = loo_pit(fit["function"])
    even = replace(pit, values=(np.arange(170) + 0.5) / 170)
    curve = even.curve()
    assert list(curve) == ["pit", "share", "lower", "upper"]
    assert ((curve["lower"] <= curve["share"]) & (curve["share"] <= curve["upper"])).all()
    crowded = replace(even, values=0.5 + 0.5 * (even.values - 0.5)).curve()
    assert ((crowded["share"] < crowded["lower"]) | (crowded["share"] > crowded["upper"])).any()
    table = even.table.iloc[0]
    assert table["mean"] == pytest.approx(0.5)
    assert table["sd"] == pytest.approx(1 / np.sqrt(12), rel=0.01)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_explained_variance_is_that_of_the_scores(outcome: str, family: str) -> None:
    fit = fit_with(outcome, family=family)
    design, rows = fit.design(outcome), fit[outcome].rows
    found = explained_variance(fit[outcome])
    number = 27
    draw = draw_of(fit, outcome, number)

    def expected(k: int, therapist: str | None) -> float:
        return mean_of(design, draw, one_predictor(design, draw, rows, k, therapist))

    def spread(k: int) -> float:
        own = design.therapists[design.therapist_index[k]]
        here = score_distribution(design, draw, one_predictor(design, draw, rows, k, own))
        return float(here[0].var() if isinstance(here, tuple) else here.var())

    n = len(rows)
    own = np.array([expected(k, design.therapists[design.therapist_index[k]]) for k in range(n)])
    alone = np.array([expected(k, None) for k in range(n)])
    residual = np.mean([spread(k) for k in range(n)])
    both = own.var(ddof=1) / (own.var(ddof=1) + residual)
    between = (own - alone).var()
    by_patient = alone.var(ddof=1) / (alone.var(ddof=1) + residual + between)
    # Student t draws with up to two degrees of freedom have no variance: see the next test
    if np.isfinite(residual):
        # ArviZ divides by n; the two differ by less than 1 / n of the share
        assert found.draws["patient and therapist"][number] == pytest.approx(both, abs=1 / n)
        assert found.draws["patient"][number] == pytest.approx(by_patient, abs=1 / n)
    table = found.table
    assert table["explained_by"].tolist() == ["patient and therapist", "patient"]
    assert ((table["lower"] <= table["mean"]) & (table["mean"] <= table["upper"])).all()


def test_an_infinite_variance_explains_nothing() -> None:
    def heavy(design: Design) -> xr.Dataset:
        found = therapist_posterior(design)
        return found.assign(degrees_of_freedom=0 * found["degrees_of_freedom"] + 1.5)

    found = explained_variance(fit_of("function", heavy, family="student_t")["function"])
    assert (found.draws["patient"] == 0).all()


def test_by_therapist_the_therapists_without_patients_are_left_aside() -> None:
    fit = fit_with()
    found = leave_therapist_out(fit["function"], refits="none")
    design = fit.design("function")
    pointwise = therapist_log_likelihood(fit["function"])
    assert found.units == design.therapists
    assert found.patients.sum() == len(design.y)
    np.testing.assert_allclose(
        found.log_density,
        special.logsumexp(pointwise, axis=(0, 1)) - np.log(2 * DRAWS),
        rtol=1e-10,
    )
    assert not found.refitted.any()
    assert found.unit_table["therapist"].tolist() == list(design.therapists)


def test_patients_are_taken_out_of_a_design_and_nothing_else() -> None:
    design = fit_of().design("function")
    own = np.flatnonzero(design.therapist_index == 2)
    reduced = without_patients(design, own)
    assert len(reduced.y) == len(design.y) - len(own)
    assert (reduced.scaling, reduced.therapists) == (design.scaling, design.therapists)
    assert (reduced.moments.cross_products[2] == 0).all()
    kept = [j for j in range(5) if j != 2]
    np.testing.assert_array_equal(
        reduced.moments.cross_products[kept], design.moments.cross_products[kept]
    )


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # made-up draws
def test_differences_are_those_of_arviz() -> None:
    fits = {"one": fit_with(seed=5), "two": fit_with(seed=6), "three": fit_with(seed=7)}
    found = compare_loo({name: each["function"] for name, each in fits.items()})
    results = {
        name: loo(
            with_log_likelihood(fit["function"].draws, patient_log_likelihood(fit["function"])),
            pointwise=True,
        )
        for name, fit in fits.items()
    }
    wanted = compare(results)
    table = found.table.set_index("fit")
    assert list(table.index) == list(wanted.index)
    n = table["units"].iloc[0]
    for name in table.index:
        assert table["elpd"][name] == pytest.approx(results[name].elpd)
        # ArviZ counts differences from the best upwards and divides by n, not n - 1
        assert -table["elpd_difference"][name] == pytest.approx(
            abs(results[table.index[0]].elpd - results[name].elpd), abs=1e-8
        )
        se = float(wanted["dse"][name]) * np.sqrt(n / (n - 1))
        assert table["se_difference"][name] == pytest.approx(se, rel=0.05, abs=0.05)


def test_whole_scores_have_the_normal_probability_of_their_interval() -> None:
    fit = fit_with("gpe", family="gaussian")
    found = leave_one_out(fit["gpe"])
    whole = of_whole_scores(fit["gpe"], found)
    design, rows = fit.design("gpe"), fit["gpe"].rows
    mean, unit = design.scaling.outcome
    for k in (0, 20):
        therapist = design.therapists[design.therapist_index[k]]
        total = 0.0
        for number in range(2 * DRAWS):
            draw = draw_of(fit, "gpe", number)
            place = mean + unit * one_predictor(design, draw, rows, k, therapist)
            sd = unit * float(draw["residual_sd"])
            score = mean + unit * design.y[k]
            ends = stats.norm(place, sd).cdf([score - 0.5, score + 0.5])
            total += np.exp(found.log_weights[number, k]) * (ends[1] - ends[0])
        assert whole.elpd_i[k] == pytest.approx(np.log(total), rel=1e-7)


def test_families_are_set_beside_one_another_on_whole_scores() -> None:
    fits = {"normal": fit_with("gpe", family="gaussian"), "own": fit_with("gpe", family="ordinal")}
    found = compare_loo({name: each["gpe"] for name, each in fits.items()})
    assert found.whole_scores
    by_name = dict(zip(found.names, found.results, strict=True))
    assert by_name["own"].elpd == pytest.approx(leave_one_out(fits["own"]["gpe"]).elpd)
    assert (by_name["normal"].elpd_i < 0).all()  # logs of probabilities
    with pytest.raises(InputError, match="by therapist"):
        compare_loo({name: each["gpe"] for name, each in fits.items()}, by="therapist")


def test_scores_that_are_not_whole_are_refused() -> None:
    fit = fit_with("gpe", family="gaussian")
    tree = fit.trees["gpe"].copy()
    tree["observed_data"] = xr.DataTree(tree["observed_data"].dataset + 0.25)
    other = replace(fit, trees={"gpe": tree})
    with pytest.raises(InputError, match="not whole numbers"):
        of_whole_scores(other["gpe"], leave_one_out(other["gpe"]))


def with_patients(fit: Fit, **changes: np.ndarray) -> Fit:
    """The fit with some of its patients' values changed."""
    tree = fit.trees["function"].copy()
    data = tree["constant_data"].to_dataset()
    for name, values in changes.items():
        data[name] = (data[name].dims, values)
    tree["constant_data"] = xr.DataTree(data)
    return replace(fit, trees={"function": tree})


def test_fits_of_other_data_are_refused() -> None:
    fit = fit_with()
    patients = fit.patients("function")
    turned = with_patients(fit, arm_index=patients["arm_index"].values[::-1])
    with pytest.raises(InputError, match="other data: arm of function differs"):
        compare_loo({name: each["function"] for name, each in {"one": fit, "two": turned}.items()})
    higher = with_patients(fit, moderator=patients["moderator"].values + 1)
    with pytest.raises(InputError, match="other data: moderator"):
        compare_loo({name: each["function"] for name, each in {"one": fit, "two": higher}.items()})
    tree = fit.trees["function"].copy()
    for group in ("constant_data", "observed_data"):
        tree[group] = xr.DataTree(tree[group].to_dataset().isel(patient=slice(1, None)))
    fewer = replace(fit, trees={"function": tree})
    with pytest.raises(InputError, match=r"analysed \d+ and \d+ patients"):
        compare_loo({name: each["function"] for name, each in {"one": fit, "two": fewer}.items()})
    with pytest.raises(InputError, match="cannot be compared"):
        compare_loo({name: each["function"] for name, each in {"one": fit}.items()})
    with pytest.raises(InputError, match="no outcome 'pan'"):
        compare_loo({name: each["pan"] for name, each in {"one": fit, "two": fit}.items()})


def test_a_joint_model_is_refused() -> None:
    joint = replace(fit_with(), shared=xr.DataTree())
    for ask in (leave_one_out, leave_therapist_out, loo_pit):
        with pytest.raises(InputError, match="joint model") as raised:
            ask(joint["function"])
        assert "without `joint`" in str(raised.value)


def test_refits_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="no refits 'some'"):
        leave_therapist_out(fit_with()["function"], refits="some")  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize(
    ("difference", "n", "by", "told", "untold"),
    [
        # 0.01 for each of 200 patients: a sum of 2, with hardly an error
        (np.full(200, 0.01), 200, "patient", "do not tell them apart", "unreliable"),
        # A sum of 6 with a standard error of 14
        (np.tile([1.03, -0.97], 100), 200, "patient", "under 2 standard errors", "worse"),
        # A sum of 20 with a standard error of 1.4
        (np.tile([0.2, 0.0], 100), 200, "patient", "predicts worse", "seems"),
        # A sum of 12 over 12 therapists: clear, if their standard error could be believed
        (np.tile([1.1, 0.9], 6), 12, "therapist", "seems to predict worse", "predicts worse"),
    ],
)
def test_words_do_not_overclaim(
    difference: np.ndarray, n: int, by: str, told: str, untold: str
) -> None:
    from alliance.inference.leaving_out.leave_one_out_comparison import LooComparison

    base = np.full(n, -2.0)
    results = (answer(base, by=by), answer(base - difference, by=by))
    found = LooComparison("function", by, ("a", "b"), results, whole_scores=False)
    words = found.words("b")
    assert told in words
    assert untold not in words
    assert ("standard error is unreliable" in words) == (n < 100)
    table = found.table
    assert table["words"].tolist() == ["predicts best", words]
    assert table["elpd_difference"].iloc[1] == pytest.approx(-difference.sum())


def test_words_name_unreliable_weights() -> None:
    from alliance.inference.leaving_out.leave_one_out_comparison import LooComparison

    base = np.full(150, -2.0)
    high = replace(answer(base - 0.1), pareto_k=np.where(np.arange(150) < 3, 0.9, 0.1))
    found = LooComparison("function", "patient", ("a", "b"), (answer(base), high), False)
    assert "b: Pareto k is over 0.7 for 3 of 150 patients" in found.words("b")
    assert found.table["unreliable_k"].tolist() == [0, 3]
    refitted = replace(high, refitted=np.arange(150) < 3)
    assert not refitted.unreliable.any()
    assert refitted.table["k_too_high"].iloc[0] == 3
