"""The face: every verb gives the numbers of its command, and every answer shows itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from command_line import alliance as command

import alliance as al
from alliance.answer import telling
from alliance.cli.screen import PROSE, as_options

FIT = ("--engine", "instant", "--profile", "ci", "--seed", "3", "--outcome", "pain")
ASKED = {"engine": "instant", "profile": "ci", "seed": 3, "outcome": "pain", "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated trial of 90 patients and 5 therapists, written by the face."""
    place = tmp_path_factory.mktemp("face")
    al.simulate(patients=90, therapists=5, seed=4).save(place / "trial.csv")
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> al.Run:
    """One outcome of the trial, by the instant engine, saved and read back."""
    trial = al.study(folder).read(folder / "trial.csv")
    al.fit(trial, **ASKED).save(folder / "run")
    return al.load(folder / "run")


@pytest.fixture(scope="module")
def pain(run: al.Run) -> al.FittedOutcome:
    return run["pain"]


def told(*arguments: object) -> list[dict[str, Any]]:
    """What a command prints as JSON, without the labels that stand behind its codes."""
    answer = command(*arguments, "--format", "json")
    assert answer.code == 0, answer.stderr
    rows = json.loads(answer.stdout)
    return [{k: row[k] for k in row if not k.endswith("_label")} for row in rows]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as the command line prints it: every digit, missing numbers as null."""
    sentences = [name for name in PROSE if name in table]  # a shell takes options
    told = table.assign(**{name: table[name].map(as_options) for name in sentences})
    marked = told.assign(data="SIMULATED").replace([math.inf, -math.inf], math.nan)
    cells = marked.astype(object).where(marked.notna(), None)
    return json.loads(json.dumps(cells.to_dict("records"), default=float))


# Command line, and the same asked of the face --------------------------------------------------

SAME: dict[str, tuple[tuple[str, ...], Callable[[al.Run], Any]]] = {
    "check": (("diagnose",), lambda run: run.check()),
    "summary": (("summary",), lambda run: run.summary()),
    "summary elsewhere": (
        ("summary", "--at", "90", "--per-sd", "--interval", "0.8"),
        lambda run: run.summary(at=90, per_sd=True, interval=0.8),
    ),
    "summary of one": (("summary",), lambda run: run["pain"].summary()),
    "priors": (("summary", "--priors"), lambda run: run.priors()),
    "compare": (("compare", "--robust"), lambda run: run.compare(robust=True)),
    "predict": (
        ("predict", "--alliance", "80,95", "--baseline", "5", "--at-most", "3", "--change", "2"),
        lambda run: run["pain"].predict(alliance=[80, 95], baseline=5).chance(at_most=3, change=2),
    ),
    "predict, one arm": (
        ("predict", "--arm", "MCE", "--therapist", "average", "--seed", "7", "--interval", "0.5"),
        lambda run: run["pain"].predict(arm="MCE", therapist="average", seed=7, interval=0.5),
    ),
    "average": (
        ("predict", "--average-over", "trial", "--at-least", "4"),
        lambda run: run["pain"].predict(average_over="trial").chance(at_least=4),
    ),
    "effects": (
        ("effects", "--alliance", "80,95", "--threshold", "1", "--rope=-0.5:0.5"),
        lambda run: run["pain"].effects(at=[80, 95]).chance(better_by=1, equivalence=(-0.5, 0.5)),
    ),
    "effects of a new therapist": (
        ("effects", "--contrast", "MCE-GE", "--therapist", "new", "--grid", "11"),
        lambda run: run["pain"].effects(contrast="MCE-GE", therapist="new", grid=11),
    ),
    "decide": (
        ("decide", "--threshold", "1", "--reach", "3", "--lift", "5", "--source", "said"),
        lambda run: run["pain"].decide(better_by=1, reach=3, raise_alliance=5, source="said"),
    ),
    "therapists": (("therapists", "--alliance", "90"), lambda run: run["pain"].therapists(at=90)),
    "missing": (
        ("missing", "--assume", "j2r", "--reference", "MCE", "--delta", "SMT=-1"),
        lambda run: run.missing(assume="j2r", reference="MCE", delta={"SMT": -1.0}),
    ),
    "missing, tipping": (("missing", "--tip"), lambda run: run.missing(tip=True)),
    "ppc": (("ppc",), lambda run: run["pain"].ppc()),
    "loo": (("loo",), lambda run: run["pain"].leave_out()),
    "loo by therapist": (
        ("loo", "--by", "therapist", "--refits", "none"),
        lambda run: run["pain"].leave_out("therapist", refits="none"),
    ),
    "sensitivity": (("sensitivity",), lambda run: run["pain"].sensitivity()),
    "sensitivity to each prior": (
        ("sensitivity", "--each-prior"),
        lambda run: run["pain"].sensitivity("priors", each_prior=True),
    ),
    "influence": (
        ("sensitivity", "--kind", "influence", "--all-units"),
        lambda run: run["pain"].sensitivity("influence", all_units=True, progress=False),
    ),
    "unseen": (
        ("sensitivity", "--kind", "unseen"),
        lambda run: run["pain"].sensitivity("unseen"),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_verb_gives_the_numbers_of_its_command(name: str, run: al.Run, folder: Path) -> None:
    words, verb = SAME[name]
    answer = verb(run)
    assert records(answer.table) == told(words[0], folder / "run", *words[1:])
    shown = answer._repr_html_()
    assert shown.startswith("<p><strong>SIMULATED DATA: ")
    assert "<table" in shown
    assert repr(answer).startswith("SIMULATED DATA: ")
    titles = {sheet.title for sheet in answer._reading[0]}
    lines = repr(answer).split("\nNote:")[0].splitlines()
    assert len(lines) > 2
    assert max(len(line) for line in lines if line not in titles) <= 100  # a line of a terminal


def test_contrasts_of_predictions_are_those_of_the_command(run: al.Run, folder: Path) -> None:
    found = run["pain"].predict(alliance=90).chance(better_by=1)
    asked = ("predict", folder / "run", "--alliance", "90", "--better-by", "1")
    assert records(found.contrasts) == told(*asked)
    assert run["pain"].predict(alliance=90).contrasts is None


def test_a_fit_is_that_of_the_command(run: al.Run, folder: Path) -> None:
    """The same draws and the same files, whoever writes the run."""
    study, data = folder / "study.toml", folder / "trial.csv"
    answer = command("fit", study, data, "--out", folder / "by command", *FIT)
    assert answer.code == 0, answer.stderr
    other = al.load(folder / "by command")
    xr.testing.assert_identical(other["pain"].draws, run["pain"].draws)
    for name in ("summary.csv", "gate.csv", "flow.csv", "study.toml", "published.toml"):
        assert (folder / "run" / name).read_bytes() == (folder / "by command" / name).read_bytes()


def test_settings_of_the_model_are_those_of_the_study_file(folder: Path) -> None:
    trial = al.study(folder).read(folder / "trial.csv")
    model = {"therapist": "intercept", "interaction": False}
    fitted = al.fit(trial, model=model, **ASKED).fit
    assert fitted.specs["pain"].therapist == "intercept"
    assert not fitted.specs["pain"].interaction
    assert fitted.manifest["left_out"] == ["function", "gpe", "disability"]
    with pytest.raises(al.InputError, match=r"no setting 'therapists'.*'therapist'"):
        trial.choose(model={"therapists": "none"})


def test_runs_stand_side_by_side_and_are_compared(run: al.Run, folder: Path) -> None:
    trial = al.study(folder).read(folder / "trial.csv")
    other = al.fit(trial, model={"interaction": False}, **ASKED)
    table = al.side_by_side({"with": folder / "run", "without": other}).table
    assert {"with_mean", "without_mean"} <= set(table.columns)
    found = run["pain"].leave_out(against={"without": other}, progress=False)
    assert set(found.table["fit"]) == {"this", "without"}
    assert found.plot().axes


def test_the_report_is_that_of_the_command(run: al.Run, folder: Path) -> None:
    short = {"at": 90.0, "interval": 0.9}
    by_face = run.report(folder / "face.html", tables=folder / "tables", **short)
    options = ("--at", "90", "--interval", "0.9", "--out", folder / "command.html")
    answer = command("report", folder / "run", *options)
    assert answer.code == 0, answer.stderr
    pages = [page.read_text(encoding="utf-8") for page in (by_face, folder / "command.html")]
    clock = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")  # when each was written
    assert clock.search(pages[0])
    assert clock.sub("", pages[0]) == clock.sub("", pages[1])
    assert any((folder / "tables").glob("*.csv"))


def test_the_explorer_is_that_of_the_command(run: al.Run, folder: Path) -> None:
    by_face = run.explore(folder / "face_explorer.html", interval=0.9, therapist_names=True)
    options = ("--interval", "0.9", "--therapist-names", "--out", folder / "command_explorer.html")
    answer = command("explore", folder / "run", *options)
    assert answer.code == 0, answer.stderr
    pages = [page.read_text("utf-8") for page in (by_face, folder / "command_explorer.html")]
    clock = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    assert clock.search(pages[0])
    assert clock.sub("", pages[0]) == clock.sub("", pages[1])


# Answers ---------------------------------------------------------------------------------------

DRAWN: dict[str, Callable[[al.FittedOutcome], al.Answer]] = {
    "check": lambda pain: pain.run.check(),
    "summary": lambda pain: pain.run.summary(),
    "compare": lambda pain: pain.run.compare(),
    "predict": lambda pain: pain.predict(alliance=[80, 90, 100]),
    "effects": lambda pain: pain.effects(),
    "decide": lambda pain: pain.decide(better_by=1),
    "therapists": lambda pain: pain.therapists(),
    "ppc": lambda pain: pain.ppc(),
    "leave out": lambda pain: pain.leave_out(),
    "leave out therapists": lambda pain: pain.leave_out("therapist", refits="none"),
    "priors": lambda pain: pain.sensitivity("priors"),
    "unseen": lambda pain: pain.sensitivity("unseen"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_an_answer_is_drawn_for_a_notebook_and_into_a_file(
    name: str, pain: al.FittedOutcome, tmp_path: Path
) -> None:
    figure = DRAWN[name](pain).plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    # IPython asks an object for this method; without pyplot no one else draws the figure.
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]  # as IPython asks


def test_a_figure_that_does_not_exist_is_refused_in_words(pain: al.FittedOutcome) -> None:
    with pytest.raises(al.InputError, match="No figure is drawn of this: SIMULATED DATA: Priors"):
        pain.run.priors().plot()
    with pytest.raises(al.InputError, match="There is no 'curve' here"):
        pain.effects().plot(plot="curve")
    with pytest.raises(al.InputError, match=r"figure.*format"):
        pain.effects().plot("figure.docx")


def test_draws_are_those_of_the_table(pain: al.FittedOutcome) -> None:
    """Means over draws are the table's means, in the order of its rows."""
    predicted = pain.predict(alliance=[80, 90])
    means = predicted.draws["expected"].mean(["chain", "draw"])
    np.testing.assert_allclose(means, predicted.table["expected"], rtol=1e-12)
    effects = pain.effects(at=[80, 90], contrast="MCE-GE")
    curves = effects.draws.sel(moderator=[80.0, 90.0]).mean(["chain", "draw"])
    rows = effects.table.query("quantity == 'arm_contrast'")
    differences = curves.sel(arm="MCE") - curves.sel(arm="GE")
    np.testing.assert_allclose(differences, rows["mean"], rtol=1e-9)
    summary = pain.summary()
    np.testing.assert_allclose(
        summary.draws.mean(["chain", "draw"]), summary.table["mean"], rtol=1e-9
    )
    assert pain.run.priors().draws is None


