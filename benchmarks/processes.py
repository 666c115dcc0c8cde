"""One process for each contender, kept alive from case to case."""

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
# A worker that has just been started imports its libraries first.
_START_LIMIT = 120.0
# A worker that ends by itself first shuts down its own search workers.
_STOP_LIMIT = 5.0


class SkippedError(Exception):
    """A contender is left out of a case, for the reason given."""


class TimeLimitError(SkippedError):
    """A contender took too long."""


class ContenderProcess:
    """The process of one contender, started on first use.

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
        """Start the process unless it is running."""
        if self._process is not None:
            return
        self._pipe, theirs = _CONTEXT.Pipe()
        # Not a daemon: daemons cannot start workers of their own.
        self._process = _CONTEXT.Process(target=serve, args=(theirs, *self._arguments))
        self._process.start()
        theirs.close()
        self._loaded: Path | None = None

    def use(self, folder: Path) -> None:
        """Load the data of a case, now and whenever the process is restarted."""
        self._folder = folder
        self._load()

    def call(self, method: str, *arguments: Any, limit: float | None = None) -> dict[str, Any]:
        """Call a method of the worker and wait for the answer.

        Parameters
        ----------
        method : str
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
            If the contender does not support the case, failed, or exceeded the limit.
        """
        self._load()
        return self._exchange(method, arguments, limit)

    def _load(self) -> None:
        self.start()
        if self._loaded != self._folder:
            self._exchange("load", (self._folder,), _START_LIMIT)
            self._loaded = self._folder

    def _exchange(
        self, method: str, arguments: tuple[Any, ...], limit: float | None
    ) -> dict[str, Any]:
        self._pipe.send((method, arguments))
        if not self._pipe.poll(limit):
            self._kill()
            raise TimeLimitError(f"took longer than {limit:g} s")
        try:
            kind, answer = self._pipe.recv()
        except EOFError:
            self._kill()
            raise SkippedError("its process died, perhaps out of memory") from None
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
            self._process.join(_STOP_LIMIT)
            self._kill()

    def _kill(self) -> None:
        """Kill the process and its workers."""
        if hasattr(os, "killpg"):
            # SIGTERM spares the resource tracker, which frees the workers' shared memory.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGTERM)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process = None


class ContenderProcesses:
    """The processes of all contenders, created on first use.

    Parameters
    ----------
    threads : int
    device : str
    """

    def __init__(self, threads: int, device: str):
        self._settings = (threads, device)
        self._processes: dict[str, ContenderProcess] = {}

    def get(self, contender: str) -> ContenderProcess:
        """Return the process of a contender that is kept."""
        if contender not in self._processes:
            self._processes[contender] = ContenderProcess(contender, *self._settings)
        return self._processes[contender]

    @contextmanager
    def fresh(self, contender: str) -> Iterator[ContenderProcess]:
        """Yield a new process of a contender, and stop it afterwards."""
        process = ContenderProcess(contender, *self._settings)
        try:
            yield process
        finally:
            process.stop()

    def stop(self) -> None:
        """Stop all processes."""
        for process in self._processes.values():
            process.stop()
