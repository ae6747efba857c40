"""The report's answers: the question, the data, what was found, beside a paper, and of patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.data_prep.levels import AVERAGE, OVER_TIME, WITHIN
from alliance.data_prep.study.description import Study
from alliance.diagnostics import words
from alliance.diagnostics.figures.answer_figures import (
    effect_figure,
    prediction_figure,
    score_figure,
)
from alliance.diagnostics.figures.course_figure import course_figure
from alliance.diagnostics.figures.flow_figure import flow_figure, patient_flow
from alliance.diagnostics.figures.paper_figure import paper_figure
from alliance.diagnostics.figures.results_figures import (
    answers_figure,
    comparison_figure,
    standard_unit,
    standardised_contrasts,
)
from alliance.diagnostics.figures.therapist_figure import therapist_figure
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import (
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    Section,
)
from alliance.diagnostics.sentences import CERTAIN, plain_words, sentences_of
from alliance.diagnostics.sheet import Sheet, joined, without_empty
from alliance.diagnostics.sheets import effects as effect_sheets
from alliance.diagnostics.sheets import paper as paper_sheets
from alliance.diagnostics.sheets import predictions as prediction_sheets
from alliance.diagnostics.sheets import predictions as therapist_sheets
from alliance.diagnostics.sheets import results as sheets
from alliance.diagnostics.sheets.assumed import assumed, assumed_legend
from alliance.diagnostics.sheets.characteristics import characteristics
from alliance.diagnostics.sheets.results import flow
from alliance.diagnostics.verdicts import Verdict
from alliance.inference.answers.assumed_courses import course_table, courses
from alliance.inference.answers.effects import effects_table
from alliance.inference.digits import decimals, figures, interval_decimals, number
from alliance.inference.estimands.compared_at import places_in_words
from alliance.inference.estimands.estimands import limit_error
from alliance.inference.runs.fit import ALL_VISITS
from alliance.models.spec import JOINT


def question(material: Material) -> Section:
    """What was asked, of which trial, and what came out in one table.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    study = fit.study
    outcomes = ", ".join(each.label for each in study.outcomes.values())
    parts: list[Part] = []
    if study.simulated:
        parts.append(
            Notice(
                "SIMULATED DATA. No patient gave these data: they were made by a simulator from "
                "assumed values. Nothing here is evidence about any treatment, and the comparison "
                "with published findings shows only how the comparison works."
            )
        )
    facts = [("Trial", study.title), ("Outcomes", outcomes), ("Arms", words.arms(study))]
    if study.moderator is not None:
        low, high = study.moderator.range
        told = f"{study.moderator.label}, {figures(low)} to {figures(high)} points"
        if without := words.unrated_arms(study):
            told += f"; patients of {', '.join(without)} have none"
        facts.append(("Moderator", told))
    if study.citation:
        facts.append(("Publication", study.citation))
    parts += [
        Paragraph(
            (
                words.of_moderator(
                    study,
                    "Do patients with a higher {name} have better outcomes, and does the {name} go "
                    "with another difference between the arms?",
                )
                or "How do outcomes differ between the arms?"
            )
            + " Hierarchical Bayesian models answer with "
            "probabilities, given the data and the priors that are stated below."
        ),
        *_of_visits(material),
        *_answers(material),
        *_in_plain_words(material),
        Heading("The trial"),
        Facts(facts),
    ]
    return Section("question", "Question and answers", parts)


def _of_visits(material: Material) -> Iterator[Part]:
    """Which visit is spoken of, where it is not all of them."""
    if material.visit == ALL_VISITS:
        return
    study = material.fit.study
    at = dict.fromkeys(
        str(visit) for name in material.shown if (visit := study.outcomes[name].visit) is not None
    )
    yield Paragraph(
        f"Answers, curves, predictions and checks are of the visit {', '.join(at)}; the gate, "
        "tables of results and courses over time are of all visits."
    )


