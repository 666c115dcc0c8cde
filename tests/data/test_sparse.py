"""Sparse rows: every layout, and never a dense copy of the whole table."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping

from skbinary import TorchLogisticClassifier
from skbinary.runtime import chunks
from tests.data.models import (
    FULL_BATCH,
    HOLED,
    MLP_LBFGS,
    QUIET,
    SPARSE,
    WITH_BATCHES,
    Y,
    by_name,
    fitted,
    in_turns,
    models,
    weights_of,
)

pytestmark = QUIET


@in_turns(SPARSE, FULL_BATCH, WITH_BATCHES)
def test_sparse_container_gives_the_dense_arrays_weights(model, case):
    tolerance = 1e-8 if model in FULL_BATCH.values() else 1e-5
    weights = weights_of(fitted(model, case(HOLED)))
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


@pytest.fixture
def dense_rows(monkeypatch):
    """Count the rows of every chunk of a sparse table that is made dense, in small chunks.

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
