"""What the displays draw, and that scikit-learn's own draw our classifiers."""

import re
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import loguniform, norm
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay, calibration_curve
from sklearn.datasets import make_circles, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    DetCurveDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    balanced_accuracy_score,
    det_curve,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_curve,
)
from sklearn.model_selection import GridSearchCV, ParameterGrid, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import skbinary
from skbinary import (
    LossCurveDisplay,
    SearchDisplay,
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.plotting.axes import COLOURS
from skbinary.plotting.search_results import Scale

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with it")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

# Nothing that is drawn may warn, not even when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
DISPLAYS = [LossCurveDisplay, SearchDisplay, ThresholdDisplay]


@pytest.fixture(autouse=True)
def _render_and_close():
    yield
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    for figure in figures:
        figure.canvas.draw()


def split(seed=0):
    X, y = make_classification(600, weights=[0.7], flip_y=0.1, random_state=seed)
    return train_test_split(X, np.where(y == 1, "yes", "no"), stratify=y, random_state=seed)


@pytest.fixture(scope="module")
def rows():
    return split()


def network(**settings):
    settings = {"max_iter": 12, "n_iter_no_change": 12, "random_state": 0, **settings}
    settings.setdefault("early_stopping", True)
    return TorchMLPClassifier((8,), learning_rate_init=0.02, **settings)


@pytest.fixture(scope="module")
def model(rows):
    X, _, y, _ = rows
    return network().fit(X, y)


@pytest.fixture(scope="module")
def chosen(rows):
    X, _, y, _ = rows
    return TorchLogisticClassifier(threshold={"recall": 0.9}).fit(X, y)


@pytest.fixture(scope="module")
def search(rows):
    X, _, y, _ = rows
    grid = {
        "net__learning_rate_init": [0.001, 0.01, 0.1, 1.0],
        "net__alpha": [0.001, 0.1, 10.0, 100.0],
        "net__threshold": [0.3, 0.5],
    }
    steps = make_pipeline(StandardScaler(), network(max_iter=3, n_iter_no_change=3))
    steps.steps[-1] = ("net", steps[-1])
    scoring = ["f1_macro", "roc_auc"]
    return VectorizedGridSearchCV(steps, grid, scoring=scoring, refit="f1_macro", cv=3).fit(X, y)


def drawn(line):
    return np.asarray(line.get_ydata(), dtype=float)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# -- LossCurveDisplay -------------------------------------------------------------------------


def test_loss_lines_hold_the_curves_of_the_estimator(model):
    display = LossCurveDisplay.from_estimator(model)
    for kind, curve in {
        "loss": model.loss_curve_,
        "validation_loss": model.validation_loss_curve_,
        "validation_score": model.validation_scores_,
    }.items():
        (line,) = display.lines_[kind]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, model.n_iter_ + 1))
        np.testing.assert_array_equal(drawn(line), curve)
    assert display.lines_["loss"][0].axes is display.ax_
    assert display.lines_["validation_score"][0].axes is display.ax_score_
    assert display.figure_ is display.ax_.figure


def test_loss_axes_say_what_they_are(model):
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "log loss (nats)"
    assert display.ax_score_.get_ylabel() == "validation accuracy"
    assert display.ax_score_.yaxis.get_label_position() == "right"


def test_loss_unnamed_curves_differ_in_colour_and_in_line(model):
    lines = [each for (each,) in list(LossCurveDisplay.from_estimator(model).lines_.values())[:3]]
    assert [line.get_color() for line in lines] == list(COLOURS[:3])
    assert len({line.get_linestyle() for line in lines}) == 3


def test_loss_best_epoch_is_marked_on_the_validation_curves(model):
    display = LossCurveDisplay.from_estimator(model)
    best = model.best_epoch_
    points = [(*line.get_xdata(), *line.get_ydata()) for line in display.lines_["best_epoch"]]
    assert points == [
        (best, model.validation_loss_curve_[best - 1]),
        (best, model.validation_scores_[best - 1]),
    ]


@pytest.mark.parametrize(("best", "words"), [(2, "best epoch: 2"), (3, "last epoch kept: 3")])
def test_loss_last_epoch_is_not_called_the_best(best, words):
    display = LossCurveDisplay(
        loss=[3, 2, 1], validation_loss=[3.0, 2.5, 2.6], best_epoch=best
    ).plot()
    assert legend_texts(display.ax_)[-1] == words


def test_loss_without_validation_rows_has_one_line(rows):
    X, _, y, _ = rows
    display = LossCurveDisplay.from_estimator(network(early_stopping=False).fit(X, y))
    assert display.ax_score_ is None
    assert {kind: len(lines) for kind, lines in display.lines_.items()} == {
        "loss": 1,
        "validation_loss": 0,
        "validation_score": 0,
        "best_epoch": 0,
    }
    assert legend_texts(display.ax_) == ["training loss"]


def test_loss_score_is_left_out_on_request(model):
    display = LossCurveDisplay.from_estimator(model, show_score=False)
    assert display.ax_score_ is None
    assert display.figure_.axes == [display.ax_]


def test_loss_score_is_called_as_the_monitor(rows):
    X, _, y, _ = rows

    def hits(estimator, X, y):
        return float(np.mean(estimator.predict(X) == y))

    for monitor, name in (("roc_auc", "roc_auc"), (hits, "hits")):
        display = LossCurveDisplay.from_estimator(network(monitor=monitor).fit(X, y))
        assert display.ax_score_.get_ylabel() == f"validation {name}"


