"""Methods, results, first table, flow and formulas of a paper, of every kind of trial."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docx
import numpy as np
import pytest
from effect_fits import PAIRS, fit_of
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from prediction_examples import example_fit, therapist_posterior
from trials_without import a_frame, a_study
from visit_trials import WIDE

from alliance.data_prep.registry.registry import load_registry
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import narrowed, read_study
from alliance.data_prep.trial.characteristics import trial_characteristics
from alliance.data_prep.trial.trial import trial_from_frame
from alliance.diagnostics import words
from alliance.diagnostics.figures.figure_page import save
from alliance.diagnostics.figures.flow_figure import flow_figure, patient_flow
from alliance.diagnostics.report.contents import write_sections
from alliance.diagnostics.report.kit import for_word, kit, results_table
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import Code, Paragraph, References, Section
from alliance.diagnostics.report.paragraphs import (
    Cited,
    _predictors,
    _therapist_words,
    found,
    methods,
)
from alliance.diagnostics.report.r_formulas import r_formulas, r_name
from alliance.diagnostics.report.word import word_document
from alliance.diagnostics.sheets.characteristics import characteristics
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_registry, fit_trial
from alliance.inference.sampling.profiles import SamplerProfile
from alliance.models.spec import specify

QUICK = SamplerProfile("ci", chains=2, draws=200, tune=10)


def instant(study: Any, frame: Any) -> Fit:
    return fit_trial(trial_from_frame(study, frame, "trial.csv"), QUICK, 1, engine="instant")


@pytest.fixture(scope="module")
def rowless(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A registry of two files, one outcome."""
    folder = tmp_path_factory.mktemp("registry")
    made = simulate_trial(seed=6, patients=120, therapists=8)
    for k, rows in enumerate(np.array_split(np.arange(120), 2)):
        made.frame.iloc[rows].to_csv(folder / f"{k}.csv", index=False)
    study = narrowed(made.study, outcomes=["pain"])
    return fit_registry(load_registry(study, folder), QUICK, 1, engine="instant")


@pytest.fixture(scope="module")
def waiting() -> Fit:
    """A waiting list without an alliance, beside two therapies."""
    return instant(a_study(), a_frame())


@pytest.fixture(scope="module")
def plain() -> Fit:
    """A trial without a moderator and without therapists."""
    study = a_study(rated=None)
    columns = study.columns.model_copy(update={"therapist": None})
    return instant(study.model_copy(update={"columns": columns}), a_frame())


