"""Limitations: what this analysis cannot tell, computed from what was analysed.

The checklist of Bayesian reporting (BARG), filled in from what the report holds.

Kruschke JK. Bayesian analysis reporting guidelines. Nature Human Behaviour 2021;5:1282-1291,
doi:10.1038/s41562-021-01177-7. The items are named in short; the article explains them.

Publications behind the methods: those that ArviZ names for its functions, and the project's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import arviz_base
import arviz_stats as azs
import numpy as np

from alliance.data_prep.study.description import Study
from alliance.diagnostics import words
from alliance.diagnostics.gate.fit_gate import worst_verdict
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import (
    Listing,
    Paragraph,
    Part,
    Reference,
    References,
    Section,
)
from alliance.diagnostics.sheet import Cell, Sheet
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.digits import number
from alliance.inference.priors.prior_costs import costs_are_closed, slope_coverage
from alliance.models.design.design import arm_pairs
from alliance.models.spec import ModelSpec

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
    if moderator is None:
        return
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
    if without := words.unrated_arms(fit.study):
        yield (
            f"Patients of {', '.join(without)} have no {moderator.name}: a contrast of such an arm "
            f"with another compares with patients who have a {moderator.name} that is named, and "
            "no data tell what its patients would have had."
        )
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
    top = 0.0
    if not fit.rowless:
        ratings = fit.patients(fit.outcomes[0])["moderator"].values
        top = float((ratings[np.isfinite(ratings)] >= moderator.range[1]).mean())
    if top >= PILED_UP and spec.moderator.ceiling is None:
        yield (
            f"{100 * top:.0f}% of the ratings stand at the upper end of the scale, beyond which "
            "nothing can be told apart."
        )
    yield f"Along the {moderator.name} the predictor is a straight line."


def _about_alliance_model(material: Material) -> Iterator[str]:
    """What is assumed of the moderator where it has a model of its own."""
    fit = material.fit
    name, spec = fit.study.measure.name, next(iter(fit.specs.values())).moderator
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


def _about_nesting(study: Study) -> Iterator[str]:
    """What a trial says of therapists that it did not record, or that some arms do not have."""
    without = [study.arms[arm] for arm in study.arms_without_therapist]
    if study.columns.therapist is None:
        yield (
            "No therapist is recorded, and patients count as independent. If therapists treated "
            "several of them, intervals of contrasts and slopes are too narrow: by about the root "
            "of 1 + (patients of a therapist - 1) x ICC where each treats in one arm."
        )
    elif without:
        yield (
            f"{' and '.join(without)}: no therapists. Contrasts with these arms compare the "
            "treatment together with its therapists with neither; how therapists differ is known "
            "of the other arms only."
        )


def _about_model(material: Material) -> Iterator[str]:
    fit = material.fit
    design = fit.design(fit.outcomes[0])
    therapists = int((design.patients_of_therapists > 0).sum())
    if therapists and therapists < FEW_THERAPISTS:
        yield (
            f"{words.counted(therapists, 'therapist')} "
            f"{'is' if therapists == 1 else 'are'} few to learn how therapists differ: the "
            "posterior of their SDs leans on its prior."
        )
    clinics = len(design.clinics)
    if clinics and clinics < FEW_THERAPISTS:
        yield (
            f"{words.counted(clinics, 'clinic')} are few to learn how clinics differ: the "
            "posterior of their SDs leans on its prior, and so does how much of what differs "
            "between therapists is the clinics'."
        )
    yield from _about_nesting(fit.study)
    first = fit.specs[design.outcome]
    if costs_are_closed(first) and (slopes := slope_coverage(design, first)) is not None:
        yield slopes.words
    ends = []
    for outcome, spec in fit.specs.items():
        if fit.rowless or spec.family not in ("gaussian", "student_t"):
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
    interaction = next(iter(fit.specs.values())).interaction
    looks = len(arm_pairs(len(fit.study.arms)))
    looks += len(arm_pairs(len(fit.study.rated_arms))) if interaction else 0
    looks *= len(fit.outcomes)
    what = words.of_moderator(fit.study, " and differences of slopes")
    pooled = "partly pooled in one model" if fit.shared is not None else "not pooled"
    yield (
        f"{looks} contrasts{what} are reported for "
        f"{words.counted(len(fit.outcomes), 'outcome')}; outcomes are {pooled}, and some intervals "
        "may exclude zero by chance."
    )
    yield (
        "No difference is called important: no region of equivalence and no smallest important "
        "difference is set without the analyst's naming one."
    )
    if worst_verdict(material.gate) is not Verdict.PASS:
        yield "The convergence gate did not pass without remark: see its section."
    if material.fit.several_trials:  # of which there are no refits
        return
    notes = [note for note in dict.fromkeys(material.comparison["refit_note"]) if note]
    if notes:
        yield f"Of the refitted linear models: {' '.join(f'{n.rstrip(".")}.' for n in notes)}"


BARG = Reference(
    "Kruschke JK. Bayesian analysis reporting guidelines. Nature Human Behaviour 2021;5:1282-1291.",
    "10.1038/s41562-021-01177-7",
)
SEVERAL_TRIALS = Reference(
    "Riley RD, Debray TPA, Fisher D, et al. Individual participant data meta-analysis to examine "
    "interactions between treatment effect and participant-level covariates: statistical "
    "recommendations for conduct and planning. Statistics in Medicine 2020;39(15):2115-2137.",
    "10.1002/sim.8516",
)
PYMC = Reference(
    "Abril-Pla O, Andreani V, Carroll C, et al. PyMC: a modern and comprehensive probabilistic "
    "programming framework in Python. PeerJ Computer Science 2023;9:e1516.",
    "10.7717/peerj-cs.1516",
)
NUTS = Reference(
    "Hoffman MD, Gelman A. The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian "
    "Monte Carlo. Journal of Machine Learning Research 2014;15:1593-1623."
)
XARRAY = Reference(
    "Hoyer S, Hamman J. xarray: N-D labeled arrays and datasets in Python. Journal of Open "
    "Research Software 2017;5:10.",
    "10.5334/jors.148",
)
ALWAYS = (BARG, PYMC, NUTS, XARRAY)
STANDARDISED = Reference(
    "Austin PC. Balance diagnostics for comparing the distribution of baseline covariates between "
    "treatment groups in propensity-score matched samples. Statistics in Medicine "
    "2009;28:3083-3107.",
    "10.1002/sim.3697",
)
CONSORT = Reference(
    "Schulz KF, Altman DG, Moher D. CONSORT 2010 statement: updated guidelines for reporting "
    "parallel group randomised trials. BMJ 2010;340:c332.",
    "10.1136/bmj.c332",
)
MIXED_MODELS = (
    Reference(
        "Bates D, Mächler M, Bolker B, Walker S. Fitting linear mixed-effects models using lme4. "
        "Journal of Statistical Software 2015;67(1).",
        "10.18637/jss.v067.i01",
    ),
    Reference(
        "Kuznetsova A, Brockhoff PB, Christensen RHB. lmerTest package: tests in linear mixed "
        "effects models. Journal of Statistical Software 2017;82(13).",
        "10.18637/jss.v082.i13",
    ),
)
UNSEEN = Reference(
    "Cinelli C, Hazlett C. Making sense of sensitivity: extending omitted variable bias. Journal "
    "of the Royal Statistical Society Series B 2020;82:39-67.",
    "10.1111/rssb.12348",
)
EXPLAINED = Reference(
    "Gelman A, Goodrich B, Gabry J, Vehtari A. R-squared for Bayesian regression models. The "
    "American Statistician 2019;73:307-309.",
    "10.1080/00031305.2018.1549100",
)
CORRELATIONS = Reference(
    "Lewandowski D, Kurowicka D, Joe H. Generating random correlation matrices based on vines and "
    "extended onion method. Journal of Multivariate Analysis 2009;100:1989-2001.",
    "10.1016/j.jmva.2009.04.008",
)
PRIOR_OF_SLOPE = Reference(
    "Flückiger C, Del Re AC, Wampold BE, Horvath AO. The alliance in adult psychotherapy: a "
    "meta-analytic synthesis. Psychotherapy 2018;55:316-340.",
    "10.1037/pst0000172",
)
METHODS = (azs.rhat, azs.ess, azs.loo, azs.loo_pit, azs.psense_summary)
ACCENTS = {
    '"': "\N{COMBINING DIAERESIS}",
    "'": "\N{COMBINING ACUTE ACCENT}",
    "`": "\N{COMBINING GRAVE ACCENT}",
    "^": "\N{COMBINING CIRCUMFLEX ACCENT}",
    "~": "\N{COMBINING TILDE}",
}
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*[{\"](.*?)[}\"],?\s*$", re.M)


def citations(material: Material) -> Section:
    """The study, the methods and the software.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    found = [Reference(fit.study.citation)] if fit.study.citation else []
    of_slopes = [] if fit.study.moderator is None else [PRIOR_OF_SLOPE, UNSEEN]
    found += [*ALWAYS, CONSORT, STANDARDISED, *of_slopes, EXPLAINED]
    if any(spec.effects for spec in fit.specs.values()):
        found += MIXED_MODELS
    if any(len(spec.effects) > 1 for spec in fit.specs.values()) or fit.shared is not None:
        found.append(CORRELATIONS)
    held = {reference.doi for reference in found if reference.doi}
    found += [each for each in named_by_arviz() if each.doi not in held]
    lead = "Publications on the study, on the methods and on the software; please cite them."
    return Section("citations", "Methods and citations", [Paragraph(lead), References(found)])


