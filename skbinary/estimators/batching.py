"""Classifiers with parameters and rows become stacks, are trained, and come back fitted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor

from skbinary.data.dataset import Dataset, scale_penalty
from skbinary.data.preparation import (
    CheckedData,
    Fold,
    Split,
    cached,
    check_data,
    unweighted_dataset,
)
from skbinary.data.validation import (
    as_tensor,
    check_weight,
    encode,
    scale_weights,
    two_classes,
    weigh_classes,
)
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.fit_context import FitContext
from skbinary.runtime.device import free_bytes, full_precision
from skbinary.runtime.memory import is_out_of_memory
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.newton_path import PathNewton, Point
from skbinary.solvers.full_batch.small_objective import SMALL
from skbinary.solvers.loop import Observer, train, train_batch
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from skbinary.solvers.minibatch.dropout import bytes_ahead
from skbinary.solvers.minibatch.single import MiniBatchSetup
from skbinary.solvers.minibatch.torchscript import SCRIPTS, Scripts
from skbinary.solvers.result import CancelledError, DivergedError, FitResult, StopReason
from skbinary.solvers.stopping import StoppingCriteria

# What a step of one stack goes over: as much as a few cores keep close. Smaller stacks pay more
# for Python, and two threads for waiting for each other; in larger ones numbers come from afar.
_CLOSE_BYTES = 8 << 20
_MOST_MODELS = 64
# What a step of a stack multiplies, at least, for threads to gain more than they wait.
_PRODUCTS_OF_A_STEP = 3_500_000
# So many stacks fit into the memory at once, at least. More threads than that may have to wait.
_AT_ONCE = 4
# The share of the free memory that stacks take by default.
_FREE_SHARE = 0.25
_ENDS_OF_A_PATH = (StopReason.CONVERGED, StopReason.INTERRUPTED)
# A path ends with Hessians of a part of the rows, so it goes on until this share of tol.
_PATH_SHARE = 0.01


@dataclass(frozen=True)
class SharedRows:
    """Checked rows that several models train on.

    Parameters
    ----------
    data : CheckedData
        All of them.
    features : dict
        What the check has learnt of the columns, as an estimator remembers it.
    chosen : ndarray of int or None
        The rows that are trained on. None for all.
    """

    data: CheckedData
    features: dict[str, Any]
    chosen: NDArray[np.intp] | None = None


def share_rows(
    classifier: BinaryClassifier, X: Any, y: Any, fit_params: dict[str, Any]
) -> SharedRows:
    """Check rows once for all models of a kind that train on them."""
    prototype = clone(classifier)
    table = (X, y, fit_params.get("sample_weight"))
    groups = fit_params.get("groups")
    data = check_data(prototype, table, (None,) * 3, reset=True, groups=groups)
    parameters = prototype.get_params(deep=False)
    features = {name: value for name, value in vars(prototype).items() if name not in parameters}
    return SharedRows(replace(data, made={}), features)


@dataclass(frozen=True)
class PathFit:
    """How a linear model stands on a path: how rows are weighed, and how strong its penalty is.

    Parameters
    ----------
    dataset : Dataset
        All rows.
    weight : Tensor of shape (n_samples,)
        Zero for rows that are not trained on.
    l2 : float
        Strength of the penalty, as a share of the mean objective.
    """

    dataset: Dataset
    weight: Tensor
    l2: float


@dataclass(frozen=True)
class SingleFit:
    """A model with a solver of its own, which takes hardly more than a stack, or knows no stack.

    Parameters
    ----------
    dataset : Dataset
        The rows, which were checked and placed once for all models on them.
    """

    dataset: Dataset


@dataclass
class Model:
    """A classifier that waits for its training, or has it behind it.

    Parameters
    ----------
    name : object
        What the caller knows it by.
    classifier : BinaryClassifier
        Fitted once it was trained.
    training : FitContext
        What its fit has settled.
    criteria : StoppingCriteria
        When it stops.
    how : MiniBatchSetup, Weighted or Alone
        What it is trained on, and how.
    start : Tensor of shape (n_parameters,)
        Where its training starts.
    split : Split
        Which rows it trains and validates on.
    observers : list of Observer
        Who looks on while it is trained, wherever a stack has epochs.

    Attributes
    ----------
    error : Exception or None
        Why it could not be fitted.
    result : FitResult or None
        What was learnt.
    seconds : float
        Its share of the time that its stack took.
    is_left : bool
        Whether the stack has left it to be fitted alone.
    """

    name: Any
    classifier: BinaryClassifier
    training: FitContext
    criteria: StoppingCriteria
    how: MiniBatchSetup | PathFit | SingleFit
    start: Tensor
    split: Split
    observers: list[Observer] = field(default_factory=list)
    error: Exception | None = None
    result: FitResult | None = None
    seconds: float = 0.0
    is_left: bool = False

    def group(self) -> tuple[Hashable, ...]:
        """Tell apart what cannot be in one stack."""
        training, how = self.training, self.how
        shape = replace(training.architecture, dropout=())
        if isinstance(how, SingleFit):
            return "alone", id(how)
        if isinstance(how, PathFit):
            return "path", shape, id(how.dataset), str(training.device)
        rows = how.dataset.rows
        # Folds of members differ by a few rows; other folds keep the very batches they have alone.
        length = how.n_batches if training.fold is not None else how.dataset.n_samples
        return (
            "batches", shape, str(training.device), type(rows), length,
            how.batch_size, type(how.optimizer), how.dropout is None, how.l2_penalty.per_batch,
        )  # fmt: skip

    @property
    def n_bytes_of_a_step(self) -> int:
        """What a step goes over for this model."""
        architecture = self.training.architecture
        if not isinstance(self.how, MiniBatchSetup):
            return 8 * 20 * architecture.n_parameters  # with the changes that L-BFGS keeps
        # Value, gradient and two averages; value and error of each unit.
        units = self.how.batch_size * sum(architecture.hidden)
        return 4 * (4 * architecture.n_parameters + 2 * units)

    @property
    def n_products_of_a_step(self) -> int:
        """How often a step multiplies a number with a weight of this model, on its way there."""
        size = (
            self.how.batch_size
            if isinstance(self.how, MiniBatchSetup)
            else self.how.dataset.n_samples
        )
        return size * self.training.architecture.n_weights

    @property
    def n_bytes(self) -> int:
        """What a stack takes for this model, with a few numbers for each row."""
        how, noise = self.how, 0
        if (
            isinstance(how, MiniBatchSetup)
            and how.dropout is not None
            and how.dataset.device.type != "cpu"
        ):
            noise = bytes_ahead(how.batch_size, self.training.architecture.hidden)
        return self.n_bytes_of_a_step + 16 * how.dataset.n_samples + noise

    @property
    def is_interrupted(self) -> bool:
        """Whether its training was interrupted before its end."""
        if self.result is None:
            return self.error is None and not self.is_left
        return self.result.stop_reason is StopReason.INTERRUPTED

    def end(self, outcome: FitResult | Exception, seconds: float) -> None:
        """Take note of what became of it."""
        self.seconds = seconds
        if isinstance(outcome, Exception):
            self.error = outcome
        elif isinstance(self.how, PathFit) and outcome.stop_reason not in _ENDS_OF_A_PATH:
            self.is_left = True
        else:
            try:
                self.classifier._take_over(outcome, self.training)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self.error = error
            else:
                self.result = outcome  # last, since a model with a result counts as fitted

    def warn(self) -> None:
        """Say what is unfinished about the training."""
        if self.result is not None:
            self.classifier._warn_unless_finished(self.result, self.criteria)


def plan_model(
    name: Any,
    classifier: BinaryClassifier,
    rows: SharedRows,
    *,
    fold: Fold | None = None,
    goes_on: bool = False,
    may_be_alone: bool = False,
) -> Model | None:
    """Settle how a classifier is trained in a stack, or give None where it cannot be.

    Parameters
    ----------
    name : object
        What the caller knows it by.
    classifier : BinaryClassifier
        Its parameters are checked. Not fitted, unless it goes on. It is the one that will be.
    rows : SharedRows
        What it is trained on.
    fold : Fold or None, default=None
        Which of the rows are held out.
    goes_on : bool, default=False
        Whether to start from the fitted weights.
    may_be_alone : bool, default=False
        Whether one that cannot be in a stack is planned to be trained beside it.
    """
    classifier.__dict__.update(rows.features)
    training = classifier._settle(rows.data, goes_on=goes_on, fold=fold)
    start = classifier._start(training, goes_on=goes_on)
    how: MiniBatchSetup | PathFit | SingleFit
    if not training.in_batches and not classifier._follows_a_path(training) and not may_be_alone:
        return None
    follows = not training.in_batches and classifier._follows_a_path(training)
    if follows and not (rows.chosen is None and is_small(rows.data.train.X)):
        how = _weighted(classifier, training, rows)
        split = Split(how.dataset, how.dataset.n_samples)
    else:
        split = classifier._split(training)
        how = SingleFit(split.dataset)
    if training.in_batches:
        dataset = split.dataset
        start = start.to(device=dataset.device, dtype=dataset.target.dtype)
        how = classifier._minibatch_setup(training, dataset, start[None])
        if how.shuffler is not None:
            _, state, position, *_ = training.random_state.get_state()
            how = replace(how, shuffle_key=(state.tobytes(), position))
    criteria = classifier._stopping_criteria(training, split, classifier.max_iter)
    return Model(name, classifier, training, criteria, how, start, split)


def is_small(X: Any) -> bool:
    """Tell whether linear models on a table are solved one by one."""
    return not sp.issparse(X) and math.prod(np.shape(X)) <= SMALL


def _weighted(classifier: Any, training: FitContext, rows: SharedRows) -> PathFit:
    """Weigh all rows for a linear model: folds, classes and the weights that were given."""
    data, device, fold = rows.data, training.device, training.fold
    dataset = unweighted_dataset(data, device, full_precision(device))
    what = f"weights {id(rows.chosen)} {id(fold)} {classifier.class_weight!r} {device}"
    weight, total, exponent = cached(data, what, lambda: _weigh(classifier, rows, fold, dataset))
    return PathFit(dataset, weight, scale_penalty(1 / classifier.C, exponent) / total)


def _weigh(
    classifier: Any, rows: SharedRows, fold: Fold | None, dataset: Dataset
) -> tuple[Tensor, float, int]:
    """Give the weights of all rows, their sum, and how they were scaled."""
    table, classes = rows.data.train, rows.data.classes
    chosen = np.arange(len(table.y)) if rows.chosen is None else rows.chosen
    labels, given = table.y[chosen], None
    if table.sample_weight is not None:
        given = check_weight(table.sample_weight[chosen], labels)
    if not 0 < np.count_nonzero(labels == classes[1]) < len(labels):
        two_classes(classifier, labels)  # says which one is there
    of_class = weigh_classes(classifier.class_weight, classes, labels, given)
    seen = chosen if fold is None else fold.train
    each = of_class[encode(table.y[seen], classes).astype(np.intp)]
    factors = [each] if table.sample_weight is None else [each, table.sample_weight[seen]]
    each, exponent = scale_weights(*factors)
    # A row that was drawn twice counts twice.
    weight = np.bincount(seen, each, len(table.y))
    return as_tensor(weight).to(dataset.target), float(each.sum()), exponent


def train_models(
    models: Sequence[Model],
    most_bytes: float | None = None,
    *,
    spreads: bool = False,
) -> Generator[list[Model], None, None]:
    """Train models in stacks.

    Parameters
    ----------
    models : sequence of Model
        They are changed: each ends fitted, or with an error, or left to be fitted alone.
    most_bytes : float or None, default=None
        What the stacks may take together. None for a share of what is free.
    spreads : bool, default=False
        Whether a few models are cut into several stacks, which threads can share.

    Yields
    ------
    list of Model
        Those of each stack, as it is done.

    Raises
    ------
    KeyboardInterrupt
        When the training is interrupted. Models then keep the weights so far.
    """
    groups: dict[tuple[Hashable, ...], list[Model]] = {}
    for model in models:
        groups.setdefault(model.group(), []).append(model)
    stop = threading.Event()

    def on_step() -> None:
        if stop.is_set():
            raise CancelledError

    device, most = _device_of(models), room_for(models, most_bytes)
    chunks = {key: _cut(group, most, spreads=spreads) for key, group in groups.items()}
    with ThreadPool.on(device) as pool:
        for key, cut in chunks.items():
            for chunk in () if key[0] == "batches" else cut:
                if key[0] == "path":
                    yield _train(chunk, lambda c: _on_path(c, pool, on_step))
                else:
                    yield _train(chunk, lambda c: _one_by_one(c, pool))
    batches = [chunk for key, cut in chunks.items() if key[0] == "batches" for chunk in cut]
    largest = max((sum(model.n_bytes for model in chunk) for chunk in batches), default=1)
    n_threads = int(max(1, min(pool.n_threads, most // largest)))
    if len(batches) == 1 or not _are_worth_threads(batches):
        n_threads = 1
    scripts = SCRIPTS if n_threads > 1 else None
    together = partial(_in_batches, on_step=on_step, scripts=scripts)
    with ThreadPool.on(device, n_threads) as pool:
        try:
            yield from pool.map(lambda chunk: _train(chunk, together), batches)
        except BaseException:
            stop.set()
            raise


def _cut(models: Sequence[Model], most_bytes: float, *, spreads: bool) -> list[list[Model]]:
    """Cut a group into stacks, the same rows together.

    The cut depends on the models and the memory alone: products with more models may round
    differently, and the number of threads must not change a bit.
    """
    largest = max(model.n_bytes for model in models)
    of_a_step = max(model.n_bytes_of_a_step for model in models)
    n_close = len(models)
    on_cpu = models[0].training.device.type == "cpu"
    if isinstance(models[0].how, MiniBatchSetup) and on_cpu:
        most_bytes /= _AT_ONCE
        n_close = min(_MOST_MODELS, _CLOSE_BYTES // of_a_step)
        if spreads:
            n_close = min(n_close, -(-len(models) // _count_parts(models)))
            n_close = -(-len(models) // -(-len(models) // max(1, n_close)))  # as even as can be
    size = int(max(1, min(n_close, most_bytes // largest)))
    batches: list[list[Model]] = [[]]
    # What a GPU steps through at once takes hardly longer than a part of it.
    enough = size / 2 if on_cpu and not spreads else size
    for own in _same_rows(models):
        # Few models on the same rows share their stack with others; many have one of their own.
        if len(batches[-1]) + len(own) > size or len(batches[-1]) >= enough:
            batches.append([])
        n_stacks = -(-len(own) // size)
        bounds = [i * len(own) // n_stacks for i in range(n_stacks + 1)]
        batches[-1] += own[: bounds[1]]
        batches += [own[a:b] for a, b in pairwise(bounds[1:])]
    return [batch for batch in batches if batch]


def _count_parts(models: Sequence[Model]) -> int:
    """Count the stacks that a few models are cut into, so that threads can share them.

    A power of two, which two or four threads share evenly. Each stack has twice the work that a
    thread is worth: on one thread smaller ones take longer.
    """
    products = sum(model.n_products_of_a_step for model in models)
    n_parts = 1
    while products >= 4 * n_parts * _PRODUCTS_OF_A_STEP and len(models) >= 3 * n_parts:
        n_parts *= 2
    return n_parts


def _are_worth_threads(batches: Sequence[Sequence[Model]]) -> bool:
    """Tell whether stacks do enough in a step not to wait for each other at Python's lock."""
    products = [sum(model.n_products_of_a_step for model in batch) for batch in batches]
    return bool(products) and sum(products) >= _PRODUCTS_OF_A_STEP * len(products)


