"""What the explorer's page says and holds: a study's words, and each outcome's draws and tables.

Tables that no control changes (differences of slopes, crossings, therapists) are made here, as the
commands make them; the others the page makes of its draws, by the same headings and digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from alliance.data_prep.errors import InputError, visible
from alliance.data_prep.levels import contrast_names, quoted
from alliance.diagnostics import words
from alliance.diagnostics.explorer.held import held
from alliance.diagnostics.sentences import round_step, sentences_of, unit_of
from alliance.diagnostics.sheet import EMPTY, Sheet
from alliance.diagnostics.sheets import effects as effect_sheets
from alliance.diagnostics.sheets import predictions as prediction_sheets
from alliance.inference.answers.effects import effects_along, effects_table, shown_values
from alliance.inference.answers.therapists import OF_EACH, therapists
from alliance.inference.draws.datatree import require_effect_draws
from alliance.inference.draws.summaries import tails
from alliance.inference.posterior import Posterior
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.therapist_parts import WORDS
from alliance.models.design.encoding import arm_pairs

MEGABYTE = 1_000_000
WITHOUT_KNOWN = 12 * MEGABYTE  # beyond this size a page does without known therapists
LARGEST = 60 * MEGABYTE  # what a browser still opens in seconds
STEPS = 100  # of a slider, about


def contents(
    fit: Fit,
    outcomes: Sequence[str] = (),
    *,
    interval: float = 0.95,
    therapist_names: bool = False,
    hide_single: bool = False,
) -> dict[str, Any]:
    """Everything that the page holds, as plain values.

    Parameters
    ----------
    fit : Fit
    outcomes : sequence of str
        All by default.
    interval : float
        Probability of intervals and bands.
    therapist_names : bool
        Call therapists by their ids instead of numbers.
    hide_single : bool
        Leave therapists of one patient out.

    Returns
    -------
    dict
        Of JSON's kinds.

    Raises
    ------
    InputError
        If the study has no moderator, the run no patients' rows, or there are too many draws.
    """
    study, chosen = fit.study, list(outcomes or fit.outcomes)
    moderator, ends = study.measure, tails(interval)
    told, known = [], {name: _known(fit[name], hide_single=hide_single) for name in chosen}
    numbers = sum(
        fit[name].total * (12 + 2 * len(study.arms) + 2 * len(known[name])) for name in chosen
    )
    left_out = ""
    if numbers * 5 > WITHOUT_KNOWN:
        known = dict.fromkeys(known, ())
        left_out = (
            "Known therapists cannot be chosen here: with all draws of each the page would be too "
            "large. `alliance effects` answers for one by the id."
        )
    for name in chosen:
        told.append(
            _outcome(
                fit, name, known[name], interval,
                therapist_names=therapist_names, hide_single=hide_single,
            )
        )  # fmt: skip
    size = sum(len(each["numbers"]) for each in told)
    if size > LARGEST:
        raise InputError(
            f"The page would have {size / MEGABYTE:.0f} million characters: a browser hardly opens "
            "that.",
            "Choose some outcomes with `outcome`, or fit with the profile standard.",
        )
    names = contrast_names(tuple(study.arms))
    return {
        "title": visible(study.title),
        "simulated": study.simulated,
        "interval": {"tails": ends, "share": interval, "words": words.level_of(interval)},
        "moderator": {
            "name": visible(moderator.name),
            "label": visible(moderator.label),
            "range": moderator.range,
        },
        "arms": [{"code": code, "label": visible(words.level(study, code))} for code in study.arms],
        "contrasts": [
            {
                "name": names[pair],
                "first": pair[0],
                "second": pair[1],
                "label": visible(words.level(study, names[pair])),
            }
            for pair in arm_pairs(len(study.arms))
        ],
        "with_therapist": words.with_therapist(study, "{therapist}"),
        "left_out": left_out,
        "unrated": words.unrated_arms(study),
        "empty": EMPTY,
        "outcomes": told,
    }


def _known(posterior: Posterior, *, hide_single: bool) -> Sequence[int]:
    """Positions of the therapists who can be chosen: those with effects as draws."""
    design = posterior.design
    try:
        require_effect_draws(posterior.draws)
    except InputError:  # summaries of many therapists
        return ()
    if not design.effects and "moderator_slope_between" not in posterior.draws:
        return ()
    counts = design.patients_of_therapists
    least = 2 if hide_single else 1
    return [k for k in range(len(design.therapists)) if counts[k] >= least]


def _outcome(
    fit: Fit,
    name: str,
    known: Sequence[int],
    interval: float,
    *,
    therapist_names: bool,
    hide_single: bool,
) -> dict[str, Any]:
    """One outcome: its words, its controls, its tables and its draws."""
    posterior = fit[name]
    design, described = posterior.design, posterior.outcome
    mean, sd = design.scaling.moderator
    observed = posterior.observed_alliance
    low, high = fit.study.measure.range
    found = effects_along(posterior, interval=interval)
    table = effects_table(found)
    slopes = table[table["quantity"] == "interaction"]
    who = {k: design.therapists[k] if therapist_names else str(k + 1) for k in known}
    by, unit = unit_of(described)
    own = held(posterior, known, ends=(min(low, observed[0]), max(high, observed[1])))
    step = round_step((observed[1] - observed[0]) / STEPS)
    tables: dict[str, Any] = {
        "slopes": _sheet(effect_sheets.slopes_compared(fit, found)) if found.slopes else None,
        "crossings": _sheet(effect_sheets.crossings(fit, found)) if found.crossings else None,
    }
    told: dict[str, Any] = {
        "name": name,
        "label": visible(words.label(fit.study, name)),
        "headed": visible(words.headed(fit, name)),
        "points": words.points(described),
        "axis": words.axis(described),
        "better": described.better,
        "direction": posterior.direction,
        "range": described.range,
        "unit": [by, unit],
        "exposure": described.exposure,
        "visit": described.visit,
        "yardstick": None
        if described.yardstick is None or described.yardstick.threshold is None
        else [described.yardstick.threshold, visible(described.yardstick.source)],
        "patients": len(posterior.rows),
        "moderator": {
            "mean": mean,
            "sd": sd,
            "observed": observed,
            "drawn": [float(value) for value in shown_values(posterior)[[0, -1]]],
            "step": step,
            "start": float(np.clip(round(mean / step) * step, *observed)),
        },
        "known": [
            {"shown": visible(who[k]), "asked": _asked(design.therapists[k]) * therapist_names}
            for k in known
        ],
        "recorded": bool(design.effects) and bool(design.therapists),
        "tables": tables | _of_therapists(fit, name, interval, who, hide_single=hide_single),
        "intervals": {
            "slopes": [
                _bar(words.level(fit.study, row["level"]), row) for row in slopes.to_dict("records")
            ],
        },
        "sentences": {
            "slopes": [text for _, _, text in sentences_of(fit, name, slopes, interval)],
        },
        "lines": {
            "crossings": effect_sheets.crossing_lines(fit, found) if found.crossings else [],
            "about": effect_sheets.effects_about(fit, found),
        },
    }
    told["intervals"]["therapists"] = told["tables"].pop("bars", [])
    told["sentences"]["therapists"] = told["tables"].pop("told", [])
    told["lines"]["therapists"] = told["tables"].pop("legend", [])
    for each, lines in zip(told["known"], own.told["known"], strict=True):
        each["lines"] = lines
    return own.told | told


def _asked(therapist: str) -> str:
    """A therapist as an option names one: in quotes where the id is such a word itself."""
    return quoted(therapist) if therapist in WORDS else therapist


def _of_therapists(
    fit: Fit, name: str, interval: float, who: Mapping[int, str], *, hide_single: bool
) -> dict[str, Any]:
    """Tables of the therapists at the mean alliance, by their numbers or names."""
    posterior = fit[name]
    ids = posterior.design.therapists
    if not ids or not who:
        return {"therapists": None, "spreads": None}
    found = therapists(posterior, interval=interval, hide_single=hide_single)
    named = {ids[k]: shown for k, shown in who.items()}
    table = found.table.copy()
    of_each = table["quantity"].isin(OF_EACH)
    table = table[~of_each | table["level"].isin(list(named))].reset_index(drop=True)
    of_each = table["quantity"].isin(OF_EACH)
    table.loc[of_each, "level"] = table.loc[of_each, "level"].map(named)
    shown = replace(found, table=table)
    effects = table[table["quantity"] == "therapist_effect"]
    share = table[(table["quantity"] == "therapist_share")].to_dict("records")
    told = []
    if share:
        told.append(
            f"Between therapists lies {words.percent(share[-1]['mean'], 1)} of the variance "
            f"({words.level_of(interval)} interval {words.percent(share[-1]['lower'], 1)} to "
            f"{words.percent(share[-1]['upper'], 1)}); intervals of single therapists overlap by "
            "chance alone, and ranks are no list of merit."
        )
    return {
        "therapists": _sheet(prediction_sheets.therapists(fit, shown)) if len(effects) else None,
        "spreads": _sheet(prediction_sheets.spreads(fit, shown)),
        "legend": prediction_sheets.therapists_legend(fit, shown),
        "bars": [_bar(str(row["level"]), row) for row in effects.to_dict("records")],
        "told": told,
    }


def _bar(label: str, row: Mapping[Any, Any]) -> list[Any]:
    """A label with a mean and the limits of its interval, to be drawn."""
    return [visible(label), float(row["mean"]), float(row["lower"]), float(row["upper"])]


def _sheet(sheet: Sheet) -> dict[str, Any]:
    """A table as people read it, in text."""
    return {
        "title": visible(sheet.title),
        "note": visible(sheet.note),
        "heads": sheet.heads,
        "columns": [visible(each) for each in sheet.columns],
        "rows": [{head: visible(str(cell)) for head, cell in row.items()} for row in sheet.rows],
    }
