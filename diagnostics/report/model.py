"""The model in words and in formulas (MathML, shown without a script), and its priors."""

from __future__ import annotations

from dataclasses import asdict, replace
from html import escape

from alliance.diagnostics import words
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import Facts, Formula, Heading, Paragraph, Part, Section
from alliance.diagnostics.sheet import Sheet
from alliance.diagnostics.sheets.checks import prior_costs
from alliance.diagnostics.sheets.results import PRIORS_LEGEND, evidence_lines, priors
from alliance.inference.digits import figures
from alliance.inference.estimands.compared_at import places_in_words
from alliance.inference.priors.prior_costs import costs_of_fit
from alliance.inference.runs.choices import model_choices, residual_words
from alliance.inference.runs.fit import Fit
from alliance.models.families.families import ORDINAL, ORDINAL_PROBIT
from alliance.models.priors import Priors
from alliance.models.spec import ModelSpec, over_time


def identifier(text: str) -> str:
    """A name in upright letters, which every font has."""
    return f'<mi mathvariant="normal">{escape(text)}</mi>'


def operator(text: str) -> str:
    """An operator or a bracket."""
    return f"<mo>{escape(text)}</mo>"


def indexed(text: str, *below: str) -> str:
    """A name with words below it."""
    words = escape(", ".join(below))
    return f"<msub>{identifier(text)}<mrow><mtext>{words}</mtext></mrow></msub>"


def called(name: str, *arguments: str) -> str:
    """A function or distribution with its arguments."""
    inner = operator(",").join(arguments)
    return f"<mrow><mtext>{escape(name)}</mtext>{operator('(')}{inner}{operator(')')}</mrow>"


def display(content: str) -> str:
    """A formula on a line of its own."""
    return f'<math display="block"><mrow>{content}</mrow></math>'


def likelihood(family: str, own_residuals: str = "") -> Formula:
    """How an outcome is distributed around its linear predictor.

    Parameters
    ----------
    family : str
        A key of `models.families.families.FAMILIES`.
    own_residuals : str
        Which arms have a residual SD of their own, where some have.
    """
    sigma = indexed("σ", "arm") if own_residuals else identifier("σ")
    own = f" Of σ there are several: {own_residuals}." if own_residuals else ""
    outcome, predictor = indexed("y", "patient"), indexed("η", "patient")
    is_drawn = operator("~")
    if family == "gaussian":
        return Formula(
            display(outcome + is_drawn + called("Normal", predictor, sigma)),
            f"The outcome is normal around the linear predictor, with the residual SD σ.{own}",
        )
    if family == "student_t":
        drawn = called("Student-t", identifier("ν"), predictor, sigma)
        return Formula(
            display(outcome + is_drawn + drawn),
            "The outcome has a Student-t distribution around the linear predictor, with scale σ "
            "and ν degrees of freedom, so that single far-off scores weigh less. Its SD is "
            "σ √(ν / (ν − 2)), infinite for ν of 2 or less; residual SD and shares of variance are "
            f"of that SD.{own}",
        )
    if family == "binary":
        share = called("logistic", predictor)
        return Formula(
            display(outcome + is_drawn + called("Bernoulli", share)),
            "The outcome is an event; its chance is the logistic function of the linear predictor, "
            "so that exponentials of differences of the predictor are odds ratios of a patient "
            "against an equal one.",
        )
    if family == "count":
        mean = f"<mrow>{identifier('t')}{operator('·')}{called('exp', predictor)}</mrow>"
        drawn = called("Negative-binomial", mean, identifier("ω"))
        return Formula(
            display(outcome + is_drawn + drawn),
            "The outcome is a number of events in the exposure t of each patient (1 where the "
            "study names none); the exponential of the linear predictor is the rate for one unit "
            "of it. Patients' own rates differ around it with the coefficient of variation ω, the "
            "overdispersion.",
        )
    if family == "beta_binomial":
        share = called("logistic", predictor)
        drawn = called("Beta-binomial", identifier("n"), share, identifier("φ"))
        return Formula(
            display(outcome + is_drawn + drawn),
            "The outcome, counted in whole points from the lowest score, is beta-binomial of n "
            "points; its expected share is the logistic function of the linear predictor, and φ "
            "is the precision.",
        )
    link = "Normal distribution" if family.endswith("probit") else "logistic"
    below = operator("≤")
    left = called("P", f"{outcome}{below}{identifier('c')}")
    gap = f"<mrow>{indexed('κ', 'c')}{operator('−')}{predictor}</mrow>"
    return Formula(
        display(left + operator("=") + called(link, gap)),
        "The outcome is ordinal: the probability of category c or a lower one depends on the "
        "distance of the linear predictor from the cutpoint κ of that category.",
    )


