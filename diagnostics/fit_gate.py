"""The convergence gate for a whole fit: parameters and every reported quantity of each outcome."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from diagnostics.gate import GateReport, check_convergence
from diagnostics.verdicts import Verdict
from inference.datatree import posterior
from inference.estimands import shared_estimands
from inference.fit import Fit
from models.spec import JOINT


def check_fit(fit: Fit) -> tuple[GateReport, ...]:
    """Judge the draws of every outcome, reported quantities included.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    tuple of GateReport
        One for each outcome, and for what the outcomes of a joint model share, with the
        thresholds of the fit's profile.
    """
    judged = [(name, fit.trees[name], fit.estimands(name)) for name in fit.outcomes]
    if fit.shared is not None:
        judged.append((JOINT, fit.shared, shared_estimands(posterior(fit.shared))))
    profile = fit.profile
    return tuple(
        check_convergence(
            tree,
            outcome=name,
            profile=profile.name,
            chains=profile.chains,
            draws=profile.draws,
            quantities=_by_name(estimands),
        )
        for name, tree, estimands in judged
    )


def gate_table(reports: tuple[GateReport, ...]) -> pd.DataFrame:
    """All checks of all outcomes, one row each."""
    return pd.concat([report.table() for report in reports], ignore_index=True)


def worst_verdict(reports: tuple[GateReport, ...]) -> Verdict:
    """The worst verdict of any outcome."""
    order = list(Verdict)
    return max((report.verdict for report in reports), key=order.index)


def _by_name(estimands: xr.DataArray) -> xr.Dataset:
    bare = estimands.drop_vars(["quantity", "level"])
    names = [
        f"{quantity}[{level}]" if level else str(quantity)
        for quantity, level in zip(
            estimands["quantity"].values, estimands["level"].values, strict=True
        )
    ]
    return xr.Dataset({name: bare.isel(estimand=k) for k, name in enumerate(names)})
