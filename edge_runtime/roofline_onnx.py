"""A large matrix product in ONNX Runtime: a MatMul, between QDQ pairs for int8, which becomes QLinearMatMul."""

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.machine import cpu_info
from fer_edge.edge_runtime.onnx_wire import constant, model, node, value
from fer_edge.edge_runtime.operator_row import is_heavy
from fer_edge.edge_runtime.operators_onnx import listed, open_session
from fer_edge.edge_runtime.roofline_models import Product
from fer_edge.edge_runtime.vocabulary import Precision


class OnnxProduct:
    """See `StartedProduct`."""

    def __init__(self, product: Product, threads: int) -> None:
        self._product = product
        # What ONNX Runtime fuses does not depend on the size, and a small graph is written and read back at once.
        small = listed(content(Product(8, 64, 16, product.precision)), threads)
        self.ran_in: str = next(entry["precision"] for entry in small if is_heavy(entry))
        self._session = open_session(content(product), threads)
        self._inputs = {"data": _stored(product.data)}
        self._got: NDArray = np.empty(0)

    def run(self) -> None:
        """Multiply once."""
        self._got = self._session.run(None, self._inputs)[0]

    def result(self) -> NDArray[np.float32]:
        """What came out last, (rows, columns), in real numbers."""
        if self._product.precision != Precision.INT8:
            return self._got
        return (self._got.astype(np.float32) - np.float32(_zero_point())) * np.float32(self._product.output_scale)


def content(product: Product) -> bytes:
    """The product as an ONNX file."""
    shapes = ((product.rows, product.inner), (product.rows, product.columns))
    if product.precision != Precision.INT8:
        weights = constant("weights", np.ascontiguousarray(product.weights.T))
        ends = ([value(name, np.float32, shape)] for name, shape in zip(("data", "product"), shapes, strict=True))
        return model([node("MatMul", ["data", "weights"], ["product"])], [weights], *ends)
    kind = np.dtype(_activations())
    constants = [
        constant("weights", np.ascontiguousarray(product.weights.T)),
        constant("weights_scale", product.weight_scales),
        constant("weights_zero", np.zeros(product.columns, np.int8)),
        constant("data_scale", np.array(product.data_scale, np.float32)),
        constant("product_scale", np.array(product.output_scale, np.float32)),
        constant("zero", np.array(_zero_point(), kind)),
    ]
    nodes = [
        node("DequantizeLinear", ["data", "data_scale", "zero"], ["data_real"]),
        node("DequantizeLinear", ["weights", "weights_scale", "weights_zero"], ["weights_real"], axis=1),
        node("MatMul", ["data_real", "weights_real"], ["product_real"]),
        node("QuantizeLinear", ["product_real", "product_scale", "zero"], ["product"]),
    ]
    ends = ([value(name, kind.type, shape)] for name, shape in zip(("data", "product"), shapes, strict=True))
    return model(nodes, constants, *ends)


def _activations() -> type[np.generic]:
    """What the processor's kernels want: signed on ARM, unsigned on x86."""
    return np.int8 if {"asimd", "neon"}.intersection(cpu_info()[1]) else np.uint8


def _zero_point() -> int:
    return 0 if _activations() is np.int8 else 128


def _stored(data: NDArray) -> NDArray:
    """int8 data as the model takes it: with the zero point added."""
    return data if data.dtype != np.int8 else (data.astype(np.int16) + _zero_point()).astype(_activations())
