"""Fitted models of every kind, for tests of files."""

import numpy as np
import pandas as pd
import torch
from scipy.stats import loguniform, randint
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, fbeta_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbinary import (
    PiecewiseLinearEncoder,
    TabularEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
    VectorizedHalvingRandomSearchCV,
    VectorizedRandomizedSearchCV,
    make_tabular_pipeline,
)
from tests.every_solver import MODELS

X, Y = make_classification(120, 5, random_state=0)
FRAME = pd.DataFrame(X, columns=list("abcde"))
FRAME["kind"] = np.where(Y, "x", "y")
FRAME.loc[::7, "kind"] = None
FRAME.loc[::5, "a"] = np.nan
FRAME["day"] = pd.date_range("2020-01-01", periods=len(X))
FRAME["code"] = [f"k{i % 20}" for i in range(len(X))]
NUMBERED = FRAME.set_axis(range(FRAME.shape[1]), axis=1)
F2 = make_scorer(fbeta_score, beta=2)


def logistic(**parameters):
    return TorchLogisticClassifier(**parameters)


def network(**parameters):
    settings = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
    return TorchMLPClassifier(**(settings | parameters))


def with_request():
    with config_context(enable_metadata_routing=True):
        return network().set_fit_request(sample_weight=True)


def sparse_logistic():
    return logistic(l1_ratio=1.0, C=0.1).fit(X, Y).sparsify()


def grid(estimator, values, **parameters):
    return VectorizedGridSearchCV(estimator, values, **{"cv": 2, **parameters})


# Classifiers whose parameters and attributes JSON can hold.
CLASSIFIERS = {
    **{f"{name} solver": (model, X) for name, model in MODELS.items()},
    **{
        f"logistic {solver}": (logistic(solver=solver), X)
        for solver in ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
    },
    "elastic net": (logistic(l1_ratio=0.5, C=0.1), X),
    "metric": (logistic(threshold="f1"), X),
    "constraint": (network(threshold={"recall": 0.9}), X),
    "costs": (logistic(threshold={"cost_fp": 1.0, "cost_fn": 5.0}), X),
    "class_weight": (logistic(class_weight={0: 1, 1: 3}), X),
    "no intercept": (logistic(fit_intercept=False), X),
    "device": (network(device=torch.device("cpu")), X),
    "patience": (network(n_iter_no_change=np.inf), X),
    "numpy parameters": (network(alpha=np.float64(0.1), hidden_layer_sizes=np.array([4, 3])), X),
    "float32": (network(), X.astype(np.float32)),
    "names": (network(), FRAME[list("bcde")]),
    "ensemble": (network(n_members=3, threshold="f1"), X),
    "ensemble with embeddings": (network(n_members=2, numeric_embedding="periodic"), X),
}
# Models for formats that hold objects, too.
OTHERS = {
    "scorer": (network(monitor=F2, early_stopping=True), X),
    "function": (logistic(threshold=accuracy_score), X),
    "random state": (network(random_state=np.random.RandomState(3)), X),
    "scaler": (make_pipeline(StandardScaler(), network()), X),
    "piecewise linear": (make_pipeline(PiecewiseLinearEncoder(), network()), X),
    "columns": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(), StandardScaler()), list("abe")),
                (OneHotEncoder(), ["kind"]),
            ),
            network(),
        ),
        FRAME,
    ),
    "tabular": (make_tabular_pipeline(network(n_members=2)), FRAME),
    "tabular without names": (make_pipeline(TabularEncoder(), logistic()), NUMBERED),
    "grid": (grid(logistic(), {"C": [0.1, 1.0]}), X),
    "grid of a tabular pipeline": (
        grid(make_tabular_pipeline(network()), {"torchmlpclassifier__alpha": [0.1, 1.0]}),
        FRAME,
    ),
    "grid of steps": (
        grid(
            make_pipeline(StandardScaler(), logistic()),
            {"standardscaler": [StandardScaler(), PiecewiseLinearEncoder(), "passthrough"]},
        ),
        X,
    ),
    "grid of class weights": (
        grid(logistic(), {"class_weight": [None, "balanced", {0: 1.0, 1: 2.0}]}),
        X,
    ),
    "metrics": (
        grid(logistic(), {"C": [0.1, 1.0]}, scoring=["roc_auc", "neg_log_loss"], refit="roc_auc"),
        X,
    ),
    "scoring": (grid(network(), {"hidden_layer_sizes": [(4,), (4, 3)]}, scoring=F2), X),
    "time series": (grid(logistic(), {"C": [0.1, 1.0]}, cv=TimeSeriesSplit(2)), X),
    "splits": (grid(logistic(), {"C": [0.1]}, cv=[([*range(60)], [*range(60, 120)])]), X),
    "sklearn's grid": (GridSearchCV(logistic(), {"C": [0.1, 1.0]}, cv=2), X),
    "randomized": (
        VectorizedRandomizedSearchCV(
            network(),
            {"alpha": loguniform(1e-5, 1.0), "batch_size": randint(20, 60)},
            n_iter=3,
            cv=2,
            random_state=0,
        ),
        X,
    ),
    "halving": (VectorizedHalvingGridSearchCV(logistic(), {"C": [0.1, 1.0]}, cv=2), X),
    "random halving": (
        VectorizedHalvingRandomSearchCV(
            network(),
            {"alpha": loguniform(1e-5, 1.0)},
            resource="max_iter",
            max_resources=4,
            min_resources=2,
            factor=2,
            cv=2,
            random_state=0,
        ),
        X,
    ),
    "average": (grid(logistic(threshold="f1"), {"C": [0.1, 1.0]}, ensemble_size=2), X),
    "average of pipelines": (
        grid(
            make_pipeline(StandardScaler(), network(threshold={"recall": 0.9})),
            {"torchmlpclassifier__alpha": [0.1, 1.0]},
            ensemble_size=3,
        ),
        X,
    ),
}
GROUPED = grid(logistic(), {"C": [0.1, 1.0]}, cv=StratifiedGroupKFold(2))
