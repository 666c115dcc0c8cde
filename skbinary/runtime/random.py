"""Random numbers of torch's global generators, drawn without changing their state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class GlobalGenerator:
    """Draws from torch's global generators, which layers such as dropout use, as from its own.

    Within ``active()`` the global generators go on where the last use of this object has left
    them. Afterwards they are as they were before. Not for several threads at a time: the
    generators belong to the process.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    device : torch.device
        The device that computes. Its generator is used besides that of the CPU.
    """

    def __init__(self, seed: int, device: torch.device):
        self._seed = seed
        self._device = device
        self._states: list[Tensor] | None = None

    def snapshot(self) -> list[Tensor] | None:
        """Return the states of the generators after the last use, or None before the first."""
        return self._states

    def restore(self, states: list[Tensor] | None) -> None:
        """Go on after a ``snapshot()``."""
        self._states = states

    @contextmanager
    def active(self) -> Iterator[None]:
        """Return a context in which the global generators draw the numbers of this one."""
        generators = [torch.default_generator, *_generator_of(self._device)]
        before = [each.get_state() for each in generators]
        try:
            if self._states is None:
                for each in generators:
                    each.manual_seed(self._seed)
            else:
                _set_states(generators, self._states)
            yield
            self._states = [each.get_state() for each in generators]
        finally:
            _set_states(generators, before)


def _generator_of(device: torch.device) -> list[torch.Generator]:
    """Return the global generator of an accelerator, or none for the CPU."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        return [torch.cuda.default_generators[index]]
    if device.type == "mps":
        return [torch.mps._get_default_mps_generator()]
    return []


def _set_states(generators: list[torch.Generator], states: list[Tensor]) -> None:
    for each, state in zip(generators, states, strict=True):
        each.set_state(state)
