"""TorchLogisticClassifier against scikit-learn's LogisticRegression."""

import pickle
import warnings
from itertools import cycle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
from skbinary.solvers.result import DivergedError

FULL_BATCH = ["newton-cholesky", "lbfgs"]


@pytest.fixture(scope="module")
def data():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def peer_of(**params):
    return LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000, **params)


@pytest.mark.parametrize("solver", FULL_BATCH)
@pytest.mark.parametrize(
    ("params", "weighted", "sparse"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"C": 0.01}, False, True),
        ({"C": 100.0}, True, False),
        ({"fit_intercept": False}, False, False),
        ({"fit_intercept": False}, True, True),
        ({"class_weight": "balanced"}, True, False),
        ({"class_weight": {0: 3.0}}, False, True),
    ],
    ids=str,
)
def test_optimum_equals_logistic_regression(data, solver, params, weighted, sparse):
    X, y = data
    weight = np.random.default_rng(0).uniform(0, 2, len(y)) if weighted else None
    model = TorchLogisticClassifier(solver=solver, tol=1e-10, max_iter=5000, **params)
    model.fit(sp.csr_array(X) if sparse else X, y, weight)
    peer = peer_of(**params).fit(X, y, weight)
    largest = np.abs(peer.coef_).max()
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=0, atol=1e-5 * largest)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, rtol=0, atol=1e-5 * largest)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("solver", FULL_BATCH)
def test_optimum_without_penalty_equals_logistic_regression(solver):
    X, y = make_classification(400, 6, n_redundant=0, flip_y=0.2, random_state=0)
    model = TorchLogisticClassifier(C=np.inf, solver=solver, tol=1e-10, max_iter=1000).fit(X, y)
    peer = peer_of(C=np.inf).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-5)


@pytest.mark.parametrize("solver", FULL_BATCH)
def test_optimum_dependent_columns_without_penalty_has_small_weights(solver):
    X, y = make_classification(400, 6, n_redundant=2, flip_y=0.2, random_state=0)
    model = TorchLogisticClassifier(C=np.inf, solver=solver, tol=1e-10, max_iter=1000).fit(X, y)
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-6)
    assert np.linalg.norm(model.coef_) < 3 * np.linalg.norm(peer.coef_)


@pytest.mark.parametrize(("solver", "rate"), [("adam", 0.005), ("sgd", 0.02)])
def test_minibatches_come_near_the_optimum(data, solver, rate):
    X, y = data
    model = TorchLogisticClassifier(
        C=0.1, solver=solver, learning_rate_init=rate, max_iter=1000, tol=0, random_state=0
    ).fit(X, y)
    best = TorchLogisticClassifier(C=0.1, tol=1e-10).fit(X, y)

    def objective(fitted):
        penalty = np.sum(fitted.coef_**2) / (2 * 0.1 * len(y))
        return log_loss(y, fitted.predict_proba(X)) + penalty

    assert objective(model) == pytest.approx(objective(best), rel=0.01)


@pytest.mark.parametrize(("n_features", "solver"), [(500, "newton-cholesky"), (501, "lbfgs")])
def test_auto_solver_suits_the_width(n_features, solver):
    X, y = make_classification(600, n_features, random_state=0)
    assert TorchLogisticClassifier(max_iter=1000).fit(X, y).solver_ == solver


def test_auto_solver_few_rows_is_dual_newton():
    X, y = make_classification(60, 2000, random_state=0)
    model = TorchLogisticClassifier(tol=1e-10).fit(X, y)
    peer = LogisticRegression(tol=1e-10, max_iter=10000).fit(X, y)
    assert model.solver_ == "newton-cholesky"
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5 * np.abs(peer.coef_).max())


def test_fitted_attributes_have_scikit_learns_shapes(data):
    X, y = data
    model, peer = TorchLogisticClassifier().fit(X, y), LogisticRegression().fit(X, y)
    for name in ("coef_", "intercept_", "n_iter_", "classes_"):
        assert getattr(model, name).shape == getattr(peer, name).shape
        assert getattr(model, name).dtype == getattr(peer, name).dtype
    assert model.n_features_in_ == peer.n_features_in_


