"""The machine that draws were made on: another one may round differently."""

from __future__ import annotations

import platform

import llvmlite.binding  # what numba, a dependency, compiles with


def this_machine() -> dict[str, str]:
    """What of the machine can move a draw.

    Returns
    -------
    dict
        ``system`` and ``machine`` as `platform` names them, and ``cpu``, the name of the processor
        that models are compiled for: its instructions decide how sums are rounded.
    """
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": llvmlite.binding.get_host_cpu_name(),
    }
