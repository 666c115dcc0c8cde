import json
import os
import re
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.metrics import accuracy_score

import skbinary.dask
from skbinary import SKOPS_TRUSTED_TYPES, StopReason, TabularEncoder
from tests.export.equal_models import assert_equal_model, assert_equal_value
from tests.export.models import (
    CLASSIFIERS,
    FRAME,
    GROUPED,
    NUMBERED,
    OTHERS,
    X,
    Y,
    logistic,
    network,
    sparse_logistic,
    with_request,
)

skops = pytest.importorskip("skops.io", reason="the extra skops is not installed")
exceptions = pytest.importorskip("skops.io.exceptions", reason="the extra skops is not installed")
MODELS = CLASSIFIERS | OTHERS
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def round_trip(model):
    """Save and load a model, and check that no other type is asked for."""
    data = skops.dumps(model)
    assert set(skops.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED_TYPES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return skops.loads(data, trusted=SKOPS_TRUSTED_TYPES)


def message_of(types):
    return f"Untrusted types found in the file: {types}."


@pytest.mark.parametrize("name", MODELS)
def test_skops_file_gives_the_same_model_and_asks_for_listed_types_only(name):
    model, rows = MODELS[name]
    model = clone(model).fit(rows, Y)
    loaded = round_trip(model)
    assert_equal_model(loaded, model, rows)
    assert_equal_value(vars(clone(loaded)), vars(clone(model)))


def test_skops_file_on_disk_is_loaded_in_a_process_that_imported_nothing(tmp_path):
    model = OTHERS["tabular"][0].fit(FRAME, Y)
    skops.dump(model, tmp_path / "model.skops")
    FRAME.to_pickle(tmp_path / "X.pickle")
    code = (
        "import skbinary, skops.io, pandas, numpy\n"
        "model = skops.io.load('model.skops', trusted=skbinary.SKOPS_TRUSTED_TYPES)\n"
        "numpy.save('p.npy', model.predict_proba(pandas.read_pickle('X.pickle')))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict_proba(FRAME))


def test_skops_file_of_sparse_coefficients_gives_the_same_model():
    model = sparse_logistic()
    assert_equal_model(round_trip(model), model, X)


def test_sparse_coefficients_with_indices_outside_are_refused():
    model = sparse_logistic()
    model.coef_.indices[0] = 10**6
    with pytest.raises(ValueError, match=r"(indices|index values) must be < 5"):
        skops.loads(skops.dumps(model), trusted=SKOPS_TRUSTED_TYPES)


def test_skops_file_of_a_search_with_groups_gives_the_same_model():
    search = clone(GROUPED).fit(X, Y, groups=np.arange(len(X)) // 3)
    assert_equal_model(round_trip(search), search, X)


@pytest.mark.parametrize("key", [bool, np.bool_, int, np.int64, "label {}".format])
def test_skops_file_keeps_the_types_of_class_weight(key):
    model = logistic(class_weight={key(0): 1.0, key(1): 5.0}).fit(X, np.array([*map(key, Y)]))
    assert_equal_model(round_trip(model), model, X)


@pytest.mark.parametrize(
    "rows", [FRAME, NUMBERED, FRAME.to_numpy()], ids=["names", "numbers", "array"]
)
def test_skops_file_of_an_encoder_gives_the_same_encoder(rows):
    encoder = TabularEncoder(max_categories=4).fit(rows, Y)
    loaded = round_trip(encoder)
    assert_equal_value(loaded, encoder)
    np.testing.assert_array_equal(loaded.transform(rows), encoder.transform(rows))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("weight_average", [0.0, 0.9])
def test_partial_fit_continues_after_loading_a_skops_file(solver, weight_average):
    model = network(solver=solver, weight_average=weight_average).partial_fit(X, Y)
    loaded = round_trip(model)
    assert_equal_model(loaded, model, X)
    for each in (loaded, model):
        each.partial_fit(X, Y).history_["seconds"] = []
    assert_equal_model(loaded, model, X)


def test_skops_file_keeps_metadata_requests():
    model = with_request().fit(X, Y)
    loaded = round_trip(model)
    assert str(loaded.get_metadata_routing()) == str(model.get_metadata_routing())
    assert "'sample_weight': True" in str(loaded.get_metadata_routing())
    assert loaded.get_metadata_routing().fit.requests["sample_weight"] is True
    assert_equal_value(loaded._state, model._state)


def test_stop_reason_of_a_loaded_model_has_its_description():
    loaded = round_trip(logistic().fit(X, Y))
    assert type(loaded.stop_reason_) is StopReason
    assert loaded.stop_reason_.description == "The gradient is within tol."
    assert round_trip(StopReason.MAX_ITER) == StopReason.MAX_ITER


def test_loading_a_skops_file_of_another_version_warns_at_the_line_of_the_user(monkeypatch):
    monkeypatch.setattr("skbinary.estimators.files.__version__", "0.0.1")
    data = skops.dumps(logistic().fit(X, Y))
    monkeypatch.undo()
    message = (
        "The TorchLogisticClassifier was saved by skbinary 0.0.1 and is loaded by skbinary "
        f"{skbinary.__version__}, so its predictions may differ. Fit it again, or load it with the "
        "version that saved it."
    )
    with pytest.warns(InconsistentVersionWarning, match=f"^{re.escape(message)}$") as caught:
        skops.loads(data, trusted=SKOPS_TRUSTED_TYPES)
    assert caught[0].filename == __file__


# -- the list -------------------------------------------------------------------------------------


def test_list_has_every_public_estimator_and_nothing_else_of_this_package():
    estimators = {
        f"skbinary.{name}"
        for name in skbinary.__all__
        if isinstance(getattr(skbinary, name), type)
        and issubclass(getattr(skbinary, name), BaseEstimator)
    }
    estimators |= {f"skbinary.dask.{name}" for name in skbinary.dask.__all__}
    assert {each for each in SKOPS_TRUSTED_TYPES if each.startswith("skbinary")} == estimators
    assert len(set(SKOPS_TRUSTED_TYPES)) == len(SKOPS_TRUSTED_TYPES)


def test_list_has_only_types_that_skops_does_not_trust_anyway():
    trusted = skops.get_untrusted_types(data=skops.dumps(network().fit(X, Y)))
    assert trusted == ["skbinary.TorchMLPClassifier"]


def test_list_has_no_distribution_whose_state_is_executed():
    # rv_generic.__setstate__ calls exec on a string of the state.
    data = skops.dumps(loguniform(0.1, 1.0))
    asked = set(skops.get_untrusted_types(data=data))
    assert asked
    assert not asked & set(SKOPS_TRUSTED_TYPES)


# -- files that others have tampered with ---------------------------------------------------------


def poisoned(path, node):
    """Save a model, and replace its parameter ``C`` in the file."""
    skops.dump(logistic().fit(X, Y), path)
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(contents["schema.json"])
    schema["content"]["content"]["C"] = node
    contents["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)


def call_node(module, name, argument):
    """Return what skops calls as ``module.name(argument)`` when it loads the file."""
    text = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode"}
    text |= {"content": json.dumps(argument), "is_json": True, "__id__": 2}
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode"}
    arguments |= {"content": [text], "__id__": 3}
    node = {"__class__": name, "__module__": module, "__loader__": "ConstructorFromReduceNode"}
    return node | {"content": arguments, "__id__": 4}


def test_poisoned_skops_file_is_refused_and_runs_nothing(tmp_path):
    path, trace = tmp_path / "model.skops", tmp_path / "trace"
    node = call_node("os", "system", f"echo poisoned > {trace}")
    poisoned(path, node)
    with pytest.raises(exceptions.UntrustedTypesFoundException) as caught:
        skops.load(path, trusted=SKOPS_TRUSTED_TYPES)
    assert str(caught.value).startswith(message_of(["os.system"]))
    assert not trace.exists()
    # The file does what it says where the type is trusted.
    skops.load(path, trusted=[*SKOPS_TRUSTED_TYPES, "os.system"])
    assert trace.exists()


def test_skops_file_with_a_function_of_the_system_as_parameter_is_refused():
    model = logistic().fit(X, Y).set_params(threshold=os.system)
    with pytest.raises(exceptions.UntrustedTypesFoundException) as caught:
        skops.loads(skops.dumps(model), trusted=SKOPS_TRUSTED_TYPES)
    assert str(caught.value).startswith(message_of([f"{os.system.__module__}.system"]))


def test_poisoned_distribution_in_a_search_is_refused(tmp_path):
    distribution = loguniform(0.1, 1.0)
    distribution.dist._parse_arg_template = "import os; os.mkdir('poisoned')"
    model = logistic().fit(X, Y)
    model.C = [distribution.dist]  # not the frozen one, which is saved by its name
    with pytest.raises(exceptions.UntrustedTypesFoundException, match="reciprocal_gen"):
        skops.loads(skops.dumps(model), trusted=SKOPS_TRUSTED_TYPES)


def test_function_of_the_user_is_asked_for_and_can_be_trusted():
    model = logistic(threshold=own_metric).fit(X, Y)
    data = skops.dumps(model)
    name = f"{__name__}.own_metric"
    with pytest.raises(exceptions.UntrustedTypesFoundException) as caught:
        skops.loads(data, trusted=SKOPS_TRUSTED_TYPES)
    assert str(caught.value).startswith(message_of([name]))
    assert_equal_model(skops.loads(data, trusted=[*SKOPS_TRUSTED_TYPES, name]), model, X)


def own_metric(y_true, y_pred):
    return accuracy_score(y_true, y_pred)
