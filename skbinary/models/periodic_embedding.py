"""Periodic embeddings of numerical features: a first layer with its own gradient in closed form.

A feature x becomes ``cos(2 pi f x + p)`` for several frequencies f and phases p, which a linear map
of its own reduces to a few outputs. They stand beside the features in the input of the first dense
layer. Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
Learning", 2022; the form with a phase is that of Holzmüller, Grinsztajn and Steinwart, "Better by
Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data", 2024.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skbinary.data.batches import EmbeddableInput, LayerInput
from skbinary.data.rows import Rows
from skbinary.runtime.processes import ALONE, Processes

_TWO_PI = 2 * math.pi
_FREQUENCY_DEVIATION = 0.15


@dataclass(frozen=True)
class PeriodicEmbedding:
    """The shape of an embedding.

    Parameters
    ----------
    columns : tuple of int
        The features that are embedded, in ascending order.
    n_frequencies : int, default=16
        Number of frequencies of each feature.
    n_outputs : int, default=8
        Number of outputs of each feature.
    """

    columns: tuple[int, ...]
    n_frequencies: int = 16
    n_outputs: int = 8

    @property
    def width(self) -> int:
        """Number of outputs of all features."""
        return len(self.columns) * self.n_outputs

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the parameters of one model: frequencies, phases and linear maps."""
        n, k = len(self.columns), self.n_frequencies
        return [(n, k), (n, k), (n, k, self.n_outputs)]

    @property
    def n_parameters(self) -> int:
        """Number of parameters of one model."""
        return sum(math.prod(shape) for shape in self.shapes)

    def unpack(self, flat: Tensor) -> EmbeddingParameters:
        """Return views of the parameters in `flat`, of shape (n_models, n_parameters)."""
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = torch.split(flat, sizes, dim=1)
        views = (part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True))
        return EmbeddingParameters(*views)


@dataclass(frozen=True)
class EmbeddingParameters:
    """The parameters of an embedding, as tensors that may be views.

    Parameters
    ----------
    frequencies, phases : Tensor of shape (..., n_columns, n_frequencies)
    maps : Tensor of shape (..., n_columns, n_frequencies, n_outputs)
    """

    frequencies: Tensor
    phases: Tensor
    maps: Tensor

    def single(self) -> EmbeddingParameters:
        """Return the parameters of the only model, without the leading axis."""
        return EmbeddingParameters(*(each[0] for each in self.tensors()))

    def tensors(self) -> list[Tensor]:
        """Return frequencies, phases and linear maps, in this order."""
        return [self.frequencies, self.phases, self.maps]


def embed(values: Tensor, parameters: EmbeddingParameters) -> Tensor:
    """Embed features, without buffers.

    Parameters
    ----------
    values : Tensor of shape (..., n_rows, n_columns)
        The features that are embedded.
    parameters : EmbeddingParameters

    Returns
    -------
    Tensor of shape (..., n_rows, n_columns * n_outputs)
    """
    turns = values.mT[..., None] * parameters.frequencies[..., :, None, :]
    waves = torch.cos(_TWO_PI * turns + parameters.phases[..., :, None, :])
    outputs = waves @ parameters.maps  # (..., n_columns, n_rows, n_outputs)
    return outputs.transpose(-3, -2).flatten(-2)


