"""The gradient of a batch of models in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skbinary.data.batches import Batch, LayerInput
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture

# What dropout multiplies each hidden layer with. None without dropout.
Masks = Sequence[Tensor] | None


class ForwardBackward:
    """The logits of a batch of rows and the gradient of its losses, in buffers made once.

    A single model computes with matrices, several models with batches of matrices, by the same
    calls: where this class says (..., n_rows), a single model has no leading axis. Views are made
    once, too, since a step of a small network takes as long for its calls as for its products.

    Parameters
    ----------
    architecture : Architecture
        The shape of every model.
    parameters : Tensor of shape (n_models, n_parameters)
    gradient : Tensor of shape (n_models, n_parameters)
        Is written to.
    n_rows : int
        Rows of a batch.
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
        # Where products for several models must be written to be quick: there are gaps between the
        # gradients of one layer.
        self._products = [torch.empty_like(each) for each in self._weight_gradients]
        if self._is_single:
            self._products = self._weight_gradients
        self._last_product = self._products[-1].mT
        n_weights = architecture.n_weights
        self._penalized = parameters[:, :n_weights]
        self._penalized_gradient = gradient[:, :n_weights]
        self._activation = ACTIVATIONS[architecture.activation]
        self._signals = self._buffers()
        self._errors = self._buffers()
        self._transposed_signals = [each.mT for each in self._signals]
        # What the slope of the activation is taken from, where that is not the output.
        self._inputs = self._buffers() if self._activation.keeps_input else self._signals
        # What dropout leaves of the signals. It works in place where the slope allows it.
        in_place = self._activation.keeps_input or self._activation.by_sign
        self._dropped = self._signals if in_place else []
        self._transposed_dropped = self._transposed_signals if in_place else []
        self._masks: Masks = None
        self._logits, self._residual = self._buffer(1), self._buffer(1)
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
        """Leave the gradient of the scaled losses in the batch of models, and return the logits.

        Parameters
        ----------
        batch, masks, out
            As in ``forward``.
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        scale : float or Tensor of the shape of `target`
            What the loss of each row counts.
        """
        logits = self.forward(batch, masks, out)
        torch.sigmoid(logits, out=self._flat_residual).sub_(target).mul_(scale)
        self._backward(batch)
        return logits

    def forward(self, batch: LayerInput, masks: Masks = None, out: Tensor | None = None) -> Tensor:
        """Score a batch of rows.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        masks : sequence of Tensor of shape (n_rows, n_units) or (..., n_rows, n_units), or None
            What dropout multiplies each hidden layer with. None without dropout.
        out : Tensor of shape (..., n_rows, 1), default=None
            Where the logits go. None for a buffer that the next call overwrites.

        Returns
        -------
        Tensor of shape (..., n_rows)
            Logits.
        """
        self._masks = masks
        if masks is not None and not self._dropped:
            self._dropped = self._buffers()
            self._transposed_dropped = [each.mT for each in self._dropped]
        signal: LayerInput | Tensor = batch
        for i, hidden in enumerate(self._signals):
            self._layer(signal, i, hidden)
            if self._activation.keeps_input:
                self._inputs[i].copy_(hidden)
            self._activation.apply_(hidden)
            signal = hidden
            if masks is not None:
                signal = torch.mul(hidden, masks[i], out=self._dropped[i])
        if out is None:
            self._last_layer(signal, self._logits)
            return self._flat_logits
        self._last_layer(signal, out)
        return out[..., 0]

    def penalize(self, strength: Tensor) -> None:
        """Add the gradient of half the squared weights, times a strength, to that of the losses.

        Parameters
        ----------
        strength : Tensor of shape (n_models, 1) or ()
        """
        self._penalized_gradient.addcmul_(self._penalized, strength)

    @property
    def hidden(self) -> Sequence[Tensor]:
        """What the hidden layers give, (..., n_rows, n_units) each, overwritten by every batch."""
        return self._signals

    def _layer(self, signal: LayerInput | Tensor, i: int, out: Tensor) -> None:
        if not isinstance(signal, Tensor):
            signal.affine_into(self._biases[i] if self._biases else None, self._weights[i], out)
        elif self._biases:
            self._affine(self._biases[i], signal, self._weights[i], out=out)
        else:
            self._product(signal, self._weights[i], out=out)

    def _last_layer(self, signal: LayerInput | Tensor, out: Tensor) -> None:
        if self._is_single or not isinstance(signal, Tensor):
            self._layer(signal, len(self._signals), out)
            return
        # Batches of products with one row take a quarter of the time of those with one column.
        is_dropped = self._masks is not None
        columns = self._transposed_dropped if is_dropped else self._transposed_signals
        row, logits = self._transposed_weights[-1], out.mT
        if self._biases:
            torch.baddbmm(self._biases[-1], row, columns[-1], out=logits)
        else:
            torch.bmm(row, columns[-1], out=logits)

    def _backward(self, batch: LayerInput) -> None:
        """Take the residual back through the layers, and leave the gradient.

        This is the chain rule (Rumelhart, Hinton and Williams, "Learning representations by
        back-propagating errors", 1986).
        """
        outputs, transposed_outputs = self._signals, self._transposed_signals
        if self._masks is not None:
            outputs, transposed_outputs = self._dropped, self._transposed_dropped
        error = self._residual
        for i in reversed(range(len(self._weights))):
            gradient = self._weight_gradients[i]
            is_last = i == len(self._signals)
            if i == 0:
                batch.transposed_matmul_into(error, gradient)
            elif is_last:
                self._product(self._transposed_residual, outputs[i - 1], out=self._last_product)
            else:
                self._product(transposed_outputs[i - 1], error, out=self._products[i])
            if i > 0 and not self._is_single:
                gradient.copy_(self._products[i])
            if self._biases:
                torch.sum(error, dim=-2, keepdim=True, out=self._bias_gradients[i])
            if i > 0:
                before = self._errors[i - 1]
                # With one logit each number is a single product, which takes a tenth of the time.
                times = torch.mul if is_last else self._product
                times(error, self._transposed_weights[i], out=before)
                if self._masks is not None:
                    before.mul_(self._masks[i - 1])
                self._activation.back_(before, self._inputs[i - 1])
                error = before

    def _views(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return views of the weights and of the biases, without leading axis for one model."""
        weights, biases = self._architecture.unpack(flat)
        if self._is_single:
            return [each[0] for each in weights], [each[0] for each in biases]
        return weights, biases

    def _buffers(self) -> list[Tensor]:
        return [self._buffer(width) for width in self._architecture.hidden]

    def _buffer(self, width: int) -> Tensor:
        buffer = self._parameters.new_empty(len(self._parameters), self._n_rows, width)
        return buffer[0] if self._is_single else buffer


def score(
    batch: Batch, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> Tensor:
    """Give the logits of rows.

    Parameters
    ----------
    batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
    weights : sequence of Tensor of shape (n_in, n_out) or (n_models, n_in, n_out)
        One for each layer.
    biases : sequence of Tensor of shape (n_out,) or (n_models, 1, n_out)
        One for each layer, or none.
    activation : str
        A key of ``ACTIVATIONS``.

    Returns
    -------
    Tensor of shape (n_rows, 1) or (n_models, n_rows, 1)
    """
    signal = batch @ weights[0]
    for i in range(1, len(weights) + 1):
        if biases:
            signal = signal.add_(biases[i - 1])
        if i < len(weights):
            ACTIVATIONS[activation].apply_(signal)
            signal = signal @ weights[i]
    return signal
