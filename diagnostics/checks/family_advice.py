"""Which family the scores ask for: before a fit by their shape, after it by what the checks find.

Advice ends: a family that was tried in a run beside this one (`inference.runs.run_folder.
families_tried`) is not named again, and where none is left the advice says so, and what stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.data_prep.trial.trial import Trial
from alliance.diagnostics.checks.predictive_statistics import ROUNDING, resolution
from alliance.diagnostics.words import label, percent, plain
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design

# Up to this many categories an ordinal model has few enough thresholds to be estimated.
MOST_CATEGORIES = 15
STEPS = (2, 500)  # of a range that a count of them can stand for

NOT_EQUAL = (
    "If the kurtosis of the residuals is REVIEW too, see to that first: single far scores make the "
    "arms' SDs differ. Else fit again with `residual_by_arm=True`, which gives every arm a "
    "residual SD of its own, where the family is Gaussian or Student t. What it means to leave it: "
    "the arms' mean scores are estimated without bias, but intervals of contrasts and slopes are "
    "too narrow for the arm that scatters most and too wide for the others, and chances of "
    "reaching a score are wrong for all."
)


def advice(posterior: Posterior, statistic: str, *, above: bool) -> str:
    """What to do about one statistic.

    Parameters
    ----------
    posterior : Posterior
    statistic : str
        Its name, as of `diagnostics.checks.predictive_statistics`, or ``outside``.
    above : bool
        Whether the observed value lies above most replicates.

    Returns
    -------
    str
        One or more sentences.
    """
    design = posterior.design
    if statistic == "residual_sd_ratio":
        return NOT_EQUAL
    if statistic == "arm_slopes":
        return "Fit again with `interaction=True`: the alliance's slope differs between arms."
    if statistic == "therapist_means":
        return 'Fit again with `therapist="intercept"` or intercept+slope: therapists differ.'
    if statistic == "therapist_slopes":
        return (
            'Fit again with `therapist="intercept+slope"`: the alliance\'s slope differs between '
            "therapists."
        )
    if statistic == "odd_therapist":
        return (
            "Look at this therapist's patients and records, and at what the results are without "
            "them (`alliance sensitivity`). Normal therapist effects draw such a therapist towards "
            "the others, and all of them apart."
        )
    if statistic == "odd_clinic":
        return (
            "Look at this clinic's patients and records, and at what the results are without it "
            "(`alliance sensitivity`)."
        )
    return _family_advice(posterior, design, statistic, above)


def _family_advice(posterior: Posterior, design: Design, statistic: str, above: bool) -> str:
    """A family that was not tried yet, or where the advice ends."""
    tried = families_beside(posterior)
    for family, why in _others(posterior, design, statistic, above):
        if family not in tried:
            return _choose(posterior, family, why)
    return f"{_ended(tried)}{_without_family(posterior, design)}"


def _others(
    posterior: Posterior, design: Design, statistic: str, above: bool
) -> Iterator[tuple[str, str]]:
    """Families that might have what this one has not, and why, the likeliest first."""
    family, bounded = design.family.name, _bounded_family(posterior, design)
    if statistic == "tails" and not design.family.discrete:
        if family == "gaussian" and above:
            yield "student_t", "its tails are heavier"
        if family == "student_t" and not above:
            yield "gaussian", "its tails are lighter"
    if family == "student_t" and statistic in ("minimum", "maximum", "sd") and bounded is None:
        yield "gaussian", "its tails are lighter"
    if bounded is not None and not design.family.discrete:
        yield bounded, "it keeps to the scores that there are"
    if family == "beta_binomial" and _few_categories(design):
        yield "ordinal", "it takes the categories' shares as they are"


def families_beside(posterior: Posterior) -> tuple[str, ...]:
    """Families that runs beside this one fitted to the same outcome, other than its own."""
    if posterior.source is None:
        return ()
    own = posterior.design.family.name
    return tuple(name for name in posterior.source.tried if name != own)


def _ended(tried: tuple[str, ...]) -> str:
    """That the advice ends here, with the families that were tried; empty where none was."""
    if not tried:
        return ""
    told = " and ".join(map(plain, tried))
    return f"Runs beside this one have the family {told}: here the advice ends. "


def _without_family(posterior: Posterior, design: Design) -> str:
    """What stands, and what does not, where no family fits."""
    if design.family.discrete:
        return (
            "No other family here fits such a distribution better; averages and contrasts are "
            "less touched by it than the shares of single scores, which should not be reported."
        )
    if steps := _steps(posterior, design):
        return (
            f"Scores go in steps of {steps:g}: counted in these they are whole numbers, which "
            f'family = "beta_binomial" takes (column and range divided by {steps:g}, '
            '`likelihood="native"`). Under the Gaussian family averages and contrasts hold in '
            "large samples; intervals for single patients and chances of reaching a score do not."
        )
    return (
        "No family here has such a distribution of scores that are not whole numbers. Averages and "
        "contrasts hold in large samples; intervals for single patients and chances of reaching a "
        "score do not. If the scores are skewed, a transformation (log, square root) before they "
        "enter, with effects reported on that scale, is the usual remedy."
    )


def try_family(posterior: Posterior, *, narrow: bool) -> str:
    """What to try where whole predictive distributions have another shape than scores.

    Parameters
    ----------
    posterior : Posterior
    narrow : bool
        Whether single scores lie further out than is predicted.
    """
    family, own = posterior.design.family.name, posterior.outcome.family
    wanted = [(own, "it is the outcome's own")]
    if narrow and not posterior.design.family.discrete:
        wanted.append(("student_t", "its tails are heavier"))
    tried = families_beside(posterior)
    for other, why in wanted:
        if other not in (family, *tried):
            return _choose(posterior, other, why)
    return f"{_ended(tried)}{_without_family(posterior, posterior.design)}"


def _steps(posterior: Posterior, design: Design) -> float:
    """The step between scores, if the range is a moderate number of them; zero otherwise."""
    low, high = posterior.outcome.range
    step = resolution(design)
    if step <= 0 or not STEPS[0] <= (high - low) / step <= STEPS[1]:
        return 0.0
    scores = (design.scale.offset + design.scale.unit * design.y - low) / step
    return step if np.allclose(scores, np.round(scores), atol=1e-6) else 0.0


def _bounded_family(posterior: Posterior, design: Design) -> str | None:
    """The family for bounded whole scores, if that is what these are."""
    low, high = posterior.outcome.range
    scores = design.scale.offset + design.scale.unit * design.y
    rounding = ROUNDING * float(np.abs(scores).max())
    whole = (np.abs(scores - low - np.round(scores - low)) <= rounding).all()
    if not (whole and float(high - low).is_integer()):
        return None
    return "ordinal" if high - low < MOST_CATEGORIES else "beta_binomial"


def _few_categories(design: Design) -> bool:
    return design.scale.top < MOST_CATEGORIES


def _choose(posterior: Posterior, family: str, why: str) -> str:
    if posterior.outcome.visit_of is not None:
        return f"An outcome over time is Gaussian; read it with care where {why}."
    own = posterior.outcome.family == family
    named = f"its own family, {family}" if own else f'family = "{family}" in the study file'
    alone = ""
    if posterior.joint:
        alone = (
            " (in a joint model for one outcome)"
            if family == "ordinal"
            else ", without `joint`, which takes such scores as Gaussian"
        )
    return f'Fit this outcome again with {named} and `likelihood="native"`{alone}: {why}.'


# Before a fit ------------------------------------------------------------------------------------

MOST_AT_AN_END = 0.15
"""Share of patients at the lowest or the highest score from which on a scale has a floor or a
ceiling (Terwee et al. 2007, doi:10.1016/j.jclinepi.2006.03.012)."""

SKEWED = 1.0
"""Skewness from which on a distribution is called highly skewed (Bulmer 1979, Principles of
Statistics, chapter 4)."""

HEAVY = 1.0
"""Excess kurtosis of a Student-t distribution with 10 degrees of freedom, which still looks normal;
beyond it by two standard errors of a normal sample's, sqrt(24 / n), tails are heavier."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the scores of an outcome look like, and the family that has such scores.

    Attributes
    ----------
    outcome : str
    family : str or None
        None where no family here has such a distribution.
    told : str
        In a sentence.
    """

    outcome: str
    family: str | None
    told: str


def proposals(trial: Trial) -> list[Proposal]:
    """Families that the scores' shape asks for, of outcomes whose study file names another.

    Parameters
    ----------
    trial : Trial

    Returns
    -------
    list of Proposal
        None of an outcome whose family has such scores, of events and counts, which have theirs,
        and of outcomes over time, which are Gaussian.
    """
    found = []
    for name, described in trial.study.outcomes.items():
        if described.family in OWN_FAMILIES or described.visit_of is not None:
            continue
        rows = trial.analysed(name)
        scores = np.asarray(rows["outcome"].values, dtype=float)
        if len(scores) < FEWEST_SCORES:
            continue
        before = rows["baseline"].values if "baseline" in rows else np.zeros(len(scores))
        family, shape = _shape(
            scores, np.asarray(before, float), rows["arm_index"].values, described.range
        )
        if not shape or family == described.family:
            continue
        head = f"{label(trial.study, name)}: {shape}"
        if family is None:
            told = (
                f"{head}, and no family here has such a distribution of scores that are not whole "
                "numbers. Means and contrasts hold in large samples; predictions of single "
                "patients do not."
            )
        elif described.family in ("ordinal", "beta_binomial"):
            continue  # for bounded whole scores either serves
        else:
            told = (
                f'{head}. family = "{family}" in the study file and `likelihood="native"` take '
                f"them as they are; fitted as {plain(described.family)}, means and contrasts hold "
                "in large samples, predictions of single patients do not."
            )
        found.append(Proposal(name, family, told))
    return found


FEWEST_SCORES = 30  # of which a shape can be told


def _shape(
    scores: NDArray[np.float64],
    before: NDArray[np.float64],
    arm: NDArray[np.int64],
    limits: tuple[float, float],
) -> tuple[str | None, str]:
    """A family, and what asks for it; no words where the Gaussian one serves."""
    low, high = limits
    whole = bool((scores == np.round(scores)).all()) and float(high - low).is_integer()
    ends = [(float((scores == end).mean()), end) for end in limits]
    share, end = max(ends)
    if whole and share >= MOST_AT_AN_END:
        family = "ordinal" if high - low < MOST_CATEGORIES else "beta_binomial"
        side = "lowest" if end == low else "highest"
        return family, f"{percent(share)} of the patients have the {side} score, {end:g}"
    columns = np.column_stack([before, *(arm == k for k in np.unique(arm))]).astype(float)
    residual = scores - columns @ np.linalg.lstsq(columns, scores)[0]
    if residual.std() <= ROUNDING * np.abs(scores).max():
        return None, ""
    skewness, excess = float(stats.skew(residual)), float(stats.kurtosis(residual))
    if abs(skewness) > SKEWED:
        told = f"scores given baseline and arm are skewed ({skewness:.1f})"
        if whole:
            return "ordinal" if high - low < MOST_CATEGORIES else "beta_binomial", told
        return None, told
    if excess > HEAVY + 2 * np.sqrt(24 / len(scores)):
        told = f"scores given baseline and arm have far outliers (kurtosis {3 + excess:.1f})"
        return "student_t", told
    return None, ""