@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs", "adam"])
def test_loss_of_full_batch_solvers_counts_iterations(rows, solver):
    X, _, y, _ = rows
    model = TorchLogisticClassifier(solver=solver, max_iter=20).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_xlabel() == ("epoch" if solver == "adam" else "iteration")
    np.testing.assert_array_equal(drawn(display.lines_["loss"][0]), model.loss_curve_)


def test_loss_epochs_and_iterations_on_one_axis_are_both_named(model, chosen):
    display = LossCurveDisplay.from_estimator(model, name="network")
    LossCurveDisplay.from_estimator(chosen, name="linear", ax=display.ax_)
    assert display.ax_.get_xlabel() == "epoch or iteration"


def test_loss_log_scale_has_plain_numbers(model):
    display = LossCurveDisplay.from_estimator(model, log_scale=True)
    assert display.ax_.get_yscale() == "log"
    assert display.ax_score_.get_yscale() == "linear"
    display.figure_.canvas.draw()
    assert all(re.fullmatch(r"[\d.]*", t.get_text()) for t in display.ax_.get_yticklabels())


@pytest.mark.parametrize("kind", ["pipeline", "nested pipeline", "search", "pipeline of search"])
def test_loss_finds_the_classifier_within(rows, kind):
    X, _, y, _ = rows
    estimator = make_pipeline(StandardScaler(), network())
    if kind == "nested pipeline":
        estimator = make_pipeline("passthrough", estimator)
    if kind == "search":
        estimator = GridSearchCV(estimator, {"torchmlpclassifier__alpha": [0.1, 1]}, cv=2)
    if kind == "pipeline of search":
        estimator = make_pipeline(
            StandardScaler(), VectorizedGridSearchCV(network(), {"alpha": [0.1, 1]}, cv=2)
        )
    estimator.fit(X, y)
    inner = {
        "pipeline": lambda: estimator[-1],
        "nested pipeline": lambda: estimator[-1][-1],
        "search": lambda: estimator.best_estimator_[-1],
        "pipeline of search": lambda: estimator[-1].best_estimator_,
    }[kind]()
    display = LossCurveDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(drawn(display.lines_["loss"][0]), inner.loss_curve_)


def test_loss_of_several_estimators_shares_both_axes(rows, model):
    X, _, y, _ = rows
    other = network(monitor="roc_auc", alpha=10.0).fit(X, y)
    first = LossCurveDisplay.from_estimator(model, name="weak")
    second = LossCurveDisplay.from_estimator(other, name="strong", ax=first.ax_)
    assert second.ax_ is first.ax_
    assert second.ax_score_ is first.ax_score_
    assert first.figure_.axes == [first.ax_, first.ax_score_]
    assert first.ax_score_.get_ylabel() == "validation score"
    texts = legend_texts(first.ax_)
    assert {"weak: training loss", "strong: validation roc_auc (right)"} <= set(texts)
    assert len(texts) == 8
    colours = [
        {line.get_color() for lines in list(each.lines_.values())[:3] for line in lines}
        for each in (first, second)
    ]
    assert colours == [{COLOURS[0]}, {COLOURS[1]}]


def test_loss_on_panels_with_a_shared_axis_has_a_score_axis_for_each(model):
    figure, panels = plt.subplots(1, 2, sharex=True, sharey=True, layout="constrained")
    displays = [LossCurveDisplay.from_estimator(model, ax=ax) for ax in panels]
    figure.canvas.draw()
    again = LossCurveDisplay.from_estimator(model, name="again", ax=panels[0])
    assert displays[0].ax_score_ is not displays[1].ax_score_
    assert again.ax_score_ is displays[0].ax_score_


def test_loss_members_are_thin_lines_and_their_mean(rows):
    X, _, y, _ = rows
    model = network(n_members=3, n_iter_no_change=2, max_iter=30).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    *members, mean = display.lines_["validation_loss"]
    for line, curve in zip(members, model.validation_loss_curve_, strict=True):
        np.testing.assert_array_equal(drawn(line), curve)
        assert line.get_linewidth() < mean.get_linewidth()
        assert line.get_color() == mean.get_color()
    shortest = min(map(len, model.validation_loss_curve_))
    expected = np.mean([curve[:shortest] for curve in model.validation_loss_curve_], axis=0)
    np.testing.assert_allclose(drawn(mean), expected)
    np.testing.assert_array_equal(display.lines_["best_epoch"][0].get_xdata(), model.best_epoch_)
    texts = legend_texts(display.ax_)
    low, high = min(model.best_epoch_), max(model.best_epoch_)
    assert texts[:3] == [
        "training loss, mean of 3",
        "validation loss, mean of 3",
        f"best epochs: {low} to {high}",
    ]


def test_loss_goes_on_over_warm_starts_without_a_warning(rows):
    X, X_val, y, y_val = rows
    model = network(early_stopping=False, warm_start=True, max_iter=3).fit(X, y)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    display = LossCurveDisplay.from_estimator(model)
    assert len(drawn(display.lines_["loss"][0])) == 6
    assert np.isnan(drawn(display.lines_["validation_loss"][0])[:3]).all()


def test_loss_beside_lines_of_the_user_keeps_its_colours(model):
    _, ax = plt.subplots()
    ax.axhline(np.log(2), c=COLOURS[0], label="a coin")
    display = LossCurveDisplay.from_estimator(model, ax=ax)
    lines = [each for (each,) in list(display.lines_.values())[:3]]
    assert [line.get_color() for line in lines] == list(COLOURS[1:4])
    assert legend_texts(ax)[0] == "a coin"


def test_loss_settings_reach_all_lines(model):
    display = LossCurveDisplay.from_estimator(model, c="black", lw=1)
    lines = [line for kind in list(display.lines_)[:3] for line in display.lines_[kind]]
    assert {(line.get_color(), line.get_linewidth()) for line in lines} == {("black", 1)}


