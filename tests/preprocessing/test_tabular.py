"""The encoder of data frames, against scikit-learn's own transformers."""

import datetime
import pickle
from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, TargetEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbinary import (
    PiecewiseLinearEncoder,
    TabularEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

N_SAMPLES = 200


@parametrize_with_checks(
    [
        TabularEncoder(),
        TabularEncoder(n_bins=2, min_frequency=0.1, sparse_output=True),
        TabularEncoder([0], dtype="float64"),
    ]
)
def test_tabular_passes_scikit_learns_checks(estimator, check):
    check(estimator)


def columns():
    """Return columns of all kinds as lists, with None where they have gaps."""
    random = np.random.default_rng(0)
    start = datetime.datetime(2024, 1, 1)
    table = {
        "size": random.normal(size=N_SAMPLES).tolist(),
        "count": random.integers(0, 90, N_SAMPLES).tolist(),
        "paid": (random.random(N_SAMPLES) < 0.3).tolist(),
        "city": random.choice(["Oslo", "Rome", "Kyiv"], N_SAMPLES).tolist(),
        "street": [f"street {k}" for k in random.integers(0, 50, N_SAMPLES)],
        "when": [start + datetime.timedelta(hours=int(h)) for h in random.integers(0, 9999, 200)],
        "waited": [datetime.timedelta(seconds=int(s)) for s in random.integers(0, 9999, 200)],
        "constant": [7] * N_SAMPLES,
        "empty": [None] * N_SAMPLES,
        "key": [f"k{i}" for i in range(N_SAMPLES)],
    }
    for i, name in enumerate(("size", "paid", "city", "street", "when", "waited")):
        table[name][5 + i] = None
    return table


@pytest.fixture
def frame():
    return pd.DataFrame(columns())


@pytest.fixture
def y(frame):
    noise = np.random.default_rng(1).normal(size=N_SAMPLES)
    return np.where(frame["count"] + 30 * noise > 45, "yes", "no")


def encoded(X, y=None, **parameters):
    """Fit an encoder, and return its output as a data frame."""
    encoder = TabularEncoder(random_state=0, **parameters).set_output(transform="pandas")
    return encoder.fit_transform(X, y)


# -- what becomes of each kind of column -----------------------------------------------------------


def test_tabular_column_kinds_say_how_each_column_is_encoded(frame, y):
    assert TabularEncoder().fit(frame, y).column_kinds_ == {
        "size": "number",
        "count": "number",
        "paid": "number",
        "city": "one-hot",
        "street": "target",
        "when": "date",
        "waited": "number",
        "constant": "constant",
        "empty": "missing",
        "key": "identifier",
    }


def test_tabular_numbers_equal_imputer_and_piecewise_linear_encoder(frame):
    X = frame[["size", "count"]]
    found = TabularEncoder(n_bins=5, dtype=np.float64).fit_transform(X)
    imputed = SimpleImputer(strategy="median").fit_transform(X)
    expected = PiecewiseLinearEncoder(5).fit_transform(imputed)
    np.testing.assert_allclose(found[:, :-1], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found[:, -1], X["size"].isna())


def test_tabular_categories_equal_one_hot_encoder(frame):
    X = pd.DataFrame({"city": frame["city"].to_numpy(), "street": frame["street"].to_numpy()})
    parameters = {"min_frequency": 4, "max_categories": 50}
    expected = OneHotEncoder(
        sparse_output=False, handle_unknown="infrequent_if_exist", **parameters
    ).fit(X)
    found = TabularEncoder(sparse_output=False, **parameters).fit(X)
    new = pd.DataFrame({"city": ["Rome", "Bonn", None], "street": ["street 1", "new", None]})
    for rows in (X, new):
        np.testing.assert_array_equal(found.transform(rows), expected.transform(rows))


def test_tabular_without_y_the_most_frequent_of_many_categories_are_one_hot(frame):
    found = encoded(frame[["street"]], max_categories=10, min_frequency=1)
    assert found.shape == (N_SAMPLES, 10)
    assert found.columns[-1] == "street_infrequent"
    counts = frame["street"].value_counts()
    kept = found.sum(axis=0).drop("street_infrequent")
    assert kept.min() >= counts.iloc[9]
    np.testing.assert_array_equal(found.sum(axis=1), 1.0)


def test_tabular_missing_is_a_category(frame):
    found = encoded(frame[["city"]], min_frequency=1)
    assert list(found) == ["city_Kyiv", "city_Oslo", "city_Rome", "city_missing"]
    np.testing.assert_array_equal(found["city_missing"], frame["city"].isna())


def test_tabular_booleans_are_numbers_with_gaps(frame):
    found = encoded(frame[["paid"]])
    assert list(found) == ["paid", "paid_missing"]
    assert found["paid"].nunique() == 2


def test_tabular_dates_become_the_parts_that_vary():
    when = pd.to_datetime(["2024-02-29 13:30", None, "2024-02-01 08:00", "2024-02-05 08:00"])
    encoder = TabularEncoder().fit(pd.DataFrame({"when": when}))
    names = [name for name in encoder.get_feature_names_out() if "_bin" not in name]
    # All are in one month, so "month" is dropped.
    assert names == ["when_days", "when_day", "when_weekday", "when_hour", "when_missing"]
    mean = encoder.numeric_encoder_.mean_
    days = [19782 + 13.5 / 24, 19754 + 8 / 24, 19758 + 8 / 24]
    np.testing.assert_allclose(mean[0], np.mean([*days, np.median(days)]))
    np.testing.assert_allclose(mean[1:], [(29 + 5 + 1 + 5) / 4, (3 + 3 + 3 + 0) / 4, 37 / 4])


def test_tabular_dates_with_a_time_zone_are_local_times():
    naive = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=99, freq="7h")})
    aware = pd.DataFrame({"when": naive["when"].dt.tz_localize("Asia/Tokyo")})
    pd.testing.assert_frame_equal(encoded(aware), encoded(naive))


