"""A fitted or training model as a skorch NeuralNet, and our training history under skorch's names.

Only the ``skorch*`` modules of this package import skorch, and they are loaded when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from skorch import NeuralNet
from skorch.utils import data_from_dataset, to_tensor
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from skbinary.data.containers import check_sparse
from skbinary.models.torch_module import AnyModule
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.defaults import default_settings
from skbinary.thresholds.decision import label_logits

# Our curves: the name in skorch's history (None: not shown there), and how the best is found.
HISTORY_COLUMNS: dict[str, tuple[str | None, Any]] = {
    "loss": ("train_loss", min),
    "objective": (None, None),
    "learning_rate": (None, None),
    "seconds": ("dur", None),
    "validation_loss": ("valid_loss", min),
    "validation_score": ("valid_acc", max),
}


class BinaryNet(ClassifierMixin, NeuralNet):
    """A skorch ``NeuralNet`` whose module returns one logit per row.

    ``predict_proba``, ``predict`` and ``score`` return what the estimator's methods return.
    Everything else works as in any ``NeuralNet``: ``history``, ``module_``, ``save_params``,
    ``partial_fit``.
    """

    classes_: NDArray[np.generic]
    threshold_: float
    positive_: int  # index of the class that the threshold refers to
    save_error_ = ""  # why the last call of save_params failed

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Return the logits of the rows, an array of shape (n_samples,)."""
        if isinstance(X, TorchDataset):
            X, _ = data_from_dataset(X)
        if sp.issparse(X):
            X = check_sparse(X)
        module = self.module_.eval()  # skorch switches back to train mode in the next step
        parameter = next(module.parameters())
        with default_settings(), torch.no_grad():
            logits = [
                module(torch.as_tensor(_dense(X[chunk])).to(parameter)).cpu().numpy()
                for chunk in row_chunks(X.shape[0], int(np.prod(X.shape[1:])), parameter.device)
            ]
        return np.concatenate(logits)

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Return the probabilities of both classes, an array of shape (n_samples, 2)."""
        logits = self.decision_function(X)
        return np.column_stack([expit(-logits), expit(logits)])

    def predict(self, X: Any) -> NDArray[np.generic]:
        """Return the predicted labels, an array of shape (n_samples,)."""
        logits = self.decision_function(X)
        return label_logits(logits, self.threshold_, self.classes_, self.positive_)

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return a torch dataset of dense rows, with targets of 0 and 1."""
        if hasattr(X, "__getitem__") and hasattr(X, "shape"):
            dtype = next(self.module_.parameters()).cpu().detach().numpy().dtype
            X = _dense(X).astype(dtype, copy=False)
            y = None if y is None else (np.asarray(y) == self.classes_[1]).astype(dtype)
        return super().get_dataset(X, y)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the logits of one batch, whose dtype is converted to that of the module."""
        parameter = next(self.module_.parameters())
        return super().infer(to_tensor(x, device=self.device).to(parameter.dtype), **fit_params)

    def save_params(self, *args: Any, use_safetensors: bool = False, **kwargs: Any) -> None:
        """Save parameters, optimizer, criterion or history to files, as skorch does."""
        try:
            if use_safetensors:
                with _copied_state(self.module_):
                    super().save_params(*args, use_safetensors=True, **kwargs)
            else:
                super().save_params(*args, **kwargs)
        except Exception as error:
            self.save_error_ = f"{type(error).__name__}: {error}"
            raise


def build_net(
    module: AnyModule,
    classes: NDArray[np.generic],
    threshold: float,
    positive: int = 1,
    *,
    callbacks: Sequence[Any] = (),
    history: dict[str, list[float]] | None = None,
    **settings: Any,
) -> BinaryNet:
    """Build an initialized skorch net around a module.

    Parameters
    ----------
    module : LogitModule or EnsembleModule
        Used without a copy.
    classes : ndarray of shape (2,)
        The labels, sorted.
    threshold : float
        Decision threshold on the probability, in [0, 1].
    positive : int, default=1
        Index of the class that the threshold refers to.
    callbacks : sequence of skorch callbacks
        The callbacks of the net.
    history : dict of str to list of float, default=None
        The curves of a finished fit, which are written to the net's history.
    **settings
        ``lr``, ``max_epochs``, ``batch_size``, ``device``, ``verbose``, ``optimizer``.

    Returns
    -------
    BinaryNet
    """
    net = BinaryNet(
        module,
        criterion=torch.nn.BCEWithLogitsLoss,
        train_split=None,
        callbacks=list(callbacks),
        use_caching=False,
        **settings,
    )
    net.initialize()
    net.classes_ = classes
    net.threshold_, net.positive_ = threshold, positive
    for i in range(len(history["loss"]) if history else 0):
        net.history.new_epoch()
        net.history.record("epoch", i + 1)
        record_epoch(net, {name: values[: i + 1] for name, values in (history or {}).items()})
    return net


def record_epoch(net: BinaryNet, history: dict[str, list[float]]) -> None:
    """Write the last epoch of our history to skorch's history, under skorch's names.

    Parameters
    ----------
    net : BinaryNet
        The net whose last history row is completed.
    history : dict of str to list of float
        Curves up to this epoch. Names that are not ours are kept as they are.
    """
    for name, curve in history.items():
        if name not in HISTORY_COLUMNS:
            net.history.record(name, curve[-1])
            continue
        skorch_name, best = HISTORY_COLUMNS[name]
        if skorch_name is None:
            continue
        *earlier, last = curve
        net.history.record(skorch_name, last)
        if best is not None:
            is_best = not earlier or best(last, best(earlier)) != best(earlier)
            net.history.record(f"{skorch_name}_best", is_best)


@contextmanager
def _copied_state(module: nn.Module) -> Iterator[None]:
    """Make ``state_dict`` return contiguous copies: during training the weights are views."""

    def copy(_: Any, state: dict[str, Tensor], *rest: Any) -> None:
        for name, value in state.items():
            state[name] = value.clone(memory_format=torch.contiguous_format)

    hook = module.register_state_dict_post_hook(copy)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        hook.remove()


def _dense(X: Any) -> NDArray[Any]:
    if isinstance(X, Tensor):
        X = X.detach().cpu()
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)
