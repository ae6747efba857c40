"""Every command with its arguments and options, from the command line itself."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from _site.markdown import plain, table
from alliance.cli.app import GROUPS, app, told, typed


def commands() -> str:
    """Markdown of all commands, in the groups of the help."""
    front = typer.main.get_command(app)
    parts = []
    for group, (_, names) in GROUPS.items():
        parts.append(f"## {group}\n")
        for name in names:
            command: Any = front.commands[name]  # type: ignore[attr-defined]
            parts.append(_command(name, command, command.make_context(name, [], **ASKED)))
    return "\n".join(parts)


ASKED: dict[str, Any] = {"resilient_parsing": True}  # a context without arguments


def _command(name: str, command: Any, context: Any) -> str:
    text = [f"### {name}\n"]
    text += [f"{plain(' '.join(part.split()))}\n" for part in _paragraphs(command.help or "")]
    panels: dict[str, list[tuple[str, str]]] = {}
    for each in command.get_params(context):
        if each.name == "help":
            continue
        argument = each.param_type_name == "argument"
        panel = getattr(each, "rich_help_panel", None) or ("Argument" if argument else "Option")
        panels.setdefault(panel, []).append((f"`{typed(each, context)}`", plain(told(each))))
    text += [table((panel, ""), rows) for panel, rows in panels.items()]
    return "\n".join(text)


def _paragraphs(text: str) -> list[str]:
    return inspect.cleandoc(text).split("\n\n")
