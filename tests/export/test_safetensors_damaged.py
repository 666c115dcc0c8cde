"""Files of safetensors that are damaged, or that others have changed, are refused."""

import copy
import json
import random
import re

import numpy as np
import pytest

import skbinary
from skbinary import TorchModuleClassifier
from skbinary.export.safetensors import load_file, save_file
from skbinary.models.architecture import Architecture
from skbinary.models.periodic_embedding import PeriodicEmbedding
from tests.estimators.modules import ReLUNetwork
from tests.export.models import X, Y, network, sparse_logistic

library = pytest.importorskip("safetensors", reason="the extra safetensors is not installed")
numpy_format = pytest.importorskip("safetensors.numpy", reason="the extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAN = np.array([[np.nan], [0], [0], [0]], dtype=np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the bytes of a network with embeddings and the state of an optimizer, and others."""
    folder = tmp_path_factory.mktemp("models")
    model = network(numeric_embedding="periodic", early_stopping=False).partial_fit(X, Y)
    save_file(model, folder / "network")
    save_file(sparse_logistic(), folder / "sparse")
    module = TorchModuleClassifier(ReLUNetwork, module__width=3, n_members=2, max_iter=2)
    save_file(module.fit(X, Y), folder / "module")
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def parts_of(data, path):
    path.write_bytes(data)
    with library.safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["skbinary"]), tensors


def write(path, header, tensors):
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(numpy_format.save(tensors, {"skbinary": text}))


def assert_refused(path, sentence):
    message = f"{sentence} in {str(path)!r}. Save the model again, or load another file."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_file(path)


def entry(*names, value):
    """Return a function that sets an entry of the header."""

    def change(header, tensors):
        *before, last = names
        for name in before:
            header = header[name]
        header[last] = value

    return change


def without(*names):
    """Return a function that removes an entry of the header."""

    def change(header, tensors):
        *before, last = names
        for name in before:
            header = header[name]
        del header[last]

    return change


def tensor(name, value):
    """Return a function that replaces a tensor, or changes it if the value is a function."""

    def change(header, tensors):
        tensors[name] = value(tensors[name]) if callable(value) else value

    return change


def no_tensor(name):
    return lambda header, tensors: tensors.pop(name)


