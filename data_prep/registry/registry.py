"""A trial in many files, larger than memory: checked file by file, and kept as cross-products.

Each file is a task of Dask, and so is each merging of two results; memory is bounded by the files
that are read at a time, and by therapists x columns x columns. The exact Gaussian model needs no
more. Results are merged in pairs in the order of the files, whatever order they come in.

All patients of some therapists of a registry, drawn at random, as an ordinary trial.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.cell_moments import NOBODY, CellMoments, Column
from alliance.data_prep.covariates import (
    Covariate,
    level_labels,
    ordered_levels,
    reference_level,
)
from alliance.data_prep.errors import DataError, InputError, Problem, extra_package
from alliance.data_prep.files import AnyPath, as_path, file_sha256
from alliance.data_prep.registry.part import (
    MOST_PROBLEMS,
    Part,
    Source,
    analysis_problems,
    column_problems,
    column_sums,
    kind_of,
    kinds,
    read_part,
    refuse_copies,
)
from alliance.data_prep.registry.partition import IdHashes, arrow_table, codes_of, rows_of_ids
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.data_prep.tables.binary_files import as_cells
from alliance.data_prep.tables.cells import (
    declared,
    natural_key,
    parse_codes,
    spelled_apart,
    without_declared,
)
from alliance.data_prep.tables.readers import READERS, Table, read_table, split_sheet
from alliance.data_prep.tables.roles import covariate_column, study_columns
from alliance.data_prep.trial.estimability import TherapistsInArms, crossing_of
from alliance.data_prep.trial.flow import (
    counted,
    empty_level_notes,
    moderator_notes,
    trials_notes,
)
from alliance.data_prep.trial.seen import category_notes, code_notes, scoring_notes
from alliance.data_prep.trial.trial import (
    Trial,
    id_notes,
    patient_spelling_note,
    trial_from_frame,
)
from alliance.data_prep.trial.validation import check_columns, check_part, patient_again

ENDINGS = tuple(READERS)
MARKS = "*?["
AFRESH = (
    "If each file numbers its patients from 1, write the name of its site before them, as in 'A-1'."
)

Compute = Callable[[Any], Any]
"""What computes a Dask value: `dask.compute` on threads, or a client's."""


@dataclass(frozen=True, eq=False, slots=True)
class Registry:
    """A trial's moments, checked against its study.

    Attributes
    ----------
    study : Study
    moments : dict of str to CellMoments
        By outcome, of the analysed patients: columns ``moderator``, ``baseline`` (where the
        outcome has one), those of the covariates, ``outcome``.
    covariates : tuple of Covariate
    flow : pandas.DataFrame
        As `data_prep.trial.trial.Trial.flow`.
    therapists_in_arms : {"crossed", "partly crossed", "nested"}
    notes : tuple of str
    source : str
        What was read.
    files : tuple of str
        Names.
    sha256 : str
        Hash of the files' hashes, in their order.
    labels : dict of str to dict of str to str
        By categorical covariate, the labels of its levels in Stata or SPSS files.
    trials : dict of str to str
        Of several trials, the trial of each therapist; empty where all data are of one.
    """

    study: Study
    moments: dict[str, CellMoments]
    covariates: tuple[Covariate, ...]
    flow: pd.DataFrame
    therapists_in_arms: TherapistsInArms
    notes: tuple[str, ...]
    source: str
    files: tuple[str, ...]
    sha256: str
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    trials: dict[str, str] = field(default_factory=dict)

    def therapist_patients(self, outcome: str) -> tuple[np.ndarray, np.ndarray]:
        """As `data_prep.trial.trial.Trial.therapist_patients`; all of them have a moderator."""
        found = self.moments[outcome]
        patients = _by_therapist(found, len(self.study.arms))[
            [name != NOBODY for name in found.therapists]
        ]
        return patients, patients


def is_registry(data: Path) -> bool:
    """Whether a path names many files: a pattern, or a folder."""
    return data.is_dir() or (any(mark in str(data) for mark in MARKS) and not data.exists())


