"""How a network is made int8: the ways in which a diagnosed loss is mended, as one value.

Must not know a file format.
"""

from dataclasses import dataclass
from typing import Any

from fer_edge.calibration.ranges import METHODS
from fer_edge.devices.errors import ConversionError

LEARNED = "learned"
"""The ranges that a quantization-aware training has found, which lie in its run folder."""


@dataclass(frozen=True, slots=True)
class QuantizationRecipe:
    """Where ranges of activations come from, how weights are scaled, what stays in float. Plain is the default.

    `percentile` counts with `ranges` of that name alone; `float_layers` are names as in `convert/layers.py`; `equalize`
    evens out the channels' weights between layers before anything is rounded.
    """

    ranges: str = "minmax"
    percentile: float = 99.99
    per_tensor: bool = False
    float_layers: tuple[str, ...] = ()
    equalize: bool = False

    def __post_init__(self) -> None:
        if self.ranges not in (*METHODS, LEARNED):
            raise ConversionError(f"unknown --ranges {self.ranges!r}; choose one of {', '.join((*METHODS, LEARNED))}")
        if self.ranges == LEARNED and self.equalize:
            raise ConversionError("learned ranges are those of the weights as they were trained; leave out --equalize")
        if not 50 < self.percentile <= 100:
            raise ConversionError(f"--percentile {self.percentile:g} is not over 50 and at most 100; 99.99 is usual")
        if len(set(self.float_layers)) != len(self.float_layers) or not all(self.float_layers):
            raise ConversionError(f"--float-layers names a layer twice, or none: {','.join(self.float_layers)!r}")

    @classmethod
    def of(
        cls, ranges: str, percentile: float | None, *, per_tensor: bool, float_layers: str, equalize: bool
    ) -> "QuantizationRecipe":
        """From the command line's words; `float_layers` is comma-separated.

        Raises:
            ConversionError: a word is unknown, or a percentile is given that nothing asks for.
        """
        if percentile is not None and ranges != "percentile":
            raise ConversionError(f"--percentile goes with --ranges percentile, not with --ranges {ranges}")
        layers = tuple(word.strip() for word in float_layers.split(",")) if float_layers.strip() else ()
        return cls(ranges, 99.99 if percentile is None else percentile, per_tensor, layers, equalize)

    @property
    def own_ranges(self) -> bool:
        """Whether ranges of our own replace those that the converters find."""
        return self.ranges != "minmax"

    def as_dict(self) -> dict[str, Any]:
        """Its part of bundle.json; `percentile` is None where it had no say."""
        return {
            "ranges": self.ranges,
            "percentile": self.percentile if self.ranges == "percentile" else None,
            "per_tensor": self.per_tensor,
            "float_layers": list(self.float_layers),
            "equalized": self.equalize,
        }

    def __str__(self) -> str:
        """For people: `ranges by mse, one weight scale a tensor, conv1 in float, equalized`."""
        ranges = f"percentile {self.percentile:g}" if self.ranges == "percentile" else self.ranges
        words = [
            f"ranges by {ranges}",
            "one weight scale a tensor" if self.per_tensor else "",
            f"{', '.join(self.float_layers)} in float" if self.float_layers else "",
            "equalized" if self.equalize else "",
        ]
        return ", ".join(word for word in words if word)


PLAIN = QuantizationRecipe()
"""What every converter does by itself: minimum and maximum, weights per channel, everything in int8."""
