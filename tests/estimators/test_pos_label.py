"""``pos_label``: the class that the threshold and its objectives refer to."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import FixedThresholdClassifier, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)

X, NUMBERS = make_classification(1600, 8, weights=[0.25], flip_y=0.05, random_state=0)
WORDS = np.where(NUMBERS == 0, "default", "paid")  # the rare class sorts first
# The same rows with labels in the opposite order.
SWAPPED = np.where(NUMBERS == 0, "yes", "no")
TRAIN, TEST = slice(1000), slice(1000, None)

MODELS = {
    "logistic": TorchLogisticClassifier(tol=1e-8),
    "logistic adam": TorchLogisticClassifier(
        solver="adam", max_iter=5, n_iter_no_change=5, random_state=0
    ),
    "network": TorchMLPClassifier((8,), max_iter=5, n_iter_no_change=5, random_state=0),
    "ensemble": TorchMLPClassifier(
        (8,), max_iter=5, n_iter_no_change=5, random_state=0, n_members=3
    ),
}
OBJECTIVES = ["f1", {"recall": 0.9}, {"alert_rate": 0.2}, {"cost_fp": 1, "cost_fn": 5}]
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def fitted(model, y=WORDS, **params):
    return clone(model).set_params(**params).fit(X[TRAIN], y[TRAIN])


@each_model
def test_fit_recall_constraint_refers_to_pos_label(model):
    one = fitted(model, threshold={"recall": 0.9}, pos_label="default")
    curve, is_default = one.threshold_curve_, WORDS[TRAIN] == "default"
    n_scored = curve["tp"][0] + curve["fp"][0]  # all rows, or those of early stopping
    assert curve["tp"][0] == pytest.approx(n_scored * is_default.mean(), abs=1)
    predicted = one.predict(X[TEST]) == "default"
    assert_array_equal(predicted, one.predict_proba(X[TEST])[:, 0] >= one.threshold_)
    assert predicted[WORDS[TEST] == "default"].mean() > 0.8
    assert one.threshold_ < 0.5


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_fit_objective_of_the_first_label_equals_that_of_swapped_labels(objective):
    model = MODELS["logistic"]
    first = fitted(model, threshold=objective, pos_label="default")
    second = fitted(model, SWAPPED, threshold=objective)
    assert first.threshold_ == pytest.approx(second.threshold_, abs=1e-6)
    assert_allclose(first.threshold_interval_, second.threshold_interval_, atol=1e-6)
    for name in ("tn", "fp", "fn", "tp", "score"):
        assert_allclose(first.threshold_curve_[name], second.threshold_curve_[name])
    same = (first.predict(X[TEST]) == "default") == (second.predict(X[TEST]) == "yes")
    assert same.all()


@each_model
def test_predict_proba_does_not_depend_on_pos_label(model):
    none, first = fitted(model), fitted(model, pos_label="default")
    assert_array_equal(none.classes_, first.classes_)
    assert_array_equal(none.predict_proba(X), first.predict_proba(X))
    assert_array_equal(none.decision_function(X), first.decision_function(X))


@each_model
@pytest.mark.parametrize("pos_label", [None, "default", "paid"])
def test_predict_equals_scikit_learns_fixed_threshold_classifier(model, pos_label):
    one = fitted(model, threshold=0.3, pos_label=pos_label)
    theirs = FixedThresholdClassifier(
        fitted(model), threshold=0.3, pos_label=pos_label or "paid", response_method="predict_proba"
    ).fit(X[TRAIN], WORDS[TRAIN])
    assert_array_equal(one.predict(X[TEST]), theirs.predict(X[TEST]))
    assert_array_equal(fitted(model, pos_label=pos_label).predict(X, threshold=0.3), one.predict(X))
    assert_array_equal(one.net_.predict(X), one.predict(X))


def test_tune_threshold_constraint_refers_to_pos_label():
    model = fitted(MODELS["logistic"], pos_label="default")
    model.tune_threshold(X[TEST], WORDS[TEST], {"precision": 0.8})
    labels = model.predict(X[TEST])
    assert precision_score(WORDS[TEST], labels, pos_label="default") >= 0.8
    assert pickle.loads(pickle.dumps(model)).predict(X[TEST]).tolist() == labels.tolist()


def test_validation_score_uses_threshold_and_pos_label():
    params = {"threshold": 0.8, "pos_label": "default", "early_stopping": True}
    model = fitted(MODELS["network"], monitor="accuracy", **params)
    stopped = fitted(MODELS["network"], **params)
    assert_allclose(model.validation_scores_, stopped.validation_scores_)
    given = {"X_val": X[TEST], "y_val": WORDS[TEST]}
    one = clone(MODELS["network"]).set_params(**params, max_iter=1)
    one.fit(X[TRAIN], WORDS[TRAIN], **given)
    assert one.validation_scores_[0] == pytest.approx(one.score(X[TEST], WORDS[TEST]), abs=2e-3)


def test_search_objective_refers_to_pos_label():
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier(pos_label="default"))
    grid = {"torchlogisticclassifier__threshold": [0.5, {"recall": 0.95}]}
    scoring = {
        label: lambda est, A, y, label=label: recall_score(y, est.predict(A), pos_label=label)
        for label in ("default", "paid")
    }
    search = VectorizedGridSearchCV(model, grid, scoring=scoring, refit=False, cv=3)
    results = search.fit(X, WORDS).cv_results_
    assert results["mean_test_default"][1] > results["mean_test_default"][0]
    assert results["mean_test_default"][1] == pytest.approx(0.95, abs=0.04)


def test_display_draws_metrics_of_pos_label():
    pytest.importorskip("matplotlib")
    model = fitted(MODELS["logistic"], threshold={"recall": 0.9}, pos_label="default")
    for display in (
        ThresholdDisplay.from_estimator(model, X[TEST], WORDS[TEST], metrics="recall"),
        ThresholdDisplay.from_estimator(model, metrics="recall"),
    ):
        assert display.pos_label == "default"
        assert "default" in display.ax_.get_xlabel()
        assert display.threshold == model.threshold_
    drawn = ThresholdDisplay.from_estimator(model, X[TEST], WORDS[TEST], metrics="recall")
    at = np.abs(np.asarray(drawn.thresholds) - model.threshold_).argmin()
    expected = recall_score(WORDS[TEST], model.predict(X[TEST]), pos_label="default")
    assert drawn.metrics["recall"][at] == pytest.approx(expected)


def test_display_of_another_classifier_accepts_pos_label():
    pytest.importorskip("matplotlib")
    from sklearn.linear_model import LogisticRegression

    other = LogisticRegression().fit(X[TRAIN], WORDS[TRAIN])
    display = ThresholdDisplay.from_estimator(other, X[TEST], WORDS[TEST], pos_label="default")
    expected = ThresholdDisplay.from_predictions(
        WORDS[TEST], other.predict_proba(X[TEST])[:, 0], pos_label="default"
    )
    assert display.pos_label == "default"
    assert_allclose(display.metrics["recall"], expected.metrics["recall"])


def test_fit_recall_of_malignant_tumours_is_met_on_new_data():
    data = load_breast_cancer()
    rows, other, y, y_other = train_test_split(data.data, data.target, random_state=0)
    model = make_pipeline(
        StandardScaler(), TorchLogisticClassifier(threshold={"recall": 0.99}, pos_label=0)
    ).fit(rows, y)
    assert recall_score(y_other, model.predict(other), pos_label=0) >= 0.95


def test_fit_unknown_pos_label_is_an_error_before_training():
    model = TorchLogisticClassifier(pos_label="bad")
    message = r"pos_label must be one of the labels \['default', 'paid'\], got 'bad'"
    with pytest.raises(ValueError, match=message):
        model.fit(X, WORDS)
    assert not hasattr(model, "classes_")


def test_predict_pos_label_set_after_fit_is_an_error_with_an_objective():
    model = fitted(MODELS["logistic"], threshold=0.8).set_params(pos_label="default")
    expected = fitted(MODELS["logistic"], threshold=0.8, pos_label="default")
    assert_array_equal(model.predict(X), expected.predict(X))
    chosen = fitted(MODELS["logistic"], threshold="f1", pos_label="paid")
    chosen.set_params(pos_label="default")
    with pytest.raises(ValueError, match=r"pos_label must stay 'paid', for which the threshold"):
        chosen.predict(X)


def test_fit_string_labels_with_a_positive_majority_warns():
    message = r"chosen for the class 'paid', which is the more frequent.*pos_label='default' if"
    for model in (MODELS["logistic"], MODELS["network"]):
        with pytest.warns(UserWarning, match=message) as caught:
            fitted(model, threshold={"recall": 0.9})
        assert [each.filename for each in caught] == [__file__]
    with pytest.warns(UserWarning, match=message):
        fitted(MODELS["logistic"]).tune_threshold(X[TEST], WORDS[TEST], "f1")


@pytest.mark.parametrize(
    ("y", "params"),
    [
        (WORDS, {"threshold": "f1", "pos_label": "paid"}),
        (WORDS, {"threshold": "f1", "pos_label": "default"}),
        (WORDS, {"threshold": 0.3}),
        (NUMBERS, {"threshold": "f1"}),
        (SWAPPED, {"threshold": "f1"}),
    ],
)
def test_fit_other_labels_does_not_warn(y, params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(MODELS["logistic"], y, **params)


def test_fit_validation_set_of_one_class_is_an_error():
    model = TorchLogisticClassifier(threshold="f1")
    with pytest.raises(ValueError, match=r"y_val must hold both classes.*got \['paid'\]"):
        model.fit(X, WORDS, X_val=X[:5], y_val=["paid"] * 5)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("n_rows", [900, 1200])
@each_model
def test_fit_one_positive_row_warns_and_keeps_the_default(model, n_rows):
    y = (np.arange(n_rows) == 3).astype(int)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one = clone(model).set_params(threshold={"recall": 0.9}).fit(X[:n_rows], y)
    assert any("must be two rows of each class" in str(each.message) for each in caught)
    assert one.threshold_ == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("positive", [0, 1])
def test_predict_at_the_probability_of_a_row_labels_it_positive(dtype, positive):
    X, y = make_classification(400, 5, random_state=0)
    X = X.astype(dtype)
    model = TorchLogisticClassifier(pos_label=positive).fit(X, y)
    for i, probability in enumerate(model.predict_proba(X)[:, positive]):
        assert model.predict(X, threshold=float(probability))[i] == positive
