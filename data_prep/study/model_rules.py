"""Rules between the settings of a model, and between them and the study's other parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alliance.data_prep.errors import nearest
from alliance.data_prep.study.rules import (
    CONTINUOUS,
    COUNT,
    FEWEST_TO_DIFFER,
    MOST_CATEGORIES,
    OWN_FAMILIES,
    PUBLISHED,
    WHOLE_SCORES,
    Fault,
    dotted,
    finite,
    has_moderator,
    is_difference,
    is_score,
    rated_arms,
    repeated,
    score_ends,
    subtable,
    texts,
)


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
    if (
        model.get("reliability") is True
        and has_moderator(study)
        and subtable(study, "moderator").get("reliability") is None
    ):
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
    faults += _without_therapist_faults(study)
    faults += _trials_faults(study)
    faults += _clinic_faults(study)
    if model.get("between_interaction") is True and model.get("alliance") != "within_between":
        faults.append(
            Fault(
                "model.between_interaction",
                "the slope between therapists differs between arms only where there is one.",
                'Set alliance = "within_between", or between_interaction = false, under [model].',
            )
        )
    faults += _slope_faults(study)
    if model.get("joint") is True and len(outcomes) == 1:
        faults.append(
            Fault(
                "model.joint",
                f"a joint model needs two outcomes, and {next(iter(outcomes))!r} is the only one.",
                "Add or keep a second outcome, or set joint = false under [model].",
            )
        )
    if model.get("common_patients") is True and len(outcomes) == 1:
        faults.append(
            Fault(
                "model.common_patients",
                "patients are common to two outcomes or more, and "
                f"{next(iter(outcomes))!r} is the only one.",
                "Add or keep a second outcome, or set common_patients = false under [model].",
            )
        )
    for name in outcomes:
        own = subtable(outcomes, name)
        if model.get("likelihood") == "native" or own.get("family") in OWN_FAMILIES:
            faults += _family_faults(name, own)
        if model.get("joint") is True and own.get("family") in OWN_FAMILIES:
            faults.append(
                Fault(
                    "model.joint",
                    f"a joint model takes Gaussian outcomes and an ordinal one, and {name!r} is "
                    f"{own['family']}.",
                    "Set joint = false under [model], or leave the outcome out.",
                )
            )
    for name in outcomes:
        faults += _delta_faults(name, subtable(outcomes, name), subtable(study, "arms"))
        faults += _yardstick_faults(name, subtable(outcomes, name))
    return faults


def _trials_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Faults of ``[trials]``, and settings that several trials in one model do not go with."""
    model, told = subtable(study, "model"), subtable(study, "trials")
    parts = [part for trial in told for part in texts(told, trial)]
    faults = [
        Fault("trials", f"{part!r} is listed twice.", "List each file or site once.")
        for part in repeated(parts)
    ]
    faults += [
        Fault(f"trials.{trial}", "names no file and no site.", "Name some, or leave it out.")
        for trial in told
        if not texts(told, trial)
    ]
    if model.get("several_trials") not in ("varying", "fixed"):
        return faults
    columns, rated = subtable(study, "columns"), rated_arms(study)
    nobody = "columns" in study and columns.get("therapist") is None
    some_rated = has_moderator(study) and 0 < len(rated) < len(subtable(study, "arms"))
    asked = {
        'alliance = "total"': model.get("alliance") == "within_between",
        "therapist_by_arm = false": model.get("therapist_by_arm") is True,
        "residual_by_arm = false": model.get("residual_by_arm") is True,
        "joint = false": model.get("joint") is True,
        'missing_alliance = "complete_case"': model.get("missing_alliance") == "impute",
        "reliability = false": model.get("reliability") is True,
        "ceiling = false": model.get("ceiling") is True,
        "moderator_arms = []": some_rated,
        "without_therapist = []": bool(texts(model, "without_therapist")),
    }
    faults += [
        Fault(
            "model.several_trials",
            f"several trials in one model go with {setting} alone.",
            f'Set {setting}, or several_trials = "no", under [model].',
        )
        for setting, wanted in asked.items()
        if wanted
    ]
    lacks = {
        "a column of therapists": (nobody, "Name the column under [columns]"),
        "a [moderator]": (not has_moderator(study), "Describe the measure in [moderator]"),
    }
    faults += [
        Fault(
            "model.several_trials",
            f"several trials in one model need {what}.",
            f'{remedy}, or set several_trials = "no" under [model].',
        )
        for what, (wanted, remedy) in lacks.items()
        if wanted
    ]
    return faults


