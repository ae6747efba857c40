"""The rules between the keys of a study file: what one key says must fit what the others say.

They work on plain mappings rather than on the finished `Study`, and pass over what is missing or
of the wrong type, so that one reading of a file finds these faults along with all the others.

The rules between the settings of [model] and the rest of a study file.

Apart from `study_rules` because they hold for a study whose settings the command line has changed
as well: `data_prep.study.description.narrowed`. Like them, they pass over what is missing or of a
wrong type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alliance.data_prep.errors import nearest

# Outcome names become file names (function.nc) and variable names (function_followup).
OUTCOME_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# What an outcome cannot be called, in capitals or not: a run, its draws and its tables have files,
# groups and quantities of these names, and Windows devices.
_RESERVED = """
joint manifest study published flow summary gate report explorer run
posterior sample_stats prior observed_data constant_data predictions predictions_constant_data
log_likelihood log_prior moments therapist_summary
intercept baseline_slope moderator_slope moderator_slope_spread pooled_moderator_slope
arm_contrast interaction interaction_between covariate_slope contextual_effect
therapist_sd therapist_slope_sd therapist_arm_sd therapist_icc therapist_mean_reliability
therapist_correlation outcome_correlation residual_correlation residual_sd residual_scale
degrees_of_freedom overdispersion clinic_sd clinic_slope_sd clinic_icc
trial_arm_sd trial_slope_sd trial_interaction_sd
risk_difference risk_ratio odds_ratio rate_difference rate_ratio
odds_ratio_conditional rate_ratio_conditional moderator_odds_ratio moderator_rate_ratio
con prn aux nul com1 com2 com3 com4 com5 com6 com7 com8 com9
lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9
"""
RESERVED_NAMES = frozenset(_RESERVED.split())

# A key that needs no quotes in TOML.
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# Reads as a missing cell in every table, so no patient can bear it as the code of an arm.
MISSING_CODE = "NA"


FEWEST_TO_DIFFER = 2  # arms with a slope, for slopes that differ between arms

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
    items = texts(moderator, "items")
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
        for item in repeated(items)
    ]
    if moderator.get("item_range") is None:
        faults.append(
            Fault(
                "moderator.item_range",
                "is missing, and 'items' need it.",
                "Add the lowest and highest answer to an item, for example item_range = [1, 7].",
            )
        )
    reverse = texts(moderator, "reverse")
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
        for item in repeated(reverse)
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
        *(moderator_faults(subtable(study, "moderator")) if has_moderator(study) else []),
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
        for label in repeated(labels)
    ]
    return faults


def _roles(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of a column and the key that names it, for every role but the outcomes'."""
    columns, moderator = subtable(study, "columns"), subtable(study, "moderator")
    named = [
        (columns.get(role), f"columns.{role}") for role in ("patient", "therapist", "clinic", "arm")
    ]
    named.append((moderator.get("column"), "moderator.column"))
    roles = [(column, place) for column, place in named if isinstance(column, str)]
    roles += [(item, "moderator.items") for item in texts(moderator, "items")]
    roles += [(covariate, "covariates") for covariate in texts(study, "covariates")]
    return roles


def has_moderator(study: Mapping[str, Any]) -> bool:
    """Whether a study file has the table ``[moderator]``; one without is a plain trial."""
    return study.get("moderator") is not None


def rated_arms(study: Mapping[str, Any]) -> list[str]:
    """Arms whose patients can have the moderator, as far as the file tells.

    Parameters
    ----------
    study : Mapping
        The file as read, complete or not, or a `Study` as plain values.
    """
    if not has_moderator(study):
        return []
    named = texts(subtable(study, "model"), "moderator_arms")
    return [arm for arm in subtable(study, "arms") if not named or arm in named]


def without_slopes(study: Mapping[str, Any]) -> dict[str, Any]:
    """The file with the defaults of settings that a moderator in no arm, or in one, makes.

    Slopes vary between therapists only where there are slopes, and differ between arms only where
    two arms have one; what the file says in words stays, and is refused by `model_faults`.

    Parameters
    ----------
    study : Mapping
        The file as read, complete or not.
    """
    found, model = dict(study), study.get("model", {})
    if not isinstance(model, Mapping):
        return found
    meant: dict[str, Any] = {}
    if not has_moderator(study):
        meant["therapist"] = "intercept"
    if len(rated_arms(study)) < FEWEST_TO_DIFFER:
        meant["interaction"] = False
    if meant:
        found["model"] = meant | dict(model)
    return found