def _answers(material: Material) -> Iterator[Part]:
    """A sentence for each slope, contrast and interaction; all of them in a table and a figure."""
    fit = material.fit
    total, unknown = Counter[str](), Counter[str]()
    verdicts = {report.outcome: report.verdict for report in material.gate}
    for outcome in material.shown:
        better = fit.study.outcomes[outcome].better
        count = words.counted(words.patients(fit, outcome), "patient")
        yield Heading(f"{words.label(fit.study, outcome)} ({better} is better, {count})")
        if Verdict.FAIL in (verdicts[outcome], verdicts.get(JOINT)):
            yield Notice("The draws failed the gate: what they say of this outcome is not told.")
            continue
        told = list(sentences_of(fit, outcome, material.summary, material.interval))
        yield Listing([sentence for _, _, sentence in told])
        for quantity, found, _ in told:
            total[quantity] += len(found)
            unknown[quantity] += sum(not each.certain for each in found)
    yield _glance(material)
    if _contrasts_by_slope(material) > 1:
        yield _slopes_differ(material)
    if total:
        yield _forest(material)
    told_apart = [
        f"the direction of {total[quantity] - unknown[quantity]} of "
        f"{words.counted(total[quantity], words.plain(quantity))}"
        for quantity in total
    ]
    yield Paragraph(
        f"What the data can tell with a probability of {words.chance(CERTAIN)} or more: "
        f"{', '.join(told_apart) or 'nothing'}. What they cannot tell is not shown to be absent: "
        "an interval that includes zero shows neither an effect nor that there is none."
        + words.of_moderator(
            fit.study,
            " Slopes and their differences describe an association: the {name} was not allotted by "
            "chance.",
        )
    )


def _in_plain_words(material: Material) -> Iterator[Part]:
    """What was found for a reader who knows no statistics."""
    fit = material.fit
    verdicts = {report.outcome: report.verdict for report in material.gate}
    told = [
        f"{words.label(fit.study, outcome)}: "
        f"{plain_words(fit, outcome, material.summary, material.interval)}"
        for outcome in material.shown
        if Verdict.FAIL not in (verdicts[outcome], verdicts.get(JOINT))
    ]
    if told:
        yield Heading("In plain words")
        yield Paragraph(
            f"{_treatments(fit.study)} Nearly certain: 975 chances in 1,000 or more, if the model "
            "is right."
            + words.of_moderator(
                fit.study,
                " That people with a higher rating did better does not show that the rating is the "
                "reason.",
            )
        )
        yield Listing(told)


def _treatments(study: Study) -> str:
    """What the treatments were, and who rated what of them, in a sentence."""
    everyone = ", ".join(study.arms.values())
    rated = ", ".join(study.arms[code] for code in study.rated_arms)
    if not rated:
        return f"People had one of these treatments: {everyone}."
    told = f"{study.measure.label} was rated by people who had one of these treatments: {rated}."
    others = ", ".join(study.arms[code] for code in words.unrated_arms(study))
    return f"{told} There was none to rate with: {others}." if others else told


def _in_units(material: Material) -> str:
    """In what the figure has them: SDs, or of events and counts a unit of their link."""
    unit = standard_unit(material.fit).axis
    return "in SDs of each outcome" if unit == "SDs of the outcome" else f"as {unit}"


def _forest(material: Material) -> Picture:
    fit, told = material.fit, []
    slopes = words.of_moderator(fit.study, ", and differences of their slopes")
    for quantity in ("arm_contrast", "interaction"):
        for row in standardised_contrasts(fit, material.shown_summary, quantity).to_dict("records"):
            digits = max(2, interval_decimals(row["lower"], row["upper"]))
            estimate = words.estimate(row["mean"], row["lower"], row["upper"], digits)
            named = words.quantity_and_level(fit.study, quantity, row["level"])
            told.append(f"{row['label']}, {named}: {estimate}")
    return Picture(
        "answers",
        answers_figure(fit, material.shown_summary, interval=material.interval, at=material.at),
        f"Contrasts of the arms{slopes}, {_in_units(material)}",
        f"Forest plot. Posterior mean and {words.level_of(material.interval)} interval, positive "
        f"where the first arm is better. {'; '.join(told)}.",
    )


