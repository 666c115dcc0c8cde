"""Values of NumPy and Python as JSON with tensors beside it, and back.

Numbers, strings, None, lists, and dicts whose keys are strings are what they are in JSON. All other
values are objects with one key, which begins with a dollar sign and names their type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]

# What is raised where values are not what was encoded.
CONTENT_ERRORS = (
    AttributeError,
    TypeError,
    ValueError,
    KeyError,
    OverflowError,
    RuntimeError,
    MemoryError,
)
_DTYPE = re.compile(r"[<>|=](b1|[iu][1248]|f[248]|O|U\d{1,6})")


class DamagedFileError(ValueError):
    """A file does not hold what it must. The message says where, as far as that is known."""


def encode(value: Any, name: str, tensors: Tensors) -> Any:
    """Return a value that JSON can hold.

    Parameters
    ----------
    value : object
    name : str
        Name of the tensor if the value is an array, or the beginning of the names of its arrays.
    tensors : dict of ndarray
        Arrays of numbers are added to it.

    Returns
    -------
    object

    Raises
    ------
    TypeError
        If the value, or one inside it, is of another type.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind in (list, tuple):
        items = [encode(each, f"{name}.{i}", tensors) for i, each in enumerate(value)]
        return items if kind is list else {"$tuple": items}
    if kind is dict and all(type(key) is str for key in value):
        entries = {key: encode(each, f"{name}.{key}", tensors) for key, each in value.items()}
        return {"$dict": entries} if any(key.startswith("$") for key in value) else entries
    if kind is torch.device:
        return {"$device": str(value)}
    if isinstance(value, np.ndarray | np.generic) and _DTYPE.fullmatch(value.dtype.str):
        return _encode_array(value, name, tensors)
    raise TypeError(f"{name} cannot be written as JSON")


def encode_labels(values: NDArray[Any]) -> Any:
    """Return an array, of numbers or of strings, whose values are in the JSON."""
    items = [encode(each, "", {}) for each in values.ravel().tolist()]
    return {"$array": [values.dtype.str, list(values.shape), items]}


def decode(value: Any, tensors: Tensors) -> Any:
    """Return what ``encode`` was given.

    Parameters
    ----------
    value : object
        Parsed JSON.
    tensors : dict of ndarray

    Returns
    -------
    object

    Raises
    ------
    DamagedFileError
        If it is nothing that ``encode`` returns.
    """
    if isinstance(value, list):
        return [decode(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if not any(key.startswith("$") for key in value):
        return _decode_dict(value, tensors)
    tag, content = next(iter(value.items()))
    decoder = _DECODERS.get(tag)
    if decoder is None or len(value) > 1:
        raise DamagedFileError(f"A value must be of a known type, got {sorted(value)}")
    try:
        return decoder(content, tensors)
    except DamagedFileError:
        raise
    except CONTENT_ERRORS as error:
        raise DamagedFileError(f"A {tag} must have valid content, got {error!r}") from None


def _encode_array(value: Any, name: str, tensors: Tensors) -> Any:
    if isinstance(value, np.generic):
        return {"$scalar": encode_labels(np.asarray(value))["$array"]}
    if value.dtype.kind in "OU":
        return encode_labels(value)
    tensors[name] = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
    return {"$tensor": name}


def _decode_dict(content: Any, tensors: Tensors) -> dict[str, Any]:
    return {key: decode(each, tensors) for key, each in content.items()}


def _decode_tensor(name: Any, tensors: Tensors) -> NDArray[Any]:
    if name not in tensors:
        raise DamagedFileError(f"Tensor {name!r} must be in the file, got none")
    return tensors[name]


def _decode_array(content: Any, tensors: Tensors) -> NDArray[Any]:
    dtype, shape, items = content
    if not _DTYPE.fullmatch(dtype) or not isinstance(items, list):
        raise ValueError(f"an array of type {dtype!r}")
    items = [decode(each, tensors) for each in items]
    values = np.empty(len(items), dtype=dtype)
    for i, each in enumerate(items):
        values[i] = each
    if repr(values.tolist()) != repr(items):
        raise ValueError(f"values that are not of type {dtype!r}")
    return values.reshape(shape)


def _decode_float(content: Any, tensors: Tensors) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise ValueError(content)
    return float(content)


_DECODERS: dict[str, Callable[[Any, Tensors], Any]] = {
    "$float": _decode_float,
    "$tuple": lambda content, tensors: tuple(decode(list(content), tensors)),
    "$dict": _decode_dict,
    "$device": lambda content, tensors: torch.device(str(content)),
    "$tensor": _decode_tensor,
    "$array": _decode_array,
    "$scalar": lambda content, tensors: _decode_array(content, tensors)[()],
}
