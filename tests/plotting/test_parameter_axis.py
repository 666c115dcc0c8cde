"""Axes of parameters: the order, spacing and labels of values."""

import numpy as np
import pytest
from sklearn.metrics import (
    f1_score,
    recall_score,
)

from skbinary import (
    SearchDisplay,
)
from skbinary.plotting.parameter_axis import ParameterAxis
from tests.plotting.figures import network, results_of, y_values

plt = pytest.importorskip("matplotlib.pyplot", reason="the displays need matplotlib")

# No warning is expected, neither when a display is drawn nor when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.mark.parametrize(
    ("values", "spacing"),
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
        (["a", "b"], "category"),
        ([None, 1, 2], "category"),
        ([True, False], "category"),
        ([(8,), (16, 8)], "category"),
    ],
)
def test_parameter_axis_spacing_follows_the_values(values, spacing):
    assert ParameterAxis.from_values(values).spacing == spacing
    display = SearchDisplay.from_cv_results(results_of(p=values), params="p")
    assert display.ax_.get_xscale() == ("log" if spacing == "log" else "linear")


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
def test_parameter_axis_labels_of_distinct_values_are_unique(values, texts):
    assert ParameterAxis.from_values(values).labels == texts
    display = SearchDisplay.from_cv_results(results_of(p=values))
    assert len(y_values(display.lines_[0])) == len(texts)
