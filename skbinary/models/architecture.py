"""The layers of a network, and the order of its parameters in one flat vector."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from skbinary.models.periodic_embedding import EmbeddingParameters, PeriodicEmbedding

# A cosine takes about as long as this many multiplications of a matrix product.
_PRODUCTS_PER_COSINE = 64


@dataclass(frozen=True)
class Architecture:
    """The shape of a network, or of every model of a batch.

    Parameters
    ----------
    n_features : int
        Number of features.
    hidden : tuple of int, default=()
        Number of units of each hidden layer. Empty for a linear model.
    activation : str, default="identity"
        A key of ``ACTIVATIONS``.
    dropout : tuple of float, default=()
        Dropout rate of each hidden layer: the fraction of its outputs that is set to zero in
        training.
    fit_intercept : bool, default=True
        Whether the layers have biases.
    embedding : PeriodicEmbedding or None, default=None
        Embedding of numerical features, whose outputs stand beside all features in the input of
        the first layer.
    """

    n_features: int
    hidden: tuple[int, ...] = ()
    activation: str = "identity"
    dropout: tuple[float, ...] = ()
    fit_intercept: bool = True
    embedding: PeriodicEmbedding | None = None

    @property
    def is_row_wise(self) -> bool:
        """Whether the logit of a row depends on this row only."""
        return True

    @property
    def is_random(self) -> bool:
        """Whether a training step draws from torch's global generators."""
        return False

    @property
    def is_linear(self) -> bool:
        """Whether there are no hidden layers."""
        return not self.hidden

    @property
    def first_width(self) -> int:
        """Number of units of the first layer."""
        return self.layers[0][1]

    @property
    def n_units(self) -> int:
        """Number of hidden units."""
        return sum(self.hidden)

    @property
    def can_replay(self) -> bool:
        """Whether a step can be captured as a CUDA graph, with padded rows in the last batch."""
        return True

    def is_mapped(self, n_rows: int, device: torch.device) -> bool:
        """Whether several models are computed at once: they always are."""
        return True

    def batch_key(self) -> Hashable:
        """Return a key that is equal for models that can be trained in one batch."""
        return replace(self, dropout=())

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Number of inputs and outputs of each layer; the output of the last is the logit."""
        n_embedded = 0 if self.embedding is None else self.embedding.width
        widths = (self.n_features + n_embedded, *self.hidden, 1)
        return list(pairwise(widths))

    @property
    def n_weights(self) -> int:
        """Number of weights of the layers, which are penalized."""
        return sum(n_in * n_out for n_in, n_out in self.layers)

    @property
    def n_parameters(self) -> int:
        """Number of parameters of one model."""
        n_biases = self.fit_intercept * sum(n_out for _, n_out in self.layers)
        n_embedding = 0 if self.embedding is None else self.embedding.n_parameters
        return self.n_weights + n_biases + n_embedding

    @property
    def n_waves(self) -> int:
        """Number of cosines that the embedding computes for each row."""
        return 0 if self.embedding is None else math.prod(self.embedding.shapes[0])

    @property
    def values_per_row(self) -> int:
        """Number of values of one row inside one model: its embedding and its hidden units."""
        return self.n_waves + sum(self.hidden)

    @property
    def n_products(self) -> int:
        """Multiplications for each row in the forward pass of one model."""
        n_outputs = 0 if self.embedding is None else self.embedding.n_outputs
        return self.n_weights + self.n_waves * (n_outputs + _PRODUCTS_PER_COSINE)

    def pack(
        self,
        weights: Iterable[Tensor],
        biases: Iterable[Tensor],
        embedding: Iterable[Tensor] = (),
    ) -> Tensor:
        """Concatenate the parameters of one model: weights, biases, and those of the embedding.

        Parameters
        ----------
        weights : iterable of Tensor of shape (n_in, n_out)
            One for each layer.
        biases : iterable of Tensor of shape (n_out,)
            One for each layer. Ignored without intercepts.
        embedding : iterable of Tensor, default=()
            Frequencies, phases and linear maps, if there is an embedding.

        Returns
        -------
        Tensor of shape (n_parameters,)
        """
        flat = [each.reshape(-1) for each in weights]
        if self.fit_intercept:
            flat += [each.reshape(-1) for each in biases]
        return torch.cat([*flat, *(each.reshape(-1) for each in embedding)])

    def unpack(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return views of the weights and the biases in `flat`.

        Parameters
        ----------
        flat : Tensor of shape (n_models, n_parameters)

        Returns
        -------
        weights : list of Tensor of shape (n_models, n_in, n_out)
        biases : list of Tensor of shape (n_models, 1, n_out)
            Empty without intercepts.
        """
        shapes = [(n_in, n_out) for n_in, n_out in self.layers]
        if self.fit_intercept:
            shapes += [(1, n_out) for _, n_out in self.layers]
        sizes = [n_in * n_out for n_in, n_out in shapes]
        flat = flat[:, : sum(sizes)]
        views = [
            layer.view(-1, *shape)
            for layer, shape in zip(torch.split(flat, sizes, dim=1), shapes, strict=True)
        ]
        n_layers = len(self.layers)
        return views[:n_layers], views[n_layers:]

    def unpack_embedding(self, flat: Tensor) -> EmbeddingParameters | None:
        """Return views of the parameters of the embedding in `flat`, or None without one."""
        if self.embedding is None:
            return None
        return self.embedding.unpack(flat[:, self.n_parameters - self.embedding.n_parameters :])
