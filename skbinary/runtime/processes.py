"""The processes that hold the rows of a fit: one, or those of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

_Result = TypeVar("_Result")
_Values = TypeVar("_Values")


class Processes:
    """The processes that hold the rows of a fit: this one alone, which holds all of them.

    A subclass adds up over several processes, which then compute with the same numbers: each of
    them calls the same methods in the same order.

    Attributes
    ----------
    rank : int
        The number of this process.
    n_processes : int
        Number of processes.
    """

    rank: int = 0
    n_processes: int = 1

    @property
    def is_one(self) -> bool:
        """Whether this process holds all rows."""
        return self.n_processes == 1

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes of tensors of one shape, which may be overwritten."""
        return values

    def sum_number(self, number: float) -> float:
        """Return the sum over all processes of a number."""
        return number

    def sum_loss(self, loss: float, gradient: Tensor) -> tuple[float, Tensor]:
        """Return the sums over all processes of a loss and of its gradient, in one message."""
        return loss, gradient

    def max_number(self, number: float) -> float:
        """Return the largest of the numbers of all processes."""
        return number

    def max(self, values: Tensor) -> Tensor:
        """Return the largest values of all processes of tensors of one shape."""
        return values

    def numbers(self, n_rows: int) -> Tensor:
        """Return the number of each row in the order of a single process.

        Parameters
        ----------
        n_rows : int
            Number of rows of this process.

        Returns
        -------
        Tensor of int64 of shape (n_rows,)
        """
        return torch.arange(n_rows)

    def numbering(self, numbers: Tensor) -> Processes:
        """Return the same processes for rows that are not in the order of the processes.

        Parameters
        ----------
        numbers : Tensor of int64 of shape (n_rows of this process,)
            The number of each row in the order of a single process.
        """
        return self

    def every_nth(self, n_rows: int, step: int) -> Tensor:
        """Return the positions of every n-th row, counted over the rows of all processes.

        Parameters
        ----------
        n_rows : int
            Number of rows of this process.
        step : int
            The distance of these rows.

        Returns
        -------
        Tensor of int64
            Positions among the rows of this process.
        """
        return torch.arange(0, n_rows, step)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, which pickle can write, in the order of ranks."""
        return [value]

    def concatenate(self, values: _Values) -> _Values:
        """Return the arrays of all processes as one, that of the first process first."""
        return values

    def from_first(self, value: _Values) -> _Values:
        """Return the value of the first process, which pickle can write."""
        return value

    def together(self, function: Callable[[], _Result]) -> _Result:
        """Call a function that may fail in each process. If it fails in one, raise in all.

        Parameters
        ----------
        function : callable() -> result
            Needs no other process.

        Raises
        ------
        Exception
            What the function raises here, or an error with the message of another process.
        """
        return function()


ALONE = Processes()
