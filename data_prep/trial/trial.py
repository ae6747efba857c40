"""A trial as the models see it: validated, labelled, counted, and without patient identifiers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

import numpy as np
import pandas as pd
import xarray as xr

from alliance.data_prep.covariates import (
    coded,
    column_coordinates,
    covariates_of,
    level_labels,
    reference_level,
)
from alliance.data_prep.errors import DataError, InputError, Problem, nearest, visible
from alliance.data_prep.files import AnyPath, as_path, first_of
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.study.parts import ModelSettings
from alliance.data_prep.tables.cells import (
    LABELLED,
    natural_key,
    spelled_apart,
    typed_columns,
)
from alliance.data_prep.tables.readers import read_table
from alliance.data_prep.tables.roles import (
    ARM,
    CLINIC,
    MODERATOR,
    PATIENT,
    THERAPIST,
    baseline_column,
    covariate_column,
    exposure_column,
    followup_column,
    item_column,
    table_columns,
)
from alliance.data_prep.trial.clinics import clinic_notes, clinic_problems
from alliance.data_prep.trial.estimability import (
    TherapistsInArms,
    outcome_problems,
    patients_of_therapists,
    therapist_problems,
    therapists_in_arms,
    trial_problems,
    unexpected_therapists,
)
from alliance.data_prep.trial.events import event_notes, separation_notes
from alliance.data_prep.trial.flow import (
    analysed_patients,
    ceiling_notes,
    complete_patients,
    deciding_settings,
    flow_counts,
    level_notes,
    missing_notes,
    rated_patients,
    read_only,
    unseen_counts,
)
from alliance.data_prep.trial.items import ROUNDING, score_items
from alliance.data_prep.trial.long_tables import wide_table
from alliance.data_prep.trial.seen import category_notes, code_notes, scoring_notes, seen_in
from alliance.data_prep.trial.validation import validate
from alliance.data_prep.trial.visit_problems import visit_problems


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial's data, checked against its study.

    Attributes
    ----------
    study : Study
    data : xarray.Dataset
        Dims patient (positions, no identifiers), arm, therapist, covariate. Variables
        ``arm_index`` and ``therapist_index`` (patient; int, -1 where missing), ``moderator``
        (patient), ``covariates`` (patient, covariate) and for each outcome ``NAME_followup`` and,
        if it has one, ``NAME_baseline`` (patient); floats with NaN where missing, on the scales
        of the file. Coordinates arm (codes in display order), therapist (ids in natural order)
        and those of `data_prep.covariates.column_coordinates`. Where something varies between
        clinics ``clinic_index`` (patient), and the coordinate clinic (ids in natural order).
        Attribute ``missing_alliance``: the
        study's setting. The arrays are read-only.
    flow : pandas.DataFrame
        One row for each outcome: outcome, rows_read, without_arm, without_therapist,
        (without_clinic,) without_alliance, without_covariate, without_baseline, without_followup,
        analysed, alliance_imputed. A patient is counted under the first of these that is missing.
        Where the moderator is imputed nobody is without_alliance, and alliance_imputed says how
        many of those analysed lack it.
    therapists_in_arms : {"crossed", "partly crossed", "nested", "none"}
        Whether every therapist treated patients in every arm that has therapists, some did, or each
        in one arm only; none where no therapist is recorded.
    notes : tuple of str
        What the user should know though it is no error.
    source : str
        Name of the file.
    sha256 : str
        Hash of the file's bytes; of the values that the study uses, for a data frame.
    labels : dict of str to dict of str to str
        By categorical covariate, the labels of its levels in a Stata or SPSS file.
    """

    study: Study
    data: xr.Dataset
    flow: pd.DataFrame
    therapists_in_arms: TherapistsInArms
    notes: tuple[str, ...]
    source: str
    sha256: str
    labels: dict[str, dict[str, str]] = field(default_factory=dict)

    def analysed(self, outcome: str) -> xr.Dataset:
        """Patients who enter the analysis of one outcome.

        Parameters
        ----------
        outcome : str
            Name of an outcome of the study.

        Returns
        -------
        xarray.Dataset
            Dims patient (those analysed), arm, therapist, covariate; variables ``outcome``,
            ``baseline`` (only if the outcome has one), ``moderator`` (NaN where it is to be
            imputed), ``arm_index``, ``therapist_index``, ``covariates``. The coordinates arm,
            therapist and covariate are the same for every outcome. Attribute ``outcome``: its name.

        Raises
        ------
        InputError
            If the study has no such outcome.
        """
        self._require(outcome)
        return analysed_patients(self.data, outcome)

    def positions(self, outcome: str) -> np.ndarray:
        """Positions in the file, from 0, of the patients that `analysed` gives.

        Raises
        ------
        InputError
            If the study has no such outcome.
        """
        self._require(outcome)
        return np.flatnonzero(complete_patients(self.data, outcome))

    def therapist_patients(self, outcome: str) -> tuple[np.ndarray, np.ndarray]:
        """Count the analysed patients of each therapist in each arm.

        Parameters
        ----------
        outcome : str

        Returns
        -------
        analysed, rated : numpy.ndarray of int, shape (therapists, arms)
            The second of those whose moderator is known.
        """
        rows = self.analysed(outcome)
        return patients_of_therapists(rows), patients_of_therapists(rated_patients(rows))

    def unseen(self, outcome: str) -> pd.DataFrame:
        """Count the patients who would be analysed if their follow-up were known.

        What a shift for the unseen in each arm needs (delta adjustment, the sensitivity of an
        analysis to outcomes that are not missing at random): the shift counts for the share
        unseen / eligible of the arm.

        Parameters
        ----------
        outcome : str
            Name of an outcome of the study.

        Returns
        -------
        pandas.DataFrame
            One row for each arm in display order: arm (its code), eligible (patients who lack
            nothing, or the follow-up alone), unseen (those of them who lack it).

        Raises
        ------
        InputError
            If the study has no such outcome.
        """
        self._require(outcome)
        return unseen_counts(self.data, outcome)

    def _require(self, outcome: str) -> None:
        if outcome not in self.study.outcomes:
            raise InputError(
                f"The study has no outcome {outcome!r}.", nearest(outcome, self.study.outcomes)
            )


