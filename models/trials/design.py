"""Several trials in one model: whose patients are whose, and which coefficients they share.

A one-stage meta-analysis of individual patients (Debray et al. 2015, doi:10.1002/jrsm.1160). Trial
t has an intercept, a baseline slope and slopes of covariates of its own. Arm effects, the
alliance's slope and its differences between arms are those of an average trial and the trial's own
deviations from them, normal with one SD for each kind, or none. The alliance is centred at each
trial's own mean: its slopes compare patients of one trial, where differences between trials, and
what goes with these, do not reach them. How arm effects go with the trials' mean alliance, the
interaction across trials, is a coefficient by itself (Riley et al. 2020, doi:10.1002/sim.8516).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.data_prep.moments import Moments
from alliance.data_prep.tables.cells import natural_key
from alliance.models.design.design import Design
from alliance.models.design.encoding import Kind
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LEVEL = 5.0
"""How many times as wide a trial's intercept has its prior as that of a single trial. Wide, so that
the level of a trial tells nothing of arms that it does not have."""

SPREADS: Mapping[Kind, str] = {
    "arm": "trial_arm_sd",
    "moderator": "trial_slope_sd",
    "interaction": "trial_interaction_sd",
}
"""By kind of coefficient that trials share, the SD between trials; names of their priors too."""

FEWEST = 2  # trials that anything can vary between
SAME = 1e-9  # SDs of the alliance within which trials have one mean


@dataclass(frozen=True, eq=False)
class TrialsDesign:
    """One outcome of several trials.

    Attributes
    ----------
    pooled : Design
        Of all patients, from cross-products, with every arm having the moderator.
    trials : tuple of str
        The T trials with analysed patients, in natural order.
    trial_of : ndarray of int, shape (J,)
        Position in `trials` of each therapist's; the first, of those without analysed patients.
    varying : bool
        Whether what trials share varies between them.
    residual_by_trial : bool
    """

    pooled: Design
    trials: tuple[str, ...]
    trial_of: Index
    varying: bool
    residual_by_trial: bool

    @property
    def outcome(self) -> str:
        """The outcome's name."""
        return self.pooled.outcome

    @property
    def number(self) -> int:
        """How many trials there are."""
        return len(self.trials)

    @cached_property
    def therapists_of(self) -> tuple[Index, ...]:
        """Positions of each trial's therapists among those of all."""
        return tuple(np.flatnonzero(self.trial_of == t) for t in range(self.number))

    @cached_property
    def centres(self) -> Array:
        """Mean alliance of each trial on the pooled standardised scale, shape (T,)."""
        if not self.pooled.has_moderator:
            return np.zeros(self.number)
        column = self.pooled.coefficients.index("moderator")
        sums = self.pooled.moments.cross_products[:, 0, column]
        totals = np.array([sums[own].sum() for own in self.therapists_of])
        return np.asarray(totals / self.patients)

    @cached_property
    def patients(self) -> Index:
        """Analysed patients of each trial, shape (T,)."""
        count = self.pooled.moments.count
        return np.array([count[own].sum() for own in self.therapists_of], dtype=np.int64)

    @cached_property
    def designs(self) -> tuple[Design, ...]:
        """Each trial's own design: its therapists, and the alliance around its own mean."""
        return tuple(map(self._own, range(self.number)))

    def _own(self, t: int) -> Design:
        design, centre = self.pooled, self.centres[t]
        scaling, own = design.scaling, self.therapists_of[t]
        change = np.eye(len(design.coefficients) + 1)
        if design.has_moderator:
            places = design.encoding.places
            change[0, places("moderator")[0]] = -centre
            for column, arm in zip(places("interaction"), places("arm"), strict=False):
                change[arm, column] = -centre
        mean, sd = scaling.moderator
        products = change.T @ design.moments.cross_products[own] @ change
        moved = replace(scaling, moderator=(mean + sd * float(centre), sd))
        return replace(
            design,
            encoding=replace(design.encoding, scaling=moved),
            therapists=tuple(design.therapists[j] for j in own),
            given=(Moments(products, design.moments.count[own].copy()),),
        )

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the p coefficients that each trial has."""
        return tuple(self.pooled.coefficients[k] for k in self.pooled.present)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """What each of these is."""
        return tuple(self.pooled.encoding.terms[k].kind for k in self.pooled.present)

    @cached_property
    def shared(self) -> list[int]:
        """Positions among `coefficients` of those that trials share, m of them."""
        return [k for k, kind in enumerate(self.kinds) if kind in SPREADS]

    @property
    def spreads(self) -> tuple[str, ...]:
        """Names of the SDs between trials."""
        if not self.varying:
            return ()
        return tuple(dict.fromkeys(SPREADS[self.kinds[k]] for k in self.shared))

    @cached_property
    def across(self) -> bool:
        """Whether there is an interaction across trials: they differ in their mean alliance."""
        differ = float(np.ptp(self.centres)) > SAME
        return differ and self.pooled.encoding.interaction

    @cached_property
    def maps(self) -> Array:
        """What each trial's coefficients are of the means, shape (T, p, m or m + K - 1).

        The last columns are of the interaction across trials, in SDs of the alliance.
        """
        p, m = len(self.coefficients), len(self.shared)
        arms = [k for k, kind in enumerate(self.kinds) if kind == "arm"]
        found = np.zeros((self.number, p, m + len(arms) * self.across))
        found[:, self.shared, range(m)] = 1.0
        if self.across:
            for column, k in enumerate(arms):
                found[:, k, m + column] = self.centres
        return found

    def means_prior(self, priors: Priors) -> Array:
        """Prior SDs of the means: of what trials share, then of the interaction across them."""
        own = self.pooled.prior_sd(priors)[self.pooled.present][self.shared]
        arms = self.kinds.count("arm") * self.across
        return np.append(own, np.full(arms, priors.interaction))

    def own_prior(self, priors: Priors) -> Array:
        """Prior SDs of what each trial has for itself, shape (p,); zero where trials share."""
        found = self.pooled.prior_sd(priors)[self.pooled.present]
        found[self.shared] = 0.0
        return np.where([kind == "intercept" for kind in self.kinds], LEVEL * found, found)

    def without(self, trial: int) -> TrialsDesign:
        """The design without one trial, on the same scale."""
        gone = self.therapists_of[trial]
        kept = np.setdiff1d(np.arange(len(self.trial_of)), gone)
        moments = self.pooled.moments
        pooled = replace(
            self.pooled,
            therapists=tuple(self.pooled.therapists[j] for j in kept),
            given=(Moments(moments.cross_products[kept].copy(), moments.count[kept].copy()),),
        )
        trial_of = self.trial_of[kept]
        return TrialsDesign(
            pooled,
            tuple(name for t, name in enumerate(self.trials) if t != trial),
            trial_of - (trial_of > trial),
            self.varying,
            self.residual_by_trial,
        )


def trials_design(pooled: Design, trials: Mapping[str, str], spec: ModelSpec) -> TrialsDesign:
    """Which trial every therapist of a design is of.

    Parameters
    ----------
    pooled : Design
        From `models.design.design.moments_design`.
    trials : mapping of str to str
        By therapist.
    spec : ModelSpec
        With several trials.

    Raises
    ------
    InputError
        If the outcome has analysed patients of one trial only.
    """
    count = pooled.moments.count
    own = [trials[name] for name in pooled.therapists]
    seen = {trial for trial, n in zip(own, count, strict=True) if n}
    names: Sequence[str] = sorted(seen, key=natural_key)
    if len(names) < FEWEST:
        raise InputError(
            f"{pooled.outcome} has analysed patients of one trial only, {', '.join(names)}.",
            'Leave the outcome out, `outcome`, or set `several_trials="no"`.',
        )
    place = {name: t for t, name in enumerate(names)}
    trial_of = np.array([place.get(trial, 0) for trial in own], dtype=np.int64)
    return TrialsDesign(
        pooled, tuple(names), trial_of, spec.several_trials == "varying", spec.residual_by_trial
    )
