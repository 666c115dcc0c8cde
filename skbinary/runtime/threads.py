"""Thread pools whose results do not depend on the number of threads, to the bit."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Self, TypeVar

import torch

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_POLL_SECONDS = 0.2  # how often a waiting thread checks for KeyboardInterrupt
_MAX_EXIT_SECONDS = 1.0  # how long to wait for threads to end
# For each thread: few, since submitting one takes time, but enough that no thread waits for long.
_CHUNKS_PER_THREAD = 8


class _ThreadState(threading.local):
    """Settings of the calling thread.

    Attributes
    ----------
    n_threads : int or None
        Number of threads that may share its work while torch is limited to one. None if torch is
        not limited.
    """

    n_threads: int | None = None


_STATE = _ThreadState()


@contextmanager
def one_torch_thread(n_threads: int | None = None) -> Iterator[None]:
    """Limit torch to one thread in the calling thread. A ``ThreadPool`` within still has all.

    The setting of other threads stays, and so does the default of new threads. No OpenMP threads
    are started, for which a forked process would wait forever.

    Parameters
    ----------
    n_threads : int or None, default=None
        Number of threads of a ``ThreadPool`` within. None for as many as torch is set to use.
    """
    limit = _SingleThreadLimit()
    try:
        limit.set(n_threads or _STATE.n_threads or torch.get_num_threads())
        yield
    finally:
        limit.restore()


class _SingleThreadLimit:
    """Limits torch to one thread in the calling thread, and restores the setting."""

    def __init__(self) -> None:
        self._outer_n_threads = _STATE.n_threads
        self._original = (torch.get_num_threads(), 0)

    def set(self, n_threads: int) -> None:
        """Limit torch to one thread, and let `n_threads` threads share the work of this one."""
        _STATE.n_threads = n_threads
        if self._outer_n_threads is None:
            self._original = (self._original[0], _set_threads(1, 1))

    def restore(self) -> None:
        """Restore the original setting."""
        _STATE.n_threads = self._outer_n_threads
        if self._outer_n_threads is None:
            _set_threads(*self._original)


def _set_threads(n_threads: int, n_mkl_threads: int) -> int:
    """Set the number of threads of torch in the calling thread, and return MKL's old setting."""
    setters, original = _setters(), 0
    if setters is not None:
        set_openmp, set_mkl = setters
        set_openmp(n_threads)
        if set_mkl is not None:
            original = set_mkl(n_mkl_threads)
    if torch.get_num_threads() != n_threads:
        torch.set_num_threads(n_threads)
    return original


@cache
def _setters() -> tuple[Callable[[int], int], Callable[[int], int] | None] | None:
    """Find the functions of OpenMP and MKL that ``torch.set_num_threads`` calls.

    They affect the calling thread only. torch's function also sets the default of later threads,
    so fits that overlap in several threads would leave it at one. It is used only if the others are
    not found.
    """
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    try:
        # The GIL is kept: releasing it takes longer than these calls.
        library = ctypes.PyDLL(torch._C.__file__)
        return (
            library.omp_set_num_threads,
            library.MKL_Set_Num_Threads_Local if has_mkl else None,
        )
    except (OSError, AttributeError):
        return None


def _start_pool_thread(thread_ids: list[int]) -> None:
    thread_ids.append(threading.get_native_id())
    torch.get_num_threads()  # initializes the thread with torch's default, which is then changed
    _STATE.n_threads = 1
    _set_threads(1, 1)


def _wait_for_exit(thread_ids: Sequence[int]) -> None:
    """Wait until threads have ended in the operating system, where that can be checked.

    Before Python 3.13 ``join`` returns a moment earlier, when the thread may still hold the lock of
    MKL's memory. A process that is forked just then would wait for that lock forever.
    """
    deadline = time.monotonic() + _MAX_EXIT_SECONDS
    for each in thread_ids:
        while os.path.exists(f"/proc/self/task/{each}") and time.monotonic() < deadline:
            time.sleep(1e-5)


class ThreadPool:
    """Runs tasks on several threads, each task on one thread.

    When torch's own threads share an operation, the order of their sums depends on the number of
    threads, and so do the last bits: a fit in a worker process, which has fewer threads, would
    differ from one in the main process. Here the tasks depend on the size of the data alone, and
    their results are returned in order.

    Within ``with``, torch computes on one thread, and so does a pool inside this one; afterwards
    the setting of torch is restored.

    Parameters
    ----------
    n_threads : int or None, default=None
        Number of threads. None for as many as torch is set to use.
    """

    def __init__(self, n_threads: int | None = None):
        self.n_threads = n_threads or _STATE.n_threads or torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        self._thread_ids: list[int] = []
        self._limit: _SingleThreadLimit | None = None

    @classmethod
    def on(cls, device: torch.device, n_threads: int | None = None) -> Self:
        """Return a pool for work on a device. For a GPU it has one thread, which launches it."""
        return cls(n_threads if device.type == "cpu" else 1)

    def __enter__(self) -> Self:
        self._limit = _SingleThreadLimit()
        self._limit.set(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        limit, self._limit = self._limit, None
        try:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None
                _wait_for_exit(self._thread_ids)
                self._thread_ids.clear()
        finally:  # Ctrl-C may end the wait
            if limit is not None:
                limit.restore()

    def map(
        self, function: Callable[[_Task], _Result], tasks: Iterable[_Task]
    ) -> Iterable[_Result]:
        """Return the results of a function for each task, in order.

        Parameters
        ----------
        function : callable(task) -> result
            Is called on several threads at a time.
        tasks : iterable
            Must not depend on the number of threads.
        """
        tasks = list(tasks)
        if self.n_threads == 1 or len(tasks) <= 1 or self._limit is None:
            return map(function, tasks)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self.n_threads, "skbinary", _start_pool_thread, (self._thread_ids,)
            )
        chunks = even_chunks(tasks, self.n_threads)
        return _results([self._pool.submit(_run, function, chunk) for chunk in chunks])


def even_chunks(tasks: Sequence[_Task], n_threads: int) -> list[Sequence[_Task]]:
    """Split tasks into chunks for threads, since submitting one takes as long as a small task."""
    size = max(1, -(-len(tasks) // (_CHUNKS_PER_THREAD * n_threads)))
    return [tasks[i : i + size] for i in range(0, len(tasks), size)]


def _run(function: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> list[_Result]:
    return [function(task) for task in tasks]


def _results(futures: list[Future[list[_Result]]]) -> Iterator[_Result]:
    try:
        for future in futures:
            # A signal may reach another thread, which does not wake this one: wake up regularly.
            while not future.done():
                wait([future], timeout=_POLL_SECONDS)
            yield from future.result()
    finally:
        for future in futures:
            future.cancel()
