"""What is left of one file of a registry: problems, moments, counts; that of several adds up.

What many files must be together: the rules of one file, from what is left of the many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY, CellMoments, Column, cell_moments, merged
from alliance.data_prep.covariates import (
    CONTINUOUS_SHARE,
    Covariate,
    column_faults,
    column_names,
    seen_levels,
)
from alliance.data_prep.errors import DataError, InputError, Problem
from alliance.data_prep.registry.partition import (
    IdHashes,
    Partition,
    TypedFile,
    partition_of,
    read_typed,
)
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.roles import covariate_column
from alliance.data_prep.trial.estimability import (
    COLLINEAR,
    PERFECT,
    SPARE_PATIENTS,
    absent_parts,
    arm_coefficients,
    computed,
    constant,
    following,
    lacking,
    no_slope,
    no_value,
    too_few,
    unexpected_therapist,
)
from alliance.data_prep.trial.flow import (
    analysed_patients,
    complete_patients,
    flow_counts,
    lacking_moderator,
    lacks_therapist,
)
from alliance.data_prep.trial.seen import Places, Seen, seen_in
from alliance.data_prep.trial.validation import UNKNOWN_ARM, CovariateCells, no_arm_known

MOST_PROBLEMS = 1000  # of all files together that are kept

Ends = NDArray[np.float64]
"""Lowest and highest value in each arm, shape (arms, 2); infinite where there is none."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file.

    Attributes
    ----------
    name, sha256 : str
    rows : int
    """

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, eq=False, slots=True)
class Facts:
    """Moments and counts of files without problems.

    Attributes
    ----------
    known : CellMoments
        No columns: patients whose therapist and arm are known.
    moments : dict of str to CellMoments
        By outcome, of its analysed patients.
    ends : dict of str to dict of Column to Ends
        By outcome and column, of its analysed patients.
    flow : dict of str to dict
        By outcome, as of `data_prep.trial.flow.flow_counts`.
    gaps : dict of str to dict of str to ndarray of int, shape (arms,)
        By outcome and column that its analysis needs, rows in each arm that lack it.
    given : dict of str to dict
        By outcome, how many rows have a follow-up, and a baseline.
    lacking : dict of str to int
        Rows, and those without arm, therapist, moderator.
    arms, rated : ndarray of int, shape (arms,)
        Rows in each arm, and those of them with the moderator.
    """

    known: CellMoments
    moments: dict[str, CellMoments]
    ends: dict[str, dict[Column, Ends]]
    flow: dict[str, dict[str, int]]
    gaps: dict[str, dict[str, NDArray[np.int64]]]
    given: dict[str, dict[str, int]]
    lacking: dict[str, int]
    arms: NDArray[np.int64]
    rated: NDArray[np.int64]

    def __add__(self, other: Facts) -> Facts:
        return Facts(
            known=merged([self.known, other.known]),
            moments={
                name: merged([own, other.moments[name]]) for name, own in self.moments.items()
            },
            ends={name: _wider(own, other.ends[name]) for name, own in self.ends.items()},
            flow={name: _added(own, other.flow[name]) for name, own in self.flow.items()},
            gaps={
                name: {column: count + other.gaps[name][column] for column, count in own.items()}
                for name, own in self.gaps.items()
            },
            given={name: _added(own, other.given[name]) for name, own in self.given.items()},
            lacking=_added(self.lacking, other.lacking),
            arms=self.arms + other.arms,
            rated=self.rated + other.rated,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """What is left of one file, or of several.

    Attributes
    ----------
    sources : tuple of Source
    unread : tuple of (str, str, str)
        Files that could not be read at all, what is wrong, and what to do.
    problems : tuple of Problem
        Of columns and cells.
    totals : tuple of Problem
        Of totals that were scored from items.
    complete : bool
        Whether all files have all columns.
    arms : frozenset of str
        Codes in the column of the arms.
    covariates : dict of str to CovariateCells
    seen : Seen
    ids : IdHashes
    notes : tuple of str
        Of the readers.
    facts : Facts or None
        None if there is anything wrong.
    """

    sources: tuple[Source, ...]
    unread: tuple[tuple[str, str, str], ...]
    problems: tuple[Problem, ...]
    totals: tuple[Problem, ...]
    complete: bool
    arms: frozenset[str]
    covariates: dict[str, CovariateCells]
    seen: Seen
    ids: IdHashes
    notes: tuple[str, ...]
    facts: Facts | None

    def __add__(self, other: Part) -> Part:
        covariates = dict(self.covariates)
        for name, cells in other.covariates.items():
            covariates[name] = covariates[name] + cells if name in covariates else cells
        facts = None
        if self.facts is not None and other.facts is not None:
            facts = self.facts + other.facts
        return Part(
            sources=(*self.sources, *other.sources),
            unread=(*self.unread, *other.unread)[:MOST_PROBLEMS],
            problems=(*self.problems, *other.problems)[:MOST_PROBLEMS],
            totals=(*self.totals, *other.totals)[:MOST_PROBLEMS],
            complete=self.complete and other.complete,
            arms=self.arms | other.arms,
            covariates=covariates,
            seen=self.seen + other.seen,
            ids=self.ids + other.ids,
            notes=(*self.notes, *other.notes)[:MOST_PROBLEMS],
            facts=facts,
        )


NOTHING_SEEN = Seen({}, {}, {}, Places(0, ()), None, {}, {})


Choose = Callable[["Partition"], tuple["Partition", "Kept | None"]]
"""From a file's patients to these, with other therapists perhaps: see `facts_of`."""


