"""Types and containers of labels."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LogisticRegression

from skbinary import TorchLogisticClassifier
from tests.data.models import (
    FULL_BATCH,
    LABELS,
    QUIET,
    REALS,
    WITH_BATCHES,
    Y,
    by_name,
    fitted,
    in_turns,
    models,
    weights_of,
)

pytestmark = QUIET


LABELLED = {"newton": FULL_BATCH["newton"], **WITH_BATCHES}

Y_CONTAINERS = {
    "list": lambda y: y.tolist(),
    "tuple": lambda y: tuple(y.tolist()),
    "pandas series": pd.Series,
    "pandas series with other index": lambda y: pd.Series(y, index=range(500, 500 + len(y))),
    "pandas categorical": lambda y: pd.Series(pd.Categorical(y)),
    "polars series": lambda y: pl.Series(y.tolist()),
    "reversed view": lambda y: y[::-1].copy()[::-1],
}


@in_turns(LABELS, LABELLED)
def test_labels_of_any_kind_give_the_weights_of_zero_and_one(model, case):
    labelled = fitted(model, REALS, case[Y])
    assert_array_equal(weights_of(labelled), weights_of(fitted(model, REALS)))
    assert_array_equal(labelled.classes_, np.unique(case))
    predicted = labelled.predict(REALS)
    assert_array_equal(predicted, case[(labelled.decision_function(REALS) >= 0) * 1])
    assert predicted.dtype == labelled.classes_.dtype


@pytest.mark.parametrize("labels", [LABELS["bools"], LABELS["objects"]], ids=["bools", "objects"])
@by_name(Y_CONTAINERS)
def test_labels_in_any_container_give_the_weights_of_an_array(labels, make):
    model = fitted(FULL_BATCH["newton"], REALS, make(labels[Y]))
    assert_array_equal(weights_of(model), weights_of(fitted(FULL_BATCH["newton"], REALS)))
    assert_array_equal(model.classes_, labels)


def test_labels_as_unordered_categorical_have_the_second_in_sorted_order_positive():
    y = pd.Series(pd.Categorical(np.array(["b", "a"])[Y], categories=["b", "a"]))
    model = fitted(FULL_BATCH["newton"], REALS, y)
    assert model.classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool, torch.uint8])
def test_labels_as_tensor_give_the_weights_of_an_array(dtype):
    y = torch.tensor(Y).to(dtype)
    model = fitted(FULL_BATCH["newton"], REALS, y)
    assert_array_equal(weights_of(model), weights_of(fitted(FULL_BATCH["newton"], REALS)))


@pytest.mark.parametrize("make", [lambda y: y[:, None], lambda y: pd.DataFrame({"y": y})])
def test_labels_as_a_column_warn_and_count_as_a_vector(make):
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        model = fitted(FULL_BATCH["newton"], REALS, make(Y))
    assert_array_equal(weights_of(model), weights_of(fitted(FULL_BATCH["newton"], REALS)))


def test_labels_as_objects_that_are_no_strings_are_an_error_as_in_scikit_learn():
    y = np.array([1, 2], dtype=object)[Y]
    for model in (LogisticRegression(), TorchLogisticClassifier()):
        with pytest.raises(ValueError, match="Unknown label type"):
            model.fit(REALS, y)


@models(LABELLED)
def test_labels_second_in_order_are_the_positive_class(model):
    model = clone(model)
    model.set_params(max_iter=200, learning_rate_init=0.01).fit(REALS, np.array(["spam", "ham"])[Y])
    positive = model.predict_proba(REALS)[:, 1]
    assert model.classes_.tolist() == ["ham", "spam"]
    assert positive[Y == 0].mean() > 0.6 > 0.4 > positive[Y == 1].mean()


@models(FULL_BATCH)
def test_labels_with_swapped_names_swap_the_probabilities(model):
    straight = fitted(model, REALS, Y).predict_proba(REALS)
    swapped = fitted(model, REALS, 1 - Y).predict_proba(REALS)
    assert_allclose(straight, swapped[:, ::-1], atol=1e-9)


def test_labels_with_swapped_names_swap_the_probabilities_of_sgd():
    model = clone(WITH_BATCHES["logistic"])
    straight = fitted(model, REALS, Y).predict_proba(REALS)
    swapped = fitted(model, REALS, 1 - Y).predict_proba(REALS)
    assert_allclose(straight, swapped[:, ::-1], atol=1e-6)


@pytest.mark.parametrize("labels", [LABELS["signs"], LABELS["strings"], LABELS["bools"]])
def test_validation_labels_of_any_kind_give_the_loss_of_zero_and_one(labels):
    losses = [
        fitted(
            WITH_BATCHES["mlp"], REALS[:80], each[Y[:80]], X_val=REALS[80:], y_val=each[Y[80:]]
        ).validation_loss_curve_
        for each in (labels, LABELS["ints"])
    ]
    assert losses[0] == losses[1]


def test_big_endian_labels_and_weights_give_the_weights_of_native_ones():
    weight = np.arange(1.0, 121)
    found = fitted(WITH_BATCHES["mlp"], REALS, Y.astype(">i8"), weight.astype(">f8"))
    assert_array_equal(weights_of(found), weights_of(fitted(WITH_BATCHES["mlp"], REALS, Y, weight)))
