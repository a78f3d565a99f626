"""`fer-edge deploy` and `package` on a real sshd with real environments: what is sent, proven, switched to, undone.

The board is sshd on loopback in a mount namespace with its own /opt, /etc and /var/lib: real ssh, this architecture,
no systemd. Needs root.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.files import sha256_of
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle

_SSHD = "/usr/sbin/sshd"
_START = """
mount --make-rprivate /
mount -t tmpfs -o size=3g tmpfs /opt
for d in etc var/lib; do
  mkdir -p /opt/.over/$d/upper /opt/.over/$d/work
  mount -t overlay overlay -o lowerdir=/$d,upperdir=/opt/.over/$d/upper,workdir=/opt/.over/$d/work /$d
done
exec "$0" "$@"
"""


@dataclass(frozen=True)
class SshBoard:
    """`config` is for `ssh -F` and `--ssh-config`, `host` its alias there."""

    folder: Path
    config: Path
    host: str

    def run(self, command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A command there."""
        words = ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", self.host, command]
        return subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=300)

    def lines(self, command: str) -> list[str]:
        """What a command prints there."""
        return self.run(command).stdout.decode().split("\n")[:-1]


def start(folder: Path, host: str = "board") -> tuple[SshBoard, subprocess.Popen[bytes]]:
    """Start one; skips where this machine does not allow it."""
    if os.geteuid() != 0:
        pytest.skip("a board on loopback needs root, for its own /opt")
    for tool, package in (("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"), (_SSHD, "openssh-server")):
        if shutil.which(tool) is None:
            pytest.skip(f"{package} is not installed")
    folder.chmod(0o755)
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "key.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kind, key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPidFile none\nStrictModes no\n"
        "PermitRootLogin yes\nMaxStartups 50\n"
    )
    config = folder / "config"
    config.write_text(
        f"Host {host} stranger keyless\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentitiesOnly yes\n"
        f"Host {host} stranger\n  IdentityFile {folder}/key\n"
        f"Host stranger\n  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
        f"Host keyless\n  IdentityFile {folder}/none\n"
        f"Host *\n  UserKnownHostsFile {folder}/known\n"
        "Host gone\n  HostName 127.0.0.1\n  Port 1\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    command = ["unshare", "-m", "sh", "-euc", _START, _SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    board = SshBoard(folder, config, host)
    for _ in range(100):
        if board.run("true").returncode == 0:
            return board, process
        if process.poll() is not None:
            pytest.skip(f"no namespace with its own /opt here: {(folder / 'log').read_text().strip()[-200:]}")
        time.sleep(0.1)
    process.kill()
    raise AssertionError((folder / "log").read_text())


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    made, process = start(tmp_path_factory.mktemp("board"))
    yield made
    process.kill()
    process.wait()


Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def deploy(board: SshBoard, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """`deploy("board", "--status")`, from a workstation with a cache of its own."""
    home = tmp_path_factory.mktemp("workstation")

    def run(*words: str | Path, command: str = "deploy") -> subprocess.CompletedProcess[str]:
        ssh = ["--ssh-config", str(board.config)] if command == "deploy" else []
        return subprocess.run(
            [sys.executable, "-m", "fer_edge", command, *map(str, words), *ssh],
            capture_output=True, text=True, check=False, timeout=900, cwd=home, stdin=subprocess.DEVNULL,
            env=os.environ | {"XDG_CACHE_HOME": str(home / "cache"), "COLUMNS": "120", "NO_COLOR": "1"},
        )  # fmt: skip

    return run


QUICK = ("--bench-s", "1")
CAMERA = ("--camera", "fake:?faces=2", *QUICK)


def status(deploy: Deploy) -> dict[str, Any]:
    done = deploy("board", "--status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def first(deploy: Deploy) -> dict[str, Any]:
    """The board's status after the first deployment."""
    done = deploy("board", *CAMERA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "golden vectors hold, 30 frames from the camera" in done.stdout
    assert "offline" in done.stdout
    return status(deploy)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(board: SshBoard, deploy: Deploy) -> None:
    done = deploy("board", *CAMERA, "--dry-run")
    assert done.returncode == 0, done.stderr
    for said in ("profile     ", "tflite/int8 on frames of fake:?faces=2", "now there   nothing", "no systemd"):
        assert said in done.stdout
    assert board.lines("ls -A /opt") == [".over"]


def test_a_release_is_whole_and_what_was_asked_for(board: SshBoard, first: dict[str, Any]) -> None:
    assert first["current"]["bundle"] == {"name": Bundle.open().name, "sha256": sha256_of(BUNDLED / "bundle.json")}
    assert (first["current"]["engine"], first["current"]["precision"]) == ("tflite", "int8")
    assert first["journal"] is None
    assert board.lines("readlink /opt/fer-edge/current") == [f"releases/{first['current']['id']}"]
    python = "/opt/fer-edge/current/venv/bin/python -P -m fer_edge"
    assert board.lines(f"{python} --version")[0].startswith("fer-edge ")
    heavy = (
        "import importlib.util as u; print([n for n in ('tensorflow', 'keras', 'sklearn', 'pip') if u.find_spec(n)])"
    )
    assert board.lines(f'/opt/fer-edge/current/venv/bin/python -P -c "{heavy}"') == ["[]"]
    # The service's own words, by its own configuration and its own user.
    run = "setpriv --reuid fer-edge --regid fer-edge --clear-groups env HOME=/var/lib/fer-edge"
    seen = board.run(f"cd / && {run} {python} run --config /opt/fer-edge/current/run.toml --max-frames 5")
    assert seen.returncode == 0, seen.stderr.decode()
    # What may hold a password is nobody else's to read.
    assert board.lines("stat -c '%a %U %G' /opt/fer-edge/current/run.toml") == ["640 root fer-edge"]
    assert board.lines("ls -A /opt/fer-edge/incoming") == []


def test_the_same_again_changes_nothing(deploy: Deploy, first: dict[str, Any]) -> None:
    done = deploy("board", *CAMERA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the release is there already" in done.stdout
    assert "environment" not in done.stdout
    assert status(deploy)["current"] == first["current"]


def test_a_second_release_brings_only_what_changed_and_rolls_back(
    board: SshBoard, deploy: Deploy, first: dict[str, Any]
) -> None:
    done = deploy("board", "--camera", "fake:?faces=1", *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "send        1 file, 0.0 MB" in done.stdout
    assert f"1 package installed, the others shared with {first['current']['id']}" in done.stdout
    second = status(deploy)
    assert second["current"]["id"] != first["current"]["id"]
    size = "du -sk --exclude=store /opt/fer-edge | cut -f1"
    assert int(board.lines(size)[0]) < 1.5 * first["releases"][0]["bytes"] / 1024
    back = deploy("board", "--rollback")
    assert back.returncode == 0, back.stdout + back.stderr
    assert back.stdout.splitlines()[-1] == f"board runs {first['current']['id']}"
    assert status(deploy)["current"]["id"] == first["current"]["id"]


def spoiled(folder: Path) -> Path:
    """The bundle that ships, with golden vectors that no engine gives, and hashes that hold."""
    shutil.copytree(BUNDLED, folder)
    with np.load(folder / "golden.npz") as arrays:
        values = {name: arrays[name] for name in arrays.files}
    np.savez(folder / "golden.npz", **{name: v + 3 if name.startswith("logits") else v for name, v in values.items()})
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["golden"] |= {"sha256": sha256_of(folder / "golden.npz"), "bytes": (folder / "golden.npz").stat().st_size}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_a_bundle_that_fails_its_self_test_leaves_the_old_release(
    deploy: Deploy, first: dict[str, Any], tmp_path: Path
) -> None:
    before = status(deploy)["current"]
    done = deploy("board", *CAMERA, "--bundle", spoiled(tmp_path / "spoiled"))
    assert done.returncode == 1
    assert "golden vectors differ" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    after = status(deploy)
    assert after["current"] == before
    assert after["journal"] is None


def test_a_camera_that_gives_nothing_leaves_the_old_release(deploy: Deploy, first: dict[str, Any]) -> None:
    before = status(deploy)["current"]
    done = deploy("board", "--camera", "v4l2:/dev/video77", *QUICK)
    assert done.returncode == 1
    assert "note  the camera /dev/video77 is not there" in done.stdout
    assert "the camera gives no frames" in done.stderr
    assert status(deploy)["current"] == before


def test_killed_and_run_again(board: SshBoard, deploy: Deploy, first: dict[str, Any], tmp_path: Path) -> None:
    """The workstation dies without a word; the second run finishes, and nothing half done stays.

    test_board_agent.py kills the board's side, in every step.
    """
    before = status(deploy)["current"]
    camera = ("--camera", "fake:?faces=1&seed=4", *QUICK)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "fer_edge", "deploy", "board", "--ssh-config", str(board.config), *camera],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": cache_of(deploy)},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[1:2] == ["store"]:  # the next step is the longest: the environment
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert status(deploy)["current"]["id"] in (before["id"], *[each["id"] for each in status(deploy)["releases"]])
    done = deploy("board", *camera)
    for _ in range(20):  # what was cut off may still be undoing
        if "is under way" not in done.stderr:
            break
        time.sleep(1)
        done = deploy("board", *camera)
    assert done.returncode == 0, done.stdout + done.stderr
    after = status(deploy)
    assert after["journal"] is None
    assert all(each["bytes"] > 1e6 for each in after["releases"])
    assert board.lines("ls /opt/fer-edge/releases | wc -l") == [str(len(after["releases"]))]


def cache_of(deploy: Deploy) -> str:
    """The workstation's cache; a second process of it has to find the same."""
    closure: Any = deploy
    return str(
        next(cell.cell_contents for cell in closure.__closure__ if isinstance(cell.cell_contents, Path)) / "cache"
    )


def test_bench_brings_its_report_home(deploy: Deploy, first: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    done = deploy("board", "--bench", "--bench-s", "1", "--out", path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_text())
    assert {"tflite/int8", "tflite/float32"} <= {each["variant"] for each in report["variants"]}
    assert str(path) in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "give one HOST, or --inventory FILE"),
        (("board", "--rollback", "--status"), 2, "are two things"),
        (("board", "--purge"), 2, "--purge goes with --remove"),
        (("gone",), 1, "cannot reach gone: nothing listens there"),
        (("keyless",), 1, "cannot reach keyless: it takes none of your keys"),
        (("stranger",), 1, "its host key is not the known one"),
        (("no-such-host.invalid",), 1, "no such name is known"),
        (("board", "--profile", "pi9"), 1, "there is no profile 'pi9'"),
        (("board", "--bundle", "nowhere"), 1, "nowhere does not exist"),
        (("board", "--engine", "openvino", "--precision", "float32", *CAMERA), 1, "has no openvino/float32"),
        (("board", "--config", "nowhere.toml"), 1, "cannot read nowhere.toml"),
        (("board", "--sign", "nowhere.pem", *CAMERA), 1, "nowhere.pem does not exist; make a key"),
        (("board", "--inventory", "x.toml"), 2, "give one HOST, or --inventory FILE"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(deploy: Deploy, words: tuple[str, ...], code: int, says: str) -> None:
    done = deploy(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_fleet_stops_at_its_failure_budget(
    board: SshBoard, deploy: Deploy, first: dict[str, Any], tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.toml"
    rows = "".join(f'[[host]]\nname = "{name}"\nssh = "{ssh}"\n' for name, ssh in
                   (("hall", "board"), ("door", "gone"), ("yard", "gone"), ("shed", "gone")))  # fmt: skip
    inventory.write_text('[defaults]\ncamera = "fake:?faces=2"\n' + rows)
    done = deploy("--inventory", inventory, *QUICK, "--parallel", "1", "--max-failures", "2")
    assert done.returncode == 1
    states = [line.split()[:2] for line in done.stdout.splitlines() if line.split()[:1] and line.split()[0] in
              ("hall", "door", "yard", "shed")]  # fmt: skip
    assert states == [["hall", "ok"], ["door", "failed"], ["yard", "failed"], ["shed", "not"]]
    inventory.write_text('[[host]]\nssh = "gone"\n[[host]]\nssh = "board"\n')
    done = deploy("--inventory", inventory, *CAMERA)
    assert done.returncode == 1
    assert "the canary gone failed" in done.stdout
    done = deploy("--inventory", inventory, "--status", "--json")
    assert [each["state"] for each in json.loads(done.stdout)] == ["failed", "ok"]


def readme_commands() -> list[str]:
    """What the README says about deploying, in its order."""
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    starts = ("fer-edge deploy ", "fer-edge package ")
    return [line.partition("  #")[0].strip() for line in text.splitlines() if line.startswith(starts)]


def test_the_readme_s_commands_run_in_their_order(deploy: Deploy, first: dict[str, Any], tmp_path: Path) -> None:
    """The Pi is the board on loopback, its camera a drawn one. The last takes everything off again."""
    found = readme_commands()
    assert len(found) >= 9
    shutil.copytree(BUNDLED, tmp_path / "bundles" / "cnn-edge")
    for line in found:
        command, *words = line.split()[1:]
        words = [
            {"pi@raspberrypi.local": "board", "picamera2:0": "fake:?faces=3"}.get(word, word).replace(
                "bundles/", f"{tmp_path}/bundles/"
            )
            for word in words
        ]
        others = {"--status", "--logs", "--rollback", "--remove", "--bench"}
        if command == "deploy" and not others & set(words) and "--camera" not in words:
            words += ["--camera", "fake:?faces=2"]
        done = deploy(*words, *(QUICK if "--bench" in words or not others & set(words) else ()), command=command)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_a_signed_archive_installs_itself_and_nothing_else_does_from_then_on(
    board: SshBoard, deploy: Deploy, tmp_path: Path
) -> None:
    key, system = tmp_path / "key.pem", system_of_this_machine(board)
    assert deploy("--new-key", key, command="package").returncode == 0
    assert key.stat().st_mode & 0o777 == 0o600
    made = deploy(
        "--for", "x86-64", "--system", system, *CAMERA, "--sign", key, "--out", tmp_path / "a.tar", command="package"
    )
    assert made.returncode == 0, made.stderr
    done = install(board, tmp_path / "a.tar")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert "the signature holds" in done.stdout.decode()
    before = status(deploy)
    assert before["signed"]
    unsigned = deploy("board", "--camera", "fake:?faces=3", *QUICK)
    assert unsigned.returncode == 1
    assert "the payload is not signed" in unsigned.stderr
    done = install(board, altered(tmp_path / "a.tar", "payload/run.toml", b"fake:?faces=2", b"fake:?faces=9"))
    assert done.returncode == 1
    assert "run.toml is not the file that release.json lists" in done.stdout.decode()
    done = install(
        board, altered(tmp_path / "a.tar", "payload/release.json", b'"engine": "tflite"', b'"engine": "onnx"')
    )
    assert done.returncode == 1
    assert "the signature does not hold" in done.stdout.decode()
    assert status(deploy)["current"] == before["current"]


def system_of_this_machine(board: SshBoard) -> str:
    """The name of what runs here, if it is one that packages are made for."""
    version = board.lines("/usr/bin/python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
    found = {"3.11": "bookworm", "3.12": "ubuntu-24.04", "3.13": "trixie"}.get(version[0] if version else "")
    if found is None or os.uname().machine != "x86_64":
        pytest.skip("packages are made for other systems than this machine's")
    return found


def install(board: SshBoard, archive: Path) -> subprocess.CompletedProcess[bytes]:
    """Carry an archive to the board and run its `install`."""
    script = "rm -rf /opt/card && mkdir /opt/card && cd /opt/card && tar x && sh fer-edge-*/install"
    return board.run(script, stdin=archive.read_bytes())


def altered(archive: Path, name: str, old: bytes, new: bytes) -> Path:
    """A copy of the archive with one file changed."""
    import io

    made = archive.with_name("altered.tar")
    with tarfile.open(archive) as source, tarfile.open(made, "w") as target:
        for info in source:
            file = source.extractfile(info)
            assert file is not None
            data = file.read()
            if info.name.endswith(name):
                assert old in data
                data = data.replace(old, new)
                info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    return made


def test_remove_leaves_nothing(board: SshBoard, deploy: Deploy) -> None:
    done = deploy("board", "--remove")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed; /var/lib/fer-edge is kept (--purge removes it, too)" in done.stdout
    done = deploy("board", "--remove", "--purge")  # as it was told to
    assert done.returncode == 0, done.stdout + done.stderr
    assert board.run("test -e /opt/fer-edge || test -e /var/lib/fer-edge || id fer-edge").returncode != 0
    done = deploy("board", "--status")
    assert done.returncode == 1
    assert done.stderr == "fer-edge: nothing is deployed on board; run: fer-edge deploy board\n"
