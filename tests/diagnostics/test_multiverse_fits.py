"""The fits of a multiverse: judged, summed up, drawn, with failures shown as failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.simulation import simulate_trial, write_simulated
from alliance.data_prep.study.description import narrowed, read_study
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.diagnostics.figures.many_fits_figures import multiverse_figure
from alliance.diagnostics.multiverse import (
    FAILED_FIT,
    compared_places,
    curves_of,
    fit_multiverse,
    hangs_on,
    judged_analysis,
    multiverse_facts,
    multiverse_summary,
    wanted_quantities,
)
from alliance.inference.many_fits.multiverse import CHOICES, Multiverse, build_multiverse
from alliance.inference.many_fits.task_runner import TaskOutcome, open_store
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.sampling.profiles import find_profile

PROFILE = find_profile("ci")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Multiverse:
    table = tmp_path_factory.mktemp("multiverse") / "trial.csv"
    write_simulated(simulate_trial(seed=4, patients=90, therapists=8), table)
    study = narrowed(read_study(table.parent / "study.toml"), outcomes=["pain", "gpe"])
    return build_multiverse(study, table, ["therapist", "prior_scale"])


@pytest.fixture(scope="module")
def fitted(
    built: Multiverse, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of all fits, and that of a store in which one fit failed and one did not pass."""
    path = tmp_path_factory.mktemp("store") / "s"
    facts = multiverse_facts(built, PROFILE, 1)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        with open_store(path, facts) as store:
            whole = fit_multiverse(client, store, built, PROFILE, 1)
            done = store.outcomes()
        names = list(done)
        with open_store(path.with_name("spoiled"), facts) as store:
            for name, outcome in done.items():
                result = dict(outcome.result or {})
                if name == names[1]:
                    result |= {"verdict": "FAIL", "failed": ["r_hat"]}
                store.put(name, TaskOutcome(result))
            spoiled = fit_multiverse(client, store, built, PROFILE, 1)
    return whole, spoiled


