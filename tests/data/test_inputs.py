"""What can be handed in: containers of rows, kinds of labels, weights, images, held-out rows."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, GradientNormClipping

from skbinary import (
    PiecewiseLinearEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
)
from skbinary.data import rows as rows_module
from skbinary.data.scales import scale_difference
from skbinary.runtime import chunks

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]

RNG = np.random.RandomState(0)
REALS = RNG.normal(size=(120, 6))
WHOLE = RNG.randint(0, 5, size=(120, 6)).astype(float)
FLAGS = RNG.randint(0, 2, size=(120, 6)).astype(float)
Y = (REALS @ [1, -2, 0.5, 0, 1, 0] + WHOLE @ [1, -1, 0, 0, 0, 0] + RNG.normal(size=120) > 0) * 1
HOLED = np.where(RNG.rand(120, 6) < 0.6, 0, REALS)
NAMES = [f"x{i}" for i in range(6)]

FULL_BATCH = {
    "newton": TorchLogisticClassifier(solver="newton-cholesky", tol=1e-10),
    "lbfgs": TorchLogisticClassifier(solver="lbfgs", tol=1e-10, max_iter=1000),
}
WITH_BATCHES = {
    "logistic": TorchLogisticClassifier(
        solver="adam", max_iter=3, batch_size=32, random_state=0, learning_rate_init=0.05
    ),
    "mlp": TorchMLPClassifier((5,), max_iter=3, batch_size=32, random_state=0),
}
MLP_LBFGS = TorchMLPClassifier((3,), solver="lbfgs", max_iter=5, random_state=0, activation="tanh")


def by_name(table):
    return pytest.mark.parametrize("make", table.values(), ids=table.keys())


def models(*tables):
    merged = {name: model for table in tables for name, model in table.items()}
    return pytest.mark.parametrize("model", merged.values(), ids=merged.keys())


def weights_of(model):
    """Return all weights and biases in one vector."""
    if hasattr(model, "coefs_"):
        return np.concatenate([each.ravel() for each in [*model.coefs_, *model.intercepts_]])
    return np.concatenate([model.coef_.ravel(), model.intercept_])


def fitted(model, X, y=Y, *args, **kwargs):
    return clone(model).fit(X, y, *args, **kwargs)


# -- containers of rows -------------------------------------------------------------------------


def with_gaps(X):
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    return wide[::2, ::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def mixed_frame(X):
    frame = pd.DataFrame(X, columns=NAMES)
    return frame.astype({"x0": "float64", "x1": "Float64", "x2": object})


DENSE = {
    "list": lambda X: X.tolist(),
    "list of arrays": list,
    "fortran order": np.asfortranarray,
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "gaps": with_gaps,
    "read-only": read_only,
    "big endian": lambda X: X.astype(">f8"),
    "objects": lambda X: X.astype(object),
    "long double": lambda X: X.astype(np.longdouble),
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "pandas nullable": lambda X: pd.DataFrame(X, columns=NAMES).astype("Float64"),
    "pandas mixed": mixed_frame,
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "torch": lambda X: torch.tensor(X),
    "torch with gradient": lambda X: torch.tensor(X, requires_grad=True),
    "torch transposed": lambda X: torch.tensor(X.T.copy()).T,
}


def with_duplicates(X):
    """Store every number as two halves in unsorted order."""
    rows, columns = np.nonzero(X)
    order = np.random.RandomState(0).permutation(2 * len(rows))
    values = np.tile(X[rows, columns] / 2, 2)[order]
    coordinates = np.tile(rows, 2)[order], np.tile(columns, 2)[order]
    return sparse.coo_array((values, coordinates), shape=X.shape)


def csr_with_duplicates(X):
    rows = [np.repeat(np.flatnonzero(row)[::-1], 2) for row in X]
    values = np.concatenate([X[i, each] / 2 for i, each in enumerate(rows)])
    starts = np.cumsum([0, *map(len, rows)])
    return sparse.csr_array((values, np.concatenate(rows), starts), shape=X.shape)


def with_long_indices(X):
    table = sparse.csr_array(X)
    table.indices, table.indptr = table.indices.astype(np.int64), table.indptr.astype(np.int64)
    return table


def with_stored_zeros(X):
    table = sparse.csr_array(np.ones_like(X))
    table.data = X.ravel().copy()
    return table


SPARSE = {
    "csr array": sparse.csr_array,
    "csr matrix": sparse.csr_matrix,
    "csc array": sparse.csc_array,
    "csc matrix": sparse.csc_matrix,
    "coo array": sparse.coo_array,
    "coo matrix": sparse.coo_matrix,
    "lil matrix": sparse.lil_matrix,
    "long indices": with_long_indices,
    "long coo indices": lambda X: sparse.coo_array(with_long_indices(X)),
    "duplicates": with_duplicates,
    "csr with duplicates": csr_with_duplicates,
    "stored zeros": with_stored_zeros,
}

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


@models(WITH_BATCHES)
@by_name(DENSE)
def test_dense_container_with_batches_gives_bit_identical_weights(model, make):
    assert_array_equal(weights_of(fitted(model, make(REALS))), weights_of(fitted(model, REALS)))


@models(FULL_BATCH, {"mlp": MLP_LBFGS})
@by_name(DENSE)
def test_dense_container_on_full_batch_gives_the_arrays_weights(model, make):
    weights = weights_of(fitted(model, make(REALS)))
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


@models(FULL_BATCH, WITH_BATCHES)
@by_name(SPARSE)
def test_sparse_container_gives_the_dense_arrays_weights(model, make):
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-5
    weights = weights_of(fitted(model, make(HOLED)))
    assert_allclose(weights, weights_of(fitted(model, HOLED)), rtol=tolerance, atol=tolerance)


@by_name(SPARSE)
def test_sparse_container_is_scored_like_the_dense_array(make):
    model = fitted(FULL_BATCH["newton"], HOLED)
    scores = model.decision_function(make(HOLED))
    assert_allclose(scores, model.decision_function(HOLED), rtol=1e-11, atol=1e-12)


@by_name(SPARSE)
def test_sparse_container_is_unchanged(make):
    table = make(HOLED)
    parts = [name for name in ("data", "indices", "indptr", "row", "col") if hasattr(table, name)]
    before = {name: np.array(getattr(table, name), copy=True) for name in parts}
    fitted(FULL_BATCH["newton"], table).predict(table)
    for name in parts:
        assert_array_equal(getattr(table, name), before[name])


@models(FULL_BATCH, WITH_BATCHES)
@by_name(SINGLE)
def test_float32_container_gives_the_weights_of_the_same_numbers_in_float64(model, make):
    rounded = HOLED.astype(np.float32).astype(np.float64)
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-5
    weights = weights_of(fitted(model, make(rounded)))
    assert_allclose(weights, weights_of(fitted(model, rounded)), rtol=tolerance, atol=tolerance)


@by_name(SINGLE)
def test_float32_container_is_scored_in_float32(make):
    X = make(HOLED)
    model = fitted(FULL_BATCH["newton"], X)
    assert model.decision_function(X).dtype == np.float32


@models(FULL_BATCH, WITH_BATCHES)
@by_name(HALF)
def test_half_precision_container_gives_the_weights_of_the_same_numbers_in_float64(model, make):
    half = make(REALS)
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


@models(FULL_BATCH, WITH_BATCHES)
@pytest.mark.parametrize("X", STORED_AS_FLOAT16.values(), ids=STORED_AS_FLOAT16.keys())
def test_float16_gives_the_weights_of_its_float32(model, X):
    single = X.float() if isinstance(X, torch.Tensor) else X.astype(np.float32)
    found, expected = fitted(model, X), fitted(model, single)
    # A frame may be stored by columns or by rows, which are summed in another order.
    assert_allclose(weights_of(found), weights_of(expected), rtol=1e-12)
    scores = found.decision_function(X)
    assert scores.dtype == np.float32
    assert_allclose(scores, expected.decision_function(single), rtol=1e-5, atol=1e-5)


def test_float16_takes_no_more_memory_than_its_float32():
    values, y = long_table("float16")
    mlp, single = MAPPED_MODELS["mlp"], values.astype(np.float32)
    more = peak_of(lambda: fitted(mlp, values, y)) - peak_of(lambda: fitted(mlp, single, y))
    assert more < 1.1 * single.nbytes  # the copy in float32, and no other


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


def test_big_endian_labels_and_weights_give_the_weights_of_native_ones():
    weight = np.arange(1.0, 121)
    found = fitted(WITH_BATCHES["mlp"], REALS, Y.astype(">i8"), weight.astype(">f8"))
    assert_array_equal(weights_of(found), weights_of(fitted(WITH_BATCHES["mlp"], REALS, Y, weight)))


@models(FULL_BATCH, WITH_BATCHES)
@by_name(WHOLE_NUMBERS)
def test_whole_numbers_give_the_weights_of_floats(model, make):
    weights = weights_of(fitted(model, make(WHOLE)))
    assert_allclose(weights, weights_of(fitted(model, WHOLE)), rtol=1e-9, atol=1e-12)


@models(FULL_BATCH, WITH_BATCHES)
@by_name(BOOLEANS)
def test_booleans_give_the_weights_of_zeros_and_ones(model, make):
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-6
    weights = weights_of(fitted(model, make(FLAGS)))
    assert_allclose(weights, weights_of(fitted(model, FLAGS)), rtol=tolerance, atol=tolerance)


def test_tensor_with_gradient_keeps_its_gradient():
    X = torch.tensor(REALS, requires_grad=True)
    fitted(WITH_BATCHES["mlp"], X)
    assert X.requires_grad
    assert X.grad is None


@pytest.mark.parametrize("make", [DENSE["pandas"], DENSE["polars"]], ids=["pandas", "polars"])
@pytest.mark.parametrize("model", [FULL_BATCH["newton"], WITH_BATCHES["mlp"]])
def test_frame_sets_the_feature_names(model, make):
    assert fitted(model, make(REALS)).feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("model", [FULL_BATCH["newton"], WITH_BATCHES["mlp"]])
def test_frame_with_other_names_is_an_error_at_predict(model, make):
    model = fitted(model, make(dict(zip(NAMES, REALS.T, strict=True))))
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


def test_validation_frame_with_other_names_is_an_error():
    frame = pd.DataFrame(REALS, columns=NAMES)
    with pytest.raises(ValueError, match="The feature names should match"):
        fitted(WITH_BATCHES["mlp"], frame, X_val=frame.rename(columns={"x0": "other"}), y_val=Y)


# -- sparse rows stay sparse --------------------------------------------------------------------


@pytest.fixture
def dense_rows(monkeypatch):
    """Count the rows of every piece of a sparse table that is made dense, in short spans.

    Products of all pairs of rows, or of columns, are square, and dense by nature.
    """
    sizes = [0]
    to_dense = torch.Tensor.to_dense

    def count(self, *args, **kwargs):
        sizes.append(0 if self.shape[0] == self.shape[1] else self.shape[0])
        return to_dense(self, *args, **kwargs)

    def refuse(*args, **kwargs):
        raise AssertionError("a sparse table was made dense by scipy")

    monkeypatch.setattr(torch.Tensor, "to_dense", count)
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(kind, name, refuse)
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 1)
    return sizes


LONG_SPARSE = sparse.csr_array(np.tile(HOLED, (30, 1)))
LONG_SPARSE_Y = np.tile(Y, 30)
WIDE = sparse.random(300, 50_000, density=1e-4, format="csr", random_state=0)
WIDE_Y = np.arange(300) % 2


@models(FULL_BATCH, WITH_BATCHES, {"mlp lbfgs": MLP_LBFGS})
def test_sparse_rows_are_never_made_dense_whole(model, dense_rows):
    model = clone(model).set_params(max_iter=2).fit(LONG_SPARSE, LONG_SPARSE_Y)
    model.predict(LONG_SPARSE)
    assert max(dense_rows) <= 1024 < len(LONG_SPARSE_Y)


def test_sparse_validation_rows_are_never_made_dense_whole(dense_rows):
    model = clone(WITH_BATCHES["mlp"])
    model.fit(sparse.csr_array(HOLED), Y, X_val=LONG_SPARSE, y_val=LONG_SPARSE_Y)
    assert max(dense_rows) <= 1024


def test_sparse_rows_that_are_held_out_are_never_made_dense_whole(dense_rows):
    model = clone(WITH_BATCHES["mlp"]).set_params(early_stopping=True, validation_fraction=0.5)
    assert len(model.fit(LONG_SPARSE, LONG_SPARSE_Y).validation_loss_curve_) == 3
    assert max(dense_rows) <= 1024


def test_sparse_validation_rows_beside_a_batch_callback_are_never_made_dense_whole(dense_rows):
    model = clone(WITH_BATCHES["mlp"]).set_params(callbacks=[GradientNormClipping(1.0)])
    model.fit(sparse.csr_array(HOLED), Y, X_val=LONG_SPARSE, y_val=LONG_SPARSE_Y)
    assert max(dense_rows) <= 1024


@pytest.mark.parametrize("solver", ["auto", "adam"])
def test_sparse_rows_with_very_many_features_are_never_made_dense(solver, dense_rows):
    model = TorchLogisticClassifier(solver=solver, max_iter=2).fit(WIDE, WIDE_Y)
    assert model.coef_.shape == (1, 50_000)
    assert max(dense_rows) == 0


def test_sparse_rows_that_are_empty_score_the_intercept():
    X = HOLED.copy()
    X[::5] = 0
    model = fitted(FULL_BATCH["newton"], sparse.csr_array(X))
    scores = model.decision_function(sparse.csr_array((3, 6)))
    assert_allclose(scores, np.repeat(model.intercept_, 3), rtol=1e-12)


@models(FULL_BATCH, WITH_BATCHES)
def test_sparse_rows_of_which_some_are_empty_give_the_dense_weights(model):
    X = HOLED.copy()
    X[::5] = 0
    X[-1] = 0
    X[0] = 0
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-5
    weights = weights_of(fitted(model, sparse.csr_array(X)))
    assert_allclose(weights, weights_of(fitted(model, X)), rtol=tolerance, atol=tolerance)


# -- memory maps --------------------------------------------------------------------------------


def mapped(tmp_path, values):
    tmp_path.mkdir(exist_ok=True)
    np.save(tmp_path / "rows.npy", values)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.fixture
def reads(monkeypatch):
    """Count the rows of every read from a memory map, with spans as short as they get."""
    sizes = []
    batch = rows_module.MappedRows.batch

    def spy(self, index):
        rows = batch(self, index)
        sizes.append(rows.shape[0])
        return rows

    monkeypatch.setattr(rows_module.MappedRows, "batch", spy)
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 1)
    return sizes


def long_table(dtype, shape=(8000, 64)):
    X = np.random.RandomState(0).randint(0, 200, size=shape).astype(dtype)
    return X, (X.reshape(len(X), -1)[:, 0] > 100).astype(int)


def peak_of(function):
    """Return the most bytes that numpy held at once."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MAPPED_MODELS = {
    "mlp": TorchMLPClassifier((4,), max_iter=1, random_state=0),
    "early stopping": TorchMLPClassifier((4,), max_iter=1, random_state=0, early_stopping=True),
    "logistic": TorchLogisticClassifier(solver="sgd", max_iter=1, random_state=0),
}


