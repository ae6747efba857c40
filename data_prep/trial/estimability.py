"""Whether a trial's data can answer the study's question at all.

Whether therapists are crossed with arms or nested in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from alliance.data_prep.covariates import covariates_of, seen_levels
from alliance.data_prep.errors import Problem
from alliance.data_prep.levels import quoted
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.parts import Moderator
from alliance.data_prep.trial.flow import (
    MISSING,
    analysed_patients,
    counted,
    lacking_moderator,
    lacks_therapist,
    rated_patients,
)

TherapistsInArms = Literal["crossed", "partly crossed", "nested", "none"]
UNRECORDED = (
    "The study names no column of therapists: patients count as independent of one another. If "
    "therapists treated several of them, intervals are too narrow."
)


def therapists_in_arms(study: Study, data: xr.Dataset) -> tuple[TherapistsInArms, list[str]]:
    """Tell from the patients whose arm and therapist are known how the two are combined.

    Parameters
    ----------
    study : Study
    data : xarray.Dataset
        Data of a `Trial`.

    Returns
    -------
    kind : {"crossed", "partly crossed", "nested", "none"}
        Crossed: every therapist has patients in all arms that have therapists. Nested: each in
        exactly one.
    notes : list of str
        The kind in words, therapists with one patient (counted), arms with one therapist, and with
        none.
    """
    arm, therapist = data["arm_index"].to_numpy(), data["therapist_index"].to_numpy()
    known = (arm != MISSING) & (therapist != MISSING)
    arms = data.sizes["arm"]
    cells = therapist[known] * arms + arm[known]
    patients = np.bincount(cells, minlength=data.sizes["therapist"] * arms).reshape(-1, arms)
    alone = np.bincount(arm[(arm != MISSING) & (therapist == MISSING)], minlength=arms)
    return crossing_of(study, patients, alone)


def crossing_of(
    study: Study, patients: np.ndarray, alone: np.ndarray
) -> tuple[TherapistsInArms, list[str]]:
    """Tell from the numbers of patients how therapists and arms are combined.

    Parameters
    ----------
    study : Study
    patients : numpy.ndarray of int, shape (therapists, arms)
    alone : numpy.ndarray of int, shape (arms,)
        Patients without a therapist.

    Returns
    -------
    kind : {"crossed", "partly crossed", "nested", "none"}
    notes : list of str
        As of `therapists_in_arms`.
    """
    if study.columns.therapist is None:
        return "none", [UNRECORDED]
    without = study.arms_without_therapist
    have = [k for k, code in enumerate(study.arms) if code not in without]
    codes = [list(study.arms)[k] for k in have]
    patients = patients[:, have]
    patients = patients[patients.sum(axis=1) > 0]
    kind, note = _kind(arms_of_each=(patients > 0).sum(axis=1), arms=patients.shape[1])
    if len(have) == 1:
        kind, note = "nested", f"{counted(len(patients), 'therapist')}, all in arm {codes[0]!r}."
    notes = [note]
    notes += [
        f"Arm {code!r} has no therapists: its {counted(int(alone[k]), 'patient')} count as "
        "independent of one another, with a residual SD of their own."
        for k, code in enumerate(study.arms)
        if code in without
    ]
    single = int((patients.sum(axis=1) == 1).sum())
    if single:
        notes.append(f"{counted(single, 'therapist')} treated one patient only.")
    for code, therapists in zip(codes, (patients > 0).sum(axis=0), strict=True):
        if therapists == 1 and len(patients) > 1:
            notes.append(
                f"Arm {code!r} has one therapist: what the arm does and what the therapist "
                "does cannot be told apart."
            )
    return kind, notes


def _kind(arms_of_each: np.ndarray, arms: int) -> tuple[TherapistsInArms, str]:
    therapists = len(arms_of_each)
    everywhere = int((arms_of_each == arms).sum())
    in_one = int((arms_of_each == 1).sum())
    if everywhere == therapists:
        if therapists == 1:
            return "crossed", "One therapist treated the patients of every arm."
        return (
            "crossed",
            f"Each of the {therapists} therapists treated patients in every arm: crossed.",
        )
    if in_one == therapists:
        return (
            "nested",
            f"Each of the {therapists} therapists treated patients in one arm only: nested.",
        )
    return "partly crossed", (
        f"{everywhere} of the {therapists} therapists treated patients in every arm, {in_one} in "
        "one arm only: partly crossed."
    )


PATIENTS_PER_ARM = 2  # fewer leave an arm without any spread
SPARE_PATIENTS = 2  # beyond one for each coefficient: without them no residual SD
# Smallest eigenvalue of the columns' correlation matrix: 0 where one column can be computed from
# the others, and about 1e-16 in floating point; nearly collinear real columns stay far above.
COLLINEAR = 1e-10
# SD of what least squares leaves of an outcome, in its own SDs, from which on it is computed from
# other columns, rounding and all. No measured outcome is explained so well; chains mix badly from
# a tenth of a millionth on.
PERFECT = 1e-4
INVOLVED = 1e-6  # share of a column in the null direction from which on a message names it


@dataclass(frozen=True)
class _Column:
    """A column of the linear model: its name in messages, its column in the file, its values."""

    label: str
    source: str
    values: np.ndarray


# Column of the file (None: that of the follow-up), rule, remedy.
_Fault = tuple[str | None, str, str]


def trial_problems(study: Study, source: str, data: xr.Dataset) -> list[Problem]:
    """Find what no outcome can be analysed without: arms, therapists, the moderator.

    Parameters
    ----------
    study : Study
    source : str
        Name of the file.
    data : xarray.Dataset
        Data of a `Trial`.

    Returns
    -------
    list of Problem
        Empty if nothing stands against an analysis.
    """
    arm = data["arm_index"].to_numpy()
    known, arms = arm != MISSING, data.sizes["arm"]
    rated = known & ~np.isnan(data["moderator"].to_numpy())
    return absent_parts(
        study,
        source,
        np.bincount(arm[known], minlength=arms),
        np.bincount(arm[rated], minlength=arms),
        therapists=bool(data.sizes["therapist"]) or study.columns.therapist is None,
    )


def absent_parts(
    study: Study, source: str, patients: np.ndarray, rated: np.ndarray, *, therapists: bool
) -> list[Problem]:
    """Find arms without patients or moderator, and say if there are no therapists.

    Parameters
    ----------
    study : Study
    source : str
    patients, rated : numpy.ndarray of int, shape (arms,)
        In each arm of the study; the second of those with the moderator.
    therapists : bool
        Whether there are any.
    """
    problems: list[Problem] = []

    def say(column: str, rule: str, remedy: str) -> None:
        problems.append(Problem(source, None, column, None, rule, remedy))

    present = [str(code) for code, count in zip(study.arms, patients, strict=True) if count]
    absent = [str(code) for code, count in zip(study.arms, patients, strict=True) if not count]
    if not present:
        say(study.columns.arm, "no row has an arm", "Fill in the arms, or name another column.")
    elif len(present) == 1:
        rule = f"{present[0]!r} is the only arm in the file, and a comparison needs two"
        say(study.columns.arm, rule, "Give the file of the whole trial.")
    else:
        for code in absent:
            rule = f"no row has the arm {code!r}"
            say(study.columns.arm, rule, "Remove the arm from [arms], or correct the column.")
    if not therapists and study.columns.therapist is not None:
        remedy = (
            "Fill in the therapists, or name another column; if none were recorded, leave out "
            "`therapist` under [columns]."
        )
        say(study.columns.therapist, "no row has a therapist", remedy)
    if study.moderator is not None:
        problems += _without_moderator(study, study.moderator, source, patients, rated)
    return problems


def _without_moderator(
    study: Study, moderator: Moderator, source: str, patients: np.ndarray, rated: np.ndarray
) -> list[Problem]:
    """Arms of which the study expects the moderator, and nobody has it."""
    column = moderator.column or moderator.items[0]
    counts = dict(zip(study.arms, zip(patients.tolist(), rated.tolist(), strict=True), strict=True))
    without = {arm: counts[arm][0] for arm in study.rated_arms if not counts[arm][1]}
    without = {arm: count for arm, count in without.items() if count}
    left = [arm for arm in study.rated_arms if arm not in without]
    if not left:
        rule = f"no row has a value of the {moderator.name}"
        remedy = (
            "Fill in the column, or name another one in [moderator]; leave [moderator] out for a "
            "plain comparison of the arms."
        )
        return [Problem(source, None, column, None, rule, remedy)]
    named = ", ".join(quoted(arm) for arm in left)
    return [
        Problem(
            source,
            None,
            column,
            None,
            f"none of the {counted(count, 'patient')} of the arm {arm!r} has a value of the "
            f"{moderator.name}",
            f"If patients of this arm cannot have one, as on a waiting list, write moderator_arms "
            f"= [{named}] under [model]; otherwise fill in the column.",
        )
        for arm, count in without.items()
    ]


def unexpected_therapists(
    study: Study, source: str, data: xr.Dataset, rows: np.ndarray
) -> list[Problem]:
    """Find patients who have a therapist in an arm that is said to have none.

    Parameters
    ----------
    study : Study
    source : str
    data : xarray.Dataset
        Data of a `Trial`.
    rows : numpy.ndarray, shape (patients,)
        Numbers of their rows.
    """
    if study.columns.therapist is None or not study.model.without_therapist:
        return []
    arm, therapist = data["arm_index"].to_numpy(), data["therapist_index"].to_numpy()
    codes, names = list(study.arms), data["therapist"].to_numpy()
    without = [k for k, code in enumerate(codes) if code in study.model.without_therapist]
    return [
        unexpected_therapist(study, source, int(rows[k]), str(names[therapist[k]]), codes[arm[k]])
        for k in np.flatnonzero(np.isin(arm, without) & (therapist != MISSING))
    ]


def unexpected_therapist(
    study: Study, source: str, row: int | None, therapist: str, code: str
) -> Problem:
    """What to say of a therapist in an arm that is said to have none."""
    rule = f"the arm {code!r} is said to have no therapists"
    remedy = (
        f"Empty the cell, correct the arm, or take {code!r} out of without_therapist under "
        "[model] of the study file."
    )
    return Problem(source, row, study.columns.therapist, therapist, rule, remedy)


def outcome_problems(study: Study, source: str, name: str, data: xr.Dataset) -> list[Problem]:
    """Find why an outcome cannot be analysed: too few patients, or columns that do not vary.

    Where the moderator is imputed, the patients who have it must bear the analysis by themselves.

    Parameters
    ----------
    study : Study
    source : str
        Name of the file.
    name : str
        Name of the outcome.
    data : xarray.Dataset
        Data of a `Trial` without `trial_problems`.

    Returns
    -------
    list of Problem
        Empty if nothing stands against an analysis.
    """
    outcome = study.outcomes[name]
    for column, variable in ((outcome.followup, "followup"), (outcome.baseline, "baseline")):
        if column is not None and np.isnan(data[f"{name}_{variable}"].to_numpy()).all():
            return [no_value(name, variable, column, source)]
    rows = rated_patients(analysed_patients(data, name))
    found = (
        _too_few(study, name, data, rows)
        or _constant(study, name, rows)
        or _collinear(study, name, rows)
        or _computed(study, name, rows)
    )
    return [
        Problem(source, None, column or outcome.followup, None, f"outcome {name!r}: {rule}", remedy)
        for column, rule, remedy in found
    ]


def no_value(name: str, variable: str, column: str, source: str) -> Problem:
    """What to say of a follow-up or baseline that nobody has."""
    rule = f"outcome {name!r}: no row has a value"
    remedy = f"Fill in the column, or name another {variable} in [outcomes.{name}]."
    return Problem(source, None, column, None, rule, remedy)


def therapist_problems(
    study: Study, source: str, name: str, patients: np.ndarray, rated: np.ndarray, therapist: str
) -> list[Problem]:
    """Find what an outcome's analysis cannot say about therapists though the settings ask for it.

    Parameters
    ----------
    study : Study
    source : str
        Name of the file.
    name : str
        Name of the outcome.
    patients, rated : numpy.ndarray of int, shape (therapists, arms)
        Its analysed patients, and those of them whose moderator is known.
    therapist : {"none", "intercept", "intercept+slope"}
        The setting in force; the others are those of the study.

    Returns
    -------
    list of Problem
        Empty if nothing stands against therapist effects, slopes within and between therapists,
        and arm effects that vary between therapists, as far as they are asked for.
    """
    found: list[tuple[str, str]] = []
    if therapist != "none" and (fault := _therapist_fault(patients, "")):
        rule = f"{fault}, so that therapists cannot be compared"
        remedy = 'Set therapist = "none" in [model] of the study file, or give `therapist="none"`.'
        found.append((rule, remedy))
    if study.model.alliance == "within_between":
        fault = _therapist_fault(rated, _with_moderator(study))
        if fault:
            rule = f"{fault}, so that slopes within and between therapists cannot be told apart"
            found.append((rule, 'Set alliance = "total" in [model] of the study file.'))
    if study.model.therapist_by_arm and ((patients > 0).sum(axis=1) <= 1).all():
        rule = (
            "no therapist has analysed patients in two arms, so that arms cannot vary within "
            "therapists"
        )
        found.append((rule, "Set therapist_by_arm = false in [model] of the study file."))
    column = study.columns.therapist
    return [
        Problem(source, None, column, None, f"outcome {name!r}: {rule}", remedy)
        for rule, remedy in found
    ]


def patients_of_therapists(rows: xr.Dataset) -> np.ndarray:
    """Count patients, whose therapist and arm are known: int, shape (therapists, arms)."""
    found = np.zeros((rows.sizes["therapist"], rows.sizes["arm"]), dtype=np.int64)
    therapist, arm = rows["therapist_index"].to_numpy(), rows["arm_index"].to_numpy()
    known = therapist != MISSING
    np.add.at(found, (therapist[known], arm[known]), 1)
    return found


def _therapist_fault(by_arm: np.ndarray, which: str) -> str | None:
    """Say why therapists cannot be compared, nor patients within them."""
    patients = by_arm.sum(axis=1)
    therapists = int((patients > 0).sum())
    if therapists == 1:
        return f"all analysed patients{which} have one and the same therapist"
    if patients.max() == 1:
        return f"each of the {therapists} therapists has one analysed patient{which} only"
    return None


def _with_moderator(study: Study) -> str:
    """Words that follow "analysed patients" where some of them lack the moderator."""
    imputed = study.moderator is not None and study.model.missing_alliance == "impute"
    return f" with {study.measure.name}" if imputed else ""


def coefficient_count(study: Study, rows: xr.Dataset) -> int:
    """Count the coefficients of an outcome's linear model, its intercept included."""
    covariates = len(_covariates(rows)) + int("baseline" in rows)
    return covariates + arm_coefficients(study)


