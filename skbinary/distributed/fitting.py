"""fit: one classifier from the rows of all processes of a group."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from sklearn.base import clone
from torch.distributed import ProcessGroup

from skbinary.callbacks.monitor import check_monitor, is_scorer
from skbinary.data.checked import CheckedData
from skbinary.distributed.process_group import GroupProcesses
from skbinary.distributed.shards import Rows, check_shards, class_weights, gather_rows
from skbinary.estimators.fitting import Fit
from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.observers import FitObservers
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.estimators.state import FittedState
from skbinary.runtime.device import resolve_device
from skbinary.runtime.interrupts import raising_interrupts
from skbinary.runtime.threads import one_torch_thread
from skbinary.runtime.warnings import collecting

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
    try:
        processes.together(lambda: _check_type(estimator))
        if processes.n_processes == 1:
            names = ("X_val", "y_val", "sample_weight_val")
            given = dict(zip(names, validation, strict=True))
            return estimator.fit(*table, groups=groups, **given)  # type: ignore[attr-defined]
        processes.together(lambda: _check_estimator(estimator))
        _fit(estimator, table, validation, groups, processes)
    finally:
        processes.end()
    return estimator


@unchanged_on_error
def _fit(
    estimator: Any, table: Rows, validation: Rows, groups: Any, processes: GroupProcesses
) -> None:
    """Fit the estimator to the rows of several processes."""
    previous = estimator.__dict__.get("_state") if estimator.warm_start else None
    with one_torch_thread(), raising_interrupts():
        data = check_shards(estimator, table, validation, groups, processes, reset=previous is None)
        processes.together(lambda: resolve_device(estimator.device, data.given))
        # From here on all processes have the same parameters, and numbers that they added up. So
        # an error of one of them is an error of all.
        recipe = _with_first_random_state(estimator._recipe(data, is_partial=False), processes)
        if _needs_all_rows(recipe, data):
            data = gather_rows(data, processes)
            state = processes.together(
                lambda: _run(estimator, recipe, data, previous, processes.rank)
            )
        else:
            recipe = replace(recipe, class_weight=class_weights(recipe.class_weight, data))
            state = _run(estimator, recipe, data, previous, processes.rank)
        estimator._state = _state_of_first(state, processes)


def _run(
    estimator: Any, recipe: Recipe, data: CheckedData, previous: FittedState | None, rank: int
) -> FittedState:
    """Fit in each process. The first one prints lines and shows warnings."""
    is_first = rank == 0
    observed = estimator if is_first else clone(estimator).set_params(verbose=0)
    with nullcontext() if is_first else collecting():
        return Fit(recipe, data, FitObservers(observed, data, is_partial=True), previous).run()


def _state_of_first(state: FittedState, processes: GroupProcesses) -> FittedState:
    """Return the state of the first process, with the parameters of this one.

    The threshold may be a function that cannot be sent.
    """
    own = {name: getattr(state, name) for name in ("threshold_parameter", "pos_label_parameter")}
    sent = replace(state, threshold_parameter=None, pos_label_parameter=None)
    return replace(processes.from_first(sent), **own)


def _with_first_random_state(recipe: Recipe, processes: GroupProcesses) -> Recipe:
    """Make a recipe draw the random numbers of the first process."""
    if recipe.random_state is not None:
        recipe.random_state.set_state(processes.from_first(recipe.random_state.get_state()))
    for_folds = processes.from_first(recipe.fold_random_state())
    return replace(recipe, fold_random_state=lambda: copy.deepcopy(for_folds))


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
    if callbacks:
        raise ValueError(
            "callbacks must be None for a fit by several processes, each of which would call its "
            f"own, got {callbacks!r}. Leave them out, or fit in one process."
        )
    monitor = check_monitor(estimator.monitor)
    if monitor is not None and not is_scorer(monitor):
        raise ValueError(
            "monitor must be 'loss' or a scorer of scikit-learn for a fit by several processes, "
            f"none of which has all rows for a function, got {estimator.monitor!r}. Make a scorer "
            "with sklearn.metrics.make_scorer."
        )


def _needs_all_rows(recipe: Recipe, data: CheckedData) -> bool:
    """Whether there are so few rows that each process gets all of them.

    They are fewer than a network needs for a validation set, or fewer than the features, so that
    Newton's method works in the space of the rows.
    """
    n_samples, n_features = data.n_samples, data.train.X.shape[1]
    is_wide = recipe.solver == "newton-cholesky" and n_samples < n_features
    return recipe.chooses_epochs or is_wide
