"""Where many fits run: processes of this machine, or a Dask cluster that is there already."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import dask
from distributed import Client, LocalCluster

from data_prep.errors import InputError
from inference.fit import installed_versions

TIMEOUT = "10s"  # for a scheduler to answer
# Workers are judged by what they were asked for, not by what else the machine does.
SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    # Dask has the allocator give memory back at every turn: a third of the time of small fits.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
}


@contextmanager
def open_cluster(address: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Connect to a scheduler, or start workers here.

    Parameters
    ----------
    address : str, optional
        Of a running scheduler, such as ``tcp://10.0.0.1:8786``.
    workers : int, optional
        Processes of this machine, where no address is given; one for each core by default.

    Yields
    ------
    distributed.Client

    Raises
    ------
    InputError
        If no scheduler answers, it has no workers, or they run other versions of what moves a
        result.
    """
    if address is None:
        with dask.config.set(SETTINGS):
            with _interrupts_withheld():
                started = LocalCluster(
                    n_workers=workers or _cores(),
                    threads_per_worker=1,
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                )
            with started as cluster, Client(cluster, set_as_default=False) as client:
                yield client
        return
    try:
        # Not the default: one that fails to connect would stay it, for all that Dask computes
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address!r}: {error}.",
            "Start one with `dask scheduler`, or leave --dask out to use this machine.",
        ) from error
    with client:
        _require_workers(client, address)
        yield client


@contextmanager
def _interrupts_withheld() -> Iterator[None]:
    """Keep Ctrl-C from all processes that are started meanwhile; this one gets it afterwards.

    A terminal sends it to all of them, and workers would answer with tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # started later, it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _require_workers(client: Client, address: str) -> None:
    own = installed_versions()
    found = client.run(installed_versions)
    if not found:
        raise InputError(
            f"The Dask scheduler at {address!r} has no workers.",
            f"Start some with `dask worker {address} --nthreads 1`.",
        )
    for worker, versions in found.items():
        for name, version in own.items():
            if versions.get(name) != version:
                raise InputError(
                    f"The worker {worker} has {name} {versions.get(name)}, and {version} is "
                    "installed here: results would differ.",
                    "Install the same versions everywhere.",
                )


def _cores() -> int:
    """Cores that this process may use; not every system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
