"""REML of visits against numbers that SAS printed, its definition and the two-level search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.moments import therapist_moments
from alliance.inference.published.restricted_likelihood import RestrictedLikelihood
from alliance.inference.published.restricted_visits import VisitsFit, covariances, fit_visits
from alliance.models.visits.covariance import CovarianceShape
from alliance.models.visits.likelihood import VisitModel
from alliance.models.visits.moments import terms_at, visit_moments, visit_terms


@pytest.fixture(scope="module")
def fev(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Columns: 1, treatment, two races, female; and the scores of 200 patients at 4 visits."""
    rows = pd.read_csv(shared_data / "fev_long.csv")
    scores = rows.pivot_table(index="USUBJID", columns="AVISIT", values="FEV1")
    own = rows.drop_duplicates("USUBJID").set_index("USUBJID").loc[scores.index]
    columns = [
        np.ones(len(own)),
        own["ARMCD"] == "TRT",
        own["RACE"] == "Black or African American",
        own["RACE"] == "White",
        own["SEX"] == "Female",
    ]
    return np.column_stack(columns).astype(float), scores.to_numpy()


def fitted(X, Y, by_visit, shape, **others) -> VisitsFit:
    terms = visit_terms(by_visit, Y.shape[1])
    precision = np.zeros(len(terms))
    return fit_visits(
        VisitModel(visit_moments(X, Y, **others), terms, terms_at([]), precision), shape
    )


def test_fev_is_what_sas_prints(fev):
    """PROC MIXED, FEV1 ~ RACE + SEX + ARMCD * AVISIT, unstructured; openpharma/mmrm's data.

    Estimates and SEs within .0005, -2 restricted log likelihood within .001, DF within 1; SAS
    prints variances where its own search stopped, .004 from the best.
    """
    fit = fitted(*fev, (True, True, False, False, False), CovarianceShape("unstructured", 4))
    assert fit.converged
    assert fit.criterion == pytest.approx(3386.4499, abs=0.001)
    printed = np.array(
        [[3.7745, 1.0741, 146], [3.7322, 0.8588, 145], [3.0806, 0.6896, 131], [4.3985, 1.6805, 133]]
    )
    contrasts = np.eye(11)[4:8]
    assert np.allclose(contrasts @ fit.beta, printed[:, 0], atol=5e-4)
    se = np.sqrt(np.diag(contrasts @ fit.covariance @ contrasts.T))
    assert np.allclose(se, printed[:, 1], atol=5e-4)
    assert np.allclose(fit.degrees_of_freedom(contrasts), printed[:, 2], atol=1)
    assert np.allclose(np.diag(fit.residual[0]), [40.5509, 26.5692, 14.8970, 95.5528], atol=5e-3)
    below = fit.residual[0][np.tril_indices(4, -1)]
    assert np.allclose(below, [14.3982, 4.9744, 2.7851, 13.3731, 7.4790, 0.9017], atol=6e-3)
    assert np.allclose(fit.beta[[9, 10]], [5.6436, 0.3262], atol=5e-4)
    assert np.allclose(np.sqrt(np.diag(fit.covariance))[[9, 10]], [0.6656, 0.5319], atol=5e-4)


@pytest.mark.parametrize(
    ("structure", "sd_by_visit", "estimate", "se", "df"),
    [
        ("unstructured", True, 3.81972, 0.66124, 160.7),
        ("compound_symmetry", False, 4.19664, 0.79647, 177.0),
        ("compound_symmetry", True, 3.77090, 0.67415, 190.7),
    ],
)
def test_kenward_roger_is_what_sas_prints(fev, structure, sd_by_visit, estimate, se, df):
    """FEV1 ~ ARMCD: estimates within .0005, adjusted SEs within .5%, DF within 1."""
    X, Y = fev
    shape = CovarianceShape(structure, 4, sd_by_visit)
    fit = fitted(X[:, :2], Y, (False, False), shape)
    contrast = np.array([[0.0, 1.0]])
    assert fit.beta[1] == pytest.approx(estimate, abs=5e-4)
    assert fit.kenward_roger(contrast)[0] == pytest.approx(se, rel=5e-3)
    assert fit.degrees_of_freedom(contrast)[0] == pytest.approx(df, abs=1)


