"""The web page and its API: a real server on a free port, spoken to over HTTP and looked at with a real browser."""

import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime import annotate
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO
from fer_edge.edge_runtime.vocabulary import EMOTIONS, UNCERTAIN, Doubt, Face, Observation, Prediction
from fer_edge.edge_runtime.web_app import build_app
from fer_edge.edge_runtime.web_guard import COOKIE, host_name
from fer_edge.edge_runtime.web_photo import MAX_BYTES, RateLimit, picture_size
from fer_edge.edge_runtime.web_server import WebServer, is_loopback, parse_address, token_for
from fer_edge.edge_runtime.web_sink import WebSink
from fer_edge.edge_runtime.web_timeline import SECONDS, Timeline

CHROMIUM = Path("/usr/bin/chromium")
TOKEN = "correct-horse-battery"
DEADLINE_S = 30.0
LATENCY = {"p50_ms": 3.5, "p90_ms": 7.25, "p95_ms": None, "p99_ms": None, "mean_ms": 4.0, "count": 40}
OF_FACES = ("faces", "labels", "labels_changed")


def eventually(check: Callable[[], Any], what: str) -> Any:
    """What `check` gives, once it is true."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        if found := check():
            return found
        time.sleep(0.05)
    pytest.fail(f"{what}: not within {DEADLINE_S:.0f} s")


def prediction(label: str, box: tuple[int, int, int, int], confidence: float, track: int | None = None) -> Prediction:
    """A face of which the model says `label`, or of which it is unsure."""
    probabilities = np.full(7, (1 - confidence) / 6, np.float32)
    probabilities[EMOTIONS.index("sad" if label == UNCERTAIN else label)] = confidence
    reason = Doubt.UNSURE if label == UNCERTAIN else None
    return Prediction(Face(box, 1.0, track), np.log(probabilities), probabilities, label, reason)


def observation(seq: int, *predictions: Prediction) -> Observation:
    """What a frame shows, with made-up times."""
    now = time.monotonic_ns()
    return Observation(seq, predictions, {"capture": 1_000_000, "infer": 2_000_000, "total": 3_000_000}, 4.5, now, now)


@dataclass
class Camera:
    """A sink that is fed on a thread, behind a real server; what it is and says can be changed."""

    sink: WebSink
    state: str = "live"
    labels: tuple[str, str] = ("happy", UNCERTAIN)
    token: str | None = None
    server: WebServer = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        app = build_app(self.sink, self.status, self.predict, token=self.token, show_faces=self.sink.needs_pixels)
        self.server = WebServer(app, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sink.close()
        self.server.close()

    @property
    def url(self) -> str:
        return self.server.url.rstrip("/")

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=DEADLINE_S, trust_env=False, **options)

    def status(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "version": "9.9",
            "source": "a camera",
            "bundle": {"name": "tiny", "sha256": "0" * 64},
            "engine": "tflite/int8",
            "detector": "haar",
            "uptime_s": 61.0,
            "frames": 1234,
            "faces": 2468,
            "labels": {"happy": 1234},
            "fps": None,
            "age_ms": LATENCY,
            "stages": {"infer": LATENCY, "total": LATENCY},
            "camera": {"captured": 1240, "dropped": 6, "gaps": 0, "gap_s": 0.0, "reopened": 0},
            "scan_every": 15,
            "full_scans": 80,
            "health": {"temp_c": 61.5, "throttled": ["now: too hot"], "clock_mhz": None},
            "labels_changed": {"per_face_minute": 2.0, "unsmoothed_per_face_minute": 9.0, "delay_ms": 100.0},
            "sinks": {"web": {"written": 1234, "dropped": 0, "failed": 0, "error": None}},
        }

    def predict(self, bgr: np.ndarray) -> Observation:
        height, width = bgr.shape[:2]
        return observation(0, prediction("surprise", (0, 0, width // 2, height // 2), 0.9))

    def _feed(self) -> None:
        photo = cv2.imread(str(SAMPLE_PHOTO))
        assert photo is not None
        seq = 0
        while not self._stop.wait(0.04):
            seq += 1
            if self.state != "live":
                continue
            bgr = np.roll(photo, 3 * seq, axis=1)
            share = 0.6 + 0.3 * (seq // 10 % 2)
            faces = [
                prediction(label, (40 + 150 * i, 60, 160 + 150 * i, 180), share, i + 1)
                for i, label in enumerate(self.labels)
            ]
            frame = Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), bgr, seq, time.monotonic_ns())
            self.sink.put(observation(seq, *faces), frame if self.sink.needs_pixels else None)


@pytest.fixture
def camera() -> Iterator[Camera]:
    with closing(Camera(WebSink())) as made:
        yield made


@pytest.fixture
def locked() -> Iterator[Camera]:
    with closing(Camera(WebSink(), token=TOKEN)) as made:
        yield made


@pytest.fixture
def hidden() -> Iterator[Camera]:
    with closing(Camera(WebSink(pictures=False))) as made:
        yield made


def photo_file(side: int = 64) -> bytes:
    done, data = cv2.imencode(".jpg", np.full((side, side, 3), 128, np.uint8))
    assert done
    return data.tobytes()


def messages(client: httpx.Client, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with client.stream("GET", "/v1/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if len(found) == count:
                break
    return found


# ---- what the routes answer ----


def test_the_stream_gives_moving_pictures_and_notices_who_leaves(camera: Camera) -> None:
    with camera.client() as client, client.stream("GET", "/stream.mjpg") as answer:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        assert answer.headers["cache-control"] == "no-store"
        read = b""
        for part in answer.iter_bytes():
            read += part
            if read.count(b"\r\n--frame\r\n") >= 3:
                break
    parts = read.removeprefix(b"--frame\r\n").split(b"\r\n--frame\r\n")[:3]
    heads, pictures = zip(*(part.split(b"\r\n\r\n", 1) for part in parts), strict=True)
    assert all(f"Content-Length: {len(p)}".encode() in h for h, p in zip(heads, pictures, strict=True))
    assert len(set(pictures)) == 3
    assert all(cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR) is not None for p in pictures)
    eventually(lambda: camera.sink.watchers == 0, "nobody watches any more")


def test_pictures_are_encoded_only_while_somebody_watches(camera: Camera) -> None:
    eventually(lambda: camera.sink.newest.seq > 10, "frames come")
    assert camera.sink.newest.jpeg is None


def test_events_carry_the_record_and_the_status(camera: Camera) -> None:
    with camera.client() as client:
        found = messages(client, 6)
    assert found[0]["status"]["state"] == "live"
    seen = [message["observation"] for message in found if message["observation"]]
    assert len({record["frame"] for record in seen}) == len(seen) > 1
    assert [face["label"] for face in seen[0]["faces"]] == ["happy", UNCERTAIN]
    assert seen[0]["faces"][1]["reason"] == "unsure"


def test_status_timeline_and_schema(camera: Camera) -> None:
    with camera.client() as client:
        status = client.get("/v1/status").json()
        assert (status["v"], status["state"], status["fps"]) == (1, "live", None)
        steps = eventually(lambda: client.get("/v1/timeline").json()["steps"], "the timeline fills")
        assert steps[0]["dominant"] in ("happy", UNCERTAIN)
        paths = client.get("/openapi.json").json()["paths"]
        assert "multipart/form-data" in paths["/v1/predict"]["post"]["requestBody"]["content"]
        assert client.get("/nothing").json() == {"error": "Not Found"}
        assert client.get("/web/..%2fweb_app.py").status_code == 404


def test_healthz_says_when_the_camera_is_away(camera: Camera) -> None:
    with camera.client() as client:
        assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "ok"})
        camera.state = "away"
        answer = eventually(lambda: (got := client.get("/healthz")).status_code == 503 and got, "the camera is away")
        assert answer.json() == {"status": "away"}


def test_metrics_are_prometheus_text(camera: Camera) -> None:
    with camera.client() as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert re.search(r"^fer_edge_frames_total 1234\.0$", answer.text, re.MULTILINE)


def test_a_photo_is_labelled_as_body_and_as_form(camera: Camera) -> None:
    with camera.client() as client:
        by_body = client.post("/v1/predict", content=photo_file(), headers={"Content-Type": "image/jpeg"}).json()
        by_form = client.post("/v1/predict", files={"photo": ("me.jpg", photo_file())}).json()
        drawn = client.post("/v1/predict?annotated=1", content=photo_file())
    assert by_body.pop("ms") >= 0
    assert by_form.pop("ms") >= 0
    assert by_body == by_form
    assert {key: by_body[key] for key in ("v", "width", "height", "engine")} == {
        "v": 1, "width": 64, "height": 64, "engine": "tflite/int8",
    }  # fmt: skip
    (face,) = by_body["faces"]
    assert (face["label"], face["box_xyxy"], face["reason"]) == ("surprise", [0, 0, 32, 32], None)
    assert set(face) == {"box_xyxy", "label", "reason", "confidence", "probabilities"}
    assert drawn.headers["content-type"] == "image/jpeg"
    assert picture_size(drawn.content) == (64, 64)


# ---- what is refused ----


def refused(answer: httpx.Response, status: int, text: str) -> None:
    assert (answer.status_code, answer.json().keys()) == (status, {"error"}), answer.text
    assert text in answer.json()["error"]


def test_what_is_no_photo_is_refused(camera: Camera) -> None:
    with camera.client() as client:
        refused(client.post("/v1/predict", content=b"hello"), 415, "send a JPEG, PNG or WebP file")
        refused(client.post("/v1/predict", content=b""), 415, "not a photo")
        refused(client.post("/v1/predict", files={"other": b"x"}), 415, "no file named photo")
        refused(client.post("/v1/predict", content=photo_file()[:200]), 415, "")
        bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 30_000, 30_000) + bytes(64)
        refused(client.post("/v1/predict", content=bomb), 413, "50 megapixels")


def test_a_body_that_is_too_long_is_refused(camera: Camera) -> None:
    long = bytes(MAX_BYTES + 1)
    with camera.client() as client:
        refused(client.post("/v1/predict", content=long), 413, "larger than 10 MB")
        refused(client.post("/v1/predict", content=iter([long])), 413, "larger than 10 MB")  # no Content-Length
        refused(client.post("/v1/predict", files={"photo": long}), 413, "larger than 10 MB")


@pytest.mark.parametrize("declared", [10, 10**12])
def test_a_content_length_that_lies_harms_nothing(camera: Camera, declared: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", camera.server.port, timeout=DEADLINE_S)
    with closing(connection):
        connection.putrequest("POST", "/v1/predict")
        connection.putheader("Content-Length", str(declared))
        connection.endheaders()
        try:
            for _ in range(70):
                connection.send(bytes(1_000_000))
            assert connection.getresponse().status in (400, 413, 415)
        except OSError:
            pass  # the server hung up on it, which is as good
    with camera.client() as client:
        assert client.get("/healthz").status_code == 200


def test_too_many_photos_at_once_have_to_wait(camera: Camera) -> None:
    with camera.client() as client:
        answers = [client.post("/v1/predict", content=b"no photo") for _ in range(12)]
    late = [answer for answer in answers if answer.status_code == 429]
    assert late
    assert int(late[0].headers["retry-after"]) >= 1
    refused(late[0], 429, "too many photos at once")


def test_one_photo_is_labelled_at_a_time(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = [0], [0]
    plain = camera.predict

    def slowly(bgr: np.ndarray) -> Observation:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.1)
        inside[0] -= 1
        return plain(bgr)

    app = build_app(camera.sink, camera.status, slowly, token=None)
    with closing(WebServer(app, "127.0.0.1", 0)) as server:
        codes: list[int] = []

        def post() -> None:
            codes.append(httpx.post(f"{server.url}v1/predict", content=photo_file(), timeout=DEADLINE_S).status_code)

        threads = [threading.Thread(target=post) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (codes, most) == ([200] * 4, [1])


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1:8080", True),
        ("localhost", True),
        ("[::1]:8080", True),
        ("192.168.1.20:8080", True),
        ("{hostname}.local:8080", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:8080@evil.example", False),
        ("", False),
    ],
)
def test_only_this_machines_names_are_answered(camera: Camera, host: str, passes: bool) -> None:
    host = host.format(hostname=socket.gethostname().partition(".")[0])
    with camera.client() as client:
        answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == (200 if passes else 421 if host else answer.status_code)
    assert (answer.status_code == 200) is passes


def test_pages_of_other_sites_may_not_send(camera: Camera) -> None:
    with camera.client() as client:
        for origin in ("http://evil.example", "null", camera.url.replace("127.0.0.1", "localhost")):
            refused(client.post("/v1/predict", content=photo_file(), headers={"Origin": origin}), 403, "other sites")
        assert client.post("/v1/predict", content=photo_file(), headers={"Origin": camera.url}).status_code == 200


def test_headers_keep_other_pages_out(camera: Camera) -> None:
    with camera.client() as client:
        page = client.get("/")
        assert client.get("/v1/status").headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert (page.headers["x-content-type-options"], page.headers["x-frame-options"]) == ("nosniff", "DENY")
    assert page.headers["referrer-policy"] == "no-referrer"


def test_the_token_is_asked_for_everywhere_but_at_healthz(locked: Camera) -> None:
    with locked.client() as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/", "/stream.mjpg", "/v1/events", "/v1/status", "/v1/timeline", "/metrics", "/openapi.json",
                     "/docs", "/web/app.js", "/nothing"):  # fmt: skip
            refused(client.get(path), 401, "a token is needed")
        refused(client.post("/v1/predict", content=photo_file()), 401, "a token is needed")
        refused(client.get("/v1/status", headers={"Authorization": "Bearer wrong"}), 401, "a token is needed")
        refused(client.get("/v1/status", headers={"Cookie": f"{COOKIE}={TOKEN}"}), 401, "a token is needed")
        assert client.get("/v1/status", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        page = client.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 401
        assert "Token of this device" in page.text


def test_a_link_with_the_token_leads_to_one_without(locked: Camera) -> None:
    with locked.client() as client:
        wrong = client.get("/", params={"token": "wrong"})
        assert (wrong.status_code, wrong.cookies.get(COOKIE)) == (401, None)
        answer = client.get("/docs", params={"token": TOKEN, "a": "b&c"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/docs?a=b%26c")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert client.get("/docs").status_code == 200
        away = client.get(f"{locked.url}//evil.example/", params={"token": TOKEN})
        assert away.headers["location"] == "/evil.example/"


def test_without_faces_there_are_counts_only(hidden: Camera) -> None:
    with hidden.client() as client:
        refused(client.get("/stream.mjpg"), 403, "counts only")
        refused(client.post("/v1/predict", content=photo_file()), 403, "counts only")
        status = client.get("/v1/status").json()
        assert status["frames"] == 1234
        assert not set(OF_FACES) & status.keys()
        assert all(message["observation"] is None for message in messages(client, 3))
        assert client.get("/v1/timeline").json()["step_s"] == 60
        assert 'data-faces="hidden"' in client.get("/").text
    assert hidden.sink.needs_pixels is False


# ---- the server ----


def test_closing_ends_open_streams_and_the_thread(camera: Camera) -> None:
    before = {thread for thread in threading.enumerate() if thread.name != "web"}
    with (
        camera.client() as client,
        client.stream("GET", "/stream.mjpg") as pictures,
        client.stream("GET", "/v1/events") as events,
    ):
        next(moving := pictures.iter_raw())
        camera.server.close()
        for rest in (moving, events.iter_raw()):
            for _ in rest:  # each ends by itself, and as a stream should: without an error
                pass
    eventually(lambda: not any(thread.name == "web" for thread in threading.enumerate()), "the server's thread ends")
    eventually(lambda: set(threading.enumerate()) <= before, "no thread is left")
    camera.server.close()
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", camera.server.port)):
        pass


def test_a_client_that_takes_nothing_does_not_keep_the_server(camera: Camera) -> None:
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", camera.server.port))
        idle.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        eventually(lambda: camera.sink.newest.jpeg_seq > 30, "its buffers are full")
        camera.server.close()
        eventually(lambda: not any(t.name == "web" for t in threading.enumerate()), "the server's thread ends")


def test_a_port_in_use_is_one_sentence(camera: Camera) -> None:
    app = build_app(camera.sink, camera.status, camera.predict, token=None)
    port = camera.server.port
    with pytest.raises(OutputError, match=f"127.0.0.1:{port} is already in use; choose another port for --web"):
        WebServer(app, "127.0.0.1", port)
    with pytest.raises(OutputError, match=r"cannot listen on 192\.0\.2\.1:0"):
        WebServer(app, "192.0.2.1", 0)
    with pytest.raises(OutputError, match=r"cannot listen on no\.such\.invalid"):
        WebServer(app, "no.such.invalid", 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("pi.local:65535", ("pi.local", 65535)),
        *(
            (bad, None)
            for bad in ("", "8080", ":8080", "127.0.0.1", "::1:80", "[pi]:80", "a:65536", "a:-1", "http://a:80")
        ),
    ],
)
def test_addresses(text: str, expected: tuple[str, int] | None) -> None:
    if expected is None:
        with pytest.raises(OutputError, match=r"HOST:PORT such as 127\.0\.0\.1:8080"):
            parse_address(text)
    else:
        assert parse_address(text) == expected


def test_a_token_is_needed_beyond_loopback(tmp_path: Path) -> None:
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "localhost", "0.0.0.0", "pi")] == [True] * 3 + [
        False
    ] * 2
    assert token_for("127.0.0.1", None) is None
    with pytest.raises(OutputError, match="is not loopback: give --web-token-file FILE"):
        token_for("0.0.0.0", None)
    secret = tmp_path / "token"
    with pytest.raises(OutputError, match="cannot read the token file"):
        token_for("0.0.0.0", secret)
    secret.write_text(f"{TOKEN}\nnot this\n")
    secret.chmod(0o644)
    with pytest.raises(OutputError, match=f"chmod 600 {secret}"):
        token_for("127.0.0.1", secret)
    secret.chmod(0o600)
    assert token_for("127.0.0.1", secret) == TOKEN
    secret.write_text("short\n")
    with pytest.raises(OutputError, match="has 5 characters and a token needs 16"):
        token_for("0.0.0.0", secret)


# ---- the parts ----


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_the_size_is_read_from_the_header(kind: str) -> None:
    done, data = cv2.imencode(kind, np.zeros((37, 91, 3), np.uint8))
    assert done
    photo = data.tobytes()
    assert picture_size(photo) == (91, 37)
    assert [picture_size(photo[:n]) for n in range(12)] == [None] * 12
    for n in range(len(photo)):
        picture_size(photo[:n])


def test_a_lossless_webp_states_its_size_too() -> None:
    done, data = cv2.imencode(".webp", np.zeros((37, 91, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert done
    assert picture_size(data.tobytes()) == (91, 37)


def test_the_rate_is_of_each_client_and_refills() -> None:
    now = [0.0]
    rate = RateLimit(per_s=2, burst=2, clients=2, clock=lambda: now[0])
    assert [rate.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    assert rate.wait_s("b") == 0.0
    now[0] = 0.5
    assert [rate.wait_s("a") for _ in range(2)] == [0.0, 0.5]


def test_the_timeline_adds_face_seconds_and_forgets() -> None:
    now = [1000.0]
    timeline = Timeline(lambda: now[0])
    for at, labels in ((1000.0, ["sad"]), (1000.5, ["sad", "happy"]), (1001.0, ["happy"]), (1090.0, ["happy"])):
        now[0] = at
        timeline.add(labels)
    steps = timeline.as_dict()["steps"]
    assert [(s["t"], s["face_s"]) for s in steps] == [
        (1000, {"sad": 0.5, "happy": 0.5}),
        (1001, {"happy": 0.5}),
        (1090, {"happy": 1.0}),  # the 89 s before it were not seen
    ]
    now[0] = 1100.0
    assert [(s["t"], s["frames"]) for s in timeline.as_dict(60)["steps"]] == [(960, 3)]  # 1080 is not over
    now[0] = 1000.0 + 10 * SECONDS
    assert timeline.as_dict()["steps"] == []
    for second in range(3 * SECONDS):
        now[0] = 10_000.0 + second
        timeline.add(["sad"])
    assert len(timeline.as_dict()["steps"]) == SECONDS


def test_host_headers_are_taken_apart() -> None:
    cases = {"a:80": "a", "A.": "a", "[::1]": "::1", "[::1]:8": "::1", "a b": None, "a:x": None, "::1": None}
    assert {header: host_name(header) for header in cases} == cases


def test_the_page_has_the_colours_of_the_picture() -> None:
    css = (Path(annotate.__file__).parent / "web" / "style.css").read_text()
    for label in (*EMOTIONS, UNCERTAIN):
        blue, green, red = annotate._BGR[label]
        assert f"--{label}: #{red:02x}{green:02x}{blue:02x};" in css


# ---- the page, in a browser ----


class Looks:
    """A page that is watched: its errors, and the hosts that it asks. Polls from here, for its policy forbids eval."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda said: self.errors.extend([said.text] if said.type == "error" else []))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda asked: self.hosts.add(httpx.URL(asked.url).host))

    def open(self, url: str) -> None:
        self.page.goto(url, wait_until="domcontentloaded")  # "load" never comes while the picture streams

    def until(self, script: str) -> Any:
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            try:
                if found := self.page.evaluate(script):
                    return found
            except Exception as error:
                if "navigation" not in str(error):
                    raise
            self.page.wait_for_timeout(50)  # a plain sleep would hold back the events of the page
        pytest.fail(f"not within {DEADLINE_S:.0f} s: {script}; {self.errors}")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def looks(chromium: Any) -> Iterator[Looks]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield Looks(context.new_page())
    context.close()


