"""Whether Ctrl-C raises KeyboardInterrupt, or a fit keeps the weights so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_raised: ContextVar[bool] = ContextVar("interrupts_are_raised", default=False)


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Let fits in this thread raise KeyboardInterrupt instead of keeping the weights so far."""
    token = _is_raised.set(True)
    try:
        yield
    finally:
        _is_raised.reset(token)


def interrupts_are_raised() -> bool:
    """Whether a fit that is interrupted raises KeyboardInterrupt."""
    return _is_raised.get()
