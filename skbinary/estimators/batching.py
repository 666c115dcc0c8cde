"""Batches of models: models of one shape are trained at once, on threads where that pays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any

import scipy.sparse as sp
import torch

from skbinary.checkpoints.session import SessionRecorder, current_session, same_value
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.path_fit import PathFit
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.runtime.device import free_bytes
from skbinary.runtime.memory import is_out_of_memory
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.newton_path import PathModel, PathNewton
from skbinary.solvers.loop import Batch, train_batch, train_batches
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.recording import Recorder, recorded_outcomes
from skbinary.solvers.result import CancelledError, DivergedError, FitResult, StopReason

# Memory that a step of one batch of models reads and writes: the size of the cache of a few cores.
# Smaller batches spend more time in Python, and two threads wait for each other; larger ones read
# from main memory.
_CACHE_BYTES = 8 << 20
_MAX_MODELS = 64
# Minimum number of multiplications in a step of a batch for threads to save time.
_MIN_PRODUCTS_PER_STEP = 3_500_000
# Minimum number of batches that fit into the memory at once. More threads may have to wait.
_MIN_BATCHES_IN_MEMORY = 4
# The fraction of the free memory that batches take by default.
_FREE_FRACTION = 0.25
# A path uses Hessians of a part of the rows near the optimum, so it ends at this fraction of tol.
_PATH_TOL_FRACTION = 0.01


def train_models(
    models: Sequence[ModelFit],
    max_bytes: float | None = None,
    *,
    spreads: bool = False,
    in_turn: bool = False,
) -> Generator[list[ModelFit], None, None]:
    """Train models, in batches of models where that is possible.

    Parameters
    ----------
    models : sequence of ModelFit
        Changed in place: each ends fitted, with an error, or marked for a single fit.
    max_bytes : float or None, default=None
        Memory of all batches at once. None for a fraction of the free memory.
    spreads : bool, default=False
        Whether a few models are divided into several batches, for several threads.
    in_turn : bool, default=False
        Whether batches for which a thread is not free train in turn with others, epoch by epoch,
        if they all fit into the memory. Otherwise a batch begins when another one is done.

    Yields
    ------
    list of ModelFit
        The models of each batch, as it is done.

    Raises
    ------
    KeyboardInterrupt
        When the training is interrupted. Models then keep the weights so far.
    """
    groups: dict[tuple[Hashable, ...], list[ModelFit]] = {}
    for model in models:
        groups.setdefault(model.batch_key(), []).append(model)
    stop = threading.Event()

    def on_step() -> None:
        if stop.is_set():
            raise CancelledError

    recorder_of = _recorders(models)
    device, available = _device_of(models), memory_for(models, max_bytes)
    chunks = {key: _split_group(group, available, spreads=spreads) for key, group in groups.items()}
    with ThreadPool.on(device) as pool:
        for key, parts in chunks.items():
            for chunk in () if key[0] == "minibatch" else parts:
                if key[0] == "path":
                    yield _train(chunk, lambda c: _train_on_path(c, pool, on_step, recorder_of(c)))
                else:
                    yield _train(chunk, lambda c: _train_one_by_one(c, pool, recorder_of))
    batches = [chunk for key, parts in chunks.items() if key[0] == "minibatch" for chunk in parts]
    largest = max((sum(model.n_bytes for model in chunk) for chunk in batches), default=1)
    n_threads = int(max(1, min(pool.n_threads, available // largest)))
    # Modules of the user may not be safe for threads, and share torch's global generators.
    is_row_wise = all(model.recipe.architecture.is_row_wise for model in models)
    if len(batches) == 1 or not is_row_wise or not _pay_for_threads(batches):
        n_threads = 1
    in_turn &= sum(model.n_bytes for model in chain.from_iterable(batches)) <= available
    tasks = [batches[i::n_threads] for i in range(n_threads)] if in_turn else [[b] for b in batches]
    with ThreadPool.on(device, n_threads) as pool:
        try:
            train_task = partial(_train_minibatches, on_step=on_step, recorder_of=recorder_of)
            yield from pool.map(train_task, filter(None, tasks))
        except BaseException:
            stop.set()
            raise


def _recorders(models: Sequence[ModelFit]) -> Callable[[Sequence[ModelFit]], Recorder | None]:
    """Return a function from models that are trained in one batch to what records them, if any."""
    session = current_session()
    if session is None:
        return lambda _: None
    # The thread that trains a batch has no session.
    key, numbers = session.next_key(), {id(model): i for i, model in enumerate(models)}

    def recorder_of(batch: Sequence[ModelFit]) -> Recorder:
        return SessionRecorder(session, f"{key}:{numbers[id(batch[0])]}+{len(batch)}")

    return recorder_of


def _split_group(
    models: Sequence[ModelFit], max_bytes: float, *, spreads: bool
) -> list[list[ModelFit]]:
    """Divide a group into batches of models. Models on the same rows stay together.

    The division depends only on the models and the memory, not on the number of threads: products
    with more models may round differently, and results must not depend on the threads.
    """
    largest = max(model.n_bytes for model in models)
    per_step = max(model.n_bytes_per_step for model in models)
    n_models = len(models)
    on_cpu = models[0].recipe.device.type == "cpu"
    if isinstance(models[0].how, MiniBatchSetup) and on_cpu:
        max_bytes /= _MIN_BATCHES_IN_MEMORY
        n_models = min(_MAX_MODELS, _CACHE_BYTES // per_step)
        if spreads:
            n_models = min(n_models, -(-len(models) // _count_batches(models)))
            n_models = -(-len(models) // -(-len(models) // max(1, n_models)))  # of equal size
    size = int(max(1, min(n_models, max_bytes // largest)))
    batches: list[list[ModelFit]] = [[]]
    # On a GPU the time of a batch hardly depends on its size.
    enough = size / 2 if on_cpu and not spreads else size
    for group in _grouped_by_rows(models):
        # Small groups share a batch with others; large ones are batches of their own.
        if len(batches[-1]) + len(group) > size or len(batches[-1]) >= enough:
            batches.append([])
        n_batches = -(-len(group) // size)
        bounds = [i * len(group) // n_batches for i in range(n_batches + 1)]
        batches[-1] += group[: bounds[1]]
        batches += [group[a:b] for a, b in pairwise(bounds[1:])]
    return [batch for batch in batches if batch]


def _count_batches(models: Sequence[ModelFit]) -> int:
    """Return the number of batches that a few models are divided into, for several threads.

    A power of two, which two or four threads share evenly. Each batch has twice the work that
    pays for a thread: on one thread smaller batches take longer.
    """
    products = sum(model.n_products_per_step for model in models)
    n_batches = 1
    while products >= 4 * n_batches * _MIN_PRODUCTS_PER_STEP and len(models) >= 3 * n_batches:
        n_batches *= 2
    return n_batches


def _pay_for_threads(batches: Sequence[Sequence[ModelFit]]) -> bool:
    """Whether steps of batches take long enough for threads not to wait for Python's lock."""
    products = [sum(model.n_products_per_step for model in batch) for batch in batches]
    return bool(products) and sum(products) >= _MIN_PRODUCTS_PER_STEP * len(products)


