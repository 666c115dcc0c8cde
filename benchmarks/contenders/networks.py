"""Contenders of the network cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.cases import NetworkCase


class Network(Protocol):
    """Interface of the contenders."""

    def fit(self, X: Any, y: NDArray[Any], epochs: int) -> None:
        """Train from new weights for exactly this number of epochs."""

    def probabilities(self, X: NDArray[Any]) -> NDArray[Any]:
        """Compute the probability of class 1, of shape (n_samples,)."""


class _Estimator:
    """A scikit-learn estimator."""

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def fit(self, X: Any, y: NDArray[Any], epochs: int) -> None:
        self.estimator.set_params(max_iter=epochs, n_iter_no_change=epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ConvergenceWarning
            self.estimator.fit(X, y)
        if self.estimator.n_iter_ != epochs:
            raise RuntimeError(f"stopped after {self.estimator.n_iter_} of {epochs} epochs")

    def probabilities(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.estimator.predict_proba(X)[:, 1]


class _Skorch:
    """skorch, which needs dense rows and float targets."""

    def __init__(self, case: NetworkCase, device: str, **settings: Any):
        self.net = skorch_net(case, device, **settings)

    def fit(self, X: Any, y: NDArray[Any], epochs: int) -> None:
        import torch

        torch.manual_seed(0)
        if sparse.issparse(X):
            X = X.toarray()
        self.net.set_params(max_epochs=epochs, module__n_features=X.shape[1])
        self.net.fit(X, y.astype(np.float32))

    def probabilities(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.net.predict_proba(X)[:, 1]


def skorch_net(case: NetworkCase, device: str, **settings: Any) -> Any:
    """Return skorch's classifier with the settings of a case.

    Parameters
    ----------
    case : NetworkCase
    device : str
    **settings
        Further parameters of the net.

    Returns
    -------
    NeuralNetBinaryClassifier
    """
    from skorch import NeuralNetBinaryClassifier
    from torch.optim import Adam

    from benchmarks.contenders.modules import MODULES

    return NeuralNetBinaryClassifier(
        MODULES[case.module or "perceptron"],
        module__hidden=case.hidden,
        optimizer=Adam,
        optimizer__weight_decay=case.alpha / case.batch_size,
        lr=case.learning_rate,
        batch_size=case.batch_size,
        iterator_train__shuffle=True,
        train_split=None,  # by default it trains on 80% of the rows
        verbose=0,
        device=device,
        **settings,
    )


def same_settings(case: NetworkCase) -> dict[str, Any]:
    """Return the parameters that skbinary and scikit-learn have in common.

    Parameters
    ----------
    case : NetworkCase

    Returns
    -------
    dict
    """
    return {
        "hidden_layer_sizes": case.hidden,
        "batch_size": case.batch_size,
        "learning_rate_init": case.learning_rate,
        "alpha": case.alpha,
        "early_stopping": False,
        "tol": 0.0,
        "random_state": 0,
    }


def skbinary_module(case: NetworkCase, **settings: Any) -> Any:
    """Return skbinary's classifier around a module, with the settings of a case.

    Parameters
    ----------
    case : NetworkCase
    **settings
        Further parameters of the classifier.

    Returns
    -------
    TorchModuleClassifier
    """
    from benchmarks.contenders.modules import MODULES
    from skbinary import TorchModuleClassifier

    module = MODULES[case.module or "perceptron"]
    same = same_settings(case)
    hidden = same.pop("hidden_layer_sizes")
    return TorchModuleClassifier(module, module__hidden=hidden, **{**same, **settings})


def _skbinary(case: NetworkCase, device: str) -> Network:
    from skbinary import TorchMLPClassifier

    if case.module is not None:
        return _skbinary_module(case, device)
    return _Estimator(TorchMLPClassifier(**same_settings(case), device=device))


def _skbinary_module(case: NetworkCase, device: str) -> Network:
    return _Estimator(skbinary_module(case, device=device))


def _sklearn(case: NetworkCase, device: str) -> Network:
    from sklearn.neural_network import MLPClassifier

    return _Estimator(MLPClassifier(**same_settings(case)))


def _skorch(case: NetworkCase, device: str) -> Network:
    return _Skorch(case, device)


def _skorch_without_callbacks(case: NetworkCase, device: str) -> Network:
    return _Skorch(case, device, callbacks="disable")


def _plain(case: NetworkCase, device: str) -> Network:
    from benchmarks.contenders.plain_torch import PlainLoop

    return PlainLoop(case, device)


NETWORKS: dict[str, Callable[[NetworkCase, str], Network]] = {
    "skbinary": _skbinary,
    "skbinary, own module": _skbinary_module,
    "MLPClassifier": _sklearn,
    "skorch": _skorch,
    "skorch, callbacks off": _skorch_without_callbacks,
    "plain PyTorch": _plain,
}
