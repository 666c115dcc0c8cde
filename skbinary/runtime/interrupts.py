"""What Ctrl-C does to a fit: raise KeyboardInterrupt, or keep the weights so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_raises: ContextVar[bool] = ContextVar("raises", default=False)


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Make interrupted fits of this thread raise KeyboardInterrupt, and not return early."""
    token = _raises.set(True)
    try:
        yield
    finally:
        _raises.reset(token)


def interrupts_are_raised() -> bool:
    """Return whether an interrupted fit raises KeyboardInterrupt."""
    return _raises.get()