def load_trial(study: Study, path: AnyPath | pd.DataFrame) -> Trial:
    """Read a trial's file and check it against its study.

    Parameters
    ----------
    study : Study
    path : str, path-like or pandas.DataFrame
        A table in one of the formats of `data_prep.tables.readers.read_table`, or a data frame as
        `trial_from_frame` takes it.

    Returns
    -------
    Trial

    Raises
    ------
    InputError
        If the file cannot be read.
    DataError
        If cells or columns are wrong, or the data cannot answer the study's question.
    """
    if isinstance(path, pd.DataFrame):
        return trial_from_frame(study, path)
    table = read_table(as_path(path))
    table.require(table_columns(study))
    return _build(study, table.frame, visible(table.path.name), table.sha256, table.notes)


def trial_from_frame(study: Study, frame: pd.DataFrame, source: str = "data frame") -> Trial:
    """Check a data frame against a study.

    Parameters
    ----------
    study : Study
    frame : pandas.DataFrame, shape (patients, columns)
        Text or native types. If its index holds distinct whole numbers, messages name rows by
        them, otherwise by position from 0.
    source : str
        What messages call the data.

    Returns
    -------
    Trial

    Raises
    ------
    DataError
        If cells or columns are wrong, or the data cannot answer the study's question.
    """
    return _build(study, frame, source, None, ())


class HasTherapists(Protocol):
    """A trial with its patients, or a registry without them."""

    @property
    def study(self) -> Study:
        """What the data mean."""

    @property
    def source(self) -> str:
        """What was read."""

    def therapist_patients(self, outcome: str) -> tuple[np.ndarray, np.ndarray]:
        """Count analysed patients, and those with a moderator, as (therapists, arms)."""