def arm_coefficients(study: Study) -> int:
    """Count the coefficients of intercept, arms, moderator and interactions."""
    rated = len(study.rated_arms)
    slopes = rated if study.model.interaction else int(rated > 0)
    return len(study.arms) + slopes


def _too_few(study: Study, name: str, data: xr.Dataset, rows: xr.Dataset) -> list[_Fault]:
    """Arms, and the trial, with too few analysed patients."""
    patients = np.bincount(rows["arm_index"].to_numpy(), minlength=rows.sizes["arm"])

    def what_is_lacking(study: Study, arm: int) -> _Fault:
        own = data["arm_index"].to_numpy() == arm
        missing = {
            column: int((own & lacks).sum()) for column, lacks in _gaps(study, name, data).items()
        }
        return lacking(study, list(study.arms)[arm], int(own.sum()), missing)

    coefficients = coefficient_count(study, rows)
    return too_few(study, patients, coefficients, _with_moderator(study), what_is_lacking)


def too_few(
    study: Study,
    patients: np.ndarray,
    coefficients: int,
    which: str,
    what_is_lacking: Callable[[Study, int], _Fault],
) -> list[_Fault]:
    """Arms, and the trial, with too few analysed patients.

    Parameters
    ----------
    study : Study
    patients : numpy.ndarray of int, shape (arms,)
        Analysed.
    coefficients : int
        Of the outcome's linear model.
    which : str
        What else is said of the patients.
    what_is_lacking : callable
        Of the study and the position of an arm: as `lacking`.

    Returns
    -------
    list of (column, rule, remedy)
    """
    analysed = int(patients.sum())
    if not analysed:
        rule = "every row lacks the arm, the therapist, or a value that the analysis needs"
        remedy = "Compare the missing cells of these columns; leave out covariates with gaps."
        return [(None, rule, remedy)]
    found: list[_Fault] = []
    for position, (code, count) in enumerate(zip(study.arms, patients.tolist(), strict=True)):
        if count < PATIENTS_PER_ARM:
            rule = (
                f"the arm {code!r} has {counted(count, 'analysed patient')}"
                f"{which}, and it needs {PATIENTS_PER_ARM}"
            )
            column, why, remedy = what_is_lacking(study, position)
            found.append((column, f"{rule}{why}", remedy))
    if analysed < coefficients + SPARE_PATIENTS:
        rule = (
            f"{counted(analysed, 'analysed patient')}{which} cannot bear "
            f"{coefficients} coefficients; {coefficients + SPARE_PATIENTS} patients are the least"
        )
        found.append((None, rule, "Give more patients, or fewer covariates."))
    return found


