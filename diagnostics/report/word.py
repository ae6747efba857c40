"""A report's parts as a Word document: tables are tables, formulas formulas, captions numbered.

Captions are numbered by fields (SEQ), so that Word counts on when tables are moved, and pages
turn to landscape where a table is wide. Nothing of the file is drawn but its figures.

Office Open XML, ECMA-376: WordprocessingML for captions, headers and sections, OMML for formulas.
"""

from __future__ import annotations

import copy
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from alliance.data_prep.errors import extra_package, visible
from alliance.diagnostics.figures.figure_page import save
from alliance.diagnostics.report.page import (
    Code,
    Facts,
    Formula,
    Heading,
    Listing,
    Notice,
    Paragraph,
    Part,
    Picture,
    References,
    Section,
)
from alliance.diagnostics.sheet import Sheet, typeset
from alliance.inference.runs.whole_files import GENERATOR

if TYPE_CHECKING:
    from docx.document import Document
    from docx.text.paragraph import Paragraph as WordParagraph

DPI, SUPPLEMENT_DPI = 300, 150  # as journals ask for, and what a mailed file bears
FONT, CODE_FONT = "Arial", "Courier New"  # with their metrics on every machine
BODY, TABLE, NOTE = 10.0, 8.0, 8.0  # points
PAGE_CM, MARGIN_CM = (21.0, 29.7), 2.0  # A4
TALLEST_CM = 21.0  # of a figure, with room for its caption
LETTER = 0.53  # width of an average letter of the font, in its height
BOLD = 1.15  # how much wider bold letters are
PADDING = 3.0  # letters around the text of a cell
COMFORT = 23.0  # letters of a line of a cell, from which on it may have another
NO_NOTE = "A dash stands where there is nothing to tell."
SUFFIX = ".docx"
OWN_DATE = (1980, 1, 1, 0, 0, 0)  # of files within the archive, the earliest it knows
TILDE = "\N{TILDE OPERATOR}"  # the letter is a blank to some readers of formulas
MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def require_word() -> None:
    """Refuse to write for Word where the package for it is not installed.

    Raises
    ------
    InputError
        With the line that installs it.
    """
    extra_package("docx", "word", "A Word document")


def word_document(title: str, sections: Sequence[Section], *, simulated: bool) -> bytes:
    """The sections as a Word document.

    Parameters
    ----------
    title : str
    sections : sequence of Section
        Those that are appendices make a supplement, with tables and figures of its own numbers.
    simulated : bool
        Whether every page, table and figure says so.

    Returns
    -------
    bytes
        Of the .docx file.
    """
    writer = _Writer(title, simulated=simulated)
    supplement = False
    for section in sections:
        if section.appendix and not supplement:
            supplement = True
            writer.supplement()
        writer.section(section)
    return writer.content()


