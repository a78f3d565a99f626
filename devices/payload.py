"""A release as it travels: one folder with program, wheels, bundle and settings, each file's hash in release.json.

`deploy` sends it file by file, `package` puts it into one archive; the board's agent installs either.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_edge import __version__
from fer_edge.devices.errors import DeployError
from fer_edge.devices.files import replacing_file, replacing_folder, sha256_of
from fer_edge.devices.wheel_set import ONLY_AS_SOURCE, WheelOrder, build_wheels, requirements_of

SCHEMA = 1
MANIFEST = "release.json"
SIGNATURE = "release.sig"
PUBLIC_KEY = "key.pub"
AGENT = "board.pyz"
RUN_FILE = "run.toml"
_KEPT, _DAY_S = 5, 86_400.0


@dataclass(frozen=True, slots=True)
class PayloadOrder:
    """What a release is to hold.

    Args:
        bundle: its folder; `bundle_name` and `bundle_sha256` (of bundle.json) say which it is.
        run_toml: the run's configuration; its paths are relative to the release's folder.
        carried: files that the configuration names, by their name in the release.
        wheels: for which board.
        profile: its name, for the record.
        memory_max_bytes: the service's limit; None is no limit.
        camera: what the self-test asks for frames; None asks nothing.
        camera_timeout_s: without a frame for so long the run ends; the service's times follow from it.
        engine, precision: what the self-test times.
        system_site_packages: the environment sees the system's packages, as picamera2 needs.
        online: the board fetches the packages itself.
        bench_s: seconds of the self-test's bench.
        key: private ed25519 key that signs the release; None leaves it unsigned.
    """

    bundle: Path
    bundle_name: str
    bundle_sha256: str
    run_toml: str
    carried: Mapping[str, Path]
    wheels: WheelOrder
    profile: str
    memory_max_bytes: int | None
    camera: str | None
    camera_timeout_s: float
    engine: str
    precision: str
    system_site_packages: bool = False
    online: bool = False
    bench_s: float = 10.0
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload's folder and what its release.json says."""

    folder: Path
    manifest: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """Version and content hash: the same content has the same id."""
        return str(self.manifest["id"])

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())

    def head(self) -> list[str]:
        """Files beside those that release.json lists, itself first."""
        return [name for name in (MANIFEST, SIGNATURE, PUBLIC_KEY) if (self.folder / name).is_file()]


def make_payload(order: PayloadOrder, say: Callable[[str], None]) -> Payload:
    """Put a release together in the user's cache; one of the same content is made only once.

    Raises:
        DeployError: the packages cannot be fetched, or the key cannot sign.
        OutputError: the cache cannot be written.
    """
    if order.key is not None:
        _check_key(order.key)
    home = payloads_folder()
    home.mkdir(parents=True, exist_ok=True)
    work = home / f".work.{os.getpid()}.{id(order):x}"
    try:
        requirements = _collect(order, work, say)
        manifest = _manifest(order, work, requirements)
        folder = home / manifest["id"]
        if not (folder / MANIFEST).is_file():
            _write_manifest(manifest, work)
            with replacing_folder(folder, MANIFEST, force=True) as temporary:
                shutil.copytree(work, temporary, dirs_exist_ok=True, copy_function=_link)
        manifest = json.loads((folder / MANIFEST).read_bytes())
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _sign(folder, order.key)
    _prune(home, folder)
    return Payload(folder, manifest)


def _prune(home: Path, just_made: Path) -> None:
    """Forget old payloads; one of today may be under way to another board."""
    os.utime(just_made)
    by_age = sorted((path for path in home.iterdir() if not path.name.startswith(".")), key=_touched, reverse=True)
    for path in by_age[_KEPT:]:
        if time.time() - _touched(path) > _DAY_S:
            shutil.rmtree(path, ignore_errors=True)


def _touched(path: Path) -> float:
    return path.stat().st_mtime


def _collect(order: PayloadOrder, folder: Path, say: Callable[[str], None]) -> list[str]:
    """Fill the payload's folder; gives what its environment is to hold."""
    from fer_edge.devices.board_zipapp import write_agent

    folder.mkdir(parents=True)
    wheels = build_wheels(order.wheels, folder / "wheels", say)
    requirements = requirements_of(wheels)
    if order.online:  # what the index has no wheel of goes along, and pip, where ensurepip may be missing
        for path in wheels:
            if path.name.split("-")[0] not in ("fer_edge", "pip", *ONLY_AS_SOURCE):
                path.unlink()
    shutil.copytree(order.bundle, folder / "bundle", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for name, path in order.carried.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, folder / name)
    (folder / RUN_FILE).write_text(order.run_toml, encoding="utf-8")
    write_agent(folder / AGENT)
    return requirements


def _manifest(order: PayloadOrder, folder: Path, requirements: list[str]) -> dict[str, Any]:
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    content = {
        "schema": SCHEMA,
        "version": __version__,
        "machine": order.wheels.machine,
        "python": order.wheels.python,
        "profile": order.profile,
        "memory_max_bytes": order.memory_max_bytes,
        "system_site_packages": order.system_site_packages,
        "online": order.online,
        "requirements": requirements,
        "bundle": {"name": order.bundle_name, "sha256": order.bundle_sha256},
        "camera": order.camera,
        "camera_timeout_s": order.camera_timeout_s,
        "engine": order.engine,
        "precision": order.precision,
        "selftest": {"bench_s": order.bench_s},
        "files": files,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    made_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": f"{__version__}-{digest[:12]}", "made_at": made_at, **content}


def _write_manifest(manifest: dict[str, Any], folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _sign(folder: Path, key: Path | None) -> None:
    """The signature is no part of the content: a release may be signed later, or by another key."""
    if key is None:
        for name in (SIGNATURE, PUBLIC_KEY):
            (folder / name).unlink(missing_ok=True)
        return
    from fer_edge.devices.signing import public_pem, sign

    signature = sign((folder / MANIFEST).read_bytes(), key)
    for name, text in ((SIGNATURE, signature), (PUBLIC_KEY, public_pem(key))):
        with replacing_file(folder / name) as temporary:
            temporary.write_text(text, encoding="ascii")


def _check_key(key: Path) -> None:
    """See that a key can sign, before minutes are spent on what it is to sign."""
    from fer_edge.devices.signing import public_pem

    if not key.is_file():
        raise DeployError(f"{key} does not exist; make a key: fer-edge package --new-key {key}")
    public_pem(key)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)


def payloads_folder() -> Path:
    """Where payloads are kept on the workstation."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fer-edge" / "payloads"
