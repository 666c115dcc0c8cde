"""Fitted models are saved, loaded and moved to other processes and machines."""

import os
import pickle
import pickletools
import subprocess
import sys
import warnings
from copy import copy
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
import torch._dynamo  # torch's optimizers import it, and it registers filters and loggers
from sklearn.base import clone

from skbinary import TorchMLPClassifier
from tests.every_solver import BOTH, MODELS, QUIET, SCORES, WITH_BATCHES, assert_same_fit

pytestmark = QUIET


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS.keys())
def fitted(request, cancer):
    """Return a fitted model of every solver."""
    return clone(request.param).fit(*cancer)


def torch_globals(pickled):
    """Return the names of torch that unpickling would import."""
    found, strings = [], []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            found.append(argument)
        elif opcode.name == "STACK_GLOBAL":
            # The module's name may come from the memo, so it may be any earlier string.
            found.extend(strings)
        if isinstance(argument, str):
            strings.append(argument)
    return [name for name in found if name.split(".")[0].split(" ")[0] == "torch"]


def torch_objects(value, path="model"):
    """Return the paths to torch objects within an object."""
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


def test_pickle_of_any_protocol_gives_the_same_model(fitted, cancer):
    for protocol in (2, 3, 4, 5):
        loaded = pickle.loads(pickle.dumps(fitted, protocol=protocol))

        assert loaded.history_ == fitted.history_
        assert loaded.get_params() == fitted.get_params()
        for score in SCORES:
            np.testing.assert_array_equal(
                getattr(loaded, score)(cancer[0]), getattr(fitted, score)(cancer[0])
            )


def test_joblib_with_compression_gives_the_same_model(fitted, cancer, tmp_path):
    for compress in (0, 3, ("lzma", 1)):
        joblib.dump(fitted, tmp_path / "model.joblib", compress=compress)
        loaded = joblib.load(tmp_path / "model.joblib")

        np.testing.assert_array_equal(
            loaded.predict_proba(cancer[0]), fitted.predict_proba(cancer[0])
        )


@BOTH
def test_joblib_load_with_memory_map_predicts_the_same(model, cancer, tmp_path):
    X, y = cancer
    fitted = clone(model).fit(X, y)
    joblib.dump(fitted, tmp_path / "model.joblib")
    # The loaded weights are read-only, which torch does not support.
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


def test_fitted_model_and_its_pickle_hold_no_torch_object(fitted, cancer):
    # These build torch objects, which must not stay.
    assert fitted.module_ is not None
    assert fitted.net_ is not None
    fitted.predict(cancer[0])

    assert torch_objects(fitted) == []
    for protocol in (2, 5):
        assert torch_globals(pickle.dumps(fitted, protocol=protocol)) == []


def test_torch_globals_and_objects_find_a_tensor():
    tensor = torch.zeros(2)

    assert all(torch_globals(pickle.dumps(tensor, protocol=protocol)) for protocol in (2, 4, 5))
    assert torch_objects([{"a": (tensor,)}]) == ["model.0.a.0"]


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
        max_iter=100,
        n_iter_no_change=100,
        early_stopping=early_stopping,
        random_state=0,
    ).fit(*cancer)
    n_bytes = sum(each.nbytes for each in model.coefs_ + model.intercepts_)

    assert len(model.loss_curve_) == 100
    assert len(pickle.dumps(model)) <= n_bytes + 20_000


# -- other machines -------------------------------------------------------------------------------


@BOTH
def test_model_fitted_on_cuda_predicts_on_the_cpu_with_one_warning(model, cancer):
    if torch.cuda.is_available():
        pytest.skip("CUDA is available")
    X, y = cancer
    fitted = clone(model).fit(X, y)
    on_cuda = copy(fitted)
    on_cuda._state = replace(fitted._state, device="cuda:0")
    loaded = pickle.loads(pickle.dumps(on_cuda))
    for score in (*SCORES, "score"):
        args = (X, y) if score == "score" else (X,)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = getattr(loaded, score)(*args)

        np.testing.assert_array_equal(found, getattr(fitted, score)(*args))
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


# -- training after loading -----------------------------------------------------------------------


@WITH_BATCHES
def test_partial_fit_after_unpickling_continues_the_training(model, cancer):
    X, y = cancer
    expected, unpickled = clone(model), clone(model)
    for _ in range(3):
        expected.partial_fit(X, y)
        unpickled = pickle.loads(pickle.dumps(unpickled.partial_fit(X, y)))

    assert len(expected.loss_curve_) == 3
    assert_same_fit(expected, unpickled)


@BOTH
def test_warm_start_after_unpickling_continues_the_training(model, cancer):
    model = clone(model).set_params(warm_start=True, max_iter=3)
    expected = clone(model).fit(*cancer)
    unpickled = pickle.loads(pickle.dumps(expected))

    assert_same_fit(expected.fit(*cancer), unpickled.fit(*cancer))
