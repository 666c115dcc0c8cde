"""Tables on a cluster: partitions of rows, labels, weights and groups, and who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_consistent_length

from skbinary.dask.tasks import run_on_each, workers_of
from skbinary.data.containers import as_array
from skbinary.runtime.optional import require


@dataclass(frozen=True)
class DistributedTable:
    """A table in the memory of workers.

    Parameters
    ----------
    columns : dict of str to list of Future
        The partitions of the rows, the labels and so on. The rows come first.
    workers : list of str
        The address of the worker that holds the rows of each partition.
    """

    columns: dict[str, list[Any]]
    workers: list[str]

    def on(self, worker: str) -> dict[str, list[Any]]:
        """Return the partitions of one worker, in their order."""
        own = [i for i, each in enumerate(self.workers) if each == worker]
        return {name: [futures[i] for i in own] for name, futures in self.columns.items()}

    def map(self, client: Any, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Return what a function returns for each partition, computed by the worker that has it.

        Parameters
        ----------
        client : distributed.Client
        function : callable(*args, **partition)
        *args : object
        """
        workers = list(dict.fromkeys(self.workers))
        tasks = {worker: (function, args, self.on(worker)) for worker in workers}
        results = dict(zip(workers, map(iter, run_on_each(client, _map, tasks)), strict=True))
        return [next(results[worker]) for worker in self.workers]

    def without_rows(self, client: Any) -> dict[str, list[Any]]:
        """Return a partition without rows, for workers that hold none."""
        first = [futures[0] for futures in self.columns.values()]
        empty = client.gather(client.map(_slice, first, start=0, stop=0))
        return {name: [each] for name, each in zip(self.columns, empty, strict=True)}


def is_collection(values: Any) -> bool:
    """Return whether values are a collection of Dask."""
    return bool(_import("dask.base").is_dask_collection(values))


def distribute(client: Any, table: Mapping[str, Any]) -> DistributedTable:
    """Compute a table in the memory of the workers, or send it there.

    Partitions that a worker holds stay there, and their labels and weights are sent to it.

    Parameters
    ----------
    client : distributed.Client
    table : dict of str to collection or array-like
        The rows, their labels, and perhaps weights and groups, by name. The rows come first.

    Raises
    ------
    ValueError
        If there are not as many labels or weights as rows, in each partition.
    """
    rows = next(iter(table.values()))
    return (_compute_table if is_collection(rows) else _scatter_table)(client, table)


def _compute_table(client: Any, table: Mapping[str, Any]) -> DistributedTable:
    X = next(iter(table.values()))
    parts = {name: _parts(each, name, X) for name, each in table.items() if is_collection(each)}
    futures = iter(_compute(client, [part for each in parts.values() for part in each]))
    columns = {name: [next(futures) for _ in each] for name, each in parts.items()}
    computed = DistributedTable(columns, _holders(client, next(iter(columns.values()))))
    n_rows = _count_rows(client, computed)
    for name in table.keys() - columns.keys():
        values = _in_memory(table[name], name)
        if values.shape[0] != sum(n_rows):
            raise ValueError(_length_message(name, values.shape[0], sum(n_rows)))
        columns[name] = _scatter(client, values, n_rows, computed.workers)
    return DistributedTable({name: columns[name] for name in table}, computed.workers)


def _scatter_table(client: Any, table: Mapping[str, Any]) -> DistributedTable:
    """Split a table that is not on the cluster into one partition for each worker."""
    values = {name: _in_memory(each, name) for name, each in table.items()}
    check_consistent_length(*values.values())
    n_all = next(iter(values.values())).shape[0]
    workers = list(workers_of(client))[: max(1, n_all)]
    n_rows = [len(each) for each in np.array_split(range(n_all), len(workers))]
    columns = {name: _scatter(client, each, n_rows, workers) for name, each in values.items()}
    return DistributedTable(columns, workers)


