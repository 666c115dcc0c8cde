"""TorchMLPClassifier against scikit-learn's MLPClassifier."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, make_circles, make_classification
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data.batches import DenseBatch
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.result import DivergedError

EPOCHS = 12


@pytest.fixture(scope="module")
def data():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"alpha": 1.0},
        {"hidden_layer_sizes": (20, 10), "activation": "tanh"},
        {"hidden_layer_sizes": 15, "activation": "logistic"},
        {"activation": "identity", "batch_size": 64},
        {"shuffle": False},
        {"beta_1": 0.8, "beta_2": 0.9, "learning_rate_init": 0.01},
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    ],
    ids=str,
)
def test_objective_follows_mlp_classifier_epoch_by_epoch(data, params):
    # The same seed gives the same first weights and the same batches, so both walk the same way:
    # one in float32, the other in float64, and Adam's epsilon enters at a slightly other place.
    X, y = data
    params = {"max_iter": EPOCHS, "random_state": 0, "early_stopping": False, **params}
    model, peer = TorchMLPClassifier(**params).fit(X, y), MLPClassifier(**params).fit(X, y)
    assert model.n_iter_ == peer.n_iter_
    # The penalty is added up during an epoch there, and taken at its end here.
    tolerance = 2e-5 if params.get("alpha", 0) < 1 else 2e-3
    np.testing.assert_allclose(model.history_["objective"], peer.loss_curve_, atol=tolerance)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=20 * tolerance)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weighted_objective_follows_mlp_classifier(data):
    X, y = data
    weight = np.random.default_rng(0).uniform(0.1, 2, len(y))
    params = {"max_iter": EPOCHS, "random_state": 0, "batch_size": len(y)}
    params["early_stopping"] = False
    model = TorchMLPClassifier(**params).fit(X, y, weight)
    peer = MLPClassifier(**params).fit(X, y, weight)
    np.testing.assert_allclose(model.history_["objective"], peer.loss_curve_, atol=2e-5)


def test_lbfgs_reaches_a_minimum_as_low_as_mlp_classifier(data):
    X, y = data
    params = {"solver": "lbfgs", "activation": "tanh", "alpha": 10.0, "random_state": 0}
    params |= {"max_iter": 1000, "tol": 1e-3}
    model, peer = TorchMLPClassifier(**params).fit(X, y), MLPClassifier(**params).fit(X, y)
    assert model.history_["objective"][-1] <= peer.loss_ * 1.02


def test_fitted_attributes_have_scikit_learns_shapes(data):
    X, y = data
    params = {"hidden_layer_sizes": (7, 5), "max_iter": 3, "n_iter_no_change": 3}
    params["early_stopping"] = False
    model = TorchMLPClassifier(**params).fit(X, y)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        peer = MLPClassifier(**params).fit(X, y)
    assert [c.shape for c in model.coefs_] == [c.shape for c in peer.coefs_]
    assert [b.shape for b in model.intercepts_] == [b.shape for b in peer.intercepts_]
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_"):
        assert getattr(model, name) == getattr(peer, name)
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)


def test_loss_curve_is_the_running_loss_without_penalty():
    # One batch and a rate of nearly zero: the running loss is the loss of the fitted model.
    X, y = make_circles(100, random_state=0)
    model = TorchMLPClassifier(
        alpha=10.0, learning_rate_init=1e-12, max_iter=1, n_iter_no_change=1, random_state=0
    ).fit(X, y)
    assert model.loss_curve_[-1] == pytest.approx(log_loss(y, model.predict_proba(X)), abs=1e-6)
    squares = sum(np.sum(c**2) for c in model.coefs_)
    assert model.history_["objective"][-1] == pytest.approx(
        model.loss_ + 10.0 / 2 * squares / 100, rel=1e-5
    )


def test_early_stopping_restores_the_best_weights(data):
    X, y = data
    X_val, y_val = X[400:], y[400:]
    model = TorchMLPClassifier(monitor="accuracy", random_state=0, n_iter_no_change=3)
    model.fit(X[:400], y[:400], X_val=X_val, y_val=y_val)
    assert model.score(X_val, y_val) == pytest.approx(model.best_validation_score_)
    best = log_loss(y_val, model.predict_proba(X_val))
    assert model.validation_loss_curve_[model.best_epoch_ - 1] == pytest.approx(best, abs=1e-5)
    assert model.best_loss_ is None


def test_validation_set_without_early_stopping_changes_no_weights(data):
    X, y = data
    params = {"max_iter": 5, "n_iter_no_change": 5, "random_state": 0, "early_stopping": False}
    watched = TorchMLPClassifier(**params).fit(X, y, X_val=X[:50], y_val=y[:50])
    alone = TorchMLPClassifier(**params).fit(X, y)
    assert len(watched.validation_loss_curve_) == 5
    assert alone.validation_loss_curve_ is None
    for a, b in zip(watched.coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_history_columns_are_equally_long(data):
    X, y = data
    model = TorchMLPClassifier(early_stopping=True, max_iter=7, n_iter_no_change=7)
    model.fit(X, y)
    assert set(model.history_) == {
        "loss", "objective", "learning_rate", "seconds", "validation_loss", "validation_score",
    }  # fmt: skip
    assert {len(column) for column in model.history_.values()} == {7}


def test_warmup_raises_the_rate_over_300_steps_and_partial_fit_goes_on(data):
    X, y = data
    settings = {"learning_rate": "warmup", "batch_size": len(y) // 10, "early_stopping": False}
    model = TorchMLPClassifier((5,), max_iter=40, n_iter_no_change=np.inf, **settings).fit(X, y)
    n_batches = -(-len(y) // settings["batch_size"])
    expected = [min(1, (n_batches * epoch + 1) / 300) * 0.001 for epoch in range(40)]
    assert model.history_["learning_rate"] == pytest.approx(expected)
    model = TorchMLPClassifier((5,), **{**settings, "batch_size": len(y)})
    for _ in range(5):
        model.partial_fit(X, y)
    expected = [step / 300 * 0.001 for step in range(1, 6)]
    assert model.history_["learning_rate"] == pytest.approx(expected)


def test_partial_fit_with_inverse_scaling_has_the_losses_of_mlp_classifier(data):
    X, y = data
    settings = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}
    model = TorchMLPClassifier((5,), random_state=0, **settings)
    peer = MLPClassifier((5,), random_state=0, **settings)
    for _ in range(4):
        model.partial_fit(X, y, classes=[0, 1])
        peer.partial_fit(X, y, classes=[0, 1])
    assert model.history_["objective"] == pytest.approx(peer.loss_curve_, rel=1e-3)


@pytest.mark.parametrize("learning_rate", ["cosine", "onecycle"])
def test_schedule_moves_the_rate_of_adam(data, learning_rate):
    X, y = data
    model = TorchMLPClassifier(learning_rate=learning_rate, max_iter=10, n_iter_no_change=10)
    rates = model.fit(X, y).history_["learning_rate"]
    assert rates[-1] < max(rates) <= 0.001


def test_dropout_is_off_when_scoring(data):
    X, y = data
    model = TorchMLPClassifier(dropout=0.5, max_iter=5, n_iter_no_change=5, random_state=0)
    model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    # The training loss is computed with dropout, and so above that of the predictions.
    assert log_loss(y, model.predict_proba(X)) < model.loss_


def test_dropout_rates_per_layer_are_used(data):
    X, y = data
    params = {"hidden_layer_sizes": (9, 9), "max_iter": 3, "n_iter_no_change": 3}
    none = TorchMLPClassifier(dropout=[0.0, 0.0], random_state=0, **params).fit(X, y)
    some = TorchMLPClassifier(dropout=[0.0, 0.9], random_state=0, **params).fit(X, y)
    assert none.loss_ < some.loss_


def test_weight_decay_shrinks_the_weights(data):
    X, y = data
    params = {"max_iter": 20, "n_iter_no_change": 20, "random_state": 0, "alpha": 0.0}
    free = TorchMLPClassifier(**params).fit(X, y)
    decayed = TorchMLPClassifier(weight_decay=5.0, **params).fit(X, y)
    assert np.abs(decayed.coefs_[0]).sum() < 0.95 * np.abs(free.coefs_[0]).sum()


def test_no_hidden_layer_is_a_linear_model(data):
    X, y = data
    model = TorchMLPClassifier((), max_iter=5, n_iter_no_change=5, random_state=0).fit(X, y)
    assert [c.shape for c in model.coefs_] == [(30, 1)]
    logit = X @ model.coefs_[0].astype(float) + model.intercepts_[0].astype(float)
    np.testing.assert_allclose(model.decision_function(X), logit[:, 0], rtol=1e-12, atol=1e-12)


def test_partial_fit_follows_mlp_classifier(data):
    X, y = data
    model, peer = (kind((10,), random_state=0, shuffle=False) for kind in
                   (TorchMLPClassifier, MLPClassifier))  # fmt: skip
    for _ in range(5):
        model.partial_fit(X, y, classes=[0, 1])
        peer.partial_fit(X, y, classes=[0, 1])
    np.testing.assert_allclose(model.history_["objective"], peer.loss_curve_, atol=1e-4)
    assert model.t_ == peer.t_


def test_partial_fit_on_one_class_raises_its_probability(data):
    X, y = data
    model = TorchMLPClassifier((5,), random_state=0).partial_fit(X, y, classes=[0, 1])
    before = model.predict_proba(X[y == 1])[:, 1].mean()
    for _ in range(20):
        model.partial_fit(X[y == 1], y[y == 1])
    assert model.predict_proba(X[y == 1])[:, 1].mean() > before


def test_warm_start_continues_weights_and_curves(data):
    X, y = data
    model = TorchMLPClassifier(warm_start=True, max_iter=4, n_iter_no_change=4, random_state=0)
    first = model.fit(X, y).loss_
    model.fit(X, y)
    assert model.loss_ < first
    assert model.n_iter_ == 4
    assert len(model.loss_curve_) == 8
    assert model.best_epoch_ == 8


def test_warm_start_other_layers_is_an_error(data):
    X, y = data
    model = TorchMLPClassifier((5,), warm_start=True, max_iter=1, n_iter_no_change=1).fit(X, y)
    with pytest.raises(ValueError, match="to continue from the last fit"):
        model.set_params(hidden_layer_sizes=(6,)).fit(X, y)


# After the last step the weights are finite in float32, and the logits overflow.
OVERSHOOTING = {
    "activation": "leaky_relu",
    "weight_decay": 1e10,
    "max_iter": 2,
    "learning_rate_init": 0.01,
    "random_state": 0,
}


def ten_rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((10, 3)).astype(np.float32), np.arange(10) % 2


def test_fit_logits_that_overflow_after_the_last_step_diverges():
    model = TorchMLPClassifier((4, 4), early_stopping=False, **OVERSHOOTING)
    with pytest.raises(DivergedError) as caught:
        model.fit(*ten_rows())
    assert str(caught.value) == (
        "The logits must stay finite numbers, got a training row whose logit is not, after epoch "
        "2. Bring the features to one scale (StandardScaler) or lower learning_rate_init."
    )
    assert not hasattr(model, "classes_")


def test_fit_validation_loss_that_is_not_finite_diverges():
    X, y = ten_rows()
    with pytest.raises(DivergedError, match="The validation loss must stay a finite number"):
        TorchMLPClassifier((4, 4), **OVERSHOOTING).fit(X, y, X_val=X, y_val=y)


def test_fit_ensemble_whose_logits_overflow_diverges():
    with pytest.raises(DivergedError, match="must stay"):
        TorchMLPClassifier((4, 4), n_members=2, early_stopping=False, **OVERSHOOTING).fit(
            *ten_rows()
        )


def test_partial_fit_logits_that_overflow_diverges_and_keeps_the_model():
    X, y = ten_rows()
    model = TorchMLPClassifier((4, 4), learning_rate_init=0.01, random_state=0)
    before = model.partial_fit(X, y, classes=[0, 1]).predict_proba(X)
    with pytest.raises(DivergedError, match="The logits must stay finite"):
        model.set_params(activation="leaky_relu", weight_decay=1e15).partial_fit(X, y)
    np.testing.assert_array_equal(model.set_params(activation="relu").predict_proba(X), before)


def test_search_logits_that_overflow_score_nan():
    X, y = ten_rows()
    grid = {"weight_decay": [0.0, 1e10]}
    model = TorchMLPClassifier((4, 4), early_stopping=False, **OVERSHOOTING)
    with pytest.warns(FitFailedWarning, match="The logits must stay finite"):
        search = VectorizedGridSearchCV(model, grid, cv=2, error_score=np.nan).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_logit_bound_of_random_weights_holds_for_all_rows(activation, fit_intercept):
    shape = Architecture(5, (7, 3), activation, fit_intercept=fit_intercept)
    generator = torch.Generator().manual_seed(0)
    models = ModelBatch(shape, 3 * torch.randn(2, shape.n_parameters, generator=generator))
    rows = 2 * torch.rand(1000, 5, generator=generator) - 1
    assert float(models.logits(DenseBatch(rows)).abs().max()) <= models.logit_bound()


def test_scores_that_overflow_in_float32_are_those_of_float64():
    X = np.float32(1e-38) * np.arange(-5, 6, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    model = TorchLogisticClassifier(fit_intercept=False).fit(X, np.arange(11) > 4)
    model.coef_ = np.array([[4e38, -2e38]])
    np.testing.assert_allclose(model.decision_function(X), 2 * np.arange(-5, 6), atol=1e-3)
    assert model.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(
        model.predict_proba(X), model.predict_proba(X.astype(np.float64)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("n_iter_no_change", "early_stopping", "patience"),
    [
        ("auto", "auto", 24),
        ("auto", True, 10),
        (10, "auto", 10),
        (10, True, 10),
        (3, "auto", 3),
        (24, True, 24),
    ],
)
def test_patience_is_the_number_given(n_iter_no_change, early_stopping, patience):
    X, y = make_classification(1200, flip_y=0.3, random_state=0)
    model = TorchMLPClassifier(
        (32,),
        learning_rate_init=0.01,
        tol=0.0,
        n_iter_no_change=n_iter_no_change,
        early_stopping=early_stopping,
        random_state=0,
    ).fit(X, y)
    assert model.stop_reason_ == "validation_loss"
    # As in scikit-learn, one epoch more than the patience ends the training.
    assert model.n_iter_ - model.best_epoch_ == patience + 1


@pytest.mark.parametrize("kind", [TorchMLPClassifier, TorchLogisticClassifier])
def test_infinite_patience_trains_all_epochs_and_does_not_warn(kind):
    X, y = make_classification(1200, flip_y=0.3, random_state=0)
    model = kind(solver="adam", max_iter=40, n_iter_no_change=np.inf, early_stopping=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert np.ravel(model.n_iter_)[0] == 40