def test_loss_curve_ends_at_the_mean_log_loss(data):
    X, y = data
    weight = np.random.default_rng(0).uniform(0.1, 2, len(y))
    model = TorchLogisticClassifier().fit(X, y, weight)
    expected = log_loss(y, model.predict_proba(X), sample_weight=weight)
    assert model.loss_curve_[-1] == pytest.approx(expected, rel=1e-9)
    assert len(model.loss_curve_) == model.n_iter_[0]


def test_objective_adds_the_penalty(data):
    X, y = data
    model = TorchLogisticClassifier(C=0.5).fit(X, y)
    penalty = np.sum(model.coef_**2) / (2 * 0.5 * len(y))
    assert model.history_["objective"][-1] == pytest.approx(model.loss_curve_[-1] + penalty)


def test_columns_permuted_permutes_coef(data):
    X, y = data
    order = np.random.default_rng(0).permutation(X.shape[1])
    model = TorchLogisticClassifier(tol=1e-10).fit(X, y)
    permuted = TorchLogisticClassifier(tol=1e-10).fit(X[:, order], y)
    np.testing.assert_allclose(permuted.coef_, model.coef_[:, order], rtol=1e-8)


def test_warm_start_continues_from_the_optimum(data):
    X, y = data
    model = TorchLogisticClassifier(solver="lbfgs", warm_start=True, max_iter=1000, tol=1e-6)
    cold = model.fit(X, y).n_iter_[0]
    assert model.fit(X, y).n_iter_[0] < cold / 5
    assert len(model.loss_curve_) == cold + model.n_iter_[0]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_many_times_equals_fit(data, solver):
    X, y = data
    params = {"solver": solver, "shuffle": False, "random_state": 0, "max_iter": 4}
    whole = TorchLogisticClassifier(n_iter_no_change=4, **params).fit(X, y)
    steps = TorchLogisticClassifier(**params)
    for _ in range(4):
        steps.partial_fit(X, y, classes=[0, 1])
    np.testing.assert_array_equal(steps.coef_, whole.coef_)
    assert steps.loss_curve_ == whole.loss_curve_


def test_early_stopping_full_batch_keeps_the_best_epoch(data):
    X, y = data
    model = TorchLogisticClassifier(
        solver="lbfgs", early_stopping=True, monitor="accuracy", C=1e6, max_iter=500
    ).fit(X[:250], y[:250], X_val=X[250:], y_val=y[250:])
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(X[250:], y[250:]) == pytest.approx(model.best_validation_score_)
    assert model.best_epoch_ == 1 + int(np.argmax(model.validation_scores_))


def test_scores_are_one_function_of_the_logit(data):
    X, y = data
    model = TorchLogisticClassifier(threshold=0.2).fit(X, y)
    logit = model.decision_function(X)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-logit)), rtol=1e-12)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(model.predict(X), (proba[:, 1] >= 0.2).astype(int))
    np.testing.assert_array_equal(model.predict(X, threshold=0.9), (proba[:, 1] >= 0.9).astype(int))


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_predict_threshold_at_the_ends(data, threshold, share):
    X, y = data
    model = TorchLogisticClassifier(C=1e-3).fit(X, y)
    assert model.predict(X, threshold=threshold).mean() == share


@pytest.mark.parametrize(
    ("sparse", "l1_ratio", "C", "fit_intercept"),
    [
        (False, 0.3, 0.02, True),
        (False, 1.0, 1.0, False),
        (False, 0.3, 1.0, False),
        (True, 1.0, 0.02, True),
        (True, 0.3, 1.0, True),
        (True, 1.0, 0.02, False),
    ],
)
def test_elastic_net_equals_saga(sparse, l1_ratio, C, fit_intercept):
    X, y = make_classification(300, 12, n_informative=4, flip_y=0.2, random_state=0)
    params = {"C": C, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    model = TorchLogisticClassifier(tol=1e-10, **params)
    model.fit(sp.csr_array(X) if sparse else X, y, weight)
    peer = saga(tol=1e-9, max_iter=100_000, random_state=0, **params).fit(X, y, weight)
    largest = np.abs(peer.coef_).max()
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=0, atol=1e-5 * largest)
    assert model.solver_ == "prox-newton"
    assert np.sum(model.coef_ == 0) == np.sum(np.abs(peer.coef_) < 1e-7 * largest) > 0


