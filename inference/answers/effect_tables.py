"""Effects along the alliance as a tidy table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.inference.answers.effects import Effects
from alliance.inference.answers.yardsticks import Yardstick

Array = NDArray[np.float64]

COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "moderator",
    "mean",
    "sd",
    "lower",
    "upper",
    "band_lower",
    "band_upper",
    "prob_positive",
    "prob_better",
    "prob_better_by",
    "prob_equivalent",
    "prob_best",
    "threshold",
    "rope_low",
    "rope_high",
    "source",
    "extrapolated",
)


def effects_table(effects: Effects, *, every: bool = True) -> pd.DataFrame:
    """The answers as a tidy table.

    Parameters
    ----------
    effects : Effects
    every : bool
        All values of the grid; otherwise those of `Effects.shown`.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`. Quantities: ``arm_contrast`` at each value of the moderator;
        ``expected_score`` of each arm, whose ``prob_best`` is the chance that it is the best of
        all; ``interaction``, the difference of slopes; ``region_above_zero`` and
        ``region_below_zero``, whose ``lower`` and ``upper`` are the values of the moderator between
        which the simultaneous band excludes zero. ``lower`` and ``upper`` hold for each value by
        itself, ``band_lower`` and ``band_upper`` for all of them at once. ``prob_better`` is the
        chance that the first arm is better than the second, ``prob_better_by`` that it is so by the
        threshold or more.
    """
    rows: list[dict[str, Any]] = []
    for which in effects.contrasts:
        rows += _curve_rows(effects, "arm_contrast", which.level, every)
    for arm in effects.curves.arms:
        rows += _curve_rows(effects, "expected_score", arm, every)
    for level, slope in effects.slopes.items():
        described = described_draws(slope, effects.interval)
        rows.append({"quantity": "interaction", "level": level} | described)
    for which in effects.contrasts:
        for region in effects.regions(which.level):
            side = "above" if region.sign > 0 else "below"
            ends = {"lower": region.start, "upper": region.end}
            rows.append({"quantity": f"region_{side}_zero", "level": which.level} | ends)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["outcome"] = effects.outcome
    table["extrapolated"] = table["extrapolated"].astype("boolean").fillna(False).astype(bool)
    return table


def described_draws(draws: Array, interval: float) -> dict[str, Any]:
    """Mean, SD, equal-tailed interval and probability above zero of draws (d,)."""
    tail = (1 - interval) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail])
    return {
        "mean": draws.mean(),
        "sd": draws.std(ddof=1),
        "lower": lower,
        "upper": upper,
        "prob_positive": (draws > 0).mean(),
    }


def contrast_chances(draws: Array, gain: int, yardstick: Yardstick) -> dict[str, Any]:
    """What a contrast's draws (d,) say about the analyst's threshold and region.

    Parameters
    ----------
    draws : ndarray, shape (d,)
    gain : int
        1 where a higher score is better, -1 where a lower one is.
    yardstick : Yardstick

    Returns
    -------
    dict
        ``prob_better``; with a threshold ``prob_better_by``, with a region ``prob_equivalent``,
        and threshold and region themselves.
    """
    found: dict[str, Any] = {"prob_better": (gain * draws > 0).mean()}
    if yardstick.threshold is not None:
        found["prob_better_by"] = (gain * draws >= yardstick.threshold).mean()
        found["threshold"] = yardstick.threshold
    if yardstick.rope is not None:
        low, high = yardstick.rope
        found["prob_equivalent"] = ((draws > low) & (draws < high)).mean()
        found |= {"rope_low": low, "rope_high": high}
    return found


def _curve_rows(effects: Effects, quantity: str, level: str, every: bool) -> list[dict[str, Any]]:
    """One row for each value of the moderator."""
    curves, contrast = effects.curves, quantity == "arm_contrast"
    if contrast:
        which = next(each for each in effects.contrasts if each.level == level)
        draws, band = curves.contrast(which), effects.contrast_bands[level]
    else:
        arm = curves.arms.index(level)
        draws, band = curves.expected[:, arm], effects.arm_bands[level]
        best = curves.best()[arm]
    rows = []
    for k, value in enumerate(curves.moderator):
        if not every and value not in effects.shown:
            continue
        row = {"quantity": quantity, "level": level, "moderator": value}
        row |= described_draws(draws[:, k], effects.interval)
        row |= {"band_lower": band.band_lower[k], "band_upper": band.band_upper[k]}
        row["extrapolated"] = effects.extrapolated[k]
        if contrast:
            row |= contrast_chances(draws[:, k], curves.gain, effects.yardstick)
            if not effects.yardstick.empty:
                row["source"] = effects.yardstick.source
        else:
            row |= {"prob_positive": np.nan, "prob_best": best[k]}
        rows.append(row)
    return rows
