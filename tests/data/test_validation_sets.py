"""Scores of rows, validation sets, and a warning for validation sets on another scale."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.data.scales import scale_difference
from skbinary.runtime import chunks
from tests.data.models import (
    DENSE,
    FULL_BATCH,
    HOLED,
    MLP_LBFGS,
    NAMES,
    QUIET,
    REALS,
    RNG,
    SPARSE,
    TABLE_KINDS,
    WITH_BATCHES,
    Y,
    fitted,
    in_turns,
    log_loss,
    mapped,
    models,
    peak_of,
    weights_of,
)

pytestmark = QUIET


@models(FULL_BATCH, WITH_BATCHES, {"mlp lbfgs": MLP_LBFGS})
@TABLE_KINDS
def test_score_of_a_row_does_not_depend_on_other_rows(model, kind):
    model = fitted(model, kind(HOLED))
    together = model.decision_function(kind(HOLED))
    alone = [model.decision_function(kind(HOLED[i : i + 1]))[0] for i in range(30)]
    assert_allclose(together[:30], alone, rtol=1e-11, atol=1e-12)


def test_score_of_a_row_in_a_long_table_does_not_depend_on_other_rows(monkeypatch):
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 1)
    model = fitted(WITH_BATCHES["mlp"], REALS)
    X = np.random.RandomState(0).normal(size=(3000, 6))
    together = model.decision_function(X)
    alone = np.concatenate([model.decision_function(X[i : i + 7]) for i in range(0, 3000, 7)])
    assert_allclose(together, alone, rtol=1e-11, atol=1e-12)


@models(FULL_BATCH, WITH_BATCHES, {"mlp lbfgs": MLP_LBFGS})
@TABLE_KINDS
def test_validation_loss_with_weights_is_their_weighted_mean(model, kind):
    weight = np.random.RandomState(0).exponential(size=40)
    model = fitted(
        model,
        kind(HOLED[:80]),
        Y[:80],
        X_val=kind(HOLED[80:]),
        y_val=Y[80:],
        sample_weight_val=weight,
    )
    expected = log_loss(model.decision_function(HOLED[80:]), Y[80:], weight)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-5)


def test_validation_score_with_weights_is_the_weighted_accuracy():
    weight = np.random.RandomState(0).exponential(size=40)
    model = fitted(
        WITH_BATCHES["mlp"],
        REALS[:80],
        Y[:80],
        X_val=REALS[80:],
        y_val=Y[80:],
        sample_weight_val=weight,
    )
    expected = model.score(REALS[80:], Y[80:], sample_weight=weight)
    assert model.validation_scores_[-1] == pytest.approx(expected, rel=1e-6)


def test_validation_loss_with_class_weights_is_their_weighted_mean():
    model = clone(FULL_BATCH["newton"]).set_params(class_weight={1: 4.0})
    model.fit(REALS[:80], Y[:80], X_val=REALS[80:], y_val=Y[80:])
    expected = log_loss(
        model.decision_function(REALS[80:]), Y[80:], np.where(Y[80:] == 1, 4.0, 1.0)
    )
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_validation_rows_without_early_stopping_leave_the_weights_unchanged():
    plain = fitted(WITH_BATCHES["mlp"], REALS[:80], Y[:80])
    watched = fitted(WITH_BATCHES["mlp"], REALS[:80], Y[:80], X_val=REALS[80:], y_val=Y[80:])
    assert_array_equal(weights_of(plain), weights_of(watched))


@pytest.mark.parametrize(
    "kind",
    [
        *map(DENSE.get, ["list", "big endian", "pandas", "polars", "torch"]),
        *map(SPARSE.get, ["csr matrix", "csc array", "duplicates"]),
    ],
)
def test_validation_rows_in_any_container_give_the_arrays_loss(kind):
    model = clone(WITH_BATCHES["mlp"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X has feature names")
        watched = fitted(model, HOLED, X_val=kind(HOLED), y_val=Y).validation_loss_curve_
    expected = fitted(model, HOLED, X_val=HOLED, y_val=Y).validation_loss_curve_
    assert_allclose(watched, expected, rtol=1e-6)


def test_training_loss_with_weights_is_their_weighted_mean():
    weight = np.random.RandomState(0).exponential(size=120)
    model = fitted(FULL_BATCH["newton"], REALS, Y, sample_weight=weight)
    expected = log_loss(model.decision_function(REALS), Y, weight)
    assert model.loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_probabilities_are_expit_of_the_logits():
    model = fitted(FULL_BATCH["newton"], REALS)
    expected = expit(model.decision_function(REALS))
    assert_array_equal(model.predict_proba(REALS)[:, 1], expected)


def test_validation_frame_with_other_names_is_an_error():
    frame = pd.DataFrame(REALS, columns=NAMES)
    with pytest.raises(ValueError, match="The feature names should match"):
        fitted(WITH_BATCHES["mlp"], frame, X_val=frame.rename(columns={"x0": "other"}), y_val=Y)


CELLS, BENIGN = load_breast_cancer(return_X_y=True)
SCALED = StandardScaler().fit_transform(CELLS)
QUICK = TorchMLPClassifier((4,), max_iter=2, random_state=0)
OTHER_SCALE = "^The columns of X_val must be on the scale of those of X, got the "


def fit_quietly(*args, **kwargs):
    """Fit, and raise an error instead of the warning about the scale."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=OTHER_SCALE)
        return fitted(*args, **kwargs)


