"""The agent on a board, from the outside: payloads that it installs, refuses, undoes, and finishes after a kill.

The payloads are whole but for the program in them: a wheel named fer-edge whose commands answer as the real ones do and
fail where the bundle's behaviour.json says so. venv, links and signatures are real, and so is pip where it matters;
elsewhere a quick one unpacks the wheels, since the real one takes seconds to start. systemctl is a script.
"""

import ast
import ensurepip
import getpass
import hashlib
import itertools
import json
import os
import platform
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import fer_edge.devices
from fer_edge.devices.board_zipapp import write_agent
from fer_edge.devices.machine import read_text
from fer_edge.devices.signing import create_key, public_pem, sign

DEVICES = Path(fer_edge.devices.__path__[0])
STEPS = ("recover", "verify", "space", "store", "environment", "settings", "selftest", "switch", "service", "prune")

PROGRAM = '''
"""Answers as fer-edge does; the bundle's behaviour.json says what goes wrong."""
import json, os, sys, time, tomllib
from pathlib import Path

words = sys.argv[1:]
command = words[0]
def after(name):
    return words[words.index(name) + 1]
if command == "doctor":
    bundle = Path(words[1])
elif command == "bench":
    bundle = Path(after("--bundle"))
else:
    config = Path(after("--config"))
    settings = tomllib.loads(config.read_text())
    bundle = config.parent / settings["bundle"]
does = json.loads((bundle / "behaviour.json").read_text())
time.sleep(does.get("sleep_s", {}).get(command, 0))
if command == "doctor":
    bad = does.get("golden") == "bad"
    finding = {"subject": "tflite/int8", "state": "bad" if bad else "ok",
               "text": "golden vectors differ: 3 labels of 64" if bad else "64 golden vectors come out", "fix": None}
    print(json.dumps([{"subject": "temperature", "state": "bad", "text": "81 C", "fix": None}, finding]))
    sys.exit(1)
if command == "run":
    if any(key.startswith("mqtt") or key in ("web", "jsonl") for key in settings):
        sys.exit("fer-edge: the self-test would give something out")
    if does.get("camera") == "none":
        sys.exit("fer-edge: there is no camera /dev/video0; cameras here: none")
    Path(after("--jsonl")).write_text("{}\\n" * (0 if does.get("camera") == "empty" else 30))
if command == "bench":
    if does.get("bench") == "crash":
        os.kill(os.getpid(), 11)
    Path(after("--json")).write_text(json.dumps({"schema": 2, "words": words, "uid": os.getuid(), "variants": [
        {"id": "tflite/int8", "latency": {"p50": {"ms": 1.5}}}]}))
'''

SYSTEMD_RUN = """
import json, subprocess, sys
from pathlib import Path
FOLDER, words = Path({folder!r}), sys.argv[1:]
if json.loads((FOLDER / "state.json").read_text())["guards"]:
    unit = next(word for word in words if word.startswith("--unit=")).removeprefix("--unit=")
    nothing = subprocess.DEVNULL
    guard = subprocess.Popen(words[4:], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    (FOLDER / unit).write_text(str(guard.pid))
"""

SYSTEMCTL = """
import json, os, signal, sys, re, time
from pathlib import Path
FOLDER, UNITS = Path({folder!r}), Path({units!r})
words = sys.argv[1:]
with (FOLDER / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
path = FOLDER / "state.json"
state = json.loads(path.read_text())
def save():  # at once: a test may look at any time
    path.with_suffix(".new").write_text(json.dumps(state))
    path.with_suffix(".new").replace(path)
verb, rest = words[0], [word for word in words[1:] if not word.startswith("-")]
unit = rest[0] if rest else ""
def start():
    text = (UNITS / unit).read_text()
    config = Path(re.search(r"--config (\\S+)", text)[1])
    does = json.loads((config.parent / "bundle/behaviour.json").read_text())
    state["runs"] = config.parent.resolve().name
    state["active"] = does.get("service", "active")
    save()
    if state["active"] == "slow":
        time.sleep(60)
    return 1 if state["active"] == "failed" else 0
if verb == "--version":
    print("systemd 252 (252.39)")
elif verb == "is-system-running":
    print(state["system"])
elif verb == "is-enabled":
    print("enabled" if unit in state["enabled"] else "disabled")
elif verb == "enable":
    assert (UNITS / unit).exists(), "Unit file does not exist."
    state["enabled"] = sorted({{*state["enabled"], unit}})
    save()
elif verb == "disable":
    state["enabled"] = [name for name in state["enabled"] if name != unit]
    if "--now" in words and unit == "fer-edge.service":
        state["active"], state["runs"] = "inactive", None
    save()
elif verb == "stop" and "-guard-" in unit:
    if (FOLDER / unit).exists():
        os.kill(int((FOLDER / unit).read_text()), signal.SIGTERM)
elif verb == "stop":
    state["active"], state["runs"] = "inactive", None
    save()
elif verb == "restart":
    sys.exit(start())
elif verb == "start":
    sys.exit(0 if state["active"] == "active" else start())
elif verb == "show":
    active, again = state["active"], 0
    if active == "dies":  # came up, and is in its second life the next time that somebody looks
        state["looks"] = again = state.get("looks", 0) + 1
        active = "active"
        save()
    print(f"ActiveState={{active}}\\nSubState=running\\nUnitFileState=enabled\\nNRestarts={{again}}\\nMainPID=7")
    print("ActiveEnterTimestamp=Sat\\nMemoryCurrent=[not set]\\nStatusText=30 frames\\nResult=exit-code")
elif verb not in ("reset-failed", "daemon-reload"):
    sys.exit(f"Unknown command verb {{verb}}.")
"""


