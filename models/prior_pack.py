"""The prior pack: what the field knows, each entry with its source and how it was read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from alliance.data_prep.errors import InputError, nearest
from alliance.data_prep.study.toml_files import parse_toml

PACK = Path(__file__).with_name("prior_pack.toml")
NORMAL_95 = 1.959963984540054  # quantile of the normal distribution at 97.5%


class Evidence(BaseModel):
    """One entry of the pack.

    Attributes
    ----------
    about : str
    quantity : str
        That it is a prior of: ``moderator_slope``, ``therapist_share``, ``reliability``, ...
    scale : str
        What the value is counted in.
    value, lower, upper : float or None
        A mean with its 95% interval.
    smallest, largest : float or None
        The range over studies.
    studies : int or None
    heterogeneity, assumed_heterogeneity : float or None
        SD of true values between studies: as printed, or our choice where it was not read.
    source : str
    known_by : {"abstract", "secondary", "derived", "assumed"}
    note : str or None
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    quantity: str
    scale: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    smallest: float | None = None
    largest: float | None = None
    studies: int | None = None
    heterogeneity: float | None = None
    assumed_heterogeneity: float | None = None
    source: str
    known_by: Literal["abstract", "secondary", "derived", "assumed"]
    note: str | None = None

    @property
    def error(self) -> float:
        """Standard error of the mean; zero where no interval was read."""
        if self.lower is None or self.upper is None:
            return 0.0
        return (self.upper - self.lower) / (2 * NORMAL_95)

    @property
    def spread(self) -> float:
        """SD of the value in a new study: of the mean, and between studies."""
        between = self.heterogeneity or self.assumed_heterogeneity or 0.0
        return (self.error**2 + between**2) ** 0.5


@cache
def prior_pack() -> dict[str, Evidence]:
    """Every entry, by name."""
    content = parse_toml(PACK.read_bytes(), PACK.name)
    return {name: Evidence.model_validate(entry) for name, entry in content.items()}


def evidence(name: str, quantity: str | None = None) -> Evidence:
    """One entry.

    Parameters
    ----------
    name : str
    quantity : str, optional
        That it must be a prior of.

    Raises
    ------
    InputError
        If there is no such entry, or it speaks of another quantity.
    """
    pack = prior_pack()
    fit = {key: each for key, each in pack.items() if quantity in (None, each.quantity)}
    if name not in pack:
        raise InputError(f"The prior pack has no entry {name!r}.", nearest(name, fit or pack))
    if name not in fit:
        raise InputError(
            f"The entry {name!r} of the prior pack is of {pack[name].quantity}, not of {quantity}.",
            nearest(name, fit) if fit else "The pack has none for it.",
        )
    return pack[name]
