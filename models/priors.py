"""Priors: one scale for each kind of parameter, on the standardised scale, with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Priors:
    """Scales of the priors on the standardised scale (outcome, moderator, baseline and covariates
    each with mean 0 and SD 1 among the analysed patients).

    Coefficients are normal around zero, standard deviations half-normal, the correlation of the
    therapist effects LKJ. Arm effects and interactions sum to zero over arms, so that their scale
    is that of a ``ZeroSumNormal`` and no arm is privileged.

    Attributes
    ----------
    intercept : float
        Mean outcome. Its data mean is zero by construction; wide.
    baseline_slope : float
        Outcome on its baseline; a standardised slope seldom exceeds one.
    arm : float
        Arm effects: a contrast of two arms has SD ``arm * sqrt(2)``, so differences beyond 1.4 SD
        of the outcome are thought improbable.
    moderator_slope : float
        Alliance slope averaged over arms. Reviews find r = .278 in psychotherapy
        (Flückiger et al. 2018, doi:10.1037/pst0000172) and r = .29 for pain in chronic low back
        pain (Bliss 2009, in Lakke & Meerman 2016): one prior SD.
    interaction : float
        Differences of alliance slopes between arms: smaller than the slope itself.
    covariate_slope : float
        Other covariates, for one SD.
    therapist_sd : float
        Half-normal scale of the therapists' SD. Shares of 1%, 5% and 12% of the outcome's variance
        are .10, .22 and .35 of its SDs, and less where they are shares of what the other terms
        leave of it; 2.6% to 7.1% were seen in low back and neck pain (Lewis 2010).
    therapist_slope_sd : float
        Half-normal scale of the SD of the alliance slope between therapists. No source is known;
        as wide as ``moderator_slope``, so that the slope's sign may or may not hold for every
        therapist. Half of that covered too seldom with few therapists (docs/decisions/0023).
    therapist_correlation : float
        LKJ shape; 2 leans gently against correlations near -1 and 1.
    clinic_sd, clinic_slope_sd, clinic_correlation : float
        As ``therapist_sd``, ``therapist_slope_sd`` and ``therapist_correlation``, of clinics: what
        is known of clinics is known of therapists and clinics together.
    residual_sd : float
        Half-normal scale of the residual SD; at most 1 when the model explains anything.
    residual_correlation : float
        LKJ shape of the correlations of a patient's residuals over visits; 2 leans gently against
        correlations near -1 and 1. A structure's own parameters have the density that it gives the
        correlation of two visits.
    therapist_arm_sd : float
        Half-normal scale of the SD of arm effects between therapists, where they are asked for;
        half of ``arm``.
    moderator_therapist_sd : float
        Half-normal scale of the SD of the therapists' mean alliance, in SDs of the alliance.
    degrees_of_freedom : float
        Fixes the degrees of freedom of ``student_t``; left out, they are estimated with a
        Gamma(2, 0.1) prior (Juárez & Steel 2010, doi:10.1198/jbes.2009.07145).
    category_concentration : float
        Dirichlet concentration of an ordinal outcome's category shares; 1 is uniform.
    overdispersion : float
        Half-normal scale of a count's overdispersion: the coefficient of variation of the
        patients' own rates. At 1 a patient with three times the mean rate is not rare.
    trial_arm_sd : float
        Half-normal scale of the SD of arm effects between trials, where there are several, so that
        the SD of a contrast has half an SD between patients for its scale (docs/decisions/0050).
    trial_slope_sd, trial_interaction_sd : float
        The same of the alliance's slope, and of its differences between arms: two thirds of the
        scale of the slope itself.
    """

    intercept: float = 1.0
    baseline_slope: float = 1.0
    arm: float = 0.5
    moderator_slope: float = 0.3
    interaction: float = 0.25
    covariate_slope: float = 0.5
    therapist_sd: float = 0.3
    therapist_slope_sd: float = 0.3
    therapist_correlation: float = 2.0
    residual_sd: float = 1.0
    residual_correlation: float = 2.0
    therapist_arm_sd: float = 0.25
    moderator_therapist_sd: float = 0.5
    degrees_of_freedom: float = 0.0
    category_concentration: float = 1.0
    overdispersion: float = 1.0
    trial_arm_sd: float = 0.35
    trial_slope_sd: float = 0.2
    trial_interaction_sd: float = 0.2
    clinic_sd: float = 0.3
    clinic_slope_sd: float = 0.3
    clinic_correlation: float = 2.0

    @property
    def slope(self) -> SlopeEvidence | None:
        """What the alliance's slope is taken from, where the study names an entry of the pack."""
        return None

    @classmethod
    def with_overrides(cls, overrides: Mapping[str, float]) -> Priors:
        """Default priors with the scales that a study file states under ``[priors]``.

        Raises
        ------
        InputError
            If a name is not a prior, or a scale is not a positive finite number.
        """
        names = [field.name for field in fields(cls)]
        for name, scale in overrides.items():
            if name not in names:
                raise InputError(
                    f"[priors] has no prior {name!r}.",
                    f"{nearest(name, names)} All priors: {', '.join(names)}.",
                )
            if not isfinite(scale) or scale <= 0:
                raise InputError(
                    f"The prior scale {name} = {scale} is not a positive number.",
                    "Give a scale above zero, in standard deviations.",
                )
        return replace(cls(), **dict(overrides))


