"""What was found, in sentences: each says no more than its interval and its probability do.

A direction is claimed only where its probability is at least `CERTAIN`; below, the sentence begins
with what the data cannot tell, and names both ends of the interval and the probability. Scores are
told by which is better, never by which is higher: a reader need not know how a scale is turned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import floor, log10
from typing import Any

import pandas as pd

from alliance.data_prep.levels import AVERAGE, WITHIN, contrast_names
from alliance.data_prep.study.description import Outcome
from alliance.data_prep.study.rules import BINARY
from alliance.diagnostics import words
from alliance.inference.digits import decimals, figures, number
from alliance.inference.runs.fit import Fit
from alliance.models.design.encoding import arm_pairs

CERTAIN = 0.975  # the probability of a direction whose 95% interval excludes zero
LIKELY = 0.9  # from here on a direction is called probable, with its chance in hundredths
ROUND = (1.0, 2.0, 5.0, 10.0)  # steps of the alliance that are easy to think of


@dataclass(frozen=True, slots=True)
class Found:
    """A difference in points of improvement: what is above zero is for the better.

    Attributes
    ----------
    mean, lower, upper : float
    chance : float
        Probability that it is above zero.
    digits : int
        Decimals that are shown.
    level : str
        Probability of the interval, in words.
    unit : str
        What it is counted in.
    """

    mean: float
    lower: float
    upper: float
    chance: float
    digits: int
    level: str
    unit: str = "points"

    @property
    def certain(self) -> bool:
        """Whether one direction may be claimed."""
        return max(self.chance, 1 - self.chance) >= CERTAIN

    def turned(self) -> Found:
        """The same difference the other way round."""
        return replace(
            self, mean=-self.mean, lower=-self.upper, upper=-self.lower, chance=1 - self.chance
        )

    @property
    def size(self) -> str:
        """How large, in the direction of the mean: ``1.2 points``."""
        return points(abs(self.mean), self.digits, self.unit)

    def span(self, better: str = "better", worse: str = "worse") -> str:
        """The interval from its worse to its better end: ``0.5 points worse to 1.8 better``."""
        low, high = number(abs(self.lower), self.digits), number(abs(self.upper), self.digits)
        if (self.lower < 0) == (self.upper < 0):
            side = better if self.upper > 0 else worse
            ends = (low, high) if self.upper > 0 else (high, low)
            return f"{ends[0]} to {ends[1]} {self.unit} {side}"
        return f"{low} {self.unit} {worse} to {high} {self.unit} {better}"


def found_of(
    row: Mapping[Any, Any],
    direction: int,
    interval: float,
    by: float = 1.0,
    unit: tuple[float, str] = (1.0, "points"),
) -> Found:
    """A row of the tidy table, in points of improvement.

    Parameters
    ----------
    row : mapping
        With ``mean, sd, lower, upper, prob_positive``.
    direction : int
        1 where a higher score is better, -1 where a lower one is.
    interval : float
        Probability of its interval.
    by : float
        What a slope is multiplied by.
    unit : tuple of float and str
        As from `unit_of`.
    """
    by *= unit[0]
    lower, upper = sorted((direction * by * row["lower"], direction * by * row["upper"]))
    chance = row["prob_positive"] if direction > 0 else 1 - row["prob_positive"]
    digits = max(0, decimals(by * row["sd"], by * row["mean"]))
    mean = direction * by * row["mean"]
    return Found(mean, lower, upper, chance, digits, words.level_of(interval), unit[1])


def unit_of(outcome: Outcome) -> tuple[float, str]:
    """How many of what a score of one is: a point, percentage points of a chance, an event.

    Parameters
    ----------
    outcome : Outcome
    """
    if outcome.family == BINARY:
        return 100.0, "percentage points"
    return 1.0, words.points(outcome)


def points(value: float, digits: int, unit: str = "points") -> str:
    """A number of points: one point, several points.

    Examples
    --------
    >>> points(1.0, 0), points(1.0, 1), points(2.0, 0)
    ('1 point', '1.0 points', '2 points')
    """
    told = number(value, digits)
    return f"{told} point" if (told, unit) == ("1", "points") else f"{told} {unit}"


def round_step(sd: float) -> float:
    """A round number of points near an SD, by which slopes are told.

    Examples
    --------
    >>> round_step(12.3), round_step(0.7), round_step(3.4), round_step(140)
    (10.0, 0.5, 5.0, 100.0)
    """
    power = 10.0 ** floor(log10(sd))
    return min((step * power for step in ROUND), key=lambda step: abs(log10(step / sd)))


def slope_sentence(found: Found, moderator: str, step: str) -> str:
    """Whether patients with a higher alliance have better scores.

    Parameters
    ----------
    found : Found
        For so many points more.
    moderator : str
        What it is called.
    step : str
        ``10 points``, of the alliance.
    """
    if not found.certain:
        return (
            f"Whether a higher {moderator} goes with better or with worse scores these data cannot "
            f"tell: {step} more go with {found.span()} ({found.level} interval); the probability "
            f"of better scores is {words.chance(found.chance)}."
        )
    side, chance = ("better", found.chance) if found.mean > 0 else ("worse", 1 - found.chance)
    return (
        f"Patients with a higher {moderator} had {side} scores: by {found.size} on average for "
        f"{step} more ({found.level} interval {found.span()}; probability of this direction "
        f"{words.chance(chance)})."
    )


def contrast_sentence(found: Found, first: str, second: str, where: str = "") -> str:
    """Which of two arms is better.

    Parameters
    ----------
    found : Found
        First arm minus second.
    first, second : str
        What the arms are called.
    where : str
        `` at an alliance of 92``; empty where there is none.
    """
    if not found.certain:
        return (
            f"Whether {first} or {second} is better{where} these data cannot tell: scores with "
            f"{first} are {found.span()} than with {second} ({found.level} interval); the "
            f"probability that they are better is {words.chance(found.chance)}."
        )
    if found.mean < 0:
        return contrast_sentence(found.turned(), second, first, where)
    return (
        f"Scores with {first} are better than with {second}{where}: by {found.size} on average "
        f"({found.level} interval {found.span()}; probability of this direction "
        f"{words.chance(found.chance)})."
    )


def interaction_sentence(found: Found, first: str, second: str, moderator: str, step: str) -> str:
    """Whether the difference of two arms goes with the alliance.

    Parameters
    ----------
    found : Found
        Slope with the first arm minus that with the second, for so many points more.
    first, second, moderator, step : str
    """
    sides = f"in favour of {first}", f"in favour of {second}"
    if not found.certain:
        return (
            f"Whether the comparison of {first} and {second} goes with the {moderator} these data "
            f"cannot tell: {step} more shift it by {found.span(*sides)} ({found.level} interval); "
            f"the probability of a shift {sides[0]} is {words.chance(found.chance)}."
        )
    if found.mean < 0:
        return interaction_sentence(found.turned(), second, first, moderator, step)
    return (
        f"The comparison of {first} and {second} goes with the {moderator}: {step} more shift it "
        f"by {found.size} {sides[0]} on average ({found.level} interval {found.span(*sides)}; "
        f"probability of this direction {words.chance(found.chance)})."
    )


def sentences_of(
    fit: Fit, outcome: str, table: pd.DataFrame, interval: float
) -> Iterator[tuple[str, list[Found], str]]:
    """What was found of one outcome: slope, contrasts, interactions, in this order.

    Parameters
    ----------
    fit : Fit
    outcome : str
    table : pandas.DataFrame
        As `Fit.summary` gives it.
    interval : float
        Probability of its intervals.

    Yields
    ------
    tuple of str, list of Found, str
        The quantity, its numbers, and the sentence about them.
    """
    rows = table[table["outcome"] == outcome].to_dict("records")
    by_name = {(row["quantity"], row["level"]): row for row in rows}
    direction, codes = fit[outcome].direction, tuple(fit.study.arms)
    name, sd = words.of_moderator(fit.study, "{name}"), fit.design(outcome).scaling.moderator[1]
    by, unit = round_step(sd), unit_of(fit.study.outcomes[outcome])
    rated = "points" if fit.study.moderator is None else words.points(fit.study.moderator)
    step = "1 point" if (by, rated) == (1, "points") else f"{figures(by)} {rated}"
    for level in (AVERAGE, WITHIN):
        if (row := by_name.get(("moderator_slope", level))) is not None:
            found = found_of(row, direction, interval, by, unit)
            within = " than others of their therapist" if level == WITHIN else ""
            yield "moderator_slope", [found], slope_sentence(found, f"{name}{within}", step)
            break
    names = contrast_names(codes)
    for k, j in arm_pairs(len(codes)):
        row = by_name.get(("arm_contrast", names[k, j]))
        if row is None:
            continue
        found = found_of(row, direction, interval, unit=unit)
        place = row["at"]
        where = f" at {name} {figures(place)}" if place == place else ""
        arms = [words.level(fit.study, codes[each]) for each in (k, j)]
        yield "arm_contrast", [found], contrast_sentence(found, arms[0], arms[1], where)
    slopes: list[tuple[Found, list[str]]] = []
    for k, j in arm_pairs(len(codes)):
        row = by_name.get(("interaction", names[k, j]))
        if row is not None:
            arms = [words.level(fit.study, codes[each]) for each in (k, j)]
            slopes.append((found_of(row, direction, interval, by, unit), arms))
    known = [each for each in slopes if each[0].certain or len(slopes) == 1]
    for found, arms in known:
        told = interaction_sentence(found, arms[0], arms[1], name, step)
        yield "interaction", [found], told
    if len(known) < len(slopes):
        others = "the others do" if known else "any two arms compare otherwise"
        yield (
            "interaction",
            [found for found, _ in slopes if not found.certain],
            f"Whether {others} with a higher {name} these data cannot tell: the intervals of the "
            "differences of slopes hold both directions (table below).",
        )


def plain_words(fit: Fit, outcome: str, table: pd.DataFrame, interval: float) -> str:
    """What was found of one outcome, for a reader who knows no statistics.

    Parameters
    ----------
    fit : Fit
    outcome : str
    table : pandas.DataFrame
        As `Fit.summary` gives it.
    interval : float
        Probability of its intervals.
    """
    names = contrast_names(tuple(fit.study.arms))
    pairs = [names[pair] for pair in arm_pairs(len(fit.study.arms))]
    rows = table[table["outcome"] == outcome].to_dict("records")
    by_name = {(row["quantity"], row["level"]): row for row in rows}
    told = []
    name, direction = words.of_moderator(fit.study, "{name}"), fit[outcome].direction
    for level in (AVERAGE, WITHIN):
        if (row := by_name.get(("moderator_slope", level))) is not None:
            found = found_of(row, direction, interval)
            side = "better" if found.chance > 0.5 else "worse"
            told.append(
                _how_sure(found, f"people with a higher {name} did {side}")
                or f"whether people with a higher {name} did better the trial cannot tell"
            )
            break
    unknown = []
    for (k, j), level in zip(arm_pairs(len(fit.study.arms)), pairs, strict=True):
        if (row := by_name.get(("arm_contrast", level))) is None:
            continue
        found = found_of(row, direction, interval)
        first, second = (words.level(fit.study, list(fit.study.arms)[each]) for each in (k, j))
        better, worse = (first, second) if found.chance > 0.5 else (second, first)
        sure = _how_sure(found, f"{better} worked better than {worse}")
        told.append(sure) if sure else unknown.append(f"{first} and {second}")
    if unknown:
        told.append(f"which worked better of {'; of '.join(unknown)}, the trial cannot tell")
    slopes = []
    for (k, j), level in zip(arm_pairs(len(fit.study.arms)), pairs, strict=True):
        if (row := by_name.get(("interaction", level))) is not None:
            slopes.append(found := found_of(row, direction, interval))
            first, second = (words.level(fit.study, list(fit.study.arms)[each]) for each in (k, j))
            suited, other = (first, second) if found.mean > 0 else (second, first)
            if found.certain:
                claim = f"the higher the {name}, the more {suited} gains on {other}"
                told.append(_how_sure(found, claim))
    if slopes and not any(found.certain for found in slopes):
        told.append(f"whether one treatment suits people with a high {name} better it cannot tell")
    return "; ".join(told) + "."


def _how_sure(found: Found, claim: str) -> str:
    """A claim with how sure it is; empty where its chance is too small to make it."""
    chance = max(found.chance, 1 - found.chance)
    if chance >= CERTAIN:
        return f"{claim} (nearly certain)"
    return f"{claim}, probably ({round(100 * chance)} chances in 100)" if chance >= LIKELY else ""
