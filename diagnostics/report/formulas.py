"""The model's formulas in MathML, which browsers show without a script."""

from __future__ import annotations

from html import escape

from alliance.diagnostics.report.parts import Formula
from alliance.models.spec import ModelSpec


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


def likelihood(family: str) -> Formula:
    """How an outcome is distributed around its linear predictor.

    Parameters
    ----------
    family : str
        A key of `models.families.families.FAMILIES`.
    """
    outcome, predictor = indexed("y", "patient"), indexed("η", "patient")
    is_drawn = operator("~")
    if family == "gaussian":
        return Formula(
            display(outcome + is_drawn + called("Normal", predictor, identifier("σ"))),
            "The outcome is normal around the linear predictor, with the residual SD σ.",
        )
    if family == "student_t":
        drawn = called("Student-t", identifier("ν"), predictor, identifier("σ"))
        return Formula(
            display(outcome + is_drawn + drawn),
            "The outcome has a Student-t distribution around the linear predictor, with scale σ "
            "and ν degrees of freedom, so that single far-off scores weigh less. Its SD is "
            "σ √(ν / (ν − 2)), infinite for ν of 2 or less; residual SD and shares of variance are "
            "of that SD.",
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
    plus = operator("+")
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
    slope = [identifier("λ")]
    told.append("λ the slope of the alliance averaged over arms")
    if spec.interaction:
        slope.append(indexed("λ", "arm"))
        told.append("λ of an arm its departure from that, which sums to zero over arms")
    if "slope" in spec.effects:
        slope.append(indexed("v", "therapist"))
        told.append("v a therapist's departure from it")
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
    if "intercept" in spec.effects:
        terms.append(indexed("u", "therapist"))
        told.append("u a therapist's effect")
    formula = indexed("η", "patient") + operator("=") + plus.join(terms)
    return Formula(display(formula), f"The linear predictor: {'; '.join(told)}.")


def therapist_effects(spec: ModelSpec) -> Formula | None:
    """How therapist effects are distributed; None without any.

    Parameters
    ----------
    spec : ModelSpec
    """
    if not spec.effects:
        return None
    if "slope" in spec.effects:
        pair = f"{operator('(')}{indexed('u', 'therapist')}{operator(',')}"
        pair += f"{indexed('v', 'therapist')}{operator(')')}"
        return Formula(
            display(pair + operator("~") + called("Normal", "<mn>0</mn>", identifier("Σ"))),
            "Each therapist's effect and slope come from a normal distribution around zero; its "
            "covariance Σ has two SDs and a correlation.",
        )
    drawn = called("Normal", "<mn>0</mn>", indexed("σ", "therapist"))
    return Formula(
        display(indexed("u", "therapist") + operator("~") + drawn),
        "Each therapist's effect comes from a normal distribution around zero.",
    )
