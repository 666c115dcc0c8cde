"""Tasks that run on several workers at the same time, or not at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from skbinary.runtime.optional import require

_POLL_SECONDS = 0.5  # how often to ask the scheduler which workers it has
# After an error of one task, how long to wait for those of others: a lost worker is the cause of
# the others' errors, and the scheduler may notice it later than they do.
_GRACE_SECONDS = 5.0
_PRIORITY = 100  # before tasks that wait in the queue of a worker, where they would hold up others


class WorkerLostError(RuntimeError):
    """A worker has left the cluster, or has been restarted, while it was needed."""

    def __init__(self, worker: str):
        super().__init__(worker)
        self.worker = worker

    def __str__(self) -> str:
        return (
            f"All workers must stay in the cluster until the fit ends, but {self.worker} has left "
            "it. Call fit again, with data that does not depend on that worker's memory."
        )


class WorkerRestartedError(RuntimeError):
    """The task runs in a process that did not prepare for it."""


class FitAbortedError(RuntimeError):
    """The task ended because that of another worker failed, or because of an interrupt."""


@contextmanager
def connected(client: Any) -> Iterator[Any]:
    """Yield a client of Dask: the given one, or the current one if it is None.

    Raises
    ------
    ValueError
        If there is no client, or if it is asynchronous.
    """
    distributed = require("distributed", "dask", "skbinary.dask")
    with contextlib.ExitStack() as stack:
        if client is None and _is_in_task(distributed):
            client = stack.enter_context(distributed.worker_client())  # frees the task's thread
        elif client is None:
            try:
                client = distributed.default_client()
            except ValueError:
                raise ValueError(
                    "There must be a client of Dask's, got none. Create one with "
                    "distributed.Client(...), or set the property client of the estimator."
                ) from None
        if client.asynchronous:
            raise ValueError(
                "client must be a synchronous client, got one with asynchronous=True. Create it "
                "with distributed.Client(...) outside of coroutines."
            )
        stack.enter_context(client.as_current())
        yield client


def _is_in_task(distributed: Any) -> bool:
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def workers_of(client: Any) -> dict[str, int]:
    """Return the workers of the cluster, with their number of threads.

    Raises
    ------
    ValueError
        If there is none.
    """
    workers: dict[str, int] = client.nthreads()
    if not workers:
        raise ValueError(
            "The cluster must have a worker, got none. Start one, or call "
            "client.wait_for_workers(1) first."
        )
    return dict(sorted(workers.items()))


def run_on_each(
    client: Any,
    function: Callable[..., Any],
    arguments: Mapping[str, tuple[Any, ...]],
    on_failure: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Run a function once on each of several workers, at the same time.

    Parameters
    ----------
    client : distributed.Client
    function : callable
    arguments : dict of str to tuple
        Arguments of the function for each worker, by address. Futures become their values.
    on_failure : callable() -> None
        Makes tasks end that wait for others.

    Returns
    -------
    list
        What the function has returned, in the order of `arguments`.

    Raises
    ------
    WorkerLostError
        If a worker leaves the cluster.
    """
    futures = {
        worker: client.submit(
            function,
            *each,
            workers=[worker],
            allow_other_workers=False,
            pure=False,
            priority=_PRIORITY,
        )
        for worker, each in arguments.items()
    }
    try:
        _watch(client, futures)
        return client.gather(list(futures.values()))
    except BaseException:
        on_failure()
        _wait_for_ends(client, futures)
        client.cancel(list(futures.values()), force=True)
        raise


def _watch(client: Any, futures: Mapping[str, Any]) -> None:
    """Wait until all tasks have finished, or raise the error of one of them."""
    deadline = None
    while True:
        known = client.nthreads()
        for worker, future in futures.items():
            if worker not in known and future.status != "finished":
                raise WorkerLostError(worker)
        failed = {w: future for w, future in futures.items() if future.status == "error"}
        if failed and deadline is None:
            deadline = time.monotonic() + _GRACE_SECONDS
        if all(future.done() for future in futures.values()) or (
            deadline is not None and time.monotonic() > deadline
        ):
            break
        _wait(futures, _POLL_SECONDS)
    if failed:
        raise _cause(failed)
    for worker, future in futures.items():
        if future.status != "finished":  # lost or cancelled, such as by a restart of the cluster
            raise WorkerLostError(worker)


def _cause(failed: Mapping[str, Any]) -> BaseException:
    """Return the error that the other ones follow from, as far as their types tell."""
    errors = {worker: future.exception() for worker, future in failed.items()}
    for worker, error in errors.items():
        if isinstance(error, WorkerRestartedError):
            return WorkerLostError(worker)
    ordered = sorted(errors.values(), key=lambda error: isinstance(error, RuntimeError))
    return next(iter(ordered))


def _wait(futures: Mapping[str, Any], timeout: float) -> None:
    distributed = require("distributed", "dask", "skbinary.dask")
    with contextlib.suppress(distributed.TimeoutError, distributed.CancelledError):
        distributed.wait(list(futures.values()), timeout=timeout)


def _wait_for_ends(client: Any, futures: Mapping[str, Any]) -> None:
    """Wait a while for tasks to end, except those of workers that are lost."""
    known = client.nthreads()
    _wait({worker: each for worker, each in futures.items() if worker in known}, _GRACE_SECONDS)
