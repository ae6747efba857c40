"""Faults of a trial's table: files that cannot be read, and cells and columns that are wrong."""

from __future__ import annotations

from spoiled_files import (
    FIT,
    ITEMS,
    Case,
    cell,
    column,
    data,
    in_place_of_a_file,
    kept,
    removed,
    rows,
    text,
    with_items,
)


def _no_text(content: str) -> bytes:
    return content.replace("T2", "M\x81ller").encode("latin-1")  # no letter of Windows-1252


def _repeated_header(content: str) -> str:
    header, body = content.split("\n", 1)
    return header.replace("psfs_0", "psfs_8w") + "\n" + body


UNREADABLE = [
    Case("missing file", removed("trial.csv"), ("no data file 'trial.csv'", "Check the path")),
    Case(
        "missing file with a like name",
        lambda folder: (folder / "trial.csv").rename(folder / "trials.csv") and None,
        ("no data file 'trial.csv'", "Did you mean 'trials.csv'?"),
    ),
    Case("folder in place of a file", in_place_of_a_file("trial.csv"), ("is a folder", "Name the")),
    Case("empty file", data(""), ("'trial.csv' is empty", "saved and copied in full")),
    Case("blank lines only", data("\n\n  \n"), ("'trial.csv' is empty", "saved and copied")),
    Case(
        "header only",
        text(lambda content: content.split("\n")[0] + "\n"),
        ("trial.csv has a header but no rows", "saved and copied in full"),
    ),
    Case(
        "wrong delimiter",
        rows(lambda table: None, delimiter="|"),
        ("trial.csv", "separated by vertical bars", "not by commas", "Save it separated by commas"),
    ),
    Case(
        "tabs in a .csv",
        rows(lambda table: None, delimiter="\t"),
        ("trial.csv", "separated by tabs", "ends in .tsv"),
    ),
    Case(
        "bytes of no encoding",
        text(_no_text),
        ("trial.csv, row 5", "0x81 is not UTF-8", "Save it as UTF-8"),
    ),
    Case(
        "UTF-16",
        text(lambda content: content.encode("utf-16")),
        ("trial.csv is encoded as UTF-16", "Save it as UTF-8"),
    ),
    Case(
        "NUL byte",
        text(lambda content: content.replace("P04", "P\x0004")),
        ("trial.csv, row 5", "NUL byte", "Export the table again"),
    ),
    Case(
        "ragged rows",
        text(lambda content: content.replace("P02,T1", "P02,T1,x").replace("P09,T3,", "P09,")),
        ("trial.csv", "has 7 cells", "row 3 has 8, row 10 has 6", "as many cells as the header"),
    ),
    Case(
        "quotation mark left open",
        text(lambda content: content.replace("P03", '"P03')),
        ("trial.csv, row 4", "quotation mark", "Close it"),
    ),
    Case(
        "duplicated column",
        text(_repeated_header),
        ("trial.csv", "'psfs_8w' stands twice", "Rename or delete"),
    ),
    Case(
        "column without a name",
        text(lambda content: content.replace("wai_total", "", 1)),
        ("trial.csv", "column 4 has no name", "row 2", "Name it in the header"),
    ),
    Case(
        "unknown ending",
        data("a,b\n1,2\n", "trial.ods"),
        ("trial.ods", "'.ods' is not known", ".csv, .tsv, .txt, .xlsx"),
        (("check", "study.toml", "trial.ods"), ("fit", "study.toml", "trial.ods", "--out", "run")),
    ),
    Case(
        "text in place of a workbook",
        data("a,b\n1,2\n", "trial.xlsx"),
        ("trial.xlsx cannot be read as an Excel workbook", "export the table as CSV"),
        (("check", "study.toml", "trial.xlsx"),),
    ),
]