@models(MAPPED_MODELS)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", "float16"])
def test_memory_map_is_read_batch_by_batch(tmp_path, reads, model, dtype):
    values, y = long_table(dtype)
    fitted(model, mapped(tmp_path, values), y)
    assert 0 < max(reads) <= 1024


@models(MAPPED_MODELS)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float16"])
@pytest.mark.usefixtures("reads")
def test_memory_map_is_never_converted_whole(tmp_path, model, dtype):
    values, y = long_table(dtype)
    X = mapped(tmp_path, values)
    assert peak_of(lambda: fitted(model, X, y)) < values.size * 2


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_memory_map_is_scored_in_chunks(tmp_path, reads, dtype):
    values, y = long_table(dtype)
    model = fitted(MAPPED_MODELS["mlp"], values[:500], y[:500])
    scores = model.decision_function(mapped(tmp_path, values))
    assert max(reads) <= 1024
    assert_allclose(scores, model.decision_function(values), rtol=1e-5, atol=1e-5)


@models(MAPPED_MODELS)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", "float16"])
def test_memory_map_gives_the_arrays_weights_bit_for_bit(tmp_path, model, dtype):
    values, y = long_table(dtype, (1000, 8))
    weights = weights_of(fitted(model, mapped(tmp_path, values), y))
    assert_array_equal(weights, weights_of(fitted(model, values, y)))


