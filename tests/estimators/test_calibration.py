"""The temperature of an ensemble: its value, and the scores that are divided by it."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from skbinary import TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.estimators.calibration import fit_temperature
from skbinary.thresholds.curve import ThresholdData, choose_threshold
from skbinary.thresholds.objectives import parse_threshold

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(400, 8, n_informative=5, flip_y=0.2, random_state=0)


def make_logits(n_rows, scale=1.0, seed=0):
    """Return logits, and labels with the probabilities of the logits divided by a factor."""
    random = np.random.RandomState(seed)
    z = 2 * random.normal(size=n_rows)
    return scale * z, (random.uniform(size=n_rows) < expit(z)).astype(float)


def minimum_of_the_penalized_loss(z, y, weight):
    """Return the temperature that minimizes the loss and the penalty of the prior."""

    def objective(factor):
        losses = np.logaddexp(0, factor * z) - y * factor * z
        return weight @ losses + ((factor - 1) / 0.15) ** 2 / 2

    found = minimize(objective, 1.0, bounds=[(0.1, None)], tol=1e-14)
    return 1 / float(found.x[0])


@pytest.mark.parametrize("n_rows", [5, 50, 5000])
@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_temperature_minimizes_the_penalized_loss(n_rows, scale, weighted):
    z, y = make_logits(n_rows, scale)
    weight = np.random.RandomState(1).uniform(0.1, 3, n_rows) if weighted else np.ones(n_rows)
    expected = minimum_of_the_penalized_loss(z, y, weight / weight.mean())
    found = fit_temperature(z, y, weight if weighted else None)
    assert found == pytest.approx(expected, rel=1e-4)


def test_fit_temperature_of_many_rows_is_the_factor_of_the_logits():
    assert fit_temperature(*make_logits(100_000, 1.0)) == pytest.approx(1, abs=0.03)
    assert fit_temperature(*make_logits(100_000, 3.0)) == pytest.approx(3, abs=0.1)


def test_fit_temperature_of_few_rows_stays_near_1():
    for seed in range(20):
        assert fit_temperature(*make_logits(8, 2.0, seed)) == pytest.approx(1, abs=0.3)
    assert fit_temperature(np.zeros(0), np.zeros(0)) == 1
    assert fit_temperature(np.zeros(5), np.ones(5)) == 1


@pytest.mark.parametrize("size", [1.0, 20.0, 1e3, 1e6])
def test_fit_temperature_of_separable_rows_is_finite(size):
    y = np.arange(1000) % 2.0
    right = fit_temperature(size * (2 * y - 1), y)
    assert 0.3 < right <= 1
    assert fit_temperature(-size * (2 * y - 1), y) == 10  # the largest that is allowed


@pytest.mark.parametrize("factor", [1e-300, 1e-3, 7.0, 1e300])
def test_fit_temperature_does_not_depend_on_the_scale_of_the_weights(factor):
    z, y = make_logits(200, 2.0)
    weight = np.random.RandomState(1).uniform(0.1, 3, 200)
    expected = fit_temperature(z, y, weight)
    assert fit_temperature(z, y, factor * weight) == pytest.approx(expected, rel=1e-9)
    assert fit_temperature(z, y, np.full(200, factor)) == fit_temperature(z, y)


def test_fit_temperature_ignores_missing_logits_and_rows_of_weight_zero():
    z, y = make_logits(300, 2.0)
    expected = fit_temperature(z[:200], y[:200])
    assert (
        fit_temperature(np.r_[z[:200], np.full(9, np.nan)], np.r_[y[:200], np.ones(9)]) == expected
    )
    weight = np.r_[np.ones(200), np.zeros(100)]
    assert fit_temperature(z, y, weight) == pytest.approx(expected, rel=1e-12)
    assert fit_temperature(np.full(3, np.nan), np.ones(3)) == 1


def test_fit_temperature_does_not_change_its_arguments():
    z, y = make_logits(50)
    weight = np.arange(50.0)
    copies = z.copy(), y.copy(), weight.copy()
    fit_temperature(z, y, weight)
    for array, copy in zip((z, y, weight), copies, strict=True):
        assert_array_equal(array, copy)


# -- ensembles ------------------------------------------------------------------------------------


def ensemble(n_members=3, **params):
    params = {"max_iter": 30, "batch_size": 50, "random_state": 0, **params}
    return TorchMLPClassifier((6,), n_members=n_members, **params)


def overfitted(**params):
    """Make an ensemble whose members are too sure of themselves."""
    settings = {"learning_rate_init": 0.05, "early_stopping": False, "n_iter_no_change": 30}
    return ensemble(**settings, **params)


def member_logits(model, rows):
    return [
        np.maximum(rows @ each["coefs_0"].astype(float) + each["intercepts_0"], 0)
        @ each["coefs_1"].astype(float)[:, 0]
        + each["intercepts_1"]
        for each in model.members_
    ]


def test_logit_of_an_ensemble_is_that_of_the_mean_probability_over_the_temperature():
    model = overfitted().fit(X, Y)
    expected = logit(expit(member_logits(model, X)).mean(axis=0)) / model.temperature_
    assert_allclose(model.decision_function(X), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(model.predict_proba(X)[:, 1], expit(expected), atol=1e-12)
    assert model.temperature_ > 1.2


def test_temperature_is_fitted_to_the_out_of_fold_logits():
    model, without = overfitted().fit(X, Y), overfitted(calibrate=False).fit(X, Y)
    assert without.temperature_ == 1
    assert model.temperature_ == pytest.approx(fit_temperature(without.oof_decision_function_, Y))
    assert_allclose(
        model.oof_decision_function_ * model.temperature_,
        without.oof_decision_function_,
        rtol=1e-12,
    )
    assert_array_equal(model.coefs_[0], without.coefs_[0])
    logits = without.decision_function(X)
    assert_allclose(model.decision_function(X) * model.temperature_, logits, rtol=1e-9)


def test_oof_loss_is_that_of_the_calibrated_logits():
    model, without = overfitted().fit(X, Y), overfitted(calibrate=False).fit(X, Y)
    assert model.oof_loss_ == pytest.approx(log_loss(Y, expit(model.oof_decision_function_)))
    assert model.oof_loss_ < without.oof_loss_


def test_temperature_with_a_validation_set_is_fitted_to_it():
    rest = {"X_val": X[200:], "y_val": Y[200:], "sample_weight_val": np.linspace(0, 2, 200)}
    model = overfitted().fit(X[:200], Y[:200], **rest)
    without = overfitted(calibrate=False).fit(X[:200], Y[:200], **rest)
    logits = without.decision_function(X[200:])
    expected = fit_temperature(logits, Y[200:], rest["sample_weight_val"])
    assert model.temperature_ == pytest.approx(expected)
    assert without.temperature_ == 1
    assert not hasattr(model, "oof_loss_")


def test_temperature_counts_sample_weights():
    weight = np.random.RandomState(0).uniform(0, 3, len(Y)) * (np.arange(len(Y)) % 3 > 0)
    model = overfitted(alpha=0).fit(X, Y, weight)
    without = overfitted(alpha=0, calibrate=False).fit(X, Y, weight)
    expected = fit_temperature(without.oof_decision_function_, Y, weight)
    assert model.temperature_ == pytest.approx(expected)
    tiny = overfitted(alpha=0).fit(X, Y, 1e-200 * weight)
    assert tiny.temperature_ == pytest.approx(expected, rel=1e-3)


def test_temperature_counts_class_weights():
    params = {"class_weight": {0: 1, 1: 20}}
    model = overfitted(**params).fit(X, Y)
    without = overfitted(calibrate=False, **params).fit(X, Y)
    expected = fit_temperature(without.oof_decision_function_, Y, np.where(Y == 1, 20, 1))
    assert model.temperature_ == pytest.approx(expected)


@pytest.mark.parametrize("given", [{}, {"X_val": X[300:], "y_val": Y[300:]}])
def test_threshold_is_chosen_on_calibrated_scores(given):
    rows, labels = (X[:300], Y[:300]) if given else (X, Y)
    model = overfitted(threshold="f1").fit(rows, labels, **given)
    logits = model.decision_function(X[300:]) if given else model.oof_decision_function_
    target = Y[300:] if given else Y
    data = ThresholdData.from_logits(logits, target, None, model.classes_, 1)
    expected = choose_threshold(parse_threshold("f1"), data)
    assert model.threshold_ == pytest.approx(expected.threshold)
    predicted = model.predict_proba(X)[:, 1] >= model.threshold_
    assert_array_equal(model.predict(X), predicted.astype(int))


def test_tune_threshold_uses_calibrated_scores():
    model = overfitted().fit(X, Y).tune_threshold(X, Y, {"recall": 0.9})
    curve = model.threshold_curve_["threshold"]
    assert np.isin(model.threshold_, curve)
    predicted = model.predict(X)
    assert predicted[Y == 1].mean() >= 0.9
    assert model.temperature_ > 1


@pytest.mark.parametrize("calibrate", [True, "auto"])
def test_calibrate_true_and_auto_are_the_same(calibrate):
    model = ensemble(calibrate=calibrate).fit(X, Y)
    assert model.temperature_ == ensemble().fit(X, Y).temperature_ != 1


def test_temperature_of_a_single_network_is_1():
    assert ensemble(1).fit(X, Y).temperature_ == 1
    assert ensemble(1).partial_fit(X, Y).temperature_ == 1


def test_temperature_after_another_fit_is_that_of_the_last():
    model = overfitted(warm_start=True).fit(X, Y)
    first = model.temperature_
    model.fit(X, Y)
    assert model.temperature_ > first  # the members overfit more
    expected = logit(expit(member_logits(model, X)).mean(axis=0)) / model.temperature_
    assert_allclose(model.decision_function(X), expected, rtol=1e-9, atol=1e-9)
    model.set_params(warm_start=False, calibrate=False).fit(X, Y)
    assert model.temperature_ == 1
    assert clone(model).set_params(calibrate="auto").fit(X, Y).temperature_ == first


def test_pickle_keeps_the_temperature():
    model = overfitted().fit(X, Y)
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.temperature_ == model.temperature_
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_html_shows_the_temperature_of_an_ensemble():
    model = overfitted().fit(X, Y)
    assert f">{model.temperature_:.4g}<" in model._repr_html_()
    assert "temperature_" not in ensemble(1).fit(X, Y)._repr_html_().split("Fitted state")[1]


def test_module_and_net_have_the_temperature():
    model = overfitted().fit(X, Y)
    rows = X.astype(np.float32)
    expected = model.decision_function(rows)
    assert_allclose(model.net_.decision_function(rows), expected, rtol=1e-4, atol=1e-5)
    assert float(model.module_.temperature) == pytest.approx(model.temperature_)


def test_state_dict_of_the_module_has_the_temperature():
    model, other = overfitted().fit(X, Y), ensemble(random_state=1).fit(X, Y).module_
    other.load_state_dict(model.module_.state_dict())
    with torch.no_grad():
        found = other(torch.as_tensor(X, dtype=torch.float32)).numpy()
    assert_allclose(found, model.decision_function(X), rtol=1e-3, atol=1e-4)


def test_float32_rows_have_the_scores_of_float64_rows():
    model = overfitted().fit(X, Y)
    found = model.decision_function(X.astype(np.float32))
    assert found.dtype == np.float32
    assert_allclose(found, model.decision_function(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_rows_that_are_not_finite_raise_for_an_ensemble_of_linear_models(value):
    model = TorchMLPClassifier((), n_members=3, max_iter=3, random_state=0).fit(X, Y)
    rows = X[:3].copy()
    rows[1, 2] = value
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict_proba(rows)


def test_search_over_calibrate_scores_as_single_fits():
    grid = {"calibrate": [False, "auto"], "weight_average": [0.0, 0.9]}
    params = {"cv": 3, "scoring": "neg_log_loss"}
    ours = VectorizedGridSearchCV(overfitted(), grid, **params).fit(X, Y)
    theirs = GridSearchCV(overfitted(), grid, **params).fit(X, Y)
    assert ours.cv_results_["fit_mode"].tolist() == ["batched"] * 4
    name = "mean_test_score"
    assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], rtol=1e-4)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_params_["calibrate"] == "auto"
    found = ours.best_estimator_.temperature_
    assert found == pytest.approx(theirs.best_estimator_.temperature_, rel=1e-4)


@pytest.mark.parametrize("calibrate", ["always", 2, None])
def test_calibrate_of_another_value_raises(calibrate):
    with pytest.raises(ValueError, match="The 'calibrate' parameter of TorchMLPClassifier must be"):
        ensemble(calibrate=calibrate).fit(X, Y)
