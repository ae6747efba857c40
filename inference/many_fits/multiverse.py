"""All defensible analyses of one trial: which choices there are, and the data that each leaves.

A multiverse (Steegen et al. 2016, doi:10.1177/1745691616658637) varies what an analyst could as
well have chosen: the outcome's distribution, what differs between therapists, and between clinics
where they are recorded, the covariates, what becomes of missing ratings, how wide the priors are,
and who is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alliance.data_prep.errors import DataError, InputError, nearest
from alliance.data_prep.files import AnyPath, as_path
from alliance.data_prep.study.description import Study, narrowed
from alliance.data_prep.study.rules import OWN_FAMILIES
from alliance.data_prep.tables.readers import Table, read_table
from alliance.data_prep.tables.roles import study_columns
from alliance.data_prep.trial.trial import Trial, check_estimable, trial_from_frame
from alliance.inference.priors.prior_refits import ALL, scaled
from alliance.models.design.design import Design, build_design
from alliance.models.priors import Priors
from alliance.models.spec import over_time, specify
from alliance.models.visits.design import VisitsDesign, build_visits

FEWEST_PATIENTS = 5  # of a therapist; fewer say little of a mean, and nothing of a slope
MOST_SDS = 2.5  # of the alliance from its mean; 1 in 80 of a normal distribution is beyond
PRIOR_SCALES = (0.5, 1.0, 2.0)

ALL_PATIENTS = "all"


@dataclass(frozen=True, slots=True)
class Universe:
    """One way through the choices.

    Attributes
    ----------
    outcome : str
        An outcome over time stands for its visits.
    likelihood : str
        An outcome family.
    therapist : str
        As `models.spec.ModelSpec.therapist`.
    covariates : {"adjusted", "unadjusted"}
    missing_alliance : {"complete_case", "impute"}
    prior_scale : float
        Factor of every prior scale.
    patients : str
        ``all``, or who is left out.
    clinic : str
        As `models.spec.ModelSpec.clinic`; ``none`` where the study names no clinics.
    """

    outcome: str
    likelihood: str
    therapist: str
    covariates: str
    missing_alliance: str
    prior_scale: float
    patients: str
    clinic: str = "none"

    @property
    def name(self) -> str:
        """All choices in a row; without effects of clinics nothing is said of them."""
        told = [f"{getattr(self, field.name)}" for field in fields(self) if field.name != "clinic"]
        return "/".join(told if self.clinic == "none" else [*told, f"clinic {self.clinic}"])


CHOICES = tuple(field.name for field in fields(Universe) if field.name != "outcome")
"""What may vary, in the order of tables and figures."""


def _without_small_therapists(rows: xr.Dataset) -> NDArray[np.bool_]:
    therapist = rows["therapist_index"].values
    alone = therapist < 0  # patients of arms without therapists stay
    return np.asarray(alone | (np.bincount(therapist + 1)[therapist + 1] >= FEWEST_PATIENTS))


def _without_extreme_alliance(rows: xr.Dataset) -> NDArray[np.bool_]:
    moderator = rows["moderator"].values
    away = np.abs(moderator - np.nanmean(moderator)) / np.nanstd(moderator, ddof=1)
    return ~(away > MOST_SDS)  # missing ratings stay


EXTREME = f"alliance within {MOST_SDS:g} SDs"
EXCLUSIONS: dict[str, Callable[[xr.Dataset], NDArray[np.bool_]]] = {
    ALL_PATIENTS: lambda rows: np.ones(rows.sizes["patient"], dtype=bool),
    f"therapists of {FEWEST_PATIENTS} or more": _without_small_therapists,
    EXTREME: _without_extreme_alliance,
}


@dataclass(frozen=True, eq=False, slots=True)
class Analysis:
    """A universe, ready to be fitted.

    Attributes
    ----------
    universe : Universe
    design : Design
        Of an outcome over time, that of its first visit.
    priors : Priors
    whole : VisitsDesign or None
        Of an outcome over time.
    """

    universe: Universe
    design: Design
    priors: Priors
    whole: VisitsDesign | None = None

    @property
    def designs(self) -> dict[str, Design]:
        """By outcome, those of all visits of an outcome over time."""
        if self.whole is not None:
            return self.whole.designs
        return {self.universe.outcome: self.design}

    @property
    def analysed(self) -> int:
        """Patients, with any visit."""
        return len(self.design.y) if self.whole is None else self.whole.patients


@dataclass(frozen=True, eq=False, slots=True)
class Multiverse:
    """Every analysis that the data allow.

    Attributes
    ----------
    study : Study
    analyses : tuple of Analysis
    varied : tuple of str
        The choices among which there is more than one.
    left_out : dict of str to str
        By universe, why the data cannot carry it.
    """

    study: Study
    analyses: tuple[Analysis, ...]
    varied: tuple[str, ...]
    left_out: dict[str, str]


def build_multiverse(
    study: Study, data: AnyPath | pd.DataFrame, vary: Sequence[str] = (), *, full: bool = False
) -> Multiverse:
    """Every analysis of a trial that its data allow.

    Parameters
    ----------
    study : Study
        With all outcomes that are wanted; its own settings hold for what is not varied.
    data : str, path-like or pandas.DataFrame
    vary : sequence of str
        Some of `CHOICES`; all by default.
    full : bool
        Cross every likelihood with all other choices. By default those that are compiled, all but
        the Gaussian, are crossed with what makes a model (therapists, missing ratings) and keep
        the first of covariates, patients, clinics and prior scales; events and counts, which have
        no Gaussian analysis, only where `vary` names no choices.

    Returns
    -------
    Multiverse

    Raises
    ------
    InputError
        If there is no such choice, the model is a joint one, outcomes share their patients, or the
        data cannot carry any analysis.
    """
    for choice in vary:
        if choice not in CHOICES:
            raise InputError(f"There is no choice {choice!r}.", nearest(choice, CHOICES))
    if study.model.joint:
        raise InputError("A joint model has no multiverse.", "Leave `joint` out.")
    if study.model.common_patients:
        raise InputError(
            "A multiverse analyses each outcome by itself, and common_patients = true makes its "
            "patients hang on the other outcomes.",
            "Set common_patients = false under [model].",
        )
    if isinstance(data, pd.DataFrame):
        table = Table(Path("data frame"), data, (), "")
    else:
        table = read_table(as_path(data))
        table.require(study_columns(study))
    analyses: list[Analysis] = []
    left_out: dict[str, str] = {}
    visits = over_time(specify(study))
    at_visits = {name for names in visits.values() for name in names}
    apart = {name: [name] for name in study.outcomes if name not in at_visits}
    for outcome, names in (apart | visits).items():
        own = narrowed(study, outcomes=names)
        for found in _analyses(own, table, outcome, vary, full=full):
            if isinstance(found, Analysis):
                analyses.append(found)
            else:
                left_out[found[0]] = found[1]
    if not analyses:
        raise InputError(
            f"No analysis can be made; the first because {next(iter(left_out.values()))}",
            "See `alliance check`.",
        )
    varied = tuple(
        choice
        for choice in CHOICES
        if len({getattr(each.universe, choice) for each in analyses}) > 1
    )
    return Multiverse(study, tuple(analyses), varied, left_out)


def own_universe(study: Study, outcome: str) -> Universe:
    """The analysis that the study file asks for, whether or not it is among those of a multiverse.

    Parameters
    ----------
    study : Study
    outcome : str
    """
    first = {name: found[0] for name, found in _options(study, outcome, ()).items()}
    return Universe(outcome, **first)


def _analyses(
    study: Study, table: Table, outcome: str, vary: Sequence[str], *, full: bool
) -> Iterator[Analysis | tuple[str, str]]:
    names = list(study.outcomes)
    options = _options(study, names[0], vary)
    scales = options.pop("prior_scale")
    first = {name: found[0] for name, found in options.items()}
    for likelihood, therapist, covariates, missing, patients, clinic in product(*options.values()):
        named = bool(vary) and likelihood in OWN_FAMILIES  # these have no Gaussian beside them
        whole = full or likelihood == "gaussian" or named
        usual = (first["covariates"], first["patients"], first["clinic"])
        if not whole and (covariates, patients, clinic) != usual:
            continue
        universe = Universe(
            outcome, likelihood, therapist, covariates, missing, 1.0, patients, clinic
        )
        try:
            trial = _trial(study, table, universe)
            if trial is None:
                continue
            specs = specify(trial.study)
            spec, visits = replace(specs[names[0]], family=likelihood), None
            if spec.visits is not None:
                visits = build_visits(trial.data, specs)
                design = visits.first
            else:
                limits = study.outcomes[outcome].range
                design = build_design(trial.analysed(outcome), spec, limits)
        except InputError as error:
            told = error.problems[0] if isinstance(error, DataError) else error
            yield universe.name, str(told)
            continue
        for scale in scales if whole else scales[:1]:
            yield Analysis(
                replace(universe, prior_scale=scale),
                design,
                scaled(spec.priors, ALL, scale),
                visits,
            )


def _options(study: Study, outcome: str, vary: Sequence[str]) -> dict[str, list]:
    """What each choice is between: the study's own setting first."""
    own = specify(study)[outcome]
    wanted = set(vary or CHOICES)
    families = dict.fromkeys([own.family, "gaussian", study.outcomes[outcome].family, "student_t"])
    if own.family in OWN_FAMILIES:  # no other stands for events or counts
        families = {own.family: None}
    therapists = dict.fromkeys([own.therapist, "none", "intercept", "intercept+slope"])
    if own.therapist_by_arm or (own.visits is not None and own.visits.therapist_by_visit):
        therapists.pop("none")
    if own.visits is not None:  # a model of visits is Gaussian
        families = {own.family: None}
    if study.columns.therapist is None:
        therapists = {"none": None}
    covariates = ["adjusted", "unadjusted"] if study.covariates else ["adjusted"]
    missing = dict.fromkeys([own.moderator.missing, "complete_case", "impute"])
    exclusions = list(EXCLUSIONS)
    if own.moderator.arms is not None:  # a model of the ratings is one of everybody's
        missing.pop("impute", None)
    if study.moderator is None:
        therapists.pop("intercept+slope")
        exclusions.remove(EXTREME)
    clinics = ["none"]
    if study.columns.clinic is not None:
        clinics = list(dict.fromkeys([own.clinic, "none", "intercept"]))
    if (
        own.without_therapist or own.residual_by_arm or len(clinics) > 1
    ):  # no imputation goes with them
        missing.pop("impute", None)
    if own.visits is not None:
        missing.pop("impute", None)
        if study.visits is not None:  # rows of the table are no patients
            exclusions = [ALL_PATIENTS]
    options: dict[str, list] = {
        "likelihood": list(families),
        "therapist": list(therapists),
        "covariates": covariates,
        "missing_alliance": list(missing),
        "prior_scale": [1.0, *(scale for scale in PRIOR_SCALES if scale != 1)],
        "patients": exclusions,
        "clinic": clinics,
    }
    return {name: found if name in wanted else found[:1] for name, found in options.items()}


def _trial(study: Study, table: Table, universe: Universe) -> Trial | None:
    """The universe's trial; None where its choice changes nothing."""
    chosen = narrowed(
        study,
        therapist=universe.therapist,
        missing_alliance=universe.missing_alliance,
        clinic=None if study.columns.clinic is None else universe.clinic,
        likelihood="published",
    )
    if universe.covariates == "unadjusted":
        chosen = chosen.model_copy(update={"covariates": ()})
    trial = trial_from_frame(chosen, table.frame, table.path.name)
    places = np.unique(np.concatenate([trial.positions(name) for name in study.outcomes]))
    rows = trial.data.isel(patient=places)
    imputed = universe.missing_alliance == "impute" != study.model.missing_alliance
    if imputed and not np.isnan(rows["moderator"].values).any():
        return None
    kept = EXCLUSIONS[universe.patients](rows)
    if universe.patients != ALL_PATIENTS:
        if kept.all():
            return None
        trial = trial_from_frame(chosen, table.frame.iloc[places[kept]], table.path.name)
    check_estimable(trial, universe.therapist)
    return trial