def lacking(study: Study, code: str, total: int, missing: Mapping[str, int]) -> _Fault:
    """What most patients of an arm lack: its column, the words for it, and what to do.

    Parameters
    ----------
    study : Study
    code : str
        Of the arm.
    total : int
        Rows of the arm.
    missing : mapping of str to int
        By column, how many of them lack it.
    """
    if total < PATIENTS_PER_ARM:
        remedy = "Give the file of the whole trial, or take the arm out of [arms] and of the file."
        return study.columns.arm, f"; the file has {counted(total, 'row')} of it", remedy
    column = max(missing, key=lambda each: missing[each])
    count = missing[column]
    why = f": {count} of its {total} rows have no value in the column {column!r}"
    if column == study.columns.therapist:
        if count < total:
            return column, why, "Fill in the therapists: the models need one for each patient."
        why = f": none of its {total} patients has a therapist"
        known = set(study.model.without_therapist) | {code}
        listed = ", ".join(f'"{each}"' for each in study.arms if each in known)
        remedy = (
            "If its patients were treated without therapists (a waiting list, usual care), write "
            f"`without_therapist = [{listed}]` under [model] of the study file; if not, fill in "
            "the therapists."
        )
        return column, why, remedy
    return column, why, "Fill in what is missing, or name another column."


