"""Converters of TabularEncoder and PiecewiseLinearEncoder to ONNX, for skl2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbinary.export.onnx_classifiers import precision
from skbinary.export.onnx_graph import Graph
from skbinary.preprocessing.columns import category_label

# How a missing string reaches a graph: what Python writes for None, NaN, NA and NaT.
MISSING_STRINGS = ("None", "nan", "<NA>", "NaT")

_DAY = 86_400_000_000  # microseconds
_HOUR = 3_600_000_000
_DAYS_TO_1970 = 719_468  # since 1 March of the year 0
_DAYS_OF_400_YEARS = 146_097


@dataclass(frozen=True)
class InputColumn:
    """A column of the inputs of a graph.

    Parameters
    ----------
    name : str
        Name of the output of a node, of shape (n_samples, 1).
    kind : {"string", "integer", "float"}
        Booleans are integers.
    """

    name: str
    kind: str


def parse_encoder(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the operator of an encoder, with the type of its output."""
    from skl2onnx._supported_operators import get_model_alias
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    operator = scope.declare_local_operator(get_model_alias(type(model)), model)
    operator.inputs = inputs
    dtype = np.dtype(getattr(model, "dtype", None) or precision(inputs))
    kind = FloatTensorType if dtype == np.float32 else DoubleTensorType
    operator.outputs.append(scope.declare_local_variable("encoded", kind()))
    return operator.outputs


def set_encoder_shape(operator: Any) -> None:
    """Set the shape of the output of an encoder."""
    n_samples = operator.inputs[0].get_first_dimension()
    width = len(operator.raw_operator.get_feature_names_out())
    operator.outputs[0].type.shape = [n_samples, width]


def convert_piecewise(scope: Any, operator: Any, container: Any) -> None:
    """Convert a ``PiecewiseLinearEncoder``."""
    graph = Graph(scope, container, np.float64)
    columns = [graph.cast(each.full_name, np.float64) for each in operator.inputs]
    rows = graph.add("Concat", *columns, axis=1)
    _write_floats(graph, operator, _add_piecewise(graph, operator.raw_operator, rows))


def convert_tabular(scope: Any, operator: Any, container: Any) -> None:
    """Convert a ``TabularEncoder``."""
    graph, encoder = Graph(scope, container, np.float64), operator.raw_operator
    columns = _split_columns(graph, operator.inputs, encoder)
    numbers = {i: graph.cast(columns[i].name, np.float64) for i in _numbers(encoder)}
    dates = {i: _Dates(graph, columns[i]) for i, kind in encoder._kinds.items() if kind == "date"}
    blocks = []
    if encoder.numeric_encoder_ is not None:
        parts = [dates[i].part(part) if part else numbers[i] for i, part in encoder._medians]
        values = graph.add("Concat", *parts, axis=1)
        medians = np.array(list(encoder._medians.values()))
        imputed = graph.add("Where", graph.add("IsNaN", values), medians, values)
        blocks.append(_add_piecewise(graph, encoder.numeric_encoder_, imputed))
    if encoder._target_encodings:
        shares = [
            graph.add("Gather", np.array([*known.values(), other], dtype=np.float64), codes)
            for codes, known, other in _targets(graph, columns, encoder)
        ]
        centered = graph.add("Sub", graph.add("Concat", *shares, axis=1), encoder._target_mean)
        blocks.append(graph.add("Div", centered, encoder._target_scale))
    for i in encoder._gaps:
        is_missing = dates[i].is_missing if i in dates else graph.add("IsNaN", numbers[i])
        blocks.append(graph.cast(is_missing, np.float64))
    for i, (known, infrequent) in encoder._one_hot.items():
        positions = np.arange(len(known) + (infrequent >= 0))
        codes = _add_codes(graph, columns[i], list(known))
        blocks.append(graph.cast(graph.add("Equal", codes, positions), np.float64))
    _write_floats(graph, operator, graph.add("Concat", *blocks, axis=1))


def _numbers(encoder: Any) -> list[int]:
    return [i for i, kind in encoder._kinds.items() if kind == "number"]


def _targets(graph: Graph, columns: Sequence[InputColumn], encoder: Any) -> Any:
    for i, (known, other) in encoder._target_encodings.items():
        yield _add_codes(graph, columns[i], list(known)), known, other


def _write_floats(graph: Graph, operator: Any, value: str) -> None:
    from skl2onnx.common.data_types import guess_proto_type

    output = operator.outputs[0]
    graph.write("Cast", [value], output.full_name, to=guess_proto_type(output.type))


def _split_columns(graph: Graph, inputs: Sequence[Any], encoder: Any) -> list[InputColumn]:
    """Return the columns of all inputs, in the order of ``fit`` if they have the same names."""
    named = {}
    for each in inputs:
        kind = _kind(each.type)
        n_columns = each.type.shape[1] if len(each.type.shape) > 1 else 1
        if n_columns == 1:
            named[each.raw_name] = InputColumn(each.full_name, kind)
        else:
            for j in range(n_columns):
                column = graph.add("Gather", each.full_name, [j], axis=1)
                named[f"{each.raw_name}[{j}]"] = InputColumn(column, kind)
    names = [str(name) for name in encoder.column_kinds_]
    if set(names) == set(named):
        return [named[name] for name in names]
    return list(named.values())


def _kind(tensor_type: Any) -> str:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    if isinstance(tensor_type, StringTensorType):
        return "string"
    return "float" if isinstance(tensor_type, FloatTensorType | DoubleTensorType) else "integer"


