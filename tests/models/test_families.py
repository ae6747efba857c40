"""The outcome families' formulas against scipy, against sums over all scores, and their draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from alliance.data_prep.errors import InputError
from alliance.models.families.events_and_counts import chance_of_count, count_at_rank
from alliance.models.families.families import FAMILIES, ORDINAL_PROBIT, find_family
from alliance.models.families.family import ARRAYS, Family, Scale
from alliance.models.patient_level import SYMBOLS

Array = NDArray[np.float64]

DRAWS = 200_000
LARGEST_Z = 4.5  # of some 60 independent z-scores, one exceeds it in 2,400 runs
# Those that a study file may name, and that of the joint model.
TESTED = FAMILIES | {ORDINAL_PROBIT.name: ORDINAL_PROBIT}
DISCRETE = ("ordinal", "ordinal_probit", "beta_binomial", "binary")
WHOLE = (*DISCRETE, "count")
MANY = 400  # events that no count below reaches in a sum over all
CUTPOINTS = np.array([[-2.0, -0.5, -0.4, 1.0, 3.0], [-3.0, -1.0, 0.0, 0.2, 0.9]])
TOP = {"gaussian": 0, "student_t": 0, "beta_binomial": 27, "binary": 1, "count": 0}
TOP |= dict.fromkeys(("ordinal", "ordinal_probit"), CUTPOINTS.shape[1])
AUXILIARY: dict[str, dict[str, Array]] = {
    "gaussian": {"residual_sd": np.array([[0.6], [1.7]])},
    "student_t": {
        "residual_sd": np.array([[0.6], [1.7]]),
        "degrees_of_freedom": np.array([[9.0], [25.0]]),
    },
    "ordinal": {"cutpoint": CUTPOINTS},
    "ordinal_probit": {"cutpoint": CUTPOINTS},
    "beta_binomial": {"precision": np.array([[3.0], [40.0]])},
    "binary": {},
    "count": {"overdispersion": np.array([[0.4], [1.3]])},
}
ETA = np.linspace(-4, 4, 9)


def scale_of(name: str) -> Scale:
    return Scale(0.0, 1.0, TOP[name], 0.0, 1.0)


def all_scores(name: str) -> Array:
    if name in DISCRETE:
        return np.arange(TOP[name] + 1.0)
    if name == "count":
        return np.array([0.0, 1.0, 2.0, 7.0, 30.0, 250.0])
    return np.array([-30.0, -2.0, -0.1, 0.0, 0.7, 3.0, 45.0])


def log_likelihood(name: str, scores: Array, eta: Array, auxiliary: dict[str, Array]) -> Array:
    found = TESTED[name].log_likelihood(ARRAYS, scores, eta, auxiliary, scale_of(name))
    return np.asarray(found)


def over_scores(name: str, eta: float) -> Array:
    """Log probabilities of all scores, shape (2 draws, scores)."""
    scores = all_scores(name)
    return log_likelihood(name, scores, np.full((2, len(scores)), eta), AUXILIARY[name])


def with_scipy(name: str, scores: Array, eta: float, draw: int) -> Array:
    """The same log likelihoods of one draw's parameters, from scipy's distributions."""
    aux = {key: values[draw] for key, values in AUXILIARY[name].items()}
    if name == "gaussian":
        return stats.norm.logpdf(scores, eta, aux["residual_sd"])
    if name == "student_t":
        return stats.t.logpdf(scores, aux["degrees_of_freedom"], eta, aux["residual_sd"])
    if name == "beta_binomial":
        share, precision = stats.logistic.cdf(eta), aux["precision"]
        rest = stats.logistic.sf(eta)
        return stats.betabinom.logpmf(scores, TOP[name], share * precision, rest * precision)
    if name == "binary":
        return np.where(scores, stats.logistic.logcdf(eta), stats.logistic.logsf(eta))
    if name == "count":
        size, log_ratio = aux["overdispersion"] ** -2.0, eta + 2 * np.log(aux["overdispersion"])
        if abs(log_ratio) < 30:
            return stats.nbinom.logpmf(scores, size, stats.logistic.sf(log_ratio))
        # Beyond it the probability is 1 or 0 to all digits: its logarithms, and no more of scipy
        ways = special.gammaln(scores + size) - special.gammaln(size) - special.gammaln(scores + 1)
        cdf, sf = stats.logistic.logcdf(log_ratio), stats.logistic.logsf(log_ratio)
        return ways + scores * cdf + size * sf
    ends = np.concatenate([[-np.inf], aux["cutpoint"], [np.inf]]) - eta
    # The difference in the tail where both are small does not cancel.
    if name == "ordinal_probit":
        log_cdf, log_sf = stats.norm.logcdf(ends), stats.norm.logsf(ends)
        with np.errstate(divide="ignore"):  # in the tail that is not taken
            low = log_cdf[1:] + np.log1p(-np.exp(log_cdf[:-1] - log_cdf[1:]))
            high = log_sf[:-1] + np.log1p(-np.exp(log_sf[1:] - log_sf[:-1]))
        return np.where(ends[1:] < 0, low, high)[scores.astype(int)]
    cdf, sf = stats.logistic.cdf(ends), stats.logistic.sf(ends)
    return np.log(np.where(ends[1:] < 0, cdf[1:] - cdf[:-1], sf[:-1] - sf[1:]))[scores.astype(int)]


@pytest.mark.parametrize("eta", [-50.0, -4.0, -0.3, 0.0, 1.2, 6.0, 50.0])
@pytest.mark.parametrize("name", TESTED)
def test_log_likelihood_is_scipys(name: str, eta: float) -> None:
    found = over_scores(name, eta)
    assert np.isfinite(found).all()
    for draw in range(2):
        expected = with_scipy(name, all_scores(name), eta, draw)
        np.testing.assert_allclose(found[draw], expected, rtol=1e-9, atol=1e-10)


@pytest.fixture(scope="module")
def symbolic() -> Callable[[str, Array, Array, dict[str, Array]], tuple[Array, Array]]:
    """Log likelihoods of one draw in PyTensor, and the gradient of their sum in all arguments."""
    functions: dict[str, Callable[..., list[Array]]] = {}

    def compiled(name: str) -> Callable[..., list[Array]]:
        scores = pt.lvector("y") if name in WHOLE else pt.dvector("y")
        eta = pt.dvector("eta")
        vectors = {"cutpoint": pt.dvector}
        inputs = {key: vectors.get(key, pt.dscalar)(key) for key in AUXILIARY[name]}
        value = TESTED[name].log_likelihood(SYMBOLS, scores, eta, inputs, scale_of(name))
        parts = pytensor.grad(value.sum(), [eta, *inputs.values()])
        gradient = pt.concatenate([pt.atleast_1d(part) for part in parts])
        arguments = [scores, eta, *inputs.values()]
        return pytensor.function(arguments, [value, gradient], mode="FAST_COMPILE")

    def call(name: str, scores: Array, eta: Array, aux: dict[str, Array]) -> tuple[Array, Array]:
        if name not in functions:
            functions[name] = compiled(name)
        kept = [values if key == "cutpoint" else values[0] for key, values in aux.items()]
        if name in WHOLE:
            scores = scores.astype(np.int64)
        value, gradient = functions[name](scores, eta, *kept)
        return value, gradient

    return call


@pytest.mark.parametrize("eta", [-50.0, -4.0, 0.1, 2.0, 50.0])
@pytest.mark.parametrize("name", TESTED)
def test_symbols_say_what_arrays_say(name: str, eta: float, symbolic: Callable) -> None:
    """The sampler's function and the one for draws agree, and gradients stay finite."""
    scores, expected = all_scores(name), over_scores(name, eta)
    for draw in range(2):
        aux = {key: values[draw] for key, values in AUXILIARY[name].items()}
        value, gradient = symbolic(name, scores, np.full(len(scores), eta), aux)
        np.testing.assert_allclose(value, expected[draw], rtol=1e-10, atol=1e-10)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_of_all_scores_sum_to_one(name: str) -> None:
    for eta in (-50.0, *ETA, 50.0):
        np.testing.assert_allclose(np.exp(over_scores(name, eta)).sum(axis=1), 1, rtol=1e-11)


