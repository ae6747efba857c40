"""What a first study file will say, and what may be asked on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from alliance.data_prep.initial.scales import Guess, is_number


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be decided.

    Attributes
    ----------
    text : str
    default : str
        What is taken where nobody is asked.
    choices : tuple of str
        What may be answered; empty where any text may.
    several : bool
        Whether several of the choices may be given, with commas between.
    range : bool
        Whether two numbers are asked for, the lower one first.
    """

    text: str
    default: str
    choices: tuple[str, ...] = ()
    several: bool = False
    range: bool = False


def ends_of(text: str) -> tuple[float, float] | None:
    """Two numbers with a comma between, the lower one first; None if it is something else.

    Examples
    --------
    >>> ends_of("0, 27"), ends_of("27, 0"), ends_of("0 to 27")
    ((0.0, 27.0), None, None)
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(map(is_number, parts)):
        return None
    low, high = map(float, parts)
    return (low, high) if low < high else None


type Ask = Callable[[Question], str]


def decide_alone(question: Question) -> str:
    """Answer a question by its default."""
    return question.default


@dataclass(frozen=True, slots=True)
class OutcomeGuess:
    """An outcome as it is guessed; of two values what the event is, empty where it is plain."""

    name: str
    label: str
    followup: Guess[str]
    baseline: Guess[str] | None
    range: Guess[tuple[float, float]]
    better: Guess[str]
    event: Guess[str] | None = None
    others: tuple[str, ...] = ()


@dataclass
class Draft:
    """What a study file will say."""

    source: str
    title: str
    patient: Guess[str] | None = None
    therapist: Guess[str] | None = None
    clinic: Guess[str] | None = None
    arm: Guess[str] | None = None
    arms: dict[str, str] = field(default_factory=dict)
    arms_why: str = ""
    moderator: Guess[str] | None = None
    moderator_label: str = ""
    items: tuple[str, ...] = ()
    reverse: Guess[tuple[str, ...]] = field(default_factory=lambda: Guess((), ""))
    item_range: tuple[float, float] = (0, 0)
    moderator_range: Guess[tuple[float, float]] = field(default_factory=lambda: Guess((0, 1), ""))
    moderator_is_baseline: bool = False
    covariates: dict[str, str] = field(default_factory=dict)
    covariate_labels: dict[str, str] = field(default_factory=dict)
    categorical: list[str] = field(default_factory=list)
    continuous: list[str] = field(default_factory=list)
    outcomes: list[OutcomeGuess] = field(default_factory=list)
    missing: dict[str, Guess[tuple[str, ...]]] = field(default_factory=dict)
    without_therapist: tuple[str, ...] = ()
    moderator_arms: tuple[str, ...] = ()
    unused: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
