"""Codes that are spelled apart and may be one: capitals, blanks, zeros, ways of storing letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from alliance.data_prep.tables.cells import natural_key

NAMED_GROUPS = 5

_BLANK = re.compile(r"[\s\u200b-\u200d\ufeff]+")
_DASH = re.compile("[\u2010-\u2015\u2212]")
_LEADING_ZEROS = re.compile(r"(?<![\d.,])0+(?=\d)")


def folded(code: str) -> str:
    r"""Return what is left of a code without capitals, blanks, leading zeros and kinds of dashes.

    Letters are taken in one of the ways in which Unicode stores them (NFKC).

    Examples
    --------
    >>> folded("T 01") == folded("t1"), folded("T10") == folded("T1")
    (True, False)
    >>> folded("Jose\u0301") == folded("Jos\u00e9")
    True
    """
    if not code.isascii():
        code = _DASH.sub("-", unicodedata.normalize("NFKC", code))
    if not code.isalnum():
        code = _BLANK.sub("", code)
    if "0" in code:
        code = _LEADING_ZEROS.sub("", code)
    return code.lower()


def spelled_apart(codes: Iterable[str]) -> list[list[str]]:
    """Group codes that differ in spelling only.

    Parameters
    ----------
    codes : iterable of str
        Each once.

    Returns
    -------
    list of list of str
        Groups of two or more, in natural order.
    """
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(folded(code), []).append(code)
    several = [sorted(group, key=natural_key) for group in groups.values() if len(group) > 1]
    return sorted(several, key=lambda group: natural_key(group[0]))


def spelling_note(what: str, codes: Iterable[str]) -> list[str]:
    """Say that codes may be one though they are spelled apart.

    Parameters
    ----------
    what : str
        Whose codes they are, such as ``therapists``.
    codes : iterable of str

    Returns
    -------
    list of str
        One note, or none.
    """
    groups = spelled_apart(codes)
    if not groups:
        return []
    listed = "; ".join(" and ".join(_quoted(group)) for group in groups[:NAMED_GROUPS])
    more = len(groups) - NAMED_GROUPS
    listed += f"; and {more} more" if more > 0 else ""
    return [
        f"Counted apart, though they may be the same {what}, spelled apart: {listed}. If they are, "
        "write them alike in the data."
    ]


def _quoted(group: Sequence[str]) -> list[str]:
    """Codes in quotes; those that look alike with the letters that make them differ."""
    plain = [unicodedata.normalize("NFC", code) for code in group]
    return [
        repr(code) if plain.count(seen) == 1 else f"{code!r} ({_stored(code)})"
        for code, seen in zip(group, plain, strict=True)
    ]


def _stored(code: str) -> str:
    marks = sum(bool(unicodedata.combining(letter)) for letter in code)
    if not marks:
        return "accents within letters"
    return f"{marks} accent{'s' if marks > 1 else ''} stored beside letters"
