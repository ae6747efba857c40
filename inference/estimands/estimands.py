"""What is reported: slopes, contrasts and standard deviations on the outcome's own scale.

Posterior draws and linear-model refits pass through the same linear map from standardised
coefficients to reported quantities, so that they can be set side by side.

The tidy table: one row for each reported quantity of each outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from alliance.data_prep.levels import AVERAGE, BETWEEN, WITHIN, contrast_names, slope_names
from alliance.inference.draws.datatree import flat
from alliance.inference.draws.summaries import quantiles, rank_statistics, tails
from alliance.inference.estimands.between_trials import trial_estimands, trial_priors
from alliance.inference.estimands.compared_at import (
    BELONG,
    average_response,
    own_points,
    response_estimands,
    standard_alliance,
)
from alliance.inference.estimands.missing_outcomes import contrast_shifts, with_shifted_contrasts
from alliance.inference.estimands.ratios import (
    CONDITIONAL,
    DIFFERENCES,
    RATIOS,
    of_logs,
    ratio_estimands,
    ratio_priors,
)
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs, sum_to_zero_basis
from alliance.models.joint.joint import slope_scales
from alliance.models.priors import Priors, slope_parts
from alliance.models.spec import JOINT
from alliance.models.trials.design import TrialsDesign

Array = NDArray[np.float64]

# Quantities that no data can make negative: their sign says nothing. Of ratios one is nothing.
SCALE_QUANTITIES = (
    "therapist_sd",
    "therapist_slope_sd",
    "therapist_arm_sd",
    "trial_arm_sd",
    "trial_slope_sd",
    "trial_interaction_sd",
    "therapist_icc",
    "clinic_sd",
    "clinic_slope_sd",
    "clinic_icc",
    "therapist_mean_reliability",
    "residual_sd",
    "residual_scale",
    "degrees_of_freedom",
    "overdispersion",
    *RATIOS,
    "moderator_slope_spread",
)


@dataclass(frozen=True, eq=False, slots=True)
class LinearEstimands:
    """Reported quantities that are linear in the standardised coefficients.

    Attributes
    ----------
    labels : tuple of (quantity, level)
    matrix : ndarray, shape (m, p)
    along : ndarray, shape (m, p)
        What one SD more of the alliance, at which arms are compared, adds to the matrix.
    offset : ndarray, shape (m,)
        ``(matrix + a * along) @ beta + offset`` is on the outcome's own scale, for arms compared
        at the standardised alliance a.
    """

    labels: tuple[tuple[str, str], ...]
    matrix: Array
    along: Array
    offset: Array

    def at(self, alliance: float) -> Array:
        """The matrix for arms compared at one standardised alliance, shape (m, p)."""
        return self.matrix + alliance * self.along

    def drawn(self, beta: Array, alliance: Array) -> Array:
        """The quantities of d draws, shape (m, d).

        Parameters
        ----------
        beta : ndarray, shape (d, p)
        alliance : ndarray, shape (d,)
            Standardised, at which arms are compared.
        """
        found = self.matrix @ beta.T + self.offset[:, None]
        if alliance.any():
            found = found + alliance * (self.along @ beta.T)
        return np.asarray(found)


def linear_estimands(design: Design, *, per_sd: bool = False) -> LinearEstimands:
    """The linear map from standardised coefficients to reported quantities.

    Parameters
    ----------
    design : Design
    per_sd : bool
        Moderator slopes and interactions for one SD of the moderator instead of one point.

    Returns
    -------
    LinearEstimands
        ``intercept`` (mean outcome at the mean baseline and covariates, arms weighted equally),
        ``baseline_slope``, ``moderator_slope`` (``average`` over the arms with the moderator, and
        each of them), ``arm_contrast`` and ``interaction`` (all pairs, later arm minus earlier;
        the latter of arms with the moderator), ``covariate_slope``. Intercept and contrasts are
        those at a standardised moderator of zero, and move ``along`` it: see
        `inference.estimands.compared_at`.
    """
    scaling, arms = design.scaling, design.arms
    outcome_mean, outcome_sd = design.outcome_unit
    position = {name: column for column, name in enumerate(design.coefficients)}
    basis = sum_to_zero_basis(len(arms))
    rows: list[tuple[str, str, Array]] = []
    moved: list[Array] = []

    def weighted(weights: dict[str, float], unit: float) -> Array:
        row = np.zeros(len(position))
        for name, weight in weights.items():
            row[position[name]] = weight * outcome_sd / unit
        return row

    def add(
        quantity: str,
        level: str,
        weights: dict[str, float],
        unit: float,
        along: dict[str, float] | None = None,
    ) -> None:
        rows.append((quantity, level, weighted(weights, unit)))
        moved.append(weighted(along or {}, unit))

    def on_basis(kind: str, weights: Array) -> dict[str, float]:
        return {f"{kind}[{k + 1}]": float(weight) for k, weight in enumerate(weights)}

    moderator_unit = 1.0 if per_sd else scaling.moderator[1]
    moderated, weights_of_slopes = design.encoding.moderated, design.encoding.slope_weights
    slope_columns = [design.coefficients[k] for k in design.moderator_columns]

    def slope(weights: Array) -> dict[str, float]:
        return dict(zip(slope_columns, weights.tolist(), strict=True))

    interaction = design.encoding.interaction
    pairs = arm_pairs(len(arms))
    slopes_between = [pair for pair in pairs if set(pair) <= set(moderated)]
    add("intercept", "", {"intercept": 1.0}, 1.0, {"moderator": len(moderated) / len(arms)})
    if design.has_baseline:
        add("baseline_slope", "", {"baseline": 1.0}, scaling.baseline[1])
    names = contrast_names(arms)
    if moderated:
        add("moderator_slope", AVERAGE, {"moderator": 1.0}, moderator_unit)
    if interaction:
        own = slope_names(arms)
        for k in moderated:
            add("moderator_slope", own[k], slope(weights_of_slopes[k]), moderator_unit)
    for later, earlier in pairs:
        weights = basis[later] - basis[earlier]
        along = slope(weights_of_slopes[later] - weights_of_slopes[earlier])
        add("arm_contrast", names[later, earlier], on_basis("arm", weights), 1.0, along)
    if interaction:
        for later, earlier in slopes_between:
            difference = slope(weights_of_slopes[later] - weights_of_slopes[earlier])
            add("interaction", names[later, earlier], difference, moderator_unit)
    columns = design.encoding.places("covariate")
    for k, name, unit in design.encoding.seen_columns:
        add("covariate_slope", name, {design.coefficients[columns[k]]: 1.0}, unit)

    offset = np.zeros(len(rows))
    offset[0] = outcome_mean
    return LinearEstimands(
        labels=tuple((quantity, level) for quantity, level, _ in rows),
        matrix=np.stack([row for _, _, row in rows]),
        along=np.stack(moved),
        offset=offset,
    )


def residual_levels(design: Design) -> dict[str, tuple[int, ...]]:
    """Levels of residual SDs, with the positions of their arms: each arm, or one for all.

    Parameters
    ----------
    design : Design
    """
    arms = range(len(design.arms))
    if design.nesting.number == 1:
        return {"": tuple(arms)}
    return {name: (k,) for k, name in enumerate(slope_names(design.arms))}


def icc_levels(design: Design) -> dict[str, tuple[int, ...]]:
    """Levels of the therapists' share, with the positions of their arms.

    One for all arms that have therapists; each of them where their residual SDs differ.
    """
    have = design.nesting.arms_with(len(design.arms))
    if design.nesting.with_therapists == 1:
        return {"": have}
    names = slope_names(design.arms)
    return {names[k]: (k,) for k in have}


def spread_estimands(
    draws: xr.Dataset,
    slope: Array,
    variances: Array,
    moderator_unit: float,
    design: Design,
    alliance: Array | float = 0.0,
) -> dict[tuple[str, str], Array]:
    """Standard deviations and the therapists' share of variance, on the outcome's own scale.

    Parameters
    ----------
    draws : xarray.Dataset
        d draws of ``therapist_sd`` and the others, on the predictor's scale.
    slope : ndarray, shape (d,)
        Change of the expected score for one SD on the predictor's scale: the outcome's SD where
        the link is the identity. Spreads between therapists are to first order in their effects.
    variances : ndarray, shape (d, K)
        Variance of a score given its patient and an average therapist, in each arm. That of a
        Student-t outcome is ``scale^2 nu / (nu - 2)``; with two degrees of freedom or fewer it is
        infinite, so that the SD is infinite too and the therapists' share is zero.
    moderator_unit : float
        SD of the moderator for the slope's SD per point, 1 for that per SD.
    design : Design
        Says in which arms variances differ, and which have therapists.
    alliance : ndarray, shape (d,), or float
        Standardised, at which arms and therapists are compared.

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        ``therapist_sd`` and ``therapist_icc`` (of arms with therapists) at this alliance,
        ``therapist_slope_sd``,
        ``therapist_arm_sd`` (of arm effects between therapists), with clinics ``clinic_sd``,
        ``clinic_slope_sd`` and ``clinic_icc``, ``residual_sd``,
        ``degrees_of_freedom``, ``overdispersion``; those that the model has.
    """
    found: dict[tuple[str, str], Array] = {}
    above: Array | float = 0.0  # variance between clinics
    if "clinic_sd" in draws:
        above = (slope * _level_sd(draws, alliance, "clinic")) ** 2
    if "therapist_sd" in draws:
        between = slope * _level_sd(draws, alliance, "therapist")
        found["therapist_sd", ""] = between
        if "therapist_slope_sd" in draws:
            found["therapist_slope_sd", ""] = (
                slope * flat(draws, "therapist_slope_sd") / moderator_unit
            )
        if "therapist_arm_sd" in draws:
            found["therapist_arm_sd", ""] = slope * flat(draws, "therapist_arm_sd")
        for level, arms in icc_levels(design).items():
            total = between**2 + variances[:, arms[0]]
            found["therapist_icc", level] = between**2 / (total + above)
    if "clinic_sd" in draws:
        found |= _clinic_estimands(draws, slope, variances, moderator_unit, design, alliance)
    for level, arms in residual_levels(design).items():
        found["residual_sd", level] = np.sqrt(variances[:, arms[0]])
    for name in ("degrees_of_freedom", "overdispersion"):
        if name in draws:
            found[name, ""] = flat(draws, name)
    return found


def _clinic_estimands(
    draws: xr.Dataset,
    slope: Array,
    variances: Array,
    moderator_unit: float,
    design: Design,
    alliance: Array | float,
) -> dict[tuple[str, str], Array]:
    """SDs between clinics and their share of the variance; see `spread_estimands`.

    The share has a level for each arm where residual SDs differ, or arms have no therapists.
    """
    between = slope * _level_sd(draws, alliance, "clinic")
    found = {("clinic_sd", ""): between}
    if "clinic_slope_sd" in draws:
        found["clinic_slope_sd", ""] = slope * flat(draws, "clinic_slope_sd") / moderator_unit
    below = np.zeros((len(between), len(design.arms)))
    if "therapist_sd" in draws:
        have = design.nesting.arms_with(len(design.arms))
        own = slope * _level_sd(draws, alliance, "therapist")
        below[:, list(have)] = own[:, None] ** 2
    share = between[:, None] ** 2 / (between[:, None] ** 2 + below + variances)
    names = slope_names(design.arms)
    several = design.nesting.number > 1 or bool(design.nesting.without and design.effects)
    levels = dict(enumerate(names)) if several else {0: ""}
    for k, level in levels.items():
        found["clinic_icc", level] = share[:, k]
    return found


def _level_sd(draws: xr.Dataset, alliance: Array | float, level: str) -> Array:
    """SD between therapists, or clinics, at a standardised alliance a, on the predictor's scale.

    ``sqrt(sd_u^2 + 2 rho sd_u sd_v a + sd_v^2 a^2)``, as slopes may vary along with intercepts.
    """
    own = flat(draws, f"{level}_sd")
    if f"{level}_slope_sd" not in draws or not np.any(alliance):
        return own
    turned = alliance * flat(draws, f"{level}_slope_sd")
    rho = flat(draws, f"{level}_correlation") if f"{level}_correlation" in draws else 0.0
    return np.sqrt(np.maximum(own**2 + 2 * rho * own * turned + turned**2, 0.0))


def alliance_estimands(
    posterior: Posterior, slope: Array, moderator_unit: float
) -> dict[tuple[str, str], Array]:
    """What a model of the alliance itself adds: slopes within and between, and its reliability.

    Parameters
    ----------
    posterior : Posterior
    slope : ndarray, shape (d,)
        As in `spread_estimands`.
    moderator_unit : float

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        ``moderator_slope`` of level ``within`` and ``between``, their difference
        ``contextual_effect``, where the slope between differs between arms
        ``interaction_between`` (all pairs), and ``therapist_mean_reliability``: the share of the
        variance of observed therapist means that is true, averaged over the therapists (Snijders &
        Bosker 2012, section 3.5). Empty unless the alliance is taken apart.
    """
    design, draws = posterior.design, posterior.draws
    if "moderator_slope_between" not in draws:
        return {}
    within = slope * posterior.coefficient("moderator") / moderator_unit
    between = slope * posterior.flat("moderator_slope_between") / moderator_unit
    true = posterior.flat("moderator_therapist_sd")[:, None] ** 2
    noise = posterior.flat("moderator_residual_sd")[:, None] ** 2
    if design.moderator.reliability is not None:
        noise = noise + 1 - design.moderator.reliability
    known = len(design.therapists)
    rated = design.moments.count[:known]
    if design.given is None:
        seen = design.therapist_index[~design.moderator_missing]
        rated = np.bincount(seen, minlength=known)[:known]
    seen = rated[rated > 0]
    found = {
        ("moderator_slope", WITHIN): within,
        ("moderator_slope", BETWEEN): between,
        ("contextual_effect", ""): between - within,
    }
    if "moderator_interaction_between" in draws:
        own = posterior.flat("moderator_interaction_between")
        basis, names = sum_to_zero_basis(len(design.arms)), contrast_names(design.arms)
        for later, earlier in arm_pairs(len(design.arms)):
            difference = own @ (basis[later] - basis[earlier])
            found["interaction_between", names[later, earlier]] = (
                slope * difference / moderator_unit
            )
    found["therapist_mean_reliability", ""] = (true / (true + noise / seen)).mean(axis=1)
    return found


def prior_table(
    design: Design,
    priors: Priors,
    *,
    per_sd: bool = False,
    alliance: float = 0.0,
    trials: TrialsDesign | None = None,
) -> pd.DataFrame:
    """Prior of every reported quantity on the outcome's own scale.

    Parameters
    ----------
    design : Design
    priors : Priors
    per_sd : bool
        Moderator slopes and interactions for one SD of the moderator instead of one point.
    alliance : float
        Standardised, at which arms are compared.
    trials : TrialsDesign, optional
        Of several trials in one model.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, quantity, level, distribution, location, scale``: ``normal`` with mean
        and SD, ``half-normal`` with its scale, ``log-normal`` with those of the logarithm, or
        ``mixture`` with mean and SD where the slope's prior is from the prior pack. Away from a
        standardised alliance of zero the SD between therapists is about half-normal: the scale is
        right for its mean square.
        The therapists' share of variance has no prior of its own, nor has an ordinal outcome's
        intercept, nor the residual SD of a Student-t outcome whose degrees of freedom are estimated
        (its scale has). Where the link is curved, scales are to first order: one SD of the
        predictor counts as one SD of the scores.
    """
    linear = linear_estimands(design, per_sd=per_sd)
    sd = np.sqrt(linear.at(alliance) ** 2 @ design.prior_sd(priors) ** 2)
    weights = linear.at(alliance)[:, design.coefficients.index("moderator")]
    rows = [
        (*label, *_mixed(priors, weight, location, scale))
        for label, location, scale, weight in zip(
            linear.labels, linear.offset, sd, weights, strict=True
        )
        if label != ("intercept", "") or design.family.has_intercept
    ]
    outcome_sd = design.outcome_unit[1]
    slope_unit = outcome_sd / (1.0 if per_sd else design.scaling.moderator[1])
    if design.moderator.structure == "within_between":
        between = slope_unit * priors.moderator_slope
        rows.append(("moderator_slope", BETWEEN, "normal", 0.0, between))
    if design.moderator.between_interaction:
        basis, names = sum_to_zero_basis(len(design.arms)), contrast_names(design.arms)
        for later, earlier in arm_pairs(len(design.arms)):
            scale = slope_unit * priors.interaction * np.linalg.norm(basis[later] - basis[earlier])
            rows.append(("interaction_between", names[later, earlier], "normal", 0.0, float(scale)))
    therapist_sd = priors.therapist_sd
    if "slope" in design.effects:
        therapist_sd = float(np.hypot(therapist_sd, alliance * priors.therapist_slope_sd))
    scales = {
        "therapist_sd": ("intercept", outcome_sd * therapist_sd),
        "therapist_slope_sd": ("slope", slope_unit * priors.therapist_slope_sd),
        "therapist_arm_sd": ("arm[1]", outcome_sd * priors.therapist_arm_sd),
    }
    rows += [
        (name, "", "half-normal", 0.0, scale)
        for name, (effect, scale) in scales.items()
        if effect in design.effects
    ]
    clinic_sd = priors.clinic_sd
    if "slope" in design.clinic_effects:
        clinic_sd = float(np.hypot(clinic_sd, alliance * priors.clinic_slope_sd))
        rows.append(
            ("clinic_slope_sd", "", "half-normal", 0.0, slope_unit * priors.clinic_slope_sd)
        )
    if design.clinic_effects:
        rows.append(("clinic_sd", "", "half-normal", 0.0, outcome_sd * clinic_sd))
    rows += ratio_priors(design, priors, alliance)
    rows += [] if trials is None else trial_priors(trials, priors, per_sd=per_sd)
    if design.family.name == "count":
        rows.append(("overdispersion", "", "half-normal", 0.0, priors.overdispersion))
    residual = outcome_sd * priors.residual_sd
    for level in residual_levels(design):
        if design.family.name == "gaussian":
            rows.append(("residual_sd", level, "half-normal", 0.0, residual))
        elif design.family.name == "student_t":
            nu = priors.degrees_of_freedom
            if nu > 2:
                spread = residual * np.sqrt(nu / (nu - 2))
                rows.append(("residual_sd", level, "half-normal", 0.0, spread))
            rows.append(("residual_scale", level, "half-normal", 0.0, residual))
    table = pd.DataFrame(rows, columns=["quantity", "level", "distribution", "location", "scale"])
    table.insert(0, "outcome", design.outcome)
    return table


def _mixed(
    priors: Priors, weight: float, location: float, scale: float
) -> tuple[str, float, float]:
    """Distribution, mean and SD of a quantity that holds so much of the moderator's slope."""
    if priors.slope is None or weight == 0:
        return "normal", location, scale
    parts = slope_parts(priors)
    mean = sum(share * centre for share, centre, _ in parts)
    square = sum(share * (sd**2 + (centre - mean) ** 2) for share, centre, sd in parts)
    changed = scale**2 + weight**2 * (square - priors.moderator_slope**2)
    return "mixture", float(location + weight * mean), float(np.sqrt(max(changed, 0.0)))