@pytest.fixture(params=["made", "waiting", "plain", "rowless"])
def material(request: pytest.FixtureRequest) -> Material:
    if request.param != "made":
        return Material(request.getfixturevalue(request.param))
    material = Material(request.getfixturevalue("made_fit"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # made-up draws are no posterior
        assert material.gate
    return material


def text_of(section: Section) -> str:
    return " ".join(part.text for part in section.parts if isinstance(part, Paragraph))


# Paragraphs --------------------------------------------------------------------------------------


def test_publications_are_numbered_as_they_are_named(material: Material) -> None:
    cite = Cited()
    told = " ".join(methods(material, cite))
    numbers = [int(n) for each in re.findall(r"\[([\d, ]+)\]", told) for n in each.split(",")]
    first = list(dict.fromkeys(numbers))
    assert first == list(range(1, len(cite.references) + 1))
    assert len({(each.text, each.doi) for each in cite.references}) == len(cite.references) > 5


def test_paragraphs_are_sentences_without_codes(material: Material) -> None:
    cite = Cited()
    told = [*methods(material, cite)]
    told += [text for _, each in found(material, cite) for text in each]
    for paragraph in told:
        assert re.match(r"[A-Z\N{LEFT DOUBLE QUOTATION MARK}]", paragraph), paragraph
        assert paragraph.endswith("."), paragraph
        assert not re.search(r"  |\.\.|\bnan\b|\bNone\b|_|\{|\(\)| ,", paragraph), paragraph
        # a sentence is whole: a capital letter after every full stop
        assert not re.search(r"\. [a-z]", paragraph), paragraph


def test_methods_say_what_was_done(waiting: Fit, plain: Fit, rowless: Fit, made_fit: Fit) -> None:
    told = {
        name: " ".join(methods(Material(fit), Cited()))
        for name, fit in {"w": waiting, "p": plain, "r": rowless, "m": made_fit}.items()
    }
    assert "Patients in Waiting list can have no alliance" in told["w"]
    assert "No therapist is recorded" in told["p"]
    assert "alliance" not in re.sub(r"Software: alliance[^;]*;", "", told["p"]).lower()
    assert "cross-products" in told["r"]
    assert "importance sampling" in told["r"]
    assert "No-U-Turn" in told["m"]
    assert "2 \N{MULTIPLICATION SIGN} 60 draws after 10 of tuning" in told["m"]
    assert "simulated" in told["m"]
    assert "at least 0.975" in told["w"]


@pytest.mark.filterwarnings("ignore")  # made-up draws are no posterior
def test_results_hold_every_number_of_the_flow(made_fit: Fit) -> None:
    patients = dict(found(Material(made_fit), Cited()))["Patients"][0]
    for row in made_fit.flow.to_dict("records"):
        assert f"{row['analysed']} patients were analysed" in patients
        assert f"{row['without_alliance']} without alliance" in patients
    assert f"{made_fit.flow['rows_read'][0]} rows" in patients


@pytest.mark.filterwarnings("ignore")  # made-up draws are no posterior
def test_the_table_of_results_turns_probabilities_to_the_better_side(made_fit: Fit) -> None:
    material = Material(made_fit)
    sheet = results_table(material)
    assert sheet.numbers is not None
    assert len(sheet.rows) == len(sheet.numbers)
    turned = replace(
        made_fit,
        study=made_fit.study.model_copy(
            update={
                "outcomes": {
                    name: own.model_copy(
                        update={"better": "lower" if own.better == "higher" else "higher"}
                    )
                    for name, own in made_fit.study.outcomes.items()
                }
            }
        ),
    )
    other = results_table(Material(turned))
    for row, swapped in zip(sheet.rows, other.rows, strict=True):
        if row["P(better)"] and row["P(better)"][0] == "0":
            assert float(row["P(better)"]) + float(swapped["P(better)"]) == pytest.approx(
                1,
                abs=0.0011,  # each is rounded to a thousandth
            )


# First table and flow ----------------------------------------------------------------------------


def test_the_first_table_has_arms_by_label_and_counts_who_lacks_what(made_fit: Fit) -> None:
    material = Material(made_fit)
    assert material.characteristics is not None
    sheet = characteristics(made_fit, material.characteristics)
    labels = list(made_fit.study.arms.values())
    assert [name.partition(" (n = ")[0] for name in sheet.columns[1:4]] == labels
    assert sheet.columns[4] == "Largest standardised difference"
    assert " p " not in sheet.note.replace("a p value", "")
    missing = [row for row in sheet.rows if row["Characteristic"].endswith("missing, n")]
    lacking = sum(int(missing[0][name]) for name in sheet.columns[1:4])
    assert lacking == made_fit.flow["without_alliance"][0]


def test_covariates_have_their_labels_in_the_first_table_and_in_paragraphs() -> None:
    made = simulate_trial(seed=4, patients=90, therapists=5)
    random = np.random.default_rng(4)
    frame = made.frame.assign(
        age=random.normal(40, 9, 90).round(), sex=random.choice(["F", "M"], 90)
    )
    study = narrowed(made.study, outcomes=["pain"]).model_copy(
        update={"covariates": ("age", "sex"), "labels": {"age": "Age (years)", "sex": "Sex"}}
    )
    trial = trial_from_frame(study, frame)
    told = trial_characteristics(trial.data, study)
    fit: Any = SimpleNamespace(study=study, manifest={}, outcomes=["pain"])
    first = [row["Characteristic"] for row in characteristics(fit, told).rows]
    assert "Age (years), mean (SD)" in first
    assert "Sex: M, n (%)" in first
    assert words.level(study, "sex[M]") == "Sex: M"
    assert words.level(study, "age") == "Age (years)"
    assert words.covariate(study, "weight[kg]") == "weight[kg]"  # without a label
    spec = specify(study)["pain"]
    assert _predictors(fit, spec)[-2:] == ["Age (years)", "Sex"]


def test_a_run_of_before_tells_of_those_analysed(made_fit: Fit) -> None:
    kept = {key: value for key, value in made_fit.manifest.items() if key != "characteristics"}
    material = Material(replace(made_fit, manifest=kept))
    assert material.characteristics is not None
    sheet = characteristics(material.fit, material.characteristics)
    assert "Analysed patients" in sheet.note
    counts = [int(re.findall(r"n = (\d+)", name)[0]) for name in sheet.columns[1:4]]
    assert sum(counts) == made_fit.flow["analysed"].max()
    told = patient_flow(material.fit, material.characteristics).words
    assert "arms that the run does not tell" in told


def test_who_cannot_have_an_alliance_lacks_none(waiting: Fit) -> None:
    material = Material(waiting)
    assert material.characteristics is not None
    sheet = characteristics(waiting, material.characteristics)
    row = next(row for row in sheet.rows if row["Characteristic"].startswith("Working alliance"))
    assert not any(name.startswith("Waiting list") for name in row)
    assert "Waiting list: nobody can have" in sheet.note


@pytest.mark.parametrize("label", ["Exercise", "A label of sixty characters that goes on and on, é",
                                   "\u05ea\u05e8\u05d2\u05d9\u05dc", "W" * 60])  # fmt: skip
def test_no_line_of_the_flow_leaves_its_box(made_fit: Fit, label: str) -> None:
    arms = {code: f"{label} {k}" for k, code in enumerate(made_fit.study.arms)}
    fit = replace(made_fit, study=made_fit.study.model_copy(update={"arms": arms}))
    found = Material(fit).characteristics
    assert found is not None
    figure = flow_figure(fit, found)
    panel = figure.axes[0]
    save(figure, io.BytesIO(), format="png", dpi=72)
    boxes = [p.get_window_extent() for p in panel.patches if isinstance(p, FancyBboxPatch)]
    texts = [text for text in panel.findobj(Text) if text.get_text() and text.get_visible()]
    assert len(texts) > 15
    title = texts[0].get_text()
    for text in texts:
        extent = text.get_window_extent()
        inside = [
            box for box in boxes
            if box.x0 <= extent.x0 and extent.x1 <= box.x1 + 0.5
            and box.y0 <= extent.y0 + 2 and extent.y1 <= box.y1 + 0.5
        ]  # fmt: skip
        assert len(inside) == 1 or text.get_text() == title, text.get_text()
    # no two lines lie over one another
    extents = [text.get_window_extent() for text in texts]
    for k, one in enumerate(extents):
        for other in extents[k + 1 :]:
            across = min(one.x1, other.x1) - max(one.x0, other.x0)
            down = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert across <= 0 or down <= 1


def test_flow_names_what_the_file_does_not_tell(material: Material) -> None:
    assert material.characteristics is not None
    flow = patient_flow(material.fit, material.characteristics)
    assert "not in the data file" in flow.words
    assert list(flow.arms) == list(material.fit.study.arms)
    assert set(flow.outcomes) == set(material.fit.outcomes)


# Formulas ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of the other reader's
@pytest.mark.parametrize("interaction", [True, False])
@pytest.mark.parametrize("therapist", ["none", "intercept", "intercept+slope"])
def test_a_formula_has_the_columns_of_the_design(interaction: bool, therapist: str) -> None:
    """As another reader of the notation builds them."""
    formulae = pytest.importorskip("formulae")
    made = simulate_trial(seed=4, patients=90, therapists=5)
    study = narrowed(made.study, outcomes=["pain"], interaction=interaction, therapist=therapist)
    trial = trial_from_frame(study, made.frame)
    fit = example_fit(interaction=interaction, therapist=therapist)
    spec = specify(study)["pain"]
    own: Any = SimpleNamespace(study=study, specs={"pain": spec}, shared=None)
    [formula] = r_formulas(own)
    text = re.findall(r"bf\((.*?)\), family", formula.brms)[0]
    left, right = text.split(" ~ ")
    frame = made.frame.dropna().reset_index(drop=True)
    built = formulae.design_matrices(f"{left} ~ {right}", frame)
    assert built.common.design_matrix.shape[1] == len(fit.design("function").coefficients)
    groups = 0 if built.group is None else built.group.design_matrix.shape[1]
    assert groups == len(spec.effects) * frame[study.columns.therapist].nunique()
    assert bool(formula.lme4) == bool(spec.effects)
    assert trial.study.title


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"missing_alliance": "impute"}, "mi(wai_total)"),
        ({"reliability": True}, "mi(alliance_error)"),
        ({"alliance": "within_between"}, "alliance_within + alliance_between"),
        ({"therapist_by_arm": True}, "(1 | therapist:arm)"),
        ({"residual_by_arm": True}, "sigma ~ 0 + arm"),
        ({"joint": True}, "set_rescor(TRUE)"),
        ({"without_therapist": ["GE"]}, "(0 + treated + treated:wai_total | therapist)"),
        ({"likelihood": "native"}, "cumulative"),
    ],
)
def test_settings_of_the_model_stand_in_the_formula(settings: dict[str, Any], said: str) -> None:
    study = narrowed(simulate_trial(seed=4, patients=90, therapists=5).study, **settings)
    specs = specify(study)
    own: Any = SimpleNamespace(study=study, specs=specs, shared=settings.get("joint"))
    told = " ".join(formula.brms for formula in r_formulas(own))
    assert said in told
    assert told.count("(") == told.count(")")


