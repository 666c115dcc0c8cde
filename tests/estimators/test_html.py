"""The HTML of estimators in a notebook, and its links to the reference."""

import re
import subprocess
import sys
from copy import copy
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import StackingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.fixes import parse_version

from skbinary import (
    StopReason,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.estimators import html as html_state
from skbinary.estimators.sparkline import draw_losses

STATE = "<summary>Fitted state</summary>"
X, Y = make_classification(200, n_features=5, random_state=0)
SHOWS_ATTRIBUTES = parse_version(sklearn.__version__) >= parse_version("1.9")
SEARCHES = [VectorizedGridSearchCV, VectorizedRandomizedSearchCV]
NAN = float("nan")


def network(**parameters):
    usual = {"hidden_layer_sizes": (4,), "max_iter": 5, "n_iter_no_change": 5, "random_state": 0}
    return TorchMLPClassifier(**{**usual, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return network(early_stopping=True).fit(X, Y)


@pytest.fixture(scope="module")
def ensemble():
    return network(n_members=3, threshold={"recall": 0.9}).fit(X, Y)


FITTED = [
    TorchLogisticClassifier(),
    TorchLogisticClassifier(solver="sgd", max_iter=3, n_iter_no_change=3),
    network(),
    network(solver="lbfgs", max_iter=500),
    network(early_stopping=True),
    network(n_members=2),
    network(threshold="f1"),
]


class _Reader(HTMLParser):
    """Read the cells of the tables in a page."""

    def __init__(self):
        super().__init__()
        self.cells, self.depth, self.ids, self.tags = [], 0, [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "td":
            self.cells.append("")
            self.depth += 1

    def handle_endtag(self, tag):
        if tag == "td":
            self.depth -= 1

    def handle_data(self, data):
        if self.depth:
            self.cells[-1] += data


def read(text):
    reader = _Reader()
    reader.feed(text)
    return reader


def state_of(model):
    return html_state.fitted_state(model)


def rows_of(model):
    cells = read(state_of(model)).cells
    return dict(zip(cells[::2], cells[1::2], strict=True))


def picture_in(text):
    [svg] = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    return ElementTree.fromstring(svg)


# -- the fitted state ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", FITTED, ids=lambda m: type(m).__name__)
def test_fitted_classifier_shows_parameters_state_and_curve(model):
    own = clone(model).fit(X, Y)
    page = own._repr_html_()
    assert page.count("<summary>Parameters</summary>") == 1
    assert page.count(STATE) == 1
    assert page.count("<svg role") == 1
    assert page.index("Parameters</summary>") < page.index(STATE)
    # The state can stand in any page: it has no ids, scripts or resources.
    state = state_of(own)
    reader = read(state)
    assert reader.ids == []
    assert not {"script", "style", "link", "img", "use", "a"} & set(reader.tags)
    assert not re.search(r"https?:|url\(|\son\w+=", state)


@pytest.mark.parametrize(
    "model", [TorchLogisticClassifier(), network()], ids=lambda m: type(m).__name__
)
def test_unfitted_classifier_shows_its_parameters_only(model):
    page = model._repr_html_()
    assert "<summary>Parameters</summary>" in page
    assert STATE not in page
    assert "<svg role" not in page


def test_state_shows_the_results_of_training(fitted):
    rows, kept = rows_of(fitted), fitted.best_epoch_
    assert rows["device_"] == fitted.device_
    assert rows["n_iter_"] == f"{fitted.n_iter_} epochs"
    assert rows["best_epoch_"] == str(kept)
    assert rows["stop_reason_"] == fitted.stop_reason_.description
    assert rows["threshold_"] == "0.5"
    assert rows["loss_curve_"] == f"{fitted.loss_curve_[kept - 1]:.4g} at epoch {kept}"
    expected = f"{fitted.validation_loss_curve_[kept - 1]:.4g} at epoch {kept}"
    assert rows["validation_loss_curve_"] == expected


def test_state_of_full_batch_solver_counts_iterations():
    model = TorchLogisticClassifier().fit(X, Y)
    rows = rows_of(model)
    assert rows["n_iter_"] == f"{model.n_iter_[0]} iterations"
    assert "validation_loss_curve_" not in rows


def test_state_of_an_ensemble_shows_its_size_and_averages(ensemble):
    rows = rows_of(ensemble)
    losses = [c[k - 1] for c, k in zip(ensemble.loss_curve_, ensemble.best_epoch_, strict=True)]
    assert rows["n_members_"] == "3"
    assert rows["loss_curve_"] == f"{np.mean(losses):.4g} at the best epochs, on average"
    assert rows["stop_reason_"] == StopReason.MAX_ITER.description


def test_state_of_an_ensemble_counts_the_stop_reasons(ensemble):
    model = copy(ensemble)
    model._state = replace(ensemble._state, stop_reason=("max_iter", "callback", "max_iter"))
    assert rows_of(model)["stop_reason_"] == (
        f"2 members: {StopReason.MAX_ITER.description} 1 member: {StopReason.CALLBACK.description}"
    )


def test_state_of_a_chosen_threshold_shows_objective_and_interval(ensemble):
    rows, (low, high) = rows_of(ensemble), ensemble.threshold_interval_
    assert rows["threshold_"] == f"{ensemble.threshold_:.4g}, chosen for {{'recall': 0.9}}"
    assert rows["threshold_interval_"] == f"{low:.4g} to {high:.4g}, in 90% of resamples"


def test_state_of_a_tuned_threshold_says_chosen(fitted):
    model = copy(fitted).tune_threshold(X, Y, "f1")
    assert rows_of(model)["threshold_"] == f"{model.threshold_:.4g}, chosen"


def test_state_shows_a_threshold_set_after_fit(ensemble):
    model = copy(ensemble).set_params(threshold=0.25)
    rows = rows_of(model)
    assert rows["threshold_"] == "0.25"
    assert "threshold_interval_" not in rows


def test_state_of_an_objective_set_after_fit_says_not_chosen(ensemble):
    model = copy(ensemble).set_params(threshold="f1")
    assert rows_of(model)["threshold_"] == "not chosen for 'f1', which was set after fit"


def test_state_of_a_callable_objective_shows_its_name():
    def right(y_true, y_pred, *, sample_weight=None):
        return float(np.mean(y_true == y_pred))

    assert rows_of(network(threshold=right).fit(X, Y))["threshold_"].endswith("chosen for right")


def test_state_after_partial_fit_shows_both_counts():
    model = network()
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1])
    assert rows_of(model)["n_iter_"] == "1 epoch in the last fit, 3 in total"


# -- where it is shown --------------------------------------------------------------------------


def test_pipeline_shows_the_state_of_its_classifier(fitted):
    page = make_pipeline(StandardScaler(), clone(fitted)).fit(X, Y)._repr_html_()
    assert page.count(STATE) == page.count("<svg role") == 1


@pytest.mark.parametrize("kind", SEARCHES)
def test_search_shows_the_state_of_its_best_classifier(kind):
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier())
    values = {"torchlogisticclassifier__C": [0.1, 1.0]}
    search = kind(model, values, cv=2, **({"n_iter": 2} if kind is SEARCHES[1] else {}))
    assert STATE not in search._repr_html_()
    assert search.fit(X, Y)._repr_html_().count(STATE) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda m: CalibratedClassifierCV(m, cv=2),
        lambda m: StackingClassifier([("a", m), ("b", clone(m))], cv=2),
    ],
)
def test_meta_estimator_of_a_classifier_is_shown(make):
    assert "TorchLogisticClassifier" in make(TorchLogisticClassifier()).fit(X, Y)._repr_html_()