def make_wheel(path: Path, project: str, files: dict[str, str]) -> None:
    """A wheel of pure Python with these files, as pip takes it."""
    info = f"{project}-0.1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 0.1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)


QUICK_PIP = """
import sys, sysconfig, zipfile
assert sys.argv[1] == "install" and "--no-index" in sys.argv
for word in sys.argv:
    if word.endswith(".whl"):
        zipfile.ZipFile(word).extractall(sysconfig.get_path("purelib"))
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick pip, the stand-in for fer-edge, and one that lets a release see this environment's cryptography."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder / "pip-0.1.0-py3-none-any.whl", "pip", {"pip/__main__.py": QUICK_PIP})
    sources = {
        f"fer_edge/devices/{name}.py": (DEVICES / f"{name}.py").read_text() for name in ("errors", "files", "signing")
    }
    program = {"fer_edge/__init__.py": "", "fer_edge/devices/__init__.py": "", "fer_edge/__main__.py": PROGRAM}
    make_wheel(folder / "fer_edge-0.1.0-py3-none-any.whl", "fer_edge", sources | program)
    library = find_spec("cryptography")
    if library is not None and library.submodule_search_locations:
        path = f"{Path(library.submodule_search_locations[0]).parent}\n"
        make_wheel(folder / "cryptography-0.1.0-py3-none-any.whl", "cryptography", {"fer_edge_tests.pth": path})
    return folder


class Payloads:
    """Makes payloads for this machine and this Python."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self._folder, self._wheels = folder, wheels

    def make(
        self,
        name: str,
        *,
        key: Path | None = None,
        more_wheels: tuple[Path, ...] = (),
        real_pip: bool = False,
        **does: Any,
    ) -> Path:
        """A payload whose bundle is called `name`; `does` is its behaviour."""
        folder = self._folder / f"payload-{name}{'-signed' if key else ''}"
        for part in ("bundle", "wheels"):
            (folder / part).mkdir(parents=True)
        for wheel in (*self._wheels.glob("*.whl"), *more_wheels):
            shutil.copy(wheel, folder / "wheels")
        if real_pip:
            (folder / "wheels/pip-0.1.0-py3-none-any.whl").unlink()
            (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
            shutil.copy(pip, folder / "wheels")
        (folder / "bundle/bundle.json").write_text(json.dumps({"name": name}))
        (folder / "bundle/behaviour.json").write_text(json.dumps(does))
        (folder / "run.toml").write_text(
            'source = "v4l2:/dev/video0"\nbundle = "bundle"\njsonl = "out.jsonl"\nmqtt = "mqtt://broker"\n'
            'mqtt_topic = "x"\nweb = "127.0.0.1:8080"\n'
        )
        write_agent(folder / "board.pyz")
        self.list_files(folder, name)
        if key is not None:
            (folder / "key.pub").write_text(public_pem(key))
            (folder / "release.sig").write_text(sign((folder / "release.json").read_bytes(), key))
        return folder

    def list_files(self, folder: Path, name: str, **other: Any) -> None:
        """Write release.json for what lies in `folder`; `other` replaces values in it."""
        files = {
            path.relative_to(folder).as_posix(): {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in ("release.json", "release.sig", "key.pub")
        }
        content = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        projects = [path.name.split("-")[0] for path in (folder / "wheels").iterdir()]
        manifest = {
            "schema": 1,
            "id": f"0.1.0-{content[:12]}",
            "version": "0.1.0",
            "made_at": "2026-01-01T00:00:00+00:00",
            "machine": platform.machine(),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "profile": "pi4",
            "memory_max_bytes": 402653184,
            "system_site_packages": False,
            "online": False,
            "requirements": [f"{project}==0.1.0" for project in projects if project != "pip"],
            "bundle": {"name": name, "sha256": files["bundle/bundle.json"]["sha256"]},
            "camera": "v4l2:/dev/video0",
            "camera_timeout_s": 30.0,
            "engine": "tflite",
            "precision": "int8",
            "selftest": {"bench_s": 10},
            "files": files,
        }
        (folder / "release.json").write_text(json.dumps(manifest | other))


@pytest.fixture
def payloads(tmp_path: Path, wheels: Path) -> Payloads:
    return Payloads(tmp_path, wheels)


class Board:
    """A board in a folder."""

    def __init__(
        self, folder: Path, root: Path | None = None, *, user: str = getpass.getuser(), python: str = sys.executable
    ) -> None:
        self._user, self._python = user, python
        self.root, self.units, self.state = root or folder / "opt", folder / "units", folder / "var"
        self.stub = folder / "stub"
        self.units.mkdir(parents=True)
        self.stub.mkdir()
        self.systemd(system="running", active="inactive", enabled=[], runs=None, guards=False)
        text = SYSTEMCTL.format(folder=str(self.stub), units=str(self.units))
        self._program("systemctl", text)
        self._program("systemd-run", SYSTEMD_RUN.format(folder=str(self.stub)))
        self._program("journalctl", "print('fer-edge: these were its last words')")
        self.agent = folder / "sent.pyz"
        write_agent(self.agent)

    def _program(self, name: str, text: str) -> None:
        path = self.stub / name
        path.write_text(f"#!{sys.executable} -IS\n{text}")
        path.chmod(0o755)

    def systemd(self, **changes: Any) -> dict[str, Any]:
        """What the stand-in for systemd knows."""
        path = self.stub / "state.json"
        known = (json.loads(path.read_text()) if path.exists() else {}) | changes
        if changes:  # who only looks must not put an old state back
            path.write_text(json.dumps(known))
        return known

    def calls(self) -> list[str]:
        return (self.stub / "calls").read_text().splitlines() if (self.stub / "calls").exists() else []

    def start(
        self, *words: str | Path, agent: Path | None = None, before: tuple[str | Path, ...] = (), **more: Any
    ) -> subprocess.Popen[str]:
        """One command under way; `before` are words before those of the agent."""
        where: tuple[Any, ...] = ("--root", self.root, "--unit-folder", self.units, "--state-folder", self.state)
        settle = ("--settle-s", "0.3") if {"install", "rollback"} & set(words) else ()
        command = [self._python, agent or self.agent, *before, *where, "--user", self._user, *words, *settle]
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PATH": f"{self.stub}:{os.environ['PATH']}"},
            **more,
        )

    def do(
        self, *words: str | Path, stdin: str = "", agent: Path | None = None, before: tuple[str | Path, ...] = ()
    ) -> dict[str, Any]:
        """One command to its end; gives its result, with all events in `events`."""
        process = self.start(*words, agent=agent, before=before)
        out, err = process.communicate(stdin, timeout=300)
        assert err == ""
        events = [json.loads(line) for line in out.splitlines()]
        assert [event["event"] for event in events].count("result") == 1
        assert events[-1]["event"] == "result"
        assert process.returncode == (0 if events[-1]["ok"] else 1)
        return events[-1] | {"events": events}

    def current(self) -> str | None:
        link = self.root / "current"
        return link.readlink().name if link.is_symlink() else None

    def bundle(self) -> str:
        """The name of the bundle that `current` runs."""
        return json.loads((self.root / "current/bundle/bundle.json").read_text())["name"]

    def send(self, payload: Path) -> Path:
        """As a workstation does: ask what is missing, and put that into `incoming`."""
        asked = self.do("missing", stdin=(payload / "release.json").read_text())
        place = self.root / "incoming" / asked["id"]
        for name in (*asked["missing"], "release.json", "release.sig", "key.pub"):
            if (payload / name).exists():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(payload / name, place / name)
        return place

    def is_clean(self) -> None:
        """Nothing half done is left."""
        assert not (self.root / "journal.json").exists()
        for release in (self.root / "releases").iterdir() if (self.root / "releases").exists() else ():
            assert (release / "installed.json").is_file(), release
        assert not list(self.root.rglob("*.tmp"))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "board")


