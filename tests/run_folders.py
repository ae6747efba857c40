"""Run folders with made-up draws, and ways to look into them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alliance.data_prep.errors import InputError
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.run_folder import load_fit, own_digest

BESIDE = {"flow.csv", "manifest.json", "study.toml", "summary.csv"}
FILES = BESIDE | {"function.nc", "gpe.nc"}  # of a run of `made_fit`


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def copied(run: Path, place: Path) -> Path:
    place.mkdir()
    for name, content in contents(run).items():
        (place / name).write_bytes(content)
    return place


def one_outcome(fit: Fit, **manifest: Any) -> Fit:
    """The fit with the last of its outcomes alone, which is quicker to write."""
    name = fit.outcomes[-1]
    entries = {"specifications": {name: fit.specs[name].to_dict()}} | manifest
    return replace(
        fit,
        specs={name: fit.specs[name]},
        trees={name: fit.trees[name]},
        manifest=fit.manifest | entries,
    )


def written(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what the writing itself adds."""
    added = ("format", "files", "compared_at", "manifest_sha256")
    return {key: value for key, value in manifest.items() if key not in added}


def edited(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest as its own writer would have: with a digest that fits."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    manifest["manifest_sha256"] = own_digest(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def refused(path: Path, *, accept_changed: bool = False) -> str:
    """What is said of a run that cannot be read."""
    with pytest.raises(InputError) as caught:
        load_fit(path, accept_changed=accept_changed)
    assert caught.value.remedy
    return caught.value.problem
