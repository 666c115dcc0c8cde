"""How a batch of models is moved: all models at once, each by its own settings and rate."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch.optimizers import Optimizer
from skbinary.solvers.minibatch.per_model_optimizers import of_each
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.single import MiniBatchSetup


class Updates:
    """The learning rates and the optimizer of a batch of models. Models are told by number.

    Parameters
    ----------
    setups : sequence of MiniBatchSetup
    keys : sequence
        Equal for models that have the same optimizer and the same rates.

    Attributes
    ----------
    optimizer : Optimizer
    """

    optimizer: Optimizer

    def __init__(self, setups: Sequence[MiniBatchSetup], keys: Sequence[Hashable]):
        self.keys = keys
        self.schedules: dict[Hashable, Schedule] = {}
        self._n_rows: dict[Hashable, int] = {}
        for setup, key in zip(setups, keys, strict=True):
            if key not in self.schedules:
                self.schedules[key] = copy.copy(setup.schedule)
                self._n_rows[key] = setup.dataset.n_samples
        self._setups = setups
        self._is_common = len(set(keys)) == 1
        self._live: Sequence[int] = ()
        device = setups[0].dataset.device
        self._like = torch.empty(0, dtype=full_precision(device), device=device)
        self._rates: tuple[list[float], Tensor] = ([], self._like)

    def settle(self, live: Sequence[int], parameters: Tensor, kept: Sequence[int] | None) -> None:
        """Take the models that are there.

        Parameters
        ----------
        live : sequence of int
            Their numbers.
        parameters : Tensor of shape (n_models, n_parameters)
        kept : sequence of int or None
            Where they stood before. None if nobody did.
        """
        there = {self.keys[k] for k in live}
        self.schedules = {key: each for key, each in self.schedules.items() if key in there}
        self._live = live
        if kept is not None:
            self.optimizer = self.optimizer.moved(
                parameters, torch.tensor(kept, device=parameters.device)
            )
        elif self._is_common:
            self.optimizer = self._setups[0].optimizer.moved(parameters)
        else:
            self.optimizer = of_each(parameters, [self._setups[k].optimizer for k in live])

    def move(self, gradient: Tensor) -> None:
        """Make a step."""
        self.optimizer.update(gradient, self.rate())
        self.after_step()

    def rate(self) -> float | Tensor:
        """Give the rate that all have in common, or those of all, of shape (n_models, 1).

        It is the same tensor while the rates are the same.
        """
        if self._is_common:
            return self.rate_of(self._live[0])
        rates = {key: schedule.rate for key, schedule in self.schedules.items()}
        now = [rates[self.keys[k]] for k in self._live]
        if self._rates[0] != now:
            self._rates = (now, self._like.new_tensor(now)[:, None])
        return self._rates[1]

    def rate_of(self, k: int) -> float:
        """Give the rate of a model's next step."""
        return self.schedules[self.keys[k]].rate

    def after_step(self) -> None:
        """Let the schedules know of a step."""
        for schedule in self.schedules.values():
            schedule.after_step()

    def after_epoch(self, n_epochs: int) -> None:
        """Let the schedules know that an epoch is done, and how many there were."""
        for key, schedule in self.schedules.items():
            schedule.after_epoch(n_epochs * self._n_rows[key])

    def plateau(self, k: int) -> bool:
        """Tell whether a model shall end when nothing improves."""
        return self.schedules[self.keys[k]].plateau()
