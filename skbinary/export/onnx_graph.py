"""Nodes of an ONNX graph: from logits to probabilities and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Float = type[np.floating]

# How much less than the logit of the threshold, relative to it or to 1, counts as equal to it: two
# libraries add up the terms of a product in another order. In float32, two units in the last place
# are a compromise between rows at the threshold and others near it. In float64, no others are near.
_TIE_TOLERANCE: dict[Float, float] = {np.float32: 2.0**-22, np.float64: 2.0**-40}


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
