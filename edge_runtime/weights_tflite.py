"""The weights of a float TFLite file's layers, in the order in which it runs them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import BundleError
from fer_edge.edge_runtime.operators_tflite import open_content

_ABSENT = -1
_OUTPUTS_LAST = {"CONV_2D": (1, 2, 3, 0), "FULLY_CONNECTED": (1, 0)}
_OTHERS = ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL")


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """`kernel` is (height, width, inputs, outputs) of a convolution or (inputs, outputs) of a dense layer, float32."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


def layers_of(model: Path) -> list[LayerWeights]:
    """Convolutions and dense layers of a file that begins with one of them.

    Raises:
        BundleError: it begins with something else, or has weights of other kinds.
        EngineError: LiteRT does not take the file.
    """
    lite = open_content(model.read_bytes(), str(model), threads=1)
    operators = [op for op in lite._get_ops_details() if op["op_name"] != "DELEGATE"]
    kinds = [op["op_name"] for op in operators]
    if not kinds or kinds[0] not in _OUTPUTS_LAST:
        raise BundleError(f"{model} begins with {kinds[0] if kinds else 'nothing'}, not with a layer that has weights")
    if others := sorted(set(kinds).intersection(_OTHERS)):
        raise BundleError(f"{model} has {', '.join(others)}, whose weights are not read back")
    found = []
    for op in operators:
        if op["op_name"] in _OUTPUTS_LAST:
            _, kernel, *bias = (int(at) for at in op["inputs"])
            values = lite.get_tensor(kernel).transpose(_OUTPUTS_LAST[op["op_name"]])
            zeros = np.zeros(values.shape[-1], np.float32)
            found.append(LayerWeights(values, lite.get_tensor(bias[0]) if bias and bias[0] != _ABSENT else zeros))
    return found
