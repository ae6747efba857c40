"""What a simulated trial is made of: every input with its tag and source.

The true values of a simulated trial: given or from the inputs, checked, and as a record.

Patients of a study that has none yet: who is treated by whom, with which alliance and baseline.

For questions about a design before there are data. Arms are of equal size, and so are the
therapists' caseloads; scores are normal around the middle of their range, which lies three SDs
from each end. Outcomes are only placeholders, in whose range and SD simulated ones are told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.stats import norm

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.files import file_bytes
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import COUNT
from alliance.data_prep.study.toml_files import parse_toml
from alliance.data_prep.trial.flow import deciding_settings, read_only

BUNDLED_INPUTS = Path(__file__).parents[1] / "studies" / "ferreira2013" / "simulation.toml"
ARMS = ("GE", "MCE", "SMT")
OUTCOMES = ("function", "gpe", "pain", "disability")
CONTRASTS_WITH_FIRST_ARM = tuple(f"{arm}-{ARMS[0]}" for arm in ARMS[1:])

Share = Annotated[float, Field(gt=0, le=1)]
PartialShare = Annotated[float, Field(ge=0, lt=1)]
Spread = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
# Four outcomes with one common correlation: below -1/3 no such joint distribution exists; 0 is
# the sensible floor for outcomes that are all turned so that more is better.
CommonCorrelation = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Given[T](_Frozen):
    """One input: its value, how it is known, and from where."""

    value: T
    tag: Literal["published", "derived", "assumed"]
    source: str = Field(min_length=1)


class TrialInputs(_Frozen):
    """Size of the trial and who is seen again."""

    patients: Given[Count]
    rated: Given[Count]
    followup_share: Given[Share]
    therapists: Given[Count]
    caseload_spread: Given[Spread]
    arms: dict[str, Given[Count]]


class PatientInputs(_Frozen):
    """Age in years, and the share of men."""

    age_mean: Given[Positive]
    age_sd: Given[Spread]
    age_lowest: Given[Positive]
    men_share: Given[PartialShare]


class AllianceInputs(_Frozen):
    """The alliance's items; mean and standard deviation are those before the ceiling."""

    items: Given[Count]
    item_lowest: Given[int]
    item_highest: Given[int]
    item_mean: Given[float]
    item_sd: Given[Positive]
    therapist_share: Given[PartialShare]

    @property
    def lowest(self) -> int:
        """Least possible total, in points."""
        return self.items.value * self.item_lowest.value

    @property
    def highest(self) -> int:
        """Greatest possible total, in points."""
        return self.items.value * self.item_highest.value

    @property
    def mean(self) -> float:
        """Mean of the total before rounding and the ceiling, in points."""
        return self.items.value * self.item_mean.value

    @property
    def sd(self) -> float:
        """Standard deviation of the total before rounding and the ceiling, in points."""
        return self.items.value * self.item_sd.value

    def population(self) -> dict[str, float]:
        """Mean, standard deviation and share at the ceiling of the total as it is recorded.

        Exact: the probabilities of a normal variable that is rounded to whole points and held
        within its range.
        """
        points = np.arange(self.lowest, self.highest + 1)
        edges = np.concatenate([[-np.inf], points[:-1] + 0.5, [np.inf]])
        probability = np.diff(norm.cdf((edges - self.mean) / self.sd))
        mean = float(probability @ points)
        variance = float(probability @ (points - mean) ** 2)
        return {
            "mean": mean,
            "sd": math.sqrt(variance),
            "share_at_ceiling": float(probability[-1]),
        }


class RatingInputs(_Frozen):
    """Log odds of a rating, up to a constant: by arm, and by baseline function in its SDs."""

    per_sd_of_baseline_function: Given[float]
    arm: dict[str, Given[float]]


class CorrelationInputs(_Frozen):
    """Correlations between any two outcomes, each turned so that more is better."""

    baseline: Given[CommonCorrelation]
    residual: Given[CommonCorrelation]
    therapist: Given[CommonCorrelation]


class TherapistInputs(_Frozen):
    """Variation between therapists, relative to the residual standard deviation."""

    variance_share: Given[PartialShare]
    slope_sd: Given[Spread]
    correlation: Given[Correlation]


class OutcomeInputs(_Frozen):
    """One outcome on its own scale; slope and interactions for one SD of the alliance."""

    resolution: Given[Positive]
    baseline_mean: Given[float] | None = None
    baseline_sd: Given[Spread] | None = None
    baseline_slope: Given[float] | None = None
    followup_mean: Given[float]
    residual_sd: Given[Positive]
    alliance_slope: Given[float]
    age_slope: Given[float]
    arm_contrast: dict[str, Given[float]]
    interaction: dict[str, Given[float]]


