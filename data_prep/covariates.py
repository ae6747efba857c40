"""Covariates: continuous or categorical, and the columns of numbers that they become."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_prep.cells import NOT_A_NUMBER, natural_key, number_fault

CONTINUOUS_SHARE = 0.5  # from this share of numbers on, other cells are faults and not categories
MOST_LEVELS = 20  # a category with more levels is taken for an identifier or free text


def is_continuous(cells: pd.Series, values: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether a covariate is continuous: at least half of its cells are numbers.

    Numbers in a wrong spelling ("12,5") count as numbers: they are faults, not categories.

    Parameters
    ----------
    cells : pandas.Series, shape (patients,)
        Cells as in the file.
    values, wrong : numpy.ndarray, shape (patients,)
        What `data_prep.cells.parse_numbers` made of them.
    """
    numbers, text_only = numbers_and_texts(cells, values, wrong)
    return numbers >= CONTINUOUS_SHARE * (numbers + text_only)


def numbers_and_texts(cells: pd.Series, values: np.ndarray, wrong: np.ndarray) -> tuple[int, int]:
    """Count the cells that are numbers, in a wrong spelling or not, and those that are no numbers.

    Parameters
    ----------
    cells, values, wrong
        As of `is_continuous`.
    """
    numbers = int(np.isfinite(values).sum())
    others = cells.iloc[np.flatnonzero(wrong)]
    text_only = 0
    for cell, count in others.map(str).value_counts().items():
        if number_fault(cell)[0] == NOT_A_NUMBER:
            text_only += count
    return numbers + len(others) - text_only, text_only


def column_faults(values: np.ndarray) -> list[tuple[str, str]]:
    """Rules that a covariate breaks as a whole, each with its remedy.

    Parameters
    ----------
    values : numpy.ndarray, shape (patients,)
        Floats with NaN, or str with None, where missing.
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
    return []


def covariate_columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of numbers that a covariate becomes.

    Parameters
    ----------
    name : str
        Name of the covariate.
    values : numpy.ndarray, shape (patients,)
        Floats of a continuous covariate, or levels (str, None where missing) of a categorical.

    Returns
    -------
    dict of str to numpy.ndarray of float, shape (patients,)
        A continuous covariate under its own name; a categorical one as an indicator for each
        level but the first in natural order, the reference: ``sex[M]`` is 1 for M, 0 for F, NaN
        where missing.
    """
    if values.dtype != object:
        return {name: values}
    cells = pd.Series(values, dtype=object)
    levels = sorted(cells.dropna().unique(), key=natural_key)
    missing = cells.isna().to_numpy()
    return {
        f"{name}[{level}]": np.where(missing, np.nan, (cells == level).to_numpy(dtype=float))
        for level in levels[1:]
    }
