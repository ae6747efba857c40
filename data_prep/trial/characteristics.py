"""Patients of each arm before treatment, and who of them is left out: counts, means and SDs.

A run keeps them beside its draws, for the first table of a paper and its flow diagram: of everybody
in the file, whom the run itself does not hold, or of those analysed where only cross-products were
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments
from alliance.data_prep.covariates import Covariate, CovariateColumn, covariates_of
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import BASELINE, exclusions

CHARACTERISTICS = "characteristics"  # entry of a run's manifest
EVERYBODY, ANALYSED = "everybody", "analysed"  # of whom they are
MODERATOR, COVARIATE = "moderator", "covariate"  # kinds, beside `BASELINE_SCORE`
BASELINE_SCORE = "baseline"
FEWEST = 2  # the mean of one patient is that patient's value
COLUMNS = ("kind", "name", "level", "arm", "patients", "known", "mean", "sd")

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Row = dict[str, Any]


def trial_characteristics(data: xr.Dataset, study: Study) -> dict[str, Any]:
    """Describe everybody in a file whose arm is known.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    study : Study

    Returns
    -------
    dict
        Plain values for a run's manifest: ``who``; ``therapists`` by arm; ``rows``, records of the
        columns `COLUMNS`, an arm each, of a category one for each level (``mean`` is its share
        among the ``known``); ``flow``, records of an outcome and an arm with its exclusions.
        Missing numbers are None.
    """
    arm, arms = data["arm_index"].to_numpy(), [str(code) for code in data["arm"].values]
    baselines = {
        name: data[f"{name}{BASELINE}"].to_numpy()
        for name in baseline_outcomes(study)
        if f"{name}{BASELINE}" in data
    }
    return {
        "who": EVERYBODY,
        "therapists": _therapists(arm, data["therapist_index"].to_numpy(), arms),
        "rows": described(arm, arms, _measured(data, study, baselines), covariates_of(data), data),
        "flow": [row for outcome in study.outcomes for row in _flow(data, outcome, arm, arms)],
    }


def patients_characteristics(patients: Mapping[str, xr.Dataset], study: Study) -> dict[str, Any]:
    """Describe analysed patients, where nothing is known of the others.

    Parameters
    ----------
    patients : mapping of str to xarray.Dataset
        By outcome. Moderator and covariates are told of the outcome with most patients, baselines
        of each outcome's own.
    study : Study

    Returns
    -------
    dict
        As from `trial_characteristics`; its ``flow`` counts those analysed only.
    """
    most = max(patients, key=lambda name: patients[name].sizes["patient"])
    data = patients[most]
    arm, arms = data["arm_index"].to_numpy(), [str(code) for code in data["arm"].values]
    rows = described(arm, arms, _measured(data, study, {}), covariates_of(data), data)
    for name in baseline_outcomes(study):
        own = patients.get(name)
        if own is not None and "baseline" in own:
            values = {(BASELINE_SCORE, name): own["baseline"].to_numpy()}
            rows += described(own["arm_index"].to_numpy(), arms, values, (), own)
    return {
        "who": ANALYSED,
        "therapists": _therapists(arm, data["therapist_index"].to_numpy(), arms),
        "rows": rows,
        "flow": [
            {"outcome": name, "arm": code, "analysed": int(count)}
            for name, own in patients.items()
            for code, count in zip(
                arms, _counts(own["arm_index"].to_numpy(), len(arms)), strict=True
            )
        ],
    }


def moments_characteristics(
    moments: Mapping[str, CellMoments], covariates: Sequence[Covariate], study: Study
) -> dict[str, Any]:
    """Describe analysed patients of whom only cross-products were read.

    Parameters
    ----------
    moments : mapping of str to CellMoments
        By outcome; see `patients_characteristics`.
    covariates : sequence of Covariate
    study : Study

    Returns
    -------
    dict
        As from `patients_characteristics`.
    """
    arms = list(study.arms)
    most = max(moments, key=lambda name: moments[name].n)
    cells = moments[most]
    rows = []
    if study.moderator is not None:
        rows += _of_cells(cells, MODERATOR, (MODERATOR, ""), arms)
    for covariate in covariates:
        if covariate.levels is None:
            (column,) = covariate.columns
            rows += _of_cells(cells, column, (COVARIATE, covariate.name), arms)
            continue
        levels = [
            _of_cells(cells, column, (COVARIATE, covariate.name), arms)
            for column in covariate.columns
        ]
        rows += _with_reference(covariate, levels)
    for name in baseline_outcomes(study):
        if BASELINE_SCORE in moments[name].columns:
            rows += _of_cells(moments[name], BASELINE_SCORE, (BASELINE_SCORE, name), arms)
    return {
        "who": ANALYSED,
        "therapists": {
            code: len({cells.therapists[j] for j in cells.therapist_index[own]} - {""})
            for k, code in enumerate(arms)
            for own in [cells.arm_index == k]
        },
        "rows": rows,
        "flow": [
            {"outcome": name, "arm": code, "analysed": int(own.count[own.arm_index == k].sum())}
            for name, own in moments.items()
            for k, code in enumerate(arms)
        ],
    }


def characteristics_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """The rows as a table: columns `COLUMNS`, missing numbers as NaN."""
    table = pd.DataFrame(found["rows"], columns=list(COLUMNS))
    return table.astype({"mean": float, "sd": float})


def standardised_difference(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """How far two arms differ in one characteristic, in SDs, whatever their numbers of patients.

    Of a number the difference of means over the root of the mean of both variances (Austin 2009,
    doi:10.1002/sim.3697); of a category the same over all of its levels, the distance of their
    shares in the metric of the mean of both covariances (Yang & Dalton, SAS Global Forum 2012,
    paper 335-2012).

    Parameters
    ----------
    first, second : pandas.DataFrame
        The rows of the characteristic in each arm, of `characteristics_table`.

    Returns
    -------
    float
        Never below zero; NaN where an arm does not tell it, infinite where neither arm varies and
        both differ.
    """
    if len(first) == 1:
        apart = float(first["mean"].iloc[0] - second["mean"].iloc[0])
        spread = float(np.sqrt((first["sd"].iloc[0] ** 2 + second["sd"].iloc[0] ** 2) / 2))
        if np.isnan(apart) or np.isnan(spread):
            return np.nan
        return abs(apart) / spread if spread > 0 else (np.inf if apart else 0.0)
    shares = [rows["mean"].to_numpy()[1:] for rows in (first, second)]
    if np.isnan(shares).any():
        return np.nan
    apart_by_level = shares[0] - shares[1]
    covariance = sum(np.diag(own) - np.outer(own, own) for own in shares) / 2
    solved = np.linalg.pinv(covariance, hermitian=True) @ apart_by_level
    if not np.allclose(covariance @ solved, apart_by_level, atol=1e-9):
        return np.inf
    return float(np.sqrt(max(apart_by_level @ solved, 0.0)))


def baseline_outcomes(study: Study) -> list[str]:
    """Outcomes that name a baseline, one for each column of baselines."""
    found: dict[str, str] = {}
    for name, outcome in study.outcomes.items():
        if outcome.baseline is not None:
            found.setdefault(outcome.baseline, name)
    return list(found.values())


def described(
    arm: Index,
    arms: Sequence[str],
    numbers: Mapping[tuple[str, str], Array],
    covariates: Sequence[Covariate],
    data: xr.Dataset,
) -> list[Row]:
    """Means and SDs of numbers, shares of levels, by arm.

    Parameters
    ----------
    arm : ndarray of int, shape (patients,)
        Position of each patient's arm; -1 where it is not known.
    arms : sequence of str
    numbers : mapping of (kind, name) to ndarray, shape (patients,)
    covariates : sequence of Covariate
    data : xarray.Dataset
        With their columns in the variable ``covariates``.
    """
    rows = [row for key, values in numbers.items() for row in _numbers(key, values, arm, arms)]
    start = 0
    for covariate in covariates:
        size = len(covariate.columns)
        columns = data["covariates"].to_numpy()[:, start : start + size]
        start += size
        if covariate.levels is None and (pair := _two_values(columns[:, 0])) is not None:
            covariate, columns = Covariate(covariate.name, pair[0]), pair[1]
        if covariate.levels is None:
            rows += _numbers((COVARIATE, covariate.name), columns[:, 0], arm, arms)
        else:
            rows += _levels(covariate, columns, arm, arms)
    return rows


def _two_values(values: Array) -> tuple[tuple[str, str], Array] | None:
    """A number that has two values is told as a category: its levels, and who has the second."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    if low == high or not np.isin(values[known], (low, high)).all():
        return None
    return (f"{low:g}", f"{high:g}"), np.where(known, values == high, np.nan)[:, None]


