"""Are posteriors of visits as wide, and where, as they say? Truths drawn from the priors.

Simulation-based calibration (Talts and colleagues 2018, arXiv:1804.06788): where truths come from
the prior, their ranks among posterior draws are uniform. A quarter of the patients leave, those
with a high last score more often: missing at random given what was seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from alliance.inference.sampling.profiles import SamplerProfile
from alliance.inference.sampling.visits import sample_visits
from alliance.models.priors import Priors
from alliance.models.visits.covariance import CovarianceShape, prior_powers
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.moments import terms_at, visit_moments, visit_terms

pytestmark = pytest.mark.validation

TRIALS = 300
PATIENTS, VISITS, THERAPISTS = 80, 3, 8
KEPT = 99  # draws that a truth is ranked among: every fourth, near enough independent
PROFILE = SamplerProfile("ci", chains=1, draws=4 * KEPT, tune=500)
PRIORS = Priors()
SCALE = np.repeat([1.0, 0.3, 0.5], VISITS)


class Ranked(NamedTuple):
    ranks: list[float]
    z_scores: list[float]


def trial(structure: str, number: int) -> Ranked:
    rng = np.random.default_rng([7, number])
    shape = CovarianceShape(structure, VISITS, correlated=2)
    low, high = shape.limits
    power = prior_powers(structure, VISITS, PRIORS.residual_correlation)
    parameters = low + (high - low) * rng.beta(power + 1, power + 1)
    sd = np.abs(rng.normal(0, PRIORS.residual_sd, VISITS))
    residual = shape.residual(sd[None], parameters[None])[0]
    own = np.abs(rng.normal(0, [PRIORS.therapist_sd, PRIORS.therapist_slope_sd]))
    r = 2 * rng.beta(2, 2) - 1
    effect = rng.standard_normal((THERAPISTS, 2)) @ np.linalg.cholesky([[1, r], [r, 1]]).T * own
    beta = rng.normal(0, SCALE)
    X = np.column_stack(
        [np.ones(PATIENTS), rng.standard_normal(PATIENTS), rng.permutation(PATIENTS) % 2 - 0.5]
    )
    therapist = rng.integers(THERAPISTS, size=PATIENTS)
    Y = X @ beta.reshape(3, VISITS)
    Y += (X[:, :2] * effect[therapist]).sum(axis=1)[:, None]
    Y += rng.multivariate_normal(np.zeros(VISITS), residual, PATIENTS)
    for visit in range(1, VISITS):  # about 13% at each of two visits
        last = stats.zscore(Y[:, visit - 1], nan_policy="omit")
        leaves = rng.random(PATIENTS) < 1 / (1 + np.exp(2.2 - 0.8 * np.nan_to_num(last)))
        Y[leaves | np.isnan(Y[:, visit - 1]), visit] = np.nan
    terms = visit_terms((True,) * 3, VISITS)
    moments = visit_moments(X, Y, None, therapist, THERAPISTS, (0, 1))
    effects = terms_at([(VISITS, 0), (VISITS, 1)])
    model = VisitModel(moments, terms, effects, 1 / SCALE**2)
    found = sample_visits("y", model, shape, PRIORS, PROFILE, number, cores=1)
    spread = found.loading @ np.swapaxes(found.loading, -1, -2)
    below = np.tril_indices(VISITS, -1)
    sds = np.sqrt(np.diagonal(found.residual[0, :, 0], axis1=-2, axis2=-1))
    correlation = found.residual[0, :, 0][:, *below] / (sds[:, below[0]] * sds[:, below[1]])
    draws = np.column_stack(
        [
            found.beta[0],
            sds,
            correlation,
            np.sqrt(spread[0, :, [0, 1], [0, 1]]).T,
            found.effects[0, :, 0],
        ]
    )
    truth = np.concatenate(
        [
            beta,
            sd,
            residual[below] / (sd[below[0]] * sd[below[1]]),
            own,
            effect[0],
        ]
    )
    kept = draws[::4]
    ranks = (kept < truth).sum(axis=0)
    return Ranked(ranks.tolist(), ((draws.mean(axis=0) - truth) / draws.std(axis=0)).tolist())


@pytest.mark.parametrize("structure", ["unstructured", "compound_symmetry", "ar1"])
def test_ranks_of_truths_are_uniform(structure: str) -> None:
    """Chi-square over 10 bins of ranks, for each parameter; the least p of 19 above .01 / 19.

    Coefficients are normal given the rest: their z-scores have mean 0 and SD 1.
    """
    found = [trial(structure, number) for number in range(TRIALS)]
    ranks = np.array([each.ranks for each in found])
    p = [
        stats.chisquare(np.histogram(own, bins=10, range=(0, KEPT + 1))[0]).pvalue
        for own in ranks.T
    ]
    assert min(p) > 0.01 / len(p)
    z = np.array([each.z_scores for each in found])[:, : len(SCALE)]
    assert (np.abs(z.mean(axis=0)) < 4 / np.sqrt(TRIALS)).all()
    assert (np.abs(z.std(axis=0) - 1) < 4 / np.sqrt(2 * TRIALS) + 0.03).all()
