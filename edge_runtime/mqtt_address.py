"""What an MQTT broker's address and a topic may look like."""

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from fer_edge.devices.errors import OutputError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_EXAMPLE = "mqtt://user@broker.local:1883, or mqtts:// for TLS"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is; `name` is for messages and holds no user."""

    host: str
    port: int
    user: str | None
    tls: bool

    @property
    def name(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_broker(address: str) -> Broker:
    """Read `mqtt://[user@]host[:1883]` or `mqtts://[user@]host[:8883]`.

    Raises:
        OutputError: it is anything else, or holds a password.
    """
    try:
        parts = urlsplit(address)
        host, port = _host(parts), parts.port
    except ValueError:  # UnicodeError too: a host that no name server takes
        raise _refusal(address) from None
    if parts.password is not None:  # before anything that repeats the address
        raise OutputError("the MQTT broker's address holds a password, which the process list shows; give it apart")
    if parts.scheme not in _PORTS or not host or port == 0:
        raise _refusal(address)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise OutputError(f"MQTT broker {_shown(address)}: expected nothing after the port; the topic is given apart")
    user = unquote(parts.username) if parts.username else None
    return Broker(host, port or _PORTS[parts.scheme], user, tls=parts.scheme == "mqtts")


def checked_topic(topic: str) -> str:
    """A topic to publish under, without slashes at its ends.

    Raises:
        OutputError: it is empty, or has a wildcard or another character that a broker refuses.
    """
    trimmed = topic.strip("/")
    odd = any(letter in "+#" or not letter.isprintable() for letter in trimmed)
    if not trimmed or odd or trimmed.startswith("$") or len(trimmed) > 200:
        raise OutputError(f"MQTT topic {topic!r}: expected a name without + # $, such as fer-edge/kitchen")
    return trimmed


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host.encode("idna")
    if any(letter.isspace() for letter in host):
        raise ValueError("a space in a host's name")
    return host


def _refusal(address: str) -> OutputError:
    return OutputError(f"MQTT broker {_shown(address)}: expected an address such as {_EXAMPLE}")


def _shown(address: str) -> str:
    """The address with all before an @ hidden: what was mistyped there may be a password."""
    _, marker, rest = address.rpartition("@")
    return repr(f"***@{rest}" if marker else address)
