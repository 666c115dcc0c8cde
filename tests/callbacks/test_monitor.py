"""Early stopping: when it is on, what it monitors, and which weights it keeps."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, make_scorer, matthews_corrcoef, roc_auc_score

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.estimators.recipe import ENOUGH_ROWS

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
def test_early_stopping_auto_is_on_with_enough_rows(n_rows, params, is_on):
    model = network(**params).fit(X[:n_rows], Y[:n_rows])
    assert (model.validation_loss_curve_ is not None) == is_on
    assert (model.best_loss_ is None) == is_on


def test_early_stopping_auto_uses_the_given_validation_set():
    model = network(n_iter_no_change=3).fit(X[:100], Y[:100], **HELD)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_))


def test_early_stopping_auto_is_off_in_partial_fit():
    model = network()
    for _ in range(2):
        model.partial_fit(X, Y)
    assert model.validation_loss_curve_ is None
    assert model.t_ == 2 * len(Y)


def test_monitor_loss_keeps_the_epoch_with_the_lowest_loss():
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
def test_monitor_scorer_keeps_the_epoch_with_the_highest_score(name):
    metric, kind = SCORERS[name]
    model = network(monitor=name, learning_rate_init=0.05).fit(X[:300], Y[:300], **HELD)
    assert model.best_epoch_ == 1 + int(np.argmax(model.validation_scores_))
    given = model.decision_function(X[800:]) if kind == "score" else model.predict(X[800:])
    assert metric(Y[800:], given) == pytest.approx(model.best_validation_score_, abs=1e-6)


def test_monitor_scorer_uses_the_sample_weight():
    weight = np.random.default_rng(0).uniform(0.1, 5, 400)
    model = network(monitor="roc_auc", learning_rate_init=0.05)
    model.fit(X[:300], Y[:300], sample_weight_val=weight, **HELD)
    expected = roc_auc_score(Y[800:], model.decision_function(X[800:]), sample_weight=weight)
    assert expected == pytest.approx(model.best_validation_score_, abs=1e-6)


def test_monitor_callable_receives_the_validation_set():
    seen, labels = [], np.array(["no", "yes"])[Y]

    def accuracy(estimator, rows, y):
        seen.append((rows.copy(), y.copy()))
        return np.mean(estimator.predict(rows) == y)

    model = network(monitor=accuracy, max_iter=3)
    model.fit(X[:300], labels[:300], X_val=X[800:], y_val=labels[800:])
    assert len(seen) == model.n_iter_
    assert_array_equal(seen[0][0], X[800:])
    assert_array_equal(seen[0][1], labels[800:])


def test_monitor_callable_receives_the_held_out_rows():
    def first(estimator, rows, y):
        assert len(rows) == len(y)
        assert 110 < len(y) < 130
        return float(estimator.predict_proba(rows)[0, 1])

    model = network(monitor=first, max_iter=3).fit(X, Y)
    assert len(model.validation_scores_) == 3


def test_monitor_scorer_of_make_scorer_equals_its_name():
    model = network(monitor=make_scorer(matthews_corrcoef)).fit(X[:300], Y[:300], **HELD)
    by_name = network(monitor="matthews_corrcoef").fit(X[:300], Y[:300], **HELD)
    assert_array_equal(model.coefs_[0], by_name.coefs_[0])


def test_monitor_scorer_with_few_rows_of_a_class_is_replaced_by_the_loss():
    y = (np.arange(len(Y)) % 300 == 0).astype(int)
    with pytest.warns(UserWarning, match=r"at least 5 rows of each class for monitor, got 1\."):
        model = network(monitor="roc_auc").fit(X, y)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_))


def test_monitor_callable_with_other_rows_is_an_error():
    def half(estimator, rows, y):
        return np.mean(estimator.predict(rows[::2]) == y[::2])

    with pytest.raises(
        ValueError, match=r"X must be the whole validation set of 400 rows .* got 200 rows"
    ):
        network(monitor=half).fit(X[:300], Y[:300], **HELD)


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [("roc_acu", "Did you mean 'roc_auc'?"), ("losss", "Did you mean 'loss'?")],
)
def test_monitor_unknown_name_is_an_error(monitor, hint):
    model = network(monitor=monitor)
    with pytest.raises(ValueError, match="monitor must be 'loss', the name of a scorer") as caught:
        model.fit(X, Y)
    assert hint in str(caught.value)
    assert not hasattr(model, "classes_")


def test_monitor_without_a_validation_set_is_an_error():
    with pytest.raises(
        ValueError, match=r"monitor must have validation rows, got monitor='roc_auc'"
    ):
        network(monitor="roc_auc", early_stopping=False).fit(X, Y)


def test_monitor_loss_of_a_logistic_regression_keeps_the_lowest_loss():
    model = TorchLogisticClassifier(
        solver="sgd", early_stopping=True, monitor="loss", learning_rate_init=0.5, random_state=0
    ).fit(X[:300], Y[:300], **HELD)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_))