def registry_files(data: Path) -> list[Path]:
    """Files that a pattern or a folder stands for, in the order of their names.

    Parameters
    ----------
    data : Path
        Such as ``registry/*.parquet``.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        If there are none, or one is of another kind.
    """
    named, sheet = split_sheet(data)
    if named.is_dir():
        found = [path for path in _entries(named) if path.suffix.lower() in ENDINGS]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(named)))]
    found = [path for path in found if path.is_file() and not path.name.startswith(".")]
    if not found and named.is_dir():
        raise InputError(
            f"{str(named)!r} is a folder without any file ending in {', '.join(ENDINGS)}.",
            "Name the file, or a folder or pattern of files.",
        )
    if not found:
        raise InputError(
            f"There are no files {str(named)!r}.", f"Name some, ending in {', '.join(ENDINGS)}."
        )
    for path in found:
        if path.suffix.lower() not in ENDINGS:
            raise InputError(
                f"{str(path)!r} cannot be one of many files: its ending is not known.",
                f"Name files ending in {', '.join(ENDINGS)}.",
            )
    return found if sheet is None else [Path(f"{path}#{sheet}") for path in found]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"The folder {str(folder)!r} cannot be read: {error.strerror}.",
            "Check the path and the folder's permissions.",
        ) from error


def load_registry(study: Study, data: AnyPath, compute: Compute | None = None) -> Registry:
    """Read many files in one pass, and check them against the study.

    Parameters
    ----------
    study : Study
        The moderator neither imputed nor with a reliability or a ceiling.
    data : str or path-like
        A pattern or a folder; behind a pattern of workbooks a sheet may be named.
    compute : callable, optional
        Computes a Dask value; on local threads by default.

    Returns
    -------
    Registry

    Raises
    ------
    InputError
        If there are no files, one cannot be read, or the study needs patients' rows.
    DataError
        With the problems of all files.
    """
    data = as_path(data)
    require_moments(study)
    _require_row_of_patient(study)
    files = registry_files(data)
    run = on_threads if compute is None else compute
    declared = {name: kind == "continuous" for name, kind in study.covariate_kinds.items()}
    whole = _one_pass(study, files, declared, run)
    found = kinds(study, whole)
    taken = {name: cells.continuous for name, cells in whole.covariates.items()}
    if any(taken[name] - {continuous} for name, continuous in found.items()):
        # Mostly numbers in some files, and mostly text in others: the whole decides.
        whole = _one_pass(study, files, found, run)
    return registry_of(
        study, whole, str(data), lambda suspects: _met_twice(study, files, suspects, run)
    )


def registry_of(
    study: Study,
    whole: Part,
    source: str,
    met_twice: Callable[[IdHashes], tuple[list[Problem], list[str]]],
    order: Mapping[str, tuple[int, int]] | None = None,
) -> Registry:
    """The registry of what is left of all files, or why there is none.

    Parameters
    ----------
    study : Study
    whole : Part
    source : str
        What messages call the files.
    met_twice : callable
        From ids that may be one patient's to problems and rows whose ids are spelled apart.
    order : mapping of str to tuple, optional
        Of therapists; the natural order of their ids by default.

    Raises
    ------
    InputError
    DataError
    """
    _refuse_unread(whole)
    refuse_copies(whole.sources)
    if not whole.complete:
        raise DataError(whole.problems)
    again, spelled = met_twice(whole.ids.suspects(MOST_PROBLEMS))
    if problems := [*column_problems(study, whole, source), *again]:
        raise DataError(problems)
    if whole.totals:
        raise DataError(whole.totals)
    return _registry(study, whole, source, spelled, order)


def _one_pass(
    study: Study, files: Sequence[Path], continuous: Mapping[str, bool], run: Compute
) -> Part:
    """Read every file, and add them up in pairs in the order of their names."""
    parts = [_dask().delayed(read_part, pure=False)(study, path, continuous) for path in files]
    while len(parts) > 1:
        pairs = [parts[k : k + 2] for k in range(0, len(parts), 2)]
        parts = [
            _dask().delayed(add, pure=False)(*pair) if len(pair) == 2 else pair[0] for pair in pairs
        ]
    whole: Part = run(parts[0])
    return whole


def _refuse_unread(whole: Part) -> None:
    """Say why files could not be read at all."""
    if not whole.unread:
        return
    if whole.problems:
        told = [Problem(file, None, None, None, *why) for file, *why in whole.unread]
        raise DataError([*told, *whole.problems])
    _, problem, remedy = whole.unread[0]
    more = len(whole.unread) - 1
    others = f" {more} more of the files cannot be read, for this or another reason."
    raise InputError(problem, remedy + (others if more else ""))


