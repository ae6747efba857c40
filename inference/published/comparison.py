"""Published findings, linear-model refits and the posterior, side by side.

A published finding, and the careful words for how a posterior interval stands to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.inference.estimands.compared_at import mean_alliance
from alliance.inference.estimands.ratios import DIFFERENCES, RATIOS
from alliance.inference.published.maximum_likelihood import likelihood_refit
from alliance.inference.published.refits import refit
from alliance.inference.published.visit_refits import refit_visits
from alliance.inference.runs.fit import Fit, visits_of
from alliance.models.spec import over_time

NEITHER = "includes zero, which shows neither presence nor absence"

QUANTITIES_WITH_LEVELS = (
    *("moderator_slope", "arm_contrast", "interaction", "covariate_slope"),
    *DIFFERENCES.values(),
    *RATIOS,
)
QUANTITIES_WITHOUT_LEVELS = (
    "intercept",
    "baseline_slope",
    "therapist_sd",
    "therapist_slope_sd",
    "therapist_icc",
    "residual_sd",
)
QUANTITIES = QUANTITIES_WITH_LEVELS + QUANTITIES_WITHOUT_LEVELS
# Quantities whose sign says which way an outcome moves, of ratios that of the logarithm; others are
# levels or spreads, of which zero is no value that an interval could hold or leave out.
SIGNED_QUANTITIES = (*QUANTITIES_WITH_LEVELS, "baseline_slope")
ZERO_SAYS_NOTHING = {
    "intercept": "is a level of the scores, whose zero is where the scale has it",
    "therapist_sd": "cannot be negative",
    "therapist_slope_sd": "cannot be negative",
    "therapist_icc": "cannot be negative",
    "residual_sd": "cannot be negative",
}
SAME_PATIENTS = (
    "where both are of the same patients they share their chance, so that overlap is no sign of "
    "agreement, and the difference is one of methods"
)

type Better = Literal["higher", "lower"]
# A whole number of TOML is a number too; text and truth values are not.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Finding(BaseModel):
    """One published finding: a claim or a number, under the names of the tidy table.

    Attributes
    ----------
    outcome, quantity, level : str
        As in the tidy table; the level is empty where the quantity has none.
    claim : {"present", "absent", "number"}
        What the paper states: an effect, none, or an estimate.
    estimate, lower, upper : float or None
        The printed estimate and the limits of its 95% interval.
    p : float or None
        The printed p value.
    oriented : {"difference", "benefit"}
        Whether the numbers are later arm minus earlier arm (a slope: higher minus lower) on the
        outcome's own scale, or positive where the later arm is better.
    rope : tuple of float or None
        Region of practical equivalence, as the numbers are oriented; for the claim "absent", and
        for "present" of a quantity of which zero says nothing (`ZERO_SAYS_NOTHING`).
    known_by : {"abstract", "secondary", "derived", "assumed"}
        Read in the abstract, quoted by another publication, computed from quoted numbers, chosen.
    source : str
        The publication.
    note : str or None
        What a reader must know beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str
    quantity: str
    level: str = ""
    claim: Literal["present", "absent", "number"]
    estimate: Number | None = None
    lower: Number | None = None
    upper: Number | None = None
    p: Annotated[Number, Field(ge=0, le=1)] | None = None
    oriented: Literal["difference", "benefit"] = "difference"
    rope: tuple[Number, Number] | None = None
    known_by: Literal["abstract", "secondary", "derived", "assumed"]
    source: str = Field(min_length=1)
    note: str | None = None

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        if self.quantity in RATIOS and any(
            number is not None and number <= 0
            for number in (self.estimate, self.lower, self.upper, *(self.rope or ()))
        ):
            raise ValueError(f"{self.quantity} is a ratio, which is above zero")
        if (self.lower is None) != (self.upper is None):
            raise ValueError("lower and upper go together")
        if self.lower is not None and self.estimate is None:
            raise ValueError("an interval needs its estimate")
        if self.claim == "number" and self.estimate is None:
            raise ValueError('the claim "number" needs an estimate')
        if (
            self.estimate is not None
            and self.lower is not None
            and self.upper is not None
            and not self.lower <= self.estimate <= self.upper
        ):
            raise ValueError("the estimate must lie between lower and upper")
        if self.rope is not None and not self.rope[0] < self.rope[1]:
            raise ValueError("rope must be [low, high] with low below high")
        if self.rope is not None and not self.takes_rope:
            raise ValueError(
                'a rope serves only the claim "absent", and "present" of standard deviations, '
                "shares of variance and levels"
            )
        if self.oriented == "benefit" and self.quantity not in SIGNED_QUANTITIES:
            raise ValueError(f"{self.quantity} cannot be oriented towards benefit")
        return self

    @property
    def takes_rope(self) -> bool:
        """Whether a region of practical equivalence has a part in the verdict."""
        of_level = self.claim == "present" and self.quantity in ZERO_SAYS_NOTHING
        return self.claim == "absent" or of_level

    def as_difference(self, better: Better) -> Finding:
        """Return the finding with its numbers as later minus earlier on the outcome's scale.

        Parameters
        ----------
        better : {"higher", "lower"}
            Which scores of the outcome are better. Where lower ones are, the signs of numbers
            oriented towards benefit are turned and the limits change places.
        """
        if self.oriented == "difference":
            return self
        changes: dict[str, Any] = {"oriented": "difference"}
        if better == "lower":
            turned = _inverted if self.quantity in RATIOS else _turned
            changes["estimate"] = turned(self.estimate)
            changes["lower"], changes["upper"] = turned(self.upper), turned(self.lower)
            if self.rope is not None:
                changes["rope"] = (turned(self.rope[1]), turned(self.rope[0]))
        return self.model_copy(update=changes)