def shared_prior_table(priors: Priors) -> pd.DataFrame:
    """Priors of what the outcomes of a joint model share, in the columns of `prior_table`.

    The correlations between outcomes have an LKJ prior, which is no distribution of one number.
    """
    pooled, spread = slope_scales(priors)
    rows = [
        (JOINT, "pooled_moderator_slope", "", "normal", 0.0, pooled),
        (JOINT, "moderator_slope_spread", "", "half-normal", 0.0, spread),
    ]
    columns = ["outcome", "quantity", "level", "distribution", "location", "scale"]
    return pd.DataFrame(rows, columns=columns)


def estimand_draws(
    posterior: Posterior, *, per_sd: bool = False, at: float | None = None
) -> xr.DataArray:
    """Posterior draws of every reported quantity.

    Parameters
    ----------
    posterior : Posterior
    per_sd : bool
        Moderator slopes and interactions for one SD of the moderator instead of one point.
    at : float, optional
        Alliance, in its own points, at which arms are compared; by default the mean over the
        analysed patients, latent ratings included. See `inference.estimands.compared_at`.

    Returns
    -------
    xarray.DataArray
        Dims ``chain, draw, estimand``; coords ``quantity``, ``level`` and ``at`` along
        ``estimand``. The last is the (posterior mean) alliance to which a quantity belongs, in
        its own points; missing where it belongs to none, or to the patients' own.
    """
    design, draws = posterior.design, posterior.draws
    moderator_unit = 1.0 if per_sd else design.scaling.moderator[1]
    alliance, straight = standard_alliance(posterior, at), design.family.link == "identity"
    if straight:
        beta = posterior.beta
        linear = linear_estimands(design, per_sd=per_sd)
        found = dict(zip(linear.labels, linear.drawn(beta, alliance), strict=True))
        slope = np.full(len(beta), design.scaling.outcome[1])
        every = np.arange(len(design.arms))
        auxiliary = posterior.parameters_in(every)
        own = design.family.variance(np.zeros((len(beta), len(every))), auxiliary, design.scale)
        variance = (slope[:, None] * np.sqrt(own)) ** 2
    else:
        response = average_response(posterior, at)
        found = response_estimands(posterior, response, moderator_unit)
        have = list(design.nesting.arms_with(len(design.arms))) or slice(None)
        found |= ratio_estimands(posterior, response["expected"], alliance, moderator_unit)
        slope, variance = response["slope"].mean(axis=1), response["variance"].mean(axis=1)
        if design.nesting.without:  # therapists' spreads are those of the arms that have them
            slope = response["slope"][:, have].mean(axis=1)
            variance = response["variance"][:, have].mean(axis=1)
        variance = np.repeat(variance[:, None], len(design.arms), axis=1)
    found |= alliance_estimands(posterior, slope, moderator_unit)
    found |= spread_estimands(draws, slope, variance, moderator_unit, design, alliance)
    found |= trial_estimands(draws, slope, moderator_unit, design)
    if design.family.name == "student_t":
        scales = posterior.parameters_in(np.arange(len(design.arms)))["residual_sd"]
        for level, arms in residual_levels(design).items():
            found["residual_scale", level] = slope * scales[:, min(arms[0], scales.shape[1] - 1)]
    place = own_points(design, alliance) if at is None else at
    belong = BELONG if straight else () if at is None else {quantity for quantity, _ in found}
    belong = {*belong, *CONDITIONAL.values()} if design.family.ratio else belong
    if not design.has_moderator:  # nothing belongs to an alliance
        belong = ()
    return _estimands(found, draws, dict.fromkeys(belong, place))


