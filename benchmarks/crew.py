"""The contenders' processes, one each, that stay alive from case to case."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.worker import serve

_CONTEXT = multiprocessing.get_context("spawn")
# A worker that has just been started loads its libraries first.
_START_LIMIT = 120.0
# One that ends by itself has workers of its own to send away.
_GRACE = 5.0


class SkippedError(Exception):
    """A contender does not take part, for the reason given."""


class TimeLimitError(SkippedError):
    """A contender was given up."""


class Member:
    """One contender's process, started when it is first asked.

    Parameters
    ----------
    contender : str
        A key of the tables of contenders, or ``"reference"``.
    threads : int
    device : str
    """

    def __init__(self, contender: str, threads: int, device: str):
        self.contender = contender
        self._arguments = (contender, threads, device)
        self._process: Any = None
        self._folder: Path | None = None

    def start(self) -> None:
        """Start the process unless it runs."""
        if self._process is not None:
            return
        self._pipe, theirs = _CONTEXT.Pipe()
        # No daemon: those may have no workers of their own.
        self._process = _CONTEXT.Process(target=serve, args=(theirs, *self._arguments))
        self._process.start()
        theirs.close()
        self._loaded: Path | None = None

    def use(self, folder: Path) -> None:
        """Have it read the data of a case, now and after it was killed."""
        self._folder = folder
        self._load()

    def ask(self, order: str, *arguments: Any, limit: float | None = None) -> dict[str, Any]:
        """Give an order and wait for the answer.

        Parameters
        ----------
        order : str
            A method of `Worker`.
        *arguments : picklable
        limit : float or None, default=None
            Seconds after which the process is killed.

        Returns
        -------
        dict

        Raises
        ------
        SkippedError
            If the contender cannot, failed, or took longer than the limit.
        """
        self._load()
        return self._exchange(order, arguments, limit)

    def _load(self) -> None:
        self.start()
        if self._loaded != self._folder:
            self._exchange("load", (self._folder,), _START_LIMIT)
            self._loaded = self._folder

    def _exchange(
        self, order: str, arguments: tuple[Any, ...], limit: float | None
    ) -> dict[str, Any]:
        self._pipe.send((order, arguments))
        if not self._pipe.poll(limit):
            self._kill()
            raise TimeLimitError(f"took longer than {limit:g} s")
        try:
            kind, answer = self._pipe.recv()
        except EOFError:
            self._kill()
            raise SkippedError("its process died, perhaps for want of memory") from None
        if kind == "done":
            return answer
        if kind == "failed":
            print(answer)
            raise SkippedError(f"failed: {answer.strip().splitlines()[-1]}")
        raise SkippedError(answer)

    def stop(self) -> None:
        """End the process: by itself if it is idle, else by force."""
        if self._process is not None:
            self._pipe.close()
            self._process.join(_GRACE)
            self._kill()

    def _kill(self) -> None:
        """End the process and its workers, whatever they do."""
        if hasattr(os, "killpg"):
            # Spares the one that removes from shared memory what the workers leave there.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGTERM)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process = None


class Crew:
    """All members, made when they are asked for.

    Parameters
    ----------
    threads : int
    device : str
    """

    def __init__(self, threads: int, device: str):
        self._settings = (threads, device)
        self._members: dict[str, Member] = {}

    def member(self, contender: str) -> Member:
        """Get the one that stays."""
        if contender not in self._members:
            self._members[contender] = Member(contender, *self._settings)
        return self._members[contender]

    @contextmanager
    def newcomer(self, contender: str) -> Iterator[Member]:
        """Get one that has done nothing yet, and is sent away afterwards."""
        member = Member(contender, *self._settings)
        try:
            yield member
        finally:
            member.stop()

    def stop(self) -> None:
        """End all processes."""
        for member in self._members.values():
            member.stop()
