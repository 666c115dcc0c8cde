"""Contenders of the logistic cases."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from benchmarks.cases import LogisticCase

_SKLEARN_SOLVERS = ("lbfgs", "newton-cholesky", "newton-cg", "sag", "saga", "liblinear")


class UnsuitableError(Exception):
    """A contender does not support a case."""


def suitable(case: LogisticCase) -> list[str]:
    """Return the contenders that minimize the objective of a case.

    liblinear penalizes the intercept, and of scikit-learn's solvers only saga supports the elastic
    net with an intercept that is not penalized.

    Parameters
    ----------
    case : LogisticCase

    Returns
    -------
    list of str
    """
    if case.l1_ratio:
        return ["skbinary", "saga", "cuML"]
    return [name for name in LOGISTICS if name != "liblinear" or not case.fit_intercept]


def _skbinary(case: LogisticCase, device: str, tol: float, max_iter: int) -> Any:
    from skbinary import TorchLogisticClassifier

    settings: dict[str, Any] = {}
    if case.l1_ratio:
        if "l1_ratio" not in inspect.signature(TorchLogisticClassifier).parameters:
            raise UnsuitableError("TorchLogisticClassifier has no l1_ratio")
        settings["l1_ratio"] = case.l1_ratio
    return TorchLogisticClassifier(
        C=case.C,
        fit_intercept=case.fit_intercept,
        tol=tol,
        max_iter=max_iter,
        device=device,
        **settings,
    )


def _sklearn(solver: str) -> Callable[[LogisticCase, str, float, int], Any]:
    def make(case: LogisticCase, device: str, tol: float, max_iter: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(
            C=case.C,
            l1_ratio=case.l1_ratio,
            fit_intercept=case.fit_intercept,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            random_state=0,
        )

    return make


def _cuml(case: LogisticCase, device: str, tol: float, max_iter: int) -> Any:
    from cuml.linear_model import LogisticRegression

    return LogisticRegression(
        C=case.C,
        penalty="elasticnet" if case.l1_ratio else "l2",
        l1_ratio=case.l1_ratio,
        fit_intercept=case.fit_intercept,
        tol=tol,
        linesearch_max_iter=100,
        max_iter=max_iter,
        output_type="numpy",
    )


LOGISTICS: dict[str, Callable[[LogisticCase, str, float, int], Any]] = {
    "skbinary": _skbinary,
    **{solver: _sklearn(solver) for solver in _SKLEARN_SOLVERS},
    "cuML": _cuml,
}
