"""What could be changed when the run is converted again: each change as a quantization that can be tried at once.

Must not know whether a change helps: that is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.histogram import Histogram
from fer_edge.calibration.ranges import METHODS, range_of
from fer_edge.convert.activations import input_ranges, point_histogram, point_values
from fer_edge.convert.equalize_graph import equal_pairs, equalize
from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.scheme import INPUT, Floats, Grid, Part, Scheme, grid_of_range, round_weights

Histograms = dict[str, Histogram]
MOST_NAMES = 3
"""Of layers, that a fix is called by."""


@dataclass(frozen=True, eq=False)
class Fix:
    """A way to convert: the variant as it is, or with something changed.

    `scheme` belongs to `graph`, and `parts` are those of it that are int8. `calibrate` is how many images are to be
    drawn first, where others are needed; `slower` says that the device pays for it.
    """

    name: str
    recipe: QuantizationRecipe
    graph: FloatGraph
    scheme: Scheme
    parts: tuple[Part, ...]
    calibrate: int | None = None
    slower: bool = False

    def commands(self) -> list[str]:
        """What to run; RUN, CACHE and SET are the user's."""
        convert = " ".join(["fer-edge convert RUN", *options_of(self.recipe)])
        if self.calibrate is None:
            return [convert]
        draw = f"fer-edge calibrate --data CACHE --count {self.calibrate} --out SET"
        return [draw, f"{convert} --calibration SET"]


def as_it_is(graph: FloatGraph, scheme: Scheme, manifest: dict[str, Any]) -> Fix:
    """The variant, with the recipe that bundle.json says it was made by."""
    steps = [(layer.steps, len(layer.values)) for layer in scheme.layers.values()]
    recipe = replace(PLAIN, per_tensor=any(held is not None and len(held) == 1 < channels for held, channels in steps))
    if said := manifest.get("quantization_recipe"):
        recipe = replace(
            recipe,
            ranges=said["ranges"],
            percentile=said["percentile"] or recipe.percentile,
            float_layers=tuple(said["float_layers"]),
            equalize=said["equalized"],
        )
    return Fix("as it is", recipe, graph, scheme, tuple(scheme.parts()))


def options_of(recipe: QuantizationRecipe) -> list[str]:
    """The recipe in options of `fer-edge convert`."""
    options = ["--per-tensor"] if recipe.per_tensor else []
    if recipe.ranges != PLAIN.ranges:
        options += ["--ranges", recipe.ranges]
    if recipe.ranges == "percentile" and recipe.percentile != PLAIN.percentile:
        options += ["--percentile", f"{recipe.percentile:g}"]
    if recipe.float_layers:
        options += ["--float-layers", ",".join(recipe.float_layers)]
    return options + (["--equalize"] if recipe.equalize else [])


def with_rounded_biases(fix: Fix, file: Scheme) -> Fix:
    """The fix with its layers' biases rounded anew, in units of input step times weight step, where the file has such.

    Engines that add integers keep biases so; OpenVINO keeps them in float.
    """
    own = {name: fix.graph.bias(name) for name in fix.graph.layers}
    if not any(_is_rounded(layer.bias, own[name]) for name, layer in file.layers.items()):
        return fix
    reads = {name: point for point, readers in fix.graph.readers.items() for name in readers}
    changed = {}
    for name, layer in fix.scheme.layers.items():
        grid, bias = fix.scheme.grids.get(reads[name]), own[name]
        if layer.steps is not None and bias is not None and grid is not None and grid.step.size == 1:
            unit = grid.step * layer.steps
            changed[name] = replace(layer, bias=np.asarray(np.rint(bias / unit) * unit, np.float32))
    return replace(fix, scheme=fix.scheme.with_layers(changed))


def _is_rounded(held: Floats | None, own: Floats | None) -> bool:
    if held is None or own is None:
        return False
    return float(np.abs(held - own).max()) > 1e-6 * float(np.abs(own).max())  # folding alone moves the last bits


def histograms(graph: FloatGraph, faces: Sequence[NDArray[np.uint8]]) -> Histograms:
    """By point but the input, all float values of the faces."""
    found: Histograms = {}
    for values in point_values(graph.model, faces):
        for name, held in values.items():
            histogram = point_histogram(name, held)
            found[name] = found[name] + histogram if name in found else histogram
    return found


def per_channel(now: Fix) -> Fix:
    """A scale for each output channel's weights."""
    name = "per channel" if now.name == "as it is" else f"per channel + {now.name}"
    recipe = replace(now.recipe, per_tensor=False)
    return replace(now, name=name, recipe=recipe, scheme=_rounded(now.graph, now.scheme, per_tensor=False))


