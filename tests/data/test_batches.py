"""Products of sparse batches against those of dense ones."""

import pytest
import torch

from skbinary.data import batches
from skbinary.data.batches import DenseBatch, SparseBatch
from skbinary.runtime import chunks


def make_sparse(n_rows=40, n_columns=7):
    """Return a sparse batch and its dense values."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(n_rows, n_columns, generator=generator, dtype=torch.float64)
    dense *= torch.rand(n_rows, n_columns, generator=generator) < 0.3
    dense[3] = 0.0  # an empty row
    return SparseBatch(dense.to_sparse_csr()), dense


def make_weights(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 3)])
def test_sum_products_by_row_equals_the_dense_product(shape):
    batch, dense = make_sparse()
    weights = make_weights(*shape)
    torch.testing.assert_close(batches._sum_products_by_row(batch.values, weights), dense @ weights)
    torch.testing.assert_close(
        batches._sum_products_by_row(batch.transposed, dense @ weights),
        dense.mT @ (dense @ weights),
    )


def test_sparse_batch_in_dense_chunks_has_the_same_products(monkeypatch):
    batch, dense = make_sparse()
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 70)  # chunks of ten rows, or eight columns
    pairs = list(batch._dense_chunks())
    assert [rows.stop - rows.start for rows, _ in pairs] == [10] * 4
    torch.testing.assert_close(torch.cat([chunk.values for _, chunk in pairs]), dense)
    weight = make_weights(40)
    gram = sum(chunk.weighted_gram(weight[rows]) for rows, chunk in pairs)
    torch.testing.assert_close(gram, batch.weighted_gram(weight))
    columns = SparseBatch(batch.transposed)._dense_chunks()
    products = sum(chunk.values.mT @ chunk.values for _, chunk in columns)
    torch.testing.assert_close(products, batch.row_products())


def test_weighted_squares_of_a_sparse_batch_equal_those_of_a_dense_one():
    batch, dense = make_sparse()
    weight = make_weights(40)
    expected = DenseBatch(dense).weighted_squares(weight)
    torch.testing.assert_close(batch.weighted_squares(weight), expected)
