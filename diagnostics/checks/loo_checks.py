"""Leave-one-out checks: are predictions of patients left out reliable, and are they calibrated?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance.diagnostics.checks.family_advice import families_beside, try_family
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.leaving_out.leave_one_out import LeaveOneOut, LooPit, leave_one_out, loo_pit
from alliance.inference.pointwise.replicates import ExplainedVariance
from alliance.inference.posterior import Posterior

MOST_UNRELIABLE = 0.01
"""Share of patients with a Pareto k over ArviZ's `good_k` (0.7 with 2,200 draws or more, less with
fewer) that still passes. Over `good_k` PSIS has no practical rate of convergence (Vehtari et al.
2024, arXiv:1507.02646). Our choice: of 60 clean simulated trials of 182 patients (two chains of
1,000 draws) 7 have such a patient, 1 has two."""

HEAVIEST = 1.0
"""Pareto k over which a single patient is enough: not even the mean of the weights is finite."""

FALSE_ALARMS = 0.05
"""P-value of calibration below which a person looks. An upper bound of the share of clean fits that
trip: shares of outcomes that the model was fitted to are more even than independent uniform ones,
and of 100 clean simulated trials of 182 patients none tripped (tests/validation)."""

NAMED = 5  # patients that a message names

NOT_AVAILABLE = (
    "Not available for a joint model or an outcome over time: a patient's other scores "
    "speak of the one left out."
)


@dataclass(frozen=True, eq=False, slots=True)
class LooCheck:
    """Leave-one-out checks of one outcome.

    Attributes
    ----------
    outcome : str
    left_out : LeaveOneOut
        By patient.
    pit : LooPit
    results : tuple of CheckResult
        PASS or REVIEW.
    """

    outcome: str
    left_out: LeaveOneOut
    pit: LooPit
    results: tuple[CheckResult, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row for each check: value, limit, verdict and words."""
        return pd.DataFrame(
            [
                {
                    "outcome": self.outcome,
                    "check": result.check,
                    "value": result.value,
                    "limit": result.review,
                    "verdict": str(result.verdict),
                    "message": result.message,
                    "recommendation": result.recommendation,
                }
                for result in self.results
            ]
        )


def loo_table(check: LooCheck, explained: ExplainedVariance) -> pd.DataFrame:
    """One row for one outcome: elpd, calibration, explained variance and verdicts.

    Parameters
    ----------
    check : LooCheck
    explained : ExplainedVariance
        Of the same outcome.
    """
    table = check.left_out.table.assign(pit_p_value=check.pit.p_value)
    for row in explained.table.to_dict("records"):
        name = "r2" if row["explained_by"] == "patient and therapist" else "r2_patient"
        table = table.assign(
            **{name: row["mean"], f"{name}_lower": row["lower"], f"{name}_upper": row["upper"]}
        )
    for result in check.results:
        table[f"{result.check}_verdict"] = str(result.verdict)
    return table


def loo_check(posterior: Posterior) -> LooCheck:
    """Leave out one patient at a time, and judge what comes of it.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    LooCheck

    Raises
    ------
    InputError
        If the run has no such outcome, or it is one of a joint model.
    """
    left_out = leave_one_out(posterior)
    pit = loo_pit(posterior, left_out)
    results = (_pareto_k(posterior, left_out), _calibration(posterior, pit))
    return LooCheck(posterior.name, left_out, pit, results)


def check_loo(posterior: Posterior) -> tuple[CheckResult, ...]:
    """The checks ``pareto_k`` and ``loo_pit``, for the gate.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    tuple of CheckResult
        PASS or REVIEW. Of a joint model both pass without a value, and say why there is none.

    Raises
    ------
    InputError
        If the run has no such outcome.
    """
    if posterior.joint:
        return tuple(
            CheckResult(name, Verdict.PASS, None, None, None, posterior.name, NOT_AVAILABLE, "")
            for name in ("pareto_k", "loo_pit")
        )
    return loo_check(posterior).results


