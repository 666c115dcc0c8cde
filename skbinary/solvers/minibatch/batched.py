"""An epoch of Adam or SGD over the batches of several models side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import LayerInput, RecordableInput, SharedBatch
from skbinary.data.rows import SharedTable
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch, padded
from skbinary.models.forward_backward import Masks
from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch.cuda_graph import CapturedStep, Inputs, Recorder, StepNoise
from skbinary.solvers.minibatch.dropout import DropoutMasks, NoiseAhead
from skbinary.solvers.minibatch.single import MiniBatchSetup, recorder_for
from skbinary.solvers.minibatch.updates import Updates
from skbinary.solvers.result import Progress

# What the weights of the rows are, and what a row's loss and the penalty count in each batch.
_Counts = tuple[Tensor | None, Sequence[float | Tensor], Sequence[Tensor]]
# Of the models of a recorded stack, so many may be done before the rest is recorded anew.
_IDLE_SHARE = 1 / 3


class _Feed:
    """The batches that some neighbouring models of a stack see.

    Parameters
    ----------
    setup : MiniBatchSetup
        That of one of the models.
    n_rows : int
        Rows of an epoch. What the course has less is made up for by rows that do not count.
    """

    def __init__(self, setup: MiniBatchSetup, n_rows: int):
        self.models = slice(0, 0)
        self.rows = setup.rows
        self._minibatch_setup = setup
        self._shuffler = copy.deepcopy(setup.shuffler)
        self._order = torch.zeros(n_rows, dtype=torch.int64)
        self._own = self._order[: setup.dataset.n_samples]
        torch.arange(len(self._own), out=self._own)

    def shuffle(self) -> None:
        """Put the rows in the order of the coming epoch."""
        if self._shuffler is not None:
            self._shuffler.shuffle(self._own.numpy())
        self.order = self._order.to(self._minibatch_setup.dataset.device)

    def batches(self) -> Iterator[LayerInput]:
        """Give the batches of an epoch."""
        size = self._minibatch_setup.batch_size
        for fetched in torch.split(self.order, self.rows.fetch_size(size)):
            yield from self.rows.batch(fetched).split(size)


class BatchedMiniBatch:
    """Passes over shuffled batches, in which every model takes a step of its own.

    Each model goes the way it would go alone: its own rows, its own batches, its own rates.
    Models that see the same batches read them once, and those that are done leave the stack.

    Parameters
    ----------
    architecture : Architecture
        The shape of all models. Their dropout is in their courses.
    starts : sequence of Tensor of shape (n_parameters,)
        Where the training of each model starts.
    setups : sequence of MiniBatchSetup
        How each of them is trained. They are not changed. All have the same count of batches,
        batch size and kind of optimizer, and either all have dropout or none.
    on_step : callable or None, default=None
        Called before every step, to raise what shall end the training.
    record : Recorder or None, default=None
        Records the step of whole batches, to be replayed. None to record CUDA graphs on CUDA, and
        nothing elsewhere.
    """

    def __init__(
        self,
        architecture: Architecture,
        starts: Sequence[Tensor],
        setups: Sequence[MiniBatchSetup],
        on_step: Callable[[], None] | None = None,
        record: Recorder | None = None,
    ):
        self.architecture = architecture
        self.setups = setups
        self.on_step = on_step or (lambda: None)
        longest = max(setups, key=lambda setup: setup.dataset.n_samples)
        self._record = recorder_for(longest, record)
        # What is recorded takes whole batches.
        whole = longest.n_batches * longest.batch_size
        self._n_rows = longest.dataset.n_samples if self._record is None else whole
        self._n_epochs = 0
        self._total_weights = [setup.dataset.total_weight for setup in setups]
        # Neighbours that see the same batches, with the same dropout, by the same rule.
        feeds, noises, rules = (
            _numbered([key(setup) for setup in setups])
            for key in (MiniBatchSetup.feed_key, MiniBatchSetup.noise_key, MiniBatchSetup.rule_key)
        )
        self._feed_of = feeds
        self._noise_of = list(zip(feeds, noises, strict=True))
        order = list(zip(feeds, noises, rules, strict=True))
        self._live = sorted(range(len(setups)), key=order.__getitem__)
        self._updates = Updates(setups, rules)
        noisy, fed = (dict(zip(keys, setups, strict=True)) for keys in (self._noise_of, feeds))
        self._noises = {key: _Noise(setup) for key, setup in noisy.items()}
        self._feeds = {key: _Feed(setup, self._n_rows) for key, setup in fed.items()}
        self._ahead: NoiseAhead | None = None
        self._ended: set[int] = set()
        self._settle(torch.stack([starts[k] for k in self._live]))
        if self._record is not None and setups[0].dropout is not None:
            drawn = [each.make for each in self._noises.values()]
            size, hidden = self._batch_size, architecture.hidden
            self._ahead = NoiseAhead(drawn, size, hidden, self._logits)

    def start(self) -> None:
        """Get ready; batches need nothing."""

    def run_epoch(self) -> Mapping[int, Progress]:
        """Let every model go through all of its rows once."""
        feeds = list(self._feeds.values())
        for feed in feeds:
            feed.shuffle()
        rates = [self._updates.rate_of(k) for k in self._live]
        targets, (weights, scales, ridges) = self._targets(), self._counts()
        n, size = self._n_rows, self._batch_size
        chunks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        for i, batch in enumerate(self._batches(feeds)):
            self.on_step()
            self._step(batch, targets[..., chunks[i]], scales[i], ridges[i], chunks[i])
        self._n_epochs += 1
        self._updates.after_epoch(self._n_epochs)
        return dict(zip(self._live, self._progress(targets, weights, rates), strict=True))

    def solver_of(self, k: int) -> _Member:
        """Give one model as if it were alone."""
        return _Member(self, k)

    def select(self, models: Sequence[int]) -> ModelBatch | None:
        """Give models as a stack, to be scored at once, where that is worth it: on a GPU."""
        if self.model_batch.parameters.device.type == "cpu":
            return None
        if list(models) == self._live:
            return self.model_batch
        places = [self._live.index(k) for k in models]
        return ModelBatch(self.architecture, self.model_batch.parameters[places])

    def remove(self, done: Collection[int]) -> None:
        """Let models leave, and close ranks.

        Where steps are recorded, some of those that are done stay, whatever becomes of them, until
        they are so many that another recording pays.
        """
        self._ended.update(done)
        kept = [i for i, k in enumerate(self._live) if k not in self._ended]
        n_idle = len(self._live) - len(kept)
        most_idle = 0.0 if self._record is None else _IDLE_SHARE * len(self._live)
        if kept and n_idle > most_idle:
            self._live = [self._live[i] for i in kept]
            self._settle(self.model_batch.parameters[kept], kept)

    def _settle(self, parameters: Tensor, kept: Sequence[int] | None = None) -> None:
        """Take the parameters of the models that are there, and see who stands where."""
        live = [self.setups[k] for k in self._live]
        parameters = padded(parameters, self.architecture.layers[0][1])
        self.model_batch = ModelBatch(self.architecture, parameters)
        self._feeds = _placed(self._feeds, [self._feed_of[k] for k in self._live])
        self._updates.settle(self._live, parameters, kept)
        self._batch_size = live[0].batch_size
        n_weights = self.architecture.n_weights
        self._penalized = parameters[:, :n_weights]
        self._logits = parameters.new_zeros(len(live), self._n_rows)
        precision = full_precision(parameters.device)
        strengths = [setup.l2_penalty.strength for setup in live]
        self._strengths = torch.tensor(strengths, dtype=precision, device=parameters.device)
        self._most = self._strengths.new_tensor([[setup.l2_penalty.most] for setup in live])
        self._counted: _Counts | None = None
        before = list(self._noises)
        self._noises = _placed(self._noises, [self._noise_of[k] for k in self._live])
        if self._ahead is not None and len(before) > len(self._noises):
            self._ahead.keep([before.index(key) for key in self._noises])
        places = {key: i for i, key in enumerate(self._noises)}
        noise_at = [places[self._noise_of[k]] for k in self._live]
        self._noise_at = torch.tensor(noise_at, device=parameters.device)
        self._captured: CapturedStep | None = None
        self._masks: dict[int, DropoutMasks] = {}

    def _batches(self, feeds: Sequence[_Feed]) -> Iterator[LayerInput]:
        """Give the batches of an epoch as the models see them."""
        rows = [feed.rows for feed in feeds if isinstance(feed.rows, SharedTable)]
        one_each = len(rows) == len(self._live) > 1 and bool(self.architecture.hidden)
        if one_each and all(each.has_same_table(rows[0]) for each in rows):
            orders = [r.positions(f.order) for r, f in zip(rows, feeds, strict=True)]
            n_fetched = rows[0].fetch_size_per_model(self._batch_size, len(rows))
            for where in torch.split(torch.stack(orders), n_fetched, dim=1):
                yield from rows[0].batches_per_model(where, self._batch_size)
            return
        for parts in zip(*(feed.batches() for feed in feeds), strict=True):
            models = [(f.models, part) for f, part in zip(feeds, parts, strict=True)]
            yield parts[0] if len(parts) == 1 else SharedBatch(models)

    def _targets(self) -> Tensor:
        """Give the targets in the order of the epoch, for all models or for each."""
        if len(self._feeds) == 1:
            (feed,) = self._feeds.values()
            return self.setups[self._live[0]].dataset.target[feed.order]
        ordered = {}
        for k in self._live:
            key = self._feed_of[k]
            if key not in ordered:
                ordered[key] = self.setups[k].dataset.target[self._feeds[key].order]
        return torch.stack([ordered[self._feed_of[k]] for k in self._live])

    def _counts(self) -> _Counts:
        """Give the weights of the rows, and what they and the penalty count in each batch."""
        if self._counted is not None:
            return self._counted
        weights = self._weights()
        scales, ridges = self._scales(weights)
        if any(self.setups[k].dataset.weight is not None for k in self._live):
            return weights, scales, ridges
        # Whatever the order of the rows. Only the last batch can have fewer of them.
        whole = len(scales) - 1
        self._counted = (
            weights,
            [*[scales[0]] * whole, scales[-1]],
            [*[ridges[0]] * whole, ridges[-1]],
        )
        return self._counted

    def _weights(self) -> Tensor | None:
        """Give the weight of each row for each model, in the order of the epoch.

        None where all are one.
        """
        datasets = [self.setups[k].dataset for k in self._live]
        if all(each.weight is None and each.n_samples == self._n_rows for each in datasets):
            return None
        n_own = torch.tensor([each.n_samples for each in datasets], device=self._logits.device)
        places = torch.arange(self._n_rows, device=self._logits.device)
        weights = (places < n_own[:, None]).to(self._logits)
        for row, k, dataset in zip(weights, self._live, datasets, strict=True):
            if dataset.weight is not None:
                row.mul_(dataset.weight[self._feeds[self._feed_of[k]].order])
        return weights

    def _scales(self, weights: Tensor | None) -> tuple[Sequence[float | Tensor], Sequence[Tensor]]:
        """Give, for each batch, what a row's loss counts, and the strength of the penalty."""
        n, size = self._n_rows, self._batch_size
        if weights is None:
            counts = [float(min(size, n - start)) for start in range(0, n, size)]
            return [1 / each for each in counts], self._ridges(counts)
        # Rows that make up the last batch weigh nothing.
        n_batches = -(-n // size)
        exact = functional.pad(weights.to(self._strengths), (0, n_batches * size - n))
        exact = exact.view(len(weights), n_batches, size)
        totals = exact.sum(dim=2)
        scales = (exact / totals[..., None]).to(weights).flatten(1)[:, :n]
        return torch.split(scales, size, dim=1), self._ridges(totals)

    def _ridges(self, totals: Sequence[float] | Tensor) -> Sequence[Tensor]:
        """Give the strength of the penalty in each batch.

        Parameters
        ----------
        totals : sequence of float or Tensor of shape (n_models, n_batches)
            The weight of each batch.
        """
        strengths = self._strengths[:, None]

        def in_step(total: float | Tensor) -> Tensor:
            return (strengths / total).minimum(self._most).to(self._logits)

        n_batches = totals.shape[1] if isinstance(totals, Tensor) else len(totals)
        if not self.setups[0].l2_penalty.per_batch:
            whole = strengths.new_tensor([[self._total_weights[k]] for k in self._live])
            return [in_step(whole)] * n_batches
        if isinstance(totals, Tensor):
            return torch.split(in_step(totals), 1, dim=1)
        made = {each: in_step(each) for each in set(totals)}
        return [made[each] for each in totals]

    def _step(
        self,
        batch: LayerInput,
        target: Tensor,
        scale: float | Tensor,
        l2_penalty: Tensor,
        chunk: slice,
    ) -> None:
        if self.model_batch.n_models == 1 and isinstance(scale, Tensor):
            scale = scale[0]
        updates = self._updates
        if self._record is not None:
            inputs = Inputs(cast(RecordableInput, batch), target, scale, l2_penalty, updates.rate())
            self._logits[:, chunk] = self._recorded(inputs)(inputs)
            updates.after_step()
            return
        n_rows = target.shape[-1]
        through = self.model_batch.for_batches_of(n_rows)
        masks = self._draw_masks(n_rows, chunk.stop)
        logits = through.forward_backward(batch, target, scale, masks)
        through.penalize(l2_penalty)
        self._logits[:, chunk] = logits
        updates.move(self.model_batch.gradient)

    def _draw_masks(self, n_rows: int, stop: int) -> Masks:
        """Draw the dropout masks of a batch that ends before row `stop`."""
        if self.setups[self._live[0]].dropout is None:
            return None
        noises = self._noises.values()
        if n_rows not in self._masks:
            dropouts = [each.make for each in noises]
            hidden = self.architecture.hidden
            self._masks[n_rows] = DropoutMasks(dropouts, n_rows, hidden, self._logits)
        n_own = None
        if any(each.n_samples < stop for each in noises):
            n_own = [min(each.n_samples, stop) - (stop - n_rows) for each in noises]
        masks = self._masks[n_rows].draw(n_own)
        if len(noises) == 1:
            return [each[0] for each in masks]
        if len(noises) == len(self._live):
            return masks
        return [torch.index_select(each, 0, self._noise_at) for each in masks]

    def _recorded(self, inputs: Inputs) -> CapturedStep:
        if self._captured is None:
            assert self._record is not None
            noise = None if self._ahead is None else StepNoise(self._ahead, self._noise_at)
            self._captured = CapturedStep(
                self.model_batch, self._updates.optimizer, inputs, self._record, noise
            )
        return self._captured

    def _progress(
        self, targets: Tensor, weights: Tensor | None, rates: Sequence[float]
    ) -> list[Progress]:
        each = functional.softplus(self._logits).addcmul_(targets, self._logits, value=-1)
        if weights is not None:
            each *= weights
        precision = full_precision(each.device)
        squares = self._penalized.square().sum(dim=1, dtype=precision)
        sums = torch.stack([each.sum(dim=1, dtype=precision), squares])
        progress = []
        # The one wait for the device.
        for k, rate, (total, square) in zip(self._live, rates, sums.mT.tolist(), strict=True):
            setup, whole = self.setups[k], self._total_weights[k]
            # A penalty that every batch pays is paid as often as there are batches.
            times = setup.n_batches if setup.l2_penalty.per_batch else 1
            penalty = setup.l2_penalty.strength / 2 * square * times
            progress.append(Progress(total / whole, (total + penalty) / whole, rate))
        return progress


class _Member:
    """A model of a stack, seen as if it were alone."""

    def __init__(self, whole: BatchedMiniBatch, k: int):
        self._whole = whole
        self._k = k
        self.dataset = whole.setups[k].dataset
        self._cut_from: ModelBatch | None = None

    @property
    def model_batch(self) -> ModelBatch:
        """A stack of one, on the same memory."""
        whole = self._whole.model_batch
        if self._cut_from is not whole:
            i = self._whole._live.index(self._k)
            self._own = ModelBatch(whole.architecture, whole.parameters[i : i + 1])
            self._cut_from = whole
        return self._own

    def start(self) -> None:
        """Get ready; the whole stack does."""

    def run_epoch(self) -> Progress:
        """Go through all rows once, together with the others."""
        return self._whole.run_epoch()[self._k]

    def on_plateau(self) -> bool:
        """Tell whether training shall end when nothing improves."""
        return self._whole._updates.plateau(self._k)

    def state(self) -> dict[str, Any]:
        """Give how many rows it has seen."""
        return {"n_seen": self._whole._n_epochs * self.dataset.n_samples}


class _Noise:
    """Dropout that some neighbouring models of a stack have in common."""

    def __init__(self, setup: MiniBatchSetup):
        self.models = slice(0, 0)
        self.make: Any = setup.dropout and setup.dropout.copy()
        self.n_samples = setup.dataset.n_samples


_Key = TypeVar("_Key", bound=Hashable)
_Placed = TypeVar("_Placed", _Feed, _Noise)


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
