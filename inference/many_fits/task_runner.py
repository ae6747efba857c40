"""Many tasks of one kind, here or on a Dask cluster: seeds by task, results kept as they come.

Tasks on processes of this machine, which nobody else can reach: pipes, and no socket at all.

A process that listens on a port runs what any user of the machine sends it, if it does not ask for
credentials; one that reads from a pipe hears its parent alone. A worker whose parent ends, however
it ends, reads the end of its pipe and ends too.

Results of many tasks in one SQLite file: each is written whole, and a killed run goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import pickle
import signal
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import cloudpickle

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path

if TYPE_CHECKING:
    from distributed import Client


FORMAT = 1
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE results (task TEXT PRIMARY KEY, result TEXT, failure TEXT, sha256 TEXT);
"""
_LONGEST_SHOWN = 60  # characters of a fact in a message


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What became of a task.

    Attributes
    ----------
    result : dict or None
        Plain values, as the task's function gave them.
    failure : str or None
        Type and message of its error, if it failed.
    """

    result: dict[str, Any] | None
    failure: str | None = None


class TaskStore:
    """Results by task, from `open_store`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def outcomes(self) -> dict[str, TaskOutcome]:
        """What is there already.

        Raises
        ------
        InputError
            If a result is no longer what was written.
        """
        found = {}
        with _said_in_text(self._path):
            rows = self._connection.execute(
                "SELECT task, result, failure, sha256 FROM results"
            ).fetchall()
        for task, result, failure, written in rows:
            if written is not None and written != _digest(task, result, failure):
                raise damaged(self._path, f"the result of {task!r} is not what was written")
            try:
                found[task] = TaskOutcome(None if result is None else json.loads(result), failure)
            except (TypeError, ValueError) as error:
                raise damaged(self._path, f"the result of {task!r} is no JSON") from error
        return found

    def put(self, task: str, outcome: TaskOutcome) -> None:
        """Write one result in a transaction of its own; a failure gives way to a later result.

        Raises
        ------
        sqlite3.Error
            If it cannot be written.
        """
        text = None if outcome.result is None else json.dumps(outcome.result)
        with self._connection:
            self._connection.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT (task) DO UPDATE "
                "SET result = excluded.result, failure = excluded.failure, "
                "sha256 = excluded.sha256 WHERE results.result IS NULL",
                (task, text, outcome.failure, _digest(task, text, outcome.failure)),
            )


def _digest(*cells: object) -> str:
    return hashlib.sha256(repr(cells).encode()).hexdigest()