def saga(**params):
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        params["penalty"] = "elasticnet"
    return LogisticRegression(solver="saga", **params)


def test_elastic_net_more_features_than_rows_meets_the_optimality_conditions():
    X, y = make_classification(80, 1500, n_informative=10, random_state=0)
    model = TorchLogisticClassifier(l1_ratio=0.9, C=0.5, tol=1e-9).fit(X, y)
    residual = model.predict_proba(X)[:, 1] - y
    slope = X.T @ residual * 0.5 + 0.1 * model.coef_[0]
    zero = model.coef_[0] == 0
    assert 0 < np.sum(~zero) < 80
    assert np.all(np.abs(slope[zero]) <= 0.9 + 1e-6)
    np.testing.assert_allclose(slope[~zero], -0.9 * np.sign(model.coef_[0][~zero]), atol=1e-6)


def test_elastic_net_strong_penalty_leaves_the_intercept_only(data):
    X, y = data
    model = TorchLogisticClassifier(l1_ratio=1.0, C=1e-4, tol=1e-10).fit(X, y)
    assert np.all(model.coef_ == 0)
    assert model.intercept_[0] == pytest.approx(np.log(y.mean() / (1 - y.mean())))


def test_elastic_net_with_another_solver_raises(data):
    X, y = data
    message = (
        "solver must be 'auto' or 'prox-newton' with an l1_ratio above 0, got 'lbfgs' with "
        "l1_ratio=0.5. Change one of them."
    )
    with pytest.raises(ValueError, match="prox-newton") as caught:
        TorchLogisticClassifier(solver="lbfgs", l1_ratio=0.5).fit(X, y)
    assert str(caught.value) == message


PEER_SOLVERS = ["liblinear", "newton-cd", "newton-cg", "sag", "saga"]


@pytest.mark.parametrize(
    ("solver", "n_features", "used"),
    [*((each, 12, "newton-cholesky") for each in PEER_SOLVERS), ("saga", 501, "lbfgs")],
)
def test_solver_of_scikit_learn_equals_auto(solver, n_features, used):
    X, y = make_classification(600, n_features, flip_y=0.2, random_state=0)
    model = TorchLogisticClassifier(solver=solver, max_iter=1000).fit(X, y)
    auto = TorchLogisticClassifier(max_iter=1000).fit(X, y)
    assert model.solver_ == auto.solver_ == used
    np.testing.assert_array_equal(model.coef_, auto.coef_)


@pytest.mark.parametrize(
    ("solver", "l1_ratio"),
    [("liblinear", 1.0), ("saga", 0.5), ("saga", 1.0), ("newton-cd", 0.5)],
)
def test_solver_of_scikit_learn_accepts_its_l1_ratios(solver, l1_ratio):
    X, y = make_classification(300, 12, n_informative=4, flip_y=0.2, random_state=0)
    model = TorchLogisticClassifier(solver=solver, l1_ratio=l1_ratio, C=0.02).fit(X, y)
    assert model.solver_ == "prox-newton"
    assert 0 < np.sum(model.coef_ == 0) < 12


@pytest.mark.parametrize(
    ("solver", "l1_ratio"), [("liblinear", 0.5), ("sag", 1.0), ("newton-cg", 0.5)]
)
def test_solver_of_scikit_learn_rejects_other_l1_ratios(solver, l1_ratio, data):
    with pytest.raises(ValueError, match="l1_ratio above 0") as caught:
        TorchLogisticClassifier(solver=solver, l1_ratio=l1_ratio).fit(*data)
    assert str(caught.value) == (
        f"solver must be 'auto' or 'prox-newton' with an l1_ratio above 0, got {solver!r} with "
        f"l1_ratio={l1_ratio:g}. Change one of them."
    )


