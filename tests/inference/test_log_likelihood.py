"""Pointwise likelihoods: against scipy's densities, dense normals and integrals by brute force."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import xarray as xr
from effect_fits import PAIRS, continuous_law, draw_of, fit_of, score_chances
from example_families import OPTIONS, family_design, family_patients
from numpy.typing import NDArray
from prediction_examples import example_fit, one_predictor, therapist_posterior
from scipy import integrate, special, stats

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import gaussian_draws
from alliance.inference.pointwise import log_likelihood as integrated_likelihood
from alliance.inference.pointwise.log_likelihood import (
    patient_log_likelihood,
    therapist_log_likelihood,
)
from alliance.inference.posterior import Posterior, Rows
from alliance.models.design.design import Design

Array = NDArray[np.float64]
NUMBER = 5  # of eight draws, one of the second chain


def log_density(
    design: Design, draw: xr.Dataset, predictor: float | Array, position: int
) -> float | Array:
    """Of one patient's outcome on its own scale, by scipy."""
    if design.family.discrete:
        return np.log(score_chances(design, draw, predictor)[..., int(design.y[position])])
    score = design.scale.offset + design.scale.unit * design.y[position]
    law, *parameters = continuous_law(design, draw, predictor)
    return law.logpdf(score, *parameters)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
def test_patients_have_the_density_that_scipy_gives_them(outcome: str, family: str) -> None:
    fit = fit_of(outcome, family=family)
    design, draw = fit.design(outcome), draw_of(fit, outcome, NUMBER)
    rows = fit[outcome].rows
    found = patient_log_likelihood(fit[outcome])
    assert found.dims == ("chain", "draw", "patient")
    wanted = [
        log_density(
            design,
            draw,
            one_predictor(design, draw, rows, k, design.therapists[design.therapist_index[k]]),
            k,
        )
        for k in range(len(rows))
    ]
    np.testing.assert_allclose(found.values[divmod(NUMBER, 4)], wanted, rtol=1e-10)


def rows_of(design: Design, family: str) -> Rows:
    """The patients of `family_design`, on their own scales."""
    patients = family_patients(family)
    if design.moderator.missing == "complete_case":
        rated = np.flatnonzero(np.isfinite(patients["moderator"].values))
        patients = patients.isel(patient=rated)
    return Rows(
        patients["arm_index"].values,
        patients["moderator"].values,
        patients["baseline"].values,
        patients["covariates"].values,
    )


def flat_draw(draws: xr.Dataset, number: int) -> xr.Dataset:
    chain, draw = divmod(number, draws.sizes["draw"])
    return draws.isel(chain=chain, draw=draw)


def at_own_alliance(design: Design, draw: xr.Dataset, rows: Rows) -> Rows:
    """The rows with the alliance of one draw, where it is a parameter."""
    moderator = rows.moderator.copy()
    if design.moderator.latent:
        centre, unit = design.scaling.moderator
        moderator[draw["latent_patient"].values] = centre + unit * draw["moderator_latent"].values
    return replace(rows, moderator=moderator)


@pytest.mark.parametrize("option", OPTIONS)
def test_latent_alliance_and_true_means_are_those_of_the_draw(option: str) -> None:
    design = family_design("student_t", option, therapist_by_arm=True)
    draws, rows = therapist_posterior(design), rows_of(design, "student_t")
    draw = flat_draw(draws, NUMBER)
    there = at_own_alliance(design, draw, rows)
    found = patient_log_likelihood(Posterior(design, draws)).values[divmod(NUMBER, 4)]
    for k in range(0, len(rows), 7):
        therapist = design.therapists[design.therapist_index[k]]
        predictor = one_predictor(design, draw, there, k, therapist)
        assert found[k] == pytest.approx(log_density(design, draw, predictor, k), rel=1e-10)


def covariance(design: Design, draw: xr.Dataset) -> Array:
    """Of a therapist's effects, entry by entry."""
    found = np.zeros((len(design.effects), len(design.effects)))
    for k, name in enumerate(design.effects):
        sd = {"intercept": "therapist_sd", "slope": "therapist_slope_sd"}
        found[k, k] = float(draw[sd.get(name, "therapist_arm_sd")]) ** 2
    if "slope" in design.effects:
        together = float(draw["therapist_correlation"]) * np.sqrt(found[0, 0] * found[1, 1])
        found[0, 1] = found[1, 0] = together
    return found


# All but those whose true means are integrated out given the ratings, which has its own test below.
GIVEN_THE_DRAW = [name for name in OPTIONS if name not in ("within_between", "between by arm")]


def without_effects(
    design: Design, draw: xr.Dataset, rows: Rows, patients: NDArray[np.int64] | None = None
) -> Array:
    """Predictors with an average therapist, whose true mean alliance is still his own."""
    still = draw.assign(therapist_effect=0 * draw["therapist_effect"]) if design.effects else draw
    return np.array(
        [
            one_predictor(design, still, rows, k, design.therapists[design.therapist_index[k]])
            for k in (range(len(rows)) if patients is None else patients)
        ]
    )


