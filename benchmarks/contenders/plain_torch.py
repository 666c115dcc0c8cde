"""A plain PyTorch training loop with resident tensors, fused Adam and one permutation per epoch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from benchmarks.cases import NetworkCase


class Perceptron(nn.Module):
    """The network of `MLPClassifier`, with logits as output.

    Parameters
    ----------
    n_features : int
    hidden : tuple of int
        Widths of the hidden layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training.
    """

    def __init__(self, n_features: int, hidden: tuple[int, ...], dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        widths = (n_features, *hidden, 1)
        layers = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            # Glorot's bounds, biases included, as in scikit-learn.
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)

    def forward(self, X: Tensor) -> Tensor:
        """Compute the logits of dense or CSR rows, of shape (n_samples,)."""
        first, *others = self.layers
        if X.layout == torch.sparse_csr:
            # nn.Linear does not support gradients with CSR input.
            hidden = torch.sparse.mm(X, first.weight.t()).add_(first.bias)
        else:
            hidden = first(X)
        for layer in others:
            hidden = torch.relu(hidden)
            if self.dropout:
                hidden = nn.functional.dropout(hidden, self.dropout, self.training)
            hidden = layer(hidden)
        return hidden.squeeze(1)


class PlainLoop:
    """Trains a `Perceptron` in the shortest possible loop.

    Parameters
    ----------
    case : NetworkCase
    device : str
    """

    def __init__(self, case: NetworkCase, device: str):
        self.case = case
        self.device = device

    def fit(self, X: Any, y: NDArray[Any], epochs: int) -> None:
        """Train from new weights. Sparse rows become CSR batches, faster than dense ones."""
        case = self.case
        torch.manual_seed(0)
        rows = _Sparse(X, self.device) if sparse.issparse(X) else _Dense(X, self.device)
        target = torch.as_tensor(y, dtype=torch.float32, device=self.device)
        self.model = Perceptron(X.shape[1], case.hidden).to(self.device)
        optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=case.learning_rate,
            weight_decay=case.alpha / case.batch_size,
            fused=True,
        )
        loss_function = nn.BCEWithLogitsLoss()
        for _ in range(epochs):
            total = torch.zeros((), device=self.device)
            for index in torch.randperm(len(y), device=self.device).split(case.batch_size):
                optimizer.zero_grad()
                loss = loss_function(self.model(rows[index]), target[index])
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(index)
            self.loss = total.item() / len(y)

    def probabilities(self, X: NDArray[Any]) -> NDArray[Any]:
        """Compute the probability of class 1 for dense rows."""
        with torch.no_grad():
            logits = self.model(torch.as_tensor(X, device=self.device))
            return torch.sigmoid(logits).cpu().numpy()


class _Dense:
    def __init__(self, X: NDArray[Any], device: str):
        self.X = torch.as_tensor(X, dtype=torch.float32, device=device)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.X[index]


class _Sparse:
    def __init__(self, X: Any, device: str):
        self.X = X.astype(np.float32, copy=False)
        self.device = device

    def __getitem__(self, index: Tensor) -> Tensor:
        batch = self.X[index.cpu().numpy()]
        return torch.sparse_csr_tensor(
            torch.as_tensor(batch.indptr),
            torch.as_tensor(batch.indices),
            torch.as_tensor(batch.data),
            size=batch.shape,
        ).to(self.device)
