"""A fitted model is saved, moved and repeated, and nothing outside of it is touched."""

import logging
import multiprocessing
import os
import pickle
import pickletools
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
import torch._dynamo  # torch's optimizers import it, and it registers filters and loggers
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skbinary import (
    PiecewiseLinearEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Every solver, and whatever else draws random numbers.
MODELS = {
    "logistic-newton": TorchLogisticClassifier(solver="newton-cholesky", random_state=0),
    "logistic-lbfgs": TorchLogisticClassifier(solver="lbfgs", random_state=0),
    "logistic-adam": TorchLogisticClassifier(solver="adam", max_iter=5, random_state=0),
    "logistic-sgd": TorchLogisticClassifier(solver="sgd", max_iter=5, random_state=0),
    "logistic-stopped": TorchLogisticClassifier(
        solver="adam", max_iter=5, early_stopping=True, random_state=0
    ),
    "mlp-adam": TorchMLPClassifier((8,), max_iter=5, random_state=0),
    "mlp-sgd": TorchMLPClassifier((8,), solver="sgd", max_iter=5, random_state=0),
    "mlp-lbfgs": TorchMLPClassifier((8,), solver="lbfgs", max_iter=20, random_state=0),
    "mlp-dropout": TorchMLPClassifier((8, 4), dropout=0.2, max_iter=5, random_state=0),
    "mlp-stopped": TorchMLPClassifier((8,), early_stopping=True, max_iter=5, random_state=0),
}
EVERY = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
BOTH_KINDS = [MODELS["logistic-newton"], MODELS["mlp-adam"]]
BOTH = pytest.mark.parametrize("model", BOTH_KINDS, ids=["logistic", "mlp"])
needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes are not forked here"
)
WITH_BATCHES = pytest.mark.parametrize(
    "model",
    [MODELS[name] for name in ("logistic-adam", "logistic-sgd", "mlp-adam", "mlp-sgd")],
    ids=["logistic-adam", "logistic-sgd", "mlp-adam", "mlp-sgd"],
)
SCORES = ["predict", "predict_proba", "predict_log_proba", "decision_function"]


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def weights_of(model):
    """Give all that was learnt, in one array."""
    arrays = [model.coef_, model.intercept_] if hasattr(model, "coef_") else None
    arrays = arrays or [*model.coefs_, *model.intercepts_]
    return np.concatenate([each.ravel() for each in arrays])


def curves_of(model):
    return {name: values for name, values in model.history_.items() if name != "seconds"}


def assert_same_fit(one, other):
    np.testing.assert_array_equal(weights_of(one), weights_of(other))
    assert curves_of(one) == curves_of(other)


def torch_globals(pickled):
    """List the names from torch that unpickling would look up."""
    found, strings = [], []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            found.append(argument)
        elif opcode.name == "STACK_GLOBAL":
            # The module's name may come from the memo, so every earlier string is a suspect.
            found.extend(strings)
        if isinstance(argument, str):
            strings.append(argument)
    return [name for name in found if name.split(".")[0].split(" ")[0] == "torch"]


def torch_objects(value, path="model"):
    """List where in an object something of torch is."""
    if type(value).__module__.split(".")[0] == "torch":
        return [path]
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, (list, tuple, set)):
        parts = enumerate(value)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        parts = enumerate(value.ravel())
    else:
        parts = vars(value).items() if hasattr(value, "__dict__") else ()
    return [found for name, part in parts for found in torch_objects(part, f"{path}.{name}")]


# -- round trips ----------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_of_any_protocol_gives_the_same_model(model, protocol, cancer):
    X, y = cancer
    fitted = clone(model).fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted, protocol=protocol))

    assert loaded.history_ == fitted.history_
    assert loaded.get_params() == fitted.get_params()
    for score in SCORES:
        np.testing.assert_array_equal(getattr(loaded, score)(X), getattr(fitted, score)(X))