def test_loss_legend_hides_no_line(model):
    display = LossCurveDisplay.from_estimator(model)
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    lines = [line for kind in list(display.lines_)[:3] for line in display.lines_[kind]]
    for line in lines:
        path = line.get_transform().transform_path(line.get_path())
        assert not path.intersects_bbox(box, filled=False)


def test_loss_legend_without_room_goes_below_the_axes(model):
    display = LossCurveDisplay.from_estimator(model, name="first")
    for name in ("second", "third"):
        LossCurveDisplay.from_estimator(model, name=name, ax=display.ax_)
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend().get_window_extent()
    assert legend.y1 < display.ax_.bbox.y0
    assert legend.y0 >= 0


def test_loss_of_another_estimator_says_what_to_do():
    message = (
        "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier, a Pipeline that "
        "ends with one, or a search around one, got LogisticRegression. The curves of "
        "another model can be given to LossCurveDisplay(loss=...)."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LossCurveDisplay.from_estimator(LogisticRegression().fit([[0], [1]], [0, 1]))


@pytest.mark.parametrize(
    "estimator",
    [
        network(),
        make_pipeline(StandardScaler(), network()),
        GridSearchCV(network(), {"alpha": [1]}),
        VectorizedGridSearchCV(network(), {"alpha": [1]}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_loss_before_fit_is_an_error(estimator):
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(clone(estimator))


def test_loss_of_a_search_without_refit_says_what_to_do(rows):
    X, _, y, _ = rows
    search = VectorizedGridSearchCV(network(), {"alpha": [1]}, refit=False, cv=2).fit(X, y)
    message = (
        "A search must have refitted its best candidate to be drawn here, got refit=False"
        ". Set refit=True, or fit its best_params_ yourself."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LossCurveDisplay.from_estimator(search)


def test_loss_without_an_epoch_says_what_to_do():
    message = (
        "loss must hold a number for at least one epoch, got none. The fit ended before "
        "the first one; train from the start, with warm_start=False."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LossCurveDisplay(loss=[]).plot()


# -- ThresholdDisplay -------------------------------------------------------------------------


def test_threshold_without_rows_draws_the_curve_of_the_choice(chosen):
    display = ThresholdDisplay.from_estimator(chosen, metrics=["precision", "recall", "score"])
    curve = chosen.threshold_curve_
    for line in display.lines_.values():
        np.testing.assert_array_equal(line.get_xdata(), curve["threshold"])
    np.testing.assert_allclose(
        drawn(display.lines_["recall"]), curve["tp"] / (curve["tp"] + curve["fn"])
    )
    np.testing.assert_array_equal(drawn(display.lines_["score"]), curve["score"])
    flagged = curve["tp"] + curve["fp"] > 0
    np.testing.assert_allclose(
        drawn(display.lines_["precision"])[flagged],
        (curve["tp"] / (curve["tp"] + curve["fp"]))[flagged]
        if flagged.all()
        else curve["tp"][flagged] / (curve["tp"] + curve["fp"])[flagged],
    )
    assert np.isnan(drawn(display.lines_["precision"])[~flagged]).all()


def test_threshold_in_force_and_its_interval_are_drawn(chosen):
    display = ThresholdDisplay.from_estimator(chosen)
    np.testing.assert_array_equal(display.threshold_line_.get_xdata(), chosen.threshold_)
    box = display.interval_.get_extents().transformed(display.ax_.transData.inverted())
    np.testing.assert_allclose((box.x0, box.x1), chosen.threshold_interval_)
    assert legend_texts(display.ax_) == [
        "90% interval",
        "precision",
        "recall",
        f"threshold {chosen.threshold_:.3g}",
    ]
    assert display.ax_.get_xlabel() == "threshold on the probability of class yes"


def test_threshold_set_after_fit_is_drawn_without_the_interval_of_the_choice(chosen, rows):
    other = clone(chosen).fit(rows[0], rows[2]).set_params(threshold=0.7)
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
def test_threshold_metrics_are_those_of_predict_at_each_threshold(model, rows, weighted):
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
            np.testing.assert_allclose(drawn(line)[k], expected, err_msg=name)


def test_threshold_in_force_has_its_metrics_marked(model, rows):
    _, X, _, y = rows
    display = ThresholdDisplay.from_estimator(model, X, y)
    marks = [line for line in display.ax_.lines if line.get_marker() == "o"]
    labels = model.predict(X)
    expected = [SCORERS[name](y, labels, None) for name in ("precision", "recall")]
    np.testing.assert_allclose(np.ravel([line.get_ydata() for line in marks]), expected)


@pytest.mark.parametrize("kind", ["pipeline", "search"])
def test_threshold_of_a_pipeline_and_a_search_is_that_of_the_classifier(rows, kind):
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
    assert recall in drawn(display.lines_["recall"])
    without = ThresholdDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(without.thresholds, inner.threshold_curve_["threshold"])


def test_threshold_of_other_classifiers_is_not_marked(rows):
    X, X_test, y, y_test = rows
    other = CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, y)
    display = ThresholdDisplay.from_estimator(other, X_test, y_test)
    assert display.threshold_line_ is None
    assert display.pos_label == "yes"


def test_threshold_from_predictions_is_what_from_estimator_draws(model, rows):
    _, X, _, y = rows
    one = ThresholdDisplay.from_estimator(model, X, y)
    other = ThresholdDisplay.from_predictions(y, model.predict_proba(X)[:, 1], threshold=0.5)
    np.testing.assert_array_equal(one.thresholds, other.thresholds)
    for name in one.metrics:
        np.testing.assert_array_equal(one.metrics[name], other.metrics[name])


def test_threshold_from_predictions_takes_probabilities_of_0_and_1():
    display = ThresholdDisplay.from_predictions(
        [True, False, True, False], [1.0, 0.0, 0.0, 1.0], metrics=["recall", "alert_rate"]
    )
    np.testing.assert_array_equal(display.thresholds, [0, 0.5, 1])
    np.testing.assert_array_equal(drawn(display.lines_["recall"]), [1, 0.5, 0.5])
    np.testing.assert_array_equal(drawn(display.lines_["alert_rate"]), [1, 0.5, 0.5])


def test_threshold_from_predictions_takes_the_first_class_as_positive():
    y, proba = np.array(["a", "b", "a", "b"]), np.array([0.9, 0.2, 0.6, 0.7])
    display = ThresholdDisplay.from_predictions(y, proba, pos_label="a", threshold=0.65)
    at = int(np.flatnonzero(display.thresholds == 0.65)[0])
    assert drawn(display.lines_["recall"])[at] == 0.5
    assert display.ax_.get_xlabel().endswith("of class a")


def test_threshold_of_two_models_on_one_axis_has_four_colours(model, chosen, rows):
    _, X, _, y = rows
    first = ThresholdDisplay.from_estimator(model, X, y, name="network")
    second = ThresholdDisplay.from_estimator(chosen, X, y, name="linear", ax=first.ax_)
    lines = [*first.lines_.values(), *second.lines_.values()]
    assert len({line.get_color() for line in lines}) == 4
    assert {"network: recall", "linear: threshold " + f"{chosen.threshold_:.3g}"} <= set(
        legend_texts(first.ax_)
    )


def test_threshold_metrics_differ_in_colour_and_in_line(chosen):
    names = ["precision", "recall", "f1", "specificity", "alert_rate", "accuracy", "jaccard"]
    lines = ThresholdDisplay.from_estimator(chosen, metrics=names).lines_.values()
    assert len({line.get_color() for line in lines}) == 7
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in lines}) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"X": [[0]]},
            "X and y must be given together, got no y. Pass both, or neither to draw the "
            "curve from which the threshold was chosen.",
        ),
        (
            {"sample_weight": [1]},
            "sample_weight must come with X and y, got it alone. Pass all three, or none "
            "to draw the curve from which the threshold was chosen.",
        ),
        (
            {},
            "estimator must have chosen its threshold to be drawn without X and y, got "
            "threshold=0.5. Pass X and y, or fit it with an aim such as threshold='f1'.",
        ),
    ],
)
def test_threshold_without_what_it_needs_says_what_to_do(model, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(model, **arguments)


def test_threshold_of_rows_with_other_labels_says_what_to_do(model, rows):
    message = (
        "y must hold the labels that the estimator knows, ['no', 'yes'], got ['maybe']. "
        "Pass labels as they were in fit."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(model, rows[1], ["maybe"] * len(rows[1]))


def test_threshold_of_a_classifier_without_probabilities_says_what_to_do(rows):
    X, X_test, y, y_test = rows
    message = (
        "estimator must have predict_proba, got LinearSVC. Wrap it in "
        "sklearn.calibration.CalibratedClassifierCV."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(LinearSVC().fit(X, y), X_test, y_test)


def test_threshold_of_three_classes_says_what_to_do():
    other = LogisticRegression().fit([[0], [1], [2]], [0, 1, 2])
    message = "estimator must know two classes, got 3. Draw one class against the others"
    with pytest.raises(ValueError, match=message):
        ThresholdDisplay.from_estimator(other, [[0], [1]], [0, 1])


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("recal", "got 'recal'. Did you mean 'recall'?"),
        (["recall", "score"], "got 'score'."),
        ([], "metrics must hold at least one name, got none."),
        ([3], "metrics must be names of scores of labels, got 3. Use some of accuracy,"),
    ],
)
def test_threshold_with_unknown_metrics_says_what_to_do(model, rows, metrics, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_estimator(model, rows[1], rows[3], metrics=metrics)


@pytest.mark.parametrize(
    ("y_true", "y_proba", "settings", "message"),
    [
        ([0, 1], [-2.0, 3.0], {}, "y_proba must be probabilities in [0, 1], got numbers from -2"),
        ([0, 1], [0.1, np.nan], {}, "y_proba must be probabilities in [0, 1], got numbers from "),
        ([0, 1], [[0.1, 0.9]] * 2, {}, "y_proba must be of shape (n_samples,), got shape (2, 2)"),
        ([1, 1], [0.1, 0.9], {}, "The labels must be of two classes, got 1, [1],"),
        ([0, 1, 2], [0.1, 0.9, 0], {}, "The labels must be of two classes, got 3, [0, 1, 2],"),
        ([0, 1], [0.1, 0.9], {"pos_label": 2}, "pos_label must be one of the labels [0, 1], got 2"),
        ([0, 1], [0.1, 0.9], {"threshold": 2}, "threshold must be a number in [0, 1], got 2"),
        ([0, 1], [0.1, 0.9, 0.5], {}, "inconsistent numbers of samples"),
        ([0, 1], [0.1, 0.9], {"sample_weight": [1, -1]}, "weights must be zero or more"),
    ],
)
def test_threshold_from_wrong_predictions_says_what_to_do(y_true, y_proba, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ThresholdDisplay.from_predictions(y_true, y_proba, **settings)


# -- SearchDisplay ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_parameter(rows):
    X, _, y, _ = rows
    grid = {"C": [0.01, 0.1, 1.0, 10.0]}
    return VectorizedGridSearchCV(
        TorchLogisticClassifier(), grid, scoring="neg_log_loss", cv=3, return_train_score=True
    ).fit(X, y)


def test_search_over_one_parameter_is_a_line_with_a_band(one_parameter):
    display = SearchDisplay.from_estimator(one_parameter)
    results = one_parameter.cv_results_
    (line,) = display.lines_
    assert display.kind_ == "line"
    np.testing.assert_array_equal(line.get_xdata(), [0.01, 0.1, 1.0, 10.0])
    np.testing.assert_array_equal(drawn(line), results["mean_test_score"])
    (band,) = display.ax_.collections
    low, high = results["mean_test_score"] + [[-1], [1]] * results["std_test_score"]
    vertices = band.get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose((vertices.min(), vertices.max()), (low.min(), high.max()))


def test_search_axes_say_what_they_are(one_parameter):
    display = SearchDisplay.from_estimator(one_parameter)
    assert display.ax_.get_xlabel() == "C"
    assert display.ax_.get_xscale() == "log"
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0.01", "0.1", "1", "10"]
    assert display.ax_.get_ylabel() == "neg_log_loss (nats, mean of 3 folds)"


def test_search_best_candidate_is_marked(one_parameter):
    display = SearchDisplay.from_estimator(one_parameter)
    best = one_parameter.best_params_["C"]
    assert (*display.best_.get_xdata(), *display.best_.get_ydata()) == (
        best,
        one_parameter.best_score_,
    )
    assert f"best: {one_parameter.best_score_:.4g} at {best:g}" in legend_texts(display.ax_)


def test_search_over_two_parameters_takes_the_best_of_the_others(search):
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "net__alpha"])
    assert display.kind_ == "heatmap"
    scores = search.cv_results_["mean_test_f1_macro"]
    rates, alphas = [0.001, 0.01, 0.1, 1.0], [0.001, 0.1, 10.0, 100.0]
    expected = [
        [
            max(
                score
                for score, each in zip(scores, search.cv_results_["params"], strict=True)
                if (each["net__learning_rate_init"], each["net__alpha"]) == (rate, alpha)
            )
            for rate in rates
        ]
        for alpha in alphas
    ]
    np.testing.assert_array_equal(display.image_.get_array(), expected)
    assert display.ax_.get_xlabel() == "learning_rate_init"
    assert display.ax_.get_ylabel() == "alpha"
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0.001", "0.1", "10", "100"]
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts == [f"{value:.2f}" for value in np.ravel(expected)]
    label = display.figure_.axes[1].get_ylabel()
    assert label == "f1_macro (mean of 3 folds)\nbest over threshold\nthe best one framed"


def test_search_best_cell_is_framed(search):
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"])
    best = search.best_params_
    column = [0.001, 0.01, 0.1, 1.0].index(best["net__learning_rate_init"])
    row = [0.001, 0.1, 10.0, 100.0].index(best["net__alpha"])
    assert display.best_.get_xy() == (column - 0.5, row - 0.5)


def test_search_without_params_draws_the_two_that_matter_most(rows):
    results = {
        "params": [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (1, 2) for c in (1, 2)],
        "mean_test_score": [a + 5 * b + 0.1 * c for a in (1, 2) for b in (1, 2) for c in (1, 2)],
    }
    display = SearchDisplay.from_cv_results(results)
    assert list(display.params) == ["a", "b"]
    assert display.others == ("c",)


def test_search_few_values_of_the_second_parameter_are_lines(search):
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "threshold"])
    assert display.kind_ == "line"
    assert [line.get_label() for line in display.lines_] == ["threshold=0.3", "threshold=0.5"]
    assert len({line.get_linestyle() for line in display.lines_}) == 2
    assert len({line.get_marker() for line in display.lines_}) == 2
    assert display.ax_.get_ylabel() == "f1_macro (mean of 3 folds)\nbest over alpha"