def _contrasts_by_slope(material: Material) -> int:
    """How many differences of slopes an outcome has at most."""
    rows = material.shown_summary[material.shown_summary["quantity"] == "interaction"]
    return int(rows.groupby("outcome").size().max()) if len(rows) else 0


def _slopes_differ(material: Material) -> Sheet:
    """The interactions of all outcomes in one table, where there are several of an outcome."""
    fit = material.fit
    rows = []
    for outcome in material.shown:
        shown = {"Outcome": words.label(fit.study, outcome)}
        for row in material.rows(outcome).to_dict("records"):
            if row["quantity"] == "interaction":
                shown[words.level(fit.study, row["level"])] = _told(row)
        if len(shown) > 1:
            rows.append(shown)
    return Sheet(
        "glance_interactions",
        f"Differences of slopes for one point of {fit.study.measure.name}, with "
        f"{words.level_of(material.interval)} equal-tailed intervals",
        rows,
        numbers=material.shown_summary[material.shown_summary["quantity"] == "interaction"],
    )


def _glance(material: Material) -> Sheet:
    fit = material.fit
    verdicts = {report.outcome: report.verdict for report in material.gate}
    joint = verdicts.get(JOINT, Verdict.PASS)
    order, single = list(Verdict), _contrasts_by_slope(material) == 1
    rows = []
    for outcome in material.shown:
        gate = max(verdicts[outcome], joint, key=order.index)
        shown = {
            "Outcome": words.label(fit.study, outcome),
            "Better": fit.study.outcomes[outcome].better,
            "Patients": str(words.patients(fit, outcome)),
        }
        slope = material.row(outcome, "moderator_slope", AVERAGE)
        if slope is None:
            slope = material.row(outcome, "moderator_slope", WITHIN)
        if slope is not None:
            shown["Slope"] = _told(slope)
        for row in material.rows(outcome).to_dict("records"):
            if row["quantity"] == "arm_contrast":
                shown[words.level(fit.study, row["level"])] = _told(row)
            if row["quantity"] == "interaction" and single:
                shown["Difference of slopes"] = _told(row)
        rows.append(shown | {"Gate": str(gate)})
    slopes = "Slope and difference of slopes, of the same arms" if single else "Slope"
    return Sheet(
        "glance",
        f"Posterior means with {words.level_of(material.interval)} equal-tailed intervals, in "
        "points of each outcome",
        rows,
        f"{words.of_moderator(fit.study, f'{slopes}: for one point of {{name}}. ')}"
        f"{places_in_words(fit, material.at)} "
        "Gate: FAIL where draws may not be used, REVIEW where a check of draws or model asks for a "
        "look (section Gate and computation).",
        material.shown_summary,
    )


def _told(row: Mapping[Any, Any] | pd.Series) -> str:
    digits = decimals(row["sd"], row["mean"])
    return words.estimate(row["mean"], row["lower"], row["upper"], digits)


PRINTED = "The printed numbers by themselves"
MANY = 1e4  # from here on a mean has digits enough before the point


