"""Before the data: are the priors plausible on the outcome's own scale?

A prior predictive check (Gabry et al. 2019, doi:10.1111/rssa.12378): trials are simulated from the
priors for the patients at hand, and held against what the outcome's scale allows. Too wide a prior
expects scores that cannot be and effects larger than the scale; too tight a one rules out what is
commonly found.

What of the priors is judged, where the lines are drawn, and why.

What is said of the priors: four checks in words, with what to change in the study file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import BINARY, COUNT
from alliance.data_prep.trial.trial import Trial
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.inference.draws.summaries import quantiles
from alliance.inference.posterior import Posterior, refuse_rows
from alliance.inference.priors.prior_predictive import (
    DRAWS,
    PriorEffect,
    PriorPredictive,
    prior_effects,
    prior_predictive,
)
from alliance.inference.runs.fit import Fit
from alliance.inference.sampling.profiles import DEFAULT_SEED
from alliance.models.design.design import Design, build_design, centre_and_sd
from alliance.models.priors import Priors, slope_parts
from alliance.models.spec import JOINT, over_time, specify
from alliance.models.visits.design import build_visits

Array = NDArray[np.float64]

PLAUSIBLE, TOO_WIDE, TOO_TIGHT = "plausible", "too wide", "too tight"

# Priors that expect more scores outside the outcome's range than within say nothing about it. A
# normal outcome always reaches beyond: with the default priors a fifth to a third of the scores.
MOST_IMPOSSIBLE = 0.5
# No bounded scores have an SD over half the range: all would have to lie at its two ends.
MOST_SPREAD = 0.5
# A trial in which the event happens to all or to none says nothing; few simulated ones may be such.
MOST_ALIKE = 0.05
# Counts have no range. A factor of ten in the rate is as far as effects are looked for,
# between arms, or for two SDs of a variable; so far may a trial's mean count lie from the observed.
TENFOLD = 10.0
# The size of the trial's own SD must be possible: 1 in 20, as all lower limits here.
LEAST_POSSIBLE = 0.05
# An effect that is asked about (alliance, arms, interaction) has a prior SD of at most the whole
# scale: a normal variable lies beyond one SD with a chance of 0.32.
MOST_BEYOND = 1 / 3
# Baseline and covariates are adjusted for, not asked about; their priors are wide on purpose, and
# over the four or five SDs that are observed a slope of 1 SD for 1 SD crosses the whole scale.
MOST_BEYOND_ADJUSTED = 2 / 3
# Where scores are bounded no effect is larger than the scale. More than half of it is then as far.
MOST_OVER_HALF, MOST_OVER_HALF_ADJUSTED = 1 / 2, 3 / 4
# Between groups 0.2 SDs are small (Cohen 1988, Statistical Power Analysis, section 2.2), and r = .1
# over two SDs of a variable is as much. A prior may not rule that out.
SMALL_EFFECT = 0.2
# Therapists who differ more than the scores do as a whole: every second point would be theirs.
# Slopes are taken one SD of the alliance from its mean, where they make as large a difference as
# they do over all patients.
LARGE_THERAPIST_SD, MOST_LARGE_THERAPISTS = 1.0, 0.05
# 5% of the variance is what therapists are usually found to account for (Baldwin & Imel 2013, in
# Bergin and Garfield's Handbook of Psychotherapy and Behavior Change): an SD of sqrt(.05).
USUAL_THERAPIST_SD = 0.22
# An SD of 0.3 is left where nine tenths of the variance are explained, more than in any trial.
SMALL_RESIDUAL_SD = 0.3


@dataclass(frozen=True, slots=True)
class PriorRow:
    """One quantity under the priors, and what it is held against.

    Attributes
    ----------
    quantity, level : str
    priors : tuple of str
        Entries under ``[priors]`` that it rests on.
    start, end : float
        Values between which a variable is taken to move; missing (NaN) where nothing moves.
    lower, median, upper : float
        Limits of the central 95% of the draws, and their median.
    large : float
        What counts as too large, in the same unit; missing where nothing does.
    share_large, most_large : float
        Share of draws beyond it (in either direction), and the largest share that is plausible.
    small, share_small, least_small : float
        What must be possible, the share of draws at least as large, and the least plausible one.
    share_over_half : float
        Share of effects that are larger than half of the scale, of counts beyond a factor of ten;
        missing for other quantities.
    """

    quantity: str
    level: str
    priors: tuple[str, ...]
    start: float
    end: float
    lower: float
    median: float
    upper: float
    large: float = np.nan
    share_large: float = np.nan
    most_large: float = np.nan
    small: float = np.nan
    share_small: float = np.nan
    least_small: float = np.nan
    share_over_half: float = np.nan

    @property
    def verdict(self) -> str:
        """``plausible``, ``too wide`` or ``too tight``."""
        if self.share_large > self.most_large:
            return TOO_WIDE
        return TOO_TIGHT if self.share_small < self.least_small else PLAUSIBLE

    @property
    def excess(self) -> float:
        """How far beyond its limit the row lies; up to 1 where it is plausible."""
        ratios = [
            0.0 if np.isnan(self.share_large) else self.share_large / self.most_large,
            0.0
            if np.isnan(self.share_small)
            else self.least_small / max(self.share_small, np.finfo(float).tiny),
        ]
        return max(ratios)


def central(values: Array) -> tuple[float, float, float]:
    """Limits of the central 95% of some draws, with their median in between."""
    lower, median, upper = quantiles(values, [0.025, 0.5, 0.975])
    return float(lower), float(median), float(upper)


def main_sources(design: Design, priors: Priors, names: Sequence[str]) -> list[tuple[str, float]]:
    """Which priors the spread of scores comes from: those that bring most of its variance.

    Parameters
    ----------
    design : Design
    priors : Priors
    names : sequence of str
        Entries of the priors to choose from; all that the model has where it is empty.

    Returns
    -------
    list of (str, float)
        Names and shares of the prior variance of the linear predictor and residual, averaged over
        the patients; largest first.
    """
    kinds = {
        "intercept": "intercept",
        "baseline": "baseline_slope",
        "arm": "arm",
        "moderator": "moderator_slope",
        "interaction": "interaction",
        "covariate": "covariate_slope",
    }
    expected = design.prior_sd(priors) ** 2
    expected[design.coefficients.index("moderator")] = sum(
        weight * (mean**2 + sd**2) for weight, mean, sd in slope_parts(priors)
    )
    squares = (design.X**2).mean(axis=0) * expected
    variance: dict[str, float] = {}
    for k in design.present:
        kind = kinds[design.encoding.terms[k].kind]
        variance[kind] = variance.get(kind, 0.0) + float(squares[k])
    effects = {"intercept": "therapist_sd", "slope": "therapist_slope_sd"}
    for effect, column in zip(design.effects, design.effect_columns, strict=True):
        kind = effects.get(effect, "therapist_arm_sd")
        has = design.nesting.has_therapist(design.arm_index)
        square = float((design.X[has, column] ** 2).mean()) * getattr(priors, kind) ** 2
        variance[kind] = variance.get(kind, 0.0) + square
    of_clinics = {"intercept": "clinic_sd", "slope": "clinic_slope_sd"}
    for effect, column in zip(design.clinic_effects, design.clinic_columns, strict=True):
        square = float((design.X[:, column] ** 2).mean())
        variance[of_clinics[effect]] = square * getattr(priors, of_clinics[effect]) ** 2
    if any(parameter.scale == "residual_sd" for parameter in design.family.parameters):
        variance["residual_sd"] = priors.residual_sd**2
    chosen = {name: value for name, value in variance.items() if not names or name in names}
    total = sum(chosen.values())
    shares = [(name, value / total) for name, value in chosen.items()]
    return sorted(shares, key=lambda each: -each[1])


SPREAD = ("score_sd", "intercept", "residual_sd")
THERAPISTS = (
    *("therapist_sd", "therapist_slope_sd", "therapist_arm_sd"),
    *("clinic_sd", "clinic_slope_sd"),
)
NAMED = 3  # priors that a recommendation names
FIRST_SHARE = 0.1  # of the variance, below which a prior is no source of too much


def prior_results(
    outcome: str,
    rows: Sequence[PriorRow],
    design: Design,
    priors: Priors,
    limits: tuple[float, float],
) -> tuple[CheckResult, ...]:
    """Checks of one outcome's priors.

    Parameters
    ----------
    outcome : str
    rows : sequence of PriorRow
    design : Design
    priors : Priors
    limits : tuple of float
        The outcome's range.

    Returns
    -------
    tuple of CheckResult
        prior_scores, prior_spread, prior_effects and, with therapist effects, prior_therapists;
        each about the row that lies furthest beyond its limit, or nearest to it.
    """
    groups: dict[str, tuple[list[PriorRow], Callable[[PriorRow, Design], str]]] = {
        "prior_scores": ([row for row in rows if row.quantity == "score"], _scores),
        "prior_spread": ([row for row in rows if row.quantity in SPREAD], _spread),
        "prior_effects": (
            [row for row in rows if row.quantity not in ("score", *SPREAD, *THERAPISTS)],
            _effect,
        ),
        "prior_therapists": ([row for row in rows if row.quantity in THERAPISTS], _therapists),
    }
    found = []
    for check, (own, words) in groups.items():
        if not own:
            continue
        worst = max(own, key=lambda row: row.excess)
        # Of the rows that are too wide, and of those too tight, the furthest; else the nearest.
        told = [
            (max(kind, key=lambda row: row.excess), len(kind) - 1)
            for word in (TOO_WIDE, TOO_TIGHT)
            if (kind := [row for row in own if row.verdict == word])
        ]
        parts = [
            words(row, design).format(low=f"{limits[0]:g}", high=f"{limits[1]:g}")
            + (f" So it is with {others} more." if others else "")
            for row, others in told or [(worst, 0)]
        ]
        by_small = worst.verdict == TOO_TIGHT
        found.append(
            CheckResult(
                check=check,
                verdict=Verdict.REVIEW if told else Verdict.PASS,
                value=worst.share_small if by_small else worst.share_large,
                review=worst.least_small if by_small else worst.most_large,
                fail=None,
                worst=f"{outcome}: {_name(worst)}",
                message=" ".join(parts),
                recommendation=" ".join(_advice(row, design, priors) for row, _ in told),
            )
        )
    return tuple(found)


def _name(row: PriorRow) -> str:
    return f"{row.quantity}[{row.level}]" if row.level else row.quantity


def _draws(share: float) -> str:
    return f"in {_percent(share)} of draws" if share else "in none of the draws"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{100 * share:.1f}%"


def _scores(row: PriorRow, design: Design) -> str:
    if row.level == ALL_ALIKE:
        return (
            f"{_percent(row.share_large)} of simulated trials have the event in all patients or in "
            f"none (95% of them in {row.lower:.0%} to {row.upper:.0%} of the patients); up to "
            f"{_percent(row.most_large)} is plausible."
        )
    if row.level == FAR:
        return (
            f"{_percent(row.share_large)} of simulated trials have a mean count over {TENFOLD:g} "
            f"times that observed or under a tenth of it (95% of them from {row.lower:.3g} to "
            f"{row.upper:.3g}); up to {_percent(row.most_large)} is plausible."
        )
    where = (
        "at the ends of the range, {low} and {high}"
        if design.scale.top
        else "outside the range, {low} to {high}"
    )
    return (
        f"{_percent(row.share_large)} of simulated scores lie {where} (95% of them from "
        f"{row.lower:.3g} to {row.upper:.3g}); up to {_percent(row.most_large)} is plausible."
    )


def _spread(row: PriorRow, _design: Design) -> str:
    names = {
        "score_sd": "SD of a simulated trial's scores",
        "intercept": "mean score of an average patient",
        "residual_sd": "residual SD",
    }
    known = f"The {names[row.quantity]} is {row.lower:.3g} to {row.upper:.3g} (95%)"
    if row.verdict == TOO_TIGHT:
        much = "further from the trial's mean than" if row.quantity == "intercept" else "at least"
        return f"{known}; {_draws(row.share_small)} {much} {row.small:.3g} points."
    beyond = (
        "outside the range, {low} to {high}"
        if row.quantity == "intercept"
        else f"over {row.large:.3g}, half the range"
    )
    return f"{known}; {_draws(row.share_large)} it is {beyond}."


def _effect(row: PriorRow, design: Design) -> str:
    moved = "" if row.start != row.start else f" from {row.start:.3g} to {row.end:.3g}"
    known = f"{_name(row)}{moved}: {row.lower:.3g} to {row.upper:.3g} points (95%)"
    if row.verdict == TOO_TIGHT:
        return (
            f"{known}; {_draws(row.share_small)} it is as large as a small effect, "
            "0.2 SDs of the outcome between arms or for two SDs of a variable."
        )
    scale = "half of the scale" if design.scale.top else "the whole scale"
    if design.family.name == COUNT:
        scale = f"a factor of {TENFOLD:g} in the rate"
    return f"{known}; {_draws(row.share_large)} more than {scale}."


def _therapists(row: PriorRow, _design: Design) -> str:
    known = f"{row.quantity} is {row.lower:.3g} to {row.upper:.3g} points (95%)"
    if row.verdict == TOO_TIGHT:
        return (
            f"{known}; {_draws(row.share_small)} as large as is usual, 5% of the "
            f"variance ({row.small:.3g} points)."
        )
    return f"{known}; {_draws(row.share_large)} more than the SD of all scores, {row.large:.3g}."


def _advice(row: PriorRow, design: Design, priors: Priors) -> str:
    """What to write into the study file."""
    tight, default = row.verdict == TOO_TIGHT, Priors()
    sources = main_sources(design, priors, row.priors)
    names = [name for name, share in sources if tight or share >= FIRST_SHARE] or list(row.priors)
    if row.quantity == "score" and any(
        each.name == "cutpoint" for each in design.family.parameters
    ):
        names.append("category_concentration")

    def moved(name: str) -> bool:
        own, usual = getattr(priors, name), getattr(default, name)
        # Little concentration spreads the categories' shares: narrower is wider there.
        return bool(own < usual if tight or name == "category_concentration" else own > usual)

    names = [name for name in names if moved(name)] or names
    told = ", ".join(
        f"{name} = {getattr(priors, name):g} (default {getattr(default, name):g})"
        for name in names[:NAMED]
    )
    raised = tight or names == ["category_concentration"]
    verb = "Raise" if raised else "Lower"
    return f"{verb} under [priors] of the study file: {told}; or say why it should be so."


ADJUSTED = ("baseline_slope", "covariate_slope")
SCORE, TRIAL_SD = "score", "score_sd"
ALL_ALIKE = "all with the event, or none"
FAR = "beyond a factor of ten"


@dataclass(frozen=True, eq=False, slots=True)
class PriorCheck:
    """What the priors expect of one outcome, and whether that is plausible.

    Attributes
    ----------
    outcome : str
    study : Study
    priors : Priors
    patients : int
        Whose design was used.
    rows : tuple of PriorRow
        Scores, SD of a trial's scores, mean and residual SD, effects, SDs between therapists.
    results : tuple of CheckResult
        The checks prior_scores, prior_spread, prior_effects and prior_therapists: PASS or REVIEW.
    predictive : PriorPredictive
        The simulated trials.
    """

    outcome: str
    study: Study
    priors: Priors
    patients: int
    rows: tuple[PriorRow, ...]
    results: tuple[CheckResult, ...]
    predictive: PriorPredictive

    @property
    def verdict(self) -> str:
        """``plausible``, ``too wide``, ``too tight``, or both of the latter."""
        found = [word for word in (TOO_WIDE, TOO_TIGHT) if word in {r.verdict for r in self.rows}]
        return " and ".join(found) or PLAUSIBLE

    @property
    def table(self) -> pd.DataFrame:
        """One row for each quantity, in points of the outcome.

        Returns
        -------
        pandas.DataFrame
            Columns outcome, quantity, level, priors (separated by blanks), start, end, lower,
            median, upper, large, share_large, most_large, small, share_small, least_small,
            share_over_half (see `diagnostics.checks.prior_check.PriorRow`), verdict. Where a
            therapist's SD is of slopes it is for one SD of the alliance.
        """
        names = [field.name for field in fields(PriorRow)]
        cells = [[getattr(row, name) for name in names] for row in self.rows]
        frame = pd.DataFrame(cells, columns=names)
        frame["priors"] = [" ".join(row.priors) for row in self.rows]
        frame["verdict"] = [row.verdict for row in self.rows]
        frame.insert(0, "outcome", self.outcome)
        return frame


def prior_check(
    source: Trial | Fit, outcome: str, *, draws: int = DRAWS, seed: int | None = None
) -> PriorCheck:
    """Simulate trials from the priors, and hold them against the outcome's scale.

    Of the data only the design and the constants of standardisation are used. The outcome's mean
    and SD are among these: the priors are stated in SDs of the outcome, so that they cannot be
    looked at in points without them.

    Parameters
    ----------
    source : Trial or Fit
        A trial, before it is fitted; or a fit, whose priors and patients are then looked at.
    outcome : str
    draws : int
        Simulated trials.
    seed : int, optional
        The same seed gives the same draws. By default that of the fit; of a trial the one that
        fits have by default.

    Returns
    -------
    PriorCheck

    Raises
    ------
    InputError
        If there is no such outcome, a prior that the study names does not exist, or a fit holds no
        patients' rows.
    """
    known = source.study.outcomes if isinstance(source, Trial) else source.specs
    if outcome not in known:
        raise InputError(f"There is no outcome {outcome!r}.", nearest(outcome, known))
    if draws < 1:
        raise InputError(f"{draws} draws are none.", "Give a number above zero.")
    if isinstance(source, Fit) and source.rowless:
        raise refuse_rows()  # of whose patients trials are simulated
    design, priors, joint = _specified(source, outcome)
    if seed is None:
        seed = DEFAULT_SEED if isinstance(source, Trial) else source[outcome].seed
    predictive = prior_predictive(design, priors, draws=draws, seed=seed, joint=joint)
    limits = source.study.outcomes[outcome].range
    rows = (
        *_score_rows(design, priors, predictive, limits),
        *(
            _effect_row(effect, design, limits)
            for effect in prior_effects(design, predictive.design, predictive.draws)
        ),
        *_therapist_rows(design, predictive),
    )
    return PriorCheck(
        outcome=outcome,
        study=source.study,
        priors=priors,
        patients=len(design.y),
        rows=rows,
        results=prior_results(outcome, rows, design, priors, limits),
        predictive=predictive,
    )


def check_priors(source: Trial | Fit, outcome: str) -> tuple[CheckResult, ...]:
    """The checks of one outcome's priors: PASS or REVIEW, see `prior_check`."""
    return prior_check(source, outcome).results


