"""Pictures' memory, used again once nobody holds it: no new frame is allocated while the old ones are done with."""

import sys

import numpy as np
from numpy.typing import DTypeLike, NDArray

_KEPT = 8
"""Arrays of one shape that are remembered: one being written, one waiting, one in use, and some that are looked at."""


class BufferPool:
    """Hands out arrays, and the same ones again when the caller is the only one left who could see them change.

    Whoever holds an array, a view of it, or a Frame with either in it, keeps it from being handed out: that is read
    from the reference count, so nothing has to be given back. A bare address (ctypes, a C library that keeps one after
    the call) does not count. One thread takes; any thread may hold and let go.
    """

    def __init__(self) -> None:
        self._arrays: list[NDArray] = [np.empty(0, np.uint8)]
        # What the count is when only the pool holds an array; it differs between versions of Python.
        self._alone = self._holders(0)
        self._arrays.clear()

    def take(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray:
        """A contiguous array of `shape` and `dtype`; what is in it is left over or undefined."""
        for at in range(len(self._arrays)):
            if self._arrays[at].shape == shape and self._arrays[at].dtype == dtype and self._is_free(at):
                return self._arrays[at]
        return self._remember(np.empty(shape, dtype))

    def _remember(self, array: NDArray) -> NDArray:
        if len(self._arrays) >= _KEPT:
            del self._arrays[0]  # the oldest: of another shape, or held by someone who keeps frames
        self._arrays.append(array)
        return array

    def _is_free(self, at: int) -> bool:
        return self._holders(at) <= self._alone

    def _holders(self, at: int) -> int:
        return sys.getrefcount(self._arrays[at])
