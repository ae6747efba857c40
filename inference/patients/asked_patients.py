"""Patients whom a query asks about: a grid of values, or the trial's own.

Covariates of patients asked about: numbers and levels as the design's columns.

Therapists of patients asked about: new, average, their own, or one of the trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from alliance.data_prep.cell_moments import NOBODY
from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import find_arm, quoted
from alliance.inference.estimands.compared_at import mean_alliance
from alliance.inference.posterior import Posterior, Rows
from alliance.inference.ranges import (
    require_observed,
    require_others_observed,
)
from alliance.inference.scores.therapist_parts import (
    AVERAGE_CLINIC,
    WORDS,
    TherapistChoice,
    require_clinics,
    require_therapists,
    therapist_id,
)
from alliance.models.design.design import Design

Array = NDArray[np.float64]


def empty_grid(name: str) -> InputError:
    """The error for a list without values."""
    return InputError(
        f"No values are named for {name}: the grid is empty.", "Name one value at least."
    )


def require_covariates(covariates: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse names that are no covariates of the study.

    Parameters
    ----------
    covariates : sequence of str
        The study's.
    given : mapping
        By name.

    Raises
    ------
    InputError
        With the names there are.
    """
    for name in given:
        if name not in covariates:
            remedy = nearest(name, covariates) if covariates else "The study names no covariates."
            raise InputError(f"The run has no covariate {name!r}.", remedy)


def covariate_values(
    posterior: Posterior, name: str, values: Sequence[float | str] | None
) -> Array:
    """What a covariate's values are in the design's columns.

    Parameters
    ----------
    posterior : Posterior
    name : str
        As in the study file.
    values : sequence of float or str, optional
        Numbers or levels; None stands for what is usual among the analysed patients
        (`usual_values`).

    Returns
    -------
    ndarray, shape (values, columns of this covariate)

    Raises
    ------
    InputError
        If there are no values, or one is not a number, or not a level.
    """
    if values is None:
        return usual_values(posterior, name)
    if not len(values):
        raise empty_grid(name)
    return posterior.design.encoding.encoded(name, values)


def usual_values(posterior: Posterior, name: str) -> Array:
    """The analysed patients' mean of a covariate; of a category its commonest level.

    Numbers of two kinds, as 0 and 1, are a category in all but name: nobody is 0.1 of a smoker.

    Parameters
    ----------
    posterior : Posterior
    name : str

    Returns
    -------
    ndarray, shape (1, columns of this covariate)
    """
    encoding = posterior.design.encoding
    columns = encoding.own_columns(name)
    centres = np.array([[posterior.design.scaling.covariates[k][0] for k in columns]])
    if encoding.covariate(name).levels is not None:
        # A mean of an indicator is the share of its level; what is left is the reference's
        shares = np.array([1 - centres.sum(), *centres[0]])
        return np.eye(len(shares))[[shares.argmax()], 1:]
    if posterior.source is not None and posterior.rowless:
        return centres
    found, counts = np.unique(posterior.rows.covariates[:, columns[0]], return_counts=True)
    return found[[counts.argmax()]][None] if len(found) == 2 else centres


LARGEST_GRID = 100_000  # patients; more is no grid to look at


@dataclass(frozen=True, eq=False, slots=True)
class AskedPatients:
    """Patients of one outcome, on their own scales.

    Attributes
    ----------
    outcome : str
    names : tuple of str
        What tells n patients apart in a table.
    rows : Rows
        One for each patient; the arm counts only where `own_arm` says so.
    own_arm : bool
        Whether patients come with an arm.
    therapists : tuple of str or None
        Each patient's therapist, where patients come with one.
    extrapolated : ndarray of bool, shape (n,)
        Whether the alliance, the baseline or a covariate lies outside the range observed among
        the analysed patients.
    alliance_named : bool
        Whether the analyst set the alliance, instead of the patients bringing theirs.
    of_trial : bool
        Whether these are the trial's analysed patients at their own alliance, which a model may
        hold as a parameter.
    clinics : tuple of str or None
        Each patient's clinic, of the trial's patients where the model has clinics.
    """

    outcome: str
    names: tuple[str, ...]
    rows: Rows
    own_arm: bool
    therapists: tuple[str, ...] | None
    extrapolated: NDArray[np.bool_]
    alliance_named: bool
    of_trial: bool = False
    clinics: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)


