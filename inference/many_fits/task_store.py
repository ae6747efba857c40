"""Results of many tasks in one SQLite file: each is written whole, and a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alliance.data_prep.errors import InputError
from alliance.data_prep.files import AnyPath, as_path

FORMAT = 1
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE results (task TEXT PRIMARY KEY, result TEXT, failure TEXT, sha256 TEXT);
"""
_LONGEST_SHOWN = 60  # characters of a fact in a message


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What became of a task.

    Attributes
    ----------
    result : dict or None
        Plain values, as the task's function gave them.
    failure : str or None
        Type and message of its error, if it failed.
    """

    result: dict[str, Any] | None
    failure: str | None = None


class TaskStore:
    """Results by task, from `open_store`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def outcomes(self) -> dict[str, TaskOutcome]:
        """What is there already.

        Raises
        ------
        InputError
            If a result is no longer what was written.
        """
        found = {}
        with _said_in_text(self._path):
            rows = self._connection.execute(
                "SELECT task, result, failure, sha256 FROM results"
            ).fetchall()
        for task, result, failure, written in rows:
            if written is not None and written != _digest(task, result, failure):
                raise damaged(self._path, f"the result of {task!r} is not what was written")
            try:
                found[task] = TaskOutcome(None if result is None else json.loads(result), failure)
            except (TypeError, ValueError) as error:
                raise damaged(self._path, f"the result of {task!r} is no JSON") from error
        return found

    def put(self, task: str, outcome: TaskOutcome) -> None:
        """Write one result in a transaction of its own; a failure gives way to a later result.

        Raises
        ------
        sqlite3.Error
            If it cannot be written.
        """
        text = None if outcome.result is None else json.dumps(outcome.result)
        with self._connection:
            self._connection.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT (task) DO UPDATE "
                "SET result = excluded.result, failure = excluded.failure, "
                "sha256 = excluded.sha256 WHERE results.result IS NULL",
                (task, text, outcome.failure, _digest(task, text, outcome.failure)),
            )


def _digest(*cells: object) -> str:
    return hashlib.sha256(repr(cells).encode()).hexdigest()


@contextmanager
def _said_in_text(path: Path) -> Iterator[None]:
    """Refuse a store of whose damage SQLite tells with bytes of the file, which are no text."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise damaged(path, "it holds bytes that are no text") from error


def damaged(path: Path, why: object) -> InputError:
    """What to say of a store that cannot be read.

    Parameters
    ----------
    path : Path
    why : object
    """
    return InputError(
        f"The store {str(path)!r} is damaged: {why}.",
        "Move it away and ask again, or name another file: its fits are made anew.",
    )


@contextmanager
def open_store(path: AnyPath, facts: Mapping[str, Any]) -> Iterator[TaskStore]:
    """Open a store, or make one; nobody else can meanwhile.

    Parameters
    ----------
    path : str or path-like
        The file; written beside the results of no other study.
    facts : mapping of str to plain values
        All that decides the results. A store of other facts is refused.

    Yields
    ------
    TaskStore

    Raises
    ------
    InputError
        If the file is no store, one of other facts, in use, or cannot be written.
    """
    written = {name: json.dumps(value, sort_keys=True) for name, value in facts.items()}
    written["format"] = json.dumps(FORMAT)
    path = as_path(path)
    if not path.parent.is_dir():
        raise InputError(f"{str(path.parent)!r} is not a folder.", "Make it, or name another.")
    try:
        connection = sqlite3.connect(path, timeout=0.5)
        try:
            with _said_in_text(path):
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                _require_same(connection, path, written)  # before a byte of another's is changed
                connection.execute("PRAGMA journal_mode = WAL")  # survives a kill, and is quick
                connection.execute("PRAGMA synchronous = NORMAL")
            yield TaskStore(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(
            f"The store {str(path)!r} cannot be used: {error}.",
            "Wait if another run has it open; otherwise name another file, or free some space.",
        ) from error


def _require_same(connection: sqlite3.Connection, path: Path, facts: Mapping[str, str]) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        with connection:
            for statement in _TABLES.strip().split("\n"):
                connection.execute(statement)
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        return
    if not {"facts", "results"} <= tables:
        raise InputError(
            f"{str(path)!r} is a database, and no store of results.", "Name another file."
        )
    (whole,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if whole != "ok":
        raise damaged(path, " ".join(str(whole).split()))
    kept = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    other = [name for name in {**kept, **facts} if kept.get(name) != facts.get(name)]
    if other:
        told = "; ".join(
            f"{name} is {_shown(facts.get(name))} and was {_shown(kept.get(name))}"
            for name in other[:3]
        )
        more = "" if len(other) <= 3 else f" (and {len(other) - 3} more differences)"
        raise InputError(
            f"The store {str(path)!r} belongs to another question: {told}{more}.",
            "Ask as before to go on with it, or name another file.",
        )
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(results)")}
    if "sha256" not in columns:  # of before there were checksums
        with connection:
            connection.execute("ALTER TABLE results ADD COLUMN sha256 TEXT")


def _shown(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
