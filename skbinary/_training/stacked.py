"""An epoch of Adam or SGD over the batches of several models side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._device import full_precision
from skbinary._problem import Batch, DenseRows, LayerInput, SharedBatch
from skbinary._stack import Architecture, Stack, aligned
from skbinary._training.minibatch import Course, factors_of
from skbinary._training.optimizers import Optimizer
from skbinary._training.result import Progress


class _Feed:
    """The batches that some neighbouring models of a stack see.

    Parameters
    ----------
    course : Course
        That of one of the models.
    n_rows : int
        Rows of an epoch. What the course has less is made up for by rows that do not count.
    """

    def __init__(self, course: Course, n_rows: int):
        self.models = slice(0, 0)
        self.rows = course.problem.rows
        self._course = course
        self._shuffler = copy.deepcopy(course.shuffler)
        self._order = torch.zeros(n_rows, dtype=torch.int64)
        self._own = self._order[: course.problem.n_samples]
        torch.arange(len(self._own), out=self._own)

    def shuffle(self) -> None:
        """Put the rows in the order of the coming epoch."""
        if self._shuffler is not None:
            self._shuffler.shuffle(self._own.numpy())
        self.order = self._order.to(self._course.problem.device)

    def batches(self) -> Iterator[Batch]:
        """Give the batches of an epoch."""
        size = self._course.batch_size
        for fetched in torch.split(self.order, self.rows.n_fetched(size)):
            yield from self.rows.batch(fetched).split(size)


class _Rule:
    """An update rule that some neighbouring models of a stack have in common."""

    def __init__(self, course: Course):
        self.models = slice(0, 0)
        self.optimizer: Optimizer = course.optimizer
        self.schedule = copy.copy(course.schedule)
        self.n_rows = course.problem.n_samples


class StackedMiniBatch:
    """Passes over shuffled batches, in which every model takes a step of its own.

    Each model goes the way it would go alone: its own rows, its own batches, its own rates.
    Models that see the same batches read them once, and those that are done leave the stack.

    Parameters
    ----------
    architecture : Architecture
        The shape of all models. Their dropout is in their courses.
    starts : sequence of Tensor of shape (n_parameters,)
        Where the training of each model starts.
    courses : sequence of Course
        How each of them is trained. They are not changed. All have the same count of batches,
        batch size and kind of optimizer, and either all have dropout or none.
    on_step : callable or None, default=None
        Called before every step, to raise what shall end the training.
    """

    def __init__(
        self,
        architecture: Architecture,
        starts: Sequence[Tensor],
        courses: Sequence[Course],
        on_step: Callable[[], None] | None = None,
    ):
        self.architecture = architecture
        self.courses = courses
        self.on_step = on_step or (lambda: None)
        self._n_rows = max(course.problem.n_samples for course in courses)
        self._n_epochs = 0
        self._total_weights = [course.problem.total_weight for course in courses]
        # Neighbours that see the same batches, with the same dropout, by the same rule.
        feeds, noises, rules = (
            _numbered([key(course) for course in courses])
            for key in (Course.feed_key, Course.noise_key, Course.rule_key)
        )
        self._feed_of = feeds
        self._noise_of = list(zip(feeds, noises, strict=True))
        order = list(zip(feeds, noises, rules, strict=True))
        # A rule that all have in common moves all of them at once.
        self._rule_of = order if len(set(rules)) > 1 else [(0, 0, 0)] * len(courses)
        self._live = sorted(range(len(courses)), key=order.__getitem__)
        self._noises = {
            key: _Noise(course) for key, course in zip(self._noise_of, courses, strict=True)
        }
        self._feeds = {
            key: _Feed(course, self._n_rows)
            for key, course in zip(self._feed_of, courses, strict=True)
        }
        self._rules = {
            key: _Rule(course) for key, course in zip(self._rule_of, courses, strict=True)
        }
        self._settle(torch.stack([starts[k] for k in self._live]))
        for rule in self._rules.values():
            rule.optimizer = rule.optimizer.moved(self.stack.parameters[rule.models])

    def start(self) -> None:
        """Get ready; batches need nothing."""

    def epoch(self) -> Mapping[int, Progress]:
        """Let every model go through all of its rows once."""
        feeds = list(self._feeds.values())
        for feed in feeds:
            feed.shuffle()
        rates = [self._rules[self._rule_of[k]].schedule.rate for k in self._live]
        targets, weights = self._targets(), self._weights()
        scales, ridges = self._scales(weights)
        spans = [slice(s, s + self._batch_size) for s in range(0, self._n_rows, self._batch_size)]
        for i, batch in enumerate(self._batches(feeds)):
            self.on_step()
            self._step(batch, targets[..., spans[i]], scales[i], ridges[i], spans[i])
        self._n_epochs += 1
        for rule in self._rules.values():
            rule.schedule.after_epoch(self._n_epochs * rule.n_rows)
        return dict(zip(self._live, self._progress(targets, weights, rates), strict=True))

    def alone(self, k: int) -> _Member:
        """Give one model as if it were alone."""
        return _Member(self, k)

    def drop(self, done: Collection[int]) -> None:
        """Let models leave, and close ranks."""
        kept = [i for i, k in enumerate(self._live) if k not in done]
        if not kept or not done:
            return
        before = {key: rule.models for key, rule in self._rules.items()}
        self._live = [self._live[i] for i in kept]
        self._settle(self.stack.parameters[kept])
        for key, rule in self._rules.items():
            start, stop = before[key].start, before[key].stop
            rows = torch.tensor([i - start for i in kept if start <= i < stop])
            own = self.stack.parameters[rule.models]
            rule.optimizer = rule.optimizer.moved(own, rows.to(own.device))

    def _settle(self, parameters: Tensor) -> None:
        """Take the parameters of the models that are there, and see who stands where."""
        live = [self.courses[k] for k in self._live]
        parameters = aligned(parameters)
        self.stack = Stack(self.architecture, parameters)
        self._feeds = _placed(self._feeds, [self._feed_of[k] for k in self._live])
        self._rules = _placed(self._rules, [self._rule_of[k] for k in self._live])
        self._batch_size = live[0].batch_size
        n_weights = self.architecture.n_weights
        self._penalized = parameters[:, :n_weights]
        self._penalized_gradient = self.stack.gradient[:, :n_weights]
        self._logits = parameters.new_zeros(len(live), self._n_rows)
        precision = full_precision(parameters.device)
        strengths = [course.ridge.strength for course in live]
        self._strengths = torch.tensor(strengths, dtype=precision, device=parameters.device)
        self._noises = _placed(self._noises, [self._noise_of[k] for k in self._live])

    def _batches(self, feeds: Sequence[_Feed]) -> Iterator[LayerInput]:
        """Give the batches of an epoch as the models see them."""
        rows = [feed.rows for feed in feeds if isinstance(feed.rows, DenseRows)]
        one_each = len(rows) == len(self._live) > 1 and bool(self.architecture.hidden)
        if one_each and all(each.shares(rows[0]) for each in rows):
            orders = [r.positions(f.order) for r, f in zip(rows, feeds, strict=True)]
            for where in torch.split(torch.stack(orders), self._batch_size, dim=1):
                yield rows[0].batch_of_each(where)
            return
        for parts in zip(*(feed.batches() for feed in feeds), strict=True):
            models = [(f.models, part) for f, part in zip(feeds, parts, strict=True)]
            yield parts[0] if len(parts) == 1 else SharedBatch(models)

    def _targets(self) -> Tensor:
        """Give the targets in the order of the epoch, for all models or for each."""
        if len(self._feeds) == 1:
            (feed,) = self._feeds.values()
            return self.courses[self._live[0]].problem.target[feed.order]
        return torch.stack(
            [
                self.courses[k].problem.target[self._feeds[self._feed_of[k]].order]
                for k in self._live
            ]
        )

    def _weights(self) -> Tensor | None:
        """Give the weight of each row for each model, in the order of the epoch.

        None where all are one.
        """
        problems = [self.courses[k].problem for k in self._live]
        if all(each.weight is None and each.n_samples == self._n_rows for each in problems):
            return None
        weights = self._logits.new_ones(self._logits.shape)
        for row, k, problem in zip(weights, self._live, problems, strict=True):
            if problem.weight is not None:
                row.copy_(problem.weight[self._feeds[self._feed_of[k]].order])
            row[problem.n_samples :] = 0
        return weights

    def _scales(self, weights: Tensor | None) -> tuple[Sequence[float | Tensor], Sequence[Tensor]]:
        """Give, for each batch, what a row's loss counts, and the strength of the penalty."""
        n, size = self._n_rows, self._batch_size
        if weights is None:
            counts = [float(min(size, n - start)) for start in range(0, n, size)]
            return [1 / each for each in counts], self._ridges(counts)
        parts = torch.split(weights.to(self._strengths), size, dim=1)
        totals = [part.sum(dim=1) for part in parts]
        scales = [(p / t[:, None]).to(weights) for p, t in zip(parts, totals, strict=True)]
        return scales, self._ridges(totals)

    def _ridges(self, totals: Sequence[float | Tensor]) -> list[Tensor]:
        if not self.courses[0].ridge.per_batch:
            whole = self._strengths.new_tensor([self._total_weights[k] for k in self._live])
            totals = [whole] * len(totals)
        return [(self._strengths / each).to(self._logits)[:, None] for each in totals]

    def _step(
        self, batch: LayerInput, target: Tensor, scale: float | Tensor, ridge: Tensor, span: slice
    ) -> None:
        through = self.stack.for_batches_of(target.shape[-1])
        if self.stack.n_models == 1 and isinstance(scale, Tensor):
            scale = scale[0]
        has_noise = self.courses[self._live[0]].dropout is not None
        noise = partial(_factors, list(self._noises.values())) if has_noise else None
        self._logits[:, span] = through.there_and_back(batch, target, scale, noise)
        self._penalized_gradient.addcmul_(self._penalized, ridge)
        for rule in self._rules.values():
            rule.optimizer.update(self.stack.gradient[rule.models], rule.schedule.rate)
            rule.schedule.after_step()

    def _progress(
        self, targets: Tensor, weights: Tensor | None, rates: Sequence[float]
    ) -> list[Progress]:
        each = functional.softplus(self._logits) - targets * self._logits
        if weights is not None:
            each *= weights
        precision = full_precision(each.device)
        squares = self._penalized.square().sum(dim=1, dtype=precision)
        sums = torch.stack([each.sum(dim=1, dtype=precision), squares])
        progress = []
        # The one wait for the device.
        for k, rate, (total, square) in zip(self._live, rates, sums.mT.tolist(), strict=True):
            course, whole = self.courses[k], self._total_weights[k]
            # A penalty that every batch pays is paid as often as there are batches.
            times = course.n_batches if course.ridge.per_batch else 1
            penalty = course.ridge.strength / 2 * square * times
            progress.append(Progress(total / whole, (total + penalty) / whole, rate))
        return progress


