"""What goes with what: every two settings of a model together, tried on the code itself.

    uv run python tests/what_goes_with_what.py

writes docs/what-goes-with-what.md anew: whether a study with two settings is read, specified and
made into designs, and by which engines and from which data it is fitted. What is refused is refused
by an `InputError`, whose sentence is the footnote; anything else is a fault of ours.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.shares.pooling import load_pooled
from alliance.data_prep.study.description import Study, read_study
from alliance.data_prep.study.toml_files import toml_text
from alliance.data_prep.trial.trial import check_estimable, trial_from_frame
from alliance.inference.sampling.instant import require_instant
from alliance.models.design.design import build_design, moments_design
from alliance.models.spec import specify
from alliance.models.trials.design import trials_design
from alliance.models.visits.design import build_visits

PAGE = Path(__file__).resolve().parents[1] / "docs" / "what-goes-with-what.md"
BELOW = "## One setting, and what each command answers"  # of `what_commands_answer`
PLACE = re.compile(r"/\S*/(?=[\w-]+\.(toml|csv))")  # folders that are others every time
Change = Callable[[dict[str, Any]], None]
Combination = tuple[str, ...]


def study() -> dict[str, Any]:
    """A trial of two therapies and usual care, with an outcome that any family can be given."""
    return {
        "title": "Example",
        "columns": {"patient": "id", "therapist": "who", "arm": "arm"},
        "arms": {"A": "Therapy A", "B": "Therapy B", "C": "Usual care"},
        "moderator": {
            "name": "alliance",
            "label": "Alliance",
            "column": "wai",
            "range": [0, 20],
            "reliability": 0.8,
        },
        "outcomes": {
            "score": {"label": "Score", "followup": "y", "range": [0, 10], "better": "higher"},
            "other": {"label": "Other", "followup": "z", "range": [0, 10], "better": "higher"},
        },
    }


def setting(key: str, value: Any) -> Change:
    def change(made: dict[str, Any]) -> None:
        made.setdefault("model", {})[key] = value

    return change


def family(name: str) -> Change:
    def change(made: dict[str, Any]) -> None:
        made["outcomes"]["score"] |= {"family": name}
        if name == "binary":
            made["outcomes"]["score"] |= {"followup": "event", "range": [0, 1]}
        made.setdefault("model", {})["likelihood"] = "native"

    return change


def without(table: str, key: str) -> Change:
    def change(made: dict[str, Any]) -> None:
        del made[table][key]

    return change


def visits(made: dict[str, Any]) -> None:
    made["outcomes"]["score"].pop("followup", None)
    made["outcomes"]["score"]["visits"] = {"w4": "y", "w8": "z"}
    del made["outcomes"]["other"]


def clinics(made: dict[str, Any]) -> None:
    made["columns"]["clinic"] = "site"


def shifted(made: dict[str, Any]) -> None:
    made["outcomes"]["score"]["delta"] = {"A": -1.0}


SETTINGS: dict[str, Change] = {
    "family student_t": family("student_t"),
    "family ordinal": family("ordinal"),
    "family beta_binomial": family("beta_binomial"),
    "family binary": family("binary"),
    "family count": family("count"),
    "therapist none": setting("therapist", "none"),
    "therapist intercept+slope": setting("therapist", "intercept+slope"),
    "therapist_by_arm": setting("therapist_by_arm", True),
    "no therapist column": without("columns", "therapist"),
    "clinics": clinics,
    "without_therapist": setting("without_therapist", ["C"]),
    "residual_by_arm": setting("residual_by_arm", True),
    "no [moderator]": lambda made: made.pop("moderator"),
    "moderator_arms": setting("moderator_arms", ["A", "B"]),
    "no interaction": setting("interaction", False),
    "within_between": setting("alliance", "within_between"),
    "impute": setting("missing_alliance", "impute"),
    "reliability": setting("reliability", True),
    "ceiling": setting("ceiling", True),
    "joint": setting("joint", True),
    "common_patients": setting("common_patients", True),
    "[visits]": visits,
    "delta": shifted,
    "several_trials": setting("several_trials", "varying"),
}


def table(combination: Combination) -> pd.DataFrame:
    """240 patients who have what the settings ask for."""
    random, rows = np.random.default_rng(7), 240
    arm = np.array(["A", "B", "C"])[np.arange(rows) % 3]
    rating = np.clip(np.round(random.normal(12, 4, rows)), 0, 20)
    made = pd.DataFrame(
        {
            "id": [f"P{k:03d}" for k in range(rows)],
            "who": [f"T{k}" for k in np.arange(rows) // 3 % 12],
            "site": [f"S{k}" for k in np.arange(rows) // 3 % 12 // 3],
            "arm": arm,
            "wai": rating,
            "y": np.clip(np.round(5 + 0.2 * (rating - 12) + random.normal(0, 2, rows)), 0, 10),
            "z": np.clip(np.round(5 + random.normal(0, 2, rows)), 0, 10),
        }
    )
    made["event"] = (made["y"] > 5).astype(float)
    if "without_therapist" in combination:
        made.loc[made["arm"] == "C", "who"] = None
    if "moderator_arms" in combination:
        made.loc[made["arm"] == "C", "wai"] = np.nan
    if "delta" in combination:
        made.loc[::17, ["y", "event"]] = np.nan
    return made


def changed(combination: Combination) -> dict[str, Any]:
    """The study with these settings; one that takes away what another sets comes last."""
    made = study()
    for name in sorted(combination, key=lambda name: name in ("no [moderator]", "[visits]")):
        SETTINGS[name](made)
    return made


def described_study(combination: Combination) -> Study:
    """As read from a file, with the messages that a file has."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(toml_text(changed(combination)), encoding="utf-8")
        return read_study(path)


