"""The Word document, read back: tables are tables, captions numbered, figures described."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

import docx
import pytest
from docx.document import Document
from docx.oxml.ns import qn
from matplotlib.figure import Figure

from alliance.data_prep.errors import InputError
from alliance.diagnostics.report import contents, word
from alliance.diagnostics.report.contents import require_word_file, write_sections
from alliance.diagnostics.report.kit import for_word
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.model import likelihood, predictor, therapist_effects
from alliance.diagnostics.report.page import (
    Code,
    Facts,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    Reference,
    References,
    Section,
)
from alliance.diagnostics.report.word import office_math, word_document
from alliance.diagnostics.sheet import Cell, Sheet
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import WORD, write_whole, written_as
from alliance.models.families.families import FAMILIES
from alliance.models.spec import ModelSpec

WIDE = {f"A heading of words {k}": "several words of text in a cell" for k in range(9)}


def read(content: bytes) -> Document:
    return docx.Document(io.BytesIO(content))


def document_of(parts: Sequence[Part], **changes: Any) -> Document:
    section = Section("one", "A section", list(parts), **changes)
    return read(word_document("A title", [section], simulated=False))


@pytest.fixture(scope="module")
def whole(made_fit: Fit) -> tuple[list[Section], Document]:
    """The paper kit of a made-up fit; figures are drawn coarsely, which takes less time."""
    import warnings

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # made-up draws are no posterior
        patch.setattr(word, "DPI", 30)
        patch.setattr(word, "SUPPLEMENT_DPI", 30)
        material = Material(made_fit)
        sections = for_word(material, write_sections(material))
        content = word_document(made_fit.study.title, sections, simulated=True)
    return sections, read(content)


def test_every_table_is_a_table_with_its_cells(whole: tuple[list[Section], Document]) -> None:
    sections, document = whole
    sheets = [sheet for section in sections for sheet in section.tables]
    assert len(document.tables) == len(sheets) > 10
    for made, sheet in zip(document.tables, sheets, strict=True):
        assert len(made.rows) == 1 + len(sheet.rows)
        assert [cell.text for cell in made.rows[0].cells] == [*map(word._shown, sheet.columns)]
        assert made.rows[0]._tr.trPr.find(qn("w:tblHeader")) is not None
        last = [word._shown(text) for text in sheet.filled[-1]]
        shown = [cell.text for cell in made.rows[-1].cells]
        assert shown[sheet.once :] == last[sheet.once :]


def test_captions_are_counted_by_fields(whole: tuple[list[Section], Document]) -> None:
    sections, document = whole
    captions = [p for p in document.paragraphs if p.style.name == "Caption"]
    counted: dict[str, list[int]] = {}
    for caption in captions:
        [field] = caption._p.findall(qn("w:fldSimple"))
        name = re.fullmatch(r" SEQ (\w+) \\\* ARABIC ", field.get(qn("w:instr")))
        assert name is not None
        text = "".join(node.text for node in caption._p.iter(qn("w:t")))
        number = re.match(r"(Table|Figure) (S?)(\d+)\. SIMULATED\. \S", text)
        assert number is not None, text
        assert (number[2] == "S") == name[1].endswith("_supplement")
        counted.setdefault(name[1], []).append(int(number[3]))
    assert set(counted) == {"Table", "Figure", "Table_supplement", "Figure_supplement"}
    for numbers in counted.values():
        assert numbers == list(range(1, len(numbers) + 1))
    parts = [part for section in sections for part in section.parts]
    assert len(captions) == sum(isinstance(part, Sheet | Picture) for part in parts)


def test_every_figure_is_described(whole: tuple[list[Section], Document]) -> None:
    sections, document = whole
    pictures = [p for s in sections for p in s.parts if isinstance(p, Picture)]
    described = list(document.element.body.iter(qn("wp:docPr")))
    assert len(described) == len(pictures) > 4
    for node, picture in zip(described, pictures, strict=True):
        assert node.get("descr") == picture.description
        assert len(picture.description) > 60
        assert node.get("title") == picture.title
    widths = [shape.width.cm for shape in document.inline_shapes]
    assert max(widths) <= 21 - 2 * word.MARGIN_CM + 0.01
    assert max(shape.height.cm for shape in document.inline_shapes) <= word.TALLEST_CM + 0.01


def test_no_paragraph_is_empty(whole: tuple[list[Section], Document]) -> None:
    _, document = whole
    for paragraph in document.paragraphs:
        held = "".join(node.text or "" for node in paragraph._p.iter(qn("w:t")))
        drawn = list(paragraph._p.iter(qn("w:drawing")))
        formula = [node for node in paragraph._p.iter() if node.tag.endswith("}oMath")]
        assert held.strip() or drawn or formula
        for run in paragraph.runs:
            assert run.text or list(run._r), "a run without anything"


def test_a_paper_has_its_parts_in_order_and_every_page_says_simulated(
    whole: tuple[list[Section], Document],
) -> None:
    _, document = whole
    heads = [p.text for p in document.paragraphs if p.style.name in ("Heading 1", "Title")]
    first = ["Question", "Methods", "Patients", "Results", "Limitations", "References"]
    assert heads[1:7] == first
    assert heads[7:9] == ["Supplement", "Checklist of Bayesian reporting"]
    for page in document.sections:
        assert "SIMULATED DATA" in page.header.paragraphs[0].text
    [table] = [t for t in document.tables if t.rows[0].cells[0].text == "Item"]
    where = {row.cells[4].text for row in table.rows[1:]} - {"\N{EM DASH}"}
    assert where <= set(heads)  # where it says that an answer stands there is one
    questions = {row.cells[0].text: row.cells[2].text for row in table.rows[1:]}
    assert questions["PA"] == questions["1A"] == questions["3B"] == "reported"


def test_citations_lead_to_the_list(whole: tuple[list[Section], Document]) -> None:
    _, document = whole
    texts = [paragraph.text for paragraph in document.paragraphs]
    listed = [text for text in texts if re.match(r"\d+\.\t", text)]
    assert [int(text.partition(".")[0]) for text in listed] == list(range(1, len(listed) + 1))
    cited = {int(n) for text in texts for m in re.findall(r" \[([\d, ]+)\]", text)
             for n in m.split(",")}  # fmt: skip
    assert cited == set(range(1, len(listed) + 1))
    links = [rel.target_ref for rel in document.part.rels.values() if rel.is_external]
    assert links
    assert all(link.startswith("https://doi.org/10.") for link in links)


# Parts by themselves -----------------------------------------------------------------------------


def test_a_wide_table_turns_its_page_and_the_next_text_turns_it_back() -> None:
    wide = Sheet("wide", "Wide", [WIDE] * 3, "A note.")
    narrow = Sheet("narrow", "Narrow", [{"A": "1", "B": "2"}], "A note.")
    document = document_of([narrow, Heading("Above"), wide, Paragraph("Text."), narrow])
    turned = [page.page_width > page.page_height for page in document.sections]
    assert turned == [False, True, False]
    # the heading is on the page of the table that it is of
    texts = document.paragraphs
    ends = [
        k
        for k, text in enumerate(texts)
        if text._p.find(f"{qn('w:pPr')}/{qn('w:sectPr')}") is not None
    ]
    above = next(k for k, text in enumerate(texts) if text.text == "Above")
    assert ends[0] < above < ends[1]
    widths = [sum(column.width for column in table.columns) for table in document.tables]
    room = [(p.page_width - p.left_margin - p.right_margin) for p in document.sections]
    assert all(width <= space * 1.001 for width, space in zip(widths, room, strict=True))


def test_text_between_wide_tables_parts_no_pages() -> None:
    """It stands on their turned page: upright, it would have a page to itself."""
    wide = Sheet("wide", "Wide", [WIDE] * 2, "A note.")
    narrow = Sheet("narrow", "Narrow", [{"A": "1", "B": "2"}], "A note.")
    for between, turned in (
        ([Heading("One"), Paragraph("Text.")], [False, True]),
        ([Heading("One"), narrow, Heading("Two")], [False, True, False, True]),
    ):
        document = document_of([wide, *between, wide])
        for paragraph in document.paragraphs:
            assert len(paragraph._p.findall(f"{qn('w:pPr')}/{qn('w:sectPr')}")) <= 1
        assert [page.page_width > page.page_height for page in document.sections] == turned


def test_headings_of_columns_on_two_lines_turn_no_page() -> None:
    """As a first table of four arms has them."""
    heads = [f"Usual care of arm {k} (n = 421)" for k in range(4)]
    row = {"Characteristic": "Age (years), mean (SD)"} | dict.fromkeys(heads, "45.3 (11.5)")
    document = document_of([Sheet("first", "First", [row], "A note.")])
    assert [page.page_width > page.page_height for page in document.sections] == [False]


def test_repeated_heads_and_links_are_plain_and_numbers_stand_to_the_right() -> None:
    rows = [
        {"Outcome": "Pain", "Mean": "-1.5"},
        {"Outcome": "Pain", "Mean": "2.5"},
        {"Outcome": Cell("Sleep", target="sleep"), "Mean": ""},
    ]
    [table] = document_of([Sheet("t", "Results", rows, once=1)]).tables
    texts = [[cell.text for cell in row.cells] for row in table.rows]
    assert texts == [
        ["Outcome", "Mean"],
        ["Pain", "\N{MINUS SIGN}1.5"],
        ["", "2.5"],
        ["Sleep", "\N{EM DASH}"],
    ]
    assert table.rows[1].cells[1].paragraphs[0].alignment == 2  # right
    assert table.rows[1].cells[0].paragraphs[0].alignment is None


def test_text_of_every_kind_is_there_once() -> None:
    hostile = "a\x00b\x1b[31m <w:p> & \u202e"
    parts = [
        Paragraph(hostile),
        Notice("Look here."),
        Listing(["one", "two"]),
        Facts([("Term", "said of it")]),
        Code("brm(y ~ x)", "The model"),
        References([Reference("Author. Title.", "10.1000/xyz")]),
    ]
    document = document_of(parts)
    texts = [paragraph.text for paragraph in document.paragraphs]
    assert texts[2:] == [
        r"a\x00b\x1b[31m <w:p> & \u202e",
        "Note. Look here.",
        "one",
        "two",
        "Term: said of it",
        "The model:",
        "brm(y ~ x)",
        "1.\tAuthor. Title. doi:10.1000/xyz",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_formulas_are_formulas(family: str) -> None:
    spec = ModelSpec("y", family=family)
    formulas = [likelihood(family), predictor(spec, baseline=True, covariates=True)]
    effects = therapist_effects(spec)
    assert effects is not None
    document = document_of([*formulas, effects])
    made = [node for node in document.element.body.iter() if node.tag.endswith("}oMath")]
    assert len(made) == 3
    for node, formula in zip(made, [*formulas, effects], strict=True):
        letters = re.sub(r"<[^>]+>|\s", "", formula.mathml).replace("~", word.TILDE)
        letters = letters.replace("&lt;", "<")
        assert re.sub(r"\s", "", "".join(node.itertext())) == letters


def test_subscripts_and_sums_have_their_place() -> None:
    made = office_math("<math><msub><mi>y</mi><mrow><mtext>i</mtext></mrow></msub></math>")
    assert "<m:sSub><m:e><m:r>" in made
    assert "</m:e><m:sub><m:r>" in made


def test_published_numbers_are_not_called_simulated() -> None:
    sheet = Sheet("t", "Printed", [{"A": "1"}], published=True)
    picture = Picture("p", Figure(figsize=(2, 1)), "Drawn", "A description", published=True)
    sections = [
        Section("one", "Printed", [sheet, picture], published=True),
        Section("two", "Own", [Sheet("o", "Own", [{"A": "1"}])]),
    ]
    document = read(word_document("T", sections, simulated=True))
    captions = [p.text for p in document.paragraphs if p.style.name == "Caption"]
    assert ["SIMULATED" in text for text in captions] == [False, False, True]


# The file ----------------------------------------------------------------------------------------


def test_the_file_is_known_again_and_bears_no_date(tmp_path: Any) -> None:
    content = word_document("A title", [Section("s", "S", [Paragraph("t")])], simulated=False)
    place = tmp_path / "paper.docx"
    require_word_file(place)
    write_whole(place, content)
    assert written_as(place, WORD)
    require_word_file(place)  # the next one replaces it
    with zipfile.ZipFile(place) as archive:
        assert archive.namelist()[0] == "[Content_Types].xml"
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
    docx.Document().save(tmp_path / "own.docx")
    with pytest.raises(InputError, match="is not a Word document of alliance"):
        require_word_file(tmp_path / "own.docx")
    require_word_file(tmp_path / "own.docx", overwrite=True)
    with pytest.raises(InputError, match=r"does not end in \.docx"):
        require_word_file(tmp_path / "paper.doc")


def test_without_the_package_the_line_that_installs_it_is_told(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "docx", None)
    with pytest.raises(InputError, match=r"alliance\[word\]"):
        contents.require_word_file(tmp_path / "paper.docx")
