"""Forest plots: every estimate beside the published one, and the arm contrasts of all outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import ScaledTranslation

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.levels import AVERAGE, contrast_names
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.diagnostics import words
from alliance.diagnostics.figures.drawing import asked
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page, save
from alliance.inference.digits import interval_decimals
from alliance.inference.estimands.compared_at import comparison_places, places_in_words
from alliance.inference.estimands.missing_outcomes import stated_shifts
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import FIGURE, require_output, write_whole
from alliance.models.design.encoding import arm_pairs

# Okabe and Ito's colours, told apart by colour-blind readers; shapes say the same again.
SOURCES = {
    "published": ("#000000", "D"),
    "ols": ("#E69F00", "s"),
    "ols_robust": ("#CC79A7", "v"),
    "reml": ("#009E73", "^"),
    "ml": ("#E69F00", "s"),
    "posterior": ("#0072B2", "o"),
}
SHOWN = ("moderator_slope", "arm_contrast", "interaction")
SLOPES = ("moderator_slope", "interaction")
FORMATS = (".png", ".svg", ".pdf")
# Journals set, search and shorten letters: none is an outline, and fonts are embedded as TrueType
AS_TEXT: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42}
_MARKED = {"png": "Description", "svg": "Description", "pdf": "Subject"}  # what bears the mark
SOURCE_INCHES, APART_INCHES = 0.135, 0.1  # of a row for each source, and between two rows
PAIR_AROUND_INCHES = 0.62  # around the rows of a panel: its title, and what stands below
NARROW_INCHES = 5.0  # below it numbers stand in one column
LABELS_SHARE = 0.3  # of the width, at most, for names of rows that have numbers on the other side
SMALL, HEADING = 8.0, 8.0  # points, of numbers and of what stands above them
LINE_HEIGHT, GAP_POINTS = 1.3, 6  # of a line in letters' sizes, and below a title


def comparison_figure(
    fit: Fit, table: pd.DataFrame, *, interval: float = 0.95, at: float | None = None
) -> Figure:
    """Draw slopes, contrasts and interactions of every outcome, each outcome on its own scale.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As from `inference.published.comparison.compare`.
    interval : float
        Probability of the table's intervals, for the caption.
    at : float, optional
        The alliance that was named for the table, for the caption.

    Returns
    -------
    matplotlib.figure.Figure
        For each outcome a panel of contrasts, in points of the outcome, and one of slopes and
        interactions, for one SD of the moderator, each on its own axis with its numbers beside.
        Sources without a number are left out.
    """
    table = table.rename(columns={"posterior_mean": "posterior_estimate"})
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    table = table[table["quantity"].isin(SHOWN) & overall]
    sources = _sources(fit, table)
    row_inches = APART_INCHES + SOURCE_INCHES * len(sources)
    known = set(table["outcome"])
    groups = {name: _groups(table, name) for name in fit.outcomes if name in known}
    heights = [
        sum(PAIR_AROUND_INCHES + row_inches * len(own) for own in each.values()) + 0.2
        for each in groups.values()
    ]
    page = Page(fit, WIDTH, heights, _caption(fit, interval, at), labels=LABELS_SHARE)
    with mpl.rc_context(STYLE):
        for part, (outcome, each) in zip(page.strips, groups.items(), strict=True):
            told = [_Row(fit, outcome, row, sources) for own in each.values() for row in own]
            title = words.with_patients(fit.study, outcome, words.patients(fit, outcome))
            part.suptitle(title, x=0.01, ha="left", fontsize=9.5)
            panels = part.subplots(
                len(each),
                2,
                squeeze=False,
                sharey="row",
                height_ratios=[len(own) + 1 for own in each.values()],
                width_ratios=[1, _beside(page, [row.label for row in told], _told(told))],
            )
            first = 0
            for (slopes, own), (panel, numbers) in zip(each.items(), panels, strict=True):
                rows = told[first : first + len(own)]
                first += len(own)
                _compared(panel, numbers, rows, sources, SOURCE_INCHES / row_inches)
                panel.set_xlabel(_compared_axis(fit, outcome, slopes=slopes))
        page.legend(page.strips[0].axes[0])
    return page.finished()


def _groups(table: pd.DataFrame, outcome: str) -> dict[bool, list[dict[Any, Any]]]:
    """Rows of an outcome: contrasts, and apart from them slopes, where there are any."""
    own = table[table["outcome"] == outcome]
    slopes = own["quantity"].isin(SLOPES)
    found = {False: own[~slopes], True: own[slopes]}
    return {key: rows.to_dict("records") for key, rows in found.items() if len(rows)}


class _Row:
    """A row of the comparison: its name, and what each source says."""

    def __init__(self, fit: Fit, outcome: str, row: dict[Any, Any], sources: Sequence[str]) -> None:
        unit = fit.design(outcome).scaling.moderator[1] if row["quantity"] in SLOPES else 1.0
        self.label = _row_label(fit, row)
        self.found: dict[str, tuple[float, float, float]] = {}
        for name in sources:
            numbers = [unit * row[f"{name}_{part}"] for part in ("estimate", "lower", "upper")]
            if not pd.isna(numbers[0]):
                self.found[name] = (numbers[0], numbers[1], numbers[2])

    def told(self, name: str) -> str:
        """What a source says, in digits that its interval is worth."""
        mean, lower, upper = self.found[name]
        if pd.isna(lower):
            return f"{mean:.3g}"
        return words.estimate(mean, lower, upper, max(1, interval_decimals(lower, upper)))


def _told(rows: Sequence[_Row]) -> list[str]:
    return [row.told(name) for row in rows for name in row.found]


def _compared(
    panel: Axes, numbers: Axes, rows: Sequence[_Row], sources: Sequence[str], apart: float
) -> None:
    across = numbers.get_yaxis_transform()
    numbers.set_axis_off()
    for k, name in enumerate(sources):
        label, (colour, marker) = words.SOURCES[name], SOURCES[name]
        shift = (k - (len(sources) - 1) / 2) * apart
        drawn = False
        for position, row in enumerate(rows):
            if name not in row.found:
                continue
            estimate, lower, upper = row.found[name]
            limits = None if pd.isna(lower) else [[estimate - lower], [upper - estimate]]
            panel.errorbar(
                estimate,
                position + shift,
                xerr=limits,
                color=colour,
                marker=marker,
                markersize=4.5,
                linewidth=1.4,
                label="" if drawn else label,
            )
            numbers.text(
                1.0,
                position + shift,
                row.told(name),
                transform=across,
                ha="right",
                va="center",
                fontsize=SMALL,
                color=colour,
                in_layout=False,  # its room is that of `_beside`
            )
            drawn = True
        if not drawn:  # a source without a number here still has its place in the legend
            panel.errorbar([], [], color=colour, marker=marker, markersize=4.5, label=label)
    panel.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.set_yticks(range(len(rows)), [row.label for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(axis="y", color="0.93")
    panel.set_axisbelow(True)


def _compared_axis(fit: Fit, outcome: str, *, slopes: bool) -> str:
    described = fit.study.outcomes[outcome]
    better = "right" if described.better == "higher" else "left"
    unit = f"for one SD of {fit.study.measure.name}: " if slopes else ""
    return f"{unit}{words.axis(described)}; better to the {better}"


def require_figure(path: Path) -> None:
    """Refuse a place for a figure by its ending, before hours of work for it.

    Raises
    ------
    InputError
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"{path.name!r} does not end in a figure's format.", f"Use {', '.join(FORMATS)}."
        )


