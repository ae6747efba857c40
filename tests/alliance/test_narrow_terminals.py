"""However narrow a terminal is, it shows the answer; what was asked gives way first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import alliance

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.inference.runs.fit import Fit

WIDTHS = (60, 80, 120)
ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "predict": (
        ("--outcome", "function", "--baseline", "8,12", "--alliance", "80,90", "--at-least", "12"),
        ("Expected", "95% interval", "P(>= 12)"),
    ),
    "effects": (
        ("--outcome", "function", "--threshold", "2"),
        ("Mean", "P(better)", "P(by 2)", "95% interval"),
    ),
    "decide": (
        ("--outcome", "function", "--threshold", "2", "--lift", "5"),
        ("Mean", "95% interval", "P(better)", "P(by 2)", "Share"),
    ),
    "compare": ((), ("Source", "Estimate", "P(> 0)")),
    "therapists": ((), ("Patients", "Effect", "P(> 0)", "Rank")),
}
"""By command, what is asked and the headings of what answers it."""


@pytest.fixture(scope="module")
def run(made_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two outcomes with made-up draws. Do not change it."""
    from alliance.inference.runs.run_folder import save_fit

    path = tmp_path_factory.mktemp("narrow") / "run"
    save_fit(made_fit, path)
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ASKED)
def test_the_answer_is_shown(command: str, width: int, run: Path) -> None:
    options, wanted = ASKED[command]
    answer = alliance(command, run, *options, width=width)
    assert answer.code == 0, answer.said
    table = [line for line in answer.stdout.splitlines() if "┃" in line]
    assert max(map(len, answer.stdout.splitlines())) <= width
    # A heading may go over several lines: its words stand in the cells of one column
    columns = [" ".join(_column(table, k).split()) for k in range(table[0].count("┃") + 1)]
    found = " | ".join([*columns, _plain(answer.stdout)])
    for heading in wanted:
        if command == "compare" and heading in ("Source", "Estimate") and width > 80:
            continue  # with room enough each source has a column of its own
        assert heading in found, (heading, answer.stdout)


def _column(lines: list[str], place: int) -> str:
    cells = [line.split("┃") for line in lines]
    return " ".join(row[place].strip() for row in cells if place < len(row))


def _plain(text: str) -> str:
    return " ".join(text.split())


def test_what_was_asked_gives_way_and_is_named(run: Path) -> None:
    options, _ = ASKED["predict"]
    wide, narrow = (alliance("predict", run, *options, width=width) for width in (120, 50))
    assert "Baseline" in wide.stdout.split("No room")[0]
    assert "No room here for: " in _plain(narrow.stdout)
    left_out = _plain(narrow.stdout).partition("No room here for: ")[2]
    assert left_out.startswith("Baseline")


def test_a_threshold_below_zero_is_explained(run: Path) -> None:
    answer = alliance("decide", run, "--outcome", "function", "--threshold", "-2")
    assert answer.code == 0
    assert "function: the threshold -2 is below zero: a margin by which" in answer.said
    assert "better by 2 points (higher) has the threshold 2" in answer.said
    quiet = alliance("decide", run, "--outcome", "function", "--threshold", "2")
    assert "margin" not in quiet.stderr


def test_on_a_terminal_a_threshold_below_zero_is_asked_about(
    made_fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alliance.cli import asking
    from alliance.inference.scores.thresholds import Thresholds

    outcomes = made_fit.study.outcomes
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    for answer, by in (("better", 2.0), ("margin", -2.0)):
        monkeypatch.setattr(asking, "ask", lambda _, answer=answer: answer)
        found = asking.settled(outcomes, {"function": Thresholds(better_by=-2.0)})
        assert found["function"].better_by == by
    monkeypatch.setattr(asking, "ask", lambda _: pytest.fail("nothing is below zero"))
    asking.settled(outcomes, {"function": Thresholds(better_by=2.0), "gpe": Thresholds()})


FIGURE_OPTIONS = {
    "no figure": (("--width", "85"), "Add --figure FILE"),
    "centimetres": (("--width", "8.5", "--figure", "f.png"), "in millimetres"),
    "no such font": (("--font", "Arialle", "--figure", "f.png"), "no font 'Arialle'"),
}


@pytest.mark.parametrize(("options", "said"), FIGURE_OPTIONS.values(), ids=FIGURE_OPTIONS)
def test_options_of_figures_are_refused_with_what_to_do(
    options: tuple[str, ...], said: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = alliance("summary", run, *options)
    assert (answer.code, answer.stdout) == (2, "")
    assert said in answer.said
    assert list(tmp_path.iterdir()) == []


def test_a_figure_without_caption_has_it_printed(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.svg"
    asked = ("--figure", path, "--width", "85", "--no-caption", "--font", "DejaVu Serif")
    answer = alliance("summary", run, *asked)
    assert answer.code == 0, answer.said
    assert "Caption: Arm contrasts at alliance" in answer.said
    drawn = path.read_text(encoding="utf-8")
    assert "DejaVu Serif" in drawn
    assert "divided by the SD" not in drawn
