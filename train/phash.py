"""Perceptual hashes of faces, and every pair of hashes that are close. Knows neither labels nor splits."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE

BITS = 64
_FACES_AT_ONCE = 2048
_HASHES_AT_ONCE = 64
_DCT = scipy.fft.dct(np.eye(FACE_SIDE), norm="ortho", axis=0)[1:9].astype(np.float32)
"""Rows 1 to 8: without the constant, so that neither brightness nor a ramp of light decides a bit."""


def perceptual_hashes(faces: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """pHash (Zauner 2010): the signs of 8×8 low DCT coefficients about their median, (N,) of 64 bits.

    Args:
        faces: (N, 48, 48) uint8. One without contrast has the hash 0, which says nothing.
    """
    hashes = np.empty(len(faces), np.uint64)
    for at in range(0, len(faces), _FACES_AT_ONCE):
        some = np.asarray(faces[at : at + _FACES_AT_ONCE], np.float32)
        low = (_DCT @ some @ _DCT.T).reshape(-1, BITS)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes[at : at + _FACES_AT_ONCE] = np.packbits(bits, axis=1).view(np.uint64).ravel()
    return hashes


def close_pairs(hashes: NDArray[np.uint64], distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of hashes that differ in at most so many bits: pairs (P, 2), the lower first, and their bits (P,).

    All are compared with all, by XOR and popcount in blocks that stay in the cache: 32,000 take seconds.
    """
    pairs, bits = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for at in range(0, len(hashes), _HASHES_AT_ONCE):
        differ = np.bitwise_count(hashes[at : at + _HASHES_AT_ONCE, None] ^ hashes[None, at:])
        one, other = np.divmod(np.flatnonzero(differ <= distance), differ.shape[1])
        upper = other > one
        pairs.append(np.stack([one[upper], other[upper]], axis=1) + at)
        bits.append(differ[one[upper], other[upper]].astype(np.int64))
    return np.concatenate(pairs), np.concatenate(bits)
