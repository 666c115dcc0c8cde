"""fit: one classifier from the rows of all processes of a group."""

from __future__ import annotations

from typing import Any, TypeVar

from torch.distributed import ProcessGroup

_Classifier = TypeVar("_Classifier")


def fit(
    estimator: _Classifier,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    groups: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    sample_weight_val: Any = None,
    process_group: ProcessGroup | None = None,
) -> _Classifier:
    """Fit one classifier to the rows of all processes of a group.

    Every process of the group calls it with its own rows and gets the same classifier: the one that
    a single process would fit to all rows, one process's rows after the other's. The rows stay
    where they are. A process may have no rows, as an array of shape (0, n_features), or rows of
    one class.

    Parameters
    ----------
    estimator : TorchLogisticClassifier or TorchMLPClassifier
        The classifier to fit, with the same parameters in all processes.
    X : array-like, sparse matrix, data frame or tensor of shape (n_samples, n_features)
        The rows of this process, perhaps none.
    y : array-like of shape (n_samples,)
        Their labels.
    sample_weight : array-like of shape (n_samples,), default=None
        Their weights. All processes pass weights, or none does.
    groups : array-like of shape (n_samples,), default=None
        Their groups. Rows of one group are held out together, in whichever processes they are.
    X_val, y_val, sample_weight_val : default=None
        The validation rows of this process, their labels and weights. All processes pass some, or
        none does; arrays without rows are fine.
    process_group : torch.distributed.ProcessGroup, default=None
        The processes. None for all processes of ``torch.distributed.init_process_group``.

    Returns
    -------
    estimator
        The estimator that was passed, fitted. It is an ordinary classifier.

    Raises
    ------
    ValueError
        In all processes, if the parameters or the data of one of them are invalid, or do not agree.
        The estimator is then unchanged in all of them.
    RuntimeError
        If there is no process group, or if a process of the group ends or does not answer within
        the timeout of the group. The estimator is then unchanged.
    """
    raise NotImplementedError