def _met_twice(
    study: Study, files: Sequence[Path], suspects: IdHashes, run: Compute
) -> tuple[list[Problem], list[str]]:
    """Patients who stand in the files more than once, and rows whose ids are spelled apart."""
    if not any(len(some) for some in (*suspects.exact, *suspects.alike)):
        return [], []
    found = run([_dask().delayed(rows_of_ids, pure=False)(study, path, suspects) for path in files])
    named = [(path.name, rows) for path, rows in zip(files, found, strict=True)]
    return patients_again(named, str(study.columns.patient))


def patients_again(
    files: Sequence[tuple[str, Sequence[tuple[str, int]]]], column: str
) -> tuple[list[Problem], list[str]]:
    """Find patients who stand in the files more than once, and those whose ids are spelled apart.

    Parameters
    ----------
    files : sequence of (str, sequence of (str, int))
        Names of files, and the ids and rows of patients in them.
    column : str
        Of the ids.

    Returns
    -------
    problems : list of Problem
        Without the ids.
    notes : list of str
    """
    first: dict[str, tuple[str, int]] = {}
    problems = []
    for name, rows in files:
        for code, row in rows:
            if code not in first:
                first[code] = (name, row)
                continue
            file, earlier = first[code]
            problem = patient_again(name, row, column, f"Row {earlier} of {file}")
            if file != name:
                problem = replace(problem, remedy=f"{problem.remedy} {AFRESH}")
            problems.append(problem)
    groups = spelled_apart(first)
    told = [
        " and ".join(f"{file} row {row}" for file, row in sorted(first[code] for code in group))
        for group in groups
    ]
    return problems, [patient_spelling_note(told)] if told else []


def _require_row_of_patient(study: Study) -> None:
    """Refuse tables with a row for each visit: a patient's rows could stand in several files."""
    if study.visits is not None:
        raise InputError(
            "A table with a row for each patient and visit is read from one file.",
            "Bring the files together into one.",
        )


def require_moments(study: Study) -> None:
    """Refuse models that need more of the patients than cross-products.

    Raises
    ------
    InputError
    """
    model = study.model
    native = [name for name, each in study.outcomes.items() if each.family != "gaussian"]
    own = [f'family = "{each.family}"' for each in study.outcomes.values()
           if each.family in OWN_FAMILIES]  # fmt: skip
    needs = {
        **dict.fromkeys(own, True),
        'likelihood = "native"': model.likelihood == "native" and bool(native),
        'missing_alliance = "impute"': model.missing_alliance == "impute",
        "reliability = true": model.reliability,
        "ceiling = true": model.ceiling,
        "joint = true": model.joint,
        "delta": any(each.delta for each in study.outcomes.values()),
        "visits": any(each.visit_of for each in study.outcomes.values()),
    }
    if study.clinic_setting != "none":
        raise InputError(
            "Effects of clinics need the rows of all patients: many files, and shares, are read as "
            "cross-products of therapists.",
            'Set clinic = "none" under [model], or fit one file with all rows.',
        )
    if asked := [name for name, wanted in needs.items() if wanted]:
        raise InputError(
            f"{asked[0]} needs the rows of all patients: many files, and shares, are read as "
            "cross-products.",
            "Leave it out, or fit one file with all rows; of many files also a random sample of "
            "therapists, `sample_therapists=200`.",
        )


def require_moderator_everywhere(study: Study) -> None:
    """Refuse shares of a study with arms without a moderator: a share holds one of every patient.

    Raises
    ------
    InputError
    """
    if len(study.rated_arms) < len(study.arms):
        raise InputError(
            "Shares are made of studies in which every arm has the moderator, and in this one "
            f"{'no arm has' if not study.rated_arms else 'some arms have none by moderator_arms'}.",
            "Read the files together, as a folder or a pattern of files.",
        )


def _dask() -> Any:
    return extra_package("dask", "many", "Reading a table in many files")


def on_threads(value: Any) -> Any:
    """Compute a Dask value here; threads share what is read."""
    return _dask().compute(value, scheduler="threads")[0]


