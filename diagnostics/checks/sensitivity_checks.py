"""Sensitivity checks for the gate: is a result ruled by a prior, or by one person?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut
from alliance.inference.leaving_out.therapists import Influence, influence
from alliance.inference.posterior import Posterior
from alliance.inference.priors.power_scaling import PowerScaling, power_scaling

MOST_MOVED = 1.0
"""Posterior SDs by which leaving out one patient or therapist may move a slope, an interaction or
an arm contrast. One standard error is where a single case is commonly called influential; of 200
clean simulated outcomes (182 patients) 2 had a patient who moves one by more."""

OUT_OF_PROPORTION = 4.0
"""Times what leaving out such a share of the patients, or of the therapists, moves a result by
itself (`inference.leaving_out.therapists.Influence.expected_shift`): over several results and a
dozen therapists the largest is 2.5 times that in clean simulated trials, and over 4 times in 4 of
200 outcomes (docs/sensitivity.md has more)."""

NAMED = 3  # quantities that a message names

NOT_AVAILABLE = (
    "Not available for a joint model or an outcome over time: they share priors and patients."
)


def check_sensitivity(
    posterior: Posterior, *, left_out: LeaveOneOut | None = None
) -> tuple[CheckResult, ...]:
    """The checks ``prior_sensitivity`` and ``influence``, for the gate.

    Parameters
    ----------
    posterior : Posterior
    left_out : LeaveOneOut, optional
        Of the same fit and outcome by patient, where it has been computed before.

    Returns
    -------
    tuple of CheckResult
        PASS or REVIEW. Of a joint model both pass without a value, and say why there is none.

    Raises
    ------
    InputError
        If the run has no such outcome.

    Notes
    -----
    Nothing is fitted again. Therapists are left out where their effects are integrated out in
    closed form (Gaussian outcomes); elsewhere patients alone, and `influence` by therapist asks.
    """
    if posterior.joint:
        return tuple(
            CheckResult(name, Verdict.PASS, None, None, None, posterior.name, NOT_AVAILABLE, "")
            for name in ("prior_sensitivity", "influence")
        )
    found = [influence(posterior, "patient", left_out=left_out)]
    design = posterior.design
    if design.family.name == "gaussian" and (design.patients_of_therapists > 0).sum() > 1:
        found.append(influence(posterior, "therapist"))
    if design.family.name == "gaussian" and design.clinic_effects:
        found.append(influence(posterior, "clinic"))
    return (
        prior_sensitivity_result(power_scaling(posterior)),
        influence_result(found),
    )


def prior_sensitivity_result(found: PowerScaling) -> CheckResult:
    """Judge power-scaling: REVIEW where a prior rules a reported quantity."""
    ruled = found.ruled
    worst_row, worst_kind = divmod(int(found.by_kind.argmax()), len(found.kinds))
    told = (
        f"largest sensitivity to one prior {found.by_kind.max():.2f}, of "
        f"{_name(found.labels[worst_row])} to {found.kinds[worst_kind]}"
    )
    kinds = [
        kind for kind, any_ruled in zip(found.kinds, ruled.any(axis=0), strict=True) if any_ruled
    ]
    message, advice = f"No prior rules a reported quantity: {told}.", ""
    if kinds:
        parts = [_ruled_by(found, kind) for kind in kinds]
        message = f"{'; '.join(parts)}; {told}."
        entries = ", ".join(kinds)
        advice = (
            f"Justify or widen the prior{'s' if len(kinds) > 1 else ''} {entries} under [priors] "
            'in the study file; `sensitivity("refits")` shows what other scales '
            "do. Where the data are weak, report the quantity with its prior."
        )
    return CheckResult(
        check="prior_sensitivity",
        verdict=Verdict.REVIEW if kinds else Verdict.PASS,
        value=float(ruled.sum()),
        review=0.0,
        fail=None,
        worst=f"{found.outcome}, {_name(found.labels[worst_row])}",
        message=message,
        recommendation=advice,
    )


def _ruled_by(found: PowerScaling, kind: str) -> str:
    column = found.kinds.index(kind)
    rows = [row for row in range(len(found.labels)) if found.ruled[row, column]]
    rows.sort(key=lambda row: -found.by_kind[row, column])
    names = [f"{_name(found.labels[row])} ({found.diagnosis[row]})" for row in rows[:NAMED]]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"The prior {kind} rules {', '.join(names)}{more}"


def most_moved(found: Influence) -> NDArray[np.float64]:
    """Posterior SDs by which each unit may move a result, shape (n,)."""
    return np.maximum(MOST_MOVED, OUT_OF_PROPORTION * found.expected_shift)


def influence_result(found: Sequence[Influence]) -> CheckResult:
    """Judge influence: REVIEW where one person moves a result by much, and out of proportion.

    Parameters
    ----------
    found : sequence of Influence
        Of one outcome: by patient and, where available, by therapist.
    """
    told, judged = [], []
    for each in found:
        row = each.largest(1).iloc[0]
        unit = each.units.index(row["unit"])
        reliable = "" if row["reliable"] else " (Pareto k too high for this to be exact)"
        told.append(
            f"without {each.named(unit)} {_name((row['quantity'], row['level']))} moves by "
            f"{row['shift']:+.3g}, {abs(row['shift_sd']):.2f} posterior SDs{reliable}"
        )
        sizes = np.abs(each.shift_sd).max(axis=1)
        judged += [
            (size / limit, size, limit, each.named(k))
            for k, (size, limit) in enumerate(zip(sizes, most_moved(each), strict=True))
        ]
    # A shift that is not a number is beyond any limit
    ratio, size, limit, who = max(judged, key=lambda item: np.nan_to_num(item[0], nan=np.inf))
    tripped = not ratio <= 1
    advice = (
        "Look at this person's data; report the result without them beside it "
        '(`sensitivity("influence")`).'
    )
    return CheckResult(
        check="influence",
        verdict=Verdict.REVIEW if tripped else Verdict.PASS,
        value=float(size),
        review=float(limit),
        fail=None,
        worst=f"{found[0].outcome}, {who}",
        message=f"At most: {'; '.join(told)}.",
        recommendation=advice if tripped else "",
    )


def _name(label: tuple[str, str]) -> str:
    quantity, level = label
    return f"{quantity} {level}".strip()
