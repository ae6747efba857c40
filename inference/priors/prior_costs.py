"""What the priors cost in a design: how far they pull an effect, and what its interval then covers.

Given the SDs the posterior of the coefficients is normal, with precision P = X'V^-1 X + S^-1, where
V is the outcome's covariance once therapist effects are out and S the coefficients' prior
covariance (Lindley & Smith 1972, doi:10.1111/j.2517-6161.1972.tb00885.x). Of a quantity c'beta with
the true value t, and other coefficients as the prior then expects them, S c t / (c'S c),

    E(posterior mean) = t (1 - pull),    pull = c'P^-1 c / c'S c,

so that a prior pulls an effect towards zero by the share of its variance that the data leave. The
posterior mean's sampling variance is c'P^-1 c - c'P^-1 S^-1 P^-1 c, from which follows how often an
interval of SD sqrt(c'P^-1 c) holds t.

The SDs count as known. What not knowing them costs is not in these figures; for the average slope,
where slopes vary between few therapists, `slope_coverage` has it from simulated trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from alliance.data_prep.trial.trial import Trial
from alliance.inference.estimands.estimands import linear_estimands
from alliance.inference.posterior import Posterior
from alliance.models.design.design import Design, build_design, moments_design
from alliance.models.gaussian.gaussian_draws import GaussianDraws, collapse
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, specify

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import (
        Registry,  # loads Dask, which one file does without
    )
    from alliance.inference.runs.fit import Fit

Array = NDArray[np.float64]

SIZES = (0.3, 0.5, 0.8)
"""True effects that are asked about, in SDs of the outcome: 0.3 is about what reviews find for one
SD of the alliance, 0.5 and 0.8 are called medium and large (Cohen 1988)."""

QUANTITIES = ("moderator_slope", "arm_contrast", "interaction")
LEAST_RESIDUAL = 0.01  # of the outcome's SD: with less no prior is felt, and digits are lost
HALF_NORMAL_MEDIAN = float(stats.halfnorm.median())
SLOPE_COVERAGE = {
    3: {0.2: 0.97, 0.3: 0.94, 0.4: 0.93},
    6: {0.2: 0.95, 0.3: 0.94, 0.4: 0.92},
    12: {0.2: 0.96, 0.3: 0.94, 0.4: 0.91},
}
"""Share of simulated trials whose 95% interval of the average slope held it, by therapists and the
slopes' SD between them in residual SDs; default priors, 180 patients, therapists in all arms
(`benchmarks/results/prior_coverage.json`)."""
ENOUGH_THERAPISTS = 20  # from there on coverage was 0.93 or more whatever the slopes' SD

COLUMNS = ("outcome", "quantity", "level", "size", "points", "pull", "expected", "coverage")


@dataclass(frozen=True, slots=True)
class SlopeCoverage:
    """How often intervals of the average slope held it in simulated trials with few therapists.

    Attributes
    ----------
    therapists : int
        In the design.
    simulated : int
        In the simulated trials: the most that are not more, or the fewest there were.
    shares : dict of float to float
        As in `SLOPE_COVERAGE`.
    """

    therapists: int
    simulated: int
    shares: dict[float, float]

    @property
    def words(self) -> str:
        """In a sentence."""
        sds = ", ".join(f"{sd:g}" for sd in self.shares)
        told = ", ".join(f"{100 * share:.0f}%" for share in self.shares.values())
        return (
            "That slopes vary between therapists by an unknown SD costs more where therapists are "
            f"few ({self.therapists} here): in a study of coverage with {self.simulated} "
            f"therapists and SDs of {sds} residual SDs, {told} of 95% intervals held the average "
            "slope."
        )


def slope_coverage(design: Design, spec: ModelSpec) -> SlopeCoverage | None:
    """What the study of coverage says of so few therapists.

    Parameters
    ----------
    design : Design
    spec : ModelSpec

    Returns
    -------
    SlopeCoverage or None
        None where there are enough therapists, slopes do not vary in the model, or their prior is
        not the default one.
    """
    therapists = int((design.moments.count[: len(design.therapists)] > 0).sum())
    usual = spec.priors.therapist_slope_sd == Priors().therapist_slope_sd
    if therapists >= ENOUGH_THERAPISTS or "slope" not in spec.effects or not usual:
        return None
    known = max((k for k in SLOPE_COVERAGE if k <= therapists), default=min(SLOPE_COVERAGE))
    return SlopeCoverage(therapists, known, SLOPE_COVERAGE[known])


def costs_are_closed(spec: ModelSpec) -> bool:
    """Whether a model's posterior is normal given the SDs."""
    plain = spec.priors.slope is None  # else it is a mixture of two
    return spec.exact and plain and spec.moderator.structure == "total"


@dataclass(frozen=True, eq=False, slots=True)
class ExpectedCosts:
    """What the priors cost in a trial that is not fitted yet.

    Attributes
    ----------
    table : pandas.DataFrame
        As of `prior_costs`, of all outcomes for which `costs_are_closed`.
    others : tuple of str
        The other outcomes: all of them in a joint model.
    slopes : SlopeCoverage or None
        Of the outcome with the fewest therapists.
    """

    table: pd.DataFrame
    others: tuple[str, ...]
    slopes: SlopeCoverage | None


def expected_costs(source: Trial | Registry) -> ExpectedCosts:
    """What the priors cost in a trial that is not fitted yet; see `assumed_spreads`.

    Parameters
    ----------
    source : Trial or Registry
    """
    study, tables, others, known = source.study, [], [], []
    for name, spec in specify(study).items():
        if study.model.joint or spec.visits is not None or not costs_are_closed(spec):
            others.append(name)
            continue
        design = (
            build_design(source.analysed(name), spec)
            if isinstance(source, Trial)
            else moments_design(source.moments[name], spec, list(study.arms), source.covariates)
        )
        tables.append(prior_costs(design, spec.priors, assumed_spreads(design, spec.priors)))
        known.append(slope_coverage(design, spec))
    table = pd.concat(tables or [pd.DataFrame(columns=list(COLUMNS))], ignore_index=True)
    few = [found for found in known if found is not None]
    slopes = min(few, key=lambda found: found.therapists, default=None)
    return ExpectedCosts(table, tuple(others), slopes)


