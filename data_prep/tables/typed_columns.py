"""Columns of a table after it was checked: numbers, or codes with their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance.data_prep.study.description import Study
from alliance.data_prep.tables.roles import ARM, MODERATOR, PATIENT

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Codes:
    """A column of codes.

    Attributes
    ----------
    index : ndarray of int, shape (n,)
        Position in `labels`, -1 where missing.
    labels : list of str
    """

    index: NDArray[np.int64]
    labels: list[str]

    def counts(self) -> dict[str, int]:
        """How often each label occurs."""
        found = np.bincount(self.index[self.index >= 0], minlength=len(self.labels))
        return dict(zip(self.labels, found.tolist(), strict=True))


Column = Codes | Array


def typed_columns(study: Study, typed: pd.DataFrame, moderator: Array) -> dict[str, Column]:
    """Columns by part, patients' ids excepted.

    Parameters
    ----------
    study : Study
    typed : pandas.DataFrame
        As from `data_prep.trial.validation.validate`.
    moderator : ndarray, shape (n,)
        As from `data_prep.trial.trial.scored_moderator`.
    """
    found: dict[str, Column] = {MODERATOR: moderator}
    for name in typed.columns:
        values = typed[name].to_numpy()
        if name == PATIENT:
            continue
        if name == ARM:
            index = pd.Index(list(study.arms)).get_indexer(pd.Index(values))
            found[name] = Codes(index.astype(np.int64), list(study.arms))
        elif values.dtype == object:
            index, labels = pd.factorize(values)
            found[name] = Codes(index.astype(np.int64), [str(label) for label in labels])
        else:
            found[name] = values.astype(float)
    return found
