"""Figures of contrasts, therapists and predictions: what they show is what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from effect_fits import fit_of
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from prediction_examples import example_fit

from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.answer_figures import prediction_figure
from alliance.diagnostics.figures.results_figures import (
    contrast_figure,
    save_figure,
    standardised_contrasts,
)
from alliance.diagnostics.figures.therapist_figure import MOST_NAMED, therapist_figure
from alliance.inference.answers.predictions import Predictions, predict
from alliance.inference.answers.therapists import therapists
from alliance.inference.estimands.compared_at import mean_alliance
from alliance.inference.patients.asked_patients import patient_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from alliance.inference.runs.fit import Fit


def words(figure: Figure) -> str:
    """All text of a figure, its legends included."""
    found = [str(text.get_text()) for text in figure.findobj(Text)]
    return " ".join(" ".join(found).split())


def points(panel: Axes) -> pd.DataFrame:
    """What a panel's error bars show: height, middle and ends, from top to bottom."""
    (bars,) = (part for part in panel.containers if isinstance(part, ErrorbarContainer))
    line, _, (ends,) = bars.lines
    middle, height = line.get_data()
    spans = np.array([segment[:, 0] for segment in ends.get_segments()])
    shown = pd.DataFrame({"height": height, "mean": middle, "lower": spans.min(axis=1)})
    return shown.assign(upper=spans.max(axis=1)).sort_values("height", ignore_index=True)


def labels(panel: Axes) -> list[str]:
    return [str(tick.get_text()) for tick in panel.get_yticklabels()]


def agree(shown: pd.DataFrame, table: pd.DataFrame) -> None:
    for name in ("mean", "lower", "upper"):
        np.testing.assert_allclose(shown[name], table[name], rtol=1e-9, err_msg=name)


# Arm contrasts ------------------------------------------------------------------------------------


def contrast_panels(figure: Figure) -> list[Axes]:
    return [panel for panel in figure.axes if panel.containers]


def test_contrasts_are_shown_in_sds_of_each_outcome_with_their_numbers(made_fit: Fit) -> None:
    table = made_fit.summary()
    figure = contrast_figure(made_fit, table)
    panels = contrast_panels(figure)
    levels = ("MCE-GE", "SMT-GE", "SMT-MCE")
    assert len(panels) == len(levels)
    assert len({panel.get_xlim() for panel in panels}) == 1
    for panel, level in zip(panels, levels, strict=True):
        rows = table[(table["quantity"] == "arm_contrast") & (table["level"] == level)]
        spread = [made_fit.patients(name)["outcome"].std(ddof=1).item() for name in rows["outcome"]]
        expected = rows[["mean", "lower", "upper"]].div(spread, axis=0)  # higher is better in both
        agree(points(panel), expected)
        counts = [len(made_fit.design(name).y) for name in rows["outcome"]]
        names = [made_fit.study.outcomes[name].label for name in rows["outcome"]]
        wanted = [f"{name} (n = {count})" for name, count in zip(names, counts, strict=True)]
        assert labels(panel) == wanted
        top = panel.get_ylim()
        assert top[0] > top[1]  # the first outcome stands on top
    text = words(figure)
    assert "SIMULATED DATA" in text
    assert "Motor control exercise minus General exercise" in text
    assert "first arm better" in text
    assert "posterior mean and 95% interval" in text
    first = standardised_contrasts(made_fit, table).iloc[0]
    assert f"{first['mean']:z.2f} ({first['lower']:z.2f} to {first['upper']:z.2f})" in text


def test_a_lower_score_that_is_better_is_drawn_to_the_right() -> None:
    """The same draws with the direction turned: signs, ends and probability are turned too."""
    shown = {}
    for better in ("higher", "lower"):
        fit = fit_of(better=better)
        (table, panel) = (fit.summary(), contrast_panels(contrast_figure(fit, fit.summary()))[0])
        shown[better] = points(panel).iloc[0]
        chance = standardised_contrasts(fit, table)["prob_better"].iloc[0]
        shown[better]["chance"] = chance
    higher, lower = shown["higher"], shown["lower"]
    turned = [-higher["mean"], -higher["upper"], -higher["lower"], 1 - higher["chance"]]
    assert lower[["mean", "lower", "upper", "chance"]].tolist() == pytest.approx(turned)


def test_long_arms_stand_with_their_labels(made_fit: Fit) -> None:
    arms = {code: f"{label} of the longest kind that there is" for code, label in ARMS.items()}
    fit = replace(made_fit, study=made_fit.study.model_copy(update={"arms": arms}))
    text = words(contrast_figure(fit, fit.summary()))
    assert f"{arms['MCE']} minus {arms['GE']}" in text


