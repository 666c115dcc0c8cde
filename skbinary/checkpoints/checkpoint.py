"""Checkpoint: where and how often a fit is saved while it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a fit is saved while it runs, for the argument ``checkpoint`` of ``fit``.

    After a kill the same call of ``fit`` goes on, and ends with the same bits as without the kill.

    Parameters
    ----------
    path : str or path-like
        The file, in the format of safetensors. It is replaced in one step, so that there is never
        half of it, and deleted when ``fit`` has ended.
    seconds : float, default=60
        Seconds between two writes, 0 or more. A write happens at the end of an epoch, with 0 at
        the end of each. Ctrl-C and errors write at once.
    keep : bool, default=False
        Whether the file is kept when ``fit`` has ended. The same call then returns the same model
        without training.

    Raises
    ------
    TypeError
        If `path` is no path.
    ValueError
        If the folder does not exist, or if `seconds` is negative.

    See Also
    --------
    TorchMLPClassifier.fit : Takes a checkpoint, or only its path.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skbinary import Checkpoint, TorchMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> checkpoint = Checkpoint("run.safetensors", seconds=300)
    >>> model = TorchMLPClassifier(max_iter=3, n_iter_no_change=3, early_stopping=False)
    >>> model.fit(X, y, checkpoint=checkpoint).n_iter_  # doctest: +SKIP
    3
    """

    path: str | os.PathLike[str]
    seconds: float = 60.0
    keep: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(
                "checkpoint must be a path or a skbinary.Checkpoint, got "
                f"{type(self.path).__name__}. Pass the path of a file, such as 'run.safetensors'."
            )
        folder = Path(self.path).parent
        if not folder.is_dir() or Path(self.path).is_dir():
            raise ValueError(
                "The path of a checkpoint must be a file in a folder that exists, got "
                f"{os.fspath(self.path)!r}. Create the folder, or name another file."
            )
        if not (isinstance(self.seconds, int | float) and self.seconds >= 0):
            raise ValueError(
                f"seconds must be a number of at least 0, got {self.seconds!r}. Pass the seconds "
                "between two writes."
            )


def as_checkpoint(value: Any) -> Checkpoint:
    """Return the checkpoint that a user has passed as such, or as its path."""
    return value if isinstance(value, Checkpoint) else Checkpoint(value)