# Short ways to write what the tables `covariate_kinds` and `missing_values` hold.
KIND_KEYS = ("categorical", "continuous")
MISSING_KEY = "missing"
SHORT_KEYS = (*KIND_KEYS, MISSING_KEY)


def short_keys_apart(study: dict[str, Any]) -> list[Fault]:
    """Put what short keys say into the tables that hold it, in place.

    Parameters
    ----------
    study : dict
        The file as read. What its ``covariates``, ``categorical``, ``continuous`` and ``reference``
        say of kinds goes to the table ``covariate_kinds``, and ``missing`` to ``missing_values``.

    Returns
    -------
    list of Fault
        One entry for each rule broken.
    """
    return [*_kinds_apart(study), *_listed_kinds(study), *_missing_apart(study)]


def _kinds_apart(study: dict[str, Any]) -> list[Fault]:
    """Take covariates written as ``{column = "site", kind = "categorical"}`` apart."""
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


def _listed_kinds(study: dict[str, Any]) -> list[Fault]:
    """Kinds that ``categorical = [...]`` and ``continuous = [...]`` list, and references imply."""
    covariates, faults = texts(study, "covariates"), []
    kinds: dict[str, Any] = dict(subtable(study, "covariate_kinds"))

    def declare(place: str, name: str, kind: str, problem: str) -> None:
        if name not in covariates:
            near = nearest(name, covariates) if covariates else "The study names no covariates."
            remedy = f"{near} A column to adjust for stands in `covariates` too."
            faults.append(Fault(place, f"{name!r} is not among the covariates.", remedy))
        elif kinds.setdefault(name, kind) != kind:
            faults.append(Fault(place, problem, "Keep one."))

    for kind in KIND_KEYS:
        if kind not in study:
            continue
        listed = study.pop(kind)
        if not isinstance(listed, list | tuple) or not all(isinstance(n, str) for n in listed):
            remedy = f'Write {kind} = ["site"], with the columns in quotes.'
            faults.append(Fault(kind, f"is {listed!r}, not a list of columns.", remedy))
            continue
        for name in listed:
            declare(kind, name, kind, f"{name!r} is given two kinds.")
    for name in subtable(study, "reference"):
        problem = "a continuous covariate has no levels, and so no level of reference."
        declare(dotted(["reference", name]), name, "categorical", problem)
    if kinds:
        study["covariate_kinds"] = kinds
    return faults


def _missing_apart(study: dict[str, Any]) -> list[Fault]:
    """Codes of ``missing = [...]``, which hold in every column."""
    if MISSING_KEY not in study:
        return []
    codes, tables = study.pop(MISSING_KEY), study.get("missing_values", {})
    example = "Write missing = [-99, 999]; text stands in quotes."
    if not isinstance(codes, list | tuple):
        return [Fault(MISSING_KEY, f"is {codes!r}, not a list.", example)]
    wrong = [
        Fault(f"{MISSING_KEY}, entry {k}", "is neither a number nor text.", example)
        for k, code in enumerate(codes, start=1)
        if isinstance(code, bool)
        or not isinstance(code, int | float | str)
        or not str(code).strip()
    ]
    if not wrong and isinstance(tables, Mapping):
        before = tables.get(EVERY_COLUMN, [])
        if isinstance(before, list | tuple):
            every = list(dict.fromkeys([*before, *codes]))
            study["missing_values"] = {**tables, EVERY_COLUMN: every}
    return wrong


