"""Learning-rate schedules."""

from __future__ import annotations

import math


class Schedule:
    """A constant learning rate, and the base class of all schedules.

    Parameters
    ----------
    initial : float
        The initial learning rate.

    Attributes
    ----------
    rate : float
        The learning rate of the next step.
    depends_on_loss : bool
        Whether the rate depends on the losses. Otherwise two schedules with the same settings have
        the same rates.
    depends_on_rows : bool
        Whether the rate depends on the number of rows seen so far.
    depends_on_length : bool
        Whether the rate depends on the number of epochs of the whole training.
    """

    depends_on_loss = False
    depends_on_rows = False
    depends_on_length = False

    def __init__(self, initial: float):
        self.initial = initial
        self.rate = initial

    def resume(self, n_seen: int, n_steps: int) -> None:
        """Continue after earlier calls of ``partial_fit``: rows seen and steps made so far."""

    def after_step(self) -> None:
        """Update the rate after a step."""

    def after_epoch(self, n_seen: int) -> None:
        """Update the rate after an epoch, given the number of rows seen so far."""

    def on_plateau(self) -> bool:
        """Update the rate when the loss no longer improves; return whether training stops."""
        return True


class Warmup(Schedule):
    """Raises the rate linearly over the first 300 steps, then keeps it.

    With few rows, an epoch has few steps, and early stopping chooses among finer steps of training.
    100 steps gain half as much with 500 rows, and 1,000 steps no more.

    Parameters
    ----------
    initial : float
        The learning rate after the first steps.
    """

    N_STEPS = 300

    def __init__(self, initial: float):
        super().__init__(initial)
        self.resume(0, 0)

    def resume(self, n_seen: int, n_steps: int) -> None:
        self._step = n_steps
        self.rate = self.initial * min(1.0, (n_steps + 1) / self.N_STEPS)

    def after_step(self) -> None:
        self.resume(0, self._step + 1)


class InverseScaling(Schedule):
    """``initial / (1 + rows seen) ** power_t``, as in scikit-learn's MLPClassifier.

    Parameters
    ----------
    initial : float
        The initial learning rate.
    power_t : float
        The exponent, 0 or more.
    """

    depends_on_rows = True

    def __init__(self, initial: float, power_t: float):
        super().__init__(initial)
        self.power_t = power_t

    def resume(self, n_seen: int, n_steps: int) -> None:
        self.after_epoch(n_seen)

    def after_epoch(self, n_seen: int) -> None:
        self.rate = self.initial / (n_seen + 1) ** self.power_t


class Adaptive(Schedule):
    """Divides the rate by 5 at each plateau, down to 1e-6, as in scikit-learn's MLPClassifier."""

    depends_on_loss = True

    def on_plateau(self) -> bool:
        if self.rate <= 1e-6:
            return True
        self.rate /= 5
        return False


class Cosine(Schedule):
    """Cosine annealing: ``initial / 2 * (1 + cos(pi * epoch / n_epochs))``.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    equation 5, without restarts.

    Parameters
    ----------
    initial : float
        The initial learning rate.
    n_epochs : int
        Number of epochs until the rate is zero.
    """

    depends_on_length = True

    def __init__(self, initial: float, n_epochs: int):
        super().__init__(initial)
        self.n_epochs = n_epochs
        self._epoch = 0

    def after_epoch(self, n_seen: int) -> None:
        self._epoch += 1
        self.rate = self.initial / 2 * (1 + math.cos(math.pi * self._epoch / self.n_epochs))


class OneCycle(Schedule):
    """Raises the rate to `initial` over the first 30% of all steps, then lowers it to almost zero.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018, with the cosines and defaults of PyTorch's ``OneCycleLR``: the rate starts at 1/25
    of the peak and ends at 1/250,000 of it. The momentum stays constant.

    Parameters
    ----------
    initial : float
        The peak of the learning rate.
    n_steps : int
        Number of all steps.
    """

    depends_on_length = True
    _WARMUP, _START, _END = 0.3, 1 / 25, 1 / 250_000

    def __init__(self, initial: float, n_steps: int):
        super().__init__(initial)
        self._last_step = max(n_steps - 1, 1)
        self._peak_step = self._WARMUP * n_steps - 1
        self._step = 0
        self.rate = self._current_rate()

    def after_step(self) -> None:
        self._step += 1
        self.rate = self._current_rate()

    def _current_rate(self) -> float:
        if self._step <= self._peak_step:
            return self._interpolate(self._START, 1.0, self._step / self._peak_step)
        progress = (self._step - self._peak_step) / (self._last_step - self._peak_step)
        return self._interpolate(1.0, self._END, min(progress, 1.0))

    def _interpolate(self, start: float, end: float, progress: float) -> float:
        factor = end + (start - end) / 2 * (1 + math.cos(math.pi * progress))
        return self.initial * factor
