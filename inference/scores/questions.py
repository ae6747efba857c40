"""The one question that is asked of a fitted outcome, and the draws that answer it.

A question has five parts:

- *quantity*: the expected score, a score itself, a chance, or whatever else follows from a
  patient's linear predictor;
- *patients*: the trial's, a grid's or a file's, on their own scales;
- *arms*: those in which every patient is imagined, or each patient's own;
- *therapist*: an average one, new ones, known ones, or the mean over the distribution of new ones;
- *averaging*: over patients, by weight, or none.

Averages over the trial's patients, each imagined in every arm, are g-computation (Robins 1986,
doi:10.1016/0270-0255(86)90088-6). Where the link is curved the mean of expected scores is not the
expected score at the mean. Answers are draws; chances, contrasts and intervals are made of them.

The linear predictor of patients asked about, from saved draws: for any arm, alliance, therapist.

Predictions, averages and effect curves stand on it. Nothing here is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.typing import NDArray
from scipy.fft import dct

from alliance.inference.draws.summaries import by_columns, column_blocks, normal_nodes
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.scores.therapist_parts import (
    TherapistPart,
    mean_slopes,
    new_therapists,
    times_effects,
)
from alliance.models.design.design import Design

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def linear_predictor(
    posterior: Posterior, rows: Rows, therapists: TherapistPart | None = None
) -> Array:
    """Draws of the linear predictor of each row, on the scale of the coefficients.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
    therapists : TherapistPart, optional
        As from `therapist_part`; without it the therapist is an average one.

    Returns
    -------
    ndarray, shape (d, r)
        d draws, chain after chain.
    """
    design = posterior.design
    X = rows.matrix(design)
    beta = posterior.beta
    predictor = beta @ X.T
    if therapists is None:
        return predictor
    mean = therapists.own_mean()
    alliance = X[:, design.coefficients.index("moderator")] - mean
    for k, times in enumerate(times_effects(design, X, rows.arm_index, alliance)):
        predictor += therapists.effect[:, therapists.index, k] * times
    if therapists.mean is not None:
        predictor += mean * mean_slopes(posterior, X)
    return predictor


def predictor_at(
    posterior: Posterior,
    rows: Rows,
    moderator: Array,
    therapists: TherapistPart | None = None,
) -> Array:
    """The linear predictor at an alliance that may differ between posterior.draws.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
        Their own alliance is not looked at.
    moderator : ndarray, shape (1, r) or (d, r)
        Standardised alliance.
    therapists : TherapistPart, optional

    Returns
    -------
    ndarray, shape (d, r)
    """
    mean, sd = posterior.design.scaling.moderator
    # The predictor is a straight line in the alliance: two points give all of it.
    level, further = (
        linear_predictor(posterior, rows.at_moderator(point), therapists)
        for point in (mean, mean + sd)
    )
    return level + (further - level) * moderator


def link_scale(design: Design, predictor: Array) -> Array:
    """A predictor on the scale of the family's link, same shape."""
    return design.scale.link_location + design.scale.link_unit * predictor


def own_link(design: Design, predictor: Array, some: slice | Index = slice(None)) -> Array:
    """The predictor (d, n) of a design's own patients, or some, with what their exposures add."""
    eta = link_scale(design, predictor)
    return eta if design.offset is None else eta + design.offset[some]


def expected_scores(posterior: Posterior, eta: Array) -> Array:
    """Expected scores on the outcome's own scale.

    Parameters
    ----------
    posterior : Posterior
    eta : ndarray, shape (d, r)
        Predictor on the scale of the family's link.

    Returns
    -------
    ndarray, shape (d, r)
    """
    family, scale = posterior.design.family, posterior.design.scale
    parameters = posterior.family_parameters
    own = by_columns(
        eta.shape,
        lambda some: family.expected(eta[:, some], parameters, scale),
        numbers_each=scale.top if "cutpoint" in parameters else 1,  # a chance for each category
    )
    return scale.offset + scale.unit * own


def arm_slopes(posterior: Posterior) -> Array:
    """Moderator slope of each arm on the predictor's scale, (d, K); zero where it has none."""
    weights = posterior.design.encoding.slope_weights
    slope = posterior.coefficient("moderator")[:, None] * weights[:, 0]
    if posterior.design.encoding.interaction:
        parts = posterior.beta[:, posterior.design.encoding.places("interaction")]
        slope = slope + parts @ weights[:, 1:].T
    return np.asarray(slope)


# From the outcome, its predictor (d, r) on the link's scale and r rows, to draws (d, r) by name.
Quantity = Callable[[Posterior, Array, Rows], dict[str, Array]]

NODES = 32  # of the interpolation: its error is 1e-8 of the scale where slopes are steep, else less