def _measured(
    data: xr.Dataset, study: Study, baselines: Mapping[str, Array]
) -> dict[tuple[str, str], Array]:
    found = {} if study.moderator is None else {(MODERATOR, ""): data["moderator"].to_numpy()}
    return found | {(BASELINE_SCORE, name): values for name, values in baselines.items()}


def _counts(arm: Index, arms: int) -> Index:
    return np.asarray(np.bincount(arm[arm >= 0], minlength=arms), dtype=np.int64)


def _therapists(arm: Index, therapist: Index, arms: Sequence[str]) -> dict[str, int]:
    return {
        code: len(np.unique(therapist[(arm == k) & (therapist >= 0)]))
        for k, code in enumerate(arms)
    }


def _numbers(key: tuple[str, str], values: Array, arm: Index, arms: Sequence[str]) -> Iterator[Row]:
    for k, code in enumerate(arms):
        own = values[arm == k]
        known = own[np.isfinite(own)]
        enough = len(known) >= FEWEST
        mean, sd = (known.mean(), known.std(ddof=1)) if enough else (None, None)
        yield _row(key, "", code, len(own), len(known), mean, sd)


def _levels(covariate: Covariate, columns: Array, arm: Index, arms: Sequence[str]) -> Iterator[Row]:
    """The levels' shares; one that nobody of the file has is not there."""
    levels = covariate.levels or ()
    others = columns.sum(axis=1)  # NaN where missing
    for number, level in enumerate(levels):
        indicator = columns[:, number - 1] if number else 1 - others
        for k, code in enumerate(arms):
            own = indicator[arm == k]
            known = own[np.isfinite(own)]
            share = known.mean() if len(known) else None
            yield _row((COVARIATE, covariate.name), level, code, len(own), len(known), share, None)


