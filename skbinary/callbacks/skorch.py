"""skorch at the edge: it hosts callbacks and history, and views a fitted model as a NeuralNet."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from skorch import NeuralNet
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
from skorch.utils import data_from_dataset, to_tensor
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Subset

from skbinary.data.checked import CheckedData
from skbinary.data.containers import check_sparse
from skbinary.data.preparation import Split
from skbinary.models.torch_module import LogitModule, MeanLogitModule, build_module
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.defaults import default_settings
from skbinary.runtime.warnings import warn
from skbinary.solvers.loop import Run
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.thresholds.decision import label

# Our curves under skorch's names, and what the best of them is.
_COLUMNS: dict[str, tuple[str | None, Any]] = {
    "loss": ("train_loss", min),
    "objective": (None, None),
    "learning_rate": (None, None),
    "seconds": ("dur", None),
    "validation_loss": ("valid_loss", min),
    "validation_score": ("valid_acc", max),
}
_OF_VALIDATION = {"valid_loss", "valid_loss_best", "valid_acc", "valid_acc_best"}
_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Their batch hooks are not needed: scores are computed from whole epochs, and TensorBoard only
# records that there was a batch.
_EPOCH_LEVEL = (Callback, EpochScoring, TensorBoard)
_HAS_SAFETENSORS = importlib.util.find_spec("safetensors") is not None


class BinaryNet(ClassifierMixin, NeuralNet):
    """A skorch net around one logit module, with labels in and labels out.

    ``predict_proba``, ``predict`` and ``score`` mean what they mean in the estimator. It is
    usable as any ``NeuralNet``: ``history``, ``module_``, ``save_params``, ``partial_fit``.
    """

    classes_: NDArray[np.generic]
    threshold_: float
    positive_: int  # index of the label that the threshold refers to
    save_error_ = ""  # of the last call of save_params that has failed

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Give the logits of rows, of shape (n_samples,)."""
        if isinstance(X, TorchDataset):
            X, _ = data_from_dataset(X)
        if sp.issparse(X):
            X = check_sparse(X)
        module = self.module_.eval()  # as in skorch, the next step of training switches it back
        parameter = next(module.parameters())
        with default_settings(), torch.no_grad():
            logits = [
                module(torch.as_tensor(_dense(X[chunk])).to(parameter)).cpu().numpy()
                for chunk in row_chunks(X.shape[0], int(np.prod(X.shape[1:])), parameter.device)
            ]
        return np.concatenate(logits)

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Give the probabilities of both classes, of shape (n_samples, 2)."""
        logits = self.decision_function(X)
        return np.column_stack([expit(-logits), expit(logits)])

    def predict(self, X: Any) -> NDArray[np.generic]:
        """Give the labels, of shape (n_samples,)."""
        return label(self.decision_function(X), self.threshold_, self.classes_, self.positive_)

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Give torch what it can learn from: dense rows and targets of 0 and 1."""
        if hasattr(X, "__getitem__") and hasattr(X, "shape"):
            dtype = next(self.module_.parameters()).cpu().detach().numpy().dtype
            X = _dense(X).astype(dtype, copy=False)
            y = None if y is None else (np.asarray(y) == self.classes_[1]).astype(dtype)
        return super().get_dataset(X, y)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Give the logits of a batch of rows of any precision."""
        parameter = next(self.module_.parameters())
        return super().infer(to_tensor(x, device=self.device).to(parameter.dtype), **fit_params)

    def save_params(self, *args: Any, use_safetensors: bool = False, **kwargs: Any) -> None:
        """Save parameters, optimizer, criterion or history to files, as skorch does."""
        try:
            if use_safetensors:
                with _copied_state(self.module_):
                    super().save_params(*args, use_safetensors=True, **kwargs)
            else:
                super().save_params(*args, **kwargs)
        except Exception as error:
            self.save_error_ = f"{type(error).__name__}: {error}"
            raise


class Rows:
    """The rows as callbacks see them: as the user gave them, with the labels.

    Parameters
    ----------
    data : CheckedData
        What ``fit`` was given.
    split : Split
        Which of the rows were held out.
    """

    def __init__(self, data: CheckedData, split: Split):
        self.X, self.y = data.train.X, data.train.y
        self.validation: Any = None
        whole = Dataset(self.X, self.y)
        self.train = whole if split.train is None else Subset(whole, split.train.tolist())
        if split.held_out is not None:
            self.validation = Subset(whole, split.held_out.tolist())
        elif data.validation is not None:
            self.validation = Dataset(data.validation.X, data.validation.y)

    def datasets(self) -> dict[str, Any]:
        """Give the training and the validation rows, as skorch names them."""
        return {"dataset_train": self.train, "dataset_valid": self.validation}


def view(
    module: LogitModule | MeanLogitModule,
    classes: NDArray[np.generic],
    threshold: float,
    positive: int = 1,
    *,
    callbacks: Sequence[Any] = (),
    history: dict[str, list[float]] | None = None,
    **settings: Any,
) -> BinaryNet:
    """Build a skorch net around a module.

    Parameters
    ----------
    module : LogitModule or MeanLogitModule
        Used as it is, not copied.
    classes : ndarray of shape (2,)
    threshold : float
    positive : int, default=1
        Index of the label that the threshold refers to.
    callbacks : sequence of skorch callbacks
    history : dict of list of float
        The curves of a finished training, to be shown in the net's own history.
    **settings
        ``lr``, ``max_epochs``, ``batch_size``, ``device``, ``verbose``, ``optimizer``.

    Returns
    -------
    BinaryNet
        Initialized.
    """
    net = BinaryNet(
        module,
        criterion=torch.nn.BCEWithLogitsLoss,
        train_split=None,
        callbacks=list(callbacks),
        use_caching=False,
        **settings,
    )
    net.initialize()
    net.classes_ = classes
    net.threshold_, net.positive_ = threshold, positive
    for i in range(len(history["loss"]) if history else 0):
        net.history.new_epoch()
        net.history.record("epoch", i + 1)
        _record(net, {name: values[: i + 1] for name, values in (history or {}).items()})
    return net


class SkorchHost:
    """Tells skorch callbacks of a training.

    Callbacks that look at epochs cost nothing per batch. Those that want to see every batch, or
    to change gradients, are served too, at the price of a second pass over each batch.

    Parameters
    ----------
    callbacks : sequence
        Callbacks, callback classes or (name, callback) pairs, as skorch takes them.
    rows : Rows
        The data as the callbacks see it.
    classes : ndarray of shape (2,)
    settings : dict
        What ``view`` takes besides.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        rows: Rows,
        classes: NDArray[np.generic],
        settings: dict[str, Any],
    ):
        self.callbacks = callbacks
        self.rows = rows
        self.classes = classes
        self.settings = settings

    def train_begin(self, run: Run) -> None:
        """Build the net on the weights that are trained, and begin."""
        model_batch = run.model_batch
        module = build_module(
            model_batch.architecture,
            [w[0] for w in model_batch.weights],
            [b[0] for b in model_batch.biases],
        )
        batch_size = run.solver.batch_size if isinstance(run.solver, MiniBatch) else -1
        settings = {**self.settings, "batch_size": batch_size}
        self.net = view(
            module,
            self.classes,
            run.criteria.threshold,
            run.criteria.positive,
            callbacks=self.callbacks,
            **settings,
        )
        self._datasets = self.rows.datasets()
        self._batches: _BatchNotifier | None = None
        self._check(run)
        asked = any(_sees_batches(callback) for _, callback in self.net.callbacks_)
        if asked and isinstance(run.solver, MiniBatch):
            self._batches = _BatchNotifier(self, run)
            run.solver.hooks = self._batches
        self.net.notify("on_train_begin", X=self.rows.X, y=self.rows.y)
        for _, callback in self.net.callbacks_:
            policy = getattr(callback, "lr_scheduler_", None)
            if getattr(policy, "cycle_momentum", False):
                raise ValueError(
                    "LRScheduler must change the learning rate alone, got "
                    f"{type(policy).__name__}, which changes the momentum, too,. Pass "
                    "cycle_momentum=False."
                )
        self.pull_rate(run)

    def epoch_begin(self, run: Run) -> None:
        """Pass the beginning of an epoch on."""
        self._push_rate(run)
        self.net.notify("on_epoch_begin", **self._datasets)
        # A step of an optimizer that sees no gradient moves nothing, but torch's schedulers want
        # to have seen one.
        self.net.optimizer_.step()

    def epoch_end(self, run: Run) -> bool:
        """Pass the end of an epoch on, and tell whether a callback wants to stop."""
        if self._batches is not None:
            self._batches.validate()
        else:
            # Checkpoint and some loggers look at the last batch: the epoch stands in for it.
            self._record_batch(run)
        self._predict_for_scorings()
        _record(self.net, {name: run.history[name] for name in _COLUMNS if name in run.history})
        ours = set(self.net.history[-1])
        stop = False
        try:
            self.net.notify("on_epoch_end", **self._datasets)
        except KeyboardInterrupt:
            # skorch's EarlyStopping stops by raising what Ctrl-C raises.
            if not any(_out_of_patience(callback) for _, callback in self.net.callbacks_):
                raise
            stop = True
        for name, value in self.net.history[-1].items():
            number = _plain_number(value)
            if number is not None and name not in ours:
                run.log(name, number)
        self.pull_rate(run)
        return stop

    def train_end(self, run: Run) -> None:
        """Pass the end of the training on: this is where the best weights may be loaded."""
        try:
            self.net.notify("on_train_end", X=self.rows.X, y=self.rows.y)
        finally:
            if self.net.save_error_:  # skorch's callbacks do not report it by default
                warn(f"A callback could not save its files: {self.net.save_error_}")
        for _, callback in self.net.callbacks_:
            run.best_epoch = _loaded_epoch(callback, self.net) or run.best_epoch

    def _record_batch(self, run: Run) -> None:
        """Record the epoch as its only batch, with what skorch records of each."""
        history, datasets = self.net.history, self._datasets
        history.new_batch()
        for prefix, name in (("train", "loss"), ("valid", "validation_loss")):
            if name in run.history:
                history.record_batch(f"{prefix}_loss", run.history[name][-1])
                history.record_batch(f"{prefix}_batch_size", len(datasets[f"dataset_{prefix}"]))

    def _predict_for_scorings(self) -> None:
        """Fill the prediction cache of scorings that read it themselves.

        skorch collects the predictions for the batches during an epoch. Here they are computed at
        the end of the epoch, once for all scorings.
        """
        predicted: dict[bool, tuple[Any, Tensor]] = {}
        for _, callback in self.net.callbacks_:
            if not _reads_cache(callback):
                continue
            on_train = bool(callback.on_train)
            dataset = self._datasets["dataset_train" if on_train else "dataset_valid"]
            if dataset is None:
                continue
            if on_train not in predicted:
                X, y = data_from_dataset(dataset)
                predicted[on_train] = y, torch.as_tensor(self.net.decision_function(X))
            y, logits = predicted[on_train]
            callback.y_trues_, callback.y_preds_ = [y], [logits]

    def _check(self, run: Run) -> None:
        for _, callback in self.net.callbacks_:
            if isinstance(callback, InputShapeSetter):
                raise ValueError(
                    "callbacks must be without InputShapeSetter, got one. Leave it out: "
                    "fit takes the number of features from X."
                )
            if getattr(callback, "use_safetensors", False) and not _HAS_SAFETENSORS:
                raise ValueError(
                    f"{type(callback).__name__} must have the package safetensors for "
                    "use_safetensors=True. It is not installed. Run 'python -m pip install "
                    "safetensors', or leave use_safetensors out."
                )
            monitor = getattr(callback, "monitor", None)
            if isinstance(callback, WandbLogger) and callback.save_model:
                monitor = "valid_loss_best"
            if (
                monitor in _OF_VALIDATION
                and self.rows.validation is None
                and not any(getattr(c, "name_", None) == monitor for _, c in self.net.callbacks_)
            ):
                raise ValueError(
                    f"{type(callback).__name__} must have validation rows to monitor {monitor!r}, "
                    "got none. Pass X_val and y_val to fit, or set early_stopping=True."
                )
            if _sees_batches(callback) and not isinstance(run.solver, MiniBatch):
                raise ValueError(
                    f"{type(callback).__name__} must have a solver with batches, got a full-batch "
                    "solver. Use solver='adam' or solver='sgd'."
                )
            schedule = getattr(run.solver, "schedule", None)
            if isinstance(callback, LRScheduler) and type(schedule) is not Schedule:
                raise ValueError(
                    "LRScheduler must be the only one to set the learning rate, got another "
                    "schedule, or a full-batch solver,. Use solver='adam' or "
                    "solver='sgd' with a constant learning_rate."
                )

    def _push_rate(self, run: Run) -> None:
        if isinstance(run.solver, MiniBatch):
            for group in self.net.optimizer_.param_groups:
                group["lr"] = run.solver.schedule.rate

    def pull_rate(self, run: Run) -> None:
        """Take the learning rate over that a callback may have set."""
        if isinstance(run.solver, MiniBatch):
            run.solver.schedule.rate = float(self.net.optimizer_.param_groups[0]["lr"])


