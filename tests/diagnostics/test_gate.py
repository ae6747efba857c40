"""The convergence gate on planted draws: each defect is found and named, nothing else is blamed."""

from __future__ import annotations

import numpy as np
import pytest
from planted_draws import (
    CHECKS,
    FAIL,
    PASS,
    REVIEW,
    autoregressive,
    independent,
    judge,
    other_than_pass,
    planted,
    result,
    statistics,
    verdicts,
)

from alliance.diagnostics.gate.gate import GateReport, check_convergence

# Clean draws -------------------------------------------------------------------------------------


def clean_reports(profile: str, chains: int, rho: float, block: int) -> tuple[GateReport, ...]:
    """Ten seeds of 40 quantities; the block says which ten."""
    return tuple(
        judge(
            autoregressive(seed, (chains, 1000, 40), rho),
            profile=profile,
            chains=chains,
            draws=1000,
        )
        for seed in range(10 * block, 10 * block + 10)
    )


@pytest.mark.parametrize(
    "block", [0, *(pytest.param(k, marks=pytest.mark.validation) for k in range(1, 5))]
)
@pytest.mark.parametrize(("profile", "chains", "rho"), [("standard", 4, 0.3), ("ci", 2, 0.0)])
def test_fifty_clean_seeds_pass_fifty_times(profile, chains, rho, block):
    reports = clean_reports(profile, chains, rho, block)
    assert [other_than_pass(report) for report in reports] == [{}] * 10


def test_passing_results_recommend_nothing():
    report = judge(independent(), chains=4, draws=1000)
    assert report.verdict == PASS
    assert {item.recommendation for item in report.results} == {""}


# Planted defects ---------------------------------------------------------------------------------


def test_stuck_chain():
    values = independent()
    values[2] = values[2, 0]
    report = judge(values)
    assert report.verdict == FAIL
    assert verdicts(report)["variation"] == verdicts(report)["r_hat"] == FAIL
    assert result(report, "variation").worst == "function: slope[level 0], chain 2"
    assert "Chain 2 never moved" in result(report, "variation").message
    assert "chain 2 never moved" in result(report, "r_hat").message
    assert not {"completeness", "divergences", "tree_depth", "ebfmi"} & set(other_than_pass(report))


def test_chain_stuck_in_one_quantity_only_at_the_centre_of_the_others():
    """R-hat alone barely sees a chain that rests at the median; the check of motion does."""
    values = independent()
    values[1, :, 3] = np.median(values[:, :, 3])
    moved = result(judge(values), "variation")
    assert (moved.verdict, moved.worst) == (FAIL, "function: slope[level 3], chain 1")
    assert moved.value == 1


def test_shifted_chain():
    values = independent()
    values[3, :, 2] += 0.5
    report = judge(values)
    agreement = result(report, "r_hat")
    assert agreement.verdict == FAIL
    assert agreement.worst == "function: slope[level 2]"
    assert "chain 3 differs most" in agreement.message
    assert "1 of 6 quantities over 1.01" in agreement.message
    assert "tuning" in agreement.recommendation
    # One chain in four half an SD away: between variance 0.5^2 / 4, R-hat the root of 1 + that.
    assert agreement.value == pytest.approx(np.sqrt(1 + 0.25 / 4), abs=0.01)
    assert result(report, "ess_bulk").recommendation.startswith("See r_hat first")
    assert set(other_than_pass(report)) <= {"r_hat", "ess_bulk", "ess_tail", "mcse"}


def test_chain_with_another_spread():
    values = independent()
    values[0, :, 1] *= 2
    agreement = result(judge(values), "r_hat")
    assert (agreement.verdict, agreement.worst) == (FAIL, "function: slope[level 1]")
    assert "chain 0 differs most" in agreement.message


def test_heavy_autocorrelation():
    report = judge(autoregressive(5, (4, 1000, 6), 0.995))
    assert {"ess_bulk", "ess_tail", "mcse", "r_hat"} == set(other_than_pass(report))
    assert set(other_than_pass(report).values()) == {FAIL}
    assert "more draws alone will not mend" in result(report, "ess_bulk").recommendation


def test_moderate_autocorrelation_fails_and_asks_for_draws():
    """rho 0.85: the effective draws are (1 - rho) / (1 + rho) = 0.081 of 4,000, near 324."""
    values = autoregressive(6, (4, 1000, 1), 0.85)
    bulk = result(judge(values), "ess_bulk")
    assert bulk.value == pytest.approx(4000 * 0.15 / 1.85, rel=0.2)
    assert bulk.verdict == FAIL
    needed = int(bulk.recommendation.split("about ")[1].split(" draws")[0].replace(",", ""))
    more = result(judge(autoregressive(7, (4, needed, 1), 0.85)), "ess_bulk")
    assert more.value > 0.9 * bulk.review


def test_monte_carlo_error_of_autoregressive_chains_has_its_closed_form():
    """The variance of the mean of n draws is SD^2 / n * (1 + rho) / (1 - rho)."""
    value = result(judge(autoregressive(8, (4, 5000, 1), 0.6)), "mcse").value
    assert value == pytest.approx(np.sqrt(1.6 / 0.4 / 20_000), rel=0.1)


