"""What both classifiers share: validate, encode, train, score, decide."""

from __future__ import annotations

import difflib
import functools
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import InvalidParameterError, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skbinary import _device, _inputs
from skbinary._module import LogitModule, build_module
from skbinary._observers import CallbackSupportMixin, Printer, ScikitLearnCallbacks
from skbinary._prepare import Data, Split, build_problem, check_data
from skbinary._problem import Problem, merge_equal_rows
from skbinary._scores import BinaryScorer
from skbinary._stack import Architecture, Stack
from skbinary._team import Team
from skbinary._threshold import check_threshold
from skbinary._training.loop import Observer, Plan, Run, Step, train
from skbinary._training.minibatch import Dropout, MiniBatch, Ridge
from skbinary._training.optimizers import SGD, Adam
from skbinary._training.result import FitResult, StopReason
from skbinary._training.schedules import Schedule

_MINIBATCH_SOLVERS = ("adam", "sgd")
_BATCH_ROWS = 200  # the batch_size="auto" of scikit-learn's MLPClassifier
_SEEDS = 2**31 - 1

if TYPE_CHECKING:
    from skbinary._host import BinaryNet

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _unchanged_on_error(method: _Method) -> _Method:
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
    if self.early_stopping:
        raise AttributeError(
            "partial_fit must have early_stopping=False, since it sees no validation rows. Got "
            "early_stopping=True instead. Use fit, or switch it off."
        )
    if self.solver in _MINIBATCH_SOLVERS:
        return True
    raise AttributeError(
        f"partial_fit must have a solver with batches. Got solver={self.solver!r} instead. Use "
        "solver='adam' or solver='sgd'."
    )