def test_no_threshold_has_a_default(pain: al.FittedOutcome) -> None:
    with pytest.raises(al.InputError, match="no threshold has a default"):
        pain.decide()


# What is given ---------------------------------------------------------------------------------


def test_patients_of_a_table_bring_their_own_baselines(pain: al.FittedOutcome) -> None:
    study = pain.run.fit.study
    names = (str(study.moderator.column), str(study.outcomes["pain"].baseline))
    new = pd.DataFrame([[80, 5.0], [90, 6.0]], columns=names)
    assert pain.predict(patients=new).table["baseline"].tolist() == [5, 5, 5, 6, 6, 6]
    with pytest.raises(al.InputError, match=r"`baseline` does not go with `patients`"):
        pain.predict(patients=new, baseline=5)


def test_every_problem_of_the_data_is_told(folder: Path) -> None:
    frame = pd.read_csv(folder / "trial.csv", dtype=str)
    frame.loc[3, "arm"] = "XX"
    frame.loc[5, "wai_total"] = "999"
    with pytest.raises(al.DataError) as caught:
        al.study(folder).read(frame)
    assert [problem.column for problem in caught.value.problems] == ["arm", "wai_total"]


def test_an_outcome_that_was_not_fitted_is_refused(run: al.Run) -> None:
    with pytest.raises(al.InputError, match=r"no outcome 'pian'.*'pain'"):
        run["pian"]
    assert list(run) == ["pain"]


