"""The true values of a simulated trial: given or from the inputs, checked, and as a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.simulator.inputs import ARMS, Given, OutcomeInputs, SimulationInputs
from alliance.data_prep.study.description import Study


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
