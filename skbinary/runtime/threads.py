"""Threads that share out work, and give the same bits however many of them there are."""

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

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")
_PATIENCE = 0.2  # seconds
_LONGEST_END = 1.0  # seconds
_HANDFULS = 8  # for each thread: few to hand out, and no long wait for the last one


class _Thread(threading.local):
    """What is known of the calling thread.

    Attributes
    ----------
    n_threads : int or None
        How many threads may share its work, where torch itself was set to one. None elsewhere.
    """

    n_threads: int | None = None


_THREAD = _Thread()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute on the calling thread alone, while a ``ThreadPool`` within has all threads.

    The setting of other threads stays, and so does the default for new threads. No OpenMP threads
    are started, for which a forked process would wait forever.
    """
    hold = _Hold()
    try:
        hold.begin(_THREAD.n_threads or torch.get_num_threads())
        yield
    finally:
        hold.end()


class _Hold:
    """Keeps torch on one thread in the calling thread, and knows what was set before."""

    def __init__(self) -> None:
        self._outer = _THREAD.n_threads
        self._before = (torch.get_num_threads(), 0)

    def begin(self, n_threads: int) -> None:
        """Set one thread, and return how many may share the work of this thread."""
        _THREAD.n_threads = n_threads
        if self._outer is None:
            self._before = (self._before[0], _set_threads(1, 1))

    def end(self) -> None:
        """Put back what was set."""
        _THREAD.n_threads = self._outer
        if self._outer is None:
            _set_threads(*self._before)


def _set_threads(n_threads: int, mkl: int) -> int:
    """Set how many threads torch uses in the calling thread, and return MKL's old setting."""
    setters, before = _setters(), 0
    if setters is not None:
        set_openmp, set_mkl = setters
        set_openmp(n_threads)
        if set_mkl is not None:
            before = set_mkl(mkl)
    if torch.get_num_threads() != n_threads:
        torch.set_num_threads(n_threads)
    return before


@cache
def _setters() -> tuple[Callable[[int], int], Callable[[int], int] | None] | None:
    """Find the functions of OpenMP and MKL that ``torch.set_num_threads`` calls.

    They set the calling thread alone, where torch also sets how many threads all later threads use:
    fits that overlap in several threads would leave it at one. Where these functions are not found,
    only the one of torch is left.
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


def _start_pool_thread(ids: list[int]) -> None:
    ids.append(threading.get_native_id())
    torch.get_num_threads()  # a new thread takes over torch's setting when it is first asked
    _THREAD.n_threads = 1
    _set_threads(1, 1)


def _wait_until_gone(ids: Sequence[int]) -> None:
    """Wait until threads of the operating system have ended, where that can be checked.

    Before Python 3.13 a thread counts as ended a moment earlier, and may still hold the lock of
    MKL's memory. A process that is forked just then would wait for that lock forever.
    """
    deadline = time.monotonic() + _LONGEST_END
    for each in ids:
        while os.path.exists(f"/proc/self/task/{each}") and time.monotonic() < deadline:
            time.sleep(1e-5)


class ThreadPool:
    """Computes the pieces of a task, each on one thread.

    When torch's own threads share an operation, the order in which they add up moves the last
    bits, so a fit in a worker process, which has fewer threads, would end elsewhere than in the
    main one. Here the pieces are cut by the size of the task alone, and whoever adds up their
    results does it in their order.

    Within ``with``, torch itself computes on one thread, and so does a team within this one;
    afterwards the setting of torch is put back.

    Parameters
    ----------
    n_threads : int or None, default=None
        How many threads share the work. None for as many as torch is set to use.
    """

    def __init__(self, n_threads: int | None = None):
        self.n_threads = n_threads or _THREAD.n_threads or torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        self._ids: list[int] = []  # of the pool's threads
        self._hold: _Hold | None = None

    @classmethod
    def on(cls, device: torch.device, n_threads: int | None = None) -> Self:
        """Make one for work on a device: a GPU takes its orders from one thread."""
        return cls(n_threads if device.type == "cpu" else 1)

    def __enter__(self) -> Self:
        self._hold = _Hold()
        self._hold.begin(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        hold, self._hold = self._hold, None
        try:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None
                _wait_until_gone(self._ids)
                self._ids.clear()
        finally:  # Ctrl-C may end the wait
            if hold is not None:
                hold.end()

    def map(
        self, function: Callable[[_Piece], _Result], pieces: Iterable[_Piece]
    ) -> Iterable[_Result]:
        """Give the results of the pieces, in their order.

        Parameters
        ----------
        function : callable(piece) -> result
            Must be fine to run for several pieces at a time.
        pieces : iterable
            Cut by the size of the task alone.
        """
        pieces = list(pieces)
        if self.n_threads == 1 or len(pieces) <= 1 or self._hold is None:
            return map(function, pieces)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self.n_threads, "skbinary", _start_pool_thread, (self._ids,)
            )
        cut = even_chunks(pieces, self.n_threads)
        return _results([self._pool.submit(_each, function, chunk) for chunk in cut])


def even_chunks(pieces: Sequence[_Piece], n_threads: int) -> list[Sequence[_Piece]]:
    """Cut pieces into what threads are given at once: handing out takes as long as small ones."""
    size = max(1, -(-len(pieces) // (_HANDFULS * n_threads)))
    return [pieces[i : i + size] for i in range(0, len(pieces), size)]


def _each(function: Callable[[_Piece], _Result], pieces: Sequence[_Piece]) -> list[_Result]:
    return [function(piece) for piece in pieces]


def _results(futures: list[Future[list[_Result]]]) -> Iterator[_Result]:
    try:
        for future in futures:
            # Ctrl-C may reach another thread, which does not wake this one: look up now and then.
            while not future.done():
                wait([future], timeout=_PATIENCE)
            yield from future.result()
    finally:
        for future in futures:
            future.cancel()
