"""The same trial in bambi: the same terms, priors and columns, and what its sampling cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import bambi
import numpy as np
import nutpie
import pandas as pd
import pymc.sampling.mcmc as pymc_sampling
import xarray as xr
from reporting import cores

from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design
from alliance.models.priors import Priors


def bambi_model(design: Design, priors: Priors) -> bambi.Model:
    """The same terms and priors on the same standardised columns."""
    columns = [_plain(name) for name in design.coefficients]
    frame = pd.DataFrame(design.X, columns=columns)
    frame["y"] = design.y
    frame["therapist"] = np.array(design.therapists)[design.therapist_index]

    def normal(sigma: Any) -> bambi.Prior:
        return bambi.Prior("Normal", mu=0, sigma=sigma)

    def half_normal(sigma: float) -> bambi.Prior:
        return bambi.Prior("HalfNormal", sigma=sigma)

    scales = dict(zip(columns, design.prior_sd(priors), strict=True))
    fixed = [columns[k] for k in design.present if columns[k] != "intercept"]
    formula = f"y ~ {' + '.join(fixed)} + (1|therapist) + (0 + moderator|therapist)"
    chosen = {name: normal(scales[name]) for name in fixed} | {
        "Intercept": normal(scales["intercept"]),
        "1|therapist": normal(half_normal(priors.therapist_sd)),
        "moderator|therapist": normal(half_normal(priors.therapist_slope_sd)),
        "sigma": half_normal(priors.residual_sd),
    }
    # Not centred anew, so that the intercept's prior is that of the exact model.
    return bambi.Model(formula, frame, priors=chosen, center_predictors=False)


def _plain(name: str) -> str:
    """A coefficient's name as a formula can hold it."""
    return name.replace("[", "_").replace("]", "")


def from_bambi(draws: xr.Dataset, design: Design) -> xr.Dataset:
    """bambi's draws under the names of the exact model."""
    names = [design.coefficients[k] for k in design.present]
    columns = ["Intercept" if name == "intercept" else _plain(name) for name in names]
    beta = xr.concat([draws[name].drop_attrs() for name in columns], dim="coefficient")
    return xr.Dataset(
        {
            "beta": beta.assign_coords(coefficient=names),
            "residual_sd": draws["sigma"],
            "therapist_sd": draws["1|therapist_sigma"],
            "therapist_slope_sd": draws["moderator|therapist_sigma"],
        }
    )


def cpu_clock() -> float:
    """CPU seconds of this process and of its finished children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


@contextmanager
def sampling_cpu(into: list[float]) -> Iterator[None]:
    """Append to `into` the CPU seconds spent where PyMC takes its sampling time."""

    def clocked(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            started = cpu_clock()
            result = function(*arguments, **options)
            into.append(cpu_clock() - started)
            return result

        return wrapper

    # PyMC offers no hook around these three.
    places = ((nutpie, "sample"), (pymc_sampling, "_mp_sample"), (pymc_sampling, "_sample_many"))
    with ExitStack() as patches:
        for module, name in places:
            patches.enter_context(mock.patch.object(module, name, clocked(getattr(module, name))))
        yield


def fit_bambi(
    design: Design, priors: Priors, profile: SamplerProfile, seed: int, sampler: str
) -> tuple[xr.Dataset, float, float]:
    """Draws, and seconds of sampling as PyMC reports them, on the clock and of CPU."""
    model = bambi_model(design, priors)
    cpu: list[float] = []
    with sampling_cpu(cpu):
        tree = model.fit(
            draws=profile.draws,
            tune=profile.tune,
            chains=profile.chains,
            cores=cores(),
            random_seed=seed,
            inference_method=sampler,
            progressbar=False,
        )
    draws = tree["posterior"].dataset
    return from_bambi(draws, design), float(draws.attrs["sampling_time"]), sum(cpu)
