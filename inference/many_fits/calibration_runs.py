"""Calibration of a study's models by many fits on a cluster, kept in a store.

Simulation-based calibration of joint models: all outcomes of a trial at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.inputs import imagined_patients
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import analysed_patients
from alliance.inference.draws.datatree import divergences, draws_of
from alliance.inference.estimands.estimands import estimand_draws, shared_estimands
from alliance.inference.many_fits.calibration import (
    ALARM,
    Calibration,
    CalibrationQuestion,
    calibration_of,
    rank_numbers,
    ranked_trial,
)
from alliance.inference.many_fits.task_runner import TaskStore, Workers, run_tasks
from alliance.inference.many_fits.visits_calibration import VisitsQuestion, ranked_visits_trial
from alliance.inference.posterior import Posterior
from alliance.inference.priors.prior_predictive import family_draws
from alliance.inference.runs.fit import installed_versions
from alliance.inference.sampling.caches import prepare_caches
from alliance.inference.sampling.engines import default_engine, require_engine
from alliance.inference.sampling.profiles import DEFAULT_SEED, Engine, SamplerProfile, seed_sequence
from alliance.models.design.design import Design, build_design
from alliance.models.joint.joint import (
    CORRELATION_SHAPE,
    JointDesign,
    correlation_factor,
    effects_factor,
    lkj_powers,
    slope_scales,
)
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, over_time, specify
from alliance.models.visits.design import build_visits

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
    seed: int = DEFAULT_SEED


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
    prepare_caches()
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


Question = CalibrationQuestion | JointQuestion | VisitsQuestion

IMAGINED_TO_LEAVE = 0.25  # share of imagined patients who leave before an outcome's last visit

# Enough for ranks among 199 draws that are thinned to be nearly independent.
PROFILE = SamplerProfile("ci", chains=2, draws=500, tune=500)
# Draws of the instant engine are independent as they stand; where therapists' effects are
# integrated numerically, each of them costs an integral and averages over all patients.
INTEGRATED = replace(PROFILE, draws=200)


@dataclass(frozen=True, eq=False)
class StudyCalibration:
    """Calibration of every outcome of a study.

    Attributes
    ----------
    outcomes : dict of str to Calibration
    failures : dict of str to str
        By task, trials whose fit failed.
    engines : dict of str to str
        By outcome, the engine that was asked for.
    """

    outcomes: dict[str, Calibration]
    failures: dict[str, str]
    engines: dict[str, Engine]

    @property
    def passed(self) -> bool:
        """Whether no quantity of any outcome fails, and no fit did."""
        return not self.failures and bool((self.table["p_adjusted"] >= ALARM).all())

    @property
    def table(self) -> pd.DataFrame:
        """One row for each quantity; as `Calibration.table`, corrected over all outcomes."""
        table = pd.concat([own.table for own in self.outcomes.values()], ignore_index=True)
        table["p_adjusted"] = multipletests(table["p_value"], method="holm")[1]
        return table


def calibration_questions(
    study: Study,
    data: xr.Dataset | None,
    *,
    patients: int,
    therapists: int,
    seed: int,
    engine: Engine | None,
    nested: bool = False,
) -> dict[str, Question]:
    """What is to be calibrated, for each outcome.

    Parameters
    ----------
    study : Study
    data : xarray.Dataset or None
        Of a trial, whose patients are kept; otherwise they are imagined.
    patients, therapists : int
        So many are imagined.
    seed : int
    engine : {"nuts", "instant"}, optional
        ``instant`` by default where it fits the outcome, NUTS for the others.
    nested : bool
        Whether each imagined therapist treats in one arm only.

    Returns
    -------
    dict of str to CalibrationQuestion
        Of a joint model one, ``joint``, which is a `JointQuestion`; of an outcome over time a
        `VisitsQuestion`, in which a quarter of imagined patients leave.

    Raises
    ------
    InputError
        If the engine does not fit an outcome.
    """
    leaving = IMAGINED_TO_LEAVE if data is None else 0.0
    if data is None:
        generator = np.random.default_rng(seed_sequence(seed, "prior", "imagined patients"))
        data = imagined_patients(study, patients, therapists, generator, nested=nested)
    specs = specify(study)
    if study.model.joint:
        require_engine([], engine or "nuts", joint=True)
        from alliance.inference.sampling.joint import join_data  # loads PyMC

        joined = join_data(study, data, specs)
        return {JOINT: JointQuestion(joined, next(iter(specs.values())).priors, PROFILE, seed)}
    questions: dict[str, Question] = {}
    for outcome, visits in over_time(specs).items():
        own = {name: specs[name] for name in visits}
        whole, priors = build_visits(data, own), specs[visits[0]].priors
        questions[outcome] = VisitsQuestion(
            whole, own, priors, PROFILE, seed, leaving, engine or "instant"
        )
    for name, spec in specs.items():
        if spec.visits is not None:
            continue
        design = build_design(analysed_patients(data, name), spec, study.outcomes[name].range)
        chosen = default_engine(design) if engine is None else engine
        require_engine([design], chosen, joint=False)
        costly = chosen == "instant" and design.family.name != "gaussian"
        profile = INTEGRATED if costly else PROFILE
        questions[name] = CalibrationQuestion(design, spec.priors, profile, seed, chosen)
    return questions


def calibrate_study(
    workers: Workers,
    store: TaskStore,
    questions: Mapping[str, Question],
    trials: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> StudyCalibration:
    """Rank so many simulated trials of every outcome, but for those that the store has.

    Parameters
    ----------
    workers : LocalProcesses or distributed.Client
    store : TaskStore
        Open, and of the facts of these questions; more trials may be asked of it than before.
    questions : mapping
        As from `calibration_questions`.
    trials : int
        Of each outcome.
    progress : callable, optional
        Called with the trials done and the trials to do.

    Returns
    -------
    StudyCalibration

    Raises
    ------
    InputError
        If every fit of an outcome failed.
    """
    tasks = {f"{name}/{k}": (name, k) for k in range(trials) for name in questions}
    found = run_tasks(workers, store, ranked, dict(questions), tasks, progress=progress)
    failures = {task: own.failure for task, own in found.items() if own.failure is not None}
    ranks: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        for name, own in (found[task].result or {}).items():
            ranks.setdefault(name, []).append(own)
    if absent := [name for name in questions if name not in ranks]:
        raise InputError(
            f"{absent[0]}: every fit failed, the first with {next(iter(failures.values()))}",
            "Try `alliance fit` on simulated data of this study.",
        )
    return StudyCalibration(
        {name: calibration_of(name, own) for name, own in ranks.items()},
        failures,
        {name: _engine(questions.get(name)) for name in ranks},
    )


def ranked(questions: Mapping[str, Question], name: str, number: int) -> dict[str, Any]:
    """One task: ranks by outcome, of one outcome or of all of a joint model."""
    question = questions[name]
    if isinstance(question, JointQuestion):
        return ranked_joint_trial(question, number)
    if isinstance(question, VisitsQuestion):
        return ranked_visits_trial(question, number)
    return {name: ranked_trial(question, number)}


def _engine(question: Question | None) -> Engine:
    return "nuts" if question is None or isinstance(question, JointQuestion) else question.engine


def calibration_facts(questions: Mapping[str, Question]) -> dict[str, Any]:
    """All that decides the results but the number of trials, for the store."""
    facts: dict[str, Any] = {"what": "calibration", "versions": installed_versions()}
    for name, question in questions.items():
        if isinstance(question, JointQuestion):
            hashes = [design_hash(design) for design in question.joint.designs.values()]
        elif isinstance(question, VisitsQuestion):
            hashes = [design_hash(design) for design in question.design.designs.values()]
            settings = [repr(spec.visits) for spec in question.specs.values()]
            facts[f"{name}: visits"] = f"{settings}, {question.leaving:g} leave"
        else:
            hashes = [design_hash(question.design)]
        facts[f"{name}: patients"] = "-".join(hashes)
        facts[f"{name}: engine"] = _engine(question)
        facts[f"{name}: seed"] = question.seed
        facts[f"{name}: profile"] = question.profile.to_dict()
        facts[f"{name}: priors"] = repr(question.priors)
    return facts


def design_hash(design: Design) -> str:
    """Hash of a design without its outcome: its patients and what is modelled of them."""
    digest = hashlib.sha256()
    for values in (design.X, design.therapist_index, design.moderator_missing):
        digest.update(np.ascontiguousarray(values).tobytes())
    for fact in (design.coefficients, design.effects, design.therapists, design.arms):
        digest.update(repr(fact).encode())
    digest.update(f"{design.family.name} {design.moderator} {design.scale}".encode())
    return digest.hexdigest()[:12]
