"""The classifiers for Dask collections are those for arrays, on other containers."""

import importlib
import pickle
import re
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from skbinary import SKOPS_TRUSTED_TYPES, TorchLogisticClassifier, TorchMLPClassifier
from skbinary.dask import DaskTorchLogisticClassifier, DaskTorchMLPClassifier
from skbinary.streaming import Streamed
from tests.dask.tables import collection, noisy, place

da = pytest.importorskip("dask.array", reason="needs the extra dask")
dd = pytest.importorskip("dask.dataframe", reason="needs the extra dask")
pd = pytest.importorskip("pandas", reason="needs the extra dask")
distributed = pytest.importorskip("distributed", reason="needs the extra dask")

PAIRS = [
    (DaskTorchLogisticClassifier, TorchLogisticClassifier),
    (DaskTorchMLPClassifier, TorchMLPClassifier),
]
CHUNKS = (200, 100, 150, 150)


@pytest.fixture
def table(client):
    X, y, weight = noisy()
    return collection(X, CHUNKS), collection(y, CHUNKS), collection(weight, CHUNKS)


@pytest.fixture
def frame(client):
    X, y, _ = noisy()
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["label"] = y
    return dd.from_pandas(frame, npartitions=4)


@pytest.mark.parametrize(("kind", "local"), PAIRS)
def test_parameters_are_those_of_the_classifier_without_dask(kind, local):
    assert kind().get_params() == local().get_params()
    assert repr(kind(max_iter=3)) == f"Dask{local(max_iter=3)!r}"


@pytest.mark.parametrize(("kind", "local"), PAIRS)
def test_docstring_has_every_parameter(kind, local):
    assert all(f"\n    {name} : " in kind.__doc__ for name in local().get_params())
    assert "{parameters}" not in kind.__doc__


def test_parameter_that_is_invalid_raises_the_same_error(table):
    X, y, _ = table
    with pytest.raises(ValueError, match=r"The 'solver' parameter of DaskTorchL.* Did you mean"):
        DaskTorchLogisticClassifier(solver="newton-cholesk").fit(X, y)


def test_client_is_not_a_parameter_not_pickled_and_kept_by_clone(client):
    model = DaskTorchLogisticClassifier()
    assert model.client is None
    model.client = client
    model.timeout = 30
    assert "client" not in model.get_params()
    assert clone(model).client is client
    assert clone(model).timeout == 30.0
    assert pickle.loads(pickle.dumps(model)).client is None


def test_timeout_that_is_not_positive_raises():
    with pytest.raises(ValueError, match=r"The 'timeout' parameter of DaskTorchLogisticClassifier"):
        DaskTorchLogisticClassifier().timeout = 0


@pytest.mark.parametrize("parameters", [{}, {"class_weight": "balanced"}, {"l1_ratio": 0.5}])
def test_logistic_fit_is_that_of_one_machine(table, parameters):
    parameters = {"tol": 1e-10, **parameters}
    model = DaskTorchLogisticClassifier(**parameters).fit(*table)
    local = TorchLogisticClassifier(**parameters).fit(*noisy())
    np.testing.assert_allclose(model.coef_, local.coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, local.intercept_, rtol=0, atol=1e-8)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.n_iter_ == local.n_iter_
    assert model.stop_reason_ == local.stop_reason_


def test_network_fit_is_that_of_one_machine_on_the_rows_in_the_order_of_workers(client):
    X, y, weight = noisy()
    model = DaskTorchMLPClassifier(max_iter=3, random_state=0, early_stopping=False)
    with pytest.warns(UserWarning, match="max_iter was reached"):  # as on the first worker
        model.fit(X, y, weight)  # sent to the workers in order
    with pytest.warns(UserWarning, match="max_iter was reached"):
        local = clone(model.to_local()).fit(X, y, weight)
    for own, other in zip(model.coefs_, local.coefs_, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Training did not converge")
def test_same_shards_give_the_same_bits(client):
    X, y, weight = noisy()
    model = DaskTorchMLPClassifier(max_iter=3, random_state=0, early_stopping=False)
    first = model.fit(X, y, weight).coefs_
    second = clone(model).fit(X, y, weight).coefs_
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.filterwarnings("ignore:Training did not converge")
def test_random_state_that_is_a_generator_advances(client):
    X, y, _ = noisy()
    models = [
        kind(random_state=np.random.RandomState(0), solver="adam", max_iter=1) for kind in PAIRS[0]
    ]
    for model in models:
        model.fit(X, y)
    states = [model.random_state.get_state()[2] for model in models]
    assert states[0] == states[1] != np.random.RandomState(0).get_state()[2]


def test_data_frame_sets_feature_names_and_string_labels(frame):
    model = DaskTorchLogisticClassifier().fit(frame.drop(columns="label"), frame["label"])
    assert model.feature_names_in_.tolist() == list("abcde")
    assert model.score(frame.drop(columns="label"), frame["label"]) > 0.8
    model.fit(*noisy())
    assert not hasattr(model, "feature_names_in_")


def test_columns_of_parquet_files_stay_in_the_same_partitions(frame, tmp_path):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    frame.to_parquet(tmp_path)
    read = dd.read_parquet(tmp_path)
    model, expected = DaskTorchLogisticClassifier(tol=1e-9), DaskTorchLogisticClassifier(tol=1e-9)
    model.fit(read.drop(columns="label"), read["label"])
    expected.fit(frame.drop(columns="label"), frame["label"])
    assert model.score(read.drop(columns="label"), read["label"]) > 0.5
    assert np.allclose(model.coef_, expected.coef_, rtol=0, atol=1e-8)


def test_sparse_chunks_fit_as_dense_ones(table):
    X, y, _ = table
    rows = X.map_blocks(sp.csr_matrix, meta=sp.csr_matrix((0, 5)))
    model = DaskTorchLogisticClassifier(tol=1e-10).fit(rows, y)
    dense = TorchLogisticClassifier(tol=1e-10).fit(*noisy()[:2])
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=0, atol=1e-8)
    assert model.predict(rows).compute().tolist() == dense.predict(noisy()[0]).tolist()