def predictor(spec: ModelSpec, *, baseline: bool, covariates: bool) -> Formula:
    """The linear predictor of a specification.

    Parameters
    ----------
    spec : ModelSpec
    baseline, covariates : bool
        Whether the outcome has a baseline, and the study covariates.
    """
    terms = [identifier("α")]
    told = ["α the intercept"]
    if baseline:
        terms.append(identifier("β") + operator("·") + "<mtext>baseline</mtext>")
        told.append("β the slope of the baseline")
    if covariates:
        index = "<mtext>covariate</mtext>"
        total = f"<munder>{operator('∑')}{index}</munder>"
        terms.append(total + indexed("δ", "covariate") + operator("·") + "<mtext>value</mtext>")
        told.append("δ the covariates' slopes")
    terms.append(indexed("τ", "arm"))
    told.append("τ the arms' effects, which sum to zero")
    if spec.therapist_by_arm:
        terms.append(indexed("w", "therapist", "arm"))
        told.append("w the arms' effects that differ between therapists")
    if spec.moderator.arms != ():
        _add_slopes(spec, terms, told)
    if "intercept" in spec.effects:
        terms.append(indexed("u", "therapist"))
        told.append("u a therapist's effect")
    if spec.effects and spec.without_therapist:
        told.append(
            f"patients in {' and '.join(spec.without_therapist)} have no therapist, and no such "
            "term"
        )
    if spec.clinic_effects:
        terms.append(indexed("u", "clinic"))
        told.append("u of a clinic its own effect")
    formula = indexed("η", "patient") + operator("=") + operator("+").join(terms)
    return Formula(display(formula), f"The linear predictor: {'; '.join(told)}.")


def _add_slopes(spec: ModelSpec, terms: list[str], told: list[str]) -> None:
    """The part of the predictor that the alliance enters, and what its letters stand for."""
    plus, slope = operator("+"), [identifier("λ")]
    over = "arms" if spec.moderator.arms is None else f"{', '.join(spec.moderator.arms)}"
    told.append(f"λ the slope of the alliance averaged over {over}")
    if spec.moderator.arms is not None:
        told.append("in other arms the alliance, which they do not have, counts zero")
    if spec.interaction:
        slope.append(indexed("λ", "arm"))
        told.append("λ of an arm its departure from that, which sums to zero over arms")
    if "slope" in spec.effects:
        slope.append(indexed("v", "therapist"))
        told.append("v a therapist's departure from it")
    if "slope" in spec.clinic_effects:
        slope.append(indexed("v", "clinic"))
        told.append("v of a clinic its departure from it")
    times = plus.join(slope)
    if len(slope) > 1:
        times = f"{operator('(')}{times}{operator(')')}"
    if spec.moderator.structure == "within_between":
        within = "<mtext>alliance within the therapist</mtext>"
        terms.append(times + operator("·") + within)
        between = indexed("λ", "between")
        if spec.moderator.between_interaction:
            departure = indexed("λ", "between", "arm")
            between = f"{operator('(')}{between}{plus}{departure}{operator(')')}"
        terms.append(between + operator("·") + "<mtext>therapist’s mean</mtext>")
        told.append(
            "the alliance within the therapist is what a patient's alliance differs from the "
            "therapist's true mean, which is estimated; all slopes in brackets with it are slopes "
            "within therapists"
        )
        told.append("λ between the slope of the therapists' mean alliance")
        if spec.moderator.between_interaction:
            told.append("with an arm its departure from that, which sums to zero over arms")
    else:
        terms.append(times + operator("·") + "<mtext>alliance</mtext>")