def test_solver_of_scikit_learn_is_accepted_whatever_its_name(data):
    known = LogisticRegression._parameter_constraints["solver"][0].options
    search = VectorizedGridSearchCV(
        TorchLogisticClassifier(max_iter=1000), {"solver": sorted(known)}, cv=2
    ).fit(*data)
    assert np.all(search.cv_results_["mean_test_score"] > 0.9)


def test_partial_fit_with_a_full_batch_solver_of_scikit_learn_is_unavailable(data):
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        TorchLogisticClassifier(solver="saga").partial_fit(*data)
    assert str(caught.value.__cause__) == (
        "partial_fit must have a mini-batch solver, got solver='saga'. Use "
        "solver='adam' or solver='sgd'."
    )


def test_sparsify_changes_no_prediction(data):
    X, y = data
    model = TorchLogisticClassifier(l1_ratio=1.0, C=0.1, warm_start=True, tol=1e-10).fit(X, y)
    peer = LogisticRegression(l1_ratio=1.0, C=0.1, solver="saga").fit(X, y).sparsify()
    dense = model.coef_
    expected, module = model.predict_proba(X), model.module_
    assert model.sparsify() is model
    assert type(model.coef_) is type(peer.coef_)
    assert model.coef_.nnz == np.count_nonzero(dense)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
    for own, other in zip(model.module_.parameters(), module.parameters(), strict=True):
        np.testing.assert_array_equal(own.detach(), other.detach())
    np.testing.assert_allclose(model.net_.predict_proba(X.astype(np.float32)), expected, atol=1e-5)
    assert sp.issparse(model.coef_)
    assert "stop_reason_" in model._repr_html_()
    assert model.densify() is model
    np.testing.assert_array_equal(model.coef_, dense)
    model.sparsify().fit(X, y)  # continues from the optimum
    assert model.n_iter_[0] == 1
    np.testing.assert_allclose(model.coef_, dense, atol=1e-8)


def test_sparsify_between_calls_of_partial_fit_changes_nothing(data):
    X, y = data
    plain, other = (TorchLogisticClassifier(solver="adam", random_state=0) for _ in range(2))
    for _ in range(3):
        plain.partial_fit(X, y)
        other.partial_fit(X, y).sparsify()
    np.testing.assert_array_equal(other.densify().coef_, plain.coef_)


@pytest.mark.parametrize("method", ["sparsify", "densify"])
def test_sparsify_before_fit_raises(method):
    with pytest.raises(NotFittedError, match="must be fitted before"):
        getattr(TorchLogisticClassifier(), method)()


def test_elastic_net_no_coefficient_enters_and_no_intercept_gives_zeros(data):
    X, y = data
    model = TorchLogisticClassifier(C=1e-4, l1_ratio=1.0, fit_intercept=False).fit(X, y)
    assert np.all(model.coef_ == 0)
    assert model.stop_reason_ == "converged"
    np.testing.assert_array_equal(model.predict_proba(X), 0.5)


SOLVERS = [{}, {"solver": "lbfgs"}, {"l1_ratio": 0.5}]
FLAGS = [(False, True), (True, False), (True, True), (False, False)]


def in_turns(cases):
    """Return each case with two flags, whose four pairs take turns."""
    return [(case, *pair) for case, pair in zip(cases, cycle(FLAGS), strict=False)]


DEGENERATE = {
    "zeros, wide": np.zeros((5, 8)),
    "zeros, long": np.zeros((9, 2)),
    "a column of zeros": np.zeros((5, 1)),
    "a constant": np.ones((5, 8)),
    "rank one, wide": np.outer([1.0, 2.0, -1.0, 0.5, 3.0], np.ones(8)),
    "rank one, long": np.outer(np.arange(9.0), [1.0, 2.0]),
    "equal rows": np.eye(5, 8)[[0, 1, 1, 1, 1]],
}


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize(("name", "sparse", "fit_intercept"), in_turns(DEGENERATE))
def test_fit_degenerate_table_equals_logistic_regression(name, sparse, fit_intercept, settings):
    X = DEGENERATE[name]
    if "l1_ratio" in settings:
        settings = {"l1_ratio": 1e-12}
    y = np.arange(len(X)) % 2
    model = TorchLogisticClassifier(tol=1e-10, fit_intercept=fit_intercept, **settings)
    model.fit(sp.csr_array(X) if sparse else X, y)
    peer = peer_of(fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-7)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-7)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("settings", [{}, {"fit_intercept": False}, {"l1_ratio": 0.5}], ids=str)