def test_estimator_html_repr_shows_the_state(fitted):
    assert STATE in estimator_html_repr(fitted)
    assert STATE in fitted._repr_mimebundle_()["text/html"]


@pytest.mark.skipif(not SHOWS_ATTRIBUTES, reason="scikit-learn shows them from 1.9 on")
def test_table_of_attributes_omits_those_of_the_state(fitted):
    page = fitted._repr_html_()
    cells = read(page).cells
    for name in rows_of(fitted):
        assert sum(cell.strip() == name for cell in cells) == 1
    assert sum(cell.strip() == "coefs_" for cell in cells) == 1


@pytest.mark.skipif(not SHOWS_ATTRIBUTES, reason="scikit-learn shows them from 1.9 on")
def test_table_of_attributes_of_an_invalid_state_shows_the_other_attributes(fitted):
    model = copy(fitted)
    model._state = replace(fitted._state, best_epoch="text")
    assert state_of(model) == ""
    assert any(cell.strip() == "n_features_in_" for cell in read(model._repr_html_()).cells)


def test_picture_loads_neither_skorch_nor_matplotlib():
    code = (
        "import sys; from skbinary import TorchLogisticClassifier\n"
        "model = TorchLogisticClassifier().fit([[0.0], [1.0]], [0, 1])\n"
        "assert '<svg role' in model._repr_html_()\n"
        "print([m for m in ('skorch', 'matplotlib') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


# -- invalid states and markup -------------------------------------------------------


def deletions(model):
    return [name for name in vars(model) if name.endswith("_")] + ["_state"]


@pytest.mark.parametrize("name", deletions(network(n_members=2, threshold="f1").fit(X, Y)))
def test_model_without_an_attribute_is_shown(name):
    model = network(n_members=2, threshold="f1").fit(X, Y)
    del vars(model)[name]
    assert "<summary>Parameters</summary>" in model._repr_html_()


@pytest.mark.parametrize("name", ["curves", "best_epoch", "n_iter", "threshold", "weights"])
def test_model_with_an_invalid_attribute_is_shown(fitted, name):
    model = copy(fitted)
    for value in (None, "text", [], {}, 7, [None], [[]], np.zeros((2, 2))):
        model._state = replace(fitted._state, **{name: value})
        assert "<summary>Parameters</summary>" in model._repr_html_()


def test_model_with_an_invalid_parameter_is_shown(fitted):
    model = copy(fitted)
    model.threshold, model.solver = [0.1, 0.2], None
    assert "<summary>Parameters</summary>" in model._repr_html_()


def test_state_escapes_markup(fitted):
    class Odd:
        def __repr__(self):
            return "<script>repr"

    def metric():
        """Be no metric at all."""

    metric.__name__ = "<script>name"
    model = copy(fitted)
    odd = {"device": "<script>device & 'more'", "threshold_interval": (0.1, 0.2)}
    model._state = replace(model._state, **odd)
    for odd in (Odd(), metric):
        model.threshold = odd
        model._state = replace(model._state, threshold_parameter=odd)
        rows = rows_of(model)
        assert rows["device_"] == "<script>device & 'more'"
        assert rows["threshold_"].startswith("0.5, chosen for <script>")
        assert "<script>" not in state_of(model)


def test_state_is_balanced_markup(ensemble):
    ElementTree.fromstring(state_of(ensemble))  # which reads no other


def test_display_of_text_shows_text(fitted):
    with sklearn.config_context(display="text"):
        assert "text/html" not in fitted._repr_mimebundle_()


def test_repr_html_leaves_the_model_unchanged(fitted):
    before = dict(vars(fitted))
    fitted._repr_html_()
    assert vars(fitted) == before


# -- the picture --------------------------------------------------------------------------------


def lines_in(svg):
    return [each for each in svg.iter("path") if each.get("stroke", "").startswith("#")]


def test_picture_has_a_title_and_a_description(fitted):
    svg = picture_in(state_of(fitted))
    assert svg.get("role") == "img"
    assert svg[0].tag == "title"
    assert svg[0].text == f"Loss over {fitted.n_iter_} epochs"
    assert svg[1].tag == "desc"
    assert f"The weights of epoch {fitted.best_epoch_} were kept." in svg[1].text


def test_picture_of_an_ensemble_has_a_line_for_each_member(ensemble):
    svg = picture_in(state_of(ensemble))
    thin = [each for each in lines_in(svg) if each.get("stroke-width") == "0.7"]
    assert len(thin) == 2 * 3
    assert "3 ensemble members." in svg[1].text


def test_picture_marks_the_best_epoch_on_the_validation_curve():
    svg = ElementTree.fromstring(draw_losses([[3.0, 2.0, 1.0]], [[3.0, 1.5, 2.5]], [2], "epoch"))
    mark = next(each for each in svg.iter("circle") if each.get("r") == "3")
    dashed = next(each for each in lines_in(svg) if each.get("stroke-dasharray"))
    assert f"L{mark.get('cx')} {mark.get('cy')}L" in dashed.get("d")


@pytest.mark.parametrize(("last", "is_log"), [(0.5, False), (0.001, True), (0.0, False)])
def test_picture_is_logarithmic_over_decades(last, is_log):
    assert ("log scale" in draw_losses([[1.0, 0.9, last]], [], [3], "epoch")) == is_log


@pytest.mark.parametrize("curve", [[], [NAN], [float("inf"), NAN]])
def test_picture_of_nothing_finite_is_none(curve):
    assert draw_losses([curve], [], [1], "epoch") == ""


@pytest.mark.parametrize(
    "curve",
    [
        [0.5],
        [0.5] * 4,
        [0.0, 0.0],
        [1e-300, 1e300],
        [5e-324, 1.0],
        [-1.0, 2.0],
        [0.5, NAN, 0.4, float("inf"), 0.3],
        [0.7 + 1e-12, 0.7],
        [1e12, 1e12 + 1],
        list(np.geomspace(3.0, 0.01, 100_000)),
    ],
    ids=lambda curve: f"{curve[0]} to {curve[-1]}",
)
def test_picture_of_any_curve_is_small_and_inside_its_frame(curve):
    text = draw_losses([curve], [], [len(curve)], "iteration")
    svg = ElementTree.fromstring(text)
    assert len(text) < 10_000
    assert "nan" not in text.replace("nan to", "").lower()
    for path in svg.iter("path"):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d")):
            assert 0 <= float(x) <= 320
            assert 0 <= float(y) <= 160


def test_picture_of_a_large_ensemble_stays_small():
    curves = [list(np.geomspace(1, 0.3, 5000)) for _ in range(300)]
    assert len(draw_losses(curves, curves, [5000] * 300, "epoch")) < 40_000


def test_picture_has_gaps_where_a_curve_is_not_finite():
    svg = ElementTree.fromstring(draw_losses([[0.5, 0.4, NAN, 0.3]], [], [4], "epoch"))
    assert lines_in(svg)[0].get("d").count("M") == 2


# -- links --------------------------------------------------------------------------------------


ALL_KINDS = [
    TorchLogisticClassifier(),
    TorchMLPClassifier(),
    VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [1.0]}),
    VectorizedRandomizedSearchCV(TorchLogisticClassifier(), {"C": [1.0]}),
]


