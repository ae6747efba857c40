"""From a trial to a `Fit`: every outcome sampled, with what is needed to read it again."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from data_prep.errors import InputError
from data_prep.study import Study
from data_prep.trial import Trial, check_estimable
from inference.datatree import add_patients, analysed_patients, posterior
from inference.estimands import estimand_draws, prior_table
from inference.profiles import SamplerProfile
from inference.sampling import sample_outcome
from inference.summary import summarise
from models.design import Design, build_design
from models.spec import ModelSpec, specify

# Packages whose version can move a draw or a digit of a table.
RECORDED_PACKAGES = (
    "alliance",
    "pymc",
    "pytensor",
    "nutpie",
    "numba",
    "numpy",
    "scipy",
    "arviz",
    "arviz-stats",
    "xarray",
    "pandas",
    "statsmodels",
)
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Fit:
    """Posterior draws of a study's outcomes, and how they came about.

    Attributes
    ----------
    study : Study
    specs : dict of str to ModelSpec
        By outcome.
    trees : dict of str to xarray.DataTree
        By outcome; ArviZ groups at the root, parameters on the standardised scale.
    flow : pandas.DataFrame
        Flow counts of the outcomes.
    manifest : dict
        What was fitted, with what, when: plain values.
    differences : tuple of str
        For a run read back: what no longer matches (study, data, versions).
    """

    study: Study
    specs: dict[str, ModelSpec]
    trees: dict[str, xr.DataTree]
    flow: pd.DataFrame
    manifest: dict[str, Any]
    differences: tuple[str, ...] = field(default=())

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the fitted outcomes."""
        return tuple(self.specs)

    @property
    def profile(self) -> SamplerProfile:
        """The sampler's settings."""
        return SamplerProfile(**self.manifest["profile"])

    def patients(self, outcome: str) -> xr.Dataset:
        """The outcome's analysed patients, by position, on their own scales."""
        return analysed_patients(self.trees[outcome])

    def design(self, outcome: str) -> Design:
        """The outcome's design, built again from its patients."""
        limits = self.study.outcomes[outcome].range
        return build_design(self.patients(outcome), self.specs[outcome], limits)

    def linear_design(self, outcome: str) -> Design:
        """Design of the outcome's linear models: Gaussian, of the patients with a rating."""
        spec = self.specs[outcome]
        linear = ModelSpec(outcome, spec.therapist, spec.interaction, spec.priors)
        patients = self.patients(outcome)
        rated = np.flatnonzero(np.isfinite(patients["moderator"].values))
        return build_design(patients.isel(patient=rated), linear)

    def estimands(self, outcome: str, *, per_sd: bool = False) -> xr.DataArray:
        """Draws of the outcome's reported quantities; see `inference.estimands.estimand_draws`."""
        draws = posterior(self.trees[outcome])
        return estimand_draws(self.design(outcome), draws, per_sd=per_sd)

    def priors(self, *, per_sd: bool = False) -> pd.DataFrame:
        """Priors of the reported quantities on the outcome's own scale, as normal distributions.

        See `inference.estimands.prior_table`.
        """
        tables = [
            prior_table(self.design(outcome), self.specs[outcome].priors, per_sd=per_sd)
            for outcome in self.outcomes
        ]
        return pd.concat(tables, ignore_index=True)

    def summary(self, *, interval: float = 0.95, per_sd: bool = False) -> pd.DataFrame:
        """The tidy table of all outcomes; see `inference.summary.summarise`.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed intervals.
        per_sd : bool
            Moderator slopes and interactions for one SD of the moderator instead of one point.
        """
        tables = [
            summarise(outcome, self.estimands(outcome, per_sd=per_sd), interval=interval)
            for outcome in self.outcomes
        ]
        return pd.concat(tables, ignore_index=True)


def fit_trial(
    trial: Trial,
    profile: SamplerProfile,
    seed: int,
    *,
    cores: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    left_out: Sequence[str] = (),
) -> Fit:
    """Sample the posterior of every outcome of the trial's study.

    Parameters
    ----------
    trial : Trial
    profile : SamplerProfile
    seed : int
        From 0 to 2**63 - 1.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the outcome, the draws done and the draws to do.
    left_out : sequence of str
        Outcomes that the trial's study was narrowed by, for the manifest: published findings on
        them are no mistake.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If the seed is out of range or the data cannot carry the model.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"The seed {seed} is out of range.", f"Give 0 to {LARGEST_SEED}.")
    specs = specify(trial.study)
    check_estimable(trial, trial.study.model.therapist)
    trees, timings = {}, {}
    for outcome, spec in specs.items():

        def report(done: int, total: int, outcome: str = outcome) -> None:
            if progress is not None:
                progress(outcome, done, total)

        analysed = trial.analysed(outcome)
        design = build_design(analysed, spec, trial.study.outcomes[outcome].range)
        tree, seconds = sample_outcome(
            design, spec.priors, profile, seed, cores=cores, progress=report if progress else None
        )
        add_patients(tree, analysed)
        trees[outcome] = tree
        timings[outcome] = {
            "compilation": seconds.compilation,
            "sampling": seconds.sampling,
            "therapist_effects": seconds.therapist_effects,
        }
    manifest = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "title": trial.study.title,
        "simulated": trial.study.simulated,
        "data": {"file": trial.source, "sha256": trial.sha256},
        "therapists_in_arms": trial.therapists_in_arms,
        "notes": list(trial.notes),
        "seed": seed,
        "profile": profile.to_dict(),
        "left_out": list(left_out),
        "specifications": {name: spec.to_dict() for name, spec in specs.items()},
        "seconds": timings,
        "versions": installed_versions(),
    }
    return Fit(trial.study, specs, trees, trial.flow, manifest)


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can move a result."""
    packages = {name: version(name) for name in RECORDED_PACKAGES}
    return {"python": platform.python_version(), **packages}
