"""TensorRT's engine without a GPU: against stand-ins for ONNX Runtime and NVIDIA's libraries with their interface.

What cannot be seen here: whether TensorRT takes the model, how fast it is, and which labels it gives.
"""

import ctypes
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import EngineError
from fer_edge.devices.nvidia import Gpu, first_gpu, tensorrt_version
from fer_edge.edge_runtime import engines
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.edge_runtime.vocabulary import Precision

ORIN, NANO = Gpu("Orin", (8, 7)), Gpu("NVIDIA Tegra X1", (5, 3))
TRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


class Runtime(ModuleType):
    """What `import onnxruntime` gives on a Jetson, as far as the engine asks."""

    def __init__(self) -> None:
        super().__init__("onnxruntime")
        self.__version__ = "1.23.2"
        self.available = [TRT, CUDA, CPU]
        self.started = [TRT, CPU]
        self.compiles = True
        self.again = False
        self.sessions: list[Any] = []
        self.batches: list[int] = []
        runtime = self

        class Session:
            def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
                ((self.provider, self.options),) = providers
                runtime.sessions.append(self)
                self._engine = Path(self.options["trt_engine_cache_path"]) / "TRTKernel_graph_0_sm87.engine"
                if runtime.again and self._engine.exists():
                    self._engine.with_name("TRTKernel_graph_1_sm87.engine").write_bytes(b"another")

            def get_providers(self) -> list[str]:
                return runtime.started

            def get_inputs(self) -> list[Any]:
                return [SimpleNamespace(name="pixels", type="tensor(uint8)", shape=["batch", 48, 48, 1])]

            def get_outputs(self) -> list[Any]:
                return [SimpleNamespace(name="logits", type="tensor(float)", shape=["batch", 7])]

            def run(self, outputs: Any, feed: dict[str, Any]) -> list[Any]:
                pixels = feed["pixels"]
                runtime.batches.append(len(pixels))
                if runtime.compiles and not self._engine.exists():
                    self._engine.write_bytes(b"compiled")
                return [pixels[:, 0, :7, 0].astype(np.float32)]

        self.InferenceSession = Session
        self.SessionOptions = SimpleNamespace
        self.get_available_providers = lambda: self.available


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Runtime]:
    stand_in = Runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    monkeypatch.setenv("FER_EDGE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FER_EDGE_BUILD_ENGINES", raising=False)
    sys.modules.pop("fer_edge.edge_runtime.engine_tensorrt", None)
    yield stand_in
    sys.modules.pop("fer_edge.edge_runtime.engine_tensorrt", None)


