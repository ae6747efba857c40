"""Calibration of the models of the ratings where the alliance goes with what stands beside it.

True values come from the priors, those of the alliance's own model too: in the simulated trials the
alliance differs between arms and goes with the baseline and with a covariate. A model that leaves
these out of the alliance's own is kept as a planted fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alliance.data_prep.study.description import find_study, narrowed, read_study
from alliance.inference.many_fits import calibration as calibration_module
from alliance.inference.many_fits.calibration import CalibrationQuestion
from alliance.inference.many_fits.calibration_runs import calibration_questions
from alliance.inference.sampling import sampling as sampling_module
from alliance.models import latent_ratings as latent_moderator_module
from alliance.models.design import ratings as ratings_module
from alliance.models.design.design import Design
from alliance.models.gaussian import exact_gaussian as exact_gaussian_module

OPTIONS: dict[str, dict[str, Any]] = {
    "mismeasured": {"reliability": True},
    "at the ceiling": {"ceiling": True},
    "imputed": {"missing_alliance": "impute"},
    "within and between": {"alliance": "within_between"},
    "within and between, therapists in one arm each": {"alliance": "within_between"},
    "within and between, also by arm": {"alliance": "within_between", "between_interaction": True},
}
PATIENTS, THERAPISTS = 182, 12
COVARIATE = "age"


def question_of(name: str, seed: int = 13, *, strong: bool = False) -> CalibrationQuestion:
    """An option's question, of imagined patients who have a baseline and a covariate.

    Where it is to be strong slopes of the alliance are large, and of mismeasured ratings half of
    the variance is noise: what a rating is shrunk to then matters more than the posterior's SD.
    """
    study = narrowed(read_study(find_study("ferreira2013")), outcomes=["pain"], **OPTIONS[name])
    study = study.model_copy(update={"covariates": (COVARIATE,)})
    questions = calibration_questions(
        study,
        None,
        patients=PATIENTS,
        therapists=THERAPISTS,
        seed=seed,
        engine=None,
        nested="one arm" in name,
    )
    (question,) = questions.values()
    assert isinstance(question, CalibrationQuestion)
    if not strong:
        return question
    design = question.design
    if design.moderator.reliability is not None:
        design = replace(design, moderator=replace(design.moderator, reliability=0.5))
    priors = replace(question.priors, moderator_slope=1.0)
    return replace(question, design=design, priors=priors)


def intercept_alone(design: Design) -> list[int]:
    """The planted fault: nothing predicts the alliance."""
    return [design.coefficients.index("intercept")]


def no_caseload(_design: Design, arms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the planted fault: therapists' means are expected to be the same in all arms."""
    return np.ones((len(arms), 1))


@contextmanager
def fitted_without_predictors() -> Iterator[None]:
    """Fit, but do not simulate, with an alliance that nothing predicts."""
    fitted = calibration_module.fit_outcome
    caches = (
        sampling_module._compiled,
        sampling_module._patient_level,
    )
    modules = (
        exact_gaussian_module,
        latent_moderator_module,
        ratings_module,
        sampling_module,
    )

    def faulty(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for module in modules:
                patch.setattr(module, "predictor_columns", intercept_alone)
            patch.setattr(ratings_module, "_predictors", no_caseload)
            return fitted(*arguments, **options)

    for cache in caches:
        cache.clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calibration_module, "fit_outcome", faulty)
            yield
    finally:
        for cache in caches:
            cache.clear()
