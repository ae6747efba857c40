"""Many tasks: kept as they come, resumed after a kill, failures recorded."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster
from example_families import family_design
from killed_runs import FACTS as KILLED_FACTS
from killed_runs import TASKS as KILLED_TASKS
from killed_runs import killed_and_resumed, third

from alliance.data_prep.errors import InputError
from alliance.inference.many_fits.cluster import open_cluster
from alliance.inference.many_fits.task_runner import TaskOutcome, open_store, packed, run_tasks

FACTS = {"question": 1}
TASKS = {f"t{k}": (k,) for k in range(60)}


def third_but_seven(shared: float, number: int) -> dict[str, Any]:
    if number == 7:
        raise ArithmeticError("seven")
    return third(shared, number)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Workers in this process: what they do is the same, and they start at once."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as found,
    ):
        yield found


def expected() -> dict[str, TaskOutcome]:
    return {name: TaskOutcome({"value": 0.1 * k / 3}) for name, (k,) in TASKS.items()}


def test_every_task_is_done_once_and_in_order(client: Client, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with open_store(tmp_path / "s", FACTS) as store:
        found = run_tasks(
            client, store, third, 0.1, TASKS, progress=lambda *counts: told.append(counts)
        )
    assert found == expected()
    assert list(found) == list(TASKS)
    assert told == [(k, 60) for k in range(61)]


def test_a_store_goes_on_where_it_was(client: Client, tmp_path: Path) -> None:
    some = dict(list(TASKS.items())[:20])
    told: list[tuple[int, int]] = []
    with open_store(tmp_path / "s", FACTS) as store:
        run_tasks(client, store, third, 0.1, some)
    with open_store(tmp_path / "s", FACTS) as store:
        # What is there is not asked again: of these, 0.1 is not 0.2
        found = run_tasks(
            client, store, third, 0.2, TASKS, progress=lambda *counts: told.append(counts)
        )
    assert told[0] == (20, 60)
    assert {name: found[name] for name in some} == {name: expected()[name] for name in some}
    assert found["t30"].result == {"value": 0.2 * 30 / 3}


def test_a_failure_is_recorded_and_tried_again(client: Client, tmp_path: Path) -> None:
    with open_store(tmp_path / "s", FACTS) as store:
        found = run_tasks(client, store, third_but_seven, 0.1, TASKS)
        assert found["t7"] == TaskOutcome(None, "ArithmeticError: seven")
        assert sum(outcome.failure is None for outcome in found.values()) == 59
        assert store.outcomes()["t7"].failure == "ArithmeticError: seven"
        assert run_tasks(client, store, third, 0.1, TASKS) == expected()
        assert store.outcomes() == expected()


def facts_of(shared: tuple[np.ndarray, ...], number: int) -> dict[str, Any]:
    own = shared[number]
    return {"aligned": own.flags.aligned, "writeable": own.flags.writeable, "sum": own.sum()}


def test_arrays_come_as_they_were_sent(tmp_path: Path) -> None:
    """Over a wire, as between processes: Dask's own views of a message may not be aligned."""
    shared = tuple(np.arange(float(size)) for size in range(1, 300, 7))
    tasks = {str(k): (k,) for k in range(len(shared))}
    with (
        LocalCluster(
            n_workers=2, processes=False, protocol="tcp://", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as wired,
        open_store(tmp_path / "s", FACTS) as store,
    ):
        found = run_tasks(wired, store, facts_of, shared, tasks)
    assert [own.result for own in found.values()] == [
        {"aligned": True, "writeable": True, "sum": values.sum()} for values in shared
    ]


def test_designs_of_every_family_can_be_sent() -> None:
    """Their formulas are functions, some without a name."""
    for name in ("gaussian", "student_t", "ordinal", "beta_binomial"):
        sent = family_design(name)
        came = pickle.loads(packed(sent))
        assert came.family.name == name
        np.testing.assert_array_equal(came.X, sent.X)


def test_a_result_is_never_replaced(tmp_path: Path) -> None:
    with open_store(tmp_path / "s", FACTS) as store:
        store.put("a", TaskOutcome({"value": 1}))
        store.put("a", TaskOutcome({"value": 2}))
        store.put("a", TaskOutcome(None, "lost"))
        assert store.outcomes() == {"a": TaskOutcome({"value": 1})}


def test_a_store_of_another_question_is_refused_and_kept(tmp_path: Path) -> None:
    with open_store(tmp_path / "s", {"seed": 1, "study": "x" * 100}) as store:
        store.put("a", TaskOutcome({"value": 1}))
    with (
        pytest.raises(InputError, match=r"seed is 2 and was 1.*Ask as before"),
        open_store(tmp_path / "s", {"seed": 2, "study": "x" * 100}),
    ):
        pass
    with open_store(tmp_path / "s", {"seed": 1, "study": "x" * 100}) as store:
        assert store.outcomes() == {"a": TaskOutcome({"value": 1})}


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(200)])
def test_what_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(InputError, match="cannot be used"), open_store(tmp_path / "s", FACTS):
        pass
    assert (tmp_path / "s").read_bytes() == content


