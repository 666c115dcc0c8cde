"""Runs skorch callbacks during a fit."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    InputShapeSetter,
    LRScheduler,
    ParamMapper,
    TensorBoard,
    WandbLogger,
)
from skorch.dataset import Dataset
from skorch.utils import data_from_dataset
from torch import Tensor
from torch.utils.data import Subset

from skbinary.callbacks.skorch_batches import BatchNotifier
from skbinary.callbacks.skorch_net import HISTORY_COLUMNS, BinaryNet, build_net, record_epoch
from skbinary.data.checked import CheckedData
from skbinary.data.preparation import Split
from skbinary.models.make_batch import AnyBatch
from skbinary.models.module_batch import ModuleBatch
from skbinary.models.torch_module import AnyModule, ModuleOfLogits, build_module
from skbinary.runtime.warnings import warn
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.solvers.run import Run

_VALIDATION_COLUMNS = {"valid_loss", "valid_loss_best", "valid_acc", "valid_acc_best"}
_BATCH_METHODS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Callbacks whose own batch methods need not be called: scores are computed from whole epochs, and
# TensorBoard only records that there was a batch.
_EPOCH_LEVEL = (Callback, EpochScoring, TensorBoard)
_HAS_SAFETENSORS = importlib.util.find_spec("safetensors") is not None


class SkorchDatasets:
    """The training and validation sets that skorch callbacks receive, with the user's labels.

    Parameters
    ----------
    data : CheckedData
        The data passed to ``fit``.
    split : Split
        Which rows were held out for validation.
    """

    def __init__(self, data: CheckedData, split: Split):
        self.X, self.y = data.train.X, data.train.y
        self.validation: Any = None
        every_row = Dataset(self.X, self.y)
        self.train = every_row if split.train is None else Subset(every_row, split.train.tolist())
        if split.held_out is not None:
            self.validation = Subset(every_row, split.held_out.tolist())
        elif data.validation is not None:
            self.validation = Dataset(data.validation.X, data.validation.y)

    def as_kwargs(self) -> dict[str, Any]:
        """Return both sets as the keyword arguments of skorch's epoch methods."""
        return {"dataset_train": self.train, "dataset_valid": self.validation}