@pytest.mark.parametrize("name", DISCRETE)
def test_expected_score_and_variance_are_sums_over_all_scores(name: str) -> None:
    family, scores = TESTED[name], all_scores(name)
    eta = np.tile(ETA, (2, 1))
    expected = family.expected(eta, AUXILIARY[name], scale_of(name))
    variance = family.variance(eta, AUXILIARY[name], scale_of(name))
    assert expected.shape == variance.shape == eta.shape
    for k, value in enumerate(ETA):
        probabilities = np.exp(over_scores(name, value))
        mean = probabilities @ scores
        np.testing.assert_allclose(expected[:, k], mean, rtol=1e-10)
        square = (probabilities * (scores - mean[:, None]) ** 2).sum(axis=1)
        np.testing.assert_allclose(variance[:, k], square, rtol=1e-9)


def test_probabilities_expected_count_and_variance_are_sums_over_counts() -> None:
    """Of a mean of 2, whose counts beyond 400 have a chance below 1e-30."""
    family, scores, aux = FAMILIES["count"], np.arange(MANY + 1.0), AUXILIARY["count"]
    eta = np.full((2, len(scores)), np.log(2.0))
    probabilities = np.exp(log_likelihood("count", scores, eta, aux))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-11)
    np.testing.assert_allclose(probabilities @ scores, 2, rtol=1e-10)
    variance = family.variance(eta[:, :1], aux, scale_of("count"))[:, 0]
    np.testing.assert_allclose(probabilities @ (scores - 2) ** 2, variance, rtol=1e-9)