def test_search_rows_of_zeros_score_as_chance(sparse, settings):
    X, y = np.zeros((12, 30)), np.arange(12) % 2
    search = VectorizedGridSearchCV(
        TorchLogisticClassifier(**settings), {"C": [0.1, 1.0]}, scoring="neg_log_loss", cv=3
    ).fit(sp.csr_array(X) if sparse else X, y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], -np.log(2))
    assert np.all(search.best_estimator_.coef_ == 0)


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize(("size", "sparse", "is_wide"), in_turns([1e155, 1e200, 1e300, 1.7e308]))
def test_fit_squares_that_overflow_raises_with_advice(size, sparse, is_wide, settings):
    X = np.random.default_rng(0).standard_normal((60, 80 if is_wide else 3))
    X[::5, :2] = size
    model = TorchLogisticClassifier(**settings)
    with pytest.raises(DivergedError) as caught:
        model.fit(sp.csr_array(X) if sparse else X, np.arange(60) % 2)
    assert str(caught.value) == (
        "The squares of the features must be finite numbers, got a feature whose squares overflow. "
        "Clip values that stand for infinity, or bring the features to one scale "
        "(StandardScaler)."
    )
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("n_rows", [60, 30_000])
def test_search_squares_that_overflow_fail_every_fit(n_rows):
    X = np.random.default_rng(0).standard_normal((n_rows, 3))
    X[::5, 0] = 1e300
    search = VectorizedGridSearchCV(
        TorchLogisticClassifier(), {"C": [0.1, 1.0]}, cv=2, refit=False, error_score=np.nan
    )
    with pytest.raises(ValueError, match="squares of the features"):
        search.fit(X, np.arange(n_rows) % 2)  # all of them have failed


