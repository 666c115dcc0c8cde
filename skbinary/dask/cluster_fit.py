"""Fit a classifier on the workers of a cluster that hold the rows."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from skbinary.dask.partitions import DistributedTable, distribute
from skbinary.dask.tasks import WorkerLostError, run_on_each, workers_of
from skbinary.dask.worker import Fitted, Meeting, abort_sessions, fit_on_worker, open_session
from skbinary.runtime.optional import require
from skbinary.runtime.warnings import warn
from skbinary.version import __version__

# Two fits at a time could each hold threads that the other one waits for.
_LOCK = "skbinary.dask.fit"


def fit_on_cluster(
    client: Any,
    estimator: Any,
    table: Mapping[str, Any],
    validation: Mapping[str, Any],
    timeout: float,
) -> Any:
    """Return a classifier that is fitted to a table on the cluster.

    Parameters
    ----------
    client : distributed.Client
    estimator : TorchLogisticClassifier or TorchMLPClassifier
    table, validation : dict of str to collection or array-like
        Arguments of ``fit``. The validation rows may be missing.
    timeout : float
        Seconds that workers wait for each other.

    Raises
    ------
    ValueError
        If the data or a parameter is invalid.
    RuntimeError
        If a worker is lost.
    """
    tables = [distribute(client, each) for each in (table, validation) if each]
    # The order of the rows follows from the partitions, not from the addresses of the workers.
    workers = list(dict.fromkeys(worker for each in tables for worker in each.workers))
    with require("distributed", "dask", "skbinary.dask").Lock(_LOCK):
        results = _run(client, estimator, tables, workers, timeout)
    for each in results[0].warnings:
        warn(each.message, each.category)
    return results[0].estimator


def _run(
    client: Any,
    estimator: Any,
    tables: list[DistributedTable],
    workers: list[str],
    timeout: float,
) -> list[Fitted]:
    """Run one task on each worker."""
    fit_id = uuid.uuid4().hex
    n_threads = workers_of(client)
    try:
        port = _open_sessions(client, fit_id, workers)
        # Values, not futures: a task must not wait for one that its own worker computes later.
        without_rows = [each.without_rows(client) for each in tables]
        host_of = require("distributed.comm", "dask", "skbinary.dask").get_address_host
        hosts = tuple(map(host_of, workers))
        arguments = {}
        for rank, worker in enumerate(workers):
            meeting = Meeting(fit_id, rank, hosts, port, timeout, n_threads[worker])
            own = [
                each.on(worker) if worker in each.workers else empty
                for each, empty in zip(tables, without_rows, strict=True)
            ]
            arguments[worker] = (estimator, own, meeting)
        return run_on_each(client, fit_on_worker, arguments, lambda: _abort(client, fit_id))
    except BaseException:
        _abort(client, fit_id)
        raise


def _open_sessions(client: Any, fit_id: str, workers: list[str]) -> int:
    """Prepare the workers, and return the port of the first one."""
    missing = [each for each in workers if each not in client.nthreads()]
    if missing:
        raise WorkerLostError(missing[0])
    ranks = {worker: rank for rank, worker in enumerate(workers)}
    try:
        opened = client.run(open_session, fit_id, ranks, workers=workers)
    except OSError as error:
        raise error
    for worker, (version, _) in opened.items():
        if version != __version__:
            raise RuntimeError(
                f"All workers must have skbinary {__version__}, the version of the client, got "
                f"{version} at {worker}. Install the same version everywhere."
            )
    port: int = opened[workers[0]][1]
    return port


def _abort(client: Any, fit_id: str) -> None:
    """Make the tasks of a fit end that wait for others."""
    client.run(abort_sessions, fit_id, workers=list(client.nthreads()), on_error="ignore")
