"""Fit a Parquet table that is larger than memory: ``python -m benchmarks.out_of_core``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import peak_memory

N_FEATURES = 30
LABEL = "label"
_ROWS_PER_GROUP = 200_000
TASKS = ("read", "logistic", "network")


def write_table(path: Path, gigabytes: float) -> int:
    """Write a table of random float32 features and labels, which cannot be compressed.

    Parameters
    ----------
    path : Path
        The Parquet file to write.
    gigabytes : float
        Its size, in 10^9 bytes.

    Returns
    -------
    int
        The number of rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    coef = rng.normal(size=N_FEATURES).astype(np.float32) / 2
    names = [f"x{j}" for j in range(N_FEATURES)]
    schema = pa.schema([(name, pa.float32()) for name in names] + [(LABEL, pa.int8())])
    n_rows = int(gigabytes * 1e9 / (4 * N_FEATURES + 1))
    settings = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with parquet.ParquetWriter(path, schema, **settings) as writer:
        for start in range(0, n_rows, _ROWS_PER_GROUP):
            n = min(_ROWS_PER_GROUP, n_rows - start)
            columns = rng.random((N_FEATURES, n), dtype=np.float32) * 4 - 2
            label = (coef @ columns + rng.logistic(size=n) > 1).astype(np.int8)
            writer.write_table(pa.table([*columns, label], schema=schema))
    return n_rows


def measure(task: str, path: str, memory: str) -> dict[str, float]:
    """Run one task in this process.

    Parameters
    ----------
    task : str
        ``"read"`` for a pass without training, ``"logistic"``, or ``"network"`` for one epoch.
    path : str
        The Parquet file.
    memory : str
        The memory for the rows that are held at once.

    Returns
    -------
    dict of str to float
        Seconds, rows that were read in all passes, and bytes of memory at the peak.
    """
    from skbinary import TorchLogisticClassifier, TorchMLPClassifier
    from skbinary.data import streamed_table
    from skbinary.streaming import Streamed

    table, n_read = Streamed(path, memory=memory), 0
    read = streamed_table.StreamedTable.read

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_read
        for chunk in read(*args, **kwargs):
            n_read += streamed_table.n_rows_of(chunk[-1])
            yield chunk

    def read_only() -> None:
        for _ in streamed_table.open_table(table, {"y": LABEL}).read():
            pass

    network = TorchMLPClassifier((64,), batch_size=1000, max_iter=1, random_state=0)
    works: dict[str, Callable[[], object]] = {
        "read": read_only,
        "logistic": lambda: TorchLogisticClassifier().fit(table, LABEL),
        "network": lambda: network.fit(table, LABEL),
    }
    with (
        mock.patch.object(streamed_table.StreamedTable, "read", counted),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # one epoch does not converge
        before = peak_memory.resident()
        begin = time.perf_counter()
        peak = peak_memory.peak_above(works[task])
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "rows": n_read, "peak": before + peak}


def run(folder: Path, gigabytes: float, memory: str) -> str:
    """Write the table, run each task in a process of its own, and return a Markdown table."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "rows.parquet"
        n_rows = write_table(path, gigabytes)
        size = path.stat().st_size / 1e9
        lines = [
            f"{n_rows:,} rows x {N_FEATURES} features, {size:.2f} GB, memory={memory!r}",
            "",
            "| task | passes | seconds | rows/s in a pass | GB/s | peak memory, GB |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for task in TASKS:
            command = [sys.executable, "-m", "benchmarks.out_of_core", "--task", task]
            command += ["--path", str(path), "--memory", memory]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            result = json.loads(answer.stdout)
            rate, passes = result["rows"] / result["seconds"], result["rows"] / n_rows
            lines.append(
                f"| {task} | {passes:.1f} | {result['seconds']:.0f} | {rate:,.0f} | "
                f"{rate / n_rows * size:.2f} | {result['peak'] / 1e9:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of the table")
    parser.add_argument("--memory", default="500MB", help="memory for the rows held at once")
    parser.add_argument("--folder", type=Path, help="where the table is written, and deleted")
    parser.add_argument("--task", choices=TASKS, help="run one task on the table of --path")
    parser.add_argument("--path", help="an existing table for --task")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(measure(options.task, options.path, options.memory)))
    else:
        print(run(options.folder or Path(tempfile.gettempdir()), options.gigabytes, options.memory))


if __name__ == "__main__":
    main()
