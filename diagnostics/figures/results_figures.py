"""Forest plots: every estimate beside the published one, and the arm contrasts of all outcomes."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.levels import AVERAGE, contrast_names
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.diagnostics import words
from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page, save
from alliance.diagnostics.sheet import fitting
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
_MARKED = {"png": "Description", "svg": "Description", "pdf": "Subject"}  # what bears the mark
SPREAD = 0.17  # vertical distance between the sources of one row
ROW_INCHES, AROUND_INCHES, PANEL_INCHES = 0.42, 0.8, 4.6
LABEL_CHARACTERS = 28  # of a line of a row's name


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
        One panel for each outcome. Slopes and interactions are shown for one SD of the moderator,
        so that they share the axis of the contrasts: points of the outcome.
    """
    table = table.rename(columns={"posterior_mean": "posterior_estimate"})
    overall = (table["quantity"] != "moderator_slope") | (table["level"] == AVERAGE)
    table = table[table["quantity"].isin(SHOWN) & overall]
    outcomes = fit.outcomes
    columns = min(2, len(outcomes))
    lines = -(-len(outcomes) // columns)
    tallest = max(
        sum(1 + _row_label(fit, row).count("\n") / 2 for row in part.to_dict("records"))
        for _, part in table.groupby("outcome")
    )
    height = lines * (tallest * ROW_INCHES + AROUND_INCHES)
    page = Page(fit, columns * PANEL_INCHES + 1.2, [height], _caption(fit, interval, at))
    with mpl.rc_context(STYLE):
        panels = page.strips[0].subplots(lines, columns, squeeze=False).ravel()
        for panel, outcome in zip(panels, outcomes, strict=False):
            own = table[table["outcome"] == outcome].to_dict("records")
            _draw(panel, fit, outcome, own, _sources(fit, table))
        for panel in panels[len(outcomes) :]:
            panel.set_axis_off()
        page.legend(panels[0])
    return page.figure


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
    missing = save(figure, drawn, dpi=150, format=ending, metadata=marked)
    write_whole(path, drawn.getvalue())
    return missing


def _draw(
    panel: Axes, fit: Fit, outcome: str, rows: Sequence[dict[Any, Any]], sources: Sequence[str]
) -> None:
    moderator_sd = fit.design(outcome).scaling.moderator[1]
    present = [name for name in SOURCES if name in sources]
    for name in present:
        label, (colour, marker) = words.SOURCES[name], SOURCES[name]
        shift = (present.index(name) - (len(present) - 1) / 2) * SPREAD
        drawn = False
        for position, row in enumerate(rows):
            unit = moderator_sd if row["quantity"] in SLOPES else 1.0
            estimate, lower, upper = (
                unit * row[f"{name}_{part}"] for part in ("estimate", "lower", "upper")
            )
            if pd.isna(estimate):
                continue
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
            drawn = True
        if not drawn:  # a source without a number here still has its place in the legend
            panel.errorbar([], [], color=colour, marker=marker, markersize=4.5, label=label)
    panel.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.set_yticks(range(len(rows)), [_row_label(fit, row) for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(axis="y", color="0.93")
    panel.set_axisbelow(True)
    described = fit.study.outcomes[outcome]
    better = "right" if described.better == "higher" else "left"
    panel.set_xlabel(f"{words.axis(described)}; better to the {better}")
    title = words.with_patients(fit.study, outcome, words.patients(fit, outcome))
    panel.set_title(title, loc="left", fontsize=9.5)


def _sources(fit: Fit, table: pd.DataFrame) -> list[str]:
    """Where the numbers of the figure come from: no models that none of its outcomes has."""
    own = [spec.family in OWN_FAMILIES for spec in fit.specs.values()]
    return [
        name
        for name in SOURCES
        if f"{name}_estimate" in table
        and (name in ("published", "posterior") or (name == "ml") in own)
    ]


def _row_label(fit: Fit, row: dict[Any, Any]) -> str:
    """A row's name, over several lines where it is long: the panel keeps its room."""
    name = words.of_moderator(fit.study, "{name}")
    told: str = words.level(fit.study, row["level"])
    if row["quantity"] == "moderator_slope":
        told = f"{name} slope"
    elif row["quantity"] == "interaction":
        told = f"{name} × {told}"
    return textwrap.fill(told, LABEL_CHARACTERS)


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
WIDTH, TITLE_CHARACTERS = 8.8, 60
LOGISTIC_SD = float(np.pi / np.sqrt(3))  # the unit of a binary outcome's predictor
NUMBERS_WIDE = 0.5  # of the columns with numbers, where the panel with the intervals is 1
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
                "patients": len(design.y),
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
    page = Page(fit, WIDTH, [_height(fit, shown)], _contrast_caption(fit, interval, at))
    with mpl.rc_context(STYLE):
        first = _forests(
            page.strips[0], fit, shown, interval, "second arm better", "first arm better"
        )
        page.legend(first)
    return page.figure


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
    page = Page(fit, WIDTH, [_height(fit, contrasts), _height(fit, slopes)], told)
    with mpl.rc_context(STYLE):
        first = _forests(
            page.strips[0],
            fit,
            contrasts,
            interval,
            "second arm better",
            "first arm better",
        )
        _forests(
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
    return page.figure


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
    each = CONTRAST_AROUND_INCHES + CONTRAST_ROW_INCHES * len(fit.outcomes)
    return each * pairs + AXIS_INCHES


def _forests(
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
    pairs = {
        names[k, j]: (codes[k], codes[j]) for k, j in arm_pairs(len(codes)) if names[k, j] in there
    }
    share = words.level_of(interval)
    reach = 1.08 * max(0.1, np.abs(shown[["lower", "upper"]].to_numpy()).max())
    panels = strip.subplots(
        len(pairs), 2, squeeze=False, sharey="row", width_ratios=[1, NUMBERS_WIDE]
    )
    titles = _named(fit.study, pairs)
    for level, title, (panel, numbers) in zip(pairs, titles, panels, strict=True):
        rows = shown[shown["level"] == level].to_dict("records")
        _intervals(panel, rows, f"posterior mean and {share} interval")
        panel.set_xlim(-reach, reach)
        panel.tick_params(labelbottom=False)
        panel.set_title(title, loc="left", fontsize=9.5)
        _numbers(numbers, rows, share, chance, standard_unit(fit).short)
    lowest: Axes = panels[-1, 0]
    lowest.tick_params(labelbottom=True)
    scale = standard_unit(fit)
    lowest.set_xlabel(
        f"{unit}{scale.axis}\n{left}  \N{LEFTWARDS ARROW}      \N{RIGHTWARDS ARROW}  {right}"
    )
    first: Axes = panels[0, 0]
    return first


def _named(study: Study, levels: Collection[str]) -> list[str]:
    """Contrasts by the arms' labels if there is room for all of them, otherwise by their codes."""
    told = [words.level(study, level) for level in levels]
    longest = max(map(len, told))
    return [fitting(text, TITLE_CHARACTERS - longest + len(text)) for text in told]


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
    panel.set_yticks(
        range(len(rows)), [f"{row['label']} (n = {row['patients']})" for row in rows], fontsize=8.5
    )
    panel.set_ylim(len(rows) - 0.5, -0.5)  # the first outcome on top
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _numbers(panel: Axes, rows: list[dict[Any, Any]], share: str, chance: str, unit: str) -> None:
    """Columns of numbers beside the intervals."""
    panel.set_axis_off()
    columns = {0.7: f"{unit} ({share} interval)", 1.0: chance}
    for place, head in columns.items():
        panel.text(place, 1.0, head, transform=panel.transAxes, ha="right", va="bottom", fontsize=8)
    across = panel.get_yaxis_transform()
    for height, row in enumerate(rows):
        digits = max(2, interval_decimals(row["lower"], row["upper"]))
        estimate = words.estimate(row["mean"], row["lower"], row["upper"], digits)
        told = estimate, words.chance(row["prob_better"])
        for place, text in zip(columns, told, strict=True):
            panel.text(place, height, text, transform=across, ha="right", va="center", fontsize=8.5)


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
