"""A trial's data, however it comes: one file, many, or some therapists of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alliance.cli.screen import render
from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import Study
from alliance.data_prep.trial.trial import Trial, load_trial

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry


def load_data(
    study: Study, data: Path, *, sample: int | None, seed: int, dask: str | None
) -> Trial | Registry:
    """Read a trial, and tell its notes.

    Parameters
    ----------
    study : Study
    data : Path
        A file; a pattern or a folder stands for many, of which cross-products are kept.
    sample : int or None
        Therapists to draw from many files.
    seed : int
        Of the sample.
    dask : str or None
        Address of a scheduler that reads many files.

    Returns
    -------
    Trial or Registry
    """
    loaded = _load(study, data, sample, seed, dask)
    for note in loaded.notes:
        render.note(note)
    return loaded


def _load(
    study: Study, data: Path, sample: int | None, seed: int, dask: str | None
) -> Trial | Registry:
    if data.is_file() or not _many(data):
        if sample is not None or dask is not None:
            option = "--sample-therapists" if sample is not None else "--dask"
            raise InputError(
                f"{option} is for tables in many files, and {str(data)!r} is one.",
                "Leave it out, or name a folder or a pattern such as 'registry/*.parquet'.",
            )
        return load_trial(study, data)
    from alliance.data_prep.registry.registry import load_registry

    with _computing(dask) as compute:
        if sample is not None:
            from alliance.data_prep.registry.registry import sample_therapists

            return sample_therapists(study, data, sample, seed, compute)
        return load_registry(study, data, compute)


def _many(data: Path) -> bool:
    from alliance.data_prep.registry.registry import (
        is_registry,  # loads Dask, which one file does without
    )

    return is_registry(data)


@contextmanager
def _computing(address: str | None) -> Iterator[Callable[[Any], Any] | None]:
    if address is None:
        yield None
        return
    from alliance.inference.many_fits.cluster import compute, open_cluster

    with open_cluster(address) as client:
        yield partial(compute, client)
