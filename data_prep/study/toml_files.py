"""TOML in and out for study files: parsing with the place of a fault, and readable writing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from alliance.data_prep.errors import InputError

# The place that tomllib puts at the end of its messages.
TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

# An array as tomli-w writes it, an entry a line. No other line begins with blanks, because line
# breaks inside texts are written as escapes.
WRITTEN_ARRAY = re.compile(r"= \[\n((?:    .*,\n)+)\]$", re.MULTILINE)

# Arrays shorter than this are written on one line.
LINE_LENGTH = 100


def parse_toml(content: bytes, name: str) -> dict[str, Any]:
    """Values of a TOML file.

    Parameters
    ----------
    content : bytes
        The file's content.
    name : str
        The file's name, for messages.

    Returns
    -------
    dict
        Tables and values as TOML has them.

    Raises
    ------
    InputError
        The content is not UTF-8, or not TOML; line and column are named.
    """
    try:
        # Windows editors put a byte-order mark before UTF-8, which TOML does not know.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"{name}, line {line}: byte 0x{content[error.start]:02X} is not UTF-8."
        raise InputError(problem, "Save the file as UTF-8.") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = TOML_PLACE.search(str(error))
        lines = text.rstrip().split("\n")
        if found and found[1]:
            line, column = int(found[1]), int(found[2])
        else:
            line, column = len(lines), len(lines[-1]) + 1
        what = TOML_PLACE.sub("", str(error))
        problem = f"{name}, line {line}, column {column}: not valid TOML ({what})."
        shown = f"The line reads: {lines[line - 1].strip()}" if line <= len(lines) else ""
        raise InputError(problem, f"Correct it; text stands in quotes. {shown}".strip()) from error
    except (ValueError, RecursionError) as error:
        # Endless digits and endless nesting, which tomllib lets through to Python's own limits.
        problem = f"{name}: a number or a nesting of lists is too long to read ({error})."
        raise InputError(problem, "Shorten it.") from error


def toml_text(content: Mapping[str, Any]) -> str:
    """TOML of plain values, with short arrays on one line.

    Parameters
    ----------
    content : Mapping
        Tables, lists, texts, numbers and booleans.

    Returns
    -------
    str
        Text that reads back to equal values; keys that are no tables come first, as TOML needs.
    """
    return WRITTEN_ARRAY.sub(_joined, tomli_w.dumps(content))


def _joined(array: re.Match[str]) -> str:
    entries = array[1].removesuffix("\n").split("\n")  # splitlines would split texts as well
    line = "= [" + ", ".join(entry.strip().removesuffix(",") for entry in entries)
    return f"{line}]" if len(line) < LINE_LENGTH else array[0]
