"""What `alliance predict` and `alliance therapists` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alliance.cli.options.covariate_lists import read_covariates
from alliance.cli.options.value_lists import read_values
from alliance.cli.running import command, load_run, typed
from alliance.cli.screen import prediction_table, render, therapist_table
from alliance.data_prep.errors import InputError
from alliance.inference.answers.averages import average
from alliance.inference.answers.predictions import predict as predicted
from alliance.inference.answers.therapists import therapists as described
from alliance.inference.patients.asked_patients import (
    AskedPatients,
    patient_grid,
    trial_patients,
    with_alliance,
)
from alliance.inference.patients.patient_files import patients_from_file
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.thresholds import Thresholds

WHOM = {"trial": "patients of the trial", "rows": "points of the grid"}


@command
def predict(
    run: Path,
    *,
    outcomes: Sequence[str],
    arms: Sequence[str],
    alliance: Sequence[str],
    baseline: Sequence[str],
    covariates: Sequence[str],
    patients: Path | None,
    therapist: str | None,
    thresholds: Mapping[str, Any],
    contrasts: bool,
    average_over: str | None,
    extrapolate: bool,
    interval: float,
    seed: int | None,
    figure: Path | None,
    table_format: str,
) -> None:
    """Print predictions, or averages of them."""
    _require_one_source(patients, baseline, covariates, average_over)
    if figure is not None and average_over is not None:
        raise InputError(
            "--figure shows predictions for one patient, not averages.",
            "Leave --average-over out; `alliance effects --plot score --figure FILE` draws the "
            "arms' averages over the trial's patients.",
        )
    values = _values(alliance, "--alliance")
    before = _values(baseline, "--baseline")
    wanted = Thresholds(**thresholds)
    fitted = load_run(run)
    chosen = fitted.chosen(outcomes)
    known = {} if not covariates else _levels(fitted, chosen[0])
    grid = {"baseline": before, "covariates": read_covariates(covariates, known)}
    _require_one_outcome(chosen, {"baseline": baseline or None, **thresholds})
    answers: list[Any] = []
    for outcome in chosen:
        asked = _asked(
            fitted, outcome, values, grid, patients, average_over, extrapolate=extrapolate
        )
        if average_over is not None:
            answers.append(
                average(
                    fitted[outcome],
                    asked,
                    therapist=therapist or _of_average(asked, average_over),
                    arms=arms,
                    thresholds=wanted,
                    interval=interval,
                )
            )
            continue
        answers.append(
            predicted(
                fitted[outcome],
                asked,
                therapist=therapist,
                arms=arms,
                thresholds=wanted,
                contrasts=contrasts,
                interval=interval,
                seed=seed,
                keep_draws=False,
            )
        )
    if figure is not None:
        from alliance.diagnostics.figures.prediction_figure import prediction_figure

        _write(prediction_figure(fitted, answers), figure)
    for note in dict.fromkeys(line for answer in answers for line in answer.counted.ends):
        render.note(note)
    if table_format != "table":
        tables = [answer.contrasts if contrasts else answer.table for answer in answers]
        table = pd.concat(tables, ignore_index=True)
        render.frame(table, table_format, simulated=fitted.study.simulated)
        return
    for answer in answers:
        if average_over is None:
            of_file = patients is not None
            prediction_table.predictions(fitted, answer, contrasts=contrasts, of_file=of_file)
        else:
            whom = WHOM[average_over] if patients is None else f"patients of {patients.name}"
            prediction_table.averages(fitted, answer, contrasts=contrasts, whom=whom)


def _write(drawn: Any, path: Path) -> None:
    render.save(drawn, path)


def _require_one_source(
    patients: Path | None,
    baseline: Sequence[str],
    covariates: Sequence[str],
    average_over: str | None,
) -> None:
    """Refuse options that describe patients who are described elsewhere."""
    given = ["--baseline"] if baseline else []
    given += ["--covariate"] if covariates else []
    if average_over == "trial" and patients is not None:
        given.append("--patients")
    source = "--average-over trial" if average_over == "trial" else "--patients"
    if given and (average_over == "trial" or patients is not None):
        raise InputError(
            f"{given[0]} does not go with {source}: these patients bring their own.",
            "Leave one of the two out; --alliance alone may replace what they bring.",
        )


def _require_one_outcome(outcomes: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse options in points of one outcome where several are asked about."""
    for name, value in options.items():
        if value is not None and len(outcomes) > 1:
            raise InputError(
                f"--{name.replace('_', '-')} is in points of one outcome, and these are asked "
                f"about: {', '.join(outcomes)}.",
                f"Choose one, for instance with --outcome {typed(outcomes[0])}.",
            )


def _values(texts: Sequence[str], option: str) -> list[float] | None:
    return list(read_values(option, texts)) if texts else None


def _levels(fit: Fit, outcome: str) -> dict[str, tuple[str, ...] | None]:
    """Levels of the run's covariates; None where one is numbers."""
    return {each.name: each.levels for each in fit.design(outcome).encoding.covariates}


def _asked(
    fit: Fit,
    outcome: str,
    values: list[float] | None,
    grid: dict[str, Any],
    patients: Path | None,
    average_over: str | None,
    *,
    extrapolate: bool,
) -> AskedPatients:
    if average_over == "trial":
        return trial_patients(fit[outcome], alliance=values, extrapolate=extrapolate)
    if patients is None:
        return patient_grid(fit[outcome], alliance=values, extrapolate=extrapolate, **grid)
    asked = patients_from_file(
        fit[outcome],
        patients,
        alliance_named=values is not None,
        extrapolate=extrapolate,
    )
    if values is None:
        return asked
    return with_alliance(fit[outcome], asked, values, extrapolate=extrapolate)


def _of_average(asked: AskedPatients, average_over: str) -> str:
    """Therapists that averages are taken over where none were named."""
    return "new" if average_over == "trial" or asked.therapists is None else "own"


@command
def therapists(
    run: Path,
    *,
    outcomes: Sequence[str],
    alliance: float | None,
    extrapolate: bool,
    interval: float,
    hide_single: bool,
    figure: Path | None,
    table_format: str,
) -> None:
    """Print the therapists' table."""
    fitted = load_run(run)
    answers = [
        described(
            fitted[outcome],
            alliance=alliance,
            interval=interval,
            extrapolate=extrapolate,
            hide_single=hide_single,
        )
        for outcome in fitted.chosen(outcomes)
    ]
    if any(answer.ranks is None for answer in answers):
        render.note(
            "The model has no therapist effects: only the alliance is described. Fit with "
            "--therapist intercept or intercept+slope to compare therapists."
        )
    if figure is not None:
        from alliance.diagnostics.figures.therapist_figure import therapist_figure

        _write(therapist_figure(fitted, answers), figure)
    if table_format != "table":
        table = pd.concat([answer.table for answer in answers], ignore_index=True)
        render.frame(table, table_format, simulated=fitted.study.simulated)
        return
    for answer in answers:
        therapist_table.therapists(fitted, answer)
