"""Before the data: parameters and scores drawn from the priors with NumPy, in every family.

Draws of the priors have the names and dims of posterior ones, so that all that is computed from a
posterior is computed from them in the same way. Of the data only the design is used: who was
treated by whom, in which arm, with which baseline and alliance, and the constants that standardise
them. The outcome enters through its mean and SD, in whose units the priors are stated.

What the priors say of each effect: by how many points it may move the expected score.

Each effect is taken over what the trial can show of it: the alliance, the baseline and the
covariates from their lowest to their highest observed value, arms from one to the other at the
mean of the alliance, always with an average therapist and averaged over the patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from alliance.data_prep.levels import AVERAGE, BETWEEN, contrast_names, slope_names
from alliance.inference.draws.summaries import column_blocks
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.sampling.profiles import DEFAULT_SEED, seed_sequence
from alliance.inference.scores.questions import Question, expected, own_link
from alliance.inference.scores.therapist_parts import (
    TherapistChoice,
    clinic_factor,
    mean_slopes,
    therapist_factor,
    therapist_part,
)
from alliance.models.clinics import CLINIC_TERM
from alliance.models.design.design import Design
from alliance.models.design.encoding import arm_pairs
from alliance.models.design.ratings import (
    PREDICTOR_SCALE,
    between_columns,
    caseload,
    latent_patients,
    needs_model,
    predictor_columns,
)
from alliance.models.families.family import EDGE, GAMMA, Parameter
from alliance.models.joint.joint import slope_scales
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.priors import Priors

Array = NDArray[np.float64]

# Variables by name: dims beside chain and draw, and values, the draw first.
AllianceDraws = dict[str, tuple[tuple[str, ...], Array]]

DRAWS = 2000  # a share of 1 in 20 is then known to 0.5 percentage points (one standard error)
# Of more patients so many are drawn at random: scores of a trial's size say enough, and a trial of
# 100,000 would take gigabytes.
MOST_PATIENTS = 500
FEW = 1e-6  # SD that a draw of a rating's SD is kept above, where it divides


@dataclass(frozen=True, eq=False, slots=True)
class PriorPredictive:
    """Parameters and scores that the priors expect.

    Attributes
    ----------
    design : Design
        Of the patients whose scores were drawn: all, or at most `MOST_PATIENTS` of them.
    draws : xarray.Dataset
        Parameters as of `prior_draws`, one chain of d draws.
    scores : ndarray, shape (d, n)
        A simulated trial in each row, on the outcome's own scale.
    """

    design: Design
    draws: xr.Dataset
    scores: Array


def prior_predictive(
    design: Design,
    priors: Priors,
    *,
    draws: int = DRAWS,
    seed: int = DEFAULT_SEED,
    joint: bool = False,
) -> PriorPredictive:
    """Draw parameters from the priors, and a trial's scores from each.

    Parameters
    ----------
    design : Design
    priors : Priors
    draws : int
        Simulated trials d.
    seed : int
        The same seed gives the same draws.
    joint : bool
        Whether the outcome is one of a joint model, whose alliance slopes are pooled.

    Returns
    -------
    PriorPredictive
    """
    generator = np.random.default_rng(seed_sequence(seed, "prior", design.outcome))
    some = _some_patients(design, generator)
    found = prior_draws(some, priors, draws=draws, generator=generator, joint=joint)
    return PriorPredictive(some, found, prior_scores(some, priors, found, generator))


def prior_draws(
    design: Design,
    priors: Priors,
    *,
    draws: int,
    generator: np.random.Generator,
    joint: bool = False,
    alliance: AllianceDraws | None = None,
) -> xr.Dataset:
    """Draw a model's parameters from their priors.

    Parameters
    ----------
    design : Design
        J therapists, q effects.
    priors : Priors
    draws : int
    generator : numpy.random.Generator
    joint : bool
    alliance : mapping of str to (dims, values), optional
        Parameters of the alliance's own model and true alliances that were drawn already.

    Returns
    -------
    xarray.Dataset
        The variables of a posterior, dims ``chain`` (one), ``draw``, ...: ``beta``, the family's
        own parameters, SDs and correlation of the therapists' effects and the effects themselves;
        where the alliance has a model, its parameters, the therapists' true means and
        ``moderator_latent``. The latter are drawn given the patient's rating, the means not: they
        are those of any therapists.
    """
    present = [design.coefficients[k] for k in design.present]
    beta = generator.normal(0, design.prior_sd(priors)[design.present], (draws, len(present)))
    if (informed := priors.slope) is not None:
        drawn = generator.normal(informed.location, informed.spread, draws)
        place, chosen = present.index("moderator"), generator.random(draws) < informed.weight
        beta[:, place] = np.where(chosen, drawn, beta[:, place])
    if joint:
        pooled, spread = slope_scales(priors)
        slope = generator.normal(0, pooled, draws)
        slope += generator.normal(0, spread, draws) * generator.standard_normal(draws)
        beta[:, present.index("moderator")] = slope
    found: dict[str, tuple[tuple[str, ...], Array]] = {"beta": (("coefficient",), beta)}
    for parameter in design.family.parameters:
        found |= family_draws(parameter, design, priors, draws, generator)
    found |= _therapist_spreads(design, priors, draws, generator)
    found |= _alliance(design, priors, draws, generator) if alliance is None else alliance
    numbered = {
        name: (("chain", "draw", *dims), values[None]) for name, (dims, values) in found.items()
    }
    labels: dict[str, object] = {"chain": [0], "draw": np.arange(draws), "coefficient": present}
    labels |= {"therapist": list(design.therapists), "effect": list(design.effects)}
    labels |= design.nesting.coords(design.arms)
    if "moderator_latent" in found:
        labels["latent_patient"] = _latent_patients(design)
    if needs_model(design):
        names = design.coefficients
        labels["moderator_predictor"] = [names[k] for k in predictor_columns(design)]
        labels["between"] = [names[k] for k in between_columns(design)[1:]]
    known = {dim for dims, _ in numbered.values() for dim in dims}
    dataset = xr.Dataset(numbered, {dim: labels[dim] for dim in labels if dim in known})
    if design.clinic_effects:
        factor = clinic_factor(Posterior(design, dataset))
        standard = generator.standard_normal((draws, len(design.clinics), factor.shape[1]))
        effect = np.einsum("dab,djb->dja", factor, standard)
        dataset = dataset.assign(
            clinic_effect=(("chain", "draw", "clinic", CLINIC_TERM), effect[None])
        ).assign_coords({"clinic": list(design.clinics), CLINIC_TERM: list(design.clinic_effects)})
    if not design.effects:
        return dataset
    factor = therapist_factor(Posterior(design, dataset))
    standard = generator.standard_normal((draws, len(design.therapists), len(design.effects)))
    effect = np.einsum("dab,djb->dja", factor, standard)
    return dataset.assign(
        therapist_effect=(("chain", "draw", "therapist", "effect"), effect[None])
    ).assign_coords(
        therapist=list(design.therapists),
        effect=list(design.effects),
    )


def _some_patients(design: Design, generator: np.random.Generator) -> Design:
    if len(design.y) <= MOST_PATIENTS:
        return design
    rows = np.sort(generator.choice(len(design.y), MOST_PATIENTS, replace=False))
    seen, index = np.unique(design.therapist_index[rows], return_inverse=True)
    own = None if design.clinic_index is None else design.clinic_index[rows]
    return replace(
        design,
        clinic_index=own,
        therapists=tuple(design.therapists[j] for j in seen if j < len(design.therapists)),
        therapist_index=index.ravel(),
        offset=None if design.offset is None else design.offset[rows],
        **{name: getattr(design, name)[rows] for name in ("X", "y", "moderator_missing", "count")},
    )


def _half_normal(scale: float, draws: int, generator: np.random.Generator) -> Array:
    return np.abs(generator.normal(0, scale, draws))


def family_draws(
    parameter: Parameter,
    design: Design,
    priors: Priors,
    draws: int,
    generator: np.random.Generator,
) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Draws of one of a family's own parameters from its prior; none where priors fix it.

    Parameters
    ----------
    parameter : Parameter
    design : Design
    priors : Priors
    draws : int
    generator : numpy.random.Generator

    Returns
    -------
    dict of str to (dims, values)
    """
    setting = 0.0 if parameter.scale is None else float(getattr(priors, parameter.scale))
    if parameter.prior == "half_normal" and design.nesting.number > 1:
        groups = np.abs(generator.normal(0, setting, (draws, design.nesting.number)))
        return {parameter.name: ((RESIDUAL_GROUP,), groups)}
    if parameter.prior == "half_normal":
        return {parameter.name: ((), _half_normal(setting, draws, generator))}
    if parameter.prior == "gamma":
        if setting:  # fixed by the priors: no parameter
            return {}
        return {parameter.name: ((), generator.gamma(GAMMA["alpha"], 1 / GAMMA["beta"], draws))}
    shares = generator.dirichlet(np.full(design.scale.top + 1, setting), draws)
    cumulative = np.clip(np.cumsum(shares, axis=1)[:, :-1], EDGE, 1 - EDGE)
    quantile = special.logit if parameter.prior == "ordered_logit" else special.ndtri
    return {parameter.name: (("threshold",), quantile(cumulative))}


