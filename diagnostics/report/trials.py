"""The section on several trials of one model: each of them, the average and a new one."""

from __future__ import annotations

from alliance.diagnostics import words
from alliance.diagnostics.figures.trials_figure import trials_figure
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import Listing, Part, Picture, Section
from alliance.diagnostics.sheets.trials import legend, sheets
from alliance.inference.digits import interval_decimals
from alliance.inference.trials.asked import several_trials

DRAWN = ("arm_contrast", "interaction")


def trials(material: Material) -> Section:
    """Tables of every outcome, and a forest plot of its contrasts and interactions.

    Parameters
    ----------
    material : Material
        Of a run of several trials.
    """
    fit = material.fit
    found = several_trials(fit, interval=material.interval)
    parts: list[Part] = [*sheets(fit, found, interval=material.interval)]
    for name, each in found.each.items():
        drawn = each[each["quantity"].isin(DRAWN)]
        told = [
            f"{row['trial']}, "
            f"{words.quantity_and_level(fit.study, row['quantity'], row['level'])}: "
            + words.estimate(
                row["mean"], row["lower"], row["upper"],
                max(2, interval_decimals(row["lower"], row["upper"])),
            )
            for row in drawn.to_dict("records")
        ]  # fmt: skip
        parts.append(
            Picture(
                f"trials_{name}",
                trials_figure(fit, drawn, interval=material.interval),
                f"{words.label(fit.study, name)}: every trial, the average and a new one",
                f"Forest plot. {'; '.join(told)}.",
            )
        )
    return Section("trials", "Several trials", [*parts, Listing(legend(fit))])
