"""The encoders as graphs, column by column."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skbinary import PiecewiseLinearEncoder, TabularEncoder
from skbinary.export.onnx import to_inputs, to_onnx

REASON = "the extra 'interop' is not installed"
pytest.importorskip("skl2onnx", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

N_ROWS = 400
RNG = np.random.default_rng(0)
HOURS = pd.to_timedelta(RNG.integers(-900_000, 900_000, N_ROWS), unit="h")
DAYS = np.datetime64("1970-01-01") + np.arange(-40_000, 40_000, 3)
COLUMNS = {
    "integers": RNG.integers(0, 99, N_ROWS),
    "small integers": RNG.integers(0, 99, N_ROWS).astype(np.int8),
    "floats": RNG.normal(size=N_ROWS).astype(np.float32),
    "gaps": np.where(RNG.random(N_ROWS) < 0.2, np.nan, RNG.normal(size=N_ROWS)),
    "booleans": RNG.random(N_ROWS) < 0.3,
    "nullable": pd.array([None, 1, 2, 3] * (N_ROWS // 4), dtype="Int64"),
    "strings": RNG.choice(["a", "b", "", "nan?"], N_ROWS),
    "strings with gaps": pd.Series(["a", None, "b", np.nan] * (N_ROWS // 4), dtype=object),
    "many strings": RNG.integers(0, 40, N_ROWS).astype(str),
    "rare strings": ["a", "b"] * (N_ROWS // 2 - 1) + ["c", "d"],
    "category": pd.Categorical(RNG.choice([1.0, 2.5, 3.0], N_ROWS)),
    "dates": pd.Timestamp("1970-01-01") + HOURS,
    "durations": HOURS,
    "missing": [None] * N_ROWS,
}


def encode(encoder, X):
    """Return what the graph gives for rows."""
    session = onnxruntime.InferenceSession(to_onnx(encoder, X).SerializeToString())
    return session.run(None, to_inputs(X))[0]


def assert_graph_encodes(encoder, X):
    wanted = encoder.transform(X)
    wanted = wanted.toarray() if hasattr(wanted, "toarray") else wanted
    found = encode(encoder, X)
    assert found.dtype == wanted.dtype
    tolerance = 1e-6 if wanted.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", COLUMNS)
def test_tabular_encoder_on_one_kind_of_column(name, dtype):
    frame = pd.DataFrame({"other": RNG.normal(size=N_ROWS), name: COLUMNS[name]})
    encoder = TabularEncoder(dtype=dtype, min_frequency=5, random_state=0)
    encoder.fit(frame, RNG.random(N_ROWS) < 0.4)
    assert_graph_encodes(encoder, frame)


@pytest.mark.parametrize("name", ["integers", "booleans", "gaps"])
def test_tabular_encoder_on_numbers_that_are_categories(name):
    column = COLUMNS[name]
    column = np.round(column) if name == "gaps" else column
    frame = pd.DataFrame({"other": RNG.normal(size=N_ROWS), name: column})
    encoder = TabularEncoder(categorical_features=[name], dtype=np.float64, random_state=0)
    encoder.fit(frame, RNG.random(N_ROWS) < 0.4)
    frame.loc[:9, name] = frame[name].dtype.type(57)  # an unknown category
    assert_graph_encodes(encoder, frame)


def test_tabular_encoder_on_all_days_of_two_centuries():
    frame = pd.DataFrame({"day": DAYS})
    assert_graph_encodes(TabularEncoder(dtype=np.float64).fit(frame), frame)


def test_tabular_encoder_on_unknown_categories_and_new_gaps():
    frame = pd.DataFrame({"x": [1.0, 2.0, np.nan, 4.0], "city": ["Oslo", "Rome", "Rome", None]})
    encoder = TabularEncoder(dtype=np.float64).fit(frame)
    rows = pd.DataFrame({"x": [np.nan, 9.0, 2.5], "city": ["Kyiv", None, "Rome"]})
    assert_graph_encodes(encoder, rows)


def test_tabular_encoder_on_polars():
    frame = pl.DataFrame(
        {
            "n": [1, None, 3, 4] * 20,
            "flag": [True, False, None, True] * 20,
            "city": ["Oslo", None, "Rome", "Rome"] * 20,
            "day": [datetime.date(1960, 2, 29), None, datetime.date(2020, 12, 31), None] * 20,
        }
    )
    assert_graph_encodes(TabularEncoder(dtype=np.float64).fit(frame), frame)


def test_tabular_encoder_on_arrays():
    numbers = RNG.normal(size=(50, 3))
    assert_graph_encodes(TabularEncoder().fit(numbers), numbers)
    strings = RNG.choice(["a", "b", "c"], (50, 2)).astype(object)
    assert_graph_encodes(TabularEncoder().fit(strings), strings)
    mixed = np.column_stack([numbers[:, :1].astype(object), strings])
    assert_graph_encodes(TabularEncoder().fit(mixed), mixed)


def test_tabular_encoder_finds_columns_by_their_names():
    frame = pd.DataFrame({"a": RNG.normal(size=50), "b": RNG.choice(["x", "y"], 50)})
    encoder = TabularEncoder().fit(frame)
    assert_graph_encodes(encoder, frame[["b", "a"]])


def test_missing_strings_may_be_passed_as_python_writes_them():
    frame = pd.DataFrame({"city": ["Oslo", "Rome", None, "Rome"]})
    graph = to_onnx(TabularEncoder().fit(frame), frame)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    rows = np.array([[None], [np.nan], ["None"], ["nan"], ["<NA>"], ["NaT"]], dtype=object)
    np.testing.assert_array_equal(session.run(None, {"city": rows})[0], [[0, 0, 1]] * 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_piecewise_linear_encoder(dtype):
    X = RNG.normal(size=(200, 4)).astype(dtype)
    X[:, 1] = X[:, 1] > 0  # has no bins
    X[:, 2] = 1.0  # a constant
    encoder = PiecewiseLinearEncoder().fit(X)
    assert_graph_encodes(encoder, X)
    assert_graph_encodes(PiecewiseLinearEncoder().fit(X[:, 1:2]), X[:, 1:2])


@pytest.mark.parametrize("encoder", [PiecewiseLinearEncoder(), TabularEncoder()])
def test_encoder_takes_no_rows(encoder):
    X = RNG.normal(size=(50, 2))
    session = onnxruntime.InferenceSession(to_onnx(encoder.fit(X), X).SerializeToString())
    width = len(encoder.get_feature_names_out())
    assert session.run(None, {"X": np.empty((0, 2))})[0].shape == (0, width)
