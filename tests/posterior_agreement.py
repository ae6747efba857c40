"""Two posteriors set against each other, in Monte Carlo standard errors."""

from __future__ import annotations

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

MOMENTS = ("mean", "sd")


def moments(draws: xr.Dataset) -> pd.DataFrame:
    """Posterior mean and SD of every quantity, with their Monte Carlo standard errors.

    Columns ``mean, sd, mcse_mean, mcse_sd``; one row for each element of each variable.
    """
    parts = {}
    for moment in MOMENTS:
        value = getattr(draws, {"mean": "mean", "sd": "std"}[moment])(("chain", "draw"))
        parts[moment] = flattened(value)
        parts[f"mcse_{moment}"] = flattened(azs.mcse(draws, method=moment))
    return pd.DataFrame(parts)


def flattened(values: xr.Dataset) -> pd.Series:
    entries = {}
    for name, array in values.data_vars.items():
        for position, value in np.ndenumerate(array.values):
            labels = [
                str(array.coords[dim].values[k])
                for dim, k in zip(array.dims, position, strict=True)
            ]
            entries[f"{name}[{', '.join(labels)}]" if labels else str(name)] = float(value)
    return pd.Series(entries)


def differences(one: xr.Dataset, other: xr.Dataset) -> pd.DataFrame:
    """Differences of posterior means and SDs in their Monte Carlo standard errors.

    Returns
    -------
    pandas.DataFrame
        One row for each quantity, columns ``mean`` and ``sd``.
    """
    left, right = moments(one), moments(other)
    assert set(left.index) == set(right.index)
    right = right.loc[left.index]
    return pd.DataFrame(
        {
            moment: (left[moment] - right[moment])
            / np.hypot(left[f"mcse_{moment}"], right[f"mcse_{moment}"])
            for moment in MOMENTS
        }
    )