def _gaps(study: Study, name: str, data: xr.Dataset) -> dict[str, np.ndarray]:
    """Whether each patient lacks a column that the outcome's analysis needs, by column."""
    outcome, moderator = study.outcomes[name], study.moderator
    gaps = (
        {} if study.columns.therapist is None else {study.columns.therapist: lacks_therapist(data)}
    )
    if moderator is not None:
        gaps[moderator.column or moderator.items[0]] = lacking_moderator(data)
    gaps |= {
        outcome.followup: np.isnan(data[f"{name}_followup"].to_numpy()),
    }
    if outcome.baseline is not None:
        gaps[outcome.baseline] = np.isnan(data[f"{name}_baseline"].to_numpy())
    sources = [column.covariate for each in covariates_of(data) for column in each.columns]
    for position, source in enumerate(sources):
        gaps[source] = np.isnan(data["covariates"].to_numpy()[:, position])
    return gaps


def _columns(study: Study, name: str, rows: xr.Dataset) -> list[_Column]:
    """Columns of an outcome's linear model that are read off the data."""
    outcome, columns = study.outcomes[name], []
    if (moderator := study.moderator) is not None:
        source = moderator.column or moderator.items[0]
        columns.append(_Column(moderator.name, source, rows["moderator"].to_numpy()))
    if outcome.baseline is not None:
        columns.append(_Column("baseline", outcome.baseline, rows["baseline"].to_numpy()))
    return [*columns, *_covariates(rows)]