@pytest.mark.parametrize("model", ALL_KINDS, ids=lambda m: type(m).__name__)
def test_without_a_site_there_is_no_link(model, monkeypatch):
    monkeypatch.setattr(html_state, "SITE", "")
    assert model._get_doc_link() == ""
    assert "href" not in model._repr_html_()


@pytest.mark.parametrize(
    ("model", "address"),
    list(
        zip(ALL_KINDS, ["https://site.example/dev", "https://site.example/dev/"] * 2, strict=True)
    ),
)
def test_with_a_site_the_diagram_links_to_the_reference(model, address, monkeypatch):
    monkeypatch.setattr(html_state, "SITE", address)
    page = f"https://site.example/dev/reference/skbinary.{type(model).__name__}.html"
    assert model._get_doc_link() == page
    assert f'href="{page}' in model._repr_html_()


def test_subclass_outside_the_package_has_no_link(monkeypatch):
    class Mine(TorchLogisticClassifier):
        """A class of somebody else."""

    monkeypatch.setattr(html_state, "SITE", "https://site.example")
    assert Mine()._get_doc_link() == ""


def test_repr_html_without_hooks_of_scikit_learn_shows_the_state(fitted, monkeypatch):
    monkeypatch.delattr(BaseEstimator, "_get_fitted_attr_html", raising=False)
    assert STATE in fitted._repr_html_()
