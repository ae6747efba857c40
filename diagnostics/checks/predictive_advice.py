"""What to do about an outcome that replicates do not look like."""

from __future__ import annotations

import numpy as np

from alliance.diagnostics.checks.predictive_statistics import ROUNDING, resolution
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design

# Up to this many categories an ordinal model has few enough thresholds to be estimated.
MOST_CATEGORIES = 15
STEPS = (2, 500)  # of a range that a count of them can stand for

NOT_EQUAL = (
    "If the kurtosis of the residuals is REVIEW too, see to that first: single far scores make the "
    "arms' SDs differ. Else: no model here lets the residual SD differ between arms. What that "
    "means: the arms' mean scores are estimated without bias, but intervals of contrasts and "
    "slopes are too narrow for the arm that scatters most and too wide for the others, and chances "
    "of reaching a score are wrong for all. Report the arms' residual SDs, and set the contrasts "
    "beside linear models with standard errors that allow for it (HC3)."
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
        return "Fit again with --interaction: the alliance's slope differs between arms."
    if statistic == "therapist_means":
        return "Fit again with --therapist intercept or intercept+slope: therapists differ."
    if statistic == "therapist_slopes":
        return (
            "Fit again with --therapist intercept+slope: the alliance's slope differs between "
            "therapists."
        )
    if statistic == "odd_therapist":
        return (
            "Look at this therapist's patients and records, and at what the results are without "
            "them (`alliance sensitivity`). Normal therapist effects draw such a therapist towards "
            "the others, and all of them apart."
        )
    return _family_advice(posterior, design, statistic, above)


def _family_advice(posterior: Posterior, design: Design, statistic: str, above: bool) -> str:
    family, bounded = design.family.name, _bounded_family(posterior, design)
    if statistic == "tails" and not design.family.discrete:
        if family == "gaussian" and above:
            return _choose(posterior, "student_t", "its tails are heavier")
        if family == "student_t" and not above:
            return _choose(posterior, "gaussian", "its tails are lighter")
    if family == "student_t" and statistic in ("minimum", "maximum", "sd") and bounded is None:
        return _choose(posterior, "gaussian", "its tails are lighter")
    if bounded is not None and family != bounded and not design.family.discrete:
        return _choose(posterior, bounded, "it keeps to the scores that there are")
    if design.family.discrete:
        other = "ordinal" if family == "beta_binomial" and _few_categories(design) else None
        if other is not None:
            return _choose(posterior, other, "it takes the categories' shares as they are")
        return (
            "No other family here fits such a distribution better; averages and contrasts are "
            "less touched by it than the shares of single scores, which should not be reported."
        )
    if steps := _steps(posterior, design):
        return (
            f"Scores go in steps of {steps:g}: counted in these they are whole numbers, which "
            f'family = "beta_binomial" takes (column and range divided by {steps:g}, --likelihood '
            "native). Under the Gaussian family averages and contrasts hold in large samples; "
            "intervals for single patients and chances of reaching a score do not."
        )
    return (
        "No family here has such a distribution of scores that are not whole numbers. Averages and "
        "contrasts hold in large samples; intervals for single patients and chances of reaching a "
        "score do not. If the scores are skewed, a transformation (log, square root) before they "
        "enter, with effects reported on that scale, is the usual remedy."
    )


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
    own = posterior.outcome.family == family
    named = f"its own family, {family}" if own else f'family = "{family}" in the study file'
    alone = ""
    if posterior.joint:
        alone = (
            " (in a joint model for one outcome)"
            if family == "ordinal"
            else ", without --joint, which takes such scores as Gaussian"
        )
    return f"Fit this outcome again with {named} and --likelihood native{alone}: {why}."
