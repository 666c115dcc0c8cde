"""What was learnt, and the forms in which it can be looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.html import HTMLState
from skbinary.estimators.scoring import BinaryScorer
from skbinary.models.batch_of_models import Architecture
from skbinary.models.torch_module import LogitModule, MeanLogitModule, build_module
from skbinary.runtime.defaults import default_settings
from skbinary.runtime.threads import one_torch_thread
from skbinary.thresholds.decision import positive_index

if TYPE_CHECKING:
    from skbinary.callbacks.skorch import BinaryNet


class FittedModel(HTMLState, BinaryScorer):
    """A fitted classifier: its curves, and its views as a torch module and as a skorch net."""

    history_: Any  # a dict of list of float, or a list of one for each member
    solver: str
    learning_rate_init: float
    max_iter: int
    batch_size: int | str
    verbose: int

    @property
    def loss_curve_(self) -> list[float]:
        """Mean weighted loss over the training rows after each epoch, in nats."""
        return self._curve("loss")

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """Mean weighted loss over the validation rows after each epoch, in nats."""
        return self._curve("validation_loss")

    @property
    def validation_scores_(self) -> list[float] | None:
        """Accuracy on the validation rows after each epoch."""
        return self._curve("validation_score")

    @property
    def best_validation_score_(self) -> float | None:
        """The highest of ``validation_scores_``; with members, the mean of theirs."""
        scores = self.validation_scores_
        if scores is None:
            return None
        curves: Any = scores if isinstance(self.history_, list) else [scores]
        best = [max((s for s in curve if s == s), default=math.nan) for curve in curves]
        return float(np.mean(best)) if isinstance(self.history_, list) else best[0]

    def _curve(self, name: str) -> Any:
        check_is_fitted(self)
        if not isinstance(self.history_, list):
            return self.history_.get(name)
        curves = [history.get(name) for history in self.history_]
        return None if curves[0] is None else curves

    @property
    @one_torch_thread()
    def module_(self) -> LogitModule | MeanLogitModule:
        """The fitted model as a torch module that gives logits, built when asked for."""
        check_is_fitted(self)
        with default_settings():
            return self._as_module()

    def _as_module(self) -> LogitModule | MeanLogitModule:
        shape = self._architecture(self.n_features_in_)
        weights, biases = self._weights()
        if weights[0].ndim == 2:
            return _independent_module(shape, weights, [each[None] for each in biases])
        return MeanLogitModule(
            _independent_module(shape, [each[k] for each in weights], [each[k] for each in biases])
            for k in range(len(weights[0]))
        ).eval()

    @property
    def net_(self) -> BinaryNet:
        """The fitted model as a skorch ``NeuralNet``, built when asked for."""
        from skbinary.callbacks.skorch import view

        with default_settings():
            return view(
                self.module_,
                self.classes_,
                self._own_threshold(),
                positive_index(self.pos_label, self.classes_),
                history=None if isinstance(self.history_, list) else self.history_,
                **self._net_settings(self._scoring_device()),
            )

    def _net_settings(self, device: torch.device) -> dict[str, Any]:
        adam = self.solver == "adam"
        return {
            "optimizer": torch.optim.Adam if adam else torch.optim.SGD,
            "lr": float(self.learning_rate_init),
            "max_epochs": self.max_iter,
            "batch_size": -1 if self.batch_size == "auto" else int(self.batch_size),
            "device": str(device),
            "verbose": int(self.verbose),
        }


def _independent_module(
    architecture: Architecture, weights: list[NDArray[Any]], biases: list[NDArray[Any]]
) -> LogitModule:
    """Build a module whose parameters are contiguous and share no memory.

    Some file formats, such as safetensors, cannot save any others.
    """
    return build_module(
        architecture,
        [torch.tensor(np.ascontiguousarray(each.T)).mT for each in weights],
        [torch.tensor(each) for each in biases],
    )