ARMS = {
    "GE": "General exercise",
    "MCE": "Motor control exercise",
    "SMT": "Spinal manipulative therapy",
}


def test_a_table_without_contrasts_is_refused(made_fit: Fit) -> None:
    table = made_fit.summary()
    with pytest.raises(InputError, match="no arm contrasts"):
        contrast_figure(made_fit, table[table["quantity"] != "arm_contrast"])


def test_averages_are_named_where_the_link_is_curved() -> None:
    curved = fit_of(family="beta_binomial")
    assert "averaged over the analysed patients" in words(contrast_figure(curved, curved.summary()))
    straight = fit_of()
    told = words(contrast_figure(straight, straight.summary()))
    assert f"at alliance {mean_alliance(straight['function']):.4g}, the mean of the" in told
    named = words(contrast_figure(straight, straight.summary(at=90), at=90))
    assert "at alliance 90, as named" in named


# Therapists ---------------------------------------------------------------------------------------


def test_therapists_are_shown_in_the_tables_order(made_fit: Fit) -> None:
    answers = [therapists(made_fit[outcome]) for outcome in made_fit.outcomes]
    figure = therapist_figure(made_fit, answers)
    assert len(figure.axes) == 2 * len(answers)
    for k, answer in enumerate(answers):
        effect, slope = figure.axes[2 * k : 2 * k + 2]
        rows = {
            name: answer.table[answer.table["quantity"] == name].set_index("level")
            for name in ("therapist_effect", "therapist_slope")
        }
        order = rows["therapist_effect"].index
        agree(points(effect), rows["therapist_effect"])
        agree(points(slope), rows["therapist_slope"].loc[order])
        counts = rows["therapist_effect"]["patients"]
        assert labels(effect) == [f"{name} (n = {counts[name]:.0f})" for name in order]
        assert sum(counts) == len(made_fit.design(answer.outcome).y)
    text = words(figure)
    assert "SIMULATED DATA" in text
    assert "posterior mean and 95% interval" in text
    assert "points of 3 to 30 (better above 0)" in text
    assert "best on top" in text
    assert "extrapolated" not in text


def test_without_slopes_that_vary_there_is_one_panel() -> None:
    fit = fit_of(therapist="intercept")
    figure = therapist_figure(fit, [therapists(fit["function"])])
    assert len(figure.axes) == 1
    assert "Slope" not in words(figure)


def test_an_extrapolated_effect_is_marked(made_fit: Fit) -> None:
    answer = therapists(made_fit["function"], alliance=20.0, extrapolate=True)
    assert "effect at alliance 20 (extrapolated)" in words(therapist_figure(made_fit, [answer]))


def test_no_therapist_effects_are_no_figure() -> None:
    fit = fit_of(therapist="none")
    with pytest.raises(InputError, match="no therapist effects") as caught:
        therapist_figure(fit, [therapists(fit["function"])])
    assert "intercept+slope" in caught.value.remedy


def test_many_therapists_are_drawn_without_names(made_fit: Fit) -> None:
    answer = therapists(made_fit["function"])
    times = MOST_NAMED // 5 + 1  # the trial has 5 therapists
    copies = [answer.table.assign(level=answer.table["level"] + f"-{k}") for k in range(times)]
    many = replace(answer, table=pd.concat(copies, ignore_index=True))
    figure = therapist_figure(made_fit, [many])
    assert labels(figure.axes[0]) == []
    assert f"{5 * times} therapists, best on top" in words(figure)
    assert figure.get_figheight() < 17  # inches: of a page that can still be looked at


# Predictions --------------------------------------------------------------------------------------


def asked(fit: Fit, outcome: str = "function", **grid: Any) -> Predictions:
    extrapolate = grid.pop("extrapolate", False)
    patients = patient_grid(fit[outcome], extrapolate=extrapolate, **grid)
    return predict(fit[outcome], patients, seed=1)


