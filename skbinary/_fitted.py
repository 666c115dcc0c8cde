"""What was learnt, and the forms in which it can be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sklearn.utils.validation import check_is_fitted

from skbinary._module import LogitModule, build_module
from skbinary._scores import BinaryScorer
from skbinary._threshold import check_threshold

if TYPE_CHECKING:
    from skbinary._host import BinaryNet


class FittedModel(BinaryScorer):
    """A fitted classifier: its curves, and its views as a torch module and as a skorch net."""

    history_: dict[str, list[float]]
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
        """The highest of ``validation_scores_``."""
        scores = self.validation_scores_
        return None if scores is None else max((s for s in scores if s == s), default=None)

    def _curve(self, name: str) -> Any:
        check_is_fitted(self)
        return self.history_.get(name)

    @property
    def module_(self) -> LogitModule:
        """The fitted model as a torch module that gives logits, built when asked for."""
        check_is_fitted(self)
        weights, biases = self._weights()
        return build_module(
            self._architecture(self.n_features_in_),
            [torch.tensor(each) for each in weights],
            [torch.tensor(each)[None] for each in biases],
        )

    @property
    def net_(self) -> BinaryNet:
        """The fitted model as a skorch ``NeuralNet``, built when asked for."""
        from skbinary import _host

        return _host.view(
            self.module_,
            self.classes_,
            check_threshold(self.threshold),
            history=self.history_,
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
