"""Files are named by text or by a path, and tables may be data frames, in the whole face."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import alliance as al
from alliance.diagnostics.gate.fit_gate import FitChecks
from alliance.diagnostics.report import contents

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


def verbs() -> Iterator[tuple[str, Any]]:
    """Every public function, and every public method of a public class, by name."""
    for name in al.__all__:
        each = getattr(al, name)
        if inspect.isfunction(each):
            yield name, each
        elif inspect.isclass(each):
            for verb, method in vars(each).items():
                if inspect.isfunction(method) and not verb.startswith("_"):
                    yield f"{name}.{verb}", method


def naming_files() -> dict[str, list[str]]:
    """Verbs with parameters that name files, and these parameters."""
    found = {}
    for name, verb in verbs():
        parameters = inspect.signature(verb).parameters.values()
        named = [each.name for each in parameters if "Path" in told(each)]
        if named:
            found[name] = named
    return found


def told(parameter: inspect.Parameter) -> str:
    return str(parameter.annotation).replace("Data", "AnyPath | pd.DataFrame")


@pytest.fixture(scope="module")
def run(made_fit: Fit) -> al.Run:
    """A run with made-up draws, whose checks of the model are left out: they are of no matter."""
    fit = replace(made_fit, manifest=made_fit.manifest | {"left_out": ["pain", "disability"]})
    run = al.Run(fit)
    vars(run)["checks"] = FitChecks(fit, of_model=False)
    return run


@pytest.fixture(scope="module")
def files(run: al.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated trial with its companions, a folder of many files, patients, and a run."""
    folder = tmp_path_factory.mktemp("files")
    made = al.simulate(seed=4, patients=90, therapists=5)
    made.save(folder / "trial.csv")
    new = pd.DataFrame({"wai_total": [80, 90], "psfs_0": [10, 12]})
    described = made.study.description
    new.columns = [
        str(described.moderator.column),
        str(described.outcomes["function"].baseline),
    ]
    new.to_csv(folder / "new.csv", index=False)
    run.save(folder / "run")
    return folder


def calls(files: Path, out: Path, run: al.Run, convert: Convert) -> dict[str, Callable[[], Any]]:
    """One call of each verb that names files; what it gives is compared between kinds."""
    study, trial, published = (
        convert(files / name) for name in ("study.toml", "trial.csv", "published.toml")
    )
    store = convert(files / "nowhere" / "store.sqlite")
    function = run["function"]

    def written(name: str, write: Callable[[Named], Any]) -> bool:
        write(convert(out / name))
        return (out / name).exists()

    def refused(call: Callable[[], Any]) -> str:
        """Where hours of work would begin: study and data have been read by then."""
        with pytest.raises(al.InputError, match=r"'.*nowhere' is not a folder") as caught:
            call()
        return str(caught.value)

    def reproduced() -> str:
        with pytest.raises(al.InputError) as caught:  # the draws are made up
            run.reproduce(convert(files / "nowhere.csv"))
        return str(caught.value)

    def reported(path: Named) -> None:
        run.report(path, tables=convert(out / "tables"), published=published)

    whole = al.simulate(seed=4, patients=90, therapists=5)
    plan = {"patients": 60, "therapists": 6, "interaction": 0.3, "contrast": "MCE-GE"}
    return {
        "study": lambda: al.study(study).outcomes,
        "load": lambda: al.load(convert(files / "run"), study=study, data=trial).notes[-1],
        "side_by_side": lambda: al.side_by_side(
            {"a": convert(files / "run"), "b": run}
        ).table.to_csv(),
        "calibrate": lambda: refused(
            lambda: al.calibrate(study, trial, outcome="pain", store=store)
        ),
        "assurance": lambda: refused(
            lambda: al.assurance(study, outcome="pain", store=store, **plan)
        ),
        "multiverse": lambda: refused(
            lambda: al.multiverse(study, trial, outcome="pain", vary="therapist", store=store)
        ),
        "paper": lambda: al.paper(published).table.to_csv(),
        "share": lambda: written(
            "a.share", lambda path: al.share(study, trial, path, allow_small_cells=True)
        ),
        "Study.read": lambda: al.study(study).read(trial).checked.sha256,
        "Trial.save": lambda: written("simulated.csv", whole.save),
        "Run.check": lambda: written("gate.xml", lambda path: run.check(junit=path)),
        "Run.compare": lambda: run.compare(published).table.to_csv(),
        "Run.findings": lambda: len(run.findings(published)),
        "Run.report": lambda: written("report.html", reported),
        "Run.explore": lambda: written(
            "explorer.html", lambda path: run.explore(path, outcome="gpe")
        ),
        "Run.save": lambda: written("run", run.save),
        "Run.reproduce": reproduced,
        "FittedOutcome.predict": lambda: function.predict(
            patients=convert(files / "new.csv")
        ).table.to_csv(),
        "FittedOutcome.leave_out": lambda: function.leave_out(
            against={"again": convert(files / "run")}
        ).table.to_csv(),
        "Answer.plot": lambda: written(
            "figure.png",
            lambda path: al.Answer("a test", pd.DataFrame(), _drawn=Figure).plot(path),
        ),
    }


