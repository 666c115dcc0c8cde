"""Optimizers: Adam and SGD for parameters in one tensor."""

from __future__ import annotations

import math
from typing import Any, Protocol, Self

import torch
from torch import Tensor

# On a GPU the fused kernel uses one block of threads per 65,536 values of a tensor, and updates a
# few dozen tensors per launch. Smaller chunks keep all multiprocessors busy.
_MIN_CHUNK_VALUES, _MAX_CHUNKS = 2048, 72


# The kernel that torch.optim.AdamW(fused=True) calls. For a small network the class around it takes
# ten times as long as the kernel. None if this version of torch has no such kernel.
fused_adamw: Any = getattr(torch, "_fused_adamw_", None)


class Optimizer(Protocol):
    """Updates parameters, given their gradient."""

    parameters: Tensor

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Update the parameters in place.

        Parameters
        ----------
        gradient : Tensor of the shape of the parameters
        rate : float or Tensor
            Learning rate. A captured CUDA graph reads it from a tensor.
        """
        ...

    def tensors(self) -> list[Tensor]:
        """Return the tensors that ``update`` changes, besides the parameters."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state, to resume from."""
        ...

    @property
    def settings(self) -> tuple[Any, ...]:
        """The parameters of the constructor between `parameters` and `state`."""
        ...

    def with_parameters(
        self,
        parameters: Tensor,
        models: Tensor | None = None,
        state: dict[str, Tensor | int] | None = None,
    ) -> Self:
        """Return an optimizer of other parameters with the same settings.

        Parameters
        ----------
        parameters : Tensor of shape (n_models, n_parameters)
        models : Tensor of shape (n_models,), default=None
            Which models of this optimizer they are, to continue with their state.
        state : dict or None, default=None
            The state to resume from, if it is not that of `models`.
        """
        ...


