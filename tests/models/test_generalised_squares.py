"""The sums over therapists: against dense algebra, their gradients against finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from pytensor.gradient import verify_grad

from alliance.models.gaussian.generalised_squares import GeneralisedSquares, packed

PYTHON = Mode(linker="py", optimizer="fast_compile")  # nothing is compiled
THERAPISTS, COEFFICIENTS = 5, 4
COLUMNS = (0, 2, 3)
PLACES = ((0, 0, 0), (1, 0, 1), (1, 1, 2), (2, 2, 2))  # one element stands twice


@dataclass(frozen=True)
class Case:
    """Inputs of the operation, and the rows they come from."""

    X: NDArray
    y: NDArray
    therapist: NDArray
    beta: NDArray
    elements: NDArray

    @property
    def inputs(self) -> list[NDArray]:
        W = np.column_stack([self.X, self.y])
        own = [W[self.therapist == j] for j in range(THERAPISTS)]
        within = np.array([[w[:, column] @ w for w in own] for column in COLUMNS])
        return [self.beta, self.elements, W.T @ W, within]


@pytest.fixture(params=["common", "own"])
def case(request: pytest.FixtureRequest) -> Case:
    return a_case(request.param)


def a_case(kind: str) -> Case:
    """Elements common to all therapists, or one set for each."""
    generator = np.random.default_rng(3)
    patients = 40
    X = np.column_stack([np.ones(patients), generator.normal(size=(patients, COEFFICIENTS - 1))])
    therapist = generator.integers(0, THERAPISTS - 1, patients)  # the last one has no patients
    therapist[0] = 3
    sets = 1 if kind == "common" else THERAPISTS
    return Case(
        X=X,
        y=generator.normal(size=patients),
        therapist=therapist,
        beta=generator.normal(size=COEFFICIENTS),
        elements=generator.normal(size=(3, sets)),
    )


def dense(case: Case) -> tuple[float, float]:
    """r'V^-1 r and log|V| with V = I + Z G G' Z', rows and all."""
    residual = case.y - case.X @ case.beta
    V = np.eye(len(residual))
    for j in range(THERAPISTS):
        rows = np.flatnonzero(case.therapist == j)
        G = np.zeros((len(COLUMNS), len(COLUMNS)))
        for row, column, number in PLACES:
            G[row, column] = case.elements[number, j if case.elements.shape[1] > 1 else 0]
        ZG = case.X[np.ix_(rows, COLUMNS)] @ G
        V[np.ix_(rows, rows)] += ZG @ ZG.T
    return residual @ np.linalg.solve(V, residual), np.linalg.slogdet(V)[1]


def outputs_of(case: Case, mode: Mode | str, *, latent: bool = False) -> list[NDArray]:
    symbols = [pt.as_tensor_variable(values).type() for values in case.inputs]
    outputs = GeneralisedSquares(COLUMNS, PLACES, latent)(*symbols)
    return pytensor.function(symbols, outputs, mode=mode)(*case.inputs)


def test_sums_are_those_of_the_dense_covariance(case: Case) -> None:
    # Two ways of solving the same well-conditioned systems of at most 40 rows.
    np.testing.assert_allclose(outputs_of(case, PYTHON)[:2], dense(case), rtol=1e-11)


@pytest.mark.parametrize("latent", [False, True])
def test_machine_code_gives_what_python_gives(case: Case, latent: bool) -> None:
    compiled = outputs_of(case, "NUMBA", latent=latent)
    for one, other in zip(compiled, outputs_of(case, PYTHON, latent=latent), strict=True):
        # Rounding only: numba may contract a product and a sum.
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("output", [0, 1])
def test_gradients_are_those_of_finite_differences(case: Case, output: int) -> None:
    *_, cross_products, within = case.inputs

    def value(beta, elements):  # type: ignore[no-untyped-def]  # symbols of any shape
        operation = GeneralisedSquares(COLUMNS, PLACES)
        return operation(beta, elements, cross_products, within)[output]

    # verify_grad's own tolerance: 1e-4 of relative or absolute error in double precision.
    verify_grad(value, [case.beta, case.elements], rng=np.random.default_rng(4), mode=PYTHON)


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("kind", ["common", "own"])
def test_gradients_in_rows_that_depend_on_parameters(kind: str, output: int) -> None:
    """A column of X is unknown, as a latent moderator is: its products move with it."""
    case = a_case(kind)
    belongs = np.arange(THERAPISTS)[:, None] == case.therapist

    def value(beta, elements, column):  # type: ignore[no-untyped-def]  # symbols of any shape
        rows = pt.concatenate([pt.constant(case.X), pt.constant(case.y)[:, None]], axis=1)
        W = pt.set_subtensor(rows[:, 2], column)
        within = pt.stack([belongs.astype(float) @ (W[:, [k]] * W) for k in COLUMNS])
        operation = GeneralisedSquares(COLUMNS, PLACES, latent=True)
        return operation(beta, elements, W.T @ W, within)[output]

    parts = [case.beta, case.elements, case.X[:, 2]]
    verify_grad(value, parts, rng=np.random.default_rng(5), mode=PYTHON)


def test_gradients_have_no_gradients() -> None:
    beta = pt.dvector("beta")
    outputs = GeneralisedSquares((0,), ((0, 0, 0),))(
        beta, np.ones((1, 1)), np.eye(2), np.ones((1, 3, 2))
    )
    with pytest.raises(NotImplementedError, match="have none themselves"):
        pytensor.grad(outputs[2].sum(), beta)


def test_packed_leaves_out_zeros_and_finds_repeated_elements() -> None:
    first, second = pt.dscalar("first"), pt.dscalar("second")
    elements, places = packed([[first, 0.0, 0.0], [0.0, second, 0.0], [first, 0.0, second]])
    assert elements == [first, second]
    assert places == ((0, 0, 0), (1, 1, 1), (2, 0, 0), (2, 2, 1))
