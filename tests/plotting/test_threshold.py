"""ThresholdDisplay."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skbinary import (
    ThresholdDisplay,
    TorchLogisticClassifier,
    VectorizedGridSearchCV,
)
from tests.plotting.figures import legend_texts, network, y_values

plt = pytest.importorskip("matplotlib.pyplot", reason="the displays need matplotlib")

# No warning is expected, neither when a display is drawn nor when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def test_threshold_without_data_draws_the_threshold_curve(tuned):
    display = ThresholdDisplay.from_estimator(tuned, metrics=["precision", "recall", "score"])
    curve = tuned.threshold_curve_
    for line in display.lines_.values():
        np.testing.assert_array_equal(line.get_xdata(), curve["threshold"])
    np.testing.assert_allclose(
        y_values(display.lines_["recall"]), curve["tp"] / (curve["tp"] + curve["fn"])
    )
    np.testing.assert_array_equal(y_values(display.lines_["score"]), curve["score"])
    predicted = curve["tp"] + curve["fp"] > 0
    np.testing.assert_allclose(
        y_values(display.lines_["precision"])[predicted],
        (curve["tp"] / (curve["tp"] + curve["fp"]))[predicted]
        if predicted.all()
        else curve["tp"][predicted] / (curve["tp"] + curve["fp"])[predicted],
    )
    assert np.isnan(y_values(display.lines_["precision"])[~predicted]).all()


def test_threshold_and_its_interval_are_drawn(tuned):
    display = ThresholdDisplay.from_estimator(tuned)
    np.testing.assert_array_equal(display.threshold_line_.get_xdata(), tuned.threshold_)
    box = display.interval_.get_extents().transformed(display.ax_.transData.inverted())
    np.testing.assert_allclose((box.x0, box.x1), tuned.threshold_interval_)
    assert legend_texts(display.ax_) == [
        "90% interval",
        "precision",
        "recall",
        f"threshold {tuned.threshold_:.3g}",
    ]
    assert display.ax_.get_xlabel() == "threshold on the probability of class yes"


def test_threshold_set_after_fit_is_drawn_without_the_interval(tuned, rows):
    other = clone(tuned).fit(rows[0], rows[2]).set_params(threshold=0.7)
    display = ThresholdDisplay.from_estimator(other)
    np.testing.assert_array_equal(display.threshold_line_.get_xdata(), 0.7)
    assert display.interval_ is None


def test_threshold_tuned_later_is_drawn(model, rows):
    _, X, _, y = rows
    tuned = network().fit(rows[0], rows[2]).tune_threshold(X, y, "f1")
    display = ThresholdDisplay.from_estimator(tuned, metrics="score")
    assert display.threshold == tuned.threshold_
    assert display.ax_.get_ylabel() == "score"
    expected = tuned.threshold_curve_["score"].max()
    assert display.ax_.lines[-1].get_ydata() == pytest.approx(expected)


SCORERS = {
    "precision": lambda y, p, w: precision_score(
        y, p, pos_label="yes", sample_weight=w, zero_division=np.nan
    ),
    "recall": lambda y, p, w: recall_score(y, p, pos_label="yes", sample_weight=w),
    "f1": lambda y, p, w: f1_score(y, p, pos_label="yes", sample_weight=w),
    "balanced_accuracy": lambda y, p, w: balanced_accuracy_score(y, p, sample_weight=w),
    "specificity": lambda y, p, w: recall_score(y, p, pos_label="no", sample_weight=w),
    "alert_rate": lambda y, p, w: np.average(p == "yes", weights=w),
}


@pytest.mark.parametrize("weighted", [False, True])
def test_threshold_metrics_equal_those_of_predict(model, rows, weighted):
    _, X, _, y = rows
    weight = np.random.RandomState(0).randint(0, 3, len(y)).astype(float) if weighted else None
    display = ThresholdDisplay.from_estimator(
        model, X, y, sample_weight=weight, metrics=list(SCORERS)
    )
    assert 0.5 in display.thresholds
    for k in range(0, len(display.thresholds), 9):
        labels = model.predict(X, threshold=display.thresholds[k])
        for name, line in display.lines_.items():
            expected = SCORERS[name](y, labels, weight)
            np.testing.assert_allclose(y_values(line)[k], expected, err_msg=name)


def test_threshold_marks_its_metrics(model, rows):
    _, X, _, y = rows
    display = ThresholdDisplay.from_estimator(model, X, y)
    marks = [line for line in display.ax_.lines if line.get_marker() == "o"]
    labels = model.predict(X)
    expected = [SCORERS[name](y, labels, None) for name in ("precision", "recall")]
    np.testing.assert_allclose(np.ravel([line.get_ydata() for line in marks]), expected)


@pytest.mark.parametrize("kind", ["pipeline", "search"])
def test_threshold_of_pipelines_and_searches_is_that_of_the_classifier(rows, kind):
    X, X_test, y, y_test = rows
    estimator = make_pipeline(StandardScaler(), TorchLogisticClassifier(threshold="f1_macro"))
    if kind == "search":
        grid = {"torchlogisticclassifier__C": [0.1, 1.0]}
        estimator = VectorizedGridSearchCV(estimator, grid, cv=2)
    estimator.fit(X, y)
    inner = (estimator.best_estimator_ if kind == "search" else estimator)[-1]
    display = ThresholdDisplay.from_estimator(estimator, X_test, y_test)
    assert display.threshold == inner.threshold_
    assert display.interval == inner.threshold_interval_
    recall = np.mean(estimator.predict(X_test)[y_test == "yes"] == "yes")
    assert recall in y_values(display.lines_["recall"])
    without = ThresholdDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(without.thresholds, inner.threshold_curve_["threshold"])


def test_threshold_of_other_classifiers_is_not_drawn(rows):
    X, X_test, y, y_test = rows
    other = CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, y)
    display = ThresholdDisplay.from_estimator(other, X_test, y_test)
    assert display.threshold_line_ is None
    assert display.pos_label == "yes"


def test_threshold_from_predictions_equals_from_estimator(model, rows):
    _, X, _, y = rows
    one = ThresholdDisplay.from_estimator(model, X, y)
    other = ThresholdDisplay.from_predictions(y, model.predict_proba(X)[:, 1], threshold=0.5)
    np.testing.assert_array_equal(one.thresholds, other.thresholds)
    for name in one.metrics:
        np.testing.assert_array_equal(one.metrics[name], other.metrics[name])


def test_threshold_from_predictions_accepts_probabilities_of_0_and_1():
    display = ThresholdDisplay.from_predictions(
        [True, False, True, False], [1.0, 0.0, 0.0, 1.0], metrics=["recall", "alert_rate"]
    )
    np.testing.assert_array_equal(display.thresholds, [0, 0.5, 1])
    np.testing.assert_array_equal(y_values(display.lines_["recall"]), [1, 0.5, 0.5])
    np.testing.assert_array_equal(y_values(display.lines_["alert_rate"]), [1, 0.5, 0.5])


def test_threshold_from_predictions_accepts_the_first_label_as_positive():
    y, proba = np.array(["a", "b", "a", "b"]), np.array([0.9, 0.2, 0.6, 0.7])
    display = ThresholdDisplay.from_predictions(y, proba, pos_label="a", threshold=0.65)
    at = int(np.flatnonzero(display.thresholds == 0.65)[0])
    assert y_values(display.lines_["recall"])[at] == 0.5
    assert display.ax_.get_xlabel().endswith("of class a")


def test_threshold_of_two_models_on_the_same_axes_has_four_colors(model, tuned, rows):
    _, X, _, y = rows
    first = ThresholdDisplay.from_estimator(model, X, y, name="network")
    second = ThresholdDisplay.from_estimator(tuned, X, y, name="linear", ax=first.ax_)
    lines = [*first.lines_.values(), *second.lines_.values()]
    assert len({line.get_color() for line in lines}) == 4
    assert {"network: recall", "linear: threshold " + f"{tuned.threshold_:.3g}"} <= set(
        legend_texts(first.ax_)
    )


def test_threshold_metrics_differ_in_color_and_line_style(tuned):
    names = ["precision", "recall", "f1", "specificity", "alert_rate", "accuracy", "jaccard"]
    lines = ThresholdDisplay.from_estimator(tuned, metrics=names).lines_.values()
    assert len({line.get_color() for line in lines}) == 7
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in lines}) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"X": [[0]]},
            "X and y must be passed together, got X without y. Pass both, or neither to draw the "
            "curve from which the threshold was chosen.",
        ),
        (
            {"sample_weight": [1]},
            "sample_weight must be passed with X and y, got it alone. Pass all three, or none to "
            "draw the curve from which the threshold was chosen.",
        ),
        (
            {},
            "estimator must have a tuned threshold to be drawn without X and y, got "
            "threshold=0.5. Pass X and y, or fit it with an objective such as threshold='f1'.",
        ),
    ],
)
def test_threshold_from_estimator_missing_arguments_are_an_error(model, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(model, **arguments)


def test_threshold_from_estimator_other_labels_are_an_error(model, rows):
    message = (
        "y must contain labels that the estimator was fitted on, ['no', 'yes'], got ['maybe']. "
        "Pass the same labels as in fit."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(model, rows[1], ["maybe"] * len(rows[1]))


def test_threshold_of_a_classifier_without_probabilities_is_an_error(rows):
    X, X_test, y, y_test = rows
    message = (
        "estimator must have predict_proba, got LinearSVC. Wrap it in "
        "sklearn.calibration.CalibratedClassifierCV."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(LinearSVC().fit(X, y), X_test, y_test)


def test_threshold_of_three_classes_is_an_error():
    other = LogisticRegression().fit([[0], [1], [2]], [0, 1, 2])
    message = "estimator must be a binary classifier, got one of 3 classes. Draw one class"
    with pytest.raises(ValueError, match=message):
        ThresholdDisplay.from_estimator(other, [[0], [1]], [0, 1])


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("recal", "got 'recal'. Did you mean 'recall'?"),
        (["recall", "score"], "got 'score'."),
        ([], "metrics must contain at least one name, got none."),
        ([3], "metrics must be names of metrics of labels, got 3. Use some of accuracy,"),
    ],
)
def test_threshold_bad_metrics_are_an_error(model, rows, metrics, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(model, rows[1], rows[3], metrics=metrics)


@pytest.mark.parametrize(
    ("y_true", "y_proba", "settings", "message"),
    [
        ([0, 1], [-2.0, 3.0], {}, "y_proba must be probabilities in [0, 1], got values from -2"),
        ([0, 1], [0.1, np.nan], {}, "y_proba must be probabilities in [0, 1], got values from "),
        ([0, 1], [[0.1, 0.9]] * 2, {}, "y_proba must be of shape (n_samples,), got shape (2, 2)"),
        ([1, 1], [0.1, 0.9], {}, "y_true must contain two classes, got 1: [1]."),
        ([0, 1, 2], [0.1, 0.9, 0], {}, "y_true must contain two classes, got 3: [0, 1, 2]."),
        ([0, 1], [0.1, 0.9], {"pos_label": 2}, "pos_label must be one of the labels [0, 1], got 2"),
        ([0, 1], [0.1, 0.9], {"threshold": 2}, "threshold must be a number in [0, 1], got 2"),
        ([0, 1], [0.1, 0.9, 0.5], {}, "inconsistent numbers of samples"),
        ([0, 1], [0.1, 0.9], {"sample_weight": [1, -1]}, "weights must be zero or more"),
    ],
)
def test_threshold_from_predictions_bad_arguments_are_an_error(y_true, y_proba, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_predictions(y_true, y_proba, **settings)
