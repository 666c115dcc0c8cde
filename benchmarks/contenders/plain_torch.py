"""A plain PyTorch training loop with resident tensors, fused Adam and one permutation per epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from benchmarks.cases import NetworkCase
from benchmarks.contenders.modules import MODULES


class PlainLoop:
    """Trains the network of a case in the shortest possible loop.

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
        self.model = MODULES[case.module or "perceptron"](X.shape[1], case.hidden).to(self.device)
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