def test_counts_without_overdispersion_are_poisson() -> None:
    """To 1e-6: the overdispersion is kept above 1e-4."""
    scores, aux = np.arange(20.0), {"overdispersion": np.array([[0.0]])}
    found = log_likelihood("count", scores, np.full((1, 20), 1.2), aux)
    np.testing.assert_allclose(found[0], stats.poisson.logpmf(scores, np.exp(1.2)), atol=2e-6)


@pytest.mark.parametrize("alpha", [0.3, 1.3])
def test_counts_at_a_rank_and_chances_are_scipys(alpha: float) -> None:
    eta, aux = np.linspace(-2, 3, 6)[None], {"overdispersion": np.array([[alpha]])}
    law = stats.nbinom(alpha**-2.0, 1 / (1 + alpha**2 * np.exp(eta)))
    for least in range(6):
        chance = chance_of_count(eta, aux, np.full(6, least))
        np.testing.assert_allclose(chance, law.sf(least - 1), rtol=1e-10)
    for rank in (0.01, 0.5, 0.99):
        found = count_at_rank(eta, aux, np.full((1, 6), rank))
        assert (law.cdf(found) >= rank).all()
        assert (law.cdf(found - 1) < rank).all()


@pytest.mark.parametrize("name", ["gaussian", "student_t"])
def test_expected_score_and_variance_of_continuous_scores_are_scipys(name: str) -> None:
    family, eta = TESTED[name], np.tile(ETA, (2, 1))
    aux = AUXILIARY[name]
    np.testing.assert_array_equal(family.expected(eta, aux, scale_of(name)), eta)
    variance = family.variance(eta, aux, scale_of(name))
    for draw in range(2):
        sd = aux["residual_sd"][draw, 0]
        expected = sd**2
        if name == "student_t":
            expected = stats.t.var(aux["degrees_of_freedom"][draw, 0], scale=sd)
        np.testing.assert_allclose(variance[draw], expected)


def test_a_student_t_without_variance_says_so() -> None:
    aux = {"residual_sd": np.array([[1.0]]), "degrees_of_freedom": np.array([[1.5]])}
    variance = FAMILIES["student_t"].variance(np.zeros((1, 3)), aux, scale_of("student_t"))
    assert np.isposinf(variance).all()


def test_a_student_t_with_many_degrees_of_freedom_is_gaussian() -> None:
    scores, eta = np.linspace(-4, 4, 30), np.full((1, 30), 0.3)
    sd = {"residual_sd": np.array([[0.8]])}
    nearly = sd | {"degrees_of_freedom": np.array([[1e8]])}
    gaussian = log_likelihood("gaussian", scores, eta, sd)
    np.testing.assert_allclose(
        log_likelihood("student_t", scores, eta, nearly), gaussian, atol=1e-5
    )


