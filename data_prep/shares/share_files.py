"""A share: one file with what a data owner sends in place of rows. JSON, read without trust."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alliance.data_prep.cell_moments import CellMoments, Column
from alliance.data_prep.covariates import CovariateColumn
from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.files import file_bytes
from alliance.data_prep.partial_files import write_partial
from alliance.data_prep.registry.part import (
    NOTHING_SEEN,
    Ends,
    Facts,
    Kept,
    Part,
    Source,
    facts_of,
    kinds,
    read_part,
)
from alliance.data_prep.registry.partition import IdHashes, Partition, read_typed
from alliance.data_prep.registry.registry import (
    is_registry,
    require_moderator_everywhere,
    require_moments,
)
from alliance.data_prep.shares.disclosure import (
    LEAST,
    Recovered,
    attack,
    chosen,
    numbers_sent,
)
from alliance.data_prep.study.description import Study, study_text
from alliance.data_prep.study.toml_files import parse_toml
from alliance.data_prep.tables.cells import Numbers, natural_key
from alliance.data_prep.tables.roles import covariate_column
from alliance.data_prep.trial.seen import Places
from alliance.data_prep.trial.validation import CovariateCells

FORMAT, VERSION = "alliance share", 1
ENDING = ".share"
LEFT_OUT = "without_enough_in_cell"  # column of the flow counts
MOST_BYTES = 2_000_000_000
CAUTION = (
    "Cross-products are the shadow of personal data. Whether they may be sent is for their owner "
    "to decide. This is no anonymisation and no differential privacy."
)

Whole = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Cells(_Strict):
    """`CellMoments`, with the upper triangle of the products row by row."""

    columns: list[str | tuple[str, str | None]]
    therapist: list[Whole]
    arm: list[Whole]
    count: list[Annotated[int, Field(strict=True, ge=1)]]
    centre: list[Number]
    sums: list[list[Number]]
    products: list[list[Number]]


class _Control(_Strict):
    least: Whole
    allow_small_cells: bool
    cells: dict[str, Whole]
    cells_left_out: dict[str, Whole]
    patients_left_out: dict[str, Whole]
    smallest_cell: dict[str, Whole]
    columns: dict[str, Whole]
    rows_told: list[str]


class _File(_Strict):
    format: Literal["alliance share"]
    version: Whole
    caution: str
    id: str
    made: str
    site: str
    study: str
    data_sha256: str
    control: _Control
    therapists: list[str]
    covariates: dict[str, list[str] | None]
    flow: dict[str, dict[str, Whole]]
    gaps: dict[str, dict[str, list[Whole]]]
    given: dict[str, dict[str, Whole]]
    lacking: dict[str, Whole]
    arms: list[Whole]
    known: _Cells
    moments: dict[str, _Cells]


@dataclass(frozen=True, eq=False, slots=True)
class Share:
    """What a data owner sends.

    Attributes
    ----------
    name : str
        Of the file.
    site : str
        Whose share it is.
    content : _File
        As it stands in the file.
    study : Study
    facts : Facts
        As of one file of a registry, with therapists by their numbers.
    """

    name: str
    site: str
    content: _File
    study: Study
    facts: Facts

    def part(self, outcomes: Sequence[str]) -> Part:
        """The share as a part of a registry.

        Parameters
        ----------
        outcomes : sequence of str
            That are fitted: the notes are of these.
        """
        content = self.content
        rows = content.lacking["row"]
        categories = {name: levels for name, levels in content.covariates.items() if levels}
        codes = {
            covariate_column(name): dict.fromkeys(levels) for name, levels in categories.items()
        }
        cells = {
            name: CovariateCells(
                numbers=0 if levels else rows,
                texts=rows if levels else 0,
                wrong=0,
                continuous=frozenset([levels is None]),
            )
            for name, levels in content.covariates.items()
        }
        return Part(
            sources=(Source(self.name, content.data_sha256, rows),),
            unread=(),
            problems=(),
            totals=(),
            complete=True,
            arms=frozenset(
                code for code, n in zip(self.study.arms, content.arms, strict=True) if n
            ),
            covariates=cells,
            seen=replace(
                NOTHING_SEEN,
                codes=codes,
                numbers=self._numbers(),
                places={(part, code): Places(1, ()) for part, own in codes.items() for code in own},
            ),
            ids=IdHashes(),
            notes=tuple(self._notes(outcomes)),
            facts=self.facts,
        )

    def _numbers(self) -> dict[str, Numbers]:
        """Of continuous covariates a mean and an SD to either side: their ends are not sent."""
        found = {}
        own = max(self.facts.moments.values(), key=lambda each: each.n)
        for k, column in enumerate(own.columns):
            if isinstance(column, str) or column.level is not None or not own.n:
                continue
            spread = float(np.sqrt(own.products[:, k, k].sum() / own.n))
            ends = sorted({own.centre[k] - spread, own.centre[k] + spread})
            counted = dict.fromkeys(map(float, ends), 1)
            found[covariate_column(column.covariate)] = Numbers(counted, counted, {})
        return found

    def _notes(self, outcomes: Sequence[str]) -> list[str]:
        """What was left out, in sentences."""
        control = self.content.control
        told = [
            f"{self.name}: {count} patients in {control.cells_left_out[name]} cells of a therapist "
            f"and arm left out of {name}, because so few would tell their rows."
            for name, count in control.patients_left_out.items()
            if count and name in outcomes
        ]
        if control.rows_told:
            told.append(
                f"{self.name} was made with small cells allowed: rows of "
                f"{len(control.rows_told)} patients can be told from it."
            )
        return told

    @property
    def text(self) -> str:
        """The file's text."""
        return json.dumps(self.content.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


# Made ---------------------------------------------------------------------------------------------


def require_therapists(study: Study) -> None:
    """Refuse shares of trials in which some patients have no therapist.

    Raises
    ------
    InputError
    """
    if without := study.arms_without_therapist:
        raise InputError(
            "Shares hold cross-products of therapists' patients, and these arms have no "
            f"therapists: {', '.join(without)}.",
            "Fit the files of rows together: `alliance fit` takes a pattern or a folder.",
        )


def make_share(
    study: Study,
    data: Path,
    *,
    site: str | None = None,
    least: int = LEAST,
    allow_small_cells: bool = False,
) -> Share:
    """Make a share of one file of rows.

    Parameters
    ----------
    study : Study
    data : Path
        A table, as of `data_prep.tables.readers.read_table`.
    site : str, optional
        The owner's name for it; the file's name without its ending by default.
    least : int
        Patients that a therapist must have in an arm for these cross-products to be sent.
    allow_small_cells : bool
        Leave nothing out, whatever can be told.

    Raises
    ------
    InputError
        If the model needs rows, or the file cannot be read.
    DataError
        With the problems of the file.
    """
    require_moments(study)
    require_moderator_everywhere(study)
    require_therapists(study)
    if is_registry(data):
        raise InputError(
            f"{str(data)!r} stands for many files, and a share is made of one.",
            "Make a share of each file; `alliance fit` takes them all together.",
        )
    if least < 2:
        raise InputError(
            f"At least {least} patients for each therapist and arm is no protection.",
            "Give 2 or more, or allow small cells and say so: `allow_small_cells=True`.",
        )
    declared = {name: kind == "continuous" for name, kind in study.covariate_kinds.items()}
    part = read_part(study, data, declared)
    if part.unread:
        _, problem, remedy = part.unread[0]
        raise InputError(problem, remedy)
    if (found := kinds(study, part)) != {
        name: True in cells.continuous for name, cells in part.covariates.items()
    }:
        part = read_part(study, data, found)
    if part.problems or part.totals or part.facts is None:
        raise DataError([*part.problems, *part.totals])
    facts = part.facts
    if not allow_small_cells:
        typed = read_typed(study, data, found)
        facts = facts_of(study, typed, partial(_chosen, study, least))
    return _shared(study, part, facts, site or data.stem, least, allow_small_cells)


def _chosen(study: Study, least: int, partition: Partition) -> tuple[Partition, Kept]:
    return chosen(study, partition, least)


def _shared(study: Study, part: Part, facts: Facts, site: str, least: int, allowed: bool) -> Share:
    """The share of a file's facts, and what its own attack finds in it."""
    assert part.facts is not None
    names = sorted(facts.known.therapists, key=natural_key)
    # At random, but in the order of the ids: the order of therapists decides a sum's last bits
    drawn = sorted(secrets.SystemRandom().sample(range(10**6, 10**7), len(names)))
    numbers = dict(zip(names, map(str, drawn), strict=True))
    place = {name: j for j, name in enumerate(names)}
    moments = {
        name: _renamed(_without_absent(own), place, numbers) for name, own in facts.moments.items()
    }
    levels = {column for own in moments.values() for column in own.columns}
    told = attack(moments)
    everyone = part.facts.moments
    flow = {}
    for name, counts in facts.flow.items():
        left_out = everyone[name].n - facts.moments[name].n
        flow[name] = {
            key: value - left_out if key == "analysed" else value for key, value in counts.items()
        } | {LEFT_OUT: left_out}
    control = _Control(
        least=least,
        allow_small_cells=allowed,
        cells={name: len(own.count) for name, own in moments.items()},
        cells_left_out={
            name: max(0, len(everyone[name].count) - len(own.count))
            for name, own in moments.items()
        },
        patients_left_out={name: counts[LEFT_OUT] for name, counts in flow.items()},
        smallest_cell={name: int(own.count.min()) if own.n else 0 for name, own in moments.items()},
        columns={name: len(own.columns) for name, own in moments.items()},
        rows_told=[_place_told(each, moments, study) for each in told],
    )
    content = _File(
        format="alliance share",
        version=VERSION,
        caution=CAUTION,
        id=secrets.token_hex(16),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        site=site,
        study=study_text(study),
        data_sha256=part.sources[0].sha256,
        control=control,
        therapists=[numbers[name] for name in names],
        covariates={
            name: [level for level in codes if CovariateColumn(name, level) in levels] or None
            for name, codes in (
                (name, part.seen.codes.get(covariate_column(name), {})) for name in study.covariates
            )
        },
        flow=flow,
        gaps={
            name: {column: count.tolist() for column, count in own.items()}
            for name, own in facts.gaps.items()
        },
        given=facts.given,
        lacking=facts.lacking,
        arms=facts.arms.tolist(),
        known=_told_cells(_renamed(facts.known, place, numbers), numbers),
        moments={name: _told_cells(own, numbers) for name, own in moments.items()},
    )
    return _opened(f"{site}{ENDING}", content)


def _without_absent(own: CellMoments) -> CellMoments:
    """Without levels that only patients have who were left out: they are not told either."""
    kept = [
        k
        for k, column in enumerate(own.columns)
        if isinstance(column, str) or column.level is None or own.centre[k] > 0
    ]
    return CellMoments(
        tuple(own.columns[k] for k in kept),
        own.therapists,
        own.therapist_index,
        own.arm_index,
        own.count,
        own.centre[kept],
        own.sums[:, kept],
        own.products[:, kept][:, :, kept],
    )


def _renamed(own: CellMoments, place: Mapping[str, int], numbers: Mapping[str, str]) -> CellMoments:
    """Therapists by their numbers, in the order of the whole share; cells in that order."""
    order = sorted(own.therapists, key=place.__getitem__)
    new = {name: j for j, name in enumerate(order)}
    index = np.array([new[name] for name in own.therapists], dtype=np.int64)[own.therapist_index]
    cells = np.lexsort((own.arm_index, index))
    return CellMoments(
        own.columns,
        tuple(numbers[name] for name in order),
        index[cells],
        own.arm_index[cells],
        own.count[cells],
        own.centre,
        own.sums[cells],
        own.products[cells],
    )


def _place_told(found: Recovered, moments: Mapping[str, CellMoments], study: Study) -> str:
    own = moments[found.outcome.split(" and ")[0]]
    arm = list(study.arms)[found.arm]
    return f"{found.outcome}, therapist {own.therapists[found.therapist]}, arm {arm}: {found.how}"


def _told_cells(own: CellMoments, numbers: Mapping[str, str]) -> _Cells:
    place = {number: j for j, number in enumerate(numbers[name] for name in numbers)}
    upper = np.triu_indices(len(own.columns))
    index = np.array([place[name] for name in own.therapists], dtype=np.int64)
    return _Cells(
        columns=[
            column if isinstance(column, str) else (column.covariate, column.level)
            for column in own.columns
        ],
        therapist=index[own.therapist_index].tolist() if len(index) else [],
        arm=own.arm_index.tolist(),
        count=own.count.tolist(),
        centre=own.centre.tolist(),
        sums=own.sums.tolist(),
        products=own.products[:, upper[0], upper[1]].tolist(),
    )


# Read ---------------------------------------------------------------------------------------------


def read_share(path: Path) -> Share:
    """Read a share that somebody sent: nothing in it is executed, and nothing is believed.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is no share, of another version, or damaged; with the place in it.
    """
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if size > MOST_BYTES:
        raise InputError(f"{str(path)!r} is too large for a share.", "Ask its owner what it is.")
    content = file_bytes(path, "share")
    try:
        given = json.loads(
            content.decode("utf-8"), parse_constant=_refused, object_pairs_hook=_once
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no share: {error}.", AGAIN) from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise InputError(f"{path.name} is no share.", "Give a file that `alliance share` wrote.")
    if given.get("version") != VERSION:
        raise InputError(
            f"{path.name} is a share of version {given.get('version')!r}; this alliance reads "
            f"version {VERSION}.",
            "Ask for one that was made by the same version of alliance, or install that version.",
        )
    try:
        read = _File.model_validate(given)
        return _opened(path.name, read)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path.name} is damaged at {place}: {first['msg']}.", AGAIN) from error
    except _DamagedError as error:
        raise InputError(f"{path.name} is damaged at {error}.", AGAIN) from error


AGAIN = "Ask its owner to send it again."


class _DamagedError(Exception):
    """Where a share contradicts itself."""


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number of a share")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _rated(study: Study, content: _File) -> NDArray[np.int64]:
    """Rows of each arm that have the moderator, from those that lack it."""
    column = study.measure.column or study.measure.items[0]
    own = next(iter(content.gaps.values()), {})
    lacking = _counts(f"gaps.{column}", own.get(column, [0] * len(study.arms)), len(study.arms))
    return np.array(content.arms, dtype=np.int64) - lacking


def _opened(name: str, content: _File) -> Share:
    """The share with everything that is computed from it, checked."""
    try:
        study = Study.model_validate(parse_toml(content.study.encode(), "study"))
    except (ValidationError, InputError) as error:
        raise _DamagedError("study: it is no description of a study") from error
    if len(set(content.therapists)) < len(content.therapists):
        raise _DamagedError("therapists: a number stands twice")
    arms = len(study.arms)
    if len(content.arms) != arms:
        raise _DamagedError("arms: not one count for each arm of its study")
    if set(content.moments) != set(study.outcomes) or set(content.flow) != set(study.outcomes):
        raise _DamagedError("moments: not those of the outcomes of its study")
    if set(content.covariates) != set(study.covariates):
        raise _DamagedError("covariates: not those of its study")
    if {"row", "arm", "therapist", study.measure.name} != set(content.lacking):
        raise _DamagedError("lacking: not the counts of a share")
    moments = {
        outcome: _cells(f"moments.{outcome}", own, content.therapists, arms)
        for outcome, own in content.moments.items()
    }
    for outcome, own in moments.items():
        _check_outcome(outcome, own, study, content)
    facts = Facts(
        known=_cells("known", content.known, content.therapists, arms),
        moments=moments,
        ends={outcome: _ends_of(own, arms) for outcome, own in moments.items()},
        flow=content.flow,
        gaps={
            outcome: {
                column: _counts(f"gaps.{outcome}.{column}", count, arms)
                for column, count in own.items()
            }
            for outcome, own in content.gaps.items()
        },
        given=content.given,
        lacking=content.lacking,
        arms=np.array(content.arms, dtype=np.int64),
        rated=_rated(study, content),
    )
    return Share(name, content.site, content, study, facts)


def _counts(place: str, given: Sequence[int], arms: int) -> NDArray[np.int64]:
    if len(given) != arms:
        raise _DamagedError(f"{place}: not one count for each arm")
    return np.array(given, dtype=np.int64)


def _check_outcome(outcome: str, own: CellMoments, study: Study, content: _File) -> None:
    wanted = {"moderator", "outcome"}
    if study.outcomes[outcome].baseline is not None:
        wanted.add("baseline")
    names = {column for column in own.columns if isinstance(column, str)}
    others = {column.covariate for column in own.columns if not isinstance(column, str)}
    if names != wanted or others - set(study.covariates):
        raise _DamagedError(f"moments.{outcome}.columns: not those of its study")
    if set(content.gaps.get(outcome, {})) == set() or outcome not in content.given:
        raise _DamagedError(f"gaps.{outcome}: missing")
    if own.n != content.flow[outcome].get("analysed"):
        raise _DamagedError(f"flow.{outcome}: {own.n} patients are in the cells")
    low, high = study.outcomes[outcome].range
    mean = own.centre[own.columns.index("outcome")]
    if own.n and not low - 1e-6 * (high - low) <= mean <= high + 1e-6 * (high - low):
        raise _DamagedError(f"moments.{outcome}.centre: {mean:g} is no score of its range")


def _cells(place: str, given: _Cells, therapists: Sequence[str], arms: int) -> CellMoments:
    columns: list[Column] = [
        column if isinstance(column, str) else CovariateColumn(*column) for column in given.columns
    ]
    q, cells = len(columns), len(given.count)
    if len(set(columns)) < q:
        raise _DamagedError(f"{place}.columns: a column stands twice")
    lengths = {len(given.therapist), len(given.arm), len(given.sums), len(given.products)}
    if lengths != {cells} or len(given.centre) != q:
        raise _DamagedError(f"{place}: lists of different lengths")
    upper = np.triu_indices(q)
    if any(len(row) != q for row in given.sums) or any(
        len(row) != len(upper[0]) for row in given.products
    ):
        raise _DamagedError(f"{place}: not so many numbers as columns")
    therapist = np.array(given.therapist, dtype=np.int64)
    arm = np.array(given.arm, dtype=np.int64)
    if (therapist >= len(therapists)).any() or (arm >= arms).any():
        raise _DamagedError(f"{place}: a therapist or arm that there is not")
    code = therapist * arms + arm
    if (np.diff(code) <= 0).any():
        raise _DamagedError(f"{place}: cells that are not in order, or stand twice")
    count = np.array(given.count, dtype=np.int64)
    if count.sum() > 10**9:
        raise _DamagedError(f"{place}.count: more patients than there can be")
    products = np.zeros((cells, q, q))
    flat = np.array(given.products, dtype=float).reshape(cells, len(upper[0]))
    products[:, upper[0], upper[1]] = flat
    products[:, upper[1], upper[0]] = flat
    sums = np.array(given.sums, dtype=float).reshape(cells, q)
    _require_possible(place, count, sums, products)
    present, index = np.unique(therapist, return_inverse=True)
    return CellMoments(
        tuple(columns),
        tuple(therapists[j] for j in present),
        index.astype(np.int64),
        arm,
        count,
        np.array(given.centre, dtype=float),
        sums,
        products,
    )


def _require_possible(
    place: str, count: NDArray[np.int64], sums: NDArray[np.float64], products: NDArray[np.float64]
) -> None:
    """Refuse moments that no patients have: sums about the centre, and squares below zero."""
    if not products.size:
        return
    size = np.sqrt(np.maximum(np.einsum("cqq->cq", products), 0.0)).max(axis=0)
    if (np.abs(sums.sum(axis=0)) > 1e-6 * (size * math.sqrt(count.sum()) + 1e-300)).any():
        raise _DamagedError(f"{place}.sums: they are not about the centre")
    spread = products - sums[:, :, None] * sums[:, None, :] / count[:, None, None]
    scale = np.where(size > 0, size, 1.0)
    least = np.linalg.eigvalsh(spread / (scale[:, None] * scale)).min()
    if least < -1e-6:
        raise _DamagedError(f"{place}.products: no patients have such cross-products")


def _ends_of(own: CellMoments, arms: int) -> dict[Column, Ends]:
    """Ends that tell what varies in an arm, and no patient's value: they are not sent."""
    found: dict[Column, Ends] = {}
    count = np.bincount(own.arm_index, weights=own.count, minlength=arms)
    for k, column in enumerate(own.columns):
        total = np.bincount(own.arm_index, weights=own.sums[:, k], minlength=arms)
        square = np.bincount(own.arm_index, weights=own.products[:, k, k], minlength=arms)
        some = count > 0
        mean = np.divide(total, count, out=np.zeros(arms), where=some)
        spread = square - count * mean**2
        varies = some & (spread > 1e-12 * np.maximum(square, own.centre[k] ** 2 * count))
        value = np.array([float(f"{own.centre[k] + each:.12g}") for each in mean])
        low = np.where(some, np.where(varies, value - 1, value), np.inf)
        high = np.where(some, np.where(varies, value + 1, value), -np.inf)
        found[column] = np.column_stack([low, high])
    return found


def write_share(
    share: Share, path: Path, *, overwrite: bool = False, inputs: Sequence[Path] = ()
) -> None:
    """Write a share whole; its owner alone may read it there.

    Parameters
    ----------
    share : Share
    path : Path
    overwrite : bool
        Whether an earlier share there is replaced; another file never is.
    inputs : sequence of Path
        What is read, and never replaced.

    Raises
    ------
    InputError
        If the file may not stand there.
    """
    if path.suffix.lower() != ENDING:
        raise InputError(
            f"{path.name!r} does not end in {ENDING}.", f"Name the share {path.stem}{ENDING}."
        )
    if path.exists():
        if not overwrite:
            raise InputError(
                f"{str(path)!r} exists.", "Name another file, or replace it: `overwrite=True`."
            )
        read_share(path)  # what is no share is not replaced
    if any(path.absolute() == each.absolute() for each in inputs):
        raise InputError(f"{str(path)!r} is read here.", "Name another file.")
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"There is no folder {str(path.absolute().parent)!r}.", "Make it, or name another."
        )
    os.replace(write_partial(path, share.text.encode()), path)


