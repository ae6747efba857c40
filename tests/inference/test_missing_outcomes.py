"""Shifts of unseen outcomes: the closed form against imputing every patient, one at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from example_families import family_design, made_posterior
from made_draws import FEW_DRAWS, NoSampler, small_trial
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import Trial
from alliance.inference.estimands.estimands import estimand_draws
from alliance.inference.estimands.missing_outcomes import contrast_shifts, with_shifted_contrasts
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.models.design.design import Design
from alliance.models.design.encoding import sum_to_zero_basis
from alliance.models.families.families import FAMILIES

Array = NDArray[np.float64]
ARMS = ("GE", "MCE", "SMT")
LEVELS = tuple(f"{later}-{earlier}" for earlier, later in combinations(ARMS, 2))
DELTA = {"GE": 1.25, "SMT": -3.0}  # MCE is not named: 0
KEY = ["outcome", "quantity", "level"]


def shifted(fit: Fit, delta: Mapping[str, float] = DELTA) -> Fit:
    """The same draws, with shifts of the outcome function."""
    return replace(fit, study=narrowed(fit.study, delta={"function": delta}))


def rows(table: pd.DataFrame, quantity: str, outcome: str = "function") -> pd.DataFrame:
    found = table[(table["quantity"] == quantity) & (table["outcome"] == outcome)]
    return found.set_index("level")


def levels(estimands: xr.DataArray, quantity: str) -> dict[str, Array]:
    """Draws of a quantity by level, flat."""
    chosen = estimands.isel(estimand=estimands["quantity"].values == quantity)
    values = chosen.transpose("estimand", ...).values.reshape(chosen.sizes["estimand"], -1)
    return dict(zip(map(str, chosen["level"].values), values, strict=True))


@pytest.fixture(scope="module")
def gappy_trial() -> Trial:
    """The small trial with follow-ups taken away: unequal shares of the arms are not seen."""
    trial = small_trial()
    data = trial.data.copy(deep=True)
    arm = data["arm_index"].values
    seen = np.flatnonzero(np.isfinite(data["function_followup"].values))
    for code, lost in ((0, 3), (1, 6), (2, 11)):
        gone = seen[arm[seen] == code][:lost]
        data["function_followup"].values[gone] = np.nan
    return replace(trial, data=data)


@pytest.fixture(scope="module")
def gappy_fit(gappy_trial: Trial) -> Fit:
    with pytest.MonkeyPatch.context() as patch:
        NoSampler().install(patch)
        return fit_trial(gappy_trial, FEW_DRAWS, seed=3)


def test_the_closed_form_is_the_mean_over_imputed_patients(
    gappy_trial: Trial, gappy_fit: Fit
) -> None:
    """Every eligible patient of the trial, unseen ones imputed at the model's mean plus the shift.

    All at the mean baseline and alliance, as Gaussian contrasts are; counted from the data.
    """
    data = gappy_trial.data
    eligible = np.isfinite(data["moderator"].values) & np.isfinite(data["function_baseline"].values)
    unseen = eligible & np.isnan(data["function_followup"].values)
    arm = data["arm_index"].values
    # Unequal shares, and none of them trivial: else equal shifts or wrong arms would not show.
    shares = [(unseen & (arm == k)).sum() / (eligible & (arm == k)).sum() for k in range(3)]
    assert min(np.diff(sorted(shares))) > 0.01
    assert min(shares) > 0.05
    draws = gappy_fit.trees["function"]["posterior"]
    y = gappy_fit.patients("function")["outcome"].values
    basis = sum_to_zero_basis(3)
    found = levels(shifted(gappy_fit).estimands("function"), "arm_contrast_delta")
    assert tuple(found) == LEVELS
    draws_each = draws.sizes["draw"]
    for chain, draw in ((0, 0), (0, 41), (1, 17)):
        beta = dict(
            zip(
                draws["coefficient"].values,
                draws["beta"].isel(chain=chain, draw=draw).values,
                strict=True,
            )
        )
        scores = np.full(len(arm), np.nan)
        for patient in np.flatnonzero(eligible):
            effect = basis[arm[patient]] @ [beta["arm[1]"], beta["arm[2]"]]
            scores[patient] = y.mean() + y.std(ddof=1) * (beta["intercept"] + effect)
            if unseen[patient]:
                scores[patient] += DELTA.get(ARMS[arm[patient]], 0.0)
        mean = {code: scores[eligible & (arm == k)].mean() for k, code in enumerate(ARMS)}
        for earlier, later in combinations(ARMS, 2):
            value = found[f"{later}-{earlier}"][chain * draws_each + draw]
            assert value == pytest.approx(mean[later] - mean[earlier], rel=1e-10)


def patient_scores(design: Design, draws: xr.Dataset, position: int, arm: int) -> Array:
    """Expected score of each patient imagined in an arm, at one draw, on the outcome's scale."""
    columns = design.X.copy()
    basis, names = sum_to_zero_basis(len(design.arms)), design.coefficients
    for k in range(1, len(design.arms)):
        columns[:, names.index(f"arm[{k}]")] = basis[arm, k - 1]
        alliance = columns[:, names.index("moderator")]
        columns[:, names.index(f"interaction[{k}]")] = basis[arm, k - 1] * alliance
    fitted = [names.index(str(name)) for name in draws["coefficient"].values]
    beta = draws["beta"].values.reshape(-1, len(fitted))[position]
    scale = design.scale
    eta = scale.link_location + scale.link_unit * (columns[:, fitted] @ beta)
    own = {
        name: values[[position]]
        for name, values in Posterior(design, draws).family_parameters.items()
    }
    return scale.offset + scale.unit * design.family.expected(eta[None], own, scale)[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_closed_form_holds_for_every_family(family: str) -> None:
    """G-computation: all patients imagined in each arm, the first so many of them not seen."""
    design = family_design(family)
    draws = made_posterior(design)
    arms, patients = design.arms, len(design.y)
    unseen = dict(zip(arms, (0, patients // 4, patients // 2), strict=True))
    delta = dict(zip(arms, (9.0, -2.0, 0.5), strict=True))  # nobody is unseen in the first
    moved = {arm: delta[arm] * unseen[arm] / patients for arm in arms}
    shifts = {f"{b}-{a}": moved[b] - moved[a] for a, b in combinations(arms, 2)}
    found = levels(
        with_shifted_contrasts(estimand_draws(Posterior(design, draws)), shifts),
        "arm_contrast_delta",
    )
    for position in (0, 3):
        mean = {}
        for k, arm in enumerate(arms):
            scores = patient_scores(design, draws, position, k)
            scores[: unseen[arm]] += delta[arm]
            mean[arm] = scores.mean()
        for earlier, later in combinations(arms, 2):
            value = found[f"{later}-{earlier}"][position]
            assert value == pytest.approx(mean[later] - mean[earlier], rel=1e-8, abs=1e-10)


def test_the_manifest_counts_what_the_data_hold(gappy_trial: Trial, gappy_fit: Fit) -> None:
    counts = gappy_fit.manifest["missing_outcomes"]
    assert list(counts) == ["function", "gpe"]
    for outcome, by_arm in counts.items():
        table = gappy_trial.unseen(outcome).set_index("arm")
        assert list(by_arm) == list(ARMS)
        for arm, numbers in by_arm.items():
            assert numbers == table.loc[arm].to_dict()
            assert all(type(number) is int for number in numbers.values())  # JSON takes no NumPy
        analysed = gappy_fit.patients(outcome)["arm_index"].values
        for k, arm in enumerate(ARMS):
            assert by_arm[arm]["eligible"] - by_arm[arm]["unseen"] == (analysed == k).sum()


def test_shifted_contrasts_stand_beside_the_plain_ones(gappy_fit: Fit) -> None:
    plain, table = gappy_fit.summary(), shifted(gappy_fit).summary()
    added = table[table["quantity"] == "arm_contrast_delta"]
    assert list(added["level"]) == list(LEVELS)
    assert set(added["outcome"]) == {"function"}  # gpe has no shift
    pd.testing.assert_frame_equal(table.drop(added.index).reset_index(drop=True), plain)
    quantities = list(dict.fromkeys(table[table["outcome"] == "function"]["quantity"]))
    assert quantities.index("arm_contrast_delta") == quantities.index("arm_contrast") + 1
    shifts = contrast_shifts(shifted(gappy_fit).study, gappy_fit.manifest, "function")
    one, other = rows(table, "arm_contrast"), rows(table, "arm_contrast_delta")
    for level in LEVELS:
        for name in ("mean", "lower", "upper"):
            moved = other.loc[level, name] - one.loc[level, name]
            assert moved == pytest.approx(shifts[level], rel=1e-9)
        for name in ("sd", "ess_bulk", "ess_tail", "r_hat"):
            # A constant changes no spread; it may turn the ranks of draws that are nearly tied.
            assert other.loc[level, name] == pytest.approx(one.loc[level, name], rel=1e-3)
    found = shifted(gappy_fit).estimands("function")
    for level, values in levels(found, "arm_contrast_delta").items():
        share = rows(table, "arm_contrast_delta").loc[level, "prob_positive"]
        assert share == (values > 0).mean()
    sd = shifted(gappy_fit).summary(per_sd=True)  # contrasts know no unit of the alliance
    pd.testing.assert_frame_equal(rows(sd, "arm_contrast_delta"), other)


def test_priors_of_shifted_contrasts_are_shifted(gappy_fit: Fit) -> None:
    plain, table = gappy_fit.priors(), shifted(gappy_fit).priors()
    added = table[table["quantity"] == "arm_contrast_delta"]
    pd.testing.assert_frame_equal(table.drop(added.index).reset_index(drop=True), plain)
    shifts = contrast_shifts(shifted(gappy_fit).study, gappy_fit.manifest, "function")
    one, other = rows(table, "arm_contrast"), rows(table, "arm_contrast_delta")
    assert list(other.index) == list(LEVELS)
    for level in LEVELS:
        assert other.loc[level, "location"] == pytest.approx(shifts[level])
        assert other.loc[level, "scale"] == one.loc[level, "scale"]
    assert set(KEY) <= set(table.columns)


@pytest.mark.parametrize("delta", [{}, {"GE": 0.0}, dict.fromkeys(ARMS, 0)])
def test_without_a_shift_nothing_is_added(delta: dict[str, float], gappy_fit: Fit) -> None:
    same = shifted(gappy_fit, delta)
    assert contrast_shifts(same.study, same.manifest, "function") == {}
    pd.testing.assert_frame_equal(same.summary(), gappy_fit.summary(), check_exact=True)
    pd.testing.assert_frame_equal(same.priors(), gappy_fit.priors(), check_exact=True)


def test_equal_shifts_of_equal_shares_cancel() -> None:
    trial = small_trial()
    study = narrowed(trial.study, delta={"function": dict.fromkeys(ARMS, 2.0)})
    numbers = {"eligible": 30, "unseen": 6}
    counts = {"missing_outcomes": {"function": dict.fromkeys(ARMS, numbers)}}
    assert contrast_shifts(study, counts, "function") == dict.fromkeys(LEVELS, 0.0)
    counts["missing_outcomes"]["function"]["SMT"] = {"eligible": 30, "unseen": 9}
    # 2 * 9/30 - 2 * 6/30
    shifts = contrast_shifts(study, counts, "function")
    assert shifts == pytest.approx({"MCE-GE": 0.0, "SMT-GE": 0.2, "SMT-MCE": 0.2})


def test_an_arm_without_unseen_patients_is_not_moved() -> None:
    study = narrowed(small_trial().study, delta={"function": {"SMT": 5}})
    counts = {arm: {"eligible": 30, "unseen": 0 if arm == "SMT" else 9} for arm in ARMS}
    shifts = contrast_shifts(study, {"missing_outcomes": {"function": counts}}, "function")
    assert shifts == dict.fromkeys(LEVELS, 0.0)


def test_a_run_read_back_gives_the_same_table(gappy_fit: Fit, tmp_path: Path) -> None:
    fit = shifted(gappy_fit)
    save_fit(fit, tmp_path / "run")
    read = load_fit(tmp_path / "run")
    assert read.differences == ()
    assert read.study.outcomes["function"].delta == DELTA
    assert read.manifest["missing_outcomes"] == fit.manifest["missing_outcomes"]
    pd.testing.assert_frame_equal(read.summary(), fit.summary(), check_exact=True)
    written = pd.read_csv(tmp_path / "run" / "summary.csv", keep_default_na=False)
    assert (written["quantity"] == "arm_contrast_delta").sum() == len(LEVELS)


SPOILED: dict[str, Any] = {
    "no counts": None,
    "no outcome": {"gpe": {}},
    "no arm": {"function": {"GE": {"eligible": 9, "unseen": 1}}},
    "no number": {"function": {arm: {"eligible": 9, "unseen": "few"} for arm in ARMS}},
    "no table": {"function": [9, 9, 9]},
    "half of it": {"function": {arm: {"unseen": 1} for arm in ARMS}},
}


@pytest.mark.parametrize("counts", SPOILED.values(), ids=SPOILED.keys())
def test_a_run_without_the_counts_says_so(counts: Any, gappy_fit: Fit) -> None:
    manifest = {k: v for k, v in gappy_fit.manifest.items() if k != "missing_outcomes"}
    manifest |= {} if counts is None else {"missing_outcomes": counts}
    fit = replace(shifted(gappy_fit), manifest=manifest)
    for ask in (fit.summary, fit.priors):
        with pytest.raises(InputError, match=re.escape("outcomes.function.delta")) as caught:
            ask()
        assert "holds no counts" in caught.value.problem
        assert caught.value.remedy.startswith("Fit again")
    plain = replace(gappy_fit, manifest=manifest)  # which needs no counts
    pd.testing.assert_frame_equal(plain.summary(), gappy_fit.summary(), check_exact=True)


@pytest.mark.parametrize(("unseen", "eligible"), [(10, 9), (9, 9), (-1, 9), (0, 0)])
def test_counts_that_cannot_be_are_refused(unseen: int, eligible: int, gappy_fit: Fit) -> None:
    counts = {arm: {"eligible": 9, "unseen": 1} for arm in ARMS}
    counts["MCE"] = {"eligible": eligible, "unseen": unseen}
    manifest = gappy_fit.manifest | {"missing_outcomes": {"function": counts}}
    with pytest.raises(InputError, match=f"counts {unseen} of {eligible} patients .* 'MCE'"):
        replace(shifted(gappy_fit), manifest=manifest).summary()