@pytest.mark.parametrize("score", ["roc_auc", "mean_test_roc_auc", "test_roc_auc"])
def test_search_score_is_found_by_its_name(search, score):
    display = SearchDisplay.from_estimator(search, params="alpha", score=score)
    assert display.score_name == "roc_auc (mean of 3 folds)"
    np.testing.assert_array_equal(display.scores, search.cv_results_["mean_test_roc_auc"])
    assert display.best_index == np.argmax(display.scores)


def test_search_training_score_is_named_so(one_parameter):
    display = SearchDisplay.from_estimator(one_parameter, score="mean_train_score", name="train")
    np.testing.assert_array_equal(display.scores, one_parameter.cv_results_["mean_train_score"])
    assert display.ax_.get_ylabel() == "training score (mean of 3 folds)"


def test_search_of_scikit_learn_is_drawn_alike(one_parameter, rows):
    X, _, y, _ = rows
    theirs = GridSearchCV(LogisticRegression(), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3).fit(X, y)
    display = SearchDisplay.from_estimator(theirs)
    np.testing.assert_array_equal(drawn(display.lines_[0]), theirs.cv_results_["mean_test_score"])
    assert display.ax_.get_ylabel() == "accuracy (mean of 3 folds)"


def test_search_at_random_is_drawn_as_points(rows):
    X, _, y, _ = rows
    space = {"learning_rate_init": loguniform(1e-4, 1), "alpha": loguniform(1e-4, 10)}
    search = VectorizedRandomizedSearchCV(
        network(max_iter=2), space, n_iter=9, cv=2, random_state=0
    ).fit(X, y)
    display = SearchDisplay.from_estimator(search)
    assert display.kind_ == "scatter"
    expected = [[each[name] for name in display.params] for each in search.cv_results_["params"]]
    np.testing.assert_array_equal(display.points_.get_offsets(), expected)
    np.testing.assert_array_equal(
        display.points_.get_array(), search.cv_results_["mean_test_score"]
    )
    assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "log")
    best = [search.best_params_[name] for name in display.params]
    assert [*display.best_.get_xdata(), *display.best_.get_ydata()] == best
    alone = SearchDisplay.from_estimator(search, params="alpha")
    assert alone.ax_.get_ylabel().endswith("also varied: learning_rate_init")
    assert (alone.kind_, alone.lines_[0].get_linestyle()) == ("scatter", "None")


