"""Adam or SGD for a single model whose rows are spread over several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.models.make_batch import AnyBatch
from skbinary.runtime.device import full_precision
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.minibatch.sharded_gradient import ShardedGradient
from skbinary.solvers.minibatch.weight_average import WeightAverage, training_weights
from skbinary.solvers.result import Progress

# The number of rows that a process has of a batch varies. It is rounded up to one of about so many
# sizes, since each size has buffers of its own.
_SIZES = 16


class DistributedMiniBatch:
    """Trains a model in mini-batches of rows that are spread over the processes of a group.

    All processes draw the same batches from the rows of all of them. Each computes the gradient of
    its rows of a batch, perhaps of none, and all make the same step with the sum, so that the
    weights are those of a single process, up to rounding. Random numbers are drawn for whole
    batches.

    Parameters
    ----------
    model_batch : ModelBatch or ModuleBatch
        A batch of one model.
    setup : MiniBatchSetup
        How the model is trained. Its dataset has the rows of this process.
    """

    def __init__(self, model_batch: AnyBatch, setup: MiniBatchSetup):
        self.model_batch = model_batch
        self.setup = setup
        self.dataset = setup.dataset
        self.optimizer = setup.optimizer
        self.schedule = setup.schedule
        self.n_seen = setup.n_seen
        self._processes = setup.dataset.processes
        # For each row, in the order of a single process, where it is in this one, or -1.
        self._position = torch.full((setup.dataset.total_samples,), -1)
        n_own = setup.dataset.n_samples
        self._position[self._processes.numbers(n_own)] = torch.arange(n_own)
        self._order = torch.arange(len(self._position))
        self._total_weight = setup.dataset.total_weight
        self._like = setup.dataset.target
        is_weighted = float(setup.dataset.weight is not None)
        self._is_weighted = self._processes.sum_number(is_weighted) > 0
        n_weights = model_batch.architecture.n_weights
        self._penalized = model_batch.parameters[:, :n_weights]
        self._penalized_gradient = model_batch.gradient[:, :n_weights]
        self._shards = ShardedGradient(model_batch, setup.dropout, ThreadPool(1))
        self._total = torch.zeros_like(model_batch.gradient)
        self._average: WeightAverage | None = None
        if setup.weight_average:
            self._average = WeightAverage(model_batch.parameters, [setup.weight_average])

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch."""
        return -(-len(self._order) // self.setup.batch_size)

    def start(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def run_epoch(self) -> Progress:
        """Make a step for every batch of the training set."""
        rate = self.schedule.rate
        if self.setup.shuffler is not None:
            self.setup.shuffler.shuffle(self._order.numpy())
        batches = torch.split(self._position[self._order], self.setup.batch_size)
        precision = full_precision(self._like.device)
        loss = torch.zeros((), dtype=precision, device=self._like.device)
        with self.model_batch.training(None), training_weights(self._average):
            for batch, weight in zip(batches, self._weights(batches), strict=True):
                loss += self._step(batch, weight)
                self.schedule.after_step()
                if self._average is not None:
                    self._average.update()
            squares = float(self._penalized.square().sum(dtype=precision))
        self.n_seen += len(self._order)
        self.schedule.after_epoch(self.n_seen)
        penalty = self.setup.l2_penalty.of_epoch(squares, self.n_batches)
        mean_loss = self._processes.sum_number(float(loss)) / self._total_weight
        return Progress(mean_loss, mean_loss + penalty / self._total_weight, rate)

    def on_plateau(self) -> bool:
        """Notify the schedule that the loss no longer improves; return whether to stop."""
        return self.schedule.on_plateau()

    def state(self) -> dict[str, Any]:
        """Return the number of rows seen. The state of the optimizer is not kept."""
        return {"n_seen": self.n_seen}

    def _weights(self, batches: tuple[Tensor, ...]) -> list[float]:
        """Return the total weight of each batch, over the rows of all processes."""
        weight = self.dataset.weight
        if self._is_weighted:
            weight = torch.ones_like(self._like) if weight is None else weight
            own = [weight[batch[batch >= 0]].double().sum() for batch in batches]
            totals: list[float] = self._processes.sum(torch.stack(own)).tolist()
            return totals
        return [float(len(batch)) for batch in batches]

    def _step(self, batch: Tensor, weight: float) -> Tensor:
        """Make a step, and return the summed losses of the rows of this process before it."""
        loss = self._compute_gradient(batch, weight)
        gradient = self.model_batch.gradient
        gradient.copy_(self._processes.sum(self._total))
        penalty = self.setup.l2_penalty
        strength = penalty.for_mean_loss(weight if penalty.per_batch else self._total_weight)
        if strength:
            self._penalized_gradient.add_(self._penalized, alpha=strength)
        self.optimizer.update(gradient, self.schedule.rate)
        return loss

    def _compute_gradient(self, batch: Tensor, weight: float) -> Tensor:
        """Add up this process's share of the gradient of a batch, and return its summed losses."""
        # The shards are those of a single process, each of which has dropout masks of its own.
        n_shards = self._shards.n_shards_of(len(batch))
        size = -(-len(batch) // n_shards)
        self._total.zero_()
        loss = self._like.new_zeros(())
        shards = zip(
            self._shards.models_of_shards(n_shards), torch.split(batch, size), strict=False
        )
        for (model_batch, dropout), positions in shards:
            loss = loss + self._add_shard(model_batch, dropout, positions, weight)
        return loss

    def _add_shard(
        self, model_batch: AnyBatch, dropout: Dropout | None, positions: Tensor, weight: float
    ) -> Tensor:
        own = torch.nonzero(positions >= 0)[:, 0]
        masks = None
        if dropout is not None:
            hidden = model_batch.architecture.hidden
            masks = dropout.draw(len(positions), hidden, model_batch.parameters)
        if not len(own):
            return self._like.new_zeros(())
        n_rows = len(own)
        step = max(1, len(positions) // _SIZES)
        # Rows are added that count nothing.
        own = functional.pad(own, (0, -n_rows % step), value=int(own[0]))
        index = positions[own].to(self._like.device)
        target, row_weight = self.dataset.target[index], self._like.new_ones(len(own))
        if self.dataset.weight is not None:
            row_weight = self.dataset.weight[index]
        row_weight[n_rows:] = 0
        if masks is not None:
            masks = [each[own.to(each.device)] for each in masks]
        logits = self._like.new_empty(len(own), 1)
        [rows] = self.setup.rows.batch(index).split(len(own))
        buffers = model_batch.buffers_for(len(own))
        buffers.forward_backward(rows, target, row_weight / weight, masks, logits)
        self._total += model_batch.gradient
        losses = functional.softplus(logits[:, 0]) - target * logits[:, 0]
        return losses @ row_weight
