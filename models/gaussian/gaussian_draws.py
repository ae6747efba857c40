"""What follows from draws of the exact Gaussian model by arithmetic alone, without compiling.

The exact Gaussian model with its coefficients integrated out as well, in NumPy.

Given the SDs, outcome, coefficients and therapist effects are jointly normal. With V the outcome's
covariance once therapist effects are out (`models.gaussian.marginal`), S the coefficients' prior
covariance P = S^-1 + X'V^-1 X and b = X'V^-1 y,

    log p(y | SDs) = -1/2 (n log 2 pi + log|V| + log|S| + log|P| + y'V^-1 y - b'P^-1 b),

and the coefficients are normal with mean P^-1 b and covariance P^-1 (Lindley & Smith 1972,
doi:10.1111/j.2517-6161.1972.tb00885.x). Three or four SDs and a correlation are all that is left to
sample. Only cross-products enter, for many values of the SDs at once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.models.design.design import Design
from alliance.models.design.ratings import change_of_columns, moved_products, taken_apart
from alliance.models.gaussian.clinic_draws import eliminated
from alliance.models.gaussian.marginal import (
    LOG_2_PI,
    Elements,
    TherapistTerms,
    covariance_factor,
    effects_given,
    explained_products,
    is_zero,
    scaled,
    therapist_terms,
    with_independent,
)

Array = NDArray[np.float64]

# Therapist effects are drawn in blocks of draws whose arrays stay near this many numbers (32 MB).
BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True)
class GaussianDraws:
    """Draws of a Gaussian model's parameters on the standardised scale.

    Attributes
    ----------
    beta : ndarray, shape (d, p)
    residual_sd : ndarray, shape (d,), or (d, G) where there are G > 1 residual groups
    therapist_sd, therapist_slope_sd, therapist_correlation, therapist_arm_sd : (d,), or None
        None where the model has no such effect.
    clinic_sd, clinic_slope_sd, clinic_correlation : ndarray, shape (d,), or None
    moderator_slope_between : ndarray, shape (d,), or None
        Where the alliance is taken apart: see `models.design.ratings`.
    moderator_interaction_between : ndarray, shape (d, K - 1), or None
    moderator_therapist_mean : ndarray, shape (d, J), or None
        The therapists' true mean alliance.
    """

    beta: Array
    residual_sd: Array
    therapist_sd: Array | None = None
    therapist_slope_sd: Array | None = None
    therapist_correlation: Array | None = None
    therapist_arm_sd: Array | None = None
    moderator_slope_between: Array | None = None
    moderator_interaction_between: Array | None = None
    moderator_therapist_mean: Array | None = None
    clinic_sd: Array | None = None
    clinic_slope_sd: Array | None = None
    clinic_correlation: Array | None = None

    @property
    def unit(self) -> Array:
        """Residual SD of the first group, shape (d,): what others are relative to."""
        return self.residual_sd if self.residual_sd.ndim == 1 else self.residual_sd[:, 0]

    @property
    def shares(self) -> Array:
        """Residual variance of the first group over that of each, shape (d, G)."""
        return np.asarray((self.unit[:, None] / self.residual_sd) ** 2)

    @property
    def between_slopes(self) -> Array:
        """Of the part between therapists, (d, 1 or K), as `within_between` orders them."""
        slope = np.asarray(self.moderator_slope_between)[:, None]
        if self.moderator_interaction_between is None:
            return slope
        return np.hstack([slope, self.moderator_interaction_between])

    def factor(self, effects: int) -> list[list[Array]]:
        """Elements (d, 1) of the lower Cholesky factor of the covariance of so many effects."""
        if self.therapist_sd is None:
            return []
        factor = [[self.therapist_sd[:, None]]]
        if self.therapist_slope_sd is not None:
            slope = self.therapist_slope_sd[:, None]
            correlation = np.zeros_like(slope)  # where the model has none
            if self.therapist_correlation is not None:
                correlation = self.therapist_correlation[:, None]
            factor = covariance_factor(factor[0][0], slope, correlation, np.sqrt)
        if self.therapist_arm_sd is not None:
            arms = effects - len(factor)
            factor = with_independent(factor, self.therapist_arm_sd[:, None], arms)
        return factor

    def clinic_factor(self) -> list[list[Array]]:
        """Elements (d,) of the lower Cholesky factor of the covariance of clinics' effects."""
        if self.clinic_sd is None:
            return []
        if self.clinic_slope_sd is None:
            return [[self.clinic_sd]]
        correlation = np.zeros_like(self.clinic_slope_sd)  # where the model has none
        if self.clinic_correlation is not None:
            correlation = self.clinic_correlation
        return covariance_factor(self.clinic_sd, self.clinic_slope_sd, correlation, np.sqrt)

    def block(self, some: slice) -> GaussianDraws:
        """A part of the draws."""
        parts: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            parts[field.name] = None if values is None else values[some]
        return GaussianDraws(**parts)


