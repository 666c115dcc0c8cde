"""Logits, labels and weights of the rows of a fit, which one or several processes have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.checked import CheckedData, Table
from skbinary.estimators.scoring import Scorer
from skbinary.estimators.state import FittedState


class AllRows:
    """The rows of all processes, of which each process scores its own.

    All processes call the same methods in the same order, and get the same values.

    Parameters
    ----------
    data : CheckedData
        The rows of this process.
    """

    def __init__(self, data: CheckedData):
        self._data = data

    def labels(self) -> Table:
        """Return labels and weights of the training rows."""
        return self._without_features(self._data.train)

    def labels_of(self, indices: NDArray[np.intp]) -> Table:
        """Return labels and weights of some of the training rows."""
        table, ranges = self._data.train, self._data.ranges
        own, weight = ranges.own(indices), table.sample_weight
        y = ranges.join(table.y[own], indices)
        return Table(None, y, None if weight is None else ranges.join(weight[own], indices))

    def logits(self, state: FittedState, indices: NDArray[np.intp]) -> NDArray[np.floating]:
        """Return the logits of some of the training rows by a fitted model."""
        ranges = self._data.ranges
        return ranges.join(self._score(state, self._data.train.X[ranges.own(indices)]), indices)

    def validation_logits(self, state: FittedState) -> tuple[NDArray[np.floating], Table]:
        """Return the logits of the validation rows by a fitted model, their labels and weights."""
        validation = self._data.validation
        if validation is None:
            raise AssertionError("there are validation rows")
        own = self._score(state, validation.X)
        return self._data.processes.concatenate(own), self._without_features(validation)

    def _score(self, state: FittedState, X: Any) -> NDArray[np.floating]:
        if not X.shape[0]:
            return self._data.processes.together(lambda: np.empty(0))
        return self._data.processes.together(lambda: Scorer.of(state).logits(X))

    def _without_features(self, table: Table) -> Table:
        together, weight = self._data.processes.concatenate, table.sample_weight
        return Table(None, together(table.y), None if weight is None else together(weight))
