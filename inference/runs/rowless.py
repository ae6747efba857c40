"""Runs without patients' rows: a design's cross-products on disk, and the design from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from alliance.data_prep.covariates import covariates_of, with_columns_told
from alliance.data_prep.moments import Moments
from alliance.models.design.design import Design
from alliance.models.design.encoding import Encoding
from alliance.models.families.families import find_family
from alliance.models.families.family import Scale
from alliance.models.spec import ModelSpec

FACTS = "design"  # attribute that holds what is no array
ENCODING = "encoding"


def moments_dataset(design: Design) -> xr.Dataset:
    """What a design without rows is made of.

    Parameters
    ----------
    design : Design
        As from `models.design.moments_design.moments_design`.

    Returns
    -------
    xarray.Dataset
        ``cross_products`` (therapist, column, column_), ``count`` (therapist); names and scales as
        JSON in an attribute.
    """
    columns = [*design.coefficients, "outcome"]
    facts = {ENCODING: design.encoding.to_dict()}
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


def design_of_moments(kept: xr.Dataset, spec: ModelSpec, covariates: Sequence[str]) -> Design:
    """The design that `moments_dataset` was made of.

    Parameters
    ----------
    kept : xarray.Dataset
    spec : ModelSpec
    covariates : sequence of str
        The study's.
    """
    facts = json.loads(kept.attrs[FACTS])
    told = facts[ENCODING] if ENCODING in facts else _earlier(facts, spec, covariates)
    encoding = Encoding.from_dict(told)
    size = len(encoding.terms)
    arms = [encoding.coefficients[k] for k in encoding.places("arm")]
    return Design(
        outcome=spec.outcome,
        encoding=encoding,
        X=np.empty((0, size)),
        y=np.empty(0),
        therapist_index=np.empty(0, dtype=np.int64),
        therapists=tuple(str(name) for name in kept["therapist"].values),
        effects=(*spec.effects, *(arms if spec.therapist_by_arm else ())),
        family=find_family(spec.family),
        scale=Scale(*encoding.scaling.outcome, 0, 0.0, 1.0),
        moderator=spec.moderator,
        moderator_missing=np.empty(0, dtype=bool),
        count=np.empty(0),
        given=Moments(
            np.array(kept["cross_products"].values), np.array(kept["count"].values, dtype=np.int64)
        ),
    )


def _earlier(
    facts: Mapping[str, Any], spec: ModelSpec, covariates: Sequence[str]
) -> dict[str, Any]:
    """What a run of before there was an encoding tells of it: all but the levels of reference."""
    names = facts["covariates"]
    data = xr.Dataset(coords={"covariate": np.array(names, dtype=str)})
    found = covariates_of(with_columns_told(data, covariates))
    return {
        "arms": facts["arms"],
        "interaction": spec.interaction,
        "has_baseline": facts["has_baseline"],
        "covariates": [
            {"name": each.name, "levels": each.levels, "reference": "" if each.levels else None}
            for each in found
        ],
        "absent": [],
        "scaling": {
            "outcome": facts["outcome"],
            "moderator": facts["moderator"],
            "baseline": facts["baseline"],
            "covariates": facts["covariate_scales"],
        },
        "observed": None,
    }
