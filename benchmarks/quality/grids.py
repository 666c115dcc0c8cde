"""The settings that the studies of early stopping compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from skbinary.estimators.tabular_pipeline import RECOMMENDED

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
    variations: dict[str, tuple[Any, ...]] = {
        "hidden_layer_sizes": ((256,), (128, 128), (512, 512), (256,) * 3),
        "activation": ("tanh", "gelu", "silu"),
        "batch_size": (32, 128),
        "learning_rate_init": (1e-3, 4e-3),
        "dropout": (0.0, 0.1, 0.5),
        "weight_decay": (0.0, 1e-2, 1.0),
        "label_smoothing": (0.0,),
        "numeric_embedding": (None,),
        "weight_average": (0.0, 0.99),
        "n_iter_no_change": (3, 8, 24),  # "auto", the default, is 5
    }
    return [Setting(rows, RECOMMENDED, "recommended")] + [
        Setting(rows, {**RECOMMENDED, key: value}, f"{key}={value}")
        for key, values in variations.items()
        for value in values
    ]


STUDIES: dict[str, Callable[..., list[Setting]]] = {
    "size": size,
    "patience": patience,
    "rate": rate,
    "ensemble": ensemble,
}
