"""Which analyses a multiverse holds, and that each is the fit that its choices describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated
from alliance.data_prep.study.description import Study, narrowed, read_study
from alliance.data_prep.trial.trial import load_trial
from alliance.inference.many_fits.multiverse import CHOICES, EXCLUSIONS, Universe, build_multiverse
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.engines import fit_outcome
from alliance.inference.sampling.profiles import SamplerProfile

SHORT = SamplerProfile("ci", chains=2, draws=200, tune=200)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """A trial of 90 patients with some ratings missing, and its study with a covariate."""
    table = tmp_path_factory.mktemp("multiverse") / "trial.csv"
    write_simulated(simulate_trial(seed=4, patients=90, therapists=8), table)
    study = read_study(table.parent / "study.toml")
    return study.model_copy(update={"covariates": ("age",)}), table


def test_every_choice_is_crossed_but_compiled_likelihoods(files: tuple[Study, Path]) -> None:
    study, table = files
    built = build_multiverse(narrowed(study, outcomes=["pain"]), table)
    gaussian = [each.universe for each in built.analyses if each.universe.likelihood == "gaussian"]
    patients = {each.patients for each in gaussian}
    # therapists 3, covariates 2, missing 2, prior scales 3, and who is left out
    assert len(gaussian) == 36 * len(patients)
    assert len(set(gaussian)) == len(gaussian)
    student = [each.universe for each in built.analyses if each.universe.likelihood == "student_t"]
    assert len(student) == 6
    assert {(one.covariates, one.prior_scale, one.patients) for one in student} == {
        ("adjusted", 1.0, "all")
    }
    fixed = {"clinic"} | (set() if len(patients) > 1 else {"patients"})  # no clinics are recorded
    assert set(built.varied) == set(CHOICES) - fixed
    whole = build_multiverse(narrowed(study, outcomes=["pain"]), table, full=True)
    assert len(whole.analyses) == 2 * len(gaussian)


def test_what_is_not_varied_stays_as_in_the_study(files: tuple[Study, Path]) -> None:
    study, table = files
    chosen = narrowed(study, outcomes=["gpe", "pain"], therapist="intercept")
    built = build_multiverse(chosen, table, ["prior_scale"])
    assert [each.universe for each in built.analyses] == [
        Universe(name, "gaussian", "intercept", "adjusted", "complete_case", scale, "all")
        for name in ("gpe", "pain")
        for scale in (1.0, 0.5, 2.0)
    ]
    assert built.varied == ("prior_scale",)
    half = built.analyses[1]
    assert half.priors.arm == built.analyses[0].priors.arm / 2
    assert half.priors.therapist_correlation == built.analyses[0].priors.therapist_correlation


def test_the_studys_own_analysis_is_the_fit(files: tuple[Study, Path]) -> None:
    """Bit for bit: the same design, priors and seed."""
    study, table = files
    own = narrowed(study, outcomes=["pain"])
    fit = fit_trial(load_trial(own, table), SHORT, seed=2, engine="instant")
    first = build_multiverse(own, table).analyses[0]
    tree, _ = fit_outcome(first.design, first.priors, SHORT, 2, engine="instant")
    np.testing.assert_array_equal(
        tree["posterior"]["beta"].values, fit.trees["pain"]["posterior"]["beta"].values
    )


def test_choices_change_the_data_they_name(files: tuple[Study, Path]) -> None:
    study, table = files
    built = build_multiverse(narrowed(study, outcomes=["pain"]), table)
    found = {each.universe: each.design for each in built.analyses}
    base = Universe("pain", "gaussian", "none", "adjusted", "complete_case", 1.0, "all")
    plain = found[base]
    assert plain.covariates == ("age",)
    for universe, design in found.items():
        assert bool(design.covariates) == (universe.covariates == "adjusted")
        assert design.moderator.missing == universe.missing_alliance
        assert design.family.name == universe.likelihood
        if universe.missing_alliance == "impute" and universe.patients == "all":
            assert len(design.y) > len(plain.y)
        if universe.patients != "all" and universe.missing_alliance == "complete_case":
            assert len(design.y) < len(plain.y)
            assert design.scaling.outcome != plain.scaling.outcome


def test_clinics_are_varied_where_they_are_recorded(files: tuple[Study, Path]) -> None:
    study, table = files
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    who = study.columns.therapist
    assert who is not None
    numbers = {name: place for place, name in enumerate(sorted(set(rows[who])))}
    rows["centre"] = [f"C{numbers[name] // 2}" for name in rows[who]]  # two therapists in each
    columns = study.columns.model_copy(update={"clinic": "centre"})
    own = narrowed(study.model_copy(update={"columns": columns}), outcomes=["pain"])
    built = build_multiverse(own, rows, ["clinic"])
    effects = {each.universe.clinic: each.design.clinic_effects for each in built.analyses}
    assert effects == {"intercept": ("intercept",), "none": ()}
    assert built.varied == ("clinic",)
    names = [each.universe.name for each in built.analyses]
    assert names[0] == f"{names[1]}/clinic intercept"
    slopes = build_multiverse(narrowed(own, clinic="intercept+slope"), rows, ["clinic"])
    assert [each.universe.clinic for each in slopes.analyses] == [
        "intercept+slope", "none", "intercept",
    ]  # fmt: skip


def test_exclusions_leave_out_whom_they_name(files: tuple[Study, Path]) -> None:
    study, table = files
    rows = load_trial(study, table).analysed("pain")
    small, extreme = list(EXCLUSIONS)[1:]
    therapist = rows["therapist_index"].values
    kept = EXCLUSIONS[small](rows)
    counts = np.bincount(therapist)
    assert kept.tolist() == [counts[own] >= 5 for own in therapist]
    moderator = rows["moderator"].values
    z = (moderator - moderator.mean()) / moderator.std(ddof=1)
    assert EXCLUSIONS[extreme](rows).tolist() == (abs(z) <= 2.5).tolist()


def test_what_no_data_can_carry_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """One therapist: no effects of therapists; with these alone nothing is left."""
    table = tmp_path / "trial.csv"
    made = simulate_trial(seed=4, patients=60, therapists=3)
    frame = made.frame.assign(**{made.study.columns.therapist: "T1"})
    frame.to_csv(table, index=False)
    study = narrowed(made.study, outcomes=["pain"])
    built = build_multiverse(study, table, ["therapist"])
    assert [each.universe.therapist for each in built.analyses] == ["none"]
    assert all("therapist" in reason for reason in built.left_out.values()), built.left_out
    assert len(built.left_out) == 2
    with pytest.raises(InputError, match="No analysis can be made"):
        build_multiverse(study, table, ["prior_scale"])


def test_what_cannot_be_asked_is_refused(files: tuple[Study, Path]) -> None:
    study, table = files
    with pytest.raises(InputError, match="no choice 'priors'"):
        build_multiverse(study, table, ["priors"])
    with pytest.raises(InputError, match="joint"):
        build_multiverse(narrowed(study, joint=True), table)
    with pytest.raises(InputError, match="hang on the other outcomes"):
        build_multiverse(narrowed(study, common_patients=True), table)
