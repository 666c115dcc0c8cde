"""Rows a second, and the time that a fit, an ensemble or a search takes at most until its end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from skbinary.solvers.run import Run

# A search has no epochs to count lines by.
_SECONDS_PER_LINE = 10.0


class FitProgress:
    """Counts the rows that the models of a fit have read, and those that are left at most.

    What is left are all epochs up to ``max_iter``: a model that stops before it needs less.

    Parameters
    ----------
    prints : bool, default=False
        Whether to print a line every ten seconds.
    """

    def __init__(self, *, prints: bool = False):
        self._prints = prints
        self._models: list[ModelProgress] = []
        self._n_later_rows = 0.0
        self._n_rows = 0
        self._begin: float | None = None
        self._last_line = 0.0
        self._lock = threading.Lock()

    def follow(
        self, n_samples: int, max_iter: int, is_trained: Callable[[], bool]
    ) -> ModelProgress:
        """Return an observer for a model.

        Parameters
        ----------
        n_samples : int
            Number of rows of an epoch.
        max_iter : int
        is_trained : callable() -> bool
            Whether the model has been trained, or need not be.
        """
        model = ModelProgress(self, n_samples, max_iter, is_trained)
        self._models.append(model)
        return model

    def expect(self, n_rows: float) -> None:
        """Set the number of rows that models will read at most that are not planned yet."""
        self._n_later_rows = n_rows

    @property
    def n_planned_rows(self) -> int:
        """Number of rows that all models read at most that are planned."""
        return sum(each.n_samples * each.max_iter for each in self._models)

    def begin_epoch(self) -> None:
        """Start the clock, if it does not run yet. Thread-safe, as are the other methods."""
        with self._lock:
            if self._begin is None:
                self._begin = self._last_line = clock()

    def end_epoch(self, n_samples: int) -> None:
        """Count the rows of an epoch."""
        with self._lock:
            self._n_rows += n_samples
            if self._prints and clock() - self._last_line >= _SECONDS_PER_LINE:
                n_trained = sum(each.has_ended for each in self._models)
                line = f"{n_trained} of {len(self._models)} models trained, {self.text()}\n"
                sys.stdout.write(line)
                self._last_line = clock()

    def text(self) -> str:
        """Return the rows a second and the time that is left at most, as text."""
        seconds = 0.0 if self._begin is None else clock() - self._begin
        if not (self._n_rows and seconds):
            return "0 rows/s"
        rate = self._n_rows / seconds
        left = sum(each.n_rows_left for each in self._models) + self._n_later_rows
        return f"{rate:,.0f} rows/s, at most {format_seconds(left / rate)} left"


class ModelProgress:
    """An observer that counts the epochs of one model. ``FitProgress.follow`` makes it."""

    def __init__(
        self, fit: FitProgress, n_samples: int, max_iter: int, is_trained: Callable[[], bool]
    ):
        self.n_samples = n_samples
        self.max_iter = max_iter
        self._fit = fit
        self._is_trained = is_trained
        self._n_epochs = 0
        self._has_ended = False

    @property
    def has_ended(self) -> bool:
        """Whether the training has ended, here or in an earlier process."""
        return self._has_ended or self._is_trained()

    @property
    def n_rows_left(self) -> int:
        """Number of rows that the model reads at most until its end."""
        return 0 if self.has_ended else (self.max_iter - self._n_epochs) * self.n_samples

    def train_begin(self, run: Run) -> None:
        """Count the epochs of an earlier process, from which the training goes on."""
        self._n_epochs = run.n_iter

    def epoch_begin(self, run: Run) -> None:
        """Start the clock."""
        self._fit.begin_epoch()

    def epoch_end(self, run: Run) -> bool:
        """Count the epoch."""
        self._n_epochs = run.n_iter
        self._fit.end_epoch(self.n_samples)
        return False

    def train_end(self, run: Run) -> None:
        """Note that nothing is left."""
        self._has_ended = True


def format_seconds(seconds: float) -> str:
    """Return a duration in two units, such as "2 min 5 s"."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    parts = [(days, "d"), (h, "h"), (m, "min"), (s, "s")]
    first = next((i for i, (number, _) in enumerate(parts) if number), 3)
    shown = [f"{number} {unit}" for number, unit in parts[first : first + 2] if number]
    return " ".join(shown) or "0 s"


def clock() -> float:
    """Return the seconds by which progress is measured."""
    return time.perf_counter()
