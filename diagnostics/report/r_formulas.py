"""A model as users of R write it, in the notation of brms and, where it has one, of lme4.

The formula is what a reader knows at once; what it cannot say stands in a note beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alliance.data_prep.study.description import Study
from alliance.diagnostics import words
from alliance.inference.runs.choices import residual_words
from alliance.inference.runs.fit import Fit
from alliance.models.families.families import ORDINAL, ORDINAL_PROBIT
from alliance.models.spec import ModelSpec, over_time

_SYNTACTIC = re.compile(r"^(?:[^\W\d_]|\.(?!\d))[\w.]*$")
RESERVED = frozenset({"if", "else", "repeat", "while", "function", "for", "next", "break", "in"})
RESERVED |= {"TRUE", "FALSE", "NULL", "Inf", "NaN", "NA"}
FAMILIES = {
    "gaussian": "gaussian()",
    "student_t": "student()",
    "binary": 'bernoulli(link = "logit")',
    "count": 'negbinomial(link = "log")',
    "beta_binomial": 'beta_binomial(link = "logit")',
    ORDINAL.name: 'cumulative(link = "logit")',
    ORDINAL_PROBIT.name: 'cumulative(link = "probit")',
}
LME4 = {"gaussian": "lmer({})", "binary": "glmer({}, family = binomial)", "count": "glmer.nb({})"}
CORRELATIONS = {
    "unstructured": "unstr(time = {visit}, gr = {patient})",
    "compound_symmetry": "cosy(time = {visit}, gr = {patient})",
    "ar1": "ar(time = {visit}, gr = {patient}, p = 1, cov = TRUE)",
}


@dataclass(frozen=True, slots=True)
class RFormula:
    """A model in R's notation.

    Attributes
    ----------
    outcomes : tuple of str
        Those whose model it is; with another name for the score where there are several.
    brms : str
    lme4 : str
        Empty where lme4 has no such model.
    notes : tuple of str
        What the formula does not say.
    """

    outcomes: tuple[str, ...]
    brms: str
    lme4: str
    notes: tuple[str, ...]


def r_name(name: str) -> str:
    """A column's name as R takes it.

    Examples
    --------
    >>> print(r_name("psfs_8w"), r_name("2nd score"))
    psfs_8w `2nd score`
    """
    if _SYNTACTIC.match(name) and name not in RESERVED:
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def r_formulas(fit: Fit) -> list[RFormula]:
    """The formula of every outcome's model; of a joint model, or over time, of the whole.

    Parameters
    ----------
    fit : Fit
    """
    if fit.shared is not None:
        return [_joint(fit)]
    visited = over_time(fit.specs)
    found = [_formula(fit.study, spec) for spec in fit.specs.values() if spec.visits is None]
    return [*found, *(_over_time(fit, name, visits) for name, visits in visited.items())]


def _formula(study: Study, spec: ModelSpec) -> RFormula:
    outcome = study.outcomes[spec.outcome]
    left, right = r_name(outcome.followup), _right(study, spec)
    notes = _notes(study, spec)
    family = FAMILIES[spec.family]
    response = left
    if spec.family == "beta_binomial":
        low, high = outcome.range
        response = f"{left} | trials({high - low:g})"
        if low:
            notes.append(f"{left} is counted from its lowest score, {low:g}.")
    if outcome.exposure is not None:
        right += f" + offset(log({r_name(outcome.exposure)}))"
    parts = [f"{response} ~ {right}"]
    nesting = spec.nesting(list(study.arms))
    if nesting.number > 1:
        group = r_name(study.columns.arm) if spec.residual_by_arm else "residual_group"
        parts.append(f"sigma ~ 0 + {group}")
        notes.append(f"Residual SDs: {residual_words(spec, study)}.")
    own = f"bf({', '.join(parts)})"
    if spec.moderator.latent:
        own = f"{own} + {_latent(study, spec)}"
        if spec.family == "gaussian":
            own += " + set_rescor(FALSE)"
    brms = f"brm({own}, family = {family})"
    pattern = LME4.get(spec.family)
    plain = nesting.number == 1 and not spec.moderator.latent and bool(spec.effects)
    plain &= spec.moderator.structure == "total"
    lme4 = pattern.format(f"{left} ~ {right}") if pattern and plain else ""
    return RFormula((spec.outcome,), brms, lme4, tuple(notes))


def _right(study: Study, spec: ModelSpec) -> str:
    """Everything on the right of the tilde but offsets."""
    return " + ".join([*_fixed(study, spec), *_varying(study, spec)])


def _alliance(study: Study, spec: ModelSpec) -> str:
    """The moderator as its slope has it; empty in a plain trial."""
    if study.moderator is None:
        return ""
    name = r_name(study.moderator.column or study.moderator.name)
    if spec.moderator.structure == "within_between":
        return "alliance_within"
    return f"mi({name})" if spec.moderator.latent else name


def _fixed(study: Study, spec: ModelSpec) -> list[str]:
    arm, alliance = r_name(study.columns.arm), _alliance(study, spec)
    baseline = study.outcomes[spec.outcome].baseline
    terms = [] if baseline is None else [r_name(baseline)]
    if not alliance:
        terms.append(arm)
    else:
        terms.append(f"{arm} * {alliance}" if spec.interaction else f"{arm} + {alliance}")
    if spec.moderator.structure == "within_between" and alliance:
        between = "alliance_between"
        terms.append(
            f"{arm}:{between} + {between}" if spec.moderator.between_interaction else between
        )
    return [*terms, *map(r_name, study.covariates)]


def _varying(study: Study, spec: ModelSpec) -> list[str]:
    alliance, terms = _alliance(study, spec), []
    if spec.effects and study.columns.therapist is not None:
        therapist, slope = r_name(study.columns.therapist), len(spec.effects) > 1
        effects = f"1 + {alliance}" if slope else "1"
        if spec.without_therapist:
            effects = f"0 + treated + treated:{alliance}" if slope else "0 + treated"
        terms.append(f"({effects} | {therapist})")
        if spec.therapist_by_arm:
            terms.append(f"(1 | {therapist}:{r_name(study.columns.arm)})")
    if spec.clinic_effects and study.columns.clinic is not None:
        effects = f"1 + {alliance}" if len(spec.clinic_effects) > 1 else "1"
        terms.append(f"({effects} | {r_name(study.columns.clinic)})")
    return terms


def _latent(study: Study, spec: ModelSpec) -> str:
    """The moderator's own model, where it is missing or mismeasured."""
    moderator = study.measure
    name = r_name(moderator.column or moderator.name)
    error = "alliance_error" if spec.moderator.reliability is not None else ""
    predictors = [
        *([r_name(b)] if (b := study.outcomes[spec.outcome].baseline) else []),
        r_name(study.columns.arm),
        *map(r_name, study.covariates),
    ]
    if study.columns.therapist is not None and spec.effects:
        predictors.append(f"(1 | {r_name(study.columns.therapist)})")
    return f"bf({name} | mi({error}) ~ {' + '.join(predictors)})"


