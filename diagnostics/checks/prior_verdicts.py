"""What is said of the priors: four checks in words, with what to change in the study file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alliance.diagnostics.checks.prior_limits import TOO_TIGHT, TOO_WIDE, PriorRow, main_sources
from alliance.diagnostics.verdicts import CheckResult, Verdict
from alliance.models.design.design import Design
from alliance.models.priors import Priors

SPREAD = ("score_sd", "intercept", "residual_sd")
THERAPISTS = ("therapist_sd", "therapist_slope_sd", "therapist_arm_sd")
NAMED = 3  # priors that a recommendation names
FIRST_SHARE = 0.1  # of the variance, below which a prior is no source of too much


def prior_results(
    outcome: str,
    rows: Sequence[PriorRow],
    design: Design,
    priors: Priors,
    limits: tuple[float, float],
) -> tuple[CheckResult, ...]:
    """Checks of one outcome's priors.

    Parameters
    ----------
    outcome : str
    rows : sequence of PriorRow
    design : Design
    priors : Priors
    limits : tuple of float
        The outcome's range.

    Returns
    -------
    tuple of CheckResult
        prior_scores, prior_spread, prior_effects and, with therapist effects, prior_therapists;
        each about the row that lies furthest beyond its limit, or nearest to it.
    """
    groups: dict[str, tuple[list[PriorRow], Callable[[PriorRow, Design], str]]] = {
        "prior_scores": ([row for row in rows if row.quantity == "score"], _scores),
        "prior_spread": ([row for row in rows if row.quantity in SPREAD], _spread),
        "prior_effects": (
            [row for row in rows if row.quantity not in ("score", *SPREAD, *THERAPISTS)],
            _effect,
        ),
        "prior_therapists": ([row for row in rows if row.quantity in THERAPISTS], _therapists),
    }
    found = []
    for check, (own, words) in groups.items():
        if not own:
            continue
        worst = max(own, key=lambda row: row.excess)
        # Of the rows that are too wide, and of those too tight, the furthest; else the nearest.
        told = [
            (max(kind, key=lambda row: row.excess), len(kind) - 1)
            for word in (TOO_WIDE, TOO_TIGHT)
            if (kind := [row for row in own if row.verdict == word])
        ]
        parts = [
            words(row, design).format(low=f"{limits[0]:g}", high=f"{limits[1]:g}")
            + (f" So it is with {others} more." if others else "")
            for row, others in told or [(worst, 0)]
        ]
        by_small = worst.verdict == TOO_TIGHT
        found.append(
            CheckResult(
                check=check,
                verdict=Verdict.REVIEW if told else Verdict.PASS,
                value=worst.share_small if by_small else worst.share_large,
                review=worst.least_small if by_small else worst.most_large,
                fail=None,
                worst=f"{outcome}: {_name(worst)}",
                message=" ".join(parts),
                recommendation=" ".join(_advice(row, design, priors) for row, _ in told),
            )
        )
    return tuple(found)


def _name(row: PriorRow) -> str:
    return f"{row.quantity}[{row.level}]" if row.level else row.quantity


def _draws(share: float) -> str:
    return f"in {_percent(share)} of draws" if share else "in none of the draws"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{100 * share:.1f}%"


def _scores(row: PriorRow, design: Design) -> str:
    where = (
        "at the ends of the range, {low} and {high}"
        if design.family.discrete
        else "outside the range, {low} to {high}"
    )
    return (
        f"{_percent(row.share_large)} of simulated scores lie {where} (95% of them from "
        f"{row.lower:.3g} to {row.upper:.3g}); up to {_percent(row.most_large)} is plausible."
    )


def _spread(row: PriorRow, _design: Design) -> str:
    names = {
        "score_sd": "SD of a simulated trial's scores",
        "intercept": "mean score of an average patient",
        "residual_sd": "residual SD",
    }
    known = f"The {names[row.quantity]} is {row.lower:.3g} to {row.upper:.3g} (95%)"
    if row.verdict == TOO_TIGHT:
        much = "further from the trial's mean than" if row.quantity == "intercept" else "at least"
        return f"{known}; {_draws(row.share_small)} {much} {row.small:.3g} points."
    beyond = (
        "outside the range, {low} to {high}"
        if row.quantity == "intercept"
        else f"over {row.large:.3g}, half the range"
    )
    return f"{known}; {_draws(row.share_large)} it is {beyond}."


def _effect(row: PriorRow, design: Design) -> str:
    moved = "" if row.start != row.start else f" from {row.start:.3g} to {row.end:.3g}"
    known = f"{_name(row)}{moved}: {row.lower:.3g} to {row.upper:.3g} points (95%)"
    if row.verdict == TOO_TIGHT:
        return (
            f"{known}; {_draws(row.share_small)} it is as large as a small effect, "
            "0.2 SDs of the outcome between arms or for two SDs of a variable."
        )
    scale = "half of the scale" if design.family.discrete else "the whole scale"
    return f"{known}; {_draws(row.share_large)} more than {scale}."


def _therapists(row: PriorRow, _design: Design) -> str:
    known = f"{row.quantity} is {row.lower:.3g} to {row.upper:.3g} points (95%)"
    if row.verdict == TOO_TIGHT:
        return (
            f"{known}; {_draws(row.share_small)} as large as is usual, 5% of the "
            f"variance ({row.small:.3g} points)."
        )
    return f"{known}; {_draws(row.share_large)} more than the SD of all scores, {row.large:.3g}."


def _advice(row: PriorRow, design: Design, priors: Priors) -> str:
    """What to write into the study file."""
    tight, default = row.verdict == TOO_TIGHT, Priors()
    sources = main_sources(design, priors, row.priors)
    names = [name for name, share in sources if tight or share >= FIRST_SHARE] or list(row.priors)
    if row.quantity == "score" and any(
        each.name == "cutpoint" for each in design.family.parameters
    ):
        names.append("category_concentration")

    def moved(name: str) -> bool:
        own, usual = getattr(priors, name), getattr(default, name)
        # Little concentration spreads the categories' shares: narrower is wider there.
        return bool(own < usual if tight or name == "category_concentration" else own > usual)

    names = [name for name in names if moved(name)] or names
    told = ", ".join(
        f"{name} = {getattr(priors, name):g} (default {getattr(default, name):g})"
        for name in names[:NAMED]
    )
    raised = tight or names == ["category_concentration"]
    verb = "Raise" if raised else "Lower"
    return f"{verb} under [priors] of the study file: {told}; or say why it should be so."
