"""The agent on a board, from the outside: payloads that it installs, refuses, undoes, and finishes after a kill.

The payloads are whole but for the program in them: a wheel named fer-edge whose commands answer as the real ones do, and
fail where the bundle's behaviour.json says so. pip, venv, links and signatures are real; systemctl is a script that
remembers.
"""

import ensurepip
import getpass
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import fer_edge.devices
from fer_edge.devices.board_zipapp import write_agent
from fer_edge.devices.signing import create_key, public_pem, sign

DEVICES = Path(fer_edge.devices.__path__[0])
STEPS = ("recover", "verify", "space", "store", "environment", "settings", "selftest", "switch", "service", "prune")

PROGRAM = '''
"""Answers as fer-edge does; the bundle's behaviour.json says what goes wrong."""
import json, sys, time, tomllib
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
        import os
        os.kill(os.getpid(), 11)
    Path(after("--json")).write_text(json.dumps({"schema": 2, "words": words, "variants": [
        {"id": "tflite/int8", "latency": {"p50": {"ms": 1.5}}}]}))
'''

SYSTEMCTL = """
import json, sys, re
from pathlib import Path
FOLDER, UNITS = Path({folder!r}), Path({units!r})
words = sys.argv[1:]
with (FOLDER / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
path = FOLDER / "state.json"
state = json.loads(path.read_text())
def save():
    path.write_text(json.dumps(state))
verb, rest = words[0], [word for word in words[1:] if not word.startswith("-")]
unit = rest[0] if rest else ""
def start():
    text = (UNITS / unit).read_text()
    config = Path(re.search(r"--config (\\S+)", text)[1])
    does = json.loads((config.parent / "bundle/behaviour.json").read_text())
    state["runs"] = config.parent.resolve().name
    state["active"] = does.get("service", "active")
    save()
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


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pip, the stand-in for fer-edge, and one that lets the release's venv see this environment's cryptography."""
    folder = tmp_path_factory.mktemp("wheels")
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, folder)
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

    def make(self, name: str, *, key: Path | None = None, more_wheels: tuple[Path, ...] = (), **does: Any) -> Path:
        """A payload whose bundle is called `name`; `does` is its behaviour."""
        folder = self._folder / f"payload-{name}{'-signed' if key else ''}"
        for part in ("bundle", "wheels"):
            (folder / part).mkdir(parents=True)
        for wheel in (*self._wheels.glob("*.whl"), *more_wheels):
            shutil.copy(wheel, folder / "wheels")
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

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.root, self.units, self.state = root or folder / "opt", folder / "units", folder / "var"
        self.stub = folder / "stub"
        self.units.mkdir(parents=True)
        self.stub.mkdir()
        self.systemd(system="running", active="inactive", enabled=[], runs=None)
        text = SYSTEMCTL.format(folder=str(self.stub), units=str(self.units))
        self._program("systemctl", text)
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
        path.write_text(json.dumps(known))
        return known

    def calls(self) -> list[str]:
        return (self.stub / "calls").read_text().splitlines() if (self.stub / "calls").exists() else []

    def start(self, *words: str | Path, agent: Path | None = None, **more: Any) -> subprocess.Popen[str]:
        where = ("--root", self.root, "--unit-folder", self.units, "--state-folder", self.state)
        settle = ("--settle-s", "0.3") if words[0] in ("install", "rollback") else ()
        command = [sys.executable, agent or self.agent, *where, "--user", getpass.getuser(), *words, *settle]
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PATH": f"{self.stub}:{os.environ['PATH']}"},
            **more,
        )

    def do(self, *words: str | Path, stdin: str = "", agent: Path | None = None) -> dict[str, Any]:
        """One command to its end; gives its result, with all events in `events`."""
        process = self.start(*words, agent=agent)
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
        assert not [path for path in self.root.rglob("*.tmp")]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "board")


def texts(result: dict[str, Any]) -> dict[str, str]:
    """What each step said at its end."""
    return {event["step"]: event["text"] for event in result["events"] if "text" in event and event["event"] == "step"}


def identity(payload: Path) -> str:
    return json.loads((payload / "release.json").read_text())["id"]


def test_first_install_then_nothing_to_do_then_a_second_release(board: Board, payloads: Payloads) -> None:
    first = payloads.make("first")
    done = board.do("install", board.send(first))
    assert done["ok"], done
    assert [e["step"] for e in done["events"] if e.get("state") == "ok"] == list(STEPS)
    assert board.current() == identity(first) == done["id"]
