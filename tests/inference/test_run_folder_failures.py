"""A failure or a kill while a run is written leaves the older run whole, or none, never half."""

from __future__ import annotations

import errno
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from run_folders import BESIDE, contents, copied, one_outcome, refused

from alliance.data_prep.errors import InputError
from alliance.data_prep.partial_files import folder_under_way, remove_left_over
from alliance.inference.draws.datatree import netcdf_bytes
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import load_fit, recover_run, save_fit


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
        calls: list[xr.DataTree] = []

        def second_fails(tree: xr.DataTree) -> bytes:
            calls.append(tree)
            if len(calls) == 2:
                raise failure
            return netcdf_bytes(tree)

        monkeypatch.setattr("alliance.inference.runs.run_folder.netcdf_bytes", second_fails)
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
            save_fit(one_outcome(made_fit), place, overwrite=True)

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
            save_fit(one_outcome(made_fit), run, overwrite=True)
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
from alliance.inference.runs import run_folder as run_folder_module
from alliance.inference.runs.fit import Fit
from alliance.inference.draws.datatree import netcdf_bytes
from alliance.inference.runs.run_folder import load_fit, save_fit

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
    os.fsync = stepping(os.fsync)

started = time.perf_counter()
os.waitpid(child(places / "not-killed"), 0)
whole = time.perf_counter() - started
moments = random.Random(1)
for k in range(5):
    number = child(places / f"moment-{k}")
    time.sleep(moments.uniform(0, whole))
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
content = netcdf_bytes(fit.trees["gpe"])
run_folder_module.netcdf_bytes = lambda tree: content
step, status = 0, signal.SIGKILL
while status == signal.SIGKILL:  # until a child comes to its end
    step += 1
    status = os.waitpid(child(places / f"step-{step:02d}", lambda: die_at(step)), 0)[1]
sys.exit(status)
'''


@pytest.fixture(scope="module")
def killed(made_fit: Fit, made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    save_fit(one_outcome(made_fit, seed=77), folder / "newer")
    places = folder / "places"
    subprocess.run(
        [sys.executable, "-c", KILLED, made_run, folder / "newer", places],
        check=True,
        timeout=120,
    )
    return places


@pytest.fixture(scope="module")
def states(killed: Path, made_run: Path) -> dict[str, str]:
    """What stands under the run's name in each place."""
    return {place.name: state(place / "run", made_run) for place in sorted(killed.iterdir())}


def state(run: Path, older: Path) -> str:
    """The older run, the newer or none; anything but a whole run fails."""
    if not run.exists():
        return "none"
    if contents(run) == contents(older):
        return "older"
    found = load_fit(run)
    assert found.differences == ()
    assert found.manifest["seed"] == 77
    assert set(contents(run)) == BESIDE | {"gpe.nc"}
    return "newer"


class TestKilledWhileWriting:
    def test_leaves_the_older_run_whole_or_the_newer_or_none(self, states: dict[str, str]) -> None:
        assert states["not-killed"] == "newer"
        steps = [found for name, found in states.items() if name.startswith("step")]
        # First the older run, then for one step none, then the newer one.
        assert steps == sorted(steps, key=["older", "none", "newer"].index)
        assert steps.count("none") == 1
        assert steps.count("older") > 8
        assert steps[-1] == "newer"

    def test_the_older_run_is_never_lost_before_the_newer_is_there(
        self, killed: Path, states: dict[str, str], made_run: Path
    ) -> None:
        for name in states:
            if states[name] == "none":
                (aside,) = (killed / name).glob(".run.previous-*/run")
                assert contents(aside) == contents(made_run)

    def test_what_is_left_over_is_hidden_and_no_run_by_halves(
        self, killed: Path, made_run: Path
    ) -> None:
        left = [path for place in killed.iterdir() for path in place.iterdir()]
        left = [path for path in left if path.name != "run"]
        assert len(left) > 10
        for path in left:
            assert path.name.startswith(".")
            manifest = path / "manifest.json"
            if manifest.is_file() and manifest.stat().st_size:
                assert load_fit(path).differences == ()  # all of it was written
            else:
                assert "manifest.json" in refused(path)

    def test_the_next_command_finds_the_run_and_leaves_nothing_over(
        self, killed: Path, states: dict[str, str], made_run: Path, tmp_path: Path
    ) -> None:
        for name, before in states.items():
            place = tmp_path / name
            shutil.copytree(killed / name, place)
            assert load_fit(place / "run").differences == ()  # none is lost
            if before == "none":
                assert contents(place / "run") == contents(made_run)
            remove_left_over(place)
            assert [path.name for path in place.iterdir()] == ["run"]

    def test_writing_goes_on_as_if_nothing_had_happened(self, killed: Path, made_fit: Fit) -> None:
        for name in ("step-01", "step-05"):
            place = killed / name
            save_fit(one_outcome(made_fit), place / "run", overwrite=True)
            assert load_fit(place / "run").differences == ()
            assert [path.name for path in place.iterdir()] == ["run"]


def test_what_a_living_process_writes_is_left_alone(run: Path) -> None:
    """Its run steps aside for a moment; nobody else brings it back or cleans what it writes."""
    aside = run.parent / ".run.previous-abcdefgh"
    aside.mkdir()
    run.rename(aside / "run")
    with folder_under_way(run) as partial:
        (partial / "gpe.nc").write_bytes(b"half")
        assert remove_left_over(run.parent) == []
        with pytest.raises(InputError, match="There is no run"):
            load_fit(run)
    assert not partial.exists()
    assert recover_run(run)[0].startswith("The run run is back where it was")
    assert load_fit(run).differences == ()
    assert not aside.exists()


def test_what_is_no_file_of_a_run_is_not_cleaned(tmp_path: Path) -> None:
    mine = tmp_path / ".thesis.partial-1"
    mine.mkdir()
    (mine / "thesis.docx").write_bytes(b"years of work")
    (mine / "gpe.nc").write_bytes(b"half")
    (tmp_path / ".link.partial-abcdefgh").symlink_to(mine)
    assert remove_left_over(tmp_path) == []
    assert (mine / "thesis.docx").read_bytes() == b"years of work"
