"""Calibration of a study's models by many fits on a cluster, kept in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from statsmodels.stats.multitest import multipletests

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.imagined_patients import imagined_patients
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import analysed_patients
from alliance.inference.many_fits.calibration import (
    ALARM,
    Calibration,
    CalibrationQuestion,
    calibration_of,
    ranked_trial,
)
from alliance.inference.many_fits.joint_calibration import JointQuestion, ranked_joint_trial
from alliance.inference.many_fits.task_runner import Workers, run_tasks
from alliance.inference.many_fits.task_store import TaskStore
from alliance.inference.runs.fit import installed_versions
from alliance.inference.sampling.engines import default_engine, require_engine
from alliance.inference.sampling.joint_designs import join_data
from alliance.inference.sampling.profiles import Engine, SamplerProfile, seed_sequence
from alliance.models.design.design import Design, build_design
from alliance.models.spec import JOINT, specify

Question = CalibrationQuestion | JointQuestion

# Enough for ranks among 199 draws that are thinned to be nearly independent.
PROFILE = SamplerProfile("ci", chains=2, draws=500, tune=500)


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
        return not self.failures and bool((self.table()["p_adjusted"] >= ALARM).all())

    def table(self) -> pd.DataFrame:
        """One row for each quantity; as `Calibration.table`, corrected over all outcomes."""
        table = pd.concat([own.table() for own in self.outcomes.values()], ignore_index=True)
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
        Of a joint model one, ``joint``, which is a `JointQuestion`.

    Raises
    ------
    InputError
        If the engine does not fit an outcome.
    """
    if data is None:
        generator = np.random.default_rng(seed_sequence(seed, "prior", "imagined patients"))
        data = imagined_patients(study, patients, therapists, generator, nested=nested)
    specs = specify(study)
    if study.model.joint:
        require_engine([], engine or "nuts", joint=True)
        joined = join_data(study, data, specs)
        return {JOINT: JointQuestion(joined, next(iter(specs.values())).priors, PROFILE, seed)}
    questions: dict[str, Question] = {}
    for name, spec in specs.items():
        design = build_design(analysed_patients(data, name), spec, study.outcomes[name].range)
        chosen = default_engine(design) if engine is None else engine
        require_engine([design], chosen, joint=False)
        questions[name] = CalibrationQuestion(design, spec.priors, PROFILE, seed, chosen)
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
    return {name: ranked_trial(question, number)}


def _engine(question: Question | None) -> Engine:
    return question.engine if isinstance(question, CalibrationQuestion) else "nuts"


def calibration_facts(questions: Mapping[str, Question]) -> dict[str, Any]:
    """All that decides the results but the number of trials, for the store."""
    facts: dict[str, Any] = {"what": "calibration", "versions": installed_versions()}
    for name, question in questions.items():
        if isinstance(question, JointQuestion):
            hashes = [design_hash(design) for design in question.joint.designs.values()]
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
