"""The MQTT output against a real broker on this machine: changes, heartbeats, last will, a broker that goes away."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed")

from paho.mqtt.client import CallbackAPIVersion, Client

from fer_edge import __version__
from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime import mqtt_client
from fer_edge.edge_runtime.aggregate import LABELS, Aggregated
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.mqtt_address import parse_broker
from fer_edge.edge_runtime.mqtt_discovery import discovery
from fer_edge.edge_runtime.sink import Outlet
from fer_edge.edge_runtime.sink_mqtt import MqttSink
from fer_edge.edge_runtime.vocabulary import Face, Observation, Prediction

SECOND = 10**9
TOPIC = "fer-edge/kitchen"
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed, so there is no broker")


def until(true: Callable[[], Any], deadline_s: float = 20) -> Any:
    """Wait for something; the wait is generous, so that a slow machine changes nothing."""
    end_s = time.monotonic() + deadline_s
    while not (value := true()):
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.02)
    return value


class Broker:
    """mosquitto on a free port of this machine."""

    def __init__(self, folder: Path, *lines: str) -> None:
        assert MOSQUITTO is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._conf = folder / "mosquitto.conf"
        own = ("user root",) if os.geteuid() == 0 else ()
        access = () if any("password_file" in line for line in lines) else ("allow_anonymous true",)
        self._conf.write_text("\n".join((*own, f"listener {self.port} 127.0.0.1", *access, *lines, "")))
        self._log = folder / "mosquitto.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(self._conf)], stdout=log, stderr=log)
        until(self._answers)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Reader:
    """Everything that is published, as (topic, text)."""

    def __init__(self, broker: Broker) -> None:
        self.messages: list[tuple[str, str]] = []
        self.ready = False
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *rest: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *rest: setattr(self, "ready", True)
        self._client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload.decode())
        )
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        until(lambda: self.ready)

    def of(self, name: str) -> list[str]:
        return [text for topic, text in list(self.messages) if topic == f"{TOPIC}/{name}"]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def readers() -> Iterator[Callable[[Broker], Reader]]:
    opened: list[Reader] = []

    def read(broker: Broker) -> Reader:
        opened.append(Reader(broker))
        return opened[-1]

    yield read
    for reader in opened:
        reader.close()


@pytest.fixture
def sinks() -> Iterator[Callable[..., MqttSink]]:
    opened: list[MqttSink] = []

    def open_sink(broker: Broker | str, **more: Any) -> MqttSink:
        address = broker if isinstance(broker, str) else broker.address
        told: dict[str, Any] = {
            "topic": TOPIC,
            "status": lambda: STATUS,
            "ca": None,
            "password": None,
            "discovery": False,
            "heartbeat_s": 3600,
        }
        opened.append(MqttSink(address, **told | more))
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()


STATUS: dict[str, Any] = {
    "state": "live",
    "frames": 3,
    "faces": 2,
    "fps": 9.5,
    "labels": {"happy": 2},
    "labels_changed": {"per_face_minute": 1.0},
    "health": {"temp_c": None},
}


def seen(*faces: tuple[int, str], clock_ns: int = 0) -> Observation:
    predictions = tuple(
        Prediction(Face((0, 0, 9, 9), 1, track), np.zeros(7, np.float32), np.full(7, 1 / 7, np.float32), label)
        for track, label in faces
    )
    return Observation(0, predictions, {}, 1.0, time.monotonic_ns(), clock_ns)


def labels(states: list[str]) -> list[list[tuple[int, str]]]:
    return [[(face["track_id"], face["label"]) for face in json.loads(state)["faces"]] for state in states]


def connected(sink: MqttSink) -> None:
    until(lambda: sink._client.connected)


@needs_broker
def test_a_change_is_told_and_the_same_is_not(broker: Broker, readers: Any, sinks: Any) -> None:
    reader, sink = readers(broker), sinks(broker)
    connected(sink)
    shown: list[list[tuple[int, str]]] = [[], [(1, "happy")], [(1, "sad")], [(1, "sad"), (2, "fear")]]
    for faces in shown:
        sink.put(seen(*reversed(faces)), None)
        until(lambda faces=faces: (sink.idle(), faces in labels(reader.of("state")))[1])
        for _ in range(5):
            sink.put(seen(*faces), None)
    assert labels(reader.of("state")) == shown  # first the one that is followed longest
    state = json.loads(reader.of("state")[-1])
    assert set(state) == {"faces", "count", "t_wall"}
    assert state["count"] == 2
    assert state["faces"][0] == {"track_id": 1, "label": "sad", "reason": None, "confidence": 0.1429}
    late = readers(broker)
    until(lambda: late.of("state"))
    assert labels(late.of("state")) == [shown[-1]]  # it is retained


@needs_broker
def test_ten_changes_a_second_at_most_and_the_last_one_comes(broker: Broker, readers: Any, sinks: Any) -> None:
    reader, sink = readers(broker), sinks(broker)
    connected(sink)
    sink.idle()
    began_s = time.monotonic()
    for track in range(500):
        sink.put(seen((track, "happy")), None)
    took_s = time.monotonic() - began_s
    until(lambda: (sink.idle(), [(499, "happy")] in labels(reader.of("state")))[1])
    assert len(reader.of("state")) <= took_s * 10 + 2


@needs_broker
def test_the_status_is_a_heartbeat_and_tells_that_the_camera_went(broker: Broker, readers: Any, sinks: Any) -> None:
    status = dict(STATUS)
    reader, sink = readers(broker), sinks(broker, status=lambda: dict(status))
    sink.put(seen((1, "happy")), None)
    until(lambda: (sink.idle(), reader.of("status"))[1])
    for _ in range(20):
        sink.idle()
    assert [json.loads(text) for text in reader.of("status")] == [STATUS]  # the next heartbeat is an hour away
    status["state"] = "away"
    until(lambda: (sink.idle(), len(reader.of("status")) == 2)[1])
    assert json.loads(reader.of("status")[-1])["state"] == "away"
    until(lambda: (sink.idle(), labels(reader.of("state"))[-1:] == [[]])[1])  # and what it saw is seen no more

    fast = sinks(broker, topic="fer-edge/fast", heartbeat_s=0.01)
    heard = lambda: [topic for topic, _ in list(reader.messages) if topic == "fer-edge/fast/status"]  # noqa: E731
    until(lambda: (fast.idle(), len(heard()) >= 3)[1])


@needs_broker
def test_goodbye(broker: Broker, readers: Any, sinks: Any) -> None:
    reader, sink = readers(broker), sinks(broker)
    connected(sink)
    sink.put(seen((1, "happy")), None)
    sink.close()
    until(lambda: reader.of("availability") == ["online", "offline"])
    assert labels(reader.of("state")) == [[(1, "happy")], []]
    late = readers(broker)
    until(lambda: late.of("availability") == ["offline"])


PUBLISHER = """
import sys, time
from fer_edge.edge_runtime.sink_mqtt import MqttSink
sink = MqttSink(sys.argv[1], topic=sys.argv[2], status=lambda: {"state": "live"}, ca=None, password=None,
                discovery=False, heartbeat_s=1)