def test_tabular_durations_are_seconds(frame):
    found = encoded(frame[["waited"]])
    seconds = frame[["waited"]].assign(waited=frame["waited"].dt.total_seconds())
    pd.testing.assert_frame_equal(found, encoded(seconds))


def test_tabular_declared_categories_are_one_hot():
    codes = np.tile([1.0, 2.0, 3.0, np.nan], 25)
    X = pd.DataFrame({"code": codes, "size": np.arange(100.0)})
    for declared in (["code"], [0], [True, False]):
        found = encoded(X, categorical_features=declared, n_bins=2)
        assert list(found)[3:] == ["code_1", "code_2", "code_3", "code_missing"]
    encoder = TabularEncoder(["code"]).fit(X)
    integers = pd.DataFrame({"code": [2, 3], "size": [0.0, 1.0]})
    strings = integers.astype({"code": str})
    np.testing.assert_array_equal(encoder.transform(integers), encoder.transform(strings))


def test_tabular_categorical_dtype_of_numbers_is_a_category():
    X = pd.DataFrame({"band": pd.cut(np.arange(60.0), 3)})
    assert TabularEncoder().fit(X).column_kinds_ == {"band": "one-hot"}


def test_tabular_constant_with_gaps_becomes_a_column_missing():
    found = encoded(pd.DataFrame({"a": [1.0, None, 1.0], "b": [0.0, 1.0, 1.0]}))
    assert list(found) == ["b", "a_missing"]


def test_tabular_column_without_a_frequent_category_is_dropped():
    X = pd.DataFrame({"a": ["u", "v", "w", "w"], "b": [0, 1, 2, 3]})
    assert TabularEncoder(min_frequency=3).fit(X).column_kinds_ == {
        "a": "infrequent",
        "b": "number",
    }


# -- target encoding -------------------------------------------------------------------------------


def target_features(X, y, **parameters):
    """Return the z column of a target-encoded column in fit_transform, and a fitted encoder."""
    encoder = TabularEncoder(dtype=np.float64, random_state=0, **parameters)
    return encoder.fit_transform(X, y)[:, 0], encoder


def test_tabular_transform_equals_target_encoder(frame, y):
    X = frame[["street"]].assign(street=frame["street"].fillna("none"))
    found, encoder = target_features(X, y)
    shares = TargetEncoder().fit(X, y).transform(X)[:, 0]
    transformed = encoder.transform(X)[:, 0]
    slope, constant = np.polyfit(shares, transformed, 1)
    np.testing.assert_allclose(transformed, slope * shares + constant, rtol=1e-9)
    np.testing.assert_allclose([found.mean(), found.std()], [0, 1], atol=1e-12)


