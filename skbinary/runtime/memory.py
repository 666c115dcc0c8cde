"""Out of memory: how it is recognized, and what a user can do about it."""

from __future__ import annotations

import torch

# Parts of the errors of torch's allocators and the libraries below, besides OutOfMemoryError.
_SIGNS = ("allocate memory", "out of memory", "ALLOC_FAILED", "memory allocation failed")
_RULE = "must fit into the memory of the device"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def out_of_memory(error: BaseException, what: str, advice: str) -> MemoryError:
    """Return the error to raise when memory has run out.

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
