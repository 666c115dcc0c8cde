"""Which device, which precision, how many threads, and what a GPU gives."""

import pickle
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale
from skorch.callbacks import BatchScoring, EarlyStopping, EpochScoring, GradientNormClipping

from skbinary import (
    PiecewiseLinearEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)
from skbinary.estimators.scoring import Scorer
from skbinary.runtime.device import full_precision, generator, resolve_device
from skbinary.solvers.minibatch.optimizers import Adam

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]

X, Y = load_breast_cancer(return_X_y=True)
X = scale(X)
ACCELERATORS = ("cuda", "mps", "xpu")


@pytest.fixture
def there(monkeypatch):
    """Let the test say which accelerators are there, and how many of each."""

    def declare(**counts):
        for name in ACCELERATORS:
            backend = getattr(torch, name)
            count = counts.get(name, 0)
            monkeypatch.setattr(backend, "is_available", lambda count=count: count > 0)
            monkeypatch.setattr(backend, "device_count", lambda count=count: count)

    declare()
    return declare


# -- resolve_device -----------------------------------------------------------------------------

ORDER = [
    ({"cuda": 1, "mps": 1, "xpu": 1}, "cuda"),
    ({"mps": 1, "xpu": 1}, "mps"),
    ({"xpu": 1}, "xpu"),
    ({"cuda": 1, "xpu": 2}, "cuda"),
    ({}, "cpu"),
]


@pytest.mark.parametrize(("counts", "expected"), ORDER)
def test_resolve_device_auto_takes_the_first_available(there, counts, expected):
    there(**counts)
    assert resolve_device("auto") == torch.device(expected)


@pytest.mark.parametrize("data", [np.zeros((2, 2)), [[0.0]], None])
def test_resolve_device_auto_with_other_data_takes_the_best_one(there, data):
    there(cuda=1)
    assert resolve_device("auto", data) == torch.device("cuda")


def test_resolve_device_auto_with_a_tensor_takes_its_device(there):
    there(cuda=1)
    assert resolve_device("auto", torch.zeros(2, 2)) == torch.device("cpu")


def test_resolve_device_auto_with_a_tensor_elsewhere_takes_its_device():
    tensor = torch.zeros(2, 2, device="meta")
    assert resolve_device("auto", tensor) == torch.device("meta")


def test_resolve_device_named_with_a_tensor_elsewhere_takes_the_name():
    tensor = torch.zeros(2, 2, device="meta")
    assert resolve_device("cpu", tensor) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps", "xpu:0"])
@pytest.mark.parametrize("kind", [str, torch.device])
def test_resolve_device_with_a_name_takes_it(there, name, kind):
    there(cuda=2, mps=1, xpu=1)
    assert resolve_device(kind(name)) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("cdua", "cuda"),
        ("gpu0", None),
        ("gpu", "cuda"),
        ("GPU:1", "cuda"),
        ("metal", "mps"),
        ("CPU", "cpu"),
        ("cud:0", "cuda"),
        ("autoo", "auto"),
    ],
)
def test_resolve_device_with_an_unknown_name_is_an_error_that_suggests(name, suggestion):
    hint = f"Did you mean '{suggestion}'" if suggestion else "Use 'auto', 'cpu' or 'cuda'"
    message = rf"device must be 'auto' or the name of a torch device, got '{name}'.*{hint}"
    with pytest.raises(ValueError, match=message):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "xpu", "meta", "hpu", "vulkan"])
@pytest.mark.parametrize("kind", [str, torch.device])
def test_resolve_device_unavailable_is_an_error(there, name, kind):
    there()
    message = rf"device must be available, got '{name}'.*device='auto'"
    with pytest.raises(ValueError, match=message):
        resolve_device(kind(name))


def test_resolve_device_with_an_index_beyond_the_last_is_an_error(there):
    there(cuda=2)
    with pytest.raises(ValueError, match="got 'cuda:2'"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("make", [TorchLogisticClassifier, TorchMLPClassifier])
@pytest.mark.parametrize("name", ["cuda", "cdua"])
def test_fit_on_an_unavailable_device_leaves_the_estimator_unfitted(there, make, name):
    there()
    model = make(device=name)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="device must be"):
        model.fit(X, Y)
    assert vars(model) == before


