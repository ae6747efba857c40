"""The wheel in a fresh environment, in a folder that has modules of our rooms' names.

By default the environment borrows what the wheel depends on from the one that runs the tests, and
is made in a second. With the mark ``validation``, as ``.ci/run`` has it, it installs everything
that the wheel asks for, and nothing else is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What a user runs: every public name, and modules of their own beside them.
SCRIPT = """
import alliance
for name in alliance.__all__:
    getattr(alliance, name)
import models, inference
assert models.MINE and inference.MINE, (models, inference)
import alliance.models.design.design as design
print(len(alliance.__all__), design.__name__, design.__file__)
"""


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(
    scope="module",
    params=["borrowed", pytest.param("installed", marks=pytest.mark.validation)],
)
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment that holds the wheel, with the versions that the tests know."""
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` says which it is
    if uv is None:
        pytest.skip("uv is not there to build the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    run(uv, "build", "--wheel", "--quiet", "--out-dir", folder, folder=ROOT)
    (wheel,) = folder.glob("*.whl")
    run(uv, "venv", "--quiet", folder / "environment", folder=ROOT)
    python = next(
        path
        for path in (folder / "environment").glob("*/python*")
        if path.name in ("python", "python.exe")
    )
    install = (uv, "pip", "install", "--quiet", "--no-config", "--python", python)
    if request.param == "borrowed":
        run(*install, "--no-deps", wheel, folder=ROOT)
        (own,) = (folder / "environment").rglob("site-packages")
        # Behind the wheel on the path. Its own .pth files, such as that of this checkout, are not
        # read there.
        borrowed = sysconfig.get_path("purelib")
        (own / "borrowed.pth").write_text(borrowed + "\n", encoding="utf-8")
        return python
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = folder / "constraints.txt"
    known.write_text("\n".join(project["tool"]["uv"]["constraint-dependencies"]), encoding="utf-8")
    run(*install, "--constraint", known, wheel, folder=ROOT)
    return python


def test_names_are_ours_and_the_user_s_are_theirs(interpreter: Path, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("MINE = True\n", encoding="utf-8")
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "__init__.py").write_text("MINE = True\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    count, name, place = run(interpreter, "script.py", folder=tmp_path).split(maxsplit=2)
    assert name == "alliance.models.design.design"
    assert Path(place.strip()).is_relative_to(interpreter.parents[1])
    assert int(count) > 15


def test_the_command_finds_its_studies(interpreter: Path, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("raise SystemExit('the wrong module')\n", encoding="utf-8")
    command = interpreter.with_name("alliance" + interpreter.suffix)
    run(command, "simulate", "trial.csv", "--patients", "40", folder=tmp_path)
    told = run(command, "check", "study.toml", "trial.csv", folder=tmp_path)
    assert "Number of patients, by outcome" in told
