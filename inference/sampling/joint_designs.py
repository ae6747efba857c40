"""The outcomes of a joint model side by side: one scale of the moderator, patients matched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import analysed_patients, complete_patients
from alliance.models.design.design import build_design, centre_and_sd
from alliance.models.joint.joint import JointDesign, join_designs
from alliance.models.spec import ModelSpec


def join_data(study: Study, data: xr.Dataset, specs: Mapping[str, ModelSpec]) -> JointDesign:
    """The designs of all outcomes side by side, on one scale of the moderator.

    Parameters
    ----------
    study : Study
    data : xarray.Dataset
        Of a trial, as `data_prep.trial.trial.Trial.data`, or of imagined patients.
    specs : mapping of str to ModelSpec

    Returns
    -------
    JointDesign
    """
    scale = joint_facts(data, specs)["moderator_scale"]
    designs = {
        name: build_design(analysed_patients(data, name), spec, study.outcomes[name].range, scale)
        for name, spec in specs.items()
    }
    positions = {name: own.tolist() for name, own in _positions(data, specs).items()}
    better = {name: study.outcomes[name].better for name in specs}
    return join_designs(designs, positions, better)


def joint_facts(data: xr.Dataset, outcomes: Iterable[str]) -> dict[str, Any]:
    """What a run keeps of a joint model beside the outcomes' own patients.

    Parameters
    ----------
    data : xarray.Dataset
        As `data_prep.trial.trial.Trial.data`.
    outcomes : iterable of str

    Returns
    -------
    dict
        ``patients``, those with any outcome; ``moderator_scale``, the mean and SD of their
        moderator, with which every outcome's is standardised; and ``without``, by outcome, which
        of them (counted from 0) lack it: see `joint_positions`.
    """
    own = _positions(data, outcomes)
    positions = np.unique(np.concatenate(list(own.values())))
    scale = centre_and_sd(data["moderator"].values[positions])
    return {
        "patients": len(positions),
        "moderator_scale": list(scale),
        "without": {
            name: np.flatnonzero(~np.isin(positions, rows)).tolist() for name, rows in own.items()
        },
    }


def joint_positions(
    facts: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, list[int]] | None:
    """Which of the patients with any outcome the analysed patients of each outcome are.

    Parameters
    ----------
    facts : mapping
        As of `joint_facts`, from a run's manifest.
    sizes : mapping of str to int
        Analysed patients of each outcome.

    Returns
    -------
    dict of str to list of int, or None
        None if the run does not tell: one of an earlier version, with outcomes that some lack.
    """
    everybody = range(facts["patients"])
    without = facts.get("without", dict.fromkeys(sizes, ()))
    found = {name: sorted(set(everybody).difference(without.get(name, ()))) for name in sizes}
    return found if {name: len(rows) for name, rows in found.items()} == dict(sizes) else None


def _positions(data: xr.Dataset, outcomes: Iterable[str]) -> dict[str, np.ndarray]:
    """Which patients, counted from 0, each outcome's analysed ones are."""
    return {name: np.flatnonzero(complete_patients(data, name)) for name in outcomes}
