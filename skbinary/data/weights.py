"""Check and combine the weights of rows and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import check_array

from skbinary.data.containers import as_array

# Sums and products of weights in this range neither overflow nor lose digits.
_SMALLEST_ORDINARY, _LARGEST_ORDINARY = 1e-100, 1e100


def check_weight(
    sample_weight: Any, X: Any, name: str = "sample_weight", *, allows_zeros: bool = False
) -> Any:
    """Check the weights of rows.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), number or None
        A number is the weight of each row.
    X : checked rows
        Their number is compared.
    name : str, default="sample_weight"
        Name of the weights in messages.
    allows_zeros : bool, default=False
        Whether all of them may be zero.

    Returns
    -------
    ndarray of float64 of shape (n_samples,) or None
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, str | Mapping):
        raise ValueError(
            f"{name} must have one number for each row, got {sample_weight!r}. Use the parameter "
            "class_weight for weights of classes."
        )
    sample_weight = as_array(sample_weight, name)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(X.shape[0], sample_weight)
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name=name)
    if weight.shape != (X.shape[0],):
        raise ValueError(
            f"{name} must have one number for each row, shape ({X.shape[0]},), got shape "
            f"{weight.shape}. Pass one weight for each row."
        )
    if np.any(weight < 0):
        raise ValueError(
            f"Negative values in data passed to `{name}`: weights must be zero or more, got "
            f"{weight.min():g}. Drop rows that should not count, or set their weight to 0."
        )
    if not (allows_zeros or np.any(weight > 0)):
        raise ValueError(
            f"{name} must not be all zero. Sample weights must contain at least one non-zero "
            "number."
        )
    return weight


def scale_weights(
    *factors: NDArray[np.float64], overall: Callable[[float], float] = float
) -> tuple[NDArray[np.float64], int]:
    """Multiply weights, and scale the product by a power of two.

    The largest weight ends up between 1 and 2, so that no weight overflows or is rounded to zero in
    another precision. Scaling by a power of two keeps all digits of the others.

    Parameters
    ----------
    *factors : ndarray of shape (n_samples,)
        Weights of zero or more.
    overall : callable(float) -> float, default=float
        Returns the largest of the largest weights of all processes that hold rows.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
    exponent : int
        The product of the factors is ``weights * 2 ** exponent``.
    """
    weights, exponent = np.ones(1), 0
    for factor in factors:
        scaled, factor_exponent = _scale(factor, overall)
        weights, exponent = weights * scaled, exponent + factor_exponent
    weights, product_exponent = _scale(weights, overall)
    return weights, exponent + product_exponent


def _scale(
    weights: NDArray[np.float64], overall: Callable[[float], float]
) -> tuple[NDArray[np.float64], int]:
    largest = overall(float(np.max(weights, initial=0.0)))
    exponent = int(np.frexp(largest)[1]) - 1 if largest > 0 else 0
    return np.ldexp(weights, -exponent), exponent


def rescale_extreme_weights(weights: NDArray[Any]) -> NDArray[Any]:
    """Divide weights by a power of two if they are so large or small that sums lose digits."""
    if _SMALLEST_ORDINARY <= np.max(weights, initial=0.0) <= _LARGEST_ORDINARY:
        return weights
    return scale_weights(weights)[0]


def compute_class_weights(
    class_weight: Any,
    classes: NDArray[np.generic],
    y: NDArray[np.generic],
    sample_weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Compute the weights of the two classes.

    ``"balanced"`` is ``total weight / (2 * weight of the class)``, as in scikit-learn, and 1 if
    only one class has rows with a positive weight.

    Parameters
    ----------
    class_weight : None, "balanced", dict or ndarray of shape (2,)
        An array holds the weights themselves.
    classes : ndarray of shape (2,)
    y : ndarray of shape (n_samples,)
        The labels.
    sample_weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    ndarray of shape (2,)
    """
    if isinstance(class_weight, np.ndarray):
        return class_weight
    if isinstance(class_weight, dict):
        _check_class_weight(class_weight, classes)
    if class_weight is None:
        return np.ones(2)
    counted = y if sample_weight is None else y[sample_weight > 0]
    if class_weight == "balanced" and len(np.unique(counted)) < 2:
        return np.ones(2)
    if sample_weight is not None:
        sample_weight, _ = scale_weights(sample_weight)  # balance does not depend on their scale
    weights: NDArray[np.float64] = compute_class_weight(
        class_weight, classes=classes, y=y, sample_weight=sample_weight
    )
    if len(counted) and not np.any(weights[np.isin(classes, counted)] > 0):
        raise ValueError(
            "class_weight and sample_weight must leave rows with a positive weight, got "
            f"class_weight={class_weight!r} with rows of {np.unique(counted).tolist()} only. "
            "Set the weight of that class above zero."
        )
    return weights


def weigh_rows(
    class_weights: NDArray[np.float64],
    target: NDArray[np.floating],
    sample_weight: NDArray[np.float64] | None,
    overall: Callable[[float], float] = float,
) -> tuple[NDArray[np.float64], int]:
    """Multiply the weight of each row by that of its class, and scale as ``scale_weights`` does.

    Parameters
    ----------
    class_weights : ndarray of shape (2,)
    target : ndarray of shape (n_samples,)
        1 for the second class, else 0.
    sample_weight : ndarray of shape (n_samples,) or None
    overall : callable(float) -> float, default=float
        As in ``scale_weights``.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
    exponent : int
    """
    factors = () if sample_weight is None else (sample_weight,)
    return scale_weights(class_weights[target.astype(np.intp)], *factors, overall=overall)


def _check_class_weight(class_weight: dict[Any, Any], classes: NDArray[np.generic]) -> None:
    invalid = [
        weight
        for weight in class_weight.values()
        if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf)
    ]
    if invalid:
        raise ValueError(
            f"class_weight must hold finite numbers of zero or more, got {invalid[0]!r}. Set the "
            "weights of both classes above zero."
        )
    if all(class_weight.get(label, 1) == 0 for label in classes.tolist()):
        raise ValueError(
            f"class_weight must not be zero for both classes, got {class_weight!r}. Set the "
            "weights of both classes above zero."
        )