def read_part(
    study: Study,
    path: Path,
    continuous: Mapping[str, bool],
    choosing: Callable[[TypedFile], Choose] | None = None,
) -> Part:
    """What is left of one file.

    Parameters
    ----------
    study : Study
    path : Path
    continuous : mapping of str to bool
        As of `data_prep.trial.validation.check_part`.
    choosing : callable, optional
        From a file without problems to what is chosen of its patients; a DataError that it raises
        is one of the file.
    """
    try:
        found = read_typed(study, path, continuous)
        choose = None if choosing is None or found.columns is None else choosing(found)
    except DataError as error:
        return _unusable(path, problems=error.problems)
    except InputError as error:
        return _unusable(path, unread=((path.name, error.problem, error.remedy),))
    seen = NOTHING_SEEN
    if found.seen:
        seen = seen_in(study, found.seen, found.rows, found.name, found.labels)
    return Part(
        sources=(Source(found.name, found.sha256, len(found.rows)),),
        unread=(),
        problems=found.problems[:MOST_PROBLEMS],
        totals=found.totals[:MOST_PROBLEMS],
        complete=found.complete,
        arms=found.arms,
        covariates=found.covariates,
        seen=seen,
        ids=found.ids,
        notes=found.notes,
        facts=None if found.columns is None else facts_of(study, found, choose),
    )


def _unusable(
    path: Path,
    problems: tuple[Problem, ...] = (),
    unread: tuple[tuple[str, str, str], ...] = (),
) -> Part:
    return Part(
        sources=(Source(path.name, "", 0),),
        unread=unread,
        problems=problems[:MOST_PROBLEMS],
        totals=(),
        complete=False,
        arms=frozenset(),
        covariates={},
        seen=NOTHING_SEEN,
        ids=IdHashes(),
        notes=(),
        facts=None,
    )


Kept = Mapping[str, NDArray[np.bool_]]
"""By outcome, shape (rows,): the patients whose moments are taken, of those who are analysed."""


