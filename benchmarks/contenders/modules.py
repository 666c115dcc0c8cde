"""The networks that skbinary's module classifier, skorch and the plain loop train."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

_PIXELS = 28  # on each side of an image


class Perceptron(nn.Module):
    """The network of `MLPClassifier`, with logits as output.

    Parameters
    ----------
    n_features : int
    hidden : tuple of int
        Widths of the hidden layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training.
    """

    def __init__(self, n_features: int, hidden: tuple[int, ...], dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        widths = (n_features, *hidden, 1)
        layers = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            # Glorot's bounds, biases included, as in scikit-learn.
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)

    def forward(self, X: Tensor) -> Tensor:
        """Compute the logits of dense or CSR rows, of shape (n_samples,)."""
        first, *others = self.layers
        if X.layout == torch.sparse_csr:
            # nn.Linear does not support gradients with CSR input.
            hidden = torch.sparse.mm(X, first.weight.t()).add_(first.bias)
        else:
            hidden = first(X)
        for layer in others:
            hidden = torch.relu(hidden)
            if self.dropout:
                hidden = nn.functional.dropout(hidden, self.dropout, self.training)
            hidden = layer(hidden)
        return hidden.squeeze(1)


class Residual(nn.Module):
    """A residual block with layer normalization, for tables.

    Parameters
    ----------
    n_features : int
    hidden : tuple of int
        One number: the width.
    """

    def __init__(self, n_features: int, hidden: tuple[int, ...]):
        super().__init__()
        [width] = hidden
        self.first = nn.Linear(n_features, width)
        self.norm = nn.LayerNorm(width)
        self.second = nn.Linear(width, width)
        self.output = nn.Linear(width, 1)

    def forward(self, X: Tensor) -> Tensor:
        """Compute the logits of dense rows, of shape (n_samples,)."""
        hidden = torch.relu(self.norm(self.first(X)))
        return self.output(hidden + torch.relu(self.second(hidden))).squeeze(1)


class Convolution(nn.Module):
    """Two convolutions with max pooling, for images of 28 x 28 pixels.

    Parameters
    ----------
    n_features : int
        Number of pixels.
    hidden : tuple of int
        One number: the channels.
    """

    def __init__(self, n_features: int, hidden: tuple[int, ...]):
        super().__init__()
        [channels] = hidden
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.output = nn.Linear(channels * (_PIXELS // 4) ** 2, 1)

    def forward(self, X: Tensor) -> Tensor:
        """Compute the logits of flat images, of shape (n_samples,)."""
        images = X.reshape(X.shape[0], 1, _PIXELS, _PIXELS)
        hidden = nn.functional.max_pool2d(torch.relu(self.first(images)), 2)
        hidden = nn.functional.max_pool2d(torch.relu(self.second(hidden)), 2)
        return self.output(hidden.flatten(1)).squeeze(1)


MODULES: dict[str, type[nn.Module]] = {
    "perceptron": Perceptron,
    "residual": Residual,
    "convolution": Convolution,
}
