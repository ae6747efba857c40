"""Methods and results as paragraphs of a paper, with citations; written from what was done.

A sentence says what this run has: its patients, model, priors, sampler, checks. What was found is
told by `diagnostics.sentences`, which claims no direction below its probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alliance.data_prep.levels import OVER_TIME
from alliance.data_prep.study.description import Study
from alliance.data_prep.study.rules import BINARY, COUNT
from alliance.diagnostics import words
from alliance.diagnostics.gate.fit_gate import worst_verdict
from alliance.diagnostics.report.limitations import (
    BARG,
    CONSORT,
    CORRELATIONS,
    NUTS,
    PRIOR_OF_SLOPE,
    PYMC,
    SEVERAL_TRIALS,
    STANDARDISED,
    named_by_arviz,
)
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import Reference
from alliance.diagnostics.sentences import CERTAIN, sentences_of
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.digits import number
from alliance.inference.estimands.compared_at import places_in_words
from alliance.inference.runs.fit import Fit
from alliance.inference.trials.views import trials_of
from alliance.models.families.families import ORDINAL, ORDINAL_PROBIT
from alliance.models.priors import Priors
from alliance.models.spec import JOINT, ModelSpec

# Of the functions that ArviZ names publications for
R_HAT, LOO, SCALING = "10.1214/20-BA1221", "10.1007/s11222-016-9696-4", "10.1007/s11222-023-10366-5"
FAMILY = {
    "gaussian": "a linear model with normal residuals",
    "student_t": "a linear model with Student-t residuals",
    BINARY: "a logistic model of the chance of the event",
    COUNT: "a negative binomial model of the rate of events",
    "beta_binomial": "a beta-binomial model of the whole-numbered score",
    ORDINAL.name: "a cumulative logit model of the ordered categories",
    ORDINAL_PROBIT.name: "a cumulative probit model of the ordered categories",
}


@dataclass(slots=True)
class Cited:
    """Publications in the order in which a text names them.

    Attributes
    ----------
    references : list of Reference
    """

    references: list[Reference] = field(default_factory=list)

    def __call__(self, *found: Reference) -> str:
        """Their numbers in brackets, after a blank."""
        for each in found:
            if each not in self.references:
                self.references.append(each)
        places = sorted(self.references.index(each) + 1 for each in found)
        return f" [{', '.join(map(str, places))}]" if places else ""


def methods(material: Material, cite: Cited) -> list[str]:
    """Paragraphs on data, model, priors, computation and reporting.

    Parameters
    ----------
    material : Material
    cite : Cited
        Takes the publications in.
    """
    return [
        words.sentences(told)
        for told in (
            _data(material, cite),
            _model(material, cite),
            _priors(material, cite),
            _computation(material, cite),
            _reporting(material, cite),
        )
    ]


def found(material: Material, cite: Cited) -> list[tuple[str, list[str]]]:
    """Paragraphs on who was analysed, on the draws, and on each outcome.

    Parameters
    ----------
    material : Material
    cite : Cited

    Returns
    -------
    list of tuple of str and list of str
        A heading, and its paragraphs.
    """
    fit = material.fit
    told = [("Patients", [words.sentences(_patients(material))])]
    told.append(("Draws", [words.sentences(_draws(material))]))
    verdicts = {report.outcome: report.verdict for report in material.gate}
    for outcome in fit.outcomes:
        label = words.label(fit.study, outcome)
        visit = fit.study.outcomes[outcome].visit
        if visit is not None and visit not in label:
            label = f"{label}, {visit}"
        if Verdict.FAIL in (verdicts[outcome], verdicts.get(JOINT)):
            told.append((label, [FAILED]))
            continue
        lines = sentences_of(fit, outcome, material.summary, material.interval)
        paragraph = [sentence.replace(BELOW, IN_TABLE) for _, _, sentence in lines]
        told.append((label, [words.sentences(paragraph)]))
    told.append(("What the data cannot tell", [words.sentences(_cannot_tell(fit.study))]))
    return told


FAILED = "The draws failed the gate: what they say of this outcome is not told."
BELOW, IN_TABLE = "(table below)", "(see the table of results)"


def _listed(items: Sequence[str]) -> str:
    """Items of a sentence, the last after "and".

    Examples
    --------
    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


# Methods -----------------------------------------------------------------------------------------


