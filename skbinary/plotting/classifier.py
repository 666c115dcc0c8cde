"""Find the fitted classifier inside a pipeline or a search."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.base import BinaryClassifier


def find_threshold_owner(estimator: Any) -> Any:
    """Return the fitted skbinary classifier, or the ensemble of a search, inside an estimator.

    Both have a threshold. None is returned if there is neither.

    Parameters
    ----------
    estimator : object
        The classifier, a ``Pipeline`` that ends with it, or a search over either.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If it is a search that did not refit its best candidate.
    """
    inner = _inner_estimator(estimator)
    if not hasattr(inner, "_threshold_in_force"):
        return None
    check_is_fitted(inner)
    return inner


def _inner_estimator(estimator: Any) -> Any:
    """Return what is inside searches and pipelines."""
    while True:
        if isinstance(estimator, BaseSearchCV):
            estimator = _best_estimator(estimator)
        elif isinstance(estimator, Pipeline) and estimator.steps:
            estimator = estimator.steps[-1][1]
        else:
            return estimator


def require_classifier(estimator: Any, alternative: str) -> BinaryClassifier:
    """Return the fitted skbinary classifier inside an estimator.

    Parameters
    ----------
    estimator : object
        The classifier, a ``Pipeline`` that ends with it, or a search over either.
    alternative : str
        What the user can do with other estimators, for the message.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If there is none, or if it is in a search that did not refit its best candidate.
    """
    inner = _inner_estimator(estimator)
    if not isinstance(inner, BinaryClassifier):
        raise ValueError(not_a_classifier(estimator, alternative))
    check_is_fitted(inner)
    return inner


def not_a_classifier(estimator: Any, alternative: str) -> str:
    """Return the message for an estimator that is no skbinary classifier."""
    got = type(estimator).__name__
    if getattr(estimator, "ensemble_size", None) is not None:
        got += f" with ensemble_size={estimator.ensemble_size}"
    return (
        "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier, a Pipeline that "
        f"ends with one, or a search over one, got {got}. {alternative}"
    )


def _best_estimator(search: Any) -> Any:
    check_is_fitted(search)
    if not hasattr(search, "best_estimator_"):
        raise ValueError(
            f"refit of a search must be True to draw its best estimator, got {search.refit!r}. Set "
            "refit=True, or fit an estimator with best_params_."
        )
    return search.best_estimator_
