"""What training gives back: the weights, the curves, and why it stopped."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class StopReason(enum.Enum):
    """Why training stopped. The values are the messages that users read."""

    CONVERGED = "the gradient is within tol"
    ROUNDING = "the gradient is as small as floating point allows"
    NO_IMPROVEMENT = "the training loss stopped improving by tol"
    VALIDATION = "the validation score stopped improving by tol"
    VALIDATION_LOSS = "the validation loss stopped improving by tol"
    FLAT = "the objective hardly falls any more"
    NO_DESCENT = "no step lowers the objective any further in floating point"
    MAX_ITER = "max_iter was reached"
    MAX_FUN = "max_fun was reached"
    CALLBACK = "a callback asked to stop"
    INTERRUPTED = "interrupted by the user"


class CancelledError(Exception):
    """Another thread has asked to stop."""


class DivergedError(ValueError):
    """The training loss is no longer a finite number."""


def check_curvature(curvature: Tensor) -> None:
    """Check that second derivatives, or products of rows, are finite numbers.

    Raises
    ------
    DivergedError
        If they are not: a product of two features has overflowed.
    """
    if not bool(torch.isfinite(curvature).all()):
        raise DivergedError(
            "The squares of the features must be finite numbers, got a feature whose squares are "
            "not. Clip the values that stand for infinity, or bring the features to one scale "
            "(StandardScaler)."
        )


@dataclass(frozen=True)
class Progress:
    """What one epoch or iteration of a solver reports.

    Parameters
    ----------
    loss : float
        Mean weighted loss over the training rows, in nats.
    objective : float
        The loss and the penalty on the weights.
    learning_rate : float
        Rate of a mini-batch step, or length of a full-batch step.
    gap : float
        Largest absolute component of the gradient. NaN if the solver does not know it.
    done : StopReason or None
        Set when the solver itself has finished.
    """

    loss: float
    objective: float
    learning_rate: float
    gap: float = float("nan")
    done: StopReason | None = None


@dataclass(frozen=True)
class FitResult:
    """A trained model.

    Parameters
    ----------
    parameters : Tensor of shape (n_parameters,)
        All weights, then all biases.
    history : dict of list of float
        One entry per epoch: ``loss``, ``objective``, ``learning_rate``, ``seconds``, and with
        validation rows ``validation_loss`` and ``validation_score``.
    best_epoch : int
        The epoch, counted from 1, whose weights are kept. 0 if none was finished.
    stop_reason : StopReason or None
        None while the training is still under way.
    gap : float
        Largest absolute component of the gradient at the end. NaN if unknown.
    state : dict
        What the optimizer remembers.
    """

    parameters: Tensor
    history: dict[str, list[float]]
    best_epoch: int
    stop_reason: StopReason | None
    gap: float
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def n_iter(self) -> int:
        return len(self.history["loss"])
