"""Containers that cannot be read: one message that says what to pass instead."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from skbinary import TorchMLPClassifier, VectorizedGridSearchCV
from tests.bad_input.cases import (
    CLASSIFIERS,
    MISSING,
    X,
    Y,
    assert_raises_unchanged,
    both,
    fitted,
    in_turns,
    whole,
)

UNREADABLE = "{} must be an array, a data frame or a tensor, got {}. {}."
NOT_DENSE = "{} must be a dense tensor of numbers, got {}. {}."


def quietly(make):
    """Make a tensor of a kind that torch warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


TORCH_X = torch.tensor(X)
TO_DENSE = "Call to_dense() on it, or convert it to a scipy.sparse matrix if it holds rows"
COLLECT = "Call collect() on it, or pass it to fit with the name of the label column as y"
BATCHES = "Pass the rows and their labels as arrays, and set batch_size"
UNREADABLE_ROWS = {
    "lazy frame": (pl.DataFrame(X).lazy(), UNREADABLE, "a LazyFrame", COLLECT),
    "data loader": (DataLoader(TensorDataset(TORCH_X)), UNREADABLE, "a DataLoader", BATCHES),
    "dataset": (TensorDataset(TORCH_X), UNREADABLE, "a TensorDataset", BATCHES),
    "dict": ({"a": X[:, 0]}, UNREADABLE, "a dict", "Make a data frame of it"),
    "generator": ((row for row in X), UNREADABLE, "a generator", "Make a list of it"),
    "coordinates": (
        TORCH_X.to_sparse(), NOT_DENSE, "a tensor of layout torch.sparse_coo", TO_DENSE,
    ),
    "nested": (
        quietly(lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(3)])),
        NOT_DENSE, "a nested tensor", "Pad the rows to one length",
    ),
    "quantized": (
        quietly(lambda: torch.quantize_per_tensor(TORCH_X.float(), 0.1, 0, torch.qint8)),
        NOT_DENSE, "a quantized tensor", "Call dequantize() on it",
    ),
    "meta": (
        torch.empty(40, 3, device="meta"),
        NOT_DENSE, "a tensor on the meta device", "Pass a tensor that stores its values",
    ),
}  # fmt: skip
# Calls with rows, and the name of the rows in the message.
WITH_ROWS = {
    "fit": (lambda m, rows: m.fit(rows, Y), "X"),
    "partial_fit": (lambda m, rows: m.partial_fit(rows, Y), "X"),
    "validate": (lambda m, rows: m.fit(X, Y, X_val=rows, y_val=Y), "X_val"),
    "predict": (lambda m, rows: m.predict(rows), "X"),
    "decision_function": (lambda m, rows: m.decision_function(rows), "X"),
    "tune_threshold": (lambda m, rows: m.tune_threshold(rows, Y, "f1"), "X"),
    "search": (
        lambda m, rows: VectorizedGridSearchCV(m, {"max_iter": [2, 3]}, cv=2).fit(rows, Y),
        "X",
    ),
}
# Calls with one value for each row, and its name in the message.
WITH_LABELS = {
    "fit": (lambda m, y: m.fit(X, y), "y"),
    "partial_fit": (lambda m, y: m.partial_fit(X, y), "y"),
    "validate": (lambda m, y: m.fit(X, Y, X_val=X, y_val=y), "y_val"),
    "tune_threshold": (lambda m, y: m.tune_threshold(X, y, "f1"), "y"),
    "search": (lambda m, y: VectorizedGridSearchCV(m, {"max_iter": [2, 3]}, cv=2).fit(X, y), "y"),
}
WITH_WEIGHTS = {
    "weight fit": (lambda m, weight: m.fit(X, Y, weight), "sample_weight"),
    "weight partial_fit": (
        lambda m, weight: m.partial_fit(X, Y, sample_weight=weight),
        "sample_weight",
    ),
    "weight validate": (
        lambda m, weight: m.fit(X, Y, X_val=X, y_val=Y, sample_weight_val=weight),
        "sample_weight_val",
    ),
    "weight tune_threshold": (
        lambda m, weight: m.tune_threshold(X, Y, "f1", sample_weight=weight),
        "sample_weight",
    ),
}


