"""Several runs of one study side by side: what a choice of the model changes."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from alliance.data_prep.errors import InputError
from alliance.inference.runs.fit import Fit

KEY = ["outcome", "quantity", "level"]
SHOWN = ("mean", "sd", "lower", "upper", "at")


def runs_beside(
    runs: Mapping[str, Fit],
    *,
    interval: float = 0.95,
    at: float | None = None,
    extrapolate: bool = False,
) -> pd.DataFrame:
    """Posterior summaries of several runs, on the outcome's own scale, in one table.

    Parameters
    ----------
    runs : mapping of str to Fit
        By the name that the columns bear; at least two, with an outcome in common.
    interval : float
        Probability of the equal-tailed intervals.
    at, extrapolate
        Where arms are compared in every run, as of `inference.runs.fit.Fit.summary`; by default at
        the mean of each run's own analysed patients.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, quantity, level`` and for each run ``RUN_mean, RUN_sd, RUN_lower,
        RUN_upper, RUN_at``, missing where a run has no such quantity. Rows of the first run come
        first.

    Raises
    ------
    InputError
        If two runs share no outcome, or hold one on different scales.
    """
    first, *others = runs
    for name in others:
        _require_comparable(first, runs[first], name, runs[name])
    summaries = {
        name: fit.summary(interval=interval, at=at, extrapolate=extrapolate)
        for name, fit in runs.items()
    }
    table = pd.concat([summary[KEY] for summary in summaries.values()]).drop_duplicates()
    outcomes = table["outcome"].unique().tolist()
    table = table.sort_values("outcome", key=lambda names: names.map(outcomes.index), kind="stable")
    for name, summary in summaries.items():
        own = summary[[*KEY, *SHOWN]].rename(columns={each: f"{name}_{each}" for each in SHOWN})
        table = table.merge(own, on=KEY, how="left")
    return table


def _require_comparable(one: str, first: Fit, other: str, second: Fit) -> None:
    common = [name for name in first.outcomes if name in second.outcomes]
    if not common:
        raise InputError(
            f"The runs {one!r} and {other!r} have no outcome in common.",
            f"{one}: {', '.join(first.outcomes)}. {other}: {', '.join(second.outcomes)}.",
        )
    for name in common:
        ranges = [fit.study.outcomes[name].range for fit in (first, second)]
        if ranges[0] != ranges[1]:
            raise InputError(
                f"Outcome {name!r} runs from {ranges[0][0]:g} to {ranges[0][1]:g} in {one!r} and "
                f"from {ranges[1][0]:g} to {ranges[1][1]:g} in {other!r}.",
                "Put runs of one study side by side.",
            )