def other_ranges(now: Fix, seen: Histograms) -> list[Fix]:
    """Ranges by each of the other methods.

    Other than by minimum and maximum, they only get narrower: the images that the variant was calibrated on may be
    others than these, and no method knows of values that it has not seen.
    """
    found = []
    for method in METHODS:
        if method != now.recipe.ranges:
            recipe = replace(now.recipe, ranges=method, percentile=PLAIN.percentile)
            grids = _grids(now, seen, recipe)
            if method != PLAIN.ranges:
                grids = {name: _narrower(now.scheme.grids[name], grid) for name, grid in grids.items()}
            found.append(replace(now, name=f"ranges by {method}", recipe=recipe, scheme=now.scheme.with_grids(grids)))
    return found


def calibrated_again(now: Fix, seen: Histograms, count: int) -> Fix:
    """Ranges by the same method over other images."""
    scheme = now.scheme.with_grids(_grids(now, seen, now.recipe))
    return replace(now, name="calibrate again", scheme=scheme, calibrate=count)


def equalized(now: Fix, faces: Sequence[NDArray[np.uint8]], seen: Histograms) -> Fix | None:
    """Channels evened out between layers, weights rounded again; None without a pair.

    Ranges are those over these faces, as far beyond their values, or within them, as the variant's are now over the
    values `seen` on the same faces: what calibration missed stays missed.
    """
    pairs = equal_pairs(now.graph)
    if not pairs or now.recipe.equalize:
        return None
    even = equalize(now.graph, pairs)
    scheme = _rounded(even, now.scheme, per_tensor=now.recipe.per_tensor)
    before = _grids(now, seen, now.recipe)
    after = _grids(replace(now, graph=even), histograms(even, faces), now.recipe)
    grids = {name: _as_far(now.scheme.grids[name], before[name], after[name]) for name in after if name != INPUT}
    scheme = scheme.with_grids(grids)
    return replace(now, name="equalize", recipe=replace(now.recipe, equalize=True), graph=even, scheme=scheme)


def in_float(now: Fix, names: Sequence[str]) -> Fix:
    """Some layers in float, as a converter leaves them: values between an int8 and a float layer are still rounded."""
    every = {*names, *now.recipe.float_layers}
    parts = [
        (name, what)
        for name, what in now.parts
        if name not in every or (what == "range" and not all(reader in every for reader in now.graph.readers[name]))
    ]
    short = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} layers"
    recipe = replace(now.recipe, float_layers=tuple(name for name in now.graph.layers if name in every))
    return replace(now, name=f"{short} in float", recipe=recipe, parts=tuple(parts), slower=True)


def to_free_range(graph: FloatGraph, name: str) -> list[str]:
    """The layers that must be float for a point's values to stay unrounded; none where an operator reads them, too."""
    readers = graph.readers[name]
    if name not in graph.layers or not all(reader in graph.layers for reader in readers):
        return []
    return [name, *readers]


def _grids(now: Fix, seen: Histograms, recipe: QuantizationRecipe) -> dict[str, Grid]:
    """Grids of one scale a tensor by the recipe's method, and the input's over all that pixels can be."""
    ranges = {name: range_of(histogram, recipe.ranges, recipe.percentile) for name, histogram in seen.items()}
    ranges[INPUT] = input_ranges(now.graph.model)[now.graph.taps[INPUT]]
    return {
        name: grid_of_range(ranges[name].low, ranges[name].high, grid.levels)
        for name, grid in now.scheme.grids.items()
        if name in ranges and grid.step.size == 1
    }


def _narrower(held: Grid, found: Grid) -> Grid:
    """What both cover; the held one where that is nothing."""
    low, high = max(float(held.low), float(found.low)), min(float(held.high), float(found.high))
    return grid_of_range(low, high, held.levels) if low < high else held


def _as_far(held: Grid, before: Grid, after: Grid) -> Grid:
    """`after`, stretched as the held grid is against `before`."""
    low, high = (
        float(new) * (float(now) / float(old) if old else 1.0)
        for now, old, new in ((held.low, before.low, after.low), (held.high, before.high, after.high))
    )
    return grid_of_range(low, high, held.levels)


def _rounded(graph: FloatGraph, scheme: Scheme, *, per_tensor: bool) -> Scheme:
    """The scheme with all its int8 layers' weights rounded anew from the graph's."""
    return scheme.with_layers(
        {
            name: round_weights(graph.weights(name), graph.bias(name), per_tensor=per_tensor)
            for name, layer in scheme.layers.items()
            if layer.steps is not None
        }
    )
