"""A stand-in for nutpie that compiles and samples nothing: the way of a fit in milliseconds.

Its draws are random numbers with the names and shapes of real ones. They serve wherever the way of
the draws is in question, and not their truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.trial.trial import Trial, trial_from_frame
from alliance.inference.sampling import sampling
from alliance.inference.sampling.profiles import SamplerProfile

FEW_DRAWS = SamplerProfile("ci", chains=2, draws=60, tune=10)
PATIENT_ID = "PATIENT-XYZ-"  # nothing else is named like this: findable in any file


@cache
def small_trial(*, simulated: bool = True, **changes: Any) -> Trial:
    """A simulated trial of 90 patients, 5 therapists, 2 outcomes, with findable' ids."""
    made = simulate_trial(seed=4, patients=90, therapists=5)
    study = narrowed(made.study, outcomes=["function", "gpe"])
    study = study.model_copy(update={"simulated": simulated} | changes)
    return trial_from_frame(study, named_patients(made.frame, study), "trial.csv")


def named_patients(frame: Any, study: Study) -> Any:
    """The table with findable ids in its column of patients."""
    return frame.assign(**{study.columns.patient: [f"{PATIENT_ID}{k}" for k in range(len(frame))]})


def made_draws(model: pm.Model, draws: int, chains: int, seed: int) -> xr.DataTree:
    """Random numbers as nutpie would return draws of the model."""
    random = np.random.default_rng(seed)
    names = [variable.name for variable in model.free_RVs]
    shape = (chains, draws)
    found: dict[str, Any] = {}
    for name in names:
        if name == "beta":
            size = len(model.coords["coefficient"])
            values = 0.3 * random.normal(size=(*shape, size))
            found[name] = (("chain", "draw", "coefficient"), values)
        elif name == "therapist_correlation":
            found[name] = (("chain", "draw"), random.uniform(-1, 1, shape))
        else:
            found[name] = (("chain", "draw"), 0.1 + np.abs(random.normal(size=shape)))
    diverging = random.random(shape) < 0.05
    messages = np.full(shape, None, dtype=object)
    messages[diverging] = "the energy error is too large"
    statistics = {
        "depth": random.integers(1, 6, shape).astype(np.uint64),
        "maxdepth_reached": np.zeros(shape, dtype=bool),
        "logp": random.normal(size=shape),
        "energy": random.normal(size=shape),
        "diverging": diverging,
        "divergence_message": messages,
    }
    numbered = {"chain": np.arange(chains), "draw": np.arange(draws)}
    labels = {"coefficient": list(model.coords["coefficient"])}
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(found, numbered | labels),
            "sample_stats": xr.Dataset(
                {name: (("chain", "draw"), values) for name, values in statistics.items()},
                numbered,
            ),
        }
    )


@dataclass
class NoSampler:
    """Takes the place of `inference.sampling.compilation.compile_model` and `nutpie.sample`.

    Attributes
    ----------
    spoil : callable
        Changes the draws on their way out.
    waits : list of exceptions
        Raised by the sampler's `wait`, one at each call, before the draws come.
    compiled : list of pm.Model
    cancelled : int
    """

    spoil: Callable[[xr.DataTree], xr.DataTree] = lambda tree: tree
    waits: list[type[BaseException]] = field(default_factory=list)
    compiled: list[pm.Model] = field(default_factory=list)
    cancelled: int = 0

    def install(self, patch: pytest.MonkeyPatch) -> NoSampler:
        patch.setattr(sampling, "_compiled", {})
        patch.setattr(sampling, "compile_model", self.compile)
        patch.setattr(sampling.nutpie, "sample", self.sample)
        return self

    def compile(self, model: pm.Model) -> Any:
        self.compiled.append(model)
        return _Compiled(model)

    def sample(self, compiled: Any, *, draws: int, chains: int, seed: int, **_: Any) -> Any:
        tree = self.spoil(made_draws(compiled.model, draws, chains, seed))
        return _Sampler(self, tree)


@dataclass
class _Compiled:
    model: pm.Model

    def with_data(self, **_: Any) -> _Compiled:
        return self


@dataclass
class _Sampler:
    owner: NoSampler
    tree: xr.DataTree

    def wait(self, *, timeout: float | None = None) -> xr.DataTree:
        if self.owner.waits:
            raise self.owner.waits.pop(0)
        return self.tree

    def cancel(self) -> None:
        self.owner.cancelled += 1