@pytest.mark.parametrize("part", [b"CREATE", b"PRIMARY", b"TABLE facts", b"seed", b"a task"])
def test_a_byte_that_is_no_text_is_a_damaged_store(tmp_path: Path, part: bytes) -> None:
    """SQLite quotes it when it tells what is wrong, and what it tells cannot be read either."""
    with open_store(tmp_path / "s", {"seed": 1}) as store:
        store.put("a task", TaskOutcome({"value": 1}))
    content = (tmp_path / "s").read_bytes()
    place = content.index(part) + len(part) - 1
    (tmp_path / "s").write_bytes(content[:place] + b"\xf3" + content[place + 1 :])
    with (
        pytest.raises(InputError, match=r"damaged|cannot be used|belongs to another"),
        open_store(tmp_path / "s", {"seed": 1}) as store,
    ):
        store.outcomes()


def test_another_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = (tmp_path / "s").read_bytes()
    with pytest.raises(InputError, match="no store of results"), open_store(tmp_path / "s", FACTS):
        pass
    assert (tmp_path / "s").read_bytes() == before  # not even its journal's mode


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    with (
        open_store(tmp_path / "s", FACTS),
        pytest.raises(InputError, match="locked"),
        open_store(tmp_path / "s", FACTS),
    ):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="is not a folder"),
        open_store(tmp_path / "none" / "s", FACTS),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alliance.inference.many_fits.cluster.TIMEOUT", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(InputError, match=address), open_cluster(address):
            pass


class Connected:
    """A client whose one worker has another NumPy, or that has none."""

    def __init__(self, workers: dict[str, dict[str, str]]) -> None:
        self.workers = workers

    def __enter__(self) -> Connected:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, *_: object, **__: object) -> dict[str, dict[str, str]]:
        return self.workers


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        ({"tcp://w": {"numpy": "1"}}, r"worker tcp://w has numpy 1, and \S+ is installed here"),
        ({}, "has no workers"),
    ],
)
def test_workers_that_will_not_do_are_refused(
    workers: dict[str, dict[str, str]], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"numpy": version("numpy")}
    monkeypatch.setattr("alliance.inference.many_fits.cluster.installed_versions", lambda: own)
    monkeypatch.setattr("alliance.inference.many_fits.cluster._require_scheduler", lambda _: None)
    monkeypatch.setattr("distributed.Client", lambda *_, **__: Connected(workers))
    with pytest.raises(InputError, match=told), open_cluster("tcp://s"):
        pass


@pytest.mark.parametrize(
    "kills", [2, pytest.param(20, marks=pytest.mark.validation, id="20, validation")]
)
def test_a_killed_run_loses_nothing_and_counts_nothing_twice(tmp_path: Path, kills: int) -> None:
    assert killed_and_resumed(tmp_path / "s", kills, seed=kills) == kills
    with open_store(tmp_path / "s", KILLED_FACTS) as store:
        assert store.outcomes() == {
            name: TaskOutcome(third(0.1, k)) for name, (k,) in KILLED_TASKS.items()
        }
