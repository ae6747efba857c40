"""The same seed gives the same draws, from one compilation; incomplete draws are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from made_draws import FEW_DRAWS, NoSampler, small_trial

from alliance.data_prep.covariates import Covariate, column_coordinates
from alliance.data_prep.errors import IncompleteSamplingError
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.published.refits import refit
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling import sampling
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import find_profile
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model
from alliance.models.priors import Priors

ROOT = Path(__file__).resolve().parents[2]
CI = find_profile("ci")


def differing(one: xr.DataTree, other: xr.DataTree, chains: slice = slice(None)) -> list[str]:
    """Posterior variables of which some bit differs; `chains` are those of the other."""
    left = one["posterior"].dataset
    right = other["posterior"].dataset.isel(chain=chains)
    assert set(left.data_vars) == set(right.data_vars)
    return [str(name) for name in left if not np.array_equal(left[name].values, right[name].values)]


@pytest.mark.mcmc
class TestSameSeedSameDraws:
    def test_every_kind_of_draw_is_compared(self, simulated_fit: Fit) -> None:
        assert set(simulated_fit.trees["gpe"]["posterior"].data_vars) == {
            "beta",
            "residual_sd",
            "therapist_sd",
            "therapist_slope_sd",
            "therapist_correlation",
            "therapist_effect",
        }

    @pytest.mark.parametrize("cores", [1, 2])
    def test_on_any_number_of_cores(
        self, simulated_trial: Trial, simulated_fit: Fit, cores: int
    ) -> None:
        again = fit_trial(simulated_trial, CI, seed=1, cores=cores)
        for outcome in simulated_fit.outcomes:
            assert differing(again.trees[outcome], simulated_fit.trees[outcome]) == []

    def test_two_chains_are_the_first_two_of_four(
        self, simulated_trial: Trial, simulated_fit: Fit
    ) -> None:
        four = fit_trial(simulated_trial, find_profile("standard"), seed=1)
        for outcome in simulated_fit.outcomes:
            assert four.trees[outcome]["posterior"].sizes["chain"] == 4
            two = simulated_fit.trees[outcome]
            assert differing(two, four.trees[outcome], slice(0, 2)) == []

    def test_alone_and_in_company(self, simulated_trial: Trial, simulated_fit: Fit) -> None:
        study = narrowed(simulated_trial.study, outcomes=["pain"])
        alone = fit_trial(replace(simulated_trial, study=study), CI, seed=1)
        assert alone.outcomes == ("pain",)
        assert differing(alone.trees["pain"], simulated_fit.trees["pain"]) == []

    def test_in_any_order(self, simulated_trial: Trial, simulated_fit: Fit) -> None:
        study = simulated_trial.study
        turned = study.model_copy(update={"outcomes": dict(reversed(study.outcomes.items()))})
        again = fit_trial(replace(simulated_trial, study=turned), CI, seed=1)
        assert again.outcomes == tuple(reversed(simulated_fit.outcomes))
        for outcome in again.outcomes:
            assert differing(again.trees[outcome], simulated_fit.trees[outcome]) == []

    def test_another_seed_gives_other_draws(
        self, simulated_trial: Trial, simulated_fit: Fit
    ) -> None:
        other = fit_trial(simulated_trial, CI, seed=2)
        for outcome in other.outcomes:
            tree = simulated_fit.trees[outcome]
            assert len(differing(other.trees[outcome], tree)) == len(tree["posterior"].data_vars)

    def test_chains_differ_from_one_another(self, simulated_fit: Fit) -> None:
        draws = simulated_fit.trees["function"]["posterior"].dataset
        for values in draws.data_vars.values():
            assert not np.isclose(values.isel(chain=0), values.isel(chain=1)).all()


@pytest.mark.mcmc
class TestOneCompilation:
    @pytest.fixture
    def compilations(
        self, simulated_fit: Fit, monkeypatch: pytest.MonkeyPatch
    ) -> list[tuple[str, ...]]:
        """Each call of nutpie's compiler from here on, answered with the model compiled before."""
        design = simulated_fit.design("function")
        ready = sampling.compiled_model(design, simulated_fit.specs["function"].priors)
        calls: list[tuple[str, ...]] = []

        def compile_once(model: Any) -> Any:
            calls.append(tuple(model.coords["coefficient"]))
            return ready

        monkeypatch.setattr(sampling, "_compiled", {})
        monkeypatch.setattr(sampling, "compile_model", compile_once)
        return calls

    def test_serves_four_outcomes_with_and_without_baseline(
        self, simulated_trial: Trial, simulated_fit: Fit, compilations: list[tuple[str, ...]]
    ) -> None:
        again = fit_trial(simulated_trial, CI, seed=1)
        assert len(again.outcomes) == 4
        assert "gpe_baseline" not in simulated_trial.data  # the odd one out
        assert len(compilations) == 1
        for outcome in again.outcomes:
            assert differing(again.trees[outcome], simulated_fit.trees[outcome]) == []

    def test_serves_other_numbers_of_patients_and_therapists(
        self, simulated_trial: Trial, compilations: list[tuple[str, ...]]
    ) -> None:
        fit_trial(simulated_trial, CI, seed=1)
        made = simulate_trial(seed=8, patients=400, therapists=31)
        other = fit_trial(trial_from_frame(made.study, made.frame), CI, seed=1)
        assert len(compilations) == 1
        for outcome in other.outcomes:
            assert other.trees[outcome]["posterior"].sizes["therapist"] == 31
        # The other trial's data went in: its mixed model says the same of it.
        linear, key = refit(other.design("pain")), ["outcome", "quantity", "level"]
        pair = linear[linear["model"] == "reml"].merge(other.summary(), on=key)
        contrasts = pair[pair["quantity"] == "arm_contrast"]
        assert len(contrasts) == 3
        assert (abs(contrasts["estimate"] - contrasts["mean"]) < 0.5 * contrasts["se"]).all()

    def test_serves_other_priors(
        self, simulated_trial: Trial, compilations: list[tuple[str, ...]]
    ) -> None:
        """A prior of almost no width holds the slope at zero, whatever was compiled before."""
        study = narrowed(simulated_trial.study, outcomes=["pain"])
        means = []
        for priors in ({}, {"moderator_slope": 1e-6}):
            changed = study.model_copy(update={"priors": priors})
            fitted = fit_trial(replace(simulated_trial, study=changed), CI, seed=1)
            slopes = fitted.summary().set_index(["quantity", "level"])["mean"]
            means.append(abs(slopes["moderator_slope", "average"]))
        assert len(compilations) == 1
        assert means[0] > 0.01
        assert means[1] < 1e-5

    def test_draws_do_not_hang_on_the_priors_that_were_compiled(
        self, simulated_fit: Fit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A chain starts where its own priors have it, also after a fit with other ones."""
        design = simulated_fit.design("pain")
        drawn = []
        for first in (Priors(), Priors(therapist_slope_sd=0.01, residual_sd=3.0)):
            compiled = compile_model(exact_gaussian_model(design, first))
            shape = (design.coefficients, design.effects)
            monkeypatch.setattr(sampling, "_compiled", {shape: compiled})
            drawn.append(sampling.sample_outcome(design, Priors(), CI, seed=1)[0])
        assert differing(*drawn) == []

    def test_is_not_shared_by_models_with_other_terms(
        self, simulated_trial: Trial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nothing = NoSampler().install(monkeypatch)
        study = simulated_trial.study
        for changed in (
            study,
            narrowed(study, therapist="intercept"),
            narrowed(study, therapist="none"),
            narrowed(study, interaction=False),
            study.model_copy(update={"covariates": ("age",)}),
        ):
            data = simulated_trial.data
            if changed.covariates:
                ages = np.linspace(20, 80, data.sizes["patient"])[:, None]
                data = data.drop_dims("covariate").assign(
                    covariates=(("patient", "covariate"), ages)
                )
                data = data.assign_coords(column_coordinates([Covariate("age")]))
            fit_trial(replace(simulated_trial, study=changed, data=data), FEW_DRAWS, seed=1)
        assert len(nothing.compiled) == 5


class TestIncompleteDraws:
    def fit_of(self, patch: pytest.MonkeyPatch, spoil: Callable[..., xr.DataTree]) -> Fit:
        NoSampler(spoil=spoil).install(patch)
        return fit_trial(small_trial(), FEW_DRAWS, seed=1)

    def test_whole_ones_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that the refusals below come from what was spoiled."""
        assert len(self.fit_of(monkeypatch, lambda tree: tree).trees) == 2

    def test_a_short_chain_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(IncompleteSamplingError, match="2 chains of 59 draws, not 2 of 60"):
            self.fit_of(monkeypatch, lambda tree: tree.isel(draw=slice(0, 59)))

    def test_a_missing_chain_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(IncompleteSamplingError, match="1 chains of 60 draws, not 2 of 60"):
            self.fit_of(monkeypatch, lambda tree: tree.isel(chain=slice(0, 1)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["beta", "residual_sd", "therapist_correlation"])
    def test_a_single_value_that_is_not_finite_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: float
    ) -> None:
        def spoil(tree: xr.DataTree) -> xr.DataTree:
            tree["posterior"][name].values[1, -1] = value
            return tree

        with pytest.raises(IncompleteSamplingError, match=f"function: .* {name} are not finite"):
            self.fit_of(monkeypatch, spoil)


class TestInterruption:
    def test_waiting_goes_on_until_the_draws_are_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sampler = NoSampler(waits=[TimeoutError, TimeoutError]).install(monkeypatch)
        assert len(fit_trial(small_trial(), FEW_DRAWS, seed=1).trees) == 2
        assert sampler.cancelled == 0

    def test_ctrl_c_stops_the_chains_and_is_passed_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sampler = NoSampler(waits=[TimeoutError, KeyboardInterrupt]).install(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            fit_trial(small_trial(), FEW_DRAWS, seed=1)
        assert sampler.cancelled == 1

    @pytest.mark.mcmc
    def test_ctrl_c_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """In a process of its own, which would sample for minutes."""
        program = """
import sys
from pathlib import Path
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.runs.run_folder import save_fit

made = simulate_trial(seed=1)
study = narrowed(made.study, outcomes=["gpe"], therapist="none")
profile = SamplerProfile("ci", chains=2, draws=1000, tune=20_000_000)
said = False

def progress(outcome, done, total):
    global said
    if done and not said:
        said = True
        print("sampling", flush=True)

fit = fit_trial(trial_from_frame(study, made.frame), profile, 1, progress=progress)
save_fit(fit, Path("run"))
"""
        with subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "sampling\n"
                process.send_signal(signal.SIGINT)
                asked = time.monotonic()
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGINT  # Python's own end by KeyboardInterrupt
        assert time.monotonic() - asked < 10
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert list(tmp_path.iterdir()) == []
