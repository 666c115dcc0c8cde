"""What users call of both classifiers: ``fit`` and ``partial_fit``, and what they check."""

from __future__ import annotations

import difflib
import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import available_if

from skbinary.callbacks.monitor import check_monitor
from skbinary.callbacks.sklearn import CallbackSupport
from skbinary.data.preparation import CheckedData, Fold, Table, check_data
from skbinary.data.validation import two_classes
from skbinary.estimators.fit_context import MINIBATCH_SOLVERS, FitContext
from skbinary.estimators.fitting import TrainedModel
from skbinary.runtime.defaults import default_settings
from skbinary.runtime.device import resolve_device
from skbinary.runtime.memory import is_out_of_memory, out_of_memory
from skbinary.runtime.threads import one_torch_thread
from skbinary.thresholds.decision import positive_index
from skbinary.thresholds.objectives import parse_threshold

# From so many rows on early_stopping="auto" is on: there it betters log loss and ROC AUC on the
# tables of docs/quality.md, with fewer rows the log loss alone.
ENOUGH_ROWS = 1000
_USUAL_THRESHOLD, _PROBABILITY = 0.5, Interval(Real, 0, 1, closed="both")

_Method = TypeVar("_Method", bound=Callable[..., Any])


# Arguments that other libraries take in fit, and what to write.
_NAMES_ELSEWHERE = {
    "eval_set": "Validation rows are given to fit as X_val and y_val: write "
    "fit(X, y, X_val=X_val, y_val=y_val).",
    "eval_sample_weight": "Write fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights).",
    "validation_split": "Set the parameters early_stopping=True and validation_fraction.",
    "epochs": "Set the parameter max_iter.",
    "n_epochs": "Set the parameter max_iter.",
    "max_epochs": "Set the parameter max_iter.",
    "early_stopping_rounds": "Set the parameter n_iter_no_change.",
}
_NAMES_ELSEWHERE["validation_data"] = _NAMES_ELSEWHERE["eval_set"]
_NAMES_ELSEWHERE["X_val"] = _NAMES_ELSEWHERE["y_val"] = _NAMES_ELSEWHERE["eval_set"]


def unchanged_on_error(method: _Method) -> _Method:
    """Decorate a method of an estimator so that an error leaves the estimator unchanged.

    The estimator's attributes are put back as they were when `method` raises anything. The method
    runs with the default settings of torch and NumPy, and if memory runs out, the error says what
    to do about it.
    """
    known = inspect.signature(method).parameters.values()
    takes_any = any(each.kind is each.VAR_KEYWORD for each in known)
    names = {each.name for each in known}

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not takes_any:
            for name in kwargs.keys() - names:
                raise TypeError(_unknown_argument(self, method.__name__, name))
        before = self.__dict__.copy()
        try:
            with default_settings():
                return method(self, *args, **kwargs)
        except BaseException as error:
            self.__dict__ = before  # one step, which Ctrl-C cannot split
            if is_out_of_memory(error):
                what = f"{type(self).__name__}.{method.__name__}"
                raise out_of_memory(error, what, self._memory_advice) from error
            raise

    return guarded  # type: ignore[return-value]  # with the signature of `method`


def _check_can_choose(validation: Table, classes: NDArray[np.generic]) -> None:
    """Check that a threshold can be chosen on the validation rows that were given."""
    y, weight = validation.y, validation.sample_weight
    found = np.unique(y if weight is None else y[weight > 0])
    if len(found) < 2:
        raise ValueError(
            f"y_val must hold both classes, {classes.tolist()}, to choose a threshold on, got "
            f"{found.tolist()}. Add rows of the other class, or set threshold to a number."
        )


def _unknown_argument(estimator: Any, method: str, name: str) -> str:
    """Say what to do with an argument that a method does not take."""
    advice = _NAMES_ELSEWHERE.get(name, "Leave it out.")
    if name in estimator._get_param_names():
        advice = f"It is a parameter of the estimator: write set_params({name}=...)."
    kind = type(estimator).__name__
    return f"{kind}.{method}() got an unexpected keyword argument {name!r}. {advice}"


