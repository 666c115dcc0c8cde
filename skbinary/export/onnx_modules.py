"""Nodes of an ONNX graph that compute the logits of a fitted torch module of the user."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from skbinary.estimators.module_state import FittedModule
from skbinary.estimators.state import FittedState
from skbinary.export.onnx_graph import Graph, add_mean_logit
from skbinary.models.module_builder import first_line
from skbinary.runtime.optional import require

# torch.onnx writes these operators, and converts those of older versions where it can.
_LOWEST_OPSET = 18
_INPUT, _OUTPUT = "rows", "logits"


def add_module_logits(graph: Graph, state: FittedState, rows: str) -> str:
    """Add the networks of a fitted module, as ``torch.onnx`` exports them.

    Parameters
    ----------
    graph : Graph
        In float32, as modules are scored.
    state : FittedState
        With a module.
    rows : str
        Name of the rows, of shape (n_samples, ...), in float32.

    Returns
    -------
    str
        Name of the logits of ``classes[1]``, of shape (n_samples, 1).

    Raises
    ------
    ImportError
        If onnxscript, which torch.onnx needs, is not installed.
    ValueError
        If torch.onnx cannot export the module.
    """
    require("onnxscript", "onnx", "to_onnx of a module")
    fitted = state.module
    if fitted is None:
        raise AssertionError("the state has a module")
    samples = graph.add("Reshape", rows, [-1, *fitted.builder.sample_shape])
    models = [fitted.model(k) for k in range(state.n_models)] if fitted.is_ensemble else [fitted]
    logits = [graph.add("Reshape", _add_network(graph, each, samples), [-1, 1]) for each in models]
    output = logits[0]
    if len(logits) > 1:
        joined = graph.add("Concat", *logits, axis=1)
        output = add_mean_logit(graph, joined, axis=1, keepdims=True)
    if state.temperature != 1:
        output = graph.add("Div", output, float(state.temperature))
    return output


def _add_network(graph: Graph, fitted: FittedModule, samples: str) -> str:
    """Add the nodes of one network, and return the name of its logits."""
    from onnx import compose

    container = graph.container
    exported = _export(fitted, max(container.target_opset_onnx, _LOWEST_OPSET))
    # Names of nodes and values must be unique, also in the bodies of loops and conditions.
    prefix = graph.scope.get_unique_variable_name("network") + "/"
    network = compose.add_prefix(exported, prefix)
    graph.write("Identity", [samples], prefix + _INPUT)
    container.initializers.extend(network.graph.initializer)
    container.nodes.extend(network.graph.node)
    for each in network.opset_import:
        container.node_domain_version_pair_sets.add((each.domain, each.version))
    return prefix + _OUTPUT


def _export(fitted: FittedModule, opset: int) -> Any:
    """Return the ONNX model of one network, whose number of rows is free."""
    name, shape = fitted.builder.name, fitted.builder.sample_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what torch will do differently
            program = torch.onnx.export(
                fitted.new_module(),
                (torch.zeros(3, *shape, dtype=torch.float32),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n_samples")},),
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:
        raise ValueError(
            f"torch.onnx must be able to export the module, got {type(error).__name__} for {name}: "
            f"{first_line(error)} Check the operations of its forward."
        ) from error
    if program is None:
        raise AssertionError("torch.onnx.export returns a program without a file name")
    exported = program.model_proto
    if not exported.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise ValueError(
            f"module must take any number of rows to be exported, got {name}, whose forward makes "
            "it a constant. Use x.shape[0] in its forward instead of len(x)."
        )
    return exported
