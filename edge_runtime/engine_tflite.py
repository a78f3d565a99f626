"""LiteRT (TensorFlow Lite) on the CPU with XNNPACK, one face at a time into the interpreter's own memory."""

import ctypes
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.devices.native_log import without_banners
from fer_edge.edge_runtime.engines import EngineSpec, check_faces
from fer_edge.edge_runtime.quantization import Quantization, pixel_table
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision

try:
    from ai_edge_litert.interpreter import Interpreter

    LIBRARY = f"LiteRT {version('ai-edge-litert')}"
except ModuleNotFoundError:  # its predecessor, which still serves Python 3.11 on older boards
    from tflite_runtime.interpreter import Interpreter

    LIBRARY = f"tflite-runtime {version('tflite-runtime')}"


_HIGHEST_BIT = np.uint8(0x80)


class TfliteEngine:
    """Runs (1, 48, 48, 1) int8 or float32 models."""

    def __init__(self, model: Path, precision: Precision, threads: int) -> None:
        try:
            with without_banners():
                self._lite: Any = Interpreter(model_content=model.read_bytes(), num_threads=threads)
                self._lite.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise EngineError(f"{model} is not a model that {LIBRARY} can run ({error})") from error
        self.spec = EngineSpec("tflite", precision, threads, LIBRARY, "CPU, XNNPACK")
        self._bind(model, precision)

    def _bind(self, model: Path, precision: Precision) -> None:
        entry, result = self._lite.get_input_details()[0], self._lite.get_output_details()[0]
        shapes = (tuple(entry["shape"]), tuple(result["shape"]))
        if shapes != ((1, 48, 48, 1), (1, len(EMOTIONS))):
            raise EngineError(f"{model}: expected shapes (1, 48, 48, 1) and (1, 7), got {shapes[0]} and {shapes[1]}")
        wanted = np.int8 if precision == Precision.INT8 else np.float32
        if entry["dtype"] != wanted or result["dtype"] != wanted:
            raise EngineError(f"{model}: {precision} asked for, but the model takes {entry['dtype'].__name__}")
        self._entry, self._result = _memory(self._lite, entry), _memory(self._lite, result)
        self._table: NDArray | None = None
        if precision == Precision.INT8:
            scale, zero_point = entry["quantization"]
            self._table = pixel_table(Quantization(float(scale), int(zero_point)))
            # What our own conversions give: flipping the highest bit is cheaper than a look-up.
            self._is_flip = (scale, zero_point) == (1.0, -128)
            self._entry_u8 = self._entry.view(np.uint8)
            scale, zero_point = result["quantization"]
            self._out_scale, self._out_zero = np.float32(scale), np.float32(zero_point)

    def infer(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, 7) float32 of faces (N, 48, 48) uint8."""
        check_faces(faces_u8)
        logits = np.empty((len(faces_u8), len(EMOTIONS)), np.float32)
        for at in range(len(faces_u8)):
            if self._table is None:
                self._entry[:] = faces_u8[at]
            elif self._is_flip:
                np.bitwise_xor(faces_u8[at], _HIGHEST_BIT, out=self._entry_u8)
            else:
                np.take(self._table, faces_u8[at], out=self._entry, mode="clip")
            self._lite.invoke()
            logits[at] = self._result
        if self._table is not None:
            logits -= self._out_zero
            logits *= self._out_scale
        return logits

    def close(self) -> None:
        """Drop the interpreter."""
        self._lite = self._entry = self._result = self._entry_u8 = None  # type: ignore[assignment]


def _memory(lite: Any, tensor: dict[str, Any]) -> NDArray:
    """The interpreter's own memory of an input or output, (48, 48) or (7,).

    A view from `tensor()` may not be held while the interpreter runs, and making one costs as much as a layer. The
    place itself does not move: `allocate_tensors` was called and no tensor is ever resized.
    """
    view = lite.tensor(tensor["index"])()
    size, address = view.nbytes, view.ctypes.data
    memory = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, view.dtype).reshape(view.squeeze().shape)
