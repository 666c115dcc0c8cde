"""Find the fitted classifier inside a pipeline or a search."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.base import BinaryClassifier


def find_classifier(estimator: Any) -> BinaryClassifier | None:
    """Return the fitted skbinary classifier inside an estimator, or None if there is none.

    Parameters
    ----------
    estimator : object
        The classifier, a ``Pipeline`` that ends with it, or a search over either.

    Returns
    -------
    BinaryClassifier or None

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If it is a search that did not refit its best candidate.
    """
    inner = estimator
    while True:
        if isinstance(inner, BaseSearchCV):
            inner = _best_estimator(inner)
        elif isinstance(inner, Pipeline) and inner.steps:
            inner = inner.steps[-1][1]
        else:
            break
    if not isinstance(inner, BinaryClassifier):
        return None
    check_is_fitted(inner)
    return inner


def require_classifier(estimator: Any, alternative: str) -> BinaryClassifier:
    """Return the fitted skbinary classifier inside an estimator, or raise a ValueError.

    Parameters
    ----------
    estimator : object
        The classifier, a ``Pipeline`` that ends with it, or a search over either.
    alternative : str
        What the user can do with other estimators, for the message.
    """
    classifier = find_classifier(estimator)
    if classifier is None:
        raise ValueError(
            "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier, a Pipeline that "
            f"ends with one, or a search over one, got {type(estimator).__name__}. "
            f"{alternative}"
        )
    return classifier


def _best_estimator(search: Any) -> Any:
    check_is_fitted(search)
    if not hasattr(search, "best_estimator_"):
        raise ValueError(
            f"refit of a search must be True to draw its best estimator, got {search.refit!r}. Set "
            "refit=True, or fit an estimator with best_params_."
        )
    return search.best_estimator_