def patient_grid(
    posterior: Posterior,
    *,
    alliance: Sequence[float] | None = None,
    baseline: Sequence[float] | None = None,
    covariates: Mapping[str, Sequence[float | str]] | None = None,
    extrapolate: bool = False,
) -> AskedPatients:
    """Patients with every combination of the values named.

    Parameters
    ----------
    posterior : Posterior
    alliance, baseline : sequence of float, optional
        Values in their own points; by default the mean of the analysed patients, of the alliance
        with latent ratings as the model has them.
    covariates : mapping of str to sequence, optional
        Values by name: numbers, or levels of a categorical covariate. Those left out stand at
        the analysed patients' means, a categorical one, or one of two numbers, at its commonest
        level.
    extrapolate : bool
        Allow an alliance, a baseline or a covariate outside the range observed among the analysed
        patients.

    Returns
    -------
    AskedPatients
        The alliance varies fastest.

    Raises
    ------
    InputError
        If the outcome, a covariate or a level does not exist, a list of values is empty, a
        baseline lies outside the scale, or a value outside the observed range.
    """
    design = posterior.design
    if alliance is not None:
        _ = posterior.study.measure  # refused without one
    ratings = _listed("alliance", alliance, mean_alliance(posterior))
    before = _listed("baseline", baseline, design.scaling.baseline[0])
    if baseline is not None:
        _require_baseline(posterior, before)
    given = {} if covariates is None else covariates
    require_covariates(posterior.study.covariates, given)
    columns = [
        covariate_values(posterior, name, given.get(name)) for name in posterior.study.covariates
    ]
    sizes = [len(before), *map(len, columns), len(ratings)]
    if np.prod(sizes, dtype=float) > LARGEST_GRID:
        raise InputError(
            f"The grid has {np.prod(sizes, dtype=float):,.0f} patients.",
            f"Name fewer values: at most {LARGEST_GRID:,}.",
        )
    combined = list(product(before, *columns, ratings))
    moderator = np.array([parts[-1] for parts in combined])
    rows = Rows(
        arm_index=np.zeros(len(combined), dtype=np.int64),
        moderator=moderator,
        baseline=np.array([parts[0] for parts in combined]) if design.has_baseline else None,
        covariates=np.array([np.concatenate([*parts[1:-1], []]) for parts in combined]),
    )
    outside = np.zeros(len(rows), dtype=bool)
    if design.has_moderator:
        outside = require_observed(
            moderator,
            posterior.observed_alliance,
            posterior.study.measure.label,
            extrapolate=extrapolate or alliance is None,
        )
    return AskedPatients(
        outcome=posterior.name,
        names=tuple(str(number) for number in range(1, len(combined) + 1)),
        rows=rows,
        own_arm=False,
        therapists=None,
        extrapolated=outside | others_outside(posterior, rows, extrapolate=extrapolate),
        alliance_named=alliance is not None,
    )


def trial_patients(
    posterior: Posterior,
    *,
    alliance: Sequence[float] | None = None,
    extrapolate: bool = False,
) -> AskedPatients:
    """The outcome's analysed patients, with their own therapists, baselines and covariates.

    Parameters
    ----------
    posterior : Posterior
    alliance : sequence of float, optional
        Imagine every patient with each of these values, instead of with the patient's own.
    extrapolate : bool
        As in `patient_grid`.

    Returns
    -------
    AskedPatients
        Named by their positions from 1; a run keeps no identifiers.

    Raises
    ------
    InputError
        As `patient_grid` does.
    """
    design, own = posterior.design, posterior.rows
    patients = AskedPatients(
        outcome=posterior.name,
        names=tuple(str(number) for number in range(1, len(own) + 1)),
        rows=own,
        own_arm=True,
        therapists=design.labels,
        extrapolated=np.zeros(len(own), dtype=bool),
        alliance_named=False,
        of_trial=True,
        clinics=design.clinic_labels if design.clinic_effects else None,
    )
    if alliance is None:
        return patients
    return with_alliance(posterior, patients, alliance, extrapolate=extrapolate)


