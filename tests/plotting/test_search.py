"""SearchDisplay."""

import re

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    SearchDisplay,
    TorchLogisticClassifier,
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from tests.plotting.figures import legend_texts, network, results_of, y_values

plt = pytest.importorskip("matplotlib.pyplot", reason="the displays need matplotlib")

# No warning is expected, neither when a display is drawn nor when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture(scope="module")
def one_parameter(rows):
    X, _, y, _ = rows
    grid = {"C": [0.01, 0.1, 1.0, 10.0]}
    return VectorizedGridSearchCV(
        TorchLogisticClassifier(), grid, scoring="neg_log_loss", cv=3, return_train_score=True
    ).fit(X, y)


def test_search_over_one_parameter_draws_a_line_with_a_band(one_parameter):
    display = SearchDisplay.from_estimator(one_parameter)
    results = one_parameter.cv_results_
    (line,) = display.lines_
    assert display.kind_ == "line"
    np.testing.assert_array_equal(line.get_xdata(), [0.01, 0.1, 1.0, 10.0])
    np.testing.assert_array_equal(y_values(line), results["mean_test_score"])
    (band,) = display.ax_.collections
    low, high = results["mean_test_score"] + [[-1], [1]] * results["std_test_score"]
    vertices = band.get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose((vertices.min(), vertices.max()), (low.min(), high.max()))


def test_search_axes_are_labelled(one_parameter):
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
    assert f"best: {one_parameter.best_score_:.3g} at {best:g}" in legend_texts(display.ax_)


def test_search_over_two_parameters_draws_the_best_score_over_the_others(search):
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
    assert display.figure_.axes[1].get_ylabel() == "f1_macro (mean of 3 folds)"
    legend = display.ax_.get_legend()
    assert legend.get_title().get_text() == "best over threshold"
    rate, alpha = (search.best_params_[f"net__{name}"] for name in ("learning_rate_init", "alpha"))
    best = f"best: {search.best_score_:.3g} at learning_rate_init={rate:g}, alpha={alpha:g}"
    assert legend_texts(display.ax_) == [best]


def test_search_best_cell_is_framed(search):
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"])
    best = search.best_params_
    column = [0.001, 0.01, 0.1, 1.0].index(best["net__learning_rate_init"])
    row = [0.001, 0.1, 10.0, 100.0].index(best["net__alpha"])
    assert display.best_.get_xy() == (column - 0.5, row - 0.5)


def test_search_without_params_selects_the_two_with_the_largest_score_range(rows):
    results = {
        "params": [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (1, 2) for c in (1, 2)],
        "mean_test_score": [a + 5 * b + 0.1 * c for a in (1, 2) for b in (1, 2) for c in (1, 2)],
    }
    display = SearchDisplay.from_cv_results(results)
    assert list(display.params) == ["a", "b"]
    assert display.others == ("c",)


def test_search_few_values_of_the_second_parameter_draw_lines(search):
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "threshold"])
    assert display.kind_ == "line"
    assert [line.get_label() for line in display.lines_] == ["threshold=0.3", "threshold=0.5"]
    assert len({line.get_linestyle() for line in display.lines_}) == 2
    assert len({line.get_marker() for line in display.lines_}) == 2
    assert display.ax_.get_ylabel() == "f1_macro (mean of 3 folds)"
    assert display.ax_.get_legend().get_title().get_text() == "best over alpha"


@pytest.mark.parametrize("score", ["roc_auc", "mean_test_roc_auc", "test_roc_auc"])
def test_search_score_can_be_a_metric_or_a_column(search, score):
    display = SearchDisplay.from_estimator(search, params="alpha", score=score)
    assert display.score_name == "roc_auc (mean of 3 folds)"
    np.testing.assert_array_equal(display.scores, search.cv_results_["mean_test_roc_auc"])
    assert display.best_index == np.argmax(display.scores)


def test_search_training_score_is_labelled_so(one_parameter):
    display = SearchDisplay.from_estimator(one_parameter, score="mean_train_score", name="train")
    np.testing.assert_array_equal(display.scores, one_parameter.cv_results_["mean_train_score"])
    assert display.ax_.get_ylabel() == "training score (mean of 3 folds)"


def test_search_of_scikit_learn_is_drawn(one_parameter, rows):
    X, _, y, _ = rows
    theirs = GridSearchCV(LogisticRegression(), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3).fit(X, y)
    display = SearchDisplay.from_estimator(theirs)
    np.testing.assert_array_equal(
        y_values(display.lines_[0]), theirs.cv_results_["mean_test_score"]
    )
    assert display.ax_.get_ylabel() == "accuracy (mean of 3 folds)"


def test_search_randomized_draws_points(rows):
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
    single = SearchDisplay.from_estimator(search, params="alpha")
    title = single.ax_.get_legend().get_title().get_text()
    assert title == "also varied: learning_rate_init"
    assert (single.kind_, single.lines_[0].get_linestyle()) == ("scatter", "None")


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
def test_search_values_are_tick_labels(values, texts):
    display = SearchDisplay.from_cv_results(results_of(p=values))
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == (texts or [str(value) for value in values])


