"""Events and counts: near-flat against statsmodels, separation, recovery, calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from example_families import LIMITS, family_patients
from numpy.typing import NDArray
from posterior_agreement import moments
from scipy import special

from alliance.data_prep.study.description import Study
from alliance.inference.draws.datatree import draws_of
from alliance.inference.estimands.estimands import estimand_draws, summarise
from alliance.inference.many_fits.calibration import CalibrationQuestion, calibrate
from alliance.inference.many_fits.calibration_runs import calibration_questions
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.sampling import sample_outcome
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

pytestmark = pytest.mark.validation

Array = NDArray[np.float64]

PROFILE = SamplerProfile("standard", chains=4, draws=2000, tune=1000, target_accept=0.95)
WIDE = 30.0  # SDs of the latent variable, or factors of e: flat over any coefficient
NEAR_FLAT = Priors(
    **dict.fromkeys(
        ("intercept", "baseline_slope", "arm", "moderator_slope", "interaction", "covariate_slope"),
        WIDE,
    ),
    overdispersion=WIDE,
)


def a_design(family: str, patients: int, *, interaction: bool = True) -> Design:
    found = family_patients(family, patients=patients)
    found = found.isel(patient=np.flatnonzero(np.isfinite(found["moderator"].values)))
    if family == "count":
        exposure = np.random.default_rng(4).uniform(0.3, 3.0, found.sizes["patient"])
        found = found.assign(exposure=("patient", exposure))
    spec = ModelSpec("example", "none", interaction, family=family)
    return build_design(found, spec, LIMITS[family])


def sampled(design: Design, priors: Priors, seed: int = 1) -> xr.Dataset:
    tree, _ = sample_outcome(design, priors, PROFILE, seed=seed)
    assert tree["sample_stats"]["diverging"].mean() < 0.001
    return draws_of(tree)


@pytest.mark.parametrize("family", ["binary", "count"])
def test_near_flat_posteriors_are_the_likelihoods(family: str) -> None:
    """Means against those of the likelihood itself, normalised: 4 Monte Carlo errors.

    Of the likelihood draws are made by importance: proposals from statsmodels' estimates and twice
    their covariance, weighted by the likelihood over the proposal; both errors count.
    """
    design = a_design(family, 400, interaction=False)
    X = design.X[:, design.present]
    if family == "binary":
        found = sm.Logit(design.y, X).fit(disp=False)
        centre, covariance = np.asarray(found.params), np.asarray(found.cov_params())
    else:
        found = sm.NegativeBinomial(design.y, X, offset=design.offset).fit(
            disp=False, maxiter=500, method="bfgs"
        )
        centre, covariance = np.asarray(found.params).copy(), np.asarray(found.cov_params()).copy()
        # The overdispersion, the root of statsmodels' parameter, on its logarithm
        alpha = centre[-1]
        centre[-1] = 0.5 * np.log(alpha)
        covariance[-1] *= 0.5 / alpha
        covariance[:, -1] *= 0.5 / alpha
    random = np.random.default_rng(7)
    size, degrees = len(centre), 8
    root = np.linalg.cholesky(1.2 * covariance)
    normal = random.standard_normal((200_000, size))
    spread = np.sqrt(degrees / random.chisquare(degrees, len(normal)))[:, None]
    standard = normal * spread
    proposals = centre + standard @ root.T
    log_proposal = -(degrees + size) / 2 * np.log1p((standard**2).sum(axis=1) / degrees)
    eta = proposals[:, : X.shape[1]] @ X.T
    if family == "binary":
        log_density = -(np.logaddexp(0, (1 - 2 * design.y) * eta)).sum(axis=1)
    else:
        shape = np.exp(-2 * proposals[:, -1:])
        eta += design.offset
        rest = np.logaddexp(np.log(shape), eta)
        log_density = (
            special.gammaln(design.y + shape)
            - special.gammaln(shape)
            + design.y * (eta - rest)
            + shape * (np.log(shape) - rest)
        ).sum(axis=1)
        log_density += proposals[:, -1]  # of the logarithm, under a flat overdispersion
        log_density -= 0.5 * (np.exp(proposals[:, -1]) / WIDE) ** 2
    weight = np.exp(log_density - log_proposal - (log_density - log_proposal).max())
    weight /= weight.sum()
    names = [design.coefficients[k] for k in design.present]
    ours = moments(sampled(design, NEAR_FLAT)[["beta"]])
    scale = design.scale
    for k, name in enumerate(names):
        values = proposals[:, k] - (scale.link_location if name == "intercept" else 0)
        values = values / scale.link_unit
        mean = weight @ values
        error = np.sqrt(weight**2 @ (values - mean) ** 2)
        row = ours.loc[f"beta[{name}]"]
        gap = (row["mean"] - mean) / np.hypot(row["mcse_mean"], error)
        print(f"{family}, {name}: {row['mean']:.4f}, {mean:.4f}, {gap:.2f} errors")
        assert abs(gap) < 4


@pytest.mark.parametrize("family", ["binary", "count"])
def test_an_arm_without_events_gives_a_finite_answer(family: str) -> None:
    """The ratio's interval ends, far from one; the difference is all but the other arm's mean."""
    design = a_design(family, 150)
    arm = design.encoding.matrix(
        np.array([1]), np.full(1, design.scaling.moderator[0]),
        np.full(1, design.scaling.baseline[0]),
        np.array([[mean for mean, _ in design.scaling.covariates]]),
    )[0, design.arm_columns]  # fmt: skip
    own = np.abs(design.X[:, design.arm_columns] - arm).max(axis=1) < 1e-9
    y = np.where(own, 0.0, design.y)
    found = estimand_draws(Posterior(replace(design, y=y), sampled(replace(design, y=y), Priors())))
    table = summarise("example", found).set_index(["quantity", "level"])
    level = f"{design.arms[1]}-{design.arms[0]}"
    kind, difference = ("odds", "risk") if family == "binary" else ("rate", "rate")
    ratio = table.loc[f"{kind}_ratio_conditional", level]
    print(family, ratio[["mean", "lower", "upper"]].to_dict())
    assert np.isfinite(ratio[["mean", "sd", "lower", "upper"]].astype(float)).all()
    assert 0 < ratio["lower"] < ratio["upper"] < 0.5
    assert ratio["r_hat"] < 1.01
    assert table.loc[f"{difference}_difference", level]["upper"] < 0


TRIALS = 40
TRUTH = {"intercept": 0.1, "baseline": 0.3, "moderator": 0.25, "arm[1]": 0.3, "arm[2]": -0.2}
OVERDISPERSION = 0.7


@pytest.mark.parametrize("family", ["binary", "count"])
def test_true_values_are_recovered(family: str) -> None:
    """z-scores of conditional ratios and marginal contrasts: mean within 3.5 standard errors of 0,
    SD near 1, intervals that hold the truth.
    """
    design = a_design(family, 400, interaction=False)
    names = [design.coefficients[k] for k in design.present]
    beta = np.array([TRUTH.get(name, 0.0) for name in names])
    truth = xr.Dataset(
        {"beta": (("chain", "draw", "coefficient"), beta[None, None])},
        {
            "chain": [0],
            "draw": [0],
            "coefficient": [design.coefficients[k] for k in design.present],
        },
    )
    auxiliary: dict[str, Array] = {}
    if family == "count":
        truth["overdispersion"] = (("chain", "draw"), [[OVERDISPERSION]])
        auxiliary["overdispersion"] = np.array([[OVERDISPERSION]])
    scale = design.scale
    eta = scale.link_location + scale.link_unit * (design.X[:, design.present] @ beta)
    eta = eta if design.offset is None else eta + design.offset
    profile = SamplerProfile("ci", chains=2, draws=500, tune=500)
    kept = ("arm_contrast", "moderator_slope", "odds_ratio_conditional", "rate_ratio_conditional")
    rows = []
    for number in range(TRIALS):
        random = np.random.default_rng([11, number])
        y = design.family.random(random, eta[None], auxiliary, scale)[0]
        trial = replace(design, y=y)
        tree, _ = sample_outcome(trial, Priors(), profile, seed=number)
        found, true = estimand_draws(Posterior(trial, draws_of(tree))), Posterior(trial, truth)
        true_values = estimand_draws(true).values.ravel()
        for k, quantity in enumerate(found["quantity"].values):
            if quantity in kept:
                values, target = found.values[..., k].ravel(), true_values[k]
                if "ratio" in quantity:
                    values, target = np.log(values), np.log(target)
                lower, upper = np.quantile(values, [0.025, 0.975])
                z = (values.mean() - target) / values.std()
                label = f"{quantity} {found['level'].values[k]}"
                rows.append((label, z, lower <= target <= upper))
    table = pd.DataFrame(rows, columns=["quantity", "z", "covered"]).groupby("quantity")
    print(table["z"].agg(["mean", "std"]).round(2).join(table["covered"].mean()).to_string())
    assert table["z"].mean().abs().max() < 3.5 / np.sqrt(TRIALS)
    assert table["z"].std().between(0.6, 1.4).all()
    assert (table["covered"].mean() > 0.8).all()


def a_study(family: str) -> Study:
    own: dict[str, Any] = {"label": "Y", "followup": "y", "better": "lower", "family": family}
    if family == "count":
        own |= {"range": [0, 200], "exposure": "months", "baseline": "y0"}
    return Study.model_validate(
        {
            "title": "A trial",
            "columns": {"patient": "id", "therapist": "t", "arm": "arm"},
            "arms": {"A": "One", "B": "Two"},
            "moderator": {"label": "Alliance", "column": "wai", "range": [12, 84]},
            "covariates": ["age"],
            "outcomes": {"y": own},
        }
    )


@pytest.mark.parametrize("family", ["binary", "count"])
def test_every_reported_quantity_is_calibrated(family: str) -> None:
    """60 trials, some minutes; docs/calibration.md has 300."""
    questions = calibration_questions(
        a_study(family), None, patients=182, therapists=12, seed=5, engine=None
    )
    (question,) = questions.values()
    assert isinstance(question, CalibrationQuestion)
    found = calibrate(question, 60)
    print(f"{family}: smallest p {found.p_values.min():.4f}, Holm {found.adjusted.min():.3f}")
    assert found.passed
