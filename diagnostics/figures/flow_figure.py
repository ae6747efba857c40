"""The flow of patients as the CONSORT statement draws it, of what a data file can tell."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from alliance.data_prep.study.description import Study
from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import asked
from alliance.diagnostics.figures.figure_page import STYLE, figure_title
from alliance.inference.runs.fit import Fit

WIDTH = 7.0  # inches
POINTS, LINE = 8.0, 11.0  # of letters, and from a line to the next
TITLE, TITLE_LINE = 10.0, 14.0  # the same of the title
INCH = 72.0
PAD, GAP, ARROW, STACK = 5.0, 8.0, 18.0, 5.0  # in boxes, between arms, boxes, outcomes
BORDER, FILL = "#4d5761", "#f3f5f7"
NOT_TOLD = (
    "Assessed for eligibility, not eligible, declined: not in the data file",
    "Randomised, received the treatment, lost or withdrew and why: not in the data file",
)


@dataclass(frozen=True, slots=True)
class Flow:
    """What boxes say: of the file, and for each outcome of each arm.

    Attributes
    ----------
    top : tuple of str
        Of the whole file.
    arms : dict of str to tuple of str
        By arm.
    outcomes : dict of str to dict of str to tuple of str
        By outcome and arm.
    """

    top: tuple[str, ...]
    arms: dict[str, tuple[str, ...]]
    outcomes: dict[str, dict[str, tuple[str, ...]]]

    @property
    def words(self) -> str:
        """The same as running text."""
        parts = [f"{line}." for line in self.top]
        for arm, lines in self.arms.items():
            own = [by_arm[arm] for by_arm in self.outcomes.values() if arm in by_arm]
            parts += [f"{'; '.join(line for box in (lines, *own) for line in box)}."]
        return " ".join(parts)


def patient_flow(fit: Fit, found: Mapping[str, Any]) -> Flow:
    """What a run knows of the flow of patients.

    Parameters
    ----------
    fit : Fit
    found : mapping
        As from `data_prep.trial.characteristics`.
    """
    study = fit.study
    counts = fit.flow.to_dict("records")
    first = counts[0]
    top = [f"Rows in the data file: {first['rows_read']}", *NOT_TOLD]
    if first.get("without_arm"):
        top.append(f"No arm: {first['without_arm']}")
    own = {row["arm"]: row["patients"] for row in found["rows"]}
    arms = {}
    for code, label in study.arms.items():
        number = f": {own[code]}" if found["who"] == "everybody" and code in own else ""
        arms[code] = (
            f"{label}{number}",
            *_therapists(study, found["therapists"].get(code, 0)),
        )
    outcomes: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in found["flow"]:
        if row["outcome"] not in fit.outcomes:
            continue
        lines = [f"{words.label(study, row['outcome'])}: {row['analysed']} analysed"]
        if told := _left_out(study, row):
            lines.append(f"left out: {told}")
        outcomes.setdefault(row["outcome"], {})[row["arm"]] = tuple(lines)
    if found["who"] != "everybody":  # reasons are known of all arms together
        for row in counts:
            if told := _left_out(study, row):
                named = words.label(study, row["outcome"])
                top.append(f"{named}, left out of arms that the run does not tell: {told}")
    return Flow(tuple(top), arms, outcomes)


def _therapists(study: Study, number: int) -> list[str]:
    if study.columns.therapist is None:
        return []
    return [words.counted(number, "therapist") if number else "no therapist"]


def _left_out(study: Study, counts: Mapping[Any, Any]) -> str:
    """How many lack what."""
    moderator = words.of_moderator(study, "{name}")
    return ", ".join(
        f"{text.format(moderator=moderator).removeprefix('Left out: ')} {counts[name]}"
        for name, text in words.FLOW.items()
        if name.startswith("without_") and name != "without_arm" and counts.get(name)
    )


def flow_figure(fit: Fit, found: Mapping[str, Any]) -> Figure:
    """Draw the flow of patients: the file, the arms, and each outcome's analysed patients.

    Parameters
    ----------
    fit : Fit
    found : mapping
        As from `data_prep.trial.characteristics`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    flow, width = patient_flow(fit, found), asked().inches(WIDTH)
    across, size = width * INCH, asked().scale
    line = LINE * size
    column = (across - GAP * (len(flow.arms) - 1)) / len(flow.arms)
    title = _wrapped([figure_title(fit)], across, TITLE * size)
    top = _wrapped(flow.top, across - 2 * PAD, POINTS * size)
    boxes = [flow.arms, *flow.outcomes.values()]
    rows = [
        [_wrapped(own.get(arm, ()), column - 2 * PAD, POINTS * size) for arm in flow.arms]
        for own in boxes
    ]
    heights = [max(map(len, row)) * line + 2 * PAD for row in rows]
    gaps = [ARROW, *([ARROW] if len(rows) > 1 else []), *[STACK] * (len(rows) - 2)]
    high = len(title) * TITLE_LINE * size
    whole = high + len(top) * line + 2 * PAD + sum(heights) + sum(gaps) + 4
    figure = Figure(figsize=(width, whole / INCH), dpi=asked().dpi)
    with mpl.rc_context(STYLE):
        panel = figure.add_axes((0, 0, 1, 1))
        panel.set_xlim(0, across)
        panel.set_ylim(whole, 0)
        panel.set_axis_off()
        y = 2.0
        for text in title:
            panel.text(1, y, text, va="top", fontsize=TITLE * size, fontweight="bold")
            y += TITLE_LINE * size
        y = _box(panel, 0, y, across, len(top) * line + 2 * PAD, top)
        for k, (row, height, gap) in enumerate(zip(rows, heights, gaps, strict=True)):
            for j, lines in enumerate(row):
                left = j * (column + GAP)
                if lines:
                    if gap == ARROW:  # outcomes below one another are of the same patients
                        panel.add_patch(_arrow(left + column / 2, y, y + gap))
                    _box(panel, left, y + gap, column, height, lines, bold=k == 0)
            y += gap + height
    return figure