class SimulationInputs(_Frozen):
    """Everything that a simulated trial is made of, as in `simulation.toml`."""

    trial: TrialInputs
    patient: PatientInputs
    alliance: AllianceInputs
    rating: RatingInputs
    correlation: CorrelationInputs
    therapist: TherapistInputs
    outcomes: dict[str, OutcomeInputs]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _same_keys("outcomes", self.outcomes, OUTCOMES)
        _same_keys("trial.arms", self.trial.arms, ARMS)
        _same_keys("rating.arm", self.rating.arm, ARMS)
        for name, outcome in self.outcomes.items():
            for table in ("arm_contrast", "interaction"):
                found = getattr(outcome, table)
                _same_keys(f"outcomes.{name}.{table}", found, CONTRASTS_WITH_FIRST_ARM)
            baseline = (outcome.baseline_mean, outcome.baseline_sd, outcome.baseline_slope)
            if len({part is None for part in baseline}) > 1:
                raise ValueError(
                    f"outcomes.{name} needs all of baseline_mean, baseline_sd, baseline_slope, "
                    "or none of them"
                )
        if self.outcomes["function"].baseline_mean is None:
            raise ValueError("outcomes.function needs a baseline: who rates depends on it")
        if sum(arm.value for arm in self.trial.arms.values()) != self.trial.patients.value:
            raise ValueError("trial.arms must add up to trial.patients")
        if self.trial.rated.value > self.trial.patients.value:
            raise ValueError("trial.rated must not exceed trial.patients")
        if self.alliance.item_lowest.value >= self.alliance.item_highest.value:
            raise ValueError("alliance.item_lowest must lie below alliance.item_highest")
        return self


def _same_keys(place: str, found: Mapping[str, object], valid: tuple[str, ...]) -> None:
    """Raise where a table does not have exactly the keys it must have."""
    for key in found:
        if key not in valid:
            raise ValueError(f"{place} has the unknown key {key!r}: {nearest(key, valid)}")
    if missing := [key for key in valid if key not in found]:
        raise ValueError(f"{place} lacks {', '.join(missing)}")


def read_inputs(path: Path | None = None) -> SimulationInputs:
    """Read the inputs of a simulated trial from a `simulation.toml`.

    Parameters
    ----------
    path : Path, optional
        The file; by default the one that comes with the study `ferreira2013`.

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML, or has an unknown, missing or impossible entry.
    """
    path = BUNDLED_INPUTS if path is None else path
    content = parse_toml(file_bytes(path, "file of simulation inputs"), path.name)
    try:
        return SimulationInputs.model_validate(content)
    except ValidationError as fault:
        listed = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']) or 'file'}: {error['msg']}"
            for error in fault.errors()
        )
        raise InputError(
            f"The file of simulation inputs {path} has faults: {listed}.",
            "Every input is a table { value = ..., tag = ..., source = ... } under the names of "
            "the bundled simulation.toml.",
        ) from fault


@dataclass(frozen=True, slots=True)
class OutcomeTruth:
    """True parameters of one outcome on its own scale.

    followup = intercept + baseline_slope * (baseline - its mean) + arm_effect[arm]
    + (moderator_slope[arm] + v) * (alliance - its mean) + covariate_slope * (age - its mean)
    + u + residual, with (u, v) normal for each therapist.

    Attributes
    ----------
    intercept : float
        Expected score at the means of baseline, alliance and age, for an arm effect of zero.
    baseline_slope : float
        Points for one of the baseline; without effect where the outcome has no baseline.
    arm_effect : dict of str to float
        By arm, in points, at the mean alliance; only differences matter beside the intercept.
    moderator_slope : dict of str to float
        By arm, in points for one point of the alliance.
    therapist_sd, therapist_slope_sd : float
        Standard deviations of u (points) and v (points for one point of the alliance).
    therapist_correlation : float
        Correlation of u and v.
    residual_sd : float
        In points.
    covariate_slope : float
        Points for one year of age.
    """

    intercept: float
    baseline_slope: float
    arm_effect: dict[str, float]
    moderator_slope: dict[str, float]
    therapist_sd: float
    therapist_slope_sd: float
    therapist_correlation: float
    residual_sd: float
    covariate_slope: float = 0.0


type Truth = Mapping[str, OutcomeTruth]


def true_values(inputs: SimulationInputs) -> dict[str, OutcomeTruth]:
    """Return the true parameters that the inputs stand for, by outcome.

    Arm effects and deviations of the arms' slopes sum to zero over arms; slopes are turned from
    one standard deviation of the alliance (before the ceiling) to one point.
    """
    return {name: _true_values_of(outcome, inputs) for name, outcome in inputs.outcomes.items()}


