"""Export of fitted models to ONNX, a format that many languages and servers run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.base import BinaryClassifier
from skbinary.export import onnx_classifiers
from skbinary.export.onnx_inputs import tensor_type, to_arrays
from skbinary.export.onnx_metadata import add_metadata
from skbinary.export.onnx_registry import register_converters
from skbinary.model_selection.search_ensemble import SearchEnsemble
from skbinary.preprocessing.tabular import TabularEncoder
from skbinary.runtime.optional import require

# Also the oldest supported version of onnxruntime runs these operators.
DEFAULT_OPSET = {"": 17, "ai.onnx.ml": 3}


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
        Some rows, of the type that the graph will get: at least one, with valid values. A data
        frame makes a graph with one input for each column, under its name; anything else makes a
        graph with one input, ``X``. The number of rows of the graph is free.
    options : dict, default=None
        Options of the classifier: ``zipmap`` (default True), ``nocl``, ``output_class_labels`` and
        ``raw_scores``, as in skl2onnx. Or options of several estimators, by their type or ``id``.
    target_opset : int or dict of str to int, default=None
        Version of the operators, or versions by domain. None means 17, with 3 for ``ai.onnx.ml``.

    Returns
    -------
    onnx.ModelProto
        Its outputs are those of skl2onnx: ``output_label`` and ``output_probability``, a list of
        dicts; or with ``zipmap=False`` the arrays ``label`` and ``probabilities``. Versions and a
        model card are in ``metadata_props``, as JSON.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    NotFittedError
        If the model is not fitted.
    ValueError
        If the model does not take the rows, if an estimator has no converter, or if labels of the
        model would be lost.

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
    skl2onnx = require("skl2onnx", "onnx", "to_onnx")
    check_is_fitted(model)
    getattr(model, "predict", getattr(model, "transform", None))(X[:1])  # X must fit the model
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    _check_supported(model)
    register()
    inputs = to_arrays(X)
    opset = DEFAULT_OPSET if target_opset is None else target_opset
    opset = {"": opset} if isinstance(opset, int) else dict(opset)
    try:
        onnx_model = skl2onnx.convert_sklearn(
            _Root(model),
            name=type(model).__name__,
            initial_types=[(name, tensor_type(each)) for name, each in inputs.items()],
            target_opset=opset,
            options=_options_by_estimator(model, options or {}),
            custom_parsers={_Root: _parse_root},
        )
    except (KeyError, RuntimeError) as error:
        unknown = _without_converter(model)
        if not unknown:
            raise
        raise ValueError(
            f"All estimators of the model must have a converter to ONNX, got {unknown}. Leave it "
            "out, or register a converter with skl2onnx.update_registered_converter."
        ) from error
    _rename_inputs(onnx_model.graph, list(inputs))
    for each in onnx_model.opset_import:  # skl2onnx writes the lowest version that has all nodes
        each.version = max(each.version, opset.get(each.domain, 0))
    add_metadata(onnx_model, model)
    _check_valid(onnx_model)
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


class _Root(BaseEstimator):
    """The model, and the types that its inputs are converted to.

    Parameters
    ----------
    model : estimator
    """

    def __init__(self, model: Any):
        self.model = model


def _parse_root(scope: Any, root: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the operators of the model behind a graph's inputs.

    Numbers get one type, as in scikit-learn: skl2onnx would compute integers in float32. Columns
    are joined to a matrix, unless the model takes them one by one.
    """
    from skl2onnx._parse import _parse_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    reader = _column_reader(root.model)
    if not isinstance(reader, TabularEncoder):
        is_text = [isinstance(each.type, StringTensorType) for each in inputs]
        numbers = [each for each, text in zip(inputs, is_text, strict=True) if not text]
        kind = FloatTensorType if _is_single_precision(numbers) else DoubleTensorType
        inputs = [
            each if text or isinstance(each.type, kind) else _cast(scope, each, kind)
            for each, text in zip(inputs, is_text, strict=True)
        ]
        if reader is None and len(inputs) > 1 and not any(is_text):
            shape = [None, len(inputs)]
            inputs = [_declare(scope, "SklearnConcat", inputs, "rows", kind(shape))]
    return _parse_sklearn(scope, root.model, inputs, custom_parsers=custom_parsers)


