"""The tables of a study description: columns, moderator, outcomes and model settings.

Shifts of unseen outcomes (delta) from outside the study file, read and put into its outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.rules import EVENT_RANGE, Fault, moderator_faults

SMALLEST, LARGEST = 1e-100, 1e100  # width of a range


def _trimmed(text: str) -> str:
    if not text.strip() or text != text.strip():
        raise PydanticCustomError("untrimmed", "blank, or blanks at an end")
    return text


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise PydanticCustomError("range_order", "ends out of order")
    if not SMALLEST <= ends[1] - ends[0] <= LARGEST:  # their squares are computed with
        raise PydanticCustomError("range_size", "too narrow or too wide")
    return ends


def _missing_code(code: Any) -> str:
    if isinstance(code, bool) or not isinstance(code, int | float | str):
        raise PydanticCustomError("missing_code", "neither a number nor text")
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    spelled = str(code).strip()
    if spelled in ("", "nan", "inf", "-inf"):
        raise PydanticCustomError("missing_code", "neither a number nor text")
    return spelled


def raise_between(faults: list[Fault]) -> None:
    """Report faults between keys the way pydantic wants it; `read_study` words them itself."""
    if faults:
        text = "\n".join(str(fault) for fault in faults)
        raise PydanticCustomError("between_keys", "{text}", {"text": text})


def _event_code(code: Any) -> str:
    # A spreadsheet's and a program's truth values are spelled as their files' readers spell them
    return str(code) if isinstance(code, bool) else _missing_code(code)


type CovariateKind = Literal["categorical", "continuous"]
Text = Annotated[str, Field(strict=True), AfterValidator(_trimmed)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
MissingCode = Annotated[Any, AfterValidator(_missing_code)]  # kept as text
EventCode = Annotated[Any, AfterValidator(_event_code)]  # the same
Range = Annotated[tuple[Number, Number], AfterValidator(_ordered)]


class Table(BaseModel):
    """A table of the file: it cannot be changed, and knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(Table):
    """Columns that say who was treated by whom, and how.

    Attributes
    ----------
    patient : str or None
        Column name as in the header of the table; None where rows are patients.
    therapist : str or None
        None where nobody recorded who treated whom.
    clinic : str or None
        Where patients were treated: a level above the therapists; None without one.
    arm : str
    trial : str or None
        Of tables of several trials: which of them a row is of.
    """

    patient: Text | None = Field(
        default=None, description="the column that identifies patients", examples=["patient"]
    )
    therapist: Text | None = Field(
        default=None,
        description="the column that identifies therapists",
        examples=["therapist"],
    )
    clinic: Text | None = Field(
        default=None, description="the column that identifies clinics", examples=["clinic"]
    )
    arm: Text = Field(description="the column that holds the codes of the arms", examples=["arm"])
    trial: Text | None = Field(
        default=None, description="the column that tells several trials apart", examples=["trial"]
    )


class Moderator(Table):
    """The alliance, or any continuous measure on each patient.

    Attributes
    ----------
    name, label : str
        Short name, and the words for tables and figures.
    column : str or None
        Column of the total; None where it is scored from `items`.
    items : tuple of str
        Columns of the questionnaire's items, any number of them.
    reverse : tuple of str
        Those of the items that are scored the other way round.
    item_range : tuple of float or None
        Lowest and highest answer to an item.
    max_missing : int
        Most items a patient may leave out and still be scored, by prorating.
    range : tuple of float
        Lowest and highest possible value of the measure.
    reliability : float or None
        Share of the observed variance that is true variance, above 0 and up to 1.
    unit : str or None
        What it is counted in; points where none is named.
    """

    name: Text = Field(
        default="alliance", description="the measure's short name", examples=["alliance"]
    )
    label: Text = Field(
        description="the measure's name in tables and figures", examples=["Working alliance"]
    )
    column: Text | None = Field(
        default=None, description="the column of the total", examples=["wai_total"]
    )
    items: tuple[Text, ...] = Field(
        default=(), description="the columns of the items", examples=[["wai_1", "wai_2"]]
    )
    reverse: tuple[Text, ...] = Field(
        default=(), description="the items scored the other way round", examples=[["wai_2"]]
    )
    item_range: Range | None = Field(
        default=None, description="the lowest and highest answer to an item", examples=[[1, 7]]
    )
    max_missing: Annotated[int, Field(strict=True)] = Field(
        default=0, description="the most items a patient may leave out", examples=[3]
    )
    range: Range = Field(description="the lowest and highest possible value", examples=[[16, 112]])
    reliability: Number | None = Field(
        default=None, gt=0, le=1, description="the measure's reliability", examples=[0.77]
    )
    unit: Text | None = Field(
        default=None, description="what the measure is counted in", examples=["mm"]
    )

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        raise_between(moderator_faults(self.model_dump()))
        return self


