"""The quantization settings of a sweep: every way in which a finished training is made int8, and what judges it.

The words are those of `fer-edge convert`. Checked before anything heavy is imported.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

from fer_edge.calibration.ranges import METHODS
from fer_edge.convert.order import Order
from fer_edge.convert.quantization_recipe import QuantizationRecipe
from fer_edge.convert.target import target_of
from fer_edge.devices.errors import FerEdgeError
from fer_edge.edge_runtime.config import ConfigError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.sweep_toml import Section

_KEYS = (
    "to", "ranges", "percentile", "per_tensor", "float_layers", "equalize", "calibration_images", "calibration_seed",
    "target", "split",
)  # fmt: skip
SPLITS = ("val", "test", "private")
"""What int8 may be judged on. `val` are the faces that the run itself validated on."""


@dataclass(frozen=True)
class Setting:
    """One way to int8. `images` of Training calibrate, drawn with `seed` from those that the run was fitted to."""

    order: Order
    images: int
    seed: int

    @property
    def name(self) -> str:
        """A function of the setting: `tflite, ranges by mse, 512 images`."""
        engine = self.order.formats[0].partition("/")[0]
        seed = f" of seed {self.seed}" if self.seed else ""
        target = f", for {self.order.target}" if self.order.target else ""
        return f"{engine}, {self.order.recipe}, {self.images} images{seed}{target}"

    def as_dict(self) -> dict[str, Any]:
        """For sweep.json."""
        return {
            "engine": self.order.formats[0].partition("/")[0],
            **self.order.recipe.as_dict(),
            "calibration_images": self.images,
            "calibration_seed": self.seed,
            "target": None if self.order.target is None else str(self.order.target),
        }


@dataclass(frozen=True)
class Quantize:
    """Every setting, and the split that judges them."""

    settings: tuple[Setting, ...]
    split: str


def quantize_of(section: Section, most: int) -> Quantize:
    """[quantize] as a value.

    Args:
        section: the table.
        most: more settings than this are refused.

    Raises:
        ConfigError: a key or a value that `fer-edge convert` would not take, or too many settings.
    """
    section.check_keys(_KEYS)
    split = section.choice("split", SPLITS, "val")
    target = section.one("target", str, None)
    engines = section.several("to", str, ("tflite",))
    images = section.several("calibration_images", int, (512,))
    seeds = section.several("calibration_seed", int, (0,))
    if min(images) < len(EMOTIONS):
        raise section.error("calibration_images", f"{min(images)} is less than {len(EMOTIONS)}, one an emotion")
    if min(seeds) < 0:
        raise section.error("calibration_seed", f"{min(seeds)} is less than 0")
    ways = _ways(section)
    count = math.prod(map(len, (engines, ways, images, seeds)))
    if count > most:
        raise ConfigError(
            f"{section.file}: [quantize] makes {count:,} settings, and [search] max_trials is {most:,}; "
            "shorten its lists"
        )
    made = []
    for engine, way, number, seed in itertools.product(engines, ways, images, seeds):
        try:
            order = Order((f"{engine}/int8",), target=target_of(target), split=split, recipe=way)
        except FerEdgeError as error:
            raise ConfigError(f"{section.file}: [quantize] {_in_toml(str(error))}") from error
        made.append(Setting(order, number, seed))
    return Quantize(tuple(made), split)


def _ways(section: Section) -> list[QuantizationRecipe]:
    ranges = section.several("ranges", str, ("minmax",))
    for word in ranges:
        if word not in METHODS:
            raise section.error("ranges", f"has {word!r}, which is unknown; choose of {', '.join(METHODS)}")
    percentiles = section.several("percentile", float, ())
    if percentiles and "percentile" not in ranges:
        raise section.error("percentile", 'goes with ranges = "percentile"')
    made = []
    for word, per_tensor, layers, equalize in itertools.product(
        ranges,
        section.several("per_tensor", bool, (False,)),
        section.several("float_layers", str, ("",)),
        section.several("equalize", bool, (False,)),
    ):
        for percentile in (percentiles or (None,)) if word == "percentile" else (None,):
            try:
                made.append(
                    QuantizationRecipe.of(
                        word, percentile, per_tensor=per_tensor, float_layers=layers, equalize=equalize
                    )
                )
            except FerEdgeError as error:
                raise ConfigError(f"{section.file}: [quantize] {_in_toml(str(error))}") from error
    return made


def _in_toml(sentence: str) -> str:
    """The command line's words as the file's keys."""
    return (
        sentence.replace("--float-layers", "float_layers").replace("--percentile", "percentile")
        .replace("--target", "target").replace("--ranges", "ranges").replace(" in --to", "")
    )  # fmt: skip