@pytest.mark.parametrize(
    ("number", "verdict"), [(0, PASS), (4, PASS), (5, REVIEW), (40, REVIEW), (80, FAIL)]
)
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("diverging", "divergences"),
        ("reached_max_treedepth", "tree_depth"),
        ("maxdepth_reached", "tree_depth"),
        ("reached_max_tree_depth", "tree_depth"),
    ],
)
def test_shares_of_draws_under_every_name(name, check, number, verdict):
    flags = np.zeros((4, 1000), dtype=bool)
    flags[1, : number // 2] = flags[3, : number - number // 2] = True
    stats = statistics()
    stats.pop("reached_max_treedepth" if check == "tree_depth" else "diverging")
    report = judge(independent(), stats | {name: flags})
    found = result(report, check)
    assert found.value == number / 4000
    assert found.verdict == verdict
    assert f"{number} of 4,000 draws" in found.message
    assert other_than_pass(report) == ({} if verdict == PASS else {check: verdict})


def test_divergences_name_the_chain_with_most():
    flags = np.zeros((4, 1000), dtype=bool)
    flags[2, :80] = True
    found = result(judge(independent(), statistics(diverging=flags)), "divergences")
    assert found.worst == "function: chain 2"
    assert "80 of 4,000 draws (2.00%) diverged, 80 of them in chain 2" in found.message
    assert "target_accept" in found.recommendation


@pytest.mark.parametrize(("rho", "verdict"), [(0.5, PASS), (0.875, REVIEW), (0.95, FAIL)])
def test_energy_that_wanders(rho, verdict):
    """E-BFMI is the mean squared step over the variance: 2 (1 - rho) for AR(1) energies."""
    energy = independent(3, number=1)[:, :, 0]
    energy[1] = autoregressive(11, (1, 20_000), rho)[0, -1000:]
    energy[1] *= 1 / energy[1].std()
    found = result(judge(independent(), statistics(energy=energy)), "ebfmi")
    assert found.value == pytest.approx(2 * (1 - rho), rel=0.25)
    assert (found.verdict, found.worst) == (verdict, "function: chain 1")


def test_energy_that_is_not_finite_fails():
    energy = statistics()["energy"]
    energy[3, 10] = np.nan
    found = result(judge(independent(), statistics(energy=energy)), "ebfmi")
    assert (found.verdict, found.value, found.worst) == (FAIL, None, "function: chain 3")


def test_chain_padded_with_nan():
    values = independent()
    values[1, 400:] = np.nan
    report = judge(values, chains=4, draws=1000)
    complete = result(report, "completeness")
    assert (complete.verdict, complete.worst) == (FAIL, "function: chain 1")
    assert "chain 1 has 600 of 1,000 draws that are not finite" in complete.message.lower()
    assert "the first of them draw 400" in complete.message
    assert complete.value == pytest.approx(600 / 4000)
    for check in ("variation", "r_hat", "ess_bulk", "ess_tail", "mcse"):
        assert verdicts(report)[check] == FAIL
        assert result(report, check).value is None
        assert "Not computed" in result(report, check).message
    assert verdicts(report)["divergences"] == PASS


def test_draws_that_were_never_made_are_no_divergences():
    values, flags = independent(), np.zeros((4, 1000))
    values[1, 400:] = flags[1, 400:] = np.nan
    flags[0, :10] = 1
    found = result(judge(values, statistics(diverging=flags)), "divergences")
    assert found.value == pytest.approx(10 / 3400)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_is_found_and_named(value):
    values = independent()
    values[3, 17, 4] = value
    complete = result(judge(values), "completeness")
    assert complete.verdict == FAIL
    assert "draw 17, in slope[level 4]" in complete.message


def test_missing_chain_is_named():
    tree = planted(independent(), statistics()).isel(chain=[0, 1, 3])
    report = check_convergence(tree, outcome="pain", chains=4, draws=1000)
    complete = result(report, "completeness")
    assert other_than_pass(report) == {"completeness": FAIL}
    assert complete.message == "3 of 4 chains are there, missing: chain 2."
    assert complete.worst == "pain: chain 2"
    assert complete.value == pytest.approx(0.25)


def test_fewer_draws_than_asked():
    report = judge(independent(draws=600), chains=4, draws=1000)
    assert other_than_pass(report) == {"completeness": FAIL}
    assert "600 of 1,000 draws" in result(report, "completeness").message
    assert result(report, "completeness").value == pytest.approx(0.4)


def test_one_chain_cannot_agree_with_another():
    report = judge(independent(chains=1, draws=3000))
    assert other_than_pass(report) == {"r_hat": FAIL}
    assert result(report, "r_hat").value is None
    assert "four chains" in result(report, "r_hat").recommendation


@pytest.mark.parametrize(("chains", "draws"), [(2, 0), (0, 1000), (2, 3)])
def test_no_draws_to_speak_of(chains, draws):
    report = judge(independent(chains=chains, draws=draws))
    assert set(list(verdicts(report).values())[:6]) == {FAIL}
    assert [item.check for item in report.results] == CHECKS


def test_constant_quantity_is_reviewed_and_the_others_are_judged():
    values = independent()
    values[:, :, 5] = 0.0
    report = judge(values)
    assert other_than_pass(report) == {"variation": REVIEW}
    assert result(report, "variation").worst == "function: slope[level 5]"
    assert "slope[level 5]" in result(report, "variation").message


def test_constants_that_differ_between_chains_fail():
    values = independent()
    values[:, :, 5] = np.arange(4)[:, None]
    report = judge(values)
    assert verdicts(report)["variation"] == verdicts(report)["r_hat"] == FAIL
    assert result(report, "r_hat").value > 1e6
    assert "chains 0, 1, 2, 3 never moved" in result(report, "r_hat").message


def test_nothing_moves_at_all():
    report = judge(np.zeros((4, 1000, 3)))
    assert set(list(verdicts(report).values())[1:6]) == {FAIL}
