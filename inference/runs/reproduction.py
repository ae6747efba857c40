"""A run refitted from what it keeps: are the draws the same, and if not, how far apart and why?

The study, the specifications with their priors, the sampler's profile and the seed are those of
the run folder, not today's defaults. On one machine, with one set of versions, draws are the same
to the last bit; elsewhere the results should be as far apart as two runs with different seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import OVER_TIME
from alliance.data_prep.trial.trial import Trial, check_estimable
from alliance.inference.draws.datatree import add_patients, draws_of
from alliance.inference.estimands.estimands import shared_estimands, with_moments
from alliance.inference.estimands.missing_outcomes import MISSING_OUTCOMES, missing_outcome_counts
from alliance.inference.runs.fit import ENCODINGS, Fit, visits_facts, visits_of
from alliance.inference.runs.fitting import LARGEST_SEED, this_environment, this_machine
from alliance.inference.sampling.engines import fit_outcome, fit_over_time
from alliance.inference.sampling.joint import joint_positions, sample_joint
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.design.design import Design, build_design, centre_and_sd
from alliance.models.joint.joint import join_designs
from alliance.models.spec import JOINT, over_time, specify
from alliance.models.visits.design import build_visits

# The largest of some 100 quantities, taken as independent, exceeds 4 standard errors by chance in
# 0.6% of comparisons (2 * (1 - Phi(4)) = 6.3e-5 for each).
MONTE_CARLO_LIMIT = 4.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False, slots=True)
class Reproduction:
    """A run and its refit, held against each other.

    Attributes
    ----------
    identical : dict of str to bool
        By outcome (and ``joint`` for what a joint model shares): whether every draw of every
        parameter is the same.
    quantities : pandas.DataFrame
        One row for each reported quantity: ``outcome, quantity, level, identical, mean, refitted``
        (posterior means), ``difference`` (refitted minus mean), ``in_mcse`` (its size in Monte
        Carlo standard errors of the difference), ``in_sd`` (in posterior SDs of the run).
    reasons : tuple of str
        What differs between the run and the refit, in sentences: seed, data, versions, machine,
        files of the run folder, specification.
    refit : Fit
        The new draws.
    changed : tuple of str
        Those of the reasons that a person is behind: another study file, other data, tables and
        other files of the run folder that are no longer what was written.
    """

    identical: dict[str, bool]
    quantities: pd.DataFrame
    reasons: tuple[str, ...]
    refit: Fit
    changed: tuple[str, ...] = ()

    @property
    def reproduced(self) -> bool:
        """Whether all draws are the same."""
        return all(self.identical.values())

    @property
    def within_error(self) -> bool:
        """Whether no quantity is further apart than Monte Carlo error explains."""
        return self.within(MONTE_CARLO_LIMIT)

    def within(self, errors: float) -> bool:
        """Whether no quantity is further apart than so many Monte Carlo standard errors.

        Parameters
        ----------
        errors : float
        """
        return bool((self.quantities["in_mcse"].fillna(np.inf) <= errors).all())

    @property
    def table(self) -> pd.DataFrame:
        """The quantity of each outcome that is furthest apart, in Monte Carlo standard errors.

        Returns
        -------
        pandas.DataFrame
            Columns as of `quantities`.
        """
        sized = self.quantities.assign(size=self.quantities["in_mcse"].fillna(np.inf))
        worst = sized.groupby("outcome", sort=False)["size"].idxmax()
        return self.quantities.loc[worst].reset_index(drop=True)


def reproduce(
    fit: Fit,
    trial: Trial | None = None,
    *,
    seed: int | None = None,
    cores: int | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Refit a run, and compare its draws with the new ones.

    Parameters
    ----------
    fit : Fit
        As read from a run folder.
    trial : Trial, optional
        Data read with the run's study; by default the analysed patients that the run keeps.
    seed : int, optional
        In the place of the run's own.
    cores : int, optional
        Chains run at a time; never changes a draw.
    progress : callable, optional
        Called with the outcome, the draws done and the draws to do.

    Returns
    -------
    Reproduction

    Raises
    ------
    InputError
        If the run's manifest lacks its seed or profile, the seed is out of range, or the run is of
        a joint model and does not tell which outcomes belong to one patient.
    DataError
        If the data cannot carry the model.
    """
    own_seed, profile = _settings(fit)
    used = own_seed if seed is None else seed
    if not 0 <= used <= LARGEST_SEED:
        raise InputError(f"The seed {used} is out of range.", f"Give 0 to {LARGEST_SEED}.")
    if trial is not None:
        check_estimable(trial, trial.study.model.therapist)
    patients = {
        name: fit.patients(name) if trial is None else trial.analysed(name) for name in fit.outcomes
    }
    again = _refit(fit, trial, patients, profile, used, cores, progress)
    pairs = {name: (fit.trees[name], again.trees[name]) for name in fit.outcomes}
    if fit.shared is not None and again.shared is not None:
        pairs[JOINT] = (fit.shared, again.shared)
    identical = {name: _same(*map(draws_of, pair)) for name, pair in pairs.items()}
    rows = [
        _compared(name, identical[name], _reported(fit, name), _reported(again, name))
        for name in pairs
    ]
    changed = _changed(fit, trial)
    return Reproduction(
        identical=identical,
        quantities=pd.concat(rows, ignore_index=True),
        reasons=(*_reasons(fit, own_seed, used), *changed),
        refit=again,
        changed=changed,
    )