def with_alliance(
    posterior: Posterior,
    patients: AskedPatients,
    alliance: Sequence[float],
    *,
    extrapolate: bool = False,
) -> AskedPatients:
    """The patients, each imagined with every one of these values of the alliance.

    Parameters
    ----------
    posterior : Posterior
    patients : AskedPatients
    alliance : sequence of float
    extrapolate : bool

    Returns
    -------
    AskedPatients
        Patient after patient.

    Raises
    ------
    InputError
        If there are no values, or one lies outside the observed range.
    """
    values = _listed("alliance", alliance, 0.0)
    observed = posterior.observed_alliance
    outside = require_observed(
        values, observed, posterior.study.measure.label, extrapolate=extrapolate
    )
    rows, count = patients.rows, len(values)
    other = others_outside(posterior, rows, extrapolate=True)
    position = np.repeat(np.arange(len(rows)), count)
    therapists = patients.therapists
    return AskedPatients(
        outcome=patients.outcome,
        names=tuple(patients.names[k] for k in position),
        rows=Rows(
            rows.arm_index[position],
            np.tile(values, len(rows)),
            None if rows.baseline is None else rows.baseline[position],
            rows.covariates[position],
        ),
        own_arm=patients.own_arm,
        therapists=None if therapists is None else tuple(therapists[k] for k in position),
        extrapolated=np.tile(outside, len(rows)) | other[position],
        alliance_named=True,
        clinics=None if patients.clinics is None else tuple(patients.clinics[k] for k in position),
    )


def others_outside(posterior: Posterior, rows: Rows, *, extrapolate: bool) -> NDArray[np.bool_]:
    """Whether a patient's baseline or a covariate was not observed; refused unless it may be.

    Parameters
    ----------
    posterior : Posterior
    rows : Rows
    extrapolate : bool

    Returns
    -------
    ndarray of bool, shape (r,)

    Raises
    ------
    InputError
        Names the first value and the range.
    """
    described = posterior.outcome
    named = None if described.baseline is None else f"The baseline of {posterior.name}"
    return require_others_observed(
        posterior.design.encoding, rows, baseline=named, extrapolate=extrapolate
    )


def _listed(name: str, values: Sequence[float] | None, default: float) -> Array:
    found = np.asarray([default] if values is None else values, dtype=float)
    if not len(found):
        raise empty_grid(name)
    return found


def _require_baseline(posterior: Posterior, values: Array) -> None:
    described = posterior.outcome
    low, high = described.range
    if described.baseline is None:
        with_one = [
            name
            for name in posterior.study.outcomes
            if posterior.study.outcomes[name].baseline is not None
        ]
        raise InputError(
            f"The outcome {posterior.name} has no baseline.",
            f"Outcomes with one: {', '.join(with_one) or 'none'}.",
        )
    for value in values:
        if not low <= value <= high:
            raise InputError(
                f"A baseline of {value:g} is not on the scale of {posterior.name}.",
                f"It goes from {low:g} to {high:g}.",
            )


def chosen_arms(
    posterior: Posterior, arms: Sequence[str] = (), *, compared: bool = False
) -> tuple[int, ...]:
    """Positions of the arms in which patients are imagined.

    Parameters
    ----------
    posterior : Posterior
    arms : sequence of str
        Codes or labels; all of them if none is named.
    compared : bool
        Whether arms are to be compared with one another.

    Returns
    -------
    tuple of int
        In display order.

    Raises
    ------
    InputError
        If there is no such arm, or a comparison has only one.
    """
    known, labels = posterior.design.arms, posterior.study.arms
    codes = [find_arm(labels, arm) for arm in arms]
    for arm, code in zip(arms, codes, strict=True):
        if code not in known:
            raise InputError(f"The run has no arm {arm!r}.", nearest(arm, known))
    if compared and len(set(codes)) == 1:
        raise InputError(
            f"Arms cannot be compared if {codes[0]!r} is the only one.",
            f"Name two or more of: {', '.join(known)}.",
        )
    return tuple(k for k, arm in enumerate(known) if not codes or arm in codes)


