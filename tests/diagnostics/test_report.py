"""The report's page: valid, readable by everyone, alone, and without a patient in it."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from string import ascii_uppercase
from typing import Any

import html5lib
import numpy as np
import pytest
from effect_fits import PAIRS, fit_of
from made_draws import PATIENT_ID
from matplotlib.figure import Figure
from prediction_examples import example_fit, therapist_posterior

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report import contents as report_sections
from alliance.diagnostics.report.contents import OF_TRIALS, SECTIONS, write_sections
from alliance.diagnostics.report.exports import table_files
from alliance.diagnostics.report.limitations import _about_alliance_model
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import Notice, Paragraph, Section, inline_svg, report_html
from alliance.inference.draws.datatree import add_patients
from alliance.inference.estimands.estimands import limit_error
from alliance.inference.priors.prior_costs import costs_of_fit
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import PAGE, require_output, write_whole

MOST_BYTES = 5_000_000  # what the report may weigh, to be sent by mail
OWN_TAIL = 0.000137  # times a patient's number: decimals that nothing but this patient's score has


def distinctive(fit: Fit) -> Fit:
    """The fit with scores, baselines and ratings that no two patients share."""
    trees = {}
    for name, tree in fit.trees.items():
        made = tree.copy(deep=True)
        patients = fit.patients(name)
        tail = OWN_TAIL * (1 + np.arange(patients.sizes["patient"]))
        for shift, variable in enumerate(("outcome", "baseline", "moderator")):
            if variable in patients:
                patients[variable] = patients[variable] * 0.9 + (shift + 1) * tail + 0.5
        add_patients(made, patients)
        trees[name] = made
    return replace(fit, trees=trees)


@pytest.fixture(scope="module")
def planted(made_fit: Fit) -> Fit:
    return distinctive(made_fit)


@pytest.fixture(scope="module")
def written(planted: Fit) -> list[Section]:
    with warnings.catch_warnings():
        # Made-up draws are no posterior: their likelihoods may be of any size
        warnings.simplefilter("ignore")
        return write_sections(Material(planted))


@pytest.fixture(scope="module")
def text(planted: Fit, written: list[Section]) -> str:
    return report_html(planted, written)


@pytest.fixture(scope="module")
def page(text: str) -> ElementTree.Element:
    """The page as the HTML standard reads it; a fault of its syntax raises."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def every(page: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in page.iter() if str(element.tag).split("}")[-1] == name]


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


# The page ----------------------------------------------------------------------------------------


def test_identifiers_are_unique_and_references_lead_to_them(page: ElementTree.Element) -> None:
    found = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(found) == len(set(found)) > 50
    named: list[str] = []
    for element in page.iter():
        named += (element.get("aria-labelledby") or "").split()
        for attribute, value in element.attrib.items():
            if str(attribute).split("}")[-1] == "href" and value.startswith("#"):
                named.append(value[1:])
            named += re.findall(r"url\(#([^)]+)\)", value)
    assert set(named) - set(found) == set()


