"""All outcomes of a study sampled together, and what they share.

The outcomes of a joint model side by side: one scale of the moderator, patients matched.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import analysed_patients, complete_patients
from alliance.inference.draws.datatree import Timings, joint_trees
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.inference.sampling.sampling import Progress, nuts_seed, require_complete, run_chains
from alliance.models.design.design import build_design, centre_and_sd
from alliance.models.joint.joint import (
    JointDesign,
    JointDraws,
    correlation_factor,
    draw_joint_effects,
    effects_factor,
    join_designs,
)
from alliance.models.joint.model import OWN_CORRELATION, PREFIXES, SIGNED, joint_data, joint_model
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, ModelSpec


def join_data(study: Study, data: xr.Dataset, specs: Mapping[str, ModelSpec]) -> JointDesign:
    """The designs of all outcomes side by side, on one scale of the moderator.

    Parameters
    ----------
    study : Study
    data : xarray.Dataset
        Of a trial, as `data_prep.trial.trial.Trial.data`, or of imagined patients.
    specs : mapping of str to ModelSpec

    Returns
    -------
    JointDesign
    """
    scale = joint_facts(data, specs)["moderator_scale"]
    designs = {
        name: build_design(analysed_patients(data, name), spec, study.outcomes[name].range, scale)
        for name, spec in specs.items()
    }
    positions = {name: own.tolist() for name, own in _positions(data, specs).items()}
    better = {name: study.outcomes[name].better for name in specs}
    return join_designs(designs, positions, better)


def joint_facts(data: xr.Dataset, outcomes: Iterable[str]) -> dict[str, Any]:
    """What a run keeps of a joint model beside the outcomes' own patients.

    Parameters
    ----------
    data : xarray.Dataset
        As `data_prep.trial.trial.Trial.data`.
    outcomes : iterable of str

    Returns
    -------
    dict
        ``patients``, those with any outcome; ``moderator_scale``, the mean and SD of their
        moderator, with which every outcome's is standardised; and ``without``, by outcome, which
        of them (counted from 0) lack it: see `joint_positions`.
    """
    own = _positions(data, outcomes)
    positions = np.unique(np.concatenate(list(own.values())))
    scale = centre_and_sd(data["moderator"].values[positions])
    return {
        "patients": len(positions),
        "moderator_scale": list(scale),
        "without": {
            name: np.flatnonzero(~np.isin(positions, rows)).tolist() for name, rows in own.items()
        },
    }


def joint_positions(
    facts: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, list[int]] | None:
    """Which of the patients with any outcome the analysed patients of each outcome are.

    Parameters
    ----------
    facts : mapping
        As of `joint_facts`, from a run's manifest.
    sizes : mapping of str to int
        Analysed patients of each outcome.

    Returns
    -------
    dict of str to list of int, or None
        None if the run does not tell: one of an earlier version, with outcomes that some lack.
    """
    everybody = range(facts["patients"])
    without = facts.get("without", dict.fromkeys(sizes, ()))
    found = {name: sorted(set(everybody).difference(without.get(name, ()))) for name in sizes}
    return found if {name: len(rows) for name, rows in found.items()} == dict(sizes) else None


def _positions(data: xr.Dataset, outcomes: Iterable[str]) -> dict[str, np.ndarray]:
    """Which patients, counted from 0, each outcome's analysed ones are."""
    return {name: np.flatnonzero(complete_patients(data, name)) for name in outcomes}


# The slopes' spread between outcomes has a funnel at zero: shorter steps enter it.
TARGET_ACCEPT = 0.95

_compiled: dict[tuple[Any, ...], Any] = {}


def sample_joint(
    joint: JointDesign,
    priors: Priors,
    profile: SamplerProfile,
    seed: int,
    *,
    cores: int | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, xr.DataTree], xr.DataTree, Timings]:
    """Draw from the posterior of all outcomes together.

    Parameters
    ----------
    joint : JointDesign
        As of `inference.sampling.joint.join_data`.
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
    dict of str to xarray.DataTree
        Each outcome's draws, as `inference.sampling.sampling.sample_outcome` gives them.
    xarray.DataTree
        What the outcomes share: ``pooled_moderator_slope``, ``moderator_slope_spread``, and over
        ``pair`` of outcomes ``residual_correlation``, ``therapist_correlation`` and
        ``therapist_slope_correlation``.
    Timings

    Raises
    ------
    IncompleteSamplingError
        If a chain is short, or a draw is not finite.
    KeyboardInterrupt
        On Ctrl-C; the chains are stopped and their draws dropped.
    """
    started = time.perf_counter()
    model = _compiled_joint(joint, priors)
    compiled = time.perf_counter()
    careful = profile.accepting(TARGET_ACCEPT)
    raw = run_chains(model, careful, nuts_seed(seed, JOINT), cores, progress)
    sampled = time.perf_counter()
    draws = raw["posterior"].to_dataset()
    require_complete(draws, JOINT, profile)
    residual, loading = _factors(draws, joint)
    beta = _beta(draws, joint)
    effects = _therapist_effects(draws, joint, beta, residual, loading, seed)
    trees, shared = joint_trees(
        raw,
        joint.designs,
        beta,
        _own(draws, joint, residual, loading),
        effects,
        _shared(draws, joint, residual, loading),
        sampled - compiled,
        ordinal=joint.ordinal,
    )
    finished = time.perf_counter()
    return trees, shared, Timings(compiled - started, sampled - compiled, finished - sampled)


