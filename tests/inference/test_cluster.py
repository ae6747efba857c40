"""A Dask cluster: who may use it, and what happens if it is none, or goes away."""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster
from distributed.security import Security
from worker_tasks import slowly, third

from alliance.data_prep.errors import InputError
from alliance.inference.many_fits.cluster import compute, open_cluster
from alliance.inference.many_fits.task_runner import (
    TaskOutcome,
    open_store,
    open_workers,
    run_tasks,
)

LOOPBACK = "127.0.0.1"
BOUND = 20.0  # seconds, on a busy machine, of what is bounded to one here
TASKS = {f"t{k}": (k,) for k in range(6)}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"TIMEOUT": 1.0, "LOOK": 0.2, "WITHOUT_WORKERS": 0.5}.items():
        monkeypatch.setattr(f"alliance.inference.many_fits.cluster.{name}", seconds)


class Silent:
    """Listens, and says nothing."""

    def __enter__(self) -> int:
        self.socket = socket.create_server((LOOPBACK, 0))
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class Says:
    """Listens, and greets with some bytes."""

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting

    def __enter__(self) -> int:
        self.socket, self.channels = socket.create_server((LOOPBACK, 0)), []
        self.thread = threading.Thread(target=self._greet, daemon=True)
        self.thread.start()
        return int(self.socket.getsockname()[1])

    def _greet(self) -> None:
        while True:
            try:
                self.channels.append(self.socket.accept()[0])
                self.channels[-1].sendall(self.greeting)
            except OSError:
                return

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        for one in (self.socket, *self.channels):
            one.close()


class Web:
    """An ordinary web server."""

    def __enter__(self) -> int:
        self.server = http.server.HTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self.server.server_port

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize(
    "listener",
    [Silent(), Web(), Says(b"SSH-2.0-OpenSSH_9.9\r\n"), Says(b"\x10" + bytes(40)), Says(b"220 x")],
    ids=["silent", "web", "ssh", "short frame", "mail"],
)
def test_what_is_no_scheduler_is_named_in_bounded_time(
    listener: Any, scheme: str, certificates: dict[str, str]
) -> None:
    began = time.monotonic()
    with listener as port, dask.config.set(tls(certificates, "own")):
        address = f"{scheme}://{LOOPBACK}:{port}"
        told = f"No Dask scheduler answers at '{address}'"
        with pytest.raises(InputError, match=told), open_cluster(address):
            pass
    assert time.monotonic() - began < BOUND


def test_tls_without_certificates_says_where_they_are_named() -> None:
    with pytest.raises(InputError, match=r"distributed\.comm\.tls"), open_cluster("tls://s:1"):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_worker_is_no_scheduler() -> None:
    with (
        LocalCluster(
            n_workers=1, processes=False, protocol="tcp://", host=LOOPBACK, dashboard_address=None
        ) as cluster,
        pytest.raises(InputError, match="something else"),
        open_cluster(cluster.workers[0].address),
    ):
        pass


@contextmanager
def local_cluster(**settings: Any) -> Iterator[LocalCluster]:
    with LocalCluster(
        processes=False,
        threads_per_worker=1,
        host=LOOPBACK,
        dashboard_address=None,
        silence_logs=50,
        **settings,
    ) as cluster:
        yield cluster


