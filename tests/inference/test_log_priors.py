"""Log densities of the priors against PyMC's own densities of the models' variables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from example_families import LIMITS, family_design, made_posterior
from scipy import stats

from alliance.inference.posterior import Posterior
from alliance.inference.priors.power_scaling import COEFFICIENTS, log_priors, ratings_log_density
from alliance.models.patient_level import patient_level_model
from alliance.models.priors import Priors

# None is flat: flat priors have no term
PRIORS = replace(Priors(), therapist_correlation=2.0, category_concentration=3.0)
KINDS = {"degrees_of_freedom": "degrees_of_freedom", "category_share": "category_concentration"}
OWN = ("moderator_missing_standard", "moderator_above_ceiling", "moderator_noise_standard")
STANDARD = ("therapist_standard", "moderator_therapist_standard", *OWN)


def pymc_density(variable: object, value: object) -> float:
    """PyMC's log density of one variable at a value, summed over its elements."""
    density = pm.logp(variable, value)
    return float(np.sum(density.eval(mode="FAST_COMPILE")))


@pytest.mark.parametrize("family", LIMITS)
@pytest.mark.parametrize("option", ["total", "all"])
def test_every_prior_is_pymcs(family: str, option: str) -> None:
    """Up to constants, which no power-scaling feels: densities of draws are compared with one's."""
    design = family_design(family, option)
    draws = made_posterior(design, chains=1, draws=2)
    random = np.random.default_rng(3)
    shape = (draws.sizes["chain"], draws.sizes["draw"])
    correlation = random.uniform(-0.9, 0.9, shape)
    draws["therapist_correlation"] = (("chain", "draw"), correlation)
    model = patient_level_model(design, PRIORS)
    if any(variable.name == "moderator_coefficient" for variable in model.free_RVs):
        size = model["moderator_coefficient"].eval(mode="FAST_COMPILE").shape
        names = ("moderator_therapist_sd", "moderator_residual_sd")
        for name in names:
            draws[name] = (("chain", "draw"), 0.3 + random.random(shape))
        draws["moderator_coefficient"] = (
            ("chain", "draw", "predictor"),
            random.normal(size=(*shape, *size)),
        )
    if "category_share" in model.named_vars:
        # The cutpoints of drawn shares, as the model makes them
        share = random.dirichlet(np.full(design.scale.top + 1, 4.0), shape)
        link = stats.logistic if family == "ordinal" else stats.norm
        draws["cutpoint"] = (("chain", "draw", "threshold"), link.ppf(share.cumsum(-1)[..., :-1]))
        draws["category_share"] = (("chain", "draw", "category"), share)
    found = log_priors(Posterior(design, draws, PRIORS))
    expected: dict[str, np.ndarray] = {}
    scales = dict(zip(design.coefficients, design.prior_sd(PRIORS), strict=True))
    for variable in model.free_RVs:
        if variable.name in STANDARD:
            continue
        for place in np.ndindex(shape):
            values = draws[variable.name].values[place]
            if variable.name == "beta":
                names = [str(name) for name in draws["coefficient"].values]
                normal = pm.Normal.dist(0, np.array([scales[name] for name in names]))
                densities = pm.logp(normal, values).eval(mode="FAST_COMPILE")
                for name, density in zip(names, densities, strict=True):
                    kind = COEFFICIENTS[name.split("[")[0]]
                    expected.setdefault(kind, np.zeros(shape))[place] += density
                continue
            if variable.name == "therapist_correlation":
                # det(matrix)^(shape - 1): Lewandowski et al. 2009, doi:10.1016/j.jmva.2009.04.008
                density = np.log(1 - values**2) * (PRIORS.therapist_correlation - 1)
            else:
                density = pymc_density(variable, values)
            kind = KINDS.get(variable.name, variable.name)
            kind = {
                "moderator_slope_between": "moderator_slope",
                "moderator_interaction_between": "interaction",
            }.get(kind, kind)
            expected.setdefault(kind, np.zeros(shape))[place] += density
    assert set(found.data_vars) == set(expected)
    for kind, density in expected.items():
        own = found[kind].values
        # 1e-7: PyMC's gammaln and clipped shares
        np.testing.assert_allclose(own - own[0, 0], density - density[0, 0], atol=1e-7)


def test_flat_and_fixed_priors_have_no_term() -> None:
    design = family_design("ordinal")
    draws = made_posterior(design)
    draws["therapist_correlation"] = (("chain", "draw"), np.zeros((2, 4)))
    flat = replace(PRIORS, therapist_correlation=1.0, category_concentration=1.0)
    assert not {"therapist_correlation", "category_concentration"} & set(
        log_priors(Posterior(design, draws, flat)).data_vars
    )
    student = family_design("student_t")
    fixed = made_posterior(student).drop_vars("degrees_of_freedom")
    assert "degrees_of_freedom" not in log_priors(Posterior(student, fixed, PRIORS))


def test_ratings_are_as_likely_as_their_dense_normal_says() -> None:
    """Ratings of one therapist: variance of true means shared, residual variance and noise own."""
    design = family_design("gaussian", "all")
    draws = made_posterior(design, draws=2)
    columns = family_predictors(design)
    random = np.random.default_rng(5)
    gamma = random.normal(size=(2, 2, len(columns)))
    draws["moderator_coefficient"] = (("chain", "draw", "predictor"), gamma)
    found = ratings_log_density(Posterior(design, draws))
    rating = design.X[:, design.coefficients.index("moderator")]
    mean, sd = design.scaling.moderator
    ceiling = (design.moderator.ceiling - mean) / sd
    seen = ~design.moderator_missing & (rating < ceiling - 1e-9)
    for chain, draw in np.ndindex(2, 2):
        for place, therapist in enumerate(range(len(design.therapists))):
            own = seen & (design.therapist_index == therapist)
            count = int(own.sum())
            shared = float(draws["moderator_therapist_sd"][chain, draw]) ** 2
            single = float(draws["moderator_residual_sd"][chain, draw]) ** 2
            covariance = shared + (single + 1 - design.moderator.reliability) * np.eye(count)
            dense = (
                stats.multivariate_normal.logpdf(
                    rating[own], design.X[own][:, columns] @ gamma[chain, draw], covariance
                )
                if count
                else 0.0
            )
            value = float(found[chain, draw, place])
            assert value == pytest.approx(dense, abs=1e-9)
    assert isinstance(found, xr.DataArray)


def family_predictors(design: object) -> list[int]:
    """Columns that predict the alliance: of the formula, what is not the alliance's own."""
    from alliance.models.design.ratings import predictor_columns

    return predictor_columns(design)  # type: ignore[arg-type]