def infinite_variance(posterior: Posterior) -> float:
    """Share of the draws whose scores have no variance: Student t, two degrees of freedom at most.

    Parameters
    ----------
    posterior : Posterior
    """
    freedom = posterior.family_parameters.get("degrees_of_freedom")
    return 0.0 if freedom is None else float((freedom <= 2).mean())


def with_moments(estimands: xr.DataArray, *, logs: bool = False) -> xr.DataArray:
    """The reported quantities without those whose posterior need not have a mean.

    These are the residual SD of a Student-t outcome, which is infinite where the draw has two
    degrees of freedom or fewer (scale and degrees of freedom, of which it is made, stay), and
    ratios. Differences of risks and rates are the arm contrasts once more, and go too.

    Parameters
    ----------
    estimands : xarray.DataArray
        As from `estimand_draws`.
    logs : bool
        Keep the logarithms of the ratios, which have one.
    """
    quantity = estimands["quantity"].values
    left_out = np.isin(quantity, tuple(DIFFERENCES.values()))
    if "residual_scale" in quantity:
        left_out |= quantity == "residual_sd"
    ratios = of_logs(quantity)
    if logs and ratios.any():
        values = estimands.transpose(..., "estimand")
        own = values.values
        estimands = values.copy(data=np.where(ratios, np.log(np.where(ratios, own, 1.0)), own))
    elif not logs:
        left_out |= ratios
    return estimands.isel(estimand=np.flatnonzero(~left_out)) if left_out.any() else estimands


