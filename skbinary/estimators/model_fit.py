"""ModelFit: one model with its data, ready for training, and its result."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skbinary.callbacks.monitor import ModelUnderTraining, make_validation_score, validation_rows
from skbinary.checkpoints.session import next_recorder
from skbinary.data.checked import CheckedData
from skbinary.data.conversion import as_tensor
from skbinary.data.dataset import Dataset
from skbinary.data.folds import Fold, draw_hold_out
from skbinary.data.preparation import Split, build_dataset
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.data.streamed_preparation import build_streamed_dataset
from skbinary.estimators.fitted_state import fitted_state
from skbinary.estimators.minibatch_setup import make_minibatch_setup
from skbinary.estimators.path_fit import PathFit
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.state import FittedState
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.make_batch import make_batch
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.runtime.device import full_precision
from skbinary.runtime.memory import is_out_of_memory
from skbinary.runtime.threads import ThreadPool
from skbinary.runtime.warnings import warn
from skbinary.solvers.loop import train
from skbinary.solvers.minibatch.distributed import DistributedMiniBatch
from skbinary.solvers.minibatch.dropout import prefetched_bytes
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.solvers.minibatch.streamed import StreamedMiniBatch
from skbinary.solvers.recording import Recorder, recorded_outcomes
from skbinary.solvers.result import DivergedError, FitResult, StopReason, convergence_warning
from skbinary.solvers.run import Observer, Solver
from skbinary.solvers.stopping import MonitoredCurve, StoppingCriteria

_ENDS_OF_A_PATH = (StopReason.CONVERGED, StopReason.INTERRUPTED)


@dataclass(frozen=True)
class SingleFit:
    """A full-batch solver for one model.

    Parameters
    ----------
    dataset : Dataset
        The rows.
    """

    dataset: Dataset


@dataclass
class ModelFit:
    """One model with its data, ready for training, and its result.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    criteria : StoppingCriteria
        When training stops.
    how : MiniBatchSetup, PathFit or SingleFit
        The rows, and the kind of solver.
    start : Tensor of shape (n_values,)
        The parameters to start from, and the buffers of a module.
    split : Split
        The training set and the validation set.
    previous : FittedState or None
        The model to continue from.
    fold : Fold or None
        The rows to hold out, if the caller decides.
    observers : list of Observer
        Notified of every epoch.
    earlier : FitResult or None
        The result of the training in a batch of models that this one continues.

    Attributes
    ----------
    error : Exception or None
        The error that ended the fit.
    result : FitResult or None
        The result of training.
    state : FittedState or None
        The fitted model.
    seconds : float
        The training time of its batch, divided by the number of models.
    needs_single_fit : bool
        Whether it must be trained singly, since the solver for batches did not converge.
    """

    recipe: Recipe
    data: CheckedData
    criteria: StoppingCriteria
    how: MiniBatchSetup | PathFit | SingleFit
    start: Tensor
    split: Split
    previous: FittedState | None = None
    fold: Fold | None = None
    observers: list[Observer] = field(default_factory=list)
    earlier: FitResult | None = None
    error: Exception | None = None
    result: FitResult | None = None
    state: FittedState | None = None
    seconds: float = 0.0
    needs_single_fit: bool = False

    def batch_key(self) -> tuple[Hashable, ...]:
        """Return a key that is equal for models that can be trained in one batch."""
        recipe, how = self.recipe, self.how
        shape = recipe.architecture.batch_key()
        if isinstance(how, SingleFit) or not how.dataset.processes.is_one:
            return "single", id(how)
        if isinstance(how, PathFit):
            return "path", shape, id(how.dataset), str(recipe.device)
        # Folds may differ by a few rows, which then do not count. A module may read them.
        n_rows = None if recipe.architecture.is_row_wise else how.dataset.n_samples
        return (
            "minibatch", shape, n_rows, str(recipe.device), type(how.dataset.rows), how.n_batches,
            how.batch_size, type(how.optimizer), how.dropout is None, how.l2_penalty.per_batch,
            how.weight_average > 0, self.recipe.label_smoothing, how.n_epochs,
        )  # fmt: skip

    @property
    def n_bytes_per_step(self) -> int:
        """Memory that a step reads or writes for this model."""
        architecture = self.recipe.architecture
        if not isinstance(self.how, MiniBatchSetup):
            return 8 * 20 * architecture.n_parameters  # with the changes that L-BFGS keeps
        # Value, gradient and two averages; value and error of each unit.
        units = self.how.batch_size * architecture.n_units
        # Angle, cosine and error of each wave of an embedding, and its outputs.
        waves = self.how.batch_size * architecture.n_waves
        # A moving average keeps the average and the trained weights besides the parameters.
        n_copies = 6 if self.how.weight_average else 4
        return 4 * (n_copies * architecture.n_parameters + 2 * units + 4 * waves)

    @property
    def n_products_per_step(self) -> int:
        """Multiplications by weights in the forward pass of a step."""
        how = self.how
        size = how.batch_size if isinstance(how, MiniBatchSetup) else how.dataset.n_samples
        return size * self.recipe.architecture.n_products

    @property
    def n_bytes(self) -> int:
        """Memory for this model in a batch of models, with a few numbers for each row."""
        how, masks = self.how, 0
        if isinstance(how, MiniBatchSetup) and how.dropout and how.dataset.device.type != "cpu":
            masks = prefetched_bytes(how.batch_size, self.recipe.architecture.hidden)
        return self.n_bytes_per_step + 16 * how.dataset.n_samples + masks

    @property
    def is_interrupted(self) -> bool:
        """Whether training was interrupted before its end."""
        if self.result is None:
            return self.error is None and not self.needs_single_fit
        return self.result.stop_reason is StopReason.INTERRUPTED

    def train(self) -> None:
        """Train the model singly.

        Raises
        ------
        DivergedError
            If a loss or a weight is no longer a finite number.
        """
        recorder = next_recorder()
        with ThreadPool.on(self.recipe.device) as pool:
            self._keep(self.train_on(pool, recorder))

    def train_on(self, pool: ThreadPool, recorder: Recorder | None) -> FitResult:
        """Train the model singly on the threads of a pool, or read what was recorded."""
        recorded = recorded_outcomes(recorder, [self.observers])
        if recorded is None:
            return train(self.step(pool), self.criteria, self.observers, recorder)
        if isinstance(recorded[0], DivergedError):
            raise recorded[0]
        return recorded[0]

    def step(self, pool: ThreadPool) -> Solver:
        """Return the solver for this model."""
        how, recipe = self.how, self.recipe
        if isinstance(how, MiniBatchSetup):
            # The optimizer of the setup changes these parameters in place.
            model_batch = make_batch(recipe.architecture, self.start[None])
            earlier = self.previous.optimizer_state if self.previous and recipe.is_partial else None
            if not how.dataset.processes.is_one:
                return DistributedMiniBatch(model_batch, how)
            kind = StreamedMiniBatch if isinstance(how.dataset, StreamedDataset) else MiniBatch
            return kind(model_batch, how, earlier=earlier, pool=pool)
        if isinstance(recipe.architecture, ModuleArchitecture):
            raise AssertionError("modules are trained in mini-batches")
        like = how.dataset.target
        parameters = self.start[None].to(device=like.device, dtype=like.dtype).clone()
        model_batch = ModelBatch(recipe.architecture, parameters)
        return recipe.full_batch_step(model_batch, how.dataset, pool)

    def end(self, outcome: FitResult | Exception, seconds: float) -> None:
        """Keep the result of training in a batch."""
        self.seconds = seconds
        if isinstance(outcome, Exception):
            self.error = outcome
        elif isinstance(self.how, PathFit) and outcome.stop_reason not in _ENDS_OF_A_PATH:
            self.needs_single_fit = True
        else:
            try:
                self._keep(outcome)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self.error = error

    def warn(self) -> None:
        """Warn if training did not converge."""
        message = None if self.result is None else convergence_warning(self.result, self.criteria)
        if message is not None:
            warn(message, UserWarning if self.is_interrupted else ConvergenceWarning)

    def state_of(self, result: FitResult) -> FittedState:
        """Return the fitted state with the parameters and curves of a result."""
        return fitted_state(self.recipe, self.data.classes, result, self.previous)

    def _keep(self, result: FitResult) -> None:
        self.state = self.state_of(result)
        self.result = result  # last, since a model with a result counts as trained


def prepare_model(
    recipe: Recipe,
    data: CheckedData,
    *,
    fold: Fold | None = None,
    previous: FittedState | None = None,
    path: PathFit | None = None,
) -> ModelFit:
    """Prepare one model for training.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    fold : Fold or None, default=None
        The rows to hold out.
    previous : FittedState or None, default=None
        The model to continue from.
    path : PathFit or None, default=None
        The rows, if the model is solved on a path of penalties.
    """
    start = _start(recipe, previous)
    how: MiniBatchSetup | PathFit | SingleFit
    if path is not None:
        how, split = path, Split(path.dataset, path.dataset.n_samples)
    else:
        split = _split(recipe, data, fold)
        how = SingleFit(split.dataset)
        if recipe.in_batches:
            start = start.to(device=recipe.device, dtype=split.dataset.target.dtype)
            trained = start[None, : recipe.architecture.n_parameters]
            how = make_minibatch_setup(recipe, data, split.dataset, trained, previous)
    criteria = stopping_criteria(recipe, data, split)
    return ModelFit(recipe, data, criteria, how, start, split, previous, fold)


def _start(recipe: Recipe, previous: FittedState | None) -> Tensor:
    """Return the parameters to start from: new ones, or those of the last fit."""
    architecture = recipe.architecture
    if previous is None:
        return recipe.initial_parameters(architecture, recipe.random_state)
    if isinstance(architecture, ModuleArchitecture):
        if previous.module is None:
            raise AssertionError("a module goes on from a module")
        return architecture.pack(previous.module.tensors())
    old, new = previous.architecture.embedding, architecture.embedding
    if old != new:
        n_old, n_new = (0 if each is None else len(each.columns) for each in (old, new))
        raise ValueError(
            f"numeric_embedding must embed {n_old} features, as in the last fit, to continue from "
            f"it, got {n_new}. Set warm_start=False to start anew."
        )
    if previous.layers != architecture.layers:
        raise ValueError(
            f"Layers must have the shapes {previous.layers} to continue from the last fit, got "
            f"{architecture.layers}. Set warm_start=False to start anew."
        )
    weights, biases = map(as_tensor, previous.dense_weights()), map(as_tensor, previous.biases)
    embedding = previous.embedding or {}
    others = [as_tensor(each) for name, each in embedding.items() if name != "columns"]
    return architecture.pack(weights, biases, others)


def _split(recipe: Recipe, data: CheckedData, fold: Fold | None) -> Split:
    """Move the rows to the device, and split them into training and validation set."""
    batches, size = recipe.in_batches, recipe.batch_size
    holds_out = recipe.stops_early and data.validation is None
    held_out = fold
    if holds_out and fold is None:
        fraction = recipe.validation_fraction
        held_out = draw_hold_out(data, recipe.class_weight, fraction, recipe.random_state)
    if data.stream is not None:
        return build_streamed_dataset(
            data,
            class_weight=recipe.class_weight,
            device=recipe.device,
            dtype=torch.float32 if batches else full_precision(recipe.device),
            label_smoothing=recipe.label_smoothing,
        )
    split = build_dataset(
        data,
        class_weight=recipe.class_weight,
        device=recipe.device,
        dtype=torch.float32 if batches else full_precision(recipe.device),
        convert=batches,
        # A batch of all rows is the objective itself, in which duplicate rows can be merged.
        # A module may read the other rows of a batch.
        merge_up_to=size if batches and recipe.architecture.is_row_wise else 0,
        fold=held_out,
        validates=holds_out,
        shares=fold is not None,
    )
    if batches and not recipe.is_auto_batch_size and size > split.n_samples:
        warn(
            f"batch_size must be at most the number of training rows, {split.n_samples}, got "
            f"{size}. One batch of all rows is used."
        )
    return split


def stopping_criteria(recipe: Recipe, data: CheckedData, split: Split) -> StoppingCriteria:
    """Return when the training of a model stops."""
    validation, score = split.dataset.validation, None
    if recipe.scorer is not None and validation is not None:
        rows = validation_rows(data, split)
        model = ModelUnderTraining(data.classes, recipe.threshold, recipe.positive)
        score = make_validation_score(recipe.scorer, rows, validation, model)
    monitored: MonitoredCurve | None = "objective" if recipe.in_batches else None
    if recipe.stops_early:
        monitored = "validation_loss" if score is None else "validation_score"
    return StoppingCriteria(
        max_iter=recipe.max_iter,
        tol=recipe.tol,
        n_iter_no_change=recipe.patience,
        monitored=monitored,
        threshold=recipe.threshold,
        positive=recipe.positive,
        score=score,
    )