def test_text_and_paths_name_the_same_file(
    files: Path, run: al.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verb that names a file is called with each kind, and gives the same."""
    monkeypatch.setattr(contents, "write_sections", lambda _: [])  # what they say does not matter
    kinds: dict[str, Convert] = {"str": str, "Path": Path, "Place": Place}
    found: dict[str, dict[str, Any]] = {}
    for kind, convert in kinds.items():
        (tmp_path / kind).mkdir()
        for name, call in calls(files, tmp_path / kind, run, convert).items():
            found.setdefault(name, {})[kind] = call()
    assert set(found) == set(naming_files())  # a new verb needs a call here
    for name, answers in found.items():
        assert answers["str"] == answers["Path"] == answers["Place"], name


def test_no_verb_asks_for_a_path_alone() -> None:
    """Annotations are what an editor shows and what a type checker holds a caller to."""
    by_name = dict(verbs())
    for name, named in naming_files().items():
        parameters = inspect.signature(by_name[name]).parameters
        for parameter in named:
            assert "AnyPath" in told(parameters[parameter]), f"{name}({parameter})"


def test_a_data_frame_is_taken_where_a_table_is_meant(files: Path, run: al.Run) -> None:
    table, new = pd.read_csv(files / "trial.csv"), pd.read_csv(files / "new.csv")
    study = al.study(files)
    one, other = (study.read(data).checked for data in (files / "trial.csv", table))
    assert one.data.equals(other.data)
    assert one.flow.equals(other.flow)
    assert (one.source, other.source) == ("trial.csv", "data frame")
    answers = [run["function"].predict(patients=data) for data in (files / "new.csv", new)]
    numbers = [answer.table.drop(columns="patient") for answer in answers]
    assert numbers[0].equals(numbers[1])


def test_a_run_is_held_against_a_data_frame(files: Path) -> None:
    """The frame that was fitted says nothing; one changed score names its outcome."""
    table = pd.read_csv(files / "trial.csv")
    plain = al.load(files / "run", data=table)
    assert not [note for note in plain.notes if "data frame" in note]
    column = str(plain.fit.study.outcomes["gpe"].followup)
    place = int(np.flatnonzero(table[column].notna())[0])
    table.loc[place, column] = -table.loc[place, column] + 1
    notes = [note for note in al.load(files / "run", data=table).notes if "data frame" in note]
    assert notes == ["The data frame's analysed patients of gpe are not those that were fitted."]


@pytest.mark.parametrize("wrong", [3, None, b"trial.csv", pd.DataFrame({"a": [1]})])
def test_what_is_no_path_is_refused_in_words(wrong: Any) -> None:
    with pytest.raises(al.InputError, match=r"where a file or folder is meant.*as text"):
        al.study(wrong)
