"""Parquet files for the tests of streamed tables."""

import pytest

from skbinary.streaming import Streamed
from tests.data.streamed_tables import FEATURES, FRAME, LITTLE


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return the path of a Parquet file of all columns in twelve row groups."""
    file = tmp_path_factory.mktemp("table") / "rows.parquet"
    FRAME.to_parquet(file, row_group_size=500)
    return file


@pytest.fixture
def narrow(tmp_path):
    """Return what writes a frame to a Parquet file, by default one without weights and groups."""

    def write(frame=None, **columns):
        frame = FRAME[[*FEATURES, "label"]] if frame is None else frame
        frame.assign(**columns).to_parquet(tmp_path / "narrow.parquet", row_group_size=500)
        return Streamed(tmp_path / "narrow.parquet", memory=LITTLE)

    return write
