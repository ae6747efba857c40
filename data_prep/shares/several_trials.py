"""Which trial each file, share, row and therapist is of, where the data are of several trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments
from alliance.data_prep.errors import DataError, InputError, Problem, nearest
from alliance.data_prep.files import first_of
from alliance.data_prep.registry.part import Choose, Facts, Kept
from alliance.data_prep.registry.partition import Partition, TypedFile
from alliance.data_prep.shares.share_files import Share
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.cells import parse_codes, without_declared
from alliance.data_prep.tables.readers import read_table

OWN = ":"  # between a trial, or a site, and the therapist's own name


def several(study: Study) -> bool:
    """Whether the data are of several trials in one model."""
    return study.model.several_trials != "no"


def trial_of_share(study: Study, share: Share) -> str:
    """The trial of a share: as ``[trials]`` has it, or by its own study's title, or its site."""
    if study.trials:
        return _listed(study, share.site, share.name)
    return share.site if share.study.title == study.title else share.study.title


def trials_of_files(study: Study, files: Sequence[Path]) -> dict[Path, str | None]:
    """The trial of each file, by ``[trials]`` or by its name; None where a column tells it.

    Raises
    ------
    InputError
        If two files have one name, or one is of no trial.
    """
    if study.columns.trial is not None:
        return dict.fromkeys(files)
    first: dict[str, Path] = {}
    for file in files:
        earlier = first.setdefault(file.stem, file)
        if earlier is not file:
            raise InputError(
                f"{str(earlier)!r} and {str(file)!r} have one name, and trials are told apart by "
                "the names of their files.",
                "Rename one, or name a column that tells the trials, `trial` under [columns].",
            )
    if study.trials:
        return {file: _listed(study, file.stem, file.name) for file in files}
    return {file: file.stem for file in files}


def _listed(study: Study, part: str, name: str) -> str:
    for trial, parts in study.trials.items():
        if part in parts:
            return trial
    raise InputError(
        f"{name} is of no trial: [trials] does not name {part!r}.",
        f"Add it to one of: {first_of(list(study.trials))}; or leave [trials] out: every file and "
        "share is then a trial.",
    )


def require_listed(study: Study, parts: Sequence[str]) -> None:
    """Refuse files and sites under ``[trials]`` that are not given.

    Parameters
    ----------
    study : Study
    parts : sequence of str
        Names of files without their endings, and sites.

    Raises
    ------
    InputError
    """
    for trial, named in study.trials.items():
        for part in named:
            if part not in parts:
                raise InputError(
                    f"[trials] names {part!r} of {trial!r}, and no such file or site is given.",
                    nearest(part, parts),
                )


class Choosing:
    """Gives therapists of a file the names of their trials; remembers whose trial is which.

    Parameters
    ----------
    study : Study
    path : Path
    trial : str or None
        Of the whole file; None where a column tells it row by row.

    Attributes
    ----------
    trials : dict of str to str
        By therapist.
    """

    def __init__(self, study: Study, path: Path, trial: str | None) -> None:
        self.study, self.path, self.trial = study, path, trial
        self.trials: dict[str, str] = {}

    def __call__(self, found: TypedFile) -> Choose:
        """What is chosen of a file's patients: all, with therapists named by their trials."""
        rows = len(found.rows)
        told = np.array([self.trial] * rows, dtype=object) if self.trial else self._column(found)

        def choose(partition: Partition) -> tuple[Partition, Kept | None]:
            return self._named(partition, told), None

        return choose

    def _column(self, found: TypedFile) -> NDArray[np.object_]:
        column = str(self.study.columns.trial)
        table = read_table(self.path, may_be_empty=True)
        table.require([column])
        codes = parse_codes(without_declared(table.frame, self.study)[column])
        problems = [
            Problem(
                found.name, int(row), column, None,
                "must name the trial of the row",
                "Write its name, or leave the row out.",
            )
            for row, code in zip(found.rows, codes, strict=True)
            if code is None
        ]  # fmt: skip
        if problems:
            raise DataError(problems)
        return np.asarray(codes, dtype=object)

    def _named(self, partition: Partition, told: NDArray[Any]) -> Partition:
        index = partition.data["therapist_index"].values
        pairs: dict[tuple[str, str], int] = {}
        own = np.full(len(index), -1, dtype=np.int64)
        for row in np.flatnonzero(index >= 0):
            pair = (str(told[row]), partition.therapists[index[row]])
            own[row] = pairs.setdefault(pair, len(pairs))
        names = [f"{trial}{OWN}{therapist}" for trial, therapist in pairs]
        self.trials = dict(zip(names, (trial for trial, _ in pairs), strict=True))
        data = partition.data.drop_vars("therapist_index").drop_vars("therapist", errors="ignore")
        data = data.assign(therapist_index=("patient", own)).assign_coords(
            therapist=np.arange(len(names))
        )
        return replace(partition, data=data, therapists=names)


def with_arms(facts: Facts, theirs: Sequence[str], mine: Sequence[str]) -> Facts:
    """Facts of a share whose study has other arms, or others first, in the study's arms.

    Parameters
    ----------
    facts : Facts
    theirs, mine : sequence of str
        Codes in display order; the study has all of the share's.
    """
    if list(theirs) == list(mine):
        return facts
    place = np.array([list(mine).index(code) for code in theirs], dtype=np.int64)

    def moved(cells: CellMoments) -> CellMoments:
        index = place[cells.arm_index]
        order = np.lexsort((index, cells.therapist_index))
        return replace(
            cells,
            arm_index=index[order],
            therapist_index=cells.therapist_index[order],
            count=cells.count[order],
            sums=cells.sums[order],
            products=cells.products[order],
        )

    def spread(values: NDArray[Any], empty: Any = 0) -> NDArray[Any]:
        found = np.empty((len(mine), *values.shape[1:]), dtype=values.dtype)
        found[:] = empty
        found[place] = values
        return found

    nothing = np.array([np.inf, -np.inf])
    return Facts(
        known=moved(facts.known),
        moments={name: moved(own) for name, own in facts.moments.items()},
        ends={
            name: {column: spread(own, nothing) for column, own in each.items()}
            for name, each in facts.ends.items()
        },
        flow=facts.flow,
        gaps={
            name: {column: spread(own) for column, own in each.items()}
            for name, each in facts.gaps.items()
        },
        given=facts.given,
        lacking=facts.lacking,
        arms=spread(facts.arms),
        rated=spread(facts.rated),
    )


def only_trial(trials: Mapping[str, str]) -> list[str]:
    """What to say where all data turn out to be of one trial."""
    name = next(iter(trials.values()), "")
    return [
        f"All data are of one trial, {name!r}: nothing can vary between trials, and the model is "
        "that of a single trial."
    ]
