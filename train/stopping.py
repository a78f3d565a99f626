"""Ctrl-C during training, heeded between batches.

An exception raised by the signal itself may land inside TensorFlow's or Keras's own Python and be swallowed there; so
the signal only sets a flag, and the training loop asks. A second Ctrl-C interrupts at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ctrl_c_between_batches() -> Iterator[Callable[[], None]]:
    """Yield a function that raises KeyboardInterrupt once Ctrl-C was pressed, and nothing before."""
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check  # a program of the user's own keeps its own handler
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
