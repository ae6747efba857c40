"""Everything that follows from the printed numbers of a paper, in tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betainc, betaincinv

from alliance.data_prep.errors import InputError, nearest
from alliance.inference.draws.summaries import tails
from alliance.inference.paper.consistency import consistency
from alliance.inference.paper.credibility import (
    NamedPrior,
    conflict,
    credible_p,
    named_priors,
    normal,
    posterior,
    sceptical_limit,
)
from alliance.inference.paper.curves import Array, Curve, Normals, around, student_log_density
from alliance.inference.paper.ignored_therapists import (
    Clustering,
    Design,
    clustering,
)
from alliance.inference.paper.meta_analysis import (
    HALF,
    MetaAnalysis,
    half_normal,
    meta_analysis,
)
from alliance.inference.paper.printed import (
    Estimate,
    Printed,
    estimate_of,
    patients,
    patients_by_arm,
    quantile,
    row_of,
)
from alliance.inference.published.findings import Finding
from alliance.models.prior_pack import evidence

ASSUMED_THERAPISTS = (6, 12, 24)  # where no paper says how many
SHARES = "johns2019_trials"  # whose mean and largest share make the prior of the share
SHARES_OF_PAIN = "lewis2010"  # whose smallest and largest share are tabulated
BEYOND_LARGEST = 0.025  # chance, in that prior, of a share beyond the largest that was seen
FINE = 60  # shares over which the prior is averaged


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a paper.

    Attributes
    ----------
    threshold : float, optional
        A benefit that somebody names, in points of the outcome, above zero.
    therapists : tuple of int
        Numbers of therapists to assume; empty for what the paper tells, or `ASSUMED_THERAPISTS`.
    shares : tuple of float
        Shares of variance to assume; empty for those of the field.
    heterogeneity : float, optional
        Scale of the half-normal prior of the SD between trials.
    interval : float
        Probability of the posterior intervals.
    outcomes : tuple of str
        Only these; all of them by default.
    """

    threshold: float | None = None
    therapists: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    heterogeneity: float | None = None
    interval: float = 0.95
    outcomes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        tails(self.interval)  # refuses what is no probability
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise InputError(
                f"A benefit of {self.threshold:g} points is none.", "Name one above zero."
            )
        for share in self.shares:
            if not 0 <= share < 1:
                raise InputError(
                    f"{share:g} is no share of variance.", "Give one from 0 to below 1: 0.05."
                )
        if self.heterogeneity is not None and not 0 < self.heterogeneity < math.inf:
            raise InputError(
                f"{self.heterogeneity:g} is no scale of an SD.", "Give one above zero."
            )


