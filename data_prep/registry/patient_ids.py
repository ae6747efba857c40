"""Patients' ids of many files held against each other: 8 bytes of each are kept, not the id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.tables.spelling import folded

Hashes = NDArray[np.uint64]

# In this spelling a number is one and the same id, whether a file stores it as text or as number.
_WHOLE = r"(?:0|-?[1-9][0-9]{0,17})"


@dataclass(frozen=True, eq=False, slots=True)
class IdHashes:
    """Ids of patients, each as a number that is the same for the same id, and only by chance else.

    Attributes
    ----------
    exact : tuple of ndarray of uint64
        One array for each file.
    alike : tuple of ndarray of uint64
        The same for ids that differ in spelling only (`data_prep.tables.spelling.folded`).
    """

    exact: tuple[Hashes, ...] = ()
    alike: tuple[Hashes, ...] = ()

    def __add__(self, other: IdHashes) -> IdHashes:
        return IdHashes((*self.exact, *other.exact), (*self.alike, *other.alike))

    def suspects(self, most: int) -> IdHashes:
        """Return those that occur more than once, `most` of them.

        Parameters
        ----------
        most : int

        Returns
        -------
        IdHashes
            Of ids that occur twice, and of spellings under which there are several ids.
        """
        exact = _sorted(self.exact)
        same = all(one is other for one, other in zip(self.exact, self.alike, strict=True))
        alike = exact if same else _sorted(self.alike)
        twice = exact[1:][exact[1:] == exact[:-1]]
        several = alike[1:][alike[1:] == alike[:-1]]
        if len(several) <= len(twice):  # every id has one spelling: it is the same ids twice
            several = several[:0]
        return IdHashes((np.unique(twice)[:most],), (np.unique(several)[:most],))


def _sorted(arrays: Sequence[Hashes]) -> Hashes:
    joined = np.concatenate(arrays) if arrays else np.empty(0, dtype=np.uint64)
    joined.sort()
    return joined


def hashes_of_numbers(ids: NDArray[np.integer]) -> IdHashes:
    """Hash ids that are whole numbers.

    Parameters
    ----------
    ids : ndarray of int, shape (n,)
    """
    exact = _of_numbers(ids.astype(np.int64, copy=False))
    return IdHashes((exact,), (exact,))


def hashes_of_codes(codes: Iterable[str | None]) -> IdHashes:
    """Hash ids in the spelling of `data_prep.tables.cells.canonical_code`.

    Parameters
    ----------
    codes : iterable of str or None
        None where a patient has no id.
    """
    texts = [code for code in codes if code is not None]
    exact = _of_texts(texts)
    spelled = [folded(text) for text in texts]
    return IdHashes((exact,), (exact if spelled == texts else _of_texts(spelled),))


def hashes_of_arrow(column: Any) -> IdHashes:
    """Hash ids in an Arrow column of text, all of them in the spelling of their codes.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    """
    import pyarrow.compute as pc

    plain = pc.all(pc.and_(pc.string_is_ascii(column), pc.ascii_is_printable(column)))
    if not plain.as_py() or pc.any(pc.match_substring(column, " ")).as_py():
        return hashes_of_codes(column.to_pylist())
    exact = _of_texts(column.to_numpy())
    # As `folded` does it, of letters without accents and without blanks
    alike = pc.replace_substring_regex(pc.ascii_lower(column), r"(^|[^0-9.,])0+([0-9])", r"\1\2")
    same = pc.all(pc.equal(alike, column)).as_py()
    return IdHashes((exact,), (exact if same else _of_texts(alike.to_numpy()),))


def _of_texts(texts: Sequence[str] | NDArray[np.object_]) -> Hashes:
    codes = pd.Series(texts, dtype="str")
    whole = codes.str.fullmatch(_WHOLE).to_numpy(dtype=bool)
    found = np.empty(len(codes), dtype=np.uint64)
    found[whole] = _of_numbers(codes[whole].to_numpy(dtype=object).astype(np.int64))
    rest: Any = codes[~whole].to_numpy(dtype=object)
    found[~whole] = pd.util.hash_array(rest, categorize=False)
    return found


def _of_numbers(ids: NDArray[np.int64]) -> Hashes:
    return np.asarray(pd.util.hash_array(ids))
