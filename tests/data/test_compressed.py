"""Columns that mostly hold one value: found, multiplied, and trained on like all others."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import scale

from skbinary import TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data import compressed as compressed_module
from skbinary.data.compressed import CompressedBatch, compress
from skbinary.data.rows import DenseRows
from skbinary.data.sparse import DenseMatrices, SparseMatrix

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_ROWS = 1_000


def one_hot(n_rows=N_ROWS, n_numeric=4, categories=(7, 12, 30, 41), seed=0):
    """Draw a table of numbers and one-hot columns, most of which are rarely one, and scale it."""
    random = np.random.default_rng(seed)
    drawn = [np.minimum(random.geometric(0.2, n_rows), n) - 1 for n in categories]
    columns = [np.eye(n)[each] for n, each in zip(categories, drawn, strict=True)]
    numbers = random.normal(size=(n_rows, n_numeric))
    return scale(np.hstack([numbers, *columns])).astype(np.float32)


X = one_hot()
Y = (X[:, 0] + X[:, 6] + np.random.default_rng(1).normal(size=N_ROWS) > 0).astype(int)


def compressed(X):
    return compress(DenseRows(torch.as_tensor(X), torch.float32))


@pytest.fixture
def batches(monkeypatch):
    """Count the batches that are multiplied in compressed form."""
    calls, original = [], CompressedBatch.affine_into

    def noted(self, *args):
        calls.append(args)
        return original(self, *args)

    monkeypatch.setattr(CompressedBatch, "affine_into", noted)
    return calls


@pytest.fixture
def never(monkeypatch):
    """Make compression never pay off."""

    def forbid():
        monkeypatch.setattr(compressed_module, "_MIN_SAVED_PRODUCTS", float("inf"))

    return forbid


@pytest.fixture
def always(monkeypatch):
    """Make compression always pay off."""
    monkeypatch.setattr(compressed_module, "_MIN_SAVED_PRODUCTS", 0)


# -- which columns ---------------------------------------------------------------------------------


def test_compress_chooses_columns_that_mostly_hold_one_value():
    different = (np.array([np.median(column) for column in X.T], np.float32) != X).mean(axis=0)
    wanted = np.flatnonzero(different > compressed_module._MAX_SPARSE_FRACTION)
    rows = compressed(X)
    assert_array_equal(rows.columns.dense, wanted)
    assert_array_equal(rows.dense, X[:, wanted])
    fill_values = np.where(
        different > compressed_module._MAX_SPARSE_FRACTION, 0, np.median(X, axis=0)
    )
    assert_array_equal(rows.columns.fill_values[:, 0], fill_values)
    assert_allclose(
        rows.sparse.toarray()[:, 4:] + fill_values[4:], np.where(fill_values, X, 0)[:, 4:]
    )


@pytest.mark.parametrize("name", ["numbers", "float64", "half zero"])
def test_compress_without_such_columns_returns_none(name):
    numbers = torch.randn(N_ROWS, 50, generator=torch.Generator().manual_seed(0))
    tables = {
        "numbers": DenseRows(numbers, torch.float32),
        "float64": DenseRows(torch.as_tensor(X, dtype=torch.float64), torch.float64),
        "half zero": DenseRows(numbers.clamp(min=0), torch.float32),
    }
    assert compress(tables[name]) is None


def test_compress_fill_value_rare_outside_the_sample_is_not_compressed():
    # The rows of the sample are alike, and no others are.
    table = torch.randn(5_000, 3, generator=torch.Generator().manual_seed(0))
    table[:: -(-5_000 // compressed_module._SAMPLE_ROWS)] = 1.0
    assert compress(DenseRows(table, torch.float32)) is None


def test_compress_constant_column_stores_nothing():
    table = np.column_stack([X, np.full(N_ROWS, 3, np.float32)])
    rows = compressed(table)
    assert table.shape[1] - 1 not in rows.columns.dense
    assert rows.sparse.nnz == compressed(X).sparse.nnz


# -- products --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("own_rows", [False, True])
@pytest.mark.parametrize("keeps", ["some", "none"])
@pytest.mark.parametrize("aligned", [True, False])
def test_compressed_products_equal_those_of_the_dense_table(n_models, own_rows, keeps, aligned):
    table = torch.as_tensor(X)
    if keeps == "none":
        table = table[:, compressed(X).columns.fill_values[:, 0] != 0].contiguous()
    rows = compress(DenseRows(table, torch.float32))
    assert (len(rows.columns.dense) == 0) == (keeps == "none")
    generator = torch.Generator().manual_seed(0)
    width, size, n_features = 9, 300, table.shape[1]
    gap = 2 * width if aligned else 1
    memory = torch.randn(n_models, n_features * width + gap, generator=generator)
    weights = memory[:, : n_features * width].view(n_models, n_features, width)
    bias = torch.randn(n_models, 1, width, generator=generator)
    orders = [torch.randperm(N_ROWS, generator=generator) for _ in range(n_models)]
    where = torch.stack(orders if own_rows else orders[:1])
    made = rows.batches_per_model(where, size) if own_rows else rows.batch(where[0]).split(size)
    assert len(made) == 4
    for batch, index in zip(made, torch.split(where, size, dim=1), strict=True):
        dense = table[index].double()
        out = torch.empty(n_models, index.shape[1], width)
        errors = torch.randn(out.shape, generator=generator)
        slopes = torch.empty(n_models, n_features, width)
        for own_bias in (bias, None):
            with_bias = dense @ weights.double() + (0 if own_bias is None else own_bias)
            if n_models == 1:
                single = None if own_bias is None else own_bias[0]
                batch.affine_into(single, weights[0], out[0])
                batch.transposed_matmul_into(errors[0], slopes[0])
            else:
                batch.affine_into(own_bias, weights, out)
                batch.transposed_matmul_into(errors, slopes)
            assert_allclose(out, with_bias, atol=2e-5)
            assert_allclose(slopes, dense.mT @ errors.double(), atol=2e-4)


def test_compressed_batch_can_be_split():
    rows = compressed(X)
    whole = rows.batch(torch.arange(400)).split(200)[1]
    weights = torch.randn(X.shape[1], 8, generator=torch.Generator().manual_seed(0))
    out = torch.empty(50, 8)
    whole.split(50)[2].affine_into(None, weights, out)
    assert_allclose(out, X[300:350] @ weights.numpy(), atol=1e-5)


def test_compressed_view_selects_rows_of_the_table():
    chosen = torch.arange(0, N_ROWS, 3)
    rows = compressed(X)
    weights = torch.randn(X.shape[1], 8, generator=torch.Generator().manual_seed(0))
    out = torch.empty(10, 8)
    rows.view(chosen).batch(torch.arange(10)).split(10)[0].affine_into(None, weights, out)
    assert_allclose(out, X[chosen[:10]] @ weights.numpy(), atol=1e-5)


def test_sparse_matrix_without_values_gives_zeros():
    empty = torch.zeros(0, dtype=torch.int64)
    matrix = SparseMatrix(torch.zeros(3, dtype=torch.int64), empty, torch.zeros(0))
    assert_array_equal(matrix.matmul(DenseMatrices.of(torch.ones(2, 4, 8))), np.zeros((2, 3, 8)))


# -- networks --------------------------------------------------------------------------------------


def network(**params):
    params = {"max_iter": 4, "batch_size": 64, "random_state": 0, "alpha": 1e-3, **params}
    return TorchMLPClassifier((24, 8), **params)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": True, "max_iter": 20},
        {"n_members": 3},
        {"dropout": 0.3},
        {"class_weight": "balanced"},
        {"batch_size": 800},
    ],
    ids=lambda params: next(iter(params), "plain"),
)
def test_fit_on_compressed_rows_equals_that_on_dense_rows(params, always, batches, never):
    first = network(**params).fit(X, Y)
    assert len(batches) > 0
    batches.clear()
    never()
    second = network(**params).fit(X, Y)
    assert len(batches) == 0
    assert_allclose(first.decision_function(X), second.decision_function(X), atol=5e-4)
    assert first.n_iter_ == second.n_iter_
    assert_allclose(first.loss_curve_, second.loss_curve_, rtol=1e-4)


def test_pays_off_for_wide_layers_and_large_batches_only(batches):
    network(batch_size=8).fit(X, Y)
    assert len(batches) == 0
    TorchMLPClassifier((256,), batch_size=256, max_iter=2, random_state=0).fit(X, Y)
    assert len(batches) == 8


def test_partial_fit_does_not_compress(always, batches):
    model = network(shuffle=False)
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1])
    assert len(batches) == 0
    whole = network(shuffle=False, max_iter=3, early_stopping=False).fit(X, Y)
    assert len(batches) == 3 * 16
    assert_allclose(model.decision_function(X), whole.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("params", [{}, {"n_members": 2}, {"dropout": 0.2}])
def test_search_on_compressed_rows_gives_the_scores_of_single_fits(params, always, batches):
    grid = {"torchmlpclassifier__learning_rate_init": [1e-3, 1e-2]}
    pipeline = make_pipeline("passthrough", network(**params))
    fast = VectorizedGridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X, Y)
    assert len(batches) > 0
    slow = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X, Y)
    for split in range(3):
        name = f"split{split}_test_score"
        assert_allclose(fast.cv_results_[name], slow.cv_results_[name], rtol=0, atol=1e-6)


def test_search_compresses_each_table_once(always, monkeypatch):
    seen, original = [], compressed_module.compress

    def noted(rows):
        seen.append(rows)
        return original(rows)

    monkeypatch.setattr("skbinary.data.preparation.compress", noted)
    grid = {"learning_rate_init": [1e-3, 1e-2], "alpha": [0.0, 1e-3]}
    VectorizedGridSearchCV(network(), grid, cv=3, refit=False).fit(X, Y)
    assert len(seen) == 3
    seen.clear()
    clone(network(n_members=3)).fit(X, Y)
    assert len(seen) == 1


def test_fit_on_rows_that_cannot_be_compressed_is_unchanged(always, batches):
    numbers, labels = make_classification(300, 40, random_state=0)
    network().fit(numbers, labels)
    assert len(batches) == 0
