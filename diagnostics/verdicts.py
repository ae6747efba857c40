"""What a check of the convergence gate says, and where its lines are drawn for each profile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Verdict(StrEnum):
    """What a check says: fine, look at it, or do not use these draws."""

    PASS = "PASS"
    REVIEW = "REVIEW"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Threshold:
    """Limits on a number: beyond `review` a person looks, beyond `fail` the draws are not used.

    Attributes
    ----------
    review : float
        A value up to and including this one passes.
    fail : float
        A value beyond this one fails. Equal to `review` where no band lies between.
    low_is_bad : bool
        The value must be large (effective sample size, E-BFMI) rather than small.
    """

    review: float
    fail: float
    low_is_bad: bool = False

    def verdict(self, value: float) -> Verdict:
        """Verdict on one value; one that could not be computed (NaN) fails."""
        sign = -1.0 if self.low_is_bad else 1.0
        if sign * value <= sign * self.review:
            return Verdict.PASS
        return Verdict.REVIEW if sign * value <= sign * self.fail else Verdict.FAIL


class Standing(StrEnum):
    """What of the results stands though a check asks for a look; the worst last."""

    ALL = "the results stand; look at what is named"
    MEANS = "means and contrasts stand; predictions of single patients do not"
    ESTIMATES = "estimates stand; their intervals do not"
    CONTRASTS = "contrasts at the mean of the alliance stand; the common slope does not"
    NOTHING = "do not use"


# By check, where it asks for a look; what is not here lets all results stand. Means of bounded or
# skewed scores are estimated well by a family of another shape, and what is wrong is said of single
# scores (the advice of each check says so). A spread that the model has not makes intervals wrong.
STANDING = {
    "predictive_distribution": Standing.MEANS,
    "predictive_range": Standing.MEANS,
    "loo_pit": Standing.MEANS,
    "predictive_arms": Standing.ESTIMATES,
    "predictive_therapists": Standing.ESTIMATES,
    "predictive_interaction": Standing.CONTRASTS,
}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes
    ----------
    check : str
        Name of the check.
    verdict : Verdict
        PASS, REVIEW or FAIL.
    value : float or None
        The number that was judged; None where there is none.
    review, fail : float or None
        The limits it was held against; None where the check has no numeric limit.
    worst : str
        Where the value comes from: the outcome, and the quantity or chain.
    message : str
        What was found, in words.
    recommendation : str
        What to do about it; empty where the check passed.
    """

    check: str
    verdict: Verdict
    value: float | None
    review: float | None
    fail: float | None
    worst: str
    message: str
    recommendation: str

    @property
    def standing(self) -> Standing | None:
        """What of the results stands; None where the check passed."""
        if self.verdict is Verdict.PASS:
            return None
        if self.verdict is Verdict.FAIL:
            return Standing.NOTHING
        return STANDING.get(self.check, Standing.ALL)


def standing_of(results: Iterable[CheckResult]) -> tuple[Standing, ...]:
    """What of the results stands after several checks: all that limits it, the worst first.

    Parameters
    ----------
    results : iterable of CheckResult

    Returns
    -------
    tuple of Standing
        Empty where all passed. Where something limits the results, not that all of them stand;
        where nothing may be used, that alone.
    """
    found = {result.standing for result in results} - {None}
    if Standing.NOTHING in found:
        return (Standing.NOTHING,)
    limits = [each for each in reversed(Standing) if each in found and each is not Standing.ALL]
    return tuple(limits) or ((Standing.ALL,) if found else ())


