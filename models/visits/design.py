"""An outcome over time as standardised arrays: the designs of its visits, and all of them as one.

All visits share one encoding, made from the patients with any visit: the centres of moderator,
baseline and covariates, and one SD of the scores, that within visits. Scores are centred visit by
visit, so that a coefficient may be the same at all visits while each has its own mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.trial.flow import FOLLOWUP, analysed_patients, complete_patients
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec
from alliance.models.visits.covariance import CovarianceShape, relative_gaps
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.moments import Terms, VisitMoments, terms_at, visit_moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VisitsDesign:
    """One outcome over time.

    Attributes
    ----------
    outcome : str
        The outcome over time.
    designs : dict of str to Design
        By the name of the outcome at a visit, in the order of time: of the patients seen there.
    terms : Terms
    shape : CovarianceShape
    effects : Terms
        Of therapists: at all visits alike, then one at each visit if they have them.
    moments : VisitMoments
    positions : dict of str to ndarray of int
        Which of the patients with any visit the rows of each design are.
    patients : int
        With any visit.
    """

    outcome: str
    designs: dict[str, Design]
    terms: Terms
    shape: CovarianceShape
    effects: Terms
    moments: VisitMoments
    positions: dict[str, NDArray[np.int64]]
    patients: int

    @property
    def first(self) -> Design:
        """Any of the designs; they share coefficients, therapists and effects."""
        return next(iter(self.designs.values()))

    def model(self, priors: Priors) -> VisitModel:
        """The model with coefficients of these priors."""
        scale = self.first.prior_sd(priors)[self.terms.column]
        return VisitModel(self.moments, self.terms, self.effects, 1 / scale**2)

    def coefficients(self, beta: Array) -> Array:
        """Coefficients of every visit from those of the terms.

        Parameters
        ----------
        beta : ndarray, shape (..., P)

        Returns
        -------
        ndarray, shape (..., V, p)
            Columns as of the designs; zero where they are absent.
        """
        found = np.zeros((*beta.shape[:-1], len(self.designs), len(self.first.coefficients)))
        for k, (visit, column) in enumerate(zip(self.terms.visit, self.terms.column, strict=True)):
            at = slice(None) if visit == len(self.designs) else slice(visit, visit + 1)
            found[..., at, column] += beta[..., k, None]
        return found


def build_visits(data: xr.Dataset, specs: Mapping[str, ModelSpec]) -> VisitsDesign:
    """Designs of an outcome's visits on one standardisation.

    Parameters
    ----------
    data : xarray.Dataset
        As `data_prep.trial.trial.Trial.data`.
    specs : mapping of str to ModelSpec
        Of the visits of one outcome, in the order of time.

    Returns
    -------
    VisitsDesign
    """
    names = list(specs)
    complete = np.stack([complete_patients(data, name) for name in names], axis=1)
    scores = np.column_stack([data[f"{name}{FOLLOWUP}"].to_numpy() for name in names])
    centres, sd = _scale(np.where(complete, scores, np.nan))
    # Whose scores stand there does not matter: the outcome's scaling is replaced
    stand_in = np.where(complete.any(axis=1), np.nan_to_num(scores).sum(axis=1), np.nan)
    everybody = build_design(
        analysed_patients(data.assign({f"{names[0]}{FOLLOWUP}": ("patient", stand_in)}), names[0]),
        specs[names[0]],
    )
    designs = {}
    for t, name in enumerate(names):
        scaling = replace(everybody.encoding.scaling, outcome=(float(centres[t]), sd))
        encoding = replace(everybody.encoding, scaling=scaling)
        designs[name] = build_design(analysed_patients(data, name), specs[name], encoding=encoding)
    positions = {name: np.flatnonzero(own) for name, own in zip(names, complete.T, strict=True)}
    return join_visits(designs, positions, specs)


def join_visits(
    designs: Mapping[str, Design],
    positions: Mapping[str, NDArray[np.int64]],
    specs: Mapping[str, ModelSpec],
) -> VisitsDesign:
    """Bring the visits' designs together, patient by patient.

    Parameters
    ----------
    designs : mapping of str to Design
        Of the visits of one outcome, in the order of time, with one encoding but for the scores'
        centres.
    positions : mapping of str to ndarray of int
        Which patients the rows of each design are.
    specs : mapping of str to ModelSpec

    Returns
    -------
    VisitsDesign
    """
    names = list(designs)
    first, spec = designs[names[0]], specs[names[0]].visits
    if spec is None:
        raise ValueError(f"{names[0]} is no visit of an outcome")
    V, patients = len(names), np.unique(np.concatenate([positions[name] for name in names]))
    X = np.zeros((len(patients), len(first.coefficients)))
    Y = np.full((len(patients), V), np.nan)
    therapist, residual_group = np.zeros((2, len(patients)), dtype=np.int64)
    for t, name in enumerate(names):
        own, rows = designs[name], np.searchsorted(patients, positions[name])
        X[rows], Y[rows, t] = own.X, own.y
        has = own.nesting.has_therapist(own.arm_index)
        therapist[rows] = np.where(has, own.therapist_index, -1)
        residual_group[rows] = own.residual_group
    terms = [
        (visit, column)
        for column in first.present
        for visit in (range(V) if first.encoding.terms[column].kind in spec.by_visit else (V,))
    ]
    effects = [(V, column) for column in first.effect_columns]
    deviations = [(visit, 0) for visit in range(V)] if spec.therapist_by_visit else []
    varying = sorted({column for _, column in effects + deviations})
    said = [visit.time for name in names if (visit := specs[name].visits) is not None]
    times = [time for time in said if time is not None]
    uneven = spec.correlation == "ar1" and len(times) == V
    return VisitsDesign(
        outcome=spec.outcome,
        designs=dict(designs),
        terms=terms_at(terms),
        shape=CovarianceShape(
            structure=spec.correlation,
            visits=V,
            sd_by_visit=spec.sd_by_visit,
            groups=first.nesting.number,
            correlated=len(effects),
            independent=len(deviations),
            gaps=relative_gaps(times) if uneven else None,
        ),
        effects=terms_at(effects + deviations),
        moments=visit_moments(X, Y, residual_group, therapist, len(first.therapists), varying),
        positions={
            name: np.searchsorted(patients, positions[name]).astype(np.int64) for name in names
        },
        patients=len(patients),
    )


def _scale(scores: Array) -> tuple[Array, float]:
    """Mean of each visit's scores, and their SD within visits."""
    centres = np.nanmean(scores, axis=0)
    seen = int((~np.isnan(scores)).sum())
    squares = np.nansum((scores - centres) ** 2)
    return centres, float(np.sqrt(squares / max(1, seen - scores.shape[1])))
