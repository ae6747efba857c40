"""Covariates: continuous or categorical, and the columns of numbers that they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from alliance.data_prep.errors import nearest
from alliance.data_prep.levels import quoted, told_apart
from alliance.data_prep.study.parts import CovariateKind
from alliance.data_prep.tables.cells import (
    LABELLED,
    NOT_A_NUMBER,
    natural_key,
    number_fault,
    parse_codes,
)

CONTINUOUS_SHARE = 0.5  # from this share of numbers on, other cells are faults and not categories
MOST_LEVELS = 20  # a category with more levels is taken for an identifier or free text
FEW_VALUES = (3, MOST_LEVELS)  # so many whole numbers may be codes; two have one slope anyway
PATIENTS_PER_CODE = 2  # on average at least, or they are measurements of few patients
LISTED_VALUES = 10  # that a note lists
# Names of columns whose numbers are codes, however many there are; whole words of the name.
CODE_NAMES = frozenset(
    [
        "id",
        "code",
        "site",
        "centre",
        "center",
        "clinic",
        "hospital",
        "practice",
        "ward",
        "school",
        "class",
        "region",
        "country",
        "area",
        "group",
        "category",
        "type",
        "diagnosis",
        "ethnicity",
        "race",
        "religion",
        "occupation",
        "language",
    ]
)
_WORDS = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+")


def found_kind(
    cells: pd.Series, values: np.ndarray, wrong: np.ndarray, attributes: Mapping[Any, Any]
) -> CovariateKind:
    """What a covariate is, by its cells and by what its file says of them.

    It is categorical if the file labels each of its values, or calls it nominal; otherwise
    continuous if at least half of its cells are numbers. Numbers in a wrong spelling ("12,5")
    count as numbers: they are faults, not categories.

    Parameters
    ----------
    cells : pandas.Series, shape (patients,)
        Cells as in the file.
    values, wrong : numpy.ndarray, shape (patients,)
        What `data_prep.tables.cells.parse_numbers` made of them.
    attributes : mapping
        Of the table, with `LABELLED`.
    """
    if isinstance(cells.dtype, pd.CategoricalDtype) or labels_of(cells, attributes) is not None:
        return "categorical"
    numbers, text_only = numbers_and_texts(cells, values, wrong)
    return "continuous" if numbers >= CONTINUOUS_SHARE * (numbers + text_only) else "categorical"


def numbers_and_texts(cells: pd.Series, values: np.ndarray, wrong: np.ndarray) -> tuple[int, int]:
    """Count the cells that are numbers, in a wrong spelling or not, and those that are no numbers.

    Parameters
    ----------
    cells, values, wrong
        As of `found_kind`.
    """
    numbers = int(np.isfinite(values).sum())
    others = cells.iloc[np.flatnonzero(wrong)]
    text_only = 0
    for cell, count in others.map(str).value_counts().items():
        if number_fault(cell)[0] == NOT_A_NUMBER:
            text_only += count
    return numbers + len(others) - text_only, text_only


def labels_of(cells: pd.Series, attributes: Mapping[Any, Any]) -> dict[str, str] | None:
    """Labels by code where they, or the file's own word, make a category of a column.

    None where the file does not name every code that occurs (labels may stand for missing values
    or for the ends of a scale alone), and where there are more values than a category may have.
    """
    labels = attributes.get(LABELLED, {}).get(cells.name)
    if labels is None:
        return None
    codes = {code for code in parse_codes(cells) if code is not None}
    if len(codes) > MOST_LEVELS or (labels and not codes <= set(labels)):
        return None
    return dict(labels)


def kind_notes(
    raw: pd.DataFrame, covariates: Mapping[str, np.ndarray], declared: Collection[str]
) -> list[str]:
    """Say what was made of covariates of codes, where the study does not say it.

    Parameters
    ----------
    raw : pandas.DataFrame
        The table as read.
    covariates : mapping of str to numpy.ndarray
        Typed values by covariate: floats, or levels.
    declared : collection of str
        Covariates whose kind the study tells.

    Returns
    -------
    list of str
    """
    notes = []
    for name, values in covariates.items():
        if name in declared:
            continue
        if values.dtype == object:
            labels = labels_of(raw[name], raw.attrs)
            if labels is not None:
                levels = coded(name, values).levels or ()
                told = ", ".join(f"{each} = {labels[each]}" for each in levels if each in labels)
                why = "the file labels its values" if labels else "the file calls it nominal"
                notes.append(
                    f"{name} is taken as a category of {len(levels)} levels"
                    f"{f' ({told})' if told else ''}, because {why}. If it is a number, name it "
                    f"in {_declaring(name, 'continuous')}."
                )
            continue
        distinct = np.unique(values[np.isfinite(values)])
        if FEW_VALUES[0] <= len(distinct) <= FEW_VALUES[1] and (distinct == distinct.round()).all():
            told = ", ".join(f"{value:g}" for value in distinct[:LISTED_VALUES])
            if len(distinct) > LISTED_VALUES:
                told += f", ... {distinct[-1]:g}"
            notes.append(
                f"{name} has {len(distinct)} different values ({told}) and is taken as a number, "
                f"with one slope. If they are codes, name it in {_declaring(name, 'categorical')}; "
                f"if it is a number, in {_declaring(name, 'continuous')}. The line stands above "
                "the first table of the study file."
            )
    return notes


def name_notes(name: str, declared: Collection[str]) -> list[str]:
    """Ask about a covariate of many numbers whose name is that of codes.

    Parameters
    ----------
    name : str
    declared : collection of str
        Covariates whose kind the study tells.

    Returns
    -------
    list of str
        One note, or none.

    Examples
    --------
    >>> len(name_notes("practice_id", [])), len(name_notes("siteNo", [])), name_notes("grid", [])
    (1, 1, [])
    """
    words = {word.lower() for word in _WORDS.findall(name)}
    if name in declared or not words & CODE_NAMES:
        return []
    return [
        f"{name} is taken as a number, with one slope, though by its name it holds codes. If it "
        f"does, leave it out of `covariates`, or name it in {_declaring(name, 'categorical')}, "
        f"which takes {MOST_LEVELS} levels at most; if it is a number, name it in "
        f"{_declaring(name, 'continuous')}."
    ]


def _declaring(name: str, kind: CovariateKind) -> str:
    return f"`{kind} = [{quoted(name)}]`"


def reference_level(
    wanted: str | None, levels: Collection[str], labels: Mapping[str, str]
) -> str | None:
    """Level that a study calls the reference, by its code or by the label that a file gives it.

    Parameters
    ----------
    wanted : str or None
    levels : collection of str
    labels : mapping of str to str
        By code.

    Returns
    -------
    str or None
        None if nothing is wanted, or no level is so called.

    Examples
    --------
    >>> reference_level("female", ["1", "2"], {"1": "male", "2": "female"})
    '2'
    """
    if wanted is None:
        return None
    named = [level for level in levels if labels.get(level, "").strip() == wanted]
    return wanted if wanted in levels else named[0] if len(named) == 1 else None


def level_labels(
    covariates: Sequence[Covariate], labels: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Labels of the levels of categories, where a file has them.

    Parameters
    ----------
    covariates : sequence of Covariate
    labels : mapping of str to mapping of str to str
        By column, of codes.
    """
    found = {
        each.name: {
            level: labels[each.name][level]
            for level in each.levels or ()
            if level in labels.get(each.name, {})
        }
        for each in covariates
    }
    return {name: own for name, own in found.items() if own}