def facts_of(
    study: Study,
    found: TypedFile,
    choose: Choose | None = None,
) -> Facts:
    """Moments and counts of one file's patients.

    Parameters
    ----------
    study : Study
    found : TypedFile
        Without problems.
    choose : callable, optional
        From the file's patients to these, with other therapists perhaps, and those of each outcome
        whose moments are taken; by default all who are analysed.
    """
    assert found.columns is not None
    partition = partition_of(study, found.columns)
    kept: Kept | None = None
    if choose is not None:
        partition, kept = choose(partition)
    data = partition.data
    arm, therapist = data["arm_index"].values, data["therapist_index"].values
    ids = [*partition.therapists, *([NOBODY] if study.arms_without_therapist else [])]
    lacks = lacks_therapist(data)
    own_therapist = np.where(therapist < 0, len(ids) - 1, therapist)
    known = np.flatnonzero((arm >= 0) & ~lacks)
    lacking = {
        "row": len(arm),
        "arm": int((arm < 0).sum()),
        "therapist": int(lacks.sum()),
    }
    if study.moderator is not None:
        lacking[study.moderator.name] = int(lacking_moderator(data).sum())
    moments: dict[str, CellMoments] = {}
    ends: dict[str, dict[Column, Ends]] = {}
    flow, given, gaps = {}, {}, {}
    for name in study.outcomes:
        rows = analysed_patients(data, name)
        if kept is not None:
            rows = rows.isel(patient=np.flatnonzero(kept[name][complete_patients(data, name)]))
        rated = np.isfinite(rows["moderator"].values)
        columns: dict[Column, np.ndarray] = {}
        if study.moderator is not None:  # zero where patients cannot have it, as in the design
            columns["moderator"] = np.where(rated, rows["moderator"].values, 0.0)
        if "baseline" in rows:
            columns["baseline"] = rows["baseline"].values
        covariates = rows["covariates"].values.T
        columns |= dict(zip(partition.columns, covariates, strict=True))
        columns["outcome"] = rows["outcome"].values
        values = np.array(list(columns.values()), dtype=float)
        index = rows["therapist_index"].values
        index = np.where(index < 0, len(ids) - 1, index)
        moments[name] = cell_moments(list(columns), values, ids, index, rows["arm_index"].values)
        own = rows["arm_index"].values
        ends[name] = {
            column: _ends(values[k][kept], own[kept], len(study.arms))
            for k, column in enumerate(columns)
            for kept in [rated if column == "moderator" else slice(None)]
        }
        counts = flow_counts(data, name)
        flow[name] = {key: int(value) for key, value in counts.items() if key != "outcome"}
        gaps[name] = _gaps(study, name, partition, len(study.arms))
        given[name] = {
            which: int(np.isfinite(data[f"{name}_{which}"].values).sum())
            for which in ("followup", "baseline")
            if f"{name}_{which}" in data
        }
    return Facts(
        known=cell_moments([], np.empty((0, len(known))), ids, own_therapist[known], arm[known]),
        moments=moments,
        ends=ends,
        flow=flow,
        gaps=gaps,
        given=given,
        lacking=lacking,
        arms=np.bincount(arm[arm >= 0], minlength=len(study.arms)),
        rated=np.bincount(
            arm[(arm >= 0) & np.isfinite(data["moderator"].values)], minlength=len(study.arms)
        ),
    )


def _gaps(study: Study, name: str, partition: Partition, arms: int) -> dict[str, NDArray[np.int64]]:
    """Rows in each arm that lack a column of the outcome's analysis; see `estimability`."""
    outcome, moderator, data = study.outcomes[name], study.moderator, partition.data
    therapist = study.columns.therapist
    lacks = {} if therapist is None else {therapist: lacks_therapist(data)}
    if moderator is not None:
        lacks[moderator.column or moderator.items[0]] = lacking_moderator(data)
    lacks[outcome.followup] = np.isnan(data[f"{name}_followup"].values)
    if outcome.baseline is not None:
        lacks[outcome.baseline] = np.isnan(data[f"{name}_baseline"].values)
    for column, values in zip(partition.columns, data["covariates"].values.T, strict=True):
        lacks[column.covariate] = np.isnan(values)
    arm = data["arm_index"].values
    return {
        column: np.bincount(arm[missing & (arm >= 0)], minlength=arms)
        for column, missing in lacks.items()
    }