def _compiled_joint(joint: JointDesign, priors: Priors) -> Any:
    """Nutpie's compiled model; Gaussian ones differ in their outcomes and coefficients alone."""
    shape: tuple[Any, ...] = (tuple(joint.designs), joint.first.coefficients, joint.first.effects)
    if joint.ordinal is not None:  # which patients have what, and how many therapists, are held
        top = list(joint.designs.values())[joint.ordinal].scale.top
        held = (joint.ordinal, top, priors.category_concentration)
        shape += (joint.seen.tobytes(), joint.seen.shape, joint.first.therapists, *held)
    if shape not in _compiled:
        _compiled[shape] = compile_model(joint_model(joint, priors))
    return _compiled[shape].with_data(**joint_data(joint, priors))


def _beta(draws: xr.Dataset, joint: JointDesign) -> np.ndarray:
    """Standardised coefficients, (chain, draw, K, p)."""
    coefficients = joint.first.coefficients
    other = draws["other_coefficient"].transpose("chain", "draw", "outcome", "other").values
    moderator = coefficients.index("moderator")
    deviation = draws["moderator_slope_deviation"].transpose("chain", "draw", "outcome").values
    pooled = draws["pooled_moderator_slope"].values[..., None]
    spread = draws[f"moderator_slope_spread{SIGNED}"].values[..., None]
    slope = joint.orientation * (pooled + spread * deviation)
    return np.insert(other, moderator, slope, axis=-1)


def _factors(draws: xr.Dataset, joint: JointDesign) -> tuple[np.ndarray, np.ndarray]:
    """Lower factors of the covariances of residuals and of therapists' effects.

    (chain, draw, K, K) and (chain, draw, q K, q K); rows of either sign.
    """
    residual = draws["residual_sd"].transpose("chain", "draw", "gaussian_outcome").values
    if joint.ordinal is not None:
        residual = np.insert(residual, joint.ordinal, 1.0, axis=-1)
    partial = draws["partial_correlation"].transpose("chain", "draw", "covariance", "pair").values
    root = correlation_factor(partial, len(joint.designs), np)
    factor = residual[..., None] * root[:, :, 0]
    effects = joint.first.effects
    if not effects:
        return factor, np.zeros((*factor.shape[:2], 0, 0))
    sds = [_by_outcome(draws, f"{PREFIXES[effect]}_sd{SIGNED}") for effect in effects]
    own = _by_outcome(draws, OWN_CORRELATION) if OWN_CORRELATION in draws else None
    return factor, effects_factor(np.stack(sds, axis=2), root[:, :, 1:], own, np)


def _by_outcome(draws: xr.Dataset, name: str) -> np.ndarray:
    return np.asarray(draws[name].transpose("chain", "draw", "outcome").values)


def _own(
    draws: xr.Dataset, joint: JointDesign, residual: np.ndarray, loading: np.ndarray
) -> dict[str, np.ndarray]:
    """Each outcome's own SDs and correlation of intercept and slope, (chain, draw, K)."""
    sizes = np.linalg.norm(loading, axis=-1).reshape(*loading.shape[:2], -1, len(joint.designs))
    found = {"residual_sd": np.linalg.norm(residual, axis=-1)}
    for position, effect in enumerate(joint.first.effects):
        found[f"{PREFIXES[effect]}_sd"] = sizes[:, :, position]
    if OWN_CORRELATION in draws:  # turned with either SD's sign
        product = math.prod(
            _by_outcome(draws, f"{PREFIXES[effect]}_sd{SIGNED}") for effect in joint.first.effects
        )
        found["therapist_correlation"] = np.sign(product) * _by_outcome(draws, OWN_CORRELATION)
    return found


def _therapist_effects(
    draws: xr.Dataset,
    joint: JointDesign,
    beta: np.ndarray,
    residual: np.ndarray,
    loading: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Effects on each outcome, (chain, draw, J, K, q)."""
    if "therapist_standard" in draws:
        order = ("chain", "draw", "therapist", "effect", "outcome")
        standard = draws["therapist_standard"].transpose(*order)
        each = standard.values.reshape(*standard.shape[:3], -1)
        effect = each @ np.swapaxes(loading, -1, -2)
        return np.swapaxes(effect.reshape(standard.shape), -1, -2)
    return np.stack(
        [
            draw_joint_effects(
                joint,
                JointDraws(beta[chain], residual[chain], loading[chain]),
                np.random.default_rng(seed_sequence(seed, "therapist_effects", JOINT, chain)),
            )
            for chain in range(len(beta))
        ]
    )


def _shared(
    draws: xr.Dataset, joint: JointDesign, residual: np.ndarray, loading: np.ndarray
) -> xr.Dataset:
    """Pooled slope, spread, and the correlations between outcomes, pair by pair."""
    names = list(joint.designs)
    outcomes = len(names)
    pairs = list(combinations(range(outcomes), 2))
    shared = draws[["pooled_moderator_slope"]]
    shared["moderator_slope_spread"] = np.abs(draws[f"moderator_slope_spread{SIGNED}"])
    shared = shared.assign_coords(pair=[f"{names[k]}-{names[m]}" for k, m in pairs])
    factors = {"residual": residual}
    for position, effect in enumerate(joint.first.effects):
        rows = slice(position * outcomes, (position + 1) * outcomes)
        factors[effect] = loading[:, :, rows]
    for kind, factor in factors.items():
        covariance = factor @ np.swapaxes(factor, -1, -2)  # its correlations bear the signs
        sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
        values = [covariance[..., k, m] / (sd[..., k] * sd[..., m]) for k, m in pairs]
        name = f"{PREFIXES[kind]}_correlation"
        shared[name] = (("chain", "draw", "pair"), np.stack(values, axis=-1))
    return shared
