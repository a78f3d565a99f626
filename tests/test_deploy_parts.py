"""What `deploy` is made of, piece by piece: inventories, roll-outs, plans, wheels, configurations for another board."""

import json
import re
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from fer_edge.devices.deploy_plan import Wish, plan, plan_unseen
from fer_edge.devices.deploy_probe import Probe, read_probe, sections
from fer_edge.devices.errors import DataError, DeployError
from fer_edge.devices.fleet import RollOut, roll_out
from fer_edge.devices.inventory import Host, chosen, read_inventory
from fer_edge.devices.own_wheel import write_own_wheel
from fer_edge.devices.payload import PayloadOrder, make_payload
from fer_edge.devices.wheel_set import PINS, PINS_NUMPY1, WheelOrder, requirements_of
from fer_edge.edge_runtime.board_config import board_config
from fer_edge.edge_runtime.bundle import BUNDLED
from fer_edge.edge_runtime.config import ConfigError, RunConfig, load_config

ROOT = Path(__file__).resolve().parents[1]
BOARDS = ROOT / "tests" / "boards"

INI = """
# the house
door ansible_host=10.0.0.7 ansible_port=2222

[cameras]
pi[01:02].local ansible_user=pi fer_edge_camera=picamera2:0  ; two of them
yard fer_edge_profile=pi5

[cameras:vars]
ansible_ssh_private_key_file=~/.ssh/pis

[house:children]
cameras
"""
YAML = """
all:
  vars: {ansible_user: pi}
  hosts:
    door: {ansible_host: 10.0.0.7, ansible_port: 2222}
  children:
    house:
      children:
        cameras:
          vars: {fer_edge_camera: "picamera2:0"}
          hosts:
            "pi[01:02].local":
            yard: {fer_edge_camera: "0"}
"""
TOML = """
[defaults]
camera = "picamera2:0"
[[host]]
name = "yard"
ssh = "pi@yard.local"
groups = ["out"]
ssh_options = ["-p", "2222"]
config = "yard.toml"
[[host]]
ssh = "door"
camera = "0"
"""


