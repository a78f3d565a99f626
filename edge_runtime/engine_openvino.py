"""OpenVINO on the CPU, one face at a time into one buffer made at start."""

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.engines import EngineSpec, check_faces
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision


class OpenvinoEngine:
    """Runs models with one input (1, 48, 48, 1) uint8 and one output (1, 7) float32."""

    def __init__(self, model: Path, precision: Precision, threads: int) -> None:
        if not model.with_suffix(".bin").is_file():
            raise EngineError(f"{model.with_suffix('.bin')} is missing; OpenVINO needs it beside the .xml")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            # A CPU with fp16 or bf16 units would run the rest of the graph in those, the float baseline too.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled = openvino.Core().compile_model(str(model), "CPU", settings)
            shapes = (tuple(compiled.input(0).shape), tuple(compiled.output(0).shape))
        except RuntimeError as error:
            raise EngineError(f"{model} is not a model that OpenVINO can run ({str(error).strip()[:300]})") from error
        if shapes != ((1, 48, 48, 1), (1, len(EMOTIONS))):
            raise EngineError(f"{model}: expected shapes (1, 48, 48, 1) and (1, 7), got {shapes[0]} and {shapes[1]}")
        self._request = compiled.create_infer_request()
        self._pixels = np.zeros((1, 48, 48, 1), np.uint8)
        self._request.set_input_tensor(openvino.Tensor(self._pixels, shared_memory=True))
        self._logits = self._request.get_output_tensor(0).data
        version = openvino.get_version().split("-")[0]
        self.spec = EngineSpec("openvino", precision, threads, f"OpenVINO {version}", "CPU")

    def infer(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, 7) float32 of faces (N, 48, 48) uint8."""
        check_faces(faces_u8)
        logits = np.empty((len(faces_u8), len(EMOTIONS)), np.float32)
        for face, row in zip(faces_u8, logits, strict=True):
            self._pixels[0, :, :, 0] = face
            self._request.infer()
            row[:] = self._logits[0]
        return logits

    def close(self) -> None:
        """Drop the request and the compiled model with it."""
        self._request = self._logits = None
