"""Caches of compiled code that cannot be written, are full or damaged: said, and done without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alliance.inference.sampling import caches

# Compiles a function of two lines as PyTensor's are, and says what was told.
COMPILED = """
import sys, warnings
from alliance.inference.sampling import caches
caches.tell = lambda text: print("told:", text)
caches.prepare_caches()
import numba
sys.path.insert(0, sys.argv[1])
import cached
answer, hits = cached.thrice(14), cached.thrice.stats.cache_hits
print("found", answer, next(iter(hits.values()), 0))
"""


def compiled(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, str(folder)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder / "kept")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr  # no traceback, and no end by a signal
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = "import numba\n@numba.njit(cache=True)\ndef thrice(x):\n    return 3 * x\n"
    (tmp_path / "cached.py").write_text(text, encoding="utf-8")
    assert "found 42" in compiled(tmp_path)
    return tmp_path


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "zeros", "none"])
def test_damaged_code_is_compiled_again(folder: Path, ending: str, damage: str) -> None:
    """What is whole is loaded; the rest is never run, and the next process loads what is new."""
    (kept,) = folder.glob(f"kept/**/*.{ending}")
    content = bytearray(kept.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
    elif damage == "zeros":
        content[20 : len(content) // 2] = bytes(len(content) // 2 - 20)
    kept.write_bytes(bytes(content))
    found = compiled(folder)
    assert "found 42 1" in found if damage == "none" else "found 42 0" in found
    if damage in ("flipped", "zeros"):  # a cut one could be of before there were checksums
        assert "is damaged and compiled again" in found
        assert str(kept.parent) in found
    assert "found 42 1" in compiled(folder)


@pytest.mark.parametrize("why", ["a file is there", "no such place", "full"])
def test_a_folder_that_cannot_be_used_is_named(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pytensor"
    if why == "a file is there":
        folder.write_text("")
    elif why == "no such place":
        folder = Path("/proc/nowhere/pytensor")
    else:
        monkeypatch.setattr(caches, "LEAST_FREE", 2**70)
    told: list[str] = []
    monkeypatch.setattr(caches, "tell", told.append)
    monkeypatch.setattr(caches, "_check_what_numba_loads", lambda: None)
    monkeypatch.delitem(sys.modules, "pytensor", raising=False)
    monkeypatch.setenv("PYTENSOR_FLAGS", f"floatX=float64,base_compiledir={folder}")
    caches.prepare_caches.cache_clear()
    caches.prepare_caches()
    (sentence,) = told
    assert f"cannot be kept in {str(folder)!r}" in sentence
    flags = os.environ["PYTENSOR_FLAGS"]
    assert flags.startswith("floatX=float64,base_compiledir=")
    own = Path(flags.rpartition("=")[2])
    assert own.is_dir()
    assert own != folder
    caches.prepare_caches.cache_clear()
