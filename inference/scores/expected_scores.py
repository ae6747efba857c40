"""Expected scores averaged over the trial's patients: what families with a curved link report.

Every patient is imagined in every arm (g-computation; Robins 1986,
doi:10.1016/0270-0255(86)90088-6), with an average therapist, and expected scores are averaged over
the patients. For a Gaussian outcome the same averages are its coefficients, so that all families
answer in the same words on the outcome's own scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.levels import AVERAGE, contrast_names, slope_names
from alliance.models.design.design import Design, arm_pairs, sum_to_zero_basis

Array = NDArray[np.float64]

BLOCK_NUMBERS = 4_000_000  # draws are taken in blocks whose arrays stay near this many numbers


@dataclass(frozen=True, eq=False, slots=True)
class Response:
    """Averages over the trial's patients, for d draws and K arms, on the outcome's own scale.

    Attributes
    ----------
    expected : ndarray, shape (d, K)
        Mean expected score.
    slope : ndarray, shape (d, K)
        Mean change of the expected score for one SD of the linear predictor's scale.
    variance : ndarray, shape (d,)
        Mean variance of a score given its patient and an average therapist, over arms too.
    """

    expected: Array
    slope: Array
    variance: Array


def flat(draws: xr.Dataset, name: str) -> Array:
    """Draws of one variable with its own dims, chain after chain: shape (d, ...)."""
    values = np.asarray(draws[name].transpose("chain", "draw", ...).values)
    return values.reshape(-1, *values.shape[2:])


def auxiliary_draws(draws: xr.Dataset, design: Design) -> dict[str, Array]:
    """The family's own parameters, flat over chains: (d, 1), ordinal cutpoints (d, K - 1).

    Those that the priors fix, and no draws hold, are there too.

    Parameters
    ----------
    draws : xarray.Dataset
        Posterior, or draws of the prior.
    design : Design
    """
    names = [parameter.name for parameter in design.family.parameters if parameter.name in draws]
    found = {name: (values := flat(draws, name)).reshape(len(values), -1) for name in names}
    total = draws.sizes["chain"] * draws.sizes["draw"]
    absent = {name: value for name, value in design.fixed.items() if name not in found}
    return found | {name: np.full((total, 1), value) for name, value in absent.items()}


def coefficients(draws: xr.Dataset, design: Design) -> dict[str, Array]:
    """Draws (d,) of each coefficient by name; zero where the model has none."""
    beta = flat(draws, "beta")
    fitted = {str(name): beta[:, k] for k, name in enumerate(draws["coefficient"].values)}
    nothing = np.zeros(len(beta))
    return {name: fitted.get(name, nothing) for name in design.coefficients}


def arm_slopes(beta: dict[str, Array], arms: int) -> Array:
    """Moderator slope of each arm on the predictor's scale, shape (d, K)."""
    slope = np.repeat(beta["moderator"][:, None], arms, axis=1)
    if "interaction[1]" in beta:
        basis = sum_to_zero_basis(arms)
        parts = np.stack([beta[f"interaction[{k}]"] for k in range(1, arms)], axis=1)
        slope = slope + parts @ basis.T
    return slope


def average_response(design: Design, draws: xr.Dataset, moderator: Array | None = None) -> Response:
    """Average expected scores, their slopes and variances over the trial's patients.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
        Posterior of the outcome; where the alliance is latent, with ``moderator_latent``.
    moderator : ndarray, shape (1, 1), (1, n) or (d, n), optional
        Standardised alliance that the patients are imagined with; their own by default.

    Returns
    -------
    Response
    """
    beta = coefficients(draws, design)
    auxiliary = auxiliary_draws(draws, design)
    arms, family, scale = len(design.arms), design.family, design.scale
    basis = sum_to_zero_basis(arms)
    kept = design.encoding.places("intercept", "baseline", "covariate")
    common = np.stack([beta[design.coefficients[k]] for k in kept], axis=1)
    arm_parts = np.stack([beta[f"arm[{k}]"] for k in range(1, arms)], axis=1) @ basis.T
    slopes = arm_slopes(beta, arms)
    if moderator is None:
        moderator = patient_moderator(design, draws)
    weights = design.count / design.count.sum()
    total, patients = len(common), len(design.y)
    expected, slope = np.empty((total, arms)), np.empty((total, arms))
    variance = np.zeros(total)
    block = max(1, BLOCK_NUMBERS // (patients * max(1, scale.top)))
    for start in range(0, total, block):
        some = slice(start, start + block)
        aux = {name: values[some] for name, values in auxiliary.items()}
        rows = common[some] @ design.X[:, kept].T
        value = moderator if moderator.shape[0] == 1 else moderator[some]
        for arm in range(arms):
            predictor = rows + arm_parts[some, arm, None] + slopes[some, arm, None] * value
            eta = scale.link_location + scale.link_unit * predictor
            expected[some, arm] = family.expected(eta, aux, scale) @ weights
            slope[some, arm] = scale.link_unit * (family.slope(eta, aux, scale) @ weights)
            variance[some] += family.variance(eta, aux, scale) @ weights / arms
    return Response(
        expected=scale.offset + scale.unit * expected,
        slope=scale.unit * slope,
        variance=scale.unit**2 * variance,
    )


def patient_moderator(design: Design, draws: xr.Dataset) -> Array:
    """The patients' standardised alliance: (1, n) where observed, (d, n) where latent."""
    value = design.X[None, :, design.coefficients.index("moderator")]
    if "moderator_latent" in draws:
        latent = flat(draws, "moderator_latent")
        value = np.repeat(value, len(latent), axis=0)
        value[:, draws["latent_patient"].values] = latent
    return value


def response_estimands(
    design: Design, draws: xr.Dataset, response: Response, moderator_unit: float
) -> dict[tuple[str, str], Array]:
    """Reported quantities of a family with a curved link.

    Parameters
    ----------
    design : Design
    draws : xarray.Dataset
    response : Response
    moderator_unit : float
        SD of the moderator for slopes per point, 1 for slopes per SD.

    Returns
    -------
    dict of (quantity, level) to ndarray, shape (d,)
        As in `inference.estimands.estimands.linear_estimands`; slopes are average derivatives of
        the expected score.
    """
    beta, arms = coefficients(draws, design), design.arms
    names = contrast_names(arms)
    levels = [(names[k, j], k, j) for k, j in arm_pairs(len(arms))]
    slopes = response.slope * arm_slopes(beta, len(arms)) / moderator_unit
    overall = response.slope.mean(axis=1)
    interaction = "interaction[1]" in design.coefficients
    found = {("intercept", ""): response.expected.mean(axis=1)}
    if design.has_baseline:
        found["baseline_slope", ""] = overall * beta["baseline"] / design.scaling.baseline[1]
    found["moderator_slope", AVERAGE] = slopes.mean(axis=1)
    if interaction:
        own = slope_names(arms)
        found |= {("moderator_slope", name): slopes[:, k] for k, name in enumerate(own)}
    for level, later, earlier in levels:
        found["arm_contrast", level] = response.expected[:, later] - response.expected[:, earlier]
    if interaction:
        for level, later, earlier in levels:
            found["interaction", level] = slopes[:, later] - slopes[:, earlier]
    columns = design.encoding.places("covariate")
    for k, name, unit in design.encoding.seen_columns:
        slope = beta[design.coefficients[columns[k]]]
        found["covariate_slope", name] = overall * slope / unit
    return found