def texts(result: dict[str, Any]) -> dict[str, str]:
    """What each step said at its end."""
    return {event["step"]: event["text"] for event in result["events"] if "text" in event and event["event"] == "step"}


def identity(payload: Path) -> str:
    return json.loads((payload / "release.json").read_text())["id"]


def until(process: subprocess.Popen[str], *, step: str, state: str) -> list[dict[str, Any]]:
    """Read events up to this one."""
    assert process.stdout is not None
    seen: list[dict[str, Any]] = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if (seen[-1].get("step"), seen[-1].get("state")) == (step, state):
            return seen
    raise AssertionError(f"it ended before {step} {state}: {seen}")


def wait_for(seen: Callable[[], bool], what: str) -> None:
    """Until it is so; fails after a minute."""
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def test_first_install_then_nothing_to_do_then_a_second_release(board: Board, payloads: Payloads) -> None:
    first, second = payloads.make("first", real_pip=True), payloads.make("second", real_pip=True)
    done = board.do("install", board.send(first))
    assert done["ok"], done
    assert [e["step"] for e in done["events"] if e.get("state") == "ok"] == list(STEPS)
    assert (done["id"], done["previous"], done["changed"]) == (identity(first), None, True)
    assert board.current() == identity(first)
    assert board.systemd()["active"] == "active"
    assert board.systemd()["enabled"] == ["fer-edge-recover.service", "fer-edge.service"]
    assert texts(done)["selftest"] == "golden vectors hold, 30 frames from the camera, 1.50 ms a face"
    unit = (board.units / "fer-edge.service").read_text()
    assert (
        f"ExecStart={board.root}/current/venv/bin/python -P -m fer_edge run --config {board.root}/current/run.toml"
        in unit
    )
    assert "MemoryMax=402653184" in unit
    tested = json.loads((board.root / "current/selftest.json").read_text())
    assert tested["camera"]["frames"] == 30
    assert tested["bench"]["words"][-2:] == ["--only", "tflite/int8"]
    board.is_clean()
    assert not (board.root / "incoming").exists()

    before = len(board.calls())
    again = board.do("install", board.send(first))
    assert (again["ok"], again["changed"], again["service"]) == (True, False, "running")
    assert not [call for call in board.calls()[before:] if re.match(r"(re)?st(art|op)\b.* fer-edge\.service", call)]
    board.systemd(active="failed")
    again = board.do("install", board.send(first))
    assert texts(again)["service"] == "the service was down and runs again"
    assert board.systemd()["active"] == "active"

    other = board.do("install", board.send(second))
    assert other["ok"], other
    assert (other["previous"], board.bundle()) == (identity(first), "second")
    assert (board.units / "fer-edge.service").read_text() == unit
    assert board.systemd()["runs"] == identity(second)
    # The camera is one program's alone: the old service stops for the self-test, and not earlier.
    assert board.calls().count("stop fer-edge.service") == 1
    board.is_clean()


def test_only_what_is_missing_is_asked_for(board: Board, payloads: Payloads) -> None:
    first, second = payloads.make("first"), payloads.make("second")
    asked = board.do("missing", stdin=(first / "release.json").read_text())
    assert asked["missing"] == list(json.loads((first / "release.json").read_text())["files"])
    assert (asked["installed"], asked["current"]) == (False, False)
    place = board.send(first)
    wheel = place / "wheels/fer_edge-0.1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:1000])  # the connection was cut here
    assert board.do("missing", stdin=(first / "release.json").read_text())["missing"] == [f"wheels/{wheel.name}"]
    board.do("install", board.send(first))
    asked = board.do("missing", stdin=(first / "release.json").read_text())
    assert (asked["missing"], asked["installed"], asked["current"]) == ([], True, True)
    # Wheels are in the store, agent and run.toml in the release that runs.
    assert board.do("missing", stdin=(second / "release.json").read_text())["missing"] == ["bundle/bundle.json"]