class _Writer:
    """Puts one part after the other into a document.

    Parameters
    ----------
    title : str
    simulated : bool
    """

    def __init__(self, title: str, *, simulated: bool) -> None:
        import docx

        self.document: Document = docx.Document()
        self.simulated = simulated
        self.landscape = False
        self.between = False  # tables that both need turned pages
        self.before = ""  # what stands before the numbers of captions
        self.numbers: dict[str, int] = {}  # of the last caption, by sequence
        self._styles()
        self._page()
        properties = self.document.core_properties
        properties.title, properties.category = visible(title), GENERATOR
        properties.author = properties.comments = ""
        self.paragraph(title, "Title")

    # The document ------------------------------------------------------------------------------

    def _styles(self) -> None:
        from docx.enum.style import WD_STYLE_TYPE
        from docx.oxml.ns import qn
        from docx.shared import Pt, RGBColor

        styles = self.document.styles
        for style in styles:
            if style.type == WD_STYLE_TYPE.PARAGRAPH:
                style.font.name, style.font.color.rgb = FONT, RGBColor(0, 0, 0)
                fonts = style.element.rPr.rFonts
                for script in ("w:asciiTheme", "w:hAnsiTheme", "w:eastAsiaTheme", "w:cstheme"):
                    fonts.attrib.pop(qn(script), None)
                for script in ("w:ascii", "w:hAnsi", "w:cs", "w:eastAsia"):
                    fonts.set(qn(script), FONT)
        sizes = {"Normal": BODY, "Title": 18, "Heading 1": 14, "Heading 2": 12, "Caption": 9.5}
        for name, size in sizes.items():
            styles[name].font.size = Pt(size)
        styles["Normal"].paragraph_format.space_after = Pt(6)
        caption = styles["Caption"]
        caption.font.bold = False
        caption.paragraph_format.space_before, caption.paragraph_format.space_after = Pt(10), Pt(3)
        note = styles.add_style("Table note", WD_STYLE_TYPE.PARAGRAPH)
        note.base_style, note.font.size = styles["Normal"], Pt(NOTE)
        note.paragraph_format.space_before, note.paragraph_format.space_after = Pt(3), Pt(12)
        code = styles.add_style("Code", WD_STYLE_TYPE.PARAGRAPH)
        code.base_style, code.font.size, code.font.name = styles["Normal"], Pt(9), CODE_FONT

    def _page(self) -> None:
        from docx.shared import Cm, Pt

        page = self.document.sections[0]
        page.page_width, page.page_height = (Cm(side) for side in PAGE_CM)
        for side in ("left_margin", "right_margin", "top_margin", "bottom_margin"):
            setattr(page, side, Cm(MARGIN_CM))
        foot = page.footer.paragraphs[0]
        _field(foot, "PAGE", "1")
        foot.style.font.size = Pt(NOTE)
        if self.simulated:
            head = page.header.paragraphs[0]
            head.add_run("SIMULATED DATA: no patient gave them").bold = True

    def content(self) -> bytes:
        """The file, with its mark where it is found without unpacking, and without dates."""
        buffer, whole = io.BytesIO(), io.BytesIO()
        self.document.save(buffer)
        with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(whole, "w") as archive:
            names = made.namelist()
            core = "docProps/core.xml"
            # Readers look for the list of contents first; the next is not compressed
            order = [names[0], core, *(name for name in names[1:] if name != core)]
            for name in order:
                entry = zipfile.ZipInfo(name, OWN_DATE)
                entry.compress_type = zipfile.ZIP_STORED if name == core else zipfile.ZIP_DEFLATED
                archive.writestr(entry, made.read(name))
        return whole.getvalue()

    # Sections ----------------------------------------------------------------------------------

    def supplement(self) -> None:
        """From here on tables and figures are numbered S1, S2."""
        self._turn(landscape=False)
        heading = self.paragraph("Supplement", "Title")
        heading.paragraph_format.page_break_before = True
        self.before = "S"

    def section(self, section: Section) -> None:
        """A heading and its parts.

        Parameters
        ----------
        section : Section
        """
        self._turn(landscape=False)
        self.paragraph(section.title, "Heading 1")
        for k, part in enumerate(section.parts):
            self.between = self.landscape and self._wide_is_next(section.parts[k:])
            self.part(part)
        self.between = False

    def _wide_is_next(self, parts: Sequence[Part]) -> bool:
        """Whether nothing but text stands before a table that needs a turned page."""
        for part in parts:
            if isinstance(part, Sheet):
                return self._shaped(part)[0]
            if not isinstance(part, Paragraph | Heading | Notice | Listing):
                return False
        return False

    def part(self, part: Part) -> None:
        """One part, as its kind is written.

        Parameters
        ----------
        part : Part
        """
        write: dict[type, Callable[[Any], None]] = {
            Heading: self._heading,
            Paragraph: lambda own: self.text(own.text),
            Notice: self._notice,
            Listing: self._listing,
            Facts: self._facts,
            Formula: self._formula,
            Code: self._code,
            References: self._references,
            Picture: self.picture,
            Sheet: self.table,
        }
        write[type(part)](part)

    # Text --------------------------------------------------------------------------------------

    def paragraph(self, text: str, style: str = "Normal") -> WordParagraph:
        """A paragraph of the text, with minus signs before its negative numbers."""
        return self.document.add_paragraph(_shown(text), style)

    def text(self, text: str) -> None:
        """Running text, which stands upright."""
        self._turn(landscape=False)
        self.paragraph(text)

    def _heading(self, part: Heading) -> None:
        self._turn(landscape=False)
        self.paragraph(part.text, "Heading 2")

    def _notice(self, part: Notice) -> None:
        self._turn(landscape=False)
        noted = self.document.add_paragraph()
        noted.add_run("Note. ").bold = True
        noted.add_run(_shown(part.text))

    def _listing(self, part: Listing) -> None:
        for item in part.items:
            self._turn(landscape=False)
            self.paragraph(item, "List Bullet")

    def _facts(self, part: Facts) -> None:
        self._turn(landscape=False)
        for term, text in part.rows:
            told = self.document.add_paragraph()
            told.add_run(f"{_shown(term)}: ").bold = True
            told.add_run(_shown(text))

    def _code(self, part: Code) -> None:
        self._turn(landscape=False)
        named = self.paragraph(f"{part.title}:")
        named.paragraph_format.keep_with_next = True
        lines = visible(part.text.replace("\n", "\v")).replace("\\x0b", "\n")
        self.document.add_paragraph(lines, "Code")

    def _references(self, part: References) -> None:
        from docx.shared import Cm

        self._turn(landscape=False)
        for number, item in enumerate(part.items, 1):
            listed = self.document.add_paragraph(f"{number}.\t{_shown(item.text)}")
            listed.paragraph_format.left_indent = Cm(0.9)
            listed.paragraph_format.first_line_indent = Cm(-0.9)
            listed.paragraph_format.tab_stops.add_tab_stop(Cm(0.9))
            if item.doi:
                listed.add_run(" ")
                _link(listed, f"https://doi.org/{item.doi}", f"doi:{item.doi}")

    def _formula(self, part: Formula) -> None:
        from docx.oxml import parse_xml

        self._turn(landscape=False)
        holder = self.document.add_paragraph()
        holder._p.append(parse_xml(office_math(part.mathml)))
        self.text(part.words)

    # Tables ------------------------------------------------------------------------------------

    def table(self, sheet: Sheet) -> None:
        """A table below its numbered caption and above its note.

        Parameters
        ----------
        sheet : Sheet
        """
        from docx.enum.text import WD_ALIGN_PARAGRAPH as ALIGN
        from docx.shared import Pt

        title, note = _title_and_note(sheet)
        widths, size = self._widths(sheet)
        self._caption("Table", title, keep=True, published=sheet.published)
        columns, cells, right = sheet.columns, sheet.filled, sheet.right
        made = self.document.add_table(rows=1 + len(cells), cols=len(columns))
        made.autofit = False
        for row, texts in enumerate([columns, *cells]):
            own = made.rows[row]
            same = _repeated(cells, row - 1, sheet.once)
            for column, text in enumerate(texts):
                cell = own.cells[column]
                cell.width = widths[column]
                holder = cell.paragraphs[0]
                holder.paragraph_format.space_before = Pt(1.5)
                holder.paragraph_format.space_after = Pt(1)
                holder.paragraph_format.keep_with_next = row < min(3, len(cells))
                if right[column]:
                    holder.alignment = ALIGN.RIGHT
                shown = "" if row and column < same else _shown(text)
                if shown:
                    run = holder.add_run(shown)
                    run.font.size, run.bold = Pt(size), row == 0
            _row_properties(own, head=row == 0)
        for column, width in zip(made.columns, widths, strict=True):
            column.width = width
        _rules(made, [0, *(1 + k for k in sheet.breaks)])
        self.paragraph(note or NO_NOTE, "Table note")

    def _widths(self, sheet: Sheet) -> tuple[list[int], float]:
        """Width of each column, and the size of letters; turns the page where they need it.

        A column is as wide as its longest word at least, and as its longest cell at most.
        """
        from docx.shared import Pt

        texts = [sheet.columns, *sheet.filled]
        columns = [[_shown(row[k]) for row in texts] for k in range(len(sheet.columns))]
        least = [_least(own) + PADDING for own in columns]
        most = [max(map(len, own)) + PADDING for own in columns]
        landscape, size = self._shaped(sheet)
        self._turn(landscape=landscape)
        letters = self._text_points(landscape=landscape) / (LETTER * size)
        shares = _shares(least, most, letters)
        return [int(Pt(LETTER * size * share)) for share in shares], size

    def _shaped(self, sheet: Sheet) -> tuple[bool, float]:
        """Whether a table needs a turned page, and the size of its letters.

        Headings may stand on two lines.
        """
        columns = [[_shown(row[k]) for row in sheet.filled] for k in range(len(sheet.columns))]
        wanted = 0.0
        for head, own in zip(map(_shown, sheet.columns), columns, strict=True):
            longest = max(len(head) / 2, *map(len, own), 0)
            wanted += PADDING + max(_least([head, *own]), min(COMFORT, longest))
        size = TABLE
        for landscape, size in ((False, TABLE), (True, TABLE), (True, TABLE - 1)):
            if wanted <= self._text_points(landscape=landscape) / (LETTER * size):
                break
        return landscape, size

    def _text_points(self, *, landscape: bool) -> float:
        width = PAGE_CM[landscape] - 2 * MARGIN_CM
        return width / 2.54 * 72

    def _turn(self, *, landscape: bool) -> None:
        """End the part of the document whose pages are turned otherwise."""
        from docx.enum.section import WD_ORIENT
        from docx.shared import Cm

        if landscape == self.landscape or (self.between and not landscape):
            return
        self.landscape = landscape
        body = self.document.element.body
        ended = copy.deepcopy(body.sectPr)
        last = self.document.paragraphs
        while len(last) > 1 and last[-1].style.name.startswith(
            "Heading"
        ):  # it goes with what follows
            last = last[:-1]
        properties = last[-1]._p.get_or_add_pPr()
        if properties.find(ended.tag) is None:  # else nothing but headings has come since
            properties.append(ended)
        page = self.document.sections[-1]
        page.orientation = WD_ORIENT.LANDSCAPE if landscape else WD_ORIENT.PORTRAIT
        sides = [Cm(side) for side in PAGE_CM]
        page.page_width, page.page_height = sides[::-1] if landscape else sides

    # Captions and figures ----------------------------------------------------------------------

    def _caption(self, kind: str, text: str, *, keep: bool, published: bool) -> None:
        made = self.document.add_paragraph(style="Caption")
        made.paragraph_format.keep_with_next = keep
        made.add_run(f"{kind} {self.before}").bold = True
        name = f"{kind}_supplement" if self.before else kind
        self.numbers[name] = self.numbers.get(name, 0) + 1
        _field(made, rf"SEQ {name} \* ARABIC", str(self.numbers[name]), bold=True)
        made.add_run(". ").bold = True
        if self.simulated and not published:
            made.add_run("SIMULATED. ").bold = True
        made.add_run(_shown(text))

    def picture(self, part: Picture) -> None:
        """A figure as large as the page allows, with its description, above its caption.

        Parameters
        ----------
        part : Picture
        """
        from docx.shared import Inches

        self._turn(landscape=False)
        buffer = io.BytesIO()
        save(part.figure, buffer, format="png", dpi=SUPPLEMENT_DPI if self.before else DPI)
        width, height = part.figure.get_size_inches()
        room = self._text_points(landscape=False) / 72
        shrunk = min(1.0, room / width, TALLEST_CM / 2.54 / height)
        holder = self.document.add_paragraph()
        holder.paragraph_format.keep_with_next = True
        drawn = holder.add_run().add_picture(buffer, Inches(width * shrunk))
        properties = drawn._inline.docPr
        properties.set("descr", visible(part.description))
        properties.set("title", visible(part.title))
        self._caption("Figure", f"{part.title}.", keep=False, published=part.published)


