"""TOML in and out for study files: parsing with the place of a fault, and readable writing.

What pydantic finds wrong with a study file, said in the words of the file.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.rules import SHORT_KEYS, Fault, dotted

# The place that tomllib puts at the end of its messages.
TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

# An array as tomli-w writes it, an entry a line. No other line begins with blanks, because line
# breaks inside texts are written as escapes.
WRITTEN_ARRAY = re.compile(r"= \[\n((?:    .*,\n)+)\]$", re.MULTILINE)

# Arrays shorter than this are written on one line.
LINE_LENGTH = 100


def parse_toml(
    content: bytes, name: str, *, number: Callable[[str], float] = float
) -> dict[str, Any]:
    """Values of a TOML file.

    Parameters
    ----------
    content : bytes
        The file's content.
    name : str
        The file's name, for messages.
    number : callable
        What becomes of a number with a decimal point, from its text.

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
        return tomllib.loads(text, parse_float=number)
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


# What must stand at a place, by pydantic's name for the fault found there.
EXPECTED = {
    "string_type": "text in quotes",
    "untrimmed": "text, not blank and without blanks at its ends",
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "range_order": "a lowest value followed by a higher one",
    "range_size": "two values between 1e-100 and 1e100 apart, in units that people use",
    "missing": "two numbers, lowest and highest",
    "too_long": "two numbers, lowest and highest",
    "greater_than": "a number above {gt:g}",
    "less_than_equal": "a number up to {le:g}",
    "missing_code": "a number, or text that is not blank",
    "literal_error": "{expected}",
}

# A value is quoted in a message up to this many characters.
QUOTED_LENGTH = 60


def translated_faults(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """Faults that pydantic found, in our words.

    Parameters
    ----------
    error : pydantic.ValidationError
        Raised by ``model.model_validate``.
    model : type
        The model of the whole file; its fields' descriptions and examples enter the messages.

    Returns
    -------
    list of Fault
        One for each place, except for what lies between keys, which `study_rules` finds itself.
    """
    faults: dict[str, Fault] = {}
    for found in error.errors(include_url=False):
        if found["type"] == "between_keys":
            continue
        keys = [part for part in found["loc"] if isinstance(part, str)]
        entries = [part for part in found["loc"] if isinstance(part, int)]
        if found["type"] == "extra_forbidden":
            fault = _unknown_key(keys, model)
        elif found["type"] == "missing" and not entries:
            fault = _missing_key(keys, model)
        else:
            fault = _wrong_value(keys, entries, found, model)
        faults.setdefault(fault.place, fault)
    return list(faults.values())


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Sentence that offers the nearest of the valid names, followed by a blank, or nothing."""
    sentence = nearest(name, valid)
    return f"{sentence} " if sentence.startswith("Did you mean") else ""


@dataclass(frozen=True, slots=True)
class _Place:
    """What governs one place of the file.

    Attributes
    ----------
    field : FieldInfo
        The field that the place is, or that it is part of.
    table : type or None
        The model of the table that stands there.
    named : type or None
        What stands under each name of the user's own, as in ``[outcomes.NAME]``.
    """

    field: FieldInfo
    table: type[BaseModel] | None
    named: Any


def _look_up(keys: Sequence[str], model: type[BaseModel]) -> _Place:
    place = _Place(FieldInfo(), model, None)
    for key in keys:
        if place.table is None:
            place = _Place(place.field, _as_model(place.named), None)
            continue
        field = place.table.model_fields[key]
        named = get_args(field.annotation)[-1] if get_origin(field.annotation) is dict else None
        place = _Place(field, _as_model(field.annotation), named)
    return place


def _as_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, UnionType):  # a table that may be left out
        annotation = get_args(annotation)[0]
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _unknown_key(keys: list[str], model: type[BaseModel]) -> Fault:
    known = list((_look_up(keys[:-1], model).table or model).model_fields)
    if not keys[:-1]:
        known += SHORT_KEYS
    where = f"Keys of [{dotted(keys[:-1])}]" if keys[:-1] else "Keys at the top level"
    hint = _misplaced(keys, model) or did_you_mean(keys[-1], known)
    remedy = f"{hint}{where}: {', '.join(repr(key) for key in known)}."
    return Fault(dotted(keys), "there is no such key.", remedy)


def _missing_key(keys: list[str], model: type[BaseModel]) -> Fault:
    remedy = f"Add {_wanted(keys, model)}."
    return Fault(dotted(keys), "this key is missing.", remedy)


def _wrong_value(
    keys: list[str], entries: list[int], found: ErrorDetails, model: type[BaseModel]
) -> Fault:
    kind, value = found["type"], found["input"]
    field = _look_up(keys, model).field
    place = dotted(keys)
    if entries and kind != "missing":
        place += f", entry {entries[0] + 1}"
    if kind == "too_short":
        problem = f"has {len(value)} of at least {found['ctx']['min_length']} entries."
        return Fault(place, problem, f"Write {_wanted(keys, model)}.")
    expected = EXPECTED[kind].format(**found.get("ctx", {}))
    shown = "a list of another length" if kind in ("missing", "too_long") else _shown(value)
    remedy = _misplaced(keys, model) or f"Write {_wanted(keys, model)}."
    if kind == "literal_error":
        remedy = did_you_mean(str(value), get_args(field.annotation)) + remedy
    elif kind == "string_type" and isinstance(value, dict):
        remedy = f"A key that has a dot in it must stand in quotes. {remedy}"
    return Fault(place, f"is {shown}, not {expected}.", remedy.strip())


def _misplaced(keys: list[str], model: type[BaseModel]) -> str:
    """Sentence for a top-level key that TOML gave to the table above it, or nothing."""
    if len(keys) < 2 or keys[-1] not in (*model.model_fields, *SHORT_KEYS):
        return ""
    return f"If the study's own {keys[-1]!r} is meant, put it before the first table. "


def _wanted(keys: list[str], model: type[BaseModel]) -> str:
    """Return what should stand at a place: a line of TOML, or a table and its keys."""
    place = _look_up(keys, model)
    table = place.table or _as_model(place.named)
    if table is not None:
        name = dotted(keys) if place.table else f"{dotted(keys)}.NAME"
        needed = [key for key, field in table.model_fields.items() if field.is_required()]
        listed = ", ".join(repr(key) for key in needed) or "its keys"
        return f"the table [{name}] with {listed} ({place.field.description})"
    if place.named is not None:
        return f"the table [{dotted(keys)}] with {place.field.description}"
    line = toml_text({keys[-1]: (place.field.examples or [""])[0]}).strip()
    where = f" under [{dotted(keys[:-1])}]" if keys[:-1] else " before the first table"
    return f"{line}{where} ({place.field.description})"


def _shown(value: object) -> str:
    """Value as the file has it, cut if it is long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, datetime.date | datetime.time) else repr(value)
    return text if len(text) <= QUOTED_LENGTH else f"{text[: QUOTED_LENGTH - 1]}…"
