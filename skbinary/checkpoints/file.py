"""The file of a checkpoint: trees of arrays and numbers in safetensors, with a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skbinary.runtime.optional import require

_HEADER = {"format": "skbinary checkpoint", "format_version": "1"}
_TREE = "tree"
# How a tree names its tensors and arrays, which are entries of the file.
_TENSOR, _ARRAY = "$tensor", "$array"

Arrays = dict[str, NDArray[Any]]


class DamagedCheckpointError(ValueError):
    """A file is no checkpoint, or not a whole one."""


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree beside its place first, and move it there when it is on the disk.

    Parameters
    ----------
    path : Path
    tree : mapping of str to object
        Dicts with string keys, lists, tensors, arrays, and what JSON can hold.

    Raises
    ------
    OSError
        If the file cannot be written. The one from before is then unchanged.
    """
    numpy = require("safetensors.numpy", "safetensors", "checkpoint")
    arrays: Arrays = {}
    text = json.dumps(_encode(tree, arrays))
    arrays[_TREE] = np.frombuffer(text.encode(), dtype=np.uint8)
    part = part_of(path)
    numpy.save_file(arrays, part, {**_HEADER, "checksum": _checksum(arrays)})
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    with suppress(OSError):  # a system that cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_tree(path: Path) -> dict[str, Any]:
    """Read a tree that ``write_tree`` has written. No code of the file is run.

    Raises
    ------
    DamagedCheckpointError
        If the file is no checkpoint, or if a byte of it has changed.
    OSError
        If the file cannot be read.
    """
    safetensors = require("safetensors", "safetensors", "checkpoint")
    with path.open("rb"):
        pass  # the system's own errors name the file
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            checksum = metadata.pop("checksum", None)
            names = file.keys() if metadata == _HEADER else []
            arrays = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, AttributeError, TypeError) as error:
        raise DamagedCheckpointError(_damaged(path, str(error))) from None
    if _TREE not in arrays:
        raise DamagedCheckpointError(_damaged(path, "no checkpoint of skbinary"))
    if checksum != _checksum(arrays):
        raise DamagedCheckpointError(_damaged(path, "another checksum"))
    tree: dict[str, Any] = _decode(json.loads(arrays[_TREE].tobytes()), arrays)
    return tree


def part_of(path: Path) -> Path:
    """Return where a file is written before it is moved to its place."""
    return path.with_name(f".{path.name}.part")


def _damaged(path: Path, got: str) -> str:
    return (
        f"The checkpoint must be a whole file that fit has written, got {os.fspath(path)!r} with "
        f"an error ({got}). Delete the file to start again, or name another one."
    )


def _encode(value: Any, arrays: Arrays) -> Any:
    """Return a tree with names in place of tensors and arrays."""
    if isinstance(value, dict):
        return {str(name): _encode(each, arrays) for name, each in value.items()}
    if isinstance(value, list | tuple):
        if set(map(type, value)) == {float}:  # a curve
            return value
        return [_encode(each, arrays) for each in value]
    if isinstance(value, torch.Tensor | np.ndarray):
        is_tensor = isinstance(value, torch.Tensor)
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
        return {_TENSOR if is_tensor else _ARRAY: name}
    return value.item() if isinstance(value, np.generic) else value


def _decode(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return [_decode(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        return torch.from_numpy(arrays[value[_TENSOR]])
    if value.keys() == {_ARRAY}:
        return arrays[value[_ARRAY]]
    return {name: _decode(each, arrays) for name, each in value.items()}


def _checksum(arrays: Arrays) -> str:
    """Return a hash of all that a file holds."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
