"""FittedState: everything that a fit has learned, as NumPy arrays and plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skbinary.estimators.module_state import FittedModule, join_modules
from skbinary.models.architecture import Architecture
from skbinary.models.periodic_embedding import PeriodicEmbedding

Curves = dict[str, list[float]]


@dataclass(frozen=True)
class FittedState:
    """Everything that a fit has learned.

    One model, or an ensemble of K models of one shape. It is immutable: a new threshold, for
    example, makes a new state.

    Parameters
    ----------
    classes : ndarray of shape (2,)
        The labels in sorted order.
    weights : tuple of ndarray of shape (n_in, n_out) or (n_models, n_in, n_out)
        Weights of each layer, the last of which gives the logit. Those of a linear model may be a
        sparse matrix.
    biases : tuple of ndarray of shape (n_out,) or (n_models, n_out)
        Biases of each layer. Empty without intercepts.
    activation : str
        Name of the activation function of the hidden layers.
    dropout : tuple of float
        Dropout rate of each hidden layer in training.
    solver : str
        The solver that was used, never ``"auto"``.
    device : str
        Device that the model was trained on.
    curves : tuple of dict of list of float
        The curves of each model: ``loss``, ``objective``, ``learning_rate``, ``seconds`` and so on.
    n_iter : tuple of int
        Epochs or iterations of the last fit, for each model.
    best_epoch : tuple of int
        The epoch, counted from 1 over all fits, whose weights were kept, for each model.
    stop_reason : tuple of str or None
        Why training of each model stopped. None during training.
    stopped_early : bool
        Whether validation rows decided when to stop.
    n_seen : int
        Number of training rows that a mini-batch solver has seen: the maximum over the models.
    threshold : float
        The decision threshold.
    threshold_parameter, pos_label_parameter : object
        The parameters ``threshold`` and ``pos_label`` for which the threshold was set.
    threshold_curve : dict of ndarray or None
        The thresholds that were compared, if one was chosen for an objective.
    threshold_interval : tuple of (float, float) or None
        Interval that contains the chosen threshold in 90% of bootstrap resamples.
    oof_logits : ndarray of shape (n_samples,) or None
        The logit of each training row by the ensemble member that was not trained on it, divided
        by the temperature.
    oof_loss : float or None
        Their mean log loss, in nats per unit of weight.
    temperature : float
        The logits of an ensemble are divided by it. 1 for a single model.
    embedding : dict of ndarray or None
        Periodic embedding of numerical features: ``columns`` of shape (n_columns,), and for each
        model ``frequencies`` and ``phases`` of shape (n_columns, n_frequencies) and ``maps`` of
        shape (n_columns, n_frequencies, n_outputs).
    module : FittedModule or None
        The arrays of a module of the user, which has no layers of the kinds above.
    optimizer_state : dict or None
        State of the optimizer between calls of ``partial_fit``.
    """

    classes: NDArray[np.generic]
    weights: tuple[Any, ...]
    biases: tuple[NDArray[Any], ...]
    activation: str
    dropout: tuple[float, ...]
    solver: str
    device: str
    curves: tuple[Curves, ...]
    n_iter: tuple[int, ...]
    best_epoch: tuple[int, ...]
    stop_reason: tuple[str | None, ...]
    stopped_early: bool
    n_seen: int
    threshold: float
    threshold_parameter: Any
    pos_label_parameter: Any
    threshold_curve: dict[str, NDArray[Any]] | None = None
    threshold_interval: tuple[float, float] | None = None
    oof_logits: NDArray[np.floating] | None = None
    oof_loss: float | None = None
    temperature: float = 1.0
    embedding: dict[str, NDArray[Any]] | None = None
    module: FittedModule | None = None
    optimizer_state: dict[str, Any] | None = None

    @property
    def n_models(self) -> int:
        return len(self.curves)

    @property
    def architecture(self) -> Architecture:
        """The shape of each model."""
        (n_inputs, _), *hidden = self.layers
        widths = tuple(n_in for n_in, _ in hidden)
        has_biases, embedding = bool(self.biases), None
        if self.embedding is not None:
            columns = tuple(self.embedding["columns"].tolist())
            embedding = PeriodicEmbedding(columns, *self.embedding["maps"].shape[-2:])
            n_inputs -= embedding.width
        return Architecture(n_inputs, widths, self.activation, self.dropout, has_biases, embedding)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Number of inputs and of outputs of each layer."""
        return [(each.shape[-2], each.shape[-1]) for each in self.weights]

    def model(self, k: int) -> FittedState:
        """Return one model of an ensemble, without threshold and out-of-fold logits."""
        return replace(
            self,
            weights=tuple(each[k] for each in self.weights),
            biases=tuple(each[k] for each in self.biases),
            curves=(self.curves[k],),
            n_iter=(self.n_iter[k],),
            best_epoch=(self.best_epoch[k],),
            stop_reason=(self.stop_reason[k],),
            threshold_curve=None,
            threshold_interval=None,
            oof_logits=None,
            oof_loss=None,
            temperature=1.0,
            embedding=map_embedding([self.embedding], lambda arrays: arrays[0][k]),
            module=self.module and self.module.model(k),
        )

    def with_threshold(
        self,
        threshold: float,
        threshold_parameter: Any,
        pos_label_parameter: Any,
        curve: dict[str, NDArray[Any]] | None = None,
        interval: tuple[float, float] | None = None,
    ) -> FittedState:
        """Return the same model with another decision threshold."""
        return replace(
            self,
            threshold=threshold,
            threshold_parameter=threshold_parameter,
            pos_label_parameter=pos_label_parameter,
            threshold_curve=curve,
            threshold_interval=interval,
        )

    def curve(self, name: str) -> Any:
        """Return a curve of a single model, or a list of curves, or None if it was not recorded."""
        curves = [each.get(name) for each in self.curves]
        return None if curves[0] is None else per_model(curves)

    def last_curves(self) -> list[Curves]:
        """Return the curves of the last fit, for each model."""
        return [
            {name: curve[len(curve) - n :] for name, curve in curves.items()}
            for curves, n in zip(self.curves, self.n_iter, strict=True)
        ]

    def dense_weights(self) -> tuple[NDArray[Any], ...]:
        """Return the weights as arrays, also if they are a sparse matrix."""
        return tuple(each.toarray() if sp.issparse(each) else each for each in self.weights)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for pickles."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def per_model(values: Sequence[Any]) -> Any:
    """Return the value of a single model, or the values of an ensemble as a list."""
    return values[0] if len(values) == 1 else list(values)


