"""What the house is made of: files, lines, folders and public names of one checkout or several.

    uv run python benchmarks/house.py --root ../before --root .

prints a Markdown table with a column for each checkout (this one by default). Files are those with
Python outside tests and benchmarks; code lines are theirs without docstrings, comments and blanks.
Public names are those of `alliance.__all__`, and each is fetched in a folder that has a `models.py`
and an `inference/` of its own. `--option COMMIT` counts the files that a commit touched which added
an option of the model, outside tests and documents. Nothing is imported from the checkouts but by
Python processes of their own.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

APART = {"tests", "benchmarks", "build", "dist"}  # folders at the top that hold none of the house
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}
LONG = 600  # lines from which `.ci/lengths` asks whether a file is one concept
EVERY_NAME = "import alliance; [getattr(alliance, name) for name in alliance.__all__]"


def python_files(root: Path) -> list[Path]:
    """Python files of a checkout, each once though links lead to it; tests and benchmarks not."""
    found = []
    for folder, below, names in os.walk(root):
        top = Path(folder) == root
        below[:] = [name for name in below if name[0] != "." and not (top and name in APART)]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(path for path in found if not path.is_symlink())


def code_lines(text: str) -> int:
    """Lines of code: without docstrings, comments and blank lines.

    Examples
    --------
    >>> code_lines('# a\\nx = (1,\\n\\n  2)  # b\\ndef f():\\n    \\"\\"\\"Say.\\n    \\"\\"\\"\\n')
    3
    """
    docstrings = {
        (node.body[0].lineno, node.body[0].col_offset)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    }
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE and token.start not in docstrings:
            held |= set(range(token.start[0], token.end[0] + 1))
    return len(held)


def python(root: Path, code: str, folder: Path) -> str | None:
    """What a process prints that imports from `folder` first and then from the checkout."""
    paths = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(root)!r}]; "
    done = subprocess.run(
        [sys.executable, "-c", paths + code], cwd=folder, capture_output=True, text=True
    )
    return None if done.returncode else done.stdout


def public_names(root: Path) -> Iterator[tuple[str, str]]:
    """Number of public names, and whether each is found beside modules of the same name."""
    with tempfile.TemporaryDirectory() as temporary:
        count = python(root, "import alliance; print(len(alliance.__all__))", Path(temporary))
        yield "public names of alliance", (count or "none").strip()
        (Path(temporary) / "models.py").write_text("")
        (Path(temporary) / "inference").mkdir()
        (Path(temporary) / "inference" / "__init__.py").write_text("")
        fetched = python(root, EVERY_NAME, Path(temporary))
        told = "fails" if fetched is None else "works"
        yield "every public name, beside a models.py and inference/", told


def touched(root: Path, commit: str) -> int:
    """Files that a commit touched, outside tests and documents."""
    listed = subprocess.run(
        ["git", "show", "--name-only", "--format=", commit],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    apart = ("tests/", "docs/", "benchmarks/")
    return sum(not name.startswith(apart) and not name.endswith(".md") for name in listed)


def measures(root: Path, option: str | None = None) -> dict[str, str]:
    """The figures of one checkout, by what they are.

    Parameters
    ----------
    root : Path
    option : str, optional
        A commit that added an option of the model.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in python_files(root)}
    lines = {path: len(text.splitlines()) for path, text in texts.items()}
    held = Counter(path.parent.relative_to(root).as_posix() for path in texts)
    [(largest, count)] = held.most_common(1)
    figures = {
        "Python files": f"{len(texts):,}",
        "their lines": f"{sum(lines.values()):,}",
        "of these, code lines": f"{sum(map(code_lines, texts.values())):,}",
        f"files over {LONG} lines": f"{sum(count > LONG for count in lines.values()):,}",
        "folders with Python files": f"{len(held):,}",
        "files in the largest folder": f"{count} ({largest})",
        **dict(public_names(root)),
    }
    if option is not None:
        figures["files that a new option touches"] = str(touched(root, option))
    return figures


def markdown(columns: Mapping[str, Mapping[str, str]]) -> str:
    """A Markdown table of figures by what they are, with a column for each checkout."""
    rows = [["", *columns], ["---", *("---:" for _ in columns)]]
    first = next(iter(columns.values()))
    rows += [[name, *(column[name] for column in columns.values())] for name in first]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(given: Sequence[str] | None = None) -> None:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--root", type=Path, action="append", help="a checkout; may be given several times"
    )
    command.add_argument("--option", metavar="COMMIT", help="that added an option of the model")
    asked = command.parse_args(given)
    roots = [path.resolve() for path in asked.root or [Path(__file__).parents[1]]]
    print(markdown({root.name: measures(root, asked.option) for root in roots}))


if __name__ == "__main__":
    main()
