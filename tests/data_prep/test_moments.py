"""Moments against sums by brute force, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from alliance.data_prep.moments import Moments, therapist_moments

THERAPISTS = 7
EMPTY = 3  # a therapist without patients
SINGLE = 5  # a therapist with one patient


@pytest.fixture(scope="module")
def patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(20130401)
    n = 90
    X = np.column_stack([np.ones(n), rng.normal(80, 12, n), rng.normal(size=n), np.zeros(n)])
    therapist = rng.choice([0, 1, 2, 4, 6], n)
    therapist[n // 2] = SINGLE
    return X, rng.normal(10, 5, n), therapist


def brute_force(left: np.ndarray, right: np.ndarray, therapist: np.ndarray) -> np.ndarray:
    sums = np.zeros((THERAPISTS, left.shape[1], right.shape[1]))
    for row, j in enumerate(therapist):
        for a in range(left.shape[1]):
            for b in range(right.shape[1]):
                sums[j, a, b] += left[row, a] * right[row, b]
    return sums


def test_every_block_equals_the_sums_by_brute_force(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, therapist = patients
    moments = therapist_moments(X, y, therapist, THERAPISTS)
    effects = [2, 0]
    Z = X[:, effects]
    column = y[:, np.newaxis]
    close = {"rtol": 1e-12, "atol": 0}
    np.testing.assert_allclose(moments.ZtZ(effects), brute_force(Z, Z, therapist), **close)
    np.testing.assert_allclose(moments.ZtX(effects), brute_force(Z, X, therapist), **close)
    np.testing.assert_allclose(
        moments.Zty(effects), brute_force(Z, column, therapist)[:, :, 0], **close
    )
    np.testing.assert_allclose(moments.XtX, brute_force(X, X, therapist).sum(axis=0), **close)
    np.testing.assert_allclose(
        moments.Xty, brute_force(X, column, therapist).sum(axis=0)[:, 0], **close
    )
    np.testing.assert_allclose(moments.yty, sum(value**2 for value in y), **close)
    assert moments.n == len(y)
    assert moments.count.tolist() == [int((therapist == j).sum()) for j in range(THERAPISTS)]


def test_shapes_and_symmetry(patients: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    moments = therapist_moments(*patients, THERAPISTS)
    assert moments.cross_products.shape == (THERAPISTS, 5, 5)
    assert moments.XtX.shape == (4, 4)
    assert moments.Xty.shape == (4,)
    assert moments.ZtZ([0, 1]).shape == (THERAPISTS, 2, 2)
    assert moments.ZtX([0, 1]).shape == (THERAPISTS, 2, 4)
    assert moments.Zty([]).shape == (THERAPISTS, 0)
    np.testing.assert_array_equal(moments.cross_products, moments.cross_products.transpose(0, 2, 1))


def test_a_therapist_without_patients_is_zeros_and_one_patient_is_a_product(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, therapist = patients
    moments = therapist_moments(X, y, therapist, THERAPISTS)
    assert moments.count[EMPTY] == 0
    assert not moments.cross_products[EMPTY].any()
    assert moments.count[SINGLE] == 1
    row = np.append(X[therapist == SINGLE][0], y[therapist == SINGLE])
    np.testing.assert_array_equal(moments.cross_products[SINGLE], np.outer(row, row))


def test_a_column_of_zeros_gives_zeros(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    moments = therapist_moments(*patients, THERAPISTS)
    assert not moments.cross_products[:, 3, :].any()


def test_last_therapists_without_patients_are_kept() -> None:
    moments = therapist_moments(np.ones((2, 1)), np.ones(2), np.array([0, 0]), 4)
    assert moments.count.tolist() == [2, 0, 0, 0]
    assert moments.cross_products.shape == (4, 2, 2)


def test_the_order_of_rows_does_not_matter(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, therapist = patients
    order = np.random.default_rng(1).permutation(len(y))
    one = therapist_moments(X, y, therapist, THERAPISTS)
    other = therapist_moments(X[order], y[order], therapist[order], THERAPISTS)
    np.testing.assert_allclose(other.cross_products, one.cross_products, rtol=1e-12)
    np.testing.assert_array_equal(other.count, one.count)


def test_the_layout_in_memory_does_not_change_a_bit(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, therapist = patients
    one = therapist_moments(X, y, therapist, THERAPISTS)
    other = therapist_moments(np.asfortranarray(X), y, therapist, THERAPISTS)
    np.testing.assert_array_equal(other.cross_products, one.cross_products)


def test_merging_parts_gives_the_whole_in_any_grouping(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, therapist = patients
    whole = therapist_moments(X, y, therapist, THERAPISTS)
    cuts = [slice(0, 20), slice(20, 61), slice(61, None)]
    a, b, c = (therapist_moments(X[cut], y[cut], therapist[cut], THERAPISTS) for cut in cuts)
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        np.testing.assert_allclose(merged.cross_products, whole.cross_products, rtol=1e-12)
        np.testing.assert_array_equal(merged.count, whole.count)


def test_no_patients_give_zeros() -> None:
    moments = therapist_moments(np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=int), 2)
    assert moments.n == 0
    assert not moments.cross_products.any()


def test_moments_cannot_be_written_to(
    patients: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    moments = therapist_moments(*patients, THERAPISTS)
    with pytest.raises(ValueError, match="read-only"):
        moments.cross_products[0, 0, 0] = 1.0


def test_what_does_not_fit_is_refused() -> None:
    X, y = np.ones((3, 2)), np.ones(3)
    with pytest.raises(ValueError, match="does not fit"):
        therapist_moments(X, np.ones(2), np.zeros(3, dtype=int), 1)
    for wrong in ([0, 1, 2], [0, -1, 0]):
        with pytest.raises(ValueError, match="0 to 1"):
            therapist_moments(X, y, np.array(wrong), 2)
    two = therapist_moments(X, y, np.array([0, 1, 1]), 2)
    with pytest.raises(ValueError, match="positions in 2 columns"):
        two.ZtZ([0, 2])
    with pytest.raises(ValueError, match="same therapists"):
        two.merge(Moments(np.zeros((3, 3, 3)), np.zeros(3, dtype=int)))