class BinaryClassifier(BinaryScorer, CallbackSupportMixin, BaseEstimator):
    """A linear model or a network for two classes, trained with BCE-with-logits.

    Subclasses say what their parameters mean to the solvers; everything else is here.
    """

    solver: str
    max_iter: int
    tol: float
    batch_size: int | str
    shuffle: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    class_weight: Any
    warm_start: bool
    random_state: Any
    device: str
    callbacks: Any
    verbose: int
    learning_rate_init: float

    history_: dict[str, list[float]]

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
        solver: str,
    ) -> dict[str, Any]:
        """Give the fitted attributes that are this class's own."""

    # -- training ---------------------------------------------------------------------------

    @_unchanged_on_error
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
            Rows that are scored after every epoch and never trained on. With
            ``early_stopping=True`` they decide when to stop.
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
        context = self._init_callback_context(max_subtasks=self.max_iter)
        return self._train(data, X, goes_on=goes_on, n_epochs=self.max_iter, context=context)

    @available_if(_has_batches)
    @_unchanged_on_error
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
        return self._train(data, X, goes_on=goes_on, n_epochs=1, state=state, keep_state=True)

    def _train(
        self,
        data: Data,
        X: Any,
        *,
        goes_on: bool,
        n_epochs: int,
        context: Any = None,
        state: dict[str, Any] | None = None,
        keep_state: bool = False,
    ) -> Self:
        device = _device.resolve_device(self.device, X)
        random_state = self._own_random_state() if self._is_random() else None
        solver = self._choose_solver(data.train.X)
        architecture = self._architecture(self.n_features_in_)
        if goes_on:
            start = self._fitted_parameters(architecture)
        else:
            start = self._initial_parameters(architecture, random_state)
        split = self._split(data, device, solver, random_state)
        n_seen = int(getattr(self, "t_", 0)) if goes_on else 0
        plan = Plan(
            max_iter=n_epochs,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=self.early_stopping,
            watches_loss=solver in _MINIBATCH_SOLVERS,
            threshold=check_threshold(self.threshold),
        )
        earlier = self.history_ if goes_on else {}

        def attributes(result: FitResult | Run) -> dict[str, Any]:
            return self._all_attributes(result, data, solver, architecture, device, earlier)

        observers = self._observers(data, split, device)
        if context is not None and getattr(self, "_skl_callbacks", None):
            weight = data.train.sample_weight
            metadata = None if weight is None else {"sample_weight": weight}
            # X as it was given: what scores it wants its names and shape.
            given = {"X": X, "y": data.train.y, "metadata": metadata}
            observers.append(ScikitLearnCallbacks(self, context, given, attributes))
        with Team() as team:
            step = self._step(
                split.problem, architecture, start, solver, random_state, state, n_seen, team
            )
            result = train(step, plan, observers)
        self.__dict__.pop("_optimizer_state", None)
        for name, value in attributes(result).items():
            setattr(self, name, value)
        if keep_state:
            self._optimizer_state = {name: _plain(value) for name, value in result.state.items()}
        else:
            self._warn_unless_finished(result, plan)
        return self

    def _is_random(self) -> bool:
        """Tell whether a fit draws random numbers."""
        return True

    def _own_random_state(self) -> np.random.RandomState:
        # None means fresh random numbers here, not those of numpy's global state, which is not
        # ours to move.
        if self.random_state is None:
            return np.random.RandomState(np.random.default_rng().integers(2**32))
        return check_random_state(self.random_state)

    def _split(self, data: Data, device: torch.device, solver: str, random_state: Any) -> Split:
        batches = solver in _MINIBATCH_SOLVERS
        holds_out = self.early_stopping and data.validation is None
        split = build_problem(
            data,
            class_weight=self.class_weight,
            device=device,
            dtype=torch.float32 if batches else _device.full_precision(device),
            convert=batches,
            hold_out_fraction=self.validation_fraction if holds_out else None,
            seed=int(random_state.randint(_SEEDS)) if holds_out else 0,
        )
        n_samples = split.problem.n_samples
        if batches and self.batch_size != "auto" and int(self.batch_size) > n_samples:
            warnings.warn(
                f"batch_size must be at most the number of training rows, {n_samples}. Got "
                f"{self.batch_size} instead. One batch of all rows is used.",
                UserWarning,
                stacklevel=6,
            )
        if batches and n_samples <= self._batch_rows(n_samples):
            # One batch is the whole objective, in which equal rows can be one row.
            split = Split(merge_equal_rows(split.problem, seed=0), split.train, split.held_out)
        return split

    def _batch_rows(self, n_samples: int) -> int:
        wanted = _BATCH_ROWS if self.batch_size == "auto" else int(self.batch_size)
        return min(wanted, n_samples)

    def _step(
        self,
        problem: Problem,
        architecture: Architecture,
        start: Tensor,
        solver: str,
        random_state: Any,
        state: dict[str, Any] | None,
        n_seen: int,
        team: Team,
    ) -> Step:
        parameters = start[None].to(device=problem.device, dtype=problem.target.dtype).clone()
        stack = Stack(architecture, parameters)
        if solver not in _MINIBATCH_SOLVERS:
            return self._full_batch_step(stack, problem, solver, team)
        batch_size = self._batch_rows(problem.n_samples)
        dropout = None
        if any(architecture.dropout):
            # Moved on by the rows seen, so that calls of partial_fit do not repeat their noise.
            seed = int(random_state.randint(_SEEDS)) + n_seen
            dropout = Dropout(architecture.dropout, _device.generator(seed, problem.device))
        return MiniBatch(
            stack,
            problem,
            self._optimizer(parameters, solver, state),
            self._schedule(math.ceil(problem.n_samples / batch_size)),
            batch_size=batch_size,
            ridge=self._ridge(),
            shuffler=random_state if self.shuffle else None,
            dropout=dropout,
            n_seen=n_seen,
            team=team,
        )

    def _observers(
        self,
        data: Data,
        split: Split,
        device: torch.device,
    ) -> list[Observer]:
        observers: list[Observer] = []
        if self.callbacks:
            from skbinary import _host

            rows = _host.Rows(data, split)
            settings = self._net_settings(device)
            observers.append(_host.SkorchHost(self.callbacks, rows, data.classes, settings))
        if self.verbose:
            observers.append(Printer(int(self.verbose)))
        return observers

    def _fitted_parameters(self, architecture: Architecture) -> Tensor:
        weights, biases = self._weights()
        shapes = [each.shape for each in weights]
        if shapes != architecture.layers:
            raise ValueError(
                f"Layers must have the shapes {shapes} to go on from the last fit. Got "
                f"{architecture.layers} instead. Set warm_start=False to start anew."
            )
        return architecture.pack(map(_inputs.as_tensor, weights), map(_inputs.as_tensor, biases))

    def _all_attributes(
        self,
        result: FitResult | Run,
        data: Data,
        solver: str,
        architecture: Architecture,
        device: torch.device,
        earlier: dict[str, list[float]],
    ) -> dict[str, Any]:
        """Give all fitted attributes: of a result, or of a run that would stop now."""
        if isinstance(result, Run):
            result = result.result(None)
        weights, biases = architecture.unpack(result.parameters[None])
        reason = result.stop_reason
        common = {
            "classes_": data.classes,
            "device_": str(device),
            "history_": _joined(earlier, result.history),
            "best_epoch_": result.best_epoch + len(earlier.get("loss", ())),
            "stop_reason_": None if reason is None else reason.value,
        }
        own = self._as_attributes(
            [_array(each[0]) for each in weights],
            [_array(each[0, 0]) for each in biases],
            result,
            solver,
        )
        return common | own

    def _warn_unless_finished(self, result: FitResult, plan: Plan) -> None:
        message = _complaint(result, plan)
        if message is not None:
            interrupted = result.stop_reason is StopReason.INTERRUPTED
            category = UserWarning if interrupted else ConvergenceWarning
            # Up through _train, fit and the two wrappers around fit, to the user's line.
            warnings.warn(message, category, stacklevel=6)

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
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

    # -- what was learnt ----------------------------------------------------------------------

    @property
    def loss_curve_(self) -> list[float]:
        """Mean weighted loss over the training rows after each epoch, in nats."""
        return self._curve("loss")

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """Mean weighted loss over the validation rows after each epoch, in nats."""
        return self._curve("validation_loss")

    @property
    def validation_scores_(self) -> list[float] | None:
        """Accuracy on the validation rows after each epoch."""
        return self._curve("validation_score")

    @property
    def best_validation_score_(self) -> float | None:
        """The highest of ``validation_scores_``."""
        scores = self.validation_scores_
        return None if scores is None else max((s for s in scores if s == s), default=None)

    def _curve(self, name: str) -> Any:
        check_is_fitted(self)
        return self.history_.get(name)

    @property
    def module_(self) -> LogitModule:
        """The fitted model as a torch module that gives logits, built when asked for."""
        check_is_fitted(self)
        weights, biases = self._weights()
        return build_module(
            self._architecture(self.n_features_in_),
            [torch.tensor(each) for each in weights],
            [torch.tensor(each)[None] for each in biases],
        )

    @property
    def net_(self) -> BinaryNet:
        """The fitted model as a skorch ``NeuralNet``, built when asked for."""
        from skbinary import _host

        return _host.view(
            self.module_,
            self.classes_,
            check_threshold(self.threshold),
            history=self.history_,
            **self._net_settings(self._scoring_device()),
        )

    def _net_settings(self, device: torch.device) -> dict[str, Any]:
        adam = self.solver == "adam"
        return {
            "optimizer": torch.optim.Adam if adam else torch.optim.SGD,
            "lr": float(self.learning_rate_init),
            "max_epochs": self.max_iter,
            "batch_size": -1 if self.batch_size == "auto" else int(self.batch_size),
            "device": str(device),
            "verbose": int(self.verbose),
        }


