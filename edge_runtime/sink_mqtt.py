"""Tells an MQTT broker what is seen and how the device is; `docs/outputs.md` has the topics."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.aggregate import MinuteCounts, counts_record
from fer_edge.edge_runtime.mqtt_address import checked_topic, parse_broker
from fer_edge.edge_runtime.mqtt_client import BrokerClient
from fer_edge.edge_runtime.mqtt_discovery import discovery as discovery_configs
from fer_edge.edge_runtime.record import observation_record
from fer_edge.edge_runtime.status import OF_SINGLE_FACES
from fer_edge.edge_runtime.vocabulary import Observation

_LIVE = "live"
_STATE_EVERY_S = 0.1
_LOOK_EVERY_S = 0.5


class MqttSink:
    """Publishes a change of the faces at once, at most ten a second, and the status as a heartbeat.

    Nothing here waits for the broker. While it is away, up to 1000 messages wait; `dropped` counts those beyond.

    Args:
        broker: `mqtt://[user@]host[:1883]` or `mqtts://[user@]host[:8883]`, whose certificate is always verified.
        topic: under which all is published; one camera, one topic.
        status: gives the run's status as plain JSON values; called on the outlet's thread.
        ca: a PEM file with the authority behind the broker's certificate; None takes the system's.
        password: of the user in `broker`.
        discovery: tell Home Assistant.
        heartbeat_s: seconds between two statuses.
        faces: publish single faces; else minutes alone come, by `put_counts`.
        say: called with one line when the broker does not answer and when it does again.

    Raises:
        OutputError: the address, the topic, the password or the CA file is not as expected. A broker that is not there
            yet is none: it is tried until it is.
    """

    name = "mqtt"
    needs_pixels = False

    def __init__(
        self,
        broker: str,
        *,
        topic: str,
        status: Callable[[], dict[str, Any]],
        ca: Path | None,
        password: str | None,
        discovery: bool,
        heartbeat_s: float,
        faces: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._topic, self._status, self._heartbeat_s, self._faces = checked_topic(topic), status, heartbeat_s, faces
        self.dropped = 0
        self._seen: list[dict[str, Any]] = []
        self._seen_at = ""
        self._shown: frozenset[tuple[Any, ...]] | None = None
        self._state = ""
        self._shown_s = self._told_s = self._looked_s = float("-inf")
        self._connections = 0
        # What an earlier run in the other mode left at the broker goes.
        hello = [] if faces else [(f"{self._topic}/state", "")]
        if discovery:
            configs = discovery_configs(self._topic, faces=faces)
            hello += [(where, "" if config is None else json.dumps(config)) for where, config in configs.items()]
        self._client = BrokerClient(
            parse_broker(broker),
            availability=f"{self._topic}/availability",
            hello=hello,
            ca=ca,
            password=password,
            say=say,
        )

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, in a sentence, while there is none."""
        return self._client.trouble

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Publish the faces if they changed.

        Raises:
            OutputError: the broker refuses the user, or its certificate cannot be trusted; it is tried again.
        """
        if self._faces:
            record = observation_record(observation)
            self._seen, self._seen_at = [_face(face) for face in record["faces"]], record["t_wall"]
        self.idle()

    def put_counts(self, counts: MinuteCounts) -> None:
        """Publish one minute.

        Raises:
            OutputError: as `put`.
        """
        self._client.check()
        self.dropped += not self._send("minute", counts_record(counts), retain=False)

    def idle(self) -> None:
        """Publish what is due: the status, and faces whose turn came.

        Raises:
            OutputError: as `put`.
        """
        self._client.check()
        now_s = time.monotonic()
        if self._client.connections != self._connections:  # a broker that started anew may have forgotten
            self._connections, self._shown = self._client.connections, None
            self._told_s = self._looked_s = float("-inf")
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            self._tell(now_s)
        self._show(now_s)

    def close(self) -> None:
        """Say that nobody is watched any more and that this device is offline; takes a second at most."""
        self._seen = []
        self._show(float("inf"))
        self._tell(time.monotonic())
        self._client.close()

    def _tell(self, now_s: float) -> None:
        status = self._status()
        if status["state"] != self._state:
            if self._state == _LIVE:
                self._seen = []  # the camera is away: what it saw last is seen no more
            self._state, self._told_s = status["state"], float("-inf")
        if now_s - self._told_s >= self._heartbeat_s:
            self._told_s = now_s
            if not self._faces:
                status = {key: value for key, value in status.items() if key not in OF_SINGLE_FACES}
            self._client.send_now(f"{self._topic}/status", json.dumps(status))

    def _show(self, now_s: float) -> None:
        key = frozenset((face["track_id"], face["label"], face["reason"]) for face in self._seen)
        if not self._faces or not self._seen_at or key == self._shown or now_s - self._shown_s < _STATE_EVERY_S:
            return
        self._shown, self._shown_s = key, now_s
        faces = sorted(self._seen, key=lambda face: (face["track_id"] is None, face["track_id"] or 0))
        if self._send("state", {"faces": faces, "count": len(faces), "t_wall": self._seen_at}, retain=True):
            return
        if self._client.connected:  # what waited is on its way; the broker shall have the newest state in the end
            self._shown = None
        else:
            self.dropped += 1

    def _send(self, name: str, value: dict[str, Any], *, retain: bool) -> bool:
        return self._client.send(f"{self._topic}/{name}", json.dumps(value), retain=retain)


def _face(face: dict[str, Any]) -> dict[str, Any]:
    return {key: face[key] for key in ("track_id", "label", "reason", "confidence")}
