"""A published finding, and the careful words for how a posterior interval stands to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from alliance.inference.estimands.ratio_names import DIFFERENCES, RATIOS

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
    "clinic_sd",
    "clinic_slope_sd",
    "clinic_icc",
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
    "clinic_sd": "cannot be negative",
    "clinic_slope_sd": "cannot be negative",
    "clinic_icc": "cannot be negative",
    "residual_sd": "cannot be negative",
}
SAME_PATIENTS = (
    "where both are of the same patients they share their chance, so that overlap is no sign of "
    "agreement, and the difference is one of methods"
)

type Better = Literal["higher", "lower"]
# A whole number of TOML is a number too; text and truth values are not.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]


class PrintedNumber(float):
    """A number of a file that remembers with how many decimals it stands there: 7.0 with one."""

    decimals: int
    __slots__ = ("decimals",)

    def __new__(cls, text: str) -> PrintedNumber:
        """The number that a text is."""
        made = super().__new__(cls, text)
        made.decimals = _decimals(text)
        return made


def _decimals(text: str) -> int:
    mantissa, _, exponent = text.lower().replace("_", "").partition("e")
    return len(mantissa.partition(".")[2]) - int(exponent or 0)


def _rounded_to(number: float) -> int:
    """Decimals that a number is printed with; of one that no file holds, those that it needs."""
    if isinstance(number, PrintedNumber):
        return number.decimals
    return _decimals(repr(number)) if isinstance(number, float) else 0


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
    interval : float
        Probability that the printed interval is said to have.
    se, t, df : float or None
        The printed standard error, test statistic and degrees of freedom.
    p : float or None
        The printed p value.
    p_below : float or None
        Printed is only that p is below this.
    n : int, dict of str to int, or None
        Patients of the analysis, in all or by arm.
    sd : float or None
        The printed SD of the outcome between patients, that the standard error belongs to.
    moderator_sd : float or None
        The printed SD of the alliance between patients.
    adjusted_for : tuple of str
        Covariates of the printed model.
    therapists : int or None
        Therapists of the trial.
    scale : {"difference", "ratio"}
        Whether the numbers are differences or slopes, or ratios (of odds, rates, means), whose
        intervals are symmetric on the log scale.
    unit : str or None
        What the numbers are counted in.
    trial : str or None
        The trial, where findings of several trials stand in one file.
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
    interval: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    se: Annotated[Number, Field(gt=0)] | None = None
    t: Number | None = None
    df: Annotated[Number, Field(gt=0)] | None = None
    p: Annotated[Number, Field(ge=0, le=1)] | None = None
    p_below: Annotated[Number, Field(gt=0, le=1)] | None = None
    n: Count | dict[str, Count] | None = None
    sd: Annotated[Number, Field(gt=0)] | None = None
    moderator_sd: Annotated[Number, Field(gt=0)] | None = None
    adjusted_for: tuple[str, ...] = ()
    therapists: Count | None = None
    scale: Literal["difference", "ratio"] = "difference"
    unit: str | None = None
    trial: str | None = None
    oriented: Literal["difference", "benefit"] = "difference"
    rope: tuple[Number, Number] | None = None
    known_by: Literal["abstract", "secondary", "derived", "assumed"]
    source: str = Field(min_length=1)
    note: str | None = None

    # Decimals of each number as it is printed
    _decimals: dict[str, int] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _as_printed(cls, given: Any, validate: ModelWrapValidatorHandler[Finding]) -> Finding:
        made = validate(given)
        if isinstance(given, Mapping):
            numbers = {key: value for key, value in given.items() if isinstance(value, float | int)}
            made._decimals = {key: _rounded_to(value) for key, value in numbers.items()}
        return made

    def half_unit(self, name: str) -> float:
        """Half a unit of the last printed digit of a number: so far it may be rounded.

        Parameters
        ----------
        name : str
            Of the attribute: estimate, lower, upper, se, t, p, sd.
        """
        return 0.5 * 10.0 ** -self._decimals.get(name, 0)

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
        if self.estimate is not None and self.lower is not None and self.upper is not None:
            if self.lower > self.upper:
                raise ValueError(
                    f"the interval is upside down, lower {self.lower:g} above upper {self.upper:g}"
                )
            if not self.lower <= self.estimate <= self.upper:
                raise ValueError("the estimate must lie between lower and upper")
        beside = {"se": self.se, "t": self.t, "p_below": self.p_below, "sd": self.sd}
        named = [name for name, value in beside.items() if value is not None]
        if named and self.estimate is None:
            raise ValueError(f"{' and '.join(named)} beside no estimate: give what is printed")
        if self.p is not None and self.p_below is not None:
            raise ValueError("p and p_below: keep the one that is printed")
        if self.scale == "ratio" and any(
            value is not None and value <= 0 for value in (self.estimate, self.lower, self.upper)
        ):
            raise ValueError("a ratio and the limits of its interval are above zero")
        if self.is_ratio and self.quantity not in RATIOS and self.oriented == "benefit":
            raise ValueError("a ratio of this quantity cannot be oriented towards benefit")
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
    def is_ratio(self) -> bool:
        """Whether no effect is 1, and the interval symmetric on the log scale."""
        return self.scale == "ratio" or self.quantity in RATIOS

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
            changes["estimate"], changes["t"] = turned(self.estimate), _turned(self.t)
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