def _grouped_by_rows(models: Sequence[ModelFit]) -> Iterable[list[ModelFit]]:
    """Return the models in groups that are trained on the same rows."""
    rows: dict[int, list[ModelFit]] = {}
    for model in models:
        rows.setdefault(id(model.how.dataset.rows), []).append(model)
    return rows.values()


def _train(
    models: Sequence[ModelFit],
    train_batch_of: Callable[[Sequence[ModelFit]], Sequence[FitResult | Exception | None]],
) -> list[ModelFit]:
    """Train a batch of models, or its halves if memory runs out."""
    begin = time.perf_counter()
    try:
        outcomes: Sequence[FitResult | Exception | None] = train_batch_of(models)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(models) > 1:
            half = len(models) // 2
            return _train(models[:half], train_batch_of) + _train(models[half:], train_batch_of)
        outcomes = [error]
    seconds = (time.perf_counter() - begin) / len(models)
    for model, outcome in zip(models, outcomes, strict=True):
        if outcome is not None:
            model.end(outcome, seconds)
    if any(model.is_interrupted for model in models):
        raise KeyboardInterrupt
    return list(models)


def _train_minibatches(
    batches: Sequence[Sequence[ModelFit]],
    on_step: Callable[[], None],
    recorder_of: Callable[[Sequence[ModelFit]], Recorder | None],
) -> list[ModelFit]:
    """Train batches of models, one epoch of each in turn, or parts of them if memory runs out."""

    def train_all(models: Sequence[ModelFit]) -> Sequence[FitResult | Exception | None]:
        chosen = {id(model) for model in models}
        parts = [[model for model in batch if id(model) in chosen] for batch in batches]
        parts = [part for part in parts if part]
        recorders = [recorder_of(part) for part in parts]
        recorded = [
            recorded_outcomes(recorder, [model.observers for model in part])
            for part, recorder in zip(parts, recorders, strict=True)
        ]
        left = [i for i, outcomes in enumerate(recorded) if outcomes is None]
        trained = train_batches([_as_batch(parts[i], on_step, recorders[i]) for i in left])
        outcomes_of = dict(zip(left, trained, strict=True))
        return [
            outcome
            for i, own in enumerate(recorded)
            for outcome in (outcomes_of[i] if own is None else own)
        ]

    return _train(list(chain.from_iterable(batches)), train_all)