def _add_piecewise(graph: Graph, encoder: Any, rows: str) -> str:
    """Add the output of a fitted ``PiecewiseLinearEncoder``."""
    z = graph.add("Div", graph.add("Sub", rows, encoder.mean_), encoder.scale_)
    third = graph.add("Div", z, 3.0)
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", third, third), 1.0))
    bounded = graph.add("Div", z, root)
    edges = encoder.bin_edges_
    features = [i for i, each in enumerate(edges) for _ in each[1:]]
    if not features:
        return bounded
    low = np.concatenate([each[:-1] for each in edges])
    width = np.concatenate([np.diff(each) for each in edges])
    values = graph.add("Gather", rows, features, axis=1)
    bins = graph.add("Div", graph.add("Sub", values, low), width)
    bins = graph.add("Min", graph.add("Max", bins, 0.0), 1.0)
    bins = graph.add("Mul", graph.add("Sub", bins, encoder._bin_mean), encoder._bin_scale)
    return graph.add("Concat", bounded, bins, axis=1)


def _add_codes(graph: Graph, column: InputColumn, labels: list[str | None]) -> str:
    """Add the position of each row's category in `labels`; ``len(labels)`` for all others."""
    codes = {label: i for i, label in enumerate(labels)}
    if column.kind == "string":
        keys = {label: i for label, i in codes.items() if label is not None}
        if None in codes:
            keys = {**dict.fromkeys(MISSING_STRINGS, codes[None]), **keys}
        return _look_up(graph, column.name, "keys_strings", keys, len(labels))
    integers = graph.cast(column.name, np.int64)
    numbers = {_integer(label): i for label, i in codes.items() if _integer(label) is not None}
    found = _look_up(graph, integers, "keys_int64s", numbers, len(labels))
    if column.kind == "integer":
        return found
    value = graph.cast(column.name, np.float64)
    is_whole = graph.add("Equal", graph.cast(integers, np.float64), value)
    found = graph.add("Where", is_whole, found, len(labels))
    missing = codes.get(None, len(labels))
    return graph.add("Where", graph.add("IsNaN", value), missing, found)


def _look_up(graph: Graph, value: str, name: str, keys: dict[Any, int], default: int) -> str:
    if not keys:  # only missing values are known
        return graph.add("Add", graph.add("Mul", graph.cast(value, np.int64), 0), default)
    attributes = {name: list(keys), "values_int64s": list(keys.values()), "default_int64": default}
    return graph.add("LabelEncoder", value, domain="ai.onnx.ml", **attributes)


def _integer(label: str | None) -> int | None:
    """Return the number that a category stands for, or None if it is no whole number."""
    if label in ("False", "True"):
        return int(label == "True")
    try:
        number = int(label or "")
    except ValueError:
        return None
    return number if category_label(number) == label else None


class _Dates:
    """A column of dates: microseconds since 1970, and the smallest integer where one is missing.

    Parameters
    ----------
    graph : Graph
    column : InputColumn
        A column of integers, or one that is entirely missing.
    """

    def __init__(self, graph: Graph, column: InputColumn):
        self.graph = graph
        self._time = graph.cast(column.name, np.int64)
        self.is_missing = graph.add("Equal", self._time, np.iinfo(np.int64).min)
        # Division truncates, and the remainder is never negative.
        # Division truncates, and the remainder is never negative.
        self._of_day = graph.add("Mod", self._time, _DAY)
        self._date = graph.add("Div", graph.add("Sub", self._time, self._of_day), _DAY)

    def part(self, name: str) -> str:
        """Add a part of the dates, as ``date_parts`` names it; NaN where they are missing."""
        add = {
            "days": self._days,
            "month": self._month,
            "day": self._day,
            "weekday": self._weekday,
            "hour": self._hour,
        }[name]
        value = self.graph.cast(add(), np.float64)
        return self.graph.add("Where", self.is_missing, np.nan, value)

    def _days(self) -> str:
        return self.graph.add("Div", self.graph.cast(self._time, np.float64), float(_DAY))

    def _hour(self) -> str:
        return self.graph.add("Div", self._of_day, _HOUR)

    def _weekday(self) -> str:
        return self.graph.add("Mod", self.graph.add("Add", self._date, 3), 7)

    def _month(self) -> str:
        month, _ = self._since_march()
        return self.graph.add("Add", self.graph.add("Mod", self.graph.add("Add", month, 2), 12), 1)

    def _day(self) -> str:
        graph = self.graph
        month, day = self._since_march()
        before = graph.add("Div", graph.add("Add", graph.add("Mul", month, 153), 2), 5)
        return graph.add("Add", graph.add("Sub", day, before), 1)

    def _since_march(self) -> tuple[str, str]:
        """Add the number of whole months, and of the days, since the last 1 March."""
        graph = self.graph
        day = graph.add("Mod", graph.add("Add", self._date, _DAYS_TO_1970), _DAYS_OF_400_YEARS)
        # Without the leap days of 4, 100 and 400 years, each year has 365 days.
        leap = graph.add("Sub", graph.add("Div", day, 1460), graph.add("Div", day, 36_524))
        leap = graph.add("Add", leap, graph.add("Div", day, _DAYS_OF_400_YEARS - 1))
        year = graph.add("Div", graph.add("Sub", day, leap), 365)
        before = graph.add("Add", graph.add("Mul", year, 365), graph.add("Div", year, 4))
        before = graph.add("Sub", before, graph.add("Div", year, 100))
        day = graph.add("Sub", day, before)
        month = graph.add("Div", graph.add("Add", graph.add("Mul", day, 5), 2), 153)
        return month, day