def test_clinics_stand_beside_therapists_or_alone() -> None:
    study = narrowed(simulate_trial(seed=4, patients=90, therapists=5).study, outcomes=["pain"])
    columns = study.columns.model_copy(update={"clinic": "site"})
    for therapist, said in {
        "intercept+slope": "(1 + wai_total | therapist) + (1 | site)",
        "none": "arm * wai_total + (1 | site)",
    }.items():
        model = study.model.model_copy(update={"therapist": therapist})
        clinics = study.model_copy(update={"columns": columns, "model": model})
        own: Any = SimpleNamespace(study=clinics, specs=specify(clinics), shared=None)
        [formula] = r_formulas(own)
        assert said in formula.brms
        told = " ".join(_therapist_words(clinics, own.specs["pain"], Cited()))
        assert "Clinics had intercepts of their own" in told
        assert ("Differences between therapists were not modelled." in told) == (
            therapist == "none"
        )


def test_visits_have_one_formula(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(WIDE, encoding="utf-8")
    study = read_study(tmp_path / "study.toml")
    own: Any = SimpleNamespace(study=study, specs=specify(study), shared=None)
    [formula] = r_formulas(own)
    assert "unstr(time = visit, gr = id)" in formula.brms
    assert "visit:arm" in formula.brms
    assert "sigma ~ 0 + visit" in formula.brms
    assert any("w8, m6, m12" in note for note in formula.notes)


def test_names_that_r_does_not_take_are_quoted() -> None:
    assert r_name("pain.8w") == "pain.8w"
    assert r_name("8w") == "`8w`"
    assert r_name("if") == "`if`"
    assert r_name("a`b") == "`a\\`b`"


def test_a_run_without_rows_makes_a_whole_document(rowless: Fit) -> None:
    material = Material(rowless)
    sections = for_word(material, write_sections(material))
    document = docx.Document(io.BytesIO(word_document("Registry", sections, simulated=True)))
    first = document.tables[0]
    assert first.rows[0].cells[1].text.startswith("General exercise (n = ")
    assert any("cross-products" in paragraph.text for paragraph in document.paragraphs)


# The section -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # made-up draws are no posterior
def test_the_section_holds_all_that_is_pasted(material: Material) -> None:
    section = kit(material)
    assert any(isinstance(part, Code) and part.text.startswith("brm(") for part in section.parts)
    assert isinstance(section.parts[-1], References)
    [sheet] = section.tables
    assert sheet.name == "paper_results"
    assert "cannot be told" not in text_of(section)


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
@pytest.mark.filterwarnings("ignore")  # made-up draws
def test_every_family_has_methods_and_a_formula(outcome: str, family: str) -> None:
    fit = fit_of(outcome, lambda design: therapist_posterior(design, draws=30), family=family)
    section = kit(Material(replace(fit, manifest=fit.manifest | {"seed": 1})))
    told = text_of(section)
    residuals = {
        "gaussian": "normal residuals",
        "student_t": "Student-t residuals",
        "beta_binomial": "beta-binomial",
        "ordinal": "cumulative logit",
    }
    assert residuals[family] in told
