"""Threads that share out work, and give the same bits however many of them there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self, TypeVar

import torch

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")
_PATIENCE = 0.2  # seconds
_HANDFULS = 8  # for each thread: few to hand out, and no long wait for the last one


class Team:
    """Computes the pieces of a task, each on one thread.

    When torch's own threads share an operation, the order in which they add up moves the last
    bits, so a fit in a worker process, which has fewer threads, would end elsewhere than in the
    main one. Here the pieces are cut by the size of the task alone, and whoever adds up their
    results does it in their order.

    Within ``with``, torch itself computes on one thread; afterwards its setting is put back.

    Parameters
    ----------
    n_threads : int or None, default=None
        How many threads share the work. None for as many as torch is set to use.
    """

    def __init__(self, n_threads: int | None = None):
        self.n_threads = torch.get_num_threads() if n_threads is None else n_threads
        self._pool: ThreadPoolExecutor | None = None
        self._before: int | None = None

    @classmethod
    def on(cls, device: torch.device, n_threads: int | None = None) -> Self:
        """Make one for work on a device: a GPU takes its orders from one thread."""
        return cls(n_threads if device.type == "cpu" else 1)

    def __enter__(self) -> Self:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        if self._before is not None:
            torch.set_num_threads(self._before)

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
        if self.n_threads == 1 or len(pieces) <= 1 or self._before is None:
            return map(function, pieces)
        if self._pool is None:
            # torch's setting is one of each thread.
            self._pool = ThreadPoolExecutor(
                self.n_threads, "skbinary", initializer=torch.set_num_threads, initargs=(1,)
            )
        cut = handfuls(pieces, self.n_threads)
        return _results([self._pool.submit(_each, function, handful) for handful in cut])


def handfuls(pieces: Sequence[_Piece], n_threads: int) -> list[Sequence[_Piece]]:
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
