"""Devices: their choice, precision, free memory and random generators."""

from __future__ import annotations

import difflib
import os

import torch

_PREFERRED = ("cuda", "mps", "xpu")
_KNOWN = ("auto", "cpu", "cuda", "mps", "xpu", "meta", "hpu", "xla")
# Common names of devices that torch names differently.
_ALIASES = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda", "tpu": "xla", "metal": "mps"}
_FREE_BYTES_IF_UNKNOWN = 4 << 30


def is_available(device: torch.device) -> bool:
    """Check whether this machine has the device."""
    if device.type == "cpu":
        return True
    backend = getattr(torch, device.type, None)
    if backend is None or not hasattr(backend, "is_available") or not backend.is_available():
        return False
    return device.index is None or device.index < int(backend.device_count())


def resolve_device(device: str | torch.device, data: object = None) -> torch.device:
    """Choose the device to train on.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` for the device of `data` if it is a tensor, and else the first available of
        CUDA, MPS, XPU and CPU. Otherwise the name of a torch device.
    data : object, default=None
        The rows that were passed to ``fit``.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If `device` is not a torch device, or not available.
    """
    if device == "auto":
        if isinstance(data, torch.Tensor):
            return data.device
        preferred = (torch.device(name) for name in _PREFERRED)
        return next((each for each in preferred if is_available(each)), torch.device("cpu"))
    chosen = parse_device(device)
    if not is_available(chosen):
        raise ValueError(
            f"device must be available, got {str(device)!r}, which torch {torch.__version__} "
            "cannot use on this machine. Use device='auto' for the best one that is available."
        )
    return chosen


def parse_device(device: str | torch.device) -> torch.device:
    """Return the torch device of a name. Raise a ValueError with a suggestion if it has none."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        name = str(device).split(":")[0].lower()
        alias = _ALIASES.get(name)
        similar = [alias] if alias else difflib.get_close_matches(name, _KNOWN, n=1)
        hint = f"Did you mean {similar[0]!r}?" if similar else "Use 'auto', 'cpu' or 'cuda'."
        raise ValueError(
            f"device must be 'auto' or the name of a torch device, got {device!r}. {hint}"
        ) from None


def full_precision(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type that a device supports."""
    return torch.float32 if device.type == "mps" else torch.float64


def generator(seed: int, device: torch.device) -> torch.Generator:
    """Return a new random generator, so that the state of torch's global one does not change."""
    return torch.Generator(device=device).manual_seed(seed)


def free_bytes(device: torch.device) -> int:
    """Return how much memory is free on a device, in bytes, or a guess if that is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _FREE_BYTES_IF_UNKNOWN