MOVING = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
  canvas.getContext("2d").drawImage(document.getElementById("stream"), 0, 0, 64, 64);
  return canvas.toDataURL();
}"""
LIVE = 'document.getElementById("stream")?.naturalWidth > 0 && document.querySelectorAll(".face").length === 2'


def test_the_page_is_alive(camera: Camera, looks: Looks) -> None:
    looks.open(camera.url)
    looks.until(LIVE)
    first = looks.page.evaluate(MOVING)
    eventually(lambda: (looks.page.wait_for_timeout(50), looks.page.evaluate(MOVING) != first)[1], "the picture moves")
    bar = 'document.querySelector(".face .bar[data-emotion=happy] b").style.transform'
    before = looks.page.evaluate(bar)
    looks.until(f"{bar} !== {json.dumps(before)}")
    looks.until('document.getElementById("spoken").textContent === "happy, uncertain (no clear favourite)"')
    looks.until('document.getElementById("legend").children.length > 0')
    assert looks.text("#state") == "live"
    assert looks.text("#fps") == "–", "what was not measured is a dash"
    assert looks.text("#temp") == "61.5 °C"
    assert "too hot" in looks.text("#throttled")
    assert looks.text("#stages tr").split() == ["infer", "3.50", "7.25"]
    assert (looks.errors, looks.hosts) == ([], {"127.0.0.1"})


def test_the_page_says_when_camera_or_connection_are_away(camera: Camera, looks: Looks) -> None:
    looks.open(camera.url)
    looks.until(LIVE)
    camera.state = "away"
    looks.until('document.getElementById("banner").textContent.startsWith("The camera is away")')
    camera.state = "live"
    looks.until('document.getElementById("banner").hidden')
    port = camera.server.port
    camera.server.close()
    looks.until('document.getElementById("banner").textContent.startsWith("No connection")')
    app = build_app(camera.sink, camera.status, camera.predict, token=None)
    camera.server = eventually(lambda: WebServer(app, "127.0.0.1", port), "the port is free again")
    looks.until('document.getElementById("banner").hidden')
    looks.until(LIVE)
    first = looks.page.evaluate(MOVING)
    eventually(lambda: (looks.page.wait_for_timeout(50), looks.page.evaluate(MOVING) != first)[1], "it moves again")


def test_a_page_that_nobody_sees_asks_for_nothing(camera: Camera, looks: Looks) -> None:
    looks.open(camera.url)
    looks.until(LIVE)
    turn = """(state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    looks.page.evaluate(turn, "hidden")
    eventually(lambda: (looks.page.wait_for_timeout(50), not camera.sink._watchers)[1], "no stream is open")
    looks.page.evaluate(turn, "visible")
    looks.until(LIVE)
    eventually(lambda: camera.sink.watchers == 1, "the picture is asked for again")
    assert looks.errors == []


def test_a_photo_can_be_tried(camera: Camera, looks: Looks, tmp_path: Path) -> None:
    looks.open(camera.url)
    looks.page.set_input_files("#file", SAMPLE_PHOTO)
    looks.until('document.querySelector("#photo-faces .face .label")?.textContent === "surprise"')
    assert "1 face: surprise" in looks.text("#photo-said")
    assert looks.page.evaluate('document.getElementById("photo-canvas").clientWidth') > 100
    assert looks.errors == []
    (tmp_path / "note.jpg").write_text("no photo")
    looks.page.set_input_files("#file", tmp_path / "note.jpg")
    looks.until('document.getElementById("photo-said").className === "bad"')
    assert looks.text("#photo-said") == "That is not a photo; send a JPEG, PNG or WebP file"


def test_a_photo_can_be_dropped(camera: Camera, looks: Looks) -> None:
    looks.open(camera.url)
    looks.until(LIVE)
    looks.page.evaluate(
        """(bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "me.jpg", { type: "image/jpeg" }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        list(photo_file()),
    )
    looks.until('document.getElementById("photo-said").textContent.startsWith("1 face: surprise")')


def test_the_page_wants_the_token(locked: Camera, looks: Looks) -> None:
    looks.open(locked.url)
    for given, shown in (("wrong wrong wrong", '!document.getElementById("wrong").hidden'), (TOKEN, LIVE)):
        looks.until('document.getElementById("token") && document.readyState === "complete" && !sessionStorage.tried')
        looks.page.fill("#token", given)
        looks.page.click("button")
        looks.until(
            f"Boolean({shown})".replace(
                'document.getElementById("wrong")', '(document.getElementById("wrong") ?? {hidden: true})'
            )
        )
    (cookie,) = looks.page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Strict")
    assert TOKEN not in cookie["value"]
    assert not [error for error in looks.errors if "401" not in error]


def test_a_link_opens_the_page_without_the_token_in_its_address(locked: Camera, looks: Looks) -> None:
    looks.open(f"{locked.url}/?token={TOKEN}")
    looks.until(LIVE)
    assert looks.page.url == f"{locked.url}/"
    assert looks.errors == []


def test_who_is_known_may_come_by_a_link_of_another_site(locked: Camera, looks: Looks) -> None:
    looks.open(f"{locked.url}/?token={TOKEN}")
    looks.until(LIVE)
    looks.open(locked.url.replace("127.0.0.1", "localhost"))  # another site to the browser, and unknown there
    looks.until('location.hostname === "localhost" && Boolean(document.getElementById("token"))')
    looks.page.evaluate(f"location.assign({json.dumps(locked.url)})")
    looks.until(f'location.hostname === "127.0.0.1" && Boolean(document.getElementById("stream")) && {LIVE}')


@pytest.mark.parametrize("width", [360, 820])
def test_nothing_is_wider_than_a_phone(camera: Camera, looks: Looks, width: int) -> None:
    looks.page.set_viewport_size({"width": width, "height": 700})
    looks.open(camera.url)
    looks.until(LIVE)
    looks.page.set_input_files("#file", SAMPLE_PHOTO)
    looks.until('document.querySelector("#photo-faces .face")')
    assert looks.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_without_faces_asks_for_no_picture(hidden: Camera, looks: Looks) -> None:
    asked: list[str] = []
    looks.page.on("request", lambda request: asked.append(httpx.URL(request.url).path))
    looks.open(hidden.url)
    looks.until('document.getElementById("frames").textContent === "1,234"')
    assert not looks.page.is_visible("#stage")
    assert not looks.page.is_visible("#photo")
    assert looks.text("#faces-total") == "–"
    assert "/stream.mjpg" not in asked
    assert looks.errors == []


def test_the_list_of_routes_is_made_from_the_schema(camera: Camera, looks: Looks) -> None:
    looks.open(f"{camera.url}/docs")
    looks.until('document.querySelectorAll("#routes section").length >= 7')
    assert "POST /v1/predict" in looks.text("#routes")
    assert (looks.errors, looks.hosts) == ([], {"127.0.0.1"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to a group that it is not in")
def test_root_may_let_the_service_s_group_read_the_token(tmp_path: Path) -> None:
    """As deploy does: the file is root's, the group the service's own. Anybody else's group has others in it."""
    home = Path(tempfile.mkdtemp())  # tmp_path is closed to other users
    try:
        home.chmod(0o755)
        token = home / "token"
        token.write_text("0123456789abcdef0123456789abcdef\n")
        token.chmod(0o640)
        script = (
            "import os, sys; from pathlib import Path; from fer_edge.edge_runtime.web_server import token_for;"
            "os.setgroups([]); os.setegid(65534); os.seteuid(65534); print(token_for('0.0.0.0', Path(sys.argv[1])))"
        )
        for owner, works in ((0, True), (65533, False)):
            os.chown(token, owner, 65534)
            done = subprocess.run(
                [sys.executable, "-P", "-c", script, token], capture_output=True, text=True, check=False
            )
            assert (done.stdout.strip() == "0123456789abcdef0123456789abcdef") is works
            assert ("others may read" in done.stderr) is not works
    finally:
        shutil.rmtree(home)
