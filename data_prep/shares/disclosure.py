"""Which patients' rows a share would give away, and the attack that tries to find them.

A share holds, for each therapist and arm, how many patients there are, and the sums and
cross-products of their columns. With n patients in q columns these are q + q (q + 1) / 2 numbers in
place of n q; of few patients they are the rows, in other words. Rows can be told

- of one patient, whose sums are the row, and of two, who lie on either side of their mean;
- of a patient whom some combination of columns singles out, such as the only man: the sums of
  products with that combination are that patient's row. On the side of the rows these are the
  patients of leverage 1 among the cell's columns;
- of all patients, where the columns of two values explain all others, or leave but one way to
  choose (patients who are copies of one another);
- of those whom one outcome has and another has not, where they are few: the difference of two
  cells is their cell.

What two-valued columns leave free is rotated at will by the adversary, and not determined. That
scores are whole numbers within a range may tell more in single cells; the least number of patients
guards against it, and no proof does. This is no anonymisation and no differential privacy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import CellMoments
from alliance.data_prep.registry.partition import Partition
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.flow import complete_patients

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST = 5  # patients of a therapist in an arm
SINGLED = 1 - 1e-7  # leverage of a patient whom some combination of columns singles out
EQUAL = 1e-9  # relative: values that are one
MOST_INDICATORS = 6  # columns of two values that the attack combines; beyond, each by itself


def numbers_sent(columns: int) -> int:
    """How many numbers leave for a cell of so many columns: sums and different products."""
    return columns + columns * (columns + 1) // 2


def exposed(values: Array) -> Mask:
    """Patients of one cell whose rows its moments would tell.

    Parameters
    ----------
    values : ndarray, shape (n, q)
        The cell's patients.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    n, q = values.shape
    if n == 0:
        return np.zeros(0, dtype=bool)
    if numbers_sent(q) >= n * q:
        return np.ones(n, dtype=bool)
    whole = _basis(values)
    few = [k for k in range(q) if len(np.unique(values[:, k])) <= 2]
    two_valued = _basis(values[:, few])
    free = n - two_valued.shape[1]  # dimensions in which the rest may be rotated
    if whole.shape[1] == two_valued.shape[1] or free < 2:
        return np.ones(n, dtype=bool)
    return np.asarray((whole**2).sum(axis=1) > SINGLED)


def _basis(values: Array) -> Array:
    """Orthonormal basis of the columns and a one."""
    spread = values - values.mean(axis=0)
    size = np.sqrt((spread**2).sum(axis=0))
    scaled = spread[:, size > EQUAL * np.abs(values).max(axis=0, initial=1.0)]
    scaled = scaled / np.sqrt((scaled**2).sum(axis=0))
    one = np.full((len(values), 1), len(values) ** -0.5)
    if not scaled.shape[1]:
        return one
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.hstack([one, left[:, singular > 1e-7 * singular[0]]])


def kept_of_cell(
    values: Mapping[str, Array], present: Mapping[str, Mask], least: int
) -> dict[str, Mask]:
    """Patients of one therapist in one arm who may enter the moments of each outcome.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (n, q)
        By outcome; rows of patients who are not analysed are not read.
    present : mapping of str to ndarray of bool, shape (n,)
        By outcome, who is analysed.
    least : int
        Patients that a cell must have.
    """
    kept = {name: mask.copy() for name, mask in present.items()}
    while True:
        before = {name: mask.copy() for name, mask in kept.items()}
        for name, mask in kept.items():
            while mask.any():
                rows = np.flatnonzero(mask)
                told = exposed(values[name][rows])
                if len(rows) < least or told.all():
                    mask[:] = False
                elif told.any():
                    mask[rows[told]] = False
                else:
                    break
        for first, second in combinations(kept, 2):
            one, other = kept[first], kept[second]
            if one.any() and other.any() and _differ_by_few(one, other, least):
                together = one & other
                one &= together
                other &= together
        if all((kept[name] == before[name]).all() for name in kept):
            return kept