def _registry(
    study: Study,
    whole: Part,
    source: str,
    spelled: list[str],
    order: Mapping[str, tuple[int, int]] | None,
) -> Registry:
    facts = whole.facts
    assert facts is not None  # nothing was wrong
    covariates = _covariates(study, whole)
    columns = [column for each in covariates for column in each.columns]
    moments = {}
    for name, found in facts.moments.items():
        has_baseline = study.outcomes[name].baseline is not None
        baseline = ["baseline"] if has_baseline else []
        moderator = [] if study.moderator is None else ["moderator"]
        wanted: list[Column] = [*moderator, *baseline, *columns, "outcome"]
        own = _sorted(found, order)
        centre = [0.0 if name not in own.columns else own.centre[own.columns.index(name)]
                  for name in wanted]  # fmt: skip
        moments[name] = own.moved(wanted, np.array(centre))
    facts = replace(facts, moments=moments)
    if problems := analysis_problems(study, facts, covariates, source):
        raise DataError(problems)
    empty = [
        note
        for name, found in moments.items()
        for note in empty_level_notes(
            name, covariates, column_sums(found, columns).tolist(), found.n
        )
    ]
    known = facts.known
    patients = _by_therapist(known, len(study.arms))
    nobody = np.array([name == NOBODY for name in known.therapists], dtype=bool)
    kind, notes = crossing_of(study, patients[~nobody], patients[nobody].sum(axis=0))
    lacking = dict(facts.lacking)
    rows = lacking.pop("row", 0)
    told = [
        f"{count} of {counted(rows, 'row')} without {what}."
        for what, count in lacking.items()
        if count
    ]
    flow = [{"outcome": name, **counts} for name, counts in facts.flow.items()]
    digest = hashlib.sha256("".join(each.sha256 for each in whole.sources).encode()).hexdigest()
    return Registry(
        study=study,
        moments=moments,
        covariates=covariates,
        flow=pd.DataFrame(flow),
        therapists_in_arms=kind,
        notes=(
            *whole.notes,
            *category_notes(study, whole.seen),
            *told,
            *moderator_notes(study),
            *trials_notes(study),
            *scoring_notes(study, whole.seen, files=True),
            *empty,
            *notes,
            *code_notes(study, whole.seen, files=True),
            *spelled,
            *id_notes(study),
        ),
        source=source,
        files=tuple(each.name for each in whole.sources),
        sha256=digest,
        labels=level_labels(covariates, whole.seen.labels),
    )


def _by_therapist(found: CellMoments, arms: int) -> np.ndarray:
    """Patients of each therapist in each arm."""
    patients = np.zeros((len(found.therapists), arms), dtype=np.int64)
    patients[found.therapist_index, found.arm_index] = found.count
    return patients


def _sorted(found: CellMoments, given: Mapping[str, tuple[int, int]] | None) -> CellMoments:
    """Therapists in the given or in natural order, and cells by therapist and arm."""

    def key(j: int) -> Any:
        name = found.therapists[j]
        return natural_key(name) if given is None else given[name]

    order = sorted(range(len(found.therapists)), key=key)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    index = place[found.therapist_index]
    cells = np.lexsort((found.arm_index, index))
    return CellMoments(
        found.columns,
        tuple(found.therapists[j] for j in order),
        index[cells],
        found.arm_index[cells],
        found.count[cells],
        found.centre,
        found.sums[cells],
        found.products[cells],
    )


def _covariates(study: Study, whole: Part) -> tuple[Covariate, ...]:
    """The covariates with the levels of all files."""
    found = []
    for name in study.covariates:
        levels = whole.seen.codes.get(covariate_column(name))
        wanted, labels = study.reference.get(name), whole.seen.labels.get(name, {})
        reference = reference_level(wanted, levels or {}, labels)
        found.append(Covariate(name, ordered_levels(levels, reference) if levels else None))
    return tuple(found)


