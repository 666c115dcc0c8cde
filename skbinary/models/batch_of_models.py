"""Models of one shape that are trained at once: parameters, logits and gradient.

All parameters of all models lie in one tensor of shape (n_models, n_parameters), and so does
their gradient, which makes an optimizer's step a handful of operations however many layers there
are. The weights and biases of a layer are views of it. A linear model is a network without hidden
layers.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch
from skbinary.models.architecture import Architecture
from skbinary.models.forward_backward import ForwardBackward, Masks, score

_BOUNDARY = 64  # bytes, where torch lets memory begin


def padded(parameters: Tensor, width: int) -> Tensor:
    """Copy parameters so that each model's begin a whole number of rows after those before.

    The first layers of all models can then be read as one table.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
    width : int
        Units of the first layer.

    Returns
    -------
    Tensor of shape (n_models, n_parameters)
        With gaps between the models.
    """
    n_models, n_parameters = parameters.shape
    gap = -n_parameters % math.lcm(_BOUNDARY // parameters.element_size(), width)
    room = parameters.new_zeros(n_models, n_parameters + gap)[:, :n_parameters]
    return room.copy_(parameters)


class ModelBatch:
    """K models of one architecture, their parameters and the gradient of their losses.

    Parameters
    ----------
    architecture : Architecture
        The shape of every model.
    parameters : Tensor of shape (n_models, n_parameters)
        Where training starts. The stack works on it in place.
    """

    def __init__(self, architecture: Architecture, parameters: Tensor):
        self.architecture = architecture
        self.parameters = parameters
        n_models, stride = parameters.shape[0], parameters.stride(0)
        self.gradient = parameters.new_zeros(n_models, stride)[:, : parameters.shape[1]]
        self.weights, self.biases = architecture.unpack(parameters)
        self._passes: dict[int, ForwardBackward] = {}

    @property
    def n_models(self) -> int:
        return self.parameters.shape[0]

    def largest_logit(self) -> float:
        """Bound the absolute logits of rows whose features are at most one in absolute value.

        For a row with larger features, multiply the bound by the largest of them.
        """
        bound = self.weights[0].new_ones(self.n_models, 1, self.architecture.n_features).double()
        for i, weights in enumerate(self.weights):
            bound = bound @ weights.double().abs()
            if self.biases:
                bound = bound + self.biases[i].double().abs()
            # No activation exceeds the larger of its input and one.
            bound = bound.clamp(min=1.0)
        return float(bound.max())

    def logits(self, batch: Batch) -> Tensor:
        """Score rows.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)

        Returns
        -------
        Tensor of shape (n_models, n_rows)
        """
        return score(batch, self.weights, self.biases, self.architecture.activation)[..., 0]

    def for_batches_of(self, n_rows: int) -> ForwardBackward:
        """Give the buffers for batches of this size, which are made once."""
        if n_rows not in self._passes:
            self._passes[n_rows] = ForwardBackward(
                self.architecture, self.parameters, self.gradient, n_rows
            )
        return self._passes[n_rows]

    def loss_and_gradient(
        self, batch: Batch, target: Tensor, weight: Tensor | None, masks: Masks = None
    ) -> Tensor:
        """Add up the losses of a batch and leave the gradient of that sum in ``gradient``.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        weight : Tensor of the shape of `target` or None
        masks : sequence of Tensor or None, default=None
            Those of dropout.

        Returns
        -------
        Tensor of shape (n_models,)
            The weighted sum of the losses, in nats.
        """
        through = self.for_batches_of(batch.shape[-2])
        scale = 1.0 if weight is None else weight
        logits = through.forward_backward(batch, target, scale, masks)
        loss = (functional.softplus(logits) - target * logits) * scale
        return loss.reshape(self.n_models, -1).sum(dim=1)
