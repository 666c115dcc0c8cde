"""Recognize errors of allocations, and tell users what to change."""

from __future__ import annotations

import re

import torch

# Parts of the messages of torch's allocators and of libraries, besides OutOfMemoryError.
_MESSAGE_PARTS = ("allocate memory", "out of memory", "ALLOC_FAILED", "memory allocation failed")
_RULE = "must fit into the memory of the device"


# Decimal and binary units, as in "2GB" and "2GiB".
_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*")


def parse_bytes(amount: float | str | None, name: str = "max_memory") -> float | None:
    """Return an amount of memory in bytes.

    Parameters
    ----------
    amount : float, str or None
        A number of bytes, or a number with a unit, such as ``"2GB"`` or ``"512 MiB"``.
    name : str, default="max_memory"
        Name of the parameter, for the message.

    Raises
    ------
    ValueError
        If it is no positive amount of memory.
    """
    if not isinstance(amount, str):
        return amount
    found = _AMOUNT.fullmatch(amount)
    factor = _UNITS.get(found.group(2).lower()) if found else None
    if found is None or factor is None or float(found.group(1)) == 0:
        raise ValueError(
            f"{name} must be a number of bytes, a string such as '2GB' or '512 MiB', or None, got "
            f"{amount!r}. Write a number and one of B, KB, MB, GB, TB, KiB, MiB, GiB and TiB."
        )
    return float(found.group(1)) * factor


def is_out_of_memory(error: BaseException) -> bool:
    """Check whether an error means that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _MESSAGE_PARTS)


def out_of_memory(error: BaseException, what: str, advice: str) -> MemoryError:
    """Return the error to raise when there is not enough memory.

    Parameters
    ----------
    error : BaseException
        The error of the failed allocation.
    what : str
        What needed the memory, as the subject of a sentence.
    advice : str
        One sentence on what to change.

    Returns
    -------
    MemoryError
        `error` itself if its message already says so.
    """
    if isinstance(error, MemoryError) and _RULE in str(error):
        return error
    first_line = str(error).partition("\n")[0].strip() or type(error).__name__
    return MemoryError(f"{what} {_RULE}, got {first_line!r}. {advice}")