def refused(attempt: Callable[[], object]) -> str:
    """Why it is refused, in the first sentence of the message; nothing where it is not."""
    try:
        attempt()
    except InputError as error:
        return " ".join(PLACE.sub("", str(error)).split())
    return ""


def modelled(combination: Combination) -> None:
    """Read, specify, and build every outcome's design."""
    described = described_study(combination)
    if described.model.several_trials != "no":
        from_many_files(combination)
        return
    trial = trial_from_frame(described, table(combination))
    check_estimable(trial, described.model.therapist)
    for name, spec in specify(described).items():
        build_design(trial.analysed(name), spec, described.outcomes[name].range)


def instantly(combination: Combination) -> None:
    described = described_study(combination)
    if described.model.several_trials != "no":  # of what NUTS fits
        from_many_files(combination)
        return
    trial, specs = trial_from_frame(described, table(combination)), specify(described)
    if any(spec.visits is not None for spec in specs.values()):
        build_visits(trial.data, specs)  # Gaussian, the alliance as rated: the engine fits it
        return
    if described.model.joint:
        raise InputError("The instant engine has no model of several outcomes.", "Use nuts.")
    for name, spec in specs.items():
        require_instant(build_design(trial.analysed(name), spec, described.outcomes[name].range))


def from_many_files(combination: Combination) -> None:
    described = described_study(combination)
    specify(described)
    with tempfile.TemporaryDirectory() as folder:
        rows = table(combination)
        for k in range(2):
            rows.iloc[120 * k : 120 * (k + 1)].to_csv(Path(folder) / f"{k}.csv", index=False)
        if described.model.several_trials == "no":
            load_registry(described, folder)
            return
        registry = load_pooled(described, [Path(folder)])
        for name, spec in specify(described).items():
            own = moments_design(
                registry.moments[name], spec, list(described.arms), registry.covariates
            )
            trials_design(own, registry.trials, spec)


ATTEMPTS: Mapping[str, Callable[[Combination], None]] = {
    "model": modelled,
    "instant": instantly,
    "many files": from_many_files,
}


def one_of(first: str, second: str) -> bool:
    """Whether the two settings are values of one key: an outcome has one family."""
    same = first != second and first.split()[0] == second.split()[0]
    return same and first.split()[0] in ("family", "therapist")


def page() -> str:
    """The page: one setting with each engine and kind of data, then every two settings."""
    notes: dict[str, int] = {}

    def cell(attempt: Callable[[Combination], None], combination: Combination) -> str:
        why = refused(lambda: attempt(combination))
        if not why:
            return "yes"
        return f"[{notes.setdefault(why, len(notes) + 1)}](#why)"

    lines = [
        "# What goes with what",
        "",
        "Written by `python tests/what_goes_with_what.py` from what the code does: a test holds "
        "the two together. Numbers lead to what is said when it is refused (exit code 2). Three "
        "arms, with therapists and an alliance in all of them unless the setting says otherwise.",
        "",
        "## One setting, how it is fitted and from what",
        f"| setting | {' | '.join(ATTEMPTS)} |",
        f"| --- |{' --- |' * len(ATTEMPTS)}",
    ]
    for name in SETTINGS:
        cells = (cell(attempt, (name,)) for attempt in ATTEMPTS.values())
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    names = list(SETTINGS)
    lines += ["", "## Two settings in one model", f"| | {' | '.join(names)} |"]
    lines.append(f"| --- |{' --- |' * len(names)}")
    for k, first in enumerate(names):
        cells = [
            ""
            if j > k or one_of(first, second)
            else cell(modelled, tuple(dict.fromkeys((first, second))))
            for j, second in enumerate(names)
        ]
        lines.append(f"| `{first}` | {' | '.join(cells)} |")
    lines += ["", "## Why", *(f"{number}. {why}" for why, number in notes.items()), ""]
    return "\n".join(lines)


def first_part() -> str:
    """The page as it stands, without what `what_commands_answer` writes below."""
    return PAGE.read_text(encoding="utf-8").split(BELOW)[0].rstrip() + "\n"


if __name__ == "__main__":
    _, below, rest = PAGE.read_text(encoding="utf-8").partition(BELOW)
    PAGE.write_text(page() + (f"\n{below}{rest}" if below else ""), encoding="utf-8")
