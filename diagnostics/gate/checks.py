"""The convergence gate's checks on the draws: complete, moving, agreeing, enough of them.

The checks of the convergence gate on what the sampler recorded: divergences, trees, energy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from alliance.diagnostics.gate.gate_draws import (
    MINIMUM_DRAWS,
    GateDraws,
    by_chain_and_draw,
    sample_labels,
)
from alliance.diagnostics.verdicts import CheckResult, Threshold, Verdict, judged

AGREEMENT = 1.01
"""R-hat over which chains disagree (Vehtari et al. 2021, doi:10.1214/20-BA1221)."""

INTERVAL = (0.025, 0.975)
"""Limits of the 95% intervals that the summaries report."""

_WORTHWHILE = 10  # more draws are advised up to this many times as many
_NAMED = 3  # quantities that a message names

LONGER_TUNING = (
    "Fit again with twice as many tuning draws (`tune`) and a higher target_accept "
    "(`target_accept=0.95`)"
)
SIMPLER = (
    'try a simpler therapist structure ([model] therapist = "intercept" in the study file) '
    "or tighter priors on the therapist SDs"
)


def check_completeness(
    found: GateDraws, chains: int | None = None, draws: int | None = None
) -> CheckResult:
    """All chains and draws that were asked for are there, and finite.

    The value is the share of the draws asked for that are missing or not finite.
    """
    present = len(found.chains)
    faults = []
    places = []
    if chains is not None and present < chains:
        absent = [str(label) for label in range(chains) if str(label) not in found.chains]
        fault = f"{present} of {chains} chains are there"
        if len(absent) == chains - present:
            places.append(_chains(absent))
            fault += f", missing: {_chains(absent)}"
        faults.append(fault)
    if draws is not None and found.draws < draws:
        faults.append(f"each chain has {found.draws:,} of {draws:,} draws")
    elif present == 0 or found.draws < MINIMUM_DRAWS:
        faults.append(f"{present} chains of {found.draws} draws are too few to judge")
    for bad in found.bad:
        places.append(f"chain {bad.chain}")
        faults.append(
            f"chain {bad.chain} has {bad.number:,} of {found.draws:,} draws that are not finite, "
            f"the first of them draw {bad.first}, in {_listed(bad.quantities)}"
        )
    asked = max(chains or 1, present) * max(draws or 1, found.draws)
    usable = present * found.draws - sum(bad.number for bad in found.bad)
    return CheckResult(
        check="completeness",
        verdict=Verdict.FAIL if faults else Verdict.PASS,
        value=1.0 - usable / asked,
        review=0.0,
        fail=0.0,
        worst=": ".join([found.outcome, *places[:1]]),
        message=_sentence("; ".join(faults) or f"{present} x {found.draws:,} draws, all finite"),
        recommendation=(
            "Run the fit again to its end; an interrupted run cannot be completed. If values are "
            "not finite a second time, tighten the priors of the quantities named."
            if faults
            else ""
        ),
    )


def check_variation(found: GateDraws) -> CheckResult:
    """Every quantity moves in every chain; the value counts the quantities that do not."""
    stuck = tuple(dict.fromkeys(name for name, _ in found.stuck))
    facts = []
    verdict, worst, recommendation = Verdict.PASS, found.outcome, ""
    if not found.complete:
        verdict, recommendation = Verdict.FAIL, "See completeness."
        facts.append("not computed, because draws are missing or not finite")
    elif found.stuck:
        chains = tuple(dict.fromkeys(chain for _, chain in found.stuck))
        verdict, worst = Verdict.FAIL, f"{found.outcome}: {stuck[0]}, chain {found.stuck[0][1]}"
        facts.append(f"{_chains(chains)} never moved from one value, in {_listed(stuck)}")
        recommendation = (
            f"{LONGER_TUNING}, and with another seed (`seed`); if a chain sticks again, {SIMPLER}."
        )
    elif not found.labels:
        verdict = Verdict.FAIL
        facts.append("no quantity moves in any chain")
        recommendation = "Fit again with another seed (`seed`) and longer tuning (`tune`)."
    elif found.constant:
        verdict, worst = Verdict.REVIEW, f"{found.outcome}: {found.constant[0]}"
        recommendation = (
            "Leave out of the results what the model fixes, such as an absent coefficient. "
            "Anything else that is constant is not part of the model's likelihood or priors."
        )
    if found.constant:
        facts.append(f"constant over all draws of all chains: {_listed(found.constant)}")
    return CheckResult(
        check="variation",
        verdict=verdict,
        value=float(len(stuck) + len(found.constant)) if found.complete else None,
        review=None,
        fail=None,
        worst=worst,
        message=_sentence(
            "; ".join(facts) or f"Every chain moves in each of {_count(found.elements)}"
        ),
        recommendation=recommendation,
    )


def check_r_hat(found: GateDraws, threshold: Threshold) -> CheckResult:
    """Chains agree: rank-normalised split R-hat, largest over all quantities.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, doi:10.1214/20-BA1221.
    """
    if len(found.chains) == 1:
        return judged(
            "r_hat",
            None,
            threshold,
            worst=f"{found.outcome}: chain {found.chains[0]}",
            message="One chain only: whether chains agree cannot be judged.",
            recommendation=(
                'Sample four chains (`profile="standard"`); two are the least that can be compared.'
            ),
        )
    if not found.complete or not found.labels:
        return _not_computed("r_hat", found, threshold)
    values = found.ranks.r_hat
    worst = _worst(values, threshold)
    message = f"The largest R-hat is {values[worst]:.4f}, of {found.labels[worst]}"
    if threshold.verdict(values[worst]) is not Verdict.PASS:
        message += f": {_odd_chain(found.values[worst], found.chains)}"
    return judged(
        "r_hat",
        values[worst],
        threshold,
        worst=f"{found.outcome}: {found.labels[worst]}",
        message=_finish(message, found, values, threshold, f"{threshold.review:g}"),
        recommendation=f"{LONGER_TUNING}; if the chains still disagree, {SIMPLER}.",
    )


def check_ess(found: GateDraws, threshold: Threshold, kind: str) -> CheckResult:
    """Enough effective draws over all chains, smallest over all quantities.

    Parameters
    ----------
    found : GateDraws
        The draws.
    threshold : Threshold
        Limits on the effective sample size.
    kind : {"bulk", "tail"}
        Of the centre of the distribution, or of its 5% and 95% quantiles (the smaller one).

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, doi:10.1214/20-BA1221.
    """
    check = f"ess_{kind}"
    if not found.complete or not found.labels:
        return _not_computed(check, found, threshold)
    values = found.ranks.ess_bulk if kind == "bulk" else found.ranks.ess_tail
    worst = _worst(values, threshold)
    total = len(found.chains) * found.draws
    message = (
        f"The smallest {kind} effective sample size is {values[worst]:,.0f} of {total:,} draws, "
        f"of {found.labels[worst]}"
    )
    return judged(
        check,
        values[worst],
        threshold,
        worst=f"{found.outcome}: {found.labels[worst]}",
        message=_finish(message, found, values, threshold, f"{threshold.review:,.0f}"),
        recommendation=_more_draws(found, worst, threshold.review / values[worst]),
    )


def check_mcse(found: GateDraws, threshold: Threshold) -> CheckResult:
    """Means are precise: Monte Carlo standard error over posterior SD, largest over quantities.

    The message also says how precise the limits of the worst quantity's 95% interval are.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, doi:10.1214/20-BA1221.
    """
    if not found.complete or not found.labels:
        return _not_computed("mcse", found, threshold)
    centred = found.values - found.values.mean(axis=(1, 2), keepdims=True)
    # Standardised, because ArviZ takes draws within 1e-15 of each other for constant; by the
    # extreme first, so that no square over- or underflows.
    scaled = centred / np.abs(centred).max(axis=(1, 2), keepdims=True)
    scaled /= scaled.std(axis=(1, 2), ddof=1, keepdims=True)
    values = array_stats.mcse(scaled)
    worst = _worst(values, threshold)
    limits = [array_stats.mcse(scaled[worst], method="quantile", prob=prob) for prob in INTERVAL]
    message = (
        f"The Monte Carlo standard error of the mean is {values[worst]:.1%} of the posterior SD at "
        f"most, of {found.labels[worst]} (limits of its 95% interval: {limits[0]:.1%} and "
        f"{limits[1]:.1%})"
    )
    return judged(
        "mcse",
        values[worst],
        threshold,
        worst=f"{found.outcome}: {found.labels[worst]}",
        message=_finish(message, found, values, threshold, f"{threshold.review:.0%}"),
        recommendation=_more_draws(found, worst, (values[worst] / threshold.review) ** 2),
    )


def _not_computed(check: str, found: GateDraws, threshold: Threshold) -> CheckResult:
    """FAIL of a check that has nothing to work on."""
    reason = "variation" if found.complete else "completeness"
    because = "no quantity varies" if found.complete else "draws are missing or not finite"
    return judged(
        check,
        None,
        threshold,
        worst=found.outcome,
        message=f"Not computed, because {because}.",
        recommendation=f"See {reason}.",
    )


def _worst(values: NDArray[np.float64], threshold: Threshold) -> int:
    """Position of the worst value; one that could not be computed is worst of all."""
    badness = -values if threshold.low_is_bad else values
    return int(np.argmax(np.where(np.isnan(values), np.inf, badness)))


def _finish(
    message: str,
    found: GateDraws,
    values: NDArray[np.float64],
    threshold: Threshold,
    limit: str,
) -> str:
    """Message with the number of quantities beyond the first limit, and what was left out."""
    beyond = sum(threshold.verdict(value) is not Verdict.PASS for value in values)
    if beyond:
        kind = "under" if threshold.low_is_bad else "over"
        message += f"; {beyond:,} of {_count(len(found.labels))} {kind} {limit}"
    else:
        message += f"; {_count(len(found.labels))} judged"
    return " ".join([_sentence(message), *found.screened])


def _more_draws(found: GateDraws, worst: int, factor: float) -> str:
    """Advice on how many draws would do, or on another way where that is too many."""
    if not factor <= _WORTHWHILE:
        return (
            f"{LONGER_TUNING}; more draws alone will not mend so strong an autocorrelation. "
            f"If it stays, {SIMPLER}."
        )
    if len(found.chains) > 1 and not found.ranks.r_hat[worst] <= AGREEMENT:
        return "See r_hat first: while the chains disagree, more draws do not help."
    needed = int(np.ceil(found.draws * factor / 500) * 500)
    return (
        f"Draw more: about {needed:,} draws in each chain instead of {found.draws:,} "
        f"(`draws={needed}`)."
    )


def _odd_chain(draws: NDArray[np.float64], chains: Sequence[str]) -> str:
    """Which chain lies apart from the others, and by how much; `draws` is (chain, draw)."""
    still = [label for label, chain in zip(chains, draws, strict=True) if np.ptp(chain) == 0]
    if still:
        return f"{_chains(still)} never moved"
    spread = draws.std(axis=1)
    described = []
    for position, label in enumerate(chains):
        others = np.delete(draws, position, axis=0)
        shift = abs(draws[position].mean() - others.mean()) / others.std()
        ratio = spread[position] / np.delete(spread, position).mean()
        described.append((shift + abs(np.log(ratio)), label, shift, ratio))
    _, label, shift, ratio = max(described)
    return (
        f"chain {label} differs most from the others (mean {shift:.2f} SD away, "
        f"SD {ratio:.2f} times theirs)"
    )


def _chains(labels: Sequence[str]) -> str:
    return f"{'chain' if len(labels) == 1 else 'chains'} {', '.join(labels)}"


def _count(number: int) -> str:
    return f"{number:,} {'quantity' if number == 1 else 'quantities'}"


def _listed(labels: Sequence[str]) -> str:
    """First names of a list, and how many more there are."""
    named = ", ".join(labels[:_NAMED])
    return f"{named} and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else named


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


DIVERGENCE_NAMES = ("diverging",)
"""PyMC, nutpie and NumPyro agree on this one."""

TREE_DEPTH_NAMES = ("reached_max_treedepth", "maxdepth_reached", "reached_max_tree_depth")
"""PyMC, nutpie, and NumPyro through ArviZ, in this order."""

ENERGY_NAME = "energy"


def check_divergences(
    statistics: xr.Dataset | None, outcome: str, threshold: Threshold
) -> CheckResult:
    """Share of draws whose trajectory diverged (Betancourt 2016, arXiv:1604.00695)."""
    return _check_share(
        "divergences",
        statistics,
        outcome,
        threshold,
        names=DIVERGENCE_NAMES,
        happened="diverged",
        recommendation=(
            "Fit again with a higher target_accept (`target_accept=0.95`, then 0.99); if "
            f"divergences stay, {SIMPLER}."
        ),
    )


def check_tree_depth(
    statistics: xr.Dataset | None, outcome: str, threshold: Threshold
) -> CheckResult:
    """Share of draws that used the deepest trajectory tree allowed, under any sampler's name."""
    return _check_share(
        "tree_depth",
        statistics,
        outcome,
        threshold,
        names=TREE_DEPTH_NAMES,
        happened="reached the maximum tree depth",
        recommendation=(
            "Fit again with twice as many tuning draws (`tune`), or with a max_treedepth larger by "
            "two (`max_treedepth`); "
            f"if trees stay at the maximum, {SIMPLER}."
        ),
    )


