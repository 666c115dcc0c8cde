"""What users call on both classifiers: fit, partial_fit, the predictions and fitted attributes."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skbinary.callbacks.sklearn import init_callback_context, set_callbacks
from skbinary.data.checked import CheckedData
from skbinary.data.labels import check_labels, encode, find_classes
from skbinary.data.validation import check_data, check_rows
from skbinary.data.weights import check_weight
from skbinary.estimators import files, html
from skbinary.estimators.fitting import Fit, warn_of_majority, with_choice
from skbinary.estimators.observers import FitObservers
from skbinary.estimators.parameters import (
    check_monitor_and_threshold,
    has_partial_fit,
    suggesting,
)
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.estimators.scoring import (
    Scorer,
    Writer,
    available_device,
    write_logits,
    write_probabilities,
    write_probability_of,
)
from skbinary.estimators.state import Curves, FittedState, per_model
from skbinary.estimators.views import as_module, as_net, net_settings
from skbinary.models.torch_module import LogitModule, MeanLogitModule
from skbinary.runtime.defaults import default_settings
from skbinary.runtime.memory import is_out_of_memory, out_of_memory
from skbinary.runtime.threads import one_torch_thread
from skbinary.solvers.result import StopReason
from skbinary.thresholds.curve import ThresholdData, choose_threshold
from skbinary.thresholds.decision import apply_threshold, check_threshold, positive_index
from skbinary.thresholds.objectives import parse_threshold

if TYPE_CHECKING:
    from skbinary.callbacks.skorch_net import BinaryNet


class BinaryClassifier(ClassifierMixin, BaseEstimator):
    """A linear model or a network for two classes, trained with BCE-with-logits.

    Subclasses say what their parameters mean to the solvers, and document them.
    """

    # What an error says when memory runs out.
    _memory_advice = (
        "Pass float32 rows, lower batch_size or the number of units, or set device='cpu' if the "
        "device is an accelerator."
    )
    # Whether X may have more than two dimensions, which are flattened.
    _takes_images = False
    _doc_link_module = "skbinary"
    _doc_link_template = "{page}"

    solver: str
    learning_rate_init: float
    early_stopping: bool | str
    monitor: Any
    threshold: Any
    pos_label: Any
    warm_start: bool
    n_features_in_: int
    _state: FittedState

    @abstractmethod
    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        """Return what the parameters mean to the solvers, for this data."""

    # -- fitting ----------------------------------------------------------------------------

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
        >>> print(model.stop_reason_)
        converged

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
        previous = self.__dict__.get("_state") if self.warm_start else None
        with one_torch_thread():
            data = check_data(
                self,
                (X, y, sample_weight),
                (X_val, y_val, sample_weight_val),
                reset=previous is None,
                groups=groups,
            )
            if previous is not None and not np.array_equal(data.classes, previous.classes):
                raise ValueError(
                    f"y must hold the classes {previous.classes.tolist()} to continue from the "
                    f"last fit, got {data.classes.tolist()}. Set warm_start=False to start anew."
                )
            recipe = self._recipe(data, is_partial=False)
            observers = FitObservers(self, data, is_partial=False)
            self._state = Fit(recipe, data, observers, previous).run()
        return self

    @available_if(has_partial_fit)
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
        previous = self.__dict__.get("_state")
        known = None if previous is None else previous.classes
        if classes is not None:
            classes = find_classes(type(self).__name__, np.asarray(classes))
            if known is not None and not np.array_equal(known, classes):
                raise ValueError(
                    f"classes must be {known.tolist()}, as in the first call of partial_fit, got "
                    f"{classes.tolist()}. Leave classes out, or make a new estimator."
                )
            known = classes
        with one_torch_thread():
            table, none = (X, y, sample_weight), (None, None, None)
            data = check_data(self, table, none, reset=previous is None, classes=known)
            recipe = self._recipe(data, is_partial=True)
            observers = FitObservers(self, data, is_partial=True)
            self._state = Fit(recipe, data, observers, previous).run()
        return self

    @unchanged_on_error
    def tune_threshold(self, X: Any, y: Any, objective: Any, *, sample_weight: Any = None) -> Self:
        """Choose the threshold on rows of one's choice, without training.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows. They should not be those that the model was trained on.
        y : array-like of shape (n_samples,)
            Their labels.
        objective : str, callable or dict
            What the threshold shall achieve, as the parameter ``threshold`` says it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
            With new ``threshold_``, ``threshold_curve_`` and ``threshold_interval_``.

        Raises
        ------
        ValueError
            If the objective is a number or none that is known, or the rows hold one class only.
            The estimator is then what it was before.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.preprocessing import StandardScaler
        >>> from skbinary import TorchLogisticClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> malignant = y == 0
        >>> X = StandardScaler().fit(X[:300]).transform(X)
        >>> model = TorchLogisticClassifier().fit(X[:300], malignant[:300])
        >>> model = model.tune_threshold(X[300:], malignant[300:], {"recall": 0.95})
        >>> print(f"{model.predict(X[300:])[malignant[300:]].mean():.2f}")
        0.98
        """
        state = self._fitted()
        wanted = parse_threshold(objective)
        if isinstance(wanted, float):
            raise ValueError(
                "objective must be the name of a metric, a callable, a constraint or costs, got "
                f"{objective!r}. Set the parameter threshold to use a number."
            )
        with one_torch_thread():
            rows = check_rows(self, X, reset=False)
            labels = check_labels(self, rows, y)
            weight = check_weight(sample_weight, rows)
            encode(labels, state.classes)
            positive = positive_index(self.pos_label, state.classes)
            logits = Scorer.of(state).logits(rows)
            scored = ThresholdData.from_logits(logits, labels, weight, state.classes, positive)
            warn_of_majority(state.classes, self.pos_label, labels)
            choice = choose_threshold(wanted, scored)
        self._state = with_choice(state, choice, self.threshold, self.pos_label)
        return self

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set scikit-learn's callbacks. They need scikit-learn 1.9 or newer.

        Parameters
        ----------
        *callbacks : callback instances
            For example ``sklearn.callback.ProgressBar()``. None at all takes them away.

        Returns
        -------
        self : estimator
            The same one.

        Raises
        ------
        ImportError
            If this scikit-learn has no callbacks.
        """
        set_callbacks(self, *callbacks)
        return self

    # -- predictions ------------------------------------------------------------------------

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Give the logit of the positive class.

        It is computed in the precision of `X`: float32 rows in float32, all others in float64.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows, with the features that ``fit`` has seen.

        Returns
        -------
        ndarray of shape (n_samples,)
            The natural logarithm of the odds of ``classes_[1]``.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.decision_function([[-1.0], [2.0]]).round(2)
        array([-0.67,  1.35])
        """
        return self._score(X, write_logits, 1)[:, 0]

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Give the probability of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            In the order of ``classes_``. Each row sums to one.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict_proba([[0.0], [2.0]]).round(2)
        array([[0.5 , 0.5 ],
               [0.21, 0.79]])
        """
        return self._score(X, write_probabilities, 2)

    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:
        """Give the natural logarithm of the probability of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            In the order of ``classes_``. The logarithm of what ``predict_proba`` gives, so it is
            -inf where that rounds to zero.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict_log_proba([[2.0]]).round(2)
        array([[-1.58, -0.23]])
        """
        with np.errstate(divide="ignore", under="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any, *, threshold: float | None = None) -> NDArray[np.generic]:
        """Label rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows.
        threshold : float, default=None
            A row gets the positive label when the probability of that label is at least this
            number in [0, 1]. None takes ``threshold_``, or the number that the parameter
            ``threshold`` was set to since. The positive label is ``pos_label``, by default
            ``classes_[1]``.

        Returns
        -------
        ndarray of shape (n_samples,)
            One of ``classes_`` for each row.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> print(model.predict([[2.0]]), model.predict([[2.0]], threshold=0.9))
        ['yes'] ['no']
        """
        given = None if threshold is None else check_threshold(threshold)
        classes = self._fitted().classes
        positive = positive_index(self.pos_label, classes)
        probability = self._score(X, write_probability_of(positive), 1)[:, 0]
        chosen = self._threshold_in_force() if given is None else given
        return apply_threshold(probability, chosen, classes if positive else classes[::-1])

    def _score(self, X: Any, write: Writer, n_columns: int) -> NDArray[np.floating]:
        """Check rows, and write what their logits stand for into a new array."""
        scorer = Scorer.of(self._fitted())
        try:
            with default_settings():
                # A linear score is finite only if its row is, so the rows are not searched.
                rows = check_rows(self, X, reset=False, finite=not scorer.is_linear)
                out, is_finite = scorer.scores(rows, write, n_columns)
                if not is_finite:
                    check_rows(self, X, reset=False)
                return out
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            advice = "Score fewer rows at a time, or pass them as float32."
            raise out_of_memory(error, "The rows and their scores", advice) from error

    def _threshold_in_force(self) -> float:
        """Return a number that was set as threshold since ``fit``, or the fitted threshold."""
        state, given = self._fitted(), self.threshold
        known, known_label = state.threshold_parameter, state.pos_label_parameter
        # Arrays are compared number by number, so what is no number must be of the same type.
        is_number = isinstance(given, Real)
        is_known = bool((is_number or type(given) is type(known)) and given == known)
        if is_known and self.pos_label == known_label:
            return state.threshold
        if is_number:
            return check_threshold(given)
        if is_known:
            raise ValueError(
                f"pos_label must stay {known_label!r}, for which the threshold was chosen, got "
                f"{self.pos_label!r}. Call fit or tune_threshold to choose another one."
            )
        raise ValueError(
            "threshold must be a number in [0, 1] to be set after fit, got "
            f"{given!r}. Call fit or tune_threshold to choose one."
        )

    # -- fitted attributes ------------------------------------------------------------------

    @property
    def classes_(self) -> NDArray[np.generic]:
        """The labels, sorted, an array of shape (2,)."""
        return self._fitted().classes

    @property
    def device_(self) -> str:
        """Where the model was trained."""
        return self._fitted().device

    @property
    def history_(self) -> Curves | list[Curves]:
        """All curves by name, or a list of them for an ensemble."""
        return per_model(self._fitted().curves)

    @property
    def best_epoch_(self) -> int | list[int]:
        """The epoch, counted from 1, whose weights are kept."""
        return per_model(self._fitted().best_epoch)

    @property
    def stop_reason_(self) -> StopReason | list[StopReason]:
        """Why training stopped, or a list of reasons for an ensemble."""
        reasons: StopReason | list[StopReason] = per_model(
            [each and StopReason(each) for each in self._fitted().stop_reason]
        )
        return reasons

    @property
    def threshold_(self) -> float:
        """The decision threshold that ``fit`` or ``tune_threshold`` has set."""
        return self._fitted().threshold

    @property
    def threshold_curve_(self) -> dict[str, NDArray[Any]]:
        """The thresholds that were compared, if one was chosen."""
        return self._optional("threshold_curve")

    @property
    def threshold_interval_(self) -> tuple[float, float]:
        """Where the chosen threshold falls in 90% of bootstrap resamples."""
        return self._optional("threshold_interval")

    @property
    def loss_curve_(self) -> list[float] | list[list[float]]:
        """Mean weighted loss over the training set after each epoch, in nats."""
        return self._fitted().curve("loss")

    @property
    def validation_loss_curve_(self) -> list[float] | list[list[float]] | None:
        """Mean weighted loss over the validation set after each epoch, in nats."""
        return self._fitted().curve("validation_loss")

    @property
    def validation_scores_(self) -> list[float] | list[list[float]] | None:
        """Score on the validation set after each epoch."""
        return self._fitted().curve("validation_score")

    @property
    def best_validation_score_(self) -> float | None:
        """The highest of ``validation_scores_``; for an ensemble, the mean over its members."""
        curves = [each.get("validation_score") for each in self._fitted().curves]
        known = [curve for curve in curves if curve is not None]
        if not known:
            return None
        best = [max((s for s in curve if s == s), default=math.nan) for curve in known]
        return float(np.mean(best))

    @property
    @one_torch_thread()
    def module_(self) -> LogitModule | MeanLogitModule:
        """The fitted model as a torch module that returns logits, built on each access."""
        with default_settings():
            return as_module(self._fitted())

    @property
    @one_torch_thread()
    def net_(self) -> BinaryNet:
        """The fitted model as a skorch ``NeuralNet``, built on each access."""
        state = self._fitted()
        settings = net_settings(self, available_device(state.device))
        positive = positive_index(self.pos_label, state.classes)
        with default_settings():
            return as_net(state, self._threshold_in_force(), positive, settings)

    def _fitted(self) -> FittedState:
        """Return the fitted state, or raise NotFittedError."""
        state = self.__dict__.get("_state")
        if state is None:
            check_is_fitted(self)
        return state  # type: ignore[return-value]  # check_is_fitted raises

    def _optional(self, name: str) -> Any:
        """Return what only some fits learn, or raise AttributeError."""
        value = getattr(self._fitted(), name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no {name}_ after this fit")
        return value

    # -- what scikit-learn asks of an estimator ---------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in self.__dict__

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = self._takes_images
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return files.to_file(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(files.from_file(type(self).__name__, state))

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature anew for every copy, which adds up in searches.
        names: list[str] = super()._get_param_names()
        return names

    def _validate_params(self) -> None:
        with suggesting(self):
            super()._validate_params()
            check_monitor_and_threshold(self)

    def _init_callback_context(self, **settings: Any) -> Any:
        return init_callback_context(self, **settings)

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return html.with_fitted_state(self, super()._get_params_html(*args, **kwargs))

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        return html.other_attributes(self, *args, **kwargs)

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return html.reference_page(self)