def written(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_an_inventory_as_toml(tmp_path: Path) -> None:
    yard, door = read_inventory(written(tmp_path, "hosts.toml", TOML))
    assert yard == Host("yard", "pi@yard.local", ("-p", "2222"), ("out",))
    assert yard.own == {"camera": "picamera2:0", "config": str(tmp_path / "yard.toml")}
    assert (door.name, door.address, door.own) == ("door", "door", {"camera": "0"})
    assert chosen([yard, door], "out,door") == [yard, door]
    assert chosen([yard, door], "door") == [door]
    with pytest.raises(DataError, match="no board or group is called shed; there are door, out, yard"):
        chosen([yard, door], "shed")


def test_a_bundle_that_ships_goes_by_its_name(tmp_path: Path) -> None:
    """Unless such a path lies beside the inventory; what names a folder is a path."""
    (tmp_path / "mine").mkdir()
    names = ("tiny", "mine", "far/tiny")
    text = "".join(f'[[host]]\nssh = "h{i}"\nbundle = "{name}"\n' for i, name in enumerate(names))
    found = [host.own["bundle"] for host in read_inventory(written(tmp_path, "hosts.toml", text))]
    assert found == ["tiny", str(tmp_path / "mine"), str(tmp_path / "far/tiny")]


def test_an_ansible_inventory_as_ini(tmp_path: Path) -> None:
    hosts = {host.name: host for host in read_inventory(written(tmp_path, "hosts", INI))}
    assert list(hosts) == ["door", "pi01.local", "pi02.local", "yard"]
    assert hosts["door"].address == "10.0.0.7"
    assert hosts["door"].options == ("-p", "2222")
    assert hosts["pi01.local"].address == "pi@pi01.local"
    assert hosts["pi01.local"].options == ("-i", "~/.ssh/pis")
    assert hosts["pi02.local"].groups == ("cameras", "house")
    assert hosts["pi02.local"].own == {"camera": "picamera2:0"}
    assert hosts["yard"].own == {"profile": "pi5"}


def test_an_ansible_inventory_as_yaml(tmp_path: Path) -> None:
    hosts = {host.name: host for host in read_inventory(written(tmp_path, "hosts.yml", YAML))}
    assert list(hosts) == ["door", "pi01.local", "pi02.local", "yard"]
    assert hosts["door"].address == "pi@10.0.0.7"
    assert hosts["pi01.local"].own == {"camera": "picamera2:0"}
    assert hosts["yard"].own == {"camera": "0"}
    assert hosts["yard"].groups == ("all", "house", "cameras")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("h.toml", "[[host]]\nssh = 1\n", "a host without ssh"),
        ("h.toml", '[[host]]\nssh = "a"\ncamra = "0"\n', "unknown key 'camra'"),
        ("h.toml", '[[host]]\nssh = "a"\n[[host]]\nssh = "a"\n', "names a twice"),
        ("h.toml", "[[host]\n", "is not TOML"),
        ("h.yml", "all: [", "is not YAML"),
        ("h.yml", "all: 3", "expected hosts, vars, children"),
        ("h.ini", "[empty]\n", "names no board"),
    ],
)
def test_a_wrong_inventory_is_one_sentence(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        read_inventory(written(tmp_path, name, text))


def hosts(*names: str) -> list[Host]:
    return [Host(name, name) for name in names]


def worked(bad: str) -> Any:
    tried: list[str] = []

    def work(host: Host) -> str:
        tried.append(host.name)
        if host.name in bad:
            raise DeployError(f"{host.name} is broken")
        return host.name.upper()

    return work, tried


def test_a_roll_out_begins_nothing_after_too_many_failures() -> None:
    work, tried = worked("bc")
    outcomes = roll_out(hosts(*"abcde"), work, RollOut(parallel=1, max_failures=2))
    assert [each.state for each in outcomes] == ["ok", "failed", "failed", "not tried", "not tried"]
    assert outcomes[0].result == "A"
    assert outcomes[1].why == "b is broken"
    assert tried == ["a", "b", "c"]


def test_a_canary_that_fails_spares_the_others() -> None:
    work, tried = worked("b")
    outcomes = roll_out(hosts(*"abcd"), work, RollOut(parallel=4, canary=2, max_failures=4))
    assert [each.state for each in outcomes] == ["ok", "failed", "not tried", "not tried"]
    assert tried == ["a", "b"]


def test_a_bug_is_not_a_board_s_failure() -> None:
    def work(host: Host) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        roll_out(hosts("a"), work, RollOut())


def probed(board: str = "pi4", **changed: str) -> Probe:
    """A probe of a board whose files are recorded, with sections of the script's output changed."""
    recorded = json.loads((BOARDS / f"{board}.json").read_text())
    files = recorded["files"]
    raw = {
        "machine": "aarch64", "kernel": "Linux 6.6.51", "os": files["etc/os-release"],
        "model": files["proc/device-tree/model"].strip("\0"),
        "compatible": files["proc/device-tree/compatible"].strip("\0").replace("\0", "\n"),
        "cpuinfo": files["proc/cpuinfo"], "meminfo": files["proc/meminfo"], "bits": "64", "user": "pi", "uid": "1000",
        "path": "/usr/bin/python3",
        "python": '{"version": "3.11.2", "bits": 64, "libc": "2.36", "picamera2": true, "numpy": "1.24.2"}',
        "sudo": "yes", "systemd": "systemd 252 (252.30)", "cameras": "/dev/video0", "clock": "1000",
        "disk": "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/root 30000000 5 20000000 1% /",
        "current": "releases/0.1.0-abc", "end": "",
    } | changed  # fmt: skip
    text = "".join(f"\n@@ {name}\n{value}\n" for name, value in raw.items())
    return read_probe("pi", sections(text), 1000.0)


def test_a_pi_with_picamera2_gets_packages_that_go_with_numpy_1() -> None:
    made = plan(probed(), Wish())
    assert made.match.profile.name == "pi4"
    assert (made.camera, made.engine, made.precision) == ("picamera2:0", "tflite", "int8")
    assert made.system_site_packages
    assert made.wheels == WheelOrder("aarch64", "3.11", (2, 36), ("service", "mqtt", "web"), numpy1=True)
    assert made.probe is not None
    assert made.probe.current == "0.1.0-abc"
    usb = plan(probed(), Wish(camera="v4l2:/dev/video0"))
    assert not usb.system_site_packages
    assert not usb.wheels.numpy1


@pytest.mark.parametrize(
    ("board", "changed", "wish", "says"),
    [
        ("pi4", {"python": ""}, {}, "has no python3"),
        ("pi4", {"python": '{"version": "3.9.2", "bits": 64, "libc": "2.31"}'}, {}, "it needs Python 3.11 or newer"),
        ("pi4", {"python": '{"version": "3.14.0", "bits": 64, "libc": "2.42"}'}, {}, "has Python 3.14.0"),
        ("pi4", {"python": '{"version": "3.11.2", "bits": 32, "libc": "2.36"}'}, {}, "32-bit userland"),
        ("pi4", {"sudo": ""}, {}, "sudo asks for a password"),
        (
            "pi4",
            {"disk": "F\n/dev/root 1 1 1000 1% /"},
            {},
            "has 0 MB free for /opt, and another release needs about 50",
        ),
        ("pi4", {"disk": "F\n/dev/root 1 1 200000 1% /", "current": ""}, {}, "and a first release needs about 500 MB"),
        ("pi4", {}, {"engine": "openvino"}, "cannot run int8 in OpenVINO on ARM"),
        ("zero2w", {}, {"engine": "openvino", "precision": "float32"}, "cannot run OpenVINO"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(
    board: str, changed: dict[str, str], wish: dict[str, Any], says: str
) -> None:
    with pytest.raises(DeployError, match=re.escape(says)):
        plan(probed(board, **changed), Wish(**wish))


def test_a_next_release_needs_less_room_than_a_first() -> None:
    assert plan(probed(disk="F\n/dev/root 1 1 200000 1% /"), Wish()).probe is not None


def test_what_is_odd_is_noted() -> None:
    made = plan(probed(systemd="", clock="8200", cameras=""), Wish(camera="v4l2:/dev/video0"))
    notes = " ".join(made.notes)
    assert "its clock is 120 minutes ahead" in notes
    assert "systemd does not run there" in notes
    assert "the camera /dev/video0 is not there; there are: none" in notes


def test_a_board_that_is_not_seen_gets_what_its_system_has() -> None:
    made, system = plan_unseen("pi4", None, Wish())
    assert (system.python, made.wheels.glibc, made.wheels.numpy1) == ("3.13", (2, 41), False)
    made, _ = plan_unseen("pi4", "bookworm", Wish())
    assert (made.wheels.python, made.wheels.numpy1) == ("3.11", True)
    made, _ = plan_unseen("jetson-orin-nano", None, Wish(camera="rtsp://x"))
    assert made.wheels.python == "3.12"
    with pytest.raises(DeployError, match="there is no system 'sarge'"):
        plan_unseen("pi4", "sarge", Wish())


def test_wheels_are_not_taken_for_a_newer_c_library() -> None:
    platforms = WheelOrder("aarch64", "3.11", (2, 31), ()).platforms()
    assert "manylinux_2_31_aarch64" in platforms
    assert "manylinux_2_34_aarch64" not in platforms
    assert not [name for name in platforms if "x86" in name]


def test_our_own_wheel_has_the_same_bytes_twice_and_every_module(tmp_path: Path) -> None:
    first = write_own_wheel(tmp_path / "a")
    assert first.read_bytes() == write_own_wheel(tmp_path / "b").read_bytes()
    assert requirements_of([first]) == [f"fer-edge=={distribution('fer-edge').version}"]
    names = set(zipfile.ZipFile(first).namelist())
    for folder in ("devices", "edge_runtime", "train", "calibration", "convert", "cli"):
        for path in (ROOT / folder).glob("*.py"):
            assert f"fer_edge/{folder}/{path.name}" in names
    assert "fer_edge/edge_runtime/bundled/int8.tflite" in names
    assert "fer_edge/edge_runtime/bundled_tiny/int8.tflite" in names
    assert not [name for name in names if "__pycache__" in name]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    lines = (line.split("==") for line in path.read_text().splitlines() if "==" in line)
    return {canonical(name): number for name, number in lines}


def test_a_board_gets_the_versions_that_are_tested_here() -> None:
    """Made by tools/edge_pins.py; run it after `make constraints`."""
    board, here = pins(PINS), pins(ROOT / "constraints.txt")
    assert {name: number for name, number in board.items() if name != "pip"}.items() <= here.items()
    other = pins(PINS_NUMPY1)
    assert other.keys() == board.keys()
    assert {name for name in board if board[name] != other[name]} == {"numpy", "opencv-python-headless", "ml-dtypes"}
    assert other["numpy"].startswith("1.")


def test_a_board_that_fetches_for_itself_gets_what_no_index_has_as_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_wheels(order: WheelOrder, folder: Path, say: Any) -> list[Path]:
        folder.mkdir()
        names = ("fer_edge-0.1.0", "pip-26.3", "sdnotify-0.3.2", "numpy-2.4.6")
        for name in names:
            (folder / f"{name}-py3-none-any.whl").write_text(name)
        return sorted(folder.iterdir())

    monkeypatch.setattr("fer_edge.devices.payload.build_wheels", build_wheels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    order = PayloadOrder(
        bundle=BUNDLED, bundle_name="b", bundle_sha256="0", run_toml="", carried={}, profile="pi4",
        wheels=WheelOrder("aarch64", "3.11", (2, 36), ()), memory_max_bytes=None, camera=None, camera_timeout_s=30,
        engine="tflite", precision="int8", online=True,
    )  # fmt: skip
    made = make_payload(order, print)
    assert sorted(path.name.split("-")[0] for path in (made.folder / "wheels").iterdir()) == [
        "fer_edge",
        "pip",
        "sdnotify",
    ]
    assert made.manifest["requirements"] == ["fer-edge==0.1.0", "numpy==2.4.6", "sdnotify==0.3.2"]
    assert make_payload(order, print).id == made.id


def test_a_configuration_for_another_board(tmp_path: Path) -> None:
    for name in ("token", "clip.mp4"):
        (tmp_path / name).write_text("x")
    given = load_config(written(tmp_path, "run.toml", 'source = "replay:clip.mp4?loop=0"\njsonl = "faces.jsonl"\n'
                                                     'web = "0.0.0.0:8080"\nweb_token_file = "token"\n'))  # fmt: skip
    made = board_config(given, {"source": "picamera2:0", "engine": "tflite", "threads": None, "detect_width": 240})
    assert made.carried == {"files/token": tmp_path / "token", "files/clip.mp4": tmp_path / "clip.mp4"}
    there = tmp_path / "there"
    (there / "files").mkdir(parents=True)
    (there / "files" / "clip.mp4").touch()
    read = RunConfig(**load_config(written(there, "run.toml", made.toml)))
    assert read.source == f"replay:{there}/files/clip.mp4?loop=0"
    assert read.bundle == there / "bundle"
    assert read.web_token_file == there / "files" / "token"
    assert str(read.jsonl) == "/var/lib/fer-edge/faces.jsonl"
    assert (read.detect_width, read.threads, read.quiet) == (240, None, True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"show": True}, "a service has no screen"),
        ({"mqtt_password_file": Path("nowhere")}, "mqtt_password_file names nowhere, which is not there"),
        ({"threads": 1000}, "threads is 1000"),
    ],
)
def test_a_configuration_that_no_service_can_have(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        board_config(given, {"source": "0"})