while True:
    sink.idle()
    time.sleep(0.1)
"""


@needs_broker
def test_the_last_will_of_a_killed_run(broker: Broker, readers: Any) -> None:
    reader = readers(broker)
    killed = subprocess.Popen([sys.executable, "-c", PUBLISHER, broker.address, TOPIC])
    try:
        until(lambda: reader.of("availability") == ["online"])
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    until(lambda: reader.of("availability") == ["online", "offline"])


@needs_broker
def test_a_broker_that_goes_gets_all_when_it_comes_back(broker: Broker, readers: Any, sinks: Any) -> None:
    said: list[str] = []
    broker.kill()
    sink = sinks(broker, say=said.append)  # it is not there yet
    sink.put(seen((0, "happy")), None)
    until(lambda: said)
    assert said == [f"{broker.address} does not answer: Connection refused; what is sent waits for it"]
    assert sink.trouble == f"{broker.address} does not answer: Connection refused"
    broker.start()
    reader = readers(broker)
    until(lambda: (sink.idle(), reader.of("state") and reader.of("status"))[1])
    assert said[1:] == [f"{broker.address} is there"]
    assert sink.trouble is None

    broker.kill()
    until(lambda: sink.trouble)
    for track in range(1, 4):
        time.sleep(0.11)  # a state has its turn ten times a second
        sink.put(seen((track, "sad")), None)
    broker.start()
    reader = readers(broker)
    until(lambda: (sink.idle(), [(3, "sad")] in labels(reader.of("state")))[1], 40)
    arrived = {face for faces in labels(reader.of("state")) for face in faces}
    assert {(track, "sad") for track in range(1, 4)} <= arrived
    until(lambda: reader.of("availability")[-1:] == ["online"])
    assert sink.dropped == 0


def test_the_queue_is_bounded_and_nothing_waits(monkeypatch: pytest.MonkeyPatch, sinks: Any) -> None:
    monkeypatch.setattr(mqtt_client, "QUEUED_MESSAGES", 5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        sink = Aggregated(inner := sinks(f"mqtt://127.0.0.1:{silent.getsockname()[1]}", faces=False), live=False)
        for minute in range(9):
            sink.put(seen(clock_ns=minute * 60 * SECOND), None)
        assert inner.dropped == 3  # eight minutes are over
        began_s = time.monotonic()
        inner.close()
        assert time.monotonic() - began_s < 5


@needs_broker
def test_a_wrong_password_is_one_sentence_and_the_loop_goes_on(tmp_path: Path, readers: Any, sinks: Any) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed, so the broker can have no password")
    subprocess.run([tool, "-b", "-c", tmp_path / "users", "pi", "right"], check=True, capture_output=True)
    broker = Broker(tmp_path, f"password_file {tmp_path / 'users'}")
    broker.start()
    try:
        address = f"mqtt://pi@127.0.0.1:{broker.port}"
        said: list[str] = []
        sink = sinks(address, password="wrong", say=said.append)
        outlet = Outlet(sink, lossless=False, say=said.append)
        frame = Frame(np.zeros((4, 4), np.uint8), None, 0, 0)
        put = lambda: outlet.put(seen((1, "happy")), frame)  # noqa: E731
        until(lambda: (put(), outlet.counts.failed > 3)[1])
        assert said == [
            f"mqtt://127.0.0.1:{broker.port} refuses the connection: Not authorized; "
            "check the MQTT user and password; labelling goes on without it"
        ]
        assert "wrong" not in said[0]
        outlet.close()
        right = sinks(address, password="right")
        connected(right)
        right.idle()
    finally:
        broker.kill()


def openssl(folder: Path, *args: str) -> None:
    done = subprocess.run(["openssl", *args], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def authority(folder: Path) -> None:
    """ca.pem, and server.pem with server.key, which it signed for localhost."""
    new_key = ("-newkey", "rsa:2048", "-nodes")
    openssl(folder, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=own")
    openssl(folder, "req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
    openssl(folder, "x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.pem")


@needs_broker
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed, so there is no certificate")
def test_tls_trusts_the_given_authority_and_no_other(tmp_path: Path, sinks: Any) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        authority(tmp_path / name)
    files = [
        f"{key} {tmp_path / 'own' / name}" for key, name in (("certfile", "server.pem"), ("keyfile", "server.key"))
    ]
    broker = Broker(tmp_path, *files)
    broker.start()
    try:
        good = sinks(f"mqtts://localhost:{broker.port}", ca=tmp_path / "own" / "ca.pem")
        connected(good)
        good.idle()
        for host, ca, reason in (
            ("localhost", tmp_path / "other" / "ca.pem", "certificate|signature"),
            ("localhost", None, "certificate"),
            ("127.0.0.1", tmp_path / "own" / "ca.pem", "IP address mismatch"),
        ):
            bad = sinks(f"mqtts://{host}:{broker.port}", topic="fer-edge/bad", ca=ca)
            until(lambda bad=bad: bad.trouble)
            expected = f"mqtts://{host}:{broker.port} cannot be trusted: .*({reason}).*; check the MQTT CA file"
            with pytest.raises(OutputError, match=expected):
                bad.idle()
            assert not bad._client.connected
    finally:
        broker.kill()


@needs_broker
def test_home_assistant_is_told(broker: Broker, readers: Any, sinks: Any) -> None:
    connected(sinks(broker, discovery=True))
    reader = readers(broker)
    told = lambda: {topic: text for topic, text in list(reader.messages) if text and topic.startswith("homeassistant/")}  # noqa: E731
    until(lambda: len(told()) == 5)
    configs = {topic: json.loads(text) for topic, text in told().items()}
    assert set(configs) == {
        f"homeassistant/{component}/fer-edge_kitchen/{name}/config"
        for component, name in (
            *(("sensor", name) for name in ("emotion", "faces", "temperature", "fps")),
            ("binary_sensor", "camera"),
        )
    }
    for config in configs.values():
        assert {"name", "unique_id", "state_topic", "value_template", "availability_topic", "device"} <= set(config)
        assert config["availability_topic"] == f"{TOPIC}/availability"
        assert config["device"]["identifiers"] == ["fer-edge_kitchen"]
        assert config["state_topic"] in (f"{TOPIC}/state", f"{TOPIC}/status")
    assert len({config["unique_id"] for config in configs.values()}) == 5
    emotion = configs["homeassistant/sensor/fer-edge_kitchen/emotion/config"]
    assert emotion["device_class"] == "enum"
    assert emotion["options"] == [*LABELS, "none"]


@needs_broker
def test_privacy_mode_tells_minutes_alone_and_takes_back_the_rest(broker: Broker, readers: Any, sinks: Any) -> None:
    open_mode = sinks(broker, discovery=True)
    connected(open_mode)
    open_mode.put(seen((4711, "sad")), None)
    before = readers(broker)
    until(lambda: before.of("state"))
    open_mode.close()

    inner = sinks(broker, discovery=True, faces=False)
    sink = Aggregated(inner, live=False)
    connected(inner)
    reader = readers(broker)
    for second in range(61):
        sink.put(seen((4711, "sad"), clock_ns=second * SECOND), None)
    [minute] = until(lambda: (sink.idle(), reader.of("minute"))[1])
    assert json.loads(minute) == {
        "v": 1,
        "start": "00:00",
        "seconds": 60.0,
        "frames": 60,
        "tracks": 1,
        "face_seconds": dict.fromkeys(LABELS, 0.0) | {"sad": 60.0},
    }
    until(lambda: reader.of("status"))
    reader = readers(broker)
    until(lambda: reader.of("status") and reader.of("availability"))
    assert reader.of("state") == []  # what the other mode left is gone
    told = lambda: {topic.split("/")[3] for topic, _ in list(reader.messages) if topic.startswith("homeassistant/")}  # noqa: E731
    until(lambda: told() == {"people", "temperature", "fps", "camera"})
    assert "4711" not in "".join(text for _, text in reader.messages)
    assert set(json.loads(reader.of("status")[-1])) == {"state", "frames", "fps", "health"}


def test_names_in_discovery_are_what_home_assistant_takes() -> None:
    for faces in (True, False):
        for where, config in discovery("haus/küche 1", faces=faces).items():
            assert where.split("/")[2] == "haus_k_che_1"
            assert config is None or config["state_topic"].startswith("haus/küche 1/")


@pytest.mark.parametrize(
    ("address", "broker"),
    [
        ("mqtt://nas", ("nas", 1883, None, False)),
        ("mqtts://pi@nas.local", ("nas.local", 8883, "pi", True)),
        ("mqtt://a%40b@10.0.0.1:1884/", ("10.0.0.1", 1884, "a@b", False)),
        ("mqtts://[::1]:9", ("::1", 9, None, True)),
    ],
)
def test_addresses(address: str, broker: tuple[str, int, str | None, bool]) -> None:
    parsed = parse_broker(address)
    assert (parsed.host, parsed.port, parsed.user, parsed.tls) == broker


EXAMPLE = r"expected an address such as mqtt://user@broker\.local:1883, or mqtts:// for TLS$"


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"broker": "nas"}, f"MQTT broker 'nas': {EXAMPLE}"),
        ({"broker": ""}, EXAMPLE),
        ({"broker": "tcp://nas"}, EXAMPLE),
        ({"broker": "mqtt://"}, EXAMPLE),
        ({"broker": "mqtt://nas:0"}, EXAMPLE),
        ({"broker": "mqtt://nas:70000"}, EXAMPLE),
        ({"broker": "mqtt://nas:port"}, EXAMPLE),
        ({"broker": "mqtt://a..b"}, EXAMPLE),
        ({"broker": "mqtt://[::1"}, EXAMPLE),
        ({"broker": "tcp://me:hush@nas:port"}, r"^MQTT broker '\*\*\*@nas:port': expected"),
        ({"broker": "mqtt://me:hush@nas"}, "^the MQTT broker's address holds a password, which .*; give it apart$"),
        ({"broker": "mqtt://nas/topic"}, "expected nothing after the port; the topic is given apart"),
        ({"topic": ""}, "MQTT topic '': expected a name without"),
        ({"topic": "a/#"}, "MQTT topic 'a/#': expected"),
        ({"topic": "$SYS/a"}, "expected a name"),
        ({"password": "x"}, "an MQTT password needs a user; give the broker as mqtt://USER@127.0.0.1"),
        ({"ca": Path("ca.pem")}, "MQTT CA file ca.pem: without TLS nothing is checked; .* mqtts://"),
        ({"broker": "mqtts://nas", "ca": Path("none.pem")}, "MQTT CA file none.pem: No such file or directory"),
        ({"broker": "mqtts://nas", "ca": Path("empty.pem")}, "MQTT CA file empty.pem: it holds no certificate in PEM"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    told: dict[str, Any], sentence: str, sinks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(OutputError, match=sentence):
        sinks(told.pop("broker", "mqtt://127.0.0.1"), **told)


def test_the_command_line_publishes_and_says_goodbye(cli, broker: Broker, readers: Any) -> None:
    """`fer-edge run --mqtt` from first to last: online, faces, a status with its camera, and offline at the end."""
    reader = readers(broker)
    word = "fake:?frames=90&faces=2"
    done = cli("run", word, "--mqtt", broker.address, "--mqtt-topic", TOPIC, "--mqtt-heartbeat-s", "1", "--quiet")
    assert done.returncode == 0, done.stderr
    until(lambda: reader.of("availability")[-1:] == ["offline"])
    assert reader.of("availability")[0] in ("online", "offline")
    assert "online" in reader.of("availability")
    states = [json.loads(text) for text in reader.of("state")]
    assert max(state["count"] for state in states) == 2
    assert states[-1]["count"] == 0  # nobody is left behind
    status = json.loads(reader.of("status")[-1])
    assert status["state"] == "ended"
    assert status["camera"]["captured"] > 30
    assert status["sinks"]["mqtt"]["failed"] == 0


@needs_broker
def test_one_wildcard_shows_a_whole_fleet(cli, broker: Broker, readers: Any) -> None:
    boards = {"door": "0.1.0-0123456789ab", "yard": None}
    for board, release in boards.items():
        env = {} if release is None else {"FER_EDGE_RELEASE": release}
        own = ("--mqtt", broker.address, "--mqtt-topic", f"fer-edge/{board}", "--quiet")
        done = cli("run", "fake:?frames=20&fps=10", *own, **env)
        assert done.returncode == 0, done.stderr
    late = readers(broker)  # statuses are retained
    told = until(
        lambda: (
            (found := {topic: text for topic, text in list(late.messages) if topic.endswith("/status")})
            and len(found) == len(boards)
            and found
        )
    )
    statuses = {topic.split("/")[1]: json.loads(text) for topic, text in told.items()}
    assert {board: status["release"] for board, status in statuses.items()} == boards
    shipped = Bundle.open()
    for status in statuses.values():
        assert status["version"] == __version__
        assert status["bundle"] == {"name": shipped.name, "sha256": shipped.sha256}
        assert "temp_c" in status["health"]
        assert status["labels_a_minute"] is None  # the run was shorter than a minute
        assert status["state"] == "ended"


def test_a_broker_that_is_killed_and_comes_back_while_a_run_goes_on(tmp_path: Path, broker: Broker) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "fer_edge", "run", "fake:?faces=1", "--jsonl", "out.jsonl", "--mqtt", broker.address],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = tmp_path / "out.jsonl"
    try:
        until(lambda: lines.exists() and lines.read_text().count("\n") > 20, 60)
        broker.kill()
        seen = lines.read_text().count("\n")
        until(lambda: lines.read_text().count("\n") > seen + 20)  # labelling goes on
        broker.start()
        reader = Reader(broker)
        until(
            lambda: [text for topic, text in list(reader.messages) if topic.endswith("/availability")] == ["online"], 60
        )
        until(lambda: [topic for topic, _ in list(reader.messages) if topic.endswith("/state")])
        reader.close()
    finally:
        run.terminate()
        _, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    assert "Traceback" not in err