@pytest.mark.parametrize("model", FULL_BATCH.values(), ids=FULL_BATCH.keys())
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
def test_memory_map_on_full_batch_gives_the_arrays_weights(tmp_path, model, dtype):
    values = WHOLE.astype(dtype)
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
    expected = bce(model.decision_function(values), y, None)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-4)


@models(MAPPED_MODELS, {"newton": FULL_BATCH["newton"]})
@pytest.mark.parametrize("dtype", [">f8", ">f4", ">f2", ">i4", ">u2"])
def test_memory_map_of_the_other_byte_order_gives_the_weights_of_the_native_one(
    tmp_path, model, dtype
):
    values, y = long_table(dtype, (1000, 8))
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


# -- unusual tables -----------------------------------------------------------------------------


def oracle(X, y, **kwargs):
    model = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y, **kwargs)
    return np.concatenate([model.coef_.ravel(), model.intercept_])


TABLES = {
    "one feature": (REALS[:, :1], Y),
    "more features than rows": (RNG.normal(size=(20, 60)), np.arange(20) % 2),
    "constant column": (np.column_stack([REALS, np.full(120, 3.0)]), Y),
    "column of zeros": (np.column_stack([REALS, np.zeros(120)]), Y),
    "twin columns": (np.column_stack([REALS, REALS]), Y),
    "two rows": (REALS[:2], np.array([0, 1])),
}


