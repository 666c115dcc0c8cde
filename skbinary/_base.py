"""What both classifiers share: validate, encode, train, score, decide."""

from __future__ import annotations

import difflib
import functools
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from skbinary import _device, _inputs
from skbinary._fitted import FittedModel
from skbinary._monitor import check_monitor, validation_rows, validation_score
from skbinary._objectives import parse_threshold
from skbinary._observers import CallbackSupport, Printer, ScikitLearnCallbacks
from skbinary._prepare import Data, Fold, Split, build_problem, check_data, compressed_rows
from skbinary._problem import Problem
from skbinary._rows import Source
from skbinary._settled import MINIBATCH_SOLVERS, Training
from skbinary._stack import Architecture, Stack
from skbinary._team import Team
from skbinary._training.loop import Observer, Run, Step, complaint, train
from skbinary._training.minibatch import Course, MiniBatch, Ridge
from skbinary._training.noise import Dropout
from skbinary._training.optimizers import SGD, Adam
from skbinary._training.plan import Plan, Watched
from skbinary._training.result import FitResult, StopReason
from skbinary._training.schedules import Schedule

# From so many rows on early_stopping="auto" is on: there it betters log loss and ROC AUC on the
# tables of docs/quality.md, with fewer rows the log loss alone.
ENOUGH_ROWS = 1000
_USUAL_THRESHOLD, _PROBABILITY = 0.5, Interval(Real, 0, 1, closed="both")
_OF_SOME_FITS = (
    *("_optimizer_state", "threshold_curve_", "threshold_interval_"),
    *("oof_decision_function_", "oof_loss_"),
)
# scikit-learn's patience, and the one that early_stopping="auto" has in its place: on the tables of
# docs/quality.md more gains nothing, and less costs ROC AUC where positives are few.
_USUAL_PATIENCE, _LONG_PATIENCE = 10, 24
_BATCH_ROWS = 200  # the batch_size="auto" of scikit-learn's MLPClassifier

_Method = TypeVar("_Method", bound=Callable[..., Any])


