"""Files are named by text or by a path, and tables may be data frames, in the whole public API."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import alliance
from alliance.data_prep.errors import InputError

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

Named = str | PathLike[str]
Convert = Callable[[Path], Named]


class Place:
    """Something path-like that is no `Path`, such as a temporary folder's entry."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def public_functions() -> dict[str, Any]:
    """All functions that `alliance` offers, by name."""
    found = {name: getattr(alliance, name) for name in alliance.__all__}
    return {name: each for name, each in found.items() if inspect.isfunction(each)}


def naming_files() -> dict[str, list[str]]:
    """Functions with parameters that name files, and these parameters."""
    found = {}
    for name, function in public_functions().items():
        parameters = inspect.signature(function).parameters.values()
        named = [each.name for each in parameters if "Path" in str(each.annotation)]
        if named:
            found[name] = named
    return found


@pytest.fixture(scope="module")
def files(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated trial with its companions, the folder of a registry, patients, and a run."""
    folder = tmp_path_factory.mktemp("files")
    made = alliance.simulate_trial(seed=4, patients=90, therapists=5)
    alliance.write_simulated(made, folder / "trial.csv")
    (folder / "registry").mkdir()
    made.frame.to_csv(folder / "registry" / "part.csv", index=False)
    new = pd.DataFrame({"wai_total": [80, 90], "psfs_0": [10, 12]})
    new.columns = [str(made.study.moderator.column), str(made.study.outcomes["function"].baseline)]
    new.to_csv(folder / "new.csv", index=False)
    alliance.save_fit(made_fit, folder / "run")
    return folder


def study_of(files: Path, *outcomes: str) -> Any:
    study = alliance.read_study(files / "study.toml")
    return alliance.narrowed(study, outcomes=list(outcomes or ("function",)))


def calls(files: Path, out: Path, fit: Fit, convert: Convert) -> dict[str, Callable[[], Any]]:
    """One call of each function that names files; what it gives is compared between kinds."""

    def written(name: str, write: Callable[[Named], Any]) -> bool:
        write(convert(out / name))
        return (out / name).exists()

    def stored() -> dict[str, Any]:
        with alliance.open_store(convert(out / "store.sqlite"), {"what": "a test"}) as store:
            return dict(store.outcomes())

    def published(name: str) -> bool:
        kept = convert(files / "published.toml")
        return written(name, lambda path: alliance.save_fit(fit, path, published=kept))

    made = alliance.simulate_trial(seed=4, patients=90, therapists=5)
    return {
        "find_study": lambda: alliance.find_study(convert(files / "study.toml")),
        "read_study": lambda: alliance.read_study(convert(files / "study.toml")).title,
        "load_trial": lambda: (
            alliance.load_trial(study_of(files), convert(files / "trial.csv")).sha256
        ),
        "load_registry": lambda: (
            alliance.load_registry(study_of(files), convert(files / "registry")).sha256
        ),
        "sample_therapists": lambda: (
            alliance.sample_therapists(study_of(files), convert(files / "registry"), 3, 1).sha256
        ),
        "build_multiverse": lambda: len(
            alliance.build_multiverse(
                study_of(files), convert(files / "trial.csv"), ["therapist"]
            ).analyses
        ),
        "patients_from_file": lambda: alliance.patients_from_file(
            fit["function"], convert(files / "new.csv")
        ).rows.moderator.tolist(),
        "read_published": lambda: len(
            alliance.read_published(
                convert(files / "published.toml"), alliance.read_study(files / "study.toml")
            )
        ),
        "load_fit": lambda: alliance.load_fit(
            convert(files / "run"), data=convert(files / "trial.csv")
        ).differences[-1],
        "open_store": stored,
        "save_figure": lambda: written(
            "figure.png", lambda path: alliance.save_figure(Figure(), path)
        ),
        "save_fit": lambda: published("run"),
        "write_junit": lambda: written(
            "gate.xml", lambda path: alliance.write_junit([], path, title="a test")
        ),
        "write_simulated": lambda: written(
            "simulated.csv", lambda path: alliance.write_simulated(made, path)
        ),
    }


def test_text_and_paths_name_the_same_file(files: Path, made_fit: Fit, tmp_path: Path) -> None:
    """Every function that names a file is called with each kind, and gives the same."""
    kinds: dict[str, Convert] = {"str": str, "Path": Path, "Place": Place}
    found: dict[str, dict[str, Any]] = {}
    for kind, convert in kinds.items():
        (tmp_path / kind).mkdir()
        for name, call in calls(files, tmp_path / kind, made_fit, convert).items():
            found.setdefault(name, {})[kind] = call()
    assert set(found) == set(naming_files())  # a new function needs a call here
    for name, answers in found.items():
        assert answers["str"] == answers["Path"] == answers["Place"], name


def test_no_function_asks_for_a_path_alone() -> None:
    """Annotations are what an editor shows and what a type checker holds a caller to."""
    for name, named in naming_files().items():
        parameters = inspect.signature(public_functions()[name]).parameters
        for parameter in named:
            assert "AnyPath" in str(parameters[parameter].annotation), f"{name}({parameter})"


def test_a_data_frame_is_taken_where_a_table_is_meant(files: Path, made_fit: Fit) -> None:
    table, new = pd.read_csv(files / "trial.csv"), pd.read_csv(files / "new.csv")
    study = study_of(files)
    one, other = (alliance.load_trial(study, data) for data in (files / "trial.csv", table))
    assert one.data.equals(other.data)
    assert one.flow.equals(other.flow)
    built = [
        alliance.build_multiverse(study, data, ["therapist", "patients"])
        for data in (str(files / "trial.csv"), table)
    ]
    for first, second in zip(*(each.analyses for each in built), strict=True):
        assert first.universe == second.universe
        np.testing.assert_array_equal(first.design.X, second.design.X)
    from_file, from_frame = (
        alliance.patients_from_file(made_fit["function"], data) for data in (files / "new.csv", new)
    )
    np.testing.assert_array_equal(from_file.rows.moderator, from_frame.rows.moderator)
    np.testing.assert_array_equal(from_file.rows.baseline, from_frame.rows.baseline)
    whose = ("trial.csv", "data frame")
    assert (one.source, other.source) == whose


def test_a_run_is_held_against_a_data_frame(files: Path) -> None:
    """The frame that was fitted says nothing; one changed score names its outcome."""
    table = pd.read_csv(files / "trial.csv")
    plain = alliance.load_fit(files / "run", data=table)
    assert not [told for told in plain.differences if "data frame" in told]
    column = str(plain.study.outcomes["gpe"].followup)
    place = int(np.flatnonzero(table[column].notna())[0])
    table.loc[place, column] = -table.loc[place, column] + 1
    differences = alliance.load_fit(files / "run", data=table).differences
    told = [each for each in differences if "data frame" in each]
    assert told == ["The data frame's analysed patients of gpe are not those that were fitted."]


@pytest.mark.parametrize("wrong", [3, None, b"trial.csv", pd.DataFrame({"a": [1]})])
def test_what_is_no_path_is_refused_in_words(files: Path, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"where a file or folder is meant.*as text"):
        alliance.read_study(wrong)
