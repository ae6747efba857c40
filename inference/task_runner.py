"""Many tasks of one kind on a Dask cluster: seeds by task, results kept as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from distributed import Client, Future, as_completed
from distributed.protocol import pickle

from inference.task_store import TaskOutcome, TaskStore

Told = Callable[[int, int], None]
Function = Callable[..., dict[str, Any]]

AT_A_TIME = 500  # tasks that the scheduler knows of: it slows down with many thousands

# A worker may have several threads; BLAS threads are limited for a whole process, and a fit that
# ends would give them back to one that goes on.
_ONE_FIT = threading.Lock()


def run_tasks(
    client: Client,
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
    client : distributed.Client
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
    sqlite3.Error
        If the store cannot be written.
    """
    done = {name: outcome for name, outcome in store.outcomes().items() if outcome.failure is None}
    waiting = [name for name in tasks if name not in done]
    finished = len(tasks) - len(waiting)
    if progress is not None:
        progress(finished, len(tasks))
    # A task of its own, so that the scheduler makes it again if the worker that has it dies
    everywhere = client.submit(_same, _packed(shared), pure=False)
    names: dict[Future, str] = {}

    def submitted(some: list[str]) -> list[Future]:
        futures = [
            client.submit(_alone, function, everywhere, tasks[name], pure=False) for name in some
        ]
        names.update(zip(futures, some, strict=True))
        return futures

    queue = as_completed(submitted(waiting[:AT_A_TIME]), loop=client.loop)
    later = iter(waiting[AT_A_TIME:])
    for future in queue:
        name = names.pop(future)
        done[name] = _outcome(future)
        store.put(name, done[name])
        finished += 1
        if progress is not None:
            progress(finished, len(tasks))
        queue.update(submitted(list(islice(later, 1))))
    return {name: done[name] for name in tasks}


def _outcome(future: Future) -> TaskOutcome:
    if future.status == "finished":
        return TaskOutcome(future.result())
    error = future.exception()
    return TaskOutcome(None, f"{type(error).__name__}: {error}")


def _same(packed: bytes) -> bytes:
    return packed


def _packed(shared: Any) -> bytes:
    """Dask hands arrays over as views of the message, on which compiled code cannot work.

    The fourth protocol has arrays copy what they are given. Dask's pickle knows functions without
    a name, of which outcome families consist.
    """
    return pickle.dumps(shared, protocol=4)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Any:
    return pickle.loads(packed)


def _alone(function: Function, packed: bytes, arguments: tuple[Any, ...]) -> dict[str, Any]:
    with _ONE_FIT:
        return function(_unpacked(packed), *arguments)