def _settings(fit: Fit) -> tuple[int, SamplerProfile]:
    try:
        return int(fit.manifest["seed"]), fit.profile
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The run's manifest does not say how it was sampled ({error}).", "Fit again."
        ) from error


def _refit(
    fit: Fit,
    trial: Trial | None,
    patients: Mapping[str, xr.Dataset],
    profile: SamplerProfile,
    seed: int,
    cores: int | None,
    progress: Progress | None,
) -> Fit:
    """The run sampled again, from its own specifications."""
    changed: dict[str, Any] = {"seed": seed}
    if trial is not None:
        changed |= {
            "data": {"file": trial.source, "sha256": trial.sha256},
            MISSING_OUTCOMES: missing_outcome_counts(trial),
        }

    def report(name: str) -> Callable[[int, int], None] | None:
        return None if progress is None else partial(progress, name)

    trees, shared = dict[str, xr.DataTree](), None
    if JOINT in fit.manifest:
        positions = _positions(fit, trial)
        facts = _moderator_facts(patients, positions)
        changed[JOINT] = dict(fit.manifest[JOINT]) | facts
        designs = _designs(fit, patients, tuple(facts["moderator_scale"]))
        better = {name: fit.study.outcomes[name].better for name in fit.outcomes}
        priors = next(iter(fit.specs.values())).priors
        trees, shared, _ = sample_joint(
            join_designs(designs, positions, better),
            priors,
            profile,
            seed,
            cores=cores,
            progress=report(JOINT),
        )
    else:
        visited = over_time(fit.specs)
        if visited:
            changed[ENCODINGS] = dict(fit.manifest[ENCODINGS])
        for outcome, names in visited.items():
            own = {name: fit.specs[name] for name in names}
            whole = visits_of(fit, outcome) if trial is None else build_visits(trial.data, own)
            found, _ = fit_over_time(
                whole,
                fit.specs[names[0]].priors,
                profile,
                seed,
                engine=fit.engine,
                cores=cores,
                progress=report(outcome),
            )
            trees |= found
            told = changed.get(OVER_TIME, fit.manifest[OVER_TIME])
            changed[OVER_TIME] = dict(told) | {outcome: visits_facts(whole)}
            for name, design in whole.designs.items():
                changed[ENCODINGS][name] = design.encoding.to_dict()
        apart = {name: own for name, own in patients.items() if fit.specs[name].visits is None}
        for name, design in _designs(fit, apart, None).items():
            priors = fit.specs[name].priors
            trees[name], _ = fit_outcome(
                design,
                priors,
                profile,
                seed,
                engine=fit.engine,
                cores=cores,
                progress=report(name),
            )
    for name, tree in trees.items():
        add_patients(tree, patients[name])
    trees = {name: trees[name] for name in fit.outcomes}
    return replace(fit, trees=trees, shared=shared, manifest=fit.manifest | changed)


def _designs(
    fit: Fit, patients: Mapping[str, xr.Dataset], scale: tuple[float, float] | None
) -> dict[str, Design]:
    return {
        name: build_design(own, fit.specs[name], fit.study.outcomes[name].range, scale)
        for name, own in patients.items()
    }


def _positions(fit: Fit, trial: Trial | None) -> dict[str, list[int]]:
    """Which patients the rows of each outcome are."""
    if trial is not None:
        return {name: trial.positions(name).tolist() for name in fit.outcomes}
    sizes = {name: fit.patients(name).sizes["patient"] for name in fit.outcomes}
    positions = joint_positions(fit.manifest[JOINT], sizes)
    if positions is None:
        raise InputError(
            "This run of a joint model does not tell which outcomes belong to one patient.",
            "Give the data file: alliance reproduce RUN DATA.",
        )
    return positions


