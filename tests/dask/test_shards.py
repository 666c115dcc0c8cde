"""However the rows lie on the workers, the model is that of one machine."""

import numpy as np
import pytest

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.dask import DaskTorchLogisticClassifier, DaskTorchMLPClassifier
from tests.dask.tables import noisy, place

pytest.importorskip("dask.array", reason="needs the extra dask")
pytest.importorskip("distributed", reason="needs the extra dask")

X, y, WEIGHT = noisy()
ALL = np.arange(600)
SHARDS = {
    "equal": np.array_split(ALL, 3),
    "skewed": [ALL[:20], ALL[20:50], ALL[50:]],
    "one class each": [ALL[y == "no"], ALL[y == "yes"][:50], ALL[y == "yes"][50:]],
    "one empty": [ALL[:300], ALL[:0], ALL[300:]],
    "by a feature": np.array_split(np.argsort(X[:, 0]), 3),
    "all on one": [ALL[:0], ALL, ALL[:0]],
}
PARAMETERS = [
    {"class_weight": "balanced"},
    {"solver": "lbfgs", "C": 0.1},
    {"l1_ratio": 0.5, "C": 0.1},
    {"C": np.inf, "fit_intercept": False},
]


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_logistic_coefficients_are_those_of_one_machine(client, shards, parameters):
    parameters = {"tol": 1e-10, "max_iter": 1000, **parameters}
    table = [place(client, each, SHARDS[shards]) for each in (X, y, WEIGHT)]
    model = DaskTorchLogisticClassifier(**parameters).fit(*table)
    local = TorchLogisticClassifier(**parameters).fit(X, y, WEIGHT)
    np.testing.assert_allclose(model.coef_, local.coef_, rtol=0, atol=1e-8)


@pytest.mark.filterwarnings("ignore:Training did not converge")
@pytest.mark.parametrize("shards", SHARDS)
def test_network_is_that_of_one_process_on_the_rows_in_order(client, shards):
    parameters = {"max_iter": 3, "random_state": 0, "early_stopping": False}
    table = [place(client, each, SHARDS[shards]) for each in (X, y, WEIGHT)]
    model = DaskTorchMLPClassifier(**parameters).fit(*table)
    order = np.concatenate(SHARDS[shards])
    local = TorchMLPClassifier(**parameters).fit(X[order], y[order], WEIGHT[order])
    for own, other in zip(model.coefs_, local.coefs_, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-5)
