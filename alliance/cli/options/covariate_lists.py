"""Values of covariates as they are typed: ``age=40:70:10`` or ``sex=F,M``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alliance.cli.options.value_lists import read_values
from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.levels import quoted


def read_covariates(
    texts: Sequence[str], known: Mapping[str, Sequence[str] | None]
) -> dict[str, list[float | str]]:
    """Values of covariates, each as ``NAME=VALUES``.

    Parameters
    ----------
    texts : sequence of str
    known : mapping of str to sequence of str, or None
        The run's covariates with their levels; None where a covariate is numbers.

    Returns
    -------
    dict of str to list
        Numbers, or levels. Levels stand between commas; a level with commas in it is found as a
        whole, and one in double quotes is always one level.

    Raises
    ------
    InputError
        If there is no name or no value, or a covariate is given twice or is none of the run.

    Examples
    --------
    >>> read_covariates(["age=40:60:10", "sex=F,M"], {"age": None, "sex": ("F", "M")})
    {'age': [40.0, 50.0, 60.0], 'sex': ['F', 'M']}
    >>> read_covariates(["sex=w, female,m"], {"sex": ("m", "w, female")})
    {'sex': ['w, female', 'm']}
    """
    found: dict[str, list[float | str]] = {}
    for text in texts:
        name, values = _named(text, known)
        if name in found:
            raise InputError(f"--covariate {name} is given twice.", "Give all its values in one.")
        levels = known[name]
        if levels is not None:
            found[name] = [*_levels(values, levels)]
        elif ":" in values:
            found[name] = list(read_values(f"--covariate {name}", [values]))
        else:
            found[name] = [value.strip() for value in values.split(",") if value.strip()]
    return found


def _named(text: str, known: Mapping[str, object]) -> tuple[str, str]:
    """Name and values; names with an equals sign in them are found as a whole."""
    for name in sorted(known, key=len, reverse=True):
        rest = text.strip().removeprefix(name).lstrip()
        if text.strip().startswith(name) and rest.startswith("=") and rest[1:].strip():
            return name, rest[1:].strip()
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name and equals and values) or name in known:
        raise InputError(
            f"--covariate {text!r} does not name a covariate and its values.",
            "Write NAME=VALUES, as age=40:70:10 or sex=F,M.",
        )
    remedy = nearest(name, list(known)) if known else "The study names no covariates."
    raise InputError(f"The run has no covariate {name!r}.", remedy)


def _levels(text: str, levels: Sequence[str]) -> list[str]:
    """The levels in a text, each as long as it can be; pieces as they stand if some are none."""
    spelled = {quoted(level): level for level in levels} | {level: level for level in levels}
    pieces = text.split(",")
    rest: dict[int, list[str] | None] = {len(pieces): []}
    for start in reversed(range(len(pieces))):
        rest[start] = None
        for end in range(len(pieces), start, -1):
            whole, after = ",".join(pieces[start:end]).strip(), rest[end]
            if whole in spelled and after is not None:
                rest[start] = [spelled[whole], *after]
                break
    found = rest[0]
    return [piece.strip() for piece in pieces if piece.strip()] if found is None else found
