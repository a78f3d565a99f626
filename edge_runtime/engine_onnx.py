"""ONNX Runtime on the CPU; all faces in one batch."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.engines import EngineSpec, check_faces
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision

PROVIDER = "CPUExecutionProvider"
EXACT_INT8 = ("session.x64quantprecision", "1")
"""On x86 without VNNI products of uint8 and int8 are summed in 16 bits, which overflow: labels were seen to change.

With it ONNX Runtime computes there in uint8 alone, which does not; elsewhere it changes nothing.
"""


class OnnxEngine:
    """Runs models with input `pixels` (N, 48, 48, 1) uint8 and output `logits` (N, 7) float32."""

    def __init__(self, model: Path, precision: Precision, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry(*EXACT_INT8)
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=[PROVIDER])
        except Exception as error:
            # ONNX Runtime's own exceptions have no base class but Exception.
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            raise EngineError(f"{model} is not a model that ONNX Runtime can run ({error})") from error
        if self._session.get_providers() != [PROVIDER]:
            raise EngineError(f"ONNX Runtime runs on {self._session.get_providers()}, not on {PROVIDER}")
        entry, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        if entry.type != "tensor(uint8)" or entry.shape[1:] != [48, 48, 1] or result.shape[1:] != [len(EMOTIONS)]:
            raise EngineError(
                f"{model}: expected pixels (N, 48, 48, 1) uint8 and logits (N, 7), "
                f"got {entry.shape} {entry.type} and {result.shape}"
            )
        self._names = ([result.name], entry.name)
        self.spec = EngineSpec("onnx", precision, threads, f"ONNX Runtime {onnxruntime.__version__}", "CPU")

    def infer(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, 7) float32 of faces (N, 48, 48) uint8."""
        check_faces(faces_u8)
        outputs, name = self._names
        return self._session.run(outputs, {name: faces_u8[..., None]})[0]

    def close(self) -> None:
        """Drop the session."""
        self._session = None
