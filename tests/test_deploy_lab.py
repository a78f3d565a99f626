"""`fer-edge deploy` to boards of tools/board_lab.sh: aarch64, systemd as process 1, 512 MB, a network camera. Last,
to one of tools/board_vm.sh: a whole machine with its own kernel that says it is a Raspberry Pi, with a V4L2 camera.

`pytest -m lab`: needs root on Debian and takes hours, since every program of a board is emulated. In the order of the
file: each test goes on with the board as the one before left it.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.files import sha256_of
from fer_edge.edge_runtime.bundle import BUNDLED

pytestmark = [pytest.mark.lab, pytest.mark.timeout(7200)]
ROOT = Path(__file__).resolve().parents[1]
BOARDS, MACHINES = ROOT / "tools" / "board_lab.sh", ROOT / "tools" / "board_vm.sh"
ADDRESS, PORT = "10.77.0.1", 8471
SLOW = ("--config", "board.toml", "--bench-s", "1")
CAMERA = ("--camera", f"http://{ADDRESS}:{PORT}/stream.mjpg", *SLOW)
BOARD_TOML = 'camera_timeout_s = 300\nthreads = 1\nweb = "0.0.0.0:8080"\nweb_token_file = "token"\n'
"""An emulated board takes long to its first frame, and systemd waits twice the camera's time for it."""
VIVID = "v4l2:/dev/video0"
TOKEN = "0123456789abcdef0123456789abcdef"
KILLS = 10
"""So often a deployment is killed, at moments drawn by chance."""
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Lab:
    """The workstation: a folder with a cache of its own, and the lab's ssh configuration."""

    home: Path
    script: Path = BOARDS

    @property
    def config(self) -> Path:
        """For ssh -F, with every board that there is now."""
        path = self.home / "ssh_config"
        path.write_text(tool("ssh-config", script=self.script).stdout)
        return path

    def words(self, *words: str | Path) -> list[str]:
        """The command line of a deployment."""
        return [sys.executable, "-u", "-m", "fer_edge", "deploy", *map(str, words), "--ssh-config", str(self.config)]

    def env(self) -> dict[str, str]:
        """Of the workstation."""
        return os.environ | {"XDG_CACHE_HOME": str(self.home / "cache"), "COLUMNS": "120", "NO_COLOR": "1"}

    def deploy(self, *words: str | Path) -> Done:
        """`fer-edge deploy WORDS`."""
        done = subprocess.run(
            self.words(*words), capture_output=True, text=True, check=False, timeout=7200, cwd=self.home, env=self.env()
        )
        print(*words, done.stdout, done.stderr, sep="\n")  # pytest -rP shows the time of each step
        return done

    def there(self, board: str, command: str) -> str:
        """What a command prints on a board; its exit code does not matter."""
        words = ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", board, command]
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL
        ).stdout.strip()

    def status(self, board: str) -> dict[str, Any]:
        """`--status --json`."""
        done = self.deploy(board, "--status", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def labels(self, board: str) -> bool:
        """Whether the service labels frames: it is up, and its status line counts on."""
        seen = set()
        for _ in range(60):
            service = self.status(board)["service"]
            if service["active"] == "active":
                seen.add(service["status_text"])
            if len(seen) > 1:
                return True
            time.sleep(2)
        return False

    def whole(self, board: str) -> str | None:
        """The id of the release that the board runs, None for none; fails unless the board is in one piece."""
        at = "/opt/fer-edge"
        link = self.there(board, f"readlink {at}/current")
        if not link:
            return None
        assert self.there(board, f"test -f {at}/{link}/installed.json && echo whole") == "whole"
        python = f"{at}/current/venv/bin/python -P -m fer_edge --version"
        assert self.there(board, python).startswith("fer-edge "), "the release does not start"
        return link.removeprefix("releases/")


def tool(*words: str, script: Path = BOARDS) -> Done:
    """board_lab.sh, or board_vm.sh."""
    done = subprocess.run([script, *words], capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A workstation."""
    return workstation(tmp_path_factory.mktemp("workstation"), BOARDS)


def workstation(home: Path, script: Path) -> Lab:
    """A folder with what is deployed from it, for the boards of one of the two tools."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        pytest.skip("the board lab needs root on Debian")
    tool("build", script=script)
    (home / "board.toml").write_text(BOARD_TOML)
    (home / "token").write_text(TOKEN + "\n")
    return Lab(home, script)


@pytest.fixture(scope="module")
def board(lab: Lab) -> Iterator[str]:
    """A Raspberry Pi 4 of 512 MB, fresh."""
    tool("up", "lab-pi", "--opt", "1200M")
    sample = ROOT / "edge_runtime" / "sample" / "astronaut.jpg"
    words = [sys.executable, ROOT / "tools" / "mjpeg_camera.py", sample, "--every", "1", "--port", str(PORT)]
    camera = subprocess.Popen([*map(str, words), "--address", ADDRESS], stdout=subprocess.PIPE)
    assert camera.stdout is not None
    assert camera.stdout.readline(), "the camera did not start"
    yield "lab-pi"
    camera.kill()
    camera.wait()
    tool("down", "lab-pi")


@pytest.fixture(scope="module")
def first(lab: Lab, board: str) -> str:
    """The id of the first release."""
    done = lab.deploy(board, *CAMERA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "golden vectors hold, 30 frames from the camera" in done.stdout
    found: str = lab.status(board)["current"]["id"]
    return found


def bundle(folder: Path, name: str, *, spoiled: bool = False) -> Path:
    """The bundle that ships under another name, so that it is another release; spoiled: with wrong golden vectors."""
    shutil.copytree(BUNDLED, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["name"] = name
    if spoiled:
        path = folder / "golden.npz"
        with np.load(path) as arrays:
            values = {key: value + 3 if key.startswith("logits") else value for key, value in arrays.items()}
        np.savez(path, **values)
        manifest["golden"] |= {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_the_dry_run_names_the_board(lab: Lab, board: str) -> None:
    done = lab.deploy(board, *CAMERA, "--dry-run")
    assert done.returncode == 0, done.stderr
    for said in ("Raspberry Pi 4 Model B", "profile     pi4", "A72", "systemd 252"):
        assert said in done.stdout


def test_a_deployed_board_labels_frames(lab: Lab, board: str, first: str) -> None:
    assert lab.whole(board) == first
    assert lab.labels(board)
    status = lab.status(board)
    assert status["service"]["enabled"] is True
    assert status["machine"]["board"].startswith("Raspberry Pi 4")
    assert lab.there(board, "ps -o user= -C python3.11 | sort -u") == "fer-edge"
    logs = lab.deploy(board, "--logs")
    assert logs.returncode == 0, logs.stderr
    assert "fer-edge" in logs.stdout


def test_the_live_page_is_there_for_who_has_the_token(lab: Lab, board: str, first: str) -> None:
    """Its token lies where the service's user alone reads it."""
    address = lab.there(board, "hostname -I").split()[0]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://{address}:8080/v1/status", timeout=60)
    asked = urllib.request.Request(f"http://{address}:8080/v1/status", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert json.load(answer)["state"] == "live"


def test_the_service_comes_back_when_it_is_killed(lab: Lab, board: str, first: str) -> None:
    before = lab.status(board)["service"]["main_pid"]
    lab.there(board, "sudo systemctl kill -s KILL fer-edge")
    assert lab.labels(board)
    assert lab.status(board)["service"]["main_pid"] != before


def test_bench_measures_there(lab: Lab, board: str, first: str, tmp_path: Path) -> None:
    done = lab.deploy(board, "--bench", "--bench-s", "1", "--out", tmp_path / "bench.json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "bench.json").read_text())
    assert "tflite/int8" in {each["variant"] for each in report["variants"]}


def test_a_new_bundle_and_back(lab: Lab, board: str, first: str, tmp_path: Path) -> None:
    done = lab.deploy(board, *CAMERA, "--bundle", bundle(tmp_path / "b", "second"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.status(board)["current"]["bundle"]["name"] == "second"
    assert lab.labels(board)
    back = lab.deploy(board, "--rollback")
    assert back.returncode == 0, back.stdout + back.stderr
    assert lab.whole(board) == first
    assert lab.labels(board)


def test_a_bundle_that_fails_its_self_test(lab: Lab, board: str, first: str, tmp_path: Path) -> None:
    done = lab.deploy(board, *CAMERA, "--bundle", bundle(tmp_path / "b", "bad", spoiled=True))
    assert done.returncode == 1
    assert "golden vectors differ" in done.stderr
    assert lab.whole(board) == first
    assert lab.labels(board)


def test_a_reboot(lab: Lab, board: str, first: str) -> None:
    tool("reboot", board)
    assert lab.labels(board)
    assert lab.whole(board) == first


@pytest.mark.parametrize("side", ["workstation", "agent"])
def test_killed_at_random_moments(lab: Lab, board: str, first: str, tmp_path: Path, side: str) -> None:
    """Half of KILLS each. Old or new, the board has one whole release then, and the next try ends well."""
    chance = random.Random(side)
    for time_no in range(KILLS // 2):
        words = (*CAMERA, "--bundle", bundle(tmp_path / f"b{time_no}", f"{side}-{time_no}"))
        process = subprocess.Popen(
            lab.words(board, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, cwd=lab.home, env=lab.env(),
        )  # fmt: skip
        if side == "workstation":
            time.sleep(chance.uniform(2, 180))
            os.killpg(process.pid, signal.SIGKILL)
        else:
            assert process.stdout is not None
            assert any("recover" in line for line in process.stdout), "the agent never began"
            time.sleep(chance.uniform(0, 120))
            lab.there(board, "sudo pkill -KILL -f '[b]oard.pyz install'")
        said, _ = process.communicate(timeout=3600)
        assert lab.whole(board) is not None, said
        assert again_until_free(lab, board, *words).returncode == 0, said
        status = lab.status(board)
        assert status["journal"] is None
        assert status["current"]["bundle"]["name"] == f"{side}-{time_no}"
        assert int(lab.there(board, "ls /opt/fer-edge/releases | wc -l")) == len(status["releases"]) <= 3
        assert lab.labels(board)


def again_until_free(lab: Lab, board: str, *words: str | Path) -> Done:
    """Deploy; what was cut off may still be undoing when the first try comes."""
    for _ in range(30):
        done = lab.deploy(board, *words)
        if "is under way" not in done.stderr:
            break
        time.sleep(2)
    return done


def test_a_power_cut_in_the_middle(lab: Lab, board: str, first: str, tmp_path: Path) -> None:
    """The board repairs itself at boot, before anybody deploys again."""
    before = lab.whole(board)
    process = subprocess.Popen(
        lab.words(board, *CAMERA, "--bundle", bundle(tmp_path / "b", "power")), stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, cwd=lab.home, env=lab.env(),
    )  # fmt: skip
    assert process.stdout is not None
    assert any("settings" in line for line in process.stdout), "the deployment did not come so far"
    tool("cut", board)
    process.communicate(timeout=600)
    assert process.returncode == 1
    tool("up", board)
    assert lab.labels(board)
    assert lab.whole(board) == before
    assert lab.status(board)["journal"] is None


def test_a_full_disk(lab: Lab, board: str, first: str, tmp_path: Path) -> None:
    before = lab.whole(board)
    lab.there(board, "sudo sh -c 'cat /dev/zero > /opt/fills' 2>/dev/null; sync")
    done = lab.deploy(board, *CAMERA, "--bundle", bundle(tmp_path / "b", "full"))
    assert done.returncode == 1
    assert " MB free" in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.whole(board) == before
    assert lab.labels(board)
    lab.there(board, "sudo rm /opt/fills")
    done = lab.deploy(board, *CAMERA, "--bundle", tmp_path / "b")
    assert done.returncode == 0, done.stdout + done.stderr


def test_three_boards_one_of_them_broken(lab: Lab, board: str, first: str, tmp_path: Path) -> None:
    others = ("lab-five", "lab-old")
    try:
        tool("up", others[0], "--as", "pi5")
        tool("up", others[1])
        lab.there(others[1], "sudo rm /etc/sudoers.d/010_pi-nopasswd")
        inventory = tmp_path / "hosts.toml"
        rows = "".join(f'[[host]]\nssh = "{name}"\n' for name in (board, others[1], others[0]))
        inventory.write_text(f'[defaults]\ncamera = "{CAMERA[1]}"\n{rows}')
        done = lab.deploy("--inventory", inventory, *SLOW, "--max-failures", "2", "--parallel", "1")
        assert done.returncode == 1
        states = {words[0]: words[1] for line in done.stdout.splitlines() if len(words := line.split()) > 1}
        assert {name: states[name] for name in (board, *others)} == {board: "ok", others[0]: "ok", others[1]: "failed"}
        assert "sudo asks for a password" in done.stdout
        assert lab.labels(others[0])
    finally:
        tool("down", *others)


def test_remove_leaves_a_board_as_it_was(lab: Lab, board: str, first: str) -> None:
    done = lab.deploy(board, "--remove", "--purge")
    assert done.returncode == 0, done.stdout + done.stderr
    left = "ls -d /opt/fer-edge /var/lib/fer-edge /etc/systemd/system/fer-edge* 2>/dev/null; getent passwd fer-edge"
    assert lab.there(board, left) == ""
    assert lab.there(board, "systemctl is-system-running") == "running"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The workstation of the whole machine."""
    return workstation(tmp_path_factory.mktemp("machines"), MACHINES)


@pytest.fixture(scope="module")
def machine(machines: Lab) -> Iterator[str]:
    """A whole machine, fresh."""
    tool("up", "lab-vm", script=MACHINES)
    yield "lab-vm"
    tool("down", "lab-vm", script=MACHINES)


@pytest.fixture(scope="module")
def release(machines: Lab, machine: str) -> str:
    """The id of the machine's first release, on its V4L2 camera."""
    done = machines.deploy(machine, "--camera", VIVID, *SLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "golden vectors hold, 30 frames from the camera" in done.stdout
    found: str = machines.status(machine)["current"]["id"]
    return found


def test_a_whole_machine_is_a_raspberry_pi_with_a_v4l2_camera(machines: Lab, machine: str, release: str) -> None:
    assert machines.there(machine, "tr -d '\\0' < /proc/device-tree/model").startswith("Raspberry Pi 4 Model B")
    assert "vivid" in machines.there(machine, "cat /sys/class/video4linux/video0/name")
    assert machines.whole(machine) == release
    assert machines.labels(machine)


def test_power_cut_in_a_deployment_leaves_a_whole_machine_one_release(
    machines: Lab, machine: str, release: str, tmp_path: Path
) -> None:
    """What was not on the disk is lost with the machine's memory, other than in a container."""
    words = ("--camera", VIVID, *SLOW, "--bundle", bundle(tmp_path / "b", "power"))
    process = subprocess.Popen(
        machines.words(machine, *words), stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT,
        cwd=machines.home, env=machines.env(),
    )  # fmt: skip
    assert process.stdout is not None
    assert any("settings" in line for line in process.stdout), "the deployment did not come so far"
    tool("cut", machine, script=MACHINES)
    process.communicate(timeout=600)
    assert process.returncode == 1
    tool("up", machine, script=MACHINES)
    assert machines.whole(machine) == release
    assert machines.labels(machine)
    assert machines.status(machine)["journal"] is None
