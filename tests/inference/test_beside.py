"""Runs side by side: the numbers of each, in one order, and only where they can be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import narrowed
from alliance.inference.runs.choices import KEY, SHOWN, runs_beside
from alliance.inference.runs.fit import Fit


def only(fit: Fit, outcome: str) -> Fit:
    """The fit of one of its outcomes."""
    return replace(
        fit,
        study=narrowed(fit.study, outcomes=[outcome]),
        specs={outcome: fit.specs[outcome]},
        trees={outcome: fit.trees[outcome]},
    )


def test_every_run_has_its_own_summary(made_fit: Fit) -> None:
    last = made_fit.outcomes[-1]
    table = runs_beside({"plain": made_fit, "other": only(made_fit, last)}, interval=0.9)
    summary = made_fit.summary(interval=0.9)
    pd.testing.assert_frame_equal(table[KEY], summary[KEY])
    for column in SHOWN:
        plain, other = table[f"plain_{column}"], table[f"other_{column}"]
        np.testing.assert_array_equal(plain, summary[column])
        own = table["outcome"] == last
        np.testing.assert_array_equal(other[own], summary.loc[own, column])
        assert table.loc[~own, f"other_{column}"].isna().all()


def test_outcomes_keep_together_whatever_run_has_them(made_fit: Fit) -> None:
    first, last = made_fit.outcomes
    table = runs_beside({"one": only(made_fit, last), "all": made_fit})
    assert table["outcome"].unique().tolist() == [last, first]
    assert (table["outcome"] == last).sum() == (made_fit.summary()["outcome"] == last).sum()


def test_runs_without_a_common_outcome_are_refused(made_fit: Fit) -> None:
    first, last = made_fit.outcomes
    with pytest.raises(InputError, match="no outcome in common"):
        runs_beside({"one": only(made_fit, first), "other": only(made_fit, last)})


def test_outcomes_on_other_scales_are_refused(made_fit: Fit) -> None:
    name = made_fit.outcomes[0]
    low, high = made_fit.study.outcomes[name].range
    wider = made_fit.study.outcomes[name].model_copy(update={"range": (low, high + 1)})
    study = made_fit.study.model_copy(update={"outcomes": {**made_fit.study.outcomes, name: wider}})
    with pytest.raises(InputError, match=f"{high:g} in 'one'"):
        runs_beside({"one": made_fit, "other": replace(made_fit, study=study)})
