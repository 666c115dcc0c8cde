"""All cases: their data and settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.data import Source


@dataclass(frozen=True)
class NetworkCase:
    """Seconds per epoch of a network, including set-up.

    Parameters
    ----------
    name : str
        Group and name, ``"mlp/table"``.
    source : Source
        The data, float32.
    hidden : tuple of int
        Widths of the hidden layers.
    batch_size, epochs : int
        The same for all contenders. There are enough epochs to make the set-up a small part.
    module : str or None, default=None
        The network that all contenders train, a key of `MODULES`. None for that of
        `MLPClassifier`, which takes part.
    quick_rows, quick_epochs : int or None
        Used with ``--quick``.
    """

    name: str
    source: Source
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    module: str | None = None
    quick_rows: int | None = None
    quick_epochs: int | None = None

    learning_rate: ClassVar[float] = 0.001
    alpha: ClassVar[float] = 0.0001

    def quick(self) -> NetworkCase:
        """Return a small version of the case."""
        epochs = self.quick_epochs or self.epochs
        return replace(self, source=self.source.first(self.quick_rows), epochs=epochs)


@dataclass(frozen=True)
class LogisticCase:
    """Seconds to the optimum of a logistic regression.

    Parameters
    ----------
    name : str
        Group and name, ``"logistic/dense"``.
    source : Source
        The data, float64 or float32.
    l1_ratio : float
        Fraction of the L1 penalty.
    fit_intercept : bool
        Whether there is an unpenalized intercept.
    quick_rows : int or None
        Used with ``--quick``.
    """

    name: str
    source: Source
    l1_ratio: float = 0.0
    fit_intercept: bool = True
    quick_rows: int | None = None

    C: ClassVar[float] = 1.0

    @property
    def accuracy(self) -> float:
        """Relative distance from the optimum at which it counts as reached."""
        return 1e-9 if self.source.dtype == "float64" else 1e-6

    def quick(self) -> LogisticCase:
        """Return a small version of the case."""
        return replace(self, source=self.source.first(self.quick_rows))

    def in_float32(self) -> LogisticCase:
        """Return the same case with float32 data."""
        source = replace(self.source, dtype="float32")
        return replace(self, name=f"{self.name}-float32", source=source)


@dataclass(frozen=True)
class PredictionCase:
    """Seconds of one ``predict_proba``.

    Parameters
    ----------
    name : str
        Group and name, ``"predict/mlp-one-row"``.
    fit : NetworkCase or LogisticCase
        The model that is fitted first.
    rows : int
        Number of rows that each call scores.
    calls : int
        Number of calls in one timing, so that it exceeds the resolution of the clock.
    """

    name: str
    fit: NetworkCase | LogisticCase
    rows: int
    calls: int
    quick_rows: int | None = None

    @property
    def source(self) -> Source:
        """The training data."""
        return self.fit.source

    def quick(self) -> PredictionCase:
        """Return a small version of the case."""
        return replace(self, rows=self.quick_rows or self.rows)


@dataclass(frozen=True)
class Range:
    """A range that a random search samples from.

    Parameters
    ----------
    low, high : float
    logarithmic : bool, default=False
        Whether the distribution is log-uniform instead of uniform.
    """

    low: float
    high: float
    logarithmic: bool = False


Grid = tuple[tuple[str, tuple[Any, ...] | Range], ...]


@dataclass(frozen=True)
class SearchCase:
    """Seconds of a whole search with ``refit=False``.

    Parameters
    ----------
    name : str
        Group and name, ``"grid/mlp"``.
    fit : NetworkCase or LogisticCase
        The data and the settings that all candidates share. Networks train for all epochs;
        logistic regressions stop at their default tolerance.
    grid : tuple of (str, values)
        The values or the range of each parameter of skbinary's classifier.
    scoring : str
    folds : int
    scaled : bool
        Whether the classifier follows a `StandardScaler` in a pipeline.
    draws : int or None
        Number of candidates of a random search. None searches the whole grid.
    halves : bool
        Whether it is a search by successive halving over the epochs, of which the last round has
        those of `fit`.
    quick_grid, quick_draws : Grid or int or None
        Used with ``--quick``.
    """

    name: str
    fit: NetworkCase | LogisticCase
    grid: Grid
    scoring: str = "roc_auc"
    folds: int = 5
    scaled: bool = False
    draws: int | None = None
    halves: bool = False
    quick_grid: Grid | None = None
    quick_draws: int | None = None

    @property
    def source(self) -> Source:
        """The data."""
        return self.fit.source

    @property
    def candidates(self) -> int:
        """Number of candidates."""
        if self.draws is not None:
            return self.draws
        return prod(len(values) for _, values in self.grid if isinstance(values, tuple))

    def quick(self) -> SearchCase:
        """Return a small version of the case."""
        return replace(
            self,
            fit=self.fit.quick(),
            grid=self.quick_grid or self.grid,
            draws=self.quick_draws or self.draws,
        )


@dataclass(frozen=True)
class MemoryCase:
    """Peak memory of a fit above the memory before it, in multiples of X in `dtype`.

    Parameters
    ----------
    name : str
        Group and name, ``"memory/long"``.
    fit : NetworkCase, LogisticCase or SearchCase
        What is fitted. The workers of a search are included.
    dtype : str
        Precision that the estimator trains in.
    """

    name: str
    fit: NetworkCase | LogisticCase | SearchCase
    dtype: str

    @property
    def source(self) -> Source:
        """The data."""
        return self.fit.source

    def quick(self) -> MemoryCase:
        """Return a small version of a search; with less data, a fit measures only overhead."""
        if isinstance(self.fit, SearchCase):
            return replace(self, fit=self.fit.quick())
        return self


@dataclass(frozen=True)
class ImportCase:
    """Seconds of an import in a new process.

    Parameters
    ----------
    name : str
        Group and name.
    statements : dict of str to str
        The statement of each contender.
    """

    name: str
    statements: tuple[tuple[str, str], ...]

    def quick(self) -> ImportCase:
        """Return the case itself."""
        return self


Case = NetworkCase | LogisticCase | PredictionCase | SearchCase | MemoryCase | ImportCase


def _table(rows: int, features: int, dtype: str = "float64") -> Source:
    return Source("table", dtype, rows, features)


_TABLE = _table(20_000, 30, "float32")
_WIDE = _table(100_000, 100, "float32")

NETWORKS = (
    NetworkCase(
        "mlp/circles", Source("circles", "float32", 1_000, 2), (100,), 32, 50, quick_epochs=30
    ),
    NetworkCase("mlp/table", _TABLE, (64, 32), 256, 10, quick_epochs=2),
    NetworkCase(
        "mlp/images", Source("images", "float32", 15_000, 2_352), (64, 32), 64, 3, None, 3_000, 2
    ),
    NetworkCase("mlp/wide", _WIDE, (256, 256, 256), 1_024, 3, None, 10_000, 2),
    NetworkCase("mlp/text", Source("sms_spam", "float32"), (100,), 200, 10, None, 2_000, 2),
    NetworkCase(
        "mlp/big-batch", _table(500_000, 30, "float32"), (64, 32), 8_192, 5, None, 50_000, 3
    ),
)  # fmt: skip

_IMAGES = Source("images", "float32", 6_000, 784)
MODULES = (
    NetworkCase("module/table", _TABLE, (64,), 256, 10, "residual", None, 2),
    NetworkCase("module/images", _IMAGES, (8,), 64, 5, "convolution", 1_000, 2),
    NetworkCase(
        "module/wide", _table(20_000, 100, "float32"), (512,), 256, 5, "residual", 2_000, 2
    ),
)

_ADULT = Source("adult", "float64")
_LOGISTIC = (
    LogisticCase("logistic/breast-cancer", Source("breast_cancer", "float64")),
    LogisticCase("logistic/dense", _table(200_000, 50), quick_rows=20_000),
    LogisticCase("logistic/covtype", Source("covtype", "float64"), quick_rows=30_000),
    LogisticCase("logistic/adult", _ADULT, quick_rows=10_000),
    LogisticCase("logistic/long", _table(1_000_000, 20), quick_rows=50_000),
    LogisticCase("logistic/w8a", Source("w8a", "float64"), quick_rows=20_000),
    LogisticCase("logistic/sms-spam", Source("sms_spam", "float64"), quick_rows=2_000),
    LogisticCase("logistic/genes", Source("genes", "float64", 100, 6_000)),
    LogisticCase("logistic/elastic-net-0.5", _ADULT, l1_ratio=0.5, quick_rows=1_000),
    LogisticCase("logistic/elastic-net-1", _ADULT, l1_ratio=1.0, quick_rows=1_000),
)
# liblinear penalizes the intercept, so its objective is the same only without an intercept.
_NO_INTERCEPT = LogisticCase(
    "logistic/dense-no-intercept", _table(200_000, 50), fit_intercept=False, quick_rows=20_000
)
LOGISTICS = (*_LOGISTIC, _NO_INTERCEPT, *(case.in_float32() for case in _LOGISTIC))

_SMALL_NETWORK = NetworkCase("", _table(10_000, 30), (64, 32), 256, 2)
_SMALL_LOGISTIC = LogisticCase("", _table(10_000, 30))


def _predictions(name: str, fit: NetworkCase | LogisticCase) -> tuple[PredictionCase, ...]:
    single = replace(fit, source=replace(fit.source, dtype="float32"))
    million = 1_000_000
    return (
        PredictionCase(f"predict/{name}-one-row", fit, 1, 1_000),
        PredictionCase(f"predict/{name}-million", fit, million, 1, 100_000),
        PredictionCase(f"predict/{name}-million-float32", single, million, 1, 100_000),
    )


PREDICTIONS = (*_predictions("logistic", _SMALL_LOGISTIC), *_predictions("mlp", _SMALL_NETWORK))

_ADULT_NETWORK = NetworkCase(
    "", Source("adult", "float64", 20_000), (64, 32), 256, 10, None, 2_000, 2
)  # fmt: skip
_RATES, _QUICK_RATES = (0.0003, 0.001, 0.003, 0.01), (0.001, 0.01)
_DROPOUT = ("dropout", (0.0, 0.2))
_STRENGTHS: Grid = (("C", tuple(np.logspace(-4, 4, 20).tolist())),)
_QUICK_STRENGTHS: Grid = (("C", (0.01, 0.1, 1.0, 10.0)),)


def _logistic_search(name: str, source: Source, *, scaled: bool = False) -> SearchCase:
    fit = LogisticCase("", source, quick_rows=2_000)
    return SearchCase(name, fit, _STRENGTHS, scaled=scaled, quick_grid=_QUICK_STRENGTHS)


_NETWORK_SEARCH = SearchCase(
    "grid/mlp",
    _ADULT_NETWORK,
    (("learning_rate_init", _RATES), ("alpha", (0.00001, 0.0001, 0.001)), _DROPOUT),
    scaled=True,
    quick_grid=(("learning_rate_init", _QUICK_RATES), ("alpha", (0.0001,)), _DROPOUT),
)
_MODULE_SEARCH = SearchCase(
    "grid/module",
    NetworkCase("", _table(5_000, 30, "float32"), (32,), 256, 10, "residual", 1_000, 2),
    (
        ("learning_rate_init", tuple(np.geomspace(0.0003, 0.01, 6).tolist())),
        ("alpha", (0.00001, 0.0001, 0.001, 0.01)),
    ),
    quick_grid=(("learning_rate_init", _QUICK_RATES), ("alpha", (0.0001,))),
)
SEARCHES = (
    _NETWORK_SEARCH,
    _MODULE_SEARCH,
    _logistic_search("grid/logistic", _table(100_000, 50)),
    _logistic_search("grid/logistic-adult", _ADULT, scaled=True),
    _logistic_search("grid/logistic-sms-spam", Source("sms_spam", "float64")),
    SearchCase(
        "grid/mixed",
        replace(_ADULT_NETWORK, epochs=5),
        (
            ("hidden_layer_sizes", ((32,), (64, 32), (128, 64))),
            ("activation", ("relu", "tanh")),
            ("learning_rate_init", Range(0.0001, 0.01, logarithmic=True)),
            ("threshold", Range(0.2, 0.8)),
        ),
        scoring="balanced_accuracy",
        folds=3,
        scaled=True,
        draws=60,
        quick_draws=4,
    ),
)

# Twenty-seven candidates for 1, 3, 9 and 27 epochs, of which a third stays each time.
_HALVING_GRID: Grid = (
    ("learning_rate_init", (0.0003, 0.001, 0.003)),
    ("alpha", (0.0001, 0.01, 1.0)),
    ("dropout", (0.0, 0.1, 0.3)),
)
HALVINGS = tuple(
    SearchCase(
        f"halving/{name.replace('_', '-')}",
        NetworkCase("", Source(name, "float64", 10_000), (64, 32), 256, 27, None, 2_000),
        _HALVING_GRID,
        scoring="neg_log_loss",
        folds=3,
        scaled=True,
        halves=True,
        quick_grid=_HALVING_GRID[:2],
    )
    for name in ("credit_default", "adult")
)

_MANY_STRENGTHS: Grid = (("C", tuple(np.logspace(-4, 4, 200).tolist())),)
_MANY_NETWORKS: Grid = (
    ("learning_rate_init", tuple(np.geomspace(0.0003, 0.01, 25).tolist())),
    ("alpha", (0.00001, 0.0001, 0.001, 0.01)),
    _DROPOUT,
)


def _many(case: SearchCase) -> SearchCase:
    """Return a search with 200 candidates."""
    name = case.name.replace("grid/", "many/")
    if case.draws is not None:
        return replace(case, name=name, draws=200)
    is_network = isinstance(case.fit, NetworkCase)
    return replace(case, name=name, grid=_MANY_NETWORKS if is_network else _MANY_STRENGTHS)


# Sized for a GPU, so not part of the default selection.
MANY = tuple(_many(case) for case in SEARCHES if case is not _MODULE_SEARCH)

_LONG_FIT = LogisticCase("", _table(1_000_000, 20))
_WIDE_FIT = NetworkCase("", _WIDE, (256, 256, 256), 1_024, 1)
MEMORIES = (
    MemoryCase("memory/long", _LONG_FIT, "float64"),
    MemoryCase(
        "memory/long-float32",
        replace(_LONG_FIT, source=replace(_LONG_FIT.source, dtype="float32")),
        "float64",
    ),
    MemoryCase("memory/wide", _WIDE_FIT, "float32"),
    MemoryCase(
        "memory/wide-float64", replace(_WIDE_FIT, source=_table(100_000, 100)), "float32"
    ),
    # The memory of the workers does not grow after the first epoch.
    MemoryCase(
        "memory/grid-mlp",
        replace(_NETWORK_SEARCH, fit=replace(_ADULT_NETWORK, epochs=2)),
        "float32",
    ),
)  # fmt: skip

IMPORTS = (
    ImportCase(
        "import",
        (
            ("skbinary", "import skbinary"),
            ("torch, sklearn", "import torch, sklearn"),
        ),
    ),
)

# The same number of epochs in all cases, so that the set-up is the same fraction of the time.
GROWTH = tuple(
    NetworkCase(
        f"growth/{times}x",
        _table(10_000 * times, 30, "float32"),
        (64, 32),
        256,
        5,
        quick_rows=1_000 * times,
        quick_epochs=3,
    )
    for times in (1, 10, 100)
)

# --quick runs only one of the float32 cases.
_QUICK = (
    *(case.name for case in LOGISTICS if case.source.dtype == "float64"),
    "logistic/dense-float32",
    *("mlp", "module", "grid", "halving", "predict", "memory", "import", "growth"),
)

ALL: tuple[Case, ...] = (
    *NETWORKS, *MODULES, *LOGISTICS, *SEARCHES, *HALVINGS, *MANY, *PREDICTIONS, *MEMORIES, *IMPORTS,
    *GROWTH,
)  # fmt: skip


def select(names: list[str] | None, *, quick: bool = False) -> list[Case]:
    """Select cases by name.

    Parameters
    ----------
    names : list of str or None
        Names with or without their group, groups, or shell patterns. None selects all cases
        except the group ``many``.
    quick : bool, default=False
        Whether to return small versions.

    Returns
    -------
    list of Case
    """
    if names is None:
        large = {case.name for case in MANY}
        names = list(_QUICK) if quick else [case.name for case in ALL if case.name not in large]
    chosen = [case for case in ALL if _matches(case.name, names)]
    return [case.quick() for case in chosen] if quick else chosen


def _matches(name: str, patterns: list[str]) -> bool:
    group, _, short = name.partition("/")
    return any(fnmatchcase(part, pattern) for pattern in patterns for part in (name, group, short))
