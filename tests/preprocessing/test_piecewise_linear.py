"""The piecewise linear encoder, against a computation number by number."""

import itertools
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbinary import PiecewiseLinearEncoder, TorchMLPClassifier, VectorizedGridSearchCV


@parametrize_with_checks([PiecewiseLinearEncoder(), PiecewiseLinearEncoder(n_bins=2)])
def test_encoder_passes_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def X():
    random = np.random.default_rng(0)
    few = random.integers(0, 3, 200).astype(float)
    return np.column_stack([random.normal(size=200), random.lognormal(sigma=3, size=200), few])


def by_hand(X, n_bins):
    """Encode number by number."""
    bounded, bins = [], []
    for column in X.T:
        z = (column - column.mean()) / column.std()
        bounded.append([each / (1 + each**2 / 9) ** 0.5 for each in z])
        edges = [np.quantile(column, k / n_bins) for k in range(n_bins + 1)]
        if len(set(column)) <= n_bins:
            edges = sorted(set(column))
        for a, b in itertools.pairwise(edges):
            rising = np.array([min(max((x - a) / (b - a), 0), 1) for x in column])
            bins.append((rising - rising.mean()) / (rising.std() + 1e-3) / 4)
    return np.column_stack([*bounded, *bins])


@pytest.mark.parametrize("n_bins", [4, 8])
def test_encoder_transform_equals_the_formula(X, n_bins):
    found = PiecewiseLinearEncoder(n_bins).fit_transform(X)
    assert found.shape == (200, 3 + 2 * n_bins + 2)
    np.testing.assert_allclose(found, by_hand(X, n_bins), rtol=1e-10, atol=1e-12)


def test_encoder_new_rows_are_bounded(X):
    encoder = PiecewiseLinearEncoder().fit(X)
    far = encoder.transform([[1e12, 1e12, 1e12], [-1e12, -1e12, -1e12]])
    seen = encoder.transform(X)
    np.testing.assert_allclose(np.abs(far[:, :3]), 3.0)
    # Beyond the outermost edges the bin features are constant.
    np.testing.assert_allclose(far[0, 3:], seen[:, 3:].max(axis=0))
    np.testing.assert_allclose(far[1, 3:], seen[:, 3:].min(axis=0))


def test_encoder_frequent_value_gets_bins_of_its_own():
    column = np.r_[np.zeros(90), np.arange(1.0, 22.0), np.arange(-9.0, 0.0)][:, None]
    encoder = PiecewiseLinearEncoder(n_bins=4).fit(column)
    quantiles = np.quantile(column[column != 0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(encoder.bin_edges_[0], np.unique([*quantiles, -1, 0, 1]))


def test_encoder_frequent_values_do_not_move_the_quantiles_of_the_others():
    column = np.r_[np.zeros(30), np.ones(30), np.full(30, 2.0), np.arange(3, 13.0)][:, None]
    encoder = PiecewiseLinearEncoder(n_bins=4).fit(column)
    expected = [0.0, 1.0, 2.0, 3.0, 5.25, 7.5, 9.75, 12.0]
    np.testing.assert_array_equal(encoder.bin_edges_[0], expected)


def test_encoder_few_values_are_the_edges():
    column = np.array([3.0, 1.0, 1.0, 7.0, 3.0])[:, None]
    assert PiecewiseLinearEncoder().fit(column).bin_edges_[0].tolist() == [1.0, 3.0, 7.0]
    assert PiecewiseLinearEncoder().fit(column > 2).bin_edges_[0].size == 0


def test_encoder_constant_features_are_zero():
    X = np.column_stack([np.full(30, 7.0), np.arange(30.0)])
    found = PiecewiseLinearEncoder().fit_transform(X)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, 0], 0.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder_keeps_the_precision_and_leaves_x_unchanged(X, dtype):
    given = X.astype(dtype)
    before = given.copy()
    encoder = PiecewiseLinearEncoder().fit(given)
    found = encoder.transform(given)
    assert found.dtype == dtype
    np.testing.assert_array_equal(given, before)
    np.testing.assert_allclose(found, PiecewiseLinearEncoder().fit_transform(X), atol=1e-3)


def test_encoder_get_feature_names_out_names_the_bins(X):
    frame = pytest.importorskip("pandas").DataFrame(X, columns=["age", "sum", "count"])
    encoder = PiecewiseLinearEncoder(n_bins=3).set_output(transform="pandas")
    expected = ["age", "sum", "count"]
    expected += [f"{name}_bin{i}" for name in ("age", "sum") for i in range(3)]
    expected += ["count_bin0", "count_bin1"]  # between three distinct values
    assert list(encoder.fit_transform(frame).columns) == expected


def test_encoder_clone_and_pickle_keep_it(X):
    encoder = PiecewiseLinearEncoder(n_bins=5).fit(X)
    assert clone(encoder).n_bins == 5
    loaded = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(loaded.transform(X), encoder.transform(X))


def test_encoder_before_fit_is_an_error(X):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        PiecewiseLinearEncoder().transform(X)


@pytest.mark.parametrize("n_bins", [1, 0, 2.5, "many"])
def test_encoder_bad_n_bins_is_an_error(X, n_bins):
    with pytest.raises(ValueError, match=r"The 'n_bins' parameter .* must be an int in the range"):
        PiecewiseLinearEncoder(n_bins=n_bins).fit(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_encoder_missing_or_infinite_values_are_an_error(X, bad):
    X[3, 1] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        PiecewiseLinearEncoder().fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_encoder_before_a_network_learns_an_interval():
    random = np.random.default_rng(0)
    X = random.lognormal(sigma=2, size=(1200, 3))
    y = (np.abs(X[:, 0] - 1) < 0.4).astype(int)
    train, test = slice(0, 600), slice(600, None)
    losses = []
    for first in (StandardScaler(), PiecewiseLinearEncoder()):
        model = make_pipeline(first, TorchMLPClassifier(random_state=0)).fit(X[train], y[train])
        losses.append(log_loss(y[test], model.predict_proba(X[test])))
    assert losses[1] < losses[0] / 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_encoder_in_a_searched_pipeline_is_fitted_in_batches():
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"size": random.normal(size=300), "kind": random.choice(["a", "b"], 300)}
    )
    y = (frame["size"].abs() < 0.5) & (frame["kind"] == "a")
    prepare = make_column_transformer(
        (PiecewiseLinearEncoder(), ["size"]), (OneHotEncoder(), ["kind"])
    )
    model = make_pipeline(prepare, TorchMLPClassifier((8,), max_iter=20, random_state=0))
    grid = {
        "columntransformer__piecewiselinearencoder__n_bins": [2, 6],
        "torchmlpclassifier__learning_rate_init": [0.001, 0.03],
    }
    search = VectorizedGridSearchCV(model, grid, scoring="roc_auc", cv=3)
    search.fit(frame, y)
    assert set(search.cv_results_["fit_mode"]) == {"batched"}
    single = GridSearchCV(model, grid, scoring="roc_auc", cv=3, refit=False)
    single.fit(frame, y)
    for split in range(3):
        key = f"split{split}_test_score"
        np.testing.assert_allclose(search.cv_results_[key], single.cv_results_[key], atol=1e-4)
