"""A connection to an MQTT broker that never blocks and never gives up: what is sent while it is away waits."""

import hashlib
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTErrorCode

from fer_edge.devices.errors import OutputError
from fer_edge.edge_runtime.mqtt_address import Broker

QUEUED_MESSAGES = 1000
_KEEPALIVE_S = 30
_RETRY_S = (1, 30)
_GOODBYE_S = 0.5
_STOP_S = 0.3
_REFUSALS = ("Bad user name or password", "Not authorized")


class BrokerClient:
    """Connects on a thread of its own, again and again; `offline` is the last will, retained at `availability`.

    Args:
        broker: where to connect.
        availability: the topic that says `online` and `offline`.
        hello: (topic, payload) of what is sent, retained, at each connection.
        ca: a PEM file with the authority that signed the broker's certificate; None takes the system's.
        password: of the broker's user.
        say: called with one line when the broker does not answer and when it does again.

    Raises:
        OutputError: the CA file is none, or the password or the CA file do not go with the address.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        availability: str,
        hello: list[tuple[str, str]],
        ca: Path | None,
        password: str | None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._broker, self._availability, self._hello = broker, availability, hello
        self._say = say or (lambda text: None)
        self.connections = 0
        """How often the broker took the connection."""
        self.trouble: str | None = None
        """Why there is no connection, while there is none."""
        self._refusal: str | None = None
        self._said = self._closing = False
        # One id a topic: after a power cut the broker takes the new connection for the old one, else it would say
        # `offline` a minute after the board is back.
        name = f"fer-edge-{hashlib.sha256(availability.encode()).hexdigest()[:12]}"
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name)
        self._secure(ca, password)
        self._client.will_set(availability, "offline", qos=1, retain=True)
        self._client.max_queued_messages_set(QUEUED_MESSAGES)
        self._client.reconnect_delay_set(*_RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.connect_async(broker.host, broker.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    @property
    def connected(self) -> bool:
        """The broker has taken the connection and it stands."""
        return self._client.is_connected()

    def check(self) -> None:
        """Say what the user must mend; the connection is tried again all the same.

        Raises:
            OutputError: the broker refuses the user, or its certificate cannot be trusted.
        """
        if self._refusal is not None:
            raise OutputError(self._refusal)

    def send(self, topic: str, payload: str, *, retain: bool) -> bool:
        """Send, or queue while the broker is away; False when the queue is full and the message is dropped."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        return info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE

    def send_now(self, topic: str, payload: str) -> None:
        """Send retained, or drop it while the broker is away: for what is stale by then."""
        if self.connected:
            self._client.publish(topic, payload, qos=0, retain=True)

    def close(self) -> None:
        """Say `offline` and leave, within a second; what still waits for a broker that is away is lost."""
        self._closing = True
        if self.connected:
            self._goodbye()
        self._client.disconnect()
        # paho joins its thread, which may hang in a connection attempt for seconds.
        stopping = threading.Thread(target=self._client.loop_stop, name="mqtt-stop", daemon=True)
        stopping.start()
        stopping.join(_STOP_S)

    def _goodbye(self) -> None:
        try:
            # Acknowledged in order: once this one is, all that was queued before it has arrived.
            self._client.publish(self._availability, "offline", qos=1, retain=True).wait_for_publish(_GOODBYE_S)
        except (ValueError, RuntimeError):  # the queue is full, or the broker went away just now
            self._client.publish(self._availability, "offline", qos=0, retain=True)

    def _secure(self, ca: Path | None, password: str | None) -> None:
        if password is not None and self._broker.user is None:
            raise OutputError(f"an MQTT password needs a user; give the broker as mqtt://USER@{self._broker.host}")
        if self._broker.user is not None:
            self._client.username_pw_set(self._broker.user, password)
        if ca is not None and not self._broker.tls:
            raise OutputError(f"MQTT CA file {ca}: without TLS nothing is checked; give the broker as mqtts://…")
        if self._broker.tls:
            self._client.tls_set_context(_context(ca))

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason_code: Any, properties: Any) -> None:
        if reason_code.is_failure:
            self._fail(
                f"{self._broker.name} refuses the connection: {reason_code}",
                "check the MQTT user and password" if str(reason_code) in _REFUSALS else None,
            )
            return
        if self._closing:
            client.disconnect()
            return
        for topic, payload in [(self._availability, "online"), *self._hello]:
            client.publish(topic, payload, qos=0, retain=True)
        said, self._said = self._said, False
        self.trouble = self._refusal = None
        self.connections += 1
        if said:
            self._say(f"{self._broker.name} is there")

    def _on_connect_fail(self, client: Client, userdata: Any) -> None:
        error = sys.exception()  # paho calls this while it handles the error
        if isinstance(error, ssl.SSLCertVerificationError):
            fix = "check the MQTT CA file and the broker's host name"
            self._fail(f"{self._broker.name} cannot be trusted: {error.verify_message}", fix)
        else:
            self._fail(f"{self._broker.name} does not answer: {_text_of(error)}", None)

    def _on_disconnect(self, client: Client, userdata: Any, flags: Any, reason_code: Any, properties: Any) -> None:
        if not self._closing and self._refusal is None:
            self.trouble = f"{self._broker.name} went away"

    def _fail(self, trouble: str, fix: str | None) -> None:
        """A trouble that passes is said once; one that needs `fix` is raised by `check` until the broker lets us in."""
        self.trouble = trouble
        if fix is not None:
            self._refusal = f"{trouble}; {fix}"
        elif not self._said:
            self._said = True
            self._say(f"{trouble}; what is sent waits for it")


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else _text_of(error)
        raise OutputError(f"MQTT CA file {ca}: {reason}") from error


def _text_of(error: BaseException | None) -> str:
    return getattr(error, "strerror", None) or str(error or "no reason given")
