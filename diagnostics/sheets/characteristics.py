"""The first table of a paper: patients of each arm before treatment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.characteristics import (
    ANALYSED,
    BASELINE_SCORE,
    COVARIATE,
    MODERATOR,
    characteristics_table,
    standardised_difference,
)
from alliance.diagnostics import words
from alliance.diagnostics.sheet import Sheet
from alliance.inference.digits import decimals, number
from alliance.inference.runs.fit import LABELS, Fit

YES_NO = ["0", "1"]  # levels of what patients have or not, where nobody labels them
MANY = 1e4  # from here on a mean has digits enough before the point
TITLE = "Patients before treatment, by arm"
DIFFERENCE = "Standardised difference"
LARGEST = "Largest standardised difference"


def characteristics(fit: Fit, found: Mapping[str, Any]) -> Sheet:
    """What patients of each arm were like: means (SDs) and numbers (per cent), without p values.

    Parameters
    ----------
    fit : Fit
    found : mapping
        As from `data_prep.trial.characteristics`.
    """
    study, table = fit.study, characteristics_table(found)
    counts = {str(row["arm"]): int(row["patients"]) for row in found["rows"]}
    heads = _heads(study, counts)
    rows: list[dict[str, str]] = []
    if study.columns.therapist is not None:
        told = {heads[code]: str(n) if n else "" for code, n in found["therapists"].items()}
        rows.append({"Characteristic": "Therapists, n"} | told)
    for (kind, name), own in table.groupby(["kind", "name"], sort=False):
        rows += _rows(fit, str(kind), str(name), own, heads)
    return Sheet(
        "characteristics",
        TITLE,
        rows,
        _note(study, found, several=len(study.arms) > 2),
        table,
        fewest=1 + len(heads),
    )


def _heads(study: Study, counts: Mapping[str, int]) -> dict[str, str]:
    """Headings of the arms' columns, no two of them alike."""
    labels = list(study.arms.values())
    return {
        code: (label if labels.count(label) == 1 else f"{label} ({code})")
        + (f" (n = {counts[code]})" if code in counts else "")
        for code, label in study.arms.items()
    }


def _rows(
    fit: Fit, kind: str, name: str, own: pd.DataFrame, heads: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """One characteristic, with a row of those who lack it if there are any."""
    study = fit.study
    label = _label(study, kind, name)
    levels = list(own["level"].unique())
    arms = {code: own[own["arm"] == code] for code in heads}
    if kind == MODERATOR:
        arms = {code: rows for code, rows in arms.items() if code in study.rated_arms}
    apart = _difference(arms)
    several = LARGEST if len(heads) > 2 else DIFFERENCE
    shown = levels[1:] if len(levels) == 2 else levels
    for k, level in enumerate(shown):
        cells = {heads[code]: _cell(rows[rows["level"] == level]) for code, rows in arms.items()}
        named = f"{label}, mean (SD)"
        if level:
            labels = fit.manifest.get(LABELS, {}).get(name, {})
            plain = name in study.labels and levels == YES_NO and level not in labels
            named = f"{label}, n (%)" if plain else f"{label}: {labels.get(level, level)}, n (%)"
        yield {"Characteristic": named} | cells | {several: apart if k == 0 else ""}
    missing = {code: int((rows["patients"] - rows["known"]).iloc[0]) for code, rows in arms.items()}
    if any(missing.values()):
        told = {heads[code]: str(count) for code, count in missing.items()}
        yield {"Characteristic": f"{label}, missing, n"} | told


def _label(study: Study, kind: str, name: str) -> str:
    if kind == MODERATOR:
        return study.measure.label
    if kind == BASELINE_SCORE:
        described = study.outcomes[name]
        return f"{words.label(study, described.visit_of or name)} before treatment"
    assert kind == COVARIATE
    return words.covariate(study, name)


def _cell(rows: pd.DataFrame) -> str:
    row = rows.iloc[0]
    if np.isnan(row["mean"]):
        return ""
    if row["level"]:
        return f"{round(row['mean'] * row['known'])} ({words.percent(row['mean'])})"
    digits = max(decimals(row["sd"], row["mean"]), 1 if abs(row["mean"]) < MANY else 0)
    return f"{number(row['mean'], digits)} ({number(row['sd'], digits)})"


def _difference(arms: Mapping[str, pd.DataFrame]) -> str:
    """The largest of all pairs of arms; nothing where an arm does not tell it."""
    found = [
        standardised_difference(arms[one], arms[other]) for one, other in combinations(arms, 2)
    ]
    told = [each for each in found if not np.isnan(each)]
    if not told:
        return ""
    return number(max(told), 2) if np.isfinite(max(told)) else "infinite"


def _note(study: Study, found: Mapping[str, Any], *, several: bool) -> str:
    who = "Everybody in the data file whose arm is known."
    if found["who"] == ANALYSED:
        who = (
            "Analysed patients (of the outcome with most of them, baselines of each outcome's "
            "own): the run tells nothing of others, so that nobody lacks a value."
        )
    pair = ", the largest of all pairs of arms" if several else ""
    return words.sentences(
        [
            who,
            "Means and SDs are of those who have a value.",
            f"Standardised difference: of two arms' means, in the root of the mean of their "
            f"variances{pair}; of a category over all its levels. It does not grow with the number "
            "of patients, as a p value would; in a randomised trial arms differ by chance.",
            (
                f"{', '.join(study.arms[code] for code in words.unrated_arms(study))}: nobody can "
                f"have the {study.measure.name}."
                if words.unrated_arms(study)
                else ""
            ),
        ]
    )
