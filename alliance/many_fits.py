"""Many fits: whether posteriors are as wide as they say, how large a trial must be, what holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from alliance.answer import Answer, Told, entitled, listed, telling
from alliance.data_prep.files import AnyPath
from alliance.inference.sampling.profiles import DEFAULT_SEED
from alliance.trial import Data, Names, Study, estimable_rows, opened

if TYPE_CHECKING:
    from alliance.inference.many_fits.task_runner import TaskStore, Workers
    from alliance.inference.sampling.profiles import Engine


def calibrate(
    study: Study | AnyPath,
    data: Data | None = None,
    *,
    outcome: Names | None = None,
    model: Mapping[str, Any] | None = None,
    trials: int = 200,
    patients: int = 182,
    therapists: int = 12,
    nested: bool = False,
    engine: Engine | None = None,
    store: AnyPath | None = None,
    dask: str | None = None,
    workers: int | None = None,
    seed: int = DEFAULT_SEED,
    progress: bool | Told = True,
) -> Answer:
    """Check by simulation whether posteriors are as wide, and where, as they say.

    Parameters
    ----------
    study : Study, str or path-like
    data : str, path-like or pandas.DataFrame, optional
        A trial whose patients are kept; imagined ones by default.
    outcome, model
        As of `Study.choose`.
    trials : int
        Simulated trials of each outcome.
    patients, therapists : int
        So many are imagined.
    nested : bool
        Each imagined therapist treats in one arm only.
    engine : {"nuts", "instant"}, optional
        instant by default with the alliance as rated, else nuts.
    store : str or path-like, optional
        File that keeps every result as it comes: the same call goes on with it.
    dask : str, optional
        Address of a Dask scheduler, in place of processes of this machine.
    workers : int, optional
        Processes of this machine; one for each core by default.
    seed : int
    progress : bool or callable
        As of `alliance.fit`; called with the fits done and to do.

    Returns
    -------
    Answer
        ``verdict`` is PASS or FAIL.
    """
    from alliance.diagnostics.figures.many_fits_figures import rank_figure
    from alliance.diagnostics.sheets.many_fits import calibration
    from alliance.inference.many_fits import calibration_runs as runs

    chosen = opened(study).choose(outcome, model=model)
    rows = None if data is None else estimable_rows(chosen.read(data), "Calibration")
    questions = runs.calibration_questions(
        chosen.description,
        None if rows is None else rows.data,
        patients=patients,
        therapists=therapists,
        seed=seed,
        engine=engine,
        nested=nested,
    )
    facts = runs.calibration_facts(questions)
    with _many_fits(store, facts, dask, workers, progress) as (working, kept, told):
        found = runs.calibrate_study(working, kept, questions, trials, progress=told)
    table = found.table
    return Answer(
        entitled(chosen.description, f"Calibration by {trials} simulated trials of each outcome"),
        table,
        found=found,
        _read=lambda: ([calibration(table, found, name) for name in found.outcomes], []),
        verdict="PASS" if found.passed else "FAIL",
        notes=_failed(found.failures),
        _drawn=partial(rank_figure, chosen.description, found),
    )


def assurance(
    study: Study | AnyPath,
    *,
    patients: int | Sequence[int],
    therapists: int | Sequence[int],
    interaction: float | Sequence[float],
    outcome: str | None = None,
    contrast: str | None = None,
    probability: float = 0.975,
    threshold: float = 0.0,
    model: Mapping[str, Any] | None = None,
    nested: bool = False,
    alliance_slope: float = 0.3,
    baseline_slope: float = 0.5,
    therapist_sd: float = 0.23,
    therapist_slope_sd: float = 0.1,
    clinic_sd: float = 0.1,
    visit: str = "last",
    visit_correlation: float = 0.6,
    leaving: float | Sequence[float] = 0.25,
    trials: int = 200,
    engine: Engine | None = None,
    store: AnyPath | None = None,
    dask: str | None = None,
    workers: int | None = None,
    seed: int = DEFAULT_SEED,
    progress: bool | Told = True,
) -> Answer:
    """Tell how large a trial must be to find an interaction convincing.

    Parameters
    ----------
    study : Study, str or path-like
    patients, therapists : int or sequence of int
        Sizes of the trials.
    interaction : float or sequence of float
        Differences of the two arms' alliance slopes, in residual SDs of the outcome for one SD of
        the alliance. With 0 the chance is that of a false alarm.
    outcome : str, optional
        Needed where there are several.
    contrast : str, optional
        Which arms, such as ``"MCE-GE"``; needed beyond two.
    probability : float
        A trial convinces if the interaction is this probable, either way,
    threshold : float
        to be beyond this, in the unit of `interaction`.
    model
        As of `Study.choose`.
    nested : bool
        Each therapist treats in one arm only.
    alliance_slope, baseline_slope, therapist_sd, therapist_slope_sd, clinic_sd : float
        What is true in every trial, in residual SDs.
    visit : str
        Of an outcome over time: at which visit the interaction is to convince.
    visit_correlation : float
        Of residuals at neighbouring visits.
    leaving : float or sequence of float
        Share of patients who have left by the last visit, or shares by each after the first.
    trials : int
        Simulated trials of each size.
    engine, store, dask, workers, seed, progress
        As of `calibrate`.

    Returns
    -------
    Answer
    """
    from alliance.diagnostics.figures.many_fits_figures import assurance_figure
    from alliance.diagnostics.sheets import many_fits as sheets
    from alliance.inference.many_fits import assurance as planned

    chosen = opened(study).choose(outcome, model=model)
    question = planned.assurance_question(
        chosen.description,
        contrast,
        planned.Assumptions(
            alliance_slope,
            baseline_slope,
            therapist_sd,
            therapist_slope_sd,
            clinic_sd,
            visit_correlation,
            tuple(listed(leaving)),
        ),
        planned.Criterion(probability, threshold),
        nested=nested,
        seed=seed,
        engine=engine,
        visit=visit,
    )
    asked = (patients, therapists, interaction)
    grid: list[Any] = list(product(*(sorted(set(listed(given))) for given in asked)))
    planned.require_grid(question, grid)
    facts = planned.assurance_facts(question)
    with _many_fits(store, facts, dask, workers, progress) as (working, kept, told):
        table, failures = planned.assurance(working, kept, question, grid, trials, progress=told)
    named = f"Interaction {question.contrast} on {question.spec.outcome}"
    return Answer(
        f"{named}: chance that a trial convinces",
        table,
        found=question,
        _read=lambda: ([sheets.assurance(table, question)], sheets.assurance_legend(question)),
        notes=_failed(failures),
        _drawn=partial(assurance_figure, question, table),
    )


def multiverse(
    study: Study | AnyPath,
    data: Data,
    *,
    outcome: Names | None = None,
    vary: Names | None = None,
    full: bool = False,
    quantity: Names | None = None,
    interval: float = 0.95,
    at: float | None = None,
    extrapolate: bool = False,
    profile: str = "ci",
    engine: Engine | None = None,
    store: AnyPath | None = None,
    dask: str | None = None,
    workers: int | None = None,
    seed: int = DEFAULT_SEED,
    progress: bool | Told = True,
) -> Answer:
    """Fit every defensible analysis of a trial, and show what the conclusions hang on.

    Parameters
    ----------
    study : Study, str or path-like
    data : str, path-like or pandas.DataFrame
    outcome : str or sequence of str, optional
    vary : str or sequence of str, optional
        Only these choices: likelihood, therapist, covariates, missing_alliance, prior_scale,
        patients, clinic. All by default.
    full : bool
        Cross every likelihood with all other choices.
    quantity : str or sequence of str, optional
        Only these in the figure, such as ``"interaction:MCE-GE"``.
    interval : float
    at, extrapolate
        Where arms are compared, as of `Run.summary`.
    profile : str
        How much is sampled for each analysis.
    engine : {"nuts", "instant"}, optional
        instant by default where it fits.
    store, dask, workers, seed, progress
        As of `calibrate`.

    Returns
    -------
    Answer
        One row for each quantity of each analysis; ``found`` has how far they agree.
    """
    from alliance.diagnostics import multiverse as judged
    from alliance.diagnostics.figures.many_fits_figures import multiverse_figure
    from alliance.diagnostics.sheets import many_fits as sheets
    from alliance.inference.draws.summaries import tails
    from alliance.inference.many_fits.multiverse import build_multiverse
    from alliance.inference.sampling.profiles import find_profile

    tails(interval)  # refuses what is no probability
    chosen, sampler = opened(study).choose(outcome), find_profile(profile)
    built = build_multiverse(chosen.description, data, listed(vary), full=full)
    wanted = judged.wanted_quantities(built, listed(quantity))
    settings: dict[str, Any] = {"engine": engine, "interval": interval, "at": at}
    facts = judged.multiverse_facts(built, sampler, seed, **settings)
    with _many_fits(store, facts, dask, workers, progress) as (working, kept, told):
        table = judged.fit_multiverse(
            working,
            kept,
            built,
            sampler,
            seed,
            extrapolate=extrapolate,
            progress=told,
            **settings,
        )
    summary = judged.multiverse_summary(table)
    return Answer(
        entitled(chosen.description, f"{len(built.analyses)} analyses"),
        table,
        found=summary,
        _read=lambda: (
            sheets.multiverse(summary, built, interval),
            sheets.multiverse_legend(interval),
        ),
        notes=tuple(f"The data cannot carry {name}: {why}" for name, why in built.left_out.items()),
        _drawn=lambda: multiverse_figure(built, judged.curves_of(table, wanted), interval, at),
    )


@contextmanager
def _many_fits(
    store: AnyPath | None,
    facts: Mapping[str, Any],
    dask: str | None,
    workers: int | None,
    progress: bool | Told,
) -> Iterator[tuple[Workers, TaskStore, Told | None]]:
    """Workers, and the store of their results: one that stays, or one for this call alone."""
    from alliance.inference.many_fits.task_runner import open_store, open_workers

    with (
        TemporaryDirectory() as folder,
        open_store(Path(folder) / "results.sqlite" if store is None else store, facts) as kept,
        telling(progress, "fits:") as told,
        open_workers(dask, workers) as working,
    ):
        yield working, kept, told


def _failed(failures: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"The fit of trial {task} failed: {why}" for task, why in failures.items())
