"""Clusters for the tests, without a dashboard."""

import pytest


def start(n_workers, *, processes):
    """Return a client with a cluster of its own, whose workers have one thread each."""
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=":0",
        silence_logs=50,  # workers are killed on purpose
    )
    return distributed.Client(cluster)


@pytest.fixture(scope="module")
def client():
    """Return a client of three workers that are threads of this process."""
    client = start(3, processes=False)
    yield client
    client.close()
    client.cluster.close()
