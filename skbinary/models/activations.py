"""Activation functions of the hidden layers, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# The operators that ``torch.autograd`` calls, looked up once: a lookup takes as long as a small
# operation.
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input
_gelu_backward = torch.ops.aten.gelu_backward.grad_input
_silu_backward = torch.ops.aten.silu_backward.grad_input
_gelu_out = torch.ops.aten.gelu.out
_NEGATIVE_SLOPE = 0.01  # the default of torch.nn.LeakyReLU


@dataclass(frozen=True)
class Activation:
    """An activation function and its derivative, both computed in place.

    Parameters
    ----------
    apply_ : callable(x)
        Replaces the input of the function by its output.
    backward_ : callable(delta, saved)
        Multiplies the error terms by the derivative, given the output of the function, or its
        input with `saves_input`.
    saves_input : bool, default=False
        Whether `backward_` takes the input of the function instead of its output.
    needs_sign_only : bool, default=False
        Whether `backward_` uses only the sign of what it takes. Dropout, which keeps the sign of
        the units that it does not drop, can then work in place: a dropped unit has no error term.
    """

    apply_: Callable[[Tensor], object]
    backward_: Callable[[Tensor, Tensor], object]
    saves_input: bool = False
    needs_sign_only: bool = False


def _gelu_(x: Tensor) -> None:
    _gelu_out(x, out=x)


ACTIVATIONS = {
    "identity": Activation(lambda x: x, lambda delta, a: delta, needs_sign_only=True),
    "logistic": Activation(
        torch.sigmoid_,
        lambda delta, a: _sigmoid_backward(delta, a, grad_input=delta),
    ),
    "tanh": Activation(
        torch.tanh_,
        lambda delta, a: _tanh_backward(delta, a, grad_input=delta),
    ),
    "relu": Activation(
        torch.relu_,
        lambda delta, a: _threshold_backward(delta, a, 0, grad_input=delta),
        needs_sign_only=True,
    ),
    "leaky_relu": Activation(
        lambda x: functional.leaky_relu_(x, _NEGATIVE_SLOPE),
        lambda delta, a: _leaky_relu_backward(delta, a, _NEGATIVE_SLOPE, True, grad_input=delta),
        needs_sign_only=True,
    ),
    "gelu": Activation(
        _gelu_,
        lambda delta, x: _gelu_backward(delta, x, grad_input=delta),
        saves_input=True,
    ),
    "silu": Activation(
        lambda x: functional.silu(x, inplace=True),
        lambda delta, x: _silu_backward(delta, x, grad_input=delta),
        saves_input=True,
    ),
}
