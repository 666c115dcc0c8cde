"""The classifiers for Dask collections."""

from __future__ import annotations

import inspect
import textwrap
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skbinary.dask.cluster_fit import fit_on_cluster
from skbinary.dask.partitions import distribute, is_collection
from skbinary.dask.predictions import accuracy_of, logits_of, predict_later
from skbinary.dask.tasks import connected
from skbinary.data.labels import check_labels
from skbinary.data.sources import is_source
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.parameter_types import Objective
from skbinary.estimators.parameters import validated_parameters
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.runtime.threads import one_torch_thread
from skbinary.thresholds.objectives import parse_objective

# Attributes of the cluster, not of the model.
_CONNECTION = ("_client", "_timeout")
_FITTED = ("_state", "n_features_in_", "feature_names_in_", "sample_shape_")
# A worker may have many times the rows of another one, which waits for it in each iteration. The
# scheduler knows of a lost worker long before this.
_TIMEOUT_SECONDS = 600.0


class DaskClassifier(BinaryClassifier):
    """What the classifiers for Dask collections have in common: how they fit and predict."""

    _local_type: ClassVar[type[BinaryClassifier]]
    random_state: Any

    # -- the cluster ------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The ``distributed.Client`` to fit with. None for the current one."""
        return self.__dict__.get("_client")

    @client.setter
    def client(self, client: Any) -> None:
        self._client = client

    @property
    def timeout(self) -> float:
        """Seconds that the workers of a fit wait for each other in each iteration."""
        seconds: float = self.__dict__.get("_timeout", _TIMEOUT_SECONDS)
        return seconds

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        rule = {"timeout": [Interval(Real, 0, None, closed="neither")]}
        validate_parameter_constraints(rule, {"timeout": seconds}, type(self).__name__)
        self._timeout = float(seconds)

    def to_local(self) -> Any:
        """Return the same classifier without Dask, fitted if this one is.

        Returns
        -------
        TorchLogisticClassifier or TorchMLPClassifier
            It has the same parameters and the same fitted attributes, and needs no cluster.
        """
        local = self._local_type.__new__(self._local_type)
        local.__dict__ |= {k: each for k, each in self.__dict__.items() if k not in _CONNECTION}
        return local

    # -- fitting ----------------------------------------------------------------------------

    @unchanged_on_error
    @validated_parameters()
    def fit(  # type: ignore[override]  # without a checkpoint, which one process writes
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
        """Fit the model to training data, on the workers that hold them.

        Collections must have their rows in the same partitions, or in chunks of known size. Arrays
        and data frames in memory are sent to the workers.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Training data, as ``fit`` of the classifier without Dask takes it.
        y : Dask array or series, or array-like, of shape (n_samples,)
            Labels of two classes.
        sample_weight : Dask array or series, or array-like, of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.
        groups : Dask array or series, or array-like, of shape (n_samples,), default=None
            Group of each sample. Samples of one group are held out together.
        X_val : Dask array or data frame, or array-like, of shape \
                (n_validation_samples, n_features), default=None
            Validation set. It is scored after every epoch and never trained on.
        y_val : Dask array or series, or array-like, of shape (n_validation_samples,), default=None
            Labels of the validation set.
        sample_weight_val : Dask array or series, or array-like, of shape \
                (n_validation_samples,), default=None
            Weights of the validation set, 0 or more.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, or if there is no client.
        RuntimeError
            If a worker is lost. The estimator is unchanged after this and all other errors.
        """
        if y is None:
            check_labels(self, X, y)  # raises
        if is_source(X) and not is_collection(X):
            raise ValueError(
                "X must be a Dask array or data frame, or an array in memory, got "
                f"{type(X).__name__}. Read files with dask.dataframe.read_parquet."
            )
        tables = [_given(X=X, y=y, sample_weight=sample_weight, groups=groups)]
        validation = _given(X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val)
        if validation:
            tables.append(validation)
        with connected(self.client) as client:
            fitted = fit_on_cluster(client, self.to_local(), tables, self.timeout).__dict__
        for name in _FITTED:
            self.__dict__.pop(name, None)
        self.__dict__ |= {name: fitted[name] for name in _FITTED if name in fitted}
        if isinstance(self.random_state, np.random.RandomState):
            self.random_state.set_state(fitted["random_state"].get_state())
        return self

    @property
    def partial_fit(self) -> Any:
        """Not available: it would see the rows of one partition after those of another one."""
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit, since it trains on all partitions at a "
            "time. Use to_local().partial_fit, or fit."
        )

    @unchanged_on_error
    def tune_threshold(
        self, X: Any, y: Any, objective: Objective, *, sample_weight: Any = None
    ) -> Self:
        """Choose the decision threshold of the fitted model for an objective.

        The workers compute the logits, which are sent to the client with the labels.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Data to choose the threshold on. It should not be data that the model was trained on.
        y : Dask array or series, or array-like, of shape (n_samples,)
            Labels.
        objective : str, callable or dict
            The objective: a metric to maximize, a constraint, or the costs of errors, in the same
            form as the parameter ``threshold``.
        sample_weight : Dask array or series, or array-like, of shape (n_samples,), default=None
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
        """
        if not is_collection(X):
            return super().tune_threshold(X, y, objective, sample_weight=sample_weight)
        local = self._fitted_local()
        parse_objective(objective)  # raises
        with connected(self.client) as client:
            table = distribute(client, _given(X=X, y=y, sample_weight=sample_weight))
            scored = logits_of(client, local, table)
        with one_torch_thread():
            self._set_threshold_for(objective, *scored)
        return self

    # -- predictions ------------------------------------------------------------------------

    def decision_function(self, X: Any) -> Any:
        """Compute the logit (log-odds) of the class ``classes_[1]``.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Samples, with the same features as in ``fit``.

        Returns
        -------
        Dask array or ndarray of shape (n_samples,)
            The natural logarithm of the odds of ``classes_[1]``. A Dask array, which is computed
            later, if `X` is a collection.
        """
        return self._predict("decision_function", X)

    def predict_proba(self, X: Any) -> Any:
        """Compute the probabilities of both classes.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Samples, with the same features as in ``fit``.

        Returns
        -------
        Dask array or ndarray of shape (n_samples, 2)
            Probabilities, with columns in the order of ``classes_``. A Dask array, which is
            computed later, if `X` is a collection.
        """
        return self._predict("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        """Compute the natural logarithm of the probabilities of both classes.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Samples, with the same features as in ``fit``.

        Returns
        -------
        Dask array or ndarray of shape (n_samples, 2)
            The logarithm of ``predict_proba``. A Dask array, which is computed later, if `X` is a
            collection.
        """
        return self._predict("predict_log_proba", X)

    def predict(self, X: Any, *, threshold: float | None = None) -> Any:
        """Predict the class of each sample.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Samples, with the same features as in ``fit``.
        threshold : float, default=None
            Decision threshold in [0, 1]. None uses ``threshold_``, or the number that the
            parameter ``threshold`` was set to after ``fit``.

        Returns
        -------
        Dask array or ndarray of shape (n_samples,)
            Predicted labels. A Dask array, which is computed later, if `X` is a collection.
        """
        return self._predict("predict", X, threshold=threshold)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of the predictions.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Samples, with the same features as in ``fit``.
        y : Dask array or series, or array-like, of shape (n_samples,)
            Labels.
        sample_weight : Dask array or series, or array-like, of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.

        Returns
        -------
        float
            The fraction of the samples, or of their weight, whose class is predicted.
        """
        local = self._fitted_local()
        if not is_collection(X):
            return float(local.score(X, y, sample_weight))
        with connected(self.client) as client:
            table = distribute(client, _given(X=X, y=y, sample_weight=sample_weight))
            return accuracy_of(client, local, table)

    def _predict(self, name: str, X: Any, **arguments: Any) -> Any:
        method = getattr(self._fitted_local(), name)
        if is_collection(X):
            return predict_later(method, X, **arguments)
        return method(X, **arguments)

    def _fitted_local(self) -> Any:
        self._fitted()  # raises an error with the name of this class
        return self.to_local()

    # -- scikit-learn's protocols -----------------------------------------------------------

    def __sklearn_clone__(self) -> Self:
        clone = super().__sklearn_clone__()
        clone.__dict__ |= {k: each for k, each in self.__dict__.items() if k in _CONNECTION}
        return clone

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: each for name, each in state.items() if name not in _CONNECTION}


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: each for name, each in arguments.items() if each is not None}