def check_ebfmi(statistics: xr.Dataset | None, outcome: str, threshold: Threshold) -> CheckResult:
    """Energy Bayesian fraction of missing information, smallest over chains.

    References
    ----------
    Betancourt 2016, arXiv:1604.00695.
    """
    if statistics is None or ENERGY_NAME not in statistics:
        return _not_available("ebfmi", outcome, threshold)
    energy = by_chain_and_draw(statistics[ENERGY_NAME]).max(axis=2)
    chains = sample_labels(statistics, "chain")
    unusable = [
        label
        for label, row in zip(chains, energy, strict=True)
        if row.size < 2 or not np.isfinite(row).all() or np.ptp(row) == 0
    ]
    if unusable or not chains:
        return judged(
            "ebfmi",
            None,
            threshold,
            worst=": ".join([outcome, *(f"chain {label}" for label in unusable[:1])]),
            message=(
                "Not computed, because the energy is missing, not finite or constant "
                f"(chains: {', '.join(unusable) or 'none at all'})."
            ),
            recommendation="See completeness and variation; then run the fit again.",
        )
    values = array_stats.bfmi(energy)
    worst = int(np.argmin(values))
    return judged(
        "ebfmi",
        values[worst],
        threshold,
        worst=f"{outcome}: chain {chains[worst]}",
        message=(
            f"The smallest E-BFMI is {values[worst]:.2f}, of chain {chains[worst]}; "
            f"{int(np.sum(values < threshold.review))} of {len(chains)} chains are under "
            f"{threshold.review:g}."
        ),
        recommendation=(
            f"Fit again with twice as many tuning draws (`tune`); if it stays low, {SIMPLER}."
        ),
    )