FAILURES = {
    "tflite/int8: golden vectors differ: 3 labels of 64": {"golden": "bad"},
    "the camera gives no frames: there is no camera /dev/video0; cameras here: none": {"camera": "none"},
    "the camera gives no frames: v4l2:/dev/video0 ended before its first": {"camera": "empty"},
    "bench failed: died of SIGSEGV": {"bench": "crash"},
}


def test_a_self_test_that_fails_leaves_the_old_release_running(board: Board, payloads: Payloads) -> None:
    first = payloads.make("first")
    board.do("install", board.send(first))
    for number, (sentence, does) in enumerate(FAILURES.items()):
        second = payloads.make(f"second-{number}", **does)
        place = board.send(second)
        failed = board.do("install", place)
        assert not failed["ok"]
        assert failed["text"].startswith(sentence)
        assert failed["failed_step"] == "selftest"
        notes = [event["text"] for event in failed["events"] if event["event"] == "note"]
        assert notes == [f"{identity(first)} is the current release, as before, and its service runs"]
        assert failed["current"] == identity(first) == board.current()
        assert (board.systemd()["active"], board.systemd()["runs"]) == ("active", identity(first))
        assert [release.name for release in (board.root / "releases").iterdir()] == [identity(first)]
        assert place.is_dir()  # so that the next try is quick
        assert board.do("missing", stdin=(second / "release.json").read_text())["missing"] == []
        board.is_clean()


@pytest.mark.parametrize(("service", "how"), [("failed", "did not come up"), ("dies", "came up and ended again")])
def test_a_service_that_does_not_stay_up_is_switched_back(
    board: Board, payloads: Payloads, service: str, how: str
) -> None:
    first, second = payloads.make("first"), payloads.make("second", service=service)
    refused = board.do("install", second)  # nothing runs before: nothing is left
    assert refused["failed_step"] == "service"
    assert f"fer-edge.service {how} (systemd says exit-code): these were its last words" in refused["text"]
    assert (board.current(), list(board.units.iterdir()), board.systemd()["enabled"]) == (None, [], [])
    assert not (board.root / "board.pyz").exists()
    board.is_clean()

    board.do("install", first)
    units = {path: path.read_text() for path in board.units.iterdir()}
    agent = (board.root / "board.pyz").read_bytes()
    refused = board.do("install", second)
    assert how in refused["text"]
    assert any("these were its last words" in event.get("text", "") for event in refused["events"])
    assert board.current() == identity(first)
    assert board.systemd()["runs"] == identity(first)
    assert {path: path.read_text() for path in board.units.iterdir()} == units
    assert (board.root / "board.pyz").read_bytes() == agent
    board.is_clean()


@pytest.mark.parametrize("state", ["begin", "ok"])
def test_killed_in_any_step_the_board_comes_back_whole(board: Board, payloads: Payloads, state: str) -> None:
    first, second = payloads.make("first"), payloads.make("second")
    board.do("install", first)
    for number, step in enumerate(STEPS):
        process = board.start("install", board.send(second))
        until(process, step=step, state=state)
        process.kill()
        process.communicate()
        finished = step == "prune" or (step, state) == ("service", "ok")
        if number % 2:  # else the next install recovers
            done = board.do("recover")
            assert done["ok"], done
            board.is_clean()
            # Killed right after the service proved itself, it may be either; before that it is the old one.
            assert board.current() == identity(first) or finished, step
            assert board.systemd()["active"] == "active", step
            assert board.systemd()["runs"] == board.current()
    done = board.do("install", board.send(second))
    assert done["ok"], done
    assert (board.bundle(), board.systemd()["runs"]) == ("second", identity(second))
    board.is_clean()


def gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked how."""
    text = read_text(Path(f"/proc/{pid}/stat"))
    return text is None or text.rpartition(")")[2].split()[0] == "Z"


def guards(board: Board) -> list[int]:
    """The processes that watched over an operation."""
    return [int(path.read_text()) for path in board.stub.glob("fer-edge-guard-*.service")]


def test_an_agent_that_is_killed_leaves_no_service_down(board: Board, payloads: Payloads) -> None:
    """The self-test stops the service for its camera; nobody comes, and the service is back all the same."""
    first, second = payloads.make("first"), payloads.make("second", sleep_s={"run": 60})
    board.systemd(guards=True)
    board.do("install", first)
    assert guards(board) == []  # there was no agent yet, and no service that could be left down
    process = board.start("install", board.send(second))
    until(process, step="selftest", state="begin")
    wait_for(lambda: board.systemd()["active"] == "inactive", "the service to be stopped")
    process.kill()
    process.communicate()
    wait_for(lambda: not (board.root / "journal.json").exists(), "the guard to put it right")
    wait_for(lambda: board.systemd()["active"] == "active", "the service to be back")
    assert (board.current(), board.systemd()["runs"]) == (identity(first), identity(first))
    wait_for(lambda: all(map(gone, guards(board))), "the guard to end")
    board.is_clean()


def test_an_operation_that_ends_dismisses_its_guard(board: Board, payloads: Payloads) -> None:
    board.do("install", payloads.make("first"))
    board.systemd(guards=True)
    for words, ok in (
        (("install", payloads.make("second")), True),
        (("install", payloads.make("bad", golden="bad")), False),
        (("rollback",), True),
        (("selftest",), True),
    ):
        assert board.do(*words)["ok"] is ok
    watched = guards(board)
    assert len(watched) == 4
    assert len([call for call in board.calls() if call.startswith("stop fer-edge-guard-")]) == 4
    wait_for(lambda: all(map(gone, watched)), "the guards to end")


POWER_CUT = """
import os, sys
agent, left = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]
sync = os.fsync
def cut(handle):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    sync(handle)
os.fsync = cut
sys.path.insert(0, agent)
from fer_edge.devices.board_main import main
sys.exit(main())
"""


def test_cut_off_at_any_write_that_must_last_the_board_comes_back_whole(
    board: Board, payloads: Payloads, tmp_path: Path
) -> None:
    first, second = payloads.make("first"), payloads.make("second")
    board.do("install", first)
    cutter = tmp_path / "cutter.py"
    cutter.write_text(POWER_CUT)
    ends = []
    for write in itertools.count(2, 3):
        process = board.start("install", second, agent=cutter, before=(board.agent, str(write)))
        out, err = process.communicate(timeout=120)
        assert (process.returncode in (0, 9), err) == (True, ""), out
        if process.returncode == 0:  # so many writes there are not
            break
        done = board.do("recover")
        assert done["ok"], done
        board.is_clean()
        ends.append((done["recovered"] or {}).get("step"))
        assert board.systemd()["active"] == "active", ends
        assert board.systemd()["runs"] == board.current(), ends
        if board.current() == identity(second):
            assert ends[-1] == "prune", ends  # it had proven itself
            board.do("rollback", identity(first))
            shutil.rmtree(board.root / "releases" / identity(second))
    assert {"settings", "selftest", "switch", "service", "prune"} <= set(ends), ends
    assert board.bundle() == "second"


LITTLE_MEMORY = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from fer_edge.devices import board_selftest
board_selftest.memory_bytes = lambda: 512 << 20
from fer_edge.devices.board_main import main
sys.exit(main())
"""


def test_on_a_board_of_little_memory_the_service_is_stopped_for_whatever_is_tried(
    board: Board, payloads: Payloads, tmp_path: Path
) -> None:
    """Beside it, the kernel killed one of the two on 512 MB."""
    agent = tmp_path / "little.py"
    agent.write_text(LITTLE_MEMORY)
    first, bad = payloads.make("first"), payloads.make("bad", golden="bad")
    board.do("install", first)

    def stops() -> int:
        return board.calls().count("stop fer-edge.service")

    # The golden vectors come before the camera, for which alone a larger board stops its service.
    for words, ok, usual in (
        (("install", bad), False, 0),
        (("bench", "--seconds", "1"), True, 0),
        (("selftest",), True, 1),
    ):
        so_far = stops()
        board.do(*words)
        assert stops() - so_far == usual, words
        done = board.do(*words, agent=agent, before=(board.agent,))
        assert done["ok"] is ok, done
        assert stops() - so_far == usual + 1, words
        assert (board.systemd()["active"], board.systemd()["runs"]) == ("active", identity(first)), words
        board.is_clean()


def test_killed_in_the_first_install_nothing_is_left_but_what_was_sent(board: Board, payloads: Payloads) -> None:
    first = payloads.make("first")
    for step in ("environment", "selftest", "switch", "service"):
        process = board.start("install", board.send(first))
        until(process, step=step, state="ok" if step == "switch" else "begin")
        process.kill()
        process.communicate()
        done = board.do("recover")
        assert done["recovered"]["how"] == "undone"
        assert (board.current(), list(board.units.iterdir())) == (None, [])
        assert board.systemd()["enabled"] == []
        board.is_clean()
    assert board.do("recover")["recovered"] is None
    assert board.do("missing", stdin=(first / "release.json").read_text())["missing"] == []
    assert board.do("install", board.send(first))["ok"]


@pytest.mark.parametrize(
    ("step", "number"),
    [("environment", signal.SIGHUP), ("selftest", signal.SIGTERM), ("service", signal.SIGINT), ("selftest", None)],
)
def test_a_signal_or_a_reader_who_leaves_undoes_what_was_begun(
    board: Board, payloads: Payloads, step: str, number: int | None
) -> None:
    first = payloads.make("first")
    second = payloads.make("second", sleep_s={"doctor": 60 if number else 1})
    if step == "service":
        second = payloads.make("third", service="slow")
    board.do("install", first)
    process = board.start("install", second)
    seen = until(process, step=step, state="begin")
    if number is None:  # ssh without a terminal: its end closes the pipe, and no signal comes
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=120)
        assert process.returncode == 1
    else:
        if step != "service":
            time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert err == ""
        last = json.loads(out.splitlines()[-1])
        assert last["text"] == f"interrupted by {signal.Signals(number).name}", seen
        assert process.returncode == 1
    assert board.current() == identity(first)
    assert (board.systemd()["active"], board.systemd()["runs"]) == ("active", identity(first))
    board.is_clean()


def test_a_disk_that_is_too_small_is_said_before_anything_is_begun(tmp_path: Path, payloads: Payloads) -> None:
    with small_disk(tmp_path, "20m") as disk:
        board = Board(tmp_path / "board", disk / "opt")
        refused = board.do("install", payloads.make("first", real_pip=True))
        assert refused["failed_step"] == "space"
        assert re.search(r"^\d+ MB are needed at .*/opt and \d+ MB are free; make room", refused["text"])
        board.is_clean()


