"""How much more memory a process and those that it started held at their peak."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
# Seconds between two looks. What a search holds, it holds longer.
_INTERVAL = 0.02


def can_measure() -> bool:
    """Tell whether the memory of other processes can be read here."""
    return (_PROC / "self" / "smaps_rollup").exists()


def peak_above(work: Callable[[], object]) -> int:
    """Measure the peak of the proportional memory of all processes during `work`.

    Proportional: pages that several processes share are counted once altogether. What this
    process held before is subtracted, so processes that it has started already count in full.

    Parameters
    ----------
    work : callable

    Returns
    -------
    int
        Bytes.
    """
    gc.collect()
    before = peak = _held(os.getpid())
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, sum(_held(pid) for pid in _family(os.getpid())))
            done.wait(_INTERVAL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak - before


def _family(root: int) -> list[int]:
    """List a process, its children, their children, and so on."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            # The name of a program, in parentheses, may hold anything.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    family = [root]
    for member in family:
        family.extend(children.get(member, ()))
    return family


def _held(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
