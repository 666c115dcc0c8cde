"""Fits that are killed after an epoch and resumed, and what must then be the same."""

import contextlib
import re

import joblib
import numpy as np

from skbinary import Checkpoint, SearchEnsemble
from skbinary.checkpoints.session import Session

_save = Session.save
_TIMES = re.compile("time|seconds")


class Killed(BaseException):
    """Ends a process, as far as a test can do without ending its own."""


class Saves:
    """Counts the states that a fit records, and kills it after one of them.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
    """

    def __init__(self, monkeypatch):
        self.n_saves, self.n_until_kill = 0, np.inf
        monkeypatch.setattr(Session, "save", lambda *args: self._save(*args))

    def _save(self, session, key, state):
        if self.n_saves >= self.n_until_kill:
            raise Killed  # after the end of the process nothing is saved
        _save(session, key, state)
        self.n_saves += 1
        if self.n_saves >= self.n_until_kill:
            raise Killed


def count_saves(monkeypatch, fit, path):
    """Return an undisturbed model and how often it is saved."""
    saves = Saves(monkeypatch)
    return fit(Checkpoint(path, seconds=0)), saves.n_saves


def fit_with_kill(monkeypatch, fit, path, n_saves):
    """Kill a fit after it has saved its state so many times, and return the resumed one."""
    with monkeypatch.context() as patch:
        saves = Saves(patch)
        saves.n_until_kill = n_saves
        with contextlib.suppress(Killed):
            fit(Checkpoint(path, seconds=0))
    assert path.exists()
    return fit(path)


def bits(value):
    """Return all that a fit has learned, but not the seconds it took, to compare."""
    return joblib.hash(_plain(value))


def _plain(value):
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    if isinstance(value, dict):
        return {
            str(k): _plain(v)
            for k, v in value.items()
            if not _TIMES.search(str(k)) and str(k) != "checkpoint"
        }
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "cv_results_"):
        names = ("cv_results_", "best_params_", "best_score_", "best_index_", "best_estimator_")
        return {name: _plain(getattr(value, name, None)) for name in names}
    if hasattr(value, "_state"):
        return _plain(vars(value._state))
    if hasattr(value, "steps"):
        return [_plain(step) for _, step in value.steps]
    if isinstance(value, SearchEnsemble) or type(value).__name__ in ("FittedModule",):
        return _plain(vars(value))
    if hasattr(value, "n_features_in_"):
        return _plain(vars(value))
    return repr(value)
