"""Dicts, sparse matrices and distributions as plain data for files.

Formats that run no code when they are loaded write dicts as JSON objects, whose keys are strings.
They refuse sparse matrices, whose indices scipy does not check when it multiplies, and the
distributions of scipy.stats, whose state contains Python code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.stats
from scipy.stats.distributions import rv_frozen

_ITEMS = "__items__"
_DISTRIBUTION = "__distribution__"
_SPARSE = "__sparse__"
_MARKS = {_ITEMS, _DISTRIBUTION, _SPARSE}

_SPARSE_TYPES = {
    each.__name__: each for each in (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array)
}


def to_plain(value: Any) -> Any:
    """Replace dicts whose keys are not all strings, sparse matrices, and frozen distributions.

    A distribution gets a new random state, which searches do not use: they pass their own.

    Parameters
    ----------
    value : object
        Dicts, lists, tuples and arrays of objects are searched.

    Returns
    -------
    object
        A copy of the containers, which ``from_plain`` converts back.
    """
    if type(value) is dict:
        if all(type(key) is str for key in value) and not _MARKS & value.keys():
            return {key: to_plain(each) for key, each in value.items()}
        return {_ITEMS: [(to_plain(key), to_plain(each)) for key, each in value.items()]}
    if type(value) in _SPARSE_TYPES.values():
        arrays = {name: getattr(value, name) for name in ("data", "indices", "indptr")}
        return {_SPARSE: type(value).__name__, "shape": value.shape, **arrays}
    if _has_name(value):
        return {_DISTRIBUTION: (value.dist.name, to_plain(value.args), to_plain(value.kwds))}
    return _map_container(to_plain, value)


def from_plain(value: Any) -> Any:
    """Return what ``to_plain`` was given.

    Parameters
    ----------
    value : object

    Returns
    -------
    object
    """
    if type(value) is dict:
        if value.keys() == {_ITEMS}:
            return {from_plain(key): from_plain(each) for key, each in value[_ITEMS]}
        if value.keys() == {_DISTRIBUTION}:
            name, arguments, settings = value[_DISTRIBUTION]
            return _find_distribution(name)(*from_plain(arguments), **from_plain(settings))
        if _SPARSE in value:
            return _make_sparse(value)
        return {key: from_plain(each) for key, each in value.items()}
    return _map_container(from_plain, value)


def _map_container(function: Any, value: Any) -> Any:
    """Apply a function to the items of a list, a tuple or an array of objects."""
    if type(value) in (list, tuple):
        return type(value)(function(each) for each in value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.copy()
        data = np.ma.getdata(value)
        for index, each in np.ndenumerate(data):
            data[index] = function(each)
    return value


def _has_name(value: Any) -> bool:
    """Whether a value is a frozen distribution of scipy.stats, rather than one of the user."""
    if not isinstance(value, rv_frozen):
        return False
    return type(getattr(scipy.stats, str(value.dist.name), None)) is type(value.dist)


def _make_sparse(parts: dict[str, Any]) -> Any:
    name = parts[_SPARSE]
    if name not in _SPARSE_TYPES:
        raise ValueError(
            f"A sparse matrix in a file must be one of {', '.join(_SPARSE_TYPES)}, got {name!r}. "
            "Save the model again."
        )
    arrays = (parts["data"], parts["indices"], parts["indptr"])
    matrix = _SPARSE_TYPES[name](arrays, shape=tuple(parts["shape"]))
    matrix.check_format(full_check=True)
    return matrix


def _find_distribution(name: Any) -> Any:
    found = getattr(scipy.stats, str(name), None)
    if not isinstance(found, scipy.stats.rv_continuous | scipy.stats.rv_discrete):
        raise ValueError(
            f"A distribution in a file must be one of scipy.stats, got {name!r}. Save the model "
            "again."
        )
    return found
