"""Adam or SGD for a batch of models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import CapturableInput, LayerInput
from skbinary.models.batch_of_models import pad_parameters
from skbinary.models.make_batch import AnyArchitecture, AnyBatch, make_batch
from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch.batched_data import BatchedData
from skbinary.solvers.minibatch.batched_dropout import BatchedDropout
from skbinary.solvers.minibatch.batched_updates import BatchedUpdates
from skbinary.solvers.minibatch.batched_weights import BatchedWeights, EpochWeights
from skbinary.solvers.minibatch.cuda_graph import (
    Capture,
    CapturedStep,
    StepInputs,
    choose_capture,
)
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.minibatch.weight_average import WeightAverage, training_weights
from skbinary.solvers.recording import State, copied
from skbinary.solvers.result import Progress

# A captured step is captured again, without the finished models, when more than this fraction of
# its models are finished.
_MAX_FINISHED_FRACTION = 1 / 3


class BatchedMiniBatch:
    """Trains a batch of models in mini-batches: a ``BatchedSolver``.

    Each model is trained as it would be in a single fit: on its own rows, in its own batches, at
    its own learning rates. Models with the same batches share them, and finished models are
    removed.

    Parameters
    ----------
    architecture : Architecture or ModuleArchitecture
        The shape of all models. Its dropout rates are not used: those in `setups` are.
    starts : sequence of Tensor of shape (n_values,)
        The parameters, and the buffers of a module, from which the training of each model starts.
    setups : sequence of MiniBatchSetup
        How each model is trained. They are not changed. All have the same number of batches,
        batch size, class of optimizer and number of epochs trained before. Either all have
        dropout or none has, and either all have a moving average of the weights or none has.
    on_step : callable or None, default=None
        Called before every step. An exception that it raises ends the training.
    capture : Capture or None, default=None
        Captures the step of a full batch, to replay it. None for CUDA graphs on CUDA, and no
        capture on other devices.
    """

    def __init__(
        self,
        architecture: AnyArchitecture,
        starts: Sequence[Tensor],
        setups: Sequence[MiniBatchSetup],
        on_step: Callable[[], None] | None = None,
        capture: Capture | None = None,
    ):
        self.architecture = architecture
        self.setups = setups
        self.on_step = on_step or (lambda: None)
        longest = max(setups, key=lambda setup: setup.dataset.n_samples)
        self._capture = choose_capture(longest, capture)
        self._batch_size = longest.batch_size
        # A captured step takes full batches.
        n_padded = longest.n_batches * longest.batch_size
        self._n_rows = longest.dataset.n_samples if self._capture is None else n_padded
        self._n_epochs = longest.n_epochs
        loader_keys = _number_keys([setup.loader_key() for setup in setups])
        dropout_keys = _number_keys([setup.dropout_key() for setup in setups])
        update_keys = _number_keys([setup.update_key() for setup in setups])
        # Models that share batches, masks or learning rates are adjacent.
        order = list(zip(loader_keys, dropout_keys, update_keys, strict=True))
        self._active = sorted(range(len(setups)), key=order.__getitem__)
        self._data = BatchedData(architecture, setups, loader_keys, self._n_rows)
        self._weights = BatchedWeights(setups, self._n_rows)
        self._dropout = BatchedDropout(
            setups,
            list(zip(loader_keys, dropout_keys, strict=True)),
            architecture.hidden,
            prefetches=self._capture is not None,
        )
        self._updates = BatchedUpdates(setups, update_keys)
        self._finished: set[int] = set()
        self._average: WeightAverage | None = None
        self._generator = setups[self._active[0]].generator()
        self._set_values(torch.stack([starts[k] for k in self._active]))

    def start(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def run_epoch(self) -> Mapping[int, Progress]:
        """Make a step for every batch, in which every model is updated."""
        self._data.shuffle()
        rates = [self._updates.rate_of(k) for k in self._active]
        targets, weights = self._data.targets(), self._weights.of_epoch(self._data.order_of)
        n, size = self._n_rows, self._batch_size
        chunks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        with self.model_batch.training(self._generator), training_weights(self._average):
            for i, batch in enumerate(self._data.batches()):
                self.on_step()
                target, scale = targets[..., chunks[i]], weights.scales[i]
                self._step(batch, target, scale, weights.l2_strengths[i], chunks[i])
                if self._average is not None:
                    self._average.update()
            self._n_epochs += 1
            self._updates.after_epoch(self._n_epochs)
            progress = self._progress(targets, weights, rates)
        return dict(zip(self._active, progress, strict=True))

    def solver_of(self, k: int) -> SolverView:
        """Return a view of one model as a solver of its own."""
        return SolverView(self, k)

    def continued(self, k: int) -> MiniBatchSetup:
        """Return the setup with which the training of a model goes on in another batch."""
        setup, i = self.setups[k], self._active.index(k)
        n_steps = self._n_epochs * setup.n_batches
        optimizer, schedule = self._updates.continued(k, n_steps)
        return replace(
            setup,
            optimizer=optimizer,
            schedule=schedule,
            dropout=self._dropout.continued(k),
            n_epochs=self._n_epochs,
            trained=None if self._average is None else self._average.trained[i].clone(),
        )

    def select(self, models: Sequence[int]) -> AnyBatch | None:
        """Return models as a batch to score at once, or None on the CPU, where it is not faster."""
        if self.model_batch.parameters.device.type == "cpu":
            return None
        if list(models) == self._active:
            return self.model_batch
        positions = [self._active.index(k) for k in models]
        return make_batch(self.architecture, self.model_batch.values[positions])

    def remove(self, models: Collection[int]) -> None:
        """Remove models that are finished from the batch.

        If steps are captured, finished models stay in the batch, and their results are ignored,
        until there are so many that another capture pays.
        """
        self._finished.update(models)
        kept = [i for i, k in enumerate(self._active) if k not in self._finished]
        n_finished = len(self._active) - len(kept)
        max_finished = 0.0
        if self._capture is not None:
            max_finished = _MAX_FINISHED_FRACTION * len(self._active)
        if kept and n_finished > max_finished:
            self._active = [self._active[i] for i in kept]
            self._set_values(self.model_batch.values[kept], kept)

    def snapshot(self) -> State:
        """Return a copy of the state after an epoch, of the models that are in training."""
        average, generator = self._average, self._generator
        return {
            "active": list(self._active),
            "finished": sorted(self._finished),
            "n_epochs": self._n_epochs,
            "values": copied(self.model_batch.values),
            "updates": self._updates.snapshot(),
            "dropout": self._dropout.snapshot(),
            "average": None if average is None else average.snapshot(),
            "generator": None if generator is None else generator.snapshot(),
        }

    def restore(self, state: State) -> None:
        """Go on from a ``snapshot()`` with its models, in the batches of its next epoch."""
        kept = [self._active.index(k) for k in state["active"]]
        self._active, self._finished = list(state["active"]), set(state["finished"])
        self._dropout.restore(self._active, state["dropout"])
        self._set_values(state["values"].to(self.model_batch.values), kept)
        self._updates.restore(state["updates"])
        self._data.replay(state["n_epochs"] - self._n_epochs)
        self._n_epochs = state["n_epochs"]
        if self._average is not None:
            self._average.restore(state["average"])
        if self._generator is not None:
            self._generator.restore(state["generator"])

    def _set_values(self, values: Tensor, kept: Sequence[int] | None = None) -> None:
        """Set the parameters, and the buffers, of the models that are in training.

        Parameters
        ----------
        values : Tensor of shape (n_models, n_values)
        kept : sequence of int or None, default=None
            Positions of the models in the previous batch. None for the first batch.
        """
        values = pad_parameters(values, self.architecture.first_width)
        self.model_batch = make_batch(self.architecture, values)
        parameters = self.model_batch.parameters
        self._penalized = parameters[:, : self.architecture.n_weights]
        self._logits = parameters.new_zeros(len(parameters), self._n_rows)
        self._data.set_models(self._active)
        self._weights.set_models(self._active, parameters)
        self._dropout.set_models(self._active, parameters)
        self._updates.set_models(self._active, parameters, kept)
        self._captured: CapturedStep | None = None
        if self._average is not None and kept is not None:
            self._average.select(parameters, kept)
        elif self.setups[0].weight_average:
            setups = [self.setups[k] for k in self._active]
            trained = [setup.trained for setup in setups if setup.trained is not None]
            self._average = WeightAverage(
                parameters,
                [setup.weight_average for setup in setups],
                torch.stack(trained) if trained else None,
                setups[0].n_steps,
            )

    def _step(
        self,
        batch: LayerInput,
        target: Tensor,
        scale: float | Tensor,
        l2_strength: Tensor,
        chunk: slice,
    ) -> None:
        if self.model_batch.n_models == 1 and isinstance(scale, Tensor):
            scale = scale[0]
        if self._capture is not None:
            features, rate = cast(CapturableInput, batch), self._updates.rate()
            inputs = StepInputs(features, target, scale, l2_strength, rate)
            self._logits[:, chunk] = self._captured_step(inputs)(inputs)
            self._updates.after_step()
            return
        n_rows = target.shape[-1]
        buffers = self.model_batch.buffers_for(n_rows)
        masks = self._dropout.draw(n_rows, chunk.stop)
        logits = buffers.forward_backward(batch, target, scale, masks)
        buffers.penalize(l2_strength)
        self._logits[:, chunk] = logits
        self._updates.step(self.model_batch.gradient)

    def _captured_step(self, inputs: StepInputs) -> CapturedStep:
        if self._captured is None:
            assert self._capture is not None
            optimizer, masks = self._updates.optimizer, self._dropout.step_masks()
            self._captured = CapturedStep(self.model_batch, optimizer, inputs, self._capture, masks)
        return self._captured

    def _progress(
        self, targets: Tensor, weights: EpochWeights, rates: Sequence[float]
    ) -> list[Progress]:
        losses = functional.softplus(self._logits).addcmul_(targets, self._logits, value=-1)
        if weights.rows is not None:
            losses *= weights.rows
        precision = full_precision(losses.device)
        squares = self._penalized.square().sum(dim=1, dtype=precision)
        sums = torch.stack([losses.sum(dim=1, dtype=precision), squares]).mT
        progress = []
        # ``tolist`` is the only synchronization with the device.
        for k, rate, (loss, square) in zip(self._active, rates, sums.tolist(), strict=True):
            setup, total_weight = self.setups[k], self._weights.total_weights[k]
            penalty = setup.l2_penalty.of_epoch(square, setup.n_batches)
            progress.append(Progress(loss / total_weight, (loss + penalty) / total_weight, rate))
        return progress


class SolverView:
    """A model of a batch as a ``Solver`` of its own."""

    def __init__(self, batched: BatchedMiniBatch, k: int):
        self._batched = batched
        self._k = k
        self.dataset = batched.setups[k].dataset
        self._viewed: AnyBatch | None = None

    @property
    def model_batch(self) -> AnyBatch:
        """A batch of this model, on the same memory."""
        batch = self._batched.model_batch
        if self._viewed is not batch:
            i = self._batched._active.index(self._k)
            self._view = make_batch(batch.architecture, batch.values[i : i + 1])
            self._viewed = batch
        return self._view

    def start(self) -> None:
        """Do nothing: the batch has started."""

    def run_epoch(self) -> Progress:
        """Make a step for every batch, in which all models are updated."""
        return self._batched.run_epoch()[self._k]

    def continued(self) -> MiniBatchSetup:
        """Return the setup with which the training of the model goes on in another batch."""
        return self._batched.continued(self._k)

    def on_plateau(self) -> bool:
        """Notify the schedule that the loss no longer improves; return whether to stop."""
        return self._batched._updates.on_plateau(self._k)

    def state(self) -> dict[str, Any]:
        """Return the number of rows seen."""
        return {"n_seen": self._batched.setups[self._k].n_seen_after(self._batched._n_epochs)}


def _number_keys(keys: Sequence[Hashable]) -> list[int]:
    """Number the different keys in their order of appearance."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]
