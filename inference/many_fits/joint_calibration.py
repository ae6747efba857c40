"""Simulation-based calibration of joint models: all outcomes of a trial at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.draws.datatree import divergences, draws_of
from alliance.inference.estimands.estimands import estimand_draws, shared_estimands
from alliance.inference.many_fits.calibration import rank_numbers
from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_predictive import family_draws
from alliance.inference.sampling.profiles import SamplerProfile, seed_sequence
from alliance.models.design.design import Design
from alliance.models.joint.correlations import correlation_factor, effects_factor, lkj_powers
from alliance.models.joint.joint import CORRELATION_SHAPE, JointDesign, slope_scales
from alliance.models.priors import Priors
from alliance.models.spec import JOINT

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class JointQuestion:
    """What is calibrated, and how; as `inference.many_fits.calibration.CalibrationQuestion`.

    Attributes
    ----------
    joint : JointDesign
        Whose outcomes are not used.
    priors : Priors
    profile : SamplerProfile
    seed : int
    """

    joint: JointDesign
    priors: Priors
    profile: SamplerProfile
    seed: int = 0


def ranked_joint_trial(question: JointQuestion, number: int) -> dict[str, dict[str, Any]]:
    """Simulate one trial of all outcomes, fit it, and rank the true values.

    Parameters
    ----------
    question : JointQuestion
    number : int
        Of the trial.

    Returns
    -------
    dict
        By outcome, and for what they share under ``joint``: as of
        `inference.many_fits.calibration.ranked_trial`.
    """
    from alliance.inference.sampling.joint import sample_joint  # loads PyMC

    label = f"{JOINT}: trial"
    simulator = np.random.default_rng(seed_sequence(question.seed, "prior", label, number))
    trial, truths, shared_truth = simulated_joint_trial(question.joint, question.priors, simulator)
    stream = seed_sequence(question.seed, "sampling", label, number)
    own = int(stream.generate_state(1)[0])
    trees, shared, _ = sample_joint(trial, question.priors, question.profile, own, cores=1)
    generator = np.random.default_rng(own)
    found = {}
    for name, design in trial.designs.items():
        draws = estimand_draws(Posterior(design, draws_of(trees[name])))
        found[name] = rank_numbers(
            draws, estimand_draws(Posterior(design, truths[name])), generator
        )
    found[JOINT] = rank_numbers(
        shared_estimands(draws_of(shared)), shared_estimands(shared_truth), generator
    )
    diverged = divergences(shared) > 0
    return {
        name: ranks | {"divergent": diverged, "fallback": False} for name, ranks in found.items()
    }


def simulated_joint_trial(
    joint: JointDesign, priors: Priors, generator: np.random.Generator
) -> tuple[JointDesign, dict[str, xr.Dataset], xr.Dataset]:
    """Draw parameters from the priors, and all outcomes from the parameters.

    Parameters
    ----------
    joint : JointDesign
        K outcomes, one of which may be ordinal; q therapist effects.
    priors : Priors
    generator : numpy.random.Generator

    Returns
    -------
    JointDesign
        With the simulated outcomes.
    dict of str to xarray.Dataset
        By outcome, true parameters as a posterior of one draw.
    xarray.Dataset
        The same of what the outcomes share.
    """
    first, names = joint.first, list(joint.designs)
    size, moderator = len(names), first.coefficients.index("moderator")
    beta = generator.normal(0, first.prior_sd(priors), (size, len(first.coefficients)))
    pooled_scale, spread_scale = slope_scales(priors)
    pooled = generator.normal(0, pooled_scale)
    spread = abs(generator.normal(0, spread_scale))
    beta[:, moderator] = joint.orientation * (pooled + spread * generator.standard_normal(size))
    for k, design in enumerate(joint.designs.values()):
        absent = [c for c in range(len(first.coefficients)) if c not in design.present]
        beta[k, absent] = 0.0
    scales = {
        "residual": priors.residual_sd,
        "intercept": priors.therapist_sd,
        "slope": priors.therapist_slope_sd,
    }
    kinds = ["residual", *first.effects]
    sds = {kind: abs(generator.normal(0, scales[kind], size)) for kind in kinds}
    if joint.ordinal is not None:
        sds["residual"][joint.ordinal] = 1.0  # of the latent variable
    powers = lkj_powers(size, CORRELATION_SHAPE)
    roots = {
        kind: correlation_factor(2 * generator.beta(powers + 1, powers + 1) - 1, size, np)
        for kind in kinds
    }
    own_correlation = None
    if "slope" in first.effects:
        shape = priors.therapist_correlation
        own_correlation = 2 * generator.beta(shape, shape, size) - 1
    y = np.einsum("nkp,kp->nk", joint.W[..., :-1], beta)
    y += generator.standard_normal(y.shape) @ (sds["residual"][:, None] * roots["residual"]).T
    correlations = {"residual": roots["residual"] @ roots["residual"].T}
    if first.effects:
        own_sds, own_roots = (np.stack([of[e] for e in first.effects]) for of in (sds, roots))
        loading = effects_factor(own_sds, own_roots, own_correlation, np)
        standard = generator.standard_normal((len(first.therapists), len(loading)))
        effects = (standard @ loading.T).reshape(len(standard), len(first.effects), size)
        y += np.einsum("nqk,nq->nk", effects[joint.therapist_index], joint.Z)
        unit = effects_factor(np.ones_like(own_sds), own_roots, own_correlation, np)
        blocks = (unit @ unit.T).reshape(len(first.effects), size, len(first.effects), size)
        correlations |= {kind: blocks[k, :, k] for k, kind in enumerate(first.effects)}
    cutpoints = None
    if (place := joint.ordinal) is not None:
        ordinal = joint.designs[names[place]]
        (parameter,) = ordinal.family.parameters
        cutpoints = family_draws(parameter, ordinal, priors, 1, generator)["cutpoint"][1]
        y[:, place] = (y[:, [place]] > cutpoints).sum(axis=1)
    W = joint.W.copy()
    W[..., -1] = np.where(joint.seen, y, 0.0)
    designs = {
        name: replace(design, y=y[joint.seen[:, k], k])
        for k, (name, design) in enumerate(joint.designs.items())
    }
    trial = JointDesign(designs, W, joint.Z, joint.seen, joint.therapist_index, joint.orientation)
    own = {
        name: _truth(
            designs[name], beta[k], k, sds, own_correlation, cutpoints if k == place else None
        )
        for k, name in enumerate(names)
    }
    shared = {"pooled_moderator_slope": pooled, "moderator_slope_spread": spread}
    pairs = list(combinations(range(size), 2))
    prefixes = {"residual": "residual", "intercept": "therapist", "slope": "therapist_slope"}
    values: dict[str, tuple[tuple[str, ...], Array]] = {
        name: (("chain", "draw"), np.array([[value]])) for name, value in shared.items()
    }
    for kind in kinds:
        own_pairs = np.array([[[correlations[kind][k, m] for k, m in pairs]]])
        values[f"{prefixes[kind]}_correlation"] = (("chain", "draw", "pair"), own_pairs)
    labels = [f"{names[k]}-{names[m]}" for k, m in pairs]
    coords = {"chain": [0], "draw": [0], "pair": labels}
    return trial, own, xr.Dataset(values, coords)


def _truth(
    design: Design,
    beta: Array,
    place: int,
    sds: Mapping[str, Array],
    correlation: Array | None,
    cutpoints: Array | None,
) -> xr.Dataset:
    """True parameters of one outcome; an ordinal one, with cutpoints, has no residual SD."""
    names = {
        "residual": "residual_sd",
        "intercept": "therapist_sd",
        "slope": "therapist_slope_sd",
    }
    own: dict[str, tuple[tuple[str, ...], Array]] = {
        names[kind]: (("chain", "draw"), np.array([[values[place]]]))
        for kind, values in sds.items()
        if cutpoints is None or kind != "residual"
    }
    if correlation is not None:
        own["therapist_correlation"] = (("chain", "draw"), np.array([[correlation[place]]]))
    if cutpoints is not None:
        own["cutpoint"] = (("chain", "draw", "threshold"), cutpoints[None])
    coefficients = [design.coefficients[k] for k in design.present]
    own["beta"] = (("chain", "draw", "coefficient"), beta[None, None, design.present])
    return xr.Dataset(own, {"chain": [0], "draw": [0], "coefficient": coefficients})