def expected(posterior: Posterior, eta: Array, _rows: Rows) -> dict[str, Array]:
    """The quantity ``expected``: the expected score on the outcome's own scale.

    Parameters
    ----------
    posterior : Posterior
    eta : ndarray, shape (d, r)
        As of `expected_scores`.
    _rows : Rows
        Not looked at.
    """
    return {"expected": expected_scores(posterior, eta)}


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """Some of a question's patients, each in every arm.

    Attributes
    ----------
    some : slice
        Positions among the patients.
    rows : Rows
        Patient after patient, for each the arms.
    mixture : iterator of (weight, ndarray)
        Predictors (d, r) on the link's scale; one, but for a mean over therapists.
    """

    some: slice
    rows: Rows
    mixture: Iterator[tuple[float, Array]]

    @property
    def eta(self) -> Array:
        """The only predictor, of a question that takes no mean over therapists."""
        ((_, eta),) = self.mixture
        return eta


@dataclass(frozen=True, eq=False)
class Question:
    """Of whom, where, and with whom; the quantity is named when it is answered.

    Attributes
    ----------
    posterior : Posterior
    patients : Rows
        n patients.
    arms : tuple of int, optional
        Positions of the K arms in which every patient is imagined; by default a patient's own.
    alliance : ndarray, shape (d, n), optional
        Standardised, where it differs between draws; by default the patients' own as it stands.
    therapists : tuple of TherapistPart or None
        Whose patients they are, None being an average one. Several are counted alike.
    over_new : bool
        Take the mean over the distribution of new therapists, by quadrature.
    weights : ndarray, shape (n,), optional
        Patients that each row stands for; one by default.
    exposure : float, optional
        Of counts: the time, or whatever else, that events are counted over; one unit by default.
    """

    posterior: Posterior
    patients: Rows
    arms: tuple[int, ...] | None = None
    alliance: Array | None = None
    therapists: tuple[TherapistPart | None, ...] = (None,)
    over_new: bool = False
    weights: Array | None = None
    exposure: float | None = None

    @property
    def places(self) -> int:
        """The number K of arms for each patient."""
        return 1 if self.arms is None else len(self.arms)

    @property
    def rows(self) -> Rows:
        """Patient after patient, for each the arms."""
        if self.arms is None:
            return self.patients
        arm_index = np.tile(np.array(self.arms, dtype=np.int64), len(self.patients))
        return self.patients.repeated(self.places, arm_index)

    def blocks(self) -> Iterator[Block]:
        """The patients, so many at a time that their numbers can be held."""
        shape = (self.posterior.total * self.places, len(self.patients))
        for some in column_blocks(shape, max(1, self.posterior.design.scale.top)):
            part = replace(self, patients=self.patients.chosen(some))
            rows = part.rows
            yield Block(some, rows, self._mixture(some, rows))

    def each(self, quantity: Quantity) -> dict[str, Array]:
        """The quantity of each patient in each arm, shape (d, n, K)."""
        found: dict[str, list[Array]] = {}
        for block in self.blocks():
            for name, values in self._mean(quantity, block).items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}

    def averaged(self, quantity: Quantity) -> dict[str, Array]:
        """The quantity in each arm, averaged over the patients: shape (d, K)."""
        asked = self.distinct()
        found: dict[str, Array] = {}
        for block in asked.blocks():
            for name, values in asked._mean(quantity, block).items():
                own = np.einsum("dnk,n->dk", values, asked.shares[block.some])
                found[name] = found.get(name, 0.0) + own
        return found

    def along(self, values: Array, quantity: Quantity) -> dict[str, Array]:
        """As `averaged`, every patient having each of g values of the alliance: shape (d, K, g).

        All patients have one therapist. Arms and values then differ only in a number that is added
        to each patient's predictor, in which the average is an analytic function: where there are
        many, it is evaluated at few of them, and its Chebyshev interpolant at the others, which
        converges geometrically (Trefethen 2013, Approximation Theory and Approximation Practice,
        chapter 8).

        Parameters
        ----------
        values : ndarray, shape (g,)
            The alliance, in its own points.
        quantity : callable
        """
        (therapist,) = self.therapists
        if self.over_new or self.arms is None:
            raise ValueError("a curve is of one therapist and of named arms")
        posterior, design = self.posterior, self.posterior.design
        count, points = len(values), self._points(values)
        if therapist is not None:
            therapist = replace(therapist, index=np.zeros(len(points), dtype=np.int64))
        added = linear_predictor(posterior, points, therapist)
        kept = design.encoding.places("baseline", "covariate")  # what differs between patients
        asked = replace(self, patients=self.patients.at_moderator(values[0]), alliance=None)
        asked = asked.distinct()
        patients, share = asked.patients, asked.shares
        own = posterior.beta[:, kept] @ patients.matrix(design)[:, kept].T

        def average(added: Array) -> dict[str, Array]:
            found: dict[str, Array] = {}
            for some in column_blocks(own.shape, max(1, design.scale.top)):
                rows = patients.chosen(some)
                for k in range(added.shape[1]):
                    eta = link_scale(design, own[:, some] + added[:, k, None])
                    for name, each in quantity(posterior, eta, rows).items():
                        total = found.setdefault(name, np.zeros_like(added))
                        total[:, k] += each @ share[some]
            return found

        if design.family.link == "identity" and quantity is expected:
            eta = link_scale(design, added + (own @ share)[:, None])
            found = expected(posterior, eta, points)
        elif added.shape[1] <= NODES or len(patients) == 1:  # no saving
            found = average(added)
        else:
            found = _by_nodes(average, added)
        return {name: each.reshape(-1, self.places, count) for name, each in found.items()}

    def distinct(self) -> Question:
        """The same question with patients who are alike brought together and counted.

        As it is where patients have therapists of their own, or an alliance in each draw.
        """
        shared = all(part is None or len(set(part.index.tolist())) == 1 for part in self.therapists)
        if self.alliance is not None or not shared:
            return self
        rows = self.patients
        # An alliance that nobody can have is no difference; NaN would be one.
        columns: list[Array] = [np.nan_to_num(rows.moderator)[:, None], rows.covariates]
        columns += [] if rows.baseline is None else [rows.baseline[:, None]]
        columns += [rows.arm_index[:, None].astype(float)] if self.arms is None else []
        _, first, place = np.unique(
            np.hstack(columns), axis=0, return_index=True, return_inverse=True
        )
        counts = np.bincount(place.ravel(), weights=self.weights).astype(float)
        therapists = tuple(
            None if part is None else replace(part, index=part.index[: len(first)])
            for part in self.therapists
        )
        return replace(self, patients=rows.chosen(first), weights=counts, therapists=therapists)

    @property
    def shares(self) -> Array:
        """What each patient counts in an average, shape (n,)."""
        weights = np.ones(len(self.patients)) if self.weights is None else self.weights
        return np.asarray(weights / weights.sum())

    def _points(self, values: Array) -> Rows:
        """Every arm at every value, with the analysed patients' mean baseline and covariates."""
        scaling, count = self.posterior.design.scaling, len(values) * self.places
        middle = np.array([mean for mean, _ in scaling.covariates])
        return Rows(
            arm_index=np.repeat(np.array(self.arms, dtype=np.int64), len(values)),
            moderator=np.tile(values, self.places),
            baseline=np.full(count, scaling.baseline[0]),
            covariates=np.tile(middle, (count, 1)),
        )

    def _mean(self, quantity: Quantity, block: Block) -> dict[str, Array]:
        """The quantity of a block's patients, (d, b, K), a mean over therapists taken."""
        found: dict[str, Array] = {}
        for weight, eta in block.mixture:
            for name, values in quantity(self.posterior, eta, block.rows).items():
                found[name] = found.get(name, 0.0) + weight * values
        shape = (self.posterior.total, -1, self.places)
        return {name: values.reshape(shape) for name, values in found.items()}

    def _linked(self, predictor: Array) -> Array:
        """A predictor on the link's scale, at the exposure asked about."""
        eta = link_scale(self.posterior.design, predictor)
        return eta if self.exposure is None else eta + np.log(self.exposure)

    def _mixture(self, some: slice, rows: Rows) -> Iterator[tuple[float, Array]]:
        """Weights, and predictors (d, r) on the link's scale."""
        posterior, times = self.posterior, self.places
        alliance = None if self.alliance is None else np.repeat(self.alliance[:, some], times, 1)
        for part in self.therapists:
            own = None if part is None else part.block(some).repeated(times)
            predictor = (
                linear_predictor(posterior, rows, own)
                if alliance is None
                else predictor_at(posterior, rows, alliance, own)
            )
            if not self.over_new:
                yield 1 / len(self.therapists), self._linked(predictor)
                continue
            for weight, shift, spread in new_therapists(posterior, rows, alliance):
                for node, share in normal_nodes() if spread.any() else ((0.0, 1.0),):
                    eta = self._linked(predictor + (shift + node * spread))
                    yield weight * share / len(self.therapists), eta


def own_alliance(posterior: Posterior) -> Array | None:
    """The trial's patients' alliance for a `Question`: None where it is what their rows say.

    Patients of arms without one have the mean of the others, where they are imagined elsewhere.
    """
    alliance, without = posterior.alliance(), posterior.design.encoding.without_moderator
    rows_tell = len(alliance) == 1 and not (without and posterior.design.has_moderator)
    return None if rows_tell else alliance


def _by_nodes(average: Callable[[Array], dict[str, Array]], points: Array) -> dict[str, Array]:
    """Functions of a number for each draw, evaluated at few nodes instead of many points (d, m)."""
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, np.finfo(float).tiny)
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    found = {}
    for name, values in average(middle + half * nodes).items():
        series = dct(values, type=2, axis=1) / NODES
        series[:, 0] /= 2
        place = (points - middle) / half
        found[name] = np.asarray(chebval(place, series.T[:, :, None], tensor=False))
    return found
