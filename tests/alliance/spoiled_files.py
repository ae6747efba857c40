"""Ways to spoil a small trial's files, and what must be said of it."""

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
