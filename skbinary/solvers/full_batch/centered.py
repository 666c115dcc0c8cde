"""Train a linear model on centered columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.data.rows import CenteredRows
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.make_batch import AnyBatch
from skbinary.solvers.result import Progress


class _Solver(Protocol):
    @property
    def model_batch(self) -> AnyBatch: ...

    def start(self) -> None: ...

    def run_epoch(self) -> Progress: ...

    def on_plateau(self) -> bool: ...

    def state(self) -> dict[str, Any]: ...


class CenteredSolver:
    """Solver of a linear model with an intercept that trains on centered columns.

    The weights stay the same. The intercept, which is not penalized, absorbs the offset.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model with an intercept.
    dataset : Dataset
        The rows as they were passed.
    rows : CenteredRows
        The same rows, centered.
    make_solver : callable(model_batch, dataset) -> solver
        Returns the solver of the centered problem.
    """

    def __init__(
        self,
        model_batch: ModelBatch,
        dataset: Dataset,
        rows: CenteredRows,
        make_solver: Callable[[ModelBatch, Dataset], _Solver],
    ):
        self.dataset = dataset
        self._model_batch = model_batch
        self._offset = rows.offset
        self._centered = ModelBatch(model_batch.architecture, model_batch.parameters.clone())
        self._solver = make_solver(self._centered, replace(dataset, rows=rows))
        self._is_outdated = False

    @property
    def model_batch(self) -> ModelBatch:
        """The model on the rows as they were passed."""
        if self._is_outdated:
            self._model_batch.parameters.copy_(
                shift_intercept(self._solver.model_batch.parameters, -self._offset)
            )
            self._is_outdated = False
        return self._model_batch

    def start(self) -> None:
        """Prepare to train from the current parameters."""
        self._centered.parameters.copy_(shift_intercept(self._model_batch.parameters, self._offset))
        self._solver.start()
        self._is_outdated = True

    def run_epoch(self) -> Progress:
        """Run one iteration."""
        self._is_outdated = True
        return self._solver.run_epoch()

    def on_plateau(self) -> bool:
        """Return whether to stop when nothing improves."""
        return self._solver.on_plateau()

    def state(self) -> dict[str, Any]:
        """Return the state of the solver."""
        return self._solver.state()


def shift_intercept(parameters: Tensor, offset: Tensor) -> Tensor:
    """Return the parameters that give the same logits on rows from which `offset` was subtracted.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_features + 1)
        Weights and intercept.
    offset : Tensor of shape (n_features,)

    Returns
    -------
    Tensor of shape (n_models, n_features + 1)
    """
    shifted = parameters.clone()
    shifted[:, -1] += parameters[:, :-1] @ offset
    return shifted
