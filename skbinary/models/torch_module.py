"""A torch module from weights, for whoever wants to go on in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skbinary.models.architecture import Architecture

_LAYERS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class LogitModule(nn.Sequential):
    """Linear layers, activations and dropout, from rows to logits.

    Takes a tensor of shape (n_samples, ...), which is flattened in C order, and gives the logits
    of the positive class, of shape (n_samples,).
    """

    def forward(self, X: Tensor) -> Tensor:
        signal = X.flatten(1)
        for layer in self:
            signal = layer(signal)
        return signal[:, 0]


class MeanLogitModule(nn.ModuleList):
    """Several logit modules, whose mean counts.

    Takes a tensor of shape (n_samples, ...) and gives the mean logits, of shape (n_samples,).
    """

    def forward(self, X: Tensor) -> Tensor:
        return torch.stack([member(X) for member in self]).mean(0)


def build_module(
    architecture: Architecture, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> LogitModule:
    """Build a module whose parameters are views of the given tensors.

    Parameters
    ----------
    architecture : Architecture
        The shape of the network.
    weights : sequence of Tensor of shape (n_in, n_out)
        One for each layer. The module's ``weight`` is its transpose, on the same memory.
    biases : sequence of Tensor of shape (1, n_out)
        One for each layer. Empty without intercepts.

    Returns
    -------
    LogitModule
        In evaluation mode.
    """
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(architecture.layers):
        # Made on the meta device, so that no global random number is drawn for weights that are
        # replaced at once.
        linear = nn.Linear(n_in, n_out, bias=bool(biases), device=torch.device("meta"))
        linear.weight = nn.Parameter(weights[i].mT)
        if biases:
            linear.bias = nn.Parameter(biases[i][0])
        layers.append(linear)
        if i < len(architecture.hidden):
            layers.append(_LAYERS[architecture.activation]())
            if architecture.dropout and architecture.dropout[i]:
                layers.append(nn.Dropout(architecture.dropout[i]))
    return LogitModule(*layers).eval()
