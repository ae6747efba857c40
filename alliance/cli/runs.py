"""What commands read and leave: studies, trials and runs, and the exit codes of their verdicts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from alliance.cli import screen
from alliance.cli.files import asked
from alliance.cli.options import Settings
from alliance.data_prep.errors import InputError

if TYPE_CHECKING:
    from alliance.data_prep.registry.registry import Registry
    from alliance.data_prep.study.description import Study
    from alliance.data_prep.trial.trial import Trial
    from alliance.diagnostics.gate.gate import GateReport
    from alliance.inference.many_fits.task_runner import TaskStore, Workers
    from alliance.inference.published.findings import Finding
    from alliance.inference.runs.fit import Fit

FAILED = 3  # exit code where the gate failed, or a run was not reproduced
INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended
PUBLISHED = "published.toml"


def typed(value: Path | str) -> str:
    """A path or a name as it is typed in a shell, within a command that a message advises.

    Parameters
    ----------
    value : Path or str

    Examples
    --------
    >>> typed(Path("runs/pain")), typed(Path("my runs/pain & sleep")), typed(Path("-x"))
    ('runs/pain', "'my runs/pain & sleep'", './-x')
    """
    text = str(value)
    if isinstance(value, Path) and text.startswith("-"):  # else it would be taken for an option
        text = f"./{text}"
    return shlex.quote(text)


def asked_study(study: str, outcomes: Sequence[str] | None, settings: Settings) -> Study:
    """Read the study with the outcomes and the settings of the model that were asked for.

    Parameters
    ----------
    study : str
    outcomes : sequence of str or None
        Empty or None keeps all.
    settings : mapping of str to plain values
    """
    from alliance.data_prep.study.description import find_study, narrowed, read_study

    return narrowed(read_study(find_study(study)), outcomes=outcomes or [], **settings)


def load_run(
    run: Path, study: str | None = None, data: Path | None = None, *, rows: bool = True
) -> Fit:
    """Read a run folder, and tell what does not match as notes.

    Parameters
    ----------
    run : Path
    study, data : optional
        A study and a data file to hold against those that were fitted.
    rows : bool
        Whether patients' rows are needed, which runs of many files do not hold.
    """
    from alliance.data_prep.study.description import find_study, read_study
    from alliance.inference.posterior import refuse_rows
    from alliance.inference.runs.run_folder import load_fit

    described = None if study is None else read_study(find_study(study))
    fitted = load_fit(run, study=described, data=data, accept_changed=asked("accept_changed"))
    for difference in fitted.differences:
        screen.note(difference)
    if rows and fitted.rowless:
        raise refuse_rows()
    return fitted


def several_runs(paths: Sequence[Path], *, rows: bool = True) -> dict[str, Fit]:
    """Read runs, under the names of their folders, or under their paths where names are the same.

    Parameters
    ----------
    paths : sequence of Path
    rows : bool
        Whether patients' rows are needed.

    Raises
    ------
    InputError
        If a run is named twice.
    """
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError("A run is named twice.", "Name different runs.")
    return {name: load_run(path, rows=rows) for name, path in zip(names, paths, strict=True)}


def published_beside(study_path: Path) -> Path | None:
    """The published findings that stand beside a study file, if there are any."""
    path = study_path.parent / PUBLISHED
    return path if path.is_file() else None


def findings_of(fit: Fit, run: Path, published: Path | None) -> Sequence[Finding]:
    """Published findings from a file that is named, or from the one kept with the run.

    Parameters
    ----------
    fit : Fit
    run : Path
    published : Path or None
    """
    from alliance.inference.published.published import read_published

    path = published_beside(run / "study.toml") if published is None else published
    if path is None:
        screen.note(f"No {PUBLISHED} is kept with this run: refits and posterior only.")
        return ()
    return read_published(path, fit.study, left_out=fit.manifest.get("left_out", ()))


def leave_by_gate(reports: tuple[GateReport, ...]) -> None:
    """End the command with exit code 3 if the gate failed.

    Parameters
    ----------
    reports : tuple of GateReport
    """
    from alliance.diagnostics.gate.fit_gate import worst_verdict
    from alliance.diagnostics.verdicts import Verdict

    if worst_verdict(reports) is Verdict.FAIL:
        screen.error(
            "The diagnostics gate failed: do not use these draws. See `alliance diagnose`."
        )
        raise typer.Exit(FAILED)


def load_data(
    study: Study,
    data: Path | Sequence[Path],
    *,
    sample: int | None = None,
    seed: int = 0,
    dask: str | None = None,
) -> Trial | Registry:
    """Read a trial, and tell its notes.

    Parameters
    ----------
    study : Study
    data : Path or sequence of Path
        A file; a pattern or a folder stands for many, of which cross-products are kept; so do
        several, and shares.
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
    from alliance.trial import read_data

    loaded = read_data(study, data, sample_therapists=sample, seed=seed, dask=dask)
    for note in loaded.notes:
        screen.note(note)
    return loaded


@contextmanager
def many_fits(
    store: Path, facts: Mapping[str, Any], address: str | None, workers: int | None
) -> Iterator[tuple[Workers, TaskStore, Callable[[int, int], None] | None]]:
    """A store, workers, and a progress bar with the time left where there is a terminal.

    Parameters
    ----------
    store : Path
    facts : mapping of str to plain values
        All that decides the results.
    address : str or None
    workers : int or None

    Yields
    ------
    LocalProcesses or distributed.Client
    TaskStore
    callable or None
        To be called with the fits done and the fits to do.
    """
    from alliance.inference.many_fits.task_runner import open_store, open_workers

    try:
        with (
            open_store(store, facts) as kept,
            screen.fits_progress() as progress,
            open_workers(address, workers) as working,
        ):
            yield working, kept, progress
    except KeyboardInterrupt:
        screen.error(f"Interrupted. What is done is kept in {store}: the same command goes on.")
        raise typer.Exit(INTERRUPTED) from None
