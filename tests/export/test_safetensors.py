import json
import os
import re
import stat
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbinary
from skbinary import TorchMLPClassifier, TorchModuleClassifier
from skbinary.export.safetensors import load_file, save_file
from tests.estimators.modules import BatchNorm, ReLUNetwork, Softmax
from tests.export.equal_models import assert_equal_model
from tests.export.models import CLASSIFIERS, F2, X, Y, grid, logistic, network, sparse_logistic

library = pytest.importorskip("safetensors", reason="the extra safetensors is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def local_class():
    class Local(ReLUNetwork):
        pass

    return Local


def round_trip(model, path):
    save_file(model, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_file(path)


# -- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_file_gives_the_same_classifier(name, path):
    model, rows = CLASSIFIERS[name]
    model = clone(model).fit(rows, Y)
    assert_equal_model(round_trip(model, path), model, rows)


def test_file_of_sparse_coefficients_gives_the_same_classifier(path):
    model = sparse_logistic()
    assert_equal_model(round_trip(model, path), model, X)
    assert_equal_model(round_trip(model.densify(), path), model, X)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array(["no", "a much longer label"])[::-1],
        np.array(["no", "yes"], dtype=object),
        np.array([False, True]),
        np.array([-1, 1], dtype=np.int8),
        np.array([0, 2**63], dtype=np.uint64),
        np.array([0.0, 1.0], dtype=np.float32),
        np.array(["\ud800", "ä$"]),
    ],
    ids=lambda labels: f"{labels.dtype} {labels.tolist()!r}".encode("ascii", "replace").decode(),
)
def test_file_keeps_labels_and_their_type(labels, path):
    y = labels[Y]
    model = logistic(class_weight={labels[0]: 2.0, labels[1]: 1.0})
    model = model.fit(X, y)
    assert_equal_model(round_trip(model, path), model, X)


def test_file_keeps_the_shape_of_images(path):
    images = X.reshape(-1, 1, 5)
    model = network().fit(images, Y)
    assert_equal_model(round_trip(model, path), model, images)


MODULES = {
    "class": (ReLUNetwork, {}),
    "arguments": (ReLUNetwork, {"module__width": 3, "threshold": "f1"}),
    "ensemble": (ReLUNetwork, {"n_members": 3}),
    "buffers": (BatchNorm, {"n_members": 2}),
    "instance": (torch.nn.Sequential(torch.nn.Linear(5, 2), torch.nn.PReLU()), {}),
    "class of a function": (local_class(), {}),
}


@pytest.mark.filterwarnings("ignore:The models of")
@pytest.mark.parametrize("name", MODULES)
def test_file_gives_the_same_module(name, path):
    module, parameters = MODULES[name]
    model = TorchModuleClassifier(module, max_iter=2, random_state=0, **parameters).fit(X, Y)
    save_file(model, path)
    assert_equal_model(load_file(path, module=module), model, X)


def test_file_of_a_module_has_its_tensors_by_name(path):
    model = TorchModuleClassifier(ReLUNetwork, max_iter=2, random_state=0).fit(X, Y)
    save_file(model, path)
    with library.safe_open(path, framework="np") as file:
        names = list(file.keys())
        np.testing.assert_array_equal(
            file.get_tensor("parameters.hidden.weight"), model.parameters_["hidden.weight"]
        )
    wanted = ["hidden.bias", "hidden.weight", "output.bias", "output.weight"]
    assert [each for each in names if "parameters" in each] == [f"parameters.{w}" for w in wanted]


def test_partial_fit_of_a_module_continues_after_loading(path):
    model = TorchModuleClassifier(ReLUNetwork, random_state=0).partial_fit(X, Y)
    save_file(model, path)
    loaded = load_file(path, module=ReLUNetwork)
    for each in (loaded, model):
        each.partial_fit(X, Y).history_["seconds"] = []
    assert_equal_model(loaded, model, X)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            None,
            "module must be given to load a TorchModuleClassifier, whose class a file does not "
            "hold, got None. Pass what was fitted, as in load_file(path, module=ReLUNetwork).",
        ),
        (
            3,
            "module must be a class of torch modules, a function that returns one, or a module, "
            "got 3. Pass the class itself, such as module=MyNetwork.",
        ),
        (
            Softmax,
            "module must have the parameters and buffers of the file, got Softmax with other names "
            "or shapes. Pass the class that was fitted.",
        ),
    ],
    ids=["none", "number", "other class"],
)
def test_file_of_a_module_needs_its_class(module, message, path):
    model = TorchModuleClassifier(ReLUNetwork, max_iter=2, random_state=0).fit(X, Y)
    save_file(model, path)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_file(path, module=module)


