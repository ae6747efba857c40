"""Numbers and quantities in words: two digits of a spread, intervals, units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.levels import contrast_words
from alliance.data_prep.study.description import Outcome
from alliance.diagnostics.report.parts import EMPTY
from alliance.inference.digits import figures as significant
from alliance.inference.digits import number as shown
from alliance.inference.runs.fit import Fit
from alliance.models.spec import JOINT

MINUS = "\N{MINUS SIGN}"  # read out as such, and as wide as a plus
NONE = EMPTY
ABBREVIATED = {
    "sd": "SD",
    "icc": "ICC",
    "ess": "ESS",
    "mcse": "MCSE",
    "ebfmi": "E-BFMI",
    "loo": "LOO",
    "pit": "PIT",
}

UNITS = {
    "moderator_slope": "points for one point of {moderator}",
    "interaction": "points for one point of {moderator}",
    "interaction_between": "points for one point of {moderator}",
    "contextual_effect": "points for one point of {moderator}",
    "therapist_slope": "points for one point of {moderator}",
    "therapist_slope_sd": "points for one point of {moderator}",
    "therapist_icc": "share of variance",
    "therapist_share": "share of variance",
    "therapist_mean_reliability": "share of variance",
    "baseline_slope": "points for one point of the baseline",
    "covariate_slope": "points for one unit",
    "degrees_of_freedom": "number",
    "pooled_moderator_slope": "SDs of benefit for one SD of {moderator}",
    "moderator_slope_spread": "SDs of benefit for one SD of {moderator}",
}


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals, and a dash where it is missing.

    Examples
    --------
    >>> number(-1.234, 1), number(float("nan"), 1)
    ('−1.2', '—')
    """
    if value is None or np.isnan(value):
        return NONE
    return shown(value, digits).replace("-", MINUS)


def figures(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits.

    Examples
    --------
    >>> figures(0.012345), figures(-1234.5)
    ('0.0123', '−1234')
    """
    if value is None or not np.isfinite(value):
        return NONE
    return significant(value, digits).replace("-", MINUS)


def interval(lower: float, upper: float, digits: int) -> str:
    """An interval's limits, and a dash where they are missing.

    Examples
    --------
    >>> interval(-0.5, 1.25, 2)
    '−0.50 to 1.25'
    """
    if np.isnan(lower) or np.isnan(upper):
        return NONE
    return f"{number(lower, digits)} to {number(upper, digits)}"


def estimate(value: float, lower: float, upper: float, digits: int) -> str:
    """A number with its interval in brackets.

    Examples
    --------
    >>> estimate(1.0, -0.5, 2.5, 1)
    '1.0 (−0.5 to 2.5)'
    """
    told = number(value, digits)
    if told == NONE or np.isnan(lower) or np.isnan(upper):
        return told
    return f"{told} ({interval(lower, upper, digits)})"


def chance(value: float) -> str:
    """A probability, never rounded to 0 or 1.

    Examples
    --------
    >>> chance(0.25), chance(0.99999)
    ('0.250', '> 0.999')
    """
    if not np.isfinite(value):
        return NONE
    return "> 0.999" if value >= 0.9995 else "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(probability: float) -> str:
    """A probability as percents: 95%.

    Examples
    --------
    >>> share(0.95)
    '95%'
    """
    return f"{100 * probability:g}%"


def plain(quantity: str) -> str:
    """The name of a quantity or a check as words.

    Examples
    --------
    >>> plain("therapist_slope_sd"), plain("r_hat")
    ('therapist slope SD', 'R-hat')
    """
    if quantity == "r_hat":
        return "R-hat"
    return " ".join(ABBREVIATED.get(part, part) for part in quantity.split("_"))


def unit(fit: Fit, quantity: str) -> str:
    """What a quantity of the tidy table is counted in.

    Parameters
    ----------
    fit : Fit
    quantity : str
    """
    if "correlation" in quantity:
        return "correlation"
    return UNITS.get(quantity, "points").format(moderator=fit.study.moderator.name)


def scale(outcome: Outcome) -> str:
    """An outcome's range and direction.

    Parameters
    ----------
    outcome : Outcome
    """
    low, high = outcome.range
    return f"{figures(low)} to {figures(high)} points, {outcome.better} is better"


def label(fit: Fit, outcome: str) -> str:
    """An outcome's label; what the outcomes of a joint model share has its own.

    Parameters
    ----------
    fit : Fit
    outcome : str
    """
    if outcome == JOINT:
        return "Shared by the outcomes"
    own = fit.study.outcomes[outcome].label
    same = sum(each.label == own for each in fit.study.outcomes.values())
    return own if same == 1 else f"{own} ({outcome})"


def patients(fit: Fit, outcome: str) -> int:
    """Number of analysed patients.

    Parameters
    ----------
    fit : Fit
    outcome : str
    """
    if outcome == JOINT:
        return int(fit.manifest[JOINT]["patients"])
    return int(fit.patients(outcome).sizes["patient"])


def headed(fit: Fit, outcome: str) -> str:
    """An outcome's label, scale and number of patients.

    Parameters
    ----------
    fit : Fit
    outcome : str
    """
    if outcome == JOINT:
        return f"{label(fit, outcome)} (n = {patients(fit, outcome)} patients)"
    described = fit.study.outcomes[outcome]
    return f"{described.label} ({scale(described)}; n = {patients(fit, outcome)} patients)"


def arms(fit: Fit) -> str:
    """Codes of the arms with their labels.

    Parameters
    ----------
    fit : Fit
    """
    return ", ".join(f"{code} = {label}" for code, label in fit.study.arms.items())


def prior(row: Mapping[Any, Any]) -> str:
    """A prior of the table `Fit.priors`: N(mean, SD), or half-N(scale).

    Parameters
    ----------
    row : mapping
    """
    spread = figures(row["scale"], 2)
    if row["distribution"] == "half-normal":
        return f"half-N({spread})"
    return f"N({figures(row['location'], 2)}, {spread})"


def text_of(table: pd.DataFrame) -> pd.DataFrame:
    """A table with dashes for what is missing and text in every cell.

    Parameters
    ----------
    table : pandas.DataFrame
    """
    return table.astype(object).where(table.notna(), NONE)


def counted(count: int, noun: str) -> str:
    """A number before its noun, in the singular or plural.

    Parameters
    ----------
    count : int
    noun : str
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def contrast(fit: Fit, level: str) -> str:
    """A contrast of two arms in words, ``MCE minus GE``, from its name in the tables."""
    return contrast_words(tuple(fit.study.arms))[level]


def of_one_patient(therapist: str, single: bool) -> str:
    """A therapist's code; of one with a single patient it says so.

    Parameters
    ----------
    therapist : str
    single : bool
    """
    return f"{therapist} (one patient)" if single else therapist


def single_patients(hidden: bool, shown: bool) -> str:
    """A sentence about therapists with one patient: that they are left out, or what they tell.

    Parameters
    ----------
    hidden : bool
        Whether they are left out.
    shown : bool
        Whether there are any among those shown.
    """
    if hidden:
        return " Therapists with one patient are left out."
    told = " What is said of a therapist with one patient is said of that patient."
    return told if shown else ""
