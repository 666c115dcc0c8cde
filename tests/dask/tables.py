"""Small tables for the tests, as arrays and as Dask collections."""

import numpy as np


def noisy(n_samples=600, n_features=5, seed=0):
    """Return rows, string labels and weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    logits = X @ rng.normal(size=n_features) + rng.normal(size=n_samples)
    return X, np.where(logits > 0, "yes", "no"), rng.uniform(0.5, 2, n_samples)


def collection(values, chunks):
    """Return a Dask array with chunks of these numbers of rows."""
    import dask.array as da

    return da.from_array(values, chunks=(tuple(chunks), *values.shape[1:]))


def place(client, values, shards, workers=None):
    """Return a Dask array with one chunk on each worker. `shards` are the numbers of its rows.

    The sizes of the chunks are unknown to Dask, which would leave out chunks without rows.
    """
    import dask.array as da
    from dask.delayed import delayed

    workers = workers or sorted(client.nthreads())
    chunks = []
    for worker, rows in zip(workers, shards, strict=False):
        future = client.scatter(values[rows], workers=[worker], hash=False)
        shape = (np.nan, *values.shape[1:])
        chunks.append(da.from_delayed(delayed(future), shape, dtype=values.dtype))
    return da.concatenate(chunks, allow_unknown_chunksizes=True)
