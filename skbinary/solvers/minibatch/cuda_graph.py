"""A training step that is captured as a CUDA graph and replayed for every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skbinary.data.batches import CapturableInput
from skbinary.data.rows import DenseRows, MappedRows
from skbinary.models.make_batch import AnyBatch
from skbinary.solvers.minibatch.dropout import Dropout, PrefetchedMasks
from skbinary.solvers.minibatch.optimizers import Optimizer
from skbinary.solvers.minibatch.setup import MiniBatchSetup

# Takes a function without arguments, and returns a function that replays its operations.
Capture = Callable[[Callable[[], None]], Callable[[], None]]


def capture_cuda_graph(function: Callable[[], None]) -> Callable[[], None]:
    """Capture the kernels that a function launches as a CUDA graph.

    A step of a small network consists of many short kernels, and launching them takes longer than
    running them. A graph is launched as a whole.

    Parameters
    ----------
    function : callable
        Takes no arguments. It is called twice.

    Returns
    -------
    callable
        Launches the kernels again, on the same memory.
    """
    graph = torch.cuda.CUDAGraph()
    side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no type hints
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        function()  # libraries initialize themselves in the first call, which cannot be captured
        # ``torch.cuda.graph`` collects garbage first, which takes longer than the capture.
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            function()
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(side_stream)
    return graph.replay


def choose_capture(setup: MiniBatchSetup, capture: Capture | None) -> Capture | None:
    """Return how the steps of a training are captured, or None if they are not.

    Parameters
    ----------
    setup : MiniBatchSetup
    capture : Capture or None
        None for CUDA graphs on CUDA, and no capture on other devices.
    """
    dataset = setup.dataset
    if capture is None and dataset.device.type == "cuda":
        capture = capture_cuda_graph
    # Only batches of one size can be captured: not those of sparse rows, nor the only batch of a
    # table that is smaller than a batch.
    is_fixed_size = isinstance(setup.rows, DenseRows | MappedRows)
    can_replay = is_fixed_size and setup.can_replay
    return capture if can_replay and dataset.n_samples >= setup.batch_size else None


class StepInputs(NamedTuple):
    """The inputs of a step.

    Parameters
    ----------
    batch : CapturableInput
        The features.
    target : Tensor of shape (n_rows,) or (n_models, n_rows)
    scale : float or Tensor of shape (n_rows,) or (n_models, n_rows)
        Factor of the loss of each row.
    l2_strength : float or Tensor of shape (n_models, 1)
        Strength of the L2 penalty.
    rate : float or Tensor of shape (n_models, 1)
        Learning rate.
    """

    batch: CapturableInput
    target: Tensor
    scale: float | Tensor
    l2_strength: float | Tensor
    rate: float | Tensor


class StepMasks(NamedTuple):
    """The dropout masks of a captured step.

    Parameters
    ----------
    source : PrefetchedMasks
        Draws the masks.
    model_index : Tensor of shape (n_models,) or None, default=None
        Position in `source` of the masks of each model, since models may share masks. None if
        every model has its own, in the same order.
    """

    source: PrefetchedMasks
    model_index: Tensor | None = None

    def copy_next_into(self, out: Tensor) -> None:
        """Write the masks of the next step, of shape (n_models, n_values)."""
        masks = self.source.next_step()
        if self.model_index is None:
            out.copy_(masks)
        else:
            torch.index_select(masks, 0, self.model_index, out=out)


class CapturedStep:
    """A step of an optimizer, captured on fixed buffers into which the inputs are copied.

    Parameters
    ----------
    model_batch : ModelBatch or ModuleBatch
        The models.
    optimizer : Optimizer
        Updates the parameters of the models.
    example : StepInputs
        Inputs with the shapes of all later ones.
    capture : Capture
        Captures the step.
    masks : StepMasks or None, default=None
        Dropout masks.
    """

    def __init__(
        self,
        model_batch: AnyBatch,
        optimizer: Optimizer,
        example: StepInputs,
        capture: Capture,
        masks: StepMasks | None = None,
    ):
        self.model_batch = model_batch
        self.optimizer = optimizer
        self._values = tuple(_ValueBuffer(model_batch.parameters, each) for each in example[2:])
        self._batch = example.batch.with_tensors([each.clone() for each in example.batch.tensors()])
        self._target = example.target.clone()
        self._buffers = model_batch.buffers_for(example.target.shape[-1])
        self._masks = masks
        n_values = 0 if masks is None else masks.source.n_values
        self._flat_masks = model_batch.parameters.new_ones(model_batch.n_models, n_values)
        self._layer_masks: list[Tensor] = []
        if masks is not None:
            shapes = [each.shape for each in self._buffers.hidden_outputs]
            self._layer_masks = masks.source.split_layers(self._flat_masks, shapes)
        self._logits = example.target  # a placeholder until the first step
        self._copy_inputs(example)
        self._replay = self._capture_step(capture)

    @property
    def dropout(self) -> Dropout | None:
        """What draws the masks of the only model from the next step on, if there is dropout."""
        return None if self._masks is None else self._masks.source.dropout_of(0)

    def __call__(self, inputs: StepInputs) -> Tensor:
        """Make a step.

        Returns
        -------
        Tensor of shape (n_rows,) or (n_models, n_rows)
            The logits before the step. The next call overwrites them.
        """
        self._copy_inputs(inputs)
        if self._masks is not None:
            self._masks.copy_next_into(self._flat_masks)
        self._replay()
        return self._logits

    def _copy_inputs(self, inputs: StepInputs) -> None:
        for buffer, tensor in zip(self._batch.tensors(), inputs.batch.tensors(), strict=True):
            buffer.copy_(tensor)
        self._target.copy_(inputs.target)
        for buffered, value in zip(self._values, inputs[2:], strict=True):
            buffered.set(value)

    def _step(self) -> None:
        scale, l2_strength, rate = (buffered.tensor for buffered in self._values)
        masks = self._layer_masks or None
        self._logits = self._buffers.forward_backward(self._batch, self._target, scale, masks)
        self._buffers.penalize(l2_strength)
        self.optimizer.update(self.model_batch.gradient, rate)

    def _capture_step(self, capture: Capture) -> Callable[[], None]:
        # The capture runs real steps, so that the tensors they change are restored afterwards.
        changed = [self.model_batch.values, *self.optimizer.tensors()]
        before = [each.clone() for each in changed]
        try:
            return capture(self._step)
        except RuntimeError:
            # A driver that cannot capture can still run the step.
            return self._step
        finally:
            for tensor, original in zip(changed, before, strict=True):
                tensor.copy_(original)


class _ValueBuffer:
    """A number, or one for each model or row, in fixed memory. Equal values are not copied."""

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
