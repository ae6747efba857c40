"""Every scalar quantity of a posterior in one array, for the convergence gate to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import InputError
from alliance.inference.draws.summaries import RankStatistics, rank_statistics

FULL_LIMIT = 200
"""A variable of up to this many elements is judged whole (3 ms for each); a larger one is screened
whole, and this many of its elements at most are judged."""

MINIMUM_DRAWS = 4
"""Draws of a chain below which nothing can be computed: two for each half of it."""

INDEPENDENT = "The draws are independent: these are the reported quantities alone."

_WORST_OF_EACH_SCREEN = 50
_EVENLY_SPACED = FULL_LIMIT - 3 * _WORST_OF_EACH_SCREEN
_BLOCK = 500  # elements looked at together: 16 MB for 4 x 1,000 draws


@dataclass(frozen=True, slots=True)
class BadDraws:
    """Draws of one chain that are not finite numbers."""

    chain: str
    first: str  # label of the first such draw
    number: int  # draws with at least one such value
    quantities: tuple[str, ...]  # those with at least one such value


@dataclass(frozen=True, eq=False)
class GateDraws:
    """What the gate needs to know about the draws of one outcome.

    Attributes
    ----------
    outcome : str
        Name of the outcome.
    chains : tuple of str
        Labels of the chains, as the chain coordinate gives them.
    draws : int
        Draws of each chain.
    elements : int
        Quantities that there are, judged or not.
    labels : tuple of str
        Names of the quantities in `values`, such as ``interaction[MCE-GE]``.
    values : ndarray of shape (quantity, chain, draw)
        Draws of every quantity to be judged. Constant ones are not among them.
    screened : tuple of str
        One sentence for each large variable of which only a part is in `values`.
    bad : tuple of BadDraws
        Chains with draws that are not finite; `values` is empty then.
    constant : tuple of str
        Quantities with one and the same value in every draw of every chain.
    stuck : tuple of (str, str)
        Quantity and chain of each that never moves, while the quantity is not constant.
    """

    outcome: str
    chains: tuple[str, ...]
    draws: int
    elements: int
    labels: tuple[str, ...]
    values: NDArray[np.float64]
    screened: tuple[str, ...]
    bad: tuple[BadDraws, ...]
    constant: tuple[str, ...]
    stuck: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """All draws that are there are finite, and there are enough of them to compute with."""
        return not self.bad and len(self.chains) > 0 and self.draws >= MINIMUM_DRAWS

    @cached_property
    def ranks(self) -> RankStatistics:
        """R-hat and effective sample sizes of `values`."""
        return rank_statistics(self.values)


def by_chain_and_draw(variable: xr.DataArray) -> NDArray[np.float64]:
    """Values of one variable, of shape (chain, draw, element).

    Raises
    ------
    InputError
        If the variable has no chain or draw dimension, or does not hold numbers.
    """
    missing = [dim for dim in ("chain", "draw") if dim not in variable.dims]
    if missing:
        raise InputError(
            f"The variable {variable.name!r} has no dimension {' and no '.join(missing)}.",
            "Give draws with the dimensions chain and draw, also where there is one chain only.",
        )
    if variable.dtype.kind not in "biuf":
        raise InputError(
            f"The variable {variable.name!r} does not hold numbers (type {variable.dtype}).",
            "Leave it out of the draws that the gate judges.",
        )
    ordered = variable.transpose("chain", "draw", ...)
    elements = int(np.prod(ordered.shape[2:]))
    return np.asarray(ordered.values, dtype=float).reshape(*ordered.shape[:2], elements)


def sample_labels(dataset: xr.Dataset, dim: str) -> tuple[str, ...]:
    """Labels of chains or draws as the coordinate gives them; positions where there is none."""
    if dim in dataset.coords:
        return tuple(str(label) for label in dataset.coords[dim].values)
    return tuple(str(position) for position in range(dataset.sizes.get(dim, 0)))


def collect_draws(
    outcome: str,
    posterior: xr.Dataset,
    quantities: xr.Dataset | None = None,
    *,
    independent: bool = False,
) -> GateDraws:
    """Look through every element of every variable and gather those that are to be judged.

    Whether draws are finite and whether chains move is established for all elements. Of a
    variable with more than `FULL_LIMIT` elements, `FULL_LIMIT` at most go on to be judged: those
    that look worst by each of three quick screens (split R-hat of the values and of their
    absolute deviations, and the batch-means autocorrelation time), and an evenly spaced rest.
    Of independent draws the further quantities alone go on: R-hat and effective sample sizes
    differ by chance only between elements.

    Raises
    ------
    InputError
        If a variable has no chain and draw dimension, does not hold numbers, or if
        `quantities` has other chains or draws than `posterior`.
    """
    datasets = [posterior] if quantities is None else [posterior, quantities]
    for dim in ("chain", "draw"):
        sizes = [dataset.sizes.get(dim, 0) for dataset in datasets if dataset.data_vars]
        if len(set(sizes)) > 1:
            raise InputError(
                f"The further quantities of outcome {outcome!r} have {sizes[1]} {dim}s, "
                f"the posterior has {sizes[0]}.",
                "Compute them from the same posterior, draw by draw.",
            )
    chains, draws = sample_labels(posterior, "chain"), sample_labels(posterior, "draw")
    variables = [item for dataset in datasets for item in dataset.data_vars.values()]
    arrays = [by_chain_and_draw(variable) for variable in variables]
    bad = _find_bad(variables, arrays, chains, draws)
    labels: list[str] = []
    values = [np.empty((0, len(chains), len(draws)))]
    beside = posterior.data_vars if independent and quantities is not None else ()
    screened = [INDEPENDENT] if beside else []
    constant: list[str] = []
    stuck: list[tuple[str, str]] = []
    if not bad and chains and len(draws) >= MINIMUM_DRAWS:
        for variable, array in zip(variables, arrays, strict=True):
            moving, still = _find_motion(array)
            constant += [_label(variable, element) for element in np.flatnonzero(~moving)]
            for element, chain in zip(*np.nonzero(still & moving[:, None]), strict=True):
                stuck.append((_label(variable, element), chains[chain]))
            chosen = np.flatnonzero(moving)
            if variable.name in beside:
                continue
            if len(chosen) > FULL_LIMIT:
                screened.append(
                    f"Of the {len(chosen):,} elements of {variable.name}, only those were judged "
                    "that looked worst in a quick look at all of them, and an evenly spaced rest."
                )
                chosen = _screen(array, chosen)
            labels += [_label(variable, element) for element in chosen]
            values.append(np.moveaxis(array[:, :, chosen], 2, 0))
    return GateDraws(
        outcome=outcome,
        chains=chains,
        draws=len(draws),
        elements=sum(array.shape[2] for array in arrays),
        labels=tuple(labels),
        values=np.concatenate(values),
        screened=tuple(screened),
        bad=bad,
        constant=tuple(constant),
        stuck=tuple(stuck),
    )


def _find_bad(
    variables: Sequence[xr.DataArray],
    arrays: Sequence[NDArray[np.float64]],
    chains: tuple[str, ...],
    draws: tuple[str, ...],
) -> tuple[BadDraws, ...]:
    """Chains with draws that are not finite numbers, and the quantities that are concerned."""
    flags = np.zeros((len(chains), len(draws)), dtype=bool)
    quantities: list[list[str]] = [[] for _ in chains]
    for variable, array in zip(variables, arrays, strict=True):
        finite = np.isfinite(array)
        if finite.all():
            continue
        flags |= ~finite.all(axis=2)
        for chain, element in zip(*np.nonzero(~finite.all(axis=1)), strict=True):
            quantities[chain].append(_label(variable, element))
    return tuple(
        BadDraws(chains[chain], draws[int(np.argmax(row))], int(row.sum()), tuple(names))
        for chain, (row, names) in enumerate(zip(flags, quantities, strict=True))
        if row.any()
    )


def _find_motion(array: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Elements that are not constant; of shape (element, chain), the chains that never move."""
    low, high = array.min(axis=1).T, array.max(axis=1).T
    return high.max(axis=1) > low.min(axis=1), high == low


