"""Whether a trial's visits can tell anything of how scores go together over time."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alliance.data_prep.errors import Problem
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import complete_patients


def visit_problems(study: Study, source: str, data: xr.Dataset) -> list[Problem]:
    """Outcomes over time that no model can be fitted to.

    Parameters
    ----------
    study : Study
    source : str
        Name of the file.
    data : xarray.Dataset
        Data of a `Trial`.

    Returns
    -------
    list of Problem
        Of outcomes with more visits than patients, and of those of which no patient has two visits
        though the model has correlations between them.
    """
    visited: dict[str, list[str]] = {}
    for name, described in study.outcomes.items():
        if described.visit_of is not None:
            visited.setdefault(described.visit_of, []).append(name)
    problems = []
    for outcome, names in visited.items():
        seen = np.stack([complete_patients(data, name) for name in names], axis=1)
        patients = int(seen.any(axis=1).sum())
        if len(names) > patients:
            rule = f"{outcome} has {len(names)} visits and {patients} analysed patients"
            remedy = "Name fewer visits in the study file: a model of visits needs more patients."
            problems.append(Problem(source, None, None, None, rule, remedy))
        elif study.model.visit_correlation != "diagonal" and not (seen.sum(axis=1) > 1).any():
            rule = f"no patient has two visits of {outcome}"
            remedy = (
                "Nothing tells how visits go together: check the columns of the visits and the ids "
                'of the patients, or set visit_correlation = "diagonal" under [model].'
            )
            problems.append(Problem(source, None, None, None, rule, remedy))
    return problems
