"""Nodes of an ONNX graph that compute the logits of a fitted model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.estimators.state import FittedState
from skbinary.export.onnx_activations import find_activation
from skbinary.export.onnx_graph import Graph, add_mean_logit


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
    activate = find_activation(state.activation)
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


def _add_embedding(
    graph: Graph, embedding: dict[str, NDArray[Any]] | None, rows: str
) -> str | None:
    """Add a periodic embedding, of shape (..., n_samples, n_columns * n_outputs)."""
    if embedding is None:
        return None
    n_columns, _, n_outputs = embedding["maps"].shape[-3:]
    values = graph.add("Gather", rows, embedding["columns"], axis=1)
    values = graph.add("Unsqueeze", graph.add("Transpose", values, perm=[1, 0]), [-1])
    turns = graph.add("Mul", values, embedding["frequencies"][..., :, None, :])
    angles = graph.add("Mul", turns, 2 * math.pi)
    phases = embedding["phases"][..., :, None, :]
    if graph.dtype is np.float32:
        waves = graph.add("Cos", graph.add("Add", angles, phases))
    else:  # onnxruntime 1.20 has no cosine in float64
        shifted = phases.astype(np.float64) + math.pi / 2
        waves = graph.add("Sin", graph.add("Add", angles, shifted))
    outputs = graph.add("MatMul", waves, embedding["maps"])
    if embedding["maps"].ndim == 3:
        outputs = graph.add("Transpose", outputs, perm=[1, 0, 2])
        return graph.add("Reshape", outputs, [0, n_columns * n_outputs])
    outputs = graph.add("Transpose", outputs, perm=[0, 2, 1, 3])
    return graph.add("Reshape", outputs, [0, 0, n_columns * n_outputs])
