"""The tidy table: one row for each reported quantity of each outcome."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from alliance.data_prep.errors import InputError
from alliance.inference.draws.quantiles import quantiles
from alliance.inference.draws.rank_statistics import rank_statistics
from alliance.inference.estimands.estimands import SCALE_QUANTITIES

COLUMNS = (
    "outcome",
    "quantity",
    "level",
    "mean",
    "sd",
    "lower",
    "upper",
    "prob_positive",
    "ess_bulk",
    "ess_tail",
    "r_hat",
    "at",
)


def limit_error(effective: float, *, interval: float = 0.95) -> float:
    """Monte Carlo error of a limit of an equal-tailed interval, in posterior SDs.

    The standard error of the quantile of so many independent draws, sqrt(p (1 - p) / n) over the
    density there, of a normal posterior (Vehtari et al. 2021, doi:10.1214/20-BA1221, section 4).

    Parameters
    ----------
    effective : float
        Effective draws at the limit; the tail ESS stands for it.
    interval : float
        Probability of the interval.

    Examples
    --------
    >>> round(limit_error(2_000), 3), round(limit_error(20_000), 3)
    (0.06, 0.019)
    """
    below = (1 - interval) / 2
    density = stats.norm.pdf(stats.norm.ppf(below))
    return float(np.sqrt(below * (1 - below) / effective) / density)


def summarise(outcome: str, estimands: xr.DataArray, *, interval: float = 0.95) -> pd.DataFrame:
    """Posterior summary of one outcome's reported quantities.

    Parameters
    ----------
    outcome : str
    estimands : xarray.DataArray
        As from `inference.estimands.estimands.estimand_draws`, dims ``chain, draw, estimand``.
    interval : float
        Probability of the equal-tailed interval.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`. ``prob_positive`` is missing for standard deviations and shares,
        which cannot be negative; ``at``, the alliance to which intercept, arm contrasts and the
        SD between therapists belong, is missing for what belongs to no single one. A quantity of
        which some draws are infinite has an infinite mean and no SD; its limits are quantiles of
        all draws.

    Raises
    ------
    InputError
        If the interval's probability is not between 0 and 1.
    """
    if not 0 < interval < 1:
        raise InputError(
            f"The interval's probability {interval} is not between 0 and 1.",
            "Give for example 0.95.",
        )
    tail = (1 - interval) / 2
    sample = ("chain", "draw")
    values = estimands.transpose("estimand", *sample).values
    lower, upper = quantiles(values.reshape(len(values), -1), [tail, 1 - tail], axis=1)
    quantity = estimands["quantity"].values
    ranks = rank_statistics(values)
    with np.errstate(invalid="ignore"):  # infinite draws have no SD
        sd = estimands.std(sample, ddof=1).values
    positive = (estimands > 0).mean(sample).values
    columns = {
        "outcome": outcome,
        "quantity": quantity,
        "level": estimands["level"].values,
        "mean": estimands.mean(sample).values,
        "sd": sd,
        "lower": lower,
        "upper": upper,
        "prob_positive": np.where(np.isin(quantity, SCALE_QUANTITIES), np.nan, positive),
        "ess_bulk": ranks.ess_bulk,
        "ess_tail": ranks.ess_tail,
        "r_hat": ranks.r_hat,
        "at": estimands["at"].values if "at" in estimands.coords else np.nan,
    }
    return pd.DataFrame(columns, columns=list(COLUMNS))
