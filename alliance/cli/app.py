"""The command line: its commands, how they explain themselves, and how faults leave them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from alliance._version import __version__
from alliance.cli.figure_options import with_figure_options
from alliance.cli.files import (
    fault_of_machine,
    leave_quietly,
    open_outputs,
    require_places,
    say_of_caches,
    tidy,
    with_file_options,
)
from alliance.cli.options import with_model_options

# The groups of the help, each with its module of `alliance.cli.commands` and the commands in it. A
# module is imported when a command of it runs or explains itself.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Start": ("start", ("demo", "init", "simulate", "check", "fit")),
    "Look at a run": ("look", ("summary", "compare", "diagnose", "report", "explore")),
    "Several trials in one model": ("trials", ("trials",)),
    "Without the patients' rows": ("without_rows", ("share", "paper")),
    "Answer a question": ("answer", ("predict", "effects", "decide", "therapists", "missing")),
    "Check the model": (
        "model_checks",
        ("ppc", "loo", "sensitivity", "prior", "reproduce", "verify"),
    ),
    "Plan a trial or an analysis": ("plan", ("calibrate", "assurance", "multiverse")),
}
MODULES = {name: module for module, names in GROUPS.values() for name in names}
LIGHT = ("paper",)  # commands that need neither draws nor a table of patients
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
# Columns of the help for names and kinds of values: on a narrow terminal, and on a wide one
NARROW, WIDE, FROM = 33, 46, 100
KINDS = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "path": "PATH", "file": "PATH"}


class _Command(TyperCommand):
    """A command that explains itself with room for every word, on a narrow terminal too."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for each in self.get_params(ctx):
            argument = each.param_type_name == "argument"
            panel = getattr(each, "rich_help_panel", None)
            panel = panel or ("Arguments" if argument else "Options")
            panels.setdefault(panel, []).append((typed(each, ctx), told(each)))
        _explain(self.get_usage(ctx), self.help or "", panels)


class _Commands(Mapping[str, TyperCommand]):
    """The commands by name, each made when it is asked for: no command waits for the others."""

    def __getitem__(self, name: str) -> TyperCommand:
        function = _function(name)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name, cls=_Command, context_settings=HELP_OPTIONS)(
            with_file_options(_guarded(with_figure_options(with_model_options(function))))
        )
        made = typer.main.get_command(alone)
        assert isinstance(made, TyperCommand)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class _Front(TyperGroup):
    """`alliance` itself, whose commands stand in groups."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        options = [(typed(each, ctx), told(each)) for each in self.get_params(ctx)]
        groups = {
            title: [(name, (_function(name).__doc__ or "").partition("\n")[0]) for name in names]
            for title, (_, names) in GROUPS.items()
        }
        _explain(self.get_usage(ctx), self.help or "", {**groups, "Options": options})


def _function(name: str) -> Callable[..., None]:
    function: Callable[..., None] = getattr(
        import_module(f"alliance.cli.commands.{MODULES[name]}"), name
    )
    return function


def _guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what a user can mend into a message and an exit code, without a traceback."""

    @wraps(function)
    def guarded(**given: Any) -> None:
        from alliance.cli import screen
        from alliance.cli.runs import INTERRUPTED
        from alliance.data_prep.errors import DataError, IncompleteSamplingError, InputError

        try:
            if function.__name__ in LIGHT:
                gc.disable()  # it ends before collecting pays
            else:
                _import_quickly()
            say_of_caches(screen.note)
            for sentence in tidy(given):
                screen.note(sentence)
            require_places(given)
            function(**given)
        except DataError as error:
            screen.problems(error)
            raise typer.Exit(error.exit_code) from None
        except InputError as error:
            screen.error(str(error))
            raise typer.Exit(error.exit_code) from None
        except IncompleteSamplingError as error:
            screen.error(f"{error} No run was written; fit again, or with another --seed.")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            screen.error("Interrupted: no run was written.")
            raise typer.Exit(INTERRUPTED) from None
        except (OSError, MemoryError) as error:
            if isinstance(error, BrokenPipeError):  # whoever read the output has had enough
                leave_quietly()
            screen.error(fault_of_machine(error))
            raise typer.Exit(2) from None

    return guarded


def _import_quickly() -> None:
    """Import what every command needs and takes long."""
    gc.disable()  # what is imported stays: collecting in it takes a tenth of a short command
    import_module("arviz_stats")  # first: its time grows with the number of modules before it
    import_module("alliance.data_prep.trial.trial")
    gc.freeze()
    gc.enable()


def typed(parameter: Any, ctx: Any) -> str:
    """How an argument or an option is typed: its names, and what kind of value follows."""
    kind = parameter.metavar or _kind(parameter.display_type(ctx).strip("<>"))
    if parameter.param_type_name == "argument":
        return str(kind)
    short = [name for name in parameter.opts if not name.startswith("--")]
    long = [name for name in parameter.opts if name.startswith("--")]
    names = ", ".join([*long, *short])
    if parameter.is_flag:
        return " / ".join([names, *parameter.secondary_opts])
    return f"{names} {kind}"


def _kind(text: str) -> str:
    return KINDS.get(text.removeprefix("list[").removesuffix("]").removesuffix(" range"), text)


def told(parameter: Any) -> str:
    """What an argument or an option is for, with its default or that it is needed."""
    default = parameter.default
    known = "" if default is None or default is False or default == [] else f" [default: {default}]"
    return f"{parameter.help or ''}{' [required]' if parameter.required else known}"


def _explain(usage: str, text: str, panels: Mapping[str, Iterable[tuple[str, str]]]) -> None:
    """Print usage, paragraphs, and panels of two columns, in which no word is cut."""
    from rich.box import ROUNDED
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console = Console(emoji=False, highlight=False)
    console.print(Padding(Text(usage, style="bold"), 1))
    for paragraph in text.split("\n\n"):
        console.print(Padding(Text(" ".join(paragraph.split())), (0, 1, 1, 1)))
    rows = [row for panel in panels.values() for row in panel]
    most = NARROW if console.width < FROM else WIDE
    width = min(most, max(len(typed) for typed, _ in rows))
    for title, panel in panels.items():
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="bold cyan", width=width, overflow="fold")
        grid.add_column(ratio=1, overflow="fold")
        for names, text in panel:
            grid.add_row(Text(names), Text(text))
        if grid.row_count:
            shown = Panel(grid, title=title, title_align="left", box=ROUNDED, border_style="dim")
            console.print(shown)


app = typer.Typer(
    name="alliance",
    cls=_Front,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
    help="Does the working alliance predict how a treatment turns out, and which treatment "
    "works?\n\nExit codes: 0 fine; 2 wrong input or usage; 3 the diagnostics gate failed, or a run "
    "was not reproduced.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alliance {__version__}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    open_outputs()
    try:
        app()
    except BrokenPipeError:
        leave_quietly()
    finally:
        gc.freeze()  # or the end of the process looks at everything once more
