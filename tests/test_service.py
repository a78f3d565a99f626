"""A run that is left running: systemd's words, signals in every state, reload, heat, the service file."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Frame, redacted
from fer_edge.devices.health import Health, read_health, throttled_bits
from fer_edge.devices.systemd import service_unit
from fer_edge.edge_runtime import Pipeline
from fer_edge.edge_runtime.runner import ScanCadence
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO, write_sample_clip
from fer_edge.edge_runtime.sink_video import SaveSink
from fer_edge.edge_runtime.vocabulary import Observation


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "sample.mp4"
    write_sample_clip(path, frames=60)
    return path


class Service:
    """`fer-edge run` as systemd starts it: with a socket that hears what it says."""

    def __init__(self, folder: Path, *args: str) -> None:
        address = folder / "notify"
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(address))
        self._heard.settimeout(0.05)
        self.words: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fer_edge", "run", *args, "--quiet"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NOTIFY_SOCKET": str(address)},
        )

    def listen(self, reached: Callable[[list[str]], bool], limit_s: float = 60) -> None:
        deadline = time.monotonic() + limit_s
        while not reached(self.words):
            assert time.monotonic() < deadline, f"heard only {self.words}"
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            self._hear()

    def _hear(self) -> None:
        with contextlib.suppress(TimeoutError):
            self.words += self._heard.recv(4096).decode().splitlines()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        for _ in range(20):
            self._hear()
        self._heard.close()
        return self.process.returncode, out, err


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def start(*args: str) -> Service:
        started.append(Service(tmp_path, *args))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def is_ready(words: list[str]) -> bool:
    return "READY=1" in words


def test_systemd_hears_ready_after_the_first_frame_then_the_watchdog_then_the_end(service, clip: Path) -> None:
    run = service(f"replay:{clip}?loop=0&fps=25")
    run.listen(lambda words: words.count("WATCHDOG=1") >= 3)
    code, out, err = run.end()
    assert code == 0, err
    assert err == ""
    assert run.words[0] == "READY=1"
    assert run.words.count("READY=1") == 1
    assert any(word.startswith("STATUS=") and "frames" in word for word in run.words)
    assert run.words[-1] == "STOPPING=1"
    assert " frames, " in out


def test_the_watchdog_is_not_petted_while_the_camera_is_away(service, clip: Path) -> None:
    run = service(f"replay:{clip}?loop=0&fps=25&faults=gone@30:60")
    run.listen(is_ready)
    assert run.process.stderr is not None
    assert "was disconnected; waiting for it" in run.process.stderr.readline()
    for _ in range(20):  # what was said before
        run._hear()
    petted = run.words.count("WATCHDOG=1")
    time.sleep(2.5)
    for _ in range(5):
        run._hear()
    assert run.words.count("WATCHDOG=1") == petted
    assert run.end()[0] == 0


@pytest.mark.parametrize("state", ["labelling", "camera away", "stalled", "opening"])
def test_sigterm_ends_cleanly_in_every_state(service, clip: Path, state: str) -> None:
    fault = {"camera away": "&faults=gone@10:600", "stalled": "&faults=stall@10:600"}.get(state, "")
    word = f"replay:{clip}?loop=0&fps=25{fault}"
    silent = socket.socket()
    if state == "opening":  # a camera that takes the connection and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        word = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
    run = service(word, "--jsonl", "out.jsonl", "--camera-timeout-s", "900")
    if state == "opening":
        silent.settimeout(60)
        silent.accept()
    else:
        run.listen(is_ready)
        time.sleep(1.5 if fault else 0.2)
    code, _, err = run.end()
    silent.close()
    assert code == 0, err
    assert "Traceback" not in err


def test_sighup_reads_the_configuration_again(service, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'source = "replay:{clip}?loop=0&fps=25"\njsonl = "a.jsonl"\n')
    run = service("--config", "run.toml")
    run.listen(is_ready)
    config.write_text(f'source = "replay:{clip}?loop=0&fps=25"\njsonl = "b.jsonl"\n')
    run.process.send_signal(signal.SIGHUP)
    run.listen(lambda words: words.count("READY=1") == 2)
    assert (tmp_path / "a.jsonl").stat().st_size > 0
    written = (tmp_path / "a.jsonl").read_text()
    for wrong, why in {
        'sorce = "nothing"\n': "unknown key 'sorce'; did you mean 'source'?",
        f'source = "{clip}"\naggregate = true\nshow = true\n': "aggregate gives out no faces",
    }.items():
        config.write_text(wrong)
        run.process.send_signal(signal.SIGHUP)
        assert run.process.stderr is not None
        line = run.process.stderr.readline()
        assert why in line
        assert line.endswith("; going on with the configuration from before\n")
        before = run.words.count("WATCHDOG=1")
        run.listen(lambda words, before=before: words.count("WATCHDOG=1") > before + 1)
    config.write_text(f'source = "replay:{clip}?loop=0&fps=25"\njsonl = "a.jsonl"\n')
    run.process.send_signal(signal.SIGHUP)
    run.listen(lambda words: words.count("READY=1") == 3)
    code, _, err = run.end()
    assert code == 0, err
    assert (tmp_path / "a.jsonl").read_text().startswith(written)  # what was written before is gone on with
    assert (tmp_path / "b.jsonl").stat().st_size > 0
    assert any(word.startswith("MONOTONIC_USEC=") for word in run.words)


def test_a_camera_that_stays_away_is_an_exit_code_for_the_supervisor(cli, clip: Path, tmp_path: Path) -> None:
    done = cli("run", f"replay:{clip}?fps=25&faults=gone@20:60", "--camera-timeout-s", "1.5", "--jsonl", "out.jsonl")
    assert done.returncode == 1
    assert "gave no frame for 1.5 s; is the camera still connected?" in done.stderr
    assert "1 gaps" in done.stdout
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) >= 10


def test_a_camera_that_is_gone_for_a_while_comes_back_with_its_gap_published(cli, clip: Path, tmp_path: Path) -> None:
    done = cli("run", f"replay:{clip}?fps=25&loop=3&faults=gone@20:1.2", "--jsonl", "out.jsonl")
    assert done.returncode == 0, done.stderr
    gaps = [
        row["gap_ms"] for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines()) if row["gap_ms"]
    ]
    assert len(gaps) == 1
    assert gaps[0] >= 1200
    assert "reopened 1 times" in done.stdout


def test_two_pipelines_at_once_see_what_each_sees_alone(clip: Path) -> None:
    def seen() -> list[tuple]:
        with Pipeline(clip) as pipeline:
            return [tuple((p.face, p.label, p.logits.tobytes()) for p in o.predictions) for o in pipeline]

    alone = seen()
    found: dict[int, list[tuple]] = {}
    threads = [threading.Thread(target=lambda at=at: found.update({at: seen()})) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: alone, 1: alone}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x0", ()),
        ("throttled=0x50000", ()),  # of some time since boot, not of now
        ("throttled=0x50005", ("under-voltage", "throttled")),
        ("0xe", ("frequency capped", "throttled", "soft temperature limit")),
        ("VCHI initialization failed", None),
        (None, None),
    ],
)
def test_throttling_bits(text: str | None, expected: tuple[str, ...] | None) -> None:
    assert throttled_bits(text) == expected


def test_what_a_board_does_not_say_is_none(tmp_path: Path) -> None:
    assert read_health(tmp_path) == Health(None, None, None)


def test_health_of_a_pi(tmp_path: Path) -> None:
    for path, text in {
        "sys/class/thermal/thermal_zone0/temp": "61234\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "2\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert read_health(tmp_path) == Health(61.234, ("frequency capped",), 1800.0)


class _Sampler:
    def __init__(self) -> None:
        self.latest = Health(None, None, None)


def test_heat_makes_full_scans_rare_and_coolness_brings_them_back(clip: Path) -> None:
    said: list[str] = []
    sampler = _Sampler()
    with Pipeline(clip, scan_every=10) as pipeline:
        cadence = ScanCadence(pipeline, said.append)
        every = []
        for health in [
            Health(60.0, (), None), Health(81.0, (), None), Health(77.0, (), None), Health(74.0, (), None),
            Health(60.0, ("soft temperature limit",), None), Health(60.0, ("under-voltage",), None),
        ]:  # fmt: skip
            sampler.latest = health
            cadence.heed(sampler)  # type: ignore[arg-type]
            every.append(pipeline.labeller.follower.scan_every)
    assert every == [10, 40, 40, 10, 40, 10]
    assert said[0] == "hot (81 °C): a full scan every 40 frames"
    assert said[1] == "cool again (74 °C): a full scan every 10 frames"
    assert said[2] == "hot (soft temperature limit): a full scan every 40 frames"


def test_print_config_is_a_file_that_says_the_same(cli, tmp_path: Path) -> None:
    first = cli("run", "clip.mp4", "--scan-every", "7", "--no-gate", "--mqtt", "mqtt://broker", "--print-config")
    assert first.returncode == 0, first.stderr
    (tmp_path / "run.toml").write_text(first.stdout)
    second = cli("run", "--config", "run.toml", "--print-config")
    assert second.stdout == first.stdout
    assert "scan_every = 7" in second.stdout
    third = cli("run", "--config", "run.toml", "--scan-every", "9", "--print-config")
    assert "scan_every = 9" in third.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dwel_s = 1", "unknown key 'dwel_s'; did you mean 'dwell_s'?"),
        ("zzz = 1", "unknown key 'zzz'; there are source, bundle, "),
        ('threads = "two"', "threads is 'two'; expected a whole number"),
        ("threads = true", "threads is True; expected a whole number"),
        ("gate = 1", "gate is 1; expected true or false"),
        ("threads = 0", "threads is 0; expected 1 to 64"),
        ("hysteresis = nan", "hysteresis is nan; expected 0 to 0.99"),
        ("threads = ", "is not TOML"),
        (None, "cannot read run.toml"),
    ],
)
def test_a_wrong_file_is_one_sentence(cli, tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "run.toml").write_text(f'source = "x.jpg"\n{text}\n')
    done = cli("run", "--config", "run.toml")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            ("--aggregate", "--save", "x.mp4", "--csv", "x.csv"),
            "aggregate gives out no faces; leave save and show away",
        ),
        (("--aggregate",), "aggregate needs somewhere to give its counts"),
        (("--no-gate", "--min-margin", "0.2"), "gate is off, and min_margin given"),
        (("--jsonl", "x", "--csv", "x"), "is the source or another output"),
    ],
)
def test_options_that_contradict_each_other(cli, clip: Path, args: tuple[str, ...], sentence: str) -> None:
    done = cli("run", clip, *args)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_the_service_file_is_one_that_systemd_takes(cli, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('source = "0"\ncamera_timeout_s = 100\n')
    printed = cli("service", "print", "--config", "run.toml")
    assert printed.returncode == 0, printed.stderr
    installed = cli("service", "install", "--config", "run.toml", "--folder", tmp_path)
    unit = tmp_path / "fer-edge.service"
    assert installed.returncode == 0, installed.stderr
    assert unit.read_text() == printed.stdout
    for line in ("Type=notify", "WatchdogSec=200", "DynamicUser=yes", "DevicePolicy=closed", "ProtectSystem=strict"):
        assert line in printed.stdout.splitlines()
    assert "PrivateDevices=yes" not in printed.stdout  # it would hide the camera
    assert "MemoryDenyWriteExecute=yes" not in printed.stdout  # engines compile at run time
    try:
        verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")
    assert "fer-edge.service" not in verified.stderr, verified.stderr  # it returns 0 on keys that it does not know
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)], capture_output=True, check=False
    )
    assert security.returncode == 0, security.stdout


def test_paths_and_names_that_a_service_file_must_quote_or_refuse() -> None:
    text = service_unit(Path("/opt/my env/bin/python"), Path("/etc/100%/$run.toml"), user="pi")
    assert 'ExecStart="/opt/my env/bin/python" -P -m fer_edge run --config "/etc/100%%/$$run.toml" --quiet' in text
    assert "User=pi" in text
    for name, path in (("a b", "/x"), ("a\nUser=root", "/x"), ("ok", "relative"), ("ok", "/x\nUser=root")):
        with pytest.raises(Exception, match=r"expected (letters|an absolute path)"):
            service_unit(Path("/python"), Path(path), name=name)


def test_a_service_without_a_source_or_with_a_wrong_key_is_refused(cli, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("quiet = true\n")
    assert "run.toml has no source" in cli("service", "print", "--config", "run.toml").stderr
    (tmp_path / "run.toml").write_text('source = "0"\nweb_adress = "x"\n')
    assert "unknown key 'web_adress'" in cli("service", "print", "--config", "run.toml").stderr


def test_a_full_disk_is_said_and_the_camera_goes_on(cli, clip: Path, tmp_path: Path) -> None:
    """With a camera labelling goes on without the file; with a clip, where every frame counts, the run ends."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        live = cli("run", f"replay:{clip}?fps=0&loop=3", "--jsonl", small / "out.jsonl", "--quiet")
        rows = [json.loads(line) for line in (small / "out.jsonl").read_text().splitlines()]
        (small / "out.jsonl").unlink()
        whole = cli("run", clip, "--jsonl", small / "out.jsonl", "--quiet")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert live.returncode == 0, live.stderr
    assert live.stderr.count("No space left on device; the lines before are kept; labelling goes on without it") == 1
    assert "180 frames" in live.stdout
    assert f"jsonl: {len(rows)} written, " in live.stdout
    assert "failed" in live.stdout
    assert whole.returncode == 1
    assert "No space left on device; the lines before are kept" in whole.stderr


