"""Searches with a checkpoint: what must be the same when one is resumed, and its random numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from sklearn.base import clone

from skbinary.checkpoints.identity import content_hash, parameters
from skbinary.checkpoints.session import (
    checkpointing,
    current_session,
    pin_random_state,
    same_value,
)
from skbinary.model_selection.splits import PreparedSplit


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
            "The class that is fitted": type(search).__name__,
            **parameters(search),
            "X": content_hash(X),
            "y": content_hash(y),
            **{name: content_hash(value) for name, value in params.items()},
        }

    with checkpointing(checkpoint, identity):
        if checkpoint is None:
            yield
            return
        names = ("estimator", "random_state")
        before = {name: getattr(search, name) for name in names if hasattr(search, name)}
        search.estimator = _with_seeds(search.estimator)
        if "random_state" in before:
            search.random_state = _same_random_state(search.random_state)
        try:
            yield
        finally:
            vars(search).update(before)


def same_splitter(cv: Any) -> Any:
    """Return a splitter that splits in the same way when a search with a checkpoint is resumed."""
    if current_session() is None or not hasattr(cv, "random_state"):
        return cv
    pinned = copy.copy(cv)
    pinned.random_state = _same_random_state(cv.random_state)
    return pinned


def refit_scope() -> AbstractContextManager[None]:
    """Return a context in which the best candidate is fitted on all rows."""
    session = current_session()
    return nullcontext() if session is None else session.scope("refit")


def check_same_rows(splits: Iterable[PreparedSplit]) -> None:
    """Check that transformers return the rows on which recorded models were trained.

    Raises
    ------
    ValueError
        If they do not.
    """
    session = current_session()
    if session is None:
        return
    for split in splits:
        what = "The rows that the transformers of a search return"
        session.check(what, content_hash(split.rows.data.train.X))


def check_same_splits(splits: Sequence[tuple[Any, Any]]) -> None:
    """Check that the splits are those of the search that wrote the checkpoint, if there is one.

    Parameters
    ----------
    splits : sequence of (train, test)
        Indices of the samples.

    Raises
    ------
    ValueError
        If they are not.
    """
    session = current_session()
    if session is not None:
        hashes = [content_hash(each) for split in splits for each in split]
        session.check("The splitter cv", content_hash(hashes))


def _with_seeds(estimator: Any) -> Any:
    """Return a copy of an estimator in which all steps that draw random numbers have a seed."""
    parameters: dict[str, Any] = estimator.get_params(deep=True)
    unseeded = [
        name
        for name, value in parameters.items()
        if name.endswith("__random_state") and value is None
    ]
    seeds = {name: _same_random_state(None) for name in unseeded}
    return clone(estimator).set_params(**seeds) if seeds else estimator


def _same_random_state(parameter: Any) -> Any:
    if parameter is None:
        return same_value(lambda: int(np.random.default_rng().integers(2**32)))
    pin_random_state(parameter)
    return parameter
