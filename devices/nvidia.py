"""What GPU this is and which TensorRT is installed, asked of their own libraries, without a Python package of NVIDIA's.

Written after the CUDA driver API and NvInferRuntime's getInferLibVersion; tried with stand-ins, never on a GPU.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_DRIVER = ("libcuda.so.1", "libcuda.so")
_TENSORRT = ("libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so")
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
Load = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU: its name and compute capability, as ("Orin", (8, 7))."""

    name: str
    capability: tuple[int, int]

    @property
    def has_int8(self) -> bool:
        """Whether TensorRT computes int8 on it: from 6.1 on, and not on the Jetson TX2's 6.2."""
        return self.capability >= (6, 1) and self.capability != (6, 2)


def first_gpu(load: Load = ctypes.CDLL) -> Gpu | None:
    """The GPU that TensorRT runs on; None where there is no driver or no GPU. `load` is for tests."""
    driver = _first(_DRIVER, load)
    if driver is None or driver.cuInit(0) != 0:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0 or driver.cuDeviceGetName(name, len(name), device) != 0:
        return None
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return None
        numbers.append(value.value)
    return Gpu(name.value.decode("utf-8", errors="replace"), (numbers[0], numbers[1]))


def tensorrt_version(load: Load = ctypes.CDLL) -> str | None:
    """As "10.3.0", out of the library's number, 100300 (8502 for 8.5.2 before TensorRT 10); None if not there."""
    library = _first(_TENSORRT, load)
    if library is None:
        return None
    number = int(library.getInferLibVersion())
    major = 10_000 if number >= 10_000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def _first(names: tuple[str, ...], load: Load) -> Any:
    for name in names:
        try:
            return load(name)
        except OSError:
            continue
    return None
