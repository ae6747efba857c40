"""Columns of draws as text of a page: whole numbers of few bytes on a grid of their own.

Four bytes keep a draw to a billionth of its SD: counts and printed digits are then those of the
run's own draws. Columns that are alike are kept once.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALIKE = 1e-12  # of the largest number: columns that differ by less differ by rounding alone
MOST_BYTES = 4


@dataclass(eq=False, slots=True)
class Columns:
    """Columns (d,) of draws, in the order in which they were added.

    Attributes
    ----------
    values : list of ndarray, shape (d,)
        As whoever reads the page has them.
    """

    values: list[Array] = field(default_factory=list)
    _grids: list[tuple[float, float, int]] = field(default_factory=list)
    _numbers: list[bytes] = field(default_factory=list)
    _given: list[Array] = field(default_factory=list)

    def add(self, values: Array, size: int = MOST_BYTES) -> int | None:
        """Keep a column, and give its place; None for one of zeros.

        Parameters
        ----------
        values : ndarray, shape (d,)
        size : int
            Bytes for each number.
        """
        largest = float(np.abs(values).max())
        if largest == 0.0:
            return None
        for place, kept in enumerate(self._given):
            if abs(kept[0] - values[0]) <= ALIKE * largest and (
                np.abs(kept - values).max() <= ALIKE * largest
            ):
                return place
        self._given.append(np.array(values))
        low, high = float(values.min()), float(values.max())
        if high - low <= ALIKE * largest:
            size, step, numbers = 0, 0.0, np.zeros(len(values), dtype=np.uint32)
        else:
            step = (high - low) / (2 ** (8 * size) - 1)
            numbers = np.rint((values - low) / step).astype(np.uint32)
        self._grids.append((low, step, size))
        self._numbers.append(_bytes(numbers, size))
        self.values.append(low + step * numbers.astype(float))
        return len(self.values) - 1

    @property
    def size(self) -> int:
        """Characters of the text."""
        return 4 * sum(map(len, self._numbers)) // 3

    def told(self) -> dict[str, Any]:
        """The grids (lowest, step, bytes for each number), and the numbers as base64."""
        return {
            "grids": [list(grid) for grid in self._grids],
            "numbers": b64encode(b"".join(self._numbers)).decode("ascii"),
        }


def _bytes(numbers: NDArray[np.uint32], size: int) -> bytes:
    """Whole numbers, the lowest byte first, in so many bytes each."""
    return numbers.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :size].tobytes()
