"""The rules between the keys of a study file: what one key says must fit what the others say.

They work on plain mappings rather than on the finished `Study`, and pass over what is missing or
of the wrong type, so that one reading of a file finds these faults along with all the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alliance.data_prep.errors import nearest

# Outcome names become file names (function.nc) and variable names (function_followup).
OUTCOME_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# A key that needs no quotes in TOML.
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# Reads as a missing cell in every table, so no patient can bear it as the code of an arm.
MISSING_CODE = "NA"


# Name under which codes of missing values hold in every column but that of the patients.
EVERY_COLUMN = "*"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a study file: its dotted place, what is wrong, and what to do about it."""

    place: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem} {self.remedy}"


def dotted(keys: Sequence[str]) -> str:
    """Place of a key in the file, as TOML writes it.

    Examples
    --------
    >>> dotted(["outcomes", "back pain", "label"])
    'outcomes."back pain".label'
    """
    return ".".join(key if BARE_KEY.fullmatch(key) else f'"{key}"' for key in keys)


def moderator_faults(moderator: Mapping[str, Any]) -> list[Fault]:
    """Faults between the keys of ``[moderator]``.

    Parameters
    ----------
    moderator : Mapping
        The table as read, complete or not.

    Returns
    -------
    list of Fault
        One entry for each rule broken.
    """
    faults = []
    items = _texts(moderator, "items")
    has_column = moderator.get("column") is not None
    if has_column and items:
        faults.append(
            Fault(
                "moderator",
                "both 'column' and 'items' are given.",
                "Keep 'column' for a total that is in the file, or 'items' to have it scored.",
            )
        )
    if not has_column and not moderator.get("items"):
        faults.append(
            Fault(
                "moderator",
                "neither 'column' nor 'items' is given.",
                'Add column = "wai_total" for a total in the file, or items = ["wai_1", ...].',
            )
        )
    if items:
        faults += _item_faults(moderator, items)
    elif has_column:
        faults += [
            Fault(
                f"moderator.{key}",
                "belongs to 'items', which are not given.",
                f"Leave out {key!r}, or give 'items' instead of 'column'.",
            )
            for key in ("reverse", "item_range", "max_missing")
            if moderator.get(key)
        ]
    return faults


def _item_faults(moderator: Mapping[str, Any], items: list[str]) -> list[Fault]:
    faults = [
        Fault("moderator.items", f"{item!r} is listed twice.", "List each item once.")
        for item in _repeated(items)
    ]
    if moderator.get("item_range") is None:
        faults.append(
            Fault(
                "moderator.item_range",
                "is missing, and 'items' need it.",
                "Add the lowest and highest answer to an item, for example item_range = [1, 7].",
            )
        )
    reverse = _texts(moderator, "reverse")
    faults += [
        Fault(
            "moderator.reverse",
            f"{item!r} is not among the items.",
            nearest(item, dict.fromkeys(items)),
        )
        for item in reverse
        if item not in items
    ]
    faults += [
        Fault("moderator.reverse", f"{item!r} is listed twice.", "List each item once.")
        for item in _repeated(reverse)
    ]
    max_missing = moderator.get("max_missing", 0)
    if isinstance(max_missing, int) and not 0 <= max_missing < len(items):
        faults.append(
            Fault(
                "moderator.max_missing",
                f"is {max_missing}, but there are {len(items)} items.",
                f"Give a number from 0 to {len(items) - 1}: one answer at least is needed.",
            )
        )
    return faults


def study_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Faults between the keys of a whole study file, those of its moderator included.

    Parameters
    ----------
    study : Mapping
        The file as read, complete or not, with ``covariates`` at the top level.

    Returns
    -------
    list of Fault
        One entry for each rule broken.
    """
    return [
        *_arm_faults(subtable(study, "arms")),
        *moderator_faults(subtable(study, "moderator")),
        *_role_faults(study),
        *_outcome_faults(study),
        *_missing_value_faults(study),
    ]


def _arm_faults(arms: Mapping[str, Any]) -> list[Fault]:
    faults = [
        Fault(
            "arms",
            f"the code {code!r} can never be read from a table: cells lose blanks at their ends, "
            f"and an empty cell or {MISSING_CODE} is a missing value.",
            "Write the code as it stands in the file, or recode the arm there.",
        )
        for code in arms
        if code != code.strip() or code in ("", MISSING_CODE)
    ]
    labels = [label for label in arms.values() if isinstance(label, str)]
    faults += [
        Fault("arms", f"two arms have the label {label!r}.", "Give each arm its own label.")
        for label in _repeated(labels)
    ]
    return faults


def _roles(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of a column and the key that names it, for every role but the outcomes'."""
    columns, moderator = subtable(study, "columns"), subtable(study, "moderator")
    named = [(columns.get(role), f"columns.{role}") for role in ("patient", "therapist", "arm")]
    named.append((moderator.get("column"), "moderator.column"))
    roles = [(column, place) for column, place in named if isinstance(column, str)]
    roles += [(item, "moderator.items") for item in _texts(moderator, "items")]
    roles += [(covariate, "covariates") for covariate in _texts(study, "covariates")]
    return roles


