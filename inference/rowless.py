"""Runs without patients' rows: a design's cross-products on disk, and the design from them."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from data_prep.errors import InputError
from data_prep.moments import Moments
from models.design import Design, Scaling
from models.families import find_family
from models.family import Scale
from models.spec import ModelSpec

FACTS = "design"  # attribute that holds what is no array


def moments_dataset(design: Design) -> xr.Dataset:
    """What a design without rows is made of.

    Parameters
    ----------
    design : Design
        As from `models.moments_design.moments_design`.

    Returns
    -------
    xarray.Dataset
        ``cross_products`` (therapist, column, column_), ``count`` (therapist); names and scales as
        JSON in an attribute.
    """
    columns = [*design.coefficients, "outcome"]
    scaling = design.scaling
    facts = {
        "has_baseline": design.has_baseline,
        "arms": design.arms,
        "covariates": design.covariates,
        "outcome": scaling.outcome,
        "moderator": scaling.moderator,
        "baseline": scaling.baseline,
        "covariate_scales": scaling.covariates,
    }
    return xr.Dataset(
        {
            "cross_products": (
                ("therapist", "column", "column_"),
                np.array(design.moments.cross_products),
            ),
            "count": (("therapist",), np.array(design.moments.count)),
        },
        coords={"therapist": list(design.therapists), "column": columns, "column_": columns},
        attrs={FACTS: json.dumps(facts)},
    )


def design_of_moments(kept: xr.Dataset, spec: ModelSpec) -> Design:
    """The design that `moments_dataset` was made of.

    Parameters
    ----------
    kept : xarray.Dataset
    spec : ModelSpec
    """
    facts = json.loads(kept.attrs[FACTS])
    coefficients = tuple(str(name) for name in kept["column"].values[:-1])
    arms = [name for name in coefficients if name.startswith("arm[")]
    return Design(
        outcome=spec.outcome,
        X=np.empty((0, len(coefficients))),
        y=np.empty(0),
        therapist_index=np.empty(0, dtype=np.int64),
        coefficients=coefficients,
        has_baseline=facts["has_baseline"],
        arms=tuple(facts["arms"]),
        therapists=tuple(str(name) for name in kept["therapist"].values),
        covariates=tuple(facts["covariates"]),
        effects=(*spec.effects, *(arms if spec.therapist_by_arm else ())),
        scaling=Scaling(
            tuple(facts["outcome"]),
            tuple(facts["moderator"]),
            tuple(facts["baseline"]),
            tuple(tuple(scale) for scale in facts["covariate_scales"]),
        ),
        family=find_family(spec.family),
        scale=Scale(facts["outcome"][0], facts["outcome"][1], 0, 0.0, 1.0),
        moderator=spec.moderator,
        moderator_missing=np.empty(0, dtype=bool),
        count=np.empty(0),
        given=Moments(
            np.array(kept["cross_products"].values), np.array(kept["count"].values, dtype=np.int64)
        ),
    )


def refuse_rows() -> InputError:
    """What to say where patients' rows are needed."""
    return InputError(
        "This run was fitted from cross-products of many files: it holds no patients' rows, which "
        "this needs.",
        "Fit a random sample of therapists, with their rows: `alliance fit STUDY DATA "
        "--sample-therapists 200 --out RUN`.",
    )