def _notes(study: Study, spec: ModelSpec) -> list[str]:
    """What the formula leaves out of the model."""
    arm = r_name(study.columns.arm)
    notes = [
        f"{arm} is a factor with contrasts that sum to zero (contr.sum); outcome"
        f"{words.of_moderator(study, ', {name}')}, baseline and covariates have mean 0 and SD 1, "
        "and the priors are those of the table of priors."
    ]
    rated = spec.moderator.arms
    if rated is not None and study.moderator is not None:
        notes.append(
            f"Patients of {', '.join(words.unrated_arms(study))} have no {study.moderator.name}: "
            "theirs is set to 0 after it was standardised."
        )
    if spec.effects and spec.without_therapist:
        notes.append(
            "treated is 1 in arms with therapists and 0 in "
            f"{', '.join(study.arms[code] for code in spec.without_therapist)}."
        )
    if spec.therapist_by_arm:
        notes.append("A therapist's deviations in the arms sum to zero here, and do not in R.")
    if spec.moderator.structure == "within_between":
        notes.append(
            "alliance_between is the therapist's true mean, which is a parameter here, and "
            "alliance_within what a rating differs from it: brms has no term for them, and "
            "observed means in their place would be biased."
        )
    if spec.moderator.reliability is not None:
        notes.append(
            "alliance_error is the rating's standard error: its SD times the root of 1 less the "
            f"reliability, {spec.moderator.reliability:g}."
        )
    if spec.moderator.ceiling is not None:
        notes.append(
            f"Ratings at the ceiling, {spec.moderator.ceiling:g}, are taken as censored, which "
            "mi() does not do."
        )
    return notes


