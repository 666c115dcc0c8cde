"""Calls the batch-level methods of skorch callbacks during mini-batch training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from skbinary.callbacks.skorch_net import BinaryNet
from skbinary.models.make_batch import AnyBatch
from skbinary.models.module_batch import ModuleBatch
from skbinary.runtime.chunks import row_chunks
from skbinary.solvers.run import Run


class BatchNotifier:
    """Hooks of a mini-batch step that notify skorch callbacks of every batch.

    Callbacks may change gradients in place, and freeze parameters with ``requires_grad``. The
    predictions that they receive cost a second forward pass over each batch.

    Parameters
    ----------
    net : BinaryNet
        The net whose callbacks are called.
    run : Run
        The training run.
    pull_learning_rate : callable(Run) -> None
        Called after each batch, since a callback may have set the learning rate.
    """

    def __init__(self, net: BinaryNet, run: Run, pull_learning_rate: Callable[[Run], None]):
        self.net = net
        self.run = run
        self.pull_learning_rate = pull_learning_rate
        self._gradients = list(_gradients_of(run.model_batch, net))

    def batch_begin(self, index: Tensor) -> None:
        """Call ``on_batch_begin`` with the rows and labels of the batch."""
        dataset = self.run.dataset
        self._batch = (dataset.rows.batch(index).dense(), self._labels(dataset.target[index]))
        self.net.notify("on_batch_begin", batch=self._batch, training=True)
        self._logits = self._predict(self._batch[0])

    def gradient_ready(self) -> None:
        """Call ``on_grad_computed`` with gradients that callbacks may change in place."""
        parameters = list(self.net.module_.parameters())
        for parameter, gradient in zip(parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self.net.notify(
            "on_grad_computed",
            named_parameters=list(self.net.get_all_learnable_params()),
            batch=self._batch,
            training=True,
        )
        self._frozen = [
            (parameter, parameter.detach().clone())
            for parameter in parameters
            if not parameter.requires_grad
        ]
        for parameter in parameters:
            parameter.grad = None

    def batch_end(self, index: Tensor, loss: Tensor) -> None:
        """Restore frozen parameters and call ``on_batch_end``."""
        with torch.no_grad():
            for parameter, before in self._frozen:
                parameter.copy_(before)
        self._notify_batch_end(self._batch, self._logits, loss, training=True)
        self.pull_learning_rate(self.run)

    def validate(self) -> None:
        """Call the batch methods for the validation set, one chunk of rows at a time."""
        validation = self.run.dataset.validation
        if validation is None:
            return
        for chunk in row_chunks(*validation.rows.shape, validation.device):
            target = validation.target[chunk]
            batch = (validation.rows.batch(chunk).dense(), self._labels(target))
            self.net.notify("on_batch_begin", batch=batch, training=False)
            logits = self._predict(batch[0])
            losses = functional.softplus(logits) - target * logits
            weight = None if validation.weight is None else validation.weight[chunk]
            loss = losses.mean() if weight is None else losses @ weight / weight.sum()
            self._notify_batch_end(batch, logits, loss, training=False)

    def _labels(self, target: Tensor) -> NDArray[np.generic]:
        return self.net.classes_[target.cpu().numpy().astype(np.intp)]

    def _predict(self, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return self.net.module_(rows)

    def _notify_batch_end(
        self, batch: tuple[Tensor, Any], logits: Tensor, loss: Tensor, *, training: bool
    ) -> None:
        prefix = "train" if training else "valid"
        self.net.history.record_batch(f"{prefix}_loss", float(loss))
        self.net.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
        self.net.notify("on_batch_end", batch=batch, training=training, loss=loss, y_pred=logits)


def _gradients_of(model_batch: AnyBatch, net: BinaryNet) -> Iterator[Tensor | None]:
    """Yield the gradient of each parameter of a net's module, or None if it is not trained."""
    gradient = model_batch.gradient
    if isinstance(model_batch, ModuleBatch):
        views = model_batch.architecture.trained_views(gradient)
        for name, _ in net.module_.named_parameters():
            view = views.get(name.removeprefix("network."))
            yield None if view is None else view[0]
        return
    weights, biases = model_batch.architecture.unpack(gradient)
    embedding = model_batch.architecture.unpack_embedding(gradient)
    if embedding is not None:
        yield from embedding.single().tensors()
    for i, weight in enumerate(weights):
        yield weight[0].mT
        if biases:
            yield biases[i][0, 0]
