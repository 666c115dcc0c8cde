"""Warnings that point to the user's line, shown one by one or collected for a summary."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

# Frames of these packages lie between the user's line and the call of ``warn``.
_INTERNAL = {"skbinary", "sklearn", "joblib", "concurrent", "threading", "contextlib", "functools"}
_INTERNAL |= {"skops"}  # which loads estimators
_INTERNAL |= {"imblearn", "sklearn_compat"}  # a pipeline of imbalanced-learn, and what it calls


class Collected(NamedTuple):
    """A warning that has not been shown yet."""

    message: str
    category: type[Warning]

    @property
    def kind(self) -> tuple[str, type[Warning]]:
        """A key that is equal for warnings that differ in their numbers only."""
        return re.sub(r"[-+]?\d[\d.,e+-]*|\bnan\b|\binf\b", "#", self.message), self.category


_collected: ContextVar[list[Collected] | None] = ContextVar("collected", default=None)


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Show a warning at the user's line, or store it where warnings are collected."""
    collected = _collected.get()
    if collected is None:
        warnings.warn(message, category, stacklevel=_level_of_user())
    else:
        collected.append(Collected(str(message), category))


@contextmanager
def collecting() -> Iterator[list[Collected]]:
    """Collect the warnings of this thread instead of showing them."""
    collected: list[Collected] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def _level_of_user() -> int:
    """Return the stack level, as ``warnings.warn`` counts it, of the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _package(frame.f_globals) in _INTERNAL:
        frame, level = frame.f_back, level + 1
    return level


def _package(module: dict[str, object]) -> str:
    return str(module.get("__name__", "")).partition(".")[0]
