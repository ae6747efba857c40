"""What each command answers for each design: every cell of a table, by running the command.

    uv run python tests/what_commands_answer.py [SETTING...]

fits a trial of each setting of `what_goes_with_what` (minutes, most of them compilation) and
puts every command to the run. What is refused (exit code 2) is a footnote; a traceback is a fault
of ours and ends it. The table is the last part of docs/what-goes-with-what.md; settings that are
named are tried again, and the other rows stay.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("alliance")))  # where this runs as a script

from command_line import Answer, alliance
from what_goes_with_what import BELOW, PAGE, PLACE, SETTINGS, changed, first_part, refused, table

from alliance.data_prep.study.description import narrowed, read_study
from alliance.data_prep.study.toml_files import toml_text
from alliance.inference.many_fits.assurance import (
    Assumptions,
    Criterion,
    assurance_question,
    planned_trial,
    require_grid,
)
from alliance.inference.many_fits.calibration_runs import calibration_questions
from alliance.inference.many_fits.multiverse import build_multiverse

KEPT = Path(__file__).with_name("what_commands_answer.json")
FINE = (0, 3)  # 3: it answered, and the gate or calibration has failed, as so few draws may

Folder = Path
COMMANDS: dict[str, Callable[[Folder], list[object]]] = {
    "summary": lambda at: ["summary", at / "run"],
    "compare": lambda at: ["compare", at / "run"],
    "effects": lambda at: ["effects", at / "run"],
    "predict": lambda at: ["predict", at / "run"],
    "decide": lambda at: ["decide", at / "run", "--outcome", "score", "--threshold", 0.1],
    "therapists": lambda at: ["therapists", at / "run"],
    "loo": lambda at: ["loo", at / "run"],
    "loo by therapist": lambda at: [
        *("loo", at / "run", "--by", "therapist"), *("--refits", "none"),
    ],
    "loo by clinic": lambda at: ["loo", at / "run", "--by", "clinic", "--refits", "none"],
    "ppc": lambda at: ["ppc", at / "run"],
    "sensitivity": lambda at: ["sensitivity", at / "run"],
    "report": lambda at: ["report", at / "run"],
    "reproduce": lambda at: ["reproduce", at / "run"],
}  # fmt: skip


def planned(at: Folder) -> None:
    """What `alliance assurance` asks before its workers fit anything."""
    study = narrowed(read_study(at / "study.toml"), outcomes=["score"])
    assumed = Assumptions(0.3, 0.5, 0.23, 0.1, 0.1)
    question = assurance_question(study, "B-A", assumed, Criterion(0.975, 0.0))
    require_grid(question, [(60, 6, 0.3)])
    planned_trial(question, 60, 6, 0.3, 0)


def calibrated(at: Folder) -> None:
    """What `alliance calibrate` asks before its workers fit anything."""
    study = read_study(at / "study.toml")
    calibration_questions(study, None, patients=60, therapists=6, seed=1, engine=None)


def universes(at: Folder) -> None:
    """What `alliance multiverse` asks before its workers fit anything."""
    build_multiverse(read_study(at / "study.toml"), at / "data.csv", [], full=False)


# Their fits are those of `fit`, in processes that take longer to start than to answer.
BEFORE_WORKERS: dict[str, Callable[[Folder], None]] = {
    "calibrate": calibrated,
    "assurance": planned,
    "multiverse": universes,
}
EVERY = (*COMMANDS, *BEFORE_WORKERS)


def said(answer: Answer) -> str:
    """The message of a refusal, without frames and folders; nothing where it answered."""
    if answer.code in FINE:
        return ""
    assert answer.code == 2, answer.stderr
    text = PLACE.sub("", answer.said)
    text = re.sub(r"^.*?(?:Error:|Error)\s+", "", text, count=1)
    return re.sub(r"/\S*/run\b", "RUN", text)


def answered(setting: str) -> dict[str, str]:
    """By command, nothing where it answers, or what it says."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        (at / "study.toml").write_text(toml_text(changed((setting,))), encoding="utf-8")
        table((setting,)).to_csv(at / "data.csv", index=False)
        options = ("--profile", "ci", "--draws", 250, "--tune", 300)
        fit = ("fit", at / "study.toml", at / "data.csv", "--out", at / "run", *options)
        fitted = alliance(*fit, "--engine", "instant")
        if fitted.code == 2:  # the instant engine fits fewer models
            fitted = alliance(*fit)
        assert fitted.code in FINE, fitted.stderr
        for command, arguments in COMMANDS.items():
            found[command] = said(alliance(*arguments(at)))
            print(f"  {command}: {found[command] or 'yes'}", flush=True)
        for command, ask in BEFORE_WORKERS.items():
            found[command] = refused(lambda ask=ask: ask(at))
            print(f"  {command}: {found[command] or 'yes'}", flush=True)
    return found


def section(kept: dict[str, dict[str, str]]) -> str:
    """The table with its footnotes, lettered apart from those of the pairs."""
    notes: dict[str, int] = {}
    lines = [
        BELOW,
        "",
        "Every cell is the command's own answer, or its refusal (exit code 2), to a run of 240 "
        "patients (`python tests/what_commands_answer.py`).",
        "",
        f"| setting | {' | '.join(EVERY)} |",
        f"| --- |{' --- |' * len(EVERY)}",
    ]
    for setting in (name for name in SETTINGS if name in kept):
        cells = []
        for command in EVERY:
            why = kept[setting][command]
            number = notes.setdefault(why, len(notes) + 1) if why else 0
            cells.append(f"[c{number}](#why-a-command-refuses)" if why else "yes")
        lines.append(f"| `{setting}` | {' | '.join(cells)} |")
    listed = [f"- c{number}: {why}" for why, number in notes.items()]
    return "\n".join([*lines, "", "## Why a command refuses", *listed, ""])


def main() -> None:
    """Try settings, and write the table anew."""
    kept: dict[str, dict[str, str]] = {}
    for setting in sys.argv[1:] or list(SETTINGS):
        print(setting, flush=True)
        found = answered(setting)
        kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
        kept[setting] = found
        KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(f"{first_part()}\n{section(kept)}", encoding="utf-8")


if __name__ == "__main__":
    main()
