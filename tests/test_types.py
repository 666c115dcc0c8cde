"""Types as a user's type checker sees them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import skbinary
from skbinary.estimators import mlp
from skbinary.models.activations import ACTIVATIONS

ROOT = Path(__file__).parents[1]

SCRIPT = '''
"""A user's script. `reveal_type` is followed by the type that mypy must know."""

import numpy as np
import torch

from skbinary import (
    LossCurveDisplay,
    SearchDisplay,
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    TorchModuleClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
    VectorizedRandomizedSearchCV,
)

X = np.random.default_rng(0).normal(size=(100, 3))
y = X[:, 0] > 0

logistic = TorchLogisticClassifier(
    C=10,
    solver="prox-newton",
    l1_ratio=0.5,
    class_weight={True: 2, False: 1},
    threshold={"recall": 0.9},
    random_state=np.random.RandomState(0),
)
reveal_type(logistic.fit(X, y))  # TorchLogisticClassifier
reveal_type(logistic.tune_threshold(X, y, "f1"))  # TorchLogisticClassifier
reveal_type(TorchLogisticClassifier(solver="sgd").partial_fit(X, y))  # TorchLogisticClassifier
reveal_type(logistic.set_callbacks())  # TorchLogisticClassifier
reveal_type(logistic.intercept_)  # ndarray
reveal_type(logistic.n_iter_)  # ndarray
reveal_type(logistic.solver_)  # str

model = TorchMLPClassifier(
    (64, 32),
    "gelu",
    solver="adam",
    learning_rate="onecycle",
    early_stopping=True,
    n_iter_no_change=np.inf,
    dropout=[0.1, 0.2],
    class_weight="balanced",
    threshold="f1",
    monitor="roc_auc",
    device="cpu",
    n_members=2,
)
reveal_type(model.fit(X, y).predict(X))  # ndarray
reveal_type(model.predict_proba(X))  # ndarray
reveal_type(model.predict_log_proba(X))  # ndarray
reveal_type(model.decision_function(X))  # ndarray
reveal_type(model.coefs_)  # list[ndarray]
reveal_type(model.intercepts_)  # list[ndarray]
reveal_type(model.members_)  # list[dict[str, ndarray]]
reveal_type(model.n_members_)  # int
reveal_type(model.oof_decision_function_)  # ndarray
reveal_type(model.oof_loss_)  # float
reveal_type(model.classes_)  # ndarray
reveal_type(model.n_iter_)  # int
reveal_type(model.n_layers_)  # int
reveal_type(model.n_outputs_)  # int
reveal_type(model.out_activation_)  # str
reveal_type(model.loss_)  # float
reveal_type(model.best_loss_)  # float | None
reveal_type(model.t_)  # int
reveal_type(model.temperature_)  # float
reveal_type(model.embedding_)  # dict[str, ndarray] | None
reveal_type(model.threshold_)  # float
reveal_type(model.threshold_curve_)  # dict[str, ndarray]
reveal_type(model.threshold_interval_)  # tuple[float, float]
reveal_type(model.loss_curve_)  # list[float] | list[list[float]]
reveal_type(model.validation_loss_curve_)  # list[float] | list[list[float]] | None
reveal_type(model.validation_scores_)  # list[float] | list[list[float]] | None
reveal_type(model.best_validation_score_)  # float | None
reveal_type(model.best_epoch_)  # int | list[int]
reveal_type(model.stop_reason_)  # StopReason | list[StopReason]
reveal_type(model.history_)  # dict[str, list[float]] | list[dict[str, list[float]]]
reveal_type(model.device_)  # str
reveal_type(model.module_)  # LogitModule | ModuleOfLogits | EnsembleModule
reveal_type(model.net_)  # BinaryNet
reveal_type(model.n_features_in_)  # int
reveal_type(model.feature_names_in_)  # ndarray
reveal_type(model.sample_shape_)  # tuple[int, ...]

own = TorchModuleClassifier(torch.nn.LazyLinear, module__out_features=1, n_members=2)
reveal_type(own.fit(X, y))  # TorchModuleClassifier
reveal_type(own.set_params(module__bias=False))  # TorchModuleClassifier
reveal_type(own.predict_proba(X))  # ndarray
reveal_type(own.parameters_)  # dict[str, ndarray]
reveal_type(own.members_)  # list[dict[str, ndarray]]
reveal_type(own.n_members_)  # int
reveal_type(own.oof_decision_function_)  # ndarray
reveal_type(own.oof_loss_)  # float
reveal_type(own.best_loss_)  # float | None
reveal_type(own.module_)  # LogitModule | ModuleOfLogits | EnsembleModule