THIS = skbinary.__version__
EMBEDDING = PeriodicEmbedding(tuple(range(5)))
NETWORK = Architecture(5, (4,), embedding=EMBEDDING)
FIRST = NETWORK.layers[0]
WAVES = EMBEDDING.shapes[0]
MATRICES = "weights must be matrices of float32 or float64, one for each layer"
CHANGED = {
    "another format": (
        entry("format_version", value=2),
        f"The format version must be 1, which skbinary {THIS} can read, got 2",
    ),
    "no version of the format": (
        without("format_version"),
        f"The format version must be 1, which skbinary {THIS} can read, got None",
    ),
    "unknown class": (
        entry("class", value="os.system"),
        "The class must be one of ['TorchLogisticClassifier', 'TorchMLPClassifier', "
        "'TorchModuleClassifier'], got 'os.system'",
    ),
    "list as class": (
        entry("class", value=["TorchMLPClassifier"]),
        "The class must be one of ['TorchLogisticClassifier', 'TorchMLPClassifier', "
        "'TorchModuleClassifier'], got ['TorchMLPClassifier']",
    ),
    "missing part": (
        without("parameters"),
        "The header must have all entries, got no parameters",
    ),
    "list of parameters": (
        entry("parameters", value=[]),
        "The parameters must be entries by name, got list",
    ),
    "missing parameter": (
        without("parameters", "threshold"),
        "The parameters must have all entries, got no threshold",
    ),
    "unknown parameter": (
        entry("parameters", "predict", value=1),
        "The parameters must have only known entries, got predict",
    ),
    "invalid parameter": (
        entry("parameters", "max_iter", value=-3),
        "The parameters must be valid, got an error (The 'max_iter' parameter of "
        "TorchMLPClassifier must be an int in the range [1, inf). Got -3 instead.)",
    ),
    "invalid objective": (
        entry("parameters", "threshold", value={"recal": 0.9}),
        "The parameters must be valid, got an error (threshold must contain one constraint or "
        "costs, got the key 'recal'. Did you mean 'recall'?)",
    ),
    "missing field": (
        without("fitted", "temperature"),
        "The fitted state must have all entries, got no temperature",
    ),
    "unknown field": (
        entry("fitted", "predict", value=1),
        "The fitted state must have only known entries, got predict",
    ),
    "unknown feature": (
        entry("features", "predict", value=1),
        "The features must have only known entries, got predict",
    ),
    "no version of the library": (
        without("versions", "skbinary"),
        "The versions must have all entries, got no skbinary",
    ),
    "unknown type": (
        entry("fitted", "device", value={"$object": "os.system"}),
        "A value must be of a known type, got ['$object']",
    ),
    "unknown device": (
        entry("fitted", "device", value="toaster"),
        "device must be the name of a device, got 'toaster'",
    ),
    "missing tensor": (no_tensor("coefs.1"), "Tensor 'coefs.1' must be in the file, got none"),
    "weights that are not finite": (
        tensor("coefs.1", NAN),
        "coefs.1 must be finite numbers, got nan",
    ),
    "integer weights": (
        tensor("coefs.1", lambda array: array.astype(np.int32)),
        f"{MATRICES}, got float32 of shape {FIRST}, int32 of shape (4, 1)",
    ),
    "weights of two types": (
        tensor("coefs.1", lambda array: array.astype(np.float64)),
        "coefs.1 must be of type float32, like coefs.0, got dtype('float64')",
    ),
    "half precision": (
        tensor("coefs.0", lambda array: array.astype(np.float16)),
        f"{MATRICES}, got float16 of shape {FIRST}, float32 of shape (4, 1)",
    ),
    "shapes of layers": (
        tensor("coefs.1", lambda array: array[:3]),
        f"coefs.0 must be an array of shape ({FIRST[0]}, 3), got {FIRST}",
    ),
    "two outputs": (
        tensor("coefs.1", lambda array: np.hstack([array, array])),
        "coefs.1 must be an array of shape (4, 1), got (4, 2)",
    ),
    "shape of a bias": (
        tensor("intercepts.0", lambda array: array[:2]),
        "intercepts.0 must be an array of shape (4,), got (2,)",
    ),
    "no layer": (
        entry("fitted", "weights", value={"$tuple": []}),
        "weights must be matrices of float32 or float64, one for each layer, got ()",
    ),
    "another number of features": (
        entry("features", "n_features_in_", value=6),
        "n_features_in_ must be 5, as the weights have it, got 6",
    ),
    "another number of names": (
        entry("features", "feature_names_in_", value={"$array": ["|O", [1], ["a"]]}),
        "feature_names_in_ must be 5 strings, got ['a']",
    ),
    "column outside": (
        tensor("embedding.columns", np.array([0, 1, 2, 3, 9])),
        "embedding.columns must be features in ascending order, got [0, 1, 2, 3, 9]",
    ),
    "shape of an embedding": (
        tensor("embedding.phases", lambda array: array[:, :3]),
        f"embedding.phases must be float32 of shape {WAVES}, got float32 of shape (5, 3)",
    ),
    "shape of an optimizer": (
        tensor("optimizer_state.mean", np.zeros(7, dtype=np.float32)),
        "optimizer_state.mean must be numbers, one for each of the "
        f"{NETWORK.n_parameters} weights and biases, got [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ...]",
    ),
    "one class": (
        entry("fitted", "classes", value={"$array": ["<i8", [1], [0]]}),
        "classes must be two different labels in sorted order, got [0]",
    ),
    "equal classes": (
        entry("fitted", "classes", value={"$array": ["<i8", [2], [1, 1]]}),
        "classes must be two different labels in sorted order, got [1, 1]",
    ),
    "classes of another type": (
        entry("fitted", "classes", value={"$array": ["<i8", [2], [0, 1.5]]}),
        "A $array must have valid content, got ValueError(\"values that are not of type '<i8'\")",
    ),
    "type of memory": (
        entry("fitted", "classes", value={"$array": ["|V8", [2], [0, 1]]}),
        "A $array must have valid content, got ValueError(\"an array of type '|V8'\")",
    ),
    "shape of classes": (
        entry("fitted", "classes", value={"$array": ["<i8", [3], [0, 1]]}),
        "A $array must have valid content, got ValueError('cannot reshape array of size 2 into "
        "shape (3,)')",
    ),
    "threshold": (
        entry("fitted", "threshold", value=1.5),
        "threshold must be a number in [0, 1], got 1.5",
    ),
    "threshold that is no number": (
        entry("fitted", "threshold", value={"$float": "nan"}),
        "threshold must be a number in [0, 1], got nan",
    ),
    "temperature": (
        entry("fitted", "temperature", value=0.0),
        "temperature must be a number above 0, got 0.0",
    ),
    "curves of two models": (
        entry("fitted", "n_iter", value={"$tuple": [1, 1]}),
        "n_iter must be one for each of the 1 models, got 2",
    ),
    "activation": (
        entry("fitted", "activation", value="sin"),
        "activation must be an activation function, got 'sin'",
    ),
    "stop reason": (
        entry("fitted", "stop_reason", value={"$tuple": ["bored"]}),
        "stop_reason must be reasons or None, got ('bored',)",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_file_is_refused(name, saved, path):
    change, sentence = CHANGED[name]
    header, tensors = parts_of(saved["network"], path)
    change(header, tensors)
    write(path, header, tensors)
    assert_refused(path, sentence)


def test_unchanged_parts_are_accepted(saved, path):
    header, tensors = parts_of(saved["network"], path)
    write(path, header, tensors)
    assert load_file(path).n_features_in_ == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("indices", lambda array: array + 1000),
        ("indices", lambda array: array - 1000),
        ("indptr", lambda array: array[::-1]),
        ("indptr", lambda array: array * 1000),
        ("data", lambda array: array[:-1]),
        ("data", lambda array: array * np.nan),
    ],
)
def test_sparse_coefficients_that_do_not_fit_are_refused(name, value, saved, path):
    header, tensors = parts_of(saved["sparse"], path)
    tensors[f"coefs.0.{name}"] = np.ascontiguousarray(value(tensors[f"coefs.0.{name}"]))
    write(path, header, tensors)
    with pytest.raises(ValueError, match=f"in '{re.escape(str(path))}'. Save the model again"):
        load_file(path)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file_is_refused(fraction, saved, path):
    data = saved["network"]
    path.write_bytes(data[: int(fraction * len(data))])
    assert_no_safetensors_file(path)