def results_of(**params):
    names = list(params)
    candidates = [
        dict(zip(names, values, strict=True)) for values in zip(*params.values(), strict=True)
    ]
    scores = np.linspace(0.5, 0.9, len(candidates))
    return {"params": candidates, "mean_test_score": scores}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.01, 0.1, 1, 10], "log"),
        ([1e-4, 3e-4, 1e-3], "log"),
        ([8, 16, 32, 64, 128], "log"),
        ([0.001, 0.1], "log"),
        ([10, 20, 30, 40], "linear"),
        ([0.0, 0.25, 0.5], "linear"),
        ([-1, 0, 1], "linear"),
        ([5], "linear"),
        ([0, 0.01, 0.1, 1], "even"),
        ([0.1, 1, np.inf], "even"),
        (["a", "b"], "words"),
        ([None, 1, 2], "words"),
        ([True, False], "words"),
        ([(8,), (16, 8)], "words"),
    ],
)
def test_search_numbers_are_spaced_as_they_were_chosen(values, kind):
    assert Scale.of(values).kind == kind
    display = SearchDisplay.from_cv_results(results_of(p=values), params="p")
    assert display.ax_.get_xscale() == ("log" if kind == "log" else "linear")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"]),
        ([0.1, 1, np.inf], ["0.1", "1", "inf"]),
        ([None, "balanced"], ["None", "balanced"]),
        ([(8,), (16, 8)], ["(8,)", "(16, 8)"]),
        ([{"no": 1, "yes": 5}, {"no": 1, "yes": 50}], None),
    ],
)
def test_search_values_are_written_at_the_axis(values, texts):
    display = SearchDisplay.from_cv_results(results_of(p=values))
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == (texts or [str(value) for value in values])