def therapist_effects(spec: ModelSpec, level: str = "therapist") -> Formula | None:
    """How the effects of therapists, or of clinics, are distributed; None without any.

    Parameters
    ----------
    spec : ModelSpec
    level : {"therapist", "clinic"}
    """
    effects = spec.effects if level == "therapist" else spec.clinic_effects
    if not effects:
        return None
    if "slope" in effects:
        pair = f"{operator('(')}{indexed('u', level)}{operator(',')}"
        pair += f"{indexed('v', level)}{operator(')')}"
        covariance = identifier("Σ") if level == "therapist" else indexed("Σ", level)
        return Formula(
            display(pair + operator("~") + called("Normal", "<mn>0</mn>", covariance)),
            f"Each {level}'s effect and slope come from a normal distribution around zero; its "
            "covariance Σ has two SDs and a correlation.",
        )
    drawn = called("Normal", "<mn>0</mn>", indexed("σ", level))
    return Formula(
        display(indexed("u", level) + operator("~") + drawn),
        f"Each {level}'s effect comes from a normal distribution around zero.",
    )


# Why each scale is what it is unless the study says otherwise; as in `models.priors.Priors`.
REASONS = {
    "intercept": "wide: the mean is zero by construction",
    "baseline_slope": "a standardised slope seldom exceeds one",
    "arm": "differences between arms beyond 1.4 SDs are thought improbable",
    "moderator_slope": "reviews find correlations near 0.28 (doi:10.1037/pst0000172)",
    "interaction": "smaller than the slope itself",
    "covariate_slope": "for one SD of the covariate",
    "therapist_sd": "covers therapist shares of variance from 1% to 12%",
    "therapist_slope_sd": "no source known: as wide as the slope; narrower ones covered too seldom",
    "therapist_correlation": "LKJ shape: leans gently against −1 and 1",
    "clinic_sd": "as that of therapists",
    "clinic_slope_sd": "as that of therapists",
    "clinic_correlation": "LKJ shape: as that of therapists",
    "trial_arm_sd": "half an SD between patients for a contrast",
    "trial_slope_sd": "two thirds of the slope's own scale",
    "trial_interaction_sd": "two thirds of the slope's own scale",
    "residual_sd": "at most 1 when the model explains anything",
    "therapist_arm_sd": "half of the scale of arm effects",
    "moderator_therapist_sd": "in SDs of the alliance",
    "degrees_of_freedom": "0: estimated, with a Gamma(2, 0.1) prior (doi:10.1198/jbes.2009.07145)",
    "category_concentration": "Dirichlet: 1 is uniform over shares of categories",
}


def _over_time(fit: Fit) -> str:
    """What is said of outcomes over time; nothing where there are none."""
    if not over_time(fit.specs):
        return ""
    return (
        "An outcome's visits are modelled together, each with an intercept of its own: formulas "
        "are those of a single visit, and a patient's residuals at several visits go together as "
        "the choices below say. Scores have the SD within visits as their unit, and therapist "
        "effects are the same at all visits unless the choices say otherwise. A patient with some "
        "visits counts with these: missing at random given the model."
    )


def _several(fit: Fit) -> str:
    """What is said of several trials in one model; nothing where there is one."""
    if not fit.several_trials:
        return ""
    settings, name = fit.study.model, fit.study.measure.name
    own = ", and the residual SD σ" * settings.residual_by_trial
    shared = "The arms' effects τ and the slopes λ are the same in all trials."
    if settings.several_trials == "varying":
        shared = (
            "The arms' effects τ and the slopes λ vary around those of an average trial, "
            "normal and independent, with an SD for τ, one for λ and one for λ of an arm."
        )
    return (
        "Each outcome is modelled by itself, in all trials at once. Formulas are those of one "
        f"trial. It has for itself the intercept α, the slopes of baseline and covariates{own}. "
        f"{shared} The {name} is that around each trial's own mean, so that slopes are of patients "
        f"within trials; how τ goes with the trials' mean {name} is told by coefficients of their "
        "own, the interaction across trials."
    )


# Scales of what a plain trial has not.
OF_SLOPES = (
    *("moderator_slope", "interaction", "therapist_slope_sd", "therapist_correlation"),
    "moderator_therapist_sd",
)


