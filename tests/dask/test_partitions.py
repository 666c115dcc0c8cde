"""Partitions stay on their workers, and labels and weights come to them."""

import numpy as np
import pytest
import scipy.sparse as sp

from skbinary.dask import DaskTorchLogisticClassifier
from skbinary.dask.partitions import distribute
from skbinary.dask.worker import concatenate
from tests.dask.tables import collection, noisy, place

da = pytest.importorskip("dask.array", reason="needs the extra dask")
dd = pytest.importorskip("dask.dataframe", reason="needs the extra dask")
pd = pytest.importorskip("pandas", reason="needs the extra dask")
distributed = pytest.importorskip("distributed", reason="needs the extra dask")


def values_of(client, table):
    return {name: client.gather(futures) for name, futures in table.columns.items()}


def test_persisted_partitions_stay_where_they_are(client):
    X, y, _ = noisy()
    rows = place(client, X, [range(300), range(300, 300), range(300, 600)]).persist()
    distributed.wait(rows)
    workers = sorted(client.nthreads())
    table = distribute(client, {"X": rows, "y": y})
    assert table.workers == workers
    held = client.who_has(table.columns["X"])
    assert [list(each) for each in held.values()] == [[worker] for worker in workers]
    np.testing.assert_array_equal(np.concatenate(client.gather(table.columns["y"])), y)


def test_array_in_memory_is_sent_to_all_workers_in_order(client):
    X, y, _ = noisy()
    table = distribute(client, {"X": X, "y": y})
    assert table.workers == sorted(client.nthreads())
    values = values_of(client, table)
    assert [len(each) for each in values["X"]] == [200, 200, 200]
    np.testing.assert_array_equal(np.concatenate(values["X"]), X)
    np.testing.assert_array_equal(np.concatenate(values["y"]), y)


def test_array_with_fewer_rows_than_workers_uses_few_of_them(client):
    table = distribute(client, {"X": np.zeros((2, 1)), "y": np.array([0, 1])})
    assert len(table.workers) == 2


def test_labels_with_other_chunks_get_those_of_the_rows(client):
    X, y, _ = noisy()
    table = distribute(client, {"X": collection(X, [400, 200]), "y": collection(y, [100] * 6)})
    assert [len(each) for each in values_of(client, table)["y"]] == [400, 200]


def test_columns_in_several_chunks_are_joined(client):
    X, y, _ = noisy()
    rows = da.from_array(X, chunks=(300, 2))
    table = distribute(client, {"X": rows, "y": collection(y, [300, 300])})
    assert [each.shape for each in values_of(client, table)["X"]] == [(300, 5), (300, 5)]


def test_chunks_of_unknown_size_are_measured(client):
    X, y, _ = noisy()
    rows, labels = collection(X, [300, 300]), collection(y, [300, 300])
    chosen = rows[:, 0] > 0
    table = distribute(client, {"X": rows[chosen], "y": labels[chosen]})
    values = values_of(client, table)
    np.testing.assert_array_equal(np.concatenate(values["X"]), X[X[:, 0] > 0])
    np.testing.assert_array_equal(np.concatenate(values["y"]), y[X[:, 0] > 0])


def test_labels_in_memory_are_cut_like_chunks_of_unknown_size(client):
    X, y, _ = noisy()
    rows = collection(X, [300, 300])
    table = distribute(client, {"X": rows[rows[:, 0] > 0], "y": y[X[:, 0] > 0]})
    values = values_of(client, table)
    assert [len(each) for each in values["X"]] == [len(each) for each in values["y"]]


def test_partitions_with_other_numbers_of_rows_raise(client):
    X, y, _ = noisy()
    rows, labels = collection(X, [300, 300]), collection(y, [300, 300])
    message = r"y must have one entry for each row, got \d+ for \d+ rows in partition 0\. Take both"
    with pytest.raises(ValueError, match=message):
        distribute(client, {"X": rows[rows[:, 0] > 0], "y": labels[rows[:, 1] > 0]})


def test_other_number_of_partitions_raises(client):
    X, y, _ = noisy()
    frame = dd.from_pandas(pd.DataFrame(X), npartitions=3)
    message = r"^y must have as many partitions as the rows, got 2 instead of 3\. Take both from"
    with pytest.raises(ValueError, match=message):
        distribute(client, {"X": frame, "y": collection(y, [300, 300])})


@pytest.mark.parametrize("in_memory", [True, False])
def test_other_number_of_labels_raises(client, in_memory):
    X, y, _ = noisy()
    labels = y[:-1] if in_memory else collection(y[:-1], [599])
    message = r"^y must have one entry for each row, got 599 for 600 rows\. Take both from one"
    with pytest.raises(ValueError, match=message):
        distribute(client, {"X": collection(X, [300, 300]), "y": labels})


def test_other_collection_raises(client):
    bag = pytest.importorskip("dask.bag", reason="needs the extra dask").from_sequence([1, 2])
    with pytest.raises(ValueError, match="X must be an array, a data frame or a series of Dask"):
        distribute(client, {"X": bag, "y": [0, 1]})


def test_error_of_a_computation_is_raised(client):
    rows = da.ones((4, 1), chunks=2).map_blocks(lambda each: each / "text", dtype=float)
    with pytest.raises(TypeError, match=r"unsupported|not supported|did not contain a loop"):
        distribute(client, {"X": rows, "y": np.array([0, 1, 0, 1])})


def test_more_workers_than_partitions_fit(client):
    X, y, _ = noisy()
    model = DaskTorchLogisticClassifier().fit(collection(X, [600]), y)
    assert model.score(X, y) > 0.8


def test_concatenate_leaves_out_what_is_empty():
    assert concatenate([np.ones((0, 2)), np.ones((3, 2))]).shape == (3, 2)
    assert concatenate([np.ones((0, 2))]).shape == (0, 2)
    assert concatenate([np.ones((1, 2)), np.ones((3, 2))]).shape == (4, 2)


def test_concatenate_keeps_the_container():
    assert sp.issparse(concatenate([sp.csr_array(np.eye(2)), sp.csr_array(np.eye(2))]))
    frames = [pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [2.0]})]
    assert list(concatenate(frames).columns) == ["a"]