# Pieces ------------------------------------------------------------------------------------------


def _shown(text: str) -> str:
    return visible(typeset(" ".join(str(text).split())))


def _title_and_note(sheet: Sheet) -> tuple[str, str]:
    """A caption of one sentence, and what else there is to say of the columns."""
    title, note = sheet.title.strip(), sheet.note.strip()
    if not title:
        first, _, note = re.sub(r"(?<=[.:]) (?=[A-Z(])", "\n", note, count=1).partition("\n")
        title = first
    return (title if title.endswith((".", ":")) else f"{title}."), note.strip()


def _least(texts: Sequence[str]) -> float:
    """Letters of a column's longest word; those of its heading, the first, are bold."""
    head, *others = texts
    return max(BOLD * _longest_word(head), *map(_longest_word, others), 0.0)


def _longest_word(text: str) -> int:
    return max(map(len, re.split(r"[\s/-]", text)), default=0)


def _repeated(cells: Sequence[Sequence[str]], row: int, once: int) -> int:
    """How many columns from the left are as in the row above, and need not be repeated."""
    if row < 1:
        return 0
    same = 0
    while same < once and cells[row][same] == cells[row - 1][same]:
        same += 1
    return same


def _shares(least: Sequence[float], most: Sequence[float], room: float) -> list[float]:
    """Widths that fill no more than the room: the longest words first, long texts share the rest.

    Examples
    --------
    >>> _shares([5, 5], [10, 10], 40), _shares([10, 10], [10, 100], 60)
    ([10.0, 10.0], [10.0, 50.0])
    """
    if sum(most) <= room:
        return [float(each) for each in most]
    if sum(least) >= room:
        return [each * room / sum(least) for each in least]
    wanted = [high - low for low, high in zip(least, most, strict=True)]
    rest = room - sum(least)
    return [low + rest * more / sum(wanted) for low, more in zip(least, wanted, strict=True)]


