"""Solvers of linear models on columns that are far from zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.data.rows import CenteredRows
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.result import Progress


class _Solver(Protocol):
    @property
    def model_batch(self) -> ModelBatch: ...

    def start(self) -> None: ...

    def run_epoch(self) -> Progress: ...

    def on_plateau(self) -> bool: ...

    def state(self) -> dict[str, Any]: ...


class CenteredSolver:
    """A solver of a linear model with an intercept that sees centered columns.

    The weights are the same. The intercept, which is not penalized, absorbs the offset.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model with an intercept.
    dataset : Dataset
        The rows as they are.
    rows : CenteredRows
        The same rows, centered.
    make : callable(stack, problem) -> solver
        Gives the solver of the centered problem.
    """

    def __init__(
        self,
        model_batch: ModelBatch,
        dataset: Dataset,
        rows: CenteredRows,
        make: Callable[[ModelBatch, Dataset], _Solver],
    ):
        self.dataset = dataset
        self._stack = model_batch
        self._offset = rows.offset
        self._start = ModelBatch(model_batch.architecture, model_batch.parameters.clone())
        self._solver = make(self._start, replace(dataset, rows=rows))
        self._is_behind = False

    @property
    def model_batch(self) -> ModelBatch:
        """The model on the rows as they are."""
        if self._is_behind:
            self._stack.parameters.copy_(
                shifted(self._solver.model_batch.parameters, -self._offset)
            )
            self._is_behind = False
        return self._stack

    def start(self) -> None:
        """Get ready to go on from the parameters as they are now."""
        self._start.parameters.copy_(shifted(self._stack.parameters, self._offset))
        self._solver.start()
        self._is_behind = True

    def run_epoch(self) -> Progress:
        """Make one iteration."""
        self._is_behind = True
        return self._solver.run_epoch()

    def on_plateau(self) -> bool:
        """Tell whether training ends when nothing improves."""
        return self._solver.on_plateau()

    def state(self) -> dict[str, Any]:
        """Give what the solver remembers."""
        return self._solver.state()


def shifted(parameters: Tensor, offset: Tensor) -> Tensor:
    """Return the parameters that give the same logits on rows from which an offset was subtracted.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_features + 1)
        Weights and intercept.
    offset : Tensor of shape (n_features,)

    Returns
    -------
    Tensor of the shape of `parameters`
    """
    moved = parameters.clone()
    moved[:, -1] += parameters[:, :-1] @ offset
    return moved
