"""Patients from a table: columns named as in the study file, every fault told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.errors import DataError, InputError, Problem, nearest
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.tables.cells import (
    canonical_code,
    number_fault,
    parse_codes,
    parse_numbers,
    without_declared,
)
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.tables.roles import study_columns
from alliance.data_prep.trial.items import score_items
from alliance.data_prep.trial.validation import unknown_header
from alliance.inference.estimands.compared_at import mean_alliance
from alliance.inference.patients.asked_patients import (
    AskedPatients,
    patient_grid,
    trial_patients,
    with_alliance,
)
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.ranges import beyond, other_ranges
from alliance.models.design.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MISSING = ("a prediction needs a value in every cell", "Fill the cell, or leave the patient out.")


def patients_asked_about(
    posterior: Posterior,
    *,
    alliance: Sequence[float] | None = None,
    baseline: Sequence[float] | None = None,
    covariate: Mapping[str, Sequence[float | str]] | None = None,
    patients: AnyPath | pd.DataFrame | None = None,
    average_over: str | None = None,
    extrapolate: bool = False,
) -> AskedPatients:
    """Patients of the trial, of a table, or of a grid of values.

    Parameters
    ----------
    posterior : Posterior
    alliance, baseline : sequence of float, optional
    covariate : mapping of str to sequence, optional
        As of `inference.patients.asked_patients.patient_grid`.
    patients : str, path-like or pandas.DataFrame, optional
        A table; `alliance` may replace what it brings.
    average_over : {"trial", "rows"}, optional
        With ``trial`` the trial's patients.
    extrapolate : bool

    Raises
    ------
    InputError
        If patients are described twice, or as the functions that describe them.
    """
    of_trial, named = average_over == "trial", alliance is not None
    given = [*(["baseline"] if baseline else []), *(["covariate"] if covariate else [])]
    given += ["patients"] if of_trial and patients is not None else []
    if given and (of_trial or patients is not None):
        source = 'average_over="trial"' if of_trial else "patients"
        raise InputError(
            f"`{given[0]}` does not go with `{source}`: these patients bring their own.",
            "Leave one of the two out; `alliance` alone may replace what they bring.",
        )
    if of_trial:
        return trial_patients(posterior, alliance=alliance, extrapolate=extrapolate)
    if patients is None:
        return patient_grid(
            posterior,
            alliance=alliance,
            baseline=baseline,
            covariates=covariate,
            extrapolate=extrapolate,
        )
    asked = patients_from_file(posterior, patients, alliance_named=named, extrapolate=extrapolate)
    if alliance is None:
        return asked
    return with_alliance(posterior, asked, alliance, extrapolate=extrapolate)


def patients_from_file(
    posterior: Posterior,
    path: AnyPath | pd.DataFrame,
    *,
    alliance_named: bool = False,
    extrapolate: bool = False,
) -> AskedPatients:
    """Patients in a file of any format of `data_prep.tables.readers.read_table`.

    Parameters
    ----------
    posterior : Posterior
    path : str, path-like or pandas.DataFrame
        A data frame as `patients_from_frame` takes it.
    alliance_named, extrapolate : bool
        As in `patients_from_frame`.

    Returns
    -------
    AskedPatients

    Raises
    ------
    InputError
        If the file cannot be read, or as `patients_from_frame`.
    """
    if isinstance(path, pd.DataFrame):
        frame, source = path, "data frame"
    else:
        table = read_table(as_path(path))
        table.require(study_columns(posterior.study))
        frame, source = table.frame, table.path.name
    return patients_from_frame(
        posterior,
        frame,
        source=source,
        alliance_named=alliance_named,
        extrapolate=extrapolate,
    )


def patients_from_frame(
    posterior: Posterior,
    frame: pd.DataFrame,
    *,
    source: str = "data frame",
    alliance_named: bool = False,
    extrapolate: bool = False,
) -> AskedPatients:
    """Patients in a data frame whose columns are named as in the study file.

    Parameters
    ----------
    posterior : Posterior
    frame : pandas.DataFrame, shape (patients, columns)
        The columns of the alliance (its items, where it is scored from them), of the outcome's
        baseline, if it has one, and of the covariates are needed; those of arm, therapist and
        patient serve if they are there.
    source : str
        What messages call the data.
    alliance_named : bool
        Whether the alliance is named elsewhere: then its column is not looked for, and the mean
        of the analysed patients stands in its place.
    extrapolate : bool
        Allow an alliance, a baseline or a covariate outside the range observed among the analysed
        patients.

    Returns
    -------
    AskedPatients
        Named by their ids, or by the rows that a spreadsheet shows. Therapists are ids as they
        stand, whether of the trial or not.

    Raises
    ------
    InputError
        If the run has no such outcome.
    DataError
        With every column that is missing; if none is, with every cell that is missing, wrong or
        outside its scale.
    """
    named = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    if not pd.api.types.is_integer_dtype(named.index.dtype):
        named = named.reset_index(drop=True)
    named = without_declared(named, posterior.study)
    reader = _Reader(posterior, named, source)
    reader.require_columns(alliance_named)
    design = posterior.design
    own_arm = posterior.study.columns.arm in named
    arm_index = reader.arms() if own_arm else np.zeros(len(named), dtype=np.int64)
    moderator = np.full(len(named), mean_alliance(posterior))
    outside = np.zeros(len(named), dtype=bool)
    if design.has_moderator and not alliance_named:
        can_have = np.isin(arm_index, design.encoding.moderated) | (not own_arm)
        moderator = reader.moderator(can_have)
        observed = posterior.observed_alliance
        outside = beyond(moderator, observed)
        if not extrapolate:
            reader.not_observed(reader.moderator_column, outside, observed)
    baseline = reader.baseline() if design.has_baseline else None
    covariates = [np.empty((len(named), 0))]
    covariates += [reader.covariate(design, name) for name in posterior.study.covariates]
    rows = Rows(arm_index, moderator, baseline, np.column_stack(covariates))
    column = posterior.outcome.baseline
    for name, place, seen in other_ranges(design.encoding, column):
        values = rows.covariates[:, place] if place is not None else rows.baseline
        if values is not None:
            unseen = beyond(values, seen)
            outside |= unseen
            if not extrapolate:
                reader.not_observed(name, unseen, seen)
    therapists = reader.therapists(arm_index if own_arm else None)
    reader.finish()
    return AskedPatients(
        outcome=posterior.name,
        names=reader.names(),
        rows=rows,
        own_arm=own_arm,
        therapists=therapists,
        extrapolated=outside,
        alliance_named=False,
    )


@dataclass
class _Reader:
    """One pass over a table; collects the problems that its cells bring up."""

    posterior: Posterior
    frame: pd.DataFrame
    source: str
    problems: list[Problem] = field(default_factory=list)

    def require_columns(self, alliance_named: bool) -> None:
        study = self.posterior.study
        asked = study.moderator is not None and not alliance_named
        needed = self._moderator_columns() if asked else []
        baseline = self.posterior.outcome.baseline
        needed += [] if baseline is None else [baseline]
        needed += study.covariates
        known = list(self.frame.columns)
        self.problems += unknown_header(study_columns(study), known, self.source)
        self.finish()
        for column in dict.fromkeys(needed):
            if known.count(column) != 1:
                rule = "the column is not in the file"
                if column in known:
                    rule = "more than one column bears this name"
                remedy = f"{nearest(column, known)} Columns needed: {', '.join(needed)}."
                self.problems.append(Problem(self.source, None, column, None, rule, remedy))
        self.finish()

    def finish(self) -> None:
        if self.problems:
            raise DataError(self.problems)

    def names(self) -> tuple[str, ...]:
        column = self.posterior.study.columns.patient
        rows = [str(row) for row in self.frame.index]
        if column is None or column not in self.frame:
            return tuple(rows)
        codes = parse_codes(self.frame[column])
        return tuple(row if code is None else code for code, row in zip(codes, rows, strict=True))

    def arms(self) -> NDArray[np.int64]:
        column, arms = self.posterior.study.columns.arm, list(self.posterior.study.arms)
        spelling = {canonical_code(code): k for k, code in enumerate(arms)}
        codes = parse_codes(self.frame[column])
        self._missing(column, np.array([code is None for code in codes]))
        found = np.array([spelling.get(code, -1) for code in codes], dtype=np.int64)
        wrong = (found < 0) & np.array([code is not None for code in codes])
        self._wrong(
            column,
            wrong,
            lambda cell: (
                "this arm is not in the run",
                nearest(canonical_code(cell), arms),
            ),
        )
        return np.maximum(found, 0)

    def therapists(self, arm_index: Index | None) -> tuple[str, ...] | None:
        """Their therapists; `NOBODY` in arms without, and where arms are not told and some lack
        them.
        """
        column, nesting = self.posterior.study.columns.therapist, self.posterior.design.nesting
        if column is None or column not in self.frame:
            return None
        codes = parse_codes(self.frame[column])
        absent = np.array([code is None for code in codes], dtype=bool)
        if arm_index is not None:
            self._missing(column, absent & nesting.has_therapist(arm_index))
        elif not nesting.without:
            self._missing(column, absent)
        return tuple(NOBODY if code is None else str(code) for code in codes)

    def moderator(self, can_have: NDArray[np.bool_]) -> Array:
        settings = self.posterior.study.measure
        columns = self._moderator_columns()
        if not settings.items or settings.item_range is None or columns == [settings.name]:
            return self._numbers(columns[0], settings.range, needed=can_have)
        items = pd.DataFrame(
            {
                item: self._numbers(item, settings.item_range, needed=np.bool(False))
                for item in settings.items
            },
            index=self.frame.index,
        )
        if self.problems:  # answers off their scale cannot be scored
            return np.full(len(items), np.nan)
        total = score_items(
            items,
            reverse=settings.reverse,
            item_range=settings.item_range,
            max_missing=settings.max_missing,
        ).to_numpy(dtype=float)
        self._missing(settings.items[0], np.isnan(total) & can_have)
        return total

    def baseline(self) -> Array:
        described = self.posterior.outcome
        return self._numbers(str(described.baseline), described.range)

    def covariate(self, design: Design, name: str) -> Array:
        encoding = design.encoding
        levels = encoding.levels(name)
        if levels is None:
            return self._numbers(name, (-np.inf, np.inf))[:, None]
        codes = np.array(
            [
                None if code is None else encoding.level(name, code)
                for code in parse_codes(self.frame[name])
            ],
            dtype=object,
        )
        missing = np.array([code is None for code in codes])
        self._missing(name, missing)
        wrong = np.array([code is not None and code not in levels for code in codes])

        def fault(cell: object) -> tuple[str, str]:
            error = encoding.no_level(name, canonical_code(cell))
            return error.problem.removesuffix("."), error.remedy

        self._wrong(name, wrong, fault)
        found = np.zeros((len(codes), len(encoding.own_columns(name))))
        known = ~(missing | wrong)
        found[known] = encoding.encoded(name, codes[known].tolist())
        return found

    def not_observed(
        self, column: str, outside: NDArray[np.bool_], observed: tuple[float, float]
    ) -> None:
        low, high = observed
        fault = (
            f"lies outside what was observed among the analysed patients, {low:g} to {high:g}",
            "Leave the patient out, or add `extrapolate=True` to have such patients marked.",
        )
        told = {problem.row for problem in self.problems if problem.column == column}
        new = np.array([int(row) not in told for row in self.frame.index])
        self._wrong(column, outside & new, lambda _: fault)

    @property
    def moderator_column(self) -> str:
        """The first column that the alliance is read from."""
        return self._moderator_columns()[0]

    def _moderator_columns(self) -> list[str]:
        settings = self.posterior.study.measure
        if settings.column is not None:
            return [settings.column]
        if settings.name in self.frame and not set(settings.items) <= set(self.frame.columns):
            return [settings.name]  # the total itself
        return list(settings.items)

    def _numbers(
        self,
        column: str,
        limits: tuple[float, float],
        *,
        needed: NDArray[np.bool_] | np.bool = np.True_,
    ) -> Array:
        values, wrong = parse_numbers(self.frame[column])
        self._wrong(column, wrong, number_fault)
        self._missing(column, np.isnan(values) & ~wrong & needed)
        low, high = limits
        off = (values < low) | (values > high)
        fault = (f"must be from {low:g} to {high:g}", "Correct the value.")
        self._wrong(column, off, lambda _: fault)
        return values

    def _missing(self, column: str, where: NDArray[np.bool_]) -> None:
        self._wrong(column, where, lambda _: MISSING)

    def _wrong(
        self,
        column: str,
        where: NDArray[np.bool_],
        fault: Callable[[object], tuple[str, str]],
    ) -> None:
        for position in np.flatnonzero(where).tolist():
            cell = self.frame[column].iloc[position]
            row = int(self.frame.index[position])
            value = None if pd.isna(cell) else str(cell)
            self.problems.append(Problem(self.source, row, column, value, *fault(cell)))
