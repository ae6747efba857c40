"""A table in many files is read as one file is: acceptance, messages, counts and moments."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from registry_trials import KINDS, STUDY, both, damage, notes, table, typed

from alliance.data_prep.errors import DataError
from alliance.data_prep.registry.registry import Registry
from alliance.data_prep.trial.trial import Trial, check_estimable
from alliance.models.design.design import build_design, moments_design
from alliance.models.spec import specify


def assert_same_moments(trial: Trial, registry: Registry) -> None:
    for name, spec in specify(STUDY).items():
        one = build_design(trial.analysed(name), spec)
        other = moments_design(registry.moments[name], spec, list(STUDY.arms), registry.covariates)
        assert one.coefficients == other.coefficients
        assert one.therapists == other.therapists
        np.testing.assert_array_equal(one.moments.count, other.moments.count)
        first, second = one.moments.cross_products, other.moments.cross_products
        length = np.sqrt(np.einsum("jaa->ja", first))
        scale = length[:, :, None] * length[:, None, :]
        # Rounding of standardised columns, beside which 1e-10 is a thousand times as much
        assert np.max(np.abs(first - second) / np.where(scale > 0, scale, 1)) < 1e-10


def of_therapists(data: Trial | Registry) -> set[str]:
    """What stands against therapist effects that the study asks for."""
    try:
        check_estimable(data, data.study.model.therapist)
    except DataError as error:
        return {problem.rule for problem in error.problems}
    return set()


def compare(frame: pd.DataFrame, random: np.random.Generator, folder: Path, ending: str) -> str:
    """Hold one file against many; what came of both."""
    if ending == ".parquet":
        frame = typed(frame)
    one, many = both(frame, folder, ending, int(random.integers(2, 5)))
    assert one[0] == many[0], (one, many)
    if one[0] != "read":
        assert one[1] == many[1]
    else:
        assert one[1].flow.equals(many[1].flow)
        assert one[1].therapists_in_arms == many[1].therapists_in_arms
        assert notes(one[1]) == notes(many[1])
        assert of_therapists(one[1]) == of_therapists(many[1])
        assert_same_moments(one[1], many[1])
    return str(one[0])


def compare_many(folder: Path, seeds: range) -> Counter[str]:
    ends: Counter[str] = Counter()
    for seed in seeds:
        random = np.random.default_rng(seed)
        frame = table(random)
        for _ in range(int(random.integers(0, 3))):
            frame = damage(frame, random)
        ends[compare(frame, random, folder / str(seed), (".csv", ".parquet")[seed % 2])] += 1
    return ends


@pytest.mark.parametrize("kind", range(KINDS))
def test_one_file_and_many_say_the_same(tmp_path: Path, kind: int) -> None:
    """Of each kind of damage, in text and in numbers; seeds as the kinds, to try other cells."""
    for ending in (".csv", ".parquet"):
        random = np.random.default_rng(kind)
        compare(damage(table(random), random, kind), random, tmp_path / ending, ending)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_therapists_of_no_analysed_patient_are_known_as_in_one_file(
    tmp_path: Path, ending: str
) -> None:
    """Their effects are what the others' tell of a therapist; tables name them with 0 patients."""
    random = np.random.default_rng(28)
    frame = table(random)
    frame.loc[:3, "ther"] = ["A", "B", "C", "D"]
    frame.loc[:3, ["wai", "arm"]] = [["", "CBT"], ["", "TAU"], ["50", ""], ["", ""]]
    frame.loc[50, ["ther", "wai"]] = ["E", ""]  # in another part than the others
    assert compare(frame, random, tmp_path, ending) == "read"
    _, many = both(typed(frame), tmp_path / "again", ending, 3)
    assert many[1].moments["dep"].therapists == ("A", "B", "C", "D", "E", "T1", "T2", "T4", "T10")


@pytest.mark.validation
def test_one_file_and_many_say_the_same_of_many_tables(tmp_path: Path) -> None:
    ends = compare_many(tmp_path, range(1000, 2000))
    assert min(ends["read"], ends["problems"]) >= 200  # the tables try both