def _specified(source: Trial | Fit, outcome: str) -> tuple[Design, Priors, bool]:
    """Design and priors of an outcome, and whether it is one of a joint model."""
    if isinstance(source, Fit):
        return source.design(outcome), source.specs[outcome].priors, JOINT in source.manifest
    spec, study = specify(source.study)[outcome], source.study
    scale = None
    if study.model.joint:  # one scale of the alliance for the patients of all outcomes
        positions = np.unique(np.concatenate([source.positions(name) for name in study.outcomes]))
        scale = centre_and_sd(source.data["moderator"].values[positions])
    if spec.visits is not None:
        visits = over_time(specs := specify(study))[spec.visits.outcome]
        whole = build_visits(source.data, {name: specs[name] for name in visits})
        return whole.designs[outcome], spec.priors, False
    design = build_design(source.analysed(outcome), spec, study.outcomes[outcome].range, scale)
    return design, spec.priors, study.model.joint


def _score_rows(
    design: Design, priors: Priors, predictive: PriorPredictive, limits: tuple[float, float]
) -> list[PriorRow]:
    """Scores, the SD of a trial's, and where the family has them, mean and residual SD."""
    (low, high), scores = limits, predictive.scores
    mean, sd = design.scaling.outcome
    half = (high - low) / 2
    if design.family.name == BINARY:
        return [_event_row(predictive.scores.mean(axis=1))]
    if design.family.name == COUNT:
        own = float((design.scale.offset + design.scale.unit * design.y).mean())
        return [_count_row(predictive.scores.mean(axis=1), own)]
    if design.scale.top:  # impossible scores are impossible here: they heap at the ends
        beyond = (scores == low) | (scores == high)
        categories = design.scale.top + 1
        # Half way between scores spread evenly and scores at the ends alone.
        most = (1 + 2 / categories) / 2
    else:
        beyond = (scores < low) | (scores > high)
        most = MOST_IMPOSSIBLE
    nothing = (np.nan, np.nan)
    rows = [
        PriorRow(
            SCORE,
            "at the ends" if design.scale.top else "outside the range",
            (),
            *nothing,
            *central(scores),
            share_large=float(beyond.mean()),
            most_large=most,
        )
    ]
    spread = scores.std(axis=1, ddof=1)
    rows.append(
        PriorRow(
            TRIAL_SD,
            "",
            (),
            *nothing,
            *central(spread),
            large=half,
            share_large=float((spread > half).mean()),
            most_large=MOST_SPREAD,
            small=sd,
            share_small=float((spread >= sd).mean()),
            least_small=LEAST_POSSIBLE,
        )
    )
    if design.family.link != "identity":
        return rows
    beta = predictive.draws["beta"].values[0]
    centre = mean + sd * beta[:, list(predictive.draws["coefficient"].values).index("intercept")]
    rows.append(
        PriorRow(
            "intercept",
            "",
            ("intercept",),
            *nothing,
            *central(centre),
            share_large=float(((centre < low) | (centre > high)).mean()),
            most_large=MOST_BEYOND,
            small=SMALL_EFFECT * sd,
            share_small=float((np.abs(centre - mean) >= SMALL_EFFECT * sd).mean()),
            least_small=LEAST_POSSIBLE,
        )
    )
    auxiliary = Posterior(design, predictive.draws).family_parameters
    flat_line = np.zeros((len(centre), 1))
    residual = sd * np.sqrt(design.family.variance(flat_line, auxiliary, design.scale)[:, 0])
    rows.append(
        PriorRow(
            "residual_sd",
            "",
            ("residual_sd",),
            *nothing,
            *central(residual),
            large=half,
            share_large=float((residual > half).mean()),
            most_large=MOST_BEYOND,
            small=SMALL_RESIDUAL_SD * sd,
            share_small=float((residual >= SMALL_RESIDUAL_SD * sd).mean()),
            least_small=LEAST_POSSIBLE,
        )
    )
    return rows