def _covariates(rows: xr.Dataset) -> list[_Column]:
    """Columns of the covariates but those of levels that nobody here has."""
    values = rows["covariates"].to_numpy()
    covariates = covariates_of(rows)
    _, absent = seen_levels(covariates, values.sum(axis=0).tolist(), len(values))
    sources = [column.covariate for each in covariates for column in each.columns]
    return [
        _Column(str(label), sources[k], values[:, k])
        for k, label in enumerate(rows["covariate"].to_numpy())
        if k not in absent
    ]


def _flat(values: np.ndarray) -> bool:
    """Whether values are one, or so near to one another that their squares are zero."""
    return bool(np.ptp(values) == 0 or not np.var(values) > 0)


def _constant(study: Study, name: str, rows: xr.Dataset) -> list[_Fault]:
    """Columns without any spread among the analysed patients."""
    followup = study.outcomes[name].followup
    columns, which = _columns(study, name, rows), _with_moderator(study)
    found: list[_Fault] = []
    for column in (_Column("follow-up", followup, rows["outcome"].to_numpy()), *columns):
        values = column.values[~np.isnan(column.values)]  # of the moderator, of arms that have it
        if _flat(values):
            found.append(constant(column.label, column.source, values[0], which))
    if found or not study.model.interaction:
        return found
    moderator, arm = columns[0], rows["arm_index"].to_numpy()
    for position, code in enumerate(study.arms):
        if code not in study.rated_arms:
            continue
        values = moderator.values[arm == position]
        if _flat(values):
            found.append(no_slope(moderator.label, moderator.source, values[0], which, code))
    return found


