"""Fit a classifier on the workers of a cluster that hold the rows."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from skbinary.dask.partitions import DistributedTable, distribute
from skbinary.dask.tasks import WorkerLostError, run_on_each, workers_of
from skbinary.dask.worker import Fitted, Meeting, end_fit, fit_on_worker, prepare_fit
from skbinary.runtime.optional import require
from skbinary.runtime.warnings import warn
from skbinary.version import __version__

# Two fits at a time could each hold threads that the other one waits for.
_LOCK = "skbinary.dask.fit"


def fit_on_cluster(
    client: Any, estimator: Any, tables: Sequence[Mapping[str, Any]], timeout: float
) -> Any:
    """Return a classifier that is fitted to a table on the cluster.

    Parameters
    ----------
    client : distributed.Client
    estimator : TorchLogisticClassifier or TorchMLPClassifier
    tables : list of dict of str to collection or array-like
        Arguments of ``fit``: the training rows with their labels, and perhaps the validation rows.
    timeout : float
        Seconds that workers wait for each other in each exchange.

    Raises
    ------
    ValueError
        If the data or a parameter is invalid.
    WorkerLostError
        If a worker is lost.
    """
    shards = [distribute(client, each) for each in tables]
    # The order of the rows follows from the partitions, not from the addresses of the workers.
    workers = list(dict.fromkeys(worker for each in shards for worker in each.workers))
    with require("distributed", "dask", "skbinary.dask").Lock(_LOCK):
        results = _run(client, estimator, shards, workers, timeout)
    for each in results[0].warnings:
        warn(each.message, each.category)
    return results[0].estimator


def _run(
    client: Any,
    estimator: Any,
    shards: Sequence[DistributedTable],
    workers: Sequence[str],
    timeout: float,
) -> list[Fitted]:
    """Run one task on each worker."""
    fit_id = uuid.uuid4().hex
    n_threads = workers_of(client)
    try:
        port = _prepare(client, fit_id, workers)
        # Values, not futures: a task must not wait for one that its own worker computes later.
        without_rows = [each.without_rows(client) for each in shards]
        host_of = require("distributed.comm", "dask", "skbinary.dask").get_address_host
        hosts = tuple(map(host_of, workers))
        arguments = {}
        for rank, worker in enumerate(workers):
            meeting = Meeting(fit_id, rank, hosts, port, timeout, n_threads[worker])
            own = [
                each.on(worker) if worker in each.workers else empty
                for each, empty in zip(shards, without_rows, strict=True)
            ]
            arguments[worker] = (estimator, own, meeting)
        return run_on_each(client, fit_on_worker, arguments)
    except BaseException:
        client.run(end_fit, fit_id, workers=list(client.nthreads()), on_error="ignore")
        raise


def _prepare(client: Any, fit_id: str, workers: Sequence[str]) -> int:
    """Prepare the workers, and return the port of the first one."""
    known = client.nthreads()
    for worker in workers:
        if worker not in known:
            raise WorkerLostError(worker)
    ranks = {worker: rank for rank, worker in enumerate(workers)}
    prepared = client.run(prepare_fit, fit_id, ranks, workers=list(workers), on_error="return")
    for worker, result in prepared.items():
        if isinstance(result, OSError):
            raise WorkerLostError(worker) from result
        if isinstance(result, BaseException):
            raise result
        version, _ = result
        if version != __version__:
            raise RuntimeError(
                f"All workers must have skbinary {__version__}, as the client has, got {version} "
                f"at {worker}. Install the same version everywhere."
            )
    port: int = prepared[workers[0]][1]
    return port