@EVERY
@pytest.mark.parametrize("compress", [0, 3, ("lzma", 1)], ids=["plain", "zlib", "lzma"])
def test_joblib_with_compression_gives_the_same_model(model, compress, cancer, tmp_path):
    X, y = cancer
    fitted = clone(model).fit(X, y)
    joblib.dump(fitted, tmp_path / "model.joblib", compress=compress)
    loaded = joblib.load(tmp_path / "model.joblib")

    for score in SCORES:
        np.testing.assert_array_equal(getattr(loaded, score)(X), getattr(fitted, score)(X))


@BOTH
def test_joblib_load_with_memory_map_predicts_the_same(model, cancer, tmp_path):
    X, y = cancer
    fitted = clone(model).fit(X, y)
    joblib.dump(fitted, tmp_path / "model.joblib")
    # The loaded weights are read-only memory, which torch does not know.
    loaded = joblib.load(tmp_path / "model.joblib", mmap_mode="r")

    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


@BOTH
def test_equal_fits_pickle_equal_apart_from_seconds(model, cancer):
    pickles = []
    for _ in range(2):
        fitted = clone(model).fit(*cancer)
        fitted.history_["seconds"] = [0.0] * len(fitted.history_["seconds"])
        pickles.append(pickle.dumps(fitted))

    assert pickles[0] == pickles[1]


LOAD_AND_SCORE = """
import pickle, sys
import joblib
import numpy as np
folder = sys.argv[1]
X = np.load(f"{folder}/X.npy")
scores = {}
for name in sys.argv[2:]:
    with open(f"{folder}/{name}.pickle", "rb") as file:
        scores[f"{name} pickle"] = pickle.load(file).predict_proba(X)
    scores[f"{name} joblib"] = joblib.load(f"{folder}/{name}.joblib").predict_proba(X)
np.savez(f"{folder}/scores.npz", **scores)
"""


def test_models_loaded_in_a_fresh_process_without_cuda_predict_the_same(cancer, tmp_path):
    X, y = cancer
    fitted = {name: clone(model).fit(X, y) for name, model in MODELS.items()}
    np.save(tmp_path / "X.npy", X)
    for name, model in fitted.items():
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(model))
        joblib.dump(model, tmp_path / f"{name}.joblib", compress=3)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_SCORE, str(tmp_path), *fitted],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "scores.npz") as scores:
        assert len(scores) == 2 * len(fitted)
        for name, model in fitted.items():
            for way in ("pickle", "joblib"):
                np.testing.assert_array_equal(scores[f"{name} {way}"], model.predict_proba(X))


# -- what is inside -------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("protocol", [2, 5])
def test_pickle_of_a_fitted_model_names_nothing_of_torch(model, protocol, cancer):
    fitted = clone(model).fit(*cancer)
    # Reading these builds torch objects, which must not stay.
    assert fitted.module_ is not None
    assert fitted.net_ is not None

    assert torch_globals(pickle.dumps(fitted, protocol=protocol)) == []


def test_torch_globals_finds_torch_where_it_is():
    tensor = torch.zeros(2)

    assert all(torch_globals(pickle.dumps(tensor, protocol=protocol)) for protocol in (2, 4, 5))


@EVERY
def test_fitted_state_holds_no_torch_object(model, cancer):
    fitted = clone(model).fit(*cancer)
    fitted.predict(cancer[0])

    assert torch_objects(fitted) == []
    assert torch_objects([{"a": (torch.zeros(1),)}]) == ["model.0.a.0"]


@WITH_BATCHES
def test_state_after_partial_fit_holds_no_torch_object(model, cancer):
    fitted = clone(model).partial_fit(*cancer)

    assert torch_objects(fitted) == []
    assert torch_globals(pickle.dumps(fitted)) == []