def test_antidepressant_trial_is_what_sas_prints(shared_data):
    """Change of HAMD17 at visit 7, drug - placebo: -2.829 (1.117), DF 150.7, -2 RLL 3492.9."""
    rows = pd.read_csv(shared_data / "antidepressant_dia_wide.csv")
    Y = rows[[f"HAMDTL17_v{visit}" for visit in (4, 5, 6, 7)]].to_numpy()
    Y = Y - rows[["BASVAL"]].to_numpy()
    columns = [np.ones(len(rows)), rows["THERAPY"] == "DRUG", rows["BASVAL"], rows["GENDER"] == "F"]
    X = np.column_stack(columns).astype(float)
    fit = fitted(X, Y, (True, True, True, False), CovarianceShape("unstructured", 4))
    contrast = np.eye(13)[[7]]
    assert (contrast @ fit.beta)[0] == pytest.approx(-2.829, abs=5e-4)
    assert np.sqrt(contrast @ fit.covariance @ contrast.T)[0, 0] == pytest.approx(1.117, abs=5e-4)
    assert fit.degrees_of_freedom(contrast)[0] == pytest.approx(150.7, abs=1)
    assert fit.criterion == pytest.approx(3492.9, abs=0.05)


def test_kenward_roger_takes_effects_at_zero_for_known():
    """Standard errors of the fit without effects, to .1%, where no therapist differs."""
    X, Y, therapist = clustered()
    for j in np.unique(therapist):  # what therapists explain of intercepts and slopes, taken out
        for t in range(Y.shape[1]):
            own = (therapist == j) & ~np.isnan(Y[:, t])
            Z = X[own][:, :2]
            Y[own, t] -= Z @ np.linalg.lstsq(Z, Y[own, t])[0]
    shape = CovarianceShape("unstructured", Y.shape[1], correlated=2)
    terms = visit_terms((True, False, True), Y.shape[1])
    effects = terms_at([(Y.shape[1], 0), (Y.shape[1], 1)])
    moments = visit_moments(X, Y, None, therapist, therapist.max() + 1, (0, 1))
    fit = fit_visits(VisitModel(moments, terms, effects, np.zeros(len(terms))), shape)
    plain = fitted(X, Y, (True, False, True), CovarianceShape("unstructured", Y.shape[1]))
    contrasts = np.eye(len(terms))
    assert np.allclose(fit.kenward_roger(contrasts), plain.kenward_roger(contrasts), rtol=1e-3)


def clustered(seed=1, n=160, therapists=12, visits=3):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.standard_normal(n), rng.integers(2, size=n)])
    therapist = rng.integers(therapists, size=n)
    effect = rng.standard_normal((therapists, 2)) * (0.6, 0.3)
    Y = X[:, [1]] + (X[:, :2] * effect[therapist]).sum(axis=1)[:, None]
    Y = Y + 0.6 * rng.standard_normal((n, 1)) + rng.standard_normal((n, visits))
    Y[rng.random((n, visits)) < 0.2] = np.nan
    return X, Y, therapist


def test_one_visit_is_the_two_level_model():
    """Estimates, SEs, DF and criterion of the search over one outcome's therapists."""
    X, Y, therapist = clustered()
    X, y, therapist = (each[~np.isnan(Y[:, 0])] for each in (X, Y[:, 0], therapist))
    other = RestrictedLikelihood(therapist_moments(X, y, therapist, 12), [0, 1]).maximise()
    terms = visit_terms((True, True, True), 1)
    moments = visit_moments(X, y[:, None], None, therapist, 12, (0, 1))
    model = VisitModel(moments, terms, terms_at([(1, 0), (1, 1)]), np.zeros(3))
    fit = fit_visits(model, CovarianceShape("diagonal", 1, correlated=2))
    assert fit.criterion == pytest.approx(other.criterion, abs=1e-7)
    assert np.allclose(fit.beta, other.beta, atol=1e-6)
    assert np.allclose(fit.covariance, other.covariance, atol=1e-6)
    assert np.allclose(fit.effect_covariance, other.effect_covariance, atol=1e-4)
    contrasts = np.eye(3)
    expected = other.degrees_of_freedom(contrasts)
    assert np.allclose(fit.degrees_of_freedom(contrasts), expected, rtol=1e-3)


