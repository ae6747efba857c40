"""The encoding: how patients become rows of the design matrix, now and later.

It is made from the analysed patients of one outcome and remembers what it saw of them: the
levels of categories and which of them is the reference, centres, scales and observed ranges. New
patients are encoded by the same object, and what it never saw is refused or marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert

from alliance.data_prep.covariates import (
    Covariate,
    CovariateColumn,
    column_names,
    reference_level,
)
from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.tables.cells import canonical_code

Array = NDArray[np.float64]
Range = tuple[float, float]

type Kind = Literal["intercept", "baseline", "arm", "moderator", "interaction", "covariate"]


class Term(NamedTuple):
    """What a column of the design matrix is.

    Attributes
    ----------
    kind : str
    number : int
        Of an arm or interaction its place in the sum-to-zero basis, from 1; of a covariate its
        column, from 0.
    """

    kind: Kind
    number: int = 0


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centres and SDs that take each variable to mean 0 and SD 1; kept for predictions.

    Attributes
    ----------
    outcome, moderator, baseline : tuple of float
        Mean and SD (divisor n - 1) among the analysed patients who have it, in the variable's own
        unit. An absent moderator or baseline has (0, 1).
    covariates : tuple of tuple of float
        The same for each column of a covariate; (0, 1) where it is absent.
    """

    outcome: Range
    moderator: Range
    baseline: Range
    covariates: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Lowest and highest value among the analysed patients who have it, in its own unit.

    Attributes
    ----------
    moderator, baseline : tuple of float or None
        None where there is none.
    covariates : tuple of tuple of float
        Of each column.
    """

    moderator: Range | None
    baseline: Range | None
    covariates: tuple[Range, ...]


def sum_to_zero_basis(arms: int) -> Array:
    """Orthonormal basis of the arm effects that sum to zero.

    Parameters
    ----------
    arms : int
        Number of arms K, at least 2.

    Returns
    -------
    ndarray, shape (K, K - 1)
        Columns are orthonormal and each sums to zero (Helmert contrasts). Independent normal
        coefficients on them are a ``ZeroSumNormal`` over arms.
    """
    return np.asarray(helmert(arms).T)


def arm_pairs(arms: int) -> list[tuple[int, int]]:
    """All pairs (later, earlier) of arms in display order, by the earlier one."""
    return [(later, earlier) for earlier, later in combinations(range(arms), 2)]


@dataclass(frozen=True)
class Encoding:
    """What turns the patients of one outcome into rows of its design matrix.

    Attributes
    ----------
    arms : tuple of str
        Codes in display order.
    interaction, has_baseline : bool
    covariates : tuple of Covariate
        Numbers, or a category with all levels of the trial.
    references : dict of str to str
        Level of reference of each category: the first that analysed patients have; empty if an
        older run does not tell it.
    absent : frozenset of int
        Columns of covariates that are zero for everybody: levels without analysed patients, and
        that of the reference where the trial's first level has none.
    scaling : Scaling
    observed : Observed or None
        None where only cross-products are known.
    without_moderator : frozenset of int
        Positions of the arms whose patients cannot have the moderator: its columns are zero there.
    labels : mapping of str to mapping of str to str
        By category, of its levels, where the data file labels them.
    """

    arms: tuple[str, ...]
    interaction: bool
    has_baseline: bool
    covariates: tuple[Covariate, ...]
    references: dict[str, str]
    absent: frozenset[int]
    scaling: Scaling
    observed: Observed | None = None
    without_moderator: frozenset[int] = frozenset()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def columns(self) -> tuple[CovariateColumn, ...]:
        """What the covariates' columns stand for."""
        return tuple(column for each in self.covariates for column in each.columns)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Names of the covariates' columns in tables; no name twice."""
        return column_names(self.columns)

    @cached_property
    def moderated(self) -> tuple[int, ...]:
        """Positions of the arms whose patients can have the moderator; none in a plain trial."""
        return tuple(k for k in range(len(self.arms)) if k not in self.without_moderator)

    @cached_property
    def slope_weights(self) -> Array:
        """What each arm's slope is of the columns ``moderator, interaction[k]..``.

        Shape (K, 1 + M - 1) of K arms, M of them with the moderator, or (K, 1) without an
        interaction: one and the arm's row of the sum-to-zero basis of these M arms; zeros of an arm
        without the moderator.
        """
        here, size = list(self.moderated), len(self.moderated)
        weights = np.zeros((len(self.arms), max(size, 1) if self.interaction else 1))
        weights[here, 0] = 1.0
        if self.interaction and size > 1:
            weights[here, 1:] = sum_to_zero_basis(size)
        return weights

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Columns of the design matrix in their order."""
        arms, slopes = range(1, len(self.arms)), self.slope_weights.shape[1]
        return (
            Term("intercept"),
            Term("baseline"),
            *(Term("arm", k) for k in arms),
            Term("moderator"),
            *(Term("interaction", k) for k in range(1, slopes)),
            *(Term("covariate", k) for k in range(len(self.columns))),
        )

    @cached_property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the columns of the design matrix, none twice; see `models.design.design`."""

        def named(term: Term) -> str:
            if term.kind == "covariate":
                return f"covariate[{self.column_names[term.number]}]"
            return f"{term.kind}[{term.number}]" if term.number else term.kind

        return tuple(map(named, self.terms))

    def places(self, *kinds: Kind) -> list[int]:
        """Positions of the columns of these kinds."""
        return [k for k, term in enumerate(self.terms) if term.kind in kinds]

    @cached_property
    def seen_columns(self) -> tuple[tuple[int, str, float], ...]:
        """Covariates' columns that data speak of: position, name in tables, SD."""
        return tuple(
            (k, name, self.scaling.covariates[k][1])
            for k, name in enumerate(self.column_names)
            if k not in self.absent
        )

    def matrix(
        self, arm_index: NDArray[np.int64], moderator: Array, baseline: Array | None,
        covariates: Array,
    ) -> Array:  # fmt: skip
        """Rows of the design matrix.

        Parameters
        ----------
        arm_index : ndarray of int, shape (n,)
        moderator : ndarray, shape (n,)
            As the others in its own unit.
        baseline : ndarray, shape (n,), or None
        covariates : ndarray, shape (n, c)
            Columns as in `columns`.

        Returns
        -------
        ndarray, shape (n, p)
            Standardised, columns as in `coefficients`; NaN where a value is missing, but for the
            moderator in arms that have none.
        """
        scaling, n = self.scaling, len(arm_index)
        arm = sum_to_zero_basis(len(self.arms))[arm_index]
        rated = _standardised(moderator, scaling.moderator)
        weights = self.slope_weights[arm_index]
        if self.without_moderator:
            rated = np.where(weights[:, 0] > 0, rated, 0.0)
        before = np.zeros(n)
        if baseline is not None and self.has_baseline:
            before = _standardised(baseline, scaling.baseline)
        columns = [np.ones(n), before, *arm.T, rated]
        columns += [*(weights[:, 1:] * rated[:, None]).T]
        for k, (values, scale) in enumerate(zip(covariates.T, scaling.covariates, strict=True)):
            columns.append(np.zeros(n) if k in self.absent else _standardised(values, scale))
        return np.column_stack(columns)

    def own_columns(self, name: str) -> list[int]:
        """Positions of a covariate's columns."""
        return [k for k, column in enumerate(self.columns) if column.covariate == name]

    def covariate(self, name: str) -> Covariate:
        """The covariate of this name.

        Raises
        ------
        InputError
            If there is none.
        """
        found = {each.name: each for each in self.covariates}
        if name not in found:
            remedy = nearest(name, list(found)) if found else "The study names no covariates."
            raise InputError(f"The run has no covariate {name!r}.", remedy)
        return found[name]

    def levels(self, name: str) -> tuple[str, ...] | None:
        """Levels of a category that analysed patients have, the reference first; None of numbers.

        An older run that does not tell its level of reference has the others alone.
        """
        covariate = self.covariate(name)
        if covariate.levels is None:
            return None
        here = zip(covariate.levels[1:], self.own_columns(name), strict=True)
        seen = [level for level, k in here if k not in self.absent]
        first = self.references[name]
        return (*([first] if first else []), *seen)

    def level(self, name: str, text: str) -> str:
        """The level of a category that is called by its code or by its label; else the text.

        Parameters
        ----------
        name : str
        text : str
        """
        named = reference_level(text, self.levels(name) or (), self.labels.get(name, {}))
        return text if named is None else named

    def encoded(self, name: str, values: Sequence[float | str]) -> Array:
        """Columns of a covariate for some of its values.

        Parameters
        ----------
        name : str
        values : sequence of float or str
            Numbers, or levels as they are written in the data or labelled there.

        Returns
        -------
        ndarray, shape (len(values), columns of this covariate)

        Raises
        ------
        InputError
            Names the first value that is no number, or no level that analysed patients have.
        """
        levels = self.levels(name)
        if levels is None:
            return np.array([[_number(name, value)] for value in values]).reshape(-1, 1)
        codes = [self.level(name, canonical_code(value)) for value in values]
        for code in codes:
            if code not in levels:
                raise self.no_level(name, code)
        columns = self.own_columns(name)
        own = [self.columns[k].level for k in columns]
        found = np.array([[float(code == level) for level in own] for code in codes])
        return found.reshape(len(codes), len(columns))

    def no_level(self, name: str, code: str) -> InputError:
        """The error for a level that cannot be asked about: what it is, and those that can."""
        levels, known = self.levels(name) or (), self.covariate(name).levels or ()
        labels = self.labels.get(name, {})
        listed = ", ".join(
            f"{level!r} ({labels[level]})" if level in labels else repr(level) for level in levels
        )
        if code in known:
            return InputError(
                f"The covariate {name} has no analysed patient with the level {code!r}.",
                f"Levels that can be asked about: {listed}.",
            )
        if not known[0]:
            return InputError(
                f"The covariate {name} has no level {code!r} that this run tells by its name: "
                "an earlier version, which wrote it, did not keep the level of reference.",
                f"Ask about {listed}, or fit again.",
            )
        named = [*levels, *(labels[level] for level in levels if level in labels)]
        alike = [level for level in named if level.casefold() == code.casefold()]
        hint = f"Did you mean {alike[0]!r}? " if alike else ""
        return InputError(
            f"The covariate {name} has no level {code!r}.", f"{hint}Valid levels: {listed}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a run's manifest, of which `from_dict` makes it again."""
        return {
            "arms": list(self.arms),
            "interaction": self.interaction,
            "has_baseline": self.has_baseline,
            "covariates": [
                {
                    "name": each.name,
                    "levels": None if each.levels is None else list(each.levels),
                    "reference": self.references.get(each.name),
                }
                for each in self.covariates
            ],
            "absent": sorted(self.absent),
            "scaling": _listed(asdict(self.scaling)),
            "observed": None if self.observed is None else _listed(asdict(self.observed)),
            "without_moderator": sorted(self.without_moderator),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """The encoding whose `to_dict` this is."""
        covariates = [
            Covariate(each["name"], None if each["levels"] is None else tuple(each["levels"]))
            for each in kept["covariates"]
        ]
        seen = kept["observed"]
        return cls(
            arms=tuple(kept["arms"]),
            interaction=kept["interaction"],
            has_baseline=kept["has_baseline"],
            covariates=tuple(covariates),
            references={
                each["name"]: each["reference"]
                for each in kept["covariates"]
                if each["levels"] is not None
            },
            absent=frozenset(kept["absent"]),
            scaling=Scaling(**_tupled(kept["scaling"])),
            observed=None if seen is None else Observed(**_tupled(seen)),
            without_moderator=frozenset(kept.get("without_moderator", ())),
        )


def _standardised(values: Array, scale: Range) -> Array:
    mean, sd = scale
    return np.asarray((values - mean) / sd)


def _number(name: str, value: float | str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(
            f"The covariate {name} is continuous, and {value!r} is not a number.",
            "Give numbers for it.",
        )
    return number


def _listed(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    return [_listed(inner) for inner in value] if isinstance(value, tuple | list) else value


def _tupled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tupled(inner) for key, inner in value.items()}
    return tuple(_tupled(inner) for inner in value) if isinstance(value, list) else value