class EmbeddedInput:
    """The input of the first dense layer: features, and beside them their embedding.

    It is overwritten by the next batch.

    Parameters
    ----------
    embedding : PeriodicEmbedding
    n_features : int
        Number of features, embedded or not.
    parameters, gradient : EmbeddingParameters
        The parameters, and where their gradient is written: of a single model, or with a leading
        axis n_models.
    n_rows : int
        Number of rows of a batch.
    """

    def __init__(
        self,
        embedding: PeriodicEmbedding,
        n_features: int,
        parameters: EmbeddingParameters,
        gradient: EmbeddingParameters,
        n_rows: int,
    ):
        self._n_features = n_features
        self._parameters, self._gradient = parameters, gradient
        like = parameters.frequencies
        self._columns = torch.tensor(embedding.columns, device=like.device)
        lead = like.shape[:-2]
        n_models = math.prod(lead)
        n_columns, n_outputs = len(embedding.columns), embedding.n_outputs
        # All models and features are one axis of batched products; the others are views of these.
        self._waves = like.new_empty(n_models * n_columns, n_rows, embedding.n_frequencies)
        self._errors = torch.empty_like(self._waves)
        self._outputs = like.new_empty(n_models * n_columns, n_rows, n_outputs)
        self._maps = like.new_empty(n_models * n_columns, embedding.n_frequencies, n_outputs)
        self._angles = torch.empty_like(self._waves)
        self._shape = (*lead, n_columns, n_rows)
        self._embedded = like.new_empty(*lead, n_rows, n_columns * n_outputs)
        self._batch: LayerInput | None = None

    def set_batch(self, batch: EmbeddableInput) -> EmbeddedInput:
        """Embed the features of a batch, and return this input."""
        self._batch = batch
        p = self._parameters
        lead = self._shape[:-2]
        values = batch.columns(self._columns).mT  # (..., n_columns, n_rows)
        self._turns = (_TWO_PI * values).expand(self._shape)[..., None]
        angles = self._angles.view(*self._shape, -1)
        torch.mul(self._turns, p.frequencies[..., None, :], out=angles)
        angles.add_(p.phases[..., None, :])
        torch.cos(self._angles, out=self._waves)
        self._maps.view(*lead, *p.maps.shape[len(lead) :]).copy_(p.maps)
        torch.bmm(self._waves, self._maps, out=self._outputs)
        outputs = self._outputs.view(*self._shape, -1).transpose(-3, -2)
        self._embedded.view(outputs.shape).copy_(outputs)
        return self

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        """Multiply by weights of shape (..., n_inputs, n_units)."""
        n = self._n_features
        assert self._batch is not None
        self._batch.affine_into(bias, weights[..., :n, :], out)
        if out.ndim == 2:
            out.addmm_(self._embedded, weights[n:])
        else:
            out.baddbmm_(self._embedded, weights[:, n:])

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        """Multiply the transposed input by error terms of shape (..., n_rows, n_units)."""
        n = self._n_features
        assert self._batch is not None
        self._batch.transposed_matmul_into(residual, out[..., :n, :])
        out[..., n:, :] = self._embedded.mT @ residual

    def backward(self, delta: Tensor, weights: Tensor) -> None:
        """Write the gradient of the parameters.

        Parameters
        ----------
        delta : Tensor of shape (..., n_rows, n_units)
            Error terms of the first dense layer.
        weights : Tensor of shape (..., n_inputs, n_units)
            Weights of that layer.
        """
        shape, n_outputs = self._shape, self._outputs.shape[-1]
        errors = delta @ weights[..., self._n_features :, :].mT
        by_row = errors.view(*shape[:-2], shape[-1], shape[-2], n_outputs)
        # The buffer of the outputs now holds their error terms.
        self._outputs.view(*shape, n_outputs).copy_(by_row.transpose(-3, -2))
        gradient, lead = self._gradient, shape[:-1]
        maps = torch.bmm(self._waves.mT, self._outputs)
        gradient.maps.copy_(maps.view(gradient.maps.shape))
        torch.bmm(self._outputs, self._maps.mT, out=self._errors)
        # The derivative of the cosine, but for its sign.
        self._errors.mul_(torch.sin(self._angles, out=self._angles))
        gradient.phases.copy_(self._errors.sum(dim=1).view(*lead, -1)).neg_()
        turns = self._turns.reshape(len(self._errors), 1, -1)
        gradient.frequencies.copy_(torch.bmm(turns, self._errors).view(*lead, -1)).neg_()


def continuous_columns(
    rows: Rows, is_used: Tensor | None = None, processes: Processes = ALONE
) -> tuple[int, ...]:
    """Return the columns of which more than half the values lie strictly between the extremes.

    Those are numbers with many values: not one-hot columns, flags, or the bins of a piecewise
    linear encoding.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
        Dense, or memory-mapped.
    is_used : Tensor of bool of shape (n_samples,) or None, default=None
        The rows that count. None for all.
    processes : Processes, default=ALONE
        The processes that hold rows.
    """

    def chunks() -> Iterator[Tensor]:
        for chunk in rows.chunks():
            values = rows.batch(chunk).values
            values = values if is_used is None else values[is_used[chunk]]
            if len(values):
                yield values

    bounds = torch.full((2, rows.shape[1]), -math.inf, dtype=torch.float64)
    for values in chunks():
        extremes = torch.stack([-values.amin(dim=0), values.amax(dim=0)])
        bounds = torch.maximum(bounds, extremes.cpu().double())
    bounds = processes.max(bounds)
    counts = torch.zeros(1 + rows.shape[1], dtype=torch.int64)  # of rows, and of values
    for values in chunks():
        low, high = (sign * bound.to(values) for sign, bound in zip((-1, 1), bounds, strict=True))
        n_between = ((values > low) & (values < high)).sum(dim=0)
        counts += torch.cat([n_between.new_tensor([len(values)]), n_between]).cpu()
    n_rows, n_between = processes.sum(counts).tensor_split([1])
    return tuple(torch.nonzero(2 * n_between > n_rows)[:, 0].tolist())


def draw_embedding_parameters(embedding: PeriodicEmbedding, random_state: Any) -> list[Tensor]:
    """Draw initial frequencies, phases and linear maps, in this order.

    Frequencies are normal with a standard deviation of 0.15 for features of deviation 1, phases
    are uniform over a turn, and the maps are drawn as ``torch.nn.Linear`` draws its weights.
    """
    frequencies, phases, maps = embedding.shapes
    bound = 1 / math.sqrt(embedding.n_frequencies)
    return [
        torch.as_tensor(random_state.normal(0, _FREQUENCY_DEVIATION, frequencies)),
        torch.as_tensor(random_state.uniform(-math.pi, math.pi, phases)),
        torch.as_tensor(random_state.uniform(-bound, bound, maps)),
    ]
