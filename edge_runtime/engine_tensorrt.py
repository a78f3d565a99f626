"""TensorRT on an NVIDIA GPU through ONNX Runtime's provider, from an engine that was compiled before: see engine_cache.

Tried with a stand-in that has ONNX Runtime's interface; it never ran on a GPU. docs/jetson.md says what to look at.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.devices.files import replacing_folder
from fer_edge.devices.nvidia import Gpu, first_gpu, tensorrt_version
from fer_edge.edge_runtime.engine_cache import MARKER, MadeFor, engines_in, made_for, may_build
from fer_edge.edge_runtime.engines import EngineSpec, check_faces
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE, Precision

PROVIDER = "TensorrtExecutionProvider"
MAX_BATCH = 8
"""Faces a call; the compiled engine takes 1 to so many, and another number would be compiled anew while frames wait."""
_BYTES = 1 << 28
_INSTEAD = "use another --engine, as tflite"


class TensorrtEngine:
    """Runs models with input `pixels` (N, 48, 48, 1) uint8 and output `logits` (N, 7) float32 on the first GPU.

    Raises:
        EngineError: no GPU or TensorRT, a precision that the GPU does not have, a provider that fell back to another,
            or an engine that was not compiled for just this model, these versions and this GPU.
    """

    def __init__(self, model: Path, precision: Precision, threads: int) -> None:
        gpu, tensorrt = _here()
        _check_precision(model, precision, gpu)
        made = made_for(
            model, str(precision), MAX_BATCH,
            onnxruntime=onnxruntime.__version__, tensorrt=tensorrt, gpu=gpu.name, capability=gpu.capability,
        )  # fmt: skip
        if not made.is_there:
            if not may_build():
                raise EngineError(
                    f"no TensorRT engine was compiled for {model.name} with this GPU ({gpu.name}), TensorRT {tensorrt} "
                    f"and ONNX Runtime {onnxruntime.__version__}; run: fer-edge doctor {model.parent}"
                )
            _build(model, precision, made)
        before = engines_in(made.folder)
        self._session = _session(model, precision, made.folder)
        if engines_in(made.folder) != before:
            raise EngineError(
                f"TensorRT compiled {model.name} anew: its engine in {made.folder} did not fit; "
                f"remove that folder and run: fer-edge doctor {model.parent}"
            )
        self._names = ([self._session.get_outputs()[0].name], self._session.get_inputs()[0].name)
        version = f"ONNX Runtime {onnxruntime.__version__}, TensorRT {tensorrt}"
        self.spec = EngineSpec("tensorrt", precision, threads, version, f"GPU {gpu.name}, {made.compute_capability}")

    def infer(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, 7) float32 of faces (N, 48, 48) uint8, at most eight a call of the GPU."""
        check_faces(faces_u8)
        outputs, name = self._names
        parts = [
            self._session.run(outputs, {name: faces_u8[at : at + MAX_BATCH, ..., None]})[0]
            for at in range(0, len(faces_u8), MAX_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(EMOTIONS)), np.float32)

    def close(self) -> None:
        """Drop the session and the GPU's memory with it."""
        self._session = None


def _here() -> tuple[Gpu, str]:
    """The GPU and TensorRT's version; both are part of what an engine is compiled for."""
    if PROVIDER not in onnxruntime.get_available_providers():
        raise EngineError(
            f"this ONNX Runtime {onnxruntime.__version__} was built without TensorRT; "
            "docs/jetson.md says which package to install"
        )
    gpu, tensorrt = first_gpu(), tensorrt_version()
    if gpu is None:
        raise EngineError(f"no NVIDIA GPU answers (libcuda.so.1); {_INSTEAD}")
    if tensorrt is None:
        raise EngineError(f"TensorRT is not installed (libnvinfer); install JetPack's, or {_INSTEAD}")
    return gpu, tensorrt


def _check_precision(model: Path, precision: Precision, gpu: Gpu) -> None:
    if precision not in (Precision.INT8, Precision.FLOAT16):
        raise EngineError(f"tensorrt runs int8 and float16, not {precision}")
    if precision == Precision.INT8 and not gpu.has_int8:
        at = f"{gpu.capability[0]}.{gpu.capability[1]}"
        raise EngineError(
            f"the GPU {gpu.name} (compute capability {at}) has no int8, so {model.name} cannot run on it; "
            "use --precision float16, or int8 on the processor with --engine tflite"
        )


def _build(model: Path, precision: Precision, made: MadeFor) -> None:
    """Compile for 1 to MAX_BATCH faces, whole or not at all."""
    with replacing_folder(made.folder, MARKER, force=True) as folder:
        session = _session(model, precision, folder)
        name = session.get_inputs()[0].name
        for count in (1, MAX_BATCH):
            session.run(None, {name: np.zeros((count, FACE_SIDE, FACE_SIDE, 1), np.uint8)})
        del session
        if not engines_in(folder):
            raise EngineError(
                f"TensorRT took no part of {model.name}: no engine was compiled, all would run elsewhere; {_INSTEAD}"
            )
        made.write_marker(folder)


def _session(model: Path, precision: Precision, folder: Path) -> Any:
    """A session whose first provider is TensorRT, with its cache in `folder`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=[(PROVIDER, _options(precision, folder))])
    except Exception as error:
        # ONNX Runtime's own exceptions have no base class but Exception.
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise EngineError(f"{model} is not a model that TensorRT can run ({error})") from error
    providers = session.get_providers()
    if providers[:1] != [PROVIDER]:
        raise EngineError(f"ONNX Runtime could not start TensorRT and runs on {', '.join(providers)}; {_INSTEAD}")
    entry, result = session.get_inputs()[0], session.get_outputs()[0]
    if entry.type != "tensor(uint8)" or entry.shape[1:] != [FACE_SIDE, FACE_SIDE, 1] or result.shape[1:] != [7]:
        raise EngineError(
            f"{model}: expected pixels (N, 48, 48, 1) uint8 and logits (N, 7), "
            f"got {entry.shape} {entry.type} and {result.shape}"
        )
    return session


def _options(precision: Precision, folder: Path) -> dict[str, str]:
    """The provider's options (onnxruntime.ai, TensorRT execution provider). The model's own QDQ nodes give the ranges.

    Where it holds QDQ nodes, TensorRT takes scales from these and wants no calibration table.
    """
    return {
        "device_id": "0",
        "trt_int8_enable": str(precision == Precision.INT8),
        "trt_fp16_enable": str(precision == Precision.FLOAT16),
        "trt_max_workspace_size": str(_BYTES),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        "trt_profile_min_shapes": f"pixels:1x{FACE_SIDE}x{FACE_SIDE}x1",
        "trt_profile_opt_shapes": f"pixels:1x{FACE_SIDE}x{FACE_SIDE}x1",
        "trt_profile_max_shapes": f"pixels:{MAX_BATCH}x{FACE_SIDE}x{FACE_SIDE}x1",
    }
