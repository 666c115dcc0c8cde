"""Which device, which precision, how much memory, which random numbers."""

from __future__ import annotations

import difflib
import os

import torch

_PREFERRED = ("cuda", "mps", "xpu")
_KNOWN = ("auto", "cpu", "cuda", "mps", "xpu", "meta", "hpu", "xla")
# Common names of devices that torch names differently.
_ALIASES = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda", "tpu": "xla", "metal": "mps"}
_UNKNOWN_FREE = 4 << 30  # bytes, where nobody tells what is free


def is_available(device: torch.device) -> bool:
    """Tell whether tensors can be put on `device` on this machine."""
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
        ``"auto"`` takes the device of `data` if it is a tensor, else the first of CUDA, MPS, XPU
        and CPU that is there. Anything else names a torch device.
    data : object
        The rows that were given to ``fit``.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If `device` is no torch device, or is not there.
    """
    if device == "auto":
        if isinstance(data, torch.Tensor):
            return data.device
        found = (torch.device(name) for name in _PREFERRED)
        return next((each for each in found if is_available(each)), torch.device("cpu"))
    chosen = parse_device(device)
    if not is_available(chosen):
        raise ValueError(
            f"device must be available, got {str(device)!r}, which torch {torch.__version__} "
            "cannot use on this machine. Use device='auto' for the best one that is available."
        )
    return chosen


def parse_device(device: str | torch.device) -> torch.device:
    """Read a device's name, with a suggestion when it is misspelt."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        name = str(device).split(":")[0].lower()
        meant = _ALIASES.get(name)
        near = [meant] if meant else difflib.get_close_matches(name, _KNOWN, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Use 'auto', 'cpu' or 'cuda'."
        raise ValueError(
            f"device must be 'auto' or the name of a torch device, got {device!r}. {hint}"
        ) from None


def full_precision(device: torch.device) -> torch.dtype:
    """Give the widest floating-point type that `device` computes in."""
    return torch.float32 if device.type == "mps" else torch.float64


def generator(seed: int, device: torch.device) -> torch.Generator:
    """Make a random generator of our own, so that torch's global one never moves."""
    return torch.Generator(device=device).manual_seed(seed)


def free_bytes(device: torch.device) -> int:
    """Give how much memory is free on a device, or a guess where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN_FREE
