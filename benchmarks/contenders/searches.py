"""Contenders of the searches: a search and the classifier it searches over."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import NetworkCase, Range, SearchCase
from benchmarks.contenders.logistics import UnsuitableError
from benchmarks.contenders.networks import same_settings, skbinary_module, skorch_net

# Number of rows of the search that only starts the workers.
_WARM_UP_ROWS = 500
# With more features, the Hessian of newton-cholesky takes minutes and gigabytes in each worker.
_MAX_FEATURES_FOR_NEWTON = 1_000

# With more candidates, networks are not fitted one by one: on a GPU that takes half an hour.
_MAX_ONE_BY_ONE = 100

Space = dict[str, Any]


def suitable(case: SearchCase) -> list[str]:
    """Return the contenders of a case.

    skorch takes minutes, so it is used only in grid searches over networks.

    Parameters
    ----------
    case : SearchCase

    Returns
    -------
    list of str
    """
    if case.halves:
        return ["skbinary", "skbinary, full grid", "HalvingGridSearchCV, skbinary"]
    if isinstance(case.fit, NetworkCase) and case.fit.module is not None:
        return ["skbinary", "GridSearchCV, skorch"]
    if not isinstance(case.fit, NetworkCase):
        peers = ["GridSearchCV, lbfgs", "GridSearchCV, newton-cholesky"]
    elif case.draws is None:
        peers = ["GridSearchCV, MLPClassifier", "GridSearchCV, skorch"]
    else:
        peers = ["GridSearchCV, MLPClassifier"]
    if case.candidates > _MAX_ONE_BY_ONE:
        return ["skbinary", *(peer for peer in peers if peer != "GridSearchCV, skorch")]
    return ["skbinary", "GridSearchCV, skbinary", *peers]


class Search:
    """The grid or randomized search of a contender in a case.

    Parameters
    ----------
    contender : str
        A key of `SEARCHES`.
    case : SearchCase
    device : str
    jobs : int
        Value of ``n_jobs``.
    """

    def __init__(self, contender: str, case: SearchCase, device: str, jobs: int):
        self.contender = contender
        self.case = case
        self.device = device
        self.jobs = jobs

    def warm_up(self, X: Any, y: NDArray[Any]) -> None:
        """Search on a few rows for one epoch, so that workers start and import their libraries."""
        fit = self.case.fit
        if isinstance(fit, NetworkCase):
            fit = replace(fit, epochs=1)
        short = Search(self.contender, replace(self.case, fit=fit), self.device, self.jobs)
        short.fit(X[:_WARM_UP_ROWS], y[:_WARM_UP_ROWS])

    def fit(self, X: Any, y: NDArray[Any]) -> None:
        """Run the search."""
        from sklearn.exceptions import ConvergenceWarning

        if self.contender == "GridSearchCV, skorch":
            y = y.astype(np.float32)  # its loss needs float targets
        self._search = self._make(X.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._search.fit(X, y)
        results = self._search.cv_results_
        tried = np.count_nonzero(results.get("iter", np.zeros(len(results["params"]))) == 0)
        if tried != self.case.candidates:
            raise RuntimeError(f"tried {tried} of {self.case.candidates} candidates")

    @property
    def best_score(self) -> float:
        """Highest mean test score, of the last round if it is a search by halving."""
        return float(self._search.best_score_)

    @property
    def split_scores(self) -> list[list[float]]:
        """Test scores, a list for each candidate."""
        results = self._search.cv_results_
        folds = range(self.case.folds)
        return np.stack([results[f"split{k}_test_score"] for k in folds], axis=1).tolist()

    def _make(self, n_features: int) -> Any:
        estimator, space = SEARCHES[self.contender](self.case, n_features, self.device)
        settings = {
            "scoring": self.case.scoring,
            "cv": self.case.folds,
            "n_jobs": self.jobs,
            "refit": False,
            "error_score": "raise",  # a failed fit would count as a fast one
        }
        prefix = ""
        if self.case.scaled:
            estimator = _after_scaling(estimator, in_float32="skorch" in self.contender)
            prefix = "model__"
            space = {f"{prefix}{name}": values for name, values in space.items()}
        name = "GridSearchCV"
        if self.case.draws is not None:
            name = "RandomizedSearchCV"
            settings |= {"n_iter": self.case.draws, "random_state": 0}
        elif self.case.halves and self.contender != "skbinary, full grid":
            name = "HalvingGridSearchCV"
            settings |= {"resource": f"{prefix}max_iter", "return_train_score": False}
            settings["max_resources"] = estimator.get_params()[f"{prefix}max_iter"]
        if self.contender.startswith("skbinary"):
            make = _vectorized(name)
        else:
            make = _of_scikit_learn(name)
        return make(estimator, space, **settings)


def _vectorized(name: str) -> Any:
    import skbinary

    if not hasattr(skbinary, f"Vectorized{name}"):
        raise UnsuitableError(f"skbinary has no Vectorized{name}")
    return getattr(skbinary, f"Vectorized{name}")


def _of_scikit_learn(name: str) -> Any:
    if name == "HalvingGridSearchCV":
        importlib.import_module("sklearn.experimental.enable_halving_search_cv")
    return getattr(importlib.import_module("sklearn.model_selection"), name)


def _after_scaling(estimator: Any, *, in_float32: bool) -> Any:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    steps = [("scale", StandardScaler()), ("model", estimator)]
    if in_float32:
        steps.insert(1, ("cast", FunctionTransformer(_to_float32)))
    return Pipeline(steps)


def _to_float32(X: NDArray[Any]) -> NDArray[Any]:
    return X.astype(np.float32)


def _space(case: SearchCase) -> Space:
    """Return the search space, with ranges as distributions of scipy."""
    from scipy.stats import loguniform, uniform

    def convert(values: Any) -> Any:
        if not isinstance(values, Range):
            return list(values)
        low, high = values.low, values.high
        return loguniform(low, high) if values.logarithmic else uniform(low, high - low)

    return {name: convert(values) for name, values in case.grid}


def _network_settings(case: NetworkCase) -> dict[str, Any]:
    """Return settings with which all epochs run."""
    return {**same_settings(case), "max_iter": case.epochs, "n_iter_no_change": case.epochs}


def _skbinary(case: SearchCase, n_features: int, device: str) -> tuple[Any, Space]:
    if isinstance(case.fit, NetworkCase):
        from skbinary import TorchMLPClassifier

        if case.fit.module is not None:
            epochs = case.fit.epochs
            all_epochs = {"max_iter": epochs, "n_iter_no_change": epochs, "device": device}
            return skbinary_module(case.fit, **all_epochs), _space(case)
        return TorchMLPClassifier(**_network_settings(case.fit), device=device), _space(case)
    from skbinary import TorchLogisticClassifier

    return TorchLogisticClassifier(device=device), _space(case)


def _mlp_classifier(case: SearchCase, n_features: int, device: str) -> tuple[Any, Space]:
    """Search without threshold, and over more learning rates instead of dropout."""
    from sklearn.neural_network import MLPClassifier

    assert isinstance(case.fit, NetworkCase)
    space = _space(case)
    space.pop("threshold", None)
    dropouts = space.pop("dropout", None)
    if dropouts is not None:
        rates = space["learning_rate_init"]
        count = len(rates) * len(dropouts)
        space["learning_rate_init"] = np.geomspace(min(rates), max(rates), count).tolist()
    return MLPClassifier(**_network_settings(case.fit)), space


def _skorch(case: SearchCase, n_features: int, device: str) -> tuple[Any, Space]:
    fit = case.fit
    assert isinstance(fit, NetworkCase)
    net = skorch_net(fit, device, max_epochs=fit.epochs, module__n_features=n_features)
    space = _space(case)
    decays = [alpha / fit.batch_size for alpha in space["alpha"]]
    theirs = {"lr": space["learning_rate_init"], "optimizer__weight_decay": decays}
    if "dropout" in space:
        theirs["module__dropout"] = space["dropout"]
    return net, theirs


def _sklearn(solver: str) -> Callable[[SearchCase, int, str], tuple[Any, Space]]:
    def make(case: SearchCase, n_features: int, device: str) -> tuple[Any, Space]:
        from sklearn.linear_model import LogisticRegression

        if solver == "newton-cholesky" and n_features > _MAX_FEATURES_FOR_NEWTON:
            raise UnsuitableError(
                f"each iteration would solve a system with a matrix of {n_features:,} x "
                f"{n_features:,}"
            )
        return LogisticRegression(solver=solver), _space(case)

    return make


SEARCHES: Mapping[str, Callable[[SearchCase, int, str], tuple[Any, Space]]] = {
    "skbinary": _skbinary,
    "skbinary, full grid": _skbinary,
    "HalvingGridSearchCV, skbinary": _skbinary,
    "GridSearchCV, skbinary": _skbinary,
    "GridSearchCV, MLPClassifier": _mlp_classifier,
    "GridSearchCV, skorch": _skorch,
    "GridSearchCV, lbfgs": _sklearn("lbfgs"),
    "GridSearchCV, newton-cholesky": _sklearn("newton-cholesky"),
}