@pytest.mark.parametrize("name", ["predict", "predict_proba", "predict_log_proba"])
def test_predictions_of_a_collection_are_computed_later(table, name):
    X, y, _ = table
    model = DaskTorchLogisticClassifier().fit(X, y)
    predicted = getattr(model, name)(X)
    expected = getattr(model.to_local(), name)(noisy()[0])
    assert isinstance(predicted, da.Array)
    assert predicted.shape == expected.shape
    assert predicted.dtype == expected.dtype
    assert predicted.chunks[0] == CHUNKS
    if name == "predict":
        np.testing.assert_array_equal(predicted.compute(), expected)
    else:
        np.testing.assert_allclose(predicted.compute(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["predict", "predict_proba", "decision_function"])
def test_predictions_of_a_data_frame_are_an_array_of_its_partitions(frame, name):
    rows = frame.drop(columns="label")
    model = DaskTorchLogisticClassifier().fit(rows, frame["label"])
    predicted = getattr(model, name)(rows)
    assert isinstance(predicted, da.Array)
    assert predicted.numblocks[0] == rows.npartitions
    expected = getattr(model.to_local(), name)(rows.compute())
    assert predicted.dtype == expected.dtype
    if name == "predict":
        np.testing.assert_array_equal(predicted.compute(), expected)
    else:
        np.testing.assert_allclose(predicted.compute(), expected, rtol=1e-12)


def test_predictions_of_an_array_are_an_array(table):
    model = DaskTorchLogisticClassifier().fit(*table)
    assert type(model.predict(noisy()[0], threshold=0.9)) is np.ndarray


def test_predictions_of_a_partition_without_rows_are_empty(table):
    X, y, _ = table
    model = DaskTorchLogisticClassifier().fit(X, y)
    rows = X[X[:, 0] > X[:, 0].max() - 1e-9]  # one row, in chunks of unknown size
    assert model.predict(rows).compute().shape == (1,)
    assert model.predict_proba(rows).compute().shape == (1, 2)


def test_predictions_with_other_features_raise_at_once(table):
    model = DaskTorchLogisticClassifier().fit(*table)
    with pytest.raises(ValueError, match="X has 2 features, but TorchLogisticClassifier"):
        model.predict(table[0][:, :2])


def test_score_is_the_weighted_accuracy(table):
    X, y, weight = noisy()
    model = DaskTorchLogisticClassifier().fit(*table)
    assert model.score(*table) == pytest.approx(model.to_local().score(X, y, weight), abs=1e-12)
    assert model.score(X, y) == model.to_local().score(X, y)


def test_tune_threshold_chooses_that_of_one_machine(table):
    X, y, weight = noisy()
    model = DaskTorchLogisticClassifier(pos_label="yes").fit(*table)
    local = model.to_local().tune_threshold(X, y, {"recall": 0.95}, sample_weight=weight)
    model.tune_threshold(table[0], table[1], {"recall": 0.95}, sample_weight=table[2])
    assert model.threshold_ == local.threshold_
    assert model.threshold_interval_ == local.threshold_interval_


def test_validation_set_on_one_worker_stops_training(table):
    X, y, _ = table
    model = DaskTorchMLPClassifier(random_state=0, max_iter=5, tol=1e9, n_iter_no_change=2)
    model.fit(X, y, X_val=X[:100], y_val=y[:100])
    assert len(model.validation_loss_curve_) == len(model.loss_curve_)


@pytest.mark.parametrize("n_samples", [600, 1500])
def test_ensemble_and_its_threshold_are_those_of_one_machine(client, n_samples):
    X, y, weight = noisy(n_samples)
    model = DaskTorchMLPClassifier(
        (8,), n_members=3, max_iter=3, threshold="f1", pos_label="yes", random_state=0
    )
    local = model.to_local().fit(X, y, weight)
    client.wait_for_workers(3)
    chunks = (500, 50, 50) if n_samples == 600 else (700, 500, 300)
    shards = [slice(stop - n, stop) for n, stop in zip(chunks, np.cumsum(chunks), strict=True)]
    model.fit(*(place(client, values, shards) for values in (X, y, weight)))
    assert model.n_members_ == 3
    assert model.oof_loss_ == pytest.approx(local.oof_loss_, rel=1e-5)
    assert model.threshold_ == pytest.approx(local.threshold_, abs=1e-4)
    np.testing.assert_allclose(
        model.oof_decision_function_, local.oof_decision_function_, atol=1e-4
    )


def test_to_local_is_the_ordinary_classifier(table):
    model = DaskTorchLogisticClassifier(C=0.5).fit(*table)
    local = model.to_local()
    assert type(local) is TorchLogisticClassifier
    assert local.get_params() == model.get_params()
    assert np.array_equal(local.coef_, model.coef_)
    assert pickle.loads(pickle.dumps(local)).n_features_in_ == 5


def test_partial_fit_is_not_available():
    assert not hasattr(DaskTorchMLPClassifier(), "partial_fit")
    with pytest.raises(AttributeError, match=r"has no partial_fit.*Use to_local\(\)\.partial_fit"):
        _ = DaskTorchMLPClassifier().partial_fit


def test_fit_without_labels_raises_the_error_of_scikit_learn(table):
    with pytest.raises(ValueError, match="estimator requires y to be passed"):
        DaskTorchLogisticClassifier().fit(table[0], None)


@pytest.mark.parametrize("X", ["rows.parquet", Streamed("rows.parquet")])
def test_fit_on_a_path_raises(X):
    sentence = (
        "X must be a Dask array or data frame, or an array in memory, got "
        f"{type(X).__name__}. Read files with dask.dataframe.read_parquet."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        DaskTorchLogisticClassifier().fit(X, "label")


def test_fit_with_a_callback_of_scikit_learn_raises_its_name(table):
    reason = "scikit-learn has callbacks since version 1.9"
    callback = pytest.importorskip("sklearn.callback", reason=reason).ProgressBar()
    sentence = (
        r"callbacks must be None for a fit by several processes, each of which would call its "
        r"own, got \[.*ProgressBar.*\]\. .*"
    )
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        DaskTorchLogisticClassifier().set_callbacks(callback).fit(*table)


@pytest.mark.parametrize(
    ("export", "save", "sentence"),
    [
        ("safetensors", "save_file", "Save the classifier that its to_local() returns."),
        ("onnx", "to_onnx", "Convert the classifier that its to_local() returns."),
    ],
)
def test_export_advises_to_local(table, tmp_path, export, save, sentence):
    pytest.importorskip(
        {"onnx": "skl2onnx"}.get(export, export), reason=f"the extra {export} is not installed"
    )
    module = importlib.import_module(f"skbinary.export.{export}")
    model = DaskTorchLogisticClassifier().fit(*table)
    target = tmp_path / "file" if export == "safetensors" else np.zeros((2, 5))
    with pytest.raises((TypeError, ValueError), match=f" {re.escape(sentence)}$"):
        getattr(module, save)(model, target)


def test_skops_file_loads(table):
    skops = pytest.importorskip("skops.io", reason="the extra skops is not installed")
    model = DaskTorchLogisticClassifier().fit(*table)
    loaded = skops.loads(skops.dumps(model), trusted=SKOPS_TRUSTED_TYPES)
    assert type(loaded) is DaskTorchLogisticClassifier
    assert np.array_equal(loaded.coef_, model.coef_)


def test_error_of_a_worker_leaves_the_estimator_as_it_was(table):
    X, y, _ = table
    model = DaskTorchLogisticClassifier().fit(X, y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="y must hold two classes, got one class"):
        model.fit(X, y.map_blocks(lambda each: np.full(each.shape, "no"), dtype="U3"))
    assert vars(model) == before


def test_fit_without_a_client_raises(monkeypatch):
    def raise_error():
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "default_client", raise_error)
    with pytest.raises(ValueError, match="There must be a client of Dask's, got none"):
        DaskTorchLogisticClassifier().fit(*noisy())


def test_fit_without_dask_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'"skbinary\[dask\]"'):
        DaskTorchLogisticClassifier().fit(*noisy())