def _products(design: Design, draws: GaussianDraws) -> Array:
    """Cross-products within therapists, (J, P, P), or (d, J, P, P) where draws change them."""
    products = design.moments.cross_products
    if draws.residual_sd.ndim > 1:  # each group's in units of the first one's residual SD
        groups = np.stack([each.cross_products for each in design.group_moments])
        return np.einsum("dg,gjpq->djpq", draws.shares, groups)
    if not taken_apart(design):
        return products
    slopes = [slope[:, None, None, None] for slope in draws.between_slopes.T]
    means = np.asarray(draws.moderator_therapist_mean)
    return np.asarray(moved_products(products, means, change_of_columns(design, slopes)))


def _integrate(
    design: Design, draws: GaussianDraws, products: Array
) -> tuple[TherapistTerms, list[list[Array]]]:
    """The therapists' part of the likelihood, and the lower factor of their effects."""
    columns = design.effect_columns
    q = range(len(columns))
    rows = products[..., : len(design.therapists), columns, :]
    if products.ndim == 3:
        Ztr = [rows[:, a, -1] - draws.beta @ rows[:, a, :-1].T for a in q]
    else:
        Ztr = [rows[..., a, -1] - np.einsum("djp,dp->dj", rows[..., a, :-1], draws.beta) for a in q]
    L = draws.factor(len(columns))
    terms = therapist_terms(
        ZtZ=[[rows[..., a, column] for column in columns] for a in q],
        Ztr=Ztr,
        G=scaled(L, draws.unit[:, None]),
    )
    return terms, L


