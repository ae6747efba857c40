"""How many digits of a number are shown: those that its interval leaves something to say of.

Every table, report and figure asks here, whatever the unit: scores of a billionth and of a million
show as many digits as scores of ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

DEFAULT = 2  # decimals where nothing is known of the spread
FIGURES = 3  # of a number without a spread
MOST_DECIMALS = 6  # beyond these a small number is written with an exponent
SMALL, LARGE = 1e-3, 1e9  # absolute values between these are never written with one


def decimals(spread: float, value: float = math.nan) -> int:
    """Decimals that show two digits of a spread.

    Parameters
    ----------
    spread : float
        A standard deviation, or a quarter of an interval.
    value : float
        Without a spread three digits of this are shown.

    Returns
    -------
    int
        Negative where digits before the point are no longer certain, too.

    Examples
    --------
    >>> decimals(1.2), decimals(0.012), decimals(12_000), decimals(0.0, 0.5), decimals(0.0)
    (1, 3, -3, 3, 2)
    """
    if math.isfinite(spread) and spread > 0:
        return 1 - _exponent(spread)
    if math.isfinite(value) and value != 0:
        return max(0, FIGURES - 1 - _exponent(value))
    return DEFAULT


def interval_decimals(lower: float, upper: float, value: float = math.nan) -> int:
    """Decimals for the limits of an interval, a quarter of which is taken for its spread.

    Examples
    --------
    >>> interval_decimals(-0.1, 0.3), interval_decimals(1e-9, 5e-9)
    (2, 10)
    """
    return decimals((upper - lower) / 4, value)


def shared_decimals(spreads: Iterable[float]) -> int:
    """Decimals for numbers that stand below one another: those of the widest spread.

    One digit of the narrowest is always shown.

    Examples
    --------
    >>> shared_decimals([0.7, 1.2]), shared_decimals([0.012, 12.0])
    (1, 2)
    """
    found = [decimals(spread) for spread in spreads if math.isfinite(spread) and spread > 0]
    return max(min(found), max(found) - 1) if found else DEFAULT


def number(value: float, decimals: int) -> str:
    """A number with so many decimals; empty where it is missing, and never a negative zero.

    Examples
    --------
    >>> number(-0.04, 1), number(1234.5, -2), number(-1.234e-9, 10), number(4e-13, 10)
    ('0.0', '1234', '-1.2e-9', '0')
    >>> number(0.123456789, 8), number(3.21e12, -10)
    ('0.12345679', '3.21e12')
    >>> number(math.inf, 2)
    'infinite'
    """
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    size = abs(value)
    small = decimals > MOST_DECIMALS and size < SMALL
    if not (small or size >= LARGE):
        return f"{value:z.{max(0, decimals)}f}"
    if size < 0.5 * 10.0**-decimals:
        return "0"
    mantissa, _, exponent = f"{value:.{max(0, _exponent(value) + decimals)}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def figures(value: float, digits: int = FIGURES) -> str:
    """A number to so many significant digits, and all digits before the point.

    Examples
    --------
    >>> figures(0.012345), figures(-1234.5), figures(0.5), figures(2e-9, 2), figures(0)
    ('0.0123', '-1234', '0.5', '2e-9', '0')
    """
    if value == 0 or not math.isfinite(value):
        return number(value, 0)
    return _bare(number(value, digits - 1 - _exponent(value)))


def short(value: float) -> str:
    """A number with two decimals at most, or three digits where it is small.

    Examples
    --------
    >>> short(30.0), short(12.345), short(0.0123456), short(2.5e-9)
    ('30', '12.35', '0.0123', '2.5e-9')
    """
    return _bare(number(value, max(DEFAULT, decimals(0.0, value))))


def _bare(text: str) -> str:
    """The number without zeros at the end of its decimals."""
    mantissa, letter, exponent = text.partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + letter + exponent


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
