"""Early stopping: when it is on, what it watches, and what it keeps."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, make_scorer, matthews_corrcoef, roc_auc_score

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.estimators.base import ENOUGH_ROWS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(1200, 8, n_informative=5, flip_y=0.2, random_state=0)
HELD = {"X_val": X[800:], "y_val": Y[800:]}


def network(**params):
    params = {"max_iter": 20, "batch_size": 50, "random_state": 0, **params}
    return TorchMLPClassifier((8,), **params)


@pytest.mark.parametrize(
    ("n_rows", "params", "is_on"),
    [
        (ENOUGH_ROWS, {}, True),
        (ENOUGH_ROWS - 1, {}, False),
        (ENOUGH_ROWS - 1, {"monitor": "roc_auc"}, True),
        (ENOUGH_ROWS - 1, {"early_stopping": True}, True),
        (ENOUGH_ROWS, {"early_stopping": False}, False),
        (ENOUGH_ROWS, {"solver": "lbfgs"}, False),
    ],
    ids=str,
)
def test_auto_is_on_where_there_are_enough_rows(n_rows, params, is_on):
    model = network(**params).fit(X[:n_rows], Y[:n_rows])
    assert (model.validation_loss_curve_ is not None) == is_on
    assert (model.best_loss_ is None) == is_on


def test_auto_takes_the_given_rows():
    model = network(n_iter_no_change=3).fit(X[:100], Y[:100], **HELD)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_))


def test_auto_is_off_in_partial_fit():
    model = network()
    for _ in range(2):
        model.partial_fit(X, Y)
    assert model.validation_loss_curve_ is None
    assert model.t_ == 2 * len(Y)


def test_loss_is_watched_and_its_best_epoch_kept():
    model = network(learning_rate_init=0.05, max_iter=100, n_iter_no_change=4)
    model.fit(X[:300], Y[:300], **HELD)
    curve = model.validation_loss_curve_
    assert model.stop_reason_ == "validation_loss"
    assert model.best_epoch_ == 1 + int(np.argmin(curve))
    assert model.n_iter_ == len(curve) < 100
    logits = model.decision_function(X[800:])
    assert np.mean(np.logaddexp(0, logits) - Y[800:] * logits) == pytest.approx(
        min(curve), abs=1e-6
    )


SCORERS = {
    "roc_auc": (roc_auc_score, "score"),
    "average_precision": (average_precision_score, "score"),
    "matthews_corrcoef": (matthews_corrcoef, "label"),
}


@pytest.mark.parametrize("name", SCORERS)
def test_scorer_is_watched_and_its_best_epoch_kept(name):
    metric, kind = SCORERS[name]
    model = network(monitor=name, learning_rate_init=0.05).fit(X[:300], Y[:300], **HELD)
    assert model.best_epoch_ == 1 + int(np.argmax(model.validation_scores_))
    given = model.decision_function(X[800:]) if kind == "score" else model.predict(X[800:])
    assert metric(Y[800:], given) == pytest.approx(model.best_validation_score_, abs=1e-6)


def test_scorer_weighs_rows():
    weight = np.random.default_rng(0).uniform(0.1, 5, 400)
    model = network(monitor="roc_auc", learning_rate_init=0.05)
    model.fit(X[:300], Y[:300], sample_weight_val=weight, **HELD)
    expected = roc_auc_score(Y[800:], model.decision_function(X[800:]), sample_weight=weight)
    assert expected == pytest.approx(model.best_validation_score_, abs=1e-6)


def test_callable_sees_the_validation_rows_and_labels():
    seen, labels = [], np.array(["no", "yes"])[Y]

    def share_right(estimator, rows, y):
        seen.append((rows.copy(), y.copy()))
        return np.mean(estimator.predict(rows) == y)

    model = network(monitor=share_right, max_iter=3)
    model.fit(X[:300], labels[:300], X_val=X[800:], y_val=labels[800:])
    assert len(seen) == model.n_iter_
    assert_array_equal(seen[0][0], X[800:])
    assert_array_equal(seen[0][1], labels[800:])


def test_callable_sees_the_rows_that_were_held_out():
    def first(estimator, rows, y):
        assert len(rows) == len(y)
        assert 110 < len(y) < 130
        return float(estimator.predict_proba(rows)[0, 1])

    model = network(monitor=first, max_iter=3).fit(X, Y)
    assert len(model.validation_scores_) == 3


def test_scorer_made_by_make_scorer_is_taken():
    model = network(monitor=make_scorer(matthews_corrcoef)).fit(X[:300], Y[:300], **HELD)
    twin = network(monitor="matthews_corrcoef").fit(X[:300], Y[:300], **HELD)
    assert_array_equal(model.coefs_[0], twin.coefs_[0])


def test_few_rows_of_a_class_is_the_loss_instead():
    y = (np.arange(len(Y)) % 300 == 0).astype(int)
    with pytest.warns(UserWarning, match=r"at least 5 validation rows of each class, got 1 "):
        model = network(monitor="roc_auc").fit(X, y)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_))


def test_monitor_that_asks_about_other_rows_is_told():
    def half(estimator, rows, y):
        return np.mean(estimator.predict(rows[::2]) == y[::2])

    with pytest.raises(ValueError, match="monitor must ask about all 400 validation rows"):
        network(monitor=half).fit(X[:300], Y[:300], **HELD)


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [("roc_acu", "Did you mean 'roc_auc'?"), ("losss", "Did you mean 'loss'?")],
)
def test_monitor_that_is_unknown_is_told(monitor, hint):
    model = network(monitor=monitor)
    with pytest.raises(ValueError, match="monitor must be 'loss', the name of a scorer") as caught:
        model.fit(X, Y)
    assert hint in str(caught.value)
    assert not hasattr(model, "classes_")


def test_monitor_without_validation_rows_is_told():
    with pytest.raises(
        ValueError, match=r"monitor must have validation rows, got monitor='roc_auc'"
    ):
        network(monitor="roc_auc", early_stopping=False).fit(X, Y)


def test_logistic_regression_watches_what_it_is_told():
    model = TorchLogisticClassifier(
        solver="sgd", early_stopping=True, monitor="loss", learning_rate_init=0.5, random_state=0
    ).fit(X[:300], Y[:300], **HELD)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_))
