"""A design from cross-products alone: what the exact Gaussian model needs of a registry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments, Column
from alliance.data_prep.covariates import Covariate, seen_levels
from alliance.data_prep.errors import InputError
from alliance.data_prep.moments import Moments
from alliance.models.design.design import Design
from alliance.models.design.encoding import Encoding, Scaling, sum_to_zero_basis
from alliance.models.families.families import find_family
from alliance.models.families.family import Scale
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]

PERFECT = 1e-4  # SD of what is left of an outcome, in its own SDs; as in `estimability`
COLLINEAR = 1e-10  # smallest eigenvalue of the columns' correlations; as in `estimability`


def moments_design(
    found: CellMoments, spec: ModelSpec, arms: Sequence[str], covariates: Sequence[Covariate]
) -> Design:
    """Design of the patients whose moments these are, without any row of theirs.

    Parameters
    ----------
    found : CellMoments
        Columns ``moderator``, ``baseline`` (or none), those of the covariates, ``outcome``; on
        their own scales.
    spec : ModelSpec
        Exact: Gaussian, with the moderator as rated.
    arms : sequence of str
    covariates : sequence of Covariate

    Returns
    -------
    Design
        Standardised as `models.design.design.build_design` would; X, y and therapist_index have no
        rows.

    Raises
    ------
    InputError
        If a column follows from others.
    """
    sds = np.sqrt(np.einsum("cqq->q", found.products) / (found.n - 1))
    scales = dict(zip(found.columns, zip(found.centre.tolist(), sds.tolist(), strict=True),
                      strict=True))  # fmt: skip
    columns = [column for each in covariates for column in each.columns]
    patients = [found.n * scales[column][0] for column in columns]
    references, absent = seen_levels(covariates, patients, found.n)
    for k in absent:
        scales[columns[k]] = (0.0, 1.0)
    encoding = Encoding(
        arms=tuple(arms),
        interaction=spec.interaction,
        has_baseline="baseline" in found.columns,
        covariates=tuple(covariates),
        references=references,
        absent=absent,
        scaling=Scaling(
            scales["outcome"],
            scales["moderator"],
            scales.get("baseline", (0.0, 1.0)),
            tuple(scales[column] for column in columns),
        ),
    )
    size = len(encoding.terms) + 1
    cross_products = np.zeros((len(found.therapists), size, size))
    count = np.zeros(len(found.therapists), dtype=np.int64)
    divisors = np.array([scales[column][1] for column in found.columns])
    for arm, weights in enumerate(sum_to_zero_basis(len(arms))):
        cells = np.flatnonzero(found.arm_index == arm)
        own = _with_ones(found, cells, divisors)
        A = _columns(encoding, ("intercept", *found.columns), weights)
        cross_products[found.therapist_index[cells]] += A.T @ own @ A
        count[found.therapist_index[cells]] += found.count[cells]
    arm_effects = [encoding.coefficients[k] for k in encoding.places("arm")]
    design = Design(
        outcome=spec.outcome,
        encoding=encoding,
        X=np.empty((0, len(encoding.terms))),
        y=np.empty(0),
        therapist_index=np.empty(0, dtype=np.int64),
        therapists=found.therapists,
        effects=(*spec.effects, *(arm_effects if spec.therapist_by_arm else ())),
        family=find_family(spec.family),
        scale=Scale(*scales["outcome"], 0, 0.0, 1.0),
        moderator=spec.moderator,
        moderator_missing=np.empty(0, dtype=bool),
        count=np.empty(0),
        given=Moments(cross_products, count),
    )
    _require_full_rank(design)
    _require_something_left(design)
    return design


def _with_ones(found: CellMoments, cells: NDArray[np.int64], sds: Array) -> Array:
    """Products (c, q + 1, q + 1) of a column of ones and the standardised columns."""
    whole = np.empty((len(cells), len(sds) + 1, len(sds) + 1))
    whole[:, 0, 0] = found.count[cells]
    whole[:, 0, 1:] = whole[:, 1:, 0] = found.sums[cells] / sds
    whole[:, 1:, 1:] = found.products[cells] / (sds[:, None] * sds)
    return whole


def _columns(encoding: Encoding, own: Sequence[Column], weights: Array) -> Array:
    """What each column of X, and the outcome, is of a patient's columns in one arm."""
    A = np.zeros((len(own), len(encoding.terms) + 1))
    for k, term in enumerate(encoding.terms):
        source: Column = term.kind
        weight = 1.0
        if term.kind in ("arm", "interaction"):
            source = "intercept" if term.kind == "arm" else "moderator"
            weight = weights[term.number - 1]
        elif term.kind == "covariate":
            source = encoding.columns[term.number]
            weight = float(term.number not in encoding.absent)
        if source in own:  # an absent baseline is not
            A[own.index(source), k] = weight
    A[own.index("outcome"), -1] = 1.0
    return A


def _require_full_rank(design: Design) -> None:
    kept = [k for k in design.present if design.encoding.terms[k].kind != "intercept"]
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


def _require_something_left(design: Design) -> None:
    """Refuse an outcome that can be computed from its columns; see `trial.estimability`."""
    kept, moments = design.present, design.moments
    weights = np.linalg.solve(moments.XtX[np.ix_(kept, kept)], moments.Xty[kept])
    left = 1 - weights @ moments.Xty[kept] / moments.yty
    if left >= PERFECT**2:
        return
    used = [
        design.coefficients[column]
        for column, weight in zip(kept, weights, strict=True)
        if abs(weight) > PERFECT
    ]
    raise InputError(
        f"{design.outcome}: among the analysed patients it can be computed from "
        f"{', '.join(used)}, so that no model has anything left to explain.",
        "Check that the column holds what was measured after treatment, and not a copy or a sum "
        "of other columns.",
    )