@contextmanager
def _said_in_text(path: Path) -> Iterator[None]:
    """Refuse a store of whose damage SQLite tells with bytes of the file, which are no text."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise damaged(path, "it holds bytes that are no text") from error


def damaged(path: Path, why: object) -> InputError:
    """What to say of a store that cannot be read.

    Parameters
    ----------
    path : Path
    why : object
    """
    return InputError(
        f"The store {str(path)!r} is damaged: {why}.",
        "Move it away and ask again, or name another file: its fits are made anew.",
    )


@contextmanager
def open_store(path: AnyPath, facts: Mapping[str, Any]) -> Iterator[TaskStore]:
    """Open a store, or make one; nobody else can meanwhile.

    Parameters
    ----------
    path : str or path-like
        The file; written beside the results of no other study.
    facts : mapping of str to plain values
        All that decides the results. A store of other facts is refused.

    Yields
    ------
    TaskStore

    Raises
    ------
    InputError
        If the file is no store, one of other facts, in use, or cannot be written.
    """
    written = {name: json.dumps(value, sort_keys=True) for name, value in facts.items()}
    written["format"] = json.dumps(FORMAT)
    path = as_path(path)
    if not path.parent.is_dir():
        raise InputError(f"{str(path.parent)!r} is not a folder.", "Make it, or name another.")
    try:
        connection = sqlite3.connect(path, timeout=0.5)
        try:
            with _said_in_text(path):
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                _require_same(connection, path, written)  # before a byte of another's is changed
                connection.execute("PRAGMA journal_mode = WAL")  # survives a kill, and is quick
                connection.execute("PRAGMA synchronous = NORMAL")
            yield TaskStore(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(
            f"The store {str(path)!r} cannot be used: {error}.",
            "Wait if another run has it open; otherwise name another file, or free some space.",
        ) from error


def _require_same(connection: sqlite3.Connection, path: Path, facts: Mapping[str, str]) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        with connection:
            for statement in _TABLES.strip().split("\n"):
                connection.execute(statement)
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        return
    if not {"facts", "results"} <= tables:
        raise InputError(
            f"{str(path)!r} is a database, and no store of results.", "Name another file."
        )
    (whole,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if whole != "ok":
        raise damaged(path, " ".join(str(whole).split()))
    kept = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    other = [name for name in {**kept, **facts} if kept.get(name) != facts.get(name)]
    if other:
        told = "; ".join(
            f"{name} is {_shown(facts.get(name))} and was {_shown(kept.get(name))}"
            for name in other[:3]
        )
        more = "" if len(other) <= 3 else f" (and {len(other) - 3} more differences)"
        raise InputError(
            f"The store {str(path)!r} belongs to another question: {told}{more}.",
            "Ask as before to go on with it, or name another file.",
        )
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(results)")}
    if "sha256" not in columns:  # of before there were checksums
        with connection:
            connection.execute("ALTER TABLE results ADD COLUMN sha256 TEXT")


def _shown(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


Function = Callable[..., dict[str, Any]]

MOST_DEATHS = 3  # of processes that had the same task; after another one it counts as failed
SECONDS_TO_END = 5.0  # for a worker that is told to end, before it is killed
# One thread of linear algebra in each worker, and no memory given back at every turn, which took a
# third of the time of small fits. What the environment says already stays.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
}


class LocalProcesses:
    """Processes of this machine; used with ``with``, at whose end they are ended.

    Parameters
    ----------
    workers : int, optional
        How many; one for each core by default.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._most = workers or _cores()
        self._workers: list[_Worker] = []

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, what they work at included."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.bury()
        self._workers.clear()

    def outcomes(
        self, function: Function, packed: bytes, tasks: Mapping[str, tuple[Any, ...]]
    ) -> Iterator[tuple[str, TaskOutcome]]:
        """Run tasks, and give their outcomes as they come.

        A worker that dies gives its task to another; a task that takes several with it has failed.

        Parameters
        ----------
        function : callable
            Of a module: ``function(shared, *arguments)``.
        packed : bytes
            What is shared, pickled; each process unpacks it once.
        tasks : mapping of str to tuple
            Arguments by name.

        Yields
        ------
        str
        TaskOutcome
        """
        waiting = deque(tasks)
        deaths: dict[str, int] = {}
        start = partial(_Worker, function, packed)
        with _quiet_start():
            self._workers += [start() for _ in range(min(self._most, len(tasks)))]
        left = len(tasks)
        for worker in self._workers:
            worker.give(waiting, tasks)
        while left:
            busy = {worker.results: worker for worker in self._workers if worker.task is not None}
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]  # it gives back what it was given
                name, outcome = worker.take()
                if outcome is None:
                    deaths[name] = deaths.get(name, 0) + 1
                    code = worker.bury()
                    with _quiet_start():
                        self._workers[self._workers.index(worker)] = worker = start()
                    if deaths[name] > MOST_DEATHS:
                        outcome = TaskOutcome(None, _died(code))
                    else:
                        waiting.appendleft(name)
                worker.give(waiting, tasks)
                if outcome is not None:
                    left -= 1
                    yield name, outcome
        self.close()


class _Worker:
    """A process, the pipes to it and from it, and the task it has."""

    def __init__(self, function: Function, packed: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        there, self.tasks = context.Pipe(duplex=False)
        self.results, back = context.Pipe(duplex=False)
        self.task: str | None = None
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(there, back, function, packed), daemon=True
        )
        self.process.start()
        # The process alone holds these ends now: should it die, reading tells.
        there.close()
        back.close()

    def give(self, waiting: deque[str], tasks: Mapping[str, tuple[Any, ...]]) -> None:
        """Send the next task, if there is one; one that died already is found out by `take`."""
        self.task = waiting.popleft() if waiting else None
        if self.task is not None:
            try:
                self.tasks.send(tasks[self.task])
            except BrokenPipeError:
                return

    def take(self) -> tuple[str, TaskOutcome | None]:
        """Name of its task and the outcome; None where the process died."""
        name, self.task = self.task, None
        if name is None:
            raise ValueError("the process has no task")
        try:
            result, failure = pickle.loads(self.results.recv_bytes())
        except (EOFError, ConnectionResetError):
            return name, None
        return name, TaskOutcome(result, failure)

    def bury(self) -> int | None:
        """Wait for the process to end, kill it if it does not, and tell its exit code."""
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        for end in (self.tasks, self.results):
            end.close()
        self.process.close()
        return code


def _serve(tasks: Connection, results: Connection, function: Function, packed: bytes) -> None:
    """What a worker does: one task after another, until nobody is left to give any."""
    logging.disable(logging.CRITICAL)  # the run tells what became of a task
    shared = pickle.loads(packed)
    # In a thread, while this one listens: the end of the parent is the end, also amid a task.
    with ThreadPoolExecutor(max_workers=1) as thread:
        while True:
            try:
                arguments = tasks.recv()
            except (EOFError, OSError):
                os._exit(0)
            answer = thread.submit(_answered, function, shared, arguments)
            answer.add_done_callback(partial(_send, results))