def test_search_results_of_a_list_of_grids_draw_candidates_with_the_parameter():
    results = {
        "params": [{"a": 1}, {"a": 2}, {"b": 1}, {"a": 3}],
        "mean_test_score": [0.1, 0.2, 0.9, 0.3],
    }
    display = SearchDisplay.from_cv_results(results, params="a")
    np.testing.assert_array_equal(y_values(display.lines_[0]), [0.1, 0.2, 0.3])
    assert display.best_ is None  # the best candidate does not set it


@pytest.mark.parametrize("at_random", [False, True])
def test_search_over_a_list_of_grids_uses_defaults_of_the_estimator(rows, at_random):
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


def test_search_results_of_disjoint_grids_draw_the_parameter_of_the_best_candidate():
    results = {
        "params": [{"a": 1}, {"a": 2}, {"b": 1}, {"b": 2}, {"b": 3}],
        "mean_test_score": [0.1, 0.8, 0.2, 0.3, 0.4],
    }
    display = SearchDisplay.from_cv_results(results)
    assert display.params == {"a": [1, 2]}
    assert display.others == ()
    assert display.ax_.get_ylabel() == "score"
    assert display.ax_.get_legend().get_title().get_text() == "2 of 5 candidates"
    assert display.best_ is not None


def test_search_over_estimators_draws_the_estimators():
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
    assert y_values(display.lines_[0]).tolist() == [0.2, 0.5]
    assert display.others == ("C", "alpha")
    search = GridSearchCV(pipeline, grids)
    search.cv_results_, search.best_index_ = results, 3
    of_search = SearchDisplay.from_estimator(search, params="alpha")
    assert of_search.params == {"alpha": [0.1, 1.0, 10.0]}  # a linear model has no alpha
    assert of_search.ax_.get_ylabel() == "accuracy"
    assert of_search.n_candidates == 5
    assert (logistic.C, mlp.alpha) == (1.0, 0.0001)  # unchanged


def test_search_params_that_no_candidate_sets_together_are_an_error():
    results = {"params": [{"a": 1}, {"b": 2}], "mean_test_score": [0.1, 0.2]}
    message = "params must be parameters that at least one candidate sets together, got 'a' and 'b'"
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_cv_results(results, params=["a", "b"])


def test_search_results_with_a_failed_grid_draw_the_other():
    results = {
        "params": [{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "c": 1}, {"a": 2, "c": 2}],
        "mean_test_score": [0.1, 0.2, np.nan, np.nan],
    }
    display = SearchDisplay.from_cv_results(results)
    assert list(display.params) == ["a"]
    np.testing.assert_array_equal(y_values(display.lines_[0]), [0.1, 0.2])


def test_search_failed_candidates_are_not_drawn():
    results = {
        "params": [{"a": a, "b": b} for a in (1, 2, 3) for b in (1, 2, 3, 4)],
        "mean_test_score": [np.nan, *np.linspace(0.1, 0.9, 11)],
    }
    table = SearchDisplay.from_cv_results(results, params=["a", "b"], kind="heatmap")
    assert np.ma.filled(table.image_.get_array(), np.nan)[0, 0] != 0.1
    assert len(table.ax_.texts) == 11
    line = SearchDisplay.from_cv_results(results, params="a").lines_[0]
    np.testing.assert_allclose(y_values(line), results["mean_test_score"][3::4])


def test_search_heatmap_with_an_outlier_limits_the_colors():
    results = results_of(a=[1, 1, 2, 2, 3, 3], b=[1, 2] * 3)
    results["mean_test_score"] = np.array([-0.5, -0.4, -0.3, -0.2, -0.1, -1e6])
    display = SearchDisplay.from_cv_results(results)
    low, high = display.image_.get_clim()
    assert (-2 < low < -0.5, high) == (True, -0.1)
    own = SearchDisplay.from_cv_results(results, vmin=-3, cmap="gray")
    assert (own.image_.get_clim()[0], own.image_.get_cmap().name) == (-3, "gray")


@pytest.mark.parametrize("kind", ["line", "heatmap", "scatter"])
def test_search_with_equal_scores_is_drawn(kind):
    results = {**results_of(a=[1, 1, 2, 2], b=[1, 2, 1, 2]), "mean_test_score": [0.5] * 4}
    display = SearchDisplay.from_cv_results(results, params=["a", "b"], kind=kind)
    assert display.kind_ == kind
    assert display.best_index == 0


def test_search_heatmap_on_small_axes_has_no_numbers(search):
    _, ax = plt.subplots(figsize=(1.4, 1.2))
    display = SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"], ax=ax)
    assert len(display.ax_.texts) == 0


