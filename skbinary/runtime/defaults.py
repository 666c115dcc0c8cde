"""Compute with the default settings of torch and NumPy, whatever the process has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")
_NUMPY_ERRORS: dict[str, Any] = {
    "divide": "warn",
    "over": "warn",
    "under": "ignore",
    "invalid": "warn",
}
_NO_CHANGE: AbstractContextManager[None] = nullcontext()


def default_settings() -> AbstractContextManager[None]:
    """Return a context in which torch and NumPy have their default settings.

    It covers the settings of a thread that break or change a computation: torch's default device,
    autocast, inference mode and gradient mode, and NumPy's handling of floating-point errors.
    Threads that are started within the context have these defaults anyway. The default dtype of
    torch is a setting of the whole process, which other threads would see change. So the package
    passes the dtype of every tensor that it creates instead.

    Returns
    -------
    context manager
        It does nothing if all settings are the defaults; the check takes a microsecond.
    """
    if (
        torch._C._len_torch_function_stack() == 0  # a default device is on this stack
        and torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not torch._C._is_any_autocast_enabled()
        and np.geterr() == _NUMPY_ERRORS
    ):
        return _NO_CHANGE
    return _set_defaults()


@contextmanager
def _set_defaults() -> Iterator[None]:
    with ExitStack() as settings:
        settings.enter_context(np.errstate(**_NUMPY_ERRORS))
        if torch._C._len_torch_function_stack() > 0:
            settings.enter_context(torch.device("cpu"))
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        for name in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(name):
                settings.enter_context(torch.autocast(name, enabled=False))
        yield
