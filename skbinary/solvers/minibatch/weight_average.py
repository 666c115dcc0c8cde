"""Exponential moving averages of the weights of a batch of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    """Averages the weights of models over the steps of training.

    After step t an average moves towards the weights by ``1 - min(decay, (1 + t) / (10 + t))``, as
    TensorFlow's ``ExponentialMovingAverage`` does with a number of updates, so that the first
    steps, which change the weights most, are soon forgotten.

    Between epochs the parameters hold the averages, which are validated and kept. Within an epoch
    they hold the weights that are trained, which callbacks see after a batch.

    Parameters
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
        The parameters of the models, which are changed in place.
    decays : sequence of float
        The decay of each model, in (0, 1).
    trained : Tensor of the shape of `parameters` or None, default=None
        The weights to go on from, if `parameters` holds their averages.
    n_steps : int, default=0
        Number of steps so far.
    """

    def __init__(
        self,
        parameters: Tensor,
        decays: Sequence[float],
        trained: Tensor | None = None,
        n_steps: int = 0,
    ):
        self.n_steps = n_steps
        self._decays = parameters.new_tensor(decays)[:, None]
        self._set_parameters(parameters, parameters if trained is None else trained)

    @classmethod
    def resume(cls, parameters: Tensor, decay: float, state: Mapping[str, Any]) -> WeightAverage:
        """Return the average of a single model, continued from the ``state()`` of an earlier one.

        Without such a state it starts from the parameters.
        """
        trained = state.get("trained_weights")
        if trained is not None:
            trained = torch.as_tensor(trained).to(parameters)[None]
        return cls(parameters, [decay], trained, int(state.get("n_averaged", 0)))

    def state(self) -> dict[str, Any]:
        """Return the weights that are trained and the number of steps of a single model."""
        return {"trained_weights": self.trained[0], "n_averaged": self.n_steps}

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of the weights of all models that are trained, and the number of steps."""
        trained = torch.where(self._parameters == self._average, self.trained, self._parameters)
        return {"trained": trained.cpu(), "n_steps": self.n_steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``snapshot()``, with the averages that the parameters hold now."""
        self._average.copy_(self._parameters)
        self.trained.copy_(state["trained"])
        self.n_steps = state["n_steps"]

    @contextmanager
    def training(self) -> Iterator[None]:
        """Put the weights that are trained into the parameters, and afterwards their averages.

        The averages are put back also if training is interrupted.
        """
        # A callback may have changed parameters between epochs, which are then trained from there.
        is_unchanged = self._parameters == self._average
        self._average.copy_(self._parameters)
        torch.where(is_unchanged, self.trained, self._parameters, out=self._parameters)
        try:
            yield
        finally:
            self.trained.copy_(self._parameters)
            self._parameters.copy_(self._average)

    def update(self) -> None:
        """Update the averages after a step."""
        self.n_steps += 1
        decays = self._decays.clamp(max=(1 + self.n_steps) / (10 + self.n_steps))
        self._average.lerp_(self._parameters, 1 - decays)

    def select(self, parameters: Tensor, kept: Sequence[int]) -> None:
        """Keep some models, by their positions, whose averages are now in `parameters`."""
        index = torch.tensor(kept, device=parameters.device)
        self._decays = self._decays[index]
        self._set_parameters(parameters, self.trained[index])

    def _set_parameters(self, parameters: Tensor, trained: Tensor) -> None:
        self._parameters = parameters
        self._average = parameters.clone()
        self.trained = trained.clone()


def training_weights(average: WeightAverage | None) -> AbstractContextManager[None]:
    """Return a context in which the parameters hold the weights that are trained."""
    return nullcontext() if average is None else average.training()
