"""Student-t outcomes: one SD in every answer, and what holds where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from prediction_examples import example_fit, with_posterior
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.inference.answers.decisions import decisions
from alliance.inference.answers.therapists import therapists
from alliance.inference.answers.unseen_improvement import unseen_improvement
from alliance.inference.draws.datatree import draws_of
from alliance.inference.draws.summaries import quantiles
from alliance.inference.estimands.estimands import infinite_variance, with_moments
from alliance.inference.pointwise.replicates import explained_variance
from alliance.inference.posterior import Posterior
from alliance.inference.priors.power_scaling import power_scaling
from alliance.inference.published.comparison import compare
from alliance.inference.runs.choices import model_choices
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.thresholds import Thresholds
from alliance.models.design.design import build_design
from alliance.models.priors import Priors
from alliance.models.spec import specify

Array = NDArray[np.float64]
OUTCOME = "function"


def t_fit(freedom: float | Array) -> Fit:
    """Made draws of a Student-t outcome with these degrees of freedom."""
    fit = example_fit("student_t", therapist="intercept")
    draws = draws_of(fit.trees[OUTCOME]).copy(deep=True)
    shape = draws["degrees_of_freedom"].shape
    values = np.broadcast_to(np.asarray(freedom, float), shape[0] * shape[1]).reshape(shape)
    draws["degrees_of_freedom"] = (("chain", "draw"), values.copy())
    return with_posterior(fit, OUTCOME, draws)


def fixed_fit(freedom: float) -> Fit:
    """The same with the degrees of freedom fixed by the prior: no draws hold them."""
    fit = t_fit(freedom)
    draws = draws_of(fit.trees[OUTCOME]).drop_vars("degrees_of_freedom")
    spec = replace(fit.specs[OUTCOME], priors=Priors(degrees_of_freedom=freedom))
    return replace(with_posterior(fit, OUTCOME, draws), specs={OUTCOME: spec})


def quantity(fit: Fit, name: str) -> Array:
    found = fit.estimands(OUTCOME)
    place = list(found["quantity"].values).index(name)
    return np.asarray(found.isel(estimand=place).values).ravel()


@pytest.mark.parametrize("make", [t_fit, fixed_fit])
def test_sd_and_share_are_those_of_the_distribution(make: object) -> None:
    """t(3) has the SD sqrt(3) of its scale (scipy's), and the share is of that variance."""
    fit = make(3.0)  # type: ignore[operator]
    design, draws = fit.design(OUTCOME), draws_of(fit.trees[OUTCOME])
    unit = design.scaling.outcome[1]
    scale = unit * draws["residual_sd"].values.ravel()
    sd = scale * stats.t(3).std()
    between = (unit * draws["therapist_sd"].values.ravel()) ** 2
    np.testing.assert_allclose(quantity(fit, "residual_sd"), sd)
    np.testing.assert_allclose(quantity(fit, "residual_scale"), scale)
    np.testing.assert_allclose(quantity(fit, "therapist_icc"), between / (between + sd**2))


@pytest.mark.parametrize("make", [t_fit, fixed_fit])
def test_every_answer_has_the_same_share_of_variance(make: object) -> None:
    """`summary` and `therapists` tell one number; t(3) with a true share of .145 had .258, .130."""
    fit = make(3.0)  # type: ignore[operator]
    table = therapists(fit[OUTCOME]).table
    share = table.loc[table["quantity"] == "therapist_share", "mean"].item()
    assert share == pytest.approx(quantity(fit, "therapist_icc").mean())
    told = compare(fit)
    icc = told.loc[told["quantity"] == "therapist_icc", "posterior_mean"].item()
    assert icc == pytest.approx(share)


def test_explained_variance_is_of_the_same_residual_variance() -> None:
    fit = t_fit(3.0)
    found = explained_variance(fit[OUTCOME]).draws["patient and therapist"]
    gaussian = t_fit(1e9)  # the same scales, which are then the SDs
    plain = explained_variance(gaussian[OUTCOME]).draws["patient and therapist"]
    # With a signal s and a scale r: s / (s + 3 r) beside s / (s + r)
    np.testing.assert_allclose(1 / found - 1, 3 * (1 / plain - 1), rtol=1e-6)


def test_the_tipping_share_is_of_the_residual_variance() -> None:
    """The unit of bias is the SD: sqrt(3) times as large as the scale for t(3)."""
    found, plain = (unseen_improvement(t_fit(nu)[OUTCOME]) for nu in (3.0, 1e9))
    bare = found.unit / plain.unit
    np.testing.assert_allclose(bare / bare[0], 1.0)
    # The therapists' share is of the larger variance too, which leaves a little more alliance
    assert bare[0] == pytest.approx(np.sqrt(3), rel=0.05)


@pytest.fixture
def heavy() -> Fit:
    """Every fifth of 80 draws has fewer than 2 degrees of freedom: no variance."""
    freedom = np.random.default_rng(1).uniform(4, 9, 80)
    freedom[::5] = np.linspace(1.0, 2.0, 16)
    return t_fit(freedom)


def test_without_a_variance_the_sd_is_infinite_and_the_share_zero(heavy: Fit) -> None:
    sd, icc = quantity(heavy, "residual_sd"), quantity(heavy, "therapist_icc")
    assert np.isinf(sd[::5]).all()
    assert (icc[::5] == 0).all()
    assert np.isfinite(np.delete(sd, np.s_[::5])).all()
    row = heavy.summary().query("quantity == 'residual_sd'").iloc[0]
    assert row["mean"] == np.inf
    assert np.isnan(row["sd"])
    assert row["upper"] == np.inf
    assert row["lower"] == pytest.approx(np.sort(sd)[1] + 0.975 * np.diff(np.sort(sd)[1:3])[0])
    design, draws = heavy.design(OUTCOME), draws_of(heavy.trees[OUTCOME])
    assert infinite_variance(Posterior(design, draws)) == 0.2
    assert "20.0% of the draws" in str(model_choices(heavy)[0])
    assert "infinite" not in str(model_choices(t_fit(5.0))[0])


def test_what_needs_moments_does_without_it(heavy: Fit) -> None:
    kept = with_moments(heavy.estimands(OUTCOME))
    assert "residual_sd" not in kept["quantity"].values
    assert "residual_scale" in kept["quantity"].values
    assert np.isfinite(kept.values).all()
    assert np.isfinite(power_scaling(heavy[OUTCOME]).prior).all()


def test_shares_of_an_infinite_variance_are_not_told(heavy: Fit) -> None:
    found = unseen_improvement(heavy[OUTCOME])
    assert len(found.unit) == len(found.slope) == 64
    assert found.infinite == pytest.approx(0.2)
    assert np.isfinite([found.tipping_mean, found.tipping_interval]).all()
    with pytest.raises(InputError, match="infinite"):
        unseen_improvement(t_fit(1.5)[OUTCOME])


def test_fixed_degrees_of_freedom_enter_the_chances() -> None:
    """Shares who reach a score are the t distribution's, fixed or estimated."""
    thresholds = Thresholds(reach=12.0)
    answers = [decisions(fit[OUTCOME], thresholds) for fit in (t_fit(3.0), fixed_fit(3.0))]
    shares = [
        answer.table.query("quantity == 'share_reaching'")["mean"].to_numpy() for answer in answers
    ]
    np.testing.assert_allclose(shares[0], shares[1])
    normal = decisions(t_fit(1e9)[OUTCOME], thresholds).table
    assert np.abs(normal.query("quantity == 'share_reaching'")["mean"] - shares[0]).max() > 0.005


def test_the_prior_beside_the_sd_is_that_of_the_sd() -> None:
    estimated = t_fit(3.0).priors().set_index("quantity")["scale"]
    assert "residual_sd" not in estimated
    fixed = fixed_fit(4.0).priors().set_index("quantity")["scale"]
    assert fixed["residual_sd"] == pytest.approx(fixed["residual_scale"] * stats.t(4).std())
    assert fixed["residual_scale"] == pytest.approx(estimated["residual_scale"])


@pytest.mark.parametrize("freedom", [1.0, 2.0])
def test_degrees_of_freedom_are_not_fixed_where_there_is_no_variance(freedom: float) -> None:
    study = example_fit("student_t").study
    with pytest.raises(InputError, match="no variance"):
        specify(study.model_copy(update={"priors": {"degrees_of_freedom": freedom}}))
    specify(study.model_copy(update={"priors": {"degrees_of_freedom": 2.1}}))
    gaussian = example_fit().study  # whose outcomes do not have them
    specify(gaussian.model_copy(update={"priors": {"degrees_of_freedom": freedom}}))


def test_a_design_knows_what_its_priors_fix() -> None:
    fit = fixed_fit(4.0)
    limits = fit.study.outcomes[OUTCOME].range
    spec = fit.specs[OUTCOME]
    assert build_design(fit.patients(OUTCOME), spec, limits).fixed == {"degrees_of_freedom": 4.0}
    free = replace(spec, priors=Priors())
    assert build_design(fit.patients(OUTCOME), free, limits).fixed == {}


def test_quantiles_with_infinite_draws() -> None:
    values = np.arange(10.0)
    np.testing.assert_array_equal(quantiles(values, [0.1, 0.5]), np.quantile(values, [0.1, 0.5]))
    values[8:] = np.inf
    found = quantiles(values, [0.0, 0.5, 7 / 9, 0.8, 1.0])
    np.testing.assert_allclose(found[:3], [0.0, 4.5, 7.0])
    assert np.isposinf(found[3:]).all()


def test_the_gate_judges_scale_and_degrees_of_freedom(heavy: Fit) -> None:
    from alliance.diagnostics.gate.fit_gate import by_name

    names = set(by_name(with_moments(heavy.estimands(OUTCOME))).data_vars)
    assert {"residual_scale", "degrees_of_freedom", "therapist_icc"} <= names
    assert isinstance(heavy.estimands(OUTCOME), xr.DataArray)
