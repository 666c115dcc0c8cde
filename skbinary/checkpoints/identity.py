"""What a fit is: its data as hashes, its parameters as text, and the libraries that compute."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

import joblib
import numpy as np
import scipy.sparse as sp
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skbinary.data.checked import CheckedData
from skbinary.runtime.device import resolve_device
from skbinary.version import __version__

HASH = "hash "  # the start of texts that stand for data
# Parameters that do not change the model.
_WITHOUT_EFFECT = {"n_jobs", "pre_dispatch", "verbose"}
_HASHED_BYTES = 1 << 24  # that are hashed at once, for rows that are mapped into memory


def environment() -> dict[str, str]:
    """Return the libraries and the hardware on which the last bits of a fit depend."""
    has_cuda = torch.cuda.is_available()
    return {
        "The version of skbinary": __version__,
        "The version of torch": str(torch.__version__),
        "The version of scikit-learn": sklearn.__version__,
        "The version of numpy": np.__version__,
        "The instruction set of the CPU": torch.backends.cpu.get_cpu_capability(),
        "The GPU": torch.cuda.get_device_name() if has_cuda else "none",
    }


def identity_of_fit(estimator: Any, data: CheckedData, previous: object) -> dict[str, str]:
    """Return what must be the same for a fit to go on from a checkpoint.

    Parameters
    ----------
    estimator : BinaryClassifier
    data : CheckedData
    previous : object
        The fitted state to continue from, or None.
    """
    tables = {"": data.train, "_val": data.validation}
    hashes = {"groups": content_hash(data.groups)}
    if data.stream is not None:
        hashes["The memory of Streamed"] = f"{data.stream.table.n_bytes:.0f} bytes"
        hashes["The table"] = HASH + data.stream.fingerprint
    for suffix, table in tables.items():
        for name in ("X", "y", "sample_weight"):
            hashes[name + suffix] = content_hash(None if table is None else getattr(table, name))
    return {
        "The class that is fitted": type(estimator).__name__,
        **parameters(estimator),
        "The device": str(resolve_device(estimator.device, data.given)),
        **hashes,
        "The model to continue from": HASH + joblib.hash(describe(_without_times(previous))),
    }


def _without_times(state: Any) -> dict[str, Any] | None:
    """Return the fields of a fitted state, without the seconds that its epochs took."""
    if state is None:
        return None
    curves = [{k: v for k, v in each.items() if k != "seconds"} for each in state.curves]
    return {**vars(state), "curves": curves}


def parameters(estimator: Any) -> dict[str, str]:
    """Return the parameters of an estimator that change the model, as text."""
    values: dict[str, Any] = estimator.get_params(deep=False)
    names = [name for name in values if name not in _WITHOUT_EFFECT]
    return {f"The parameter {name}": describe(values[name]) for name in names}


def describe(value: Any) -> str:
    """Return a text that is equal in all processes for values that mean the same to a fit."""
    return _describe(value, frozenset())


def _describe(value: Any, outer: frozenset[int]) -> str:
    """Describe a value that is part of the values with the given ids."""
    if id(value) in outer:
        return "..."
    within = functools.partial(_describe, outer=outer | {id(value)})
    kind = type(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{within(k)}: {within(v)}" for k, v in value.items()) + "}"
    if kind is list:
        return "[" + ", ".join(map(within, value)) + "]"
    if isinstance(value, list | tuple):
        name = "" if kind is tuple else kind.__name__
        return name + "(" + ", ".join(map(within, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, set | frozenset):
        return kind.__name__ + "(" + ", ".join(sorted(map(within, value))) + ")"
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return kind.__name__  # its state is kept with the checkpoint
    if isinstance(value, np.ndarray | torch.Tensor) or sp.issparse(value) or _is_frame(value):
        return f"{kind.__name__} {content_hash(value)}"
    if isinstance(value, functools.partial):
        return "partial" + within((value.func, value.args, value.keywords))
    if isinstance(value, FunctionType) and "<" in value.__qualname__:  # without a name of its own
        return f"{value.__module__}.{value.__qualname__}" + within(_contents(value))
    if hasattr(value, "__qualname__"):  # a class or a function
        return f"{value.__module__}.{value.__qualname__}"
    if all(hasattr(value, name) for name in ("dist", "args", "kwds")):  # of scipy.stats
        return f"{value.dist.name}({within(value.args)}, {within(value.kwds)})"
    inner = _inner(value)
    if inner is None:
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    return f"{kind.__module__}.{kind.__qualname__}" + within(inner)


def _contents(function: FunctionType) -> list[Any]:
    """Return what a function does, and the values that it has from outside."""
    code, cells = function.__code__, function.__closure__ or ()
    constants = [each for each in code.co_consts if not isinstance(each, CodeType)]
    outside = [inspect.getclosurevars(function).nonlocals if cells else None, function.__defaults__]
    return [code.co_code, code.co_names, constants, *outside, function.__kwdefaults__]


def _inner(value: Any) -> dict[str, Any] | None:
    """Return the parameters of an estimator, or the attributes of another object."""
    if isinstance(value, BaseEstimator):
        found: dict[str, Any] = value.get_params(deep=False)
        return {name: each for name, each in found.items() if name not in _WITHOUT_EFFECT}
    return getattr(value, "__dict__", None)


def content_hash(value: Any) -> str:
    """Return a hash of rows, labels or weights, which does not depend on how they are held.

    Raises
    ------
    TypeError
        If they cannot be hashed.
    """
    if value is None:
        return HASH + "of nothing"
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(value):
        if isinstance(part, np.ndarray) and part.dtype != object:
            _update(digest, part)
        else:
            digest.update(_object_hash(part).encode())
    return HASH + digest.hexdigest()


def _parts(value: Any) -> list[Any]:
    """Return the arrays and other objects that a table consists of."""
    if isinstance(value, torch.Tensor):
        return _parts(value.to_dense() if value.is_sparse else value.detach().cpu().numpy())
    if sp.issparse(value):
        rows = value.tocsr()
        return ["sparse", rows.shape, rows.indptr, rows.indices, rows.data]
    if _is_frame(value):
        names = list(value.columns)
        columns = [value[name] for name in names]
        kinds = [str(each.dtype) for each in columns]
        return [list(map(str, names)), kinds, *map(np.asarray, columns)]
    if isinstance(value, list | tuple):
        try:
            return [np.asarray(value)]
        except ValueError:
            return [value]
    return [np.asarray(value) if hasattr(value, "__array__") else value]


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "__getitem__") and hasattr(value, "shape")


def _update(digest: Any, array: NDArray[Any]) -> None:
    digest.update(f"{array.dtype.str} {array.shape}".encode())
    if array.ndim == 0:
        digest.update(array.tobytes())
        return
    per_row = max(1, array.nbytes // max(1, len(array)))
    step = max(1, _HASHED_BYTES // per_row)
    for start in range(0, len(array), step):
        chunk = np.ascontiguousarray(array[start : start + step])
        digest.update(chunk.reshape(-1).view(np.uint8))


def _object_hash(value: Any) -> str:
    try:
        return str(joblib.hash(value))
    except Exception as error:
        raise TypeError(
            "Data must be arrays, sparse matrices, data frames or tensors to be checked against a "
            f"checkpoint, got {type(value).__name__} ({error}). Convert the data, or leave out "
            "checkpoint."
        ) from None
