"""Sampling: exact models compiled once for each shape, and the same draws every time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import nutpie
import xarray as xr
from threadpoolctl import threadpool_limits

from alliance.data_prep.errors import IncompleteSamplingError
from alliance.inference.draws.datatree import (
    Timings,
    add_therapist_effects,
    draws_of,
    gaussian_draws,
    patient_moderator,
    sampled_tree,
)
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.models.design.design import Design
from alliance.models.design.ratings import predictor_columns, taken_apart
from alliance.models.gaussian.exact_gaussian import exact_gaussian_model, model_data
from alliance.models.gaussian.gaussian_draws import TherapistDraws, draw_therapist_effects
from alliance.models.latent_ratings import draw_latent_effects, latent_gaussian_model
from alliance.models.patient_level import given_data, held_constants, patient_level_model
from alliance.models.priors import Priors

Progress = Callable[[int, int], None]
WAIT_SECONDS = 0.1  # how soon Ctrl-C is noticed; the end of sampling is noticed at once

# Non-centred therapist effects have a funnel at small SDs.
PATIENT_LEVEL_TARGET_ACCEPT = 0.9

_compiled: dict[tuple[Any, ...], Any] = {}
_patient_level: dict[str, Any] = {}
MOST_HELD = 8  # patient-level models that are kept, each with its constants


def compiled_model(design: Design, priors: Priors) -> Any:
    """Nutpie's compiled model of the design's shape, with the design's data in it.

    Exact models differ in their coefficients and therapist effects alone; numbers of patients and
    therapists, data and prior scales are given to the compiled model. With the alliance taken apart
    they have a parameter for each therapist, and differ in their number too. Patient-level models
    hold therapists and priors, and those of the ratings all but outcome and ratings: both serve
    trials that are simulated for one set of patients.

    Parameters
    ----------
    design : Design
    priors : Priors

    Returns
    -------
    nutpie CompiledModel
    """
    if not design.exact:
        return _written_out(design.aggregated(), priors)
    nesting = design.nesting
    groups = (nesting.number, nesting.with_therapists)
    shape: tuple[Any, ...] = (design.coefficients, design.effects, groups)
    if design.clinic_effects:
        shape += ("clinic", *design.clinic_effects)
    if priors.slope is not None:
        shape += ("evidence",)
    if taken_apart(design):
        shape += (design.moderator, len(design.therapists), tuple(predictor_columns(design)))
    if shape not in _compiled:
        _compiled[shape] = compile_model(exact_gaussian_model(design, priors))
    return _compiled[shape].with_data(**model_data(design, priors))


def _written_out(design: Design, priors: Priors) -> Any:
    held = held_constants(design, priors)
    if held not in _patient_level:
        written_out = latent_gaussian_model if design.integrated else patient_level_model
        if len(_patient_level) == MOST_HELD:
            _patient_level.pop(next(iter(_patient_level)))
        _patient_level[held] = compile_model(written_out(design, priors))
    return _patient_level[held].with_data(**given_data(design))


def sample_outcome(
    design: Design,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    cores: int | None = None,
    progress: Progress | None = None,
) -> tuple[xr.DataTree, Timings]:
    """Draw from the posterior of one outcome.

    Parameters
    ----------
    design : Design
        J therapists, q therapist effects.
    priors : Priors
    profile : SamplerProfile
    seed : int
        The run's seed; see `inference.sampling.profiles.seed_sequence`.
    cores : int, optional
        Chains run at a time; all cores of the process by default. It never changes a draw.
    progress : callable, optional
        Called with the draws done and the draws to do, over all chains, tuning included.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (with ``therapist_effect``, shape (chain, draw, J, q)) and
        ``sample_stats``.
    Timings

    Raises
    ------
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    KeyboardInterrupt
        On Ctrl-C; the chains are stopped and their draws dropped.
    """
    started = time.perf_counter()
    if not design.exact or taken_apart(design):  # a parameter for each therapist or patient
        profile = profile.accepting(PATIENT_LEVEL_TARGET_ACCEPT)
    model = compiled_model(design, priors)
    compiled = time.perf_counter()
    raw = run_chains(model, profile, nuts_seed(seed, design.outcome), cores, progress)
    sampled = time.perf_counter()
    tree = sampled_tree(raw, design, sampling_time=sampled - compiled)
    require_complete(draws_of(tree), design.outcome, profile)
    if design.integrated:
        kept = profile.keeps_draws(len(design.therapists))
        add_therapist_effects(tree, _therapist_effects(tree, design, seed), design, keep_draws=kept)
    finished = time.perf_counter()
    return tree, Timings(compiled - started, sampled - compiled, finished - sampled)


def nuts_seed(seed: int, outcome: str) -> int:
    """The sampler's own seed for one outcome of a run."""
    return int(seed_sequence(seed, "sampling", outcome).generate_state(1)[0])


