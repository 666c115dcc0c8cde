"""The fitted classifier in a pipeline or a search."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.base import BinaryClassifier


def find_classifier(estimator: Any) -> BinaryClassifier | None:
    """Give the fitted classifier of this package that has the last word, or None.

    Parameters
    ----------
    estimator : object
        The classifier, a ``Pipeline`` that ends with it, or a search around either.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If a search has not refitted its best candidate.
    """
    inner = estimator
    while True:
        if isinstance(inner, BaseSearchCV):
            inner = _best_of(inner)
        elif isinstance(inner, Pipeline) and inner.steps:
            inner = inner.steps[-1][1]
        else:
            break
    if not isinstance(inner, BinaryClassifier):
        return None
    check_is_fitted(inner)
    return inner


def the_classifier(estimator: Any, otherwise: str) -> BinaryClassifier:
    """Give the classifier, or say what must be given, and what to do otherwise."""
    classifier = find_classifier(estimator)
    if classifier is None:
        raise ValueError(
            "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier, a Pipeline that "
            f"ends with one, or a search around one, got {type(estimator).__name__}. "
            f"{otherwise}"
        )
    return classifier


def _best_of(search: Any) -> Any:
    check_is_fitted(search)
    if not hasattr(search, "best_estimator_"):
        raise ValueError(
            "A search must have refitted its best candidate to be drawn here, got "
            f"refit={search.refit!r}. Set refit=True, or fit its best_params_ yourself."
        )
    return search.best_estimator_
