"""Options of every command that draws: how large a figure is, its letters, and its caption.

They are added where a command has `--figure`, as `alliance.cli.files` adds those of files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

PANEL = "Figure"
OPTIONS: dict[str, tuple[Any, Any, Any]] = {
    "width": (
        float | None,
        None,
        typer.Option(
            metavar="MM",
            help="Width of the figure: 85 for a column of a journal, 180 for its page.",
            rich_help_panel=PANEL,
        ),
    ),
    "height": (
        float | None,
        None,
        typer.Option(
            metavar="MM",
            help="Height of the figure; what it needs by default.",
            rich_help_panel=PANEL,
        ),
    ),
    "dpi": (
        int,
        150,
        typer.Option(help="Dots to an inch, of PNG: journals ask for 300.", rich_help_panel=PANEL),
    ),
    "caption": (
        bool,
        True,
        typer.Option(
            "--caption/--no-caption",
            help="Title and caption in the figure; without, the caption is printed.",
            rich_help_panel=PANEL,
        ),
    ),
    "font": (
        str | None,
        None,
        typer.Option(
            metavar="NAME", help="An installed font, such as Arial.", rich_help_panel=PANEL
        ),
    ),
}
"""By name: type, default, and what Typer is told."""


def with_figure_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that draws the options of figures, and have its figures drawn by them.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
        The command itself if it draws nothing.
    """
    signature = inspect.signature(command, eval_str=True)
    if "figure" not in signature.parameters:
        return command

    @wraps(command)
    def called(**given: Any) -> None:
        asked = {name: given.pop(name) for name in OPTIONS}
        usual = {name: default for name, (_, default, _) in OPTIONS.items()}
        if given["figure"] is None:
            if asked != usual:
                typed = next(name for name in OPTIONS if asked[name] != usual[name])
                option = "--no-caption" if typed == "caption" else f"--{typed}"
                raise typer.BadParameter(
                    "there is no figure that it could be of. Add --figure FILE.", param_hint=option
                )
            command(**given)
            return
        from alliance.diagnostics.figures.drawing import Drawing, drawn_as

        with drawn_as(Drawing(**asked)):
            command(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(kind=keyword) for each in signature.parameters.values()]
    more = [
        inspect.Parameter(name, keyword, default=default, annotation=Annotated[kind, option])
        for name, (kind, default, option) in OPTIONS.items()
    ]
    called.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]  # what Typer reads
    return called
