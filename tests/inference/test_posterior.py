"""One fitted outcome: what `fit[outcome]` holds, once, and what draws of no run do without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from effect_fits import fit_of
from prediction_examples import example_fit

from alliance.data_prep.errors import InputError
from alliance.inference.posterior import Posterior
from alliance.inference.runs import fit as fit_module
from alliance.inference.sampling.profiles import seed_sequence


def test_an_outcome_of_a_fit_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = replace(example_fit())
    built, own = [], fit_module.build_design

    def counted(*arguments: Any) -> object:
        built.append(arguments)
        return own(*arguments)

    monkeypatch.setattr(fit_module, "build_design", counted)
    assert fit["gpe"] is fit["gpe"]
    assert fit.design("gpe") is fit["gpe"].design
    assert len(built) == 1
    assert fit["gpe"].beta is fit["gpe"].beta
    assert fit["gpe"].rows is fit["gpe"].rows


def test_an_outcome_that_was_not_fitted_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="no outcome 'functoin'") as refused:
        example_fit()["functoin"]
    assert "function" in refused.value.remedy
    with pytest.raises(InputError, match="no outcome 'pan'"):
        example_fit().chosen(["gpe", "pan"])
    assert example_fit().chosen(["gpe", "function"]) == ["function", "gpe"]  # the study's order
    assert example_fit().chosen() == ["function", "gpe"]


def test_what_is_better_is_the_studys() -> None:
    assert fit_of()["function"].direction == 1
    assert fit_of(better="lower")["function"].direction == -1


def test_coefficients_are_those_of_the_draws_and_zero_where_there_are_none() -> None:
    posterior = fit_of("gpe", family="ordinal")["gpe"]  # no baseline, no intercept of its own
    draws, names = posterior.draws, posterior.design.coefficients
    for name in names:
        kept = name in draws["coefficient"].values
        own = draws["beta"].sel(coefficient=name).values.ravel() if kept else 0.0
        np.testing.assert_array_equal(posterior.coefficient(name), own)
    assert "baseline" not in draws["coefficient"].values


def test_blocks_are_a_partition_of_the_draws() -> None:
    posterior = example_fit()["function"]
    beta = []
    for chain, some, part in posterior.blocks(numbers_each=10, numbers=75):
        assert part.total == some.stop - some.start <= 7
        assert part.draws["chain"].values.tolist() == [chain]
        beta.append(part.beta)
    np.testing.assert_array_equal(np.concatenate(beta), posterior.beta)


def test_random_numbers_are_of_the_runs_seed_and_a_named_stream() -> None:
    posterior = example_fit()["function"]
    assert posterior.seed == 3
    for seed, used in ((None, 3), (8, 8)):
        found = posterior.generator("predictions", seed).random(4)
        stream = seed_sequence(used, "predictions", "function")
        np.testing.assert_array_equal(found, np.random.default_rng(stream).random(4))


@pytest.mark.parametrize("missing", ["complete_case", "impute"])
def test_patients_of_no_run_are_those_of_the_design(missing: str) -> None:
    """Standardised and back: patients' values as the run has them, but for rounding."""
    fit = example_fit(covariates=("age",), missing_alliance=missing)
    for outcome in ("function", "gpe"):
        own, made = fit[outcome].rows, Posterior(fit.design(outcome), fit[outcome].draws).rows
        np.testing.assert_array_equal(made.arm_index, own.arm_index)
        np.testing.assert_allclose(made.moderator, own.moderator, rtol=1e-12)
        np.testing.assert_allclose(made.covariates, own.covariates, rtol=1e-12, atol=1e-12)
        if own.baseline is None:
            assert made.baseline is None
        else:
            np.testing.assert_allclose(made.baseline, own.baseline, rtol=1e-12)


def test_draws_of_no_run_have_no_study() -> None:
    fit = example_fit()
    posterior = Posterior(fit.design("gpe"), fit["gpe"].draws)
    assert not posterior.joint
    for name in ("study", "seed", "direction", "patients"):
        with pytest.raises(ValueError, match="gpe belong to no run"):
            getattr(posterior, name)
