import copy
import io
import pickle
import pickletools
import re
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbinary
from skbinary import (
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.estimators import files

X, Y = make_classification(120, 5, random_state=0)
MODELS = {
    "logistic": TorchLogisticClassifier(threshold="f1"),
    "network": TorchMLPClassifier((4,), max_iter=3, random_state=0),
    "ensemble": TorchMLPClassifier((4,), max_iter=3, n_members=2, random_state=0),
    "unfitted": TorchLogisticClassifier(C=2.0),
}
SEARCHES = {
    "GridSearchCV": GridSearchCV,
    "VectorizedGridSearchCV": VectorizedGridSearchCV,
    "VectorizedRandomizedSearchCV": VectorizedRandomizedSearchCV,
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(name):
    model = clone(MODELS[name])
    return model if name == "unfitted" else model.fit(X, Y)


def dumped(estimator, way):
    if way == "pickle":
        return pickle.dumps(estimator)
    file = io.BytesIO()
    joblib.dump(estimator, file)
    return file.getvalue()


def loaded(data, way):
    return pickle.loads(data) if way == "pickle" else joblib.load(io.BytesIO(data))


def modules_named_in(data):
    """Return the modules of skbinary that a pickle names, other than skbinary itself."""
    # Not by pickletools alone: joblib writes arrays between the opcodes.
    return set(re.findall(rb"skbinary\.[\w.]+", data))


def changed(model, **entries):
    """Return a copy whose pickle has other entries. None removes an entry."""
    attributes = model.__getstate__()
    for place in (attributes, attributes["_state"]):
        for name in entries.keys() & place.keys():
            place[name] = entries[name]
            if entries[name] is None:
                del place[name]
    return _Pickled(type(model), attributes)


class _Pickled:
    """Pickles as an estimator with the given attributes."""

    def __init__(self, kind, attributes):
        self.kind = kind
        self.attributes = attributes

    def __reduce__(self):
        return object.__new__, (self.kind,), self.attributes


def of_version(model, version):
    return pickle.dumps(changed(model, _skbinary_version=version))


@pytest.mark.parametrize("way", ["pickle", "joblib"])
@pytest.mark.parametrize("name", MODELS)
def test_pickle_of_a_classifier_names_public_paths_only(name, way):
    data = dumped(fitted(name), way)
    assert b"skbinary" in data
    assert modules_named_in(data) == set()


@pytest.mark.parametrize("name", SEARCHES)
def test_pickle_of_a_fitted_search_names_public_paths_only(name):
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier())
    values = {"torchlogisticclassifier__C": [0.1, 1.0]}
    settings = {"n_iter": 2} if "Randomized" in name else {}
    search = SEARCHES[name](model, values, cv=2, **settings).fit(X, Y)
    data = pickle.dumps(search)
    assert modules_named_in(data) == set()
    strings = {arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)}
    assert {text for text in strings if text.startswith("skbinary")} == {"skbinary"}
    np.testing.assert_array_equal(pickle.loads(data).predict_proba(X), search.predict_proba(X))


@pytest.mark.parametrize("way", ["pickle", "joblib"])
@pytest.mark.parametrize("name", ["logistic", "network", "ensemble"])
def test_loading_a_pickle_of_another_version_warns_and_predicts_the_same(name, way):
    model = fitted(name)
    data = dumped(changed(model, _skbinary_version="0.0.1"), way)
    message = (
        f"The {type(model).__name__} was saved by skbinary 0.0.1 and is loaded by skbinary "
        f"{skbinary.__version__}, so its predictions may differ. Fit it again, or load it with the "
        "version that saved it."
    )
    with pytest.warns(InconsistentVersionWarning, match=f"^{re.escape(message)}$") as caught:
        other = loaded(data, way)
    assert caught[0].filename == __file__ or way == "joblib"
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert other.threshold_ == model.threshold_


def test_warning_of_another_version_has_both_versions():
    with pytest.warns(InconsistentVersionWarning) as caught:
        pickle.loads(of_version(fitted("logistic"), "0.0.1"))
    warning = caught[0].message
    assert warning.estimator_name == "TorchLogisticClassifier"
    assert warning.original_sklearn_version == "0.0.1"
    assert warning.current_sklearn_version == skbinary.__version__


def test_loading_a_pickle_without_a_version_warns():
    with pytest.warns(InconsistentVersionWarning, match="by skbinary of an unknown version and"):
        pickle.loads(of_version(fitted("logistic"), None))


def test_model_of_another_version_is_of_this_version_when_pickled_again():
    with pytest.warns(InconsistentVersionWarning):
        model = pickle.loads(of_version(fitted("logistic"), "0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(model))


def test_unknown_fields_of_a_newer_version_are_ignored():
    model = fitted("network")
    attributes = model.__getstate__()
    attributes["_skbinary_version"] = "99.0"
    attributes["_state"]["calibrator"] = "isotonic"
    with pytest.warns(InconsistentVersionWarning, match="by skbinary 99.0 and"):
        other = pickle.loads(pickle.dumps(_Pickled(type(model), attributes)))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_missing_field_that_has_a_default_is_filled_in():
    model = fitted("network")
    other = pickle.loads(pickle.dumps(changed(model, oof_loss=None)))
    assert not hasattr(other, "oof_loss_")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("name", ["network", "ensemble"])
def test_parameters_and_fields_that_an_earlier_version_did_not_have_get_their_defaults(name):
    model = clone(MODELS[name])
    if name == "ensemble":
        model.set_params(calibrate=False)
    model.fit(X, Y)
    attributes = model.__getstate__() | {"_skbinary_version": "0.0.1"}
    for parameter in ("calibrate", "numeric_embedding", "weight_average"):
        del attributes[parameter]
    for field in ("temperature", "embedding"):
        del attributes["_state"][field]
    other = pickle.loads(pickle.dumps(_Pickled(type(model), attributes)))
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert (other.temperature_, other.embedding_) == (1, None)
    assert other.get_params() == clone(other).get_params() == clone(MODELS[name]).get_params()
    assert "numeric_embedding" in other._repr_html_()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_missing_field_without_a_default_is_one_clear_error():
    data = pickle.dumps(
        changed(fitted("logistic"), weights=None, biases=None, _skbinary_version="0.0.1")
    )
    message = (
        "A saved TorchLogisticClassifier must have 'weights', 'biases', got one by skbinary "
        "0.0.1 without. Load it with that version, or fit the model again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pickle.loads(data)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, clone], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", MODELS)
def test_copies_and_clones_do_not_warn_of_versions(name, copied):
    model = fitted(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = copied(model)
    assert other.get_params() == model.get_params()
    if name != "unfitted" and copied is not clone:
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


def test_pickling_leaves_the_estimator_unchanged():
    model = fitted("logistic")
    before = dict(vars(model))
    pickle.dumps(model)
    assert vars(model) == before


def test_copy_has_no_attribute_for_the_version():
    assert files.VERSION_KEY not in vars(copy.deepcopy(fitted("logistic")))
