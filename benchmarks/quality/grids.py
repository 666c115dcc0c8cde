"""The settings that the studies of early stopping compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.quality.models import N_NETWORKS, RECOMMENDED

_SIZES = (50, 100, 200, 500, 1000, 2000, 5000)
_QUICK_SIZES = (50, 500)


@dataclass(frozen=True)
class Setting:
    """A setting of a study, one row of its table.

    Parameters
    ----------
    rows : int
        Training rows.
    parameters : dict
        Parameters of `TorchMLPClassifier`.
    label : str or None
        Label in the table. None lists the parameters.
    """

    rows: int
    parameters: dict[str, Any]
    label: str | None = None

    @property
    def name(self) -> str:
        """Label in the table."""
        return self.label or ", ".join(f"{key}={each}" for key, each in self.parameters.items())


def size(rows: int, *, quick: bool) -> list[Setting]:
    """Vary early stopping and the number of training rows."""
    return [
        Setting(
            n, {"early_stopping": early, "monitor": "loss"}, f"{n} rows, early_stopping={early}"
        )
        for n, early in product(_QUICK_SIZES if quick else _SIZES, (False, True))
    ]


def patience(rows: int, *, quick: bool) -> list[Setting]:
    """Vary the patience and the tolerance."""
    return [
        Setting(rows, {"n_iter_no_change": n, "tol": tol})
        for n, tol in product((5, 10, 16, 24, 40), (0.0, 1e-4, 1e-3))
    ]


def rate(rows: int, *, quick: bool) -> list[Setting]:
    """Vary the learning rate schedule and the number of epochs."""
    return [
        Setting(rows, {"learning_rate": kind, "max_iter": epochs, "n_iter_no_change": 24})
        for kind, epochs in product(("constant", "cosine", "onecycle"), (50, 100, 200))
    ]


def ensemble(rows: int, *, quick: bool) -> list[Setting]:
    """Vary one parameter at a time of the recommended ensemble."""
    base = {"n_members": N_NETWORKS, **RECOMMENDED}
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
    "ensemble": ensemble,
}