def _ends(values: NDArray[np.float64], arm: NDArray[np.int64], arms: int) -> Ends:
    found = np.full((arms, 2), [np.inf, -np.inf])
    np.minimum.at(found[:, 0], arm, values)
    np.maximum.at(found[:, 1], arm, values)
    return found


def _wider(one: dict[Column, Ends], other: dict[Column, Ends]) -> dict[Column, Ends]:
    """Ends of both; a column that one does not have is zero for its patients, as in moments."""
    found = {}
    for name in (*one, *(name for name in other if name not in one)):
        pairs = []
        for own in (one, other):
            if name in own:
                pairs.append(own[name])
            else:
                here = np.isfinite(own["outcome"][:, 0])
                pairs.append(np.where(here[:, None], 0.0, [np.inf, -np.inf]))
        low, high = np.minimum(*pairs)[:, 0], np.maximum(*pairs)[:, 1]
        found[name] = np.column_stack([low, high])
    return found


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: value + other[key] for key, value in one.items()}


_Fault = tuple[str | None, str, str]


def refuse_copies(sources: Iterable[Source]) -> None:
    """Refuse files that are the same, byte for byte, unless they hold no row.

    Raises
    ------
    InputError
    """
    first: dict[str, str] = {}
    copies = []
    for source in sources:
        if not source.rows:
            continue
        earlier = first.setdefault(source.sha256, source.name)
        if earlier != source.name:
            copies.append(f"{earlier} and {source.name}")
    if copies:
        more = f" (and {len(copies) - 1} more such pairs)" if len(copies) > 1 else ""
        raise InputError(
            f"{copies[0]} are the same file twice, byte for byte{more}, so that their patients "
            "would count twice.",
            "Leave one of them out.",
        )


def kinds(study: Study, whole: Part) -> dict[str, bool]:
    """Whether each covariate is continuous, by the cells of all files."""
    return {
        name: kind_of(cells, study.covariate_kinds.get(name))
        for name, cells in whole.covariates.items()
    }


def kind_of(cells: CovariateCells, declared: str | None) -> bool:
    """Whether a covariate with these cells is continuous, unless the study says what it is."""
    if declared is not None:
        return declared == "continuous"
    if cells.labelled and cells.numbers + cells.texts:
        return False
    return cells.numbers >= CONTINUOUS_SHARE * (cells.numbers + cells.texts)


def column_problems(study: Study, whole: Part, source: str) -> list[Problem]:
    """Problems of cells and columns, of all files together; patients met twice excepted.

    Parameters
    ----------
    study : Study
    whole : Part
        Complete, and its covariates taken as `kinds` says.
    source : str
        What messages call the files.
    """
    problems = list(whole.problems)
    if unknown := no_arm_known(study, whole.arms, source):
        problems = [unknown, *(each for each in problems if each.rule != UNKNOWN_ARM)]
    for name in study.covariates:
        cells, part = whole.covariates[name], covariate_column(name)
        codes = whole.seen.codes.get(part, {})
        numbers = whole.seen.numbers.get(part)
        if codes:
            levels = np.array(list(codes), dtype=object)
        elif cells.wrong:
            continue  # told by their rows
        else:
            levels = np.array([] if numbers is None else numbers.ends())
        labels = whole.seen.labels.get(name, {})
        for rule, remedy in column_faults(levels, study.reference.get(name), labels):
            problems.append(Problem(source, None, name, None, rule, remedy))
    return problems


def column_sums(found: CellMoments, columns: Sequence[Column]) -> NDArray[np.float64]:
    """Sum over all patients of each of these columns."""
    places = [found.columns.index(column) for column in columns]
    return np.asarray(found.centre[places] * found.n + found.sums[:, places].sum(axis=0))