def _data(material: Material, cite: Cited) -> Iterator[str]:
    fit = material.fit
    study = fit.study
    source = cite(Reference(study.citation)) if study.citation else ""
    if study.simulated:
        yield "The data are simulated; no patient gave them."
    title = study.title.rstrip(".")
    what = "the trial"
    if fit.several_trials:
        names = dict.fromkeys(t for each in fit.outcomes for t in trials_of(fit[each]).trials)
        what = f"{words.counted(len(names), 'trial')} together,"
    yield (
        f"We analysed {what} \N{LEFT DOUBLE QUOTATION MARK}{title}"
        f"\N{RIGHT DOUBLE QUOTATION MARK}{source}, with "
        f"{words.counted(len(study.arms), 'arm')}: {_listed(list(study.arms.values()))}."
    )
    labels = dict.fromkeys(
        words.label(study, own.visit_of or name)
        for name, own in study.outcomes.items()
        if name in fit.outcomes
    )
    noun = "outcome was" if len(labels) == 1 else "outcomes were"
    yield f"The {noun} {_listed(list(labels))}."
    if study.moderator is not None:
        yield (
            f"The moderator was {study.moderator.label}"
            f" ({study.moderator.range[0]:g} to {study.moderator.range[1]:g} "
            f"{words.points(study.moderator)})."
        )
    imputed = any(spec.moderator.missing == "impute" for spec in fit.specs.values())
    yield (
        "Patients entered the analysis of an outcome if nothing that its model needs was missing"
        + (
            f", but for the {study.measure.name}, which was imputed within the model"
            if imputed
            else ""
        )
        + "; the flow of patients is shown as far as the data file tells it"
        + f"{cite(CONSORT)}."
    )
    if material.characteristics is not None:
        yield (
            "Patients before treatment are described by arm with standardised differences"
            f"{cite(STANDARDISED)}, and without tests."
        )


def _model(material: Material, cite: Cited) -> Iterator[str]:
    fit = material.fit
    study, specs = fit.study, fit.specs
    families: dict[str, list[str]] = {}
    for name, spec in specs.items():
        own = words.label(study, study.outcomes[name].visit_of or name)
        labels = families.setdefault(FAMILY[spec.family], [])
        if own not in labels:
            labels.append(own)
    if len(families) == 1:
        yield f"Each outcome was analysed by {next(iter(families))}, fitted as a Bayesian model."
    else:
        told = "; ".join(f"{_listed(labels)}: {family}" for family, labels in families.items())
        yield f"Outcomes were analysed by Bayesian models: {told}."
    if fit.shared is not None:
        yield (
            "All outcomes were modelled together, with correlated residuals and therapist effects "
            "and partly pooled slopes."
        )
    if fit.manifest.get(OVER_TIME):
        yield (
            "The visits of an outcome were modelled together; a patient with some of them counts "
            "with these, missing at random given the model."
        )
    spec = next(iter(specs.values()))
    yield f"Predictors were {_listed(_predictors(fit, spec))}."
    if fit.several_trials:
        yield from _trial_words(spec, study.measure.name, cite)
    yield from _therapist_words(study, spec, cite)
    yield from _alliance_words(study, spec)
    nesting = spec.nesting(list(study.arms))
    if nesting.number > 1:
        yield "Residual SDs differed between arms."
    yield "Arm effects sum to zero, so that no arm is the reference."
    where = places_in_words(fit, material.at)
    where = where.replace(f"{OF_CONTRASTS}. ", "Arms were compared as follows. ", 1)
    yield where.replace(f"{OF_CONTRASTS} ", "Arms were compared ", 1)


OF_CONTRASTS = "Arm contrasts"  # how `places_in_words` begins


def _predictors(fit: Fit, spec: ModelSpec) -> list[str]:
    study = fit.study
    baselines = [study.outcomes[name].baseline for name in fit.outcomes]
    told = ["the arm"]
    if any(baselines):
        told.insert(
            0, "the outcome before treatment" + ("" if all(baselines) else " (if there is one)")
        )
    if study.moderator is not None:
        told.append(f"the {study.moderator.name}")
        if spec.interaction:
            told.append(f"the interaction of arm and {study.moderator.name}")
    return [*told, *(words.covariate(study, name) for name in study.covariates)]