def test_the_page_asks_nothing_of_any_other_computer(page: ElementTree.Element, text: str) -> None:
    for element in page.iter():
        tag = str(element.tag).split("}")[-1]
        assert tag not in ("script", "iframe", "object", "embed", "img", "audio", "video")
        for attribute, value in element.attrib.items():
            name = str(attribute).split("}")[-1]
            assert not name.startswith("on"), f"{tag} has a script in {name}"
            if name in ("src", "srcset", "data", "action", "poster"):
                pytest.fail(f"{tag} has {name}={value!r}")
            if name == "href":
                # A link that a reader may follow is no request of the page
                allowed = value.startswith(("#", "data:,")) or (
                    tag == "a" and value.startswith("https://doi.org/")
                )
                assert allowed, f"{tag} leads to {value!r}"
    assert "@import" not in text
    assert {target[0] for target in re.findall(r"url\(([^)]*)\)", text)} == {"#"}
    [policy] = [m for m in every(page, "meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.get("content", "").startswith("default-src 'none'")


def test_the_page_is_small_enough_to_send(text: str) -> None:
    assert len(text.encode()) < MOST_BYTES


def test_headings_step_down_one_level_at_a_time(page: ElementTree.Element) -> None:
    tags = [str(element.tag) for element in page.iter()]
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1


def test_contents_name_every_section_in_its_order(page: ElementTree.Element) -> None:
    [contents] = every(page, "nav")
    listed = [(link.get("href"), words(link)) for link in every(contents, "a")]
    titles = {s.get("id"): words(every(s, "h2")[0]) for s in every(page, "section")}
    assert [target for target, _ in listed] == [f"#{name}" for name in titles]
    appendices = [e for e in every(page, "section") if e.get("class") == "appendix"]
    main = len(titles) - len(appendices)
    marks = [*map(str, range(1, main + 1)), *ascii_uppercase[: len(appendices)]]
    told = [f"{mark}. {title}" for mark, (_, title) in zip(marks, listed, strict=True)]
    assert told == list(titles.values())
    assert set(titles) == {*SECTIONS, "checklist"} - {OF_TRIALS}  # there is one trial
    assert page.get("lang") == "en"


def test_tables_have_captions_and_heads_and_no_empty_cells(page: ElementTree.Element) -> None:
    tables = every(page, "table")
    assert len(tables) > 15
    for table in tables:
        caption = words(every(table, "caption")[0])
        assert len(caption) > 20
        assert {cell.get("scope") for cell in every(table, "th")} == {"col", "row"}
        cells = [words(cell) for cell in table.iter() if cell.tag in ("td", "th")]
        assert all(cells), caption
        assert [cell for cell in cells if cell in ("nan", "None", "NaN", "inf")] == []


def test_figures_have_a_title_and_a_description(page: ElementTree.Element) -> None:
    figures = every(page, "svg")
    assert len(figures) > 8
    for figure in figures:
        assert figure.get("role") == "img"
        assert len(words(every(figure, "title")[0])) > 10
        assert len(words(every(figure, "desc")[0])) > 60
    scrolled = [e for e in page.iter() if "scroll" in (e.get("class") or "").split()]
    assert all(e.get("tabindex") == "0" and e.get("role") == "group" for e in scrolled)
    assert all(e.get("aria-label") or e.get("aria-labelledby") for e in scrolled)


# Simulated or not --------------------------------------------------------------------------------


def test_every_section_table_and_figure_of_simulated_data_says_so(
    page: ElementTree.Element,
) -> None:
    printed = "paper"  # its numbers come from a publication, and no simulator made them
    for section in every(page, "section"):
        if section.get("id") == printed:
            assert not [p for p in every(section, "p") if p.get("class") == "simulated"]
            continue
        marks = [p for p in every(section, "p") if p.get("class") == "simulated"]
        assert [words(mark) for mark in marks] == ["SIMULATED DATA"]
    [own] = [section for section in every(page, "section") if section.get("id") == printed]
    others = {*every(own, "caption"), *every(own, "figcaption")}
    for place in {*every(page, "caption"), *every(page, "figcaption")} - others:
        assert words(place).startswith("SIMULATED.")
    assert words(every(page, "title")[0]).startswith("SIMULATED DATA")


def test_a_report_of_real_data_does_not_call_them_simulated(planted: Fit) -> None:
    real = replace(planted, study=planted.study.model_copy(update={"simulated": False}))
    chosen = ("question", "data", "limitations")
    built = [SECTIONS[name][1](Material(real)) for name in chosen]
    text = report_html(real, built)
    assert "simulated" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S).lower()
    assert "SIMULATED" not in "".join(
        table_files((t for s in built for t in s.tables), simulated=False).values()
    )


# Patients ----------------------------------------------------------------------------------------


def test_no_patient_identifier_is_in_page_or_tables(text: str, written: list[Section]) -> None:
    files = table_files((t for s in written for t in s.tables), simulated=True)
    assert PATIENT_ID not in text
    assert [name for name, content in files.items() if PATIENT_ID in content] == []


def patient_values(fit: Fit) -> Iterator[tuple[str, ...]]:
    """What is known of each patient, to the decimals that are the patient's own."""
    for outcome in fit.outcomes:
        patients = fit.patients(outcome)
        names = [n for n in ("outcome", "baseline", "moderator") if n in patients]
        for row in np.stack([patients[n].values for n in names], axis=1):
            yield tuple(f"{value:.3f}" for value in row)


def test_no_line_of_page_or_tables_holds_two_values_of_one_patient(
    planted: Fit, page: ElementTree.Element, written: list[Section]
) -> None:
    # One value of one variable, such as the lowest score, stands in summaries; a row does not.
    files = table_files((t for s in written for t in s.tables), simulated=True)
    lines = [line for content in files.values() for line in content.splitlines()]
    lines += [words(row) for row in every(page, "tr")]
    lines += [words(element) for name in ("p", "li", "dd", "desc") for element in every(page, name)]
    number = re.compile(r"-?\d+\.\d{3,}")
    held = [
        {f"{float(n):.3f}" for n in number.findall(line)} for line in lines if number.search(line)
    ]
    assert len(held) > 100  # the lines do hold numbers to so many decimals
    pairs = {pair for values in patient_values(planted) for pair in combinations(values, 2)}
    assert len(pairs) > 150
    assert [pair for pair in pairs for line in held if set(pair) <= line] == []


def test_ratings_lose_the_order_of_the_patients(planted: Fit) -> None:
    ratings = Material(planted).effects["function"].ratings
    own = planted.patients("function")["moderator"].values
    np.testing.assert_array_equal(ratings, np.sort(own[np.isfinite(own)]))
    assert not np.array_equal(ratings, own)


# Sections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
@pytest.mark.filterwarnings("ignore")  # made-up draws; what matters is that each section is there
def test_every_family_has_its_sections(outcome: str, family: str) -> None:
    fit = fit_of(outcome, lambda design: therapist_posterior(design, draws=30), family=family)
    fit = replace(fit, manifest=fit.manifest | {"seed": 1})
    built = {section.name: section for section in write_sections(Material(fit))}
    unavailable = {
        name: part.text
        for name, section in built.items()
        for part in section.parts
        if isinstance(part, Notice) and part.text.startswith("Not available")
    }
    assert unavailable == {}
    [checks] = [t for t in built["checklist"].tables if t.name == "checklist"]
    assert len(checks.shown) == 30


def test_a_section_that_cannot_be_written_says_why(
    planted: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Material) -> Section:
        raise InputError("Not with this run.", "Fit again.")

    kept = {name: SECTIONS[name] for name in ("data", "citations")}
    changed = {"effects": ("Effects", refuse), **kept}
    monkeypatch.setattr(report_sections, "SECTIONS", changed)
    built = write_sections(Material(planted))
    assert [section.name for section in built] == ["effects", "data", "checklist", "citations"]
    [notice] = built[0].parts
    assert isinstance(notice, Notice)
    assert notice.text == "Not available: Not with this run. Fit again."
    # and the checklist counts what is missing as gaps
    [table] = built[2].tables
    states = table.shown.set_index("Item")["State"]
    assert states["1A"] == "reported"  # the data
    assert states[["1E", "3A", "5A"]].tolist() == ["gap"] * 3  # prior, checks, sensitivity


def test_limitations_follow_from_the_run(planted: Fit) -> None:
    told = words_of(SECTIONS["limitations"][1](Material(planted)))
    flow = planted.flow.set_index("outcome").loc["function"]
    gone = int(flow["rows_read"] - flow["analysed"])
    assert f"{gone} of {flow['rows_read']}" in told
    assert "5 therapists are few" in told  # `small_trial` has five
    assert "simulated" in told
    assert "not allotted by chance" in told
    assert "second treatment session" in told  # the study is the one of 2013


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"missing_alliance": "impute"}, "missing at random given this model and the outcome"),
        ({"reliability": True}, "reliability of 0.77 is taken as known"),
        ({"ceiling": True}, "Above the ceiling of 112"),
        ({"alliance": "within_between"}, "therapist's own deviation"),
    ],
)
def test_what_is_assumed_of_the_alliance_is_said(settings: dict[str, Any], said: str) -> None:
    assert not list(_about_alliance_model(Material(example_fit())))
    told = " ".join(_about_alliance_model(Material(example_fit(**settings))))
    assert "normal around what baseline, arm and therapist predict" in told
    assert said in told


