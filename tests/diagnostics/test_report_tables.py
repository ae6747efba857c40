"""The report's tables in files: numbers in full in CSV, text for Markdown and LaTeX."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import LIST
from alliance.diagnostics.report.contents import SECTIONS
from alliance.diagnostics.report.exports import table_files, write_tables
from alliance.diagnostics.report.limitations import named_by_arviz
from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.page import Section
from alliance.diagnostics.sheet import Cell, Sheet
from alliance.inference.digits import decimals
from alliance.inference.runs.fit import Fit

ROWS = [
    {"Quantity": "slope_a & b", "Mean": "-0.12 (-0.30 to 0.05)", "Verdict": "PASS"},
    {"Quantity": "share | 50%", "Mean": "", "Verdict": "REVIEW"},
]
NUMBERS = pd.DataFrame({"quantity": ["slope", "share"], "mean": [-0.123456789012345, None]})
TABLE = Sheet("one", "What it shows, in 100% of points", ROWS, numbers=NUMBERS)
SECTION = Section("s", "Section", [TABLE])


def test_csv_holds_numbers_in_full_precision():
    files = table_files([TABLE], simulated=False)
    read = pd.read_csv(io.StringIO(files["one.csv"]))
    pd.testing.assert_frame_equal(read, NUMBERS, check_exact=True)


def test_every_format_says_that_data_are_simulated():
    files = table_files([TABLE], simulated=True)
    assert set(pd.read_csv(io.StringIO(files["one.csv"]))["data"]) == {"SIMULATED"}
    assert files["one.md"].startswith("SIMULATED. What it shows")
    assert r"\caption{SIMULATED. What it shows" in files["one.tex"]


def test_markdown_keeps_its_columns_whatever_the_cells_hold():
    lines = table_files([TABLE], simulated=False)["one.md"].strip().splitlines()
    assert lines[0] == "What it shows, in 100% of points."
    head, rule, *rows = lines[2:]
    assert [cell.strip() for cell in head.strip("|").split("|")] == list(ROWS[0])
    assert [cell.strip("-: ") for cell in rule.strip("|").split("|")] == ["", "", ""]
    assert r"share \| 50%" in rows[1]
    assert "-0.12 (-0.30 to 0.05)" in rows[0]


def test_latex_escapes_its_own_characters():
    text = table_files([TABLE], simulated=False)["one.tex"]
    assert r"slope\_a \& b" in text
    assert r"share | 50\%" in text
    assert r"\textminus{}0.12" in text
    assert r"100\% of points" in text
    assert r"\label{tab:one}" in text
    assert r"\begin{tabular}{lrl}" in text  # a dash does not make a column of numbers one of text
    assert r"\toprule" in text


def test_files_are_written_once_unless_asked(tmp_path: Path):
    folder = tmp_path / "new" / "tables"
    written = write_tables([SECTION], folder, simulated=False)
    assert {path.name for path in written} == {"one.csv", "one.md", "one.tex", "citations.bib"}
    assert {path.name for path in folder.iterdir()} == {LIST, *(path.name for path in written)}
    with pytest.raises(InputError, match=r"holds 'one\.csv' already"):
        write_tables([SECTION], folder, simulated=False)
    for simulated in (False, True, True):  # also what replaced something
        write_tables([SECTION], folder, simulated=simulated, overwrite=True)
    assert "SIMULATED" in (folder / "one.csv").read_text(encoding="utf-8")
    (folder / "thesis.docx").write_bytes(b"years of work")  # is in nobody's way
    write_tables([SECTION], folder, simulated=False, overwrite=True)
    for name in ("one.csv", LIST):
        mine = (folder / name).read_bytes() + b" "
        (folder / name).write_bytes(mine)
        with pytest.raises(InputError, match=rf"holds .*'{re.escape('one.csv')}'"):
            write_tables([SECTION], folder, simulated=False, overwrite=True)
        assert (folder / name).read_bytes() == mine
    with pytest.raises(InputError, match="cannot be made"):
        write_tables([SECTION], folder / "one.csv" / "x", simulated=False)


def test_the_tables_of_results_are_the_tidy_table(made_fit: Fit):
    material = Material(made_fit)
    [table] = [t for t in SECTIONS["results"][1](material).tables if t.name == "results_gpe"]
    read = pd.read_csv(
        io.StringIO(table_files([table], simulated=False)["results_gpe.csv"]),
        keep_default_na=False,
        na_values=[""],
        dtype={"level": str},
    )
    wanted = made_fit.summary()
    wanted = wanted[wanted["outcome"] == "gpe"].reset_index(drop=True)
    pd.testing.assert_series_equal(read["mean"], wanted["mean"], check_exact=True)
    # and what is read is the same number, to two digits of its SD
    for shown, row in zip(table.shown.to_dict("records"), wanted.to_dict("records"), strict=True):
        read_mean = float(shown["Mean"])
        digits = decimals(row["sd"])
        assert abs(read_mean - row["mean"]) <= 0.5 * 10**-digits + 1e-12
        assert shown["Unit"]


def test_a_cell_that_leads_somewhere_is_text_elsewhere():
    cell = Cell("Results", target="results")
    assert (cell, cell.target) == ("Results", "results")
    rows = [{"Item": "1", "Where": cell}]
    files = table_files([Sheet("a", "A caption", rows)], simulated=False)
    assert "Results" in files["a.md"]
    assert files["a.csv"] == "Item,Where\n1,Results\n"


def test_csv_has_codes_where_people_read_labels():
    level = Cell("Acupuncture minus Usual care", code="1-0")
    files = table_files([Sheet("a", "A caption", [{"Level": level}])], simulated=False)
    assert "Acupuncture minus Usual care" in files["a.md"]
    assert files["a.csv"] == "Level\n1-0\n"


def test_arviz_names_itself_and_the_methods():
    found = {reference.doi: reference.text for reference in named_by_arviz()}
    assert "10.21105/joss.09889" in found  # ArviZ's own paper, as it asks to be cited
    assert "10.1214/20-BA1221" in found  # rank-normalised R-hat and ESS
    assert all(len(text) > 30 for text in found.values())
    assert not re.search(r"[{}\\$]", " ".join(found.values()))  # no BibTeX is left over
    assert "Bürkner" in " ".join(found.values())
