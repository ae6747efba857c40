"""Limitations: what this analysis cannot tell, computed from what was analysed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alliance.diagnostics import words
from alliance.diagnostics.gate.fit_gate import worst_verdict
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Listing, Paragraph, Part, Section
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.priors.prior_costs import costs_are_closed, slope_coverage
from alliance.models.design.design import arm_pairs

FEW_THERAPISTS = 30  # our choice; below, the prior of an SD between clusters is felt
PILED_UP = 0.05  # share of patients at an end of a scale from which a normal curve is doubtful
RERATED_STUDY = "10.2522/ptj.20120137"  # rated at session 2: stated in its abstract as a limit


def limitations(material: Material) -> Section:
    """Sentences about the limits of this run.

    Parameters
    ----------
    material : Material
    """
    lead = (
        "What follows holds for this run; each sentence rests on its data and settings. Other "
        "limitations, of the trial's design and conduct, are not known to the software."
    )
    found = [
        *_about_data(material),
        *_about_moderator(material),
        *_about_model(material),
    ]
    parts: list[Part] = [Paragraph(lead), Listing(found)]
    if not material.fit.rowless:
        parts.append(
            Paragraph(
                "This page holds no patient's row. The run that it was made from holds the scores, "
                "ratings, covariates, arm and therapist of each analysed patient: pass it on as "
                "you would the trial's data."
            )
        )
    return Section("limitations", "Limitations", parts)


def _about_data(material: Material) -> Iterator[str]:
    fit = material.fit
    if fit.study.simulated:
        yield (
            "The data are simulated: no statement about patients, therapists or treatments follows."
        )
    left_out = {
        words.label(fit.study, row["outcome"]): (
            row["rows_read"] - row["analysed"],
            row["rows_read"],
        )
        for row in fit.flow.to_dict("records")
        if row["rows_read"] > row["analysed"]
    }
    if left_out:
        told = ", ".join(
            f"{label} {gone} of {all_rows} ({100 * gone / all_rows:.0f}%)"
            for label, (gone, all_rows) in left_out.items()
        )
        yield (
            f"Patients are left out for missing data: {told}. That the others stand for them is "
            "an assumption (missing at random given what the model holds)."
        )
    if fit.manifest.get("left_out"):
        told = ", ".join(fit.manifest["left_out"])
        yield f"Outcomes of the study that were not analysed: {told}."


def _about_moderator(material: Material) -> Iterator[str]:
    fit = material.fit
    moderator = fit.study.moderator
    yield (
        f"The {moderator.name} was not allotted by chance: its slope, and the differences of "
        "slopes between arms, are associations and may be due to what patients or therapists "
        "brought with them."
    )
    if RERATED_STUDY in (fit.study.citation or ""):
        yield (
            "In the study that is analysed again the alliance was rated at the second treatment "
            "session: treatment, and early improvement, may already have influenced it."
        )
    elif "alliance" in moderator.name.lower():
        yield (
            "An alliance can only be rated once treatment has begun: treatment, and early "
            "improvement, may already have influenced it."
        )
    spec = next(iter(fit.specs.values()))
    yield from _about_alliance_model(material)
    if spec.moderator.reliability is None:
        yield (
            f"The {moderator.name} is taken as measured without error; noise in it draws slopes "
            "towards zero."
        )
    if spec.moderator.structure == "total":
        yield (
            "One slope stands for two questions: patients of one therapist compared with one "
            "another, and therapists compared with each other."
        )
    ratings = np.concatenate([fit.patients(name)["moderator"].values for name in fit.outcomes[:1]])
    ratings = ratings[np.isfinite(ratings)]
    top = float((ratings >= moderator.range[1]).mean())
    if top >= PILED_UP and spec.moderator.ceiling is None:
        yield (
            f"{100 * top:.0f}% of the ratings stand at the upper end of the scale, beyond which "
            "nothing can be told apart."
        )
    yield f"Along the {moderator.name} the predictor is a straight line."


def _about_alliance_model(material: Material) -> Iterator[str]:
    """What is assumed of the moderator where it has a model of its own."""
    fit = material.fit
    name, spec = fit.study.moderator.name, next(iter(fit.specs.values())).moderator
    if not (spec.latent or spec.structure == "within_between"):
        return
    beside = [
        *(["baseline"] if any("baseline" in fit.patients(each) for each in fit.outcomes) else []),
        "arm",
        *(["covariates"] if fit.study.covariates else []),
    ]
    yield (
        f"The {name} has a model of its own: normal around what {', '.join(beside)} and therapist "
        "predict, along straight lines, with the same spread for all patients; therapists' "
        "deviations are normal too."
    )
    if spec.missing == "impute":
        yield (
            f"Ratings of the {name} that are missing are taken as missing at random given this "
            "model and the outcome: among patients alike in these, those without a rating are like "
            "those with one."
        )
    if spec.reliability is not None:
        yield (
            f"The reliability of {spec.reliability:g} is taken as known and as that of these "
            "patients: noise in ratings is normal, the same for all, and has nothing to do with "
            "outcome, arm, baseline or therapist."
        )
    if spec.ceiling is not None:
        yield (
            f"Above the ceiling of {spec.ceiling:g} the {name} is taken to go on as the normal "
            "distribution does below it."
        )
    if spec.structure == "within_between":
        yield (
            f"A therapist's mean {name} is what the arms of his or her patients predict, and the "
            "therapist's own deviation; what patients differ in by baseline and covariates counts "
            "as a difference within the therapist."
        )


def _about_model(material: Material) -> Iterator[str]:
    fit = material.fit
    design = fit.design(fit.outcomes[0])
    therapists = int(np.unique(design.therapist_index).size)  # with analysed patients
    if therapists < FEW_THERAPISTS:
        yield (
            f"{words.counted(therapists, 'therapist')} "
            f"{'is' if therapists == 1 else 'are'} few to learn how therapists differ: the "
            "posterior of their SDs leans on its prior."
        )
    first = fit.specs[design.outcome]
    if costs_are_closed(first) and (slopes := slope_coverage(design, first)) is not None:
        yield slopes.words
    ends = []
    for outcome, spec in fit.specs.items():
        if spec.family not in ("gaussian", "student_t"):
            continue
        low, high = fit.study.outcomes[outcome].range
        scores = fit.patients(outcome)["outcome"].values
        scores = scores[np.isfinite(scores)]
        at_end = max((scores <= low).mean(), (scores >= high).mean())
        if at_end >= PILED_UP:
            ends.append(f"{words.label(fit.study, outcome)} ({100 * at_end:.0f}% at one end)")
    if ends:
        yield (
            "A normal or t distribution knows no ends of a scale, and scores pile up there: "
            f"{', '.join(ends)}. Chances of scores near such an end are off."
        )
    pairs = len(arm_pairs(len(fit.study.arms)))
    looks = pairs * len(fit.outcomes) * (1 + next(iter(fit.specs.values())).interaction)
    pooled = "partly pooled in one model" if fit.shared is not None else "not pooled"
    yield (
        f"{looks} contrasts and differences of slopes are reported for "
        f"{words.counted(len(fit.outcomes), 'outcome')}; outcomes are {pooled}, and some intervals "
        "may exclude zero by chance."
    )
    yield (
        "No difference is called important: no region of equivalence and no smallest important "
        "difference is set without the analyst's naming one."
    )
    if worst_verdict(material.gate) is not Verdict.PASS:
        yield "The convergence gate did not pass without remark: see its section."
    notes = [note for note in dict.fromkeys(material.comparison["refit_note"]) if note]
    if notes:
        yield f"Of the refitted linear models: {' '.join(f'{n.rstrip(".")}.' for n in notes)}"
