"""From a trial to a `Fit`: every outcome sampled, with what is needed to read it again.

Apart from `inference.runs.fit`, so that a run is read back without PyMC.

The machine that draws were made on: another one may round differently.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import llvmlite.binding
import xarray as xr

from alliance.data_prep.errors import InputError, visible
from alliance.data_prep.levels import OVER_TIME
from alliance.data_prep.trial.characteristics import (
    CHARACTERISTICS,
    moments_characteristics,
    trial_characteristics,
)
from alliance.data_prep.trial.trial import Trial, check_estimable
from alliance.inference.draws.datatree import add_moments, add_patients, engine_facts
from alliance.inference.estimands.missing_outcomes import MISSING_OUTCOMES, missing_outcome_counts
from alliance.inference.runs.fit import (
    ENCODINGS,
    LABELS,
    Fit,
    installed_versions,
    moments_dataset,
    visits_facts,
)
from alliance.inference.sampling.caches import prepare_caches
from alliance.inference.sampling.engines import fit_outcome, fit_over_time, require_engine
from alliance.inference.sampling.profiles import Engine, SamplerProfile
from alliance.inference.sampling.trials import fit_trials
from alliance.models.design.design import Design, build_design, moments_design
from alliance.models.spec import JOINT, ModelSpec, over_time, specify
from alliance.models.trials.design import trials_design
from alliance.models.visits.design import build_visits

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry


def this_machine() -> dict[str, str]:
    """What of the machine can move a draw.

    Returns
    -------
    dict
        ``system`` and ``machine`` as `platform` names them, and ``cpu``, the name of the processor
        that models are compiled for: its instructions decide how sums are rounded.
    """
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": llvmlite.binding.get_host_cpu_name(),
    }


# Settings of places and of how much is said or done at a time, which move no draw.
_PLACES = ("compiledir", "cache", "verbosity", "debug", "num_threads", "warn")


def this_environment() -> dict[str, str]:
    """What of the environment's variables can move a draw: settings of PyTensor, numba and BLAS.

    Returns
    -------
    dict
        By name, and PyTensor's flags each by ``PYTENSOR_FLAGS``, a full stop and its own; double
        precision is no setting: `inference.sampling.compilation` sees to it.
    """
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("NUMBA_", "MKL_CBWR", "OPENBLAS_CORETYPE", "KMP_DETERMINISTIC"))
    }
    for flag in os.environ.get("PYTENSOR_FLAGS", "").split(","):
        name, equals, value = flag.partition("=")
        if equals and name.strip() != "floatX":
            found[f"PYTENSOR_FLAGS.{name.strip()}"] = value.strip()
    return {
        name: visible(found[name])
        for name in sorted(found)
        if not any(place in name.lower() for place in _PLACES)
    }


LARGEST_SEED = 2**63 - 1


def fit_trial(
    trial: Trial,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine = "nuts",
    cores: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    left_out: Sequence[str] = (),
) -> Fit:
    """Sample the posterior of every outcome of the trial's study.

    Parameters
    ----------
    trial : Trial
    profile : SamplerProfile
    seed : int
        From 0 to 2**63 - 1.
    engine : {"nuts", "instant"}
        See `inference.sampling.engines.fit_outcome`.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the outcome, the draws done and the draws to do.
    left_out : sequence of str
        Outcomes that the trial's study was narrowed by, for the manifest: published findings on
        them are no mistake.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If the seed is out of range, the data cannot carry the model, or the engine does not fit
        it.
    """
    _require_seed(seed)
    specs = specify(trial.study)
    check_estimable(trial, trial.study.model.therapist)
    settings = _Settings(profile, seed, engine, cores, progress)
    shared, own = None, dict[str, Any]()
    if trial.study.model.joint:
        require_engine([], engine, joint=True)
        trees, shared, timings, own[JOINT] = _together(trial, specs, settings)
    else:
        visited = over_time(specs)
        apart = {name: spec for name, spec in specs.items() if spec.visits is None}
        trees, timings = _each(trial, apart, settings) if apart else ({}, {})
        own[ENCODINGS] = {}
        for outcome, visits in visited.items():
            found, seconds, facts = _over_time(trial, {n: specs[n] for n in visits}, settings)
            trees |= found
            timings |= seconds
            own[ENCODINGS] |= facts.pop(ENCODINGS)
            own.setdefault(OVER_TIME, {})[outcome] = facts
        trees = {name: trees[name] for name in specs}
    own[MISSING_OUTCOMES] = missing_outcome_counts(trial)
    own[CHARACTERISTICS] = trial_characteristics(trial.data, trial.study)
    manifest = _manifest(trial, specs, settings, trees, timings) | own
    manifest["left_out"] = list(left_out)
    return _encoded(Fit(trial.study, specs, trees, trial.flow, manifest, shared=shared))


def fit_registry(
    registry: Registry,
    profile: SamplerProfile,
    seed: int,
    *,
    engine: Engine = "nuts",
    cores: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    left_out: Sequence[str] = (),
) -> Fit:
    """Sample the posterior of every outcome of a registry, from its cross-products.

    Parameters
    ----------
    registry : Registry
    profile, seed, engine, cores, progress, left_out
        As of `fit_trial`.

    Returns
    -------
    Fit
        Without patients' rows.

    Raises
    ------
    InputError
        As of `fit_trial`.
    """
    _require_seed(seed)
    specs = specify(registry.study)
    check_estimable(registry, registry.study.model.therapist)
    settings = _Settings(profile, seed, engine, cores, progress)
    designs = {
        outcome: moments_design(
            registry.moments[outcome], spec, list(registry.study.arms), registry.covariates
        )
        for outcome, spec in specs.items()
    }
    trees, timings = (
        _of_trials(designs, specs, registry.trials, settings)
        if registry.trials
        else _sampled(designs, specs, settings)
    )
    for outcome, design in designs.items():
        add_moments(trees[outcome], moments_dataset(design, registry.trials))
    manifest = _manifest(registry, specs, settings, trees, timings)
    manifest["left_out"] = list(left_out)
    manifest["data"]["parts"] = list(registry.files)
    manifest[CHARACTERISTICS] = moments_characteristics(
        registry.moments, registry.covariates, registry.study
    )
    return _encoded(Fit(registry.study, specs, trees, registry.flow, manifest))


def _encoded(fit: Fit) -> Fit:
    """The fit with a manifest that tells how its patients were encoded."""
    encodings = {name: fit.design(name).encoding.to_dict() for name in fit.outcomes}
    return replace(fit, manifest=fit.manifest | {ENCODINGS: encodings})


def _require_seed(seed: int) -> None:
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"The seed {seed} is out of range.", f"Give 0 to {LARGEST_SEED}.")


def _manifest(
    source: Trial | Registry,
    specs: Mapping[str, ModelSpec],
    settings: _Settings,
    trees: Mapping[str, xr.DataTree],
    timings: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "title": source.study.title,
        "simulated": source.study.simulated,
        "data": {"file": source.source, "sha256": source.sha256},
        "therapists_in_arms": source.therapists_in_arms,
        "notes": list(source.notes),
        "seed": settings.seed,
        "profile": settings.profile.to_dict(),
        "engine": settings.engine,
        "engines": {name: engine_facts(tree) for name, tree in trees.items()},
        "therapist_effects": {
            name: "summary" if "therapist_summary" in tree.children else "draws"
            for name, tree in trees.items()
        },
        "specifications": {name: spec.to_dict() for name, spec in specs.items()},
        "seconds": dict(timings),
        "versions": installed_versions(),
        "machine": this_machine(),
        "environment": this_environment(),
        **({LABELS: source.labels} if source.labels else {}),
    }


@dataclass(frozen=True, slots=True)
class _Settings:
    """How all outcomes of a run are sampled."""

    profile: SamplerProfile
    seed: int
    engine: Engine
    cores: int | None
    progress: Callable[[str, int, int], None] | None

    def report(self, name: str) -> Callable[[int, int], None] | None:
        """What the sampler of one outcome calls."""
        return None if self.progress is None else partial(self.progress, name)


def _each(
    trial: Trial, specs: Mapping[str, ModelSpec], settings: _Settings
) -> tuple[dict[str, xr.DataTree], dict[str, dict[str, float]]]:
    """Draws and seconds of every outcome by itself."""
    patients = {outcome: trial.analysed(outcome) for outcome in specs}
    designs = {
        outcome: build_design(patients[outcome], spec, trial.study.outcomes[outcome].range)
        for outcome, spec in specs.items()
    }
    trees, timings = _sampled(designs, specs, settings)
    for outcome, tree in trees.items():
        add_patients(tree, patients[outcome])
    return trees, timings


def _sampled(
    designs: Mapping[str, Design], specs: Mapping[str, ModelSpec], settings: _Settings
) -> tuple[dict[str, xr.DataTree], dict[str, dict[str, float]]]:
    require_engine(list(designs.values()), settings.engine, joint=False)
    trees, timings = {}, {}
    for outcome, spec in specs.items():
        trees[outcome], seconds = fit_outcome(
            designs[outcome],
            spec.priors,
            settings.profile,
            settings.seed,
            engine=settings.engine,
            cores=settings.cores,
            progress=settings.report(outcome),
        )
        timings[outcome] = asdict(seconds)
    return trees, timings


def _of_trials(
    designs: Mapping[str, Design],
    specs: Mapping[str, ModelSpec],
    trials: Mapping[str, str],
    settings: _Settings,
) -> tuple[dict[str, xr.DataTree], dict[str, dict[str, float]]]:
    """Draws and seconds of every outcome of several trials."""
    whole = {name: trials_design(designs[name], trials, spec) for name, spec in specs.items()}
    trees, timings = {}, {}
    for outcome, spec in specs.items():
        trees[outcome], seconds = fit_trials(
            whole[outcome],
            spec.priors,
            settings.profile,
            settings.seed,
            engine=settings.engine,
            cores=settings.cores,
            progress=settings.report(outcome),
        )
        timings[outcome] = asdict(seconds)
    return trees, timings


def _over_time(
    trial: Trial, specs: Mapping[str, ModelSpec], settings: _Settings
) -> tuple[dict[str, xr.DataTree], dict[str, dict[str, float]], dict[str, Any]]:
    """Draws of an outcome at all its visits, the seconds, and facts for the manifest."""
    design = build_visits(trial.data, specs)
    trees, seconds = fit_over_time(
        design,
        next(iter(specs.values())).priors,
        settings.profile,
        settings.seed,
        engine=settings.engine,
        cores=settings.cores,
        progress=settings.report(design.outcome),
    )
    for outcome, tree in trees.items():
        add_patients(tree, trial.analysed(outcome))
    encodings = {name: own.encoding.to_dict() for name, own in design.designs.items()}
    facts = visits_facts(design) | {ENCODINGS: encodings}
    return trees, {design.outcome: asdict(seconds)}, facts


def _together(
    trial: Trial, specs: Mapping[str, ModelSpec], settings: _Settings
) -> tuple[dict[str, xr.DataTree], xr.DataTree, dict[str, dict[str, float]], dict[str, Any]]:
    """Draws of every outcome and of what they share, the seconds, and facts for the manifest."""
    prepare_caches()
    from alliance.inference.sampling.joint import (  # loads PyMC
        join_data,
        joint_facts,
        sample_joint,
    )

    trees, shared, seconds = sample_joint(
        join_data(trial.study, trial.data, specs),
        next(iter(specs.values())).priors,
        settings.profile,
        settings.seed,
        cores=settings.cores,
        progress=settings.report(JOINT),
    )
    for outcome, tree in trees.items():
        add_patients(tree, trial.analysed(outcome))
    return trees, shared, {JOINT: asdict(seconds)}, joint_facts(trial.data, specs)
