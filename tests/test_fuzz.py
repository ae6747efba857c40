"""A slice of the fuzzing: the same damaged files each time. All of it: `tests/fuzz.py`."""

from __future__ import annotations

import sys

import pytest
from fuzz import KINDS, fuzz


@pytest.mark.skipif(sys.platform == "win32", reason="processes are bounded and forked as on Unix")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_read_or_refused(kind: str) -> None:
    """No traceback, no crash, no hang in 20 s and 2 GB, no change that nobody is told of."""
    counts, failures = fuzz(kind, inputs=12, seed=2026)
    assert failures == []
    assert counts["read"] + counts["refused"] == 12