def data(material: Material) -> Section:
    """The flow of patients, and means and SDs by arm.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    manifest, columns = fit.manifest, fit.study.columns
    source = manifest.get("data", {})
    ids = "rows are patients" if columns.patient is None else f"patients in {columns.patient}"
    therapist = columns.therapist
    treated = "no column of therapists" if therapist is None else f"therapists in {therapist}"
    if fit.study.clinic_setting != "none":
        treated += f", clinics in {columns.clinic}"
    facts = [
        ("Data file", str(source.get("file", "not recorded"))),
        ("SHA-256 of the file", str(source.get("sha256", "not recorded"))),
        (
            "Columns",
            f"{ids}, {treated}, arms in {columns.arm}",
        ),
        ("Therapists and arms", str(manifest.get("therapists_in_arms", "not recorded"))),
    ]
    if fit.study.covariates:
        facts.append(("Covariates", _with_columns(fit.study)))
    parts: list[Part] = [
        Paragraph(
            "Patients enter the analysis of an outcome if nothing that its model needs is missing. "
            "They are left out for the first thing that they lack, in the order of the table."
        ),
        *flow_picture(material),
        flow(fit.study, fit.flow),
        Heading("Before treatment"),
        *first_table(material),
    ]
    if not fit.rowless:
        parts += [Heading("Arms and therapists"), _described(material)]
    parts += [Heading("The file"), Facts(facts)]
    if notes := list(manifest.get("notes", ())):
        parts += [Heading("Notes on reading the data"), Listing(notes)]
    return Section("data", "Data and flow of patients", parts)


UNTOLD = (
    "The run keeps no characteristics of its patients by arm, nor rows to count them from: fit it "
    "again."
)


def flow_picture(material: Material) -> Iterator[Part]:
    """The flow of patients as the CONSORT statement draws it.

    Parameters
    ----------
    material : Material
    """
    if (found := material.characteristics) is not None:
        yield Picture(
            "flow",
            flow_figure(material.fit, found),
            "Flow of patients, of what the data file tells",
            patient_flow(material.fit, found).words,
        )


def _with_columns(study: Study) -> str:
    """The covariates by their labels, each with its column where that is another name."""
    named = {name: words.covariate(study, name) for name in study.covariates}
    return ", ".join(
        label if label == name else f"{label} ({name})" for name, label in named.items()
    )


def first_table(material: Material) -> Iterator[Part]:
    """Patients of each arm before treatment.

    Parameters
    ----------
    material : Material
    """
    found = material.characteristics
    yield Notice(UNTOLD) if found is None else characteristics(material.fit, found)


def _described(material: Material) -> Sheet:
    fit = material.fit
    rows: list[dict[str, Any]] = []
    for outcome in fit.outcomes:
        patients = fit.patients(outcome)
        arm, therapist = patients["arm_index"].values, patients["therapist_index"].values
        for k, code in enumerate(patients["arm"].values):
            own = arm == k
            row = {"outcome": outcome, "arm": str(code), "patients": int(own.sum())}
            row["therapists"] = len(np.unique(therapist[own & (therapist >= 0)]))
            for name in ("moderator", "baseline", "outcome"):
                if name in patients and (name != "moderator" or fit.study.moderator is not None):
                    values = patients[name].values[own]
                    values = values[np.isfinite(values)]
                    enough = len(values) > 1
                    key = "followup" if name == "outcome" else name
                    row[f"{key}_mean"] = values.mean() if enough else np.nan
                    row[f"{key}_sd"] = values.std(ddof=1) if enough else np.nan
            rows.append(row)
    numbers = pd.DataFrame(rows)
    heads = {
        "moderator": words.of_moderator(fit.study, "{name}").capitalize(),
        "baseline": "Baseline",
        "followup": "Follow-up",
    }
    shown = [
        {
            "Outcome": words.label(fit.study, row["outcome"]),
            "Arm": fit.study.arms[row["arm"]],
            "Patients": str(row["patients"]),
            "Therapists": str(row["therapists"]),
            **{
                head: _mean_and_sd(row[f"{key}_mean"], row[f"{key}_sd"])
                for key, head in heads.items()
                if f"{key}_mean" in numbers
            },
        }
        for row in numbers.to_dict("records")
    ]
    return Sheet(
        "arms",
        "Analysed patients by arm",
        shown,
        "Numbers, and means (SDs) in points of each scale"
        f"{words.of_moderator(fit.study, '; of the {name} among those who have a rating')}.",
        numbers,
        heads=2,
    )


def _mean_and_sd(mean: float, sd: float) -> str:
    """With one decimal at least, as such tables are used to, unless numbers are long enough."""
    if np.isnan(mean):
        return ""
    digits = max(decimals(sd, mean), 1 if abs(mean) < MANY else 0)
    return f"{number(mean, digits)} ({number(sd, digits)})"


def results(material: Material) -> Section:
    """A table and a sentence for each outcome, and the arms' contrasts in SDs.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    legend = sheets.summary_legend(fit, at=material.at)
    parts: list[Part] = [Paragraph(words.sentences([*legend, _limits_told(material)]))]
    whole = material.whole_summary
    tables = sheets.summary(fit, whole, material.priors, interval=material.interval)
    needed = sheets.numbers_needed(fit, material.summary, interval=material.interval)
    for table in tables:
        parts.append(Heading(words.label(fit.study, table.subject)))
        if table.subject in fit.outcomes and fit.study.moderator is not None:
            parts.append(Paragraph(_told_of_fit(material, table.subject)))
        parts.append(table)
        if table.subject in fit.manifest.get(OVER_TIME, {}):
            parts += _course(material, table.subject)
        parts += [each for each in needed if each.subject == table.subject]
    return Section("results", "Results for each outcome", parts)


