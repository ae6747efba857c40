"""Labels that users write are drawn as typed: dollars, underscores and backslashes among them."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from prediction_examples import example_fit

from alliance.data_prep.study.description import Study
from alliance.diagnostics.figures.answer_figures import (
    best_figure,
    effect_figure,
    prediction_figure,
    score_figure,
)
from alliance.diagnostics.figures.figure_page import AS_TYPED
from alliance.diagnostics.figures.results_figures import (
    comparison_figure,
    contrast_figure,
    save_figure,
)
from alliance.diagnostics.figures.sensitivity_figures import unseen_improvement_figure
from alliance.diagnostics.figures.therapist_figure import therapist_figure
from alliance.diagnostics.report.page import inline_svg
from alliance.inference.answers.effects import effects_along
from alliance.inference.answers.predictions import predict
from alliance.inference.answers.therapists import therapists
from alliance.inference.answers.unseen_improvement import unseen_improvement
from alliance.inference.published.comparison import compare
from alliance.inference.runs.fit import Fit

ROOM = Path(__file__).resolve().parents[2] / "diagnostics"
# A price; what matplotlib cannot read as mathematics; and what it would draw as another text.
LABELS = (
    "Costs in $ (at 2020 $)",
    r"_x^2_ in $\frac{1}$ of 100%",
    r"\alpha$_{$ {a}",
    "$E=mc^2$",
)


def labelled(fit: Fit) -> Fit:
    """The fit with such labels wherever a study has one."""
    study = fit.study
    outcomes = {
        name: described.model_copy(update={"label": LABELS[k % 2]})
        for k, (name, described) in enumerate(study.outcomes.items())
    }
    arms = dict(zip(study.arms, LABELS[1:], strict=True))
    moderator = study.moderator.model_copy(update={"label": LABELS[2], "name": "all$iance$"})
    changes = {"outcomes": outcomes, "arms": arms, "moderator": moderator, "title": LABELS[3]}
    described: Study = study.model_copy(update=changes | {"simulated": False})
    object.__setattr__(fit, "study", described)
    return fit


@pytest.fixture(scope="module")
def fit() -> Fit:
    return labelled(example_fit(chains=2, draws=41))


DRAWN: dict[str, Callable[[Fit], Figure]] = {
    "comparison": lambda fit: comparison_figure(fit, compare(fit)),
    "contrast": lambda fit: contrast_figure(fit, fit.summary()),
    "effect": lambda fit: effect_figure(fit, [effects_along(fit["function"])]),
    "score": lambda fit: score_figure(fit, [effects_along(fit["function"])]),
    "best": lambda fit: best_figure(fit, [effects_along(fit["function"])]),
    "prediction": lambda fit: prediction_figure(fit, [predict(fit["function"])]),
    "therapist": lambda fit: therapist_figure(fit, [therapists(fit["function"])]),
    "unseen": lambda fit: unseen_improvement_figure(fit, [unseen_improvement(fit["function"])]),
}


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_of_a_figure_is_mathematics(name: str, fit: Fit, tmp_path: Path) -> None:
    figure = DRAWN[name](fit)
    save_figure(figure, tmp_path / "figure.png")
    found = texts(figure)
    assert any("$" in text.get_text() for text in found)
    assert not [text.get_text() for text in found if text.get_parse_math()]
    assert inline_svg(figure, name, LABELS[0], LABELS[1]).startswith("<svg")


def test_arms_whose_labels_begin_with_an_underscore_are_in_the_legend(fit: Fit) -> None:
    drawn = {text.get_text().strip() for text in texts(DRAWN["score"](fit))}
    assert set(fit.study.arms.values()) <= drawn


def test_what_is_drawn_is_what_was_typed() -> None:
    """A price is as wide as its letters: as mathematics the dollars would be gone."""
    with mpl.rc_context(AS_TYPED):
        figure = Figure()
        typed = figure.text(0, 0, LABELS[0])
    plain = figure.text(0, 0, LABELS[0].replace("$", r"\$"))
    eaten = figure.text(0, 0, LABELS[0])
    figure.savefig(BytesIO())
    widths = [text.get_window_extent().width for text in (typed, plain, eaten)]
    assert widths[0] == pytest.approx(widths[1], rel=0.02)
    assert widths[2] < 0.98 * widths[0]


def test_every_figure_is_made_in_the_common_style() -> None:
    for path in sorted(ROOM.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name not in ("figure_page.py", "measured.py") and re.search(
            r"\b(Page|Figure)\(", text
        ):
            assert "rc_context(STYLE)" in text, path.name
        if "savefig(" in text:
            assert "AS_TYPED" in text, path.name
