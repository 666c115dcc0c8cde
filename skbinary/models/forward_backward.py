"""Logits and gradient of a batch of models, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from skbinary.data.batches import Batch, EmbeddableInput, LayerInput
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.periodic_embedding import EmbeddedInput, EmbeddingParameters, embed

# The dropout mask of each hidden layer, or None without dropout.
Masks = Sequence[Tensor] | None


class ForwardBackward:
    """Computes logits and the gradient of the losses, in buffers that are allocated once.

    A single model computes with matrices, several models with batches of matrices, by the same
    calls: in a shape like (..., n_rows), a batch of models has the leading axis n_models, and a
    single model has none. Views are made once, too: in a step of a small network, calls take as
    long as the matrix products.

    Parameters
    ----------
    architecture : Architecture
        The shape of every model.
    parameters : Tensor of shape (n_models, n_parameters)
    gradient : Tensor of shape (n_models, n_parameters)
        Where the gradient is written.
    n_rows : int
        Number of rows of a batch.
    """

    def __init__(
        self, architecture: Architecture, parameters: Tensor, gradient: Tensor, n_rows: int
    ):
        self._architecture = architecture
        self._parameters = parameters
        self._n_rows = n_rows
        self._is_single = len(parameters) == 1
        self._affine = torch.addmm if self._is_single else torch.baddbmm
        self._product = torch.mm if self._is_single else torch.bmm
        self._weights, self._biases = self._views(parameters)
        self._transposed_weights = [each.mT for each in self._weights]
        self._weight_gradients, self._bias_gradients = self._views(gradient)
        # Products of several models are slow with an output that is not contiguous, as the
        # gradients of one layer are.
        self._products = [torch.empty_like(each) for each in self._weight_gradients]
        if self._is_single:
            self._products = self._weight_gradients
        self._last_product = self._products[-1].mT
        n_weights = architecture.n_weights
        self._penalized = parameters[:, :n_weights]
        self._penalized_gradient = gradient[:, :n_weights]
        self._activation = ACTIVATIONS[architecture.activation]
        self._outputs = self._allocate_hidden()
        self._deltas = self._allocate_hidden()
        self._transposed_outputs = [each.mT for each in self._outputs]
        # What the derivative of the activation is computed from: its input or its output.
        self._saved = self._allocate_hidden() if self._activation.saves_input else self._outputs
        # The outputs after dropout. Dropout works in place if the derivative allows it.
        in_place = self._activation.saves_input or self._activation.needs_sign_only
        self._dropped = self._outputs if in_place else []
        self._transposed_dropped = self._transposed_outputs if in_place else []
        self._masks: Masks = None
        self._embedded = self._embedded_input(gradient)
        self._logits, self._residual = self._allocate(1), self._allocate(1)
        self._flat_logits, self._flat_residual = self._logits[..., 0], self._residual[..., 0]
        self._transposed_residual = self._residual.mT

    def forward_backward(
        self,
        batch: LayerInput,
        target: Tensor,
        scale: float | Tensor,
        masks: Masks = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Compute the logits, and write the gradient of the scaled losses.

        Parameters
        ----------
        batch, masks, out
            As in ``forward``.
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        scale : float or Tensor of the shape of `target`
            Factor of the loss of each row.

        Returns
        -------
        Tensor of shape (..., n_rows)
            Logits.
        """
        logits = self.forward(batch, masks, out)
        # The derivative of the log loss with respect to the logit is the probability minus the
        # target.
        torch.sigmoid(logits, out=self._flat_residual).sub_(target).mul_(scale)
        self._backward(batch)
        return logits

    def forward(self, batch: LayerInput, masks: Masks = None, out: Tensor | None = None) -> Tensor:
        """Compute the logits of a batch.

        Parameters
        ----------
        batch : LayerInput of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        masks : sequence of Tensor of shape (n_rows, n_units) or (..., n_rows, n_units), or None
            Dropout masks: the factors of each hidden layer's outputs. None without dropout.
        out : Tensor of shape (..., n_rows, 1), default=None
            Where the logits are written. None for a buffer that the next call overwrites.

        Returns
        -------
        Tensor of shape (..., n_rows)
            Logits.
        """
        self._masks = masks
        if masks is not None and not self._dropped:
            self._dropped = self._allocate_hidden()
            self._transposed_dropped = [each.mT for each in self._dropped]
        if self._embedded is not None:
            batch = self._embedded.set_batch(cast(EmbeddableInput, batch))
        inputs: LayerInput | Tensor = batch
        for i, outputs in enumerate(self._outputs):
            self._layer(inputs, i, outputs)
            if self._activation.saves_input:
                self._saved[i].copy_(outputs)
            self._activation.apply_(outputs)
            inputs = outputs
            if masks is not None:
                inputs = torch.mul(outputs, masks[i], out=self._dropped[i])
        if out is None:
            self._last_layer(inputs, self._logits)
            return self._flat_logits
        self._last_layer(inputs, out)
        return out[..., 0]

    def penalize(self, strength: Tensor) -> None:
        """Add the gradient of ``strength / 2 * sum(weights ** 2)`` to that of the losses.

        Parameters
        ----------
        strength : Tensor of shape (n_models, 1) or ()
        """
        self._penalized_gradient.addcmul_(self._penalized, strength)

    @property
    def hidden_outputs(self) -> Sequence[Tensor]:
        """Outputs of the hidden layers, of shape (..., n_rows, n_units), overwritten every time."""
        return self._outputs

    def _layer(self, inputs: LayerInput | Tensor, i: int, out: Tensor) -> None:
        if not isinstance(inputs, Tensor):
            inputs.affine_into(self._biases[i] if self._biases else None, self._weights[i], out)
        elif self._biases:
            self._affine(self._biases[i], inputs, self._weights[i], out=out)
        else:
            self._product(inputs, self._weights[i], out=out)

    def _last_layer(self, inputs: LayerInput | Tensor, out: Tensor) -> None:
        if self._is_single or not isinstance(inputs, Tensor):
            self._layer(inputs, len(self._outputs), out)
            return
        # Batched products with one row take a quarter of the time of those with one column.
        has_dropout = self._masks is not None
        columns = self._transposed_dropped if has_dropout else self._transposed_outputs
        row, logits = self._transposed_weights[-1], out.mT
        if self._biases:
            torch.baddbmm(self._biases[-1], row, columns[-1], out=logits)
        else:
            torch.bmm(row, columns[-1], out=logits)

    def _backward(self, batch: LayerInput) -> None:
        """Propagate the residual back through the layers, and write the gradient.

        Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
        1986.
        """
        if self._embedded is not None:
            batch = self._embedded
        outputs, transposed_outputs = self._outputs, self._transposed_outputs
        if self._masks is not None:
            outputs, transposed_outputs = self._dropped, self._transposed_dropped
        delta = self._residual
        for i in reversed(range(len(self._weights))):
            gradient = self._weight_gradients[i]
            is_last = i == len(self._outputs)
            if i == 0:
                batch.transposed_matmul_into(delta, gradient)
            elif is_last:
                self._product(self._transposed_residual, outputs[i - 1], out=self._last_product)
            else:
                self._product(transposed_outputs[i - 1], delta, out=self._products[i])
            if i > 0 and not self._is_single:
                gradient.copy_(self._products[i])
            if self._biases:
                torch.sum(delta, dim=-2, keepdim=True, out=self._bias_gradients[i])
            if i > 0:
                previous = self._deltas[i - 1]
                # The last layer has one output, so that broadcasting gives the same product in a
                # tenth of the time.
                product = torch.mul if is_last else self._product
                product(delta, self._transposed_weights[i], out=previous)
                if self._masks is not None:
                    previous.mul_(self._masks[i - 1])
                self._activation.backward_(previous, self._saved[i - 1])
                delta = previous
        if self._embedded is not None:
            self._embedded.backward(delta, self._weights[0])

    def _embedded_input(self, gradient: Tensor) -> EmbeddedInput | None:
        """Return the input of the first layer if features are embedded."""
        architecture = self._architecture
        if architecture.embedding is None:
            return None
        views = [architecture.unpack_embedding(each) for each in (self._parameters, gradient)]
        parameters, gradients = (cast(EmbeddingParameters, each) for each in views)
        if self._is_single:
            parameters, gradients = parameters.single(), gradients.single()
        return EmbeddedInput(
            architecture.embedding, architecture.n_features, parameters, gradients, self._n_rows
        )

    def _views(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return views of the weights and the biases, without the leading axis for one model."""
        weights, biases = self._architecture.unpack(flat)
        if self._is_single:
            return [each[0] for each in weights], [each[0] for each in biases]
        return weights, biases

    def _allocate_hidden(self) -> list[Tensor]:
        return [self._allocate(width) for width in self._architecture.hidden]

    def _allocate(self, width: int) -> Tensor:
        buffer = self._parameters.new_empty(len(self._parameters), self._n_rows, width)
        return buffer[0] if self._is_single else buffer


@dataclass(frozen=True)
class Network:
    """The weights of one model, or of several models of one shape, to compute logits with.

    Parameters
    ----------
    weights : sequence of Tensor of shape (n_in, n_out) or (n_models, n_in, n_out)
        One for each layer.
    biases : sequence of Tensor of shape (n_out,) or (n_models, 1, n_out)
        One for each layer. Empty without intercepts.
    activation : str
        A key of ``ACTIVATIONS``.
    columns : sequence of int, default=()
        The features that are embedded.
    embedding : EmbeddingParameters or None, default=None
        Their embedding.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: str
    columns: Sequence[int] = ()
    embedding: EmbeddingParameters | None = None

    def logits(self, batch: Batch) -> Tensor:
        """Compute the logits of rows, without dropout.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)

        Returns
        -------
        Tensor of shape (n_rows, 1) or (n_models, n_rows, 1)
        """
        weights, biases = self.weights, self.biases
        outputs = self._first_products(batch)
        for i in range(1, len(weights) + 1):
            if biases:
                outputs = outputs.add_(biases[i - 1])
            if i < len(weights):
                ACTIVATIONS[self.activation].apply_(outputs)
                outputs = outputs @ weights[i]
        return outputs

    def _first_products(self, batch: Batch) -> Tensor:
        """Return the products of the rows, and of their embedding, with the first weights."""
        weights = self.weights[0]
        if self.embedding is None:
            return batch @ weights
        n = batch.shape[-1]
        index = torch.tensor(self.columns, device=weights.device)
        embedded = embed(cast(EmbeddableInput, batch).columns(index), self.embedding)
        return (batch @ weights[..., :n, :]).add_(embedded @ weights[..., n:, :])
