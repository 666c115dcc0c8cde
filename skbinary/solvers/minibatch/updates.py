"""How the models of a stack are moved: each rule by itself, or all of them at once."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from skbinary.solvers.minibatch.optimizers import Optimizer
from skbinary.solvers.minibatch.per_model_optimizers import of_each
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.single import MiniBatchSetup


class Rules(Protocol):
    """The update rules of a stack. Models are told by number."""

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
        ...

    def move(self, gradient: Tensor) -> None:
        """Make a step."""
        ...

    def rate_of(self, k: int) -> float:
        """Give the rate of a model's next step."""
        ...

    def after_epoch(self, n_epochs: int) -> None:
        """Take note that an epoch is done, the so manieth."""
        ...

    def plateau(self, k: int) -> bool:
        """Tell whether a model shall end when nothing improves."""
        ...


class _Rates:
    """Rates over time, one schedule for models that have the same key."""

    def __init__(self, setups: Sequence[MiniBatchSetup], keys: Sequence[Hashable]):
        self.keys = keys
        self.schedules: dict[Hashable, Schedule] = {}
        self._n_rows: dict[Hashable, int] = {}
        for setup, key in zip(setups, keys, strict=True):
            if key not in self.schedules:
                self.schedules[key] = copy.copy(setup.schedule)
                self._n_rows[key] = setup.dataset.n_samples

    def keep(self, live: Sequence[int]) -> None:
        there = {self.keys[k] for k in live}
        self.schedules = {key: each for key, each in self.schedules.items() if key in there}

    def rate_of(self, k: int) -> float:
        return self.schedules[self.keys[k]].rate

    def after_step(self) -> None:
        for schedule in self.schedules.values():
            schedule.after_step()

    def after_epoch(self, n_epochs: int) -> None:
        for key, schedule in self.schedules.items():
            schedule.after_epoch(n_epochs * self._n_rows[key])

    def plateau(self, k: int) -> bool:
        return self.schedules[self.keys[k]].plateau()


class RuleByRule(_Rates):
    """Rules that move their own models, neighbours in the stack, one rule after another.

    A processor is done with one model's numbers before it fetches the next one's.

    Parameters
    ----------
    setups : sequence of MiniBatchSetup
    keys : sequence
        Equal for neighbours that have a rule in common.
    """

    def __init__(self, setups: Sequence[MiniBatchSetup], keys: Sequence[Hashable]):
        super().__init__(setups, keys)
        self._optimizers: dict[Hashable, Optimizer] = {}
        for setup, key in zip(setups, keys, strict=True):
            self._optimizers.setdefault(key, setup.optimizer)
        self._models: dict[Hashable, slice] = {}

    def settle(self, live: Sequence[int], parameters: Tensor, kept: Sequence[int] | None) -> None:
        self.keep(live)
        before, self._models = self._models, {}
        start = 0
        for key, group in groupby(self.keys[k] for k in live):
            stop = start + len(list(group))
            self._models[key] = slice(start, stop)
            start = stop
        for key, models in self._models.items():
            rows = None
            if kept is not None:
                own = before[key]
                rows = torch.tensor([i - own.start for i in kept if own.start <= i < own.stop])
                rows = rows.to(parameters.device)
            self._optimizers[key] = self._optimizers[key].moved(parameters[models], rows)

    def move(self, gradient: Tensor) -> None:
        for key, models in self._models.items():
            self._optimizers[key].update(gradient[models], self.schedules[key].rate)
        self.after_step()


class AllAtOnce(_Rates):
    """One rule that moves all models, each by its own settings and at its own rate.

    Parameters
    ----------
    setups : sequence of MiniBatchSetup
    keys : sequence
        Equal for models that have a rule in common.

    Attributes
    ----------
    optimizer : Optimizer
    """

    optimizer: Optimizer

    def __init__(self, setups: Sequence[MiniBatchSetup], keys: Sequence[Hashable]):
        super().__init__(setups, keys)
        self._courses = setups
        self._is_common = len(set(keys)) == 1
        self._live: Sequence[int] = ()
        self._like = setups[0].dataset.target
        self._rates: tuple[list[float], Tensor] = ([], self._like.new_empty(0, 1))

    def settle(self, live: Sequence[int], parameters: Tensor, kept: Sequence[int] | None) -> None:
        self.keep(live)
        self._live = live
        if kept is not None:
            self.optimizer = self.optimizer.moved(
                parameters, torch.tensor(kept, device=parameters.device)
            )
        elif self._is_common:
            self.optimizer = self._courses[0].optimizer.moved(parameters)
        else:
            self.optimizer = of_each(parameters, [self._courses[k].optimizer for k in live])

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

    def move(self, gradient: Tensor) -> None:
        self.optimizer.update(gradient, self.rate())
        self.after_step()