def _label(variable: xr.DataArray, element: int | np.signedinteger) -> str:
    """Name of one element: the variable, and in brackets the labels along its other dimensions."""
    dims = [dim for dim in variable.dims if dim not in ("chain", "draw")]
    if not dims:
        return str(variable.name)
    positions = np.unravel_index(element, [variable.sizes[dim] for dim in dims])
    places = [
        str(variable.coords[dim].values[position]) if dim in variable.coords else str(position)
        for dim, position in zip(dims, positions, strict=True)
    ]
    return f"{variable.name}[{', '.join(places)}]"


def _screen(array: NDArray[np.float64], elements: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of many elements that look worst by any of the screens, and evenly spaced others."""
    scores = np.concatenate(
        [
            _scores(np.ascontiguousarray(np.moveaxis(array[:, :, block], 2, 0)))
            for block in np.array_split(elements, len(elements) // _BLOCK + 1)
        ],
        axis=1,
    )
    worst = np.argsort(-scores, axis=1)[:, :_WORST_OF_EACH_SCREEN].ravel()
    spaced = np.linspace(0, len(elements) - 1, _EVENLY_SPACED).round().astype(int)
    return elements[np.unique(np.concatenate([worst, spaced]))]


def _scores(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three quick measures of trouble, of shape (3, element), from (element, chain, draw)."""
    deviation = np.abs(block - block.mean(axis=(1, 2), keepdims=True))
    length = int(np.sqrt(block.shape[2]))
    whole = block[:, :, : block.shape[2] // length * length]
    batches = whole.reshape(*block.shape[:2], -1, length).mean(axis=3)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # no chain moves; huge
        time = batches.var(axis=2).mean(axis=1) / block.var(axis=2).mean(axis=1)
        scores = np.stack([_split_ratio(block), _split_ratio(deviation), time])
    return np.nan_to_num(scores, nan=np.inf)


def _split_ratio(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between over within variance of half-chains, which orders elements as split R-hat does."""
    half = block.shape[2] // 2
    halves = np.concatenate([block[:, :, :half], block[:, :, -half:]], axis=1)
    ratio: NDArray[np.float64] = halves.mean(axis=2).var(axis=1) / halves.var(axis=2).mean(axis=1)
    return ratio
