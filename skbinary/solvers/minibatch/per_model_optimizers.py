"""Adam and SGD for a batch of models with different settings or learning rates.

All models are updated at once. The formulas are those of ``optimizers``, in which the settings are
columns of shape (n_models, 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch import optimizers
from skbinary.solvers.minibatch.optimizers import SGD, Adam, Optimizer


class _PerModelOptimizer(ABC):
    """An optimizer of a batch of models, each with its own settings.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
        The parameters, which are updated in place.
    settings : sequence of tuple
        The ``settings`` of each model's optimizer.
    state : dict of str to Tensor or None, default=None
        The value of ``state()`` to resume from, for these models, or that of ``join_states``.
    """

    def __init__(
        self,
        parameters: Tensor,
        settings: Sequence[tuple[Any, ...]],
        state: dict[str, Tensor] | None = None,
    ):
        self.parameters = parameters
        self.settings = tuple(settings)
        self._prepare(state or {})

    @abstractmethod
    def _prepare(self, state: dict[str, Tensor]) -> None:
        """Convert the settings to columns, and restore or initialize the state."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state, to resume from."""

    def tensors(self) -> list[Tensor]:
        return list(self.state().values())

    def with_parameters(
        self,
        parameters: Tensor,
        models: Tensor | None = None,
        state: dict[str, Any] | None = None,
    ) -> Self:
        if models is None:
            return type(self)(parameters, self.settings, state or self.state())
        state = {name: each[models] for name, each in self.state().items()}
        return type(self)(parameters, [self.settings[i] for i in models.tolist()], state)


