"""Starts TensorFlow without its banner, on a chosen number of cores; called before the first import of Keras."""

import os
import platform
from contextlib import suppress

from fer_edge.devices.native_log import without_banners


def keras_quietly(threads: int = 0) -> None:
    """Set the log level and the thread count; 0 threads means all cores. Called first, since later is too late."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves oneDNN off without AVX-512, where a step of these networks is 1.1 to 1.7 times as fast.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with without_banners():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for a GPU now, so that its complaint falls into this block
    with suppress(RuntimeError):  # TensorFlow has run in this process already, and its threads are what they are
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
