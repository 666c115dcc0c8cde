"""One fit with a checkpoint: what it has recorded, and when that is written.

A resumed fit does all again that takes little time: it checks the data, draws seeds and folds, and
plans the models. Trainings are numbered in this order, and those that were recorded are read back
in place of being run. What a fit takes from outside, such as a fresh seed or the free memory, is
recorded, too, so that the plan is the same.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from skbinary.checkpoints.checkpoint import Checkpoint, as_checkpoint
from skbinary.checkpoints.file import part_of, read_tree, write_tree
from skbinary.checkpoints.identity import HASH, environment
from skbinary.runtime.optional import require
from skbinary.runtime.warnings import warn
from skbinary.solvers.recording import State
from skbinary.solvers.result import DivergedError

_current: ContextVar[Session | None] = ContextVar("session", default=None)


def current_session() -> Session | None:
    """Return the session of the fit that calls this on its own thread, if there is one."""
    return _current.get()


@contextmanager
def checkpointing(checkpoint: Any, identity: Callable[[], dict[str, str]]) -> Iterator[None]:
    """Return a context in which a fit records what it does, and goes on from what is recorded.

    Parameters
    ----------
    checkpoint : Checkpoint, str, path-like or None
        The argument of ``fit``. Without one, nothing is recorded.
    identity : callable() -> dict of str to str
        Returns what must be the same in the fit that wrote the file: its data and parameters.

    Raises
    ------
    ValueError
        If the file is of another fit, or damaged.
    """
    if checkpoint is None:
        outer = current_session()
        if outer is not None:
            outer.forget_unless_same(identity)
        yield
        return
    require("safetensors", "safetensors", "checkpoint")
    session = Session(as_checkpoint(checkpoint), {**identity(), **environment()})
    token = _current.set(session)
    try:
        yield
    except DivergedError:
        session.delete()  # the same call would diverge again
        raise
    except BaseException:
        session.write()
        raise
    else:
        session.end()
    finally:
        _current.reset(token)


class Session:
    """What one fit has recorded.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its file is read if it exists.
    identity : dict of str to str
        The data, the parameters and the libraries of the fit.

    Attributes
    ----------
    is_interrupted : bool
        Whether the fit ends before its time, with the weights so far.

    Raises
    ------
    ValueError
        If the file is of another fit, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint, identity: dict[str, str]):
        self.checkpoint = checkpoint
        self.is_interrupted = False
        self._path = Path(os.path.abspath(checkpoint.path))
        self._identity = identity
        self._states: dict[str, State] = {}
        self._values: dict[str, Any] = {}
        self._prefix, self._n_drawn = "", 0
        self._lock = threading.Lock()
        self._has_changed = False
        self._last_write = clock()
        if self._path.exists():
            tree = read_tree(self._path)
            for what, value in identity.items():
                self._check_same(what, tree["identity"].get(what, "none"), value)
            self._states, self._values = tree["states"], tree["values"]

    def next_key(self) -> str:
        """Return the key of the next training. The fit has the same ones in the same order."""
        self._n_drawn += 1
        return f"{self._prefix}{self._n_drawn}"

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Return a context in which trainings are numbered anew, for a part that may be left out.

        Parameters
        ----------
        name : str
            A name that no other scope of the fit has.
        """
        before = self._prefix, self._n_drawn
        self._prefix, self._n_drawn = f"{self._prefix}{name}/", 0
        try:
            yield
        finally:
            self._prefix, self._n_drawn = before

    def same(self, make: Callable[[], Any]) -> Any:
        """Return a value that a fit takes from outside: the recorded one when it is resumed."""
        key = self.next_key()
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]

    def check(self, what: str, value: str) -> None:
        """Check that a value is the same as in the fit that wrote the file, or record it."""
        self._check_same(what, self.same(lambda: value), value)

    def forget_unless_same(self, identity: Callable[[], dict[str, str]]) -> None:
        """Remove the trainings of the scope if they are of another fit.

        A search fits some candidates one by one. If a transformer before the classifier is random,
        the rows are others when the candidate is fitted again.
        """
        digest = joblib.hash(identity())
        key = self.next_key()
        if self._prefix and self._values.setdefault(key, digest) != digest:
            self.forget(self._prefix)
            self._values[key] = digest

    def load(self, key: str) -> State | None:
        """Return the state of a training that was recorded last."""
        return self._states.get(key)

    def save(self, key: str, state: State) -> None:
        """Record the state of a training, and write all of them if it is time. Thread-safe."""
        with self._lock:
            self._states[key] = state
            self._has_changed = True
            if clock() - self._last_write >= self.checkpoint.seconds:
                self._write()

    def forget(self, prefix: str) -> None:
        """Remove the states of a scope, which a single state now stands for."""
        with self._lock:
            self._states = {k: v for k, v in self._states.items() if not k.startswith(prefix)}

    def write(self) -> None:
        """Write what was recorded since the last write."""
        with self._lock:
            if self._has_changed:
                self._write()

    def end(self) -> None:
        """Delete the file, or write it if the fit was interrupted or the file is to be kept."""
        if self.is_interrupted or self.checkpoint.keep:
            self.write()
        else:
            self.delete()

    def delete(self) -> None:
        """Delete the file."""
        for path in (self._path, part_of(self._path)):
            path.unlink(missing_ok=True)

    def _write(self) -> None:
        tree = {
            "identity": self._identity,
            "values": dict(self._values),  # the fit may add one just now
            "states": dict(self._states),
        }
        try:
            write_tree(self._path, tree)
        except OSError as error:
            # The fit is worth more than its checkpoint.
            warn(f"The checkpoint could not be written ({error}). The fit goes on without it.")
        self._has_changed = False
        self._last_write = clock()

    def _check_same(self, what: str, before: str, now: str) -> None:
        if before != now:
            file = os.fspath(self.checkpoint.path)
            differs = f", {_short(before)}, got {_short(now)}"
            if before.startswith(HASH) or now.startswith(HASH):
                differs = ", got another one"
            raise ValueError(
                f"{what} must be the same as in the fit that wrote the checkpoint {file!r}"
                f"{differs}. Pass the same, or delete the file to start again."
            )


class SessionRecorder:
    """The recorder of one training.

    Parameters
    ----------
    session : Session
    key : str
        Its key in the session.
    """

    def __init__(self, session: Session, key: str):
        self._session = session
        self._key = key

    def load(self) -> State | None:
        """Return the state that was recorded last."""
        return self._session.load(self._key)

    def save(self, state: State) -> None:
        """Record a state."""
        self._session.save(self._key, state)

    def interrupt(self) -> None:
        """Keep the file, since the fit ends before its time."""
        self._session.is_interrupted = True


def next_recorder() -> SessionRecorder | None:
    """Return the recorder of the next training, or None without a checkpoint."""
    session = current_session()
    return None if session is None else SessionRecorder(session, session.next_key())


def same_value(make: Callable[[], Any]) -> Any:
    """Return a value from outside, which is the same when a fit with a checkpoint is resumed."""
    session = current_session()
    return make() if session is None else session.same(make)


def mark_interrupted() -> None:
    """Keep the file of the checkpoint, if there is one, since the fit ends before its time."""
    session = current_session()
    if session is not None:
        session.is_interrupted = True


def pin_random_state(random_state: Any) -> None:
    """Set a RandomState to where it was when the fit started for the first time."""
    session = current_session()
    if session is not None and isinstance(random_state, np.random.RandomState):
        state = session.same(lambda: random_state.get_state(legacy=False))
        random_state.set_state(state)


def clock() -> float:
    """Return the seconds by which writes are timed."""
    return time.monotonic()


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
