"""A Dask cluster that is there already: connected to, watched, and given up in bounded time."""

from __future__ import annotations

import asyncio
import logging
import pickle
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from alliance.data_prep.errors import InputError, extra_package
from alliance.inference.many_fits.task_runner import TaskOutcome
from alliance.inference.runs.fit import installed_versions

if TYPE_CHECKING:  # a package that not every installation has
    from distributed import Client, Future

Function = Callable[..., dict[str, Any]]

TIMEOUT = 10.0  # seconds for a scheduler to answer
WORKERS_TIMEOUT = 60.0  # seconds for all workers to tell their versions
WITHOUT_WORKERS = 60.0  # seconds that a cluster may be without any before it is given up
LOOK = 2.0  # seconds without a result after which scheduler and workers are looked after
AT_A_TIME = 500  # tasks that the scheduler knows of: it slows down with many thousands
GO_ON = "The same command goes on where this one ended: what is done is kept."
SOMETHING_ELSE = "what listens there is something else"
GREETING, LONGEST_GREETING = b"pickle-protocol", 100_000  # bytes that Dask sends when it is called
LOGGERS = ("distributed", "tornado", "asyncio")

# A worker may have several threads; BLAS threads are limited for a whole process, and a fit that
# ends would give them back to one that goes on.
_ONE_FIT = threading.Lock()


@contextmanager
def open_cluster(address: str) -> Iterator[Client]:
    """Connect to a scheduler.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``; ``tls://`` with the certificates that Dask's configuration
        names under ``distributed.comm.tls``.

    Yields
    ------
    distributed.Client

    Raises
    ------
    InputError
        If no scheduler answers, it has no workers, or they run other versions of what moves a
        result.
    """
    distributed = extra_package("distributed", "many", "A Dask cluster")
    with _silence():
        _require_scheduler(address)
        try:
            # Not the default: one that fails to connect would stay it, for all that Dask computes
            client = distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise _no_answer(address, error) from error
        with client:
            _require_workers(client, address)
            yield client


def compute(client: Client, value: Any) -> Any:
    """The result of a Dask value on a cluster that is watched.

    Parameters
    ----------
    client : distributed.Client
    value : dask collection or delayed value, or list of them

    Raises
    ------
    InputError
        If the scheduler goes away, or has had no workers for long.
    """
    several = isinstance(value, list)
    futures = client.compute(value if several else [value])
    _watched(client, futures)
    results = client.gather(futures)
    return results if several else results[0]


def cluster_outcomes(
    client: Client, function: Function, packed: bytes, tasks: Mapping[str, tuple[Any, ...]]
) -> Iterator[tuple[str, TaskOutcome]]:
    """Run tasks, and give their outcomes as they come.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Of a module: ``function(shared, *arguments)``.
    packed : bytes
        What is shared, pickled; each worker unpacks it once.
    tasks : mapping of str to tuple
        Arguments by name.

    Yields
    ------
    str
    TaskOutcome

    Raises
    ------
    InputError
        If the scheduler goes away, or has had no workers for long.
    """
    # A task of its own, so that the scheduler makes it again if the worker that has it dies
    everywhere = client.submit(_same, packed, pure=False)
    later = iter(tasks)
    names: dict[Future, str] = {}
    ready: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def submit(some: int) -> None:
        for name in islice(later, some):
            future = client.submit(_alone, function, everywhere, tasks[name], pure=False)
            names[future] = name
            future.add_done_callback(ready.put)

    submit(AT_A_TIME)
    watch = _Watch(client)
    while names:
        try:
            future = ready.get(timeout=LOOK)
        except queue.Empty:
            watch.look()
            continue
        if future.status not in ("finished", "error"):
            raise _gone(client)
        outcome = _outcome(future)
        watch.rest()
        submit(1)
        yield names.pop(future), outcome


def _outcome(future: Future) -> TaskOutcome:
    if future.status == "error":
        error = future.exception()
        return TaskOutcome(None, f"{type(error).__name__}: {error}")
    return TaskOutcome(future.result())


def _watched(client: Client, futures: list[Future]) -> None:
    """Wait for futures, and for a cluster that can do them."""
    ready: queue.SimpleQueue[Future] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ready.put)
    left, watch = len(futures), _Watch(client)
    while left:
        try:
            future = ready.get(timeout=LOOK)
        except queue.Empty:
            watch.look()
            continue
        if future.status not in ("finished", "error"):
            raise _gone(client)
        watch.rest()
        left -= 1