def _row(
    key: tuple[str, str],
    level: str,
    arm: str,
    patients: int,
    known: int,
    mean: float | None,
    sd: float | None,
) -> Row:
    told = [None if value is None else float(value) for value in (mean, sd)]
    return dict(zip(COLUMNS, (*key, level, arm, patients, known, *told), strict=True))


def _flow(data: xr.Dataset, outcome: str, arm: Index, arms: Sequence[str]) -> Iterator[Row]:
    left = arm >= 0
    counts = {}
    for reason, lacking in exclusions(data, outcome).items():
        if reason != "without_arm":
            counts[reason] = _counts(arm[left & lacking], len(arms))
            left &= ~lacking
    counts["analysed"] = _counts(arm[left], len(arms))
    for k, code in enumerate(arms):
        yield {"outcome": outcome, "arm": code} | {
            reason: int(own[k]) for reason, own in counts.items()
        }


def _of_cells(
    cells: CellMoments, column: str | CovariateColumn, key: tuple[str, str], arms: Sequence[str]
) -> list[Row]:
    """Means and SDs of a column, from sums and products of each therapist and arm."""
    place = cells.columns.index(column)
    level = column.level or "" if isinstance(column, CovariateColumn) else ""
    rows = []
    for k, code in enumerate(arms):
        own = cells.arm_index == k
        n = int(cells.count[own].sum())
        total = float(cells.sums[own, place].sum())
        square = float(cells.products[own, place, place].sum())
        mean = float(cells.centre[place]) + total / n if n else None
        sd = float(np.sqrt(max(square - total**2 / n, 0.0) / (n - 1))) if n >= FEWEST else None
        told = mean if level or n >= FEWEST else None
        rows.append(_row(key, level, code, n, n, told, None if level else sd))
    return rows


def _with_reference(covariate: Covariate, levels: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of a category's levels, with those of the reference before them."""
    first = (covariate.levels or ("",))[0]
    reference = []
    for k, row in enumerate(levels[0]):
        shares = [own[k]["mean"] for own in levels]
        share = None if None in shares else 1 - sum(shares)
        reference.append(row | {"level": first, "mean": share})
    return [*reference, *(row for own in levels for row in own)]
