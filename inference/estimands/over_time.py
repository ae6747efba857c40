"""What is reported of an outcome over time beside its visits: averages, changes and areas.

All visits come from the same draws, so that their quantities add up draw by draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from alliance.data_prep.levels import OVER_TIME
from alliance.data_prep.study.description import Study
from alliance.inference.draws.datatree import flat
from alliance.models.spec import ModelSpec

OVER_VISITS = "average"
LAST_FIRST = "last-first"
AREA = "area"
CORRELATION = "residual_correlation"

# Quantities that are reported over visits too: differences, which visits share the scale of.
COMBINED = ("arm_contrast", "moderator_slope", "interaction")


def visit_weights(times: Sequence[float | None]) -> dict[str, np.ndarray]:
    """Weights of the visits, in the order of time, by what is made of them.

    Parameters
    ----------
    times : sequence of float or None
        When the visits are; the area, by trapezoids from the first visit to the last, needs all.

    Returns
    -------
    dict of str to ndarray, shape (V,)
        ``average``, each visit alike; ``last-first``; ``area``.
    """
    V = len(times)
    change = np.zeros(V)
    change[0], change[-1] = -1.0, 1.0
    found = {OVER_VISITS: np.full(V, 1 / V), LAST_FIRST: change}
    known = [time for time in times if time is not None]
    if len(known) == V:
        steps = np.diff(known) / 2
        found[AREA] = np.concatenate([steps, [0.0]]) + np.concatenate([[0.0], steps])
    return found


def over_visits(estimands: Sequence[xr.DataArray], times: Sequence[float | None]) -> xr.DataArray:
    """Draws of what is made of several visits' quantities.

    Parameters
    ----------
    estimands : sequence of xarray.DataArray
        Of each visit, as from `inference.estimands.estimands.estimand_draws`.
    times : sequence of float or None

    Returns
    -------
    xarray.DataArray
        Dims ``chain, draw, estimand``; coords ``quantity``, ``level``, ``visit`` (`OVER_VISITS`,
        `LAST_FIRST`, `AREA`) and ``at``.
    """
    first = estimands[0]
    some = np.flatnonzero(np.isin(first["quantity"].values, COMBINED))
    stacked = np.stack([own.transpose("chain", "draw", "estimand").values for own in estimands])
    parts = [
        (visit, np.tensordot(weights, stacked[..., some], axes=1))
        for visit, weights in visit_weights(times).items()
    ]
    coords = {
        name: ("estimand", np.tile(first[name].values[some], len(parts)))
        for name in ("quantity", "level", "at")
    }
    coords["visit"] = ("estimand", np.repeat([visit for visit, _ in parts], len(some)))
    return xr.DataArray(
        np.concatenate([values for _, values in parts], axis=-1),
        dims=("chain", "draw", "estimand"),
        coords={"chain": first["chain"], "draw": first["draw"], **coords},
        name="estimand",
    )


def correlation_estimands(
    draws: Sequence[xr.Dataset], visits: Sequence[str], groups: Mapping[str, int] | None = None
) -> xr.DataArray:
    """Draws of the residuals' correlations between visits, level ``EARLIER,LATER[,ARM]``.

    Parameters
    ----------
    draws : sequence of xarray.Dataset
        Of each visit in the order of time.
    visits : sequence of str
    groups : mapping of str to int, optional
        Residual group by arm, where there are several.
    """
    found: list[np.ndarray] = []
    levels = []
    for own, visit in zip(draws, visits, strict=True):
        if CORRELATION not in own:
            continue
        for later in own["later_visit"].values:
            values = own[CORRELATION].sel(later_visit=later).transpose("chain", "draw", ...).values
            if not groups:
                found.append(values)
                levels.append(f"{visit},{later}")
            for arm, group in (groups or {}).items():
                found.append(values[..., group])
                levels.append(f"{visit},{later},{arm}")
    first = draws[0]
    return xr.DataArray(
        np.stack(found, axis=-1),
        dims=("chain", "draw", "estimand"),
        coords={
            "chain": first["chain"],
            "draw": first["draw"],
            "quantity": ("estimand", [CORRELATION] * len(levels)),
            "level": ("estimand", levels),
        },
        name="estimand",
    )


def residual_covariances(draws: Sequence[xr.Dataset]) -> np.ndarray:
    """Draws of the residual covariance over visits, standardised.

    Parameters
    ----------
    draws : sequence of xarray.Dataset
        Of each visit in the order of time, or of an outcome with one follow-up.

    Returns
    -------
    ndarray, shape (d, A, V, V)
        Chain after chain; A residual groups.
    """
    sds = np.stack([flat(own, "residual_sd") for own in draws], axis=-1)  # (d, [A,] V)
    sds = sds.reshape(len(sds), -1, len(draws))
    found = np.zeros((*sds.shape, len(draws)))
    for visit, own in enumerate(draws):
        found[..., visit, visit] = 1.0
        if CORRELATION in own:
            values = flat(own, CORRELATION)
            found[..., visit, visit + 1 :] = values.reshape(*sds.shape[:2], -1)
            found[..., visit + 1 :, visit] = found[..., visit, visit + 1 :]
    return np.asarray(sds[..., :, None] * found * sds[..., None, :])


def visit_positions(manifest: Mapping[str, Any], outcome: str) -> dict[str, np.ndarray]:
    """Which of the patients with any visit those of each visit are, by the visit's own name.

    Parameters
    ----------
    manifest : mapping
        Of a run; ``visits`` has by outcome over time ``visits``, the names of the outcome at each,
        ``patients``, the number of those with any, and ``without``, by visit, which of them lack
        it.
    outcome : str
        The outcome over time.
    """
    facts = manifest[OVER_TIME][outcome]
    everybody = np.arange(facts["patients"])
    return {
        name: np.delete(everybody, np.array(facts["without"][name], dtype=np.int64))
        for name in facts["visits"]
    }


def with_visit(table: pd.DataFrame, visit: str | Sequence[str]) -> pd.DataFrame:
    """A tidy table with a column ``visit`` after ``level``."""
    found = table.copy()
    own = [visit] * len(found) if isinstance(visit, str) else list(visit)
    found.insert(list(found.columns).index("level") + 1, "visit", own)
    return found


def by_outcome_and_visit(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The tidy table with outcomes at visits under the outcome's own name.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `inference.runs.fit.Fit.summary`.
    study : Study
    """
    own = {name: outcome.visit_of for name, outcome in study.outcomes.items() if outcome.visit_of}
    return table.assign(outcome=table["outcome"].replace(own)) if own else table


def times_of(specs: Mapping[str, ModelSpec], names: Sequence[str]) -> list[float | None]:
    """When the visits of these names are."""
    visits = [specs[name].visits for name in names]
    return [None if visit is None else visit.time for visit in visits]