def _therapist_spreads(
    design: Design,
    priors: Priors,
    draws: int,
    generator: np.random.Generator,
) -> dict[str, tuple[tuple[str, ...], Array]]:
    found: dict[str, tuple[tuple[str, ...], Array]] = {}
    if design.clinic_effects:
        found["clinic_sd"] = ((), _half_normal(priors.clinic_sd, draws, generator))
    if "slope" in design.clinic_effects:
        found["clinic_slope_sd"] = ((), _half_normal(priors.clinic_slope_sd, draws, generator))
        shape = priors.clinic_correlation
        found["clinic_correlation"] = ((), 2 * generator.beta(shape, shape, draws) - 1)
    if not design.effects:
        return found
    found["therapist_sd"] = ((), _half_normal(priors.therapist_sd, draws, generator))
    if "slope" in design.effects:
        slope_sd = _half_normal(priors.therapist_slope_sd, draws, generator)
        found["therapist_slope_sd"] = ((), slope_sd)
        # A 2 x 2 LKJ(shape) correlation r: (r + 1) / 2 is Beta(shape, shape).
        shape = priors.therapist_correlation
        found["therapist_correlation"] = ((), 2 * generator.beta(shape, shape, draws) - 1)
    if any(effect.startswith("arm[") for effect in design.effects):
        arm_sd = _half_normal(priors.therapist_arm_sd, draws, generator)
        found["therapist_arm_sd"] = ((), arm_sd)
    return found