def _event_row(shares: Array) -> PriorRow:
    """Shares of the patients with the event, of each simulated trial; its SD follows from them."""
    return PriorRow(
        SCORE,
        ALL_ALIKE,
        (),
        np.nan,
        np.nan,
        *central(shares),
        share_large=float(((shares == 0) | (shares == 1)).mean()),
        most_large=MOST_ALIKE,
    )


def _count_row(means: Array, own: float) -> PriorRow:
    """Mean counts of simulated trials, against the observed one."""
    far = (means > TENFOLD * own) | (means < own / TENFOLD)
    return PriorRow(
        SCORE,
        FAR,
        (),
        np.nan,
        np.nan,
        *central(means),
        share_large=float(far.mean()),
        most_large=MOST_BEYOND,
    )


def _effect_row(effect: PriorEffect, design: Design, limits: tuple[float, float]) -> PriorRow:
    scale, size = limits[1] - limits[0], np.abs(effect.change)
    adjusted = effect.quantity in ADJUSTED
    beyond = None
    if design.family.name == COUNT:
        large, most = np.nan, MOST_BEYOND_ADJUSTED if adjusted else MOST_BEYOND
        beyond = float((np.abs(effect.standard) > np.log(TENFOLD)).mean())
    elif design.scale.top:
        large, most = scale / 2, MOST_OVER_HALF_ADJUSTED if adjusted else MOST_OVER_HALF
    else:
        large, most = scale, MOST_BEYOND_ADJUSTED if adjusted else MOST_BEYOND
    return PriorRow(
        effect.quantity,
        effect.level,
        effect.priors,
        effect.start,
        effect.end,
        *central(effect.change),
        large=large,
        share_large=float((size > large).mean()) if beyond is None else beyond,
        most_large=most,
        small=SMALL_EFFECT * design.outcome_unit[1],
        share_small=float((np.abs(effect.standard) >= SMALL_EFFECT).mean()),
        least_small=LEAST_POSSIBLE,
        share_over_half=float((size > scale / 2).mean()) if beyond is None else beyond,
    )


def _therapist_rows(design: Design, predictive: PriorPredictive) -> Sequence[PriorRow]:
    """SDs between therapists: of mean scores, of what one SD of alliance does, of arm contrasts."""
    sd = design.outcome_unit[1]
    usual = {"therapist_sd": USUAL_THERAPIST_SD}
    unit = {"therapist_arm_sd": np.sqrt(2)}
    rows = []
    for name in THERAPISTS:
        if name not in predictive.draws:
            continue
        size = unit.get(name, 1.0) * predictive.draws[name].values[0]
        lower = usual.get(name)
        told = {} if lower is None else {"small": lower * sd, "least_small": LEAST_POSSIBLE}
        if lower is not None:
            told["share_small"] = float((size >= lower).mean())
        rows.append(
            PriorRow(
                name,
                "",
                (name,),
                np.nan,
                np.nan,
                *central(sd * size),
                large=LARGE_THERAPIST_SD * sd,
                share_large=float((size > LARGE_THERAPIST_SD).mean()),
                most_large=MOST_LARGE_THERAPISTS,
                **told,
            )
        )
    return rows