@models(FULL_BATCH)
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_logistic_on_an_extreme_table_finds_the_optimum_of_scikit_learn(model, table, kind):
    X, y = table
    assert_allclose(weights_of(fitted(model, kind(X), y)), oracle(X, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_network_on_an_extreme_table_trains(table, kind):
    X, y = table
    model = fitted(WITH_BATCHES["mlp"], kind(X), y)
    assert np.isfinite(model.predict_proba(kind(X))).all()


# -- labels -------------------------------------------------------------------------------------

LABELS = {
    "ints": np.array([0, 1]),
    "other ints": np.array([3, 7]),
    "uint8": np.array([0, 1], dtype=np.uint8),
    "signs": np.array([-1, 1]),
    "floats": np.array([0.0, 1.0]),
    "float signs": np.array([-1.0, 1.0]),
    "bools": np.array([False, True]),
    "strings": np.array(["ham", "spam"]),
    "objects": np.array(["ham", "spam"], dtype=object),
}
KINDS = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
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


@models(LABELLED)
@KINDS
def test_labels_of_any_kind_give_the_weights_of_zero_and_one(model, labels):
    assert_array_equal(
        weights_of(fitted(model, REALS, labels[Y])), weights_of(fitted(model, REALS))
    )


@models(LABELLED)
@KINDS
def test_predict_returns_labels_of_the_type_of_y(model, labels):
    model = fitted(model, REALS, labels[Y])
    assert_array_equal(model.classes_, np.unique(labels))
    predicted = model.predict(REALS)
    assert_array_equal(predicted, labels[(model.decision_function(REALS) >= 0) * 1])
    assert predicted.dtype == model.classes_.dtype


@KINDS
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


@KINDS
def test_validation_labels_of_any_kind_give_the_loss_of_zero_and_one(labels):
    losses = [
        fitted(
            WITH_BATCHES["mlp"], REALS[:80], each[Y[:80]], X_val=REALS[80:], y_val=each[Y[80:]]
        ).validation_loss_curve_
        for each in (labels, LABELS["ints"])
    ]
    assert losses[0] == losses[1]


# -- weights ------------------------------------------------------------------------------------

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
TABLE_KINDS = pytest.mark.parametrize(
    "kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"]
)


@models(FULL_BATCH)
@TABLE_KINDS
def test_weight_on_full_batch_is_the_row_so_many_times(model, kind):
    weighted = fitted(model, kind(HOLED), Y, sample_weight=COUNTS)
    repeated = fitted(model, kind(HOLED[REPEATED]), Y[REPEATED])
    assert_allclose(weights_of(weighted), weights_of(repeated), rtol=1e-9, atol=1e-9)


def test_weight_on_full_batch_network_is_the_row_so_many_times():
    weighted = fitted(MLP_LBFGS, REALS, Y, sample_weight=COUNTS)
    repeated = fitted(MLP_LBFGS, REALS[REPEATED], Y[REPEATED])
    assert_allclose(weights_of(weighted), weights_of(repeated), rtol=1e-6, atol=1e-8)


@models(ONE_BATCH)
@TABLE_KINDS
def test_weight_in_one_batch_is_the_row_so_many_times_to_the_bit(model, kind):
    weighted = fitted(model, kind(HOLED), Y, sample_weight=COUNTS)
    repeated = fitted(model, kind(HOLED[REPEATED]), Y[REPEATED])
    assert_array_equal(weights_of(weighted), weights_of(repeated))


@models(ONE_BATCH)
def test_weight_in_one_batch_gives_the_curves_of_the_row_so_many_times(model):
    weighted = fitted(model, REALS, Y, sample_weight=COUNTS).history_
    repeated = fitted(model, REALS[REPEATED], Y[REPEATED]).history_
    for name in set(weighted) - {"seconds"}:
        assert_allclose(weighted[name], repeated[name], rtol=1e-6)


@models(ONE_BATCH, HELD_OUT)
def test_weight_zero_in_one_batch_is_the_row_absent_to_the_bit(model):
    weight = (np.arange(120) % 3 > 0).astype(float)
    weighted = fitted(model, REALS, Y, sample_weight=weight)
    absent = fitted(model, REALS[weight > 0], Y[weight > 0])
    assert_array_equal(weights_of(weighted), weights_of(absent))


@models(FULL_BATCH, WITH_BATCHES)
@TABLE_KINDS
def test_weight_zero_is_the_row_absent(model, kind):
    weight = (np.arange(120) % 3 > 0).astype(float)
    weighted = fitted(model, kind(HOLED), Y, sample_weight=weight)
    absent = fitted(model, kind(HOLED[weight > 0]), Y[weight > 0])
    assert_allclose(weights_of(weighted), weights_of(absent), rtol=1e-9, atol=1e-9)


@models(FULL_BATCH, WITH_BATCHES)
def test_weights_of_one_are_no_weights(model):
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
def test_class_weight_as_dict_is_the_same_sample_weights(model):
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
def test_class_weight_balanced_is_the_same_sample_weights(model):
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


# -- scores and validation ----------------------------------------------------------------------


@models(FULL_BATCH, WITH_BATCHES, {"mlp lbfgs": MLP_LBFGS})
@TABLE_KINDS
def test_score_of_a_row_is_that_of_the_row_alone(model, kind):
    model = fitted(model, kind(HOLED))
    together = model.decision_function(kind(HOLED))
    alone = [model.decision_function(kind(HOLED[i : i + 1]))[0] for i in range(30)]
    assert_allclose(together[:30], alone, rtol=1e-11, atol=1e-12)


def test_score_of_a_row_in_a_long_table_is_that_of_the_row_alone(monkeypatch):
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 1)
    model = fitted(WITH_BATCHES["mlp"], REALS)
    X = np.random.RandomState(0).normal(size=(3000, 6))
    together = model.decision_function(X)
    alone = np.concatenate([model.decision_function(X[i : i + 7]) for i in range(0, 3000, 7)])
    assert_allclose(together, alone, rtol=1e-11, atol=1e-12)