def test_tabular_cross_fitted_encodings_do_not_leak_labels_of_a_useless_column():
    random = np.random.default_rng(0)
    X = pd.DataFrame({"useless": random.integers(0, 700, 1000).astype(str)})
    y = random.integers(0, 2, 1000)
    z, encoder = target_features(X, y)
    assert abs(np.corrcoef(z, y)[0, 1]) < 0.1
    assert np.corrcoef(encoder.transform(X)[:, 0], y)[0, 1] > 0.3


def test_tabular_random_state_fixes_the_folds(frame, y):
    first, again = (TabularEncoder(random_state=3).fit_transform(frame, y) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    state = np.random.get_state()[1].copy()
    TabularEncoder().fit_transform(frame, y)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_tabular_error_settings_of_the_process_change_nothing(frame, y):
    expected = TabularEncoder(random_state=0).fit_transform(frame, y)
    with np.errstate(all="raise"):
        found = TabularEncoder(random_state=0).fit_transform(frame, y)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("labels", [(0, 1), (-1.0, 1.0), (False, True), ("a", "b")])
def test_tabular_labels_of_any_type_encode_alike(frame, y, labels):
    renamed = np.array(labels)[(y == "yes").astype(int)]
    expected = TabularEncoder(random_state=0).fit_transform(frame, y)
    found = TabularEncoder(random_state=0).fit_transform(frame, renamed)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("y", [[0, 1, 2, 3] * 50, [1] * 200])
def test_tabular_target_encoding_needs_two_classes(frame, y):
    with pytest.raises(ValueError, match=r"y must hold two classes to encode .* Raise max_cat"):
        TabularEncoder().fit(frame, y)
    TabularEncoder().fit(frame.drop(columns="street"), y)


# -- containers ------------------------------------------------------------------------------------


def in_pandas_extension_types(table):
    frame = pd.DataFrame(table)
    return frame.astype(
        {"size": "Float64", "count": "Int16", "paid": "boolean", "city": "category"}
    )


CONTAINERS = {
    "objects": lambda table: pd.DataFrame(table, dtype=object),
    "extension types": in_pandas_extension_types,
    "polars": pl.DataFrame,
    "polars categories": lambda table: pl.DataFrame(table).cast(
        {"city": pl.Categorical, "count": pl.Decimal(9, 2)}
    ),
    "polars enum": lambda table: pl.DataFrame(table).cast(
        {"city": pl.Enum(["Bonn", "Kyiv", "Oslo", "Rome"])}
    ),
    "polars time zone": lambda table: pl.DataFrame(table).with_columns(
        pl.col("when").dt.replace_time_zone("Asia/Tokyo")
    ),
    "array": lambda table: pd.DataFrame(table, dtype=object).to_numpy(),
    "rows": lambda table: [list(row) for row in zip(*table.values(), strict=True)],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_tabular_containers_encode_alike(frame, y, container):
    X = CONTAINERS[container](columns())
    encoder = TabularEncoder(random_state=0)
    found = encoder.fit_transform(X, y)
    np.testing.assert_allclose(found, TabularEncoder(random_state=0).fit_transform(frame, y))
    np.testing.assert_allclose(encoder.transform(X[:3]), encoder.transform(X)[:3], rtol=1e-6)


def test_tabular_array_of_numbers_equals_a_frame(frame):
    X = frame[["size", "count"]]
    expected = TabularEncoder().fit_transform(X)
    np.testing.assert_array_equal(TabularEncoder().fit_transform(X.to_numpy()), expected)


def test_tabular_decimals_and_dates_of_python():
    X = [[Decimal("1.5"), datetime.date(2024, 1, 1)], [None, None], [Decimal(2), None]]
    X[2][1] = datetime.date(2024, 3, 1)
    assert TabularEncoder().fit(X).column_kinds_ == {0: "number", 1: "date"}


def test_tabular_leaves_x_unchanged(frame, y):
    before = frame.copy(deep=True)
    TabularEncoder().fit(frame, y).transform(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("sparse_output", ["auto", True])
def test_tabular_set_output_gives_dense_frames(frame, y, library, sparse_output):
    encoder = TabularEncoder(sparse_output=sparse_output, random_state=0)
    plain = encoder.fit_transform(frame, y)
    plain = plain.toarray() if sp.issparse(plain) else plain
    found = encoder.set_output(transform=library).fit_transform(frame, y)
    assert type(found).__module__.startswith(library)
    assert list(found.columns) == list(encoder.get_feature_names_out())
    np.testing.assert_array_equal(found.to_numpy(), plain)


def test_tabular_sparse_output_equals_dense_output(frame, y):
    sparse = TabularEncoder(sparse_output=True, random_state=0).fit(frame, y)
    found = sparse.transform(frame)
    assert sp.issparse(found)
    assert found.dtype == np.float32
    assert found.indices.dtype == np.int32
    dense = TabularEncoder(sparse_output=False, random_state=0).fit(frame, y)
    np.testing.assert_array_equal(found.toarray(), dense.transform(frame))


def test_tabular_sparse_output_auto_depends_on_the_density(frame):
    many = pd.DataFrame({"a": np.tile(np.arange(30), 20).astype(str)})
    assert sp.issparse(TabularEncoder(max_categories=40).fit_transform(many))
    assert not sp.issparse(TabularEncoder().fit_transform(frame[["size", "city"]]))


def test_tabular_names_of_outputs_are_distinct():
    X = pd.DataFrame({"a": ["missing", None, "x"] * 9, "a_x": np.arange(27.0) % 3})
    names = TabularEncoder().fit(X).get_feature_names_out()
    assert len(set(names)) == len(names)


# -- new rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [pd, pl])
def test_tabular_columns_in_another_order_are_reordered(y, library):
    frame = library.DataFrame(columns())
    encoder = TabularEncoder().fit(frame, y)
    expected = encoder.transform(frame)
    np.testing.assert_array_equal(encoder.transform(frame[list(frame.columns)[::-1]]), expected)


def test_tabular_unknown_and_missing_values_in_new_rows_are_harmless(frame, y):
    encoder = TabularEncoder().fit(frame, y)
    new = frame[:1].assign(city="Bonn", street="new", size=1e30)
    assert np.isfinite(encoder.transform(new)).all()
    empty = frame[:2].assign(**dict.fromkeys(frame.columns))
    assert np.isfinite(encoder.transform(empty)).all()


def test_tabular_missing_values_that_fit_did_not_see_are_medians():
    encoder = TabularEncoder(dtype=np.float64).fit(pd.DataFrame({"a": [1.0, 2.0, 9.0]}))
    found = encoder.transform(pd.DataFrame({"a": [None, 2.0]}))
    np.testing.assert_array_equal(found[0], found[1])


def test_tabular_dropped_columns_may_change(frame, y):
    encoder = TabularEncoder().fit(frame, y)
    new = frame.assign(constant="text", empty=1.0, key=[[1]] * N_SAMPLES)
    np.testing.assert_array_equal(encoder.transform(new), encoder.transform(frame))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "a"}, r"Column 'size' of X must hold numbers, as in fit, got strings\."),
        ({"when": "2024"}, r"Column 'when' of X must hold dates, as in fit, got strings\."),
        ({"count": np.inf}, r"Column 'count' of X must hold finite numbers, got infinity\."),
    ],
)
def test_tabular_other_values_in_new_rows_are_an_error(frame, y, change, message):
    encoder = TabularEncoder().fit(frame, y)
    with pytest.raises(ValueError, match=message):
        encoder.transform(frame.assign(**change))


