"""A step that a GPU records once and replays for every batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skbinary._problem import DenseBatch
from skbinary._stack import Stack
from skbinary._training.optimizers import Optimizer

# Takes a function without arguments, and gives one that repeats what it did.
Recorder = Callable[[Callable[[], None]], Callable[[], None]]

_WARM_UPS = 3  # what PyTorch asks for before a capture


def record_on_cuda(function: Callable[[], None]) -> Callable[[], None]:
    """Capture the kernels that a function launches as a CUDA graph.

    A step of a small network is many short kernels, and launching them takes longer than running
    them. A graph is launched as one.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


class CapturedStep:
    """One step of an optimizer on buffers that stay where they are.

    Parameters
    ----------
    stack : Stack
        One model.
    optimizer : Optimizer
        Moves the stack's parameters.
    n_rows : int
        Rows of every batch.
    record : Recorder
        How the step is recorded.
    """

    def __init__(self, stack: Stack, optimizer: Optimizer, n_rows: int, record: Recorder):
        self.stack = stack
        self.optimizer = optimizer
        like = stack.parameters
        n_weights = stack.architecture.n_weights
        self._rows = like.new_zeros(n_rows, stack.architecture.n_features)
        self._target = like.new_zeros(n_rows)
        self._scale = like.new_zeros(n_rows)
        self._logits = like.new_zeros(n_rows, 1)
        # Learning rate, and strength of the penalty.
        self._rate, self._ridge = like.new_zeros(()), like.new_zeros(())
        self._through = stack.for_batches_of(n_rows)
        self._weights = stack.parameters[:, :n_weights]
        self._slopes = stack.gradient[:, :n_weights]
        self._replay = self._recorded(record)

    def __call__(
        self,
        rows: Tensor,
        target: Tensor,
        logits: Tensor,
        scale: float | Tensor,
        ridge: float,
        rate: float,
    ) -> None:
        """Make a step, and leave the logits before it in `logits`."""
        self._rows.copy_(rows)
        self._target.copy_(target)
        if isinstance(scale, Tensor):
            self._scale.copy_(scale)
        else:
            self._scale.fill_(scale)
        self._ridge.fill_(ridge)
        self._rate.fill_(rate)
        self._replay()
        logits.copy_(self._logits)

    def _step(self) -> None:
        batch = DenseBatch(self._rows)
        self._through.there_and_back(batch, self._target, self._scale, None, self._logits)
        self._slopes.addcmul_(self._weights, self._ridge)
        self.optimizer.update(self.stack.gradient, self._rate)

    def _recorded(self, record: Recorder) -> Callable[[], None]:
        # Recording makes real steps: what they move is put back.
        moved = [self.stack.parameters, *self.optimizer.tensors()]
        before = [each.clone() for each in moved]
        try:
            return record(self._step)
        except RuntimeError:
            # A driver that cannot capture can still compute.
            return self._step
        finally:
            for each, kept in zip(moved, before, strict=True):
                each.copy_(kept)
