"""A design from cross-products alone: what the exact Gaussian model needs of a registry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.cell_moments import CellMoments
from data_prep.errors import InputError
from data_prep.moments import Moments
from models.design import Design, Scaling, coefficient_names, sum_to_zero_basis
from models.families import find_family
from models.family import Scale
from models.spec import ModelSpec

Array = NDArray[np.float64]

COLLINEAR = 1e-10  # smallest eigenvalue of the columns' correlations; as in `estimability`


def moments_design(found: CellMoments, spec: ModelSpec, arms: Sequence[str]) -> Design:
    """Design of the patients whose moments these are, without any row of theirs.

    Parameters
    ----------
    found : CellMoments
        Columns ``moderator``, ``baseline`` (or none), covariates, ``outcome``; on their own scales.
    spec : ModelSpec
        Exact: Gaussian, with the moderator as rated.
    arms : sequence of str

    Returns
    -------
    Design
        Standardised as `models.design.build_design` would; X, y and therapist_index have no rows.

    Raises
    ------
    InputError
        If a column follows from others.
    """
    squares = np.einsum("cqq->q", found.products)
    sds = np.sqrt(squares / (found.n - 1))
    scales = {
        name: (float(centre), float(sd))
        for name, centre, sd in zip(found.columns, found.centre, sds, strict=True)
    }
    covariates = tuple(
        name for name in found.columns if name not in ("moderator", "baseline", "outcome")
    )
    names = coefficient_names(len(arms), covariates, interaction=spec.interaction)
    cross_products = np.zeros((len(found.therapists), len(names) + 1, len(names) + 1))
    count = np.zeros(len(found.therapists), dtype=np.int64)
    for arm, weights in enumerate(sum_to_zero_basis(len(arms))):
        cells = np.flatnonzero(found.arm_index == arm)
        own = _with_ones(found, cells, sds)
        A = _columns(names, ("intercept", *found.columns), weights)
        cross_products[found.therapist_index[cells]] += A.T @ own @ A
        count[found.therapist_index[cells]] += found.count[cells]
    design = Design(
        outcome=spec.outcome,
        X=np.empty((0, len(names))),
        y=np.empty(0),
        therapist_index=np.empty(0, dtype=np.int64),
        coefficients=names,
        has_baseline="baseline" in found.columns,
        arms=tuple(arms),
        therapists=found.therapists,
        covariates=covariates,
        effects=(
            *spec.effects,
            *(name for name in names if spec.therapist_by_arm and name.startswith("arm[")),
        ),
        scaling=Scaling(
            scales["outcome"],
            scales["moderator"],
            scales.get("baseline", (0.0, 1.0)),
            tuple(scales[name] for name in covariates),
        ),
        family=find_family(spec.family),
        scale=Scale(*scales["outcome"], 0, 0.0, 1.0),
        moderator=spec.moderator,
        moderator_missing=np.empty(0, dtype=bool),
        count=np.empty(0),
        given=Moments(cross_products, count),
    )
    _require_full_rank(design)
    return design


def _with_ones(found: CellMoments, cells: NDArray[np.int64], sds: Array) -> Array:
    """Products (c, q + 1, q + 1) of a column of ones and the standardised columns."""
    whole = np.empty((len(cells), len(sds) + 1, len(sds) + 1))
    whole[:, 0, 0] = found.count[cells]
    whole[:, 0, 1:] = whole[:, 1:, 0] = found.sums[cells] / sds
    whole[:, 1:, 1:] = found.products[cells] / (sds[:, None] * sds)
    return whole


def _columns(names: Sequence[str], own: Sequence[str], weights: Array) -> Array:
    """What each column of X, and the outcome, is of a patient's columns in one arm."""
    A = np.zeros((len(own), len(names) + 1))
    for k, name in enumerate([*names, "outcome"]):
        kind, _, rest = name.partition("[")
        if kind in ("arm", "interaction"):
            source = "intercept" if kind == "arm" else "moderator"
            A[own.index(source), k] = weights[int(rest[:-1]) - 1]
        elif (source := rest[:-1] if kind == "covariate" else name) in own:
            A[own.index(source), k] = 1.0
    return A


def _require_full_rank(design: Design) -> None:
    kept = [k for k in design.present if design.coefficients[k] != "intercept"]
    XtX = design.moments.XtX
    centred = XtX[np.ix_(kept, kept)] - np.outer(XtX[0, kept], XtX[0, kept]) / XtX[0, 0]
    sd = np.sqrt(np.diag(centred))
    values, vectors = np.linalg.eigh(centred / (sd[:, None] * sd))
    if values[0] > COLLINEAR:
        return
    involved = [
        design.coefficients[column]
        for column, share in zip(kept, np.abs(vectors[:, 0]), strict=True)
        if share > 1e-6
    ]
    raise InputError(
        f"{design.outcome}: among the analysed patients each of these follows from the others: "
        f"{', '.join(involved)}.",
        "Leave one of them out of the study file.",
    )