def bibtex() -> str:
    """What ArviZ gives to cite it and the methods, as BibTeX."""
    # Any: the function gives text, or None where it is told to write a file
    citing: Any = arviz_base.citations
    return str(citing(methods=list(METHODS)))


def named_by_arviz() -> list[Reference]:
    """The publications that ArviZ names for itself and for the methods that the report uses."""
    found = []
    for entry in re.split(r"\n(?=@)", bibtex())[1:]:
        fields = {name.lower(): _plain(text) for name, text in _FIELD.findall(entry)}
        # "Last, First" as BibTeX has names; the references here have no commas within a name
        who = [name.replace(",", "") for name in fields.get("author", "").split(" and ")]
        names = ", ".join(who[:3]) + (", et al" if len(who) > 3 else "")
        place = fields.get("journal") or fields.get("booktitle") or fields.get("publisher", "")
        parts = [names, fields.get("title", ""), f"{place} {fields.get('year', '')}".strip()]
        told = ". ".join(part.rstrip(".") for part in parts if part)
        found.append(Reference(f"{told}.", fields.get("doi", "")))
    return found


def _plain(text: str) -> str:
    """BibTeX's text without its braces, accents as commands, formulas and line breaks."""
    text = re.sub(r"\$\\widehat\s*\{?\s*R\s*\}?\s*\$", "R-hat", text)
    text = re.sub(r"[{}]", "", text)
    text = re.sub(
        r"\\([\"'`^~])\s*(\w)",
        lambda found: unicodedata.normalize("NFC", found[2] + ACCENTS[found[1]]),
        text,
    )
    return re.sub(r"\s+", " ", text).strip()