def _course(material: Material, outcome: str) -> Iterator[Part]:
    """An outcome's course over time, with its table."""
    fit, interval = material.fit, material.interval
    found = courses([fit[name] for name in fit.chosen([outcome])])
    table = course_table(found, interval=interval)
    told = [
        f"{words.level(fit.study, row['level'])} at {row['visit']}: "
        f"{words.estimate(row['mean'], row['lower'], row['upper'], 2)}"
        for row in table.to_dict("records")
    ]
    yield Picture(
        f"course_{outcome}",
        course_figure(fit, found, table, interval=interval),
        "Course over time: adjusted means of the arms, means of those seen, and differences",
        f"Posterior mean and {words.level_of(interval)} interval, in points. {'; '.join(told)}.",
    )
    yield assumed(fit, found, table, interval=interval)
    yield Paragraph(words.sentences(assumed_legend(found)))


def _limits_told(material: Material) -> str:
    """How well the draws know the limits of intervals."""
    effective = material.summary["ess_tail"].dropna()
    effective = effective[effective > 0]
    if effective.empty:
        return ""
    usual, worst = (
        limit_error(float(number), interval=material.interval)
        for number in (effective.median(), effective.min())
    )
    return (
        f"Limits of {words.level_of(material.interval)} intervals have a Monte Carlo error of "
        f"about {figures(100 * usual, 2)}% of the posterior SD, the worst one "
        f"{figures(100 * worst, 2)}% (from the ESS in the tails)."
    )


def _told_of_fit(material: Material, outcome: str) -> str:
    """The slope of the moderator in a sentence."""
    fit = material.fit
    told = sentences_of(fit, outcome, material.summary, material.interval)
    for quantity, _, sentence in told:
        if quantity == "moderator_slope":
            return sentence
    return f"The model has no slope of the {fit.study.measure.name}."


