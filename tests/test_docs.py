"""Every public object is documented as numpydoc wants it."""

import doctest
import enum
import importlib
import inspect
import pkgutil

import pytest
import torch
from numpydoc.validate import validate

import skbinary

# ES01, SA01: a method whose summary says all needs no more words, and no pointer elsewhere.
# RT02: "self : estimator" is how scikit-learn names what fit returns.
NOT_ASKED = {"ES01", "SA01", "RT02"}


# PR01: the parameters of an enum are those of Python's own enum.Enum.
NOT_ASKED_OF_ENUMS = NOT_ASKED | {"PR01"}


def public_names():
    for name in skbinary.__all__:
        kind = getattr(skbinary, name)
        if not callable(kind):
            continue  # a constant, which has a comment
        yield f"skbinary.{name}"
        for method, value in inspect.getmembers(kind):
            ours = str(getattr(value, "__module__", "")).startswith("skbinary")
            if method == "set_callbacks":
                continue  # an example of it would need scikit-learn 1.9
            if not method.startswith("_") and ours and inspect.isroutine(value):
                yield f"skbinary.{name}.{method}"
    yield "skbinary.TorchMLPClassifier.partial_fit"  # hides behind available_if


@pytest.mark.parametrize("name", sorted(set(public_names())))
def test_public_object_has_a_complete_docstring(name, monkeypatch):
    # numpydoc reads the source, which is not in the module that public classes name.
    monkeypatch.setattr(skbinary.StopReason, "__module__", "skbinary.solvers.result")
    is_enum = isinstance(getattr(skbinary, name.split(".")[1]), enum.EnumType)
    not_asked = NOT_ASKED_OF_ENUMS if is_enum else NOT_ASKED
    errors = [text for code, text in validate(name)["errors"] if code not in not_asked]
    assert errors == []


# pytest collects the examples of public classes in skbinary/__init__.py, but not those of methods.
@pytest.mark.parametrize("name", skbinary.__all__)
def test_examples_of_methods_run(name):
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = finder.find(getattr(skbinary, name), name, module=False, globs={})
    for example in examples:
        if example.name != name:
            result = doctest.DocTestRunner().run(example)
            assert result.failed == 0, example.name


# tests/plotting/test_displays.py does so for the displays, which are not fitted.
@pytest.mark.parametrize(
    "name", [n for n in skbinary.__all__ if hasattr(getattr(skbinary, n), "get_params")]
)
def test_class_documents_every_parameter_and_fitted_attribute(name):
    kind = getattr(skbinary, name)
    if name.endswith("Encoder"):
        model = kind()
    elif name.endswith("CV"):
        model = kind(skbinary.TorchLogisticClassifier(), {"C": [1.0, 2.0]})
        model.set_params(**{"n_iter": 2} if "n_iter" in model.get_params() else {})
        model.set_params(**{"ensemble_size": 2} if "ensemble_size" in model.get_params() else {})
    elif name == "SearchEnsemble":
        classifier = skbinary.TorchLogisticClassifier(threshold="f1")
        model = skbinary.VectorizedGridSearchCV(classifier, {"C": [1.0, 2.0]}, ensemble_size=2)
    else:
        arguments = [torch.nn.Linear(1, 1)] if name == "TorchModuleClassifier" else []
        model = kind(*arguments, early_stopping=True, solver="adam", random_state=0)
    model.fit([[0.0], [1.0], [2.0], [3.0]] * 5, [0, 0, 1, 1] * 5)
    model = model.best_estimator_ if name == "SearchEnsemble" else model
    text = inspect.getdoc(kind)
    names = [key for key in dir(model) if key.endswith("_") and not key.startswith("_")]
    fitted = [key for key in names if hasattr(model, key)]
    for key in [*model.get_params(deep=False), *fitted]:
        assert f"\n{key} : " in text


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.walk_packages(skbinary.__path__, "skbinary.")]
)
def test_module_says_what_it_is_for(module):
    first_line = importlib.import_module(module).__doc__.splitlines()[0]
    assert first_line.endswith((".", ","))
    assert len(first_line) < 100