@BOTH
def test_fit_on_torch_tensors_keeps_no_tensor(model, cancer):
    X, y = cancer
    fitted = clone(model).fit(torch.tensor(X), torch.tensor(y), torch.ones(len(y)))

    assert torch_objects(fitted) == []
    np.testing.assert_array_equal(fitted.predict(X), clone(model).fit(X, y).predict(X))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_pickle_of_an_mlp_is_no_larger_than_its_weights_and_20_kb(early_stopping, cancer):
    model = TorchMLPClassifier(
        (256, 128),
        max_iter=200,
        n_iter_no_change=200,
        early_stopping=early_stopping,
        random_state=0,
    ).fit(*cancer)
    n_bytes = sum(each.nbytes for each in model.coefs_ + model.intercepts_)

    assert len(model.loss_curve_) == 200
    assert len(pickle.dumps(model)) <= n_bytes + 20_000


# -- other machines -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("score", [*SCORES, "score"])
def test_model_fitted_on_cuda_predicts_on_the_cpu_with_one_warning(model, score, cancer):
    if torch.cuda.is_available():
        pytest.skip("CUDA is there, so nothing is missing")
    X, y = cancer
    fitted = clone(model).fit(X, y)
    given = (X, y) if score == "score" else (X,)
    expected = getattr(fitted, score)(*given)
    fitted.device_ = "cuda:0"
    loaded = pickle.loads(pickle.dumps(fitted))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(loaded, score)(*given)

    np.testing.assert_array_equal(found, expected)
    assert [str(each.message) for each in caught] == [
        "The model was fitted on cuda:0, which is not available. It predicts on the CPU."
    ]
    assert loaded.device_ == "cuda:0"


@BOTH
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_model_fitted_on_cuda_predicts_in_a_process_without_it(model, cancer, tmp_path):
    X, y = cancer
    fitted = clone(model).set_params(device="cuda").fit(X, y)
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(fitted))
    joblib.dump(fitted, tmp_path / "model.joblib")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_SCORE, str(tmp_path), "model"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "It predicts on the CPU." in done.stderr
    with np.load(tmp_path / "scores.npz") as scores:
        np.testing.assert_allclose(scores["model pickle"], fitted.predict_proba(X), rtol=1e-9)


# -- going on -------------------------------------------------------------------------------------


@WITH_BATCHES
def test_partial_fit_after_unpickling_goes_on_as_without(model, cancer):
    X, y = cancer
    straight, travelled = clone(model), clone(model)
    for _ in range(3):
        straight.partial_fit(X, y)
        travelled = pickle.loads(pickle.dumps(travelled.partial_fit(X, y)))

    assert len(straight.loss_curve_) == 3
    assert_same_fit(straight, travelled)


@BOTH
def test_warm_start_after_unpickling_goes_on_as_without(model, cancer):
    model = clone(model).set_params(warm_start=True, max_iter=3)
    straight = clone(model).fit(*cancer)
    travelled = pickle.loads(pickle.dumps(straight))

    assert_same_fit(straight.fit(*cancer), travelled.fit(*cancer))


# -- the same numbers again -----------------------------------------------------------------------


@EVERY
def test_random_state_repeats_the_fit_bit_for_bit(model, cancer):
    assert_same_fit(clone(model).fit(*cancer), clone(model).fit(*cancer))


@EVERY
def test_refit_of_the_same_estimator_repeats_the_fit_bit_for_bit(model, cancer):
    once, twice = clone(model).fit(*cancer), clone(model).fit(*cancer).fit(*cancer)

    assert_same_fit(once, twice)


@pytest.mark.parametrize("name", ["mlp-adam", "mlp-dropout", "mlp-stopped", "logistic-adam"])
def test_another_random_state_gives_another_fit(name, cancer):
    model = MODELS[name]
    other = clone(model).set_params(random_state=1)

    assert np.any(weights_of(clone(model).fit(*cancer)) != weights_of(other.fit(*cancer)))