class PerModelAdam(_PerModelOptimizer):
    """``Adam`` for a batch of models with different settings."""

    def _prepare(self, state: dict[str, Tensor]) -> None:
        parameters = self.parameters
        precision = full_precision(parameters.device)  # 1 - beta loses digits in float32
        rows = [[*betas, epsilon, decay] for betas, epsilon, decay in self.settings]
        columns = torch.tensor(rows, dtype=precision, device=parameters.device)
        self._betas = columns[:, :2]
        self._one_minus_betas = (1 - self._betas).to(parameters)
        self._beta_2 = columns[:, 1:2].to(parameters)
        self._epsilon = columns[:, 2:3].to(parameters)
        self._decay = columns[:, 3:].to(parameters) if any(row[3] for row in rows) else None
        n_steps = int(state.get("n_steps", 0))
        self._powers = state.get("powers", self._betas**n_steps)
        self._mean = state.get("mean", torch.zeros_like(parameters))
        self._square = state.get("square", torch.zeros_like(parameters))
        self._denominator = torch.empty_like(self._square)

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Update the parameters, with learning rates of shape (n_models, 1)."""
        self._powers.mul_(self._betas)
        corrections = 1 - self._powers
        step_size = (-rate / corrections[:, :1]).to(gradient)
        if self._decay is not None:
            self.parameters.mul_((1 - rate * self._decay).to(gradient))
        self._mean.lerp_(gradient, self._one_minus_betas[:, :1])
        self._square.mul_(self._beta_2)
        torch.mul(gradient, gradient, out=self._denominator)
        self._square.addcmul_(self._denominator, self._one_minus_betas[:, 1:])
        denominator = torch.sqrt(self._square, out=self._denominator)
        denominator.mul_(corrections[:, 1:].rsqrt().to(gradient)).add_(self._epsilon)
        self.parameters.add_(torch.div(self._mean, denominator, out=denominator).mul_(step_size))

    def state(self) -> dict[str, Any]:
        return {"mean": self._mean, "square": self._square, "powers": self._powers}


class FusedPerModelAdam(_PerModelOptimizer):
    """``Adam`` for a batch of models on the CPU: one fused call per rate and settings.

    A fused call reads the memory of each model once, which takes half the time of
    ``PerModelAdam``.
    """

    def _prepare(self, state: dict[str, Tensor]) -> None:
        parameters = self.parameters
        n_steps = float(state.get("n_steps", 0))
        self._steps = state.get("steps", torch.full((len(parameters),), n_steps))
        self._mean = state.get("mean", torch.zeros_like(parameters))
        self._square = state.get("square", torch.zeros_like(parameters))
        self._rates: list[float] = []
        self._gradient: Tensor | None = None
        self._groups: list[tuple[float, tuple[Any, ...], list[list[Tensor]]]] = []

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Update the parameters, with learning rates of shape (n_models, 1)."""
        n_models = len(self.parameters)
        rates = rate.flatten().tolist() if isinstance(rate, Tensor) else [rate] * n_models
        if rates != self._rates or gradient is not self._gradient:
            self._rates, self._gradient = rates, gradient
            self._groups = self._group_models(gradient, rates)
        self._steps += 1
        for group_rate, ((beta_1, beta_2), epsilon, decay), tensors in self._groups:
            parameters, gradients, mean, square, steps = tensors
            optimizers.fused_adamw(
                parameters, gradients, mean, square, [], steps,
                lr=group_rate, beta1=beta_1, beta2=beta_2, weight_decay=decay, eps=epsilon,
                amsgrad=False, maximize=False,
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def _group_models(
        self, gradient: Tensor, rates: Sequence[float]
    ) -> list[tuple[float, tuple[Any, ...], list[list[Tensor]]]]:
        """Return the tensors of the models with the same rate and settings."""
        groups: dict[tuple[float, tuple[Any, ...]], list[int]] = {}
        for i, key in enumerate(zip(rates, self.settings, strict=True)):
            groups.setdefault(key, []).append(i)
        tensors = (self.parameters, gradient, self._mean, self._square, self._steps)
        rows = [each.unbind(0) for each in tensors]
        return [
            (*key, [[each[i] for i in models] for each in rows]) for key, models in groups.items()
        ]


class PerModelSGD(_PerModelOptimizer):
    """``SGD`` for a batch of models with different settings."""

    def _prepare(self, state: dict[str, Tensor]) -> None:
        parameters = self.parameters
        columns = parameters.new_tensor([[float(each) for each in row] for row in self.settings])
        self._momentum, self._decay = columns[:, :1], columns[:, 2:]
        self._nesterov = columns[:, 1:2] > 0
        self._any_decay = any(decay for *_, decay in self.settings)
        self._any_nesterov = any(nesterov for _, nesterov, _ in self.settings)
        self._velocity = state.get("velocity", torch.zeros_like(parameters))

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Update the parameters, with learning rates of shape (n_models, 1)."""
        if isinstance(rate, Tensor):
            rate = rate.to(gradient)
        if self._any_decay:
            self.parameters.mul_(1 - rate * self._decay)
        change = gradient * rate
        self._velocity.mul_(self._momentum).sub_(change)
        if not self._any_nesterov:
            self.parameters.add_(self._velocity)
            return
        nesterov_step = self._velocity * self._momentum - change
        self.parameters.add_(torch.where(self._nesterov, nesterov_step, self._velocity))

    def state(self) -> dict[str, Any]:
        return {"velocity": self._velocity}


def join_states(single: Sequence[Optimizer]) -> dict[str, Any]:
    """Return the state for an optimizer of all models, which have made the same number of steps."""
    states = [each.state() for each in single]
    return {
        name: torch.cat([each[name] for each in states]) if isinstance(first, Tensor) else first
        for name, first in states[0].items()
    }


def split_state(optimizer: Optimizer, model: int, n_steps: int) -> dict[str, Any]:
    """Return a copy of the state of one model, for an optimizer of its own.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer of a batch of models.
    model : int
        Position of the model.
    n_steps : int
        Number of steps that it has made.
    """
    state = {
        name: each[model : model + 1].clone()
        for name, each in optimizer.state().items()
        if name in ("mean", "square", "velocity")
    }
    return {**state, "n_steps": n_steps}


def combine_optimizers(
    parameters: Tensor, single: Sequence[Optimizer], *, resumes: bool = False
) -> Optimizer:
    """Return one optimizer that updates each model as its own optimizer would.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
    single : sequence of Adam, or sequence of SGD
        The optimizer of each model.
    resumes : bool, default=False
        Whether to continue from the states of these optimizers, which have made the same number of
        steps. Otherwise only their settings are used.
    """
    settings = [each.settings for each in single]
    state = join_states(single) if resumes else None
    if isinstance(single[0], Adam):
        is_fused = parameters.device.type == "cpu" and optimizers.fused_adamw is not None
        return (FusedPerModelAdam if is_fused else PerModelAdam)(parameters, settings, state)
    if isinstance(single[0], SGD):
        return PerModelSGD(parameters, settings, state)
    raise TypeError(
        f"The optimizer of a batch of models must be Adam or SGD, got {type(single[0]).__name__}."
    )