def _pareto_k(posterior: Posterior, found: LeaveOneOut) -> CheckResult:
    high = np.flatnonzero(found.unreliable)
    total = len(found.units)
    allowed = int(MOST_UNRELIABLE * total)
    # A tail that could not be estimated (NaN) is heavier than any
    k = np.nan_to_num(found.pareto_k, nan=np.inf)
    worst = int(np.argmax(k))
    largest = f"largest Pareto k {found.pareto_k[worst]:.2f}, of patient {worst + 1} of {total}"
    message = f"Every patient is left out reliably by PSIS: {largest}."
    if len(high):
        ordered = sorted(high, key=lambda position: -k[position])
        names = ", ".join(found.units[position] for position in ordered[:NAMED])
        more = f" and {len(high) - NAMED} more" if len(high) > NAMED else ""
        message = (
            f"Pareto k is over {found.good_k:.2g} for {len(high)} of {total} patients (by position "
            f"{names}{more}); {largest}."
        )
    tripped = len(high) > allowed or k[worst] > HEAVIEST
    latent = posterior.design.moderator.latent
    family = posterior.design.family
    known = family.discrete or "student_t" in (family.name, *families_beside(posterior))
    lighter = "" if known else ' (family = "student_t")'
    advice = (
        "Where each patient's alliance is a parameter this is to be expected: compare such fits "
        'by therapist (`leave_out("therapist")`).'
        if latent
        else "Look at these patients' scores: they weigh heavily on the result, or the family's "
        f"tails are too light{lighter}; do not rest a comparison of fits on elpd before that."
    )
    return CheckResult(
        check="pareto_k",
        verdict=Verdict.REVIEW if tripped else Verdict.PASS,
        value=float(len(high)),
        review=float(allowed),
        fail=None,
        worst=f"{found.outcome}, patient {worst + 1} of {total}",
        message=message,
        recommendation=advice if tripped else "",
    )


def _calibration(posterior: Posterior, pit: LooPit) -> CheckResult:
    low = not pit.p_value >= FALSE_ALARMS
    message = (
        f"Share of each patient's predictive distribution below the score: mean "
        f"{pit.values.mean():.2f}, SD {pit.values.std(ddof=1):.2f} (0.50 and 0.29 if calibrated), "
        f"p = {pit.p_value:.2g} for uniform shares."
    )
    return CheckResult(
        check="loo_pit",
        verdict=Verdict.REVIEW if low else Verdict.PASS,
        value=pit.p_value,
        review=FALSE_ALARMS,
        fail=None,
        worst=f"{pit.outcome}, {len(pit.values)} patients",
        message=message,
        recommendation=_remedy(posterior, pit) if low else "",
    )


def _remedy(posterior: Posterior, pit: LooPit) -> str:
    """By the shape of the departure: shifted, too wide, too narrow, or another one."""
    told = "Look at `leave_out().plot()` and `alliance ppc RUN`: "
    uniform = 1 / np.sqrt(12)
    n = len(pit.values)
    # Standard errors of mean and SD of n uniform numbers; the SD's by its fourth moment, 1/80
    shift = (pit.values.mean() - 0.5) / (uniform / np.sqrt(n))
    ratio = (pit.values.std(ddof=1) - uniform) / np.sqrt((1 / 80 - 1 / 144) / (4 * n / 12))
    if abs(ratio) > max(2, abs(shift)):
        wide = "wide" if ratio < 0 else "narrow"
        return (
            f"{told}predictive distributions are too {wide}. "
            f"{try_family(posterior, narrow=ratio > 0)}"
        )
    if abs(shift) > 2:
        return (
            f"{told}scores lie to one side of what is predicted. "
            f"{try_family(posterior, narrow=False)}"
        )
    return (
        f"{told}the scores' distribution has another shape than the family's. "
        f"{try_family(posterior, narrow=False)}"
    )
