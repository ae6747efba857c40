"""One vocabulary: what quantities, outcomes, arms, levels and checks are called where people read.

Terminal, report, exports and figures take their words from here; codes stay in CSV and JSON.
Standard terms, and the words to avoid, are in `docs/glossary.md`. Numbers get their digits from
`inference.digits`; a missing one is no text at all, and each renderer shows that as it can.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

from alliance.data_prep.levels import (
    AVERAGE,
    BETWEEN,
    JOINT,
    OVER_TIME,
    RESERVED,
    WITHIN,
    contrast_names,
    contrast_words,
    slope_names,
)
from alliance.data_prep.study.description import Outcome, Study
from alliance.data_prep.study.parts import Moderator
from alliance.data_prep.study.rules import BINARY, COUNT, OWN_FAMILIES
from alliance.diagnostics.sheet import Cell, fitting
from alliance.inference.digits import figures, number

if TYPE_CHECKING:
    from alliance.inference.runs.fit import Fit


class Described(Protocol):
    """What tables name arms by: a study, or a paper that is read without one."""

    @property
    def arms(self) -> Mapping[str, str]:
        """Labels by code, in display order."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether tables must say so."""
        ...


# Parts of names that are no words
ABBREVIATED = {
    "sd": "SD",
    "icc": "ICC",
    "ess": "ESS",
    "mcse": "MCSE",
    "ebfmi": "E-BFMI",
    "loo": "LOO",
    "pareto": "Pareto",
}
# Names that are no sequence of words
NAMED = {
    "r_hat": "R-hat",
    "ess_bulk": "bulk ESS",
    "ess_tail": "tail ESS",
    "loo_pit": "LOO-PIT",
    "student_t": "Student-t",
    "beta_binomial": "beta-binomial",
    "gaussian": "Gaussian",
    "psis": "importance weights",
    "risk_difference": "risk difference, marginal",
    "risk_ratio": "risk ratio, marginal",
    "odds_ratio": "odds ratio, marginal",
    "rate_difference": "rate difference, marginal",
    "rate_ratio": "rate ratio, marginal",
    "odds_ratio_conditional": "odds ratio, conditional",
    "rate_ratio_conditional": "rate ratio, conditional",
    "moderator_odds_ratio": "moderator odds ratio, conditional",
    "moderator_rate_ratio": "moderator rate ratio, conditional",
}
LEVELS = {
    AVERAGE: "average over arms",
    WITHIN: "within therapists",
    BETWEEN: "between therapists",
}
SLOPE = "points for one {unit} of {moderator}"
UNITS = {
    "moderator_slope": SLOPE,
    "interaction": SLOPE,
    "interaction_between": SLOPE,
    "contextual_effect": SLOPE,
    "therapist_slope": SLOPE,
    "therapist_slope_sd": SLOPE,
    "trial_slope_sd": SLOPE,
    "trial_interaction_sd": SLOPE,
    "interaction_across": SLOPE,
    "therapist_icc": "share of variance",
    "clinic_slope_sd": SLOPE,
    "clinic_icc": "share of variance",
    "clinic_share": "share of variance",
    "therapist_share": "share of variance",
    "therapist_mean_reliability": "share of variance",
    "crossing": "{counted} of {moderator}",
    "crossing_chance": "probability",
    "share_beyond": "share of patients",
    "baseline_slope": "points for one point of the baseline",
    "covariate_slope": "points for one unit",
    "degrees_of_freedom": "number",
    "overdispersion": "share of the rate",
    "risk_ratio": "ratio",
    "odds_ratio": "ratio",
    "rate_ratio": "ratio",
    "odds_ratio_conditional": "ratio",
    "rate_ratio_conditional": "ratio",
    "moderator_odds_ratio": "ratio for one {unit} of {moderator}",
    "moderator_rate_ratio": "ratio for one {unit} of {moderator}",
    "pooled_moderator_slope": "SDs of benefit for one SD of {moderator}",
    "moderator_slope_spread": "SDs of benefit for one SD of {moderator}",
}
# Where estimates of the same quantity come from
SOURCES = {
    "published": "Published",
    "ols_main": "OLS, main effects",
    "ols": "OLS",
    "ols_robust": "OLS, robust",
    "reml": "REML",
    "ml_main": "ML, main effects",
    "ml": "ML",
    "posterior": "Posterior",
}
# How much therapists differ
SPREADS = {
    "therapist_share": "Share of the outcome's variance between therapists",
    "clinic_share": "Share of the outcome's variance between clinics",
    "alliance_sd_between": "SD of the {moderator} between therapists",
    "alliance_sd_within": "SD of the {moderator} within therapists",
    "alliance_share": "Share of the {moderator}'s variance between therapists",
}
# Columns of the flow counts
FLOW = {
    "rows_read": "Rows in the data file",
    "without_arm": "Left out: no arm",
    "without_therapist": "Left out: no therapist",
    "without_clinic": "Left out: no clinic",
    "without_alliance": "Left out: no {moderator}",
    "without_covariate": "Left out: no covariate",
    "without_baseline": "Left out: no baseline",
    "without_followup": "Left out: no follow-up",
    "without_other_outcome": "Left out: another outcome missing",
    "without_enough_in_cell": "Left out: so few with their therapist in an arm",
    "analysed": "Analysed",
    "alliance_imputed": "Of these with imputed {moderator}",
}
TRIALS = {"average": "average trial", "new": "a new trial"}
CAUTION = "an interval that includes zero does not show that there is no effect"
SIMULATED = "SIMULATED"
EXTRAPOLATED = "*"  # beside a value outside what was observed


