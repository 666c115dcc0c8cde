"""Optimizer and learning rates of a batch of models."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch.optimizers import Optimizer
from skbinary.solvers.minibatch.per_model_optimizers import (
    combine_optimizers,
    join_states,
    split_state,
)
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.recording import State, copied_state


class BatchedUpdates:
    """Updates a batch of models, with one schedule for all models of the same key.

    Models are known by their numbers, their positions in `setups`.

    Parameters
    ----------
    setups : sequence of MiniBatchSetup
        How each model is trained. They are not changed.
    keys : sequence of hashable
        Equal for models with the same optimizer settings and the same learning rates.

    Attributes
    ----------
    optimizer : Optimizer
        Updates all models that are in training.
    """

    optimizer: Optimizer

    def __init__(self, setups: Sequence[MiniBatchSetup], keys: Sequence[Hashable]):
        self._setups = setups
        self._keys = keys
        self._schedules: dict[Hashable, Schedule] = {}
        self._setup_of_key: dict[Hashable, MiniBatchSetup] = {}
        for setup, key in zip(setups, keys, strict=True):
            if key not in self._schedules:
                self._schedules[key] = copy.copy(setup.schedule)
                self._setup_of_key[key] = setup
        self._is_common = len(set(keys)) == 1
        self._active: Sequence[int] = ()
        device = setups[0].dataset.device
        self._like = torch.empty(0, dtype=full_precision(device), device=device)
        self._last_rates: tuple[list[float], Tensor] = ([], self._like)

    def set_models(
        self, active: Sequence[int], parameters: Tensor, kept: Sequence[int] | None
    ) -> None:
        """Set the models that are in training.

        Parameters
        ----------
        active : sequence of int
            Their numbers.
        parameters : Tensor of shape (n_models, n_parameters)
        kept : sequence of int or None
            Their positions among the models so far. None for the first call.
        """
        keys = {self._keys[k] for k in active}
        self._schedules = {key: each for key, each in self._schedules.items() if key in keys}
        self._active = active
        if kept is not None:
            models = torch.tensor(kept, device=parameters.device)
            self.optimizer = self.optimizer.with_parameters(parameters, models)
            return
        single = [self._setups[k].optimizer for k in active]
        resumes = self._setups[0].n_epochs > 0
        if self._is_common:
            state = join_states(single) if resumes else None
            self.optimizer = single[0].with_parameters(parameters, state=state)
        else:
            self.optimizer = combine_optimizers(parameters, single, resumes=resumes)

    def step(self, gradient: Tensor) -> None:
        """Update the models, given their gradient of shape (n_models, n_parameters)."""
        self.optimizer.update(gradient, self.rate())
        self.after_step()

    def rate(self) -> float | Tensor:
        """Return the learning rate of all models, or their rates, of shape (n_models, 1).

        The same tensor is returned as long as the rates are the same.
        """
        if self._is_common:
            return self.rate_of(self._active[0])
        rate_of_key = {key: schedule.rate for key, schedule in self._schedules.items()}
        rates = [rate_of_key[self._keys[k]] for k in self._active]
        if self._last_rates[0] != rates:
            self._last_rates = (rates, self._like.new_tensor(rates)[:, None])
        return self._last_rates[1]

    def rate_of(self, k: int) -> float:
        """Return the learning rate of a model's next step."""
        return self._schedules[self._keys[k]].rate

    def after_step(self) -> None:
        """Update the learning rates after a step."""
        for schedule in self._schedules.values():
            schedule.after_step()

    def after_epoch(self, n_epochs: int) -> None:
        """Update the learning rates after an epoch, given the number of epochs so far."""
        for key, schedule in self._schedules.items():
            schedule.after_epoch(self._setup_of_key[key].n_seen_after(n_epochs))

    def continued(self, k: int, n_steps: int) -> tuple[Optimizer, Schedule]:
        """Return the optimizer and the schedule with which the training of a model goes on.

        Parameters
        ----------
        k : int
        n_steps : int
            Number of steps that it has made.
        """
        optimizer, i = self._setups[k].optimizer, self._active.index(k)
        parameters = self.optimizer.parameters[i : i + 1].clone()
        state = split_state(self.optimizer, i, n_steps)
        schedule = copy.copy(self._schedules[self._keys[k]])
        return optimizer.with_parameters(parameters, state=state), schedule

    def snapshot(self) -> State:
        """Return a copy of the state of the optimizer and of the schedules."""
        return {
            "optimizer": copied_state(self.optimizer.state()),
            "schedules": [dict(vars(each)) for each in self._schedules.values()],
        }

    def restore(self, state: State) -> None:
        """Go on from a ``snapshot()`` of the same models."""
        own = self.optimizer.parameters
        on_device = {
            name: each.to(own.device) if isinstance(each, Tensor) else each
            for name, each in state["optimizer"].items()
        }
        self.optimizer = self.optimizer.with_parameters(own, state=on_device)
        for schedule, values in zip(self._schedules.values(), state["schedules"], strict=True):
            vars(schedule).update(values)

    def on_plateau(self, k: int) -> bool:
        """Notify a model's schedule that the loss no longer improves; return whether to stop."""
        return self._schedules[self._keys[k]].on_plateau()