def comparison(material: Material) -> Section:
    """A table for each outcome, the figure, and the explanation of each verdict.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    legend = sheets.comparison_legend(fit, material.comparison, at=material.at)
    parts: list[Part] = [Paragraph(words.sentences(legend))]
    if not material.findings:
        parts.append(Paragraph("No published findings are kept with this run."))
    parts.append(
        Picture(
            "comparison",
            comparison_figure(fit, material.comparison, interval=material.interval, at=material.at),
            "Published, refitted and posterior estimates",
            f"Forest plots by outcome: estimates with {share} intervals from OLS, REML and the "
            "posterior, and from the publication where it states numbers. The numbers stand in "
            "the tables below.",
        )
    )
    for table in sheets.comparison(fit, material.comparison, interval=material.interval):
        parts += [Heading(words.label(fit.study, table.subject)), table]
        own = material.comparison[material.comparison["outcome"] == table.subject]
        parts += [Paragraph(note) for note in sheets.refit_notes(fit, own)]
    rows = sheets.compared_rows(material.comparison)
    if told := _explanations(material, rows.to_dict("records")):
        parts += [Heading("Verdicts on the published findings"), told]
    sources = [text for text in dict.fromkeys(rows["source"].dropna()) if text]
    if sources:
        parts += [Heading("Sources of the published findings"), Listing(sources)]
    return Section("comparison", "Comparison with published and refitted models", parts)


def printed(material: Material) -> Section:
    """What the published numbers say by themselves, without this run's data.

    Parameters
    ----------
    material : Material
    """
    paper = material.paper
    if not paper.estimates:
        told = "No published number with an interval, standard error, t or p is kept with this run."
        return Section("paper", PRINTED, [Paragraph(told)], published=True)
    share = words.level_of(material.interval)
    parts: list[Part] = [
        Notice(
            "PUBLISHED, NOT SIMULATED. This section rests on the printed numbers alone; the data "
            "and the posterior of this run have no part in it."
        ),
        Picture(
            "paper",
            paper_figure(paper),
            "Printed findings under named priors",
            f"Posteriors of each printed finding under each prior with {share} intervals. The "
            "numbers stand in the tables below.",
            published=True,
        ),
        *paper_sheets.sheets(paper),
        Listing(paper_sheets.legend(paper, [])),
    ]
    return Section("paper", PRINTED, parts, published=True)


def _explanations(material: Material, rows: Sequence[dict[Any, Any]]) -> Sheet | None:
    study = material.fit.study
    shown = [
        {
            "Outcome": words.label(study, row["outcome"]),
            "Quantity": words.quantity_and_level(study, row["quantity"], row["level"]),
            "Published": row["claim"],
            "Verdict": row["verdict"],
            "Explanation": row["explanation"],
            "Known by": row["known_by"],
            "Note": row["note"],
        }
        for row in rows
        if isinstance(row["verdict"], str)
    ]
    if not shown:
        return None
    sheet = Sheet(
        "verdicts",
        "How the posterior stands to each published finding",
        shown,
        "Known by: how the finding came to be known; abstract: read in the abstract; secondary: "
        "quoted elsewhere; derived: computed.",
        heads=2,
    )
    return without_empty(sheet, "Note")


def effects(material: Material) -> Section:
    """Curves with bands for each outcome, and tables at the quartiles of the moderator.

    Parameters
    ----------
    material : Material
    """
    fit, share = material.fit, words.level_of(material.interval)
    name = fit.study.measure.name
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
        if answer.crossings:
            parts += [
                effect_sheets.crossings(fit, answer),
                Paragraph(words.sentences(effect_sheets.crossing_lines(fit, answer))),
            ]
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
        f"{words.of_moderator(fit.study, '{name}, ')}baseline and covariates"
        f"{words.with_therapist(fit.study, 'a new therapist')}. {share} equal-tailed intervals.",
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
                "What the model expects of a further patient like the average one of the trial"
                f"{words.with_therapist(fit.study, 'a therapist who was not in it')}. The interval "
                "of single scores is wide because patients differ; it is not an interval of the "
                "effect. Gaussian models may predict scores beyond the ends of a scale."
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
            f"{share} intervals: equal-tailed from the posterior"
            + words.of_moderator(
                fit.study,
                "; confidence intervals where they come from the ratings of {name} alone",
            )
            + ".",
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
    mean = words.of_moderator(fit.study, "Mean {name}")
    tables = [therapist_sheets.therapists(fit, answer).without([mean]) for answer in ranked]
    of_clinics = (therapist_sheets.clinics(fit, answer) for answer in answers.values())
    tables += [sheet for sheet in of_clinics if sheet is not None]
    return Section("therapists", "Therapists", [*parts, picture, *tables])