def test_every_analysis_has_every_quantity_and_a_verdict(
    built: Multiverse, fitted: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    table, _ = fitted
    assert len(table.drop_duplicates(["outcome", *CHOICES])) == len(built.analyses) == 18
    assert set(table["verdict"]) <= {"PASS", "REVIEW"}
    assert set(table["engine"]) == {"instant"}
    assert (table["lower"] < table["upper"]).all()
    no_therapists = table[table["therapist"] == "none"]
    assert not no_therapists["quantity"].str.startswith("therapist").any()
    # A wider prior leaves a wider posterior of what it is of
    chosen = table[(table["quantity"] == "interaction") & (table["therapist"] == "intercept")]
    widths = chosen.groupby("prior_scale")["sd"].mean()
    assert widths.is_monotonic_increasing


def test_failed_analyses_are_shown_and_not_counted(
    fitted: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    whole, spoiled = fitted
    assert (spoiled["verdict"] == "FAIL").any()
    assert set(spoiled.loc[spoiled["verdict"] == "FAIL", "reason"]) == {"r_hat"}
    counted = multiverse_summary(spoiled)["analyses"]
    assert counted.max() == multiverse_summary(whole)["analyses"].max()
    assert counted.sum() < multiverse_summary(whole)["analyses"].sum()


def test_a_fit_that_ends_with_an_error_has_a_row_with_the_reason(
    built: Multiverse, tmp_path: Path
) -> None:
    one = replace(built, analyses=built.analyses[:1])
    broken = replace(one.analyses[0].design, y=one.analyses[0].design.y[:-1])
    one = replace(one, analyses=(replace(one.analyses[0], design=broken),))
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        open_store(tmp_path / "s", {"what": "broken"}) as store,
    ):
        table = fit_multiverse(client, store, one, PROFILE, 1)
    assert table["verdict"].tolist() == [FAILED_FIT]
    assert table["reason"].iloc[0].startswith("ValueError")
    assert np.isnan(table["mean"].iloc[0])


def rows(means: list[float], **choices: list[str]) -> pd.DataFrame:
    fixed = dict.fromkeys(CHOICES, "same")
    return pd.DataFrame({**fixed, "mean": means}).assign(**choices)


def test_the_choice_that_moves_most_is_named() -> None:
    """Means 1, 2, 5, 6: therapists explain 16 of 17 parts of the variance, covariates 1."""
    covariates, therapist = ["a", "b", "a", "b"], ["none", "none", "slope", "slope"]
    found = hangs_on(rows([1, 2, 5, 6], covariates=covariates, therapist=therapist))
    assert found == "therapist (94%)"
    assert hangs_on(rows([1, 1, 1, 1], covariates=covariates, therapist=therapist)) == ""
    alike = rows([1, 2, 2, 1], covariates=covariates, therapist=therapist)
    assert hangs_on(alike) == ""


def test_curves_are_sorted_and_drawn(
    built: Multiverse, fitted: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    _, spoiled = fitted
    curves = curves_of(spoiled, wanted_quantities(built, []))
    names = {(c["outcome"].iloc[0], c["quantity"].iloc[0], c["level"].iloc[0]) for c in curves}
    assert len(names) == len(curves) == 2 * (1 + 3 + 3)
    assert all(curve["mean"].is_monotonic_increasing for curve in curves)
    only = curves_of(spoiled, wanted_quantities(built, ["interaction:MCE-GE"]))
    figure = multiverse_figure(built, only, 0.95)
    panels = [axes for part in figure.subfigs for axes in part.axes]
    assert len(panels) == 4
    marks = [line for line in panels[0].lines if line.get_label().startswith("draws failed")]
    failed = [curve for curve in only if (curve["verdict"] == "FAIL").any()]
    assert sum(len(line.get_xdata()) for line in marks) == len(failed) == 1
    words = [tick.get_text() for tick in panels[2].get_yticklabels()]
    therapists, scales = ["intercept", "intercept+slope", "none"], ["0.5", "1.0", "2.0"]
    assert words == ["therapist", *therapists, "prior scale", *scales]


def test_the_analysis_that_the_study_file_asks_for_is_marked(
    built: Multiverse, fitted: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """Where its column stands among the others, and with the mean of a fit of the study itself."""
    whole, _ = fitted
    curves = curves_of(whole, wanted_quantities(built, ["interaction:MCE-GE"]))
    figure = multiverse_figure(built, curves, 0.95)
    made = simulate_trial(seed=4, patients=90, therapists=8)
    study = narrowed(made.study, outcomes=["pain", "gpe"])
    own = fit_trial(trial_from_frame(study, made.frame), PROFILE, 2, engine="instant").summary()
    assert study.model.therapist == "intercept+slope"
    (strip,) = [part for part in figure.subfigs if part.axes]
    for panel, curve in zip(strip.axes[:2], curves, strict=True):
        (mark,) = [each for each in panel.lines if each.get_label() == "as the study file asks"]
        row = curve.iloc[int(mark.get_xdata()[0])]
        assert (row["therapist"], float(row["prior_scale"])) == ("intercept+slope", 1.0)
        assert mark.get_ydata()[0] == row["mean"]
        same = own[
            (own["outcome"] == row["outcome"])
            & (own["quantity"] == "interaction")
            & (own["level"] == "MCE-GE")
        ].iloc[0]
        error = same["sd"] * np.sqrt(2 / same["ess_bulk"])  # of a difference of two such means
        assert abs(row["mean"] - same["mean"]) < 4 * error


def test_quantities_that_are_not_there_are_refused(built: Multiverse) -> None:
    with pytest.raises(InputError, match="no quantity 'interactions'"):
        wanted_quantities(built, ["interactions"])
    with pytest.raises(InputError, match="interaction has no level 'MCE-SMT'"):
        wanted_quantities(built, ["interaction:MCE-SMT"])


def test_each_analysis_says_where_it_compares_the_arms(
    built: Multiverse, fitted: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """At the mean of its own patients, unless one alliance is named for all."""
    table, _ = fitted
    for outcome, own in table.groupby("outcome"):
        (place,) = {
            each.design.scaling.moderator[0]
            for each in built.analyses
            if each.universe.outcome == outcome
        }
        contrasts = own[own["quantity"] == "arm_contrast"]
        np.testing.assert_allclose(contrasts["at"], place)
        assert own.loc[own["quantity"] == "interaction", "at"].isna().all()
    summed = multiverse_summary(table)
    lowest = summed.loc[summed["quantity"] == "arm_contrast", "at_lowest"]
    assert f"(alliance {lowest.min():.4g}" in compared_places(lowest, built.study, None)
    assert "each with alliance 90" in compared_places(lowest, built.study, 90)
    assert multiverse_facts(built, PROFILE, 1) != multiverse_facts(built, PROFILE, 1, at=90)


def test_one_alliance_may_be_named_for_all_analyses(built: Multiverse) -> None:
    """The contrast at 90 is that at the mean, moved by the interaction times the distance."""
    analysis = next(each for each in built.analyses if each.universe.therapist == "none")
    name, shared = analysis.universe.name, {analysis.universe.name: analysis}
    found = [
        pd.DataFrame(judged_analysis((shared, PROFILE, 1, None, 0.95, at), name)["rows"])
        for at in (None, 90.0)
    ]
    mean = [table.set_index(["quantity", "level"])["mean"] for table in found]
    distance = 90 - analysis.design.scaling.moderator[0]
    for level in ("MCE-GE", "SMT-GE"):
        moved = mean[0]["arm_contrast", level] + distance * mean[0]["interaction", level]
        assert mean[1]["arm_contrast", level] == pytest.approx(moved)


@pytest.mark.parametrize(("at", "problem"), [(17, "outside what was observed"), (500, "its scale")])
def test_an_alliance_that_nobody_had_is_refused(built: Multiverse, at: float, problem: str) -> None:
    """Before anything is fitted: neither cluster nor store is touched."""
    nothing: Any = None
    with pytest.raises(InputError, match=problem):
        fit_multiverse(nothing, nothing, built, PROFILE, 1, at=at)
