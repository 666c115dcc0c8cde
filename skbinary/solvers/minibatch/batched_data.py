"""Mini-batches and targets of a batch of models."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from skbinary.data.batches import LayerInput, SharedBatch
from skbinary.data.rows import SharedTable
from skbinary.models.make_batch import AnyArchitecture
from skbinary.solvers.minibatch.setup import MiniBatchSetup


class _BatchLoader:
    """Shuffles and fetches the batches that some adjacent models share.

    Parameters
    ----------
    setup : MiniBatchSetup
        The setup of one of the models.
    n_rows : int
        Number of rows of an epoch. If the training set has fewer, its first row pads the rest.

    Attributes
    ----------
    models : slice
        The positions of the models.
    order : Tensor of shape (n_rows,)
        The rows of the training set in the order of the current epoch.
    """

    def __init__(self, setup: MiniBatchSetup, n_rows: int):
        self.models = slice(0, 0)
        self.rows = setup.rows
        self._setup = setup
        self._shuffler = copy.deepcopy(setup.shuffler)
        self._padded_order = torch.zeros(n_rows, dtype=torch.int64)
        self._order = self._padded_order[: setup.dataset.n_samples]
        torch.arange(len(self._order), out=self._order)
        self.replay(setup.n_epochs)

    def replay(self, n_epochs: int) -> None:
        """Shuffle the rows as in earlier epochs, each of which shuffles the order before it."""
        for _ in range(n_epochs):
            self._shuffle()

    def shuffle(self) -> None:
        """Shuffle the rows for the next epoch."""
        self._shuffle()
        self.order = self._padded_order.to(self._setup.dataset.device)

    def _shuffle(self) -> None:
        if self._shuffler is not None:
            self._shuffler.shuffle(self._order.numpy())

    def batches(self) -> Iterator[LayerInput]:
        """Yield the batches of the epoch."""
        size = self._setup.batch_size
        for fetched in torch.split(self.order, self.rows.fetch_size(size)):
            yield from self.rows.batch(fetched).split(size)


class BatchedData:
    """The mini-batches and targets of a batch of models. Models with the same key share them.

    Parameters
    ----------
    architecture : Architecture or ModuleArchitecture
        The shape of all models.
    setups : sequence of MiniBatchSetup
        How each model is trained. They are not changed.
    keys : sequence of hashable
        Equal for models with the same batches in the same order.
    n_rows : int
        Number of rows of an epoch, with padding.
    """

    def __init__(
        self,
        architecture: AnyArchitecture,
        setups: Sequence[MiniBatchSetup],
        keys: Sequence[Hashable],
        n_rows: int,
    ):
        self._architecture = architecture
        self._setups = setups
        self._keys = keys
        self._loaders = {
            key: _BatchLoader(setup, n_rows) for key, setup in zip(keys, setups, strict=True)
        }
        self._active: Sequence[int] = ()

    def set_models(self, active: Sequence[int]) -> None:
        """Set the models that are in training. Those with the same key must be adjacent."""
        self._active = active
        loaders, start = {}, 0
        for key, group in groupby(active, key=self._keys.__getitem__):
            stop = start + len(list(group))
            loaders[key] = self._loaders[key]
            loaders[key].models = slice(start, stop)
            start = stop
        self._loaders = loaders

    def shuffle(self) -> None:
        """Shuffle the rows for the next epoch."""
        for loader in self._loaders.values():
            loader.shuffle()

    def replay(self, n_epochs: int) -> None:
        """Shuffle the rows as in the epochs before the next one."""
        for loader in self._loaders.values():
            loader.replay(n_epochs)

    def order_of(self, k: int) -> Tensor:
        """Return the rows of a model in the order of the epoch, of shape (n_rows,)."""
        return self._loaders[self._keys[k]].order

    def batches(self) -> Iterator[LayerInput]:
        """Yield the batches of the epoch, each for all models."""
        loaders = list(self._loaders.values())
        tables = [each.rows for each in loaders if isinstance(each.rows, SharedTable)]
        is_separate = len(tables) == len(self._active) > 1 and not self._architecture.is_linear
        if is_separate and all(each.has_same_table(tables[0]) for each in tables):
            yield from self._fetch_from_one_table(tables)
            return
        for batches in zip(*(loader.batches() for loader in loaders), strict=True):
            models = [(each.models, batch) for each, batch in zip(loaders, batches, strict=True)]
            yield batches[0] if len(batches) == 1 else SharedBatch(models)

    def targets(self) -> Tensor:
        """Return the targets in the order of the epoch.

        Returns
        -------
        Tensor of shape (n_rows,) or (n_models, n_rows)
            One order for all models, or one for each.
        """
        if len(self._loaders) == 1:
            k = self._active[0]
            return self._setups[k].dataset.target[self.order_of(k)]
        target_of_key: dict[Hashable, Tensor] = {}
        for k in self._active:
            key = self._keys[k]
            if key not in target_of_key:
                target_of_key[key] = self._setups[k].dataset.target[self.order_of(k)]
        return torch.stack([target_of_key[self._keys[k]] for k in self._active])

    def _fetch_from_one_table(self, tables: Sequence[SharedTable]) -> Iterator[LayerInput]:
        """Yield the batches of models with different rows of one table, fetched together."""
        size = self._setups[self._active[0]].batch_size
        loaders = self._loaders.values()
        positions = [
            table.positions(loader.order) for table, loader in zip(tables, loaders, strict=True)
        ]
        n_fetched = tables[0].fetch_size_per_model(size, len(tables))
        for fetched in torch.split(torch.stack(positions), n_fetched, dim=1):
            yield from tables[0].batches_per_model(fetched, size)