def shared_estimands(draws: xr.Dataset) -> xr.DataArray:
    """Draws of what the outcomes share, as reported quantities.

    Parameters
    ----------
    draws : xarray.Dataset
        What `inference.sampling.joint.sample_joint` gives for all outcomes.

    Returns
    -------
    xarray.DataArray
        Dims ``chain, draw, estimand``; coords ``quantity`` and ``level`` along ``estimand``.
        ``pooled_moderator_slope``: SDs of benefit for one SD of the moderator, averaged over
        outcomes like these; ``moderator_slope_spread``: SD of the outcomes' slopes around it;
        correlations between outcomes of residuals and of therapist effects, level ``A-B``.
    """
    found = {}
    for name, values in draws.data_vars.items():
        levels = draws["pair"].values if "pair" in values.dims else [""]
        parts = values.transpose("chain", "draw", ...).values.reshape(*values.shape[:2], -1)
        for number, level in enumerate(levels):
            found[str(name), str(level)] = parts[..., number]
    return _estimands(found, draws, {})


def _estimands(
    found: dict[tuple[str, str], Array], draws: xr.Dataset, places: Mapping[str, float]
) -> xr.DataArray:
    """Draws of reported quantities, flat or by chain, under their names."""
    shape = (draws.sizes["chain"], draws.sizes["draw"], len(found))
    return xr.DataArray(
        np.stack(list(found.values()), axis=-1).reshape(shape),
        dims=("chain", "draw", "estimand"),
        coords={
            "chain": draws["chain"],
            "draw": draws["draw"],
            "quantity": ("estimand", [quantity for quantity, _ in found]),
            "level": ("estimand", [level for _, level in found]),
            "at": ("estimand", [places.get(quantity, np.nan) for quantity, _ in found]),
        },
        name="estimand",
    )


