"""Searches with a checkpoint: what must be the same when one is resumed, and its random numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from skbinary.checkpoints.identity import content_hash, parameters
from skbinary.checkpoints.session import (
    checkpointing,
    current_session,
    pin_random_state,
    same_value,
)


@contextmanager
def search_checkpoint(
    search: Any, checkpoint: Any, X: Any, y: Any, params: Mapping[str, Any]
) -> Iterator[None]:
    """Return a context in which a search records what it does, if there is a checkpoint.

    Candidates and the rows of a round are drawn with the same random numbers when it is resumed.

    Parameters
    ----------
    search : VectorizedSearch
    checkpoint : Checkpoint, str, path-like or None
        The argument of ``fit``.
    X : indexable of length n_samples
    y : indexable of length n_samples or None
    params : mapping of str to object
        Further arguments of ``fit``.
    """

    def identity() -> dict[str, str]:
        return {
            "The class of the search": type(search).__name__,
            **parameters(search),
            "X": content_hash(X),
            "y": content_hash(y),
            **{name: content_hash(value) for name, value in params.items()},
        }

    with checkpointing(checkpoint, identity):
        if checkpoint is None or not hasattr(search, "random_state"):
            yield
            return
        parameter = search.random_state
        search.random_state = _same_random_state(parameter)
        try:
            yield
        finally:
            search.random_state = parameter


def same_splitter(cv: Any) -> Any:
    """Return a splitter that splits in the same way when a search with a checkpoint is resumed."""
    if current_session() is None or not hasattr(cv, "random_state"):
        return cv
    pinned = copy.copy(cv)
    pinned.random_state = _same_random_state(cv.random_state)
    return pinned


def check_same_splits(number: int, splits: Sequence[tuple[Any, Any]]) -> None:
    """Check that the splits are those of the search that wrote the checkpoint, if there is one.

    Parameters
    ----------
    number : int
        Number of candidates that were evaluated before.
    splits : sequence of (train, test)
        Indices of the samples.

    Raises
    ------
    ValueError
        If they are not.
    """
    session = current_session()
    if session is not None:
        what = "The splitter cv" if number == 0 else f"The splitter cv after {number} candidates"
        hashes = [content_hash(each) for split in splits for each in split]
        session.check(what, content_hash(hashes))


def _same_random_state(parameter: Any) -> Any:
    if parameter is None:
        return same_value(lambda: int(np.random.default_rng().integers(2**32)))
    pin_random_state(parameter)
    return parameter
