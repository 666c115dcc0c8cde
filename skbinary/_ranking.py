"""The area under the ROC curve as searches ask for it: of one model after another, at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.metrics._scorer import _Scorer


def area_under_curve(positives: NDArray[Any], negatives: NDArray[Any]) -> float:
    """Give the share of pairs of a positive and a negative that are in order; ties count half.

    This is the area under the ROC curve: Hanley and McNeil, "The meaning and use of the area under
    a receiver operating characteristic (ROC) curve", 1982.

    Parameters
    ----------
    positives, negatives : ndarray of shape (n_positives,) and (n_negatives,)
        Their scores: at least one of each, and all finite.
    """
    few, many = (np.sort(each) for each in sorted((positives, negatives), key=len))
    # Sorted questions are answered from neighbouring memory.
    below = np.searchsorted(many, few, side="left")
    tied = many.take(below, mode="clip") == few
    not_above = np.searchsorted(many, few, side="right") if tied.any() else below
    share = (int(below.sum()) + int(not_above.sum())) / (2 * len(few) * len(many))
    return share if len(positives) <= len(negatives) else 1 - share


class QuickRocAuc:
    """scikit-learn's scorer ``"roc_auc"`` for classifiers of this package, in a sixth of its time.

    Parameters
    ----------
    scorer : callable
        scikit-learn's, which is asked where anything is out of the ordinary: weights, a class that
        is not there, scores that are not finite.
    """

    def __init__(self, scorer: Any):
        self.scorer = scorer

    def __call__(self, model: Any, X: Any, y: Any, **params: Any) -> Any:
        negative, positive = (np.asarray(y) == label for label in model.classes_)
        counts = np.count_nonzero(positive), np.count_nonzero(negative)
        if not params and all(counts) and sum(counts) == len(positive):
            scores = model.decision_function(X)
            if np.isfinite(scores).all():
                return area_under_curve(scores[positive], scores[negative])
        return self.scorer(model, X, y, **params)


def quick(scorer: Any) -> Any:
    """Give what scores as a scorer does, but sooner, or the scorer itself."""
    if (
        type(scorer) is _Scorer
        and scorer._score_func is roc_auc_score
        and (scorer._sign, scorer._kwargs) == (1, {})
        and tuple(scorer._response_method) == ("decision_function", "predict_proba")
    ):
        return QuickRocAuc(scorer)
    return scorer
