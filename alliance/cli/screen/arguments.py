"""Messages of the rooms below name arguments, as Python has them: here they become options."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.text import Text

from alliance.data_prep.errors import visible

# An argument in backticks, alone or with a value; or a call.
ARGUMENT = re.compile(r"`([a-z]\w*)(?:=([^`]+)|\([^`]*\))?`")

INSTEAD = {
    'compare_loo(by="therapist")': "`alliance loo RUN --by therapist`",
    "influence()": "`alliance sensitivity RUN --kind influence`",
    "loo_figure()": "`alliance loo RUN --figure FILE`",
    "path": "--out",
    "prior_refits()": "`alliance sensitivity RUN --kind refits`",
    "raise_alliance": "--lift",
    "save_fit()": "`alliance fit --out`",
    "unseen_improvement()": "`alliance sensitivity RUN --kind unseen`",
}
"""What a shell has instead of calls, and of arguments with another name than the option."""


def as_options(text: str) -> str:
    """A message with the arguments that it names as options of this command line.

    What is no option of any command, such as a key of the study file, stays as it is.

    Parameters
    ----------
    text : str
        In the notation of `data_prep.errors`.

    Examples
    --------
    >>> as_options('Give `therapist="none"`, or leave `interaction=False` and `joint` out.')
    'Give --therapist none, or leave --no-interaction and --joint out.'
    >>> as_options("Correct `range`, or ask with `target_accept=0.95` and `extrapolate=True`.")
    'Correct `range`, or ask with --target-accept 0.95 and --extrapolate.'
    """
    return ARGUMENT.sub(_as_option, text) if "`" in text else text


def _as_option(found: re.Match[str]) -> str:
    asked, (name, value) = found[0], found.groups()
    if asked.strip("`") in INSTEAD:
        return INSTEAD[asked.strip("`")]
    option = _options().get(name) if "(" not in asked else None
    if option is None or value is None:
        return option.name if option else asked
    try:
        given = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return asked  # no value as Python writes one: it merely looks like an argument
    if isinstance(given, bool):
        return (option.switch and (option.name if given else option.opposite)) or asked
    several = given if isinstance(given, list | tuple) else [given]
    return f"{option.name} {shlex.quote(','.join(map(str, several)))}"


class Option(NamedTuple):
    """An option of some command: whether it is a switch, and what switches it off."""

    name: str
    switch: bool
    opposite: str


@cache
def _options() -> dict[str, Option]:
    """Options of all commands, by the argument's name."""
    from alliance.cli.app import app  # here, because its commands print through this

    root: Any = typer.main.get_command(app)
    found: dict[str, Option] = {}
    for command in root.commands.values():
        for parameter in command.params:
            if parameter.param_type_name != "option":
                continue
            option = Option(parameter.opts[0], parameter.is_flag, *parameter.secondary_opts or [""])
            name = option.name.removeprefix("--").replace("-", "_")
            found[name] = max(option, found.get(name, option))  # a switch before one with a value
    return found


class Screen(Console):
    """A terminal on which messages name options, and other people's text steers nothing."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text with its markup, as of `rich.console.Console`."""
        return super().render_str(visible(as_options(text)), **options)