def constant(label: str, source: str, value: float, which: str) -> _Fault:
    """What to say of a column of the model that has one value."""
    rule = f"the {label} is {value:g} for every analysed patient{which}"
    return source, rule, "Fill in missing cells, or leave the column out of the study file."


def no_slope(label: str, source: str, value: float, which: str, code: str) -> _Fault:
    """What to say of a moderator that has one value in an arm."""
    rule = (
        f"the {label} is {value:g} for every analysed patient{which} of the arm {code!r}, which "
        "leaves this arm without a slope"
    )
    return source, rule, "Set interaction = false in [model], or remove the arm."


def _all_columns(study: Study, name: str, rows: xr.Dataset) -> list[_Column]:
    """Columns of an outcome's linear model, its intercept excepted."""
    columns, arm = _columns(study, name, rows), rows["arm_index"].to_numpy()
    if study.moderator is not None:
        moderator = columns[0]
        there = ~np.isnan(moderator.values)
        centred = np.zeros(len(there))  # as in the model, where patients cannot have it
        centred[there] = _unit(moderator.values[there])
        centred[there] -= centred[there].mean()
        columns[0] = _Column(moderator.label, moderator.source, centred)
    for position, code in list(enumerate(study.arms))[1:]:
        in_arm = arm == position
        columns.append(_Column(f"arm {code!r}", study.columns.arm, in_arm.astype(float)))
        if study.model.interaction and code in study.rated_arms[1:]:
            label = f"{moderator.label} in arm {code!r}"
            columns.append(_Column(label, moderator.source, np.where(in_arm, centred, 0.0)))
    return columns


def _collinear(study: Study, name: str, rows: xr.Dataset) -> list[_Fault]:
    """Columns that can be computed from others, so that their coefficients have no meaning."""
    columns = _all_columns(study, name, rows)
    # Of a single column NumPy gives a number
    correlations = np.atleast_2d(np.corrcoef([_unit(column.values) for column in columns]))
    named = [(column.label, column.source) for column in columns]
    return following(named, correlations, _with_moderator(study))


