"""Scorer: the only place where logits and probabilities are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from skbinary.data.containers import is_single_precision
from skbinary.data.conversion import as_rows, as_tensor
from skbinary.data.rows import Rows
from skbinary.estimators.module_state import FittedModule
from skbinary.estimators.state import FittedState
from skbinary.models.ensemble import combine_logits
from skbinary.models.forward_backward import Network
from skbinary.models.periodic_embedding import EmbeddingParameters
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.device import full_precision, is_available
from skbinary.runtime.threads import ThreadPool
from skbinary.runtime.warnings import warn

# A single row is scored without a thread pool if it takes at most so many multiplications.
# Measured with MKL: torch multiplies matrices of twice this size on the calling thread.
_QUICK_PRODUCTS = 1 << 13
# Writes a function of logits, of shape (n_rows, n_models), into an array of as many rows.
Writer = Callable[[NDArray[np.floating], NDArray[np.floating]], None]


def write_logits(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    """Write the logits themselves."""
    np.copyto(out, logits)


def write_probabilities(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    """Write the probabilities of both classes, in two columns."""
    # As for one class, so that a threshold read from either column labels its own row positive.
    _write_first(logits[:, 0], out[:, 0])
    _write_second(logits[:, 0], out[:, 1])


def write_probability_of(positive: int) -> Writer:
    """Return the function that writes the probability of one class.

    Parameters
    ----------
    positive : int
        Index of the class: 0 or 1.
    """
    return _write_second if positive else _write_first


def _write_first(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    expit(-logits, out=out)


def _write_second(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    expit(logits, out=out)


def _cast(array: NDArray[Any], kind: type[np.floating]) -> NDArray[np.floating]:
    if array.dtype == kind:
        return array
    if kind is np.float64:  # which holds every float32, so that np.errstate would only cost time
        return array.astype(kind)
    with np.errstate(over="ignore"):  # scores that are not finite are computed again
        return array.astype(kind, copy=False)


class Scorer:
    """Scores rows with fitted weights.

    Parameters
    ----------
    weights : sequence of ndarray of shape (n_in, n_out) or (n_models, n_in, n_out)
        Weights of each layer.
    biases : sequence of ndarray of shape (n_out,) or (n_models, n_out)
        Biases of each layer, or none.
    activation : str
        Name of the activation function of the hidden layers.
    device : str
        Device to compute on: the CPU if it is not available.
    temperature : float, default=1.0
        The logits are divided by it. An ensemble's logit is that of its mean probability.
    embedding : dict of ndarray or None, default=None
        Columns, frequencies, phases and linear maps of a periodic embedding.
    """

    def __init__(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any]],
        activation: str,
        device: str,
        temperature: float = 1.0,
        embedding: dict[str, NDArray[Any]] | None = None,
    ):
        self.weights = weights
        is_ensemble = weights[0].ndim == 3
        self.biases = [each[:, None] for each in biases] if is_ensemble else biases
        self.activation = activation
        self.device = device
        self.temperature = temperature
        self.embedding = embedding

    @classmethod
    def of(cls, state: FittedState) -> Scorer:
        """Return the scorer of a fitted model."""
        if state.module is not None:
            return ModuleScorer(state.module, state.device, state.temperature)
        weights = state.dense_weights()
        return cls(
            weights,
            state.biases,
            state.activation,
            state.device,
            state.temperature,
            state.embedding,
        )

    @property
    def values_per_row(self) -> int:
        """Number of values that are computed with for each row."""
        n_inputs = sum(each[..., 0].size for each in self.weights)
        return n_inputs + (0 if self.embedding is None else self.embedding["phases"].size)

    @property
    def is_linear(self) -> bool:
        return len(self.weights) == 1 and self.weights[0].ndim == 2

    def logits(self, rows: Any) -> NDArray[np.floating]:
        """Return the logits of checked rows, an array of shape (n_samples,)."""
        return self.scores(rows, write_logits, 1)[0][:, 0]

    def scores(
        self, rows: Any, write: Writer, n_columns: int, *, exact: bool = False
    ) -> tuple[NDArray[np.floating], bool]:
        """Compute logits chunk by chunk, and write a function of them into a new array.

        Parameters
        ----------
        rows : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
            Checked. float32 rows are scored in float32, all others in float64.
        write : callable(logits, out)
            Writes a function of `logits` into `out`, of shape (n_rows, n_columns).
        n_columns : int
        exact : bool, default=False
            Whether to compute in float64 in any case. This is done if float32 overflows.

        Returns
        -------
        out : ndarray of shape (n_samples, n_columns)
        is_finite : bool
            Whether all logits are finite.
        """
        device = available_device(self.device)
        single = is_single_precision(rows) and not exact
        dtype = torch.float32 if single else torch.float64
        if dtype == torch.float64 and full_precision(device) != dtype:
            device = torch.device("cpu")  # which has float64
        kind = np.float32 if single else np.float64
        network = self._network(kind, device)
        out = np.empty((rows.shape[0], n_columns), dtype=kind)

        def score_chunk(placed: Rows, chunk: slice) -> bool:
            logits = network.logits(placed.batch(chunk))
            if logits.ndim == 3:
                logits = combine_logits(logits)
            if self.temperature != 1:
                logits /= self.temperature
            array = logits.cpu().numpy()
            write(array, out[chunk])
            return bool(np.isfinite(array).all())

        if self._is_quick(rows, device):
            is_finite = score_chunk(as_rows(rows, device, dtype, convert=False), slice(0, 1))
        else:
            # Also for a single chunk: torch's own threads would slow down a small product.
            with ThreadPool.on(device) as pool:
                placed = as_rows(rows, device, dtype, convert=False)
                chunks = row_chunks(len(out), self.values_per_row, device)
                is_finite = all(list(pool.map(partial(score_chunk, placed), chunks)))
        if single and not is_finite:
            out, is_finite = self.scores(rows, write, n_columns, exact=True)
            with np.errstate(over="ignore"):  # of logits, whose probability is 0 or 1
                out = out.astype(kind)
        return out, is_finite

    def _network(self, kind: type[np.floating], device: torch.device) -> Network:
        # Casting small arrays in NumPy takes half the time of ``Tensor.to``.
        weights = [as_tensor(_cast(each, kind), device) for each in self.weights]
        biases = [as_tensor(_cast(each, kind), device) for each in self.biases]
        embedding = self._embedding(kind, device)
        columns = () if self.embedding is None else self.embedding["columns"].tolist()
        return Network(weights, biases, self.activation, columns, embedding)

    def _is_quick(self, rows: Any, device: torch.device) -> bool:
        """Whether there is a single row, and too few products for torch to start threads."""
        if rows.shape[0] > 1 or type(rows) is not np.ndarray or device.type != "cpu":
            return False
        matrices = [*self.weights, *([] if self.embedding is None else [self.embedding["maps"]])]
        return sum(each.size for each in matrices) <= _QUICK_PRODUCTS

    def _embedding(
        self, kind: type[np.floating], device: torch.device
    ) -> EmbeddingParameters | None:
        if self.embedding is None:
            return None
        names = ("frequencies", "phases", "maps")
        arrays = (_cast(self.embedding[name], kind) for name in names)
        return EmbeddingParameters(*(as_tensor(each, device) for each in arrays))


class ModuleScorer(Scorer):
    """Scores rows with fitted modules of the user, in float32, one chunk of rows at a time.

    Parameters
    ----------
    module : FittedModule
    device : str
        Device to compute on: the CPU if it is not available.
    temperature : float
        The logits are divided by it. An ensemble's logit is that of its mean probability.
    """

    def __init__(self, module: FittedModule, device: str, temperature: float):
        self.module = module
        self.device = device
        self.temperature = temperature

    @property
    def is_linear(self) -> bool:
        return False

    def scores(
        self, rows: Any, write: Writer, n_columns: int, *, exact: bool = False
    ) -> tuple[NDArray[np.floating], bool]:
        """Compute logits by chunks, and write a function of them into a new array of float32."""
        device = available_device(self.device)
        out = np.empty((rows.shape[0], n_columns), dtype=np.float32)
        modules = self.module.modules(device)
        placed = as_rows(rows, device, torch.float32, convert=False)
        is_finite = True
        with torch.no_grad():
            for chunk in row_chunks(len(out), self._values_per_row(rows), device):
                X = placed.batch(chunk).dense()
                outputs = [module(X) for module in modules]
                logits = outputs[0]
                if len(outputs) > 1:
                    logits = combine_logits(torch.stack(outputs))
                array = (logits / self.temperature).cpu().numpy()
                write(array[:, None], out[chunk])
                is_finite &= bool(np.isfinite(array).all())
        return out, is_finite

    def _values_per_row(self, rows: Any) -> int:
        return max(rows.shape[1], self.module.values_per_row)


def _is_linear(state: FittedState) -> bool:
    return len(state.weights) == state.n_models == 1 and state.embedding is None


def available_device(name: str) -> torch.device:
    """Return the device of a fitted model, or the CPU with a warning if it is not available."""
    device = torch.device(name)
    if is_available(device):
        return device
    warn(f"The model was fitted on {name}, which is not available. It predicts on the CPU.")
    return torch.device("cpu")


def logits_of(states: Sequence[FittedState], rows: Any) -> NDArray[np.floating]:
    """Return the logits of several models on the same rows.

    Linear models of the features share one matrix product, so that the rows are read once.

    Parameters
    ----------
    states : sequence of FittedState
        Fitted to data of the same type.
    rows : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Checked, and finite.

    Returns
    -------
    ndarray of shape (n_models, n_samples)
        Equal to ``decision_function`` up to rounding.
    """
    first = states[0]
    if len(states) == 1 or not all(_is_linear(state) for state in states):
        return np.stack([Scorer.of(state).logits(rows) for state in states])
    columns = np.concatenate([state.dense_weights()[0] for state in states], axis=1)
    constants = np.concatenate([s.biases[0] if s.biases else np.zeros(1) for s in states])
    shared = Scorer([columns], [constants], first.activation, first.device)
    return shared.scores(rows, write_logits, len(states))[0].T.copy()
