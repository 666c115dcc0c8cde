"""A step that a GPU records once and replays for every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skbinary._batches import LayerInput
from skbinary._stack import Noise, Stack
from skbinary._training.optimizers import Optimizer

# Takes a function without arguments and the generators that it draws from, and gives one that
# repeats what it did.
Recorder = Callable[[Callable[[], None], Sequence[torch.Generator]], Callable[[], None]]

_WARM_UPS = 3  # what PyTorch asks for before a capture


def record_on_cuda(
    function: Callable[[], None], generators: Sequence[torch.Generator]
) -> Callable[[], None]:
    """Capture the kernels that a function launches as a CUDA graph.

    A step of a small network is many short kernels, and launching them takes longer than running
    them. A graph is launched as one.
    """
    graph = torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            function()
        for each in generators:
            graph.register_generator_state(each)
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
    batch : LayerInput
    target : Tensor of shape (n_rows,) or (n_models, n_rows)
    scale : float or Tensor of shape (n_rows,) or (n_models, n_rows)
        What the loss of each row counts.
    ridge, rate : float or Tensor of shape (n_models, 1)
        Strength of the penalty, and learning rate.
    """

    batch: LayerInput
    target: Tensor
    scale: float | Tensor
    ridge: float | Tensor
    rate: float | Tensor


class CapturedStep:
    """One step of an optimizer on buffers that stay where they are.

    Parameters
    ----------
    stack : Stack
        The models.
    optimizer : Optimizer
        Moves the stack's parameters.
    example : Inputs
        Has the shapes of what is coming.
    record : Recorder
        How the step is recorded.
    noise : Noise or None, default=None
        Dropout.
    generators : sequence of torch.Generator, default=()
        Where the noise comes from.
    """

    def __init__(
        self,
        stack: Stack,
        optimizer: Optimizer,
        example: Inputs,
        record: Recorder,
        noise: Noise | None = None,
        generators: Sequence[torch.Generator] = (),
    ):
        self.stack = stack
        self.optimizer = optimizer
        self.noise = noise
        self.generators = generators
        self._numbers = tuple(_Number(stack.parameters, each) for each in example[2:])
        batch = example.batch
        self._batch = batch.with_tensors([each.clone() for each in batch.tensors()])
        self._target = example.target.clone()
        self._through = stack.for_batches_of(example.target.shape[-1])
        self._logits = example.target  # until the first step
        self._fill(example)
        self._replay = self._recorded(record)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Make a step, and give the logits before it, in memory that the next one overwrites."""
        self._fill(inputs)
        self._replay()
        return self._logits

    def _fill(self, inputs: Inputs) -> None:
        for room, tensor in zip(self._batch.tensors(), inputs.batch.tensors(), strict=True):
            room.copy_(tensor)
        self._target.copy_(inputs.target)
        for number, value in zip(self._numbers, inputs[2:], strict=True):
            number.set(value)

    def _step(self) -> None:
        scale, ridge, rate = (number.tensor for number in self._numbers)
        self._logits = self._through.there_and_back(self._batch, self._target, scale, self.noise)
        self._through.penalize(ridge)
        self.optimizer.update(self.stack.gradient, rate)

    def _recorded(self, record: Recorder) -> Callable[[], None]:
        # Recording makes real steps: what they move is put back.
        moved = [self.stack.parameters, *self.optimizer.tensors()]
        before = [each.clone() for each in moved]
        states = [each.get_state() for each in self.generators]
        try:
            return record(self._step, self.generators)
        except RuntimeError:
            # A driver that cannot capture can still compute.
            return self._step
        finally:
            for each, kept in zip(moved, before, strict=True):
                each.copy_(kept)
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)


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
