"""Weights times a factor: the objective is multiplied by it, and the model is the same."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from skbinary import (
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)
from skbinary.data.weights import scale_weights

SIZES = [1e-300, 1e-46, 1e39, 1e300]
LINEAR = [
    {},
    {"solver": "lbfgs", "max_iter": 1000},
    {"l1_ratio": 0.5},
    {"solver": "adam", "random_state": 0, "max_iter": 20},
    {"solver": "sgd", "random_state": 0, "max_iter": 20},
]
NETWORKS = [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"n_members": 2}]
IGNORED = "ignore::sklearn.exceptions.ConvergenceWarning"


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(120, 6, flip_y=0.2, random_state=0)
    return X, y, np.random.default_rng(0).uniform(0.1, 3, 120)


@pytest.mark.parametrize("size", SIZES)
def test_scale_weights_of_any_size_keeps_all_digits(size):
    weight = np.random.default_rng(0).uniform(0.1, 3, 10)
    scaled, exponent = scale_weights(weight * size, weight)
    assert 1 <= scaled.max() < 2
    expected = (weight * size) / (weight * size).max() * weight
    np.testing.assert_allclose(scaled / scaled.max(), expected / expected.max(), rtol=1e-14)
    in_all = np.log2(scaled.max()) + exponent
    assert in_all == pytest.approx(np.log2((weight * weight).max()) + np.log2(size), rel=1e-12)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize(("size", "sparse"), [(1e-300, True), (1e39, False), (1e300, True)])
@pytest.mark.parametrize("settings", LINEAR, ids=str)
def test_logistic_weights_times_a_factor_are_c_divided_by_it(data, settings, sparse, size):
    X, y, weight = data
    X = sp.csr_array(X) if sparse else X
    plain = TorchLogisticClassifier(**settings).fit(X, y, weight)
    other = TorchLogisticClassifier(C=1 / size, **settings).fit(X, y, weight * size)
    np.testing.assert_allclose(other.coef_, plain.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other.loss_curve_[-1], plain.loss_curve_[-1], rtol=1e-5)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("size", [1e-300, 1e300])
@pytest.mark.parametrize("settings", NETWORKS, ids=str)
def test_network_weights_times_a_factor_are_alpha_times_it(data, settings, size):
    X, y, weight = data
    common = {"max_iter": 10, "random_state": 0, **settings}
    plain = TorchMLPClassifier((4,), alpha=1.0, **common).fit(X, y, weight)
    other = TorchMLPClassifier((4,), alpha=size, **common).fit(X, y, weight * size)
    for own, expected in zip(other.coefs_, plain.coefs_, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("settings", LINEAR, ids=str)
def test_logistic_tiny_weights_leave_the_intercept_only(data, settings):
    X, y, _ = data
    model = TorchLogisticClassifier(**{**settings, "max_iter": 1000})
    model.fit(X, y, np.full(len(y), 1e-300))
    in_batches = settings.get("solver") in ("adam", "sgd")
    np.testing.assert_allclose(model.coef_, 0, atol=0.02 if in_batches else 1e-20)
    prior = np.full(len(y), y.mean())
    assert model.loss_curve_[-1] == pytest.approx(log_loss(y, prior), rel=0.05)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("size", [1e-300, 1e300])
@pytest.mark.parametrize("settings", [{}, {"solver": "adam", "random_state": 0}], ids=str)
def test_class_weights_of_any_size_are_c_divided_by_it(data, settings, size):
    X, y, _ = data
    common = {"max_iter": 100, **settings}
    plain = TorchLogisticClassifier(class_weight={0: 1, 1: 3}, **common).fit(X, y)
    weights = {0: size, 1: 3 * size}
    other = TorchLogisticClassifier(C=1 / size, class_weight=weights, **common).fit(X, y)
    np.testing.assert_allclose(other.coef_, plain.coef_, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("solver", ["newton-cholesky", "adam"])
def test_class_and_row_weights_whose_products_underflow_train_on_all_rows(data, solver):
    X, y, weight = data
    settings = {"solver": solver, "random_state": 0, "C": np.inf}
    plain = TorchLogisticClassifier(**settings).fit(X, y, weight)
    weights = {0: 1e-200, 1: 1e-200}
    other = TorchLogisticClassifier(class_weight=weights, **settings).fit(X, y, weight * 1e-200)
    np.testing.assert_allclose(other.coef_, plain.coef_, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize(("solver", "size"), [("newton-cholesky", 1e-300), ("adam", 1e300)])
def test_balanced_classes_do_not_depend_on_the_size_of_weights(data, solver, size):
    X, y, weight = data
    settings = {"class_weight": "balanced", "solver": solver, "random_state": 0}
    plain = TorchLogisticClassifier(**settings).fit(X, y, weight)
    other = TorchLogisticClassifier(C=1 / size, **settings).fit(X, y, weight * size)
    np.testing.assert_allclose(other.coef_, plain.coef_, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_validation_weights_of_any_size_have_the_same_curves(data, size):
    X, y, weight = data
    settings = {"early_stopping": True, "max_iter": 10, "random_state": 0}
    plain, other = (
        TorchMLPClassifier((4,), **settings).fit(
            X[:80], y[:80], X_val=X[80:], y_val=y[80:], sample_weight_val=weight[80:] * factor
        )
        for factor in (1.0, size)
    )
    np.testing.assert_allclose(other.validation_loss_curve_, plain.validation_loss_curve_)
    np.testing.assert_allclose(other.validation_scores_, plain.validation_scores_)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize(
    ("solver", "n_rows", "size"),
    [
        ("newton-cholesky", 120, 1e-300),
        ("newton-cholesky", 30_000, 1e300),
        ("newton-cholesky", 30_000, 1e-46),
        ("adam", 120, 1e39),
        ("adam", 120, 1e-300),
    ],
)
def test_search_with_weights_of_any_size_has_the_scores_of_c_divided_by_it(solver, size, n_rows):
    X, y = make_classification(n_rows, 6, flip_y=0.2, random_state=0)
    weight = np.random.default_rng(0).uniform(0.1, 3, n_rows)
    max_iter = 3 if solver == "adam" else 100
    model = TorchLogisticClassifier(solver=solver, random_state=0, max_iter=max_iter)
    plain, other = (
        VectorizedGridSearchCV(
            model, {"C": [0.01 / factor, 1 / factor]}, cv=2, scoring="neg_log_loss", refit=False
        ).fit(X, y, sample_weight=weight * factor)
        for factor in (1.0, size)
    )
    expected = plain.cv_results_["mean_test_score"]
    np.testing.assert_allclose(other.cv_results_["mean_test_score"], expected, rtol=1e-5)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_threshold_chosen_with_weights_of_any_size_is_the_same(data, size):
    X, y, weight = data
    plain = TorchLogisticClassifier(threshold="f1").fit(X, y, weight)
    other = TorchLogisticClassifier(threshold="f1", C=1 / size).fit(X, y, weight * size)
    assert other.threshold_ == pytest.approx(plain.threshold_, abs=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        TorchLogisticClassifier(),
        TorchLogisticClassifier(threshold="f1"),
        TorchMLPClassifier(max_iter=2),
        TorchMLPClassifier(max_iter=2, n_members=2),
        TorchMLPClassifier(max_iter=2, early_stopping=True),
    ],
    ids=str,
)
def test_class_weight_of_zero_for_all_rows_with_a_weight_is_an_error(data, model):
    X, y, _ = data
    with pytest.raises(ValueError, match="class_weight and sample_weight must leave rows"):
        clone(model).set_params(class_weight={1: 0}).fit(X, y, sample_weight=y == 1)


def test_fold_of_a_path_without_weights_raises_the_error_of_fit():
    X, y = make_classification(9000, 10, random_state=0)
    weight = np.repeat([0.0, 1.0], 4500)
    halves = [(np.arange(4500), np.arange(4500, 9000))]
    search = VectorizedGridSearchCV(
        TorchLogisticClassifier(), {"C": [0.1, 1.0]}, cv=halves, error_score="raise"
    )
    with pytest.raises(ValueError, match="sample_weight must not be all zero"):
        search.fit(X, y, sample_weight=weight)


@pytest.mark.filterwarnings("error::RuntimeWarning", IGNORED)
@pytest.mark.parametrize(
    ("threshold", "size"),
    [("f1", 1e-300), ({"cost_fp": 1, "cost_fn": 9}, 1e307), ({"recall": 0.9}, 1e-300)],
    ids=str,
)
def test_weights_times_a_factor_choose_the_same_threshold(data, threshold, size):
    X, y, weight = data
    model = TorchLogisticClassifier().fit(X, y, weight)
    plain = clone(model).fit(X, y, weight).tune_threshold(X, y, threshold, sample_weight=weight)
    model.tune_threshold(X, y, threshold, sample_weight=weight * size)
    assert model.threshold_ == plain.threshold_
    assert model.threshold_interval_ == plain.threshold_interval_
    mine, theirs = (
        ThresholdDisplay.from_estimator(plain, X, y, sample_weight=each)
        for each in (weight * size, weight)
    )
    for name, line in mine.metrics.items():
        np.testing.assert_allclose(line, theirs.metrics[name])


@pytest.mark.filterwarnings("error::RuntimeWarning", IGNORED)
@pytest.mark.parametrize("size", [1e-300, 1e307])
def test_weights_times_a_factor_have_the_same_out_of_fold_loss(data, size):
    X, y, weight = data
    model = TorchMLPClassifier((4,), max_iter=2, n_members=2, alpha=0, random_state=0)
    plain = clone(model).fit(X, y, weight).oof_loss_
    assert model.fit(X, y, weight * size).oof_loss_ == pytest.approx(plain, rel=1e-5)