@pytest.mark.parametrize("make", [TorchLogisticClassifier, TorchMLPClassifier])
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "auto"])
def test_fit_sets_the_name_of_the_device(there, make, device):
    there()
    assert make(device=device, max_iter=1).fit(X, Y).device_ == "cpu"


def test_fit_on_auto_with_a_tensor_stays_on_its_device(there):
    there(cuda=1)
    model = TorchLogisticClassifier().fit(torch.tensor(X), torch.tensor(Y))
    assert model.device_ == "cpu"


def test_predict_of_a_model_from_an_absent_device_warns_once_and_gives_the_same(there):
    there()
    model = TorchLogisticClassifier().fit(X, Y)
    expected = model.predict_proba(X)
    model._state = replace(model._state, device="cuda:0")
    with pytest.warns(UserWarning, match="fitted on cuda:0, which is not available.*CPU") as caught:
        probabilities = model.predict_proba(X)
    assert len(caught) == 1
    assert_array_equal(probabilities, expected)


@pytest.mark.parametrize("name", ["net_", "module_"])
def test_view_of_a_model_from_an_absent_device_is_on_the_cpu(there, name):
    there()
    model = TorchMLPClassifier((4,), max_iter=1).fit(X, Y)
    model._state = replace(model._state, device="cuda:0")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The model was fitted on cuda:0")
        view = getattr(model, name)
    module = view.module_ if name == "net_" else view
    assert next(module.parameters()).device.type == "cpu"


# -- full_precision -----------------------------------------------------------------------------


def test_full_precision_on_mps_is_float32():
    assert full_precision(torch.device("mps")) == torch.float32


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "xpu"])
def test_full_precision_elsewhere_is_float64(name):
    assert full_precision(torch.device(name)) == torch.float64


def test_generator_does_not_change_the_global_random_state():
    before = torch.get_rng_state()
    first, second = (generator(3, torch.device("cpu")) for _ in range(2))
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))
    assert torch.equal(torch.get_rng_state(), before)


# -- threads ------------------------------------------------------------------------------------