class _Member:
    """A model of a stack, seen as if it were alone."""

    def __init__(self, whole: StackedMiniBatch, k: int):
        self._whole = whole
        self._k = k
        self.problem = whole.courses[k].problem

    @property
    def stack(self) -> Stack:
        """A stack of one, on the same memory."""
        i = self._whole._live.index(self._k)
        return Stack(self._whole.architecture, self._whole.stack.parameters[i : i + 1])

    def start(self) -> None:
        """Get ready; the whole stack does."""

    def epoch(self) -> Progress:
        """Go through all rows once, together with the others."""
        return self._whole.epoch()[self._k]

    def plateau(self) -> bool:
        """Tell whether training shall end when nothing improves."""
        return self._whole._rules[self._whole._rule_of[self._k]].schedule.plateau()

    def state(self) -> dict[str, Any]:
        """Give how many rows it has seen."""
        return {"n_seen": self._whole._n_epochs * self.problem.n_samples}


class _Noise:
    """Dropout that some neighbouring models of a stack have in common."""

    def __init__(self, course: Course):
        self.models = slice(0, 0)
        self.make: Any = course.dropout and course.dropout.copy()


def _factors(noises: Sequence[_Noise], layer: int, activations: Tensor) -> Tensor:
    """Give the factors of dropout that each model would make alone."""
    stacked = activations if activations.ndim == 3 else activations[None]
    factors = factors_of([noise.make for noise in noises], layer, stacked[0])
    if len(noises) == 1:
        return factors[0]
    if len(noises) == len(stacked):
        return factors
    counts = [noise.models.stop - noise.models.start for noise in noises]
    times = torch.tensor(counts, device=factors.device)
    return factors.repeat_interleave(times, dim=0, output_size=len(stacked))


_Key = TypeVar("_Key", bound=Hashable)
_Placed = TypeVar("_Placed", _Feed, _Rule, _Noise)


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    """Number equal keys alike, in the order in which they come."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _placed(things: Mapping[_Key, _Placed], keys: Sequence[_Key]) -> dict[_Key, _Placed]:
    """Keep the things that are still there, and tell them which neighbours are theirs."""
    placed, start = {}, 0
    for key, group in groupby(keys):
        stop = start + len(list(group))
        placed[key] = things[key]
        placed[key].models = slice(start, stop)
        start = stop
    return placed