def _has_batches(self: BinaryClassifier) -> bool:
    """Tell whether partial_fit is there, and if not, why."""
    if self.early_stopping is True:
        raise AttributeError(
            "partial_fit must have early_stopping=False, since it sees no validation rows, got "
            "early_stopping=True. Use fit, or switch it off."
        )
    if not isinstance(self.threshold, Real):
        raise AttributeError(
            "partial_fit must have a number as threshold, since it sees no rows to choose one on, "
            f"got threshold={self.threshold!r}. Use tune_threshold afterwards."
        )
    if self._n_networks != 1:
        raise AttributeError(
            "partial_fit must have n_members=1, since members leave rows out, got "
            f"n_members={self._n_networks!r}. Use fit."
        )
    if self.solver in MINIBATCH_SOLVERS:
        return True
    raise AttributeError(
        f"partial_fit must have a solver with batches, got solver={self.solver!r}. Use "
        "solver='adam' or solver='sgd'."
    )


class BinaryClassifier(TrainedModel, CallbackSupport, BaseEstimator):
    """A linear model or a network for two classes, trained with BCE-with-logits.

    What users call is here: parameters and data are checked, and a training is settled.
    """

    _memory_advice = (
        "Pass float32 rows, lower batch_size or the number of units, or set device='cpu' if the "
        "device is an accelerator."
    )

    solver: str
    batch_size: int | str
    pos_label: Any
    warm_start: bool
    random_state: Any
    device: str

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature anew for every copy, which adds up in searches.
        names: list[str] = super()._get_param_names()
        return names

    @property
    @abstractmethod
    def _n_networks(self) -> int:
        """Number of models that are averaged."""

    @abstractmethod
    def _choose_solver(self, X: Any) -> str:
        """Give the solver for these rows."""

    def _follows_a_path(self, training: FitContext) -> bool:
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

    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
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
        groups : array-like of shape (n_samples,), default=None
            The group of each row, for example a patient, a customer or a day. Rows of one group are
            held out together wherever ``fit`` holds rows out: for early stopping, for the folds of
            an ensemble, and for the folds on which a threshold is chosen.
        X_val : like X, default=None
            Rows that are scored after every epoch and never trained on. With early stopping they
            decide when to stop, and a threshold that is to be chosen is chosen on them. In a
            pipeline they are transformed like `X` only with ``transform_input=["X_val"]``, as in
            the second example. ``fit`` warns if they are clearly on a different scale.
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

        Validation rows in a pipeline, transformed like the others by metadata routing:

        >>> from sklearn import config_context
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.pipeline import Pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from skbinary import TorchMLPClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
        >>> with config_context(enable_metadata_routing=True):
        ...     network = TorchMLPClassifier(random_state=0)
        ...     network = network.set_fit_request(X_val=True, y_val=True)
        ...     steps = [("scale", StandardScaler()), ("network", network)]
        ...     pipeline = Pipeline(steps, transform_input=["X_val"])
        ...     pipeline = pipeline.fit(X_train, y_train, X_val=X_val, y_val=y_val)
        >>> min(pipeline["network"].validation_loss_curve_) < 0.1
        True
        """
        goes_on = self.warm_start and hasattr(self, "classes_")
        with one_torch_thread():
            data = check_data(
                self,
                (X, y, sample_weight),
                (X_val, y_val, sample_weight_val),
                reset=not goes_on,
                groups=groups,
            )
            if goes_on and not np.array_equal(data.classes, self.classes_):
                raise ValueError(
                    f"y must hold the classes {self.classes_.tolist()} to go on from the last fit, "
                    f"got {data.classes.tolist()}. Set warm_start=False to start anew."
                )
            return self._train(data, goes_on=goes_on, n_epochs=self.max_iter)

    @available_if(_has_batches)
    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch more on labelled rows. Mini-batch solvers only.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            The rows, as in ``fit``.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        classes : array-like of shape (2,), default=None
            Both labels. Needed at the first call unless `y` holds both.

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
            classes = two_classes(self, np.asarray(classes))
            if known is not None and not np.array_equal(known, classes):
                raise ValueError(
                    f"classes must be {known.tolist()}, as in the first call of partial_fit, got "
                    f"{classes.tolist()}. Leave classes out, or make a new estimator."
                )
            known = classes
        state = getattr(self, "_optimizer_state", None)
        with one_torch_thread():
            data = check_data(
                self, (X, y, sample_weight), (None,) * 3, reset=not goes_on, classes=known
            )
            return self._train(data, goes_on=goes_on, n_epochs=1, state=state, keep_state=True)

    @abstractmethod
    def _train(
        self,
        data: CheckedData,
        *,
        goes_on: bool,
        n_epochs: int,
        state: dict[str, Any] | None = None,
        keep_state: bool = False,
    ) -> Self:
        """Train on checked data, and settle the threshold.

        Parameters
        ----------
        data : CheckedData
        goes_on : bool
            Whether to start from the fitted weights.
        n_epochs : int
        state : dict or None, default=None
            What the optimizer remembers.
        keep_state : bool, default=False
            Whether the optimizer shall remember this training. Callbacks are not told of it then.
        """

    def _settle(
        self,
        data: CheckedData,
        *,
        goes_on: bool = False,
        state: dict[str, Any] | None = None,
        fold: Fold | None = None,
        is_partial: bool = False,
    ) -> FitContext:
        """Settle what a call of fit, or of partial_fit, will do."""
        wanted = parse_threshold(self.threshold)
        positive = positive_index(self.pos_label, data.classes)
        if not isinstance(wanted, float) and data.validation is not None:
            _check_can_choose(data.validation, data.classes)
        solver = self._choose_solver(data.train.X)
        scorer = check_monitor(self.monitor)
        watches = scorer is not None or fold is not None
        early = self._stops_early(data, solver, watches=watches, is_partial=is_partial)
        usual = self.monitor == self._usual_monitor
        if scorer is not None and not (usual or early or is_partial) and data.validation is None:
            raise ValueError(
                f"monitor must have validation rows, got monitor={self.monitor!r} with "
                "early_stopping=False and no X_val. Set early_stopping=True, or pass X_val "
                "and y_val."
            )
        random_state = self._own_random_state() if self._is_random() else None
        return FitContext(
            data=data,
            device=resolve_device(self.device, data.given),
            solver=solver,
            architecture=self._architecture(self.n_features_in_),
            random_state=random_state,
            before=None if random_state is None else random_state.get_state(),
            earlier=self.history_ if goes_on else {},
            n_seen=int(getattr(self, "t_", 0)) if goes_on else 0,
            state=state,
            stops_early=early,
            objective=None if isinstance(wanted, float) else wanted,
            threshold=wanted if isinstance(wanted, float) else _USUAL_THRESHOLD,
            positive=positive,
            scorer=scorer,
            fold=fold,
            is_partial=is_partial,
        )

    def _stops_early(
        self, data: CheckedData, solver: str, *, watches: bool, is_partial: bool
    ) -> bool:
        """Tell whether validation rows decide when to stop: ``"auto"`` looks at what is there."""
        if self.early_stopping != "auto":
            return bool(self.early_stopping)
        enough = len(data.train.y) >= ENOUGH_ROWS or watches or data.validation is not None
        return solver in MINIBATCH_SOLVERS and not is_partial and enough

    def _is_random(self) -> bool:
        """Tell whether a fit draws random numbers."""
        return True

    def _own_random_state(self) -> np.random.RandomState:
        # None means fresh random numbers here, not those of numpy's global state, which is not
        # ours to move.
        if self.random_state is None:
            return np.random.RandomState(np.random.default_rng().integers(2**32))
        return check_random_state(self.random_state)

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
