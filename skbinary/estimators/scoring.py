"""Scores of rows: the one owner of logits, probabilities and labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skbinary.data.containers import is_single
from skbinary.data.rows import Rows
from skbinary.data.validation import as_rows, as_tensor, check_rows
from skbinary.models.batch_of_models import Architecture, score
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.defaults import default_settings
from skbinary.runtime.device import full_precision, is_available
from skbinary.runtime.memory import is_out_of_memory, out_of_memory
from skbinary.runtime.threads import ThreadPool
from skbinary.runtime.warnings import warn
from skbinary.thresholds.decision import check_threshold, decide, positive_index

# Up to so many products a single row is scored on one thread, whatever torch is set to. With torch
# 2.13 and MKL twice as many start no other thread.
_QUICK_PRODUCTS = 1 << 13
# Writes what logits, of shape (n_rows, n_models), stand for into an array of as many rows.
Writer = Callable[[NDArray[np.floating], NDArray[np.floating]], None]
# Weights of each layer and its biases, if there are any.
Weights = tuple[list[NDArray[Any]], list[NDArray[Any]]]


def _probabilities(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    expit(logits[:, 0], out=out[:, 1])
    with np.errstate(over="ignore"):  # of odds whose reciprocal is zero
        odds = np.exp(logits[:, 0])
    odds += 1
    np.reciprocal(odds, out=out[:, 0])  # expit(-logit), to the last digit, in a third of its time


def _as_they_are(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    np.copyto(out, logits)


def _probability_of_first(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    expit(-logits, out=out)


def _probability_of_second(logits: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    expit(logits, out=out)


# The writers of the two probabilities, by the index of the class.
_PROBABILITY_OF: tuple[Writer, Writer] = (_probability_of_first, _probability_of_second)


def _cast(array: NDArray[Any], kind: type[np.floating]) -> NDArray[np.floating]:
    if array.dtype == kind:
        return array
    with np.errstate(over="ignore"):  # scores that are not finite are computed again
        return array.astype(kind, copy=False)


class BinaryScorer(ClassifierMixin):
    """Scores rows with fitted weights.

    The logit comes from the weights, the probability is ``expit`` of the logit, and the label
    compares the probability with the threshold.
    """

    _takes_images = False

    threshold: Any
    pos_label: Any
    threshold_: float
    # The parameters when threshold_ was chosen.
    _threshold_for: Any
    _pos_label_for: Any
    classes_: NDArray[np.generic]
    n_features_in_: int
    device_: str

    @abstractmethod
    def _architecture(self, n_features: int) -> Architecture:
        """Give the shape of the model."""

    def _activation(self) -> str:
        """Give the name of the function of the hidden layers, if there are any."""
        return "identity"

    @abstractmethod
    def _weights(self) -> Weights:
        """Give the fitted weights, each of shape (n_in, n_out), and the biases, of shape (n_out,).

        Members are a leading axis: (n_members, n_in, n_out) and (n_members, 1, n_out).
        """

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Give the logit of the positive class.

        It is computed in the precision of `X`: float32 rows in float32, all others in float64.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows, with the features that ``fit`` has seen.

        Returns
        -------
        ndarray of shape (n_samples,)
            The natural logarithm of the odds of ``classes_[1]``.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.decision_function([[-1.0], [2.0]]).round(2)
        array([-0.67,  1.35])
        """
        return self._score(X, _as_they_are, 1)[:, 0]

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Give the probability of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            In the order of ``classes_``. Each row sums to one.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict_proba([[0.0], [2.0]]).round(2)
        array([[0.5 , 0.5 ],
               [0.21, 0.79]])
        """
        return self._score(X, _probabilities, 2)

    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:
        """Give the natural logarithm of the probability of both classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            In the order of ``classes_``. The logarithm of what ``predict_proba`` gives, so it is
            -inf where that rounds to zero.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> model.predict_log_proba([[2.0]]).round(2)
        array([[-1.58, -0.23]])
        """
        with np.errstate(divide="ignore", under="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any, *, threshold: float | None = None) -> NDArray[np.generic]:
        """Label rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows.
        threshold : float, default=None
            A row gets the positive label when the probability of that label is at least this
            number in [0, 1]. None takes ``threshold_``, or the number that the parameter
            ``threshold`` was set to since. The positive label is ``pos_label``, by default
            ``classes_[1]``.

        Returns
        -------
        ndarray of shape (n_samples,)
            One of ``classes_`` for each row.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
        >>> print(model.predict([[2.0]]), model.predict([[2.0]], threshold=0.9))
        ['yes'] ['no']
        """
        given = None if threshold is None else check_threshold(threshold)
        check_is_fitted(self)
        positive = positive_index(self.pos_label, self.classes_)
        probability = self._score(X, _PROBABILITY_OF[positive], 1)[:, 0]
        chosen = self._own_threshold() if given is None else given
        return decide(probability, chosen, self.classes_ if positive else self.classes_[::-1])

    def _own_threshold(self) -> float:
        """Give the threshold in force: a number that was set since ``fit``, or the fitted one."""
        given, known = self.threshold, self._threshold_for
        # Arrays are compared number by number, so what is no number must be of the same type.
        is_number = isinstance(given, Real)
        is_known = bool((is_number or type(given) is type(known)) and given == known)
        if is_known and self.pos_label == self._pos_label_for:
            return self.threshold_
        if is_number:
            return check_threshold(given)
        if is_known:
            raise ValueError(
                f"pos_label must stay {self._pos_label_for!r}, for which the threshold was chosen, "
                f"got {self.pos_label!r}. Call fit again, or tune_threshold, to choose one."
            )
        raise ValueError(
            "threshold must be a number in [0, 1] to be set after fit, got "
            f"{given!r}. Call fit again, or tune_threshold, to choose one."
        )

    def _score(self, X: Any, write: Writer, n_columns: int) -> NDArray[np.floating]:
        """Compute logits span by span, and write what becomes of them into a new array.

        Parameters
        ----------
        X : like X of ``decision_function``
        write : callable(logits, out)
            Writes to `out`, of shape (n_rows, n_columns), what `logits`, of shape (n_rows, 1),
            stand for.
        n_columns : int
        """
        try:
            with default_settings():
                rows = self._checked_rows(X)
                out, is_finite = self._score_checked(rows, self._weights(), write, n_columns)
                if not is_finite:
                    check_rows(self, X, reset=False)
                return out
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            advice = "Score fewer rows at a time, or pass them as float32."
            raise out_of_memory(error, "The rows and their scores", advice) from error

    def _checked_rows(self, X: Any) -> Any:
        """Check rows, but for what their scores will show."""
        check_is_fitted(self)
        # A linear score is finite only if its row is, so the rows need no look of their own.
        linear = len(self._weights()[0]) == 1
        return check_rows(self, X, reset=False, finite=not linear)

    def _logits(self, rows: Any) -> NDArray[np.floating]:
        """Give the logits of rows that were checked before."""
        return self._score_checked(rows, self._weights(), _as_they_are, 1)[0][:, 0]

    def _score_checked(
        self, rows: Any, arrays: Weights, write: Writer, n_columns: int, *, exact: bool = False
    ) -> tuple[NDArray[np.floating], bool]:
        """Score rows that were checked before, and tell whether all scores are finite.

        Where float32 overflows they are computed in float64, which `exact` asks for at once.
        """
        device = self._scoring_device()
        single = is_single(rows) and not exact
        dtype = torch.float32 if single else torch.float64
        if dtype == torch.float64 and full_precision(device) != dtype:
            device = torch.device("cpu")  # where float64 is
        kind = np.float32 if single else np.float64
        weights, biases = (
            # NumPy casts small arrays, and torch takes them over, in half the time of ``to``.
            [as_tensor(_cast(each, kind), device) for each in group]
            for group in arrays
        )
        out = np.empty((rows.shape[0], n_columns), dtype=kind)

        def piece(placed: Rows, chunk: slice) -> bool:
            logits = score(placed.batch(chunk), weights, biases, self._activation())
            # An ensemble gives the mean of the logits of its members.
            array = (logits.mean(0) if logits.ndim == 3 else logits).cpu().numpy()
            write(array, out[chunk])
            return bool(np.isfinite(array).all())

        if self._is_quick(rows, weights, device):
            is_finite = piece(as_rows(rows, device, dtype, convert=False), slice(0, 1))
        else:
            # Also for a single span: a small product that threads share waits for all of them.
            with ThreadPool.on(device) as pool:
                placed = as_rows(rows, device, dtype, convert=False)
                chunks = row_chunks(len(out), sum(each[..., 0].numel() for each in weights), device)
                is_finite = all(list(pool.map(partial(piece, placed), chunks)))
        if single and not is_finite:
            out, is_finite = self._score_checked(rows, arrays, write, n_columns, exact=True)
            with np.errstate(over="ignore"):  # of logits, whose probability is 0 or 1
                out = out.astype(kind)
        return out, is_finite

    @staticmethod
    def _is_quick(rows: Any, weights: Sequence[Tensor], device: torch.device) -> bool:
        """Tell whether there is a single row, and so few products that torch starts no threads."""
        if rows.shape[0] > 1 or type(rows) is not np.ndarray or device.type != "cpu":
            return False
        return sum(each.numel() for each in weights) <= _QUICK_PRODUCTS

    def _scoring_device(self) -> torch.device:
        device = torch.device(self.device_)
        if is_available(device):
            return device
        warn(f"The model was fitted on {self.device_}, which is not there. It predicts on the CPU.")
        return torch.device("cpu")


def logits_of(models: Sequence[BinaryScorer], rows: Any) -> NDArray[np.floating]:
    """Give the logits of several classifiers on the same rows.

    Linear ones share one product, so that the rows are read once.

    Parameters
    ----------
    models : sequence of BinaryScorer
        Fitted on rows of one kind.
    rows : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Checked, and finite.

    Returns
    -------
    ndarray of shape (n_models, n_samples)
        Up to rounding those of ``decision_function``.
    """
    arrays = [model._weights() for model in models]
    if len(models) == 1 or not all(len(w) == 1 and w[0].ndim == 2 for w, _ in arrays):
        return np.stack([model._logits(rows) for model in models])
    columns = np.concatenate([weights[0] for weights, _ in arrays], axis=1)
    constants = np.concatenate([biases[0] if biases else np.zeros(1) for _, biases in arrays])
    scored, _ = models[0]._score_checked(rows, ([columns], [constants]), _as_they_are, len(models))
    return scored.T.copy()
