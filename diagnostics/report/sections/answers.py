"""Answers about patients and therapists: effects along the alliance, predictions, therapists."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance.diagnostics import words
from alliance.diagnostics.figures.effect_figures import effect_figure, score_figure
from alliance.diagnostics.figures.prediction_figure import prediction_figure
from alliance.diagnostics.figures.therapist_figure import therapist_figure
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Heading, Paragraph, Part, Picture, Section
from alliance.diagnostics.sheet import joined
from alliance.diagnostics.sheets import effects as effect_sheets
from alliance.diagnostics.sheets import predictions as prediction_sheets
from alliance.diagnostics.sheets import therapists as therapist_sheets
from alliance.inference.answers.effects import effects_table
from alliance.inference.digits import decimals, figures, number


def effects(material: Material) -> Section:
    """Curves with bands for each outcome, and tables at the quartiles of the moderator.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    name = fit.study.moderator.name
    answers = list(material.effects.values())
    legend = effect_sheets.effects_legend(fit, answers)
    parts: list[Part] = [
        Paragraph(words.sentences([*legend, *effect_sheets.effects_about(fit, answers[0])])),
        Picture(
            "scores",
            score_figure(fit, answers),
            f"Expected scores by arm along the {name}",
            f"Curves of the expected score of each arm with {share} intervals, over the observed "
            f"range of the {name}. {_scores(material)}",
        ),
    ]
    for outcome, answer in material.effects.items():
        label = words.label(fit.study, outcome)
        parts += [
            Heading(label),
            Picture(
                f"effects-{outcome}",
                effect_figure(fit, [answer]),
                f"Contrasts along the {name}: {label}",
                f"One panel for each contrast: median, {share} interval and {share} band along the "
                f"{name}; below, the probability that the first arm is better. The numbers at the "
                "quartiles stand in the table below.",
            ),
            effect_sheets.contrasts_along(fit, answer, numbers=effects_table(answer)),
        ]
        if answer.slopes:
            parts.append(effect_sheets.slopes_compared(fit, answer))
    return Section("effects", f"Effects along the {name}", parts)


def _scores(material: Material) -> str:
    told = []
    for outcome, answer in material.effects.items():
        low, high = answer.observed
        expected = answer.curves.expected
        digits = decimals(float(expected.std(axis=0).min()))
        ends = [
            f"{words.level(material.fit.study, arm)} {number(curve[0], digits)} to "
            f"{number(curve[-1], digits)}"
            for arm, curve in zip(answer.curves.arms, expected.mean(axis=0), strict=True)
        ]
        label = words.label(material.fit.study, outcome)
        told.append(f"{label}, from {figures(low, 4)} to {figures(high, 4)}: {', '.join(ends)}")
    return "; ".join(told) + "."


def predictions(material: Material) -> Section:
    """Expected scores and single outcomes by arm.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    answers = list(material.predictions.values())
    # One imagined patient at the means: a number that stands for nobody.
    numbers = pd.concat([answer.table for answer in answers], ignore_index=True)
    table = joined(
        "predictions",
        "Predicted scores, in points of each outcome, of an imagined patient at the means of "
        f"{fit.study.moderator.name}, baseline and covariates, with a new therapist. {share} "
        "equal-tailed intervals.",
        [
            (words.label(fit.study, answer.outcome), prediction_sheets.predictions(fit, answer))
            for answer in answers
        ],
        numbers=numbers.drop(columns="patient"),
    )
    return Section(
        "predictions",
        "Predictions by arm",
        [
            Paragraph(
                "What the model expects of a further patient like the average one of the trial, "
                "treated by a therapist who was not in it. The interval of single scores is wide "
                "because patients differ; it is not an interval of the effect. Gaussian models may "
                "predict scores beyond the ends of a scale."
            ),
            Picture(
                "predictions",
                prediction_figure(fit, answers),
                "Predictions by arm",
                f"Expected scores and single outcomes by arm with {share} intervals, for an "
                "imagined patient at the means. The numbers stand in the table below.",
            ),
            table,
        ],
    )


def therapists(material: Material) -> Section:
    """The therapists' effects with ranks, and how much therapists differ.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    answers: dict[str, Any] = dict(material.therapists)
    told = [therapist_sheets.therapists_legend(fit, answer) for answer in answers.values()]
    parts: list[Part] = [
        Paragraph(
            words.sentences(
                [
                    "Therapists bear the codes of the data file.",
                    *dict.fromkeys(line for lines in told for line in lines),
                ]
            )
        ),
        joined(
            "therapist_shares",
            f"{share} intervals: equal-tailed from the posterior; confidence intervals where they "
            f"come from the ratings of {fit.study.moderator.name} alone.",
            [
                (words.label(fit.study, outcome), therapist_sheets.spreads(fit, answer))
                for outcome, answer in answers.items()
            ],
        ),
    ]
    ranked = [answer for answer in answers.values() if answer.ranks is not None]
    if not ranked:
        return Section(
            "therapists",
            "Therapists",
            [*parts, Paragraph("The model has no therapist effects.")],
        )
    picture = Picture(
        "therapists",
        therapist_figure(fit, list(answers.values())),
        "Effects of the therapists",
        f"Caterpillar plots by outcome: posterior mean and {share} interval of each therapist's "
        "effect, best on top, and of the slopes where they vary. The numbers and ranks stand in "
        "the tables below.",
    )
    # Of a therapist with one patient the mean rating is that patient's
    mean = f"Mean {fit.study.moderator.name}"
    tables = [therapist_sheets.therapists(fit, answer).without([mean]) for answer in ranked]
    return Section("therapists", "Therapists", [*parts, picture, *tables])