def multipliers(design: Design, draw: xr.Dataset, rows: Rows) -> Array:
    """What the patients multiply their therapist's effects by, (n, q)."""
    centre, unit = design.scaling.moderator
    alliance = (rows.moderator - centre) / unit
    if "moderator_slope_between" in draw:
        alliance = alliance - draw["moderator_therapist_mean"].values[design.therapist_index]
    columns = {"slope": alliance}
    return np.column_stack(
        [
            columns.get(name, design.X[:, column])
            for name, column in zip(design.effects, design.effect_columns, strict=True)
        ]
    )


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("therapist", ["intercept", "intercept+slope"])
@pytest.mark.parametrize("option", GIVEN_THE_DRAW)
def test_gaussian_therapists_have_the_density_of_a_dense_normal(
    option: str, therapist: str, by_arm: bool
) -> None:
    design = family_design("gaussian", option, therapist, therapist_by_arm=by_arm)
    draws, rows = therapist_posterior(design), rows_of(design, "gaussian")
    draw = flat_draw(draws, NUMBER)
    there = at_own_alliance(design, draw, rows)
    centre, Z, S = (
        without_effects(design, draw, there),
        multipliers(design, draw, there),
        covariance(design, draw),
    )
    found = therapist_log_likelihood(Posterior(design, draws))
    assert found.dims == ("chain", "draw", "therapist")
    mean, unit = design.scaling.outcome
    for j, name in enumerate(design.therapists):
        own = design.therapist_index == j
        spread = Z[own] @ S @ Z[own].T + float(draw["residual_sd"]) ** 2 * np.eye(own.sum())
        scores = mean + unit * design.y[own]
        wanted = (
            stats.multivariate_normal(mean + unit * centre[own], unit**2 * spread).logpdf(scores)
            if own.any()
            else 0.0
        )
        value = found.sel(therapist=name).values[divmod(NUMBER, 4)]
        assert value == pytest.approx(wanted, rel=1e-10)


def of_true_means(design: Design, draw: xr.Dataset, own: NDArray) -> tuple[float, float]:
    """Mean and SD of a therapist's true mean given the ratings of these patients."""
    own_columns = ("moderator", "interaction")
    names = [name for name in design.coefficients if name.split("[")[0] not in own_columns]
    columns = design.X[:, [design.coefficients.index(name) for name in names]]
    gamma = draw["moderator_coefficient"].values
    between, within = (
        float(draw[f"moderator_{kind}_sd"]) ** 2 for kind in ("therapist", "residual")
    )
    rating = design.X[own, design.coefficients.index("moderator")]
    variance = 1 / (1 / between + own.sum() / within)
    mean = variance * (rating - columns[own] @ gamma).sum() / within
    of_arms = [name == "intercept" or name.startswith("arm[") for name in names]
    mean += (columns[own] * of_arms).mean(axis=0) @ gamma
    return float(mean), float(np.sqrt(variance))


@pytest.mark.parametrize("option", ["within_between", "between by arm"])
@pytest.mark.parametrize("therapist", ["none", "intercept", "intercept+slope"])
def test_exact_within_between_has_true_means_integrated_out(option: str, therapist: str) -> None:
    """Outcomes given ratings: a dense normal without therapist slopes, an integral with them."""
    design = family_design("gaussian", option, therapist)
    draws, rows = therapist_posterior(design), rows_of(design, "gaussian")
    draw = flat_draw(draws, NUMBER)
    found = therapist_log_likelihood(Posterior(design, draws)).values[divmod(NUMBER, 4)]
    unit, S = design.scaling.outcome[1], covariance(design, draw)

    def normal(own: NDArray, alliance: float) -> tuple[NDArray, NDArray]:
        means = xr.full_like(draw["moderator_therapist_mean"], alliance)
        there = draw.assign(moderator_therapist_mean=means)
        Z = multipliers(design, there, rows)[own] if design.effects else np.zeros((own.sum(), 0))
        spread = Z @ S @ Z.T + float(draw["residual_sd"]) ** 2 * np.eye(own.sum())
        return without_effects(design, there, rows, np.flatnonzero(own)), spread

    for j in np.unique(design.therapist_index)[: 1 if "slope" in therapist else None]:
        own = design.therapist_index == j
        mean, sd = of_true_means(design, draw, own)
        centre, spread = normal(own, mean)
        if therapist == "intercept+slope":

            def density(z: float, own: NDArray = own, mean: float = mean, sd: float = sd) -> float:
                there, spread = normal(own, mean + sd * z)
                log = stats.multivariate_normal(there, spread).logpdf(design.y[own])
                return float(np.exp(log + own.sum()) * stats.norm.pdf(z))

            share, _ = integrate.quad(density, -7, 7, limit=60, epsrel=1e-7)
            wanted = np.log(share) - own.sum()
        else:
            slope = normal(own, mean + 1)[0] - centre
            whole = spread + sd**2 * np.outer(slope, slope)
            wanted = stats.multivariate_normal(centre, whole).logpdf(design.y[own])
        # 21 nodes, placed by the ratings: the outcomes of these draws are far from their means
        assert found[j] == pytest.approx(wanted - own.sum() * np.log(unit), abs=2e-3)