def _check_valid(onnx_model: Any) -> None:
    """Check the types and shapes of all nodes."""
    from onnx import checker, shape_inference

    try:
        checker.check_model(onnx_model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ValueError(
            "The graph must be valid, got one whose types or shapes do not fit, perhaps because "
            "skl2onnx converts one of the estimators for float32 rows only. Pass X as float32."
        ) from error


def _rename_inputs(graph: Any, names: list[str]) -> None:
    """Give inputs the names of the columns, of which skl2onnx replaces all but letters."""
    outputs = {each.name for each in graph.output}
    if not outputs.isdisjoint(names):
        raise ValueError(
            f"The columns of X must not have the names of the graph's outputs, {sorted(outputs)}, "
            f"got {sorted(outputs.intersection(names))}. Rename them."
        )
    new = {each.name: name for each, name in zip(graph.input, names, strict=True)}
    for each in graph.input:
        each.name = new[each.name]
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]


def _is_single_precision(variables: Any) -> bool:
    """Whether numbers of these types are computed in float32, as those of a data frame are."""
    from skl2onnx.common.data_types import guess_numpy_type

    if not variables:
        return False
    dtype = np.result_type(*(guess_numpy_type(each.type) for each in variables))
    return dtype == np.float32


def _cast(scope: Any, variable: Any, kind: Any) -> Any:
    return _declare(scope, "SklearnCast", [variable], variable.raw_name, kind(variable.type.shape))


def _declare(scope: Any, operator_name: str, inputs: Any, name: str, kind: Any) -> Any:
    """Declare an operator, and return its output."""
    operator = scope.declare_local_operator(operator_name)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs[0]


def _column_reader(model: Any) -> Any:
    """Return the first step of a model, if it takes the columns of a data frame one by one."""
    if isinstance(model, TabularEncoder | ColumnTransformer):
        return model
    if isinstance(model, Pipeline):
        inner = [step for _, step in model.steps if step not in (None, "passthrough")][:1]
    elif isinstance(model, FeatureUnion):
        inner = [step for _, step in model.transformer_list]
    else:
        names = ("best_estimator_", "estimators_", "calibrated_classifiers_")
        inner = [getattr(model, name) for name in names if hasattr(model, name)]
        inner += [model.estimator] if type(model).__name__.startswith(("Frozen", "_Cal")) else []
    readers = (_column_reader(each) for each in _flat(inner))
    return next((each for each in readers if each is not None), None)


def _flat(values: Any) -> Iterator[Any]:
    for each in values:
        if isinstance(each, list | tuple):
            yield from _flat(each)
        else:
            yield each


def _options_by_estimator(model: Any, options: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return options as skl2onnx takes them."""
    # It would multiply by the reciprocal of the scale, in float32.
    exact: dict[Any, Any] = {StandardScaler: {"div": "div_cast"}}
    if all(isinstance(key, str) for key in options):
        return {**exact, id(model): dict(options)}
    return {**exact, **{key: dict(value) for key, value in options.items()}}


def _parts(model: Any) -> Iterator[Any]:
    """Give an estimator, and all estimators that it consists of."""
    if isinstance(model, BaseEstimator):
        yield model
        model = vars(model)
    if isinstance(model, dict):
        model = list(model.values())
    if isinstance(model, list | tuple):
        for each in model:
            yield from _parts(each)


def _check_supported(model: Any) -> None:
    """Check that skl2onnx computes what scikit-learn computes."""
    for part in _parts(model):
        name, advice = type(part).__name__, None
        if isinstance(part, TunedThresholdClassifierCV):
            advice = "Set the threshold of its classifier instead, as in threshold='f1'"
        elif isinstance(part, VotingClassifier) and part.voting == "hard":
            if any(_has_threshold(each) for each in part.estimators_):
                advice = "Set voting='soft', or the thresholds of its estimators to 0.5"
        elif isinstance(part, StackingClassifier):
            if _has_threshold(part.final_estimator_):
                advice = "Set the threshold of its final_estimator to 0.5"
            elif len(part.classes_) == 2 and "decision_function" in part.stack_method_:
                raise ValueError(
                    f"stack_method of {name} must be 'predict_proba' for an export to ONNX, got "
                    "'decision_function', which skl2onnx does not convert. Fit it with "
                    "stack_method='predict_proba'."
                )
        if advice is not None:
            raise ValueError(
                f"The labels of {name} must not depend on a threshold that skl2onnx ignores. "
                f"{advice}."
            )


def _has_threshold(model: Any) -> bool:
    last = onnx_classifiers.last_step(model)
    is_ours = isinstance(last, BinaryClassifier | SearchEnsemble)
    return is_ours and last._threshold_in_force() != 0.5


def _without_converter(model: Any) -> str:
    """Return the names of the classes of estimators that cannot be converted."""
    from skl2onnx._parse import sklearn_parsers_map
    from skl2onnx._supported_operators import sklearn_operator_name_map

    known = {*sklearn_operator_name_map, *sklearn_parsers_map}
    names = [type(each).__name__ for each in _parts(model) if type(each) not in known]
    return ", ".join(dict.fromkeys(names))