def _same_rows(models: Sequence[Model]) -> Iterable[list[Model]]:
    rows: dict[int, list[Model]] = {}
    for model in models:
        rows.setdefault(id(model.how.dataset.rows), []).append(model)
    return rows.values()


def _train(
    models: Sequence[Model],
    together: Callable[[Sequence[Model]], Sequence[FitResult | Exception | None]],
) -> list[Model]:
    """Train a stack, in halves where the memory does not suffice."""
    begin = time.perf_counter()
    try:
        outcomes: Sequence[FitResult | Exception | None] = together(models)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(models) > 1:
            half = len(models) // 2
            return _train(models[:half], together) + _train(models[half:], together)
        outcomes = [error]
    seconds = (time.perf_counter() - begin) / len(models)
    for model, outcome in zip(models, outcomes, strict=True):
        if outcome is not None:
            model.end(outcome, seconds)
    if any(model.is_interrupted for model in models):
        raise KeyboardInterrupt
    return list(models)


def _in_batches(
    models: Sequence[Model], on_step: Callable[[], None], scripts: Scripts | None
) -> list[FitResult | DivergedError | None]:
    setups = [model.how for model in models if isinstance(model.how, MiniBatchSetup)]
    shape = models[0].training.architecture
    step = BatchedMiniBatch(
        shape, [model.start for model in models], setups, on_step, scripts=scripts
    )
    observers = [model.observers for model in models]
    return train_batch(step, [model.criteria for model in models], observers)