def test_a_disk_that_fills_up_half_way_leaves_the_old_release_running(tmp_path: Path, payloads: Payloads) -> None:
    # A hundred megabytes of zeros that a wheel of 100 kB unpacks to: no estimate expects that.
    make_wheel(tmp_path / "zeros-0.1.0-py3-none-any.whl", "zeros", {"zeros.txt": "0" * 100_000_000})
    with small_disk(tmp_path, "80m") as disk:
        board = Board(tmp_path / "board", disk / "opt")
        first = payloads.make("first", real_pip=True)
        assert board.do("install", first)["ok"]
        zeros = tmp_path / "zeros-0.1.0-py3-none-any.whl"
        second = payloads.make("second", more_wheels=(zeros,), real_pip=True)
        failed = board.do("install", board.send(second))
        assert failed["failed_step"] == "environment"
        assert "No space left on device" in failed["text"]
        assert (board.current(), board.systemd()["runs"]) == (identity(first), identity(first))
        board.is_clean()
        assert board.do("install", board.send(first))["changed"] is False


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, which only root can mount."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here; that takes root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def alter(name: str) -> Callable[[Path], None]:
    def altered(payload: Path) -> None:
        path = payload / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    return altered


def add_link(payload: Path) -> None:
    (payload / "bundle/link").symlink_to("/etc/passwd")


def change(**values: Any) -> Callable[[Path], None]:
    def changed(payload: Path) -> None:
        path = payload / "release.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return changed


@pytest.mark.parametrize(
    ("harm", "sentence", "thrown_away"),
    [
        (alter("bundle/behaviour.json"), "bundle/behaviour.json is not the file that release.json lists", True),
        (alter("board.pyz"), "board.pyz is not the file that release.json lists; the payload was altered", True),
        (lambda p: (p / "bundle/more.txt").write_text("x"), "bundle/more.txt in the payload is not in release", True),
        (lambda p: (p / "sitecustomize.py").write_text("x"), "sitecustomize.py in the payload is not in rele", True),
        (add_link, "bundle/link in the payload is a link", True),
        (lambda p: (p / "bundle/behaviour.json").unlink(), "bundle/behaviour.json is missing from the payload", False),
        (lambda p: (p / "release.json").write_text("{"), "release.json is not JSON", False),
        (lambda p: (p / "release.json").unlink(), "is no payload: release.json cannot be read", False),
        (change(schema=2), "release.json has schema 2, expected 1", False),
        (change(machine="armv7l"), "the payload is for armv7l and this board is", False),
        (change(python="3.9"), "the payload is for Python 3.9 and this board has 3.", False),
        (change(id="../../etc"), "release.json: id is '../../etc', which it cannot be", False),
        (change(memory_max_bytes="much"), "release.json: memory_max_bytes is 'much', which it cannot be", False),
        (change(requirements=["numpy>=2"]), "requirement 'numpy>=2' is not pinned as name==version", False),
        (change(requirements=[]), "is in no requirement; make the payload again", False),
        (change(engine="onnx"), "the bundle has no onnx/int8, which the service is to run", False),
    ],
)
def test_a_payload_that_is_not_what_it_says_is_refused(
    board: Board, payloads: Payloads, harm: Callable[[Path], None], sentence: str, thrown_away: bool
) -> None:
    place = board.send(payloads.make("first"))
    harm(place)
    refused = board.do("install", place)
    assert not refused["ok"]
    assert sentence in refused["text"]
    assert "\n" not in refused["text"]
    assert place.exists() is not thrown_away
    assert board.current() is None
    board.is_clean()


def test_a_path_that_leaves_the_payload_is_refused(board: Board, payloads: Payloads) -> None:
    payload = payloads.make("first")
    manifest = json.loads((payload / "release.json").read_text())
    entry = manifest["files"]["run.toml"]
    for name, sentence in {
        "../outside": "leaves the payload's folder",
        "/etc/passwd": "leaves the payload's folder",
        "bundle/../../x": "leaves the payload's folder",
        "bundle//x": "leaves the payload's folder",
        "venv/bin/python": "expected run.toml, board.pyz, bundle/…, files/… and wheels/*.whl only",
        "wheels/a/b.whl": "expected run.toml",
    }.items():
        change(files=manifest["files"] | {name: entry})(payload)
        refused = board.do("install", payload)
        assert sentence in refused["text"], name
        assert not board.do("missing", stdin=(payload / "release.json").read_text())["ok"]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    pytest.importorskip("cryptography")
    create_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def test_after_a_signed_release_only_the_same_key_counts(board: Board, payloads: Payloads, key: Path) -> None:
    create_key(key.with_name("other.pem"))
    first, second = payloads.make("first", key=key), payloads.make("second", key=key)
    done = board.do("install", board.send(first))
    assert done["ok"], done
    assert texts(done)["environment"].endswith("; the signature holds")
    assert (board.root / "trust/key.pub").read_text() == public_pem(key)
    assert board.do("status")["signed"] is True

    unsigned, foreign = payloads.make("unsigned"), payloads.make("foreign", key=key.with_name("other.pem"))
    altered = payloads.make("altered", key=key)
    change(memory_max_bytes=None)(altered)
    without_key = payloads.make("keyless", key=key)
    (without_key / "key.pub").unlink()
    for payload, sentence in {
        unsigned: "the payload is not signed, and this board takes only what is signed with the key",
        foreign: "the signature does not hold: release.json was altered, or signed with another key",
        altered: "the signature does not hold",
        without_key: "the payload has a signature and no key.pub",
    }.items():
        place = board.send(payload)
        refused = board.do("install", place)
        assert sentence in refused["text"]
        assert refused["failed_step"] == "verify"
        assert not place.exists()
        assert board.current() == identity(first)
        assert board.systemd()["runs"] == identity(first)
    done = board.do("install", board.send(second))
    assert done["ok"], done
    assert texts(done)["verify"].endswith(", signed with the board's key")
    board.is_clean()