# Numbers -----------------------------------------------------------------------------------------


def interval(lower: float, upper: float, digits: int) -> str:
    """An interval's limits; nothing where one is missing.

    Examples
    --------
    >>> interval(-0.5, 1.25, 2)
    '-0.50 to 1.25'
    """
    if math.isnan(lower) or math.isnan(upper):
        return ""
    return f"{number(lower, digits)} to {number(upper, digits)}"


def estimate(value: float, lower: float, upper: float, digits: int) -> str:
    """A number with its interval in brackets.

    Examples
    --------
    >>> estimate(1.0, -0.5, 2.5, 1), estimate(1.0, float("nan"), 2.5, 1)
    ('1.0 (-0.5 to 2.5)', '1.0')
    """
    told, span = number(value, digits), interval(lower, upper, digits)
    return f"{told} ({span})" if told and span else told


def chance(value: float | None) -> str:
    """A probability, never rounded to 0 or 1.

    Examples
    --------
    >>> chance(0.25), chance(0.99999), chance(0.0002), chance(float("nan"))
    ('0.250', '> 0.999', '< 0.001', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    return "> 0.999" if value >= 0.9995 else "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float | None, decimals: int = 0) -> str:
    """A share as per cent; nothing where it is missing.

    Examples
    --------
    >>> percent(0.95), percent(0.0123, 1)
    ('95%', '1.2%')
    """
    return "" if share is None or math.isnan(share) else f"{100 * share:.{decimals}f}%"


def level_of(probability: float) -> str:
    """The probability of an interval: ``95%``.

    Examples
    --------
    >>> level_of(0.95), level_of(0.999)
    ('95%', '99.9%')
    """
    return f"{100 * probability:g}%"


def counted(count: int, noun: str) -> str:
    """A number before its noun, in the singular or plural.

    Examples
    --------
    >>> counted(1, "check"), counted(3, "data set")
    ('1 check', '3 data sets')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def rough(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits; nothing where it is missing or infinite.

    Examples
    --------
    >>> rough(0.012345), rough(float("inf"))
    ('0.0123', '')
    """
    return "" if value is None or not math.isfinite(value) else figures(value, digits)


# Names -------------------------------------------------------------------------------------------


def plain(name: str) -> str:
    """The name of a quantity, a check or a family as words.

    Examples
    --------
    >>> plain("therapist_slope_sd"), plain("r_hat"), plain("student_t")
    ('therapist slope SD', 'R-hat', 'Student-t')
    """
    if name in NAMED:
        return NAMED[name]
    return " ".join(ABBREVIATED.get(part, part) for part in name.split("_"))


def level(study: Described, name: str) -> str:
    """A level of the tidy table as people read it: arms by their labels.

    Parameters
    ----------
    study : Study
    name : str
        As in the tables: the code of an arm, a contrast of two, or another level.

    Returns
    -------
    str
        A `Cell` that keeps the name as its code, and is short by the arms' codes.
    """
    if not name:
        return ""
    text, short = _levels(study).get(name) or (covariate(study, name), name)
    return Cell(text, short=short, code=name)


def covariate(study: Described, name: str) -> str:
    """A covariate as people read it, with the level of a category: by the study's label.

    Parameters
    ----------
    study : Study
    name : str
        As in the tables: ``age``, or ``sex[M]``.
    """
    labels = study.labels if isinstance(study, Study) else {}
    column, bracket, value = name.partition("[")
    if name in labels or not (bracket and column in labels):
        return labels.get(name, name)
    return f"{labels[column]}: {value.removesuffix(']')}"


def _levels(study: Described) -> dict[str, tuple[str, str]]:
    """What levels are called: by the labels of arms, and in short by their codes."""
    codes, labels = tuple(study.arms), tuple(study.arms.values())
    shorts, words = contrast_words(codes), contrast_words(labels)  # no two of them alike
    contrasts, named = contrast_names(codes), contrast_names(labels)
    told = {code: (label, code) for code, label in study.arms.items()}
    told |= {
        name: (label, code)
        for name, label, code in zip(slope_names(codes), labels, codes, strict=True)
    }
    told |= {name: (words[named[pair]], shorts[name]) for pair, name in contrasts.items()}
    # An arm whose code is one of these stands in quotes where slopes are named
    told |= {name: (LEVELS[name], name) for name in RESERVED}
    if isinstance(study, Study):  # residual correlations of visits, by arm
        visits = dict.fromkeys(own.visit for own in study.outcomes.values() if own.visit)
        told |= {
            f"{earlier},{later},{code}": (
                f"{earlier},{later}, {label}",
                f"{earlier},{later},{code}",
            )
            for earlier, later in combinations(visits, 2)
            for code, label in study.arms.items()
        }
    if isinstance(study, Study) and unrated_arms(study):
        (*others, last) = study.rated_arms
        if not others:
            return told | {AVERAGE: (study.arms[last], last)}
        told[AVERAGE] = (f"average {over_arms(study)}", f"average of {', '.join(others)}, {last}")
    return told


def quantity_and_level(study: Described, quantity: str, name: str) -> str:
    """A quantity with its level in one text.

    Parameters
    ----------
    study : Study
    quantity, name : str
    """
    if not name:
        return plain(quantity)
    own = level(study, name)
    return Cell(
        f"{plain(quantity)}, {own}",
        short=f"{plain(quantity)}, {fitting(own, 0)}",
        code=f"{plain(quantity)} {name}",
    )


def row_names(study: Study, labels: Iterable[tuple[str, str]]) -> list[str]:
    """Quantities with their levels, for the rows of a figure.

    Parameters
    ----------
    study : Study
    labels : iterable of (str, str)
        Quantity and level.
    """
    return [str(quantity_and_level(study, *label)) for label in labels]


def unit(study: Study, quantity: str, *, outcome: str = "", per_sd: bool = False) -> str:
    """What a quantity of the tidy table is counted in.

    Parameters
    ----------
    study : Study
    quantity : str
    outcome : str
        Whose quantity it is; what the outcomes of a joint model share is counted in points.
    per_sd : bool
        Whether slopes are for one SD of the moderator.
    """
    if "correlation" in quantity:
        return "correlation"
    told = UNITS.get(quantity, "points")
    if outcome in study.outcomes:
        counted = study.outcomes[outcome].unit or "point"
        told = told.replace("one point of the baseline", f"one {counted} of the baseline")
        told = told.replace("points", points(study.outcomes[outcome]))
    if "{moderator}" not in told:
        return told
    own = study.measure.unit
    return told.format(
        unit="SD" if per_sd else own or "point",
        counted=own or "points",
        moderator=study.measure.name,
    )


def trial(name: str) -> str:
    """A trial of several, or what stands for one.

    Examples
    --------
    >>> trial("Leeds"), trial("new")
    ('Leeds', 'a new trial')
    """
    return TRIALS.get(name, name)


def of_moderator(study: Study, told: str) -> str:
    """What there is to tell of the moderator; nothing of a study without one.

    Parameters
    ----------
    study : Study
    told : str
        With ``{name}`` and ``{label}`` in the place of the moderator's.
    """
    if study.moderator is None:
        return ""
    return told.format(name=study.moderator.name, label=study.moderator.label)


def unrated_arms(study: Study) -> list[str]:
    """Arms by code whose patients cannot have the moderator, in a study that has one."""
    rated = study.rated_arms
    return [code for code in study.arms if code not in rated] if rated else []


def over_arms(study: Study) -> str:
    """Which arms an average slope is taken over, to follow "averaged" or "average"."""
    if not unrated_arms(study):
        return "over arms"
    return f"over arms with {study.measure.name} ({', '.join(study.rated_arms)})"


def points(measure: Outcome | Moderator) -> str:
    """What scores or ratings are counted in: their unit or points, chances of the event, or events.

    Parameters
    ----------
    measure : Outcome or Moderator
    """
    if isinstance(measure, Outcome) and measure.family == BINARY:
        return "chance of the event"
    if isinstance(measure, Outcome) and measure.family == COUNT:
        return f"events per unit of {measure.exposure}" if measure.exposure else "events"
    return measure.unit or "points"


def axis(measure: Outcome | Moderator) -> str:
    """What an axis of scores, ratings or their differences is counted in, with the range.

    Parameters
    ----------
    measure : Outcome or Moderator
    """
    if isinstance(measure, Outcome) and measure.family in OWN_FAMILIES:
        return points(measure)
    low, high = measure.range
    # A unit has no ends of its own: those are of the scale
    between = " of" if measure.unit is None else ", scale of"
    return f"{points(measure)}{between} {low:g} to {high:g}"


def past_the_scale(outcome: Outcome, family: str, expected: Iterable[float]) -> str:
    """A warning where scores are expected that there are not; empty where there is none.

    Parameters
    ----------
    outcome : Outcome
    family : str
        That was fitted.
    expected : iterable of float
        Expected scores.
    """
    low, high = outcome.range
    passed = [value for value in expected if value < low or value > high]
    if outcome.family in OWN_FAMILIES or not passed:
        return ""
    furthest = max(passed, key=lambda value: max(low - value, value - high))
    return (
        f"Scores run from {low:g} to {high:g}, and one of {furthest:.3g} is expected here: the "
        f"family fitted ({plain(family)}) knows no ends of the scale. Do not use what lies there."
    )


def observed_axis(outcome: Outcome) -> str:
    """As `axis`, of scores as they were recorded: events over each patient's own exposure."""
    if outcome.family in OWN_FAMILIES:
        return "share with the event" if outcome.family == BINARY else "events"
    return axis(outcome)


def scale(outcome: Outcome) -> str:
    """An outcome's range and direction.

    Parameters
    ----------
    outcome : Outcome
    """
    low, high = outcome.range
    if outcome.family == BINARY:
        return f"chance of the event, {outcome.better} is better"
    if outcome.family == COUNT:
        return f"{points(outcome)}, {outcome.better} is better"
    return f"{figures(low)} to {figures(high)} {points(outcome)}, {outcome.better} is better"


def label(study: Study, outcome: str) -> str:
    """An outcome's label; what the outcomes of a joint model share has its own.

    Parameters
    ----------
    study : Study
    outcome : str
    """
    if outcome == JOINT:
        return "Shared by the outcomes"
    if visits := _visits_of(study, outcome):
        return visits[0].label.removesuffix(f", {visits[0].visit}")
    own = study.outcomes[outcome].label
    same = sum(each.label == own for each in study.outcomes.values())
    return own if same == 1 else f"{own} ({outcome})"


def _visits_of(study: Study, outcome: str) -> list[Outcome]:
    """What the study says of the visits of an outcome over time; nothing of another."""
    return [own for own in study.outcomes.values() if own.visit_of == outcome]


def outcome(study: Study, name: str) -> Cell:
    """An outcome's label, in short its code.

    Parameters
    ----------
    study : Study
    name : str
    """
    return Cell(label(study, name), short=name, code=name)


def patients(fit: Fit, outcome: str) -> int:
    """Number of analysed patients.

    Parameters
    ----------
    fit : Fit
    outcome : str
    """
    if outcome == JOINT:
        return int(fit.manifest[JOINT]["patients"])
    counts = dict(zip(fit.flow["outcome"], fit.flow["analysed"], strict=True))
    if outcome in fit.manifest.get(OVER_TIME, {}):
        return int(fit.manifest[OVER_TIME][outcome]["patients"])
    return int(counts[outcome])


def headed(fit: Fit, outcome: str) -> str:
    """An outcome's label, scale and number of patients.

    Parameters
    ----------
    fit : Fit
    outcome : str
    """
    told = f"n = {patients(fit, outcome)} patients"
    if outcome == JOINT:
        return (
            f"{label(fit.study, outcome)} ({told}; slopes in SDs of benefit for one SD of the "
            f"{fit.study.measure.name}, correlations of the scores as they are)"
        )
    name, visits = label(fit.study, outcome), _visits_of(fit.study, outcome)
    if visits:
        return f"{name}, over visits ({scale(visits[0])}; {told})"
    return f"{name} ({scale(fit.study.outcomes[outcome])}; {told})"


def with_patients(study: Study, outcome: str, count: int, about: str = "") -> str:
    """An outcome's label and number of patients, as figures have them above their panels.

    Parameters
    ----------
    study : Study
    outcome : str
    count : int
    about : str
        What else stands in the brackets.
    """
    return f"{study.outcomes[outcome].label} (n = {count}{about})"


def arms(study: Described) -> str:
    """Codes of the arms with their labels.

    Parameters
    ----------
    study : Study, or what has its arms
    """
    return ", ".join(f"{code} = {label}" for code, label in study.arms.items())


def prior(row: Mapping[Any, Any]) -> str:
    """A prior of the table `Fit.priors`: N(mean, SD), half-N(scale), or log-N of the logarithm.

    Parameters
    ----------
    row : mapping
    """
    spread = figures(row["scale"], 2)
    if row["distribution"] == "half-normal":
        return f"half-N({spread})"
    if row["distribution"] == "mixture":
        return f"mixture, mean {figures(row['location'], 2)}, SD {spread}"
    if row["distribution"] == "log-normal":
        return f"log-N({figures(row['location'], 2)}, {spread})"
    return f"N({figures(row['location'], 2)}, {spread})"


def therapist(name: str) -> str:
    """A therapist of whom something is said: named, average, or drawn anew.

    Examples
    --------
    >>> therapist("average"), therapist("T07")
    ('an average therapist, whose effects are zero', 'therapist T07')
    >>> therapist("T07, clinic average")
    'therapist T07 in an average clinic'
    """
    name, _, clinic = name.partition(", clinic ")
    where = ""
    if clinic:
        clinics = {"average": "an average clinic", "new": "a new clinic"}
        where = f" in {clinics.get(clinic, f'clinic {clinic}')}"
    articles = {
        "average": ("an average therapist", ", whose effects are zero"),
        "new": ("a new therapist", ", drawn for each draw of the posterior"),
    }
    named, more = articles.get(name, (f"therapist {name}", ""))
    return f"{named}{where}{more}"


def assumed_clinics(study: Study, sd: float) -> str:
    """What is assumed of clinics in planned trials; nothing where the study has none."""
    return "" if study.clinic_setting == "none" else f"clinic SD {sd:g}, "


def assumed_visits(study: Study, correlation: float, leaving: Sequence[float]) -> str:
    """What is assumed of visits in planned trials; nothing where no outcome has several."""
    if all(own.visit_of is None for own in study.outcomes.values()):
        return ""
    shares = ", ".join(percent(share) for share in leaving)
    by = "each visit after the first" if len(leaving) > 1 else "the last visit"
    return (
        f"the same at all visits, residuals of neighbouring visits correlated {correlation:g}, "
        f"{shares} of the patients gone by {by}, the likelier the worse their last score, "
    )


def differing(study: Study) -> str:
    """What heads a table of how much therapists, and clinics, differ."""
    clinics = " and clinics" if study.clinic_setting != "none" else ""
    return f"How much therapists{clinics} differ"


def with_therapist(study: Study, whose: str) -> str:
    """With whom patients are imagined, after a blank; nothing where no therapist is recorded.

    Parameters
    ----------
    study : Study
    whose : str
        As of `therapist`, or the words themselves.
    """
    without = study.arms_without_therapist
    if len(without) == len(study.arms):
        return ""
    none = f" (without any in {' and '.join(study.arms[arm] for arm in without)})" * bool(without)
    return f" with {whose}{none}"


def treating(study: Study, *, nested: bool) -> str:
    """In which arms the therapists of a planned trial treat.

    Parameters
    ----------
    study : Study
    nested : bool
        Each in one arm only.
    """
    without = [study.arms[arm] for arm in study.arms_without_therapist]
    if len(without) == len(study.arms):
        return "no therapists"
    if nested:
        return "therapists in one arm each"
    return f"therapists in all arms{f' but {" and ".join(without)}' * bool(without)}"


def by(points: float) -> str:
    """The heading of a chance: of being better by so many points.

    Examples
    --------
    >>> by(5)
    'P(by 5)'
    """
    return f"P(by {points:g})"


def sentences(told: Iterable[str]) -> str:
    """What there is to tell, as running text."""
    return " ".join(text for text in told if text)


def among(lines: Sequence[str | None]) -> list[str]:
    """The lines that say something."""
    return [line for line in lines if line]


def of_one_patient(therapist: str, single: bool) -> str:
    """A therapist's code; of one with a single patient it says so.

    Parameters
    ----------
    therapist : str
    single : bool
    """
    return f"{therapist} (one patient)" if single else therapist
