"""Measure what a fit by several processes costs: ``python -m benchmarks.distributed``.

It prints the table from which docs/design.md extrapolates: seconds per message, and for a logistic
regression and a network the messages, bytes, passes over the rows, seconds and memory of a fit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.base import clone
from sklearn.datasets import make_classification

from benchmarks.peak_memory import peak_above
from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.distributed import fit

SIZES = (1, 1_000, 10_000, 100_000, 1_000_000)  # numbers of float64
N_REPEATS = 30


class Counter:
    """Counts the messages and bytes of all-reduce while it is active, and the time they take."""

    def __init__(self) -> None:
        self.n_messages, self.n_bytes, self.seconds = 0, 0, 0.0
        self._original: Callable[..., Any] = dist.all_reduce

    def __enter__(self) -> Counter:
        dist.all_reduce = self._all_reduce
        return self

    def __exit__(self, *error: object) -> None:
        dist.all_reduce = self._original

    def _all_reduce(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        result = self._original(tensor, *args, **kwargs)
        self.seconds += time.perf_counter() - begin
        self.n_messages += 1
        self.n_bytes += tensor.nbytes
        return result


def measure_messages(rank: int, n_processes: int) -> None:
    """Print the median time of an all-reduce of several sizes."""
    for size in SIZES:
        values, times = torch.zeros(size, dtype=torch.float64), []
        for _ in range(N_REPEATS):
            begin = time.perf_counter()
            dist.all_reduce(values)
            times.append(time.perf_counter() - begin)
        if rank == 0:
            micro = 1e6 * float(np.median(times))
            print(f"{n_processes} processes, a sum of {8 * size:>9,} bytes: {micro:9.0f} us")


def measure_fit(name: str, estimator: Any, X: Any, y: Any, n_processes: int) -> None:
    """Fit, and print what it took."""
    fit(clone(estimator).set_params(max_iter=1), X, y)  # imports, and connections
    counter, seconds = Counter(), []

    def timed_fit() -> None:
        begin = time.perf_counter()
        with counter:
            fit(estimator, X, y)
        seconds.append(time.perf_counter() - begin)

    peak = peak_above(timed_fit)
    if dist.get_rank() == 0:
        print(
            f"{n_processes} processes, {name}: {seconds[0]:.3f} s, {len(estimator.loss_curve_)} "
            f"iterations, {counter.n_messages} sums, {counter.n_bytes / 1e6:.3f} MB, "
            f"{counter.seconds:.3f} s in sums, peak of {peak / len(X):.0f} bytes a row",
            flush=True,
        )


def work(rank: int, n_processes: int, path: str, n_rows: int, n_features: int) -> None:
    """Measure messages and fits as one process of a group."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{path}",
        rank=rank,
        world_size=n_processes,
        timeout=timedelta(minutes=5),
    )
    measure_messages(rank, n_processes)
    X, y = make_classification(n_rows, n_features, n_informative=10, flip_y=0.1, random_state=rank)
    fits = {
        "Newton": TorchLogisticClassifier(device="cpu"),
        "L-BFGS": TorchLogisticClassifier(solver="lbfgs", device="cpu"),
        "network, batch 200": network(batch_size=200),
        "network, batch 2,000": network(batch_size=2000),
        "network, batch 20,000": network(batch_size=20_000),
    }
    for name, estimator in fits.items():
        dist.barrier()
        measure_fit(name, estimator, X, y, n_processes)
    dist.destroy_process_group()


def network(**parameters: Any) -> TorchMLPClassifier:
    """Return a network that is trained for two epochs."""
    return TorchMLPClassifier(
        (64, 32), max_iter=2, n_iter_no_change=2, random_state=0, device="cpu", **parameters
    )


def main() -> None:
    """Measure on 1, 2 and 4 processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each process")
    parser.add_argument("--features", type=int, default=50)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for n_processes in arguments.processes:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "group")
            settings = (n_processes, path, arguments.rows, arguments.features)
            mp.spawn(work, settings, n_processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
