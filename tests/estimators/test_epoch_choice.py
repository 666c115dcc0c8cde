"""The number of epochs for few rows, chosen by cross-validation."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from skbinary import StopReason, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.estimators import epoch_choice


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(900, 20, n_informative=4, flip_y=0.2, random_state=3)
    return X[:400], y[:400], X[400:], y[400:]


@pytest.fixture(scope="module")
def fitted(table):
    return TorchMLPClassifier(random_state=0).fit(*table[:2])


def test_few_rows_are_trained_for_the_epochs_that_cross_validation_chose(fitted):
    assert fitted.stop_reason_ is StopReason.CROSS_VALIDATION
    assert 1 < fitted.n_iter_ < fitted.max_iter
    assert fitted.validation_loss_curve_ is None


def test_the_number_of_epochs_is_the_mean_of_the_best_epochs_of_five_folds(table, monkeypatch):
    trained = []
    train = epoch_choice.train_epoch_models

    def spy(models):
        train(models)
        trained.extend(models)

    monkeypatch.setattr("skbinary.estimators.fitting.train_epoch_models", spy)
    X, y = table[:2]
    model = TorchMLPClassifier(random_state=0).fit(X, y)
    best = [each.result.best_epoch for each in trained]
    assert model.n_iter_ == round(np.mean(best))
    held_out = np.concatenate([each.fold.held_out for each in trained])
    assert len(trained) == 5
    np.testing.assert_array_equal(np.sort(held_out), np.arange(len(y)))


def test_the_weights_are_those_of_a_fit_for_as_many_epochs(table, fitted):
    X, y = table[:2]
    fixed = TorchMLPClassifier(
        random_state=0, early_stopping=False, max_iter=fitted.n_iter_, n_iter_no_change=np.inf
    )
    for mine, other in zip(fitted.coefs_, fixed.fit(X, y).coefs_, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_log_loss_is_below_that_of_all_epochs_and_near_a_logistic_regression(table, fitted):
    X, y, X_test, y_test = table

    def loss(model):
        return log_loss(y_test, model.predict_proba(X_test))

    all_epochs = TorchMLPClassifier(random_state=0, early_stopping=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        all_epochs.fit(X, y)
    assert loss(fitted) < loss(all_epochs)
    assert loss(fitted) < loss(LogisticRegression().fit(X, y)) + 0.01


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_folds_keep_groups_together(table, solver, monkeypatch):
    X, y = table[:2]
    groups = np.arange(len(y)) // 4
    folds = []
    plan = epoch_choice.plan_epoch_models

    def spy(*args):
        models = plan(*args)
        folds.extend(each.fold for each in models)
        return models

    monkeypatch.setattr("skbinary.estimators.fitting.plan_epoch_models", spy)
    model = TorchMLPClassifier(solver=solver, learning_rate_init=0.01, random_state=0)
    model.fit(X, y, groups=groups)
    assert folds
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.held_out])


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": False},
        {"early_stopping": True},
        {"n_members": 2},
        {"solver": "lbfgs"},
        {"monitor": "roc_auc"},
    ],
    ids=str,
)
def test_other_settings_need_no_cross_validation(table, parameters, monkeypatch):
    trained = []
    monkeypatch.setattr("skbinary.estimators.fitting.train_epoch_models", trained.extend)
    model = TorchMLPClassifier(max_iter=5, n_iter_no_change=np.inf, random_state=0, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*table[:2])
    assert trained == []


def test_one_sample_of_a_class_is_trained_for_all_epochs():
    X, y = np.arange(20.0)[:, None] / 10 - 1, np.r_[np.zeros(19), 1]
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = TorchMLPClassifier(max_iter=20, tol=0, random_state=0).fit(X, y)
    assert model.n_iter_ == 20


def test_folds_that_reach_max_iter_warn(table):
    with pytest.warns(ConvergenceWarning, match="did not converge for 5 of 5 folds"):
        TorchMLPClassifier(max_iter=3, n_iter_no_change=2, random_state=0).fit(*table[:2])


def test_warm_start_goes_on_without_cross_validation(table):
    X, y = table[:2]
    model = TorchMLPClassifier(random_state=0, warm_start=True).fit(X, y)
    n_first = model.n_iter_
    model.set_params(max_iter=4, n_iter_no_change=np.inf).fit(X, y)
    assert model.n_iter_ == 4
    assert len(model.loss_curve_) == n_first + 4
    assert model.stop_reason_ is StopReason.MAX_ITER


def test_a_batched_search_chooses_the_epochs_of_single_fits(table):
    X, y = table[:2]
    grid = {"learning_rate_init": [0.001, 0.01], "dropout": [0.0, 0.2], "threshold": [0.5, "f1"]}
    scoring = ["neg_log_loss", "f1"]
    batched = VectorizedGridSearchCV(
        TorchMLPClassifier(random_state=0), grid, scoring=scoring, refit=False, cv=3
    ).fit(X, y)
    single = GridSearchCV(
        TorchMLPClassifier(random_state=0), grid, scoring=scoring, refit=False, cv=3
    ).fit(X, y)
    assert set(batched.cv_results_["fit_mode"]) == {"batched"}
    for name in scoring:
        np.testing.assert_allclose(
            batched.cv_results_[f"mean_test_{name}"],
            single.cv_results_[f"mean_test_{name}"],
            atol=1e-6,
        )


def test_a_fold_that_diverges_is_an_error_and_leaves_the_estimator_as_it_was(table, fitted):
    X, y = table[:2]
    model = clone(fitted).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(learning_rate_init=1e30)
    with pytest.raises(ValueError, match="must stay"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_interrupt_while_folds_are_trained_leaves_the_estimator_as_it_was(table, monkeypatch):
    def interrupt(models):
        raise KeyboardInterrupt

    monkeypatch.setattr("skbinary.estimators.fitting.train_epoch_models", interrupt)
    model = TorchMLPClassifier(random_state=0)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.fit(*table[:2])
    assert vars(model) == before
