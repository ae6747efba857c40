"""What the analyst counts as much, and as nothing: thresholds and regions, never by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.description import Outcome


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What effects on one outcome are held against, in the outcome's own points.

    Attributes
    ----------
    threshold : float or None
        An arm is better by at least this much: counted in the direction of improvement, so that 5
        means 5 points lower where a lower score is better. A negative one is a margin by which an
        arm may be worse.
    rope : tuple of float or None
        Region of practical equivalence (Kruschke 2018, doi:10.1177/2515245918771304) of a
        contrast as it is printed, first arm minus second: (low, high).
    reach : float or None
        A score; this or a better one is reached.
    source : str or None
        Where these come from, in the analyst's words.
    """

    threshold: float | None = None
    rope: tuple[float, float] | None = None
    reach: float | None = None
    source: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is named."""
        return self.threshold is None and self.rope is None and self.reach is None


def yardsticks(
    outcomes: Mapping[str, Outcome],
    *,
    thresholds: Sequence[str] = (),
    ropes: Sequence[str] = (),
    reaches: Sequence[str] = (),
    source: str | None = None,
) -> dict[str, Yardstick]:
    """Read thresholds and regions from text, and hold them against the outcomes' scales.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        Those asked about.
    thresholds, ropes, reaches : sequence of str
        ``5`` or ``pain=5``; ``-1:1`` or ``pain=-1:1`` for a region. The outcome's name may be left
        out where there is only one.
    source : str, optional
        Where they come from. What is not named here is taken from the study file
        (``[outcomes.NAME.yardstick]``), with the source that stands there.

    Returns
    -------
    dict of str to Yardstick
        One for each outcome.

    Raises
    ------
    InputError
        If a text is no number or region, names an unknown outcome or none of several, names one
        twice, or lies outside the outcome's scale.
    """
    threshold = _by_outcome("threshold", thresholds, outcomes, _threshold)
    rope = _by_outcome("rope", ropes, outcomes, _rope)
    reach = _by_outcome("reach", reaches, outcomes, _reach)
    return {
        name: _completed(
            Yardstick(threshold.get(name), rope.get(name), reach.get(name), source), outcome
        )
        for name, outcome in outcomes.items()
    }


def _completed(asked: Yardstick, outcome: Outcome) -> Yardstick:
    """What was asked for, and from the study file what was not."""
    kept = outcome.yardstick
    if kept is None:
        return asked
    names = ("threshold", "rope", "reach")
    added = {
        name: getattr(kept, name)
        for name in names
        if getattr(asked, name) is None and getattr(kept, name) is not None
    }
    if not added:
        return asked
    sources = kept.source
    if not asked.empty:
        own = ", ".join(name for name in names if getattr(asked, name) is not None)
        sources = f"{kept.source}; {own} from {asked.source or 'the command line'}"
    return replace(asked, **added, source=sources)


def _by_outcome[Value](
    argument: str,
    texts: Sequence[str],
    outcomes: Mapping[str, Outcome],
    read: Callable[[str, str, Outcome], Value],
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for text in texts:
        given = f"`{argument}={text!r}`"
        name, named, value = text.rpartition("=")
        if not named:
            if len(outcomes) > 1:
                named_so = f"{next(iter(outcomes))}={text}"
                raise InputError(
                    f"{given} is in points of one outcome, and these are asked about: "
                    f"{', '.join(outcomes)}.",
                    f"Name it: `{argument}={named_so!r}`; or choose one: `outcome`.",
                )
            (name,) = outcomes
        if name not in outcomes:
            raise InputError(
                f"{given}: there is no outcome {name!r} among those asked about.",
                nearest(name, outcomes),
            )
        if name in found:
            raise InputError(f"`{argument}` is given twice for the outcome {name!r}.", "Give one.")
        found[name] = read(given, value, outcomes[name])
    return found


def _number(given: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{given}: {text.strip()!r} is not a number.", "Write for example 2.5.")
    return value


def _difference(given: str, value: float, outcome: Outcome) -> float:
    """A difference of two scores."""
    low, high = outcome.range
    if abs(value) > high - low:
        raise InputError(
            f"{given}: {outcome.label} runs from {low:g} to {high:g}, and no two scores are so far "
            "apart.",
            f"Give a number of points from {low - high:g} to {high - low:g}.",
        )
    return value


def _threshold(given: str, text: str, outcome: Outcome) -> float:
    return _difference(given, _number(given, text), outcome)


def _rope(given: str, text: str, outcome: Outcome) -> tuple[float, float]:
    ends = text.split(":")
    if len(ends) != 2:
        raise InputError(f"{given} is not a region.", "Write LOW:HIGH, for example -1:1.")
    low, high = (_difference(given, _number(given, end), outcome) for end in ends)
    if not low < high:
        raise InputError(f"{given} is an empty region.", "Write LOW:HIGH with LOW below HIGH.")
    return low, high


def _reach(given: str, text: str, outcome: Outcome) -> float:
    value, (low, high) = _number(given, text), outcome.range
    if not low <= value <= high:
        raise InputError(
            f"{given} is outside the scale of {outcome.label}.",
            f"Give a score from {low:g} to {high:g}.",
        )
    return value
