"""Matrix products of a stage in 16 bits, for fp16 and bf16: a pass over its ONNX graph.

TensorRT-RTX computes in the types that the graph has. Matrix products get inputs, weights and outputs of 16 bits;
what is between them (norms, softmax, rotary embeddings, residuals, the flow's time) stays in float32, as do the
tensors at the stage's edges. A 16-bit product of a network that was trained in float32 loses most in its far
outliers: bf16 has float32's range and 8 bits of it, fp16 has 11 bits and ends at 65504.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import onnx_ir

_PRODUCTS = {"fp16": ("MatMul", "Gemm", "Conv", "ConvTranspose"), "bf16": ("MatMul", "Gemm")}
"""Operators by precision: ONNX's convolutions know no bfloat16 at the opset that stages have."""
_EDGES = (
    "state_proj", "action_in_proj", "action_time_mlp_in", "action_time_mlp_out", "action_out_proj", "wm_embeddings",
    "wm_out_proj",
)  # fmt: skip
"""What leads into and out of the experts' layers stays float32: it is small, and most sensitive."""


def halve(model: onnx_ir.Model, precision: Literal["fp16", "bf16"]) -> None:
    """Compute a stage's matrix products in 16 bits; changes the model.

    Args:
        model: the stage in float32, its nodes named after their modules.
        precision: of the products.
    """
    import onnx_ir as ir

    kind = ir.DataType.FLOAT16 if precision == "fp16" else ir.DataType.BFLOAT16
    graph = model.graph
    narrow: dict[ir.Value, ir.Value] = {}

    def narrowed(value: ir.Value, node: ir.Node) -> ir.Value:
        if value not in narrow:
            tensor = value.const_value
            if tensor is not None and value.name in graph.initializers:
                data = ir.tensor(tensor.numpy().astype(kind.numpy()), dtype=kind, name=f"{value.name}_{precision}")
                new = ir.Value(name=data.name, shape=value.shape, type=ir.TensorType(kind), const_value=data)
                graph.register_initializer(new)
                narrow[value] = new
            else:
                cast = _cast(value, kind, f"{value.name}_{precision}")
                graph.insert_before(node, cast)
                narrow[value] = cast.outputs[0]
        return narrow[value]

    for node in list(graph):
        edge = (node.name or "").partition("/")[0] in _EDGES
        if edge or node.op_type not in _PRODUCTS[precision] or node.inputs[0] is None:
            continue
        if node.inputs[0].dtype != ir.DataType.FLOAT:
            continue
        before = list(node.inputs)
        for index, value in enumerate(before):
            if value is not None:
                node.replace_input_with(index, narrowed(value, node))
        product = node.outputs[0]
        wide = _cast(product, ir.DataType.FLOAT, f"{product.name}_wide")
        for use in list(product.uses()):
            if use.node is not wide:
                use.node.replace_input_with(use.idx, wide.outputs[0])
        for index, output in enumerate(graph.outputs):
            if output is product:  # the port keeps its name
                graph.outputs[index] = wide.outputs[0]
                product.name, wide.outputs[0].name = f"{product.name}_{precision}", product.name
        product.dtype = kind
        graph.insert_after(node, wide)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]


def _cast(value: onnx_ir.Value, kind: onnx_ir.DataType, name: str) -> onnx_ir.Node:
    import onnx_ir as ir

    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(kind))
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", kind.value)], outputs=[output])
