"""Count the batches of a torch ``DataLoader``, for ``partial_fit``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skbinary.data.labels import find_classes


class Batches:
    """Batches of a torch ``DataLoader`` for ``partial_fit``, which counts them.

    Each iteration is a pass over the loader, and yields ``(X, y, sample_weight)``, where the weight
    is None if the batches of the loader are pairs.

    Parameters
    ----------
    loader : iterable of (X, y) or (X, y, sample_weight)
        A ``torch.utils.data.DataLoader``, or any other iterable that can be read several times.
    classes : array-like of shape (2,), default=None
        The labels of both classes. None to find them, by a pass over the loader, when they are
        asked for.

    Attributes
    ----------
    n_epochs : int
        Number of whole passes so far.
    n_batches, n_rows : int
        Number of batches and rows so far, in all passes.
    rows_per_second : float
        Rows and their time from the begin of the first pass, training included.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from skbinary import TorchMLPClassifier
    >>> from skbinary.streaming import Batches
    >>> X = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    >>> loader = DataLoader(TensorDataset(X, X[:, 0] > 0), batch_size=500, shuffle=True)
    >>> batches = Batches(loader)
    >>> network = TorchMLPClassifier(random_state=0)
    >>> for epoch in range(3):
    ...     for X, y, weight in batches:
    ...         network = network.partial_fit(X, y, weight, classes=batches.classes)
    >>> batches.n_epochs, batches.n_rows, batches.classes.tolist()
    (3, 3000, [False, True])
    """

    def __init__(self, loader: Iterable[Any], classes: ArrayLike | None = None):
        self.loader = loader
        self.n_epochs = self.n_batches = self.n_rows = 0
        self._classes = None if classes is None else find_classes("Batches", np.asarray(classes))
        self._seconds = 0.0

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        begin = time.perf_counter()
        for batch in self.loader:
            X, y, *weight = self._columns(batch)
            yield X, y, weight[0] if weight else None
            self.n_batches += 1
            self.n_rows += len(y)
            now = time.perf_counter()
            self._seconds, begin = self._seconds + now - begin, now
        self.n_epochs += 1

    def __repr__(self) -> str:
        return (
            f"<Batches: {self.n_epochs} epochs, {self.n_rows:,} rows, "
            f"{self.rows_per_second:,.0f} rows/s>"
        )

    @property
    def rows_per_second(self) -> float:
        """Rows and their time so far, training included."""
        return self.n_rows / self._seconds if self._seconds else 0.0

    @property
    def classes(self) -> NDArray[np.generic]:
        """The labels of both classes, an array of shape (2,)."""
        if self._classes is None:
            labels = [np.unique(np.asarray(self._columns(batch)[1])) for batch in self.loader]
            if not labels:
                raise ValueError("loader must have batches, got none. Check its data set.")
            self._classes = find_classes("Batches", np.concatenate(labels))
        return self._classes

    @staticmethod
    def _columns(batch: Any) -> Any:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            got = f"{len(batch)} items" if isinstance(batch, tuple | list) else type(batch).__name__
            raise ValueError(
                "loader must give batches (X, y) or (X, y, sample_weight), got "
                f"{got}. Set the collate_fn of the loader."
            )
        return batch