def test_argument_of_a_module_that_json_cannot_hold_is_refused(path):
    model = TorchModuleClassifier(
        lambda n_features, layer: layer(n_features, 1), module__layer=torch.nn.Linear, max_iter=2
    )
    message = (
        "module__layer must be a value that JSON can hold to save a TorchModuleClassifier with "
        "safetensors, got <class 'torch.nn.modules.linear.Linear'>. Fit the model with another "
        "value, or save the model with skops."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save_file(model.fit(X, Y), path)
    assert not path.exists()


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("weight_average", [0.0, 0.9])
def test_partial_fit_continues_after_loading(solver, weight_average, path):
    model = network(solver=solver, weight_average=weight_average).partial_fit(X, Y)
    loaded = round_trip(model, path)
    for each in (loaded, model):
        each.partial_fit(X, Y).history_["seconds"] = []
    assert_equal_model(loaded, model, X)


def test_threshold_that_was_set_after_a_function_chose_one_stays_in_force(path):
    model = logistic(threshold=accuracy_score).fit(X, Y).set_params(threshold=0.9)
    loaded = round_trip(model, path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.threshold_ == model.threshold_ != 0.9
    assert loaded.get_params() == model.get_params()


def test_tuned_threshold_and_positive_label_stay(path):
    model = logistic(pos_label=0).fit(X, Y).tune_threshold(X, Y, {"recall": 0.95})
    assert_equal_model(round_trip(model, path), model, X)


def test_file_has_readable_names_and_json(path):
    model = network(n_members=2, numeric_embedding="periodic", threshold="f1").fit(X, Y)
    save_file(model, path)
    with library.safe_open(path, framework="np") as file:
        names, metadata = list(file.keys()), file.metadata()
        np.testing.assert_array_equal(file.get_tensor("coefs.0"), model._state.weights[0])
    assert [name for name in names if not name.startswith("threshold_curve.")] == [
        "coefs.0",
        "coefs.1",
        *(f"embedding.{name}" for name in ("columns", "frequencies", "maps", "phases")),
        "intercepts.0",
        "intercepts.1",
        "oof_logits",
    ]
    assert list(metadata) == ["skbinary"]
    header = json.loads(metadata["skbinary"])
    assert (header["format_version"], header["class"]) == (1, "TorchMLPClassifier")
    assert header["versions"]["skbinary"] == skbinary.__version__
    assert header["parameters"]["n_members"] == 2
    assert header["fitted"]["classes"] == {"$array": ["<i8", [2], [0, 1]]}


def test_file_loads_in_a_process_that_imported_nothing(path):
    model = network(n_members=2).fit(X, Y)
    save_file(model, path)
    np.save(path.with_name("X.npy"), X)
    code = (
        "import numpy as np\n"
        "from skbinary.export.safetensors import load_file\n"
        "model = load_file('model.safetensors')\n"
        "np.save('p.npy', model.predict_proba(np.load('X.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=path.parent, check=True)
    np.testing.assert_array_equal(np.load(path.with_name("p.npy")), model.predict_proba(X))


def test_saving_leaves_the_model_unchanged_and_loading_the_file(path):
    model = network().fit(X, Y)
    before = dict(vars(model))
    loaded = round_trip(model, path)
    assert vars(model) == before
    data = path.read_bytes()
    loaded.set_params(warm_start=True, early_stopping=False).fit(X, Y)
    assert path.read_bytes() == data


def test_loading_a_file_of_another_version_warns_at_the_line_of_the_user(path, monkeypatch):
    monkeypatch.setattr("skbinary.export.safetensors.__version__", "0.0.1")
    save_file(logistic().fit(X, Y), path)
    monkeypatch.undo()
    message = (
        "The TorchLogisticClassifier was saved by skbinary 0.0.1 and is loaded by skbinary "
        f"{skbinary.__version__}, so its predictions may differ. Fit it again, or load it with the "
        "version that saved it."
    )
    with pytest.warns(InconsistentVersionWarning, match=f"^{re.escape(message)}$") as caught:
        load_file(path)
    assert caught[0].filename == __file__


# -- what cannot be saved -------------------------------------------------------------------------


class Subclass(TorchMLPClassifier):
    pass


@pytest.mark.parametrize(
    ("model", "got", "advice"),
    [
        (
            make_pipeline(StandardScaler(), logistic()),
            "Pipeline",
            "Save it with skops, or save its last step, model[-1].",
        ),
        (
            grid(logistic(), {"C": [1.0]}),
            "VectorizedGridSearchCV",
            "Save it with skops, or save the classifier in its best_estimator_.",
        ),
        (StandardScaler(), "StandardScaler", "Save it with skops."),
        (Subclass(max_iter=1), "Subclass", "Save a subclass with skops."),
    ],
    ids=["pipeline", "search", "scaler", "subclass"],
)
def test_other_estimators_are_refused(model, got, advice, path):
    message = (
        "model must be one of TorchLogisticClassifier, TorchMLPClassifier, TorchModuleClassifier "
        f"to be saved with safetensors, got {got}. {advice}"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        save_file(model.fit(X, Y), path)
    assert not path.exists()


def test_model_that_is_not_fitted_is_refused(path):
    with pytest.raises(NotFittedError):
        save_file(logistic(), path)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("threshold", accuracy_score, None),
        ("monitor", F2, "monitor='loss'"),
        ("random_state", np.random.RandomState(0), "random_state=None"),
        ("callbacks", [("name", object)], "callbacks=None"),
        ("class_weight", {(0,): 1.0, b"1": 2.0}, "class_weight=None"),
    ],
)
def test_parameter_that_json_cannot_hold_is_named_and_nothing_is_written(
    name, value, instead, path
):
    path.write_text("other")
    model = logistic().fit(X, Y).set_params(**{name: value})
    instead = instead or f"threshold={model.threshold_!r}"
    message = (
        f"{name} must be a value that JSON can hold to save a TorchLogisticClassifier with "
        f"safetensors, got {value!r}. Set another one with set_params, such as {instead}, or save "
        "the model with skops."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save_file(model, path)
    assert path.read_text() == "other"
    assert os.listdir(path.parent) == [path.name]


def test_labels_that_json_cannot_hold_are_refused(path):
    model = logistic().fit(X, np.array([b"no", b"yes"])[Y])
    message = (
        "The fitted classes must hold numbers, strings and booleans to save the model with "
        "safetensors, got another object ( cannot be written as JSON). Save the model with skops."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save_file(model, path)


def test_invalid_parameter_is_refused_before_writing(path):
    model = logistic().fit(X, Y).set_params(C=-1.0)
    with pytest.raises(ValueError, match="The 'C' parameter of TorchLogisticClassifier must be"):
        save_file(model, path)
    assert not path.exists()


def test_weights_that_are_not_finite_are_refused_before_writing(path):
    model = logistic().fit(X, Y)
    model.intercept_ = np.array([np.nan])
    message = "intercepts.0 must be finite numbers, got nan. Fit the model again."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save_file(model, path)
    assert not path.exists()


# -- writing --------------------------------------------------------------------------------------


def test_error_while_writing_leaves_the_old_file(path, monkeypatch):
    model = logistic().fit(X, Y)
    path.write_text("old")

    def write_half(self, data):
        with open(self, "wb") as file:
            file.write(data[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        save_file(model, path)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions and links")
def test_file_has_the_usual_permissions_and_links_stay(path):
    other = path.with_name("other")
    other.write_text("")
    path.symlink_to(other)
    model = logistic().fit(X, Y)
    save_file(model, str(path))
    assert path.is_symlink()
    usual = path.with_name("usual")
    usual.touch()
    assert stat.S_IMODE(other.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    assert_equal_model(load_file(str(path)), model, X)


def test_missing_file_and_folder_are_errors_of_the_system(path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        load_file(path)
    with pytest.raises(IsADirectoryError):
        load_file(path.parent)


@pytest.mark.parametrize("function", ["save_file", "load_file"])
def test_missing_library_is_one_sentence(function, path, monkeypatch):
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    arguments = (logistic().fit(X, Y), path) if function == "save_file" else (path,)
    message = (
        f"safetensors must be installed for {function}, got none. Run 'python -m pip install "
        '"skbinary[safetensors]"\'.'
    )
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        {"save_file": save_file, "load_file": load_file}[function](*arguments)
