"""Outcomes over time in a study file: one outcome for each visit, that belong together.

``[outcomes.pain] visits = { w8 = "pain_8w", m6 = "pain_6m" }`` is short for two outcomes,
``pain_w8`` and ``pain_m6``, each with its own follow-up and all else in common; so is ``followup``
in a study whose table has a row for each visit, by ``[visits]``. The rest of the project knows
them as outcomes that say of which they are, and that one model has them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from alliance.data_prep.study.rules import OWN_FAMILIES, Fault, dotted, subtable

VISIT_LABEL = re.compile(r"[A-Za-z0-9_]+")
OWN = "visit_of", "visit", "visit_time"  # what an outcome at a visit says of itself

# Settings that no study without visits has a use for, and what they are then.
VISIT_SETTINGS: dict[str, object] = {
    "visit_correlation": "unstructured",
    "visit_sd": "by_visit",
    "baseline_by_visit": True,
    "moderator_by_visit": True,
    "interaction_by_visit": True,
    "covariates_by_visit": False,
    "therapist_by_visit": False,
}

# Settings that a model of visits does not have yet, the value that does without, and the words.
NOT_WITH_VISITS = {
    "joint": (False, "joint = false"),
    "common_patients": (False, "common_patients = false"),
    "alliance": ("total", 'alliance = "total"'),
    "missing_alliance": ("complete_case", 'missing_alliance = "complete_case"'),
    "reliability": (False, "reliability = false"),
    "ceiling": (False, "ceiling = false"),
    "therapist_by_arm": (False, "therapist_by_arm = false"),
}


def long_column(column: str, visit: str) -> str:
    """Name of a score's column at one visit, where the table has a row for each visit."""
    return f"{column} at {visit}"


def visits_apart(study: dict[str, Any]) -> list[Fault]:
    """Make one outcome of each visit, in place.

    Parameters
    ----------
    study : dict
        The file as read.

    Returns
    -------
    list of Fault
        One entry for each rule broken; the outcome concerned is then left as it is, without
        visits.
    """
    outcomes = study.get("outcomes")
    if not isinstance(outcomes, Mapping):
        return []
    table, faults = study.get("visits"), []
    found: dict[str, Any] = {}
    for name, outcome in outcomes.items():
        if not isinstance(outcome, Mapping) or any(key in outcome for key in OWN):
            found[name] = outcome
            continue
        own, wrong = _columns(name, outcome, table)
        faults += wrong
        if not own:
            found[name] = {key: value for key, value in outcome.items() if key != "visits"}
            if wrong and "followup" not in found[name]:
                found[name]["followup"] = name  # the fault is told already
            continue
        rest = {key: outcome[key] for key in outcome if key not in ("visits", "times", "followup")}
        times, wrong = _times(name, outcome, table, own)
        faults += wrong
        for place, (visit, column) in enumerate(own.items()):
            label = outcome.get("label")
            at = f"{name}_{visit}"
            if at in outcomes or at in found:
                faults.append(
                    Fault(
                        dotted(["outcomes", name, "visits"]),
                        f"the visit {visit!r} makes an outcome {at!r}, and there is one.",
                        "Rename the visit or the other outcome.",
                    )
                )
            found[at] = rest | {
                "label": f"{label}, {visit}" if isinstance(label, str) else label,
                "followup": column,
                "visit_of": name,
                "visit": visit,
            }
            if times:
                found[at]["visit_time"] = times[place]
    study["outcomes"] = {
        key: {k: v for k, v in own.items() if v is not None} if isinstance(own, Mapping) else own
        for key, own in found.items()
    }
    return faults


def _columns(
    name: str, outcome: Mapping[str, Any], table: object
) -> tuple[dict[str, str], list[Fault]]:
    """Column of each visit, in their order; none where the outcome has no visits."""
    place = dotted(["outcomes", name, "visits"])
    given = outcome.get("visits")
    if given is None:
        if not isinstance(table, Mapping) or not isinstance(outcome.get("followup"), str):
            return {}, []
        order = table.get("order")
        if not isinstance(order, list | tuple) or not all(isinstance(v, str) for v in order):
            return {}, []
        return _checked("visits.order", {v: long_column(outcome["followup"], v) for v in order},
                        twice=[v for k, v in enumerate(order) if v in order[:k]])  # fmt: skip
    example = 'Write visits = { w8 = "pain_8w", m6 = "pain_6m" }, in the order of time.'
    if isinstance(table, Mapping):
        problem = "are given, and [visits] says that the table has a row for each visit."
        return {}, [Fault(place, problem, "Keep one: `followup` with [visits], or these.")]
    if not isinstance(given, Mapping) or not all(isinstance(v, str) for v in given.values()):
        return {}, [Fault(place, "is not a table of labels and columns.", example)]
    if "followup" in outcome:
        problem = "are given beside 'followup'."
        return {}, [Fault(place, problem, "Keep 'visits' for several, or 'followup' for one.")]
    return _checked(place, dict(given), twice=[])


