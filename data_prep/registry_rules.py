"""What many files must be together: the rules of one file, from what is left of the many."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from data_prep.cell_moments import CellMoments
from data_prep.covariates import CONTINUOUS_SHARE, column_faults
from data_prep.errors import InputError, Problem
from data_prep.estimability import (
    absent_parts,
    constant,
    following,
    no_slope,
    no_value,
    too_few,
)
from data_prep.parts import covariate_column
from data_prep.registry_part import Facts, Part, Source
from data_prep.study import Study
from data_prep.validation import UNKNOWN_ARM, CovariateCells, no_arm_known

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


def kinds(whole: Part) -> dict[str, bool]:
    """Whether each covariate is continuous, by the cells of all files."""
    return {name: kind_of(cells) for name, cells in whole.covariates.items()}


def kind_of(cells: CovariateCells) -> bool:
    """Whether a covariate with these cells is continuous."""
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
        elif cells.wrong or numbers is None:
            continue  # told by their rows
        else:
            levels = np.array(numbers.ends())
        for rule, remedy in column_faults(levels):
            problems.append(Problem(source, None, name, None, rule, remedy))
    return problems


def analysis_problems(study: Study, facts: Facts, source: str) -> list[Problem]:
    """Find why outcomes cannot be analysed, by the rules of `data_prep.estimability`.

    Parameters
    ----------
    study : Study
    facts : Facts
        Of all files; moments with the columns of the model.
    source : str
    """
    rows = facts.lacking["row"]
    problems = absent_parts(
        study,
        source,
        facts.arms,
        therapists=facts.lacking["therapist"] < rows,
        rated=facts.lacking[study.moderator.name] < rows,
    )
    if problems:
        return problems
    for name in study.outcomes:
        problems += _outcome_problems(study, facts, name, source)
    return problems


def _outcome_problems(study: Study, facts: Facts, name: str, source: str) -> list[Problem]:
    outcome, moments = study.outcomes[name], facts.moments[name]
    for column, which in ((outcome.followup, "followup"), (outcome.baseline, "baseline")):
        if column is not None and not facts.given[name][which]:
            return [no_value(name, which, column, source)]
    patients = np.bincount(
        moments.arm_index, weights=moments.count, minlength=len(study.arms)
    ).astype(np.int64)
    covariates = [column for column in moments.columns if _is_covariate(column)]
    arms = len(study.arms)
    coefficients = 1 + (outcome.baseline is not None) + (arms - 1) + 1 + len(covariates)
    coefficients += arms - 1 if study.model.interaction else 0
    found = (
        too_few(study, patients, coefficients, "")
        or _constant(study, facts, name)
        or _collinear(study, moments, name)
    )
    return [
        Problem(source, None, column or outcome.followup, None, f"outcome {name!r}: {rule}", remedy)
        for column, rule, remedy in found
    ]


def _is_covariate(column: str) -> bool:
    return column not in ("moderator", "baseline", "outcome")


def _named(study: Study, name: str, column: str) -> tuple[str, str]:
    """Label of a column in messages, and the column of the file."""
    moderator, outcome = study.moderator, study.outcomes[name]
    if column == "moderator":
        return moderator.name, moderator.column or moderator.items[0]
    if column == "baseline":
        return "baseline", str(outcome.baseline)
    if column == "outcome":
        return "follow-up", outcome.followup
    return column, next(c for c in study.covariates if column == c or column.startswith(f"{c}["))


def _constant(study: Study, facts: Facts, name: str) -> list[_Fault]:
    """Columns without any spread among the analysed patients."""
    found: list[_Fault] = []
    ends = facts.ends[name]
    order = ["outcome", *(c for c in facts.moments[name].columns if c != "outcome")]
    for column in order:
        low, high = ends[column][:, 0].min(), ends[column][:, 1].max()
        if low == high:
            found.append(constant(*_named(study, name, column), low, ""))
    if found or not study.model.interaction:
        return found
    label, source = _named(study, name, "moderator")
    return [
        no_slope(label, source, low, "", code)
        for code, (low, high) in zip(study.arms, ends["moderator"], strict=True)
        if low == high
    ]


def _collinear(study: Study, moments: CellMoments, name: str) -> list[_Fault]:
    """Columns that can be computed from others."""
    arms, own = len(study.arms), [c for c in moments.columns if c != "outcome"]
    places = [moments.columns.index(column) for column in own]
    within = np.zeros((arms, len(own) + 1, len(own) + 1))  # of a one and the columns, by arm
    np.add.at(within[:, 0, 0], moments.arm_index, moments.count)
    sums = moments.sums[:, places]
    np.add.at(within[:, 0, 1:], moments.arm_index, sums)
    within[:, 1:, 0] = within[:, 0, 1:]
    products = moments.products[:, places][:, :, places]
    np.add.at(within[:, 1:, 1:], moments.arm_index, products)
    moderator = 1 + own.index("moderator")
    columns = [_named(study, name, column) for column in own]
    made = [np.tile(np.eye(len(own) + 1)[k + 1], (arms, 1)) for k in range(len(own))]
    label, source = columns[own.index("moderator")]
    for arm, code in list(enumerate(study.arms))[1:]:
        here = (np.arange(arms) == arm).astype(float)
        columns.append((f"arm {code!r}", study.columns.arm))
        made.append(_unit_columns(len(own) + 1, 0, here))
        if study.model.interaction:
            columns.append((f"{label} in arm {code!r}", source))
            made.append(_unit_columns(len(own) + 1, moderator, here))
    weights = np.array(made)  # what each column is of the one and the columns, in each arm
    whole = np.einsum("kas,ast,lat->kl", weights, within, weights)
    total = np.einsum("kas,as->k", weights, within[:, 0])
    centred = whole - np.outer(total, total) / moments.n
    spread = np.sqrt(np.diag(centred))
    return following(columns, centred / (spread[:, None] * spread), "")


def _unit_columns(width: int, place: int, by_arm: NDArray[np.float64]) -> NDArray[np.float64]:
    made = np.zeros((len(by_arm), width))
    made[:, place] = by_arm
    return made
