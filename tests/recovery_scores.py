"""How tests of recovery judge estimates of known truth: z-scores, coverage, widths."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

TRIALS = 20
LARGEST_MEAN_Z = 3.5  # in standard errors of the mean of so many z-scores
RARE = 5e-4  # probability of a count of covering intervals, or an SD of z-scores, as extreme
LOCATION = (
    "intercept",
    "baseline_slope",
    "moderator_slope",
    "arm_contrast",
    "interaction",
    "contextual_effect",
    "pooled_moderator_slope",
    "residual_correlation",
)


def random_numbers(option: str, number: int) -> np.random.Generator:
    """Those of one trial; no two options share any."""
    return np.random.default_rng([crc32(option.encode()), number])


def scored(draws: xr.DataArray, truth: pd.Series) -> pd.DataFrame:
    """One row for each quantity with a true value: estimate, error, z-score, covered or not."""
    rows = {}
    for one in draws.transpose("estimand", ...):
        label = (str(one["quantity"].item()), str(one["level"].item()))
        if label in truth.index:
            lower, upper = np.quantile(one.values, [0.025, 0.975])
            mean, sd = one.values.mean(), one.values.std()
            error = mean - truth[label]
            rows[label] = (error, error / sd, float(lower <= truth[label] <= upper), upper - lower)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["error", "z", "covered", "width"])


def summarised(scores: list[pd.DataFrame]) -> pd.DataFrame:
    """One row for each quantity: bias with its standard error, z-scores, coverage, width."""
    both = pd.concat(scores)
    groups = both.groupby(level=0, sort=False)
    table = groups.mean().rename(columns={"error": "bias", "z": "mean_z", "covered": "coverage"})
    table["bias_se"] = groups["error"].std() / np.sqrt(len(scores))
    table["sd_z"] = groups["z"].std()
    assert (groups.size() == TRIALS).all()
    return table


def assert_recovered(table: pd.DataFrame, title: str) -> None:
    print(f"\n{title}, {TRIALS} trials\n{table.round(3).to_string()}")
    location = table[[label[0] in LOCATION for label in table.index]]
    assert len(location) >= 5
    assert location["mean_z"].abs().max() < LARGEST_MEAN_Z / np.sqrt(TRIALS)
    limits = np.sqrt(stats.chi2.ppf([RARE, 1 - RARE], TRIALS - 1) / (TRIALS - 1))
    assert location["sd_z"].between(*limits).all()
    fewest = stats.binom.ppf(RARE, TRIALS, 0.95)
    assert (table["coverage"] * TRIALS >= fewest - 0.5).all()
