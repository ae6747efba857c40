"""Questions to an explorer's page, and the tables that commands print for the same."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from alliance.diagnostics.explorer.page import SCRIPTS
from alliance.diagnostics.sheet import Sheet
from alliance.diagnostics.sheets import effects as effect_sheets
from alliance.diagnostics.sheets import predictions as prediction_sheets
from alliance.inference.answers.decisions import decisions
from alliance.inference.answers.effects import effects_along
from alliance.inference.answers.predictions import predict
from alliance.inference.patients.asked_patients import patient_grid
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.thresholds import Thresholds

NODE = shutil.which("node")
Table = list[dict[str, str]]


@dataclass(frozen=True)
class Query:
    """What is asked of one outcome; as the page's controls have it."""

    outcome: str
    alliance: float
    therapist: str = "average"  # or new, or a therapist's id
    by: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    baseline: float | None = None
    covariates: Mapping[str, float | str] = field(default_factory=dict)

    def state(self, fit: Fit) -> dict[str, Any]:
        """As the page's functions take it."""
        posterior = fit[self.outcome]
        therapist = self.therapist
        if therapist not in ("average", "new"):
            therapist = str(posterior.design.therapists.index(therapist))
        encoding = posterior.design.encoding
        covariates = {
            name: encoding.encoded(name, [value])[0].tolist()
            for name, value in self.covariates.items()
        }
        return {
            "outcome": list(fit.outcomes).index(self.outcome),
            "contrast": 0,
            "alliance": self.alliance,
            "therapist": therapist,
            "by": self.by,
            "atLeast": self.at_least,
            "atMost": self.at_most,
            "patient": {"baseline": self.baseline, "covariates": covariates},
        }


def rows(sheet: Sheet | None) -> Table:
    """A sheet's text, row by row."""
    return [] if sheet is None else [{k: str(v) for k, v in row.items()} for row in sheet.rows]


def printed(fit: Fit, asked: Query) -> dict[str, Table]:
    """What `effects`, `decide` and `predict` print for a query, by the names of the page's tables.

    Columns that a page does not have (single scores of some families) are there too.
    """
    posterior, wanted = fit[asked.outcome], Thresholds(better_by=asked.by)
    found = effects_along(
        posterior,
        values=[asked.alliance],
        thresholds=wanted,
        therapist=asked.therapist,
        extrapolate=True,
    )
    tables = {
        "contrasts": rows(effect_sheets.contrasts_along(fit, found)),
        "arms": rows(effect_sheets.scores_along(fit, found)),
    }
    if asked.by is not None:
        decided = decisions(posterior, wanted, values=[asked.alliance], extrapolate=True)
        sheet, *_ = effect_sheets.decisions(fit, decided, interval=0.95)
        tables["decisions"] = rows(sheet)
    patient = patient_grid(
        posterior,
        alliance=[asked.alliance],
        baseline=None if asked.baseline is None else [asked.baseline],
        covariates={name: [value] for name, value in asked.covariates.items()},
        extrapolate=True,
    )
    predicted = predict(
        posterior,
        patient,
        therapist=asked.therapist,
        thresholds=Thresholds(at_least=asked.at_least, at_most=asked.at_most, better_by=asked.by),
        contrasts=True,
    )
    tables["patient"] = rows(prediction_sheets.predictions(fit, predicted))
    tables["patient_contrasts"] = rows(prediction_sheets.prediction_contrasts(fit, predicted))
    return tables


RUNNER = """
const [, , sources, payload, states] = process.argv;
const fs = require("fs");
const read = (path) => fs.readFileSync(path, "utf8");
const told = `return { Outcome, effects, decisions, predictions, effectTables, decisionTable,
  predictionTables, sentences, normal, fixed, general, number, quantiles, inverted, nearest };`;
const api = new Function(`${sources.split(":").map(read).join("\\n")}\\n${told}`)();
const study = JSON.parse(read(payload)), kept = new Map();
const outcome = (k) => {
  if (!kept.has(k)) kept.set(k, new api.Outcome(study.outcomes[k], study));
  return kept.get(k);
};
"""
ANSWERS = """
const answers = JSON.parse(read(states)).map((state) => {
  const asked = outcome(state.outcome), found = api.effects(asked, state);
  const predicted = api.predictions(asked, state);
  const { arms, contrasts } = api.effectTables(asked, state, found);
  const patient = api.predictionTables(asked, state, predicted);
  const decisions = api.decisionTable(asked, state, api.decisions(asked, state));
  return {
    contrasts, arms, decisions, patient: patient.arms, patient_contrasts: patient.contrasts,
    sentences: api.sentences(asked, state, found, () => predicted),
  };
});
process.stdout.write(JSON.stringify(answers));
"""


def run_scripts(place: Path, held: Mapping[str, Any], given: Any, code: str = ANSWERS) -> Any:
    """What the page's functions answer in Node, without a browser."""
    assert NODE is not None
    (place / "held.json").write_text(json.dumps(held), encoding="utf-8")
    (place / "given.json").write_text(json.dumps(given), encoding="utf-8")
    (place / "run.js").write_text(RUNNER + code, encoding="utf-8")
    sources = ":".join(map(str, SCRIPTS[:3]))
    files = [str(place / name) for name in ("run.js", "held.json", "given.json")]
    command = [NODE, files[0], sources, *files[1:]]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(told.stdout)


def differences(page: Mapping[str, Table], command: Mapping[str, Table]) -> list[str]:
    """Cells in which a page's tables and those of the commands differ.

    A page may lack columns, but not those that tell effects.
    """
    found: list[str] = []
    for name, wanted in command.items():
        given = page[name]
        if len(given) != len(wanted):
            found.append(f"{name}: {len(given)} rows for {len(wanted)}")
            continue
        for number, (own, other) in enumerate(zip(given, wanted, strict=True)):
            found += [
                f"{name}, row {number}, {head}: {text!r}, printed {other.get(head)!r}"
                for head, text in own.items()
                if other.get(head) != text
            ]
    return found


def lacking(page: Mapping[str, Table], command: Mapping[str, Table]) -> set[str]:
    """Columns of the commands that the page does not have."""
    return {
        head
        for name, wanted in command.items()
        for own, other in zip(page[name], wanted, strict=True)
        for head in other
        if head not in own
    }


def cells(tables: Mapping[str, Sequence[Mapping[str, str]]]) -> int:
    """How many cells some tables have."""
    return sum(len(row) for table in tables.values() for row in table)


def address(fit: Fit, asked: Query) -> str:
    """The address of a page that asks the query."""
    parts: dict[str, Any] = {"outcome": asked.outcome, "alliance": asked.alliance}
    if asked.therapist not in ("average", "new"):
        place = fit[asked.outcome].design.therapists.index(asked.therapist)
        parts["therapist"] = f"known {place + 1}"
    elif asked.therapist == "new":
        parts["therapist"] = "new"
    named = {
        "threshold": asked.by,
        "at-least": asked.at_least,
        "at-most": asked.at_most,
        "baseline": asked.baseline,
    }
    parts |= {name: value for name, value in named.items() if value is not None}
    parts |= {f"covariate.{name}": value for name, value in asked.covariates.items()}
    return f"#{urlencode(parts)}"