def _true_values_of(outcome: OutcomeInputs, inputs: SimulationInputs) -> OutcomeTruth:
    alliance_sd = inputs.alliance.sd
    residual_sd = outcome.residual_sd.value
    share = inputs.therapist.variance_share.value
    deviation = _sum_to_zero(outcome.interaction)
    return OutcomeTruth(
        intercept=outcome.followup_mean.value,
        baseline_slope=0.0 if outcome.baseline_slope is None else outcome.baseline_slope.value,
        arm_effect=_sum_to_zero(outcome.arm_contrast),
        moderator_slope={
            arm: (outcome.alliance_slope.value + deviation[arm]) / alliance_sd for arm in ARMS
        },
        therapist_sd=residual_sd * math.sqrt(share / (1 - share)),
        therapist_slope_sd=inputs.therapist.slope_sd.value * residual_sd / alliance_sd,
        therapist_correlation=inputs.therapist.correlation.value,
        residual_sd=residual_sd,
        covariate_slope=outcome.age_slope.value,
    )


def _sum_to_zero(contrasts: Mapping[str, Given[float]]) -> dict[str, float]:
    """Values by arm that sum to zero and have the given differences from the first arm."""
    from_first = {ARMS[0]: 0.0} | {arm: contrasts[f"{arm}-{ARMS[0]}"].value for arm in ARMS[1:]}
    centre = sum(from_first.values()) / len(ARMS)
    return {arm: value - centre for arm, value in from_first.items()}


def checked_parameters(
    study: Study, inputs: SimulationInputs, truth: Truth | None
) -> dict[str, OutcomeTruth]:
    """Return the true parameters of every outcome, in the study's order; those given are checked.

    Raises
    ------
    InputError
        If an outcome or an arm is unknown, or a value impossible.
    """
    for name, true in (truth or {}).items():
        if name not in study.outcomes:
            raise InputError(
                f"True values are given for {name!r}, which is no outcome of the simulated trial.",
                nearest(name, study.outcomes),
            )
        for by_arm in ("arm_effect", "moderator_slope"):
            if set(getattr(true, by_arm)) != set(ARMS):
                raise InputError(
                    f"The true {by_arm} of {name!r} names the arms "
                    f"{', '.join(getattr(true, by_arm)) or '(none)'}.",
                    f"Give one value for each of {', '.join(ARMS)}.",
                )
        numbers = [
            number
            for value in (getattr(true, field.name) for field in fields(true))
            for number in (value.values() if isinstance(value, dict) else (value,))
        ]
        spreads = (true.therapist_sd, true.therapist_slope_sd, true.residual_sd)
        if not (
            all(math.isfinite(number) for number in numbers)
            and min(spreads) >= 0
            and abs(true.therapist_correlation) <= 1
        ):
            raise InputError(
                f"The true values of {name!r} are impossible: {true}.",
                "Give finite numbers, standard deviations of at least 0 and a correlation "
                "between -1 and 1.",
            )
    given = true_values(inputs) | dict(truth or {})
    return {name: given[name] for name in study.outcomes}


def truth_record(true: OutcomeTruth, has_baseline: bool, alliance: float) -> dict[str, Any]:
    """Return true values under the tidy table's names.

    Intercept, arm contrasts and the SD between therapists are those ``at`` the population's mean
    alliance, and not at the mean of the trial's own patients: `alliance summary RUN --at VALUE`
    estimates the same.
    """
    pairs = {f"{later}-{earlier}": (later, earlier) for earlier, later in combinations(ARMS, 2)}
    slope, effect = true.moderator_slope, true.arm_effect
    baseline = {"baseline_slope": true.baseline_slope} if has_baseline else {}
    return {
        "at": alliance,
        "intercept": true.intercept + sum(effect.values()) / len(ARMS),
        **baseline,
        "moderator_slope": {"average": sum(slope.values()) / len(ARMS)}
        | {code: slope[code] for code in ARMS},
        "arm_contrast": {level: effect[b] - effect[a] for level, (b, a) in pairs.items()},
        "interaction": {level: slope[b] - slope[a] for level, (b, a) in pairs.items()},
        "covariate_slope": {"age": true.covariate_slope},
        "therapist_sd": true.therapist_sd,
        "therapist_slope_sd": true.therapist_slope_sd,
        "therapist_correlation": true.therapist_correlation,
        "residual_sd": true.residual_sd,
    }


