"""Learning rates over time: small objects, each of them one formula."""

from __future__ import annotations

import math


class Schedule:
    """A rate that stays where it is.

    Parameters
    ----------
    initial : float
        The rate to start with.

    Attributes
    ----------
    rate : float
        The rate of the next step.
    follows_loss : bool
        Whether it depends on how the training goes. Otherwise two schedules that are made alike
        stay alike.
    counts_rows : bool
        Whether it depends on how many rows were seen.
    """

    follows_loss = False
    counts_rows = False

    def __init__(self, initial: float):
        self.initial = initial
        self.rate = initial

    def after_step(self) -> None:
        """Take note that a batch is done."""

    def after_epoch(self, n_seen: int) -> None:
        """Take note that an epoch is done, and how many rows were seen so far."""

    def plateau(self) -> bool:
        """Take note that nothing improves any more, and tell whether training shall end."""
        return True


class InverseScaling(Schedule):
    """``initial / (1 + rows seen) ** power_t``, as in scikit-learn's MLPClassifier."""

    counts_rows = True

    def __init__(self, initial: float, power_t: float):
        super().__init__(initial)
        self.power_t = power_t

    def after_epoch(self, n_seen: int) -> None:
        self.rate = self.initial / (n_seen + 1) ** self.power_t


class Adaptive(Schedule):
    """A fifth of the rate at each plateau until it is 1e-6, as in scikit-learn's MLPClassifier."""

    follows_loss = True

    def plateau(self) -> bool:
        if self.rate <= 1e-6:
            return True
        self.rate /= 5
        return False


class Cosine(Schedule):
    """``initial / 2 * (1 + cos(pi * epoch / n_epochs))``.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    equation 5, without restarts.
    """

    def __init__(self, initial: float, n_epochs: int):
        super().__init__(initial)
        self.n_epochs = n_epochs
        self._epoch = 0

    def after_epoch(self, n_seen: int) -> None:
        self._epoch += 1
        self.rate = self.initial / 2 * (1 + math.cos(math.pi * self._epoch / self.n_epochs))


class OneCycle(Schedule):
    """Up to `initial` over the first 30% of all steps, then down to nearly nothing.

    Smith and Topin, "Super-convergence", 2018, with cosines and the defaults of PyTorch's
    ``OneCycleLR``: it starts at 1/25 of the peak and ends at 1/250,000 of it. The momentum
    stays as it is.
    """

    _WARM, _START, _END = 0.3, 1 / 25, 1 / 250_000

    def __init__(self, initial: float, n_steps: int):
        super().__init__(initial)
        self._last = max(n_steps - 1, 1)
        self._peak = self._WARM * n_steps - 1
        self._step = 0
        self.rate = self._rate()

    def after_step(self) -> None:
        self._step += 1
        self.rate = self._rate()

    def _rate(self) -> float:
        if self._step <= self._peak:
            return self._between(self._START, 1.0, self._step / self._peak)
        fall = (self._step - self._peak) / (self._last - self._peak)
        return self._between(1.0, self._END, min(fall, 1.0))

    def _between(self, start: float, end: float, share: float) -> float:
        return self.initial * (end + (start - end) / 2 * (1 + math.cos(math.pi * share)))
