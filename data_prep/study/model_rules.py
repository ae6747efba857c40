"""The rules between the settings of [model] and the rest of a study file.

Apart from `study_rules` because they hold for a study whose settings the command line has changed
as well: `data_prep.study.description.narrowed`. Like them, they pass over what is missing or of a
wrong type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from alliance.data_prep.errors import nearest
from alliance.data_prep.study.rules import Fault, dotted, subtable

# Families whose scores are whole numbers, and what they take them for.
WHOLE_SCORES = {"ordinal": "takes categories", "beta_binomial": "counts points"}

# Each category beyond the first costs a sampled cutpoint. Rating scales and short questionnaires
# (0 to 24, say) stay far below this number; above it a trial of a few hundred patients leaves most
# categories empty, and their cutpoints to the prior.
MOST_CATEGORIES = 50

CONTINUOUS = 'family = "gaussian" or "student_t"'
PUBLISHED = 'likelihood = "published" under [model]'


def model_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Faults between the settings of ``[model]``, the moderator and the outcomes.

    Parameters
    ----------
    study : Mapping
        The file as read, complete or not, or a `Study` as plain values.

    Returns
    -------
    list of Fault
        One entry for each rule broken.
    """
    model, outcomes = subtable(study, "model"), subtable(study, "outcomes")
    faults = []
    if model.get("reliability") is True and subtable(study, "moderator").get("reliability") is None:
        faults.append(
            Fault(
                "model.reliability",
                "is true, but moderator.reliability is not given.",
                "Write the measure's reliability, above 0 and up to 1, under [moderator], or set "
                "reliability = false under [model].",
            )
        )
    if model.get("therapist_by_arm") is True and model.get("therapist") == "none":
        faults.append(
            Fault(
                "model.therapist_by_arm",
                "arm effects that vary between therapists need therapist effects, and "
                'model.therapist is "none".',
                'Set therapist = "intercept" or "intercept+slope", or therapist_by_arm = false, '
                "under [model].",
            )
        )
    if model.get("between_interaction") is True and model.get("alliance") != "within_between":
        faults.append(
            Fault(
                "model.between_interaction",
                "the slope between therapists differs between arms only where there is one.",
                'Set alliance = "within_between", or between_interaction = false, under [model].',
            )
        )
    if model.get("joint") is True and len(outcomes) == 1:
        faults.append(
            Fault(
                "model.joint",
                f"a joint model needs two outcomes, and {next(iter(outcomes))!r} is the only one.",
                "Add or keep a second outcome, or set joint = false under [model].",
            )
        )
    if model.get("likelihood") == "native":
        for name in outcomes:
            faults += _family_faults(name, subtable(outcomes, name))
    for name in outcomes:
        faults += _delta_faults(name, subtable(outcomes, name), subtable(study, "arms"))
        faults += _yardstick_faults(name, subtable(outcomes, name))
    return faults


def _family_faults(name: str, outcome: Mapping[str, Any]) -> list[Fault]:
    """Faults between an outcome's range and its family, where that family is used."""
    family, ends = outcome.get("family"), _ends(outcome.get("range"))
    if not isinstance(family, str) or family not in WHOLE_SCORES or ends is None:
        return []
    low, high = ends
    if not (low.is_integer() and high.is_integer()):
        return [
            Fault(
                dotted(["outcomes", name, "range"]),
                f"is {low:g} to {high:g}, but the family {family} {WHOLE_SCORES[family]}: both "
                "ends must be whole numbers.",
                f"Correct the range, set {CONTINUOUS}, or {PUBLISHED}.",
            )
        ]
    categories = high - low + 1
    if family == "ordinal" and categories > MOST_CATEGORIES:
        return [
            Fault(
                dotted(["outcomes", name, "family"]),
                f"{low:g} to {high:g} are {categories:g} categories, and the family ordinal takes "
                f"{MOST_CATEGORIES} at most.",
                f'Set family = "beta_binomial" or "gaussian", or {PUBLISHED}.',
            )
        ]
    return []


def _delta_faults(name: str, outcome: Mapping[str, Any], arms: Mapping[str, Any]) -> list[Fault]:
    """Faults between the shifts of an outcome's unseen patients, its range and the arms."""
    faults, ends = [], _ends(outcome.get("range"))
    for arm, value in subtable(outcome, "delta").items():
        place = dotted(["outcomes", name, "delta", arm])
        if arms and arm not in arms:
            faults.append(Fault(place, f"there is no arm {arm!r}.", nearest(arm, arms)))
        shift = _finite(value)
        if ends is not None and shift is not None and abs(shift) > ends[1] - ends[0]:
            faults.append(
                Fault(
                    place,
                    f"is {shift:g}, and the range {ends[0]:g} to {ends[1]:g} is not that wide: no "
                    "mean can be shifted so far.",
                    "Write the shift in the outcome's own units, or correct the range.",
                )
            )
    return faults


def _yardstick_faults(name: str, outcome: Mapping[str, Any]) -> list[Fault]:
    """Faults between an outcome's yardstick and its range."""
    given, ends = subtable(outcome, "yardstick"), _ends(outcome.get("range"))
    place = dotted(["outcomes", name, "yardstick"])
    if given and not any(given.get(key) is not None for key in ("threshold", "rope", "reach")):
        return [Fault(place, "names nothing.", "Write a threshold, a rope or a reach.")]
    if ends is None:
        return []
    low, high = ends
    scale = f"the range is {low:g} to {high:g}"
    faults = []
    rope = given.get("rope")
    for key, values in (
        ("threshold", [given.get("threshold")]),
        ("rope", rope if isinstance(rope, list | tuple) else []),
    ):
        widest = max((abs(value) for value in map(_finite, values) if value is not None), default=0)
        if widest > high - low:
            faults.append(
                Fault(
                    f"{place}.{key}",
                    f"names a difference of {widest:g}, but {scale}: no two scores are so far "
                    "apart.",
                    f"Give differences from {low - high:g} to {high - low:g}.",
                )
            )
    reach = _finite(given.get("reach"))
    if reach is not None and not low <= reach <= high:
        faults.append(
            Fault(
                f"{place}.reach",
                f"is {reach:g}, and {scale}.",
                f"Give a score from {low:g} to {high:g}.",
            )
        )
    return faults


def _ends(limits: object) -> tuple[float, float] | None:
    """Ends of a range that is one: two finite numbers in order; otherwise it is refused anyway."""
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        return None
    low, high = _finite(limits[0]), _finite(limits[1])
    return (low, high) if low is not None and high is not None and low < high else None


def _finite(number: object) -> float | None:
    """A finite number as such; None for what is none, and refused anyway."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    try:
        value = float(number)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None
