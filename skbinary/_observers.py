"""Who looks on while a model is trained: verbose lines and scikit-learn's own callbacks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import sklearn

from skbinary._training.loop import Run

__all__ = ["CallbackSupport", "Printer", "ScikitLearnCallbacks"]


class CallbackSupport:
    """What scikit-learn's CallbackSupportMixin does, from the first use on.

    Loading ``sklearn.callback`` loads a progress bar, which takes half as long as this package.
    """

    def set_callbacks(self, *callbacks: Any) -> Any:
        """Set scikit-learn's callbacks. They need scikit-learn 1.9 or newer.

        Parameters
        ----------
        *callbacks : callback instances
            For example ``sklearn.callback.ProgressBar()``. None at all takes them away.

        Returns
        -------
        self : estimator
            The same one.

        Raises
        ------
        ImportError
            If this scikit-learn has no callbacks.
        """
        try:
            from sklearn.callback import CallbackSupportMixin
        except ImportError:
            raise ImportError(
                "set_callbacks must have scikit-learn 1.9 or newer. Got "
                f"{sklearn.__version__} instead. Upgrade scikit-learn, or give skorch callbacks "
                "to the parameter callbacks."
            ) from None
        return CallbackSupportMixin.set_callbacks(self, *callbacks)

    def _init_callback_context(self, **kwargs: Any) -> Any:
        try:
            from sklearn.callback import CallbackSupportMixin
        except ImportError:
            return None
        return CallbackSupportMixin._init_callback_context(self, **kwargs)


class Printer:
    """Prints a line every few epochs.

    Parameters
    ----------
    every : int
        How many epochs to a line.
    """

    def __init__(self, every: int):
        self.every = every

    def train_begin(self, run: Run) -> None:
        """Print nothing yet."""

    def epoch_begin(self, run: Run) -> None:
        """Print nothing yet."""

    def epoch_end(self, run: Run) -> bool:
        """Print epoch, losses and seconds."""
        if run.n_iter % self.every == 0:
            history = run.history
            line = f"epoch {run.n_iter}: training loss {history['loss'][-1]:.6f}"
            if "validation_loss" in history:
                line += f", validation loss {history['validation_loss'][-1]:.6f}"
            sys.stdout.write(f"{line}, {sum(history['seconds'][-self.every :]):.3f} s\n")
        return False

    def train_end(self, run: Run) -> None:
        """Print nothing more."""


class ScikitLearnCallbacks:
    """Tells scikit-learn's callbacks of every epoch.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted.
    context : sklearn.callback.CallbackContext
        The context of its ``fit``.
    data : dict
        ``X``, ``y`` and ``metadata`` as the callbacks get them.
    snapshot : callable(Run) -> dict
        Gives the fitted attributes of an estimator that would stop now.
    """

    def __init__(
        self,
        estimator: Any,
        context: Any,
        data: dict[str, Any],
        snapshot: Callable[[Run], dict[str, Any]],
    ):
        self.estimator = estimator
        self.context = context
        self.data = data
        self.snapshot = snapshot

    def train_begin(self, run: Run) -> None:
        """Tell that ``fit`` begins."""
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def epoch_begin(self, run: Run) -> None:
        """Tell that an epoch begins."""
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )

    def epoch_end(self, run: Run) -> bool:
        """Tell that an epoch has ended, and pass on whether to stop."""
        asked = self._epoch.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )
        return bool(asked)

    def train_end(self, run: Run) -> None:
        """Tell that ``fit`` has ended."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )
