"""Figures of effects: what they show, and that every one says what it must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from effect_fits import fit_of
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from alliance.diagnostics.figures.answer_figures import (
    FIGURES,
    best_figure,
    effect_figure,
    score_figure,
)
from alliance.inference.answers.effects import Effects, effects_along
from alliance.inference.runs.fit import Fit
from alliance.inference.scores.thresholds import Thresholds


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_of()


def asked(fit: Fit, **options: Any) -> Effects:
    return effects_along(fit["function"], grid=21, **options)


def words(figure: Figure) -> str:
    """All text of a figure, its legends included."""
    found = [str(text.get_text()) for text in figure.findobj(Text)]
    return " ".join(" ".join(found).split())


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_says_what_it_must(kind: str, fit: Fit) -> None:
    answer = asked(fit)
    text = words(FIGURES[kind](fit, [answer]))
    assert "SIMULATED DATA" in text
    assert f"Patient-Specific Functional Scale (n = {answer.patients})" in text
    assert "Working alliance (WATOCI total), points of 16 to 112" in text
    assert "with an average therapist" in text
    assert "a patient's rating" in text
    assert "extrapolated" not in text


@pytest.mark.parametrize("kind", FIGURES)
def test_real_data_bear_the_studys_title(kind: str, fit: Fit) -> None:
    from dataclasses import replace

    study = fit.study.model_copy(update={"simulated": False, "title": "A trial of backs " * 9})
    text = words(FIGURES[kind](replace(fit, study=study), [asked(fit)]))
    assert "SIMULATED" not in text
    assert "A trial of backs A trial" in text


def test_the_bands_drawn_are_those_computed(fit: Fit) -> None:
    answer = asked(fit)
    figure = effect_figure(fit, [answer])
    panels = figure.axes
    assert len(panels) == 6  # three contrasts, each above its probabilities
    for panel, which in zip(panels, answer.contrasts, strict=False):
        bands = answer.contrast_bands[which.level]
        shades = [part for part in panel.collections if isinstance(part, PolyCollection)]
        for shade, lower, upper in zip(
            shades,
            (bands.band_lower, bands.lower),
            (bands.band_upper, bands.upper),
            strict=True,
        ):
            heights = shade.get_paths()[0].vertices[:, 1]
            assert heights.min() == pytest.approx(lower.min())
            assert heights.max() == pytest.approx(upper.max())
        (ticks,) = (line for line in panel.lines if line.get_marker() == "|")
        low, high = answer.curves.moderator[[0, -1]]
        shown = answer.ratings[(answer.ratings >= low) & (answer.ratings <= high)]
        assert len(shown) < len(answer.ratings)
        np.testing.assert_array_equal(ticks.get_xdata(), shown)
    text = words(figure)
    assert "95% band, all values at once" in text
    assert "95% interval, each value by itself" in text
    assert "points of 3 to 30 (better above 0)" in text
    assert "Motor control exercise minus General exercise" in text
    assert "told by the difference of slopes" in text


def test_a_named_value_is_answered_in_the_figure(fit: Fit) -> None:
    answer = asked(
        fit,
        values=[80.0],
        thresholds=Thresholds(better_by=2, equivalence=(-1, 1)),
        contrasts=["MCE-GE"],
    )
    figure = effect_figure(fit, [answer])
    place = int(np.searchsorted(answer.curves.moderator, 80.0))
    draws = answer.contrasts[0].of(answer.curves.expected)[:, place]
    text = words(figure)
    assert f"P(by 2) = {(draws >= 2).mean():.3f}" in text
    assert f"at 80: P(better) = {(draws > 0).mean():.3f}" in text
    assert "better by 2" in text
    assert "region of equivalence" in text
    # With one contrast there is room for the arms' labels.
    assert "Motor control exercise minus General exercise" in text


def test_the_threshold_lies_on_the_better_side() -> None:
    for better, height in (("higher", 2.0), ("lower", -2.0)):
        fit = fit_of(better=better)
        figure = effect_figure(fit, [asked(fit, thresholds=Thresholds(better_by=2))])
        (line,) = (line for line in figure.axes[0].lines if line.get_label() == "better by 2")
        assert set(line.get_ydata()) == {height}
        assert f"better {'above' if better == 'higher' else 'below'} 0" in words(figure)


def test_extrapolation_is_hatched(fit: Fit) -> None:
    answer = asked(fit, values=[30.0], extrapolate=True)
    for draw in FIGURES.values():
        figure = draw(fit, [answer])
        assert "extrapolated: no ratings" in words(figure)
        (patch,) = (part for part in figure.axes[0].patches if part.get_hatch())
        ends = patch.get_x(), patch.get_x() + patch.get_width()
        assert ends == pytest.approx((30.0, answer.observed[0]))


@pytest.mark.parametrize("draw", [score_figure, best_figure])
def test_each_arm_has_a_line_of_its_own_kind(draw: Any, fit: Fit) -> None:
    answer = asked(fit)
    panel = draw(fit, [answer]).axes[0]
    lines = [line for line in panel.lines if line.get_label() in fit.study.arms.values()]
    assert [line.get_label() for line in lines] == list(fit.study.arms.values())
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 3
    heights = np.stack([line.get_ydata() for line in lines])
    curves = answer.curves
    drawn = curves.best() if draw is best_figure else curves.expected.mean(axis=0)
    np.testing.assert_allclose(heights, drawn)


def test_outcomes_stand_side_by_side(fit: Fit) -> None:
    answers = [asked(fit)] * 3
    assert len([p for p in score_figure(fit, answers).axes if p.axison]) == 3
    assert len(effect_figure(fit, answers).axes) == 18