@pytest.mark.parametrize("name", ["mlp-adam", "mlp-dropout", "mlp-stopped", "logistic-adam"])
def test_random_state_none_gives_another_fit_each_time(name, cancer):
    model = clone(MODELS[name]).set_params(random_state=None)
    np.random.seed(0)
    first = weights_of(clone(model).fit(*cancer))
    np.random.seed(0)

    assert np.any(first != weights_of(clone(model).fit(*cancer)))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fits_in_two_workers_equal_fits_here_bit_for_bit(backend, cancer):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        there = joblib.Parallel()(
            joblib.delayed(clone(model).fit)(*cancer) for model in MODELS.values()
        )

    for model, fitted in zip(MODELS.values(), there, strict=True):
        assert_same_fit(clone(model).fit(*cancer), fitted)


@pytest.mark.parametrize(
    "model",
    [
        TorchLogisticClassifier(solver="newton-cholesky", max_iter=2),
        TorchLogisticClassifier(solver="lbfgs", max_iter=3),
        TorchMLPClassifier((32,), solver="lbfgs", max_iter=2, random_state=0),
        TorchMLPClassifier((32,), batch_size=8000, max_iter=2, random_state=0),
    ],
    ids=["logistic-newton", "logistic-lbfgs", "mlp-lbfgs", "mlp-large-batches"],
)
def test_fit_is_the_same_bit_for_bit_with_one_thread_and_with_two(model, threads):
    # Workers have fewer threads than the main process, and must still give the same numbers.
    rng = np.random.RandomState(0)
    X = rng.randn(20_000, 40)
    y = (X[:, 0] + rng.randn(len(X)) > 0).astype(int)
    fits = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        fits.append(clone(model).fit(X, y))

    assert_same_fit(*fits)


def network(hidden=(24,), **parameters):
    """Make one with dropout that is trained for three epochs."""
    settings = {"dropout": 0.2, "max_iter": 3, "n_iter_no_change": 5, "random_state": 0}
    return TorchMLPClassifier(hidden, **(settings | parameters))


def search(**parameters):
    """Make one over rates and dropout."""
    grid = {"learning_rate_init": [1e-3, 1e-2], "dropout": [0.0, 0.3]}
    return VectorizedGridSearchCV(network(**parameters), grid, cv=3, scoring="neg_log_loss")


WITH_DROPOUT = {
    "one": network(),
    # Products large enough for threads, and folds of two sizes.
    "members": network((128, 64), n_members=8),
    "small members": network((8,), n_members=8),
    "members of several epochs": network((256,), n_members=5, max_iter=6, solver="sgd"),
    "objective": network(threshold="f1"),
    "members and objective": network((128, 64), n_members=4, threshold={"recall": 0.8}),
    "batches in shares": network((200, 100), batch_size=2500),
    "encoder": make_pipeline(PiecewiseLinearEncoder(), network((64,), n_members=4)),
    "search": search(),
    "search of large networks": search(hidden=(128, 64)),
    "search of members": search(n_members=3),
    "search of an encoder": VectorizedGridSearchCV(
        make_pipeline(PiecewiseLinearEncoder(), network((64,))),
        {"torchmlpclassifier__dropout": [0.0, 0.5]},
        cv=2,
    ),
}


def table(n_samples=3001, n_features=40):
    rng = np.random.RandomState(0)
    X = rng.randn(n_samples, n_features)
    return X, (X[:, 0] + rng.randn(n_samples) > 0).astype(int)


def one_hot(X):
    bounds = np.linspace(-2, 2, 8)
    return np.eye(9)[np.digitize(X, bounds)].reshape(len(X), -1)


ROWS = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "one-hot": one_hot,
    "sparse": lambda X: sp.csr_array(X * (X > 1)),
}


def learnt(model, X):
    """Give all that a fit has come to, in one array."""
    best = model.best_estimator_ if hasattr(model, "best_estimator_") else model
    last = best[-1] if isinstance(best, Pipeline) else best
    scores = model.cv_results_["mean_test_score"] if hasattr(model, "cv_results_") else []
    out_of_fold = getattr(last, "oof_decision_function_", [])
    return np.concatenate(
        [weights_of(last), [last.threshold_], scores, out_of_fold, model.predict_proba(X)[:, 1]]
    )