@pytest.mark.parametrize("content", [b"hello, this is some text", b"\x80\x04N.", b"PK\x03\x04"])
def test_other_file_is_refused(content, path):
    path.write_bytes(content * 10)
    assert_no_safetensors_file(path)


def assert_no_safetensors_file(path):
    begin = "The file must be a complete one of safetensors, got one with an error (Error while "
    end = f") in {str(path)!r}. Save the model again, or load another file."
    with pytest.raises(ValueError, match=f"^{re.escape(begin)}.*{re.escape(end)}$"):
        load_file(path)


def test_weights_of_another_program_are_refused(path):
    path.write_bytes(numpy_format.save({"weight": np.ones(3)}, {"format": "pt"}))
    assert_refused(path, "The header must have the entry 'skbinary' of save_file, got ['format']")
    path.write_bytes(numpy_format.save({"weight": np.ones(3)}))
    assert_refused(path, "The header must have the entry 'skbinary' of save_file, got []")


@pytest.mark.parametrize("text", ["{", '{"format_version": NaN}', "[" * 100_000, "1" * 10_000])
def test_header_that_is_no_json_is_refused(text, path):
    write(path, text, {"coefs.0": np.ones(3)})
    with pytest.raises(ValueError, match=r"Save the model again, or load another file\.$"):
        load_file(path)


def test_tensor_of_a_type_that_numpy_does_not_have_is_refused(saved, path):
    data = saved["network"]
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for each in header.values():
        if each.get("dtype") == "F32":
            each["dtype"], each["shape"] = "BF16", [*each["shape"], 2]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    message = "must have types of NumPy|must be matrices of float32 or float64"
    with pytest.raises(ValueError, match=message):
        load_file(path)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_every_byte_of_the_header_may_be_damaged(saved, path):
    """Random damage gives a model or a ValueError, and never another error."""
    data, rng = saved["network"], np.random.RandomState(0)
    size = int.from_bytes(data[:8], "little")
    refused = 0
    for position in rng.randint(0, 8 + size, size=300).tolist():
        path.write_bytes(data[:position] + bytes([rng.randint(32, 127)]) + data[position + 1 :])
        try:
            load_file(path)
        except ValueError:
            refused += 1
    assert refused > 100


JUNK = [
    *(None, True, -1, 10**30, 1.5, "", "os.system", [], {}, [[[[]]]]),
    *({"$tuple": []}, {"$tuple": 1}, {"$tensor": "coefs.0"}, {"$tensor": []}, {"$float": "nan"}),
    *({"$float": []}, {"$array": 5}, {"$array": ["|O", [-1], [None]]}, {"$device": {}}),
    *({"$scalar": ["<f8", [], [1.0]]}, {"$dict": [1]}, {"__items__": 3}, {"__items__": [[[], 1]]}),
    *({"__sparse__": []}, {"__sparse__": "csr_matrix", "shape": [5, 1], "data": 1}),
    *({"__distribution__": ["norm", [], {}]}, {"__distribution__": ["norm", ["x"], {}]}),
]


def places_in(value, path=()):
    """Return the places of all values in parsed JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places_in(each, (*path, key))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("name", ["network", "sparse", "module"])
def test_every_value_of_the_header_may_be_something_else(name, saved, path):
    """Other values give a model that predicts or a ValueError, and never another error."""
    rng = random.Random(0)
    header, tensors = parts_of(saved[name], path)
    places = sorted(places_in(header), key=str)
    refused = 0
    for *before, last in rng.choices(places, k=400):
        changed = copy.deepcopy(header)
        place = changed
        for key in before:
            place = place[key]
        place[last] = copy.deepcopy(rng.choice(JUNK))
        write(path, changed, tensors)
        try:
            load_file(path, module=ReLUNetwork).predict_proba(X)
        except ValueError:
            refused += 1
    assert refused > 200
