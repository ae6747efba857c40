"""The run folder: a fit on disk, written whole or not at all, and read back with what changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import (
    AnyPath,
    as_path,
    csv_text,
    digest,
    file_bytes,
    foreign_files,
    named,
)
from alliance.data_prep.partial_files import (
    PARTIAL,
    PREVIOUS,
    folder_under_way,
    hidden_prefix,
    is_held,
    left_over,
    remove_left_over,
)
from alliance.data_prep.study.description import Study, read_study, study_text
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.inference.draws.datatree import (
    GROUPS,
    SAMPLED,
    analysed_patients,
    kept_moments,
    netcdf_bytes,
)
from alliance.inference.estimands.compared_at import compared_at
from alliance.inference.estimands.over_time import by_outcome_and_visit
from alliance.inference.runs.fit import Fit, installed_versions
from alliance.inference.runs.whole_files import MANIFEST, PAGES, written_as
from alliance.models.spec import JOINT, ModelSpec

FORMAT = 1  # of the manifest; raised when older runs can no longer be read
STUDY, PUBLISHED, FLOW, SUMMARY = "study.toml", "published.toml", "flow.csv", "summary.csv"
# What answers are read from: when one of these was changed, so may the numbers.
_READ = (".nc", STUDY, PUBLISHED, FLOW, MANIFEST)
OWN_DIGEST = "manifest_sha256"  # of the manifest's other entries
SIMULATED = "data"  # column that says so in every table of a simulated trial
# What every manifest has, beside the format.
ENTRIES = ("data", "profile", "specifications", "versions")


def require_free(path: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse a place where a run cannot be written, before any sampling.

    Parameters
    ----------
    path : Path
        The run folder to be.
    overwrite : bool
        Whether an earlier run there may be replaced. Nothing but a run ever is, and a run only
        where every file in it is one that it wrote.
    inputs : iterable of Path
        Files that are read; a folder that holds one is not replaced.

    Raises
    ------
    InputError
        If something is there already, or its parent cannot be written to.
    """
    if path.is_symlink() or path.exists():
        if not overwrite:
            raise InputError(
                f"{str(path)!r} exists already.",
                "Name another folder with `path`, or replace the run in it with `overwrite=True`.",
            )
        _require_replaceable(path, inputs)
    parent = path.absolute().parent
    existing = next(folder for folder in (parent, *parent.parents) if folder.exists())
    if not existing.is_dir():
        raise InputError(f"{str(existing)!r} is not a folder.", "Name another one with `path`.")
    try:
        # What writing will make, tried out in a folder that is removed again.
        with folder_under_way(existing / path.absolute().name) as trial:
            missing = trial / parent.relative_to(existing)
            missing.mkdir(parents=True, exist_ok=True)
            tempfile.mkdtemp(prefix=hidden_prefix(path.absolute().name, PREVIOUS), dir=missing)
    except OSError as error:
        raise InputError(
            f"The run cannot be written to {str(parent)!r}: {error.strerror}.",
            "Name a folder that you may write to with `path`.",
        ) from error


