"""Export of fitted models to ONNX, a format that many languages and servers run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skbinary.export.onnx_inputs import tensor_type, to_arrays
from skbinary.export.onnx_metadata import add_metadata
from skbinary.export.onnx_registry import register_converters
from skbinary.export.onnx_root import (
    Root,
    cast_zipmap,
    parse_root,
    rename_inputs,
    without_passthrough,
)
from skbinary.export.onnx_support import (
    check_probabilities,
    check_supported,
    check_valid,
    find_without_converter,
)
from skbinary.runtime.optional import require

# Also the oldest supported version of onnxruntime runs these operators.
DEFAULT_OPSET = {"": 18, "ai.onnx.ml": 3}


def to_onnx(
    model: Any,
    X: Any,
    *,
    options: Mapping[Any, Any] | None = None,
    target_opset: int | Mapping[str, int] | None = None,
) -> Any:
    """Convert a fitted model to an ONNX graph.

    The graph computes the probabilities of ``predict_proba``, and the labels of ``predict`` at the
    threshold of the model. float32 rows are scored in float32, all others in float64.

    Parameters
    ----------
    model : estimator
        A fitted classifier of this package, or a pipeline, a search, or another classifier of
        scikit-learn around one. All other steps must have a converter in skl2onnx.
    X : array-like, sparse matrix, data frame or tensor of shape (n_samples, ...)
        Some rows, of the type that the graph will get: at least one, with valid values. If
        onnxruntime is installed, probabilities of the first 100 are compared. A data frame makes a
        graph with one input for each column, under its name; anything else makes a graph with one
        input, ``X``. The number of rows of the graph is free.
    options : dict, default=None
        Options of the classifier: ``zipmap`` (default True), ``nocl``, ``output_class_labels`` and
        ``raw_scores``, as in skl2onnx. Or options of several estimators, by their type or ``id``.
    target_opset : int or dict of str to int, default=None
        Version of the operators, or versions by domain. None means 18, with 3 for ``ai.onnx.ml``.

    Returns
    -------
    onnx.ModelProto
        Its outputs are those of skl2onnx: ``output_label`` and ``output_probability``, a list of
        dicts in float32; or with ``zipmap=False`` the arrays ``label`` and ``probabilities``.
        Versions and a model card are in ``metadata_props``, as JSON.

    Raises
    ------
    ImportError
        If skl2onnx is not installed, or for a ``TorchModuleClassifier`` onnxscript.
    NotFittedError
        If the model is not fitted.
    ValueError
        If the model does not take the rows, if an estimator has no converter, or if the graph would
        give other probabilities or labels.

    See Also
    --------
    to_inputs : Rows as the graph takes them.

    Examples
    --------
    >>> import onnxruntime
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbinary import TorchLogisticClassifier
    >>> from skbinary.export.onnx import to_onnx
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), TorchLogisticClassifier()).fit(X, y)
    >>> graph = to_onnx(model, X[:1], options={"zipmap": False})
    >>> session = onnxruntime.InferenceSession(graph.SerializeToString())
    >>> labels, probabilities = session.run(None, {"X": X})
    >>> bool((labels == model.predict(X)).all())
    True
    """
    require("skl2onnx", "onnx", "to_onnx")
    check_is_fitted(model)
    (model.predict if hasattr(model, "predict") else model.transform)(X[:1])  # checks X
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    model = without_passthrough(model)
    check_supported(model)
    register()
    inputs = to_arrays(X)
    by_estimator = _options_by_estimator(model, options or {})
    opset = DEFAULT_OPSET if target_opset is None else target_opset
    opset = {"": opset} if isinstance(opset, int) else dict(opset)
    onnx_model = _convert(model, inputs, by_estimator, opset)
    rename_inputs(onnx_model.graph, list(inputs))
    cast_zipmap(onnx_model.graph)
    for each in onnx_model.opset_import:  # skl2onnx writes the lowest version that has all nodes
        each.version = max(each.version, opset.get(each.domain, 0))
    add_metadata(onnx_model, model)
    check_valid(onnx_model)
    if not any(each.get("raw_scores") for each in by_estimator.values()):
        check_probabilities(onnx_model, model, X, inputs)
    return onnx_model


def to_inputs(X: Any) -> dict[str, NDArray[Any]]:
    """Convert rows to the inputs of a graph that ``to_onnx`` made from rows of the same types.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame or tensor of shape (n_samples, ...)
        The rows.

    Returns
    -------
    dict of str to ndarray
        Arrays by the names of the inputs. For a data frame they have the shape (n_samples, 1):
        numbers and booleans in their type, or in float64 where that has missing values; strings
        and categories as strings, with "nan" where they are missing; dates as microseconds since
        1970, in int64; durations as seconds.

    See Also
    --------
    to_onnx : Converts a model.

    Examples
    --------
    >>> import pandas as pd
    >>> from skbinary.export.onnx import to_inputs
    >>> frame = pd.DataFrame({"age": [25.0, 47.0], "city": ["Oslo", None]})
    >>> to_inputs(frame)["city"]
    array([['Oslo'],
           ['nan']], dtype=object)
    """
    return to_arrays(X)


def register() -> None:
    """Register the converters of this package with skl2onnx.

    ``skl2onnx.to_onnx`` then converts the estimators of this package, also inside of others.
    ``to_onnx`` of this module calls it, and in addition refuses what skl2onnx would convert to
    other labels, and writes the model card.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    See Also
    --------
    to_onnx : Converts a model.

    Examples
    --------
    >>> import numpy as np
    >>> import skl2onnx
    >>> from skbinary import TorchLogisticClassifier
    >>> from skbinary.export.onnx import register
    >>> register()
    >>> X = np.array([[-1.0], [1.0]])
    >>> model = TorchLogisticClassifier().fit(X, ["no", "yes"])
    >>> [each.name for each in skl2onnx.to_onnx(model, X).graph.output]
    ['output_label', 'output_probability']
    """
    require("skl2onnx", "onnx", "register")
    register_converters()


def _convert(
    model: Any, inputs: Mapping[str, NDArray[Any]], options: dict[Any, Any], opset: dict[str, int]
) -> Any:
    """Let skl2onnx convert a model."""
    from skl2onnx import convert_sklearn

    try:
        return convert_sklearn(
            Root(model),
            name=type(model).__name__,
            initial_types=[(name, tensor_type(each)) for name, each in inputs.items()],
            target_opset=opset,
            options=options,
            custom_parsers={Root: parse_root},
        )
    except (KeyError, RuntimeError) as error:
        unknown = find_without_converter(model)
        if unknown:
            advice = (
                "Leave it out, or register a converter with skl2onnx.update_registered_converter."
            )
            if hasattr(model, "to_local"):  # a classifier for Dask collections
                advice = "Convert the classifier that its to_local() returns."
            raise ValueError(
                f"All estimators of the model must have a converter to ONNX, got {unknown}. "
                f"{advice}"
            ) from error
        raise ValueError(
            f"skl2onnx must convert all estimators of the model, got its error {str(error)!r}. "
            "Replace the estimator. If it is converted for float32 only, pass X as float32."
        ) from error


def _options_by_estimator(model: Any, options: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return options as skl2onnx takes them."""
    # It would multiply by the reciprocal of the scale, in float32.
    exact: dict[Any, Any] = {StandardScaler: {"div": "div_cast"}}
    if all(isinstance(key, str) for key in options):
        return {**exact, id(model): dict(options)}
    return {**exact, **{key: dict(value) for key, value in options.items()}}