def bce(scores, y, weight):
    return np.average(np.logaddexp(0, scores) - y * scores, weights=weight)


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
    expected = bce(model.decision_function(HOLED[80:]), Y[80:], weight)
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


def test_validation_loss_with_class_weights_weighs_the_classes():
    model = clone(FULL_BATCH["newton"]).set_params(class_weight={1: 4.0})
    model.fit(REALS[:80], Y[:80], X_val=REALS[80:], y_val=Y[80:])
    expected = bce(model.decision_function(REALS[80:]), Y[80:], np.where(Y[80:] == 1, 4.0, 1.0))
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_validation_rows_leave_the_weights_alone():
    plain = fitted(WITH_BATCHES["mlp"], REALS[:80], Y[:80])
    watched = fitted(WITH_BATCHES["mlp"], REALS[:80], Y[:80], X_val=REALS[80:], y_val=Y[80:])
    assert_array_equal(weights_of(plain), weights_of(watched))


@pytest.mark.parametrize("kind", [*DENSE.values(), *SPARSE.values()], ids=[*DENSE, *SPARSE])
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
    expected = bce(model.decision_function(REALS), Y, weight)
    assert model.loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


# -- images -------------------------------------------------------------------------------------

IMAGES = np.random.RandomState(0).rand(60, 3, 8, 8)
FLAT = IMAGES.reshape(60, -1)
IMAGE_CONTAINERS = {
    "array": np.asarray,
    "fortran order": np.asfortranarray,
    "channels last, moved": lambda X: np.moveaxis(np.moveaxis(X, 1, 3).copy(), 3, 1),
    "torch": torch.tensor,
    "torch channels last": lambda X: torch.tensor(X).to(memory_format=torch.channels_last),
    "list": lambda X: X.tolist(),
    "list of arrays": list,
}
IMAGE_MLP = WITH_BATCHES["mlp"]