def sample_therapists(
    study: Study, data: AnyPath, number: int, seed: int, compute: Compute | None = None
) -> Trial:
    """Take so many therapists at random, with all their patients.

    Parameters
    ----------
    study : Study
    data : str or path-like
        A pattern or a folder.
    number : int
        Of therapists; all of them if there are not more.
    seed : int
    compute : callable, optional
        Computes a Dask value; on local threads by default.

    Returns
    -------
    Trial
        Whose notes say how it was drawn.

    Raises
    ------
    InputError
        If there are no files, or one cannot be read.
    DataError
        With the problems of the chosen therapists' rows.
    """
    if study.arms_without_therapist:
        raise InputError(
            "A sample of therapists has no patients of arms without therapists: "
            f"{', '.join(study.arms_without_therapist)}.",
            "Leave `sample_therapists` out: all files are then read as cross-products.",
        )
    _require_row_of_patient(study)
    data = as_path(data)
    files = registry_files(data)
    run = on_threads if compute is None else compute
    found = run([_dask().delayed(therapists_of, pure=False)(study, path) for path in files])
    refuse_copies(source for _, source in found)
    everyone = sorted({name for names, _ in found for name in names}, key=natural_key)
    if not everyone:
        raise InputError(f"No row of {str(data)!r} has a therapist.", "Name the right column.")
    generator = np.random.default_rng(seed)
    places = generator.permutation(len(everyone))[:number]
    chosen = frozenset(everyone[place] for place in places)
    frames = run([_dask().delayed(rows_of, pure=False)(study, path, chosen) for path in files])
    named = [(path.name, frame) for path, frame in zip(files, frames, strict=True)]
    if problems := _problems(study, named):
        raise DataError(problems)
    together: pd.DataFrame = pd.concat(frames, ignore_index=True)
    trial = trial_from_frame(study, together, str(data))
    rows = sum(source.rows for _, source in found)
    note = (
        f"A random sample of {len(chosen):,} of {len(everyone):,} therapists (seed {seed}): "
        f"{len(together):,} of {rows:,} rows. What is said holds for "
        "therapists like these; it is less certain than from all rows."
    )
    return replace(trial, notes=(note, *trial.notes))


def _problems(study: Study, files: Sequence[tuple[str, pd.DataFrame]]) -> list[Problem]:
    """Problems of the rows, under the names of their files; what a covariate is, all rows tell."""
    checked = [check_part(frame, study, name, {}) for name, frame in files]
    cells = [each.covariates for each in checked]
    declared = study.covariate_kinds
    found = {
        name: kind_of(reduce(add, [own[name] for own in cells]), declared.get(name))
        for name in study.covariates
    }
    checked = [check_part(frame, study, name, found) for name, frame in files]
    problems = [problem for each in checked for problem in each.problems]
    column = study.columns.patient
    if column is None:
        return problems
    ids = [
        (name, [(code, int(row)) for code, row in zip(parse_codes(frame[column]), frame.index,
                                                      strict=True) if code is not None])
        for name, frame in files
    ]  # fmt: skip
    again, _ = patients_again(ids, column)
    return [*problems, *again]


def therapists_of(study: Study, path: Path) -> tuple[list[str], Source]:
    """Ids of the therapists in a file, and the file."""
    column = str(study.columns.therapist)
    table = None
    if path.suffix.lower() == ".parquet":
        table = arrow_table(path, study_columns(study), [column])
    if table is None:
        found = _table(study, path)
        names = [str(name) for name in pd.unique(parse_codes(found.frame[column])) if name]
        return names, Source(path.name, found.sha256, len(found.frame))
    codes = codes_of(table.column(column), declared(study, column))
    return codes.labels, Source(path.name, file_sha256(path), table.num_rows)


def rows_of(study: Study, path: Path, chosen: frozenset[str]) -> pd.DataFrame:
    """Rows of these therapists in a file, in the columns of the study, under their numbers."""
    column = str(study.columns.therapist)
    table = None
    if path.suffix.lower() == ".parquet":
        table = arrow_table(path, study_columns(study), [column])
    if table is None:
        frame = _table(study, path).frame
        kept = pd.Series(parse_codes(frame[column]), index=frame.index).isin(chosen)
        return frame.loc[kept.to_numpy(), list(study_columns(study))]
    codes = codes_of(table.column(column), declared(study, column))
    wanted = np.array([*(label in chosen for label in codes.labels), False])[codes.index]
    frame = as_cells(table.filter(wanted))
    # As in a spreadsheet, whose header is row 1
    return frame.set_index(pd.Index(np.flatnonzero(wanted) + 2, name="row"))


def _table(study: Study, path: Path) -> Table:
    """Read one file, whose columns are those of the study."""
    found = read_table(path, may_be_empty=True)
    found.require(study_columns(study))
    checked = check_columns(found.frame, study, path.name)
    if checked:
        raise DataError(checked)
    return replace(found, frame=without_declared(found.frame, study))
