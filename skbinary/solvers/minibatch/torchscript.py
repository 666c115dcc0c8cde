"""Gradients of a stack on a processor, as scripts that run without Python.

Python takes its lock again after every operation, and stacks that are trained side by side wait for
it. A script (TorchScript) takes it once. All tensors are its arguments, so that one script serves
all stacks of a shape, in every thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from skbinary.data.batches import LayerInput
from skbinary.models.batch_of_models import ForwardBackward, Noise

# Recording takes as long as a few dozen steps do, and spares a step a part of its time.
_STEPS_BEFORE = 40
# torch keeps what it has recorded as long as the process lives, a third of a megabyte each.
_MOST_SCRIPTS = 100


class Slope(NamedTuple):
    """What the gradient of a batch is made of.

    Parameters
    ----------
    batch : LayerInput
    target : Tensor of shape (n_rows,) or (n_models, n_rows)
    scale : float or Tensor of the shape of `target`
        What the loss of each row counts.
    l2_penalty : Tensor of shape (n_models, 1)
        Strength of the penalty.
    noise : callable or None
        Dropout.
    """

    batch: LayerInput
    target: Tensor
    scale: float | Tensor
    l2_penalty: Tensor
    noise: Noise | None = None

    def take(self, through: ForwardBackward) -> Tensor:
        """Leave the gradient in the stack, and give the logits of the batch."""
        logits = through.forward_backward(self.batch, self.target, self.scale, self.noise)
        through.penalize(self.l2_penalty)
        return logits


# Takes the memory of the stack, the tensors of the batch, targets, scales, penalties and factors of
# dropout, and does what ``Slope.take`` does.
Script = Callable[[tuple[Tensor, ...]], Tensor]


class Scripts:
    """The scripts of a process.

    Attributes
    ----------
    recorded : dict
        Each script under the pattern of what it does. None where there can be none.
    """

    def __init__(self) -> None:
        self.recorded: dict[Hashable, Script | None] = {}
        self._n_steps: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def take(self, through: ForwardBackward, slope: Slope) -> Tensor:
        """Do what the slope does, by a script where that is worth it."""
        if slope.batch.pattern is None:
            return slope.take(through)
        key = (
            through.pattern,
            slope.batch.pattern,
            slope.target.ndim,
            isinstance(slope.scale, Tensor),
            slope.noise is None,
        )
        script = self.recorded.get(key)
        if script is None:
            if key not in self.recorded and len(self.recorded) < _MOST_SCRIPTS:
                self._n_steps[key] += 1
                if self._n_steps[key] > _STEPS_BEFORE:
                    self._record(key, through, slope)
            return slope.take(through)
        noise = slope.noise
        factors = [] if noise is None else [noise(i, x) for i, x in enumerate(through.hidden)]
        # The operations as they were recorded. torch.jit does not list what it exports.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return script(_arguments(through, slope, factors))

    def _record(self, key: Hashable, through: ForwardBackward, slope: Slope) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            self.recorded[key] = _record(through, slope)
        except Exception:
            # Whatever torch has against it, steps can go on as they are.
            self.recorded[key] = None
        finally:
            self._lock.release()


SCRIPTS = Scripts()


def _record(through: ForwardBackward, slope: Slope) -> Script:
    """Record what a slope does to memory, which it leaves as it does itself."""
    noisy = slope.noise is not None
    n_memory, n_batch = len(through.memory(noisy=noisy)), len(slope.batch.tensors())
    # The factors of dropout come from the generators once, in the step that is about to be made.
    factors = [torch.ones_like(each) for each in through.hidden] if noisy else []

    def take(tensors: tuple[Tensor, ...]) -> Tensor:
        rest = iter(tensors[n_memory + n_batch :])
        batch = slope.batch.with_tensors(tensors[n_memory : n_memory + n_batch])
        own = Slope(batch, next(rest), next(rest), next(rest))
        given = list(rest)
        if noisy:
            own = own._replace(noise=lambda layer, _: given[layer])
        return own.take(through.on(tensors[:n_memory], noisy=noisy))

    script: Script = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch gives it no types
        take, (_arguments(through, slope, factors),), check_trace=False
    )
    return script


def _arguments(
    through: ForwardBackward, slope: Slope, factors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    scale = slope.scale
    return (
        *through.memory(noisy=slope.noise is not None),
        *slope.batch.tensors(),
        slope.target,
        scale if isinstance(scale, Tensor) else _number(scale, slope.target.dtype),
        slope.l2_penalty,
        *factors,
    )


@lru_cache(maxsize=16)
def _number(value: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=dtype)
