"""Measure what serving a model costs: one row, 1,000 rows, memory, and the start of a process.

Every model is served by a process of its own, with one thread. The processes take turns, so that
what else the machine does affects all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import threads
from benchmarks.machine import describe

if TYPE_CHECKING:
    from benchmarks.serving.models import Served

_REPEATS = {1: 200, 1000: 20}
_PEER = "StandardScaler, MLPClassifier"


class Process:
    """A process that serves a model.

    Parameters
    ----------
    served : Served

    Attributes
    ----------
    seconds_to_start : float
        Until the first request was answered.
    """

    def __init__(self, served: Served):
        command = [sys.executable, "-m", "benchmarks.serving.worker", served.kind]
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, str(served.model), str(served.requests)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self._read()
        self.seconds_to_start = time.perf_counter() - begin

    def ask(self, line: str) -> float:
        """Send a line and return the number that comes back."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return float(self._read())

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The process that serves the model has ended.")
        return line


def measure(served: Served, n_starts: int) -> tuple[Process, float]:
    """Start a process several times; return the last one and the median of the seconds."""
    seconds = []
    for i in range(n_starts):
        process = Process(served)
        seconds.append(process.seconds_to_start)
        if i < n_starts - 1:
            process.stop()
    return process, median(seconds)


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="default: 30")
    parser.add_argument("--starts", type=int, default=5, help="default: 5")
    arguments = parser.parse_args()
    threads.limit(1)
    from benchmarks.serving.models import SIZES, save_all

    with tempfile.TemporaryDirectory() as folder:
        served = save_all(Path(folder))
        started = {each.name: measure(each, arguments.starts) for each in served}
        times: dict[tuple[str, int], list[float]] = {}
        for _ in range(arguments.rounds):
            for size in SIZES:
                for name, (process, _) in started.items():
                    seconds = process.ask(f"{size} {_REPEATS[size]}")
                    times.setdefault((name, size), []).append(seconds)
        print(", ".join(f"{key} {value}" for key, value in describe("cpu").items()))
        titles = (
            "model | 1 row, ms | ratio | 1,000 rows, ms | ratio | memory, MB | start, s | file, kB"
        )
        print(f"\n| {titles} |")
        print("| --- | --: | --: | --: | --: | --: | --: | --: |")
        for each in served:
            process, start = started[each.name]
            cells = []
            for size in SIZES:
                own, peer = times[each.name, size], times[_PEER, size]
                ratio = median(a / b for a, b in zip(own, peer, strict=True))
                cells += [f"{median(own) * 1e3:.3f}", f"{ratio:.2f}"]
            memory, kilobytes = process.ask("memory") / 1e6, each.model.stat().st_size / 1e3
            cells += [f"{memory:.0f}", f"{start:.2f}", f"{kilobytes:.0f}"]
            print(f"| {each.name} | {' | '.join(cells)} |")
            process.stop()


if __name__ == "__main__":
    main()
