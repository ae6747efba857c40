"""What every benchmark prints and writes: figures, targets, versions and the machine's load."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

CONSOLE_WIDTH = 200  # where the output is not a terminal, so that tables keep their columns


@dataclass(frozen=True, slots=True)
class Target:
    """A figure held against the limit that the project promises.

    Attributes
    ----------
    what : str
    value : float
    limit : float
    unit : str
    at_least : bool
        Whether the limit is the smallest value allowed instead of the greatest.
    """

    what: str
    value: float
    limit: float
    unit: str = "s"
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the figure keeps to its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """Mean number of processes that ran or waited to run during the last minute."""
    return os.getloadavg()[0]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and, in brackets, the smallest and the greatest value."""
    median = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Command line with the option that all benchmarks share."""
    command = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--out", type=Path, help="also write the figures as JSON, for example to results/NAME.json"
    )
    return command


def console() -> Console:
    """Console for the results, on stdout."""
    found = Console()
    return found if found.is_terminal else Console(width=CONSOLE_WIDTH)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Table whose first column is text and whose other columns are figures."""
    made = Table(title=title, title_justify="left")
    for position, name in enumerate(columns):
        made.add_column(name, justify="left" if position == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made


def finish(
    out: Console,
    targets: Sequence[Target],
    figures: Mapping[str, Any],
    packages: Mapping[str, str],
    path: Path | None,
) -> int:
    """Print the targets and the versions, write the JSON file, and give the exit code.

    Parameters
    ----------
    out : Console
    targets : sequence of Target
    figures : mapping
        Plain values, for the JSON file.
    packages : mapping of str to str
        Versions by name.
    path : Path or None
        Where the JSON file goes.

    Returns
    -------
    int
        1 if a target is missed, else 0.
    """
    rows = []
    for target in targets:
        value = f"{target.value:,.2f} {target.unit}".rstrip()
        limit = f"{'at least' if target.at_least else 'at most'} {target.limit:g} {target.unit}"
        rows.append((target.what, value, limit.rstrip(), "holds" if target.holds else "MISSED"))
    out.print(table("Targets", ["", "measured", "promised", "verdict"], rows))
    listed = ", ".join(f"{name} {number}" for name, number in packages.items())
    out.print(f"{cores()} cores, load average now {load():.2f}. {listed}.", highlight=False)
    if path is not None:
        record = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": cores(),
            "load_average": load(),
            "versions": dict(packages),
            "targets": [asdict(target) | {"holds": target.holds} for target in targets],
            **figures,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if all(target.holds for target in targets) else 1


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages."""
    return {name: version(name) for name in packages}
