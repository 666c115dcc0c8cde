"""Nodes of an ONNX graph that compute what a fitted model computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, expit

from skbinary.estimators.state import FittedState

Float = type[np.floating]

_SLOPE = 0.01  # of the activation "leaky_relu"
_ERF_DEGREE = 24  # of the polynomial in the error function, for an error of 1e-15
# How much less than the logit of the threshold, relative to it or to 1, counts as equal to it. Two
# libraries add up the terms of a product in another order: of 100,000 rows, the logits of 99%
# differed by less than 2 to 11 units in the last place with networks, in either precision, and by
# up to 50 with linear models of large coefficients. These are 8 units in float32, and 4,096 in
# float64, where no other rows are that near.
_TIE_TOLERANCE: dict[Float, float] = {np.float32: 2.0**-20, np.float64: 2.0**-40}


class Graph:
    """Adds nodes to a graph that skl2onnx is converting.

    Parameters
    ----------
    scope : skl2onnx.common._topology.Scope
        Makes names that are not in use.
    container : skl2onnx.common._container.ModelComponentContainer
        Keeps the nodes.
    dtype : {numpy.float32, numpy.float64}
        Type of the floats.
    """

    def __init__(self, scope: Any, container: Any, dtype: Float):
        self.scope = scope
        self.container = container
        self.dtype = dtype

    def add(self, operator: str, *inputs: Any, domain: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output.

        Parameters
        ----------
        operator : str
            Such as ``"MatMul"``.
        *inputs : str, ndarray or number
            Names of outputs of other nodes, and constants.
        domain : str, default=""
        **attributes
            Attributes of the node.
        """
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        output: str = self.scope.get_unique_variable_name(operator.lower())
        self.write(operator, names, output, domain=domain, **attributes)
        return output

    def write(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Add a node whose output has a given name."""
        domain = attributes.pop("domain", "")
        name = self.scope.get_unique_operator_name(operator)
        self.container.add_node(
            operator, list(inputs), output, op_domain=domain, name=name, **attributes
        )

    def constant(self, value: Any) -> str:
        """Add an array. Floats get the type of the graph, and integers become int64."""
        from onnx.helper import np_dtype_to_tensor_dtype

        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        elif array.dtype.kind in "iu":
            array = array.astype(np.int64)
        is_text = array.dtype.kind in "OU"
        kind = np_dtype_to_tensor_dtype(np.dtype(object) if is_text else array.dtype)
        values = [each.encode() for each in array.ravel()] if is_text else array.ravel()
        name: str = self.scope.get_unique_variable_name("constant")
        self.container.add_initializer(name, kind, array.shape, values)
        return name

    def cast(self, value: str, dtype: Any) -> str:
        """Convert to a NumPy type."""
        from onnx.helper import np_dtype_to_tensor_dtype

        return self.add("Cast", value, to=np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def log_sum_exp(self, value: str, axis: int, *, keepdims: bool) -> str:
        """Add the logarithm of the sum of exponentials."""
        keep = int(keepdims)
        if self.container.target_opset_onnx < 18:
            return self.add("ReduceLogSumExp", value, axes=[axis], keepdims=keep)
        return self.add("ReduceLogSumExp", value, [axis], keepdims=keep)


def add_logits(graph: Graph, state: FittedState, rows: str) -> str:
    """Add the layers of a fitted model.

    Parameters
    ----------
    graph : Graph
    state : FittedState
    rows : str
        Name of the rows, of shape (n_samples, n_features) or more dimensions, in the type of the
        graph.

    Returns
    -------
    str
        Name of the logits of ``classes[1]``, of shape (n_samples, 1).
    """
    weights = state.dense_weights()
    is_ensemble = weights[0].ndim == 3
    activate = _activation(state.activation)
    outputs = graph.add("Flatten", rows, axis=1)
    n_features = state.architecture.n_features
    embedded = _add_embedding(graph, state.embedding, outputs)
    for i, weight in enumerate(weights):
        if i:
            outputs = activate(graph, outputs)
            outputs = graph.add("MatMul", outputs, weight)
        else:
            outputs = graph.add("MatMul", outputs, weight[..., :n_features, :])
        if i == 0 and embedded is not None:
            more = graph.add("MatMul", embedded, weight[..., n_features:, :])
            outputs = graph.add("Add", outputs, more)
        if state.biases:
            bias = state.biases[i]
            outputs = graph.add("Add", outputs, bias[:, None] if is_ensemble else bias)
    if is_ensemble:
        outputs = add_mean_logit(graph, outputs, axis=0, keepdims=False)
    if state.temperature != 1:
        outputs = graph.add("Div", outputs, float(state.temperature))
    return outputs


def add_mean_logit(
    graph: Graph,
    logits: str,
    axis: int,
    *,
    keepdims: bool,
    log_weights: NDArray[np.floating] | None = None,
) -> str:
    """Add the logit of a mean of probabilities, computed from their logarithms.

    Parameters
    ----------
    graph : Graph
    logits : str
        Name of the logits.
    axis : int
        The axis of the models.
    keepdims : bool
    log_weights : ndarray of shape (n_models,) or None, default=None
        Logarithms of the weights of the models, along the last axis. None for equal weights.

    Returns
    -------
    str
        Name of the logit.
    """
    logs = []
    for value in (logits, graph.add("Neg", logits)):
        # The logarithm of the sigmoid. Not every runtime has Softplus in float64.
        smaller = graph.add("Min", value, 0.0)
        odds = graph.add("Exp", graph.add("Neg", graph.add("Abs", value)))
        log = graph.add("Sub", smaller, graph.add("Log", graph.add("Add", odds, 1.0)))
        if log_weights is not None:
            log = graph.add("Add", log, log_weights)
        logs.append(graph.log_sum_exp(log, axis, keepdims=keepdims))
    return graph.add("Sub", *logs)


def add_both(graph: Graph, logit: str) -> str:
    """Add the logits of both classes, of shape (n_samples, 2)."""
    return graph.add("Concat", graph.add("Neg", logit), logit, axis=1)


def add_probabilities(graph: Graph, logit: str) -> str:
    """Add the probabilities of both classes, of shape (n_samples, 2)."""
    # Not a Sigmoid, of which float32 kernels cut off the tails.
    odds = graph.add("Exp", graph.add("Concat", logit, graph.add("Neg", logit), axis=1))
    return graph.add("Reciprocal", graph.add("Add", odds, 1.0))


def add_is_positive(graph: Graph, logit: str, threshold: float, positive: int) -> str:
    """Add the comparison of the probability of the positive class with the threshold.

    Logits are compared, so that no probability is rounded: the smallest logit whose probability
    reaches the threshold is computed beforehand. If the probability of a row may be exactly the
    threshold, logits that are smaller by rounding only count as equal.

    Parameters
    ----------
    graph : Graph
    logit : str
        Name of the logits of ``classes[1]``, of shape (n_samples, 1).
    threshold : float
        In [0, 1].
    positive : int
        Index of the positive class.

    Returns
    -------
    str
        Name of the booleans, of shape (n_samples, 1).
    """
    lowest = smallest_logit(threshold, graph.dtype)
    if math.isfinite(lowest) and float(graph.dtype(threshold)) == threshold:
        lowest -= _TIE_TOLERANCE[graph.dtype] * max(1.0, abs(lowest))
    positive_logit = logit if positive else graph.add("Neg", logit)
    return graph.add("GreaterOrEqual", positive_logit, lowest)


def smallest_logit(threshold: float, dtype: Float) -> float:
    """Return the smallest logit whose probability reaches a threshold.

    Parameters
    ----------
    threshold : float
        In [0, 1].
    dtype : {numpy.float32, numpy.float64}
        The type in which logits and probabilities are computed.

    Returns
    -------
    float
        -inf if the probability of all logits does.

    Examples
    --------
    >>> import numpy as np
    >>> from skbinary.export.onnx_graph import smallest_logit
    >>> round(smallest_logit(0.9, np.float64), 6)
    2.197225
    >>> smallest_logit(0.0, np.float32)
    -inf
    """

    def reaches(logit: np.floating) -> bool:
        with np.errstate(all="ignore"):
            return bool(np.float64(expit(logit)) >= threshold)

    low, high = dtype(-1000), dtype(1000)  # whose probabilities are 0 and 1
    if reaches(low):
        return -math.inf
    while (middle := dtype((float(low) + float(high)) / 2)) not in (low, high):
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return float(high)


def _add_embedding(graph: Graph, embedding: dict[str, NDArray[Any]] | None, rows: str) -> str | None:
    """Add a periodic embedding, of shape (..., n_samples, n_columns * n_outputs)."""
    if embedding is None:
        return None
    n_columns, _, n_outputs = embedding["maps"].shape[-3:]
    values = graph.add("Gather", rows, embedding["columns"], axis=1)
    values = graph.add("Unsqueeze", graph.add("Transpose", values, perm=[1, 0]), [-1])
    turns = graph.add("Mul", values, embedding["frequencies"][..., :, None, :])
    angles = graph.add("Mul", turns, 2 * math.pi)
    angles = graph.add("Add", angles, embedding["phases"][..., :, None, :])
    outputs = graph.add("MatMul", graph.add("Cos", angles), embedding["maps"])
    if embedding["maps"].ndim == 3:
        outputs = graph.add("Transpose", outputs, perm=[1, 0, 2])
        return graph.add("Reshape", outputs, [0, n_columns * n_outputs])
    outputs = graph.add("Transpose", outputs, perm=[0, 2, 1, 3])
    return graph.add("Reshape", outputs, [0, 0, n_columns * n_outputs])


def _leaky_relu(graph: Graph, x: str) -> str:
    return graph.add("Max", x, graph.add("Mul", x, _SLOPE))


def _silu(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


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
    coefficients: NDArray[np.float64] = fit.convert(kind=np.polynomial.Polynomial).coef
    return coefficients


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, x: x,
    "logistic": lambda graph, x: graph.add("Sigmoid", x),
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "relu": lambda graph, x: graph.add("Relu", x),
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "silu": _silu,
}


def _activation(name: str) -> Callable[[Graph, str], str]:
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    raise ValueError(
        f"activation must be one of {', '.join(map(repr, _ACTIVATIONS))} to be exported to ONNX, "
        f"got {name!r}. Fit the network with one of them."
    )
