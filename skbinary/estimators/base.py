"""The base class of both classifiers: fit, partial_fit, predictions and fitted attributes."""

from __future__ import annotations

import functools
import math
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skbinary.callbacks.sklearn import init_callback_context, set_callbacks
from skbinary.checkpoints.checkpoint import Checkpoint
from skbinary.checkpoints.identity import identity_of_fit
from skbinary.checkpoints.session import checkpointing
from skbinary.data.checked import CheckedData
from skbinary.data.labels import check_labels, encode, find_classes
from skbinary.data.sources import is_source
from skbinary.data.validation import check_data, check_rows
from skbinary.data.weights import check_weight
from skbinary.estimators import files, html
from skbinary.estimators.fitting import Fit, warn_of_majority, with_choice
from skbinary.estimators.observers import FitObservers
from skbinary.estimators.parameter_types import Monitor, Objective, PosLabel, Threshold
from skbinary.estimators.parameters import (
    check_callbacks,
    check_can_resume,
    check_monitor_and_threshold,
    if_partial_fit_is_available,
    naming_pruning_callback,
    suggesting,
    validated_parameters,
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
from skbinary.estimators.streamed import check_streamed, is_streamed, score_source
from skbinary.estimators.views import as_module, as_net, net_settings
from skbinary.models.torch_module import AnyModule
from skbinary.runtime.defaults import default_settings
from skbinary.runtime.memory import is_out_of_memory, out_of_memory
from skbinary.runtime.threads import one_torch_thread
from skbinary.solvers.result import StopReason
from skbinary.thresholds.curve import ThresholdData, choose_threshold
from skbinary.thresholds.decision import (
    apply_threshold,
    check_threshold,
    positive_index,
    threshold_in_force,
)
from skbinary.thresholds.objectives import parse_objective

if TYPE_CHECKING:
    from skbinary.callbacks.skorch_net import BinaryNet


class BinaryClassifier(ClassifierMixin, BaseEstimator):
    """Base class of the binary classifiers, which minimize the log loss.

    Subclasses have parameters, their documentation, and a recipe: what the parameters mean to the
    solvers.
    """

    # What to do if memory runs out, for the error message.
    _memory_advice = (
        "Pass float32 rows, lower batch_size or the number of units, or set device='cpu' if the "
        "device is an accelerator."
    )
    # Whether X may have more than two dimensions. Samples are then flattened.
    _takes_images = False
    _doc_link_module = "skbinary"
    _doc_link_template = "{page}"

    solver: str
    learning_rate_init: float
    early_stopping: bool | Literal["auto"]
    callbacks: Any
    monitor: Monitor
    threshold: Threshold
    pos_label: PosLabel
    warm_start: bool
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    _state: FittedState

    @abstractmethod
    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        """Return what the parameters mean to the solvers, for this data."""

    # -- fitting ----------------------------------------------------------------------------

    @unchanged_on_error
    @validated_parameters()
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
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the model to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Training data: finite real numbers of any type. ``TorchMLPClassifier`` also takes more
            than two dimensions, and flattens each sample in C order. A table that is larger than
            memory is passed as a path, another source or ``skbinary.streaming.Streamed``; `y`,
            `sample_weight` and `groups` are then names of its columns.
        y : array-like of shape (n_samples,) or str
            Labels of two classes, numbers, strings or booleans. The positive class is the second
            one in sorted order, unless the parameter ``pos_label`` names it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. A sample of weight 2 counts like the sample twice.
            None gives all samples weight 1.
        groups : array-like of shape (n_samples,), default=None
            Group of each sample, such as a patient, a customer or a day. Samples of one group stay
            together wherever ``fit`` splits the data: into training and validation set, into the
            folds of an ensemble, and into the folds on which a threshold is chosen.
        X_val : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_validation_samples, n_features), default=None
            Validation set. It is scored after every epoch and never trained on. Early stopping and
            an objective for the threshold use it instead of a part of `X`. In a pipeline it is
            transformed like `X` only with ``transform_input=["X_val"]``, as in the second example.
            ``fit`` warns if its features are clearly on a different scale.
        y_val : array-like of shape (n_validation_samples,), default=None
            Labels of the validation set.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the validation set, 0 or more.
        checkpoint : Checkpoint, str or path-like, default=None
            A file in which the training is saved every 60 seconds, or as ``Checkpoint`` says. After
            a kill, the same call goes on from there and ends with the same model. The file is
            deleted at the end.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, or if training diverges; or if the file of
            `checkpoint` is damaged, or of a fit with other data or parameters. The estimator is
            then unchanged.
        ImportError
            If there is a `checkpoint`, and safetensors is not installed.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier()
        >>> model.fit([[-1.0], [1.0], [2.0]], ["no", "yes", "yes"], sample_weight=[1, 1, 2])
        TorchLogisticClassifier()
        >>> print(model.stop_reason_)
        converged

        A validation set in a pipeline, transformed like the training set by metadata routing:

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
            check = check_streamed if is_streamed(X, y) else check_data
            data = check(
                self,
                (X, y, sample_weight),
                (X_val, y_val, sample_weight_val),
                reset=previous is None,
                groups=groups,
            )
            if checkpoint is not None:
                check_can_resume(self)
            with checkpointing(checkpoint, lambda: identity_of_fit(self, data, previous)):
                recipe = self._recipe(data, is_partial=False)
                observers = FitObservers(self, data, is_partial=False)
                self._state = Fit(recipe, data, observers, previous).run()
        return self

    @if_partial_fit_is_available
    @unchanged_on_error
    @validated_parameters()
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on training data, starting from the current weights.

        Only available with a mini-batch solver, without ``early_stopping=True``, with a number as
        ``threshold``, and without an ensemble.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Training data, as in ``fit``.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.
        classes : array-like of shape (2,), default=None
            The labels of both classes. Required in the first call unless `y` has both.

        Returns
        -------
        self : estimator
            The estimator, trained for one more epoch.

        Raises
        ------
        ValueError
            If `y` has a label that is not one of the classes, or if training diverges. The
            estimator is then unchanged.
        AttributeError
            If the parameters do not allow ``partial_fit``.

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
        expected = None if previous is None else previous.classes
        if classes is not None:
            classes = find_classes(type(self).__name__, np.asarray(classes))
            if expected is not None and not np.array_equal(expected, classes):
                raise ValueError(
                    f"classes must be {expected.tolist()}, as in the first call of partial_fit, "
                    f"got {classes.tolist()}. Leave classes out, or use a new estimator."
                )
            expected = classes
        with one_torch_thread():
            table, none = (X, y, sample_weight), (None, None, None)
            data = check_data(self, table, none, reset=previous is None, classes=expected)
            recipe = self._recipe(data, is_partial=True)
            observers = FitObservers(self, data, is_partial=True)
            self._state = Fit(recipe, data, observers, previous).run()
        return self

    @unchanged_on_error
    def tune_threshold(
        self, X: Any, y: Any, objective: Objective, *, sample_weight: Any = None
    ) -> Self:
        """Choose the decision threshold of the fitted model for an objective.

        The model is not trained.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Data to choose the threshold on. It should not be data that the model was trained on.
        y : array-like of shape (n_samples,)
            Labels.
        objective : str, callable or dict
            The objective: a metric to maximize, a constraint, or the costs of errors, in the same
            form as the parameter ``threshold``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.

        Returns
        -------
        self : estimator
            The estimator, with new ``threshold_``, ``threshold_curve_`` and
            ``threshold_interval_``.

        Raises
        ------
        ValueError
            If the objective is a number or unknown, or if `y` has one class only. The estimator is
            then unchanged.

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
        parse_objective(objective)  # raises
        with one_torch_thread():
            rows = check_rows(self, X, reset=False)
            labels = check_labels(self, rows, y)
            weight = check_weight(sample_weight, rows)
            encode(labels, state.classes)
            self._set_threshold_for(objective, Scorer.of(state).logits(rows), labels, weight)
        return self

    def _set_threshold_for(
        self,
        objective: Objective,
        logits: NDArray[np.floating],
        labels: NDArray[np.generic],
        weight: NDArray[np.float64] | None,
    ) -> None:
        """Choose the threshold for an objective on the logits of rows."""
        state = self._fitted()
        positive = positive_index(self.pos_label, state.classes)
        scored = ThresholdData.from_logits(logits, labels, weight, state.classes, positive)
        share = float(np.mean(labels == state.classes[1]))
        warn_of_majority(state.classes, self.pos_label, share)
        choice = choose_threshold(parse_objective(objective), scored)
        self._state = with_choice(state, choice, self.threshold, self.pos_label)

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set scikit-learn callbacks, which require scikit-learn 1.9 or newer.

        Parameters
        ----------
        *callbacks : callback instances
            For example ``sklearn.callback.ProgressBar()``. Without arguments, all callbacks are
            removed.

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ImportError
            If the installed scikit-learn has no callbacks.
        """
        set_callbacks(self, *callbacks)
        return self

    # -- predictions ------------------------------------------------------------------------

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Compute the logit (log-odds) of the class ``classes_[1]``.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit``. float32 data is scored in float32, all
            other data in float64. ``TorchModuleClassifier`` scores all data in float32.

        Returns
        -------
        ndarray of shape (n_samples,)
            The natural logarithm of the odds of ``classes_[1]``. For an ensemble, that of its
            members' mean probability, divided by ``temperature_``.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.decision_function([[-1.0], [2.0]]).round(2)
        array([-0.67,  1.35])
        """
        return self._score(X, write_logits, 1)[:, 0]

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Compute the probabilities of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Probabilities, with columns in the order of ``classes_``. Each row sums to 1.

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
        """Compute the natural logarithm of the probabilities of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            The logarithm of ``predict_proba``, with columns in the order of ``classes_``. It is
            -inf where the probability rounds to 0.

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
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit``.
        threshold : float, default=None
            Decision threshold in [0, 1]: the positive class is predicted when its probability is
            at least this number. The positive class is ``pos_label``, by default ``classes_[1]``.
            None uses ``threshold_``, or the number that the parameter ``threshold`` was set to
            after ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predicted labels.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> print(model.predict([[2.0]]), model.predict([[2.0]], threshold=0.9))
        ['yes'] ['no']
        """
        if threshold is not None:
            threshold = check_threshold(threshold)
        classes = self._fitted().classes
        positive = positive_index(self.pos_label, classes)
        probability = self._score(X, write_probability_of(positive), 1)[:, 0]
        if threshold is None:
            threshold = self._threshold_in_force()
        return apply_threshold(probability, threshold, classes if positive else classes[::-1])

    def _score(self, X: Any, write: Writer, n_columns: int) -> NDArray[np.floating]:
        """Check samples, and compute their logits or probabilities."""
        names = getattr(self, "feature_names_in_", None)
        if names is not None and is_source(X):
            return score_source(names, X, lambda rows: self._score(rows, write, n_columns))
        scorer = Scorer.of(self._fitted())
        try:
            with default_settings():
                # A linear score is finite only if its row is, so that the rows need no check.
                rows = check_rows(self, X, reset=False, finite=not scorer.is_linear)
                out, is_finite = scorer.scores(rows, write, n_columns)
                if not is_finite:
                    check_rows(self, X, reset=False)
                return out
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            advice = "Score fewer samples at a time, or pass them as float32."
            raise out_of_memory(error, "X and its scores", advice) from error

    def _threshold_in_force(self) -> float:
        """Return the number that ``threshold`` was set to after ``fit``, or else ``threshold_``."""
        state = self._fitted()
        set_for = (state.threshold_parameter, state.pos_label_parameter)
        return threshold_in_force(self.threshold, self.pos_label, state.threshold, set_for)

    # -- fitted attributes ------------------------------------------------------------------

    @property
    def classes_(self) -> NDArray[np.generic]:
        """The labels in sorted order, an array of shape (2,)."""
        return self._fitted().classes

    @property
    def device_(self) -> str:
        """Device that the model was trained on."""
        return self._fitted().device

    @property
    def history_(self) -> Curves | list[Curves]:
        """All curves by name; for an ensemble, a list with those of each member."""
        return per_model(self._fitted().curves)

    @property
    def best_epoch_(self) -> int | list[int]:
        """The epoch, counted from 1, whose weights were kept; for an ensemble, a list."""
        return per_model(self._fitted().best_epoch)

    @property
    def stop_reason_(self) -> StopReason | list[StopReason]:
        """Why training stopped; for an ensemble, a list with one reason for each member."""
        reasons: StopReason | list[StopReason] = per_model(
            [each and StopReason(each) for each in self._fitted().stop_reason]
        )
        return reasons

    @property
    def threshold_(self) -> float:
        """Decision threshold set by ``fit`` or ``tune_threshold``."""
        return self._fitted().threshold

    @property
    def threshold_curve_(self) -> dict[str, NDArray[Any]]:
        """The thresholds that were compared. Only if one was chosen for an objective."""
        return self._optional("threshold_curve")

    @property
    def threshold_interval_(self) -> tuple[float, float]:
        """Interval that contains the chosen threshold in 90% of bootstrap resamples."""
        return self._optional("threshold_interval")

    @property
    def loss_curve_(self) -> list[float] | list[list[float]]:
        """Training loss after each epoch, in nats per unit of weight."""
        return self._fitted().curve("loss")

    @property
    def validation_loss_curve_(self) -> list[float] | list[list[float]] | None:
        """Validation loss after each epoch, in nats per unit of weight."""
        return self._fitted().curve("validation_loss")

    @property
    def validation_scores_(self) -> list[float] | list[list[float]] | None:
        """Score on the validation set after each epoch."""
        return self._fitted().curve("validation_score")

    @property
    def best_validation_score_(self) -> float | None:
        """The maximum of ``validation_scores_``; for an ensemble, the mean over its members."""
        curves = [each.get("validation_score") for each in self._fitted().curves]
        recorded = [curve for curve in curves if curve is not None]
        if not recorded:
            return None
        best = [max((s for s in curve if s == s), default=math.nan) for curve in recorded]
        return float(np.mean(best))

    @property
    @one_torch_thread()
    def module_(self) -> AnyModule:
        """The fitted model as a torch module, built on each access.

        It returns the logits of `n_samples` rows, a tensor of shape (n_samples,), and is in
        evaluation mode. ``module_.float()`` and ``module_.double()`` convert its parameters.
        """
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
        """Return a fitted attribute that only some fits have, or raise AttributeError."""
        value = getattr(self._fitted(), name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no {name}_ after this fit.")
        return value

    # -- scikit-learn's protocols -----------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in self.__dict__

    def __sklearn_clone__(self) -> Self:
        with naming_pruning_callback(self.callbacks):
            clone: Self = super().__sklearn_clone__()
            return clone

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = self._takes_images
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return files.to_pickle(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(files.from_pickle(type(self), state))
        files.restore_request(self)

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature for every clone, which adds up in searches.
        names: list[str] = super()._get_param_names()
        return names

    def _validate_params(self) -> None:
        with suggesting(self):
            super()._validate_params()
            check_monitor_and_threshold(self)
            check_callbacks(self.callbacks)

    def _init_callback_context(self, **settings: Any) -> Any:
        return init_callback_context(self, **settings)

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return html.with_fitted_state(self, super()._get_params_html(*args, **kwargs))

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        return html.other_attributes(self, *args, **kwargs)

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return html.reference_page(self)