def test_costs_of_the_priors_stand_beside_them(planted: Fit) -> None:
    [table] = [t for t in SECTIONS["model"][1](Material(planted)).tables if t.name == "prior_costs"]
    assert table.numbers is not None
    np.testing.assert_allclose(table.numbers["pull"], costs_of_fit(planted)["pull"])
    assert len(table.shown) == len(table.numbers) / 3  # a column for each of three sizes
    first = table.numbers.iloc[0]
    assert table.shown["Pulled by"].iloc[0] == f"{100 * first['pull']:.0f}%"
    assert table.shown["Holds 0.3 SD"].iloc[0] == f"{100 * first['coverage']:.0f}%"


def test_the_error_of_limits_follows_from_the_effective_draws(planted: Fit) -> None:
    material = Material(planted)
    lead = SECTIONS["results"][1](material).parts[0]
    assert isinstance(lead, Paragraph)
    worst = 100 * limit_error(float(material.summary["ess_tail"].min()))
    assert f"the worst one {worst:.2g}%" in lead.text


@pytest.mark.parametrize(("outcome", "family"), PAIRS)
@pytest.mark.filterwarnings("ignore")  # made-up draws
def test_only_ordinal_outcomes_have_latent_scales(outcome: str, family: str) -> None:
    fit = fit_of(outcome, lambda design: therapist_posterior(design, draws=30), family=family)
    parts = SECTIONS["model"][1](Material(fit)).parts
    told = [part.text for part in parts if isinstance(part, Paragraph)]
    assert any("latent variable" in text for text in told) == family.startswith("ordinal")