@pytest.fixture
def start(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Start the engine on a model file of these bytes, on this GPU, with this TensorRT."""
    module = importlib.import_module("fer_edge.edge_runtime.engine_tensorrt")

    def started(
        content: bytes = b"model",
        *,
        gpu: Gpu | None = ORIN,
        tensorrt: str | None = "10.3.0",
        precision: Precision = Precision.INT8,
        build: bool = False,
    ) -> Any:
        model = tmp_path / "bundle" / "int8-trt.onnx"
        model.parent.mkdir(exist_ok=True)
        model.write_bytes(content)
        monkeypatch.setattr(module, "first_gpu", lambda: gpu)
        monkeypatch.setattr(module, "tensorrt_version", lambda: tensorrt)
        monkeypatch.setenv("FER_EDGE_BUILD_ENGINES", "1" if build else "0")
        return module.TensorrtEngine(model, precision, 4)

    return started


def folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "state" / "tensorrt").glob("*"))


def test_it_is_compiled_when_asked_and_found_again(runtime: Runtime, start: Any, tmp_path: Path) -> None:
    start(build=True)
    assert runtime.batches == [1, 8]
    (folder,) = folders(tmp_path)
    assert json.loads((folder / "made_for.json").read_text()) == {
        "model_sha256": "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4",
        "precision": "int8",
        "max_batch": 8,
        "onnxruntime": "1.23.2",
        "tensorrt": "10.3.0",
        "gpu": "Orin",
        "compute_capability": "8.7",
    }
    sessions = len(runtime.sessions)
    engine = start()  # nobody asks to compile, and nothing is
    assert len(runtime.sessions) == sessions + 1
    assert engine.spec == engines.EngineSpec(
        "tensorrt", Precision.INT8, 4, "ONNX Runtime 1.23.2, TensorRT 10.3.0", "GPU Orin, 8.7"
    )
    engine.close()
    engine.close()


def test_faces_go_in_batches_that_were_compiled_for(runtime: Runtime, start: Any) -> None:
    engine = start(build=True)
    runtime.batches.clear()
    faces = np.random.default_rng(0).integers(0, 256, (19, 48, 48), np.uint8)
    logits = engine.infer(faces)
    assert runtime.batches == [8, 8, 3]
    np.testing.assert_array_equal(logits, faces[:, 0, :7].astype(np.float32))
    assert engine.infer(faces[:0]).shape == (0, 7)
    with pytest.raises(ValueError, match="expected faces"):
        engine.infer(faces[0])


def test_the_providers_options(runtime: Runtime, start: Any, tmp_path: Path) -> None:
    start(build=True)
    told = runtime.sessions[-1].options
    assert runtime.sessions[-1].provider == TRT
    assert (told["trt_int8_enable"], told["trt_fp16_enable"]) == ("True", "False")
    assert told["trt_engine_cache_enable"] == "True"
    assert Path(told["trt_engine_cache_path"]) == folders(tmp_path)[0]
    assert [told[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")] == [
        "pixels:1x48x48x1", "pixels:1x48x48x1", "pixels:8x48x48x1",
    ]  # fmt: skip
    assert not any("calibration" in option for option in told)
    start(precision=Precision.FLOAT16, build=True, gpu=NANO)
    told = runtime.sessions[-1].options
    assert (told["trt_int8_enable"], told["trt_fp16_enable"]) == ("False", "True")


def test_a_run_never_compiles(runtime: Runtime, start: Any, tmp_path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"no TensorRT engine was compiled for int8-trt.onnx .* run: fer-edge doctor "
    ):
        start()
    assert not runtime.sessions
    assert not folders(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"content": b"another model"},
        {"tensorrt": "10.7.0"},
        {"gpu": Gpu("Orin", (8, 9))},
        {"gpu": Gpu("NVIDIA Orin NX", (8, 7))},
        {"precision": Precision.FLOAT16},
    ],
)
def test_an_engine_is_for_one_model_version_and_gpu(start: Any, tmp_path: Path, other: dict[str, Any]) -> None:
    start(build=True)
    with pytest.raises(EngineError, match="no TensorRT engine was compiled"):
        start(**other)
    start(**other, build=True)
    assert len(folders(tmp_path)) == 2
    start()


def test_another_onnxruntime_needs_another_engine(runtime: Runtime, start: Any) -> None:
    start(build=True)
    runtime.__version__ = "1.24.0"
    with pytest.raises(EngineError, match=r"and ONNX Runtime 1\.24\.0; run"):
        start()


def test_a_folder_that_is_not_whole_is_none(start: Any, tmp_path: Path) -> None:
    start(build=True)
    (folder,) = folders(tmp_path)
    for name in ("made_for.json", "TRTKernel_graph_0_sm87.engine"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(EngineError, match="no TensorRT engine was compiled"):
            start()
        (folder / name).write_bytes(kept)
    start()


def test_compiling_that_fails_leaves_nothing(runtime: Runtime, start: Any, tmp_path: Path) -> None:
    runtime.compiles = False
    with pytest.raises(EngineError, match=r"TensorRT took no part of int8-trt\.onnx"):
        start(build=True)
    assert not [path for path in folders(tmp_path) if not path.name.startswith(".")]


@pytest.mark.parametrize("started", [[CPU], [CUDA, CPU], [CUDA, TRT, CPU], []])
def test_a_provider_that_fell_back_is_an_error(runtime: Runtime, start: Any, started: list[str]) -> None:
    runtime.started = started
    with pytest.raises(EngineError, match="could not start TensorRT and runs on"):
        start(build=True)


def test_an_engine_that_is_compiled_anew_at_the_start_is_an_error(runtime: Runtime, start: Any) -> None:
    start(build=True)
    runtime.again = True
    with pytest.raises(EngineError, match=r"compiled int8-trt\.onnx anew"):
        start()


def test_what_is_not_there_is_one_sentence(runtime: Runtime, start: Any) -> None:
    for gpu, precision, message in (
        (None, Precision.INT8, "no NVIDIA GPU answers"),
        (NANO, Precision.INT8, r"compute capability 5\.3\) has no int8.*--precision float16"),
        (ORIN, Precision.FLOAT32, "runs int8 and float16, not float32"),
    ):
        with pytest.raises(EngineError, match=message):
            start(gpu=gpu, precision=precision, build=True)
    with pytest.raises(EngineError, match="TensorRT is not installed"):
        start(tensorrt=None, build=True)
    runtime.available = [CPU]
    with pytest.raises(EngineError, match="was built without TensorRT"):
        start(build=True)


def test_without_the_provider_it_is_not_installed_and_auto_passes_it_over(monkeypatch: pytest.MonkeyPatch) -> None:
    if engines.is_installed("tensorrt"):
        pytest.skip("this machine's ONNX Runtime has TensorRT")
    with pytest.raises(EngineError, match="there is no onnxruntime with tensorrt here"):
        engines.start("tensorrt", BUNDLED / "int8.onnx", Precision.INT8)
    assert engines.judge_of("tensorrt") == "onnx"
    assert [engines.judge_of(name) for name in ("tflite", "onnx", "openvino", "unknown")] == [
        "tflite", "onnx", "openvino", "unknown",
    ]  # fmt: skip
    bundle = Bundle.open()
    monkeypatch.setattr(engines, "is_installed", lambda engine: True)
    only = SimpleNamespace(name="b", variants=[SimpleNamespace(engine="tensorrt", precision=Precision.INT8)])
    with pytest.raises(EngineError, match="has int8 for tensorrt, and installed here is"):
        engines.choose(only, "auto", Precision.INT8)  # type: ignore[arg-type]
    assert engines.choose(only, "tensorrt", Precision.INT8) == "tensorrt"  # type: ignore[arg-type]
    assert engines.choose(bundle, "auto", Precision.INT8) == "tflite"


def test_the_library_is_known_by_the_providers_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(engines, "find_spec", lambda name: SimpleNamespace(origin=str(package / "__init__.py")))
    assert engines.is_installed("onnx")
    assert not engines.is_installed("tensorrt")
    (package / "capi" / "libonnxruntime_providers_tensorrt.so").touch()
    assert engines.is_installed("tensorrt")


class Driver:
    """libcuda.so.1 of an Orin."""

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        ctypes.cast(value, ctypes.POINTER(ctypes.c_int)).contents.value = {75: 8, 76: 7}[attribute]
        return 0


def loader(**libraries: Any) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        for start, library in libraries.items():
            if name.startswith(f"{start}.so"):
                return library
        raise OSError(f"{name}: cannot open shared object file")

    return load


def test_the_gpu_is_asked_of_the_driver() -> None:
    assert first_gpu(loader(libcuda=Driver())) == ORIN
    assert first_gpu(loader()) is None
    broken = Driver()
    broken.cuInit = lambda flags: 100  # type: ignore[method-assign]
    assert first_gpu(loader(libcuda=broken)) is None
    assert (ORIN.has_int8, NANO.has_int8, Gpu("TX2", (6, 2)).has_int8) == (True, False, False)


@pytest.mark.parametrize(("number", "version"), [(100300, "10.3.0"), (101302, "10.13.2"), (8502, "8.5.2")])
def test_tensorrts_version_out_of_its_number(number: int, version: str) -> None:
    library = SimpleNamespace(getInferLibVersion=lambda: number)
    assert tensorrt_version(loader(libnvinfer=library)) == version
    assert tensorrt_version(loader()) is None
