"""Activation functions of the hidden layers, and how an error goes back through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# What ``torch.autograd`` calls, looked up once: each look-up takes as long as a small operation.
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input
_gelu_backward = torch.ops.aten.gelu_backward.grad_input
_silu_backward = torch.ops.aten.silu_backward.grad_input
_gelu_out = torch.ops.aten.gelu.out
_LEAK = 0.01  # the slope of torch.nn.LeakyReLU below zero


@dataclass(frozen=True)
class Activation:
    """A function of a hidden layer, and how an error goes back through it.

    Parameters
    ----------
    apply_ : callable(signal)
        Replaces the signal by its activation, in place.
    back_ : callable(error, kept)
        Multiplies the error by the slope, in place.
    keeps_input : bool
        Whether `back_` wants the input of the function. Otherwise it wants its output.
    by_sign : bool
        Whether `back_` looks at no more than the sign of that. Dropout, which leaves the sign of
        what it keeps, can then work in place: what it drops has no error to multiply.
    """

    apply_: Callable[[Tensor], object]
    back_: Callable[[Tensor, Tensor], object]
    keeps_input: bool = False
    by_sign: bool = False


def _gelu_(signal: Tensor) -> None:
    _gelu_out(signal, out=signal)


ACTIVATIONS = {
    "identity": Activation(lambda x: x, lambda error, a: error, by_sign=True),
    "logistic": Activation(
        torch.sigmoid_,
        lambda error, a: _sigmoid_backward(error, a, grad_input=error),
    ),
    "tanh": Activation(
        torch.tanh_,
        lambda error, a: _tanh_backward(error, a, grad_input=error),
    ),
    "relu": Activation(
        torch.relu_,
        lambda error, a: _threshold_backward(error, a, 0, grad_input=error),
        by_sign=True,
    ),
    "leaky_relu": Activation(
        lambda x: functional.leaky_relu_(x, _LEAK),
        lambda error, a: _leaky_relu_backward(error, a, _LEAK, True, grad_input=error),
        by_sign=True,
    ),
    "gelu": Activation(
        _gelu_,
        lambda error, x: _gelu_backward(error, x, grad_input=error),
        keeps_input=True,
    ),
    "silu": Activation(
        lambda x: functional.silu(x, inplace=True),
        lambda error, x: _silu_backward(error, x, grad_input=error),
        keeps_input=True,
    ),
}
