"""K models of one shape, side by side: parameters, logits and the gradient in closed form.

All parameters of all models lie in one tensor of shape (n_models, n_parameters), and so does
their gradient, which makes an optimizer's step a handful of operations however many layers there
are. The weights and biases of a layer are views of it. A linear model is a network without hidden
layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch, LayerInput

# What ``torch.autograd`` calls, looked up once: each look-up takes as long as a small operation.
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input
_gelu_backward = torch.ops.aten.gelu_backward.grad_input
_silu_backward = torch.ops.aten.silu_backward.grad_input
_gelu_out = torch.ops.aten.gelu.out
_BOUNDARY = 64  # bytes, where torch lets memory begin
_LEAK = 0.01  # the slope of torch.nn.LeakyReLU below zero


# What dropout multiplies each hidden layer with. None without dropout.
Masks = Sequence[Tensor] | None


@dataclass(frozen=True)
class Activation:
    """A function of a hidden layer, and how an error goes back through it.

    Parameters
    ----------
    apply_ : callable(signal)
        Replaces the signal by its activation, in place.
    back_ : callable(error, kept)
        Multiplies the error by the slope, in place.
    keeps_input : bool
        Whether `back_` wants the input of the function. Otherwise it wants its output.
    by_sign : bool
        Whether `back_` looks at no more than the sign of that. Dropout, which leaves the sign of
        what it keeps, can then work in place: what it drops has no error to multiply.
    """

    apply_: Callable[[Tensor], object]
    back_: Callable[[Tensor, Tensor], object]
    keeps_input: bool = False
    by_sign: bool = False


def _gelu_(signal: Tensor) -> None:
    _gelu_out(signal, out=signal)


ACTIVATIONS = {
    "identity": Activation(lambda x: x, lambda error, a: error, by_sign=True),
    "logistic": Activation(
        torch.sigmoid_,
        lambda error, a: _sigmoid_backward(error, a, grad_input=error),
    ),
    "tanh": Activation(
        torch.tanh_,
        lambda error, a: _tanh_backward(error, a, grad_input=error),
    ),
    "relu": Activation(
        torch.relu_,
        lambda error, a: _threshold_backward(error, a, 0, grad_input=error),
        by_sign=True,
    ),
    "leaky_relu": Activation(
        lambda x: functional.leaky_relu_(x, _LEAK),
        lambda error, a: _leaky_relu_backward(error, a, _LEAK, True, grad_input=error),
        by_sign=True,
    ),
    "gelu": Activation(
        _gelu_,
        lambda error, x: _gelu_backward(error, x, grad_input=error),
        keeps_input=True,
    ),
    "silu": Activation(
        lambda x: functional.silu(x, inplace=True),
        lambda error, x: _silu_backward(error, x, grad_input=error),
        keeps_input=True,
    ),
}


@dataclass(frozen=True)
class Architecture:
    """The shape that all models of a stack share.

    Parameters
    ----------
    n_features : int
        Columns of the rows.
    hidden : tuple of int
        Width of each hidden layer. Empty for a linear model.
    activation : str
        A key of ``ACTIVATIONS``.
    dropout : tuple of float
        Share of each hidden layer's outputs that is set to zero in training.
    fit_intercept : bool
        Whether the layers have biases.
    """

    n_features: int
    hidden: tuple[int, ...] = ()
    activation: str = "identity"
    dropout: tuple[float, ...] = ()
    fit_intercept: bool = True

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer, the last one giving the logit."""
        widths = (self.n_features, *self.hidden, 1)
        return list(pairwise(widths))

    @property
    def n_weights(self) -> int:
        """Count of the parameters that a penalty applies to: all but the biases."""
        return sum(n_in * n_out for n_in, n_out in self.layers)

    @property
    def n_parameters(self) -> int:
        """Count of all parameters of one model."""
        return self.n_weights + self.fit_intercept * sum(n_out for _, n_out in self.layers)

    def pack(self, weights: Iterable[Tensor], biases: Iterable[Tensor]) -> Tensor:
        """Lay the parameters of one model out flat: all weights first, then all biases."""
        flat = [each.reshape(-1) for each in weights]
        if self.fit_intercept:
            flat += [each.reshape(-1) for each in biases]
        return torch.cat(flat)

    def unpack(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Give views of the weights and the biases in `flat`.

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
        sizes = [rows * columns for rows, columns in shapes]
        views = [
            part.view(-1, *shape)
            for part, shape in zip(torch.split(flat, sizes, dim=1), shapes, strict=True)
        ]
        n_layers = len(self.layers)
        return views[:n_layers], views[n_layers:]


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
            self._passes[n_rows] = ForwardBackward(self, n_rows)
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


class ForwardBackward:
    """The logits of a batch of rows and the gradient of its losses, in buffers made once.

    A single model computes with matrices, several models with batches of matrices, by the same
    calls: where this class says (..., n_rows), a single model has no leading axis. Views are made
    once, too, since a step of a small network takes as long for its calls as for its products.

    Parameters
    ----------
    model_batch : ModelBatch
        The models. Their gradient is written to.
    n_rows : int
        Rows of a batch.
    """

    def __init__(self, model_batch: ModelBatch, n_rows: int):
        self._model_batch = model_batch
        self._n_rows = n_rows
        self._is_single = model_batch.n_models == 1
        self._affine = torch.addmm if self._is_single else torch.baddbmm
        self._product = torch.mm if self._is_single else torch.bmm
        self._weights, self._biases = self._views(model_batch.parameters)
        self._transposed_weights = [each.mT for each in self._weights]
        self._weight_gradients, self._bias_gradients = self._views(model_batch.gradient)
        # Where products for several models must be written to be quick: there are gaps between the
        # gradients of one layer.
        self._products = [torch.empty_like(each) for each in self._weight_gradients]
        if self._is_single:
            self._products = self._weight_gradients
        self._last_product = self._products[-1].mT
        n_weights = model_batch.architecture.n_weights
        self._penalized = model_batch.parameters[:, :n_weights]
        self._penalized_gradient = model_batch.gradient[:, :n_weights]
        self._activation = ACTIVATIONS[model_batch.architecture.activation]
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
        weights, biases = self._model_batch.architecture.unpack(flat)
        if self._is_single:
            return [each[0] for each in weights], [each[0] for each in biases]
        return weights, biases

    def _buffers(self) -> list[Tensor]:
        return [self._buffer(width) for width in self._model_batch.architecture.hidden]

    def _buffer(self, width: int) -> Tensor:
        n_models = self._model_batch.n_models
        room = self._model_batch.parameters.new_empty(n_models, self._n_rows, width)
        return room[0] if self._is_single else room