def check_estimable(trial: HasTherapists, therapist: str) -> None:
    """Refuse settings about therapists that the trial's data cannot tell anything about.

    Parameters
    ----------
    trial : Trial or alliance.data_prep.registry.registry.Registry
    therapist : {"none", "intercept", "intercept+slope"}
        The setting in force, from the study file or the command line.

    Raises
    ------
    InputError
        If the setting is none of these.
    DataError
        If therapist effects, or slopes within and between therapists, are asked for, and an
        outcome has patients of one therapist only, or no therapist with two patients; if arm
        effects are to vary between therapists, and no therapist has patients in two arms.
    """
    settings = get_args(ModelSettings.model_fields["therapist"].annotation)
    if therapist not in settings:
        raise InputError(
            f"The therapist setting {therapist!r} does not exist.", nearest(therapist, settings)
        )
    if trial.study.columns.therapist is None:  # there are no therapist effects then
        return
    problems = [
        problem
        for name in trial.study.outcomes
        for problem in therapist_problems(
            trial.study, trial.source, name, *trial.therapist_patients(name), therapist
        )
    ]
    if problems:
        raise DataError(problems)


def _build(
    study: Study, frame: pd.DataFrame, source: str, sha256: str | None, notes: tuple[str, ...]
) -> Trial:
    if study.visits is not None:
        frame = wide_table(frame, study, source)
    typed = validate(frame, study, source)
    study = _with_arms_alone(study, typed)
    moderator = scored_moderator(typed, study, source)
    labels = frame.attrs.get(LABELLED, {})
    data = _dataset(typed, moderator, study, labels)
    problems = trial_problems(study, source, data)
    problems += unexpected_therapists(study, source, data, typed.index.to_numpy())
    if not problems:
        for name in study.outcomes:
            problems += outcome_problems(study, source, name, data)
            problems += clinic_problems(study, source, name, data)
        problems += visit_problems(study, source, data)
    if problems:
        raise DataError(problems)
    kind, therapist_notes = therapists_in_arms(study, data)
    columns = typed_columns(study, typed, moderator)
    seen = seen_in(study, columns, typed.index.to_numpy(dtype=np.int64), source, labels)
    return Trial(
        study=study,
        data=data,
        flow=pd.DataFrame([flow_counts(data, name) for name in study.outcomes]),
        therapists_in_arms=kind,
        notes=(
            *notes,
            *category_notes(study, seen),
            *event_notes(frame, study),
            *outcome_notes(data, study),
            *missing_notes(data, study),
            *scoring_notes(study, seen, files=False),
            *ceiling_notes(data, study),
            *level_notes(data, study),
            *therapist_notes,
            *clinic_notes(study, data),
            *code_notes(study, seen, files=False),
            *patient_spelling_notes(typed),
            *id_notes(study),
        ),
        source=source,
        sha256=_hash(typed) if sha256 is None else sha256,
        labels=level_labels(covariates_of(data), labels),
    )


def _with_arms_alone(study: Study, typed: pd.DataFrame) -> Study:
    """Without therapist effects, an arm in which nobody has a therapist need not be declared."""
    if study.model.therapist != "none" or THERAPIST not in typed:
        return study
    treated = typed[THERAPIST].notna().groupby(typed[ARM]).any()
    alone = [code for code in study.arms if code in treated.index and not treated[code]]
    named = study.model.without_therapist
    if not treated.any() or set(alone) <= set(named):
        return study
    return narrowed(study, without_therapist=(*named, *alone))