WRONG_TABLE = [
    Case(
        "duplicate patient",
        cell(20, "patient", "P05"),
        ("trial.csv 20 patient", "more than once", "Row 6 has the same patient", "keep one row"),
    ),
    Case(
        "patient without an id", cell(7, "patient", ""), ("trial.csv 7 patient", "Give every row")
    ),
    Case(
        "unknown arm",
        cell(9, "arm", "SMTT"),
        ("trial.csv 9 arm SMTT", "not in the study file", "Did you mean 'SMT'?"),
    ),
    Case(
        "other codes for the arms",
        column("arm", lambda row: str(len(row["arm"]))),
        ("trial.csv arm", "none of the study's arms ('GE', 'MCE', 'SMT')", "'2', '3'", "[arms]"),
    ),
    Case(
        "one arm only",
        column("arm", "GE"),
        ("trial.csv arm", "'GE' is the only arm", "the whole trial"),
    ),
    Case(
        "arm of the study that no patient has",
        kept(lambda row: row["arm"] != "SMT"),
        ("trial.csv arm", "no row has the arm 'SMT'", "Remove the arm from [arms]"),
    ),
    Case(
        "arm with one patient",
        kept(lambda row: row["arm"] != "SMT" or row["patient"] == "P03"),
        (
            "trial.csv",
            "outcome 'function'",
            "'SMT' has 1 analysed patient",
            "it needs 2",
            "Give the file of the whole trial",
        ),
    ),
    Case(
        "all therapists missing",
        column("therapist", ""),
        ("trial.csv therapist", "no row has a therapist", "Fill in the therapists"),
    ),
    Case(
        "one therapist only",
        column("therapist", "T1"),
        ("trial.csv therapist", "one and the same therapist", "--therapist none"),
        (FIT,),
    ),
    Case(
        "every therapist with one patient",
        column("therapist", lambda row: row["patient"]),
        ("trial.csv therapist", "36 therapists has one analysed patient", "--therapist none"),
        (FIT,),
    ),
    Case(
        "constant alliance",
        column("wai_total", "92"),
        ("trial.csv wai_total", "the alliance is 92 for every analysed patient", "Fill in"),
    ),
    Case(
        "alliance constant in one arm",
        column("wai_total", lambda row: "92" if row["arm"] == "GE" else row["wai_total"]),
        ("trial.csv wai_total", "92 for every", "arm 'GE'", "interaction = false"),
    ),
    Case(
        "alliance out of range",
        cell(12, "wai_total", "113"),
        ("trial.csv 12 wai_total 113", "must be from 16 to 112", "[moderator]"),
    ),
    Case(
        "alliance missing everywhere",
        column("wai_total", "NA"),
        ("trial.csv wai_total", "no row has a value of the alliance", "Fill in the column"),
    ),
    Case(
        "text in a number",
        cell(3, "psfs_8w", "twelve"),
        ("trial.csv 3 psfs_8w twelve", "must be a number", "leave the cell empty"),
    ),
    Case(
        "decimal commas",
        cell(4, "psfs_0", "12,5"),
        ("trial.csv 4 psfs_0 12,5", "not a decimal comma", "Write 12.5."),
    ),
    Case(
        "infinite value",
        cell(5, "psfs_8w", "inf"),
        ("trial.csv 5 psfs_8w inf", "must be a finite number", "Correct the value"),
    ),
    Case(
        "missing value written as a number",
        cell(5, "wai_total", "-99"),
        ("trial.csv 5 wai_total -99", "must be from 16 to 112", "leave the cell empty"),
    ),
    Case(
        "outcome outside its range",
        cell(6, "gpe_8w", "6"),
        ("trial.csv 6 gpe_8w 6", "must be from -5 to 5", "[outcomes.gpe]"),
    ),
    Case(
        "baseline outside the outcome's range",
        cell(6, "psfs_0", "30.5"),
        ("trial.csv 6 psfs_0 30.5", "must be from 0 to 30", "[outcomes.function]"),
    ),
    Case(
        "all follow-ups missing",
        column("gpe_8w", ""),
        ("trial.csv gpe_8w", "outcome 'gpe': no row has a value", "[outcomes.gpe]"),
    ),
    Case(
        "baseline computed from the alliance",
        column("psfs_0", lambda row: f"{int(row['wai_total']) / 4}"),
        (
            "trial.csv wai_total",
            "'function'",
            "follows from the others: alliance, baseline",
            "Leave",
        ),
    ),
    Case(
        "too few patients",
        kept(lambda row: row["patient"] < "P08"),
        ("trial.csv", "7 analysed patients cannot bear 7 coefficients", "Give more patients"),
    ),
    Case(
        "items out of range",
        with_items([(8, "wai_2", "8")]),
        ("trial.csv 8 wai_2 8", "must be from 1 to 7", "item_range"),
    ),
    Case(
        "item that is no whole number",
        with_items([(8, "wai_4", "2.5")]),
        ("trial.csv 8 wai_4 2.5", "must be a whole number", "leave the cell empty"),
    ),
    Case(
        "too many missing items for every patient",
        with_items([(row, item, "") for row in range(2, 38) for item in ITEMS[:2]]),
        ("trial.csv wai_1", "no row has a value of the alliance", "Fill in the column"),
    ),
    Case(
        "several faults at once",
        rows(
            lambda table: table[0].update(arm="EG", wai_total="1,5") or table[30].update(gpe_8w="x")
        ),
        (
            "3 problem(s)",
            "trial.csv 2 arm EG",
            "trial.csv 2 wai_total 1,5",
            "trial.csv 32 gpe_8w x",
        ),
    ),
]