def judged(
    check: str,
    value: float | None,
    threshold: Threshold,
    *,
    worst: str,
    message: str,
    recommendation: str,
) -> CheckResult:
    """Judge a number by its threshold; one that does not exist (None, NaN) fails."""
    number = None if value is None or value != value else float(value)
    verdict = Verdict.FAIL if number is None else threshold.verdict(number)
    return CheckResult(
        check=check,
        verdict=verdict,
        value=number,
        review=threshold.review,
        fail=threshold.fail,
        worst=worst,
        message=message,
        recommendation="" if verdict is Verdict.PASS else recommendation,
    )


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """The limits of one profile.

    Attributes
    ----------
    r_hat : Threshold
        Rank-normalised split R-hat, largest over all quantities.
    ess_bulk, ess_tail : Threshold
        Effective number of draws over all chains, smallest over all quantities.
    mcse : Threshold
        Monte Carlo standard error of the posterior mean as a share of the posterior SD.
    divergences, tree_depth : Threshold
        Share of draws (0 to 1) that diverged, or that used the deepest tree allowed.
    ebfmi : Threshold
        Energy Bayesian fraction of missing information, smallest over chains.
    """

    r_hat: Threshold
    ess_bulk: Threshold
    ess_tail: Threshold
    mcse: Threshold
    divergences: Threshold
    tree_depth: Threshold
    ebfmi: Threshold


# R-hat over 1.01, and fewer than 400 effective draws (100 for each of four chains), are where
# Vehtari et al. 2021 (doi:10.1214/20-BA1221) no longer trust the draws: FAIL. R-hat has no band
# before it, since 40 quantities of clean, mildly autocorrelated draws already reach 1.008.
# Nor has ESS: 400 effective draws know a limit of the 95% interval of a normal posterior to
# sqrt(.025 * .975) / phi(1.96) / sqrt(400) = 13% of its SD; who quotes more takes `publication`.
_ESS = Threshold(review=400, fail=400, low_is_bad=True)

_STANDARD = GateThresholds(
    r_hat=Threshold(review=1.01, fail=1.01),
    ess_bulk=_ESS,
    ess_tail=_ESS,
    # 5% and 10% of the posterior SD are what 400 and 100 effective draws give (1 / sqrt(ESS)). The
    # mean has its own effective sample size, smaller than the ranks' where tails are heavy.
    mcse=Threshold(review=0.05, fail=0.10),
    # A divergence marks a region that the sampler could not enter (Betancourt 2016,
    # arXiv:1604.00695, and 2017, arXiv:1701.02434). Our choice: up to 4 in 4,000 are tolerated as
    # isolated, over 40 in 4,000 there is such a region.
    divergences=Threshold(review=0.001, fail=0.01),
    # A saturated tree wastes effort rather than biasing; our choice of the same shares, because
    # draws that turn back too early are correlated ones.
    tree_depth=Threshold(review=0.001, fail=0.01),
    # Betancourt 2016, arXiv:1604.00695: under 0.2 the energy is explored too slowly for the tails
    # to be trusted; 0.3 is where ArviZ's own `diagnose` begins to warn.
    ebfmi=Threshold(review=0.3, fail=0.2, low_is_bad=True),
)

# Half the chains of `standard`: half its effective draws (again 100 for each chain). R-hat from two
# chains is noisier: about 1 in 100 clean fits of 40 mildly autocorrelated quantities (2 x 1,000
# draws) crosses 1.01 by chance, which therefore asks for a look and 1.02 fails.
_CI_ESS = Threshold(review=200, fail=200, low_is_bad=True)
_CI = replace(
    _STANDARD,
    r_hat=Threshold(review=1.01, fail=1.02),
    ess_bulk=_CI_ESS,
    ess_tail=_CI_ESS,
)

# What `standard` asks a person to look at fails here, and fewer than 1,000 effective draws do
# (limits of the interval known to 8% of the SD). A review band stands before it: 2,000 effective
# draws (limits to 6%, means to 2%) and no divergence at all.
_PUBLICATION_ESS = Threshold(review=2000, fail=1000, low_is_bad=True)
_PUBLICATION = GateThresholds(
    r_hat=Threshold(review=1.01, fail=1.01),
    ess_bulk=_PUBLICATION_ESS,
    ess_tail=_PUBLICATION_ESS,
    mcse=Threshold(review=0.03, fail=0.05),
    divergences=Threshold(review=0.0, fail=0.001),
    tree_depth=Threshold(review=0.0, fail=0.001),
    ebfmi=Threshold(review=0.3, fail=0.3, low_is_bad=True),
)

THRESHOLDS: dict[str, GateThresholds] = {
    "ci": _CI,
    "standard": _STANDARD,
    "publication": _PUBLICATION,
}
"""Limits by the name of the sampling profile."""