def model(material: Material) -> Section:
    """What was fitted, in words and formulas, with the priors.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    parts: list[Part] = [
        Paragraph(
            f"Outcome{words.of_moderator(fit.study, ', moderator')}, baseline and covariates enter "
            "with mean 0 and SD 1 among the analysed patients; results are given on their own "
            "scales. "
            + (
                "All outcomes are modelled together: residuals and therapist effects correlate "
                "between outcomes, and slopes are partly pooled."
                if fit.shared is not None
                else _over_time(fit) or _several(fit) or "Each outcome is modelled by itself."
            )
        )
    ]
    for title, spec, baseline in _kinds(material):
        parts.append(Heading(f"Formula: {title}"))
        nesting = spec.nesting(list(fit.study.arms))
        own = residual_words(spec, fit.study) if nesting.number > 1 else ""
        parts.append(likelihood(spec.family, own))
        covariates = bool(fit.study.covariates)
        parts.append(predictor(spec, baseline=baseline, covariates=covariates))
        for level in ("therapist", "clinic"):
            effects = therapist_effects(spec, level)
            if effects is not None:
                parts.append(effects)
    choices = [
        (choice.aspect.capitalize(), choice.words + ("" if choice.default else " (chosen)"))
        for choice in model_choices(fit)
    ]
    parts += [
        Heading("Choices"),
        Paragraph("Everything that is not marked as chosen is what a study without settings gets."),
        Facts(choices),
        Heading("Priors"),
        _prior_table(material),
        _scale_table(material),
        *_latent_scales(material),
        *_costs(material),
    ]
    return Section("model", "Model and priors", parts)


def _kinds(material: Material) -> list[tuple[str, ModelSpec, bool]]:
    """Outcomes whose formulas are the same, together."""
    fit = material.fit
    kinds: dict[tuple[ModelSpec, bool], list[str]] = {}
    for outcome, spec in fit.specs.items():
        key = (replace(spec, outcome="", priors=Priors()), fit.design(outcome).has_baseline)
        kinds.setdefault(key, []).append(words.label(fit.study, outcome))
    return [(", ".join(names), spec, baseline) for (spec, baseline), names in kinds.items()]


def _prior_table(material: Material) -> Sheet:
    fit = material.fit
    further = (
        f"{places_in_words(fit, material.at)} {PRIORS_LEGEND} Contrasts of two arms follow from "
        "arm effects that sum to zero, so that no arm is privileged."
    )
    sheet = priors(fit, material.priors)
    told = words.sentences([sheet.note, further, *evidence_lines(fit)])
    return replace(sheet, note=told)


def _scale_table(material: Material) -> Sheet:
    fit = material.fit
    default = asdict(Priors())
    used = {name: asdict(spec.priors) for name, spec in fit.specs.items()}
    rows = []
    for name, reason in REASONS.items():
        if fit.study.moderator is None and name in OF_SLOPES:
            continue
        above = any(each.clinic_effects for each in fit.specs.values())
        if name.startswith("clinic_") and not above:
            continue
        if name.startswith("trial_") and not fit.several_trials:
            continue
        values = {scales[name] for scales in used.values()}
        told = ", ".join(figures(value) for value in sorted(values))
        stated = values != {default[name]}
        why = "stated in the study file" if stated else reason
        rows.append({"Prior": words.plain(name), "Scale": told, "Reason": why})
    return Sheet(
        "prior_scales",
        "The same priors in SDs, as the model has them",
        rows,
        "With the reason for each scale. Those of terms that the model does not have play no part.",
    )


def _latent_scales(material: Material) -> list[Paragraph]:
    """What an SD of the outcome is where the outcome is of ordered categories."""
    fit = material.fit
    latent = {ORDINAL.name: "logistic", ORDINAL_PROBIT.name: "normal"}
    told = [
        f"{words.label(fit.study, name)} ({latent[spec.family]})"
        for name, spec in fit.specs.items()
        if spec.family in latent
    ]
    if not told:
        return []
    return [
        Paragraph(
            "An ordinal outcome has no scale of its own. SDs of the outcome in the table above are "
            f"residual SDs of its latent variable there, and not SDs of the scores: "
            f"{', '.join(told)}. A residual SD is less than the whole SD, so that the same number "
            "is the tighter prior the more the model explains."
        )
    ]


def _costs(material: Material) -> list[Part]:
    """How far the priors pull effects in this design, and how often intervals then hold them."""
    fit = material.fit
    numbers = costs_of_fit(fit, interval=material.interval)
    if numbers.empty:
        return []
    sheet = prior_costs(numbers, fit.study, interval=material.interval)
    further = (
        "The SDs are at their posterior means and taken as known; other coefficients are as the "
        "prior expects them."
    )
    return [Heading("What the priors cost"), replace(sheet, note=f"{sheet.note} {further}")]