CONTAINERS = {
    "array": np.asarray,
    "float32": lambda X: X.astype(np.float32),
    "frame": pd.DataFrame,
    "tensor": torch.tensor,
    "sparse": sparse.csr_array,
}


@in_turns(CONTAINERS, {"mlp": QUICK, "logistic": TorchLogisticClassifier()})
def test_validation_rows_on_another_scale_warn(model, case):
    with pytest.warns(UserWarning, match=OTHER_SCALE):
        fitted(model, case(SCALED[150:]), BENIGN[150:], X_val=case(CELLS[:150]), y_val=BENIGN[:150])


def test_validation_rows_on_another_scale_name_column_statistic_and_remedy():
    names = load_breast_cancer().feature_names
    X, X_val = (pd.DataFrame(each, columns=names) for each in (SCALED[150:], CELLS[:150]))
    low, high = (np.sort(X_val["worst area"])[round(share * 149)] for share in (0.25, 0.75))
    message = (
        f"got the interquartile range {high - low:.3g} instead of .* in column 'worst area', and "
        r"another scale in \d+ of 30 columns. In a pipeline, X_val is transformed only with "
        r'metadata routing and Pipeline\(transform_input=\["X_val"\]\), as the docstring of fit '
        "shows.$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        fitted(QUICK, X, BENIGN[150:], X_val=X_val, y_val=BENIGN[:150])
    assert sum("X_val" in str(each.message) for each in caught) == 1


def test_validation_rows_on_another_scale_warn_before_training():
    class Stop(Callback):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            raise AssertionError("training has begun")

    model = clone(QUICK).set_params(callbacks=[Stop()])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=OTHER_SCALE)
        with pytest.raises(UserWarning, match=OTHER_SCALE):
            model.fit(SCALED[150:], BENIGN[150:], X_val=CELLS[:150], y_val=BENIGN[:150])


@pytest.mark.parametrize(("X", "n_val"), [(CELLS, 10), (SCALED, 30), (np.float32(CELLS), 150)])
def test_validation_rows_of_an_ordinary_split_do_not_warn(X, n_val):
    for seed in range(3):
        order = np.random.RandomState(seed).permutation(len(X))
        val, own = order[:n_val], order[n_val:]
        model = fit_quietly(QUICK, X[own], BENIGN[own], X_val=X[val], y_val=BENIGN[val])
        assert len(model.validation_loss_curve_) == 2


ONE_HOT = np.eye(8)[RNG.randint(0, 8, 400)]
QUIET_TABLES = {
    "one-hot": ONE_HOT,
    "constant": np.ones((400, 3)),
    "flags": RNG.randint(0, 2, (400, 5)),
    "sparse": sparse.random(400, 50, density=0.05, random_state=0, format="csr"),
    "one column": np.arange(400.0)[:, None],
    "heavy tails": np.exp(3 * RNG.normal(size=(400, 4))),
    "time and others": np.c_[np.repeat([0, 365], [300, 100]) + RNG.rand(400), RNG.rand(400, 2)],
}


@pytest.mark.parametrize("X", QUIET_TABLES.values(), ids=QUIET_TABLES.keys())
def test_validation_rows_at_the_end_of_a_table_do_not_warn(X):
    y = np.arange(400) % 2
    model = fit_quietly(QUICK, X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert len(model.validation_loss_curve_) == 2


def test_validation_rows_of_which_one_column_differs_do_not_warn():
    X_val = SCALED[:150] * np.r_[1e3, np.ones(29)]
    model = fit_quietly(QUICK, SCALED[150:], BENIGN[150:], X_val=X_val, y_val=BENIGN[:150])
    assert len(model.validation_loss_curve_) == 2


def test_routed_validation_rows_are_transformed_by_the_pipeline():
    scaler = StandardScaler().fit(CELLS[150:])
    X_val, y_val = CELLS[:150], BENIGN[:150]
    by_hand = fit_quietly(
        QUICK, scaler.transform(CELLS[150:]), BENIGN[150:],
        X_val=scaler.transform(X_val), y_val=y_val,
    )  # fmt: skip
    with sklearn.config_context(enable_metadata_routing=True):
        network = clone(QUICK).set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("network", network)]
        pipeline = Pipeline(steps, transform_input=["X_val"])
        whole = fit_quietly(pipeline, CELLS[150:], BENIGN[150:], X_val=X_val, y_val=y_val)
    found = whole["network"]
    assert found.validation_loss_curve_ == by_hand.validation_loss_curve_
    assert_array_equal(weights_of(found), weights_of(by_hand))


def test_scale_of_a_memory_map_is_estimated_from_a_few_rows(tmp_path):
    X = mapped(tmp_path, np.random.RandomState(0).rand(20000, 50).astype(np.float32))
    peak = peak_of(lambda: scale_difference(X, np.asarray(X[:100]) * 100))
    assert scale_difference(X, np.asarray(X[:100]) * 100).n_columns == 50
    assert peak < X.nbytes / 4
