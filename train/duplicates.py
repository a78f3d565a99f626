"""Images that are the same photo: exact copies, and near ones by perceptual hash, confirmed by their pixels.

Owns the rule of what counts as the same. Must not know what becomes of it: `audit` counts, `clean` removes, and a
validation split may be drawn so that it shares no group with the rows to fit on.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.phash import BITS, close_pairs, perceptual_hashes

Rows = NDArray[np.int64]
Float = NDArray[np.float32]
BLANK_DEVIATION = 5.0
"""Gray levels: with less standard deviation than this over its pixels, an image shows nothing."""
MOST_SHIFT = 2
"""Pixels that one copy may be shifted against the other, each way."""
_FACES_AT_ONCE = 1024
_DETAIL_SIGMA = 3.0
_LEAST_DETAIL = 0.5


@dataclass(frozen=True)
class Rule:
    """When two images that are no exact copies are the same photo: both must hold.

    `distance` is the most bits of 64 in which their perceptual hashes differ; `likeness` the least correlation of
    their detail. docs/data.md has the figures that they come from.

    Raises:
        DataError: it is none of these.
    """

    distance: int = 12
    likeness: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.distance < BITS:
            raise DataError(f"expected a distance of 0 to {BITS - 1} bits, got {self.distance}")
        if not -1 <= self.likeness <= 1:
            raise DataError(f"expected a likeness of -1 to 1, got {self.likeness:g}")


RULE = Rule()


@dataclass(frozen=True, eq=False)
class Duplicates:
    """What was found among N images.

    `pairs` (P, 2) rows, the lower first; `bits` (P,) in which their hashes differ; `likeness` (P,) of their detail;
    `is_exact` (P,) whether all pixels are the same, for which the other two are 0 and 1. `group` (N,) is the number of
    each image's group, -1 where it has no duplicate. A group is what pairs link, be it over a third image.

    `tried` (distance + 1, 10) counts the near pairs that the hashes gave, by bits and tenth of likeness, all below 0.1
    with the first: where the rule fits the data, few lie about its likeness and most on either side.
    """

    pairs: Rows
    bits: Rows
    likeness: Float
    is_exact: NDArray[np.bool_]
    group: Rows
    tried: Rows
    rule: Rule

    def groups(self) -> list[Rows]:
        """The rows of each group, ascending; by their first row."""
        grouped = np.flatnonzero(self.group >= 0)
        order = grouped[np.argsort(self.group[grouped], kind="stable")]
        return np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1) if len(order) else []


def find_duplicates(faces: NDArray[np.uint8], rule: Rule = RULE) -> Duplicates:
    """Every pair of duplicates among faces (N, 48, 48) uint8.

    Exact copies are found by their bytes, whatever they show; near ones only among images that are not blank.
    """
    exact, copy_of = _exact_pairs(faces)
    # One of each set of copies stands for all: its near duplicates are theirs.
    single = np.flatnonzero((copy_of == np.arange(len(faces))) & ~is_blank(faces))
    pairs, bits = close_pairs(perceptual_hashes(faces[single]), rule.distance)
    pairs = single[pairs]
    alike = likeness(faces, pairs)
    tried = np.zeros((rule.distance + 1, 10), np.int64)
    np.add.at(tried, (bits, np.clip((alike * 10).astype(np.int64), 0, 9)), 1)
    kept = alike >= rule.likeness
    pairs, bits, alike = np.concatenate([exact, pairs[kept]]), bits[kept], alike[kept]
    zeros = np.zeros(len(exact), np.int64)
    return Duplicates(
        pairs,
        np.concatenate([zeros, bits]),
        np.concatenate([np.ones(len(exact), np.float32), alike]),
        np.arange(len(pairs)) < len(exact),
        _grouped(pairs, len(faces)),
        tried,
        rule,
    )


def is_blank(faces: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of faces (N, 48, 48) show nothing, (N,)."""
    blank = np.empty(len(faces), bool)
    for at in range(0, len(faces), _FACES_AT_ONCE):
        some = slice(at, at + _FACES_AT_ONCE)
        blank[some] = faces[some].std(axis=(1, 2)) < BLANK_DEVIATION
    return blank


def likeness(faces: NDArray[np.uint8], pairs: Rows) -> Float:
    """How alike the detail of two images is, -1 to 1, (P,) for pairs (P, 2) of rows of faces (N, 48, 48).

    Detail is what a Gaussian blur of 3 pixels takes away: faces are all alike in the coarse, and a hash sees no more.
    Of its correlations at every shift of up to 2 pixels the highest counts; being normalized, it does not depend on
    contrast. Where an image has no detail nothing can be said, and it is 0.
    """
    detail: dict[int, Float] = {}
    for row in np.unique(pairs):
        face = np.asarray(faces[row], np.float32)
        detail[int(row)] = face - cv2.GaussianBlur(face, (0, 0), _DETAIL_SIGMA)
    inner = slice(MOST_SHIFT, FACE_SIDE - MOST_SHIFT)
    found = np.zeros(len(pairs), np.float32)
    for at, (one, other) in enumerate(pairs.tolist()):
        template = detail[one][inner, inner]
        if min(template.std(), detail[other][inner, inner].std()) >= _LEAST_DETAIL:
            found[at] = cv2.matchTemplate(detail[other], template, cv2.TM_CCOEFF_NORMED).max()
    return found


def _exact_pairs(faces: NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Pairs of each copy with the first of its kind, and for every row the first that has its pixels."""
    first: dict[bytes, int] = {}
    copy_of = np.array([first.setdefault(face.tobytes(), row) for row, face in enumerate(np.asarray(faces))], np.int64)
    copies = np.flatnonzero(copy_of != np.arange(len(faces)))
    return np.stack([copy_of[copies], copies], axis=1), copy_of


def _grouped(pairs: Rows, count: int) -> Rows:
    linked = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, part = connected_components(linked, directed=False)
    _, part, size = np.unique(part, return_inverse=True, return_counts=True)
    alone = size[part] == 1
    group = np.full(count, -1, np.int64)
    # Numbered by their first row.
    _, first, number = np.unique(part[~alone], return_index=True, return_inverse=True)
    group[~alone] = np.argsort(np.argsort(first))[number]
    return group