def test_kenward_roger_is_its_definition():
    """With therapists: P, Q and Phi from matrices of all scores; V is linear, so that R = 0."""
    X, Y, therapist = clustered(3, 60, 5, 2)
    terms, effects = visit_terms((True, False, True), 2), terms_at([(2, 0)])
    model = VisitModel(visit_moments(X, Y, None, therapist, 5, (0, 1)), terms, effects, np.zeros(5))
    shape = CovarianceShape("unstructured", 2, correlated=1)
    fit = fit_visits(model, shape)
    rows = np.argwhere(~np.isnan(Y))
    B = np.array(
        [
            [X[i, c] * (v in (t, 2)) for v, c in zip(terms.visit, terms.column, strict=True)]
            for i, t in rows
        ]
    )
    same = rows[:, None, 0] == rows[None, :, 0]
    units = [np.array(m) for m in ([[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]])]
    parts = [same * unit[rows[:, 1][:, None], rows[:, 1]] for unit in units]
    parts.append((therapist[rows[:, 0]][:, None] == therapist[rows[:, 0]]).astype(float))

    def elements(theta):
        residual, loading = covariances(shape, theta)
        return np.array(
            [residual[0, 0, 0], residual[0, 0, 1], residual[0, 1, 1], loading[0, 0] ** 2]
        )

    theta, step = fit._theta, 1e-6
    turn = np.array(
        [(elements(theta + step * u) - elements(theta - step * u)) / (2 * step) for u in np.eye(4)]
    )
    W = turn.T @ fit.spread @ turn
    V = sum(value * part for value, part in zip(elements(theta), parts, strict=True))
    inverse = np.linalg.inv(V)
    Phi = np.linalg.inv(B.T @ inverse @ B)
    assert np.allclose(Phi, fit.covariance, rtol=1e-7)
    P = [-B.T @ inverse @ part @ inverse @ B for part in parts]
    inner = sum(
        W[i, j] * (B.T @ inverse @ parts[i] @ inverse @ parts[j] @ inverse @ B - P[i] @ Phi @ P[j])
        for i in range(4)
        for j in range(4)
    )
    expected = np.sqrt(np.diag(Phi + 2 * Phi @ inner @ Phi))
    assert np.allclose(fit.kenward_roger(np.eye(5)), expected, rtol=1e-4)


def test_therapists_who_do_not_differ_leave_the_boundary_alone():
    """An SD of zero is found as zero, and the rest is what it is without therapists."""
    X, Y, therapist = clustered(3)
    Y = np.random.default_rng(8).standard_normal(Y.shape)
    # What therapists have in common is taken out: less between them than chance would leave.
    for j in np.unique(therapist):
        Y[therapist == j] -= Y[therapist == j].mean()
    terms = visit_terms((True, True, True), 3)
    moments = visit_moments(X, Y, None, therapist, 12, (0,))
    shape = CovarianceShape("compound_symmetry", 3)
    plain = fit_visits(VisitModel(moments, terms, terms_at([]), np.zeros(9)), shape)
    shape = CovarianceShape("compound_symmetry", 3, correlated=1)
    fit = fit_visits(VisitModel(moments, terms, terms_at([(3, 0)]), np.zeros(9)), shape)
    assert fit.effect_covariance[0, 0] < 1e-6
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-5)
    assert np.allclose(fit.covariance, plain.covariance, rtol=1e-4)
    contrasts = np.eye(9)
    assert np.allclose(
        fit.degrees_of_freedom(contrasts), plain.degrees_of_freedom(contrasts), rtol=1e-2
    )