@pytest.fixture(scope="module")
def models():
    """Return both classifiers, fitted by a solver that has partial_fit."""
    return {kind: fitted(kind, solver="adam") for kind in CLASSIFIERS}


def assert_unreadable(model, use, name):
    values, sentence, what, advice = UNREADABLE_ROWS[name]
    call, argument = use
    pattern = whole(sentence.format(argument, what, advice))
    assert_raises_unchanged(model, lambda m: call(m, values), ValueError, pattern)


@in_turns({name: name for name in UNREADABLE_ROWS})
def test_fit_on_unreadable_rows_raises_with_advice(models, kind, case):
    assert_unreadable(models[kind], WITH_ROWS["fit"], case)


@in_turns(WITH_ROWS)
def test_every_use_of_unreadable_rows_raises(models, kind, case):
    assert_unreadable(models[kind], case, "lazy frame")


@in_turns({name: name for name in ("data loader", "coordinates", "quantized")})
def test_fit_on_unreadable_labels_raises_with_advice(models, kind, case):
    assert_unreadable(models[kind], WITH_LABELS["fit"], case)


@in_turns(WITH_LABELS | WITH_WEIGHTS)
def test_every_use_of_unreadable_labels_and_weights_raises(models, kind, case):
    assert_unreadable(models[kind], case, "lazy frame")


WORDS = np.where(Y == 1, "yes", "no").astype(object)
MISSING_LABELS = {
    "None": (np.where(np.arange(40) == 3, None, WORDS), "None", 3),
    "list": ([None, *WORDS[1:]], "None", 0),
    "nan": (np.where(np.arange(40) == 3, np.nan, WORDS), "nan", 3),
    "NA": (pd.array([pd.NA, *WORDS[1:]], dtype="string"), "<NA>", 0),
    "boolean NA": (pd.array([True, False, pd.NA] * 13 + [True], dtype="boolean"), "<NA>", 2),
    "categories": (pd.Categorical([*WORDS[:-1], None]), "nan", 39),
    "NaT": (np.array(["2020-01-01", "NaT"] * 20, dtype="datetime64[D]"), "NaT", 1),
    "polars": (pl.Series([None, *WORDS[1:]]), "None", 0),
}


def assert_missing(model, use, name):
    labels, what, row = MISSING_LABELS[name]
    call, argument = use
    pattern = whole(MISSING.format(argument, what, row))
    assert_raises_unchanged(model, lambda m: call(m, labels), ValueError, pattern)


@in_turns({name: name for name in MISSING_LABELS})
def test_fit_with_missing_labels_raises_with_the_first_row(models, kind, case):
    assert_missing(models[kind], WITH_LABELS["fit"], case)


@in_turns(WITH_LABELS, CLASSIFIERS[::-1])
def test_every_use_of_missing_labels_raises(models, kind, case):
    assert_missing(models[kind], case, "None")


@in_turns(WITH_WEIGHTS)
@pytest.mark.parametrize("weight", ["balanced", {0: 1.0, 1: 2.0}], ids=str)
def test_class_weights_as_sample_weight_raise_with_advice(models, kind, case, weight):
    call, name = case
    pattern = whole(
        f"{name} must have one number for each row, got {weight!r}. Use the parameter "
        "class_weight for weights of classes."
    )
    assert_raises_unchanged(models[kind], lambda m: call(m, weight), ValueError, pattern)


def test_fit_bfloat16_labels_and_weights_equals_float64():
    weight = np.arange(1.0, 41)
    kind = TorchMLPClassifier
    model = fitted(kind, (X, torch.tensor(Y).bfloat16(), torch.tensor(weight).bfloat16()))
    expected = fitted(kind, (X, Y, weight))
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))


@both
def test_frame_with_missing_numbers_raises(models, kind):
    frame = pd.DataFrame(X).astype(object)
    frame.iloc[2, 1] = pd.NA
    pattern = whole(
        "X must hold a number in each cell, got <NA>, a missing value. Impute the "
        "missing values, or drop these rows."
    )
    assert_raises_unchanged(models[kind], lambda m: m.fit(frame, Y), ValueError, pattern)
    assert_raises_unchanged(models[kind], lambda m: m.predict(frame), ValueError, pattern)
