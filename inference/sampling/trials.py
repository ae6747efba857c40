"""Several trials in one model, drawn by either engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from alliance.inference.draws.datatree import (
    Timings,
    add_therapist_effects,
    draws_of,
    flat,
    mark_fallback,
    trials_tree,
)
from alliance.inference.sampling.caches import prepare_caches
from alliance.inference.sampling.instant import (
    RESIDUAL,
    Target,
    UnreliableWeightsError,
    points,
    scale_names,
)
from alliance.inference.sampling.profiles import Engine, SamplerProfile, seed_sequence
from alliance.models.gaussian.gaussian_draws import (
    GaussianDraws,
    TherapistDraws,
    draw_therapist_effects,
)
from alliance.models.priors import Priors
from alliance.models.trials.collapsed import (
    CollapsedTrials,
    TrialsDraws,
    collapse_trials,
    spreads_of,
)
from alliance.models.trials.design import TrialsDesign

Array = NDArray[np.float64]

TARGET_ACCEPT = 0.95  # SDs between few trials may be near zero: a funnel, which short steps enter

_compiled: dict[tuple[Any, ...], Any] = {}


@dataclass(frozen=True)
class _Trials(Target[CollapsedTrials]):
    """The target of an outcome of several trials."""

    design: TrialsDesign

    def values(self, at: Array) -> dict[str, Array]:
        found = super().values(at)
        if found[RESIDUAL].ndim == 1:
            found[RESIDUAL] = np.repeat(found[RESIDUAL][:, None], self.design.number, axis=1)
        return found

    def collapsed(self, at: Array) -> CollapsedTrials:
        return collapse_trials(self.design, self.priors, self.values(at))


def fit_trials(
    design: TrialsDesign,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine = "nuts",
    cores: int | None = None,
    progress: Any = None,
) -> tuple[xr.DataTree, Timings]:
    """Draw from the posterior of one outcome of several trials.

    Parameters
    ----------
    design : TrialsDesign
    priors : Priors
    profile : SamplerProfile
    seed : int
        The run's seed.
    engine, cores, progress
        As of `inference.sampling.engines.fit_outcome`.

    Returns
    -------
    xarray.DataTree
        As of `inference.draws.datatree.trials_tree`.
    Timings

    Raises
    ------
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    """
    pareto_k = None
    if engine == "instant":
        try:
            with threadpool_limits(limits=1, user_api="blas"):
                return _instant(design, priors, profile, seed)
        except UnreliableWeightsError as error:
            pareto_k = error.pareto_k
    prepare_caches()
    tree, timings = _nuts(design, priors, profile, seed, cores, progress)
    if pareto_k is not None:
        mark_fallback(tree, pareto_k=pareto_k)
    return tree, timings


def _instant(
    design: TrialsDesign, priors: Priors, profile: SamplerProfile, seed: int
) -> tuple[xr.DataTree, Timings]:
    started = time.perf_counter()
    target = _Trials(priors, _names(design), design)
    found = points(target, profile, seed, design.outcome)
    drawn = [
        found.left.take(rows).draw(stream)
        for rows, stream in zip(found.chosen, found.streams, strict=True)
    ]
    values = {name: own[found.chosen] for name, own in target.values(found.at).items()}
    statistics = xr.Dataset({"lp": (("chain", "draw"), found.density[found.chosen])})
    tree = trials_tree(
        design, _joined(drawn), values, statistics, {"inference_library": "alliance"}
    )
    tree["sample_stats"].attrs |= found.facts
    sampled = time.perf_counter()
    _add_effects(tree, design, profile, seed)
    return tree, Timings(0.0, sampled - started, time.perf_counter() - sampled)


def _names(design: TrialsDesign) -> tuple[str, ...]:
    """Parameters of the target."""
    residual = [f"{RESIDUAL} {t}" for t in range(design.number)]
    therapists = scale_names(design.pooled)[1:]
    first = residual if design.residual_by_trial else [RESIDUAL]
    return (*first, *therapists, *design.spreads)


def _joined(drawn: list[TrialsDraws]) -> TrialsDraws:
    """Draws of chains, with the chain as their first dimension."""
    across = [each.across for each in drawn if each.across is not None]
    return TrialsDraws(
        np.stack([each.means for each in drawn]),
        np.stack(across) if across else None,
        np.stack([each.own for each in drawn]),
    )


def _nuts(
    design: TrialsDesign,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    cores: int | None,
    progress: Any,
) -> tuple[xr.DataTree, Timings]:
    # Both load PyMC, which the instant engine does without
    from alliance.inference.sampling.compilation import compile_model
    from alliance.inference.sampling.sampling import nuts_seed, require_complete, run_chains
    from alliance.models.trials.model import trials_data, trials_model

    started = time.perf_counter()
    shape = (
        *(design.coefficients, design.pooled.effects, design.trials, design.varying),
        *(design.residual_by_trial, design.across),
    )
    if shape not in _compiled:
        _compiled[shape] = compile_model(trials_model(design, priors))
    model = _compiled[shape].with_data(**trials_data(design, priors))
    compiled = time.perf_counter()
    raw = run_chains(
        model, profile.accepting(TARGET_ACCEPT), nuts_seed(seed, design.outcome), cores, progress
    )
    sampled = time.perf_counter()
    draws = raw["posterior"].dataset
    require_complete(draws, design.outcome, profile)
    values = {
        name: draws[name].transpose("chain", "draw", ...).values
        for name in ("residual_sd", *_names(design))
        if name in draws
    }
    if not design.residual_by_trial:
        values[RESIDUAL] = np.repeat(values[RESIDUAL][..., None], design.number, axis=-1)
    tree = trials_tree(
        design,
        _sampled(design, draws, values),
        values,
        raw,
        {"inference_library": "nutpie", "sampling_time": sampled - compiled},
    )
    _add_effects(tree, design, profile, seed)
    finished = time.perf_counter()
    return tree, Timings(compiled - started, sampled - compiled, finished - sampled)


def _sampled(design: TrialsDesign, draws: xr.Dataset, values: Mapping[str, Array]) -> TrialsDraws:
    """Coefficients from what was sampled."""
    from alliance.models.trials.design import SPREADS
    from alliance.models.trials.model import own_columns

    means = draws["trial_mean"].transpose("chain", "draw", "shared").values
    across = None
    if design.across:
        across = draws["across"].transpose("chain", "draw", "arm_basis").values
    together = means if across is None else np.concatenate([means, across], axis=-1)
    own = np.einsum("tpm,cdm->cdtp", design.maps, together)
    if design.varying:
        standard = draws["trial_standard"].transpose("chain", "draw", "trial", "shared").values
        spread = [values[SPREADS[design.kinds[k]]] for k in design.shared]
        own[..., design.shared] += np.stack(spread, axis=-1)[:, :, None, :] * standard
    alone = draws["trial_own"].transpose("chain", "draw", "trial", "own").values
    own[..., own_columns(design)] = alone
    return TrialsDraws(means, across, own)


def _add_effects(
    tree: xr.DataTree, design: TrialsDesign, profile: SamplerProfile, seed: int
) -> None:
    if not design.pooled.effects:
        return
    keep = profile.keeps_draws(len(design.pooled.therapists))
    add_therapist_effects(tree, _effects(tree, design, seed), design.pooled, keep_draws=keep)


def _effects(tree: xr.DataTree, design: TrialsDesign, seed: int) -> Iterator[TherapistDraws]:
    """Therapists' effects of each chain, trial by trial."""
    draws = draws_of(tree)
    for chain in range(draws.sizes["chain"]):
        own = draws.isel(chain=[chain])
        stream = seed_sequence(seed, "therapist_effects", design.outcome, chain)
        generator = np.random.default_rng(stream)
        shape = (draws.sizes["draw"], len(design.pooled.therapists), len(design.pooled.effects))
        found = np.empty(shape)
        for t, each in enumerate(design.designs):
            parameters = trial_parameters(own, design, t)
            found[:, design.therapists_of[t]] = draw_therapist_effects(
                each, parameters, generator
            ).effect
        yield TherapistDraws(found, None)


def trial_parameters(draws: xr.Dataset, design: TrialsDesign, trial: int) -> GaussianDraws:
    """One trial's parameters, as of a single trial.

    Parameters
    ----------
    draws : xarray.Dataset
        As of `inference.draws.datatree.trials_tree`.
    design : TrialsDesign
    trial : int
        Its position.
    """
    names = [str(name) for name in draws.data_vars if str(name).startswith("therapist_")]
    values = {name: flat(draws, name) for name in names if name != "therapist_effect"}
    values[RESIDUAL] = flat(draws, "trial_residual_sd")
    spreads = spreads_of(values, trial)
    beta = np.zeros((len(spreads.residual_sd), len(design.pooled.coefficients)))
    beta[:, design.pooled.present] = flat(draws, "trial_beta")[:, trial]
    return GaussianDraws(
        beta=beta,
        residual_sd=spreads.residual_sd,
        therapist_sd=spreads.therapist_sd,
        therapist_slope_sd=spreads.therapist_slope_sd,
        therapist_correlation=spreads.therapist_correlation,
    )
