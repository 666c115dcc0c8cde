"""Tasks that run on several workers at the same time, or not at all."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

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


class _Outcome(NamedTuple):
    """What a task returns: an error that it raised would be in the log of each worker."""

    result: Any
    error: Exception | None


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
    client: Any, function: Callable[..., Any], arguments: Mapping[str, tuple[Any, ...]]
) -> list[Any]:
    """Run a function once on each of several workers, at the same time.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Ends early when ``is_cancelled`` of its thread is true, if it waits for others.
    arguments : dict of str to tuple
        Arguments of the function for each worker, by address. Futures become their values, and
        must have been computed: a worker whose thread waits does not compute.

    Returns
    -------
    list
        What the function has returned, in the order of `arguments`.

    Raises
    ------
    WorkerLostError
        If a worker leaves the cluster.
    Exception
        What the function has raised.
    """
    futures = {
        worker: client.submit(
            _attempt,
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
        return _results(client, futures)
    except BaseException:
        client.cancel(list(futures.values()), force=True)
        raise


def is_cancelled() -> bool:
    """Return whether the client has cancelled the task of this thread, or has ended."""
    worker = require("distributed", "dask", "skbinary.dask").get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"


def _attempt(function: Callable[..., Any], *args: Any) -> _Outcome:
    try:
        return _Outcome(function(*args), None)
    except Exception as error:
        try:
            pickle.dumps(error)
        except Exception:
            return _Outcome(None, RuntimeError(f"{type(error).__name__}: {error}"))
        return _Outcome(None, _without_tracebacks(error))


def _without_tracebacks(error: Exception) -> Exception:
    """Return an error without its frames, which would keep the data and the connections."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def _results(client: Any, futures: Mapping[str, Any]) -> list[Any]:
    """Wait until all tasks have finished, or raise the error of one of them."""
    distributed = require("distributed", "dask", "skbinary.dask")
    outcomes: dict[str, _Outcome] = {}
    deadline = float("inf")
    while len(outcomes) < len(futures) and time.monotonic() < deadline:
        waiting = {worker: each for worker, each in futures.items() if worker not in outcomes}
        known = client.nthreads()
        for worker, future in futures.items():
            # Its task would not run elsewhere. Nor would the data be there, if it has ended.
            if worker not in known or future.status in ("cancelled", "lost"):
                raise WorkerLostError(worker)
        with contextlib.suppress(distributed.TimeoutError, distributed.CancelledError):
            distributed.wait(list(waiting.values()), timeout=_POLL_SECONDS)
        with contextlib.suppress(distributed.TimeoutError, distributed.CancelledError):
            for worker, future in waiting.items():
                if future.done():
                    outcomes[worker] = future.result(timeout=_POLL_SECONDS)
        errors = [each.error for each in outcomes.values() if each.error is not None]
        if errors:
            follows = all(isinstance(error, RuntimeError) for error in errors)
            deadline = min(deadline, time.monotonic() + (_GRACE_SECONDS if follows else 0))
    failed = {worker: each.error for worker, each in outcomes.items() if each.error is not None}
    if failed:
        raise _cause(failed)
    return [outcomes[worker].result for worker in futures]


def _cause(errors: Mapping[str, Exception]) -> Exception:
    """Return the error that the other ones follow from, as far as their types tell."""
    for worker, error in errors.items():
        if isinstance(error, WorkerRestartedError):
            return WorkerLostError(worker)
    # A worker that fails makes those fail that are connected to it, by a RuntimeError.
    return sorted(errors.values(), key=lambda error: isinstance(error, RuntimeError))[0]
