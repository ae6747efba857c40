"""Planned trials: what is assumed holds in them, and chances agree with closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study, find_study, narrowed, read_study
from alliance.inference.many_fits.assurance import (
    COLUMNS,
    Assumptions,
    AssuranceQuestion,
    Criterion,
    assurance,
    assurance_facts,
    assurance_question,
    judged_trial,
    planned_trial,
    planned_trial_over_time,
    require_grid,
)
from alliance.inference.many_fits.task_runner import open_store
from alliance.models.design.encoding import sum_to_zero_basis

NOTHING = Assumptions(0.3, 0.5, 0.0, 0.0)
USUAL = Criterion(0.975, 0.0)
# Priors so wide that the posterior is the likelihood's.
WIDE = dict.fromkeys(
    ("intercept", "baseline_slope", "arm", "moderator_slope", "interaction", "residual_sd"), 20.0
)


def study_of(arms: int = 2, therapist: str = "none", **priors: float) -> Study:
    whole = read_study(find_study("ferreira2013"))
    one = narrowed(whole, outcomes=["pain"], therapist=therapist)
    some = dict(list(whole.arms.items())[:arms])
    return one.model_copy(update={"arms": some, "priors": priors})


def asked(study: Study, assumptions: Assumptions = NOTHING, **options: object) -> AssuranceQuestion:
    return assurance_question(study, None, assumptions, USUAL, seed=3, **options)


def test_what_is_assumed_holds_in_a_large_trial() -> None:
    """4,000 patients of 400 therapists: each SD within 4 of its standard errors."""
    assumed = Assumptions(0.3, 0.5, 0.4, 0.2)
    question = assurance_question(study_of(3), "SMT-MCE", assumed, USUAL, seed=1)
    design = planned_trial(question, 4_000, 400, 0.6, 0)
    centre, sd = design.scaling.outcome
    y = centre + sd * design.y
    found = np.linalg.lstsq(design.X, y, rcond=None)[0]
    names = list(design.coefficients)
    error = np.sqrt((1 + 0.4**2 + 0.2**2) / 4_000) + 0.4 / np.sqrt(400)
    assert found[names.index("baseline")] == pytest.approx(0.5, abs=4 * error)
    assert found[names.index("moderator")] == pytest.approx(0.3, abs=4 * error)
    own = [k for k, name in enumerate(names) if name.startswith("interaction")]
    slopes = sum_to_zero_basis(3) @ found[own]
    assert slopes[2] - slopes[1] == pytest.approx(0.6, abs=8 * error)
    assert slopes[0] == pytest.approx(0, abs=4 * error)
    residual = y - design.X @ found
    means = pd.Series(residual).groupby(design.therapist_index).mean()
    # Of 10 patients each: 0.4^2 + (1 + 0.2^2) / 10, as a variance with relative error sqrt(2/400)
    assert means.var() == pytest.approx(0.4**2 + 0.104, rel=4 * np.sqrt(2 / 400))


def test_trials_that_differ_in_the_interaction_share_their_patients() -> None:
    question = asked(study_of())
    one, other = (planned_trial(question, 60, 6, size, 5) for size in (0.0, 0.5))
    moderator = list(one.coefficients).index("moderator")
    np.testing.assert_array_equal(one.X[:, moderator], other.X[:, moderator])
    again = planned_trial(question, 60, 6, 0.5, 5)
    np.testing.assert_array_equal(other.y, again.y)
    assert not np.array_equal(other.y, planned_trial(question, 60, 6, 0.5, 6).y)


def expected_power(question: AssuranceQuestion, patients: int, size: float, trials: int) -> float:
    """Power of the two-sided t test of the interaction, over the trials' own designs.

    With flat priors the posterior of the interaction is a t distribution around its estimate, so
    that its probability of either sign is a p-value (Box & Tiao 1973, section 2.7).
    """
    powers = []
    for k in range(trials):
        design = planned_trial(question, patients, 6, size, k)
        X = design.X[:, design.present]
        names = [design.coefficients[column] for column in design.present]
        inverse = np.linalg.inv(X.T @ X)
        position = names.index("interaction[1]")
        # One orthonormal contrast of two arms: the difference of slopes is sqrt(2) times it
        away = size / np.sqrt(2 * inverse[position, position])
        freedom = patients - X.shape[1]
        edge = stats.t.ppf(question.criterion.probability, freedom)
        beyond = stats.nct.sf(edge, freedom, away) + stats.nct.cdf(-edge, freedom, away)
        powers.append(beyond)
    return float(np.mean(powers))


@pytest.mark.parametrize("size", [0.0, 0.5])
def test_chances_agree_with_the_power_of_a_t_test(size: float) -> None:
    """Two arms, no therapists, flat priors: 150 trials, within 3.3 standard errors (p = .001)."""
    question = asked(study_of(**WIDE))
    trials = 150
    found = [judged_trial(question, 120, 6, size, k) for k in range(trials)]
    convinced = np.array([max(own["above"], own["below"]) >= 0.975 for own in found])
    power = expected_power(question, 120, size, trials)
    error = np.sqrt(power * (1 - power) / trials)
    assert convinced.mean() == pytest.approx(power, abs=3.3 * error)
    assert np.mean([own["mean"] for own in found]) == pytest.approx(size, abs=0.08)


def test_the_table_counts_what_was_judged(tmp_path: Path) -> None:
    question = asked(study_of(therapist="intercept"), Assumptions(0.3, 0.5, 0.2, 0.0))
    grid = [(60, 6, 0.0), (60, 6, 0.9)]
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        open_store(tmp_path / "s", assurance_facts(question)) as store,
    ):
        table, failures = assurance(client, store, question, grid, 6)
    assert failures == {}
    assert list(table.columns) == list(COLUMNS)
    own = [judged_trial(question, 60, 6, 0.9, k) for k in range(6)]
    convinced = [max(one["above"], one["below"]) >= 0.975 for one in own]
    row = table.iloc[1]
    assert row["convincing"] == np.mean(convinced)
    assert row["mean_width"] == pytest.approx(np.mean([o["upper"] - o["lower"] for o in own]))
    means = np.array([one["mean"] for one in own])[convinced]
    assert row["exaggeration"] == pytest.approx(np.abs(means).mean() / 0.9)
    assert row["wrong_sign"] == (means < 0).mean()
    assert table["convincing_error"].gt(0).all()
    assert np.isnan(table["exaggeration"].iloc[0])


def test_what_cannot_be_planned_is_refused() -> None:
    whole = read_study(find_study("ferreira2013"))
    three = study_of(3)
    for study, contrast, told in [
        (whole, None, r"4 outcomes: .*Choose one"),
        (three, None, r"MCE-GE, SMT-GE, SMT-MCE"),
        (three, "GE-MCE", r"no contrast 'GE-MCE'"),
        (narrowed(study_of(), interaction=False), None, "no interaction"),
        (narrowed(study_of(), missing_alliance="impute"), None, "model of its own"),
    ]:
        with pytest.raises(InputError, match=told):
            assurance_question(study, contrast, NOTHING, USUAL)
    for sizes in ((4, 2, 0.0), (60, 40, 0.0), (60, 0, 0.0)):
        with pytest.raises(InputError, match=r"too few|do not suit"):
            require_grid(asked(study_of()), [sizes])
    with pytest.raises(InputError, match="do not suit"):
        require_grid(asked(study_of(), nested=True), [(60, 1, 0.0)])
    for wrong in ((0.3, 0.0), (1.0, 0.0), (0.9, -1.0)):
        with pytest.raises(InputError):
            Criterion(*wrong)
    with pytest.raises(InputError, match="therapist_sd"):
        Assumptions(0, 0, -1, 0)


def over_time(assumptions: Assumptions, **options: object) -> AssuranceQuestion:
    whole = read_study(find_study("ferreira2013_over_time"))
    study = narrowed(whole, outcomes=["function"])
    return assurance_question(study, "MCE-GE", assumptions, USUAL, seed=2, **options)


def test_visits_of_a_planned_trial_are_as_assumed() -> None:
    """9,000 patients: shares, correlations and slopes within 4 of their standard errors."""
    question = over_time(Assumptions(0.3, 0.5, 0.0, 0.0, leaving=(0.1, 0.3)))
    trial = planned_trial_over_time(question, 9_000, 12, 0.6, 0)
    first = trial.first
    seen = [len(own.y) for own in trial.designs.values()]
    assert seen[0] == 9_000
    assert np.allclose(1 - np.array(seen[1:]) / 9_000, [0.1, 0.3], atol=4 * np.sqrt(0.21 / 9_000))
    names = list(first.coefficients)
    at = [names.index("baseline"), names.index("moderator")]
    scores = np.full((9_000, 3), np.nan)
    for t, (name, own) in enumerate(trial.designs.items()):
        centre, sd = own.scaling.outcome
        scores[trial.positions[name], t] = centre + sd * own.y
    # The first visit has everybody; there residuals are what is left of the regression
    found = np.linalg.lstsq(first.X, scores[:, 0], rcond=None)[0]
    assert found[at] == pytest.approx([0.5, 0.3], abs=4 / np.sqrt(9_000))
    own = [k for k, name in enumerate(names) if name.startswith("interaction")]
    slopes = sum_to_zero_basis(3) @ found[own]
    assert slopes[1] - slopes[0] == pytest.approx(0.6, abs=4 * np.sqrt(2 / 3_000))
    residual = scores - (first.X @ found)[:, None]
    both = ~np.isnan(residual[:, 1])
    # Who left had worse scores: of those who stay, a regression on the visit before is unbiased
    slope = np.polyfit(residual[both, 0], residual[both, 1], 1)[0]
    assert slope == pytest.approx(0.6, abs=4 * 0.8 / np.sqrt(8_000))
    assert residual[~both, 0].mean() < residual[both, 0].mean()  # higher is better


def test_a_planned_trial_is_judged_at_a_visit() -> None:
    """The last one by default, where fewer are seen: wider than at the first, same patients."""
    assumed = Assumptions(0.3, 0.5, 0.2, 0.1, leaving=(0.5,))
    last, first = over_time(assumed), over_time(assumed, visit="8w")
    assert (last.spec.outcome, first.spec.outcome) == ("function_12m", "function_8w")
    widths = []
    for question in (last, first):
        judged = [judged_trial(question, 120, 6, 0.4, number) for number in range(3)]
        widths.append(np.mean([own["upper"] - own["lower"] for own in judged]))
    assert widths[0] > 1.1 * widths[1]  # half are gone; correlated .36 with the first
    assert "visits" in assurance_facts(last)
    assert "leaving" not in assurance_facts(asked(study_of()))["assumptions"]


def test_what_cannot_be_assumed_of_visits_is_refused() -> None:
    with pytest.raises(InputError, match="has a visit '9m'"):
        over_time(NOTHING, visit="9m")
    with pytest.raises(InputError, match="no outcomes over time"):
        asked(study_of(), visit="8w")
    with pytest.raises(InputError, match="3 shares who have left do not suit 3 visits"):
        over_time(Assumptions(0.3, 0.5, 0.0, 0.0, leaving=(0.1, 0.2, 0.3)))
    for wrong in ({"leaving": (0.3, 0.2)}, {"leaving": (1.0,)}, {"visit_correlation": 1.0}):
        with pytest.raises(InputError):
            Assumptions(0.3, 0.5, 0.0, 0.0, **wrong)
