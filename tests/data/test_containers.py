"""Containers and number types of rows."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skbinary import PiecewiseLinearEncoder
from tests.data.models import (
    DENSE,
    FLAGS,
    FULL_BATCH,
    HOLED,
    MAPPED_MODELS,
    MLP_LBFGS,
    NAMES,
    QUIET,
    REALS,
    WHOLE,
    WITH_BATCHES,
    by_name,
    fitted,
    in_turns,
    long_table,
    peak_of,
    weights_of,
)

pytestmark = QUIET


SINGLE = {
    "float32": lambda X: X.astype(np.float32),
    "torch float32": lambda X: torch.tensor(X, dtype=torch.float32),
    "pandas float32": lambda X: pd.DataFrame(X, columns=NAMES).astype("float32"),
    "polars float32": lambda X: pl.DataFrame(X.astype(np.float32), schema=NAMES),
    "csr float32": lambda X: sparse.csr_array(X.astype(np.float32)),
}

HALF = {
    "float16": lambda X: X.astype(np.float16),
    "torch float16": lambda X: torch.tensor(X, dtype=torch.float16),
    "torch bfloat16": lambda X: torch.tensor(X, dtype=torch.bfloat16),
}

WHOLE_NUMBERS = {
    **{
        name: lambda X, name=name: X.astype(name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint64")
    },
    "list of ints": lambda X: X.astype(int).tolist(),
    "pandas nullable ints": lambda X: pd.DataFrame(X, columns=NAMES).astype("Int64"),
    "polars ints": lambda X: pl.DataFrame(X.astype(np.int16), schema=NAMES),
    "torch int64": lambda X: torch.tensor(X, dtype=torch.int64),
    "torch uint8": lambda X: torch.tensor(X, dtype=torch.uint8),
}

BOOLEANS = {
    "bool": lambda X: X.astype(bool),
    "uint8": lambda X: X.astype(np.uint8),
    "pandas bool": lambda X: pd.DataFrame(X.astype(bool), columns=NAMES),
    "pandas nullable bool": lambda X: pd.DataFrame(X, columns=NAMES).astype("boolean"),
    "polars bool": lambda X: pl.DataFrame(X.astype(bool), schema=NAMES),
    "torch bool": lambda X: torch.tensor(X.astype(bool)),
    "csr bool": lambda X: sparse.csr_array(X.astype(bool)),
}


@in_turns(DENSE, WITH_BATCHES)
def test_dense_container_with_batches_gives_bit_identical_weights(model, case):
    assert_array_equal(weights_of(fitted(model, case(REALS))), weights_of(fitted(model, REALS)))


@in_turns(DENSE, FULL_BATCH | {"mlp": MLP_LBFGS})
def test_dense_container_on_full_batch_gives_the_arrays_weights(model, case):
    weights = weights_of(fitted(model, case(REALS)))
    assert_allclose(weights, weights_of(fitted(model, REALS)), rtol=1e-9, atol=1e-12)


@by_name(DENSE)
def test_dense_container_is_scored_like_the_array(make):
    model = fitted(FULL_BATCH["newton"], REALS)
    if hasattr(make(REALS), "columns"):
        model = fitted(FULL_BATCH["newton"], pd.DataFrame(REALS, columns=NAMES))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        expected = model.decision_function(REALS)
    scores = model.decision_function(make(REALS))
    assert scores.dtype == np.float64
    assert_allclose(scores, expected, rtol=1e-12, atol=1e-13)


@in_turns(SINGLE, FULL_BATCH, WITH_BATCHES)
def test_float32_container_gives_the_weights_of_the_same_numbers_in_float64(model, case):
    rounded = HOLED.astype(np.float32).astype(np.float64)
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-5
    weights = weights_of(fitted(model, case(rounded)))
    assert_allclose(weights, weights_of(fitted(model, rounded)), rtol=tolerance, atol=tolerance)


@by_name(SINGLE)
def test_float32_container_is_scored_in_float32(make):
    X = make(HOLED)
    model = fitted(FULL_BATCH["newton"], X)
    assert model.decision_function(X).dtype == np.float32


@in_turns(HALF, FULL_BATCH, WITH_BATCHES)
def test_half_precision_container_gives_the_weights_of_the_same_numbers_in_float64(model, case):
    half = case(REALS)
    rounded = half.double().numpy() if isinstance(half, torch.Tensor) else half.astype(float)
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-6
    weights = weights_of(fitted(model, half))
    assert_allclose(weights, weights_of(fitted(model, rounded)), rtol=tolerance, atol=tolerance)


FLOAT16 = REALS.astype(np.float16)
STORED_AS_FLOAT16 = {
    "array": FLOAT16,
    "fortran order": np.asfortranarray(FLOAT16),
    "big endian": FLOAT16.astype(">f2"),
    "pandas": pd.DataFrame(FLOAT16, columns=NAMES),
    "pandas with bytes": pd.DataFrame(FLOAT16, columns=NAMES).assign(x0=np.int8(1)),
    "torch": torch.tensor(FLOAT16),
    "sparse": sparse.csr_array((FLOAT16.ravel(), np.tile(range(6), 120), range(0, 721, 6))),
}


@in_turns(STORED_AS_FLOAT16, FULL_BATCH, WITH_BATCHES)
def test_float16_gives_the_weights_of_its_float32(model, case):
    single = case.float() if isinstance(case, torch.Tensor) else case.astype(np.float32)
    found, expected = fitted(model, case), fitted(model, single)
    # A frame may be stored by columns or by rows, which are summed in another order.
    assert_allclose(weights_of(found), weights_of(expected), rtol=1e-12)
    scores = found.decision_function(case)
    assert scores.dtype == np.float32
    assert_allclose(scores, expected.decision_function(single), rtol=1e-5, atol=1e-5)


def test_encoder_computes_float16_as_float32():
    encoder = PiecewiseLinearEncoder().fit(FLOAT16)
    expected = PiecewiseLinearEncoder().fit(FLOAT16.astype(np.float32))
    assert encoder.transform(FLOAT16).dtype == np.float32
    assert_array_equal(encoder.transform(FLOAT16), expected.transform(FLOAT16.astype(np.float32)))


@pytest.mark.parametrize("dtype", [">f4", ">f2"])
def test_big_endian_rows_of_less_than_float64_are_scored_in_float32(dtype):
    X = REALS.astype(dtype)
    native = X.astype(np.float32)
    found, expected = (fitted(WITH_BATCHES["mlp"], each) for each in (X, native))
    assert found.decision_function(X).dtype == np.float32
    assert_array_equal(found.decision_function(X), expected.decision_function(native))


@in_turns(WHOLE_NUMBERS, FULL_BATCH, WITH_BATCHES)
def test_whole_numbers_give_the_weights_of_floats(model, case):
    weights = weights_of(fitted(model, case(WHOLE)))
    assert_allclose(weights, weights_of(fitted(model, WHOLE)), rtol=1e-9, atol=1e-12)


@in_turns(BOOLEANS, FULL_BATCH, WITH_BATCHES)
def test_booleans_give_the_weights_of_zeros_and_ones(model, case):
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-6
    weights = weights_of(fitted(model, case(FLAGS)))
    assert_allclose(weights, weights_of(fitted(model, FLAGS)), rtol=tolerance, atol=tolerance)


def test_tensor_with_gradient_keeps_its_gradient():
    X = torch.tensor(REALS, requires_grad=True)
    fitted(WITH_BATCHES["mlp"], X)
    assert X.requires_grad
    assert X.grad is None


@pytest.mark.parametrize("make", [DENSE["pandas"], DENSE["polars"]], ids=["pandas", "polars"])
def test_frame_sets_the_feature_names(make):
    assert fitted(FULL_BATCH["newton"], make(REALS)).feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frame_with_other_names_is_an_error_at_predict(make):
    model = fitted(WITH_BATCHES["mlp"], make(dict(zip(NAMES, REALS.T, strict=True))))
    other = make(dict(zip([*NAMES[:-1], "other"], REALS.T, strict=True)))
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(other)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frame_with_names_in_other_order_is_an_error_at_predict(make):
    model = fitted(FULL_BATCH["newton"], make(dict(zip(NAMES, REALS.T, strict=True))))
    other = make(dict(zip(NAMES[::-1], REALS.T[::-1], strict=True)))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(other)


def test_frame_without_string_names_sets_no_names():
    assert not hasattr(fitted(FULL_BATCH["newton"], pd.DataFrame(REALS)), "feature_names_in_")


def test_float16_takes_no_more_memory_than_its_float32():
    values, y = long_table("float16")
    mlp, single = MAPPED_MODELS["mlp"], values.astype(np.float32)
    more = peak_of(lambda: fitted(mlp, values, y)) - peak_of(lambda: fitted(mlp, single, y))
    assert more < 1.1 * single.nbytes  # the copy in float32, and no other
