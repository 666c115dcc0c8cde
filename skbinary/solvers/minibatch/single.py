"""An epoch of Adam or SGD over batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import LayerInput, RecordableInput, SplittableInput
from skbinary.data.dataset import Dataset
from skbinary.data.rows import BatchSource, DenseRows, MappedRows
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.device import full_precision
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.cuda_graph import (
    CapturedStep,
    Inputs,
    Recorder,
    StepNoise,
    record_on_cuda,
)
from skbinary.solvers.minibatch.dropout import Dropout, NoiseAhead
from skbinary.solvers.minibatch.optimizers import Optimizer
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.result import Progress

# A share of a step that is worth a thread: about a millisecond of products, and enough rows for
# them to run at full speed.
_SHARE_PRODUCTS, _SHARE_ROWS = 10_000_000, 256


class Shuffler(Protocol):
    """Anything that shuffles an array in place: a ``numpy.random.RandomState``."""

    def shuffle(self, x: Any, /) -> None: ...


class BatchHooks(Protocol):
    """What wants to be told of every batch."""

    def batch_begin(self, index: Tensor) -> None: ...

    def gradient_ready(self) -> None: ...

    def batch_end(self, index: Tensor, loss: Tensor) -> None: ...


@dataclass(frozen=True)
class L2Penalty:
    """The penalty ``strength / 2 * sum(weights ** 2)``, which spares the biases.

    Parameters
    ----------
    strength : float
        ``alpha`` of a network, or ``1 / C`` of a logistic regression.
    per_batch : bool
        Whether the penalty is divided by the weight of the batch, as scikit-learn's
        MLPClassifier does, or by that of all rows, so that every epoch has the same optimum.
    most : float
        The largest strength in a step, for rows whose weights are so small that the penalty
        dominates: one over the learning rate makes a weight zero in a step of SGD, and more would
        overshoot zero.
    """

    strength: float
    per_batch: bool
    most: float = math.inf

    def in_step(self, total_weight: float) -> float:
        """Return the strength on the mean loss of rows of a total weight."""
        return min(self.strength / total_weight, self.most)


@dataclass(frozen=True)
class MiniBatchSetup:
    """How a model is trained in batches.

    Parameters
    ----------
    dataset : Dataset
        The rows. Models that have the very same rows share them.
    optimizer : Optimizer
        Moves the parameters.
    schedule : Schedule
        Gives the rate of every step.
    batch_size : int
        Rows of a batch. The last one of an epoch may be smaller.
    l2_penalty : L2Penalty
        Penalty on the weights.
    shuffler : Shuffler or None
        Reorders the rows before every epoch, the way scikit-learn's MLPClassifier does. None
        keeps the order.
    shuffle_key : object
        Equal for shufflers that will do the same. None for one that is like no other.
    dropout : Dropout or None
    compressed : BatchSource or None
        The rows once more, where batches of them are multiplied in less time.
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

    @property
    def rows(self) -> BatchSource:
        """Where batches are fetched from."""
        return self.dataset.rows if self.compressed is None else self.compressed

    @property
    def n_batches(self) -> int:
        """Count of the batches of an epoch."""
        return -(-self.dataset.n_samples // self.batch_size)

    def feed_key(self) -> tuple[Any, ...]:
        """Tell apart what the batches are made of."""
        own = id(self) if self.shuffler is not None and self.shuffle_key is None else 0
        return id(self.rows), self.shuffler is None, self.shuffle_key, own

    def noise_key(self) -> tuple[Any, ...]:
        """Tell apart what dropout will do."""
        if self.dropout is None:
            return ()
        seed = self.dropout.generator.initial_seed()
        return self.dropout.rates, seed

    def rule_key(self) -> tuple[Any, ...]:
        """Tell apart how parameters are moved."""
        rates = tuple(sorted((name, float(x)) for name, x in vars(self.schedule).items()))
        own = id(self) if self.schedule.follows_loss else 0
        n_rows = self.dataset.n_samples if self.schedule.counts_rows else 0
        return type(self.schedule).__name__, rates, self.optimizer.settings, own, n_rows


class Part(NamedTuple):
    """What belongs to a batch, besides its rows.

    Parameters
    ----------
    order : Tensor of shape (n_rows,)
        Which rows they are.
    target : Tensor of shape (n_rows,)
    logits : Tensor of shape (n_rows, 1)
        Where the logits before the step go.
    scale : float or Tensor of shape (n_rows,)
        Share of each row in the mean loss of the batch.
    total : float
        Weight of the batch.
    """

    order: Tensor
    target: Tensor
    logits: Tensor
    scale: float | Tensor
    total: float

    def split(self, n_rows: int, n_parts: int) -> Iterable[Part]:
        """Cut the part into smaller ones."""
        columns = (self.order, self.target, self.logits)
        scales = (
            torch.split(self.scale, n_rows)
            if isinstance(self.scale, Tensor)
            else [self.scale] * n_parts
        )
        cut = (torch.split(each, n_rows) for each in columns)
        return map(Part, *cut, scales, [self.total] * n_parts)


class Crew:
    """Computes the gradient of a batch, in shares if the batch is large.

    Parameters
    ----------
    model_batch : ModelBatch
        One model.
    dropout : Dropout or None
    pool : ThreadPool
        Whose threads work on the shares.
    """

    def __init__(self, model_batch: ModelBatch, dropout: Dropout | None, pool: ThreadPool):
        self.model_batch = model_batch
        self.dropout = dropout
        self.pool = pool
        self._members: list[tuple[ModelBatch, Dropout | None]] = []

    def gradient(self, batch: SplittableInput, part: Part) -> None:
        """Leave the logits of a batch in ``part.logits``, and the gradient in the stack."""
        n_rows = len(part.target)
        n_shares = self._n_shares(n_rows)
        if n_shares == 1:
            _slope(self.model_batch, self.dropout, batch, part)
            return
        size = -(-n_rows // n_shares)
        shares = zip(
            self._enrolled(n_shares), batch.split(size), part.split(size, n_shares), strict=False
        )
        total = self.model_batch.gradient.zero_()
        for gradient in self.pool.map(_slope_of_share, shares):
            total.add_(gradient)

    def _n_shares(self, n_rows: int) -> int:
        # By size alone, so that the sums do not depend on how many threads there are.
        if self.model_batch.parameters.device.type != "cpu":
            return 1
        n_products = n_rows * self.model_batch.architecture.n_weights
        return max(1, min(n_products // _SHARE_PRODUCTS, n_rows // _SHARE_ROWS))

    def _enrolled(self, n: int) -> list[tuple[ModelBatch, Dropout | None]]:
        while len(self._members) < n:
            # The same parameters, and a gradient and noise of their own.
            model_batch = ModelBatch(self.model_batch.architecture, self.model_batch.parameters)
            dropout = self.dropout and self.dropout.sibling()
            self._members.append((model_batch, dropout))
        return self._members[:n]


def _slope_of_share(share: tuple[tuple[ModelBatch, Dropout | None], LayerInput, Part]) -> Tensor:
    (model_batch, dropout), batch, part = share
    _slope(model_batch, dropout, batch, part)
    return model_batch.gradient


def _slope(model_batch: ModelBatch, dropout: Dropout | None, batch: LayerInput, part: Part) -> None:
    through = model_batch.for_batches_of(len(part.target))
    masks = None
    if dropout is not None:
        hidden = model_batch.architecture.hidden
        masks = dropout.draw(len(part.target), hidden, model_batch.parameters)
    through.forward_backward(batch, part.target, part.scale, masks, part.logits)


class MiniBatch:
    """Passes over shuffled batches, each of them one step of an optimizer.

    Parameters
    ----------
    model_batch : ModelBatch
        One model.
    setup : MiniBatchSetup
        How it is trained. Its optimizer moves the stack's parameters.
    n_seen : int
        Rows that earlier trainings have seen.
    pool : ThreadPool or None
        Shares out steps that are large enough. None for one thread.
    record : Recorder or None
        Records the step of a whole batch, to be replayed. None to record CUDA graphs on CUDA, and
        nothing elsewhere.

    Attributes
    ----------
    hooks : BatchHooks or None
        Told of every batch. None until someone asks for it.
    """

    def __init__(
        self,
        model_batch: ModelBatch,
        setup: MiniBatchSetup,
        *,
        n_seen: int = 0,
        pool: ThreadPool | None = None,
        record: Recorder | None = None,
    ):
        self.model_batch = model_batch
        self.setup = setup
        self.dataset = dataset = setup.dataset
        self.optimizer = setup.optimizer
        self.schedule = setup.schedule
        self.batch_size = batch_size = setup.batch_size
        self.l2_penalty = setup.l2_penalty
        self.n_seen = n_seen
        self.hooks: BatchHooks | None = None
        self._record = recorder_for(setup, record)
        # What is recorded takes whole batches: the last one is made up by rows that do not count.
        n_rows = self.n_batches * batch_size if self._record else dataset.n_samples
        self._order = torch.zeros(n_rows, dtype=torch.int64)
        self._own_order = self._order[: dataset.n_samples]
        torch.arange(dataset.n_samples, out=self._own_order)
        self._weight = None if dataset.weight is None else dataset.weight.cpu().double()
        self._total_weight = dataset.total_weight
        self._logits = dataset.target.new_empty(n_rows)
        n_weights = model_batch.architecture.n_weights
        self._penalized = model_batch.parameters[:, :n_weights]
        self._penalized_gradient = model_batch.gradient[:, :n_weights]
        self._crew = Crew(model_batch, setup.dropout, pool or ThreadPool(1))
        self._captured: CapturedStep | None = None

    @property
    def n_batches(self) -> int:
        """Count of the batches of an epoch."""
        return self.setup.n_batches

    def start(self) -> None:
        """Get ready; batches need nothing."""

    def run_epoch(self) -> Progress:
        """Go through all rows once."""
        rate, n = self.schedule.rate, self.dataset.n_samples
        if self.setup.shuffler is not None:
            self.setup.shuffler.shuffle(self._own_order.numpy())
        order = self._order if self._is_recorded else self._own_order
        order = order.to(self.dataset.device)
        target = self.dataset.target[order]
        self._go_through(order, target)
        self.n_seen += n
        self.schedule.after_epoch(self.n_seen)
        logits = self._logits[:n]
        each = functional.softplus(logits).addcmul_(target[:n], logits, value=-1)
        if self.dataset.weight is not None:
            each *= self.dataset.weight[order[:n]]
        precision = full_precision(order.device)
        sums = (each.sum(dtype=precision), self._penalized.square().sum(dtype=precision))
        total, squares = torch.stack(sums).tolist()  # the one wait for the device
        # A penalty that every batch pays is paid as often as there are batches.
        times = self.n_batches if self.l2_penalty.per_batch else 1
        penalty = self.l2_penalty.strength / 2 * squares * times
        loss = total / self._total_weight
        return Progress(loss, loss + penalty / self._total_weight, rate)

    def on_plateau(self) -> bool:
        """Tell whether training shall end when nothing improves."""
        return self.schedule.plateau()

    def state(self) -> dict[str, Any]:
        """Give what the optimizer remembers."""
        return {**self.optimizer.state(), "n_seen": self.n_seen}

    def _go_through(self, order: Tensor, target: Tensor) -> None:
        """Make one step for each batch, and leave the logits as they were before it."""
        size = self.batch_size
        columns = (order, target, self._logits[: len(order), None])
        parts = map(Part, *(torch.split(each, size) for each in columns), *self._scales(len(order)))
        for fetched in torch.split(order, self.setup.rows.fetch_size(size)):
            for batch in self.setup.rows.batch(fetched).split(size):
                self._step(batch, next(parts))
                self.schedule.after_step()

    @property
    def _is_recorded(self) -> bool:
        return self._record is not None and self.hooks is None

    def _scales(self, n_rows: int) -> tuple[Sequence[float | Tensor], Sequence[float]]:
        """Give, for each batch, the factor of every row's slope and the weight of the batch."""
        n, size = self.dataset.n_samples, self.batch_size
        if self._weight is None and n_rows == n:
            rows = [min(size, n - start) for start in range(0, n, size)]
            return [1 / each for each in rows], [float(each) for each in rows]
        weight = torch.zeros(n_rows, dtype=torch.float64)
        weight[:n] = 1 if self._weight is None else self._weight[self._own_order]
        batch = torch.arange(n_rows) // size
        totals = torch.zeros(self.n_batches, dtype=weight.dtype).index_add_(0, batch, weight)
        *whole, last = torch.split((weight / totals[batch]).to(self._logits), size)
        if self._weight is None:  # only the last batch has fewer rows
            whole = whole[:1] * len(whole)
        return [*whole, last], totals.tolist()

    def _step(self, batch: SplittableInput, part: Part) -> None:
        hooks = self.hooks
        rate = self.schedule.rate
        l2_penalty = self.l2_penalty.in_step(
            part.total if self.l2_penalty.per_batch else self._total_weight
        )
        if self._is_recorded:
            inputs = Inputs(cast(RecordableInput, batch), part.target, part.scale, l2_penalty, rate)
            part.logits[:, 0] = self._recorded(inputs)(inputs)
            return
        if hooks is not None:
            hooks.batch_begin(part.order)
        self._crew.gradient(batch, part)
        if l2_penalty:
            self._penalized_gradient.add_(self._penalized, alpha=l2_penalty)
        if hooks is not None:
            hooks.gradient_ready()
        self.optimizer.update(self.model_batch.gradient, rate)
        if hooks is not None:
            logits = part.logits[:, 0]
            each = functional.softplus(logits) - part.target * logits
            hooks.batch_end(part.order, (each * part.scale).sum())

    def _recorded(self, inputs: Inputs) -> CapturedStep:
        if self._captured is None:
            assert self._record is not None
            noise, dropout = None, self.setup.dropout
            if dropout is not None:
                hidden = self.model_batch.architecture.hidden
                ahead = NoiseAhead([dropout], self.batch_size, hidden, self._logits)
                noise = StepNoise(ahead)
            self._captured = CapturedStep(
                self.model_batch, self.optimizer, inputs, self._record, noise
            )
        return self._captured


def recorder_for(setup: MiniBatchSetup, record: Recorder | None) -> Recorder | None:
    """Give what records the steps of a course, or None where they go as they are.

    Parameters
    ----------
    setup : MiniBatchSetup
    record : Recorder or None
        None to record CUDA graphs on CUDA, and nothing elsewhere.
    """
    dataset = setup.dataset
    if record is None and dataset.device.type == "cuda":
        record = record_on_cuda
    # A table that is smaller than a batch has batches of its own size.
    can_be = isinstance(setup.rows, DenseRows | MappedRows)
    return record if can_be and dataset.n_samples >= setup.batch_size else None
