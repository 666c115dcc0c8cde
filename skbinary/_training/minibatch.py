"""An epoch of Adam or SGD over batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from skbinary._problem import Problem
from skbinary._stack import Stack
from skbinary._training.optimizers import Optimizer
from skbinary._training.result import Progress
from skbinary._training.schedules import Schedule


class Shuffler(Protocol):
    """Anything that shuffles an array in place: a ``numpy.random.RandomState``."""

    def shuffle(self, x: Any, /) -> None: ...


class BatchHooks(Protocol):
    """What wants to be told of every batch."""

    def batch_begin(self, index: Tensor) -> None: ...

    def gradient_ready(self) -> None: ...

    def batch_end(self, index: Tensor, loss: Tensor) -> None: ...


@dataclass(frozen=True)
class Ridge:
    """The penalty ``strength / 2 * sum(weights ** 2)``, which spares the biases.

    Parameters
    ----------
    strength : float
        ``alpha`` of a network, or ``1 / C`` of a logistic regression.
    per_batch : bool
        Whether the penalty is divided by the weight of the batch, as scikit-learn's
        MLPClassifier does, or by that of all rows, so that every epoch has the same optimum.
    """

    strength: float
    per_batch: bool


class Dropout:
    """Noise that switches hidden units off: Srivastava et al., "Dropout", 2014.

    Parameters
    ----------
    rates : tuple of float
        Share of each hidden layer's outputs that is set to zero. What is left is scaled up by
        ``1 / (1 - rate)``, so that nothing is to be done when scoring.
    generator : torch.Generator
        Where the noise comes from.
    """

    def __init__(self, rates: tuple[float, ...], generator: torch.Generator):
        self.rates = rates
        self.generator = generator

    def __call__(self, layer: int, activations: Tensor) -> Tensor:
        keep = 1 - self.rates[layer]
        noise = torch.empty_like(activations)
        return noise.bernoulli_(keep, generator=self.generator).div_(keep)


class MiniBatch:
    """Passes over shuffled batches, each of them one step of an optimizer.

    Parameters
    ----------
    stack : Stack
        One model.
    problem : Problem
        The rows.
    optimizer : Optimizer
        Moves the stack's parameters.
    schedule : Schedule
        Gives the rate of every step.
    batch_size : int
        Rows of a batch. The last one of an epoch may be smaller.
    ridge : Ridge
        Penalty on the weights.
    shuffler : Shuffler or None
        Reorders the rows before every epoch, the way scikit-learn's MLPClassifier does. None
        keeps the order.
    dropout : Dropout or None
    hooks : BatchHooks or None
        Told of every batch.
    n_seen : int
        Rows that earlier trainings have seen.
    """

    def __init__(
        self,
        stack: Stack,
        problem: Problem,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        batch_size: int,
        ridge: Ridge,
        shuffler: Shuffler | None,
        dropout: Dropout | None = None,
        n_seen: int = 0,
    ):
        self.stack = stack
        self.problem = problem
        self.optimizer = optimizer
        self.schedule = schedule
        self.batch_size = batch_size
        self.ridge = ridge
        self.shuffler = shuffler
        self.dropout = dropout
        self.n_seen = n_seen
        self.hooks: BatchHooks | None = None
        self._order = torch.arange(problem.n_samples)
        self._total_weight = problem.total_weight
        self._n_weights = stack.architecture.n_weights

    @property
    def n_batches(self) -> int:
        """Count of the batches of an epoch."""
        return -(-self.problem.n_samples // self.batch_size)

    def start(self) -> None:
        """Get ready; batches need nothing."""

    def epoch(self) -> Progress:
        """Go through all rows once."""
        rate = self.schedule.rate
        total = torch.zeros((), dtype=torch.float64, device=self.problem.device)
        if self.problem.device.type == "mps":
            total = total.float()
        for index in self._batches():
            total += self._step(index)
            self.schedule.after_step()
        self.n_seen += self.problem.n_samples
        self.schedule.after_epoch(self.n_seen)
        loss = float(total) / self._total_weight  # the one wait for the device
        return Progress(loss, loss + self._penalty(), rate)

    def plateau(self) -> bool:
        """Tell whether training shall end when nothing improves."""
        return self.schedule.plateau()

    def state(self) -> dict[str, Any]:
        """Give what the optimizer remembers."""
        return {**self.optimizer.state(), "n_seen": self.n_seen}

    def _batches(self) -> Iterator[Tensor]:
        if self.shuffler is not None:
            self.shuffler.shuffle(self._order.numpy())
        return iter(torch.split(self._order.to(self.problem.device), self.batch_size))

    def _step(self, index: Tensor) -> Tensor:
        if self.hooks is not None:
            self.hooks.batch_begin(index)
        problem, stack = self.problem, self.stack
        weight = None if problem.weight is None else problem.weight[index]
        loss = stack.loss_and_gradient(
            problem.rows.batch(index), problem.target[index], weight, self.dropout
        )[0]
        scale: float | Tensor = 1 / len(index) if weight is None else weight.sum().reciprocal()
        self._penalize_and_scale(scale)
        if self.hooks is not None:
            self.hooks.gradient_ready()
        self.optimizer.update(stack.gradient, self.schedule.rate)
        if self.hooks is not None:
            self.hooks.batch_end(index, loss * scale)
        return loss

    def _penalize_and_scale(self, scale: float | Tensor) -> None:
        gradient = self.stack.gradient
        weights = self.stack.parameters[:, : self._n_weights]
        if self.ridge.strength and self.ridge.per_batch:
            gradient[:, : self._n_weights].add_(weights, alpha=self.ridge.strength)
        gradient.mul_(scale)
        if self.ridge.strength and not self.ridge.per_batch:
            strength = self.ridge.strength / self._total_weight
            gradient[:, : self._n_weights].add_(weights, alpha=strength)

    def _penalty(self) -> float:
        if not self.ridge.strength:
            return 0.0
        # A penalty that every batch pays is paid as often as there are batches.
        times = self.n_batches if self.ridge.per_batch else 1
        squares = float(self.stack.parameters[:, : self._n_weights].square().sum())
        return self.ridge.strength / 2 * squares * times / self._total_weight
