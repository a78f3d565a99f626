"""A section of a sweep's TOML file, read strictly: a key that is unknown or a value that cannot be meant is said in one
sentence that names file, section and key. Knows no particular key."""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.edge_runtime.config import ConfigError

_NAMES = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Section:
    """One table of the file."""

    file: Path
    name: str
    values: dict[str, Any]

    def error(self, key: str, says: str) -> ConfigError:
        """The sentence for a key of this section, ready to be raised."""
        return ConfigError(f"{self.file}: [{self.name}] {key} {says}")

    def check_keys(self, known: Sequence[str]) -> None:
        """Raises ConfigError where a key is none of `known`."""
        for key in self.values:
            if key not in known:
                raise ConfigError(f"{self.file}: [{self.name}] has an unknown key {key!r}{_meant(key, known)}")

    def one(self, key: str, kind: type, default: Any) -> Any:
        """The value of a key that takes one value of `kind`; a whole number is a number, too.

        Raises:
            ConfigError: it is of another type.
        """
        return self.typed(key, self.values[key], kind) if key in self.values else default

    def several(self, key: str, kind: type, default: Sequence[Any]) -> tuple[Any, ...]:
        """The values of a key that takes a list, or one value, each once.

        Raises:
            ConfigError: one is of another type, comes twice, or there is none.
        """
        if key not in self.values:
            return tuple(default)
        return tuple(self.typed(key, value, kind) for value in self.listed(key))

    def listed(self, key: str) -> list[Any]:
        """The values of a key as a list.

        Raises:
            ConfigError: the list is empty, or has a value twice.
        """
        values = self.values[key] if isinstance(self.values[key], list) else [self.values[key]]
        if not values:
            raise self.error(key, "is an empty list; give a value, or leave it out")
        for at, value in enumerate(values):
            if any(value == other and type(value) is type(other) for other in values[:at]):
                raise self.error(key, f"has {value!r} twice")
        return values

    def typed(self, key: str, value: Any, kind: type) -> Any:
        """`value` as `kind`.

        Raises:
            ConfigError: it is of another type.
        """
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"is {value!r}; expected {_NAMES[kind]}")
        return value

    def number(self, key: str, kind: type, default: Any, low: float, high: float) -> Any:
        """One number from `low` to `high`.

        Raises:
            ConfigError: it is none, or outside.
        """
        value = self.one(key, kind, default)
        if value is not None and not low <= value <= high:
            raise self.error(key, f"{value} is outside {low:g}..{high:g}")
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of some words.

        Raises:
            ConfigError: it is none of them.
        """
        word = self.one(key, str, default)
        if word not in allowed:
            raise self.error(key, f"{word!r} is unknown; choose one of {', '.join(allowed)}")
        return str(word)


def read_sections(path: Path, known: Sequence[str]) -> tuple[dict[str, Section], str]:
    """The file's tables by name, and its text; a table that is not there is left out.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has a table or key at its top that no sweep has.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML ({error})") from error
    for name, values in tables.items():
        if name not in known:
            what = "table" if isinstance(values, dict) else "key outside the tables"
            raise ConfigError(f"{path} has an unknown {what} {name!r}{_meant(name, known)}")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {name!r} is no table; write [{name}] on a line of its own")
    return {name: Section(path, name, values) for name, values in tables.items()}, text


def _meant(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
