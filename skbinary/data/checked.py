"""Checked data, as ``fit`` passes it on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skbinary.data.row_ranges import ONE_PROCESS, RowRanges
from skbinary.runtime.processes import Processes

_Built = TypeVar("_Built")


@dataclass(frozen=True)
class Table:
    """Checked rows with their labels.

    Parameters
    ----------
    X : ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        The labels as the user passed them.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
    """

    X: Any
    y: NDArray[np.generic]
    sample_weight: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class CheckedData:
    """What was passed to ``fit``, checked.

    Parameters
    ----------
    train : Table
        The training rows. Early stopping may hold some of them out.
    validation : Table or None
        The validation rows that the user passed.
    classes : ndarray of shape (2,)
        The labels; the second one is the positive class.
    given : object
        The training rows before they were checked.
    groups : ndarray of int of shape (n_samples,) or None, default=None
        The group of each training row. Rows of one group are held out together.
    stream : Scan or None, default=None
        The table that is read anew in each pass. `train` is then a sample of its rows.
    cache : dict or None, default=None
        What was built from the data, for models that are trained on the same data. None to build
        it for each of them.
    ranges : RowRanges, default=ONE_PROCESS
        Which process has which of the training rows. The tables and the groups are those of this
        process.
    """

    train: Table
    validation: Table | None
    classes: NDArray[np.generic]
    given: Any
    groups: NDArray[np.intp] | None = None
    stream: Any = None
    cache: dict[Hashable, Any] | None = None
    ranges: RowRanges = ONE_PROCESS

    @property
    def processes(self) -> Processes:
        """The processes that hold the rows."""
        return self.ranges.processes

    @property
    def n_samples(self) -> int:
        """Number of training rows of all processes."""
        return int(self.train.X.shape[0]) if self.processes.is_one else self.ranges.n_rows


def with_cache(data: CheckedData) -> CheckedData:
    """Return the data with a cache, for several models that are trained on them."""
    return data if data.cache is not None else replace(data, cache={})


def cached(data: CheckedData, key: Hashable, build: Callable[[], _Built]) -> _Built:
    """Build something from the data, or return what was built under the same key before."""
    if data.cache is None:
        return build()
    if key not in data.cache:
        data.cache[key] = build()
    built: _Built = data.cache[key]
    return built