def costs_of_fit(fit: Fit, *, interval: float = 0.95) -> pd.DataFrame:
    """What the priors cost in a fitted design, the SDs at their posterior means.

    Parameters
    ----------
    fit : Fit
    interval : float

    Returns
    -------
    pandas.DataFrame
        As of `prior_costs`, of all outcomes for which `costs_are_closed`; none of a joint model.
    """
    tables = [pd.DataFrame(columns=list(COLUMNS))]
    for name, spec in fit.specs.items():
        if fit.shared is None and costs_are_closed(spec):
            design, spreads = fit[name].design, fitted_spreads(fit[name])
            tables.append(prior_costs(design, spec.priors, spreads, interval=interval))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def assumed_spreads(design: Design, priors: Priors) -> GaussianDraws:
    """SDs to count with before a fit: of least squares' residuals, and of the therapists' priors.

    Parameters
    ----------
    design : Design
        Exact.
    priors : Priors
        Whose medians the SDs between therapists are.

    Returns
    -------
    GaussianDraws
        One value of each SD; the correlation is zero.
    """
    kept, moments = design.present, design.moments
    fitted = np.linalg.lstsq(moments.XtX[np.ix_(kept, kept)], moments.Xty[kept])[0]
    left = moments.yty - moments.Xty[kept] @ fitted
    residual = np.sqrt(max(left, 0.0) / max(moments.n - len(kept), 1))
    residual = max(float(residual), LEAST_RESIDUAL)
    return _spreads(
        design,
        np.full(design.nesting.number, residual),
        {
            name: HALF_NORMAL_MEDIAN * getattr(priors, name)
            for name in (
                *("therapist_sd", "therapist_slope_sd", "therapist_arm_sd"),
                *("clinic_sd", "clinic_slope_sd"),
            )
        },
    )


def fitted_spreads(posterior: Posterior) -> GaussianDraws:
    """Posterior means of the SDs.

    Parameters
    ----------
    posterior : Posterior
    """
    draws = posterior.draws
    means = {str(name): float(draws[name].mean()) for name in draws if str(name).endswith("_sd")}
    residual = posterior.flat("residual_sd").mean(axis=0)
    return _spreads(posterior.design, np.atleast_1d(residual), means)


def _spreads(design: Design, residual: Array, between: dict[str, float]) -> GaussianDraws:
    own = {
        "therapist_sd": "intercept" in design.effects,
        "therapist_slope_sd": "slope" in design.effects,
        "therapist_arm_sd": any(effect.startswith("arm[") for effect in design.effects),
        "clinic_sd": "intercept" in design.clinic_effects,
        "clinic_slope_sd": "slope" in design.clinic_effects,
    }
    named = {name: np.array([between[name]]) for name, there in own.items() if there}
    return GaussianDraws(
        beta=np.empty((1, 0)),
        residual_sd=residual if len(residual) == 1 else residual[None],
        therapist_correlation=np.zeros(1) if own["therapist_slope_sd"] else None,
        clinic_correlation=np.zeros(1) if own["clinic_slope_sd"] else None,
        **named,
    )


def prior_costs(
    design: Design,
    priors: Priors,
    spreads: GaussianDraws,
    *,
    sizes: Sequence[float] = SIZES,
    interval: float = 0.95,
) -> pd.DataFrame:
    """Pull, expected estimate and coverage of the alliance's and the arms' effects.

    Parameters
    ----------
    design : Design
        Of a model for which `costs_are_closed`; of its outcome nothing is used.
    priors : Priors
    spreads : GaussianDraws
        One value of each SD, on the standardised scale.
    sizes : sequence of float
        True effects, in SDs of the outcome; slopes for one SD of the alliance.
    interval : float
        Probability of the interval whose coverage is told.

    Returns
    -------
    pandas.DataFrame
        A row for each quantity, level and size; columns ``outcome, quantity, level, size``,
        ``points`` (the size in points), ``pull`` (share by which the estimate is expected nearer
        zero), ``expected`` (estimate, in points), ``coverage``.
    """
    scale = design.prior_sd(priors)
    linear = linear_estimands(design, per_sd=True)
    asked = [k for k, (quantity, _) in enumerate(linear.labels) if quantity in QUANTITIES]
    unit = design.scaling.outcome[1]
    c = linear.matrix[asked][:, design.present] / unit
    variance = scale[design.present] ** 2
    factor = collapse(design, spreads, scale).factor[0]
    solved = np.linalg.solve(factor.T, np.linalg.solve(factor, c.T)).T  # rows c'P^-1
    posterior = (solved * c).sum(axis=1)
    pull = posterior / (c**2 @ variance)
    sampling = np.sqrt(np.maximum(posterior - solved**2 @ (1 / variance), 0.0))
    half = special.ndtri((1 + interval) / 2) * np.sqrt(posterior)
    rows = []
    for k, own in enumerate(asked):
        for size in sizes:
            off = -pull[k] * size
            covered = special.ndtr((half[k] - off) / sampling[k])
            covered -= special.ndtr((-half[k] - off) / sampling[k])
            points = size * unit
            expected = (1 - pull[k]) * points
            rows.append(
                (*linear.labels[own], size, points, float(pull[k]), expected, float(covered))
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS[1:]))
    table.insert(0, "outcome", design.outcome)
    return table