def analysis_problems(
    study: Study, facts: Facts, covariates: Sequence[Covariate], source: str
) -> list[Problem]:
    """Find why outcomes cannot be analysed, by the rules of `data_prep.trial.estimability`.

    Parameters
    ----------
    study : Study
    facts : Facts
        Of all files; moments with the columns of the model.
    covariates : sequence of Covariate
    source : str
    """
    rows = facts.lacking["row"]
    problems = absent_parts(
        study,
        source,
        facts.arms,
        facts.rated,
        therapists=facts.lacking["therapist"] < rows or study.columns.therapist is None,
    )
    problems += _unexpected_therapists(study, facts.known, source)
    if problems:
        return problems
    for name in study.outcomes:
        problems += _outcome_problems(study, facts, covariates, name, source)
    return problems


def _unexpected_therapists(study: Study, known: CellMoments, source: str) -> list[Problem]:
    """Therapists of patients in arms that are said to have none."""
    codes = list(study.arms)
    cells = zip(known.therapist_index.tolist(), known.arm_index.tolist(), strict=True)
    return [
        unexpected_therapist(study, source, None, known.therapists[j], codes[arm])
        for j, arm in cells
        if codes[arm] in study.model.without_therapist and known.therapists[j] != NOBODY
    ]


def _outcome_problems(
    study: Study, facts: Facts, covariates: Sequence[Covariate], name: str, source: str
) -> list[Problem]:
    outcome, moments = study.outcomes[name], facts.moments[name]
    for column, which in ((outcome.followup, "followup"), (outcome.baseline, "baseline")):
        if column is not None and not facts.given[name][which]:
            return [no_value(name, which, column, source)]
    patients = np.bincount(
        moments.arm_index, weights=moments.count, minlength=len(study.arms)
    ).astype(np.int64)
    columns = _columns(study, moments, covariates, name)
    others = [column for column in columns if column not in ("outcome", "moderator")]
    coefficients = arm_coefficients(study) + len(others)

    def what_is_lacking(study: Study, arm: int) -> _Fault:
        missing = {column: int(count[arm]) for column, count in facts.gaps[name].items()}
        return lacking(study, list(study.arms)[arm], int(facts.arms[arm]), missing)

    found = (
        too_few(study, patients, coefficients, "", what_is_lacking)
        or _constant(study, facts.ends[name], columns)
        or _dependent(study, moments, columns)
    )
    return [
        Problem(source, None, file or outcome.followup, None, f"outcome {name!r}: {rule}", remedy)
        for file, rule, remedy in found
    ]


def _columns(
    study: Study, moments: CellMoments, covariates: Sequence[Covariate], name: str
) -> dict[Column, tuple[str, str]]:
    """Columns of an outcome's model, the outcome first: labels, and columns of the file."""
    moderator, outcome = study.moderator, study.outcomes[name]
    found: dict[Column, tuple[str, str]] = {"outcome": ("follow-up", outcome.followup)}
    if moderator is not None:
        found["moderator"] = (moderator.name, moderator.column or moderator.items[0])
    if outcome.baseline is not None:
        found["baseline"] = ("baseline", outcome.baseline)
    own = [column for each in covariates for column in each.columns]
    _, absent = seen_levels(covariates, column_sums(moments, own).tolist(), moments.n)
    for k, (column, label) in enumerate(zip(own, column_names(own), strict=True)):
        if k not in absent:
            found[column] = (label, column.covariate)
    return found


def _constant(
    study: Study, ends: Mapping[Column, Ends], columns: Mapping[Column, tuple[str, str]]
) -> list[_Fault]:
    """Columns without any spread among the analysed patients."""
    found: list[_Fault] = []
    for column, named in columns.items():
        low, high = ends[column][:, 0].min(), ends[column][:, 1].max()
        if low == high:
            found.append(constant(*named, low, ""))
    if found or not study.model.interaction:
        return found
    return [
        no_slope(*columns["moderator"], low, "", code)
        for code, (low, high) in zip(study.arms, ends["moderator"], strict=True)
        if low == high and code in study.rated_arms
    ]


