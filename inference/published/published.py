"""Published findings as they stand in a `published.toml` beside a study."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Any

import pandas as pd
from pydantic import ValidationError

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.files import AnyPath, as_path, file_bytes
from alliance.data_prep.levels import AVERAGE, RESERVED, contrast_names, quoted, slope_names
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.toml_files import parse_toml
from alliance.inference.estimands.ratio_names import DIFFERENCES, OF_MODERATOR, RATIOS
from alliance.inference.published.findings import (
    QUANTITIES,
    Finding,
    PrintedNumber,
    Verdict,
    verdict,
)

__all__ = ["Finding", "Verdict", "published_frame", "read_published", "valid_levels", "verdict"]


def read_published(
    path: AnyPath, study: Study | None, *, left_out: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Read the published findings that stand beside a study.

    The file has one `[[finding]]` table for each finding. A table `[rope.OUTCOME]` with entries
    `QUANTITY = [low, high]`, on the outcome's own scale, gives a region of practical equivalence to
    the findings of that outcome and quantity whose claim it judges (`Finding.takes_rope`), unless
    they have their own.

    Parameters
    ----------
    path : str or path-like
        The `published.toml`.
    study : Study or None
        The study whose outcomes, arms and covariates the findings name; without one, outcomes and
        levels may have any name.
    left_out : collection of str
        Names of outcomes that the study has too, but that were not fitted.

    Returns
    -------
    tuple of Finding
        In the order of the file, without those on outcomes that were left out. None of a file of
        comments alone, as `alliance init` writes it to be filled in.

    Raises
    ------
    InputError
        If the file cannot be read, or a finding has an unknown name or impossible numbers; all
        faults are listed.
    """
    path = as_path(path)
    content = parse_toml(
        file_bytes(path, "file of published findings"), path.name, number=PrintedNumber
    )
    entries, ropes = content.get("finding"), content.get("rope", {})
    faults = [
        f"{key}: this key is unknown. {nearest(key, ('finding', 'rope'))}"
        for key in content
        if key not in ("finding", "rope")
    ]
    if not content:  # to be filled in: all of it is comment
        return ()
    if not isinstance(entries, list) or not entries:
        faults.append("finding: there is no [[finding]] table.")
        entries = []
    outcomes = None if study is None else (*study.outcomes, *left_out)
    faults += _rope_faults(ropes, outcomes)
    findings: list[Finding] = []
    places: dict[tuple[str, ...], int] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            finding = Finding.model_validate(entry)
        except ValidationError as fault:
            faults += [f"finding {number}{_pydantic_fault(error)}" for error in fault.errors()]
            continue
        faults += [f"finding {number}, {text}" for text in _name_faults(finding, study, outcomes)]
        key = (
            *(finding.outcome, finding.quantity, finding.level, finding.claim, finding.source),
            finding.trial or "",
        )
        if key in places:
            faults.append(f"finding {number}: repeats finding {places[key]}.")
        places.setdefault(key, number)
        findings.append(finding)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        noun = "fault" if len(faults) == 1 else "faults"
        raise InputError(
            f"{path.name} has {len(faults)} {noun}:\n{listed}\n",
            "Correct the file; findings are counted from its top.",
        )
    if study is None:
        return tuple(findings)
    kept = [finding for finding in findings if finding.outcome in study.outcomes]
    return tuple(_with_rope(finding, ropes, study) for finding in kept)


def _pydantic_fault(error: Mapping[str, Any]) -> str:
    """Return place and text of one pydantic error, with the valid keys where one is unknown."""
    place = "".join(f", {part}" for part in error["loc"][:1])
    if error["type"] == "extra_forbidden":
        return (
            f"{place}: this key is unknown. {nearest(str(error['loc'][-1]), Finding.model_fields)}"
        )
    if error["type"] == "missing":
        return f"{place}: this key is missing."
    return f"{place}: {error['msg'].removeprefix('Value error, ')}."


# Quantities that are about the moderator.
OF_SLOPES = (
    *("moderator_slope", "interaction", "therapist_slope_sd", "clinic_slope_sd"),
    *OF_MODERATOR.values(),
)


def valid_levels(study: Study, quantity: str) -> tuple[str, ...]:
    """Return the levels that a quantity of the tidy table has in a study; ("",) where it has none.

    Slopes are those of the arms with the moderator, and differences of slopes those of two of them.
    For `covariate_slope` these are the covariates' names; one of its categories may follow in
    square brackets, as in "sex[M]".
    """
    codes = tuple(study.arms)
    rated = [k for k, code in enumerate(codes) if code in study.rated_arms]
    if quantity in OF_MODERATOR.values():
        own = slope_names(codes)
        return (AVERAGE, *(own[k] for k in rated))
    if quantity == "moderator_slope":
        own = slope_names(codes)
        return (*RESERVED, *(own[k] for k in rated))
    if quantity in ("arm_contrast", "interaction", *DIFFERENCES.values(), *RATIOS):
        names = contrast_names(codes)
        compared = set(rated) if quantity == "interaction" else set(range(len(codes)))
        every = combinations(range(len(codes)), 2)
        return tuple(names[j, k] for k, j in every if {k, j} <= compared)
    if quantity in ("residual_sd", "therapist_icc", "clinic_icc") and _own_residuals(study):
        return ("", *slope_names(codes))
    return study.covariates if quantity == "covariate_slope" else ("",)