def kinds_apart(study: dict[str, Any]) -> list[Fault]:
    """Take covariates written as ``{column = "site", kind = "categorical"}`` apart, in place.

    Parameters
    ----------
    study : dict
        The file as read. Its ``covariates`` become names, and what they say of kinds goes to the
        table ``covariate_kinds``.

    Returns
    -------
    list of Fault
        One entry for each rule broken.
    """
    covariates, kinds = study.get("covariates"), study.get("covariate_kinds", {})
    if not isinstance(covariates, list | tuple) or not isinstance(kinds, Mapping):
        return []
    kinds, names, faults = dict(kinds), [], []
    for number, entry in enumerate(covariates, start=1):
        if not isinstance(entry, Mapping):
            names.append(entry)
            continue
        place = f"covariates, entry {number}"
        example = 'Write {column = "site", kind = "categorical"}.'
        column, kind = entry.get("column"), entry.get("kind")
        if set(entry) != {"column", "kind"} or not isinstance(column, str):
            faults.append(Fault(place, "needs the keys column and kind, and no others.", example))
            continue
        if kinds.setdefault(column, kind) != kind:
            faults.append(Fault(place, f"{column!r} is given two kinds.", "Keep one."))
        names.append(column)
    study["covariates"] = names
    if kinds:
        study["covariate_kinds"] = kinds
    return faults


def _role_faults(study: Mapping[str, Any]) -> list[Fault]:
    faults = [
        Fault("covariates", f"{covariate!r} is listed twice.", "List each covariate once.")
        for covariate in _repeated(_texts(study, "covariates"))
    ]
    covariates = _texts(study, "covariates")
    faults += [
        Fault(
            dotted(["covariate_kinds", name]),
            "is not among the covariates.",
            nearest(name, covariates) if covariates else "The study names no covariates.",
        )
        for name in subtable(study, "covariate_kinds")
        if name not in covariates
    ]
    first_place: dict[str, str] = {}
    for column, place in _roles(study):
        earlier = first_place.setdefault(column, place)
        if earlier != place:
            faults.append(
                Fault(
                    place,
                    f"the column {column!r} already serves as {earlier}.",
                    "Give each role a column of its own.",
                )
            )
    return faults


def _missing_value_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Columns of ``[missing_values]`` that the study does not use."""
    used = [column for column, _ in _roles(study)]
    outcomes = subtable(study, "outcomes")
    for name in outcomes:
        own = subtable(outcomes, name)
        used += [own[key] for key in ("baseline", "followup") if isinstance(own.get(key), str)]
    return [
        Fault(
            dotted(["missing_values", column]),
            "the study uses no such column.",
            f'{nearest(column, dict.fromkeys(used))} "*" stands for all columns.',
        )
        for column in subtable(study, "missing_values")
        if column not in (EVERY_COLUMN, *used)
    ]


def _outcome_faults(study: Mapping[str, Any]) -> list[Fault]:
    outcomes = subtable(study, "outcomes")
    roles: dict[str, str] = {}
    for column, place in _roles(study):
        roles.setdefault(column, place)
    faults: list[Fault] = []
    followups: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for name in outcomes:
        faults += _outcome_name_faults(name, spellings)
        place = dotted(["outcomes", name])
        outcome = subtable(outcomes, name)
        followup, baseline = outcome.get("followup"), outcome.get("baseline")
        if isinstance(followup, str):
            faults += _followup_faults(place, followup, roles, followups)
        if isinstance(baseline, str):
            faults += _baseline_faults(place, baseline, followup, roles)
    return faults


def _outcome_name_faults(name: str, spellings: dict[str, str]) -> list[Fault]:
    if not OUTCOME_NAME.fullmatch(name):
        return [
            Fault(
                dotted(["outcomes", name]),
                "cannot be the name of a file and of a variable.",
                "Begin with a letter, go on with letters, digits and underscores, and keep the "
                "wording for 'label'.",
            )
        ]
    earlier = spellings.setdefault(name.lower(), name)
    if earlier != name:
        return [
            Fault(
                f"outcomes.{name}",
                f"differs from outcomes.{earlier} in capitals only, and names of files may not.",
                "Rename one of the two.",
            )
        ]
    return []


def _followup_faults(
    place: str, followup: str, roles: Mapping[str, str], followups: dict[str, str]
) -> list[Fault]:
    faults = []
    if followup in roles:
        faults.append(
            Fault(
                f"{place}.followup",
                f"the column {followup!r} already serves as {roles[followup]}, and an outcome "
                "cannot explain itself.",
                f"Take the column out of {roles[followup]}, or name another follow-up.",
            )
        )
    earlier = followups.setdefault(followup, place)
    if earlier != place:
        faults.append(
            Fault(
                f"{place}.followup",
                f"the column {followup!r} is already the follow-up of {earlier}.",
                "Give each outcome a follow-up of its own.",
            )
        )
    return faults


def _baseline_faults(
    place: str, baseline: str, followup: object, roles: Mapping[str, str]
) -> list[Fault]:
    if baseline == followup:
        return [
            Fault(
                f"{place}.baseline",
                f"baseline equal to the column of follow-up, {baseline!r}.",
                "Name the column measured before treatment, or leave out 'baseline'.",
            )
        ]
    role = roles.get(baseline)
    if role is None:
        return []
    adjusting = {"moderator.column": "moderator", "covariates": "covariate"}
    if role in adjusting:
        remedy = f"Leave out 'baseline': the {adjusting[role]} already adjusts for it."
    else:
        remedy = "Name the column measured before treatment, or leave out 'baseline'."
    problem = f"the column {baseline!r} already serves as {role}."
    return [Fault(f"{place}.baseline", problem, remedy)]


def subtable(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Table under a key; an empty one where there is none, or something else."""
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else {}


def _texts(mapping: Mapping[str, Any], key: str) -> list[str]:
    value = mapping.get(key)
    if not isinstance(value, list | tuple):
        return []
    return [entry for entry in value if isinstance(entry, str)]


def _repeated(names: list[str]) -> list[str]:
    """Names that occur more than once, each once, in order of appearance."""
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
