"""Parameters of mini-batch training that all networks have: constraints, optimizer, schedule."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, Options, StrOptions
from torch import Tensor

from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import (
    Adaptive,
    Cosine,
    InverseScaling,
    OneCycle,
    Schedule,
    Warmup,
)

LearningRate: TypeAlias = Literal[
    "constant", "invscaling", "adaptive", "cosine", "onecycle", "warmup"
]

NETWORK_CONSTRAINTS: dict[str, Any] = {
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions(set(get_args(LearningRate)))],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "monitor": [str, callable],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "threshold": "no_validation",  # by hand, since it may be no number
    "pos_label": [Real, str, "boolean", None],
    "n_members": [Interval(Integral, 1, None, closed="left")],
    "calibrate": ["boolean", StrOptions({"auto"})],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "weight_average": [Interval(Real, 0, 1, closed="left")],
    "device": [str, torch.device],
    "callbacks": [list, tuple, None],
}


def make_optimizer(estimator: Any, parameters: Tensor, state: Any) -> Adam | SGD:
    """Return the optimizer that the parameters of an estimator describe.

    Parameters
    ----------
    estimator : TorchMLPClassifier or TorchModuleClassifier
    parameters : Tensor of shape (1, n_parameters)
        What it updates.
    state : dict or None
        The state of an optimizer that it continues.
    """
    if estimator.solver == "adam":
        betas = (estimator.beta_1, estimator.beta_2)
        return Adam(parameters, betas, estimator.epsilon, estimator.weight_decay, state)
    return SGD(
        parameters, estimator.momentum, estimator.nesterovs_momentum, estimator.weight_decay, state
    )


def make_schedule(estimator: Any, n_batches: int) -> Schedule:
    """Return the learning-rate schedule that the parameters of an estimator describe.

    Parameters
    ----------
    estimator : TorchMLPClassifier or TorchModuleClassifier
    n_batches : int
        Number of steps of an epoch.
    """
    kind, rate = estimator.learning_rate, estimator.learning_rate_init
    if kind == "cosine":
        return Cosine(rate, estimator.max_iter)
    if kind == "onecycle":
        return OneCycle(rate, estimator.max_iter * n_batches)
    if kind == "warmup":
        return Warmup(rate)
    if estimator.solver == "sgd" and kind == "invscaling":
        return InverseScaling(rate, estimator.power_t)
    if estimator.solver == "sgd" and kind == "adaptive":
        return Adaptive(rate)
    return Schedule(rate)
