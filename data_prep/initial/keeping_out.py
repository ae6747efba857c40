"""Lines of .gitignore that keep patients' data out of a repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from alliance.data_prep.partial_files import current_umask, write_partial

NAME = ".gitignore"
HEADING = "# Patients' data, and runs, which hold them: never in a repository"
ALWAYS = ("*.nc",)  # draws of runs, with the patients that they belong to
_SPECIAL = "\\#!*?[ "


def keep_out(folder: Path, files: Sequence[str]) -> bool:
    """Write or extend the .gitignore of a folder; lines that stand there are kept.

    Parameters
    ----------
    folder : Path
    files : sequence of str
        Names of files in it.

    Returns
    -------
    bool
        Whether anything was added.
    """
    path = folder / NAME
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    there = {line.strip() for line in before.splitlines()}
    lines = [line for line in (*map(pattern, files), *ALWAYS) if line not in there]
    if not lines:
        return False
    start = before if not before or before.endswith("\n") else f"{before}\n"
    head = [] if HEADING in there else [*([""] if start else []), HEADING]
    target = path.resolve()  # of a link, what it leads to
    mode = target.stat().st_mode & 0o777 if path.is_file() else 0o666 & ~current_umask()
    partial = write_partial(target, (start + "\n".join([*head, *lines]) + "\n").encode())
    partial.chmod(mode)
    os.replace(partial, target)
    return True


def pattern(name: str) -> str:
    r"""Return the line that stands for one file of the folder.

    Examples
    --------
    >>> print(pattern("trial data [1].csv"))
    /trial\ data\ \[1].csv
    """
    return "/" + "".join(f"\\{each}" if each in _SPECIAL else each for each in name)