def test_search_without_refit_is_drawn_by_metric(rows):
    X, _, y, _ = rows
    search = VectorizedGridSearchCV(
        TorchLogisticClassifier(), {"C": [0.1, 1]}, scoring=["roc_auc"], refit=False, cv=2
    ).fit(X, y)
    display = SearchDisplay.from_estimator(search, score="roc_auc")
    np.testing.assert_array_equal(
        y_values(display.lines_[0]), search.cv_results_["mean_test_roc_auc"]
    )
    with pytest.raises(ValueError, match=r"got 'mean_test_score'. Did you mean"):
        SearchDisplay.from_estimator(search)


def test_search_results_as_a_data_frame_are_drawn(one_parameter):
    pandas = pytest.importorskip("pandas", reason="it reads the results")
    frame = pandas.DataFrame(one_parameter.cv_results_)
    display = SearchDisplay.from_cv_results(frame)
    np.testing.assert_array_equal(y_values(display.lines_[0]), frame["mean_test_score"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"params": "alfa"},
            "params must be parameters of the search, got 'alfa'. Did you mean 'alpha'?",
        ),
        (
            {"params": ["alpha", "threshold", "learning_rate_init"]},
            "params must be one or two names of parameters, got ['alpha', ",
        ),
        ({"score": "f1"}, "score must be the name of a score in cv_results_, got 'f1'."),
        ({"kind": "pie"}, "kind must be one of 'auto', 'line', 'heatmap', 'scatter', got 'pie'"),
        (
            {"params": "alpha", "kind": "heatmap"},
            "params must be two for kind='heatmap', got ['alpha'].",
        ),
    ],
)
def test_search_bad_arguments_are_an_error(search, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SearchDisplay.from_estimator(search, **settings)


def test_search_with_equal_candidates_is_an_error():
    message = "The candidates of a search must differ in a parameter to be drawn, got equal"
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_cv_results(results_of(a=[1, 1]))


def test_search_with_nan_scores_only_is_an_error():
    results = {"params": [{"a": 1}, {"a": 2}], "mean_test_score": [np.nan, np.nan]}
    message = "score must be a number for at least one candidate, got NaN for all 2."
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_cv_results(results)


def test_search_of_another_estimator_is_an_error(model):
    message = "search must have cv_results_, got TorchMLPClassifier."
    with pytest.raises(ValueError, match=message):
        SearchDisplay.from_estimator(model)
    with pytest.raises(NotFittedError):
        SearchDisplay.from_estimator(VectorizedGridSearchCV(model, {"alpha": [1]}))


THREE_PARAMETERS = {
    "learning_rate_init": [0.001, 0.01, 0.1, 1.0] * 4,
    "alpha": [0.001] * 4 + [0.1] * 4 + [10.0] * 4 + [100.0] * 4,
    "dropout": [0.1, 0.2] * 8,
}


@pytest.mark.parametrize("kind", ["line", "heatmap", "scatter"])
def test_search_own_figure_contains_all_labels_and_a_legend_below_the_axes(kind):
    results = results_of(**THREE_PARAMETERS)
    params = ["learning_rate_init", "alpha"]
    display = SearchDisplay.from_cv_results(results, params=params, kind=kind)
    figure = display.figure_
    figure.canvas.draw()
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    legend = display.ax_.get_legend().get_window_extent()
    assert legend.y1 <= display.ax_.xaxis.get_tightbbox().y0 + 1


@pytest.mark.parametrize("kind", ["line", "heatmap", "scatter"])
def test_search_figure_without_a_layout_engine_contains_all_labels(kind):
    figure, ax = plt.subplots()
    results = results_of(**THREE_PARAMETERS)
    params = ["learning_rate_init", "alpha"]
    SearchDisplay.from_cv_results(results, params=params, kind=kind, ax=ax)
    figure.canvas.draw()
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


def test_search_best_label_has_three_digits():
    results = {"params": [{"a": 0.123456}, {"a": 0.123457}], "mean_test_score": [0.98765, 0.1]}
    display = SearchDisplay.from_cv_results(results)
    assert legend_texts(display.ax_) == ["best: 0.988 at 0.123"]


def test_search_by_halving_draws_the_last_round_of_each_candidate():
    results = {
        "iter": np.array([0, 0, 0, 1]),
        "n_resources": np.array([2, 2, 2, 6]),
        "params": [
            {"alpha": 0.1, "max_iter": 2},
            {"alpha": 1.0, "max_iter": 2},
            {"alpha": 10.0, "max_iter": 2},
            {"alpha": 1.0, "max_iter": 6},
        ],
        "mean_test_score": np.array([0.9, 0.8, 0.6, 0.7]),
        "std_test_score": np.array([0.4, 0.3, 0.2, 0.1]),
    }
    display = SearchDisplay.from_cv_results(results)
    assert display.params == {"alpha": [0.1, 1.0, 10.0]}
    np.testing.assert_array_equal(display.scores, [0.9, 0.7, 0.6])
    np.testing.assert_array_equal(display.stds, [0.4, 0.1, 0.2])
    assert display.best_index == 1
