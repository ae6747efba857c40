"""Shares and files of rows together: one registry, as if all rows stood in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments
from alliance.data_prep.errors import InputError, Problem
from alliance.data_prep.files import first_of
from alliance.data_prep.registry.part import Facts, Part, kinds, read_part
from alliance.data_prep.registry.partition import IdHashes, rows_of_ids
from alliance.data_prep.registry.registry import (
    Registry,
    is_registry,
    patients_again,
    registry_files,
    registry_of,
    require_moderator_everywhere,
    require_moments,
)
from alliance.data_prep.shares.several_trials import (
    OWN,
    Choosing,
    only_trial,
    require_listed,
    several,
    trial_of_share,
    trials_of_files,
    with_arms,
)
from alliance.data_prep.shares.share_files import (
    ENDING,
    LEFT_OUT,
    Share,
    read_share,
    require_therapists,
)
from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.cells import natural_key

FEWEST_TRIALS = 2  # that anything can vary between
LIKE_NO_OTHER = 10  # patients of a cell whose moments others seldom have, even of whole scores
DIGITS = 9  # of these moments


def is_share(path: Path) -> bool:
    """Whether a path names a share."""
    return path.suffix.lower() == ENDING


def load_pooled(study: Study, paths: Sequence[Path]) -> Registry:
    """Pool shares, files of rows and patterns of them.

    Parts are added up in pairs in the order of their names, as the files of a registry are, so that
    shares of files give the moments of the files, to the last bit.

    Parameters
    ----------
    study : Study
    paths : sequence of Path

    Returns
    -------
    Registry

    Raises
    ------
    InputError
        If a share does not go with the study or with another share, or a file cannot be read.
    DataError
        With the problems of files.
    """
    require_moments(study)
    require_moderator_everywhere(study)
    shares = [read_share(path) for path in paths if is_share(path)]
    if shares:
        require_therapists(study)
    for share in shares:
        _require_same(study, share)
    _require_apart(shares)
    files = [
        file
        for path in paths
        if not is_share(path)
        for file in (registry_files(path) if is_registry(path) else [path])
    ]
    declared = {name: kind == "continuous" for name, kind in study.covariate_kinds.items()}
    own = [(f"{share.site}.", _of_share(study, share)) for share in shares]
    trials = _Trials(study, shares, files) if several(study) else None

    def read_files(continuous: Mapping[str, bool]) -> list[tuple[str, Part]]:
        choosing = {} if trials is None else trials.choosing
        return [
            (f"{file.stem}.", read_part(study, file, continuous, choosing.get(file)))
            for file in files
        ]

    read = read_files(declared)
    # What a covariate is, all parts decide together; those who made shares have decided before
    found = kinds(study, _added([replace(part, facts=None) for _, part in [*own, *read]]))
    for share in shares:
        _require_kinds(share, found)
    if any(
        cells.continuous - {found[name]}
        for _, part in read
        for name, cells in part.covariates.items()
    ):
        read = read_files(found)
    everything = sorted([*own, *read], key=lambda each: each[0])
    whole = _added([_counting_left_out(part) if shares else part for _, part in everything])

    def met_twice(suspects: IdHashes) -> tuple[list[Problem], list[str]]:
        if not any(len(some) for some in (*suspects.exact, *suspects.alike)):
            return [], []
        rows = [(file.name, rows_of_ids(study, file, suspects)) for file in files]
        return patients_again(rows, str(study.columns.patient))

    source = ", ".join(str(path) for path in paths)
    order = _order([part for _, part in everything]) if shares or trials is not None else None
    registry = registry_of(study, whole, source, met_twice, order)
    if shares:
        names = [*(share.name for share in shares), *(file.name for file in files)]
        parts = [part for _, part in (*own, *read)]
        _require_no_cell_twice(study, dict(zip(names, parts, strict=True)))
    return registry if trials is None else trials.told(registry)


class _Trials:
    """Which trial each part is of, and each therapist."""

    def __init__(self, study: Study, shares: Sequence[Share], files: Sequence[Path]) -> None:
        require_listed(study, [*(each.site for each in shares), *(each.stem for each in files)])
        self.choosing = {
            file: Choosing(study, file, trial)
            for file, trial in trials_of_files(study, files).items()
        }
        self.of_shares = {
            f"{share.site}{OWN}{name}": trial_of_share(study, share)
            for share in shares
            for name in share.facts.known.therapists
        }

    def told(self, registry: Registry) -> Registry:
        """The registry that knows of its trials, if there are several."""
        trials = dict(self.of_shares)
        for each in self.choosing.values():
            trials |= each.trials
        if len(set(trials.values())) < FEWEST_TRIALS:
            return replace(registry, notes=(*registry.notes, *only_trial(trials)))
        return replace(registry, trials=trials)


def _added(parts: Sequence[Part]) -> Part:
    """Parts added up in pairs, as the files of a registry are."""
    while len(parts) > 1:
        pairs = [parts[k : k + 2] for k in range(0, len(parts), 2)]
        parts = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def _order(parts: Sequence[Part]) -> dict[str, tuple[int, int]]:
    """Therapists by the part that they first stand in, and in natural order there."""
    order: dict[str, tuple[int, int]] = {}
    for place, part in enumerate(parts):
        if part.facts is None:
            continue
        for j, name in enumerate(sorted(part.facts.known.therapists, key=natural_key)):
            order.setdefault(name, (place, j))
    return order


def _of_share(study: Study, share: Share) -> Part:
    """A share as a part, with the outcomes of the study; therapists named by their site."""
    part = share.part(list(study.outcomes))
    facts = with_arms(share.facts, list(share.study.arms), list(study.arms))

    def named(own: CellMoments) -> CellMoments:
        names = tuple(f"{share.site}{OWN}{name}" for name in own.therapists)
        return replace(own, therapists=names)

    chosen = list(study.outcomes)
    lacking = dict(facts.lacking)
    lacking[study.measure.name] = lacking.pop(share.study.measure.name)
    narrowed = Facts(
        known=named(facts.known),
        moments={name: named(facts.moments[name]) for name in chosen},
        ends={name: facts.ends[name] for name in chosen},
        flow={name: facts.flow[name] for name in chosen},
        gaps={name: _gaps(study, share, facts, name) for name in chosen},
        given={name: facts.given[name] for name in chosen},
        lacking=lacking,
        arms=facts.arms,
        rated=facts.rated,
    )
    return replace(part, facts=narrowed)


def _gaps(study: Study, share: Share, facts: Facts, outcome: str) -> dict[str, NDArray[np.int64]]:
    """Rows that lack a column, under the names of columns that the study has for them."""
    told = facts.gaps[outcome]
    columns = [_columns_of(each, outcome) for each in (share.study, study)]
    try:
        return {mine: told[theirs] for theirs, mine in zip(*columns, strict=True)}
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{share.name} is damaged at gaps.{outcome}.", "Ask its owner to send it again."
        ) from error


def _columns_of(study: Study, outcome: str) -> list[str]:
    own, moderator = study.outcomes[outcome], study.measure
    found = [str(study.columns.therapist), moderator.column or moderator.items[0], own.followup]
    return [*found, *([] if own.baseline is None else [own.baseline]), *study.covariates]


def _counting_left_out(part: Part) -> Part:
    """A part that counts who was left out of small cells: nobody, of a file."""
    if part.facts is None:
        return part
    flow = {name: {**counts, LEFT_OUT: counts.get(LEFT_OUT, 0)}
            for name, counts in part.facts.flow.items()}  # fmt: skip
    return replace(part, facts=replace(part.facts, flow=flow))


# What must be the same, and what must not --------------------------------------------------------


def _require_same(study: Study, share: Share) -> None:
    """Refuse a share that was made for another study.

    Raises
    ------
    InputError
    """
    theirs = share.study
    if theirs.title != study.title and not several(study):
        raise InputError(
            f"{share.name} is of {theirs.title!r}, and the study of {study.title!r}: different "
            "trials are not pooled as sites of one.",
            'Fit them as several trials, `several_trials="varying"`; if they are sites of one '
            "trial, give their study files one title.",
        )
    arms = list(theirs.arms), list(study.arms)
    if several(study) and set(theirs.arms) <= set(study.arms):  # a trial may lack some
        arms = arms[1], arms[1]
    told = {
        "the arms": arms,
        "the range of the moderator": (theirs.measure.range, study.measure.range),
        "the covariates": (theirs.covariates, study.covariates),
        "common_patients": (theirs.model.common_patients, study.model.common_patients),
    }
    for name, mine in study.outcomes.items():
        if name not in theirs.outcomes:
            raise InputError(
                f"{share.name} has no outcome {name!r}.",
                f"Ask for a share with it, or fit others: `outcome`. It has "
                f"{first_of(list(theirs.outcomes))}.",
            )
        other = theirs.outcomes[name]
        told |= {
            f"the range of {name}": (other.range, mine.range),
            f"which scores of {name} are better": (other.better, mine.better),
            f"whether {name} has a baseline": (
                other.baseline is not None,
                mine.baseline is not None,
            ),
        }
    for what, (there, here) in told.items():
        if there != here:
            raise InputError(
                f"{share.name}: {what} is {_said(there)} in the share and {_said(here)} in the "
                "study.",
                "Ask for a share that was made with this study, or correct the study.",
            )


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        told = [f"{each:g}" if isinstance(each, float) else str(each) for each in value]
        numbers = bool(told) and all(isinstance(each, float) for each in value)
        return (" to " if numbers else ", ").join(told) or "none"
    return str(value)


def _require_apart(shares: Sequence[Share]) -> None:
    """Refuse a share that is given twice, and shares of one site or of one file.

    Raises
    ------
    InputError
    """
    first: dict[tuple[str, str], Share] = {}
    for share in shares:
        content = share.content
        for kind, value in (
            ("share", content.id),
            ("file of rows", content.data_sha256),
            ("site", share.site),
        ):
            earlier = first.setdefault((kind, value), share)
            if earlier is share:
                continue
            if kind == "share":
                problem = f"{earlier.name} and {share.name} are the same share twice"
            elif kind == "site":
                problem = f"{earlier.name} and {share.name} are both of the site {share.site!r}"
            else:
                problem = f"{earlier.name} and {share.name} were made of the same file of rows"
            raise InputError(
                f"{problem}, so that patients would count twice.",
                "Leave one of them out"
                + (
                    "; if they are of different patients, have one made anew with another `site`."
                    if kind == "site"
                    else "."
                ),
            )


def _require_no_cell_twice(study: Study, parts: Mapping[str, Part]) -> None:
    """Refuse parts in which the same patients are: no ids tell, but means and products do.

    Cells of ratings with few values may be alike by chance; half of those of a part are not.

    Raises
    ------
    InputError
    """
    cells = {
        name: {
            cell
            for outcome in study.outcomes
            for cell in _fingerprints(study, part.facts.moments[outcome], outcome)
        }
        for name, part in parts.items()
        if part.facts is not None
    }
    first: dict[tuple[object, ...], str] = {}
    again: dict[tuple[str, str], int] = {}
    for name, own in cells.items():
        for cell in own:
            earlier = first.setdefault(cell, name)
            if earlier != name:
                again[earlier, name] = again.get((earlier, name), 0) + 1
    for (one, other), shared in again.items():
        if 2 * shared >= min(len(cells[one]), len(cells[other])):
            raise InputError(
                f"{one} and {other} hold the same patients, who would count twice: {shared} of "
                "their cells of a therapist and arm have the same means and cross-products.",
                "Leave one of them out, or have one made anew without these patients.",
            )


def _fingerprints(study: Study, own: CellMoments, outcome: str) -> Iterator[tuple[object, ...]]:
    """What tells the patients of a cell from all others: means and products of their scores.

    In shares of the scales' ranges, to the digits that sums in another order keep.
    """
    low, high = study.outcomes[outcome].range
    widths = {"outcome": high - low, "baseline": high - low}
    if study.moderator is not None:
        widths["moderator"] = study.moderator.range[1] - study.moderator.range[0]
    kept = [k for k, column in enumerate(own.columns) if column in widths]
    unit = np.array([widths[str(own.columns[k])] for k in kept])
    sums, count = own.sums[:, kept], own.count[:, None]
    means = (own.centre[kept] + sums / count) / unit
    within = own.products[:, kept][:, :, kept] - sums[:, :, None] * (sums / count)[:, None, :]
    within = (
        within[:, *np.tril_indices(len(kept))] / (unit[:, None] * unit)[np.tril_indices(len(kept))]
    )
    numbers = np.round(np.hstack([means, within]), DIGITS) + 0.0  # and no negative zero
    for c in np.flatnonzero(own.count >= LIKE_NO_OTHER):
        yield (outcome, int(own.arm_index[c]), int(own.count[c]), *numbers[c].tolist())


def _require_kinds(share: Share, found: Mapping[str, bool]) -> None:
    """Refuse a share that took a covariate for another kind.

    Raises
    ------
    InputError
    """
    for name, levels in share.content.covariates.items():
        if (levels is None) != found.get(name, levels is None):
            there = "numbers" if levels is None else "a category"
            raise InputError(
                f"{share.name} took the covariate {name!r} for {there}, and the other parts do "
                "not.",
                f'Say what it is in the study file, categorical = ["{name}"] or continuous = '
                f'["{name}"], and have the share made anew.',
            )