def _joint(fit: Fit) -> RFormula:
    """All outcomes in one formula."""
    study = fit.study
    each = []
    for spec in fit.specs.values():
        left = r_name(study.outcomes[spec.outcome].followup)
        varying = [term.replace(" | ", " | p | ") for term in _varying(study, spec)]
        right = " + ".join([*_fixed(study, spec), *varying])
        family = FAMILIES[spec.family]
        own = "" if spec.family == "gaussian" else f" + {family}"
        each.append(f"bf({left} ~ {right}){own}")
    brms = "brm(\n  " + " +\n  ".join([*each, "set_rescor(TRUE)"]) + ",\n  family = gaussian())"
    notes = [
        *_notes(study, next(iter(fit.specs.values()))),
        "Slopes of the outcomes are partly pooled here, in SDs of benefit, which brms has no term "
        "for; nor does it correlate the residuals of an ordinal outcome with others.",
    ]
    return RFormula(tuple(fit.specs), brms, "", tuple(notes))


def _over_time(fit: Fit, name: str, visits: Sequence[str]) -> RFormula:
    """An outcome at its visits, of a table with a row for each."""
    study, spec = fit.study, fit.specs[visits[0]]
    assert spec.visits is not None
    described = study.outcomes[visits[0]]
    differ = set(spec.visits.by_visit)
    arm, alliance = r_name(study.columns.arm), _alliance(study, spec)
    terms = ["0 + visit", f"visit:{arm}"]
    singles = [("baseline", described.baseline or ""), ("moderator", alliance)]
    singles += [("covariate", covariate) for covariate in study.covariates]
    for kind, column in singles:
        if column:
            column = column if kind == "moderator" else r_name(column)
            terms.append(f"visit:{column}" if kind in differ else column)
    if alliance and spec.interaction:
        own = f"{arm}:{alliance}"
        terms.append(f"visit:{own}" if "interaction" in differ else own)
    terms += _varying(study, spec)
    if spec.visits.therapist_by_visit and study.columns.therapist is not None:
        terms.append(f"(1 | {r_name(study.columns.therapist)}:visit)")
    patient = r_name(study.columns.patient or "patient")
    pattern, correlation = CORRELATIONS.get(spec.visits.correlation), spec.visits.correlation
    notes = _notes(study, spec)
    if pattern is not None:
        terms.append(pattern.format(visit="visit", patient=patient))
    elif correlation != "diagonal":
        notes.append(
            f"Residuals of a patient are correlated as {correlation}, as brms has no term."
        )
    sigma = ", sigma ~ 0 + visit" if spec.visits.sd_by_visit else ""
    brms = f"brm(bf({r_name(name)} ~ {' + '.join(terms)}{sigma}), family = gaussian())"
    labels = ", ".join(str(study.outcomes[visit].visit) for visit in visits)
    notes.append(f"Of a table with a row for each patient and visit; visit is a factor: {labels}.")
    return RFormula(tuple(visits), brms, "", tuple(notes))


def alike(formulas: Sequence[RFormula], fit: Fit) -> list[tuple[str, RFormula]]:
    """Formulas with the outcomes that they are of, one for outcomes with the same notes each.

    Parameters
    ----------
    formulas : sequence of RFormula
    fit : Fit

    Returns
    -------
    list of tuple of str and RFormula
        Labels of the outcomes, and the formula; notes that stood beside an earlier one are gone.
    """
    told: set[str] = set()
    found = []
    for formula in formulas:
        label = ", ".join(words.label(fit.study, name) for name in formula.outcomes)
        found.append(
            (label, replace(formula, notes=tuple(n for n in formula.notes if n not in told)))
        )
        told |= set(formula.notes)
    return found