@pytest.mark.parametrize("name", TESTED)
def test_slope_is_the_derivative_of_the_expected_score(name: str) -> None:
    family, aux, scale = TESTED[name], AUXILIARY[name], scale_of(name)
    eta, step = np.tile(ETA, (2, 1)), 1e-4
    above, below = (family.expected(eta + sign * step, aux, scale) for sign in (1, -1))
    np.testing.assert_allclose(
        family.slope(eta, aux, scale), (above - below) / (2 * step), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", TESTED)
def test_a_response_is_its_parts(name: str) -> None:
    """Where a family has the three at once, they are the three formulas, to rounding."""
    family, scale, auxiliary = TESTED[name], scale_of(name), AUXILIARY[name]
    eta = np.stack([ETA, ETA[::-1] / 2])
    each = (family.expected, family.slope, family.variance)
    for found, formula in zip(family.response(eta, auxiliary, scale), each, strict=True):
        np.testing.assert_allclose(found, formula(eta, auxiliary, scale), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("eta", [-2.0, 0.1, 1.5])
@pytest.mark.parametrize("name", TESTED)
def test_random_scores_have_the_stated_mean_and_variance(name: str, eta: float) -> None:
    family, aux, scale = TESTED[name], AUXILIARY[name], scale_of(name)
    where = np.full((2, DRAWS), eta)
    scores = family.random(np.random.default_rng(17), where, aux, scale)
    assert scores.shape == where.shape
    if family.discrete:
        assert (scores == np.round(scores)).all()
        assert (scores >= 0).all()
    if name in DISCRETE:
        assert np.isin(scores, all_scores(name)).all()
    mean = family.expected(where[:, :1], aux, scale)
    variance = family.variance(where[:, :1], aux, scale)
    squares = (scores - mean) ** 2
    for found, expected in ((scores, mean), (squares, variance)):
        error = found.std(axis=1) / np.sqrt(DRAWS)
        assert (np.abs(found.mean(axis=1) - expected[:, 0]) < LARGEST_Z * error).all()


@pytest.mark.parametrize("name", DISCRETE)
def test_random_scores_come_with_their_probabilities(name: str) -> None:
    """Chi-square of the counts of all scores that are expected five times or more."""
    family = TESTED[name]
    where = np.full((2, DRAWS), 0.4)
    scores = family.random(np.random.default_rng(18), where, AUXILIARY[name], scale_of(name))
    probabilities = np.exp(over_scores(name, 0.4))
    for draw in range(2):
        counts = np.bincount(scores[draw].astype(int), minlength=len(all_scores(name)))
        often = probabilities[draw] * DRAWS >= 5
        groups = [np.append(counts[often], counts[~often].sum())]
        groups.append(np.append(probabilities[draw][often], probabilities[draw][~often].sum()))
        kept = groups[1] > 0
        expected = groups[1][kept] / groups[1][kept].sum() * DRAWS
        assert stats.chisquare(groups[0][kept], expected).pvalue > 1e-4


def test_random_beta_binomial_scores_exist_at_the_ends_of_the_link() -> None:
    family, scale = FAMILIES["beta_binomial"], scale_of("beta_binomial")
    eta = np.array([[-800.0, 800.0]])
    scores = family.random(np.random.default_rng(1), eta, {"precision": np.array([[2.0]])}, scale)
    assert scores.tolist() == [[0.0, 27.0]]


def test_an_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"ordnal.*ordinal"):
        find_family("ordnal")


def family_scale(family: Family, scores: list[float], limits: tuple[float, float]) -> Scale:
    return family.scale(np.array(scores), limits)


def test_scores_and_family_variables() -> None:
    """A 3-to-30 questionnaire counts 0 to 27 points; an 11-point rating has categories 0 to 10."""
    points = family_scale(FAMILIES["beta_binomial"], [10.0, 12.0, 17.0], (3, 30))
    assert (points.offset, points.unit, points.top) == (3.0, 1.0, 27)
    # the mean score of 13 is 10 of 27 points
    assert points.link_location == pytest.approx(np.log(10 / 17))
    rating = family_scale(FAMILIES["ordinal"], [-5.0, 2.0, 5.0], (-5, 5))
    assert (rating.offset, rating.unit, rating.top, rating.link_location) == (-5.0, 1.0, 10, 0.0)
    assert rating.link_unit == pytest.approx(stats.logistic.std())


def test_one_sd_on_the_logit_scale_moves_the_expected_score_by_one_sd() -> None:
    """To first order, at the mean score."""
    family = FAMILIES["beta_binomial"]
    scores = [10.0, 12.0, 17.0, 15.0]
    scale = family_scale(family, scores, (3, 30))
    slope = family.slope(np.array([[scale.link_location]]), {}, scale)
    assert slope[0, 0] * scale.link_unit == pytest.approx(np.std(scores, ddof=1))


def test_all_patients_at_an_end_still_have_a_link_location() -> None:
    scale = family_scale(FAMILIES["beta_binomial"], [30.0, 30.0, 30.0, 29.99], (3, 30))
    assert np.isfinite([scale.link_location, scale.link_unit]).all()


def test_events_and_counts_keep_a_unit_that_no_data_move() -> None:
    """Events: SDs of a logistic variable, around the log odds; counts: factors of e."""
    events = family_scale(FAMILIES["binary"], [1.0, 0.0, 0.0, 0.0], (0, 1))
    assert (events.top, events.link_unit) == (1, pytest.approx(stats.logistic.std()))
    assert events.link_location == pytest.approx(np.log(1 / 3))
    counts = family_scale(FAMILIES["count"], [0.0, 3.0, 9.0], (0, 500))
    assert (counts.offset, counts.unit, counts.top, counts.link_unit) == (0.0, 1.0, 0, 1.0)
    assert counts.link_location == pytest.approx(np.log(4))


def test_nobody_with_the_event_still_has_a_middle() -> None:
    """Half an event among all: the log odds and the log rate stay finite."""
    events = family_scale(FAMILIES["binary"], [0.0] * 5, (0, 1))
    assert events.link_location == pytest.approx(np.log(1 / 9))
    counts = family_scale(FAMILIES["count"], [0.0] * 5, (0, 9))
    assert counts.link_location == pytest.approx(np.log(0.1))
