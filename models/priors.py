"""Priors: one scale for each kind of parameter, on the standardised scale, with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite

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
