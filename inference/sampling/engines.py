"""Which engine fits an outcome: NUTS on a compiled model, or importance sampling without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.inference.draws.datatree import Timings, mark_fallback
from alliance.inference.sampling.caches import prepare_caches
from alliance.inference.sampling.importance import (
    UnreliableIntegralError,
    UnreliableWeightsError,
)
from alliance.inference.sampling.instant import can_be_instant, instant_outcome, require_instant
from alliance.inference.sampling.instant_visits import instant_over_time
from alliance.inference.sampling.profiles import Engine, SamplerProfile
from alliance.models.design.design import Design
from alliance.models.priors import Priors
from alliance.models.visits.design import VisitsDesign


def fit_outcome(
    design: Design,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine = "nuts",
    cores: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[xr.DataTree, Timings]:
    """Draw from the posterior of one outcome.

    Parameters
    ----------
    design : Design
    priors : Priors
    profile : SamplerProfile
    seed : int
        The run's seed.
    engine : {"nuts", "instant"}
        Where the weights or integrals of ``instant`` are unreliable NUTS takes over; the draws
        then say so.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the draws done and the draws to do.

    Returns
    -------
    xarray.DataTree
        As of `inference.sampling.sampling.sample_outcome`.
    Timings

    Raises
    ------
    InputError
        If ``instant`` does not fit the design.
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    """
    unreliable = None
    if engine == "instant":
        try:
            return instant_outcome(design, priors, profile, seed)
        except UnreliableWeightsError as error:
            unreliable = error
    prepare_caches()
    from alliance.inference.sampling.sampling import (
        sample_outcome,  # loads PyMC, which `instant` does without
    )

    tree, timings = sample_outcome(design, priors, profile, seed, cores=cores, progress=progress)
    if isinstance(unreliable, UnreliableIntegralError):
        mark_fallback(tree, integration_error=unreliable.error)
    elif unreliable is not None:
        mark_fallback(tree, pareto_k=unreliable.pareto_k)
    return tree, timings


def fit_over_time(
    design: VisitsDesign,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine = "nuts",
    cores: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, xr.DataTree], Timings]:
    """Draw from the posterior of an outcome over time.

    Parameters
    ----------
    design : VisitsDesign
    priors, profile, seed, engine, cores, progress
        As of `fit_outcome`.

    Returns
    -------
    dict of str to xarray.DataTree
        As of `inference.sampling.visits.sample_over_time`.
    Timings

    Raises
    ------
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    """
    pareto_k = None
    if engine == "instant":
        try:
            return instant_over_time(design, priors, profile, seed)
        except UnreliableWeightsError as error:
            pareto_k = error.pareto_k
    prepare_caches()
    from alliance.inference.sampling.visits import sample_over_time  # loads PyMC

    trees, timings = sample_over_time(design, priors, profile, seed, cores=cores, progress=progress)
    if pareto_k is not None:
        for tree in trees.values():
            mark_fallback(tree, pareto_k=pareto_k)
    return trees, timings


def default_engine(design: Design) -> Engine:
    """The engine of many fits of one shape: ``instant`` where it fits the design."""
    return "instant" if can_be_instant(design) else "nuts"


def require_engine(designs: Sequence[Design], engine: Engine, *, joint: bool) -> None:
    """Refuse, before anything is sampled, what the engine does not fit.

    Raises
    ------
    InputError
        With all outcomes that are concerned.
    """
    if engine != "instant":
        return
    if joint:
        raise InputError(
            "The instant engine does not fit a joint model.", "Leave `engine` or `joint` out."
        )
    for design in designs:
        require_instant(design)