search = VectorizedGridSearchCV(
    logistic,
    {"C": [0.1, 1.0], "l1_ratio": np.linspace(0, 1, 3)},
    scoring=["roc_auc", "neg_log_loss"],
    refit="roc_auc",
    cv=3,
    max_memory="2GB",
    ensemble_size=10,
)
reveal_type(search.fit(X, y, sample_weight=np.ones(100)))  # VectorizedGridSearchCV
reveal_type(search.cv_results_)  # dict[str, Any]
reveal_type(search.best_score_)  # float
reveal_type(search.best_params_)  # dict[str, Any]
reveal_type(search.best_index_)  # int
reveal_type(search.n_splits_)  # int
reveal_type(search.refit_time_)  # float
reveal_type(search.multimetric_)  # bool
reveal_type(search.classes_)  # ndarray
reveal_type(search.n_features_in_)  # int
reveal_type(search.ensemble_)  # dict[str, Any]
reveal_type(search.ensemble_loss_curve_)  # ndarray
draws = VectorizedRandomizedSearchCV(model, {"alpha": [0.1, 1.0]}, n_iter=2, random_state=0)
reveal_type(draws.fit(X, y))  # VectorizedRandomizedSearchCV
halving = VectorizedHalvingGridSearchCV(model, {"alpha": [0.1, 1.0]}, min_resources="smallest")
reveal_type(halving.fit(X, y))  # VectorizedHalvingGridSearchCV
reveal_type(halving.n_resources_)  # list[int]

reveal_type(LossCurveDisplay.from_estimator(model))  # LossCurveDisplay
reveal_type(ThresholdDisplay.from_estimator(model, X, y))  # ThresholdDisplay
reveal_type(SearchDisplay.from_estimator(search, kind="line"))  # SearchDisplay
'''

MISTAKES = {
    'TorchLogisticClassifier(solver="newton")': '"solver"',
    'TorchLogisticClassifier(class_weight="balance")': '"class_weight"',
    'TorchLogisticClassifier(batch_size="all")': '"batch_size"',
    "TorchLogisticClassifier(random_state=None, threshold=None)": '"threshold"',
    'TorchMLPClassifier(activation="rel")': '"activation"',
    'TorchMLPClassifier(learning_rate="cosinus")': '"learning_rate"',
    'TorchMLPClassifier(early_stopping="on")': '"early_stopping"',
    'TorchMLPClassifier(hidden_layer_sizes="64")': '"hidden_layer_sizes"',
    "TorchMLPClassifier(device=0)": '"device"',
    'TorchModuleClassifier(None, solver="lbfgs")': '"solver"',
    'VectorizedGridSearchCV(TorchMLPClassifier(), {}, error_score="nan")': '"error_score"',
    'SearchDisplay.from_estimator(None, kind="bars")': '"kind"',
}


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Return a function that checks a script with mypy, as an installed package would be used."""
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    folder = tmp_path_factory.mktemp("types")

    def run(text):
        script = folder / "script.py"
        script.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
        command += ["--config-file=", f"--cache-dir={folder / 'cache'}", str(script)]
        path = {"MYPYPATH": str(ROOT)}
        return subprocess.run(
            command, cwd=folder, env={**os.environ, **path}, capture_output=True, text=True
        ).stdout

    return run


def simplified(text):
    """Return a type without the names of modules and without the type arguments of arrays."""
    text = re.sub(r"(?:[A-Za-z_]\w*\.)+([A-Za-z_])", r"\1", text)
    kept, depth = "", 0
    for part in re.split(r"(ndarray\[|[][])", text):
        if depth:
            depth += part.endswith("[") - (part == "]")
        elif part == "ndarray[":
            kept, depth = kept + "ndarray", 1
        else:
            kept += part
    return kept


def test_fitted_attributes_and_results_of_methods_are_known_to_mypy(check):
    out = check(SCRIPT)
    assert "error:" not in out
    found = dict(
        re.findall(r'^script\.py:(\d+): note: Revealed type is "(.*)"$', out, re.MULTILINE)
    )
    lines = enumerate(SCRIPT.splitlines(), start=1)
    wanted = {n: line.split("  # ")[1] for n, line in lines if line.startswith("reveal_type(")}
    assert {n: simplified(found[str(n)]) for n in wanted} == wanted


def test_misspelt_values_of_parameters_are_reported_by_mypy(check):
    head = f"from skbinary import {', '.join(skbinary.__all__)}\n"
    out = check(head + "\n".join(MISTAKES) + "\n")
    for n, parameter in enumerate(MISTAKES.values(), start=2):
        error = rf"^script\.py:{n}: error: Argument .*{parameter}.* \[arg-type\]$"
        assert re.search(error, out, re.MULTILINE), (parameter, out)


def test_activations_of_the_signature_are_those_that_exist():
    assert set(get_args(mlp._Activation)) == set(ACTIVATIONS)
