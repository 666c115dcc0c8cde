"""Sample weights and class weights."""

import numpy as np
import pandas as pd
import polars as pl
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from tests.data.models import (
    FULL_BATCH,
    HOLED,
    LABELS,
    MLP_LBFGS,
    QUIET,
    REALS,
    TABLE_KINDS,
    WITH_BATCHES,
    Y,
    by_name,
    fitted,
    models,
    oracle,
    weights_of,
)

pytestmark = QUIET


COUNTS = np.random.RandomState(1).randint(0, 4, size=120)
REPEATED = np.repeat(np.arange(120), COUNTS)
ONE_BATCH = {
    "logistic adam": TorchLogisticClassifier(
        solver="adam", batch_size=400, max_iter=20, random_state=0
    ),
    "logistic sgd": TorchLogisticClassifier(
        solver="sgd", batch_size=400, max_iter=20, random_state=0
    ),
    "mlp": TorchMLPClassifier((5,), batch_size=400, max_iter=20, random_state=0),
    "mlp sgd": TorchMLPClassifier((5,), solver="sgd", batch_size=400, max_iter=20, random_state=0),
    "dropout": TorchMLPClassifier((5,), batch_size=400, max_iter=20, random_state=0, dropout=0.3),
}
HELD_OUT = {
    "early stopping": TorchMLPClassifier(
        (5,), batch_size=400, max_iter=20, random_state=0, early_stopping=True
    ),
    "both": TorchMLPClassifier(
        (5, 4), batch_size=400, max_iter=20, random_state=0, dropout=0.3, early_stopping=True
    ),
}


@models(FULL_BATCH)
@TABLE_KINDS
def test_weight_on_full_batch_equals_repeated_rows(model, kind):
    weighted = fitted(model, kind(HOLED), Y, sample_weight=COUNTS)
    repeated = fitted(model, kind(HOLED[REPEATED]), Y[REPEATED])
    assert_allclose(weights_of(weighted), weights_of(repeated), rtol=1e-9, atol=1e-9)


def test_weight_on_full_batch_network_equals_repeated_rows():
    weighted = fitted(MLP_LBFGS, REALS, Y, sample_weight=COUNTS)
    repeated = fitted(MLP_LBFGS, REALS[REPEATED], Y[REPEATED])
    assert_allclose(weights_of(weighted), weights_of(repeated), rtol=1e-6, atol=1e-8)


@models(ONE_BATCH)
@TABLE_KINDS
def test_weight_in_one_batch_equals_repeated_rows_to_the_bit(model, kind):
    weighted = fitted(model, kind(HOLED), Y, sample_weight=COUNTS)
    repeated = fitted(model, kind(HOLED[REPEATED]), Y[REPEATED])
    assert_array_equal(weights_of(weighted), weights_of(repeated))


@models(ONE_BATCH)
def test_weight_in_one_batch_gives_the_curves_of_repeated_rows(model):
    weighted = fitted(model, REALS, Y, sample_weight=COUNTS).history_
    repeated = fitted(model, REALS[REPEATED], Y[REPEATED]).history_
    for name in set(weighted) - {"seconds"}:
        assert_allclose(weighted[name], repeated[name], rtol=1e-6)


@models(ONE_BATCH, HELD_OUT)
def test_weight_zero_in_one_batch_equals_the_row_left_out_to_the_bit(model):
    weight = (np.arange(120) % 3 > 0).astype(float)
    weighted = fitted(model, REALS, Y, sample_weight=weight)
    absent = fitted(model, REALS[weight > 0], Y[weight > 0])
    assert_array_equal(weights_of(weighted), weights_of(absent))


@models(FULL_BATCH, WITH_BATCHES)
@TABLE_KINDS
def test_weight_zero_equals_the_row_left_out(model, kind):
    weight = (np.arange(120) % 3 > 0).astype(float)
    weighted = fitted(model, kind(HOLED), Y, sample_weight=weight)
    absent = fitted(model, kind(HOLED[weight > 0]), Y[weight > 0])
    assert_allclose(weights_of(weighted), weights_of(absent), rtol=1e-9, atol=1e-9)


@models(FULL_BATCH, WITH_BATCHES)
def test_weights_of_one_equal_no_weights(model):
    weighted = fitted(model, REALS, Y, sample_weight=np.ones(120))
    assert_array_equal(weights_of(weighted), weights_of(fitted(model, REALS)))


@models(FULL_BATCH)
def test_weights_have_the_optimum_of_scikit_learn(model):
    weight = np.random.RandomState(0).exponential(size=120)
    weights = weights_of(fitted(model, REALS, Y, sample_weight=weight))
    assert_allclose(weights, oracle(REALS, Y, sample_weight=weight), rtol=1e-5, atol=1e-7)


WEIGHT_CONTAINERS = {
    "list": lambda w: w.tolist(),
    "ints": lambda w: w.astype(int),
    "float32": lambda w: w.astype(np.float32),
    "pandas": pd.Series,
    "polars": lambda w: pl.Series(w),
    "torch": torch.tensor,
    "torch with gradient": lambda w: torch.tensor(w, requires_grad=True),
}


@by_name(WEIGHT_CONTAINERS)
def test_weights_in_any_container_count_the_same(make):
    weight = (1 + np.arange(120) % 3).astype(float)
    model = fitted(FULL_BATCH["newton"], REALS, Y, sample_weight=make(weight))
    expected = fitted(FULL_BATCH["newton"], REALS, Y, sample_weight=weight)
    assert_array_equal(weights_of(model), weights_of(expected))


@models(FULL_BATCH, WITH_BATCHES)
def test_class_weight_as_dict_equals_sample_weights(model):
    classes = clone(model).set_params(class_weight={0: 1.5, 1: 3.0}).fit(REALS, Y)
    samples = fitted(model, REALS, Y, sample_weight=np.where(Y == 1, 3.0, 1.5))
    assert_allclose(weights_of(classes), weights_of(samples), rtol=1e-9, atol=1e-9)


@models(FULL_BATCH, WITH_BATCHES)
def test_class_weight_for_string_labels_goes_by_their_names(model):
    labels = LABELS["strings"]
    named = clone(model).set_params(class_weight={"spam": 3.0}).fit(REALS, labels[Y])
    samples = fitted(model, REALS, Y, sample_weight=np.where(Y == 1, 3.0, 1.0))
    assert_allclose(weights_of(named), weights_of(samples), rtol=1e-9, atol=1e-9)


@models(FULL_BATCH, WITH_BATCHES)
def test_class_weight_balanced_equals_sample_weights(model):
    y = np.where(np.arange(120) % 5 == 0, 1, 0)
    balanced = clone(model).set_params(class_weight="balanced").fit(REALS, y)
    weight = 120 / (2 * np.bincount(y))
    samples = fitted(model, REALS, y, sample_weight=weight[y])
    assert_allclose(weights_of(balanced), weights_of(samples), rtol=1e-9, atol=1e-9)


def test_class_weight_balanced_counts_the_sample_weights():
    balanced = clone(FULL_BATCH["newton"]).set_params(class_weight="balanced")
    weighted = balanced.fit(REALS, Y, sample_weight=COUNTS)
    repeated = clone(balanced).fit(REALS[REPEATED], Y[REPEATED])
    assert_allclose(weights_of(weighted), weights_of(repeated), rtol=1e-9, atol=1e-9)
