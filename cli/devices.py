"""`fer-edge devices`: what board is this, and which cameras answer?"""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.devices.camera_list import CameraInfo
    from fer_edge.devices.v4l2_query import CameraFormat

_BOARD = ("board", "machine", "cpu", "int8_features", "usable_cores", "memory_bytes", "temp_c", "governor")
_MOST_SIZES = 8


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print board and cameras as JSON and nothing else.")] = False,
) -> None:
    """Show the board and the cameras that answer, with their formats and rates; nothing is streamed."""
    from fer_edge.devices.camera_list import READABLE, list_cameras
    from fer_edge.devices.machine import describe_machine

    facts = describe_machine()
    board = {name: facts[name] for name in _BOARD}
    cameras = list_cameras()
    if as_json:
        found = [dataclasses.asdict(camera) for camera in cameras]
        print(json.dumps({"board": board, "cameras": found}, indent=2, ensure_ascii=False))
        return
    _print_board(board)
    for camera in sorted(cameras, key=lambda c: not c.answers):
        print()
        _print_camera(camera, READABLE)
    if not cameras:
        print("\nno camera answers. A USB camera shows up as /dev/video0; a Raspberry Pi's CSI")
        print("camera needs python3-picamera2, a Jetson's needs JetPack's OpenCV. To try")
        print("things out without one: fer-edge run 'fake:?faces=2'")


def _print_board(board: dict[str, Any]) -> None:
    memory, temperature = board["memory_bytes"], board["temp_c"]
    lines = {
        "board": board["board"] or "unknown",
        "processor": f"{board['cpu'] or 'unknown'}, {board['machine']}, {board['usable_cores']} cores",
        "int8": ", ".join(board["int8_features"]) or "no dot-product instructions: int8 saves little time",
        "memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB",
        "temperature": "no sensor can be read" if temperature is None else f"{temperature:.0f} °C",
        "governor": board["governor"] or "unknown",
    }
    for name, text in lines.items():
        print(f"{name:<13}{text}"[:80])


def _print_camera(camera: "CameraInfo", readable: tuple[str, ...]) -> None:
    driver = f" ({camera.driver})" if camera.driver and camera.driver != camera.name else ""
    if not camera.answers:
        print(f"{camera.uri}  {camera.name}{driver}\n  does not answer: {camera.why_not}")
        return
    print(f"{camera.uri}  {camera.name}{driver}")
    usable = [f for f in camera.formats if f.fourcc in readable or not camera.uri.startswith("v4l2:")]
    for name in sorted({f.fourcc for f in usable}, key=lambda n: readable.index(n) if n in readable else len(readable)):
        _print_sizes(name, [f for f in usable if f.fourcc == name])
    others = {f.fourcc for f in camera.formats} - {f.fourcc for f in usable}
    if others:
        print(f"  {len(others)} other formats, which are not read")


def _print_sizes(name: str, formats: "list[CameraFormat]") -> None:
    for at, each in enumerate(formats[:_MOST_SIZES]):
        rates = ", ".join(f"{fps:g}" for fps in each.fps)
        size = "x".join(map(str, each.size))
        line = f"  {name if at == 0 else '':<6}  {size:<10} {rates + ' fps' if rates else ''}"
        print(line if len(line) <= 80 else line[:76].rpartition(",")[0] + ", ...")
    if len(formats) > _MOST_SIZES:
        print(f"{'':<10}and {len(formats) - _MOST_SIZES} sizes more")
