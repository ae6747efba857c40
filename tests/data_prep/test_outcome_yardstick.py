"""Thresholds of the study file: read, written again, held against the outcome's range."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_trial import a_study

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import read_study, study_text

HEAD = "[outcomes.function.yardstick]"
SOURCE = 'source = "a panel of patients"'


def in_file(folder: Path, lines: str) -> Path:
    """The small trial's study file with lines after those of the outcome function."""
    text = study_text(a_study())
    assert text.count("\n[outcomes.gpe]\n") == 1
    path = folder / "study.toml"
    path.write_text(text.replace("\n[outcomes.gpe]\n", f"{lines}\n\n[outcomes.gpe]\n"))
    return path


def test_a_yardstick_survives_writing(tmp_path: Path) -> None:
    lines = f"{HEAD}\nthreshold = 0\nrope = [-1, 1]\nreach = 20\n{SOURCE}"
    study = read_study(in_file(tmp_path, lines))
    found = study.outcomes["function"].yardstick
    assert found is not None
    assert (found.threshold, found.rope, found.reach) == (0.0, (-1.0, 1.0), 20.0)
    text = study_text(study)
    assert f"{lines}\n" in text
    (tmp_path / "again.toml").write_text(text)
    assert read_study(tmp_path / "again.toml") == study
    assert "yardstick" not in study_text(a_study())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("threshold = 2", ["yardstick.source: this key is missing", "Author, Journal 2013"]),
        (SOURCE, ["outcomes.function.yardstick: names nothing.", "Write a threshold"]),
        (f"threshold = 31\n{SOURCE}", ["yardstick.threshold: names a difference of 31", "-30 to"]),
        (f"rope = [-40, 1]\n{SOURCE}", ["yardstick.rope: names a difference of 40", "-30 to 30"]),
        (f"rope = [1, -1]\n{SOURCE}", ["yardstick.rope:", "a lowest value followed by a higher"]),
        (f"reach = 31\n{SOURCE}", ["yardstick.reach: is 31", "from 0 to 30"]),
        (f'threshold = "2"\n{SOURCE}', ["yardstick.threshold: is '2', not a number"]),
        (f"treshold = 2\n{SOURCE}", ["treshold: there is no such key", "Did you mean 'threshold'"]),
        (f"mcid = 2\n{SOURCE}", ["outcomes.function.yardstick.mcid: there is no such key"]),
    ],
)
def test_faults_of_a_yardstick_are_named(tmp_path: Path, lines: str, said: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        read_study(in_file(tmp_path, f"{HEAD}\n{lines}"))
    for part in said:
        assert part in str(refused.value)