@by_name(IMAGE_CONTAINERS)
def test_images_give_the_weights_of_flat_rows(make):
    flat = weights_of(fitted(IMAGE_MLP, FLAT, Y[:60]))
    assert_array_equal(weights_of(fitted(IMAGE_MLP, make(IMAGES), Y[:60])), flat)


@by_name(IMAGE_CONTAINERS)
def test_images_are_scored_like_flat_rows(make):
    flat = fitted(IMAGE_MLP, FLAT, Y[:60]).decision_function(FLAT)
    scores = fitted(IMAGE_MLP, IMAGES, Y[:60]).decision_function(make(IMAGES))
    assert_allclose(scores, flat, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_images_of_any_precision_give_the_weights_of_flat_rows(dtype):
    images = (IMAGES * 255).astype(dtype)
    flat = weights_of(fitted(IMAGE_MLP, images.reshape(60, -1), Y[:60]))
    assert_array_equal(weights_of(fitted(IMAGE_MLP, images, Y[:60])), flat)


def test_images_set_the_sample_shape():
    model = fitted(IMAGE_MLP, IMAGES, Y[:60])
    assert model.sample_shape_ == (3, 8, 8)
    assert model.n_features_in_ == 192


def test_images_then_flat_rows_remove_the_sample_shape():
    model = fitted(IMAGE_MLP, IMAGES, Y[:60]).fit(FLAT, Y[:60])
    assert not hasattr(model, "sample_shape_")


OTHER_SHAPES = {
    "flat": FLAT,
    "other order": IMAGES.transpose(0, 2, 3, 1),
    "smaller": IMAGES[:, :, :4],
    "three-dimensional": IMAGES.reshape(60, 3, 64),
    "tensor": torch.tensor(FLAT),
}


@pytest.mark.parametrize("other", OTHER_SHAPES.values(), ids=OTHER_SHAPES.keys())
def test_images_of_another_shape_are_an_error_at_predict(other):
    model = fitted(IMAGE_MLP, IMAGES, Y[:60])
    message = r"The samples in X must have the shape \(3, 8, 8\), as in fit, got \("
    with pytest.raises(ValueError, match=message):
        model.predict(other)


def test_images_after_flat_rows_are_an_error_at_predict():
    model = fitted(IMAGE_MLP, FLAT, Y[:60])
    with pytest.raises(ValueError, match=r"must have the shape \(192,\), as in fit"):
        model.predict(IMAGES)


def test_images_as_validation_rows_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\)"):
        fitted(IMAGE_MLP, IMAGES, Y[:60], X_val=FLAT, y_val=Y[:60])