def map_embedding(
    embeddings: Sequence[dict[str, NDArray[Any]] | None],
    function: Callable[[Sequence[NDArray[Any]]], NDArray[Any]],
) -> dict[str, NDArray[Any]] | None:
    """Make one embedding of several, which have the same columns, or return None without any."""
    first = embeddings[0]
    if first is None:
        return None
    names = (name for name in first if name != "columns")
    arrays = {name: [each[name] for each in embeddings if each] for name in names}
    return {"columns": first["columns"], **{k: function(v) for k, v in arrays.items()}}


def join_models(states: Sequence[FittedState]) -> FittedState:
    """Return an ensemble of fitted models of one shape."""
    first = states[0]
    return replace(
        first,
        weights=tuple(np.stack(each) for each in zip(*(s.weights for s in states), strict=True)),
        biases=tuple(np.stack(each) for each in zip(*(s.biases for s in states), strict=True)),
        curves=tuple(s.curves[0] for s in states),
        n_iter=tuple(s.n_iter[0] for s in states),
        best_epoch=tuple(s.best_epoch[0] for s in states),
        stop_reason=tuple(s.stop_reason[0] for s in states),
        n_seen=max(s.n_seen for s in states),
        embedding=map_embedding([s.embedding for s in states], np.stack),
        module=join_modules([s.module for s in states]),
    )
