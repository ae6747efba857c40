"""Do the printed numbers of a finding agree with one another, as far as they are rounded?

Every printed number stands for all that round to it. A check computes the range of what one number
can be from the ranges of the others: "consistent" where it meets the range of what is printed,
"cannot be" where it does not, "not told" where the paper lacks a number, or where it hangs on
degrees of freedom that it does not print.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import pandas as pd
from scipy.special import ndtr, stdtr

from alliance.inference.digits import figures
from alliance.inference.paper.printed import (
    Printed,
    patients,
    patients_by_arm,
    quantile,
    row_of,
)
from alliance.inference.published.findings import Finding

CONSISTENT, IMPOSSIBLE, UNTOLD = "consistent", "cannot be", "not told"
Range = tuple[float, float]
FEW = 30.0  # degrees of freedom that a trial has at least, where it does not say how many
SLACK = 1e-9  # relative: numbers that touch agree


@dataclass(frozen=True, slots=True)
class Consistency:
    """One check of one finding.

    Attributes
    ----------
    check, verdict : str
    arithmetic : str
        How the numbers were held together.
    """

    check: str
    verdict: str
    arithmetic: str


def consistency(printed: Printed, chosen: Mapping[int, Finding]) -> pd.DataFrame:
    """Check every finding that has a number, and findings beside one another.

    Parameters
    ----------
    printed : Printed
    chosen : mapping of int to Finding
        Those that are checked, by their places in the file.

    Returns
    -------
    pandas.DataFrame
        Columns ``finding, outcome, quantity, level, trial, check, verdict, arithmetic``.
    """
    rows = []
    for number, finding in chosen.items():
        if finding.estimate is None:
            continue
        for made in _checks(printed, finding):
            rows.append(
                row_of(finding, number)
                | {
                    "check": made.check,
                    "verdict": made.verdict,
                    "arithmetic": made.arithmetic,
                }
            )
    columns = [
        *("finding", "outcome", "quantity", "level", "trial"),
        *("check", "verdict", "arithmetic"),
    ]
    return pd.DataFrame(rows, columns=columns)


def _checks(printed: Printed, finding: Finding) -> Iterator[Consistency]:
    yield _symmetry(finding)
    yield _interval_and_error(finding)
    yield _p_value(finding)
    if finding.t is not None:
        yield _test_statistic(finding)
    if (counted := _degrees_and_patients(printed, finding)) is not None:
        yield counted
    if finding.quantity == "arm_contrast":
        yield _patients(printed, finding)
        if (closed := _third_contrast(printed, finding)) is not None:
            yield closed
    yield _units(printed, finding)
    if (reach := _within_scale(printed, finding)) is not None:
        yield reach


# Ranges of rounded numbers ------------------------------------------------------------------------


def _range(finding: Finding, name: str) -> Range:
    """All that a printed number may stand for."""
    value, half = float(getattr(finding, name)), finding.half_unit(name)
    return value - half, value + half


def _on_scale(finding: Finding, name: str) -> Range:
    """The same on the scale where the interval is symmetric."""
    low, high = _range(finding, name)
    if not finding.is_ratio:
        return low, high
    tiny = 1e-300  # a ratio is above zero, whatever it is rounded to
    return math.log(max(low, tiny)), math.log(max(high, tiny))


def _over(function: Callable[..., float], *ranges: Iterable[float]) -> Range:
    """Range of a function that is monotone in each argument, from the ends of their ranges."""
    values = [function(*ends) for ends in product(*ranges)]
    return min(values), max(values)


def _meet(first: Range, second: Range) -> bool:
    slack = SLACK * max(map(abs, (*first, *second)))
    return first[0] <= second[1] + slack and second[0] <= first[1] + slack


def _told(span: Range) -> str:
    low, high = (figures(end) for end in span)
    return low if low == high else f"{low} to {high}"


def _degrees(finding: Finding) -> tuple[list[float], bool]:
    """Degrees of freedom that the analysis may have had, and whether others may be, too."""
    if finding.df is not None:
        return [finding.df], False
    everyone = patients(finding)
    if everyone is None:
        return [FEW, math.inf], True
    fewest = everyone - 2 - len(finding.adjusted_for)
    if finding.therapists is not None:  # a mixed model or robust errors count therapists
        fewest = min(fewest, finding.therapists - 2)
    return [float(max(1, fewest)), math.inf], False


def _judge(
    check: str,
    finding: Finding,
    expected: Callable[[Sequence[float]], Range],
    shown: Range,
    words: str,
) -> Consistency:
    """Hold what is printed against what follows, by the degrees of freedom that may be."""
    degrees, open_ended = _degrees(finding)
    span = expected(degrees)
    arithmetic = words.format(expected=_told(span), printed=_told(shown))
    if _meet(span, shown):
        return Consistency(check, CONSISTENT, arithmetic)
    if open_ended and _meet(expected([1.0, *degrees]), shown):
        few = f"; with fewer than {FEW:g} degrees of freedom it can be: print df or n"
        return Consistency(check, UNTOLD, arithmetic + few)
    return Consistency(check, IMPOSSIBLE, arithmetic)


# Checks -------------------------------------------------------------------------------------------


def _symmetry(finding: Finding) -> Consistency:
    check = "estimate in the middle of its interval"
    if finding.lower is None:
        return Consistency(check, UNTOLD, "no interval is printed")
    low, high, value = (_on_scale(finding, name) for name in ("lower", "upper", "estimate"))
    middle = _over(lambda a, b: (a + b) / 2, low, high)
    verdict = CONSISTENT if _meet(middle, value) else IMPOSSIBLE
    name, shown, printed = "middle", middle, value
    if finding.is_ratio:
        name = "geometric middle"
        shown = (math.exp(middle[0]), math.exp(middle[1]))
        printed = (math.exp(value[0]), math.exp(value[1]))
    arithmetic = f"{name} {_told(shown)}; estimate {_told(printed)} as rounded"
    if verdict == IMPOSSIBLE:
        arithmetic += "; a bootstrap, profile or exact interval need not be symmetric"
    return Consistency(check, verdict, arithmetic)


def _half_width(finding: Finding) -> Range:
    low, high = _on_scale(finding, "lower"), _on_scale(finding, "upper")
    return max(0.0, (high[0] - low[1]) / 2), (high[1] - low[0]) / 2


def _standard_error(finding: Finding, degrees: Sequence[float]) -> Range | None:
    """Range of the standard error: as printed, or from the interval."""
    if finding.se is not None:
        return _range(finding, "se")
    if finding.lower is None:
        return None
    tails = [quantile((1 + finding.interval) / 2, df) for df in degrees]
    return _over(lambda half, tail: half / tail, _half_width(finding), tails)


def _interval_and_error(finding: Finding) -> Consistency:
    check = "interval and standard error"
    missing = [
        *([] if finding.lower is not None else ["interval"]),
        *([] if finding.se is not None else ["standard error"]),
    ]
    if missing:
        return Consistency(check, UNTOLD, f"no {' and no '.join(missing)} is printed")

    def expected(degrees: Sequence[float]) -> Range:
        tails = [quantile((1 + finding.interval) / 2, df) for df in degrees]
        return _over(lambda half, tail: half / tail, _half_width(finding), tails)

    words = "half the interval gives a standard error of {expected}; printed {printed} as rounded"
    return _judge(check, finding, expected, _range(finding, "se"), words)


def _tail(statistic: float, df: float) -> float:
    """Two-sided p of a statistic."""
    far = abs(statistic)
    return float(2 * (ndtr(-far) if math.isinf(df) else stdtr(df, -far)))


def _p_range(finding: Finding, degrees: Sequence[float]) -> Range:
    """P by the estimate and its standard error, each as rounded."""
    value = _on_scale(finding, "estimate")
    sizes = sorted(map(abs, value))
    if value[0] <= 0 <= value[1]:
        sizes[0] = 0.0
    error = _standard_error(finding, degrees)
    assert error is not None
    found = [
        _tail(size / se, df) if se > 0 else 0.0 if size > 0 else 1.0
        for df, size, se in product(degrees, sizes, error)
    ]
    return min(found), max(found)


def _p_of_t(finding: Finding, degrees: Sequence[float]) -> Range:
    """P by the printed t, as rounded."""
    low, high = _range(finding, "t")
    sizes = [0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))]
    found = [_tail(size, df) for df, size in product(degrees, sizes)]
    return min(found), max(found)


def _p_value(finding: Finding) -> Consistency:
    check = "p value"
    if finding.p is None and finding.p_below is None:
        return Consistency(check, UNTOLD, "no p value is printed")
    if finding.se is None and finding.lower is None and finding.t is None:
        return Consistency(check, UNTOLD, "no interval, standard error or t is printed")
    if finding.p is not None:
        low, high = _range(finding, "p")
        shown = (max(0.0, low), min(1.0, high))
    else:
        assert finding.p_below is not None
        shown = (0.0, finding.p_below)
    if finding.se is None and finding.lower is None:
        words = "t gives p = {expected}; printed {printed} as rounded"
        return _judge(check, finding, lambda degrees: _p_of_t(finding, degrees), shown, words)
    words = "estimate and standard error give p = {expected}; printed {printed} as rounded"
    return _judge(check, finding, lambda degrees: _p_range(finding, degrees), shown, words)


def _test_statistic(finding: Finding) -> Consistency:
    check = "t"
    sign, shown = _on_scale(finding, "estimate"), _range(finding, "t")
    if sign[0] > 0 and shown[1] < 0:
        told = f"the estimate is above no effect, and t is {_told(shown)}"
        return Consistency(check, IMPOSSIBLE, told)
    if finding.se is None and finding.lower is None:
        return Consistency(check, UNTOLD, "neither an interval nor a standard error is printed")
    # Many papers print the size alone
    sizes = sorted(map(abs, shown)) if shown[0] > 0 or shown[1] < 0 else [0.0, max(map(abs, shown))]

    def expected(degrees: Sequence[float]) -> Range:
        error = _standard_error(finding, degrees)
        assert error is not None
        value = _on_scale(finding, "estimate")
        near = 0.0 if value[0] <= 0 <= value[1] else min(map(abs, value))
        far = max(map(abs, value))
        return near / error[1], far / error[0] if error[0] > 0 else math.inf

    words = "estimate over standard error is {expected} in size; printed {printed} as rounded"
    return _judge(check, finding, expected, (sizes[0], sizes[1]), words)


def _patients(printed: Printed, finding: Finding) -> Consistency:
    check = "patients and standard error"
    arms = patients_by_arm(printed, finding)
    degrees, _ = _degrees(finding)
    error = _standard_error(finding, degrees)
    if arms is None or error is None or finding.is_ratio:
        lacking = "n by arm is" if arms is None else "interval or standard error of a difference is"
        return Consistency(check, UNTOLD, f"no {lacking} printed")
    root = math.sqrt(1 / arms[0] + 1 / arms[1])
    spread = (error[0] / root, error[1] / root)
    halved = " (taken as halves)" if isinstance(finding.n, int) else ""
    told = (
        f"standard error {_told(error)} with {arms[0]:g} and {arms[1]:g} patients{halved} is an "
        f"SD of {_told(spread)} between patients"
    )
    if finding.sd is not None and not finding.adjusted_for and not halved:
        own = _range(finding, "sd")
        verdict = CONSISTENT if _meet(spread, own) else IMPOSSIBLE
        return Consistency(check, verdict, f"{told}; printed {_told(own)} as rounded")
    width = printed.width(finding.outcome)
    if width is not None and not halved:
        # No scores within a range have a larger SD than halves at both of its ends (Popoviciu)
        most = width / 2 * math.sqrt(min(arms) / max(1.0, min(arms) - 1))
        if spread[0] > most:
            return Consistency(check, IMPOSSIBLE, f"{told}; the scale allows {figures(most)}")
        return Consistency(check, CONSISTENT, f"{told}; the scale allows {figures(most)}")
    return Consistency(check, UNTOLD, f"{told}; no SD of the outcome is printed")


def _degrees_and_patients(printed: Printed, finding: Finding) -> Consistency | None:
    """Degrees of freedom are fewer than the patients, where all of them are told."""
    everyone = patients(finding)
    whole = isinstance(finding.n, int) or set(finding.n or ()) == set(printed.arms)
    if finding.df is None or everyone is None or not whole:
        return None
    most = everyone - 2 - len(finding.adjusted_for)
    verdict = CONSISTENT if finding.df <= most else IMPOSSIBLE
    told = f"{everyone} patients leave at most {most} degrees of freedom; printed {finding.df:g}"
    return Consistency("degrees of freedom and patients", verdict, told)


def _third_contrast(printed: Printed, finding: Finding) -> Consistency | None:
    """Contrasts of three arms add up, within rounding, where one model gave them."""
    if finding.is_ratio:
        return None
    same = [
        other
        for other in printed.findings
        if other.estimate is not None
        and (other.outcome, other.quantity, other.trial, other.source, other.oriented)
        == (finding.outcome, finding.quantity, finding.trial, finding.source, finding.oriented)
    ]
    pair = printed.pair(finding)
    known = {found: other for other in same if (found := printed.pair(other)) is not None}
    if pair is None or known.get(pair) is not finding:
        return None
    for first, second in permutations([each for each in known if each != pair], 2):
        # (later, earlier) of this contrast by way of a third arm, each used in its direction
        for (one, sign), (two, other_sign) in product(_both_ways(first), _both_ways(second)):
            if one[0] == pair[0] and two[1] == pair[1] and one[1] == two[0]:
                steps = [(known[first], sign), (known[second], other_sign)]
                ranges = [tuple(s * end for end in _range(each, "estimate")) for each, s in steps]
                total = _over(lambda a, b: a + b, *ranges)
                shown = _range(finding, "estimate")
                verdict = CONSISTENT if _meet(total, shown) else IMPOSSIBLE
                return Consistency(
                    "three contrasts add up",
                    verdict,
                    f"by way of {one[1]}: {_told(total)}; printed {_told(shown)} as rounded",
                )
    return None


def _both_ways(pair: tuple[str, str]) -> list[tuple[tuple[str, str], int]]:
    return [(pair, 1), ((pair[1], pair[0]), -1)]


def _units(printed: Printed, finding: Finding) -> Consistency:
    check = "units"
    same = [
        other.unit
        for other in printed.findings
        if other.estimate is not None
        and (other.outcome, other.quantity) == (finding.outcome, finding.quantity)
    ]
    told = sorted({unit for unit in same if unit is not None})
    if len(told) > 1:
        return Consistency(check, IMPOSSIBLE, f"counted in {' and in '.join(told)}")
    if finding.unit is None:
        return Consistency(check, UNTOLD, "no unit is printed")
    return Consistency(check, CONSISTENT, f"counted in {finding.unit}")


def _within_scale(printed: Printed, finding: Finding) -> Consistency | None:
    width = printed.width(finding.outcome)
    if width is None or finding.quantity != "arm_contrast" or finding.is_ratio:
        return None
    least = min(map(abs, _range(finding, "estimate")))
    told = f"a difference of {figures(abs(float(finding.estimate or 0.0)))}"
    arithmetic = f"{told} on a scale that is {figures(width)} wide"
    verdict = IMPOSSIBLE if least > width else CONSISTENT
    return Consistency("difference within the scale", verdict, arithmetic)
