"""How every command runs: faults become messages and exit codes, and runs are read back."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from alliance.cli.files import (
    asked,
    fault_of_machine,
    leave_quietly,
    require_places,
    say_of_caches,
    tidy,
)
from alliance.cli.screen import render
from alliance.data_prep.errors import DataError, IncompleteSamplingError, InputError
from alliance.data_prep.study.description import find_study, read_study

GATE_FAILED = 3
INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what a user can mend into a message and an exit code, without a traceback."""

    @wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            say_of_caches(render.note)
            given = inspect.signature(function).bind(*arguments, **options).arguments
            for sentence in tidy(given):
                render.note(sentence)
            require_places(given)
            function(*arguments, **options)
        except DataError as error:
            render.problems(error)
            raise typer.Exit(error.exit_code) from None
        except InputError as error:
            render.error(str(error))
            raise typer.Exit(error.exit_code) from None
        except IncompleteSamplingError as error:
            render.error(f"{error} No run was written; fit again, or with another --seed.")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            render.error("Interrupted: no run was written.")
            raise typer.Exit(INTERRUPTED) from None
        except (OSError, MemoryError) as error:
            if isinstance(error, BrokenPipeError):  # whoever read the output has had enough
                leave_quietly()
            render.error(fault_of_machine(error))
            raise typer.Exit(2) from None

    return guarded


def typed(value: Path | str) -> str:
    """A path or a name as it is typed in a shell, within a command that a message advises.

    Parameters
    ----------
    value : Path or str

    Examples
    --------
    >>> typed(Path("runs/pain")), typed(Path("my runs/pain & sleep")), typed(Path("-x"))
    ('runs/pain', "'my runs/pain & sleep'", './-x')
    """
    text = str(value)
    if isinstance(value, Path) and text.startswith("-"):  # else it would be taken for an option
        text = f"./{text}"
    return shlex.quote(text)


def load_run(
    run: Path, study: str | None = None, data: Path | None = None, *, rows: bool = True
) -> Any:
    """Read a run folder, and tell what does not match as notes.

    Parameters
    ----------
    run : Path
    study, data : optional
        A study and a data file to hold against those that were fitted.
    rows : bool
        Whether patients' rows are needed, which runs of many files do not hold.
    """
    from alliance.inference.posterior import refuse_rows
    from alliance.inference.runs.run_folder import load_fit

    described = None if study is None else read_study(find_study(study))
    fitted = load_fit(run, study=described, data=data, accept_changed=asked("accept_changed"))
    for difference in fitted.differences:
        render.note(difference)
    if rows and fitted.rowless:
        raise refuse_rows()
    return fitted