def assert_same_with_any_number_of_threads(fit, X):
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        found.append(learnt(fit(), X))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("model", WITH_DROPOUT.values(), ids=WITH_DROPOUT.keys())
def test_fit_with_dropout_is_the_same_bit_for_bit_with_any_number_of_threads(model, threads):
    X, y = table()
    assert_same_with_any_number_of_threads(lambda: clone(model).fit(X, y), X)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["one", "members", "search"])
def test_fit_on_rows_of_any_kind_is_the_same_bit_for_bit_with_any_number_of_threads(
    name, rows, threads
):
    X, y = table(1203)
    X = ROWS[rows](X)
    assert_same_with_any_number_of_threads(lambda: clone(WITH_DROPOUT[name]).fit(X, y), X)


def test_partial_fit_is_the_same_bit_for_bit_with_any_number_of_threads(threads):
    X, y = table()
    model = network((200, 100), batch_size=2500)
    assert_same_with_any_number_of_threads(
        lambda: clone(model).partial_fit(X, y).partial_fit(X, y), X
    )


def test_fit_is_the_same_bit_for_bit_with_any_number_of_threads_of_the_environment():
    script = (
        "import sys; from tests.test_persistence import *\n"
        "X, y = table(1203)\n"
        "found = [learnt(clone(WITH_DROPOUT[n]).fit(X, y), X) for n in ('members', 'search')]\n"
        "sys.stdout.write(np.concatenate(found).tobytes().hex())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "OMP_NUM_THREADS": n_threads},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for n_threads in ("1", "3")
    ]
    assert len(found[0]) > 1000
    assert found[0] == found[1]


# -- processes that are forked -----------------------------------------------------------------

FORKED = {
    **{f"logistic-{s}": TorchLogisticClassifier(solver=s) for s in ("newton-cholesky", "lbfgs")},
    "logistic-elastic-net": TorchLogisticClassifier(l1_ratio=0.5, C=0.1),
    **{name: MODELS[name] for name in ("logistic-adam", "mlp-adam", "mlp-lbfgs", "mlp-stopped")},
    **{n: WITH_DROPOUT[n] for n in ("one", "members", "objective", "batches in shares", "search")},
    "logistic-objective": TorchLogisticClassifier(threshold="f1"),
    "logistic-search": VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [0.1, 1.0]}, cv=3),
}


