"""Events and counts in a table: what is the event, what is refused, and what is noted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from alliance.data_prep.errors import DataError, InputError
from alliance.data_prep.study.description import Study, narrowed, study_text
from alliance.data_prep.tables.cells import LABELLED
from alliance.data_prep.trial.events import Event, NoEvent, find_event
from alliance.data_prep.trial.trial import Trial, trial_from_frame

PATIENTS = 24
EVENTS = np.arange(PATIENTS) % 3 == 0


def a_study(**outcome: Any) -> Study:
    described = {"label": "Remission", "followup": "y", "better": "higher", "family": "binary"}
    return Study.model_validate(
        {
            "title": "A trial",
            "columns": {"patient": "id", "therapist": "t", "arm": "arm"},
            "arms": {"A": "One", "B": "Two"},
            "moderator": {"label": "Alliance", "column": "wai", "range": [0, 100]},
            "outcomes": {"remission": described | outcome},
            "model": {"therapist": "none"},
        }
    )


def a_count(**outcome: Any) -> Study:
    counted = {"family": "count", "range": [0, 50], "better": "lower", "exposure": "months"}
    return a_study(**(counted | outcome))


def a_frame(values: Any) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "id": range(PATIENTS),
            "t": random.integers(0, 4, PATIENTS),
            "arm": ["A", "B"] * (PATIENTS // 2),
            "wai": random.integers(20, 90, PATIENTS),
            "y": values,
            "months": random.integers(1, 12, PATIENTS).astype(float),
        }
    )


def written(yes: object, no: object) -> list[object]:
    return [yes if event else no for event in EVENTS]


def read(values: Any, **outcome: Any) -> Trial:
    return trial_from_frame(a_study(**outcome), a_frame(values))


@pytest.mark.parametrize(
    ("yes", "no"),
    [(1, 0), ("1", "0"), ("yes", "no"), ("Yes", "No"), ("Y", "N"), (True, False), (1.0, 0.0)],
)
def test_what_says_yes_and_no_by_itself_is_understood_and_noted(yes: object, no: object) -> None:
    trial = read(written(yes, no))
    np.testing.assert_array_equal(trial.data["remission_followup"].values, EVENTS)
    assert any("taken for the event" in note for note in trial.notes)


@pytest.mark.parametrize(
    ("values", "event"),
    [(("remitted", "ill"), "remitted"), ((2, 1), 2), ((1, 2), 1), (("no", "yes"), "no")],
)
def test_the_study_says_which_value_is_the_event(values: tuple, event: object) -> None:
    trial = read(written(*values), event=event)
    np.testing.assert_array_equal(trial.data["remission_followup"].values, EVENTS)
    assert not any("taken for" in note for note in trial.notes)


def test_the_label_of_a_value_may_be_the_event() -> None:
    frame = a_frame(written(1, 2))
    frame.attrs[LABELLED] = {"y": {"1": "Remitted", "2": "Ill"}}
    trial = trial_from_frame(a_study(event="remitted"), frame)
    np.testing.assert_array_equal(trial.data["remission_followup"].values, EVENTS)


@pytest.mark.parametrize(
    ("values", "event", "said"),
    [
        (["1", "2"], None, "not clear: '1', '2'"),
        (["Ja", "Nein"], None, "not clear: 'Ja', 'Nein'"),
        (["0", "1", "2"], None, "two values, and '0', '1', '2'"),
        (["0", "1", "2"], "1", "two values"),
        (["no", "yes"], "remitted", "'remitted' is not among the values found: 'no', 'yes'"),
    ],
)
def test_what_may_mean_either_is_refused_with_the_values(
    values: list[str], event: str | None, said: str
) -> None:
    found = find_event(values, event, {}, "y", "remission")
    assert isinstance(found, NoEvent)
    assert said in found.rule
    with pytest.raises(DataError, match="y"):
        read((values * PATIENTS)[:PATIENTS], event=event)


def test_a_code_of_missing_values_beside_yes_and_no_is_asked_about() -> None:
    found = find_event(["no", "yes", "999"], None, {}, "y", "remission")
    assert isinstance(found, NoEvent)
    assert "missing_values" in found.remedy
    assert "999" in found.remedy


def test_values_that_differ_in_capitals_are_one() -> None:
    found = find_event(["Yes", "yes", "No"], None, {}, "y", "remission")
    assert isinstance(found, Event)
    assert found.event.casefold() == "yes"


def test_declared_missing_values_and_empty_cells_are_missing() -> None:
    values = written("yes", "no")
    values[0], values[1] = None, "unknown"
    study = a_study()
    study = study.model_copy(update={"missing_values": {"y": ("unknown",)}})
    trial = trial_from_frame(study, a_frame(values))
    assert np.isnan(trial.data["remission_followup"].values[:2]).all()
    assert trial.flow["without_followup"].item() == 2


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ({"range": [1, 2]}, "0 or 1, whatever its column says"),
        ({"baseline": "wai0"}, "covariates"),
        ({"family": "gaussian", "event": "yes", "range": [0, 1]}, 'family = "binary"'),
        ({"exposure": "months"}, "only counts have an exposure"),
        ({"family": "count", "range": [1, 9]}, "from 0 to a whole number"),
        ({"family": "count", "range": [0, 9], "exposure": "y"}, "holds the counts themselves"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(outcome: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        a_study(**outcome)


def test_events_and_counts_do_not_join() -> None:
    study = a_study()
    both = study.model_dump()
    both["outcomes"]["other"] = both["outcomes"]["remission"] | {"followup": "z"}
    with pytest.raises(InputError, match="binary"):
        narrowed(Study.model_validate(both), joint=True)


def test_a_study_with_an_event_is_written_and_read_again() -> None:
    assert 'event = "2"' in study_text(a_study(event=2))
    assert 'exposure = "months"' in study_text(a_count())


def test_a_count_without_its_exposure_is_no_follow_up() -> None:
    frame = a_frame(np.random.default_rng(2).poisson(3, PATIENTS))
    frame.loc[[3, 5], "months"] = np.nan
    trial = trial_from_frame(a_count(), frame)
    assert trial.flow["without_followup"].item() == 2
    rows = trial.analysed("remission")
    assert rows.sizes["patient"] == PATIENTS - 2
    np.testing.assert_array_equal(
        rows["exposure"].values, frame["months"].drop(index=[3, 5]).values
    )


@pytest.mark.parametrize("exposure", [0.0, -2.0])
def test_an_exposure_of_nothing_is_refused(exposure: float) -> None:
    frame = a_frame(np.random.default_rng(2).poisson(3, PATIENTS))
    frame.loc[4, "months"] = exposure
    with pytest.raises(DataError, match="above zero"):
        trial_from_frame(a_count(), frame)


@pytest.mark.parametrize("count", [2.5, -1, 51])
def test_what_is_no_count_is_refused(count: float) -> None:
    values = np.random.default_rng(2).poisson(3, PATIENTS).astype(float)
    values[4] = count
    with pytest.raises(DataError, match="row 4"):
        trial_from_frame(a_count(), a_frame(values))


def test_an_arm_without_events_is_noted() -> None:
    values = ["no" if k % 2 else yes for k, yes in enumerate(written("yes", "no"))]
    trial = read(values)
    assert any("arm 'B' had no event" in note for note in trial.notes)
    assert not any("arm 'A'" in note for note in trial.notes)