def _role_faults(study: Mapping[str, Any]) -> list[Fault]:
    faults = [
        Fault("covariates", f"{covariate!r} is listed twice.", "List each covariate once.")
        for covariate in repeated(texts(study, "covariates"))
    ]
    covariates = texts(study, "covariates")
    faults += [
        Fault(
            dotted([key, name]),
            "is not among the covariates.",
            nearest(name, covariates) if covariates else "The study names no covariates.",
        )
        for key in ("covariate_kinds", "labels")
        for name in subtable(study, key)
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
        keys = ("baseline", "followup", "exposure")
        used += [own[key] for key in keys if isinstance(own.get(key), str)]
        if isinstance(own.get("visit"), str) and isinstance(own.get("followup"), str):
            # Of a table with a row for each visit
            used.append(own["followup"].removesuffix(f" at {own['visit']}"))
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
        faults += _event_faults(place, outcome)
        faults += _exposure_faults(place, outcome)
    return faults


def _event_faults(place: str, outcome: Mapping[str, Any]) -> list[Fault]:
    """Faults of what only a binary outcome may say, and of what it may not."""
    if outcome.get("family") != BINARY:
        if outcome.get("event") is None:
            return []
        return [
            Fault(
                f"{place}.event",
                "only an outcome that is yes or no has an event.",
                'Set family = "binary", or leave the entry out.',
            )
        ]
    faults, ends = [], score_ends(outcome.get("range"))
    if ends not in (None, EVENT_RANGE):
        faults.append(
            Fault(
                f"{place}.range",
                "a binary outcome is 0 or 1, whatever its column says.",
                "Leave the range out, and name what stands for the event: event = 2.",
            )
        )
    if outcome.get("baseline") is not None:
        faults.append(
            Fault(
                f"{place}.baseline",
                "a binary outcome is modelled without one of its own.",
                "Name the column among the covariates, where yes and no are categories.",
            )
        )
    return faults


def _exposure_faults(place: str, outcome: Mapping[str, Any]) -> list[Fault]:
    """Faults of the column that events were counted over."""
    exposure = outcome.get("exposure")
    if exposure is None:
        return []
    where = f"{place}.exposure"
    if outcome.get("family") != COUNT:
        remedy = 'Set family = "count", or leave the entry out.'
        return [Fault(where, "only counts have an exposure.", remedy)]
    if exposure in (outcome.get("followup"), outcome.get("baseline")):
        remedy = "Name the column of the time that the events were counted over."
        return [Fault(where, f"the column {exposure!r} holds the counts themselves.", remedy)]
    return []


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
    if name.lower() in RESERVED_NAMES:
        return [
            Fault(
                dotted(["outcomes", name]),
                "is the name of a file, a group of draws or a quantity of every run.",
                f"Give the outcome another name, such as {name}_score.",
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


def texts(mapping: Mapping[str, Any], key: str) -> list[str]:
    """The texts of a list under a key; none of what is no list."""
    value = mapping.get(key)
    if not isinstance(value, list | tuple):
        return []
    return [entry for entry in value if isinstance(entry, str)]


def repeated(names: list[str]) -> list[str]:
    """Names that occur more than once, each once, in order of appearance."""
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


# Families whose scores are whole numbers, and what they take them for.
WHOLE_SCORES = {
    "ordinal": "takes categories",
    "beta_binomial": "counts points",
    "count": "counts events",
}

# Families that no linear model stands for: they hold whatever the setting `likelihood` says.
BINARY, COUNT = "binary", "count"
OWN_FAMILIES = (BINARY, COUNT)
EVENT_RANGE = (0.0, 1.0)

# Each category beyond the first costs a sampled cutpoint. Rating scales and short questionnaires
# (0 to 24, say) stay far below this number; above it a trial of a few hundred patients leaves most
# categories empty, and their cutpoints to the prior.
MOST_CATEGORIES = 50

CONTINUOUS = 'family = "gaussian" or "student_t"'
PUBLISHED = 'likelihood = "published" under [model]'


def is_score(value: float, ends: tuple[float, float]) -> bool:
    """Whether a scale has such a score.

    Parameters
    ----------
    value : float
    ends : tuple of float
        Lowest and highest score.
    """
    return ends[0] <= value <= ends[1]


def is_difference(value: float, ends: tuple[float, float]) -> bool:
    """Whether two scores of a scale can be so far apart, in either direction.

    Parameters
    ----------
    value : float
    ends : tuple of float
        Lowest and highest score.
    """
    return abs(value) <= ends[1] - ends[0]


def score_ends(limits: object) -> tuple[float, float] | None:
    """Ends of a range that is one: two finite numbers in order; otherwise it is refused anyway."""
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        return None
    low, high = finite(limits[0]), finite(limits[1])
    return (low, high) if low is not None and high is not None and low < high else None


def finite(number: object) -> float | None:
    """A finite number as such; None for what is none, and refused anyway."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    try:
        value = float(number)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None
