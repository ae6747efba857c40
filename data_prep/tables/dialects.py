"""How a text file is written: its letters in bytes, and the decimal marks of its numbers."""

from __future__ import annotations

import csv
import re

import pandas as pd

# Letters of Western European languages beyond ASCII, which Latin-1 and Windows-1252 store alike.
LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüÿ")
# Signs that stand beside letters and numbers: of units, money, ordinals and quotations.
SIGNS = frozenset("°²³µ·¹º½¼¾×±§£¥¢©®¡¿«»ª\u00a0")
# What Windows-1252 has where Latin-1 has nothing, as programs of an office write it.
TYPOGRAPHIC = frozenset("€‚„…‘’“”•–—™Œœ")

_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_LETTER = r"[^\W\d_ªºµ]"
# Signs beside a letter are letters of another encoding (£ód¼ is Łódź in Latin-2).
_BESIDE_LETTERS = re.compile(rf"{_LETTER}[£¥¢§±¹½¼¾×©®¿¡€™•ªº]|[£¥¢§±¹½¼¾×©®¿¡€™•ªº]{_LETTER}")
_WITHIN_WORDS = re.compile(rf"{_LETTER}[²³°‚„…“”«»]{_LETTER}|{_LETTER}[²³°]|[²³]{_LETTER}")
_UNITS = re.compile(r"\b[cdkm]?m[²³]")  # of areas and volumes
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?")
_LIKE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def western_text(body: bytes) -> str | None:
    """Text of bytes that can be nothing but Latin-1 or Windows-1252.

    Parameters
    ----------
    body : bytes
        Not UTF-8.

    Returns
    -------
    str or None
        None where it is in doubt: a byte that Windows-1252 does not have, or for which it has a
        letter or a sign that Western European languages do not use; words that are made of such
        letters, as those of other alphabets are; signs within words; letters in UTF-8 beside it,
        or one that is cut at the end.
    """
    last = re.search(rb"[\x80-\xff](?=[\x00-\x7f]*\Z)", body)
    if _UTF8.search(body) or (last is not None and last.end() > len(body) - 3):
        return None
    try:
        text = body.decode("cp1252")
    except UnicodeDecodeError:
        return None
    beyond = {letter for letter in text if not letter.isascii()}
    if beyond - LETTERS - SIGNS - TYPOGRAPHIC:
        return None
    for word in _WORD.findall(text):
        foreign = sum(not letter.isascii() for letter in word)
        # "été" and "Übergröße" have fewer; words of Cyrillic or Greek letters have nothing else.
        if foreign > 2 and foreign > len(word) / 2:
            return None
    doubtful = _BESIDE_LETTERS.search(text) or _WITHIN_WORDS.search(_UNITS.sub("", text))
    return None if doubtful else text


def has_semicolons(text: str, delimiter: str) -> bool:
    r"""Whether cells are separated by semicolons, and not by what is expected.

    Parameters
    ----------
    text : str
        Begins with the first line of a table.
    delimiter : str
        What is expected.

    Returns
    -------
    bool
        True if the first line has more cells by semicolons, and the second as many.

    Examples
    --------
    >>> has_semicolons("a;b\n1,5;2\n", ","), has_semicolons("Trial; 2024\na,b\n", ",")
    (True, False)
    """
    lines = [line for line in re.split(r"\r\n?|\n", text, maxsplit=50) if line.strip()][:2]

    def cells(line: str, mark: str) -> int:
        return len(next(csv.reader([line], delimiter=mark), []))

    if not lines or cells(lines[0], ";") <= cells(lines[0], delimiter):
        return False
    return all(cells(line, ";") == cells(lines[0], ";") for line in lines[1:])


def with_decimal_points(cells: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Numbers with decimal commas as those with decimal points, where they can be nothing else.

    Of a file whose cells are separated by semicolons, as programs write it where numbers have
    decimal commas. A column is changed if all its cells are numbers, some of them with a comma.
    Nothing is changed where numbers have decimal points as well, or where every comma may stand
    between thousands (1,234).

    Parameters
    ----------
    cells : pandas.DataFrame
        Text, or missing.

    Returns
    -------
    cells : pandas.DataFrame
    changed : bool
        Whether there were such numbers.
    """
    texts = [cells.iloc[:, place].dropna().str.strip() for place in range(cells.shape[1])]
    texts = [column[~column.isin(["", "NA"])] for column in texts]
    with_comma = [
        bool(column.str.contains(",").any() and column.str.fullmatch(_NUMBER).all())
        for column in texts
    ]
    commas = [column for column, own in zip(texts, with_comma, strict=True) if own]
    with_point = any(column.str.fullmatch(r"[+-]?\d*\.\d+").any() for column in texts)
    values = pd.concat(commas) if commas else pd.Series(dtype="str")
    values = values[values.str.contains(",")]
    if not len(values) or with_point or values.str.fullmatch(_LIKE_THOUSANDS).all():
        return cells, False
    changed = cells.copy()
    for place, own in enumerate(with_comma):
        if own:
            points = cells.iloc[:, place].str.replace(",", ".", regex=False)
            changed.isetitem(place, points.array)
    return changed, True