@pytest.mark.parametrize("family", ["student_t", "ordinal", "beta_binomial"])
def test_one_effect_is_integrated_as_on_a_fine_grid(family: str) -> None:
    design = family_design(family, "total", "intercept")
    draws, rows = therapist_posterior(design), rows_of(design, family)
    draw = flat_draw(draws, NUMBER)
    found = therapist_log_likelihood(Posterior(design, draws)).values[divmod(NUMBER, 4)]
    centre, sd = without_effects(design, draw, rows), float(draw["therapist_sd"])
    for j in (0, 3):  # with one patient and with many
        own = np.flatnonzero(design.therapist_index == j)
        # Smooth and zero at both ends: the trapezoid rule is as exact as double precision
        z = np.linspace(-8, 8, 1601)
        total = sum(log_density(design, draw, centre[k] + sd * z, k) for k in own)
        share = np.trapezoid(np.exp(total - found[j]) * stats.norm.pdf(z), z)
        assert np.log(share) == pytest.approx(0.0, abs=1e-6)  # relative to what was found


@pytest.mark.parametrize(("therapist", "by_arm"), [("intercept+slope", False), ("intercept", True)])
@pytest.mark.parametrize("family", ["student_t", "ordinal", "beta_binomial"])
def test_several_effects_are_integrated_as_with_many_more_nodes(
    family: str, therapist: str, by_arm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = family_design(family, "total", therapist, therapist_by_arm=by_arm)
    draws = therapist_posterior(design)
    found = therapist_log_likelihood(Posterior(design, draws))
    many = {2: 41, 3: 21}
    monkeypatch.setattr(integrated_likelihood, "NODES", many)
    wanted = therapist_log_likelihood(Posterior(design, draws))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def test_quadrature_of_a_gaussian_is_its_closed_form() -> None:
    random = np.random.default_rng(2)
    therapist = random.integers(0, 4, 30)
    y, centre = random.normal(size=30), 0.3 * random.normal(size=(6, 30))
    Z = [np.ones((1, 30)), random.normal(size=(6, 30))]
    factor = np.array([[[0.6, 0.0], [0.2, 0.5]]] * 6)
    sd = 0.5 + random.random((6, 1))

    def of_rows(order):
        return lambda predictor: stats.norm.logpdf(y[order], predictor, sd)

    found = integrated_likelihood.quadrature_integrated(of_rows, centre, Z, factor, therapist, 5)
    wanted = integrated_likelihood.gaussian_integrated(y - centre, Z, factor, sd, therapist, 5)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert (found[:, 4] == 0).all()  # nobody's therapist


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fit_of("function", family="beta_binomial")
    whole = patient_log_likelihood(fit["function"]), therapist_log_likelihood(fit["function"])
    monkeypatch.setattr("alliance.inference.draws.summaries.BLOCK_NUMBERS", 1)
    monkeypatch.setattr("alliance.inference.pointwise.log_likelihood.QUADRATURE_NUMBERS", 1)
    parts = patient_log_likelihood(fit["function"]), therapist_log_likelihood(fit["function"])
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_without_effects_a_therapist_is_the_sum_of_the_patients() -> None:
    for outcome, family in PAIRS:
        fit = fit_of(outcome, family=family, therapist="none")
        design = fit.design(outcome)
        patients = patient_log_likelihood(fit[outcome])
        found = therapist_log_likelihood(fit[outcome])
        for j, name in enumerate(design.therapists):
            own = patients.isel(patient=np.flatnonzero(design.therapist_index == j))
            np.testing.assert_allclose(found.sel(therapist=name), own.sum("patient"), rtol=1e-10)


def test_what_is_refused() -> None:
    fit = fit_of("function")
    with pytest.raises(InputError, match="no outcome 'functoin'"):
        patient_log_likelihood(fit["functoin"])
    with pytest.raises(InputError, match="joint model"):
        therapist_log_likelihood(replace(fit, shared=xr.DataTree())["function"])


def test_every_chance_of_a_bounded_score_is_counted() -> None:
    fit = example_fit("native")
    design = fit.design("gpe")
    rows = fit["gpe"].rows
    total = [
        patient_log_likelihood(
            replace(fit["gpe"], design=replace(design, y=np.full(len(rows), float(k))))
        ).values
        for k in range(design.scale.top + 1)
    ]
    np.testing.assert_allclose(special.logsumexp(total, axis=0), 0, atol=1e-10)


def test_gaussian_draws_have_every_field() -> None:
    # A field that `gaussian_draws` does not read would silently drop out of the likelihood
    design = family_design("gaussian", "between by arm", therapist_by_arm=True)
    flat = gaussian_draws(therapist_posterior(design), design)
    # Those of clinics, which do not go with this model, are in `test_clinics_in_answers`
    names = [field.name for field in fields(flat) if not field.name.startswith("clinic")]
    assert all(getattr(flat, name) is not None for name in names)
