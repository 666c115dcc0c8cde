"""Fixtures that the tests of the displays share."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
from tests.plotting.figures import network


@pytest.fixture(autouse=True)
def _render_and_close():
    """Render all figures after each test, so that warnings of the renderer are seen."""
    matplotlib = pytest.importorskip("matplotlib", reason="the displays need matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    for figure in figures:
        figure.canvas.draw()


@pytest.fixture(scope="session")
def rows():
    """Training data, test data, training labels and test labels."""
    X, y = make_classification(600, weights=[0.7], flip_y=0.1, random_state=0)
    return train_test_split(X, np.where(y == 1, "yes", "no"), stratify=y, random_state=0)


@pytest.fixture(scope="session")
def model(rows):
    """A network with early stopping."""
    X, _, y, _ = rows
    return network().fit(X, y)


@pytest.fixture(scope="session")
def tuned(rows):
    """A logistic regression with a tuned threshold."""
    X, _, y, _ = rows
    return TorchLogisticClassifier(threshold={"recall": 0.9}).fit(X, y)


@pytest.fixture(scope="session")
def search(rows):
    """A grid search over three parameters of a pipeline, with two metrics."""
    X, _, y, _ = rows
    grid = {
        "net__learning_rate_init": [0.001, 0.01, 0.1, 1.0],
        "net__alpha": [0.001, 0.1, 10.0, 100.0],
        "net__threshold": [0.3, 0.5],
    }
    steps = [("scaler", StandardScaler()), ("net", network(max_iter=3, n_iter_no_change=3))]
    scoring = ["f1_macro", "roc_auc"]
    return VectorizedGridSearchCV(
        Pipeline(steps), grid, scoring=scoring, refit="f1_macro", cv=3
    ).fit(X, y)