def test_the_results_are_those_of_this_machine(tmp_path: Path) -> None:
    with local_cluster(n_workers=2, protocol="tcp://") as cluster:
        for name, address in {"here": None, "there": cluster.scheduler_address}.items():
            with open_store(tmp_path / name, {}) as store, open_workers(address, 2) as workers:
                found = run_tasks(workers, store, third, 0.1, TASKS)
            assert found == {
                task: TaskOutcome({"value": 0.1 * k / 3}) for task, (k,) in TASKS.items()
            }


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda cluster: cluster.scale(0), "has had no workers for"),
        (lambda cluster: cluster.sync(cluster.scheduler.close), "does not answer any more"),
    ],
    ids=["all workers", "scheduler"],
)
def test_a_cluster_that_goes_away_is_named_and_what_is_done_is_kept(
    end: Callable[[LocalCluster], object], told: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    with (
        local_cluster(n_workers=1, protocol="tcp://") as cluster,
        open_store(tmp_path / "s", {}) as store,
    ):

        def progress(done: int, _: int) -> None:
            if done == 3:
                end(cluster)

        with (
            pytest.raises(InputError, match=told) as raised,
            open_workers(cluster.scheduler_address) as workers,
        ):
            run_tasks(workers, store, slowly, 0.1, TASKS, progress=progress)
        assert "what is done is kept" in str(raised.value)
        kept = store.outcomes()
    assert 3 <= len(kept) < 6
    with open_store(tmp_path / "s", {}) as store, open_workers(None, 2) as workers:
        found = run_tasks(workers, store, slowly, 0.1, TASKS)
    assert found == {name: TaskOutcome({"value": k}) for name, (k,) in TASKS.items()}
    assert time.monotonic() - began < 4 * BOUND


@pytest.mark.usefixtures("impatient")
def test_a_registry_is_not_waited_for_without_end() -> None:
    with (
        local_cluster(n_workers=1, protocol="tcp://") as cluster,
        open_cluster(cluster.scheduler_address) as client,
    ):
        both = [dask.delayed(third, pure=False)(0.1, k) for k in (1, 2)]
        assert compute(client, both) == [third(0.1, 1), third(0.1, 2)]
        assert compute(client, both[0]) == third(0.1, 1)
        cluster.scale(0)
        with pytest.raises(InputError, match="no workers"):
            compute(client, dask.delayed(slowly, pure=False)(0.1, 4))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Dask's settings for two authorities, ``own`` and ``other``, by their prefix."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    found = {}
    for name in ("own", "other"):
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{LOOPBACK}",
             "-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )  # fmt: skip
        found |= {f"{name} key": str(key), f"{name} certificate": str(certificate)}
    return found


def tls(certificates: dict[str, str], name: str) -> dict[str, Any]:
    """As ``distributed.comm.tls`` and ``require-encryption`` in a configuration file."""
    own = {"key": certificates[f"{name} key"], "cert": certificates[f"{name} certificate"]}
    return {
        "distributed.comm.tls.ca-file": certificates[f"{name} certificate"],
        **{
            f"distributed.comm.tls.{role}.{part}": path
            for role in ("client", "worker", "scheduler")
            for part, path in own.items()
        },
    }


# What another process of the machine would do: have the cluster write a file.
ATTACK = """
import sys
from pathlib import Path
from distributed import Client

if __name__ == "__main__":
    address, mark = sys.argv[1:]
    client = Client(address, timeout="3s")
    client.submit(Path(mark).touch, pure=False).result(timeout="10s")
    client.run_on_scheduler(Path(mark).touch)
"""


def attack(address: str, mark: Path, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A process with these settings of Dask that tries to have code run at an address."""
    environment = {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): value
        for name, value in settings.items()
    }
    return subprocess.Popen(
        [sys.executable, "-c", ATTACK, address, str(mark)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_tls_with_certificates_of_the_configuration(
    certificates: dict[str, str], tmp_path: Path
) -> None:
    """Who has them gets the results; who has none, or those of others, runs nothing."""
    with dask.config.set(tls(certificates, "own")):
        security = Security(require_encryption=True)
        with local_cluster(n_workers=1, protocol="tls://", security=security) as cluster:
            address = cluster.scheduler_address
            assert address.startswith("tls://")
            with open_store(tmp_path / "s", {}) as store, open_workers(address) as workers:
                found = run_tasks(workers, store, third, 0.1, TASKS)
            assert found["t4"] == TaskOutcome(third(0.1, 4))
            others, own = tls(certificates, "other"), tls(certificates, "own")
            attempts = {}
            for kind, at in (("scheduler", address), ("worker", cluster.workers[0].address)):
                attempts[f"{kind}, in plain text"] = (at.replace("tls://", "tcp://"), {})
                attempts[f"{kind}, with others"] = (at, others)
            # The same attack with the credentials goes through: it is they that keep others out
            attempts["own"] = (address, own)
            processes = [
                attack(at, tmp_path / name, settings) for name, (at, settings) in attempts.items()
            ]
            for process in processes:
                process.wait(timeout=120)
            assert [name for name in attempts if (tmp_path / name).exists()] == ["own"]
    with (
        dask.config.set(tls(certificates, "other")),
        pytest.raises(InputError, match=address),
        open_cluster(address),
    ):
        pass
