"""Layers of a network from the parameters: widths, dropout rates, embedding, initial weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from skbinary.data.checked import CheckedData, cached
from skbinary.data.containers import is_single_precision
from skbinary.data.conversion import as_rows
from skbinary.models.architecture import Architecture
from skbinary.models.periodic_embedding import (
    PeriodicEmbedding,
    continuous_columns,
    draw_embedding_parameters,
)
from skbinary.runtime.device import full_precision


def draw_initial_parameters(architecture: Architecture, random_state: Any) -> Tensor:
    """Draw weights and biases as scikit-learn's MLPClassifier does, in the same order.

    The parameters of an embedding are drawn after them.
    """
    weights, biases = [], []
    factor = 2 if architecture.activation == "logistic" else 6
    for n_in, n_out in architecture.layers:
        bound = math.sqrt(factor / (n_in + n_out))
        weights.append(torch.as_tensor(random_state.uniform(-bound, bound, (n_in, n_out))))
        biases.append(torch.as_tensor(random_state.uniform(-bound, bound, n_out)))
    embedding: list[Tensor] = []
    if architecture.embedding is not None:
        embedding = draw_embedding_parameters(architecture.embedding, random_state)
    return architecture.pack(weights, biases, embedding)


def periodic_embedding(data: CheckedData) -> PeriodicEmbedding | None:
    """Return the embedding of the numerical features of training data, or None without any.

    Raises
    ------
    ValueError
        If the rows are sparse.
    """
    X, weight = data.train.X, data.train.sample_weight
    if sp.issparse(X):
        raise ValueError(
            "X must be dense with numeric_embedding='periodic', got a sparse matrix. Pass "
            "X.toarray(), or set numeric_embedding=None."
        )

    def build() -> PeriodicEmbedding | None:
        device = X.device if isinstance(X, Tensor) else torch.device("cpu")
        dtype = torch.float32 if is_single_precision(X) else full_precision(device)
        rows = as_rows(X, device, dtype, convert=False)
        is_used = None if weight is None else torch.from_numpy(weight > 0).to(device)
        columns = continuous_columns(rows, is_used, data.processes)
        return PeriodicEmbedding(columns) if columns else None

    return cached(data, "periodic embedding", build)


def is_torch_module(value: Any) -> bool:
    """Whether a value is a torch module, or a class of torch modules."""
    is_class = isinstance(value, type) and issubclass(value, torch.nn.Module)
    return is_class or isinstance(value, torch.nn.Module)


def hidden_widths(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """Return the number of units of each hidden layer.

    Raises
    ------
    ValueError
        If they are not positive whole numbers.
    """
    widths = np.atleast_1d(np.asarray(hidden_layer_sizes))
    are_valid = widths.ndim == 1 and widths.dtype.kind in "iu" and bool(np.all(widths > 0))
    if widths.size and not are_valid:
        raise ValueError(
            "hidden_layer_sizes must be > 0 and whole numbers, got "
            f"{hidden_layer_sizes!r}. Pass the number of units of each hidden layer."
        )
    return tuple(int(width) for width in widths)


def dropout_rates(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    """Return the dropout rate of each hidden layer.

    Raises
    ------
    ValueError
        If it is neither a rate nor one rate for each hidden layer.
    """
    rates = np.asarray(dropout)
    if rates.ndim == 0:
        rates = np.full(n_hidden, rates)
    are_numbers = rates.dtype.kind in "iuf" and rates.shape == (n_hidden,)
    if not (are_numbers and np.all((rates >= 0) & (rates < 1))):
        raise ValueError(
            "dropout must be a rate in [0, 1), or one for each hidden layer, got "
            f"{dropout!r} for {n_hidden} hidden layers. Pass one rate, or {n_hidden}."
        )
    return tuple(float(rate) for rate in rates)
