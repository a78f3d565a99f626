"""What Home Assistant reads to show a camera as one device: a retained configuration an entity."""

import re
from typing import Any

from fer_edge import __version__
from fer_edge.edge_runtime.aggregate import LABELS

_PREFIX = "homeassistant"
NOBODY = "none"
"""What the emotion sensor says while there is no face."""

_FACES: dict[str, dict[str, Any]] = {
    "emotion": {
        "component": "sensor",
        "topic": "state",
        "name": "Emotion",
        "icon": "mdi:emoticon-outline",
        "device_class": "enum",
        "options": [*LABELS, NOBODY],
        "value_template": "{{ value_json.faces[0].label if value_json.faces else '" + NOBODY + "' }}",
    },
    "faces": {
        "component": "sensor",
        "topic": "state",
        "name": "Faces",
        "icon": "mdi:account-group",
        "state_class": "measurement",
        "value_template": "{{ value_json.count }}",
    },
}
_MINUTES: dict[str, dict[str, Any]] = {
    "people": {
        "component": "sensor",
        "topic": "minute",
        "name": "People in the last minute",
        "icon": "mdi:account-group",
        "state_class": "measurement",
        "value_template": "{{ value_json.tracks }}",
    },
}
_DEVICE: dict[str, dict[str, Any]] = {
    "temperature": {
        "component": "sensor",
        "topic": "status",
        "name": "Temperature",
        "device_class": "temperature",
        "state_class": "measurement",
        "unit_of_measurement": "°C",
        "entity_category": "diagnostic",
        "value_template": "{{ value_json.health.temp_c }}",
    },
    "fps": {
        "component": "sensor",
        "topic": "status",
        "name": "Frames a second",
        "icon": "mdi:speedometer",
        "state_class": "measurement",
        "unit_of_measurement": "fps",
        "entity_category": "diagnostic",
        "value_template": "{{ value_json.fps }}",
    },
    "camera": {
        "component": "binary_sensor",
        "topic": "status",
        "name": "Camera",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "payload_on": "ON",
        "payload_off": "OFF",
        "value_template": "{{ 'ON' if value_json.state == 'live' else 'OFF' }}",
    },
}


def discovery(topic: str, *, faces: bool) -> dict[str, dict[str, Any] | None]:
    """The configurations, by topic. None means that the entity must go: it belongs to the other mode.

    Args:
        topic: under which the device publishes.
        faces: single faces are published; else minutes.
    """
    node = re.sub(r"[^a-zA-Z0-9_-]", "_", topic)
    shown, gone = (_FACES, _MINUTES) if faces else (_MINUTES, _FACES)
    configs: dict[str, dict[str, Any] | None] = {
        _config_topic(node, key, entity): _config(topic, node, key, entity) for key, entity in (shown | _DEVICE).items()
    }
    return configs | {_config_topic(node, key, entity): None for key, entity in gone.items()}


def _config_topic(node: str, key: str, entity: dict[str, Any]) -> str:
    return f"{_PREFIX}/{entity['component']}/{node}/{key}/config"


def _config(topic: str, node: str, key: str, entity: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in entity.items() if name not in ("component", "topic")}
    return own | {
        "unique_id": f"{node}_{key}",
        "state_topic": f"{topic}/{entity['topic']}",
        "availability_topic": f"{topic}/availability",
        "device": {
            "identifiers": [node],
            "name": topic.replace("/", " "),
            "manufacturer": "fer-edge",
            "model": "Facial emotions at the edge",
            "sw_version": __version__,
        },
        "origin": {"name": "fer-edge", "sw_version": __version__},
    }
