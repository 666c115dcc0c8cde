"""Adam or SGD for a single model on rows that are read anew in each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skbinary.data.dataset import Dataset
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.models.make_batch import AnyBatch
from skbinary.runtime.device import full_precision
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.solvers.recording import State, copied, copied_state
from skbinary.solvers.result import Progress


class StreamedMiniBatch:
    """Trains a single model on a table, of which as many rows are shuffled as fit into memory.

    An epoch reads the parts of the table in random order into windows, one after the other, and
    makes a step for each batch of a window.

    Parameters
    ----------
    model_batch : ModelBatch or ModuleBatch
        A batch of one model.
    setup : MiniBatchSetup
        How the model is trained. Its dataset is a ``StreamedDataset``.
    earlier : mapping or None, default=None
        The ``state()`` of a training that this one continues.
    pool : ThreadPool or None, default=None
        The threads that share large steps. None for one thread.
    """

    def __init__(
        self,
        model_batch: AnyBatch,
        setup: MiniBatchSetup,
        *,
        earlier: Mapping[str, Any] | None = None,
        pool: ThreadPool | None = None,
    ):
        self.model_batch = model_batch
        self.setup = setup
        self.dataset = setup.dataset
        self.n_seen = setup.n_seen
        self._pool = pool
        self._earlier = earlier
        self._n_windows = 0

    def start(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def run_epoch(self) -> Progress:
        """Make a step for every batch of the training set."""
        dataset, setup = self.dataset, self.setup
        assert isinstance(dataset, StreamedDataset)
        rate, loss = setup.schedule.rate, 0.0
        for window in dataset.passes.windows(setup.batch_size, setup.shuffler):
            trainer = self._trainer(window)
            loss += trainer.run_epoch().loss * window.total_weight / dataset.total_weight
            self._earlier, self._n_windows = trainer.state(), self._n_windows + 1
        self.n_seen += dataset.n_samples
        setup.schedule.after_epoch(self.n_seen)
        weights = self.model_batch.parameters[:, : self.model_batch.architecture.n_weights]
        squares = float(weights.square().sum(dtype=full_precision(weights.device)))
        penalty = setup.l2_penalty.of_epoch(squares, setup.n_batches)
        return Progress(loss, loss + penalty / dataset.total_weight, rate)

    def on_plateau(self) -> bool:
        """Notify the schedule that the loss no longer improves; return whether to stop."""
        return self.setup.schedule.on_plateau()

    def state(self) -> dict[str, Any]:
        """Return the state of the optimizer and the number of rows seen, to resume from."""
        return {**(self._earlier or self.setup.optimizer.state()), "n_seen": self.n_seen}

    def snapshot(self) -> State:
        """Return a copy of the state after an epoch."""
        setup = self.setup
        shuffler: Any = setup.shuffler
        return {
            "values": copied(self.model_batch.values),
            "optimizer": copied_state(setup.optimizer.state()),
            "earlier": copied_state(self._earlier or {}),
            "schedule": dict(vars(setup.schedule)),
            "dropout": None if setup.dropout is None else setup.dropout.snapshot(),
            "shuffler": None if shuffler is None else shuffler.get_state(legacy=False),
            "n_windows": self._n_windows,
            "n_seen": self.n_seen,
        }

    def restore(self, state: State) -> None:
        """Go on from a ``snapshot()``."""
        setup = self.setup
        own = setup.optimizer.parameters
        optimizer = setup.optimizer.with_parameters(own, state=state["optimizer"])
        self.setup = replace(setup, optimizer=optimizer)
        self.model_batch.values.copy_(state["values"])
        vars(setup.schedule).update(state["schedule"])
        if setup.dropout is not None:
            setup.dropout.restore(state["dropout"])
        shuffler: Any = setup.shuffler
        if shuffler is not None:
            shuffler.set_state(state["shuffler"])
        self._earlier, self._n_windows = state["earlier"] or None, state["n_windows"]
        self.n_seen = state["n_seen"]

    def _trainer(self, window: Dataset) -> MiniBatch:
        """Return what makes an epoch of the rows of a window."""
        setup, penalty = self.setup, self.setup.l2_penalty
        if not penalty.per_batch:
            # A step divides it by the weight of the window, and it shall be that of all rows.
            share = window.total_weight / self.dataset.total_weight
            penalty = replace(penalty, strength=penalty.strength * share)
        seed = setup.generator_seed
        part = replace(
            setup,
            dataset=window,
            l2_penalty=penalty,
            schedule=_WithinEpoch(setup.schedule),
            generator_seed=None if seed is None else seed + self._n_windows,
        )
        return MiniBatch(self.model_batch, part, earlier=self._earlier, pool=self._pool)


class _WithinEpoch(Schedule):
    """A schedule that goes on from window to window, and does not see their ends as epochs."""

    def __init__(self, schedule: Schedule):
        self._schedule = schedule

    @property
    def rate(self) -> float:  # type: ignore[override]
        """The learning rate of the next step."""
        return self._schedule.rate

    def after_step(self) -> None:
        """Notify the schedule of a step."""
        self._schedule.after_step()