class Adam:
    """Adam with decoupled weight decay (AdamW).

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1. The weight decay
    is that of Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    Parameters
    ----------
    parameters : Tensor
        The parameters, which are updated in place.
    betas : tuple of float, default=(0.9, 0.999)
        Decay rates of the moving averages of the gradient and of its square.
    epsilon : float, default=1e-8
        Added to the square root of the bias-corrected average square, as in PyTorch.
    weight_decay : float, default=0.0
        Before each step, every parameter is multiplied by ``1 - rate * weight_decay``.
    state : dict or None, default=None
        The value of ``state()`` of an earlier training to resume from.
    """

    def __init__(
        self,
        parameters: Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        state: dict[str, Tensor | int] | None = None,
    ):
        self.parameters = parameters
        self.betas = betas
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self._n_unfused_steps = n_steps = int(state["n_steps"]) if state else 0
        self._mean = _restore(state, "mean", parameters)
        self._square = _restore(state, "square", parameters)
        self._denominator = torch.empty_like(parameters)
        self._fused = fused_adamw if parameters.device.type in ("cpu", "cuda") else None
        self._step = torch.tensor(float(n_steps), dtype=torch.float32, device=parameters.device)
        self._chunk_size = _chunk_size(parameters)
        tensors = (parameters, self._mean, self._square)
        self._chunks = [_split_chunks(each, self._chunk_size) for each in tensors]
        self._steps = [self._step] * len(self._chunks[0])
        # The address of the last gradient, and its chunks.
        self._gradient_chunks: tuple[int, list[Tensor]] = (0, [])

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        if self._fused is None:
            self._update_unfused(gradient, float(rate))
            return
        self._step += 1
        beta_1, beta_2 = self.betas
        if self._gradient_chunks[0] != gradient.data_ptr():
            self._gradient_chunks = (gradient.data_ptr(), _split_chunks(gradient, self._chunk_size))
        parameters, mean, square = self._chunks
        self._fused(
            parameters, self._gradient_chunks[1], mean, square, [], self._steps,
            lr=rate, beta1=beta_1, beta2=beta_2, weight_decay=self.weight_decay,
            eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip

    def _update_unfused(self, gradient: Tensor, rate: float) -> None:
        beta_1, beta_2 = self.betas
        self._n_unfused_steps += 1
        n_steps = self._n_unfused_steps
        if self.weight_decay:
            self.parameters.mul_(1 - rate * self.weight_decay)
        self._mean.lerp_(gradient, 1 - beta_1)
        self._square.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        torch.sqrt(self._square, out=self._denominator)
        self._denominator.div_(math.sqrt(1 - beta_2**n_steps)).add_(self.epsilon)
        step_size = rate / (1 - beta_1**n_steps)
        self.parameters.addcdiv_(self._mean, self._denominator, value=-step_size)

    def state(self) -> dict[str, Tensor | int]:
        n_steps = self._n_unfused_steps if self._fused is None else int(self._step)
        return {"n_steps": n_steps, "mean": self._mean, "square": self._square}

    def tensors(self) -> list[Tensor]:
        return [self._mean, self._square, self._step]

    @property
    def settings(self) -> tuple[tuple[float, float], float, float]:
        return self.betas, self.epsilon, self.weight_decay

    def with_parameters(
        self,
        parameters: Tensor,
        models: Tensor | None = None,
        state: dict[str, Tensor | int] | None = None,
    ) -> Adam:
        state = state or _select_state(self.state(), models)
        return Adam(parameters, *self.settings, state)


class SGD:
    """Stochastic gradient descent with momentum, as in scikit-learn's MLPClassifier.

    The learning rate is part of the velocity, ``velocity = momentum * velocity - rate * gradient``,
    while PyTorch multiplies the velocity by the rate; at a constant rate the steps are the same.
    Nesterov's momentum is that of Sutskever, Martens, Dahl and Hinton, "On the importance of
    initialization and momentum in deep learning", 2013, equations 3 and 4.

    Parameters
    ----------
    parameters : Tensor
        The parameters, which are updated in place.
    momentum : float, default=0.0
        Factor of the previous velocity.
    nesterov : bool, default=False
        Whether to use Nesterov's momentum.
    weight_decay : float, default=0.0
        Before each step, every parameter is multiplied by ``1 - rate * weight_decay``.
    state : dict or None, default=None
        The value of ``state()`` of an earlier training to resume from.
    """

    def __init__(
        self,
        parameters: Tensor,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        state: dict[str, Tensor | int] | None = None,
    ):
        self.parameters = parameters
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self._velocity = _restore(state, "velocity", parameters)

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        if self.weight_decay:
            self.parameters.mul_(1 - rate * self.weight_decay)
        if self.momentum == 0:
            self.parameters.sub_(gradient * rate)
            return
        change = gradient * rate
        self._velocity.mul_(self.momentum).sub_(change)
        if self.nesterov:
            self.parameters.add_(self._velocity, alpha=self.momentum).sub_(change)
        else:
            self.parameters.add_(self._velocity)

    def tensors(self) -> list[Tensor]:
        return [self._velocity]

    @property
    def settings(self) -> tuple[float, bool, float]:
        return self.momentum, self.nesterov, self.weight_decay

    def with_parameters(
        self,
        parameters: Tensor,
        models: Tensor | None = None,
        state: dict[str, Tensor | int] | None = None,
    ) -> SGD:
        state = state or _select_state(self.state(), models)
        return SGD(parameters, *self.settings, state)

    def state(self) -> dict[str, Tensor | int]:
        return {"velocity": self._velocity}


def _chunk_size(parameters: Tensor) -> int:
    """Return the number of values in each tensor that the fused kernel is called with."""
    n_parameters = parameters.shape[-1]
    if parameters.device.type == "cpu":
        return n_parameters  # a chunk for each model, since there is padding between models
    size = parameters.numel() // _MAX_CHUNKS
    return min(max(size - size % _MIN_CHUNK_VALUES, _MIN_CHUNK_VALUES), n_parameters)


def _split_chunks(tensor: Tensor, size: int) -> list[Tensor]:
    models = tensor.unbind(0) if tensor.ndim > 1 else [tensor]
    return [chunk for model in models for chunk in torch.split(model, size)]


def _select_state(
    state: dict[str, Tensor | int], models: Tensor | None
) -> dict[str, Tensor | int] | None:
    if models is None:
        return None
    return {
        name: each[models] if isinstance(each, Tensor) else each for name, each in state.items()
    }


def _restore(state: dict[str, Tensor | int] | None, name: str, like: Tensor) -> Tensor:
    if not state:
        return torch.zeros_like(like)
    return torch.as_tensor(state[name]).to(like).clone().reshape(like.shape)
