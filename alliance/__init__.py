"""Does the bond between patient and therapist predict how a treatment turns out?

A trial's file and a study's description go in; posterior answers come out, beside the published
linear models. Every answer has ``.table``, ``.draws`` and ``.plot()``, and shows itself in a
notebook.

Examples
--------
>>> import alliance as al
>>> study = al.study("headache")  # one that comes along, a study.toml or a folder
>>> trial = study.read("headache.csv")  # doctest: +SKIP
>>> run = al.fit(trial, seed=1)  # doctest: +SKIP
>>> run.summary()  # doctest: +SKIP
>>> run["headache_12m"].predict(alliance=40).chance(at_most=25)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alliance._version import __version__

_HERE = Path(__file__).parent
if (_HERE / "models").is_file():  # a checkout without symbolic links: the rooms stand beside
    __path__.append(str(_HERE.parent))

if TYPE_CHECKING:
    from alliance.answer import Answer
    from alliance.data_prep.errors import DataError, IncompleteSamplingError, InputError
    from alliance.many_fits import assurance, calibrate, multiverse
    from alliance.outcome import EffectCurves, FittedOutcome, Predictions
    from alliance.run import Run, fit, load, side_by_side
    from alliance.trial import Study, Trial, simulate, studies, study
    from alliance.without_rows import paper, share

# Names are fetched when they are first used: `alliance --help` must not wait for pandas or PyMC.
_HOMES = {
    "alliance.answer": ("Answer",),
    "alliance.data_prep.errors": ("DataError", "IncompleteSamplingError", "InputError"),
    "alliance.many_fits": ("assurance", "calibrate", "multiverse"),
    "alliance.outcome": ("EffectCurves", "FittedOutcome", "Predictions"),
    "alliance.run": ("Run", "fit", "load", "side_by_side"),
    "alliance.trial": ("Study", "Trial", "simulate", "studies", "study"),
    "alliance.without_rows": ("paper", "share"),
}

__all__ = [
    "Answer",
    "DataError",
    "EffectCurves",
    "FittedOutcome",
    "IncompleteSamplingError",
    "InputError",
    "Predictions",
    "Run",
    "Study",
    "Trial",
    "__version__",
    "assurance",
    "calibrate",
    "fit",
    "load",
    "multiverse",
    "paper",
    "share",
    "side_by_side",
    "simulate",
    "studies",
    "study",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'alliance' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