def outcome_notes(data: xr.Dataset, study: Study) -> list[str]:
    """Say where an arm has no event or nothing else, and what the counts are counted over.

    Parameters
    ----------
    data : xarray.Dataset
        Data of a `Trial`.
    study : Study
    """
    notes = []
    for name, outcome in study.outcomes.items():
        rows = analysed_patients(data, name)
        arm, scores = rows["arm_index"].to_numpy(), rows["outcome"].to_numpy()
        notes += separation_notes(study, name, arm, scores)
        if outcome.exposure is not None:
            least, most = rows["exposure"].to_numpy().min(), rows["exposure"].to_numpy().max()
            notes.append(
                f"Outcome {name!r}: rates are for one unit of {outcome.exposure!r}, of which the "
                f"analysed patients have {least:g} to {most:g}; who has none is left out as "
                "without follow-up."
            )
    return notes


def patient_spelling_notes(typed: pd.DataFrame) -> list[str]:
    """Say which rows have patients whose ids differ in spelling only; the ids are not shown.

    Parameters
    ----------
    typed : pandas.DataFrame
        As from `data_prep.trial.validation.validate`.
    """
    groups = spelled_apart(typed[PATIENT].tolist()) if PATIENT in typed else []
    if not groups:
        return []
    row = dict(zip(typed[PATIENT].tolist(), typed.index.tolist(), strict=True))
    pairs = [" and ".join(map(str, sorted(row[code] for code in group))) for group in groups]
    return [patient_spelling_note([f"rows {pair}" for pair in pairs])]


def id_notes(study: Study) -> list[str]:
    """Say so if the study names no column of patients' ids.

    Parameters
    ----------
    study : Study
    """
    if study.columns.patient is not None:
        return []
    return [
        "The study names no column of patients' ids (patient under [columns]): every row counts as "
        "one patient, and whether a patient stands in the file twice cannot be checked."
    ]


def patient_spelling_note(places: Sequence[str]) -> str:
    """Note on patients at these places, whose ids differ in spelling only."""
    return (
        "Counted apart, though they may be the same patient, whose ids differ in capitals, blanks, "
        f"leading zeros or the way letters are stored: {first_of(places)}. If they are, keep one "
        "row for each patient."
    )


def scored_moderator(typed: pd.DataFrame, study: Study, source: str) -> np.ndarray:
    """Moderator of each patient, scored from its items if it has any.

    Parameters
    ----------
    typed : pandas.DataFrame
        As from `data_prep.trial.validation.validate`.
    study : Study
    source : str
        Name of the file.

    Returns
    -------
    numpy.ndarray of float, shape (patients,)
        NaN where missing: for everybody, of a study without a moderator.

    Raises
    ------
    DataError
        If a total lies outside the moderator's range, or a patient has a rating in an arm that has
        none.
    """
    settings = study.moderator
    if settings is None:
        return np.full(len(typed), np.nan)
    if not settings.items or settings.item_range is None:
        _refuse_ratings(typed[MODERATOR], typed[ARM], study, source, str(settings.column))
        return typed[MODERATOR].to_numpy(dtype=float)
    names = {item_column(item): item for item in settings.items}
    items = typed[list(names)].rename(columns=names)
    for item in settings.items:
        _refuse_ratings(items[item], typed[ARM], study, source, item)
    total = score_items(
        items,
        reverse=settings.reverse,
        item_range=settings.item_range,
        max_missing=settings.max_missing,
    )
    low, high = settings.range
    slack = ROUNDING * (high - low)
    outside = total[(total < low - slack) | (total > high + slack)]
    if len(outside):
        ends = [f"{len(names) * end:g}" for end in settings.item_range]
        rule = (
            f"the total of {len(names)} items ({ends[0]} to {ends[1]} is possible) must be from "
            f"{low:g} to {high:g}"
        )
        remedy = "Correct `range` or `items` in [moderator] of the study file."
        first = int(outside.index[0])
        raise DataError(
            [Problem(source, first, settings.name, f"{outside.iloc[0]:g}", rule, remedy)]
        )
    return total.to_numpy()


