"""The groups of processes of the tests, which are started once for a module."""

import pytest

from tests.distributed.workers import Workers


def _workers(n_processes, folder):
    workers = Workers(n_processes, folder)
    yield workers
    workers.close()


@pytest.fixture(scope="package")
def two(tmp_path_factory):
    """Return two processes."""
    yield from _workers(2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="package")
def three(tmp_path_factory):
    """Return three processes."""
    yield from _workers(3, tmp_path_factory.mktemp("three"))
