"""A camera's address: `scheme:target?name=value&name=value`, and the one place where a wrong option is explained."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fer_edge.devices.errors import SourceError

Parser = Callable[[str], Any]
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 8192
_FASTEST_FPS = 240.0
_BOOLS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class CameraUri:
    """`options` holds the values that were given, parsed; those that were not are absent."""

    scheme: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The camera without its options, as it is shown."""
        return f"{self.scheme}:{self.target}"


def parse_uri(word: str, allowed: Mapping[str, Parser]) -> CameraUri:
    """Take an address apart.

    Args:
        word: such as `picamera2:0?size=1296x972&fps=30`. A name without a value is `=1`.
        allowed: parser by option. `int`, `float`, `bool`, `str` do what they say; any other callable takes the text
            and raises ValueError with what was expected, or SourceError with the whole sentence.

    Raises:
        SourceError: an option that is not allowed, given twice, or with a value that its parser refuses.
    """
    scheme, _, rest = word.partition(":")
    target, _, query = rest.partition("?")
    options: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, equals, text = part.partition("=")
        if name not in allowed:
            raise SourceError(f"{word}: {_unknown(name, allowed)}")
        if name in options:
            raise SourceError(f"{word}: the option {name} is given twice")
        options[name] = _value(word, name, text if equals else "1", allowed[name])
    return CameraUri(scheme, target, options)


def size(text: str) -> tuple[int, int]:
    """`640x480` as (width, height) in pixels; both even, since chroma is stored for every second pixel.

    Raises:
        ValueError: not such a text, or sides that no camera has.
    """
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if found is None:
        raise ValueError("a size such as 640x480")
    width, height = int(found[1]), int(found[2])
    if not (min(width, height) >= _SMALLEST_SIDE and max(width, height) <= _LARGEST_SIDE):
        raise ValueError(f"a size from {_SMALLEST_SIDE}x{_SMALLEST_SIDE} to {_LARGEST_SIDE}x{_LARGEST_SIDE}")
    if width % 2 or height % 2:
        raise ValueError("a size with an even width and height")
    return width, height


def fps(text: str) -> float:
    """Frames a second, 1 to 240.

    Raises:
        ValueError: no number, or outside.
    """
    rate = _number(text, float, "a rate")
    if not 1 <= rate <= _FASTEST_FPS:
        raise ValueError(f"a rate from 1 to {_FASTEST_FPS:g} frames a second")
    return rate


def _unknown(name: str, allowed: Mapping[str, Parser]) -> str:
    near = difflib.get_close_matches(name.lower(), allowed, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no option {name!r}{hint} (options: {', '.join(allowed) or 'none'})"


def _value(word: str, name: str, text: str, parser: Parser) -> Any:
    try:
        if parser is bool:
            return _bool(text)
        if parser in (int, float):
            return _number(text, parser, "a whole number" if parser is int else "a number")
        return parser(text)
    except ValueError as error:
        raise SourceError(f"{word}: {name}={text} is wrong; expected {error}") from None


def _bool(text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise ValueError("1 or 0")
    return _BOOLS[text.lower()]


def _number(text: str, kind: Callable[[str], Any], what: str) -> Any:
    try:
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text):  # float() would also take nan, inf and 1_0
            return kind(text)
    except ValueError:
        pass
    raise ValueError(f"{what} of 0 or more")
