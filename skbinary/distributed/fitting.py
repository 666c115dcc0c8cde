"""fit: one classifier from the rows of all processes of a group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone
from torch.distributed import ProcessGroup

from skbinary.data.checked import CheckedData
from skbinary.distributed.process_group import GroupProcesses
from skbinary.distributed.shards import Rows, check_shards, gather_rows
from skbinary.distributed.training import class_weights, held_out_rows, train_model
from skbinary.estimators.fitting import Fit, warn_of_majority, with_choice
from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.observers import FitObservers
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.estimators.state import FittedState
from skbinary.runtime.device import resolve_device
from skbinary.runtime.threads import one_torch_thread
from skbinary.runtime.warnings import warn
from skbinary.thresholds.curve import ThresholdData, choose_threshold

_Classifier = TypeVar("_Classifier")


def fit(
    estimator: _Classifier,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    groups: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    sample_weight_val: Any = None,
    process_group: ProcessGroup | None = None,
) -> _Classifier:
    """Fit one classifier to the rows of all processes of a group.

    Every process of the group calls it with its own rows and gets the same classifier: the one that
    a single process would fit to all rows, those of the first process first, up to rounding. The
    rows stay where they are. A process may have no rows, as an array of shape (0, n_features), or
    rows of one class.

    Parameters
    ----------
    estimator : TorchLogisticClassifier or TorchMLPClassifier
        The classifier to fit, with the same parameters in all processes.
    X : array-like, sparse matrix, data frame or tensor of shape (n_samples, n_features)
        The rows of this process, perhaps none.
    y : array-like of shape (n_samples,)
        Their labels.
    sample_weight : array-like of shape (n_samples,), default=None
        Their weights. All processes pass weights, or none does.
    groups : array-like of shape (n_samples,), default=None
        Their groups. Rows of one group are held out together, in whichever processes they are.
    X_val, y_val, sample_weight_val : default=None
        The validation rows of this process, their labels and weights. All processes pass some, or
        none does; arrays without rows are fine.
    process_group : torch.distributed.ProcessGroup, default=None
        The processes. None for all processes of ``torch.distributed.init_process_group``.

    Returns
    -------
    estimator
        The estimator that was passed, fitted. It is an ordinary classifier.

    Raises
    ------
    ValueError
        In all processes, if the parameters or the data of one of them are invalid, or do not agree.
        The estimator is then unchanged in all of them.
    RuntimeError
        If there is no process group, or if a process of the group ends or does not answer within
        the timeout of the group. The estimator is then unchanged.

    Examples
    --------
    A group of one process, which ``torchrun`` would make larger:

    >>> import torch.distributed as dist
    >>> from skbinary import TorchLogisticClassifier
    >>> from skbinary.distributed import fit
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> model = fit(TorchLogisticClassifier(), [[-1.0], [1.0], [2.0]], [0, 1, 1])
    >>> dist.destroy_process_group()
    >>> print(model.stop_reason_)
    converged
    """
    processes = GroupProcesses(process_group)
    table, validation = (X, y, sample_weight), (X_val, y_val, sample_weight_val)
    processes.together(lambda: _check_type(estimator))
    if processes.n_processes == 1:
        names = ("X_val", "y_val", "sample_weight_val")
        given = dict(zip(names, validation, strict=True))
        return estimator.fit(*table, groups=groups, **given)  # type: ignore[attr-defined]
    processes.together(lambda: _check_estimator(estimator))
    _fit(estimator, table, validation, groups, processes)
    return estimator


@unchanged_on_error
def _fit(
    estimator: Any, table: Rows, validation: Rows, groups: Any, processes: GroupProcesses
) -> None:
    """Fit the estimator to the rows of several processes."""
    with one_torch_thread():
        data = check_shards(estimator, table, validation, groups, processes)
        processes.together(lambda: resolve_device(estimator.device, data.given))
        # From here on all processes have the same parameters, and numbers that they added up. So
        # an error of one of them is an error of all.
        recipe = estimator._recipe(data, is_partial=False)
        if recipe.random_state is not None:
            recipe.random_state.set_state(processes.from_first(recipe.random_state.get_state()))
        if _needs_all_rows(recipe, data):
            all_rows = gather_rows(data, processes)
            state = processes.together(lambda: _fit_alone(estimator, recipe, all_rows, processes))
        else:
            state = _fit_shards(recipe, data, processes, int(estimator.verbose))
        estimator._state = processes.from_first(state)


def _check_type(estimator: Any) -> None:
    name = type(estimator).__name__
    if not isinstance(estimator, TorchLogisticClassifier | TorchMLPClassifier):
        raise ValueError(
            "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier to be fitted by "
            f"several processes, got {name}. Fit its last step, on rows that are transformed."
        )


def _check_estimator(estimator: Any) -> None:
    """Check that this estimator can be fitted to the rows of several processes."""
    callbacks = estimator.callbacks or getattr(estimator, "_skl_callbacks", None)
    settings = {
        "callbacks": (None, callbacks or None),
        "monitor": ("loss", estimator.monitor),
        "warm_start": (False, bool(estimator.warm_start) and "_state" in estimator.__dict__),
        "n_members": (1, getattr(estimator, "n_members", 1)),
        "numeric_embedding": (None, getattr(estimator, "numeric_embedding", None)),
    }
    for name, (value, got) in settings.items():
        if got != value:
            raise ValueError(
                f"{name} must be {value!r} for a fit by several processes, got {got!r}. Change it, "
                "or fit in one process."
            )


def _needs_all_rows(recipe: Recipe, data: CheckedData) -> bool:
    """Whether there are so few rows that each process gets all of them.

    They are fewer than a network needs for a validation set, or fewer than the features, so that
    Newton's method works in the space of the rows.
    """
    n_samples, n_features = data.n_samples, data.train.X.shape[1]
    is_wide = recipe.solver == "newton-cholesky" and n_samples < n_features
    return recipe.chooses_epochs or is_wide


def _fit_alone(
    estimator: Any, recipe: Recipe, data: CheckedData, processes: GroupProcesses
) -> FittedState:
    """Fit all rows in each process, as a single process does."""
    observed = estimator if processes.rank == 0 else clone(estimator).set_params(verbose=0)
    return Fit(recipe, data, FitObservers(observed, data, is_partial=True)).run()


def _fit_shards(
    recipe: Recipe, data: CheckedData, processes: GroupProcesses, verbose: int
) -> FittedState:
    """Fit one model to the rows where they are, and choose its threshold."""
    if recipe.objective is not None and data.validation is None and not recipe.stops_early:
        raise ValueError(
            "threshold must be a number for a fit by several processes without a validation set, "
            f"got {recipe.threshold_parameter!r}. Pass X_val and y_val, set early_stopping=True, "
            "or call tune_threshold afterwards."
        )
    weights = class_weights(recipe.class_weight, data, processes)
    recipe = replace(recipe, class_weight=weights)
    model, hold_out = train_model(recipe, data, processes, verbose)
    if model.is_interrupted:
        raise KeyboardInterrupt
    state = model.state
    assert state is not None
    scored, share = None, 0.0
    if recipe.objective is not None:
        scored = held_out_rows(state, recipe, data, hold_out, processes)
        n_positive = processes.sum_number(float(np.sum(data.train.y == data.classes[1])))
        share = n_positive / data.n_samples
    if processes.rank > 0:
        return processes.together(lambda: state)
    return processes.together(lambda: _finish(recipe, model, state, scored, share))


def _finish(
    recipe: Recipe,
    model: ModelFit,
    state: FittedState,
    scored: ThresholdData | None,
    share: float,
) -> FittedState:
    """Warn if training did not converge, and choose the threshold if it is an objective."""
    model.warn()
    if recipe.objective is None or scored is None:
        return state
    warn_of_majority(state.classes, recipe.pos_label_parameter, share)
    if scored.has_both_classes:
        choice = choose_threshold(recipe.objective, scored)
    else:
        choice = None
        warn(
            "To choose a threshold, the validation rows must be of both classes, got one class. "
            "The threshold is 0.5. Pass X_val and y_val, or set threshold to a number."
        )
    return with_choice(state, choice, recipe.threshold_parameter, recipe.pos_label_parameter)
