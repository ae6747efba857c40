"""Many tasks of one kind, here or on a Dask cluster: seeds by task, results kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import cloudpickle

from alliance.inference.many_fits.local_processes import LocalProcesses
from alliance.inference.many_fits.task_store import TaskOutcome, TaskStore

if TYPE_CHECKING:
    from distributed import Client

type Workers = LocalProcesses | Client  # looked up when asked for: Dask takes a second to load
Told = Callable[[int, int], None]
Function = Callable[..., dict[str, Any]]


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