def _complaint(result: FitResult, plan: Plan) -> str | None:
    """Say what is unfinished about a training, or None if nothing is."""
    reason = result.stop_reason
    if reason is StopReason.INTERRUPTED:
        return (
            f"Training was interrupted by the user after {result.n_iter} epochs. The best weights "
            "so far are kept."
        )
    unfinished = (StopReason.MAX_ITER, StopReason.MAX_FUN, StopReason.NO_DESCENT)
    if reason not in unfinished:
        return None
    if not math.isnan(result.gap):
        return (
            f"Training did not converge: {reason.value}, with the largest gradient component at "
            f"{result.gap:.3g}, above tol={plan.tol:g}, after {result.n_iter} iterations. Raise "
            "max_iter, or bring the features to one scale (StandardScaler)."
        )
    if plan.n_iter_no_change >= plan.max_iter:
        return None  # a fixed number of epochs was asked for
    *_, last = result.history["objective"]
    before = result.history["objective"][-2] if result.n_iter > 1 else math.nan
    return (
        f"Training did not converge: {reason.value}, {plan.max_iter} epochs, while the training "
        f"loss still went from {before:.6g} to {last:.6g} in the last epoch (tol={plan.tol:g}). "
        "Raise max_iter or learning_rate_init."
    )


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