def in_a_fork(function):
    """Call a function in a forked process, and give what it returns within a minute."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: there.send(function()))
    with warnings.catch_warnings():
        # Newer releases of Python warn of every fork beside other threads.
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        process.start()
    there.close()
    try:
        assert here.poll(60), "the forked process hangs"
        return here.recv()
    finally:
        process.kill()
        process.join()


@needs_fork
@pytest.mark.parametrize("model", FORKED.values(), ids=FORKED.keys())
def test_fit_in_a_process_forked_after_a_fit_is_the_same_bit_for_bit(model, threads):
    torch.set_num_threads(2)
    X, y = table()
    expected = learnt(clone(model).fit(X, y), X)

    there = in_a_fork(lambda: learnt(clone(model).fit(X, y), X))

    np.testing.assert_array_equal(there, expected)


@needs_fork
@pytest.mark.parametrize("score", SCORES)
def test_scores_in_a_process_forked_after_a_fit_are_the_same(score, threads):
    torch.set_num_threads(2)
    X, y = table()
    model = network((200,)).fit(X, y)
    expected = getattr(model, score)(X)

    np.testing.assert_array_equal(in_a_fork(lambda: getattr(model, score)(X)), expected)


@needs_fork
def test_fit_in_a_process_forked_after_torch_used_threads_ends(threads):
    torch.set_num_threads(2)
    torch.ones(1000, 1000) @ torch.ones(1000, 1000)
    X, y = table()

    there = in_a_fork(lambda: learnt(network().fit(X, y), X))

    np.testing.assert_array_equal(there, learnt(network().fit(X, y), X))


@needs_fork
def test_fit_in_a_process_forked_in_the_middle_of_a_fit_is_the_same(threads):
    torch.set_num_threads(2)
    X, y = table()
    found = []

    class Forks(Callback):
        def on_epoch_end(self, net, **kwargs):
            if not found:
                found.append(in_a_fork(lambda: learnt(network(n_members=4).fit(X, y), X)))

    network(callbacks=[Forks()]).fit(X, y)

    np.testing.assert_array_equal(found[0], learnt(network(n_members=4).fit(X, y), X))


@needs_fork
def test_fits_in_workers_that_joblib_forks_equal_a_fit_here_bit_for_bit(threads):
    torch.set_num_threads(2)
    X, y = table()
    expected = learnt(network().fit(X, y), X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        there = joblib.Parallel(n_jobs=2, backend="multiprocessing", timeout=60)(
            joblib.delayed(network().fit)(X, y) for _ in range(3)
        )

    for model in there:
        np.testing.assert_array_equal(learnt(model, X), expected)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted on Linux")
def test_fits_and_scores_leave_no_thread_behind():
    # OpenMP's threads would stay for as long as the process does.
    script = (
        "from tests.test_persistence import *\n"
        "torch.set_num_threads(3)\n"
        "X, y = table()\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count()\n"
        "for model in [*FORKED.values(), *MODELS.values()]:\n"
        "    fitted = clone(model).fit(X, y)\n"
        "    best = getattr(fitted, 'best_estimator_', fitted)\n"
        "    for score in SCORES:\n"
        "        getattr(best, score)(X)\n"
        "    best.module_, best.net_, best.tune_threshold(X, y, 'f1')\n"
        "assert count() == before, (count(), before)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


# -- nothing else moves ---------------------------------------------------------------------------


@pytest.fixture
def threads():
    """Put torch's thread count back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def global_state():
    """Take down everything that a fit could move but must not."""
    kind, keys, *position = np.random.get_state()
    loggers = [logging.getLogger()] + [
        logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)
    ]
    return {
        "random": random.getstate(),
        "np.random": (kind, keys.tolist(), position),
        "torch random": torch.get_rng_state().tolist(),
        "torch dtype": torch.get_default_dtype(),
        "torch threads": torch.get_num_threads(),
        "torch gradients": torch.is_grad_enabled(),
        "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        "warnings": list(warnings.filters),
        "logging": [(each.name, each.level, list(each.handlers)) for each in loggers],
        "logging disabled": logging.root.manager.disable,
        "np.errstate": np.geterr(),
    }


@EVERY
@pytest.mark.parametrize("random_state", [0, None])
def test_fit_and_predict_leave_global_state_untouched(model, random_state, cancer, threads):
    X, y = cancer
    # More than one thread, so that working on one would show.
    torch.set_num_threads(2)
    model = clone(model).set_params(random_state=random_state)
    before = global_state()
    model.fit(X, y)
    for score in SCORES:
        getattr(model, score)(X)
    assert model.module_ is not None
    assert model.net_ is not None

    assert global_state() == before


@WITH_BATCHES
def test_partial_fit_leaves_global_state_untouched(model, cancer, threads):
    torch.set_num_threads(2)
    model = clone(model).set_params(random_state=None)
    before = global_state()
    model.partial_fit(*cancer).partial_fit(*cancer)

    assert global_state() == before


def with_nan(X):
    X = X.copy()
    X[3, 2] = np.nan
    return X


@EVERY
def test_fit_that_raises_at_once_leaves_global_state_untouched(model, cancer, threads):
    X, y = cancer
    torch.set_num_threads(2)
    before = global_state()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        clone(model).fit(with_nan(X), y)

    assert global_state() == before


@pytest.mark.parametrize("kind", [TorchLogisticClassifier, TorchMLPClassifier])
def test_fit_that_raises_midway_leaves_global_state_untouched(kind, cancer, threads):
    X, y = cancer
    torch.set_num_threads(2)
    before = global_state()
    with pytest.raises(ValueError, match="must stay"):
        kind(solver="sgd", learning_rate_init=1e30, random_state=None).fit(1e6 * X, y)

    assert global_state() == before