POWER = "priors weighed a little more and less; refits with other scales are not part of the report"
REPORTED, GAP, NONE_NEEDED = "reported", "gap", "does not apply"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the checklist.

    Attributes
    ----------
    step, letter, name : str
        As in the guidelines.
    section : str
        The section that answers it; empty if none does.
    told : str
        What is reported there, or why nothing is.
    state : str
        `REPORTED` if the section is there, and otherwise a gap, unless stated here.
    """

    step: str
    letter: str
    name: str
    section: str
    told: str
    state: str = ""


def checklist(material: Material, built: Collection[Section]) -> Section:
    """The checklist, with gaps named.

    Parameters
    ----------
    material : Material
    built : collection of Section
        The other sections of the report. One without tables and figures does not count as an
        answer to a check.
    """
    titles = {section.name: section.title for section in built}
    told = {"question", "limitations", "citations"} & set(titles)  # in words
    answered = {section.name for section in built if section.tables} | told
    rows = []
    for item in _items(material):
        there = item.section in answered
        state = item.state or (REPORTED if there else GAP)
        linked = ""
        if there:
            linked = Cell(titles[item.section], target=item.section)
        answer = item.told if there or item.state else "not computed for this report"
        rows.append(
            {
                "Item": f"{item.step}{item.letter}",
                "Name": item.name,
                "State": state,
                "What is reported": answer,
                "Where": linked,
            }
        )
    states = [row["State"] for row in rows]
    lead = (
        f"Items of the Bayesian analysis reporting guidelines (Kruschke 2021): "
        f"{states.count(REPORTED)} reported, {words.counted(states.count(GAP), 'gap')}, "
        f"{states.count(NONE_NEEDED)} that do not apply. The software fills in "
        "what it computed; whether an answer suffices is for readers to judge."
    )
    title = "Checklist of Bayesian reporting"
    note = "P: preamble; 1 to 6: the steps of the guidelines."
    parts: list[Part] = [Paragraph(lead), Sheet("checklist", title, rows, note, heads=2)]
    return Section("checklist", "Checklist of Bayesian reporting", parts)


def _items(material: Material) -> list[Item]:
    fit = material.fit
    profile = fit.profile
    spec: ModelSpec = next(iter(fit.specs.values()))
    therapist = "none" if not spec.effects else " and ".join(spec.effects)
    least = float(material.summary[["ess_bulk", "ess_tail"]].to_numpy().min())
    greatest = material.summary["r_hat"].max()
    recorded = "versions" in fit.manifest and "seed" in fit.manifest
    return [
        Item(
            "P",
            "A",
            "Why Bayesian",
            "question",
            "probabilities of effects, therapists' variation carried into every interval, "
            "predictions for new therapists",
        ),
        Item("P", "B", "Goals of the analysis", "question", "estimation, not the test of a null"),
        Item(
            "1",
            "A",
            "Data variables",
            "data",
            f"{words.counted(len(fit.outcomes), 'outcome')}, arms, "
            f"{words.of_moderator(fit.study, '{name}, ')}therapists, with numbers of patients",
        ),
        Item(
            "1",
            "B",
            "Likelihood function and parameters",
            "model",
            f"formulas in words; therapist effects: {therapist}",
        ),
        Item("1", "C", "Prior distribution", "model", "on each outcome's own scale, with reasons"),
        Item("1", "D", "Formal specification", "model", "formulas; the study file is in the run"),
        Item("1", "E", "Prior predictive check", "prior", "scores that the priors alone predict"),
        Item("2", "A", "Software", "gate", "packages with their versions"),
        Item(
            "2",
            "B",
            "Convergence of the chains",
            "gate",
            f"largest R-hat of a reported quantity {number(greatest, 3)}",
        ),
        Item(
            "2",
            "C",
            "Resolution of the chains",
            "gate",
            f"smallest effective number of draws of a reported quantity {number(least, 0)} "
            f"of {profile.chains * profile.draws}",
        ),
        Item("2", "D", "If not MCMC", "", "every posterior is sampled", NONE_NEEDED),
        Item("3", "A", "Posterior predictive check", "checks", "replicated data beside the scores"),
        Item(
            "3",
            "B",
            "Summary of the posterior",
            "results",
            f"means, SDs and {words.level_of(material.interval)} equal-tailed intervals",
        ),
        Item(
            "3",
            "C",
            "Bayes factors and model probabilities",
            "",
            "none are computed",
            NONE_NEEDED,
        ),
        Item(
            "4",
            "A",
            "Why decisions",
            "",
            "no decision is made: verdicts on published findings only say how an interval stands "
            "to a statement",
            NONE_NEEDED,
        ),
        Item("4", "B", "Loss function", "", "no decision is made", NONE_NEEDED),
        *_equivalence(material),
        Item("4", "D", "Bayes factor thresholds", "", "none are computed", NONE_NEEDED),
        Item("4", "E", "Estimated values too", "results", "every quantity with its interval"),
        Item("5", "A", "Sensitivity: broad priors", "sensitivity", POWER),
        Item("5", "B", "Sensitivity: informed priors", "sensitivity", POWER),
        Item("5", "C", "Sensitivity: default priors", "sensitivity", POWER),
        Item("5", "D", "Sensitivity of Bayes factors", "", "none are computed", NONE_NEEDED),
        Item("5", "E", "Sensitivity of decisions", "", "no decision is made", NONE_NEEDED),
        Item(
            "6",
            "A",
            "Software and installation",
            "gate",
            "versions of every package that can move a result",
            "" if recorded else GAP,
        ),
        Item("6", "B", "Script details", "model", "the study file and the command make the run"),
        Item("6", "C", "Readable script", "model", "the study file is text with named settings"),
        Item(
            "6",
            "D",
            "Auxiliary files",
            "data",
            "the data are named by their SHA-256 and are not part of the report",
        ),
        Item("6", "E", "Runs as posted", "", "not known: alliance reproduce RUN tries it out", GAP),
        Item(
            "6",
            "F",
            "MCMC reproducible",
            "gate",
            "seed recorded; the same seed and versions give the same draws on one machine",
            "" if recorded else GAP,
        ),
    ]


def _equivalence(material: Material) -> list[Item]:
    regions = [finding for finding in material.findings if finding.rope is not None]
    if regions:
        told = f"{words.counted(len(regions), 'region')} of practical equivalence, as stated"
        return [Item("4", "C", "Region of practical equivalence", "comparison", told)]
    told = "none was named by the analyst, and there is no default"
    return [Item("4", "C", "Region of practical equivalence", "", told, NONE_NEEDED)]
