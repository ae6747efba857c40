"""Covariates of patients asked about: numbers and levels as the design's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.cells import natural_key
from data_prep.errors import InputError, nearest
from models.design import Design

Array = NDArray[np.float64]


def empty_grid(name: str) -> InputError:
    """The error for a list without values."""
    return InputError(
        f"No values are named for {name}: the grid is empty.", "Name one value at least."
    )


def require_covariates(covariates: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse names that are no covariates of the study.

    Parameters
    ----------
    covariates : sequence of str
        The study's.
    given : mapping
        By name.

    Raises
    ------
    InputError
        With the names there are.
    """
    for name in given:
        if name not in covariates:
            remedy = nearest(name, covariates) if covariates else "The study names no covariates."
            raise InputError(f"The run has no covariate {name!r}.", remedy)


def covariate_values(
    design: Design, name: str, values: Sequence[float | str] | None
) -> list[Array]:
    """What a covariate's values are in the design's columns.

    Parameters
    ----------
    design : Design
    name : str
        As in the study file.
    values : sequence of float or str, optional
        Numbers or levels; None stands for the analysed patients' mean, for levels their shares.

    Returns
    -------
    list of ndarray, shape (columns of this covariate,)
        One for each value.

    Raises
    ------
    InputError
        If there are no values, or one is not a number, or not a level.
    """
    columns = [
        k
        for k, column in enumerate(design.covariates)
        if column == name or column.startswith(f"{name}[")
    ]
    if values is None:
        return [np.array([design.scaling.covariates[k][0] for k in columns])]
    if not len(values):
        raise empty_grid(name)
    if [design.covariates[k] for k in columns] == [name]:
        return [np.array([_number(name, value)]) for value in values]
    levels = [design.covariates[k][len(name) + 1 : -1] for k in columns]
    reference = reference_level(name, levels, [str(value) for value in values])
    known = {level: np.eye(len(levels))[k] for k, level in enumerate(levels)}
    if reference is not None:
        known[reference] = np.zeros(len(levels))
    return [known[str(value)] for value in values]


def reference_level(name: str, levels: Sequence[str], values: Sequence[str]) -> str | None:
    """The level of a categorical covariate that the others are held against, if it is named.

    A run knows the other levels by name; the reference was the first of all in natural order. One
    level that is not known by name, and would come first, is therefore the reference.

    Parameters
    ----------
    name : str
        The covariate.
    levels : sequence of str
        All levels but the reference, in natural order.
    values : sequence of str
        Levels that are asked for.

    Raises
    ------
    InputError
        If a value cannot be the reference, or there are two that could.
    """
    others = list(dict.fromkeys(value for value in values if value not in levels))
    wrong = [value for value in others if natural_key(value) > natural_key(levels[0])]
    if wrong or len(others) > 1:
        bad = wrong[0] if wrong else others[1]
        listed = ", ".join(repr(level) for level in levels)
        raise InputError(
            f"The covariate {name} has no level {bad!r}.",
            f"Valid levels: {listed}, and the reference level, which comes before them in order.",
        )
    return others[0] if others else None


def _number(name: str, value: float | str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(
            f"The covariate {name} is continuous, and {value!r} is not a number.",
            "Give numbers for it.",
        )
    return number
