"""scikit-learn's displays of skbinary's classifiers."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.calibration import CalibrationDisplay, calibration_curve
from sklearn.datasets import make_circles
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import (
    DetCurveDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    det_curve,
    precision_recall_curve,
    roc_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    TorchLogisticClassifier,
)
from skbinary.plotting.axes import COLORS
from tests.plotting.figures import network

plt = pytest.importorskip("matplotlib.pyplot", reason="the displays need matplotlib")

# No warning is expected, neither when a display is drawn nor when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


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
def test_decision_boundary_display_draws_the_classifier(classifier, circles, method):
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
def test_curve_displays_draw_the_classifier(classifier, circles, kind, curve):
    X, y = circles
    proba = classifier.predict_proba(X)[:, 1]
    with plt.rc_context({"axes.prop_cycle": plt.cycler(color=COLORS)}):
        settings = {"drop_intermediate": False, "pos_label": "yes"}
        display = kind.from_estimator(classifier, X, y, **settings)
        other = kind.from_predictions(y, 1 - proba, pos_label="yes", ax=display.ax_)
    data = np.array([display.line_.get_xdata(), display.line_.get_ydata()])
    if kind is DetCurveDisplay:  # its axes are normal deviates
        data = norm.cdf(data)
    np.testing.assert_allclose(data, np.array(curve(y, proba)), atol=1e-12)
    assert [each.line_.get_color() for each in (display, other)] == list(COLORS[:2])


def test_calibration_display_draws_the_classifier(classifier, circles):
    X, y = circles
    display = CalibrationDisplay.from_estimator(classifier, X, y, n_bins=5, strategy="quantile")
    proba = classifier.predict_proba(X)[:, 1]
    expected = calibration_curve(y, proba, pos_label="yes", n_bins=5, strategy="quantile")
    np.testing.assert_array_equal((display.prob_true, display.prob_pred), expected)
    assert display.pos_label == "yes"
