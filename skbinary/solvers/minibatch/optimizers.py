"""Update rules for flat parameters: small objects, each of them one formula."""

from __future__ import annotations

import math
from typing import Any, Protocol, Self

import torch
from torch import Tensor

# The fused kernel goes over each tensor with one of a GPU's processors for every 65,536 numbers,
# and over a few dozen tensors in one launch: smaller pieces keep all processors busy.
_LEAST_NUMBERS, _MOST_PIECES = 2048, 72


# The kernel that torch.optim.AdamW(fused=True) runs, without what is around it there, which takes
# ten times as long for a small network. None where torch has it no longer.
fused_adamw: Any = getattr(torch, "_fused_adamw_", None)


class Optimizer(Protocol):
    """A rule that moves parameters against their gradient."""

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        """Move the parameters, in place. A rate may be a tensor, so that a GPU can read it."""
        ...

    def tensors(self) -> list[Tensor]:
        """Give the tensors that ``update`` moves, besides the parameters."""
        ...

    def state(self) -> dict[str, Tensor | int]:
        """Give what the rule remembers between steps."""
        ...

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the rule was made with, besides the parameters."""
        ...

    def moved(self, parameters: Tensor, rows: Tensor | None = None) -> Self:
        """Give the same rule for other parameters, with what it remembers of some rows."""
        ...


class Adam:
    """Adam with decoupled weight decay.

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1; the decay is
    that of Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    Parameters
    ----------
    parameters : Tensor
        What is moved, in place.
    betas : tuple of float
        Decay rates of the averages of the gradient and of its square.
    epsilon : float
        Added to the root of the average square, after its bias is corrected, as PyTorch does.
    weight_decay : float
        Share of every parameter, times the rate, that is taken off before each step.
    state : dict or None
        What ``state`` gave, to go on where an earlier training stopped.
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
        self._n_plain = n_steps = int(state["n_steps"]) if state else 0
        self._mean = _restored(state, "mean", parameters)
        self._square = _restored(state, "square", parameters)
        self._root = torch.empty_like(parameters)
        self._fused = fused_adamw if parameters.device.type in ("cpu", "cuda") else None
        self._step = torch.tensor(float(n_steps), dtype=torch.float32, device=parameters.device)
        self._piece = _piece_size(parameters)
        tensors = (parameters, self._mean, self._square)
        self._moved = [_pieces(each, self._piece) for each in tensors]
        self._steps = [self._step] * len(self._moved[0])
        self._gradients: tuple[int, list[Tensor]] = (0, [])

    def update(self, gradient: Tensor, rate: float | Tensor) -> None:
        if self._fused is None:
            self._update_plainly(gradient, float(rate))
            return
        self._step += 1
        beta_1, beta_2 = self.betas
        if self._gradients[0] != gradient.data_ptr():
            self._gradients = (gradient.data_ptr(), _pieces(gradient, self._piece))
        parameters, mean, square = self._moved
        self._fused(
            parameters, self._gradients[1], mean, square, [], self._steps,
            lr=rate, beta1=beta_1, beta2=beta_2, weight_decay=self.weight_decay,
            eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip

    def _update_plainly(self, gradient: Tensor, rate: float) -> None:
        beta_1, beta_2 = self.betas
        self._n_plain += 1
        n_steps = self._n_plain
        if self.weight_decay:
            self.parameters.mul_(1 - rate * self.weight_decay)
        self._mean.lerp_(gradient, 1 - beta_1)
        self._square.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        torch.sqrt(self._square, out=self._root)
        self._root.div_(math.sqrt(1 - beta_2**n_steps)).add_(self.epsilon)
        scale = rate / (1 - beta_1**n_steps)
        self.parameters.addcdiv_(self._mean, self._root, value=-scale)

    def state(self) -> dict[str, Tensor | int]:
        n_steps = self._n_plain if self._fused is None else int(self._step)
        return {"n_steps": n_steps, "mean": self._mean, "square": self._square}

    def tensors(self) -> list[Tensor]:
        return [self._mean, self._square, self._step]

    @property
    def settings(self) -> tuple[tuple[float, float], float, float]:
        return self.betas, self.epsilon, self.weight_decay

    def moved(self, parameters: Tensor, rows: Tensor | None = None) -> Adam:
        return Adam(parameters, *self.settings, _of_rows(self.state(), rows))


class SGD:
    """Gradient descent with momentum, as scikit-learn writes it: the velocity holds the rate.

    The momentum of Nesterov is that of Sutskever, Martens, Dahl and Hinton, "On the importance of
    initialization and momentum in deep learning", 2013, equations 3 and 4.

    Parameters
    ----------
    parameters : Tensor
        What is moved, in place.
    momentum : float
        Share of the last velocity that is kept.
    nesterov : bool
        Whether to look ahead along the velocity.
    weight_decay : float
        Share of every parameter, times the rate, that is taken off before each step.
    state : dict or None
        What ``state`` gave, to go on where an earlier training stopped.
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
        self._velocity = _restored(state, "velocity", parameters)

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

    def moved(self, parameters: Tensor, rows: Tensor | None = None) -> SGD:
        return SGD(parameters, *self.settings, _of_rows(self.state(), rows))

    def state(self) -> dict[str, Tensor | int]:
        return {"velocity": self._velocity}


def _piece_size(parameters: Tensor) -> int:
    """Tell how many numbers the fused kernel is given at a time."""
    n_own = parameters.shape[-1]
    if parameters.device.type == "cpu":
        return n_own  # model by model: there are gaps between them
    size = parameters.numel() // _MOST_PIECES
    return min(max(size - size % _LEAST_NUMBERS, _LEAST_NUMBERS), n_own)


def _pieces(tensor: Tensor, size: int) -> list[Tensor]:
    rows = tensor.unbind(0) if tensor.ndim > 1 else [tensor]
    return [piece for row in rows for piece in torch.split(row, size)]


def _of_rows(state: dict[str, Tensor | int], rows: Tensor | None) -> dict[str, Tensor | int] | None:
    if rows is None:
        return None
    return {name: each[rows] if isinstance(each, Tensor) else each for name, each in state.items()}


def _restored(state: dict[str, Tensor | int] | None, name: str, like: Tensor) -> Tensor:
    if not state:
        return torch.zeros_like(like)
    return torch.as_tensor(state[name]).to(like).clone().reshape(like.shape)