def run_chains(
    model: Any, profile: SamplerProfile, seed: int, cores: int | None, progress: Progress | None
) -> xr.DataTree:
    """Sample a compiled model; Ctrl-C stops the chains and drops their draws.

    Parameters
    ----------
    model : nutpie CompiledModel
    profile : SamplerProfile
    seed : int
        The sampler's own, as of `nuts_seed`.
    cores : int or None
    progress : callable or None

    Returns
    -------
    xarray.DataTree
        As nutpie gives it.
    """
    # One BLAS thread: chains already fill the cores, and sums split over threads change their bits.
    with threadpool_limits(limits=1, user_api="blas"):
        return _run(model, profile, seed, cores, progress)


def _run(
    model: Any, profile: SamplerProfile, seed: int, cores: int | None, progress: Progress | None
) -> xr.DataTree:
    total = profile.chains * (profile.draws + profile.tune)

    def report(chains: list[Any]) -> None:
        if progress is not None:
            progress(sum(chain.finished_draws for chain in chains), total)

    sampler = nutpie.sample(
        model,
        draws=profile.draws,
        tune=profile.tune,
        chains=profile.chains,
        cores=cores,
        seed=seed,
        target_accept=profile.target_accept,
        maxdepth=profile.max_treedepth,
        save_warmup=False,
        progress_bar=False,
        progress_callback=None if progress is None else report,
        blocking=False,
    )
    try:
        while True:
            try:
                return sampler.wait(timeout=WAIT_SECONDS)
            except TimeoutError:
                continue
    except BaseException:
        sampler.cancel()
        raise


def require_complete(draws: xr.Dataset, outcome: str, profile: SamplerProfile) -> None:
    """Refuse draws that are short or not finite; see `sample_outcome`."""
    got = (draws.sizes["chain"], draws.sizes["draw"])
    if got != (profile.chains, profile.draws):
        raise IncompleteSamplingError(
            f"{outcome}: sampling gave {got[0]} chains of {got[1]} draws, "
            f"not {profile.chains} of {profile.draws}."
        )
    for name, values in draws.data_vars.items():
        if not np.isfinite(values.values).all():
            raise IncompleteSamplingError(f"{outcome}: some draws of {name} are not finite.")


def _therapist_effects(tree: xr.DataTree, design: Design, seed: int) -> Iterator[TherapistDraws]:
    draws = draws_of(tree)
    for chain in range(draws.sizes["chain"]):
        own = draws.isel(chain=[chain])
        stream = seed_sequence(seed, "therapist_effects", design.outcome, chain)
        generator = np.random.default_rng(stream)
        parameters = gaussian_draws(own, design)
        if design.exact:
            yield draw_therapist_effects(design, parameters, generator)
            continue
        moderator = np.broadcast_to(
            patient_moderator(design, own), (len(parameters.beta), len(design.y))
        )
        effects = draw_latent_effects(design, parameters, moderator, generator)
        yield TherapistDraws(effects, parameters.moderator_therapist_mean)