class OutcomeYardstick(Table):
    """What the analyst counts as much, and as nothing, in points of the outcome; no defaults.

    Attributes
    ----------
    threshold : float or None
        An arm is better by at least this much, counted in the direction of improvement.
    rope : tuple of float or None
        Region of practical equivalence of a contrast, first arm minus second.
    reach : float or None
        A score; this or a better one is reached.
    source : str
        Where these come from.
    """

    threshold: Number | None = Field(
        default=None, description="a difference that counts, in points", examples=[2.5]
    )
    rope: Range | None = Field(
        default=None, description="differences that count as nothing", examples=[[-1, 1]]
    )
    reach: Number | None = Field(
        default=None, description="a score that is good enough", examples=[8]
    )
    source: Text = Field(
        description="where these numbers come from", examples=["Author, Journal 2013;1:1-9"]
    )


class Outcome(Table):
    """One outcome of the trial.

    Attributes
    ----------
    label : str
        The words for tables and figures.
    baseline : str or None
        Column of the score before treatment; None for a change rating, which has none.
    followup : str
        Column of the score at follow-up.
    range : tuple of float
        Lowest and highest possible score; of a binary outcome 0 and 1, which need not be said.
    better : {"higher", "lower"}
        Which end of the range is the good one; of a binary outcome ``higher`` where the event is
        good.
    family : {"gaussian", "student_t", "ordinal", "beta_binomial", "binary", "count"}
        The outcome's own distribution.
    event : str or None
        Of a binary outcome: what the column says where the event happened. None where it says 0
        and 1, no and yes, or the like.
    exposure : str or None
        Of a count: the column of the time, or whatever else, that events were counted over.
    delta : dict of str to float
        By arm, in the outcome's own units: how far the mean of patients whose follow-up was not
        seen lies from what the model expects of them. 0 for arms that are not named.
    yardstick : OutcomeYardstick or None
        What `alliance effects` and `alliance decide` hold effects against.
    visit_of, visit : str or None
        Of an outcome over time: its name, and which visit this is; see `data_prep.study.visits`.
    visit_time : float or None
        When the visit is.
    unit : str or None
        What scores are counted in; points where none is named. Events and counts have none.
    """

    label: Text = Field(
        description="the outcome's name in tables and figures", examples=["Pain intensity"]
    )
    baseline: Text | None = Field(
        default=None, description="the column of the score before treatment", examples=["pain_0"]
    )
    followup: Text = Field(description="the column of the score at follow-up", examples=["pain_8w"])
    range: Range = Field(description="the lowest and highest possible score", examples=[[0, 10]])
    better: Literal["higher", "lower"] = Field(
        description="the direction of improvement", examples=["lower"]
    )
    family: Literal["gaussian", "student_t", "ordinal", "beta_binomial", "binary", "count"] = Field(
        default="gaussian", description="the outcome's distribution", examples=["gaussian"]
    )
    event: EventCode | None = Field(
        default=None, description="what stands for the event of a binary outcome", examples=["yes"]
    )
    exposure: Text | None = Field(
        default=None,
        description="the column of the time that events were counted over",
        examples=["months"],
    )
    delta: dict[str, Number] = Field(
        default={},
        description="a shift, by arm, of outcomes that were not seen",
        examples=[-2],
    )
    yardstick: OutcomeYardstick | None = Field(
        default=None, description="a threshold, a region or a score, with its source"
    )
    visit_of: Text | None = Field(
        default=None, description="the outcome that this is one visit of", examples=["pain"]
    )
    visit: Text | None = Field(default=None, description="which visit this is", examples=["w8"])
    visit_time: Number | None = Field(default=None, description="when the visit is", examples=[8])
    unit: Text | None = Field(
        default=None, description="what scores are counted in", examples=["mm"]
    )

    @model_validator(mode="before")
    @classmethod
    def _events_have_a_range(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("family") == "binary":
            return {"range": list(EVENT_RANGE)} | content
        return content


class LongTable(Table):
    """A table with one row for each patient and visit.

    Attributes
    ----------
    column : str
        Column of the visits.
    order : tuple of str
        Visits in the order of time, as they stand in the column.
    times : tuple of float
        When they are; empty if that is not said.
    """

    column: Text = Field(description="the column of the visits", examples=["visit"])
    order: tuple[Text, ...] = Field(
        description="the visits in the order of time", examples=[["w8", "m6"]]
    )
    times: tuple[Number, ...] = Field(
        default=(), description="when the visits are", examples=[[8, 26]]
    )


class ModelSettings(Table):
    """What the model holds beside arms, baseline and covariates.

    A field here is all that declares a setting: the key in the file, the option of every command
    that takes settings, and its help are made from the field.

    Attributes
    ----------
    therapist : {"none", "intercept", "intercept+slope"}
        Effects that vary between therapists.
    clinic : {"none", "intercept", "intercept+slope"}
        Effects that vary between clinics, where the study names a column of theirs.
    interaction : bool
        Whether the moderator's slope differs between arms.
    likelihood : {"published", "native"}
        Gaussian for every outcome, as linear models are, or each outcome's own family.
    alliance : {"total", "within_between"}
        One slope of the moderator, or one within therapists and one between their true means.
    between_interaction : bool
        Whether the slope between therapists differs between arms too.
    missing_alliance : {"complete_case", "impute"}
        Patients without the moderator are left out, or it is imputed inside the model.
    reliability : bool
        Whether the moderator's true value is latent, with the reliability of `Moderator`.
    ceiling : bool
        Whether the top of the moderator's range is a ceiling: true values may lie above it.
    therapist_by_arm : bool
        Whether arm effects vary between therapists.
    without_therapist : tuple of str
        Codes of the arms whose patients have no therapist: a waiting list, usual care.
    residual_by_arm : bool
        Whether each arm has a residual SD of its own. An arm without therapists has in any case.
    joint : bool
        Whether all outcomes are modelled together.
    common_patients : bool
        Whether every outcome is analysed on the patients who have all outcomes, and so on the same.
    moderator_arms : tuple of str
        Codes of the arms whose patients can have the moderator, where some cannot: a waiting list
        has no alliance. Empty where all can.
    visit_correlation : str
        Structure of the correlations of a patient's residuals over visits: see
        `models.visits.covariance`.
    visit_sd : {"by_visit", "common"}
        Whether each visit has its own residual SD.
    baseline_by_visit, moderator_by_visit, interaction_by_visit, covariates_by_visit : bool
        Whether these coefficients differ between visits.
    therapist_by_visit : bool
        Whether a therapist has a deviation at each visit beside the effects at all visits.
    several_trials : {"no", "varying", "fixed"}
        Whether the data are of several trials, and whether their arm contrasts and slopes vary
        between them, or are the same in all.
    residual_by_trial : bool
        Whether each of several trials has a residual SD of its own.
    """

    therapist: Literal["none", "intercept", "intercept+slope"] = Field(
        default="intercept+slope",
        description="what varies between therapists",
        examples=["intercept+slope"],
    )
    clinic: Literal["none", "intercept", "intercept+slope"] = Field(
        default="intercept",
        description="what varies between clinics, where they are recorded",
        examples=["intercept"],
    )
    interaction: Annotated[bool, Field(strict=True)] = Field(
        default=True,
        description="whether alliance slopes differ between arms",
        examples=[True],
    )
    likelihood: Literal["published", "native"] = Field(
        default="published",
        description="Gaussian for all, as linear models are (published), or the study's families "
        "(native)",
        examples=["published"],
    )
    alliance: Literal["total", "within_between"] = Field(
        default="total",
        description="one slope, or one within and one between therapists",
        examples=["total"],
    )
    between_interaction: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether the slope between therapists differs between arms too",
        examples=[False],
    )
    missing_alliance: Literal["complete_case", "impute"] = Field(
        default="complete_case",
        description="patients without a rating: left out, or imputed inside the model",
        examples=["complete_case"],
    )
    reliability: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether ratings are the true alliance plus noise, by the study's reliability",
        examples=[False],
    )
    ceiling: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether ratings at the top of the range may stand for more",
        examples=[False],
    )
    therapist_by_arm: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="whether arm effects vary between therapists", examples=[False]
    )
    without_therapist: tuple[Text, ...] = Field(
        default=(),
        description="codes of the arms whose patients have no therapist",
        examples=[["TAU"]],
    )
    residual_by_arm: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether each arm has a residual SD of its own",
        examples=[False],
    )
    joint: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether all outcomes are modelled together (Gaussian)",
        examples=[False],
    )
    common_patients: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether every outcome is analysed on the patients who have all outcomes",
        examples=[False],
    )
    moderator_arms: tuple[Text, ...] = Field(
        default=(),
        description="the arms whose patients have an alliance, where a waiting list has none",
        examples=[["CBT"]],
    )
    visit_correlation: Literal[
        "unstructured", "compound_symmetry", "ar1", "toeplitz", "diagonal"
    ] = Field(
        default="unstructured",
        description="how a patient's residuals go together over visits",
        examples=["unstructured"],
    )
    visit_sd: Literal["by_visit", "common"] = Field(
        default="by_visit",
        description="a residual SD for each visit, or one for all",
        examples=["by_visit"],
    )
    baseline_by_visit: Annotated[bool, Field(strict=True)] = Field(
        default=True,
        description="whether the baseline's slope differs between visits",
        examples=[True],
    )
    moderator_by_visit: Annotated[bool, Field(strict=True)] = Field(
        default=True,
        description="whether the alliance's slope differs between visits",
        examples=[True],
    )
    interaction_by_visit: Annotated[bool, Field(strict=True)] = Field(
        default=True,
        description="whether the interaction differs between visits",
        examples=[True],
    )
    covariates_by_visit: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether covariates' slopes differ between visits",
        examples=[False],
    )
    therapist_by_visit: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="whether therapists deviate at each visit by itself",
        examples=[False],
    )
    several_trials: Literal["no", "varying", "fixed"] = Field(
        default="no",
        description="whether the data are of several trials, with effects that vary or are fixed",
        examples=["varying"],
    )
    residual_by_trial: Annotated[bool, Field(strict=True)] = Field(
        default=True,
        description="whether each of several trials has a residual SD of its own",
        examples=[True],
    )


def shifted_outcomes(
    outcomes: Mapping[str, Outcome], shifts: Mapping[str, Mapping[str, float]]
) -> dict[str, Outcome]:
    """Outcomes with some arms' shifts replaced; those of other arms stay as they are.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
    shifts : mapping of str to mapping of str to float
        By outcome and arm. The arms are checked by `data_prep.study.rules`.

    Raises
    ------
    InputError
        If there is no such outcome, or a shift is not a finite number.
    """
    changed = dict(outcomes)
    for name, by_arm in shifts.items():
        if name not in outcomes:
            raise InputError(
                f"A shift names the outcome {name!r}, which is not analysed.",
                nearest(name, outcomes),
            )
        for arm, shift in by_arm.items():
            number = isinstance(shift, Real) and not isinstance(shift, bool)
            if not number or not math.isfinite(shift):
                raise InputError(
                    f"The shift of {name!r} in the arm {arm!r} is {shift!r}, not a finite number.",
                    "Give a number in the outcome's own units.",
                )
        delta = outcomes[name].delta | {arm: float(shift) for arm, shift in by_arm.items()}
        changed[name] = outcomes[name].model_copy(update={"delta": delta})
    return changed