def _one_by_one(models: Sequence[Model], pool: ThreadPool) -> list[FitResult | Exception | None]:
    outcomes: list[FitResult | Exception | None] = [None] * len(models)
    for i, model in enumerate(models):
        outcomes[i] = outcome = _solved(model, pool)
        if isinstance(outcome, FitResult) and outcome.stop_reason is StopReason.INTERRUPTED:
            break
    return outcomes


def _solved(model: Model, pool: ThreadPool) -> FitResult | Exception:
    classifier, training = model.classifier, model.training
    step = classifier._step(training, model.how.dataset, model.start, pool)
    try:
        return train(step, model.criteria, model.observers)
    except Exception as error:
        return error


def _on_path(
    models: Sequence[Model], pool: ThreadPool, on_step: Callable[[], None]
) -> list[FitResult | DivergedError | None]:
    places = [model.how for model in models if isinstance(model.how, PathFit)]
    weightings = {id(place.weight): place.weight for place in places}
    numbers = {key: i for i, key in enumerate(weightings)}
    points = [
        Point(numbers[id(place.weight)], place.l2, _PATH_SHARE * model.criteria.tol)
        for model, place in zip(models, places, strict=True)
    ]
    weights = torch.stack(list(weightings.values()))
    shape = models[0].training.architecture
    step = PathNewton(shape, places[0].dataset, weights, points, pool, on_step)
    try:
        return train_batch(step, [model.criteria for model in models])
    except DivergedError as error:  # the rows, which all models share, are what diverges
        return [error] * len(models)


def bytes_of_rows(models: Sequence[Model]) -> float:
    """Give what the rows of waiting models take, as they were given and as they are trained on."""
    tables = {id(model.training.data): model.training.data.train.X for model in models}
    return sum(1.5 * _n_bytes(X) for X in tables.values())


def _n_bytes(X: Any) -> int:
    if sp.issparse(X):
        return int(X.data.nbytes + X.indices.nbytes)
    return int(X.nbytes)


def _device_of(models: Sequence[Model]) -> torch.device:
    return models[0].training.device if models else torch.device("cpu")


def room_for(models: Sequence[Model], most_bytes: float | None) -> float:
    """Give what stacks and their rows may take: what is allowed, or a share of what is free."""
    if most_bytes is not None:
        return most_bytes
    return _FREE_SHARE * free_bytes(_device_of(models))
