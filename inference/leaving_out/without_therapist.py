"""A model fitted again without one therapist at a time, with one compilation."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alliance.inference.draws.datatree import draws_of, sampled_tree
from alliance.inference.leaving_out.leave_one_out import flat_draws, log_mean_exp
from alliance.inference.leaving_out.therapists import fitted_without, without_patients
from alliance.inference.pointwise.log_likelihood import therapist_log_likelihood
from alliance.inference.posterior import Posterior
from alliance.inference.sampling.compilation import compile_model
from alliance.inference.sampling.sampling import (
    PATIENT_LEVEL_TARGET_ACCEPT,
    compiled_model,
    nuts_seed,
    require_complete,
    run_chains,
)
from alliance.models.design.design import Design
from alliance.models.design.ratings import taken_apart
from alliance.models.gaussian.exact_gaussian import rating_data
from alliance.models.patient_level import patient_level_model

Array = NDArray[np.float64]


class WithoutTherapist:
    """An outcome's model fitted again without one therapist at a time, with one compilation.

    Parameters
    ----------
    posterior : Posterior
        Whose priors, sampling profile and seed are used.
    cores : int, optional
        Chains run at a time; never changes a draw.
    """

    def __init__(self, posterior: Posterior, cores: int | None = None) -> None:
        self._posterior, self._cores = posterior, cores
        self._design, self._priors = posterior.design, posterior.priors

    def draws(self, therapist: int) -> xr.Dataset:
        """Posterior draws without the outcomes of the therapist at this position.

        Raises
        ------
        IncompleteSamplingError
            If a chain is short, or a draw is not finite.
        """
        if self._design.exact and self._design.clinic_effects:  # whose effects are asked for
            return fitted_without(self._posterior, self._of(therapist), self._cores)
        profile = self._posterior.profile
        label = f"{self._posterior.name}: without therapist {therapist}"
        if self._design.exact:
            model = compiled_model(
                without_patients(self._design, self._of(therapist)), self._priors
            )
            if taken_apart(self._design):  # ratings stay
                model = model.with_data(**rating_data(self._design))
                profile = profile.accepting(PATIENT_LEVEL_TARGET_ACCEPT)
        else:
            profile = profile.accepting(PATIENT_LEVEL_TARGET_ACCEPT)
            rows = self._rows_of_model
            silent = np.where(rows.therapist_index == therapist, 0.0, rows.count)
            model = self._patient_level.with_data(count=silent)
        seed = nuts_seed(self._posterior.seed, label)
        raw = run_chains(model, profile, seed, self._cores, None)
        draws = draws_of(sampled_tree(raw, self._design, 0.0))
        require_complete(draws, label, profile)
        return draws

    def log_densities(self, therapist: int) -> Array:
        """Log density of a therapist's outcomes, for every draw without them, shape (d, 1)."""
        draws = self.draws(therapist)
        found = therapist_log_likelihood(self._posterior.part(draws))
        return flat_draws(found, "therapist")[:, [therapist]]

    def elpd(self, therapist: int) -> float:
        """Log predictive density of all outcomes of one therapist's patients."""
        return float(log_mean_exp(self.log_densities(therapist))[0])

    def _of(self, therapist: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._design.therapist_index == therapist)

    @cached_property
    def _rows_of_model(self) -> Design:
        return self._design.aggregated()

    @cached_property
    def _patient_level(self) -> Any:
        # Also for Gaussian outcomes with a latent alliance: the same posterior, and its rows have
        # weights.
        return compile_model(patient_level_model(self._rows_of_model, self._priors))
