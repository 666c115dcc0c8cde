"""Thirty models: the graph gives the probabilities and the labels of the library."""

import copy
import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbinary import (
    PiecewiseLinearEncoder,
    TabularEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
    VectorizedRandomizedSearchCV,
    make_tabular_pipeline,
)
from skbinary.export.onnx import to_inputs, to_onnx

REASON = "the extra 'interop' is not installed"
pytest.importorskip("skl2onnx", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N_TRAIN = 600
DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


@cache
def numeric_rows(dtype, n_rows):
    X, y = make_classification(n_rows, 12, n_informative=8, flip_y=0.1, random_state=0)
    return X.astype(dtype), np.array(["no", "yes"])[y]


@cache
def table(n_rows):
    """Return a data frame with gaps, categories and dates, and boolean labels."""
    rng = np.random.default_rng(0)
    hours = pd.to_timedelta(rng.integers(-50_000, 400_000, n_rows), unit="h")
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n_rows),
            "income (k)": np.where(rng.random(n_rows) < 0.1, np.nan, rng.lognormal(3, 1, n_rows)),
            "city": rng.choice(["Oslo", "Rome", "Paris", None], n_rows),
            "zip": rng.integers(0, 40, n_rows).astype(str),
            "member": rng.random(n_rows) < 0.3,
            "since": pd.Timestamp("1970-01-01") + hours,
        }
    )
    frame.loc[::17, "since"] = pd.NaT
    y = (frame["age"] > 50) ^ (frame["city"] == "Oslo") | (rng.random(n_rows) < 0.1)
    return frame, y.to_numpy()


def logistic(**parameters):
    return TorchLogisticClassifier(random_state=0, **parameters)


def network(*hidden, **parameters):
    parameters = {"max_iter": 4, "random_state": 0, **parameters}
    return TorchMLPClassifier(hidden or (16, 8), **parameters)


def scaled(model):
    return make_pipeline(StandardScaler(), model)


def standard_steps(dtype):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    strings = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"),
        OneHotEncoder(handle_unknown="ignore", dtype=dtype),
    )
    steps = [("n", numbers, ["age", "income (k)"]), ("c", strings, ["city", "zip"])]
    return ColumnTransformer(steps)


GRID = {"C": [0.01, 1.0]}
RATES = {"torchmlpclassifier__learning_rate_init": [0.001, 0.01]}
ON_NUMBERS = {
    "newton": lambda: logistic(solver="newton-cholesky", threshold="f1"),
    "lbfgs": lambda: logistic(solver="lbfgs", pos_label="no", threshold={"recall": 0.9}),
    "adam": lambda: logistic(solver="adam", max_iter=5),
    "l1": lambda: logistic(l1_ratio=1.0, C=0.05),
    **{
        name: (lambda name=name: network(activation=name, threshold="f1"))
        for name in ("identity", "logistic", "tanh", "relu", "leaky_relu", "gelu", "silu")
    },
    "no intercept": lambda: logistic(fit_intercept=False),
    "three layers": lambda: network(32, 16, 8, solver="sgd", activation="tanh"),
    "ensemble": lambda: network(n_members=3, threshold="f1"),
    "embedding": lambda: network(numeric_embedding="periodic"),
    "ensemble with embedding": lambda: network(
        n_members=3, numeric_embedding="periodic", pos_label="no", threshold=0.4
    ),
    "scaler": lambda: scaled(network(threshold={"precision": 0.8})),
    "piecewise linear": lambda: make_pipeline(PiecewiseLinearEncoder(), logistic()),
    "grid search": lambda: VectorizedGridSearchCV(scaled(network(threshold="f1")), RATES, cv=3),
    "randomized search": lambda: VectorizedRandomizedSearchCV(logistic(), GRID, n_iter=2, cv=3),
    "search ensemble": lambda: VectorizedGridSearchCV(
        scaled(network(threshold="f1")), RATES, cv=3, ensemble_size=3
    ),
    "search in a pipeline": lambda: scaled(
        VectorizedGridSearchCV(logistic(), GRID, cv=3, ensemble_size=3)
    ),
    "halving in a pipeline": lambda: scaled(VectorizedHalvingGridSearchCV(logistic(), GRID, cv=3)),
    "GridSearchCV": lambda: scaled(GridSearchCV(logistic(), GRID, cv=3)),
    "sigmoid": lambda: CalibratedClassifierCV(scaled(network()), cv=3),
    "isotonic": lambda: CalibratedClassifierCV(logistic(), method="isotonic", cv=3),
    "voting": lambda: VotingClassifier(
        [("a", logistic()), ("b", scaled(network(threshold="f1")))], voting="soft", weights=[1, 2]
    ),
    "stacking": lambda: StackingClassifier(
        [("a", logistic()), ("b", scaled(network()))], final_estimator=logistic(), cv=3
    ),
    "one-vs-rest": lambda: OneVsRestClassifier(scaled(network())),
}
ON_TABLES = {
    "table": lambda dtype: make_pipeline(
        TabularEncoder(dtype=dtype, random_state=0), network(threshold="f1")
    ),
    "tabular pipeline": lambda dtype: make_tabular_pipeline(
        hidden_layer_sizes=(16,), n_members=2, max_iter=2, random_state=0
    ).set_params(tabularencoder__dtype=dtype),
    "table with gaps": lambda dtype: make_pipeline(standard_steps(dtype), network()),
    "search ensemble on tables": lambda dtype: VectorizedGridSearchCV(
        make_pipeline(TabularEncoder(dtype=dtype, random_state=0), logistic()),
        {"torchlogisticclassifier__C": [0.01, 1.0]},
        cv=3,
        ensemble_size=3,
    ),
}
NAMES = [*ON_NUMBERS, *ON_TABLES]


def fitted(name, dtype, n_rows):
    """Return a model that was fitted on the first rows, and all rows."""
    if name in ON_NUMBERS:
        (X, y), model = numeric_rows(dtype, n_rows), ON_NUMBERS[name]()
    else:
        (X, y), model = table(n_rows), ON_TABLES[name](dtype)
    return model.fit(X[:N_TRAIN], y[:N_TRAIN]), X


def run(model, X):
    graph = to_onnx(model, X[:20], options={"zipmap": False})
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    return session.run(None, to_inputs(X))


def test_there_are_thirty_models():
    assert len(NAMES) >= 30


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_graph_gives_the_probabilities_and_labels_of_the_model(name, dtype):
    model, X = fitted(name, dtype, 4000)
    before = pickle.dumps(model)
    label, probability = run(model, X)
    np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(label, model.predict(X))
    assert pickle.dumps(model) == before
    clone(model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pos_label", ["yes", "no"])
@pytest.mark.parametrize("n_members", [None, 2])
def test_labels_are_equal_for_rows_exactly_at_the_threshold(n_members, pos_label, dtype):
    X, y = numeric_rows(dtype, 4000)
    model = logistic() if n_members is None else network(n_members=n_members, max_iter=30)
    model.set_params(pos_label=pos_label).fit(X[:N_TRAIN], y[:N_TRAIN])
    logits = model.decision_function(X)[:40:4]
    # As in ``predict``. For the first class, ``predict_proba`` may differ in the last digit.
    for threshold in expit(logits if pos_label == "yes" else -logits):
        at_threshold = copy.copy(model).set_params(threshold=float(threshold))
        label, _ = run(at_threshold, X)
        np.testing.assert_array_equal(label, at_threshold.predict(X))
