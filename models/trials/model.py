"""The exact model of several trials in PyMC: therapist effects integrated out, trials sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from alliance.models.gaussian.exact_gaussian import therapist_factor
from alliance.models.gaussian.generalised_squares import packed
from alliance.models.priors import Priors
from alliance.models.trials.design import SPREADS, TrialsDesign
from alliance.models.trials.operation import TrialSquares


def trials_data(design: TrialsDesign, priors: Priors) -> dict[str, NDArray[Any]]:
    """The arrays that a compiled model is given.

    Parameters
    ----------
    design : TrialsDesign
        T trials, J therapists, p coefficients, r of them a trial's own.
    priors : Priors

    Returns
    -------
    dict
        ``cross_products`` (T, p + 1, p + 1); ``therapist_cross_products`` (q, J, p + 1), therapists
        sorted by trial, and ``starts`` (T + 1,), where there are therapist effects; ``centres``
        (T,); ``prior_scale``: of a trial's own coefficients, of means, of residual SD, therapist
        SD, their slopes', the shape of their correlation, therapist arm SD, and SDs between trials.
    """
    kept = [*design.pooled.present, len(design.pooled.coefficients)]
    grid = np.ix_(kept, kept)
    totals = [own.moments.cross_products.sum(axis=0)[grid] for own in design.designs]
    own_prior = design.own_prior(priors)
    scales = [
        *own_prior[own_columns(design)],
        *design.means_prior(priors),
        priors.residual_sd,
        priors.therapist_sd,
        priors.therapist_slope_sd,
        priors.therapist_correlation,
        priors.therapist_arm_sd,
        *(getattr(priors, name) for name in design.spreads),
    ]
    data: dict[str, NDArray[Any]] = {
        "cross_products": np.stack(totals),
        "centres": design.centres,
        "prior_scale": np.array(scales),
    }
    if columns := design.pooled.effect_columns:
        within = [own.moments.cross_products[:, columns][:, :, kept] for own in design.designs]
        data["therapist_cross_products"] = np.concatenate(within).transpose(1, 0, 2)
        sizes = [len(own.therapists) for own in design.designs]
        data["starts"] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return {name: np.ascontiguousarray(values) for name, values in data.items()}


def own_columns(design: TrialsDesign) -> list[int]:
    """Positions of the coefficients that each trial has for itself."""
    return [k for k in range(len(design.coefficients)) if k not in design.shared]


def trials_model(design: TrialsDesign, priors: Priors) -> pm.Model:
    """The model of several trials.

    Parameters
    ----------
    design : TrialsDesign
    priors : Priors

    Returns
    -------
    pymc.Model
        Free variables ``trial_own`` (trial, own), ``trial_mean`` (shared), ``across`` (arm_basis,
        where trials differ in their mean alliance), ``residual_sd`` (trial, or one), those of the
        therapists, and where effects vary the SDs between trials and ``trial_standard`` (trial,
        shared), deviations in these SDs.
    """
    own, arms = own_columns(design), [k for k, kind in enumerate(design.kinds) if kind == "arm"]
    names = design.coefficients
    coords: dict[str, Sequence[str]] = {
        "trial": design.trials,
        "own": [names[k] for k in own],
        "shared": [names[k] for k in design.shared],
        "arm_basis": [names[k] for k in arms],
    }
    p, r, m = len(names), len(own), len(design.shared)
    place = np.eye(p)
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, value) for name, value in trials_data(design, priors).items()}
        scale = data["prior_scale"]
        after = r + m + len(arms) * design.across
        shared = pm.Normal("trial_mean", 0, scale[r : r + m], dims="shared")[None, :]
        residual_sd = pm.HalfNormal(
            "residual_sd", scale[after], **({"dims": "trial"} if design.residual_by_trial else {})
        )
        L = therapist_factor(design.pooled.effects, scale[after + 1 : after + 5])
        if design.varying:
            sds = {
                name: pm.HalfNormal(name, scale[after + 5 + k])
                for k, name in enumerate(design.spreads)
            }
            spread = pt.stack([sds[SPREADS[design.kinds[k]]] for k in design.shared])
            standard = pm.Normal("trial_standard", 0, 1, dims=("trial", "shared"))
            shared = shared + spread * standard
        own_values = pm.Normal("trial_own", 0, scale[:r], dims=("trial", "own"))
        beta = own_values @ place[own] + shared @ place[design.shared]
        if design.across:
            across = pm.Normal("across", 0, scale[r + m : after], dims="arm_basis")
            beta = beta + data["centres"][:, None] * (across @ place[arms])
        products = data["cross_products"]
        patients = products[:, 0, 0]  # the intercept's column of ones, squared
        sds_of = residual_sd * pt.ones(design.number)
        log_density = -patients * (0.5 * np.log(2 * np.pi) + pt.log(sds_of))
        if design.pooled.effects:
            elements, places = packed(L)
            columns = [design.pooled.present.index(k) for k in design.pooled.effect_columns]
            squares, determinant, *_ = TrialSquares(columns, places)(
                beta,
                pt.stack(elements)[None, :] / sds_of[:, None],
                products,
                data["therapist_cross_products"],
                data["starts"],
            )
            log_density = log_density - 0.5 * determinant
        else:
            b = pt.concatenate([-beta, pt.ones((design.number, 1))], axis=1)
            squares = (b * (products * b[:, None, :]).sum(axis=2)).sum(axis=1)
        density = (log_density - 0.5 * squares / sds_of**2).sum()
        pm.Potential("log_likelihood_sum", density)
    return model
