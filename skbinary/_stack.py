"""K models of one shape, side by side: parameters, logits and the gradient in closed form.

All parameters of all models lie in one tensor of shape (n_models, n_parameters), and so does
their gradient, which makes an optimizer's step a handful of operations however many layers there
are. The weights and biases of a layer are views of it. A linear model is a network without hidden
layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._problem import Batch

_LEAK = 0.01  # the slope of torch.nn.LeakyReLU below zero


@dataclass(frozen=True)
class Activation:
    """A function of a hidden layer and its slope.

    Parameters
    ----------
    apply_ : callable
        Replaces a tensor by its activation, in place.
    slope : callable
        Gives the derivative, from the activation if `from_output`, else from its input.
    from_output : bool
        Whether the derivative needs nothing but the activation itself.
    """

    apply_: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    from_output: bool = True


def _gelu_slope(x: Tensor) -> Tensor:
    # d/dx of x Phi(x) = Phi(x) + x phi(x), for the function of Hendrycks and Gimpel, "Gaussian
    # error linear units", 2016, equation 1.
    cumulative = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    return cumulative + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


ACTIVATIONS = {
    "identity": Activation(lambda x: x, torch.ones_like),
    "logistic": Activation(torch.sigmoid_, lambda a: a * (1 - a)),
    "tanh": Activation(torch.tanh_, lambda a: 1 - a * a),
    "relu": Activation(torch.relu_, lambda a: (a > 0).to(a.dtype)),
    "leaky_relu": Activation(
        lambda x: functional.leaky_relu_(x, _LEAK),
        lambda a: (a > 0).to(a.dtype).mul_(1 - _LEAK).add_(_LEAK),
    ),
    "gelu": Activation(lambda x: x.copy_(functional.gelu(x)), _gelu_slope, from_output=False),
    "silu": Activation(lambda x: functional.silu(x, inplace=True), _silu_slope, from_output=False),
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


class Stack:
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
        self.gradient = torch.zeros_like(parameters)
        self.weights, self.biases = architecture.unpack(parameters)
        self._weight_gradients, self._bias_gradients = architecture.unpack(self.gradient)
        self._activation = ACTIVATIONS[architecture.activation]

    @property
    def n_models(self) -> int:
        return self.parameters.shape[0]

    def logits(self, batch: Batch) -> Tensor:
        """Score rows.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)

        Returns
        -------
        Tensor of shape (n_models, n_rows)
        """
        signal = self._layer(batch, 0)
        for i in range(1, len(self.weights)):
            signal = self._layer(self._activation.apply_(signal), i)
        return signal[..., 0]

    def loss_and_gradient(
        self,
        batch: Batch,
        target: Tensor,
        weight: Tensor | None,
        noise: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Add up the losses of a batch and leave the gradient of that sum in ``gradient``.

        The loss of a row is ``softplus(z) - y * z``, its slope in the logit ``sigmoid(z) - y``;
        the chain rule takes it back through the layers (Rumelhart, Hinton and Williams, "Learning
        representations by back-propagating errors", 1986).

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        weight : Tensor of the shape of `target` or None
        noise : callable(layer, activations) -> Tensor, default=None
            Gives the factors that dropout multiplies a hidden layer with. None without dropout.

        Returns
        -------
        Tensor of shape (n_models,)
            The weighted sum of the losses, in nats.
        """
        signals, slopes = self._forward(batch, noise)
        logits = self._layer(signals[-1], len(signals) - 1)[..., 0]
        loss = functional.softplus(logits) - target * logits
        residual = torch.sigmoid(logits) - target
        if weight is not None:
            loss = loss * weight
            residual = residual * weight
        self._backward(signals, slopes, residual[..., None])
        return loss.sum(dim=1)

    def _layer(self, signal: Batch | Tensor, i: int) -> Tensor:
        product = signal @ self.weights[i]
        if product.ndim == 2:
            product = product[None]
        return product.add_(self.biases[i]) if self.biases else product

    def _forward(
        self, batch: Batch, noise: Callable[[int, Tensor], Tensor] | None
    ) -> tuple[list[Batch | Tensor], list[Callable[[], Tensor]]]:
        """Give the input of each layer and, for each hidden one, how to get its slope."""
        signals: list[Batch | Tensor] = [batch]
        slopes: list[Callable[[], Tensor]] = []
        for i in range(len(self.weights) - 1):
            before = self._layer(signals[-1], i)
            kept = None if self._activation.from_output else before.clone()
            after = self._activation.apply_(before)
            kept = after if kept is None else kept
            factors = noise(i, after) if noise is not None else None
            slopes.append(lambda kept=kept, factors=factors: self._slope(kept, factors))  # type: ignore[misc]
            signals.append(after if factors is None else after * factors)
        return signals, slopes

    def _slope(self, kept: Tensor, factors: Tensor | None) -> Tensor:
        slope = self._activation.slope(kept)
        return slope if factors is None else slope.mul_(factors)

    def _backward(
        self,
        signals: list[Batch | Tensor],
        slopes: list[Callable[[], Tensor]],
        delta: Tensor,
    ) -> None:
        for i in reversed(range(len(self.weights))):
            signal = signals[i]
            if isinstance(signal, Tensor):
                torch.matmul(signal.mT, delta, out=self._weight_gradients[i])
            else:
                self._weight_gradients[i].copy_(signal.transposed_matmul(delta))
            if self.biases:
                torch.sum(delta, dim=1, keepdim=True, out=self._bias_gradients[i])
            if i > 0:
                delta = (delta @ self.weights[i].mT).mul_(slopes[i - 1]())
