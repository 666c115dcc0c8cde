"""LossCurveDisplay."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    LossCurveDisplay,
    TorchLogisticClassifier,
    VectorizedGridSearchCV,
)
from skbinary.plotting.axes import COLORS
from tests.plotting.figures import legend_texts, network, y_values

plt = pytest.importorskip("matplotlib.pyplot", reason="the displays need matplotlib")

# No warning is expected, neither when a display is drawn nor when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def test_loss_lines_equal_the_curves_of_the_estimator(model):
    display = LossCurveDisplay.from_estimator(model)
    for kind, curve in {
        "loss": model.loss_curve_,
        "validation_loss": model.validation_loss_curve_,
        "validation_score": model.validation_scores_,
    }.items():
        (line,) = display.lines_[kind]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, model.n_iter_ + 1))
        np.testing.assert_array_equal(y_values(line), curve)
    assert display.lines_["loss"][0].axes is display.ax_
    assert display.lines_["validation_score"][0].axes is display.ax_score_
    assert display.figure_ is display.ax_.figure


def test_loss_axes_are_labelled(model):
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "log loss (nats)"
    assert display.ax_score_.get_ylabel() == "validation accuracy"
    assert display.ax_score_.yaxis.get_label_position() == "right"


def test_loss_curves_without_a_name_differ_in_color_and_line_style(model):
    lines = [each for (each,) in list(LossCurveDisplay.from_estimator(model).lines_.values())[:3]]
    assert [line.get_color() for line in lines] == list(COLORS[:3])
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
def test_loss_best_epoch_that_is_the_last_is_labelled_so(best, words):
    display = LossCurveDisplay(
        loss=[3, 2, 1], validation_loss=[3.0, 2.5, 2.6], best_epoch=best
    ).plot()
    assert legend_texts(display.ax_)[-1] == words


def test_loss_without_a_validation_set_has_one_line(rows):
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


def test_loss_show_score_false_draws_no_score(model):
    display = LossCurveDisplay.from_estimator(model, show_score=False)
    assert display.ax_score_ is None
    assert display.figure_.axes == [display.ax_]


def test_loss_score_is_named_after_the_monitor(rows):
    X, _, y, _ = rows

    def hit_rate(estimator, X, y):
        return float(np.mean(estimator.predict(X) == y))

    for monitor, name in (("roc_auc", "roc_auc"), (hit_rate, "hit_rate")):
        display = LossCurveDisplay.from_estimator(network(monitor=monitor).fit(X, y))
        assert display.ax_score_.get_ylabel() == f"validation {name}"


@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs", "adam"])
def test_loss_of_full_batch_solvers_is_over_iterations(rows, solver):
    X, _, y, _ = rows
    model = TorchLogisticClassifier(solver=solver, max_iter=20).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_xlabel() == ("epoch" if solver == "adam" else "iteration")
    np.testing.assert_array_equal(y_values(display.lines_["loss"][0]), model.loss_curve_)


def test_loss_epochs_and_iterations_on_the_same_axes_are_both_named(model, tuned):
    display = LossCurveDisplay.from_estimator(model, name="network")
    LossCurveDisplay.from_estimator(tuned, name="linear", ax=display.ax_)
    assert display.ax_.get_xlabel() == "epoch or iteration"


def test_loss_log_scale_has_tick_labels_without_exponents(model):
    display = LossCurveDisplay.from_estimator(model, log_scale=True)
    assert display.ax_.get_yscale() == "log"
    assert display.ax_score_.get_yscale() == "linear"
    display.figure_.canvas.draw()
    assert all(re.fullmatch(r"[\d.]*", t.get_text()) for t in display.ax_.get_yticklabels())


@pytest.mark.parametrize("kind", ["pipeline", "nested pipeline", "search", "pipeline of search"])
def test_loss_of_pipelines_and_searches_draws_the_classifier_inside(rows, kind):
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
    np.testing.assert_array_equal(y_values(display.lines_["loss"][0]), inner.loss_curve_)


def test_loss_of_several_estimators_shares_the_axes(rows, model):
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
    colors = [
        {line.get_color() for lines in list(each.lines_.values())[:3] for line in lines}
        for each in (first, second)
    ]
    assert colors == [{COLORS[0]}, {COLORS[1]}]


def test_loss_on_subplots_with_shared_axes_has_score_axes_for_each(model):
    figure, panels = plt.subplots(1, 2, sharex=True, sharey=True, layout="constrained")
    displays = [LossCurveDisplay.from_estimator(model, ax=ax) for ax in panels]
    figure.canvas.draw()
    again = LossCurveDisplay.from_estimator(model, name="again", ax=panels[0])
    assert displays[0].ax_score_ is not displays[1].ax_score_
    assert again.ax_score_ is displays[0].ax_score_


def test_loss_of_an_ensemble_has_thin_lines_and_their_mean(rows):
    X, _, y, _ = rows
    model = network(n_members=3, n_iter_no_change=2, max_iter=30).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    *members, mean = display.lines_["validation_loss"]
    for line, curve in zip(members, model.validation_loss_curve_, strict=True):
        np.testing.assert_array_equal(y_values(line), curve)
        assert line.get_linewidth() < mean.get_linewidth()
        assert line.get_color() == mean.get_color()
    shortest = min(map(len, model.validation_loss_curve_))
    expected = np.mean([curve[:shortest] for curve in model.validation_loss_curve_], axis=0)
    np.testing.assert_allclose(y_values(mean), expected)
    np.testing.assert_array_equal(display.lines_["best_epoch"][0].get_xdata(), model.best_epoch_)
    texts = legend_texts(display.ax_)
    low, high = min(model.best_epoch_), max(model.best_epoch_)
    assert texts[:3] == [
        "training loss, mean of 3",
        "validation loss, mean of 3",
        f"best epochs: {low} to {high}",
    ]


def test_loss_after_a_warm_start_has_all_epochs(rows):
    X, X_val, y, y_val = rows
    model = network(early_stopping=False, warm_start=True, max_iter=3).fit(X, y)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    display = LossCurveDisplay.from_estimator(model)
    assert len(y_values(display.lines_["loss"][0])) == 6
    assert np.isnan(y_values(display.lines_["validation_loss"][0])[:3]).all()


def test_loss_with_other_lines_on_the_axes_uses_other_colors(model):
    _, ax = plt.subplots()
    ax.axhline(np.log(2), c=COLORS[0], label="chance level")
    display = LossCurveDisplay.from_estimator(model, ax=ax)
    lines = [each for (each,) in list(display.lines_.values())[:3]]
    assert [line.get_color() for line in lines] == list(COLORS[1:4])
    assert legend_texts(ax)[0] == "chance level"


def test_loss_keyword_arguments_reach_all_lines(model):
    display = LossCurveDisplay.from_estimator(model, c="black", lw=1)
    lines = [line for kind in list(display.lines_)[:3] for line in display.lines_[kind]]
    assert {(line.get_color(), line.get_linewidth()) for line in lines} == {("black", 1)}


def test_loss_legend_covers_no_line(model):
    display = LossCurveDisplay.from_estimator(model)
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    lines = [line for kind in list(display.lines_)[:3] for line in display.lines_[kind]]
    for line in lines:
        path = line.get_transform().transform_path(line.get_path())
        assert not path.intersects_bbox(box, filled=False)


def test_loss_legend_without_a_free_position_is_below_the_axes(model):
    display = LossCurveDisplay.from_estimator(model, name="first")
    for name in ("second", "third"):
        LossCurveDisplay.from_estimator(model, name=name, ax=display.ax_)
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend().get_window_extent()
    assert legend.y1 < display.ax_.bbox.y0
    assert legend.y0 >= 0


def test_loss_of_another_estimator_is_an_error():
    message = (
        "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier, a Pipeline that "
        "ends with one, or a search over one, got LogisticRegression. Pass the curves of another "
        "model to LossCurveDisplay(loss=...)."
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


def test_loss_of_a_search_without_refit_is_an_error(rows):
    X, _, y, _ = rows
    search = VectorizedGridSearchCV(network(), {"alpha": [1]}, refit=False, cv=2).fit(X, y)
    message = (
        "refit of a search must be True to draw its best estimator, got False. Set refit=True, or "
        "fit an estimator with best_params_."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LossCurveDisplay.from_estimator(search)


def test_loss_without_an_epoch_is_an_error():
    message = (
        "loss must contain at least one epoch, got none. Fit the classifier again, with "
        "warm_start=False."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LossCurveDisplay(loss=[]).plot()
