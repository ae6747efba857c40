"""Figure of a multiverse: the specification curve of each quantity, with the choices below it."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alliance.diagnostics.figures.figure_page import COLOURS, STYLE, Page
from alliance.diagnostics.multiverse.table import USABLE, compared_places
from alliance.inference.many_fits.multiverse import Multiverse

LABEL_INCHES, LEAST_INCHES, EACH_INCHES = 1.6, 8.0, 5.0
CURVE_INCHES, ROW_INCHES = 1.9, 0.155
USED, UNUSED = COLOURS[0], COLOURS[5]


def multiverse_figure(
    multiverse: Multiverse,
    curves: Sequence[pd.DataFrame],
    interval: float,
    at: float | None = None,
) -> Figure:
    """Draw a strip for each quantity, a column for each outcome: intervals, and what was chosen.

    Parameters
    ----------
    multiverse : Multiverse
    curves : sequence of pandas.DataFrame
        As from `diagnostics.multiverse.table.curves_of`.
    interval : float
        Probability of the intervals.
    at : float, optional
        The alliance that was named for the contrasts of arms.

    Returns
    -------
    matplotlib.figure.Figure
    """
    options = _options(multiverse, curves)
    strips: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for curve in curves:
        strips.setdefault((curve["quantity"].iloc[0], curve["level"].iloc[0]), []).append(curve)
    columns = max(map(len, strips.values()))
    rows = sum(len(values) for values in options.values()) + len(options)
    below = ROW_INCHES * rows + 0.2
    width = LABEL_INCHES + max(LEAST_INCHES, EACH_INCHES * columns)
    together = pd.concat([curve["at"] for curve in curves])
    places = compared_places(together, multiverse.study.moderator.name, at)
    caption = f"{_caption(interval)} {places}"
    page = Page(multiverse, width, [CURVE_INCHES + below] * len(strips), caption)
    with mpl.rc_context(STYLE):
        for strip, own in zip(page.strips, strips.values(), strict=True):
            panels = strip.subplots(
                2, columns, sharex="col", height_ratios=[CURVE_INCHES, below], squeeze=False
            )
            for k, curve in enumerate(own):
                _curve(panels[0, k], multiverse, curve)
                _choices(panels[1, k], curve, options, named=k == 0)
            for panel in panels[:, len(own) :].flat:
                panel.set_visible(False)
    page.legend(page.strips[0].axes[0])
    return page.figure


def _options(multiverse: Multiverse, curves: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    together = pd.concat(curves)
    return {
        choice: [str(value) for value in sorted(together[choice].unique(), key=_order)]
        for choice in multiverse.varied
    }


def _order(value: object) -> tuple[float, str]:
    return (value, "") if isinstance(value, float) else (0.0, str(value))


def _curve(panel: Axes, multiverse: Multiverse, curve: pd.DataFrame) -> None:
    first = curve.iloc[0]
    described = multiverse.study.outcomes[first["outcome"]]
    name = first["quantity"].replace("_", " ") + (f", {first['level']}" if first["level"] else "")
    usable = curve["verdict"].isin(USABLE).to_numpy()
    places = np.arange(len(curve))
    for kept, colour, marker, label in (
        (usable, USED, "o", "draws passed the gate"),
        (~usable, UNUSED, "x", "draws failed the gate: do not use"),
    ):
        own = curve[kept]
        panel.vlines(places[kept], own["lower"], own["upper"], color=colour, alpha=0.45, lw=1.1)
        panel.plot(places[kept], own["mean"], marker, color=colour, ms=3, label=label)
    panel.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
    panel.set_title(f"{described.label}: {name}", loc="left", fontsize=9.5)
    panel.set_ylabel("points" if first["quantity"] == "arm_contrast" else "", fontsize=8.5)
    panel.tick_params(labelbottom=False, bottom=False)


def _choices(
    panel: Axes, curve: pd.DataFrame, options: dict[str, list[str]], *, named: bool
) -> None:
    labels, height = [], 0.0
    for choice, values in options.items():
        labels.append((height, choice.replace("_", " "), "bold"))
        height += 1
        for value in values:
            chosen = curve[choice].astype(str) == value
            panel.plot(
                np.flatnonzero(chosen), np.full(int(chosen.sum()), height), "|", color="0.15", ms=5
            )
            labels.append((height, value, "normal"))
            height += 1
    texts = [text if named else "" for _, text, _ in labels]
    panel.set_yticks([at for at, _, _ in labels], texts, fontsize=7)
    for tick, (_, _, weight) in zip(panel.get_yticklabels(), labels, strict=True):
        tick.set_fontweight(weight)
    panel.set_ylim(height - 0.3, -0.7)
    panel.tick_params(left=False, bottom=False, labelbottom=False)
    panel.spines[["left", "bottom"]].set_visible(False)
    panel.set_xlim(-1, len(curve))


def _caption(interval: float) -> str:
    return (
        "Each column is one analysis: its posterior mean with the "
        f"{100 * interval:g}% interval, and marks below that say what was chosen. Slopes and "
        "interactions are for one point of the alliance. The analyses share the patients, so that "
        "their agreement is no further evidence; what moves along with a choice hangs on it."
    )
