"""Fixtures that the tests of callbacks share."""

import pytest

from skbinary.callbacks.skorch import SkorchCallbacks


@pytest.fixture
def runs(monkeypatch):
    """Collect the training run of every fit that has skorch callbacks."""
    seen = []
    begin = SkorchCallbacks.train_begin

    def spy(self, run):
        begin(self, run)
        seen.append(run)

    monkeypatch.setattr(SkorchCallbacks, "train_begin", spy)
    return seen
