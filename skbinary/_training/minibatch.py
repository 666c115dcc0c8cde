"""An epoch of Adam or SGD over batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._batches import LayerInput, Shareable
from skbinary._device import full_precision
from skbinary._problem import Problem
from skbinary._rows import DenseRows, Source
from skbinary._stack import Stack
from skbinary._team import Team
from skbinary._training.captured import CapturedStep, Inputs, Recorder, record_on_cuda
from skbinary._training.optimizers import Optimizer
from skbinary._training.result import Progress
from skbinary._training.schedules import Schedule

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

    def sibling(self) -> Dropout:
        """Make another one, whose noise comes from a generator of its own."""
        seed = int(torch.randint(2**62, (), generator=self.generator, device=self.generator.device))
        generator = torch.Generator(self.generator.device).manual_seed(seed)
        return Dropout(self.rates, generator)

    def copy(self) -> Dropout:
        """Make another one, whose noise is the same from here on."""
        return Dropout(self.rates, self.generator.clone_state())

    def __call__(self, layer: int, activations: Tensor) -> Tensor:
        return factors_of([self], layer, activations)[0]


def factors_of(dropouts: Sequence[Dropout], layer: int, activations: Tensor) -> Tensor:
    """Give the factors that each of several models multiplies the outputs of a layer with.

    Parameters
    ----------
    dropouts : sequence of Dropout
        One for each model. Each draws what it would draw alone.
    layer : int
    activations : Tensor of shape (n_rows, n_units)
        Those of one of the models.

    Returns
    -------
    Tensor of shape (n_models, n_rows, n_units)
        0 or ``1 / (1 - rate)``.
    """
    factors = activations.new_empty(len(dropouts), *activations.shape)
    keeps = [1 - each.rates[layer] for each in dropouts]
    if activations.device.type != "cpu":
        for own, keep, each in zip(factors, keeps, dropouts, strict=True):
            own.bernoulli_(keep, generator=each.generator)
        if len(set(keeps)) == 1:
            return factors.div_(keeps[0])
        for own, keep in zip(factors, keeps, strict=True):
            own.div_(keep)
        return factors
    # Four switches are read off one random number of 64 bits, a third of the time of four draws.
    n = activations.numel()
    words = torch.empty(len(dropouts), -(-n // 4), dtype=torch.int64)
    for own, each in zip(words, dropouts, strict=True):
        own.random_(-(2**63), None, generator=each.generator)
    bits, flat = words.view(torch.int16)[:, :n], factors.view(len(dropouts), n)
    if len(set(keeps)) == 1:
        _switch(bits, keeps[0], flat)
    else:
        for own_bits, keep, own in zip(bits, keeps, flat, strict=True):
            _switch(own_bits, keep, own)
    return factors


def _switch(bits: Tensor, keep: float, out: Tensor) -> None:
    """Write 0 or one over the chance that it is not 0, which is `keep` to 2 ** -17."""
    if keep == 1:
        out.fill_(1)
        return
    # Of the 65,536 values of 16 bits, the lowest are the ones that are kept. Truth as a number is
    # written in a third of the time of truth as such.
    n_kept = min(max(round(keep * 65536), 1), 65535)
    torch.lt(bits, n_kept - 32768, out=out)
    out.mul_(65536 / n_kept)


@dataclass(frozen=True)
class Course:
    """How a model is trained in batches.

    Parameters
    ----------
    problem : Problem
        The rows. Models that have the very same rows share them.
    optimizer : Optimizer
        Moves the parameters.
    schedule : Schedule
        Gives the rate of every step.
    batch_size : int
        Rows of a batch. The last one of an epoch may be smaller.
    ridge : Ridge
        Penalty on the weights.
    shuffler : Shuffler or None
        Reorders the rows before every epoch, the way scikit-learn's MLPClassifier does. None
        keeps the order.
    shuffle_key : object
        Equal for shufflers that will do the same. None for one that is like no other.
    dropout : Dropout or None
    compressed : Source or None
        The rows once more, where batches of them are multiplied in less time.
    """

    problem: Problem
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    ridge: Ridge
    shuffler: Shuffler | None
    shuffle_key: object = None
    dropout: Dropout | None = None
    compressed: Source | None = None

    @property
    def rows(self) -> Source:
        """Where batches are fetched from."""
        return self.problem.rows if self.compressed is None else self.compressed

    @property
    def n_batches(self) -> int:
        """Count of the batches of an epoch."""
        return -(-self.problem.n_samples // self.batch_size)

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
        n_rows = self.problem.n_samples if self.schedule.counts_rows else 0
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
    stack : Stack
        One model.
    dropout : Dropout or None
    team : Team
        Whose threads work on the shares.
    """

    def __init__(self, stack: Stack, dropout: Dropout | None, team: Team):
        self.stack = stack
        self.dropout = dropout
        self.team = team
        self._members: list[tuple[Stack, Dropout | None]] = []

    def gradient(self, batch: Shareable, part: Part) -> None:
        """Leave the logits of a batch in ``part.logits``, and the gradient in the stack."""
        n_rows = len(part.target)
        n_shares = self._n_shares(n_rows)
        if n_shares == 1:
            _slope(self.stack, self.dropout, batch, part)
            return
        size = -(-n_rows // n_shares)
        shares = zip(
            self._enrolled(n_shares), batch.split(size), part.split(size, n_shares), strict=False
        )
        total = self.stack.gradient.zero_()
        for gradient in self.team.map(_slope_of_share, shares):
            total.add_(gradient)

    def _n_shares(self, n_rows: int) -> int:
        # By size alone, so that the sums do not depend on how many threads there are.
        if self.stack.parameters.device.type != "cpu":
            return 1
        n_products = n_rows * self.stack.architecture.n_weights
        return max(1, min(n_products // _SHARE_PRODUCTS, n_rows // _SHARE_ROWS))

    def _enrolled(self, n: int) -> list[tuple[Stack, Dropout | None]]:
        while len(self._members) < n:
            # The same parameters, and a gradient and noise of their own.
            stack = Stack(self.stack.architecture, self.stack.parameters)
            dropout = self.dropout and self.dropout.sibling()
            self._members.append((stack, dropout))
        return self._members[:n]


def _slope_of_share(share: tuple[tuple[Stack, Dropout | None], LayerInput, Part]) -> Tensor:
    (stack, dropout), batch, part = share
    _slope(stack, dropout, batch, part)
    return stack.gradient


def _slope(stack: Stack, dropout: Dropout | None, batch: LayerInput, part: Part) -> None:
    through = stack.for_batches_of(len(part.target))
    through.there_and_back(batch, part.target, part.scale, dropout, part.logits)


class MiniBatch:
    """Passes over shuffled batches, each of them one step of an optimizer.

    Parameters
    ----------
    stack : Stack
        One model.
    course : Course
        How it is trained. Its optimizer moves the stack's parameters.
    n_seen : int
        Rows that earlier trainings have seen.
    team : Team or None
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
        stack: Stack,
        course: Course,
        *,
        n_seen: int = 0,
        team: Team | None = None,
        record: Recorder | None = None,
    ):
        self.stack = stack
        self.course = course
        self.problem = problem = course.problem
        self.optimizer = course.optimizer
        self.schedule = course.schedule
        self.batch_size = batch_size = course.batch_size
        self.ridge = course.ridge
        self.n_seen = n_seen
        self.hooks: BatchHooks | None = None
        self._order = torch.arange(problem.n_samples)
        self._weight = None if problem.weight is None else problem.weight.cpu().double()
        self._total_weight = problem.total_weight
        self._logits = torch.empty_like(problem.target)
        n_weights = stack.architecture.n_weights
        self._penalized = stack.parameters[:, :n_weights]
        self._penalized_gradient = stack.gradient[:, :n_weights]
        self._crew = Crew(stack, course.dropout, team or Team(1))
        if record is None and problem.device.type == "cuda":
            record = record_on_cuda
        can_be = isinstance(course.rows, DenseRows) and problem.n_samples >= batch_size
        self._record = record if can_be else None
        self._captured: CapturedStep | None = None

    @property
    def n_batches(self) -> int:
        """Count of the batches of an epoch."""
        return self.course.n_batches

    def start(self) -> None:
        """Get ready; batches need nothing."""

    def epoch(self) -> Progress:
        """Go through all rows once."""
        rate = self.schedule.rate
        if self.course.shuffler is not None:
            self.course.shuffler.shuffle(self._order.numpy())
        order = self._order.to(self.problem.device)
        target = self.problem.target[order]
        self._go_through(order, target)
        self.n_seen += self.problem.n_samples
        self.schedule.after_epoch(self.n_seen)
        each = functional.softplus(self._logits) - target * self._logits
        if self.problem.weight is not None:
            each *= self.problem.weight[order]
        precision = full_precision(order.device)
        sums = (each.sum(dtype=precision), self._penalized.square().sum(dtype=precision))
        total, squares = torch.stack(sums).tolist()  # the one wait for the device
        # A penalty that every batch pays is paid as often as there are batches.
        times = self.n_batches if self.ridge.per_batch else 1
        penalty = self.ridge.strength / 2 * squares * times
        loss = total / self._total_weight
        return Progress(loss, loss + penalty / self._total_weight, rate)

    def plateau(self) -> bool:
        """Tell whether training shall end when nothing improves."""
        return self.schedule.plateau()

    def state(self) -> dict[str, Any]:
        """Give what the optimizer remembers."""
        return {**self.optimizer.state(), "n_seen": self.n_seen}

    def _go_through(self, order: Tensor, target: Tensor) -> None:
        """Make one step for each batch, and leave the logits as they were before it."""
        size = self.batch_size
        columns = (order, target, self._logits[:, None])
        parts = map(Part, *(torch.split(each, size) for each in columns), *self._scales(order))
        for fetched in torch.split(order, self.course.rows.n_fetched(size)):
            for batch in self.course.rows.batch(fetched).split(size):
                self._step(batch, next(parts))
                self.schedule.after_step()

    def _scales(self, order: Tensor) -> tuple[Sequence[float | Tensor], Sequence[float]]:
        """Give, for each batch, the factor of every row's slope and the weight of the batch."""
        n, size = len(order), self.batch_size
        if self._weight is None:
            rows = [min(size, n - start) for start in range(0, n, size)]
            return [1 / each for each in rows], [float(each) for each in rows]
        weight = self._weight[self._order]
        batch = torch.arange(n) // size
        totals = torch.zeros(self.n_batches, dtype=weight.dtype).index_add_(0, batch, weight)
        shares = (weight / totals[batch]).to(self._logits)
        return torch.split(shares, size), totals.tolist()

    def _step(self, batch: Shareable, part: Part) -> None:
        hooks = self.hooks
        rate = self.schedule.rate
        ridge = self.ridge.strength / (part.total if self.ridge.per_batch else self._total_weight)
        if self._record is not None and hooks is None and len(part.target) == self.batch_size:
            inputs = Inputs(batch, part.target, part.scale, ridge, rate)
            if self._captured is None:
                dropout = self.course.dropout
                self._captured = CapturedStep(
                    self.stack,
                    self.optimizer,
                    inputs,
                    self._record,
                    dropout,
                    [] if dropout is None else [dropout.generator],
                )
            part.logits[:, 0] = self._captured(inputs)
            return
        if hooks is not None:
            hooks.batch_begin(part.order)
        self._crew.gradient(batch, part)
        if ridge:
            self._penalized_gradient.add_(self._penalized, alpha=ridge)
        if hooks is not None:
            hooks.gradient_ready()
        self.optimizer.update(self.stack.gradient, rate)
        if hooks is not None:
            logits = part.logits[:, 0]
            each = functional.softplus(logits) - part.target * logits
            hooks.batch_end(part.order, (each * part.scale).sum())
