"""The classifiers for Dask collections."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skbinary.dask.cluster_fit import fit_on_cluster
from skbinary.dask.partitions import distribute, is_collection
from skbinary.dask.predictions import accuracy_of, logits_of, predict_later
from skbinary.dask.tasks import connected
from skbinary.data.labels import check_labels
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.parameter_types import Objective
from skbinary.estimators.parameters import validated_parameters
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.runtime.threads import one_torch_thread
from skbinary.thresholds.objectives import parse_objective

# Of the cluster, not of the model.
_CONNECTION = ("_client", "_timeout")
_FEATURES = ("n_features_in_", "feature_names_in_", "sample_shape_")


class DaskClassifier(BinaryClassifier):
    """What the classifiers for Dask collections have in common: how they fit and predict."""

    _local_type: ClassVar[type[BinaryClassifier]]

    # -- the cluster ------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The ``distributed.Client`` that fits use. None for the current one."""
        return self.__dict__.get("_client")

    @client.setter
    def client(self, client: Any) -> None:
        self._client = client

    @property
    def timeout(self) -> float:
        """Seconds that the workers of a fit wait for each other."""
        return self.__dict__.get("_timeout", 600.0)

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        rule = {"timeout": [Interval(Real, 0, None, closed="neither")]}
        validate_parameter_constraints(rule, {"timeout": seconds}, type(self).__name__)
        self._timeout = float(seconds)

    def to_local(self) -> Any:
        """Return the same classifier without Dask, fitted if this one is."""
        local = self._local_type.__new__(self._local_type)
        own = {name: each for name, each in vars(self).items() if name not in _CONNECTION}
        vars(local).update(own)
        return local

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
    ) -> Self:
        """Fit the model to training data, on the workers that hold them."""
        if y is None:
            check_labels(self, X, y)  # raises
        table = {"X": X, "y": y, "sample_weight": sample_weight, "groups": groups}
        validation = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        with connected(self.client) as client:
            fitted = fit_on_cluster(client, self.to_local(), *map(_given, (table, validation)), self.timeout)
        for name in _FEATURES:
            vars(self).pop(name, None)
        vars(self).update({k: each for k, each in vars(fitted).items() if k in (*_FEATURES, "_state")})
        if isinstance(self.random_state, np.random.RandomState):
            self.random_state.set_state(fitted.random_state.get_state())
        return self

    @unchanged_on_error
    def tune_threshold(
        self, X: Any, y: Any, objective: Objective, *, sample_weight: Any = None
    ) -> Self:
        """Choose the decision threshold of the fitted model for an objective."""
        if not is_collection(X):
            return super().tune_threshold(X, y, objective, sample_weight=sample_weight)
        local = self._fitted_local()
        parse_objective(objective)  # raises
        with connected(self.client) as client:
            table = distribute(client, _given({"X": X, "y": y, "sample_weight": sample_weight}))
            scored = logits_of(client, local, table)
        with one_torch_thread():
            self._set_threshold_for(objective, *scored)
        return self

    # -- predictions ------------------------------------------------------------------------

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy."""
        local = self._fitted_local()
        if not is_collection(X):
            return float(local.score(X, y, sample_weight))
        with connected(self.client) as client:
            table = distribute(client, _given({"X": X, "y": y, "sample_weight": sample_weight}))
            return accuracy_of(client, local, table)

    def decision_function(self, X: Any) -> Any:
        return self._predict("decision_function", X)

    def predict_proba(self, X: Any) -> Any:
        return self._predict("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        return self._predict("predict_log_proba", X)

    def predict(self, X: Any, *, threshold: float | None = None) -> Any:
        return self._predict("predict", X, threshold=threshold)

    def _predict(self, name: str, X: Any, **arguments: Any) -> Any:
        method = getattr(self._fitted_local(), name)
        if is_collection(X):
            return predict_later(method, X, **arguments)
        return method(X, **arguments)

    def _fitted_local(self) -> Any:
        self._fitted()  # raises NotFittedError with the name of this class
        return self.to_local()

    # -- scikit-learn's protocols -----------------------------------------------------------

    def __sklearn_clone__(self) -> Self:
        clone = super().__sklearn_clone__()
        vars(clone).update({k: each for k, each in vars(self).items() if k in _CONNECTION})
        return clone

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: each for name, each in state.items() if name not in _CONNECTION}


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in arguments.items() if each is not None}


class DaskTorchLogisticClassifier(DaskClassifier, TorchLogisticClassifier):
    _local_type = TorchLogisticClassifier


class DaskTorchMLPClassifier(DaskClassifier, TorchMLPClassifier):
    _local_type = TorchMLPClassifier
