"""From the inputs of an ONNX graph to what the first step of a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from skbinary.preprocessing.tabular import TabularEncoder


class Root(BaseEstimator):
    """The model, and the types that its inputs are converted to.

    Parameters
    ----------
    model : estimator
    """

    def __init__(self, model: Any):
        self.model = model


def without_passthrough(model: Any) -> Any:
    """Return a pipeline without the steps that do nothing, which skl2onnx does not know."""
    if not isinstance(model, Pipeline):
        return model
    steps = [(name, without_passthrough(step)) for name, step in model.steps]
    steps = [(name, step) for name, step in steps if step not in (None, "passthrough")]
    return model if steps == model.steps else Pipeline(steps)


def parse_root(scope: Any, root: Any, inputs: Any, custom_parsers: Any = None) -> Any:
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


def rename_inputs(graph: Any, names: list[str]) -> None:
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


def cast_zipmap(graph: Any) -> None:
    """Convert float64 probabilities to float32 where they become dicts, which hold no others."""
    from onnx import TensorProto, helper

    for i, node in enumerate(graph.node):
        if node.op_type != "ZipMap":
            continue
        [value] = [
            each.type.sequence_type.elem_type.map_type.value_type.tensor_type
            for each in graph.output
            if each.name in node.output
        ]
        if value.elem_type == TensorProto.DOUBLE:
            value.elem_type = TensorProto.FLOAT
            name = f"{node.input[0]}_float32"
            cast = helper.make_node("Cast", [node.input[0]], [name], to=TensorProto.FLOAT)
            node.input[0] = name
            graph.node.insert(i, cast)
        return


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
        inner = [model.steps[0][1]]
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
