"""Peak memory of a process and its child processes."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
# Seconds between two samples. A search holds its memory longer than that.
_INTERVAL = 0.02


def can_measure() -> bool:
    """Return whether the memory of other processes can be read on this system."""
    return (_PROC / "self" / "smaps_rollup").exists()


def peak_above(work: Callable[[], object]) -> int:
    """Measure the peak of the proportional memory of all processes during `work`.

    Proportional means that pages that several processes share are counted once in total. The
    memory of this process before `work` is subtracted; processes that it has already started are
    counted in full.

    Parameters
    ----------
    work : callable

    Returns
    -------
    int
        Bytes.
    """
    gc.collect()
    before = peak = _memory_of(os.getpid())
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, sum(_memory_of(pid) for pid in _process_tree(os.getpid())))
            done.wait(_INTERVAL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak - before


def _process_tree(root: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            # The program name, in parentheses, may contain spaces and parentheses.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has just ended
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def _memory_of(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # the process has just ended
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
