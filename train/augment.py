"""Random changes to faces whose every number hangs on the generator given, drawn for a whole batch at once.

Drawing for the batch and applying to one face at a time lets several machines share a batch: each draws all of it and
applies its own part.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.train.degrade import defocused, noisy
from fer_edge.train.recipe import Recipe

Faces = NDArray[np.uint8]
HALF = 0.5


@dataclass(frozen=True, eq=False)
class Changes:
    """What is done to each of N faces; an entry is None where the recipe leaves it out.

    `matrices` (N, 2, 3) move pixels to where they go; `gains` and `offsets` (N,) act on grays; `boxes` (N, 4) are top,
    left, height, width of what is erased, of no size where nothing is, and `grays` (N,) what it is filled with. `blurs`
    (N,) are sigmas in pixels and `noises` (N,) standard deviations as parts of 255 grays, 0 where there is none;
    `seeds` (N,) draw the noise.
    """

    matrices: NDArray[np.float64] | None
    gains: NDArray[np.float64] | None
    offsets: NDArray[np.float64] | None
    boxes: NDArray[np.int64] | None
    grays: NDArray[np.int64] | None
    blurs: NDArray[np.float64] | None = None
    noises: NDArray[np.float64] | None = None
    seeds: NDArray[np.int64] | None = None

    def apply(self, at: int, face: Faces) -> Faces:
        """Face number `at` of the batch, (48, 48) uint8, after its changes; the edge is repeated outward."""
        if self.matrices is not None:
            size = (face.shape[1], face.shape[0])
            face = cv2.warpAffine(  # type: ignore[assignment]
                face, self.matrices[at], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        if self.gains is not None and self.offsets is not None:
            face = np.clip(face * self.gains[at] + self.offsets[at], 0, 255).astype(np.uint8)
        if self.boxes is not None and self.grays is not None:
            top, left, height, width = self.boxes[at]
            face = face.copy()  # it may be the cache's own memory
            face[top : top + height, left : left + width] = self.grays[at]
        if self.blurs is not None and self.blurs[at]:
            face = defocused(face[None], float(self.blurs[at]))[0]
        if self.noises is not None and self.seeds is not None and self.noises[at]:
            face = noisy(face[None], float(self.noises[at]), np.random.default_rng(self.seeds[at]))[0]
        return face


def draw_changes(recipe: Recipe, n: int, side: int, rng: np.random.Generator) -> Changes:
    """Changes for `n` faces of `side` pixels, as the recipe asks."""
    matrices = gains = offsets = boxes = grays = None
    if recipe.flip or any((recipe.rotation_deg, recipe.shift, recipe.zoom, recipe.shear)):
        matrices = _matrices(recipe, n, side, rng)
    if recipe.contrast:
        gains = 1 + rng.uniform(-recipe.contrast, recipe.contrast, n)
        offsets = 255 * rng.uniform(-recipe.contrast, recipe.contrast, n) / 2
    if recipe.erase:
        sizes = rng.integers(2, max(3, round(recipe.erase * side)), (n, 2))
        places = (rng.random((n, 2)) * (side - sizes)).astype(np.int64)
        boxes = np.concatenate([places, np.where(rng.random((n, 1)) < HALF, sizes, 0)], axis=1)
        grays = rng.integers(0, 256, n)
    blurs = noises = seeds = None
    if recipe.blur:
        blurs = _some(recipe.blur, n, rng)
    if recipe.noise:
        noises, seeds = _some(recipe.noise, n, rng), rng.integers(0, 2**32, n)
    return Changes(matrices, gains, offsets, boxes, grays, blurs, noises, seeds)


def _some(largest: float, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """From 0 to the largest for half of the faces, else 0."""
    return np.where(rng.random(n) < HALF, rng.uniform(0, largest, n), 0.0)


def _matrices(recipe: Recipe, n: int, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation, zoom and shear about the middle, then the shift, then half of them mirrored: (N, 2, 3)."""
    angle = np.deg2rad(rng.uniform(-recipe.rotation_deg, recipe.rotation_deg, n))
    zoom = 1 + rng.uniform(-recipe.zoom, recipe.zoom, n)
    shear = rng.uniform(-recipe.shear, recipe.shear, n)
    shift = rng.uniform(-recipe.shift, recipe.shift, (n, 2)) * side
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.stack([np.stack([cos, sin + shear * cos], -1), np.stack([-sin, cos - shear * sin], -1)], -2)
    middle = np.full(2, (side - 1) / 2)
    matrices = np.concatenate([linear, (middle - linear @ middle + shift)[..., None]], axis=-1)
    if recipe.flip:
        mirrored = rng.random(n) < HALF
        matrices[mirrored, 0] *= -1
        matrices[mirrored, 0, 2] += side - 1
    return matrices
