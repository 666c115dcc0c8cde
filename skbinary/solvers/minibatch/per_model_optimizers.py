"""Update rules for models that have settings of their own: all of them are moved at once.

Where an operation on many models takes hardly longer than one on a single model, as on a GPU, the
settings are columns, and the formulas of ``optimizers`` are written with them.
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


class _OfEach(ABC):
    """One rule for several models.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
        What is moved, in place.
    settings : sequence of tuple
        Those of each model's own rule.
    state : dict of str to Tensor or None
        What ``state`` gave, of these models.
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
        """Lay the settings out as columns, and take up the state or begin anew."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Give what the rule remembers between steps."""

    def tensors(self) -> list[Tensor]:
        return list(self.state().values())

    def moved(self, parameters: Tensor, rows: Tensor | None = None) -> Self:
        if rows is None:
            return type(self)(parameters, self.settings, self.state())
        state = {name: each[rows] for name, each in self.state().items()}
        return type(self)(parameters, [self.settings[i] for i in rows.tolist()], state)


class AdamOfEach(_OfEach):
    """``Adam`` for several models."""

    def _prepare(self, state: dict[str, Tensor]) -> None:
        parameters = self.parameters
        exact = full_precision(parameters.device)  # one minus a beta loses digits
        rows = [[*betas, epsilon, decay] for betas, epsilon, decay in self.settings]
        columns = torch.tensor(rows, dtype=exact, device=parameters.device)
        self._betas = columns[:, :2]
        self._shares = (1 - self._betas).to(parameters)
        self._square_kept = columns[:, 1:2].to(parameters)
        self._epsilon = columns[:, 2:3].to(parameters)
        self._decay = columns[:, 3:].to(parameters) if any(row[3] for row in rows) else None
        self._powers = state.get("powers", torch.ones_like(self._betas))
        self._mean = state.get("mean", torch.zeros_like(parameters))
        self._square = state.get("square", torch.zeros_like(parameters))
        self._root = torch.empty_like(self._square)

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Move the parameters, at rates of shape (n_models, 1)."""
        self._powers.mul_(self._betas)
        corrections = 1 - self._powers
        scale = (-rate / corrections[:, :1]).to(gradient)
        if self._decay is not None:
            self.parameters.mul_((1 - rate * self._decay).to(gradient))
        self._mean.lerp_(gradient, self._shares[:, :1])
        self._square.mul_(self._square_kept)
        torch.mul(gradient, gradient, out=self._root)
        self._square.addcmul_(self._root, self._shares[:, 1:])
        torch.sqrt(self._square, out=self._root)
        self._root.mul_(corrections[:, 1:].rsqrt().to(gradient)).add_(self._epsilon)
        self.parameters.add_(torch.div(self._mean, self._root, out=self._root).mul_(scale))

    def state(self) -> dict[str, Any]:
        return {"mean": self._mean, "square": self._square, "powers": self._powers}


class FusedAdamOfEach(_OfEach):
    """``Adam`` for several models on the CPU: one fused call for all that share rate and settings.

    The CPU is done with one model's numbers before it fetches those of the next, which takes half
    the time of ``AdamOfEach``.
    """

    def _prepare(self, state: dict[str, Tensor]) -> None:
        parameters = self.parameters
        steps = torch.zeros(len(parameters), dtype=torch.float32)
        self._steps = state.get("steps", steps)
        self._mean = state.get("mean", torch.zeros_like(parameters))
        self._square = state.get("square", torch.zeros_like(parameters))
        self._rates: list[float] = []
        self._gradient: Tensor | None = None
        self._calls: list[tuple[float, tuple[Any, ...], list[list[Tensor]]]] = []

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Move the parameters, at rates of shape (n_models, 1)."""
        n_models = len(self.parameters)
        rates = rate.flatten().tolist() if isinstance(rate, Tensor) else [rate] * n_models
        if rates != self._rates or gradient is not self._gradient:
            self._rates, self._gradient = rates, gradient
            self._calls = self._grouped(gradient, rates)
        self._steps += 1
        for each_rate, ((beta_1, beta_2), epsilon, decay), tensors in self._calls:
            parameters, gradients, mean, square, steps = tensors
            optimizers.fused_adamw(
                parameters, gradients, mean, square, [], steps,
                lr=each_rate, beta1=beta_1, beta2=beta_2, weight_decay=decay, eps=epsilon,
                amsgrad=False, maximize=False,
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def _grouped(
        self, gradient: Tensor, rates: Sequence[float]
    ) -> list[tuple[float, tuple[Any, ...], list[list[Tensor]]]]:
        groups: dict[tuple[float, tuple[Any, ...]], list[int]] = {}
        for i, key in enumerate(zip(rates, self.settings, strict=True)):
            groups.setdefault(key, []).append(i)
        columns = (self.parameters, gradient, self._mean, self._square, self._steps)
        rows = [each.unbind(0) for each in columns]
        return [
            (*key, [[each[i] for i in models] for each in rows]) for key, models in groups.items()
        ]


class SGDOfEach(_OfEach):
    """``SGD`` for several models."""

    def _prepare(self, state: dict[str, Tensor]) -> None:
        parameters = self.parameters
        columns = parameters.new_tensor([[float(each) for each in row] for row in self.settings])
        self._momentum, self._decay = columns[:, :1], columns[:, 2:]
        self._looks_ahead = columns[:, 1:2] > 0
        self._decays = any(decay for *_, decay in self.settings)
        self._any_looks_ahead = any(nesterov for _, nesterov, _ in self.settings)
        self._velocity = state.get("velocity", torch.zeros_like(parameters))

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Move the parameters, at rates of shape (n_models, 1)."""
        if isinstance(rate, Tensor):
            rate = rate.to(gradient)
        if self._decays:
            self.parameters.mul_(1 - rate * self._decay)
        change = gradient * rate
        self._velocity.mul_(self._momentum).sub_(change)
        if not self._any_looks_ahead:
            self.parameters.add_(self._velocity)
            return
        ahead = self._velocity * self._momentum - change
        self.parameters.add_(torch.where(self._looks_ahead, ahead, self._velocity))

    def state(self) -> dict[str, Any]:
        return {"velocity": self._velocity}


def of_each(parameters: Tensor, rules: Sequence[Optimizer]) -> Optimizer:
    """Give one rule that moves each model as its own would.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
    rules : sequence of Adam, or of SGD
        One for each model, of which the settings count.
    """
    settings = [each.settings for each in rules]
    if isinstance(rules[0], Adam):
        is_fused = parameters.device.type == "cpu" and optimizers.fused_adamw is not None
        return (FusedAdamOfEach if is_fused else AdamOfEach)(parameters, settings)
    if isinstance(rules[0], SGD):
        return SGDOfEach(parameters, settings)
    raise TypeError(f"{type(rules[0]).__name__} must be Adam or SGD to move many models.")