def _latent_patients(design: Design) -> list[int]:
    return latent_patients(design) if design.moderator.latent else []


def _alliance(
    design: Design, priors: Priors, draws: int, generator: np.random.Generator
) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Parameters of the alliance's own model, therapists' true means, and latent alliances."""
    spec = design.moderator
    taken_apart = spec.structure == "within_between"
    if not (spec.latent or taken_apart):
        return {}
    therapist_sd = _half_normal(priors.moderator_therapist_sd, draws, generator)
    residual_sd = _half_normal(1.0, draws, generator)
    own = therapist_sd[:, None] * generator.standard_normal((draws, len(design.therapists)))
    columns = predictor_columns(design)
    gamma = generator.normal(0, PREDICTOR_SCALE, (draws, len(columns)))
    found: dict[str, tuple[tuple[str, ...], Array]] = {
        "moderator_therapist_sd": ((), therapist_sd),
        "moderator_residual_sd": ((), residual_sd),
        "moderator_coefficient": (("moderator_predictor",), gamma),
        "moderator_therapist_mean": (("therapist",), gamma @ caseload(design).T + own),
    }
    if taken_apart:
        found |= between_draws(design, priors, draws, generator)
    latent = _latent_patients(design)
    if not latent:
        return found
    location = gamma @ design.X[np.ix_(latent, columns)].T
    location += own[:, design.therapist_index[latent]]
    value = _latent_alliance(design, np.array(latent), location, residual_sd[:, None], generator)
    found["moderator_latent"] = (("latent_patient",), value)
    return found


def between_draws(
    design: Design, priors: Priors, draws: int, generator: np.random.Generator
) -> AllianceDraws:
    """Slopes of the part between therapists from their priors; see `within_between`."""
    found: AllianceDraws = {
        "moderator_slope_between": ((), generator.normal(0, priors.moderator_slope, draws))
    }
    if further := len(between_columns(design)) - 1:
        own = generator.normal(0, priors.interaction, (draws, further))
        found["moderator_interaction_between"] = (("between",), own)
    return found


def _latent_alliance(
    design: Design,
    latent: NDArray[np.int64],
    location: Array,
    residual_sd: Array,
    generator: np.random.Generator,
) -> Array:
    """True alliances (d, m) of patients given their ratings; see `models.ratings`."""
    spec = design.moderator
    noise_variance = 0.0 if spec.reliability is None else 1 - spec.reliability
    rating_variance = np.maximum(residual_sd**2 + noise_variance, FEW**2)
    rating_sd = np.sqrt(rating_variance)
    rating = np.repeat(
        design.X[None, latent, design.coefficients.index("moderator")], len(location), axis=0
    )
    missing = design.moderator_missing[latent]
    noise = generator.standard_normal((len(location), int(missing.sum())))
    rating[:, missing] = location[:, missing] + rating_sd * noise
    if spec.ceiling is not None:
        mean, sd = design.scaling.moderator
        ceiling = (spec.ceiling - mean) / sd
        above = ~missing & (rating[0] >= ceiling - 1e-9)  # standardising may move it by so much
        # A normal variable known to lie above the ceiling, by its log survival function.
        survival = special.log_ndtr(-(ceiling - location[:, above]) / rating_sd)
        share = np.log(generator.uniform(np.finfo(float).tiny, 1, survival.shape))
        lifted = location[:, above] - rating_sd * special.ndtri_exp(survival + share)
        rating[:, above] = np.maximum(lifted, ceiling)
    if not noise_variance:
        return np.asarray(rating)
    share = residual_sd**2 / rating_variance
    centre = location + share * (rating - location)
    spread = np.sqrt(share * noise_variance)
    return np.asarray(centre + spread * generator.standard_normal(rating.shape))


def prior_predictor(posterior: Posterior) -> Array:
    """The linear predictor of the design's own patients with their therapists, shape (d, n).

    Parameters
    ----------
    posterior : Posterior
    """
    design, draws = posterior.design, posterior.draws
    beta = draws["beta"].values[0]
    predictor = beta @ design.X[:, design.present].T
    has = design.nesting.has_therapist(design.arm_index) if design.nesting.without else 1.0
    Z = np.repeat(design.X[None, :, design.effect_columns], len(beta), axis=0)
    if "moderator_latent" in draws:
        latent = draws["latent_patient"].values
        true = draws["moderator_latent"].values[0]
        change = true - design.X[latent, design.coefficients.index("moderator")]
        predictor[:, latent] += change * _own_slopes(design, beta, latent)
        if "slope" in design.effects:
            Z[:, latent, design.effects.index("slope")] = true
    if design.effects or design.clinic_effects or "moderator_slope_between" in draws:
        clinics = design.clinic_labels if design.clinic_effects else None
        own = TherapistChoice("known", design.labels, clinics)
        part = therapist_part(posterior, own, len(design.y))
        if part is not None:
            if part.mean is not None:
                mean = part.own_mean()
                predictor += mean * mean_slopes(posterior, design.X)
                if "slope" in design.effects:
                    Z[..., design.effects.index("slope")] -= mean
            for k in range(len(design.effects)):
                predictor += part.effect[:, part.index, k] * Z[..., k] * has
            for k, column in enumerate(design.clinic_columns, start=len(design.effects)):
                predictor += part.effect[:, part.index, k] * design.X[:, column]
    return np.asarray(predictor)


def _own_slopes(design: Design, beta: Array, rows: NDArray[np.int64]) -> Array:
    """Moderator slope (d, m) of these patients in their own arms."""
    names = [design.coefficients[k] for k in design.present]
    slope = np.repeat(beta[:, [names.index("moderator")]], len(rows), axis=1)
    for k in range(1, len(design.arms)):
        if (name := f"interaction[{k}]") in names:
            arm = design.X[rows, design.coefficients.index(f"arm[{k}]")]
            slope += beta[:, [names.index(name)]] * arm
    return slope


def prior_scores(
    design: Design, priors: Priors, draws: xr.Dataset, generator: np.random.Generator
) -> Array:
    """A trial's scores from each draw of the parameters.

    Parameters
    ----------
    design : Design
    priors : Priors
        For parameters that they fix.
    draws : xarray.Dataset
        As from `prior_draws`.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (d, n)
        On the outcome's own scale.
    """
    predictor = prior_predictor(Posterior(design, draws))
    of_draws, scores = Posterior(design, draws), np.empty_like(predictor)
    for some in column_blocks(predictor.shape, max(1, design.scale.top)):
        auxiliary = of_draws.parameters_in(design.arm_index[some])
        eta = own_link(design, predictor[:, some], some)
        scores[:, some] = design.family.random(generator, eta, auxiliary, design.scale)
    return design.scale.offset + design.scale.unit * scores


@dataclass(frozen=True, eq=False, slots=True)
class PriorEffect:
    """An effect under the priors.

    Attributes
    ----------
    quantity, level : str
        As in the tidy table.
    priors : tuple of str
        Entries of `models.priors.Priors` that it rests on.
    start, end : float
        Values of the variable that it is taken between, in the variable's own unit; missing (NaN)
        for arms.
    change : ndarray, shape (d,)
        Of the expected score, in points.
    standard : ndarray, shape (d,)
        The effect in SDs of the outcome: between two arms, or for two SDs of a variable, as far
        apart as two groups of equal size are (Gelman 2008, doi:10.1002/sim.3107). Where the link
        is curved, to first order.
    """

    quantity: str
    level: str
    priors: tuple[str, ...]
    start: float
    end: float
    change: Array
    standard: Array


def prior_effects(whole: Design, design: Design, draws: xr.Dataset) -> list[PriorEffect]:
    """Effects of the alliance, the arms, their interaction, the baseline and the covariates.

    Parameters
    ----------
    whole : Design
        Of all patients, whose observed values the effects are taken between.
    design : Design
        Of the patients that are averaged over.
    draws : xarray.Dataset
        As from `inference.priors.prior_predictive.prior_draws`.

    Returns
    -------
    list of PriorEffect
    """
    asked = _Asked(whole, Posterior(design, draws))
    found = [*_alliance_of(asked), *_arms(asked)]
    if whole.has_baseline:
        found.insert(0, asked.covered("baseline_slope", "", None))
    for k, name, _ in whole.encoding.seen_columns:
        found.append(asked.covered("covariate_slope", name, k))
    return found


def _both(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
    """Expected scores, and the predictor in SDs of the outcome."""
    scale = posterior.design.scale
    predictor = (eta - scale.link_location) / scale.link_unit
    return expected(posterior, eta, rows) | {"predictor": predictor}


@dataclass(frozen=True, eq=False)
class _Asked:
    whole: Design
    posterior: Posterior

    @property
    def arms(self) -> tuple[int, ...]:
        return tuple(range(len(self.whole.arms)))

    @property
    def patients(self) -> Rows:
        """Those averaged over, all at the mean of the ratings."""
        return self.posterior.rows.at_moderator(self.whole.scaling.moderator[0])

    def ends(self, column: int) -> tuple[float, float]:
        """Lowest and highest observed value of a column of the design, standardised."""
        values = self.whole.X[:, column]
        if column == self.whole.encoding.places("moderator")[0]:
            values = values[~self.whole.moderator_missing]
        return float(values.min()), float(values.max())

    def covered(self, quantity: str, level: str, number: int | None) -> PriorEffect:
        """The effect of a covariate, by its number, or of the baseline: it has no interaction."""
        encoding, scaling = self.whole.encoding, self.whole.scaling
        column = encoding.places("baseline" if number is None else "covariate")[number or 0]
        mean, sd = scaling.baseline if number is None else scaling.covariates[number]
        low, high = self.ends(column)
        found = []
        for value in (low, high, -1.0, 1.0):
            rows = self.patients
            own = np.full(len(rows), mean + sd * value)
            if number is None:
                rows = replace(rows, baseline=own)
            else:
                covariates = rows.covariates.copy()
                covariates[:, number] = own
                rows = replace(rows, covariates=covariates)
            found.append(Question(self.posterior, rows).averaged(_both))
        return PriorEffect(
            quantity,
            level,
            (quantity,),
            mean + sd * low,
            mean + sd * high,
            (found[1]["expected"] - found[0]["expected"])[:, 0],
            (found[3]["predictor"] - found[2]["predictor"])[:, 0],
        )


def _alliance_of(asked: _Asked) -> list[PriorEffect]:
    """Slopes: averaged over arms, between therapists, in each arm, and their differences."""
    design, posterior = asked.whole, asked.posterior
    if not design.has_moderator:
        return []
    moderated = list(design.encoding.moderated)
    mean, sd = design.scaling.moderator
    low, high = asked.ends(design.encoding.places("moderator")[0])
    ends = (mean + sd * low, mean + sd * high)
    question = Question(posterior, asked.patients, asked.arms)
    along = question.along(np.array([*ends, mean - sd, mean + sd]), _both)
    change = along["expected"][..., 1] - along["expected"][..., 0]  # (d, K)
    standard = along["predictor"][..., 3] - along["predictor"][..., 2]
    slope, own = ("moderator_slope",), ("moderator_slope", "interaction")
    both = change[:, moderated].mean(axis=1), standard[:, moderated].mean(axis=1)
    found = [PriorEffect("moderator_slope", AVERAGE, slope, *ends, *both)]
    if "moderator_slope_between" in posterior.draws:
        between = posterior.flat("moderator_slope_between")

        def moved(posterior: Posterior, eta: Array, rows: Rows) -> dict[str, Array]:
            step = posterior.design.scale.link_unit * between[:, None]
            highest, lowest = (expected(posterior, eta + step * end, rows) for end in (high, low))
            return {"change": highest["expected"] - lowest["expected"]}

        change_between = Question(posterior, asked.patients).averaged(moved)["change"][:, 0]
        found.append(
            PriorEffect("moderator_slope", BETWEEN, slope, *ends, change_between, 2 * between)
        )
    if not design.encoding.interaction:
        return found
    names = contrast_names(design.arms)
    found += [
        PriorEffect("moderator_slope", name, own, *ends, change[:, k], standard[:, k])
        for k, name in enumerate(slope_names(design.arms))
        if k in moderated
    ]
    for k, j in arm_pairs(len(design.arms)):
        if not {k, j} <= set(moderated):
            continue
        apart = change[:, k] - change[:, j], standard[:, k] - standard[:, j]
        found.append(PriorEffect("interaction", names[k, j], ("interaction",), *ends, *apart))
    return found


def _arms(asked: _Asked) -> list[PriorEffect]:
    """Contrasts of the arms at the mean of the ratings that there are."""
    names = contrast_names(asked.whole.arms)
    found = Question(asked.posterior, asked.patients, asked.arms).averaged(_both)
    score, predictor = found["expected"], found["predictor"]
    return [
        PriorEffect(
            "arm_contrast",
            names[k, j],
            ("arm",),
            np.nan,
            np.nan,
            score[:, k] - score[:, j],
            predictor[:, k] - predictor[:, j],
        )
        for k, j in arm_pairs(len(asked.arms))
    ]
