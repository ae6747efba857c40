"""What every test may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # PyMC is not loaded for tests that do without it
    from alliance.data_prep.trial.trial import Trial
    from alliance.inference.runs.fit import Fit


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real trials beside a checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real trial data are not part of the repository: {folder.name}/ is absent")
    return folder


@pytest.fixture(scope="session")
def simulated_trial() -> Trial:
    """A trial like the published one, simulated, in whose files a patient's id could be found."""
    from made_draws import named_patients

    from alliance.data_prep.simulator.simulation import simulate_trial
    from alliance.data_prep.trial.trial import trial_from_frame

    made = simulate_trial(seed=1)
    return trial_from_frame(made.study, named_patients(made.frame, made.study), "simulated.csv")


@pytest.fixture(scope="session")
def simulated_fit(simulated_trial: Trial) -> Fit:
    """All four outcomes of the simulated trial, really sampled: profile ci, seed 1.

    It costs the one compilation that tests of the exact model with three arms share; a test that
    uses it bears the mark mcmc.
    """
    from alliance.inference.runs.fitting import fit_trial
    from alliance.inference.sampling.profiles import find_profile

    return fit_trial(simulated_trial, find_profile("ci"), seed=1)


@pytest.fixture(scope="session")
def made_fit() -> Fit:
    """Two outcomes of a small simulated trial with made-up draws; see `made_draws`."""
    from made_draws import FEW_DRAWS, NoSampler, small_trial

    from alliance.inference.runs.fitting import fit_trial

    with pytest.MonkeyPatch.context() as patch:
        NoSampler().install(patch)
        return fit_trial(small_trial(), FEW_DRAWS, seed=3)