def _own_residuals(study: Study) -> bool:
    """Whether some arms have a residual SD of their own."""
    return study.model.residual_by_arm or bool(study.model.without_therapist)


def _name_faults(
    finding: Finding, study: Study | None, outcomes: Collection[str] | None
) -> list[str]:
    faults = []
    if outcomes is not None and finding.outcome not in outcomes:
        hint = nearest(finding.outcome, outcomes)
        faults.append(f"outcome: the study has no outcome {finding.outcome!r}. {hint}")
    if finding.quantity not in QUANTITIES:
        hint = nearest(finding.quantity, QUANTITIES)
        return [*faults, f"quantity: there is no quantity {finding.quantity!r}. {hint}"]
    if study is None:
        return faults
    if isinstance(finding.n, dict) and (unknown := set(finding.n) - set(study.arms)):
        faults.append(
            f"n: the study has no arm {sorted(unknown)[0]!r}. Its arms: "
            f"{', '.join(repr(code) for code in study.arms)}."
        )
    if study.moderator is None and finding.quantity in OF_SLOPES:
        told = "quantity: the study has no [moderator], and with it no {}. Leave the finding out."
        return [*faults, told.format(finding.quantity)]
    levels = valid_levels(study, finding.quantity)
    known = finding.level in levels
    if finding.quantity == "covariate_slope":
        known |= any(finding.level.startswith((f"{name}[", quoted(name))) for name in levels)
    if not known:
        about = f"level: {finding.quantity} has no level {finding.level!r}."
        if levels == ("",):
            faults.append(f"{about} Leave the level out.")
        elif not levels:
            faults.append(f"{about} The study has no covariates.")
        else:
            faults.append(f"{about} Valid levels: {', '.join(repr(name) for name in levels)}.")
    return faults


def _rope_faults(ropes: object, outcomes: Collection[str] | None) -> list[str]:
    if not isinstance(ropes, dict):
        return ["rope: this must be a table [rope.OUTCOME] with entries QUANTITY = [low, high]."]
    faults = []
    for outcome, entries in ropes.items():
        if outcomes is not None and outcome not in outcomes:
            hint = nearest(outcome, outcomes)
            faults.append(f"rope: the study has no outcome {outcome!r}. {hint}")
        elif not isinstance(entries, dict):
            faults.append(f"rope.{outcome}: this must be a table with QUANTITY = [low, high].")
        else:
            for quantity, rope in entries.items():
                if quantity not in QUANTITIES:
                    hint = nearest(quantity, QUANTITIES)
                    faults.append(f"rope.{outcome}: there is no quantity {quantity!r}. {hint}")
                elif not _is_interval(rope):
                    faults.append(f"rope.{outcome}.{quantity}: this must be [low, high].")
    return faults


def _is_interval(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(end, int | float) and not isinstance(end, bool) for end in value)
        and value[0] < value[1]
    )


def _with_rope(finding: Finding, ropes: Mapping[str, Any], study: Study) -> Finding:
    rope = ropes.get(finding.outcome, {}).get(finding.quantity)
    if rope is None or finding.rope is not None or not finding.takes_rope:
        return finding
    low, high = float(rope[0]), float(rope[1])
    # The table is on the outcome's scale; a finding's own region is oriented as its numbers are.
    if finding.oriented == "benefit" and study.outcomes[finding.outcome].better == "lower":
        ratio = finding.quantity in RATIOS
        low, high = (1 / high, 1 / low) if ratio and low > 0 else (-high, -low)
    return finding.model_copy(update={"rope": (low, high)})


def published_frame(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return the findings as a table, one row for each and one column for each attribute.

    The region of practical equivalence takes two columns, `rope_lower` and `rope_upper`; numbers
    that are not known are NaN.
    """
    rows = []
    for finding in findings:
        row = finding.model_dump()
        low, high = row.pop("rope") or (None, None)
        rows.append(row | {"rope_lower": low, "rope_upper": high})
    names = [name for name in Finding.model_fields if name != "rope"]
    frame = pd.DataFrame(rows, columns=[*names, "rope_lower", "rope_upper"])
    numbers = ["estimate", "lower", "upper", "p", "rope_lower", "rope_upper"]
    return frame.astype(dict.fromkeys(numbers, float))
