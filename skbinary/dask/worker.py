"""What a worker does in a fit: it joins the process group, and fits to the rows that it holds."""

from __future__ import annotations

import copy
import datetime
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed

from skbinary.dask.tasks import WorkerRestartedError, is_cancelled
from skbinary.distributed import fit
from skbinary.runtime.interrupts import raise_if_stopped, stopping_when
from skbinary.runtime.threads import one_torch_thread
from skbinary.runtime.warnings import Collected, collecting
from skbinary.version import __version__

_c10d: Any = torch.distributed  # its types do not name what it exports

_POLL_SECONDS = 0.02  # how often a worker that waits for the others asks whether they have begun


class Meeting(NamedTuple):
    """Where and as what a worker meets the others of a fit.

    Parameters
    ----------
    fit_id : str
    rank : int
        Index of the worker.
    hosts : tuple of str
        The host of each worker.
    port : int
        Port of the first worker's store.
    timeout : float
        Seconds to wait for the others in each exchange.
    n_threads : int
        Threads of the worker.
    """

    fit_id: str
    rank: int
    hosts: tuple[str, ...]
    port: int
    timeout: float
    n_threads: int


class Fitted(NamedTuple):
    """What a task returns: the classifier, if it is the first worker's, and its warnings."""

    estimator: Any
    warnings: list[Collected]


# The fits that this process takes part in, as one worker or several. The first worker of a fit has
# a store, which tells the workers each other's addresses.
_stores: dict[tuple[str, int], Any] = {}


def prepare_fit(fit_id: str, ranks: Mapping[str, int], dask_worker: Any) -> tuple[str, int]:
    """Prepare a worker for a fit.

    Parameters
    ----------
    fit_id : str
    ranks : dict of str to int
        The index of each worker, by address.
    dask_worker : distributed.Worker
        The worker, which Dask passes.

    Returns
    -------
    version : str
        Version of this package on the worker.
    port : int
        Port of the store of the first worker, 0 for others.
    """
    rank, store = ranks[dask_worker.address], None
    if rank == 0:
        store = _c10d.TCPStore("0.0.0.0", 0, is_master=True, wait_for_workers=False)
    _stores[fit_id, rank] = store
    return __version__, 0 if store is None else store.port


def end_fit(fit_id: str) -> None:
    """Free what ``prepare_fit`` has made, also if the task of the worker has not begun."""
    for key in list(_stores):
        if key[0] == fit_id:
            _stores.pop(key, None)


def fit_on_worker(
    estimator: Any,
    tables: Sequence[Mapping[str, Sequence[Any]]],
    meeting: Meeting,
) -> Fitted:
    """Fit a classifier to the rows of all workers, of which this one holds some.

    Parameters
    ----------
    estimator : TorchLogisticClassifier or TorchMLPClassifier
    tables : list of dict of str to list
        Partitions of ``"X"``, ``"y"`` and so on, and of those of the validation rows.
    meeting : Meeting

    Raises
    ------
    WorkerRestartedError
        If the process of the worker is another one than at the start of the fit.
    FitStoppedError
        If the task is cancelled.
    RuntimeError
        If another worker is lost.
    """
    key = (meeting.fit_id, meeting.rank)
    if key not in _stores:
        raise WorkerRestartedError
    try:
        with stopping_when(is_cancelled), collecting() as warnings:
            values = {name: concatenate(each[name]) for each in tables for name in each}
            own = copy.deepcopy(estimator)  # workers may share a process
            with one_torch_thread(meeting.n_threads):
                fit(own, **values, process_group=_join(meeting))
            return Fitted(None if meeting.rank else own, warnings)
    finally:
        _stores.pop(key, None)


def concatenate(parts: Sequence[Any]) -> Any:
    """Return partitions as one array, sparse matrix, data frame or series."""
    filled = [each for each in parts if each.shape[0]] or parts[:1]
    first = filled[0]
    if len(filled) == 1:
        return first
    if sp.issparse(first):
        return sp.vstack(filled, format="csr")
    if hasattr(first, "iloc"):
        return sys.modules["pandas"].concat(filled)
    return np.concatenate(filled)


def _join(meeting: Meeting) -> torch.distributed.ProcessGroup:
    """Wait until all workers have begun, and connect them."""
    timeout = datetime.timedelta(seconds=meeting.timeout)
    first, own = meeting.hosts[0], meeting.hosts[meeting.rank]
    size = len(meeting.hosts)
    store = _c10d.TCPStore(
        first, meeting.port, is_master=False, wait_for_workers=False, timeout=timeout
    )
    n_begun = store.add("begun", 1)
    while n_begun < size:  # other tasks may keep a worker busy for any time
        raise_if_stopped()
        time.sleep(_POLL_SECONDS)
        n_begun = store.add("begun", 0)
    return _connect(store, own, meeting.rank, size, timeout)


def _connect(
    store: Any, host: str, rank: int, size: int, timeout: datetime.timedelta
) -> torch.distributed.ProcessGroup:
    """Return a process group of the workers.

    It is not registered as ``torch.distributed``'s group of the process: workers may share a
    process, and a fit leaves nothing behind that is global.
    """
    options = _c10d.ProcessGroupGloo._Options()
    options._devices = [_c10d.ProcessGroupGloo.create_device(hostname=host)]
    options._timeout = timeout
    gloo = _c10d.ProcessGroupGloo(_c10d.PrefixStore("gloo", store), rank, size, options)
    kinds = _c10d.ProcessGroup.BackendType
    group: Any = _c10d.ProcessGroup(_c10d.PrefixStore("group", store), rank, size)
    group._set_default_backend(kinds.GLOO)
    group._register_backend(torch.device("cpu"), kinds.GLOO, gloo)
    return group