def _answered(function: Function, shared: Any, arguments: tuple[Any, ...]) -> bytes:
    return pickle.dumps((function(shared, *arguments), None))


def _send(results: Connection, answer: Future[bytes]) -> None:
    error = answer.exception()
    if error is None:
        results.send_bytes(answer.result())
    else:
        results.send_bytes(pickle.dumps((None, f"{type(error).__name__}: {error}")))


def _died(code: int | None) -> str:
    how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
    return (
        f"WorkerDied: {MOST_DEATHS + 1} processes ended while they were at it, the last with {how}."
    )


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Start processes with their environment, and keep Ctrl-C from them; this one gets it later.

    A terminal sends it to all of them, and workers would answer with tracebacks. Tasks are
    functions of modules: a worker that read the user's script would start it all over again.
    """
    added = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")  # without a file that a worker could read
    try:
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
            return
        resource_tracker.ensure_running()  # started later, it would let the signal through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _later():
                yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        sys.modules["__main__"] = script
        for name in added:
            del os.environ[name]


@contextmanager
def _later() -> Iterator[None]:
    """Keep Ctrl-C until the end: the mask is of one thread, and any other may be given the signal.

    A process that is half started when it comes would miss its orders, and say so in a traceback.
    """
    main = threading.current_thread() is threading.main_thread()  # Python interrupts no other
    if not main or not callable(signal.getsignal(signal.SIGINT)):  # or who ignores it
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _cores() -> int:
    """Cores that this process may use; not every system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


type Workers = LocalProcesses | Client  # looked up when asked for: Dask takes a second to load
Told = Callable[[int, int], None]


@contextmanager
def open_workers(address: str | None = None, workers: int | None = None) -> Iterator[Workers]:
    """Processes of this machine, or a Dask cluster that is there already.

    Parameters
    ----------
    address : str, optional
        Of a running scheduler; see `inference.many_fits.cluster.open_cluster`.
    workers : int, optional
        Processes of this machine, where no address is given; one for each core by default.

    Yields
    ------
    LocalProcesses or distributed.Client
        For `run_tasks`.

    Raises
    ------
    InputError
        See `inference.many_fits.cluster.open_cluster`.
    """
    if address is None:
        with LocalProcesses(workers) as processes:
            yield processes
        return
    from alliance.inference.many_fits.cluster import open_cluster

    with open_cluster(address) as client:
        yield client


def run_tasks(
    workers: Workers,
    store: TaskStore,
    function: Function,
    shared: Any,
    tasks: Mapping[str, tuple[Any, ...]],
    *,
    progress: Told | None = None,
) -> dict[str, TaskOutcome]:
    """Run every task that the store does not have yet, and return the results of all.

    A task's result may depend on what is shared and on its own arguments, and on nothing else: it
    is then the same on any worker, in any order. A worker that dies loses nothing, its tasks are
    given to another. A task that fails is recorded, and tried again by the next run.

    Parameters
    ----------
    workers : LocalProcesses or distributed.Client
    store : TaskStore
        Open, and of the facts that decide the results.
    function : callable
        Of a module: ``function(shared, *arguments)`` gives plain values.
    shared : object
        Sent to each worker once.
    tasks : mapping of str to tuple
        Arguments by name.
    progress : callable, optional
        Called with the tasks done and the tasks to do.

    Returns
    -------
    dict of str to TaskOutcome
        In the order of `tasks`.

    Raises
    ------
    InputError
        If a Dask scheduler goes away, or has had no workers for long; the store keeps what is done.
    sqlite3.Error
        If the store cannot be written.
    """
    done = {name: outcome for name, outcome in store.outcomes().items() if outcome.failure is None}
    waiting = {name: arguments for name, arguments in tasks.items() if name not in done}
    finished = len(tasks) - len(waiting)
    if progress is not None:
        progress(finished, len(tasks))
    for name, outcome in _run_on(workers)(function, packed(shared), waiting):
        done[name] = outcome
        store.put(name, outcome)
        finished += 1
        if progress is not None:
            progress(finished, len(tasks))
    return {name: done[name] for name in tasks}


def _run_on(workers: Workers) -> Callable[..., Iterator[tuple[str, TaskOutcome]]]:
    if isinstance(workers, LocalProcesses):
        return workers.outcomes
    from alliance.inference.many_fits.cluster import cluster_outcomes

    return partial(cluster_outcomes, workers)


def packed(shared: Any) -> bytes:
    """What is shared as one string of bytes.

    Dask hands arrays over as views of its message, on which compiled code cannot work. The fourth
    protocol has arrays copy what they are given, and cloudpickle knows functions without a name, of
    which outcome families consist.

    Parameters
    ----------
    shared : object

    Returns
    -------
    bytes
        For `pickle.loads`.
    """
    return bytes(cloudpickle.dumps(shared, protocol=4))