@pytest.mark.parametrize(
    ("shape", "sparse"), [((200, 5), True), ((40, 60), False), ((1000, 30), False)]
)
@pytest.mark.parametrize("settings", SOLVERS, ids=str)
def test_fit_without_tol_converges_and_does_not_warn(shape, sparse, settings):
    X, y = make_classification(*shape, flip_y=0.2, random_state=0)
    model = TorchLogisticClassifier(tol=0, max_iter=1000, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(sp.csr_array(X) if sparse else X, y)
    assert model.n_iter_[0] < 1000
    assert model.stop_reason_ in ("rounding", "converged")
    fine = TorchLogisticClassifier(tol=1e-9, max_iter=1000, **settings).fit(X, y)
    np.testing.assert_allclose(model.coef_, fine.coef_, atol=1e-5)


def test_search_without_tol_does_not_warn(data):
    search = VectorizedGridSearchCV(TorchLogisticClassifier(tol=0), {"C": [0.1, 1.0]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.fit(*data)
    assert search.best_estimator_.n_iter_[0] < 100


def with_time_stamps(n_rows=400):
    """Return rows in which one column is a time in milliseconds, and the rows with it centered."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 6))
    y = (X[:, 0] + rng.standard_normal(n_rows) > 0).astype(int)
    X[:, 0] *= 1e9
    stamps = X.copy()
    stamps[:, 0] += 1.7e12
    return stamps, X, y


@pytest.mark.parametrize(
    ("kind", "C"), [("array", np.inf), ("float32", 1.0), ("memmap", np.inf), ("memmap", 1.0)]
)
@pytest.mark.parametrize(
    "settings",
    [{}, {"l1_ratio": 0.5}, {"l1_ratio": 1.0}, {"solver": "lbfgs", "max_iter": 1000}],
    ids=str,
)
def test_fit_column_far_from_zero_equals_the_centered_one(settings, kind, C, tmp_path):
    stamps, X, y = with_time_stamps()
    if kind == "float32":
        stamps = stamps.astype(np.float32)
        X = stamps.astype(np.float64)
        X[:, 0] -= 1.7e12
    elif kind == "memmap":
        np.save(tmp_path / "rows.npy", stamps)
        stamps = np.load(tmp_path / "rows.npy", mmap_mode="r")
    model = TorchLogisticClassifier(C=C, tol=1e-7, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(stamps, y)
    peer = TorchLogisticClassifier(C=C, tol=1e-7, **settings).fit(X, y)
    assert model.n_iter_[0] <= peer.n_iter_[0] + 20
    scale = X.std(axis=0)
    np.testing.assert_allclose(model.coef_ * scale, peer.coef_ * scale, atol=1e-4)
    expected = peer.decision_function(X)
    found = model.decision_function(np.asarray(stamps, dtype=np.float64))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "offset"), [((200, 4), 1e6), ((200, 4), 1e12), ((30, 50), 1e9), ((30, 50), 1e12)]
)
@pytest.mark.parametrize("settings", SOLVERS, ids=str)
def test_fit_all_columns_far_from_zero_equals_the_centered_ones(settings, shape, offset):
    X, y = make_classification(*shape, flip_y=0.2, random_state=0)
    X = (X + offset) - offset  # the digits that the offset leaves
    model = TorchLogisticClassifier(tol=1e-7, max_iter=1000, **settings).fit(X + offset, y)
    peer = TorchLogisticClassifier(tol=1e-7, max_iter=1000, **settings).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-4)
    assert model.loss_curve_[-1] == pytest.approx(peer.loss_curve_[-1], rel=1e-5)


@pytest.mark.parametrize("n_rows", [400, 30_000])
def test_search_column_far_from_zero_has_the_scores_of_the_centered_one(n_rows):
    stamps, X, y = with_time_stamps(n_rows)
    of_stamps, of_centered = (
        VectorizedGridSearchCV(
            TorchLogisticClassifier(), {"C": [0.01, 1.0]}, cv=2, scoring="neg_log_loss"
        ).fit(rows, y)
        for rows in (stamps, X)
    )
    expected = of_centered.cv_results_["mean_test_score"]
    np.testing.assert_allclose(of_stamps.cv_results_["mean_test_score"], expected, rtol=1e-4)


def test_warm_start_column_far_from_zero_continues_from_the_optimum():
    stamps, _, y = with_time_stamps()
    model = TorchLogisticClassifier(solver="lbfgs", warm_start=True, max_iter=1000).fit(stamps, y)
    assert model.fit(stamps, y).n_iter_[0] <= 2


def test_early_stopping_column_far_from_zero_validates_on_the_original_rows():
    stamps, _, y = with_time_stamps()
    model = TorchLogisticClassifier(solver="lbfgs", early_stopping=True, monitor="loss")
    model.fit(stamps[:300], y[:300], X_val=stamps[300:], y_val=y[300:])
    loss = log_loss(y[300:], model.predict_proba(stamps[300:]))
    assert loss == pytest.approx(min(model.validation_loss_curve_), rel=1e-9)


@pytest.mark.parametrize("far", [1e5, -30.0])
@pytest.mark.parametrize("settings", SOLVERS, ids=str)
def test_warm_start_from_a_bad_solution_reaches_the_optimum(settings, far):
    X, y = make_classification(400, 5, flip_y=0.2, random_state=0)
    params = {"tol": 1e-8, "max_iter": 300, **settings}
    warm = TorchLogisticClassifier(warm_start=True, **params).fit(X + far, y)
    assert warm.fit(X, y).stop_reason_ == "converged"
    expected = TorchLogisticClassifier(**params).fit(X, y).coef_
    np.testing.assert_allclose(warm.coef_, expected, rtol=1e-3, atol=1e-5)