def _parts(values: Any, name: str, X: Any) -> list[Any]:
    """Return the partitions of a collection, delayed. They have all columns."""
    array = _import("dask.array").Array
    if isinstance(values, array):
        chunks = {axis: -1 for axis in range(1, values.ndim) if values.numblocks[axis] > 1}
        if isinstance(X, array) and values.chunks[0] != X.chunks[0]:
            chunks |= _chunks_of_rows(values, name, X)
        values = values.rechunk(chunks) if chunks else values
    elif not hasattr(values, "divisions"):
        raise ValueError(
            f"{name} must be an array, a data frame or a series of Dask, got a "
            f"{type(values).__name__}. Convert it."
        )
    optimizes = True
    if hasattr(values, "simplify"):
        # The rest of Dask's optimizer merges partitions of which few columns are read from files,
        # such as the labels, and not the others.
        values, optimizes = values.simplify(), False
    parts: list[Any] = np.ravel(values.to_delayed(optimize_graph=optimizes)).tolist()
    n_expected = X.numblocks[0] if isinstance(X, array) else X.npartitions
    if len(parts) != n_expected:
        raise ValueError(
            f"{name} must have as many partitions as the rows, got {len(parts)} instead of "
            f"{n_expected}. Take both from one collection, or repartition one of them."
        )
    return parts


def _chunks_of_rows(values: Any, name: str, X: Any) -> dict[int, Any]:
    """Return the chunks of rows that an array should have, if they are known."""
    own, wanted = values.chunks[0], X.chunks[0]
    if np.isnan([*own, *wanted]).any():
        return {}  # compared when they have been computed
    if sum(own) != sum(wanted):
        raise ValueError(_length_message(name, sum(own), sum(wanted)))
    return {0: wanted}


def _compute(client: Any, parts: Sequence[Any]) -> list[Any]:
    """Compute partitions in the memory of the workers."""
    workers_of(client)  # raises if there are none
    futures: list[Any] = client.compute(list(parts))
    _import("distributed").wait(futures)
    for future in futures:
        if future.status != "finished":
            future.result()  # raises
    return futures


def _holders(client: Any, futures: Sequence[Any]) -> list[str]:
    """Return the worker that holds each partition, or one of them in turn."""
    held = client.who_has(futures)
    counts: Counter[str] = Counter()
    workers = []
    for future in futures:
        worker = min(sorted(held[future.key]), key=counts.__getitem__)
        counts[worker] += 1
        workers.append(worker)
    return workers


def _count_rows(client: Any, table: DistributedTable) -> list[int]:
    """Return the number of rows of each partition.

    Raises
    ------
    ValueError
        If there are not as many labels or weights.
    """
    n_rows, names = [], list(table.columns)
    for i, (n_expected, *others) in enumerate(table.map(client, _lengths)):
        for name, n_values in zip(names[1:], others, strict=True):
            if n_values != n_expected:
                raise ValueError(_length_message(name, n_values, n_expected, f" in partition {i}"))
        n_rows.append(n_expected)
    return n_rows


def _map(
    function: Callable[..., Any], args: tuple[Any, ...], columns: Mapping[str, Sequence[Any]]
) -> list[Any]:
    partitions = zip(*columns.values(), strict=True)
    return [function(*args, **dict(zip(columns, each, strict=True))) for each in partitions]


def _lengths(**partition: Any) -> tuple[int, ...]:
    return tuple(each.shape[0] for each in partition.values())


def _length_message(name: str, n_values: int, n_rows: int, where: str = "") -> str:
    return (
        f"{name} must have one entry for each row, got {n_values} for {n_rows} rows{where}. Take "
        "both from one table."
    )


def _in_memory(values: Any, name: str) -> Any:
    """Return values as something in the client's memory that can be sliced."""
    if is_collection(values):
        values = values.compute()
    values = as_array(values, name)
    if sp.issparse(values):
        return values.tocsr()
    return values if hasattr(values, "shape") else np.asarray(values)


def _scatter(client: Any, values: Any, n_rows: Sequence[int], workers: Sequence[str]) -> list[Any]:
    """Send slices of values to workers."""
    stops = np.cumsum(n_rows).tolist()
    slices = [_slice(values, stop - n, stop) for n, stop in zip(n_rows, stops, strict=True)]
    futures: list[Any] = [None] * len(slices)
    for worker in dict.fromkeys(workers):
        own = [i for i, each in enumerate(workers) if each == worker]
        sent = client.scatter([slices[i] for i in own], workers=[worker], hash=False)
        for i, future in zip(own, sent, strict=True):
            futures[i] = future
    return futures


def _slice(values: Any, start: int, stop: int) -> Any:
    return (values.iloc if hasattr(values, "iloc") else values)[start:stop]


def _import(module: str) -> Any:
    return require(module, "dask", "skbinary.dask")