def _with_parameters_of_local(kind: type[DaskClassifier]) -> type[Any]:
    """Put the parameters and attributes of the class without Dask into a docstring."""
    sections = inspect.cleandoc(kind._local_type.__doc__ or "")
    start, end = (sections.index(f"{title}\n---") for title in ("Parameters", "See Also"))
    documented = textwrap.indent(sections[start:end].strip(), "    ").lstrip()
    kind.__doc__ = (kind.__doc__ or "").replace("{parameters}", documented)
    return kind


@_with_parameters_of_local
class DaskTorchLogisticClassifier(DaskClassifier, TorchLogisticClassifier):
    """Logistic regression on Dask collections, trained on the workers that hold the rows.

    It has the parameters of ``TorchLogisticClassifier``, and ends at the same coefficients, however
    the rows are distributed. The property ``client`` is the ``distributed.Client`` to use, by
    default the current one. The property ``timeout`` is the number of seconds that the workers of a
    fit wait for each other in each iteration, by default 600. ``to_local`` returns the classifier
    without Dask.

    {parameters}

    See Also
    --------
    skbinary.TorchLogisticClassifier : The same model, for rows in memory.
    DaskTorchMLPClassifier : Multi-layer perceptron on Dask collections.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from skbinary.dask import DaskTorchLogisticClassifier
    >>> client = Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    >>> X = da.random.default_rng(0).normal(size=(1000, 3), chunks=(250, 3))
    >>> y = X[:, 0] + X[:, 1] > 0.0
    >>> model = DaskTorchLogisticClassifier().fit(X, y)
    >>> print(f"{model.score(X, y):.2f}")
    0.99
    >>> model.predict_proba(X)[:2].compute().shape
    (2, 2)
    >>> model.to_local()
    TorchLogisticClassifier()
    >>> client.close()
    """

    _local_type = TorchLogisticClassifier


