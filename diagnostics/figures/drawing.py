"""How a figure is to be drawn: its size, its letters, and whether it bears its caption."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache

from matplotlib import font_manager

from alliance.data_prep.errors import InputError, nearest

MM_PER_INCH = 25.4
SIZES = (50.0, 1000.0)  # millimetres: narrower than any column, and larger than a poster
RESOLUTIONS = (50, 1200)  # of a screen; and of line art, which asks for most
USUAL_DPI = 150
FULL_INCHES = 6.0  # from this width on letters have their usual size
LEAST_SCALE = 0.78  # of letters in one column of a journal: 9 points become 7, and 7 become 5.5


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a reader may ask of every figure.

    Attributes
    ----------
    width, height : float or None
        Millimetres; None for what the figure needs.
    dpi : int
        Dots to an inch, of PNG.
    caption : bool
        Whether title and caption stand in the figure. That data are simulated always does.
    font : str or None
        Name of an installed font.

    Raises
    ------
    InputError
        If a size or a resolution is none, or the font is not installed.
    """

    width: float | None = None
    height: float | None = None
    dpi: int = USUAL_DPI
    caption: bool = True
    font: str | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if value is not None and not (SIZES[0] <= value <= SIZES[1]):
                raise InputError(
                    f"A figure cannot be {value:g} mm {_ACROSS[name]}.",
                    f"Give `{name}` in millimetres, from {SIZES[0]:g} to {SIZES[1]:g}: journals "
                    "have columns of about 85 mm and pages of about 180 mm.",
                )
        if not RESOLUTIONS[0] <= self.dpi <= RESOLUTIONS[1]:
            raise InputError(
                f"A figure cannot have {self.dpi} dots to an inch.",
                f"Give `dpi` from {RESOLUTIONS[0]} to {RESOLUTIONS[1]}: journals ask for 300 to "
                "600.",
            )
        if self.font is not None and self.font not in _fonts():
            raise InputError(
                f"There is no font {self.font!r} on this machine.",
                nearest(self.font, sorted(_fonts())),
            )

    def inches(self, natural: float) -> float:
        """Width of a figure that has a natural one.

        Parameters
        ----------
        natural : float
            Inches.
        """
        return natural if self.width is None else self.width / MM_PER_INCH

    @property
    def scale(self) -> float:
        """What letters are multiplied by, so that a narrow figure has room for them."""
        if self.width is None:
            return 1.0
        return min(1.0, max(LEAST_SCALE, self.width / MM_PER_INCH / FULL_INCHES))


_ACROSS = {"width": "wide", "height": "high"}
_drawing: ContextVar[Drawing] = ContextVar("drawing", default=Drawing())  # noqa: B039  # frozen


@cache
def _fonts() -> frozenset[str]:
    return frozenset(font_manager.get_font_names())


def asked() -> Drawing:
    """What is asked of the figures that are drawn now."""
    return _drawing.get()


@contextmanager
def drawn_as(drawing: Drawing) -> Iterator[None]:
    """Have every figure within drawn and saved like this.

    Parameters
    ----------
    drawing : Drawing
    """
    token = _drawing.set(drawing)
    try:
        yield
    finally:
        _drawing.reset(token)


def columns_of(wanted: int, natural: float, least: float) -> int:
    """How many panels stand side by side.

    Parameters
    ----------
    wanted : int
        Panels that there are.
    natural : float
        Inches of the figure where nobody says how wide it is.
    least : float
        Inches that a panel with its labels needs, with letters of the usual size.
    """
    drawing = asked()
    if drawing.width is None:
        return wanted
    room = math.floor(drawing.inches(natural) / (least * drawing.scale) + 1e-9)
    return max(1, min(wanted, room))
