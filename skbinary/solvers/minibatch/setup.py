"""How a model is trained in mini-batches: rows, optimizer, schedule, penalty and dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.data.rows import BatchSource
from skbinary.runtime.random import GlobalGenerator
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.optimizers import Optimizer
from skbinary.solvers.minibatch.schedules import Schedule


class Shuffler(Protocol):
    """Shuffles an array in place, like a ``numpy.random.RandomState``."""

    def shuffle(self, x: Any, /) -> None: ...


@dataclass(frozen=True)
class L2Penalty:
    """The penalty ``strength / 2 * sum(weights ** 2)`` on all parameters but the biases.

    Parameters
    ----------
    strength : float
        ``alpha`` of a network, or ``1 / C`` of a logistic regression.
    per_batch : bool
        Whether a step divides the penalty by the weight of the batch, as scikit-learn's
        MLPClassifier does, or by the weight of all rows, so that every epoch has the same optimum.
    max_strength : float, default=inf
        Largest strength in a step, for rows whose weights are so small that the penalty dominates.
        At one over the learning rate, a step of SGD sets a weight to zero; at more than that, it
        overshoots zero.
    """

    strength: float
    per_batch: bool
    max_strength: float = math.inf

    def for_mean_loss(self, total_weight: float) -> float:
        """Return the strength of the penalty on the mean loss of rows with this total weight."""
        return min(self.strength / total_weight, self.max_strength)

    def of_epoch(self, squares: float, n_batches: int) -> float:
        """Return the penalty in the objective of an epoch, for a sum of squared weights."""
        # A penalty per batch is counted once for each batch of the epoch.
        return self.strength / 2 * squares * (n_batches if self.per_batch else 1)


@dataclass(frozen=True)
class MiniBatchSetup:
    """How a model is trained in mini-batches.

    Parameters
    ----------
    dataset : Dataset
        The training set. Models with the same rows share it.
    optimizer : Optimizer
        Updates the parameters.
    schedule : Schedule
        The learning rate of every step.
    batch_size : int
        Number of rows of a batch. The last batch of an epoch may be smaller.
    l2_penalty : L2Penalty
        Penalty on the weights.
    shuffler : Shuffler or None
        Shuffles the rows before every epoch, as scikit-learn's MLPClassifier does. None to keep
        the order.
    shuffle_key : object, default=None
        Equal for shufflers that shuffle in the same order. None for a shuffler that differs from
        all others.
    dropout : Dropout or None, default=None
        Draws the dropout masks.
    compressed : BatchSource or None, default=None
        The rows in a form in which batches are multiplied faster.
    weight_average : float, default=0.0
        Decay of the moving average of the weights, which is validated and kept. 0 for none.
    n_seen : int, default=0
        Number of rows seen in earlier trainings that this one continues.
    n_epochs : int, default=0
        Number of epochs that were trained before, in a batch of models that this training
        continues. The optimizer, the schedule and the dropout are as they were at its end.
    trained : Tensor of shape (n_parameters,) or None, default=None
        The weights at the end of that training, if there is a moving average of them.
    generator_seed : int or None, default=None
        Seed for torch's global generators, from which the layers of a module draw in training.
        None if they draw nothing.
    can_replay : bool, default=True
        Whether a step can be captured as a CUDA graph.
    """

    dataset: Dataset
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    l2_penalty: L2Penalty
    shuffler: Shuffler | None
    shuffle_key: object = None
    dropout: Dropout | None = None
    compressed: BatchSource | None = None
    weight_average: float = 0.0
    n_seen: int = 0
    n_epochs: int = 0
    trained: Tensor | None = None
    generator_seed: int | None = None
    can_replay: bool = True

    @property
    def rows(self) -> BatchSource:
        """The rows from which batches are fetched."""
        return self.dataset.rows if self.compressed is None else self.compressed

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch."""
        return -(-self.dataset.n_samples // self.batch_size)

    @property
    def n_steps(self) -> int:
        """Number of steps that were made before."""
        return self.n_epochs * self.n_batches

    def n_seen_after(self, n_epochs: int) -> int:
        """Return the number of rows seen after so many epochs of this training."""
        return self.n_seen + n_epochs * self.dataset.n_samples

    def generator(self) -> GlobalGenerator | None:
        """Return the random numbers of the layers of a module, or None if it draws none."""
        if self.generator_seed is None:
            return None
        return GlobalGenerator(self.generator_seed + self.n_epochs, self.dataset.device)

    def loader_key(self) -> tuple[Any, ...]:
        """Return a key that is equal for models with the same batches in the same order."""
        is_unique = self.shuffler is not None and self.shuffle_key is None
        own_id = id(self) if is_unique else 0
        return id(self.rows), self.shuffler is None, self.shuffle_key, own_id

    def dropout_key(self) -> tuple[Any, ...]:
        """Return a key that is equal for models with the same dropout masks."""
        if self.dropout is None:
            return ()
        seed = self.dropout.generator.initial_seed()
        return self.dropout.rates, seed

    def update_key(self) -> tuple[Any, ...]:
        """Return a key that is equal for models with the same optimizer and learning rates."""
        rates = tuple(sorted((name, float(x)) for name, x in vars(self.schedule).items()))
        own_id = id(self) if self.schedule.depends_on_loss else 0
        rows = (self.dataset.n_samples, self.n_seen) if self.schedule.depends_on_rows else ()
        return type(self.schedule).__name__, rates, self.optimizer.settings, own_id, rows