def words_of(section: Section) -> str:
    items = [getattr(part, "items", ()) for part in section.parts]
    return " ".join(str(item) for each in items for item in each)


# Figures -----------------------------------------------------------------------------------------


def test_a_figure_keeps_its_glyphs_and_gets_names_of_its_own() -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title("title", fontsize=9)
    element = inline_svg(figure, "own", "A <title>", "A description")
    # 9 points, of glyphs drawn in 100 units: cut to two decimals they would stand apart
    assert "scale(0.09 -0.09)" in element
    assert re.search(r"scale\(0\.015625\)", element)
    assert "A &lt;title&gt;" in element
    assert set(re.findall(r'\bid="([^"]+?)-', element)) == {"own"}
    assert "xlink" not in element
    html5lib.HTMLParser(strict=True).parseFragment(element)


# Files -------------------------------------------------------------------------------------------


def test_only_a_report_is_replaced_unasked(text: str, tmp_path) -> None:
    place = tmp_path / "report.html"
    require_output(place, PAGE)
    write_whole(place, text.encode())
    require_output(place, PAGE)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    place.write_text("<html>something else</html>")
    with pytest.raises(InputError, match="is not a report"):
        require_output(place, PAGE)
    require_output(place, PAGE, overwrite=True)
    with pytest.raises(InputError, match="does not exist"):
        require_output(tmp_path / "none" / "report.html", PAGE)
    with pytest.raises(InputError, match="is a folder"):
        require_output(tmp_path, PAGE)
