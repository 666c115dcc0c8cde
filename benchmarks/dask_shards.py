"""Compare fits on a Dask cluster with one machine's: ``python -m benchmarks.dask_shards``.

For six ways to distribute the rows of real tables over the processes of a ``LocalCluster``, it
prints the largest difference of the coefficients of logistic regressions from those of one machine,
and of the weights of a network from those of one process on the same rows in the same order.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.preprocessing import scale

from benchmarks.data import Source
from skbinary.dask import DaskTorchLogisticClassifier, DaskTorchMLPClassifier

TABLES = ("adult", "w8a", "covtype")
MODELS = {
    "logistic, class weights": DaskTorchLogisticClassifier(
        class_weight="balanced", tol=1e-12, max_iter=1000
    ),
    "logistic, L1 part": DaskTorchLogisticClassifier(l1_ratio=0.5, C=0.1, tol=1e-12, max_iter=1000),
    # A row whose unit is at the kink of ReLU up to rounding gets another gradient. Among the fifty
    # million units of covtype's rows there are some, so that inputs that are moved by one ulp move
    # the weights of one process by 1e-2, too.
    "network, 3 epochs": DaskTorchMLPClassifier(
        (32,),
        activation="tanh",
        batch_size=2048,
        max_iter=3,
        early_stopping=False,
        random_state=0,
    ),
}


def shards_of(X: Any, y: NDArray[Any], n_shards: int) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    """Yield six ways to distribute rows, as the numbers of the rows of each process."""
    rows = np.arange(len(y))
    shuffled = np.random.default_rng(0).permutation(rows)
    first_feature = X[:, [0]].toarray()[:, 0] if hasattr(X, "toarray") else X[:, 0]
    some = n_shards // 2
    by_class = [
        *np.array_split(rows[y == 0], n_shards - some),
        *np.array_split(rows[y == 1], some),
    ]
    yield "equal", np.array_split(rows, n_shards)
    yield "random", np.array_split(shuffled, n_shards)
    yield "one class each", by_class
    yield "one empty", [*np.array_split(rows, n_shards - 1), rows[:0]]
    yield (
        "99% in the last",
        [*np.array_split(rows[: len(rows) // 100], n_shards - 1), rows[len(rows) // 100 :]],
    )
    yield "sorted by a feature", np.array_split(np.argsort(first_feature, kind="stable"), n_shards)


def place(client: Any, values: Any, shards: list[NDArray[Any]]) -> Any:
    """Return a Dask array with one partition on each worker."""
    import dask.array as da
    from dask.delayed import delayed

    chunks = []
    for worker, rows in zip(sorted(client.nthreads()), shards, strict=True):
        part = delayed(client.scatter(values[rows], workers=[worker], hash=False))
        # Dask would leave out a chunk that it knows to be empty.
        chunks.append(da.from_delayed(part, (np.nan, *values.shape[1:]), meta=values[:0]))
    return da.concatenate(chunks, allow_unknown_chunksizes=True)


def largest_difference(model: Any, other: Any) -> float:
    """Return the largest difference between the weights of two classifiers."""
    if hasattr(model, "coef_"):
        return float(np.abs(model.coef_ - other.coef_).max())
    pairs = zip(model.coefs_, other.coefs_, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def compare(client: Any, name: str, models: dict[str, Any]) -> None:
    """Print a line for each model and way to distribute a table."""
    X, y = Source(name, "float64").make()
    if not hasattr(X, "toarray"):
        # A network amplifies the last bits of large values.
        X = np.clip(scale(X), -5, 5)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    local = {}
    for model_name, model in models.items():
        if "network" not in model_name:
            local[model_name] = clone(model).to_local().fit(X, y, weight)
    for way, shards in shards_of(X, y, len(client.nthreads())):
        table = [place(client, values, shards).persist() for values in (X, y, weight)]
        order = np.concatenate(shards)
        for model_name, model in models.items():
            begin = time.perf_counter()
            fitted = clone(model).fit(*table)
            seconds = time.perf_counter() - begin
            again = clone(model).fit(*table)
            other = local.get(model_name)
            if other is None:
                other = clone(model).to_local().fit(X[order], y[order], weight[order])
            same = "same" if largest_difference(fitted, again) == 0 else "other"
            print(
                f"| {name} | {len(client.nthreads())} | {way} | {model_name} | "
                f"{largest_difference(fitted, other):.1e} | {same} | {seconds:.1f} |",
                flush=True,
            )


def main() -> None:
    """Print the table."""
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    arguments = parser.parse_args()
    models = {name: MODELS[name] for name in arguments.models}
    warnings.filterwarnings("ignore", "Training did not converge")
    print("| table | processes | rows | model | largest difference | bits of a second fit | s |")
    print("|---|---|---|---|---|---|---|")
    for n_processes in arguments.processes:
        with (
            LocalCluster(
                n_workers=n_processes, threads_per_worker=1, dashboard_address=":0"
            ) as cluster,
            Client(cluster) as client,
        ):
            for name in arguments.tables:
                compare(client, name, models)


if __name__ == "__main__":
    main()