def test_a_first_signature_that_does_not_hold_is_refused(board: Board, payloads: Payloads, key: Path) -> None:
    payload = payloads.make("first", key=key)
    change(memory_max_bytes=None)(payload)
    refused = board.do("install", payload)
    assert refused["failed_step"] == "environment"
    assert "the signature does not hold" in refused["text"]
    assert not (board.root / "trust").exists()
    assert board.current() is None
    board.is_clean()


def test_rollback_and_a_rollback_that_fails(board: Board, payloads: Payloads) -> None:
    first, second, third = (payloads.make(name) for name in ("first", "second", "third"))
    assert board.do("rollback")["text"] == "no release is current, so there is none before it; there are: none"
    for payload in (first, second, third):
        board.do("install", payload)
    done = board.do("rollback")
    assert (done["ok"], done["id"], done["previous"]) == (True, identity(second), identity(third))
    assert (board.bundle(), board.systemd()["runs"]) == ("second", identity(second))
    assert board.do("rollback")["id"] == identity(first)
    assert f"there is no release before {identity(first)}" in board.do("rollback")["text"]
    assert "there is no release 'x' on this board" in board.do("rollback", "x")["text"]
    assert "is the release that runs already" in board.do("rollback", identity(first))["text"]

    (board.root / "releases" / identity(third) / "bundle/behaviour.json").write_text('{"service": "failed"}')
    failed = board.do("rollback", identity(third))
    assert failed["failed_step"] == "service"
    assert (board.bundle(), board.systemd()["runs"]) == ("first", identity(first))
    board.is_clean()
    again = board.do("install", board.send(second))  # whole on the board: nothing is built, and it is tested again
    assert [e["step"] for e in again["events"] if e.get("state") == "ok"] == [
        *("recover", "verify", "selftest", "switch", "service", "prune")
    ]
    assert board.do("rollback")["id"] == identity(first)  # which ran before, and not the third, which was given up


def test_three_releases_are_kept_and_only_their_wheels(board: Board, payloads: Payloads, tmp_path: Path) -> None:
    made = []
    for number in range(5):
        wheel = tmp_path / f"extra{number}-0.1.0-py3-none-any.whl"
        make_wheel(wheel, f"extra{number}", {f"extra{number}.py": f"number = {number}"})
        made.append(payloads.make(f"number-{number}", more_wheels=(wheel,)))
        assert board.do("install", board.send(made[-1]))["ok"]
        about = (
            board.root / "current/installed.json"
        )  # the clock stood in another century: the order holds all the same
        about.write_text(
            json.dumps(json.loads(about.read_text()) | {"installed_at": f"{2100 - number}-01-01T00:00:00"})
        )
    status = board.do("status")
    assert [release["id"] for release in status["releases"]] == [identity(payload) for payload in reversed(made[2:])]
    kept = {path.name.split("-")[0] for path in (board.root / "store").glob("*/*")}
    assert kept == {"pip", "fer_edge", "cryptography", "extra2", "extra3", "extra4"} - (
        set() if find_spec("cryptography") else {"cryptography"}
    )


def test_status_bench_and_self_test(board: Board, payloads: Payloads) -> None:
    assert board.do("status")["current"] is None
    assert board.do("bench")["text"] == "no release is installed on this board; deploy one first"
    first = payloads.make("first")
    board.do("install", first)
    status = board.do("status")
    assert status["current"]["id"] == identity(first)
    assert (status["current"]["bundle"]["name"], status["current"]["profile"]) == ("first", "pi4")
    assert status["releases"][0]["current"] is True
    assert status["releases"][0]["bytes"] > 50_000
    assert status["service"] == {
        "active": "active",
        "sub": "running",
        "enabled": True,
        "since": "Sat",
        "restarts": 0,
        "main_pid": 7,
        "memory_bytes": None,
        "status_text": "30 frames",
    }
    assert status["journal"] is None
    assert status["signed"] is False
    report = board.do("bench", "--seconds", "2")["report"]
    assert report["words"][report["words"].index("--min-seconds") + 1] == "2"
    tested = board.do("selftest")
    assert tested["camera"]["frames"] == 30
    assert board.systemd()["active"] == "active"
    (board.root / "current/bundle/behaviour.json").write_text('{"camera": "none"}')
    failed = board.do("selftest")
    assert "the camera gives no frames" in failed["text"]
    assert board.systemd()["active"] == "active"
    board.is_clean()


@pytest.mark.parametrize("purge", [False, True])
def test_remove_leaves_nothing(board: Board, payloads: Payloads, purge: bool) -> None:
    board.do("install", payloads.make("first"))
    assert board.state.is_dir()
    done = board.do("remove", *(["--purge"] if purge else []))
    assert done["ok"], done
    assert not board.root.exists()
    assert list(board.units.iterdir()) == []
    assert (board.systemd()["active"], board.systemd()["enabled"]) == ("inactive", [])
    assert board.state.exists() is not purge
    assert done["state"] == (None if purge else str(board.state))
    assert board.do("remove")["events"][-2]["text"].startswith("nothing was installed")
    assert not board.root.exists()


def test_a_removal_that_was_killed_is_finished(board: Board, payloads: Payloads) -> None:
    board.do("install", payloads.make("first"))
    process = board.start("remove", "--purge")
    until(process, step="remove", state="begin")
    process.kill()
    process.communicate()
    board.do("recover")
    if board.root.exists():  # killed so early that it had not begun
        board.do("remove", "--purge")
    assert not board.root.exists()
    assert not board.state.exists()


