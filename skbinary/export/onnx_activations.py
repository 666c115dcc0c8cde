"""Nodes of an ONNX graph that compute activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx

from skbinary.export.onnx_graph import Graph

_SLOPE = 0.01  # of "leaky_relu"
_ERF_DEGREE = 24  # of the polynomial in the error function, for an error of 1e-15


def _leaky_relu(graph: Graph, x: str) -> str:
    return graph.add("Max", x, graph.add("Mul", x, _SLOPE))


def _silu(graph: Graph, x: str) -> str:
    # Not with Sigmoid: onnxruntime 1.20 fuses the two into a node that it has in float32 only.
    return graph.add("Div", x, graph.add("Add", graph.add("Exp", graph.add("Neg", x)), 1.0))


def _gelu(graph: Graph, x: str) -> str:
    scaled = graph.add("Mul", x, math.sqrt(0.5))
    erf = graph.add("Erf", scaled) if graph.dtype is np.float32 else _add_erf(graph, scaled)
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", erf, 1.0))


def _add_erf(graph: Graph, x: str) -> str:
    """Add the error function, which runtimes do not have in float64."""
    size = graph.add("Abs", x)
    half = graph.add("Reciprocal", graph.add("Add", graph.add("Mul", size, 0.5), 1.0))
    u = graph.add("Sub", graph.add("Mul", half, 2.0), 1.0)
    coefficients = _erf_coefficients()
    sum_ = graph.constant(float(coefficients[-1]))
    for coefficient in coefficients[-2::-1]:
        sum_ = graph.add("Add", graph.add("Mul", sum_, u), float(coefficient))
    exponent = graph.add("Sub", sum_, graph.add("Mul", size, size))
    complement = graph.add("Mul", half, graph.add("Exp", exponent))
    return graph.add("Mul", graph.add("Sign", x), graph.add("Sub", 1.0, complement))


def _erf_coefficients() -> NDArray[np.float64]:
    """Return a polynomial p for which ``erf(x) = 1 - t * exp(p(2 t - 1) - x**2)``, ``x >= 0``.

    Here ``t = 1 / (1 + x / 2)``, which lies between 0 and 1.
    """

    def logarithm(u: NDArray[np.float64]) -> NDArray[np.float64]:
        t = (u + 1) / 2
        return np.log(erfcx(2 / t - 2) / t)

    fit = np.polynomial.Chebyshev.interpolate(logarithm, _ERF_DEGREE)
    return np.asarray(fit.convert(kind=np.polynomial.Polynomial).coef, dtype=np.float64)


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, x: x,
    "logistic": lambda graph, x: graph.add("Sigmoid", x),
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "relu": lambda graph, x: graph.add("Relu", x),
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "silu": _silu,
}


def find_activation(name: str) -> Callable[[Graph, str], str]:
    """Return the function that adds an activation, by its name in the library.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    raise ValueError(
        f"activation must be one of {', '.join(map(repr, _ACTIVATIONS))} to be exported to ONNX, "
        f"got {name!r}. Fit the network with one of them."
    )
