"""Values of covariates as they are typed: ``age=40:70:10`` or ``sex=F,M``."""

from __future__ import annotations

from collections.abc import Sequence

from alliance.value_lists import read_values
from data_prep.errors import InputError


def read_covariates(texts: Sequence[str]) -> dict[str, list[float | str]]:
    """Values of covariates, each as ``NAME=VALUES``.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    dict of str to list
        Numbers where START:END:STEP was written, else the text of each value: only the run knows
        whether a covariate has numbers or levels.

    Raises
    ------
    InputError
        If there is no name or no value, or a covariate is given twice.

    Examples
    --------
    >>> read_covariates(["age=40:60:10", "sex=F,M"])
    {'age': [40.0, 50.0, 60.0], 'sex': ['F', 'M']}
    """
    found: dict[str, list[float | str]] = {}
    for text in texts:
        name, _, values = (part.strip() for part in text.partition("="))
        if not name or not values:
            raise InputError(
                f"--covariate {text!r} does not name a covariate and its values.",
                "Write NAME=VALUES, as age=40:70:10 or sex=F,M.",
            )
        if name in found:
            raise InputError(f"--covariate {name} is given twice.", "Give all its values in one.")
        if ":" in values:
            found[name] = list(read_values(f"--covariate {name}", [values]))
        else:
            found[name] = [value.strip() for value in values.split(",") if value.strip()]
    return found
