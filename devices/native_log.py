"""Keeps what native libraries write to stderr at start out of the way, without hiding their errors.

LiteRT, TensorFlow and FFmpeg write banners to file descriptor 2 themselves; no logging setting reaches all of them.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BANNER = re.compile(
    r"^(INFO: |I0000 |W0000 |WARNING: All log messages before absl|To enable the following instructions)"
    r"|Could not find cuda drivers|failed call to cuInit|fully_quantize: "
)


@contextmanager
def without_banners() -> Iterator[None]:
    """Hold back file descriptor 2 during the block, then pass on every line that is no known banner.

    Affects the whole process, so it belongs around start-up work, not into a frame loop.
    """
    try:
        saved = os.dup(2)
    except OSError:  # a service may run with stderr closed
        yield
        return
    sys.stderr.flush()
    with os.fdopen(os.memfd_create("stderr"), "r+b") as held:  # in memory: a board's disk may be read-only
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if line.strip() and not _BANNER.search(line):
                    print(line, file=sys.stderr)
