"""Examples in modules that need optional libraries are run only where these are installed."""

from importlib.util import find_spec

_LIBRARIES = {
    "skbinary/callbacks/optuna.py": ("optuna",),
    "skbinary/dask/__init__.py": ("dask", "distributed"),
    "skbinary/export/onnx.py": ("skl2onnx", "onnxruntime"),
}
collect_ignore = [
    path for path, libraries in _LIBRARIES.items() if not all(map(find_spec, libraries))
]
