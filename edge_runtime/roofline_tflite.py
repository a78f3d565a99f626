"""A large matrix product in LiteRT: one FULLY_CONNECTED, which XNNPACK has to take over."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.engine_tflite import LIBRARY
from fer_edge.edge_runtime.operators_tflite import open_content, rows_of
from fer_edge.edge_runtime.operators_tflite_cut import operator, operator_code, pack, tensor
from fer_edge.edge_runtime.roofline_models import Product
from fer_edge.edge_runtime.vocabulary import Precision


class TfliteProduct:
    """See `StartedProduct`."""

    def __init__(self, product: Product, threads: int) -> None:
        self._product = product
        self._lite = open_content(content(product), "the product", threads)
        if not any(op["op_name"] == "DELEGATE" for op in self._lite._get_ops_details()):
            raise EngineError(
                f"XNNPACK does not take a {product.precision} product, so {LIBRARY} has no peak to measure"
            )
        self.ran_in: str = rows_of(self._lite)[0]["precision"]
        self._lite.set_tensor(self._lite.get_input_details()[0]["index"], product.data)
        self.run = self._lite.invoke

    def result(self) -> NDArray[np.float32]:
        """What came out last, (rows, columns), in real numbers."""
        got: NDArray[Any] = self._lite.get_tensor(self._lite.get_output_details()[0]["index"])
        scale = self._product.output_scale if self._product.precision == Precision.INT8 else 1
        return got.astype(np.float32) * np.float32(scale)


def content(product: Product) -> bytes:
    """The product as a TFLite file."""
    type_name = "INT8" if product.precision == Precision.INT8 else "FLOAT32"
    rows, inner, columns = product.rows, product.inner, product.columns
    scales: list[Any] = [None, None, None]
    if product.precision == Precision.INT8:
        scales = [[product.data_scale], product.weight_scales, [product.output_scale]]
    held = schema.BufferT()
    held.data = product.weights.reshape(-1).view(np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("data", (rows, inner), type_name, 0, _quantization(scales[0])),
        tensor("weights", (columns, inner), type_name, 1, _quantization(scales[1])),
        tensor("product", (rows, columns), type_name, 0, _quantization(scales[2])),
    ]
    graph.operators = [operator(0, [0, 1, -1], [2], "FullyConnectedOptions")]
    graph.inputs, graph.outputs = [0], [2]
    version = 5 if product.precision == Precision.INT8 else 1  # scales a column came with the fifth
    return pack([operator_code("FULLY_CONNECTED", version)], graph, [schema.BufferT(), held])


def _quantization(scales: Any) -> Any:
    """Scales without zero points; one, or one for each index of the first dimension."""
    if scales is None:
        return None
    made = schema.QuantizationParametersT()
    made.scale = np.asarray(scales, np.float32)
    made.zeroPoint, made.quantizedDimension = np.zeros(len(made.scale), np.int64), 0
    return made
