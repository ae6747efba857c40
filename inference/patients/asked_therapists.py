"""Therapists of patients asked about: new, average, their own, or one of the trial."""

from __future__ import annotations

from alliance.data_prep.errors import InputError
from alliance.data_prep.levels import quoted
from alliance.inference.patients.asked_patients import AskedPatients
from alliance.inference.scores.therapist_parts import (
    WORDS,
    TherapistChoice,
    require_therapists,
    therapist_id,
)
from alliance.models.design.design import Design


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
        return TherapistChoice("known", patients.therapists)
    therapist = therapist_id(design, therapist)
    require_therapists(design, [therapist])
    return TherapistChoice.known(therapist)


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
        quotes if it is one of these words.
    """
    if choice.kind == "average" or not choice.labels:
        return [choice.kind] * patients
    labels = choice.labels * patients if len(choice.labels) == 1 else choice.labels
    if choice.kind == "new":
        return [f"new ({label})" for label in labels]
    return [quoted(label) if label in WORDS else label for label in labels]