@dataclass(frozen=True, eq=False)
class Paper:
    """The printed findings of a paper, and all that follows from them alone.

    Attributes
    ----------
    printed : Printed
    asked : Asked
    """

    printed: Printed
    asked: Asked = Asked()

    @property
    def study(self) -> Printed:
        """Whose title figures bear."""
        return self.printed

    @cached_property
    def findings(self) -> dict[int, Finding]:
        """The findings that are asked about, by their place in the file, from 1."""
        known = {finding.outcome for finding in self.printed.findings}
        for name in self.asked.outcomes:
            if name not in known:
                raise InputError(
                    f"{self.printed.name} has no finding on an outcome {name!r}.",
                    nearest(name, sorted(known)),
                )
        return {
            number: finding
            for number, finding in enumerate(self.printed.findings, start=1)
            if finding.outcome in (self.asked.outcomes or known)
        }

    @cached_property
    def estimates(self) -> dict[int, tuple[Finding, Estimate]]:
        """Findings with a number and a standard error, by their place in the file, from 1."""
        found = {}
        for number, finding in self.findings.items():
            estimate = estimate_of(finding, self.printed.better(finding.outcome))
            if estimate is not None:
                found[number] = (finding, estimate)
        return found

    @cached_property
    def untold(self) -> list[str]:
        """What cannot be answered, and what the paper would have to print for it."""
        told = []
        bare = [
            number
            for number, finding in self.findings.items()
            if number not in self.estimates and finding.claim == "number"
        ]
        if bare:
            told.append(
                f"{_findings(bare)}: no standard error follows from what is printed; an interval, "
                "se, t or p beside the estimate would tell it."
            )
        claims = sum(finding.claim != "number" for finding in self.findings.values())
        if claims:
            told.append(
                f"{claims} findings are stated without a number, and nothing follows from them "
                "alone."
                if claims > 1
                else "1 finding is stated without a number, and nothing follows from it alone."
            )
        return told

    @cached_property
    def consistency(self) -> pd.DataFrame:
        """Whether the numbers agree; as of `inference.paper.consistency.consistency`."""
        return consistency(self.printed, self.findings)

    # Posteriors -----------------------------------------------------------------------------------

    def priors(self, finding: Finding, estimate: Estimate) -> list[NamedPrior]:
        """The priors that a finding is seen under.

        Parameters
        ----------
        finding : Finding
        estimate : Estimate
        """
        direction = self.printed.benefit(finding)
        named = self.asked.threshold
        if named is not None and estimate.ratio:
            raise InputError(
                f"`threshold={named:g}` is a difference, and {finding.outcome} {finding.level} is "
                "printed as a ratio.",
                "Leave it out, or ask for the other outcomes alone.",
            )
        if named is not None:
            named *= direction if direction is not None else math.copysign(1, estimate.value)
        found = named_priors(estimate, named)
        field = self._field(finding)
        return found if field is None else [*found, field]

    def _field(self, finding: Finding) -> NamedPrior | None:
        """The field's prior of an alliance slope, where the paper prints the SDs that it needs."""
        if finding.quantity != "moderator_slope" or finding.level not in ("average", ""):
            return None
        direction = self.printed.benefit(finding)
        if finding.sd is None or finding.moderator_sd is None or direction is None:
            return None
        entry = evidence("fluckiger2018", "moderator_slope")
        assert entry.value is not None
        unit = finding.sd / finding.moderator_sd
        return NamedPrior(
            "field",
            f"r = {entry.value:g} with an SD of {entry.spread:.2g} between studies "
            f"({entry.source}; the SD is assumed), in points by the printed SDs",
            normal(direction * entry.value * unit, entry.spread * unit),
        )

    @cached_property
    def curves(self) -> dict[tuple[int, str], Normals | Curve]:
        """Posteriors by finding and prior."""
        return {
            (number, prior.name): posterior(estimate, prior.normals)
            for number, (finding, estimate) in self.estimates.items()
            for prior in self.priors(finding, estimate)
        }

    @cached_property
    def posteriors(self) -> pd.DataFrame:
        """Posteriors by finding and prior.

        Columns ``finding, outcome, quantity, level, trial, prior, prior_words, mean, lower, upper,
        prob_positive, prob_benefit, threshold, prob_threshold, conflict``; ratios as ratios.
        """
        low, high = tails(self.asked.interval)
        rows = []
        for number, (finding, estimate) in self.estimates.items():
            direction = self.printed.benefit(finding)
            for prior in self.priors(finding, estimate):
                curve = self.curves[number, prior.name]
                named = self.asked.threshold
                rows.append(
                    row_of(finding, number)
                    | {
                        "prior": prior.name,
                        "prior_words": prior.words,
                        "mean": estimate.shown(
                            curve.quantile(0.5) if estimate.ratio else curve.mean
                        ),
                        "lower": estimate.shown(curve.quantile(low)),
                        "upper": estimate.shown(curve.quantile(high)),
                        "prob_positive": curve.above(0.0),
                        "prob_benefit": _beyond(curve, direction, 0.0),
                        "threshold": math.nan if named is None else named,
                        "prob_threshold": math.nan
                        if named is None
                        else _beyond(curve, direction, named),
                        "conflict": math.nan
                        if prior.normals is None
                        else conflict(estimate, prior.normals),
                    }
                )
        return pd.DataFrame(rows, columns=list(POSTERIORS))

    @cached_property
    def credibility(self) -> pd.DataFrame:
        """The sceptical limit of every finding.

        Columns ``finding, outcome, quantity, level, trial, estimate, se, df, se_from,
        sceptical_limit, intrinsically_credible, p_credible``; the limit of a ratio is a ratio above
        one.
        """
        rows = []
        for number, (finding, estimate) in self.estimates.items():
            limit = sceptical_limit(estimate, self.asked.interval)
            rows.append(
                row_of(finding, number)
                | {
                    "estimate": estimate.shown(estimate.value),
                    "se": estimate.se,
                    "df": estimate.df,
                    "se_from": estimate.source,
                    "sceptical_limit": estimate.shown(limit) if limit == limit else math.nan,
                    "intrinsically_credible": bool(abs(estimate.value) > limit),
                    "p_credible": credible_p(estimate),
                }
            )
        return pd.DataFrame(rows, columns=list(CREDIBILITY))

    # Therapists -----------------------------------------------------------------------------------

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Shares of variance that are assumed."""
        if self.asked.shares:
            return self.asked.shares
        pain, trials = evidence(SHARES_OF_PAIN), evidence(SHARES)
        found = (pain.smallest, pain.largest, trials.largest)
        return tuple(share for share in found if share is not None)

    @cached_property
    def therapists(self) -> pd.DataFrame:
        """What ignored therapists would do to each finding.

        Columns ``finding, outcome, quantity, level, trial, design, therapists,
        therapists_known_by, share, design_effect, estimate, lower, upper, prob_positive,
        tipping_share``; ``share`` is missing where it is averaged over the prior of the field.
        """
        rows = []
        for number, (finding, estimate) in self.estimates.items():
            for shared, count, known in self._clusterings(number, finding):
                half = quantile((1 + finding.interval) / 2, estimate.df) * estimate.se
                tipping = shared.tipping(abs(estimate.value) / half)
                for share in (*self.shares, math.nan):
                    wide = _widened(estimate, shared, share, finding.interval)
                    rows.append(
                        row_of(finding, number)
                        | {
                            "design": shared.design,
                            "therapists": count,
                            "therapists_known_by": known,
                            "share": share,
                            "estimate": estimate.shown(estimate.value),
                            **wide,
                            "tipping_share": tipping,
                        }
                    )
        return pd.DataFrame(rows, columns=list(THERAPISTS))

    def _clusterings(self, number: int, finding: Finding) -> Iterator[tuple[Clustering, int, str]]:
        """Ways in which therapists may have shared the patients of a finding."""
        designs = _designs(finding)
        if not designs:
            return
        arms = patients_by_arm(self.printed, finding)
        everyone = patients(finding)
        if (arms if designs[0] != "slopes" else everyone) is None:
            if self.asked.therapists or self.asked.shares:
                raise InputError(
                    f"{self.printed.named(number)} has no n, which its therapists need.",
                    "Add the patients of the analysis: n = 160, or by arm n = { MCE = 80, GE = 80 }"
                    "; or leave `therapists` and `share` out.",
                )
            return
        if self.asked.therapists:
            counts, known = self.asked.therapists, "assumed"
        elif finding.therapists is not None:
            counts, known = (finding.therapists,), "printed"
        else:
            counts, known = ASSUMED_THERAPISTS, "assumed"
        for design in designs:
            for count in counts:
                shared = clustering(
                    design,
                    arms=arms,
                    everyone=everyone,
                    therapists=count,
                    arms_of_trial=max(2, len(self.printed.arms)),
                )
                if shared is not None:
                    yield shared, count, known

    # Several trials -------------------------------------------------------------------------------

    @cached_property
    def pooled(self) -> dict[tuple[str, str, str], tuple[list[int], MetaAnalysis, float]]:
        """Meta-analyses by outcome, quantity and level: findings, posteriors, scale of the prior.

        Findings are of several trials where each names its own `trial`.
        """
        groups: dict[tuple[str, str, str], list[int]] = {}
        for number, (finding, _) in self.estimates.items():
            if finding.trial is not None:
                key = (finding.outcome, finding.quantity, finding.level)
                groups.setdefault(key, []).append(number)
        found = {}
        for key, numbers in groups.items():
            trials = [self.estimates[number][0].trial for number in numbers]
            if len(numbers) < 2 or len(set(trials)) < len(trials):
                continue
            made = [self.estimates[number][1] for number in numbers]
            if len({each.ratio for each in made}) > 1:
                raise InputError(
                    f"{_findings(numbers)} of {' '.join(key)} are ratios and differences.",
                    "Print them on one scale, or name other outcomes.",
                )
            scale = self._heterogeneity(numbers)
            found[key] = (
                numbers,
                meta_analysis(
                    np.array([each.value for each in made]),
                    np.array([each.se for each in made]),
                    half_normal(scale),
                    scale=scale,
                ),
                scale,
            )
        return found

    def _heterogeneity(self, numbers: Sequence[int]) -> float:
        """Scale of the prior of the SD between trials: half an SD between patients by default."""
        if self.asked.heterogeneity is not None:
            return self.asked.heterogeneity
        if self.estimates[numbers[0]][1].ratio:
            return HALF
        everyone, precision = 0, 0.0
        for number in numbers:
            finding, estimate = self.estimates[number]
            count = patients(finding)
            if count is None:
                raise InputError(
                    f"{self.printed.named(number)} has no n, which the prior of the SD between "
                    "trials needs.",
                    "Add the patients of the analysis, or give `heterogeneity`: the scale of that "
                    "prior in points of the outcome.",
                )
            everyone += count
            precision += estimate.se**-2
        # The SD of one patient's worth of information; twice the patients' SD for two equal arms
        return HALF * math.sqrt(everyone / precision) / 2

    @cached_property
    def meta_analysis(self) -> pd.DataFrame:
        """Means, heterogeneity, a new trial and each trial's own effect.

        Columns ``outcome, quantity, level, part, trial, mean, sd, lower, upper, prob_positive,
        prior_scale``; ``part`` is mean, heterogeneity, new or trial.
        """
        rows = []
        for (outcome, quantity, level), (numbers, made, scale) in self.pooled.items():
            shown = self.estimates[numbers[0]][1]
            named = [self.estimates[number][0].trial or "" for number in numbers]
            parts: list[tuple[str, str, Normals | Curve]] = [
                ("mean", "", made.mean),
                ("new", "", made.new),
                *(("trial", name, own) for name, own in zip(named, made.trials, strict=True)),
                ("heterogeneity", "", made.heterogeneity),
            ]
            low, high = tails(self.asked.interval)
            for part, trial, curve in parts:
                as_printed = replace(shown, ratio=shown.ratio and part != "heterogeneity")
                rows.append(
                    {
                        "outcome": outcome,
                        "quantity": quantity,
                        "level": level,
                        "part": part,
                        "trial": trial,
                        "mean": as_printed.shown(
                            curve.quantile(0.5) if as_printed.ratio else curve.mean
                        ),
                        "sd": curve.sd,
                        "lower": as_printed.shown(curve.quantile(low)),
                        "upper": as_printed.shown(curve.quantile(high)),
                        "prob_positive": math.nan if part == "heterogeneity" else curve.above(0.0),
                        "prior_scale": scale,
                    }
                )
        return pd.DataFrame(rows, columns=list(META))

    @property
    def table(self) -> pd.DataFrame:
        """Every table below the other, as machines read them; ``about`` says which."""
        parts = {
            "consistency": self.consistency,
            "posterior": self.posteriors,
            "credibility": self.credibility,
            "therapists": self.therapists,
            "meta_analysis": self.meta_analysis,
        }
        tables = [table.assign(about=name) for name, table in parts.items() if len(table)]
        if not tables:
            return pd.DataFrame(columns=["about"])
        whole = pd.concat([table.astype(object) for table in tables], ignore_index=True)
        return whole[["about", *(name for name in whole.columns if name != "about")]]


NAMES = ("finding", "outcome", "quantity", "level", "trial")
POSTERIORS = (
    *NAMES,
    *("prior", "prior_words", "mean", "lower", "upper", "prob_positive", "prob_benefit"),
    *("threshold", "prob_threshold", "conflict"),
)
CREDIBILITY = (
    *NAMES,
    *("estimate", "se", "df", "se_from", "sceptical_limit", "intrinsically_credible"),
    "p_credible",
)
THERAPISTS = (
    *NAMES,
    *("design", "therapists", "therapists_known_by", "share", "design_effect", "estimate"),
    *("lower", "upper", "prob_positive", "tipping_share"),
)
META = (
    *("outcome", "quantity", "level", "part", "trial", "mean", "sd", "lower", "upper"),
    *("prob_positive", "prior_scale"),
)


def _findings(numbers: Sequence[int]) -> str:
    noun = "Finding" if len(numbers) == 1 else "Findings"
    return f"{noun} {', '.join(map(str, numbers))}"


def _designs(finding: Finding) -> tuple[Design, ...]:
    """How therapists can matter to a quantity."""
    if finding.quantity == "arm_contrast":
        return ("nested", "crossed")
    if finding.quantity == "moderator_slope" and finding.level != "between":
        return ("slopes",)
    return ()


def _beyond(curve: Normals | Curve, direction: int | None, points: float) -> float:
    """Chance of a benefit of more than so many points; NaN where nobody says what is one."""
    if direction is None:
        return math.nan
    return curve.above(points) if direction > 0 else 1 - curve.above(-points)


def _widened(
    estimate: Estimate, shared: Clustering, share: float, interval: float
) -> dict[str, Any]:
    """Interval and chance at a share, or averaged over the prior of the share."""
    if share == share:
        effect = shared.effect(share)
        half = quantile((1 + interval) / 2, estimate.df) * estimate.se * math.sqrt(effect)
        wide = replace(estimate, se=estimate.se * math.sqrt(effect))
        return {
            "design_effect": effect,
            "lower": estimate.shown(estimate.value - half),
            "upper": estimate.shown(estimate.value + half),
            "prob_positive": posterior(wide, None).above(0.0),
        }
    effects = np.array([shared.effect(each) for each in field_shares()])
    even = np.full(len(effects), 1 / len(effects))
    if math.isinf(estimate.df):
        mixed: Normals | Curve = Normals(
            even, np.full(len(effects), estimate.value), estimate.se * np.sqrt(effects)
        )
    else:
        mixed = _mixed(estimate, effects)
    low, high = tails(interval)
    return {
        "design_effect": float(effects.mean()),
        "lower": estimate.shown(mixed.quantile(low)),
        "upper": estimate.shown(mixed.quantile(high)),
        "prob_positive": mixed.above(0.0),
    }


def _mixed(estimate: Estimate, effects: Array) -> Curve:
    """Flat-prior posteriors of Student's t over several design effects, as one."""
    wide = [replace(estimate, se=float(estimate.se * math.sqrt(effect))) for effect in effects]
    points = around(estimate.value, wide[-1].se)
    density = sum(
        np.exp(student_log_density(points, each.df, each.value, each.se)) / each.se for each in wide
    )
    return Curve(points, np.asarray(density))


def field_shares() -> Array:
    """Shares of variance at even steps of the field's prior probability.

    A beta distribution with the mean of trials of psychotherapy, and a chance of
    `BEYOND_LARGEST` beyond the largest share that was seen there.
    """
    entry = evidence(SHARES)
    assert entry.value is not None
    assert entry.largest is not None
    mean, largest = entry.value, entry.largest

    low, high = 1.0, 1000.0  # how much the prior weighs, in studies; the more, the narrower
    for _ in range(60):
        size = (low + high) / 2
        beyond = 1 - betainc(mean * size, (1 - mean) * size, largest)
        low, high = (size, high) if beyond > BEYOND_LARGEST else (low, size)
    steps = (np.arange(FINE) + 0.5) / FINE
    return np.asarray(betaincinv(mean * size, (1 - mean) * size, steps))
