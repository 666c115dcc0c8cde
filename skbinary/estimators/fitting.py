"""From what a call of ``fit`` has settled to a fitted model: rows, solver, ends, attributes."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skbinary.callbacks.monitor import ModelUnderTraining, validation_rows, validation_score
from skbinary.callbacks.sklearn import Printer, ScikitLearnCallbacks
from skbinary.data.dataset import Dataset
from skbinary.data.preparation import (
    CheckedData,
    Split,
    build_dataset,
    compressed_rows,
    draw_hold_out,
)
from skbinary.data.rows import Source
from skbinary.data.validation import as_tensor
from skbinary.estimators.fit_context import FitContext
from skbinary.estimators.state import FittedModel
from skbinary.models.batch_of_models import Architecture, ModelBatch
from skbinary.runtime.device import full_precision, generator
from skbinary.runtime.threads import ThreadPool
from skbinary.runtime.warnings import warn
from skbinary.solvers.loop import Observer, Run, Step, convergence_warning, train
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.single import L2Penalty, MiniBatch, MiniBatchSetup
from skbinary.solvers.result import FitResult, StopReason
from skbinary.solvers.stopping import StoppingCriteria, Watched

_OF_SOME_FITS = (
    *("_optimizer_state", "threshold_curve_", "threshold_interval_"),
    *("oof_decision_function_", "oof_loss_"),
)
# What n_iter_no_change="auto" means: scikit-learn's patience, and with early_stopping="auto" that
# of a single network and of each member of an ensemble. On the tables of docs/quality.md more does
# not improve a network, and less costs ROC AUC where positives are few; for an ensemble, 5 instead
# of 24 takes two fifths of the time and costs a thousandth of a nat.
_USUAL_PATIENCE, _LONG_PATIENCE, _MEMBER_PATIENCE = 10, 24, 5
_BATCH_ROWS = 200  # the batch_size="auto" of scikit-learn's MLPClassifier


class TrainedModel(FittedModel):
    """A model that is trained as was settled, and becomes what was learnt.

    Subclasses say what their parameters mean to the solvers.
    """

    # What early stopping watches by default: in accuracy also where there are few rows.
    _usual_monitor = "loss"

    tol: float
    shuffle: bool
    early_stopping: bool | str
    monitor: Any
    validation_fraction: float
    n_iter_no_change: float | str
    class_weight: Any
    callbacks: Any
    learning_rate_init: float

    # -- what a subclass says ---------------------------------------------------------------

    @abstractmethod
    def _l2_penalty(self) -> L2Penalty:
        """Give the penalty on the weights."""

    @abstractmethod
    def _schedule(self, n_batches: int) -> Schedule:
        """Give the learning rates of a mini-batch solver."""

    @abstractmethod
    def _optimizer(self, parameters: Tensor, solver: str, state: Any) -> Adam | SGD:
        """Give the update rule of a mini-batch solver."""

    @abstractmethod
    def _full_batch_step(
        self, model_batch: ModelBatch, dataset: Dataset, solver: str, pool: ThreadPool
    ) -> Step:
        """Give a solver that sees all rows at once."""

    @abstractmethod
    def _initial_parameters(self, architecture: Architecture, random_state: Any) -> Tensor:
        """Give the weights and biases to start from, flat."""

    @abstractmethod
    def _as_attributes(
        self,
        weights: list[NDArray[Any]],
        biases: list[NDArray[Any]],
        result: FitResult,
        training: FitContext,
    ) -> dict[str, Any]:
        """Give the fitted attributes that are this class's own."""

    # -- training ---------------------------------------------------------------------------

    def _train_one(
        self,
        training: FitContext,
        *,
        goes_on: bool,
        n_epochs: int,
        context: Any = None,
        keep_state: bool = False,
    ) -> tuple[Split, FitResult]:
        """Train one model, and tell which rows it has seen."""
        start = self._start(training, goes_on=goes_on)
        split = self._split(training)
        criteria = self._stopping_criteria(training, split, n_epochs)
        observers = self._observers(training, split, context)
        with ThreadPool.on(training.device) as pool:
            step = self._step(training, split.dataset, start, pool)
            result = train(step, criteria, observers)
        self._take_over(result, training)
        if keep_state:
            self._optimizer_state = {name: _plain(value) for name, value in result.state.items()}
        else:
            self._warn_unless_finished(result, criteria)
        return split, result

    def _start(self, training: FitContext, *, goes_on: bool) -> Tensor:
        if goes_on:
            return self._fitted_parameters(training.architecture)
        return self._initial_parameters(training.architecture, training.random_state)

    def _split(self, training: FitContext) -> Split:
        data, device, batches = training.data, training.device, training.in_batches
        holds_out = training.stops_early and data.validation is None
        wanted, fold = self._wanted_rows(), training.fold
        if holds_out and fold is None:
            fold = draw_hold_out(
                data, self.class_weight, self.validation_fraction, training.random_state
            )
        split = build_dataset(
            data,
            class_weight=self.class_weight,
            device=device,
            dtype=torch.float32 if batches else full_precision(device),
            convert=batches,
            # One batch is the whole objective, in which equal rows can be one row.
            merge_up_to=wanted if batches else 0,
            fold=fold,
            validates=holds_out,
            shares=training.fold is not None,
        )
        if batches and self.batch_size != "auto" and wanted > split.n_samples:
            warn(
                f"batch_size must be at most the number of training rows, {split.n_samples}, got "
                f"{self.batch_size}. One batch of all rows is used."
            )
        return split

    def _wanted_rows(self) -> int:
        return _BATCH_ROWS if self.batch_size == "auto" else int(self.batch_size)

    def _batch_rows(self, n_samples: int) -> int:
        return min(self._wanted_rows(), n_samples)

    def _step(
        self, training: FitContext, dataset: Dataset, start: Tensor, pool: ThreadPool
    ) -> Step:
        parameters = start[None].to(device=dataset.device, dtype=dataset.target.dtype).clone()
        model_batch = ModelBatch(training.architecture, parameters)
        if not training.in_batches:
            return self._full_batch_step(model_batch, dataset, training.solver, pool)
        setup = self._minibatch_setup(training, dataset, parameters)
        return MiniBatch(model_batch, setup, n_seen=training.n_seen, pool=pool)

    def _minibatch_setup(
        self, training: FitContext, dataset: Dataset, parameters: Tensor
    ) -> MiniBatchSetup:
        """Settle how batches train the parameters."""
        batch_size = self._batch_rows(dataset.n_samples)
        rates = training.architecture.dropout
        dropout, l2_penalty = None, self._l2_penalty()
        if any(rates):
            # Moved on by the rows seen, so that calls of partial_fit do not repeat their noise.
            seed = training.seed() + training.n_seen
            dropout = Dropout(rates, generator(seed, dataset.device))
        return MiniBatchSetup(
            dataset,
            self._optimizer(parameters, training.solver, training.state),
            self._schedule(math.ceil(dataset.n_samples / batch_size)),
            batch_size=batch_size,
            l2_penalty=replace(
                l2_penalty,
                strength=dataset.penalty(l2_penalty.strength),
                # What tiny weights leave of the losses is nothing beside the penalty.
                most=max(l2_penalty.strength, 1 / self.learning_rate_init),
            ),
            shuffler=training.random_state if self.shuffle else None,
            dropout=dropout,
            compressed=self._compressed(training, dataset, batch_size),
        )

    @staticmethod
    def _compressed(training: FitContext, dataset: Dataset, batch_size: int) -> Source | None:
        # A single pass is over before compression pays.
        if training.is_partial:
            return None
        width = training.architecture.layers[0][1]
        return compressed_rows(training.data, dataset.rows, width, batch_size)

    def _stopping_criteria(
        self, training: FitContext, split: Split, n_epochs: int
    ) -> StoppingCriteria:
        validation, data = split.dataset.validation, training.data
        score, by_score = None, training.scorer is not None
        if (
            training.scorer is not None
            and validation is not None
            and (self.monitor != self._usual_monitor)
        ):
            rows = validation_rows(data.validation, data.train, split)
            model = ModelUnderTraining(data.classes, training.threshold, training.positive)
            score = validation_score(training.scorer, rows, validation, model)
            by_score = score is not None
        watches: Watched | None = "objective" if training.in_batches else None
        if training.stops_early:
            watches = "validation_score" if by_score else "validation_loss"
        return StoppingCriteria(
            max_iter=n_epochs,
            tol=self.tol,
            n_iter_no_change=self._patience(training, n_epochs),
            watches=watches,
            threshold=training.threshold,
            positive=training.positive,
            score=score,
        )

    def _patience(self, training: FitContext, n_epochs: int, *, is_member: bool = False) -> float:
        """Return after how many epochs without improvement the training stops."""
        if self.n_iter_no_change != "auto":
            return float(self.n_iter_no_change)
        patience = _USUAL_PATIENCE
        if self.early_stopping == "auto" and (training.stops_early or is_member):
            patience = _MEMBER_PATIENCE if is_member else _LONG_PATIENCE
        # A patience of all epochs is a request for a fixed number of epochs, without a warning
        # at max_iter.
        return min(patience, n_epochs - 1)

    def _observers(self, training: FitContext, split: Split, context: Any) -> list[Observer]:
        data = training.data
        observers: list[Observer] = []
        if self.callbacks:
            from skbinary.callbacks.skorch import Rows, SkorchHost

            rows = Rows(data, split)
            settings = self._net_settings(training.device)
            observers.append(SkorchHost(self.callbacks, rows, data.classes, settings))
        if self.verbose:
            observers.append(Printer(int(self.verbose)))
        if context is not None and getattr(self, "_skl_callbacks", None):

            def snapshot(run: Run) -> dict[str, Any]:
                return self._all_attributes(run.result(None), training)

            seen = self._seen_by_callbacks(data)
            observers.append(ScikitLearnCallbacks(self, context, seen, snapshot))
        return observers

    @staticmethod
    def _seen_by_callbacks(data: CheckedData) -> dict[str, Any]:
        weight = data.train.sample_weight
        metadata = None if weight is None else {"sample_weight": weight}
        # X as it was given: what scores it wants its names and shape.
        return {"X": data.given, "y": data.train.y, "metadata": metadata}

    def _take_over(self, result: FitResult, training: FitContext) -> None:
        """Become what was learnt."""
        self._become(self._all_attributes(result, training))

    def _become(self, attributes: dict[str, Any]) -> None:
        """Take attributes over, and forget what belongs to an earlier fit."""
        for name in _OF_SOME_FITS:
            self.__dict__.pop(name, None)
        for name, value in attributes.items():
            setattr(self, name, value)

    def _fitted_parameters(self, architecture: Architecture) -> Tensor:
        weights, biases = self._weights()
        shapes = [each.shape for each in weights]
        if shapes != architecture.layers:
            raise ValueError(
                f"Layers must have the shapes {shapes} to go on from the last fit, got "
                f"{architecture.layers}. Set warm_start=False to start anew."
            )
        return architecture.pack(map(as_tensor, weights), map(as_tensor, biases))

    def _all_attributes(self, result: FitResult, training: FitContext) -> dict[str, Any]:
        architecture, earlier = training.architecture, training.earlier
        weights, biases = architecture.unpack(result.parameters[None].cpu())
        reason = result.stop_reason
        common = {
            "classes_": training.data.classes,
            "device_": str(training.device),
            "history_": _joined(earlier, result.history),
            "best_epoch_": result.best_epoch + len(earlier.get("loss", ())),
            "stop_reason_": None if reason is None else reason.value,
            # Where an objective is to settle it, it is the usual one until then.
            "threshold_": training.threshold,
            "_threshold_for": self.threshold,
            "_pos_label_for": self.pos_label,
        }
        own = self._as_attributes(
            [_array(each[0]) for each in weights],
            [_array(each[0, 0]) for each in biases],
            result,
            training,
        )
        return common | own

    def _warn_unless_finished(self, result: FitResult, criteria: StoppingCriteria) -> None:
        message = convergence_warning(result, criteria)
        if message is not None:
            interrupted = result.stop_reason is StopReason.INTERRUPTED
            warn(message, UserWarning if interrupted else ConvergenceWarning)


def _joined(earlier: dict[str, list[float]], new: dict[str, list[float]]) -> dict[str, list[float]]:
    """Lay curves end to end, with NaN where one of them has nothing to say."""
    n_earlier, n_new = len(earlier.get("loss", ())), len(new["loss"])
    return {
        name: earlier.get(name, [math.nan] * n_earlier) + new.get(name, [math.nan] * n_new)
        for name in {**earlier, **new}
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _plain(value: Any) -> Any:
    return _array(value) if isinstance(value, Tensor) else value