def _element(name: str, **attributes: str) -> Any:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    made = OxmlElement(name)
    for key, value in attributes.items():
        made.set(qn(f"w:{key}"), value)
    return made


def _field(holder: WordParagraph, instruction: str, text: str, *, bold: bool = False) -> None:
    """A field that Word computes anew, with what it shows until then."""
    run = holder.add_run(text)
    run.bold = bold or None
    field = _element("w:fldSimple", instr=f" {instruction} ")
    run._r.addprevious(field)
    field.append(run._r)


def _link(holder: WordParagraph, address: str, text: str) -> None:
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml.ns import qn

    link = _element("w:hyperlink")
    known = holder.part.relate_to(address, RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    link.set(qn("r:id"), known)
    run = holder.add_run(text)
    run._r.addprevious(link)
    link.append(run._r)


def _row_properties(row: Any, *, head: bool) -> None:
    """A row that is not parted between pages; that of the headings stands on each of them."""
    properties = row._tr.get_or_add_trPr()
    properties.append(_element("w:cantSplit"))
    if head:
        properties.append(_element("w:tblHeader"))


def _rules(table: Any, below: Sequence[int]) -> None:
    """Lines above and below the table, and below some of its rows."""
    borders = _element("w:tblBorders")
    for side in ("top", "bottom"):
        borders.append(_element(f"w:{side}", val="single", sz="8", space="0", color="000000"))
    table._tbl.tblPr.append(borders)
    for row in below:
        for cell in table.rows[row].cells:
            line = _element("w:tcBorders")
            line.append(_element("w:bottom", val="single", sz="4", space="0", color="000000"))
            cell._tc.get_or_add_tcPr().append(line)


# Formulas ----------------------------------------------------------------------------------------


def office_math(mathml: str) -> str:
    """A formula of the report's MathML as Office Math.

    Parameters
    ----------
    mathml : str
        Made of ``math, mrow, mi, mo, mn, mtext, msub, munder``.

    Returns
    -------
    str
        XML of an ``oMathPara``.

    Examples
    --------
    >>> print(office_math("<math><mi>x</mi></math>").partition("<m:r>")[2])
    <m:rPr><m:sty m:val="p"/></m:rPr><m:t xml:space="preserve">x</m:t></m:r></m:oMath></m:oMathPara>
    """
    inner = "".join(map(_math, ElementTree.fromstring(mathml)))
    return f'<m:oMathPara xmlns:m="{MATH}"><m:oMath>{inner}</m:oMath></m:oMathPara>'


# What is set below something: the element, and what its two parts are called
_BELOW = {"msub": ("m:sSub", "m:sub"), "munder": ("m:limLow", "m:lim")}


def _math(element: ElementTree.Element) -> str:
    if element.tag in _BELOW:
        name, below = _BELOW[element.tag]
        first, second = map(_math, element)
        return f"<{name}><m:e>{first}</m:e><{below}>{second}</{below}></{name}>"
    if len(element):
        return "".join(map(_math, element))
    upright = '<m:rPr><m:sty m:val="p"/></m:rPr>'
    text = escape(element.text or "").replace("~", TILDE)
    return f'<m:r>{upright}<m:t xml:space="preserve">{text}</m:t></m:r>'