@dataclass(frozen=True, slots=True)
class SlopeEvidence:
    """A robust prior of the alliance's slope: what others found, and room for them to be wrong.

    A mixture of a normal distribution from the prior pack and the usual one around zero, whose
    scale is `Priors.moderator_slope` (Schmidli et al. 2014, doi:10.1111/biom.12242).

    Attributes
    ----------
    entry : str
        Of the prior pack.
    location, spread : float
        Mean and SD on the standardised scale, with the outcome's own sign.
    weight : float
        Of the evidence, above 0 and below 1.
    """

    entry: str
    location: float
    spread: float
    weight: float


@dataclass(frozen=True, slots=True)
class InformedPriors(Priors):
    """Priors of which the alliance's slope has one from the prior pack.

    Attributes
    ----------
    known : SlopeEvidence
    """

    known: SlopeEvidence = SlopeEvidence("", 0.0, 1.0, 0.5)

    @property
    def slope(self) -> SlopeEvidence | None:
        """What the alliance's slope is taken from."""
        return self.known


def slope_parts(priors: Priors) -> list[tuple[float, float, float]]:
    """Weight, mean and SD of each part of the prior of the alliance's slope.

    Parameters
    ----------
    priors : Priors
        One part without evidence; else the evidence and the vague part.
    """
    vague, known = (0.0, priors.moderator_slope), priors.slope
    if known is None:
        return [(1.0, *vague)]
    return [(known.weight, known.location, known.spread), (1 - known.weight, *vague)]


def slope_log_density(priors: Priors, slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the prior density of the alliance's standardised slope.

    Parameters
    ----------
    priors : Priors
    slope : ndarray
        Of any shape.
    """
    terms = _slope_terms(priors, slope)
    return np.asarray(np.logaddexp.reduce(terms, axis=0))


def evidence_weight(priors: Priors, slope: NDArray[np.float64]) -> float:
    """Posterior weight of the evidence in the mixture, from draws of the slope.

    Parameters
    ----------
    priors : Priors
        With evidence.
    slope : ndarray
        Draws on the standardised scale.
    """
    terms = _slope_terms(priors, slope)
    return float(np.exp(terms[0] - np.logaddexp.reduce(terms, axis=0)).mean())


def _slope_terms(priors: Priors, slope: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(
        [
            np.log(weight) - 0.5 * ((slope - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
            for weight, mean, sd in slope_parts(priors)
        ]
    )