def _differ_by_few(one: Mask, other: Mask, least: int) -> bool:
    """Whether the difference of two cells would be the moments of a few patients."""
    alone = [int((one & ~other).sum()), int((other & ~one).sum())]
    return any(0 < count < least for count in alone)


OTHERS = "others"  # therapist of all patients whose own therapist has too few


def chosen(study: Study, partition: Partition, least: int) -> tuple[Partition, dict[str, Mask]]:
    """The patients of one file whose moments may be sent.

    Where the model has no therapist effects, patients of therapists with few patients in an arm are
    folded into one cell of the arm; else they are left out.

    Parameters
    ----------
    study : Study
    partition : Partition
    least : int

    Returns
    -------
    partition : Partition
    kept : dict of str to ndarray of bool, shape (rows,)
        By outcome.
    """
    data = partition.data
    values, present = {}, {}
    for name, outcome in study.outcomes.items():
        own = [data["moderator"].values, *data["covariates"].values.T]
        if outcome.baseline is not None:
            own.append(data[f"{name}_baseline"].values)
        own.append(data[f"{name}_followup"].values)
        values[name] = np.column_stack(own)
        present[name] = complete_patients(data, name)
    if study.model.therapist == "none":
        partition = _folded(partition, present, least)
        data = partition.data
    therapist, arm = data["therapist_index"].values, data["arm_index"].values
    kept = {name: np.zeros(len(arm), dtype=bool) for name in present}
    known = np.flatnonzero((therapist >= 0) & (arm >= 0))
    cells = therapist[known] * len(study.arms) + arm[known]
    order = np.argsort(cells, kind="stable")
    for rows in np.split(known[order], np.flatnonzero(np.diff(cells[order])) + 1):
        found = kept_of_cell(
            {name: own[rows] for name, own in values.items()},
            {name: mask[rows] for name, mask in present.items()},
            least,
        )
        for name, mask in found.items():
            kept[name][rows] = mask
    return partition, kept


def _folded(partition: Partition, present: Mapping[str, Mask], least: int) -> Partition:
    """Patients of small cells under one therapist, for a model without therapist effects."""
    data = partition.data
    therapist, arm = data["therapist_index"].values, data["arm_index"].values
    arms = data.sizes["arm"]
    anywhere = np.logical_or.reduce(list(present.values())) & (therapist >= 0) & (arm >= 0)
    cells = np.where(anywhere, therapist * arms + arm, 0)
    counts = [
        np.bincount(cells[mask & anywhere], minlength=arms * len(partition.therapists))
        for mask in present.values()
    ]
    few = np.any([(count > 0) & (count < least) for count in counts], axis=0)
    index = np.where(anywhere & few[cells], len(partition.therapists), therapist)
    data = data.assign(therapist_index=("patient", index))
    data = data.drop_vars("therapist").assign_coords(
        therapist=np.arange(len(partition.therapists) + 1)
    )
    return replace(partition, data=data, therapists=[*partition.therapists, OTHERS])


# The attack, from what is sent -------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Recovered:
    """A row that the moments of a cell tell.

    Attributes
    ----------
    outcome : str
        Whose cell it was; two names where the difference of two cells told it.
    therapist, arm : int
        Their places.
    row : ndarray, shape (q,)
        Values of the columns.
    how : str
    """

    outcome: str
    therapist: int
    arm: int
    row: Array
    how: str


def attack(moments: Mapping[str, CellMoments]) -> list[Recovered]:
    """Find every row that the moments tell, without a look at any row.

    Parameters
    ----------
    moments : mapping of str to CellMoments
        By outcome.
    """
    found: list[Recovered] = []
    raw = {name: list(_raw_cells(own)) for name, own in moments.items()}
    for name, cells in raw.items():
        for therapist, arm, count, sums, products in cells:
            for row, how in _of_cell(count, sums, products):
                found.append(Recovered(name, therapist, arm, row, how))
    for first, second in combinations(moments, 2):
        found += _of_differences(first, second, moments, raw)
    return found


Cell = tuple[int, int, int, Array, Array]