def unchanged_on_error(method: _Method) -> _Method:
    """Put the estimator's attributes back as they were when `method` raises anything."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.__dict__.copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return guarded  # type: ignore[return-value]


def _has_batches(self: BinaryClassifier) -> bool:
    """Tell whether partial_fit is there, and if not, why."""
    if self.early_stopping is True:
        raise AttributeError(
            "partial_fit must have early_stopping=False, since it sees no validation rows. Got "
            "early_stopping=True instead. Use fit, or switch it off."
        )
    if not isinstance(self.threshold, Real):
        raise AttributeError(
            "partial_fit must have a number as threshold, since it sees no rows to choose one on. "
            f"Got threshold={self.threshold!r} instead. Use tune_threshold afterwards."
        )
    if getattr(self, "n_members", 1) != 1:
        raise AttributeError(
            "partial_fit must have n_members=1, since members leave rows out. Got "
            f"n_members={self.n_members!r} instead. Use fit."
        )
    if self.solver in MINIBATCH_SOLVERS:
        return True
    raise AttributeError(
        f"partial_fit must have a solver with batches. Got solver={self.solver!r} instead. Use "
        "solver='adam' or solver='sgd'."
    )


class BinaryClassifier(FittedModel, CallbackSupport, BaseEstimator):
    """A linear model or a network for two classes, trained with BCE-with-logits.

    Subclasses say what their parameters mean to the solvers; everything else is here.
    """

    # What early stopping watches by default: in accuracy also where there are few rows.
    _usual_monitor = "loss"

    solver: str
    max_iter: int
    tol: float
    batch_size: int | str
    shuffle: bool
    early_stopping: bool | str
    monitor: Any
    validation_fraction: float
    n_iter_no_change: int
    class_weight: Any
    warm_start: bool
    random_state: Any
    device: str
    callbacks: Any
    verbose: int
    learning_rate_init: float

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature anew for every copy, which adds up in searches.
        names: list[str] = super()._get_param_names()
        return names

    # -- what a subclass says ---------------------------------------------------------------

    @abstractmethod
    def _choose_solver(self, X: Any) -> str:
        """Give the solver for these rows."""

    @abstractmethod
    def _ridge(self) -> Ridge:
        """Give the penalty on the weights."""

    @abstractmethod
    def _schedule(self, n_batches: int) -> Schedule:
        """Give the learning rates of a mini-batch solver."""

    @abstractmethod
    def _optimizer(self, parameters: Tensor, solver: str, state: Any) -> Adam | SGD:
        """Give the update rule of a mini-batch solver."""

    @abstractmethod
    def _full_batch_step(self, stack: Stack, problem: Problem, solver: str, team: Team) -> Step:
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
        training: Training,
    ) -> dict[str, Any]:
        """Give the fitted attributes that are this class's own."""

    def _follows_a_path(self, training: Training) -> bool:
        """Tell whether a stack solves what a full-batch solver would solve."""
        return False

    def _sees_all_rows(self) -> bool:
        """Tell whether the solver sees all rows at once."""
        return self.solver not in MINIBATCH_SOLVERS

    def _trains_in_stacks(self) -> bool:
        """Tell whether a fit in a stack does all that a fit alone would do."""
        as_written = type(self).fit is BinaryClassifier.fit
        watched = self.callbacks or self.verbose or getattr(self, "_skl_callbacks", None)
        return as_written and not watched

    # -- training ---------------------------------------------------------------------------

    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train on labelled rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            The rows. Finite real numbers of any type. A ``TorchMLPClassifier`` also takes more
            than two dimensions, which it flattens in C order.
        y : array-like of shape (n_samples,)
            Any two labels. The positive class is the second one in sorted order.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, zero or more. A row of weight 2 counts like the row twice.
        X_val : like X, default=None
            Rows that are scored after every epoch and never trained on. With early stopping they
            decide when to stop, and a threshold that is to be chosen is chosen on them.
        y_val : array-like of shape (n_validation_samples,), default=None
            Their labels.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Their weights.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError
            If the data or a parameter is not as described, or if the training diverges. The
            estimator is then what it was before.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier()
        >>> model.fit([[-1.0], [1.0], [2.0]], ["no", "yes", "yes"], sample_weight=[1, 1, 2])
        TorchLogisticClassifier()
        >>> model.stop_reason_
        'the gradient is within tol'
        """
        goes_on = self.warm_start and hasattr(self, "classes_")
        data = check_data(
            self,
            (X, y, sample_weight),
            (X_val, y_val, sample_weight_val),
            reset=not goes_on,
        )
        if goes_on and not np.array_equal(data.classes, self.classes_):
            raise ValueError(
                f"y must hold the classes {self.classes_.tolist()} to go on from the last fit. Got "
                f"{data.classes.tolist()} instead. Set warm_start=False to start anew."
            )
        return self._train(data, goes_on=goes_on, n_epochs=self.max_iter)

    @available_if(_has_batches)
    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch more on labelled rows. Mini-batch solvers only.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            The rows, as in ``fit``.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (2,), default=None
            Both labels. Needed at the first call unless `y` holds both.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
            Trained for one epoch more.

        Raises
        ------
        ValueError
            If `y` holds a label that is not among the classes.
        AttributeError
            If the solver is a full-batch one, or ``early_stopping`` is set.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier(solver="sgd")
        >>> for x, label in [(-1.0, "no"), (1.0, "yes")]:
        ...     model = model.partial_fit([[x]], [label], classes=["no", "yes"])
        >>> print(model.predict([[3.0]]))
        ['yes']
        """
        goes_on = hasattr(self, "classes_")
        known = self.classes_ if goes_on else None
        if classes is not None:
            classes = _inputs.two_classes(self, np.asarray(classes))
            if known is not None and not np.array_equal(known, classes):
                raise ValueError(
                    f"classes must be {known.tolist()}, as in the first call of partial_fit. Got "
                    f"{classes.tolist()} instead. Leave classes out, or make a new estimator."
                )
            known = classes
        data = check_data(
            self, (X, y, sample_weight), (None,) * 3, reset=not goes_on, classes=known
        )
        state = getattr(self, "_optimizer_state", None)
        return self._train(data, goes_on=goes_on, n_epochs=1, state=state, keep_state=True)

    @abstractmethod
    def _train(
        self,
        data: Data,
        *,
        goes_on: bool,
        n_epochs: int,
        state: dict[str, Any] | None = None,
        keep_state: bool = False,
    ) -> Self:
        """Train on checked data, and settle the threshold.

        Parameters
        ----------
        data : Data
        goes_on : bool
            Whether to start from the fitted weights.
        n_epochs : int
        state : dict or None, default=None
            What the optimizer remembers.
        keep_state : bool, default=False
            Whether the optimizer shall remember this training. Callbacks are not told of it then.
        """

    def _train_one(
        self,
        training: Training,
        *,
        goes_on: bool,
        n_epochs: int,
        context: Any = None,
        keep_state: bool = False,
    ) -> Split:
        """Train one model, and tell which rows it has seen."""
        start = self._start(training, goes_on=goes_on)
        split = self._split(training)
        plan = self._plan(training, split, n_epochs)
        observers = self._observers(training, split, context)
        with Team.on(training.device) as team:
            step = self._step(training, split.problem, start, team)
            result = train(step, plan, observers)
        self._take_over(result, training)
        if keep_state:
            self._optimizer_state = {name: _plain(value) for name, value in result.state.items()}
        else:
            self._warn_unless_finished(result, plan)
        return split

    def _settle(
        self,
        data: Data,
        *,
        goes_on: bool = False,
        state: dict[str, Any] | None = None,
        fold: Fold | None = None,
        is_partial: bool = False,
    ) -> Training:
        """Settle what a call of fit, or of partial_fit, will do."""
        wanted = parse_threshold(self.threshold)
        solver = self._choose_solver(data.train.X)
        scorer = check_monitor(self.monitor)
        early = self.early_stopping
        if early == "auto":
            enough = len(data.train.y) >= ENOUGH_ROWS
            wanted_so = (data.validation or scorer or fold) is not None
            early = solver in MINIBATCH_SOLVERS and not is_partial and (enough or wanted_so)
        usual = self.monitor == self._usual_monitor
        if scorer is not None and not (usual or early or is_partial) and data.validation is None:
            raise ValueError(
                f"monitor must have validation rows. Got monitor={self.monitor!r} with "
                "early_stopping=False and no X_val instead. Set early_stopping=True, or pass X_val "
                "and y_val."
            )
        random_state = self._own_random_state() if self._is_random() else None
        return Training(
            data=data,
            device=_device.resolve_device(self.device, data.given),
            solver=solver,
            architecture=self._architecture(self.n_features_in_),
            random_state=random_state,
            before=None if random_state is None else random_state.get_state(),
            earlier=self.history_ if goes_on else {},
            n_seen=int(getattr(self, "t_", 0)) if goes_on else 0,
            state=state,
            stops_early=bool(early),
            objective=None if isinstance(wanted, float) else wanted,
            threshold=wanted if isinstance(wanted, float) else _USUAL_THRESHOLD,
            scorer=scorer,
            fold=fold,
            is_partial=is_partial,
        )

    def _take_over(self, result: FitResult, training: Training) -> None:
        """Become what was learnt."""
        self._become(self._all_attributes(result, training))

    def _become(self, attributes: dict[str, Any]) -> None:
        """Take attributes over, and forget what belongs to an earlier fit."""
        for name in _OF_SOME_FITS:
            self.__dict__.pop(name, None)
        for name, value in attributes.items():
            setattr(self, name, value)

    def _start(self, training: Training, *, goes_on: bool) -> Tensor:
        if goes_on:
            return self._fitted_parameters(training.architecture)
        return self._initial_parameters(training.architecture, training.random_state)

    def _plan(self, training: Training, split: Split, n_epochs: int) -> Plan:
        validation, data = split.problem.validation, training.data
        score, by_score = None, training.scorer is not None
        if (
            training.scorer is not None
            and validation is not None
            and (self.monitor != self._usual_monitor)
        ):
            rows = validation_rows(data.validation, data.train, split)
            score = validation_score(
                training.scorer, rows, validation, data.classes, training.threshold
            )
            by_score = score is not None
        watches: Watched | None = "objective" if training.in_batches else None
        if training.stops_early:
            watches = "validation_score" if by_score else "validation_loss"
        return Plan(
            max_iter=n_epochs,
            tol=self.tol,
            n_iter_no_change=self._patience(training, n_epochs),
            watches=watches,
            threshold=training.threshold,
            score=score,
        )

    def _patience(self, training: Training, n_epochs: int) -> int:
        """Give how many epochs without improvement are forgiven."""
        left_open = self.early_stopping == "auto" and self.n_iter_no_change == _USUAL_PATIENCE
        if not (left_open and training.stops_early):
            return self.n_iter_no_change
        # As many as all epochs would say that a fixed number of them is wanted.
        return min(_LONG_PATIENCE, max(_USUAL_PATIENCE, n_epochs - 1))

    def _is_random(self) -> bool:
        """Tell whether a fit draws random numbers."""
        return True

    def _own_random_state(self) -> np.random.RandomState:
        # None means fresh random numbers here, not those of numpy's global state, which is not
        # ours to move.
        if self.random_state is None:
            return np.random.RandomState(np.random.default_rng().integers(2**32))
        return check_random_state(self.random_state)

    def _split(self, training: Training) -> Split:
        data, device, batches = training.data, training.device, training.in_batches
        holds_out = training.stops_early and data.validation is None
        wanted = self._wanted_rows()
        split = build_problem(
            data,
            class_weight=self.class_weight,
            device=device,
            dtype=torch.float32 if batches else _device.full_precision(device),
            convert=batches,
            hold_out_fraction=self.validation_fraction if holds_out else None,
            seed=training.seed() if holds_out and training.fold is None else 0,
            # One batch is the whole objective, in which equal rows can be one row.
            merge_up_to=wanted if batches else 0,
            fold=training.fold,
        )
        if batches and self.batch_size != "auto" and wanted > split.n_samples:
            warnings.warn(
                f"batch_size must be at most the number of training rows, {split.n_samples}. Got "
                f"{self.batch_size} instead. One batch of all rows is used.",
                UserWarning,
                stacklevel=7,
            )
        return split

    def _batch_rows(self, n_samples: int) -> int:
        return min(self._wanted_rows(), n_samples)

    def _wanted_rows(self) -> int:
        return _BATCH_ROWS if self.batch_size == "auto" else int(self.batch_size)

    def _step(self, training: Training, problem: Problem, start: Tensor, team: Team) -> Step:
        parameters = start[None].to(device=problem.device, dtype=problem.target.dtype).clone()
        stack = Stack(training.architecture, parameters)
        if not training.in_batches:
            return self._full_batch_step(stack, problem, training.solver, team)
        course = self._course(training, problem, parameters)
        return MiniBatch(stack, course, n_seen=training.n_seen, team=team)

    def _course(self, training: Training, problem: Problem, parameters: Tensor) -> Course:
        """Settle how batches train the parameters."""
        batch_size = self._batch_rows(problem.n_samples)
        rates = training.architecture.dropout
        dropout = None
        if any(rates):
            # Moved on by the rows seen, so that calls of partial_fit do not repeat their noise.
            seed = training.seed() + training.n_seen
            dropout = Dropout(rates, _device.generator(seed, problem.device))
        return Course(
            problem,
            self._optimizer(parameters, training.solver, training.state),
            self._schedule(math.ceil(problem.n_samples / batch_size)),
            batch_size=batch_size,
            ridge=self._ridge(),
            shuffler=training.random_state if self.shuffle else None,
            dropout=dropout,
            compressed=self._compressed(training, problem, batch_size),
        )

    @staticmethod
    def _compressed(training: Training, problem: Problem, batch_size: int) -> Source | None:
        # A single pass is over before compression pays.
        if training.is_partial:
            return None
        width = training.architecture.layers[0][1]
        return compressed_rows(training.data, problem.rows, width, batch_size)

    def _observers(self, training: Training, split: Split, context: Any) -> list[Observer]:
        data = training.data
        observers: list[Observer] = []
        if self.callbacks:
            from skbinary import _host

            rows = _host.Rows(data, split)
            settings = self._net_settings(training.device)
            observers.append(_host.SkorchHost(self.callbacks, rows, data.classes, settings))
        if self.verbose:
            observers.append(Printer(int(self.verbose)))
        if context is not None and getattr(self, "_skl_callbacks", None):

            def snapshot(run: Run) -> dict[str, Any]:
                return self._all_attributes(run.result(None), training)

            seen = self._seen_by_callbacks(data)
            observers.append(ScikitLearnCallbacks(self, context, seen, snapshot))
        return observers

    @staticmethod
    def _seen_by_callbacks(data: Data) -> dict[str, Any]:
        weight = data.train.sample_weight
        metadata = None if weight is None else {"sample_weight": weight}
        # X as it was given: what scores it wants its names and shape.
        return {"X": data.given, "y": data.train.y, "metadata": metadata}

    def _fitted_parameters(self, architecture: Architecture) -> Tensor:
        weights, biases = self._weights()
        shapes = [each.shape for each in weights]
        if shapes != architecture.layers:
            raise ValueError(
                f"Layers must have the shapes {shapes} to go on from the last fit. Got "
                f"{architecture.layers} instead. Set warm_start=False to start anew."
            )
        return architecture.pack(map(_inputs.as_tensor, weights), map(_inputs.as_tensor, biases))

    def _all_attributes(self, result: FitResult, training: Training) -> dict[str, Any]:
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
        }
        own = self._as_attributes(
            [_array(each[0]) for each in weights],
            [_array(each[0, 0]) for each in biases],
            result,
            training,
        )
        return common | own

    def _warn_unless_finished(self, result: FitResult, plan: Plan) -> None:
        message = complaint(result, plan)
        if message is not None:
            interrupted = result.stop_reason is StopReason.INTERRUPTED
            category = UserWarning if interrupted else ConvergenceWarning
            # Up through _train_one, _train, fit and its two wrappers, to the user's line.
            warnings.warn(message, category, stacklevel=7)

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
            check_monitor(self.monitor)
            if not isinstance(self.threshold, Real):
                parse_threshold(self.threshold)
            else:
                validate_parameter_constraints(
                    {"threshold": [_PROBABILITY]},
                    {"threshold": self.threshold},
                    caller_name=type(self).__name__,
                )
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{self._suggestion()}") from None

    def _suggestion(self) -> str:
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name, None)
            options = [c.options for c in constraints if isinstance(c, StrOptions)]
            if options and isinstance(value, str) and value not in options[0]:
                near = difflib.get_close_matches(value, sorted(options[0]), n=1)
                return f" Did you mean {near[0]!r}?" if near else ""
        return ""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = self._takes_images
        return tags


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
