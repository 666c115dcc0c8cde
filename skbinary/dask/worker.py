"""What a worker does in a fit: it joins the process group, and fits to the rows that it holds."""

from __future__ import annotations

import copy
import datetime
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch.distributed import PrefixStore, ProcessGroup, TCPStore

from skbinary.dask.tasks import FitAbortedError, WorkerRestartedError
from skbinary.distributed import fit
from skbinary.runtime.threads import one_torch_thread
from skbinary.runtime.warnings import Collected, collecting
from skbinary.version import __version__

_POLL_SECONDS = 0.02  # how often a worker that waits for the others asks whether they have begun


@dataclass
class _Session:
    """A fit in which a worker takes part.

    Parameters
    ----------
    server : TCPStore or None
        Tells the workers each other's addresses. Only the first worker has it.
    """

    server: TCPStore | None
    is_aborted: threading.Event = field(default_factory=threading.Event)


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
        Seconds to wait for the others.
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


# By fit and rank, since workers may share a process.
_sessions: dict[tuple[str, int], _Session] = {}


def open_session(fit_id: str, ranks: Mapping[str, int], dask_worker: Any) -> tuple[str, int]:
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
    rank = ranks[dask_worker.address]
    server = None
    if rank == 0:
        server = TCPStore("0.0.0.0", 0, is_master=True, wait_for_workers=False)
    _sessions[fit_id, rank] = _Session(server)
    return __version__, 0 if server is None else server.port


def abort_sessions(fit_id: str) -> None:
    """Make the tasks of a fit end that wait for others, and free what they hold."""
    for key in list(_sessions):
        if key[0] == fit_id:
            _close_session(key)


def _close_session(key: tuple[str, int]) -> None:
    session = _sessions.pop(key, None)
    if session is not None:
        session.is_aborted.set()
        session.server = None  # errors keep their variables, and with them the port


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
    FitAbortedError
        If the fit ends before this worker has begun.
    RuntimeError
        If another worker is lost.
    """
    key = (meeting.fit_id, meeting.rank)
    try:
        session = _sessions.get(key)
        if session is None:
            raise WorkerRestartedError
        with collecting() as warnings, one_torch_thread(meeting.n_threads):
            values = {name: concatenate(each[name]) for each in tables for name in each}
            own = copy.deepcopy(estimator)  # workers may share a process
            fit(own, **values, process_group=_join(meeting, session))
        return Fitted(None if meeting.rank else own, warnings)
    except BaseException as error:
        _clear_frames(error)
        raise
    finally:
        _close_session(key)


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


def _join(meeting: Meeting, session: _Session) -> ProcessGroup:
    """Wait until all workers have begun, and connect them."""
    timeout = datetime.timedelta(seconds=meeting.timeout)
    first, own = meeting.hosts[0], meeting.hosts[meeting.rank]
    size = len(meeting.hosts)
    store = TCPStore(first, meeting.port, is_master=False, wait_for_workers=False, timeout=timeout)
    deadline = time.monotonic() + meeting.timeout
    n_begun = store.add("begun", 1)
    while n_begun < size:
        if session.is_aborted.wait(_POLL_SECONDS):
            raise FitAbortedError
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"All {size} workers must begin the fit within {meeting.timeout:g} seconds, got "
                f"{n_begun}. Wait for other tasks to end, or set the estimator's timeout."
            )
        n_begun = store.add("begun", 0)
    return _connect(store, own, meeting.rank, size, timeout)


def _connect(
    store: TCPStore, host: str, rank: int, size: int, timeout: datetime.timedelta
) -> ProcessGroup:
    """Return a process group of the workers.

    It is not registered as ``torch.distributed``'s group of the process: workers may share a
    process, and a fit leaves nothing behind that is global.
    """
    gloo: Any = torch.distributed.ProcessGroupGloo
    options = gloo._Options()
    options._devices = [gloo.create_device(hostname=host)]
    options._timeout = timeout
    backend = gloo(PrefixStore("gloo", store), rank, size, options)
    group: Any = ProcessGroup(PrefixStore("group", store), rank, size)
    group._set_default_backend(ProcessGroup.BackendType.GLOO)
    group._register_backend(torch.device("cpu"), ProcessGroup.BackendType.GLOO, backend)
    return group


def _clear_frames(error: BaseException | None) -> None:
    """Clear the variables of an error's frames: Dask keeps it, and with it the connections."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
