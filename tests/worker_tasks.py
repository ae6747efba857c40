"""Tasks for workers, in a module that a new process loads at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any


def third(shared: float, number: int) -> dict[str, Any]:
    """A number that only survives as text if every digit does."""
    return {"value": shared * number / 3}


def slowly(_: float, number: int) -> dict[str, Any]:
    time.sleep(0.5)
    return {"value": number}


def dies_once(folder: str, number: int) -> dict[str, Any]:
    """The process dies with the first task that every third number is."""
    mark = Path(folder) / str(number)
    if number % 3 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": number / 3}


def dies_at_five(_: None, number: int) -> dict[str, Any]:
    if number == 5:
        os._exit(7)
    return {"value": number}


def environment(_: None, name: str) -> dict[str, Any]:
    return {"value": os.environ.get(name)}


def unpicklable(_: None, number: int) -> dict[str, Any]:
    return {"value": threading.Lock()} if number else {"value": 0}
