"""A failure or a kill while a run is written leaves the older run whole, or none, never half."""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from run_folders import BESIDE, contents, copied, refused

from data_prep.errors import InputError
from inference.fit import Fit
from inference.run_folder import load_fit, save_fit


class TestFailureWhileWriting:
    """The older run stays whole; where there was none, nothing is left."""

    @pytest.fixture(params=["no run there", "an older run there"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path, made_run: Path) -> Path:
        path = tmp_path / "run"
        if request.param == "an older run there":
            copied(made_run, path)
        return path

    @pytest.fixture
    def unchanged(self, place: Path) -> Iterator[None]:
        before = contents(place.parent)
        yield
        assert contents(place.parent) == before
        assert [path.name for path in place.parent.iterdir()] == ["run"] * bool(before)

    @pytest.mark.usefixtures("unchanged")
    @pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space"), KeyboardInterrupt()])
    def test_at_the_second_outcome(
        self,
        made_fit: Fit,
        place: Path,
        monkeypatch: pytest.MonkeyPatch,
        failure: BaseException,
    ) -> None:
        to_netcdf, calls = xr.DataTree.to_netcdf, []

        def second_fails(tree: xr.DataTree, *args: Any, **settings: Any) -> Any:
            calls.append(tree)
            if len(calls) == 2:
                raise failure
            return to_netcdf(tree, *args, **settings)

        monkeypatch.setattr(xr.DataTree, "to_netcdf", second_fails)
        if isinstance(failure, OSError):
            with pytest.raises(InputError, match=r"could not be written to .*run': No space\."):
                save_fit(made_fit, place, overwrite=True)
        else:
            with pytest.raises(KeyboardInterrupt):
                save_fit(made_fit, place, overwrite=True)
        assert len(calls) == 2

    @pytest.mark.usefixtures("unchanged")
    @pytest.mark.parametrize("last", [1, 2])
    def test_at_a_step_into_place(
        self, made_fit: Fit, place: Path, monkeypatch: pytest.MonkeyPatch, last: int
    ) -> None:
        """The first or second renaming fails; with nothing to replace there is only one."""
        rename, calls = Path.rename, []

        def fails(path: Path, target: Path) -> Path:
            calls.append(path)
            if len(calls) == last:
                raise OSError(errno.EIO, "Input/output error")
            return rename(path, target)

        last = last if place.exists() else 1
        monkeypatch.setattr(Path, "rename", fails)
        with pytest.raises(InputError, match="Input/output error"):
            save_fit(made_fit, place, overwrite=True)

    def test_an_older_run_that_cannot_step_back_is_not_lost(
        self, made_fit: Fit, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename, calls, before = Path.rename, [], contents(run)

        def only_the_first(path: Path, target: Path) -> Path:
            calls.append(path)
            if len(calls) > 1:
                raise OSError(errno.EIO, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", only_the_first)
        with pytest.raises(InputError, match="Input/output error"):
            save_fit(made_fit, run, overwrite=True)
        (aside,) = run.parent.iterdir()
        assert contents(aside / "run") == before

    @pytest.mark.usefixtures("unchanged")
    @pytest.mark.parametrize("size", [1, 20_000])
    def test_where_the_disk_takes_no_more(
        self, made_fit: Fit, place: Path, size: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The system itself refuses; libraries that write must not talk over the message."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with capfd.disabled():
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
                with pytest.raises(InputError, match=r"could not be written .*: File too large"):
                    save_fit(made_fit, place, overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)


KILLED = '''
"""Writes a run over an older one in many children, each killed at another moment."""
import os, random, shutil, signal, sys, time
from pathlib import Path
import xarray as xr
from inference.fit import Fit
from inference.run_folder import load_fit, save_fit

older, newer, places = map(Path, sys.argv[1:])
fit = load_fit(newer)
summary = fit.summary()
Fit.summary = lambda fit: summary  # not what is tested, and most of the time

def child(place, before=lambda: None):
    (place).mkdir(parents=True)
    shutil.copytree(older, place / "run")
    number = os.fork()
    if number == 0:
        before()
        save_fit(fit, place / "run", overwrite=True)
        os._exit(0)
    return number

def die_at(step):
    """At the given call of what writes, renames or removes."""
    calls = 0
    def stepping(function):
        def stepped(*args, **settings):
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **settings)
        return stepped
    Path.write_bytes = stepping(Path.write_bytes)
    Path.write_text = stepping(Path.write_text)
    Path.rename = stepping(Path.rename)
    shutil.rmtree = stepping(shutil.rmtree)
    os.fsync = stepping(os.fsync)

started = time.perf_counter()
os.waitpid(child(places / "not-killed"), 0)
whole = time.perf_counter() - started
step, status = 0, 1
while status:  # until a child comes to its end
    step += 1
    status = os.waitpid(child(places / f"step-{step:02d}", lambda: die_at(step)), 0)[1]
moments = random.Random(1)
for k in range(6):
    number = child(places / f"moment-{k}")
    time.sleep(moments.uniform(0, whole))
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
'''


@pytest.fixture(scope="module")
def killed(made_fit: Fit, made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    newer = replace(
        made_fit,
        specs={"gpe": made_fit.specs["gpe"]},
        trees={"gpe": made_fit.trees["gpe"]},
        manifest=made_fit.manifest
        | {"seed": 77, "specifications": {"gpe": made_fit.specs["gpe"].to_dict()}},
    )
    save_fit(newer, folder / "newer")
    places = folder / "places"
    subprocess.run(
        [sys.executable, "-c", KILLED, made_run, folder / "newer", places],
        check=True,
        timeout=120,
    )
    return places


class TestKilledWhileWriting:
    def state(self, place: Path, older: Path) -> str:
        """What stands under the run's name; anything but a whole run fails."""
        if not (place / "run").exists():
            return "none"
        if contents(place / "run") == contents(older):
            return "older"
        found = load_fit(place / "run")
        assert found.differences == ()
        assert found.manifest["seed"] == 77
        assert set(contents(place / "run")) == BESIDE | {"gpe.nc"}
        return "newer"

    def test_leaves_the_older_run_whole_or_the_newer_or_none(
        self, killed: Path, made_run: Path
    ) -> None:
        places = sorted(killed.iterdir())
        states = {place.name: self.state(place, made_run) for place in places}
        assert states["not-killed"] == "newer"
        steps = [state for name, state in states.items() if name.startswith("step")]
        # First the older run, then for one step none, then the newer one.
        assert steps == sorted(steps, key=["older", "none", "newer"].index)
        assert steps.count("none") == 1
        assert steps.count("older") > 10
        assert steps[-1] == "newer"

    def test_the_older_run_is_never_lost_before_the_newer_is_there(
        self, killed: Path, made_run: Path
    ) -> None:
        older = contents(made_run)
        for place in killed.iterdir():
            if self.state(place, made_run) == "none":
                (aside,) = place.glob(".run.previous-*/run")
                assert contents(aside) == older

    def test_what_is_left_over_is_hidden_and_no_run_by_halves(
        self, killed: Path, made_run: Path
    ) -> None:
        left = [path for place in killed.iterdir() for path in place.iterdir()]
        left = [path for path in left if path.name != "run"]
        assert len(left) > 10
        for path in left:
            assert path.name.startswith(".")
            if (path / "manifest.json").is_file() and (path / "manifest.json").stat().st_size:
                assert load_fit(path).differences == ()  # all of it was written
            else:
                assert "manifest.json" in refused(path)

    def test_writing_goes_on_as_if_nothing_had_happened(self, killed: Path, made_fit: Fit) -> None:
        place = killed / "step-01"
        save_fit(made_fit, place / "run", overwrite=True)
        assert load_fit(place / "run").differences == ()