def _turned(number: float | None) -> float | None:
    return None if number is None else -number


def _inverted(number: float | None) -> float | None:
    return None if number is None else 1 / number


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a posterior interval stands to a published finding.

    Attributes
    ----------
    word : str
        "supported", "supported (practically equivalent)", "not supported", "contradicted",
        "agrees", "differs" or "undetermined".
    explanation : str
        One sentence with the interval's numbers and probability.
    """

    word: str
    explanation: str


def verdict(
    finding: Finding,
    *,
    lower: float,
    upper: float,
    estimate: float,
    better: Better,
    probability: float = 0.95,
) -> Verdict:
    """Set a published finding against a posterior interval.

    An interval that includes zero shows neither presence nor absence. Absence is supported only
    where the analyst gave a region of practical equivalence and the whole interval lies in it. Of
    what cannot be negative, or has no meaningful zero, presence too is judged by such a region
    alone, and without one a claim stays undetermined.

    Parameters
    ----------
    finding : Finding
        As read; numbers oriented towards benefit are turned here.
    lower, upper, estimate : float
        Posterior interval and mean, as later minus earlier on the outcome's own scale.
    better : {"higher", "lower"}
        Which scores of the outcome are better.
    probability : float
        Of the posterior interval.

    Returns
    -------
    Verdict
    """
    if not lower <= upper:
        raise ValueError(f"{lower} to {upper} is not an interval")
    finding = finding.as_difference(better)
    limits = f"{lower:.3g} to {upper:.3g} (mean {estimate:.3g})"
    interval = f"The {100 * probability:g}% posterior interval {limits}"
    if finding.claim == "number":
        return _verdict_on_number(finding, lower, upper, interval)
    reason = ZERO_SAYS_NOTHING.get(finding.quantity)
    if reason is not None and finding.rope is None:
        return Verdict(
            "undetermined",
            f"{interval} does not answer the claim: {finding.quantity.replace('_', ' ')} {reason}, "
            "so that zero tells nothing; a region of practical equivalence (rope) beside the claim "
            "would settle it.",
        )
    if reason is not None and finding.claim == "present":
        return _verdict_on_size(finding, lower, upper, interval)
    if finding.claim == "present":
        return _verdict_on_presence(finding, lower, upper, interval)
    return _verdict_on_absence(finding, lower, upper, interval)


def _verdict_on_presence(finding: Finding, lower: float, upper: float, interval: str) -> Verdict:
    null, name, neither = _no_effect(finding)
    if lower <= null <= upper:
        return Verdict("undetermined", f"{interval} {neither}.")
    if not finding.estimate or finding.estimate == null:
        return Verdict(
            "supported",
            f"{interval} lies {'above' if lower > null else 'below'} {name}; the sign of the "
            "published effect is not known here, so that its presence alone is compared, and "
            "either sign would have counted.",
        )
    published = f"the published estimate {finding.estimate:.3g}"
    if (finding.estimate > null) == (lower > null):
        return Verdict(
            "supported",
            f"{interval} excludes {name} and lies on the same side of it as {published}.",
        )
    return Verdict("contradicted", f"{interval} lies on the other side of {name} from {published}.")


def _no_effect(finding: Finding) -> tuple[float, str, str]:
    """What a quantity is where there is no effect: its value, its name, and what an interval
    that includes it says.
    """
    if finding.quantity in RATIOS:
        return 1.0, "one", NEITHER.replace("zero", "one, a ratio of no effect")
    return 0.0, "zero", NEITHER


def _verdict_on_size(finding: Finding, lower: float, upper: float, interval: str) -> Verdict:
    """Presence of what cannot be negative: beyond the region of practical equivalence."""
    if finding.rope is None:
        raise ValueError("a presence is judged by a region here")
    low, high = finding.rope
    region = f"the region of practical equivalence {low:.3g} to {high:.3g}"
    if high < lower or upper < low:
        return Verdict("supported", f"{interval} lies wholly outside {region}.")
    if low <= lower and upper <= high:
        return Verdict(
            "not supported", f"{interval} lies wholly in {region}, where a presence was published."
        )
    return Verdict(
        "undetermined",
        f"{interval} lies partly in and partly outside {region}, which settles neither.",
    )


def _verdict_on_absence(finding: Finding, lower: float, upper: float, interval: str) -> Verdict:
    if finding.rope is None:
        null, name, neither = _no_effect(finding)
        if lower <= null <= upper:
            return Verdict("undetermined", f"{interval} {neither}.")
        return Verdict(
            "not supported", f"{interval} excludes {name}, where an absence was published."
        )
    low, high = finding.rope
    region = f"the region of practical equivalence {low:.3g} to {high:.3g}"
    if low <= lower and upper <= high:
        return Verdict("supported (practically equivalent)", f"{interval} lies wholly in {region}.")
    if upper < low or high < lower:
        return Verdict("not supported", f"{interval} lies wholly outside {region}.")
    return Verdict(
        "undetermined",
        f"{interval} lies partly in and partly outside {region}, which settles neither.",
    )


def _verdict_on_number(finding: Finding, lower: float, upper: float, interval: str) -> Verdict:
    published = finding.estimate
    if published is None:
        raise ValueError('a finding with the claim "number" has an estimate')
    if lower <= published <= upper:
        return Verdict("agrees", f"{interval} holds the published estimate {published:.3g}.")
    outside = f"{interval} does not hold the published estimate {published:.3g}"
    if finding.lower is None or finding.upper is None:
        return Verdict("undetermined", f"{outside}, which has no published interval beside it.")
    printed = f"the published interval {finding.lower:.3g} to {finding.upper:.3g}"
    if finding.upper < lower or upper < finding.lower:
        return Verdict("differs", f"{outside}, and does not overlap {printed}; {SAME_PATIENTS}.")
    return Verdict("undetermined", f"{outside}, but overlaps {printed}; {SAME_PATIENTS}.")


KEY = ["outcome", "quantity", "level"]
MODELS = ("ols_main", "ols", "ols_robust", "reml")
OF_EVENTS = ("ml_main", "ml")  # of events and counts, for which linear models do not stand
# Degrees of freedom; with fewer a robust interval holds too little (Tipton 2015,
# doi:10.1037/met0000011).
FEW = 4
VERDICT_COLUMNS = (
    "claim",
    "published_estimate",
    "published_lower",
    "published_upper",
    "published_p",
    "verdict",
    "explanation",
    "known_by",
    "source",
    "note",
)
POSTERIOR = {
    "mean": "posterior_mean",
    "sd": "posterior_sd",
    "lower": "posterior_lower",
    "upper": "posterior_upper",
    "prob_positive": "prob_positive",
}


def compare(
    fit: Fit,
    findings: Sequence[Finding] = (),
    *,
    interval: float = 0.95,
    robust: bool = False,
    at: float | None = None,
    extrapolate: bool = False,
) -> pd.DataFrame:
    """Every reported quantity from each source, with a verdict on what was published.

    Parameters
    ----------
    fit : Fit
    findings : sequence of Finding
        Published findings; those of outcomes that were not fitted are left out.
    interval : float
        Probability of all intervals but the published ones.
    robust : bool
        Whether OLS is given with cluster-robust standard errors by therapist, too.
    at, extrapolate
        Where arms are compared, as of `inference.runs.fit.Fit.summary`. Refits, which have the
        patients with a rating alone, compare them at the same value: by default the mean over
        all whom the posterior analyses. Published numbers stand as printed.

    Returns
    -------
    pandas.DataFrame
        One row for each quantity and each finding about it, in the order of the tidy table.
        ``outcome, quantity, level``; ``claim, published_estimate, published_lower,
        published_upper, published_p`` (as later arm minus earlier on the outcome's scale);
        for each model of `inference.published.refits.refit` ``MODEL_estimate, _se, _df, _lower,
        _upper, _p_value`` (limits and p from Student's t with ``df`` degrees of freedom);
        ``posterior_mean, posterior_sd, posterior_lower, posterior_upper, prob_positive``;
        ``verdict, explanation, known_by, source, note, refit_note``; and ``at``, the alliance to
        which intercept, contrasts and the SD between therapists of the posterior belong, missing
        for averages over the patients at their own alliance. Outcomes of events and counts have
        the models of `inference.published.maximum_likelihood` (``ml``, ``ml_main``) in the place
        of linear ones. Under a curved link the posterior
        speaks of an average therapist, and the refits are linear models of the scores, whose
        contrasts are averages over therapists as well.
    """
    summary = fit.summary(interval=interval, at=at, extrapolate=extrapolate, over_visits=False)
    table = summary[[*KEY, *POSTERIOR, "at"]].rename(columns=POSTERIOR)
    places = {name: mean_alliance(fit[name]) if at is None else at for name in fit.outcomes}
    refits = pd.concat(
        [
            _refit(fit, outcome, place, interval=interval, robust=robust)
            for outcome, place in places.items()
        ],
        ignore_index=True,
    )
    if visited := over_time(fit.specs):
        # The REML of one visit by itself gives way to that of all, which the posterior has
        at_visits = [name for names in visited.values() for name in names]
        alone = refits["outcome"].isin(at_visits) & (refits["model"] == "reml")
        whole = [refit_visits(visits_of(fit, name), interval=interval, at=at) for name in visited]
        refits = pd.concat([refits[~alone], *whole], ignore_index=True)
    models = list(MODELS if robust else [name for name in MODELS if name != "ols_robust"])
    models += OF_EVENTS if refits["model"].isin(OF_EVENTS).any() else ()
    for model in models:
        part = refits[refits["model"] == model].drop(columns=["model", "note"])
        renamed = {name: f"{model}_{name}" for name in part.columns if name not in KEY}
        table = table.merge(part.rename(columns=renamed), on=KEY, how="left")
    notes = {outcome: _notes(fit, outcome, refits) for outcome in fit.outcomes}
    table["refit_note"] = [notes.get(outcome, "") for outcome in table["outcome"]]
    table = table.merge(_verdicts(fit, findings, summary, interval), on=KEY, how="left")
    front = list(VERDICT_COLUMNS[:5])
    refitted = [name for name in table.columns if name.startswith((*MODELS, "ml_"))]
    back = list(VERDICT_COLUMNS[5:])
    return table[[*KEY, *front, *refitted, *POSTERIOR.values(), *back, "refit_note", "at"]]


def _refit(fit: Fit, outcome: str, place: float, *, interval: float, robust: bool) -> pd.DataFrame:
    """An outcome's models without priors: linear ones, or those of events and counts."""
    if fit.specs[outcome].family in OWN_FAMILIES:
        return likelihood_refit(fit[outcome], fit.specs[outcome], interval=interval, at=place)
    return refit(fit.linear_design(outcome), interval=interval, robust=robust, at=place)


def refit_words(table: pd.DataFrame) -> list[str]:
    """What the intervals of a comparison's refits are, in sentences.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `compare`.
    """
    lines = []
    if table["reml_estimate"].notna().any():
        lines.append(
            "REML: intervals from Student's t with Satterthwaite's degrees of freedom; in a "
            "singular fit what is estimated as zero counts as known."
        )
    if "ml_estimate" in table:
        lines.append(
            "ML: logistic regression of events, negative binomial regression of counts, by maximum "
            "likelihood and without therapists' effects; standard errors by the delta method. "
            "Software that is kept here has no maximum likelihood with therapists' effects: where "
            "therapists differ, conditional odds ratios of ML are nearer to one than the "
            "posterior's, which are of patients with the same therapist."
        )
    if "ols_robust_df" in table and table["ols_robust_df"].notna().any():
        line = (
            "OLS, robust: standard errors that allow for therapists (CR2), t with Bell and "
            "McCaffrey's degrees of freedom."
        )
        if (table["ols_robust_df"] < FEW).any():
            line += f" Some have fewer than {FEW}: such an interval is not to be trusted."
        lines.append(line)
    return lines


def _notes(fit: Fit, outcome: str, refits: pd.DataFrame) -> str:
    """What a reader must know of an outcome's refits."""
    found = list(refits.loc[refits["outcome"] == outcome, "note"].unique())
    if fit.specs[outcome].therapist_by_arm and fit.specs[outcome].family not in OWN_FAMILIES:
        found.append("REML is without therapists' own arm effects, which the posterior has")
    return "; ".join(note for note in found if note)


def _verdicts(
    fit: Fit, findings: Sequence[Finding], summary: pd.DataFrame, interval: float
) -> pd.DataFrame:
    posterior = {
        (row["outcome"], row["quantity"], row["level"]): row for row in summary.to_dict("records")
    }
    rows = []
    for printed in findings:
        key = (printed.outcome, printed.quantity, printed.level)
        if key not in posterior:
            continue
        better = fit.study.outcomes[printed.outcome].better
        finding, row = printed.as_difference(better), posterior[key]
        judged = verdict(
            finding,
            lower=row["lower"],
            upper=row["upper"],
            estimate=row["mean"],
            better=better,
            probability=interval,
        )
        rows.append(
            (
                *key,
                finding.claim,
                finding.estimate,
                finding.lower,
                finding.upper,
                finding.p,
                judged.word,
                judged.explanation,
                finding.known_by,
                finding.source,
                finding.note or "",
            )
        )
    frame = pd.DataFrame(rows, columns=[*KEY, *VERDICT_COLUMNS])
    numbers = ["published_estimate", "published_lower", "published_upper", "published_p"]
    return frame.astype(dict.fromkeys(numbers, float))