def reported_draws(
    posterior: Posterior, *, per_sd: bool = False, at: float | None = None
) -> xr.DataArray:
    """As `estimand_draws`, with arm contrasts under the study's shifts of unseen outcomes.

    See `inference.estimands.missing_outcomes`; without such shifts it is the same.

    Parameters
    ----------
    posterior : Posterior
        Of a run.
    per_sd, at
        As of `estimand_draws`.
    """
    found = estimand_draws(posterior, per_sd=per_sd, at=at)
    return with_shifted_contrasts(
        found, contrast_shifts(posterior.study, posterior.manifest, posterior.name)
    )


COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "mean",
    "sd",
    "lower",
    "upper",
    "prob_positive",
    "ess_bulk",
    "ess_tail",
    "r_hat",
    "at",
)


def limit_error(effective: float, *, interval: float = 0.95) -> float:
    """Monte Carlo error of a limit of an equal-tailed interval, in posterior SDs.

    The standard error of the quantile of so many independent draws, sqrt(p (1 - p) / n) over the
    density there, of a normal posterior (Vehtari et al. 2021, doi:10.1214/20-BA1221, section 4).

    Parameters
    ----------
    effective : float
        Effective draws at the limit; the tail ESS stands for it.
    interval : float
        Probability of the interval.

    Examples
    --------
    >>> round(limit_error(2_000), 3), round(limit_error(20_000), 3)
    (0.06, 0.019)
    """
    below = tails(interval)[0]
    density = stats.norm.pdf(stats.norm.ppf(below))
    return float(np.sqrt(below * (1 - below) / effective) / density)


