"""A batch of models of one architecture: parameters, logits and gradient.

The parameters of all models are one tensor of shape (n_models, n_parameters), and so is their
gradient, so that an optimizer step takes a few operations, however many layers there are. The
weights and biases of a layer are views of the parameters. A linear model is a network without
hidden layers.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch
from skbinary.models.architecture import Architecture
from skbinary.models.forward_backward import ForwardBackward, Masks, Network

_ALIGNMENT = 64  # bytes; torch aligns its allocations to as many
_NO_CHANGE: AbstractContextManager[None] = nullcontext()


def pad_parameters(parameters: Tensor, width: int) -> Tensor:
    """Copy parameters into memory in which the distance of two models is a multiple of `width`.

    The weights of the first layers of all models can then be viewed as one table with `width`
    columns.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
    width : int
        Number of units of the first layer.

    Returns
    -------
    Tensor of shape (n_models, n_parameters)
        Not contiguous: the memory of each model is followed by padding.
    """
    n_models, n_parameters = parameters.shape
    padding = -n_parameters % math.lcm(_ALIGNMENT // parameters.element_size(), width)
    padded = parameters.new_zeros(n_models, n_parameters + padding)[:, :n_parameters]
    return padded.copy_(parameters)


class ModelBatch:
    """A batch of models of one architecture: their parameters and the gradient of their losses.

    Parameters
    ----------
    architecture : Architecture
        The shape of every model.
    parameters : Tensor of shape (n_models, n_parameters)
        The parameters. They are not copied: training changes them in place.

    Attributes
    ----------
    gradient : Tensor of shape (n_models, n_parameters)
        The last gradient that was computed.
    weights : list of Tensor of shape (n_models, n_in, n_out)
        Views of the parameters, one for each layer.
    biases : list of Tensor of shape (n_models, 1, n_out)
        Views of the parameters, one for each layer. Empty without intercepts.
    embedding : EmbeddingParameters or None
        Views of the parameters of the embedding, if there is one.
    """

    def __init__(self, architecture: Architecture, parameters: Tensor):
        self.architecture = architecture
        self.parameters = parameters
        n_models, stride = parameters.shape[0], parameters.stride(0)
        self.gradient = parameters.new_zeros(n_models, stride)[:, : parameters.shape[1]]
        self.weights, self.biases = architecture.unpack(parameters)
        self.embedding = architecture.unpack_embedding(parameters)
        self._buffers: dict[int, ForwardBackward] = {}

    @property
    def n_models(self) -> int:
        return self.parameters.shape[0]

    @property
    def values(self) -> Tensor:
        """All that training changes: the parameters."""
        return self.parameters

    def training(self, generator: object = None) -> AbstractContextManager[None]:
        """Return a context for the steps of an epoch, which does nothing."""
        return _NO_CHANGE

    def logit_bound(self) -> float:
        """Return a bound on the absolute logits of rows with features in [-1, 1].

        For a row with larger features, multiply the bound by the largest absolute feature.
        """
        bound = self.weights[0].new_ones(self.n_models, 1, self.architecture.n_features).double()
        if self.embedding is not None:  # a cosine is at most 1
            maps = self.embedding.maps.double().abs().sum(dim=-2)
            bound = torch.cat([bound, maps.flatten(1)[:, None]], dim=-1)
        for i, weights in enumerate(self.weights):
            bound = bound @ weights.double().abs()
            if self.biases:
                bound = bound + self.biases[i].double().abs()
            # No activation exceeds the larger of its absolute input and 1.
            bound = bound.clamp(min=1.0)
        return float(bound.max())

    def logits(self, batch: Batch) -> Tensor:
        """Compute the logits of rows.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)

        Returns
        -------
        Tensor of shape (n_models, n_rows)
        """
        embedding, activation = self.architecture.embedding, self.architecture.activation
        columns = () if embedding is None else embedding.columns
        network = Network(self.weights, self.biases, activation, columns, self.embedding)
        return network.logits(batch)[..., 0]

    def buffers_for(self, n_rows: int) -> ForwardBackward:
        """Return the buffers for batches of `n_rows` rows, which are allocated once."""
        if n_rows not in self._buffers:
            self._buffers[n_rows] = ForwardBackward(
                self.architecture, self.parameters, self.gradient, n_rows
            )
        return self._buffers[n_rows]

    def loss_and_gradient(
        self, batch: Batch, target: Tensor, weight: Tensor | None, masks: Masks = None
    ) -> Tensor:
        """Compute the summed losses of a batch, and write the gradient of the sum to ``gradient``.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        weight : Tensor of the shape of `target` or None
        masks : sequence of Tensor or None, default=None
            Dropout masks, as in ``ForwardBackward.forward``.

        Returns
        -------
        Tensor of shape (n_models,)
            The weighted sum of the losses of each model, in nats.
        """
        scale = 1.0 if weight is None else weight
        logits = self.buffers_for(batch.shape[-2]).forward_backward(batch, target, scale, masks)
        loss = (functional.softplus(logits) - target * logits) * scale
        return loss.reshape(self.n_models, -1).sum(dim=1)
