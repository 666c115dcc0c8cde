"""Dropout masks of a batch of models."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skbinary.models.forward_backward import Masks
from skbinary.solvers.minibatch.cuda_graph import StepMasks
from skbinary.solvers.minibatch.dropout import Dropout, DropoutMasks, PrefetchedMasks
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.recording import State


class _SharedDropout(NamedTuple):
    """The dropout of some models with the same masks, and their number of training rows."""

    dropout: Dropout
    n_samples: int


class BatchedDropout:
    """Draws the dropout masks of a batch of models, once for models with the same key.

    Parameters
    ----------
    setups : sequence of MiniBatchSetup
        How each model is trained: all with dropout, or all without. They are not changed.
    keys : sequence of hashable
        Equal for models with the same masks.
    hidden : tuple of int
        Number of units of each hidden layer.
    prefetches : bool
        Whether masks are drawn for several steps at once, for captured steps.
    """

    def __init__(
        self,
        setups: Sequence[MiniBatchSetup],
        keys: Sequence[Hashable],
        hidden: tuple[int, ...],
        *,
        prefetches: bool,
    ):
        self._keys = keys
        self._hidden = hidden
        self._batch_size = setups[0].batch_size
        self._prefetches = prefetches
        self._shared = {
            key: _SharedDropout(setup.dropout.copy(), setup.dataset.n_samples)
            for key, setup in zip(keys, setups, strict=True)
            if setup.dropout is not None
        }
        self._source: PrefetchedMasks | None = None

    def set_models(self, active: Sequence[int], parameters: Tensor) -> None:
        """Set the models that are in training, with parameters (n_models, n_parameters).

        Models with the same key must be adjacent.
        """
        if not self._shared:
            return
        self._n_models = len(active)
        self._like = parameters
        before = list(self._shared)
        self._shared = {
            key: self._shared[key] for key in dict.fromkeys(self._keys[k] for k in active)
        }
        if self._prefetches and self._source is None:
            dropouts = [each.dropout for each in self._shared.values()]
            self._source = PrefetchedMasks(dropouts, self._batch_size, self._hidden, parameters)
        elif self._source is not None and len(before) > len(self._shared):
            self._source.select([before.index(key) for key in self._shared])
        positions = {key: i for i, key in enumerate(self._shared)}
        index = [positions[self._keys[k]] for k in active]
        self._index = torch.tensor(index, device=parameters.device)
        self._masks: dict[int, DropoutMasks] = {}

    def draw(self, n_rows: int, stop: int) -> Masks:
        """Draw the masks of a batch.

        Parameters
        ----------
        n_rows : int
            Number of rows of the batch.
        stop : int
            Number of rows of the epoch up to the end of the batch.

        Returns
        -------
        list of Tensor of shape (n_rows, n_units) or (n_models, n_rows, n_units), or None
            One for each hidden layer. None without dropout.
        """
        if not self._shared:
            return None
        shared = list(self._shared.values())
        if n_rows not in self._masks:
            dropouts = [each.dropout for each in shared]
            self._masks[n_rows] = DropoutMasks(dropouts, n_rows, self._hidden, self._like)
        n_valid = None
        if any(each.n_samples < stop for each in shared):
            n_valid = [min(each.n_samples, stop) - (stop - n_rows) for each in shared]
        masks = self._masks[n_rows].draw(n_valid)
        if len(shared) == 1:
            return [each[0] for each in masks]
        if len(shared) == self._n_models:
            return masks
        return [torch.index_select(each, 0, self._index) for each in masks]

    def snapshot(self) -> list[State]:
        """Return the state of the masks of all models that are in training."""
        if self._source is None:
            return [each.dropout.snapshot() for each in self._shared.values()]
        return [self._source.dropout_of(i).snapshot() for i in range(len(self._shared))]

    def restore(self, active: Sequence[int], states: Sequence[State]) -> None:
        """Go on from a ``snapshot()``, before ``set_models`` sets the models that were active."""
        if not self._shared:
            return
        keys = dict.fromkeys(self._keys[k] for k in active)
        for key, state in zip(keys, states, strict=True):
            self._shared[key].dropout.restore(state)
        self._shared = {key: self._shared[key] for key in keys}
        self._source = None

    def continued(self, k: int) -> Dropout | None:
        """Return the dropout with which the training of a model goes on."""
        if not self._shared:
            return None
        if self._source is not None:
            return self._source.dropout_of(list(self._shared).index(self._keys[k]))
        return self._shared[self._keys[k]].dropout.copy()

    def step_masks(self) -> StepMasks | None:
        """Return the masks of captured steps, or None without dropout."""
        return None if self._source is None else StepMasks(self._source, self._index)
