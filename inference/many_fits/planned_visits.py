"""A planned trial of an outcome over time, simulated under the assumptions of an assurance.

Effects and therapists are the same at all visits, residuals are those of an autoregression from
visit to visit, and patients leave at random given the scores seen
(`data_prep.simulator.leaving`), the likelier the worse the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.simulator.leaving import who_left
from alliance.inference.many_fits.visits_calibration import of_rows
from alliance.models.design.design import Design
from alliance.models.spec import ModelSpec
from alliance.models.visits.design import VisitsDesign, build_visits, join_visits

Array = NDArray[np.float64]


def planned_visits(
    data: xr.Dataset,
    specs: Mapping[str, ModelSpec],
    expected: Array,
    residual: Array,
    leaving: float | Sequence[float],
    worse: int,
    generator: np.random.Generator,
) -> VisitsDesign:
    """The design of a trial whose scores are these, as far as they are seen.

    Parameters
    ----------
    data : xarray.Dataset
        Of imagined patients, who all have every visit.
    specs : mapping of str to ModelSpec
        Of the visits, in the order of time.
    expected : ndarray, shape (n,)
        In residual SDs, the same at all visits.
    residual : ndarray, shape (n, V)
    leaving : float or sequence of float
        As of `data_prep.simulator.leaving.who_left`.
    worse : {1, -1}
        1 where a higher score is worse.
    generator : numpy.random.Generator

    Returns
    -------
    VisitsDesign
        Whose outcomes are in residual SDs.
    """
    whole = build_visits(data, specs)
    scores = expected[:, None] + residual
    scores[who_left(worse * scores, leaving, generator)] = np.nan
    centres = np.nanmean(scores, axis=0)
    seen = ~np.isnan(scores)
    sd = float(np.sqrt(np.nansum((scores - centres) ** 2) / (seen.sum() - len(specs))))
    designs, positions = {}, {}
    for t, (name, own) in enumerate(whole.designs.items()):
        positions[name] = np.flatnonzero(seen[:, t])
        y = (scores[positions[name], t] - centres[t]) / sd
        designs[name] = _seen(own, positions[name], y, (float(centres[t]), sd))
    return join_visits(designs, positions, specs)


def _seen(
    design: Design, rows: NDArray[np.int64], y: Array, outcome: tuple[float, float]
) -> Design:
    scaling = replace(design.scaling, outcome=outcome)
    own = of_rows(design, rows, y)
    return replace(own, encoding=replace(own.encoding, scaling=scaling))
