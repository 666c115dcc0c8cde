"""A fitted classifier: its predictions, its threshold and its attributes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skbinary.data.labels import check_labels, encode
from skbinary.data.sources import is_source
from skbinary.data.validation import check_rows
from skbinary.data.weights import check_weight
from skbinary.estimators.fitting import warn_of_majority, with_choice
from skbinary.estimators.parameter_types import Objective, PosLabel, Threshold
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
from skbinary.estimators.streamed import is_streamed, read_labels, score_source
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


class FittedClassifier(ClassifierMixin, BaseEstimator):
    """What a fitted classifier can do: predict, tune its threshold, and tell how it was trained."""

    threshold: Threshold
    pos_label: PosLabel
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    _state: FittedState

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

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of the predictions.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit``. A table that is larger than memory is
            passed as a path or another source, with names of its columns as `y` and
            `sample_weight`.
        y : array-like of shape (n_samples,) or str
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.

        Returns
        -------
        float
            The fraction of the samples, or of their weight, whose class is predicted.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.score([[-2.0], [3.0], [4.0]], ["no", "yes", "no"], [1, 1, 2])
        0.5
        """
        names = getattr(self, "feature_names_in_", None)
        if names is not None and is_streamed(X, y):
            y, sample_weight = read_labels(names, X, y, sample_weight)
        return float(super().score(X, y, sample_weight))

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

    # -- decision threshold --------------------------------------------------------------

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
            As in ``fit``, a table that is larger than memory is passed as a path or another source,
            with names of its columns as `y` and `sample_weight`.
        y : array-like of shape (n_samples,) or str
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
        names = getattr(self, "feature_names_in_", None)
        with one_torch_thread():
            if names is not None and is_streamed(X, y):
                y, sample_weight = read_labels(names, X, y, sample_weight)
                rows = logits = self.decision_function(X)
            else:
                rows = check_rows(self, X, reset=False)
                logits = Scorer.of(state).logits(rows)
            labels = check_labels(self, rows, y)
            weight = check_weight(sample_weight, rows)
            encode(labels, state.classes)
            self._set_threshold_for(objective, logits, labels, weight)
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