def test_search_over_lists_of_grids_draws_the_candidates_that_set_the_parameter():
    results = {
        "params": [{"a": 1}, {"a": 2}, {"b": 1}, {"a": 3}],
        "mean_test_score": [0.1, 0.2, 0.9, 0.3],
    }
    display = SearchDisplay.from_cv_results(results, params="a")
    np.testing.assert_array_equal(drawn(display.lines_[0]), [0.1, 0.2, 0.3])
    assert display.best_ is None  # it is not among them


@pytest.mark.parametrize("at_random", [False, True])
def test_search_over_a_list_of_grids_fills_in_what_the_estimator_has(rows, at_random):
    X, _, y, _ = rows
    grids = [{"alpha": [0.01, 1.0]}, {"learning_rate_init": [0.01, 0.1], "alpha": [10.0]}, {}]
    if at_random:
        search = VectorizedRandomizedSearchCV(network(max_iter=2), grids[:2], n_iter=4, cv=2)
    else:
        search = VectorizedGridSearchCV(network(max_iter=2), grids, cv=2)
    search.fit(X, y)
    display = SearchDisplay.from_estimator(search)
    known = network(max_iter=2).get_params()
    expected = [{**known, **each} for each in search.cv_results_["params"]]
    assert set(display.params) == {"alpha", "learning_rate_init"}
    for name, values in display.params.items():
        assert values == [each[name] for each in expected]
    np.testing.assert_array_equal(display.scores, search.cv_results_["mean_test_score"])
    assert display.best_index == search.best_index_
    assert display.best_ is not None
    assert display.score_name == "accuracy (mean of 2 folds)"


def test_search_over_disjoint_results_draws_the_parameter_of_the_best_candidate():
    results = {
        "params": [{"a": 1}, {"a": 2}, {"b": 1}, {"b": 2}, {"b": 3}],
        "mean_test_score": [0.1, 0.8, 0.2, 0.3, 0.4],
    }
    display = SearchDisplay.from_cv_results(results)
    assert display.params == {"a": [1, 2]}
    assert display.others == ()
    assert display.ax_.get_ylabel() == "score\n2 of 5 candidates"
    assert display.best_ is not None


def test_search_over_estimators_draws_what_all_candidates_have():
    logistic, mlp = TorchLogisticClassifier(), network()
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", logistic)])
    grids = [
        {"clf": [logistic], "clf__C": [0.1, 1.0]},
        {"clf": [mlp], "clf__alpha": [0.1, 1.0, 10.0]},
    ]
    candidates = list(ParameterGrid(grids))
    results = {"params": candidates, "mean_test_score": [0.1, 0.2, 0.3, 0.5, 0.4]}
    display = SearchDisplay.from_cv_results(results)
    assert display.params == {"clf": [each["clf"] for each in candidates]}
    assert drawn(display.lines_[0]).tolist() == [0.2, 0.5]
    assert display.others == ("C", "alpha")
    search = GridSearchCV(pipeline, grids)
    search.cv_results_, search.best_index_ = results, 3
    of_search = SearchDisplay.from_estimator(search, params="alpha")
    assert of_search.params == {"alpha": [0.1, 1.0, 10.0]}  # a linear model has none
    assert of_search.ax_.get_ylabel() == "accuracy\n3 of 5 candidates"
    assert (logistic.C, mlp.alpha) == (1.0, 0.0001)  # are not touched


