"""PyTorch modules made from the weights of fitted models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from skbinary.models.architecture import Architecture
from skbinary.models.ensemble import combine_logits
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.models.periodic_embedding import EmbeddingParameters, embed

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
    """A network that returns logits: linear layers, activations and dropout.

    The input, a tensor of shape (n_samples, ...), is flattened to (n_samples, n_features) in C
    order. The output has the shape (n_samples,): the logits of the positive class.
    """

    def forward(self, X: Tensor) -> Tensor:
        outputs = X.flatten(1)
        for layer in self:
            outputs = layer(outputs)
        return outputs[:, 0]


class ModuleOfLogits(nn.Module):
    """A module of the user that returns one logit a row.

    The input is a tensor of shape (n_samples, ...), the output one of shape (n_samples,).

    Parameters
    ----------
    architecture : ModuleArchitecture
        Says what the logits are, and the shape of a sample.
    network : torch.nn.Module
        The module.
    """

    def __init__(self, architecture: ModuleArchitecture, network: nn.Module):
        super().__init__()
        self._architecture = architecture
        self.network = network

    def forward(self, X: Tensor) -> Tensor:
        shape = self._architecture.builder.sample_shape
        return self._architecture.logits(self.network, X.reshape(X.shape[0], *shape))


class PeriodicLayer(nn.Module):
    """Appends the periodic embedding of some features to all features.

    The input is a tensor of shape (n_samples, n_features), the output one of shape
    (n_samples, n_features + n_outputs).

    Parameters
    ----------
    columns : sequence of int
        The features that are embedded.
    parameters : EmbeddingParameters
        Frequencies, phases and linear maps, as a single model has them.
    """

    columns: Tensor

    def __init__(self, columns: Sequence[int], parameters: EmbeddingParameters):
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns, device=parameters.maps.device))
        self.frequencies = nn.Parameter(parameters.frequencies)
        self.phases = nn.Parameter(parameters.phases)
        self.maps = nn.Parameter(parameters.maps)

    def forward(self, X: Tensor) -> Tensor:
        values = torch.index_select(X, 1, self.columns)
        parameters = EmbeddingParameters(self.frequencies, self.phases, self.maps)
        return torch.cat([X, embed(values, parameters)], dim=1)

    def extra_repr(self) -> str:
        """Return the shape of the embedding."""
        n_columns, n_frequencies, n_outputs = self.maps.shape
        return f"n_columns={n_columns}, n_frequencies={n_frequencies}, n_outputs={n_outputs}"


class EnsembleModule(nn.ModuleList):
    """An ensemble of logit modules, which returns the logit of their mean probability.

    The input is a tensor of shape (n_samples, ...), the output one of shape (n_samples,).

    Parameters
    ----------
    members : iterable of torch.nn.Module
        They return logits.
    temperature : float, default=1.0
        The logit is divided by it. A buffer, so that ``state_dict`` has it.
    """

    temperature: Tensor

    def __init__(self, members: Iterable[nn.Module], temperature: float = 1.0):
        super().__init__(members)
        # Not float64, which some devices do not have.
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, X: Tensor) -> Tensor:
        return combine_logits(torch.stack([member(X) for member in self])) / self.temperature


# What a fitted model is built as.
AnyModule: TypeAlias = LogitModule | ModuleOfLogits | EnsembleModule


def build_module(
    architecture: Architecture,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    embedding: EmbeddingParameters | None = None,
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
    embedding : EmbeddingParameters or None, default=None
        The parameters of the embedding, if there is one.

    Returns
    -------
    LogitModule
        In evaluation mode.
    """
    layers: list[nn.Module] = []
    if architecture.embedding is not None:
        if embedding is None:
            raise AssertionError("an architecture with an embedding has its parameters")
        layers.append(PeriodicLayer(architecture.embedding.columns, embedding))
    for i, (n_in, n_out) in enumerate(architecture.layers):
        # On the meta device no weights are drawn, which would advance the global random state.
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
