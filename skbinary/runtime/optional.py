"""Optional libraries: imported when they are used."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a module of an optional library.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"safetensors.numpy"``.
    extra : str
        The extra of this package that installs it.
    purpose : str
        What needs it, for the error message, such as ``"to_onnx"``.

    Raises
    ------
    ImportError
        If the library is not installed.
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        raise ImportError(
            f"{library} must be installed for {purpose}, got none. Run 'python -m pip install "
            f'"skbinary[{extra}]"\'.'
        ) from None