def save_figure(figure: Figure, path: AnyPath, *, overwrite: bool = False) -> str:
    """Write a figure as PNG, SVG or PDF.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path-like
        The ending says the format. An earlier figure of alliance there is replaced.
    overwrite : bool
        Whether another file is, too; what may be data or is part of a run never is.

    Returns
    -------
    str
        Characters of its texts that no installed font has.

    Raises
    ------
    InputError
        If the ending is another one, or the file cannot be written.
    """
    path = as_path(path)
    require_figure(path)
    require_output(path, FIGURE, overwrite=overwrite)
    ending, drawn = path.suffix.lower().removeprefix("."), BytesIO()
    marked = {_MARKED[ending]: FIGURE.mark}
    with mpl.rc_context(AS_TEXT):
        missing = save(figure, drawn, dpi=asked().dpi, format=ending, metadata=marked)
    write_whole(path, drawn.getvalue())
    return missing


def _sources(fit: Fit, table: pd.DataFrame) -> list[str]:
    """Where the numbers of the figure come from: none that has no number, or no outcome's model."""
    own = [spec.family in OWN_FAMILIES for spec in fit.specs.values()]
    return [
        name
        for name in SOURCES
        if f"{name}_estimate" in table
        and table[f"{name}_estimate"].notna().any()
        and (name in ("published", "posterior") or (name == "ml") in own)
    ]


