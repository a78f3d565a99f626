"""Which cameras this machine has, whether they answer, and what they give. Streams nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import SourceError
from fer_edge.devices.machine import read_text
from fer_edge.devices.v4l2_query import CameraFormat, V4l2Node, query

READABLE = ("MJPG", "YUYV", "UYVY", "NV12", "GREY")
"""Formats that `v4l2:` reads; the others are listed and not used."""
# Capture nodes that are no cameras: decoders and image processors; what libcamera drives is listed by picamera2.
_PROCESSORS = ("bcm2835-codec", "bcm2835-isp", "pispbe", "rpivid", "rpi-hevc-dec", "hantro-vpu", "rkisp1")
_BEHIND_LIBCAMERA = ("unicam", "rp1-cfe")
_BEHIND_ARGUS = "tegra"
_MOST_ARGUS = 8


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """`uri` is what `fer-edge run` takes; `why_not` says in one clause why it does not answer."""

    uri: str
    name: str
    driver: str
    formats: tuple[CameraFormat, ...]
    answers: bool
    why_not: str | None = None


def list_cameras() -> list[CameraInfo]:
    """All cameras, of V4L2, of libcamera through picamera2, and of a Jetson's Argus."""
    return [*_libcamera(), *(_argus() if is_jetson() else ()), *_v4l2()]


def is_jetson() -> bool:
    """By the device tree's `compatible`: model names are the carrier board's and say what its maker likes."""
    return "nvidia,tegra" in (read_text("/proc/device-tree/compatible") or "")


def _v4l2() -> Iterator[CameraInfo]:
    for path in sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name)):
        try:
            node = query(str(path))
        except PermissionError:
            why = "may not be opened; add yourself to the group video: sudo usermod -aG video $USER"
            yield CameraInfo(f"v4l2:{path}", path.name, "", (), False, why)
        except OSError as error:
            yield CameraInfo(f"v4l2:{path}", path.name, "", (), False, f"does not open: {error.strerror}")
        else:
            if node.is_capture and not node.driver.startswith((*_PROCESSORS, *_BEHIND_LIBCAMERA, _BEHIND_ARGUS)):
                why_not = _why_not(node)
                yield CameraInfo(f"v4l2:{path}", node.card, node.driver, node.formats, why_not is None, why_not)


def _why_not(node: V4l2Node) -> str | None:
    if node.busy:
        return "another program is using it"
    if any(f.fourcc in READABLE for f in node.formats):
        return None
    only = ", ".join(sorted({f.fourcc for f in node.formats})) or "no format"
    return f"gives {only} alone, which is not read here"


def _libcamera() -> Iterator[CameraInfo]:
    from fer_edge.devices.source_picamera2 import camera_infos, import_picamera2

    try:
        library = import_picamera2()
    except SourceError as error:
        if any(_nodes_behind_libcamera()):
            yield CameraInfo("picamera2:0", "CSI camera", "libcamera", (), False, str(error))
        return
    for number, info in enumerate(camera_infos(library)):
        if "usb" in str(info.get("Id", "")).lower():
            continue  # it is listed as v4l2, which gives gray without a detour
        name, uri = str(info.get("Model", "camera")), f"picamera2:{number}"
        try:
            formats = _sensor_modes(library, number)
        except (RuntimeError, IndexError):
            yield CameraInfo(uri, name, "libcamera", (), False, "another program is using it")
        else:
            yield CameraInfo(uri, name, "libcamera", formats, True)


def _nodes_behind_libcamera() -> Iterator[str]:
    for path in Path("/dev").glob("video*"):
        try:
            driver = query(str(path)).driver
        except OSError:
            continue
        if driver.startswith(_BEHIND_LIBCAMERA):
            yield driver


def _sensor_modes(library: Any, number: int) -> tuple[CameraFormat, ...]:
    camera = library.Picamera2(number)
    try:
        modes = camera.sensor_modes
    finally:
        camera.close()
    return tuple(CameraFormat("YUV420", tuple(mode["size"]), (round(float(mode["fps"]), 2),)) for mode in modes)


def _argus() -> Iterator[CameraInfo]:
    """A Jetson's sensors as its kernel shows them; Argus itself has no list that can be read without opening them."""
    from fer_edge.devices.source_argus import missing

    why_not = missing()
    for number, node in enumerate(_tegra_nodes()):
        yield CameraInfo(f"argus:{number}", node.card, node.driver, node.formats, why_not is None, why_not)


def _tegra_nodes() -> list[V4l2Node]:
    found = []
    for path in sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name)):
        try:
            node = query(str(path))
        except OSError:
            continue
        if node.is_capture and node.driver.startswith(_BEHIND_ARGUS):
            found.append(node)
    return found[:_MOST_ARGUS]