# Settings that give the moderator a model of its own, or make more of it than it was rated.
OWN_MODEL = {
    "alliance": "within_between",
    "missing_alliance": "impute",
    "reliability": True,
    "ceiling": True,
}


def _slope_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Settings that need a moderator, or one in more arms than have it."""
    model, arms = subtable(study, "model"), subtable(study, "arms")
    named, rated = model.get("moderator_arms"), rated_arms(study)
    faults: list[Fault] = []

    def say(key: str, problem: str, remedy: str) -> None:
        faults.append(Fault(f"model.{key}", problem, remedy))

    if not has_moderator(study):
        needing = OWN_MODEL | {
            "therapist": "intercept+slope",
            "interaction": True,
            "between_interaction": True,
            "joint": True,
        }
        for key, value in needing.items():
            if model.get(key) == value and type(model.get(key)) is type(value):
                shown = str(value).lower() if value is True else f'"{value}"'
                say(
                    key,
                    f"is {shown}, and the study has no [moderator], whose slope it is about.",
                    f"Leave {key!r} out under [model], or describe the measure in [moderator].",
                )
        if named:
            say("moderator_arms", "the study has no [moderator].", "Leave it out, or describe one.")
        return faults
    for arm in texts(model, "moderator_arms"):
        if arms and arm not in arms:
            say("moderator_arms", f"there is no arm {arm!r}.", nearest(arm, arms))
    faults += [
        Fault("model.moderator_arms", f"{arm!r} is listed twice.", "List each arm once.")
        for arm in repeated(texts(model, "moderator_arms"))
    ]
    if named == []:  # as a file has it; no list at all is an empty tuple
        say(
            "moderator_arms",
            "names no arm.",
            "Leave it out if all arms have the measure, or [moderator] if none has.",
        )
    if not rated or len(rated) == len(arms):
        return faults
    if model.get("interaction") is True and len(rated) < FEWEST_TO_DIFFER:
        say(
            "interaction",
            f"is true, and {rated[0]!r} is the only arm with a slope: no slopes differ.",
            "Leave 'interaction' out under [model], or name more arms in moderator_arms.",
        )
    for key, value in OWN_MODEL.items():
        if model.get(key) == value and type(model.get(key)) is type(value):
            shown = str(value).lower() if value is True else f'"{value}"'
            say(
                key,
                f"is {shown}: that is a model of everybody's ratings, and moderator_arms names "
                "some arms only.",
                f"Leave {key!r} or 'moderator_arms' out under [model].",
            )
    return faults


def _without_therapist_faults(study: Mapping[str, Any]) -> list[Fault]:
    """Faults of ``model.without_therapist``, the columns and the other settings."""
    model, arms, place = (
        subtable(study, "model"),
        subtable(study, "arms"),
        "model.without_therapist",
    )
    named = texts(model, "without_therapist")
    faults = [
        Fault(place, f"there is no arm {code!r}.", nearest(code, arms))
        for code in named
        if arms and code not in arms
    ]
    faults += [
        Fault(place, f"{code!r} is listed twice.", "List each arm once.")
        for code in repeated(named)
    ]
    nobody = "columns" in study and subtable(study, "columns").get("therapist") is None
    if arms and set(arms) <= set(named) and not nobody:
        faults.append(
            Fault(
                place,
                "names every arm, so that no therapist is left.",
                "Leave the arms with therapists out of it; where there are none at all, leave out "
                "`therapist` under [columns].",
            )
        )
    if not (named or nobody):
        return faults
    whose = "the study names no column of therapists" if nobody else "an arm has no therapists"
    remedy = "Set {} under [model]" + (", or name the column under [columns]." if nobody else ".")
    asked = {
        'alliance = "total"': model.get("alliance") == "within_between",
        "therapist_by_arm = false": model.get("therapist_by_arm") is True,
        "joint = false": model.get("joint") is True,
        'missing_alliance = "complete_case"': model.get("missing_alliance") == "impute",
        "reliability = false": model.get("reliability") is True,
        "ceiling = false": model.get("ceiling") is True,
    }
    why = {
        'alliance = "total"': "slopes within and between therapists need a therapist for everybody",
        "therapist_by_arm = false": "arm effects vary between therapists only where all arms have "
        "them",
        "joint = false": "a joint model needs a therapist for everybody",
    }
    latent = "a model of the alliance itself needs a therapist for everybody"
    faults += [
        Fault(f"model.{key.split(' ')[0]}", f"{why.get(key, latent)}, and {whose}.",
              remedy.format(key))
        for key, wanted in asked.items()
        if wanted
    ]  # fmt: skip
    return faults


def _clinic_faults(study: Mapping[str, Any]) -> list[Fault]:
    """What does not go with effects of clinics."""
    model, columns = subtable(study, "model"), subtable(study, "columns")
    setting = model.get("clinic", "intercept")
    if columns.get("clinic") is None or setting == "none":
        return []
    faults = []
    if setting == "intercept+slope" and not has_moderator(study):
        faults.append(
            Fault(
                "model.clinic",
                'is "intercept+slope", and the study has no [moderator], whose slope it is about.',
                'Set clinic = "intercept" under [model], or describe the measure in [moderator].',
            )
        )
    asked = {
        'alliance = "total"': model.get("alliance") == "within_between",
        'missing_alliance = "complete_case"': model.get("missing_alliance") == "impute",
        "reliability = false": model.get("reliability") is True,
        "ceiling = false": model.get("ceiling") is True,
        "joint = false": model.get("joint") is True,
    }
    why = {"joint = false": "a joint model has therapists and no level above them"}
    latent = "a model of the alliance itself has therapists and no level above them"
    faults += [
        Fault(
            f"model.{key.split(' ')[0]}",
            f"{why.get(key, latent)}, and the study has clinics.",
            f'Set {key} or clinic = "none" under [model].',
        )
        for key, wanted in asked.items()
        if wanted
    ]
    return faults


def _family_faults(name: str, outcome: Mapping[str, Any]) -> list[Fault]:
    """Faults between an outcome's range and its family, where that family is used."""
    family, ends = outcome.get("family"), score_ends(outcome.get("range"))
    if not isinstance(family, str) or family not in WHOLE_SCORES or ends is None:
        return []
    low, high = ends
    if family == COUNT:
        if low == 0 and high.is_integer():
            return []
        return [
            Fault(
                dotted(["outcomes", name, "range"]),
                f"is {low:g} to {high:g}, but the family count {WHOLE_SCORES[family]}: it goes "
                "from 0 to a whole number.",
                "Write 0 and the largest number of events that a cell may hold.",
            )
        ]
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
    faults, ends = [], score_ends(outcome.get("range"))
    for arm, value in subtable(outcome, "delta").items():
        place = dotted(["outcomes", name, "delta", arm])
        if arms and arm not in arms:
            faults.append(Fault(place, f"there is no arm {arm!r}.", nearest(arm, arms)))
        shift = finite(value)
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
    given, ends = subtable(outcome, "yardstick"), score_ends(outcome.get("range"))
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
        widest = max((abs(value) for value in map(finite, values) if value is not None), default=0)
        if not is_difference(widest, ends):
            faults.append(
                Fault(
                    f"{place}.{key}",
                    f"names a difference of {widest:g}, but {scale}: no two scores are so far "
                    "apart.",
                    f"Give differences from {low - high:g} to {high - low:g}.",
                )
            )
    reach = finite(given.get("reach"))
    if reach is not None and not is_score(reach, ends):
        faults.append(
            Fault(
                f"{place}.reach",
                f"is {reach:g}, and {scale}.",
                f"Give a score from {low:g} to {high:g}.",
            )
        )
    return faults