def effects_by_id(
    therapist_ids: list[str], on_intercept: NDArray[np.float64], on_slope: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Return the realised effects of each therapist, each array of shape (therapists,)."""
    pairs = zip(therapist_ids, on_intercept.tolist(), on_slope.tolist(), strict=True)
    return {name: {"intercept": intercept, "slope": slope} for name, intercept, slope in pairs}


SDS_IN_RANGE = 6  # of a score
EVENTS, EXPOSURES = 3.0, (0.5, 1.5)  # events of a patient, over a time about one unit long
# Of patients, where a missing alliance is imputed: a missing rating for every 5 is common.
MISSING_SHARE = 0.2
FEWEST_CLINICS, THERAPISTS_OF_CLINIC = 3, 3
FEWEST_PER_ARM = 4  # below it some arm's slope has no freedom left


def imagined_patients(
    study: Study,
    patients: int,
    therapists: int,
    generator: np.random.Generator,
    *,
    nested: bool = False,
) -> xr.Dataset:
    """Imagine patients for a study.

    Parameters
    ----------
    study : Study
        Whose arms, those without therapists, ranges, covariates and setting for a missing alliance
        are used.
    patients, therapists : int
    generator : numpy.random.Generator
    nested : bool
        Each therapist treats in one arm only, instead of in all of them.

    Returns
    -------
    xarray.Dataset
        As `data_prep.trial.trial.Trial.data`. Covariates are standard normal; clinics, where the
        study has them, have three therapists each.

    Raises
    ------
    InputError
        If there are too few patients or therapists for the arms.
    """
    arms, without = len(study.arms), study.arms_without_therapist
    have = [k for k, code in enumerate(study.arms) if code not in without]
    if patients < FEWEST_PER_ARM * arms:
        raise InputError(
            f"{patients} patients are too few for {arms} arms.",
            f"Ask for {FEWEST_PER_ARM * arms} or more.",
        )
    fewest, most = len(have) if nested else 1, patients * len(have) // arms // 2
    if have and not fewest <= therapists <= most:
        raise InputError(
            f"{therapists} therapists do not suit {patients} patients in {arms} arms"
            f"{', each treating in one' if nested else ''}"
            f"{', of which some have none' if without else ''}.",
            f"Ask for {fewest} to {most}.",
        )
    arm = generator.permutation(np.arange(patients) % arms)
    therapist = np.full(patients, -1, dtype=np.int64)
    therapists = therapists if have else 0
    groups = [(arm == k, np.arange(therapists)[place :: len(have)]) for place, k in enumerate(have)]
    if not nested and have:
        groups = [(np.isin(arm, have), np.arange(therapists))]
    for rows, own in groups:
        therapist[rows] = own[generator.permutation(int(rows.sum())) % len(own)]
    clinics: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    number = max(FEWEST_CLINICS, therapists // THERAPISTS_OF_CLINIC)
    if study.clinic_setting != "none":
        clinic = therapist % number
        alone = therapist < 0
        clinic[alone] = generator.integers(0, number, int(alone.sum()))
        clinics["clinic_index"] = (("patient",), clinic)
    moderator = np.full(patients, np.nan)
    if study.moderator is not None:
        moderator = _scores(study.moderator.range, patients, generator)
        moderator[~np.isin(np.array(list(study.arms))[arm], study.rated_arms)] = np.nan
    if study.model.missing_alliance == "impute":
        moderator[generator.random(patients) < MISSING_SHARE] = np.nan
    covariates = generator.standard_normal((patients, len(study.covariates)))
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "arm_index": (("patient",), arm),
        "therapist_index": (("patient",), therapist),
        **clinics,
        "moderator": (("patient",), moderator),
        "covariates": (("patient", "covariate"), covariates),
    }
    befores: dict[str, str] = {}
    for name, outcome in study.outcomes.items():
        if outcome.family == COUNT:
            scores = generator.poisson(min(EVENTS, outcome.range[1] / 2), patients)
        else:
            # Any whole score is one of every family.
            scores = np.round(_scores(outcome.range, patients, generator))
        variables[f"{name}_followup"] = (("patient",), scores.astype(float))
        if outcome.exposure is not None:
            exposure = generator.uniform(*EXPOSURES, patients)
            variables[f"{name}_exposure"] = (("patient",), exposure)
        if outcome.baseline is not None:
            baseline = _scores(outcome.range, patients, generator)
            variables[f"{name}_baseline"] = (("patient",), baseline)
            if outcome.visit_of is not None:  # one baseline for all visits
                first = befores.setdefault(outcome.visit_of, name)
                variables[f"{name}_baseline"] = variables[f"{first}_baseline"]
    coords = {
        "arm": np.array(list(study.arms), dtype=str),
        "therapist": np.array([f"T{j + 1}" for j in range(therapists)], dtype=str),
        "covariate": np.array(list(study.covariates), dtype=str),
    }
    if clinics:
        coords["clinic"] = np.array([f"C{k + 1}" for k in range(number)], dtype=str)
    return read_only(xr.Dataset(variables, coords=coords, attrs=deciding_settings(study)))


def _scores(limits: tuple[float, float], number: int, generator: np.random.Generator) -> np.ndarray:
    low, high = limits
    centre, sd = (low + high) / 2, (high - low) / SDS_IN_RANGE
    return np.clip(centre + sd * generator.standard_normal(number), low, high)
