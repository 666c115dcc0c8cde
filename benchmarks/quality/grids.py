"""The settings that the studies of stopping compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.quality.models import N_MEMBERS, RECOMMENDED

_SIZES = (50, 100, 200, 500, 1000, 2000, 5000)
_QUICK_SIZES = (50, 500)


@dataclass(frozen=True)
class Setting:
    """A line of a study.

    Parameters
    ----------
    rows : int
        Training rows.
    parameters : dict
        Of `TorchMLPClassifier`.
    words : str or None
        What the table says. None lists the parameters.
    """

    rows: int
    parameters: dict[str, Any]
    words: str | None = None

    @property
    def name(self) -> str:
        """Say it in a table."""
        return self.words or ", ".join(f"{key}={each}" for key, each in self.parameters.items())


def size(rows: int, *, quick: bool) -> list[Setting]:
    """Ask from how many rows on early stopping pays."""
    return [
        Setting(
            n, {"early_stopping": early, "monitor": "loss"}, f"{n} rows, early_stopping={early}"
        )
        for n, early in product(_QUICK_SIZES if quick else _SIZES, (False, True))
    ]


def patience(rows: int, *, quick: bool) -> list[Setting]:
    """Ask how long it is worth waiting, and for how much."""
    return [
        Setting(rows, {"n_iter_no_change": n, "tol": tol})
        for n, tol in product((5, 10, 16, 24, 40), (0.0, 1e-4, 1e-3))
    ]


def rate(rows: int, *, quick: bool) -> list[Setting]:
    """Ask whether a rate that falls helps, and over how many epochs."""
    return [
        Setting(rows, {"learning_rate": kind, "max_iter": epochs, "n_iter_no_change": 24})
        for kind, epochs in product(("constant", "cosine", "onecycle"), (50, 100, 200))
    ]


def members(rows: int, *, quick: bool) -> list[Setting]:
    """Ask whether a setting next to the recommended one is better."""
    base = {"n_members": N_MEMBERS, **RECOMMENDED}
    variations: dict[str, tuple[Any, ...]] = {
        "hidden_layer_sizes": ((128,), (128, 64), (64,) * 3, (128,) * 3, (256,) * 3, (128,) * 4),
        "activation": ("tanh", "relu", "gelu", "silu"),
        "learning_rate_init": (2e-3, 4e-3, 8e-3),
        "dropout": (0.0, 0.1, 0.3),
        "weight_decay": (0.0, 1e-2, 1e-1, 3e-1, 1.0),
        "n_iter_no_change": (3, 8, 24),  # "auto", the default, is 5
    }
    return [Setting(rows, base, "recommended")] + [
        Setting(rows, {**base, key: value}, f"{key}={value}")
        for key, values in variations.items()
        for value in values
        if value != base.get(key)
    ]


STUDIES: dict[str, Callable[..., list[Setting]]] = {
    "size": size,
    "patience": patience,
    "rate": rate,
    "members": members,
}
