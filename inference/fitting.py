"""From a trial to a `Fit`: every outcome sampled, with what is needed to read it again.

Apart from `inference.fit`, so that a run is read back without PyMC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import xarray as xr

from data_prep.errors import InputError
from data_prep.trial import Trial, check_estimable
from inference.datatree import add_patients, engine_facts
from inference.engines import fit_outcome, require_engine
from inference.fit import Fit, installed_versions
from inference.machine import this_machine
from inference.missing_outcomes import MISSING_OUTCOMES, missing_outcome_counts
from inference.profiles import Engine, SamplerProfile
from models.design import build_design
from models.spec import JOINT, ModelSpec, specify

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
        See `inference.engines.fit_outcome`.
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
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"The seed {seed} is out of range.", f"Give 0 to {LARGEST_SEED}.")
    specs = specify(trial.study)
    check_estimable(trial, trial.study.model.therapist)
    settings = _Settings(profile, seed, engine, cores, progress)
    shared, own = None, dict[str, Any]()
    if trial.study.model.joint:
        require_engine([], engine, joint=True)
        trees, shared, timings, own[JOINT] = _together(trial, specs, settings)
    else:
        trees, timings = _each(trial, specs, settings)
    manifest = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "title": trial.study.title,
        "simulated": trial.study.simulated,
        "data": {"file": trial.source, "sha256": trial.sha256},
        "therapists_in_arms": trial.therapists_in_arms,
        "notes": list(trial.notes),
        "seed": seed,
        "profile": profile.to_dict(),
        "engine": engine,
        "engines": {name: engine_facts(tree) for name, tree in trees.items()},
        "left_out": list(left_out),
        MISSING_OUTCOMES: missing_outcome_counts(trial),
        "specifications": {name: spec.to_dict() for name, spec in specs.items()},
        "seconds": timings,
        "versions": installed_versions(),
        "machine": this_machine(),
        **own,
    }
    return Fit(trial.study, specs, trees, trial.flow, manifest, shared=shared)


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
        add_patients(trees[outcome], patients[outcome])
        timings[outcome] = asdict(seconds)
    return trees, timings


def _together(
    trial: Trial, specs: Mapping[str, ModelSpec], settings: _Settings
) -> tuple[dict[str, xr.DataTree], xr.DataTree, dict[str, dict[str, float]], dict[str, Any]]:
    """Draws of every outcome and of what they share, the seconds, and facts for the manifest."""
    from inference.joint import join_trial, joint_facts, sample_joint  # loads PyMC

    trees, shared, seconds = sample_joint(
        join_trial(trial, specs),
        next(iter(specs.values())).priors,
        settings.profile,
        settings.seed,
        cores=settings.cores,
        progress=settings.report(JOINT),
    )
    for outcome, tree in trees.items():
        add_patients(tree, trial.analysed(outcome))
    return trees, shared, {JOINT: asdict(seconds)}, joint_facts(trial, specs)
