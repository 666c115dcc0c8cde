"""SearchEnsemble: the weighted mean of models that a search has fitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skbinary.data.labels import check_labels, encode
from skbinary.data.weights import check_weight
from skbinary.estimators import files, html
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.fitting import warn_of_majority
from skbinary.estimators.parameter_types import Objective, PosLabel, Threshold
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.estimators.scoring import write_probabilities, write_probability_of
from skbinary.model_selection.candidates import as_pipeline_candidate, transform
from skbinary.model_selection.ensemble_selection import mean_logit
from skbinary.runtime.warnings import warn
from skbinary.thresholds.curve import ThresholdData, choose_threshold
from skbinary.thresholds.decision import (
    apply_threshold,
    check_threshold,
    positive_index,
    threshold_in_force,
)
from skbinary.thresholds.objectives import (
    CallableMetric,
    Constraint,
    Costs,
    Metric,
    parse_objective,
)


class SearchEnsemble(ClassifierMixin, BaseEstimator):
    """The weighted mean of candidates that a search has chosen and fitted.

    A search with ``ensemble_size`` builds it as ``best_estimator_``. Its probability is the
    weighted mean of the probabilities of the chosen candidates, and that of a candidate is the
    mean over the models that the search has fitted on each split. The logit of the mean is divided
    by one temperature, which is fitted on out-of-fold logits.

    Parameters
    ----------
    threshold : float, str, dict or callable, default=0.5
        Decision threshold on the probability of the positive class, or the objective for which
        the search has chosen it. It can be set to another number.
    pos_label : object, default=None
        The positive class, to which the threshold refers. None for ``classes_[1]``.

    Attributes
    ----------
    estimators_ : list of list of estimator
        The fitted models of each chosen candidate, one for each split.
    weights_ : ndarray of shape (n_candidates,)
        Weight of each chosen candidate, in descending order. The sum is 1.
    temperature_ : float
        The logit of the mean probability is divided by it. 1 if the classifier of the search has
        ``calibrate=False``.
    oof_decision_function_ : ndarray of shape (n_samples,)
        Logit of each training row by the models that were not trained on it, divided by the
        temperature. NaN for rows that were in no validation fold.
    oof_loss_ : float
        Their mean log loss, in nats per unit of weight. It is somewhat too low, since candidates
        and temperature were chosen on the same rows.
    threshold_ : float
        Decision threshold that the search has set.
    threshold_curve_ : dict of ndarray of shape (n_thresholds,)
        The thresholds that were compared, as in ``TorchMLPClassifier``. Only if one was chosen for
        an objective.
    threshold_interval_ : tuple of (float, float)
        Interval that contains the chosen threshold in 90% of bootstrap resamples. Only if one was
        chosen for an objective.
    classes_ : ndarray of shape (2,)
        The labels in sorted order.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.

    See Also
    --------
    VectorizedGridSearchCV : Chooses the candidates.
    TorchMLPClassifier : Trains an ensemble of networks that have the same parameters.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), TorchLogisticClassifier())
    >>> grid = {"torchlogisticclassifier__C": [0.01, 0.1, 1.0, 10.0]}
    >>> search = VectorizedGridSearchCV(model, grid, ensemble_size=10).fit(X, y)
    >>> ensemble = search.best_estimator_
    >>> type(ensemble).__name__, [len(models) for models in ensemble.estimators_][0]
    ('SearchEnsemble', 5)
    >>> print(ensemble.predict_proba(X[:1]).round(2))
    [[1. 0.]]
    """

    _memory_advice = "Score fewer samples at a time, or pass them as float32."
    _doc_link_module = "skbinary"
    _doc_link_template = "{page}"

    estimators_: list[list[Any]]
    weights_: NDArray[np.float64]
    temperature_: float
    oof_decision_function_: NDArray[np.float64]
    oof_loss_: float
    threshold_: float
    threshold_curve_: dict[str, NDArray[Any]]
    threshold_interval_: tuple[float, float]
    classes_: NDArray[np.generic]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    _threshold_set_for: tuple[object, object]

    def __init__(self, *, threshold: Threshold = 0.5, pos_label: PosLabel = None):
        self.threshold = threshold
        self.pos_label = pos_label

    def fit(self, X: Any, y: Any) -> NoReturn:
        """Raise an error: the models are fitted by a search.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Not used.
        y : array-like of shape (n_samples,)
            Not used.

        Raises
        ------
        NotImplementedError
            Always. Fit the search again.

        Examples
        --------
        >>> from skbinary import SearchEnsemble
        >>> SearchEnsemble().fit([[0.0], [1.0]], [0, 1])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        NotImplementedError: A SearchEnsemble is fitted by a search with ensemble_size. ...
        """
        raise NotImplementedError(
            "A SearchEnsemble is fitted by a search with ensemble_size. Call fit of that search."
        )

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Compute the logit (log-odds) of the class ``classes_[1]``.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit`` of the search.

        Returns
        -------
        ndarray of shape (n_samples,)
            The logit of the mean probability, divided by ``temperature_``.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
        >>> X, y = [[-1.0], [1.0]] * 10, ["no", "yes"] * 10
        >>> search = VectorizedGridSearchCV(
        ...     TorchLogisticClassifier(), {"C": [0.1, 1.0]}, ensemble_size=5
        ... )
        >>> ensemble = search.fit(X, y).best_estimator_
        >>> bool(ensemble.decision_function([[2.0]])[0] > 2)
        True
        """
        check_is_fitted(self)
        weighted = [
            (float(weight) / len(models), model)
            for weight, models in zip(self.weights_, self.estimators_, strict=True)
            for model in models
        ]
        return ensemble_logits(weighted, X, self.temperature_)

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Compute the probabilities of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit`` of the search.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Probabilities, with columns in the order of ``classes_``. Each row sums to 1.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
        >>> X, y = [[-1.0], [1.0]] * 10, ["no", "yes"] * 10
        >>> search = VectorizedGridSearchCV(
        ...     TorchLogisticClassifier(), {"C": [0.1, 1.0]}, ensemble_size=5
        ... )
        >>> search.fit(X, y).best_estimator_.predict_proba([[0.0]]).round(2)
        array([[0.5, 0.5]])
        """
        logit = self.decision_function(X)[:, None]
        out = np.empty((len(logit), 2), dtype=logit.dtype)
        with np.errstate(all="ignore"):  # expit may underflow
            write_probabilities(logit, out)
        return out

    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:
        """Compute the natural logarithm of the probabilities of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit`` of the search.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            The logarithm of ``predict_proba``, with columns in the order of ``classes_``.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
        >>> X, y = [[-1.0], [1.0]] * 10, ["no", "yes"] * 10
        >>> search = VectorizedGridSearchCV(
        ...     TorchLogisticClassifier(), {"C": [0.1, 1.0]}, ensemble_size=5
        ... )
        >>> search.fit(X, y).best_estimator_.predict_log_proba([[0.0]]).round(2)
        array([[-0.69, -0.69]])
        """
        with np.errstate(divide="ignore", under="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any, *, threshold: float | None = None) -> NDArray[np.generic]:
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Samples, with the same features as in ``fit`` of the search.
        threshold : float, default=None
            Decision threshold in [0, 1]. None uses ``threshold_``, or the number that the
            parameter ``threshold`` was set to afterwards.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predicted labels.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
        >>> X, y = [[-1.0], [1.0]] * 10, ["no", "yes"] * 10
        >>> search = VectorizedGridSearchCV(
        ...     TorchLogisticClassifier(), {"C": [0.1, 1.0]}, ensemble_size=5
        ... )
        >>> ensemble = search.fit(X, y).best_estimator_
        >>> print(ensemble.predict([[0.1]]), ensemble.predict([[0.1]], threshold=0.9))
        ['yes'] ['no']
        """
        check_is_fitted(self)
        threshold = self._threshold_in_force() if threshold is None else check_threshold(threshold)
        positive = positive_index(self.pos_label, self.classes_)
        logit = self.decision_function(X)
        probability = np.empty_like(logit)
        with np.errstate(all="ignore"):  # expit may underflow
            write_probability_of(positive)(logit, probability)
        ordered = self.classes_ if positive else self.classes_[::-1]
        return apply_threshold(probability, threshold, ordered)

    @unchanged_on_error
    def tune_threshold(
        self, X: Any, y: Any, objective: Objective, *, sample_weight: Any = None
    ) -> Self:
        """Choose the decision threshold of the fitted ensemble for an objective.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Data to choose the threshold on. It should not be data that the search was fitted to.
        y : array-like of shape (n_samples,)
            Labels.
        objective : str, callable or dict
            The objective: a metric to maximize, a constraint, or the costs of errors, in the same
            form as the parameter ``threshold`` of ``TorchMLPClassifier``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.

        Returns
        -------
        self : estimator
            The ensemble, with new ``threshold_``, ``threshold_curve_`` and
            ``threshold_interval_``.

        Raises
        ------
        ValueError
            If the objective is a number or unknown, or if `y` has one class only. The ensemble is
            then unchanged.

        Examples
        --------
        >>> import numpy as np
        >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
        >>> x = np.linspace(-1, 1, 200)
        >>> search = VectorizedGridSearchCV(
        ...     TorchLogisticClassifier(), {"C": [0.1, 1.0]}, ensemble_size=5
        ... )
        >>> ensemble = search.fit(x[:, None], x > 0.5).best_estimator_
        >>> ensemble = ensemble.tune_threshold(x[:, None], x > 0.5, "f1")
        >>> print(ensemble.predict([[0.45], [0.55]]))
        [False  True]
        """
        parsed = parse_objective(objective)
        logits = self.decision_function(X)
        labels = check_labels(self, logits, y)
        encode(labels, self.classes_)
        self._choose_threshold(parsed, logits, labels, check_weight(sample_weight, logits))
        return self

    def _choose_threshold(
        self,
        objective: Metric | CallableMetric | Constraint | Costs,
        logits: NDArray[np.floating],
        y: NDArray[np.generic],
        weight: NDArray[np.floating] | None,
    ) -> None:
        """Choose the threshold on labelled rows, and warn if that is not reliable."""
        positive = positive_index(self.pos_label, self.classes_)
        share = float(np.mean(y == self.classes_[1]))
        warn_of_majority(self.classes_, self.pos_label, share)
        data = ThresholdData.from_logits(logits, y, weight, self.classes_, positive)
        choice = choose_threshold(objective, data)
        for text in choice.warnings:
            warn(text)
        self.threshold_, self.threshold_curve_ = choice.threshold, choice.curve
        self.threshold_interval_ = choice.interval
        self._threshold_set_for = (self.threshold, self.pos_label)

    def _threshold_in_force(self) -> float:
        """Return the number that ``threshold`` was set to, or else ``threshold_``."""
        return threshold_in_force(
            self.threshold, self.pos_label, self.threshold_, self._threshold_set_for
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return files.to_pickle(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(files.from_pickle(type(self), state))
        files.restore_request(self)

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return html.reference_page(self)


def ensemble_logits(
    weighted: Sequence[tuple[float, Any]], X: Any, temperature: float = 1.0
) -> NDArray[np.floating]:
    """Return the logit of the weighted mean probability of fitted models.

    Models that share their transformers, such as all candidates of a search on one split, share
    the transformed rows.

    Parameters
    ----------
    weighted : sequence of (float, estimator)
        Weights above 0, and classifiers or pipelines that end with one.
    X : array-like of shape (n_samples, n_features)
    temperature : float, default=1.0
        The logit is divided by it.

    Returns
    -------
    ndarray of shape (n_samples,)
        In the precision of the models' logits.
    """
    dtypes = set()

    def scored() -> Iterable[tuple[float, NDArray[np.floating]]]:
        for weight, logit in _weighted_logits(weighted, X):
            dtypes.add(logit.dtype)
            yield weight, logit

    logit = mean_logit(scored()) / temperature
    with np.errstate(over="ignore"):  # of logits, whose probability is 0 or 1
        return logit.astype(np.result_type(*dtypes), copy=False)


def _weighted_logits(
    weighted: Sequence[tuple[float, Any]], X: Any
) -> Iterator[tuple[float, NDArray[np.floating]]]:
    """Return weights and logits of all models, by those that share transformers."""
    sharing: dict[Any, tuple[list[list[Any]], list[tuple[float, Any]]]] = {}
    for weight, model in weighted:
        transformers, classifier = _parts(model)
        steps = [step for each in transformers for step in each]
        key = tuple(each if isinstance(each, str) else id(each) for each in steps)
        sharing.setdefault(key, (transformers, []))[1].append((weight, classifier))
    for transformers, own in sharing.values():
        rows = transform(transformers, X)
        for weight, classifier in own:
            yield weight, classifier_logits(classifier, rows)


def _parts(model: Any) -> tuple[list[list[Any]], Any]:
    """Return the fitted steps of each pipeline around a classifier of ours, and the classifier."""
    candidate = as_pipeline_candidate(model)
    if candidate is None:
        return [], model
    steps = [[step for _, step in pipeline.steps[:-1]] for _, pipeline in candidate.pipelines]
    return steps, candidate.classifier


def has_logits(classifier: Any) -> bool:
    """Whether a classifier's probabilities are those of our logits, not of a subclass."""
    kind = type(classifier)
    return isinstance(classifier, BinaryClassifier) and (
        kind.decision_function is BinaryClassifier.decision_function
        and kind.predict_proba is BinaryClassifier.predict_proba
    )


def classifier_logits(classifier: Any, X: Any) -> NDArray[np.floating]:
    """Return the logits of a fitted classifier, or those of its probabilities if it has others."""
    if has_logits(classifier):
        scores: NDArray[np.floating] = classifier.decision_function(X)
        return scores
    probabilities = np.asarray(classifier.predict_proba(X))
    with np.errstate(divide="ignore"):  # of probabilities that are 0
        logs = np.log(probabilities)
    logits: NDArray[np.floating] = logs[:, 1] - logs[:, 0]
    return logits