def test_search_over_two_parameters_that_no_candidate_has_together_says_what_to_do():
    results = {"params": [{"a": 1}, {"b": 2}], "mean_test_score": [0.1, 0.2]}
    message = "params must be two that some candidate has, got 'a' and 'b', of which each"
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_cv_results(results, params=["a", "b"])


def test_search_over_grids_of_which_one_has_failed_draws_the_other():
    results = {
        "params": [{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "c": 1}, {"a": 2, "c": 2}],
        "mean_test_score": [0.1, 0.2, np.nan, np.nan],
    }
    display = SearchDisplay.from_cv_results(results)
    assert list(display.params) == ["a"]
    np.testing.assert_array_equal(drawn(display.lines_[0]), [0.1, 0.2])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (
            [network(alpha=0.01), network(alpha=10.0), network(alpha=0.01)],
            ["...alpha=0.01, early_...", "...alpha=10.0, early_..."],
        ),
        (["a" * 30, "a" * 31], ["a" * 21 + "...", "a" * 21 + "... (2)"]),
        (["auto", 50, 5, None, "5"], ["5", "50", "auto", "None", "5 (2)"]),
        ([f1_score, recall_score], ["f1_score", "recall_score"]),
    ],
)
def test_search_values_that_differ_have_names_that_differ(values, texts):
    scale = Scale.of(values)
    assert scale.labels == texts
    display = SearchDisplay.from_cv_results(results_of(p=values))
    assert len(drawn(display.lines_[0])) == len(texts)


def test_search_failed_candidates_are_left_out():
    results = {
        "params": [{"a": a, "b": b} for a in (1, 2, 3) for b in (1, 2, 3, 4)],
        "mean_test_score": [np.nan, *np.linspace(0.1, 0.9, 11)],
    }
    table = SearchDisplay.from_cv_results(results, params=["a", "b"], kind="heatmap")
    assert np.ma.filled(table.image_.get_array(), np.nan)[0, 0] != 0.1
    assert len(table.ax_.texts) == 11
    line = SearchDisplay.from_cv_results(results, params="a").lines_[0]
    np.testing.assert_allclose(drawn(line), results["mean_test_score"][3::4])


def test_search_that_diverges_somewhere_keeps_its_colours_for_the_rest():
    results = results_of(a=[1, 1, 2, 2, 3, 3], b=[1, 2] * 3)
    results["mean_test_score"] = np.array([-0.5, -0.4, -0.3, -0.2, -0.1, -1e6])
    display = SearchDisplay.from_cv_results(results)
    low, high = display.image_.get_clim()
    assert (-2 < low < -0.5, high) == (True, -0.1)
    own = SearchDisplay.from_cv_results(results, vmin=-3, cmap="gray")
    assert (own.image_.get_clim()[0], own.image_.get_cmap().name) == (-3, "gray")


@pytest.mark.parametrize("kind", ["line", "heatmap", "scatter"])
def test_search_whose_scores_are_all_equal_is_drawn(kind):
    results = {**results_of(a=[1, 1, 2, 2], b=[1, 2, 1, 2]), "mean_test_score": [0.5] * 4}
    display = SearchDisplay.from_cv_results(results, params=["a", "b"], kind=kind)
    assert display.kind_ == kind
    assert display.best_index == 0


def test_search_on_small_axes_has_no_numbers_that_run_into_each_other(search):
    _, ax = plt.subplots(figsize=(1.4, 1.2))
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"], ax=ax)
    assert len(display.ax_.texts) == 0


def test_search_without_a_single_winner_draws_without_refit(rows):
    X, _, y, _ = rows
    search = VectorizedGridSearchCV(
        TorchLogisticClassifier(), {"C": [0.1, 1]}, scoring=["roc_auc"], refit=False, cv=2
    ).fit(X, y)
    display = SearchDisplay.from_estimator(search, score="roc_auc")
    np.testing.assert_array_equal(drawn(display.lines_[0]), search.cv_results_["mean_test_roc_auc"])
    with pytest.raises(ValueError, match=r"got 'mean_test_score'. Did you mean"):
        SearchDisplay.from_estimator(search)


