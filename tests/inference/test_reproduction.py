"""Runs refitted: the same draws from the same seed and data, and what differs where they differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from made_draws import NoSampler, small_trial
from run_folders import edited

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.draws.datatree import draws_of
from alliance.inference.runs import reproduction
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.reproduction import reproduce
from alliance.inference.runs.run_folder import load_fit, save_fit
from alliance.inference.sampling.joint import joint_positions
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.spec import JOINT

SHORT = SamplerProfile("ci", chains=2, draws=200, tune=300)


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> NoSampler:
    return NoSampler().install(monkeypatch)


@pytest.fixture
def read(run: Path) -> Fit:
    return load_fit(run)


def other_trial() -> Trial:
    """The small trial without its last patients."""
    made = simulate_trial(seed=4, patients=90, therapists=5)
    study = small_trial().study
    return trial_from_frame(study, made.frame.iloc[:-10], "less.csv")


class TestWithoutSampling:
    def test_kept_patients_give_the_same_draws(self, read: Fit, sampler: NoSampler) -> None:
        found = reproduce(read)
        assert found.reproduced
        assert found.reasons == ()
        assert found.identical == dict.fromkeys(read.outcomes, True)
        assert (found.quantities["difference"] == 0).all()
        assert (found.quantities["in_mcse"] == 0).all()

    def test_so_do_the_data_themselves(self, read: Fit, sampler: NoSampler) -> None:
        found = reproduce(read, small_trial())
        assert found.reproduced
        assert found.reasons == ()

    def test_another_seed_is_told(self, read: Fit, sampler: NoSampler) -> None:
        found = reproduce(read, seed=4)
        assert not found.reproduced
        assert found.reasons == ("The seed is 4; the run's is 3.",)
        assert found.refit.manifest["seed"] == 4

    def test_other_data_are_told(self, read: Fit, sampler: NoSampler) -> None:
        found = reproduce(read, other_trial())
        assert not found.reproduced  # therapist effects are drawn given the data
        [reason] = found.reasons
        assert reason.startswith("less.csv is not the data that were fitted (trial.csv)")

    def test_another_file_of_the_same_data_reproduces_and_is_told(
        self, read: Fit, sampler: NoSampler
    ) -> None:
        found = reproduce(read, replace(small_trial(), sha256="0" * 64))
        assert found.reproduced
        assert "its SHA-256 is 000000000000" in found.reasons[0]

    def test_one_draw_that_differs_is_found(self, read: Fit, sampler: NoSampler) -> None:
        draws = draws_of(read.trees["gpe"])["therapist_sd"].values
        draws[1, 5] = np.nextafter(draws[1, 5], np.inf)  # the last bit of one number
        found = reproduce(read)
        assert found.identical == {"function": True, "gpe": False}

    def test_versions_machine_and_files_are_told(self, run: Path, sampler: NoSampler) -> None:
        edited(run, lambda manifest: manifest["versions"].update(numba="0.1"))
        edited(run, lambda manifest: manifest["machine"].update(cpu="abacus"))
        (run / "flow.csv").write_text((run / "flow.csv").read_text() + "\n")
        told = " ".join(reproduce(load_fit(run, accept_changed=True)).reasons)
        assert "The run was made with numba 0.1;" in told
        assert "The run was made on the cpu abacus; this one is" in told
        assert "flow.csv in the run folder is no longer the file that was written." in told

    def test_the_runs_own_specification_is_refitted(
        self, read: Fit, sampler: NoSampler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = read.specs["gpe"]
        older = replace(own, priors=replace(own.priors, arm=0.75))
        used: list[float] = []
        real = reproduction.fit_outcome

        def spy(design: Any, priors: Any, *rest: Any, **options: Any) -> Any:
            used.append(priors.arm)
            return real(design, priors, *rest, **options)

        monkeypatch.setattr(reproduction, "fit_outcome", spy)
        found = reproduce(replace(read, specs=read.specs | {"gpe": older}))
        assert used == [0.5, 0.75]
        [reason] = found.reasons
        assert reason.startswith("The study file means another specification of gpe today")

    def test_a_manifest_that_lost_its_seed(self, read: Fit, sampler: NoSampler) -> None:
        for key in ("seed", "profile"):
            manifest = {name: value for name, value in read.manifest.items() if name != key}
            with pytest.raises(InputError, match="does not say how it was sampled"):
                reproduce(replace(read, manifest=manifest))

    @pytest.mark.parametrize("seed", [-1, 2**63])
    def test_a_seed_out_of_range(self, read: Fit, seed: int) -> None:
        with pytest.raises(InputError, match="out of range"):
            reproduce(read, seed=seed)

    def test_progress_is_told_by_outcome(self, read: Fit, sampler: NoSampler) -> None:
        assert reproduce(read, progress=lambda *_: None).reproduced


class TestDistance:
    def test_is_counted_in_standard_errors_and_sds(self) -> None:
        # Independent draws: the error of a mean is SD / sqrt(4000), of a difference sqrt(2) times.
        random = np.random.default_rng(1)

        def draws(shift: float) -> xr.DataArray:
            return xr.DataArray(
                shift + 2.0 * random.normal(size=(4, 1000, 1)),
                dims=("chain", "draw", "estimand"),
                coords={"quantity": ("estimand", ["slope"]), "level": ("estimand", ["average"])},
            )

        [row] = reproduction._compared("pain", False, draws(0.0), draws(1.0)).to_dict("records")
        assert row["difference"] == pytest.approx(1.0, abs=4 * 2 * np.sqrt(2 / 4000))
        assert row["in_sd"] == pytest.approx(abs(row["difference"]) / 2.0, rel=0.05)
        error = 2.0 * np.sqrt(2 / 4000)
        assert row["in_mcse"] == pytest.approx(abs(row["difference"]) / error, rel=0.15)

    def test_nothing_apart_is_zero_apart(self) -> None:
        flat = xr.DataArray(
            np.ones((2, 50, 1)),
            dims=("chain", "draw", "estimand"),
            coords={"quantity": ("estimand", ["q"]), "level": ("estimand", [""])},
        )
        [row] = reproduction._compared("pain", True, flat, flat).to_dict("records")
        assert (row["difference"], row["in_mcse"], row["in_sd"]) == (0, 0, 0)


class TestJointPositions:
    def test_patients_are_told_by_what_they_lack(self) -> None:
        facts = {"patients": 4, "without": {"a": [], "b": [1, 3]}}
        found = joint_positions(facts, {"a": 4, "b": 2})
        assert found == {"a": [0, 1, 2, 3], "b": [0, 2]}

    def test_an_older_run_tells_them_only_where_nobody_lacks_any(self) -> None:
        everybody = [0, 1, 2]
        found = joint_positions({"patients": 3}, {"a": 3, "b": 3})
        assert found == {"a": everybody, "b": everybody}
        assert joint_positions({"patients": 3}, {"a": 3, "b": 2}) is None

    def test_an_older_run_asks_for_the_data(self, read: Fit) -> None:
        facts = {"patients": 1000, "moderator_scale": [80.0, 10.0]}
        with pytest.raises(InputError, match="alliance reproduce RUN DATA"):
            reproduce(replace(read, manifest=read.manifest | {JOINT: facts}))


@pytest.mark.mcmc
class TestSampled:
    def test_every_bit_comes_again_from_the_run_folder(
        self, simulated_fit: Fit, simulated_trial: Trial, tmp_path: Path
    ) -> None:
        save_fit(simulated_fit, tmp_path / "run")
        read = load_fit(tmp_path / "run")
        kept = reproduce(read)
        assert kept.reproduced
        assert kept.reasons == ()
        # One core at a time, and the data in place of the kept patients: the same bits.
        assert reproduce(read, simulated_trial, cores=1).reproduced

    def test_another_seed_is_as_far_as_monte_carlo_error(self, simulated_fit: Fit) -> None:
        found = reproduce(simulated_fit, seed=2)
        assert not any(found.identical.values())
        assert found.within_error
        table = found.table
        assert list(table["outcome"]) == list(simulated_fit.outcomes)
        # Of some 15 quantities each the furthest is about 2 standard errors apart.
        assert table["in_mcse"].between(0.5, 4).all()

    def test_other_data_are_further_apart(self, simulated_fit: Fit, simulated_trial: Trial) -> None:
        made = simulate_trial(seed=2)
        found = reproduce(simulated_fit, trial_from_frame(simulated_trial.study, made.frame))
        assert not found.within_error

    def test_a_joint_run_with_outcomes_that_some_lack(self, tmp_path: Path) -> None:
        made = simulate_trial(seed=3)
        study = narrowed(made.study, outcomes=["pain", "gpe"], joint=True)
        frame = made.frame.copy()
        for outcome, some in (("pain", slice(0, 9)), ("gpe", slice(30, 50))):
            frame.loc[frame.index[some], study.outcomes[outcome].followup] = np.nan
        trial = trial_from_frame(study, frame)
        save_fit(fit_trial(trial, SHORT, seed=1), tmp_path / "run")
        read = load_fit(tmp_path / "run")
        assert any(read.manifest[JOINT]["without"].values())
        for given in (None, trial):
            found = reproduce(read, given)
            assert found.identical == {"pain": True, "gpe": True, JOINT: True}
            assert found.reasons == ()
        assert not reproduce(read, seed=2).reproduced
