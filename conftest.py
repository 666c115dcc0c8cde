"""Examples in modules that need an optional library are run only where it is installed."""

from importlib.util import find_spec

_OPTIONAL = {"skbinary/callbacks/optuna.py": "optuna"}
collect_ignore = [path for path, library in _OPTIONAL.items() if find_spec(library) is None]