def test_images_as_validation_rows_give_the_loss_of_flat_rows():
    curves = [
        fitted(IMAGE_MLP, X[:40], Y[:40], X_val=X[40:], y_val=Y[40:60]).validation_loss_curve_
        for X in (IMAGES, FLAT)
    ]
    assert curves[0] == curves[1]


def test_images_in_partial_fit_keep_their_shape():
    model = clone(IMAGE_MLP).partial_fit(IMAGES, Y[:60])
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\)"):
        model.partial_fit(FLAT, Y[:60])


@pytest.mark.parametrize("X", [IMAGES, torch.tensor(IMAGES)], ids=["array", "tensor"])
def test_images_for_a_logistic_regression_are_an_error(X):
    with pytest.raises(ValueError, match=r"dim 4|2-dimensional"):
        TorchLogisticClassifier().fit(X, Y[:60])


def test_probabilities_are_expit_of_the_logits():
    model = fitted(FULL_BATCH["newton"], REALS)
    expected = expit(model.decision_function(REALS))
    assert_array_equal(model.predict_proba(REALS)[:, 1], expected)


# -- the scale of validation rows -----------------------------------------------------------------

CELLS, BENIGN = load_breast_cancer(return_X_y=True)
SCALED = StandardScaler().fit_transform(CELLS)
QUICK = TorchMLPClassifier((4,), max_iter=2, random_state=0)
OTHER_SCALE = "^The columns of X_val must be on the scale of those of X, got the "


