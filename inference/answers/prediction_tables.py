"""From draws of predictions to tables: summaries, and the columns that say what a row is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import code_names
from alliance.inference.draws.blocks import by_columns
from alliance.inference.patients.asked_patients import AskedPatients
from alliance.inference.patients.extrapolation import beyond
from alliance.inference.posterior import Rows
from alliance.models.design.design import Design

Array = NDArray[np.float64]

# Columns of the tables of predictions that are no covariate's.
OWN_COLUMNS = (
    *("outcome", "patient", "arm", "contrast", "moderator", "baseline", "therapist"),
    *("extrapolated", "expected", "expected_sd", "expected_lower", "expected_upper"),
    *("outcome_sd", "outcome_lower", "outcome_upper", "at_least", "prob_at_least", "at_most"),
    *("prob_at_most", "change", "prob_change", "prob_positive", "prob_better"),
    *("prob_outcome_better", "better_by", "prob_better_by", "prob_outcome_better_by"),
)


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """Draws for some of the patients, in every arm they are asked about.

    Attributes
    ----------
    rows : Rows
        Patient after patient, for each the arms in display order.
    eta, expected, scores : ndarray, shape (d, r)
        Predictor on the link's scale, expected scores, single outcomes.
    """

    rows: Rows
    eta: Array
    expected: Array
    scores: Array


def require_interval(interval: float) -> None:
    """Refuse a probability that is not between 0 and 1."""
    if not 0 < interval < 1:
        raise InputError(
            f"The interval's probability {interval} is not between 0 and 1.",
            "Give for example 0.95.",
        )


def _quantiles(values: Array, tails: list[float]) -> Array:
    """Quantiles (2, r) over the draws, the first axis."""

    def of(some: slice) -> Array:
        return np.asarray(np.quantile(values[:, some], tails, axis=0))

    return by_columns(values.shape, of, rows=len(tails))


def summaries(block: Block, interval: float) -> dict[str, Array | float]:
    """Columns of a table that describe expected scores and outcomes, each of shape (r,)."""
    tails = [(1 - interval) / 2, (1 + interval) / 2]
    lower, upper = _quantiles(block.expected, tails)
    outcome_lower, outcome_upper = _quantiles(block.scores, tails)
    return {
        "expected": block.expected.mean(axis=0),
        "expected_sd": block.expected.std(axis=0, ddof=1),
        "expected_lower": lower,
        "expected_upper": upper,
        "outcome_sd": block.scores.std(axis=0, ddof=1),
        "outcome_lower": outcome_lower,
        "outcome_upper": outcome_upper,
    }


def row_facts(
    design: Design, patients: AskedPatients, rows: Rows, arms_each: int, therapists: list[str]
) -> xr.Dataset:
    """What each row is."""
    repeated = {
        "patient": np.repeat(np.array(patients.names, dtype=str), arms_each),
        "arm": np.array(design.arms, dtype=str)[rows.arm_index],
        "moderator": rows.moderator,
        "therapist": np.repeat(np.array(therapists, dtype=str), arms_each),
        "extrapolated": np.repeat(patients.extrapolated, arms_each),
    }
    if design.has_baseline and rows.baseline is not None:
        repeated["baseline"] = rows.baseline
    found = xr.Dataset({name: ("row", values) for name, values in repeated.items()})
    found["covariates"] = (("row", "covariate"), rows.covariates)
    return found.assign_coords(
        row=np.arange(len(rows)), covariate=np.array(design.covariates, dtype=str)
    ).assign_attrs(outcome=design.outcome)


def row_head(design: Design, facts: xr.Dataset) -> pd.DataFrame:
    """The columns that say what a row is."""
    baseline = ["baseline"] if "baseline" in facts else []
    columns = {"outcome": np.full(facts.sizes["row"], design.outcome)}
    columns |= {name: facts[name].values for name in ("patient", "arm", "moderator", *baseline)}
    for k, name in enumerate(covariate_heads(design)):
        if k not in design.encoding.absent:
            columns[name] = facts["covariates"].values[:, k]
    columns |= {name: facts[name].values for name in ("therapist", "extrapolated")}
    return pd.DataFrame(columns)


def covariate_heads(design: Design) -> tuple[str, ...]:
    """Columns of the tables that hold the covariates: in quotes where one is named like another
    column.
    """
    return code_names(design.covariates, OWN_COLUMNS)


def unseen_columns(design: Design, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Columns of a table with values outside their range among the analysed patients.

    Parameters
    ----------
    design : Design
    table : pandas.DataFrame
        Of predictions, or of averages.

    Returns
    -------
    dict of str to tuple of float
        The range, by column.
    """
    seen = design.encoding.observed
    if seen is None:
        return {}
    ranges = {"moderator": seen.moderator}
    if seen.baseline is not None:
        ranges["baseline"] = seen.baseline
    for k, head in enumerate(covariate_heads(design)):
        if design.encoding.columns[k].level is None:
            ranges[head] = seen.covariates[k]
    return {
        name: ends
        for name, ends in ranges.items()
        if name in table and beyond(table[name].to_numpy(dtype=float), ends).any()
    }


def contrast_table(
    design: Design, facts: xr.Dataset, differences: list[pd.DataFrame], arms_each: int
) -> pd.DataFrame | None:
    """Differences between arms behind the columns that say whose they are; None without any."""
    if not differences:
        return None
    found = pd.concat(differences, ignore_index=True)
    pairs = arms_each * (arms_each - 1) // 2
    head = row_head(design, facts).drop(columns="arm").iloc[::arms_each]
    head = head.loc[head.index.repeat(pairs)].reset_index(drop=True)
    head.insert(2, "contrast", found.pop("contrast"))
    return pd.concat([head, found], axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class KeptDraws:
    """Draws of all rows, put together block by block."""

    expected: Array  # (d, r)
    scores: Array

    @classmethod
    def empty(cls, rows: int, draws: xr.Dataset) -> KeptDraws:
        """Room for so many rows."""
        shape = (draws.sizes["chain"] * draws.sizes["draw"], rows)
        return cls(np.empty(shape), np.empty(shape))

    def put(self, start: int, block: Block) -> None:
        """Keep a block whose first row has this position."""
        some = slice(start, start + len(block.rows))
        self.expected[:, some], self.scores[:, some] = block.expected, block.scores

    def dataset(self, draws: xr.Dataset) -> xr.Dataset:
        """What was kept, over chain, draw, row."""
        rows = self.expected.shape[1]
        shape = (draws.sizes["chain"], draws.sizes["draw"], rows)
        dims = ("chain", "draw", "row")
        return xr.Dataset(
            {
                "expected": (dims, self.expected.reshape(shape)),
                "outcome": (dims, self.scores.reshape(shape)),
            },
            coords={
                "chain": draws["chain"].values,
                "draw": draws["draw"].values,
                "row": np.arange(rows),
            },
        )
