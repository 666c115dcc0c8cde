"""Results of training: parameters, history, and why it stopped."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skbinary.solvers.stopping import StoppingCriteria


class StopReason(enum.StrEnum):
    """Why training stopped.

    Each reason is a string, so ``stop_reason_ == "max_iter"`` works.

    Attributes
    ----------
    CONVERGED : ``"converged"``
        The gradient is within ``tol``.
    ROUNDING : ``"rounding"``
        The gradient is as small as floating point allows.
    TRAINING_LOSS : ``"training_loss"``
        The training loss stopped improving by ``tol``.
    VALIDATION_LOSS : ``"validation_loss"``
        The validation loss stopped improving by ``tol``.
    VALIDATION_SCORE : ``"validation_score"``
        The validation score stopped improving by ``tol``.
    OBJECTIVE : ``"objective"``
        The objective no longer decreases.
    LINE_SEARCH : ``"line_search"``
        No step along the search direction lowers the objective in floating point.
    CROSS_VALIDATION : ``"cross_validation"``
        The number of epochs that cross-validation chose was reached.
    MAX_ITER : ``"max_iter"``
        ``max_iter`` was reached.
    MAX_FUN : ``"max_fun"``
        ``max_fun`` was reached.
    CALLBACK : ``"callback"``
        A callback stopped the training.
    INTERRUPTED : ``"interrupted"``
        The user interrupted the training.
    description : str
        The reason as a sentence.

    Examples
    --------
    >>> from skbinary import TorchLogisticClassifier
    >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0], [2.0]], [0, 1, 1])
    >>> print(model.stop_reason_)
    converged
    >>> model.stop_reason_.description
    'The gradient is within tol.'
    """

    CONVERGED = "converged"
    ROUNDING = "rounding"
    TRAINING_LOSS = "training_loss"
    VALIDATION_LOSS = "validation_loss"
    VALIDATION_SCORE = "validation_score"
    OBJECTIVE = "objective"
    LINE_SEARCH = "line_search"
    CROSS_VALIDATION = "cross_validation"
    MAX_ITER = "max_iter"
    MAX_FUN = "max_fun"
    CALLBACK = "callback"
    INTERRUPTED = "interrupted"

    @property
    def description(self) -> str:
        """The reason as a sentence."""
        return _DESCRIPTIONS[self]


# Pickles name the public path, which stays when modules move.
StopReason.__module__ = "skbinary"

_DESCRIPTIONS = {
    StopReason.CONVERGED: "The gradient is within tol.",
    StopReason.ROUNDING: "The gradient is as small as floating point allows.",
    StopReason.TRAINING_LOSS: "The training loss stopped improving by tol.",
    StopReason.VALIDATION_LOSS: "The validation loss stopped improving by tol.",
    StopReason.VALIDATION_SCORE: "The validation score stopped improving by tol.",
    StopReason.OBJECTIVE: "The objective no longer decreases.",
    StopReason.LINE_SEARCH: (
        "No step along the search direction lowers the objective in floating point."
    ),
    StopReason.CROSS_VALIDATION: "The number of epochs that cross-validation chose was reached.",
    StopReason.MAX_ITER: "max_iter was reached.",
    StopReason.MAX_FUN: "max_fun was reached.",
    StopReason.CALLBACK: "A callback stopped the training.",
    StopReason.INTERRUPTED: "The user interrupted the training.",
}


class CancelledError(Exception):
    """Another thread has requested that the training ends."""


class DivergedError(ValueError):
    """The training loss, a weight or a logit is no longer a finite number."""


def check_curvature(curvature: Tensor) -> None:
    """Check that second derivatives, or products of rows, are finite numbers.

    Raises
    ------
    DivergedError
        If they are not: a product of two features has overflowed.
    """
    if not bool(torch.isfinite(curvature).all()):
        raise DivergedError(
            "The squares of the features must be finite numbers, got a feature whose squares "
            "overflow. Clip values that stand for infinity, or bring the features to one scale "
            "(StandardScaler)."
        )


@dataclass(frozen=True)
class Progress:
    """What a solver reports after an epoch or iteration.

    Parameters
    ----------
    loss : float
        Mean weighted loss over the training rows, in nats.
    objective : float
        The loss plus the penalty on the weights.
    learning_rate : float
        Learning rate of a mini-batch solver, or step length of a full-batch solver.
    gradient_norm : float, default=nan
        Largest absolute component of the gradient. NaN if the solver does not compute it.
    stop_reason : StopReason or None, default=None
        Why the solver has finished, or None if it has not.
    """

    loss: float
    objective: float
    learning_rate: float
    gradient_norm: float = float("nan")
    stop_reason: StopReason | None = None


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
        The epoch, counted from 1, whose weights are kept. 0 if no epoch was finished.
    stop_reason : StopReason or None
        None while the training is under way.
    gradient_norm : float
        Largest absolute component of the gradient at the end. NaN if unknown.
    state : dict
        State of the optimizer, to resume from.
    """

    parameters: Tensor
    history: dict[str, list[float]]
    best_epoch: int
    stop_reason: StopReason | None
    gradient_norm: float
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def n_iter(self) -> int:
        """Number of epochs or iterations."""
        return len(self.history["loss"])


def convergence_warning(
    result: FitResult, criteria: StoppingCriteria, whose: str = ""
) -> str | None:
    """Return the warning about a training that did not converge, or None if it did.

    Parameters
    ----------
    result : FitResult
        The trained model.
    criteria : StoppingCriteria
        The criteria that it was trained with.
    whose : str, default=""
        Follows "Training did not converge" where there are several models: " for 1 of 4 ...".
    """
    reason = result.stop_reason
    if reason is StopReason.INTERRUPTED:
        return (
            f"Training was interrupted by the user after {result.n_iter} epochs. The best weights "
            "so far are kept."
        )
    if reason not in (StopReason.MAX_ITER, StopReason.MAX_FUN, StopReason.LINE_SEARCH):
        return None
    if not math.isnan(result.gradient_norm):
        parameter = "max_fun" if reason is StopReason.MAX_FUN else "max_iter"
        return (
            f"Training did not converge{whose}. {reason.description} After {result.n_iter} "
            f"iterations the largest component of the gradient is {result.gradient_norm:.3g}, "
            f"above tol={criteria.tol:g}. Raise {parameter}, or bring the features to one scale "
            "(StandardScaler)."
        )
    if criteria.n_iter_no_change >= criteria.max_iter:
        return None  # a fixed number of epochs was requested
    *before, last = result.history["objective"]
    loss = f"After 1 epoch the training loss is {last:.6g}"
    if before:
        loss = (
            f"The last of {result.n_iter} epochs took the training loss from {before[-1]:.6g} to "
            f"{last:.6g}"
        )
    return (
        f"Training did not converge{whose}. {reason.description} {loss} (tol={criteria.tol:g}). "
        "Raise max_iter or learning_rate_init."
    )
