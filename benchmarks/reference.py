"""The best known optimum of a logistic case, from float64 fits of several solvers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from benchmarks.cases import LogisticCase
from benchmarks.objective import objective

# A Newton step costs rows * features ** 2. With more features, only solvers that need nothing but
# matrix-vector products are used.
_MAX_FEATURES_FOR_NEWTON = 1_000


def best_objective(X: Any, y: NDArray[Any], case: LogisticCase) -> float:
    """Return the lowest objective that any solver reaches.

    Parameters
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    case : LogisticCase

    Returns
    -------
    float
    """
    X = X.astype(np.float64)
    settings = {"C": case.C, "l1_ratio": case.l1_ratio}
    return min(
        objective(X, y, coef, intercept, **settings)
        for coef, intercept in _solutions(X, y, case)
    )  # fmt: skip


def _solutions(X: Any, y: Any, case: LogisticCase) -> Iterator[tuple[NDArray[Any], float]]:
    small = X.shape[1] <= _MAX_FEATURES_FOR_NEWTON
    if small:
        yield _newton(X, y, case)
    if case.l1_ratio:
        return
    for solver in ("newton-cholesky",) if small else ("lbfgs", "newton-cg"):
        peer = LogisticRegression(
            C=case.C, fit_intercept=case.fit_intercept, solver=solver, tol=1e-12, max_iter=5_000
        )
        with warnings.catch_warnings():
            # At this tolerance, solvers warn that the line search finds no better point.
            warnings.simplefilter("ignore")
            peer.fit(X, y)
        yield peer.coef_[0], float(peer.intercept_[0])


def _newton(X: Any, y: Any, case: LogisticCase) -> tuple[NDArray[Any], float]:
    """Minimize by proximal Newton steps, which are halved until the objective decreases.

    Independent of the contenders. A column of ones represents the intercept.
    """
    n_samples, n_features = X.shape
    if case.fit_intercept:
        ones = np.ones((n_samples, 1))
        X = sparse.csr_matrix(sparse.hstack([X, ones])) if sparse.issparse(X) else np.c_[X, ones]
    penalized = np.arange(X.shape[1]) < n_features
    l1, l2 = case.l1_ratio * penalized, (1 - case.l1_ratio) * penalized
    weights = np.zeros(X.shape[1])

    def value(weights: NDArray[Any]) -> float:
        logits = X @ weights
        loss = case.C * np.sum(np.logaddexp(0, logits) - y * logits)
        return float(loss + l1 @ np.abs(weights) + l2 @ weights**2 / 2)

    now = value(weights)
    for _ in range(100):
        probabilities = expit(X @ weights)
        gradient = case.C * (X.T @ (probabilities - y)) + l2 * weights
        curvature = case.C * probabilities * (1 - probabilities)
        hessian = _weighted_gram(X, curvature) + np.diag(l2)
        step = _minimize_model(weights, gradient, hessian, l1) - weights
        before = now
        for halvings in range(40):
            candidate = weights + step / 2**halvings
            now = value(candidate)
            if now <= before:
                weights = candidate
                break
        else:
            break
        if before - now <= 1e-15 * abs(before):
            break
    return weights[:n_features], float(weights[n_features:].sum())


def _weighted_gram(X: Any, weights: NDArray[Any]) -> NDArray[Any]:
    if sparse.issparse(X):
        return np.asarray((X.T @ sparse.diags(weights) @ X).todense())
    return X.T @ (X * weights[:, np.newaxis])


def _minimize_model(
    start: NDArray[Any], gradient: NDArray[Any], hessian: NDArray[Any], l1: NDArray[Any]
) -> NDArray[Any]:
    """Minimize the quadratic model plus the L1 penalty."""
    diagonal = np.maximum(np.diag(hessian), np.finfo(float).tiny)
    if not l1.any():
        # Scaled, so that features of very different scale do not ruin the factorization.
        scale = 1 / np.sqrt(diagonal)
        scaled = hessian * scale * scale[:, np.newaxis] + 1e-14 * np.eye(len(scale))
        return start - scale * linalg.solve(scaled, scale * gradient, assume_a="pos")
    weights, gradient = start.copy(), gradient.copy()
    for _ in range(1_000):
        largest = 0.0
        for j in range(len(weights)):
            target = weights[j] - gradient[j] / diagonal[j]
            shrunk = np.sign(target) * max(abs(target) - l1[j] / diagonal[j], 0)
            move = shrunk - weights[j]
            if move:
                gradient += hessian[:, j] * move
                weights[j] = shrunk
                largest = max(largest, abs(move) * np.sqrt(diagonal[j]))
        if largest < 1e-11:
            break
    return weights
