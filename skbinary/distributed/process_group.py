"""The processes of a torch process group, and how they agree."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from sklearn.utils.fixes import parse_version
from torch import Tensor

from skbinary.runtime.interrupts import raise_if_stopped
from skbinary.runtime.processes import Processes

_Result = TypeVar("_Result")
_HOLDS_LOCK = parse_version(torch.__version__) < parse_version("2.8")
_SECONDS_TO_DROP = 0.1

# Errors that are raised as they are in the processes that did not make them, too.
_KINDS = {kind.__name__: kind for kind in (ValueError, TypeError, ImportError, MemoryError)}


class GroupProcesses(Processes):
    """The processes of a torch process group, which add up and agree by its collectives.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or None
        None for all processes.

    Raises
    ------
    RuntimeError
        If there is no process group, if this process is not in it, or later if another process
        ends or does not answer.
    """

    def __init__(self, group: dist.ProcessGroup | None):
        if group is None and not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "torch.distributed must have a process group, got none. Call "
                "torch.distributed.init_process_group first, in each process."
            )
        # A group that is not registered with torch.distributed, such as that of a Dask worker,
        # only has the methods of ProcessGroup.
        self._group: Any = dist.group.WORLD if group is None else group
        if not isinstance(self._group, dist.ProcessGroup):
            raise RuntimeError(
                "Each process that calls fit must be in process_group, got a process that is not. "
                "Call fit in the processes of the group only."
            )
        self.rank = self._group.rank()
        self.n_processes = self._group.size()
        self._device = _device_of(self._group)
        self._numbers: Tensor | None = None

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes of tensors of one shape, which may be overwritten."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def sum_number(self, number: float) -> float:
        """Return the sum over all processes of a number."""
        return float(self.sum(torch.tensor([number], dtype=torch.float64)))

    def sum_loss(self, loss: float, gradient: Tensor) -> tuple[float, Tensor]:
        """Return the sums over all processes of a loss and of its gradient, in one message."""
        both = self.sum(torch.cat([gradient, gradient.new_tensor([loss])]))
        return float(both[-1]), both[:-1]

    def max_number(self, number: float) -> float:
        """Return the largest of the numbers of all processes."""
        return float(self.max(torch.tensor([number], dtype=torch.float64)))

    def max(self, values: Tensor) -> Tensor:
        """Return the largest values of all processes of tensors of one shape."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def numbers(self, n_rows: int) -> Tensor:
        """Return the number of each row in the order of a single process."""
        if self._numbers is not None:
            return self._numbers
        first = sum(self.gather(n_rows)[: self.rank])
        return torch.arange(first, first + n_rows)

    def every_nth(self, n_rows: int, step: int) -> Tensor:
        """Return the positions of every n-th row, counted over the rows of all processes."""
        return torch.nonzero(self.numbers(n_rows) % step == 0)[:, 0]

    def numbering(self, numbers: Tensor) -> GroupProcesses:
        """Return the same processes for rows that are not in the order of the processes."""
        numbered = copy.copy(self)
        numbered._numbers = numbers
        return numbered

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, which pickle can write, in the order of ranks."""
        values: list[Any] = [None] * self.n_processes
        self._call(lambda: dist.all_gather_object(values, value, group=self._group))
        return values

    def concatenate(self, values: Any) -> Any:
        """Return the arrays of all processes as one, that of the first process first."""
        parts = self.gather(values)
        # Values of no rows may have another type.
        return np.concatenate([each for each in parts if len(each)] or parts[:1])

    def from_first(self, value: Any) -> Any:
        """Return the value of the first process."""
        values = [value if self.rank == 0 else None]
        group = self._group
        self._call(lambda: dist.broadcast_object_list(values, group_src=0, group=group))
        return values[0]

    def together(self, function: Callable[[], _Result]) -> _Result:
        """Call a function that may fail in each process. If it fails in one, raise in all."""
        error, result = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        failures = self.gather(None if error is None else (_kind_of(error), str(error)))
        if error is not None:
            raise error
        for rank, failure in enumerate(failures):
            if failure is not None:
                kind, message = failure
                raise _KINDS.get(kind, RuntimeError)(f"{message} (in process {rank})")
        return result  # type: ignore[return-value]  # there was no error

    def end(self) -> None:
        """Let the threads of the group drop the tensors of the last messages.

        Before torch 2.8, a group that is destroyed while they wait for Python's lock, to do so,
        waits for them and holds the lock (pytorch/pytorch#154976).
        """
        if _HOLDS_LOCK:
            time.sleep(_SECONDS_TO_DROP)

    def _reduce(self, values: Tensor, operation: Any) -> Tensor:
        total = values.to(self._device)
        self._call(lambda: dist.all_reduce(total, operation, group=self._group))
        return total.to(values.device)

    def _call(self, collective: Callable[[], Any]) -> None:
        raise_if_stopped()
        try:
            collective()
        except RuntimeError as error:
            raise RuntimeError(
                f"All {self.n_processes} processes of the group must take part in fit, and answer "
                f"within the timeout of the group{self._timeout()}, got: {_first_line(error)}. See "
                "the error of the process that ended, and start all of them again."
            ) from error

    def _timeout(self) -> str:
        """Return the timeout of the group in words, where torch says what it is."""
        try:
            backend = self._group._get_backend(self._device)
            return f" ({backend.options._timeout.total_seconds():g} s)"
        except (AttributeError, RuntimeError):
            return ""


def _kind_of(error: Exception) -> str:
    """Return the name of the kind of an error, which may be a subclass of it."""
    return next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "")


def _device_of(group: Any) -> torch.device:
    """Return the device of the tensors that a group adds up: NCCL does so on GPUs only."""
    try:
        group._get_backend(torch.device("cpu"))
    except RuntimeError:
        return torch.device("cuda")
    return torch.device("cpu")


def _first_line(error: Exception) -> str:
    """Return the first sentence of an error of torch, without the place in its source."""
    line = str(error).strip().splitlines()[0]
    return line.partition("] ")[2].partition(". ")[0] or line