def following(
    columns: Sequence[tuple[str, str]], correlations: np.ndarray, which: str
) -> list[_Fault]:
    """Columns that follow from each other, by their correlations.

    Parameters
    ----------
    columns : sequence of (str, str)
        Label, and column of the file.
    correlations : numpy.ndarray, shape (columns, columns)
    which : str
        What else is said of the patients.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(correlations)
    if eigenvalues[0] > COLLINEAR:
        return []
    shares = np.abs(eigenvectors[:, 0])
    involved = [column for column, share in zip(columns, shares, strict=True) if share > INVOLVED]
    listed = ", ".join(label for label, _ in involved)
    rule = f"among the analysed patients{which} each of these follows from the others: {listed}"
    return [(involved[0][1], rule, "Leave one of them out of the study file.")]


def _computed(study: Study, name: str, rows: xr.Dataset) -> list[_Fault]:
    """An outcome that can be computed from other columns leaves nothing to be explained."""
    columns, outcome = _all_columns(study, name, rows), study.outcomes[name]
    y = rows["outcome"].to_numpy()
    X = np.column_stack([_standard(column.values) for column in columns])
    left, weights = _explained(X, _standard(y))
    from_therapist = ""
    if left >= PERFECT and study.model.therapist != "none" and study.columns.therapist:
        therapist = rows["therapist_index"].to_numpy().copy()
        alone = therapist == MISSING  # the mean of their arm is taken off, which is in the model
        therapist[alone] = rows.sizes["therapist"] + rows["arm_index"].to_numpy()[alone]
        spare = len(y) - len(np.unique(therapist)) - X.shape[1]
        if spare >= SPARE_PATIENTS:
            within, weights = _explained(
                _less_means(X, therapist), _less_means(_standard(y)[:, None], therapist)[:, 0]
            )
            left = within if within < PERFECT else left
            from_therapist = study.columns.therapist
    if left >= PERFECT:
        return []
    used = [
        (column.label, column.source)
        for column, share in zip(columns, weights, strict=True)
        if share
    ]
    return [computed(used, from_therapist, outcome.followup, _with_moderator(study))]


def computed(used: Sequence[tuple[str, str]], therapist: str, followup: str, which: str) -> _Fault:
    """What to say of an outcome that follows from these columns.

    Parameters
    ----------
    used : sequence of (str, str)
        Label, and column of the file.
    therapist : str
        Column of the therapists if they are needed too; empty if not.
    followup : str
        The outcome's column.
    which : str
        What else is said of the patients.
    """
    sources = [label if source in label else f"{label} ({source})" for label, source in used]
    listed = ", ".join([*sources, *([therapist] if therapist else [])])
    rule = (
        f"among the analysed patients{which} it can be computed from {listed}, "
        "so that no model has anything left to explain"
    )
    remedy = (
        "Check that the column holds what was measured after treatment, and not a copy or a sum "
        "of other columns."
    )
    return followup, rule, remedy


def _standard(values: np.ndarray) -> np.ndarray:
    """Values with mean 0 and SD 1, by way of 0 to 1 so that no scale is lost in rounding."""
    unit = _unit(values)
    return (unit - unit.mean()) / unit.std()


def _less_means(columns: np.ndarray, therapist: np.ndarray) -> np.ndarray:
    """Columns (n, p) less the mean of each therapist's patients."""
    _, index, count = np.unique(therapist, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), columns.shape[1]))
    np.add.at(sums, index, columns)
    return columns - (sums / count[:, None])[index]


def _explained(X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """SD of what least squares leaves of y, and which columns it uses."""
    weights, *_ = np.linalg.lstsq(X, y, rcond=COLLINEAR)
    left = float(np.sqrt(np.mean((y - X @ weights) ** 2)))
    return left, np.abs(weights) > PERFECT


def _unit(values: np.ndarray) -> np.ndarray:
    """Bring values that vary to 0 to 1, so that no scale of theirs is lost in rounding."""
    return (values - values.min()) / np.ptp(values)