def test_a_reload_is_heeded_while_the_camera_is_away(service, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'source = "replay:{clip}?loop=0&fps=25&faults=gone@10:600"\ncamera_timeout_s = 500\n')
    run = service("--config", "run.toml")
    run.listen(is_ready)
    assert run.process.stderr is not None
    assert "was disconnected" in run.process.stderr.readline()
    config.write_text(f'source = "replay:{clip}?loop=0&fps=25"\n')
    run.process.send_signal(signal.SIGHUP)
    run.listen(lambda words: words.count("READY=1") == 2)
    assert run.end()[0] == 0


@pytest.mark.parametrize("source", ["fake:?faces=4&fps=60", "{clip}"])
def test_a_reader_who_stalls_does_not_stop_sigterm(clip: Path, tmp_path: Path, source: str) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 1024)
    os.set_blocking(write, True)
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_edge", "run", source.format(clip=clip), "--jsonl", "out.jsonl", "--quiet"]
        if source == "{clip}"
        else [sys.executable, "-m", "fer_edge", "run", source],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    try:
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        os.close(read)


def test_an_interpreter_that_goes_down_slowly_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, time\n"
        "class Slow:\n"
        "    def __del__(self, sleep=time.sleep):\n"
        "        sleep(3)\n"
        "builtins.slow = Slow()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_edge", "run", "fake:?faces=1", "--jsonl", "out.jsonl", "--quiet"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "out.jsonl").exists() or not (tmp_path / "out.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.1)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_privacy_mode_shows_no_single_face_anywhere(cli, clip: Path, tmp_path: Path) -> None:
    done = cli("run", f"replay:{clip}?fps=0", "--aggregate", "--csv", "minutes.csv", "--jsonl", "minutes.jsonl")
    assert done.returncode == 0, done.stderr
    assert "#1" not in done.stdout
    assert "labels" not in done.stdout
    assert "60 frames\n" in done.stdout
    [minute] = [json.loads(line) for line in (tmp_path / "minutes.jsonl").read_text().splitlines()]
    assert minute["frames"] == 60
    assert "faces" not in minute
    assert "box" not in (tmp_path / "minutes.csv").read_text()


@pytest.mark.parametrize("option", [("--save", "bad.txt"), ("--metrics", "nonsense"), ("--aggregate",)])
def test_a_wrong_option_does_not_empty_a_result_that_is_there(cli, tmp_path: Path, option: tuple[str, ...]) -> None:
    (tmp_path / "old.jsonl").write_text("a result\n")
    done = cli("run", SAMPLE_PHOTO, "--jsonl", "old.jsonl", *option)
    assert done.returncode == 1
    assert (tmp_path / "old.jsonl").read_text() == "a result\n"


def test_the_clip_of_a_replay_is_not_written_over(cli, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(clip.read_bytes())
    done = cli("run", "replay:c.mp4?fps=0", "--jsonl", "c.mp4")
    assert done.returncode == 1
    assert "writing it would destroy that" in done.stderr
    assert (tmp_path / "c.mp4").read_bytes() == clip.read_bytes()


def test_outputs_do_not_land_among_the_photos(cli, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(SAMPLE_PHOTO.read_bytes())
    done = cli("run", "photos", "--jsonl", "photos/a.jpg")
    assert done.returncode == 1
    assert "lies in the source's folder" in done.stderr
    assert (photos / "a.jpg").read_bytes() == SAMPLE_PHOTO.read_bytes()


def test_an_option_that_nothing_would_heed_is_said(cli) -> None:
    done = cli("run", SAMPLE_PHOTO, "--rotate-mb", "1")
    assert done.returncode == 1
    assert "rotate_mb does nothing without jsonl or csv" in done.stderr


def test_a_save_that_was_not_written_is_an_error_and_not_a_claim(cli) -> None:
    done = cli("run", "fake:?frames=40", "--save", "/proc/x/y.mp4")
    assert done.returncode == 1
    assert "wrote" not in done.stdout
    assert "/proc/x/y.mp4 was not written" in done.stderr


def test_a_path_in_the_file_is_relative_to_the_file(cli, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "photo.jpg").write_bytes(SAMPLE_PHOTO.read_bytes())
    (tmp_path / "etc" / "run.toml").write_text('source = "photo.jpg"\n')
    done = cli("run", "--config", "etc/run.toml")
    assert done.returncode == 0, done.stderr
    assert "photo.jpg: 1 face" in done.stdout


def test_somebody_elses_unit_is_left_alone(cli, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('source = "0"\n')
    (tmp_path / "ssh.service").write_text("[Service]\n")
    done = cli("service", "install", "--config", "run.toml", "--name", "ssh", "--folder", tmp_path)
    assert done.returncode == 1
    assert "was not written by fer-edge" in done.stderr
    assert (tmp_path / "ssh.service").read_text() == "[Service]\n"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:secret@host/live", "rtsp://***@host/live"),
        ("rtsp://user:se@cret@host/live", "rtsp://***@host/live"),
        ("rtsp://user:secret@host/a@b", "rtsp://***@host/a@b"),
        ("http://host/v.cgi?user=admin&pwd=secret", "http://host/v.cgi?***"),
        ("rtsp://host:554/live", "rtsp://host:554/live"),
        ("fake:?faces=2", "fake:?faces=2"),
    ],
)
def test_no_secret_of_an_address_is_shown(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_a_camera_that_changes_its_picture_keeps_what_was_saved_until_then(tmp_path: Path) -> None:
    def seen(seq: int, size: tuple[int, int]) -> tuple[Observation, Frame]:
        frame = Frame(np.zeros(size, np.uint8), None, seq, seq * 40_000_000)
        return Observation(seq, (), {}, 0.0, frame.t_capture_ns, frame.clock_ns), frame

    sink = SaveSink(tmp_path / "out.mp4", still=False, live=True, fps=25)
    for seq in range(50):
        sink.put(*seen(seq, (120, 160)))
    for seq in range(50, 60):
        with pytest.raises(OutputError, match="the clip until then is kept"):
            sink.put(*seen(seq, (240, 320)))
    sink.close()
    assert sink.saved
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 50


def test_a_saved_camera_clip_plays_in_real_time(tmp_path: Path) -> None:
    """A loop that is slower than the camera: every picture is shown for as long as it was the newest."""
    sink = SaveSink(tmp_path / "out.mp4", still=False, live=True, fps=25)
    for seq in range(0, 50, 5):
        frame = Frame(np.zeros((120, 160), np.uint8), None, seq, seq * 40_000_000)
        sink.put(Observation(seq, (), {}, 0.0, frame.t_capture_ns, frame.clock_ns), frame)
    sink.close()
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 46


def test_a_camera_that_is_gone_for_a_minute(cli, clip: Path, tmp_path: Path) -> None:
    done = cli(
        "run", f"replay:{clip}?fps=25&loop=2&faults=gone@20:60", "--camera-timeout-s", "90", "--jsonl", "o.jsonl"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("waiting for it") == done.stderr.count("gives frames again after") == 1
    [gap_ms] = [
        row["gap_ms"] for row in map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines()) if row["gap_ms"]
    ]
    assert gap_ms >= 60_000