def _row_label(fit: Fit, row: dict[Any, Any]) -> str:
    """A row's name."""
    name = words.of_moderator(fit.study, "{name}")
    told: str = words.level(fit.study, row["level"])
    if row["quantity"] == "moderator_slope":
        told = f"{name} slope"
    elif row["quantity"] == "interaction":
        told = f"{name} × {told}"
    return told


def _caption(fit: Fit, interval: float, at: float | None) -> str:
    slopes = words.of_moderator(
        fit.study, "Slopes and interactions for one SD of the {name}; contrasts"
    )
    return (
        f"Estimates and {words.level_of(interval)} intervals (published: as printed). "
        f"{slopes or 'Contrasts'}, later arm minus earlier. {' '.join(comparison_places(fit, at))}"
    )


# For each outcome, and for the title of a contrast
CONTRAST_ROW_INCHES, CONTRAST_AROUND_INCHES = 0.34, 0.5
AXIS_INCHES = 0.45  # for the numbers and the label below the lowest panel
WIDTH = 8.8
BESIDE_INCHES, BETWEEN_INCHES = 0.35, 0.14  # around columns of numbers, and between two
LOGISTIC_SD = float(np.pi / np.sqrt(3))  # the unit of a binary outcome's predictor
COLUMNS = ("outcome", "level", "label", "patients", "mean", "lower", "upper", "prob_better")


