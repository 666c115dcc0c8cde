"""Adam or SGD for a single model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import CapturableInput, SplittableInput
from skbinary.models.make_batch import AnyBatch
from skbinary.runtime.device import full_precision
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.cuda_graph import (
    Capture,
    CapturedStep,
    StepInputs,
    StepMasks,
    choose_capture,
)
from skbinary.solvers.minibatch.dropout import PrefetchedMasks
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.minibatch.sharded_gradient import BatchSlice, ShardedGradient
from skbinary.solvers.minibatch.weight_average import WeightAverage, training_weights
from skbinary.solvers.recording import State, copied, copied_state
from skbinary.solvers.result import Progress


class BatchHooks(Protocol):
    """Functions that are called for every batch, for callbacks."""

    def batch_begin(self, index: Tensor) -> None:
        """Handle the beginning of a batch, given its rows, of shape (n_rows,)."""
        ...

    def gradient_ready(self) -> None:
        """Handle a gradient, or change it, before the optimizer uses it."""
        ...

    def batch_end(self, index: Tensor, loss: Tensor) -> None:
        """Handle the end of a batch, given its rows and its mean loss before the step."""
        ...


class MiniBatch:
    """Trains a single model in mini-batches: a ``Solver`` whose epoch is a step for every batch.

    Parameters
    ----------
    model_batch : ModelBatch or ModuleBatch
        A batch of one model.
    setup : MiniBatchSetup
        How the model is trained. Its optimizer updates the parameters of `model_batch`.
    earlier : mapping or None, default=None
        The ``state()`` of a training that this one continues.
    pool : ThreadPool or None, default=None
        The threads that share large steps. None for one thread.
    capture : Capture or None, default=None
        Captures the step of a full batch, to replay it. None for CUDA graphs on CUDA, and no
        capture on other devices.

    Attributes
    ----------
    hooks : BatchHooks or None
        Called for every batch, if set. Steps are then not captured.
    """

    def __init__(
        self,
        model_batch: AnyBatch,
        setup: MiniBatchSetup,
        *,
        earlier: Mapping[str, Any] | None = None,
        pool: ThreadPool | None = None,
        capture: Capture | None = None,
    ):
        self.model_batch = model_batch
        self.setup = setup
        self.dataset = dataset = setup.dataset
        self.optimizer = setup.optimizer
        self.schedule = setup.schedule
        self.batch_size = batch_size = setup.batch_size
        self.l2_penalty = setup.l2_penalty
        self.n_seen = setup.n_seen
        self.hooks: BatchHooks | None = None
        self._capture = choose_capture(setup, capture)
        # A captured step takes full batches: the last one is padded with rows of weight zero.
        n_rows = self.n_batches * batch_size if self._capture else dataset.n_samples
        self._padded_order = torch.zeros(n_rows, dtype=torch.int64)
        self._order = self._padded_order[: dataset.n_samples]
        torch.arange(dataset.n_samples, out=self._order)
        self._weight = None if dataset.weight is None else dataset.weight.cpu().double()
        self._total_weight = dataset.total_weight
        self._logits = dataset.target.new_empty(n_rows)
        n_weights = model_batch.architecture.n_weights
        self._penalized = model_batch.parameters[:, :n_weights]
        self._penalized_gradient = model_batch.gradient[:, :n_weights]
        self._gradient = ShardedGradient(model_batch, setup.dropout, pool or ThreadPool(1))
        self._generator = setup.generator()
        self._captured: CapturedStep | None = None
        self._average: WeightAverage | None = None
        if setup.weight_average:
            decay, parameters = setup.weight_average, model_batch.parameters
            self._average = WeightAverage.resume(parameters, decay, earlier or {})

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch."""
        return self.setup.n_batches

    def start(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def run_epoch(self) -> Progress:
        """Make a step for every batch of the training set."""
        rate, n = self.schedule.rate, self.dataset.n_samples
        self._shuffle()
        order = self._padded_order if self._is_captured else self._order
        order = order.to(self.dataset.device)
        target = self.dataset.target[order]
        precision = full_precision(order.device)
        with self.model_batch.training(self._generator), training_weights(self._average):
            self._run_steps(order, target)
            square = self._penalized.square().sum(dtype=precision)
        self.n_seen += n
        self.schedule.after_epoch(self.n_seen)
        logits = self._logits[:n]
        losses = functional.softplus(logits).addcmul_(target[:n], logits, value=-1)
        if self.dataset.weight is not None:
            losses *= self.dataset.weight[order[:n]]
        sums = (losses.sum(dtype=precision), square)
        total, squares = torch.stack(sums).tolist()  # the only synchronization with the device
        penalty = self.l2_penalty.of_epoch(squares, self.n_batches)
        loss = total / self._total_weight
        return Progress(loss, loss + penalty / self._total_weight, rate)

    def on_plateau(self) -> bool:
        """Notify the schedule that the loss no longer improves; return whether to stop."""
        return self.schedule.on_plateau()

    def state(self) -> dict[str, Any]:
        """Return the state of the optimizer and the number of rows seen, to resume from."""
        average = {} if self._average is None else self._average.state()
        return {**self.optimizer.state(), **average, "n_seen": self.n_seen}

    def snapshot(self) -> State:
        """Return a copy of the state after an epoch."""
        dropout, average, generator = self.setup.dropout, self._average, self._generator
        if self._captured is not None:
            dropout = self._captured.dropout or dropout
        return {
            "values": copied(self.model_batch.values),
            "optimizer": copied_state(self.optimizer.state()),
            "schedule": dict(vars(self.schedule)),
            "dropout": None if dropout is None else dropout.snapshot(),
            "shards": self._gradient.snapshot(),
            "average": None if average is None else average.snapshot(),
            "generator": None if generator is None else generator.snapshot(),
            "n_seen": self.n_seen,
        }

    def restore(self, state: State) -> None:
        """Go on from a ``snapshot()``. The rows are shuffled again as in the epochs before it."""
        n_epochs = (state["n_seen"] - self.n_seen) // self.dataset.n_samples
        for _ in range(n_epochs):
            self._shuffle()
        self.n_seen = state["n_seen"]
        self.model_batch.values.copy_(state["values"])
        own = self.optimizer.parameters
        self.optimizer = self.optimizer.with_parameters(own, state=state["optimizer"])
        vars(self.schedule).update(state["schedule"])
        if self.setup.dropout is not None:
            self.setup.dropout.restore(state["dropout"])
            self._gradient.restore(state["shards"])
        if self._average is not None:
            self._average.restore(state["average"])
        if self._generator is not None:
            self._generator.restore(state["generator"])

    def _shuffle(self) -> None:
        if self.setup.shuffler is not None:
            self.setup.shuffler.shuffle(self._order.numpy())

    def _run_steps(self, order: Tensor, target: Tensor) -> None:
        """Make a step for each batch, and keep the logits before it."""
        size = self.batch_size
        columns = (order, target, self._logits[: len(order), None])
        columns_of_batches = (torch.split(each, size) for each in columns)
        slices = map(BatchSlice, *columns_of_batches, *self._scales(len(order)))
        for fetched in torch.split(order, self.setup.rows.fetch_size(size)):
            for batch in self.setup.rows.batch(fetched).split(size):
                self._step(batch, next(slices))
                self.schedule.after_step()
                if self._average is not None:
                    self._average.update()

    @property
    def _is_captured(self) -> bool:
        return self._capture is not None and self.hooks is None

    def _scales(self, n_rows: int) -> tuple[Sequence[float | Tensor], Sequence[float]]:
        """Return the factor of each row's loss, and the total weight, for every batch."""
        n, size = self.dataset.n_samples, self.batch_size
        if self._weight is None and n_rows == n:
            n_rows_of_batches = [min(size, n - start) for start in range(0, n, size)]
            totals = [float(each) for each in n_rows_of_batches]
            return [1 / each for each in n_rows_of_batches], totals
        weight = torch.zeros(n_rows, dtype=torch.float64)
        weight[:n] = 1 if self._weight is None else self._weight[self._order]
        batch = torch.arange(n_rows) // size
        totals_of_batches = torch.zeros(self.n_batches, dtype=weight.dtype)
        totals_of_batches.index_add_(0, batch, weight)
        *full, last = torch.split((weight / totals_of_batches[batch]).to(self._logits), size)
        if self._weight is None:  # all batches but the last one are equal
            full = full[:1] * len(full)
        return [*full, last], totals_of_batches.tolist()

    def _step(self, batch: SplittableInput, rows: BatchSlice) -> None:
        hooks = self.hooks
        rate = self.schedule.rate
        l2_strength = self.l2_penalty.for_mean_loss(
            rows.total_weight if self.l2_penalty.per_batch else self._total_weight
        )
        if self._is_captured:
            features = cast(CapturableInput, batch)
            inputs = StepInputs(features, rows.target, rows.scale, l2_strength, rate)
            rows.logits[:, 0] = self._captured_step(inputs)(inputs)
            return
        if hooks is not None:
            hooks.batch_begin(rows.row_index)
        self._gradient.compute(batch, rows)
        if l2_strength:
            self._penalized_gradient.add_(self._penalized, alpha=l2_strength)
        if hooks is not None:
            hooks.gradient_ready()
        self.optimizer.update(self.model_batch.gradient, rate)
        if hooks is not None:
            logits = rows.logits[:, 0]
            losses = functional.softplus(logits) - rows.target * logits
            hooks.batch_end(rows.row_index, (losses * rows.scale).sum())

    def _captured_step(self, inputs: StepInputs) -> CapturedStep:
        if self._captured is None:
            assert self._capture is not None
            masks, dropout = None, self.setup.dropout
            if dropout is not None:
                hidden = self.model_batch.architecture.hidden
                source = PrefetchedMasks([dropout], self.batch_size, hidden, self._logits)
                masks = StepMasks(source)
            self._captured = CapturedStep(
                self.model_batch, self.optimizer, inputs, self._capture, masks
            )
        return self._captured