class SkorchCallbacks:
    """An observer of the training loop that calls skorch callbacks.

    Callbacks with epoch-level methods cost nothing per batch. Those with batch-level methods
    (``on_batch_end``, ``on_grad_computed``) cost a second forward pass over each batch.

    Parameters
    ----------
    callbacks : sequence
        Callbacks, callback classes or (name, callback) pairs, as skorch takes them.
    datasets : SkorchDatasets
        The data that callbacks receive.
    classes : ndarray of shape (2,)
        The labels, sorted.
    settings : dict
        Further arguments of ``build_net``.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        datasets: SkorchDatasets,
        classes: NDArray[np.generic],
        settings: dict[str, Any],
    ):
        self.callbacks = callbacks
        self.datasets = datasets
        self.classes = classes
        self.settings = settings

    def train_begin(self, run: Run) -> None:
        """Build the net on the weights in training, check the callbacks, and call them."""
        self.net = self._build_net(run)
        for _, callback in self.net.callbacks_:
            self._check_callback(callback, run)
        self._batch_notifier: BatchNotifier | None = None
        has_batch_level = any(_is_batch_level(callback) for _, callback in self.net.callbacks_)
        if has_batch_level and isinstance(run.solver, MiniBatch):
            self._batch_notifier = BatchNotifier(self.net, run, self._pull_learning_rate)
            run.solver.hooks = self._batch_notifier
        self.net.notify("on_train_begin", X=self.datasets.X, y=self.datasets.y)
        for _, callback in self.net.callbacks_:
            _check_policy(getattr(callback, "lr_scheduler_", None))
        self._pull_learning_rate(run)

    def epoch_begin(self, run: Run) -> None:
        """Call ``on_epoch_begin``."""
        self._push_learning_rate(run)
        self.net.notify("on_epoch_begin", **self.datasets.as_kwargs())
        # torch's schedulers warn unless the optimizer has made a step. Without gradients the step
        # changes nothing.
        self.net.optimizer_.step()

    def epoch_end(self, run: Run) -> bool:
        """Record the epoch, call ``on_epoch_end``, and return whether training should stop."""
        if self._batch_notifier is not None:
            self._batch_notifier.validate()
        else:
            self._record_epoch_as_batch(run)
        self._fill_prediction_caches()
        record_epoch(
            self.net, {name: run.history[name] for name in HISTORY_COLUMNS if name in run.history}
        )
        own_columns = set(self.net.history[-1])
        stop = False
        try:
            self.net.notify("on_epoch_end", **self.datasets.as_kwargs())
        except KeyboardInterrupt:
            # skorch's EarlyStopping raises KeyboardInterrupt to stop, as Ctrl-C does.
            if not any(_out_of_patience(callback) for _, callback in self.net.callbacks_):
                raise
            stop = True
        for name, value in self.net.history[-1].items():
            number = _as_number(value)
            if number is not None and name not in own_columns:
                run.log(name, number)
        self._pull_learning_rate(run)
        return stop

    def train_end(self, run: Run) -> None:
        """Call ``on_train_end``, in which callbacks may load the best weights."""
        try:
            self.net.notify("on_train_end", X=self.datasets.X, y=self.datasets.y)
        finally:
            if self.net.save_error_:  # skorch's callbacks are silent about it by default
                warn(f"A callback could not save its files: {self.net.save_error_}")
        for _, callback in self.net.callbacks_:
            run.best_epoch = _loaded_epoch(callback, self.net) or run.best_epoch

    def _build_net(self, run: Run) -> BinaryNet:
        module = _module_of(run.model_batch)
        batch_size = run.solver.batch_size if isinstance(run.solver, MiniBatch) else -1
        return build_net(
            module,
            self.classes,
            run.criteria.threshold,
            run.criteria.positive,
            callbacks=self.callbacks,
            **{**self.settings, "batch_size": batch_size},
        )

    def _record_epoch_as_batch(self, run: Run) -> None:
        """Record the epoch as a single batch, since Checkpoint and some loggers read batches."""
        history, datasets = self.net.history, self.datasets.as_kwargs()
        history.new_batch()
        for prefix, name in (("train", "loss"), ("valid", "validation_loss")):
            if name in run.history:
                history.record_batch(f"{prefix}_loss", run.history[name][-1])
                history.record_batch(f"{prefix}_batch_size", len(datasets[f"dataset_{prefix}"]))

    def _fill_prediction_caches(self) -> None:
        """Fill the prediction cache of scorings that read it themselves.

        skorch collects the predictions of the batches during an epoch. Here they are computed at
        the end of the epoch, once for all scorings.
        """
        predictions: dict[bool, tuple[Any, Tensor]] = {}
        for _, callback in self.net.callbacks_:
            if not _reads_prediction_cache(callback):
                continue
            on_train = bool(callback.on_train)
            dataset = self.datasets.train if on_train else self.datasets.validation
            if dataset is None:
                continue
            if on_train not in predictions:
                X, y = data_from_dataset(dataset)
                predictions[on_train] = y, torch.as_tensor(self.net.decision_function(X))
            y, logits = predictions[on_train]
            callback.y_trues_, callback.y_preds_ = [y], [logits]

    def _check_callback(self, callback: Any, run: Run) -> None:
        """Raise a ValueError if a callback cannot work in this fit."""
        name = type(callback).__name__
        if isinstance(callback, InputShapeSetter):
            raise ValueError(
                "callbacks must not contain InputShapeSetter, got one. Remove it: fit takes the "
                "number of features from X."
            )
        if getattr(callback, "use_safetensors", False) and not _HAS_SAFETENSORS:
            raise ValueError(
                f"use_safetensors of {name} must be False without the package safetensors, got "
                "True. Run 'python -m pip install safetensors', or remove use_safetensors."
            )
        monitor = self._missing_validation_monitor(callback)
        if monitor is not None:
            raise ValueError(
                f"monitor of {name} must be available without a validation set, got {monitor!r}. "
                "Pass X_val and y_val to fit, or set early_stopping=True."
            )
        if _is_batch_level(callback) and not isinstance(run.solver, MiniBatch):
            raise ValueError(
                f"The solver must be a mini-batch solver for {name}, got a full-batch solver. Use "
                "solver='adam' or solver='sgd'."
            )
        schedule = getattr(run.solver, "schedule", None)
        if isinstance(callback, LRScheduler) and type(schedule) is not Schedule:
            given = "a full-batch solver" if schedule is None else "another schedule"
            raise ValueError(
                f"The learning rate must be constant for {name}, got {given}. Use solver='adam' "
                "or solver='sgd' with learning_rate='constant'."
            )

    def _missing_validation_monitor(self, callback: Any) -> str | None:
        """Return the validation column that a callback monitors if there is no validation set."""
        monitor = getattr(callback, "monitor", None)
        if isinstance(callback, WandbLogger) and callback.save_model:
            monitor = "valid_loss_best"
        if self.datasets.validation is not None or monitor not in _VALIDATION_COLUMNS:
            return None
        is_scored = any(getattr(c, "name_", None) == monitor for _, c in self.net.callbacks_)
        return None if is_scored else monitor

    def _push_learning_rate(self, run: Run) -> None:
        """Show the learning rate of the step to the callbacks."""
        if isinstance(run.solver, MiniBatch):
            for group in self.net.optimizer_.param_groups:
                group["lr"] = run.solver.schedule.rate

    def _pull_learning_rate(self, run: Run) -> None:
        """Use the learning rate that a callback may have set."""
        if isinstance(run.solver, MiniBatch):
            run.solver.schedule.rate = float(self.net.optimizer_.param_groups[0]["lr"])


def _module_of(model_batch: AnyBatch) -> AnyModule:
    """Return a module on the memory of a model, so that callbacks see its current weights."""
    if isinstance(model_batch, ModuleBatch):
        architecture = model_batch.architecture
        return ModuleOfLogits(architecture, architecture.bind(model_batch.values)).eval()
    return build_module(
        model_batch.architecture,
        [w[0] for w in model_batch.weights],
        [b[0] for b in model_batch.biases],
        model_batch.embedding and model_batch.embedding.single(),
    )


def _check_policy(policy: Any) -> None:
    """Raise a ValueError if a scheduler changes the momentum, too."""
    if getattr(policy, "cycle_momentum", False):
        raise ValueError(
            f"cycle_momentum of {type(policy).__name__} must be False, got True. Pass "
            "cycle_momentum=False to LRScheduler: only the learning rate can be scheduled."
        )


def _as_number(value: Any) -> float | None:
    """Return a number or a boolean as a Python object, and None for anything else."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)) and value.shape == ():
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return value
    return float(value) if isinstance(value, Real) else None


