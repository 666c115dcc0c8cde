"""K models of one shape, side by side: parameters, logits and the gradient in closed form.

All parameters of all models lie in one tensor of shape (n_models, n_parameters), and so does
their gradient, which makes an optimizer's step a handful of operations however many layers there
are. The weights and biases of a layer are views of it. A linear model is a network without hidden
layers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch, LayerInput

_aten = torch.ops.aten
_BOUNDARY = 64  # bytes, where torch lets memory begin
_LEAK = 0.01  # the slope of torch.nn.LeakyReLU below zero


# Gives the factors that dropout multiplies the activations of a hidden layer with.
Noise = Callable[[int, Tensor], Tensor]


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
    _aten.gelu.out(signal, out=signal)


ACTIVATIONS = {
    "identity": Activation(lambda x: x, lambda error, a: error, by_sign=True),
    "logistic": Activation(
        torch.sigmoid_,
        lambda error, a: _aten.sigmoid_backward.grad_input(error, a, grad_input=error),
    ),
    "tanh": Activation(
        torch.tanh_,
        lambda error, a: _aten.tanh_backward.grad_input(error, a, grad_input=error),
    ),
    "relu": Activation(
        torch.relu_,
        lambda error, a: _aten.threshold_backward.grad_input(error, a, 0, grad_input=error),
        by_sign=True,
    ),
    "leaky_relu": Activation(
        lambda x: functional.leaky_relu_(x, _LEAK),
        lambda error, a: _aten.leaky_relu_backward.grad_input(
            error, a, _LEAK, True, grad_input=error
        ),
        by_sign=True,
    ),
    "gelu": Activation(
        _gelu_,
        lambda error, x: _aten.gelu_backward.grad_input(error, x, grad_input=error),
        keeps_input=True,
    ),
    "silu": Activation(
        lambda x: functional.silu(x, inplace=True),
        lambda error, x: _aten.silu_backward.grad_input(error, x, grad_input=error),
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


def aligned(parameters: Tensor, width: int) -> Tensor:
    """Copy parameters so that each model's begin where a single model's would.

    Matrix products take another way, and another order, where memory begins at odd places.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
    width : int
        Units of the first layer. Its weights begin a whole number of rows apart.

    Returns
    -------
    Tensor of shape (n_models, n_parameters)
        With gaps between the models.
    """
    n_models, n_parameters = parameters.shape
    return _room(parameters, n_models, (n_parameters,), width).copy_(parameters)


def _room(like: Tensor, n_models: int, shape: tuple[int, ...], width: int) -> Tensor:
    """Make room for a tensor of some shape for each model, each of them where memory may begin.

    They begin whole rows apart, too, which are `width` wide.
    """
    size = math.prod(shape)
    gap = -size % math.lcm(_BOUNDARY // like.element_size(), width)
    return like.new_zeros(n_models, size + gap)[:, :size].view(n_models, *shape)


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
        self, batch: Batch, target: Tensor, weight: Tensor | None, noise: Noise | None = None
    ) -> Tensor:
        """Add up the losses of a batch and leave the gradient of that sum in ``gradient``.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        weight : Tensor of the shape of `target` or None
        noise : callable or None, default=None
            Dropout.

        Returns
        -------
        Tensor of shape (n_models,)
            The weighted sum of the losses, in nats.
        """
        through = self.for_batches_of(batch.shape[-2])
        scale = 1.0 if weight is None else weight
        logits = through.forward_backward(batch, target, scale, noise)
        loss = (functional.softplus(logits) - target * logits) * scale
        return loss.reshape(self.n_models, -1).sum(dim=1)


# Batches of smaller products than this are added up by another kernel of torch's.
_FEWEST_OF_A_BATCH = 400


# What of a Pass is memory. Some of it is there under two names.
_MEMORY = (
    *("_weights", "_biases", "_weight_gradients", "_bias_gradients", "_penalized", "_slopes"),
    *("_signals", "_errors", "_inputs", "_thinned", "_logits"),
)


def _listed(each: Tensor | list[Tensor]) -> list[Tensor]:
    return each if isinstance(each, list) else [each]


class ForwardBackward:
    """A way through a stack and back, for batches of one size, on buffers that are made once.

    A single model computes with matrices, several with batches of matrices, by the same calls:
    where this class says (..., n_rows), a single model has no leading axis.

    Parameters
    ----------
    model_batch : ModelBatch
        The models. Their gradient is written to.
    n_rows : int
        Rows of a batch.
    """

    def __init__(self, model_batch: ModelBatch, n_rows: int):
        single = model_batch.n_models == 1
        self._affine = torch.addmm if single else torch.baddbmm
        self._product = torch.mm if single else torch.bmm

        def views(flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            weights, biases = model_batch.architecture.unpack(flat)
            return (
                ([w[0] for w in weights], [b[0] for b in biases]) if single else (weights, biases)
            )

        self._weights, self._biases = views(model_batch.parameters)
        # A product with one column adds up in another order alone than in a batch of products, and
        # takes a tenth of the time. Model by model its bits are those of a single model.
        self._on_cpu = model_batch.parameters.device.type == "cpu"
        self._one_by_one = self._on_cpu and not single and bool(self._biases)
        self._weight_gradients, self._bias_gradients = views(model_batch.gradient)
        n_weights = model_batch.architecture.n_weights
        self._penalized = model_batch.parameters[:, :n_weights]
        self._slopes = model_batch.gradient[:, :n_weights]
        self._single = single
        self._buffer_of = partial(_room, model_batch.parameters, model_batch.n_models)
        self._n_rows = n_rows
        # How many products the last weights take. A linear model has no such layer.
        n_products = n_rows * model_batch.architecture.layers[-1][0]
        self._is_large = n_products >= _FEWEST_OF_A_BATCH
        self._signals = [self._buffer(width) for width in model_batch.architecture.hidden]
        self._errors = [self._buffer(width) for width in model_batch.architecture.hidden]
        self._activation = ACTIVATIONS[model_batch.architecture.activation]
        # What the slope is taken from, where it is not the output itself, and what dropout leaves.
        keeps = self._activation.keeps_input
        self._inputs = [
            self._buffer(signal.shape[-1]) if keeps else signal for signal in self._signals
        ]
        self._thins_in_place = keeps or self._activation.by_sign
        self._thinned = list(self._signals)
        self._factors: list[Tensor] = []
        self._logits = self._buffer(1)
        shape = replace(model_batch.architecture, dropout=())
        self._pattern = (shape, model_batch.n_models, n_rows, model_batch.parameters.dtype)
        self._whole: tuple[Tensor, ...] = ()
        self._parts: list[tuple[Tensor, ...]] = []

    def forward_backward(
        self,
        batch: LayerInput,
        target: Tensor,
        scale: float | Tensor,
        noise: Noise | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Leave the gradient of the scaled losses in the stack, and give the logits.

        Parameters
        ----------
        batch, noise, out
            As in ``forward``.
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        scale : float or Tensor of the shape of `target`
            What the loss of each row counts.
        """
        logits = self.forward(batch, noise, out)
        self.backward(batch, torch.sigmoid(logits).sub_(target).mul_(scale))
        return logits

    def forward(
        self, batch: LayerInput, noise: Noise | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Score a batch.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        noise : callable(layer, activations) -> Tensor, default=None
            Gives the factors that dropout multiplies a hidden layer with. None without dropout.
        out : Tensor of shape (..., n_rows, 1), default=None
            Where the logits go. None for a buffer that the next call overwrites.

        Returns
        -------
        Tensor of shape (..., n_rows)
            Logits.
        """
        self._factors.clear()
        if noise is not None:
            self._make_room_for_noise()
        signal: LayerInput | Tensor = batch
        for i, hidden in enumerate(self._signals):
            self._layer(signal, i, hidden)
            if self._activation.keeps_input:
                self._inputs[i].copy_(hidden)
            self._activation.apply_(hidden)
            if noise is not None:
                self._factors.append(noise(i, hidden))
                torch.mul(hidden, self._factors[i], out=self._thinned[i])
            else:
                self._thinned[i] = hidden
            signal = self._thinned[i]
        out = self._logits if out is None else out
        self._layer(signal, len(self._signals), out)
        return out[..., 0]

    def backward(self, batch: LayerInput, residual: Tensor) -> None:
        """Leave the gradient in the stack.

        The chain rule takes the slope of the loss in the logits back through the layers
        (Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
        1986).

        Parameters
        ----------
        batch : Batch
            The one that went forward.
        residual : Tensor of shape (..., n_rows)
            The slope of the loss of each row in its logit.
        """
        error = residual[..., None]
        for i in reversed(range(len(self._weights))):
            out = self._weight_gradients[i]
            is_last = i == len(self._weights) - 1
            if i == 0:
                batch.transposed_matmul_into(error, out)
            elif is_last:
                self._one_row(error.mT, self._thinned[i - 1], out.mT)
            else:
                self._product(self._thinned[i - 1].mT, error, out=out)
            if self._biases:
                torch.sum(error, dim=-2, keepdim=True, out=self._bias_gradients[i])
            if i > 0:
                before = self._errors[i - 1]
                # With one logit each number is a single product, which takes a tenth of the time.
                times = torch.mul if is_last else self._product
                times(error, self._weights[i].mT, out=before)
                if self._factors:
                    before.mul_(self._factors[i - 1])
                self._activation.back_(before, self._inputs[i - 1])
                error = before

    def penalize(self, strength: Tensor) -> None:
        """Add the gradient of half the squared weights, times their strength, to the stack's.

        Parameters
        ----------
        strength : Tensor of shape (n_models, 1) or ()
        """
        self._slopes.addcmul_(self._penalized, strength)

    @property
    def pattern(self) -> Hashable:
        """Equal for ways by which the same operations are done on other memory."""
        return self._pattern

    @property
    def hidden(self) -> Sequence[Tensor]:
        """What the hidden layers give, (..., n_rows, n_units) each, overwritten by every batch."""
        return self._signals

    def memory(self, *, noisy: bool) -> list[Tensor]:
        """Give all tensors that are read or written besides the batch, each once.

        Parameters
        ----------
        noisy : bool
            Whether there is dropout.
        """
        if noisy:
            self._make_room_for_noise()
        unique = {id(each): each for name in _MEMORY for each in _listed(getattr(self, name))}
        return list(unique.values())

    def on(self, memory: Sequence[Tensor], *, noisy: bool) -> ForwardBackward:
        """Give the same way on other memory, in the order of ``memory``."""
        other = {id(old): new for old, new in zip(self.memory(noisy=noisy), memory, strict=True)}
        moved = copy.copy(self)
        for name in _MEMORY:
            own = getattr(self, name)
            is_list = isinstance(own, list)
            setattr(moved, name, [other[id(x)] for x in own] if is_list else other[id(own)])
        moved._factors, moved._whole, moved._parts = [], (), []
        return moved

    def _make_room_for_noise(self) -> None:
        if self._thins_in_place:
            return
        for i, hidden in enumerate(self._signals):
            if self._thinned[i] is hidden:
                self._thinned[i] = self._buffer(hidden.shape[-1])

    def _one_row(self, row: Tensor, matrix: Tensor, out: Tensor) -> None:
        """Multiply a row with a matrix, for each model in the order of a single one."""
        if self._single or self._is_large or not self._on_cpu:
            self._product(row, matrix, out=out)
        else:
            for own, each, result in zip(*(x.unbind(0) for x in (row, matrix, out)), strict=True):
                torch.mm(own, each, out=result)

    def _each(self, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
        """Give the parts of each model, which are cut once as long as the tensors are the same."""
        if any(a is not b for a, b in zip(tensors, self._whole, strict=False)) or not self._whole:
            self._whole = tensors
            self._parts = list(zip(*(each.unbind(0) for each in tensors), strict=True))
        return self._parts

    def _buffer(self, width: int) -> Tensor:
        room: Tensor = self._buffer_of((self._n_rows, width), width)
        return room[0] if self._single else room

    def _layer(self, signal: LayerInput | Tensor, i: int, out: Tensor) -> None:
        if not isinstance(signal, Tensor):
            signal.affine_into(self._biases[i] if self._biases else None, self._weights[i], out)
        elif self._one_by_one and i == len(self._signals):
            for bias, own, weights, logits in self._each(
                self._biases[i], signal, self._weights[i], out
            ):
                torch.addmm(bias, own, weights, out=logits)
        elif self._biases:
            self._affine(self._biases[i], signal, self._weights[i], out=out)
        else:
            self._product(signal, self._weights[i], out=out)
