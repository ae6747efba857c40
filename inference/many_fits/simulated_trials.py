"""One trial from the priors: true parameters, the ratings they ask for, and scores.

A design's patients, arms, therapists, baselines and covariates are kept. So are the ratings of the
alliance, unless they have a model of their own; then they are simulated too, with the same ones
missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.priors.prior_predictive import (
    AllianceDraws,
    between_draws,
    prior_draws,
    prior_scores,
)
from alliance.models.design.design import Design
from alliance.models.design.ratings import (
    PREDICTOR_SCALE,
    caseload,
    latent_patients,
    needs_model,
    predictor_columns,
)
from alliance.models.priors import Priors

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class SimulatedTrial:
    """A trial and what made it.

    Attributes
    ----------
    design : Design
        With the simulated outcome and, where they have a model, ratings.
    draws : xarray.Dataset
        The true parameters, as a posterior of one chain of one draw.
    """

    design: Design
    draws: xr.Dataset


def simulated_trial(
    design: Design, priors: Priors, generator: np.random.Generator
) -> SimulatedTrial:
    """Draw parameters from the priors, and a trial from the parameters.

    Parameters
    ----------
    design : Design
        Whose outcome is not used.
    priors : Priors
    generator : numpy.random.Generator

    Returns
    -------
    SimulatedTrial
    """
    rated, alliance = design, None
    if needs_model(design):
        rated, alliance = _with_ratings(design, priors, generator)
    draws = prior_draws(rated, priors, draws=1, generator=generator, alliance=alliance)
    scores = prior_scores(rated, priors, draws, generator)[0]
    y = (scores - design.scale.offset) / design.scale.unit
    return SimulatedTrial(replace(rated, y=y), draws)


def _with_ratings(
    design: Design, priors: Priors, generator: np.random.Generator
) -> tuple[Design, AllianceDraws]:
    """Ratings from the alliance's own model, and what made them; see `models.ratings`."""
    spec = design.moderator
    therapist_sd = abs(generator.normal(0, priors.moderator_therapist_sd))
    residual_sd = abs(generator.normal(0, 1))
    own = therapist_sd * generator.standard_normal(len(design.therapists))
    columns = predictor_columns(design)
    gamma = generator.normal(0, PREDICTOR_SCALE, len(columns))
    true = design.X[:, columns] @ gamma + own[design.therapist_index]
    true = true + residual_sd * generator.standard_normal(len(true))
    noise = 0.0 if spec.reliability is None else np.sqrt(1 - spec.reliability)
    rating = true + noise * generator.standard_normal(len(true))
    if spec.ceiling is not None:
        mean, sd = design.scaling.moderator
        rating = np.minimum(rating, (spec.ceiling - mean) / sd)
    rating[design.moderator_missing] = 0.0  # as a missing rating stands in X
    rated = with_moderator(design, rating)
    found: AllianceDraws = {
        "moderator_therapist_sd": ((), np.array([therapist_sd])),
        "moderator_residual_sd": ((), np.array([residual_sd])),
        "moderator_coefficient": (("moderator_predictor",), gamma[None]),
        "moderator_therapist_mean": (("therapist",), (caseload(design) @ gamma + own)[None]),
    }
    if spec.structure == "within_between":
        found |= between_draws(design, priors, 1, generator)
    if latent := latent_patients(rated):
        found["moderator_latent"] = (("latent_patient",), true[None, latent])
    return rated, found


def with_moderator(design: Design, moderator: Array) -> Design:
    """The design with another moderator, on the standardised scale.

    Parameters
    ----------
    design : Design
    moderator : ndarray, shape (n,)
    """
    X = design.X.copy()
    factors = [np.ones(len(X)), *X[:, design.arm_columns].T]
    for column, factor in zip(design.moderator_columns, factors, strict=False):
        X[:, column] = moderator * factor
    return replace(design, X=X)
