"""Optional libraries are imported when used, and their absence is one sentence."""

import json
import subprocess
import sys

import pytest

from skbinary.runtime.optional import require

OPTIONAL = (
    "onnx", "skl2onnx", "skops", "safetensors", "optuna", "mlflow", "shap", "imblearn", "polars",
    "dask",
)  # fmt: skip


def test_require_installed_module_returns_it():
    assert require("json", "onnx", "to_onnx") is json


def test_require_missing_library_names_the_extra():
    sentence = (
        "no_such_library must be installed for to_onnx, got none. "
        """Run 'python -m pip install "skbinary[onnx]"'."""
    )
    with pytest.raises(ImportError) as raised:
        require("no_such_library.part", "onnx", "to_onnx")
    assert str(raised.value) == sentence


def test_require_library_that_lacks_another_raises_that_error(monkeypatch):
    def find(name):
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr("importlib.import_module", find)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'other'$"):
        require("library", "onnx", "to_onnx")


def test_importing_skbinary_imports_no_optional_library():
    code = f"import sys, skbinary; print([m for m in {OPTIONAL} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