def test_tabular_other_columns_in_new_rows_are_an_error(frame, y):
    encoder = TabularEncoder().fit(frame, y)
    with pytest.raises(ValueError, match=r"yet now missing:\n- city"):
        encoder.transform(frame.drop(columns="city"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- more"):
        encoder.transform(frame.assign(more=1))


def test_tabular_zero_rows_are_an_error(frame, y):
    encoder = TabularEncoder().fit(frame, y)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        encoder.transform(frame[:0])


# -- errors ----------------------------------------------------------------------------------------

TEXTS = [f"this is message number {i} of many" for i in range(40)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, np.inf], r"must hold finite numbers, got infinity\. Replace infinite values"),
        ([1, "a"], r"must hold values of one type, got int and str\. Convert them to numbers"),
        ([[1], [2]], r"must hold numbers, strings, .*, got values of type list\. Convert or drop"),
        ([{1}, {2}], r".*, got values of type set\."),
        ([(1,), (2,)], r".*, got values of type tuple\."),
        ([1j, 2j], r".*, got values of type complex"),
        (TEXTS, r"must hold categories, got 40 different texts\. Encode it with .*TfidfVectorizer"),
    ],
)
def test_tabular_unsupported_columns_are_an_error_that_names_them(column, message):
    frame = pd.DataFrame({"good": np.arange(len(column)), "bad": column})
    with pytest.raises(ValueError, match="Column 'bad' of X " + message):
        TabularEncoder().fit(frame)