# What a person sees first ----------------------------------------------------------------------


def test_what_is_printed_is_short(run: al.Run, folder: Path) -> None:
    trial = al.study(folder).read(folder / "trial.csv")
    for shown in (trial.study, trial, run, run["pain"]):
        lines = repr(shown).splitlines()
        assert len(lines) < 18
        assert lines[0].startswith("SIMULATED DATA: ")
    assert "draws: PASS" in repr(run)
    assert "90" in repr(trial)  # patients that were read


def test_progress_is_a_plain_callback(pain: al.FittedOutcome) -> None:
    heard: list[tuple[int, int]] = []
    pain.leave_out("therapist", refits="all", progress=lambda *told: heard.append(told))
    assert heard[0] == (0, 5)  # therapists
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_progress_is_one_line_where_somebody_looks_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with telling(True, "sampling") as told:
        assert told is None  # nobody does
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with telling(True, "sampling") as told:
        assert told is not None
        for done in range(0, 4001, 10):
            told("pain", done, 4000)
    shown = capsys.readouterr().err
    assert "\n" not in shown
    assert shown.startswith("\rsampling pain 0 of 4,000")
    assert shown.count("\r") < 20  # not for each of 400 calls
    assert shown.split("\r")[-2].strip() == ""  # nothing is left behind
    with telling(False, "sampling") as told:
        assert told is None


def test_a_trial_of_many_files_is_fitted(folder: Path) -> None:
    """A folder stands for many files; what needs rows says how to have them."""
    (folder / "registry").mkdir()
    frame = pd.read_csv(folder / "trial.csv")
    for k, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[rows].to_csv(folder / "registry" / f"{k}.csv", index=False)
    study = al.study(folder).choose("pain")
    trial = study.read(folder / "registry")
    run = al.fit(trial, **ASKED)
    assert run.fit.rowless
    assert len(run.summary().table) > 10
    with pytest.raises(al.InputError, match=r"patients' rows.*sample_therapists"):
        trial.prior()
    some = study.read(folder / "registry", sample_therapists=3, seed=1)
    assert some.flow["rows_read"].iloc[0] < 90


def test_a_run_reproduces_itself(run: al.Run, folder: Path) -> None:
    found = run.reproduce(folder / "trial.csv", progress=False)
    assert found.verdict == "identical"
    assert found.table["identical"].all()
    other = run.reproduce(seed=4, progress=False)
    assert other.verdict == "different"
    assert "seed" in repr(other)
