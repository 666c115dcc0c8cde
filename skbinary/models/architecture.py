"""The layers of a network, and how their parameters lie in one flat vector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


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