class _Watch:
    """Looks after a cluster that gives no results."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._empty_since: float | None = None

    def rest(self) -> None:
        """A result has come."""
        self._empty_since = None

    def look(self) -> None:
        """Raise an InputError if the scheduler is gone, or there have been no workers for long."""
        try:
            workers = self._client.sync(self._client.scheduler.ncores, callback_timeout=TIMEOUT)
        except OSError as error:  # timeouts and lost connections among them
            raise _gone(self._client) from error
        now = time.monotonic()
        if workers:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since > WITHOUT_WORKERS:
            address = self._client.scheduler.address
            raise InputError(
                f"The Dask scheduler at {address!r} has had no workers for "
                f"{WITHOUT_WORKERS:g} seconds.",
                f"Start some with `dask worker {address} --nthreads 1`. {GO_ON}",
            )


def _gone(client: Client) -> InputError:
    address = client.scheduler.address
    return InputError(
        f"The Dask scheduler at {address!r} does not answer any more.",
        f"Start it and its workers again, or leave `dask` out to use this machine. {GO_ON}",
    )


def _no_answer(address: str, why: object) -> InputError:
    return InputError(
        f"No Dask scheduler answers at {address!r}: {why}.",
        "Start one with `dask scheduler`, or leave `dask` out to use this machine.",
    )


def _require_scheduler(address: str) -> None:
    """Ask who is there, in bounded time: Dask's client waits for whatever listens."""
    from distributed.security import Security

    credentials = Security().get_connection_args("client")  # as Dask's configuration has them
    if address.startswith("tls://") and credentials["ssl_context"] is None:
        raise InputError(
            f"No certificates are known with which to connect to {address!r}.",
            "Name them in Dask's configuration, under distributed.comm.tls: see docs/scale.md.",
        )
    try:
        _require_greeting(address, credentials["ssl_context"])
        answer = asyncio.run(asyncio.wait_for(_identity(address, credentials), TIMEOUT))
    except TimeoutError as error:
        raise _no_answer(address, f"nothing was heard within {TIMEOUT:g} seconds") from error
    except (OSError, ValueError) as error:
        raise _no_answer(address, str(error).rstrip(".")) from error
    if not isinstance(answer, Mapping) or answer.get("type") != "Scheduler":
        raise _no_answer(address, SOMETHING_ELSE)


def _require_greeting(address: str, context: ssl.SSLContext | None) -> None:
    """Listen for Dask's greeting, by which it is told from all else that may listen there."""
    from distributed.comm.addressing import get_address_host_port

    host, port = get_address_host_port(address)
    deadline = time.monotonic() + TIMEOUT
    with ExitStack() as stack:
        channel = stack.enter_context(socket.create_connection((host, port), TIMEOUT))
        if context is not None and address.startswith("tls://"):
            channel = stack.enter_context(context.wrap_socket(channel))

        def read(size: int) -> bytes:
            found = b""
            while len(found) < size:
                channel.settimeout(max(0.001, deadline - time.monotonic()))
                if not (more := channel.recv(size - len(found))):
                    raise ValueError(SOMETHING_ELSE)
                found += more
            return found

        (size,) = struct.unpack("Q", read(8))
        if size > LONGEST_GREETING or GREETING not in read(size):
            raise ValueError(SOMETHING_ELSE)


async def _identity(address: str, credentials: Mapping[str, Any]) -> Any:
    from distributed.comm.core import connect

    channel = await connect(address, timeout=TIMEOUT, **credentials)
    try:
        await channel.write({"op": "identity", "n_workers": 0, "reply": True})
        return await channel.read()
    finally:
        channel.abort()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Dask's own words about connections back: what is wrong is said once, by an error."""
    loggers = [
        logging.getLogger(name)
        for name in logging.root.manager.loggerDict
        if name.split(".")[0] in LOGGERS
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _require_workers(client: Client, address: str) -> None:
    own = installed_versions()
    try:
        found = client.run(installed_versions, callback_timeout=WORKERS_TIMEOUT)
    except OSError as error:
        raise InputError(
            f"The workers of the Dask scheduler at {address!r} do not answer.",
            "Start scheduler and workers again, or leave `dask` out to use this machine.",
        ) from error
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


def _same(packed: bytes) -> bytes:
    return packed


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Any:
    return pickle.loads(packed)


def _alone(function: Function, packed: bytes, arguments: tuple[Any, ...]) -> dict[str, Any]:
    with _ONE_FIT:
        return function(_unpacked(packed), *arguments)