def test_tabular_polars_lists_are_an_error():
    with pytest.raises(ValueError, match="Column 'bad' of X must hold numbers, strings"):
        TabularEncoder().fit(pl.DataFrame({"bad": [[1], [2]]}))


def test_tabular_duplicate_column_names_are_an_error():
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"X must have distinct column names, got 'a' twice\."):
        TabularEncoder().fit(frame)


def test_tabular_nothing_to_encode_is_an_error():
    frame = pd.DataFrame({"a": [1, 1, 1], "b": [None] * 3})
    with pytest.raises(ValueError, match=r"X must have a column .* kinds: constant, missing\."):
        TabularEncoder().fit(frame)


def test_tabular_sparse_matrix_is_an_error():
    with pytest.raises(ValueError, match="X must be a data frame or a dense array, got a sparse"):
        TabularEncoder().fit(sp.csr_matrix(np.eye(3)))


@pytest.mark.parametrize("declared", [["other"], [7], [True], [[0]], [0.5]])
def test_tabular_bad_categorical_features_are_an_error(declared):
    with pytest.raises(ValueError, match="categorical_features must hold names or positions"):
        TabularEncoder(declared).fit([[1.0, 2.0], [2.0, 3.0]])


@pytest.mark.parametrize(
    "parameter",
    [{"n_bins": 1}, {"max_categories": 1}, {"min_frequency": 0}, {"dtype": int}],
)
def test_tabular_bad_parameters_are_an_error(parameter):
    (name,) = parameter
    with pytest.raises(ValueError, match=f"The '{name}' parameter of TabularEncoder must be"):
        TabularEncoder(**parameter).fit([[1.0], [2.0]])


def test_tabular_before_fit_is_an_error(frame):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        TabularEncoder().transform(frame)


def test_tabular_failed_fit_leaves_the_encoder_as_it_was(frame, y):
    encoder = TabularEncoder(random_state=0).fit(frame, y)
    before = pickle.dumps(encoder)
    for bad in (frame.assign(size=np.inf), frame[["empty"]], frame[:0]):
        with pytest.raises(ValueError, match=r"X must|of X must|Found array"):
            encoder.fit(bad, y)
        assert pickle.dumps(encoder) == before


# -- with other estimators -------------------------------------------------------------------------


def test_tabular_clone_and_pickle_keep_it(frame, y):
    encoder = TabularEncoder(max_categories=20).fit(frame, y)
    assert clone(encoder).max_categories == 20
    saved = pickle.dumps(encoder)
    assert b"skbinary.preprocessing" not in saved  # so files survive a new layout
    np.testing.assert_array_equal(pickle.loads(saved).transform(frame), encoder.transform(frame))


def test_tabular_in_a_pipeline_predicts_from_frames(frame, y):
    model = make_pipeline(TabularEncoder(random_state=0), TorchLogisticClassifier(C=0.1))
    assert model.fit(frame, y).score(frame, y) > 0.6
    assert model.predict(frame[:1]).shape == (1,)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_tabular_in_a_searched_pipeline_is_fitted_in_batches(frame, y):
    network = TorchMLPClassifier((8,), max_iter=20, random_state=0)
    model = make_pipeline(TabularEncoder(random_state=0), network)
    grid = {
        "tabularencoder__max_categories": [10, 60],
        "torchmlpclassifier__learning_rate_init": [0.001, 0.03],
    }
    cv = PredefinedSplit(np.arange(N_SAMPLES) % 3)
    search = VectorizedGridSearchCV(model, grid, scoring="roc_auc", cv=cv).fit(frame, y)
    assert set(search.cv_results_["fit_mode"]) == {"batched"}
    single = GridSearchCV(model, grid, scoring="roc_auc", cv=cv, refit=False).fit(frame, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], single.cv_results_["mean_test_score"], atol=1e-4
    )


@pytest.mark.parametrize(("n_samples", "n_bins"), [(100, 8), (5000, 8), (10_000, 16), (30_000, 32)])
def test_encoder_number_of_bins_grows_with_the_rows(n_samples, n_bins):
    X = np.random.default_rng(0).normal(size=(n_samples, 1))
    edges = TabularEncoder().fit(X).numeric_encoder_.bin_edges_[0]
    assert len(edges) == n_bins + 1
    assert len(TabularEncoder(n_bins=4).fit(X).numeric_encoder_.bin_edges_[0]) == 5
