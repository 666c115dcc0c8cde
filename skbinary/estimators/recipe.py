"""Recipe: what the parameters of an estimator mean to the solvers, for the data of one fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from skbinary.callbacks.monitor import check_monitor
from skbinary.checkpoints.session import pin_random_state, same_value
from skbinary.data.checked import CheckedData
from skbinary.data.dataset import Dataset
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.make_batch import AnyArchitecture
from skbinary.runtime.device import resolve_device
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.setup import L2Penalty
from skbinary.solvers.run import Solver
from skbinary.thresholds.decision import positive_index
from skbinary.thresholds.objectives import Objective, parse_threshold

MINIBATCH_SOLVERS = ("adam", "sgd")
# Minimum number of rows for early_stopping="auto" to stop early: it then improves log loss and ROC
# AUC on the tables of docs/quality.md. With fewer rows it improves the log loss only.
ENOUGH_ROWS = 1000
# What n_iter_no_change="auto" means: scikit-learn's patience, and with early_stopping="auto" that
# of a single network and of each network of an ensemble. On the tables of docs/quality.md more does
# not improve a network, and less costs ROC AUC where positives are few; for an ensemble, 5 instead
# of 24 takes two fifths of the time and costs a thousandth of a nat.
_USUAL_PATIENCE, _LONG_PATIENCE, _ENSEMBLE_PATIENCE = 10, 24, 5
_AUTO_BATCH_SIZE = 200  # the batch_size="auto" of scikit-learn's MLPClassifier
_USUAL_THRESHOLD = 0.5
_SEEDS = 2**31 - 1


@dataclass(frozen=True)
class Recipe:
    """What the parameters of an estimator mean to the solvers, for the data of one fit.

    Parameters
    ----------
    estimator_name : str
        Name of the estimator's class, for messages.
    architecture : Architecture or ModuleArchitecture
        The layers of the model.
    device : torch.device
        Where to train.
    solver : str
        The solver, never ``"auto"``.
    initial_parameters : callable(architecture, random_state) -> Tensor of shape (n_values,)
        Draws the parameters to start from, and the buffers of a module.
    full_batch_step : callable(model_batch, dataset, pool) -> Solver
        Makes the step of a full-batch solver.
    optimizer : callable(parameters, state) -> Adam or SGD
        Makes the optimizer of a mini-batch solver.
    schedule : callable(n_batches) -> Schedule
        Makes the learning-rate schedule of a mini-batch solver.
    l2_penalty : L2Penalty
        Penalty on the weights, for mini-batch solvers.
    path_strength : float or None
        Strength of the penalty, if a batch of such models may be solved along one path of
        penalties. None if every model must be fitted singly.
    random_state : RandomState or None
        None where nothing is random.
    fold_random_state : callable() -> RandomState
        Draws the folds on which a threshold is chosen. Independent of what `random_state` draws.
    n_models : int
        Number of networks of an ensemble. 1 for a single model.
    calibrates : bool
        Whether the temperature of an ensemble is fitted.
    batch_size : int
        Number of rows of a batch, if there are as many.
    is_auto_batch_size : bool
        Whether the parameter says ``"auto"``.
    shuffle : bool
    learning_rate_init : float
    label_smoothing : float
        Fraction of the training labels that is spread over both classes.
    weight_average : float
        Decay of the moving average of the weights. 0 for none.
    class_weight : dict, "balanced" or None
    max_iter : int
        Maximum number of epochs or iterations.
    tol : float
    early_stopping : bool or "auto"
        The parameter.
    stops_early : bool
        Whether validation rows decide when to stop.
    chooses_epochs : bool
        Whether cross-validation chooses the number of epochs, at most `max_iter`.
    epochs_are_chosen : bool
        Whether cross-validation has chosen `max_iter`.
    patience : float
        Epochs without improvement before training stops.
    validated_patience : float
        The same for a single network with a validation set.
    ensemble_patience : float
        The same for each network of an ensemble.
    auto_patience : float
        Patience without a validation set.
    validation_fraction : float
    scorer : callable or None
        What early stopping monitors. None for the loss.
    objective : Objective or None
        Objective that the threshold is chosen for. None if it is a number.
    threshold : float
        The decision threshold while training.
    positive : int
        Index of the label that the threshold refers to.
    threshold_parameter, pos_label_parameter : object
        The parameters of the estimator.
    is_partial : bool
        Whether this is one pass of ``partial_fit``.
    """

    estimator_name: str
    architecture: AnyArchitecture
    device: torch.device
    solver: str
    initial_parameters: Callable[[Any, Any], Tensor]
    full_batch_step: Callable[[ModelBatch, Dataset, ThreadPool], Solver]
    optimizer: Callable[[Tensor, Any], Adam | SGD]
    schedule: Callable[[int], Schedule]
    l2_penalty: L2Penalty
    path_strength: float | None
    random_state: Any
    fold_random_state: Callable[[], np.random.RandomState]
    n_models: int
    calibrates: bool
    batch_size: int
    is_auto_batch_size: bool
    shuffle: bool
    learning_rate_init: float
    label_smoothing: float
    weight_average: float
    class_weight: Any
    max_iter: int
    tol: float
    early_stopping: bool | str
    stops_early: bool
    chooses_epochs: bool
    epochs_are_chosen: bool
    patience: float
    validated_patience: float
    ensemble_patience: float
    auto_patience: float
    validation_fraction: float
    scorer: Callable[..., float] | None
    objective: Objective | None
    threshold: float
    positive: int
    threshold_parameter: Any
    pos_label_parameter: Any
    is_partial: bool

    @property
    def in_batches(self) -> bool:
        """Whether the solver sees one batch of rows at a time."""
        return self.solver in MINIBATCH_SOLVERS

    @property
    def is_mapped(self) -> bool:
        """Whether several models are computed at once, and not one after the other."""
        return self.architecture.is_mapped(self.batch_size, self.device)

    def draw_seed(self) -> int:
        """Draw a seed from the random state."""
        return draw_seed(self.random_state)

    def for_member(self, seed: int) -> Recipe:
        """Return the recipe of one network of an ensemble."""
        early = self.in_batches if self.early_stopping == "auto" else bool(self.early_stopping)
        return self._for_one(seed, stops_early=early, patience=self.ensemble_patience)

    def for_epoch_choice(self, seed: int) -> Recipe:
        """Return the recipe of a model that is trained without a fold, to choose the epochs."""
        return self._for_one(
            seed, stops_early=True, chooses_epochs=False, patience=self.validated_patience
        )

    def for_fold(self, seed: int) -> Recipe:
        """Return the recipe of a model that is trained without a fold, to choose a threshold."""
        return self._for_one(seed, stops_early=False, patience=self.auto_patience, scorer=None)

    def _for_one(self, seed: int, **changes: Any) -> Recipe:
        random_state = None if self.random_state is None else np.random.RandomState(seed)
        return replace(self, n_models=1, random_state=random_state, **changes)


def draw_seed(random_state: Any) -> int:
    """Draw a seed."""
    return int(random_state.randint(_SEEDS))


def make_recipe(
    estimator: Any,
    data: CheckedData,
    *,
    solver: str,
    is_partial: bool,
    is_random: bool = True,
    n_models: int = 1,
    calibrates: bool = False,
    label_smoothing: float = 0.0,
    weight_average: float = 0.0,
    path_strength: float | None = None,
    **makers: Any,
) -> Recipe:
    """Read the parameters that both classifiers have, and return the recipe.

    Parameters
    ----------
    estimator : BinaryClassifier
        Its parameters are valid.
    data : CheckedData
    solver : str
        The solver, never ``"auto"``.
    is_partial : bool
        Whether this is one pass of ``partial_fit``.
    is_random : bool, default=True
        Whether the fit draws random numbers.
    n_models, calibrates, label_smoothing, weight_average, path_strength, **makers
        Fields of the recipe.

    Raises
    ------
    ValueError
        If parameters contradict each other or the data.
    """
    threshold = _threshold_fields(estimator, data)
    stopping = _stopping_fields(estimator, data, solver, is_partial=is_partial)
    random_state = make_random_state(estimator.random_state) if is_random else None
    is_auto_batch_size = estimator.batch_size == "auto"
    return Recipe(
        estimator_name=type(estimator).__name__,
        device=resolve_device(estimator.device, data.given),
        solver=solver,
        path_strength=None if stopping["stops_early"] else path_strength,
        random_state=random_state,
        fold_random_state=_fold_random_state(random_state, estimator.random_state),
        n_models=n_models,
        calibrates=calibrates,
        batch_size=_AUTO_BATCH_SIZE if is_auto_batch_size else int(estimator.batch_size),
        is_auto_batch_size=is_auto_batch_size,
        shuffle=estimator.shuffle,
        learning_rate_init=estimator.learning_rate_init,
        label_smoothing=label_smoothing,
        weight_average=weight_average,
        class_weight=estimator.class_weight,
        is_partial=is_partial,
        **stopping,
        **threshold,
        **makers,
    )


def _stopping_fields(
    estimator: Any, data: CheckedData, solver: str, *, is_partial: bool
) -> dict[str, Any]:
    """Return the fields that say when training stops."""
    scorer = check_monitor(estimator.monitor)
    early = _stops_early(estimator, data, solver, scorer, is_partial=is_partial)
    if scorer is not None and not (early or is_partial) and data.validation is None:
        raise ValueError(
            f"monitor must have validation rows, got monitor={estimator.monitor!r} with "
            "early_stopping=False and no X_val. Set early_stopping=True, or pass X_val and y_val."
        )
    max_iter = 1 if is_partial else estimator.max_iter
    validated_patience = _patience(estimator, max_iter, _LONG_PATIENCE)
    usual_patience = _patience(estimator, max_iter, _USUAL_PATIENCE)
    # Fewer rows than are enough for a validation set.
    has_few_rows = estimator.early_stopping == "auto" and not early and data.validation is None
    return {
        "max_iter": max_iter,
        "tol": estimator.tol,
        "early_stopping": estimator.early_stopping,
        "stops_early": early,
        "chooses_epochs": has_few_rows and solver in MINIBATCH_SOLVERS and not is_partial,
        "epochs_are_chosen": False,
        "patience": validated_patience if early else usual_patience,
        "validated_patience": validated_patience,
        "ensemble_patience": _patience(estimator, max_iter, _ENSEMBLE_PATIENCE),
        "auto_patience": usual_patience,
        "validation_fraction": estimator.validation_fraction,
        "scorer": scorer,
    }


def _threshold_fields(estimator: Any, data: CheckedData) -> dict[str, Any]:
    """Return the fields that say what the threshold is, or what it is chosen for."""
    parsed = parse_threshold(estimator.threshold)
    is_number = isinstance(parsed, float)
    positive = positive_index(estimator.pos_label, data.classes)
    if not is_number and data.validation is not None:
        _check_can_choose(data)
    return {
        "objective": None if is_number else parsed,
        "threshold": parsed if is_number else _USUAL_THRESHOLD,
        "positive": positive,
        "threshold_parameter": estimator.threshold,
        "pos_label_parameter": estimator.pos_label,
    }


def _stops_early(
    estimator: Any, data: CheckedData, solver: str, scorer: Any, *, is_partial: bool
) -> bool:
    """Whether validation rows decide when to stop. ``"auto"`` depends on the data."""
    if estimator.early_stopping != "auto":
        return bool(estimator.early_stopping)
    is_requested = scorer is not None or data.validation is not None
    is_useful = is_requested or data.n_samples >= ENOUGH_ROWS or data.stream is not None
    return solver in MINIBATCH_SOLVERS and not is_partial and is_useful


def _patience(estimator: Any, max_iter: int, auto: int) -> float:
    """Return the number of epochs without improvement before training stops."""
    if estimator.n_iter_no_change != "auto":
        return float(estimator.n_iter_no_change)
    patience = auto if estimator.early_stopping == "auto" else _USUAL_PATIENCE
    # A patience of all epochs is a request for a fixed number of epochs, without a warning at
    # max_iter.
    return min(patience, max_iter - 1)


def make_random_state(parameter: Any) -> np.random.RandomState:
    """Return the random state of a fit. None means fresh random numbers.

    They do not come from NumPy's global state, which a fit does not change.
    """
    if parameter is None:
        seed = same_value(lambda: int(np.random.default_rng().integers(2**32)))
        return np.random.RandomState(seed)
    random_state = check_random_state(parameter)
    if random_state is parameter:
        pin_random_state(random_state)
    return random_state


def _fold_random_state(random_state: Any, parameter: Any) -> Callable[[], np.random.RandomState]:
    """Return what makes the random state for the folds on which a threshold is chosen.

    It is a copy, so that a fit ends with the same weights as with a number as threshold. If a fit
    draws no random numbers, its threshold is not random, either. Most fits need no such folds, and
    a copy takes as long as the rest of a recipe.
    """
    before = None if random_state is None else random_state.get_state()

    def make() -> np.random.RandomState:
        if before is None:
            return copy.deepcopy(check_random_state(0 if parameter is None else parameter))
        copied = np.random.RandomState()
        copied.set_state(before)
        return copied

    return make


def _check_can_choose(data: CheckedData) -> None:
    """Check that a threshold can be chosen on the validation set ``X_val``, if there is one."""
    validation = data.validation
    if validation is None:
        return
    y, weight = validation.y, validation.sample_weight
    found = np.unique(y if weight is None else y[weight > 0])
    found = np.unique(np.concatenate(data.processes.gather(found)))
    if len(found) < 2:
        raise ValueError(
            f"y_val must hold both classes, {data.classes.tolist()}, to choose a threshold on, got "
            f"{found.tolist()}. Add rows of the other class, or set threshold to a number."
        )
