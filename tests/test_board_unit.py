"""The unit files of a deployed board, as systemd's own tools judge them, and keys and signatures."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fer_edge.devices.board_layout import Layout
from fer_edge.devices.board_release import Release
from fer_edge.devices.board_unit import units
from fer_edge.devices.errors import OutputError
from fer_edge.devices.signing import SigningError, create_key, public_pem, sign, verify


def release(memory_max_bytes: int | None = 402653184) -> Release:
    return Release(
        id="0.1.0-abc",
        version="0.1.0",
        machine="aarch64",
        python="3.11",
        profile="pi4",
        memory_max_bytes=memory_max_bytes,
        system_site_packages=False,
        online=False,
        requirements=(),
        bundle_name="cnn-edge",
        camera="v4l2:/dev/video0",
        camera_timeout_s=50.0,
        engine="tflite",
        precision="int8",
        bench_s=10.0,
        files={},
    )


def texts(systemd: int | None = 252, layout: Layout | None = None, **values: int | None) -> tuple[str, str]:
    """Service and recovery unit."""
    service, recovery = units(layout or Layout(), release(**values), systemd).values()
    return service, recovery


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")


@pytest.mark.parametrize("memory_max_bytes", [402653184, None])
def test_systemd_knows_every_line_and_the_exposure_is_3_at_most(tmp_path: Path, memory_max_bytes: int | None) -> None:
    # The paths in it must exist for `verify`, so the board is a folder here; nothing else depends on it.
    layout = Layout(tmp_path / "opt", tmp_path, tmp_path / "var", "root")
    python = layout.current / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    service, recovery = texts(None, layout, memory_max_bytes=memory_max_bytes)
    for name, text in (("fer-edge.service", service), ("fer-edge-recover.service", recovery)):
        (tmp_path / name).write_text(text)
        verified = analyze("verify", tmp_path / name)
        assert name not in verified.stderr, verified.stderr  # it returns 0 on keys that it does not know
    security = analyze("security", "--offline=true", "--threshold=30", tmp_path / "fer-edge.service")
    assert security.returncode == 0, security.stdout[-200:]
    # The check can fail: without the hardening it does.
    (tmp_path / "open.service").write_text("[Service]\nExecStart=/bin/true\n")
    assert analyze("security", "--offline=true", "--threshold=30", tmp_path / "open.service").returncode != 0


def test_the_service_of_a_board() -> None:
    service, recovery = texts()
    lines = service.splitlines()
    for line in (
        *("Type=notify", "User=fer-edge", "WatchdogSec=100", "TimeoutStartSec=100", "Restart=always", "RestartSec=10"),
        *("MemoryMax=402653184", "MemoryHigh=362387862", "OOMPolicy=kill", "StateDirectory=fer-edge"),
        *("StartLimitIntervalSec=60", "StartLimitBurst=10", "ProtectSystem=strict", "DevicePolicy=closed"),
        "ExecStart=/opt/fer-edge/current/venv/bin/python -P -m fer_edge run "
        "--config /opt/fer-edge/current/run.toml --quiet",
        "Environment=HOME=%S/fer-edge XDG_CACHE_HOME=%S/fer-edge/cache PYTHONUNBUFFERED=1",
    ):
        assert line in lines, line
    for word in ("DynamicUser", "PrivateDevices=yes", "MemoryDenyWriteExecute=yes", "CacheDirectory", "RestartSteps"):
        assert word not in service
    assert "ConditionPathExists=/opt/fer-edge/journal.json" in recovery
    assert "Before=fer-edge.service" in recovery
    assert recovery.count("/opt/fer-edge/board.pyz recover\n") == 1


def test_the_pause_grows_where_systemd_can_let_it() -> None:
    lines = texts(systemd=254)[0].splitlines()
    assert [line for line in lines if line.startswith("Restart")] == [
        *("Restart=always", "RestartSec=5", "RestartSteps=6", "RestartMaxDelaySec=60")
    ]


def test_without_a_limit_memory_is_not_spoken_of() -> None:
    assert "Memory" not in texts(memory_max_bytes=None)[0].replace("MemoryDenyWriteExecute stays off", "")


def test_other_folders_are_told_to_the_recovery(tmp_path: Path) -> None:
    recovery = texts(layout=Layout(tmp_path / "o", tmp_path / "u", tmp_path / "v", "pi"))[1]
    assert f"{tmp_path}/o/board.pyz --root {tmp_path}/o --unit-folder {tmp_path}/u" in recovery
    assert f"--state-folder {tmp_path}/v --user pi recover\n" in recovery


@pytest.fixture
def key(tmp_path: Path) -> Path:
    pytest.importorskip("cryptography")
    create_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def test_a_key_is_its_owners_alone_and_not_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(OutputError, match=r"key.pem exists already, and a key that boards know is not to be lost"):
        create_key(key)
    assert key.read_bytes() == before
    assert create_key(key.with_name("other.pem")) == public_pem(key.with_name("other.pem")) != public_pem(key)


def test_a_signature_holds_for_these_bytes_and_this_key_alone(key: Path) -> None:
    public, signature = public_pem(key).encode(), sign(b"release", key)
    verify(b"release", signature, public)
    create_key(key.with_name("other.pem"))
    other = public_pem(key.with_name("other.pem")).encode()
    for content, text, pem in (
        (b"Release", signature, public),
        (b"release", signature, other),
        (b"release", "AAAA", public),
        (b"release", "no base64 !", public),
        (b"release", "", public),
    ):
        with pytest.raises(SigningError, match="the signature does not hold"):
            verify(content, text, pem)
    with pytest.raises(SigningError, match="the key is no public key in PEM"):
        verify(b"release", signature, b"nonsense")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (["-algorithm", "rsa"], "is another kind of key; expected ed25519"),
        (["-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"], "asks for a password"),
        (None, "is no private key in PEM"),
    ],
)
def test_keys_that_cannot_sign(key: Path, make: list[str] | None, sentence: str) -> None:
    path = key.with_name("strange.pem")
    if make is None:
        path.write_text("nonsense")
    elif shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so nothing here makes such a key")
    else:
        subprocess.run(["openssl", "genpkey", *make, "-out", path], check=True, capture_output=True)
    with pytest.raises(SigningError, match=sentence):
        sign(b"release", path)


def test_a_board_asks_for_a_verdict_by_exit_code(key: Path, tmp_path: Path) -> None:
    (tmp_path / "release.json").write_bytes(b"release")
    (tmp_path / "release.sig").write_text(sign(b"release", key))
    (tmp_path / "key.pub").write_text(public_pem(key))

    def ask(*words: str | Path, path: str = "") -> tuple[int, str]:
        code = f"import sys; sys.path[:0] = {[path] if path else []!r}\nfrom fer_edge.devices.signing import main\n"
        code += "sys.exit(main(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-P", "-c", code, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    files = [tmp_path / name for name in ("release.json", "release.sig", "key.pub")]
    assert ask("verify", *files) == (0, "")
    assert ask("verify", files[0], files[1]) == (2, "expected: verify FILE SIGNATURE KEY\n")
    (tmp_path / "without/cryptography").mkdir(parents=True)
    (tmp_path / "without/cryptography/__init__.py").write_text("raise ModuleNotFoundError('cryptography')")
    code, said = ask("verify", *files, path=str(tmp_path / "without"))
    assert (code, said) == (3, "cryptography is not installed; run: pip install 'fer-edge[deploy]'\n")
    files[0].write_bytes(b"other")
    code, said = ask("verify", *files)
    assert code == 1
    assert said.startswith("the signature does not hold: ")
    files[1].unlink()
    assert ask("verify", *files)[0] == 1