def fit_quietly(*args, **kwargs):
    """Fit, where a warning of the scale is an error."""
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


@by_name(CONTAINERS)
@pytest.mark.parametrize("model", [QUICK, TorchLogisticClassifier()])
def test_validation_rows_on_another_scale_warn(model, make):
    with pytest.warns(UserWarning, match=OTHER_SCALE):
        fitted(model, make(SCALED[150:]), BENIGN[150:], X_val=make(CELLS[:150]), y_val=BENIGN[:150])


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


@pytest.mark.parametrize("n_val", [10, 30, 150])
@pytest.mark.parametrize("X", [CELLS, SCALED, CELLS.astype(np.float32)])
def test_validation_rows_of_an_ordinary_split_do_not_warn(X, n_val):
    for seed in range(5):
        order = np.random.RandomState(seed).permutation(len(X))
        held, own = order[:n_val], order[n_val:]
        model = fit_quietly(QUICK, X[own], BENIGN[own], X_val=X[held], y_val=BENIGN[held])
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


def test_scale_of_a_memory_map_is_estimated_from_a_few_rows(tmp_path):
    X = mapped(tmp_path, np.random.RandomState(0).rand(20000, 50).astype(np.float32))
    peak = peak_of(lambda: scale_difference(X, np.asarray(X[:100]) * 100))
    assert scale_difference(X, np.asarray(X[:100]) * 100).n_columns == 50
    assert peak < X.nbytes / 4


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