def _is_batch_level(callback: Any) -> bool:
    """Return whether a callback has batch methods that must be called."""
    if isinstance(callback, ParamMapper):
        return True
    if isinstance(callback, LRScheduler):
        return callback.step_every == "batch"
    if getattr(callback, "log_on_batch_end", None) is False:  # skorch's loggers
        return False
    return any(
        getattr(type(callback), name, None) not in [getattr(kind, name) for kind in _EPOCH_LEVEL]
        for name in _BATCH_METHODS
    )


def _reads_prediction_cache(callback: Any) -> bool:
    """Return whether a scoring overrides ``on_epoch_end``, where it may read the cache."""
    overrides = isinstance(callback, EpochScoring) and (
        type(callback).on_epoch_end is not EpochScoring.on_epoch_end
    )
    return overrides and callback.use_caching


def _out_of_patience(callback: Any) -> bool:
    return isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience


def _loaded_epoch(callback: Any, net: BinaryNet) -> int | None:
    """Return the epoch whose weights a callback loaded in ``on_train_end``, or None."""
    if not getattr(callback, "load_best", False) or not len(net.history):
        return None
    if isinstance(callback, EarlyStopping):
        return int(callback.best_epoch_)
    if isinstance(callback, Checkpoint):
        saved = [row["epoch"] for row in net.history if row.get(callback.event_name)]
        return saved[-1] if saved else None
    return None