def _trial_words(spec: ModelSpec, name: str, cite: Cited) -> Iterator[str]:
    """How several trials stand in one model."""
    own = " and a residual SD" * spec.residual_by_trial
    yield (
        f"All trials were analysed in one model{cite(SEVERAL_TRIALS)}, in which each had an "
        f"intercept, slopes of what was measured before treatment{own} of its own."
    )
    shared = "were the same in all trials"
    if spec.several_trials == "varying":
        shared = "varied around those of an average trial, normally, with SDs that were estimated"
    yield f"Arm effects, slopes of the {name} and their differences between arms {shared}."
    yield (
        f"The {name} was taken from each trial's own mean, so that slopes and interactions are of "
        f"patients within trials; how arm effects go with the trials' mean {name} was estimated "
        "apart."
    )


def _therapist_words(study: Study, spec: ModelSpec, cite: Cited) -> Iterator[str]:
    if study.columns.therapist is None:
        yield "No therapist is recorded, and patients count as independent of one another."
    elif not spec.effects:
        yield "Differences between therapists were not modelled."
    else:
        yield _own_effects("Therapists", study, len(spec.effects) > 1, cite)
    if spec.clinic_effects:
        yield _own_effects("Clinics", study, len(spec.clinic_effects) > 1, cite)
    if spec.therapist_by_arm:
        yield "Arm effects varied between therapists too."
    if spec.without_therapist and spec.effects:
        arms = _listed([study.arms[code] for code in spec.without_therapist])
        yield f"Patients in {arms} have no therapist, and no such effects."


def _own_effects(whose: str, study: Study, slope: bool, cite: Cited) -> str:
    if not slope:
        return f"{whose} had intercepts of their own, drawn from a normal distribution."
    return (
        f"{whose} had intercepts and slopes of the {study.measure.name} of their own, drawn from a "
        f"normal distribution whose correlation has an LKJ prior{cite(CORRELATIONS)}."
    )


def _alliance_words(study: Study, spec: ModelSpec) -> Iterator[str]:
    if study.moderator is None:
        return
    name = study.moderator.name
    if without := words.unrated_arms(study):
        arms = _listed([study.arms[code] for code in without])
        yield f"Patients in {arms} can have no {name}; slopes are those of the other arms."
    if spec.moderator.structure == "within_between":
        yield (
            f"The {name} was parted into a therapist's true mean, which was estimated, and the "
            "patient's departure from it, with a slope each."
        )
    if spec.moderator.reliability is not None:
        yield (
            f"Ratings of the {name} were taken as a true value with noise, of a reliability of "
            f"{spec.moderator.reliability:g}."
        )
    if spec.moderator.ceiling is not None:
        yield f"Ratings of {spec.moderator.ceiling:g} were taken as this value or more."


def _priors(material: Material, cite: Cited) -> Iterator[str]:
    fit = material.fit
    changed = any(spec.priors != Priors() for spec in fit.specs.values())
    yield (
        "Priors were weakly informative on a scale on which outcome"
        f"{words.of_moderator(fit.study, ', {name}')}, baseline and covariates have mean 0 and "
        "SD 1; they are listed, on the scales of the outcomes, in the supplement."
    )
    if changed:
        yield "Scales that the analysts chose themselves are marked there."
    elif fit.study.moderator is not None:
        yield (
            f"The scale of the slope of the {fit.study.moderator.name} was chosen from published "
            f"correlations of alliance and outcome{cite(PRIOR_OF_SLOPE)}."
        )


def _computation(material: Material, cite: Cited) -> Iterator[str]:
    fit = material.fit
    profile, versions = fit.profile, fit.manifest.get("versions", {})
    by_doi = {reference.doi: reference for reference in named_by_arviz()}
    engines = {own.get("engine", "nuts") for own in fit.manifest.get("engines", {}).values()}
    version = f" {versions['pymc']}" if "pymc" in versions else ""
    nutpie = f" {versions['nutpie']}" if "nutpie" in versions else ""
    draws = f"{profile.chains} \N{MULTIPLICATION SIGN} {profile.draws} draws"
    if "instant" in engines:
        yield (
            "The posterior was drawn by importance sampling, the therapists' effects being "
            f"integrated out ({draws})."
        )
    if engines != {"instant"}:
        who = "Other outcomes were" if "instant" in engines else "The posterior was"
        yield (
            f"{who} sampled by the No-U-Turn sampler{cite(NUTS)} of nutpie{nutpie} from a model in "
            f"PyMC{version}{cite(PYMC)}: {draws} after {profile.tune} of tuning in each chain."
        )
    yield (
        "Draws were judged by R-hat, effective numbers of draws and Monte Carlo errors"
        f"{cite(by_doi[R_HAT])}, divergences and energy."
    )
    if fit.rowless:
        yield "Only cross-products of the data were at hand, which no check of single patients has."
    elif fit.shared is not None:
        yield "The model was held against replicated data."
    else:
        yield (
            "The model was held against replicated data, by leaving out each patient"
            f"{cite(by_doi[LOO])}, and by weighing priors and likelihood a little more and less"
            f"{cite(by_doi[SCALING])}."
        )
    own = versions.get("alliance")
    yield (
        f"Software: alliance{f' {own}' if own else ''}; versions of all packages, and the seed, "
        "stand in the supplement."
    )