class _BatchNotifier:
    """Tells callbacks of every batch, and lets them change or freeze what is learnt."""

    def __init__(self, host: SkorchHost, run: Run):
        self.host = host
        self.net = host.net
        self.run = run
        weights, biases = run.model_batch.architecture.unpack(run.model_batch.gradient)
        self._gradients: list[Tensor] = []
        for i, weight in enumerate(weights):
            self._gradients.append(weight[0].mT)
            if biases:
                self._gradients.append(biases[i][0, 0])

    def batch_begin(self, index: Tensor) -> None:
        """Tell that a batch begins."""
        dataset = self.run.dataset
        self._batch = (dataset.rows.batch(index).dense(), self._labels(dataset.target[index]))
        self.net.notify("on_batch_begin", batch=self._batch, training=True)
        self._prediction = self._predict(self._batch[0])

    def gradient_ready(self) -> None:
        """Show the gradient, which callbacks may change in place."""
        parameters = list(self.net.module_.parameters())
        for parameter, gradient in zip(parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self.net.notify(
            "on_grad_computed",
            named_parameters=list(self.net.get_all_learnable_params()),
            batch=self._batch,
            training=True,
        )
        self._frozen = [
            (parameter, parameter.detach().clone())
            for parameter in parameters
            if not parameter.requires_grad
        ]
        for parameter in parameters:
            parameter.grad = None

    def batch_end(self, index: Tensor, loss: Tensor) -> None:
        """Tell that a batch has ended."""
        with torch.no_grad():
            for parameter, before in self._frozen:
                parameter.copy_(before)
        self._tell(self._batch, self._prediction, loss, training=True)
        self.host.pull_rate(self.run)

    def validate(self) -> None:
        """Tell of the validation rows, span by span."""
        validation = self.run.dataset.validation
        if validation is None:
            return
        for chunk in row_chunks(*validation.rows.shape, validation.device):
            target = validation.target[chunk]
            batch = (validation.rows.batch(chunk).dense(), self._labels(target))
            self.net.notify("on_batch_begin", batch=batch, training=False)
            prediction = self._predict(batch[0])
            each = functional.softplus(prediction) - target * prediction
            weight = None if validation.weight is None else validation.weight[chunk]
            loss = each.mean() if weight is None else each @ weight / weight.sum()
            self._tell(batch, prediction, loss, training=False)

    def _labels(self, target: Tensor) -> NDArray[np.generic]:
        return self.net.classes_[target.cpu().numpy().astype(np.intp)]

    def _predict(self, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return self.net.module_(rows)

    def _tell(
        self, batch: tuple[Tensor, Any], prediction: Tensor, loss: Tensor, *, training: bool
    ) -> None:
        prefix = "train" if training else "valid"
        self.net.history.record_batch(f"{prefix}_loss", float(loss))
        self.net.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
        self.net.notify(
            "on_batch_end", batch=batch, training=training, loss=loss, y_pred=prediction
        )


def _record(net: BinaryNet, history: dict[str, list[float]]) -> None:
    """Write the last epoch into skorch's history, under skorch's names."""
    for name, curve in history.items():
        if name not in _COLUMNS:
            net.history.record(name, curve[-1])
            continue
        theirs, best = _COLUMNS[name]
        if theirs is None:
            continue
        *earlier, last = curve
        net.history.record(theirs, last)
        if best is not None:
            is_best = not earlier or best(last, best(earlier)) != best(earlier)
            net.history.record(f"{theirs}_best", is_best)


def _plain_number(value: Any) -> float | None:
    """Return a number or a boolean as a Python object, and None for anything else."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)) and value.shape == ():
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return value
    return float(value) if isinstance(value, Real) else None


def _sees_batches(callback: Any) -> bool:
    if isinstance(callback, ParamMapper):
        return True
    if isinstance(callback, LRScheduler):
        return callback.step_every == "batch"
    if getattr(callback, "log_on_batch_end", None) is False:  # of skorch's loggers
        return False
    return any(
        getattr(type(callback), name, None) not in [getattr(kind, name) for kind in _EPOCH_LEVEL]
        for name in _BATCH_HOOKS
    )


def _reads_cache(callback: Any) -> bool:
    """Tell whether a scoring overrides ``on_epoch_end``, where it may use predictions."""
    has_own = isinstance(callback, EpochScoring) and (
        type(callback).on_epoch_end is not EpochScoring.on_epoch_end
    )
    return has_own and callback.use_caching


@contextmanager
def _copied_state(module: nn.Module) -> Iterator[None]:
    """Make ``state_dict`` return contiguous copies: during training the weights are views."""

    def copy(_: Any, state: dict[str, Tensor], *rest: Any) -> None:
        for name, value in state.items():
            state[name] = value.clone(memory_format=torch.contiguous_format)

    hook = module.register_state_dict_post_hook(copy)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        hook.remove()


def _out_of_patience(callback: Any) -> bool:
    return isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience


def _loaded_epoch(callback: Any, net: BinaryNet) -> int | None:
    """Give the epoch whose weights a callback has loaded at the end, or None."""
    if not getattr(callback, "load_best", False) or not len(net.history):
        return None
    if isinstance(callback, EarlyStopping):
        return int(callback.best_epoch_)
    if isinstance(callback, Checkpoint):
        saved = [row["epoch"] for row in net.history if row.get(callback.event_name)]
        return saved[-1] if saved else None
    return None


def _dense(X: Any) -> NDArray[Any]:
    if isinstance(X, Tensor):
        X = X.detach().cpu()
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)