def _check_share(
    check: str,
    statistics: xr.Dataset | None,
    outcome: str,
    threshold: Threshold,
    *,
    names: tuple[str, ...],
    happened: str,
    recommendation: str,
) -> CheckResult:
    """Share of draws of which any of the named statistics is true."""
    recorded = [name for name in names if statistics is not None and name in statistics]
    if statistics is None or not recorded:
        return _not_available(check, outcome, threshold)
    flags = np.concatenate([by_chain_and_draw(statistics[name]) for name in recorded], axis=2)
    # Draws that an interrupted run never made are NaN here: completeness reports them.
    made = np.isfinite(flags).all(axis=2)
    counts: NDArray[np.int_] = ((flags > 0).any(axis=2) & made).sum(axis=1)
    total, number = int(made.sum()), int(counts.sum())
    worst = int(np.argmax(counts)) if counts.size else 0
    place, where = outcome, ""
    if number:
        label = sample_labels(statistics, "chain")[worst]
        place = f"{outcome}: chain {label}"
        where = f", {counts[worst]:,} of them in chain {label}"
    return judged(
        check,
        number / total if total else None,
        threshold,
        worst=place,
        message=f"{number:,} of {total:,} draws ({number / max(total, 1):.2%}) {happened}{where}.",
        recommendation=recommendation,
    )


def _not_available(check: str, outcome: str, threshold: Threshold) -> CheckResult:
    """PASS of a check that this sampler gives no material for, said so in the message."""
    return CheckResult(
        check=check,
        verdict=Verdict.PASS,
        value=None,
        review=threshold.review,
        fail=threshold.fail,
        worst=outcome,
        message="Not available from this sampler.",
        recommendation="",
    )