def _dependent(
    study: Study, moments: CellMoments, named: Mapping[Column, tuple[str, str]]
) -> list[_Fault]:
    """Columns that can be computed from others, or an outcome that can."""
    columns = [*(column for column in named if column != "outcome"), "outcome"]
    places = [moments.columns.index(column) for column in columns]
    labels = [named[column] for column in columns]
    arms, width = len(study.arms), len(columns) + 1
    # What each column of the model is of a one and these columns, in each arm: (columns, arms, own)
    made = [np.tile(np.eye(width)[k + 1], (arms, 1)) for k in range(len(columns))]
    rated = np.isin(list(study.arms), study.rated_arms)
    if "moderator" in columns and not rated.all():
        k = columns.index("moderator")
        of_rated = rated[moments.arm_index]
        middle = moments.sums[of_rated][:, places[k]].sum() / moments.count[of_rated].sum()
        made[k] = np.outer(rated, np.eye(width)[k + 1] - middle * np.eye(width)[0])
    for arm, code in list(enumerate(study.arms))[1:]:
        here = np.arange(arms) == arm
        labels.insert(-1, (f"arm {code!r}", study.columns.arm))
        made.insert(-1, np.outer(here, np.eye(width)[0]))
        if study.model.interaction and code in study.rated_arms[1:]:
            k = columns.index("moderator")
            label, source = labels[k]
            labels.insert(-1, (f"{label} in arm {code!r}", source))
            made.insert(-1, here[:, None] * made[k])
    weights = np.array(made, dtype=float)
    cells = np.empty((len(moments.count), width, width))
    cells[:, 0, 0] = moments.count
    cells[:, 0, 1:] = cells[:, 1:, 0] = moments.sums[:, places]
    cells[:, 1:, 1:] = moments.products[:, places][:, :, places]
    by_arm = np.zeros((arms, width, width))
    np.add.at(by_arm, moments.arm_index, cells)
    whole = np.einsum("kas,ast,lat->kl", weights, by_arm, weights)
    total = np.einsum("kas,as->k", weights, by_arm[:, 0])
    centred = whole - np.outer(total, total) / moments.n
    spread = np.sqrt(np.diag(centred))
    scale = spread[:, None] * spread
    if found := following(labels[:-1], (centred / scale)[:-1, :-1], ""):
        return found
    left, used = _explained(centred / scale)
    therapist = ""
    if left >= PERFECT and study.model.therapist != "none" and study.columns.therapist:
        # Of patients without a therapist the mean of their arm is taken off, which is in the model
        clusters = moments.therapist_index.copy()
        alone = np.array(moments.therapists)[clusters] == NOBODY
        clusters[alone] = len(moments.therapists) + moments.arm_index[alone]
        sums = np.zeros((len(moments.therapists) + arms, len(labels)))
        own = np.einsum("cks,cs->ck", weights.transpose(1, 0, 2)[moments.arm_index], cells[:, 0])
        np.add.at(sums, clusters, own)
        patients = np.bincount(clusters, weights=moments.count, minlength=len(sums))
        present = patients > 0
        if moments.n - present.sum() - (len(labels) - 1) >= SPARE_PATIENTS:
            means = sums[present].T @ (sums[present] / patients[present, None])
            within, used = _explained((whole - means) / scale)
            left = within if within < PERFECT else left
            therapist = study.columns.therapist
    if left >= PERFECT:
        return []
    involved = [label for label, share in zip(labels[:-1], used, strict=True) if share]
    return [computed(involved, therapist, named["outcome"][1], "")]


def _explained(products: NDArray[np.float64]) -> tuple[float, NDArray[np.bool_]]:
    """SD of what the columns leave of the last one, and which of them it uses."""
    X, y = products[:-1, :-1], products[:-1, -1]
    weights = np.linalg.pinv(X, rcond=COLLINEAR, hermitian=True) @ y
    left = np.sqrt(max(products[-1, -1] - weights @ y, 0.0))
    return float(left), np.abs(weights) > PERFECT