@_with_parameters_of_local
class DaskTorchMLPClassifier(DaskClassifier, TorchMLPClassifier):
    """Multi-layer perceptron on Dask collections, trained on the workers that hold the rows.

    It has the parameters of ``TorchMLPClassifier``. Each worker computes its rows of each
    mini-batch, so that the network is the one that a single process trains on the rows of the first
    worker, then those of the second one, and so on, up to rounding. The property ``client`` is the
    ``distributed.Client`` to use, by default the current one. The property ``timeout`` is the
    number of seconds that the workers of a fit wait for each other in each step, by default 600.
    ``to_local`` returns the classifier without Dask.

    {parameters}

    See Also
    --------
    skbinary.TorchMLPClassifier : The same model, for rows in memory.
    DaskTorchLogisticClassifier : Logistic regression on Dask collections.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from skbinary.dask import DaskTorchMLPClassifier
    >>> client = Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    >>> X = da.random.default_rng(0).normal(size=(2000, 2), chunks=(500, 2))
    >>> y = X[:, 0] * X[:, 1] > 0.0
    >>> model = DaskTorchMLPClassifier(max_iter=30, random_state=0).fit(X, y)
    >>> print(f"{model.score(X, y):.1f}")
    1.0
    >>> client.close()
    """

    _local_type = TorchMLPClassifier