def test_search_results_in_a_data_frame_are_drawn(one_parameter):
    pandas = pytest.importorskip("pandas", reason="it reads the results")
    frame = pandas.DataFrame(one_parameter.cv_results_)
    display = SearchDisplay.from_cv_results(frame)
    np.testing.assert_array_equal(drawn(display.lines_[0]), frame["mean_test_score"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"params": "alfa"},
            "params must be names that the search has varied, got 'alfa'. Did you mean 'alpha'?",
        ),
        (
            {"params": ["alpha", "threshold", "learning_rate_init"]},
            "params must be one or two names of parameters.",
        ),
        ({"score": "f1"}, "score must be the name of a score in cv_results_, got 'f1'."),
        ({"kind": "pie"}, "kind must be one of 'auto', 'line', 'heatmap', 'scatter', got 'pie'"),
        (
            {"params": "alpha", "kind": "heatmap"},
            "params must be two for kind='heatmap', got ['alpha'].",
        ),
    ],
)
def test_search_with_wrong_settings_says_what_to_do(search, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SearchDisplay.from_estimator(search, **settings)


def test_search_that_varies_nothing_says_what_to_do():
    message = "A search must vary a parameter to be drawn, got candidates that are all the same"
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_cv_results(results_of(a=[1, 1]))


def test_search_that_failed_says_what_to_do():
    results = {"params": [{"a": 1}, {"a": 2}], "mean_test_score": [np.nan, np.nan]}
    message = "score must be a number for some candidate, got NaN for all 2."
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_cv_results(results)


def test_search_that_is_none_says_what_to_do(model):
    message = "search must have cv_results_, got TorchMLPClassifier."
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_estimator(model)
    with pytest.raises(NotFittedError):
        SearchDisplay.from_estimator(VectorizedGridSearchCV(model, {"alpha": [1]}))


# -- all displays -----------------------------------------------------------------------------


def example_of(kind):
    return {
        LossCurveDisplay: lambda: kind(
            loss=[2.0, 1.0], validation_loss=[2.0, 1.0], validation_score=[0, 1], best_epoch=1
        ),
        ThresholdDisplay: lambda: kind(
            thresholds=[0, 1], metrics={"recall": [1, 0]}, threshold=0.5, interval=(0.4, 0.6)
        ),
        SearchDisplay: lambda: kind(params={"a": [1, 2]}, scores=[1, 2], best_index=1),
    }[kind]()


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_plot_draws_on_the_axes_and_gives_itself(kind):
    figure, ax = plt.subplots()
    display = example_of(kind)
    assert display.plot(ax) is display
    assert (display.ax_, display.figure_) == (ax, figure)
    assert display.plot().ax_ is not ax


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_documents_every_parameter_and_attribute(kind):
    display = example_of(kind)
    parameters = list(vars(display))
    display.plot()
    attributes = [name for name in vars(display) if name not in parameters]
    assert all(name.endswith("_") for name in attributes)
    for name in [*parameters, *attributes]:
        assert f"\n    {name} : " in kind.__doc__


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_on_what_are_no_axes_says_what_to_do(kind):
    _, panels = plt.subplots(1, 2)
    message = (
        "ax must be one matplotlib Axes, got ndarray. Take one from plt.subplots(), or "
        "leave it out."
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        example_of(kind).plot(panels)


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_without_matplotlib_says_how_to_get_it(kind, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    message = (
        f"{kind.__name__} must have matplotlib to draw. It is not installed. Run 'python -m pip "
        "install matplotlib', or use the attributes of the display."
    )
    with pytest.raises(ImportError, match=re.escape(message)):
        example_of(kind).plot()


def test_import_of_the_package_leaves_matplotlib_out():
    code = "import sys, skbinary; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_displays_are_public():
    assert {kind.__name__ for kind in DISPLAYS} <= set(skbinary.__all__)


# -- scikit-learn's own displays --------------------------------------------------------------

CLASSIFIERS = [
    TorchLogisticClassifier(),
    network(max_iter=30),
    network(max_iter=5, n_members=2),
    make_pipeline(StandardScaler(), TorchLogisticClassifier(threshold="f1_macro")),
]


@pytest.fixture(
    scope="module", params=CLASSIFIERS, ids=["logistic", "network", "members", "pipeline"]
)
def classifier(request):
    X, y = make_circles(400, noise=0.2, factor=0.5, random_state=0)
    return clone(request.param).fit(X, np.where(y == 1, "yes", "no"))


@pytest.fixture(scope="module")
def circles():
    X, y = make_circles(200, noise=0.2, factor=0.5, random_state=1)
    return X, np.where(y == 1, "yes", "no")


@pytest.mark.parametrize("method", ["predict_proba", "decision_function", "predict"])
def test_sklearn_decision_boundary_draws_ours(classifier, circles, method):
    X, _ = circles
    display = DecisionBoundaryDisplay.from_estimator(
        classifier, X, response_method=method, grid_resolution=20
    )
    grid = np.c_[display.xx0.ravel(), display.xx1.ravel()]
    expected = getattr(classifier, method)(grid)
    if method == "predict_proba":
        expected = expected[:, 1]
    if method == "predict":
        expected = expected == "yes"
    np.testing.assert_array_equal(display.response.ravel(), expected)


@pytest.mark.parametrize(
    ("kind", "curve"),
    [
        (
            RocCurveDisplay,
            lambda y, p: roc_curve(y, p, pos_label="yes", drop_intermediate=False)[:2],
        ),
        (PrecisionRecallDisplay, lambda y, p: precision_recall_curve(y, p, pos_label="yes")[1::-1]),
        (
            DetCurveDisplay,
            lambda y, p: det_curve(y, p, pos_label="yes", drop_intermediate=False)[:2],
        ),
    ],
)
def test_sklearn_curve_draws_ours(classifier, circles, kind, curve):
    X, y = circles
    proba = classifier.predict_proba(X)[:, 1]
    with plt.rc_context({"axes.prop_cycle": plt.cycler(color=COLOURS)}):
        settings = {"drop_intermediate": False, "pos_label": "yes"}
        display = kind.from_estimator(classifier, X, y, **settings)
        other = kind.from_predictions(y, 1 - proba, pos_label="yes", ax=display.ax_)
    data = np.array([display.line_.get_xdata(), display.line_.get_ydata()])
    if kind is DetCurveDisplay:  # its axes are normal deviates
        data = norm.cdf(data)
    np.testing.assert_allclose(data, np.array(curve(y, proba)), atol=1e-12)
    assert [each.line_.get_color() for each in (display, other)] == list(COLOURS[:2])


def test_sklearn_calibration_draws_ours(classifier, circles):
    X, y = circles
    display = CalibrationDisplay.from_estimator(classifier, X, y, n_bins=5, strategy="quantile")
    proba = classifier.predict_proba(X)[:, 1]
    expected = calibration_curve(y, proba, pos_label="yes", n_bins=5, strategy="quantile")
    np.testing.assert_array_equal((display.prob_true, display.prob_pred), expected)
    assert display.pos_label == "yes"