@BOTH
def test_fits_in_threads_leave_the_thread_count_untouched(model, cancer, threads):
    torch.set_num_threads(2)
    joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(clone(model).fit)(*cancer) for _ in range(8)
    )

    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("model", [*BOTH_KINDS, WITH_DROPOUT["search"]])
def test_fits_that_overlap_in_threads_leave_the_thread_count_of_all_threads(model, cancer, threads):
    torch.set_num_threads(3)

    def work(_):
        clone(model).fit(*cancer)
        return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(8))) == {3}
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3
    assert torch.get_num_threads() == 3


def test_fit_is_not_seen_by_threads_that_start_beside_it(cancer, threads):
    torch.set_num_threads(3)
    found = []

    class Looks(Callback):
        def on_epoch_end(self, net, **kwargs):
            with ThreadPoolExecutor(1) as pool:
                found.append(pool.submit(torch.get_num_threads).result())

    TorchMLPClassifier((4,), max_iter=2, callbacks=[Looks()]).fit(*cancer)

    assert found == [3, 3]


FORMS = {
    "array": np.array,
    "float32": lambda X: X.astype(np.float32),
    "whole numbers": lambda X: (10 * X).astype(np.int64),
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "frame": pd.DataFrame,
    "tensor": torch.tensor,
}


def content(X):
    """Copy the numbers of a table, as they lie in memory."""
    if sp.issparse(X):
        names = ("row", "col") if X.format == "coo" else ("indices", "indptr")
        return [getattr(X, name).copy() for name in ("data", *names)]
    if isinstance(X, torch.Tensor):
        return [X.numpy().copy()]
    return [np.array(X)]


@EVERY
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_fit_and_predict_do_not_write_to_what_they_are_given(model, form, cancer):
    X, y = form(cancer[0]), cancer[1].copy()
    weight = np.random.RandomState(0).rand(len(y))
    weight[::10] = 0
    given = content(X), y.copy(), weight.copy()
    clone(model).fit(X, y, weight, X_val=X, y_val=y, sample_weight_val=weight).predict_proba(X)

    for now, before in zip(content(X), given[0], strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_array_equal(y, given[1])
    np.testing.assert_array_equal(weight, given[2])


@EVERY
def test_fit_on_unsorted_sparse_rows_does_not_sort_them(model, cancer):
    X, y = sp.csr_array(cancer[0]), cancer[1]
    X.indices = X.indices.reshape(X.shape)[:, ::-1].ravel().copy()
    X.data = X.data.reshape(X.shape)[:, ::-1].ravel().copy()
    X.has_sorted_indices = False
    before = content(X)
    fitted = clone(model).fit(X, y)

    for now, then in zip(content(X), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert fitted.score(X, y) > 0.3


@pytest.fixture
def torch_warns_always():
    """Let torch warn each time, not once in a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@EVERY
def test_read_only_input_gives_the_same_fit(model, cancer, torch_warns_always):
    X, y = (each.copy() for each in cancer)
    weight = np.ones(len(y))
    weight[:50] = 2
    writable = clone(model).fit(X, y, weight)
    for each in (X, y, weight):
        each.flags.writeable = False
    with warnings.catch_warnings():
        # torch warns of memory that it could write to although it must not.
        warnings.filterwarnings("error", message="The given NumPy array is not writable")
        read_only = clone(model).fit(X, y, weight)

    assert_same_fit(writable, read_only)
    np.testing.assert_array_equal(read_only.predict_proba(X), writable.predict_proba(X))


@EVERY
def test_read_only_sparse_input_gives_the_same_fit(model, cancer):
    X, y = sp.csr_array(cancer[0]), cancer[1]
    writable = clone(model).fit(X, y)
    for each in (X.data, X.indices, X.indptr):
        each.flags.writeable = False

    assert_same_fit(writable, clone(model).fit(X, y))