def _reporting(material: Material, cite: Cited) -> Iterator[str]:
    share = words.level_of(material.interval)
    yield f"We report posterior means with {share} equal-tailed intervals."
    yield (
        "A direction is claimed only where its posterior probability is at least "
        f"{words.chance(CERTAIN)}; in all other cases the interval and the probability are given, "
        "and an interval that includes zero is not read as the absence of an effect."
    )
    if any(finding.rope is not None for finding in material.findings):
        yield "Regions of practical equivalence are those stated with the published findings."
    else:
        yield "No region of practical equivalence and no smallest important difference was set."
    yield f"The report follows the Bayesian analysis reporting guidelines{cite(BARG)}."


# Results -----------------------------------------------------------------------------------------


def _patients(material: Material) -> Iterator[str]:
    fit = material.fit
    study = fit.study
    rows = {row["outcome"]: row for row in fit.flow.to_dict("records")}
    first = next(iter(rows.values()))
    yield f"The data file has {words.counted(int(first['rows_read']), 'row')}."
    told: dict[str, list[str]] = {}
    for outcome in fit.outcomes:
        row = rows[outcome]
        reasons = _reasons(study, row)
        why = f" ({reasons} left out)" if reasons else ""
        label = words.label(study, outcome)
        visit = study.outcomes[outcome].visit
        label = f"{label} at {visit}" if visit is not None and visit not in label else label
        told.setdefault(f"{row['analysed']} patients were analysed{why}", []).append(label)
    for what, labels in told.items():
        noun = "the outcome" if len(labels) == 1 else "the outcomes"
        yield f"For {noun} {_listed(labels)}, {what}."
    kind = str(fit.manifest.get("therapists_in_arms", ""))
    therapists = len(fit.design(fit.outcomes[0]).therapists)
    if study.columns.therapist is not None and therapists:
        how = {
            "crossed": ", each of whom treated in every arm that has therapists",
            "partly crossed": ", some of whom treated in several arms",
            "nested": ", each of whom treated in one arm",
        }.get(kind, "")
        yield f"They were treated by {words.counted(therapists, 'therapist')}{how}."


def _reasons(study: Study, row: Mapping[Any, Any]) -> str:
    moderator = words.of_moderator(study, "{name}")
    found = [
        f"{row[name]} without {_lacking(text, moderator)}"
        for name, text in words.FLOW.items()
        if name.startswith("without_") and row.get(name)
    ]
    return _listed(found) if found else ""


def _lacking(text: str, moderator: str) -> str:
    """What they lack, of a heading of the flow counts."""
    told = text.format(moderator=moderator).removeprefix("Left out: ")
    told = told.removeprefix("no ").replace("another outcome missing", "another outcome")
    return told.replace("so few with their therapist in an arm", "enough others in their cell")


def _draws(material: Material) -> Iterator[str]:
    summary, worst = material.summary, worst_verdict(material.gate)
    least = float(summary[["ess_bulk", "ess_tail"]].to_numpy().min())
    yield (
        f"Of the reported quantities the largest R-hat was {number(summary['r_hat'].max(), 3)} and "
        f"the smallest effective number of draws {number(least, 0)}."
    )
    if worst is Verdict.PASS:
        yield "All checks of draws and model passed."
    elif worst is Verdict.FAIL:
        yield "The gate failed: some of these draws may not be used (see the supplement)."
    else:
        asked = dict.fromkeys(
            words.plain(result.check)
            for report in material.gate
            for result in report.all_results
            if result.verdict is Verdict.REVIEW
        )
        yield (
            "No check of draws or model failed; a look was asked for by (see the supplement): "
            f"{_listed(list(asked))}."
        )


def _cannot_tell(study: Study) -> Iterator[str]:
    yield (
        "Directions that were not claimed are not shown to be absent: an interval that includes "
        "zero shows neither an effect nor that there is none."
    )
    if study.moderator is not None:
        yield (
            f"The {study.moderator.name} was not allotted by chance: its slope, and differences of "
            "slopes, describe associations."
        )
