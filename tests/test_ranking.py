"""The area under the ROC curve, as searches work it out, against scikit-learn's."""

import contextlib

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, make_scorer, roc_auc_score

from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
from skbinary._ranking import QuickRocAuc, area_under_curve, quick

X, Y = make_classification(400, n_features=5, flip_y=0.3, weights=[0.7], random_state=0)
MODEL = TorchLogisticClassifier().fit(X, Y)
USUAL = TorchLogisticClassifier.decision_function


@pytest.mark.parametrize("seed", range(200))
def test_area_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    n_positive, n_negative = rng.integers(1, 60, 2)
    y = np.repeat([1, 0], [n_positive, n_negative])
    scores = rng.normal(size=len(y)) + y
    if seed % 2:
        scores = np.round(scores, seed % 3)  # with ties
    if seed % 5 == 0:
        scores = scores.astype(np.float32)
    area = area_under_curve(scores[y == 1], scores[y == 0])
    assert area == pytest.approx(roc_auc_score(y, scores), abs=1e-12)


@pytest.fixture
def asked(monkeypatch):
    """Count how often scikit-learn is asked."""
    scorer = get_scorer("roc_auc")
    calls = []
    plain = type(scorer).__call__
    monkeypatch.setattr(
        type(scorer), "__call__", lambda *args, **kwargs: calls.append(1) or plain(*args, **kwargs)
    )
    return calls


def test_search_works_the_area_out_itself(asked):
    grid = {"C": [0.01, 1.0, 100.0]}
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), grid, scoring="roc_auc", cv=4)
    search.fit(X, Y)
    assert asked == []
    assert type(search.scorer_) is type(get_scorer("roc_auc"))


def test_search_gives_labels_of_any_kind_their_area(asked):
    words = np.where(Y == 1, "yes", "no")
    searches = [
        VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [1.0]}, scoring="roc_auc").fit(X, y)
        for y in (Y, words, words.astype(object))
    ]
    assert asked == []
    assert len({search.best_score_ for search in searches}) == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"y": np.ones(400, dtype=int), "expected": pytest.warns(UndefinedMetricWarning)},
        {"y": np.arange(400) % 3, "expected": pytest.raises(ValueError, match="multi_class")},
        {"y": Y, "sample_weight": 1.0 + Y},
    ],
    ids=["one class", "another class", "weights"],
)
def test_scikit_learn_is_asked_where_anything_is_odd(odd, asked):
    scorer = quick(get_scorer("roc_auc"), USUAL)
    assert type(scorer) is QuickRocAuc
    params = {"sample_weight": odd["sample_weight"]} if "sample_weight" in odd else {}
    expectation = odd.get("expected", contextlib.nullcontext())
    with expectation:
        scorer(MODEL, X, odd["y"], **params)
    assert asked == [1]


def test_scores_that_are_not_finite_are_left_to_scikit_learn(monkeypatch, asked):
    def decision_function(self, X):
        return np.where(X[:, 0] > 0, np.nan, 0.0)

    monkeypatch.setattr(TorchLogisticClassifier, "decision_function", decision_function)
    with pytest.raises(ValueError, match="NaN"):
        quick(get_scorer("roc_auc"), USUAL)(MODEL, X, Y)
    assert asked == [1]


@pytest.mark.parametrize(
    "scorer",
    [
        get_scorer("accuracy"),
        get_scorer("roc_auc_ovr"),
        make_scorer(roc_auc_score, max_fpr=0.5, response_method="decision_function"),
        make_scorer(roc_auc_score, greater_is_better=False, response_method="decision_function"),
        make_scorer(roc_auc_score),
        lambda model, X, y: 0.5,
    ],
)
def test_other_scorers_stay_what_they_are(scorer):
    assert quick(scorer, USUAL) is scorer


def test_rows_are_checked_once_for_models_that_score_the_same(monkeypatch):
    checked, original = [], TorchLogisticClassifier._checked_rows
    monkeypatch.setattr(
        TorchLogisticClassifier,
        "_checked_rows",
        lambda self, X: checked.append(1) or original(self, X),
    )
    scorer = quick(get_scorer("roc_auc"), USUAL)
    weak = TorchLogisticClassifier(C=1e-4).fit(X, Y)
    first, second = scorer(MODEL, X, Y), scorer(weak, X, Y)
    assert len(checked) == 1
    other = np.ascontiguousarray(X[::-1])
    third = scorer(MODEL, other, Y[::-1])
    assert len(checked) == 2
    assert first == third == pytest.approx(roc_auc_score(Y, MODEL.decision_function(X)))
    assert second == pytest.approx(roc_auc_score(Y, weak.decision_function(X)))


def test_score_of_a_subclass_is_its_own():
    class Backwards(TorchLogisticClassifier):
        def decision_function(self, X):
            return -super().decision_function(X)

    scorer = quick(get_scorer("roc_auc"), USUAL)
    backwards = Backwards().fit(X, Y)
    assert scorer(backwards, X, Y) == pytest.approx(1 - scorer(MODEL, X, Y))