def summary_lines(share: Share) -> list[str]:
    """What a share holds, in words.

    Parameters
    ----------
    share : Share
    """
    content, study = share.content, share.study
    control = content.control
    lines = [
        f"Share of {content.site}, made {content.made}: {study.title}.",
        content.caution,
        f"{len(content.therapists)} therapists under numbers drawn at random, "
        f"{content.lacking['row']} rows read, {len(study.arms)} arms "
        f"({', '.join(study.arms)}). No id of a patient or therapist.",
    ]
    for name, own in share.facts.moments.items():
        q = len(own.columns)
        columns = ", ".join(
            column
            if isinstance(column, str)
            else f"{column.covariate}" + (f"[{column.level}]" if column.level is not None else "")
            for column in own.columns
        )
        lines.append(
            f"{name}: {own.n} patients in {len(own.count)} cells of a therapist and arm; for each "
            f"{numbers_sent(q)} numbers: sums and cross-products of {columns}. Smallest cell: "
            f"{control.smallest_cell.get(name, 0)} patients. Left out: "
            f"{control.patients_left_out.get(name, 0)} patients in "
            f"{control.cells_left_out.get(name, 0)} cells."
        )
    if control.allow_small_cells:
        lines.append("Small cells were allowed.")
    else:
        lines.append(
            f"Cells of fewer than {control.least} patients, and patients whom a cell would tell, "
            "were left out."
        )
    told = attack(share.facts.moments)
    if told:
        lines.append(f"The attack told {len(told)} rows of patients:")
        lines += [f"  {_place_told(each, share.facts.moments, study)}" for each in told[:20]]
        if len(told) > 20:
            lines.append(f"  and {len(told) - 20} more.")
    else:
        lines.append("The attack told no row.")
    return lines
