"""Figures at the widths of a journal: no text leaves the page, and none covers another."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from boxes import boxes, troubles
from figure_cases import CASES, FIGURES, LETTERS, LONG, SIXTY, WIDTHS, case
from matplotlib import image
from matplotlib.figure import Figure
from matplotlib.text import Text

from alliance.data_prep.errors import InputError
from alliance.diagnostics.figures.drawing import MM_PER_INCH, Drawing, drawn_as
from alliance.diagnostics.figures.figure_page import FROM_LEFT, caption_of
from alliance.diagnostics.figures.measured import crowded, rewrap, width_of, wrapped
from alliance.diagnostics.figures.results_figures import save_figure

# Each figure in the case that is hardest for it, in one column; of the others what differs
HARD = [
    *((name, "long labels", 85) for name in FIGURES if name not in ("best", "score")),
    *(("score", each, 85) for each in ("four outcomes", "letters")),
    *((name, "letters", 180) for name in ("contrasts", "answers")),
    *((name, "339 therapists", 85) for name in ("therapists", "ppc therapists")),
    ("compare", "one outcome", 180),
    ("best", "four outcomes", 180),
]


def drawn(name: str, which: str, width: float | None = None, **asked: Any) -> Figure:
    with drawn_as(Drawing(width=width, **asked)):
        return FIGURES[name](case(which))


@cache
def seen(name: str, which: str, width: float) -> Figure:
    """The same, for tests that look at a figure and leave it as it is."""
    return drawn(name, which, width)


@pytest.mark.parametrize(("name", "which", "width"), HARD)
def test_texts_are_on_the_page_and_apart(name: str, which: str, width: int) -> None:
    figure = seen(name, which, width)
    assert figure.get_figwidth() * MM_PER_INCH == pytest.approx(width)
    assert troubles(figure) == []


@pytest.mark.validation
@pytest.mark.parametrize("width", [*WIDTHS, None])
@pytest.mark.parametrize("which", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_on_the_page_and_apart_in_every_case(
    name: str, which: str, width: int | None
) -> None:
    """In a column and on a page with the dots that journals ask for."""
    dots = {} if width is None else {"dpi": 300}
    assert troubles(drawn(name, which, width, **dots)) == []


def test_boxes_see_what_is_cut_and_what_is_covered() -> None:
    """The measure itself: a figure that is spoilt does not pass."""
    figure = drawn("score", "one outcome")
    assert troubles(figure) == []
    figure.text(0.9, 0.5, "one that begins too far to the right")
    assert any("leaves the page" in each for each in troubles(figure))
    covered = drawn("score", "one outcome")
    place = {"transform": covered.axes[0].transAxes, "va": "center", "ha": "center"}
    for text in ("one", "two"):
        covered.axes[0].text(0.5, 0.5, text, **place)  # type: ignore[arg-type]
    assert "'one' covers 'two'" in troubles(covered)


def test_letters_shrink_in_a_column_and_are_never_too_small() -> None:
    """Journals ask for 5 points at least, and 7 at most within figures."""
    sizes = [text.get_fontsize() for text in seen("score", "letters", 85).findobj(Text)]
    assert min(sizes) >= 5
    whole = [text.get_fontsize() for text in seen("score", "letters", 180).findobj(Text)]
    assert max(sizes) < max(whole)


def test_captions_are_left_out_and_kept_beside() -> None:
    figure = drawn("score", "one outcome", caption=False)
    told = [text for text, _ in boxes(figure)]
    assert not any("Lines: posterior means" in text for text in told)
    assert case("one outcome").study.title not in told
    assert caption_of(figure).startswith("Lines: posterior means")
    assert figure.get_figheight() < drawn("score", "one outcome").get_figheight()


def test_simulated_data_are_called_so_without_a_caption() -> None:
    fit = case("one outcome")
    study = fit.study.model_copy(update={"simulated": True})
    with drawn_as(Drawing(caption=False)):
        figure = FIGURES["contrasts"](replace(fit, study=study))
    assert "SIMULATED DATA" in [text for text, _ in boxes(figure)]


def test_a_height_is_kept_or_refused_with_one_that_has_room() -> None:
    natural = drawn("score", "one outcome", 85).get_figheight() * MM_PER_INCH
    for height in (0.85 * natural, 1.5 * natural):
        figure = drawn("score", "one outcome", 85, height=height)
        assert figure.get_figheight() * MM_PER_INCH == pytest.approx(height)
        assert troubles(figure) == []
    with pytest.raises(InputError, match="has no room for its texts") as refused:
        drawn("therapists", "long labels", 85, height=50)
    (least,) = re.findall(r"height=(\d+)", refused.value.remedy)
    assert troubles(drawn("therapists", "long labels", 85, height=float(least))) == []


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"width": 8.5}, "8.5 mm wide"),  # centimetres
        ({"height": 5000}, "5000 mm high"),
        ({"dpi": 3}, "3 dots to an inch"),
        ({"font": "Helvetika"}, "no font 'Helvetika'"),
    ],
)
def test_sizes_and_fonts_that_there_are_not_are_refused(asked: Any, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        Drawing(**asked)


def test_a_font_is_that_of_every_letter_it_has() -> None:
    with drawn_as(Drawing(font="DejaVu Serif")):
        figure = FIGURES["score"](case("one outcome"))
    families = {text.get_fontfamily()[0] for text in figure.findobj(Text) if text.get_text()}
    assert families == {"DejaVu Serif"}


def test_text_stays_text_and_dots_are_as_many_as_asked(tmp_path: Path) -> None:
    figure = drawn("score", "letters")
    for ending in ("svg", "pdf"):
        save_figure(figure, tmp_path / f"score.{ending}")
    svg = (tmp_path / "score.svg").read_text(encoding="utf-8")
    assert LETTERS["GE"] in svg
    assert "<text" in svg
    fonts = (tmp_path / "score.pdf").read_bytes()
    assert b"/FontFile2" in fonts  # embedded as TrueType, and no letter as a drawing of its own
    assert b"/Type3" not in fonts
    with drawn_as(Drawing(width=85, dpi=300)):
        save_figure(FIGURES["score"](case("letters")), tmp_path / "score.png")
    header = (tmp_path / "score.png").read_bytes()[16:20]
    assert int.from_bytes(header) == pytest.approx(85 / MM_PER_INCH * 300, abs=1)


def test_a_figure_that_is_saved_with_other_dots_is_not_cut(tmp_path: Path) -> None:
    """Letters are fitted to dots: names that are wider there get their room when it is saved."""
    save_figure(drawn("prediction", "letters", 180, dpi=80), tmp_path / "prediction.png")
    edge = image.imread(tmp_path / "prediction.png")[:, :2, :3]
    assert edge.min() > 0.8  # white, where cut letters are dark


def test_contrasts_that_begin_with_a_script_to_the_left_are_read_from_the_left() -> None:
    """Else "A minus B" stands as "minus B A"."""
    told = [text for text, _ in boxes(seen("contrasts", "letters", 180))]
    (title,) = (
        text
        for text in told
        if all(each in text for each in (LETTERS["MCE"], "minus", LETTERS["GE"][:9]))
    )
    assert all(line.startswith(FROM_LEFT) for line in title.split("\n"))


def test_arms_have_their_labels_in_every_figure() -> None:
    for name in ("compare", "contrasts", "effect", "score", "predictions", "ppc distribution"):
        told = " ".join(text for text, _ in boxes(seen(name, "long labels", 85)))
        words = " ".join(told.split())
        assert all(label.split(",")[0] in words for label in LONG.values()), name


# Measured texts -----------------------------------------------------------------------------------


def test_lines_are_no_wider_than_their_room_and_lose_no_letter() -> None:
    text = f"{SIXTY} (n = 86) Donaudampfschifffahrtsgesellschaft"
    for inches in (0.4, 0.8, 2.0):
        lines = wrapped(text, inches, 9).split("\n")
        whole = [line for line in lines if "n = 86" not in line]
        assert max(width_of(line, 9) for line in whole) <= inches
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert any("(n = 86)" in line for line in lines)


def test_crowded_labels_ask_for_as_much_more_room_as_they_need() -> None:
    # Labels 3 high, 2 apart: 1.5 times as far apart they just touch
    assert crowded([(0, 3), (2, 3), (4, 3)]) == pytest.approx(1.5)
    assert crowded([(0, 1), (2, 3)]) == pytest.approx(1.0)
    assert crowded([(0, 1)]) == 0


def test_a_text_that_is_wrapped_twice_keeps_the_lines_it_was_given() -> None:
    second = "second arm better, first arm better"
    text = Figure().text(
        0, 0, f"for one SD more of the alliance, in SDs of it\n{second}", fontsize=9
    )
    for inches in (1.02 * width_of(second, 9), 0.7 * width_of(second, 9)):
        assert rewrap(text, inches)
        lines = text.get_text().split("\n")
        begins = next(k for k, line in enumerate(lines) if line.startswith("second"))
        assert " ".join(lines[begins:]) == second
    text.set_text("another text that is long enough to be wrapped")
    assert rewrap(text, 1.0)
    assert " ".join(text.get_text().split()) == "another text that is long enough to be wrapped"