def _refuse_ratings(
    values: pd.Series, arms: pd.Series, study: Study, source: str, column: str
) -> None:
    """Refuse values of the moderator in arms that have none, naming their rows."""
    there = values.notna() & arms.notna() & ~arms.isin(study.rated_arms)
    if not there.any():
        return
    named = ", ".join(repr(arm) for arm in study.rated_arms)
    raise DataError(
        [
            Problem(
                source,
                int(row),
                column,
                f"{values[row]:g}",
                f"the arm {arms[row]!r} has no {study.measure.name} by moderator_arms "
                f"([{named}] under [model]), and this row has one",
                "Empty the cell, correct the arm, or add the arm to moderator_arms.",
            )
            for row in values.index[there]
        ]
    )


def _dataset(
    typed: pd.DataFrame,
    moderator: np.ndarray,
    study: Study,
    labels: Mapping[str, Mapping[str, str]],
) -> xr.Dataset:
    own = typed[THERAPIST] if THERAPIST in typed else pd.Series(None, typed.index, dtype=object)
    therapists = sorted(own.dropna().unique(), key=natural_key)
    values = {name: typed[covariate_column(name)].to_numpy() for name in study.covariates}
    covariates = [
        coded(name, own, reference_level(study.reference.get(name), set(own), labels.get(name, {})))
        for name, own in values.items()
    ]
    columns = [each.encoded(values[each.name]) for each in covariates]
    arms = list(study.arms)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "arm_index": (("patient",), pd.Index(arms).get_indexer(pd.Index(typed[ARM]))),
        "therapist_index": (
            ("patient",),
            pd.Index(therapists, dtype=object).get_indexer(pd.Index(own, dtype=object)),
        ),
        "moderator": (("patient",), moderator.copy()),
        "covariates": (
            ("patient", "covariate"),
            np.column_stack([np.empty((len(typed), 0)), *columns]),
        ),
    }
    clinics = _clinics(typed, study)
    if clinics is not None:
        known, position = clinics
        variables["clinic_index"] = (("patient",), position)
    for name, outcome in study.outcomes.items():
        followup = typed[followup_column(name)].to_numpy(dtype=float, copy=True)
        if outcome.exposure is not None:
            exposure = typed[exposure_column(name)].to_numpy(dtype=float, copy=True)
            variables[f"{name}_exposure"] = (("patient",), exposure)
            followup[np.isnan(exposure)] = np.nan  # a count of nobody knows how long is none
        variables[f"{name}_followup"] = (("patient",), followup)
        if outcome.baseline is not None:
            baseline = typed[baseline_column(name)].to_numpy(dtype=float, copy=True)
            variables[f"{name}_baseline"] = (("patient",), baseline)
    coords: dict[str, Any] = {
        "arm": np.array(arms, dtype=str),
        "therapist": np.array(therapists, dtype=str),
        **({} if clinics is None else {"clinic": np.array(known, dtype=str)}),
        **column_coordinates(covariates),
    }
    return read_only(xr.Dataset(variables, coords=coords, attrs=deciding_settings(study)))


def _clinics(typed: pd.DataFrame, study: Study) -> tuple[list[str], np.ndarray] | None:
    """Ids of clinics in natural order, and each patient's; None where nothing varies by clinic."""
    if study.clinic_setting == "none":
        return None
    own = typed[CLINIC]
    known = sorted(own.dropna().unique(), key=natural_key)
    position = pd.Index(known, dtype=object).get_indexer(pd.Index(own, dtype=object))
    return known, position


def _hash(typed: pd.DataFrame) -> str:
    """Hash of the values that the study uses, patient ids excepted."""
    digest = hashlib.sha256()
    for name in typed.columns:
        if name == PATIENT:
            continue
        values = typed[name]
        digest.update(f"{name}\x1e".encode())
        if pd.api.types.is_float_dtype(values.dtype):
            digest.update(values.to_numpy(dtype="<f8").tobytes())
        else:
            digest.update("\x1f".join(values.fillna("").tolist()).encode())
    return digest.hexdigest()
