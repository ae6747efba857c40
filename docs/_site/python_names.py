"""The public names of `alliance` with their docstrings, for autodoc."""

from __future__ import annotations

import inspect

import alliance


def python_names() -> str:
    """A part in reStructuredText, the language of docstrings."""
    lines = ["```{eval-rst}", ".. currentmodule:: alliance", ""]
    for name in alliance.__all__:
        public = getattr(alliance, name)
        if name.startswith("__"):
            continue
        if inspect.isclass(public):
            lines += [f".. autoclass:: {name}", "   :members:", ""]
        else:
            lines += [f".. autofunction:: {name}", ""]
    return "\n".join([*lines, "```", ""])