def _arrow(x: float, top: float, bottom: float) -> FancyArrowPatch:
    return FancyArrowPatch(
        (x, top), (x, bottom), arrowstyle="-|>", mutation_scale=8, color=BORDER, shrinkA=0,
        shrinkB=0, linewidth=0.9,
    )  # fmt: skip


def _box(
    panel: Any, x: float, y: float, width: float, height: float, lines: Sequence[str],
    *, bold: bool = False,
) -> float:  # fmt: skip
    """A box with its lines; where it ends."""
    inner = 0.5  # half of the border's width
    panel.add_patch(
        FancyBboxPatch(
            (x + inner, y), width - 2 * inner, height, boxstyle="square,pad=0", facecolor=FILL,
            edgecolor=BORDER, linewidth=0.9,
        )
    )  # fmt: skip
    size = asked().scale
    for k, text in enumerate(lines):
        weight = "bold" if bold and k == 0 else "normal"
        top = y + PAD + k * LINE * size
        panel.text(x + PAD, top, text, va="top", fontsize=POINTS * size, fontweight=weight)
    return y + height


def _wrapped(lines: Sequence[str], room: float, points: float) -> list[str]:
    """Lines that fit into so many points, as letters are measured; later ones are set in."""
    renderer = FigureCanvasAgg(Figure(dpi=INCH)).get_renderer()
    font = FontProperties(size=points, weight="bold")  # no weight is wider

    def fits(text: str) -> bool:
        with warnings.catch_warnings():  # a letter that no font has is a box of its own width
            warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
            warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
            return bool(renderer.get_text_width_height_descent(text, font, False)[0] <= room)

    found = []
    for line in lines:
        current = ""
        for word in line.split():
            for piece in _pieces(word, fits):
                longer = f"{current} {piece}" if current.strip() else f"{current}{piece}"
                if fits(longer) or not current.strip():
                    current = longer
                else:
                    found.append(current)
                    current = f"  {piece}"
        found.append(current)
    return found


def _pieces(word: str, fits: Any) -> list[str]:
    """A word in pieces that each fit on a line."""
    pieces, current = [], ""
    for letter in word:
        if current and not fits(f"  {current}{letter}"):
            pieces.append(current)
            current = ""
        current += letter
    return [*pieces, current]