def test_two_at_once_is_one_sentence(board: Board, payloads: Payloads) -> None:
    first = board.start("install", payloads.make("first", sleep_s={"doctor": 30}))
    until(first, step="selftest", state="begin")
    refused = board.do("install", payloads.make("second"))
    assert refused["text"] == (
        f"another operation is under way on this board (install, process {first.pid}); "
        "wait until it has ended, and try again"
    )
    assert board.do("status")["journal"]["step"] == "selftest"  # looking is always allowed
    first.terminate()
    first.communicate(timeout=60)
    assert board.do("recover")["recovered"] is None


def test_a_card_is_checked_by_the_agent_that_the_board_has(board: Board, payloads: Payloads, tmp_path: Path) -> None:
    board.do("install", payloads.make("first"))
    card = payloads.make("card")
    forged = tmp_path / "forged.pyz"
    forged.write_text("this would be run if it were trusted")
    shutil.copy(board.agent, card / "new.pyz")
    refused = board.do("install", card, agent=card / "new.pyz")
    assert "new.pyz in the payload is not in release.json" in refused["text"]
    (board.root / "board.pyz").write_text('print(\'{"event": "result", "ok": true, "text": "the board\\\'s own"}\')')
    assert board.do("install", card, agent=card / "new.pyz")["text"] == "the board's own"


def test_where_systemd_does_not_run_the_release_is_switched_to_all_the_same(board: Board, payloads: Payloads) -> None:
    board.systemd(system="offline")
    done = board.do("install", payloads.make("first"))
    assert done["ok"], done
    assert done["service"] == "systemd does not run here; the service starts when the board does"
    assert board.bundle() == "first"
    assert board.systemd()["enabled"] == ["fer-edge-recover.service", "fer-edge.service"]
    assert not [call for call in board.calls() if call.startswith(("start", "restart", "stop", "daemon-reload"))]


def test_without_a_camera_the_service_is_not_started(board: Board, payloads: Payloads) -> None:
    payload = payloads.make("first")
    (payload / "run.toml").write_text('bundle = "bundle"\n')
    payloads.list_files(payload, "first", camera=None)
    done = board.do("install", payload)
    assert done["service"] == "no camera is set, so the service is not started"
    assert json.loads((board.root / "current/selftest.json").read_text())["camera"] is None
    assert board.systemd()["active"] == "inactive"


def test_a_unit_of_somebody_else_is_not_overwritten(board: Board, payloads: Payloads) -> None:
    (board.units / "fer-edge.service").write_text("[Service]\nExecStart=/bin/true\n")
    refused = board.do("install", payloads.make("first"))
    assert "fer-edge.service was not written by fer-edge" in refused["text"]
    assert (board.units / "fer-edge.service").read_text() == "[Service]\nExecStart=/bin/true\n"
    board.is_clean()


def test_a_unit_that_fer_edge_service_install_wrote_comes_back_when_it_fails(board: Board, payloads: Payloads) -> None:
    own = "# Written by: fer-edge service install\n[Service]\nExecStart=/bin/true --config /x\n"
    (board.units / "fer-edge.service").write_text(own)
    board.systemd(enabled=["fer-edge.service"])
    refused = board.do("install", payloads.make("first", service="failed"))
    assert not refused["ok"]
    assert (board.units / "fer-edge.service").read_text() == own
    assert board.systemd()["enabled"] == ["fer-edge.service"]


def test_the_self_test_runs_as_the_services_own_user_who_goes_with_purge(payloads: Payloads, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("users are made by root, with useradd")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = f"/usr/bin/python{version}"  # one that every user may start
    if not Path(python).exists():
        pytest.skip(f"there is no {python}, and the Python of the tests may be closed to other users")
    user = f"fer-edge-t{os.getpid()}"
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="fer-edge-test-"))  # pytest's folders are root's alone
    folder.chmod(0o755)
    try:
        board = Board(folder / "board", user=user, python=python)
        done = board.do("install", payloads.make("first"))
        assert done["ok"], done
        assert texts(done)["settings"].endswith(f"; user {user} made")
        account = pwd.getpwnam(user)
        assert (account.pw_uid != 0, account.pw_shell) == (True, "/usr/sbin/nologin")
        tested = json.loads((board.root / "current/selftest.json").read_text())
        assert (tested["user"], tested["bench"]["uid"]) == (user, account.pw_uid)
        assert board.state.stat().st_uid == account.pw_uid
        assert f"User={user}" in (board.units / "fer-edge.service").read_text().splitlines()
        assert stat.S_IMODE((board.root / "current/run.toml").stat().st_mode) == 0o640  # it may hold passwords
        assert board.do("remove")["user_removed"] is False
        assert board.do("remove", "--purge")["user_removed"] is True
        with pytest.raises(KeyError):
            pwd.getpwnam(user)
    finally:
        subprocess.run(["userdel", user], capture_output=True, check=False)
        shutil.rmtree(folder)


def test_the_agent_is_the_same_bytes_each_time_and_stands_alone(tmp_path: Path) -> None:
    for name in ("a.pyz", "b.pyz"):
        write_agent(tmp_path / name)
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes()
    names = set(zipfile.ZipFile(tmp_path / "a.pyz").namelist())
    assert "fer_edge/devices/board_main.py" in names
    assert not [name for name in names if "edge_runtime" in name or "zipapp" in name]
    # Without site-packages: the standard library is all that it needs.
    done = subprocess.run(
        [sys.executable, "-I", "-S", tmp_path / "a.pyz", "--root", tmp_path / "x", "status"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["current"] is None
    assert done.stderr == ""


def test_an_old_python_is_told_in_one_line() -> None:
    source = DEVICES / "board_zipapp.py"
    code = next(
        node.value.value
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_MAIN"
        if isinstance(node.value, ast.Constant)
    )
    ast.parse(code, feature_version=(3, 5))
    program = f"import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "event": "result",
        "ok": False,
        "text": "this board has Python 3.9 and needs 3.11 or newer; install a newer system",
    }
