"""Fits and predictions on tables that are read in parts, against the same rows in memory."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, TorchModuleClassifier
from skbinary.data.scan import scan
from skbinary.data.streamed_hold_out import HoldOut
from skbinary.data.streamed_passes import RowWeights, TablePasses
from skbinary.data.streamed_table import StreamedTable, open_table
from skbinary.data.weights import weigh_rows
from skbinary.streaming import Streamed
from tests.data.models import QUIET, peak_of
from tests.data.streamed_tables import FEATURES, FRAME, LITTLE, N_ROWS, WEIGHT, X, Y, weighted

pytest.importorskip("pyarrow", reason="the extra parquet is not installed")

pytestmark = QUIET


@pytest.fixture
def reads(monkeypatch):
    """Count the rows of every chunk that is read."""
    sizes = []
    read = StreamedTable.read

    def spy(self, *args, **kwargs):
        for part, first, columns in read(self, *args, **kwargs):
            sizes.append(len(columns[self.features[0]]))
            yield part, first, columns

    monkeypatch.setattr(StreamedTable, "read", spy)
    return sizes


# -- logistic regression ---------------------------------------------------------------------------

LOGISTICS = {
    "plain": {},
    "strong": {"C": 1e-3},
    "unpenalized": {"C": np.inf},
    "balanced": {"class_weight": "balanced"},
    "class weights": {"class_weight": {"yes": 3, "no": 0.5}},
    "lasso": {"l1_ratio": 1, "C": 0.01},
    "elastic net": {"l1_ratio": 0.5, "C": 0.01},
    "lbfgs": {"solver": "lbfgs"},
    "no intercept": {"fit_intercept": False},
}


@pytest.mark.parametrize("settings", LOGISTICS.values(), ids=LOGISTICS)
def test_logistic_streamed_has_the_coefficients_of_memory(path, narrow, settings):
    model = TorchLogisticClassifier(tol=1e-10, **settings)
    for source, columns, weight in (
        (narrow(), {}, None),
        (Streamed(path, memory=LITTLE), {"sample_weight": "weight", "groups": "group"}, WEIGHT),
    ):
        expected = model.fit(X, Y, weight)
        coef, intercept = expected.coef_.copy(), expected.intercept_.copy()
        found = model.fit(source, "label", **columns)
        assert_allclose(found.coef_, coef, rtol=0, atol=1e-8)
        assert_allclose(found.intercept_, intercept, rtol=0, atol=1e-8)
        assert_array_equal(found.coef_ == 0, coef == 0)
        assert found.feature_names_in_.tolist() == FEATURES
        assert found.classes_.tolist() == ["no", "yes"]


def test_logistic_streamed_with_columns_far_from_zero_converges(narrow):
    table = narrow(year=2000.0 + np.arange(N_ROWS) % 30)
    found = TorchLogisticClassifier(tol=1e-10).fit(table, "label")
    frame = X.assign(year=2000.0 + np.arange(N_ROWS) % 30)
    expected = TorchLogisticClassifier(tol=1e-10).fit(frame, Y)
    assert found.stop_reason_ == "converged"
    assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-8)


def test_logistic_streamed_with_huge_and_tiny_weights_has_the_coefficients_of_memory(narrow):
    for factor in (1e250, 1e-250):
        weight = WEIGHT * factor
        model = TorchLogisticClassifier(tol=1e-10, C=1 / factor)
        expected = model.fit(X, Y, weight).coef_.copy()
        found = model.fit(narrow(weight=weight), "label", sample_weight="weight").coef_
        assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_logistic_streamed_with_weights_in_every_other_row_has_the_coefficients_of_memory(narrow):
    weight = np.arange(N_ROWS) % 2
    model = TorchLogisticClassifier(tol=1e-10)
    expected = model.fit(X, Y, weight).coef_.copy()
    found = model.fit(narrow(weight=weight), "label", sample_weight="weight").coef_
    assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_logistic_streamed_with_memory_for_one_row_has_the_coefficients_of_memory(narrow):
    table = Streamed(narrow(FRAME[[*FEATURES, "label"]].iloc[:50]).source, memory=1)
    expected = TorchLogisticClassifier(tol=1e-10).fit(X[:50], Y[:50])
    found = TorchLogisticClassifier(tol=1e-10).fit(table, "label")
    assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-8)


def test_logistic_streamed_reads_the_table_few_times(narrow, reads):
    model = TorchLogisticClassifier().fit(narrow(), "label")
    # The first pass, one for the start, and one for the step and the Hessian of an iteration.
    assert sum(reads) <= N_ROWS * (2 + 2 * model.n_iter_[0])


def test_logistic_streamed_continues_from_the_last_fit(narrow):
    table = narrow()
    model = TorchLogisticClassifier(warm_start=True).fit(table, "label")
    first = model.n_iter_[0]
    assert model.fit(table, "label").n_iter_[0] < first


LABELS = {
    "bool": Y == "yes",
    "int": np.where(Y == "yes", 7, 3),
    "float": np.where(Y == "no", -1.0, 1.0),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_type_are_found(narrow, labels):
    model = TorchLogisticClassifier().fit(narrow(label=labels), "label")
    assert_array_equal(model.classes_, np.unique(labels))
    assert model.classes_.dtype == np.unique(labels).dtype


# -- sources ---------------------------------------------------------------------------------------


def arrow_dataset(path):
    from pyarrow import dataset

    return dataset.dataset(path)


def lazy_frame(path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    if not hasattr(polars.LazyFrame, "collect_batches"):
        pytest.skip("this polars does not collect batches")
    return polars.scan_parquet(path)


def dask_frame(path):
    frames = pytest.importorskip("dask.dataframe", reason="the extra dask is not installed")
    return frames.from_pandas(pd.read_parquet(path), npartitions=7)


def folder_of(path):
    folder = path.parent / "folder"
    if not folder.exists():
        folder.mkdir()
        for i in range(4):
            part = FRAME.iloc[i * 1500 : (i + 1) * 1500]
            part.to_parquet(folder / f"part-{i}.parquet", row_group_size=400)
    return folder


SOURCES = {"path": str, "Path": Path, "folder": folder_of, "pyarrow dataset": arrow_dataset,
           "lazy frame": lazy_frame, "Dask frame": dask_frame}  # fmt: skip


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_each_source_gives_the_coefficients_and_predictions_of_memory(path, make):
    source = make(path)
    expected = TorchLogisticClassifier(tol=1e-10).fit(X, Y, WEIGHT)
    found = TorchLogisticClassifier(tol=1e-10).fit(
        **{**weighted(path), "X": Streamed(source, memory=LITTLE)}
    )
    assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-8)
    for table in (source, Streamed(source, memory=LITTLE)):
        assert_allclose(found.predict_proba(table), expected.predict_proba(X), atol=1e-6)
        assert_array_equal(found.predict(table), expected.predict(X))
        assert_allclose(found.decision_function(table), expected.decision_function(X), atol=1e-6)


PLAIN = TorchLogisticClassifier().fit(X, Y)


@pytest.mark.parametrize("weight", [None, "weight"])
def test_score_and_threshold_of_a_table_are_those_of_memory(path, weight):
    model, weights = clone(PLAIN).fit(X, Y), None if weight is None else WEIGHT
    table = Streamed(path, memory=LITTLE)
    assert model.score(table, "label", weight) == model.score(X, Y, weights)
    in_memory = clone(model).fit(X, Y).tune_threshold(X, Y, {"recall": 0.9}, sample_weight=weights)
    model.tune_threshold(table, "label", {"recall": 0.9}, sample_weight=weight)
    assert model.threshold_ == pytest.approx(in_memory.threshold_, abs=1e-6)
    assert model.threshold_interval_ == pytest.approx(in_memory.threshold_interval_, abs=1e-6)


@pytest.mark.parametrize("arguments", [("score",), ("tune_threshold", "f1")])
def test_score_and_threshold_of_another_column_raise(path, arguments):
    method, *objective = arguments
    with pytest.raises(ValueError, match=r"^y must be the name of a column of X, got 'answer'\. T"):
        getattr(PLAIN, method)(path, "answer", *objective)
    unnamed = TorchLogisticClassifier().fit(X.to_numpy(), Y)
    with pytest.raises(ValueError, match=r"^X must be an array, a data frame or a tensor, got a P"):
        getattr(unnamed, method)(path, "label", *objective)


def test_threshold_of_other_labels_raises(path):
    with pytest.raises(ValueError, match=r"^y must hold the classes \['no', 'yes'\] only, got \[0"):
        PLAIN.tune_threshold(path, "group", "f1")


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_source_with_a_missing_value_raises(path, tmp_path, make):
    missing = FRAME.assign(a=FRAME["a"].astype(float))
    missing.loc[N_ROWS - 1, "a"] = np.nan
    file = tmp_path / "missing.parquet"
    missing.to_parquet(file)
    file = tmp_path if make is folder_of else make(file)
    with pytest.raises(ValueError, match=r"^Column 'a' must hold a value in each row, got a"):
        TorchLogisticClassifier().fit(**{**weighted(path), "X": Streamed(file, memory=LITTLE)})


def test_path_without_pyarrow_raises_one_sentence(path, monkeypatch):
    def find(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="pyarrow")

    monkeypatch.setattr("importlib.import_module", find)
    sentence = (
        "pyarrow must be installed for Parquet files, got none. "
        """Run 'python -m pip install "skbinary[parquet]"'."""
    )
    with pytest.raises(ImportError, match=f"^{re.escape(sentence)}$"):
        TorchLogisticClassifier().fit(str(path), "label")


# -- small tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        TorchMLPClassifier((8,), max_iter=3, random_state=0),
        TorchMLPClassifier((8,), max_iter=3, random_state=0, n_members=2, threshold="f1"),
        TorchLogisticClassifier(threshold="f1"),
    ],
    ids=["network", "ensemble", "logistic"],
)
def test_table_that_fits_into_memory_gives_the_bits_of_arrays(path, reads, model):
    found = model.fit(**weighted(path, "10MB"))
    assert sum(reads) == N_ROWS
    scores, threshold = found.decision_function(X), found.threshold_
    expected = model.fit(X, Y, WEIGHT, groups=FRAME["group"])
    assert_array_equal(scores, expected.decision_function(X))
    assert threshold == expected.threshold_


# -- networks --------------------------------------------------------------------------------------

NETWORKS = {
    "adam": {},
    "sgd": {"solver": "sgd", "momentum": 0.9},
    "weight average": {"weight_average": 0.9},
    "one cycle": {"learning_rate": "onecycle"},
    "inverse scaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "smoothed": {"label_smoothing": 0.1},
    "balanced": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)
def test_network_in_the_order_of_the_table_has_the_weights_of_memory(path, settings):
    settings = {
        "max_iter": 3,
        "shuffle": False,
        "early_stopping": False,
        "random_state": 0,
    } | settings
    model = TorchMLPClassifier((8,), batch_size=100, **settings)
    expected = model.fit(X, Y, WEIGHT)
    weights, curves = [each.copy() for each in expected.coefs_], expected.history_
    found = model.fit(**weighted(path))
    for one, other in zip(found.coefs_, weights, strict=True):
        assert_allclose(one, other, rtol=0, atol=1e-6)
    for name in ("loss", "objective"):
        assert_allclose(found.history_[name], curves[name], rtol=1e-6)
    assert found.history_["learning_rate"] == curves["learning_rate"]
    assert found.t_ == 3 * np.count_nonzero(WEIGHT)


def test_logistic_by_batches_has_the_weights_of_memory(path):
    model = TorchLogisticClassifier(solver="sgd", shuffle=False, max_iter=3, batch_size=100, C=0.01)
    expected = model.fit(X, Y, WEIGHT).coef_.copy()
    assert_allclose(model.fit(**weighted(path)).coef_, expected, rtol=0, atol=1e-6)


def test_network_with_the_same_seed_has_the_same_bits(path):
    models = [
        TorchMLPClassifier((8,), max_iter=3, dropout=0.2, random_state=seed).fit(**weighted(path))
        for seed in (0, 0, 1)
    ]
    assert_array_equal(models[0].coefs_[0], models[1].coefs_[0])
    assert np.any(models[0].coefs_[0] != models[2].coefs_[0])


def test_network_stops_early_on_rows_that_are_held_out(path):
    model = TorchMLPClassifier((8,), learning_rate_init=0.01, n_iter_no_change=3, random_state=0)
    model.fit(**weighted(path))
    assert model.stop_reason_ == "validation_loss"
    assert model.best_epoch_ < model.n_iter_
    assert model.loss_curve_[-1] < 0.7


def test_network_validates_on_another_table_or_on_arrays(path):
    model = TorchMLPClassifier((8,), max_iter=3, random_state=0)
    columns = {"y_val": "label", "sample_weight_val": "weight"}
    curve = model.fit(**weighted(path), X_val=path, **columns).validation_loss_curve_
    arrays = {"X_val": X, "y_val": Y, "sample_weight_val": WEIGHT}
    assert model.fit(**weighted(path), **arrays).validation_loss_curve_ == curve


def test_validation_rows_of_a_table_whose_labels_alternate_have_both_classes(narrow):
    table = narrow(label=np.arange(N_ROWS) % 2)
    model = TorchLogisticClassifier(threshold="balanced_accuracy")
    model.fit(table, "label", X_val=table, y_val="label")
    assert 0.3 < model.threshold_ < 0.7


def test_threshold_for_an_objective_is_chosen_on_held_out_rows(path):
    model = TorchLogisticClassifier(threshold={"recall": 0.9}, random_state=0).fit(**weighted(path))
    recall = np.average(model.predict(X)[Y == "yes"] == "yes", weights=WEIGHT[Y == "yes"])
    assert recall == pytest.approx(0.9, abs=0.05)


def test_module_is_trained_on_a_streamed_table(path):
    layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1)]
    model = TorchModuleClassifier(torch.nn.Sequential(*layers), max_iter=2, random_state=0)
    assert model.fit(**weighted(path)).loss_curve_[-1] < model.loss_curve_[0]


# -- passes and windows ----------------------------------------------------------------------------


def passes_of(table, hold_out=None, weights=None):
    found = scan(table, "Test", hold_out)
    n_rows = int(found.trained.n_rows.sum())
    device = torch.device("cpu")
    return TablePasses(
        table, found.classes, weights, found.hold_out, n_rows, device, torch.float32
    ), found  # fmt: skip


def numbered(narrow, **columns):
    """Return a table whose first feature is the number of the row."""
    table = narrow(FRAME[["a", "label"]], a=np.arange(N_ROWS, dtype=np.float32), **columns)
    return open_table(table, {"y": "label", "groups": "group" if "group" in columns else None})


def rows_of(windows):
    return [window.rows.batch(slice(None)).dense()[:, 0].clone() for window in windows]


def test_windows_hold_each_row_once_in_another_order_each_time(narrow):
    passes, _ = passes_of(numbered(narrow))
    shuffler, orders = np.random.RandomState(0), []
    for _ in range(2):
        windows = rows_of(passes.windows(32, shuffler))
        assert len(windows) > 1
        assert {len(window) % 32 for window in windows[:-1]} == {0}
        orders.append(torch.cat(windows))
        assert torch.equal(orders[-1].sort().values, torch.arange(N_ROWS).float())
    assert not torch.equal(*orders)


def test_windows_without_a_shuffler_keep_the_order(narrow):
    passes, _ = passes_of(numbered(narrow))
    assert torch.equal(torch.cat(rows_of(passes.windows(32, None))), torch.arange(N_ROWS).float())


def test_windows_and_chunks_leave_held_out_rows_out(narrow):
    passes, found = passes_of(numbered(narrow), HoldOut(0.2, seed=3))
    held_out = torch.as_tensor(found.held_out.X[:, 0])
    assert 0.01 < len(held_out) / N_ROWS < 0.25
    for parts in (passes.windows(32, None), [make() for make in passes.chunks()]):
        seen = torch.cat(rows_of(parts))
        assert len(seen) + len(held_out) == N_ROWS
        assert not torch.isin(seen, held_out).any()


@pytest.mark.parametrize("as_text", [False, True])
def test_rows_of_a_group_are_held_out_together(narrow, as_text):
    groups = FRAME["group"].astype(str) if as_text else FRAME["group"]
    passes, found = passes_of(numbered(narrow, group=groups), HoldOut(0.2, seed=3))
    held_out = set(groups[found.held_out.X[:, 0].astype(int)])
    trained = torch.cat(rows_of(passes.windows(32, None))).int().numpy()
    assert held_out
    assert held_out.isdisjoint(groups.iloc[trained])


def test_sample_of_rows_with_a_period_has_all_of_them(narrow):
    number = np.arange(N_ROWS)
    _, found = passes_of(numbered(narrow, group=number % 8))
    n = np.bincount(found.sample.roles["groups"], minlength=8)
    assert not found.is_complete
    assert 0.6 * n.mean() < n.min()
    assert n.max() < 1.4 * n.mean()


def test_scaled_weights_are_those_of_memory():
    rng = np.random.default_rng(0)
    weight, target = rng.uniform(0, 1, 100), rng.integers(0, 2, 100)
    for of_rows, of_classes in ((1, 1), (3e200, 1e-200), (1e-300, 0.25)):
        class_weights = np.array([0.3, 1.7]) * of_classes
        largest = np.array([weight[target == k].max() for k in (0, 1)]) * of_rows
        weights = RowWeights.scaled(class_weights, largest)
        found = weights.scale(weight * of_rows, target)
        expected, exponent = weigh_rows(class_weights, target, weight * of_rows)
        factor = 2.0 ** (weights.exponent - exponent)
        assert_allclose(found * factor, expected, rtol=1e-14)


@pytest.mark.parametrize(
    "model",
    [
        TorchLogisticClassifier(),
        TorchMLPClassifier((4,), max_iter=1, random_state=0),
    ],
    ids=["logistic", "network"],
)
def test_memory_is_bounded(tmp_path, model):
    n_rows = 60_000
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n_rows, 20)), columns=[f"x{j}" for j in range(20)])
    frame["label"] = frame["x0"] + rng.logistic(size=n_rows) > 0
    size = frame.memory_usage().sum()
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=5000)
    table = Streamed(tmp_path / "rows.parquet", memory=size / 5)
    del frame
    assert peak_of(lambda: model.fit(table, "label")) < size / 2
    assert peak_of(lambda: model.predict(table)) < size / 3


def test_verbose_prints_the_rows_of_each_pass(narrow, capsys):
    model = TorchLogisticClassifier(verbose=1).fit(narrow(), "label")
    lines = capsys.readouterr().out.splitlines()
    passes = [
        line for line in lines if re.fullmatch(r"pass: 6,000 rows in all, [\d,]+ rows/s", line)
    ]
    assert len(passes) >= 1 + model.n_iter_[0]
    assert len(lines) == len(passes) + model.n_iter_[0]