def ordered_levels(levels: Collection[str], reference: str | None) -> tuple[str, ...]:
    """Levels in natural order, each once, the reference before the others."""
    return tuple(sorted(set(levels), key=lambda level: (level != reference, natural_key(level))))


def column_faults(
    values: np.ndarray,
    reference: str | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> list[tuple[str, str]]:
    """Rules that a covariate breaks as a whole, each with its remedy.

    Parameters
    ----------
    values : numpy.ndarray, shape (patients,)
        Floats with NaN, or str with None, where missing.
    reference : str, optional
        Level of reference that the study names.
    labels : mapping of str to str, optional
        Of levels, as the file has them.
    """
    levels = pd.unique(pd.Series(values).dropna())
    drop = "Remove it from `covariates` in the study file, or name another column."
    if len(levels) == 0:
        return [("the covariate has no value", drop)]
    if len(levels) == 1:
        return [(f"the covariate has the same value ({levels[0]}) in every row", drop)]
    if values.dtype == object and len(levels) > MOST_LEVELS:
        rule = (
            f"the covariate is text with {len(levels)} different values, more than {MOST_LEVELS}: "
            "it looks like an identifier"
        )
        return [(rule, drop)]
    if reference is not None and reference_level(reference, set(levels), labels) is None:
        rule = f"no row has {reference!r}, which `reference` in the study file names"
        shown = sorted(levels, key=natural_key)
        return [(rule, nearest(reference, [*shown, *(labels[e] for e in shown if e in labels)]))]
    return []


class CovariateColumn(NamedTuple):
    """What one column of numbers stands for.

    Attributes
    ----------
    covariate : str
        As in the study file.
    level : str or None
        The level whose patients have a 1, the others a 0; None for a covariate of numbers.
    """

    covariate: str
    level: str | None = None


@dataclass(frozen=True, slots=True)
class Covariate:
    """A covariate: numbers, or a category with its levels.

    Attributes
    ----------
    name : str
    levels : tuple of str or None
        The reference (empty if an older run does not tell which it is), and the others in natural
        order. None for numbers.
    """

    name: str
    levels: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[CovariateColumn, ...]:
        """Its columns of numbers: itself, or an indicator for each level but the reference."""
        if self.levels is None:
            return (CovariateColumn(self.name),)
        return tuple(CovariateColumn(self.name, level) for level in self.levels[1:])

    def encoded(self, values: np.ndarray) -> np.ndarray:
        """Columns of numbers of some patients.

        Parameters
        ----------
        values : numpy.ndarray, shape (patients,)
            Floats, or levels (str, None where missing).

        Returns
        -------
        numpy.ndarray of float, shape (patients, columns)
            NaN where missing.
        """
        if self.levels is None:
            return np.asarray(values, dtype=float)[:, None]
        place = pd.Index(self.levels).get_indexer(pd.Index(values, dtype=object))
        indicators = place[:, None] == np.arange(1, len(self.levels))
        return np.where(place[:, None] < 0, np.nan, indicators.astype(float))


def coded(name: str, values: np.ndarray, reference: str | None = None) -> Covariate:
    """The covariate that these values make.

    Parameters
    ----------
    name : str
    values : numpy.ndarray, shape (patients,)
        Floats of a continuous covariate, or levels (str, None where missing) of a categorical.
    reference : str, optional
        Level of reference; the first in natural order by default.
    """
    if values.dtype != object:
        return Covariate(name)
    levels = pd.Series(values, dtype=object).dropna().unique()
    return Covariate(name, ordered_levels(levels, reference))


def column_names(columns: Sequence[CovariateColumn]) -> tuple[str, ...]:
    """Name of each column in tables: ``age``, and ``sex[M]`` for the level M of sex.

    Parameters
    ----------
    columns : sequence of CovariateColumn
        All of a study, each once; those that would look alike are told apart by quotes.

    Examples
    --------
    >>> print(*column_names([CovariateColumn("age"), CovariateColumn("sex", "M")]))
    age sex[M]
    >>> print(*column_names([CovariateColumn("sex[M]"), CovariateColumn("sex", "M")]))
    "sex[M]" "sex"["M"]
    """

    def named(column: CovariateColumn, spell: Callable[[str], str]) -> str:
        level = "" if column.level is None else f"[{spell(column.level)}]"
        return f"{spell(column.covariate)}{level}"

    names = told_apart(
        {column: named(column, str) for column in columns},
        {column: named(column, quoted) for column in columns},
    )
    return tuple(names[column] for column in columns)


# Coordinates of a trial's data along `covariate` that say what a column stands for.
COVARIATE, LEVEL, REFERENCE = "covariate_of", "covariate_level", "covariate_reference"


def column_coordinates(covariates: Sequence[Covariate]) -> dict[str, Any]:
    """Coordinates of a trial's data along ``covariate``: names, and what they are made of.

    Parameters
    ----------
    covariates : sequence of Covariate

    Returns
    -------
    dict
        ``covariate``, the names of `column_names`; ``covariate_of``, the covariate;
        ``covariate_level`` and ``covariate_reference``, the level and that of reference, empty for
        numbers.
    """
    columns = [column for covariate in covariates for column in covariate.columns]
    first = {each.name: each.levels[0] for each in covariates if each.levels is not None}

    def along(texts: Sequence[str]) -> tuple[str, np.ndarray]:
        return "covariate", np.array(texts, dtype=str)

    return {
        "covariate": np.array(column_names(columns), dtype=str),
        COVARIATE: along([column.covariate for column in columns]),
        LEVEL: along([column.level or "" for column in columns]),
        REFERENCE: along([first.get(column.covariate, "") for column in columns]),
    }


def covariates_of(data: xr.Dataset) -> tuple[Covariate, ...]:
    """The covariates of a trial's data.

    Parameters
    ----------
    data : xarray.Dataset
        With the coordinates of `column_coordinates`; without them every column is numbers.

    Returns
    -------
    tuple of Covariate
        In the order of the columns. A level of reference that the data do not tell is empty.
    """
    names = [str(name) for name in data["covariate"].values]
    if COVARIATE not in data.coords:
        return tuple(Covariate(name) for name in names)
    told = [[str(value) for value in data[key].values] for key in (COVARIATE, LEVEL, REFERENCE)]
    found: dict[str, Covariate] = {}
    for name, own, first in zip(*told, strict=True):
        before = found[name].levels if name in found else (first,)
        found[name] = Covariate(name, (*(before or ()), own) if own else None)
    return tuple(found.values())


def seen_levels(
    covariates: Sequence[Covariate], patients: Sequence[float], total: float
) -> tuple[dict[str, str], frozenset[int]]:
    """Levels of reference, and columns that are zero for everybody.

    The reference is the first level that patients have. Zero are the columns of levels without
    patients, and that of the reference where the first level of the trial has none: the others
    would add up to one.

    Parameters
    ----------
    covariates : sequence of Covariate
    patients : sequence of float
        Patients with a 1 in each column; of numbers anything.
    total : float
        All of them.
    """
    references: dict[str, str] = {}
    absent: set[int] = set()
    start = 0
    for covariate in covariates:
        if covariate.levels is None:
            start += 1
            continue
        counts = [round(count) for count in patients[start : start + len(covariate.levels) - 1]]
        counts.insert(0, round(total) - sum(counts))
        first = next((k for k, count in enumerate(counts) if count), 0)
        references[covariate.name] = covariate.levels[first]
        empty = {k for k, count in enumerate(counts) if not count or k == first}
        absent |= {start + k - 1 for k in empty if k}
        start += len(covariate.levels) - 1
    return references, frozenset(absent)


def with_columns_told(data: xr.Dataset, covariates: Sequence[str]) -> xr.Dataset:
    """Patients of a run of before its columns were described, with what their names say.

    Parameters
    ----------
    data : xarray.Dataset
    covariates : sequence of str
        The study's.

    Returns
    -------
    xarray.Dataset
        As `column_coordinates` describes columns; the levels of reference, which the run does not
        hold, are empty.
    """
    if COVARIATE in data.coords:
        return data
    names = [str(name) for name in data["covariate"].values]
    of, levels = [], []
    for name in names:
        stems = [each for each in covariates if name.startswith(f"{each}[") and name[-1] == "]"]
        own = name if name in covariates else max(stems, key=len, default=name)
        of.append(own)
        levels.append("" if own == name else name[len(own) + 1 : -1])
    told = {COVARIATE: of, LEVEL: levels, REFERENCE: [""] * len(names)}
    return data.assign_coords(
        {key: ("covariate", np.array(values, dtype=str)) for key, values in told.items()}
    )