def test_curves_of_predictions_are_those_of_the_table() -> None:
    fit = example_fit()
    answer = asked(fit, alliance=[70.0, 80.0, 95.0])
    figure = prediction_figure(fit, [answer])
    assert len(figure.axes) == 3
    for panel, (arm, label) in zip(figure.axes, fit.study.arms.items(), strict=True):
        rows = answer.table[answer.table["arm"] == arm]
        shades = [part for part in panel.collections if isinstance(part, PolyCollection)]
        for shade, name in zip(shades, ("outcome", "expected"), strict=True):
            heights = shade.get_paths()[0].vertices[:, 1]
            assert heights.min() == pytest.approx(rows[f"{name}_lower"].min())
            assert heights.max() == pytest.approx(rows[f"{name}_upper"].max())
        (line,) = (line for line in panel.lines if line.get_label() == "expected score")
        np.testing.assert_allclose(line.get_data(), rows[["moderator", "expected"]].to_numpy().T)
        (ticks,) = (line for line in panel.lines if line.get_marker() == "|")
        patients = fit.patients("function")
        own = patients["arm_index"].values == list(fit.study.arms).index(arm)
        np.testing.assert_array_equal(ticks.get_xdata(), patients["moderator"].values[own])
        assert panel.get_title() == f"{label} (n = {own.sum()})"
    text = words(figure)
    assert "SIMULATED DATA" in text
    assert "95% interval, a single patient's outcome" in text
    assert "95% interval, expected score" in text
    assert "score, points of 3 to 30 (higher is better)" in text
    assert "Working alliance (WATOCI total), points of 16 to 112" in text
    assert "with a new therapist" in text
    assert "The same in all: baseline" in text
    assert "extrapolated" not in text


def test_one_value_is_shown_arm_below_arm() -> None:
    fit = example_fit()
    answer = asked(fit, alliance=[80.0])
    (panel,) = prediction_figure(fit, [answer]).axes
    spans = [part for part in panel.collections if isinstance(part, LineCollection)]
    for drawn, name in zip(spans, ("outcome", "expected"), strict=True):
        ends = np.array([segment[:, 0] for segment in drawn.get_segments()])
        wanted = answer.table[[f"{name}_lower", f"{name}_upper"]]
        np.testing.assert_allclose(ends, wanted.to_numpy())
    (marks,) = (line for line in panel.lines if line.get_label() == "expected score")
    np.testing.assert_allclose(marks.get_xdata(), answer.table["expected"])
    assert [label.split(" (n = ")[0] for label in labels(panel)] == list(ARMS.values())
    assert "Working alliance (WATOCI total): 80." in words(panel.figure.get_figure(root=True))


def test_extrapolated_predictions_are_marked() -> None:
    fit = example_fit()
    along = prediction_figure(fit, [asked(fit, alliance=[20.0, 90.0], extrapolate=True)])
    assert "extrapolated: no ratings" in words(along)
    observed = fit.patients("function")["moderator"].values.min()
    (patch,) = (part for part in along.axes[0].patches if part.get_hatch())
    assert (patch.get_x(), patch.get_x() + patch.get_width()) == pytest.approx((20.0, observed))
    single = prediction_figure(fit, [asked(fit, alliance=[20.0], extrapolate=True)])
    assert "20 (extrapolated: no ratings)" in words(single)


def test_outcomes_stand_below_one_another_and_a_known_therapist_is_named() -> None:
    fit = example_fit(covariates=("age",))
    name = fit.design("gpe").therapists[0]
    answers = [predict(fit[outcome], therapist=name, seed=1) for outcome in fit.outcomes]
    text = words(prediction_figure(fit, answers))
    assert f"with therapist {name}" in text
    assert "Global perceived effect: age" in text  # it has no baseline
    assert "Patient-Specific Functional Scale: baseline" in text


def test_patients_who_differ_in_more_than_the_alliance_are_refused() -> None:
    fit = example_fit(covariates=("age",))
    for grid, named in (
        ({"baseline": [8.0, 12.0]}, "differ in baseline"),
        ({"covariates": {"age": [30.0, 60.0]}}, "differ in age"),
        ({"alliance": [80.0, 80.0]}, "differ in patient"),
    ):
        with pytest.raises(InputError, match=named):
            prediction_figure(fit, [asked(fit, **grid)])


# Files --------------------------------------------------------------------------------------------

DRAWN: dict[str, Callable[[Fit], Figure]] = {
    "contrasts": lambda fit: contrast_figure(fit, fit.summary()),
    "therapists": lambda fit: therapist_figure(fit, [therapists(fit["function"])]),
    "predictions": lambda fit: prediction_figure(fit, [predict(fit["function"], seed=1)]),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_real_data_bear_the_studys_title(kind: str, made_fit: Fit) -> None:
    study = made_fit.study.model_copy(update={"simulated": False, "title": "A trial of backs"})
    text = words(DRAWN[kind](replace(made_fit, study=study)))
    assert "SIMULATED" not in text
    assert "A trial of backs" in text


@pytest.mark.parametrize("kind", DRAWN)
def test_figures_are_written_in_three_formats(kind: str, made_fit: Fit, tmp_path: Path) -> None:
    figure = DRAWN[kind](made_fit)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for ending, start in starts.items():
        save_figure(figure, tmp_path / f"figure.{ending}")
        assert (tmp_path / f"figure.{ending}").read_bytes().startswith(start)
    with pytest.raises(InputError, match="does not end in a figure's format"):
        save_figure(figure, tmp_path / "figure.bmp")
