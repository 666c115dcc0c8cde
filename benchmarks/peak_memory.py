"""Peak memory of a process."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def peak_above(work: Callable[[], object]) -> int:
    """Measure the peak of the resident memory during `work`, above the memory before it.

    Without ``/proc``, the peak is that since the process was started, so `work` must be the call
    that needs most memory.

    Parameters
    ----------
    work : callable

    Returns
    -------
    int
        Bytes.
    """
    gc.collect()
    if not _CLEAR_REFS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    _CLEAR_REFS.write_text("5")  # resets the peak
    before = _read("VmRSS")
    work()
    return _read("VmHWM") - before


def resident() -> int:
    """Return the resident memory of this process in bytes, or 0 without ``/proc``."""
    return _read("VmRSS") if _STATUS.exists() else 0


def _read(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {field}.")