@pytest.fixture
def three_threads():
    """Set three threads, and restore the setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("make", [TorchLogisticClassifier, TorchMLPClassifier])
def test_fit_with_another_thread_count_is_bit_identical(make):
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        found.append(weights_of(make(max_iter=3, random_state=0).fit(X, Y)))
    torch.set_num_threads(before)
    assert_array_equal(*found)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("rate", [0.01, 1e30])
def test_fit_does_not_change_the_thread_count(rate):
    model = TorchMLPClassifier((4,), solver="sgd", learning_rate_init=rate, max_iter=3)
    try:
        model.fit(X, Y)
    except ValueError:  # it diverged
        assert rate > 1
    assert torch.get_num_threads() == 3


# -- settings of the process --------------------------------------------------------------------


@contextmanager
def setting(put, value, usual):
    put(value)
    try:
        yield
    finally:
        put(usual)


@contextmanager
def raising_numpy():
    before = np.seterr(all="raise")
    try:
        yield
    finally:
        np.seterr(**before)


SETTINGS = {
    "default device meta": lambda: setting(torch.set_default_device, "meta", None),
    "with device meta": lambda: torch.device("meta"),
    "default dtype float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype float16": lambda: setting(torch.set_default_dtype, torch.float16, torch.float32),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "NumPy errors raise": raising_numpy,
    "assume finite": lambda: config_context(assume_finite=True),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
}
FEW = X[:80, :5], Y[:80]
SPARSE = sparse.csr_array(np.where(X[:80] > 0.5, X[:80], 0))
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "batch_size": 20}


def scores_of(model, rows):
    """Return all scores in one array, also where probabilities are next to 0 and 1."""
    scores = [
        np.c_[model.decision_function(each), model.predict_proba(each), model.predict(each)]
        for each in (rows, rows * 1e4)
    ]
    return np.concatenate(scores)


def searched(model, grid):
    search = VectorizedGridSearchCV(model, grid, cv=2, scoring="roc_auc").fit(*FEW)
    return np.append(scores_of(search, FEW[0]).ravel(), search.cv_results_["mean_test_score"])


USES = {
    "newton": lambda: scores_of(TorchLogisticClassifier().fit(*FEW), FEW[0]),
    "l1": lambda: scores_of(TorchLogisticClassifier(l1_ratio=0.5).fit(*FEW), FEW[0]),
    "lbfgs": lambda: scores_of(TorchMLPClassifier(**SMALL, solver="lbfgs").fit(*FEW), FEW[0]),
    "sparse": lambda: scores_of(TorchLogisticClassifier().fit(SPARSE, FEW[1]), SPARSE),
    "network": lambda: scores_of(TorchMLPClassifier(**SMALL).fit(*FEW), FEW[0]),
    "dropout": lambda: scores_of(TorchMLPClassifier(**SMALL, dropout=0.3).fit(*FEW), FEW[0]),
    "members": lambda: scores_of(TorchMLPClassifier(**SMALL, n_members=2).fit(*FEW), FEW[0]),
    "objective": lambda: scores_of(
        TorchMLPClassifier(**SMALL, threshold={"cost_fp": 1, "cost_fn": 5}).fit(*FEW), FEW[0]
    ),
    "monitor": lambda: scores_of(
        TorchMLPClassifier(**SMALL, monitor="roc_auc", validation_fraction=0.4).fit(*FEW), FEW[0]
    ),
    "callbacks": lambda: scores_of(
        TorchMLPClassifier(**SMALL, callbacks=[EpochScoring("roc_auc", use_caching=False)]).fit(
            *FEW
        ),
        FEW[0],
    ),
    "partial_fit": lambda: scores_of(TorchMLPClassifier(**SMALL).partial_fit(*FEW), FEW[0]),
    "tune_threshold": lambda: np.array(
        [TorchLogisticClassifier().fit(*FEW).tune_threshold(*FEW, "f1").threshold_]
    ),
    "search of linear models": lambda: searched(TorchLogisticClassifier(), {"C": [0.1, 1.0]}),
    "search of networks": lambda: searched(TorchMLPClassifier(**SMALL), {"alpha": [1e-4, 1.0]}),
    "encoder": lambda: PiecewiseLinearEncoder().fit(FEW[0]).transform(FEW[0] * 1e-300),
    "module": lambda: np.concatenate(
        [
            each.detach().numpy().ravel()
            for each in TorchMLPClassifier(**SMALL).fit(*FEW).module_.parameters()
        ]
    ),
    "net": lambda: TorchMLPClassifier(**SMALL).fit(*FEW).net_.predict_proba(FEW[0]),
}


@pytest.mark.parametrize("state", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_settings_of_the_process_do_not_change_a_bit(use, state):
    expected = use()
    with state():
        found = use()
    assert_array_equal(found, expected)


def test_settings_of_the_process_are_restored_after_fit():
    with (
        setting(torch.set_default_device, "meta", None),
        setting(torch.set_default_dtype, torch.float64, torch.float32),
        torch.inference_mode(),
        torch.autocast("cpu"),
        raising_numpy(),
    ):
        TorchMLPClassifier(**SMALL).fit(*FEW).predict(FEW[0])
        assert torch.zeros(1).device.type == "meta"
        assert torch.get_default_dtype() == torch.float64
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert set(np.geterr().values()) == {"raise"}
    assert torch.zeros(1).device.type == "cpu"


def test_default_settings_apply_on_the_threads_of_a_search(monkeypatch):
    seen, original = [], Scorer.scores

    def spy(self, *args):
        seen.append((torch.zeros(1).device.type, torch.is_autocast_enabled("cpu"), np.geterr()))
        return original(self, *args)

    monkeypatch.setattr(Scorer, "scores", spy)
    model = TorchMLPClassifier(**SMALL)
    search = VectorizedGridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2, n_jobs=2, refit=False)
    usual = np.geterr()
    with setting(torch.set_default_device, "meta", None), torch.autocast("cpu"), raising_numpy():
        search.fit(*FEW)
    assert len(seen) == 4
    assert all(each == ("cpu", False, usual) for each in seen)


def test_default_dtype_does_not_round_the_step_count():
    # float16 knows no 2049, so that a step counted in it would stand still there.
    with setting(torch.set_default_dtype, torch.float16, torch.float32):
        assert Adam(torch.zeros(1, 3))._step.dtype == torch.float32


# -- on a GPU -----------------------------------------------------------------------------------


@pytest.fixture
def cuda():
    """Skip where there is no GPU, else give the name of the device."""
    if not torch.cuda.is_available():
        pytest.skip("torch reaches no CUDA device here")
    return "cuda"


def weights_of(model):
    """Return all weights and biases in one vector."""
    if hasattr(model, "coefs_"):
        return np.concatenate([each.ravel() for each in [*model.coefs_, *model.intercepts_]])
    return np.concatenate([model.coef_.ravel(), model.intercept_])


FULL_BATCH = {
    "newton": TorchLogisticClassifier(solver="newton-cholesky", tol=1e-10),
    "lbfgs": TorchLogisticClassifier(solver="lbfgs", tol=1e-10, max_iter=1000),
}
MLP = {"hidden_layer_sizes": (16, 8), "max_iter": 5, "batch_size": 64, "random_state": 0}
NETWORKS = {
    "adam": TorchMLPClassifier(**MLP),
    "sgd": TorchMLPClassifier(**MLP, solver="sgd", learning_rate_init=0.05),
    "gelu": TorchMLPClassifier(**MLP, activation="gelu", learning_rate="onecycle"),
    "early stopping": TorchMLPClassifier(**MLP, early_stopping=True),
}
WITH_BATCHES = {
    **NETWORKS,
    "dropout": TorchMLPClassifier(**MLP, dropout=0.3),
    "lbfgs": TorchMLPClassifier((8,), solver="lbfgs", max_iter=20, random_state=0),
    "logistic": TorchLogisticClassifier(solver="adam", max_iter=5, random_state=0),
}
TABLE_KINDS = pytest.mark.parametrize(
    "kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"]
)


def models(table):
    return pytest.mark.parametrize("model", table.values(), ids=table.keys())


def fitted(model, device, rows=X, y=Y, **kwargs):
    return clone(model).set_params(device=device).fit(rows, y, **kwargs)


@pytest.mark.gpu
@models(FULL_BATCH)
@TABLE_KINDS
def test_full_batch_on_cuda_has_the_optimum_of_the_cpu(cuda, model, kind):
    on_gpu, on_cpu = fitted(model, cuda, kind(X)), fitted(model, "cpu", kind(X))
    assert on_gpu.device_.startswith("cuda")
    assert_allclose(weights_of(on_gpu), weights_of(on_cpu), rtol=1e-6, atol=1e-9)


@pytest.mark.gpu
@models(FULL_BATCH)
def test_full_batch_on_cuda_with_weights_has_the_optimum_of_the_cpu(cuda, model):
    weight = np.random.RandomState(0).randint(0, 3, size=len(Y))
    on_gpu, on_cpu = (fitted(model, each, sample_weight=weight) for each in (cuda, "cpu"))
    assert_allclose(weights_of(on_gpu), weights_of(on_cpu), rtol=1e-6, atol=1e-9)


@pytest.mark.gpu
@models(NETWORKS)
@TABLE_KINDS
def test_network_on_cuda_has_the_loss_curve_of_the_cpu(cuda, model, kind):
    on_gpu, on_cpu = fitted(model, cuda, kind(X)), fitted(model, "cpu", kind(X))
    assert_allclose(on_gpu.loss_curve_, on_cpu.loss_curve_, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("n_members", [1, 3])
def test_embedding_and_weight_average_on_cuda_have_the_curves_of_the_cpu(cuda, n_members):
    params = {"numeric_embedding": "periodic", "weight_average": 0.9, "n_members": n_members}
    model = clone(NETWORKS["adam"]).set_params(**params, n_iter_no_change=np.inf)
    on_gpu, on_cpu = fitted(model, cuda), fitted(model, "cpu")
    assert_allclose(on_gpu.loss_curve_, on_cpu.loss_curve_, atol=1e-3)
    assert on_gpu.temperature_ == pytest.approx(on_cpu.temperature_, abs=1e-2)
    on_tensor = clone(model).fit(torch.tensor(X, device=cuda), Y)
    assert_array_equal(on_tensor.embedding_["columns"], on_cpu.embedding_["columns"])
    assert_allclose(on_gpu.predict_proba(X), on_cpu.predict_proba(X), atol=0.01)


@pytest.mark.gpu
def test_network_on_cuda_with_validation_rows_has_the_curves_of_the_cpu(cuda):
    validation = {"X_val": X[400:], "y_val": Y[400:]}
    on_gpu, on_cpu = (
        fitted(NETWORKS["adam"], each, X[:400], Y[:400], **validation) for each in (cuda, "cpu")
    )
    assert_allclose(on_gpu.validation_loss_curve_, on_cpu.validation_loss_curve_, atol=1e-3)
    assert_allclose(on_gpu.validation_scores_, on_cpu.validation_scores_, atol=0.02)


@pytest.mark.gpu
def test_early_stopping_on_cuda_holds_out_the_rows_of_the_cpu(cuda):
    on_gpu, on_cpu = (fitted(NETWORKS["early stopping"], each) for each in (cuda, "cpu"))
    curves = on_gpu.validation_loss_curve_, on_cpu.validation_loss_curve_
    assert_allclose(*curves, atol=1e-3)


@pytest.mark.gpu
@models({**FULL_BATCH, **WITH_BATCHES})
def test_score_on_cuda_is_that_on_the_cpu(cuda, model):
    model = fitted(model, cuda)
    on_gpu = model.decision_function(X)
    model._state = replace(model._state, device="cpu")
    assert_allclose(on_gpu, model.decision_function(X), rtol=1e-9, atol=1e-10)


@pytest.mark.gpu
@models({**FULL_BATCH, **WITH_BATCHES})
@TABLE_KINDS
def test_fit_on_cuda_again_is_bit_identical(cuda, model, kind):
    first, second = (weights_of(fitted(model, cuda, kind(X))) for _ in range(2))
    assert_array_equal(first, second)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bfloat16])
@pytest.mark.parametrize("model", [FULL_BATCH["newton"], NETWORKS["adam"]])
def test_tensor_on_cuda_is_trained_and_scored_there(cuda, model, dtype, monkeypatch):
    rows, y = torch.tensor(X * 4).to(cuda, dtype), torch.tensor(Y, device=cuda)
    moved = []
    monkeypatch.setattr(torch.Tensor, "numpy", watched(torch.Tensor.numpy, moved))
    model = clone(model).fit(rows, y)
    scores = model.decision_function(rows)
    assert model.device_ == "cuda:0"
    assert isinstance(scores, np.ndarray)
    assert max(moved) <= max(len(Y), len(weights_of(model)))


def watched(method, sizes):
    def counted(self, *args, **kwargs):
        sizes.append(self.numel())
        return method(self, *args, **kwargs)

    return counted


@pytest.mark.gpu
def test_tensor_on_cuda_gives_the_weights_of_the_array(cuda):
    model = fitted(NETWORKS["adam"], cuda)
    tensor = clone(NETWORKS["adam"]).fit(torch.tensor(X, device=cuda), Y)
    assert_array_equal(weights_of(tensor), weights_of(model))


@pytest.mark.gpu
def test_tensor_on_cuda_with_a_model_for_the_cpu_is_trained_on_the_cpu(cuda):
    model = clone(NETWORKS["adam"]).set_params(device="cpu").fit(torch.tensor(X, device=cuda), Y)
    assert model.device_ == "cpu"
    assert_array_equal(weights_of(model), weights_of(fitted(NETWORKS["adam"], "cpu")))


@pytest.mark.gpu
def test_tensor_on_cuda_with_nan_is_an_error(cuda):
    rows = torch.tensor(X, device=cuda)
    rows[3, 4] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        clone(NETWORKS["adam"]).fit(rows, Y)


@pytest.mark.gpu
def test_images_on_cuda_give_the_weights_of_flat_rows(cuda):
    images = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(cuda)
    model = clone(NETWORKS["adam"]).fit(images, Y[:60])
    flat = clone(NETWORKS["adam"]).fit(images.reshape(60, -1), Y[:60])
    assert model.sample_shape_ == (3, 8, 8)
    assert_array_equal(weights_of(model), weights_of(flat))


@pytest.mark.gpu
@models({**FULL_BATCH, **WITH_BATCHES})
def test_pickle_from_cuda_holds_no_torch_object(cuda, model):
    assert b"torch" not in pickle.dumps(fitted(model, cuda)).replace(b"Torch", b"")


@pytest.mark.gpu
@models({**FULL_BATCH, **WITH_BATCHES})
def test_pickle_from_cuda_predicts_where_cuda_is_hidden(cuda, model, there):
    there(cuda=1)
    model = fitted(model, cuda)
    expected = model.predict_proba(X)
    there()
    loaded = pickle.loads(pickle.dumps(model))
    with pytest.warns(UserWarning, match="fitted on cuda"):
        probabilities = loaded.predict_proba(X)
    assert_allclose(probabilities, expected, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_on_cuda_learns(cuda, rate):
    settings = {**MLP, "max_iter": 60, "learning_rate_init": 0.01}
    model = TorchMLPClassifier(**settings, dropout=rate, device=cuda).fit(X, Y)
    assert model.score(X, Y) > 0.95


@pytest.mark.gpu
def test_dropout_on_cuda_does_not_change_the_global_random_states(cuda):
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    fitted(WITH_BATCHES["dropout"], cuda)
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.gpu
def test_weight_in_one_batch_on_cuda_is_the_row_so_many_times_to_the_bit(cuda):
    counts = np.random.RandomState(0).randint(0, 4, size=100)
    repeated = np.repeat(np.arange(100), counts)
    settings = {**MLP, "batch_size": 500, "dropout": 0.2}
    model = TorchMLPClassifier(**settings, device=cuda)
    weighted = clone(model).fit(X[:100], Y[:100], sample_weight=counts)
    many = clone(model).fit(X[repeated], Y[repeated])
    assert_array_equal(weights_of(weighted), weights_of(many))


@pytest.mark.gpu
def test_memory_map_on_cuda_gives_the_weights_of_the_array(cuda, tmp_path):
    np.save(tmp_path / "rows.npy", X.astype(np.float32))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    mapped = fitted(NETWORKS["adam"], cuda, rows)
    assert_array_equal(
        weights_of(mapped), weights_of(fitted(NETWORKS["adam"], cuda, np.array(rows)))
    )


@pytest.mark.gpu
@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping("train_loss", patience=2, load_best=True),
        EpochScoring("roc_auc", lower_is_better=False, on_train=True),
        BatchScoring("accuracy", lower_is_better=False, on_train=True),
        GradientNormClipping(0.5),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callback_on_cuda_has_the_loss_curve_of_the_cpu(cuda, callback):
    model = clone(NETWORKS["adam"]).set_params(callbacks=[callback])
    on_gpu, on_cpu = fitted(model, cuda), fitted(model, "cpu")
    assert_allclose(on_gpu.loss_curve_, on_cpu.loss_curve_, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [X, torch.tensor(X)], ids=["array", "tensor"])
def test_callback_on_cuda_scores_the_rows_of_the_user(cuda, rows):
    scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=True)
    model = clone(NETWORKS["adam"]).set_params(callbacks=[scoring], device=cuda)
    rows = rows.to(cuda) if isinstance(rows, torch.Tensor) else rows
    assert len(model.fit(rows, Y).loss_curve_) == 5


@pytest.mark.gpu
def test_net_on_cuda_gives_the_estimators_probabilities(cuda):
    model = fitted(NETWORKS["adam"], cuda)
    assert next(model.net_.module_.parameters()).device.type == "cuda"
    assert_allclose(model.net_.predict_proba(X), model.predict_proba(X), atol=1e-5)


@pytest.mark.gpu
def test_partial_fit_on_cuda_goes_on_as_on_the_cpu(cuda):
    models = [clone(NETWORKS["adam"]).set_params(device=each) for each in (cuda, "cpu")]
    for _ in range(5):
        for model in models:
            model.partial_fit(X, Y)
    assert_allclose(models[0].loss_curve_, models[1].loss_curve_, atol=1e-3)


@pytest.mark.gpu
def test_ensemble_on_cuda_holds_out_the_rows_of_the_cpu(cuda):
    model = TorchMLPClassifier(**MLP, n_members=3)
    on_gpu, on_cpu = fitted(model, cuda), fitted(model, "cpu")
    assert_allclose(on_gpu.oof_decision_function_, on_cpu.oof_decision_function_, atol=0.05)
    assert [each.shape for each in on_gpu.coefs_] == [each.shape for each in on_cpu.coefs_]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "model",
    [
        TorchLogisticClassifier(threshold={"recall": 0.9}),
        TorchMLPClassifier(**MLP, threshold="f1"),
        TorchMLPClassifier(**MLP, threshold="f1", monitor="roc_auc"),
    ],
    ids=["logistic", "network", "monitored"],
)
def test_threshold_on_cuda_is_that_of_the_cpu(cuda, model):
    on_gpu, on_cpu = fitted(model, cuda), fitted(model, "cpu")
    assert on_gpu.threshold_ == pytest.approx(on_cpu.threshold_, abs=0.05)