def standardised_contrasts(
    fit: Fit, table: pd.DataFrame, quantity: str = "arm_contrast"
) -> pd.DataFrame:
    """Arm contrasts of all outcomes in SDs of each outcome, a benefit being positive.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As `Fit.summary` gives it.
    quantity : {"arm_contrast", "interaction"}
        Differences of the arms, or of their slopes for one SD of the alliance.

    Returns
    -------
    pandas.DataFrame
        One row for each contrast of each outcome, with the columns `COLUMNS`: ``level`` as in
        `table`, the outcome's ``label``, the number of analysed ``patients``, mean and interval
        divided by the SD of the outcome among these patients (of events and counts by
        `Design.outcome_unit`), with the sign turned where a lower score is better, and the
        probability that the first arm is better than the second.
    """
    rows = []
    shown = (table["quantity"] == quantity) & table["outcome"].isin(fit.outcomes)
    for row in table[shown].to_dict("records"):
        outcome = row["outcome"]
        described, design = fit.study.outcomes[outcome], fit.design(outcome)
        gain = 1 if described.better == "higher" else -1
        unit = gain / design.outcome_unit[1]
        if quantity == "interaction":
            unit *= design.scaling.moderator[1]
        lower, upper = sorted((unit * row["lower"], unit * row["upper"]))
        positive = row["prob_positive"]
        rows.append(
            {
                "outcome": outcome,
                "level": row["level"],
                "label": described.label,
                "patients": fit[outcome].analysed,
                "mean": unit * row["mean"],
                "lower": lower,
                "upper": upper,
                "prob_better": positive if gain == 1 else 1 - positive,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def contrast_figure(
    fit: Fit, table: pd.DataFrame, *, interval: float = 0.95, at: float | None = None
) -> Figure:
    """Draw every arm contrast with the outcomes below one another.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As `Fit.summary` gives it.
    interval : float
        Probability of the table's intervals.
    at : float, optional
        The alliance that was named for the table, for the caption.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each contrast, all on one axis: see `standard_unit`; to the right where the
        first arm is better. The numbers stand beside the intervals.

    Raises
    ------
    InputError
        If the table has no arm contrasts.
    """
    shown = standardised_contrasts(fit, table)
    if shown.empty:
        raise InputError(
            "The table has no arm contrasts to draw.", "Give the summary of all quantities."
        )
    page = Page(
        fit,
        WIDTH,
        [_height(fit, shown)],
        _contrast_caption(fit, interval, at),
        labels=LABELS_SHARE,
    )
    with mpl.rc_context(STYLE):
        first = _forests(
            page, page.strips[0], fit, shown, interval, "second arm better", "first arm better"
        )
        page.legend(first)
    return page.finished()


def answers_figure(
    fit: Fit, table: pd.DataFrame, *, interval: float = 0.95, at: float | None = None
) -> Figure:
    """Draw contrasts of the arms, and below them the differences of their slopes.

    Parameters
    ----------
    fit : Fit
    table : pandas.DataFrame
        As `Fit.summary` gives it.
    interval : float
        Probability of the table's intervals.
    at : float, optional
        The alliance that was named for the table, for the caption.

    Returns
    -------
    matplotlib.figure.Figure
        As `contrast_figure`, with a second axis for slopes; without one where the model has no
        interaction.
    """
    slopes = standardised_contrasts(fit, table, "interaction")
    if slopes.empty:
        return contrast_figure(fit, table, interval=interval, at=at)
    name = fit.study.measure.name
    below = f"Below: differences of slopes, for one SD of {name}."
    told = f"{_contrast_caption(fit, interval, at)} {below}"
    contrasts = standardised_contrasts(fit, table)
    heights = [_height(fit, contrasts), _height(fit, slopes)]
    page = Page(fit, WIDTH, heights, told, labels=LABELS_SHARE)
    with mpl.rc_context(STYLE):
        first = _forests(
            page,
            page.strips[0],
            fit,
            contrasts,
            interval,
            "second arm better",
            "first arm better",
        )
        _forests(
            page,
            page.strips[1],
            fit,
            slopes,
            interval,
            f"{name} counts more in the second arm",
            "in the first arm",
            f"for one SD more of {name}, ",
            "P(first arm)",
        )
        page.legend(first)
    return page.finished()


@dataclass(frozen=True, slots=True)
class StandardUnit:
    """What one is on the axis of standardised contrasts.

    Attributes
    ----------
    axis, short : str
        Under the axis, and above the numbers.
    told : str
        In a sentence, how differences come to it.
    """

    axis: str
    short: str
    told: str


def standard_unit(fit: Fit) -> StandardUnit:
    """The unit of standardised contrasts, in words: of events and counts it is none of scores.

    Parameters
    ----------
    fit : Fit
    """
    families = {fit.design(outcome).family.name for outcome in fit.outcomes}
    of_scores = "divided by the SD of the outcome among its n analysed patients"
    own = {
        "binary": f"of events, as differences of log odds over {LOGISTIC_SD:.2f} (the SD of a "
        "logistic variable), to first order",
        "count": "of counts, as differences of log rates, to first order",
    }
    parts = [own[name] for name in own if name in families]
    if families == {"binary"}:
        axis = f"log odds over {LOGISTIC_SD:.2f}"
        return StandardUnit(axis, axis, f"shown, {parts[0]}")
    if families == {"count"}:
        return StandardUnit("log rate (1 is a factor of e)", "log rate", f"shown, {parts[0]}")
    if parts:
        return StandardUnit(
            "SDs of the outcome, or on the link's scale",
            "SDs",
            f"{of_scores}; {'; '.join(parts)}",
        )
    return StandardUnit("SDs of the outcome", "SDs", of_scores)


def _height(fit: Fit, shown: pd.DataFrame) -> float:
    pairs = shown["level"].nunique()
    each = CONTRAST_AROUND_INCHES + CONTRAST_ROW_INCHES * shown["label"].nunique()
    return each * pairs + AXIS_INCHES


def _forests(
    page: Page,
    strip: SubFigure,
    fit: Fit,
    shown: pd.DataFrame,
    interval: float,
    left: str,
    right: str,
    unit: str = "",
    chance: str = "P(better)",
) -> Axes:
    """A panel for each pair of arms, all on one axis; the first panel, for the legend."""
    codes = tuple(fit.study.arms)
    names = contrast_names(codes)
    there = set(shown["level"])  # no slopes differ but of arms that have one
    levels = [names[k, j] for k, j in arm_pairs(len(codes)) if names[k, j] in there]
    share, narrow = words.level_of(interval), page.figure.get_figwidth() < NARROW_INCHES
    reach = 1.08 * max(0.1, np.abs(shown[["lower", "upper"]].to_numpy()).max())
    by_level = {level: shown[shown["level"] == level].to_dict("records") for level in levels}
    scale = standard_unit(fit)
    head = f"{scale.short} ({share} interval)"
    beside = [_Beside(rows, head, chance, narrow) for rows in by_level.values()]
    labels = [_named(row) for rows in by_level.values() for row in rows]
    told = [
        [text for texts in column for text in texts]
        for column in zip(*(each.widest for each in beside), strict=True)
    ]
    panels = strip.subplots(
        len(levels),
        2,
        squeeze=False,
        sharey="row",
        width_ratios=[1, _beside(page, labels, *told)],
    )
    for level, own, (panel, numbers) in zip(levels, beside, panels, strict=True):
        rows = by_level[level]
        _intervals(panel, rows, f"posterior mean and {share} interval")
        panel.set_xlim(-reach, reach)
        panel.tick_params(labelbottom=False)
        headed = panel is panels[0, 0]
        # Above what stands over the numbers
        points = own.lines * HEADING * LINE_HEIGHT + GAP_POINTS if headed else GAP_POINTS
        page.across(panel, words.level(fit.study, level), 9.5, points)
        own.draw(numbers, page, headed=headed)
    lowest: Axes = panels[-1, 0]
    lowest.tick_params(labelbottom=True)
    ends = f"{left}  \N{LEFTWARDS ARROW}      \N{RIGHTWARDS ARROW}  {right}"
    if narrow:  # arrows over several lines point nowhere
        ends = f"left: {left}; right: {right}"
    lowest.set_xlabel(f"{unit}{scale.axis}\n{ends}")
    first: Axes = panels[0, 0]
    return first


def _intervals(panel: Axes, rows: list[dict[Any, Any]], label: str) -> None:
    panel.axvline(0, color="0.35", linewidth=0.9)
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
    middle = np.array([row["mean"] for row in rows])
    ends = np.array([[row["lower"] for row in rows], [row["upper"] for row in rows]])
    panel.errorbar(
        middle,
        range(len(rows)),
        xerr=np.abs(ends - middle),
        color=COLOURS[0],
        linestyle="none",
        marker="o",
        markersize=5,
        elinewidth=1.6,
        label=label,
    )
    panel.set_yticks(range(len(rows)), [_named(row) for row in rows], fontsize=8.5)
    panel.set_ylim(len(rows) - 0.5, -0.5)  # the first outcome on top
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _named(row: dict[Any, Any]) -> str:
    return f"{row['label']} (n = {row['patients']})"


class _Beside:
    """Columns of numbers beside intervals: two, or in a narrow figure one of two lines a row."""

    def __init__(self, rows: list[dict[Any, Any]], head: str, chance: str, narrow: bool) -> None:
        estimates = [
            words.estimate(
                row["mean"],
                row["lower"],
                row["upper"],
                max(2, interval_decimals(row["lower"], row["upper"])),
            )
            for row in rows
        ]
        chances = [words.chance(row["prob_better"]) for row in rows]
        if narrow:
            joined = [f"{one}\n{two}" for one, two in zip(estimates, chances, strict=True)]
            self.columns = {f"{head}\n{chance}": joined}
        else:
            self.columns = {head: estimates, chance: chances}

    @property
    def widest(self) -> list[list[str]]:
        """Texts of each column, among which the widest says how wide it is."""
        return [[head, *texts] for head, texts in self.columns.items()]

    @property
    def lines(self) -> int:
        """Lines of what stands above the columns."""
        return max(head.count("\n") + 1 for head in self.columns)

    def draw(self, panel: Axes, page: Page, *, headed: bool) -> None:
        """Write the columns, the last one at the right edge."""
        panel.set_axis_off()
        across, top = panel.get_yaxis_transform(), panel.transAxes
        inches = page.figure.dpi_scale_trans
        from_right = 0.0
        for head, texts in reversed(self.columns.items()):
            moved = ScaledTranslation(-from_right, 0, inches)
            if headed:
                panel.text(
                    1.0,
                    1.0,
                    head,
                    transform=top + moved,
                    ha="right",
                    va="bottom",
                    fontsize=HEADING,
                    in_layout=False,  # its room is that of `_beside`, and of the title above
                )
            for height, text in enumerate(texts):
                panel.text(
                    1.0,
                    height,
                    text,
                    transform=across + moved,
                    ha="right",
                    va="center",
                    fontsize=SMALL,
                    in_layout=False,
                )
            from_right += page.widest([head, *texts], SMALL) + BETWEEN_INCHES


def _beside(page: Page, labels: Sequence[str], *columns: Sequence[str]) -> float:
    """Width of the columns with numbers, where that of the panel with the intervals is 1."""
    needed = sum(page.widest(column, SMALL) for column in columns)
    needed += BETWEEN_INCHES * (len(columns) - 1)
    width = page.figure.get_figwidth()
    names = min(page.widest(labels, 9.0), LABELS_SHARE * width)
    return needed / max(width - names - needed - BESIDE_INCHES, 0.15 * width)


def _contrast_caption(fit: Fit, interval: float, at: float | None) -> str:
    shifted = any(stated_shifts(fit.study, outcome) for outcome in fit.outcomes)
    stated = " Unseen outcomes are shifted as the study file states." if shifted else ""
    return (
        f"{places_in_words(fit, at)} They are {standard_unit(fit).told}; signs are turned where a "
        "lower score is better. P(better): posterior "
        "probability that the first arm is better than the second. "
        f"{words.level_of(interval)} equal-tailed intervals; an interval that "
        f"includes zero does not show that there is no effect.{stated} {words.arms(fit.study)}."
    )
