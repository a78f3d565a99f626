"""A large matrix product in OpenVINO: a MatMul between quantizations for int8, which becomes an int8 layer."""

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from fer_edge.edge_runtime.operator_row import is_heavy
from fer_edge.edge_runtime.operators_openvino import compiled, rows_of
from fer_edge.edge_runtime.roofline_models import Product
from fer_edge.edge_runtime.vocabulary import Precision


class OpenvinoProduct:
    """See `StartedProduct`."""

    def __init__(self, product: Product, threads: int) -> None:
        source = graph(product)
        loaded = compiled(source, threads)
        self.ran_in: str = next(entry["precision"] for entry in rows_of(source, loaded) if is_heavy(entry))
        self._request: Any = loaded.create_infer_request()
        self._request.get_input_tensor(0).data[...] = product.data
        self.run = self._request.infer

    def result(self) -> NDArray[np.float32]:
        """What came out last, (rows, columns), in real numbers."""
        return self._request.get_output_tensor(0).data.copy()


def graph(product: Product) -> Any:
    """The product as an OpenVINO model. The plugin takes dequantized int8 for int8 where a FakeQuantize follows."""
    shape = [product.rows, product.inner]
    if product.precision != Precision.INT8:
        data = ops.parameter(shape, np.float32, name="data")
        result = ops.matmul(data, ops.constant(product.weights), False, True)
    else:
        data = ops.parameter(shape, np.int8, name="data")
        real = ops.multiply(ops.convert(data, "f32"), ops.constant(np.float32(product.data_scale)))
        weights = ops.convert(ops.constant(product.weights), "f32")
        scaled = ops.multiply(weights, ops.constant(product.weight_scales[:, None]))
        low, high = (ops.constant(np.float32(step * product.output_scale)) for step in (-128, 127))
        result = ops.fake_quantize(ops.matmul(real, scaled, False, True), low, high, low, high, 256)
    made = openvino.Model([ops.result(result)], [data], "product")
    made.set_friendly_name("the product")
    return made