def choose_therapist(
    design: Design, patients: AskedPatients, therapist: str | TherapistChoice | None
) -> TherapistChoice:
    """Whose patients these are, from what was asked.

    Parameters
    ----------
    design : Design
    patients : AskedPatients
    therapist : str or TherapistChoice, optional
        ``new``, ``average``, ``own`` (the therapists that the patients come with), or the id of a
        therapist of the trial, in double quotes if it is such a word itself. By default ``own``
        where patients come with therapists, else ``new``. Patients of one new therapist share that
        therapist's draw: those of the same id where patients come with ids, otherwise all.

    Returns
    -------
    TherapistChoice

    Raises
    ------
    InputError
        If there is no such therapist, or patients come with none.
    """
    if isinstance(therapist, TherapistChoice):
        return therapist
    if therapist is None:
        therapist = "new" if patients.therapists is None else "own"
    if therapist == "average":
        return TherapistChoice("average")
    if therapist == "new":
        return TherapistChoice("new", patients.therapists or ())
    if therapist == "own":
        if patients.therapists is None:
            raise InputError(
                "These patients come without therapists of their own.",
                "Say new or average, or name a therapist of the trial.",
            )
        require_therapists(design, patients.therapists)
        return TherapistChoice("known", patients.therapists, patients.clinics)
    therapist = therapist_id(design, therapist)
    require_therapists(design, [therapist])
    return TherapistChoice.known(therapist)


IN_CLINIC = ", clinic "  # between what a table calls a therapist and the clinic asked about


def in_clinic(design: Design, choice: TherapistChoice, clinic: str | None) -> TherapistChoice:
    """The same therapists in a clinic that is asked about.

    Parameters
    ----------
    design : Design
    choice : TherapistChoice
    clinic : str or None
        ``new``, ``average``, or the id of a clinic of the trial, in double quotes if it is such a
        word itself. None: a new therapist's is new, an average one's average, a known one's his.

    Raises
    ------
    InputError
        If there is no such clinic, or a new one is asked about with a therapist who is not new.
    """
    if clinic is None:
        return choice
    if not design.clinic_effects:
        require_clinics(design, [clinic])
    if clinic == "new":
        if choice.kind == "new":
            return choice
        raise InputError(
            f"A new clinic goes with a new therapist, and the therapist here is {choice.kind}.",
            'Give `therapist="new"`, or an average clinic.',
        )
    if clinic == "average":
        return replace(choice, clinics=(AVERAGE_CLINIC,))
    clinic = next((name for name in design.clinics if quoted(name) == clinic), clinic)
    require_clinics(design, [clinic])
    return replace(choice, clinics=(clinic,), known_clinics=True)


NO_THERAPIST = "none"
"""What a table calls the therapist of a patient in an arm without therapists."""


def therapist_labels(choice: TherapistChoice, patients: int) -> list[str]:
    """What a table calls each patient's therapist.

    Parameters
    ----------
    choice : TherapistChoice
    patients : int
        Number of patients.

    Returns
    -------
    list of str
        ``average``, ``new``, ``new (id)`` where patients of the same id share one, or an id, in
        quotes if it is one of these words. Patients who come without a therapist are imagined with
        an average or a new one.
    """
    if choice.kind == "average" or not choice.labels:
        return [choice.kind] * patients
    labels = choice.labels * patients if len(choice.labels) == 1 else choice.labels
    if choice.kind == "new":
        return [f"new ({label})" if label != NOBODY else "new" for label in labels]
    named = [quoted(label) if label in (*WORDS, NO_THERAPIST) else label for label in labels]
    return [label if label != NOBODY else "average" for label in named]
