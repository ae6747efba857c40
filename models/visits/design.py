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
    patients : int
        With any visit.
    """

    outcome: str
    designs: dict[str, Design]
    terms: Terms
    shape: CovarianceShape
    effects: Terms
    moments: VisitMoments
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
    spec = specs[names[0]]
    if spec.visits is None:
        raise ValueError(f"{spec.outcome} is no visit of an outcome")
    complete = np.stack([complete_patients(data, name) for name in names], axis=1)
    scores = np.column_stack([data[f"{name}{FOLLOWUP}"].to_numpy() for name in names])
    scores = np.where(complete, scores, np.nan)[complete.any(axis=1)]
    Y, centres, sd = _standardised(scores)
    # Whose scores stand there does not matter: the outcome's scaling is replaced
    any_score = np.full(data.sizes["patient"], np.nan)
    any_score[complete.any(axis=1)] = np.nan_to_num(scores).sum(axis=1)
    stand_in = data.assign({f"{names[0]}{FOLLOWUP}": ("patient", any_score)})
    everybody = build_design(analysed_patients(stand_in, names[0]), spec)
    designs = {}
    for t, name in enumerate(names):
        scaling = replace(everybody.encoding.scaling, outcome=(float(centres[t]), sd))
        encoding = replace(everybody.encoding, scaling=scaling)
        designs[name] = build_design(analysed_patients(data, name), specs[name], encoding=encoding)
    V, encoding = len(names), everybody.encoding
    differ = [encoding.terms[column].kind in spec.visits.by_visit for column in everybody.present]
    places = [
        (visit, column)
        for column, own in zip(everybody.present, differ, strict=True)
        for visit in (range(V) if own else (V,))
    ]
    effects = [(V, column) for column in everybody.effect_columns]
    deviations = [(visit, 0) for visit in range(V)] if spec.visits.therapist_by_visit else []
    times = [own.visits.time for own in specs.values() if own.visits is not None]
    known = [time for time in times if time is not None]
    return VisitsDesign(
        outcome=spec.visits.outcome,
        designs=designs,
        terms=terms_at(places),
        shape=CovarianceShape(
            structure=spec.visits.correlation,
            visits=V,
            sd_by_visit=spec.visits.sd_by_visit,
            correlated=len(effects),
            independent=len(deviations),
            gaps=relative_gaps(known)
            if spec.visits.correlation == "ar1" and len(known) == V
            else None,
        ),
        effects=terms_at(effects + deviations),
        moments=visit_moments(
            everybody.X,
            Y,
            None,
            everybody.therapist_index,
            len(everybody.therapists),
            sorted({column for _, column in effects + deviations}),
        ),
        patients=len(Y),
    )


def _standardised(scores: Array) -> tuple[Array, Array, float]:
    """Scores less their visit's mean over the SD within visits, these means and this SD."""
    centres = np.nanmean(scores, axis=0)
    apart = scores - centres
    seen = int((~np.isnan(apart)).sum())
    sd = float(np.sqrt(np.nansum(apart**2) / max(1, seen - scores.shape[1])))
    return apart / sd, centres, sd
