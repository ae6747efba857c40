"""Several trials: which trial files, shares, rows and therapists are of, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trials_together import made_trials, written

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.registry.registry import Registry
from alliance.data_prep.shares.pooling import load_pooled
from alliance.data_prep.shares.share_files import make_share, read_share, write_share
from alliance.data_prep.study.description import Study, narrowed, read_study


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three trials of 4 therapists with 15 patients each."""
    return written(made_trials(3, 2, therapists=4, patients=15), tmp_path)


def described(folder: Path, further: str = "", **settings: object) -> Study:
    path = folder / "study.toml"
    if further:
        path.write_text(path.read_text() + further)
    return narrowed(read_study(path), **{"several_trials": "varying", **settings})


def patients_of(registry: Registry) -> dict[str, int]:
    found = registry.moments["pain"]
    totals: dict[str, int] = {}
    for j, count in zip(found.therapist_index, found.count, strict=True):
        trial = registry.trials[found.therapists[j]]
        totals[trial] = totals.get(trial, 0) + int(count)
    return totals


def test_every_file_is_a_trial_and_therapists_are_nested_in_it(files: list[Path]) -> None:
    registry = load_pooled(described(files[0].parent), files)
    assert patients_of(registry) == {"trial1": 60, "trial2": 60, "trial3": 60}
    assert "trial1:T0" in registry.trials
    assert len(registry.trials) == 12  # T0 to T11; ids that recur are other people
    one = load_pooled(narrowed(described(files[0].parent), several_trials="no"), files)
    assert not one.trials


def test_therapists_of_one_id_in_two_trials_are_two(tmp_path: Path) -> None:
    paths = written(made_trials(2, 2, therapists=2, patients=12), tmp_path)
    text = paths[1].read_text().replace(",T2,", ",T0,").replace(",T3,", ",T1,")
    paths[1].write_text(text)
    registry = load_pooled(described(tmp_path), paths)
    assert sorted(registry.trials) == ["trial1:T0", "trial1:T1", "trial2:T0", "trial2:T1"]


def test_a_column_tells_the_trial_of_each_row(tmp_path: Path) -> None:
    rows = made_trials(3, 2, therapists=4, patients=15)
    apart, together = (
        written(rows, tmp_path / "apart"),
        written(rows, tmp_path / "b", together=True),
    )
    study = tmp_path / "b" / "study.toml"
    study.write_text(study.read_text().replace('arm = "arm"', 'arm = "arm"\ntrial = "trial"'))
    found = load_pooled(described(tmp_path / "b"), together)
    same = load_pooled(described(tmp_path / "apart"), apart)
    assert found.trials == same.trials
    assert patients_of(found) == patients_of(same)


def test_a_row_without_its_trial_is_named(tmp_path: Path) -> None:
    (path,) = written(made_trials(2, 2, therapists=2, patients=12), tmp_path, together=True)
    study = tmp_path / "study.toml"
    study.write_text(study.read_text().replace('arm = "arm"', 'arm = "arm"\ntrial = "trial"'))
    lines = path.read_text().splitlines()
    lines[7] = lines[7].rpartition(",")[0] + ","
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="must name the trial") as told:
        load_pooled(described(tmp_path), [path])
    assert told.value.problems[0].row == 8  # the header is row 1


def test_trials_of_several_files(files: list[Path]) -> None:
    further = '[trials]\nNorth = ["trial1", "trial3"]\nSouth = ["trial2"]\n'
    registry = load_pooled(described(files[0].parent, further), files)
    assert patients_of(registry) == {"North": 120, "South": 60}


def test_shares_and_files_and_a_share_of_another_study(files: list[Path]) -> None:
    """A share of a study with another title, and its arms the other way round, is that trial."""
    folder = files[0].parent
    other = folder / "other.toml"
    text = (folder / "study.toml").read_text().replace("Several trials", "Leeds 2011")
    text = text.replace('A = "Usual care"\nB = "Therapy"', 'B = "Therapy"\nA = "Usual care"')
    other.write_text(text)
    share = make_share(read_study(other), files[1], site="clinic", least=2)
    write_share(share, folder / "leeds.share")
    study = described(folder)
    registry = load_pooled(study, [files[0], folder / "leeds.share", files[2]])
    assert set(registry.trials.values()) == {"trial1", "Leeds 2011", "trial3"}
    whole = load_pooled(study, files)
    own, all_rows = registry.moments["pain"], whole.moments["pain"]
    for arm in (0, 1):  # nobody is left out with a least of 2, and arms are what they were
        counts = [moments.count[moments.arm_index == arm].sum() for moments in (own, all_rows)]
        assert counts[0] >= counts[1] - 3
    sums = [moments.sums[moments.arm_index == 1][:, -1].sum() for moments in (own, all_rows)]
    assert sums[0] == pytest.approx(sums[1], abs=60)  # not the other arm's, which is -sums
    assert read_share(folder / "leeds.share").study.title == "Leeds 2011"


def test_one_trial_is_no_several(files: list[Path]) -> None:
    registry = load_pooled(described(files[0].parent), files[:1])
    assert not registry.trials
    assert any("nothing can vary between trials" in note for note in registry.notes)


def test_a_study_that_tells_trials_apart_and_takes_them_as_one_says_so(files: list[Path]) -> None:
    study = described(files[0].parent, '[trials]\nNorth = ["trial1"]\n', several_trials="no")
    registry = load_pooled(study, files)
    assert any("they are taken as one" in note for note in registry.notes)


def named_twice(folder: Path, files: list[Path]) -> None:
    load_pooled(described(folder, '[trials]\nA = ["trial1"]\nB = ["trial1"]\n'), files)


def not_given(folder: Path, files: list[Path]) -> None:
    load_pooled(described(folder, '[trials]\nA = ["trial1", "trail2"]\n'), files)


def not_listed(folder: Path, files: list[Path]) -> None:
    load_pooled(described(folder, '[trials]\nA = ["trial1"]\nB = ["trial2"]\n'), files)


def one_name(folder: Path, files: list[Path]) -> None:
    (folder / "more").mkdir()
    twin = folder / "more" / files[0].name
    twin.write_text(files[1].read_text())
    load_pooled(described(folder), [files[0], twin])


def other_range(folder: Path, files: list[Path]) -> None:
    text = (
        (folder / "study.toml")
        .read_text()
        .replace("range = [0, 100]\nbetter", "range = [0, 200]\nbetter")
    )
    (folder / "wide.toml").write_text(text)
    write_share(make_share(read_study(folder / "wide.toml"), files[0]), folder / "wide.share")
    load_pooled(described(folder), [folder / "wide.share", files[1]])


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (named_twice, "'trial1' is listed twice"),
        (not_given, "'trail2' of 'A', and no such file or site is given"),
        (not_listed, "trial3.csv is of no trial"),
        (one_name, "have one name"),
        (other_range, "the range of pain is 0 to 200 in the share"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    attempt: Callable[[Path, list[Path]], None], words: str, files: list[Path]
) -> None:
    with pytest.raises(InputError, match=words.replace("(", "\\(")):
        attempt(files[0].parent, files)


@pytest.mark.parametrize(
    "settings",
    [
        {"alliance": "within_between"},
        {"missing_alliance": "impute"},
        {"therapist_by_arm": True},
        {"residual_by_arm": True},
        {"without_therapist": ["A"]},
    ],
)
def test_settings_that_several_trials_do_not_go_with(
    settings: dict[str, object], files: list[Path]
) -> None:
    with pytest.raises(InputError, match="several trials in one model go with"):
        described(files[0].parent, **settings)