def _blocks(design: Design, draws: GaussianDraws) -> list[slice]:
    """Blocks of draws whose arrays stay near so many numbers."""
    therapists, total = len(design.therapists), len(draws.residual_sd)
    numbers = max(1, len(design.effects))
    if design.clinic_effects:
        cells = len(design.therapists) + len(design.clinics)
        width = len(design.effects) + len(design.clinic_effects) + len(design.coefficients) + 1
        step = max(1, BLOCK_NUMBERS // (4 * cells * width * (1 + len(design.effects))))
        return [slice(start, start + step) for start in range(0, total, step)]
    if taken_apart(design) or draws.residual_sd.ndim > 1:
        numbers = 4 * (len(design.coefficients) + 1) ** 2  # the products, and what they are made of
    step = max(1, BLOCK_NUMBERS // (max(1, therapists) * numbers))
    return [slice(start, start + step) for start in range(0, total, step)]


def therapist_log_likelihood(design: Design, draws: GaussianDraws) -> Array:
    """Log likelihood of each therapist's patients together, the therapist's effects integrated out.

    Parameters
    ----------
    design : Design
        J therapists.
    draws : GaussianDraws
        d draws.

    Returns
    -------
    ndarray, shape (d, J), or (d, J + 1)
        Sums over therapists to the exact log likelihood; zero for a therapist without patients. The
        last is of patients without therapists, where an arm has none.
        Where the alliance is taken apart, given each draw's true means of the therapists.
    """
    if not taken_apart(design) and draws.residual_sd.ndim == 1:
        return _log_likelihood(design, draws)
    blocks = _blocks(design, draws)
    return np.concatenate([_log_likelihood(design, draws.block(some)) for some in blocks])


def _log_likelihood(design: Design, draws: GaussianDraws) -> Array:
    moments, beta = design.moments, draws.beta
    products = _products(design, draws)
    XtX, Xty, yty = products[..., :-1, :-1], products[..., :-1, -1], products[..., -1, -1]
    if products.ndim == 3:
        linear = beta @ Xty.T
        quadratic = np.einsum("dp,jpq,dq->dj", beta, XtX, beta, optimize=True)
    else:
        linear = np.einsum("dp,djp->dj", beta, Xty)
        quadratic = np.einsum("djp,dp->dj", np.einsum("djpq,dq->djp", XtX, beta), beta)
    squares = yty - 2 * linear + quadratic
    variance = draws.unit[:, None] ** 2
    log_density = -0.5 * moments.count * np.log(2 * np.pi * variance)
    if draws.residual_sd.ndim > 1:
        counts = np.stack([each.count for each in design.group_moments])
        log_density = log_density + 0.5 * np.log(draws.shares) @ counts
    if design.effects:
        terms, _ = _integrate(design, draws, products)
        known = slice(len(design.therapists))
        squares[:, known] -= terms.explained
        log_density[:, known] -= 0.5 * terms.log_determinant
    return np.asarray(log_density - 0.5 * squares / variance)


def marginal_log_likelihood(design: Design, draws: GaussianDraws) -> Array:
    """Log likelihood of all patients, effects of therapists and of clinics integrated out.

    Parameters
    ----------
    design : Design
        With clinics' effects.
    draws : GaussianDraws
        d draws.

    Returns
    -------
    ndarray, shape (d,)
    """
    blocks = _blocks(design, draws)
    return np.concatenate([_marginal(design, draws.block(some)) for some in blocks])


def _marginal(design: Design, draws: GaussianDraws) -> Array:
    total = len(draws.residual_sd)
    residual = np.column_stack([-draws.beta, np.ones(total)])
    shares = _shares(draws)
    totals = np.stack([each.cross_products.sum(axis=0) for each in design.group_moments])
    count = np.array([each.n for each in design.group_moments])
    products = np.einsum("dg,gpq->dpq", shares, totals)
    squares = np.einsum("dp,dpq,dq->d", residual, products, residual, optimize=True)
    determinant = count.sum() * np.log(2 * np.pi * draws.unit**2) - np.log(shares) @ count
    for part in eliminated(design, _level_factors(design, draws), draws.unit, shares, residual):
        determinant = determinant + part.log_determinant
        squares = squares - part.explained
    return -0.5 * (determinant + squares / draws.unit**2)


def _shares(draws: GaussianDraws) -> Array:
    """Residual variance of the first group over that of each, shape (d, G), of any G."""
    if draws.residual_sd.ndim == 1:
        return np.ones((len(draws.residual_sd), 1))
    return draws.shares


def _level_factors(design: Design, draws: GaussianDraws) -> tuple[Elements, Elements]:
    """Lower factors of both covariances, elements (d, 1)."""
    above = [[each if is_zero(each) else each[:, None] for each in row]
             for row in draws.clinic_factor()]  # fmt: skip
    return draws.factor(len(design.effects)), above


@dataclass(frozen=True, slots=True)
class TherapistDraws:
    """Therapists' effects on the standardised scale.

    Attributes
    ----------
    effect : ndarray, shape (d, J, q)
        In the order of the design's effects.
    moderator_mean : ndarray, shape (d, J), or None
        The therapists' true mean alliance; None unless it is taken apart.
    clinic_effect : ndarray, shape (d, K, k), or None
        Of clinics, in the order of the design's clinic effects.
    """

    effect: Array
    moderator_mean: Array | None
    clinic_effect: Array | None = None


def draw_therapist_effects(
    design: Design, draws: GaussianDraws, generator: np.random.Generator
) -> TherapistDraws:
    """Draw every therapist's effects given the other parameters.

    Parameters
    ----------
    design : Design
        J therapists, q effects.
    draws : GaussianDraws
        d draws.
    generator : numpy.random.Generator

    Returns
    -------
    TherapistDraws
        Normal with mean ``L M_j^-1 w_j / sigma^2`` and covariance ``L M_j^-1 L'`` (see
        `models.gaussian.marginal`). A therapist without patients is drawn from the population.
    """
    total, therapists = len(draws.residual_sd), len(design.therapists)
    effects = np.empty((total, therapists, len(design.effects)))
    if design.clinic_effects:
        of_clinics = np.empty((total, len(design.clinics), len(design.clinic_effects)))
        for some in _blocks(design, draws):
            effects[some], of_clinics[some] = _level_effects(design, draws.block(some), generator)
        return TherapistDraws(effects, None, of_clinics)
    if design.effects:
        for some in _blocks(design, draws):
            part = draws.block(some)
            terms, L = _integrate(design, part, _products(design, part))
            effects[some] = effects_given(terms, L, part.unit[:, None], generator)
    return TherapistDraws(effects, draws.moderator_therapist_mean)


def _level_effects(
    design: Design, draws: GaussianDraws, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Draw effects of therapists, (d, J, q), and of clinics, (d, K, k), given the rest."""
    total = len(draws.residual_sd)
    residual = np.column_stack([-draws.beta, np.ones(total)])
    effect = np.empty((total, len(design.therapists), len(design.effects)))
    of_clinic = np.empty((total, len(design.clinics), len(design.clinic_effects)))
    factors = _level_factors(design, draws)
    for part in eliminated(design, factors, draws.unit, _shares(draws), residual):
        own, above = part.draw(generator)
        effect[:, part.therapists], of_clinic[:, part.clinics] = own, above
    return effect, of_clinic


CACHE_NUMBERS = 500_000  # of draws x therapists x effects^2: what the processor's caches hold
DIGITS = 1e-13  # least over largest eigenvalue of a precision that double numbers can hold


@dataclass(frozen=True, slots=True)
class Collapsed:
    """What d values of the SDs leave to know.

    Attributes
    ----------
    log_likelihood : ndarray, shape (d,)
        Coefficients and therapist effects integrated out; minus infinity where therapist SDs are
        so many residual SDs that no digit is left.
    mean : ndarray, shape (d, p)
        Of the coefficients that are present, given the SDs.
    factor : ndarray, shape (d, p, p)
        Lower Cholesky factor of their precision.
    """

    log_likelihood: Array
    mean: Array
    factor: Array

    def draw(self, generator: np.random.Generator) -> Array:
        """One draw of the coefficients for each value of the SDs, shape (d, p)."""
        noise = generator.standard_normal(self.mean.shape)[..., None]
        return np.asarray(self.mean + np.linalg.solve(self.factor.mT, noise)[..., 0])

    def take(self, chosen: NDArray[np.int64]) -> Collapsed:
        """The same for some of the values, in any order."""
        return Collapsed(self.log_likelihood[chosen], self.mean[chosen], self.factor[chosen])


def collapse(design: Design, spreads: GaussianDraws, prior_sd: Array) -> Collapsed:
    """Integrate coefficients and therapist effects out at each value of the SDs.

    Parameters
    ----------
    design : Design
        Exact and with the moderator in one piece; p coefficients are present.
    spreads : GaussianDraws
        d values; its coefficients are not used.
    prior_sd : ndarray
        Of every coefficient of the design, as of `models.design.design.Design.prior_sd`.

    Returns
    -------
    Collapsed
    """
    size = max(1, len(design.effects) + len(design.clinic_effects))
    numbers = (len(design.therapists) + len(design.clinics)) * size**2
    if design.clinic_effects:
        numbers *= len(design.coefficients) + 1
    if design.nesting.with_therapists > 1:
        numbers *= len(design.coefficients) + 1
    block = max(1, CACHE_NUMBERS // max(1, numbers))
    starts = range(0, len(spreads.residual_sd), block)

    def part(start: int) -> Collapsed:
        return _collapse(design, spreads.block(slice(start, start + block)), prior_sd)

    # Blocks are the same on any number of cores, and so are their last bits
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(part, starts)) if len(starts) > 1 else [part(0)]
    return Collapsed(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("log_likelihood", "mean", "factor")
        )
    )


@dataclass(frozen=True, slots=True)
class Integrated:
    """Cross-products in the outcome's precision, the therapist effects integrated out.

    Attributes
    ----------
    products : ndarray, shape (d, p + 1, p + 1)
        ``[X, y]' V^-1 [X, y]`` of the p coefficients that are present.
    log_scale : ndarray, shape (d,)
        ``n log 2 pi + log|V|``.
    """

    products: Array
    log_scale: Array


def integrate(design: Design, spreads: GaussianDraws) -> Integrated:
    """Integrate therapist effects out at each value of the SDs; coefficients stay.

    Parameters
    ----------
    design : Design
        Exact and with the moderator in one piece.
    spreads : GaussianDraws
        d values; its coefficients are not used.
    """
    kept = [*design.present, len(design.coefficients)]  # and the outcome
    groups = [each.cross_products[:, :, kept] for each in design.group_moments]
    counts = np.array([each.n for each in design.group_moments])
    variance = spreads.unit[:, None, None] ** 2
    log_determinant = np.zeros(len(variance))
    if len(groups) == 1:
        shape = (len(variance), len(kept), len(kept))
        products = np.broadcast_to(groups[0][:, kept].sum(axis=0), shape)
    else:
        totals = np.stack([each[:, kept].sum(axis=0) for each in groups])
        products = np.einsum("dg,gpq->dpq", spreads.shares, totals)
        log_determinant = -np.log(spreads.shares) @ counts
    if design.clinic_effects:
        factors = _level_factors(design, spreads)
        for part in eliminated(design, factors, spreads.unit, _shares(spreads), None):
            products = products - part.explained[:, kept][:, :, kept]
            log_determinant = log_determinant + part.log_determinant
    elif columns := design.effect_columns:
        own = groups[: design.nesting.with_therapists]
        varying = [each[: len(design.therapists), columns] for each in own]
        ZtW = varying[0]
        if len(varying) > 1:
            ZtW = np.einsum("dg,gjqp->djqp", spreads.shares[:, : len(own)], np.stack(varying))
        terms, G = _therapists(design, spreads)
        products = products - explained_products(terms, G, ZtW)
        log_determinant = log_determinant + terms.log_determinant.sum(axis=-1)
    n = int(counts.sum())
    log_scale = n * (LOG_2_PI + np.log(variance[:, 0, 0])) + log_determinant
    return Integrated(products / variance, log_scale)


def _collapse(design: Design, spreads: GaussianDraws, prior_sd: Array) -> Collapsed:
    whole = integrate(design, spreads)
    products = whole.products
    p = products.shape[-1] - 1
    scale = prior_sd[design.present]
    factor, lost = cholesky(products[:, :p, :p] + np.diag(scale**-2.0))
    half = np.linalg.solve(factor, products[:, :p, p:])
    mean = np.linalg.solve(factor.mT, half)[..., 0]
    log_likelihood = -0.5 * (whole.log_scale + products[:, p, p] - (half[..., 0] ** 2).sum(axis=1))
    log_likelihood -= np.log(scale).sum()
    log_likelihood -= np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    return Collapsed(np.where(lost, -np.inf, log_likelihood), mean, factor)


def cholesky(matrices: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Lower factors, and which matrices rounding has left without one.

    Therapist SDs of a million residual SDs explain all but the last digits of a sum of squares.
    No posterior is there, and a search for its mode may step there.
    """
    try:
        return np.linalg.cholesky(matrices), np.zeros(len(matrices), dtype=bool)
    except np.linalg.LinAlgError:
        finite = np.isfinite(matrices).all(axis=(1, 2))
        whole = np.where(finite[:, None, None], matrices, 0.0)
        values = np.linalg.eigvalsh(whole)
        lost = values[:, 0] <= DIGITS * np.abs(values[:, -1])
        kept = np.where(lost[:, None, None], np.eye(matrices.shape[-1]), whole)
        return np.linalg.cholesky(kept), lost


def _therapists(design: Design, spreads: GaussianDraws) -> tuple[TherapistTerms, list[list[Array]]]:
    """Factors of every therapist's matrix M_j, and the effects' factor over the residual SD."""
    columns, known = design.effect_columns, len(design.therapists)
    own = design.group_moments[: design.nesting.with_therapists]
    ZtZ = own[0].ZtZ(columns)[:known]
    if len(own) > 1:
        parts = np.stack([each.ZtZ(columns)[:known] for each in own])
        ZtZ = np.einsum("dg,gjab->djab", spreads.shares[:, : len(own)], parts)
    span = range(len(columns))
    G = scaled(spreads.factor(len(design.effects)), spreads.unit[:, None])
    nothing = np.zeros(known)
    terms = therapist_terms(
        ZtZ=[[ZtZ[..., a, b] for b in span] for a in span], Ztr=[nothing for _ in span], G=G
    )
    return terms, G