def summarise(outcome: str, estimands: xr.DataArray, *, interval: float = 0.95) -> pd.DataFrame:
    """Posterior summary of one outcome's reported quantities.

    Parameters
    ----------
    outcome : str
    estimands : xarray.DataArray
        As from `inference.estimands.estimands.estimand_draws`, dims ``chain, draw, estimand``.
    interval : float
        Probability of the equal-tailed interval.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`. ``prob_positive`` is missing for standard deviations and shares,
        which cannot be negative; ``at``, the alliance to which intercept, arm contrasts and the
        SD between therapists belong, is missing for what belongs to no single one. A quantity of
        which some draws are infinite has an infinite mean and no SD; its limits are quantiles of
        all draws. Mean and SD of ratios are of their logarithms:
        `inference.estimands.ratios`.

    Raises
    ------
    InputError
        If the interval's probability is not between 0 and 1.
    """
    sample = ("chain", "draw")
    logs = of_logs(estimands["quantity"].values)
    values = estimands.transpose("estimand", *sample).values
    lower, upper = quantiles(values.reshape(len(values), -1), tails(interval), axis=1)
    quantity = estimands["quantity"].values
    ranks = rank_statistics(values)
    with np.errstate(invalid="ignore"):  # infinite draws have no SD
        sd = estimands.std(sample, ddof=1).values
    mean = estimands.mean(sample).values
    if logs.any():
        logarithms = np.log(values[logs].reshape(int(logs.sum()), -1))
        mean[logs] = np.exp(logarithms.mean(axis=1))
        sd[logs] = mean[logs] * logarithms.std(axis=1, ddof=1)
    positive = (estimands > 0).mean(sample).values
    columns = {
        "outcome": outcome,
        "quantity": quantity,
        "level": estimands["level"].values,
        "mean": mean,
        "sd": sd,
        "lower": lower,
        "upper": upper,
        "prob_positive": np.where(np.isin(quantity, SCALE_QUANTITIES), np.nan, positive),
        "ess_bulk": ranks.ess_bulk,
        "ess_tail": ranks.ess_tail,
        "r_hat": ranks.r_hat,
        "at": estimands["at"].values if "at" in estimands.coords else np.nan,
    }
    return pd.DataFrame(columns, columns=list(COLUMNS))
