"""What a multiverse says: how far its analyses agree, and on which choice they hang."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import AVERAGE
from alliance.inference.estimands.estimands import SCALE_QUANTITIES, linear_estimands
from alliance.inference.many_fits.multiverse import CHOICES, Multiverse

USABLE = ("PASS", "REVIEW")
# What a study is about; an empty level stands for all.
SHOWN = (("moderator_slope", AVERAGE), ("arm_contrast", ""), ("interaction", ""))
LEAST_SHARE = 0.05  # of the variance, from which on a choice is said to matter


def wanted_quantities(multiverse: Multiverse, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Quantities to draw, as (quantity, level); an empty level stands for all.

    Parameters
    ----------
    multiverse : Multiverse
    texts : sequence of str
        ``quantity`` or ``quantity:level``; none for those that the study is about.

    Raises
    ------
    InputError
        If there is no such quantity or level.
    """
    if not texts:
        return SHOWN
    labels = [
        label
        for analysis in multiverse.analyses
        for label in linear_estimands(analysis.design).labels
    ]
    labels += [(name, "") for name in SCALE_QUANTITIES]
    found = []
    for text in texts:
        quantity, _, level = text.partition(":")
        levels = {own for name, own in labels if name == quantity}
        if not levels:
            names = dict.fromkeys(name for name, _ in labels)
            raise InputError(f"There is no quantity {quantity!r}.", nearest(quantity, names))
        if level and level not in levels:
            raise InputError(f"{quantity} has no level {level!r}.", nearest(level, sorted(levels)))
        found.append((quantity, level))
    return tuple(found)


def curves_of(table: pd.DataFrame, wanted: Sequence[tuple[str, str]]) -> list[pd.DataFrame]:
    """Rows of each outcome's wanted quantities, sorted by the posterior mean.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `diagnostics.multiverse.fits.fit_multiverse`.
    wanted : sequence of (quantity, level)
    """
    curves = []
    for _, own in table.groupby("outcome", sort=False):
        for quantity, level in wanted:
            rows = own[own["quantity"] == quantity]
            for _, each in rows.groupby("level", sort=False):
                if level in ("", each["level"].iloc[0]):
                    curves.append(each.sort_values("mean", kind="stable").reset_index(drop=True))
    return curves


def multiverse_summary(table: pd.DataFrame) -> pd.DataFrame:
    """How far the usable analyses agree on each quantity.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `diagnostics.multiverse.fits.fit_multiverse`.

    Returns
    -------
    pandas.DataFrame
        Columns ``outcome, quantity, level, analyses, median, lowest, highest`` (of posterior
        means), ``sd`` (median posterior SD), ``at_lowest`` and ``at_highest`` (alliance to which
        the analyses' quantities belong, missing where it is the patients' own), ``above`` and
        ``below`` (analyses whose interval excludes zero; missing for what cannot be negative),
        ``hangs_on``.
    """
    usable = table[table["verdict"].isin(USABLE)]
    rows = []
    keys = ["outcome", "quantity", "level"]
    for (outcome, quantity, level), own in usable.groupby(keys, sort=False):
        signed = quantity not in SCALE_QUANTITIES
        row: dict[str, Any] = {"outcome": outcome, "quantity": quantity, "level": level}
        row |= {
            "analyses": len(own),
            "median": own["mean"].median(),
            "lowest": own["mean"].min(),
            "highest": own["mean"].max(),
            "sd": own["sd"].median(),
            "at_lowest": own["at"].min(),
            "at_highest": own["at"].max(),
            "above": (own["lower"] > 0).sum() if signed else pd.NA,
            "below": (own["upper"] < 0).sum() if signed else pd.NA,
            "hangs_on": hangs_on(own),
        }
        rows.append(row)
    return pd.DataFrame(rows).astype({"above": "Int64", "below": "Int64"})


def compared_places(places: pd.Series, name: str, at: float | None) -> str:
    """A sentence on where the analyses compare the arms.

    Parameters
    ----------
    places : pandas.Series
        The column ``at`` of the analyses.
    name : str
        What messages call the moderator.
    at : float or None
        The alliance that was named.
    """
    if at is not None:
        return (
            f"Arms are compared at {name} {at:g}; where the link is curved, averaged over the "
            f"analysed patients, each with {name} {at:g}, under an average therapist."
        )
    low, high = places.min(), places.max()
    own = "Arms are compared at the mean of each analysis's own patients"
    if not pd.isna(low):
        same = f"{low:.4g}" == f"{high:.4g}"
        own += f" ({name} {low:.4g})" if same else f" ({name} {low:.4g} to {high:.4g})"
    return (
        f"{own}; where the link is curved, averaged over these patients, each with their own "
        f"{name}, under an average therapist."
    )


def hangs_on(rows: pd.DataFrame) -> str:
    """The choice that explains most of the variance of the means, with its share.

    Parameters
    ----------
    rows : pandas.DataFrame
        Analyses of one quantity, with their choices and ``mean``.
    """
    means = rows["mean"].to_numpy()
    total = float(np.var(means))
    if total == 0:
        return ""
    shares = {}
    for choice in CHOICES:
        if len(rows[choice].unique()) > 1:
            fitted = rows.groupby(choice)["mean"].transform("mean").to_numpy()
            shares[choice] = float(np.var(fitted)) / total
    if not shares or max(shares.values()) < LEAST_SHARE:
        return ""
    choice = max(shares, key=shares.__getitem__)
    return f"{choice.replace('_', ' ')} ({100 * shares[choice]:.0f}%)"
