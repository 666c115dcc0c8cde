"""A step that a GPU records once and replays for every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skbinary.data.batches import RecordableInput
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.minibatch.dropout import NoiseAhead
from skbinary.solvers.minibatch.optimizers import Optimizer

# Takes a function without arguments, and gives one that repeats what it did.
Recorder = Callable[[Callable[[], None]], Callable[[], None]]


def record_on_cuda(function: Callable[[], None]) -> Callable[[], None]:
    """Capture the kernels that a function launches as a CUDA graph.

    A step of a small network is many short kernels, and launching them takes longer than running
    them. A graph is launched as one.
    """
    graph = torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function()  # what libraries do when they are called for the first time cannot be captured
        # Without the garbage collection of ``torch.cuda.graph``, which takes longer than all this.
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            function()
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(side)
    return graph.replay


class Inputs(NamedTuple):
    """What a step takes.

    Parameters
    ----------
    batch : RecordableInput
    target : Tensor of shape (n_rows,) or (n_models, n_rows)
    scale : float or Tensor of shape (n_rows,) or (n_models, n_rows)
        What the loss of each row counts.
    l2_penalty, rate : float or Tensor of shape (n_models, 1)
        Strength of the penalty, and learning rate.
    """

    batch: RecordableInput
    target: Tensor
    scale: float | Tensor
    l2_penalty: float | Tensor
    rate: float | Tensor


class StepNoise(NamedTuple):
    """Dropout of a recorded step, which finds its factors where they are put before it.

    Parameters
    ----------
    ahead : NoiseAhead
    at : Tensor of shape (n_models,) or None, default=None
        Whose noise each model has. None for its own.
    """

    ahead: NoiseAhead
    at: Tensor | None = None

    def put_into(self, room: Tensor) -> None:
        """Write the factors of the next step, of shape (n_models, n_numbers)."""
        factors = self.ahead.next()
        if self.at is None:
            room.copy_(factors)
        else:
            torch.index_select(factors, 0, self.at, out=room)


class CapturedStep:
    """One step of an optimizer on buffers that stay where they are.

    Parameters
    ----------
    model_batch : ModelBatch
        The models.
    optimizer : Optimizer
        Moves the stack's parameters.
    example : Inputs
        Has the shapes of what is coming.
    record : Recorder
        How the step is recorded.
    noise : StepNoise or None, default=None
        Dropout.
    """

    def __init__(
        self,
        model_batch: ModelBatch,
        optimizer: Optimizer,
        example: Inputs,
        record: Recorder,
        noise: StepNoise | None = None,
    ):
        self.model_batch = model_batch
        self.optimizer = optimizer
        self._numbers = tuple(_Number(model_batch.parameters, each) for each in example[2:])
        self._batch = example.batch.with_tensors([each.clone() for each in example.batch.tensors()])
        self._target = example.target.clone()
        self._through = model_batch.for_batches_of(example.target.shape[-1])
        self._noise = noise
        n_factors = 0 if noise is None else noise.ahead.n_numbers
        self._factors = model_batch.parameters.new_ones(model_batch.n_models, n_factors)
        self._of_layers: list[Tensor] = []
        if noise is not None:
            shapes = [each.shape for each in self._through.hidden]
            self._of_layers = noise.ahead.of_layers(self._factors, shapes)
        self._logits = example.target  # until the first step
        self._fill(example)
        self._replay = self._recorded(record)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Make a step, and give the logits before it, in memory that the next one overwrites."""
        self._fill(inputs)
        if self._noise is not None:
            self._noise.put_into(self._factors)
        self._replay()
        return self._logits

    def _fill(self, inputs: Inputs) -> None:
        for room, tensor in zip(self._batch.tensors(), inputs.batch.tensors(), strict=True):
            room.copy_(tensor)
        self._target.copy_(inputs.target)
        for number, value in zip(self._numbers, inputs[2:], strict=True):
            number.set(value)

    def _step(self) -> None:
        scale, l2_penalty, rate = (number.tensor for number in self._numbers)
        masks = self._of_layers or None
        self._logits = self._through.forward_backward(self._batch, self._target, scale, masks)
        self._through.penalize(l2_penalty)
        self.optimizer.update(self.model_batch.gradient, rate)

    def _recorded(self, record: Recorder) -> Callable[[], None]:
        # Recording makes real steps: what they move is put back.
        moved = [self.model_batch.parameters, *self.optimizer.tensors()]
        before = [each.clone() for each in moved]
        try:
            return record(self._step)
        except RuntimeError:
            # A driver that cannot capture can still compute.
            return self._step
        finally:
            for each, kept in zip(moved, before, strict=True):
                each.copy_(kept)


class _Number:
    """A number, or a column of them, where a recorded step looks for it."""

    def __init__(self, like: Tensor, example: float | Tensor):
        shape = example.shape if isinstance(example, Tensor) else ()
        self.tensor = like.new_empty(shape)
        self._last: float | Tensor | None = None

    def set(self, value: float | Tensor) -> None:
        if isinstance(value, Tensor):
            if value is not self._last:
                self.tensor.copy_(value)
        elif value != self._last:
            self.tensor.fill_(value)
        self._last = value