def _checked(
    place: str, own: dict[str, str], twice: list[str]
) -> tuple[dict[str, str], list[Fault]]:
    faults = [
        Fault(place, f"the visit {label!r} is listed twice.", "List each visit once.")
        for label in twice
    ]
    faults += [
        Fault(
            place,
            f"{label!r} cannot be part of a file's name.",
            "Label visits with letters, digits and underscores.",
        )
        for label in own
        if not VISIT_LABEL.fullmatch(label)
    ]
    if len(own) < 2:
        faults.append(
            Fault(
                place,
                f"{'one visit is' if own else 'no visits are'} given, and change over time needs "
                "two.",
                "Add a visit; or, for an outcome that was measured once, write `followup` with "
                "its column instead.",
            )
        )
    return ({}, faults) if faults else (own, [])


def _times(
    name: str, outcome: Mapping[str, Any], table: object, own: Mapping[str, str]
) -> tuple[list[float], list[Fault]]:
    """When the visits are, one number each; none if that is not said."""
    in_table = isinstance(table, Mapping) and "times" in table
    given = table["times"] if in_table and isinstance(table, Mapping) else outcome.get("times")
    place = "visits.times" if in_table else dotted(["outcomes", name, "times"])
    if given is None:
        return [], []
    remedy = f"Write {len(own)} numbers in the order of the visits, such as times = [8, 26]."
    if (
        not isinstance(given, list | tuple)
        or any(isinstance(t, bool) or not isinstance(t, int | float) for t in given)
        or len(given) != len(own)
    ):
        return [], [Fault(place, f"is not one number for each of {len(own)} visits.", remedy)]
    if any(later <= earlier for earlier, later in pairwise(given)):
        return [], [Fault(place, "does not increase from visit to visit.", remedy)]
    return [float(t) for t in given], []


def visit_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Faults between visits and the settings of ``[model]``.

    Parameters
    ----------
    study : Mapping
        The file as read, after `visits_apart`, or a `Study` as plain values.

    Returns
    -------
    list of Fault
        One entry for each rule broken.
    """
    model, outcomes = subtable(study, "model"), subtable(study, "outcomes")
    visited: dict[str, list[str]] = {}
    for name in outcomes:
        own = subtable(outcomes, name)
        if isinstance(own.get("visit_of"), str):
            visited.setdefault(own["visit_of"], []).append(name)
    if not visited:
        return [
            Fault(
                f"model.{key}",
                "speaks of visits, and no outcome has several.",
                "Leave it out, or name the outcome's visits.",
            )
            for key, plain in VISIT_SETTINGS.items()
            if model.get(key, plain) != plain
        ]
    faults = []
    if subtable(study, "visits") and subtable(study, "columns").get("patient") is None:
        problem = "a table with a row for each visit must say whose visits they are."
        remedy = "Name the column of the patients' ids under [columns]."
        faults.append(Fault("columns.patient", problem, remedy))
    faults += [
        Fault(
            f"model.{key}",
            "is not available for outcomes over time.",
            f"Set {words} under [model].",
        )
        for key, (plain, words) in NOT_WITH_VISITS.items()
        if (model.get(key, plain) or plain) != plain
    ]
    if model.get("therapist_by_visit") is True and model.get("therapist") == "none":
        faults.append(
            Fault(
                "model.therapist_by_visit",
                "deviations of therapists at visits need therapist effects.",
                'Set therapist = "intercept" or "intercept+slope", or therapist_by_visit = false, '
                "under [model].",
            )
        )
    for name, visits in visited.items():
        first = subtable(outcomes, visits[0])
        if len(visits) < 2:
            problem = f"of the visits of {name!r} {first.get('visit')!r} alone is left."
            faults.append(Fault("outcomes", problem, f"Choose {name!r}, and so all its visits."))
        family = first.get("family", "gaussian")
        native = model.get("likelihood") == "native" or family in OWN_FAMILIES
        if native and family != "gaussian":
            faults.append(
                Fault(
                    dotted(["outcomes", name, "family"]),
                    "a model of visits is Gaussian.",
                    'Set family = "gaussian", or likelihood = "published" under [model].',
                )
            )
        if any(subtable(outcomes, at).get("delta") for at in visits):
            faults.append(
                Fault(
                    dotted(["outcomes", name, "delta"]),
                    "shifts of unseen outcomes are not available for outcomes over time.",
                    "Leave the shifts out.",
                )
            )
    return faults
