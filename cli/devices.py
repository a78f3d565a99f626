"""`fer-edge devices`: what board is this, and which cameras answer?"""

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.devices.camera_list import CameraInfo
    from fer_edge.devices.profiles import Match
    from fer_edge.devices.v4l2_query import CameraFormat

_BOARD = ("board", "machine", "cpu", "int8_features", "usable_cores", "memory_bytes", "temp_c", "governor")
_MOST_SIZES = 8
_Rows = tuple[tuple[tuple[int, int], tuple[float, ...]], ...]


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print board and cameras as JSON and nothing else.")] = False,
    record_to: Annotated[
        Path | None, typer.Option("--record", help="Write what this board answers, for a new profile, and end.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite that file.")] = False,
) -> None:
    """Show the board, its profile, and the cameras that answer with their formats and rates; nothing is streamed."""
    from fer_edge.devices.board_facts import read_facts
    from fer_edge.devices.camera_list import READABLE, list_cameras
    from fer_edge.devices.errors import DataError
    from fer_edge.devices.machine import describe_machine
    from fer_edge.devices.profiles import recognise

    if record_to is not None:
        _record(record_to, force)
        return
    facts = describe_machine()
    board = {name: facts[name] for name in _BOARD}
    match, why_none = None, ""
    try:
        match = recognise(read_facts())
    except DataError as error:
        why_none = str(error)
    cameras = list_cameras()
    if as_json:
        found = [dataclasses.asdict(camera) for camera in cameras]
        profile = None if match is None else match.as_dict()
        print(json.dumps({"board": board, "profile": profile, "cameras": found}, indent=2, ensure_ascii=False))
        return
    _print_board(board)
    for line in ["", *(profile_lines(match) if match else _said("profile", [why_none]))]:
        print(line)
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


def profile_lines(match: "Match") -> Iterator[str]:
    """The profile, why it was chosen, what it sets by default, and what does not go here, in 80 columns."""
    profile = match.profile
    yield from _said("profile", [f"{profile.name} ({profile.title})"])
    yield from _said("because", match.because)
    threads = "as many threads as help" if profile.threads is None else f"{profile.threads} threads"
    detector = f"{profile.detector} at {profile.detect_width} wide"
    yield from _said("default", [f"{profile.camera}, {profile.engine}/{profile.precision}, {threads}, {detector}"])
    limits = [] if match.memory_max_bytes is None else [f"{match.memory_max_bytes / 2**20:.0f} MiB for the service"]
    if profile.throttle_from_c is not None:
        limits.append(f"throttles from {profile.throttle_from_c:g} °C")
    yield from _said("limits", [", ".join(limits)] if limits else [])
    yield from _said("cannot", [f"{c.what}: {c.reason}" + (f"; {c.fix}" if c.fix else "") for c in match.cannot])


def _said(name: str, sentences: "tuple[str, ...] | list[str]") -> Iterator[str]:
    for number, sentence in enumerate(sentences):
        first = f"{'' if number else name:<13}"
        yield from textwrap.wrap(sentence, 80, initial_indent=first, subsequent_indent=" " * 15)


def _record(path: Path, force: bool) -> None:
    from fer_edge.devices.board_facts import record
    from fer_edge.devices.errors import OutputError
    from fer_edge.devices.files import write_json

    if path.exists() and not force:
        raise OutputError(f"{path} exists already; give --force to overwrite it")
    write_json(path, record())
    print(f"{path}: what this board answers, without serial numbers")


def _print_camera(camera: "CameraInfo", readable: tuple[str, ...]) -> None:
    driver = f" ({camera.driver})" if camera.driver and camera.driver != camera.name else ""
    if not camera.answers:
        print(f"{camera.uri}  {camera.name}{driver}\n  does not answer: {camera.why_not}")
        return
    print(f"{camera.uri}  {camera.name}{driver}")
    usable = [f for f in camera.formats if f.fourcc in readable or not camera.uri.startswith("v4l2:")]
    for names, rows in _grouped(usable).items():
        print(f"  {', '.join(names)}")
        _print_sizes(rows)
    others = sorted({f.fourcc for f in camera.formats} - {f.fourcc for f in usable})
    if others:
        print(f"  not read: {', '.join(others) if len(others) <= _MOST_SIZES else f'{len(others)} other formats'}")


def _grouped(formats: "list[CameraFormat]") -> dict[tuple[str, ...], _Rows]:
    """Sizes and rates by the names of those formats that have the same; most cameras have few such tables."""
    by_name: dict[str, _Rows] = {}
    for each in formats:
        by_name[each.fourcc] = (*by_name.get(each.fourcc, ()), (each.size, each.fps))
    return {tuple(name for name in by_name if by_name[name] == rows): rows for rows in by_name.values()}


def _print_sizes(rows: _Rows) -> None:
    for (width, height), rates in rows[:_MOST_SIZES]:
        told = ", ".join(f"{fps:g}" for fps in rates)
        line = f"    {f'{width}x{height}':<11}{told + ' fps' if told else ''}"
        print(line if len(line) <= 80 else line[:76].rpartition(",")[0] + ", ...")
    if len(rows) > _MOST_SIZES:
        print(f"    and {len(rows) - _MOST_SIZES} sizes more")