def _raw_cells(own: CellMoments) -> Iterator[Cell]:
    """Cells with sums and products of the columns as they are, not centred."""
    centre = own.centre
    for k, count in enumerate(own.count):
        sums = own.sums[k] + count * centre
        cross = np.outer(own.sums[k], centre)
        products = own.products[k] + cross + cross.T + count * np.outer(centre, centre)
        yield int(own.therapist_index[k]), int(own.arm_index[k]), int(count), sums, products


def _of_cell(count: int, sums: Array, products: Array) -> Iterator[tuple[Array, str]]:
    if count == 1:
        yield sums, "one patient"
        return
    mean = sums / count
    spread = products - count * np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(products), 1e-300))
    alike = np.diag(spread) <= 1e-10 * scale**2
    if alike.all():
        yield mean, "all patients are alike"
        return
    if count == 2:
        widest = int(np.argmax(np.where(alike, -1.0, np.diag(spread) / scale**2)))
        away = spread[widest] / np.sqrt(2 * spread[widest, widest])
        yield mean + away, "two patients"
        yield mean - away, "two patients"
        return
    indicators = [k for k in range(len(sums)) if _is_indicator(k, count, sums, products)]
    if len(indicators) > MOST_INDICATORS:
        indicators = indicators[:MOST_INDICATORS]
    # A combination of a one and indicators that is 1 for one patient and 0 for all others
    whole = np.vstack([sums, products])  # products of the one, and of each column, with all columns
    gram = np.empty((1 + len(sums), 1 + len(sums)))
    gram[0, 0], gram[0, 1:], gram[1:, 0], gram[1:, 1:] = count, sums, sums, products
    told: list[Array] = []
    for weights in product((-1, 0, 1), repeat=1 + len(indicators)):
        combined = np.zeros(1 + len(sums))
        combined[[0, *(1 + k for k in indicators)]] = weights
        total, squared = float(gram[0] @ combined), float(combined @ gram @ combined)
        # Whole numbers whose sum and sum of squares are 1: one of them is 1, and the others 0
        if abs(total - 1) < 1e-6 and abs(squared - 1) < 1e-6:
            row = combined @ whole
            if not any(np.allclose(row, other, rtol=1e-6, atol=1e-6) for other in told):
                told.append(row)
                yield row, "a patient whom columns of two values single out"


def _is_indicator(k: int, count: int, sums: Array, products: Array) -> bool:
    """Whether a column is of noughts and ones: its sum is its sum of squares, a whole number."""
    total = sums[k]
    whole = abs(total - round(total)) < 1e-6 and 0 <= total <= count
    return bool(whole and abs(products[k, k] - total) < 1e-6)


def _of_differences(
    first: str,
    second: str,
    moments: Mapping[str, CellMoments],
    raw: Mapping[str, list[Cell]],
) -> Iterator[Recovered]:
    """Rows told by cells of two outcomes that differ by a patient or two."""
    columns = [name for name in moments[first].columns if name in moments[second].columns]
    shared = [name for name in columns if name not in ("baseline", "outcome")]
    places = [
        [moments[name].columns.index(column) for column in shared] for name in (first, second)
    ]
    names = moments[second].therapists
    others = {(names[j], arm): cell for cell in raw[second] for j, arm in [cell[:2]]}
    for therapist, arm, count, sums, products in raw[first]:
        other = others.get((moments[first].therapists[therapist], arm))
        if other is None or abs(count - other[2]) not in (1, 2) or not shared:
            continue
        sign = 1 if count > other[2] else -1
        rest = sign * (sums[places[0]] - other[3][places[1]])
        squares = sign * (
            products[np.ix_(places[0], places[0])] - other[4][np.ix_(places[1], places[1])]
        )
        if (np.diag(squares) < -1e-9).any():
            continue  # patients left and came: not one cell within the other
        for row, how in _of_cell(abs(count - other[2]), rest, squares):
            yield Recovered(f"{first} and {second}", therapist, arm, row, f"{how}, by difference")
