"""What pytest does not collect: examples in docstrings whose optional libraries are missing."""

from importlib.util import find_spec

_LIBRARIES = {"skbinary/export/onnx.py": ("skl2onnx", "onnxruntime")}
collect_ignore = [
    path for path, libraries in _LIBRARIES.items() if not all(map(find_spec, libraries))
]
