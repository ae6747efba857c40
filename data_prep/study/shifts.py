"""Shifts of unseen outcomes (delta) from outside the study file, read and put into its outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.parts import Outcome

EXAMPLE = "Write OUTCOME:ARM=SHIFT, for example function:MCE=-2."


def read_shifts(texts: Iterable[str]) -> dict[str, dict[str, float]]:
    """Shifts by outcome and arm from texts ``OUTCOME:ARM=SHIFT``.

    Parameters
    ----------
    texts : iterable of str
        Names of outcomes hold no colon, so the first one ends them; the code of an arm may hold
        colons and equals signs.

    Returns
    -------
    dict of str to dict of str to float
        As `data_prep.study.description.narrowed` takes it, which checks outcomes and arms.

    Raises
    ------
    InputError
        If a text has another form, its shift is no finite number, or an arm is named twice.

    Examples
    --------
    >>> read_shifts(["function:MCE=-2", "function:SMT=-1.5"])
    {'function': {'MCE': -2.0, 'SMT': -1.5}}
    """
    found: dict[str, dict[str, float]] = {}
    for text in texts:
        outcome, colon, rest = text.partition(":")
        arm, equals, number = rest.rpartition("=")
        if not (outcome and colon and arm and equals):
            raise InputError(f"The shift {text!r} does not name an outcome and an arm.", EXAMPLE)
        try:
            shift = float(number)
        except ValueError as error:
            raise InputError(f"The shift {text!r}: {number!r} is not a number.", EXAMPLE) from error
        if not math.isfinite(shift):
            raise InputError(f"The shift {text!r} is not a finite number.", EXAMPLE)
        if arm in found.setdefault(outcome, {}):
            raise InputError(
                f"The arm {arm!r} of the outcome {outcome!r} is given two shifts.", "Keep one."
            )
        found[outcome][arm] = shift
    return found


def shifted_outcomes(
    outcomes: Mapping[str, Outcome], shifts: Mapping[str, Mapping[str, float]]
) -> dict[str, Outcome]:
    """Outcomes with some arms' shifts replaced; those of other arms stay as they are.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
    shifts : mapping of str to mapping of str to float
        By outcome and arm. The arms are checked by `data_prep.study.model_rules`.

    Raises
    ------
    InputError
        If there is no such outcome, or a shift is not a finite number.
    """
    changed = dict(outcomes)
    for name, by_arm in shifts.items():
        if name not in outcomes:
            raise InputError(
                f"A shift names the outcome {name!r}, which is not analysed.",
                nearest(name, outcomes),
            )
        for arm, shift in by_arm.items():
            number = isinstance(shift, Real) and not isinstance(shift, bool)
            if not number or not math.isfinite(shift):
                raise InputError(
                    f"The shift of {name!r} in the arm {arm!r} is {shift!r}, not a finite number.",
                    "Give a number in the outcome's own units.",
                )
        delta = outcomes[name].delta | {arm: float(shift) for arm, shift in by_arm.items()}
        changed[name] = outcomes[name].model_copy(update={"delta": delta})
    return changed