def _as_batch(
    models: Sequence[ModelFit], on_step: Callable[[], None], recorder: Recorder | None
) -> Batch:
    setups = [model.how for model in models if isinstance(model.how, MiniBatchSetup)]
    shape = models[0].recipe.architecture
    solver = BatchedMiniBatch(shape, [model.start for model in models], setups, on_step)
    observers = [model.observers for model in models]
    earlier = [model.earlier for model in models]
    return Batch(solver, [model.criteria for model in models], observers, earlier, recorder)


def _train_one_by_one(
    models: Sequence[ModelFit],
    pool: ThreadPool,
    recorder_of: Callable[[Sequence[ModelFit]], Recorder | None],
) -> list[FitResult | Exception | None]:
    outcomes: list[FitResult | Exception | None] = [None] * len(models)
    for i, model in enumerate(models):
        outcomes[i] = outcome = _train_single(model, pool, recorder_of([model]))
        if isinstance(outcome, FitResult) and outcome.stop_reason is StopReason.INTERRUPTED:
            break
    return outcomes


def _train_single(
    model: ModelFit, pool: ThreadPool, recorder: Recorder | None
) -> FitResult | Exception:
    try:
        return model.train_on(pool, recorder)
    except Exception as error:
        return error


def _train_on_path(
    models: Sequence[ModelFit],
    pool: ThreadPool,
    on_step: Callable[[], None],
    recorder: Recorder | None,
) -> Sequence[FitResult | DivergedError | None]:
    recorded = recorded_outcomes(recorder, [model.observers for model in models])
    if recorded is not None:
        return recorded
    fits = [model.how for model in models if isinstance(model.how, PathFit)]
    weightings = {id(fit.weight): fit.weight for fit in fits}
    numbers = {key: i for i, key in enumerate(weightings)}
    points = [
        PathModel(numbers[id(fit.weight)], fit.l2, _PATH_TOL_FRACTION * model.criteria.tol)
        for model, fit in zip(models, fits, strict=True)
    ]
    weights = torch.stack(list(weightings.values()))
    shape = models[0].recipe.architecture
    if isinstance(shape, ModuleArchitecture):
        raise AssertionError("modules are trained in mini-batches")
    step = PathNewton(shape, fits[0].dataset, weights, points, pool, on_step)
    try:
        return train_batch(step, [model.criteria for model in models], recorder=recorder)
    except DivergedError as error:  # because of the rows, which all models share
        return [error] * len(models)


def bytes_of_rows(models: Sequence[ModelFit]) -> float:
    """Return the memory of the data of models, as it was passed and as they are trained on it."""
    tables = {id(model.data): model.data.train.X for model in models}
    return sum(1.5 * _nbytes(X) for X in tables.values())


def _nbytes(X: Any) -> int:
    if sp.issparse(X):
        return int(X.data.nbytes + X.indices.nbytes)
    return int(X.nbytes)


def _device_of(models: Sequence[ModelFit]) -> torch.device:
    return models[0].recipe.device if models else torch.device("cpu")


def memory_for(models: Sequence[ModelFit], max_bytes: float | None) -> float:
    """Return the memory for batches and rows: the maximum, or a fraction of the free memory."""
    if max_bytes is not None:
        return max_bytes
    return float(same_value(lambda: _FREE_FRACTION * free_bytes(_device_of(models))))
