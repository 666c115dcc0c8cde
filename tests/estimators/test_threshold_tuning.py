"""Thresholds tuned by ``fit`` and by ``tune_threshold``."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score, recall_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data.folds import SplittableRows
from skbinary.estimators import cross_fitting
from skbinary.solvers.full_batch.newton_path import PathNewton

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(
    1500, 8, n_informative=5, weights=[0.8], flip_y=0.15, class_sep=0.7, random_state=0
)
TRAIN, TEST = slice(0, 1000), slice(1000, None)
OBJECTIVES = [
    "f1",
    "balanced_accuracy",
    {"recall": 0.9},
    {"precision": 0.5},
    {"specificity": 0.9},
    {"alert_rate": 0.1},
    {"cost_fp": 1, "cost_fn": 5},
]
NETWORK = TorchMLPClassifier((8,), early_stopping=True, max_iter=15, batch_size=50, random_state=0)
MODELS = {
    "newton": TorchLogisticClassifier(),
    "lbfgs": TorchLogisticClassifier(solver="lbfgs"),
    "elastic net": TorchLogisticClassifier(l1_ratio=0.5),
    "sgd": TorchLogisticClassifier(solver="sgd", max_iter=10, random_state=0),
    "network": NETWORK,
    "network to the end": clone(NETWORK).set_params(early_stopping=False),
    "network by lbfgs": clone(NETWORK).set_params(solver="lbfgs"),
    "members": clone(NETWORK).set_params(n_members=3),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def fitted(model, threshold, **params):
    return clone(model).set_params(threshold=threshold, **params).fit(X[TRAIN], Y[TRAIN])


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        *((model, "f1") for model in MODELS.values()),
        *((MODELS["newton"], objective) for objective in OBJECTIVES[1:]),
    ],
    ids=str,
)
def test_fit_any_objective_sets_a_threshold_of_the_curve_within_the_interval(model, objective):
    model = fitted(model, objective)
    curve, (low, high) = model.threshold_curve_, model.threshold_interval_
    assert 0 <= low <= model.threshold_ <= high <= 1
    assert model.threshold_ in curve["threshold"]
    assert {len(column) for column in curve.values()} == {len(curve["threshold"])}
    assert_array_equal(
        model.predict(X[TEST]), model.predict_proba(X[TEST])[:, 1] >= model.threshold_
    )


def test_pickle_with_an_objective_does_not_grow_with_n_samples():
    rows = np.random.default_rng(0).standard_normal((20_000, 3))
    model = TorchLogisticClassifier(threshold="f1").fit(rows, rows[:, 0] + rows[:, 1] > 1)
    assert len(model.threshold_curve_["threshold"]) <= 1000
    assert len(pickle.dumps(model)) < 60_000
    model.tune_threshold(rows, rows[:, 0] > 0, {"recall": 0.9})
    assert len(pickle.dumps(model)) < 60_000


@each_model
def test_fit_with_an_objective_trains_as_with_a_number(model):
    tuned, plain = fitted(model, "f1"), fitted(model, 0.5)
    assert_array_equal(tuned.decision_function(X), plain.decision_function(X))
    assert plain.threshold_ == 0.5
    assert not hasattr(plain, "threshold_curve_")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fit_recall_constraint_is_met_on_the_validation_set(kind):
    held = {"X_val": X[TEST].astype(kind), "y_val": Y[TEST]}
    for model in (MODELS["newton"], MODELS["network"], MODELS["members"]):
        model = clone(model).set_params(threshold={"recall": 0.9})
        model.fit(X[TRAIN].astype(kind), Y[TRAIN], **held)
        assert recall_score(Y[TEST], model.predict(held["X_val"])) >= 0.9


def test_fit_ensemble_recall_constraint_is_met_on_out_of_fold_logits():
    model = fitted(MODELS["members"], {"recall": 0.9})
    probability = 1 / (1 + np.exp(-model.oof_decision_function_))
    assert recall_score(Y[TRAIN], probability >= model.threshold_) >= 0.9
    assert sum(model.threshold_curve_[name][0] for name in ("tp", "fp")) == 1000


def test_fit_f1_objective_has_a_higher_f1_than_the_default_on_new_data():
    model = fitted(TorchLogisticClassifier(), "f1")
    tuned, default = (f1_score(Y[TEST], model.predict(X[TEST], threshold=t)) for t in (None, 0.5))
    assert tuned > default


def test_fit_logistic_folds_are_trained_in_one_batch(monkeypatch):
    created, original = [], PathNewton.__init__

    def spy(self, architecture, problem, weights, points, *args):
        created.append((weights.shape, len(points)))
        original(self, architecture, problem, weights, points, *args)

    monkeypatch.setattr(PathNewton, "__init__", spy)
    rows = np.random.default_rng(0).standard_normal((3000, 40))
    TorchLogisticClassifier(threshold="f1").fit(rows, rows[:, 0] > 0.5)
    assert created == [((5, 3000), 5)]


def test_fit_logistic_scores_each_row_by_a_model_trained_without_it(monkeypatch):
    folds, original = [], SplittableRows.folds
    monkeypatch.setattr(
        SplittableRows, "folds", lambda *args: folds.append(original(*args)) or folds[-1]
    )
    model = fitted(TorchLogisticClassifier(), "f1")
    assert len(folds[0]) == 5
    probability = np.empty(1000)
    for fold in folds[0]:
        single = TorchLogisticClassifier(tol=1e-8).fit(X[TRAIN][fold.train], Y[TRAIN][fold.train])
        probability[fold.held_out] = single.predict_proba(X[TRAIN][fold.held_out])[:, 1]
    best = model.threshold_curve_["score"].max()
    found = f1_score(Y[TRAIN], probability >= model.threshold_)
    assert found == pytest.approx(best, abs=5e-3)


def test_fit_weight_two_tunes_the_threshold_of_the_row_twice():
    weight = np.r_[np.full(300, 2.0), np.ones(700)]
    twice = np.repeat(np.arange(1000), weight.astype(int))
    held = {"X_val": X[TEST], "y_val": Y[TEST], "sample_weight_val": np.full(500, 2.0)}
    model = TorchLogisticClassifier(threshold="f1", tol=1e-10)
    weighted = clone(model).fit(X[TRAIN], Y[TRAIN], weight, **held)
    held = {"X_val": np.repeat(X[TEST], 2, axis=0), "y_val": np.repeat(Y[TEST], 2)}
    repeated = clone(model).fit(X[twice], Y[twice], **held)
    assert weighted.threshold_ == pytest.approx(repeated.threshold_, abs=1e-7)


def test_fit_sparse_rows_and_string_labels_tune_the_same_threshold():
    labels = np.array(["no", "yes"])[Y]
    expected = fitted(TorchLogisticClassifier(), "f1").threshold_
    rows = sparse.csr_matrix(X[TRAIN])
    found = TorchLogisticClassifier(threshold="f1").fit(rows, labels[TRAIN])
    assert found.threshold_ == pytest.approx(expected, abs=1e-3)
    assert set(found.predict(X)) <= {"no", "yes"}


def test_fit_callable_objective_receives_the_users_labels():
    seen = []

    def metric(y_true, y_pred, *, sample_weight=None):
        seen.append((set(y_true), sample_weight is None))
        return np.mean(y_true == y_pred)

    labels = np.array(["no", "yes"])[Y]
    model = TorchLogisticClassifier(threshold=metric).fit(X[:200], labels[:200])
    assert seen[0] == ({"no", "yes"}, True)
    assert 0 < model.threshold_ < 1


def test_predict_with_a_threshold_keeps_the_fitted_one():
    model = fitted(TorchLogisticClassifier(), "f1")
    before = model.threshold_
    assert model.predict(X, threshold=0.0).all()
    assert model.threshold_ == before


def test_predict_uses_a_number_that_was_set_after_fit():
    model = fitted(TorchLogisticClassifier(), "f1").set_params(threshold=0.0)
    assert model.predict(X).all()


def test_tune_threshold_keeps_the_weights():
    model = fitted(TorchLogisticClassifier(), 0.5)
    coef = model.coef_.copy()
    model.tune_threshold(X[TEST], Y[TEST], {"recall": 0.95})
    assert recall_score(Y[TEST], model.predict(X[TEST])) >= 0.95
    assert_array_equal(model.coef_, coef)
    assert model.get_params()["threshold"] == 0.5
    assert len(model.threshold_curve_["threshold"]) == 501


def test_tune_threshold_uses_the_sample_weight():
    model = fitted(TorchLogisticClassifier(), 0.5)
    weight = np.where(Y[TEST] == 1, 50.0, 1.0)
    plain = model.tune_threshold(X[TEST], Y[TEST], "accuracy").threshold_
    assert (
        model.tune_threshold(X[TEST], Y[TEST], "accuracy", sample_weight=weight).threshold_ < plain
    )


@pytest.mark.parametrize(
    ("objective", "rows", "message"),
    [
        (0.5, TEST, "objective must be the name of a metric"),
        ("f2", TEST, "Did you mean 'f1'"),
        ("f1", np.flatnonzero(Y == 1), "rows of both classes"),
    ],
)
def test_tune_threshold_error_leaves_the_model_unchanged(objective, rows, message):
    model = fitted(TorchLogisticClassifier(), "f1")
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.tune_threshold(X[rows], Y[rows], objective)
    assert vars(model) == before


@pytest.mark.parametrize(
    ("kind", "threshold"),
    [
        (TorchLogisticClassifier, "f2"),
        (TorchLogisticClassifier, "roc_auc"),
        (TorchLogisticClassifier, {"recal": 0.9}),
        (TorchMLPClassifier, {"recall": 2}),
        (TorchMLPClassifier, {"cost_fp": 1}),
        (TorchMLPClassifier, {"cost_fp": 0, "cost_fn": 0}),
    ],
)
def test_fit_bad_objective_is_an_error_before_training(kind, threshold):
    model = kind(threshold=threshold)
    with pytest.raises(ValueError, match="threshold"):
        model.fit(X, Y)
    assert not hasattr(model, "classes_")


def test_fit_one_row_of_a_class_warns_and_keeps_the_default():
    with pytest.warns(UserWarning, match="must be two rows of each class"):
        model = TorchLogisticClassifier(threshold="f1").fit(X[:20], np.arange(20) == 3)
    assert model.threshold_ == 0.5
    assert not hasattr(model, "threshold_curve_")


def test_fit_few_positive_rows_warns():
    y = np.arange(200) % 20 == 0
    with pytest.warns(UserWarning, match="at least 20 of the positive class True .* got 10"):
        TorchLogisticClassifier(threshold="f1").fit(X[:200], y)


def test_partial_fit_with_an_objective_is_unavailable():
    model = TorchLogisticClassifier(solver="sgd", threshold="f1")
    with pytest.raises(AttributeError) as caught:
        model.partial_fit(X, Y)
    assert "tune_threshold" in str(caught.value.__cause__ or caught.value)


@each_model
def test_pickle_keeps_the_tuned_threshold(model):
    model = fitted(model, {"recall": 0.9})
    again = pickle.loads(pickle.dumps(model))
    assert again.threshold_ == model.threshold_
    assert_array_equal(again.predict(X), model.predict(X))


def test_fit_again_with_a_number_removes_the_curve():
    model = fitted(TorchLogisticClassifier(), "f1").set_params(threshold=0.3)
    model.fit(X[TRAIN], Y[TRAIN])
    assert model.threshold_ == 0.3
    assert not hasattr(model, "threshold_curve_")


@pytest.mark.parametrize("name", ["newton", "network", "network to the end", "members"])
def test_search_over_thresholds_scores_as_single_fits(name, monkeypatch):
    grid = {"threshold": [0.5, "f1", {"recall": 0.9}, {"cost_fp": 1, "cost_fn": 5}]}
    trained, original = [], cross_fitting.prepare_model

    def spy(*args, **kwargs):
        trained.append(original(*args, **kwargs))
        return trained[-1]

    monkeypatch.setattr(cross_fitting, "prepare_model", spy)
    ours = VectorizedGridSearchCV(MODELS[name], grid, cv=3, scoring="balanced_accuracy")
    ours.set_params(refit=False).fit(X[TRAIN], Y[TRAIN])
    # Once for all thresholds: one model, and five more if there are no held-out rows.
    assert (
        len(trained) == 3 * {"newton": 6, "network": 1, "network to the end": 6, "members": 3}[name]
    )
    theirs = GridSearchCV(MODELS[name], grid, cv=3, scoring="balanced_accuracy", refit=False)
    theirs.fit(X[TRAIN], Y[TRAIN])
    for split in range(3):
        column = f"split{split}_test_score"
        tolerance = 0.02 if name == "newton" else 1e-9
        assert_allclose(ours.cv_results_[column], theirs.cv_results_[column], atol=tolerance)


def test_pipeline_with_an_objective_meets_the_recall_on_new_data():
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier(threshold={"recall": 0.95}))
    model.fit(X[TRAIN], Y[TRAIN])
    assert recall_score(Y[TEST], model.predict(X[TEST])) > 0.85
