"""Memory maps: read in batches, never converted as a whole."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skbinary.data import rows as rows_module
from skbinary.runtime import chunks
from tests.data.models import (
    FULL_BATCH,
    MAPPED_MODELS,
    QUIET,
    REALS,
    WHOLE,
    fitted,
    in_turns,
    log_loss,
    long_table,
    mapped,
    peak_of,
    weights_of,
)

pytestmark = QUIET

DTYPES = {each: each for each in ("float32", "uint8", "float64", "float16")}


@pytest.fixture
def reads(monkeypatch):
    """Count the rows of every read from a memory map, with chunks as short as they get."""
    sizes = []
    batch = rows_module.MappedRows.batch

    def spy(self, index):
        rows = batch(self, index)
        sizes.append(rows.shape[0])
        return rows

    monkeypatch.setattr(rows_module.MappedRows, "batch", spy)
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 1)
    return sizes


@in_turns(DTYPES, MAPPED_MODELS)
def test_memory_map_is_read_batch_by_batch(tmp_path, reads, model, case):
    values, y = long_table(case)
    fitted(model, mapped(tmp_path, values), y)
    assert 0 < max(reads) <= 1024


@in_turns({"uint8": "uint8", "float16": "float16", "float32": "float32"}, MAPPED_MODELS)
@pytest.mark.usefixtures("reads")
def test_memory_map_is_never_converted_whole(tmp_path, model, case):
    values, y = long_table(case)
    X = mapped(tmp_path, values)
    assert peak_of(lambda: fitted(model, X, y)) < values.size * 2


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_memory_map_is_scored_in_chunks(tmp_path, reads, dtype):
    values, y = long_table(dtype)
    model = fitted(MAPPED_MODELS["mlp"], values[:500], y[:500])
    scores = model.decision_function(mapped(tmp_path, values))
    assert max(reads) <= 1024
    assert_allclose(scores, model.decision_function(values), rtol=1e-5, atol=1e-5)


@in_turns(DTYPES, dict(reversed(MAPPED_MODELS.items())))
def test_memory_map_gives_the_arrays_weights_bit_for_bit(tmp_path, model, case):
    values, y = long_table(case, (1000, 8))
    weights = weights_of(fitted(model, mapped(tmp_path, values), y))
    assert_array_equal(weights, weights_of(fitted(model, values, y)))


@in_turns(DTYPES, FULL_BATCH)
def test_memory_map_on_full_batch_gives_the_arrays_weights(tmp_path, model, case):
    values = WHOLE.astype(case)
    weights = weights_of(fitted(model, mapped(tmp_path, values)))
    assert_allclose(weights, weights_of(fitted(model, values)), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_memory_map_of_images_is_read_batch_by_batch(tmp_path, reads, dtype):
    images, y = long_table(dtype, (4000, 3, 4, 4))
    model = fitted(MAPPED_MODELS["mlp"], mapped(tmp_path, images), y)
    assert 0 < max(reads) <= 1024
    assert_array_equal(weights_of(model), weights_of(fitted(MAPPED_MODELS["mlp"], images, y)))


def test_memory_map_as_validation_rows_is_read_in_chunks(tmp_path, reads):
    values, y = long_table("uint8")
    X = mapped(tmp_path, values)
    model = fitted(MAPPED_MODELS["mlp"], values[:500], y[:500], X_val=X, y_val=y)
    assert max(reads) <= 1024
    expected = log_loss(model.decision_function(values), y, None)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-4)


@in_turns(
    {each: each for each in (">f8", ">f4", ">f2", ">i4", ">u2")},
    {"mlp": MAPPED_MODELS["mlp"]},
    {"newton": FULL_BATCH["newton"]},
)
def test_memory_map_of_the_other_byte_order_gives_the_weights_of_the_native_one(
    tmp_path, model, case
):
    values, y = long_table(case, (1000, 8))
    X = mapped(tmp_path, values)
    native = mapped(tmp_path / "native", values.astype(values.dtype.newbyteorder("=")))
    assert not X.dtype.isnative
    found, expected = fitted(model, X, y), fitted(model, native, y)
    assert_array_equal(weights_of(found), weights_of(expected))
    scores = found.decision_function(X)
    assert scores.dtype == expected.decision_function(native).dtype
    assert_array_equal(scores, expected.decision_function(native))


def test_memory_map_of_the_other_byte_order_validates_like_the_native_one(tmp_path):
    values, y = long_table(">f4", (1000, 8))
    X, native = mapped(tmp_path, values), values.astype(np.float32)
    mlp = MAPPED_MODELS["mlp"]
    found = fitted(mlp, native, y, X_val=X, y_val=y).validation_loss_curve_
    assert found == fitted(mlp, native, y, X_val=native, y_val=y).validation_loss_curve_


def test_memory_map_of_float16_is_scored_in_float32(tmp_path):
    values, y = long_table("float16", (500, 8))
    model = fitted(MAPPED_MODELS["mlp"], values, y)
    scores = model.decision_function(mapped(tmp_path, values))
    assert scores.dtype == np.float32
    assert_array_equal(scores, model.decision_function(values.astype(np.float32)))


def test_memory_map_with_nan_is_an_error(tmp_path):
    values = REALS.astype(np.float32)
    values[7, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted(MAPPED_MODELS["mlp"], mapped(tmp_path, values))
