"""Covariates of patients asked about: numbers and levels as the design's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.models.design.design import Design

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


def covariate_values(design: Design, name: str, values: Sequence[float | str] | None) -> Array:
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
    ndarray, shape (values, columns of this covariate)

    Raises
    ------
    InputError
        If there are no values, or one is not a number, or not a level.
    """
    if values is None:
        centres = design.scaling.covariates
        return np.array([[centres[k][0] for k in design.encoding.own_columns(name)]])
    if not len(values):
        raise empty_grid(name)
    return design.encoding.encoded(name, values)
