"""Files that commands write beside a run: never over input or a run, and whole or not at all."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import alliance, contents, write_small_trial
from matplotlib.figure import Figure

from alliance.cli.app import app
from alliance.cli.files import WRITTEN
from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.results_figures import save_figure
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import save_fit
from alliance.inference.runs.whole_files import JUNIT, require_output, write_whole


@pytest.fixture
def place(made_fit: Fit, tmp_path: Path) -> Path:
    """A folder with a run, a trial's data and study, and files of one's own."""
    write_small_trial(tmp_path)
    save_fit(made_fit, tmp_path / "run")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG my own")
    (tmp_path / "results.xml").write_text("<testsuites name='pytest'/>", encoding="utf-8")
    (tmp_path / "notes").write_text("years of work", encoding="utf-8")
    (tmp_path / "link.png").symlink_to(tmp_path / "trial.csv")
    return tmp_path


def commands() -> dict[str, Any]:
    front: Any = typer.main.get_command(app)
    return {name: front.get_command(None, name) for name in front.commands}


def test_every_command_that_writes_or_reads_a_run_has_the_option() -> None:
    """Those that come later have it, too: nothing is listed by name."""
    writing, reading = set(), set()
    for name, command in commands().items():
        options = {each.name for each in command.params}
        writing |= {name} if options & set(WRITTEN) else set()
        reading |= {name} if "run" in options else set()
        assert "overwrite" in options or not options & set(WRITTEN)
        assert "accept_changed" in options or "run" not in options
    assert {"diagnose", "summary", "effects", "multiverse"} <= writing
    assert {"diagnose", "summary", "report", "reproduce"} <= reading


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "named",
    ["trial.csv", "study.toml", "run/manifest.json", "run/gpe.nc", "run/flow.csv",
     "run/report.html", "run/published.toml", "run", "/dev/null", "none/gate.xml"],
)  # fmt: skip
def test_data_and_runs_are_never_replaced(place: Path, named: str, overwrite: bool) -> None:
    """Data that the command does not read, too: any trial's."""
    before, options = contents(place), ["--overwrite"] * overwrite
    answer = alliance("diagnose", place / "run", "--junit", place / named, *options)
    assert answer.code == 2
    assert named.split("/")[-1] in answer.said
    assert contents(place) == before
    assert Path("/dev/null").is_char_device()


def test_input_is_not_replaced_whatever_it_is_called(place: Path) -> None:
    """A study may have any ending."""
    study = place / "study.xml"
    (place / "study.toml").rename(study)
    before = contents(place)
    options = ("--study", study, "--junit", study, "--overwrite")
    answer = alliance("diagnose", place / "run", *options)
    assert answer.code == 2
    assert "study.xml' is read, and is not replaced" in answer.said
    assert contents(place) == before


@pytest.mark.parametrize(
    ("command", "option", "named"),
    [
        ("diagnose", "--junit", "results.xml"),
        ("diagnose", "--junit", "notes"),
        ("summary", "--figure", "photo.png"),
    ],
)
def test_files_of_ones_own_are_replaced_when_asked(
    place: Path, command: str, option: str, named: str
) -> None:
    before = contents(place)
    answer = alliance(command, place / "run", option, place / named)
    assert answer.code == 2
    assert f"{named}' exists and is not a" in answer.said
    assert contents(place) == before
    assert alliance(command, place / "run", option, place / named, "--overwrite").code in (0, 3)
    assert contents(place)[named] != before[named]
    again = alliance(command, place / "run", option, place / named)  # it is ours now
    assert again.code in (0, 3), again.stderr


def test_a_link_is_not_followed(place: Path) -> None:
    before = contents(place)
    answer = alliance("summary", place / "run", "--figure", place / "link.png", "--overwrite")
    assert answer.code == 2
    assert contents(place) == before
    assert (place / "link.png").is_symlink()


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_figure_is_known_again_in_every_format(tmp_path: Path, ending: str) -> None:
    """However large it is: the mark stands at an end of the file."""
    figure, path = Figure(), tmp_path / f"figure.{ending}"
    figure.subplots().plot(range(20_000))
    save_figure(figure, path)
    save_figure(figure, path)
    path.write_bytes(b"another program's")
    with pytest.raises(InputError, match="is not a figure of alliance"):
        save_figure(figure, path)
    save_figure(figure, path, overwrite=True)


@pytest.mark.parametrize("kind", ["folder", "pattern", "sheet"])
def test_what_many_files_are_read_from_is_input(tmp_path: Path, kind: str) -> None:
    (tmp_path / "parts").mkdir()
    file = tmp_path / "parts" / ("one.xlsx" if kind == "sheet" else "one.part")
    file.write_bytes(b"patients")
    read = {
        "folder": tmp_path / "parts",
        "pattern": tmp_path / "parts" / "*.part",
        "sheet": tmp_path / "parts" / "one.xlsx#Data",
    }[kind]
    with pytest.raises(InputError, match="is not replaced"):
        require_output(file, JUNIT, overwrite=True, inputs=[read])


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
from alliance.data_prep.errors import InputError
from alliance.inference.runs.whole_files import write_whole
try:
    write_whole(Path(sys.argv[1]), b"x" * 20_000)
except InputError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.xml"
    write_whole(path, b"the earlier one")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False
    )
    assert "cannot be written: File too large" in done.stderr
    assert contents(tmp_path) == {"gate.xml": b"the earlier one"}
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000


def test_a_changed_run_is_read_when_asked(place: Path) -> None:
    (place / "run" / "gpe.nc").write_bytes((place / "run" / "function.nc").read_bytes())
    refused = alliance("summary", place / "run")
    assert refused.code == 2
    assert "gpe.nc' is damaged or was changed" in refused.said
    answer = alliance("summary", place / "run", "--accept-changed")
    assert answer.code == 0
    assert "Note: gpe.nc in the run folder is no longer the file that was written." in answer.said


def test_what_a_killed_command_left_is_cleaned_and_said(place: Path) -> None:
    left = place / ".run.partial-x1y2z3w4"
    left.mkdir()
    (left / "gpe.nc").write_bytes(b"patients' values")
    (place / "run" / ".report.html.partial-x1y2z3w4").write_bytes(b"half")
    aside = place / ".run.previous-x1y2z3w4"
    aside.mkdir()
    (place / "run").rename(aside / "run")
    answer = alliance("report", place / "run", "--out", place / "page.html")
    assert answer.code in (0, 3), answer.stderr
    assert "The run run is back where it was" in answer.said
    assert "Removed .run.partial-x1y2z3w4, which a command that was killed left" in answer.said
    assert "Removed .report.html.partial-x1y2z3w4" in answer.said
    assert not [name for name in contents(place) if ".partial-" in name or ".previous-" in name]
