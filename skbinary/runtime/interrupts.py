"""What ends a fit early: Ctrl-C, which may keep the weights so far, or a condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class FitStoppedError(RuntimeError):
    """A fit has ended because its condition to stop became true."""


_is_stopped: ContextVar[Callable[[], bool] | None] = ContextVar("is_stopped", default=None)


@contextmanager
def stopping_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Make ``raise_if_stopped`` raise an error in this thread when a condition is true."""
    token = _is_stopped.set(condition)
    try:
        yield
    finally:
        _is_stopped.reset(token)


def raise_if_stopped() -> None:
    """Raise FitStoppedError if the condition of ``stopping_when`` is true."""
    condition = _is_stopped.get()
    if condition is not None and condition():
        raise FitStoppedError
