"""The instant engine: its draws, its proposal, its refusals and its fallback."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_families import family_design
from made_draws import NoSampler, small_trial
from scipy import integrate, stats

import alliance.inference.sampling.engines as engines
import alliance.inference.sampling.instant as instant
from alliance.data_prep.errors import InputError
from alliance.diagnostics.gate.fit_gate import check_draws
from alliance.diagnostics.gate.gate import check_importance
from alliance.diagnostics.verdicts import THRESHOLDS, Verdict
from alliance.inference.draws.datatree import draws_of, engine_facts
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.reproduction import reproduce
from alliance.inference.sampling.engines import fit_outcome
from alliance.inference.sampling.importance import Mixture, UnreliableWeightsError, resampled
from alliance.inference.sampling.instant import instant_outcome
from alliance.inference.sampling.profiles import SamplerProfile, find_profile
from alliance.models.design.design import Design
from alliance.models.priors import Priors

PRIORS = Priors()
SHORT = SamplerProfile("ci", chains=2, draws=500, tune=500)


@pytest.fixture(scope="module")
def fit() -> Fit:
    """Two outcomes of the small simulated trial."""
    return fit_trial(small_trial(), find_profile("ci"), seed=3, engine="instant")


def test_draws_bear_the_names_and_shapes_of_the_samplers(fit: Fit, made_fit: Fit) -> None:
    for outcome in fit.outcomes:
        own, other = draws_of(fit.trees[outcome]), draws_of(made_fit.trees[outcome])
        assert set(own.data_vars) == set(other.data_vars)
        for name, values in own.data_vars.items():
            assert values.dims == other[name].dims
            assert np.isfinite(values.values).all()
        assert list(own["coefficient"].values) == list(other["coefficient"].values)
    assert fit.engine == "instant"
    facts = fit.manifest["engines"][fit.outcomes[0]]
    assert facts["engine"] == "instant"
    assert facts["proposals"] == 2 * 2 * 1_000
    # Three quarters of the proposals on the trials of decision 0015; a third would be a bad fit
    assert facts["effective_draws"] > facts["proposals"] / 3


def test_the_gate_sees_the_weights(fit: Fit) -> None:
    for report in check_draws(fit):
        assert report.verdict is Verdict.PASS
        assert [result.check for result in report.results][-1] == "importance"
    statistics = fit.trees[fit.outcomes[0]]["sample_stats"].dataset.copy()
    limit = THRESHOLDS["ci"].ess_bulk
    for changed in ({"pareto_k": 0.6}, {"effective_draws": 150.0}):
        spoiled = statistics.assign_attrs(changed)
        (result,) = check_importance(spoiled, "pain", limit)
        assert result.verdict is Verdict.FAIL
        assert '`engine="nuts"`' in result.recommendation
    assert check_importance(statistics.drop_attrs(), "pain", limit) == ()
    assert check_importance(None, "pain", limit) == ()


def test_the_same_seed_gives_the_same_draws_and_another_does_not() -> None:
    design = family_design("gaussian")
    first, again, other = (
        draws_of(instant_outcome(design, PRIORS, SHORT, seed)[0]) for seed in (1, 1, 2)
    )
    assert first.identical(again)
    assert not np.array_equal(first["beta"].values, other["beta"].values)
    assert not np.array_equal(first["beta"].values[0], first["beta"].values[1])


def test_without_therapists_the_residual_sd_is_integrated_numerically() -> None:
    """One SD is left: its posterior by quadrature of a dense normal."""
    design = family_design("gaussian", therapist="none")
    profile = SamplerProfile("standard", chains=4, draws=5_000, tune=0)
    tree, _ = instant_outcome(design, PRIORS, profile, 4)
    X = design.X[:, design.present]
    variance = X @ np.diag(design.prior_sd(PRIORS)[design.present] ** 2) @ X.T
    eigenvalues, vectors = np.linalg.eigh(variance)
    rotated = vectors.T @ design.y

    def density(sd: float) -> float:
        total = eigenvalues + sd**2
        log = -0.5 * (np.log(total) + rotated**2 / total).sum() + stats.halfnorm.logpdf(sd)
        return float(np.exp(log + 60))

    moments = [integrate.quad(lambda s, k=k: s**k * density(s), 0.01, 5)[0] for k in range(3)]
    mean = moments[1] / moments[0]
    sd = np.sqrt(moments[2] / moments[0] - mean**2)
    drawn = draws_of(tree)["residual_sd"].values
    effective = tree["sample_stats"].attrs["effective_draws"]
    assert abs(drawn.mean() - mean) < 4 * sd / np.sqrt(min(effective, drawn.size))
    assert drawn.std() == pytest.approx(sd, rel=0.03)


def test_a_proposal_is_a_density_and_draws_from_it() -> None:
    """Folded mixture in two dimensions: integrates to the same constant wherever its centre is."""
    grid = np.linspace(-60, 60, 1_201)
    step = grid[1] - grid[0]
    totals = []
    for centre in ([0.2, -0.5], [3.0, 1.0]):
        mixture = Mixture(np.array(centre), np.array([[0.8, 0.0], [0.3, 0.6]]), [0])
        positive = grid[grid >= 0]
        at = np.stack(np.meshgrid(positive, grid, indexing="ij"), axis=-1).reshape(-1, 2)
        weights = np.where(at[:, 0] == 0, 0.5, 1.0)  # trapezoid at the fold
        density = weights * np.exp(mixture.log_density(at))
        totals.append(density.sum() * step**2)
        drawn = mixture.draw(40_000, np.random.default_rng(1))
        assert (drawn[:, 0] >= 0).all()
        middle = density[np.isclose(at[:, 0], 1)].sum() / 2
        share = (density[at[:, 0] < 0.99].sum() + middle) / density.sum()
        # 4 standard errors of a share of 40,000
        assert (drawn[:, 0] < 1).mean() == pytest.approx(share, abs=0.01)
    assert totals[0] == pytest.approx(totals[1], rel=2e-3)


def test_resampling_takes_each_proposal_as_often_as_its_weight() -> None:
    random = np.random.default_rng(8)
    weights = random.random(400)
    chosen = resampled(weights, 200, random)
    expected = 200 * weights / weights.sum()
    counts = np.bincount(chosen, minlength=400)
    assert (np.abs(counts - expected) < 1).all()  # systematic: never off by one or more
    assert not np.array_equal(chosen, np.sort(chosen))


@pytest.mark.parametrize(
    ("design", "told"),
    [
        (family_design("student_t", "ceiling"), "latent"),
        (family_design("gaussian", "within_between"), "within and between"),
        (family_design("gaussian", "impute"), "latent"),
    ],
)
def test_other_models_are_refused(design: Design, told: str) -> None:
    with pytest.raises(InputError, match=told):
        instant_outcome(design, PRIORS, SHORT, 1)


def test_everything_is_refused_before_anything_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = small_trial()
    apart = trial.study.model.model_copy(update={"alliance": "within_between"})
    mixed = replace(trial, study=trial.study.model_copy(update={"model": apart}))
    monkeypatch.setattr(engines, "instant_outcome", None)
    with pytest.raises(InputError, match=r"function \(alliance within and between"):
        fit_trial(mixed, SHORT, seed=1, engine="instant")
    joint = trial.study.model.model_copy(update={"joint": True})
    together = replace(trial, study=trial.study.model_copy(update={"model": joint}))
    with pytest.raises(InputError, match="joint"):
        fit_trial(together, SHORT, seed=1, engine="instant")


def test_nuts_takes_over_where_weights_are_unreliable(monkeypatch: pytest.MonkeyPatch) -> None:
    NoSampler().install(monkeypatch)
    monkeypatch.setattr(instant, "GOOD_K", -10.0)
    profile = replace(SHORT, draws=60)
    design = family_design("gaussian")
    with pytest.raises(UnreliableWeightsError) as raised:
        instant_outcome(design, PRIORS, profile, 1)
    tree, _ = fit_outcome(design, PRIORS, profile, 1, engine="instant")
    facts = engine_facts(tree)
    assert facts["engine"] == "nuts"
    assert facts["instant_pareto_k"] == pytest.approx(raised.value.pareto_k)
    assert "instant_pareto_k" not in engine_facts(fit_outcome(design, PRIORS, profile, 1)[0])


def test_a_run_is_reproduced_by_its_own_engine(fit: Fit) -> None:
    assert reproduce(fit).reproduced
    assert not reproduce(fit, seed=4).reproduced
