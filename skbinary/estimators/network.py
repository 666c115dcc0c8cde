"""What the classifiers that train networks have in common: attributes of the fitted networks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skbinary.estimators.base import BinaryClassifier


class NetworkClassifier(BinaryClassifier):
    """A classifier that trains one network, or the networks of an ensemble."""

    @property
    def n_members_(self) -> int:
        """Number of networks whose probabilities are averaged."""
        return self._fitted().n_models

    @property
    def temperature_(self) -> float:
        """The temperature that the logits of an ensemble are divided by."""
        return self._fitted().temperature

    @property
    def oof_decision_function_(self) -> NDArray[np.floating]:
        """Out-of-fold logits: of each training row by the member that was not trained on it."""
        logits: NDArray[np.floating] = self._optional("oof_logits")
        return logits

    @property
    def oof_loss_(self) -> float:
        """Mean log loss of the out-of-fold logits, in nats."""
        return float(self._optional("oof_loss"))

    @property
    def n_iter_(self) -> int:
        """Epochs or iterations of the last fit: the most of any ensemble member."""
        return max(self._fitted().n_iter)

    @property
    def n_outputs_(self) -> int:
        """Number of outputs: 1, the logit."""
        self._fitted()
        return 1

    @property
    def out_activation_(self) -> str:
        """Function that turns the logit into a probability: ``"logistic"``."""
        self._fitted()
        return "logistic"

    @property
    def loss_(self) -> float:
        """The last value of ``loss_curve_``; for an ensemble, the mean over its members."""
        return float(
            np.mean([(each["loss"] or [math.nan])[-1] for each in self._fitted().last_curves()])
        )

    @property
    def best_loss_(self) -> float | None:
        """The smallest value of ``loss_curve_``. None with early stopping, and for an ensemble."""
        state = self._fitted()
        if state.stopped_early or state.n_models > 1:
            return None
        return float(min(self._fitted().last_curves()[0]["loss"], default=math.inf))

    @property
    def t_(self) -> int:
        """Training rows that the solver has seen."""
        return self._fitted().n_seen