def _require_replaceable(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace anything but a run of ours that holds nothing else."""
    other = "Only runs are replaced; name another folder with `path`."
    if path.is_symlink():
        raise InputError(f"{str(path)!r} exists and is a link.", other)
    if not (path / MANIFEST).is_file():
        raise InputError(f"{str(path)!r} exists and is not a run ({MANIFEST} is missing).", other)
    where = path.resolve()
    held = {
        "the working folder": Path.cwd(),
        "your home folder": Path(os.path.expanduser("~")),
        **{str(given): given.resolve() for given in inputs},
    }
    for what, place in held.items():
        if place.resolve().is_relative_to(where):
            raise InputError(f"{str(path)!r} is or holds {what}: it is not replaced.", other)
    if os.path.ismount(where):
        raise InputError(f"{str(path)!r} is a whole disk: it is not replaced.", other)
    try:
        manifest = read_manifest(path)
    except InputError as error:
        raise InputError(
            f"{str(path)!r} exists and is not a run of this version: {error.problem}", other
        ) from error
    if foreign := foreign_files(path, _entries(path), _own_files(path, manifest)):
        raise InputError(
            f"{str(path)!r} holds {named(foreign)}, which its run did not write or which was "
            "changed since: nothing is replaced.",
            "Move such files elsewhere, or name another folder with `path`.",
        )


def _entries(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def _own_files(path: Path, manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Digests of the files that a run wrote, by name: its own, the manifest and pages."""
    own = {name: [written] for name, written in _hashes(manifest).items()}
    whole = manifest.get(OWN_DIGEST) in (None, own_digest(manifest))
    own[MANIFEST] = [digest(path / MANIFEST)] if whole else []
    for name, kind in PAGES.items():
        if (path / name).is_file() and written_as(path / name, kind):
            own[name] = [digest(path / name)]
    return own


def save_fit(
    fit: Fit,
    path: AnyPath,
    *,
    overwrite: bool = False,
    published: AnyPath | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write a fit's run folder.

    Everything is written into a hidden folder beside `path`, which then takes its name; a process
    that dies on the way leaves no half of a run under that name, and the next one that writes there
    removes what it left. A run holds patients' values: its files are for their owner alone.

    Parameters
    ----------
    fit : Fit
    path : str or path-like
    overwrite : bool
        Replace an earlier run.
    published : str or path-like, optional
        A ``published.toml`` to keep with the run.
    tables : mapping of str to DataFrame, optional
        Further tables by file name, such as the gate's.

    Raises
    ------
    InputError
        If the place is taken or cannot be written to.
    """
    path = as_path(path)
    kept = None if published is None else as_path(published)
    recover_run(path)
    require_free(path, overwrite=overwrite)
    target = path.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(target.parent)
        with folder_under_way(target) as partial:
            _write(fit, partial, kept, tables or {})
            require_free(path, overwrite=overwrite)  # another run may have come there meanwhile
            _move_into_place(partial, target)
    except OSError as error:
        raise InputError(
            f"The run could not be written to {str(path)!r}: {error.strerror or error}.",
            "Free some space or name another folder with `path`.",
        ) from error


def _write(
    fit: Fit, folder: Path, published: Path | None, tables: Mapping[str, pd.DataFrame]
) -> None:
    shared = {} if fit.shared is None else {JOINT: fit.shared}
    for outcome, tree in (fit.trees | shared).items():
        (folder / f"{outcome}.nc").write_bytes(netcdf_bytes(tree))
    (folder / STUDY).write_text(study_text(fit.study), encoding="utf-8")
    if published is not None:
        shutil.copyfile(published, folder / PUBLISHED)
    own = {FLOW: fit.flow, SUMMARY: by_outcome_and_visit(fit.summary(), fit.study)}
    for name, table in (own | dict(tables)).items():
        if fit.study.simulated:
            table = table.assign(**{SIMULATED: "SIMULATED"})
        (folder / name).write_text(csv_text(table), encoding="utf-8")
    hashes = {entry.name: digest(entry) for entry in sorted(folder.iterdir())}
    places = {"compared_at": compared_at(fit)}
    own = {key: value for key, value in fit.manifest.items() if key != OWN_DIGEST}
    manifest = json.loads(json.dumps({"format": FORMAT, **own, **places, "files": hashes}))
    manifest[OWN_DIGEST] = own_digest(manifest)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    # A file name that is no UTF-8 has halves of pairs, which JSON knows as escapes.
    (folder / MANIFEST).write_bytes(f"{text}\n".encode(errors="backslashreplace"))
    for entry in folder.iterdir():
        entry.chmod(0o600)
        with entry.open("rb") as file:
            os.fsync(file.fileno())


def own_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's entries, however they are ordered and spaced; not of itself.

    Parameters
    ----------
    manifest : mapping of str to plain values
    """
    entries = {key: value for key, value in manifest.items() if key != OWN_DIGEST}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _move_into_place(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    # A folder cannot be replaced in one step: the old run steps aside, and back if need be. Should
    # even that fail, it stays where it stepped to.
    prefix = hidden_prefix(target.name, PREVIOUS)
    aside = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    previous = aside / target.name
    try:
        target.rename(previous)
        partial.rename(target)
    finally:
        if os.path.lexists(previous) and partial.exists():
            previous.rename(target)
        _remove(previous, aside)


def _remove(previous: Path, aside: Path) -> None:
    """Remove a run that was replaced, file by file: what came in meanwhile stays where it is."""
    with suppress(OSError, InputError):
        if previous.exists():
            own = _own_files(previous, read_manifest(previous))
            for name in sorted(_entries(previous), key=MANIFEST.__eq__):  # the manifest last
                if not foreign_files(previous, [name], own):
                    (previous / name).unlink()
            previous.rmdir()
        aside.rmdir()


def recover_run(path: AnyPath) -> tuple[str, ...]:
    """Undo what a process left that was killed while it replaced a run.

    A run that had stepped aside comes back where there is none, and is removed where the new one
    is in place.

    Parameters
    ----------
    path : str or path-like
        The run's folder.

    Returns
    -------
    tuple of str
        What was done, in sentences.
    """
    target = as_path(path).absolute()
    if any(map(is_held, left_over(target.parent, PARTIAL, target.name))):
        return ()  # it is being replaced now
    told = []
    for aside in left_over(target.parent, PREVIOUS, target.name):
        previous = aside / target.name
        with suppress(OSError, InputError):
            if not os.path.lexists(target) and previous.is_dir():
                read_manifest(previous)
                previous.rename(target)
                told.append(
                    f"The run {target.name} is back where it was: a command was killed while it "
                    "replaced it."
                )
            elif previous.is_dir():
                read_manifest(target)
            _remove(previous, aside)
            if not told and not os.path.lexists(aside):
                told.append(f"Removed {aside.name}, which a command that was killed left behind.")
    return tuple(told)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises
    ------
    InputError
        If there is no run at `path`, or a newer version of the software wrote it.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"There is no run at {str(path)!r} ({MANIFEST} is missing).",
            "Give the folder that `save()` wrote.",
        ) from error
    except OSError as error:
        raise InputError(
            f"{str(path / MANIFEST)!r} cannot be read: {error.strerror}.",
            "Check the path and the file's permissions.",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path / MANIFEST, error) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(
            f"The run at {str(path)!r} has another format than this version reads ({FORMAT}).",
            "Read it with the version of alliance that wrote it, or fit again.",
        )
    if missing := [key for key in ENTRIES if not isinstance(manifest.get(key), dict)]:
        raise _damaged(path / MANIFEST, f"it lacks {', '.join(missing)}")
    return manifest


def _damaged(file: Path, why: object) -> InputError:
    return InputError(f"{str(file)!r} is damaged: {why}.", "Fit again.")


def _specifications(path: Path, manifest: Mapping[str, Any]) -> dict[str, ModelSpec]:
    try:
        found = {
            name: ModelSpec.from_dict(values) for name, values in manifest["specifications"].items()
        }
        # Written since the alliance's own model holds arm, baseline and covariates
        written = manifest["specifications"].values()
        whole = all("between_interaction" in each["moderator"] for each in written)
    except (KeyError, TypeError, InputError) as error:
        raise _damaged(path / MANIFEST, f"a specification is not one ({error})") from error
    modelled = [
        spec.moderator.latent or spec.moderator.structure == "within_between"
        for spec in found.values()
    ]
    if any(modelled) and not whole:
        raise InputError(
            f"The run at {str(path)!r} has the alliance's own model of an earlier version, which "
            "left out what stands beside the alliance (arm, baseline, covariates).",
            "Fit again.",
        )
    return found


def _read_tree(file: Path, groups: Sequence[str] = GROUPS) -> xr.DataTree:
    try:
        # Every object once by h5py alone: h5netcdf leaves half-open files behind on a damaged one.
        with h5py.File(file) as objects:
            dict(objects.attrs)
            objects.visititems(lambda _, item: dict(item.attrs) and None)
        tree = xr.load_datatree(file, engine="h5netcdf")
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise _damaged(file, error) from error
    if missing := [name for name in groups if name not in tree.children]:
        raise _damaged(file, f"it lacks the group {', '.join(missing)}")
    return tree


def _read_flow(file: Path) -> pd.DataFrame:
    try:
        flow = pd.read_csv(file, dtype={"outcome": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from error
    return flow.drop(columns=SIMULATED, errors="ignore")


def load_fit(
    path: AnyPath,
    *,
    study: Study | None = None,
    data: AnyPath | pd.DataFrame | None = None,
    accept_changed: bool = False,
) -> Fit:
    """Read a run folder.

    Parameters
    ----------
    path : str or path-like
    study : Study, optional
        Study to hold against the one that was fitted.
    data : str, path-like or pandas.DataFrame, optional
        Data file to hold against the one that was fitted, byte for byte; or a data frame, whose
        analysed patients are held against those of the run.
    accept_changed : bool
        Whether a run is read whose files are no longer those that were written.

    Returns
    -------
    Fit
        `Fit.differences` says in sentences which study, data, file or version does not match.

    Raises
    ------
    InputError
        If there is no run, or one of its files is missing, damaged or changed.
    """
    path = as_path(path)
    recover_run(path)
    manifest = read_manifest(path)
    specs = _specifications(path, manifest)
    joint = JOINT in manifest
    for name in (STUDY, FLOW, *(f"{name}.nc" for name in [*specs, *([JOINT] if joint else [])])):
        if not (path / name).is_file():
            raise InputError(f"The run at {str(path)!r} lacks {name}.", "Fit again.")
    kept = read_study(path / STUDY)
    changed = _changed_files(path, manifest)
    read = [name for name in changed if name.endswith(_READ)]
    if read and not accept_changed:
        raise InputError(
            f"{str(path / read[0])!r} is damaged or was changed: it is no longer the file that was "
            "written.",
            "Fit again, put back what was written, or read it none the less with "
            "`accept_changed=True`.",
        )
    trees = {outcome: _read_tree(path / f"{outcome}.nc") for outcome in specs}
    told = [*_told(changed, manifest), *_changed_study(kept, study)]
    if isinstance(data, pd.DataFrame):
        told += _other_patients(kept, trees, data)
    elif data is not None:
        told += _changed_data(manifest, as_path(data))
    return Fit(
        study=kept,
        specs=specs,
        trees=trees,
        flow=_read_flow(path / FLOW),
        manifest=manifest,
        differences=(*_other_versions(manifest), *told),
        changed=tuple(told),
        shared=_read_tree(path / f"{JOINT}.nc", SAMPLED) if joint else None,
        tried=families_tried(path, manifest),
    )


MOST_BESIDE = 200  # folders beside a run that are looked into


def families_tried(path: Path, manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Families that runs in the same folder fitted to the same data, by outcome.

    Parameters
    ----------
    path : Path
        A run.
    manifest : mapping
        Its own.
    """
    own, data = path.resolve(), manifest["data"].get("sha256")
    found: dict[str, dict[str, None]] = {}
    try:
        beside = [each.parent for each in islice(own.parent.glob(f"*/{MANIFEST}"), MOST_BESIDE)]
    except OSError:  # a folder that may not be listed
        return {}
    for each in sorted(beside):
        if each == own or data is None:
            continue
        try:
            other = read_manifest(each)
            specs = _specifications(each, other)
        except InputError:  # of another version, or no run at all
            continue
        if other["data"].get("sha256") == data:
            for name, spec in specs.items():
                found.setdefault(name, {})[spec.family] = None
    return {name: tuple(families) for name, families in found.items()}


def _hashes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that a run wrote, by name; none in runs of before they were kept."""
    files = manifest.get("files")
    return {**files} if isinstance(files, dict) else {}


def _changed_files(path: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files that are not, or no longer, what the run wrote."""
    found = [
        name
        for name, written in _hashes(manifest).items()
        if not (path / name).is_file() or _digest(path / name) != written
    ]
    if OWN_DIGEST in manifest and manifest[OWN_DIGEST] != own_digest(manifest):
        found.append(MANIFEST)
    return found


def _digest(file: Path) -> str:
    try:
        return digest(file)
    except OSError as error:
        raise InputError(
            f"{str(file)!r} cannot be read: {error.strerror}.",
            "Check the path and the file's permissions.",
        ) from error


def _told(changed: Sequence[str], manifest: Mapping[str, Any]) -> list[str]:
    if not _hashes(manifest):
        return ["The run was written without hashes of its files: they cannot be checked."]
    return [f"{name} in the run folder is no longer the file that was written." for name in changed]


def _other_versions(manifest: Mapping[str, Any]) -> list[str]:
    installed = installed_versions()
    return [
        f"The run was made with {name} {written}; {installed.get(name, 'none')} is installed."
        for name, written in manifest["versions"].items()
        if installed.get(name) != written
    ]


def _changed_study(kept: Study, study: Study | None) -> list[str]:
    if study is None or study == kept:
        return []
    then, now = kept.model_dump(), study.model_dump()
    changed = [key for key in then if then[key] != now[key]]
    return [f"The study given differs from the one fitted in: {', '.join(changed)}."]


def _changed_data(manifest: Mapping[str, Any], data: Path) -> list[str]:
    given, fitted = hashlib.sha256(file_bytes(data, "data file")).hexdigest(), manifest["data"]
    if given == fitted["sha256"]:
        return []
    return [
        f"{data.name} is not the data that were fitted ({fitted['file']}): its SHA-256 is "
        f"{given[:12]}..., not {fitted['sha256'][:12]}...."
    ]


def _other_patients(
    study: Study, trees: Mapping[str, xr.DataTree], frame: pd.DataFrame
) -> tuple[str, ...]:
    """A sentence for each outcome whose analysed patients in the data frame are not the run's."""
    trial = trial_from_frame(study, frame)
    return tuple(
        f"The data frame's analysed patients of {outcome} are not those that were fitted."
        for outcome, tree in trees.items()
        if kept_moments(tree) is not None
        or not analysed_patients(tree).drop_attrs().equals(trial.analysed(outcome).drop_attrs())
    )