def _moderator_facts(
    patients: Mapping[str, xr.Dataset], positions: Mapping[str, list[int]]
) -> dict[str, Any]:
    """Number of patients with any outcome, and the mean and SD of their moderator."""
    total = 1 + max(max(rows) for rows in positions.values())
    rated = np.full(total, np.nan)
    for name, rows in positions.items():
        rated[rows] = patients[name]["moderator"].values
    together = np.unique(np.concatenate([np.asarray(rows) for rows in positions.values()]))
    scale = centre_and_sd(rated[together])
    return {"patients": len(together), "moderator_scale": list(scale)}


def _same(first: xr.Dataset, second: xr.Dataset) -> bool:
    """Whether two posteriors have the same variables, labels and draws."""
    if set(first.data_vars) != set(second.data_vars):
        return False
    return all(
        values.dims == second[name].dims
        and np.array_equal(values.values, second[name].values)
        and all(
            [str(label) for label in values[dim].values]
            == [str(label) for label in second[name][dim].values]
            for dim in values.dims
        )
        for name, values in first.data_vars.items()
    )


def _reported(fit: Fit, name: str) -> xr.DataArray:
    if name == JOINT and fit.shared is not None:
        return shared_estimands(draws_of(fit.shared))
    return with_moments(fit.estimands(name))


def _compared(
    outcome: str, identical: bool, first: xr.DataArray, second: xr.DataArray
) -> pd.DataFrame:
    """Posterior means of the quantities that both have."""
    sample = ("chain", "draw")
    parts = []
    for values in (first, second):
        labels = [values["quantity"].values, values["level"].values]
        index = pd.MultiIndex.from_arrays(labels, names=["quantity", "level"])
        columns = {
            "mean": values.mean(sample).values,
            "sd": values.std(sample, ddof=1).values,
            "mcse": azs.mcse(values, method="mean").values,
        }
        parts.append(pd.DataFrame(columns, index=index))
    both = (
        parts[0]
        .merge(parts[1], left_index=True, right_index=True, suffixes=("", "_again"))
        .reset_index()
    )
    difference = both["mean_again"] - both["mean"]
    error = np.sqrt(both["mcse"] ** 2 + both["mcse_again"] ** 2)
    return pd.DataFrame(
        {
            "outcome": outcome,
            "quantity": both["quantity"],
            "level": both["level"],
            "identical": identical,
            "mean": both["mean"],
            "refitted": both["mean_again"],
            "difference": difference,
            "in_mcse": _ratio(difference, error),
            "in_sd": _ratio(difference, both["sd"]),
        }
    )


def _ratio(difference: Any, unit: Any) -> np.ndarray:
    """Sizes in so many units; zero where there is no difference."""
    size, own = np.abs(np.asarray(difference)), np.asarray(unit)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size == 0, 0.0, size / own)


def _changed(fit: Fit, trial: Trial | None) -> tuple[str, ...]:
    """What somebody changed: data, study, files of the run."""
    found = list(fit.changed)
    if trial is not None and trial.sha256 != fit.manifest["data"].get("sha256"):
        digests = [str(each)[:12] for each in (trial.sha256, fit.manifest["data"].get("sha256"))]
        found.append(
            f"{trial.source} is not the data that were fitted ({fit.manifest['data'].get('file')}):"
            f" its SHA-256 is {digests[0]}..., not {digests[1]}...."
        )
    today = specify(fit.study)
    found += [
        f"The study file means another specification of {name} today; the run's own was refitted."
        for name, spec in fit.specs.items()
        if today.get(name) != spec
    ]
    return tuple(found)


def _reasons(fit: Fit, own_seed: int, used: int) -> tuple[str, ...]:
    """What differs between the run and its refit, and is nobody's change of it."""
    found = [f"The seed is {used}; the run's is {own_seed}."] if used != own_seed else []
    found += [told for told in fit.differences if told not in fit.changed]
    here, there = this_machine(), fit.manifest.get("machine")
    if isinstance(there, dict):
        found += [
            f"The run was made on the {name} {then}; this one is {here.get(name, 'unknown')}."
            for name, then in there.items()
            if here.get(name) != then
        ]
    now, before = this_environment(), fit.manifest.get("environment")
    if isinstance(before, dict):
        found += [
            f"The run was made with {name} {before.get(name, 'not set')}; here it is "
            f"{now.get(name, 'not set')}."
            for name in dict.fromkeys([*before, *now])
            if now.get(name) != before.get(name)
        ]
    return tuple(found)
