"""Faults in a trial's table and in its study file: how to make them and what must be said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from command_line import STUDY, Rows, small_trial, trial_text

CHECK = ("check", "study.toml", "trial.csv")
FIT = ("fit", "study.toml", "trial.csv", "--out", "run", "--profile", "ci")

Spoil = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A fault, and the words that its message must have: the place, the value, the remedy."""

    name: str
    spoil: Spoil
    words: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...] = (CHECK, FIT)


def nothing(folder: Path) -> None:
    """The files are sound; the command line is at fault."""


def data(content: bytes | str, name: str = "trial.csv") -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def rows(change: Callable[[Rows], Rows | None], delimiter: str = ",") -> Spoil:
    def spoil(folder: Path) -> None:
        changed = small_trial()
        changed = change(changed) or changed
        (folder / "trial.csv").write_text(trial_text(changed, delimiter), encoding="utf-8")

    return spoil


def cell(row: int, column: str, value: str) -> Spoil:
    return rows(lambda table: table[row - 2].update({column: value}))


def column(name: str, value: str | Callable[[dict[str, str]], str]) -> Spoil:
    def change(table: Rows) -> None:
        for row in table:
            row[name] = value if isinstance(value, str) else value(row)

    return rows(change)


def text(change: Callable[[str], str | bytes]) -> Spoil:
    return data(change(trial_text(small_trial())))


def study(*changes: tuple[str, str]) -> Spoil:
    """The study file with words replaced; what is to be replaced must be there once."""

    def spoil(folder: Path) -> None:
        content = STUDY
        for old, new in changes:
            if content.count(old) != 1:
                raise ValueError(f"{old!r} stands {content.count(old)} times in the study file")
            content = content.replace(old, new)
        (folder / "study.toml").write_text(content, encoding="utf-8")

    return spoil


def both(*spoils: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        for one in spoils:
            one(folder)

    return spoil


def added(lines: str) -> Spoil:
    return study(
        ('range = [-5, 5]\nbetter = "higher"\n', f'range = [-5, 5]\nbetter = "higher"\n{lines}')
    )


def kept(keep: Callable[[dict[str, str]], bool]) -> Spoil:
    return rows(lambda table: [row for row in table if keep(row)])


def removed(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def in_place_of_a_file(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return spoil


ITEMS = ("wai_1", "wai_2", "wai_3", "wai_4")
ITEM_SETTINGS = (
    'items = ["wai_1", "wai_2", "wai_3", "wai_4"]\nreverse = ["wai_3"]\n'
    "item_range = [1, 7]\nmax_missing = 1"
)


def with_items(changes: Iterable[tuple[int, str, str]] = ()) -> Spoil:
    """The alliance as four items from 1 to 7, with some answers changed (row, item, answer)."""

    def spoil(table: Rows) -> None:
        for number, row in enumerate(table):
            for place, item in enumerate(ITEMS):
                row[item] = str(1 + (3 * number + 2 * place) % 7)
        for row_number, item, answer in changes:
            table[row_number - 2][item] = answer

    return both(
        rows(spoil), study(('column = "wai_total"', ITEM_SETTINGS), ("[16, 112]", "[4, 28]"))
    )


def _latin_1(content: str) -> bytes:
    return content.replace("T2", "Müller").encode("latin-1")


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
        rows(lambda table: None, delimiter=";"),
        ("trial.csv", "separated by semicolons", "not by commas", "Save it separated by commas"),
    ),
    Case(
        "tabs in a .csv",
        rows(lambda table: None, delimiter="\t"),
        ("trial.csv", "separated by tabs", "ends in .tsv"),
    ),
    Case(
        "Latin-1 bytes",
        text(_latin_1),
        ("trial.csv, row 5", "0xFC is not UTF-8", "'ü' in Latin-1", "Save it as UTF-8"),
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
        ("trial.csv", "outcome 'function'", "'SMT' has 1 analysed patient", "it needs 2", "Fill"),
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

WRONG_STUDY = [
    Case(
        "missing study file",
        removed("study.toml"),
        ("There is no study file 'study.toml'", "Give a file's path, or a bundled study"),
    ),
    Case("empty study file", data("", "study.toml"), ("'study.toml' is empty", "saved and copied")),
    Case(
        "invalid TOML",
        study(('title = "A small trial"', "title = A small trial")),
        ("study.toml", "line 1", "quotes"),
    ),
    Case(
        "unknown key",
        study(('followup = "gpe_8w"', 'followup = "gpe_8w"\nfamilly = "ordinal"')),
        ("study.toml", "outcomes.gpe.familly", "no such key", "Did you mean 'family'?"),
    ),
    Case(
        "missing key",
        study(('followup = "gpe_8w"\n', "")),
        ("study.toml", "outcomes.gpe.followup", "this key is missing", "Add"),
    ),
    Case(
        "missing table",
        study(('[columns]\npatient = "patient"\ntherapist = "therapist"\narm = "arm"\n', "")),
        ("study.toml", "columns", "this key is missing", "Add"),
    ),
    Case(
        "column that is not there",
        study(('"wai_total"', '"wai_totl"')),
        ("trial.csv wai_totl", "not in the file", "Did you mean 'wai_total'?", "study file"),
    ),
    Case(
        "baseline equal to the column of follow-up",
        study(('"psfs_0"', '"psfs_8w"')),
        ("study.toml", "outcomes.function.baseline", "equal to the column of follow-up", "Name"),
    ),
    Case(
        "range the wrong way round",
        study(("[16, 112]", "[112, 16]")),
        ("study.toml", "moderator.range", "a lowest value followed by a higher one", "[16, 112]"),
    ),
    Case(
        "one arm in the study",
        study(('MCE = "Motor control exercise"\nSMT = "Manipulation"\n', "")),
        ("study.toml", "arms", "1 of at least 2", "two arms at least"),
    ),
    Case(
        "unknown family",
        added('family = "poisson"\n'),
        ("study.toml", "outcomes.gpe.family", "'poisson'", "gaussian"),
    ),
    Case(
        "too many missing items allowed",
        both(
            with_items(),
            lambda folder: (
                (folder / "study.toml").write_text(
                    (folder / "study.toml")
                    .read_text()
                    .replace("max_missing = 1", "max_missing = 4")
                )
                and None
            ),
        ),
        ("study.toml", "moderator.max_missing", "is 4, but there are 4 items", "from 0 to 3"),
    ),
    Case(
        "therapist setting misspelt in the study",
        added('[model]\ntherapist = "intercepts"\n'),
        ("study.toml", "model.therapist", "'intercepts'", "Did you mean 'intercept'"),
    ),
    Case(
        "unknown prior",
        added("[priors]\nmoderator_slop = 0.5\n"),
        ("[priors] has no prior 'moderator_slop'", "Did you mean 'moderator_slope'"),
    ),
    Case(
        "negative prior",
        added("[priors]\nmoderator_slope = -0.5\n"),
        ("moderator_slope", "-0.5", "not a positive number", "above zero"),
    ),
    Case(
        "prior that is no number",
        added('[priors]\nmoderator_slope = "wide"\n'),
        ("study.toml", "priors.moderator_slope", "'wide'", "not a number"),
    ),
    Case(
        "published finding on an unknown outcome",
        data(
            '[[finding]]\noutcome = "functoin"\nquantity = "moderator_slope"\nlevel = "average"\n'
            'claim = "present"\nknown_by = "abstract"\nsource = "a paper"\n',
            "published.toml",
        ),
        ("published.toml", "finding 1", "no outcome 'functoin'", "Did you mean 'function'?"),
        (FIT,),
    ),
]
