"""Tables in odd units and with long names: nothing is printed as zero, nothing is cut."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import alliance

CBT = "Cognitive behavioural therapy for individuals"
TAU = "Treatmentasusualinprimarycare"  # no space to break a line at
WIDTHS = (80, 100, 120, 155, 200)
NUMBER = r"-?[\d.]+(?:e-?\d+)?"

STUDY = f"""\
title = "A trial in odd units"
covariates = ["age"]
[columns]
patient = "id"
therapist = "therapist"
arm = "arm"
[arms]
"{CBT}" = "CBT"
"{TAU}" = "TAU"
[moderator]
name = "alliance"
label = "Working alliance"
column = "wai"
range = [0, 1]
[outcomes.dose]
label = "Dose"
baseline = "before"
followup = "after"
range = [0, UNIT]
better = "lower"
"""
PUBLISHED = f"""\
[[finding]]
outcome = "dose"
quantity = "arm_contrast"
level = "{TAU}-{CBT}"
claim = "number"
estimate = EFFECT
known_by = "abstract"
source = "A paper"
"""


def fitted(folder: Path, unit: float) -> Path:
    """A run of 120 patients with scores from 0 to 60 units, ratings from 0 to 1."""
    random = np.random.default_rng(5)
    n = 120
    therapist, arm = random.integers(0, 8, n), random.integers(0, 2, n)
    wai = 0.6 + 0.02 * random.normal(size=8)[therapist] + 0.15 * random.normal(size=n)
    wai = np.clip(wai, 0, 1)
    before = random.normal(30, 6, n)
    after = 20 + 0.5 * (before - 30) + 3 * arm - 8 * (wai - 0.6)
    after += 1.5 * random.normal(size=8)[therapist] + random.normal(0, 4, n)
    table = pd.DataFrame(
        {
            "id": range(n),
            "therapist": [f"T{j}" for j in therapist],
            "arm": np.where(arm == 1, TAU, CBT),
            "wai": wai,
            "before": unit * before,
            "after": unit * np.clip(after, 0, 60),
            "age": random.integers(20, 70, n),
        }
    )
    table.to_csv(folder / "trial.csv", index=False)
    (folder / "study.toml").write_text(STUDY.replace("UNIT", repr(60 * unit)))
    (folder / "published.toml").write_text(PUBLISHED.replace("EFFECT", repr(2 * unit)))
    run = folder / "run"
    options = ("--out", run, "--engine", "instant", "--profile", "ci")
    answer = alliance("fit", folder / "study.toml", folder / "trial.csv", *options)
    assert answer.code == 0, answer.stderr
    return run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("tiny"), 1e-9)


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("huge"), 1e6)


@pytest.fixture(params=["tiny", "huge"])
def run(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


COMMANDS = {
    "summary": (),
    "compare": ("--robust",),
    "therapists": (),
    "effects": (),
    "decide": ("--threshold", "THRESHOLD"),
    "predict": ("--average-over", "trial"),
    "ppc": (),
    "sensitivity": ("--kind", "unseen"),
}


def printed_by(command: str, run: Path, width: int) -> str:
    threshold = {"tiny": "2e-9", "huge": "2e6"}[run.parent.name.rstrip("0123456789")]
    options = [threshold if text == "THRESHOLD" else text for text in COMMANDS[command]]
    answer = alliance(command, run, *options, width=width)
    assert answer.code == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_no_interval_is_printed_as_zero(command: str, run: Path) -> None:
    """In scores of a billionth and of a million: each interval has two different ends."""
    printed = printed_by(command, run, 200)
    printed = "\n".join(line for line in printed.splitlines() if "│ share" not in line)  # those are
    ends = re.findall(rf"({NUMBER}) to ({NUMBER})", printed)
    assert len(ends) > 2
    assert not [pair for pair in ends if pair[0] == pair[1] and not pair[0].isdigit()]  # but ranks
    assert max(map(len, re.findall(r"\d+", printed.replace(",", "")))) <= 10


def test_spreads_of_small_ratings_are_shown(tiny: Path) -> None:
    """Ratings from 0 to 1 differ by .15 within therapists: two digits, not 0.2."""
    table = pd.read_csv(StringIO(alliance("therapists", tiny, "--format", "csv").stdout))
    within = table.set_index("quantity").loc["alliance_sd_within", "mean"]
    printed = printed_by("therapists", tiny, 200)
    (line,) = [line for line in printed.splitlines() if "alliance within therapists" in line]
    shown = re.findall(r"\d\.\d+", line)[0]
    assert float(shown) == pytest.approx(within, rel=0.05)


@pytest.fixture(scope="module")
def estimates(tiny: Path) -> list[str]:
    """Estimates with intervals, as they stand where there is any room."""
    found = re.findall(rf"{NUMBER} \({NUMBER} to {NUMBER}\)", printed_by("compare", tiny, 400))
    assert len(found) == 14  # of five sources of three rows; no interaction without it
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_the_comparison_is_never_cut(width: int, tiny: Path, estimates: list[str]) -> None:
    printed = printed_by("compare", tiny, width)
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    # The cells of each column, line below line: read column by column they hold every word
    columns: list[str] = [""] * 12
    for line in printed.splitlines():
        if line.startswith(("│", "┃")):
            for k, cell in enumerate(re.split("[│┃]", line)[1:-1]):
                columns[k] += cell
    told = [re.sub(r"\s+", "", column) for column in columns]
    joined = "|".join(told)
    for word in ("moderatorslope", "armcontrast", "interaction", "average"):
        assert word in joined
    # Arms by their labels, which are shorter here than their codes; contrast and interaction
    assert joined.count("TAUminusCBT") == 2
    for estimate in estimates:
        assert estimate.replace(" ", "") in joined


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_screen(command: str, width: int, huge: Path) -> None:
    printed = printed_by(command, huge, width)
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
